"""Periodic jobs: partitions ahead, the journal's period, sessions whose stop never came.

Any number of workers may run; an advisory lock lets one of them do the work.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import (
    card_payments,
    issuing,
    late_fees,
    payment_blocks,
    payouts,
    pricing,
    receipts,
    reminders,
    sending,
)
from billing.providers import choosing
from csms import (
    booking,
    commands,
    db,
    deadlines,
    letters_due,
    logins,
    maintenance,
    privacy,
    retention,
)
from csms.clients import Actor
from csms.config import SettingError, Settings
from csms.domain import session as sessions
from csms.domain.session import Act
from csms.domain.values import UTC
from csms.notifications import delivery, detection
from csms.store import connections, lost, rollups
from csms.store.session_rows import session_from_row, session_row
from csms.wire import badges, certificates
from reporting import datagouv, outlet, qualicharge
from reporting.ocpi import telling

log = logging.getLogger(__name__)

LOCK: Final = "worker"
PERIOD_S: Final = 5.0  # between two looks at what is due


class Job(NamedTuple):
    """What is done every so often."""

    name: str
    period_s: float
    run: Callable[[AsyncConnection, Settings, datetime], Awaitable[object]]


async def give_up_lost_sessions(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> int:
    """End, as lost, the sessions that must be over; how many."""
    async with connection.transaction():
        found = await lost.fetch_silent_sessions(
            connection,
            now - timedelta(seconds=settings.lost_stop_after_s),
            now - timedelta(seconds=settings.lost_station_after_s),
        )
        rows = []
        for row in found:
            session = session_from_row(row)
            if sessions.lose(session, now) is Act.LOSE:
                rows.append(session_row(row["station_key"], session))
        if rows:
            await lost.write_lost_sessions(connection, rows, now)
    return len(rows)


async def _make_partitions(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> object:
    return await maintenance.ensure_partitions(connection, now, settings.partitions_ahead_months)


async def _drop_journal(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    return await maintenance.drop_old_journal(connection, now, settings.journal_months)


async def give_up_orders(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    """End what no station will answer any more; how many orders."""
    return await commands.give_up(connection, settings, now)


async def _move_reservations(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> object:
    return await booking.advance(connection, settings, now)


async def _close_dead_nodes(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> object:
    before = now - timedelta(seconds=settings.node_dead_after_s)
    return await connections.close_connections_of_the_dead(connection, before)


async def _keep_badges(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    return await badges.keep_in_step(connection, settings, now)


async def _keep_all_badges(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> object:
    return await badges.keep_in_step(connection, settings, now, everything=True)


async def _sign_certificates(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> object:
    return await certificates.work(connection, settings, now)


async def _watch_certificates(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> object:
    return await certificates.watch_ends(connection, settings, now)


async def _count_days(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    await rollups.count_days(connection, now)
    return None


async def _forget_logins(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    async with connection.transaction():
        return await logins.forget_old(connection, settings, now)


async def _find_notifications(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> object:
    return await detection.detect(connection, settings, now)


async def _announce_letters(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> object:
    await letters_due.announce_letters(connection, now)
    return None


async def _drop_notifications(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> object:
    return await detection.drop_old(connection, settings, now)


async def _apply_periods(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    return await retention.nightly(connection, settings, now)


async def _watch_requests(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    return await privacy.watch_requests(connection, now)


async def _price_sessions(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    return (await pricing.run_on(connection, now=now)).sessions


async def _invoice_uses(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    """Invoices of each use, of the month that runs; those of a month wait for its closing."""
    if settings.operator_name is None:
        return None  # nobody is there yet in whose hand the mandates are
    month = deadlines.paris_day(now).replace(day=1)
    return await issuing.issue_on(connection, month, now, settings=settings)


async def _settle_wallets(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    """What was left open while somebody held the books of a client."""
    async with connection.transaction():
        return await receipts.settle_wallets(connection, now)


async def _resolve_payments(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> object:
    """What the payment provider told us, and what we do not know of its payments."""
    if settings.stripe_key is None:
        return None
    async with choosing.provider(settings) as provider:
        return await card_payments.resolve_unknown(
            connection,
            provider,
            now,
            actor=Actor("worker"),
            after_s=settings.provider_ask_after_s,
        )


async def _follow_statements(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> object:
    return await sending.note_deliveries(connection) + await sending.finish(connection, now)


async def _watch_statements(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> object:
    await sending.alarm(connection, now)
    return None


async def _reckon_late(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    """What payouts cost that came late."""
    return (await late_fees.reckon(connection, now, actor=Actor("system"))).payouts


async def _watch_payouts(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    await payouts.alarm(connection, now, settings.payout_lead_days)
    return None


async def _lift_blocks(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    """Of drivers whose unpaid invoices were credited, contested or are being debited."""
    async with connection.transaction():
        return await payment_blocks.lift_groundless(connection, now)


async def _remind(connection: AsyncConnection, settings: Settings, now: datetime) -> object:
    if not reminders.is_time(now):
        return None
    return await reminders.remind_on(connection, now, settings=settings)


JOBS: Final = (
    Job("count messages, statuses and readings by day", 900.0, _count_days),
    Job("sign certificates of stations", 5.0, _sign_certificates),
    Job("watch the ends of certificates", 3600.0, _watch_certificates),
    Job("keep badges in stations in step", 10.0, _keep_badges),
    Job("keep badges in all stations in step", 3600.0, _keep_all_badges),
    Job("move reservations on", 5.0, _move_reservations),
    Job("give up orders that nobody will answer", 5.0, give_up_orders),
    Job("close the connections of dead nodes", 10.0, _close_dead_nodes),
    Job("give up lost sessions", 60.0, give_up_lost_sessions),
    Job("price sessions that have ended", 120.0, _price_sessions),
    Job("issue the invoices of each use", 300.0, _invoice_uses),
    Job("pay from wallets what is open", 300.0, _settle_wallets),
    Job("resolve payments at the provider", 15.0, _resolve_payments),
    Job("follow statements that were sent", 60.0, _follow_statements),
    Job("watch the days of statements", 3600.0, _watch_statements),
    Job("lift blocks that have no cause any more", 60.0, _lift_blocks),
    Job("remind of unpaid invoices", 3600.0, _remind),
    Job("watch the days of payouts", 3600.0, _watch_payouts),
    Job("reckon what late payouts cost", 3600.0, _reckon_late),
    Job("forget log-ins, links and failures that are over", 900.0, _forget_logins),
    Job("find what people are to be told", 10.0, _find_notifications),
    Job("tell of letters that are due", 3600.0, _announce_letters),
    Job("drop old notifications", 6 * 3600.0, _drop_notifications),
    Job("make partitions", 6 * 3600.0, _make_partitions),
    Job("drop the old journal", 6 * 3600.0, _drop_journal),
    Job("apply the periods of personal data", 900.0, _apply_periods),
    Job("watch the days of data requests", 3600.0, _watch_requests),
)


def parts(pool: AsyncConnectionPool, settings: Settings) -> tuple[Coroutine[Any, Any, None], ...]:
    """All that a worker does, each until cancelled: jobs, what people are told, what leaves for
    other systems, what partners are told."""
    return (
        run(pool, settings),
        delivery.run(pool, settings),
        _serve_outlets(pool, settings),
        telling.run(pool, settings),
    )


async def _serve_outlets(pool: AsyncConnectionPool, settings: Settings) -> None:
    """The outlets, those of each peer by themselves: a slow one holds up no other. Where none is
    set there is nothing to do."""
    async with (
        qualicharge.open_outlets(settings) as of_qualicharge,
        datagouv.open_outlets(settings) as of_datagouv,
        asyncio.TaskGroup() as peers,
    ):
        for outlets in (of_qualicharge, of_datagouv):
            if outlets:
                peers.create_task(outlet.run(pool, settings, outlets))


async def run(pool: AsyncConnectionPool, settings: Settings) -> None:
    """Run the jobs until cancelled, each in its period; a failing one is told and tried again."""
    due_s: dict[Job, float] = {}
    while True:
        try:
            async with pool.connection() as connection:
                try:
                    if await db.try_advisory_lock(connection, LOCK):
                        await _run_due(connection, settings, due_s)
                        await db.release_advisory_lock(connection, LOCK)
                except BaseException:
                    # In the pool it would live on, and the lock with it, wherever that was cut off.
                    await connection.close()
                    raise
        except (psycopg.Error, OSError, TimeoutError) as error:
            log.warning("the worker could not work: %s", str(error).strip())
        db.raise_if_cancelled()
        await asyncio.sleep(PERIOD_S)


async def _run_due(
    connection: AsyncConnection, settings: Settings, due_s: dict[Job, float]
) -> None:
    """Run what is due; what fails stays due and keeps no other job from its work."""
    for job in JOBS:
        now_s = asyncio.get_running_loop().time()
        if now_s < due_s.get(job, 0.0):
            continue
        try:
            result = await job.run(connection, settings, datetime.now(UTC))
        except (psycopg.Error, SettingError) as error:
            db.raise_if_cancelled()
            if connection.closed:
                raise
            log.warning("%s: %s", job.name, str(error).strip())
            continue
        if result:
            log.info("%s: %s", job.name, result)
        due_s[job] = now_s + job.period_s
