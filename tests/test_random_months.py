"""Months of random happenings, by the product's own functions: whatever comes, the books hold.

Clients of each VAT case, invoiced by use or by month; drivers who pay too little, too much, in
advance or twice, and whose money goes back; credits, correctives, contests and decisions; payouts
and direct debits that the bank executes, refuses or gives back, told twice; transfers that name
their invoice, or nothing and are explained later; closings, orders, files and statements of the
bank's that die at a random call, run again, run twice at once. A fourth client's site is supplied
by the operator: provisions that are asked for, paid, come back; energy put right after it was
billed; lots that change hands. After each act no account is overdrawn and client money covers what
is owed; after each closing every check of `billing check` finds nothing, what statements told is
what was paid and what is owed, and each watt-hour that co-owners used is billed once.

T2P_MONTHS=n runs n worlds of four clients instead of a few, T2P_MONTHS_EACH=12 years of them. For
many years in little time T2P_MONTHS_ACTS=5 lets fewer things happen in each month, and closes most
months once instead of dying, twice at once and again. Statements are sent without their files,
which are drawn elsewhere.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeVar

import pytest
from psycopg_pool import AsyncConnectionPool

from billing import (
    books,
    checks,
    closing,
    collecting,
    disputes,
    issuing,
    ledger,
    payment_files,
    payouts,
    receipts,
    refusals,
    sending,
    settling,
    statement_files,
    supplying,
)
from billing.store import banking as bank_store
from billing.store import collecting as debit_store
from billing.store import payment_files as file_store
from billing.store import payouts as payout_store
from billing.store import supply as supply_store
from csms import db, deadlines
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, transaction
from csms.registry import Conflict, Refusal
from simulators.bank import Bank
from tests import billing_world as world
from tests.billing_world import rows
from tests.scenarios import payments, supply
from tests.test_closing import STEPS

T = TypeVar("T")

DESK: Final = Actor("command line")
WORLDS: Final = int(os.environ.get("T2P_MONTHS", "5"))
ACTS_EACH: Final = int(os.environ.get("T2P_MONTHS_ACTS", "14"))
IS_THOROUGH: Final = ACTS_EACH >= 14
MONTHS: Final = tuple(
    deadlines.add_months(date(2026, 1, 1), number)
    for number in range(int(os.environ.get("T2P_MONTHS_EACH", "3")))
)
CASES: Final = (
    ("redevable", "per_use"),
    ("franchise", "per_driver_month"),
    ("non_assujetti", "per_use"),
)


ACTS: Final = (
    *("issue", "issue", "pay", "pay", "pay", "advance", "reverse", "credit", "correct"),
    *("contest", "contest", "decide", "withdraw"),
    *("payout", "payout", "bank", "bank", "give_back"),
    *("debit", "debit", "transfer", "transfer", "explain"),
    *("ask", "owner_pays", "owner_pays", "put_right", "leave", "refund"),
)
#: where what a payment does may be cut off
PAY_STEPS: Final = (
    *((payout_store, name) for name in ("insert_payout", "insert_lines", "put_in_file")),
    *((payout_store, name) for name in ("set_status", "set_statuses", "insert_event")),
    *((file_store, name) for name in ("insert_file", "insert_transfer", "note_sent")),
    *((debit_store, name) for name in ("insert_debit", "put_in_file", "set_status")),
    *((bank_store, name) for name in ("insert_statement", "insert_lines", "insert_match")),
    (books, "post"),
)
#: where a bill to co-owners may be cut off
SUPPLY_STEPS: Final = (
    *((supply_store, name) for name in ("insert_documents", "insert_sessions", "insert_provision")),
    (books, "post"),
)
LOTS: Final = ("12", "13")


class Killed(Exception):
    """What a process that dies leaves undone."""


class Months:
    """A world and its chance."""

    def __init__(self, seed: int, database: Database, pool: AsyncConnectionPool, own: Settings):
        self.chance = random.Random(seed)
        self.database, self.pool, self.settings = database, pool, own
        self.clients: list[tuple[int, str]] = []
        self.drivers: list[int] = []
        self.now = datetime(2026, 1, 1, 8, tzinfo=UTC)
        self.acts: Counter[str] = Counter()
        self.keys = 0
        self.supplied = 0  # the client whose co-owners the operator supplies
        self.bank = Bank(payments.MANDATE_IBAN, 0)
        self.own_bank = Bank(payments.OWN_IBAN, 0)

    async def build(self) -> None:
        for number, (case, invoicing) in enumerate(CASES):
            made = await world.add_client(
                self.database,
                f"Copropriété {number}",
                status=case,
                invoicing=invoicing,
                fee_cents=self.chance.choice((0, 900)),
                subscription_cents=self.chance.choice((0, 5_000)),
            )
            await payments.give_account(self.database, made)
            self.clients.append((made, case))
        for name in ("anne", "bruno"):
            made = await world.add_driver(self.database, name)
            self.drivers.append(made)
            if self.chance.random() < 0.6:
                await payments.sign_mandate(self.pool, self.now, f"MD-{name}", person_id=made)
        self.supplied = await supply.add_coownership(self.database)
        await supply.supply(self.pool, self.supplied, date(2026, 1, 1))
        for number, (lot, person_id) in enumerate(zip(LOTS, self.drivers, strict=True), start=1):
            await supply.give_lot(
                self.pool,
                self.supplied,
                lot,
                person_id,
                evse_id=number,
                from_on=date(2026, 1, 1),
                provision_cents=self.chance.choice((0, 3_000, 12_000)),
                now=self.now,
            )
        if self.chance.random() < 0.5:
            client_id = self.clients[0][0]
            await payments.sign_mandate(self.pool, self.now, "MD-client", client_id=client_id)

    async def month(self, month: date) -> None:
        """What is charged, then acts of chance day by day, then the closing."""
        for client_id, case in self.clients:
            for person_id in self.drivers:
                amounts = [self.chance.randrange(0, 3_000) for _ in range(self.chance.randrange(4))]
                if amounts:
                    await world.add_sessions(
                        self.database,
                        client_id,
                        person_id,
                        amounts,
                        day=month + timedelta(days=self.chance.randrange(25)),
                        vat_case=case,
                    )
        for _ in range(self.chance.randrange(5)):
            day = month + timedelta(days=self.chance.randrange(25))
            await supply.charge(
                self.database,
                self.supplied,
                self.chance.randrange(60_000),
                deadlines.start_of_day(day) + timedelta(hours=self.chance.randrange(23)),
                evse_id=self.chance.choice((1, 2)),
            )
        for day in sorted(self.chance.randrange(28) for _ in range(ACTS_EACH)):
            self.now = max(
                self.now, deadlines.start_of_day(month + timedelta(days=day)) + timedelta(hours=9)
            )
            await self.act()
            await self.check_balances()
        self.now = deadlines.start_of_day(deadlines.add_months(month, 1)) + timedelta(hours=30)
        await self.close(month)
        await self.bill_owners(month)
        if self.chance.random() < 0.8:
            await self.payday()

    async def bill_owners(self, month: date) -> None:
        """Bills to co-owners, dying at a random call; run again they bill nothing twice."""

        async def bill() -> supplying.Billed:
            return await supplying.bill_month(
                self.pool, month, self.now, settings=self.settings, actor=payments.DESK
            )

        await self._cut_off(bill, SUPPLY_STEPS)
        again = await bill()
        assert (again.bills, again.problems) == (0, 0)
        await self.check_balances()
        wrong = await rows(
            self.pool,
            """
            SELECT s.id, s.energy_wh, coalesce(sum(b.energy_wh), 0)
              FROM session s LEFT JOIN supply_session b ON b.session_id = s.id
             WHERE s.client_id = %s GROUP BY s.id
            HAVING abs(coalesce(sum(b.energy_wh), 0) - s.energy_wh) > %s
            """,
            self.supplied,
            28,  # what costs less than half a cent waits for more
        )
        assert wrong == [], "each watt-hour is billed once"
        async with self.pool.connection() as connection:
            offences = await checks.find_offences(connection, self.now)
        assert {check.name: told for check, told in offences if told} == {}

    async def payday(self) -> None:
        """What is due is paid, settled, and some of it comes back to be paid again."""
        for act in (
            *(self._payout, self._contest, self._debit, self._transfer, self._bank),
            *(self._give_back, self._explain, self._bank),
        ):
            self.now += timedelta(days=2)
            try:
                await act()
            except Refusal:
                self.acts["refused on payday"] += 1
            await self.check_balances()
            await self.check_what_is_owed()

    async def act(self) -> None:
        """One thing that happens; what is refused changes nothing."""
        name = self.chance.choice(ACTS)
        try:
            await getattr(self, f"_{name}")()
            self.acts[name] += 1
        except Refusal:
            self.acts[f"{name} refused"] += 1

    async def _issue(self) -> None:
        client_id, _ = self.chance.choice(self.clients)
        async with self.pool.connection() as connection:
            month = deadlines.paris_day(self.now).replace(day=1)
            await issuing.issue(connection, client_id, month, self.now, settings=self.settings)

    async def _one(self, statement: str) -> tuple[Any, ...] | None:
        found = await rows(self.pool, statement)
        return self.chance.choice(found) if found else None

    async def _receive(self, cents: int, **values: Any) -> None:
        self.keys += 1
        async with transaction(self.pool) as connection:
            for _ in range(self.chance.choice((1, 1, 2))):  # the provider tells some things twice
                await receipts.receive(
                    connection,
                    source_key=f"bank:{self.keys}",
                    amount_cents=cents,
                    received_on=deadlines.paris_day(self.now),
                    means="transfer",
                    actor=DESK,
                    now=self.now,
                    **values,
                )

    async def _pay(self) -> None:
        found = await self._one(
            "SELECT number, amount_incl_cents FROM invoice WHERE issuer = 'client' "
            "AND type_code = 380"
        )
        if found:
            cents = max(1, found[1] + self.chance.choice((0, 0, 0, -50, 75)))
            await self._receive(cents, invoice_number=found[0])

    async def _advance(self) -> None:
        person_id = self.chance.choice(self.drivers)
        await self._receive(self.chance.randrange(1, 3_000), person_id=person_id)

    async def _reverse(self) -> None:
        found = await self._one("SELECT source_key, amount_cents FROM receipt")
        if found:
            await self._receive(-found[1], reverses_key=found[0])

    async def _credit(self) -> None:
        found = await self._one("SELECT id FROM invoice WHERE issuer = 'client'")
        if found:
            async with transaction(self.pool) as connection:
                await issuing.credit(
                    connection, found[0], None, "Panne", DESK, self.now, settings=self.settings
                )

    async def _correct(self) -> None:
        found = await self._one(
            """SELECT l.invoice_id, l.session_id, l.amount_incl_cents FROM invoice_line l
                 JOIN invoice i ON i.id = l.invoice_id WHERE i.type_code = 380
                  AND l.session_id IS NOT NULL"""
        )
        if found:
            async with transaction(self.pool) as connection:
                await issuing.correct(
                    connection,
                    found[0],
                    {found[1]: max(0, found[2] + self.chance.choice((-100, -1, 40)))},
                    "Tarif",
                    DESK,
                    self.now,
                    settings=self.settings,
                )

    async def _contest(self) -> None:
        line = await self._one("SELECT id FROM statement_line WHERE kind = 'session'")
        invoice = await self._one("SELECT id FROM invoice WHERE issuer = 'client'")
        async with transaction(self.pool) as connection:
            if line and self.chance.random() < 0.6:
                await disputes.contest_line(connection, line[0], "Durée", DESK, self.now)
            elif invoice:
                await disputes.contest_invoice(connection, invoice[0], "Durée", DESK, self.now)

    async def _decide(self) -> None:
        found = await self._one("SELECT id FROM dispute WHERE decided_at IS NULL")
        if found:
            is_upheld = self.chance.random() < 0.6
            async with transaction(self.pool) as connection:
                await disputes.decide(
                    connection,
                    found[0],
                    "upheld" if is_upheld else "rejected",
                    "Vérifié",
                    correction="credit" if is_upheld else None,
                    actor=DESK,
                    now=self.now,
                    settings=self.settings,
                )

    async def _ask(self) -> None:
        """A provision is asked for, as agreed or more of it."""
        found = await self._one("SELECT id FROM lot_holding WHERE to_on IS NULL")
        if found:
            cents = self.chance.choice((None, self.chance.randrange(1, 5_000)))
            await supply.ask(self.pool, self.settings, found[0], self.now, cents)

    async def _owner_pays(self) -> None:
        """A co-owner pays by transfer to the operator's own account."""
        found = await self._one(
            "SELECT number, open_cents FROM supply_invoice_open WHERE open_cents > 0"
        )
        if found:
            cents = max(1, found[1] + self.chance.choice((0, 0, 0, -1)))
            text = self.chance.choice((found[0], found[0], "merci"))
            self.own_bank.receive(cents, "Camille Exemple", payments.DRIVER_IBAN, text)

    async def _put_right(self) -> None:
        """A person settles a session of the supplied site with another energy."""
        found = await self._one(
            f"SELECT id, energy_wh FROM session WHERE client_id = {self.supplied}"
        )
        if found:
            wh = max(0, found[1] + self.chance.choice((-found[1], -5_000, -1, 700)))
            async with await db.connect(self.database, owner=True) as connection:
                await connection.execute(
                    "UPDATE session SET energy_wh = %s WHERE id = %s", (wh, found[0])
                )

    async def _leave(self) -> None:
        """A lot changes hands today: what was used today is the next one's."""
        found = await self._one(
            "SELECT h.id, l.reference, h.person_id FROM lot_holding h "
            "JOIN lot l ON l.id = h.lot_id WHERE h.to_on IS NULL"
        )
        if found and self.chance.random() < 0.4:
            today = deadlines.paris_day(self.now)
            await supply.leave(self.pool, found[0], today, self.now)
            await supply.give_lot(
                self.pool,
                self.supplied,
                found[1],
                self.chance.choice(self.drivers),
                from_on=today,
                provision_cents=self.chance.choice((0, 4_000)),
                now=self.now,
            )

    async def _refund(self) -> None:
        """What is to be given back leaves the own account, and a person says what it was."""
        async with self.pool.connection() as connection:
            due = await supplying.list_refunds(connection, self.settings)
        if not due:
            return
        refund = self.chance.choice(due)
        self.own_bank.charge(refund.amount_cents, "Remboursement")
        await self._bank()
        async with transaction(self.pool) as connection:
            lines = await bank_store.list_suspense(connection, limit=100)
            line = next(each for each in lines if each.amount_cents == -refund.amount_cents)
            await settling.explain(
                connection,
                line.id,
                special="refund",
                invoice_number=refund.number,
                actor=DESK,
                now=self.now,
            )

    async def _withdraw(self) -> None:
        found = await self._one("SELECT id FROM dispute WHERE decided_at IS NULL")
        if found:
            async with transaction(self.pool) as connection:
                await disputes.withdraw(connection, found[0], DESK, self.now)

    async def _cut_off(
        self, work: Callable[[], Awaitable[T]], steps: Iterable[Any] = PAY_STEPS
    ) -> T:
        """The work, sometimes dying at a random call and done again."""
        if self.chance.random() < 0.4:
            with pytest.MonkeyPatch.context() as patch:
                self._die_at(patch, self.chance.randrange(1, 12), steps)
                try:
                    return await work()
                except Killed:
                    self.acts["cut off"] += 1
            await self.check_balances()
        return await work()

    async def _payout(self) -> None:
        """What closed months leave to be paid goes to the bank, which may refuse a part of it."""
        month = deadlines.paris_day(self.now).replace(day=1)

        async def draft() -> payouts.Drafted:
            return await payouts.draft(
                self.pool, month, self.now, settings=self.settings, actor=payments.DESK
            )

        drafted = await self._cut_off(draft)
        assert drafted.stopped == {}
        assert (await draft()).payouts == 0, "a second run makes nothing"
        await self._cut_off(
            lambda: payment_files.make(
                self.pool, self.now, settings=self.settings, actor=payments.DESK
            )
        )
        await self._hand_over()

    async def _debit(self) -> None:
        """Payers with a mandate are told, and what is near enough goes to the bank."""
        await self._cut_off(
            lambda: collecting.announce_debits(self.pool, self.now, settings=self.settings)
        )
        told = await collecting.announce_debits(self.pool, self.now, settings=self.settings)
        assert told.debits == 0, "each is told once"
        await self._cut_off(
            lambda: collecting.make_files(
                self.pool, self.now, settings=self.settings, actor=payments.DESK
            )
        )
        await self._hand_over()

    async def _hand_over(self) -> None:
        """Every file that waits is given up, or goes to its bank, which refuses some of it."""
        waiting = await rows(
            self.pool,
            "SELECT id, account, kind FROM payment_file "
            "WHERE sent_at IS NULL AND cancelled_at IS NULL ORDER BY id",
        )
        for file_id, account, kind in waiting:
            await self.check_balances()
            if self.chance.random() < 0.2:
                self.now += timedelta(minutes=1)
                try:
                    await self._contest()
                except Refusal:
                    self.acts["contest refused"] += 1
            if self.chance.random() < 0.2:
                async with transaction(self.pool) as connection:
                    await payment_files.cancel(connection, file_id, "Erreur", DESK, self.now)
                continue
            table = "payout" if kind == "payout" else "direct_debit"
            inside = await rows(
                self.pool, f"SELECT end_to_end_id FROM {table} WHERE file_id = %s", file_id
            )
            refuse = {row[0]: "AC01" for row in inside if self.chance.random() < 0.3}
            bank = self.bank if account == "mandate" else self.own_bank
            try:
                report = await payments.hand_over(self.pool, file_id, bank, self.now, refuse=refuse)
            except Conflict:
                self.acts["contested since"] += 1
                async with transaction(self.pool) as connection:
                    await payment_files.cancel(connection, file_id, "Contesté", DESK, self.now)
                continue
            await self._cut_off(
                lambda report=report: refusals.read_in(  # type: ignore[misc]
                    self.pool, report, self.now, actor=payments.DESK
                )
            )
            done = await refusals.read_in(self.pool, report, self.now, actor=payments.DESK)
            assert set(done) <= {"known"}
            self.acts[f"{kind} sent"] += len(inside) - len(refuse)
            self.acts[f"{kind} refused by the bank"] += len(refuse)

    async def _transfer(self) -> None:
        """A driver pays by transfer: naming the invoice or nothing, its amount or another."""
        found = await self._one("SELECT number, open_cents FROM invoice_open WHERE open_cents > 0")
        if found:
            cents = max(1, found[1] + self.chance.choice((0, 0, 0, -1, 100)))
            text = self.chance.choice((found[0], f"facture {found[0]}", "merci", "M\u00b2 0001-2"))
            self.bank.receive(cents, "Camille Exemple", payments.DRIVER_IBAN, text)

    async def _explain(self) -> None:
        """A person says what an unexplained line pays, or whose it is."""
        async with transaction(self.pool) as connection:
            lines = await bank_store.list_suspense(connection, limit=20)
            if not lines:
                return
            line = self.chance.choice(lines)
            if line.amount_cents < 0:
                return
            candidates = await settling.suggest(connection, line)
            if candidates and self.chance.random() < 0.7:
                how: dict[str, Any] = {"invoice_number": candidates[0].number}
            else:
                how = {"person_id": self.chance.choice(self.drivers)}
            await settling.explain(connection, line.id, **how, actor=DESK, now=self.now)

    async def _bank(self) -> None:
        """The banks' statements of today, each read in twice."""
        for bank in (self.bank, self.own_bank):
            content = bank.statement(deadlines.paris_day(self.now))

            async def read_in(content: bytes = content) -> settling.Settled:
                return await settling.read_in(
                    self.pool, content, self.now, settings=self.settings, actor=payments.DESK
                )

            await self._cut_off(read_in)
            done = await read_in()
            assert (done.known, done.lines, dict(done.by_kind)) == (1, 0, {})
        ((left,),) = await rows(
            self.pool,
            "SELECT count(*) FROM bank_line l "
            "WHERE NOT EXISTS (SELECT FROM bank_match m WHERE m.line_id = l.id)",
        )
        assert left == 0, "every line is taken for something, if only for unexplained"

    async def _give_back(self) -> None:
        """What the bank has paid out, or collected, comes back."""
        settled = await self._one(
            "SELECT end_to_end_id, true FROM payout WHERE status = 'settled' UNION ALL "
            "SELECT d.end_to_end_id, i.issuer = 'client' FROM direct_debit d "
            "JOIN invoice i ON i.id = d.invoice_id WHERE d.status = 'collected'"
        )
        if settled is None:
            return
        bank = self.bank if settled[1] else self.own_bank
        if settled[0] not in {each.end_to_end_id for each in bank.booked}:
            bank.give_back(settled[0], self.chance.choice(("AM04", "MD06", "AC04")))
            self.acts["given back"] += 1

    async def close(self, month: date) -> None:
        """Close, dying at a random call, then twice at once; nothing changes by closing again."""
        if not IS_THOROUGH and self.chance.random() < 0.75:
            await self._close(month)
            await sending.send_month(self.pool, month, self.now, settings=self.settings)
            await self.check_balances()
            await self.check_what_is_owed()
            return
        with pytest.MonkeyPatch.context() as patch:
            self._die_at(patch, self.chance.randrange(1, 60), STEPS)
            try:
                await self._close(month)
            except Killed:
                self.acts["killed"] += 1
        await self.check_balances()
        await asyncio.gather(self._close(month), self._close(month))
        found = await rows(self.pool, "SELECT client_id, sha256 FROM statement ORDER BY id")
        await self._close(month)
        assert await rows(self.pool, "SELECT client_id, sha256 FROM statement ORDER BY id") == found
        await sending.send_month(self.pool, month, self.now, settings=self.settings)
        await self.check_balances()
        async with self.pool.connection() as connection:
            offences = await checks.find_offences(connection, self.now)
        assert {check.name: told for check, told in offences if told} == {}
        await self.check_what_is_owed()

    async def _close(self, month: date) -> None:
        done = await closing.close_month(self.pool, month, self.now, settings=self.settings)
        assert {each: stopped.message for each, stopped in done.stopped.items()} == {}

    def _die_at(self, patch: pytest.MonkeyPatch, step: int, steps: Iterable[Any]) -> None:
        count = 0

        def wrapped(work: Any) -> Any:
            async def call(*args: Any, **values: Any) -> Any:
                nonlocal count
                count += 1
                mine = count
                made = await work(*args, **values)
                if mine == step:
                    raise Killed
                return made

            return call

        for module, name in steps:
            patch.setattr(module, name, wrapped(getattr(module, name)))

    async def check_balances(self) -> None:
        async with self.pool.connection() as connection:
            assert ledger.faults(Counter(await books.balances(connection))) == []

    async def check_what_is_owed(self) -> None:
        """Of each client: what all statements disposed of (net less opening), and the shares that
        are on none yet, is what was paid out and what is owed to it, less what it owes of
        deductions. A statement's hold is still owed, in another state, until the release is on one.
        """
        found = await rows(
            self.pool,
            """
            SELECT c.id,
                   coalesce((SELECT sum(net_cents - opening_cents) FROM statement s
                              WHERE s.client_id = c.id), 0)
                   + coalesce((SELECT sum(amount_cents) FROM receipt_share r
                                WHERE r.client_id = c.id
                                  AND NOT EXISTS (SELECT FROM statement_line l
                                                   WHERE l.receipt_share_id = r.id)), 0)
                   - coalesce((SELECT sum(amount_cents) FROM statement_line l
                                WHERE l.client_id = c.id AND l.kind IN ('hold', 'release')), 0),
                   -coalesce((SELECT sum(p.amount_cents) FROM ledger_posting p
                                JOIN ledger_account a ON a.id = p.account_id
                               WHERE a.client_id = c.id
                                 AND (a.code LIKE 'owed:%%'
                                      OR a.code LIKE 'receivable:client:%%')), 0)
                   + coalesce((SELECT sum(amount_cents) FROM payout p
                                WHERE p.client_id = c.id AND p.status = 'settled'), 0)
                   + coalesce((SELECT sum(i.effect_cents) FROM invoice i
                                WHERE i.client_id = c.id AND i.issuer = 'operator'
                                  AND i.person_id IS NULL
                                  AND NOT EXISTS (SELECT FROM statement_line l
                                                   WHERE l.invoice_id = i.id
                                                     AND l.kind = 'own_sale')), 0)
                   + coalesce((SELECT sum(amount_cents) FROM statement_line l
                                WHERE l.client_id = c.id AND l.kind = 'offset'), 0)
                   - coalesce((SELECT sum(r.amount_cents) FROM own_receipt r
                                JOIN invoice o ON o.id = r.invoice_id
                               WHERE r.client_id = c.id AND o.person_id IS NULL), 0)
              FROM client c WHERE NOT c.is_operator ORDER BY c.id
            """,
        )
        for client_id, told_cents, owed_cents in found:
            assert told_cents == owed_cents, (client_id, told_cents, owed_cents)


@pytest.mark.timeout(60 * WORLDS + 60)
@pytest.mark.parametrize("seed", range(WORLDS))
async def test_whatever_happens_the_books_hold(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    monkeypatch.setattr(statement_files, "FORMATS", ())
    months = Months(20_261_126 + seed, database, pool, payments.with_accounts(settings))
    await months.build()
    for month in MONTHS:
        await months.month(month)
    done = sum(count for name, count in months.acts.items() if "refused" not in name)
    assert done >= 10, months.acts
