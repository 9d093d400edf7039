"""Payment files: what goes to the bank, made by one person and approved by another (four eyes).

One file of all payouts that are in none, with what the operator earned on its way to its own
account; files of direct debits are made by billing.collecting, and kept, approved, handed out and
given up here like those. What a file holds is fixed when it is made. Only an approved one is handed
out, and from then on its payments are on their way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import books, payouts, sepa
from billing.closing import Stopped
from billing.store import payment_files as store
from billing.store import payouts as payout_store
from billing.store.payment_files import FileRow
from billing.store.payouts import PayoutRow
from csms import deadlines
from csms.clients import Actor, are_one
from csms.config import Settings
from csms.db import transaction
from csms.deadlines import Days
from csms.registry import Conflict, NotThere, Refusal
from csms.store import audit


@dataclass(slots=True)
class Filed:
    """A file that was made; file_id None: there was nothing for one."""

    file_id: int | None = None
    payments: int = 0
    total_cents: int = 0
    swept_cents: int = 0  # of these, to the operator's own account
    to_lay_cents: int = 0  # what the operator has to bring to the account of third parties
    refused: dict[int, str] = field(default_factory=dict)  # by client


async def make(
    pool: AsyncConnectionPool,
    now: datetime,
    *,
    settings: Settings,
    actor: Actor,
    execution_on: date | None = None,
) -> Filed:
    """One file of all drafts that are in none; nothing to pay makes none.

    execution_on: the day on which the bank is to pay; None: the last day that is in time for all
    of them, or the first that can be.

    Raises: Conflict while the settings do not say which accounts; Refusal for a day that is no
    TARGET day or too early.
    """
    debtor, own = account_of(settings, "mandate"), account_of(settings, "own")
    done = Filed()
    async with transaction(pool) as connection:
        await store.lock_files(connection)
        drafts = await payout_store.take_drafts(connection)
        day = _execution_day(drafts, now, settings, execution_on)
        if not drafts:
            return done
        message_id = await next_message_id(connection, "V", day)
        transfer = await _transfer(connection, message_id, own, done)
        built = sepa.build_transfers(
            message_id,
            debtor,
            day,
            [_payment(each) for each in drafts] + ([] if transfer is None else [transfer]),
            created_at=now,
            today=deadlines.paris_day(now),
        )
        if transfer is not None and transfer.end_to_end_id not in built.accepted:
            raise Conflict(next(each.message for each in built.refused))
        kept = [each for each in drafts if each.end_to_end_id in built.accepted]
        await _refuse(connection, drafts, built, actor, now, done)
        if not kept:
            done.swept_cents = 0
            return done
        done.payments, done.total_cents = len(built.accepted), built.total_cents
        done.file_id = await keep(
            connection, built, "payout", "mandate", day, settings=settings, actor=actor, now=now
        )
        await payout_store.put_in_file(connection, [each.id for each in kept], done.file_id)
        if transfer is not None:
            await store.insert_transfer(
                connection,
                done.file_id,
                done.swept_cents + done.to_lay_cents,
                done.to_lay_cents,
                transfer.end_to_end_id,
            )
            done.to_lay_cents = 0
    return done


async def _refuse(
    connection: AsyncConnection,
    drafts: Sequence[PayoutRow],
    built: sepa.Built,
    actor: Actor,
    now: datetime,
    done: Filed,
) -> None:
    """Payouts that no bank would take are given up, and listed with their remedy."""
    faults = {each.end_to_end_id: each for each in built.refused}
    for each in drafts:
        fault = faults.get(each.end_to_end_id)
        if fault is not None:
            await payouts.cancel(connection, each, actor, now, fault.message)
            done.refused[each.client_id] = f"{fault.message} {fault.remedy}"
            stopped = Stopped(f"payment_{fault.cause}", fault.message, fault.remedy)
            await payouts.stop(connection, each.client_id, each.month, stopped, now)


def account_of(settings: Settings, account: str) -> sepa.Account:
    """The operator's account of third parties' money (`mandate`), or its `own`. Raises: Conflict
    while the settings do not say it."""
    iban = settings.operator_mandate_iban if account == "mandate" else settings.operator_own_iban
    bic = settings.operator_mandate_bic if account == "mandate" else settings.operator_own_bic
    if settings.operator_name is None or iban is None:
        raise Conflict(
            "Payments need the operator's name and both of its accounts: set T2P_OPERATOR_NAME, "
            "T2P_OPERATOR_MANDATE_IBAN and T2P_OPERATOR_OWN_IBAN."
        )
    return sepa.Account(settings.operator_name, iban, bic)


async def next_message_id(connection: AsyncConnection, letter: str, day: date) -> str:
    """The name of the next file: V for transfers, P for debits, and a day. The caller holds
    `lock_files`."""
    prefix = f"T2P-{letter}-{day:%Y%m%d}"
    return f"{prefix}-{await store.count_files(connection, prefix) + 1:02d}"


async def keep(
    connection: AsyncConnection,
    built: sepa.Built,
    kind: str,
    account: str,
    execution_on: date,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> int:
    """Keep a file as it was built; its id. In the caller's transaction."""
    assert built.content is not None
    file_id = await store.insert_file(
        connection,
        {
            "kind": kind,
            "account": account,
            "message_id": built.message_id,
            "execution_on": execution_on,
            "payments": len(built.accepted),
            "total_cents": built.total_cents,
            "content": built.content,
            "is_simulated": settings.billing_simulated,
            "now": now,
            "actor": actor.name,
        },
    )
    await _audit(connection, file_id, "made", actor, now)
    return file_id


def _execution_day(
    drafts: Sequence[PayoutRow], now: datetime, settings: Settings, asked: date | None
) -> date:
    """Raises: Refusal."""
    today = deadlines.paris_day(now)
    first = deadlines.next_day(today, Days.TARGET)
    if settings.payout_lead_days:
        first = deadlines.add_days(today, settings.payout_lead_days, Days.TARGET)
    if asked is None:
        return max(first, min((each.due_on for each in drafts), default=first))
    if not deadlines.counts(asked, Days.TARGET):
        raise Refusal(f"On {asked} no transfer settles (TARGET is closed).", "execution_on")
    if asked < first:
        raise Refusal(
            f"{asked} is too early: the bank needs {settings.payout_lead_days} TARGET days, so "
            f"{first} at the earliest.",
            "execution_on",
        )
    return asked


async def _transfer(
    connection: AsyncConnection, message_id: str, own: sepa.Account, done: Filed
) -> sepa.Transfer | None:
    """What the operator earned, on its way to its own account, less what it owes the account of
    third parties; None where that leaves nothing."""
    earned, laid, mandate = await store.fetch_earned(connection)
    earned = min(earned, mandate)
    done.to_lay_cents = max(0, laid)
    if earned - done.to_lay_cents <= 0:
        return None
    done.swept_cents = earned - done.to_lay_cents
    return sepa.Transfer(
        f"{message_id}-C", done.swept_cents, own, "Commissions et frais, virement interne"
    )


def _payment(payout: PayoutRow) -> sepa.Transfer:
    return sepa.Transfer(
        payout.end_to_end_id,
        payout.amount_cents,
        sepa.Account(payout.holder, payout.iban),
        f"Reversement {payout.month:%m/%Y} {payout.client}",
    )


async def approve(
    connection: AsyncConnection, file_id: int, actor: Actor, now: datetime
) -> FileRow:
    """Approve a file that somebody else made. In the caller's transaction.

    Raises: NotThere; Conflict for who made it, or what is cancelled.
    """
    file = await _file(connection, file_id)
    if file.approved_by is not None:
        return file
    if await are_one(connection, file.created_by, actor.name):
        raise Conflict(
            f"File {file.message_id} was made by {actor.name}: another person approves it."
        )
    await store.approve_file(connection, file_id, actor.name, now)
    await _audit(connection, file_id, "approved", actor, now)
    return await _file(connection, file_id)


async def hand_out(connection: AsyncConnection, file_id: int, actor: Actor, now: datetime) -> bytes:
    """The bytes of an approved file, for the bank; from now on its payments are sent. The same
    again gives the same. In the caller's transaction.

    Raises: NotThere; Conflict, also where something that it pays was contested since it was made.
    """
    file = await _file(connection, file_id)
    if file.approved_at is None:
        raise Conflict(f"File {file.message_id} is not approved yet: a second person does that.")
    if file.sent_at is None:
        contested = await store.list_contested_since(connection, file_id)
        if contested:
            raise Conflict(
                f"File {file.message_id} pays what was contested since it was made "
                f"({', '.join(contested)}): give it up, and make another."
            )
        await store.note_sent(connection, file_id, now)
        if file.kind == "payout":
            inside = await payout_store.list_of_file(connection, file_id)
            drafts = [each.id for each in inside if each.status == "draft"]
            await payout_store.set_statuses(connection, drafts, "sent", now, actor.name)
            transfer = await store.find_transfer(connection, file_id=file_id)
            if transfer is not None:
                await store.set_transfer_status(connection, transfer.id, "sent")
        else:
            await store.send_debits(connection, file_id)
        await _audit(connection, file_id, "sent", actor, now)
    return await store.fetch_content(connection, file_id)


async def cancel(
    connection: AsyncConnection, file_id: int, reason: str, actor: Actor, now: datetime
) -> None:
    """Give up a file that was not handed out: its payouts are due as before, its debits wait for
    another. In the caller's transaction. Raises: NotThere; Conflict; Refusal without a reason."""
    if not reason.strip():
        raise Refusal("Say why the file is given up.", "reason")
    file = await _file(connection, file_id)
    if file.sent_at is not None:
        raise Conflict(f"File {file.message_id} was handed out: ask the bank to recall it.")
    await store.cancel_file(connection, file_id, now)
    if file.kind == "payout":
        inside = await payout_store.list_of_file(connection, file_id)
        await books.hold(connection, sorted({each.client_id for each in inside}))
        for each in inside:
            if each.status == "draft":
                await payouts.cancel(connection, each, actor, now, reason)
        transfer = await store.find_transfer(connection, file_id=file_id)
        if transfer is not None:
            await store.set_transfer_status(connection, transfer.id, "cancelled")
    else:
        await store.release_debits(connection, file_id)
    await _audit(connection, file_id, "cancelled", actor, now)


async def _file(connection: AsyncConnection, file_id: int) -> FileRow:
    """A file that is not cancelled. Raises: NotThere; Conflict."""
    found = await store.get_file(connection, file_id)
    if found is None:
        raise NotThere(f"There is no payment file {file_id}.")
    if found.cancelled_at is not None:
        raise Conflict(f"File {found.message_id} was given up.")
    return found


async def _audit(
    connection: AsyncConnection, file_id: int, what: str, actor: Actor, now: datetime
) -> None:
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        client_id=None,
        action=f"payment_file.{what}",
        subject=f"payment file {file_id}",
        detail={},
    )
