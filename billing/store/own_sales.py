"""SQL of the operator's own sales to clients."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class OwnSale:
    """A sale, and the invoice that it is on, if any."""

    id: int
    client_id: int
    contract_id: int | None
    kind: str
    label: str
    amount_excl_cents: int
    on_day: date
    month: date
    source_key: str
    created_at: datetime
    created_by: str
    invoice_id: int | None = None
    invoice_number: str | None = None


async def insert_sale(
    connection: AsyncConnection,
    *,
    client_id: int,
    contract_id: int | None,
    kind: str,
    label: str,
    amount_excl_cents: int,
    on_day: date,
    month: date,
    source_key: str,
    now: datetime,
    actor: str,
) -> int | None:
    """A sale; its id, None where one has the source key."""
    cursor = await connection.execute(
        """
        INSERT INTO own_sale (client_id, contract_id, kind, label, amount_excl_cents, on_day, month,
                              source_key, created_at, created_by)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (source_key) DO NOTHING RETURNING id
        """,
        (
            client_id,
            contract_id,
            kind,
            label,
            amount_excl_cents,
            on_day,
            month,
            source_key,
            now,
            actor,
        ),
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def find_sale(connection: AsyncConnection, source_key: str) -> OwnSale | None:
    """The sale of a source key."""
    async with connection.cursor(row_factory=class_row(OwnSale)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, contract_id, kind, label, amount_excl_cents, on_day, month,
                   source_key, created_at, created_by
              FROM own_sale WHERE source_key = %s
            """,
            (source_key,),
        )
        return await rows.fetchone()


async def fetch_waiting(
    connection: AsyncConnection,
    client_id: int,
    month: date,
    kinds: Sequence[str],
    sale_ids: Sequence[int] | None = None,
) -> list[OwnSale]:
    """Sales of these kinds to a client up to and with a month that are on no invoice; of these ids
    alone, where they are given."""
    async with connection.cursor(row_factory=class_row(OwnSale)) as rows:
        await rows.execute(
            """
            SELECT s.id, s.client_id, s.contract_id, s.kind, s.label, s.amount_excl_cents, s.on_day,
                   s.month, s.source_key, s.created_at, s.created_by
              FROM own_sale s
             WHERE s.client_id = %s AND s.month <= %s AND s.kind = ANY (%s)
               AND (%s::bigint[] IS NULL OR s.id = ANY (%s))
               AND NOT EXISTS (SELECT FROM invoice_line l
                                WHERE l.own_sale_id = s.id AND l.is_original)
             ORDER BY s.on_day, s.id
            """,
            (
                client_id,
                month,
                list(kinds),
                None if sale_ids is None else list(sale_ids),
                list(sale_ids or ()),
            ),
        )
        return await rows.fetchall()


async def list_sales(
    connection: AsyncConnection, client_id: int, *, limit: int, cursor: Cursor | None
) -> list[OwnSale]:
    """Sales to a client, the newest first."""
    async with connection.cursor(row_factory=class_row(OwnSale)) as rows:
        await rows.execute(
            """
            SELECT s.id, s.client_id, s.contract_id, s.kind, s.label, s.amount_excl_cents, s.on_day,
                   s.month, s.source_key, s.created_at, s.created_by, i.id AS invoice_id,
                   i.number AS invoice_number
              FROM own_sale s
              LEFT JOIN invoice_line l ON l.own_sale_id = s.id AND l.is_original
              LEFT JOIN invoice i ON i.id = l.invoice_id
             WHERE s.client_id = %(client_id)s
               AND (%(after)s::bigint IS NULL OR s.id < %(after)s)
             ORDER BY s.id DESC LIMIT %(limit)s
            """,
            {
                "client_id": client_id,
                "after": None if cursor is None else cursor.key[0],
                "limit": limit,
            },
        )
        return await rows.fetchall()


async def count_sales(connection: AsyncConnection, client_id: int) -> int:
    """How many `list_sales` has in all."""
    return await fetch_count(
        connection,
        "SELECT count(*) FROM own_sale WHERE client_id = %(client_id)s",
        {"client_id": client_id},
    )
