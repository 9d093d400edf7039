"""SQL of links that are good once, and of browsers that are known."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import fetch_count


@dataclass(frozen=True, slots=True)
class Link:
    """A link that is good now, and whose it is."""

    id: int
    person_id: int
    email: str | None  # the new address, for purpose email
    person_email: str | None
    language: str
    expires_at: datetime


async def add_link(
    connection: AsyncConnection,
    *,
    person_id: int,
    purpose: str,
    token_sha256: bytes,
    email: str | None,
    now: datetime,
    expires_at: datetime,
) -> None:
    """A new link of a person."""
    await connection.execute(
        """
        INSERT INTO one_time_link (person_id, purpose, token_sha256, email, created_at, expires_at)
        VALUES (%(person_id)s, %(purpose)s, %(token_sha256)s, %(email)s, %(now)s, %(expires_at)s)
        """,
        {
            "person_id": person_id,
            "purpose": purpose,
            "token_sha256": token_sha256,
            "email": email,
            "now": now,
            "expires_at": expires_at,
        },
    )


async def find_link(
    connection: AsyncConnection, token_sha256: bytes, purpose: str, now: datetime
) -> Link | None:
    """The link, if it is good now and its person's account is open."""
    async with connection.cursor(row_factory=class_row(Link)) as rows:
        await rows.execute(
            """
            SELECT l.id, l.person_id, l.email, p.email AS person_email, p.language, l.expires_at
              FROM one_time_link l JOIN person p ON p.id = l.person_id
             WHERE l.token_sha256 = %(token_sha256)s AND l.purpose = %(purpose)s
               AND l.used_at IS NULL AND l.expires_at > %(now)s
               AND p.blocked_at IS NULL AND p.closed_at IS NULL
            """,
            {"token_sha256": token_sha256, "purpose": purpose, "now": now},
        )
        return await rows.fetchone()


async def use_link(connection: AsyncConnection, link_id: int, now: datetime) -> bool:
    """Use the link up; False when somebody was faster."""
    cursor = await connection.execute(
        "UPDATE one_time_link SET used_at = %s WHERE id = %s AND used_at IS NULL", (now, link_id)
    )
    return cursor.rowcount == 1


async def void_links(
    connection: AsyncConnection, person_id: int, purpose: str | None, now: datetime
) -> None:
    """No open link of a person works any more, of one purpose or of all."""
    await connection.execute(
        """
        UPDATE one_time_link SET used_at = %(now)s
         WHERE person_id = %(person_id)s AND used_at IS NULL
           AND (%(purpose)s::text IS NULL OR purpose = %(purpose)s)
        """,
        {"person_id": person_id, "purpose": purpose, "now": now},
    )


async def count_links(
    connection: AsyncConnection, person_id: int, purpose: str, since: datetime
) -> int:
    """How many links a person was sent since then."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM one_time_link
         WHERE person_id = %(person_id)s AND purpose = %(purpose)s AND created_at > %(since)s
        """,
        {"person_id": person_id, "purpose": purpose, "since": since},
    )


async def forget_links(connection: AsyncConnection, before: datetime) -> int:
    """Delete links that ended before then; how many."""
    cursor = await connection.execute("DELETE FROM one_time_link WHERE expires_at < %s", (before,))
    return cursor.rowcount


async def add_device(
    connection: AsyncConnection,
    person_id: int,
    token_sha256: bytes,
    now: datetime,
    expires_at: datetime,
) -> None:
    """A browser in which a person has logged in; the same one again: for longer."""
    await connection.execute(
        """
        INSERT INTO trusted_device (person_id, token_sha256, created_at, expires_at)
        VALUES (%(person_id)s, %(token_sha256)s, %(now)s, %(expires_at)s)
        ON CONFLICT (token_sha256) DO UPDATE SET expires_at = excluded.expires_at
         WHERE trusted_device.person_id = excluded.person_id
        """,
        {
            "person_id": person_id,
            "token_sha256": token_sha256,
            "now": now,
            "expires_at": expires_at,
        },
    )


async def knows_device(
    connection: AsyncConnection, person_id: int, token_sha256: bytes, now: datetime
) -> bool:
    """Whether this person has logged in before in this browser."""
    return bool(
        await fetch_count(
            connection,
            """
            SELECT count(*) FROM trusted_device
             WHERE person_id = %(person_id)s AND token_sha256 = %(token_sha256)s
               AND expires_at > %(now)s
            """,
            {"person_id": person_id, "token_sha256": token_sha256, "now": now},
        )
    )


async def forget_devices(connection: AsyncConnection, person_id: int) -> None:
    """Know none of a person's browsers any more."""
    await connection.execute("DELETE FROM trusted_device WHERE person_id = %s", (person_id,))


async def forget_old_devices(connection: AsyncConnection, now: datetime) -> int:
    """Delete those whose time is over; how many."""
    cursor = await connection.execute("DELETE FROM trusted_device WHERE expires_at <= %s", (now,))
    return cursor.rowcount
