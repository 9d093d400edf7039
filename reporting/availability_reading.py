"""Availability from the database: the histories of points, read station by station."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from csms.points import label_of
from csms.registry import NotThere, Refusal
from reporting import store_availability as store
from reporting import store_windows
from reporting.availability import WHOLE_STATION, Kind, Link, Report, Window
from reporting.availability_report import (
    AvailabilityFigures,
    Place,
    PointFigures,
    PointHistory,
    measured_until,
    of_point,
    together,
)
from reporting.span import Span
from reporting.store_availability import ChangeRow, PointRow
from reporting.store_windows import WindowRow

WINDOWS_MAX: Final = 20_000  # of one report


@dataclass(frozen=True, slots=True)
class AvailabilityReport:
    """The figures, with the windows that touch the period; revoked ones do not count."""

    span: Span
    made_at: datetime
    figures: AvailabilityFigures
    windows: tuple[WindowRow, ...]


async def read(
    connection: AsyncConnection,
    span: Span,
    now: datetime,
    *,
    client_ids: Sequence[int] | None,
    site_id: str | None = None,
    points_max: int,
) -> AvailabilityReport:
    """The availability of all points that this connection may read, of some clients or of one site.

    Raises: NotThere where there is no point; Refusal for a span that has not begun, and for more
    points than points_max.
    """
    period = span.period
    if now <= period.starts_at:
        raise Refusal("The period has not begun: there is nothing to report yet.", "month")
    rows = await store.list_points(
        connection,
        client_ids=client_ids,
        site_id=site_id,
        from_at=period.starts_at,
        limit=points_max + 1,
    )
    if not rows:
        raise NotThere("There is no charging point to report on.")
    if len(rows) > points_max:
        raise Refusal(f"A report holds {points_max} points at most: ask for one client or site.")
    windows = await store_windows.list_windows(
        connection,
        site_id=site_id,
        from_at=period.starts_at,
        to_at=period.ends_at,
        client_ids=None if client_ids is None else list(client_ids),
        limit=WINDOWS_MAX,
    )
    by_station: defaultdict[int, list[PointRow]] = defaultdict(list)
    for row in rows:
        by_station[row.station_key].append(row)
    in_force = [one for one in windows if one.revoked_at is None]
    measured_to = measured_until(period, now)
    found: dict[tuple[int, int], PointFigures] = {}
    changes = store.stream_changes(connection, list(by_station), period.starts_at, period.ends_at)
    async for key, of_station in _by_station(changes, by_station):
        for row in by_station[key]:
            history = _history(row, of_station, in_force)
            figures = of_point(period, measured_to, history)
            if figures is not None:
                found[key, row.evse_id] = figures
    order = [(row.station_key, row.evse_id) for row in rows]
    points = [found[place] for place in order if place in found]
    return AvailabilityReport(span, now, together(period, measured_to, points), tuple(windows))


async def _by_station(
    changes: AsyncIterator[ChangeRow], keys: Iterable[int]
) -> AsyncIterator[tuple[int, list[ChangeRow]]]:
    """What is known of each station, one after another; of the silent ones nothing."""
    silent = set(keys)
    current: list[ChangeRow] = []
    async for change in changes:
        if current and current[0].station_key != change.station_key:
            silent.discard(current[0].station_key)
            yield current[0].station_key, current
            current = []
        current.append(change)
    if current:
        silent.discard(current[0].station_key)
        yield current[0].station_key, current
    for key in sorted(silent):
        yield key, []


def _history(
    row: PointRow, changes: Sequence[ChangeRow], windows: Sequence[WindowRow]
) -> PointHistory:
    """What of a station's changes, and of all windows, is about one of its points."""
    reports = [
        Report(one.at, one.status, WHOLE_STATION if one.evse_id == 0 else one.connector_id or 0)
        for one in changes
        if one.status is not None and one.evse_id in (0, row.evse_id)
    ]
    return PointHistory(
        Place(
            row.client_id,
            row.client,
            row.site_id,
            row.site,
            row.station_id,
            row.evse_id,
            label_of(row.evse_static, row.station_id, row.evse_id),
            row.evse_uid,
        ),
        row.retired_at,
        reports,
        [Link(one.at, one.up) for one in changes if one.up is not None],
        [
            Window(one.starts_at, one.ends_at, Kind(one.kind))
            for one in windows
            if one.site_id == row.site_id
            and one.station_id in (None, row.station_id)
            and one.evse_id in (None, row.evse_id)
        ],
    )
