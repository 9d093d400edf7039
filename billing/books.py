"""Entries go into the books: in the caller's transaction, each source once, chained by digests."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from psycopg import AsyncConnection

from billing.ledger import Account, Entry, body, digest
from billing.store import books as store
from csms.registry import Conflict


async def post(connection: AsyncConnection, entries: Sequence[Entry], now: datetime) -> list[int]:
    """Write entries, or find those that were written; their ids in order. An entry with no posting
    cannot be.

    Raises: Conflict for a source key whose entry says something else.
    """
    if not entries:
        return []
    chains = await store.hold_chains(connection, sorted({e.client_id or 0 for e in entries}))
    there = await store.fetch_there(connection, [entry.source_key for entry in entries])
    ids = {}
    rows: list[store.Row] = []
    new: list[Entry] = []
    for entry in entries:
        body_sha256 = hashlib.sha256(body(entry)).digest()
        if entry.source_key in there:
            ids[entry.source_key], known = there[entry.source_key]
            if known != body_sha256:
                raise Conflict(f"{entry.source_key} is in the books with another content.")
            continue
        key = entry.client_id or 0
        sequence, previous = chains[key]
        sha256 = digest(entry, previous)
        chains[key] = (sequence + 1, sha256)
        there[entry.source_key] = (0, body_sha256)
        new.append(entry)
        rows.append(
            (
                key,
                sequence + 1,
                entry.source_key,
                entry.kind,
                entry.booked_on,
                entry.client_id,
                entry.label,
                body_sha256,
                previous,
                sha256,
                now,
            )
        )
    if rows:
        ids |= await store.insert_entries(connection, rows)
        await store.insert_postings(connection, await _postings(connection, new, ids))
        await store.advance_chains(connection, chains)
    return [ids[entry.source_key] for entry in entries]


async def _postings(
    connection: AsyncConnection, entries: Sequence[Entry], ids: dict[str, int]
) -> list[tuple[int, int, int, int]]:
    wanted: dict[str, Account] = {
        posting.account.code: posting.account for entry in entries for posting in entry.postings
    }
    accounts = await store.accounts_of(connection, [wanted[code] for code in sorted(wanted)])
    return [
        (ids[entry.source_key], place, accounts[posting.account.code], posting.amount_cents)
        for entry in entries
        for place, posting in enumerate(entry.postings, start=1)
    ]


async def balance(connection: AsyncConnection, code: str) -> int:
    """What an account holds, in cents; credits below 0."""
    return await store.fetch_balance(connection, code)
