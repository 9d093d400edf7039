"""What only several rows of a static file show: points declared twice, stations that contradict
themselves, connectors that were declared as points.

Rows are taken one by one and little of each is kept, so that a national file fits.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from reporting.irve.checks import is_true
from reporting.irve.findings import Effect, Finding
from reporting.irve.schema import NOT_CONCERNED, SOCKETS, STATIC_NAMES, STATION_COLUMNS, Row

OTHERS_MAX: Final = 10  # named in one finding
_COUNT: Final = re.compile(r"[0-9]{1,18}")
_STEM: Final = re.compile(r"(.*?)[0-9]{1,2}")
# Sockets that hardly ever are all that a point has, and what stands beside them on one point.
_PAIRS: Final = (
    frozenset({"prise_type_ef", "prise_type_2"}),
    frozenset({"prise_type_chademo", "prise_type_combo_ccs"}),
)


@dataclass(slots=True)
class _Place:
    """A row of an identifier: where it stands, how new it says to be, and what it says."""

    line: int
    updated_on: str
    digest: bytes


@dataclass(slots=True)
class _Station:
    """A station's first row, the points of all, and those that have one socket alone."""

    line: int
    values: tuple[str, ...]
    rows: int = 0
    announced: list[tuple[int, str, str]] = field(default_factory=list)  # line, point, nbre_pdc
    single: dict[str, tuple[int, str]] = field(default_factory=dict)  # point: line, its socket


class Together:
    """The rows of a file, as far as they concern each other."""

    def __init__(self) -> None:
        self._points: dict[str, list[_Place]] = defaultdict(list)
        self._stations: dict[str, _Station] = {}

    def add(self, row: Row, line: int) -> list[Finding]:
        """Take a row in; what it says otherwise than its station's first."""
        point = row["id_pdc_itinerance"]
        if point and point != NOT_CONCERNED:
            self._points[point].append(_Place(line, row["date_maj"], _digest(row)))
        name = _station_of(row)
        values = tuple(row[column] for column in STATION_COLUMNS)
        station = self._stations.setdefault(name, _Station(line, values)) if name else None
        if station is None:
            return []
        station.rows += 1
        station.announced.append((line, point, row["nbre_pdc"].strip()))
        sockets = [socket for socket in SOCKETS if is_true(row[socket])]
        if len(sockets) == 1 and point:
            station.single[point] = (line, sockets[0])
        if values == station.values:
            return []
        return [
            Finding(
                "station_differs",
                Effect.WRONG,
                column,
                value,
                line,
                point,
                {"first": station.line, "meant": first},
            )
            for column, value, first in zip(STATION_COLUMNS, values, station.values, strict=True)
            if value != first
        ]

    def finish(self) -> Iterator[Finding]:
        """What is known once all rows are in: duplicates, numbers of points, connectors."""
        for point, places in self._points.items():
            if len(places) > 1:
                yield from _duplicates(point, places)
        for station in self._stations.values():
            for line, point, count in station.announced:
                if _COUNT.fullmatch(count) and int(count) != station.rows:
                    parts = {"found": station.rows}
                    yield Finding(
                        "count_differs", Effect.WRONG, "nbre_pdc", count, line, point, parts
                    )
            yield from _connectors(station)


def _station_of(row: Row) -> str:
    """By what rows of one station are known; empty where nothing tells."""
    name = row["id_station_itinerance"]
    if name == NOT_CONCERNED:
        local = row["id_station_local"].strip()
        return f"local {local}" if local else ""
    return name


def _digest(row: Row) -> bytes:
    text = "\x1f".join(row[name] for name in STATIC_NAMES)
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


def _duplicates(point: str, places: list[_Place]) -> Iterator[Finding]:
    """By the consolidation's rules within one file: the latest date_maj, then the first of the
    same rows, else none."""
    newest = max(place.updated_on for place in places)
    latest = [place for place in places if place.updated_on == newest]
    kept = latest[0]
    distinct = {place.digest for place in latest}
    others = ", ".join(str(place.line) for place in latest[:OTHERS_MAX])
    parts: dict[str, object]
    for place in places:
        if place.updated_on != newest:
            code, parts = "duplicate_older", {"first": kept.line}
        elif len(distinct) > 1:
            code, parts = "duplicate_undecided", {"others": others}
        elif place is not kept:
            code, parts = "duplicate_exact", {"first": kept.line}
        else:
            continue
        yield Finding(code, Effect.DROPPED, "id_pdc_itinerance", point, place.line, point, parts)


def _connectors(station: _Station) -> Iterator[Finding]:
    """Points of one station, numbered one after the other, each with one socket that complements
    the other's."""
    stems: dict[str, dict[str, str]] = defaultdict(dict)
    for point, (_, socket) in station.single.items():
        stem = _STEM.fullmatch(point)
        if stem is not None:
            stems[stem[1]][point] = socket
    for points in stems.values():
        kinds = set(points.values())
        if len(kinds) == len(points) and any(pair <= kinds for pair in _PAIRS):
            line = min(station.single[point][0] for point in points)
            parts = {"others": ", ".join(sorted(points))}
            first = min(points)
            yield Finding(
                "connector_as_point", Effect.DOUBT, "id_pdc_itinerance", first, line, first, parts
            )
