"""SQL of log-ins: whom a secret names, how it is replaced, and when it is over."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class Login:
    """A log-in and its person, read with every request."""

    id: int
    person_id: int
    secret_expires_at: datetime
    second_factor_at: datetime | None  # None: by password alone
    last_used_at: datetime
    ended_at: datetime | None
    blocked_at: datetime | None
    closed_at: datetime | None
    operator_roles: list[str]
    language: str
    manages: list[int]  # clients, now
    is_driver: bool


async def find_login(
    connection: AsyncConnection, secret_sha256: bytes, kind: str, now: datetime
) -> Login | None:
    """The log-in with this secret, ended ones too."""
    async with connection.cursor(row_factory=class_row(Login)) as rows:
        await rows.execute(
            """
            SELECT l.id, l.person_id, l.secret_expires_at, l.second_factor_at, l.last_used_at,
                   l.ended_at, p.blocked_at, p.closed_at, p.operator_roles, p.language,
                   ARRAY(SELECT m.client_id FROM client_manager m
                          WHERE m.person_id = p.id AND m.from_at <= %(now)s
                            AND (m.to_at IS NULL OR m.to_at > %(now)s)) AS manages,
                   EXISTS (SELECT FROM driver d
                            WHERE d.person_id = p.id AND d.closed_at IS NULL) AS is_driver
              FROM login_session l JOIN person p ON p.id = l.person_id
             WHERE l.secret_sha256 = %(secret_sha256)s AND l.kind = %(kind)s
            """,
            {"secret_sha256": secret_sha256, "kind": kind, "now": now},
        )
        return await rows.fetchone()


async def touch_login(
    connection: AsyncConnection, login_id: int, now: datetime, grain: timedelta
) -> None:
    """Note the log-in's use, once per `grain`."""
    await connection.execute(
        """
        UPDATE login_session SET last_used_at = %(now)s
         WHERE id = %(id)s AND last_used_at < %(now)s - %(grain)s
        """,
        {"id": login_id, "now": now, "grain": grain},
    )


@dataclass(frozen=True, slots=True)
class Refreshable:
    """A log-in of a program, found by a refresh token that it has or just had."""

    id: int
    person_id: int
    is_former: bool  # the token was replaced already
    refreshed_at: datetime | None
    refresh_expires_at: datetime
    ended_at: datetime | None
    blocked_at: datetime | None
    closed_at: datetime | None
    second_factor_at: datetime | None


@dataclass(frozen=True, slots=True)
class OwnLogin:
    """A log-in as its person sees it."""

    id: int
    kind: str  # page, api
    created_at: datetime
    last_used_at: datetime
    secret_expires_at: datetime
    second_factor_at: datetime | None
    remote_address: str
    user_agent: str


async def add_login(
    connection: AsyncConnection,
    *,
    person_id: int,
    kind: str,
    secret_sha256: bytes,
    secret_expires_at: datetime,
    refresh_sha256: bytes | None,
    refresh_expires_at: datetime | None,
    second_factor_at: datetime | None,
    remote_address: str,
    user_agent: str,
    now: datetime,
) -> int:
    """The id of a new log-in."""
    cursor = await connection.execute(
        """
        INSERT INTO login_session (person_id, kind, secret_sha256, secret_expires_at,
                                   refresh_sha256, refresh_expires_at, second_factor_at,
                                   created_at, last_used_at, remote_address, user_agent)
        VALUES (%(person_id)s, %(kind)s, %(secret_sha256)s, %(secret_expires_at)s,
                %(refresh_sha256)s, %(refresh_expires_at)s, %(second_factor_at)s, %(now)s,
                %(now)s, %(remote_address)s, %(user_agent)s)
        RETURNING id
        """,
        {
            "person_id": person_id,
            "kind": kind,
            "secret_sha256": secret_sha256,
            "secret_expires_at": secret_expires_at,
            "refresh_sha256": refresh_sha256,
            "refresh_expires_at": refresh_expires_at,
            "second_factor_at": second_factor_at,
            "remote_address": remote_address,
            "user_agent": user_agent,
            "now": now,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def lock_refresh(connection: AsyncConnection, refresh_sha256: bytes) -> Refreshable | None:
    """The log-in with this refresh token, the present or the former one; others who show it wait
    for the end of the transaction."""
    async with connection.cursor(row_factory=class_row(Refreshable)) as rows:
        await rows.execute(
            """
            SELECT l.id, l.person_id,
                   l.refresh_sha256 IS DISTINCT FROM %(sha256)s::bytea AS is_former,
                   l.refreshed_at, l.refresh_expires_at, l.ended_at, p.blocked_at, p.closed_at,
                   l.second_factor_at
              FROM login_session l JOIN person p ON p.id = l.person_id
             WHERE l.refresh_sha256 = %(sha256)s OR l.refresh_former_sha256 = %(sha256)s
               FOR UPDATE OF l
            """,
            {"sha256": refresh_sha256},
        )
        return await rows.fetchone()


async def rotate_login(
    connection: AsyncConnection,
    login_id: int,
    *,
    secret_sha256: bytes,
    secret_expires_at: datetime,
    refresh_sha256: bytes,
    refresh_expires_at: datetime,
    remote_address: str,
    now: datetime,
) -> None:
    """Replace access and refresh token; the refresh token of before becomes the former one."""
    await connection.execute(
        """
        UPDATE login_session
           SET refresh_former_sha256 = refresh_sha256, refresh_sha256 = %(refresh_sha256)s,
               refresh_expires_at = %(refresh_expires_at)s, refreshed_at = %(now)s,
               secret_sha256 = %(secret_sha256)s, secret_expires_at = %(secret_expires_at)s,
               last_used_at = %(now)s, remote_address = %(remote_address)s
         WHERE id = %(id)s
        """,
        {
            "id": login_id,
            "secret_sha256": secret_sha256,
            "secret_expires_at": secret_expires_at,
            "refresh_sha256": refresh_sha256,
            "refresh_expires_at": refresh_expires_at,
            "remote_address": remote_address,
            "now": now,
        },
    )


async def prove_login(
    connection: AsyncConnection,
    login_id: int,
    second_factor_at: datetime | None,
    secret_sha256: bytes | None,
) -> None:
    """The log-in has shown its second factor, or counts as without (None). `secret_sha256`: its
    new secret, since what it may do has changed; None keeps it."""
    await connection.execute(
        """
        UPDATE login_session
           SET second_factor_at = %(second_factor_at)s,
               secret_sha256 = coalesce(%(secret_sha256)s, secret_sha256)
         WHERE id = %(id)s
        """,
        {"id": login_id, "second_factor_at": second_factor_at, "secret_sha256": secret_sha256},
    )


async def end_login(
    connection: AsyncConnection, login_id: int, person_id: int, why: str, now: datetime
) -> bool:
    """End a log-in of a person; False when she has none such that is open."""
    cursor = await connection.execute(
        """
        UPDATE login_session SET ended_at = %(now)s, ended_why = %(why)s
         WHERE id = %(id)s AND person_id = %(person_id)s AND ended_at IS NULL
        """,
        {"id": login_id, "person_id": person_id, "why": why, "now": now},
    )
    return cursor.rowcount == 1


async def end_logins(
    connection: AsyncConnection, person_id: int, why: str, now: datetime, *, but: int | None = None
) -> int:
    """End all log-ins of a person, or all `but` one; how many."""
    cursor = await connection.execute(
        """
        UPDATE login_session SET ended_at = %(now)s, ended_why = %(why)s
         WHERE person_id = %(person_id)s AND ended_at IS NULL
           AND id IS DISTINCT FROM %(but)s::bigint
        """,
        {"person_id": person_id, "why": why, "now": now, "but": but},
    )
    return cursor.rowcount


async def list_logins(
    connection: AsyncConnection, person_id: int, now: datetime, idle_since: datetime
) -> list[OwnLogin]:
    """The open log-ins of a person, the last used first. Pages idle since `idle_since` are over."""
    async with connection.cursor(row_factory=class_row(OwnLogin)) as rows:
        await rows.execute(
            """
            SELECT id, kind, created_at, last_used_at, secret_expires_at, second_factor_at,
                   remote_address, user_agent
              FROM login_session
             WHERE person_id = %(person_id)s AND ended_at IS NULL
               AND (kind = 'api'
                    OR (secret_expires_at > %(now)s AND last_used_at > %(idle_since)s))
             ORDER BY last_used_at DESC, id DESC LIMIT 200
            """,
            {"person_id": person_id, "now": now, "idle_since": idle_since},
            prepare=False,
        )
        return await rows.fetchall()


async def list_addresses(connection: AsyncConnection, person_id: int, since: datetime) -> list[str]:
    """From where a person has logged in since then, the latest first; a hundred at most."""
    cursor = await connection.execute(
        """
        SELECT remote_address FROM login_session
         WHERE person_id = %(person_id)s AND created_at > %(since)s
         GROUP BY remote_address ORDER BY max(created_at) DESC LIMIT 100
        """,
        {"person_id": person_id, "since": since},
    )
    return [row[0] for row in await cursor.fetchall()]


async def expire_logins(connection: AsyncConnection, now: datetime, idle_since: datetime) -> int:
    """Mark as ended what can be used no more; how many."""
    cursor = await connection.execute(
        """
        UPDATE login_session SET ended_at = %(now)s, ended_why = 'expired'
         WHERE ended_at IS NULL
           AND CASE kind WHEN 'page' THEN secret_expires_at <= %(now)s
                                          OR last_used_at <= %(idle_since)s
                         ELSE refresh_expires_at <= %(now)s END
        """,
        {"now": now, "idle_since": idle_since},
    )
    return cursor.rowcount


async def forget_logins(connection: AsyncConnection, before: datetime) -> int:
    """Delete log-ins that ended before then; how many."""
    cursor = await connection.execute("DELETE FROM login_session WHERE ended_at < %s", (before,))
    return cursor.rowcount
