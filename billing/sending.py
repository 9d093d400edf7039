"""Statements go out: their files are kept, their invoices lie open, managers and contacts are told.

Sending is one transaction a statement, after its files were made: killed anywhere and run again it
sends once. What proves a delivery is a mail that a server accepted, or a manager who opened the
page; the ten days run from the first proof (C02), and a statement that nobody contested in them is
final. Alarms tell the operator of statements that are due (the first jour ouvré) and of those that
are about to be late (the day before the fifth jour ouvrable, C01).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import issuing, statement, statement_files, statement_lines, statement_state
from billing.statement_state import History
from billing.store import sending as store
from billing.store.sending import UnsentRow
from csms import deadlines
from csms.config import Settings
from csms.db import transaction
from csms.notifications import announce

LANGUAGE: Final = "fr"  # of the files that are kept; others are made on demand
NAMED_MAX: Final = 10  # clients that an alarm names
OVERDUE_DAYS: Final = 1  # before the last day


@dataclass(slots=True)
class Sent:
    """What a run did."""

    statements: int = 0
    invoices: int = 0
    contacts: int = 0
    net_cents: int = 0


async def send_month(
    pool: AsyncConnectionPool,
    month: date,
    now: datetime,
    *,
    settings: Settings,
    client_id: int | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Sent:
    """Send the statements of a month (its first day) that were not sent, of all clients or of one.

    Mails leave when the worker delivers them; without a mail server they wait, and managers find
    the statement on their pages.
    """
    async with pool.connection() as connection:
        unsent = await store.list_unsent(connection, month, client_id)
    done = Sent()
    for number, row in enumerate(unsent, start=1):
        if dry_run:
            done.statements += 1
            done.net_cents += row.net_cents
        else:
            await _keep_files(pool, row, now)
            await _send(pool, row, settings, now, done)
        if progress is not None:
            progress(number, len(unsent))
    return done


async def _keep_files(pool: AsyncConnectionPool, row: UnsentRow, now: datetime) -> None:
    """Make the statement's files, and keep those that are not kept yet."""
    async with pool.connection() as connection:
        kept = set(await store.list_files(connection, row.id, LANGUAGE))
        lines = await statement_lines.fetch(connection, row.id, LANGUAGE)
    told = statement.from_json(row.content)
    until = deadlines.contest_window_end(deadlines.paris_day(now))
    for kind in statement_files.FORMATS:
        if kind in kept:
            continue
        made = await asyncio.to_thread(
            statement_files.render,
            told,
            lines,
            kind,
            LANGUAGE,
            contest_until=until,
            simulated=told.is_simulated,
        )
        async with transaction(pool) as connection:
            await store.insert_file(
                connection,
                statement_id=row.id,
                client_id=row.client_id,
                format=kind,
                language=LANGUAGE,
                content=made,
                now=now,
            )


async def _send(
    pool: AsyncConnectionPool, row: UnsentRow, settings: Settings, now: datetime, done: Sent
) -> None:
    """Tell of the statement, lay its invoices open, and note it: all at once, and once."""
    async with transaction(pool) as connection:
        if not await store.lock_statement(connection, row.id):
            return
        done.invoices += await issuing.make_available(
            connection, await store.list_invoices(connection, row.id), now
        )
        data = {
            "client": row.client,
            "month": row.month,
            "net_cents": row.net_cents,
            "balance": _balance(row.net_cents),
            "contest_until": deadlines.contest_window_end(deadlines.paris_day(now)),
            "link": f"{settings.base_url}/gestion/releves/{row.id}",
            "statement_id": row.id,
        }
        subject = f"statement {row.id}"
        await announce(
            connection,
            "statement.available",
            now=now,
            client_id=row.client_id,
            subject=subject,
            data=data,
            key=f"{subject} available",
        )
        contacts = await store.list_contacts(connection, row.client_id)
        for number, email in enumerate(contacts, start=1):
            await announce(
                connection,
                "statement.told",
                now=now,
                client_id=row.client_id,
                subject=subject,
                data={**data, "email": email},
                key=f"{subject} told {number}",
                settings=settings,
            )
        await store.insert_event(
            connection, row.id, row.client_id, "sent", now, {"contacts": len(contacts)}
        )
    done.statements += 1
    done.contacts += len(contacts)
    done.net_cents += row.net_cents


def _balance(net_cents: int) -> str:
    if net_cents > 0:
        return "due"
    return "carried" if net_cents < 0 else "nothing"


async def note_deliveries(connection: AsyncConnection) -> int:
    """Note which statements a mail server has accepted, with its word for it; how many."""
    async with connection.transaction():
        found = await store.list_delivered(connection)
        for row in found:
            await store.insert_event(
                connection,
                row.statement_id,
                row.client_id,
                "delivered",
                row.at,
                {
                    "channel": "email",
                    "delivery_id": row.delivery_id,
                    "message_id": row.message_id,
                    "reply": row.reply,
                },
            )
    return len(found)


async def finish(connection: AsyncConnection, now: datetime) -> int:
    """Make final what was delivered, whose days are over, and of which nothing is contested; how
    many."""
    made = 0
    async with connection.transaction():
        for row in await store.list_running(connection):
            history = History(row.sent_at, row.delivered_at, None, row.disputes_open)
            if statement_state.state(history, now) == "final":
                last = statement_state.open_until(history)
                assert last is not None
                await store.insert_event(
                    connection,
                    row.id,
                    row.client_id,
                    "final",
                    now,
                    {"open_until": last.isoformat(), "delivered_at": row.delivered_at.isoformat()},
                )
                made += 1
    return made


async def alarm(connection: AsyncConnection, now: datetime) -> int:
    """Tell the operator of statements of last month that are due, or about to be late; of how many
    clients."""
    today = deadlines.paris_day(now)
    month = deadlines.add_months(today.replace(day=1), -1)
    due_on = deadlines.statement_deadline(month)
    if today < deadlines.statement_target(month):
        return 0
    async with connection.transaction():
        late = await store.list_late(connection, month)
        if not late:
            return 0
        is_urgent = today >= due_on - timedelta(days=OVERDUE_DAYS)
        event = "statement.overdue" if is_urgent else "statement.due"
        names = ", ".join(late[:NAMED_MAX]) + (", …" if len(late) > NAMED_MAX else "")
        await announce(
            connection,
            event,
            now=now,
            subject=f"statements {month:%Y-%m}",
            data={"month": month, "due_on": due_on, "missing": len(late), "clients": names},
            key=f"{event} {month:%Y-%m}",
        )
    return len(late)
