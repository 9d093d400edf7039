"""The books as values: whatever happens in whatever order, nobody's money is lent to another."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing import ledger
from billing.ledger import BANK_MANDATE, BANK_OWN, PSP_CLEARING, Entry, Posting

DAY = date(2026, 10, 20)
CLIENTS = (2, 3)
DRIVERS = (7, 8)


@dataclass
class Bill:
    """An invoice, and what is left of it to be given back or paid."""

    id: int
    client_id: int
    person_id: int
    billed: int
    paid: Counter[int] = field(default_factory=Counter)  # by receipt

    @property
    def open_cents(self) -> int:
        return self.billed - self.paid.total()


@dataclass
class Money:
    """A receipt, and what of it is on invoices."""

    id: int
    person_id: int
    amount: int
    is_reversed: bool = False


class House:
    """Does what the stages do, with the constructors of the ledger and nothing else, and looks at
    the balances after every entry."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.sums: Counter[str] = Counter()
        self.numbers = count(1)
        self.bills: list[Bill] = []
        self.money: list[Money] = []
        self.held: list[tuple[int, int, int]] = []  # dispute, client, cents

    def post(self, *entries: Entry) -> None:
        for entry in entries:
            self.entries.append(entry)
            self.sums.update(ledger.balances([entry]))
            assert ledger.faults(self.sums) == [], entry

    def cents(self, account: ledger.Account) -> int:
        return self.sums[account.code]

    def available(self, client_id: int) -> int:
        return -self.cents(ledger.owed("available", client_id))

    # What happens. `pick` chooses among what is there, `size` says how much.

    def invoice(self, pick: int, size: int) -> None:
        bill = Bill(next(self.numbers), CLIENTS[pick % 2], DRIVERS[pick // 2 % 2], 1 + size)
        self.bills.append(bill)
        self.post(ledger.invoice_issued(bill.client_id, bill.id, f"F{bill.id}", bill.billed, DAY))
        self._pay_from_wallets()

    def receive(self, pick: int, size: int) -> None:
        money = Money(next(self.numbers), DRIVERS[pick % 2], 1 + size)
        into = (BANK_MANDATE, PSP_CLEARING)[pick // 2 % 2]
        self.money.append(money)
        self.post(ledger.money_received(money.id, money.person_id, into, money.amount, DAY))
        self._pay_from_wallets()

    def credit(self, pick: int, size: int) -> None:
        if bills := [bill for bill in self.bills if bill.billed]:
            bill = bills[pick % len(bills)]
            less = 1 + size % bill.billed
            number = next(self.numbers)
            bill.billed -= less
            self.post(ledger.invoice_issued(bill.client_id, number, f"A{number}", -less, DAY))
            for receipt_id in sorted(bill.paid, reverse=True):
                back = min(bill.paid[receipt_id], max(0, -bill.open_cents))
                self._allocate(bill, receipt_id, -back)
            self._pay_from_wallets()

    def reverse(self, pick: int, size: int) -> None:
        if whole := [money for money in self.money if not money.is_reversed]:
            money = whole[pick % len(whole)]
            for bill in self.bills:
                self._allocate(bill, money.id, -bill.paid[money.id])
            money.is_reversed = True
            # From where it is: what the provider paid over comes out of the bank.
            out = PSP_CLEARING if self.cents(PSP_CLEARING) >= money.amount else BANK_MANDATE
            number = next(self.numbers)
            self.post(ledger.money_received(number, money.person_id, out, -money.amount, DAY))
            self._pay_from_wallets()

    def own_invoice(self, pick: int, size: int) -> None:
        number, sign = next(self.numbers), -1 if pick % 5 == 0 else 1
        parts = (sign * (1 + size), sign * (size // 3), sign * (size // 5))
        client_id = CLIENTS[pick % 2]
        self.post(ledger.own_invoice(number, f"T{number}", client_id, *parts, booked_on=DAY))

    def set_off(self, pick: int, size: int) -> None:
        client_id = CLIENTS[pick % 2]
        due = min(self.available(client_id), self.cents(ledger.receivable_client(client_id)))
        if due > 0:
            month = date(2026 + next(self.numbers), 1, 1)
            self.post(ledger.offset(client_id, month, due, DAY))

    def hold(self, pick: int, size: int) -> None:
        client_id = CLIENTS[pick % 2]
        if (amount := min(1 + size, self.available(client_id))) > 0:
            self.held.append((next(self.numbers), client_id, amount))
            self.post(ledger.held(*self.held[-1], DAY))

    def release(self, pick: int, size: int) -> None:
        if self.held:
            self.post(ledger.released(*self.held.pop(pick % len(self.held)), DAY))

    def settle(self, pick: int, size: int) -> None:
        if (amount := self.cents(PSP_CLEARING)) > 0:
            fee = min(size, amount)
            self.post(ledger.provider_settled(str(next(self.numbers)), amount, fee, DAY))

    def pay_out(self, pick: int, size: int) -> None:
        """As the payouts of a later part will: only what is settled leaves the bank."""
        client_id = CLIENTS[pick % 2]
        if (amount := min(self.available(client_id), self.cents(BANK_MANDATE))) > 0:
            owed = ledger.owed("available", client_id)
            postings = (Posting(owed, amount), Posting(BANK_MANDATE, -amount))
            key = f"payout:{next(self.numbers)}"
            self.post(Entry(key, "payout", DAY, "Versement", client_id, postings))

    def _pay_from_wallets(self) -> None:
        """What billing.receipts does: the oldest money on the oldest invoices."""
        for money in self.money:
            for bill in self.bills:
                if money.is_reversed or bill.person_id != money.person_id:
                    continue
                left = money.amount - sum(each.paid[money.id] for each in self.bills)
                self._allocate(bill, money.id, max(0, min(left, bill.open_cents)))

    def _allocate(self, bill: Bill, receipt_id: int, cents: int) -> None:
        if not cents:
            return
        bill.paid[receipt_id] += cents
        available = self.available(bill.client_id) if cents < 0 else None
        self.post(
            ledger.allocated(
                str(next(self.numbers)),
                f"F{bill.id}",
                bill.client_id,
                bill.person_id,
                cents,
                DAY,
                available_cents=available,
            )
        )

    def undo_everything(self) -> None:
        for entry in reversed(self.entries.copy()):
            self.entries.append(ledger.reversal(entry, DAY))


ACTS: dict[str, Callable[[House, int, int], None]] = {
    act.__name__: act
    for act in (
        House.invoice,
        House.receive,
        House.credit,
        House.reverse,
        House.own_invoice,
        House.set_off,
        House.hold,
        House.release,
        House.settle,
        House.pay_out,
    )
}
happenings = st.lists(
    st.tuples(st.sampled_from(sorted(ACTS)), st.integers(0, 50), st.integers(0, 5_000)),
    max_size=40,
)
Happenings = list[tuple[str, int, int]]


def live(events: Happenings) -> House:
    house = House()
    for name, pick, size in events:
        ACTS[name](house, pick, size)
    return house


@settings(max_examples=2_000, deadline=None)
@given(happenings)
def test_nothing_is_ever_wrong_after_any_entry(events: Happenings) -> None:
    house = live(events)
    for client_id in CLIENTS:
        owing = sum(bill.open_cents for bill in house.bills if bill.client_id == client_id)
        assert house.cents(ledger.receivable_drivers(client_id)) == owing
    for person_id in DRIVERS:
        received = sum(
            money.amount
            for money in house.money
            if money.person_id == person_id and not money.is_reversed
        )
        paid = sum(bill.paid.total() for bill in house.bills if bill.person_id == person_id)
        assert -house.cents(ledger.wallet(person_id)) == received - paid


@settings(max_examples=300, deadline=None)
@given(happenings, st.randoms(use_true_random=False))
def test_the_order_of_entries_does_not_change_the_balances(
    events: Happenings, chance: Random
) -> None:
    entries = live(events).entries
    shuffled = entries.copy()
    chance.shuffle(shuffled)
    assert ledger.balances(shuffled) == ledger.balances(entries)


@settings(max_examples=300, deadline=None)
@given(happenings)
def test_undoing_every_entry_leaves_nothing(events: Happenings) -> None:
    house = live(events)
    house.undo_everything()
    assert set(ledger.balances(house.entries).values()) <= {0}
    assert len({entry.source_key for entry in house.entries}) == len(house.entries)


def test_a_contest_decided_and_a_payment_undone_lead_back_to_nothing() -> None:
    entries = [
        ledger.invoice_issued(2, 1, "F1", 1200, DAY),
        ledger.money_received(1, 7, BANK_MANDATE, 1200, DAY),
        ledger.allocated("1", "F1", 2, 7, 1200, DAY),
        ledger.held(1, 2, 1000, DAY),
        ledger.released(1, 2, 1000, DAY),
        ledger.invoice_issued(2, 2, "A1", -1200, DAY),
        ledger.allocated("2", "F1", 2, 7, -1200, DAY, available_cents=1200),
        ledger.money_received(2, 7, BANK_MANDATE, -1200, DAY),
    ]
    for length in range(len(entries) + 1):
        assert ledger.faults(ledger.balances(entries[:length])) == []
    assert set(ledger.balances(entries).values()) == {0}


def test_what_was_paid_out_is_made_good_by_the_operator_and_by_nobody_else() -> None:
    """A payment of 12 euros fails of which 2 are left with the client."""
    taken = ledger.allocated("2", "F1", 2, 7, -1200, DAY, available_cents=200)
    sums = ledger.balances([taken])
    assert sums[ledger.owed("available", 2).code] == 200
    assert sums[ledger.receivable_client(2).code] == 1000
    assert (sums[BANK_MANDATE.code], sums[BANK_OWN.code]) == (1000, -1000)


def test_a_providers_fee_costs_the_operator_in_the_same_entry() -> None:
    """1200 captured, 1180 paid over: the bank of third parties has 1200 again."""
    sums = ledger.balances([ledger.provider_settled("p1", 1200, 20, DAY)])
    assert (sums[BANK_MANDATE.code], sums[PSP_CLEARING.code]) == (1200, -1200)
    assert (sums["expense:psp_fees"], sums[BANK_OWN.code]) == (20, -20)


@pytest.mark.parametrize(
    ("code", "cents", "beside", "fault"),
    [
        ("bank:own", 1, "", "debits and credits differ"),
        ("bank:mandate", -1, "bank:own", "99 cents are held for others, 100 are owed"),
        ("owed:available:2", 101, "bank:own", "owed:available:2 is overdrawn by 1 cents"),
        ("wallet:7", 1, "bank:own", "wallet:7 is overdrawn by 1 cents"),
        ("uncollected:2", 1, "bank:own", "receivable:drivers:2 is not in balance"),
    ],
)
def test_each_fault_is_found(code: str, cents: int, beside: str, fault: str) -> None:
    sums = ledger.balances(
        [
            ledger.invoice_issued(2, 1, "F1", 300, DAY),
            ledger.money_received(1, 7, BANK_MANDATE, 100, DAY),
            ledger.allocated("1", "F1", 2, 7, 100, DAY),
        ]
    )
    assert ledger.faults(sums) == []
    sums[code] += cents
    if beside:
        sums[beside] -= cents
    assert any(fault in each for each in ledger.faults(sums))


ENTRY = ledger.allocated("1", "F1", 2, 7, 100, DAY)


@pytest.mark.parametrize(
    "other",
    [
        replace(ENTRY, source_key="allocation:2"),
        replace(ENTRY, kind="held"),
        replace(ENTRY, booked_on=date(2026, 10, 21)),
        replace(ENTRY, label="Autre"),
        replace(ENTRY, client_id=3),
        replace(ENTRY, reverses_key="x"),
        replace(ENTRY, postings=ENTRY.postings[::-1]),
        ledger.allocated("1", "F1", 2, 7, 101, DAY),
        ledger.allocated("1", "F1", 2, 8, 100, DAY),
    ],
)
def test_whatever_an_entry_says_is_in_its_digest(other: Entry) -> None:
    assert ledger.body_digest(other) != ledger.body_digest(ENTRY)
    assert ledger.body_digest(replace(ENTRY)) == ledger.body_digest(ENTRY)
    assert ledger.digest(b"a", b"") != ledger.digest(b"a", b"b")


@pytest.mark.parametrize("legs", [(), (1,), (1, -2), (0, 0)])
def test_an_entry_that_does_not_balance_cannot_be_made(legs: tuple[int, ...]) -> None:
    postings = tuple(Posting(BANK_OWN, cents) for cents in legs)
    with pytest.raises(AssertionError):
        Entry("k", "test", DAY, "x", None, postings)
