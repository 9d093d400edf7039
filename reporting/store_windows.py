"""SQL of windows of planned work and exclusions, and of subscribed power: one statement, one named
function; the caller owns the transaction."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class WindowRow:
    """A window as people see it."""

    id: int
    client_id: int
    site_id: str
    station_id: str | None  # None: the site as a whole
    evse_id: int | None  # None: the station as a whole
    kind: str  # planned, excluded
    starts_at: datetime
    ends_at: datetime
    cause: str
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    revoked_by: str | None
    revoked_for: str | None
    contradicts: list[int]  # windows in force of the other kind, at the same time and place


@dataclass(frozen=True, slots=True)
class PowerRow:
    """What a site has subscribed, from a day on."""

    id: int
    client_id: int
    site_id: str
    from_on: date
    subscribed_power_w: int
    created_at: datetime
    created_by: str
    withdrawn_at: datetime | None
    withdrawn_by: str | None


async def find_place(
    connection: AsyncConnection, site_id: str | None, station_id: str | None, evse_id: int | None
) -> tuple[int, str, int | None] | None:
    """Client, site and station_key of a site, of a station in force, or of a point of it; None:
    there is none, or the station stands at no site."""
    cursor = await connection.execute(
        """
        SELECT client_id, id, NULL::integer FROM site
         WHERE id = %(site_id)s AND %(station_id)s::text IS NULL
         UNION ALL
        SELECT s.client_id, s.site_id, s.station_key FROM station s
         WHERE s.id = %(station_id)s AND s.retired_at IS NULL AND s.site_id IS NOT NULL
           AND (%(site_id)s::text IS NULL OR s.site_id = %(site_id)s)
           AND (%(evse_id)s::integer IS NULL
                OR EXISTS (SELECT FROM evse e WHERE e.station_key = s.station_key
                                                AND e.evse_id = %(evse_id)s))
        """,
        {"site_id": site_id, "station_id": station_id, "evse_id": evse_id},
    )
    return await cursor.fetchone()


async def insert_window(connection: AsyncConnection, values: dict[str, Any]) -> int | None:
    """A window; its id. None: the same is in force already."""
    cursor = await connection.execute(
        """
        INSERT INTO availability_window (client_id, site_id, station_key, evse_id, kind, starts_at,
                                         ends_at, cause, created_at, created_by)
        VALUES (%(client_id)s, %(site_id)s, %(station_key)s, %(evse_id)s, %(kind)s, %(starts_at)s,
                %(ends_at)s, %(cause)s, %(now)s, %(actor)s)
        ON CONFLICT DO NOTHING
        RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def find_window(connection: AsyncConnection, values: dict[str, Any]) -> int | None:
    """The window in force at the same place, of the same kind and time."""
    cursor = await connection.execute(
        """
        SELECT id FROM availability_window
         WHERE site_id = %(site_id)s AND station_key IS NOT DISTINCT FROM %(station_key)s
           AND evse_id IS NOT DISTINCT FROM %(evse_id)s AND kind = %(kind)s
           AND starts_at = %(starts_at)s AND ends_at = %(ends_at)s AND revoked_at IS NULL
        """,
        values,
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def revoke_window(
    connection: AsyncConnection, window_id: int, now: datetime, by: str, reason: str
) -> int | None:
    """A window counts no more; its client. None: there is none in force."""
    cursor = await connection.execute(
        """
        UPDATE availability_window SET revoked_at = %s, revoked_by = %s, revoked_for = %s
         WHERE id = %s AND revoked_at IS NULL RETURNING client_id
        """,
        (now, by, reason, window_id),
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def list_windows(
    connection: AsyncConnection,
    *,
    site_id: str | None = None,
    window_id: int | None = None,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
    client_ids: list[int] | None = None,
    limit: int = 1,
    cursor: Cursor | None = None,
) -> list[WindowRow]:
    """Windows, revoked ones too, the newest entry first; with bounds, those that touch them."""
    async with connection.cursor(row_factory=class_row(WindowRow)) as rows:
        await rows.execute(
            """
            SELECT w.id, w.client_id, w.site_id, s.id AS station_id, w.evse_id, w.kind,
                   w.starts_at, w.ends_at, w.cause, w.created_at, w.created_by, w.revoked_at,
                   w.revoked_by, w.revoked_for,
                   ARRAY(SELECT o.id FROM availability_window o
                          WHERE o.site_id = w.site_id AND o.kind <> w.kind
                            AND o.revoked_at IS NULL AND w.revoked_at IS NULL
                            AND o.starts_at < w.ends_at AND o.ends_at > w.starts_at
                            AND (o.station_key IS NULL OR w.station_key IS NULL
                                 OR o.station_key = w.station_key
                                    AND (o.evse_id IS NULL OR w.evse_id IS NULL
                                         OR o.evse_id = w.evse_id))
                          ORDER BY o.id) AS contradicts
              FROM availability_window w LEFT JOIN station s USING (station_key)
             WHERE (%(site_id)s::text IS NULL OR w.site_id = %(site_id)s)
               AND (%(window_id)s::bigint IS NULL OR w.id = %(window_id)s)
               AND (%(from_at)s::timestamptz IS NULL OR w.ends_at > %(from_at)s)
               AND (%(to_at)s::timestamptz IS NULL OR w.starts_at < %(to_at)s)
               AND (%(client_ids)s::bigint[] IS NULL OR w.client_id = ANY (%(client_ids)s))
               AND (%(after)s::bigint IS NULL OR w.id < %(after)s)
             ORDER BY w.id DESC LIMIT %(limit)s
            """,
            {
                "site_id": site_id,
                "window_id": window_id,
                "from_at": from_at,
                "to_at": to_at,
                "client_ids": client_ids,
                "after": None if cursor is None else cursor.key[0],
                "limit": limit,
            },
        )
        return await rows.fetchall()


async def count_windows(
    connection: AsyncConnection,
    *,
    site_id: str | None,
    from_at: datetime | None,
    to_at: datetime | None,
    client_ids: list[int] | None,
) -> int:
    """How many `list_windows` would list in all."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM availability_window w
         WHERE (%(site_id)s::text IS NULL OR w.site_id = %(site_id)s)
           AND (%(from_at)s::timestamptz IS NULL OR w.ends_at > %(from_at)s)
           AND (%(to_at)s::timestamptz IS NULL OR w.starts_at < %(to_at)s)
           AND (%(client_ids)s::bigint[] IS NULL OR w.client_id = ANY (%(client_ids)s))
        """,
        {"site_id": site_id, "from_at": from_at, "to_at": to_at, "client_ids": client_ids},
    )


async def insert_power(connection: AsyncConnection, values: dict[str, Any]) -> int | None:
    """What a site has subscribed; its id. None: something is entered for that day already."""
    cursor = await connection.execute(
        """
        INSERT INTO subscribed_power (client_id, site_id, from_on, subscribed_power_w, created_at,
                                      created_by)
        VALUES (%(client_id)s, %(site_id)s, %(from_on)s, %(subscribed_power_w)s, %(now)s,
                %(actor)s)
        ON CONFLICT DO NOTHING
        RETURNING id
        """,
        values,
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def withdraw_power(
    connection: AsyncConnection, power_id: int, now: datetime, by: str
) -> int | None:
    """An entry was wrong; its client. None: there is none in force."""
    cursor = await connection.execute(
        """
        UPDATE subscribed_power SET withdrawn_at = %s, withdrawn_by = %s
         WHERE id = %s AND withdrawn_at IS NULL RETURNING client_id
        """,
        (now, by, power_id),
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def list_powers(
    connection: AsyncConnection,
    *,
    site_id: str | None = None,
    power_id: int | None = None,
    in_force_on: date | None = None,
    client_ids: list[int] | None = None,
    limit: int = 1,
    cursor: Cursor | None = None,
) -> list[PowerRow]:
    """What sites have subscribed, withdrawn entries too, the newest first; in_force_on: only the
    entry of that very day that was not withdrawn."""
    async with connection.cursor(row_factory=class_row(PowerRow)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, site_id, from_on, subscribed_power_w, created_at, created_by,
                   withdrawn_at, withdrawn_by
              FROM subscribed_power
             WHERE (%(site_id)s::text IS NULL OR site_id = %(site_id)s)
               AND (%(power_id)s::bigint IS NULL OR id = %(power_id)s)
               AND (%(in_force_on)s::date IS NULL
                    OR from_on = %(in_force_on)s AND withdrawn_at IS NULL)
               AND (%(client_ids)s::bigint[] IS NULL OR client_id = ANY (%(client_ids)s))
               AND (%(after)s::bigint IS NULL OR id < %(after)s)
             ORDER BY id DESC LIMIT %(limit)s
            """,
            {
                "site_id": site_id,
                "power_id": power_id,
                "in_force_on": in_force_on,
                "client_ids": client_ids,
                "after": None if cursor is None else cursor.key[0],
                "limit": limit,
            },
        )
        return await rows.fetchall()


async def count_powers(
    connection: AsyncConnection, *, site_id: str | None, client_ids: list[int] | None
) -> int:
    """How many `list_powers` would list in all."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM subscribed_power
         WHERE (%(site_id)s::text IS NULL OR site_id = %(site_id)s)
           AND (%(client_ids)s::bigint[] IS NULL OR client_id = ANY (%(client_ids)s))
        """,
        {"site_id": site_id, "client_ids": client_ids},
    )
