"""SQL of log-ins: whom a secret names, and what follows from it."""

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
