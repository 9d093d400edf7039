"""SQL of the national files of public points: one statement, one named function."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class PublicPoint:
    """A point that is declared public, and what is stored of it."""

    site_id: str | None
    site_name: str
    site_static: dict[str, Any]
    client_id: int
    client: str
    station_id: str
    station_static: dict[str, Any]
    evse_id: int
    evse_uid: str | None
    power_w_max: int | None
    evse_static: dict[str, Any]
    connectors: list[dict[str, Any]]  # connector_id, type
    changed_at: datetime  # of anything that is stored of the point, its station or its site


@dataclass(frozen=True, slots=True)
class PublicStatus:
    """How a point that is declared public stands, as recorded."""

    evse_uid: str
    status: str
    status_at: datetime | None
    station_status: str | None
    station_status_at: datetime | None
    connected: bool
    connected_at: datetime | None
    disconnected_at: datetime | None
    created_at: datetime
    connectors: list[dict[str, Any]]  # type, status


async def list_public_points(connection: AsyncConnection, limit: int) -> list[PublicPoint]:
    """Up to `limit` points of stations in use that are declared public, each by itself or as its
    station is; no others. In no order."""
    async with connection.cursor(row_factory=class_row(PublicPoint)) as rows:
        await rows.execute(
            """
            SELECT s.site_id, coalesce(site.name, '') AS site_name,
                   coalesce(site.static, '{}') AS site_static, s.client_id, client.name AS client,
                   s.id AS station_id, s.static AS station_static, e.evse_id, e.evse_uid,
                   e.power_w_max, e.static AS evse_static,
                   (SELECT coalesce(jsonb_agg(jsonb_build_object(
                               'connector_id', k.connector_id, 'type', k.type)
                               ORDER BY k.connector_id), '[]')
                      FROM connector k
                     WHERE (k.station_key, k.evse_id) = (e.station_key, e.evse_id)) AS connectors,
                   greatest(site.created_at, s.created_at,
                            (SELECT max(c.at) FROM static_change c
                              WHERE c.site_id = s.site_id AND c.kind = 'site'),
                            (SELECT max(c.at) FROM static_change c
                              WHERE c.station_id = s.id
                                AND (c.kind = 'station' OR c.evse_id = e.evse_id))) AS changed_at
              FROM station s
              JOIN evse e USING (station_key)
              JOIN client ON client.id = s.client_id
              LEFT JOIN site ON site.id = s.site_id
             WHERE s.retired_at IS NULL AND coalesce(e.public, s.public)
             LIMIT %s
            """,
            (limit,),
        )
        return await rows.fetchall()


async def list_public_statuses(connection: AsyncConnection, limit: int) -> list[PublicStatus]:
    """Up to `limit` points as `list_public_points`, of those that have an identifier, and how they
    stand. In no order."""
    async with connection.cursor(row_factory=class_row(PublicStatus)) as rows:
        await rows.execute(
            """
            SELECT e.evse_uid, e.status, e.status_at, s.status AS station_status,
                   s.status_at AS station_status_at,
                   c.station_key IS NOT NULL AND c.disconnected_at IS NULL AS connected,
                   c.connected_at, c.disconnected_at, s.created_at,
                   (SELECT coalesce(jsonb_agg(jsonb_build_object(
                               'type', k.type, 'status', k.status) ORDER BY k.connector_id), '[]')
                      FROM connector k
                     WHERE (k.station_key, k.evse_id) = (e.station_key, e.evse_id)) AS connectors
              FROM station s
              JOIN evse e USING (station_key)
              LEFT JOIN station_connection c USING (station_key)
             WHERE s.retired_at IS NULL AND coalesce(e.public, s.public)
               AND e.evse_uid IS NOT NULL
             LIMIT %s
            """,
            (limit,),
        )
        return await rows.fetchall()
