"""SQL of what stopped a piece of billing's work, and of its end."""

from collections.abc import Sequence
from datetime import date, datetime

from psycopg import AsyncConnection


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
    await connection.execute(
        """
        INSERT INTO billing_problem (stage, subject, client_id, month, session_id, cause, message,
                                     remedy, first_at, last_at)
        VALUES (%(stage)s, %(subject)s, %(client_id)s, %(month)s, %(session_id)s, %(cause)s,
                %(message)s, %(remedy)s, %(now)s, %(now)s)
        ON CONFLICT (stage, subject) WHERE resolved_at IS NULL DO UPDATE
           SET cause = excluded.cause, message = excluded.message, remedy = excluded.remedy,
               last_at = excluded.last_at
        """,
        {
            "stage": stage,
            "subject": subject,
            "client_id": client_id,
            "month": month,
            "session_id": session_id,
            "cause": cause,
            "message": message,
            "remedy": remedy,
            "now": now,
        },
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
