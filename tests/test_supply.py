"""What co-owners use, as values: shares, prices, days, provisions, the meter beside its points."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import supply
from billing.supply import Holding

MONTH = date(2026, 10, 1)
HELD = [
    Holding(1, 12, 100, date(2026, 9, 1), date(2026, 10, 15)),
    Holding(2, 12, 200, date(2026, 10, 15)),
    Holding(3, 13, 200, date(2026, 9, 1)),
]


@pytest.mark.parametrize(
    ("day", "lot", "person", "holding"),
    [
        (14, 12, None, 1),
        (14, 12, 200, 1),  # whoever charges at a lot's own point: its holder answers for it
        (15, 12, None, 2),
        (14, None, 200, 3),
        (15, None, 200, 2),  # of two lots the first
        (14, None, 999, None),
        (14, 99, 200, None),
    ],
)
def test_who_used_it(day: int, lot: int | None, person: int | None, holding: int | None) -> None:
    found = supply.holder_of(HELD, date(2026, 10, day), lot_id=lot, person_id=person)
    assert (found and found.id) == holding


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 400)), max_size=6), st.data())
def test_a_day_has_one_holder_of_a_lot(spans: list[tuple[int, int]], data: st.DataObject) -> None:
    """Where holdings do not overlap, as the database sees to."""
    first, found = date(2026, 1, 1), []
    for number, (gap, days) in enumerate(spans):
        begin = first + timedelta(days=gap)
        first = begin + timedelta(days=days)
        found.append(Holding(number, 1, number, begin, first))
    day = date(2026, 1, 1) + timedelta(days=data.draw(st.integers(0, 2_400)))
    assert sum(supply.holds(each, day) for each in found) <= 1


def test_energy_is_rounded_once_half_away_from_zero() -> None:
    assert supply.energy_excl_cents(37_421, Decimal("0.1740")) == 651  # 651.1254
    assert supply.energy_excl_cents(25, Decimal("0.2")) == 1  # 0.5
    assert supply.energy_excl_cents(-25, Decimal("0.2")) == -1
    with pytest.raises(TypeError):
        supply.energy_excl_cents(1, 0.2)  # type: ignore[arg-type]


@given(st.integers(0, 10**9), st.decimals(0, 2, places=6))
def test_what_is_taken_back_costs_what_it_cost(wh: int, price: Decimal) -> None:
    assert supply.energy_excl_cents(-wh, price) == -supply.energy_excl_cents(wh, price)


@given(st.integers(0, 100_000), st.integers(0, 31))
def test_the_days_of_two_holders_make_the_fee_but_for_a_cent(cents: int, days: int) -> None:
    whole = supply.telemetering_excl_cents(cents, 31, MONTH)
    assert whole == cents
    parts = [supply.telemetering_excl_cents(cents, n, MONTH) for n in (days, 31 - days)]
    assert abs(sum(parts) - cents) <= 1


def test_days_of_a_month_in_all_periods() -> None:
    found = supply.days_in(
        MONTH, (date(2026, 10, 10), None), (date(2026, 9, 1), date(2026, 10, 12))
    )
    assert found == [date(2026, 10, 10), date(2026, 10, 11)]
    assert supply.days_in(MONTH, (date(2026, 11, 1), None)) == []
    assert len(supply.days_in(MONTH, (MONTH, None))) == 31


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20), st.integers(0, 10**6))
def test_vat_leaves_a_provision_to_the_last_cent(uses: list[int], vat: int) -> None:
    left, left_vat = sum(uses), min(vat, sum(uses))
    for cents in uses:
        part = supply.vat_part(cents, left, left_vat)
        assert 0 <= part <= left_vat
        left, left_vat = left - cents, left_vat - part
    assert (left, left_vat) == (0, 0)


@given(st.lists(st.integers(1, 10**6), max_size=8), st.data())
def test_the_oldest_money_is_used_first(paid: list[int], data: st.DataObject) -> None:
    used = data.draw(st.integers(0, sum(paid)))
    left = supply.left_of(list(enumerate(paid)), used)
    assert sum(cents for _, cents in left) == sum(paid) - used
    keys = [key for key, _ in left]
    assert keys == list(range(len(paid)))[len(paid) - len(keys) :], "the newest are left"
    assert all(cents == paid[key] for key, cents in left[1:]), "only one is used in part"


@pytest.mark.parametrize(
    ("meter", "points", "difference", "percent", "flagged"),
    [
        (100_000, 98_000, 2_000, "2.00", False),
        (100_000, 95_000, 5_000, "5.00", False),
        (100_000, 94_999, 5_001, "5.00", True),
        (100_000, 106_000, -6_000, "-6.00", True),
        (0, 0, 0, None, False),
        (0, 1, -1, None, True),
    ],
)
def test_the_meter_beside_its_points(
    meter: int, points: int, difference: int, percent: str | None, flagged: bool
) -> None:
    found = supply.compared(meter, points, Decimal(5))
    expected = None if percent is None else Decimal(percent)
    assert (found.difference_wh, found.percent, found.is_flagged) == (difference, expected, flagged)
