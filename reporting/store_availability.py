"""SQL of the histories that availability is reckoned from: one statement, one named function; the
caller owns the transaction. For an operator's connection, or one that acts for a manager: then
row-level security, and the view station_status, show what is of her clients."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import class_row

LATE: Final = timedelta(days=35)  # what a station told later than so of a period is not looked for
EARLY: Final = timedelta(days=1)  # how much later than we held it to be true a status may have come


@dataclass(frozen=True, slots=True)
class PointRow:
    """A point that was in force at some time of a period."""

    client_id: int
    client: str
    site_id: str | None
    site: str
    station_key: int
    station_id: str
    evse_id: int
    evse_uid: str | None
    evse_static: Mapping[str, Any]
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A status of a connector (0: the point itself), or else the link up or down (evse_id None)."""

    station_key: int
    at: datetime
    evse_id: int | None  # 0: the station as a whole
    connector_id: int | None
    status: str | None
    up: bool | None
    id: int  # of links: the order in which they became known


async def list_points(
    connection: AsyncConnection,
    *,
    client_ids: Sequence[int] | None,
    site_id: str | None,
    from_at: datetime,
    limit: int,
) -> list[PointRow]:
    """Points that were not retired before the moment, by client, site and station."""
    async with connection.cursor(row_factory=class_row(PointRow)) as rows:
        await rows.execute(
            """
            SELECT c.id AS client_id, coalesce(c.legal_name, c.name) AS client, s.site_id,
                   coalesce(nullif(site.name, ''), s.site_id, '') AS site, s.station_key,
                   s.id AS station_id, e.evse_id, e.evse_uid, e.static AS evse_static, s.retired_at
              FROM station s JOIN evse e USING (station_key)
              JOIN client c ON c.id = s.client_id
              LEFT JOIN site ON site.id = s.site_id
             WHERE (s.retired_at IS NULL OR s.retired_at > %(from_at)s)
               AND (%(client_ids)s::bigint[] IS NULL OR s.client_id = ANY (%(client_ids)s))
               AND (%(site_id)s::text IS NULL OR s.site_id = %(site_id)s)
             ORDER BY 2, 1, 4, 3, s.id, e.evse_id LIMIT %(limit)s
            """,
            {
                "client_ids": None if client_ids is None else list(client_ids),
                "site_id": site_id,
                "from_at": from_at,
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def stream_changes(
    connection: AsyncConnection, station_keys: Sequence[int], from_at: datetime, to_at: datetime
) -> AsyncIterator[ChangeRow]:
    """Statuses and links of stations up to `to_at`, station by station: those since `from_at`, and
    of each connector and each link the last one before. Links are in their own order."""
    async with connection.cursor(row_factory=class_row(ChangeRow)) as rows:
        found = rows.stream(
            """
            WITH place AS (
                SELECT station_key, evse_id, connector_id FROM connector
                 WHERE station_key = ANY (%(keys)s)
                 UNION ALL
                SELECT station_key, evse_id, 0 FROM evse WHERE station_key = ANY (%(keys)s)
                 UNION ALL
                SELECT station_key, 0, 0 FROM station WHERE station_key = ANY (%(keys)s)
            )
            SELECT station_key, at, evse_id, connector_id, status, NULL::boolean AS up,
                   0::bigint AS id
              FROM place CROSS JOIN LATERAL (
                   SELECT h.at, h.status FROM station_status h
                    WHERE h.station_key = place.station_key AND h.evse_id = place.evse_id
                      AND coalesce(h.connector_id, 0) = place.connector_id
                      AND h.received_at < %(from_at)s AND h.at < %(from_at)s
                    ORDER BY h.received_at DESC LIMIT 1) former
             UNION ALL
            SELECT station_key, at, evse_id, coalesce(connector_id, 0), status, NULL, 0
              FROM station_status
             WHERE station_key = ANY (%(keys)s) AND at < %(to_at)s
               AND received_at >= %(from_at)s - %(early)s::interval
               AND received_at < %(to_at)s + %(late)s::interval
             UNION ALL
            SELECT l.station_key, l.at, NULL, NULL, NULL, l.up, l.id
              FROM station k CROSS JOIN LATERAL (
                   SELECT * FROM station_link h
                    WHERE h.station_key = k.station_key AND h.at < %(from_at)s
                    ORDER BY h.at DESC, h.id DESC LIMIT 1) l
             WHERE k.station_key = ANY (%(keys)s)
             UNION ALL
            SELECT station_key, at, NULL, NULL, NULL, up, id FROM station_link
             WHERE station_key = ANY (%(keys)s) AND at >= %(from_at)s AND at < %(to_at)s
             ORDER BY station_key, at, id
            """,
            {
                "keys": list(station_keys),
                "from_at": from_at,
                "to_at": to_at,
                "early": EARLY,
                "late": LATE,
            },
        )
        async for row in found:
            yield row
