"""SQL of the issue: what waits for an invoice, series and their numbers, documents with lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class PendingSession:
    """A priced session that is on no invoice yet, with what its line tells."""

    session_id: int
    person_id: int
    supplied_on: date
    vat_case: str
    started_at: datetime
    ended_at: datetime
    energy_wh: int
    amount_excl_cents: int
    vat_cents: int
    amount_incl_cents: int
    is_estimated: bool
    lines: list[dict[str, Any]]  # billing.tariff.Line
    tariff_version_id: int
    tariff_name: str
    station_id: str
    evse_id: int | None
    evse_static: dict[str, Any] | None
    site_name: str | None


@dataclass(frozen=True, slots=True)
class DriverRow:
    """A driver as a buyer."""

    person_id: int
    name: str  # given and family name; '': erased
    email: str | None
    language: str
    billing_name: str
    company: str | None
    siren: str | None
    vat_number: str | None
    street: str
    postal_code: str
    city: str
    country: str


@dataclass(frozen=True, slots=True)
class Period:
    """How often drivers get an invoice under a contract, from a day on."""

    contract_id: int
    from_on: date
    to_on: date | None
    invoicing: str  # per_use | per_driver_month


@dataclass(frozen=True, slots=True)
class Series:
    """A series of numbers, held by the caller's transaction."""

    id: int
    prefix: str
    last_number: int
    last_issued_on: date | None


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """A row of invoice, its number given."""

    issuer: str
    client_id: int
    person_id: int | None
    series_id: int
    sequence: int
    number: str
    type_code: int
    vat_case: str
    to_consumer: bool
    month: date
    issued_on: date
    due_on: date
    amount_excl_cents: int
    vat_cents: int
    amount_incl_cents: int
    effect_cents: int
    effect_vat_cents: int
    original_id: int | None
    reason: str | None
    source_key: str
    content: str
    content_sha256: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewLine:
    """A row of invoice_line, but for its invoice."""

    position: int
    session_id: int | None
    own_sale_id: int | None
    is_original: bool
    amount_excl_cents: int
    vat_cents: int
    amount_incl_cents: int
    holding_id: int | None = None


async def fetch_pending_persons(
    connection: AsyncConnection,
    client_id: int,
    month: date,
    until_on: date,
    after: int,
    limit: int,
) -> list[int]:
    """Drivers who have something of the month, supplied up to a day, on no invoice: by number,
    after the one given."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT p.person_id FROM priced_session p
         WHERE p.client_id = %s AND p.month = %s AND p.supplied_on <= %s AND p.person_id > %s
           AND NOT EXISTS (SELECT FROM invoice_line l
                            WHERE l.session_id = p.session_id AND l.is_original)
         ORDER BY p.person_id LIMIT %s
        """,
        (client_id, month, until_on, after, limit),
    )
    return [row[0] for row in await cursor.fetchall()]


async def fetch_pending(
    connection: AsyncConnection,
    client_id: int,
    month: date,
    until_on: date,
    persons: Sequence[int],
) -> list[PendingSession]:
    """What they have of the month, supplied up to a day, on no invoice, in the order of their
    invoices and lines."""
    async with connection.cursor(row_factory=class_row(PendingSession)) as rows:
        await rows.execute(
            """
            SELECT p.session_id, p.person_id, p.supplied_on, p.vat_case, p.started_at, p.ended_at,
                   p.energy_wh, p.amount_excl_cents, p.vat_cents, p.amount_incl_cents,
                   p.is_estimated, p.lines, p.tariff_version_id, t.name AS tariff_name,
                   s.id AS station_id, p.evse_id, e.static AS evse_static, k.name AS site_name
              FROM priced_session p
              JOIN tariff_version v ON v.id = p.tariff_version_id
              JOIN tariff t ON t.id = v.tariff_id
              JOIN station s ON s.station_key = p.station_key
              LEFT JOIN evse e ON e.station_key = p.station_key AND e.evse_id = p.evse_id
              LEFT JOIN site k ON k.id = p.site_id
             WHERE p.client_id = %s AND p.month = %s AND p.supplied_on <= %s
               AND p.person_id = ANY (%s)
               AND NOT EXISTS (SELECT FROM invoice_line l
                                WHERE l.session_id = p.session_id AND l.is_original)
             ORDER BY p.person_id, p.ended_at, p.session_id
            """,
            (client_id, month, until_on, list(persons)),
        )
        return await rows.fetchall()


async def fetch_tariff_contents(
    connection: AsyncConnection, versions: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """What versions of tariffs say, by their number."""
    cursor = await connection.execute(
        "SELECT id, content FROM tariff_version WHERE id = ANY (%s)", (list(versions),)
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def fetch_drivers(
    connection: AsyncConnection, persons: Sequence[int]
) -> dict[int, DriverRow]:
    """Drivers as buyers, by their number."""
    async with connection.cursor(row_factory=class_row(DriverRow)) as rows:
        await rows.execute(
            """
            SELECT d.person_id, trim(p.given_name || ' ' || p.family_name) AS name, p.email,
                   p.language, d.billing_name, d.company, d.siren, d.vat_number, d.street,
                   d.postal_code, d.city, d.country
              FROM driver d JOIN person p ON p.id = d.person_id WHERE d.person_id = ANY (%s)
            """,
            (list(persons),),
        )
        return {row.person_id: row for row in await rows.fetchall()}


async def fetch_advances(connection: AsyncConnection, persons: Sequence[int]) -> dict[int, int]:
    """What drivers have in their wallets, in cents; those with nothing are not in it."""
    cursor = await connection.execute(
        """
        SELECT a.person_id, -sum(p.amount_cents)::bigint
          FROM ledger_account a JOIN ledger_posting p ON p.account_id = a.id
         WHERE a.person_id = ANY (%s) AND a.code = 'wallet:' || a.person_id
         GROUP BY a.person_id HAVING sum(p.amount_cents) < 0
        """,
        (list(persons),),
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def fetch_periods(connection: AsyncConnection, client_id: int) -> list[Period]:
    """How often drivers get an invoice, by contract and date."""
    async with connection.cursor(row_factory=class_row(Period)) as rows:
        await rows.execute(
            """
            SELECT contract_id, from_on, to_on, invoicing FROM contract_terms
             WHERE client_id = %s ORDER BY from_on
            """,
            (client_id,),
        )
        return await rows.fetchall()


async def fetch_clients_to_issue(
    connection: AsyncConnection, month: date, client_id: int | None
) -> list[int]:
    """Clients with something of the month on no invoice, or the one that is asked for."""
    cursor = await connection.execute(
        """
        SELECT c.id FROM client c
         WHERE NOT c.is_operator AND (c.id = %(client_id)s OR %(client_id)s::bigint IS NULL)
           AND EXISTS (SELECT FROM priced_session p
                        WHERE p.client_id = c.id AND p.month = %(month)s
                          AND NOT EXISTS (SELECT FROM invoice_line l
                                           WHERE l.session_id = p.session_id AND l.is_original))
         ORDER BY c.id
        """,
        {"client_id": client_id, "month": month},
    )
    return [row[0] for row in await cursor.fetchall()]


async def hold_series(
    connection: AsyncConnection, client_id: int | None, kind: str, year: int, prefix: str
) -> Series:
    """The series of an issuer, kind and year, made on first need. Nobody else takes a number of it
    until the caller's transaction is over."""
    await connection.execute(
        """
        INSERT INTO invoice_series (client_id, kind, year, prefix) VALUES (%s, %s, %s, %s)
        ON CONFLICT DO NOTHING
        """,
        (client_id, kind, year, prefix),
    )
    cursor = await connection.execute(
        """
        SELECT id, prefix, last_number FROM invoice_series
         WHERE client_id IS NOT DISTINCT FROM %s AND kind = %s AND year = %s FOR UPDATE
        """,
        (client_id, kind, year),
    )
    row = await cursor.fetchone()
    assert row is not None
    # A statement of its own: it sees what the holder before us committed.
    cursor = await connection.execute(
        "SELECT issued_on FROM invoice WHERE series_id = %s ORDER BY sequence DESC LIMIT 1",
        (row[0],),
    )
    last = await cursor.fetchone()
    return Series(row[0], row[1], row[2], None if last is None else last[0])


async def advance_series(connection: AsyncConnection, series_id: int, last_number: int) -> None:
    """Numbers up to this one are taken, once the transaction is committed."""
    await connection.execute(
        "UPDATE invoice_series SET last_number = %s WHERE id = %s", (last_number, series_id)
    )


async def insert_invoices(
    connection: AsyncConnection, invoices: Sequence[NewInvoice]
) -> dict[str, int]:
    """Documents, in one statement (COPY does not go with row-level security), their content in
    binary, which needs no quotes; their ids by their number."""
    columns = [[getattr(each, name) for each in invoices] for name in NewInvoice.__slots__]
    cursor = await connection.execute(
        """
        INSERT INTO invoice (issuer, client_id, person_id, series_id, sequence, number, type_code,
                             vat_case, to_consumer, month, issued_on, due_on, amount_excl_cents,
                             vat_cents, amount_incl_cents, effect_cents, effect_vat_cents,
                             original_id, reason, source_key, content, content_sha256, created_at)
        SELECT * FROM unnest(
            %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[],
            %s::smallint[], %s::text[], %s::boolean[], %s::date[], %s::date[], %s::date[],
            %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
            %s::text[], %s::text[], %b::text[], %b::bytea[], %s::timestamptz[])
        RETURNING number, id
        """,
        columns,
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def insert_lines(
    connection: AsyncConnection, client_id: int, lines: Sequence[tuple[int, NewLine]]
) -> None:
    """Lines, each with the id of its invoice."""
    columns = [[getattr(line, name) for _, line in lines] for name in NewLine.__slots__]
    await connection.execute(
        """
        INSERT INTO invoice_line (client_id, invoice_id, position, session_id, own_sale_id,
                                  is_original, amount_excl_cents, vat_cents, amount_incl_cents,
                                  holding_id)
        SELECT %s, * FROM unnest(%s::bigint[], %s::integer[], %s::bigint[], %s::bigint[],
                                 %s::boolean[], %s::bigint[], %s::bigint[], %s::bigint[],
                                 %s::bigint[])
        """,
        (client_id, [invoice_id for invoice_id, _ in lines], *columns),
    )


async def fetch_mentions(connection: AsyncConnection, day: date) -> dict[tuple[str, str], str]:
    """The texts in force on a day, by code and language."""
    cursor = await connection.execute(
        """
        SELECT code, language, text FROM invoice_mention
         WHERE from_on <= %(day)s AND (to_on IS NULL OR %(day)s < to_on)
        """,
        {"day": day},
    )
    return {(row[0], row[1]): row[2] for row in await cursor.fetchall()}


async def fetch_vat_percent(connection: AsyncConnection, day: date) -> Decimal | None:
    """The normal rate of VAT in force on a day; None: no row says."""
    cursor = await connection.execute(
        """
        SELECT percent FROM vat_rate
         WHERE from_on <= %(day)s AND (to_on IS NULL OR %(day)s < to_on)
        """,
        {"day": day},
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]
