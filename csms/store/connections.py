"""Who is connected, who was refused, and the channels on which changes are told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.columns import json_rows


async def listen(connection: AsyncConnection) -> None:
    """Follow the channels on which changes by people, orders and other nodes are told."""
    await connection.execute("LISTEN t2p_station")
    await connection.execute("LISTEN t2p_quirk")
    await connection.execute("LISTEN t2p_command")
    await connection.execute("LISTEN t2p_moved")


async def next_generations(connection: AsyncConnection, count: int) -> list[int]:
    """Generations for so many connections, each higher than any before, on whichever node."""
    cursor = await connection.execute(
        "SELECT nextval('station_generation_seq') FROM generate_series(1, %s)", (count,)
    )
    return [row[0] for row in await cursor.fetchall()]


async def open_connections(
    connection: AsyncConnection, rows: Sequence[dict[str, Any]], node: str
) -> set[int]:
    """Stations that connected: station_key, node, generation, protocol, remote_address,
    connected_at. The station_keys of those for which this is the newest connection; a node that
    held one of them is told that it moved."""
    cursor = await connection.execute(
        """
        WITH given AS (
            SELECT * FROM json_populate_recordset(NULL::station_connection, %(rows)s::json)
        ), former AS (
            SELECT c.station_key FROM station_connection c JOIN given USING (station_key)
             WHERE c.node <> %(node)s AND c.disconnected_at IS NULL
        ), taken AS (
            INSERT INTO station_connection (station_key, node, generation, protocol,
                                            remote_address, connected_at, last_seen_at)
            SELECT station_key, node, generation, protocol, remote_address, connected_at,
                   connected_at
              FROM given ORDER BY station_key
            ON CONFLICT (station_key) DO UPDATE
               SET node = excluded.node, generation = excluded.generation,
                   protocol = excluded.protocol, remote_address = excluded.remote_address,
                   connected_at = excluded.connected_at, last_seen_at = excluded.last_seen_at,
                   disconnected_at = NULL
             WHERE station_connection.generation <= excluded.generation  -- equal: told once more
            RETURNING station_key, generation
        )
        SELECT t.station_key,
               CASE WHEN f.station_key IS NOT NULL
                    THEN pg_notify('t2p_moved', t.generation || ' ' || s.id) END
          FROM taken t JOIN station s USING (station_key) LEFT JOIN former f USING (station_key)
        """,
        {"rows": json_rows(rows), "node": node},
    )
    return {row[0] for row in await cursor.fetchall()}


async def touch_connections(
    connection: AsyncConnection, node: str, rows: Sequence[dict[str, Any]]
) -> set[int]:
    """Stations heard of, and those gone (disconnected_at set): station_key, generation,
    last_seen_at, disconnected_at. What is true of an older connection changes nothing; the
    station_keys of those that are still the newest."""
    cursor = await connection.execute(
        """
        UPDATE station_connection c
           SET last_seen_at = greatest(c.last_seen_at, r.last_seen_at),
               disconnected_at = r.disconnected_at
          FROM json_populate_recordset(NULL::station_connection, %s::json) r
         WHERE c.station_key = r.station_key AND c.generation = r.generation AND c.node = %s
        RETURNING c.station_key
        """,
        (json_rows(rows), node),
    )
    return {row[0] for row in await cursor.fetchall()}


async def close_connections_of(connection: AsyncConnection, node: str, now: datetime) -> None:
    """What a former life of the node left open."""
    await connection.execute(
        """
        UPDATE station_connection SET disconnected_at = %s
         WHERE node = %s AND disconnected_at IS NULL
        """,
        (now, node),
    )


async def touch_node(
    connection: AsyncConnection, node: str, started_at: datetime, now: datetime, draining: bool
) -> None:
    """The node is alive."""
    await connection.execute(
        """
        INSERT INTO node (name, started_at, seen_at, draining) VALUES (%s, %s, %s, %s)
        ON CONFLICT (name) DO UPDATE
           SET started_at = excluded.started_at, seen_at = excluded.seen_at,
               draining = excluded.draining
        """,
        (node, started_at, now, draining),
    )


async def close_connections_of_the_dead(connection: AsyncConnection, before: datetime) -> int:
    """End the connections of nodes not heard of since; how many."""
    cursor = await connection.execute(
        """
        UPDATE station_connection c SET disconnected_at = c.last_seen_at
         WHERE c.disconnected_at IS NULL AND c.last_seen_at < %(before)s
           AND NOT EXISTS (SELECT FROM node n
                            WHERE n.name = c.node AND n.seen_at >= %(before)s)
        """,
        {"before": before},
    )
    return cursor.rowcount


@dataclass(frozen=True, slots=True)
class Node:
    """A gateway process among those that share the database."""

    name: str
    started_at: datetime
    seen_at: datetime
    draining: bool
    stations_connected: int


async def list_nodes(connection: AsyncConnection) -> list[Node]:
    """All nodes ever seen, with the stations that each holds."""
    async with connection.cursor(row_factory=class_row(Node)) as rows:
        await rows.execute(
            """
            SELECT n.name, n.started_at, n.seen_at, n.draining,
                   (SELECT count(*) FROM station_connection c
                     WHERE c.node = n.name AND c.disconnected_at IS NULL) AS stations_connected
              FROM node n ORDER BY n.name
            """
        )
        return await rows.fetchall()


async def upsert_refused(
    connection: AsyncConnection, rows: Sequence[dict[str, Any]], rows_max: int
) -> None:
    """Connections refused; beyond rows_max identities only known ones are counted on."""
    await connection.execute(
        """
        INSERT INTO refused_connection (identity, reason, remote_address, detail, first_seen_at,
                                        last_seen_at, count)
        SELECT r.identity, r.reason, r.remote_address, r.detail, r.first_seen_at, r.last_seen_at,
               r.count
          FROM json_populate_recordset(NULL::refused_connection, %s::json) r
         WHERE (SELECT count(*) FROM refused_connection) < %s
            OR EXISTS (SELECT FROM refused_connection k
                        WHERE k.identity = r.identity AND k.reason = r.reason)
        ON CONFLICT (identity, reason) DO UPDATE
           SET remote_address = excluded.remote_address, detail = excluded.detail,
               last_seen_at = excluded.last_seen_at,
               count = refused_connection.count + excluded.count
        """,
        (json_rows(rows), rows_max),
    )


async def create_pending_station(connection: AsyncConnection, id: str) -> None:
    """An unknown station let in on hold, by setting."""
    await connection.execute(
        """
        INSERT INTO station (id, boot_status) VALUES (%s, 'pending') ON CONFLICT (id) DO NOTHING
        """,
        (id,),
    )
