"""`time2plug billing check`: silent on books as the product keeps them, and not on others.

Each mutant is made by the superuser with all triggers off, as somebody could who owns the server.
"""

import asyncio
import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from typer.testing import CliRunner

from billing import books, checks, collecting, ledger, own_sales
from billing.receipts import apply_wallets
from csms.config import Settings
from csms.db import Database, connect, transaction
from csms.embedded import SUPERUSER
from simulators.bank import Bank
from tests import billing_world
from tests.conftest import Server
from tests.scenarios import billed, payments, supply
from tests.scenarios.billed import NOW
from tests.test_receipts import receive

OWN = "T2P-F-2026-000001"


@pytest.fixture
async def books_of_a_month(database: Database, pool: AsyncConnectionPool) -> None:
    """Two clients: invoices, money for them, one undone, a credit, a corrective, the operator's
    invoice, a statement with a file, a closed month."""
    async with await connect(database, owner=True) as owner:
        await billed.build(owner)
    async with transaction(pool) as connection:
        first = await billed.issue(connection, 2, 1, [1000, 250])
        second = await billed.issue(connection, 3, 1, [400, 500])
        await billed.issue(connection, 2, 2, [700])
        await receive(connection, "VIR-1", 1250, invoice_number=first)
        await receive(connection, "VIR-2", 900, invoice_number=second)
        await receive(connection, "VIR-3", 300, person_id=2, into=ledger.PSP_CLEARING)
        await receive(connection, "VIR-4", -1250, reverses_key="VIR-1")
        sessions = await billed.sessions_of(connection, second)
        await billed.credit(connection, second, [(sessions[0], 400)])
        sessions = await billed.sessions_of(connection, first)
        await billed.correct(connection, first, [(sessions[0], 800), (sessions[1], 250)], -200)
        await apply_wallets(connection, [1, 2], NOW)
        await _own_invoice(connection)
        await books.post(connection, [ledger.provider_settled("p1", 300, 5, NOW.date())], NOW)
        await books.close_month(connection, 2, date(2026, 10, 1), NOW)
        await connection.execute(
            """
            INSERT INTO invoice_file (invoice_id, client_id, format, content, sha256, created_at)
            SELECT id, client_id, 'xml', 'x', sha256('x'), created_at FROM invoice LIMIT 1
            """
        )
        await connection.execute(
            """
            INSERT INTO statement (client_id, month, opening_cents, collected_cents,
                    uncollected_cents, commission_cents, fees_cents, offset_cents, adjustment_cents,
                    disputed_cents, net_cents, content, sha256, closed_at)
            VALUES (2, '2026-10-01', 0, 0, 0, 0, 0, 0, 0, 0, 0, '{"é": 1}',
                    sha256(convert_to('{"é": 1}', 'UTF8')), %s)
            """,
            (NOW,),
        )
        await connection.execute(
            """
            INSERT INTO statement_line (statement_id, client_id, position, kind, session_id,
                                        invoice_id, amount_cents)
            SELECT s.id, s.client_id, 1, 'session', p.session_id, l.invoice_id, p.amount_incl_cents
              FROM statement s JOIN priced_session p USING (client_id)
              JOIN invoice_line l ON l.session_id = p.session_id AND l.is_original
             ORDER BY p.session_id LIMIT 1
            """
        )


async def _own_invoice(connection: AsyncConnection) -> None:
    content = billed.content_of(OWN, billed.ISSUED_ON, 100).replace(
        '"vat_cents": 0, "gross_cents": 100', '"vat_cents": 20, "gross_cents": 120'
    )
    await connection.execute(
        """
        WITH series AS (
            INSERT INTO invoice_series (client_id, kind, year, prefix, last_number)
            VALUES (NULL, 'invoice', 2026, 'T2P-F-2026-', 1) RETURNING id),
        sale AS (
            INSERT INTO own_sale (client_id, kind, label, amount_excl_cents, on_day, month,
                                  source_key, created_at, created_by)
            VALUES (2, 'commission', 'Commission', 100, '2026-10-31', '2026-10-01', 'c', %(now)s,
                    'test') RETURNING id),
        made AS (
            INSERT INTO invoice (issuer, client_id, series_id, sequence, number, type_code,
                                 vat_case, month, issued_on, due_on, amount_excl_cents, vat_cents,
                                 amount_incl_cents, effect_cents, effect_vat_cents, source_key,
                                 content, content_sha256, created_at)
            SELECT 'operator', 2, id, 1, %(number)s, 380, 'redevable', '2026-10-01', '2026-11-02',
                   '2026-11-10', 100, 20, 120, 120, 20, 'own', %(content)s, %(sha256)s, %(now)s
              FROM series RETURNING id)
        INSERT INTO invoice_line SELECT made.id, 1, 2, NULL, sale.id, true, 100, 20, 120
          FROM made, sale
        """,
        {
            "now": NOW,
            "number": OWN,
            "content": content,
            "sha256": hashlib.sha256(content.encode()).digest(),
        },
    )
    cursor = await connection.execute("SELECT id FROM invoice WHERE number = %s", (OWN,))
    row = await cursor.fetchone()
    assert row is not None
    sale = ledger.own_invoice(row[0], OWN, 2, 100, 0, 20, billed.ISSUED_ON)
    await books.post(connection, [sale], NOW)


async def broken(pool: AsyncConnectionPool) -> dict[str, str]:
    """The checks that found something, with the first offence."""
    async with pool.connection() as connection:
        found = await checks.find_offences(connection, NOW)
    return {
        check.name: f"{offences[0].subject}: {offences[0].detail}"
        for check, offences in found
        if offences
    }


async def test_the_products_own_books_are_sound(
    pool: AsyncConnectionPool, books_of_a_month: None
) -> None:
    assert await broken(pool) == {}


# Of each check at least one. What else finds the same is no matter.
ALLOCATION = "(SELECT min(id) FROM ledger_entry WHERE kind = 'allocation')"
MUTANTS = [
    ("unbalanced entries", "UPDATE ledger_posting SET amount_cents = 7 WHERE (entry_id, position) = (1, 1)"),
    ("unbalanced entries", "DELETE FROM ledger_posting WHERE entry_id = 1"),
    ("changed entries", "UPDATE ledger_entry SET label = 'x' WHERE id = 1"),
    ("changed entries", "UPDATE ledger_entry SET booked_on = '2026-11-01' WHERE id = 1"),
    ("changed entries", "UPDATE ledger_posting SET amount_cents = amount_cents * 2 WHERE entry_id = 1"),
    ("changed entries", "UPDATE ledger_account SET code = 'owed:available:9' WHERE code = 'owed:available:3'"),
    ("broken chains", "DELETE FROM ledger_entry WHERE id = 1"),
    ("broken chains", "DELETE FROM ledger_entry WHERE sequence = (SELECT max(sequence) FROM ledger_entry WHERE chain_key = 2) AND chain_key = 2"),
    ("broken chains", "UPDATE ledger_entry SET body_sha256 = '\\x01' WHERE id = 2"),
    ("broken chains", "UPDATE ledger_chain SET last_sha256 = '\\x01' WHERE chain_key = 0"),
    ("broken chains", "UPDATE ledger_entry SET client_id = 3 WHERE id = (SELECT min(id) FROM ledger_entry WHERE client_id = 2)"),
    ("late entries", "UPDATE ledger_entry SET booked_on = '2026-10-31', created_at = created_at + interval '1 s' WHERE id = (SELECT min(id) FROM ledger_entry WHERE client_id = 2)"),
    ("client money lent", "UPDATE ledger_posting SET account_id = (SELECT id FROM ledger_account WHERE code = 'bank:own') WHERE account_id = (SELECT id FROM ledger_account WHERE code = 'bank:mandate')"),
    ("overdrawn accounts", "UPDATE ledger_posting SET amount_cents = abs(amount_cents) WHERE account_id = (SELECT id FROM ledger_account WHERE code = 'owed:available:3')"),
    ("overdrawn accounts", "UPDATE ledger_posting SET amount_cents = 99 * abs(amount_cents) WHERE account_id = (SELECT id FROM ledger_account WHERE code = 'wallet:1') AND amount_cents > 0"),
    ("claims beside invoices", "UPDATE ledger_posting SET amount_cents = amount_cents + 1 WHERE account_id = (SELECT id FROM ledger_account WHERE code = 'receivable:drivers:2') AND entry_id = 1"),
    ("claims beside invoices", "UPDATE ledger_posting SET amount_cents = amount_cents + 1 WHERE account_id = (SELECT id FROM ledger_account WHERE code = 'uncollected:2') AND entry_id = 1"),
    ("claims beside invoices", "DELETE FROM receipt_share WHERE id = 1"),
    ("receipts beside books", "DELETE FROM receipt WHERE source_key = 'VIR-3'"),
    ("receipts beside books", "UPDATE receipt SET amount_cents = 301 WHERE source_key = 'VIR-3'"),
    ("receipts beside books", "UPDATE receipt SET person_id = 1 WHERE source_key = 'VIR-3'"),
    ("receipts beside books", "UPDATE receipt SET booked_on = '2026-11-01' WHERE source_key = 'VIR-3'"),
    ("receipts beside books", "UPDATE ledger_entry SET source_key = 'receipt:77' WHERE kind = 'receipt' AND id = (SELECT min(id) FROM ledger_entry WHERE kind = 'receipt')"),
    ("shares beside books", "UPDATE receipt_share SET amount_cents = amount_cents - 1 WHERE id = 1"),
    ("shares beside books", f"UPDATE ledger_entry SET kind = 'other' WHERE id = {ALLOCATION}"),
    ("shares beside books", "UPDATE receipt_share SET booked_on = '2026-11-01' WHERE id = 1"),
    ("overspent receipts", "UPDATE receipt_share SET amount_cents = 5000 WHERE id = (SELECT max(s.id) FROM receipt_share s JOIN receipt r ON r.id = s.receipt_id WHERE source_key = 'VIR-3')"),
    ("overspent receipts", "DELETE FROM receipt_share WHERE amount_cents < 0 AND receipt_id = (SELECT id FROM receipt WHERE source_key = 'VIR-1')"),
    ("odd reversals", "UPDATE receipt SET amount_cents = -1249 WHERE source_key = 'VIR-4'"),
    ("odd reversals", "UPDATE receipt SET person_id = 2 WHERE source_key = 'VIR-4'"),
    ("gaps in series", "UPDATE invoice SET sequence = 9 WHERE number = 'C00002-F-2026-000002'"),
    ("gaps in series", "DELETE FROM invoice WHERE number = 'C00002-F-2026-000001'"),
    ("gaps in series", "UPDATE invoice_series SET last_number = last_number + 1 WHERE client_id = 3"),
    ("gaps in series", "UPDATE invoice SET issued_on = '2026-11-01' WHERE number = 'C00002-F-2026-000002'"),
    ("gaps in series", "UPDATE invoice SET number = 'C00002-F-2026-2' WHERE number = 'C00002-F-2026-000002'"),
    ("invoices beside books", "UPDATE invoice SET effect_cents = effect_cents + 1 WHERE id = 1"),
    ("invoices beside books", "UPDATE invoice SET client_id = 3 WHERE id = 1"),
    ("invoices beside books", "DELETE FROM invoice WHERE id = 1"),
    ("invoices beside books", f"UPDATE ledger_entry SET source_key = 'invoice:77' WHERE label = 'Facture {OWN}'"),
    ("effects beside documents", "UPDATE invoice SET effect_cents = 1 WHERE type_code = 381"),
    ("effects beside documents", "UPDATE invoice SET effect_cents = 1 WHERE type_code = 384"),
    ("effects beside documents", f"UPDATE invoice SET effect_vat_cents = 19 WHERE number = '{OWN}'"),
    ("overpaid sessions", "UPDATE receipt_share SET session_id = 5 WHERE session_id = 4"),
    ("overpaid sessions", "UPDATE invoice_line SET amount_excl_cents = 1, amount_incl_cents = 1 WHERE session_id = 5"),
    ("overpaid sessions", "INSERT INTO receipt_share (receipt_id, client_id, invoice_id, session_id, amount_cents, booked_on, created_at) SELECT receipt_id, client_id, invoice_id, session_id, -9999, booked_on, created_at FROM receipt_share WHERE id = 1"),
    ("lines beside prices", "UPDATE invoice_line SET amount_excl_cents = 249, vat_cents = 1 WHERE session_id = 2"),
    ("lines beside prices", "UPDATE priced_session SET person_id = 2 WHERE session_id = 2"),
    ("lines beside prices", "UPDATE own_sale SET amount_excl_cents = 99"),
    ("sums beside lines", "UPDATE invoice_line SET amount_excl_cents = 251, amount_incl_cents = 251 WHERE session_id = 2"),
    ("sums beside lines", "DELETE FROM invoice_line WHERE session_id = 2"),
    ("changed documents", "UPDATE invoice SET content = content || ' ' WHERE id = 1"),
    ("changed documents", "UPDATE statement SET content = '{\"é\": 2}'"),
    ("documents beside rows", "UPDATE invoice SET content = replace(content, '1250', '1251') WHERE id = 1"),
    ("documents beside rows", "UPDATE invoice SET due_on = due_on, issued_on = '2026-11-01' WHERE id = 1"),
    ("changed files", "ALTER TABLE invoice_file DROP CONSTRAINT invoice_file_check; UPDATE invoice_file SET content = 'y'"),
    ("statements beside lines", "UPDATE statement SET net_cents = net_cents + 1"),
    ("statements beside lines", "UPDATE statement SET collected_cents = 5, net_cents = 5"),
    ("statements out of line", "UPDATE statement SET opening_cents = -5, net_cents = -5"),
    ("lines beside sources", "UPDATE statement_line SET amount_cents = amount_cents + 1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "act"), MUTANTS)
async def test_every_check_finds_its_mutant(
    server: Server,
    database: Database,
    pool: AsyncConnectionPool,
    books_of_a_month: None,
    name: str,
    act: str,
) -> None:
    await mutate(server, database, act)
    assert name in await broken(pool)


async def mutate(server: Server, database: Database, act: str) -> None:
    where: Any = psycopg.conninfo.conninfo_to_dict(database.owner_url)["dbname"]
    async with await AsyncConnection.connect(server.conninfo(SUPERUSER, where)) as superuser:
        await superuser.execute("SET session_replication_role = replica")
        cursor = await superuser.execute(act.encode())
        assert cursor.rowcount, "the mutant is none"


@pytest.fixture
async def payments_of_a_month(
    database: Database, pool: AsyncConnectionPool, settings: Settings
) -> None:
    """Two clients: one paid by the bank, the other's payout sent back; a debit that was collected
    and one returned; the operator's invoice paid by transfer; a line that nothing explains."""
    with_accounts = payments.with_accounts(settings)
    october = datetime(2026, 10, 31, 12, tzinfo=UTC)
    anne = await billing_world.add_driver(database, "anne")
    await payments.sign_mandate(pool, october, person_id=anne)
    numbers = []
    for name in ("alpha", "beta"):
        made = await billing_world.add_client(database, name, invoicing="per_use")
        await payments.give_account(database, made)
        await billing_world.add_sessions(database, made, anne, [4_000, 2_000])
        found = await payments.bill(pool, made, billing_world.MONTH, october, with_accounts)
        numbers += [number for _, number, _ in found]
    for number in numbers[::2]:
        await payments.receive(pool, f"card {number}", 4_000, october, invoice_number=number)
    async with transaction(pool) as connection:
        await own_sales.add_own_sale(
            connection,
            client_id=made,
            kind="intervention",
            label="Intervention",
            amount_excl_cents=5_000,
            on_day=date(2026, 10, 12),
            month=billing_world.MONTH,
            source_key="intervention",
            actor=payments.DESK,
            now=october,
        )
    await payments.close(pool, billing_world.MONTH, billing_world.NOW, with_accounts)
    async with pool.connection() as connection:
        bank = Bank(payments.MANDATE_IBAN, await books.balance(connection, ledger.BANK_MANDATE))
    own = Bank(payments.OWN_IBAN, 0)
    filed = await payments.order(pool, billing_world.MONTH, billing_world.NOW, with_accounts)
    await payments.hand_over(pool, filed.file_id or 0, bank, billing_world.NOW)
    await collecting.announce_debits(pool, billing_world.NOW, settings=with_accounts)
    ((day,),) = await billing_world.rows(pool, "SELECT max(collection_on) FROM direct_debit")
    later = datetime(day.year, day.month, day.day, 9, tzinfo=UTC) - timedelta(days=2)
    debited = await collecting.make_files(pool, later, settings=with_accounts, actor=payments.DESK)
    for file_id in debited.file_ids:
        await payments.hand_over(pool, file_id, bank, later)
    ((debit_on,),) = await billing_world.rows(
        pool, "SELECT execution_on FROM payment_file WHERE kind = 'debit'"
    )
    ((invoice, cents),) = await billing_world.rows(
        pool, "SELECT number, open_cents FROM own_invoice_open WHERE open_cents > 0 LIMIT 1"
    )
    own.receive(cents, "SDC alpha", payments.CLIENT_IBAN, f"facture {invoice}")
    bank.receive(123, "Inconnu", payments.DRIVER_IBAN, "merci")
    await payments.read_in(pool, bank, debit_on, later, with_accounts)
    for payment in ("payout", "direct_debit"):
        ((identifier,),) = await billing_world.rows(
            pool, f"SELECT end_to_end_id FROM {payment} ORDER BY id DESC LIMIT 1"
        )
        bank.give_back(identifier, "AC04")
    await payments.read_in(pool, bank, debit_on + timedelta(days=1), later, with_accounts)
    await payments.read_in(pool, own, debit_on, later, with_accounts)


async def test_the_products_own_payments_are_sound(
    pool: AsyncConnectionPool, payments_of_a_month: None
) -> None:
    assert await broken(pool) == {}
    assert dict(
        await billing_world.rows(pool, "SELECT kind, count(*) FROM bank_match GROUP BY kind")
    ) == {
        "payout": 2,
        "payout_return": 1,
        "transfer": 1,
        "debit": 2,
        "debit_return": 1,
        "own_receipt": 1,
        "suspense": 1,
    }


PAYMENT_MUTANTS = [
    ("payouts beside lines", "UPDATE payout SET amount_cents = amount_cents + 1 WHERE id = 1"),
    ("payouts beside lines", "DELETE FROM payout_line WHERE payout_id = 1"),
    ("paid beyond statements", "UPDATE statement SET net_cents = net_cents - 1 WHERE id = 1"),
    ("paid beyond statements", "UPDATE payout_line SET statement_id = 1, payout_id = 1, position = 2 WHERE payout_id = 2"),
    ("payouts beside books", "UPDATE payout SET status = 'sent' WHERE id = 1"),
    ("payouts beside books", "UPDATE payout SET status = 'settled' WHERE id = 2"),
    ("payouts beside books", "UPDATE payout SET amount_cents = amount_cents + 1 WHERE id = 1"),
    ("payouts beside books", "DELETE FROM payout WHERE id = 1"),
    ("payouts beside books", "UPDATE ledger_entry SET kind = 'other' WHERE source_key = 'paid:1'"),
    ("files beside payments", "UPDATE payment_file SET total_cents = total_cents + 1 WHERE kind = 'payout'"),
    ("files beside payments", "UPDATE payment_file SET payments = payments + 1 WHERE kind = 'debit'"),
    ("files beside payments", "UPDATE payout SET file_id = 2 WHERE id = 1"),
    ("debits beside receipts", "UPDATE direct_debit SET status = 'sent' WHERE status = 'collected'"),
    ("debits beside receipts", "UPDATE direct_debit SET status = 'collected' WHERE status = 'returned'"),
    ("debits beside receipts", "DELETE FROM receipt WHERE source_key LIKE 'debit:%:returned'"),
    ("debits beside receipts", "UPDATE direct_debit SET amount_cents = 1 WHERE status = 'collected'"),
    ("own receipts beside books", "UPDATE own_receipt SET amount_cents = 1"),
    ("own receipts beside books", "DELETE FROM own_receipt"),
    ("late payments beside books", "INSERT INTO late_payment (client_id, payout_id, month, principal_cents, paid_on, interest_cents, indemnity_cents, spans, created_at, created_by) SELECT client_id, id, month, 1, due_on, 1, 0, '[]', now(), 'x' FROM payout WHERE id = 1"),
    ("bank lines beside books", "UPDATE bank_line SET amount_cents = amount_cents - 1 WHERE id = 1"),
    ("bank lines beside books", "UPDATE bank_match SET subject = 'payout 9' WHERE subject = 'payout 1'"),
    ("bank lines beside books", "UPDATE bank_match SET subject = 'payout 1' WHERE subject = 'payout 2'"),
    ("bank lines beside books", "DELETE FROM ledger_posting WHERE entry_id = (SELECT id FROM ledger_entry WHERE kind = 'suspense')"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "act"), PAYMENT_MUTANTS)
async def test_every_check_of_payments_finds_its_mutant(
    server: Server,
    database: Database,
    pool: AsyncConnectionPool,
    payments_of_a_month: None,
    name: str,
    act: str,
) -> None:
    await mutate(server, database, act)
    assert name in await broken(pool)


SUPPLY_MUTANTS = [
    ("supply beside sources", "UPDATE supply_document SET amount_incl_cents = amount_incl_cents + 1 WHERE kind = 'bill'"),
    ("supply beside sources", "UPDATE supply_document SET energy_excl_cents = energy_excl_cents + 1 WHERE kind = 'bill'"),
    ("supply beside sources", "UPDATE supply_session SET energy_wh = energy_wh + 1"),
    ("supply beside sources", "DELETE FROM supply_session"),
    ("supply beside sources", "UPDATE lot_holding SET person_id = (SELECT min(person_id) FROM driver)"),
    ("supply beside sources", "DELETE FROM supply_document WHERE kind = 'advance'"),
    ("provisions beside books", "UPDATE supply_provision SET amount_cents = amount_cents + 1 WHERE kind = 'used'"),
    ("provisions beside books", "UPDATE supply_provision SET vat_cents = vat_cents + 1 WHERE kind = 'used'"),
    ("provisions beside books", "DELETE FROM supply_provision WHERE kind = 'received'"),
]  # fmt: skip


@pytest.fixture
async def supply_of_a_month(
    database: Database, pool: AsyncConnectionPool, settings: Settings
) -> None:
    """A co-owner with a provision that was paid, and a bill that it paid."""
    await billing_world.add_driver(database, "somebody")
    person_id = await billing_world.add_driver(database, "anna")
    client_id = await supply.add_coownership(database)
    await supply.supply(pool, client_id)
    own = payments.with_accounts(settings)
    holding_id = await supply.give_lot(
        pool, client_id, "12", person_id, evse_id=1, provision_cents=6_000
    )
    await supply.ask(pool, own, holding_id)
    bank = Bank(payments.OWN_IBAN, 0)
    bank.receive(6_000, "Anna", payments.DRIVER_IBAN, OWN)
    at = datetime(2026, 9, 20, 9, tzinfo=UTC)
    await payments.read_in(pool, bank, at.date(), at, own)
    await supply.charge(database, client_id, 37_421, datetime(2026, 10, 3, 8, tzinfo=UTC))
    await supply.bill(pool, own, date(2026, 10, 1), datetime(2026, 11, 2, 9, tzinfo=UTC))
    assert await broken(pool) == {}


@pytest.mark.parametrize(("name", "act"), SUPPLY_MUTANTS)
async def test_every_check_of_supply_finds_its_mutant(
    server: Server,
    database: Database,
    pool: AsyncConnectionPool,
    supply_of_a_month: None,
    name: str,
    act: str,
) -> None:
    await mutate(server, database, act)
    assert name in await broken(pool)


def test_every_check_has_a_mutant() -> None:
    assert {check.name for check in checks.CHECKS} == {
        name for name, _ in [*MUTANTS, *PAYMENT_MUTANTS, *SUPPLY_MUTANTS]
    }


async def test_the_verb_says_what_is_wrong_and_fails(
    server: Server,
    database: Database,
    settings: Settings,
    books_of_a_month: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from csms.__main__ import app

    assert settings.database_url is not None
    monkeypatch.setenv("T2P_DATABASE_URL", settings.database_url)
    sound = await asyncio.to_thread(CliRunner().invoke, app, ["billing", "check"])
    assert sound.exit_code == 0, sound.output
    where: Any = psycopg.conninfo.conninfo_to_dict(database.owner_url)["dbname"]
    async with await AsyncConnection.connect(server.conninfo(SUPERUSER, where)) as superuser:
        await superuser.execute("SET session_replication_role = replica")
        await superuser.execute("UPDATE ledger_entry SET label = 'x' WHERE id = 1")
    wrong = await asyncio.to_thread(CliRunner().invoke, app, ["billing", "check"])
    assert wrong.exit_code == 1
    assert "entry invoice:1: its content has another digest" in wrong.output
