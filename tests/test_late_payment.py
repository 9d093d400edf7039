"""Late payment: what three times the legal rate comes to, and when nobody may say."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.late_payment import Interest, NoRate, indemnity_cents, interest, semester_of

RATES = {
    "2024-S1": Decimal("5.07"),
    "2025-S2": Decimal("2.76"),
    "2026-S1": Decimal("2.62"),
    "2026-S2": Decimal("2.75"),
    "2027-S1": Decimal("3.10"),
}
DUE = st.dates(date(2025, 7, 1), date(2027, 6, 29))
CENTS = st.integers(0, 10**7)


def cents(*given: object, **values: object) -> int:
    found = interest(*given, RATES, **values)  # type: ignore[arg-type]
    assert isinstance(found, Interest), found
    return found.cents


@pytest.mark.parametrize(
    ("principal_cents", "due_on", "paid_on", "wanted"),
    [
        # 1 000,00 EUR, due on 15 January and paid on 14 February 2026: 30 days at 7,86 %
        # 1 000 x 0,0786 x 30 / 365 = 6,4603
        (100_000, date(2026, 1, 15), date(2026, 2, 14), 646),
        # paid on the next day: one day; 0,2153
        (100_000, date(2026, 1, 15), date(2026, 1, 16), 22),
        # paid on the day: nothing
        (100_000, date(2026, 1, 15), date(2026, 1, 15), 0),
        # across the half year: 15 days of June at 7,86 % and 10 of July at 8,25 %
        # 3,2301 + 2,2603 = 5,4904
        (100_000, date(2026, 6, 15), date(2026, 7, 10), 549),
        # a leap year has 366 days and counts 365: the whole first half of 2024, 182 days
        # 1 000 x 0,1521 x 182 / 365 = 75,8416
        (100_000, date(2023, 12, 31), date(2024, 6, 30), 7_584),
    ],
)
def test_examples_worked_out_by_hand(
    principal_cents: int, due_on: date, paid_on: date, wanted: int
) -> None:
    assert cents(principal_cents, due_on, paid_on) == wanted


def test_what_came_in_bears_interest_on_its_own_day_and_not_after() -> None:
    """1 000,00 due on 15 January; 400,00 come on the 25th, the rest on 14 February: ten days of
    1 000 and twenty of 600, at 7,86 %: 2,1534 + 2,5841 = 4,7375."""
    found = interest(
        100_000, date(2026, 1, 15), date(2026, 2, 14), RATES, [(date(2026, 1, 25), 40_000)]
    )
    assert isinstance(found, Interest)
    assert found.cents == 474
    assert [(span.days, span.principal_cents) for span in found.spans] == [
        (10, 100_000),
        (20, 60_000),
    ]


def test_what_came_in_before_it_was_due_is_not_late() -> None:
    early = [(date(2026, 1, 10), 40_000), (date(2026, 1, 15), 60_000)]
    assert cents(100_000, date(2026, 1, 15), date(2026, 3, 1), credits=early) == 0


def test_a_rate_that_nobody_verified_refuses_and_says_which() -> None:
    known = {"2026-S1": Decimal("2.62")}
    found = interest(100_000, date(2026, 6, 15), date(2026, 7, 10), known)
    assert found == NoRate("2026-S2")
    assert "2026-S2" in found.message and "legal-rates/2026-S2" in found.remedy
    assert cents(100_000, date(2026, 6, 15), date(2026, 6, 30)) > 0


@pytest.mark.parametrize(
    ("client_class", "wanted"),
    [("professionnel", 4_000), ("non_professionnel", 0), ("particulier", 0)],
)
def test_forty_euros_are_for_professionals(client_class: str, wanted: int) -> None:
    assert indemnity_cents(client_class) == wanted


def test_semesters() -> None:
    days = (date(2026, 1, 1), date(2026, 6, 30), date(2026, 7, 1), date(2026, 12, 31))
    assert [semester_of(day) for day in days] == ["2026-S1", "2026-S1", "2026-S2", "2026-S2"]


def by_days(principal: int, due_on: date, until_on: date) -> Fraction:
    """Day by day, the plain way."""
    whole, day = Fraction(), due_on + timedelta(days=1)
    while day <= until_on:
        percent = Fraction(RATES[semester_of(day)])
        whole += principal * 3 * percent / 100 / 365
        day += timedelta(days=1)
    return whole


@given(CENTS, DUE, st.integers(0, 300), st.integers(0, 300))
def test_any_period_is_what_its_days_add_up_to(
    principal: int, due_on: date, first: int, second: int
) -> None:
    middle = min(due_on + timedelta(days=first), date(2027, 6, 30))
    end = min(middle + timedelta(days=second), date(2027, 6, 30))
    exact = by_days(principal, due_on, end)
    assert abs(cents(principal, due_on, end) - exact) <= Fraction(1, 2)
    # Split anywhere, rounding apart, it is the same.
    parts = cents(principal, due_on, middle) + cents(principal, middle, end)
    assert abs(parts - exact) <= 1


@given(CENTS, DUE, st.lists(st.tuples(st.integers(-10, 200), CENTS), max_size=4))
def test_payments_in_part_are_so_many_debts_with_a_day_each(
    principal: int, due_on: date, paid: list[tuple[int, int]]
) -> None:
    end = min(due_on + timedelta(days=200), date(2027, 6, 30))
    left, credits, exact = principal, [], Fraction()
    for days, amount in sorted(paid):
        day = due_on + timedelta(days=days)
        part = min(left, amount)
        credits.append((day, part))
        left -= part
        exact += by_days(part, due_on, min(day, end))
    exact += by_days(left, due_on, end)
    found = cents(principal, due_on, end, credits=credits)
    assert abs(found - exact) <= Fraction(1, 2)
