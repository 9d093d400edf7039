"""SQL of badges, known and unknown. A badge is looked up by `uid_key`, its uid in lower case."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class TokenConfig:
    """What people decide of a badge: one row, written whole."""

    uid: str
    client_id: int
    type: str
    status: str
    group_uid: str | None
    valid_until: datetime | None  # None: without end
    site_ids: list[str] | None  # None: at every site
    concurrent_max: int | None  # open sessions at once; None: the setting; 0: no bound


@dataclass(frozen=True, slots=True)
class Token(TokenConfig):
    """A badge as people see it."""

    client: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class UnknownToken:
    """A badge shown at a station that nobody has entered."""

    uid: str
    station_id: str  # where last shown
    first_seen_at: datetime
    last_seen_at: datetime
    count: int


async def list_tokens(
    connection: AsyncConnection,
    *,
    uid: str | None = None,
    status: str | None = None,
    group_uid: str | None = None,
    site_id: str | None = None,
    search: str | None = None,
    limit: int = 1,
    cursor: Cursor | None = None,
) -> list[Token]:
    """Up to `limit` badges by uid; `site_id` finds those that may charge there, at some hour."""
    async with connection.cursor(row_factory=class_row(Token)) as rows:
        await rows.execute(
            """
            SELECT uid, client_id, client.name AS client, type, status, group_uid, valid_until,
                   site_ids, concurrent_max, created_at, updated_at
              FROM token JOIN client ON client.id = client_id
             WHERE retired_at IS NULL
               AND (%(uid)s::text IS NULL OR uid_key = lower(%(uid)s))
               AND (%(status)s::text IS NULL OR status = %(status)s)
               AND (%(group_uid)s::text IS NULL OR lower(group_uid) = lower(%(group_uid)s))
               AND (%(site_id)s::text IS NULL OR %(site_id)s = ANY (site_ids)
                    OR CASE WHEN EXISTS (SELECT FROM driver_badge b
                                          WHERE b.token_key = token.token_key
                                            AND (b.to_at IS NULL OR b.to_at > now()))
                            THEN EXISTS (SELECT FROM badge_access a
                                          WHERE a.token_key = token.token_key
                                            AND a.site_id = %(site_id)s
                                            AND (a.to_at IS NULL OR a.to_at > now()))
                            ELSE site_ids IS NULL END)
               AND (%(search)s::text IS NULL OR strpos(uid_key, lower(%(search)s)) > 0)
               AND (%(after)s::text IS NULL OR uid_key > lower(%(after)s))
             ORDER BY uid_key LIMIT %(limit)s
            """,
            {
                "uid": uid,
                "status": status,
                "group_uid": group_uid,
                "site_id": site_id,
                "search": search,
                "limit": limit,
                "after": cursor.key[0] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_tokens(
    connection: AsyncConnection,
    *,
    status: str | None = None,
    group_uid: str | None = None,
    site_id: str | None = None,
    search: str | None = None,
) -> int:
    """How many badges the filters of `list_tokens` leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM token
         WHERE retired_at IS NULL
           AND (%(status)s::text IS NULL OR status = %(status)s)
           AND (%(group_uid)s::text IS NULL OR lower(group_uid) = lower(%(group_uid)s))
           AND (%(site_id)s::text IS NULL OR %(site_id)s = ANY (site_ids)
                    OR CASE WHEN EXISTS (SELECT FROM driver_badge b
                                          WHERE b.token_key = token.token_key
                                            AND (b.to_at IS NULL OR b.to_at > now()))
                            THEN EXISTS (SELECT FROM badge_access a
                                          WHERE a.token_key = token.token_key
                                            AND a.site_id = %(site_id)s
                                            AND (a.to_at IS NULL OR a.to_at > now()))
                            ELSE site_ids IS NULL END)
           AND (%(search)s::text IS NULL OR strpos(uid_key, lower(%(search)s)) > 0)
        """,
        {"status": status, "group_uid": group_uid, "site_id": site_id, "search": search},
    )


async def get_token(connection: AsyncConnection, uid: str) -> Token | None:
    """One badge, compared without case; None when there is none or it is retired."""
    found = await list_tokens(connection, uid=uid)
    return found[0] if found else None


async def lock_config(connection: AsyncConnection, uid: str) -> TokenConfig | None:
    """The badge's configuration, locked until the transaction ends; None as `get_token`."""
    async with connection.cursor(row_factory=class_row(TokenConfig)) as rows:
        await rows.execute(
            """
            SELECT uid, client_id, type, status, group_uid, valid_until, site_ids, concurrent_max
              FROM token WHERE uid_key = lower(%s) AND retired_at IS NULL FOR UPDATE
            """,
            (uid,),
        )
        return await rows.fetchone()


async def write_config(
    connection: AsyncConnection, config: TokenConfig, *, replace: bool
) -> str | None:
    """Create the badge or, with `replace`, overwrite it; a retired one comes back. Returns its
    uid as now written, None when it exists and may not be replaced."""
    cursor = await connection.execute(
        """
        INSERT INTO token (uid_key, uid, client_id, type, status, group_uid, valid_until, site_ids,
                           concurrent_max, blocked_why)
        VALUES (lower(%(uid)s), %(uid)s, %(client_id)s, %(type)s, %(status)s, %(group_uid)s,
                %(valid_until)s, %(site_ids)s, %(concurrent_max)s,
                CASE %(status)s WHEN 'blocked' THEN 'operator' END)
        ON CONFLICT (uid_key) DO UPDATE
           SET uid = EXCLUDED.uid, client_id = EXCLUDED.client_id, type = EXCLUDED.type,
               status = EXCLUDED.status, group_uid = EXCLUDED.group_uid,
               valid_until = EXCLUDED.valid_until, site_ids = EXCLUDED.site_ids,
               concurrent_max = EXCLUDED.concurrent_max,
               blocked_why = CASE EXCLUDED.status
                             WHEN 'blocked' THEN coalesce(token.blocked_why, 'operator') END,
               updated_at = now(), retired_at = NULL
         WHERE %(replace)s OR token.retired_at IS NOT NULL
        RETURNING uid
        """,
        {
            "uid": config.uid,
            "client_id": config.client_id,
            "type": config.type,
            "status": config.status,
            "group_uid": config.group_uid,
            "valid_until": config.valid_until,
            "site_ids": config.site_ids,
            "concurrent_max": config.concurrent_max,
            "replace": replace,
        },
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def retire_token(connection: AsyncConnection, uid: str, now: datetime) -> bool:
    """Retire a badge: unknown from then on; False when there is none."""
    cursor = await connection.execute(
        """
        UPDATE token SET retired_at = %(now)s, updated_at = %(now)s
         WHERE uid_key = lower(%(uid)s) AND retired_at IS NULL
        """,
        {"uid": uid, "now": now},
    )
    return cursor.rowcount == 1


async def notify_token(connection: AsyncConnection, uid: str) -> None:
    """Tell the gateways at commit that the badge changed."""
    await connection.execute("SELECT pg_notify('t2p_token', lower(%s))", (uid,))


async def list_unknown_tokens(
    connection: AsyncConnection, *, limit: int, cursor: Cursor | None
) -> list[UnknownToken]:
    """Up to `limit` unknown badges, last seen first; those entered since are left out."""
    async with connection.cursor(row_factory=class_row(UnknownToken)) as rows:
        await rows.execute(
            """
            SELECT u.uid, s.id AS station_id, u.first_seen_at, u.last_seen_at, u.count
              FROM unknown_token u JOIN station s USING (station_key)
             WHERE NOT EXISTS (SELECT FROM token t
                                WHERE t.uid_key = u.uid_key AND t.retired_at IS NULL)
               AND (%(seen)s::timestamptz IS NULL
                    OR (u.last_seen_at, u.uid_key) < (%(seen)s, lower(%(uid)s)))
             ORDER BY u.last_seen_at DESC, u.uid_key DESC LIMIT %(limit)s
            """,
            {
                "limit": limit,
                "seen": cursor.key[0] if cursor else None,
                "uid": cursor.key[1] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_unknown_tokens(connection: AsyncConnection) -> int:
    """How many unknown badges there are."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM unknown_token u
         WHERE NOT EXISTS (SELECT FROM token t
                            WHERE t.uid_key = u.uid_key AND t.retired_at IS NULL)
        """,
        {},
    )
