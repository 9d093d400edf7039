"""Blocks of drivers at the stations of a client whose invoices they do not pay.

A block holds as far as what it was set for is left to be paid, is not contested and is not being
debited: the view standing_block says so, and a start is judged by it (csms.authorization). Here the
rows follow: a block without a cause is ended, in the transaction of the money that ended it or by
the worker, and its driver is told. A person may lift one; its notice blocks no more.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from billing.store import reminders as store
from billing.store.reminders import ClaimRow, Lifted
from csms.clients import Actor
from csms.notifications import announce
from csms.registry import NotThere, Refusal
from csms.store import audit

REASON_LENGTH_MAX: Final = 500
BY_RULE: Final = "reminders"  # who blocks, where no person does


async def block(
    connection: AsyncConnection, row: ClaimRow, min_cents: int, iban: str, now: datetime
) -> bool:
    """Block the driver of an invoice for it; whether she was not blocked there before. `iban`: to
    be paid to; may be empty. In the caller's transaction, which holds the driver."""
    is_new = row.block_id is None
    block_id = row.block_id
    if block_id is None:
        block_id = await store.insert_block(connection, row, max(1, min_cents), BY_RULE, now)
    await store.insert_cause(connection, block_id, row, now)
    await audit.add_entry(
        connection,
        now,
        actor=BY_RULE,
        person_id=None,
        client_id=row.client_id,
        action="payment_block.set" if is_new else "payment_block.extended",
        subject=f"payment block {block_id}",
        detail={"driver": row.person_id, "invoice": row.number, "left_cents": row.left_cents},
    )
    if is_new:
        await announce(
            connection,
            "driver.blocked",
            now=now,
            client_id=row.client_id,
            person_id=row.person_id,
            subject=f"payment block {block_id}",
            data={
                "client": row.client,
                "invoice": row.number,
                "amount_cents": row.left_cents,
                "iban": iban,
            },
            key=f"payment block {block_id} set",
        )
    return is_new


async def lift_groundless(
    connection: AsyncConnection, now: datetime, person_ids: Sequence[int] | None = None
) -> int:
    """End the blocks, of these drivers or of all, that have no cause any more; how many. In the
    caller's transaction."""
    found = await store.lift_groundless(connection, now, person_ids)
    for lifted in found:
        await _tell(connection, lifted, now)
    return len(found)


async def lift(
    connection: AsyncConnection, block_id: int, reason: str, *, actor: Actor, now: datetime
) -> None:
    """End a block by a person's decision. In the caller's transaction. Raises: NotThere; Refusal
    without a reason."""
    reason = reason.strip()
    if not reason or len(reason) > REASON_LENGTH_MAX:
        raise Refusal(f"Say why, in {REASON_LENGTH_MAX} characters at most.", "reason")
    lifted = await store.lift(connection, block_id, actor.name, reason, now)
    if lifted is None:
        raise NotThere(f"There is no block {block_id} that is open.")
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        client_id=lifted.client_id,
        action="payment_block.lifted",
        subject=f"payment block {block_id}",
        detail={"driver": lifted.person_id, "reason": reason},
    )
    await _tell(connection, lifted, now)


async def _tell(connection: AsyncConnection, lifted: Lifted, now: datetime) -> None:
    await announce(
        connection,
        "driver.unblocked",
        now=now,
        client_id=lifted.client_id,
        person_id=lifted.person_id,
        subject=f"payment block {lifted.id}",
        data={"client": lifted.client},
        key=f"payment block {lifted.id} lifted",
    )
