"""What keeps the database in shape: months made ahead, months of the journal dropped when due.

Every function can run twice, on several nodes at once, and takes the time from its caller. Rows
that come before their month was made wait in the default partition and move when it is made.
"""

from datetime import UTC, date, datetime

from psycopg import AsyncConnection

# Raw readings and status changes are kept; the journal alone has an end.
PARTITIONED = ("meter_reading", "evse_status", "ocpp_message")


async def ensure_partitions(
    connection: AsyncConnection, now: datetime, months_ahead: int
) -> list[str]:
    """Make the months from the one before now to months_ahead after it, where they lack.

    One transaction each, so that writers wait for one table and one month at most. Returns the
    names of the partitions made now. Raises: psycopg.errors.LockNotAvailable while somebody reads
    the table for long (a backup does): try again later, rows wait in the default partition.
    """
    made = []
    for number in range(-1, months_ahead + 1):
        month = _month(now, number)
        for parent in PARTITIONED:
            if await ensure_month(connection, parent, month):
                made.append(f"{parent}_{month:%Y_%m}")
    return made


async def drop_old_journal(connection: AsyncConnection, now: datetime, months: int) -> list[str]:
    """Drop what the journal holds from before the last `months` whole months.

    The month of now is kept besides: with 6, on any day of November, May to November stay. What
    proves an invoice is in session_event and stays. Returns the names of the dropped partitions.
    Raises: psycopg.errors.LockNotAvailable, as above.
    """
    first = _month(now, -months)
    cursor = await connection.execute(
        "SELECT drop_journal_before(%s)", [datetime(first.year, first.month, 1, tzinfo=UTC)]
    )
    return [row[0] for row in await cursor.fetchall()]


async def ensure_month(connection: AsyncConnection, parent: str, month: date) -> bool:
    """Make one month of one table; False when it is there already."""
    cursor = await connection.execute("SELECT ensure_month(%s, %s)", [parent, month])
    row = await cursor.fetchone()
    return bool(row and row[0])


def _month(now: datetime, number: int) -> date:
    """First day of the month (in UTC) so many after that of now."""
    now = now.astimezone(UTC)
    months = now.year * 12 + now.month - 1 + number
    return date(months // 12, months % 12 + 1, 1)
