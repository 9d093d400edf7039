"""The closing of a month: from recorded sessions to the statement, however often it is killed."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from billing import books, closing, issuing, ledger, statement
from billing.closing import Closed
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, connect, open_pool, transaction
from csms.registry import Refusal
from tests import billing_world as world
from tests.billing_world import MONTH, NOW, rows
from tests.conftest import Server, drop_database, make_database, run_in_thread

DECEMBER = datetime(2026, 12, 1, 9, tzinfo=UTC)
NOVEMBER = date(2026, 11, 1)
DESK = Actor("command line")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return world.with_operator(settings)


@pytest.fixture
async def client_id(database: Database) -> int:
    """5 % commission, 15 EUR a month."""
    return await world.add_client(database, "Copropriété A", fee_cents=1_500)


@pytest.fixture
async def person_id(database: Database) -> int:
    return await world.add_driver(database, "anne")


async def pay(pool: AsyncConnectionPool, session_id: int, cents: int, day: date, key: str) -> None:
    """Money of the driver's for a session that is invoiced."""
    async with transaction(pool) as connection:
        cursor = await connection.execute(
            """
            WITH line AS (SELECT l.*, i.person_id
                            FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
                           WHERE l.session_id = %(session)s AND l.is_original),
            made AS (
                INSERT INTO receipt (source_key, person_id, invoice_id, client_id, amount_cents,
                                     received_on, booked_on, means, body_sha256, created_at,
                                     created_by)
                SELECT %(key)s, person_id, invoice_id, client_id, %(cents)s, %(day)s, %(day)s,
                       'transfer', '\\x00', now(), 'test' FROM line RETURNING *)
            INSERT INTO receipt_share (receipt_id, client_id, invoice_id, session_id, amount_cents,
                                       booked_on, created_at)
            SELECT id, client_id, invoice_id, %(session)s, amount_cents, booked_on, now() FROM made
            RETURNING receipt_id, client_id, (SELECT person_id FROM made)
            """,
            {"session": session_id, "key": key, "cents": cents, "day": day},
        )
        row = await cursor.fetchone()
        assert row is not None
        receipt_id, client_id, person_id = row
        await books.post(
            connection,
            [
                ledger.money_received(receipt_id, person_id, ledger.BANK_MANDATE, cents, day),
                ledger.allocated(f"{receipt_id}", "x", client_id, person_id, cents, day),
            ],
            NOW,
        )


async def close(
    pool: AsyncConnectionPool,
    settings: Settings,
    month: date = MONTH,
    now: datetime = NOW,
    **values: Any,
) -> Closed:
    return await closing.close_month(pool, month, now, settings=settings, **values)


async def figures(pool: AsyncConnectionPool) -> list[tuple[Any, ...]]:
    return await rows(
        pool,
        """SELECT collected_cents, uncollected_cents, commission_cents, fees_cents,
                  adjustment_cents, net_cents FROM statement ORDER BY month, client_id""",
    )


async def told(pool: AsyncConnectionPool, month: date = MONTH) -> statement.Statement:
    ((content,),) = await rows(pool, "SELECT content FROM statement WHERE month = %s", month)
    return statement.from_json(content)


async def everything(pool: AsyncConnectionPool) -> list[list[tuple[Any, ...]]]:
    """All that a closing leaves, moments apart."""
    return [
        await rows(pool, text)
        for text in (
            "SELECT session_id, amount_incl_cents, vat_cents FROM priced_session ORDER BY 1",
            "SELECT number, source_key, content_sha256, effect_cents FROM invoice ORDER BY number",
            "SELECT prefix, last_number FROM invoice_series ORDER BY prefix",
            "SELECT source_key, amount_excl_cents FROM own_sale ORDER BY source_key",
            "SELECT client_id, month, sha256, net_cents FROM statement ORDER BY 1, 2",
            """SELECT client_id, position, kind, session_id, amount_cents FROM statement_line
                ORDER BY 1, 2""",
            """SELECT chain_key, sequence, kind, booked_on, label FROM ledger_entry
                ORDER BY 1, 2""",
            """SELECT a.code, sum(p.amount_cents) FROM ledger_posting p
                 JOIN ledger_account a ON a.id = p.account_id GROUP BY 1 ORDER BY 1""",
        )
    ]


async def check_books(pool: AsyncConnectionPool) -> None:
    """Balances that may be; and each client's money is what its statements and the rest say."""
    async with pool.connection() as connection:
        found = await books.balances(connection)
    assert ledger.faults(Counter(found)) == []


async def test_a_month_is_told_to_the_cent(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
) -> None:
    """60 EUR charged, 40 EUR paid: 2 EUR commission and 15 EUR fees before VAT are deducted."""
    first, _ = await world.add_sessions(database, client_id, person_id, [4_000, 2_000])
    async with pool.connection() as connection:
        await issuing.issue(connection, client_id, MONTH, NOW, settings=settings)
    await pay(pool, first, 4_000, date(2026, 10, 20), "bank:1")
    done = await close(pool, settings)
    assert (done.statements, done.net_cents) == (1, 4_000 - 240 - 1_800)
    assert await figures(pool) == [(4_000, 2_000, 240, 1_800, 0, 1_960)]
    made = await told(pool)
    (commission,) = made.commission
    assert (commission.rate, commission.base_cents, commission.excl_cents) == (5, 4_000, 200)
    (vat,) = made.vat_collected
    assert (vat.percent, vat.base_cents, vat.vat_cents) == (20, 3_333, 667)
    assert [
        (point.sessions, point.billed_cents, point.collected_cents) for point in made.points
    ] == [(2, 6_000, 4_000)]
    assert [user.label for user in made.users] == ["anne"]
    async with pool.connection() as connection:
        found = await books.balances(connection, client_id)
    assert found[f"owed:available:{client_id}"] == -1_960
    assert found[f"receivable:client:{client_id}"] == 0
    await check_books(pool)


async def test_closing_again_changes_nothing(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
) -> None:
    await world.add_sessions(database, client_id, person_id, [1_000])
    await close(pool, settings)
    before = await everything(pool)
    again = await close(pool, settings, now=datetime(2026, 11, 3, 9, tzinfo=UTC))
    assert (again.clients, again.statements) == (0, 0)
    assert await everything(pool) == before


async def test_a_dry_run_tells_and_writes_nothing(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
) -> None:
    await world.add_sessions(database, client_id, person_id, [1_000])
    before = await everything(pool)
    done = await close(pool, settings, dry_run=True)
    assert (done.statements, done.net_cents) == (1, -1_800)
    assert await everything(pool) == before


async def test_a_month_that_runs_is_not_closed(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """October ends at 23:00 UTC on the 31st."""
    with pytest.raises(Refusal, match="has not ended"):
        await close(pool, settings, now=datetime(2026, 10, 31, 22, 59, tzinfo=UTC))
    assert (await close(pool, settings, now=datetime(2026, 10, 31, 23, tzinfo=UTC))).statements == 1


async def test_a_net_below_nothing_is_carried_over(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
) -> None:
    (session,) = await world.add_sessions(database, client_id, person_id, [5_000])
    await close(pool, settings)
    await pay(pool, session, 5_000, date(2026, 11, 10), "bank:1")
    await close(pool, settings, NOVEMBER, DECEMBER)
    first, second = await rows(
        pool, "SELECT opening_cents, net_cents FROM statement ORDER BY month"
    )
    assert first == (0, -1_800)
    assert second == (-1_800, 5_000 - 1_800 - 300 - 1_800)
    async with pool.connection() as connection:
        found = await books.balances(connection, client_id)
    assert found[f"owed:available:{client_id}"] == -1_100
    assert found[f"receivable:client:{client_id}"] == 0
    await check_books(pool)


async def test_a_session_that_was_mended_late_comes_into_the_next_statement(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
) -> None:
    await world.add_sessions(database, client_id, person_id, [1_000])
    await close(pool, settings)
    (late,) = await world.add_sessions(database, client_id, person_id, [700], day=date(2026, 10, 9))
    await close(pool, settings, NOVEMBER, DECEMBER)
    found = await rows(
        pool,
        """SELECT s.month, l.kind, l.session_id FROM statement_line l
             JOIN statement s ON s.id = l.statement_id WHERE l.session_id = %s""",
        late,
    )
    assert found == [(NOVEMBER, "late_session", late)]


async def test_a_credit_of_what_was_paid_is_an_adjustment_and_gives_commission_back(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
) -> None:
    first, _ = await world.add_sessions(database, client_id, person_id, [4_000, 3_000])
    async with pool.connection() as connection:
        await issuing.issue(connection, client_id, MONTH, NOW, settings=settings)
    await pay(pool, first, 4_000, date(2026, 10, 20), "bank:1")
    await close(pool, settings)
    ((invoice_id,),) = await rows(pool, "SELECT id FROM invoice WHERE issuer = 'client'")
    async with transaction(pool) as connection:
        await issuing.credit(
            connection,
            invoice_id,
            [first],
            "Durée inexacte",
            actor=DESK,
            now=datetime(2026, 11, 12, 9, tzinfo=UTC),
            settings=settings,
        )
    await close(pool, settings, NOVEMBER, DECEMBER)
    made = await told(pool, NOVEMBER)
    # What was paid goes to the driver's wallet and from there pays the other session.
    (adjustment,) = made.adjustments
    assert (adjustment.amount_cents, adjustment.cause) == (-4_000, "Durée inexacte")
    assert made.collected_cents == 3_000
    (commission,) = made.commission
    assert (commission.base_cents, commission.excl_cents) == (-1_000, -50)
    assert made.net_cents == 3_000 - 4_000 + 60 - 1_800
    assert made.vat_collected[0].vat_cents == 500 - 667
    await check_books(pool)


async def test_what_is_taken_back_gives_back_the_commission_that_was_taken(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
) -> None:
    """5 % in October and 20 % from November on: 40.00 of October that go back give back 2.00."""
    (session_id,) = await world.add_sessions(database, client_id, person_id, [4_000])
    async with await connect(database, owner=True) as owner:
        await owner.execute("UPDATE contract_terms SET to_on = '2026-11-01'")
        await owner.execute(
            """
            INSERT INTO contract_terms (client_id, contract_id, from_on, commission_rate,
                                        monthly_management_fee_cents, yearly_subscription_cents,
                                        monthly_telemetering_cents, invoicing)
            SELECT client_id, contract_id, '2026-11-01', 0.2, 0, 0, 0, invoicing
              FROM contract_terms WHERE client_id = %s
            """,
            (client_id,),
        )
    await world.add_sessions(database, client_id, person_id, [1_000], day=date(2026, 11, 5))
    async with pool.connection() as connection:
        await issuing.issue(connection, client_id, MONTH, NOW, settings=settings)
    await pay(pool, session_id, 4_000, date(2026, 10, 20), "bank:1")
    await close(pool, settings)
    assert (await told(pool)).commission[0].excl_cents == 200
    ((invoice_id,),) = await rows(pool, "SELECT id FROM invoice WHERE issuer = 'client'")
    november = datetime(2026, 11, 12, 9, tzinfo=UTC)
    async with transaction(pool) as connection:
        await issuing.credit(
            connection, invoice_id, None, "Panne", actor=DESK, now=november, settings=settings
        )
    await close(pool, settings, NOVEMBER, DECEMBER)
    made = await told(pool, NOVEMBER)
    found = {one.rate: (one.base_cents, one.excl_cents) for one in made.commission}
    assert found[Decimal(5)] == (-4_000, -200)
    await check_books(pool)


async def test_other_invoices_are_set_off_when_they_are_past_due_and_not_before(
    database: Database, pool: AsyncConnectionPool, settings: Settings, person_id: int
) -> None:
    """A subscription of 100 EUR, invoiced with the closing of January."""
    client_id = await world.add_client(database, "Copropriété B", subscription_cents=10_000)
    january, february = date(2026, 1, 1), date(2026, 2, 1)
    sessions = await world.add_sessions(
        database, client_id, person_id, [20_000], day=date(2026, 1, 10)
    )
    await close(pool, settings, january, datetime(2026, 2, 2, 9, tzinfo=UTC))
    await pay(pool, sessions[0], 20_000, date(2026, 2, 10), "bank:1")
    assert (await told(pool, january)).offset_cents == 0
    await close(pool, settings, february, datetime(2026, 3, 2, 9, tzinfo=UTC))
    made = await told(pool, february)
    assert made.offset_cents == 12_000
    assert made.net_cents == 20_000 - 1_200 - 12_000
    await check_books(pool)


@pytest.mark.parametrize("status", ["notified", "sent"])
async def test_what_is_being_debited_is_not_set_off_too(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person_id: int,
    status: str,
) -> None:
    """The same, with a direct debit of the subscription under way: it would be paid twice."""
    client_id = await world.add_client(database, "Copropriété B", subscription_cents=10_000)
    january, february = date(2026, 1, 1), date(2026, 2, 1)
    sessions = await world.add_sessions(
        database, client_id, person_id, [20_000], day=date(2026, 1, 10)
    )
    await close(pool, settings, january, datetime(2026, 2, 2, 9, tzinfo=UTC))
    await pay(pool, sessions[0], 20_000, date(2026, 2, 10), "bank:1")
    async with await connect(database, owner=True) as owner:
        await owner.execute(
            """
            INSERT INTO sepa_mandate (reference, client_id, iban, holder, signed_on, created_at,
                                      created_by)
            VALUES ('RUM-1', %s, 'DE89370400440532013000', 'SDC', '2026-01-05', now(), 'test')
            """,
            (client_id,),
        )
        await owner.execute(
            """
            INSERT INTO payment_file (kind, account, message_id, execution_on, payments,
                                      total_cents, content, sha256, is_simulated, created_at,
                                      created_by)
            VALUES ('debit', 'own', 'T2P-P-1', '2026-03-03', 1, 12000, '<x/>', sha256('<x/>'),
                    true, now(), 'test')
            """
        )
        await owner.execute(
            """
            INSERT INTO direct_debit (mandate_id, client_id, invoice_id, amount_cents, notified_at,
                                      collection_on, end_to_end_id, status, file_id)
            SELECT 1, client_id, invoice_id, open_cents, now(), '2026-03-03', 'D-1', %s, 1
              FROM own_invoice_open WHERE open_cents = 12000
            """,
            (status,),
        )
    await close(pool, settings, february, datetime(2026, 3, 2, 9, tzinfo=UTC))
    assert (await told(pool, february)).offset_cents == 0
    await check_books(pool)


async def test_a_client_that_lacks_something_stops_alone_and_goes_on_when_mended(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
) -> None:
    other = await world.add_client(database, "Copropriété B")
    for each in (client_id, other):
        await world.add_sessions(database, each, person_id, [1_000])
    async with pool.connection() as connection:
        await connection.execute("UPDATE client SET legal_name = NULL WHERE id = %s", (other,))
    done = await close(pool, settings)
    assert (done.statements, list(done.stopped)) == (1, [other])
    assert done.stopped[other].cause == "client_without_legal_name"
    assert await rows(
        pool, "SELECT cause FROM billing_problem WHERE stage = 'close' AND resolved_at IS NULL"
    ) == [("client_without_legal_name",)]
    async with pool.connection() as connection:
        await connection.execute("UPDATE client SET legal_name = 'SDC B' WHERE id = %s", (other,))
    assert (await close(pool, settings)).statements == 1
    assert await rows(pool, "SELECT count(*) FROM billing_problem WHERE resolved_at IS NULL") == [
        (0,)
    ]


async def test_two_workers_close_a_month_once(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
) -> None:
    others = [await world.add_client(database, f"Copropriété {n}") for n in range(3)]
    for each in (client_id, *others):
        await world.add_sessions(database, each, person_id, [1_000, 500])
    await asyncio.gather(close(pool, settings), close(pool, settings))
    assert len(await figures(pool)) == 4
    assert await rows(
        pool, "SELECT DISTINCT last_number FROM invoice_series WHERE client_id IS NOT NULL"
    ) == [(1,)]
    await check_books(pool)


class Killed(Exception):
    """What the hook throws in place of a process that dies."""


async def prepare(database: Database, pool: AsyncConnectionPool, settings: Settings) -> None:
    """Two clients, one of each way of invoicing; some of their sessions are invoiced and paid."""
    person_id = await world.add_driver(database, "anne")
    for name, invoicing in (("Copropriété A", "per_driver_month"), ("Copropriété B", "per_use")):
        each = await world.add_client(database, name, invoicing=invoicing, fee_cents=900)
        sessions = await world.add_sessions(database, each, person_id, [4_000, 2_000, 300])
        async with pool.connection() as connection:
            await issuing.issue(connection, each, MONTH, NOW, settings=settings)
        await pay(pool, sessions[0], 4_000, date(2026, 10, 20), f"bank:{each}")
        await world.add_sessions(database, each, person_id, [1_234], day=date(2026, 10, 30))


@pytest.fixture(scope="module")
def measure(
    server: Server, administrator: psycopg.Connection, storage: str
) -> list[list[tuple[Any, ...]]]:
    """What a closing leaves that nothing kills, in a database of its own."""

    async def make() -> list[list[tuple[Any, ...]]]:
        settings = world.with_operator(
            Settings(database_url=database.app_url, database_owner_url=database.owner_url)
        )
        async with open_pool(database, settings) as pool:
            await prepare(database, pool, settings)
            await close(pool, settings)
            return await everything(pool)

    database = make_database(server, administrator, "t2p_test_measure", storage)
    made: list[list[tuple[Any, ...]]] = run_in_thread(make)
    drop_database(administrator, "t2p_test_measure")
    return made


def test_every_series_is_without_a_gap(measure: list[list[tuple[Any, ...]]]) -> None:
    """Client A: two invoices; client B: one for each of four uses; the operator: two."""
    assert [row[1] for row in measure[2]] == [2, 4, 2]


@pytest.mark.parametrize("step", range(1, 37))
async def test_killed_between_any_two_steps_a_closing_arrives_at_the_same(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    measure: list[list[tuple[Any, ...]]],
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    """The process dies after the `step`th call; there are no more than these."""
    await prepare(database, pool, settings)
    calls = _die_at(monkeypatch, step)
    try:
        await close(pool, settings)
    except Killed:
        assert calls() >= step  # some are made within others
    else:
        assert calls() < step
        assert step > 30
    monkeypatch.undo()
    await check_books(pool)
    await close(pool, settings)
    assert await everything(pool) == measure


STEPS: list[tuple[Any, str]] = [
    (closing.store, name)
    for name in (
        "list_heads",
        "fetch_shares",
        "fetch_charged",
        "fetch_sold",
        "insert_statement",
        "insert_lines",
    )
] + [
    (closing.books, "close_month"),
    (closing.books, "post"),
    (closing.own_sales, "add_own_sale"),
    (closing.own_sales, "issue_own"),
    (closing.issuing, "issue"),
    (closing.pricing, "run"),
]


def _die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], int]:
    """Let the `step`th call of a step be made and the process die after it; how many were made."""
    count = 0

    def wrapped(work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
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
        monkeypatch.setattr(module, name, wrapped(getattr(module, name)))
    return lambda: count
