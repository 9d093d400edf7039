"""SQL of disputes: what is contested, by whom, what is held for it, and how it was decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class ContestedLine:
    """A line of a statement, with what happened to the statement."""

    id: int
    client_id: int
    statement_id: int
    month: date
    position: int
    kind: str
    session_id: int | None
    invoice_id: int | None
    invoice_number: str
    own_sale_id: int | None
    sent_at: datetime | None
    delivered_at: datetime | None
    final_at: datetime | None


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute. Exactly one of line and invoice is what is contested."""

    id: int
    client_id: int
    client: str | None  # its name; None: not for whoever asks
    statement_id: int | None
    statement_line_id: int | None
    session_id: int | None
    invoice_id: int | None  # that is contested, or that the line is on
    invoice_number: str | None
    is_invoice: bool  # the invoice itself is contested
    owner_id: int | None  # the co-owner whose bill by the operator it is
    month: date
    opened_at: datetime
    opened_by: str
    person_id: int | None
    window_ends_on: date
    reason: str
    held_cents: int
    decided_at: datetime | None
    decided_by: str | None
    decision: str | None
    decision_reason: str | None
    correction_id: int | None
    correction_number: str | None


@dataclass(frozen=True, slots=True)
class UseInvoice:
    """A session of a statement with its invoice."""

    position: int
    session_id: int
    invoice_id: int | None
    invoice_number: str | None


async def get_line(connection: AsyncConnection, line_id: int) -> ContestedLine | None:
    """A line of a statement; None: there is none, or not for whoever asks."""
    async with connection.cursor(row_factory=class_row(ContestedLine)) as rows:
        await rows.execute(
            """
            SELECT l.id, l.client_id, l.statement_id, t.month, l.position, l.kind, l.session_id,
                   l.invoice_id, coalesce(i.number, '') AS invoice_number, l.own_sale_id,
                   e.sent_at, e.delivered_at, e.final_at
              FROM statement_line l JOIN statement t ON t.id = l.statement_id
              LEFT JOIN invoice i ON i.id = l.invoice_id
              LEFT JOIN LATERAL (
                    SELECT min(at) FILTER (WHERE kind = 'sent') AS sent_at,
                           min(at) FILTER (WHERE kind IN ('delivered', 'opened')) AS delivered_at,
                           min(at) FILTER (WHERE kind = 'final') AS final_at
                      FROM statement_event WHERE statement_id = t.id) e ON true
             WHERE l.id = %s
            """,
            (line_id,),
        )
        return await rows.fetchone()


async def fetch_collected(
    connection: AsyncConnection, session_ids: Sequence[int]
) -> list[tuple[date, int]]:
    """What was collected for sessions, by its day; what was taken back is below 0, on the day on
    which it had come in."""
    cursor = await connection.execute(
        """
        SELECT d.day, sum(s.amount_cents)::bigint
          FROM receipt_share s
         CROSS JOIN LATERAL (
               SELECT CASE WHEN s.amount_cents > 0 THEN s.booked_on
                           ELSE coalesce((SELECT max(f.booked_on) FROM receipt_share f
                                           WHERE f.receipt_id = s.receipt_id AND f.id < s.id
                                             AND f.session_id = s.session_id
                                             AND f.amount_cents > 0), s.booked_on) END AS day) d
         WHERE s.session_id = ANY (%s) GROUP BY d.day ORDER BY d.day
        """,
        (list(session_ids),),
    )
    return await cursor.fetchall()


async def fetch_held(connection: AsyncConnection, client_id: int, session_ids: list[int]) -> int:
    """What open disputes hold already of any of these sessions, by their lines or invoices."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT coalesce(sum(d.held_cents), 0)::bigint FROM dispute d
             WHERE d.client_id = %(client_id)s AND d.decided_at IS NULL AND d.held_cents > 0
               AND (EXISTS (SELECT FROM statement_line l
                             WHERE l.id = d.statement_line_id
                               AND l.session_id = ANY (%(session_ids)s))
                 OR EXISTS (SELECT FROM invoice_line l
                             WHERE l.invoice_id = d.invoice_id
                               AND l.session_id = ANY (%(session_ids)s)))
            """,
            {"client_id": client_id, "session_ids": session_ids},
        )
        found: int | None = await rows.fetchone()
    assert found is not None
    return found


async def list_invoice_sales(
    connection: AsyncConnection, invoice_id: int
) -> tuple[list[int], list[int]]:
    """What an invoice is of: sessions, and sales of the operator."""
    cursor = await connection.execute(
        """
        SELECT coalesce(array_agg(DISTINCT session_id) FILTER (WHERE session_id IS NOT NULL), '{}'),
               coalesce(array_agg(DISTINCT own_sale_id) FILTER (WHERE own_sale_id IS NOT NULL),
                        '{}')
          FROM invoice_line WHERE invoice_id = %s
        """,
        (invoice_id,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def get_own_sale(connection: AsyncConnection, own_sale_id: int) -> tuple[str, str, int, str]:
    """Kind, label, cents without VAT and source key of a sale of the operator's."""
    cursor = await connection.execute(
        "SELECT kind, label, amount_excl_cents, source_key FROM own_sale WHERE id = %s",
        (own_sale_id,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1], row[2], row[3]


async def find_correction(
    connection: AsyncConnection, invoice_id: int, since: datetime
) -> int | None:
    """The last document that corrects an invoice, or what it corrects itself, made since a
    moment."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT c.id FROM invoice i JOIN invoice c
                ON c.original_id = coalesce(i.original_id, i.id)
             WHERE i.id = %s AND c.created_at >= %s ORDER BY c.id DESC LIMIT 1
            """,
            (invoice_id, since),
        )
        found: int | None = await rows.fetchone()
        return found


async def find_open(
    connection: AsyncConnection, *, line_id: int | None = None, invoice_id: int | None = None
) -> int | None:
    """The dispute about a line, or an invoice, that is not decided."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT id FROM dispute
             WHERE decided_at IS NULL
               AND (statement_line_id = %(line_id)s OR invoice_id = %(invoice_id)s)
            """,
            {"line_id": line_id, "invoice_id": invoice_id},
        )
        found: int | None = await rows.fetchone()
        return found


async def insert_dispute(connection: AsyncConnection, values: Mapping[str, Any]) -> int:
    """A new dispute; its id. `values` are the columns of its opening."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            INSERT INTO dispute (client_id, statement_line_id, invoice_id, month, opened_at,
                                 opened_by, person_id, window_ends_on, reason, held_cents)
            VALUES (%(client_id)s, %(statement_line_id)s, %(invoice_id)s, %(month)s, %(opened_at)s,
                    %(opened_by)s, %(person_id)s, %(window_ends_on)s, %(reason)s, %(held_cents)s)
            RETURNING id
            """,
            values,
        )
        made: int | None = await rows.fetchone()
    assert made is not None
    return made


async def list_unheld(connection: AsyncConnection, client_id: int) -> list[Dispute]:
    """Open disputes of a client for which nothing is held, in their order."""
    cursor = await connection.execute(
        """
        SELECT id FROM dispute
         WHERE client_id = %s AND decided_at IS NULL AND held_cents = 0 ORDER BY id
        """,
        (client_id,),
    )
    found = [await get_dispute(connection, row[0]) for row in await cursor.fetchall()]
    return [each for each in found if each is not None]


async def set_held(connection: AsyncConnection, dispute_id: int, held_cents: int) -> None:
    """What is held for a dispute for which nothing was."""
    await connection.execute(
        "UPDATE dispute SET held_cents = %s WHERE id = %s AND held_cents = 0",
        (held_cents, dispute_id),
    )


async def write_decision(
    connection: AsyncConnection,
    dispute_id: int,
    *,
    decision: str,
    reason: str,
    decided_by: str,
    correction_id: int | None,
    now: datetime,
) -> None:
    """How a dispute ended."""
    await connection.execute(
        """
        UPDATE dispute
           SET decided_at = %(now)s, decided_by = %(by)s, decision = %(decision)s,
               decision_reason = %(reason)s, correction_id = %(correction_id)s
         WHERE id = %(id)s
        """,
        {
            "id": dispute_id,
            "now": now,
            "by": decided_by,
            "decision": decision,
            "reason": reason,
            "correction_id": correction_id,
        },
    )


async def get_dispute(connection: AsyncConnection, dispute_id: int) -> Dispute | None:
    """One dispute; None: there is none, or not for whoever asks."""
    found = await list_disputes(connection, dispute_id=dispute_id)
    return found[0] if found else None


async def list_disputes(
    connection: AsyncConnection,
    *,
    dispute_id: int | None = None,
    client_ids: list[int] | None = None,
    client_id: int | None = None,
    statement_id: int | None = None,
    is_open: bool | None = None,
    limit: int = 1,
    cursor: Cursor | None = None,
) -> list[Dispute]:
    """Up to `limit` disputes, the newest first; not those of invoices that whoever asks may not
    read (a co-owner's)."""
    async with connection.cursor(row_factory=class_row(Dispute)) as rows:
        await rows.execute(
            """
            SELECT d.id, d.client_id, c.name AS client, l.statement_id, d.statement_line_id,
                   l.session_id, i.id AS invoice_id, i.number AS invoice_number,
                   d.invoice_id IS NOT NULL AS is_invoice,
                   CASE WHEN i.issuer = 'operator' THEN i.person_id END AS owner_id,
                   d.month, d.opened_at, d.opened_by,
                   d.person_id, d.window_ends_on, d.reason, d.held_cents, d.decided_at,
                   d.decided_by, d.decision, d.decision_reason, d.correction_id,
                   k.number AS correction_number
              FROM dispute d LEFT JOIN client c ON c.id = d.client_id
              LEFT JOIN statement_line l ON l.id = d.statement_line_id
              LEFT JOIN invoice i ON i.id = coalesce(d.invoice_id, l.invoice_id)
              LEFT JOIN invoice k ON k.id = d.correction_id
             WHERE (%(id)s::bigint IS NULL OR d.id = %(id)s)
               AND (d.invoice_id IS NULL OR i.id IS NOT NULL)
               AND (%(client_ids)s::bigint[] IS NULL OR d.client_id = ANY (%(client_ids)s))
               AND (%(client_id)s::bigint IS NULL OR d.client_id = %(client_id)s)
               AND (%(statement_id)s::bigint IS NULL OR l.statement_id = %(statement_id)s)
               AND (%(is_open)s::boolean IS NULL OR (d.decided_at IS NULL) = %(is_open)s)
               AND (%(after)s::bigint IS NULL OR d.id < %(after)s)
             ORDER BY d.id DESC LIMIT %(limit)s
            """,
            {
                "id": dispute_id,
                "client_ids": client_ids,
                "client_id": client_id,
                "statement_id": statement_id,
                "is_open": is_open,
                "after": cursor.key[0] if cursor else None,
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_disputes(
    connection: AsyncConnection,
    *,
    client_ids: list[int] | None,
    client_id: int | None,
    statement_id: int | None,
    is_open: bool | None,
) -> int:
    """How many disputes those filters leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM dispute d LEFT JOIN statement_line l ON l.id = d.statement_line_id
         WHERE (%(client_ids)s::bigint[] IS NULL OR d.client_id = ANY (%(client_ids)s))
           AND (%(client_id)s::bigint IS NULL OR d.client_id = %(client_id)s)
           AND (%(statement_id)s::bigint IS NULL OR l.statement_id = %(statement_id)s)
           AND (%(is_open)s::boolean IS NULL OR (d.decided_at IS NULL) = %(is_open)s)
           AND (d.invoice_id IS NULL OR EXISTS (SELECT FROM invoice WHERE id = d.invoice_id))
        """,
        {
            "client_ids": client_ids,
            "client_id": client_id,
            "statement_id": statement_id,
            "is_open": is_open,
        },
    )


async def list_use_invoices(connection: AsyncConnection, statement_id: int) -> list[UseInvoice]:
    """The sessions of a statement in its order, each with its invoice."""
    async with connection.cursor(row_factory=class_row(UseInvoice)) as rows:
        await rows.execute(
            """
            SELECT l.position, l.session_id, l.invoice_id, i.number AS invoice_number
              FROM statement_line l LEFT JOIN invoice i ON i.id = l.invoice_id
             WHERE l.statement_id = %s AND l.kind IN ('session', 'late_session')
             ORDER BY l.position
            """,
            (statement_id,),
        )
        return await rows.fetchall()


async def fetch_unpaid(connection: AsyncConnection, session_ids: Sequence[int]) -> int | None:
    """What the statements that told what was received for these sessions have left to be paid, in
    cents, what is held of them already taken off; None where something received is on no statement
    yet."""
    cursor = await connection.execute(
        """
        WITH told AS (
            SELECT l.statement_id FROM receipt_share r
              LEFT JOIN statement_line l ON l.receipt_share_id = r.id
             WHERE r.session_id = ANY (%(sessions)s)),
        held AS (
            SELECT x.statement_id, sum(d.held_cents) AS cents
              FROM dispute d JOIN statement_line x ON x.id = d.statement_line_id
             WHERE d.decided_at IS NULL AND x.statement_id IN (SELECT statement_id FROM told)
             GROUP BY x.statement_id)
        SELECT bool_or(statement_id IS NULL),
               (SELECT sum(greatest(0, s.net_cents
                                       - coalesce((SELECT sum(l.amount_cents) FROM payout_line l
                                                     JOIN payout p ON p.id = l.payout_id
                                                    WHERE l.statement_id = s.id
                                                      AND l.kind = 'statement'
                                                      AND p.status IN ('draft', 'sent', 'settled')),
                                                  0)
                                       - coalesce((SELECT h.cents FROM held h
                                                    WHERE h.statement_id = s.id), 0)))::bigint
                  FROM statement s WHERE s.id IN (SELECT statement_id FROM told))
          FROM told
        """,
        {"sessions": list(session_ids)},
    )
    row = await cursor.fetchone()
    assert row is not None
    return None if row[0] else int(row[1] or 0)
