"""The availability of points, sites and clients over a period: pure, from their histories.

Seconds are added, percentages never averaged: a site's figure is that of all seconds of its points.
A period that still runs is measured up to now, a retired point up to its retirement. What is said
of a point is said of its seconds outside windows; what windows leave out is said apart.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from reporting.availability import (
    DOWN,
    Availability,
    Interval,
    Link,
    Period,
    Report,
    State,
    Window,
    intervals,
    measure,
)

NOTHING: Final = Availability(0, 0, 0, 0)
_TICK: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Place:
    """A point: whose, where, which."""

    client_id: int
    client: str
    site_id: str | None
    site: str  # '' at none
    station_id: str
    evse_id: int
    label: str
    evse_uid: str | None


@dataclass(frozen=True, slots=True)
class PointHistory:
    """What is known of a point, in any order; `links` in the order in which they became known."""

    place: Place
    retired_at: datetime | None
    reports: Sequence[Report]
    links: Sequence[Link]
    windows: Sequence[Window]


@dataclass(frozen=True, slots=True)
class Outage:
    """The point could not be used, for one reason after another, outside windows."""

    starts_at: datetime
    ends_at: datetime
    states: tuple[State, ...]  # in the order of time, each once

    @property
    def duration_s(self) -> int:
        """Its length in seconds."""
        return (self.ends_at - self.starts_at) // timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class PointFigures:
    """A point's availability, and the seconds of each state outside windows."""

    place: Place
    availability: Availability
    seconds: dict[State, int]
    outages: tuple[Outage, ...]


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """All points of a site, or of a client."""

    client: str
    site_id: str | None
    site: str
    points: int
    availability: Availability
    outages: int


@dataclass(frozen=True, slots=True)
class AvailabilityFigures:
    """All of them. `measured_to`: where the period ends, or now."""

    period: Period
    measured_to: datetime
    points: tuple[PointFigures, ...]
    sites: tuple[GroupFigures, ...]
    clients: tuple[GroupFigures, ...]
    total: Availability


def figures(
    period: Period, now: datetime, histories: Iterable[PointHistory]
) -> AvailabilityFigures:
    """The figures of points in the order given. Raises: ValueError for a period that lies ahead."""
    measured_to = measured_until(period, now)
    found = (of_point(period, measured_to, history) for history in histories)
    return together(period, measured_to, [one for one in found if one is not None])


def measured_until(period: Period, now: datetime) -> datetime:
    """Where the period ends, or now. Raises: ValueError for a period that lies ahead."""
    found = min(period.ends_at, now.astimezone(UTC).replace(microsecond=0))
    if found <= period.starts_at:
        raise ValueError("the period has not begun")
    return found


def of_point(period: Period, measured_to: datetime, history: PointHistory) -> PointFigures | None:
    """A point's figures; None: it was retired before the period."""
    ends_at = measured_to
    if history.retired_at is not None:
        ends_at = min(ends_at, history.retired_at.astimezone(UTC).replace(microsecond=0))
        if ends_at <= period.starts_at:
            return None
    own = Period(period.starts_at, ends_at)
    tiles = intervals(own, history.reports, in_turn(history.links), history.windows)
    seconds = dict.fromkeys(State, 0)
    for tile in tiles:
        if tile.window is None:
            seconds[tile.state] += tile.duration_s
    return PointFigures(history.place, measure(tiles), seconds, tuple(_outages(tiles)))


def together(
    period: Period, measured_to: datetime, points: Sequence[PointFigures]
) -> AvailabilityFigures:
    """The figures of points, of their sites and of their clients."""
    return AvailabilityFigures(
        period,
        measured_to,
        tuple(points),
        _groups(points, by_site=True),
        _groups(points, by_site=False),
        sum((one.availability for one in points), NOTHING),
    )


def in_turn(links: Iterable[Link]) -> list[Link]:
    """Changes of a link each after the one before: of two in the same instant the one that became
    known later counts."""
    found: list[Link] = []
    for link in links:
        at = link.at
        if found and at <= found[-1].at:
            at = found[-1].at + _TICK
        found.append(Link(at, link.up))
    return found


def _outages(tiles: Iterable[Interval]) -> list[Outage]:
    """Spans of states that are down and follow each other; a window ends one."""
    found: list[Outage] = []
    for tile in tiles:
        if tile.window is not None or tile.state not in DOWN:
            continue
        if found and found[-1].ends_at == tile.starts_at:
            former = found.pop()
            states = (*former.states, *({tile.state} - set(former.states)))
            found.append(Outage(former.starts_at, tile.ends_at, states))
        else:
            found.append(Outage(tile.starts_at, tile.ends_at, (tile.state,)))
    return found


def _groups(points: Iterable[PointFigures], *, by_site: bool) -> tuple[GroupFigures, ...]:
    """Sites or clients, in the order in which the first of their points comes."""
    members: defaultdict[tuple[int, str | None], list[PointFigures]] = defaultdict(list)
    for one in points:
        members[one.place.client_id, one.place.site_id if by_site else None].append(one)
    return tuple(
        GroupFigures(
            group[0].place.client,
            group[0].place.site_id if by_site else None,
            group[0].place.site if by_site else "",
            len(group),
            sum((one.availability for one in group), NOTHING),
            sum(len(one.outages) for one in group),
        )
        for group in members.values()
    )
