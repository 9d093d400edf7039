"""SQL of payouts: what is due to a client of its statements, and the payouts of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from csms.store.paging import Cursor


@dataclass(frozen=True, slots=True)
class DueRow:
    """What is to be paid of a statement, of what was held and is let go, or because a payout came
    late."""

    client_id: int
    kind: str  # statement, release, late
    id: int  # of the statement, the dispute or the late payment
    month: date
    due_cents: int


@dataclass(frozen=True, slots=True)
class PayoutRow:
    """A payout."""

    id: int
    client_id: int
    client: str
    month: date
    amount_cents: int
    due_on: date
    iban: str
    holder: str
    end_to_end_id: str
    status: str
    file_id: int | None
    settled_on: date | None


async def fetch_dues(
    connection: AsyncConnection, client_id: int | None, month: date
) -> list[DueRow]:
    """What is to be paid to a client (None: to all of them) of statements up to a month, by client
    and the oldest first.

    Of a statement its net, less what was paid, less what is held of it for disputes that began
    after it. Of a dispute that a statement held for and that is decided since, what it held, unless
    a statement has told of the release.
    """
    async with connection.cursor(row_factory=class_row(DueRow)) as rows:
        await rows.execute(
            """
            WITH live AS (
                SELECT l.* FROM payout_line l JOIN payout p ON p.id = l.payout_id
                 WHERE (%(client_id)s::bigint IS NULL OR l.client_id = %(client_id)s)
                   AND p.status IN ('draft', 'sent', 'settled')),
            late_hold AS (
                SELECT d.held_cents,
                       coalesce((SELECT x.statement_id FROM statement_line x
                                  WHERE x.id = d.statement_line_id),
                                (SELECT min(x.statement_id) FROM statement_line x
                                  WHERE x.invoice_id = d.invoice_id
                                    AND x.kind IN ('session', 'late_session'))) AS statement_id
                  FROM dispute d
                 WHERE (%(client_id)s::bigint IS NULL OR d.client_id = %(client_id)s)
                   AND d.decided_at IS NULL AND d.held_cents > 0
                   AND NOT EXISTS (SELECT FROM statement_line x WHERE x.dispute_id = d.id)),
            due AS (
                SELECT s.client_id, 'statement' AS kind, s.id, s.month,
                       s.net_cents
                       - coalesce((SELECT sum(l.amount_cents) FROM live l
                                    WHERE l.statement_id = s.id AND l.kind = 'statement'), 0)
                       - coalesce((SELECT sum(h.held_cents) FROM late_hold h
                                    WHERE h.statement_id = s.id), 0) AS due_cents
                  FROM statement s
                 WHERE (%(client_id)s::bigint IS NULL OR s.client_id = %(client_id)s)
                   AND s.month <= %(month)s AND s.net_cents > 0
                UNION ALL
                SELECT d.client_id, 'release', d.id, d.month, d.held_cents
                  FROM dispute d
                 WHERE (%(client_id)s::bigint IS NULL OR d.client_id = %(client_id)s)
                   AND d.decided_at IS NOT NULL
                   AND d.held_cents > 0
                   AND EXISTS (SELECT FROM statement_line x
                                WHERE x.dispute_id = d.id AND x.kind = 'hold')
                   AND NOT EXISTS (SELECT FROM statement_line x
                                    WHERE x.dispute_id = d.id AND x.kind = 'release')
                   AND NOT EXISTS (SELECT FROM live l WHERE l.dispute_id = d.id)
                UNION ALL
                SELECT x.client_id, 'late', x.id, x.month, x.interest_cents + x.indemnity_cents
                  FROM late_payment x
                 WHERE (%(client_id)s::bigint IS NULL OR x.client_id = %(client_id)s)
                   AND NOT EXISTS (SELECT FROM live l WHERE l.late_payment_id = x.id))
            SELECT client_id, kind, id, month, due_cents::bigint AS due_cents FROM due
             WHERE due_cents > 0 ORDER BY client_id, month, kind DESC, id
            """,
            {"client_id": client_id, "month": month},
            prepare=False,
        )
        return await rows.fetchall()


@dataclass(frozen=True, slots=True)
class PayoutLineRow:
    """What a payout pays: of a statement, of what a decision let go, or because one came late."""

    position: int
    kind: str
    statement_id: int | None
    dispute_id: int | None
    late_payment_id: int | None
    month: date
    amount_cents: int


@dataclass(frozen=True, slots=True)
class PayoutEventRow:
    """What happened to a payout."""

    status: str
    at: datetime
    by: str
    detail: str | None


async def list_payouts(
    connection: AsyncConnection,
    *,
    client_ids: Sequence[int] | None,
    client_id: int | None,
    month: date | None,
    status: str | None,
    payout_id: int | None = None,
    limit: int,
    cursor: Cursor | None = None,
) -> list[PayoutRow]:
    """Payouts, the last made first, of these clients (None: of all)."""
    async with connection.cursor(row_factory=class_row(PayoutRow)) as rows:
        await rows.execute(
            """
            SELECT p.id, p.client_id, coalesce(c.name, '') AS client, p.month, p.amount_cents,
                   p.due_on, p.iban, p.holder, p.end_to_end_id, p.status, p.file_id, p.settled_on
              FROM payout p LEFT JOIN client c ON c.id = p.client_id
             WHERE (%(client_ids)s::bigint[] IS NULL OR p.client_id = ANY (%(client_ids)s))
               AND (%(client_id)s::bigint IS NULL OR p.client_id = %(client_id)s)
               AND (%(month)s::date IS NULL OR p.month = %(month)s)
               AND (%(status)s::text IS NULL OR p.status = %(status)s)
               AND (%(payout_id)s::bigint IS NULL OR p.id = %(payout_id)s)
               AND (%(after)s::bigint IS NULL OR p.id < %(after)s)
             ORDER BY p.id DESC LIMIT %(limit)s
            """,
            {
                "client_ids": None if client_ids is None else list(client_ids),
                "client_id": client_id,
                "month": month,
                "status": status,
                "payout_id": payout_id,
                "after": cursor.key[0] if cursor else None,
                "limit": limit,
            },
        )
        return await rows.fetchall()


async def count_payouts(
    connection: AsyncConnection,
    *,
    client_ids: Sequence[int] | None,
    client_id: int | None,
    month: date | None,
    status: str | None,
) -> int:
    """How many `list_payouts` has."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT count(*) FROM payout p
             WHERE (%(client_ids)s::bigint[] IS NULL OR p.client_id = ANY (%(client_ids)s))
               AND (%(client_id)s::bigint IS NULL OR p.client_id = %(client_id)s)
               AND (%(month)s::date IS NULL OR p.month = %(month)s)
               AND (%(status)s::text IS NULL OR p.status = %(status)s)
            """,
            {
                "client_ids": None if client_ids is None else list(client_ids),
                "client_id": client_id,
                "month": month,
                "status": status,
            },
        )
        found: int | None = await rows.fetchone()
        assert found is not None
        return found


async def list_payout_lines(connection: AsyncConnection, payout_id: int) -> list[PayoutLineRow]:
    """What a payout pays, in order."""
    async with connection.cursor(row_factory=class_row(PayoutLineRow)) as rows:
        await rows.execute(
            """
            SELECT l.position, l.kind, l.statement_id, l.dispute_id, l.late_payment_id,
                   coalesce(s.month, d.month, x.month) AS month, l.amount_cents
              FROM payout_line l
              LEFT JOIN late_payment x ON x.id = l.late_payment_id
              LEFT JOIN statement s ON s.id = l.statement_id
              LEFT JOIN dispute d ON d.id = l.dispute_id
             WHERE l.payout_id = %s ORDER BY l.position
            """,
            (payout_id,),
        )
        return await rows.fetchall()


@dataclass(frozen=True, slots=True)
class StatementPaymentRow:
    """What of a statement was paid, or is on its way."""

    amount_cents: int
    status: str
    due_on: date
    settled_on: date | None
    end_to_end_id: str
    iban: str


async def list_of_statement(
    connection: AsyncConnection, statement_id: int
) -> list[StatementPaymentRow]:
    """The payouts of a statement that were not given up, in order; with what it had held and a
    decision let go."""
    async with connection.cursor(row_factory=class_row(StatementPaymentRow)) as rows:
        await rows.execute(
            """
            SELECT l.amount_cents, p.status, p.due_on, p.settled_on, p.end_to_end_id, p.iban
              FROM payout_line l JOIN payout p ON p.id = l.payout_id
             WHERE p.status IN ('draft', 'sent', 'settled', 'returned')
               AND (l.statement_id = %(statement_id)s
                    OR l.dispute_id IN (SELECT x.dispute_id FROM statement_line x
                                         WHERE x.statement_id = %(statement_id)s
                                           AND x.kind = 'hold'))
             ORDER BY p.id, l.position
            """,
            {"statement_id": statement_id},
        )
        return await rows.fetchall()


async def list_payout_events(connection: AsyncConnection, payout_id: int) -> list[PayoutEventRow]:
    """What happened to a payout, in order."""
    async with connection.cursor(row_factory=class_row(PayoutEventRow)) as rows:
        await rows.execute(
            """
            SELECT status, at, by, detail FROM payout_event WHERE payout_id = %s ORDER BY id
            """,
            (payout_id,),
        )
        return await rows.fetchall()


async def find_account(connection: AsyncConnection, client_id: int) -> tuple[str, str] | None:
    """IBAN and holder of the client's account that a second person approved; None: none."""
    cursor = await connection.execute(
        """
        SELECT iban, holder FROM client_iban
         WHERE client_id = %s AND approved AND replaced_at IS NULL
        """,
        (client_id,),
    )
    return await cursor.fetchone()


async def insert_payout(connection: AsyncConnection, values: Mapping[str, Any]) -> int:
    """A payout as a draft; its id. Its end-to-end id counts the client's payouts of the month."""
    cursor = await connection.execute(
        """
        INSERT INTO payout (client_id, month, amount_cents, due_on, iban, holder, end_to_end_id,
                            status, created_at, created_by)
        SELECT %(client_id)s, %(month)s, %(amount_cents)s, %(due_on)s, %(iban)s, %(holder)s,
               format('T2P-%%s-%%s', to_char(%(month)s::date, 'YYYY-MM'), %(client_id)s::bigint)
               || CASE WHEN n.before > 0 THEN '-' || n.before + 1 ELSE '' END,
               'draft', %(now)s, %(actor)s
          FROM (SELECT count(*) AS before FROM payout
                 WHERE client_id = %(client_id)s AND month = %(month)s) AS n
        RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def insert_lines(
    connection: AsyncConnection,
    payout_id: int,
    client_id: int,
    rows: Sequence[tuple[str, int | None, int | None, int | None, int]],
) -> None:
    """What a payout pays: kind, statement_id, dispute_id, late_payment_id, cents."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    await connection.execute(
        """
        INSERT INTO payout_line (payout_id, client_id, position, kind, statement_id, dispute_id,
                                 late_payment_id, amount_cents)
        SELECT %s, %s, n.position, n.kind, n.statement_id, n.dispute_id, n.late_payment_id,
               n.amount_cents
          FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
               WITH ORDINALITY
               AS n (kind, statement_id, dispute_id, late_payment_id, amount_cents, position)
        """,
        (payout_id, client_id, *columns),
    )


async def insert_event(
    connection: AsyncConnection,
    payout_id: int,
    client_id: int,
    status: str,
    now: datetime,
    by: str,
    detail: str | None = None,
) -> None:
    """What happened to a payout."""
    await connection.execute(
        """
        INSERT INTO payout_event (payout_id, client_id, status, at, by, detail)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (payout_id, client_id, status, now, by, detail),
    )


async def set_status(
    connection: AsyncConnection, payout_id: int, status: str, settled_on: date | None = None
) -> None:
    """The state that a payout is in now."""
    await connection.execute(
        """
        UPDATE payout SET status = %s, settled_on = coalesce(%s, settled_on) WHERE id = %s
        """,
        (status, settled_on, payout_id),
    )


async def get_payout(
    connection: AsyncConnection, *, payout_id: int | None = None, end_to_end_id: str | None = None
) -> PayoutRow | None:
    """A payout by its number or its reference, held to the end of the transaction."""
    async with connection.cursor(row_factory=class_row(PayoutRow)) as rows:
        await rows.execute(
            """
            SELECT p.id, p.client_id, c.name AS client, p.month, p.amount_cents, p.due_on, p.iban,
                   p.holder, p.end_to_end_id, p.status, p.file_id, p.settled_on
              FROM payout p JOIN client c ON c.id = p.client_id
             WHERE p.id = %s OR p.end_to_end_id = %s FOR UPDATE OF p
            """,
            (payout_id, end_to_end_id),
        )
        return await rows.fetchone()


async def take_drafts(connection: AsyncConnection) -> list[PayoutRow]:
    """Drafts that are in no file, held to the end of the transaction."""
    async with connection.cursor(row_factory=class_row(PayoutRow)) as rows:
        await rows.execute(
            """
            SELECT p.id, p.client_id, c.name AS client, p.month, p.amount_cents, p.due_on, p.iban,
                   p.holder, p.end_to_end_id, p.status, p.file_id, p.settled_on
              FROM payout p JOIN client c ON c.id = p.client_id
             WHERE p.status = 'draft' AND p.file_id IS NULL ORDER BY p.id FOR UPDATE OF p
            """
        )
        return await rows.fetchall()


async def list_of_file(connection: AsyncConnection, file_id: int) -> list[PayoutRow]:
    """The payouts of a file, held to the end of the transaction."""
    async with connection.cursor(row_factory=class_row(PayoutRow)) as rows:
        await rows.execute(
            """
            SELECT p.id, p.client_id, c.name AS client, p.month, p.amount_cents, p.due_on, p.iban,
                   p.holder, p.end_to_end_id, p.status, p.file_id, p.settled_on
              FROM payout p JOIN client c ON c.id = p.client_id
             WHERE p.file_id = %s ORDER BY p.id FOR UPDATE OF p
            """,
            (file_id,),
        )
        return await rows.fetchall()


async def list_unsettled(connection: AsyncConnection, due_on: date) -> list[PayoutRow]:
    """Payouts that were due by that day and of which the bank has not said that they arrived."""
    async with connection.cursor(row_factory=class_row(PayoutRow)) as rows:
        await rows.execute(
            """
            SELECT p.id, p.client_id, c.name AS client, p.month, p.amount_cents, p.due_on, p.iban,
                   p.holder, p.end_to_end_id, p.status, p.file_id, p.settled_on
              FROM payout p JOIN client c ON c.id = p.client_id
             WHERE p.status IN ('draft', 'sent') AND p.due_on <= %s ORDER BY p.id
            """,
            (due_on,),
        )
        return await rows.fetchall()


async def put_in_file(connection: AsyncConnection, payout_ids: Sequence[int], file_id: int) -> None:
    """The payouts of a new file."""
    await connection.execute(
        "UPDATE payout SET file_id = %s WHERE id = ANY (%s)", (file_id, list(payout_ids))
    )


async def set_statuses(
    connection: AsyncConnection, payout_ids: Sequence[int], status: str, now: datetime, by: str
) -> None:
    """One state for many payouts, with its event."""
    await connection.execute(
        "UPDATE payout SET status = %s WHERE id = ANY (%s)", (status, list(payout_ids))
    )
    await connection.execute(
        """
        INSERT INTO payout_event (payout_id, client_id, status, at, by)
        SELECT id, client_id, %s, %s, %s FROM payout WHERE id = ANY (%s) ORDER BY id
        """,
        (status, now, by, list(payout_ids)),
    )
