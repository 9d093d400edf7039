"""SQL of orders to stations: placed, claimed by the node that holds the station, finished once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.domain.order_secrets import BEARERS, masked
from csms.store.columns import json_rows
from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class Command:
    """An order as people see it. `payload`, `response` and `error` are JSON texts."""

    id: int
    station_id: str
    protocol: str
    action: str
    payload: str
    origin: str
    created_by: str | None
    created_at: datetime
    expires_at: datetime
    status: str
    node: str | None
    message_id: str | None
    sent_at: datetime | None
    finished_at: datetime | None
    response: str | None
    error: str | None
    late_at: datetime | None
    request_id: int | None
    parts: str


class Target(NamedTuple):
    """What must be known of a station to order something of it."""

    station_key: int
    protocol: str | None  # what it speaks, or is expected to; None: nobody knows yet
    auto_configure: bool
    queued: int  # orders that wait for it
    node: str | None  # that holds it; None: it is away


class Claimed(NamedTuple):
    """An order that this node now has to send, and no other ever will."""

    id: int
    station_key: int
    protocol: str
    action: str
    payload: str
    message_id: str


async def fetch_target(connection: AsyncConnection, station_id: str) -> Target | None:
    """The station that an order is for; None when there is none, or it is retired.

    What it speaks on its present connection counts before what is expected of it, and that before
    what it spoke last.
    """
    async with connection.cursor() as cursor:
        await cursor.execute(
            """
            SELECT s.station_key,
                   CASE WHEN c.disconnected_at IS NULL AND c.protocol <> '' THEN c.protocol
                        ELSE coalesce(s.protocol, s.spoken, nullif(c.protocol, '')) END,
                   s.auto_configure,
                   (SELECT count(*)::integer FROM command q
                     WHERE q.station_key = s.station_key AND q.status = 'queued'),
                   CASE WHEN c.disconnected_at IS NULL THEN c.node END
              FROM station s LEFT JOIN station_connection c USING (station_key)
             WHERE s.id = %s AND s.retired_at IS NULL
            """,
            (station_id,),
        )
        row = await cursor.fetchone()
    return None if row is None else Target(*row)


async def insert_commands(
    connection: AsyncConnection, rows: Sequence[dict[str, Any]], *, notify: bool = True
) -> list[int]:
    """Place orders, in their order; their ids. The nodes are told at the commit, unless the caller
    has another way to wake them.

    Columns: station_key, protocol, action, payload, origin, created_by, created_at, expires_at,
    request_id.
    """
    cursor = await connection.execute(
        """
        WITH placed AS (
            INSERT INTO command (station_key, protocol, action, payload, origin, created_by,
                                 created_at, expires_at, request_id)
            SELECT station_key, protocol, action, payload, origin, created_by, created_at,
                   expires_at, request_id
              FROM json_populate_recordset(NULL::command, %s::json)
            RETURNING id, station_key
        )
        SELECT placed.id, CASE WHEN %s THEN pg_notify('t2p_command', s.id) END
          FROM placed JOIN station s USING (station_key) ORDER BY placed.id
        """,
        (json_rows(rows), notify),
    )
    return [row[0] for row in await cursor.fetchall()]


async def claim_commands(
    connection: AsyncConnection,
    links: Sequence[dict[str, Any]],
    *,
    node: str,
    now: datetime,
    due_at: datetime,
) -> list[Claimed]:
    """The next order of each station for which this node holds the newest connection.

    `links` are rows of station_key, generation and held (actions that must wait); each station
    must have no other order under way. Committed before it is sent, an order runs at most once.
    """
    cursor = await connection.execute(
        """
        WITH next AS (
            SELECT n.id, h.generation
              FROM json_to_recordset(%(links)s::json)
                   AS h (station_key integer, generation bigint, held text[])
              JOIN station_connection c ON c.station_key = h.station_key
                   AND c.generation = h.generation AND c.disconnected_at IS NULL
             CROSS JOIN LATERAL (
                   SELECT id FROM command
                    WHERE station_key = h.station_key AND status = 'queued'
                      AND expires_at > %(now)s AND action <> ALL (h.held)
                    ORDER BY id LIMIT 1
                      FOR UPDATE SKIP LOCKED) n
        )
        UPDATE command q
           SET status = 'sent', node = %(node)s, generation = next.generation, sent_at = %(now)s,
               due_at = %(due_at)s, message_id = replace(gen_random_uuid()::text, '-', '')
          FROM next WHERE q.id = next.id AND q.status = 'queued'
        RETURNING q.id, q.station_key, q.protocol, q.action, q.payload, q.message_id
        """,
        {"links": json_rows(links), "now": now, "node": node, "due_at": due_at},
    )
    return [Claimed(*row) for row in await cursor.fetchall()]


async def notify_command(connection: AsyncConnection, station_id: str) -> None:
    """Tell the nodes that an order waits for the station."""
    await connection.execute("SELECT pg_notify('t2p_command', %s)", (station_id,))


async def mask_payload(connection: AsyncConnection, command_id: int, payload: str) -> None:
    """Keep an order without the secret in it, now that it is about to be sent."""
    await connection.execute("UPDATE command SET payload = %s WHERE id = %s", (payload, command_id))


async def postpone_due(connection: AsyncConnection, command_id: int, due_at: datetime) -> None:
    """An order under way goes on with a further call."""
    await connection.execute(
        "UPDATE command SET due_at = %s WHERE id = %s AND status = 'sent'", (due_at, command_id)
    )


async def finish_command(
    connection: AsyncConnection,
    command_id: int,
    *,
    status: str,
    response: str | None,
    error: str | None,
    now: datetime,
    parts_due_at: datetime | None,
) -> bool:
    """Write what became of an order that was sent; whoever waits is told at the commit.

    `parts_due_at` is set where the answer announces further messages. False when somebody has
    given the order up meanwhile: the answer is then a late one.
    """
    cursor = await connection.execute(
        """
        WITH finished AS (
            UPDATE command
               SET status = %(status)s, response = %(response)s, error = %(error)s,
                   finished_at = %(now)s,
                   parts = CASE WHEN parts = 'none' AND %(parts_due_at)s::timestamptz IS NOT NULL
                                THEN 'awaited' ELSE parts END,
                   parts_due_at = coalesce(parts_due_at, %(parts_due_at)s)
             WHERE id = %(id)s AND status = 'sent'
            RETURNING id
        )
        SELECT pg_notify('t2p_command_done', id::text) FROM finished
        """,
        {
            "id": command_id,
            "status": status,
            "response": response,
            "error": error,
            "now": now,
            "parts_due_at": parts_due_at,
        },
    )
    return await cursor.fetchone() is not None


async def finish_late(
    connection: AsyncConnection,
    station_key: int,
    message_id: str,
    *,
    response: str | None,
    error: str | None,
    now: datetime,
) -> tuple[int, str, str, str] | None:
    """Keep an answer that came after the order had been given up; its state stays what it was.

    (id, protocol, action, payload) of the order; None when the id is of no such order.
    """
    cursor = await connection.execute(
        """
        UPDATE command
           SET response = %s, error = coalesce(%s, error), late_at = %s
         WHERE station_key = %s AND message_id = %s AND status = 'failed' AND late_at IS NULL
           AND response IS NULL AND created_at > %s::timestamptz - interval '7 days'
        RETURNING id, protocol, action, payload
        """,
        (response, error, now, station_key, message_id, now),
    )
    return await cursor.fetchone()


async def cancel_command(connection: AsyncConnection, command_id: int, now: datetime) -> bool:
    """Take back an order that has not been sent; False when it is too late."""
    cursor = await connection.execute(
        """
        WITH cancelled AS (
            UPDATE command SET status = 'cancelled', finished_at = %s
             WHERE id = %s AND status = 'queued' RETURNING id, action, payload
        )
        SELECT id, action, payload, pg_notify('t2p_command_done', id::text) FROM cancelled
        """,
        (now, command_id),
    )
    return await _forget_secrets(connection, await cursor.fetchall()) == 1


async def expire_commands(connection: AsyncConnection, now: datetime) -> int:
    """End the orders that waited too long; how many."""
    cursor = await connection.execute(
        """
        WITH expired AS (
            UPDATE command SET status = 'expired', finished_at = %s
             WHERE status = 'queued' AND expires_at <= %s RETURNING id, action, payload
        )
        SELECT id, action, payload, pg_notify('t2p_command_done', id::text) FROM expired
        """,
        (now, now),
    )
    return await _forget_secrets(connection, await cursor.fetchall())


async def fail_abandoned(
    connection: AsyncConnection, now: datetime, moved_before: datetime, error: str
) -> int:
    """End the orders whose node never told what became of them; how many.

    Those are past their time, or their station has been on another connection since
    `moved_before`: no answer can come on the one that they were sent on.
    """
    cursor = await connection.execute(
        """
        WITH abandoned AS (
            UPDATE command q SET status = 'failed', finished_at = %(now)s, error = %(error)s
              FROM station_connection c
             WHERE q.status = 'sent' AND c.station_key = q.station_key
               AND (q.due_at < %(now)s
                    OR (q.sent_at < %(moved_before)s
                        AND (c.generation <> q.generation OR c.disconnected_at < %(moved_before)s)))
            RETURNING q.id, q.action, q.payload
        )
        SELECT id, action, payload, pg_notify('t2p_command_done', id::text) FROM abandoned
        """,
        {"now": now, "moved_before": moved_before, "error": error},
    )
    return await _forget_secrets(connection, await cursor.fetchall())


async def _forget_secrets(connection: AsyncConnection, ended: Sequence[tuple[Any, ...]]) -> int:
    """Orders that are over (id, action, payload, ...) need their secrets no more; how many orders.

    The caller's transaction holds their end and this.
    """
    for command_id, action, payload, *_ in ended:
        if action in BEARERS:
            without = masked(action, payload)
            if without != payload:
                await mask_payload(connection, command_id, without)
    return len(ended)


async def note_overdue_parts(connection: AsyncConnection, now: datetime) -> int:
    """Orders whose further messages have not all come in time; how many."""
    cursor = await connection.execute(
        "UPDATE command SET parts = 'overdue' WHERE parts = 'awaited' AND parts_due_at < %s", (now,)
    )
    return cursor.rowcount


async def fetch_waiting_stations(connection: AsyncConnection, node: str) -> list[str]:
    """Stations connected to the node that have orders waiting."""
    cursor = await connection.execute(
        """
        SELECT s.id FROM station_connection c JOIN station s USING (station_key)
         WHERE c.node = %s AND c.disconnected_at IS NULL
           AND EXISTS (SELECT FROM command q
                        WHERE q.station_key = c.station_key AND q.status = 'queued')
        """,
        (node,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def get_command(connection: AsyncConnection, command_id: int) -> Command | None:
    """One order."""
    found = await list_commands(connection, CommandFilter(command_id=command_id), limit=1)
    return found[0] if found else None


async def fetch_finished(connection: AsyncConnection, command_ids: Sequence[int]) -> list[int]:
    """Those of the orders that are over."""
    cursor = await connection.execute(
        "SELECT id FROM command WHERE id = ANY(%s) AND status NOT IN ('queued', 'sent')",
        (list(command_ids),),
    )
    return [row[0] for row in await cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class CommandFilter:
    """Which orders; None does not filter. Times are [from_at, to_at) of their creation."""

    command_id: int | None = None
    station_id: str | None = None
    action: str | None = None
    status: str | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None

    def parameters(self) -> dict[str, object]:
        """By the names that the statements below use."""
        return {
            "command_id": self.command_id,
            "station_id": self.station_id,
            "action": self.action,
            "status": self.status,
            "from_at": self.from_at,
            "to_at": self.to_at,
        }


async def list_commands(
    connection: AsyncConnection, which: CommandFilter, *, limit: int, cursor: Cursor | None = None
) -> list[Command]:
    """Up to `limit` orders, newest first."""
    async with connection.cursor(row_factory=class_row(Command)) as rows:
        await rows.execute(
            """
            SELECT q.id, s.id AS station_id, q.protocol, q.action, q.payload, q.origin,
                   q.created_by, q.created_at, q.expires_at, q.status, q.node, q.message_id,
                   q.sent_at, q.finished_at, q.response, q.error, q.late_at, q.request_id, q.parts
              FROM command q JOIN station s USING (station_key)
             WHERE (%(command_id)s::bigint IS NULL OR q.id = %(command_id)s)
               AND (%(station_id)s::text IS NULL OR q.station_key =
                    (SELECT station_key FROM station WHERE id = %(station_id)s))
               AND (%(action)s::text IS NULL OR q.action = %(action)s)
               AND (%(status)s::text IS NULL OR q.status = %(status)s)
               AND (%(from_at)s::timestamptz IS NULL OR q.created_at >= %(from_at)s)
               AND (%(to_at)s::timestamptz IS NULL OR q.created_at < %(to_at)s)
               AND (%(after)s::bigint IS NULL OR q.id < %(after)s)
             ORDER BY q.id DESC LIMIT %(limit)s
            """,
            {
                **which.parameters(),
                "limit": limit,
                "after": cursor.key[0] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_commands(connection: AsyncConnection, which: CommandFilter) -> int:
    """How many orders the filter leaves."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM command q
         WHERE (%(command_id)s::bigint IS NULL OR q.id = %(command_id)s)
           AND (%(station_id)s::text IS NULL OR q.station_key =
                (SELECT station_key FROM station WHERE id = %(station_id)s))
           AND (%(action)s::text IS NULL OR q.action = %(action)s)
           AND (%(status)s::text IS NULL OR q.status = %(status)s)
           AND (%(from_at)s::timestamptz IS NULL OR q.created_at >= %(from_at)s)
           AND (%(to_at)s::timestamptz IS NULL OR q.created_at < %(to_at)s)
        """,
        which.parameters(),
    )
