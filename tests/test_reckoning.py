"""The sums of a month as values: whatever was paid, taken back, sold, contested, in which order."""

from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import reckoning
from billing.reckoning import Charged, Correction, Facts, Share, Sold
from billing.statement import Statement

MONTH = date(2026, 10, 1)
CLIENT = 3
RATES = (Decimal("0"), Decimal("0.05"), Decimal("0.0825"), Decimal("0.12"))
VAT_PERCENTS = (Decimal(0), Decimal("5.5"), Decimal(20))

NOTHING = Facts(
    CLIENT, "Résidence A", "Syndicat A", MONTH, "C-1", 0, 0, (), (), (), (), 0, 0, 0, None, False
)


def exact(base_cents: int, rate: Decimal) -> int:
    """Half up by the decimal module: another way than the product's."""
    return int((Decimal(base_cents) * rate).quantize(Decimal(1), ROUND_HALF_UP))


@st.composite
def bills(draw: st.DrawFn) -> list[tuple[int, tuple[tuple[Decimal, int, int], ...]]]:
    """Sessions, each with its VAT by rate: percent, gross, VAT."""
    found = []
    for session_id in range(1, draw(st.integers(1, 6)) + 1):
        percents = draw(st.lists(st.sampled_from(VAT_PERCENTS), min_size=1, unique=True))
        parts = []
        for percent in percents:
            gross = draw(st.integers(0, 5_000))
            vat = Fraction(gross) * Fraction(percent) / (100 + Fraction(percent))
            parts.append((percent, gross, int(vat + Fraction(1, 2))))
        found.append((session_id, tuple(parts)))
    return found


@st.composite
def payments(draw: st.DrawFn) -> list[list[Share]]:
    """Months of what came in for sessions and went back, never beyond what they cost."""
    sessions = draw(bills())
    paid: Counter[int] = Counter()
    months = []
    number = 0
    for _ in range(draw(st.integers(1, 4))):
        before = Counter(paid)
        shares = []
        for _ in range(draw(st.integers(0, 8))):
            session_id, parts = draw(st.sampled_from(sessions))
            price = sum(gross for _, gross, _ in parts)
            after = draw(st.integers(0, price))
            amount = after - paid[session_id]
            if not amount:
                continue
            number += 1
            correction = 900 + session_id if amount < 0 and draw(st.booleans()) else None
            rate = draw(st.sampled_from(RATES))
            shares.append(
                Share(number, session_id, amount, rate, correction, before[session_id], parts)
            )
            paid[session_id] = after
        months.append(shares)
    return months


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    """A month, its commissions sold as the close sells them."""
    shares = [share for month in draw(payments()) for share in month]
    shares = [replace(share, before_cents=0) for share in shares]
    corrections = [
        Correction(one, f"A-{one}", "Erreur de lecture", MONTH)
        for one in sorted({s.correction_id for s in shares if s.correction_id is not None})
    ]
    sold = []
    for rate, base in reckoning.commission_bases(shares).items():
        excl = reckoning.commission_cents(rate, base)
        vat = exact(excl, Decimal("0.2"))
        key = reckoning.commission_key(CLIENT, MONTH, rate)
        sold.append(Sold(1, "commission", "Commission", key, excl, vat, excl + vat, 1, "T-1"))
    for number in range(draw(st.integers(0, 3))):
        excl = draw(st.integers(0, 20_000))
        vat = exact(excl, Decimal("0.2"))
        sold.append(
            Sold(2, "management_fee", "Gestion", f"f{number}", excl, vat, excl + vat, 1, "T-1")
        )
    collected = sum(share.amount_cents for share in shares)
    return replace(
        NOTHING,
        opening_cents=-draw(st.integers(0, 30_000)),
        shares=shares,
        corrections=corrections,
        sold=sold,
        past_due_cents=draw(st.integers(0, 50_000)),
        held_cents=draw(st.integers(0, max(0, collected))),
        released_cents=draw(st.integers(0, 5_000)),
    )


def told(statement: Statement) -> int:
    """The net, from the figures that stand on the statement, as its reader adds them up."""
    return (
        statement.opening_cents
        + statement.collected_cents
        + sum(one.amount_cents for one in statement.adjustments)
        - sum(one.incl_cents for one in statement.commission)
        - sum(one.incl_cents for one in statement.fees)
        - statement.disputed_cents
        - statement.offset_cents
    )


@given(facts())
def test_the_figures_on_a_statement_add_up_to_its_net(month: Facts) -> None:
    statement = reckoning.compute(month)
    assert told(statement) == statement.net_cents


@given(facts())
def test_what_is_set_off_never_makes_a_net_negative_and_takes_all_it_may(month: Facts) -> None:
    statement = reckoning.compute(month)
    without = reckoning.compute(replace(month, past_due_cents=0))
    assert without.offset_cents == 0
    assert 0 <= statement.offset_cents <= month.past_due_cents
    assert statement.net_cents == without.net_cents - statement.offset_cents
    if statement.offset_cents:
        assert statement.net_cents >= 0
    if statement.offset_cents < month.past_due_cents:
        assert statement.net_cents <= 0, "there was more to set off"


@given(facts())
def test_each_rate_of_commission_is_rounded_once_on_all_that_it_is_of(month: Facts) -> None:
    statement = reckoning.compute(month)
    by_rate: Counter[Decimal] = Counter()
    for share in month.shares:
        by_rate[share.rate] += share.amount_cents
    assert {one.rate: (one.base_cents, one.excl_cents) for one in statement.commission} == {
        rate * 100: (base, exact(base, rate)) for rate, base in by_rate.items()
    }


@given(facts(), st.randoms(use_true_random=False))
def test_the_order_in_which_money_came_changes_no_sum(month: Facts, chance: Random) -> None:
    mixed = list(month.shares)
    chance.shuffle(mixed)
    there = reckoning.compute(month)
    here = reckoning.compute(replace(month, shares=mixed))
    assert here.net_cents == there.net_cents
    assert here.collected_cents == there.collected_cents
    assert here.adjustments == there.adjustments
    assert set(here.vat_collected) == set(there.vat_collected)


@given(facts(), st.integers(0, 20_000))
def test_what_is_held_is_let_go_to_the_cent(month: Facts, held_cents: int) -> None:
    without = replace(month, held_cents=0, released_cents=0, past_due_cents=0)
    first = reckoning.compute(replace(without, held_cents=held_cents))
    then = reckoning.compute(replace(NOTHING, released_cents=held_cents))
    assert first.net_cents + then.net_cents == reckoning.compute(without).net_cents
    assert first.disputed_cents == held_cents == -then.disputed_cents


@given(payments())
def test_vat_of_parts_paid_in_whatever_months_is_that_of_the_invoice(
    months: list[list[Share]],
) -> None:
    base: Counter[Decimal] = Counter()
    vat: Counter[Decimal] = Counter()
    paid: Counter[int] = Counter()
    prices: dict[int, reckoning.VatParts] = {}
    for shares in months:
        for one in reckoning.vat_collected(shares):
            base[one.percent] += one.base_cents
            vat[one.percent] += one.vat_cents
        for share in shares:
            paid[share.session_id] += share.amount_cents
            prices[share.session_id] = share.vat
    whole = {sid for sid, parts in prices.items() if paid[sid] == sum(g for _, g, _ in parts)}
    if any(cents and sid not in whole for sid, cents in paid.items()):
        # Some are paid in part: each rate has its part of the gross to a cent for each of them.
        parts_of = {
            percent: sum(
                (
                    Fraction(paid[sid] * gross, sum(g for _, g, _ in parts) or 1)
                    for sid, parts in prices.items()
                    for p, gross, _ in parts
                    if p == percent
                ),
                Fraction(),
            )
            for percent in VAT_PERCENTS
            if percent
        }
        for percent, wanted in parts_of.items():
            assert abs(base[percent] + vat[percent] - wanted) < max(1, len(prices))
        return
    for percent in VAT_PERCENTS[1:]:
        inside = [
            (gross, contained)
            for sid in whole
            for p, gross, contained in prices[sid]
            if p == percent
        ]
        assert vat[percent] == sum(contained for _, contained in inside)
        assert base[percent] == sum(gross - contained for gross, contained in inside)


@given(
    st.lists(
        st.builds(
            Charged,
            session_id=st.integers(1, 10**9),
            station_id=st.sampled_from(["A1", "A2"]),
            point=st.sampled_from(["Place 1", "Place 2"]),
            site=st.sampled_from(["Nord", "Sud"]),
            person_id=st.integers(1, 3),
            user=st.sampled_from(["Camille", "Dominique"]),
            energy_wh=st.integers(0, 10**6),
            amount_cents=st.integers(0, 10**5),
            collected_cents=st.integers(0, 10**5),
        ),
        max_size=20,
    )
)
def test_points_and_users_each_add_up_to_all_that_was_charged(charged: list[Charged]) -> None:
    statement = reckoning.compute(replace(NOTHING, charged=charged))
    assert statement.sessions == len(charged)
    for figures in (statement.points, statement.users):
        assert sum(one.sessions for one in figures) == statement.sessions
        assert sum(one.energy_wh for one in figures) == statement.energy_wh
        assert sum(one.billed_cents for one in figures) == statement.billed_cents
        assert sum(one.collected_cents for one in figures) == sum(
            one.collected_cents for one in charged
        )
    assert len(statement.points) == len({(c.site, c.point, c.station_id) for c in charged})
    assert len(statement.users) == len({(c.user, c.person_id) for c in charged})


def test_a_month_worked_out_by_hand() -> None:
    """120,00 collected, 12,00 given back by a credit note, 8 % of it, a fee of 9,90 with 20 % VAT,
    15,00 contested, 30,00 past due, 4,00 carried over from September."""
    vat = ((Decimal(20), 12_000, 2_000),)
    month = replace(
        NOTHING,
        opening_cents=-400,
        shares=[
            Share(1, 1, 12_000, Decimal("0.08"), None, 0, vat),
            Share(2, 1, -1_200, Decimal("0.08"), 9, 0, vat),
        ],
        corrections=[Correction(9, "MA003-A-2026-000001", "Erreur", date(2026, 9, 1))],
        sold=[
            Sold(1, "commission", "", "commission:3:2026-10:0.08", 864, 173, 1_037, 1, "T-1"),
            Sold(2, "management_fee", "Gestion", "fee", 990, 198, 1_188, 1, "T-1"),
        ],
        past_due_cents=3_000,
        held_cents=1_500,
    )
    statement = reckoning.compute(month)
    assert reckoning.commission_cents(Decimal("0.08"), 10_800) == 864
    assert statement.collected_cents == 12_000
    assert [one.amount_cents for one in statement.adjustments] == [-1_200]
    assert (statement.vat_collected[0].base_cents, statement.vat_collected[0].vat_cents) == (
        9_000,
        1_800,
    )
    # -4,00 + 120,00 - 12,00 - 10,37 - 11,88 - 15,00 - 30,00
    assert statement.net_cents == 3_675


def test_a_month_without_money_carries_its_fees_over() -> None:
    month = replace(
        NOTHING,
        sold=[Sold(2, "management_fee", "Gestion", "fee", 990, 198, 1_188, 1, "T-1")],
        past_due_cents=3_000,
    )
    statement = reckoning.compute(month)
    assert (statement.net_cents, statement.offset_cents) == (-1_188, 0)


def test_an_opening_above_nothing_is_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError):
        reckoning.compute(replace(NOTHING, opening_cents=1))
