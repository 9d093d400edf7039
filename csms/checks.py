"""`time2plug check`: the promises, proved on the live data.

Every check is one statement that looks for what must not be; it reads only, and the server may run
meanwhile. What is found is for a person: nothing is mended here.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import psycopg
from psycopg import AsyncConnection
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from csms import db, timeseries
from csms.config import SettingError, Settings
from csms.domain.values import UTC
from csms.store import checking
from csms.store.checking import Offence

SHOWN_MAX: Final = 5  # offences of one check that are printed; all are counted
RETIRED_GRACE: Final = timedelta(hours=1)  # the worker ends sessions of retired stations
READINGS_PERIOD: Final = timedelta(days=1)
READINGS_SAMPLE_MAX: Final = 2_000

_STORAGES: Final = {
    timeseries.NATIVE: "monthly partitions of PostgreSQL",
    timeseries.TIMESCALE: "hypertables of TimescaleDB",
}
UNPROVED: Final = 2  # exit code when the checks could not be run


class Check(NamedTuple):
    """A check by name, and what its silence proves."""

    name: str
    proves: str
    find: Callable[[AsyncConnection, datetime], Awaitable[list[Offence]]]


async def _active_on_retired_stations(connection: AsyncConnection, now: datetime) -> list[Offence]:
    return await checking.active_on_retired_stations(connection, SHOWN_MAX, now - RETIRED_GRACE)


async def _answered_without_readings(connection: AsyncConnection, now: datetime) -> list[Offence]:
    return await checking.answered_without_readings(
        connection, SHOWN_MAX, now - READINGS_PERIOD, READINGS_SAMPLE_MAX
    )


async def _missing_partitions(connection: AsyncConnection, now: datetime) -> list[Offence]:
    return await checking.missing_partitions(connection, SHOWN_MAX, now)


def _timeless(
    find: Callable[[AsyncConnection, int], Awaitable[list[Offence]]],
) -> Callable[[AsyncConnection, datetime], Awaitable[list[Offence]]]:
    """A statement that asks for no moment."""

    async def at(connection: AsyncConnection, now: datetime) -> list[Offence]:
        return await find(connection, SHOWN_MAX)

    return at


CHECKS: Final = (
    Check(
        "energy beyond registers",
        "energy is never negative and never more than measured",
        _timeless(checking.energy_beyond_registers),
    ),
    Check(
        "energy beside registers",
        "where the meter has no fault, energy is stop less start, in whole watt-hours",
        _timeless(checking.energy_beside_registers),
    ),
    Check(
        "ends without evidence",
        "every session that is over has what ended it on record",
        _timeless(checking.ends_without_evidence),
    ),
    Check(
        "starts counted twice",
        "a start that was sent again is one session",
        _timeless(checking.starts_counted_twice),
    ),
    Check(
        "unflagged overlaps",
        "an EVSE charges one car at a time, or the sessions say why it seems otherwise",
        _timeless(checking.overlaps_unflagged),
    ),
    Check(
        "cases without frame",
        "what could not be matched is kept raw, on the desk and in the journal",
        _timeless(checking.desk_without_frame),
    ),
    Check(
        "active on retired stations",
        "no session waits for a station that may not come back",
        _active_on_retired_stations,
    ),
    Check(
        "answered without session",
        "every start that was acknowledged is a session, for as long as the journal reaches",
        _timeless(checking.answered_without_session),
    ),
    Check(
        "answered without readings",
        "what was acknowledged with readings has them stored, by a sample of the last day",
        _answered_without_readings,
    ),
    Check(
        "rows without client",
        "every row of people's or clients' data leads to its client",
        _timeless(checking.rows_without_client),
    ),
    Check(
        "links told otherwise",
        "the history of links ends as each connection stands",
        _timeless(checking.links_told_otherwise),
    ),
    Check(
        "tables without client",
        "every table of such data can lead to its client",
        _timeless(checking.tables_without_client),
    ),
    Check(
        "missing partitions",
        "this month and the next have their place in the large tables",
        _missing_partitions,
    ),
    Check(
        "owned by application",
        "the application's role owns nothing and can change no table",
        _timeless(checking.owned_by_application),
    ),
)


def run(settings: Settings) -> int:
    """Run all checks and print them; 0 when all promises hold, 1 when one is broken, 2 when the
    database cannot be asked."""
    try:
        found, kept_by = asyncio.run(_run(settings))
    except SettingError as error:
        print(f"time2plug: {error}", file=sys.stderr)
        return UNPROVED
    except psycopg.Error as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        print(f"time2plug: the checks could not be run: {reason}", file=sys.stderr)
        return UNPROVED
    console = Console()
    show(found, console)
    console.print(f"\nReadings, statuses and messages are kept in {_STORAGES[kept_by]}.")
    return 1 if any(offences for _, offences in found) else 0


async def _run(settings: Settings) -> tuple[list[tuple[Check, list[Offence]]], str]:
    """What was found, and how the large tables are kept."""
    async with db.open_database(settings) as database:
        if settings.database_url is None:
            await db.migrate(database)
        async with await db.connect(database, application_name="time2plug check") as connection:
            missing = await db.missing_migrations(connection)
            if missing:
                raise SettingError("the database is not up to date: run `time2plug migrate` first")
            found = await find_offences(connection, datetime.now(UTC))
            return found, await timeseries.kept_by(connection)


async def find_offences(
    connection: AsyncConnection, now: datetime
) -> list[tuple[Check, list[Offence]]]:
    """Every check with what it found, in the order of `CHECKS`; an empty list is a promise kept.

    Raises: psycopg.Error.
    """
    return [(check, await check.find(connection, now)) for check in CHECKS]


def show(found: list[tuple[Check, list[Offence]]], console: Console) -> None:
    """Print the table, and the first offences of each broken promise below it."""
    table = Table("Check", "What it proves", box=None, pad_edge=False)
    table.add_column("Offences", justify="right")
    for check, offences in found:
        colour = "red" if offences else "green"
        table.add_row(check.name, check.proves, f"[{colour}]{_total(offences):,}")
    console.print(table)
    for check, offences in found:
        if not offences:
            continue
        console.print(f"\n[red]{check.name}[/]: {_total(offences):,}")
        for offence in offences:
            line = _printable(f"  {offence.subject}: {offence.detail}")
            console.print(escape(line), highlight=False, soft_wrap=True)
        if _total(offences) > len(offences):
            console.print(f"  and {_total(offences) - len(offences):,} more")


def _total(offences: list[Offence]) -> int:
    return offences[0].total if offences else 0


def _printable(text: str) -> str:
    """Stations chose some of it: no control character reaches a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
