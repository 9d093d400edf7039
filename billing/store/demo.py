"""SQL of the demonstration's money: which invoices are paid, corrected and laid down."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """An invoice, with the first session on it (0: none)."""

    id: int
    number: str
    sequence: int
    issued_on: date
    amount_incl_cents: int
    session_id: int


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file of a statement."""

    id: int
    content: str  # the statement's
    format: Literal["pdf", "csv", "xlsx", "json"]
    file: bytes


async def list_of_day(connection: AsyncConnection, client_id: int, day: date) -> list[InvoiceRow]:
    """Invoices in a client's name that were issued on a day, by number."""
    async with connection.cursor(row_factory=class_row(InvoiceRow)) as rows:
        await rows.execute(
            """
            SELECT i.id, i.number, i.sequence::int, i.issued_on, i.amount_incl_cents,
                   coalesce((SELECT min(session_id) FROM invoice_line l
                              WHERE l.invoice_id = i.id), 0) AS session_id
              FROM invoice i
             WHERE i.client_id = %s AND i.issuer = 'client' AND i.type_code = 380
               AND i.issued_on = %s
             ORDER BY i.id
            """,
            (client_id, day),
        )
        return await rows.fetchall()


async def list_first(
    connection: AsyncConnection, client_id: int, month: date, limit: int
) -> list[InvoiceRow]:
    """The first invoices in a client's name of a month that are of half a euro or more."""
    async with connection.cursor(row_factory=class_row(InvoiceRow)) as rows:
        await rows.execute(
            """
            SELECT i.id, i.number, i.sequence::int, i.issued_on, i.amount_incl_cents,
                   coalesce((SELECT min(session_id) FROM invoice_line l
                              WHERE l.invoice_id = i.id), 0) AS session_id
              FROM invoice i
             WHERE i.client_id = %s AND i.issuer = 'client' AND i.type_code = 380 AND i.month = %s
               AND i.amount_incl_cents >= 50
             ORDER BY i.id LIMIT %s
            """,
            (client_id, month, limit),
        )
        return await rows.fetchall()


async def has_corrections(connection: AsyncConnection, client_id: int) -> bool:
    """Whether an invoice in the client's name was corrected."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM invoice WHERE client_id = %s AND original_id IS NOT NULL)",
        (client_id,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def list_files(connection: AsyncConnection, month: date) -> list[FileRow]:
    """The files that are kept of a month's statements, by client."""
    async with connection.cursor(row_factory=class_row(FileRow)) as rows:
        await rows.execute(
            """
            SELECT s.id, s.content, f.format, f.content AS file
              FROM statement s JOIN statement_file f ON f.statement_id = s.id
             WHERE s.month = %s AND f.language = 'fr' ORDER BY s.client_id, f.format
            """,
            (month,),
        )
        return await rows.fetchall()


async def list_to_show(
    connection: AsyncConnection, month: date, per_client: int
) -> list[InvoiceRow]:
    """Of each issuer the first documents of a month, and all corrections."""
    async with connection.cursor(row_factory=class_row(InvoiceRow)) as rows:
        await rows.execute(
            """
            SELECT id, number, sequence::int, issued_on, amount_incl_cents, 0 AS session_id
              FROM (SELECT i.*, row_number() OVER (PARTITION BY client_id, issuer ORDER BY id) AS n
                      FROM invoice i WHERE month = %s) AS i
             WHERE n <= %s OR original_id IS NOT NULL ORDER BY id
            """,
            (month, per_client),
        )
        return await rows.fetchall()


async def fetch_counts(connection: AsyncConnection, month: date) -> tuple[int, int, int, int]:
    """Priced sessions, documents, simulated receipts, and invoices with something left open."""
    cursor = await connection.execute(
        """
        SELECT (SELECT count(*) FROM priced_session WHERE month = %(month)s),
               (SELECT count(*) FROM invoice WHERE month = %(month)s),
               (SELECT count(*) FROM receipt WHERE is_simulated),
               (SELECT count(*) FROM invoice i
                 WHERE i.month = %(month)s AND i.issuer = 'client' AND i.original_id IS NULL
                   AND i.effect_cents + coalesce((SELECT sum(c.effect_cents) FROM invoice c
                                                   WHERE c.original_id = i.id), 0)
                       > coalesce((SELECT sum(amount_cents) FROM receipt_share s
                                    WHERE s.invoice_id = i.id), 0))
        """,
        {"month": month},
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1], row[2], row[3]


async def list_unsettled_files(connection: AsyncConnection) -> list[tuple[int, str]]:
    """Files of payouts that the bank has not settled, in order: number and name."""
    cursor = await connection.execute(
        """
        SELECT f.id, f.message_id FROM payment_file f
         WHERE f.kind = 'payout' AND f.cancelled_at IS NULL
           AND EXISTS (SELECT FROM payout p WHERE p.file_id = f.id
                          AND p.status IN ('draft', 'sent'))
         ORDER BY f.id
        """
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def sum_transfers(connection: AsyncConnection) -> tuple[int, int]:
    """How many payouts arrived, and how much that is in all."""
    cursor = await connection.execute(
        """
        SELECT count(*), coalesce(sum(amount_cents), 0)::bigint FROM payout
         WHERE status = 'settled'
        """
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def count_bank(connection: AsyncConnection) -> tuple[int, int]:
    """How many statements of the bank's were read, and how many lines of them."""
    cursor = await connection.execute(
        "SELECT (SELECT count(*) FROM bank_statement), (SELECT count(*) FROM bank_line)"
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]
