"""Who is connected, who was refused, and the channels on which changes are told.

Whatever opens or ends a connection here writes it into the history of links (station_link) with the
same statement; a row there is never before the last one of its station.
"""

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
    connection: AsyncConnection, rows: Sequence[dict[str, Any]], node: str, node_silent_s: float
) -> set[int]:
    """Stations that connected: station_key, node, generation, protocol, remote_address,
    connected_at. The station_keys of those for which this is the newest connection; a node that
    held one of them is told that it moved.

    In the history of links, the connection that this one takes the place of ended when the station
    was last heard if nobody holds it any more: its node began a new life since, or another node
    was not heard of for node_silent_s.
    """
    cursor = await connection.execute(
        """
        WITH given AS (
            SELECT * FROM json_populate_recordset(NULL::station_connection, %(rows)s::json)
        ), former AS (
            SELECT c.station_key, c.node, c.generation, c.last_seen_at,
                   n.started_at > c.connected_at OR c.node <> %(node)s
                   AND (n.name IS NULL OR n.seen_at < given.connected_at
                                                      - %(node_silent_s)s * interval '1 second')
                   AS is_lost
              FROM station_connection c JOIN given USING (station_key)
              LEFT JOIN node n ON n.name = c.node
             WHERE c.disconnected_at IS NULL
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
            RETURNING station_key, node, generation, connected_at
        ), noted AS (
            INSERT INTO station_link (station_key, at, up, node)
            SELECT x.station_key,
                   greatest(x.at, (SELECT max(l.at) + interval '1 microsecond' FROM station_link l
                                    WHERE l.station_key = x.station_key)),
                   x.up, x.node
              FROM (SELECT t.station_key, f.last_seen_at AS at, false AS up, f.node
                      FROM taken t JOIN former f USING (station_key)
                     WHERE f.is_lost AND f.generation <> t.generation
                       AND f.last_seen_at < t.connected_at
                     UNION ALL
                    SELECT t.station_key, t.connected_at, true, t.node
                      FROM taken t LEFT JOIN former f USING (station_key)
                     WHERE f.generation IS DISTINCT FROM t.generation) x
             ORDER BY x.station_key, x.at
        )
        SELECT t.station_key,
               CASE WHEN f.node <> %(node)s THEN pg_notify('t2p_moved', t.generation || ' ' || s.id)
                END
          FROM taken t JOIN station s USING (station_key) LEFT JOIN former f USING (station_key)
        """,
        {"rows": json_rows(rows), "node": node, "node_silent_s": node_silent_s},
    )
    return {row[0] for row in await cursor.fetchall()}


async def touch_connections(
    connection: AsyncConnection, node: str, rows: Sequence[dict[str, Any]]
) -> set[int]:
    """Stations heard of, and those gone (disconnected_at set): station_key, generation,
    last_seen_at, disconnected_at. What is true of an older connection changes nothing; the
    station_keys of those that are still the newest.

    A connection that was taken for dead, and is not, came up again in the history of links in the
    moment in which it is said to have gone down.
    """
    cursor = await connection.execute(
        """
        WITH given AS (
            SELECT * FROM json_populate_recordset(NULL::station_connection, %(rows)s::json)
        ), former AS (
            SELECT c.station_key, c.disconnected_at FROM station_connection c
              JOIN given USING (station_key, generation) WHERE c.disconnected_at IS NOT NULL
        ), touched AS (
            UPDATE station_connection c
               SET last_seen_at = greatest(c.last_seen_at, r.last_seen_at),
                   disconnected_at = r.disconnected_at
              FROM given r
             WHERE c.station_key = r.station_key AND c.generation = r.generation
               AND c.node = %(node)s
            RETURNING c.station_key, c.disconnected_at
        ), noted AS (
            INSERT INTO station_link (station_key, at, up, node)
            SELECT x.station_key,
                   greatest(x.at, (SELECT max(l.at) + interval '1 microsecond' FROM station_link l
                                    WHERE l.station_key = x.station_key)),
                   x.up, %(node)s
              FROM (SELECT station_key, f.disconnected_at AS at, true AS up
                      FROM touched t JOIN former f USING (station_key)
                     WHERE t.disconnected_at > f.disconnected_at IS NOT FALSE
                     UNION ALL
                    SELECT station_key, t.disconnected_at, false
                      FROM touched t LEFT JOIN former f USING (station_key)
                     WHERE t.disconnected_at > coalesce(f.disconnected_at, '-infinity')) x
             ORDER BY x.station_key, x.at, x.up DESC
        )
        SELECT station_key FROM touched
        """,
        {"rows": json_rows(rows), "node": node},
    )
    return {row[0] for row in await cursor.fetchall()}


async def close_connections_of(
    connection: AsyncConnection, node: str, now: datetime, *, cut: bool
) -> None:
    """What the node still holds, at the end of its life; or, cut, what a former life left open: in
    the history those links ended when each station was last heard."""
    await connection.execute(
        """
        WITH closed AS (
            UPDATE station_connection SET disconnected_at = %(now)s
             WHERE node = %(node)s AND disconnected_at IS NULL
            RETURNING station_key,
                      CASE WHEN %(cut)s THEN last_seen_at ELSE disconnected_at END AS at
        )
        INSERT INTO station_link (station_key, at, up, node)
        SELECT c.station_key,
               greatest(c.at, (SELECT max(l.at) + interval '1 microsecond' FROM station_link l
                                WHERE l.station_key = c.station_key)),
               false, %(node)s
          FROM closed c
        """,
        {"now": now, "node": node, "cut": cut},
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
    """End the connections of nodes not heard of since, when each station was last heard; how
    many."""
    cursor = await connection.execute(
        """
        WITH closed AS (
            UPDATE station_connection c SET disconnected_at = c.last_seen_at
             WHERE c.disconnected_at IS NULL AND c.last_seen_at < %(before)s
               AND NOT EXISTS (SELECT FROM node n
                                WHERE n.name = c.node AND n.seen_at >= %(before)s)
            RETURNING c.station_key, c.disconnected_at AS at, c.node
        )
        INSERT INTO station_link (station_key, at, up, node)
        SELECT c.station_key,
               greatest(c.at, (SELECT max(l.at) + interval '1 microsecond' FROM station_link l
                                WHERE l.station_key = c.station_key)),
               false, c.node
          FROM closed c
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
