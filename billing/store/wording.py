"""SQL of texts and VAT rates by date."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class Mention:
    """A text from a day on until another, which is not included."""

    code: str
    language: str
    from_on: date
    to_on: date | None
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class VatRate:
    """The normal rate from a day on until another, which is not included."""

    from_on: date
    to_on: date | None
    percent: Decimal
    source: str


async def list_mentions(
    connection: AsyncConnection, *, limit: int, cursor: Cursor | None
) -> list[Mention]:
    """All texts by code, language and day."""
    async with connection.cursor(row_factory=class_row(Mention)) as rows:
        await rows.execute(
            """
            SELECT code, language, from_on, to_on, text, source FROM invoice_mention
             WHERE %(code)s::text IS NULL
                OR (code, language, from_on) > (%(code)s, %(language)s, %(from_on)s::date)
             ORDER BY code, language, from_on LIMIT %(limit)s
            """,
            {
                "code": None if cursor is None else cursor.key[0],
                "language": None if cursor is None else cursor.key[1],
                "from_on": None if cursor is None else cursor.key[2],
                "limit": limit,
            },
        )
        return await rows.fetchall()


async def count_mentions(connection: AsyncConnection) -> int:
    """How many texts there are."""
    return await fetch_count(connection, "SELECT count(*) FROM invoice_mention", {})


async def is_known(connection: AsyncConnection, code: str) -> bool:
    """Whether there is a text of that code, of whatever day."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM invoice_mention WHERE code = %s)", (code,)
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def end_mention(connection: AsyncConnection, code: str, language: str, on: date) -> None:
    """End the text that held before the day and had no end."""
    await connection.execute(
        """
        UPDATE invoice_mention SET to_on = %(on)s
         WHERE code = %(code)s AND language = %(language)s AND from_on < %(on)s AND to_on IS NULL
        """,
        {"code": code, "language": language, "on": on},
    )


async def insert_mention(connection: AsyncConnection, mention: Mention) -> None:
    """A text. Raises: psycopg.errors.ExclusionViolation, UniqueViolation."""
    await connection.execute(
        """
        INSERT INTO invoice_mention (code, language, from_on, to_on, text, source)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (
            mention.code,
            mention.language,
            mention.from_on,
            mention.to_on,
            mention.text,
            mention.source,
        ),
    )


async def list_vat_rates(
    connection: AsyncConnection, *, limit: int, cursor: Cursor | None
) -> list[VatRate]:
    """All rates, oldest first."""
    async with connection.cursor(row_factory=class_row(VatRate)) as rows:
        await rows.execute(
            """
            SELECT from_on, to_on, percent, source FROM vat_rate
             WHERE %(after)s::date IS NULL OR from_on > %(after)s::date
             ORDER BY from_on LIMIT %(limit)s
            """,
            {"after": None if cursor is None else cursor.key[0], "limit": limit},
        )
        return await rows.fetchall()


async def count_vat_rates(connection: AsyncConnection) -> int:
    """How many rates there are."""
    return await fetch_count(connection, "SELECT count(*) FROM vat_rate", {})


async def end_vat_rate(connection: AsyncConnection, on: date) -> None:
    """End the rate that held before the day and had no end."""
    await connection.execute(
        "UPDATE vat_rate SET to_on = %(on)s WHERE from_on < %(on)s AND to_on IS NULL", {"on": on}
    )


async def insert_vat_rate(connection: AsyncConnection, rate: VatRate) -> None:
    """A rate. Raises: psycopg.errors.ExclusionViolation, UniqueViolation."""
    await connection.execute(
        "INSERT INTO vat_rate (from_on, to_on, percent, source) VALUES (%s, %s, %s, %s)",
        (rate.from_on, rate.to_on, rate.percent, rate.source),
    )
