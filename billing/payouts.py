"""Payouts: what clients are owed of their statements, paid by the 15th of the month after (5.4 c).

First a payout per client, each in one transaction: what its statements leave to be paid, less what
is contested, never more than is there of its own. From then on the money is `paying` in the books.
Then one file for the bank of all that are in none, with what the operator earned on its way to its
own account. A second person approves the file (four eyes), and only then is it handed out. The
bank's statement settles it (billing.settling).

Killed anywhere and run again it goes on: a payout that is there counts as paid, a draft waits for
its file. What keeps one client from being paid (no approved account, no regulatory basis) stops
that client and no other, and is listed with its remedy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import books, ledger, payment_state, sepa
from billing.closing import Stopped
from billing.store import payouts as store
from billing.store import problems
from billing.store.payouts import DueRow, FileRow, PayoutRow
from csms import deadlines
from csms.clients import Actor
from csms.config import Settings
from csms.db import transaction
from csms.deadlines import Days
from csms.domain.values import UTC
from csms.registry import Conflict, NotThere, Refusal
from csms.store import audit
from csms.store import clients as client_store

STAGE: Final = "pay"


@dataclass(slots=True)
class Drafted:
    """What a run did."""

    payouts: int = 0
    amount_cents: int = 0
    late: int = 0  # of these, after their last day
    stopped: dict[int, Stopped] = field(default_factory=dict)  # by client


@dataclass(slots=True)
class Filed:
    """A file that was made; file_id None: there was nothing for one."""

    file_id: int | None = None
    payments: int = 0
    total_cents: int = 0
    swept_cents: int = 0  # of these, to the operator's own account
    to_lay_cents: int = 0  # what the operator has to bring to the account of third parties
    refused: dict[int, str] = field(default_factory=dict)  # by client


async def draft(
    pool: AsyncConnectionPool,
    month: date,
    now: datetime,
    *,
    settings: Settings,
    actor: Actor,
    client_id: int | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Drafted:
    """Make the payouts of what statements up to a month leave to be paid, for all clients or one.

    `progress` is told how many clients are done, and of how many.
    """
    month = month.replace(day=1)
    async with pool.connection() as connection:
        client_ids = await store.list_clients(connection, month, client_id)
    done = Drafted()
    for number, each in enumerate(client_ids, start=1):
        try:
            await _draft_client(pool, each, month, now, settings, actor, done, dry_run=dry_run)
        except Stopped as stopped:
            done.stopped[each] = stopped
            if not dry_run:
                async with transaction(pool) as connection:
                    await _note(connection, each, month, stopped, now)
        if progress is not None:
            progress(number, len(client_ids))
    return done


async def _draft_client(
    pool: AsyncConnectionPool,
    client_id: int,
    month: date,
    now: datetime,
    settings: Settings,
    actor: Actor,
    done: Drafted,
    *,
    dry_run: bool,
) -> None:
    """One client's payout, in one transaction. Raises: Stopped."""
    async with transaction(pool) as connection:
        client = await client_store.lock_client(connection, client_id)
        assert client is not None
        dues = await store.fetch_dues(connection, client_id, month)
        if not dues:
            return
        await books.hold(connection, [client_id])
        available = -await books.balance(connection, ledger.owed("available", client_id))
        lines = _within(dues, available)
        amount = sum(cents for _, cents in lines)
        if amount <= 0:
            return
        account = await store.find_account(connection, client_id)
        if account is None:
            raise Stopped(
                "no_account",
                f"Client {client_id} has no account that was approved: "
                f"{amount / 100:.2f} EUR wait.",
                "Enter its IBAN and have a second person approve it "
                "(POST /api/v1/clients/{id}/ibans).",
            )
        if client.regulatory_basis is None and not settings.billing_simulated:
            raise Stopped(
                "no_regulatory_basis",
                f"Client {client_id} has no regulatory basis for collecting on its account: "
                f"{amount / 100:.2f} EUR wait.",
                "Enter psp_split, agent_psp or exempted (PATCH /api/v1/clients/{id}).",
            )
        done.payouts += 1
        done.amount_cents += amount
        due_on = deadlines.payout_date(min(due.month for due, _ in lines))
        done.late += deadlines.paris_day(now) > due_on
        if not dry_run:
            await _insert(connection, client_id, month, lines, due_on, account, actor, now)
            await problems.resolve(connection, STAGE, [_subject(client_id)], now)


def _within(dues: Sequence[DueRow], available_cents: int) -> list[tuple[DueRow, int]]:
    """The oldest dues first, as far as the client's own money reaches: what a later return took
    back of it waits until the next statement has told it."""
    lines = []
    for due in dues:
        cents = min(due.due_cents, available_cents)
        available_cents -= cents
        if cents > 0:
            lines.append((due, cents))
    return lines


async def _insert(
    connection: AsyncConnection,
    client_id: int,
    month: date,
    lines: Sequence[tuple[DueRow, int]],
    due_on: date,
    account: tuple[str, str],
    actor: Actor,
    now: datetime,
) -> None:
    amount = sum(cents for _, cents in lines)
    payout_id = await store.insert_payout(
        connection,
        {
            "client_id": client_id,
            "month": max(due.month for due, _ in lines),
            "amount_cents": amount,
            "due_on": due_on,
            "iban": account[0],
            "holder": account[1],
            "now": now,
            "actor": actor.name,
        },
    )
    await store.insert_lines(
        connection,
        payout_id,
        client_id,
        [
            (
                due.kind,
                due.id if due.kind == "statement" else None,
                due.id if due.kind == "release" else None,
                cents,
            )
            for due, cents in lines
        ],
    )
    await store.insert_event(connection, payout_id, client_id, "draft", now, actor.name)
    entry = ledger.paying(payout_id, client_id, amount, deadlines.paris_day(now))
    await books.post(connection, [entry], now)


async def make_file(
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
    debtor, own = _accounts(settings)
    done = Filed()
    async with transaction(pool) as connection:
        await store.lock_files(connection)
        drafts = await store.take_drafts(connection)
        day = _execution_day(drafts, now, settings, execution_on)
        if not drafts:
            return done
        number = await store.count_files(connection, f"T2P-V-{day:%Y%m%d}") + 1
        message_id = f"T2P-V-{day:%Y%m%d}-{number:02d}"
        transfer = await _transfer(connection, message_id, own, done)
        built = sepa.build_transfers(
            message_id,
            debtor,
            day,
            [_payment(each) for each in drafts] + ([] if transfer is None else [transfer]),
            created_at=now.astimezone(UTC),
            today=deadlines.paris_day(now),
        )
        refused = {each.end_to_end_id: each for each in built.refused}
        if transfer is not None and transfer.end_to_end_id in refused:
            raise Conflict(refused[transfer.end_to_end_id].message)
        for each in drafts:
            fault = refused.get(each.end_to_end_id)
            if fault is not None:
                await _cancel(connection, each, actor, now, fault.message)
                done.refused[each.client_id] = f"{fault.message} {fault.remedy}"
                stopped = Stopped(f"payment_{fault.cause}", fault.message, fault.remedy)
                await _note(connection, each.client_id, each.month, stopped, now)
        kept = [each for each in drafts if each.end_to_end_id not in refused]
        if not kept:
            done.swept_cents = 0
            return done
        assert built.content is not None
        done.payments, done.total_cents = len(built.accepted), built.total_cents
        done.file_id = await store.insert_file(
            connection,
            {
                "kind": "payout",
                "account": "mandate",
                "message_id": message_id,
                "execution_on": day,
                "payments": done.payments,
                "total_cents": done.total_cents,
                "content": built.content,
                "is_simulated": settings.billing_simulated,
                "now": now,
                "actor": actor.name,
            },
        )
        await store.put_in_file(connection, [each.id for each in kept], done.file_id)
        if transfer is not None:
            await store.insert_transfer(
                connection,
                done.file_id,
                done.swept_cents + done.to_lay_cents,
                done.to_lay_cents,
                transfer.end_to_end_id,
            )
            done.to_lay_cents = 0
        await _audit(connection, done.file_id, "made", actor, now)
    return done


def _accounts(settings: Settings) -> tuple[sepa.Account, sepa.Account]:
    """The account of third parties, and the operator's own. Raises: Conflict."""
    missing = [
        name
        for name in ("operator_name", "operator_mandate_iban", "operator_own_iban")
        if getattr(settings, name) is None
    ]
    if missing:
        names = ", ".join(f"T2P_{name.upper()}" for name in missing)
        raise Conflict(f"Payments need the operator's name and both of its accounts: set {names}.")
    assert settings.operator_name and settings.operator_mandate_iban and settings.operator_own_iban
    return (
        sepa.Account(
            settings.operator_name, settings.operator_mandate_iban, settings.operator_mandate_bic
        ),
        sepa.Account(settings.operator_name, settings.operator_own_iban, settings.operator_own_bic),
    )


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
    if file.created_by == actor.name:
        raise Conflict(
            f"File {file.message_id} was made by {actor.name}: another person approves it."
        )
    await store.approve_file(connection, file_id, actor.name, now)
    await _audit(connection, file_id, "approved", actor, now)
    return await _file(connection, file_id)


async def hand_out(connection: AsyncConnection, file_id: int, actor: Actor, now: datetime) -> bytes:
    """The bytes of an approved file, for the bank; from now on its payments are sent. The same
    again gives the same. In the caller's transaction. Raises: NotThere; Conflict."""
    file = await _file(connection, file_id)
    if file.approved_at is None:
        raise Conflict(f"File {file.message_id} is not approved yet: a second person does that.")
    if file.sent_at is None:
        await store.note_sent(connection, file_id, now)
        if file.kind == "payout":
            payouts = await store.list_of_file(connection, file_id)
            drafts = [each.id for each in payouts if each.status == "draft"]
            await store.set_statuses(connection, drafts, "sent", now, actor.name)
            transfer = await store.find_transfer(connection, file_id=file_id)
            if transfer is not None:
                await store.set_transfer_status(connection, transfer.id, "sent")
        else:
            await store.send_debits(connection, file_id)
        await _audit(connection, file_id, "sent", actor, now)
    return await store.fetch_content(connection, file_id)


async def cancel_file(
    connection: AsyncConnection, file_id: int, reason: str, actor: Actor, now: datetime
) -> None:
    """Give up a file that was not handed out: its payouts are due as before. In the caller's
    transaction. Raises: NotThere; Conflict; Refusal without a reason."""
    if not reason.strip():
        raise Refusal("Say why the file is given up.", "reason")
    file = await _file(connection, file_id)
    if file.sent_at is not None:
        raise Conflict(f"File {file.message_id} was handed out: ask the bank to recall it.")
    await store.cancel_file(connection, file_id, now)
    if file.kind == "payout":
        payouts = await store.list_of_file(connection, file_id)
        await books.hold(connection, sorted({each.client_id for each in payouts}))
        for each in payouts:
            if each.status == "draft":
                await _cancel(connection, each, actor, now, reason)
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


async def _cancel(
    connection: AsyncConnection, payout: PayoutRow, actor: Actor, now: datetime, why: str
) -> None:
    """A payout that never leaves: what it held is due again."""
    after = payment_state.follow(payment_state.PAYOUTS, payout.status, "cancel")
    assert after is not None, payout.status
    await store.set_status(connection, payout.id, after)
    await store.insert_event(
        connection, payout.id, payout.client_id, after, now, actor.name, why[:500]
    )
    entry = ledger.unpaid(
        payout.id, payout.client_id, payout.amount_cents, deadlines.paris_day(now)
    )
    await books.post(connection, [entry], now)


def _subject(client_id: int) -> str:
    return f"client {client_id}"


async def _note(
    connection: AsyncConnection, client_id: int, month: date, stopped: Stopped, now: datetime
) -> None:
    await problems.note(
        connection,
        stage=STAGE,
        subject=_subject(client_id),
        client_id=client_id,
        month=month,
        session_id=None,
        cause=stopped.cause,
        message=stopped.message,
        remedy=stopped.remedy,
        now=now,
    )


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
