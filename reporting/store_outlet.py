"""SQL of outlets and of what they have to deliver: one statement, one named function.

What is due goes by `at` and id. Of one object only the first that waits can be claimed, and none
while another of it is leased.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class NewItem:
    """Something to be delivered; `source_key` is unique within the outlet."""

    client_id: int
    object_key: str
    source_key: str
    kind: str
    at: datetime
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """A claimed item; doubtful_since None: nothing of it is under way at the peer."""

    id: int
    object_key: str
    source_key: str
    kind: str
    at: datetime
    body: dict[str, Any]
    attempts: int
    doubtful_since: datetime | None
    remote_id: str | None
    give_up_at: datetime
    previous_kind: str | None  # of the newest of the object that was delivered


@dataclass(frozen=True, slots=True)
class State:
    """How an outlet fares."""

    name: str
    failures: int
    next_at: datetime | None
    failed_at: datetime | None
    went_at: datetime | None
    last_error: str | None
    waiting: int
    oldest_at: datetime | None  # since when the first that waits has been there
    dead: int


@dataclass(frozen=True, slots=True)
class ToldRow:
    """The newest thing that was said of an object, or is about to be. is_void: it was dropped, and
    not by a person."""

    object_key: str
    client_id: int
    kind: str
    body: dict[str, Any]
    number: int  # how many were made
    is_void: bool
    was_tried: bool  # whether the peer was told anything of it


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item for people."""

    id: int
    outlet: str
    client_id: int
    object_key: str
    source_key: str
    kind: str
    at: datetime
    body: dict[str, Any]
    status: str
    attempts: int
    doubtful_since: datetime | None
    remote_id: str | None
    next_at: datetime
    created_at: datetime
    tried_at: datetime | None
    finished_at: datetime | None
    reason: str | None
    reply: str | None
    settled_by: str | None


async def add_outlet(connection: AsyncConnection, name: str) -> None:
    """Make it known; one that is known stays as it is."""
    await connection.execute(
        "INSERT INTO outlet (name) VALUES (%s) ON CONFLICT (name) DO NOTHING", (name,)
    )


async def insert_items(
    connection: AsyncConnection,
    outlet: str,
    items: Sequence[NewItem],
    now: datetime,
    give_up_at: datetime,
) -> int:
    """Add what is new; how many were. What another worker added meanwhile is left alone."""
    if not items:
        return 0
    cursor = await connection.execute(
        """
        INSERT INTO outlet_item (outlet, client_id, object_key, source_key, kind, at, body, next_at,
                                 give_up_at, created_at)
        SELECT %s, n.*, %s, %s, %s
          FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::timestamptz[],
                      %s::jsonb[]) AS n
        ON CONFLICT (outlet, source_key) DO NOTHING
        """,
        (
            outlet,
            now,
            give_up_at,
            now,
            [item.client_id for item in items],
            [item.object_key for item in items],
            [item.source_key for item in items],
            [item.kind for item in items],
            [item.at for item in items],
            [Jsonb(item.body) for item in items],
        ),
    )
    return cursor.rowcount


async def lock_outlet(connection: AsyncConnection, name: str) -> tuple[int, datetime | None]:
    """(failures, no request before), locked: claims of one outlet go one after the other."""
    cursor = await connection.execute(
        "SELECT failures, next_at FROM outlet WHERE name = %s FOR UPDATE", (name,)
    )
    row = await cursor.fetchone()
    assert row is not None, f"the outlet {name} was never made known"
    return row[0], row[1]


async def claim(
    connection: AsyncConnection,
    outlet: str,
    lease: UUID,
    *,
    now: datetime,
    until: datetime,
    limit: int,
) -> list[Item]:
    """Lease up to `limit` items that are due, each of another object, in order."""
    async with connection.cursor(row_factory=class_row(Item)) as rows:
        await rows.execute(
            """
            WITH due AS MATERIALIZED (
                SELECT i.id FROM outlet_item i
                 WHERE i.outlet = %(outlet)s AND i.status = 'waiting' AND i.next_at <= %(now)s
                   AND (i.leased_until IS NULL OR i.leased_until <= %(now)s)
                   AND NOT EXISTS (
                       SELECT FROM outlet_item o
                        WHERE o.outlet = i.outlet AND o.object_key = i.object_key
                          AND o.status = 'waiting' AND o.id <> i.id
                          AND ((o.at, o.id) < (i.at, i.id) OR o.leased_until > %(now)s))
                 ORDER BY i.at, i.id LIMIT %(limit)s FOR UPDATE
            ), claimed AS (
                UPDATE outlet_item i
                   SET lease = %(lease)s, leased_until = %(until)s
                  FROM due WHERE i.id = due.id
                RETURNING i.*
            )
            SELECT c.id, c.object_key, c.source_key, c.kind, c.at, c.body, c.attempts,
                   c.doubtful_since, c.remote_id, c.give_up_at,
                   (SELECT p.kind FROM outlet_item p
                     WHERE p.outlet = c.outlet AND p.object_key = c.object_key
                       AND p.status = 'sent'
                     ORDER BY p.finished_at DESC, p.id DESC LIMIT 1) AS previous_kind
              FROM claimed c ORDER BY c.at, c.id
            """,
            {"outlet": outlet, "lease": lease, "now": now, "until": until, "limit": limit},
        )
        return await rows.fetchall()


async def begin(
    connection: AsyncConnection, ids: Sequence[int], lease: UUID, now: datetime, until: datetime
) -> set[int]:
    """They are about to be sent: in doubt from now on, an attempt more, the lease renewed. Those
    that are still ours."""
    cursor = await connection.execute(
        """
        UPDATE outlet_item
           SET doubtful_since = %(now)s, remote_id = NULL, attempts = attempts + 1,
               tried_at = %(now)s, leased_until = %(until)s
         WHERE id = ANY (%(ids)s) AND lease = %(lease)s AND status = 'waiting'
           AND leased_until > %(now)s
        RETURNING id
        """,
        {"ids": list(ids), "lease": lease, "now": now, "until": until},
    )
    return {row[0] for row in await cursor.fetchall()}


async def refused_together(connection: AsyncConnection, ids: Sequence[int], lease: UUID) -> None:
    """The peer took none of them: they are in doubt no more, and still ours."""
    await connection.execute(
        """
        UPDATE outlet_item SET doubtful_since = NULL
         WHERE id = ANY (%s) AND lease = %s AND status = 'waiting'
        """,
        (list(ids), lease),
    )


async def finish(
    connection: AsyncConnection,
    item_id: int,
    lease: UUID,
    *,
    status: str,
    now: datetime,
    reason: str | None = None,
    reply: str | None = None,
    remote_id: str | None = None,
    is_doubtful: bool = False,
) -> None:
    """The end of an item. That it was delivered is recorded whoever holds it by now; is_doubtful:
    whether it was, nobody knows."""
    await connection.execute(
        """
        UPDATE outlet_item
           SET status = %(status)s, reason = %(reason)s, reply = coalesce(%(reply)s, reply),
               remote_id = coalesce(%(remote_id)s, remote_id), finished_at = %(now)s, lease = NULL,
               leased_until = NULL,
               doubtful_since = CASE WHEN %(is_doubtful)s THEN doubtful_since END
         WHERE id = %(id)s AND status <> 'sent'
           AND (%(status)s = 'sent' OR (status = 'waiting' AND lease = %(lease)s))
        """,
        {
            "id": item_id,
            "lease": lease,
            "status": status,
            "reason": reason,
            "reply": reply,
            "remote_id": remote_id,
            "is_doubtful": is_doubtful,
            "now": now,
        },
    )


async def put_back(
    connection: AsyncConnection,
    item_id: int,
    lease: UUID,
    *,
    next_at: datetime,
    is_doubtful: bool,
    reply: str | None,
    remote_id: str | None = None,
) -> None:
    """Give the lease back until then; is_doubtful: the peer may have it, or says that it has."""
    await connection.execute(
        """
        UPDATE outlet_item
           SET next_at = %(next_at)s, reply = coalesce(%(reply)s, reply),
               remote_id = coalesce(%(remote_id)s, remote_id),
               doubtful_since = CASE WHEN %(is_doubtful)s THEN doubtful_since END,
               lease = NULL, leased_until = NULL
         WHERE id = %(id)s AND lease = %(lease)s AND status = 'waiting'
        """,
        {
            "id": item_id,
            "lease": lease,
            "next_at": next_at,
            "is_doubtful": is_doubtful,
            "reply": reply,
            "remote_id": remote_id,
        },
    )


async def take_place(
    connection: AsyncConnection, outlet: str, now: datetime, gap_s: float
) -> datetime:
    """The moment of the outlet's next request, so that all workers together keep the gap."""
    cursor = await connection.execute(
        """
        UPDATE outlet
           SET free_at = greatest(free_at, %(now)s) + make_interval(secs => %(gap_s)s)
         WHERE name = %(outlet)s RETURNING free_at - make_interval(secs => %(gap_s)s)
        """,
        {"outlet": outlet, "now": now, "gap_s": gap_s},
    )
    row = await cursor.fetchone()
    assert row is not None
    found: datetime = row[0]
    return found


async def note_answer(
    connection: AsyncConnection, outlet: str, delivered_at: datetime | None
) -> None:
    """The peer is there. delivered_at None: it took nothing."""
    await connection.execute(
        """
        UPDATE outlet SET failures = 0, next_at = NULL, went_at = coalesce(%s, went_at)
         WHERE name = %s
        """,
        (delivered_at, outlet),
    )


async def note_failure(
    connection: AsyncConnection, outlet: str, now: datetime, next_at: datetime, error: str
) -> None:
    """The peer is away, or in trouble: nothing is asked of it before `next_at`."""
    await connection.execute(
        """
        UPDATE outlet
           SET failures = failures + 1, next_at = greatest(next_at, %(next_at)s),
               failed_at = %(now)s, last_error = %(error)s
         WHERE name = %(outlet)s
        """,
        {"outlet": outlet, "now": now, "next_at": next_at, "error": error},
    )


async def give_up_overdue(connection: AsyncConnection, outlet: str, now: datetime) -> int:
    """Make dead letters of what was not delivered in its time; how many."""
    cursor = await connection.execute(
        """
        UPDATE outlet_item
           SET status = 'dead', reason = 'not delivered in time', finished_at = %(now)s,
               lease = NULL, leased_until = NULL
         WHERE outlet = %(outlet)s AND status = 'waiting' AND give_up_at <= %(now)s
           AND (leased_until IS NULL OR leased_until <= %(now)s)
        """,
        {"outlet": outlet, "now": now},
    )
    return cursor.rowcount


async def supersede(
    connection: AsyncConnection, outlet: str, object_keys: Sequence[str], now: datetime
) -> None:
    """Drop what nobody sent yet, or the peer refused, of objects of which something newer is to be
    said. What may be under way stays."""
    await connection.execute(
        """
        UPDATE outlet_item
           SET status = 'dropped', reason = 'something newer is said', finished_at = %(now)s
         WHERE outlet = %(outlet)s AND object_key = ANY (%(keys)s)
           AND (status = 'dead' OR (status = 'waiting' AND attempts = 0 AND lease IS NULL))
        """,
        {"outlet": outlet, "keys": list(object_keys), "now": now},
    )


async def drop_old(connection: AsyncConnection, outlet: str, before: datetime, limit: int) -> int:
    """Forget what was delivered or dropped before; how many."""
    cursor = await connection.execute(
        """
        DELETE FROM outlet_item WHERE id IN (
            SELECT id FROM outlet_item
             WHERE outlet = %s AND status IN ('sent', 'dropped') AND finished_at < %s LIMIT %s)
        """,
        (outlet, before, limit),
    )
    return cursor.rowcount


async def list_states(connection: AsyncConnection) -> list[State]:
    """How every outlet fares, by name."""
    async with connection.cursor(row_factory=class_row(State)) as rows:
        await rows.execute(
            """
            SELECT o.name, o.failures, o.next_at, o.failed_at, o.went_at, o.last_error,
                   count(i.id) FILTER (WHERE i.status = 'waiting') AS waiting,
                   min(i.created_at) FILTER (WHERE i.status = 'waiting') AS oldest_at,
                   count(i.id) FILTER (WHERE i.status = 'dead') AS dead
              FROM outlet o
              LEFT JOIN outlet_item i ON i.outlet = o.name AND i.status IN ('waiting', 'dead')
             GROUP BY o.name ORDER BY o.name
            """
        )
        return await rows.fetchall()


async def list_told(connection: AsyncConnection, outlet: str) -> list[ToldRow]:
    """Of every object the newest item that is said, or was tried; or else the newest."""
    async with connection.cursor(row_factory=class_row(ToldRow)) as rows:
        await rows.execute(
            """
            SELECT DISTINCT ON (object_key) object_key, client_id, kind, body, number,
                   is_void, was_tried
              FROM (SELECT object_key, client_id, kind, body, id,
                           status = 'dropped' AND settled_by IS NULL AS is_void,
                           status = 'dropped' AND settled_by IS NULL AND tried_at IS NULL
                           AS is_nothing,
                           count(*) OVER (PARTITION BY object_key) AS number,
                           bool_or(tried_at IS NOT NULL) OVER (PARTITION BY object_key)
                           AS was_tried
                      FROM outlet_item WHERE outlet = %(outlet)s) i
             ORDER BY object_key, is_nothing, id DESC
            """,
            {"outlet": outlet},
        )
        return await rows.fetchall()


async def list_items(
    connection: AsyncConnection,
    *,
    item_id: int | None = None,
    outlet: str | None = None,
    status: str | None = None,
    object_key: str | None = None,
    limit: int = 1,
    cursor: Cursor | None = None,
) -> list[ItemRow]:
    """Up to `limit` items, newest first."""
    async with connection.cursor(row_factory=class_row(ItemRow)) as rows:
        await rows.execute(
            """
            SELECT id, outlet, client_id, object_key, source_key, kind, at, body, status, attempts,
                   doubtful_since, remote_id, next_at, created_at, tried_at, finished_at, reason,
                   reply, settled_by
              FROM outlet_item
             WHERE (%(id)s::bigint IS NULL OR id = %(id)s)
               AND (%(outlet)s::text IS NULL OR outlet = %(outlet)s)
               AND (%(status)s::text IS NULL OR status = %(status)s)
               AND (%(object_key)s::text IS NULL OR object_key = %(object_key)s)
               AND (%(after)s::bigint IS NULL OR id < %(after)s)
             ORDER BY id DESC LIMIT %(limit)s
            """,
            {
                "id": item_id,
                "outlet": outlet,
                "status": status,
                "object_key": object_key,
                "after": cursor.key[0] if cursor else None,
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_items(
    connection: AsyncConnection,
    *,
    outlet: str | None,
    status: str | None,
    object_key: str | None,
) -> int:
    """How many items those filters leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM outlet_item
         WHERE (%(outlet)s::text IS NULL OR outlet = %(outlet)s)
           AND (%(status)s::text IS NULL OR status = %(status)s)
           AND (%(object_key)s::text IS NULL OR object_key = %(object_key)s)
        """,
        {"outlet": outlet, "status": status, "object_key": object_key},
    )


async def retry_dead(
    connection: AsyncConnection, item_id: int, by: str, now: datetime, give_up_at: datetime
) -> bool:
    """Let a dead letter wait again, as if it had never been sent; False when it is none."""
    cursor = await connection.execute(
        """
        UPDATE outlet_item
           SET status = 'waiting', reason = NULL, finished_at = NULL, attempts = 0,
               doubtful_since = NULL, remote_id = NULL, next_at = %(now)s,
               give_up_at = %(give_up_at)s, settled_by = %(by)s
         WHERE id = %(id)s AND status = 'dead'
        """,
        {"id": item_id, "by": by, "now": now, "give_up_at": give_up_at},
    )
    return cursor.rowcount == 1


async def retry_all_dead(
    connection: AsyncConnection, outlet: str, by: str, now: datetime, give_up_at: datetime
) -> int:
    """Let all dead letters of an outlet wait again but those in doubt, of which each wants a look;
    how many."""
    cursor = await connection.execute(
        """
        UPDATE outlet_item
           SET status = 'waiting', reason = NULL, finished_at = NULL, attempts = 0,
               next_at = %(now)s, give_up_at = %(give_up_at)s, settled_by = %(by)s
         WHERE outlet = %(outlet)s AND status = 'dead' AND doubtful_since IS NULL
        """,
        {"outlet": outlet, "by": by, "now": now, "give_up_at": give_up_at},
    )
    return cursor.rowcount


async def give_up_dead(
    connection: AsyncConnection, item_id: int, by: str, reason: str, now: datetime
) -> bool:
    """Take a dead letter off the desk; False when it is none."""
    cursor = await connection.execute(
        """
        UPDATE outlet_item
           SET status = 'dropped', reason = %(reason)s, finished_at = %(now)s, settled_by = %(by)s
         WHERE id = %(id)s AND status = 'dead'
        """,
        {"id": item_id, "by": by, "reason": reason, "now": now},
    )
    return cursor.rowcount == 1
