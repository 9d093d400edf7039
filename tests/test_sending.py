"""Statements go out once, with their proof; they become final, and nobody forgets them."""

import asyncio
import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pypdfium2
import pytest
from psycopg_pool import AsyncConnectionPool

from billing import closing, disputes, issuing, sending
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, transaction
from csms.registry import Conflict
from tests import billing_world as world
from tests.billing_world import MONTH, NOW, rows

DESK = Actor("command line")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return world.with_operator(settings)


@pytest.fixture
async def client_id(database: Database, pool: AsyncConnectionPool, settings: Settings) -> int:
    """A client with a statement of October, a manager, and a contact for statements."""
    made = await world.add_client(database, "Copropriété A", fee_cents=900)
    person_id = await world.add_driver(database, "anne")
    await world.add_sessions(database, made, person_id, [4_000, 2_000])
    async with transaction(pool) as connection:
        await connection.execute(
            """
            WITH manager AS (INSERT INTO person (email) VALUES ('gestion@example.org') RETURNING id)
            INSERT INTO client_manager (person_id, client_id, from_at, granted_by)
            SELECT id, %s, '2026-01-01', 'test' FROM manager
            """,
            (made,),
        )
        for email in ("conseil@example.org", "GESTION@example.org"):
            await connection.execute(
                """
                INSERT INTO client_contact (client_id, name, email, purposes)
                VALUES (%s, 'Contact', %s, '{statements}')
                """,
                (made, email),
            )
    await closing.close_month(pool, MONTH, NOW, settings=settings)
    return made


async def send(
    pool: AsyncConnectionPool, settings: Settings, now: datetime = NOW, **values: Any
) -> sending.Sent:
    return await sending.send_month(pool, MONTH, now, settings=settings, **values)


async def events(pool: AsyncConnectionPool) -> list[str]:
    return [row[0] for row in await rows(pool, "SELECT kind FROM statement_event ORDER BY id")]


async def deliver(pool: AsyncConnectionPool, at: datetime) -> None:
    """As the mail server's word for the first of the mails would stand there."""
    async with transaction(pool) as connection:
        await connection.execute(
            """
            INSERT INTO notification_delivery (notification_id, client_id, channel, created_at,
                                               next_at, give_up_at, status, finished_at, reply)
            SELECT min(id), min(client_id), 'email', %(at)s, %(at)s, %(at)s, 'sent', %(at)s,
                   '250 2.0.0 queued as 1'
              FROM notification WHERE event = 'statement.available'
            """,
            {"at": at},
        )


async def test_it_is_sent_once_with_its_files_and_its_invoices_lie_open(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    done = await send(pool, settings)
    assert (done.statements, done.invoices, done.contacts) == (1, 1, 1)
    again = await send(pool, settings, NOW + timedelta(days=1))
    assert (again.statements, again.invoices) == (0, 0)
    assert await events(pool) == ["sent"]
    told = await rows(pool, "SELECT event, data ->> 'contest_until' FROM notification ORDER BY 1")
    assert told == [("statement.available", "2026-11-12"), ("statement.told", "2026-11-12")]
    files = await rows(pool, "SELECT format, content FROM statement_file ORDER BY format")
    assert [name for name, _ in files] == ["csv", "json", "pdf", "xlsx"]
    page = pypdfium2.PdfDocument(io.BytesIO(files[2][1]))[0].get_textpage().get_text_range()
    assert "12/11/2026" in page
    assert await rows(pool, "SELECT available_at FROM invoice_availability") == [(NOW,)]


async def test_a_dry_run_sends_nothing(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    assert (await send(pool, settings, dry_run=True)).statements == 1
    assert await events(pool) == []
    assert await rows(pool, "SELECT count(*) FROM statement_file") == [(0,)]


async def test_two_at_once_and_one_that_died_send_one_mail(
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It dies after the files were kept, and within the transaction that tells."""
    whole = sending.store.insert_event

    async def die(*values: Any) -> None:
        raise InterruptedError

    monkeypatch.setattr(sending.store, "insert_event", die)
    with pytest.raises(InterruptedError):
        await send(pool, settings)
    kept = await rows(pool, "SELECT format, sha256 FROM statement_file ORDER BY 1")
    assert len(kept) == 4
    assert await rows(pool, "SELECT count(*) FROM notification") == [(0,)]
    monkeypatch.setattr(sending.store, "insert_event", whole)
    await asyncio.gather(send(pool, settings), send(pool, settings))
    assert await events(pool) == ["sent"]
    assert await rows(pool, "SELECT count(*) FROM notification") == [(2,)]
    assert await rows(pool, "SELECT format, sha256 FROM statement_file ORDER BY 1") == kept


async def test_the_ten_days_run_from_the_delivery_and_then_it_is_final(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """Sent on Monday 2 November, accepted on the 4th: printed is the 14th, a Saturday; what comes
    until Monday the 16th is taken all the same."""
    await send(pool, settings)
    async with pool.connection() as connection:
        assert await sending.note_deliveries(connection) == 0
        assert await sending.finish(connection, datetime(2027, 1, 1, tzinfo=UTC)) == 0
        await deliver(pool, datetime(2026, 11, 4, 8, tzinfo=UTC))
        assert await sending.note_deliveries(connection) == 1
        assert await sending.note_deliveries(connection) == 0
        assert await sending.finish(connection, datetime(2026, 11, 16, 22, 59, tzinfo=UTC)) == 0
        assert await sending.finish(connection, datetime(2026, 11, 16, 23, tzinfo=UTC)) == 1
        assert await sending.finish(connection, datetime(2026, 11, 17, 23, tzinfo=UTC)) == 0
    assert await events(pool) == ["sent", "delivered", "final"]
    ((proof,),) = await rows(pool, "SELECT proof FROM statement_event WHERE kind = 'delivered'")
    assert proof["reply"] == "250 2.0.0 queued as 1"


async def test_what_is_contested_does_not_become_final_until_it_is_decided(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    await send(pool, settings)
    await deliver(pool, datetime(2026, 11, 4, 8, tzinfo=UTC))
    ((line_id,),) = await rows(pool, "SELECT min(id) FROM statement_line WHERE kind = 'session'")
    later = datetime(2026, 11, 18, 9, tzinfo=UTC)
    async with pool.connection() as connection:
        await sending.note_deliveries(connection)
    async with transaction(pool) as connection:
        dispute_id = await disputes.contest_line(
            connection, line_id, "Durée inexacte", DESK, datetime(2026, 11, 16, 9, tzinfo=UTC)
        )
    async with pool.connection() as connection:
        assert await sending.finish(connection, later) == 0
    async with transaction(pool) as connection:
        await disputes.decide(
            connection,
            dispute_id,
            "upheld",
            "La borne le confirme",
            correction="credit",
            actor=DESK,
            now=later,
            settings=settings,
        )
    async with pool.connection() as connection:
        assert await sending.finish(connection, later) == 1
    async with transaction(pool) as connection:
        with pytest.raises(Conflict, match="final"):
            await disputes.contest_line(connection, line_id, "Encore", DESK, later)
    await closing.close_month(
        pool, date(2026, 11, 1), datetime(2026, 12, 1, 9, tzinfo=UTC), settings=settings
    )
    assert await rows(pool, "SELECT kind, cause FROM statement_line WHERE kind = 'adjustment'") == [
        ("adjustment", "La borne le confirme")
    ]


async def test_the_operator_is_told_before_a_statement_is_late(
    database: Database, pool: AsyncConnectionPool, settings: Settings
) -> None:
    """Of October 2026: due on Monday 2 November, late after Friday the 6th."""
    await world.add_client(database, "Copropriété A")
    async with pool.connection() as connection:
        for day, found in ((1, 0), (2, 1), (3, 1), (5, 1), (6, 1)):
            at = datetime(2026, 11, day, 8, tzinfo=UTC)
            assert await sending.alarm(connection, at) == found
    told = await rows(pool, "SELECT event, at, data ->> 'due_on' FROM notification ORDER BY id")
    assert told == [
        ("statement.due", datetime(2026, 11, 2, 8, tzinfo=UTC), "2026-11-06"),
        ("statement.overdue", datetime(2026, 11, 5, 8, tzinfo=UTC), "2026-11-06"),
    ]


async def test_nobody_is_told_of_statements_that_were_sent(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    await send(pool, settings)
    async with pool.connection() as connection:
        assert await sending.alarm(connection, datetime(2026, 11, 6, 8, tzinfo=UTC)) == 0


async def test_the_invoice_of_each_use_is_told(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """C03, and its file."""
    async with transaction(pool) as connection:
        ((statement_id,),) = await rows(pool, "SELECT id FROM statement")
        uses = await disputes.invoices_of_statement(connection, statement_id)
        assert len(uses) == 2
        ((invoice_id,),) = await rows(pool, "SELECT id FROM invoice WHERE issuer = 'client'")
        made = await issuing.invoice_file(connection, invoice_id, "pdf", NOW)
    assert made.startswith(b"%PDF")
