"""What a client contests: within its days, held to its share, decided once, never by an edit."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from billing import books, checks, closing, disputes, issuing, ledger, receipts, sending
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, transaction
from csms.registry import Conflict, NotThere, Refusal
from tests import billing_world as world
from tests.billing_world import MONTH, NOW, rows

DESK = Actor("command line")
OPENED = datetime(2026, 11, 4, 9, tzinfo=UTC)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return world.with_operator(settings)


@pytest.fixture
async def client_id(database: Database, pool: AsyncConnectionPool, settings: Settings) -> int:
    """A client whose October is closed and sent: 40 EUR paid in it, 20 EUR not."""
    made = await world.add_client(database, "Copropriété A")
    person_id = await world.add_driver(database, "anne")
    await world.add_sessions(database, made, person_id, [4_000, 2_000])
    paid_at = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)
    async with pool.connection() as connection:
        await issuing.issue(connection, made, MONTH, paid_at, settings=settings)
    ((number,),) = await rows(pool, "SELECT number FROM invoice")
    async with transaction(pool) as connection:
        await receipts.receive(
            connection,
            source_key="bank:1",
            amount_cents=4_000,
            received_on=date(2026, 11, 1),
            means="transfer",
            invoice_number=number,
            actor=DESK,
            now=paid_at,
        )
    await closing.close_month(pool, MONTH, NOW, settings=settings)
    await sending.send_month(pool, MONTH, NOW, settings=settings)
    return made


async def line_of(pool: AsyncConnectionPool, cents: int) -> int:
    ((found,),) = await rows(
        pool, "SELECT id FROM statement_line WHERE kind = 'session' AND amount_cents = %s", cents
    )
    return int(found)


async def contest(
    pool: AsyncConnectionPool, line_id: int, now: datetime = OPENED, reason: str = "Durée inexacte"
) -> int:
    async with transaction(pool) as connection:
        return await disputes.contest_line(connection, line_id, reason, DESK, now)


async def decide(
    pool: AsyncConnectionPool, dispute_id: int, decision: Any, settings: Settings, **values: Any
) -> int | None:
    async with transaction(pool) as connection:
        return await disputes.decide(
            connection,
            dispute_id,
            decision,
            "Vérifié sur place",
            actor=DESK,
            now=OPENED + timedelta(days=2),
            settings=settings,
            **values,
        )


async def owed(pool: AsyncConnectionPool, client_id: int) -> tuple[int, int]:
    """What is available to the client, and what is held back."""
    async with pool.connection() as connection:
        return (
            -await books.balance(connection, ledger.owed("available", client_id)),
            -await books.balance(connection, ledger.owed("disputed", client_id)),
        )


async def test_only_the_net_share_of_what_was_collected_is_held(
    pool: AsyncConnectionPool, client_id: int
) -> None:
    """Of 40 EUR 5 % commission with VAT: 37.60 EUR; of what was not paid: nothing."""
    before, _ = await owed(pool, client_id)
    await contest(pool, await line_of(pool, 4_000))
    await contest(pool, await line_of(pool, 2_000))
    held = [row[0] for row in await rows(pool, "SELECT held_cents FROM dispute ORDER BY id")]
    assert held == [3_760, 0]
    assert await owed(pool, client_id) == (before - 3_760, 3_760)


@pytest.mark.parametrize("decision", ["rejected", "withdrawn"])
async def test_what_is_let_go_is_owed_again_and_the_statement_stays(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, decision: str
) -> None:
    before = await owed(pool, client_id)
    statements = await rows(pool, "SELECT sha256 FROM statement")
    dispute_id = await contest(pool, await line_of(pool, 4_000))
    if decision == "rejected":
        assert await decide(pool, dispute_id, "rejected", settings) is None
    else:
        async with transaction(pool) as connection:
            await disputes.withdraw(connection, dispute_id, DESK, OPENED)
    assert await owed(pool, client_id) == before
    assert await rows(pool, "SELECT sha256 FROM statement") == statements
    assert await rows(pool, "SELECT decision FROM dispute") == [(decision,)]


async def test_what_is_upheld_is_put_right_by_a_document_and_in_the_next_statement(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    line_id = await line_of(pool, 4_000)
    dispute_id = await contest(pool, line_id)
    ((session_id,),) = await rows(
        pool, "SELECT session_id FROM statement_line WHERE id = %s", line_id
    )
    made = await decide(pool, dispute_id, "upheld", settings, correction={session_id: 1_000})
    assert await rows(pool, "SELECT type_code, reason FROM invoice WHERE id = %s", made) == [
        (384, "Vérifié sur place")
    ]
    await closing.close_month(
        pool, date(2026, 11, 1), datetime(2026, 12, 1, 9, tzinfo=UTC), settings=settings
    )
    assert await rows(
        pool, "SELECT adjustment_cents FROM statement ORDER BY month DESC LIMIT 1"
    ) == [(-3_000,)]


async def test_what_is_upheld_needs_its_correction(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    dispute_id = await contest(pool, await line_of(pool, 4_000))
    with pytest.raises(Refusal):
        await decide(pool, dispute_id, "upheld", settings)
    assert await rows(pool, "SELECT decided_at FROM dispute") == [(None,)]


async def test_a_dispute_is_opened_and_decided_once(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    line_id = await line_of(pool, 4_000)
    opened = await asyncio.gather(
        contest(pool, line_id), contest(pool, line_id), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in opened) == ["Conflict", "int"]
    (dispute_id,) = (each for each in opened if isinstance(each, int))
    decided = await asyncio.gather(
        decide(pool, dispute_id, "rejected", settings),
        decide(pool, dispute_id, "rejected", settings),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Conflict) for each in decided) == 1
    assert (await owed(pool, client_id))[1] == 0


async def test_the_days_of_a_line_end_and_an_invoice_has_its_own(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """Delivered on 2 November: ten days end on the 12th; the invoice lies open since the 2nd:
    fifteen end on the 17th. Before a delivery is proved the ten days have not begun."""
    line_id = await line_of(pool, 2_000)
    dispute_id = await contest(pool, line_id, datetime(2026, 12, 24, 9, tzinfo=UTC))
    async with transaction(pool) as connection:
        await disputes.withdraw(connection, dispute_id, DESK, OPENED)
        await connection.execute(
            "INSERT INTO statement_event (statement_id, client_id, kind, at) "
            "SELECT id, client_id, 'delivered', %s FROM statement",
            (NOW,),
        )
    await contest(pool, line_id, datetime(2026, 11, 12, 22, 59, tzinfo=UTC))
    with pytest.raises(Conflict, match="2026-11-12"):
        await contest(pool, await line_of(pool, 4_000), datetime(2026, 11, 12, 23, tzinfo=UTC))
    ((invoice_id,),) = await rows(pool, "SELECT id FROM invoice WHERE issuer = 'client'")
    async with transaction(pool) as connection:
        with pytest.raises(Conflict, match="2026-11-17"):
            await disputes.contest_invoice(
                connection, invoice_id, "Tarif", DESK, datetime(2026, 11, 17, 23, tzinfo=UTC)
            )
        await disputes.contest_invoice(
            connection, invoice_id, "Tarif", DESK, datetime(2026, 11, 17, 22, 59, tzinfo=UTC)
        )


async def test_nonsense_is_refused(pool: AsyncConnectionPool, client_id: int) -> None:
    with pytest.raises(NotThere):
        await contest(pool, 999)
    with pytest.raises(Refusal):
        await contest(pool, await line_of(pool, 4_000), reason=" ")


@pytest.mark.parametrize("is_invoice_first", [True, False])
@pytest.mark.parametrize("end", ["rejected", "withdrawn", "upheld"])
async def test_what_two_contests_are_about_is_held_until_both_are_over(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, end: str, is_invoice_first: bool
) -> None:
    """A line and its invoice, in whatever order; the invoice is decided first."""
    available, _ = await owed(pool, client_id)
    line_id = await line_of(pool, 4_000)
    ((invoice_id,),) = await rows(pool, "SELECT id FROM invoice WHERE issuer = 'client'")

    async def contest_invoice() -> int:
        async with transaction(pool) as connection:
            return await disputes.contest_invoice(connection, invoice_id, "Tarif", DESK, OPENED)

    if is_invoice_first:
        whole = await contest_invoice()
        part = await contest(pool, line_id)
    else:
        part = await contest(pool, line_id)
        whole = await contest_invoice()
    assert await owed(pool, client_id) == (available - 3_760, 3_760)
    if end == "withdrawn":
        async with transaction(pool) as connection:
            await disputes.withdraw(connection, whole, DESK, OPENED)
    else:
        correction = "credit" if end == "upheld" else None
        await decide(pool, whole, end, settings, correction=correction)
    is_gone = end == "upheld" and is_invoice_first  # credited before the line had its own hold
    held = 0 if is_gone else 3_760
    assert (await owed(pool, client_id))[1] == held, "the line is contested still"
    await decide(pool, part, "rejected", settings)
    assert (await owed(pool, client_id))[1] == 0
    if end != "upheld":
        assert await owed(pool, client_id) == (available, 0)
    async with pool.connection() as connection:
        found = await checks.find_offences(connection, OPENED)
    assert {check.name: told for check, told in found if told} == {}
