"""How much of a period a charging point could be used: pure, recomputable from its history.

The definitions, the same wherever the figure is shown:

- up: available or in use; down: faulted, offline or unavailable; unknown is neither;
- offline is a lost link, whatever the point said last, and counts against;
- planned work and excluded windows leave the denominator, whatever the state within them, and so
  does unknown time outside them, which is said apart;
- a fault or a closure of the station as a whole is one of each of its points;
- a point with several connectors is as its best connector;
- every change counts from the whole second in which it happened: all durations are whole seconds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

PARIS: Final = ZoneInfo("Europe/Paris")
WHOLE_STATION: Final = -1


class State(StrEnum):
    """What a point was, the best first: that order decides between its connectors."""

    IN_USE = "in_use"
    AVAILABLE = "available"
    FAULTED = "faulted"
    UNAVAILABLE = "unavailable"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    """Why a window leaves the denominator; where two overlap, excluded is said."""

    EXCLUDED = "excluded"
    PLANNED = "planned"


UP: Final = frozenset({State.AVAILABLE, State.IN_USE})
DOWN: Final = frozenset({State.FAULTED, State.UNAVAILABLE, State.OFFLINE})
_RANK: Final = {state: rank for rank, state in enumerate(State)}
_IN_USE: Final = "preparing charging suspended_ev suspended_evse finishing reserved occupied"
_STATES: Final = {
    "available": State.AVAILABLE,
    "faulted": State.FAULTED,
    "unavailable": State.UNAVAILABLE,
    "unknown": State.UNKNOWN,
    **dict.fromkeys(_IN_USE.split(), State.IN_USE),
}


@dataclass(frozen=True, slots=True)
class Period:
    """From `starts_at` up to, not including, `ends_at`; aware, whole seconds, kept in UTC."""

    starts_at: datetime
    ends_at: datetime

    def __post_init__(self) -> None:
        """Raises: ValueError for a time without zone, parts of a second, or an empty period."""
        for name in ("starts_at", "ends_at"):
            at: datetime = getattr(self, name)
            if at.tzinfo is None or at.microsecond:
                raise ValueError(f"{name} must be aware and a whole second")
            object.__setattr__(self, name, at.astimezone(UTC))
        if self.ends_at <= self.starts_at:
            raise ValueError("a period ends after it starts")

    @property
    def duration_s(self) -> int:
        """Seconds that truly passed: a clock-change day has 23 or 25 hours."""
        return _seconds(self.ends_at - self.starts_at)


@dataclass(frozen=True, slots=True)
class Report:
    """A status from `at` on, of one connector (0: the point itself) or of WHOLE_STATION."""

    at: datetime
    status: str
    connector_id: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """The station's link came up or went down at `at`; before the first one it is not known."""

    at: datetime
    up: bool


@dataclass(frozen=True, slots=True)
class Window:
    """Planned work or an exclusion, from `starts_at` up to, not including, `ends_at`."""

    starts_at: datetime
    ends_at: datetime
    kind: Kind


@dataclass(frozen=True, slots=True)
class Interval:
    """One state, under one kind of window or none, from `starts_at` up to `ends_at` (UTC)."""

    starts_at: datetime
    ends_at: datetime
    state: State
    window: Kind | None

    @property
    def duration_s(self) -> int:
        """Its length in seconds, at least 1."""
        return _seconds(self.ends_at - self.starts_at)


@dataclass(frozen=True, slots=True)
class Availability:
    """The seconds of a period by what they count as; their sum is the period."""

    up_s: int
    down_s: int
    unknown_s: int
    left_out_s: int

    @property
    def denominator_s(self) -> int:
        """The seconds that the percentage is of."""
        return self.up_s + self.down_s

    @property
    def hundredths_of_percent(self) -> int | None:
        """9950 is 99.50 %, rounded half up; None where no second counts."""
        if not self.denominator_s:
            return None
        return (2 * 10_000 * self.up_s + self.denominator_s) // (2 * self.denominator_s)

    def __add__(self, other: "Availability") -> "Availability":
        """Of several points together: seconds are added, percentages never averaged."""
        return Availability(
            self.up_s + other.up_s,
            self.down_s + other.down_s,
            self.unknown_s + other.unknown_s,
            self.left_out_s + other.left_out_s,
        )


def paris_days(first: date, last: date) -> Period:
    """Whole days of Paris, `last` included. Raises: ValueError when it lies before `first`."""
    after = last + timedelta(days=1)
    return Period(
        datetime(first.year, first.month, first.day, tzinfo=PARIS),
        datetime(after.year, after.month, after.day, tzinfo=PARIS),
    )


def intervals(
    period: Period,
    reports: Iterable[Report],
    links: Iterable[Link],
    windows: Iterable[Window] = (),
) -> list[Interval]:
    """The states of one point, in order, tiling the period exactly; neighbours differ.

    The order of the inputs does not matter. Those before the period say how it began. Of two
    contradictory ones at the very same instant the worse is taken.
    Raises: ValueError for a status that is not one of ours.
    """
    changes: list[tuple[datetime, int, Report | Link | _Edge]] = []
    changes += [(report.at, _RANK[_state(report.status)], report) for report in reports]
    changes += [(link.at, not link.up, link) for link in links]
    changes += [(edge.at, 0, edge) for window in windows for edge in _edges(window)]
    changes.sort(key=lambda change: change[:2])
    tiles: list[Interval] = []
    history = _History()
    since = period.starts_at
    for at, _, change in changes:
        second = at.astimezone(UTC).replace(microsecond=0)
        if second >= period.ends_at:
            break
        if second > since:
            _append(tiles, Interval(since, second, history.state, history.window))
            since = second
        history.take(change)
    _append(tiles, Interval(since, period.ends_at, history.state, history.window))
    return tiles


def measure(tiles: Iterable[Interval]) -> Availability:
    """The seconds of intervals by what they count as."""
    up_s = down_s = unknown_s = left_out_s = 0
    for tile in tiles:
        if tile.window is not None:
            left_out_s += tile.duration_s
        elif tile.state in UP:
            up_s += tile.duration_s
        elif tile.state in DOWN:
            down_s += tile.duration_s
        else:
            unknown_s += tile.duration_s
    return Availability(up_s, down_s, unknown_s, left_out_s)


@dataclass(frozen=True, slots=True)
class _Edge:
    at: datetime
    kind: Kind
    step: int  # 1: a window opens; -1: it closes


class _History:
    """What is known of the point at the instant that the sweep has reached."""

    def __init__(self) -> None:
        self._connectors: dict[int, State] = {}
        self._link_up: bool | None = None
        self._open = dict.fromkeys(Kind, 0)

    def take(self, change: Report | Link | _Edge) -> None:
        if isinstance(change, Report):
            self._connectors[change.connector_id] = _state(change.status)
        elif isinstance(change, Link):
            self._link_up = change.up
        else:
            self._open[change.kind] += change.step

    @property
    def state(self) -> State:
        if self._link_up is None:
            return State.UNKNOWN
        if not self._link_up:
            return State.OFFLINE
        whole = self._connectors.get(WHOLE_STATION)
        if whole is not None and whole in DOWN:
            return whole
        own = [state for key, state in self._connectors.items() if key != WHOLE_STATION]
        return min(own, key=_RANK.__getitem__, default=State.UNKNOWN)

    @property
    def window(self) -> Kind | None:
        return next((kind for kind in Kind if self._open[kind] > 0), None)


def _state(status: str) -> State:
    try:
        return _STATES[status]
    except KeyError:
        raise ValueError(f"not a status: {status!r}") from None


def _edges(window: Window) -> Iterator[_Edge]:
    """Its two ends; an empty or reversed window has none."""
    if window.starts_at < window.ends_at:
        yield _Edge(window.starts_at, window.kind, 1)
        yield _Edge(window.ends_at, window.kind, -1)


def _append(tiles: list[Interval], tile: Interval) -> None:
    """Adds a tile, or lengthens the last one where nothing changed."""
    if tiles and (tiles[-1].state, tiles[-1].window) == (tile.state, tile.window):
        tile = Interval(tiles.pop().starts_at, tile.ends_at, tile.state, tile.window)
    tiles.append(tile)


def _seconds(duration: timedelta) -> int:
    return duration // timedelta(seconds=1)
