"""SQL of notifications: what happened, and what becomes of it until its deliveries are made."""

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb


async def insert_notification(
    connection: AsyncConnection,
    *,
    event: str,
    at: datetime,
    person_id: int | None,
    client_id: int | None,
    subject: str,
    data: dict[str, Any],
    secret: bytes | None,
    key: str | None,
    repeat_s: float,
) -> None:
    """A notification, unless its key is there, or one to the same person about the same subject is
    younger than `repeat_s`. A client of None is the operator."""
    await connection.execute(
        """
        INSERT INTO notification (event, at, person_id, client_id, subject, data, secret, key)
        SELECT %(event)s, %(at)s, %(person_id)s, coalesce(%(client_id)s, operator_client_id()),
               %(subject)s, %(data)s, %(secret)s, %(key)s
         WHERE %(repeat_s)s = 0 OR NOT EXISTS (
               SELECT FROM notification n
                WHERE n.event = %(event)s AND n.subject = %(subject)s
                  AND n.at > %(at)s - make_interval(secs => %(repeat_s)s)
                  AND n.client_id = coalesce(%(client_id)s, operator_client_id())
                  AND n.person_id IS NOT DISTINCT FROM %(person_id)s)
        ON CONFLICT (key) DO NOTHING
        """,
        {
            "event": event,
            "at": at,
            "person_id": person_id,
            "client_id": client_id,
            "subject": subject,
            "data": Jsonb(data),
            "secret": secret,
            "key": key,
            "repeat_s": float(repeat_s),
        },
    )


async def lock_unresolved(connection: AsyncConnection, limit: int) -> list[tuple[int, str, int]]:
    """Notifications whose deliveries are not made yet, oldest first: id, event, client. Locked;
    those that another worker has are left to it."""
    cursor = await connection.execute(
        """
        SELECT id, event, client_id FROM notification WHERE resolved_at IS NULL
         ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
        """,
        (limit,),
    )
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


async def insert_for_persons(
    connection: AsyncConnection, plan: list[dict[str, Any]], now: datetime
) -> None:
    """Deliveries by e-mail to those whom the notifications are for. `plan`: id, category, optional,
    enabled, lasts_s of each."""
    await connection.execute(
        """
        INSERT INTO notification_delivery (notification_id, client_id, channel, person_id, status,
                                           reason, created_at, next_at, give_up_at, finished_at)
        SELECT n.id, n.client_id, 'email', p.id,
               CASE WHEN r.reason IS NULL THEN 'waiting' ELSE 'dropped' END, r.reason, %(now)s,
               %(now)s, n.at + make_interval(secs => x.lasts_s),
               CASE WHEN r.reason IS NOT NULL THEN %(now)s END
          FROM jsonb_to_recordset(%(plan)s) AS x
               (id bigint, category text, optional boolean, enabled boolean, lasts_s float8)
          JOIN notification n ON n.id = x.id
          JOIN person p ON p.id = n.person_id
          LEFT JOIN notification_preference f
                 ON (f.person_id, f.category, f.channel) = (p.id, x.category, 'email')
         CROSS JOIN LATERAL (SELECT CASE
               WHEN x.optional AND NOT coalesce(f.enabled, x.enabled) THEN 'not wanted'
               WHEN x.optional AND p.closed_at IS NOT NULL THEN 'account closed' END) r (reason)
        ON CONFLICT DO NOTHING
        """,
        {"plan": Jsonb(plan), "now": now},
    )


async def insert_for_managers(
    connection: AsyncConnection, plan: list[dict[str, Any]], now: datetime
) -> None:
    """Deliveries by e-mail to those who manage the notifications' clients now. `plan`: as above."""
    await connection.execute(
        """
        INSERT INTO notification_delivery (notification_id, client_id, channel, person_id, status,
                                           reason, created_at, next_at, give_up_at, finished_at)
        SELECT DISTINCT n.id, n.client_id, 'email', p.id,
               CASE WHEN r.reason IS NULL THEN 'waiting' ELSE 'dropped' END, r.reason,
               %(now)s::timestamptz, %(now)s::timestamptz,
               n.at + make_interval(secs => x.lasts_s),
               CASE WHEN r.reason IS NOT NULL THEN %(now)s::timestamptz END
          FROM jsonb_to_recordset(%(plan)s) AS x
               (id bigint, category text, optional boolean, enabled boolean, lasts_s float8)
          JOIN notification n ON n.id = x.id
          JOIN client_manager m ON m.client_id = n.client_id AND m.from_at <= %(now)s
               AND (m.to_at IS NULL OR m.to_at > %(now)s)
          JOIN person p ON p.id = m.person_id AND p.closed_at IS NULL AND p.blocked_at IS NULL
          LEFT JOIN notification_preference f
                 ON (f.person_id, f.category, f.channel) = (p.id, x.category, 'email')
         CROSS JOIN LATERAL (SELECT CASE
               WHEN x.optional AND NOT coalesce(f.enabled, x.enabled) THEN 'not wanted'
               END) r (reason)
        ON CONFLICT DO NOTHING
        """,
        {"plan": Jsonb(plan), "now": now},
    )


async def insert_for_addresses(
    connection: AsyncConnection, plan: list[dict[str, Any]], now: datetime
) -> None:
    """Deliveries by e-mail to nobody with an account: to the operators' address, or to that in the
    notification's secret. `plan`: id, lasts_s of each."""
    await connection.execute(
        """
        INSERT INTO notification_delivery
               (notification_id, client_id, channel, created_at, next_at, give_up_at)
        SELECT n.id, n.client_id, 'email', %(now)s, %(now)s, n.at + make_interval(secs => x.lasts_s)
          FROM jsonb_to_recordset(%(plan)s) AS x (id bigint, lasts_s float8)
          JOIN notification n ON n.id = x.id
        ON CONFLICT DO NOTHING
        """,
        {"plan": Jsonb(plan), "now": now},
    )


async def insert_for_webhooks(
    connection: AsyncConnection,
    plan: list[dict[str, Any]],
    closed_clients: list[int],
    now: datetime,
) -> None:
    """Deliveries to the webhooks of the notifications' clients, but those that are closed, and of
    the operator. `plan`: id, lasts_s of each."""
    await connection.execute(
        """
        INSERT INTO notification_delivery
               (notification_id, client_id, channel, webhook_id, created_at, next_at, give_up_at)
        SELECT n.id, n.client_id, 'webhook', w.id, %(now)s, %(now)s,
               n.at + make_interval(secs => x.lasts_s)
          FROM jsonb_to_recordset(%(plan)s) AS x (id bigint, lasts_s float8)
          JOIN notification n ON n.id = x.id
          JOIN webhook w ON w.retired_at IS NULL
               AND (w.events = '{}' OR n.event = ANY (w.events))
               AND (w.client_id = operator_client_id()
                    OR (w.client_id = n.client_id AND NOT n.client_id = ANY (%(closed)s)))
        ON CONFLICT DO NOTHING
        """,
        {"plan": Jsonb(plan), "now": now, "closed": closed_clients},
    )


async def mark_resolved(connection: AsyncConnection, ids: list[int], now: datetime) -> None:
    """Their deliveries are made; a secret that none of them waits for is wiped."""
    await connection.execute(
        """
        UPDATE notification n
           SET resolved_at = %(now)s,
               secret = CASE WHEN EXISTS (SELECT FROM notification_delivery d
                                           WHERE d.notification_id = n.id AND d.status = 'waiting')
                             THEN secret END
         WHERE id = ANY (%(ids)s)
        """,
        {"ids": ids, "now": now},
    )


async def delete_old(
    connection: AsyncConnection, before: datetime, kept_events: list[str], limit: int
) -> int:
    """Drop what happened before, with its deliveries, unless something of it still waits; how
    many."""
    cursor = await connection.execute(
        """
        DELETE FROM notification WHERE id IN (
            SELECT id FROM notification n
             WHERE at < %(before)s AND resolved_at IS NOT NULL AND NOT event = ANY (%(kept)s)
               AND NOT EXISTS (SELECT FROM notification_delivery d
                                WHERE d.notification_id = n.id AND d.status = 'waiting')
             ORDER BY at LIMIT %(limit)s)
        """,
        {"before": before, "kept": kept_events, "limit": limit},
    )
    return cursor.rowcount


async def forget_person(connection: AsyncConnection, person_id: int, now: datetime) -> None:
    """Take out of the notifications for a person what is personal: only what happened stays."""
    await connection.execute(
        """
        WITH bare AS (
            UPDATE notification SET data = '{}', secret = NULL WHERE person_id = %(person_id)s
        ), nowhere AS (
            UPDATE notification_delivery
               SET address_masked = NULL, address_digest = NULL, reply = NULL,
                   reason = CASE status WHEN 'waiting' THEN 'account erased' ELSE reason END,
                   finished_at = coalesce(finished_at, %(now)s),
                   status = CASE status WHEN 'waiting' THEN 'dropped' ELSE status END
             WHERE person_id = %(person_id)s
        ), undisturbed AS (
            DELETE FROM quiet_hours WHERE person_id = %(person_id)s
        ), unwatched AS (
            UPDATE point_watch SET cancelled_at = %(now)s
             WHERE person_id = %(person_id)s AND cancelled_at IS NULL AND fulfilled_at IS NULL
        )
        DELETE FROM notification_preference WHERE person_id = %(person_id)s
        """,
        {"person_id": person_id, "now": now},
    )
