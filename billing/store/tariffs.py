"""SQL of tariffs, their versions, and where and for whom each holds."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb


@dataclass(frozen=True, slots=True)
class TariffRow:
    """A tariff by its name."""

    id: int
    client_id: int
    code: str
    name: str
    created_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class VersionRow:
    """What a tariff says, from a moment on until another, which is not included."""

    id: int
    client_id: int
    tariff_id: int
    from_at: datetime
    to_at: datetime | None
    content: dict[str, Any]
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class ScopeRow:
    """Where a tariff holds, and for whom; None: everywhere within, for everybody."""

    id: int
    client_id: int
    tariff_id: int
    site_id: str | None
    station_key: int | None
    station_id: str | None
    evse_id: int | None
    group_id: int | None
    from_at: datetime
    to_at: datetime | None


async def insert_tariff(
    connection: AsyncConnection, client_id: int, code: str, name: str, now: datetime
) -> TariffRow:
    """A new tariff. Raises: psycopg.errors.UniqueViolation for a code that is in use."""
    async with connection.cursor(row_factory=class_row(TariffRow)) as rows:
        await rows.execute(
            """
            INSERT INTO tariff (client_id, code, name, created_at) VALUES (%s, %s, %s, %s)
            RETURNING id, client_id, code, name, created_at, retired_at
            """,
            (client_id, code, name, now),
        )
        row = await rows.fetchone()
    assert row is not None
    return row


async def lock_tariff(connection: AsyncConnection, tariff_id: int) -> TariffRow | None:
    """One tariff, held to the end of the transaction."""
    async with connection.cursor(row_factory=class_row(TariffRow)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, code, name, created_at, retired_at FROM tariff
             WHERE id = %s FOR UPDATE
            """,
            (tariff_id,),
        )
        return await rows.fetchone()


async def list_tariffs(connection: AsyncConnection, client_id: int) -> list[TariffRow]:
    """All of a client's, in the order of their making."""
    async with connection.cursor(row_factory=class_row(TariffRow)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, code, name, created_at, retired_at FROM tariff
             WHERE client_id = %s ORDER BY id
            """,
            (client_id,),
        )
        return await rows.fetchall()


async def retire_tariff(connection: AsyncConnection, tariff_id: int, now: datetime) -> None:
    """The tariff is over: its code is free, what was priced stays."""
    await connection.execute("UPDATE tariff SET retired_at = %s WHERE id = %s", (now, tariff_id))


async def end_version(connection: AsyncConnection, tariff_id: int, at: datetime) -> None:
    """End what held before that moment and had no end."""
    await connection.execute(
        """
        UPDATE tariff_version SET to_at = %(at)s
         WHERE tariff_id = %(tariff_id)s AND from_at < %(at)s AND to_at IS NULL
        """,
        {"tariff_id": tariff_id, "at": at},
    )


async def insert_version(
    connection: AsyncConnection,
    tariff: TariffRow,
    *,
    from_at: datetime,
    to_at: datetime | None,
    content: dict[str, Any],
    actor: str,
    now: datetime,
) -> VersionRow:
    """A new version. Raises: psycopg.errors.ExclusionViolation where it overlaps another."""
    async with connection.cursor(row_factory=class_row(VersionRow)) as rows:
        await rows.execute(
            """
            INSERT INTO tariff_version (client_id, tariff_id, from_at, to_at, content, created_at,
                                        created_by)
            VALUES (%s, %s, %s, %s, %s, %s, %s)
            RETURNING id, client_id, tariff_id, from_at, to_at, content, created_at, created_by
            """,
            (tariff.client_id, tariff.id, from_at, to_at, Jsonb(content), now, actor),
        )
        row = await rows.fetchone()
    assert row is not None
    return row


async def list_versions(
    connection: AsyncConnection, *, client_id: int, tariff_id: int | None = None
) -> list[VersionRow]:
    """Versions of a client's tariffs, or of one of them, oldest first."""
    async with connection.cursor(row_factory=class_row(VersionRow)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, tariff_id, from_at, to_at, content, created_at, created_by
              FROM tariff_version
             WHERE client_id = %(client_id)s
               AND (%(tariff_id)s::bigint IS NULL OR tariff_id = %(tariff_id)s)
             ORDER BY tariff_id, from_at
            """,
            {"client_id": client_id, "tariff_id": tariff_id},
        )
        return await rows.fetchall()


async def is_priced_since(connection: AsyncConnection, tariff_id: int, at: datetime) -> bool:
    """Whether a session that began at that moment or later has its price by the tariff."""
    cursor = await connection.execute(
        """
        SELECT EXISTS (SELECT FROM tariff_version v
                         JOIN priced_session p ON p.tariff_version_id = v.id
                        WHERE v.tariff_id = %s AND p.started_at >= %s)
        """,
        (tariff_id, at),
    )
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def end_scope(
    connection: AsyncConnection,
    client_id: int,
    place: tuple[str | None, int | None, int | None, int | None],
    at: datetime,
) -> None:
    """End what held at a place for the same people before that moment and had no end. The place is
    site_id, station_key, evse_id and group_id."""
    await connection.execute(
        """
        UPDATE tariff_scope SET to_at = %(at)s
         WHERE client_id = %(client_id)s AND from_at < %(at)s AND to_at IS NULL
           AND site_id IS NOT DISTINCT FROM %(site_id)s
           AND station_key IS NOT DISTINCT FROM %(station_key)s
           AND evse_id IS NOT DISTINCT FROM %(evse_id)s
           AND group_id IS NOT DISTINCT FROM %(group_id)s
        """,
        {
            "client_id": client_id,
            "site_id": place[0],
            "station_key": place[1],
            "evse_id": place[2],
            "group_id": place[3],
            "at": at,
        },
    )


async def insert_scope(
    connection: AsyncConnection,
    tariff: TariffRow,
    place: tuple[str | None, int | None, int | None, int | None],
    *,
    from_at: datetime,
    to_at: datetime | None,
    actor: str,
    now: datetime,
) -> int:
    """Where the tariff holds from now on. Raises: psycopg.errors.ExclusionViolation where another
    holds at the same place for the same people."""
    cursor = await connection.execute(
        """
        INSERT INTO tariff_scope (client_id, tariff_id, site_id, station_key, evse_id, group_id,
                                  from_at, to_at, created_at, created_by)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (tariff.client_id, tariff.id, *place, from_at, to_at, now, actor),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def close_scope(connection: AsyncConnection, scope_id: int, at: datetime) -> bool:
    """End a scope; False where it has ended by then or is not there."""
    cursor = await connection.execute(
        """
        UPDATE tariff_scope SET to_at = greatest(from_at, %(at)s)
         WHERE id = %(id)s AND (to_at IS NULL OR to_at > %(at)s)
        """,
        {"id": scope_id, "at": at},
    )
    return cursor.rowcount == 1


async def list_scopes(
    connection: AsyncConnection, *, client_id: int, tariff_id: int | None = None
) -> list[ScopeRow]:
    """Where a client's tariffs hold, or one of them."""
    async with connection.cursor(row_factory=class_row(ScopeRow)) as rows:
        await rows.execute(
            """
            SELECT c.id, c.client_id, c.tariff_id, c.site_id, c.station_key, s.id AS station_id,
                   c.evse_id, c.group_id, c.from_at, c.to_at
              FROM tariff_scope c LEFT JOIN station s USING (station_key)
             WHERE c.client_id = %(client_id)s
               AND (%(tariff_id)s::bigint IS NULL OR c.tariff_id = %(tariff_id)s)
             ORDER BY c.id
            """,
            {"client_id": client_id, "tariff_id": tariff_id},
        )
        return await rows.fetchall()


async def find_station(connection: AsyncConnection, client_id: int, station_id: str) -> int | None:
    """The key of a client's station; None where it has none of that identity."""
    cursor = await connection.execute(
        "SELECT station_key FROM station WHERE id = %s AND client_id = %s", (station_id, client_id)
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def has_site(connection: AsyncConnection, client_id: int, site_id: str) -> bool:
    """Whether the site is the client's."""
    cursor = await connection.execute(
        "SELECT FROM site WHERE id = %s AND client_id = %s", (site_id, client_id)
    )
    return await cursor.fetchone() is not None


async def has_group(connection: AsyncConnection, client_id: int, group_id: int) -> bool:
    """Whether the group of drivers is the client's and not retired."""
    cursor = await connection.execute(
        "SELECT FROM driver_group WHERE id = %s AND client_id = %s AND retired_at IS NULL",
        (group_id, client_id),
    )
    return await cursor.fetchone() is not None
