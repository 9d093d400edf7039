"""SQL of webhooks. Secrets are sealed; only the delivery reads them."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A webhook as it is shown."""

    id: int
    client_id: int
    url: str
    events: list[str]  # none: all that there are
    created_at: datetime
    created_by: str
    updated_at: datetime


async def lock_client(connection: AsyncConnection, client_id: int | None) -> int | None:
    """The client's id, the operator's for None, locked against a second webhook at once; None when
    there is none."""
    cursor = await connection.execute(
        "SELECT id FROM client WHERE id = coalesce(%s, operator_client_id()) FOR NO KEY UPDATE",
        (client_id,),
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def insert_webhook(
    connection: AsyncConnection,
    *,
    client_id: int,
    url: str,
    events: list[str],
    secret: bytes,
    created_by: str,
    now: datetime,
) -> int:
    """A new webhook; its id."""
    cursor = await connection.execute(
        """
        INSERT INTO webhook (client_id, url, events, secret, created_at, created_by, updated_at)
        VALUES (%(client_id)s, %(url)s, %(events)s, %(secret)s, %(now)s, %(created_by)s, %(now)s)
        RETURNING id
        """,
        {
            "client_id": client_id,
            "url": url,
            "events": events,
            "secret": secret,
            "created_by": created_by,
            "now": now,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def change_webhook(
    connection: AsyncConnection,
    webhook_id: int,
    *,
    url: str | None = None,
    events: list[str] | None = None,
    secret: bytes | None = None,
    now: datetime,
) -> bool:
    """Change what is not None; False when there is no such webhook."""
    cursor = await connection.execute(
        """
        UPDATE webhook SET url = coalesce(%(url)s, url), events = coalesce(%(events)s, events),
               secret = coalesce(%(secret)s, secret), updated_at = %(now)s
         WHERE id = %(id)s AND retired_at IS NULL
        """,
        {"id": webhook_id, "url": url, "events": events, "secret": secret, "now": now},
    )
    return cursor.rowcount == 1


async def retire_webhook(connection: AsyncConnection, webhook_id: int, now: datetime) -> bool:
    """Nothing is sent to it from now on; False when there is none."""
    cursor = await connection.execute(
        "UPDATE webhook SET retired_at = %(now)s WHERE id = %(id)s AND retired_at IS NULL",
        {"id": webhook_id, "now": now},
    )
    return cursor.rowcount == 1


async def list_webhooks(
    connection: AsyncConnection,
    *,
    webhook_id: int | None = None,
    client_id: int | None = None,
    limit: int = 1,
    cursor: Cursor | None = None,
) -> list[WebhookRow]:
    """Up to `limit` webhooks that are in use, in the order of their ids."""
    async with connection.cursor(row_factory=class_row(WebhookRow)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, url, events, created_at, created_by, updated_at FROM webhook
             WHERE retired_at IS NULL
               AND (%(id)s::bigint IS NULL OR id = %(id)s)
               AND (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
               AND (%(after)s::bigint IS NULL OR id > %(after)s)
             ORDER BY id LIMIT %(limit)s
            """,
            {
                "id": webhook_id,
                "client_id": client_id,
                "after": cursor.key[0] if cursor else None,
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_webhooks(connection: AsyncConnection, client_id: int | None) -> int:
    """How many webhooks are in use, of one client or of all."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM webhook
         WHERE retired_at IS NULL AND (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
        """,
        {"client_id": client_id},
    )
