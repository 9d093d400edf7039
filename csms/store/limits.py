"""SQL of the limits of power that people set."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class PowerLimitRow:
    """A limit as people see it; of a site or of a station, never both."""

    id: int
    site_id: str | None
    station_id: str | None
    evse_id: int | None  # None: the station, or site, as a whole
    limit_w: int
    from_at: datetime
    to_at: datetime | None
    reason: str
    created_by: str | None
    created_at: datetime


async def insert_limit(
    connection: AsyncConnection,
    *,
    site_id: str | None,
    station_id: str | None,
    evse_id: int | None,
    limit_w: int,
    from_at: datetime,
    to_at: datetime | None,
    reason: str,
    created_by: str | None,
) -> int | None:
    """Set a limit; its id, None when there is no such site or station."""
    cursor = await connection.execute(
        """
        WITH place AS (
            SELECT client_id, NULL::text AS site_id, station_key FROM station
             WHERE id = %(station_id)s AND retired_at IS NULL
             UNION ALL
            SELECT client_id, id, NULL FROM site WHERE id = %(site_id)s
        )
        INSERT INTO power_limit (client_id, site_id, station_key, evse_id, limit_w, from_at, to_at,
                                 reason, created_by)
        SELECT client_id, site_id, station_key, %(evse_id)s, %(limit_w)s, %(from_at)s, %(to_at)s,
               %(reason)s, %(created_by)s
          FROM place
        RETURNING id
        """,
        {
            "site_id": site_id,
            "station_id": station_id,
            "evse_id": evse_id,
            "limit_w": limit_w,
            "from_at": from_at,
            "to_at": to_at,
            "reason": reason,
            "created_by": created_by,
        },
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def change_limit(
    connection: AsyncConnection,
    limit_id: int,
    *,
    limit_w: int,
    from_at: datetime,
    to_at: datetime | None,
    reason: str,
) -> None:
    """Write a limit that is in force anew."""
    await connection.execute(
        """
        UPDATE power_limit SET limit_w = %s, from_at = %s, to_at = %s, reason = %s
         WHERE id = %s AND retired_at IS NULL
        """,
        (limit_w, from_at, to_at, reason, limit_id),
    )


async def retire_limit(connection: AsyncConnection, limit_id: int, now: datetime) -> bool:
    """Lift a limit; False when there is none."""
    cursor = await connection.execute(
        "UPDATE power_limit SET retired_at = %s WHERE id = %s AND retired_at IS NULL",
        (now, limit_id),
    )
    return cursor.rowcount == 1


async def list_limits(
    connection: AsyncConnection,
    *,
    limit_id: int | None = None,
    site_id: str | None = None,
    station_id: str | None = None,
    limit: int = 1,
    cursor: Cursor | None = None,
) -> list[PowerLimitRow]:
    """Up to `limit` limits that were not lifted, newest first."""
    async with connection.cursor(row_factory=class_row(PowerLimitRow)) as rows:
        await rows.execute(
            """
            SELECT p.id, p.site_id, s.id AS station_id, p.evse_id, p.limit_w, p.from_at, p.to_at,
                   p.reason, p.created_by, p.created_at
              FROM power_limit p LEFT JOIN station s USING (station_key)
             WHERE p.retired_at IS NULL
               AND (%(limit_id)s::bigint IS NULL OR p.id = %(limit_id)s)
               AND (%(site_id)s::text IS NULL OR p.site_id = %(site_id)s)
               AND (%(station_id)s::text IS NULL OR s.id = %(station_id)s)
               AND (%(after)s::bigint IS NULL OR p.id < %(after)s)
             ORDER BY p.id DESC LIMIT %(limit)s
            """,
            {
                "limit_id": limit_id,
                "site_id": site_id,
                "station_id": station_id,
                "limit": limit,
                "after": cursor.key[0] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_limits(
    connection: AsyncConnection, *, site_id: str | None, station_id: str | None
) -> int:
    """How many limits those filters leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM power_limit p LEFT JOIN station s USING (station_key)
         WHERE p.retired_at IS NULL
           AND (%(site_id)s::text IS NULL OR p.site_id = %(site_id)s)
           AND (%(station_id)s::text IS NULL OR s.id = %(station_id)s)
        """,
        {"site_id": site_id, "station_id": station_id},
    )
