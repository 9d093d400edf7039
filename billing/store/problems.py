"""SQL of what stopped a piece of billing's work, and of its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """What stopped something, and what to do about it."""

    id: int
    stage: str
    subject: str
    client_id: int | None
    month: date | None
    session_id: int | None
    cause: str
    message: str
    remedy: str
    first_at: datetime
    last_at: datetime


async def note(
    connection: AsyncConnection,
    *,
    stage: str,
    subject: str,
    client_id: int | None,
    month: date | None,
    session_id: int | None,
    cause: str,
    message: str,
    remedy: str,
    now: datetime,
) -> None:
    """Note what stopped something; where it is open already, that it still does."""
    row = (stage, subject, client_id, month, session_id, cause, message, remedy)
    await note_all(connection, [row], now)


async def note_all(
    connection: AsyncConnection,
    rows: Sequence[tuple[str, str, int | None, date | None, int | None, str, str, str]],
    now: datetime,
) -> None:
    """Note many at once, each subject of a stage once. Rows are stage, subject, client_id, month,
    session_id, cause, message, remedy."""
    if not rows:
        return
    columns = [list(column) for column in zip(*rows, strict=True)]
    await connection.execute(
        """
        INSERT INTO billing_problem (stage, subject, client_id, month, session_id, cause, message,
                                     remedy, first_at, last_at)
        SELECT n.*, %s, %s
          FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::date[], %s::bigint[], %s::text[],
                      %s::text[], %s::text[]) AS n
        ON CONFLICT (stage, subject) WHERE resolved_at IS NULL DO UPDATE
           SET cause = excluded.cause, message = excluded.message, remedy = excluded.remedy,
               last_at = excluded.last_at
        """,
        (now, now, *columns),
    )


async def resolve(
    connection: AsyncConnection, stage: str, subjects: Sequence[str], now: datetime
) -> None:
    """These are mended."""
    await connection.execute(
        """
        UPDATE billing_problem SET resolved_at = %s
         WHERE stage = %s AND subject = ANY (%s) AND resolved_at IS NULL
        """,
        (now, stage, list(subjects)),
    )


async def resolve_others(
    connection: AsyncConnection, stage: str, prefix: str, subjects: Sequence[str], now: datetime
) -> None:
    """Everything open of a stage whose subject begins so, but these subjects, is mended."""
    await connection.execute(
        """
        UPDATE billing_problem SET resolved_at = %s
         WHERE stage = %s AND starts_with(subject, %s) AND resolved_at IS NULL
           AND NOT (subject = ANY (%s))
        """,
        (now, stage, prefix, list(subjects)),
    )


async def list_open(
    connection: AsyncConnection,
    *,
    client_id: int | None = None,
    month: date | None = None,
    limit: int = 1000,
) -> list[ProblemRow]:
    """What is open, oldest first."""
    async with connection.cursor(row_factory=class_row(ProblemRow)) as rows:
        await rows.execute(
            """
            SELECT id, stage, subject, client_id, month, session_id, cause, message, remedy,
                   first_at, last_at
              FROM billing_problem
             WHERE resolved_at IS NULL
               AND (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
               AND (%(month)s::date IS NULL OR month = %(month)s)
             ORDER BY first_at, id LIMIT %(limit)s
            """,
            {"client_id": client_id, "month": month, "limit": limit},
        )
        return await rows.fetchall()
