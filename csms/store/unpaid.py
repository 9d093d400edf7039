"""SQL of the unpaid invoices that keep a driver from starting, from a view of billing's."""

from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class UnpaidRow:
    """An invoice for which a driver is blocked at a client's stations."""

    client_id: int
    client: str
    from_at: datetime  # blocked since
    number: str
    due_on: date
    left_cents: int


async def fetch_unpaid(
    connection: AsyncConnection, person_id: int, client_id: int | None = None
) -> list[UnpaidRow]:
    """What blocks the driver now, at one client's stations or anywhere; by client, the oldest
    invoices first. In one of the machines' role."""
    async with connection.cursor(row_factory=class_row(UnpaidRow)) as rows:
        await rows.execute(
            """
            SELECT u.client_id, c.name AS client, u.from_at, u.number, u.due_on,
                   u.open_cents AS left_cents
              FROM standing_block u JOIN client c ON c.id = u.client_id
             WHERE u.person_id = %(person_id)s
               AND (%(client_id)s::bigint IS NULL OR u.client_id = %(client_id)s)
             ORDER BY u.client_id, u.invoice_id
            """,
            {"person_id": person_id, "client_id": client_id},
        )
        return await rows.fetchall()
