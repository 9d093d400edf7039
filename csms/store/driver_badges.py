"""SQL of drivers' badges: whose each is when, why one is blocked, and which are ordered."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class Badge:
    """A badge and whose it is now."""

    token_key: int
    uid: str
    client_id: int
    type: str
    status: str
    blocked_why: str | None
    group_uid: str | None
    retired_at: datetime | None
    person_id: int | None  # None: nobody's
    label: str
    from_at: datetime | None  # since when it is hers


@dataclass(frozen=True, slots=True)
class Held:
    """A badge that a driver has, or had."""

    uid: str
    type: str
    status: str
    blocked_why: str | None
    valid_until: datetime | None
    label: str
    from_at: datetime
    to_at: datetime | None


@dataclass(frozen=True, slots=True)
class Order:
    """A badge that is to be sent to a driver."""

    id: int
    person_id: int
    ordered_at: datetime
    ordered_by: str
    sent_at: datetime | None
    uid: str | None  # None: not activated yet
    activated_at: datetime | None
    cancelled_at: datetime | None


async def lock_badge(connection: AsyncConnection, uid: str, now: datetime) -> Badge | None:
    """The badge of this uid, without case, retired ones too; held until the transaction ends."""
    # At first, in a statement of its own: whoever had it locked may just have given it away.
    await connection.execute("SELECT FROM token WHERE uid_key = lower(%s) FOR UPDATE", (uid,))
    async with connection.cursor(row_factory=class_row(Badge)) as rows:
        await rows.execute(
            """
            SELECT t.token_key, t.uid, t.client_id, t.type, t.status, t.blocked_why, t.group_uid,
                   t.retired_at, b.person_id, coalesce(b.label, '') AS label, b.from_at
              FROM token t
              LEFT JOIN driver_badge b ON b.token_key = t.token_key AND b.from_at <= %(now)s
               AND (b.to_at IS NULL OR b.to_at > %(now)s)
             WHERE t.uid_key = lower(%(uid)s)
            """,
            {"uid": uid, "now": now},
        )
        return await rows.fetchone()


async def set_status(
    connection: AsyncConnection, token_key: int, status: str, blocked_why: str | None
) -> None:
    """The badge is accepted, or blocked for a reason."""
    await connection.execute(
        "UPDATE token SET status = %s, blocked_why = %s, updated_at = now() WHERE token_key = %s",
        (status, blocked_why, token_key),
    )


async def end_assignment(connection: AsyncConnection, token_key: int, now: datetime) -> None:
    """The badge is nobody's from now on; one that was given in this very moment never was hers."""
    await connection.execute(
        """
        WITH never AS (
            DELETE FROM driver_badge WHERE token_key = %(key)s AND from_at >= %(now)s)
        UPDATE driver_badge SET to_at = %(now)s
         WHERE token_key = %(key)s AND from_at < %(now)s AND (to_at IS NULL OR to_at > %(now)s)
        """,
        {"key": token_key, "now": now},
    )


async def set_label(connection: AsyncConnection, token_key: int, label: str, now: datetime) -> None:
    """What its driver calls it."""
    await connection.execute(
        """
        UPDATE driver_badge SET label = %(label)s
         WHERE token_key = %(key)s AND from_at <= %(now)s AND (to_at IS NULL OR to_at > %(now)s)
        """,
        {"key": token_key, "label": label, "now": now},
    )


async def list_held(
    connection: AsyncConnection, person_id: int, *, limit: int, cursor: Cursor | None
) -> list[Held]:
    """Up to `limit` badges that the driver has and had, the newest first; but the virtual one."""
    async with connection.cursor(row_factory=class_row(Held)) as rows:
        await rows.execute(
            """
            SELECT t.uid, t.type, t.status, t.blocked_why, t.valid_until, b.label, b.from_at,
                   b.to_at
              FROM driver_badge b JOIN token t USING (token_key)
             WHERE b.person_id = %(person_id)s AND t.type <> 'Central'
               AND (%(from_at)s::timestamptz IS NULL
                    OR (b.from_at, t.uid_key) < (%(from_at)s, lower(%(uid)s)))
             ORDER BY b.from_at DESC, t.uid_key DESC LIMIT %(limit)s
            """,
            {
                "person_id": person_id,
                "limit": limit,
                "from_at": cursor.key[0] if cursor else None,
                "uid": cursor.key[1] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def get_held(connection: AsyncConnection, person_id: int, uid: str) -> Held | None:
    """The badge as the driver has it, or had it last."""
    async with connection.cursor(row_factory=class_row(Held)) as rows:
        await rows.execute(
            """
            SELECT t.uid, t.type, t.status, t.blocked_why, t.valid_until, b.label, b.from_at,
                   b.to_at
              FROM driver_badge b JOIN token t USING (token_key)
             WHERE b.person_id = %(person_id)s AND b.uid_key = lower(%(uid)s)
             ORDER BY b.from_at DESC LIMIT 1
            """,
            {"person_id": person_id, "uid": uid},
        )
        return await rows.fetchone()


async def count_held(connection: AsyncConnection, person_id: int) -> int:
    """How many badges `list_held` finds."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM driver_badge b JOIN token t USING (token_key)
         WHERE b.person_id = %(person_id)s AND t.type <> 'Central'
        """,
        {"person_id": person_id},
    )


async def block_all(
    connection: AsyncConnection, person_id: int, why: str, now: datetime
) -> list[str]:
    """Every badge that is the driver's now or later is blocked, but one that is refused for another
    reason; the uids. Whose they were stays: her sessions are found by it."""
    cursor = await connection.execute(
        """
        WITH hers AS MATERIALIZED (
            SELECT uid_key FROM token
             WHERE status = 'accepted' AND token_key IN (
                   SELECT token_key FROM driver_badge
                    WHERE person_id = %(person_id)s AND (to_at IS NULL OR to_at > %(now)s))
             ORDER BY token_key FOR UPDATE)
        UPDATE token SET status = 'blocked', blocked_why = %(why)s, updated_at = now()
          FROM hers WHERE token.uid_key = hers.uid_key RETURNING uid
        """,
        {"person_id": person_id, "why": why, "now": now},
    )
    return [row[0] for row in await cursor.fetchall()]


# --- Orders -------------------------------------------------------------------------------------


async def list_orders(
    connection: AsyncConnection,
    *,
    order_id: int | None = None,
    person_id: int | None = None,
    open_only: bool = False,
    limit: int = 1,
    cursor: Cursor | None = None,
) -> list[Order]:
    """Up to `limit` orders by id; `open_only`: those neither activated nor cancelled."""
    async with connection.cursor(row_factory=class_row(Order)) as rows:
        await rows.execute(
            """
            SELECT o.id, o.person_id, o.ordered_at, o.ordered_by, o.sent_at, t.uid, o.activated_at,
                   o.cancelled_at
              FROM badge_order o LEFT JOIN token t USING (uid_key)
             WHERE (%(id)s::bigint IS NULL OR o.id = %(id)s)
               AND (%(person_id)s::bigint IS NULL OR o.person_id = %(person_id)s)
               AND (NOT %(open_only)s OR (o.activated_at IS NULL AND o.cancelled_at IS NULL))
               AND (%(after)s::bigint IS NULL OR o.id > %(after)s)
             ORDER BY o.id LIMIT %(limit)s
            """,
            {
                "id": order_id,
                "person_id": person_id,
                "open_only": open_only,
                "limit": limit,
                "after": cursor.key[0] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_orders(
    connection: AsyncConnection, *, person_id: int | None, open_only: bool
) -> int:
    """How many orders the filters of `list_orders` leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM badge_order
         WHERE (%(person_id)s::bigint IS NULL OR person_id = %(person_id)s)
           AND (NOT %(open_only)s OR (activated_at IS NULL AND cancelled_at IS NULL))
        """,
        {"person_id": person_id, "open_only": open_only},
    )


async def insert_order(connection: AsyncConnection, person_id: int, now: datetime, by: str) -> int:
    """A new order; its id."""
    return await fetch_count(
        connection,
        """
        INSERT INTO badge_order (person_id, ordered_at, ordered_by)
        VALUES (%(person_id)s, %(now)s, %(by)s) RETURNING id
        """,
        {"person_id": person_id, "now": now, "by": by},
    )


async def lock_order(connection: AsyncConnection, order_id: int) -> Order | None:
    """The order, held until the transaction ends."""
    await connection.execute("SELECT FROM badge_order WHERE id = %s FOR UPDATE", (order_id,))
    found = await list_orders(connection, order_id=order_id)
    return found[0] if found else None


async def write_order(connection: AsyncConnection, order: Order) -> None:
    """Write how far the order has come."""
    await connection.execute(
        """
        UPDATE badge_order
           SET sent_at = %(sent_at)s, uid_key = lower(%(uid)s), activated_at = %(activated_at)s,
               cancelled_at = %(cancelled_at)s
         WHERE id = %(id)s
        """,
        {
            "id": order.id,
            "sent_at": order.sent_at,
            "uid": order.uid,
            "activated_at": order.activated_at,
            "cancelled_at": order.cancelled_at,
        },
    )
