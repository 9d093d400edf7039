"""Late payment at work: booked once, paid with the next payout, refused without a verified rate."""

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from billing import books, checks, late_fees, ledger, own_sales, payment_files, payouts
from csms.config import Settings
from csms.db import Database, connect, transaction
from csms.registry import Conflict, Refusal
from simulators.bank import Bank
from tests import billing_world as world
from tests.billing_world import MONTH, NOW, rows
from tests.scenarios import payments
from tests.scenarios.payments import DESK, MANDATE_IBAN

LATE = date(2026, 11, 23)  # ten days after Friday the 13th
AFTER = datetime(2026, 11, 24, 9, tzinfo=UTC)
RATE = {
    "semester": "2026-S2",
    "particuliers": Decimal("6.84"),
    "autres": Decimal("2.75"),
    "decree": "arrêté de juin 2026",
    "source": "Journal officiel",
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return payments.with_accounts(settings)


@pytest.fixture
async def client_id(database: Database, pool: AsyncConnectionPool, settings: Settings) -> int:
    """A professional whose October is closed: 3 000 EUR collected, 180 of commission and VAT."""
    made = await world.add_client(database, "Société A", invoicing="per_use")
    async with await connect(database, owner=True) as owner:
        await owner.execute("UPDATE client SET class = 'professionnel' WHERE id = %s", (made,))
    await payments.give_account(database, made)
    person_id = await world.add_driver(database, "anne")
    await world.add_sessions(database, made, person_id, [300_000])
    october = datetime(2026, 10, 31, 12, tzinfo=UTC)
    ((_, number, cents),) = await payments.bill(pool, made, MONTH, october, settings)
    await payments.receive(pool, "bank:1", cents, october, invoice_number=number)
    await payments.close(pool, MONTH, NOW, settings)
    return made


@pytest.fixture
async def bank(pool: AsyncConnectionPool, client_id: int) -> Bank:
    async with pool.connection() as connection:
        return Bank(MANDATE_IBAN, await books.balance(connection, ledger.BANK_MANDATE))


async def pay_late(pool: AsyncConnectionPool, bank: Bank, settings: Settings) -> None:
    """The file leaves in time for the 23rd, and not for the 13th."""
    at = datetime(2026, 11, 20, 9, tzinfo=UTC)
    filed = await payments.order(pool, MONTH, at, settings)
    assert filed.file_id is not None
    await payments.hand_over(pool, filed.file_id, bank, at)
    await payments.read_in(pool, bank, LATE, AFTER, settings)


async def reckon(pool: AsyncConnectionPool, **values: bool) -> late_fees.Reckoned:
    async with pool.connection() as connection:
        return await late_fees.reckon(connection, AFTER, actor=DESK, **values)


async def verify(pool: AsyncConnectionPool) -> None:
    async with transaction(pool) as connection:
        await late_fees.verify_rate(connection, **RATE, actor=DESK, now=AFTER)  # type: ignore[arg-type]


async def sound(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:
        assert ledger.faults(Counter(await books.balances(connection))) == []
        found = await checks.find_offences(connection, AFTER)
    assert {check.name: told for check, told in found if told} == {}


async def test_a_late_payout_costs_interest_and_forty_euros_once(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    """2 820,00 EUR ten days late at three times 2,75 %: 2820 x 0,0825 x 10 / 365 = 6,3740."""
    await verify(pool)
    await pay_late(pool, bank, settings)
    tried = await reckon(pool, dry_run=True)
    assert (tried.payouts, tried.interest_cents, tried.indemnity_cents) == (1, 637, 4_000)
    assert await rows(pool, "SELECT count(*) FROM late_payment") == [(0,)]
    done = await reckon(pool)
    assert (done.payouts, done.interest_cents, done.indemnity_cents) == (1, 637, 4_000)
    assert (await reckon(pool)).payouts == 0
    ((spans,),) = await rows(pool, "SELECT spans FROM late_payment")
    assert [(span["semester"], span["days"], span["percent"]) for span in spans] == [
        ("2026-S2", 10, "2.75")
    ]
    await sound(pool)
    # It leaves with the next payout, out of the operator's own money: 282 + 4 637 of its own went.
    drafted = await payouts.draft(pool, MONTH, AFTER, settings=settings, actor=DESK)
    assert (drafted.payouts, drafted.amount_cents) == (1, 4_637)
    filed = await payment_files.make(pool, AFTER, settings=settings, actor=DESK)
    assert filed.file_id is not None
    assert (filed.payments, filed.swept_cents, filed.to_lay_cents) == (1, 0, 4_637)
    await payments.hand_over(pool, filed.file_id, bank, AFTER)
    later = datetime(2026, 11, 26, 9, tzinfo=UTC)
    await payments.read_in(pool, bank, later.date(), later, settings)
    assert (await reckon(pool)).payouts == 0, "interest bears no interest"
    assert await rows(pool, "SELECT kind, amount_cents FROM payout_line ORDER BY payout_id") == [
        ("statement", 282_000),
        ("late", 4_637),
    ]
    await sound(pool)


async def test_without_a_verified_rate_it_is_refused_and_listed_until_there_is_one(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    await pay_late(pool, bank, settings)
    done = await reckon(pool)
    assert (done.payouts, [why.semester for why in done.stopped.values()]) == (0, ["2026-S2"])
    ((cause, remedy),) = await rows(
        pool, "SELECT cause, remedy FROM billing_problem WHERE resolved_at IS NULL"
    )
    assert cause == "rate_not_verified" and "/legal-rates/2026-S2" in remedy
    await verify(pool)
    assert (await reckon(pool)).payouts == 1
    assert await rows(pool, "SELECT * FROM billing_problem WHERE resolved_at IS NULL") == []


@pytest.mark.parametrize("client_class", ["non_professionnel", "particulier"])
async def test_the_clause_is_for_professionals(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    bank: Bank,
    client_class: str,
) -> None:
    async with await connect(database, owner=True) as owner:
        await owner.execute("UPDATE client SET class = %s WHERE id = %s", (client_class, client_id))
    await verify(pool)
    await pay_late(pool, bank, settings)
    assert (await reckon(pool)).payouts == 0


async def test_a_payout_in_time_costs_nothing(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    await verify(pool)
    await payments.pay(pool, MONTH, bank, NOW, settings)
    done = await reckon(pool)
    assert (done.payouts, done.stopped) == (0, {})


async def test_a_verified_rate_stays_and_one_that_lies_ahead_is_refused(
    database: Database, pool: AsyncConnectionPool
) -> None:
    await verify(pool)
    with pytest.raises(Conflict, match="verified already"):
        await verify(pool)
    async with await connect(database, owner=True) as owner:
        with pytest.raises(psycopg.errors.CheckViolation):
            await owner.execute("UPDATE legal_rate SET autres = 1 WHERE semester = '2026-S1'")
        with pytest.raises(psycopg.errors.CheckViolation):
            await owner.execute("DELETE FROM legal_rate WHERE semester = '2026-S1'")
    async with transaction(pool) as connection:
        with pytest.raises(Refusal, match="has not begun"):
            await late_fees.verify_rate(
                connection,
                **RATE | {"semester": "2027-S1"},  # type: ignore[arg-type]
                actor=DESK,
                now=AFTER,
            )
    known = await rows(pool, "SELECT semester FROM legal_rate WHERE verified_at IS NOT NULL")
    assert known == [("2026-S1",), ("2026-S2",)], "the others wait for a person"


async def test_what_a_late_client_owes_is_listed_and_booked_nowhere(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """An intervention of 50,00 and VAT, due on 10 November, and not paid by the 30th."""
    async with transaction(pool) as connection:
        await own_sales.add_own_sale(
            connection,
            client_id=client_id,
            kind="intervention",
            label="Intervention",
            amount_excl_cents=50_000,
            on_day=date(2026, 10, 12),
            month=MONTH,
            source_key="intervention",
            actor=DESK,
            now=NOW,
        )
        await own_sales.issue_own(connection, client_id, MONTH, NOW, settings=settings)
    ((due_on,),) = await rows(pool, "SELECT due_on FROM own_invoice_open WHERE open_cents = 60000")
    before = await rows(pool, "SELECT count(*) FROM ledger_entry")
    async with pool.connection() as connection:
        assert await late_fees.list_claims(connection, due_on) == []
        (refused,) = await late_fees.list_claims(connection, date(2026, 12, 31))
        assert refused.stopped is not None and refused.stopped.semester == "2026-S2"
    await verify(pool)
    async with pool.connection() as connection:
        (claim,) = await late_fees.list_claims(connection, date(2026, 12, 31))
    days = (date(2026, 12, 31) - due_on).days
    assert claim.interest_cents == round(60_000 * 3 * 0.0275 * days / 365)
    assert (claim.open_cents, claim.indemnity_cents, claim.stopped) == (60_000, 4_000, None)
    assert await rows(pool, "SELECT count(*) FROM ledger_entry") == before


async def test_our_own_notice_makes_no_client_late(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """T5: a debit that was announced for later, for its payer has fourteen days of notice."""
    await test_what_a_late_client_owes_is_listed_and_booked_nowhere(pool, settings, client_id)
    await payments.sign_mandate(pool, NOW, client_id=client_id)
    ((invoice_id,),) = await rows(
        pool, "SELECT invoice_id FROM own_invoice_open WHERE open_cents = 60000"
    )
    async with transaction(pool) as connection:
        await connection.execute(
            """
            INSERT INTO direct_debit (mandate_id, client_id, invoice_id, amount_cents, notified_at,
                                      collection_on, end_to_end_id, status)
            VALUES (1, %s, %s, 60000, now(), '2026-12-15', 'D-1', 'notified')
            """,
            (client_id, invoice_id),
        )
        assert await late_fees.list_claims(connection, date(2026, 12, 15)) == []
        (claim,) = await late_fees.list_claims(connection, date(2026, 12, 16))
    assert claim.due_on == date(2026, 12, 15)


async def test_what_came_back_from_the_clients_account_is_not_late_by_us(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    await verify(pool)
    await payments.pay(pool, MONTH, bank, NOW, settings)
    ((identifier,),) = await rows(pool, "SELECT end_to_end_id FROM payout")
    bank.give_back(identifier, "AC04")
    back = datetime(2026, 11, 17, 9, tzinfo=UTC)
    await payments.read_in(pool, bank, back.date(), back, settings)
    await pay_late(pool, bank, settings)
    assert await rows(pool, "SELECT status FROM payout ORDER BY id") == [
        ("returned",),
        ("settled",),
    ]
    done = await reckon(pool)
    assert (done.payouts, done.stopped) == (0, {})


async def test_a_client_without_an_account_waits_without_interest(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int, bank: Bank
) -> None:
    await verify(pool)
    async with await connect(database, owner=True) as owner:
        await owner.execute("UPDATE client_iban SET replaced_at = now()")
    stopped = await payouts.draft(pool, MONTH, NOW, settings=settings, actor=DESK)
    assert [why.cause for why in stopped.stopped.values()] == ["no_account"]
    await payments.give_account(database, client_id)
    await pay_late(pool, bank, settings)
    assert (await reckon(pool)).payouts == 0
