"""The management contract: dates worked by hand from article 6, and laws of all dates."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.domain import contract as rules
from csms.domain.contract import (
    TRANSITIONS,
    ClientClass,
    Closure,
    Contract,
    Kind,
    State,
    Suspension,
    Terms,
)
from csms.domain.values import add_months

DAY = timedelta(days=1)
START = date(2026, 5, 25)


def of(client_class: str = "particulier", term_months: int = 24, **fields: Any) -> Contract:
    plain: dict[str, Any] = {"signed_on": START - 20 * DAY, "starts_on": START}
    return Contract(ClientClass(client_class), term_months=term_months, **(plain | fields))


def day(text: str) -> date:
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("client_class", "term_months", "anniversary", "deadline", "first_letter", "last_letter"),
    [
        ("particulier", 24, "2027-05-25", "2027-02-25", "2026-11-25", "2027-01-25"),
        ("non_professionnel", 36, "2029-05-25", "2029-02-25", "2028-11-25", "2029-01-25"),
        ("non_professionnel", 24, "2028-05-25", "2028-02-25", "2027-11-25", "2028-01-25"),
        ("professionnel", 36, "2029-05-25", "2029-02-25", "2028-11-25", "2029-01-25"),
    ],
)
def test_the_first_anniversary_and_what_comes_before_it(
    client_class: str,
    term_months: int,
    anniversary: str,
    deadline: str,
    first_letter: str,
    last_letter: str,
) -> None:
    found = rules.anniversary(of(client_class, term_months), 1)
    assert found == day(anniversary)
    assert rules.notice_deadline(found) == day(deadline)
    assert rules.letter_window(found) == (day(first_letter), day(last_letter))


def test_a_contract_of_29_february_keeps_to_the_end_of_the_month() -> None:
    leap = of(starts_on=date(2024, 2, 29))
    assert [rules.anniversary(leap, n) for n in (1, 4)] == [day("2025-02-28"), day("2028-02-29")]
    assert rules.notice_deadline(day("2025-05-31")) == day("2025-02-28")
    assert rules.letter_window(day("2025-05-31")) == (day("2024-11-28"), day("2025-01-28"))


@pytest.mark.parametrize(
    ("client_class", "notified", "ends"),
    [
        ("particulier", "2026-06-01", "2027-05-24"),
        ("particulier", "2027-02-25", "2027-05-24"),  # the last day
        ("particulier", "2027-02-26", "2028-05-24"),  # too late by one
        ("professionnel", "2027-02-25", "2029-05-24"),
        ("professionnel", "2029-02-25", "2029-05-24"),
        ("professionnel", "2029-02-26", "2032-05-24"),  # renewed by the same period
        ("non_professionnel", "2029-02-25", "2029-05-24"),
    ],
)
def test_a_notice_ends_the_contract_at_the_next_anniversary_it_is_in_time_for(
    client_class: str, notified: str, ends: str
) -> None:
    term_months = 24 if client_class == "particulier" else 36
    found = rules.leaving(of(client_class, term_months), day(notified))
    assert found.ends_on == day(ends)
    assert found.anniversary_on == day(ends) + DAY
    assert not found.free


@pytest.mark.parametrize(
    ("letters", "free"),
    [
        ((), True),
        (("2026-11-24",), True),  # a day too early
        (("2026-11-25",), False),
        (("2027-01-25",), False),
        (("2027-01-26",), True),  # a day too late
        (("2026-11-24", "2026-12-24"), False),
        (("2027-12-01",), True),  # of the next anniversary
    ],
)
def test_without_the_letter_the_client_leaves_on_any_day_after_the_renewal(
    letters: tuple[str, ...], free: bool
) -> None:
    contract = of(letters_on=tuple(day(letter) for letter in letters))
    renewed = day("2027-05-25")
    assert rules.free_to_leave(contract, renewed) is free
    assert not rules.free_to_leave(contract, renewed - DAY)  # the first year is firm
    if free:
        assert rules.leaving(contract, day("2027-09-10")) == (day("2027-09-10"), None, True)


def test_the_next_letter_ends_the_freedom_to_leave() -> None:
    contract = of(letters_on=(day("2027-12-01"),))
    assert rules.free_to_leave(contract, day("2028-05-24"))
    assert not rules.free_to_leave(contract, day("2028-05-25"))


def test_a_professional_has_no_right_to_the_letter() -> None:
    contract = of("professionnel", 36)
    assert not rules.letter_due(contract)
    assert not rules.free_to_leave(contract, day("2030-01-01"))
    assert rules.letter_due(of("non_professionnel", 36))


def test_our_notices_count_from_receipt() -> None:
    # Received on Monday 1 June: the seven days are those from the 2nd to the 8th.
    assert rules.suspension_from(day("2026-06-01")) == day("2026-06-09")
    assert rules.termination_on(day("2026-06-01")) == day("2026-07-01")
    assert rules.termination_on(day("2027-01-31")) == day("2027-02-28")


TERMS = [
    Terms(
        date(2026, 1, 1),
        date(2028, 1, 1),
        Decimal("0.05"),
        monthly_management_fee_cents=2_500,
        yearly_subscription_cents=120_000,
        monthly_telemetering_cents=900,
    ),
    Terms(
        date(2028, 1, 1),
        None,
        Decimal("0.05"),
        monthly_management_fee_cents=3_000,
        yearly_subscription_cents=130_000,
    ),
]
NEW_YEAR = of("professionnel", 36, starts_on=date(2026, 1, 1))


def test_the_indemnity_is_what_would_have_been_paid_to_the_term() -> None:
    """Leaving after September 2026 what runs until the end of 2028: subscriptions of January 2027
    (1,200.00) and 2028 (1,300.00), fees of 15 months at 25.00 and 12 at 30.00."""
    found = rules.indemnity(
        NEW_YEAR, TERMS, notified_on=day("2026-09-01"), leaves_on=day("2026-09-30")
    )
    assert (found.term_on, found.why) == (day("2028-12-31"), "early")
    by_kind = {"subscription": 0, "management_fee": 0}
    for line in found.lines:
        by_kind[line.what] += line.amount_cents
    assert by_kind == {"subscription": 250_000, "management_fee": 15 * 2_500 + 12 * 3_000}
    assert found.total_cents == 323_500
    assert found.lines[0] == (day("2026-10-01"), "management_fee", 2_500)


def test_a_particulier_owes_no_more_than_to_his_next_anniversary() -> None:
    yearly = replace(NEW_YEAR, client_class=ClientClass.PARTICULIER, term_months=24)
    found = rules.indemnity(
        yearly, TERMS, notified_on=day("2026-09-01"), leaves_on=day("2026-09-30")
    )
    assert (found.term_on, found.total_cents) == (day("2026-12-31"), 3 * 2_500)


@pytest.mark.parametrize(
    ("client_class", "notified", "leaves", "why"),
    [
        ("professionnel", "2028-09-30", "2028-12-31", "in_time"),
        ("professionnel", "2028-09-30", "2029-06-30", "in_time"),
        ("non_professionnel", "2029-02-01", "2029-02-01", "free"),  # never told of the renewal
    ],
)
def test_who_may_leave_owes_nothing(
    client_class: str, notified: str, leaves: str, why: str
) -> None:
    contract = replace(NEW_YEAR, client_class=ClientClass(client_class))
    found = rules.indemnity(contract, TERMS, notified_on=day(notified), leaves_on=day(leaves))
    assert (found.why, found.total_cents, found.lines) == (why, 0, ())


@pytest.mark.parametrize(
    ("fields", "states"),
    [
        ({"signed_on": None}, [("2026-06-01", "draft")]),
        ({}, [("2026-05-24", "draft"), ("2026-05-25", "active"), ("2040-01-01", "active")]),
        (
            {"suspensions": (Suspension(day("2026-07-01"), day("2026-08-01")),)},
            [
                *(("2026-06-30", "active"), ("2026-07-01", "suspended")),
                *(("2026-07-31", "suspended"), ("2026-08-01", "active")),
            ],
        ),
        (
            {"suspensions": (Suspension(day("2026-07-01"), day("2026-07-01")),)},
            [("2026-07-01", "active")],
        ),
        (
            {"notice_on": day("2026-09-01"), "ends_on": day("2027-05-24")},
            [
                *(("2026-08-31", "active"), ("2026-09-01", "notice_given")),
                *(("2027-05-24", "notice_given"), ("2027-05-25", "ended")),
            ],
        ),
        (
            {
                "suspensions": (Suspension(day("2026-07-01"), None),),
                "notice_on": day("2026-09-01"),
                "ends_on": day("2026-10-01"),
                "closed_on": day("2026-11-15"),
            },
            [
                *(("2026-08-31", "suspended"), ("2026-09-01", "suspended_notice_given")),
                *(("2026-10-02", "ended"), ("2026-11-15", "closed")),
            ],
        ),
        (
            {"notice_on": day("2026-05-01"), "ends_on": day("2027-05-24")},
            [("2026-05-25", "notice_given")],
        ),
        (
            {"signed_on": None, "closed_on": day("2026-06-10")},
            [("2026-06-09", "draft"), ("2026-06-10", "closed")],
        ),
    ],
)
def test_the_state_of_a_contract_on_a_day(
    fields: dict[str, Any], states: list[tuple[str, str]]
) -> None:
    contract = of(**fields)
    assert [(on, rules.state_at(contract, day(on)).value) for on, _ in states] == states


def test_no_state_leads_back_from_the_end() -> None:
    after = {state: {to for (frm, _), to in TRANSITIONS.items() if frm is state} for state in State}
    assert after[State.CLOSED] == set()
    assert after[State.ENDED] == {State.CLOSED}
    assert State.DRAFT not in set(TRANSITIONS.values())
    assert not rules.may(State.CLOSED, Kind.RESUME)


def test_the_diagram_is_printed_from_the_table() -> None:
    lines = rules.diagram().splitlines()
    assert len(lines) == len(TRANSITIONS) + 2
    assert "    suspended --> active: resume" in lines


def test_invoices_are_ours_from_the_mandate_to_its_revocation() -> None:
    contract = of(mandate_from_on=day("2026-06-01"), mandate_revoked_on=day("2026-09-01"))
    asked = ["2026-05-31", "2026-06-01", "2026-08-31", "2026-09-01"]
    assert [rules.mandated(contract, day(on)) for on in asked] == [False, True, True, False]
    assert not rules.mandated(of(), day("2026-06-01"))
    over = of(mandate_from_on=START, notice_on=day("2026-06-01"), ends_on=day("2026-07-01"))
    assert rules.mandated(over, day("2026-07-01"))
    assert not rules.mandated(over, day("2026-07-02"))


def test_the_calendar_of_a_year() -> None:
    contract = of(suspensions=(Suspension(day("2026-08-01"), day("2026-08-15")),))
    found = rules.calendar(contract, day("2026-05-25"), day("2027-05-25"))
    anniversary = day("2027-05-25")
    assert found == [
        (day("2026-05-25"), "start", None),
        (day("2026-08-01"), "suspension", None),
        (day("2026-08-15"), "resumption", None),
        (day("2026-11-25"), "letter_from", anniversary),
        (day("2027-01-25"), "letter_until", anniversary),
        (day("2027-02-25"), "notice_deadline", anniversary),
        (day("2027-05-25"), "renewal", anniversary),
    ]


def test_the_calendar_ends_with_the_contract() -> None:
    contract = of(notice_on=day("2026-09-01"), ends_on=day("2027-05-24"))
    kinds = [each.kind for each in rules.calendar(contract, START, day("2030-01-01"))]
    assert kinds == ["start", "end"]


def test_closures_hold_from_their_beginning_up_to_their_end() -> None:
    begins = datetime(2026, 6, 8, 22, tzinfo=UTC)
    closure = Closure(begins, begins + DAY, "suspended")
    found = [rules.closed_at([closure], begins + n * timedelta(hours=12)) for n in (-1, 0, 1, 2)]
    assert found == [None, closure, closure, None]
    endless = Closure(begins, None, "ended")
    assert rules.closed_at([endless], begins + 9_000 * DAY) is endless


DATES = st.dates(date(2020, 1, 1), date(2060, 12, 31))
CONTRACTS = st.builds(
    Contract,
    client_class=st.sampled_from(ClientClass),
    signed_on=st.none() | DATES,
    starts_on=st.dates(date(2020, 1, 1), date(2030, 12, 31)),
    term_months=st.integers(1, 60),
    letters_on=st.lists(DATES, max_size=5).map(tuple),
)


@given(CONTRACTS, DATES)
def test_a_notice_is_never_kept_longer_than_a_period_and_three_months(
    contract: Contract, notified: date
) -> None:
    found = rules.leaving(contract, notified)
    assert found.ends_on >= notified or notified < contract.starts_on
    longest = add_months(max(notified, contract.starts_on), rules.step_months(contract) + 3)
    assert found.ends_on <= longest + 3 * DAY  # months of 28 days
    if found.anniversary_on is not None:
        assert notified <= rules.notice_deadline(found.anniversary_on)


@given(CONTRACTS, DATES)
def test_a_client_who_was_always_told_is_never_free_to_leave(contract: Contract, on: date) -> None:
    windows = [rules.letter_window(rules.anniversary(contract, n))[0] for n in range(1, 500)]
    assert not rules.free_to_leave(replace(contract, letters_on=tuple(windows)), on)


@given(CONTRACTS, DATES, st.integers(0, 1_000), st.integers(0, 1_000))
def test_who_stays_longer_owes_less(
    contract: Contract, notified: date, first: int, more: int
) -> None:
    terms = [Terms(date(2000, 1, 1), None, Decimal(0), 1_999, 35_001, 0)]
    sooner = rules.indemnity(
        contract, terms, notified_on=notified, leaves_on=notified + first * DAY
    )
    later = rules.indemnity(
        contract, terms, notified_on=notified, leaves_on=notified + (first + more) * DAY
    )
    assert 0 <= later.total_cents <= sooner.total_cents
    assert sooner.total_cents == sum(line.amount_cents for line in sooner.lines)
    assert all(isinstance(line.amount_cents, int) for line in sooner.lines)


@given(CONTRACTS, st.lists(st.tuples(DATES, st.none() | st.integers(0, 400)), max_size=3), DATES)
def test_states_follow_one_another_as_the_table_says(
    contract: Contract, spans: list[tuple[date, int | None]], ends: date
) -> None:
    suspensions = tuple(Suspension(on, None if n is None else on + n * DAY) for on, n in spans)
    contract = replace(contract, suspensions=suspensions, notice_on=ends - 90 * DAY, ends_on=ends)
    if contract.signed_on is None:
        assert rules.state_at(contract, ends) is State.DRAFT
        return
    if ends >= contract.starts_on:
        assert rules.state_at(contract, ends + DAY) is State.ENDED
    assert rules.state_at(contract, contract.starts_on - DAY) is State.DRAFT
