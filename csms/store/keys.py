"""SQL of API keys. Only the SHA-256 of a key is stored: it has 256 bits of chance."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as shown to people; the key itself is never stored."""

    id: int
    name: str
    role: str  # operator, or client: of one client's machine
    scopes: list[str]
    client_id: int | None  # whose it is; None: the operator's
    created_by: str | None  # None: from before that was noted
    created_at: datetime
    expires_at: datetime | None  # None: without end
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What authenticates a request."""

    id: int
    name: str
    role: str
    scopes: list[str]
    client_id: int | None
    key_sha256: bytes
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


async def add_key(
    connection: AsyncConnection,
    *,
    name: str,
    role: str,
    scopes: list[str],
    client_id: int | None,
    key_sha256: bytes,
    expires_at: datetime | None,
    created_by: str | None,
) -> ApiKey:
    """Store a new key."""
    async with connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        await cursor.execute(
            """
            INSERT INTO api_key (name, role, scopes, client_id, key_sha256, expires_at, created_by)
            VALUES (%(name)s, %(role)s, %(scopes)s, %(client_id)s, %(key_sha256)s, %(expires_at)s,
                    %(created_by)s)
            RETURNING id, name, role, scopes, client_id, created_by, created_at, expires_at,
                      revoked_at, last_used_at
            """,
            {
                "name": name,
                "role": role,
                "scopes": scopes,
                "client_id": client_id,
                "key_sha256": key_sha256,
                "expires_at": expires_at,
                "created_by": created_by,
            },
        )
        row = await cursor.fetchone()
    assert row is not None
    return row


async def find_key(connection: AsyncConnection, key_sha256: bytes) -> StoredKey | None:
    """The key with this digest, revoked and expired ones too."""
    async with connection.cursor(row_factory=class_row(StoredKey)) as cursor:
        await cursor.execute(
            """
            SELECT id, name, role, scopes, client_id, key_sha256, expires_at, revoked_at,
                   last_used_at
              FROM api_key WHERE key_sha256 = %s
            """,
            (key_sha256,),
        )
        return await cursor.fetchone()


async def fetch_behind(connection: AsyncConnection, actor: str) -> set[str]:
    """The actor, as the audit names him; and for a key who made it, and who made that one's key."""
    cursor = await connection.execute(
        """
        WITH RECURSIVE behind (actor) AS (
            SELECT %s::text
             UNION
            SELECT k.created_by FROM behind b JOIN api_key k ON b.actor = 'key ' || k.name
             WHERE k.created_by IS NOT NULL)
        SELECT actor FROM behind
        """,
        (actor,),
    )
    return {row[0] for row in await cursor.fetchall()}


async def touch_key(
    connection: AsyncConnection, key_id: int, now: datetime, grain: timedelta
) -> None:
    """Note the key's use, once per `grain`: a busy client must not write a row per request."""
    await connection.execute(
        """
        UPDATE api_key SET last_used_at = %(now)s
         WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at < %(now)s - %(grain)s)
        """,
        {"id": key_id, "now": now, "grain": grain},
    )


async def list_keys(connection: AsyncConnection) -> list[ApiKey]:
    """All keys, oldest first."""
    async with connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        await cursor.execute(
            """
            SELECT id, name, role, scopes, client_id, created_by, created_at, expires_at,
                   revoked_at, last_used_at
              FROM api_key ORDER BY id
            """
        )
        return await cursor.fetchall()


async def revoke_key(connection: AsyncConnection, key_id: int, now: datetime) -> bool:
    """Revoke a key for good; False when there is no such key. Again: the first time stands."""
    cursor = await connection.execute(
        """
        UPDATE api_key SET revoked_at = coalesce(revoked_at, %(now)s) WHERE id = %(id)s
        """,
        {"id": key_id, "now": now},
    )
    return cursor.rowcount == 1
