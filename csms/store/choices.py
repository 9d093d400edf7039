"""SQL of what people choose of their notifications: preferences, quiet hours, watches."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Minutes of the day on the zone's clock."""

    from_minute: int
    to_minute: int
    time_zone: str


@dataclass(frozen=True, slots=True)
class WatchRow:
    """A wish to be told when a point is free."""

    id: int
    site_id: str | None
    station_id: str | None
    evse_id: int | None
    created_at: datetime
    expires_at: datetime


async def fetch_preferences(
    connection: AsyncConnection, person_id: int
) -> dict[tuple[str, str], bool]:
    """What she has chosen, by category and channel; what is not there is as the catalogue says."""
    cursor = await connection.execute(
        "SELECT category, channel, enabled FROM notification_preference WHERE person_id = %s",
        (person_id,),
    )
    return {(row[0], row[1]): row[2] for row in await cursor.fetchall()}


async def replace_preferences(
    connection: AsyncConnection,
    person_id: int,
    enabled: Mapping[tuple[str, str], bool],
    now: datetime,
) -> None:
    """Keep these choices and no others."""
    await connection.execute(
        """
        WITH wanted AS (
            SELECT * FROM jsonb_to_recordset(%(choices)s)
                  AS x (category text, channel text, enabled boolean)
        ), dropped AS (
            DELETE FROM notification_preference
             WHERE person_id = %(person_id)s
               AND (category, channel) NOT IN (SELECT category, channel FROM wanted)
        )
        INSERT INTO notification_preference (person_id, category, channel, enabled, updated_at)
        SELECT %(person_id)s, category, channel, enabled, %(now)s FROM wanted
        ON CONFLICT (person_id, category, channel) DO UPDATE
           SET enabled = EXCLUDED.enabled, updated_at = EXCLUDED.updated_at
        """,
        {
            "person_id": person_id,
            "now": now,
            "choices": Jsonb(
                [
                    {"category": category, "channel": channel, "enabled": value}
                    for (category, channel), value in enabled.items()
                ]
            ),
        },
    )


async def fetch_quiet_hours(connection: AsyncConnection, person_id: int) -> QuietHours | None:
    """Her quiet hours; None: she has none."""
    async with connection.cursor(row_factory=class_row(QuietHours)) as rows:
        await rows.execute(
            "SELECT from_minute, to_minute, time_zone FROM quiet_hours WHERE person_id = %s",
            (person_id,),
        )
        return await rows.fetchone()


async def write_quiet_hours(
    connection: AsyncConnection, person_id: int, hours: QuietHours, now: datetime
) -> None:
    """Set her quiet hours."""
    await connection.execute(
        """
        INSERT INTO quiet_hours (person_id, from_minute, to_minute, time_zone, updated_at)
        VALUES (%(person_id)s, %(from)s, %(to)s, %(zone)s, %(now)s)
        ON CONFLICT (person_id) DO UPDATE
           SET from_minute = EXCLUDED.from_minute, to_minute = EXCLUDED.to_minute,
               time_zone = EXCLUDED.time_zone, updated_at = EXCLUDED.updated_at
        """,
        {
            "person_id": person_id,
            "from": hours.from_minute,
            "to": hours.to_minute,
            "zone": hours.time_zone,
            "now": now,
        },
    )


async def delete_quiet_hours(connection: AsyncConnection, person_id: int) -> None:
    """She has none any more."""
    await connection.execute("DELETE FROM quiet_hours WHERE person_id = %s", (person_id,))


async def end_old_watches(connection: AsyncConnection, person_id: int, now: datetime) -> None:
    """What has expired makes room for the same wish again."""
    await connection.execute(
        """
        UPDATE point_watch SET cancelled_at = expires_at
         WHERE person_id = %(person_id)s AND fulfilled_at IS NULL AND cancelled_at IS NULL
           AND expires_at <= %(now)s
        """,
        {"person_id": person_id, "now": now},
    )


async def insert_watch(
    connection: AsyncConnection,
    person_id: int,
    *,
    site_id: str | None,
    station_id: str | None,
    evse_id: int | None,
    now: datetime,
    expires_at: datetime,
) -> int | None:
    """A watch; of the same wish that is open, the later end. Its id; None when the station does not
    exist."""
    cursor = await connection.execute(
        """
        INSERT INTO point_watch (person_id, site_id, station_key, evse_id, created_at, expires_at)
        SELECT %(person_id)s, %(site_id)s, t.station_key, %(evse_id)s, %(now)s, %(expires_at)s
          FROM (SELECT 1) one LEFT JOIN station t ON t.id = %(station_id)s AND t.retired_at IS NULL
         WHERE %(station_id)s::text IS NULL OR t.station_key IS NOT NULL
        ON CONFLICT (person_id, coalesce(site_id, ''), coalesce(station_key, 0),
                     coalesce(evse_id, 0))
              WHERE fulfilled_at IS NULL AND cancelled_at IS NULL
        DO UPDATE SET expires_at = greatest(point_watch.expires_at, EXCLUDED.expires_at)
        RETURNING id
        """,
        {
            "person_id": person_id,
            "site_id": site_id,
            "station_id": station_id,
            "evse_id": evse_id,
            "now": now,
            "expires_at": expires_at,
        },
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def list_watches(
    connection: AsyncConnection, person_id: int, now: datetime
) -> list[WatchRow]:
    """Her open watches, oldest first."""
    async with connection.cursor(row_factory=class_row(WatchRow)) as rows:
        await rows.execute(
            """
            SELECT w.id, w.site_id, t.id AS station_id, w.evse_id, w.created_at, w.expires_at
              FROM point_watch w LEFT JOIN station t USING (station_key)
             WHERE w.person_id = %(person_id)s AND w.fulfilled_at IS NULL
               AND w.cancelled_at IS NULL AND w.expires_at > %(now)s
             ORDER BY w.id
            """,
            {"person_id": person_id, "now": now},
        )
        return await rows.fetchall()


async def cancel_watch(
    connection: AsyncConnection, person_id: int, watch_id: int, now: datetime
) -> bool:
    """End a watch of hers; False when there is none that is open."""
    cursor = await connection.execute(
        """
        UPDATE point_watch SET cancelled_at = %(now)s
         WHERE id = %(id)s AND person_id = %(person_id)s AND fulfilled_at IS NULL
           AND cancelled_at IS NULL AND expires_at > %(now)s
        """,
        {"id": watch_id, "person_id": person_id, "now": now},
    )
    return cursor.rowcount == 1
