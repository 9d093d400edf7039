"""SQL of late payment: the legal rates, payouts that came late, invoices that clients pay late."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class LegalRate:
    """The pair of a half year, in per cent."""

    semester: str
    particuliers: Decimal
    autres: Decimal
    decree: str | None
    source: str
    verified_at: datetime | None
    verified_by: str | None


@dataclass(frozen=True, slots=True)
class LatePayoutRow:
    """A statement of which something reached its client, paid by a payout; late or not."""

    payout_id: int
    client_id: int
    client_class: str
    month: date
    amount_cents: int
    settled_on: date


@dataclass(frozen=True, slots=True)
class OwnInvoiceRow:
    """An invoice of the operator's that is or was paid after its day, with what came in."""

    invoice_id: int
    number: str
    client_id: int
    client: str
    client_class: str
    due_on: date
    debit_on: date | None  # for which a debit was announced
    billed_cents: int
    open_cents: int
    credits: list[list[Any]]  # day as text, cents


@dataclass(frozen=True, slots=True)
class LatePaymentRow:
    """What a late payout cost."""

    id: int
    client_id: int
    payout_id: int
    month: date
    principal_cents: int
    paid_on: date
    interest_cents: int
    indemnity_cents: int
    spans: list[dict[str, Any]]
    created_at: datetime
    created_by: str


async def list_rates(
    connection: AsyncConnection, *, limit: int, cursor: Cursor | None = None
) -> list[LegalRate]:
    """Legal rates, the newest half year first."""
    async with connection.cursor(row_factory=class_row(LegalRate)) as rows:
        await rows.execute(
            """
            SELECT semester, particuliers, autres, decree, source, verified_at, verified_by
              FROM legal_rate WHERE %(after)s::text IS NULL OR semester < %(after)s
             ORDER BY semester DESC LIMIT %(limit)s
            """,
            {"after": cursor.key[0] if cursor else None, "limit": limit},
        )
        return await rows.fetchall()


async def count_rates(connection: AsyncConnection) -> int:
    """How many legal rates there are."""
    return await fetch_count(connection, "SELECT count(*) FROM legal_rate", {})


async def fetch_verified(connection: AsyncConnection) -> dict[str, Decimal]:
    """The rate of "tous autres cas" of each half year that a person has verified."""
    cursor = await connection.execute(
        "SELECT semester, autres FROM legal_rate WHERE verified_at IS NOT NULL"
    )
    return dict(await cursor.fetchall())


async def write_rate(connection: AsyncConnection, values: Mapping[str, Any]) -> bool:
    """The verified rate of a half year; whether it could be: one that is verified stays."""
    cursor = await connection.execute(
        """
        INSERT INTO legal_rate (semester, particuliers, autres, decree, source, verified_at,
                                verified_by)
        VALUES (%(semester)s, %(particuliers)s, %(autres)s, %(decree)s, %(source)s, %(now)s,
                %(actor)s)
        ON CONFLICT (semester) DO UPDATE
           SET particuliers = excluded.particuliers, autres = excluded.autres,
               decree = excluded.decree, source = excluded.source,
               verified_at = excluded.verified_at, verified_by = excluded.verified_by
         WHERE legal_rate.verified_at IS NULL
        """,
        values,
    )
    return cursor.rowcount > 0


async def list_settled(connection: AsyncConnection) -> list[LatePayoutRow]:
    """Payouts to professionals of which nothing is there yet and that arrived after the 10th of
    the month after, statement by statement: before it none is late.

    Left out is what was late by the client's doing: an earlier payout of the statement that came
    back from its account or that the bank refused, or no approved account when it was due.
    """
    async with connection.cursor(row_factory=class_row(LatePayoutRow)) as rows:
        await rows.execute(
            """
            SELECT p.id AS payout_id, p.client_id, c.class AS client_class, s.month,
                   l.amount_cents, p.settled_on
              FROM payout p JOIN client c ON c.id = p.client_id
              JOIN payout_line l ON l.payout_id = p.id JOIN statement s ON s.id = l.statement_id
             WHERE p.status = 'settled' AND c.class = 'professionnel'
               AND p.settled_on >= s.month + interval '1 month 10 days'
               AND NOT EXISTS (SELECT FROM late_payment x WHERE x.payout_id = p.id)
               AND NOT EXISTS (SELECT FROM payout_line e JOIN payout f ON f.id = e.payout_id
                                WHERE e.statement_id = s.id AND f.id < p.id
                                  AND f.status IN ('returned', 'refused'))
               AND NOT EXISTS (SELECT FROM billing_problem b
                                WHERE b.client_id = p.client_id AND b.stage = 'pay'
                                  AND b.cause = 'no_account' AND b.first_at < p.settled_on
                                  AND (b.resolved_at IS NULL OR b.resolved_at > p.due_on))
             ORDER BY p.id, l.position
            """
        )
        return await rows.fetchall()


async def insert_late(connection: AsyncConnection, values: Mapping[str, Any]) -> int:
    """What a late payout cost; its id."""
    cursor = await connection.execute(
        """
        INSERT INTO late_payment (client_id, payout_id, month, principal_cents, paid_on,
                                  interest_cents, indemnity_cents, spans, created_at, created_by)
        VALUES (%(client_id)s, %(payout_id)s, %(month)s, %(principal_cents)s, %(paid_on)s,
                %(interest_cents)s, %(indemnity_cents)s, %(spans)s, %(now)s, %(actor)s)
        RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def has_late(connection: AsyncConnection, payout_id: int) -> bool:
    """Whether what a payout cost by its lateness is there."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM late_payment WHERE payout_id = %s)", (payout_id,)
    )
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def list_late(
    connection: AsyncConnection, *, limit: int, cursor: Cursor | None = None
) -> list[LatePaymentRow]:
    """What late payouts cost, the last first."""
    async with connection.cursor(row_factory=class_row(LatePaymentRow)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, payout_id, month, principal_cents, paid_on, interest_cents,
                   indemnity_cents, spans, created_at, created_by
              FROM late_payment WHERE %(after)s::bigint IS NULL OR id < %(after)s
             ORDER BY id DESC LIMIT %(limit)s
            """,
            {"after": cursor.key[0] if cursor else None, "limit": limit},
        )
        return await rows.fetchall()


async def count_late(connection: AsyncConnection) -> int:
    """How many `list_late` has."""
    return await fetch_count(connection, "SELECT count(*) FROM late_payment", {})


async def list_own_late(
    connection: AsyncConnection,
    until_on: date,
    *,
    limit: int | None = None,
    cursor: Cursor | None = None,
) -> list[OwnInvoiceRow]:
    """Invoices of the operator's that were not paid whole by their day, with all that came in
    until a day: from the client, and set off by statements on the day of their closing. Contested
    ones are left out."""
    async with connection.cursor(row_factory=class_row(OwnInvoiceRow)) as rows:
        await rows.execute(
            """
            SELECT o.invoice_id, o.number, o.client_id, c.name AS client, c.class AS client_class,
                   o.due_on, o.open_cents, coalesce(m.credits, '[]') AS credits,
                   (SELECT max(d.collection_on) FROM direct_debit d
                     WHERE d.invoice_id = o.invoice_id
                       AND d.status IN ('notified', 'sent', 'collected')) AS debit_on,
                   i.effect_cents + coalesce((SELECT sum(effect_cents) FROM invoice x
                                               WHERE x.original_id = i.id), 0)::bigint
                   AS billed_cents
              FROM own_invoice_open o JOIN invoice i ON i.id = o.invoice_id
              JOIN client c ON c.id = o.client_id
              LEFT JOIN LATERAL (
                    SELECT json_agg(json_build_array(day, cents) ORDER BY day) AS credits,
                           max(day) AS last_on
                      FROM (SELECT received_on AS day, amount_cents AS cents FROM own_receipt r
                             WHERE r.invoice_id = o.invoice_id
                            UNION ALL
                            SELECT (s.closed_at AT TIME ZONE 'Europe/Paris')::date,
                                   -l.amount_cents
                              FROM statement_line l JOIN statement s ON s.id = l.statement_id
                             WHERE l.invoice_id = o.invoice_id
                               AND l.kind IN ('offset', 'own_sale')) AS each) m ON true
             WHERE o.due_on < %(until_on)s AND (o.open_cents > 0 OR m.last_on > o.due_on)
               AND NOT EXISTS (SELECT FROM statement_line l
                                WHERE l.invoice_id = o.invoice_id AND l.kind = 'own_sale')
               AND NOT EXISTS (SELECT FROM dispute d
                                WHERE d.invoice_id = o.invoice_id AND d.decided_at IS NULL)
               AND (%(after)s::bigint IS NULL OR o.invoice_id > %(after)s)
             ORDER BY o.invoice_id LIMIT %(limit)s
            """,
            {
                "until_on": until_on,
                "after": cursor.key[0] if cursor else None,
                "limit": limit,
            },
        )
        return await rows.fetchall()
