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
