"""SQL of what managers look at: how a month goes, by day, point and user; invoices.

For a connection that acts for a person (csms.db.acting): row-level security shows what is of her
clients, and hides the rest whatever is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from csms.store.paging import fetch_count


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A client that she manages."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class DayRow:
    """What ended on a day, of Paris. `unpriced`: sessions that have no price, or none yet."""

    day: date
    sessions: int
    energy_wh: int
    billed_cents: int
    unpriced: int


@dataclass(frozen=True, slots=True)
class PointRow:
    """What ended at a point in a month."""

    station_id: str
    evse_id: int | None
    evse_static: Mapping[str, object]
    site: str
    sessions: int
    energy_wh: int
    billed_cents: int


@dataclass(frozen=True, slots=True)
class UserRow:
    """What a driver charged in a month; `person_id` None: badges that are nobody's."""

    person_id: int | None
    name: str  # '' where it is not hers to see, or nobody's
    sessions: int
    energy_wh: int
    billed_cents: int
    collected_cents: int  # of these sessions, until now


@dataclass(frozen=True, slots=True)
class MoneyRow:
    """A client's money of a month."""

    collected_cents: int  # booked in the month
    uncollected_cents: int  # of what the month's sessions cost, until now
    net_cents: int | None  # of the statement; None: none was sent yet
    statement_id: int | None


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """An invoice as it stands in a list."""

    id: int
    number: str
    type_code: int
    issuer: str
    month: date
    issued_on: date
    amount_incl_cents: int
    buyer: str  # '' where it is not hers to see
    original_id: int | None
    original_number: str | None
    available_at: datetime | None  # since when it lies open; None: not yet, or the operator's
    dispute_id: int | None  # the last about the invoice itself, and how it ended
    opened_at: datetime | None
    reason: str | None
    decided_at: datetime | None
    decision: str | None
    decision_reason: str | None
    correction_id: int | None
    correction_number: str | None
    line_statement_id: int | None  # the statement of a contested line of it; None: there is none
    is_line_open: bool  # that is not decided


async def list_clients(connection: AsyncConnection) -> list[ClientRow]:
    """Clients that she manages now, by name."""
    async with connection.cursor(row_factory=class_row(ClientRow)) as rows:
        await rows.execute(
            """
            SELECT id, coalesce(legal_name, name) AS name FROM client
             WHERE id = ANY (managed_clients()) ORDER BY 2, 1
            """
        )
        return await rows.fetchall()


async def find_last_activity(
    connection: AsyncConnection, client_id: int, now: datetime
) -> date | None:
    """The day in Paris on which the client's newest session ended; None: there is none."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT (max(ended_at) AT TIME ZONE 'Europe/Paris')::date FROM session
             WHERE client_id = %(client_id)s AND state = 'ended' AND ended_at <= %(now)s
            """,
            {"client_id": client_id, "now": now},
        )
        found: date | None = await rows.fetchone()
        return found


async def list_days(
    connection: AsyncConnection, client_id: int, from_at: datetime, to_at: datetime
) -> list[DayRow]:
    """Days on which sessions ended, in order."""
    async with connection.cursor(row_factory=class_row(DayRow)) as rows:
        await rows.execute(
            """
            SELECT (s.ended_at AT TIME ZONE 'Europe/Paris')::date AS day,
                   count(*) AS sessions,
                   coalesce(sum(coalesce(p.energy_wh, s.energy_wh)), 0)::bigint AS energy_wh,
                   coalesce(sum(p.amount_incl_cents), 0)::bigint AS billed_cents,
                   count(*) FILTER (WHERE p.session_id IS NULL) AS unpriced
              FROM session s LEFT JOIN priced_session p ON p.session_id = s.id
             WHERE s.client_id = %(client_id)s AND s.state = 'ended'
               AND s.ended_at >= %(from_at)s AND s.ended_at < %(to_at)s
             GROUP BY 1 ORDER BY 1
            """,
            {"client_id": client_id, "from_at": from_at, "to_at": to_at},
        )
        return await rows.fetchall()


async def list_points(
    connection: AsyncConnection, client_id: int, from_at: datetime, to_at: datetime
) -> list[PointRow]:
    """Points at which sessions ended, the most used first."""
    async with connection.cursor(row_factory=class_row(PointRow)) as rows:
        await rows.execute(
            """
            SELECT st.id AS station_id, s.evse_id, coalesce(e.static, '{}') AS evse_static,
                   coalesce(nullif(site.name, ''), s.site_id, '') AS site,
                   count(*) AS sessions,
                   coalesce(sum(coalesce(p.energy_wh, s.energy_wh)), 0)::bigint AS energy_wh,
                   coalesce(sum(p.amount_incl_cents), 0)::bigint AS billed_cents
              FROM session s JOIN station st USING (station_key)
              LEFT JOIN evse e ON e.station_key = s.station_key AND e.evse_id = s.evse_id
              LEFT JOIN site ON site.id = s.site_id
              LEFT JOIN priced_session p ON p.session_id = s.id
             WHERE s.client_id = %(client_id)s AND s.state = 'ended'
               AND s.ended_at >= %(from_at)s AND s.ended_at < %(to_at)s
             GROUP BY 1, 2, 3, 4 ORDER BY energy_wh DESC, 1, 2
            """,
            {"client_id": client_id, "from_at": from_at, "to_at": to_at},
        )
        return await rows.fetchall()


async def list_users(
    connection: AsyncConnection, client_id: int, from_at: datetime, to_at: datetime
) -> list[UserRow]:
    """Drivers whose sessions ended, by what they charged; whose badge it was when it began."""
    async with connection.cursor(row_factory=class_row(UserRow)) as rows:
        await rows.execute(
            """
            SELECT coalesce(p.person_id, b.person_id) AS person_id,
                   coalesce(nullif(trim(n.given_name || ' ' || n.family_name), ''),
                            n.email, '') AS name,
                   count(*) AS sessions,
                   coalesce(sum(coalesce(p.energy_wh, s.energy_wh)), 0)::bigint AS energy_wh,
                   coalesce(sum(p.amount_incl_cents), 0)::bigint AS billed_cents,
                   coalesce(sum(r.amount_cents), 0)::bigint AS collected_cents
              FROM session s
              LEFT JOIN priced_session p ON p.session_id = s.id
              LEFT JOIN driver_badge b ON b.uid_key = lower(s.token_uid)
                   AND s.started_at >= b.from_at AND (b.to_at IS NULL OR s.started_at < b.to_at)
              LEFT JOIN person n ON n.id = coalesce(p.person_id, b.person_id)
              LEFT JOIN LATERAL (SELECT sum(amount_cents)::bigint AS amount_cents
                                   FROM receipt_share WHERE session_id = s.id) r ON true
             WHERE s.client_id = %(client_id)s AND s.state = 'ended'
               AND s.ended_at >= %(from_at)s AND s.ended_at < %(to_at)s
             GROUP BY 1, 2 ORDER BY energy_wh DESC, 2, 1
            """,
            {"client_id": client_id, "from_at": from_at, "to_at": to_at},
        )
        return await rows.fetchall()


async def get_money(connection: AsyncConnection, client_id: int, month: date) -> MoneyRow:
    """The month's money, by its statement where one was sent."""
    async with connection.cursor(row_factory=class_row(MoneyRow)) as rows:
        await rows.execute(
            """
            SELECT coalesce(t.collected_cents,
                            (SELECT sum(amount_cents) FROM receipt_share
                              WHERE client_id = %(client_id)s AND booked_on >= %(month)s::date
                                AND booked_on < %(month)s::date + interval '1 month'),
                            0)::bigint AS collected_cents,
                   coalesce(t.uncollected_cents,
                            (SELECT sum(p.amount_incl_cents - coalesce(r.amount_cents, 0))
                               FROM priced_session p
                               LEFT JOIN (SELECT session_id, sum(amount_cents) AS amount_cents
                                            FROM receipt_share WHERE client_id = %(client_id)s
                                           GROUP BY 1) r USING (session_id)
                              WHERE p.client_id = %(client_id)s AND p.month = %(month)s),
                            0)::bigint AS uncollected_cents,
                   t.net_cents, t.id AS statement_id
              FROM (VALUES (1)) one (n)
              LEFT JOIN statement t ON t.client_id = %(client_id)s AND t.month = %(month)s
                   AND EXISTS (SELECT FROM statement_event e
                                WHERE e.statement_id = t.id AND e.kind = 'sent')
            """,
            {"client_id": client_id, "month": month},
        )
        found = await rows.fetchone()
    assert found is not None
    return found


async def list_invoices(
    connection: AsyncConnection,
    client_id: int,
    issuer: str | None,
    *,
    month: date | None = None,
    before: int | None = None,
    invoice_id: int | None = None,
    limit: int = 1,
) -> list[InvoiceRow]:
    """Invoices in the client's name (`issuer` client), to it (operator) or both (None), the newest
    first. `before`: those with a smaller id only; `invoice_id`: that one only."""
    async with connection.cursor(row_factory=class_row(InvoiceRow)) as rows:
        await rows.execute(
            """
            SELECT i.id, i.number, i.type_code, i.issuer, i.month, i.issued_on,
                   i.amount_incl_cents,
                   coalesce(nullif(trim(n.given_name || ' ' || n.family_name), ''), n.email, '')
                   AS buyer,
                   o.id AS original_id, o.number AS original_number, a.available_at,
                   d.id AS dispute_id, d.opened_at, d.reason, d.decided_at, d.decision,
                   d.decision_reason, k.id AS correction_id, k.number AS correction_number,
                   l.statement_id AS line_statement_id, coalesce(l.is_open, false) AS is_line_open
              FROM invoice i LEFT JOIN person n ON n.id = i.person_id
              LEFT JOIN invoice o ON o.id = i.original_id
              LEFT JOIN invoice_availability a ON a.invoice_id = i.id
              LEFT JOIN LATERAL (
                    SELECT * FROM dispute
                     WHERE client_id = i.client_id AND month = i.month AND invoice_id = i.id
                     ORDER BY id DESC LIMIT 1) d ON true
              LEFT JOIN invoice k ON k.id = d.correction_id
              LEFT JOIN LATERAL (
                    SELECT sl.statement_id, e.decided_at IS NULL AS is_open
                      FROM dispute e JOIN statement_line sl ON sl.id = e.statement_line_id
                     WHERE e.client_id = i.client_id AND sl.invoice_id = i.id
                       AND e.decision IS DISTINCT FROM 'withdrawn'
                     ORDER BY is_open DESC, e.id DESC LIMIT 1) l ON true
             WHERE i.client_id = %(client_id)s
               AND (%(issuer)s::text IS NULL OR i.issuer = %(issuer)s)
               AND (%(invoice_id)s::bigint IS NULL OR i.id = %(invoice_id)s)
               AND (%(month)s::date IS NULL OR i.month = %(month)s)
               AND (%(before)s::bigint IS NULL OR i.id < %(before)s)
             ORDER BY i.id DESC LIMIT %(limit)s
            """,
            {
                "client_id": client_id,
                "issuer": issuer,
                "invoice_id": invoice_id,
                "month": month,
                "before": before,
                "limit": limit,
            },
            prepare=False,  # the one is found by its key, the others by their client
        )
        return await rows.fetchall()


async def get_invoice(
    connection: AsyncConnection, invoice_id: int
) -> tuple[InvoiceRow, int] | None:
    """One invoice in the client's name or the operator's to it, and its client. None: there is
    none of her clients'; a driver's own invoice from another client is not hers as a manager."""
    cursor = await connection.execute(
        "SELECT client_id FROM invoice WHERE id = %s AND client_id = ANY (managed_clients())",
        (invoice_id,),
    )
    owner = await cursor.fetchone()
    if owner is None:
        return None
    found = await list_invoices(connection, owner[0], None, invoice_id=invoice_id)
    return (found[0], owner[0]) if found else None


async def list_corrections(connection: AsyncConnection, invoice_id: int) -> list[tuple[int, str]]:
    """Id and number of the documents that correct an invoice, in the order of their making."""
    cursor = await connection.execute(
        "SELECT id, number FROM invoice WHERE original_id = %s ORDER BY id", (invoice_id,)
    )
    return await cursor.fetchall()


async def get_invoice_content(connection: AsyncConnection, invoice_id: int) -> str | None:
    """What an invoice says, as JSON (billing.invoice.from_json)."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute("SELECT content FROM invoice WHERE id = %s", (invoice_id,))
        found: str | None = await rows.fetchone()
        return found


@dataclass(frozen=True, slots=True)
class StatementRow:
    """A statement as it stands in a list."""

    id: int
    client_id: int
    month: date
    net_cents: int
    collected_cents: int
    sent_at: datetime
    delivered_at: datetime | None  # the earliest that is proved
    final_at: datetime | None
    disputes_open: int
    content: str


async def list_statements(
    connection: AsyncConnection, *, client_id: int | None = None, statement_id: int | None = None
) -> list[StatementRow]:
    """Statements that were sent, the newest first: of a client, or the one."""
    async with connection.cursor(row_factory=class_row(StatementRow)) as rows:
        await rows.execute(
            """
            SELECT t.id, t.client_id, t.month, t.net_cents, t.collected_cents, t.content,
                   e.sent_at, e.delivered_at, e.final_at,
                   (SELECT count(*) FROM dispute d JOIN statement_line l
                       ON l.id = d.statement_line_id
                     WHERE l.statement_id = t.id AND d.decided_at IS NULL) AS disputes_open
              FROM statement t
              LEFT JOIN LATERAL (
                    SELECT min(at) FILTER (WHERE kind = 'sent') AS sent_at,
                           min(at) FILTER (WHERE kind IN ('delivered', 'opened')) AS delivered_at,
                           min(at) FILTER (WHERE kind = 'final') AS final_at
                      FROM statement_event WHERE statement_id = t.id) e ON true
             WHERE e.sent_at IS NOT NULL
               AND (%(client_id)s::bigint IS NULL OR t.client_id = %(client_id)s)
               AND (%(statement_id)s::bigint IS NULL OR t.id = %(statement_id)s)
             ORDER BY t.month DESC, t.id DESC
            """,
            {"client_id": client_id, "statement_id": statement_id},
        )
        return await rows.fetchall()


@dataclass(frozen=True, slots=True)
class LineRow:
    """A session on a statement, as its reader sees it, with the last dispute about it."""

    id: int
    position: int
    session_id: int
    station_id: str
    evse_id: int | None
    evse_static: Mapping[str, object]
    site: str
    person_id: int
    name: str
    started_at: datetime
    ended_at: datetime
    energy_wh: int
    amount_cents: int
    collected_cents: int  # by this statement, and by those before
    vat_percent: Decimal  # the highest, where a session has several
    invoice_id: int | None
    invoice_number: str
    is_estimated: bool
    is_late: bool
    dispute_id: int | None
    opened_at: datetime | None
    reason: str | None
    decided_at: datetime | None
    decision: str | None
    decision_reason: str | None


async def list_lines(
    connection: AsyncConnection,
    statement_id: int,
    *,
    line_id: int | None = None,
    offset: int = 0,
    limit: int = 1,
) -> list[LineRow]:
    """Sessions of a statement in their order, a page of them or the one."""
    async with connection.cursor(row_factory=class_row(LineRow)) as rows:
        await rows.execute(
            """
            SELECT l.id, l.position, l.session_id, st.id AS station_id, p.evse_id,
                   coalesce(e.static, '{}') AS evse_static,
                   coalesce(nullif(site.name, ''), p.site_id, '') AS site, p.person_id,
                   coalesce(nullif(trim(n.given_name || ' ' || n.family_name), ''), n.email, '')
                   AS name,
                   p.started_at, p.ended_at, p.energy_wh, l.amount_cents,
                   coalesce((SELECT sum(r.amount_cents) FROM receipt_share r
                               JOIN statement_line c ON c.receipt_share_id = r.id
                              WHERE r.session_id = l.session_id
                                AND c.statement_id <= l.statement_id), 0)::bigint
                   AS collected_cents,
                   coalesce((SELECT max((part ->> 'vat_percent')::numeric)
                               FROM jsonb_array_elements(p.lines) part), 0) AS vat_percent,
                   i.id AS invoice_id, coalesce(i.number, '') AS invoice_number,
                   p.is_estimated, l.kind = 'late_session' AS is_late,
                   d.id AS dispute_id, d.opened_at, d.reason, d.decided_at, d.decision,
                   d.decision_reason
              FROM statement_line l JOIN priced_session p USING (session_id)
              JOIN station st USING (station_key)
              LEFT JOIN evse e ON e.station_key = p.station_key AND e.evse_id = p.evse_id
              LEFT JOIN site ON site.id = p.site_id
              LEFT JOIN person n ON n.id = p.person_id
              LEFT JOIN invoice i ON i.id = l.invoice_id
              LEFT JOIN LATERAL (SELECT * FROM dispute WHERE statement_line_id = l.id
                                  ORDER BY id DESC LIMIT 1) d ON true
             WHERE l.statement_id = %(statement_id)s AND l.kind IN ('session', 'late_session')
               AND (%(line_id)s::bigint IS NULL OR l.id = %(line_id)s)
             ORDER BY l.position LIMIT %(limit)s OFFSET %(offset)s
            """,
            {"statement_id": statement_id, "line_id": line_id, "limit": limit, "offset": offset},
        )
        return await rows.fetchall()


async def find_line_dispute(
    connection: AsyncConnection, statement_id: int, position: int
) -> str | None:
    """How the last dispute about a line ended, or that it is open; None: there is none."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT coalesce(d.decision, 'open')
              FROM statement_line l JOIN dispute d ON d.statement_line_id = l.id
             WHERE l.statement_id = %s AND l.position = %s ORDER BY d.id DESC LIMIT 1
            """,
            (statement_id, position),
        )
        found: str | None = await rows.fetchone()
        return found


async def count_lines(
    connection: AsyncConnection, statement_id: int, *, before: int | None = None
) -> int:
    """How many sessions are on a statement; `before`: those above a position only."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM statement_line
         WHERE statement_id = %(statement_id)s AND kind IN ('session', 'late_session')
           AND (%(before)s::integer IS NULL OR position < %(before)s)
        """,
        {"statement_id": statement_id, "before": before},
    )


async def get_file(
    connection: AsyncConnection, statement_id: int, format: str, language: str
) -> bytes | None:
    """A statement's file as it was kept; None: none was made yet."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT content FROM statement_file
             WHERE statement_id = %(statement_id)s AND format = %(format)s
               AND language = %(language)s
            """,
            {"statement_id": statement_id, "format": format, "language": language},
        )
        found: bytes | None = await rows.fetchone()
        return found


async def note_opened(
    connection: AsyncConnection, statement_id: int, person_id: int, now: datetime
) -> None:
    """A manager has opened the statement on its page, for the first time: it has reached her. In
    the machines' role, after her own showed it to her."""
    await connection.execute(
        """
        INSERT INTO statement_event (statement_id, client_id, kind, at, proof)
        SELECT id, client_id, 'opened', %(now)s,
               jsonb_build_object('channel', 'page', 'person_id', %(person_id)s::bigint)
          FROM statement
         WHERE id = %(statement_id)s
           AND NOT EXISTS (SELECT FROM statement_event e
                            WHERE e.statement_id = statement.id AND e.kind = 'opened')
        """,
        {"statement_id": statement_id, "person_id": person_id, "now": now},
    )
