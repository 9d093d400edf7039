"""What the bank refused of a file before it left (pain.002): its payments are due as before.

A report may refuse single payments, a batch of them or the whole file; which payments are in a
batch, the file itself says as it was kept.
"""

from collections import Counter
from datetime import datetime

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import collecting, payouts, sepa
from billing.sepa import PaymentStatus
from billing.store import payment_files as file_store
from billing.store import payouts as payout_store
from csms.clients import Actor
from csms.db import transaction


async def read_in(
    pool: AsyncConnectionPool, content: bytes, now: datetime, *, actor: Actor
) -> Counter[str]:
    """Read a report; how many payments of each kind were refused. `known`: refused or settled
    before, `unknown`: none of ours. Raises: sepa.Unreadable."""
    done: Counter[str] = Counter()
    for each in sepa.read_status(content):
        if each.status == sepa.REFUSED:
            async with transaction(pool) as connection:
                for identifier in await _identifiers(connection, each):
                    done[await _refuse(connection, identifier, each.reason, now, actor)] += 1
    return done


async def _identifiers(connection: AsyncConnection, status: PaymentStatus) -> list[str]:
    if status.end_to_end_id is not None:
        return [status.end_to_end_id]
    content = await file_store.find_content(connection, status.message_id)
    return [] if content is None else sepa.identifiers_in(content, status.batch)


async def _refuse(
    connection: AsyncConnection, identifier: str, reason: str | None, now: datetime, actor: Actor
) -> str:
    """One payment; its kind, `known` or `unknown`."""
    payout = await payout_store.get_payout(connection, end_to_end_id=identifier)
    if payout is not None:
        is_new = await payouts.never_left(connection, payout, "refuse", actor, now, reason)
        return "payout" if is_new else "known"
    transfer = await file_store.find_transfer(connection, end_to_end_id=identifier)
    if transfer is None:
        return await collecting.refuse(connection, identifier, reason, now)
    if transfer.status != "sent":
        return "known"
    await file_store.set_transfer_status(connection, transfer.id, "refused")
    return "transfer"
