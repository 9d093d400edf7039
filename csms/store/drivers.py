"""SQL of drivers: who they are, to whom they are invoiced, how they pay, whose a badge is."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row


@dataclass(frozen=True, slots=True)
class SiteRule:
    """A window at a site, of a group that the driver is or will be in."""

    site_id: str
    time_zone: str
    weekdays: int
    from_minute: int
    to_minute: int
    from_at: datetime
    to_at: datetime | None


async def find_person_of_badge(connection: AsyncConnection, uid: str, at: datetime) -> int | None:
    """Whose badge it was then; None: nobody's."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT person_id FROM driver_badge
             WHERE uid_key = lower(%(uid)s) AND from_at <= %(at)s
               AND (to_at IS NULL OR to_at > %(at)s)
            """,
            {"uid": uid, "at": at},
        )
        found: int | None = await rows.fetchone()
        return found


async def lock_driver(connection: AsyncConnection, person_id: int) -> bool | None:
    """Hold the driver until the transaction ends: whether she may charge at all, that is, neither
    she nor her account is blocked or closed; None: there is no such driver."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT coalesce(p.blocked_at, p.closed_at, d.closed_at) IS NULL
              FROM driver d JOIN person p ON p.id = d.person_id
             WHERE d.person_id = %s FOR UPDATE OF d
            """,
            (person_id,),
        )
        found: bool | None = await rows.fetchone()
        return found


async def find_app_badge(connection: AsyncConnection, person_id: int, now: datetime) -> str | None:
    """The uid of the driver's virtual badge."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT t.uid FROM driver_badge b JOIN token t USING (token_key)
             WHERE b.person_id = %(person_id)s AND b.from_at <= %(now)s
               AND (b.to_at IS NULL OR b.to_at > %(now)s)
               AND t.type = 'Central' AND t.uid ~ '^APP[0-9A-F]{12}$' AND t.retired_at IS NULL
             ORDER BY b.from_at LIMIT 1
            """,
            {"person_id": person_id, "now": now},
        )
        found: str | None = await rows.fetchone()
        return found


async def insert_app_badge(connection: AsyncConnection, uid: str) -> bool:
    """A new virtual badge, of the operator's own client; False when the uid is taken."""
    cursor = await connection.execute(
        """
        INSERT INTO token (uid_key, uid, type) VALUES (lower(%(uid)s), %(uid)s, 'Central')
        ON CONFLICT (uid_key) DO NOTHING
        """,
        {"uid": uid},
    )
    return cursor.rowcount == 1


async def insert_assignment(
    connection: AsyncConnection, uid: str, person_id: int, label: str, now: datetime
) -> None:
    """The badge is the driver's from now on; whoever had it has been taken off before."""
    await connection.execute(
        """
        INSERT INTO driver_badge (token_key, uid_key, person_id, label, from_at)
        SELECT token_key, uid_key, %(person_id)s, %(label)s, %(now)s
          FROM token WHERE uid_key = lower(%(uid)s)
        """,
        {"uid": uid, "person_id": person_id, "label": label, "now": now},
    )


async def list_site_rules(
    connection: AsyncConnection, person_id: int, now: datetime
) -> list[SiteRule]:
    """What the driver's groups say of sites, from now on; by site. Nothing of one who is blocked
    or closed."""
    async with connection.cursor(row_factory=class_row(SiteRule)) as rows:
        await rows.execute(
            """
            SELECT a.site_id, s.time_zone, a.weekdays, a.from_minute, a.to_minute, m.from_at,
                   least(m.to_at, a.retired_at, g.retired_at) AS to_at
              FROM group_member m JOIN driver_group g ON g.id = m.group_id
              JOIN group_access a ON a.group_id = g.id JOIN site s ON s.id = a.site_id
              JOIN driver d ON d.person_id = m.person_id JOIN person p ON p.id = m.person_id
             WHERE m.person_id = %(person_id)s
               AND coalesce(least(m.to_at, a.retired_at, g.retired_at) > %(now)s, true)
               AND coalesce(p.blocked_at, p.closed_at, d.closed_at) IS NULL
             ORDER BY a.site_id, a.id
            """,
            {"person_id": person_id, "now": now},
        )
        return await rows.fetchall()
