"""Payouts: what is owed leaves once, by the 15th, from the client's own money, on four eyes."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from billing import (
    books,
    checks,
    disputes,
    ledger,
    payment_files,
    payment_state,
    payouts,
    refusals,
    settling,
)
from csms.config import Settings
from csms.db import Database, transaction
from csms.registry import Conflict, NotThere, Refusal
from simulators.bank import Bank
from tests import billing_world as world
from tests.billing_world import MONTH, NOW, rows
from tests.scenarios import payments
from tests.scenarios.payments import DESK, MANDATE_IBAN, SECOND

PAYDAY = date(2026, 11, 13)  # the last TARGET day up to the 15th
LATER = datetime(2026, 11, 16, 9, tzinfo=UTC)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return payments.with_accounts(settings)


@pytest.fixture
async def client_id(database: Database, pool: AsyncConnectionPool, settings: Settings) -> int:
    """A client whose October is closed and sent: 40 EUR and 20 EUR paid, commission 5 % and VAT
    on it: 60.00 - 3.60 = 56.40 EUR to be paid."""
    made = await world.add_client(database, "Copropriété A", invoicing="per_use")
    await payments.give_account(database, made)
    person_id = await world.add_driver(database, "anne")
    await world.add_sessions(database, made, person_id, [4_000, 2_000])
    october = datetime(2026, 10, 31, 12, tzinfo=UTC)
    invoices = await payments.bill(pool, made, MONTH, october, settings)
    for place, (_, number, cents) in enumerate(invoices, start=1):
        await payments.receive(pool, f"bank:{place}", cents, october, invoice_number=number)
    await payments.close(pool, MONTH, NOW, settings)
    return made


@pytest.fixture
async def bank(pool: AsyncConnectionPool, client_id: int) -> Bank:
    """The bank, with what the books say it holds."""
    async with pool.connection() as connection:
        return Bank(MANDATE_IBAN, await books.balance(connection, ledger.BANK_MANDATE))


async def owed(pool: AsyncConnectionPool, client_id: int) -> tuple[int, int, int]:
    """Available, disputed, paying."""
    async with pool.connection() as connection:
        available, disputed, paying = [
            -await books.balance(connection, ledger.owed(state, client_id))
            for state in ledger.OWED_STATES
        ]
    return available, disputed, paying


async def nothing_is_wrong(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:
        assert ledger.faults(Counter(await books.balances(connection))) == []
        found = await checks.find_offences(connection, NOW)
    assert {check.name: told for check, told in found if told} == {}


async def statuses(pool: AsyncConnectionPool) -> list[tuple[str, int, str]]:
    return [
        (row[0], row[1], row[2])
        for row in await rows(
            pool, "SELECT end_to_end_id, amount_cents, status FROM payout ORDER BY id"
        )
    ]


async def test_a_month_is_paid_once_and_settled_by_the_banks_own_word(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    assert await owed(pool, client_id) == (5_640, 0, 0)
    filed = await payments.order(pool, MONTH, NOW, settings)
    assert (filed.payments, filed.total_cents, filed.swept_cents) == (2, 6_000, 360)
    assert await owed(pool, client_id) == (0, 0, 5_640)
    again = await payments.order(pool, MONTH, NOW, settings)
    assert again.file_id is None, "a second run makes nothing"
    assert filed.file_id is not None
    async with transaction(pool) as connection:
        with pytest.raises(Conflict, match="another person"):
            await payment_files.approve(connection, filed.file_id, DESK, NOW)
        with pytest.raises(Conflict, match="not approved"):
            await payment_files.hand_out(connection, filed.file_id, SECOND, NOW)
    await payments.hand_over(pool, filed.file_id, bank, NOW)
    assert await owed(pool, client_id) == (0, 0, 5_640), "the bank has not said so yet"
    content = bank.statement(PAYDAY)
    done = await settling.read_in(pool, content, LATER, settings=settings, actor=DESK)
    assert done.by_kind == {"payout": 1, "transfer": 1}
    assert done.difference_cents == 0
    again_read = await settling.read_in(pool, content, LATER, settings=settings, actor=DESK)
    assert (again_read.known, again_read.lines) == (1, 0)
    assert await owed(pool, client_id) == (0, 0, 0)
    assert await statuses(pool) == [("T2P-2026-10-" + str(client_id), 5_640, "settled")]
    async with pool.connection() as connection:
        assert await books.balance(connection, ledger.BANK_MANDATE) == 0
        assert await books.balance(connection, ledger.BANK_OWN) == 360
    assert (await payments.order(pool, MONTH, LATER, settings)).file_id is None
    await nothing_is_wrong(pool)
    assert await rows(pool, "SELECT execution_on, sha256 = sha256(content) FROM payment_file") == [
        (PAYDAY, True)
    ]


async def test_every_cent_of_a_payout_leads_to_its_sessions(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    await payments.order(pool, MONTH, NOW, settings)
    found = await rows(
        pool,
        """SELECT p.amount_cents, sum(DISTINCT l.amount_cents)::bigint,
                  sum(x.amount_cents) FILTER (WHERE x.kind = 'receipt')::bigint,
                  sum(x.amount_cents) FILTER (WHERE x.kind = 'own_sale')::bigint,
                  count(DISTINCT x.session_id) FILTER (WHERE x.kind = 'receipt')
             FROM payout p JOIN payout_line l ON l.payout_id = p.id
             JOIN statement_line x ON x.statement_id = l.statement_id GROUP BY p.id""",
    )
    assert found == [(5_640, 5_640, 6_000, -360, 2)]


async def test_who_cannot_be_paid_stops_nobody_else_and_is_paid_once_mended(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
) -> None:
    other = await world.add_client(database, "Copropriété B", invoicing="per_use")
    person_id = await world.add_driver(database, "bruno")
    await world.add_sessions(database, other, person_id, [1_000])
    october = datetime(2026, 10, 31, 12, tzinfo=UTC)
    ((_, number, cents),) = await payments.bill(pool, other, MONTH, october, settings)
    await payments.receive(pool, "bank:3", cents, october, invoice_number=number)
    await payments.close(pool, MONTH, NOW, settings)
    drafted = await payouts.draft(pool, MONTH, NOW, settings=settings, actor=DESK)
    assert drafted.payouts == 1
    assert drafted.stopped[other].cause == "no_account"
    await payments.give_account(database, other, basis=None)
    drafted = await payouts.draft(pool, MONTH, NOW, settings=settings, actor=DESK)
    assert drafted.stopped[other].cause == "no_regulatory_basis"
    assert [row[0] for row in await rows(pool, "SELECT cause FROM billing_problem")] == [
        "no_regulatory_basis"
    ]
    simulated = replace(settings, billing_simulated=True)
    dry = await payouts.draft(pool, MONTH, NOW, settings=simulated, actor=DESK, dry_run=True)
    assert (dry.payouts, dry.stopped) == (1, {}), "a demonstration pays nobody"
    await payments.give_account(database, other)
    drafted = await payouts.draft(pool, MONTH, NOW, settings=settings, actor=DESK)
    assert (drafted.payouts, drafted.stopped) == (1, {})
    assert await rows(pool, "SELECT count(*) FROM billing_problem WHERE resolved_at IS NULL") == [
        (0,)
    ]


async def contest(pool: AsyncConnectionPool, now: datetime) -> int:
    ((line_id,),) = await rows(
        pool, "SELECT id FROM statement_line WHERE kind = 'session' AND amount_cents = 4000"
    )
    async with transaction(pool) as connection:
        return await disputes.contest_line(connection, line_id, "Durée", DESK, now)


async def decide(
    pool: AsyncConnectionPool, dispute_id: int, now: datetime, settings: Settings, upheld: bool
) -> None:
    async with transaction(pool) as connection:
        await disputes.decide(
            connection,
            dispute_id,
            "upheld" if upheld else "rejected",
            "Vérifié",
            correction="credit" if upheld else None,
            actor=DESK,
            now=now,
            settings=settings,
        )


async def test_only_what_is_contested_is_held_and_what_is_decided_is_paid_at_once(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    dispute_id = await contest(pool, NOW + timedelta(days=2))
    assert await owed(pool, client_id) == (1_880, 3_760, 0)
    await payments.pay(pool, MONTH, bank, NOW + timedelta(days=3), settings)
    assert await statuses(pool) == [(f"T2P-2026-10-{client_id}", 1_880, "settled")]
    await decide(pool, dispute_id, LATER, settings, upheld=False)
    filed = await payments.order(pool, MONTH, LATER, settings)
    assert filed.total_cents == 3_760, "not next month"
    assert await rows(pool, "SELECT execution_on FROM payment_file ORDER BY id") == [
        (PAYDAY,),
        (date(2026, 11, 17),),
    ]
    await nothing_is_wrong(pool)


async def test_what_was_paid_is_not_held_any_more_and_put_right_next_month(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    await payments.pay(pool, MONTH, bank, NOW + timedelta(days=1), settings)
    dispute_id = await contest(pool, NOW + timedelta(days=8))
    assert await rows(pool, "SELECT held_cents FROM dispute") == [(0,)]
    await decide(pool, dispute_id, LATER, settings, upheld=True)
    assert await owed(pool, client_id) == (0, 0, 0)
    async with pool.connection() as connection:
        claim = await books.balance(connection, ledger.receivable_client(client_id))
    assert claim == 4_000, "the operator gave the driver back what the client has"
    december = datetime(2026, 12, 1, 9, tzinfo=UTC)
    await payments.close(pool, date(2026, 11, 1), december, settings)
    ((net,),) = await rows(pool, "SELECT net_cents FROM statement WHERE month = '2026-11-01'")
    assert net == -4_000 + 240, "and the commission on it"
    assert (await payments.order(pool, date(2026, 11, 1), december, settings)).file_id is None
    await nothing_is_wrong(pool)


async def test_what_the_operator_made_good_comes_back_from_the_next_months(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    """A debit of 40 EUR is returned after it was paid out; November brings 100 EUR."""
    await payments.pay(pool, MONTH, bank, NOW + timedelta(days=1), settings)
    await payments.receive(pool, "bank:1:back", -4_000, LATER, reverses_key="bank:1")
    async with pool.connection() as connection:
        assert await books.balance(connection, ledger.BANK_OWN) == 360 - 4_000
    await nothing_is_wrong(pool)
    ((person_id,),) = await rows(pool, "SELECT person_id FROM driver")
    await world.add_sessions(database, client_id, person_id, [10_000], day=date(2026, 11, 20))
    november = datetime(2026, 11, 28, 9, tzinfo=UTC)
    invoices = await payments.bill(pool, client_id, date(2026, 11, 1), november, settings)
    await payments.receive(pool, "bank:4", 10_000, november, invoice_number=invoices[2][1])
    december = datetime(2026, 12, 1, 9, tzinfo=UTC)
    await payments.close(pool, date(2026, 11, 1), december, settings)
    ((net,),) = await rows(pool, "SELECT net_cents FROM statement WHERE month = '2026-11-01'")
    assert net == 10_000 - 4_000 - 360
    assert await owed(pool, client_id) == (net, 0, 0)
    filed = await payments.order(pool, date(2026, 11, 1), december, settings)
    assert filed.total_cents - filed.swept_cents == net
    assert filed.swept_cents == 360, "what it laid there for the returned debit stays"
    assert filed.file_id is not None
    # The bank has the debit's 40 EUR less and the 100 EUR more.
    bank.balance_cents += 10_000 - 4_000
    await payments.hand_over(pool, filed.file_id, bank, december)
    done = await payments.read_in(pool, bank, date(2026, 12, 15), december, settings)
    assert done.difference_cents == 0
    async with pool.connection() as connection:
        assert await books.balance(connection, ledger.BANK_OWN) == 360 + 360
        assert await books.balance(connection, ledger.receivable_client(client_id)) == 0
    await nothing_is_wrong(pool)


async def test_a_payout_that_comes_back_is_owed_and_paid_again_under_another_reference(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    await payments.pay(pool, MONTH, bank, NOW, settings)
    bank.give_back(f"T2P-2026-10-{client_id}", "AC04")
    done = await payments.read_in(pool, bank, date(2026, 11, 17), LATER, settings)
    assert done.by_kind == {"payout_return": 1}
    assert await owed(pool, client_id) == (5_640, 0, 0)
    await payments.give_account(database, client_id, iban="FR7610107001011234567890129")
    await payments.pay(pool, MONTH, bank, LATER + timedelta(days=2), settings)
    assert await statuses(pool) == [
        (f"T2P-2026-10-{client_id}", 5_640, "returned"),
        (f"T2P-2026-10-{client_id}-2", 5_640, "settled"),
    ]
    await nothing_is_wrong(pool)


async def test_what_the_bank_refuses_never_left(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    filed = await payments.order(pool, MONTH, NOW, settings)
    assert filed.file_id is not None
    reference = f"T2P-2026-10-{client_id}"
    report = await payments.hand_over(pool, filed.file_id, bank, NOW, refuse={reference: "AC01"})
    for expected in ({"payout": 1}, {"known": 1}):
        done = await refusals.read_in(pool, report, NOW, actor=DESK)
        assert done == expected
    assert await owed(pool, client_id) == (5_640, 0, 0)
    assert await statuses(pool) == [(reference, 5_640, "refused")]
    await nothing_is_wrong(pool)


async def test_a_wrong_account_stops_its_own_payment_and_says_so(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    await payments.give_account(database, client_id, iban="FR7630006000011234567890188")
    drafted = await payouts.draft(pool, MONTH, NOW, settings=settings, actor=DESK)
    assert drafted.payouts == 1
    filed = await payment_files.make(pool, NOW, settings=settings, actor=DESK)
    assert filed.file_id is None and "IBAN" in filed.refused[client_id]
    assert await owed(pool, client_id) == (5_640, 0, 0)
    assert [row[0] for row in await rows(pool, "SELECT cause FROM billing_problem")] == [
        "payment_iban"
    ]
    await nothing_is_wrong(pool)


async def test_a_file_that_is_given_up_leaves_everything_due(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    filed = await payments.order(pool, MONTH, NOW, settings)
    assert filed.file_id is not None
    async with transaction(pool) as connection:
        with pytest.raises(Refusal, match="why"):
            await payment_files.cancel(connection, filed.file_id, " ", DESK, NOW)
        await payment_files.cancel(connection, filed.file_id, "Mauvais jour", DESK, NOW)
    async with transaction(pool) as connection:
        for call in (payment_files.approve, payment_files.hand_out):
            with pytest.raises(Conflict, match="given up"):
                await call(connection, filed.file_id, SECOND, NOW)
        with pytest.raises(NotThere):
            await payment_files.approve(connection, 999, SECOND, NOW)
    assert await owed(pool, client_id) == (5_640, 0, 0)
    second = await payments.order(pool, MONTH, NOW, settings)
    assert (second.total_cents, second.swept_cents) == (6_000, 360)
    assert second.file_id is not None
    await payments.hand_over(pool, second.file_id, bank, NOW)
    async with transaction(pool) as connection:
        with pytest.raises(Conflict, match="recall"):
            await payment_files.cancel(connection, second.file_id, "Trop tard", DESK, NOW)
    await nothing_is_wrong(pool)


async def test_what_is_contested_before_the_file_leaves_does_not_leave_with_it(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    filed = await payments.order(pool, MONTH, NOW, settings)
    assert filed.file_id is not None
    await contest(pool, NOW + timedelta(days=1))
    at = NOW + timedelta(days=2)
    async with transaction(pool) as connection:
        await payment_files.approve(connection, filed.file_id, SECOND, at)
        with pytest.raises(Conflict, match="contested since it was made"):
            await payment_files.hand_out(connection, filed.file_id, SECOND, at)
    async with transaction(pool) as connection:
        await payment_files.cancel(connection, filed.file_id, "Contesté", SECOND, at)
    second = await payments.order(pool, MONTH, at, settings)
    assert second.file_id is not None
    ((paid,),) = await rows(pool, "SELECT amount_cents FROM payout WHERE status = 'draft'")
    assert paid == 1_880, "what is contested is held"
    await payments.hand_over(pool, second.file_id, bank, at)
    await nothing_is_wrong(pool)


async def test_the_database_itself_wants_four_eyes_and_keeps_the_bytes(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    filed = await payments.order(pool, MONTH, NOW, settings)
    for statement in (
        "UPDATE payment_file SET approved_by = created_by, approved_at = now() WHERE id = %s",
        "UPDATE payment_file SET content = 'x', sha256 = sha256('x') WHERE id = %s",
        "UPDATE payment_file SET total_cents = 1 WHERE id = %s",
        "UPDATE payment_file SET sent_at = now() WHERE id = %s",
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            await rows(pool, statement + " RETURNING id", filed.file_id)


async def test_a_day_that_no_bank_keeps_is_refused(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    await payouts.draft(pool, MONTH, NOW, settings=settings, actor=DESK)
    for day in (date(2026, 11, 14), date(2026, 11, 2)):
        with pytest.raises(Refusal):
            await payment_files.make(pool, NOW, settings=settings, actor=DESK, execution_on=day)
    missing = replace(settings, operator_own_iban=None)
    with pytest.raises(Conflict, match="T2P_OPERATOR_OWN_IBAN"):
        await payment_files.make(pool, NOW, settings=missing, actor=DESK)
    filed = await payment_files.make(
        pool, NOW, settings=settings, actor=DESK, execution_on=date(2026, 11, 5)
    )
    assert filed.payments == 2


@pytest.mark.parametrize("status", ["batch", "file"])
async def test_a_refused_batch_is_all_of_its_payments(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank, status: str
) -> None:
    filed = await payments.order(pool, MONTH, NOW, settings)
    assert filed.file_id is not None
    await payments.hand_over(pool, filed.file_id, bank, NOW)
    ((message_id,),) = await rows(pool, "SELECT message_id FROM payment_file")
    told = {
        "file": "<GrpSts>RJCT</GrpSts></OrgnlGrpInfAndSts>",
        "batch": f"</OrgnlGrpInfAndSts><OrgnlPmtInfAndSts><OrgnlPmtInfId>{message_id}-1"
        "</OrgnlPmtInfId><PmtInfSts>RJCT</PmtInfSts><StsRsnInf><Rsn><Prtry>X1</Prtry></Rsn>"
        "</StsRsnInf></OrgnlPmtInfAndSts>",
    }[status]
    report = (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>'
        f"<OrgnlGrpInfAndSts><OrgnlMsgId>{message_id}</OrgnlMsgId>{told}</CstmrPmtStsRpt></Document>"
    ).encode()
    done = await refusals.read_in(pool, report, NOW, actor=DESK)
    assert done == {"payout": 1, "transfer": 1}
    assert await owed(pool, client_id) == (5_640, 0, 0)
    assert await rows(pool, "SELECT status FROM internal_transfer") == [("refused",)]
    other = await refusals.read_in(
        pool, report.replace(message_id.encode(), b"OTHER"), NOW, actor=DESK
    )
    assert other == {}, "a file of somebody else's"
    await nothing_is_wrong(pool)


async def test_the_database_knows_the_states_that_the_tables_know(
    pool: AsyncConnectionPool,
) -> None:
    for table, first, name in (
        (payment_state.PAYOUTS, "draft", "payout"),
        (payment_state.DEBITS, "notified", "direct_debit"),
    ):
        ((check,),) = await rows(
            pool,
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s",
            f"{name}_status_check",
        )
        states = {state for state, _ in table} | set(table.values())
        assert set(re.findall("'([a-z]+)'", check)) == states
        lines = payment_state.diagram(table, first).splitlines()
        assert lines[1] == f"    [*] --> {first}"
        assert len(lines) == len(table) + 2


async def test_the_operator_is_told_before_a_payout_is_late(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    """Of October 2026: to arrive by Friday 13 November; the bank takes a file one day before."""

    async def told_on(day: int, hour: int = 8) -> int:
        async with pool.connection() as connection:
            at = datetime(2026, 11, day, hour, tzinfo=UTC)
            return await payouts.alarm(connection, at, settings.payout_lead_days)

    assert [await told_on(day) for day in (5, 6, 9)] == [0, 1, 1]
    filed = await payments.order(pool, MONTH, NOW, settings)
    assert filed.file_id is not None
    assert await told_on(10) == 1, "a file that nobody has approved goes nowhere"
    assert await told_on(12) == 1
    await payments.hand_over(pool, filed.file_id, bank, NOW)
    assert await told_on(13) == 0, "it is on its way, and has the day to arrive"
    assert await told_on(14) == 1, "the bank has not said that it arrived"
    await payments.read_in(pool, bank, PAYDAY, LATER, settings)
    assert await told_on(17) == 0
    told = await rows(
        pool,
        "SELECT event, at, data ->> 'due_on', data ->> 'amount_cents' FROM notification "
        "WHERE event IN ('payout.due', 'payout.overdue') ORDER BY id",
    )
    assert told == [
        ("payout.due", datetime(2026, 11, 6, 8, tzinfo=UTC), "2026-11-13", "5640"),
        ("payout.overdue", datetime(2026, 11, 12, 8, tzinfo=UTC), "2026-11-13", "5640"),
    ]
