"""Months of random happenings, by the product's own functions: whatever comes, the books hold.

Clients of each VAT case, invoiced by use or by month; drivers who pay too little, too much, in
advance or twice, and whose money goes back; credits, correctives, contests and decisions; payouts
that the bank executes, refuses or gives back, told twice; closings that die at a random call, run
again, run twice at once. After each act no account is overdrawn and
client money covers what is owed; after each closing every check of `billing check` finds nothing.

T2P_MONTHS=n runs n worlds of three months and three clients instead of a few.
"""

import asyncio
import os
import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest
from psycopg_pool import AsyncConnectionPool

from billing import (
    books,
    checks,
    closing,
    disputes,
    issuing,
    ledger,
    payment_files,
    payouts,
    receipts,
    refusals,
    sending,
    settling,
)
from csms import deadlines
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, transaction
from csms.registry import Refusal
from simulators.bank import Bank
from tests import billing_world as world
from tests.billing_world import rows
from tests.scenarios import payments
from tests.test_closing import STEPS

DESK: Final = Actor("command line")
WORLDS: Final = int(os.environ.get("T2P_MONTHS", "5"))
MONTHS: Final = (date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1))
CASES: Final = (
    ("redevable", "per_use"),
    ("franchise", "per_driver_month"),
    ("non_assujetti", "per_use"),
)


ACTS: Final = (
    *("issue", "issue", "pay", "pay", "pay", "advance", "reverse", "credit", "correct"),
    *("contest", "contest", "decide", "withdraw"),
    *("payout", "payout", "bank", "bank", "give_back"),
)


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
        self.bank = Bank(payments.MANDATE_IBAN, 0)

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
            self.drivers.append(await world.add_driver(self.database, name))

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
        for day in sorted(self.chance.randrange(28) for _ in range(14)):
            self.now = max(
                self.now, deadlines.start_of_day(month + timedelta(days=day)) + timedelta(hours=9)
            )
            await self.act()
            await self.check_balances()
        self.now = deadlines.start_of_day(deadlines.add_months(month, 1)) + timedelta(hours=30)
        await self.close(month)
        if self.chance.random() < 0.8:
            await self.payday()

    async def payday(self) -> None:
        """What is due is paid, settled, and some of it comes back to be paid again."""
        for act in (self._payout, self._contest, self._bank, self._give_back, self._bank):
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

    async def _withdraw(self) -> None:
        found = await self._one("SELECT id FROM dispute WHERE decided_at IS NULL")
        if found:
            async with transaction(self.pool) as connection:
                await disputes.withdraw(connection, found[0], DESK, self.now)

    async def _payout(self) -> None:
        """What closed months leave to be paid goes to the bank, which may refuse a part of it."""
        month = deadlines.paris_day(self.now).replace(day=1)
        for _ in range(2):  # a second run makes nothing
            drafted = await payouts.draft(
                self.pool, month, self.now, settings=self.settings, actor=payments.DESK
            )
            assert drafted.stopped == {}
        assert drafted.payouts == 0
        filed = await payment_files.make(
            self.pool, self.now, settings=self.settings, actor=payments.DESK
        )
        if filed.file_id is None:
            return
        await self.check_balances()
        if self.chance.random() < 0.2:
            async with transaction(self.pool) as connection:
                await payment_files.cancel(connection, filed.file_id, "Erreur", DESK, self.now)
            return
        inside = await rows(
            self.pool, "SELECT end_to_end_id FROM payout WHERE file_id = %s", filed.file_id
        )
        refuse = {row[0]: "AC01" for row in inside if self.chance.random() < 0.3}
        report = await payments.hand_over(
            self.pool, filed.file_id, self.bank, self.now, refuse=refuse
        )
        for _ in range(2):
            done = await refusals.read_in(self.pool, report, self.now, actor=payments.DESK)
        assert set(done) <= {"known"}
        self.acts["paid"] += len(inside) - len(refuse)
        self.acts["refused by the bank"] += len(refuse)

    async def _bank(self) -> None:
        """The bank's statement of today, read in twice; it has nothing that we did not order."""
        content = self.bank.statement(deadlines.paris_day(self.now))
        for _ in range(2):
            done = await settling.read_in(
                self.pool, content, self.now, settings=self.settings, actor=payments.DESK
            )
            assert set(done.by_kind) <= {"payout", "payout_return", "transfer"}

    async def _give_back(self) -> None:
        settled = await self._one("SELECT end_to_end_id FROM payout WHERE status = 'settled'")
        waiting = {each.end_to_end_id for each in self.bank.booked}
        if settled and settled[0] not in waiting:
            self.bank.give_back(settled[0], "AC04")
            self.acts["given back"] += 1

    async def close(self, month: date) -> None:
        """Close, dying at a random call, then twice at once; nothing changes by closing again."""
        with pytest.MonkeyPatch.context() as patch:
            self._die_at(patch, self.chance.randrange(1, 60))
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

    def _die_at(self, patch: pytest.MonkeyPatch, step: int) -> None:
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

        for module, name in STEPS:
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
                                  AND NOT EXISTS (SELECT FROM statement_line l
                                                   WHERE l.invoice_id = i.id
                                                     AND l.kind = 'own_sale')), 0)
                   + coalesce((SELECT sum(amount_cents) FROM statement_line l
                                WHERE l.client_id = c.id AND l.kind = 'offset'), 0)
              FROM client c WHERE NOT c.is_operator ORDER BY c.id
            """,
        )
        for client_id, told_cents, owed_cents in found:
            assert told_cents == owed_cents, (client_id, told_cents, owed_cents)


@pytest.mark.timeout(60 * WORLDS + 60)
@pytest.mark.parametrize("seed", range(WORLDS))
async def test_whatever_happens_the_books_hold(
    database: Database, pool: AsyncConnectionPool, settings: Settings, seed: int
) -> None:
    months = Months(20_261_126 + seed, database, pool, payments.with_accounts(settings))
    await months.build()
    for month in MONTHS:
        await months.month(month)
    done = sum(count for name, count in months.acts.items() if "refused" not in name)
    assert done >= 10, months.acts
