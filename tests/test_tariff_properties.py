"""What holds for every tariff and every session, and what a plain reckoning by minutes says."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.money import vat_in
from billing.tariff import (
    Component,
    Dimension,
    Element,
    Price,
    Reading,
    Restrictions,
    Tariff,
    Usage,
    dump,
    parse,
    price,
    price_so_far,
)
from tests.test_tariff import PARIS, VAT

# Around both clock-change nights, so that they are met often.
STARTS = st.sampled_from(
    [datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2027, 3, 27, 12, tzinfo=UTC)]
).flatmap(lambda at: st.integers(0, 24 * 60).map(lambda m: at + timedelta(minutes=m)))

FEWER = settings(max_examples=40)  # what the others meet as well

PRICES = st.decimals(0, 2, places=4)
MINUTES = st.integers(0, 1439)
TOTALS = st.integers(0, 90_000)


@st.composite
def by_clock(draw: st.DrawFn) -> Restrictions:
    return Restrictions(
        start_minute=draw(st.none() | MINUTES),
        end_minute=draw(st.none() | MINUTES),
        start_on=draw(st.none() | st.just(date(2026, 10, 25)) | st.just(date(2027, 3, 28))),
        weekdays=draw(st.frozensets(st.integers(0, 6), max_size=3)),
    )


@st.composite
def any_restrictions(draw: st.DrawFn) -> Restrictions:
    clock = draw(by_clock() | st.just(Restrictions()))
    low_wh, more_wh = draw(st.tuples(st.integers(0, 20_000), st.integers(1, 20_000)))
    low_s, more_s = draw(st.tuples(st.integers(0, 20_000), st.integers(1, 20_000)))
    low_w, more_w = draw(st.tuples(st.integers(0, 9_000), st.integers(1, 9_000)))
    return Restrictions(
        clock.start_minute,
        clock.end_minute,
        clock.start_on,
        min_wh=draw(st.sampled_from([None, low_wh])),
        max_wh=draw(st.sampled_from([None, low_wh + more_wh])),
        min_duration_s=draw(st.sampled_from([None, low_s])),
        max_duration_s=draw(st.sampled_from([None, low_s + more_s])),
        min_power_w=draw(st.sampled_from([None, None, low_w])),
        max_power_w=draw(st.sampled_from([None, None, low_w + more_w])),
        weekdays=clock.weekdays,
    )


def components(dimension: Dimension) -> st.SearchStrategy[Component]:
    steps = st.sampled_from([0, 1, 1, 60, 500])
    vat = st.sampled_from([None, None, Decimal("5.5"), Decimal(10), Decimal(20)])
    return st.builds(Component, st.just(dimension), PRICES, vat, steps)


@st.composite
def elements(draw: st.DrawFn) -> Element:
    kinds = (Dimension.FLAT, Dimension.ENERGY, Dimension.TIME, Dimension.PARKING_TIME)
    used = draw(st.sets(st.sampled_from(kinds), min_size=1))
    return Element(
        tuple(draw(components(dimension)) for dimension in sorted(used)), draw(any_restrictions())
    )


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    """With a price for all energy in the end, so that none goes without a line; or for all time."""
    times = (Dimension.TIME, Dimension.PARKING_TIME) if draw(st.booleans()) else ()
    last = Element(tuple(draw(components(kind)) for kind in (Dimension.ENERGY, *times)))
    low = draw(st.none() | st.integers(0, 500))
    high = None if draw(st.booleans()) else (low or 0) + draw(st.integers(0, 2000))
    return Tariff(
        (*draw(st.lists(elements(), max_size=5)), last),
        taxes_included=draw(st.booleans()),
        min_excl_cents=low,
        min_incl_cents=low,
        max_excl_cents=high,
        max_incl_cents=high,
    )


@st.composite
def sessions(draw: st.DrawFn) -> tuple[Usage, list[Reading]]:
    """Readings are of the session, or odd."""
    start, minutes, total = draw(STARTS), draw(st.integers(0, 2000)), draw(TOTALS)
    offsets = st.integers(-60, 60 * minutes + 60)
    told = draw(
        st.lists(
            st.tuples(offsets, st.integers(-10, total + 10), st.none() | st.floats()), max_size=9
        )
    )
    readings = [
        Reading(start + timedelta(seconds=s), wh, power_w, power_w) for s, wh, power_w in told
    ]
    if draw(st.booleans()):  # as they should be
        energies = sorted(min(max(r.energy_wh, 0), total) for r in readings)
        readings = sorted(readings, key=lambda r: r.at)
        readings = [Reading(r.at, wh) for r, wh in zip(readings, energies, strict=True)]
    return Usage(start, start + timedelta(minutes=minutes), total), readings


def cost(tariff: Tariff, usage: Usage, readings: list[Reading], *, vat_free: bool = False) -> Price:
    return price(usage, readings, tariff, zone=PARIS, vat_percent=VAT, vat_free=vat_free)


@given(tariffs(), sessions(), st.booleans())
def test_the_parts_are_the_whole(
    tariff: Tariff, session: tuple[Usage, list[Reading]], vat_free: bool
) -> None:
    usage, readings = session

    found = cost(tariff, usage, readings, vat_free=vat_free)

    lines = found.lines
    assert sum(line.energy_wh for line in lines) == usage.energy_wh == found.energy_wh
    assert sum(line.amount_excl_cents for line in lines) == found.amount_excl_cents
    assert sum(line.amount_incl_cents for line in lines) == found.amount_incl_cents
    assert sum(base for _, base, _ in found.vat) == found.amount_excl_cents
    assert sum(base + vat for _, base, vat in found.vat) == found.amount_incl_cents
    time = {Dimension.TIME, Dimension.PARKING_TIME}
    used_s = sum(line.duration_s for line in lines if line.dimension in time)
    whole_s = (usage.ended_at - usage.started_at).total_seconds()
    assert used_s <= whole_s
    assert used_s == whole_s or len(tariff.elements[-1].components) == 1
    assert found.estimated == any(line.estimated for line in lines)


@given(tariffs(), sessions(), st.booleans())
def test_no_price_is_negative_and_vat_is_that_of_its_rate(
    tariff: Tariff, session: tuple[Usage, list[Reading]], vat_free: bool
) -> None:
    found = cost(tariff, *session, vat_free=vat_free)

    assert 0 <= found.amount_excl_cents <= found.amount_incl_cents
    assert all(line.energy_wh >= 0 and line.duration_s >= 0 for line in found.lines)
    assert all(line.from_at <= line.to_at for line in found.lines)
    for percent, base, vat in found.vat:
        assert base >= 0
        assert vat >= 0
        if vat_free:
            assert (percent, vat) == (0, 0)
    for line in found.lines:
        limit = line.dimension in (Dimension.MIN_PRICE, Dimension.MAX_PRICE)
        if tariff.taxes_included and not limit:
            tax = line.amount_incl_cents - line.amount_excl_cents
            assert tax == vat_in(line.amount_incl_cents, line.vat_percent)
        assert limit or line.amount_excl_cents >= 0


@FEWER
@given(tariffs(), sessions())
def test_limits_hold(tariff: Tariff, session: tuple[Usage, list[Reading]]) -> None:
    found = cost(tariff, *session)

    assert found.amount_incl_cents >= (tariff.min_incl_cents or 0)
    if tariff.max_incl_cents is not None:
        assert found.amount_incl_cents <= tariff.max_incl_cents
    if not tariff.taxes_included:
        assert found.amount_excl_cents >= (tariff.min_excl_cents or 0)
    free = cost(Tariff(tariff.elements, tariff.taxes_included), *session)
    if (free.amount_excl_cents, free.amount_incl_cents) == (
        found.amount_excl_cents,
        found.amount_incl_cents,
    ):
        assert found == free  # a limit that does not bite adds no line


@FEWER
@given(tariffs(), sessions())
def test_the_seller_without_vat_asks_the_same_where_prices_include_it(
    tariff: Tariff, session: tuple[Usage, list[Reading]]
) -> None:
    free = cost(tariff, *session, vat_free=True)

    assert free.amount_excl_cents == free.amount_incl_cents
    if tariff.taxes_included:
        assert free.amount_incl_cents == cost(tariff, *session).amount_incl_cents


@given(tariffs(), sessions(), st.data())
def test_finer_readings_on_the_same_line_change_nothing(
    tariff: Tariff, session: tuple[Usage, list[Reading]], data: st.DataObject
) -> None:
    """Points at whole Wh and whole microseconds between two readings, at most an hour apart."""
    usage, _ = session
    hours = int((usage.ended_at - usage.started_at) / timedelta(hours=1))
    slopes = data.draw(st.lists(st.integers(0, 120), min_size=hours, max_size=hours))
    readings, finer, total = [], [], 0
    for n, per_half_minute in enumerate(slopes):
        at = usage.started_at + timedelta(hours=n)
        for half_minute in data.draw(st.sets(st.integers(1, 119), max_size=5)):
            wh = total + per_half_minute * half_minute
            finer.append(Reading(at + timedelta(seconds=30 * half_minute), wh))
        total += per_half_minute * 120
        readings.append(Reading(at + timedelta(hours=1), total))
    usage = Usage(usage.started_at, usage.started_at + timedelta(hours=hours), total)

    coarse, fine = cost(tariff, usage, readings), cost(tariff, usage, readings + finer)

    if len(slopes) > 1:
        assert fine == coarse
    elif not coarse.estimated:
        unread = [Dimension.TIME, Dimension.PARKING_TIME]  # all charging, for want of readings
        assert [line for line in fine.lines if line.dimension is Dimension.ENERGY] == [
            line for line in coarse.lines if line.dimension is Dimension.ENERGY
        ] or any(line.dimension in unread for line in fine.lines)


@given(st.data(), sessions())
def test_the_fast_way_and_the_slow_way_agree(
    data: st.DataObject, session: tuple[Usage, list[Reading]]
) -> None:
    """A minimum of 0 Wh changes nothing, but it asks about the session, which is walked through."""
    plain = [
        Element((data.draw(components(kind)),), data.draw(by_clock() | st.just(Restrictions())))
        for kind in data.draw(
            st.lists(st.sampled_from([Dimension.FLAT, Dimension.ENERGY]), min_size=1, max_size=4)
        )
    ]
    asking = [
        Element(
            element.components,
            Restrictions(
                element.restrictions.start_minute,
                element.restrictions.end_minute,
                element.restrictions.start_on,
                min_wh=0,
                weekdays=element.restrictions.weekdays,
            ),
        )
        for element in plain
    ]

    for included in (True, False):
        fast = cost(Tariff(tuple(plain), included), *session)
        assert fast == cost(Tariff(tuple(asking), included), *session)


@st.composite
def growing_tariffs(draw: st.DrawFn) -> Tariff:
    """Of one price, of tiers, or of two prices by the clock: more energy is never cheaper."""
    fee = Element((draw(components(Dimension.FLAT)),))
    last = Element((draw(components(Dimension.ENERGY)),))
    kind = draw(st.sampled_from(["one", "tiers", "clock"]))
    if kind == "one":
        inner: list[Element] = []
    elif kind == "tiers":
        tops = sorted(draw(st.sets(st.integers(1, 90_000), max_size=3)))
        inner = [
            Element((draw(components(Dimension.ENERGY)),), Restrictions(max_wh=top)) for top in tops
        ]
    else:
        inner = [Element((draw(components(Dimension.ENERGY)),), draw(by_clock()))]
    unstepped = [
        Element(
            tuple(Component(c.dimension, c.price_eur, c.vat_percent) for c in e.components),
            e.restrictions,
        )
        for e in (fee, *inner, last)
    ]
    chosen = unstepped if kind != "one" else [fee, last]
    return Tariff(
        tuple(chosen), draw(st.booleans()), min_incl_cents=draw(st.none() | st.integers(0, 999))
    )


@given(growing_tariffs(), STARTS, st.integers(0, 2000), TOTALS, st.integers(0, 5_000))
def test_more_energy_never_costs_less(
    tariff: Tariff, start: datetime, minutes: int, total: int, more: int
) -> None:
    end = start + timedelta(minutes=minutes)

    less_cents = cost(tariff, Usage(start, end, total), []).amount_incl_cents
    more_cents = cost(tariff, Usage(start, end, total + more), []).amount_incl_cents

    assert less_cents <= more_cents


@FEWER
@given(tariffs(), sessions())
def test_a_price_so_far_is_a_price(tariff: Tariff, session: tuple[Usage, list[Reading]]) -> None:
    usage, readings = session

    so_far = price_so_far(usage, readings, tariff, zone=PARIS, vat_percent=VAT)

    assert sum(line.energy_wh for line in so_far.lines) == usage.energy_wh
    assert sum(line.amount_incl_cents for line in so_far.lines) == so_far.amount_incl_cents


@FEWER
@given(tariffs())
def test_a_tariff_written_and_read_is_the_same(tariff: Tariff) -> None:
    ordinary = all(
        e.restrictions.start_minute is None
        or e.restrictions.start_minute != e.restrictions.end_minute
        for e in tariff.elements
    )
    if ordinary:
        assert parse(dump(tariff)) == tariff


# By minutes: what a clerk would do with the clock on the wall and a list of the minutes.


def clerk(
    prices: list[tuple[Restrictions, str]], usage: Usage, points: list[tuple[int, int]]
) -> tuple[dict[str, Fraction], dict[str, int]]:
    """Wh and seconds by price: each minute by what the clock shows when it begins."""
    energy: dict[str, Fraction] = defaultdict(Fraction)
    time: dict[str, int] = defaultdict(int)
    for (m0, e0), (m1, e1) in pairwise(points):
        for minute in range(m0, m1):
            shown = (usage.started_at + timedelta(minutes=minute)).astimezone(PARIS)
            name = next(name for r, name in prices if clerk_holds(r, shown))
            energy[name] += Fraction(e1 - e0, m1 - m0)
            time[name] += 60
    return energy, time


def clerk_holds(r: Restrictions, shown: datetime) -> bool:
    clock = f"{shown:%H:%M}"
    start, end = (
        None if m is None else f"{m // 60:02}:{m % 60:02}" for m in (r.start_minute, r.end_minute)
    )
    if start is not None and end is not None and end <= start:
        in_time = clock >= start or clock < end
    else:
        in_time = (start is None or clock >= start) and (
            end is None or end == "00:00" or clock < end
        )
    in_week = not r.weekdays or shown.weekday() in r.weekdays
    return in_time and in_week and (r.start_on is None or shown.date() >= r.start_on)


@settings(max_examples=50)
@given(st.lists(by_clock(), min_size=1, max_size=4), STARTS, st.data())
def test_a_clerk_with_the_clock_on_the_wall_finds_the_same(
    restrictions: list[Restrictions], start: datetime, data: st.DataObject
) -> None:
    names = [f"0.{n + 1}" for n in range(len(restrictions) + 1)]
    prices = list(zip([*restrictions, Restrictions()], names, strict=True))
    tariff = Tariff(
        tuple(Element((Component(Dimension.ENERGY, Decimal(name)),), r) for r, name in prices)
    )
    steps = data.draw(
        st.lists(st.tuples(st.integers(1, 240), st.integers(0, 9_000)), min_size=1, max_size=10)
    )
    points = [(0, 0)]
    for minutes, wh in steps:
        points.append((points[-1][0] + minutes, points[-1][1] + wh))
    usage = Usage(start, start + timedelta(minutes=points[-1][0]), points[-1][1])
    readings = [Reading(start + timedelta(minutes=m), wh) for m, wh in points[1:-1]]

    found = cost(tariff, usage, readings)

    energy, time = clerk(prices, usage, points)
    billed = {str(line.unit_price_eur): line for line in found.lines}
    for name in names:
        if name in billed:
            assert abs(billed[name].energy_wh - energy[name]) < 1
            assert billed[name].duration_s == time[name]
        else:
            assert energy[name] < 1
