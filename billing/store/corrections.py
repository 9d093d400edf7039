"""SQL of corrections: what was paid for sessions, and what of it goes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class PaidShare:
    """What of a receipt is on a session of an invoice, its returns taken off."""

    receipt_id: int
    session_id: int
    amount_cents: int


async def fetch_paid(
    connection: AsyncConnection, invoice_ids: Sequence[int], sessions: Sequence[int]
) -> list[PaidShare]:
    """What was paid for sessions of an invoice and what corrects it, the latest receipt first."""
    async with connection.cursor(row_factory=class_row(PaidShare)) as rows:
        await rows.execute(
            """
            SELECT receipt_id, session_id, sum(amount_cents)::bigint AS amount_cents
              FROM receipt_share WHERE invoice_id = ANY (%s) AND session_id = ANY (%s)
             GROUP BY receipt_id, session_id HAVING sum(amount_cents) > 0
             ORDER BY receipt_id DESC, session_id
            """,
            (list(invoice_ids), list(sessions)),
        )
        return await rows.fetchall()


async def insert_returns(
    connection: AsyncConnection,
    client_id: int,
    invoice_id: int,
    correction_id: int,
    shares: Sequence[PaidShare],
    booked_on: date,
    now: datetime,
) -> None:
    """Take shares back by a correcting document: the same amounts below 0."""
    await connection.execute(
        """
        INSERT INTO receipt_share (receipt_id, client_id, invoice_id, session_id, amount_cents,
                                   booked_on, created_at, correction_id)
        SELECT receipt_id, %s, %s, session_id, -amount_cents, %s, %s, %s
          FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[])
               AS share (receipt_id, session_id, amount_cents)
        """,
        (
            client_id,
            invoice_id,
            booked_on,
            now,
            correction_id,
            [share.receipt_id for share in shares],
            [share.session_id for share in shares],
            [share.amount_cents for share in shares],
        ),
    )
