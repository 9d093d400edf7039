"""Reminders of unpaid invoices: drivers of those in clients' names, clients and co-owners of the
operator's.

What is to be done about which invoice on which day is decided by billing.reminding; each invoice
has a transaction of its own, in which it is looked at again: what was paid or contested in the
meantime is left alone. A second run on the same day does nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import payment_blocks
from billing.reminding import Kind, Rules, Step, next_step
from billing.store import receipts as receipt_store
from billing.store import reminders as store
from billing.store.reminders import ClaimRow
from csms import deadlines
from csms.config import Settings
from csms.deadlines import OFFICE_HOURS
from csms.notifications import announce

_NOTICE: Final = 0


@dataclass(slots=True)
class Reminded:
    """What a run did. `reminders`: how many, by level; `blocked`: drivers, each at a client."""

    reminders: dict[int, int] = field(default_factory=dict)
    notices: int = 0
    blocked: int = 0
    lifted: int = 0
    undelivered: int = 0  # notices that reached nobody: they block nobody
    amount_cents: int = 0  # left to be paid of what was reminded of or announced

    def __bool__(self) -> bool:
        """Whether it did anything."""
        return bool(self.reminders or self.notices or self.blocked or self.lifted)


def rules_of(settings: Settings) -> Rules:
    """The operator's rules."""
    return Rules(
        settings.reminder_days,
        settings.reminder_pause_days,
        settings.blocking_notice_days,
        max(1, settings.reminder_min_cents),
    )


def is_time(now: datetime) -> bool:
    """Whether the worker may write to people and block them: on a working day, in office hours, in
    Paris, so that whoever has a question finds somebody to ask."""
    local = now.astimezone(deadlines.PARIS)
    is_open = OFFICE_HOURS.opens <= local.time() < OFFICE_HOURS.closes
    return is_open and deadlines.counts(local.date(), OFFICE_HOURS.days)


async def remind(
    pool: AsyncConnectionPool,
    now: datetime,
    *,
    settings: Settings,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Reminded:
    """Do what is to be done today about every invoice that is past its day; with `dry_run` only
    tell. On a day off nothing but ending blocks."""
    async with pool.connection() as connection:
        return await remind_on(
            connection, now, settings=settings, dry_run=dry_run, progress=progress
        )


async def remind_on(
    connection: AsyncConnection,
    now: datetime,
    *,
    settings: Settings,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Reminded:
    """As `remind`, on a connection that has no transaction open."""
    done = Reminded()
    done.lifted = await _lift(connection, now, dry_run)
    today, rules = deadlines.paris_day(now), rules_of(settings)
    async with connection.transaction():
        found = await store.list_claims(connection, today)
    blocked: set[tuple[int, int | None]] = set()
    for number, row in enumerate(found, start=1):
        step = next_step(row.claim(), today, rules)
        if step.kind is not Kind.NOTHING and not dry_run:
            step, row = await _act(connection, row, now, settings)
        is_new = row.block_id is None and (row.client_id, row.person_id) not in blocked
        if step.kind is Kind.BLOCK and is_new:
            blocked.add((row.client_id, row.person_id))
        _count(done, row, step)
        done.undelivered += row.is_undelivered
        if progress is not None:
            progress(number, len(found))
    done.blocked = len(blocked)
    return done


async def _lift(connection: AsyncConnection, now: datetime, dry_run: bool) -> int:
    async with connection.transaction():
        if dry_run:
            return await store.count_groundless(connection)
        return await payment_blocks.lift_groundless(connection, now)


def _count(done: Reminded, row: ClaimRow, step: Step) -> None:
    if step.kind is Kind.REMIND:
        done.reminders[step.level] = done.reminders.get(step.level, 0) + 1
    elif step.kind is Kind.ANNOUNCE:
        done.notices += 1
    else:
        return
    done.amount_cents += row.left_cents


async def _act(
    connection: AsyncConnection, seen: ClaimRow, now: datetime, settings: Settings
) -> tuple[Step, ClaimRow]:
    """Do what is to be done about an invoice as it is now; what that was, and the invoice."""
    today, rules = deadlines.paris_day(now), rules_of(settings)
    async with connection.transaction():
        if seen.person_id is not None:
            await receipt_store.lock_drivers(connection, [seen.person_id])
        found = await store.list_claims(connection, today, seen.invoice_id)
        if not found:
            return Step(Kind.NOTHING), seen
        (row,) = found
        step = next_step(row.claim(), today, rules)
        if step.kind is Kind.BLOCK:
            await payment_blocks.block(connection, row, rules.min_cents, _iban(row, settings), now)
        elif not await _write(connection, row, step, now, settings):
            step = Step(Kind.NOTHING)
        return step, row


async def _write(
    connection: AsyncConnection, row: ClaimRow, step: Step, now: datetime, settings: Settings
) -> bool:
    """Send the letter that the step asks for; False: it asks for none, or somebody else did."""
    if step.kind not in (Kind.REMIND, Kind.ANNOUNCE):
        return False
    is_notice = step.kind is Kind.ANNOUNCE
    level = _NOTICE if is_notice else step.level
    today = deadlines.paris_day(now)
    letter_id = await store.insert_letter(connection, row, level, step.takes_effect_on, today, now)
    if letter_id is None:
        return False
    data: dict[str, object] = {
        "client": row.client,
        "invoice": row.number,
        "amount_cents": row.left_cents,
        "due_on": row.due_on,
        "iban": _iban(row, settings),
    }
    if is_notice:
        event = "invoice.block_announced"
        data["blocked_on"] = step.takes_effect_on
    else:
        event = _reminder_of(row)
        data |= {"level": level, "is_last": level == len(settings.reminder_days)}
    await announce(
        connection,
        event,
        now=now,
        client_id=row.client_id,
        person_id=row.person_id,
        subject=f"invoice {row.invoice_id}",
        data=data,
        key=f"reminder {letter_id}",
    )
    return True


def _reminder_of(row: ClaimRow) -> str:
    """The event that reminds of the invoice."""
    if not row.is_own:
        return "invoice.reminded"
    return "own_invoice.reminded" if row.person_id is None else "owner_invoice.reminded"


def _iban(row: ClaimRow, settings: Settings) -> str:
    """The account that the invoice is paid to."""
    return (settings.operator_own_iban if row.is_own else settings.operator_mandate_iban) or ""
