"""SQL of the closing of a client's month: the facts of its statement, and the statement itself.

What is on no statement yet is found by anti-join against statement_line, in which each session,
each share of a receipt and each sale of the operator's stands once. These statements are planned
anew each time (`prepare=False`): a plan made while the table was empty would read all of it later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

DEDUCTED = (
    "commission",
    "management_fee",
)  # of the operator's sales; others are paid by themselves


@dataclass(frozen=True, slots=True)
class ChargedRow:
    """A session that is on no statement yet."""

    session_id: int
    month: date
    station_id: str
    evse_id: int | None
    evse_static: Mapping[str, object]
    site: str
    person_id: int
    user: str
    energy_wh: int
    amount_cents: int
    invoice_id: int | None  # None: it costs nothing
    invoice_number: str
    collected_cents: int


@dataclass(frozen=True, slots=True)
class ShareRow:
    """A share of a receipt that is on no statement yet."""

    id: int
    session_id: int
    invoice_id: int
    invoice_number: str  # of the correction, where one gave it back
    amount_cents: int
    booked_on: date
    rate_on: date  # of what is taken back, when it had come in
    correction_id: int | None
    before_cents: int
    vat_parts: list[list[Any]]  # of the session: percent as text, gross and net cents of a rate


@dataclass(frozen=True, slots=True)
class SoldRow:
    """A line of an invoice of the operator's that is on no statement yet."""

    own_sale_id: int
    kind: str
    label: str
    source_key: str
    excl_cents: int
    vat_cents: int
    incl_cents: int
    invoice_id: int
    invoice_number: str


@dataclass(frozen=True, slots=True)
class CorrectionRow:
    """A corrective document or credit note that is on no statement yet."""

    invoice_id: int
    number: str
    reason: str
    month: date


@dataclass(frozen=True, slots=True)
class StatementHead:
    """A statement by its figures."""

    id: int
    client_id: int
    month: date
    net_cents: int
    collected_cents: int
    sha256: bytes


async def list_clients_to_close(
    connection: AsyncConnection, month: date, until: datetime, client_id: int | None
) -> list[int]:
    """Clients that are due a statement of the month: under a mandate on a day of it, or with
    something that is on no statement. `until`: the month's end."""
    cursor = await connection.execute(
        """
        SELECT c.id FROM client c
         WHERE NOT c.is_operator AND (%(client_id)s::bigint IS NULL OR c.id = %(client_id)s)
           AND NOT EXISTS (SELECT FROM statement s WHERE s.client_id = c.id AND s.month = %(month)s)
           AND (EXISTS (SELECT FROM contract k
                         WHERE k.client_id = c.id AND k.signed_on IS NOT NULL
                           AND k.mandate_from_on < (%(month)s::date + interval '1 month')
                           AND coalesce(k.mandate_revoked_on, 'infinity') > %(month)s
                           AND coalesce(k.ends_on, 'infinity') >= %(month)s)
             OR EXISTS (SELECT FROM receipt_share r
                         WHERE r.client_id = c.id
                           AND r.booked_on < (%(until)s AT TIME ZONE 'Europe/Paris')
                           AND NOT EXISTS (SELECT FROM statement_line l
                                            WHERE l.receipt_share_id = r.id))
             OR EXISTS (SELECT FROM priced_session p
                         WHERE p.client_id = c.id AND p.month <= %(month)s
                           AND NOT EXISTS (SELECT FROM statement_line l
                                            WHERE l.session_id = p.session_id
                                              AND l.kind IN ('session', 'late_session'))))
         ORDER BY c.id
        """,
        {"month": month, "until": until, "client_id": client_id},
    )
    return [row[0] for row in await cursor.fetchall()]


async def list_pending_months(
    connection: AsyncConnection, client_id: int, month: date
) -> list[date]:
    """Months up to this one with priced sessions that are on no invoice."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT p.month FROM priced_session p
         WHERE p.client_id = %s AND p.month <= %s
           AND NOT EXISTS (SELECT FROM invoice_line l
                            WHERE l.session_id = p.session_id AND l.is_original)
         ORDER BY p.month
        """,
        (client_id, month),
        prepare=False,
    )
    return [row[0] for row in await cursor.fetchall()]


async def find_statement(
    connection: AsyncConnection, client_id: int, month: date
) -> StatementHead | None:
    """The client's statement of a month; None: there is none."""
    async with connection.cursor(row_factory=class_row(StatementHead)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, month, net_cents, collected_cents, sha256 FROM statement
             WHERE client_id = %s AND month = %s
            """,
            (client_id, month),
        )
        return await rows.fetchone()


async def list_heads(connection: AsyncConnection, client_id: int) -> list[tuple[date, int, str]]:
    """Month, net and content of the client's statements, the newest first."""
    cursor = await connection.execute(
        "SELECT month, net_cents, content FROM statement WHERE client_id = %s ORDER BY month DESC",
        (client_id,),
    )
    return await cursor.fetchall()


async def fetch_charged(
    connection: AsyncConnection, client_id: int, month: date, until_on: date
) -> list[ChargedRow]:
    """Sessions up to a month with their invoice, or that cost nothing, by month and end."""
    async with connection.cursor(row_factory=class_row(ChargedRow)) as rows:
        await rows.execute(
            """
            SELECT p.session_id, p.month, st.id AS station_id, p.evse_id,
                   coalesce(e.static, '{}') AS evse_static,
                   coalesce(nullif(site.name, ''), p.site_id, '') AS site, p.person_id,
                   coalesce(nullif(trim(n.given_name || ' ' || n.family_name), ''), n.email, '')
                   AS user,
                   p.energy_wh, p.amount_incl_cents AS amount_cents, l.invoice_id,
                   coalesce(i.number, '') AS invoice_number,
                   coalesce(r.cents, 0)::bigint AS collected_cents
              FROM priced_session p
              JOIN station st USING (station_key)
              JOIN person n ON n.id = p.person_id
              LEFT JOIN evse e ON e.station_key = p.station_key AND e.evse_id = p.evse_id
              LEFT JOIN site ON site.id = p.site_id
              LEFT JOIN invoice_line l ON l.session_id = p.session_id AND l.is_original
              LEFT JOIN invoice i ON i.id = l.invoice_id
              LEFT JOIN (SELECT session_id, sum(amount_cents) AS cents FROM receipt_share
                          WHERE client_id = %(client_id)s AND booked_on <= %(until_on)s
                          GROUP BY session_id) r ON r.session_id = p.session_id
             WHERE p.client_id = %(client_id)s AND p.month <= %(month)s
               AND (l.invoice_id IS NOT NULL OR p.amount_incl_cents = 0)
               AND NOT EXISTS (SELECT FROM statement_line s
                                WHERE s.session_id = p.session_id
                                  AND s.kind IN ('session', 'late_session'))
             ORDER BY p.month, p.ended_at, p.session_id
            """,
            {"client_id": client_id, "month": month, "until_on": until_on},
            prepare=False,
        )
        return await rows.fetchall()


async def fetch_shares(
    connection: AsyncConnection, client_id: int, until_on: date
) -> list[ShareRow]:
    """Shares booked up to a day that are on no statement, in the order of the books."""
    async with connection.cursor(row_factory=class_row(ShareRow)) as rows:
        await rows.execute(
            """
            WITH told AS (
                SELECT r.session_id, sum(r.amount_cents) AS cents
                  FROM receipt_share r JOIN statement_line l ON l.receipt_share_id = r.id
                 WHERE r.client_id = %(client_id)s GROUP BY r.session_id)
            SELECT r.id, r.session_id, r.invoice_id, i.number AS invoice_number, r.amount_cents,
                   r.booked_on,
                   CASE WHEN r.amount_cents > 0 THEN r.booked_on
                        ELSE coalesce((SELECT max(f.booked_on) FROM receipt_share f
                                        WHERE f.receipt_id = r.receipt_id AND f.id < r.id
                                          AND f.session_id = r.session_id AND f.amount_cents > 0),
                                      r.booked_on) END AS rate_on,
                   r.correction_id,
                   coalesce(told.cents, 0)::bigint AS before_cents,
                   (SELECT json_agg(json_build_array(percent, gross, net) ORDER BY percent)
                      FROM (SELECT part ->> 'vat_percent' AS percent,
                                   sum((part ->> 'amount_incl_cents')::bigint) AS gross,
                                   sum((part ->> 'amount_excl_cents')::bigint) AS net
                              FROM jsonb_array_elements(p.lines) AS part GROUP BY 1) AS rate
                   ) AS vat_parts
              FROM receipt_share r JOIN priced_session p USING (session_id)
              JOIN invoice i ON i.id = coalesce(r.correction_id, r.invoice_id)
              LEFT JOIN told USING (session_id)
             WHERE r.client_id = %(client_id)s AND r.booked_on <= %(until_on)s
               AND NOT EXISTS (SELECT FROM statement_line l WHERE l.receipt_share_id = r.id)
             ORDER BY r.booked_on, r.id
            """,
            {"client_id": client_id, "until_on": until_on},
            prepare=False,
        )
        return await rows.fetchall()


async def fetch_uncollected(
    connection: AsyncConnection, client_id: int, month: date, until_on: date
) -> int:
    """What was invoiced of months up to this one and had not come in on a day, in cents."""
    cursor = await connection.execute(
        """
        SELECT coalesce((SELECT sum(effect_cents) FROM invoice
                          WHERE client_id = %(client_id)s AND issuer = 'client'
                            AND month <= %(month)s), 0)::bigint
             - coalesce((SELECT sum(amount_cents) FROM receipt_share
                          WHERE client_id = %(client_id)s AND booked_on <= %(until_on)s), 0)::bigint
        """,
        {"client_id": client_id, "month": month, "until_on": until_on},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def fetch_sold(connection: AsyncConnection, client_id: int) -> list[SoldRow]:
    """Lines of the operator's invoices that are deducted and on no statement yet."""
    async with connection.cursor(row_factory=class_row(SoldRow)) as rows:
        await rows.execute(
            """
            SELECT s.id AS own_sale_id, s.kind, s.label, s.source_key,
                   sign * l.amount_excl_cents AS excl_cents, sign * l.vat_cents AS vat_cents,
                   sign * l.amount_incl_cents AS incl_cents, i.id AS invoice_id,
                   i.number AS invoice_number
              FROM own_sale s
              JOIN invoice_line l ON l.own_sale_id = s.id AND l.is_original
              JOIN invoice i ON i.id = l.invoice_id
             CROSS JOIN LATERAL (SELECT CASE WHEN i.type_code = 381 THEN -1 ELSE 1 END) AS t (sign)
             WHERE s.client_id = %s AND s.kind = ANY (%s)
               AND NOT EXISTS (SELECT FROM statement_line x
                                WHERE x.own_sale_id = s.id AND x.kind = 'own_sale')
             ORDER BY s.kind, s.on_day, s.id
            """,
            (client_id, list(DEDUCTED)),
            prepare=False,
        )
        return await rows.fetchall()


async def fetch_corrections(
    connection: AsyncConnection, client_id: int, until_on: date
) -> list[CorrectionRow]:
    """Corrections in the client's name, issued up to a day, that are on no statement yet."""
    async with connection.cursor(row_factory=class_row(CorrectionRow)) as rows:
        await rows.execute(
            """
            SELECT i.id AS invoice_id, i.number, coalesce(i.reason, '') AS reason, i.month
              FROM invoice i
             WHERE i.client_id = %s AND i.issuer = 'client' AND i.original_id IS NOT NULL
               AND i.issued_on <= %s
               AND NOT EXISTS (SELECT FROM statement_line l
                                WHERE l.invoice_id = i.id AND l.kind = 'adjustment')
             ORDER BY i.id
            """,
            (client_id, until_on),
            prepare=False,
        )
        return await rows.fetchall()


async def fetch_past_due(
    connection: AsyncConnection, client_id: int, day: date
) -> list[tuple[int, str, int]]:
    """The operator's other invoices that are past due, not contested and not being debited (they
    would be paid twice): id, number, what is left of each in cents, the oldest first."""
    cursor = await connection.execute(
        """
        SELECT id, number, left_cents FROM (
            SELECT i.id, i.number, i.due_on,
                   (i.effect_cents
                    + coalesce((SELECT sum(c.effect_cents) FROM invoice c
                                 WHERE c.original_id = i.id), 0)
                    + coalesce((SELECT sum(l.amount_cents) FROM statement_line l
                                 WHERE l.invoice_id = i.id AND l.kind = 'offset'), 0)
                    - coalesce((SELECT sum(r.amount_cents) FROM own_receipt r
                                 WHERE r.invoice_id = i.id), 0))::bigint
                   AS left_cents
              FROM invoice i
             WHERE i.client_id = %(client_id)s AND i.issuer = 'operator' AND i.type_code = 380
               AND i.person_id IS NULL AND i.due_on < %(day)s
               AND NOT EXISTS (SELECT FROM invoice_line l JOIN own_sale s ON s.id = l.own_sale_id
                                WHERE l.invoice_id = i.id AND s.kind = ANY (%(deducted)s))
               AND NOT EXISTS (SELECT FROM dispute d
                                WHERE d.invoice_id = i.id AND d.decided_at IS NULL)
               AND NOT EXISTS (SELECT FROM direct_debit x
                                WHERE x.invoice_id = i.id AND x.status IN ('notified', 'sent'))
               ) AS own
         WHERE left_cents > 0 ORDER BY due_on, id
        """,
        {"client_id": client_id, "day": day, "deducted": list(DEDUCTED)},
        prepare=False,
    )
    return await cursor.fetchall()


async def fetch_holds(
    connection: AsyncConnection, client_id: int, is_release: bool
) -> list[tuple[int, int]]:
    """Disputes and what is held for each, in cents: those that a statement has to deduct, opened
    before their sessions were on one; or those that one deducted and that are decided since, and
    that no payout has paid meanwhile."""
    if is_release:
        cursor = await connection.execute(
            """
            SELECT d.id, d.held_cents FROM dispute d
             WHERE d.client_id = %s AND d.decided_at IS NOT NULL AND d.held_cents > 0
               AND EXISTS (SELECT FROM statement_line l
                            WHERE l.dispute_id = d.id AND l.kind = 'hold')
               AND NOT EXISTS (SELECT FROM statement_line l
                                WHERE l.dispute_id = d.id AND l.kind = 'release')
               AND NOT EXISTS (SELECT FROM payout_line l JOIN payout p ON p.id = l.payout_id
                                WHERE l.dispute_id = d.id
                                  AND p.status IN ('draft', 'sent', 'settled'))
             ORDER BY d.id
            """,
            (client_id,),
            prepare=False,
        )
    else:
        cursor = await connection.execute(
            """
            SELECT d.id, d.held_cents FROM dispute d
             WHERE d.client_id = %s AND d.decided_at IS NULL AND d.held_cents > 0
               AND d.invoice_id IS NOT NULL
               AND NOT EXISTS (SELECT FROM statement_line l
                                WHERE l.invoice_id = d.invoice_id
                                  AND l.kind IN ('session', 'late_session'))
               AND NOT EXISTS (SELECT FROM statement_line l WHERE l.dispute_id = d.id)
             ORDER BY d.id
            """,
            (client_id,),
            prepare=False,
        )
    return await cursor.fetchall()


async def fetch_covered(
    connection: AsyncConnection, client_id: int, share_ids: Sequence[int]
) -> int:
    """What the operator made good when these shares were taken back, in cents: the client had been
    paid already."""
    if not share_ids:
        return 0
    cursor = await connection.execute(
        """
        SELECT coalesce(sum(p.amount_cents), 0)::bigint
          FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id
          JOIN ledger_account a ON a.id = p.account_id
         WHERE e.source_key = ANY (%s) AND a.code = %s
        """,
        (
            [f"allocation:{share_id}" for share_id in share_ids],
            f"receivable:client:{client_id}",
        ),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def insert_statement(connection: AsyncConnection, values: Mapping[str, Any]) -> int:
    """A statement; its id. `values` are its columns by name, `id` apart."""
    cursor = await connection.execute(
        """
        INSERT INTO statement (client_id, month, contract_id, opening_cents, collected_cents,
                               uncollected_cents, commission_cents, fees_cents, offset_cents,
                               adjustment_cents, disputed_cents, net_cents, content, sha256,
                               closed_at)
        VALUES (%(client_id)s, %(month)s, %(contract_id)s, %(opening_cents)s, %(collected_cents)s,
                %(uncollected_cents)s, %(commission_cents)s, %(fees_cents)s, %(offset_cents)s,
                %(adjustment_cents)s, %(disputed_cents)s, %(net_cents)s, %(content)s, %(sha256)s,
                %(closed_at)s)
        RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def insert_lines(
    connection: AsyncConnection, statement_id: int, client_id: int, rows: Sequence[tuple[Any, ...]]
) -> None:
    """Lines of a statement, in their order. Rows are kind, session_id, receipt_share_id,
    invoice_id, own_sale_id, dispute_id, amount_cents, cause."""
    if not rows:
        return
    columns = [list(column) for column in zip(*rows, strict=True)]
    await connection.execute(
        """
        INSERT INTO statement_line (statement_id, client_id, position, kind, session_id,
                                    receipt_share_id, invoice_id, own_sale_id, dispute_id,
                                    amount_cents, cause)
        SELECT %s, %s, n.position, n.kind, n.session_id, n.receipt_share_id, n.invoice_id,
               n.own_sale_id, n.dispute_id, n.amount_cents, n.cause
          FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                      %s::bigint[], %s::bigint[], %s::text[]) WITH ORDINALITY
               AS n (kind, session_id, receipt_share_id, invoice_id, own_sale_id, dispute_id,
                     amount_cents, cause, position)
        """,
        (statement_id, client_id, *columns),
    )


async def fetch_rates(
    connection: AsyncConnection, client_id: int
) -> list[tuple[date, date | None, Decimal]]:
    """Commission rates by the terms of the client's signed contracts, by their first day."""
    cursor = await connection.execute(
        """
        SELECT t.from_on, t.to_on, t.commission_rate
          FROM contract_terms t JOIN contract c ON c.id = t.contract_id
         WHERE c.client_id = %s AND c.signed_on IS NOT NULL ORDER BY t.from_on
        """,
        (client_id,),
    )
    return await cursor.fetchall()


async def fetch_contract(
    connection: AsyncConnection, client_id: int, day: date
) -> tuple[int, str] | None:
    """Id and Devis of the client's contract on a day, or of its last one before."""
    cursor = await connection.execute(
        """
        SELECT id, devis_reference FROM contract
         WHERE client_id = %s AND signed_on IS NOT NULL AND starts_on <= %s
         ORDER BY starts_on DESC LIMIT 1
        """,
        (client_id, day),
    )
    return await cursor.fetchone()
