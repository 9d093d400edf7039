"""SQL of the calendar of money: sums by day, of what waits for its day."""

from dataclasses import dataclass
from datetime import date

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class DayRow:
    """What falls on a day: how many, and how much."""

    day: date
    number: int
    amount_cents: int


async def sum_own_dues(connection: AsyncConnection, until_on: date) -> list[DayRow]:
    """The operator's invoices that clients have not paid and that no statement deducts, by the day
    on which they are due."""
    async with connection.cursor(row_factory=class_row(DayRow)) as rows:
        await rows.execute(
            """
            SELECT due_on AS day, count(*)::int AS number, sum(open_cents)::bigint AS amount_cents
              FROM own_invoice_open WHERE open_cents > 0 AND due_on <= %s
             GROUP BY due_on ORDER BY due_on
            """,
            (until_on,),
        )
        return await rows.fetchall()


async def sum_debits(connection: AsyncConnection, until_on: date) -> list[DayRow]:
    """Direct debits that payers were told of and that are in no file, by their day."""
    async with connection.cursor(row_factory=class_row(DayRow)) as rows:
        await rows.execute(
            """
            SELECT collection_on AS day, count(*)::int AS number,
                   sum(amount_cents)::bigint AS amount_cents
              FROM direct_debit WHERE status = 'notified' AND file_id IS NULL
               AND collection_on <= %s
             GROUP BY collection_on ORDER BY collection_on
            """,
            (until_on,),
        )
        return await rows.fetchall()


async def sum_payouts(connection: AsyncConnection, until_on: date) -> list[DayRow]:
    """Payouts that the bank has not confirmed, by the day on which they are due."""
    async with connection.cursor(row_factory=class_row(DayRow)) as rows:
        await rows.execute(
            """
            SELECT due_on AS day, count(*)::int AS number, sum(amount_cents)::bigint AS amount_cents
              FROM payout WHERE status IN ('draft', 'sent') AND due_on <= %s
             GROUP BY due_on ORDER BY due_on
            """,
            (until_on,),
        )
        return await rows.fetchall()


@dataclass(frozen=True, slots=True)
class InvoicesRow:
    """Invoices in clients' names that lie open to them since a day."""

    available_on: date
    number: int
    amount_cents: int


async def sum_contestable(connection: AsyncConnection, since_on: date) -> list[InvoicesRow]:
    """Invoices that clients may still contest, by the day in Paris since when they lie open."""
    async with connection.cursor(row_factory=class_row(InvoicesRow)) as rows:
        await rows.execute(
            """
            SELECT (a.available_at AT TIME ZONE 'Europe/Paris')::date AS available_on,
                   count(*)::int AS number, sum(i.amount_incl_cents)::bigint AS amount_cents
              FROM invoice_availability a JOIN invoice i ON i.id = a.invoice_id
             WHERE a.available_at >= %s::date::timestamp AT TIME ZONE 'Europe/Paris'
             GROUP BY 1 ORDER BY 1
            """,
            (since_on,),
        )
        return await rows.fetchall()
