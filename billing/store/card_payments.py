"""SQL of payments at a provider, of who may be charged there, and of what it tells us."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class PaymentRow:
    """A payment at a provider, with the references that it was asked with."""

    id: int
    key: str
    provider: str
    client_id: int
    person_id: int
    invoice_id: int
    number: str
    amount_cents: int
    customer_reference: str
    method_reference: str
    reference: str | None
    status: str
    captured_cents: int
    booked_cents: int
    booked_key: str | None
    is_simulated: bool
    created_at: datetime
    open_cents: int  # of the invoice, now
    steps: int  # how many states it had


@dataclass(frozen=True, slots=True)
class ChargeRow:
    """An invoice of a driver's, with what is open of it and where she may be charged."""

    invoice_id: int
    client_id: int
    person_id: int
    open_cents: int
    is_debited: bool
    method_id: int | None
    attempts: int
    open_payment_id: int | None


async def insert_method(
    connection: AsyncConnection,
    person_id: int,
    provider: str,
    customer_reference: str,
    method_reference: str,
    now: datetime,
) -> int:
    """Where a driver may be charged; what was there is revoked."""
    await connection.execute(
        """
        UPDATE provider_method SET revoked_at = %s
         WHERE person_id = %s AND provider = %s AND revoked_at IS NULL
        """,
        (now, person_id, provider),
    )
    return await _number(
        connection,
        """
        INSERT INTO provider_method (person_id, provider, customer_reference, method_reference,
                                     created_at)
        VALUES (%s, %s, %s, %s, %s) RETURNING id
        """,
        (person_id, provider, customer_reference, method_reference, now),
    )


async def find_charge(connection: AsyncConnection, number: str, provider: str) -> ChargeRow | None:
    """What is to be paid of an invoice in a client's name. The invoice stays locked."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('provider_payment ' || %s, 0))", (number,)
    )
    async with connection.cursor(row_factory=class_row(ChargeRow)) as rows:
        await rows.execute(
            """
            SELECT o.invoice_id, o.client_id, o.person_id, o.open_cents,
                   EXISTS (SELECT FROM direct_debit d
                            WHERE d.invoice_id = o.invoice_id
                              AND d.status IN ('notified', 'sent')) AS is_debited,
                   (SELECT m.id FROM provider_method m
                     WHERE m.person_id = o.person_id AND m.provider = %(provider)s
                       AND m.revoked_at IS NULL) AS method_id,
                   (SELECT count(*) FROM provider_payment p
                     WHERE p.invoice_id = o.invoice_id) AS attempts,
                   (SELECT p.id FROM provider_payment p
                     WHERE p.invoice_id = o.invoice_id
                       AND p.status IN ('requested', 'authorised', 'captured', 'partly_refunded',
                                        'unknown')) AS open_payment_id
              FROM invoice_open o WHERE o.number = %(number)s
            """,
            {"number": number, "provider": provider},
        )
        return await rows.fetchone()


async def insert_payment(connection: AsyncConnection, values: dict[str, Any]) -> int:
    """A payment that is about to be asked for."""
    return await _number(
        connection,
        """
        INSERT INTO provider_payment (key, provider, client_id, person_id, invoice_id, method_id,
                                      amount_cents, status, is_simulated, created_at, checked_at)
        VALUES (%(key)s, %(provider)s, %(client_id)s, %(person_id)s, %(invoice_id)s, %(method_id)s,
                %(amount_cents)s, 'requested', %(is_simulated)s, %(now)s, %(now)s)
        RETURNING id
        """,
        values,
    )


async def get_payment(connection: AsyncConnection, payment_id: int) -> PaymentRow:
    """A payment; it stays locked."""
    async with connection.cursor(row_factory=class_row(PaymentRow)) as rows:
        await rows.execute(
            """
            SELECT p.id, p.key, p.provider, p.client_id, p.person_id, p.invoice_id, i.number,
                   p.amount_cents, m.customer_reference, m.method_reference, p.reference, p.status,
                   p.captured_cents, p.booked_cents, p.booked_key, p.is_simulated, p.created_at,
                   o.open_cents,
                   (SELECT count(*) FROM provider_payment_event e
                     WHERE e.payment_id = p.id) AS steps
              FROM provider_payment p
              JOIN provider_method m ON m.id = p.method_id
              JOIN invoice i ON i.id = p.invoice_id
              JOIN invoice_open o ON o.invoice_id = p.invoice_id
             WHERE p.id = %s FOR UPDATE OF p
            """,
            (payment_id,),
        )
        row = await rows.fetchone()
    assert row is not None, payment_id
    return row


@dataclass(frozen=True, slots=True)
class PaymentListed:
    """A payment at a provider, in a list."""

    id: int
    provider: str
    client_id: int
    person_id: int
    invoice_id: int
    invoice_number: str
    amount_cents: int
    status: str
    captured_cents: int
    booked_cents: int  # what of it is there now
    reason: str | None  # of its last state, as the provider or we say
    is_simulated: bool
    created_at: datetime
    checked_at: datetime


async def list_payments(
    connection: AsyncConnection,
    *,
    person_id: int | None = None,
    invoice_id: int | None = None,
    status: str | None = None,
    payment_id: int | None = None,
    limit: int,
    cursor: Cursor | None = None,
) -> list[PaymentListed]:
    """Payments at providers, the last asked for first."""
    async with connection.cursor(row_factory=class_row(PaymentListed)) as rows:
        await rows.execute(
            """
            SELECT p.id, p.provider, p.client_id, p.person_id, p.invoice_id,
                   i.number AS invoice_number, p.amount_cents, p.status, p.captured_cents,
                   p.booked_cents,
                   (SELECT e.detail FROM provider_payment_event e WHERE e.payment_id = p.id
                     ORDER BY e.id DESC LIMIT 1) AS reason,
                   p.is_simulated, p.created_at, p.checked_at
              FROM provider_payment p JOIN invoice i ON i.id = p.invoice_id
             WHERE (%(person_id)s::bigint IS NULL OR p.person_id = %(person_id)s)
               AND (%(invoice_id)s::bigint IS NULL OR p.invoice_id = %(invoice_id)s)
               AND (%(status)s::text IS NULL OR p.status = %(status)s)
               AND (%(payment_id)s::bigint IS NULL OR p.id = %(payment_id)s)
               AND (%(after)s::bigint IS NULL OR p.id < %(after)s)
             ORDER BY p.id DESC LIMIT %(limit)s
            """,
            {
                "person_id": person_id,
                "invoice_id": invoice_id,
                "status": status,
                "payment_id": payment_id,
                "after": None if cursor is None else cursor.key[0],
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_payments(
    connection: AsyncConnection, *, person_id: int | None = None, status: str | None = None
) -> int:
    """How many `list_payments` has in all."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM provider_payment
         WHERE (%(person_id)s::bigint IS NULL OR person_id = %(person_id)s)
           AND (%(status)s::text IS NULL OR status = %(status)s)
        """,
        {"person_id": person_id, "status": status},
    )


async def revoke_method(
    connection: AsyncConnection, person_id: int, provider: str, now: datetime
) -> bool:
    """The driver is charged there no more; False: she was not."""
    cursor = await connection.execute(
        """
        UPDATE provider_method SET revoked_at = %s
         WHERE person_id = %s AND provider = %s AND revoked_at IS NULL
        """,
        (now, person_id, provider),
    )
    return cursor.rowcount > 0


async def set_payment(connection: AsyncConnection, values: dict[str, Any]) -> None:
    """What is known of a payment now. A reference stays once it is known."""
    await connection.execute(
        """
        UPDATE provider_payment
           SET status = %(status)s, reference = coalesce(reference, %(reference)s),
               captured_cents = %(captured_cents)s, booked_cents = %(booked_cents)s,
               booked_key = %(booked_key)s, checked_at = %(now)s
         WHERE id = %(id)s
        """,
        values,
    )


async def add_event(
    connection: AsyncConnection,
    payment_id: int,
    client_id: int,
    status: str,
    detail: str | None,
    now: datetime,
) -> None:
    """A payment came to a state."""
    await connection.execute(
        """
        INSERT INTO provider_payment_event (payment_id, client_id, status, at, detail)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (payment_id, client_id, status, now, detail),
    )


async def list_unfinished(
    connection: AsyncConnection, provider: str, checked_before: datetime, limit: int
) -> list[int]:
    """Payments in which something is to be done or found out, the longest unasked first."""
    cursor = await connection.execute(
        """
        SELECT id FROM provider_payment
         WHERE provider = %s AND status IN ('requested', 'authorised', 'unknown')
           AND checked_at <= %s
         ORDER BY checked_at, id LIMIT %s
        """,
        (provider, checked_before, limit),
    )
    return [row[0] for row in await cursor.fetchall()]


async def insert_webhook(
    connection: AsyncConnection,
    provider: str,
    event_id: str | None,
    reference: str | None,
    content: bytes,
    now: datetime,
) -> bool:
    """Keep what was posted to us; whether it is new. Without an event id it is a forged one."""
    cursor = await connection.execute(
        """
        INSERT INTO provider_webhook (provider, event_id, reference, content, received_at)
        VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
        """,
        (provider, event_id, reference, content, now),
    )
    return cursor.rowcount == 1


async def count_forged(connection: AsyncConnection, provider: str, since: datetime) -> int:
    """How many forged ones were kept since then."""
    return await _number(
        connection,
        """
        SELECT count(*) FROM provider_webhook
         WHERE provider = %s AND event_id IS NULL AND received_at >= %s
        """,
        (provider, since),
    )


async def list_webhooks(
    connection: AsyncConnection, provider: str, limit: int
) -> list[tuple[int, int | None]]:
    """Signed ones that nobody has looked into, with the payment of ours that each speaks of."""
    cursor = await connection.execute(
        """
        SELECT w.id, p.id FROM provider_webhook w
          LEFT JOIN provider_payment p ON p.provider = w.provider AND p.reference = w.reference
         WHERE w.provider = %s AND w.event_id IS NOT NULL AND w.handled_at IS NULL
         ORDER BY w.id LIMIT %s
        """,
        (provider, limit),
    )
    return await cursor.fetchall()


async def set_webhook_handled(connection: AsyncConnection, webhook_id: int, now: datetime) -> None:
    """Somebody has looked into it."""
    await connection.execute(
        "UPDATE provider_webhook SET handled_at = %s WHERE id = %s", (now, webhook_id)
    )


async def find_booked_on(connection: AsyncConnection, source_key: str) -> date | None:
    """The day of an entry of the books that is there."""
    cursor = await connection.execute(
        "SELECT booked_on FROM ledger_entry WHERE source_key = %s", (source_key,)
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def _number(connection: AsyncConnection, statement: Any, values: Any) -> int:
    cursor = await connection.execute(statement, values)
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
