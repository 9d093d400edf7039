"""Clients whose months are closed and to be paid, and a simulated bank of the operator's."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, Final

from psycopg_pool import AsyncConnectionPool

from billing import (
    closing,
    collecting,
    issuing,
    payment_files,
    payouts,
    receipts,
    sending,
    settling,
)
from billing.payment_files import Filed
from billing.settling import Settled
from csms import db
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, transaction
from simulators.bank import Bank
from tests import billing_world as world

DESK: Final = Actor("amelie@example.org")
SECOND: Final = Actor("bruno@example.org")
MANDATE_IBAN: Final = "FR7630006000011234567890189"
OWN_IBAN: Final = "FR7630004000031234567890143"
CLIENT_IBAN: Final = "FR1420041010050500013M02606"
DRIVER_IBAN: Final = "DE89370400440532013000"


def with_accounts(settings: Settings) -> Settings:
    """The settings with who the operator is, and its accounts."""
    return replace(
        world.with_operator(settings),
        operator_mandate_iban=MANDATE_IBAN,
        operator_own_iban=OWN_IBAN,
        operator_creditor_identifier="FR72ZZZ123456",
    )


async def give_account(
    database: Database, client_id: int, *, iban: str = CLIENT_IBAN, basis: str | None = "exempted"
) -> None:
    """An account that a second person approved, and a regulatory basis."""
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            "UPDATE client SET regulatory_basis = %s WHERE id = %s", (basis, client_id)
        )
        await connection.execute(
            "UPDATE client_iban SET replaced_at = now() "
            "WHERE client_id = %s AND replaced_at IS NULL",
            (client_id,),
        )
        await connection.execute(
            """
            INSERT INTO client_iban (client_id, iban, holder, entered_by, entered_at, decided_by,
                                     decided_at, approved)
            VALUES (%s, %s, 'SDC ' || %s::text, 'a', '2026-01-01', 'b', '2026-01-02', true)
            """,
            (client_id, iban, client_id),
        )


async def receive(
    pool: AsyncConnectionPool, key: str, cents: int, now: datetime, **values: Any
) -> None:
    """Money from a driver, received today."""
    async with transaction(pool) as connection:
        await receipts.receive(
            connection,
            source_key=key,
            amount_cents=cents,
            received_on=values.pop("received_on", now.date()),
            means="transfer",
            actor=DESK,
            now=now,
            **values,
        )


async def bill(
    pool: AsyncConnectionPool, client_id: int, month: date, now: datetime, settings: Settings
) -> list[tuple[int, str, int]]:
    """Invoice a client's month; id, number and cents of all its invoices."""
    async with pool.connection() as connection:
        await issuing.issue(connection, client_id, month, now, settings=settings)
    return await world.rows(
        pool,
        "SELECT id, number, amount_incl_cents FROM invoice WHERE client_id = %s "
        "AND issuer = 'client' AND type_code = 380 ORDER BY id",
        client_id,
    )


async def close(pool: AsyncConnectionPool, month: date, now: datetime, settings: Settings) -> None:
    """Close a month and send its statements; nothing may be left over."""
    done = await closing.close_month(pool, month, now, settings=settings)
    assert {each: stopped.message for each, stopped in done.stopped.items()} == {}
    await sending.send_month(pool, month, now, settings=settings)


async def order(pool: AsyncConnectionPool, month: date, now: datetime, settings: Settings) -> Filed:
    """Payouts of a month and their file, made by one person."""
    drafted = await payouts.draft(pool, month, now, settings=settings, actor=DESK)
    assert drafted.stopped == {}
    return await payment_files.make(pool, now, settings=settings, actor=DESK)


async def hand_over(
    pool: AsyncConnectionPool, file_id: int, bank: Bank, now: datetime, **refuse: Any
) -> bytes:
    """Approve a file and give it to the bank; its report."""
    async with transaction(pool) as connection:
        await payment_files.approve(connection, file_id, SECOND, now)
    async with transaction(pool) as connection:
        content = await payment_files.hand_out(connection, file_id, SECOND, now)
    return bank.take(content, **refuse)


async def read_in(
    pool: AsyncConnectionPool, bank: Bank, day: date, now: datetime, settings: Settings
) -> Settled:
    """Read the bank's statement of a day, on that day or later."""
    at = max(now, datetime(day.year, day.month, day.day, 18, tzinfo=UTC))
    return await settling.read_in(
        pool, bank.statement(day), at, settings=settings, actor=DESK, simulated=True
    )


async def pay(
    pool: AsyncConnectionPool, month: date, bank: Bank, now: datetime, settings: Settings
) -> Settled | None:
    """All of it: what a month leaves to be paid, paid and settled on its day."""
    filed = await order(pool, month, now, settings)
    if filed.file_id is None:
        return None
    await hand_over(pool, filed.file_id, bank, now)
    ((day,),) = await world.rows(
        pool, "SELECT execution_on FROM payment_file WHERE id = %s", filed.file_id
    )
    return await read_in(pool, bank, day, now, settings)


async def sign_mandate(
    pool: AsyncConnectionPool,
    now: datetime,
    reference: str = "MD-1",
    *,
    person_id: int | None = None,
    client_id: int | None = None,
) -> int:
    """A mandate of a driver (person_id) or a client (client_id)."""
    async with transaction(pool) as connection:
        return await collecting.add_mandate(
            connection,
            reference=reference,
            iban=DRIVER_IBAN,
            holder="Camille Exemple",
            signed_on=min(date(2026, 1, 5), now.date()),
            actor=DESK,
            now=now,
            person_id=person_id,
            client_id=client_id,
        )
