"""SQL that finds what is to be told, by anti-join: what happened and has no notification yet.

Each is one statement over all that is young enough (`since`); a second run finds nothing.
"""

from datetime import datetime

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

FOUND_MAX = 1_000  # by one run; the next finds the rest


async def insert_started_sessions(
    connection: AsyncConnection, now: datetime, since: datetime
) -> int:
    """Sessions under way of drivers' badges, or whose client's webhooks are told; how many."""
    cursor = await connection.execute(
        """
        INSERT INTO notification (event, at, client_id, person_id, subject, data, key)
        SELECT 'session.started', %(now)s, s.client_id, b.person_id, 'session ' || s.id,
               jsonb_build_object(
                   'session_id', s.id, 'station_id', t.id, 'evse_id', s.evse_id,
                   'site', coalesce(nullif(i.name, ''), i.id), 'time_zone', i.time_zone,
                   'started_at', s.started_at),
               'session started ' || s.id
          FROM session s JOIN station t USING (station_key)
          LEFT JOIN site i ON i.id = s.site_id
          LEFT JOIN driver_badge b
                 ON b.uid_key = lower(s.token_uid) AND s.started_at >= b.from_at
                AND (b.to_at IS NULL OR s.started_at < b.to_at)
         WHERE s.started_at > %(since)s AND s.state = 'active'
           AND (b.person_id IS NOT NULL
                OR s.client_id IN (SELECT client_id FROM webhook WHERE retired_at IS NULL)
                OR EXISTS (SELECT FROM webhook WHERE retired_at IS NULL
                              AND client_id = operator_client_id()))
           AND NOT EXISTS (SELECT FROM notification n WHERE n.key = 'session started ' || s.id)
         ORDER BY s.started_at LIMIT %(limit)s
        ON CONFLICT (key) DO NOTHING
        """,
        {"now": now, "since": since, "limit": FOUND_MAX},
    )
    return cursor.rowcount


async def insert_ended_sessions(
    connection: AsyncConnection, now: datetime, since: datetime, interruptions: dict[str, str]
) -> int:
    """Sessions that are over, each once; how many. `interruptions`: stop reasons of those that
    ended before their time, and what we call them; a lost session is one of those too."""
    cursor = await connection.execute(
        """
        INSERT INTO notification (event, at, client_id, person_id, subject, data, key)
        SELECT CASE WHEN r.reason IS NULL THEN 'session.ended' ELSE 'session.interrupted' END,
               %(now)s, s.client_id, b.person_id, 'session ' || s.id,
               jsonb_build_object(
                   'session_id', s.id, 'station_id', t.id, 'evse_id', s.evse_id,
                   'site', coalesce(nullif(i.name, ''), i.id), 'time_zone', i.time_zone,
                   'started_at', s.started_at, 'ended_at', s.ended_at, 'energy_wh', s.energy_wh,
                   'reason', r.reason),
               'session over ' || s.id
          FROM session s JOIN station t USING (station_key)
         CROSS JOIN LATERAL (SELECT CASE s.state WHEN 'lost' THEN 'silent'
                             ELSE %(interruptions)s::jsonb ->> s.stop_reason END) r (reason)
          LEFT JOIN site i ON i.id = s.site_id
          LEFT JOIN driver_badge b
                 ON b.uid_key = lower(s.token_uid) AND s.started_at >= b.from_at
                AND (b.to_at IS NULL OR s.started_at < b.to_at)
         WHERE s.ended_at > %(since)s AND s.state <> 'active'
           AND (b.person_id IS NOT NULL
                OR s.client_id IN (SELECT client_id FROM webhook WHERE retired_at IS NULL)
                OR EXISTS (SELECT FROM webhook WHERE retired_at IS NULL
                              AND client_id = operator_client_id()))
           AND NOT EXISTS (SELECT FROM notification n WHERE n.key = 'session over ' || s.id)
         ORDER BY s.ended_at LIMIT %(limit)s
        ON CONFLICT (key) DO NOTHING
        """,
        {
            "now": now,
            "since": since,
            "limit": FOUND_MAX,
            "interruptions": Jsonb(interruptions),
        },
    )
    return cursor.rowcount


async def insert_offline_stations(
    connection: AsyncConnection,
    now: datetime,
    since: datetime,
    *,
    away_before: datetime,
    told_after: datetime,
) -> int:
    """Stations away since before the one moment; not again before they were told to be back, nor
    when they were told of since the other; how many."""
    cursor = await connection.execute(
        """
        INSERT INTO notification (event, at, client_id, subject, data, key)
        SELECT 'station.offline', %(now)s, t.client_id, 'station ' || t.id,
               jsonb_build_object('station_id', t.id, 'site', coalesce(nullif(i.name, ''), i.id),
                                  'time_zone', i.time_zone, 'since', c.disconnected_at),
               'station offline ' || t.station_key || ' ' || c.generation
          FROM station_connection c JOIN station t USING (station_key)
          LEFT JOIN site i ON i.id = t.site_id
          LEFT JOIN LATERAL (
               SELECT n.event FROM notification n
                WHERE n.event IN ('station.offline', 'station.back')
                  AND n.subject = 'station ' || t.id
                ORDER BY n.at DESC, n.id DESC LIMIT 1) last ON true
         WHERE t.retired_at IS NULL
           AND c.disconnected_at <= %(away_before)s AND c.disconnected_at > %(since)s
           AND last.event IS DISTINCT FROM 'station.offline'
           AND NOT EXISTS (SELECT FROM notification n
                            WHERE n.event = 'station.offline' AND n.subject = 'station ' || t.id
                              AND n.at > %(told_after)s)
         LIMIT %(limit)s
        ON CONFLICT (key) DO NOTHING
        """,
        {
            "now": now,
            "since": since,
            "away_before": away_before,
            "told_after": told_after,
            "limit": FOUND_MAX,
        },
    )
    return cursor.rowcount


async def insert_stations_back(
    connection: AsyncConnection, now: datetime, back_before: datetime
) -> int:
    """Stations that were told to be away, and have been back since before the moment; how many."""
    cursor = await connection.execute(
        """
        INSERT INTO notification (event, at, client_id, subject, data, key)
        SELECT 'station.back', %(now)s, t.client_id, 'station ' || t.id,
               jsonb_build_object('station_id', t.id, 'site', coalesce(nullif(i.name, ''), i.id),
                                  'time_zone', i.time_zone, 'since', c.connected_at),
               'station back ' || t.station_key || ' ' || c.generation
          FROM station_connection c JOIN station t USING (station_key)
          LEFT JOIN site i ON i.id = t.site_id
          JOIN LATERAL (
               SELECT n.event FROM notification n
                WHERE n.event IN ('station.offline', 'station.back')
                  AND n.subject = 'station ' || t.id
                ORDER BY n.at DESC, n.id DESC LIMIT 1) last ON last.event = 'station.offline'
         WHERE t.retired_at IS NULL AND c.disconnected_at IS NULL
           AND c.connected_at <= %(back_before)s
         LIMIT %(limit)s
        ON CONFLICT (key) DO NOTHING
        """,
        {"now": now, "back_before": back_before, "limit": FOUND_MAX},
    )
    return cursor.rowcount


async def insert_faults(
    connection: AsyncConnection,
    now: datetime,
    since: datetime,
    *,
    faulted_before: datetime,
    told_after: datetime,
) -> int:
    """Points, and stations as a whole, out of order since before the one moment; told again as
    `insert_offline_stations` says; how many."""
    cursor = await connection.execute(
        """
        INSERT INTO notification (event, at, client_id, subject, data, key)
        SELECT 'station.faulted', %(now)s, t.client_id, f.subject,
               jsonb_build_object('station_id', t.id, 'evse_id', f.evse_id,
                                  'site', coalesce(nullif(i.name, ''), i.id),
                                  'time_zone', i.time_zone, 'since', f.status_at,
                                  'error_code', f.error_code),
               f.subject || ' faulted ' || extract(epoch FROM f.status_at)
          FROM (SELECT e.station_key, e.evse_id, e.status_at,
                       'point ' || s.id || '/' || e.evse_id AS subject,
                       (SELECT max(k.error_code) FROM connector k
                         WHERE (k.station_key, k.evse_id) = (e.station_key, e.evse_id)
                           AND k.status = 'faulted' AND k.error_code <> 'NoError') AS error_code
                  FROM evse e JOIN station s USING (station_key) WHERE e.status = 'faulted'
                UNION ALL
                SELECT station_key, NULL, status_at, 'station ' || id, NULL
                  FROM station WHERE status = 'faulted') f
          JOIN station t USING (station_key)
          LEFT JOIN site i ON i.id = t.site_id
          LEFT JOIN LATERAL (
               SELECT n.event FROM notification n
                WHERE n.event IN ('station.faulted', 'station.repaired') AND n.subject = f.subject
                ORDER BY n.at DESC, n.id DESC LIMIT 1) last ON true
         WHERE t.retired_at IS NULL
           AND f.status_at <= %(faulted_before)s AND f.status_at > %(since)s
           AND last.event IS DISTINCT FROM 'station.faulted'
           AND NOT EXISTS (SELECT FROM notification n
                            WHERE n.event = 'station.faulted' AND n.subject = f.subject
                              AND n.at > %(told_after)s)
         LIMIT %(limit)s
        ON CONFLICT (key) DO NOTHING
        """,
        {
            "now": now,
            "since": since,
            "faulted_before": faulted_before,
            "told_after": told_after,
            "limit": FOUND_MAX,
        },
    )
    return cursor.rowcount


async def insert_repairs(connection: AsyncConnection, now: datetime, sound_before: datetime) -> int:
    """What was told to be out of order, and has not been since before the moment; how many."""
    cursor = await connection.execute(
        """
        INSERT INTO notification (event, at, client_id, subject, data, key)
        SELECT 'station.repaired', %(now)s, t.client_id, f.subject,
               jsonb_build_object('station_id', t.id, 'evse_id', f.evse_id,
                                  'site', coalesce(nullif(i.name, ''), i.id),
                                  'time_zone', i.time_zone, 'since', f.status_at),
               f.subject || ' repaired ' || extract(epoch FROM f.status_at)
          FROM (SELECT e.station_key, e.evse_id, e.status_at, e.status,
                       'point ' || s.id || '/' || e.evse_id AS subject
                  FROM evse e JOIN station s USING (station_key)
                UNION ALL
                SELECT station_key, NULL, status_at, status, 'station ' || id FROM station) f
          JOIN station t USING (station_key)
          LEFT JOIN site i ON i.id = t.site_id
          JOIN LATERAL (
               SELECT n.event FROM notification n
                WHERE n.event IN ('station.faulted', 'station.repaired') AND n.subject = f.subject
                ORDER BY n.at DESC, n.id DESC LIMIT 1) last ON last.event = 'station.faulted'
         WHERE t.retired_at IS NULL AND f.status NOT IN ('faulted', 'unknown')
           AND f.status_at <= %(sound_before)s
         LIMIT %(limit)s
        ON CONFLICT (key) DO NOTHING
        """,
        {"now": now, "sound_before": sound_before, "limit": FOUND_MAX},
    )
    return cursor.rowcount


async def fulfil_watches(connection: AsyncConnection, now: datetime) -> int:
    """Whoever asked to be told, and a point of hers is free: told, once; how many."""
    cursor = await connection.execute(
        """
        WITH free AS (
            SELECT DISTINCT ON (w.id) w.id, t.client_id, t.id AS station_id, e.evse_id,
                   coalesce(nullif(i.name, ''), i.id) AS site, i.time_zone
              FROM point_watch w
              JOIN station t ON t.station_key = w.station_key OR t.site_id = w.site_id
              JOIN station_connection c
                ON c.station_key = t.station_key AND c.disconnected_at IS NULL
              JOIN evse e ON e.station_key = t.station_key AND e.status = 'available'
                         AND (w.evse_id IS NULL OR e.evse_id = w.evse_id)
              LEFT JOIN site i ON i.id = t.site_id
             WHERE w.fulfilled_at IS NULL AND w.cancelled_at IS NULL AND w.expires_at > %(now)s
               AND t.retired_at IS NULL AND t.boot_status = 'accepted'
               AND NOT EXISTS (SELECT FROM session s
                                WHERE s.station_key = t.station_key AND s.evse_id = e.evse_id
                                  AND s.state = 'active')
             ORDER BY w.id, t.id, e.evse_id
        ), fulfilled AS (
            UPDATE point_watch w SET fulfilled_at = %(now)s FROM free
             WHERE w.id = free.id AND w.fulfilled_at IS NULL AND w.cancelled_at IS NULL
            RETURNING w.id, w.person_id
        )
        INSERT INTO notification (event, at, client_id, person_id, subject, data, key)
        SELECT 'point.free', %(now)s, f.client_id, d.person_id,
               'point ' || f.station_id || '/' || f.evse_id,
               jsonb_build_object('station_id', f.station_id, 'evse_id', f.evse_id,
                                  'site', f.site, 'time_zone', f.time_zone),
               'point free ' || d.id
          FROM fulfilled d JOIN free f USING (id)
        ON CONFLICT (key) DO NOTHING
        """,
        {"now": now},
    )
    return cursor.rowcount
