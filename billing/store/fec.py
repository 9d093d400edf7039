"""SQL of files for accountants: postings of a year, balances before it, a client's sales."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import date

from psycopg import AsyncConnection
from psycopg.rows import class_row

FETCHED_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class PostingRow:
    """A posting with what its entry says. `valid_on`: the day, in Paris, when it was written."""

    entry_id: int
    kind: str
    label: str
    booked_on: date
    valid_on: date
    piece_ref: str
    piece_on: date
    general_account: str
    client_id: int | None
    client: str | None
    person_id: int | None
    amount_cents: int


@dataclass(frozen=True, slots=True)
class OpeningRow:
    """The balance of an account before a day."""

    account_kind: str
    general_account: str
    client_id: int | None
    client: str | None
    person_id: int | None
    amount_cents: int


@dataclass(frozen=True, slots=True)
class SaleRow:
    """A document in a client's name, and what it does to what its buyer owes."""

    number: str
    type_code: int
    issued_on: date
    valid_on: date
    person_id: int
    buyer: str | None
    effect_cents: int
    effect_vat_cents: int


async def stream_postings(
    connection: AsyncConnection, first: date, end: date
) -> AsyncGenerator[PostingRow]:
    """Postings of entries booked from a day on, before another, in the order in which they were
    written; memos are none of the operator's own. In a transaction."""
    async with connection.cursor("postings", row_factory=class_row(PostingRow)) as rows:
        rows.itersize = FETCHED_ROWS
        await rows.execute(
            """
            SELECT e.id AS entry_id, e.kind, e.label, e.booked_on,
                   (e.created_at AT TIME ZONE 'Europe/Paris')::date AS valid_on,
                   coalesce(i.number, r.source_key, e.source_key) AS piece_ref,
                   coalesce(i.issued_on, r.received_on, e.booked_on) AS piece_on,
                   a.general_account, a.client_id, coalesce(c.legal_name, c.name) AS client,
                   a.person_id, p.amount_cents
              FROM ledger_entry e
              JOIN ledger_posting p ON p.entry_id = e.id
              JOIN ledger_account a ON a.id = p.account_id AND a.kind <> 'memo'
              LEFT JOIN client c ON c.id = a.client_id
              LEFT JOIN invoice i ON i.issuer = 'operator'
                   AND e.kind IN ('own_invoice', 'supply_invoice')
                   AND e.source_key = 'invoice:' || i.id
              LEFT JOIN receipt r ON e.kind = 'receipt' AND e.source_key = 'receipt:' || r.id
             WHERE e.booked_on >= %s AND e.booked_on < %s
             ORDER BY e.id, p.position
            """,
            (first, end),
        )
        async for row in rows:
            yield row


async def fetch_openings(connection: AsyncConnection, first: date) -> list[OpeningRow]:
    """What every account but the memos had before a day."""
    async with connection.cursor(row_factory=class_row(OpeningRow)) as rows:
        await rows.execute(
            """
            SELECT a.kind AS account_kind, a.general_account, a.client_id,
                   coalesce(c.legal_name, c.name) AS client, a.person_id,
                   sum(p.amount_cents)::bigint AS amount_cents
              FROM ledger_entry e
              JOIN ledger_posting p ON p.entry_id = e.id
              JOIN ledger_account a ON a.id = p.account_id AND a.kind <> 'memo'
              LEFT JOIN client c ON c.id = a.client_id
             WHERE e.booked_on < %s
             GROUP BY a.id, c.id HAVING sum(p.amount_cents) <> 0
             ORDER BY a.general_account, a.client_id, a.person_id
            """,
            (first,),
        )
        return await rows.fetchall()


async def stream_sales(
    connection: AsyncConnection, client_id: int, first: date, end: date
) -> AsyncGenerator[SaleRow]:
    """Documents in a client's name issued from a day on, before another, in their order. In a
    transaction."""
    async with connection.cursor("sales", row_factory=class_row(SaleRow)) as rows:
        rows.itersize = FETCHED_ROWS
        await rows.execute(
            """
            SELECT number, type_code, issued_on,
                   (created_at AT TIME ZONE 'Europe/Paris')::date AS valid_on, person_id,
                   content::json #>> '{buyer,name}' AS buyer, effect_cents, effect_vat_cents
              FROM invoice
             WHERE client_id = %s AND issuer = 'client' AND issued_on >= %s AND issued_on < %s
               AND (effect_cents <> 0 OR effect_vat_cents <> 0)
             ORDER BY id
            """,
            (client_id, first, end),
        )
        async for row in rows:
            yield row
