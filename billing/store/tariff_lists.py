"""SQL of tariffs as people look at them, of the end of a version, and of rates of VAT.

Reads here hold for whoever asks: under row-level security a manager finds what is her clients'.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from psycopg import AsyncConnection
from psycopg.rows import class_row

from billing.store.tariffs import TariffRow
from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class RateRow:
    """The normal rate of VAT from a day on until another, which is not included."""

    from_on: date
    to_on: date | None
    percent: Decimal
    source: str


async def get_tariff(connection: AsyncConnection, tariff_id: int) -> TariffRow | None:
    """One tariff, a retired one too."""
    async with connection.cursor(row_factory=class_row(TariffRow)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, code, name, created_at, retired_at FROM tariff WHERE id = %s
            """,
            (tariff_id,),
        )
        return await rows.fetchone()


async def list_tariffs(
    connection: AsyncConnection,
    *,
    client_id: int | None,
    limit: int,
    cursor: Cursor | None,
) -> list[TariffRow]:
    """Up to `limit` tariffs of a client, or of all, in the order of their making."""
    async with connection.cursor(row_factory=class_row(TariffRow)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, code, name, created_at, retired_at FROM tariff
             WHERE (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
               AND id > %(after_id)s::bigint
             ORDER BY id LIMIT %(limit)s
            """,
            {
                "client_id": client_id,
                "after_id": 0 if cursor is None else cursor.key[0],
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_tariffs(connection: AsyncConnection, *, client_id: int | None) -> int:
    """How many there are of a client, or of all."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM tariff
         WHERE %(client_id)s::bigint IS NULL OR client_id = %(client_id)s
        """,
        {"client_id": client_id},
    )


async def close_version(connection: AsyncConnection, version_id: int, at: datetime) -> bool:
    """End a version; False where it has ended by then or had not begun."""
    cursor = await connection.execute(
        """
        UPDATE tariff_version SET to_at = %(at)s
         WHERE id = %(id)s AND from_at < %(at)s AND (to_at IS NULL OR to_at > %(at)s)
        """,
        {"id": version_id, "at": at},
    )
    return cursor.rowcount == 1


async def list_rates(connection: AsyncConnection) -> list[RateRow]:
    """All rates of VAT, oldest first."""
    async with connection.cursor(row_factory=class_row(RateRow)) as rows:
        await rows.execute("SELECT from_on, to_on, percent, source FROM vat_rate ORDER BY from_on")
        return await rows.fetchall()


async def lock_rates(connection: AsyncConnection) -> None:
    """One change of the rates at a time, until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(9, 0)")  # no client has this number


async def end_rate(connection: AsyncConnection, on: date) -> None:
    """End the rate that held before the day and had no end."""
    await connection.execute(
        "UPDATE vat_rate SET to_on = %(on)s WHERE from_on < %(on)s AND to_on IS NULL", {"on": on}
    )


async def insert_rate(
    connection: AsyncConnection, *, from_on: date, to_on: date | None, percent: Decimal, source: str
) -> None:
    """A rate from a day on. Raises: psycopg.errors.UniqueViolation or ExclusionViolation where
    another holds then."""
    await connection.execute(
        "INSERT INTO vat_rate (from_on, to_on, percent, source) VALUES (%s, %s, %s, %s)",
        (from_on, to_on, percent, source),
    )


async def is_priced_on(connection: AsyncConnection, on: date) -> bool:
    """Whether a session that ended that day or later has its price."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM priced_session WHERE supplied_on >= %s)", (on,)
    )
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])
