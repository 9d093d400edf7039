"""SQL of the audit: who did what. Rows are added, never changed; the database sees to it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act."""

    id: int
    at: datetime
    actor: str  # "person 7", "key demo", "system", "command line"
    person_id: int | None  # the actor, where it is a person
    client_id: int | None  # whom it concerns; None: the operator
    action: str
    subject: str
    detail: dict[str, Any]
    remote_address: str | None


async def add_entry(
    connection: AsyncConnection,
    now: datetime,
    *,
    actor: str,
    action: str,
    subject: str = "",
    person_id: int | None = None,
    client_id: int | None = None,
    detail: dict[str, Any] | None = None,
    remote_address: str | None = None,
) -> None:
    """Note an act, in the transaction of the act itself. `detail` holds no name, no address and no
    secret: the audit outlives what is erased."""
    await connection.execute(
        """
        INSERT INTO audit_entry (at, actor, person_id, client_id, action, subject, detail,
                                 remote_address)
        VALUES (%(at)s, %(actor)s, %(person_id)s, %(client_id)s, %(action)s, %(subject)s,
                %(detail)s, %(remote_address)s)
        """,
        {
            "at": now,
            "actor": actor,
            "person_id": person_id,
            "client_id": client_id,
            "action": action,
            "subject": subject,
            "detail": Jsonb(detail or {}),
            "remote_address": remote_address,
        },
    )


async def list_entries(
    connection: AsyncConnection,
    *,
    client_id: int | None,
    person_id: int | None,
    action: str | None,
    from_at: datetime | None,
    to_at: datetime | None,
    limit: int,
    cursor: Cursor | None,
) -> list[AuditEntry]:
    """Up to `limit` entries, newest first."""
    async with connection.cursor(row_factory=class_row(AuditEntry)) as rows:
        await rows.execute(
            """
            SELECT id, at, actor, person_id, client_id, action, subject, detail, remote_address
              FROM audit_entry
             WHERE (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
               AND (%(person_id)s::bigint IS NULL OR person_id = %(person_id)s)
               AND (%(action)s::text IS NULL OR action = %(action)s)
               AND (%(from_at)s::timestamptz IS NULL OR at >= %(from_at)s)
               AND (%(to_at)s::timestamptz IS NULL OR at < %(to_at)s)
               AND (%(at)s::timestamptz IS NULL OR (at, id) < (%(at)s, %(id)s))
             ORDER BY at DESC, id DESC LIMIT %(limit)s
            """,
            {
                "client_id": client_id,
                "person_id": person_id,
                "action": action,
                "from_at": from_at,
                "to_at": to_at,
                "at": cursor.key[0] if cursor else None,
                "id": cursor.key[1] if cursor else None,
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_entries(
    connection: AsyncConnection,
    *,
    client_id: int | None,
    person_id: int | None,
    action: str | None,
    from_at: datetime | None,
    to_at: datetime | None,
) -> int:
    """How many entries the filters of `list_entries` leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM audit_entry
         WHERE (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
           AND (%(person_id)s::bigint IS NULL OR person_id = %(person_id)s)
           AND (%(action)s::text IS NULL OR action = %(action)s)
           AND (%(from_at)s::timestamptz IS NULL OR at >= %(from_at)s)
           AND (%(to_at)s::timestamptz IS NULL OR at < %(to_at)s)
        """,
        {
            "client_id": client_id,
            "person_id": person_id,
            "action": action,
            "from_at": from_at,
            "to_at": to_at,
        },
    )
