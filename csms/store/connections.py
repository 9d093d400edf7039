"""Who is connected, who was refused, and the channels on which changes are told."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from csms.store.columns import json_rows


async def listen(connection: AsyncConnection) -> None:
    """Follow the channels on which changes by people are told."""
    await connection.execute("LISTEN t2p_station")
    await connection.execute("LISTEN t2p_quirk")


async def open_connections(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Stations that connected: station_key, node, protocol, remote_address, connected_at."""
    await connection.execute(
        """
        INSERT INTO station_connection (station_key, node, generation, protocol, remote_address,
                                        connected_at, last_seen_at)
        SELECT station_key, node, 1, protocol, remote_address, connected_at, connected_at
          FROM json_populate_recordset(NULL::station_connection, %s::json)
        ON CONFLICT (station_key) DO UPDATE
           SET node = excluded.node, generation = station_connection.generation + 1,
               protocol = excluded.protocol, remote_address = excluded.remote_address,
               connected_at = excluded.connected_at, last_seen_at = excluded.last_seen_at,
               disconnected_at = NULL
        """,
        (json_rows(rows),),
    )


async def touch_connections(
    connection: AsyncConnection, node: str, rows: Sequence[dict[str, Any]]
) -> None:
    """Stations heard of, and those gone (disconnected_at set): station_key, last_seen_at, ..."""
    await connection.execute(
        """
        UPDATE station_connection c
           SET last_seen_at = greatest(c.last_seen_at, r.last_seen_at),
               disconnected_at = r.disconnected_at
          FROM json_populate_recordset(NULL::station_connection, %s::json) r
         WHERE c.station_key = r.station_key AND c.node = %s
        """,
        (json_rows(rows), node),
    )


async def close_connections_of(connection: AsyncConnection, node: str, now: datetime) -> None:
    """What a former life of the node left open."""
    await connection.execute(
        """
        UPDATE station_connection SET disconnected_at = %s
         WHERE node = %s AND disconnected_at IS NULL
        """,
        (now, node),
    )


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
