"""Sessions whose stop, or some of whose events, never came."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from csms.store.recording import insert_evidence, update_sessions


async def fetch_silent_sessions(
    connection: AsyncConnection, freed_before: datetime, silent_before: datetime
) -> list[dict[str, Any]]:
    """Active sessions that must be over, as column: value, locked: their EVSE has been free since
    before the one moment, nothing was heard of their station since before the other, or it is
    retired."""
    cursor = await connection.execute(
        """
        SELECT to_json(s) FROM session s
          JOIN station t ON t.station_key = s.station_key
          LEFT JOIN evse e ON (e.station_key, e.evse_id) = (s.station_key, s.evse_id)
          LEFT JOIN station_connection c ON c.station_key = s.station_key
         WHERE s.state = 'active'
           AND (   (e.status = 'available' AND e.status_at < %(freed)s
                    AND e.status_at >= coalesce(s.last_register_at, s.started_at))
                OR coalesce(c.last_seen_at, s.received_start_at, s.started_at) < %(silent)s
                OR t.retired_at IS NOT NULL)
         ORDER BY s.id LIMIT 1000 FOR UPDATE OF s SKIP LOCKED
        """,
        {"freed": freed_before, "silent": silent_before},
    )
    return [row[0] for row in await cursor.fetchall()]


async def write_lost_sessions(
    connection: AsyncConnection, rows: Sequence[dict[str, Any]], now: datetime
) -> None:
    """Sessions given up, with their evidence; the gateways hear of it at commit."""
    await update_sessions(connection, rows)
    await insert_evidence(
        connection,
        [
            {
                "session_id": row["id"],
                "received_at": now,
                "kind": "lost",
                "frame": None,
                "note": "the stop never came",
            }
            for row in rows
        ],
    )
    await connection.execute(
        """
        SELECT pg_notify('t2p_station', id) FROM station WHERE station_key = ANY(%s)
        """,
        (sorted({row["station_key"] for row in rows}),),
    )


async def flag_events_lost(
    connection: AsyncConnection, station_key: int, transaction_id: str, flag: str, now: datetime
) -> None:
    """Flag the newest session of the transaction, if it is over and events of it are missing; the
    gateways hear of it at commit."""
    await connection.execute(
        """
        WITH flagged AS (
            UPDATE session SET flags = flags || %(flag)s::text, revision = revision + 1
             WHERE id = (SELECT max(id) FROM session WHERE station_key = %(station_key)s
                            AND transaction_id = %(transaction_id)s)
               AND state <> 'active' AND seq_no_missing <> '{}'
               AND NOT flags @> ARRAY[%(flag)s::text]
            RETURNING id
        ), noted AS (
            INSERT INTO session_event (session_id, received_at, kind, note)
            SELECT id, %(now)s, 'flagged', 'the station has no more events of it' FROM flagged
        )
        SELECT pg_notify('t2p_station', s.id) FROM station s
         WHERE s.station_key = %(station_key)s AND EXISTS (SELECT FROM flagged)
        """,
        {"station_key": station_key, "transaction_id": transaction_id, "flag": flag, "now": now},
    )
