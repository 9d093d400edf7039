"""What to do about an unpaid invoice, day after day."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import payment_state, reminding
from billing.reminding import NOTHING, Claim, Kind, Letter, Rules, Step, next_step
from csms.deadlines import Days, counts

RULES = Rules((7, 21, 35), pause_days=7, notice_days=8, min_cents=100)
DUE = date(2026, 11, 5)  # a Thursday


def done(claim: Claim, step: Step, today: date, *, told: bool = True) -> Claim:
    """The invoice after the step; `told`: a notice reaches her at once."""
    if step.kind is Kind.REMIND:
        return replace(claim, letters=(*claim.letters, Letter(step.level, today)))
    if step.kind is Kind.ANNOUNCE:
        assert step.takes_effect_on is not None
        letters = (*claim.letters, Letter(0, today, step.takes_effect_on))
        return replace(claim, letters=letters, told_on=today if told else None)
    return replace(claim, is_blocked=step.kind is Kind.BLOCK)


def walk(claim: Claim, days: list[date], rules: Rules = RULES) -> list[tuple[date, Step]]:
    """What is done on these days, in their order."""
    told = []
    for today in days:
        step = next_step(claim, today, rules)
        if step != NOTHING:
            told.append((today, step))
            claim = done(claim, step, today)
    return told


def after(days: int) -> date:
    return DUE + timedelta(days)


def test_an_invoice_that_nobody_pays_is_reminded_of_announced_and_blocks() -> None:
    told = walk(Claim(DUE, 4_000), [after(days) for days in range(90)])
    assert told == [
        (after(7), Step(Kind.REMIND, 1)),
        (after(21), Step(Kind.REMIND, 2)),
        (after(35), Step(Kind.REMIND, 3)),
        (after(42), Step(Kind.ANNOUNCE, takes_effect_on=date(2026, 12, 28))),  # 25th: Christmas
        (date(2026, 12, 28), Step(Kind.BLOCK)),
    ]


def test_on_days_off_nobody_is_written_to() -> None:
    due = date(2026, 12, 18)
    told = walk(Claim(due, 4_000), [due + timedelta(days) for days in range(16)])
    assert told == [(date(2026, 12, 28), Step(Kind.REMIND, 1))], "the 25th is Christmas, a Friday"


def test_after_an_outage_one_letter_goes_out_and_the_next_keeps_its_distance() -> None:
    told = walk(Claim(DUE, 4_000), [after(days) for days in range(34, 60)])
    assert told[:2] == [(after(34), Step(Kind.REMIND, 2)), (after(41), Step(Kind.REMIND, 3))]
    late = walk(Claim(DUE, 4_000), [after(days) for days in range(60, 75)])
    assert [step.kind for _, step in late] == [Kind.REMIND, Kind.ANNOUNCE]
    assert late[0][1].level == 3


def test_the_operators_own_invoices_block_nobody() -> None:
    told = walk(Claim(DUE, 4_000, blocks=False), [after(days) for days in range(365)])
    assert [step for _, step in told] == [Step(Kind.REMIND, level) for level in (1, 2, 3)]


NOTICED = (Letter(3, after(35)), Letter(0, after(42), after(50)))


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (Claim(DUE, 99), NOTHING),
        (Claim(DUE, 100), Step(Kind.REMIND, 3)),
        (Claim(DUE, 4_000, is_contested=True), NOTHING),
        (Claim(DUE, 4_000, is_debited=True), NOTHING),
        (Claim(DUE, 4_000, letters=NOTICED, told_on=after(42)), Step(Kind.BLOCK)),
        (Claim(DUE, 4_000, letters=NOTICED, told_on=after(45)), Step(Kind.BLOCK)),
        (Claim(DUE, 4_000, letters=NOTICED, told_on=after(46)), NOTHING),
        (Claim(DUE, 4_000, letters=NOTICED, told_on=None), NOTHING),
        (Claim(DUE, 4_000, letters=NOTICED, told_on=after(42), is_waived=True), NOTHING),
        (Claim(DUE, 4_000, letters=NOTICED, is_blocked=True), NOTHING),
        (Claim(DUE, 0, letters=NOTICED, is_blocked=True), Step(Kind.CLEAR)),
        (Claim(DUE, 99, letters=NOTICED, is_blocked=True), Step(Kind.CLEAR)),
        (Claim(DUE, 4_000, True, letters=NOTICED, is_blocked=True), Step(Kind.CLEAR)),
        (Claim(DUE, 4_000, False, True, letters=NOTICED, is_blocked=True), Step(Kind.CLEAR)),
    ],
)
def test_what_is_not_pursued_is_left_in_peace(claim: Claim, expected: Step) -> None:
    assert next_step(claim, after(53), RULES) == expected


def test_a_block_ends_on_a_day_off_too() -> None:
    sunday = date(2026, 12, 27)
    paid = Claim(DUE, 0, letters=NOTICED, is_blocked=True)
    assert next_step(paid, sunday, RULES).kind is Kind.CLEAR


def test_a_longer_notice_counts_for_those_who_had_a_shorter_one() -> None:
    claim = Claim(DUE, 4_000, letters=NOTICED, told_on=after(42))
    longer = replace(RULES, notice_days=30)
    told = walk(claim, [after(days) for days in range(43, 90)], longer)
    assert told[0][0] >= after(42 + 30)


def test_every_state_is_in_the_diagram() -> None:
    text = payment_state.diagram(reminding.REMINDERS, "due")
    assert all(state in text for state in ("due", "reminded", "announced", "blocked", "clear"))


rules = st.builds(
    lambda days, pause, notice, least: Rules(tuple(sorted(days)), pause, notice, least),
    st.sets(st.integers(1, 90), min_size=1, max_size=5),
    st.integers(1, 20),
    st.integers(1, 40),
    st.integers(0, 500),
)
happenings = st.lists(
    st.tuples(
        st.integers(0, 20),  # days since the one before: 0 is the same day again
        st.sampled_from([0, 50, 4_000]),
        st.booleans(),
        st.booleans(),
        st.booleans(),  # what was sent has arrived
    ),
    max_size=60,
)


@given(rules, happenings, st.booleans())
def test_whatever_happens_nobody_is_wronged(
    rules: Rules, happenings: list[tuple[int, int, bool, bool, bool]], blocks: bool
) -> None:
    claim, today = Claim(DUE, 4_000, blocks=blocks), DUE
    letters: list[tuple[date, int]] = []
    for days, left_cents, is_contested, is_debited, has_arrived in happenings:
        today += timedelta(days)
        if has_arrived and claim.notice is not None and claim.told_on is None:
            claim = replace(claim, told_on=today)
        claim = replace(
            claim, left_cents=left_cents, is_contested=is_contested, is_debited=is_debited
        )
        step = next_step(claim, today, rules)
        if step == NOTHING:
            continue
        before = reminding.state(claim)
        after_it = payment_state.follow(reminding.REMINDERS, before, step.kind)
        assert after_it is not None, f"{step.kind} while {before}"
        pursued = left_cents >= max(1, rules.min_cents) and not is_contested and not is_debited
        assert pursued == (step.kind is not Kind.CLEAR)
        if step.kind in (Kind.REMIND, Kind.ANNOUNCE):
            assert counts(today, Days.OUVRE)
            letters.append((today, step.level or rules.levels + 1))
        if step.kind is Kind.BLOCK:
            assert blocks and claim.notice is not None
            assert claim.notice.takes_effect_on is not None
            assert claim.notice.takes_effect_on <= today
            assert claim.told_on is not None
            assert (today - claim.told_on).days >= rules.notice_days
            assert len(letters) > 1, "a reminder, then the notice"
        claim = done(claim, step, today, told=has_arrived)
    for (sooner, lower), (later, higher) in pairwise(letters):
        assert lower < higher
        assert (later - sooner).days >= rules.pause_days
