"""SQL of the sending of statements: what is to be sent, what reached whom, what became final."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb


@dataclass(frozen=True, slots=True)
class UnsentRow:
    """A statement that was not sent yet."""

    id: int
    client_id: int
    client: str
    month: date
    net_cents: int
    content: str


@dataclass(frozen=True, slots=True)
class DeliveredRow:
    """A mail with a statement that a server has accepted."""

    statement_id: int
    client_id: int
    delivery_id: int
    message_id: str
    at: datetime
    reply: str | None


@dataclass(frozen=True, slots=True)
class RunningRow:
    """A statement that was delivered and is not final."""

    id: int
    client_id: int
    sent_at: datetime
    delivered_at: datetime
    disputes_open: int


async def list_unsent(
    connection: AsyncConnection, month: date, client_id: int | None
) -> list[UnsentRow]:
    """Statements of a month that were not sent, by client."""
    async with connection.cursor(row_factory=class_row(UnsentRow)) as rows:
        await rows.execute(
            """
            SELECT s.id, s.client_id, c.name AS client, s.month, s.net_cents, s.content
              FROM statement s JOIN client c ON c.id = s.client_id
             WHERE s.month = %(month)s
               AND (%(client_id)s::bigint IS NULL OR s.client_id = %(client_id)s)
               AND NOT EXISTS (SELECT FROM statement_event e
                                WHERE e.statement_id = s.id AND e.kind = 'sent')
             ORDER BY s.client_id
            """,
            {"month": month, "client_id": client_id},
        )
        return await rows.fetchall()


async def lock_statement(connection: AsyncConnection, statement_id: int) -> bool:
    """Hold the sending of a statement to the end of the transaction; False where it was sent."""
    await connection.execute("SELECT pg_advisory_xact_lock(10, %s)", (statement_id,))
    cursor = await connection.execute(
        "SELECT NOT EXISTS (SELECT FROM statement_event WHERE statement_id = %s AND kind = 'sent')",
        (statement_id,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def list_files(connection: AsyncConnection, statement_id: int, language: str) -> list[str]:
    """The formats in which a statement's file is kept in a language."""
    cursor = await connection.execute(
        "SELECT format FROM statement_file WHERE statement_id = %s AND language = %s",
        (statement_id, language),
    )
    return [row[0] for row in await cursor.fetchall()]


async def insert_file(
    connection: AsyncConnection,
    *,
    statement_id: int,
    client_id: int,
    format: str,
    language: str,
    content: bytes,
    now: datetime,
) -> None:
    """Keep a file of a statement; one that is kept stays."""
    await connection.execute(
        """
        INSERT INTO statement_file (statement_id, client_id, format, language, content, sha256,
                                    created_at)
        VALUES (%(statement_id)s, %(client_id)s, %(format)s, %(language)s, %(content)s,
                sha256(%(content)s), %(now)s)
        ON CONFLICT DO NOTHING
        """,
        {
            "statement_id": statement_id,
            "client_id": client_id,
            "format": format,
            "language": language,
            "content": content,
            "now": now,
        },
    )


async def list_invoices(connection: AsyncConnection, statement_id: int) -> list[int]:
    """Invoices in the client's name that the lines of a statement name."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT i.id FROM statement_line l JOIN invoice i ON i.id = l.invoice_id
         WHERE l.statement_id = %s AND i.issuer = 'client' ORDER BY i.id
        """,
        (statement_id,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def list_contacts(connection: AsyncConnection, client_id: int) -> list[str]:
    """Addresses of the client's contacts for statements who are no managers of it."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT k.email FROM client_contact k
         WHERE k.client_id = %s AND k.email IS NOT NULL AND k.removed_at IS NULL
           AND 'statements' = ANY (k.purposes)
           AND NOT EXISTS (SELECT FROM client_manager m JOIN person p ON p.id = m.person_id
                            WHERE m.client_id = k.client_id AND lower(p.email) = lower(k.email)
                              AND m.from_at <= now() AND (m.to_at IS NULL OR m.to_at > now()))
         ORDER BY k.email
        """,
        (client_id,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def insert_event(
    connection: AsyncConnection,
    statement_id: int,
    client_id: int,
    kind: str,
    at: datetime,
    proof: dict[str, object],
) -> None:
    """What became of a statement, with its proof."""
    await connection.execute(
        """
        INSERT INTO statement_event (statement_id, client_id, kind, at, proof)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (statement_id, client_id, kind, at, Jsonb(proof)),
    )


async def list_delivered(connection: AsyncConnection) -> list[DeliveredRow]:
    """The first mail of each statement that a server has accepted, where none is noted."""
    async with connection.cursor(row_factory=class_row(DeliveredRow)) as rows:
        await rows.execute(
            """
            SELECT DISTINCT ON (s.id) s.id AS statement_id, s.client_id, d.id AS delivery_id,
                   d.message_id::text, d.finished_at AS at, d.reply
              FROM notification n
              JOIN notification_delivery d ON d.notification_id = n.id
              JOIN statement s ON s.id = (n.data ->> 'statement_id')::bigint
                   AND s.client_id = n.client_id
             WHERE n.event IN ('statement.available', 'statement.told') AND d.status = 'sent'
               AND d.channel = 'email'
               AND NOT EXISTS (SELECT FROM statement_event e
                                WHERE e.statement_id = s.id AND e.kind = 'delivered')
             ORDER BY s.id, d.finished_at
            """
        )
        return await rows.fetchall()


async def list_running(connection: AsyncConnection) -> list[RunningRow]:
    """Statements that were delivered and are not final."""
    async with connection.cursor(row_factory=class_row(RunningRow)) as rows:
        await rows.execute(
            """
            SELECT s.id, s.client_id, e.sent_at, e.delivered_at,
                   (SELECT count(*)
                      FROM dispute d JOIN statement_line l ON l.id = d.statement_line_id
                     WHERE l.statement_id = s.id AND d.decided_at IS NULL)::int AS disputes_open
              FROM statement s
              JOIN (SELECT statement_id, min(at) FILTER (WHERE kind = 'sent') AS sent_at,
                           min(at) FILTER (WHERE kind IN ('delivered', 'opened')) AS delivered_at,
                           count(*) FILTER (WHERE kind = 'final') AS finals
                      FROM statement_event GROUP BY statement_id) e ON e.statement_id = s.id
             WHERE e.finals = 0 AND e.sent_at IS NOT NULL AND e.delivered_at IS NOT NULL
             ORDER BY s.id
            """
        )
        return await rows.fetchall()


async def list_late(connection: AsyncConnection, month: date) -> Sequence[str]:
    """Clients under a mandate on a day of the month whose statement was not sent, by name."""
    cursor = await connection.execute(
        """
        SELECT c.name FROM client c
         WHERE NOT c.is_operator AND EXISTS (
               SELECT FROM contract k
                WHERE k.client_id = c.id AND k.signed_on IS NOT NULL
                  AND k.mandate_from_on < (%(month)s::date + interval '1 month')
                  AND coalesce(k.mandate_revoked_on, 'infinity') > %(month)s
                  AND coalesce(k.ends_on, 'infinity') >= %(month)s)
           AND NOT EXISTS (
               SELECT FROM statement s JOIN statement_event e ON e.statement_id = s.id
                WHERE s.client_id = c.id AND s.month = %(month)s AND e.kind = 'sent')
         ORDER BY c.name
        """,
        {"month": month},
    )
    return [row[0] for row in await cursor.fetchall()]
