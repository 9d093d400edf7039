"""SQL of what QualiCharge is told: points, statuses and sessions that it was not told yet.

A point is public where it says so itself, or its station does and it does not; nothing else is read
here. Statuses and sessions are those of points that QualiCharge knows, since it knows them
(`qualicharge_declared`), and since the last change of who may see them: what went on while a point
was private stays so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class PointRow:
    """A public point in use, and all that is declared of it."""

    evse_uid: str
    client_id: int
    site_id: str | None
    site_name: str
    site_static: dict[str, Any]
    station_static: dict[str, Any]
    evse_static: dict[str, Any]
    power_w_max: int | None
    connectors: list[dict[str, Any]]  # connector_id, type
    changed_at: datetime  # the last change of its site, or of anything on it


@dataclass(frozen=True, slots=True)
class StatusRow:
    """A status that a station sent, or (source `now`) the one that holds."""

    evse_uid: str
    client_id: int
    source: str
    at: datetime
    status: str
    connectors: list[dict[str, Any]]  # type, status at that time


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session that ended with a known energy."""

    evse_uid: str
    client_id: int
    session_id: int
    started_at: datetime
    ended_at: datetime
    energy_wh: int
    power_w_max: int | None


async def list_points(connection: AsyncConnection) -> list[PointRow]:
    """All public points with an identifier, by it."""
    async with connection.cursor(row_factory=class_row(PointRow)) as rows:
        await rows.execute(
            """
            WITH changed AS (
                SELECT site_id, max(at) AS at FROM static_change
                 WHERE site_id IS NOT NULL GROUP BY site_id)
            SELECT e.evse_uid, s.client_id, s.site_id, coalesce(site.name, '') AS site_name,
                   coalesce(site.static, '{}') AS site_static, s.static AS station_static,
                   e.static AS evse_static, e.power_w_max,
                   (SELECT coalesce(jsonb_agg(jsonb_build_object(
                               'connector_id', k.connector_id, 'type', k.type)
                               ORDER BY k.connector_id), '[]')
                      FROM connector k
                     WHERE (k.station_key, k.evse_id) = (e.station_key, e.evse_id)) AS connectors,
                   greatest(site.created_at, s.created_at, changed.at) AS changed_at
              FROM station s
              JOIN evse e USING (station_key)
              LEFT JOIN site ON site.id = s.site_id
              LEFT JOIN changed ON changed.site_id = s.site_id
             WHERE s.retired_at IS NULL AND coalesce(e.public, s.public)
               AND e.evse_uid IS NOT NULL
             ORDER BY e.evse_uid
            """
        )
        return await rows.fetchall()


async def public_among(connection: AsyncConnection, evse_uids: Sequence[str]) -> set[str]:
    """Those of the identifiers whose points are public and in use now."""
    cursor = await connection.execute(
        """
        SELECT e.evse_uid FROM evse e JOIN station s USING (station_key)
         WHERE s.retired_at IS NULL AND coalesce(e.public, s.public) AND e.evse_uid = ANY (%s)
        """,
        (list(evse_uids),),
    )
    return {row[0] for row in await cursor.fetchall()}


async def list_new_statuses(
    connection: AsyncConnection, *, after: datetime, limit: int
) -> list[StatusRow]:
    """Statuses received and true after that moment, and not told yet, in the order of receipt.

    Two with the same time are a millisecond apart, as the national register wants. Where a point
    has several connectors, their statuses are those that held then.
    """
    async with connection.cursor(row_factory=class_row(StatusRow)) as rows:
        await rows.execute(
            """
            SELECT e.evse_uid, s.client_id, k.source,
                   least(t.at, t.received_at) + make_interval(secs => 0.001 * (
                       SELECT count(*) FROM evse_status x
                        WHERE x.station_key = t.station_key AND x.evse_id = t.evse_id
                          AND x.at = t.at AND x.received_at < t.received_at
                          AND x.received_at > t.received_at - interval '1 day')) AS at,
                   t.status,
                   (SELECT coalesce(jsonb_agg(jsonb_build_object('type', c.type, 'status', (
                               SELECT x.status FROM evse_status x
                                WHERE x.station_key = c.station_key AND x.evse_id = c.evse_id
                                  AND x.connector_id = c.connector_id
                                  AND x.received_at <= t.received_at
                                ORDER BY x.received_at DESC LIMIT 1))), '[]')
                      FROM connector c
                     WHERE c.station_key = t.station_key AND c.evse_id = t.evse_id) AS connectors
              FROM qualicharge_declared d
              JOIN evse e USING (evse_uid)
              JOIN station s USING (station_key)
              JOIN evse_status t ON t.station_key = e.station_key AND t.evse_id = e.evse_id
               AND t.received_at > %(after)s
             CROSS JOIN LATERAL (
                   SELECT concat_ws('/', e.evse_uid, t.evse_id, t.connector_id,
                                    (extract(epoch FROM t.received_at) * 1000000)::bigint,
                                    t.status) AS source) k
             WHERE s.retired_at IS NULL AND coalesce(e.public, s.public)
               AND t.at > %(after)s AND t.received_at >= d.since_at
               AND NOT EXISTS (SELECT FROM static_change c
                                WHERE c.station_id = s.id AND c.at > t.received_at
                                  AND (c.evse_id IS NULL OR c.evse_id = e.evse_id)
                                  AND (c.before ? 'public' OR c.after ? 'public'))
               AND NOT EXISTS (SELECT FROM outlet_item i
                                WHERE i.outlet = 'qualicharge.status' AND i.source_key = k.source)
             ORDER BY t.received_at, e.evse_uid LIMIT %(limit)s
            """,
            {"after": after, "limit": limit},
        )
        return await rows.fetchall()


async def list_silent(
    connection: AsyncConnection, *, now: datetime, period_s: float, limit: int
) -> list[StatusRow]:
    """How points stand of which nothing was told for the period, or since they were declared; that
    of a station that is away is unknown."""
    async with connection.cursor(row_factory=class_row(StatusRow)) as rows:
        await rows.execute(
            """
            SELECT e.evse_uid, s.client_id,
                   concat_ws('/', e.evse_uid, 'now', d.first_item_id,
                             floor(extract(epoch FROM %(now)s::timestamptz) / %(period_s)s)::bigint
                   ) AS source,
                   %(now)s::timestamptz AS at,
                   CASE WHEN l.here THEN e.status ELSE 'unknown' END AS status,
                   (SELECT coalesce(jsonb_agg(jsonb_build_object('type', c.type, 'status',
                               CASE WHEN l.here THEN c.status ELSE 'unknown' END)), '[]')
                      FROM connector c
                     WHERE c.station_key = e.station_key AND c.evse_id = e.evse_id) AS connectors
              FROM qualicharge_declared d
              JOIN evse e USING (evse_uid)
              JOIN station s USING (station_key)
              LEFT JOIN station_connection n USING (station_key)
             CROSS JOIN LATERAL (SELECT n.station_key IS NOT NULL AND n.disconnected_at IS NULL
                                        AS here) l
             WHERE s.retired_at IS NULL AND coalesce(e.public, s.public)
               AND NOT EXISTS (
                   SELECT FROM outlet_item i
                    WHERE i.outlet = 'qualicharge.status' AND i.object_key = e.evse_uid
                      AND i.at > greatest(d.since_at,
                                          %(now)s::timestamptz
                                          - make_interval(secs => %(period_s)s)))
             ORDER BY e.evse_uid LIMIT %(limit)s
            """,
            {"now": now, "period_s": period_s, "limit": limit},
        )
        return await rows.fetchall()


async def list_new_sessions(
    connection: AsyncConnection, *, after: datetime, limit: int
) -> list[SessionRow]:
    """Sessions that ended after that moment, with a known energy, and are not told yet. Those that
    began before their point was declared are not told; nor is one whose end was lost."""
    async with connection.cursor(row_factory=class_row(SessionRow)) as rows:
        await rows.execute(
            """
            SELECT e.evse_uid, x.client_id, x.id AS session_id, x.started_at, x.ended_at,
                   x.energy_wh, e.power_w_max
              FROM session x
              JOIN station s USING (station_key)
              JOIN evse e ON e.station_key = x.station_key AND e.evse_id = x.evse_id
              JOIN qualicharge_declared d USING (evse_uid)
             WHERE x.state = 'ended' AND x.ended_at > %(after)s AND x.energy_wh IS NOT NULL
               AND x.started_at >= d.since_at
               AND s.retired_at IS NULL AND coalesce(e.public, s.public)
               AND NOT EXISTS (SELECT FROM static_change c
                                WHERE c.station_id = s.id AND c.at > x.started_at
                                  AND (c.evse_id IS NULL OR c.evse_id = e.evse_id)
                                  AND (c.before ? 'public' OR c.after ? 'public'))
               AND NOT EXISTS (SELECT FROM outlet_item i
                                WHERE i.outlet = 'qualicharge.session'
                                  AND i.source_key = x.id::text)
             ORDER BY x.ended_at, x.id LIMIT %(limit)s
            """,
            {"after": after, "limit": limit},
        )
        return await rows.fetchall()
