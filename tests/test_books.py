"""The books in the database: what it refuses, and that everything is written once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from billing import books, ledger
from billing.ledger import Entry
from csms.db import Database, connect, transaction
from csms.registry import Conflict
from csms.store import sites

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
DAY = date(2026, 10, 20)


@pytest.fixture
async def client_id(pool: AsyncConnectionPool) -> int:
    async with transaction(pool) as connection:
        made = await sites.insert_client(connection, "Copropriété de test")
        assert made is not None
        await connection.execute("INSERT INTO person (email) VALUES ('someone@example.org')")
        await connection.execute("INSERT INTO driver (person_id) SELECT id FROM person")
        return int(made.id)


@pytest.fixture
async def connection(database: Database, client_id: int) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await connect(database) as opened:
        await opened.set_autocommit(False)
        yield opened
        await opened.rollback()


def month_of(client_id: int) -> list[Entry]:
    """An invoice of 12 euros, paid, with a commission of 1 euro and VAT, set off."""
    return [
        ledger.invoice_issued(client_id, 1, "C00001-F-2026-000001", 1200, DAY),
        ledger.money_received(1, 1, ledger.BANK_MANDATE, 1200, DAY),
        ledger.allocated("1:1", "C00001-F-2026-000001", client_id, 1, 1200, DAY),
        ledger.own_invoice(2, "T2P-F-2026-000001", client_id, 100, 0, 20, DAY),
        ledger.offset(client_id, date(2026, 10, 1), 120, DAY),
    ]


async def test_a_month_is_written_once_however_often_it_is_posted(
    pool: AsyncConnectionPool, client_id: int
) -> None:
    entries = month_of(client_id)
    async with transaction(pool) as connection:
        first = await books.post(connection, entries, NOW)
    async with transaction(pool) as connection:
        assert await books.post(connection, entries, NOW) == first
        found = await books.balances(connection)
    assert found[f"owed:available:{client_id}"] == -1080
    assert found["bank:mandate"] == 1200
    assert found[f"uncollected:{client_id}"] == 0
    assert found["income:commission"] == -100
    expected = ledger.balances(entries)
    assert found == {code: expected[code] for code in found}


async def test_the_same_key_with_another_body_is_refused(
    pool: AsyncConnectionPool, client_id: int
) -> None:
    entries = month_of(client_id)
    async with transaction(pool) as connection:
        await books.post(connection, entries, NOW)
    other = ledger.invoice_issued(client_id, 1, "C00001-F-2026-000001", 1300, DAY)
    with pytest.raises(Conflict, match="invoice:1"):
        async with transaction(pool) as connection:
            await books.post(connection, [other], NOW)


async def test_posters_at_once_make_one_chain(pool: AsyncConnectionPool, client_id: int) -> None:
    """Eight of them, half of which post the same keys and a third of which roll back."""

    async def work(worker: int) -> None:
        for number in range(12):
            entry = ledger.invoice_issued(
                client_id, worker // 2 * 1000 + number, f"F-{worker // 2}-{number}", 100, DAY
            )
            try:
                async with transaction(pool) as connection:
                    await books.post(connection, [entry], NOW)
                    if (worker + number) % 3 == 0:
                        raise InterruptedError
            except InterruptedError:
                pass

    await asyncio.gather(*(work(worker) for worker in range(8)))
    async with pool.connection() as connection:
        cursor = await connection.execute(
            """
            SELECT count(*), max(sequence), count(DISTINCT source_key),
                   bool_and(previous_sha256 = coalesce(former, '\\x'))
              FROM (SELECT *, lag(sha256) OVER (ORDER BY sequence) AS former FROM ledger_entry
                     WHERE chain_key = %s) AS e
            """,
            (client_id,),
        )
        row = await cursor.fetchone()
    assert row is not None
    count, highest, keys, is_chained = row
    assert count == highest == keys
    assert is_chained
    assert count >= 4 * 8


@pytest.mark.parametrize(
    ("postings", "why"),
    [
        ([100, -99], "sum to 1 cents"),
        ([100], "has 1 postings"),
        ([], "has 0 postings"),
    ],
)
async def test_an_entry_that_does_not_balance_is_refused(
    connection: psycopg.AsyncConnection, client_id: int, postings: list[int], why: str
) -> None:
    await books.post(connection, month_of(client_id), NOW)
    await connection.commit()
    with pytest.raises(psycopg.errors.CheckViolation, match=why):
        await entry_by_hand(connection, client_id, postings)
        await connection.commit()


async def entry_by_hand(
    connection: psycopg.AsyncConnection, client_id: int, postings: list[int]
) -> int:
    cursor = await connection.execute(
        """
        INSERT INTO ledger_entry (chain_key, sequence, source_key, kind, booked_on, client_id,
                                  label, body_sha256, previous_sha256, sha256, created_at)
        VALUES (%s, 999, 'by:hand', 'test', %s, %s, 'x', '\\x00', '\\x00', '\\x00', %s)
        RETURNING id
        """,
        (client_id, DAY, client_id, NOW),
    )
    row = await cursor.fetchone()
    assert row is not None
    for position, cents in enumerate(postings, start=1):
        await connection.execute(
            """INSERT INTO ledger_posting
               SELECT %s, %s, id, %s FROM ledger_account ORDER BY id LIMIT 1""",
            (row[0], position, cents),
        )
    return int(row[0])


@pytest.mark.parametrize("legs", [(100,), (100, -100)])
async def test_no_posting_joins_an_entry_later_not_even_a_balanced_pair(
    connection: psycopg.AsyncConnection, client_id: int, legs: tuple[int, ...]
) -> None:
    (first, *_) = await books.post(connection, month_of(client_id), NOW)
    await connection.commit()
    with pytest.raises(psycopg.errors.CheckViolation, match="is sealed"):
        await connection.execute(
            """INSERT INTO ledger_posting
               SELECT %s, 10 + n, (SELECT min(id) FROM ledger_account), cents
                 FROM unnest(%s::bigint[]) WITH ORDINALITY AS l (cents, n)""",
            (first, list(legs)),
        )


async def test_an_entry_cannot_claim_another_transaction(
    connection: psycopg.AsyncConnection, client_id: int
) -> None:
    """Else a later one could be foreseen, and join it."""
    await books.post(connection, month_of(client_id), NOW)
    made = await entry_by_hand(connection, client_id, [5, -5])
    await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    cursor = await connection.execute(
        "SELECT created_xid = pg_current_xact_id() FROM ledger_entry WHERE id = %s", (made,)
    )
    assert await cursor.fetchone() == (True,)


@pytest.mark.parametrize(
    "table", ["ledger_account", "ledger_entry", "ledger_posting", "ledger_closing"]
)
@pytest.mark.parametrize("act", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
async def test_nothing_in_the_books_is_changed_or_deleted(
    database: Database, client_id: int, table: str, act: str
) -> None:
    """Neither by the application nor by the owner of the tables."""
    column = {"ledger_account": "code", "ledger_entry": "label", "ledger_posting": "position"}
    name = column.get(table, "month")
    async with await connect(database) as connection, connection.transaction():
        await books.post(connection, month_of(client_id), NOW)
        await books.close_month(connection, client_id, date(2026, 10, 1), NOW)
    for is_owner in (False, True):
        async with await connect(database, owner=is_owner) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(act.format(table, name, name).encode())


async def test_a_closed_month_takes_nothing_more(
    connection: psycopg.AsyncConnection, client_id: int
) -> None:
    await books.post(connection, month_of(client_id), NOW)
    await books.close_month(connection, client_id, date(2026, 10, 1), NOW)
    await connection.commit()
    late = ledger.invoice_issued(client_id, 9, "F-9", 100, date(2026, 10, 31))
    assert await books.bookable_on(connection, [client_id], late.booked_on, NOW) == NOW.date()
    with pytest.raises(psycopg.errors.CheckViolation, match="month that is closed"):
        await books.post(connection, [late], NOW)
    await connection.rollback()
    await books.post(connection, [replace(late, booked_on=NOW.date())], NOW)
    other = ledger.money_received(9, 1, ledger.BANK_MANDATE, 5, DAY)  # the operator's chain is open
    await books.post(connection, [other], NOW)
    await connection.commit()


async def test_replaying_gives_the_same_digests(pool: AsyncConnectionPool, client_id: int) -> None:
    entries = month_of(client_id)
    async with transaction(pool) as connection:
        for entry in entries:
            await books.post(connection, [entry], NOW)
        cursor = await connection.execute(
            "SELECT sha256 FROM ledger_entry WHERE chain_key = %s ORDER BY sequence", (client_id,)
        )
        kept = [row[0] for row in await cursor.fetchall()]
    last, computed = b"", []
    for entry in entries:
        if entry.client_id is not None:
            last = ledger.digest(ledger.body_digest(entry), last)
            computed.append(last)
    assert kept == computed
