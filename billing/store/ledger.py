"""SQL of the books: chains, accounts, entries and their postings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class ChainRow:
    """Where a chain of entries ends."""

    chain_key: int
    last_sequence: int
    last_sha256: bytes


@dataclass(frozen=True, slots=True)
class WrittenRow:
    """An entry that is there."""

    id: int
    source_key: str
    body_sha256: bytes


async def lock_chains(
    connection: AsyncConnection, chain_keys: Sequence[int]
) -> dict[int, ChainRow]:
    """The chains, made where they are missing, held to the end of the transaction.

    In the order of their keys, so that two who want the same ones never wait for each other.
    """
    await connection.execute(
        """
        INSERT INTO ledger_chain (chain_key)
        SELECT key FROM unnest(%s::bigint[]) AS key
         WHERE NOT EXISTS (SELECT FROM ledger_chain WHERE chain_key = key) ORDER BY key
        ON CONFLICT DO NOTHING
        """,
        (sorted(chain_keys),),
    )
    async with connection.cursor(row_factory=class_row(ChainRow)) as rows:
        await rows.execute(
            """
            SELECT chain_key, last_sequence, last_sha256 FROM ledger_chain
             WHERE chain_key = ANY (%s) ORDER BY chain_key FOR UPDATE
            """,
            (sorted(chain_keys),),
        )
        return {row.chain_key: row for row in await rows.fetchall()}


async def write_chains(connection: AsyncConnection, chains: Sequence[ChainRow]) -> None:
    """Where the chains end now."""
    await connection.execute(
        """
        UPDATE ledger_chain c SET last_sequence = n.last_sequence, last_sha256 = n.last_sha256
          FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[])
               AS n (chain_key, last_sequence, last_sha256)
         WHERE c.chain_key = n.chain_key
        """,
        (
            [chain.chain_key for chain in chains],
            [chain.last_sequence for chain in chains],
            [chain.last_sha256 for chain in chains],
        ),
    )


async def find_written(
    connection: AsyncConnection, source_keys: Sequence[str]
) -> dict[str, WrittenRow]:
    """The entries of these keys that are there, by key."""
    async with connection.cursor(row_factory=class_row(WrittenRow)) as rows:
        await rows.execute(
            "SELECT id, source_key, body_sha256 FROM ledger_entry WHERE source_key = ANY (%s)",
            (list(source_keys),),
        )
        return {row.source_key: row for row in await rows.fetchall()}


async def provide_accounts(
    connection: AsyncConnection,
    accounts: Sequence[tuple[str, str, int | None, int | None, str, str]],
) -> dict[str, int]:
    """Ids by code; accounts that are missing are made. Rows are code, kind, client_id, person_id,
    general_account, label."""
    columns = [list(column) for column in zip(*sorted(accounts), strict=True)]
    await connection.execute(
        """
        INSERT INTO ledger_account (code, kind, client_id, person_id, general_account, label)
        SELECT n.* FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[],
                               %s::text[])
               AS n (code, kind, client_id, person_id, general_account, label)
         WHERE NOT EXISTS (SELECT FROM ledger_account a WHERE a.code = n.code)
         ORDER BY n.code
        ON CONFLICT (code) DO NOTHING
        """,
        columns,
    )
    cursor = await connection.execute(
        "SELECT code, id FROM ledger_account WHERE code = ANY (%s)", (columns[0],)
    )
    return dict(await cursor.fetchall())


async def insert_entries(
    connection: AsyncConnection,
    rows: Sequence[
        tuple[int, int, str, str, date, int | None, str, int | None, bytes, bytes, bytes]
    ],
    now: datetime,
) -> dict[str, int]:
    """New entries; their ids by source key. Rows are chain_key, sequence, source_key, kind,
    booked_on, client_id, label, reverses_id, body_sha256, previous_sha256, sha256."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    cursor = await connection.execute(
        """
        INSERT INTO ledger_entry (chain_key, sequence, source_key, kind, booked_on, client_id,
                                  label, reverses_id, body_sha256, previous_sha256, sha256,
                                  created_at)
        SELECT n.*, %s FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::date[],
                                   %s::bigint[], %s::text[], %s::bigint[], %s::bytea[],
                                   %s::bytea[], %s::bytea[]) AS n
        RETURNING source_key, id
        """,
        (now, *columns),
    )
    return dict(await cursor.fetchall())


async def insert_postings(
    connection: AsyncConnection, rows: Sequence[tuple[int, int, int, int]]
) -> None:
    """Postings of entries of this transaction. Rows are entry_id, position, account_id, cents."""
    await connection.execute(
        """
        INSERT INTO ledger_posting (entry_id, position, account_id, amount_cents)
        SELECT * FROM unnest(%s::bigint[], %s::smallint[], %s::bigint[], %s::bigint[])
        """,
        [list(column) for column in zip(*rows, strict=True)],
    )


async def fetch_balance(connection: AsyncConnection, code: str) -> int:
    """The balance of an account in cents; 0 where there is none."""
    cursor = await connection.execute(
        """
        SELECT coalesce(sum(p.amount_cents), 0)::bigint
          FROM ledger_account a JOIN ledger_posting p ON p.account_id = a.id WHERE a.code = %s
        """,
        (code,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def fetch_balances(
    connection: AsyncConnection, client_id: int | None
) -> list[tuple[str, int]]:
    """Code and balance of every account of a client; None: of every account there is."""
    cursor = await connection.execute(
        """
        SELECT a.code, coalesce(sum(p.amount_cents), 0)::bigint
          FROM ledger_account a LEFT JOIN ledger_posting p ON p.account_id = a.id
         WHERE %(client_id)s::bigint IS NULL OR a.client_id = %(client_id)s
         GROUP BY a.code ORDER BY a.code
        """,
        {"client_id": client_id},
    )
    return await cursor.fetchall()


async def insert_closing(
    connection: AsyncConnection, chain_key: int, month: date, now: datetime
) -> None:
    """Nothing of that month, or before, joins the chain any more."""
    await connection.execute(
        """
        INSERT INTO ledger_closing (chain_key, month, closed_at) VALUES (%s, %s, %s)
        ON CONFLICT DO NOTHING
        """,
        (chain_key, month, now),
    )


async def fetch_closed_until(connection: AsyncConnection, chain_keys: Sequence[int]) -> date | None:
    """The last month that one of the chains is closed for; None: none is."""
    cursor = await connection.execute(
        "SELECT max(month) FROM ledger_closing WHERE chain_key = ANY (%s)", (list(chain_keys),)
    )
    row = await cursor.fetchone()
    return row[0] if row is not None else None
