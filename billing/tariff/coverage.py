"""What a tariff leaves without a price: hours, amounts, durations for which nothing applies."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from billing.tariff.document import DAYS
from billing.tariff.model import Dimension, Element, Restrictions, Tariff

DAY_MINUTES: Final = 1440
WEEK_MINUTES: Final = 7 * DAY_MINUTES
TOLD_MAX: Final = 5  # gaps in one sentence
LOOKS_MAX: Final = 100_000  # a tariff that needs more is not looked through

Bound = int | Decimal
Range = tuple[Bound | None, Bound | None]  # from, to (not included); None: without end


class _Axis(NamedTuple):
    """What a restriction may ask of a session, and how a stretch of it is told."""

    of: Callable[[Restrictions], Range]
    told: Callable[[Bound | None, Bound | None], str]


def gaps(tariff: Tariff, zone: ZoneInfo) -> list[str]:
    """A sentence for each stretch of the week in which neither energy nor time has a price.

    Clock times are those of the site; the hour that is left out or comes twice in a clock-change
    night adds no gap. Days outside the tariff's own term, told in `zone`, do not count. A tariff
    that prices neither energy nor time at all has no gap: it is free, or has a price per session.
    """
    elements = [e.restrictions for e in tariff.elements if _prices_use(e)]
    if not elements:
        return []
    term = (_local_day(tariff.starts_at, zone), _local_day(tariff.ends_at, zone))
    try:
        found = list(_uncovered_weeks(elements, term))
    except _TooMany:
        return ["The tariff has too many combinations to be looked through; use fewer elements."]
    return [f"No price for energy or time {text}." for text in found]


def _prices_use(element: Element) -> bool:
    kinds = {component.dimension for component in element.components}
    used = bool(kinds & {Dimension.ENERGY, Dimension.TIME})
    return used and not element.restrictions.reservation


def _local_day(at: datetime | None, zone: ZoneInfo) -> int | None:
    return None if at is None else at.astimezone(zone).toordinal()


class _TooMany(Exception):
    """More stretches than can be looked at."""


class _Budget:
    def __init__(self, looks: int) -> None:
        self._left = looks

    def spend(self) -> None:
        """Raises: _TooMany when nothing is left."""
        self._left -= 1
        if self._left < 0:
            raise _TooMany


def _uncovered_weeks(elements: Sequence[Restrictions], term: Range) -> Iterator[str]:
    """Stretches of the week, neighbours with the same gap put together, equal days told once."""
    days: dict[tuple[int, int, str], list[int]] = {}  # minute, length, what is missing: on which
    for start, end, missing in _stretches(elements, term):
        day, minute = divmod(start, DAY_MINUTES)
        days.setdefault((minute, end - start, missing), []).append(day)
    for (minute, length, missing), on in days.items():
        if length == WEEK_MINUTES:
            when = "at any time"
        elif len(on) == len(DAYS):
            when = f"every day from {_clock(minute)} to {_clock(minute + length)}"
        else:
            when = " and ".join(
                f"from {_moment(day * DAY_MINUTES + minute)} "
                f"to {_moment(day * DAY_MINUTES + minute + length)}"
                for day in on
            )
        yield f"{when}, {missing}" if missing else when


def _stretches(elements: Sequence[Restrictions], term: Range) -> list[tuple[int, int, str]]:
    """Minutes of the week, from and to, with what is missing then; empty: all that may be used."""
    budget = _Budget(LOOKS_MAX)
    borders = sorted({0, DAY_MINUTES, *_minutes(elements)})
    found: list[tuple[int, int, str]] = []
    for day in range(len(DAYS)):
        for start, end in pairwise(borders):
            now = [r for r in elements if _holds(r, day, start)]
            gaps_now = [", ".join(parts) for parts in _uncovered(now, _AXES, term, budget)]
            if not gaps_now:
                continue
            more = ["and more"] if len(gaps_now) > TOLD_MAX else []
            missing = "; ".join([*gaps_now[:TOLD_MAX], *more])
            from_minute, to_minute = day * DAY_MINUTES + start, day * DAY_MINUTES + end
            if found and found[-1][1:] == (from_minute, missing):
                from_minute = found.pop()[0]
            found.append((from_minute, to_minute, missing))
    wraps = len(found) > 1 and found[0][0] == 0 and found[-1][1] == WEEK_MINUTES
    if wraps and found[0][2] == found[-1][2]:  # Sunday night goes on on Monday
        found[-1] = (found[-1][0], WEEK_MINUTES + found[0][1], found[0][2])
        del found[0]
    return found


def _uncovered(
    elements: Sequence[Restrictions], axes: Sequence[_Axis], term: Range, budget: _Budget
) -> Iterator[list[str]]:
    """What no element holds for, axis by axis, as far as it is needed to tell; [] is all of it."""
    budget.spend()
    if not elements:
        yield []
        return
    if any(all(axis.of(r) == (None, None) for axis in axes) for r in elements):
        return
    axis, *rest = axes
    limits = term if axis is _DATES else (0, None)
    for low, high in _slices([axis.of(r) for r in elements], limits):
        inside = [r for r in elements if _contains(axis.of(r), low, high)]
        here = [] if (low, high) == limits else [axis.told(low, high)]
        for missing in _uncovered(inside, rest, term, budget):
            yield [*here, *missing]


def _slices(ranges: Sequence[Range], limits: Range) -> Iterator[Range]:
    """The stretches between all bounds within the limits."""
    low, high = limits
    inner = sorted(
        {
            bound
            for each in ranges
            for bound in each
            if bound is not None and (low is None or bound > low) and (high is None or bound < high)
        }
    )
    edges: list[Bound | None] = [low, *inner, high]
    yield from pairwise(edges)


def _contains(outer: Range, low: Bound | None, high: Bound | None) -> bool:
    least, most = outer
    return (least is None or (low is not None and least <= low)) and (
        most is None or (high is not None and high <= most)
    )


def _minutes(elements: Sequence[Restrictions]) -> Iterator[int]:
    for r in elements:
        for minute in (r.start_minute, r.end_minute):
            if minute is not None:
                yield minute


def _holds(r: Restrictions, day: int, minute: int) -> bool:
    if r.weekdays and day not in r.weekdays:
        return False
    start = 0 if r.start_minute is None else r.start_minute
    end = DAY_MINUTES if r.end_minute is None else r.end_minute
    return start <= minute < end if start < end else minute >= start or minute < end


def _moment(minute: int) -> str:
    return f"{DAYS[minute // DAY_MINUTES % len(DAYS)].capitalize()} {_clock(minute)}"


def _clock(minute: int) -> str:
    hour, rest = divmod(minute % DAY_MINUTES, 60)
    return f"{hour:02}:{rest:02}"


def _told(unit: str, scale: int) -> Callable[[Bound | None, Bound | None], str]:
    """Tells a stretch in a unit of so many of ours."""

    def tell(low: Bound | None, high: Bound | None) -> str:
        texts = [
            "" if bound is None else f"{(Decimal(bound) / scale).normalize():f} {unit}"
            for bound in (low, high)
        ]
        if not low:
            return f"below {texts[1]}"
        return f"from {texts[0]} on" if high is None else f"from {texts[0]} to {texts[1]}"

    return tell


def _told_days(low: Bound | None, high: Bound | None) -> str:
    first, last = (
        "" if bound is None else date.fromordinal(int(bound)).isoformat() for bound in (low, high)
    )
    if not first:
        return f"before {last}"
    return f"from {first} on" if not last else f"from {first} until {last}"


def _ordinals(r: Restrictions) -> Range:
    return (
        None if r.start_on is None else r.start_on.toordinal(),
        None if r.end_on is None else r.end_on.toordinal(),
    )


_DATES: Final = _Axis(_ordinals, _told_days)
_AXES: Final = (
    _DATES,
    _Axis(lambda r: (r.min_wh or None, r.max_wh), _told("kWh", 1000)),
    _Axis(lambda r: (r.min_duration_s or None, r.max_duration_s), _told("min", 60)),
    _Axis(lambda r: (r.min_power_w or None, r.max_power_w), _told("kW", 1000)),
    _Axis(lambda r: (r.min_current_a or None, r.max_current_a), _told("A", 1)),
)
