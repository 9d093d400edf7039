"""SQL of drivers' groups: who belongs to them when, and where they may charge when."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """What people decide of a group."""

    client_id: int
    name: str
    kind: str  # residents, visitors, staff
    reservations_max: int  # open at once, of each driver
    reservation_minutes_max: int


@dataclass(frozen=True, slots=True)
class Group(GroupConfig):
    """A group as people see it."""

    id: int
    members: int  # now
    created_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class Member:
    """A driver in a group."""

    person_id: int
    given_name: str
    family_name: str
    email: str | None
    from_at: datetime
    to_at: datetime | None


@dataclass(frozen=True, slots=True)
class Access:
    """A window at a site, by the site's own clock."""

    id: int
    site_id: str
    weekdays: int  # 1 Monday ... 64 Sunday
    from_minute: int
    to_minute: int
    created_at: datetime


async def list_groups(
    connection: AsyncConnection,
    now: datetime,
    *,
    group_id: int | None = None,
    client_id: int | None = None,
    limit: int = 1,
    cursor: Cursor | None = None,
) -> list[Group]:
    """Up to `limit` groups by id, but retired ones."""
    async with connection.cursor(row_factory=class_row(Group)) as rows:
        await rows.execute(
            """
            SELECT g.id, g.client_id, g.name, g.kind, g.reservations_max,
                   g.reservation_minutes_max, g.created_at, g.retired_at,
                   (SELECT count(*) FROM group_member m
                     WHERE m.group_id = g.id AND m.from_at <= %(now)s
                       AND (m.to_at IS NULL OR m.to_at > %(now)s)) AS members
              FROM driver_group g
             WHERE g.retired_at IS NULL
               AND (%(group_id)s::bigint IS NULL OR g.id = %(group_id)s)
               AND (%(client_id)s::bigint IS NULL OR g.client_id = %(client_id)s)
               AND (%(after)s::bigint IS NULL OR g.id > %(after)s)
             ORDER BY g.id LIMIT %(limit)s
            """,
            {
                "now": now,
                "group_id": group_id,
                "client_id": client_id,
                "limit": limit,
                "after": cursor.key[0] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_groups(connection: AsyncConnection, *, client_id: int | None) -> int:
    """How many groups the filter of `list_groups` leaves."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM driver_group
         WHERE retired_at IS NULL AND (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
        """,
        {"client_id": client_id},
    )


async def get_group(connection: AsyncConnection, group_id: int, now: datetime) -> Group | None:
    """One group; None when there is none or it is retired."""
    found = await list_groups(connection, now, group_id=group_id)
    return found[0] if found else None


async def find_groups(
    connection: AsyncConnection, name: str, client_ids: list[int] | None
) -> list[tuple[int, int]]:
    """(id, client_id) of the groups of this name, without case, of those clients; None: of all."""
    cursor = await connection.execute(
        """
        SELECT id, client_id FROM driver_group
         WHERE lower(name) = lower(%(name)s) AND retired_at IS NULL
           AND (%(clients)s::bigint[] IS NULL OR client_id = ANY (%(clients)s)) ORDER BY id LIMIT 10
        """,
        {"name": name, "clients": client_ids},
    )
    return await cursor.fetchall()


async def lock_group(connection: AsyncConnection, group_id: int) -> GroupConfig | None:
    """The group, held until the transaction ends; None as `get_group`."""
    async with connection.cursor(row_factory=class_row(GroupConfig)) as rows:
        await rows.execute(
            """
            SELECT client_id, name, kind, reservations_max, reservation_minutes_max
              FROM driver_group WHERE id = %s AND retired_at IS NULL FOR UPDATE
            """,
            (group_id,),
        )
        return await rows.fetchone()


async def write_group(
    connection: AsyncConnection, group_id: int | None, config: GroupConfig, now: datetime
) -> int:
    """Write the group, a new one for None; its id. Raises: psycopg.errors.UniqueViolation where
    the client has another group of this name."""
    values = {
        "id": group_id,
        "client_id": config.client_id,
        "name": config.name,
        "kind": config.kind,
        "reservations_max": config.reservations_max,
        "reservation_minutes_max": config.reservation_minutes_max,
        "now": now,
    }
    async with connection.cursor(row_factory=scalar_row) as rows:
        if group_id is None:
            await rows.execute(
                """
                INSERT INTO driver_group (client_id, name, kind, reservations_max,
                                          reservation_minutes_max, created_at)
                VALUES (%(client_id)s, %(name)s, %(kind)s, %(reservations_max)s,
                        %(reservation_minutes_max)s, %(now)s)
                RETURNING id
                """,
                values,
            )
        else:
            await rows.execute(
                """
                UPDATE driver_group
                   SET name = %(name)s, kind = %(kind)s, reservations_max = %(reservations_max)s,
                       reservation_minutes_max = %(reservation_minutes_max)s
                 WHERE id = %(id)s RETURNING id
                """,
                values,
            )
        found: int | None = await rows.fetchone()
        assert found is not None
        return found


async def retire_group(connection: AsyncConnection, group_id: int, now: datetime) -> bool:
    """The group gives nobody access any more; False when there is none."""
    cursor = await connection.execute(
        "UPDATE driver_group SET retired_at = %s WHERE id = %s AND retired_at IS NULL",
        (now, group_id),
    )
    return cursor.rowcount == 1


# --- Members ------------------------------------------------------------------------------------


async def list_members(
    connection: AsyncConnection,
    group_id: int,
    now: datetime,
    *,
    limit: int,
    cursor: Cursor | None,
) -> list[Member]:
    """Up to `limit` members of now and later, by person."""
    async with connection.cursor(row_factory=class_row(Member)) as rows:
        await rows.execute(
            """
            SELECT m.person_id, p.given_name, p.family_name, p.email, m.from_at, m.to_at
              FROM group_member m JOIN person p ON p.id = m.person_id
             WHERE m.group_id = %(group_id)s AND (m.to_at IS NULL OR m.to_at > %(now)s)
               AND (%(person)s::bigint IS NULL
                    OR (m.person_id, m.from_at) > (%(person)s, %(from_at)s))
             ORDER BY m.person_id, m.from_at LIMIT %(limit)s
            """,
            {
                "group_id": group_id,
                "now": now,
                "limit": limit,
                "person": cursor.key[0] if cursor else None,
                "from_at": cursor.key[1] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_members(connection: AsyncConnection, group_id: int, now: datetime) -> int:
    """How many members `list_members` finds."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM group_member
         WHERE group_id = %(group_id)s AND (to_at IS NULL OR to_at > %(now)s)
        """,
        {"group_id": group_id, "now": now},
    )


async def find_membership(
    connection: AsyncConnection, group_id: int, person_id: int, now: datetime
) -> tuple[datetime, datetime | None] | None:
    """(from_at, to_at) of the driver's membership of now, else of her next one."""
    cursor = await connection.execute(
        """
        SELECT from_at, to_at FROM group_member
         WHERE group_id = %(group_id)s AND person_id = %(person_id)s
           AND (to_at IS NULL OR to_at > %(now)s)
         ORDER BY from_at LIMIT 1
        """,
        {"group_id": group_id, "person_id": person_id, "now": now},
    )
    return await cursor.fetchone()


async def insert_member(
    connection: AsyncConnection,
    group_id: int,
    person_id: int,
    from_at: datetime,
    to_at: datetime | None,
) -> None:
    """Raises: psycopg.errors.ExclusionViolation, or UniqueViolation, where she is in it then."""
    await connection.execute(
        "INSERT INTO group_member (group_id, person_id, from_at, to_at) VALUES (%s, %s, %s, %s)",
        (group_id, person_id, from_at, to_at),
    )


async def end_membership(
    connection: AsyncConnection, group_id: int, person_id: int, from_at: datetime, to_at: datetime
) -> None:
    """The membership that began at from_at ends then. Raises: psycopg.errors.ExclusionViolation
    where another one of hers has begun before."""
    await connection.execute(
        """
        UPDATE group_member SET to_at = %(to_at)s
         WHERE group_id = %(group_id)s AND person_id = %(person_id)s AND from_at = %(from_at)s
        """,
        {"group_id": group_id, "person_id": person_id, "from_at": from_at, "to_at": to_at},
    )


async def end_memberships(
    connection: AsyncConnection,
    person_id: int,
    now: datetime,
    *,
    group_id: int | None = None,
) -> int:
    """The driver is in the group no more, or in none at all: what runs ends now, what has yet to
    begin never does. How many there were."""
    cursor = await connection.execute(
        """
        WITH never AS (
            DELETE FROM group_member
             WHERE person_id = %(person_id)s AND from_at >= %(now)s
               AND (%(group_id)s::bigint IS NULL OR group_id = %(group_id)s) RETURNING 1
        ), ended AS (
            UPDATE group_member SET to_at = %(now)s
             WHERE person_id = %(person_id)s AND from_at < %(now)s
               AND (to_at IS NULL OR to_at > %(now)s)
               AND (%(group_id)s::bigint IS NULL OR group_id = %(group_id)s) RETURNING 1
        )
        SELECT (SELECT count(*) FROM never) + (SELECT count(*) FROM ended)
        """,
        {"person_id": person_id, "group_id": group_id, "now": now},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


# --- Access -------------------------------------------------------------------------------------


async def list_access(
    connection: AsyncConnection, group_id: int, *, limit: int, cursor: Cursor | None
) -> list[Access]:
    """Up to `limit` windows in force, by id."""
    async with connection.cursor(row_factory=class_row(Access)) as rows:
        await rows.execute(
            """
            SELECT id, site_id, weekdays, from_minute, to_minute, created_at FROM group_access
             WHERE group_id = %(group_id)s AND retired_at IS NULL
               AND (%(after)s::bigint IS NULL OR id > %(after)s)
             ORDER BY id LIMIT %(limit)s
            """,
            {"group_id": group_id, "limit": limit, "after": cursor.key[0] if cursor else None},
            prepare=False,
        )
        return await rows.fetchall()


async def count_access(connection: AsyncConnection, group_id: int) -> int:
    """How many windows are in force."""
    return await fetch_count(
        connection,
        "SELECT count(*) FROM group_access WHERE group_id = %(id)s AND retired_at IS NULL",
        {"id": group_id},
    )


async def sites_of_group(connection: AsyncConnection, group_id: int) -> frozenset[str]:
    """The sites at which the group has access at some hour."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            "SELECT DISTINCT site_id FROM group_access WHERE group_id = %s AND retired_at IS NULL",
            (group_id,),
        )
        return frozenset(await rows.fetchall())


async def zone_of_group(connection: AsyncConnection, group_id: int) -> str | None:
    """The time zone of the first site at which the group has access; None: it has none."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT s.time_zone FROM group_access a JOIN site s ON s.id = a.site_id
             WHERE a.group_id = %s AND a.retired_at IS NULL ORDER BY a.id LIMIT 1
            """,
            (group_id,),
        )
        found: str | None = await rows.fetchone()
        return found


async def insert_access(
    connection: AsyncConnection,
    group_id: int,
    client_id: int,
    *,
    site_id: str,
    weekdays: int,
    from_minute: int,
    to_minute: int,
    now: datetime,
) -> Access:
    """A window at a site of the group's client."""
    async with connection.cursor(row_factory=class_row(Access)) as rows:
        await rows.execute(
            """
            INSERT INTO group_access (group_id, client_id, site_id, weekdays, from_minute,
                                      to_minute, created_at)
            VALUES (%(group_id)s, %(client_id)s, %(site_id)s, %(weekdays)s, %(from_minute)s,
                    %(to_minute)s, %(now)s)
            RETURNING id, site_id, weekdays, from_minute, to_minute, created_at
            """,
            {
                "group_id": group_id,
                "client_id": client_id,
                "site_id": site_id,
                "weekdays": weekdays,
                "from_minute": from_minute,
                "to_minute": to_minute,
                "now": now,
            },
        )
        made = await rows.fetchone()
        assert made is not None
        return made


async def retire_access(
    connection: AsyncConnection, group_id: int, access_id: int, now: datetime
) -> bool:
    """The window is over; False when the group has none of this id."""
    cursor = await connection.execute(
        """
        UPDATE group_access SET retired_at = %(now)s
         WHERE group_id = %(group_id)s AND id = %(id)s AND retired_at IS NULL
        """,
        {"group_id": group_id, "id": access_id, "now": now},
    )
    return cursor.rowcount == 1
