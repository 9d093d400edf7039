"""SQL of invoices that are there: read, their files, their availability, what corrects them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """An invoice without its content."""

    id: int
    issuer: str  # client | operator
    client_id: int
    client: str | None  # its name; None: not for whoever asks
    person_id: int | None
    number: str
    type_code: int
    vat_case: str
    month: date
    issued_on: date
    due_on: date
    amount_excl_cents: int
    vat_cents: int
    amount_incl_cents: int
    effect_cents: int
    original_id: int | None
    original_number: str | None
    reason: str | None
    available_at: datetime | None
    content_sha256: bytes


@dataclass(frozen=True, slots=True)
class LineRow:
    """A line of an invoice: a session, or a sale of the operator."""

    position: int
    session_id: int | None
    own_sale_id: int | None
    amount_excl_cents: int
    vat_cents: int
    amount_incl_cents: int


@dataclass(frozen=True, slots=True)
class Issued:
    """A document of a chain: an original and what corrects it."""

    id: int
    issuer: str
    client_id: int
    person_id: int | None
    number: str
    type_code: int
    vat_case: str
    month: date
    issued_on: date
    effect_cents: int
    effect_vat_cents: int
    original_id: int | None
    content: str


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file as it was handed out first."""

    content: bytes
    sha256: bytes


async def list_invoices(
    connection: AsyncConnection,
    *,
    client_ids: Sequence[int] | None,
    client_id: int | None,
    person_id: int | None,
    issuer: str | None,
    month: date | None,
    limit: int,
    cursor: Cursor | None,
) -> list[InvoiceRow]:
    """Invoices, the newest first. None: of any; `client_ids` are those that the caller manages."""
    async with connection.cursor(row_factory=class_row(InvoiceRow)) as rows:
        await rows.execute(
            """
            SELECT i.id, i.issuer, i.client_id, c.name AS client, i.person_id, i.number,
                   i.type_code, i.vat_case, i.month, i.issued_on, i.due_on, i.amount_excl_cents,
                   i.vat_cents, i.amount_incl_cents, i.effect_cents, i.original_id,
                   o.number AS original_number, i.reason, a.available_at, i.content_sha256
              FROM invoice i
              LEFT JOIN client c ON c.id = i.client_id
              LEFT JOIN invoice o ON o.id = i.original_id
              LEFT JOIN invoice_availability a ON a.invoice_id = i.id
             WHERE (%(client_ids)s::bigint[] IS NULL OR i.client_id = ANY (%(client_ids)s))
               AND (%(client_id)s::bigint IS NULL OR i.client_id = %(client_id)s)
               AND (%(person_id)s::bigint IS NULL OR i.person_id = %(person_id)s)
               AND (%(issuer)s::text IS NULL OR i.issuer = %(issuer)s)
               AND (%(month)s::date IS NULL OR i.month = %(month)s)
               AND (%(after)s::bigint IS NULL OR i.id < %(after)s)
             ORDER BY i.id DESC LIMIT %(limit)s
            """,
            {
                "client_ids": None if client_ids is None else list(client_ids),
                "client_id": client_id,
                "person_id": person_id,
                "issuer": issuer,
                "month": month,
                "after": None if cursor is None else cursor.key[0],
                "limit": limit,
            },
        )
        return await rows.fetchall()


async def count_invoices(
    connection: AsyncConnection,
    *,
    client_ids: Sequence[int] | None,
    client_id: int | None,
    person_id: int | None,
    issuer: str | None,
    month: date | None,
) -> int:
    """How many `list_invoices` has in all."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM invoice i
         WHERE (%(client_ids)s::bigint[] IS NULL OR i.client_id = ANY (%(client_ids)s))
           AND (%(client_id)s::bigint IS NULL OR i.client_id = %(client_id)s)
           AND (%(person_id)s::bigint IS NULL OR i.person_id = %(person_id)s)
           AND (%(issuer)s::text IS NULL OR i.issuer = %(issuer)s)
           AND (%(month)s::date IS NULL OR i.month = %(month)s)
        """,
        {
            "client_ids": None if client_ids is None else list(client_ids),
            "client_id": client_id,
            "person_id": person_id,
            "issuer": issuer,
            "month": month,
        },
    )


async def get_invoice(connection: AsyncConnection, invoice_id: int) -> InvoiceRow | None:
    """One invoice; None: there is none that the caller may see."""
    async with connection.cursor(row_factory=class_row(InvoiceRow)) as rows:
        await rows.execute(
            """
            SELECT i.id, i.issuer, i.client_id, c.name AS client, i.person_id, i.number,
                   i.type_code, i.vat_case, i.month, i.issued_on, i.due_on, i.amount_excl_cents,
                   i.vat_cents, i.amount_incl_cents, i.effect_cents, i.original_id,
                   o.number AS original_number, i.reason, a.available_at, i.content_sha256
              FROM invoice i
              LEFT JOIN client c ON c.id = i.client_id
              LEFT JOIN invoice o ON o.id = i.original_id
              LEFT JOIN invoice_availability a ON a.invoice_id = i.id
             WHERE i.id = %s
            """,
            (invoice_id,),
        )
        return await rows.fetchone()


async def list_lines(connection: AsyncConnection, invoice_id: int) -> list[LineRow]:
    """An invoice's lines in order."""
    async with connection.cursor(row_factory=class_row(LineRow)) as rows:
        await rows.execute(
            """
            SELECT position, session_id, own_sale_id, amount_excl_cents, vat_cents,
                   amount_incl_cents
              FROM invoice_line WHERE invoice_id = %s ORDER BY position
            """,
            (invoice_id,),
        )
        return await rows.fetchall()


async def get_issued(connection: AsyncConnection, invoice_id: int) -> Issued | None:
    """One document with its content."""
    async with connection.cursor(row_factory=class_row(Issued)) as rows:
        await rows.execute(
            """
            SELECT id, issuer, client_id, person_id, number, type_code, vat_case, month, issued_on,
                   effect_cents, effect_vat_cents, original_id, content
              FROM invoice WHERE id = %s
            """,
            (invoice_id,),
        )
        return await rows.fetchone()


async def fetch_corrections(connection: AsyncConnection, original_id: int) -> list[Issued]:
    """What corrects an original, in the order of its making."""
    async with connection.cursor(row_factory=class_row(Issued)) as rows:
        await rows.execute(
            """
            SELECT id, issuer, client_id, person_id, number, type_code, vat_case, month, issued_on,
                   effect_cents, effect_vat_cents, original_id, content
              FROM invoice WHERE original_id = %s ORDER BY id
            """,
            (original_id,),
        )
        return await rows.fetchall()


async def find_last_own(
    connection: AsyncConnection, client_id: int, invoice_id: int | None = None
) -> Issued | None:
    """The last invoice of the operator to a client, or the one of that id; credits not counted."""
    async with connection.cursor(row_factory=class_row(Issued)) as rows:
        await rows.execute(
            """
            SELECT id, issuer, client_id, person_id, number, type_code, vat_case, month, issued_on,
                   effect_cents, effect_vat_cents, original_id, content
              FROM invoice
             WHERE client_id = %s AND issuer = 'operator' AND type_code = 380 AND person_id IS NULL
               AND (%s::bigint IS NULL OR id = %s)
             ORDER BY id DESC LIMIT 1
            """,
            (client_id, invoice_id, invoice_id),
        )
        return await rows.fetchone()


async def find_by_number(connection: AsyncConnection, number: str) -> int | None:
    """The document of a number; None: there is none."""
    cursor = await connection.execute("SELECT id FROM invoice WHERE number = %s", (number,))
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def find_by_source(connection: AsyncConnection, source_key: str) -> int | None:
    """The document that was made from a source; None: it was not made."""
    cursor = await connection.execute("SELECT id FROM invoice WHERE source_key = %s", (source_key,))
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def insert_availability(
    connection: AsyncConnection, invoice_ids: Sequence[int], at: datetime
) -> int:
    """Note from when invoices in a client's name lay open to it; how many were new."""
    cursor = await connection.execute(
        """
        INSERT INTO invoice_availability (invoice_id, client_id, available_at)
        SELECT id, client_id, %s FROM invoice WHERE id = ANY (%s) AND issuer = 'client'
        ON CONFLICT DO NOTHING
        """,
        (at, list(invoice_ids)),
    )
    return cursor.rowcount


async def get_file(
    connection: AsyncConnection, invoice_id: int, file_format: str
) -> FileRow | None:
    """A file that was made; None: not yet."""
    async with connection.cursor(row_factory=class_row(FileRow)) as rows:
        await rows.execute(
            "SELECT content, sha256 FROM invoice_file WHERE invoice_id = %s AND format = %s",
            (invoice_id, file_format),
        )
        return await rows.fetchone()


async def insert_file(
    connection: AsyncConnection,
    invoice: Issued,
    file_format: str,
    content: bytes,
    sha256: bytes,
    now: datetime,
) -> None:
    """Keep a file, unless one was kept before: the first stays."""
    await connection.execute(
        """
        INSERT INTO invoice_file (invoice_id, client_id, format, content, sha256, created_at)
        VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
        """,
        (invoice.id, invoice.client_id, file_format, content, sha256, now),
    )


async def fetch_paid(
    connection: AsyncConnection, original_id: int, sessions: Sequence[int]
) -> dict[int, int]:
    """What was paid for sessions of an invoice, and not taken back, in cents."""
    cursor = await connection.execute(
        """
        SELECT session_id, sum(amount_cents)::bigint FROM receipt_share
         WHERE invoice_id = %s AND session_id = ANY (%s) GROUP BY session_id
        """,
        (original_id, list(sessions)),
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}
