"""Payouts: what clients are owed of their statements, paid by the 15th of the month after (5.4 c).

A payout per client, each in one transaction: what its statements leave to be paid, less what is
contested, never more than is there of its own. From then on the money is `paying` in the books.
billing.payment_files takes it to the bank, and billing.settling hears what became of it.

Killed anywhere and run again it goes on: a payout that is there counts as paid. What keeps one
client from being paid (no approved account, no regulatory basis) stops that client and no other,
and is listed with its remedy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import books, disputes, ledger, payment_state
from billing.closing import Stopped
from billing.store import payouts as store
from billing.store import problems
from billing.store.payouts import DueRow, PayoutRow
from csms import deadlines
from csms.clients import Actor
from csms.config import Settings
from csms.deadlines import Days
from csms.notifications import announce
from csms.store import clients as client_store

STAGE: Final = "pay"
WHY_LENGTH_MAX: Final = 500
ALARM_DAYS: Final = 7  # before the last day, while there is time to make, approve and send a file


@dataclass(slots=True)
class Drafted:
    """What a run did."""

    payouts: int = 0
    amount_cents: int = 0
    late: int = 0  # of these, after their last day
    stopped: dict[int, Stopped] = field(default_factory=dict)  # by client


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
    done = Drafted()
    async with pool.connection() as connection:
        dues = await store.fetch_dues(connection, client_id, month)
        client_ids = sorted({due.client_id for due in dues})
        for number, each in enumerate(client_ids, start=1):
            try:
                async with connection.transaction():
                    await _draft_client(
                        connection, each, month, now, settings, actor, done, dry_run=dry_run
                    )
            except Stopped as stopped:
                done.stopped[each] = stopped
                if not dry_run:
                    async with connection.transaction():
                        await stop(connection, each, month, stopped, now)
            if progress is not None:
                progress(number, len(client_ids))
    return done


async def _draft_client(
    connection: AsyncConnection,
    client_id: int,
    month: date,
    now: datetime,
    settings: Settings,
    actor: Actor,
    done: Drafted,
    *,
    dry_run: bool,
) -> None:
    """One client's payout, in the caller's transaction. Raises: Stopped."""
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
            f"Client {client_id} has no account that was approved: {amount / 100:.2f} EUR wait.",
            "Enter its IBAN and have a second person approve it (POST /api/v1/clients/{id}/ibans).",
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
        await _insert(connection, client_id, lines, due_on, account, actor, now)
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
                due.id if due.kind == "late" else None,
                cents,
            )
            for due, cents in lines
        ],
    )
    await store.insert_event(connection, payout_id, client_id, "draft", now, actor.name)
    entry = ledger.paying(payout_id, client_id, amount, deadlines.paris_day(now))
    await books.post(connection, [entry], now)


async def alarm(connection: AsyncConnection, now: datetime, lead_days: int) -> int:
    """Tell the operator of what is to reach clients by this month's payout day and is not on its
    way, or by then not there; of how many clients. Urgent once the bank's own days have begun, of
    which it takes `lead_days`."""
    today = deadlines.paris_day(now)
    month = deadlines.add_months(today.replace(day=1), -1)
    due_on = deadlines.payout_date(month)
    if today < due_on - timedelta(days=ALARM_DAYS):
        return 0
    async with connection.transaction():
        waiting = await store.fetch_dues(connection, None, month)
        under_way = await store.list_unsettled(connection, due_on)
        late = {due.client_id for due in waiting} | {
            each.client_id for each in under_way if each.status == "draft" or today > due_on
        }
        if not late:
            return 0
        last = due_on
        for _ in range(max(1, lead_days)):
            last = deadlines.previous_day(last - timedelta(days=1), Days.TARGET)
        event = "payout.overdue" if today >= last else "payout.due"
        await announce(
            connection,
            event,
            now=now,
            subject=f"payouts {month:%Y-%m}",
            data={
                "month": month,
                "due_on": due_on,
                "missing": len(late),
                "amount_cents": sum(due.due_cents for due in waiting)
                + sum(each.amount_cents for each in under_way if each.client_id in late),
            },
            key=f"{event} {month:%Y-%m}",
        )
    return len(late)


async def cancel(
    connection: AsyncConnection, payout: PayoutRow, actor: Actor, now: datetime, why: str
) -> None:
    """A draft that never leaves: what it held is due again. In the caller's transaction."""
    await never_left(connection, payout, "cancel", actor, now, why)


async def never_left(
    connection: AsyncConnection,
    payout: PayoutRow,
    happening: str,
    actor: Actor,
    now: datetime,
    why: str | None,
) -> bool:
    """A payout did not leave, cancelled by us or refused by the bank (`happening`); whether that
    could be, as it stood. In the caller's transaction."""
    after = payment_state.follow(payment_state.PAYOUTS, payout.status, happening)
    if after is None:
        return False
    await store.set_status(connection, payout.id, after)
    told = None if why is None else why[:WHY_LENGTH_MAX]
    await store.insert_event(connection, payout.id, payout.client_id, after, now, actor.name, told)
    entry = ledger.unpaid(
        payout.id, payout.client_id, payout.amount_cents, deadlines.paris_day(now)
    )
    await books.post(connection, [entry], now)
    await disputes.hold_open(connection, payout.client_id, now)
    return True


async def stop(
    connection: AsyncConnection, client_id: int, month: date, stopped: Stopped, now: datetime
) -> None:
    """Note what keeps a client from being paid. In the caller's transaction."""
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


def _subject(client_id: int) -> str:
    return f"client {client_id}"
