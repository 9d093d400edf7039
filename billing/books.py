"""Writing the books: entries of billing.ledger into the database, once each, in their chains."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from psycopg import AsyncConnection

from billing import ledger
from billing.ledger import Entry
from billing.store import ledger as store
from billing.store.ledger import ChainRow
from csms import deadlines
from csms.registry import Conflict

OPERATOR: Final = 0  # the chain of entries without a client


async def post(connection: AsyncConnection, entries: Sequence[Entry], now: datetime) -> list[int]:
    """Write entries in the caller's transaction; their ids, in the order given.

    One that is there already is left as it is and counts as written. The chains are held until the
    transaction ends, so keep it short.

    Raises: Conflict for a key that is there with another body; psycopg.errors.CheckViolation at
    the latest on commit, for a month that is closed.
    """
    if not entries:
        return []
    chains = await store.lock_chains(connection, sorted({_chain(each) for each in entries}))
    keys = [entry.source_key for entry in entries]
    reversed_keys = [entry.reverses_key for entry in entries if entry.reverses_key is not None]
    written = await store.find_written(connection, [*keys, *reversed_keys])
    bodies = {entry.source_key: ledger.body_digest(entry) for entry in entries}
    for key, body_sha256 in bodies.items():
        if key in written and written[key].body_sha256 != body_sha256:
            raise Conflict(
                f"Entry {key} is in the books with another content: nothing was written. A "
                "correction is an entry of its own."
            )
    found = {key: row.id for key, row in written.items()}
    new = [entry for entry in entries if entry.source_key not in written]
    if new:
        found |= await _write(connection, new, bodies, chains, found, now)
    return [found[key] for key in keys]


async def _write(
    connection: AsyncConnection,
    entries: Sequence[Entry],
    bodies: dict[str, bytes],
    chains: dict[int, ChainRow],
    ids: dict[str, int],
    now: datetime,
) -> dict[str, int]:
    """Entries that are new, each after the last of its chain; their ids by key."""
    rows = []
    for entry in entries:
        chain = chains[_chain(entry)]
        body_sha256 = bodies[entry.source_key]
        sha256 = ledger.digest(body_sha256, chain.last_sha256)
        sequence = chain.last_sequence + 1
        rows.append(
            (
                chain.chain_key,
                sequence,
                entry.source_key,
                entry.kind,
                entry.booked_on,
                entry.client_id,
                entry.label,
                None if entry.reverses_key is None else ids[entry.reverses_key],
                body_sha256,
                chain.last_sha256,
                sha256,
            )
        )
        chains[chain.chain_key] = ChainRow(chain.chain_key, sequence, sha256)
    accounts = {
        posting.account.code: posting.account for entry in entries for posting in entry.postings
    }
    account_ids = await store.provide_accounts(
        connection,
        [
            (
                each.code,
                each.kind.value,
                each.client_id,
                each.person_id,
                each.general_account,
                each.label,
            )
            for each in accounts.values()
        ],
    )
    made = await store.insert_entries(connection, rows, now)
    await store.insert_postings(
        connection,
        [
            (
                made[entry.source_key],
                position,
                account_ids[posting.account.code],
                posting.amount_cents,
            )
            for entry in entries
            for position, posting in enumerate(entry.postings, start=1)
        ],
    )
    await store.write_chains(connection, list(chains.values()))
    return made


async def balance(connection: AsyncConnection, account: ledger.Account) -> int:
    """The balance of an account in cents: a debit is above 0."""
    return await store.fetch_balance(connection, account.code)


async def hold(connection: AsyncConnection, chain_keys: Sequence[int]) -> None:
    """Hold these chains to the end of the transaction: what is read of them stays as it is."""
    await store.lock_chains(connection, sorted(chain_keys))


async def balances(connection: AsyncConnection, client_id: int | None = None) -> dict[str, int]:
    """Balances by account code, of one client or (None) of all."""
    return dict(await store.fetch_balances(connection, client_id))


async def close_month(
    connection: AsyncConnection, chain_key: int, month: date, now: datetime
) -> None:
    """Nothing is booked any more in that month (its first day) of a client, or of the operator.

    Waits for whoever writes in the chain.
    """
    await store.lock_chains(connection, [chain_key])
    await store.insert_closing(connection, chain_key, month, now)


async def bookable_on(
    connection: AsyncConnection, chain_keys: Sequence[int], day: date, now: datetime
) -> date:
    """The day itself, or today (in Paris) where its month is closed for one of the chains."""
    closed = await store.fetch_closed_until(connection, chain_keys)
    if closed is None or (day.year, day.month) > (closed.year, closed.month):
        return day
    return deadlines.paris_day(now)


def _chain(entry: Entry) -> int:
    return OPERATOR if entry.client_id is None else entry.client_id
