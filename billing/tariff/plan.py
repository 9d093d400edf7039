"""A tariff made ready for pricing, once for all sessions: who offers what, and when by the clock.

An offer is a component of an element. What depends on the calendar alone is worked out per local
day, cached, and kept as bits: bit n says that element n may hold as far as the clock decides.
"""

from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from billing.tariff.model import PRICE_DECIMALS, Component, Dimension, Element, Restrictions, Tariff
from billing.tariff.track import MICROSECOND, SECOND_US, Energy
from csms.domain.values import EPOCH, UTC

DAY_MINUTES: Final = 1440
DAYS_CACHED_MAX: Final = 1024  # of one tariff
PLANS_CACHED_MAX: Final = 4096

ALWAYS: Final = -1  # all bits
PRICED: Final = (Dimension.FLAT, Dimension.ENERGY, Dimension.TIME, Dimension.PARKING_TIME)

Window = tuple[int, int]  # from when in microseconds, bits


class Offer(NamedTuple):
    """A component that may be used; offers of equal components share a key, and so a line."""

    key: int
    bit: int
    component: Component
    price_micro: int  # millionths of a euro
    restrictions: Restrictions | None  # those of the session itself; None: the clock decides alone


class State(NamedTuple):
    """Of a session at a moment, as far as restrictions ask."""

    energy_wh: Energy
    duration_us: int
    power_w: float
    current_a: float


class Plan:
    """A tariff's offers by dimension, in the order in which they are asked, and their borders."""

    def __init__(self, tariff: Tariff) -> None:
        self.tariff: Final = tariff
        elements = [e for e in tariff.elements if not e.restrictions.reservation]
        self._by_clock = [(1 << n, e.restrictions) for n, e in enumerate(elements) if _clocked(e)]
        self._bits_without_clock = sum(
            1 << n for n, element in enumerate(elements) if not _clocked(element)
        )
        self._minutes = sorted(
            {0}
            | {r.start_minute for _, r in self._by_clock if r.start_minute is not None}
            | {r.end_minute for _, r in self._by_clock if r.end_minute is not None}
        )
        self._days: dict[tuple[tzinfo, int], tuple[Window, ...]] = {}
        self.offers: Final = {dimension: _offers(elements, dimension) for dimension in PRICED}
        used = [offer.restrictions for offers in self.offers.values() for offer in offers]
        own = [restrictions for restrictions in used if restrictions is not None]
        self.borders_wh: Final = sorted(
            {wh for r in own for wh in (r.min_wh, r.max_wh) if wh is not None}
        )
        self.borders_us: Final = sorted(
            {
                s * SECOND_US
                for r in own
                for s in (r.min_duration_s, r.max_duration_s)
                if s is not None
            }
        )
        self.asks_load: Final = any(
            value is not None
            for r in own
            for value in (r.min_power_w, r.max_power_w, r.min_current_a, r.max_current_a)
        )
        self.asks_phases: Final = bool(
            self.offers[Dimension.TIME] or self.offers[Dimension.PARKING_TIME]
        )
        self.is_clocked: Final = bool(self._by_clock)
        self.asks_session: Final = bool(
            self.borders_wh or self.borders_us or self.asks_load or self.asks_phases
        )

    def windows(self, started_at: datetime, end_us: int, zone: tzinfo) -> list[Window]:
        """The bits from the session's start on, and each change until its end; offsets from it."""
        if not self.is_clocked:
            return [(0, ALWAYS)]
        start_us = (started_at - EPOCH) // MICROSECOND
        day = started_at.astimezone(zone).toordinal()
        found = [(0, 0)]
        while True:
            for from_us, bits in self._day(zone, day):
                offset_us = from_us - start_us
                if offset_us <= 0:
                    found[0] = (0, bits)
                elif offset_us >= end_us:
                    return found
                elif bits != found[-1][1]:
                    found.append((offset_us, bits))
            day += 1

    def _day(self, zone: tzinfo, ordinal: int) -> tuple[Window, ...]:
        key = (zone, ordinal)
        windows = self._days.get(key)
        if windows is None:
            if len(self._days) >= DAYS_CACHED_MAX:
                self._days.clear()
            windows = self._days[key] = self._work_out_day(zone, ordinal)
        return windows

    def _work_out_day(self, zone: tzinfo, ordinal: int) -> tuple[Window, ...]:
        """A local day by UTC: 23, 24 or 25 hours. An hour that comes twice counts twice, one that
        is left out not at all: what counts at each moment is what the clock shows."""
        midnight = date.fromordinal(ordinal)
        from_at, to_at = (
            datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
            for day in (midnight, midnight + timedelta(days=1))
        )
        moments = {
            datetime(
                midnight.year, midnight.month, midnight.day, *divmod(m, 60), tzinfo=zone, fold=fold
            ).astimezone(UTC)
            for m in self._minutes
            for fold in (0, 1)
        }
        moments |= {from_at, *_clock_changes(zone, from_at, to_at)}
        windows: list[Window] = []
        for moment in sorted(at for at in moments if from_at <= at < to_at):
            bits = self.bits_at(moment.astimezone(zone))
            if not windows or windows[-1][1] != bits:
                windows.append(((moment - EPOCH) // MICROSECOND, bits))
        return tuple(windows)

    def bits_at(self, local: datetime) -> int:
        """Which elements may hold when the site's clock shows this."""
        bits = self._bits_without_clock
        for bit, restrictions in self._by_clock:
            if _holds_by_clock(restrictions, local):
                bits |= bit
        return bits


@lru_cache(maxsize=PLANS_CACHED_MAX)
def plan_of(tariff: Tariff) -> Plan:
    """The plan of a tariff, made once."""
    return Plan(tariff)


def first_offer(offers: tuple[Offer, ...], bits: int, state: State | None) -> Offer | None:
    """The first that holds; None: this dimension costs nothing now."""
    for offer in offers:
        if offer.bit & bits and (
            offer.restrictions is None
            or (state is not None and _holds_in_session(offer.restrictions, state))
        ):
            return offer
    return None


def _offers(elements: list[Element], dimension: Dimension) -> tuple[Offer, ...]:
    """Those of a dimension up to the first that always holds: none after it is ever asked."""
    found: list[Offer] = []
    keys: dict[Component, int] = {}
    for n, element in enumerate(elements):
        for component in element.components:
            if component.dimension != dimension:
                continue
            own = element.restrictions if _asks_session(element.restrictions) else None
            key = keys.setdefault(component, len(keys))
            micro = int(component.price_eur.scaleb(PRICE_DECIMALS))
            found.append(Offer(key, 1 << n, component, micro, own))
            if own is None and not _clocked(element):
                return tuple(found)
    return tuple(found)


def _clocked(element: Element) -> bool:
    r = element.restrictions
    given = (r.start_minute, r.end_minute, r.start_on, r.end_on)
    return bool(r.weekdays) or any(value is not None for value in given)


def _asks_session(r: Restrictions) -> bool:
    given = (r.min_wh, r.max_wh, r.min_duration_s, r.max_duration_s)
    load = (r.min_power_w, r.max_power_w, r.min_current_a, r.max_current_a)
    return any(value is not None for value in (*given, *load))


def _holds_by_clock(r: Restrictions, local: datetime) -> bool:
    day, minute = local.date(), local.hour * 60 + local.minute
    start = 0 if r.start_minute is None else r.start_minute
    end = DAY_MINUTES if r.end_minute is None else r.end_minute
    in_time = start <= minute < end if start < end else minute >= start or minute < end
    return (
        in_time
        and (not r.weekdays or day.weekday() in r.weekdays)
        and (r.start_on is None or r.start_on <= day)
        and (r.end_on is None or day < r.end_on)
    )


def _holds_in_session(r: Restrictions, state: State) -> bool:
    return (
        _is_within(state.energy_wh, r.min_wh, r.max_wh)
        and _is_within(state.duration_us, _micros(r.min_duration_s), _micros(r.max_duration_s))
        and _is_within(state.power_w, r.min_power_w, r.max_power_w)
        and _is_within(state.current_a, r.min_current_a, r.max_current_a)
    )


def _is_within(
    value: Energy | float, minimum: int | Decimal | None, maximum: int | Decimal | None
) -> bool:
    return (minimum is None or value >= minimum) and (maximum is None or value < maximum)


def _micros(duration_s: int | None) -> int | None:
    return None if duration_s is None else duration_s * SECOND_US


def _clock_changes(zone: tzinfo, from_at: datetime, to_at: datetime) -> list[datetime]:
    """The moment, to the second, at which the offset changes between two; none if it does not."""
    before = from_at.astimezone(zone).utcoffset()
    if to_at.astimezone(zone).utcoffset() == before:
        return []
    low, high = 0, int((to_at - from_at).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        local = (from_at + timedelta(seconds=middle)).astimezone(zone)
        low, high = (middle, high) if local.utcoffset() == before else (low, middle)
    return [from_at + timedelta(seconds=high)]
