"""The periods of the register, applied: what is over is deleted, emptied, archived or anonymised.

Every rule can run twice, works a bounded batch at a time, each in a transaction of its own, and
fails alone. What each did is written down (retention_run), nothing too: a rule that is not there
did not run.

A night is begun once a day, at the first look after two o'clock in Paris.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, time
from typing import Final, NamedTuple

import psycopg
from psycopg import AsyncConnection

from csms import db, deadlines, maintenance, privacy, processing
from csms.config import Settings
from csms.domain.values import add_months
from csms.processing import months_before, years_before
from csms.registry import Refusal
from csms.store import group_requests
from csms.store import retention as store

log = logging.getLogger(__name__)

BATCH_ROWS: Final = 1_000
BATCHES_MAX: Final = 1_000  # of one rule in one night; the rest waits for the next
MONTHS_MAX: Final = 24  # of sessions whose badges go, in one night
NIGHT_BEGINS: Final = time(2)

Batch = Callable[[AsyncConnection, datetime, int], Awaitable[int]]


class Rule(NamedTuple):
    """A rule by name: what is done, for which activity of the register."""

    name: str
    activity: str
    run: Callable[[AsyncConnection, Settings, datetime], Awaitable[tuple[int, str]]]


async def nightly(connection: AsyncConnection, settings: Settings, now: datetime) -> int:
    """Apply the periods, once a night; how many rows that touched."""
    local = now.astimezone(deadlines.PARIS)
    begins = datetime.combine(local.date(), NIGHT_BEGINS, deadlines.PARIS)
    if now < begins or await store.has_run_since(connection, begins):
        return 0
    return await apply(connection, settings, now)


async def apply(connection: AsyncConnection, settings: Settings, now: datetime) -> int:
    """Apply every period now, and write down what was done; how many rows that touched.

    Raises: psycopg.Error only when the connection is lost.
    """
    total = 0
    for rule in RULES:
        rows, detail, failed = 0, "", False
        try:
            rows, detail = await rule.run(connection, settings, now)
        except (psycopg.Error, Refusal) as error:
            db.raise_if_cancelled()
            if connection.closed:
                raise
            failed, detail = True, type(error).__name__  # its text may quote a row
            log.warning("%s: %s", rule.name, detail)
        await store.add_run(connection, now, rule.name, rows, detail, failed=failed)
        total += rows
    return total


async def in_batches(connection: AsyncConnection, before: datetime, batch: Batch) -> int:
    """Run a statement until it finds no more, each time in a transaction of its own."""
    total = 0
    for _ in range(BATCHES_MAX):
        async with connection.transaction():
            touched = await batch(connection, before, BATCH_ROWS)
        total += touched
        if touched < BATCH_ROWS:
            break
    return total


def _logs(name: str, batch: Batch, activity: str = "technical_logs") -> Rule:
    """A rule on technical logs, or on what is kept as long as these."""

    async def run(
        connection: AsyncConnection, settings: Settings, now: datetime
    ) -> tuple[int, str]:
        before = months_before(now, processing.register().periods.technical_logs_months)
        return await in_batches(connection, before, batch), f"before {before:%Y-%m-%d}"

    return Rule(name, activity, run)


def _proofs(name: str, batch: Batch) -> Rule:
    """A rule on proofs of consents and requests."""

    async def run(
        connection: AsyncConnection, settings: Settings, now: datetime
    ) -> tuple[int, str]:
        before = years_before(now, processing.register().periods.proofs_years)
        return await in_batches(connection, before, batch), f"before {before:%Y-%m-%d}"

    return Rule(name, "rights", run)


async def _contacts(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> tuple[int, str]:
    before = months_before(now, processing.register().periods.settling_months)
    return await in_batches(connection, before, store.delete_contacts), f"before {before:%Y-%m-%d}"


def _books(name: str, activity: str, batch: Batch) -> Rule:
    """A rule on what the books need no more."""

    async def run(
        connection: AsyncConnection, settings: Settings, now: datetime
    ) -> tuple[int, str]:
        before = _books_end(now)
        return await in_batches(connection, before, batch), f"before {before:%Y-%m-%d}"

    return Rule(name, activity, run)


async def _devices(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> tuple[int, str]:
    return await in_batches(connection, now, store.delete_devices), ""


async def _journal(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> tuple[int, str]:
    dropped = await maintenance.drop_old_journal(connection, now, settings.journal_months)
    return len(dropped), ", ".join(dropped)


async def _settled_accounts(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> tuple[int, str]:
    """Accounts closed longer than it takes to settle them: into the archive, or gone. One who
    still charges waits for the next night."""
    before = months_before(now, processing.register().periods.settling_months)
    erased = waiting = 0
    for person_id in await store.list_settled_accounts(connection, before, BATCH_ROWS):
        try:
            async with connection.transaction():
                await privacy.erase(connection, settings, person_id, now=now, by=privacy.SYSTEM)
            erased += 1
        except Refusal:
            waiting += 1
    return erased, f"{waiting} wait for the end of a session" if waiting else ""


def _books_end(now: datetime) -> datetime:
    """The first moment whose month the books still need: months of Paris, whole ones."""
    years = processing.register().periods.books_years
    month = add_months(deadlines.paris_day(now).replace(day=1), -12 * years)
    return deadlines.start_of_day(month)


async def _sessions(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> tuple[int, str]:
    """Badges of sessions, month by month: a month is done as a whole, in one transaction."""
    end, total, months = _books_end(now), 0, []
    for _ in range(MONTHS_MAX):
        oldest = await store.oldest_with_badge(connection, end)
        if oldest is None:
            break
        month = deadlines.paris_day(oldest).replace(day=1)
        async with connection.transaction():
            total += await store.pseudonymise_sessions(
                connection,
                deadlines.start_of_day(month),
                deadlines.start_of_day(add_months(month, 1)),
            )
        months.append(f"{month:%Y-%m}")
    return total, " ".join(months)


async def _archive(
    connection: AsyncConnection, settings: Settings, now: datetime
) -> tuple[int, str]:
    return await store.empty_archive(connection, deadlines.paris_day(now)), ""


RULES: Final = (
    _logs("log-ins that are over", store.delete_log_ins),
    _logs("addresses of log-ins", store.blank_log_ins),
    _logs("links that are over", store.delete_links),
    _logs("requests of groups", group_requests.delete_requests, "charging"),
    Rule("known browsers", "accounts", _devices),
    _logs("failures to log in", store.delete_failures),
    _logs("refused connections", store.delete_refused),
    _logs("unknown badges", store.delete_unknown_tokens),
    _logs("addresses of stations", store.blank_connections),
    _logs("addresses in the audit", store.blank_audit),
    _logs("badges in orders", store.blank_orders),
    _logs("customers in reports of stations", store.blank_reports),
    _logs("samples of deviations", store.blank_deviations),
    _logs("texts of requests", store.blank_requests),
    _logs("watches of points", store.delete_watches),
    _logs("starts asked for", store.delete_starts, "charging"),
    _logs("tokens of partners", store.delete_partner_tokens, "charging"),
    _logs("reservations that are over", store.delete_reservations, "charging"),
    Rule("journal", "technical_logs", _journal),
    _proofs("requests", store.delete_requests),
    _proofs("consents", store.delete_consents),
    Rule("closed accounts", "accounts", _settled_accounts),
    Rule("badges of sessions", "charging", _sessions),
    _books("frames on the desk", "charging", store.wipe_settled_frames),
    _books("words of partners on their drivers", "charging", store.delete_grants),
    _books("sessions told to partners", "charging", store.delete_told_sessions),
    Rule("restricted archive", "billing", _archive),
    Rule("contacts of clients", "contracts", _contacts),
    _books("closed clients", "contracts", store.erase_clients),
    _books("history of places", "contracts", store.delete_static_changes),
)
