"""Orders of the operator's own as values: deposits, cancelling, withdrawal, late cancellations."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import orders
from billing.payment_state import diagram, follow
from csms.deadlines import OFFICE_HOURS, ROUND_THE_CLOCK


@pytest.mark.parametrize(
    ("total", "deposit", "balance"),
    [(600_000, 300_000, 300_000), (100_001, 50_001, 50_000), (1, 1, 0)],
)
def test_half_is_paid_with_the_signature(total: int, deposit: int, balance: int) -> None:
    assert orders.deposit_excl_cents(total) == deposit
    assert orders.balance_excl_cents(total) == balance


@given(st.integers(0, 10**9))
def test_deposit_and_balance_are_the_price(total: int) -> None:
    parts = orders.deposit_excl_cents(total), orders.balance_excl_cents(total)
    assert sum(parts) == total
    assert min(parts) >= 0


@pytest.mark.parametrize(
    ("total", "cost"),
    [
        (100_000, 35_000),  # 20 % would be 200: 350 at least
        (174_999, 35_000),
        (175_000, 35_000),  # where both are the same
        (175_010, 35_002),
        (600_000, 120_000),
    ],
)
def test_to_cancel_costs_a_fifth_and_350_euros_at_least(total: int, cost: int) -> None:
    found = orders.cancelled(total, orders.deposit_excl_cents(total))
    assert found.cost_excl_cents == cost
    assert found.left_excl_cents == found.deposit_excl_cents - cost


@given(st.integers(1, 10**8))
def test_what_is_left_and_what_it_costs_are_the_deposit(total: int) -> None:
    found = orders.cancelled(total, orders.deposit_excl_cents(total))
    assert found.cost_excl_cents + found.left_excl_cents == found.deposit_excl_cents
    assert found.cost_excl_cents >= 35_000


def test_days() -> None:
    assert orders.deposit_due_on(date(2026, 11, 20)) == date(2026, 11, 26)
    assert orders.balance_last_on(date(2026, 11, 20)) == date(2026, 12, 5)
    # Signed on Friday 6 November: the fourteenth day is Friday the 20th.
    assert orders.withdrawal_until(date(2026, 11, 6)) == date(2026, 11, 20)
    # Signed on the 7th: the 21st is a Saturday, so Monday the 23rd.
    assert orders.withdrawal_until(date(2026, 11, 7)) == date(2026, 11, 23)
    assert orders.refund_due_on(date(2026, 11, 20)) == date(2026, 12, 4)


def test_a_cancellation_is_late_by_working_hours() -> None:
    """The visit is on Monday 23 November at 10:00 in Paris: 48 hours of 9 to 18 are more than
    five days, and two round the clock (weekends apart)."""
    visit = datetime(2026, 11, 23, 9, tzinfo=UTC)
    for day, late in ((13, False), (16, True), (20, True)):
        at = datetime(2026, 11, day, 9, tzinfo=UTC)
        assert orders.is_late_cancellation(at, visit, OFFICE_HOURS) == late
    assert not orders.is_late_cancellation(
        datetime(2026, 11, 19, 8, tzinfo=UTC), visit, ROUND_THE_CLOCK
    )


def test_what_follows_what_stands_in_one_table() -> None:
    assert follow(orders.QUOTES, "draft", "accept") == "accepted"
    assert follow(orders.QUOTES, "completed", "cancel") is None
    assert "accepted --> cancelled: cancel" in diagram(orders.QUOTES, "draft")
