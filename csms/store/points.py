"""SQL of points as drivers see them, and of their addresses.

What begins with `my` is for a connection that acts for a driver (`csms.db.acting`): the views show
what is hers, to nobody else anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look for points: around a position, or at a site; with neither, at the sites of the
    driver's groups."""

    site_id: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    radius_m: float = 0.0

    def parameters(self) -> dict[str, object]:
        """By the names that the statements below use."""
        return {
            "site_id": self.site_id,
            "latitude": self.latitude,
            "longitude": self.longitude,
            "radius_m": self.radius_m,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """A point and how far it is, as the crow flies; 0 where nobody said from where."""

    code: str
    distance_m: float


@dataclass(frozen=True, slots=True)
class PointRow:
    """A point for the acting driver, with all that she may know of it."""

    code: str
    station_key: int
    evse_id: int
    station_id: str
    client_id: int
    site_id: str | None
    site_name: str
    time_zone: str
    site_static: dict[str, Any] | None
    latitude: float | None
    longitude: float | None
    evse_static: dict[str, Any]
    evse_uid: str | None
    power_w_max: int | None
    status: str
    status_at: datetime | None
    public: bool
    member: bool  # of a group that may charge there, at some hour
    connected: bool
    disconnected_at: datetime | None
    connectors: list[dict[str, Any]] | None  # connector_id, type, power_w_max, status
    occupied_since: datetime | None
    my_session_id: int | None
    reservations: list[dict[str, Any]] | None  # open ones: from_at, to_at, id of her own


@dataclass(frozen=True, slots=True)
class AccessRow:
    """A weekly window of one of the driver's groups at a site."""

    site_id: str
    weekdays: int
    from_minute: int
    to_minute: int
    from_at: datetime
    to_at: datetime | None
    reservations_max: int
    reservation_minutes_max: int


@dataclass(frozen=True, slots=True)
class Address:
    """What a point's public page may tell."""

    code: str
    station_id: str
    evse_id: int
    site_name: str
    public: bool
    status: str
    status_at: datetime | None
    connected: bool
    disconnected_at: datetime | None
    occupied_since: datetime | None
    evse_static: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StickerRow:
    """What a sticker says of a point."""

    code: str
    station_id: str
    evse_id: int
    site_name: str
    evse_uid: str | None
    evse_static: dict[str, Any]


async def list_my_points(
    connection: AsyncConnection, place: Place, *, limit: int, cursor: Cursor | None
) -> list[Found]:
    """Up to `limit` points that the acting driver may use, the nearest first.

    The great circle by the haversine formula on a sphere of 6,371,008.8 m; a box around the place
    is looked at first.
    """
    async with connection.cursor(row_factory=class_row(Found)) as rows:
        await rows.execute(
            """
            SELECT code, distance_m FROM (
                SELECT code, station_id, evse_id,
                       CASE WHEN %(latitude)s::float8 IS NULL THEN 0.0
                            ELSE 2 * 6371008.8 * asin(least(1, sqrt(
                                 power(sin(radians(latitude - %(latitude)s) / 2), 2)
                                 + cos(radians(latitude)) * cos(radians(%(latitude)s))
                                   * power(sin(radians(longitude - %(longitude)s) / 2), 2))))
                       END AS distance_m
                  FROM my_point
                 WHERE (%(site_id)s::text IS NULL OR site_id = %(site_id)s)
                   AND (%(site_id)s::text IS NOT NULL OR %(latitude)s::float8 IS NOT NULL OR member)
                   AND (%(latitude)s::float8 IS NULL
                        OR abs(latitude - %(latitude)s) <= %(radius_m)s::float8 / 111000)) p
             WHERE (%(latitude)s::float8 IS NULL OR distance_m <= %(radius_m)s::float8)
               AND (%(after_m)s::float8 IS NULL
                    OR (distance_m, code) > (%(after_m)s::float8, %(after_code)s::text))
             ORDER BY distance_m, code LIMIT %(limit)s
            """,
            {
                **place.parameters(),
                "limit": limit,
                "after_m": cursor.key[0] if cursor else None,
                "after_code": cursor.key[1] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_my_points(connection: AsyncConnection, place: Place) -> int:
    """How many points `list_my_points` leaves."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM (
            SELECT CASE WHEN %(latitude)s::float8 IS NULL THEN 0.0
                        ELSE 2 * 6371008.8 * asin(least(1, sqrt(
                             power(sin(radians(latitude - %(latitude)s) / 2), 2)
                             + cos(radians(latitude)) * cos(radians(%(latitude)s))
                               * power(sin(radians(longitude - %(longitude)s) / 2), 2))))
                   END AS distance_m
              FROM my_point
             WHERE (%(site_id)s::text IS NULL OR site_id = %(site_id)s)
               AND (%(site_id)s::text IS NOT NULL OR %(latitude)s::float8 IS NOT NULL OR member)
               AND (%(latitude)s::float8 IS NULL
                    OR abs(latitude - %(latitude)s) <= %(radius_m)s::float8 / 111000)) p
         WHERE %(latitude)s::float8 IS NULL OR distance_m <= %(radius_m)s::float8
        """,
        place.parameters(),
    )


async def fetch_my_points(connection: AsyncConnection, codes: Sequence[str]) -> list[PointRow]:
    """These points as the acting driver may know them, in no order; hers alone."""
    async with connection.cursor(row_factory=class_row(PointRow)) as rows:
        await rows.execute(
            """
            SELECT code, station_key, evse_id, station_id, client_id, site_id, site_name, time_zone,
                   site_static, latitude, longitude, evse_static, evse_uid, power_w_max, status,
                   status_at, public, member, connected, disconnected_at, connectors,
                   occupied_since, my_session_id, reservations
              FROM my_point WHERE code = ANY(%s)
            """,
            (list(codes),),
            prepare=False,
        )
        return await rows.fetchall()


async def fetch_access(
    connection: AsyncConnection, person_id: int, site_ids: Sequence[str], now: datetime
) -> list[AccessRow]:
    """The windows of the driver's groups at these sites, those to come too."""
    async with connection.cursor(row_factory=class_row(AccessRow)) as rows:
        await rows.execute(
            """
            SELECT a.site_id, a.weekdays, a.from_minute, a.to_minute, m.from_at, m.to_at,
                   g.reservations_max, g.reservation_minutes_max
              FROM group_member m
              JOIN driver_group g ON g.id = m.group_id AND g.retired_at IS NULL
              JOIN group_access a ON a.group_id = g.id AND a.retired_at IS NULL
             WHERE m.person_id = %(person_id)s AND (m.to_at IS NULL OR m.to_at > %(now)s)
               AND a.site_id = ANY(%(site_ids)s)
            """,
            {"person_id": person_id, "site_ids": list(site_ids), "now": now},
        )
        return await rows.fetchall()


async def act_for(connection: AsyncConnection, person_id: int) -> None:
    """Let the views that begin with `my` show what is this person's until the transaction ends, in
    one of the machines' role; what people only read goes by their own role instead."""
    await connection.execute("SELECT set_config('t2p.person_id', %s, true)", (str(person_id),))


async def find_place(connection: AsyncConnection, code: str) -> tuple[int, int] | None:
    """(station_key, evse_id) of a code; None: there is no such point."""
    cursor = await connection.execute(
        "SELECT station_key, evse_id FROM point WHERE code = %s", (code,)
    )
    row = await cursor.fetchone()
    return None if row is None else (row[0], row[1])


async def get_address(connection: AsyncConnection, code: str) -> Address | None:
    """What the public page of the code tells; None: nothing is there (any more)."""
    async with connection.cursor(row_factory=class_row(Address)) as rows:
        await rows.execute(
            """
            SELECT p.code, s.id AS station_id, p.evse_id, coalesce(site.name, '') AS site_name,
                   coalesce(e.public, s.public) AS public, e.status, e.status_at, e.static AS
                   evse_static, c.disconnected_at IS NULL AND c.node IS NOT NULL AS connected,
                   c.disconnected_at,
                   (SELECT min(x.started_at) FROM session x
                     WHERE x.station_key = p.station_key AND x.evse_id = p.evse_id
                       AND x.state = 'active' AND x.authorization_status <> 'none'
                   ) AS occupied_since
              FROM point p
              JOIN station s USING (station_key)
              JOIN evse e USING (station_key, evse_id)
              LEFT JOIN site ON site.id = s.site_id
              LEFT JOIN station_connection c USING (station_key)
             WHERE p.code = %s AND s.retired_at IS NULL
            """,
            (code,),
        )
        return await rows.fetchone()


async def list_stickers(connection: AsyncConnection, site_id: str, limit: int) -> list[StickerRow]:
    """Points of a site for their stickers, by station and number; hers alone to a manager."""
    async with connection.cursor(row_factory=class_row(StickerRow)) as rows:
        await rows.execute(
            """
            SELECT p.code, s.id AS station_id, p.evse_id, site.name AS site_name, e.evse_uid,
                   e.static AS evse_static
              FROM site
              JOIN station s ON s.site_id = site.id AND s.retired_at IS NULL
              JOIN evse e USING (station_key)
              JOIN point p USING (station_key, evse_id)
             WHERE site.id = %s ORDER BY s.id, p.evse_id LIMIT %s
            """,
            (site_id, limit),
        )
        return await rows.fetchall()
