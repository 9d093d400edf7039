"""SQL of statements as programs read them: lists, lines, files."""

from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class StatementRow:
    """A statement with what became of it."""

    id: int
    client_id: int
    month: date
    opening_cents: int
    collected_cents: int
    uncollected_cents: int
    commission_cents: int
    fees_cents: int
    offset_cents: int
    adjustment_cents: int
    disputed_cents: int
    net_cents: int
    content: str
    closed_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    final_at: datetime | None
    disputes_open: int


@dataclass(frozen=True, slots=True)
class LineRow:
    """A line of a statement."""

    id: int
    position: int
    kind: str
    session_id: int | None
    invoice_id: int | None
    invoice_number: str | None
    own_sale_id: int | None
    dispute_id: int | None
    amount_cents: int
    cause: str | None


async def list_statements(
    connection: AsyncConnection,
    *,
    client_ids: list[int] | None,
    client_id: int | None = None,
    month: date | None = None,
    statement_id: int | None = None,
    limit: int,
    cursor: Cursor | None = None,
) -> list[StatementRow]:
    """Up to `limit` statements, the newest first. `client_ids`: those of these clients that were
    sent; None: all there are."""
    async with connection.cursor(row_factory=class_row(StatementRow)) as rows:
        await rows.execute(
            """
            SELECT s.id, s.client_id, s.month, s.opening_cents, s.collected_cents,
                   s.uncollected_cents, s.commission_cents, s.fees_cents, s.offset_cents,
                   s.adjustment_cents, s.disputed_cents, s.net_cents, s.content, s.closed_at,
                   e.sent_at, e.delivered_at, e.final_at,
                   (SELECT count(*) FROM dispute d JOIN statement_line l
                       ON l.id = d.statement_line_id
                     WHERE l.statement_id = s.id AND d.decided_at IS NULL)::int AS disputes_open
              FROM statement s
              LEFT JOIN LATERAL (
                    SELECT min(at) FILTER (WHERE kind = 'sent') AS sent_at,
                           min(at) FILTER (WHERE kind IN ('delivered', 'opened')) AS delivered_at,
                           min(at) FILTER (WHERE kind = 'final') AS final_at
                      FROM statement_event WHERE statement_id = s.id) e ON true
             WHERE (%(client_ids)s::bigint[] IS NULL
                    OR (s.client_id = ANY (%(client_ids)s) AND e.sent_at IS NOT NULL))
               AND (%(client_id)s::bigint IS NULL OR s.client_id = %(client_id)s)
               AND (%(month)s::date IS NULL OR s.month = %(month)s)
               AND (%(id)s::bigint IS NULL OR s.id = %(id)s)
               AND (%(after)s::bigint IS NULL OR s.id < %(after)s)
             ORDER BY s.id DESC LIMIT %(limit)s
            """,
            {
                "client_ids": client_ids,
                "client_id": client_id,
                "month": month,
                "id": statement_id,
                "after": cursor.key[0] if cursor else None,
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_statements(
    connection: AsyncConnection,
    *,
    client_ids: list[int] | None,
    client_id: int | None,
    month: date | None,
) -> int:
    """How many statements those filters leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM statement s
         WHERE (%(client_ids)s::bigint[] IS NULL
                OR (s.client_id = ANY (%(client_ids)s)
                    AND EXISTS (SELECT FROM statement_event e
                                 WHERE e.statement_id = s.id AND e.kind = 'sent')))
           AND (%(client_id)s::bigint IS NULL OR s.client_id = %(client_id)s)
           AND (%(month)s::date IS NULL OR s.month = %(month)s)
        """,
        {"client_ids": client_ids, "client_id": client_id, "month": month},
    )


async def list_lines(
    connection: AsyncConnection, statement_id: int, *, limit: int, cursor: Cursor | None
) -> list[LineRow]:
    """Up to `limit` lines of a statement, by position."""
    async with connection.cursor(row_factory=class_row(LineRow)) as rows:
        await rows.execute(
            """
            SELECT l.id, l.position, l.kind, l.session_id, l.invoice_id,
                   i.number AS invoice_number, l.own_sale_id, l.dispute_id, l.amount_cents, l.cause
              FROM statement_line l LEFT JOIN invoice i ON i.id = l.invoice_id
             WHERE l.statement_id = %(statement_id)s AND l.position > %(after)s
             ORDER BY l.position LIMIT %(limit)s
            """,
            {
                "statement_id": statement_id,
                "after": cursor.key[0] if cursor else 0,
                "limit": limit,
            },
        )
        return await rows.fetchall()


async def count_lines(connection: AsyncConnection, statement_id: int) -> int:
    """How many lines a statement has."""
    return await fetch_count(
        connection,
        "SELECT count(*) FROM statement_line WHERE statement_id = %(statement_id)s",
        {"statement_id": statement_id},
    )


async def get_file(
    connection: AsyncConnection, statement_id: int, format: str, language: str
) -> bytes | None:
    """A file as it was kept; None: none was."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT content FROM statement_file
             WHERE statement_id = %s AND format = %s AND language = %s
            """,
            (statement_id, format, language),
        )
        found: bytes | None = await rows.fetchone()
        return found


async def client_of_invoice(connection: AsyncConnection, invoice_id: int) -> int | None:
    """In whose name, or to whom, an invoice is; None: there is none."""
    cursor = await connection.execute("SELECT client_id FROM invoice WHERE id = %s", (invoice_id,))
    row = await cursor.fetchone()
    return None if row is None else int(row[0])
