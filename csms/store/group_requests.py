"""SQL of requests to belong to a group: whom a manager wants in it, and whether she agreed."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row


@dataclass(frozen=True, slots=True)
class GroupRequest:
    """A request that waits for its person's answer."""

    group_id: int
    name: str  # the group's
    client: str  # its client's name
    asked_at: datetime
    expires_at: datetime
    from_at: datetime | None  # of the membership; None: once she agrees
    to_at: datetime | None


async def is_managed(
    connection: AsyncConnection, person_id: int, client_ids: list[int], now: datetime
) -> bool:
    """Whether she is in a group of one of the clients, will be, or left it less than three months
    ago: what row-level security shows their managers (`managed_drivers`)."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT EXISTS (SELECT FROM group_member m JOIN driver_group g ON g.id = m.group_id
                            WHERE m.person_id = %(person_id)s AND g.client_id = ANY (%(clients)s)
                              AND (m.to_at IS NULL
                                   OR m.to_at > %(now)s::timestamptz - interval '3 months'))
            """,
            {"person_id": person_id, "clients": client_ids, "now": now},
        )
        return bool(await rows.fetchone())


async def insert_request(
    connection: AsyncConnection,
    group_id: int,
    person_id: int,
    *,
    asked_by: str,
    now: datetime,
    expires_at: datetime,
    from_at: datetime | None,
    to_at: datetime | None,
) -> bool:
    """She is asked; False where she was already, or refused, and that has not expired."""
    cursor = await connection.execute(
        """
        INSERT INTO group_request AS former
               (group_id, person_id, asked_by, asked_at, expires_at, from_at, to_at)
        VALUES (%(group_id)s, %(person_id)s, %(asked_by)s, %(now)s, %(expires_at)s, %(from_at)s,
                %(to_at)s)
        ON CONFLICT (group_id, person_id) DO UPDATE
           SET asked_by = excluded.asked_by, asked_at = excluded.asked_at,
               expires_at = excluded.expires_at, from_at = excluded.from_at,
               to_at = excluded.to_at, decided_at = NULL, accepted = NULL
         WHERE former.expires_at <= %(now)s OR former.accepted
        """,
        {
            "group_id": group_id,
            "person_id": person_id,
            "asked_by": asked_by,
            "now": now,
            "expires_at": expires_at,
            "from_at": from_at,
            "to_at": to_at,
        },
    )
    return cursor.rowcount == 1


async def list_open(
    connection: AsyncConnection, person_id: int, now: datetime
) -> list[GroupRequest]:
    """What waits for her answer, by group; nothing of groups that are retired."""
    async with connection.cursor(row_factory=class_row(GroupRequest)) as rows:
        await rows.execute(
            """
            SELECT r.group_id, g.name, c.name AS client, r.asked_at, r.expires_at, r.from_at,
                   r.to_at
              FROM group_request r JOIN driver_group g ON g.id = r.group_id
              JOIN client c ON c.id = g.client_id
             WHERE r.person_id = %(person_id)s AND r.decided_at IS NULL
               AND r.expires_at > %(now)s AND g.retired_at IS NULL
               AND (r.to_at IS NULL OR r.to_at > %(now)s)
             ORDER BY r.group_id
            """,
            {"person_id": person_id, "now": now},
        )
        return await rows.fetchall()


async def decide(
    connection: AsyncConnection, group_id: int, person_id: int, now: datetime, *, accepted: bool
) -> tuple[datetime | None, datetime | None] | None:
    """Write her answer; (from_at, to_at) of the membership, None where nothing waits for it."""
    cursor = await connection.execute(
        """
        UPDATE group_request SET decided_at = %(now)s, accepted = %(accepted)s
         WHERE group_id = %(group_id)s AND person_id = %(person_id)s AND decided_at IS NULL
           AND expires_at > %(now)s
        RETURNING from_at, to_at
        """,
        {"group_id": group_id, "person_id": person_id, "now": now, "accepted": accepted},
    )
    return await cursor.fetchone()


async def delete_requests_of(connection: AsyncConnection, person_id: int) -> None:
    """Nothing is asked of her any more."""
    await connection.execute("DELETE FROM group_request WHERE person_id = %s", (person_id,))


async def delete_requests(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Requests that expired before then."""
    cursor = await connection.execute(
        """
        DELETE FROM group_request WHERE (group_id, person_id) IN (
            SELECT group_id, person_id FROM group_request WHERE expires_at < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount
