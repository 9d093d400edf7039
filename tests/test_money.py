"""Cents, rates, shares: exact, half up, and no float anywhere."""

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import cents, euros, round_half_up, share, split, vat_in, vat_on

AMOUNTS = st.integers(-10_000_000, 10_000_000)
PERCENTS = st.decimals(0, 100, places=2)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [("0.5", 1), ("0.49", 0), ("1.5", 2), ("2.5", 3), ("-0.5", -1), ("-2.5", -3), ("-0.49", 0)],
)
def test_halves_go_away_from_zero(value: str, rounded: int) -> None:
    assert round_half_up(Decimal(value)) == rounded


def test_a_long_decimal_is_rounded_once_and_exactly() -> None:
    assert round_half_up(Decimal("2.4999999999999999999999999999999999999999")) == 2
    assert round_half_up(Decimal("123456789012345678901234567890.5")) == (
        123456789012345678901234567891
    )


def test_euros_become_cents_and_back() -> None:
    assert cents(Decimal("12.345")) == 1235
    assert cents(Decimal("-12.345")) == -1235
    assert str(euros(1200)) == "12.00"
    assert str(euros(-5)) == "-0.05"


def test_a_price_of_twelve_euros_contains_two_of_vat() -> None:
    assert vat_in(1200, Decimal(20)) == 200
    assert vat_on(1000, Decimal(20)) == 200
    assert vat_in(1200, Decimal(0)) == 0
    assert vat_in(500, Decimal("5.5")) == 26  # 26.066
    assert vat_on(475, Decimal("5.2")) == 25  # 24.7


def test_a_share_is_rounded_half_up() -> None:
    assert share(1005, Decimal("0.1")) == 101  # 100.5
    assert share(-1005, Decimal("0.1")) == -101
    assert share(1000, Decimal(0)) == 0


@pytest.mark.parametrize("given_float", [0.5, 1.0])
def test_a_float_is_no_money(given_float: float) -> None:
    assert share(2, Decimal(given_float)) == 2 * given_float  # its equal is, and was seen first
    for attempt in (
        lambda: round_half_up(given_float),  # type: ignore[arg-type]
        lambda: cents(given_float),  # type: ignore[arg-type]
        lambda: euros(given_float),  # type: ignore[arg-type]
        lambda: vat_in(given_float, Decimal(20)),  # type: ignore[arg-type]
        lambda: vat_in(100, given_float),  # type: ignore[arg-type]
        lambda: vat_on(given_float, Decimal(20)),  # type: ignore[arg-type]
        lambda: vat_on(100, given_float),  # type: ignore[arg-type]
        lambda: share(given_float, Decimal(1)),  # type: ignore[arg-type]
        lambda: share(100, given_float),  # type: ignore[arg-type]
        lambda: split(given_float, [1]),  # type: ignore[arg-type]
        lambda: split(given_float, []),  # type: ignore[arg-type]
        lambda: split(1, [given_float]),  # type: ignore[list-item]
    ):
        with pytest.raises(TypeError):
            attempt()


def test_the_first_among_equals_gets_the_odd_cent() -> None:
    assert split(100, [1, 1, 1]) == [34, 33, 33]
    assert split(-100, [1, 1, 1]) == [-34, -33, -33]
    assert split(5, [0, 0]) == [3, 2]
    assert split(0, []) == []


def test_the_largest_remainder_gets_the_odd_cent() -> None:
    assert split(10, [1, 3, 6]) == [1, 3, 6]
    assert split(11, [100, 355, 645]) == [1, 4, 6]  # 1.00, 3.55, 6.45
    assert split(7, [0, 5, 0]) == [0, 7, 0]


def test_nothing_is_split_by_a_negative_weight_or_among_nobody() -> None:
    with pytest.raises(ValueError, match="negative weight"):
        split(10, [2, -1])
    with pytest.raises(ValueError, match="nobody"):
        split(10, [])


@given(AMOUNTS, PERCENTS)
def test_vat_is_the_nearest_cent_and_a_credit_mirrors_its_charge(
    amount: int, percent: Decimal
) -> None:
    exact = Fraction(amount) * Fraction(percent) / (100 + Fraction(percent))
    contained = vat_in(amount, percent)
    assert abs(contained - exact) <= Fraction(1, 2)
    assert contained == -vat_in(-amount, percent)
    assert vat_on(amount, percent) == -vat_on(-amount, percent)
    assert vat_on(amount, percent) == int(
        (amount * percent / 100).quantize(Decimal(1), ROUND_HALF_UP)
    )


@given(AMOUNTS, st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_shares_lose_no_cent_and_none_is_a_cent_off(total: int, weights: list[int]) -> None:
    parts = split(total, weights)

    assert sum(parts) == total
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        exact = Fraction(total * weight, whole) if whole else Fraction(total, len(weights))
        assert abs(part - exact) < 1
    assert split(-total, weights) == [-part for part in parts]
