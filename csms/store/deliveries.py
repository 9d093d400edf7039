"""SQL of deliveries: claimed under a lease, sent without any lock, recorded; and their log."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that we hold the lease of, with all that sending takes."""

    id: int
    message_id: UUID
    attempts: int  # this one included
    created_at: datetime
    give_up_at: datetime
    notification_id: int
    event: str
    at: datetime
    client_id: int
    subject: str
    data: dict[str, Any]
    secret: bytes | None
    person_id: int | None
    email: str | None  # the person's now
    given_name: str | None
    language: str | None
    quiet_from_minute: int | None
    quiet_to_minute: int | None
    quiet_time_zone: str | None
    webhook_id: int | None
    webhook_url: str | None
    webhook_secret: bytes | None
    webhook_retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One line of the log."""

    id: int
    message_id: UUID
    notification_id: int
    event: str
    at: datetime
    client_id: int
    subject: str
    channel: str
    person_id: int | None
    webhook_id: int | None
    status: str
    reason: str | None
    attempts: int
    created_at: datetime
    next_at: datetime
    tried_at: datetime | None
    finished_at: datetime | None
    address: str | None  # masked
    reply: str | None


@dataclass(frozen=True, slots=True)
class OwnRow:
    """One line of the log as the person herself sees it."""

    id: int
    message_id: UUID
    event: str
    at: datetime
    subject: str
    channel: str
    status: str
    reason: str | None
    finished_at: datetime | None
    address: str | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many wait on a channel, since when, and how many were given up."""

    channel: str
    waiting: int
    oldest_at: datetime | None
    dead: int


async def claim(
    connection: AsyncConnection, channel: str, lease: UUID, now: datetime, until: datetime
) -> Claimed | None:
    """Take the lease of the delivery that is due first, and count an attempt; None: none is due."""
    async with connection.cursor(row_factory=class_row(Claimed)) as rows:
        await rows.execute(
            """
            WITH picked AS MATERIALIZED (
                SELECT id FROM notification_delivery
                 WHERE status = 'waiting' AND channel = %(channel)s AND next_at <= %(now)s
                   AND give_up_at > %(now)s
                   AND (leased_until IS NULL OR leased_until <= %(now)s)
                 ORDER BY next_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
            ), claimed AS (
                UPDATE notification_delivery d
                   SET lease = %(lease)s, leased_until = %(until)s, attempts = attempts + 1,
                       tried_at = %(now)s
                  FROM picked WHERE d.id = picked.id
                RETURNING d.id, d.message_id, d.attempts, d.created_at, d.give_up_at,
                          d.notification_id, d.person_id, d.webhook_id
            )
            SELECT c.id, c.message_id, c.attempts, c.created_at, c.give_up_at, c.notification_id,
                   n.event, n.at, n.client_id, n.subject, n.data, n.secret,
                   c.person_id, p.email, p.given_name, p.language,
                   q.from_minute AS quiet_from_minute, q.to_minute AS quiet_to_minute,
                   q.time_zone AS quiet_time_zone, c.webhook_id, w.url AS webhook_url,
                   w.secret AS webhook_secret, w.retired_at AS webhook_retired_at
              FROM claimed c JOIN notification n ON n.id = c.notification_id
              LEFT JOIN person p ON p.id = c.person_id
              LEFT JOIN quiet_hours q ON q.person_id = c.person_id
              LEFT JOIN webhook w ON w.id = c.webhook_id
            """,
            {"channel": channel, "lease": lease, "now": now, "until": until},
        )
        return await rows.fetchone()


async def get_statement_pdf(
    connection: AsyncConnection, client_id: int, statement_id: int
) -> bytes | None:
    """A client's statement as it was kept in French; None: it is not made."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT content FROM statement_file
             WHERE client_id = %s AND statement_id = %s AND format = 'pdf' AND language = 'fr'
            """,
            (client_id, statement_id),
        )
        found: bytes | None = await rows.fetchone()
        return found


async def finish(
    connection: AsyncConnection,
    claimed: Claimed,
    lease: UUID,
    *,
    status: str,
    reason: str | None,
    reply: str | None,
    address_masked: str | None,
    address_digest: bytes | None,
    now: datetime,
) -> bool:
    """Record the end of a delivery, and wipe the secret that nobody waits for any more.

    That it was sent is recorded whoever holds the lease by now; anything else only by the holder.
    """
    cursor = await connection.execute(
        """
        WITH finished AS (
            UPDATE notification_delivery
               SET status = %(status)s, reason = %(reason)s, reply = %(reply)s,
                   address_masked = %(masked)s, address_digest = %(digest)s, finished_at = %(now)s,
                   lease = NULL, leased_until = NULL
             WHERE id = %(id)s AND status <> 'sent'
               AND (%(status)s = 'sent' OR (status = 'waiting' AND lease = %(lease)s))
            RETURNING id, notification_id
        ), wiped AS (
            UPDATE notification n SET secret = NULL FROM finished f
             WHERE n.id = f.notification_id AND n.secret IS NOT NULL
               AND NOT EXISTS (SELECT FROM notification_delivery d
                                WHERE d.notification_id = n.id AND d.id <> f.id
                                  AND d.status = 'waiting')
        )
        SELECT id FROM finished
        """,
        {
            "id": claimed.id,
            "lease": lease,
            "status": status,
            "reason": reason,
            "reply": reply,
            "masked": address_masked,
            "digest": address_digest,
            "now": now,
        },
    )
    return await cursor.fetchone() is not None


async def try_later(
    connection: AsyncConnection,
    claimed: Claimed,
    lease: UUID,
    *,
    next_at: datetime,
    reply: str | None,
    address_masked: str | None,
    address_digest: bytes | None,
) -> None:
    """Record an attempt that failed for now, and give the lease back. Other deliveries to the same
    webhook wait as long: it is the receiver that is in trouble."""
    await connection.execute(
        """
        WITH failed AS (
            UPDATE notification_delivery
               SET next_at = %(next_at)s, reply = %(reply)s, address_masked = %(masked)s,
                   address_digest = %(digest)s, lease = NULL, leased_until = NULL
             WHERE id = %(id)s AND lease = %(lease)s AND status = 'waiting'
            RETURNING id, webhook_id
        )
        UPDATE notification_delivery d SET next_at = %(next_at)s
          FROM failed f
         WHERE d.webhook_id = f.webhook_id AND d.id <> f.id AND d.status = 'waiting'
           AND d.next_at < %(next_at)s AND d.leased_until IS NULL
        """,
        {
            "id": claimed.id,
            "lease": lease,
            "next_at": next_at,
            "reply": reply,
            "masked": address_masked,
            "digest": address_digest,
        },
    )


async def postpone(
    connection: AsyncConnection,
    claimed: Claimed,
    lease: UUID,
    until: datetime,
    give_up_at: datetime,
) -> None:
    """Give the lease back: it is not to be sent before that moment. No attempt was made."""
    await connection.execute(
        """
        UPDATE notification_delivery
           SET next_at = %(until)s, give_up_at = greatest(give_up_at, %(give_up_at)s),
               attempts = attempts - 1, lease = NULL, leased_until = NULL
         WHERE id = %(id)s AND lease = %(lease)s AND status = 'waiting'
        """,
        {"id": claimed.id, "lease": lease, "until": until, "give_up_at": give_up_at},
    )


async def give_up_overdue(
    connection: AsyncConnection, now: datetime, channels: list[str], limit: int
) -> int:
    """Make dead letters of what was not delivered in its time, and wipe secrets; how many."""
    cursor = await connection.execute(
        """
        WITH overdue AS MATERIALIZED (
            SELECT id FROM notification_delivery
             WHERE status = 'waiting' AND channel = ANY (%(channels)s) AND give_up_at <= %(now)s
               AND (leased_until IS NULL OR leased_until <= %(now)s)
             ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
        ), dead AS (
            UPDATE notification_delivery d
               SET status = 'dead', reason = 'not delivered in time', finished_at = %(now)s,
                   lease = NULL, leased_until = NULL
              FROM overdue WHERE d.id = overdue.id
            RETURNING d.id, d.notification_id
        ), wiped AS (
            UPDATE notification n SET secret = NULL
             WHERE n.id IN (SELECT notification_id FROM dead) AND n.secret IS NOT NULL
               AND NOT EXISTS (SELECT FROM notification_delivery d
                                WHERE d.notification_id = n.id AND d.status = 'waiting'
                                  AND d.id NOT IN (SELECT id FROM dead))
        )
        SELECT count(*) FROM dead
        """,
        {"now": now, "channels": channels, "limit": limit},
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def retry_dead(
    connection: AsyncConnection, delivery_id: int, now: datetime, give_up_at: datetime
) -> bool:
    """Let a dead letter wait again; False when it is none."""
    cursor = await connection.execute(
        """
        UPDATE notification_delivery
           SET status = 'waiting', reason = NULL, finished_at = NULL, attempts = 0,
               next_at = %(now)s, give_up_at = %(give_up_at)s
         WHERE id = %(id)s AND status = 'dead'
        """,
        {"id": delivery_id, "now": now, "give_up_at": give_up_at},
    )
    return cursor.rowcount == 1


async def insert_ping(
    connection: AsyncConnection, webhook_id: int, event: str, now: datetime, give_up_at: datetime
) -> int:
    """A notification to one webhook alone, resolved; the id of its delivery."""
    cursor = await connection.execute(
        """
        WITH made AS (
            INSERT INTO notification (event, at, client_id, subject, resolved_at)
            SELECT %(event)s, %(now)s, client_id, 'webhook ' || id, %(now)s FROM webhook
             WHERE id = %(webhook_id)s
            RETURNING id, client_id
        )
        INSERT INTO notification_delivery
               (notification_id, client_id, channel, webhook_id, created_at, next_at, give_up_at)
        SELECT id, client_id, 'webhook', %(webhook_id)s, %(now)s, %(now)s, %(give_up_at)s FROM made
        RETURNING id
        """,
        {"webhook_id": webhook_id, "event": event, "now": now, "give_up_at": give_up_at},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def backlogs(connection: AsyncConnection) -> list[Backlog]:
    """How it stands, by channel."""
    async with connection.cursor(row_factory=class_row(Backlog)) as rows:
        await rows.execute(
            """
            SELECT c.channel, count(d.id) FILTER (WHERE d.status = 'waiting') AS waiting,
                   min(d.created_at) FILTER (WHERE d.status = 'waiting') AS oldest_at,
                   count(d.id) FILTER (WHERE d.status = 'dead') AS dead
              FROM (VALUES ('email'), ('webhook')) c (channel)
              LEFT JOIN notification_delivery d
                     ON d.channel = c.channel AND d.status IN ('waiting', 'dead')
             GROUP BY c.channel ORDER BY c.channel
            """
        )
        return await rows.fetchall()


async def get_delivery(connection: AsyncConnection, delivery_id: int) -> DeliveryRow | None:
    """One line of the log."""
    found = await list_deliveries(connection, delivery_id=delivery_id)
    return found[0] if found else None


async def list_deliveries(
    connection: AsyncConnection,
    *,
    delivery_id: int | None = None,
    status: str | None = None,
    channel: str | None = None,
    event: str | None = None,
    person_id: int | None = None,
    client_id: int | None = None,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
    limit: int = 1,
    cursor: Cursor | None = None,
) -> list[DeliveryRow]:
    """Up to `limit` lines of the log, newest first."""
    async with connection.cursor(row_factory=class_row(DeliveryRow)) as rows:
        await rows.execute(
            """
            SELECT d.id, d.message_id, d.notification_id, n.event, n.at, d.client_id, n.subject,
                   d.channel, d.person_id, d.webhook_id, d.status, d.reason, d.attempts,
                   d.created_at, d.next_at, d.tried_at, d.finished_at, d.address_masked AS address,
                   d.reply
              FROM notification_delivery d JOIN notification n ON n.id = d.notification_id
             WHERE (%(id)s::bigint IS NULL OR d.id = %(id)s)
               AND (%(status)s::text IS NULL OR d.status = %(status)s)
               AND (%(channel)s::text IS NULL OR d.channel = %(channel)s)
               AND (%(event)s::text IS NULL OR n.event = %(event)s)
               AND (%(person_id)s::bigint IS NULL OR d.person_id = %(person_id)s)
               AND (%(client_id)s::bigint IS NULL OR d.client_id = %(client_id)s)
               AND (%(from_at)s::timestamptz IS NULL OR d.created_at >= %(from_at)s)
               AND (%(to_at)s::timestamptz IS NULL OR d.created_at < %(to_at)s)
               AND (%(after)s::bigint IS NULL OR d.id < %(after)s)
             ORDER BY d.id DESC LIMIT %(limit)s
            """,
            {
                "id": delivery_id,
                "status": status,
                "channel": channel,
                "event": event,
                "person_id": person_id,
                "client_id": client_id,
                "from_at": from_at,
                "to_at": to_at,
                "after": cursor.key[0] if cursor else None,
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_deliveries(
    connection: AsyncConnection,
    *,
    status: str | None,
    channel: str | None,
    event: str | None,
    person_id: int | None,
    client_id: int | None,
    from_at: datetime | None,
    to_at: datetime | None,
) -> int:
    """How many lines those filters leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*)
          FROM notification_delivery d JOIN notification n ON n.id = d.notification_id
         WHERE (%(status)s::text IS NULL OR d.status = %(status)s)
           AND (%(channel)s::text IS NULL OR d.channel = %(channel)s)
           AND (%(event)s::text IS NULL OR n.event = %(event)s)
           AND (%(person_id)s::bigint IS NULL OR d.person_id = %(person_id)s)
           AND (%(client_id)s::bigint IS NULL OR d.client_id = %(client_id)s)
           AND (%(from_at)s::timestamptz IS NULL OR d.created_at >= %(from_at)s)
           AND (%(to_at)s::timestamptz IS NULL OR d.created_at < %(to_at)s)
        """,
        {
            "status": status,
            "channel": channel,
            "event": event,
            "person_id": person_id,
            "client_id": client_id,
            "from_at": from_at,
            "to_at": to_at,
        },
    )


async def list_own(
    connection: AsyncConnection, person_id: int, *, limit: int, cursor: Cursor | None
) -> list[OwnRow]:
    """Up to `limit` lines of a person's own log, newest first."""
    async with connection.cursor(row_factory=class_row(OwnRow)) as rows:
        await rows.execute(
            """
            SELECT d.id, d.message_id, n.event, n.at, n.subject, d.channel, d.status, d.reason,
                   d.finished_at, d.address_masked AS address
              FROM notification_delivery d JOIN notification n ON n.id = d.notification_id
             WHERE d.person_id = %(person_id)s
               AND (%(after)s::bigint IS NULL OR d.id < %(after)s)
             ORDER BY d.id DESC LIMIT %(limit)s
            """,
            {
                "person_id": person_id,
                "after": cursor.key[0] if cursor else None,
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_own(connection: AsyncConnection, person_id: int) -> int:
    """How many lines a person's own log has."""
    return await fetch_count(
        connection,
        "SELECT count(*) FROM notification_delivery WHERE person_id = %(person_id)s",
        {"person_id": person_id},
    )
