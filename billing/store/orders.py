"""SQL of the operator's quotes, what became of them, and what they sold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from billing.orders import REFUND_DAYS
from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class QuoteRow:
    """A quote."""

    id: int
    client_id: int
    reference: str
    kind: str
    label: str
    total_excl_cents: int
    deposit_rate: Decimal
    is_distance: bool
    valid_until: date
    status: str
    signed_on: date | None
    signed_by: str | None
    planned_at: datetime | None
    ended_on: date | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class QuoteLineRow:
    """A line of a quote."""

    position: int
    label: str
    quantity: Decimal
    unit_excl_cents: int
    amount_excl_cents: int


@dataclass(frozen=True, slots=True)
class SaleRow:
    """A sale of a quote, with its document."""

    own_sale_id: int
    part: str
    due_on: date
    amount_excl_cents: int
    invoice_id: int | None
    invoice_number: str | None


@dataclass(frozen=True, slots=True)
class RefundRow:
    """What of an invoice of the operator's is to be given back, by when."""

    invoice_id: int
    number: str
    client_id: int
    client: str
    quote_id: int | None  # whose deposit it was; None: paid twice, or credited
    amount_cents: int
    due_on: date


async def insert_quote(connection: AsyncConnection, values: Mapping[str, Any]) -> int | None:
    """A quote as a draft; its id. None: the reference is there."""
    cursor = await connection.execute(
        """
        INSERT INTO quote (client_id, reference, kind, label, total_excl_cents, deposit_rate,
                           is_distance, valid_until, status, created_at, created_by)
        VALUES (%(client_id)s, %(reference)s, %(kind)s, %(label)s, %(total_excl_cents)s,
                %(deposit_rate)s, %(is_distance)s, %(valid_until)s, 'draft', %(now)s, %(actor)s)
        ON CONFLICT (reference) DO NOTHING RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def insert_lines(
    connection: AsyncConnection,
    quote_id: int,
    client_id: int,
    rows: Sequence[tuple[str, Decimal, int, int]],
) -> None:
    """The lines of a quote: label, quantity, cents of one, cents of all."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    await connection.execute(
        """
        INSERT INTO quote_line (quote_id, client_id, position, label, quantity, unit_excl_cents,
                                amount_excl_cents)
        SELECT %s, %s, n.position, n.label, n.quantity, n.unit, n.amount
          FROM unnest(%s::text[], %s::numeric[], %s::bigint[], %s::bigint[]) WITH ORDINALITY
               AS n (label, quantity, unit, amount, position)
        """,
        (quote_id, client_id, *columns),
    )


async def insert_event(
    connection: AsyncConnection, quote: QuoteRow, status: str, detail: str, by: str, now: datetime
) -> None:
    """What happened to a quote."""
    await connection.execute(
        """
        INSERT INTO quote_event (quote_id, client_id, status, at, by, detail)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (quote.id, quote.client_id, status, now, by, detail),
    )


async def write_status(
    connection: AsyncConnection, quote_id: int, values: Mapping[str, Any]
) -> None:
    """How a quote stands; what is None stays as it is."""
    await connection.execute(
        """
        UPDATE quote
           SET status = %(status)s, signed_on = coalesce(%(signed_on)s, signed_on),
               signed_by = coalesce(%(signed_by)s, signed_by),
               planned_at = coalesce(%(planned_at)s, planned_at),
               ended_on = coalesce(%(ended_on)s, ended_on)
         WHERE id = %(quote_id)s
        """,
        {
            "signed_on": None,
            "signed_by": None,
            "planned_at": None,
            "ended_on": None,
            **values,
            "quote_id": quote_id,
        },
    )


async def get_quote(
    connection: AsyncConnection, quote_id: int, *, lock: bool = False
) -> QuoteRow | None:
    """A quote; lock: held to the end of the transaction."""
    if lock:
        await connection.execute("SELECT FROM quote WHERE id = %s FOR UPDATE", (quote_id,))
    found = await list_quotes(
        connection, client_ids=None, client_id=None, status=None, quote_id=quote_id, limit=1
    )
    return found[0] if found else None


async def list_quotes(
    connection: AsyncConnection,
    *,
    client_ids: Sequence[int] | None,
    client_id: int | None,
    status: str | None,
    quote_id: int | None = None,
    limit: int,
    cursor: Cursor | None = None,
) -> list[QuoteRow]:
    """Quotes, the last made first, of these clients (None: of all)."""
    async with connection.cursor(row_factory=class_row(QuoteRow)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, reference, kind, label, total_excl_cents, deposit_rate,
                   is_distance, valid_until, status, signed_on, signed_by, planned_at, ended_on,
                   created_at
              FROM quote
             WHERE (%(client_ids)s::bigint[] IS NULL OR client_id = ANY (%(client_ids)s))
               AND (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
               AND (%(status)s::text IS NULL OR status = %(status)s)
               AND (%(quote_id)s::bigint IS NULL OR id = %(quote_id)s)
               AND (%(after)s::bigint IS NULL OR id < %(after)s)
             ORDER BY id DESC LIMIT %(limit)s
            """,
            {
                "client_ids": None if client_ids is None else list(client_ids),
                "client_id": client_id,
                "status": status,
                "quote_id": quote_id,
                "after": cursor.key[0] if cursor else None,
                "limit": limit,
            },
        )
        return await rows.fetchall()


async def count_quotes(
    connection: AsyncConnection,
    *,
    client_ids: Sequence[int] | None,
    client_id: int | None,
    status: str | None,
) -> int:
    """How many `list_quotes` has."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM quote
         WHERE (%(client_ids)s::bigint[] IS NULL OR client_id = ANY (%(client_ids)s))
           AND (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
           AND (%(status)s::text IS NULL OR status = %(status)s)
        """,
        {
            "client_ids": None if client_ids is None else list(client_ids),
            "client_id": client_id,
            "status": status,
        },
    )


async def list_lines(connection: AsyncConnection, quote_id: int) -> list[QuoteLineRow]:
    """The lines of a quote, in order."""
    async with connection.cursor(row_factory=class_row(QuoteLineRow)) as rows:
        await rows.execute(
            """
            SELECT position, label, quantity, unit_excl_cents, amount_excl_cents
              FROM quote_line WHERE quote_id = %s ORDER BY position
            """,
            (quote_id,),
        )
        return await rows.fetchall()


async def insert_sale(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    """What a sale is of: a part of a quote, or a case of article 7. Again is nothing new."""
    await connection.execute(
        """
        INSERT INTO quote_sale (own_sale_id, client_id, quote_id, part, "case", evidence, due_on)
        VALUES (%(own_sale_id)s, %(client_id)s, %(quote_id)s, %(part)s, %(case)s, %(evidence)s,
                %(due_on)s)
        ON CONFLICT (own_sale_id) DO NOTHING
        """,
        {"case": None, "evidence": None, **values},
    )


async def list_sales(connection: AsyncConnection, quote_id: int) -> list[SaleRow]:
    """What a quote sold, in order."""
    async with connection.cursor(row_factory=class_row(SaleRow)) as rows:
        await rows.execute(
            """
            SELECT q.own_sale_id, q.part, q.due_on, s.amount_excl_cents, i.id AS invoice_id,
                   i.number AS invoice_number
              FROM quote_sale q JOIN own_sale s ON s.id = q.own_sale_id
              LEFT JOIN invoice_line l ON l.own_sale_id = s.id AND l.is_original
              LEFT JOIN invoice i ON i.id = l.invoice_id
             WHERE q.quote_id = %s ORDER BY q.own_sale_id
            """,
            (quote_id,),
        )
        return await rows.fetchall()


async def fetch_open(connection: AsyncConnection, invoice_id: int) -> int:
    """What is left to be paid of an invoice of the operator's; below 0: to be given back."""
    return await fetch_count(
        connection,
        "SELECT open_cents FROM own_invoice_open WHERE invoice_id = %(invoice_id)s",
        {"invoice_id": invoice_id},
    )


async def list_refunds(
    connection: AsyncConnection,
    *,
    invoice_id: int | None = None,
    limit: int,
    cursor: Cursor | None = None,
) -> list[RefundRow]:
    """What clients are to be given back of the operator's invoices, by invoice: deposits of quotes
    that ended, what was paid twice, what was credited."""
    async with connection.cursor(row_factory=class_row(RefundRow)) as rows:
        await rows.execute(
            """
            SELECT o.invoice_id, o.number, o.client_id, c.name AS client, e.quote_id,
                   o.amount_cents, coalesce(e.due_on, o.since_on + %(days)s) AS due_on
              FROM own_refund o JOIN client c ON c.id = o.client_id
              LEFT JOIN LATERAL (
                    SELECT q.quote_id, r.due_on FROM invoice_line l
                      JOIN quote_sale q ON q.own_sale_id = l.own_sale_id AND q.part = 'deposit'
                      JOIN quote_sale r ON r.quote_id = q.quote_id AND r.part = 'refund'
                     WHERE l.invoice_id = o.invoice_id AND l.is_original) e ON true
             WHERE (%(invoice_id)s::bigint IS NULL OR o.invoice_id = %(invoice_id)s)
               AND (%(after)s::bigint IS NULL OR o.invoice_id > %(after)s)
             ORDER BY o.invoice_id LIMIT %(limit)s
            """,
            {
                "invoice_id": invoice_id,
                "days": REFUND_DAYS,
                "after": cursor.key[0] if cursor else None,
                "limit": limit,
            },
        )
        return await rows.fetchall()


async def count_refunds(connection: AsyncConnection) -> int:
    """How many `list_refunds` has."""
    return await fetch_count(connection, "SELECT count(*) FROM own_refund", {})
