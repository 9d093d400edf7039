"""SQL of the books."""

from collections.abc import Sequence
from datetime import date, datetime

from psycopg import AsyncConnection

from billing.ledger import Account

Row = tuple[int, int, str, str, date, int | None, str, bytes, bytes, bytes, datetime]


async def hold_chains(
    connection: AsyncConnection, keys: Sequence[int]
) -> dict[int, tuple[int, bytes]]:
    """The last sequence and digest of chains (0: the operator's), held in the order of their keys
    until the caller's transaction is over."""
    await connection.execute(
        """
        INSERT INTO ledger_chain (chain_key) SELECT unnest(%s::bigint[]) ORDER BY 1
        ON CONFLICT DO NOTHING
        """,
        (list(keys),),
    )
    cursor = await connection.execute(
        """
        SELECT chain_key, last_sequence, last_sha256 FROM ledger_chain
         WHERE chain_key = ANY (%s) ORDER BY chain_key FOR UPDATE
        """,
        (list(keys),),
    )
    return {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}


async def advance_chains(connection: AsyncConnection, chains: dict[int, tuple[int, bytes]]) -> None:
    """Where chains end now."""
    await connection.execute(
        """
        UPDATE ledger_chain c SET last_sequence = n.last_sequence, last_sha256 = n.last_sha256
          FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[])
               AS n (chain_key, last_sequence, last_sha256)
         WHERE c.chain_key = n.chain_key
        """,
        (
            list(chains),
            [sequence for sequence, _ in chains.values()],
            [sha256 for _, sha256 in chains.values()],
        ),
    )


async def fetch_there(
    connection: AsyncConnection, keys: Sequence[str]
) -> dict[str, tuple[int, bytes]]:
    """Entries that have these source keys: id and digest of the body."""
    cursor = await connection.execute(
        "SELECT source_key, id, body_sha256 FROM ledger_entry WHERE source_key = ANY (%s)",
        (list(keys),),
    )
    return {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}


async def accounts_of(connection: AsyncConnection, accounts: Sequence[Account]) -> dict[str, int]:
    """The accounts' ids by code; those that are missing are made."""
    await connection.execute(
        """
        INSERT INTO ledger_account (code, kind, client_id, person_id, general_account, label)
        SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[],
                             %s::text[])
        ON CONFLICT (code) DO NOTHING
        """,
        (
            [account.code for account in accounts],
            [account.kind for account in accounts],
            [account.client_id for account in accounts],
            [account.person_id for account in accounts],
            [account.general_account for account in accounts],
            [account.label for account in accounts],
        ),
    )
    cursor = await connection.execute(
        "SELECT code, id FROM ledger_account WHERE code = ANY (%s)",
        ([account.code for account in accounts],),
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def insert_entries(connection: AsyncConnection, rows: Sequence[Row]) -> dict[str, int]:
    """Entries; their ids by source key."""
    cursor = await connection.execute(
        """
        INSERT INTO ledger_entry (chain_key, sequence, source_key, kind, booked_on, client_id,
                                  label, body_sha256, previous_sha256, sha256, created_at)
        SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::date[],
                             %s::bigint[], %s::text[], %s::bytea[], %s::bytea[], %s::bytea[],
                             %s::timestamptz[])
        RETURNING source_key, id
        """,
        [list(column) for column in zip(*rows, strict=True)],
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def insert_postings(
    connection: AsyncConnection, rows: Sequence[tuple[int, int, int, int]]
) -> None:
    """Postings: entry, position, account, amount."""
    await connection.execute(
        """
        INSERT INTO ledger_posting (entry_id, position, account_id, amount_cents)
        SELECT * FROM unnest(%s::bigint[], %s::smallint[], %s::bigint[], %s::bigint[])
        """,
        [list(column) for column in zip(*rows, strict=True)],
    )


async def fetch_balance(connection: AsyncConnection, code: str) -> int:
    """What an account holds; 0 for one that is not there."""
    cursor = await connection.execute(
        """
        SELECT coalesce(sum(p.amount_cents), 0)::bigint
          FROM ledger_posting p JOIN ledger_account a ON a.id = p.account_id WHERE a.code = %s
        """,
        (code,),
    )
    row = await cursor.fetchone()
    return row[0] if row is not None else 0
