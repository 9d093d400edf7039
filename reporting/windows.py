"""What people enter for the reports: windows of planned work and exclusions, and the power that a
site has subscribed; by hand or from a CSV file.

Nothing entered is changed: what was wrong is revoked, or withdrawn, and stays readable with its
author. A window that overlaps one of the other kind is taken: reports say the exclusion first, and
name both. Every function runs in the caller's transaction.

Columns of the files, separated by semicolons or commas, in UTF-8 or the Windows-1252 of
spreadsheets; the same line again enters nothing:

- windows: site;station;evse;kind;from;to;cause. Times are those of Paris, as 22/11/2026 08:00 or
  2026-11-22 08:00; with an offset, as RFC 3339 has it, of that. kind: planned or excluded
  (travaux, exclusion);
- powers: site;from;power_w. A day, as 22/11/2026 or 2026-11-22.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing.csv_lines import BadLine, parse_day
from csms.clients import Actor
from csms.db import transaction
from csms.deadlines import PARIS
from csms.provisioning import reading
from csms.provisioning.drivers_csv import as_utf8
from csms.provisioning.plan import Plan
from csms.provisioning.reading import Record
from csms.registry import Conflict, NotThere, Refusal
from csms.store import audit
from reporting import store_windows as store

CAUSE_LENGTH_MAX: Final = 500
POWER_W_MAX: Final = 1_000_000_000
WINDOW_DAYS_MAX: Final = 366  # a longer one is a slip of the pen: enter it by the year
KINDS: Final = ("planned", "excluded")
_TIME: Final = re.compile(r"(.+?)[ T]([0-2][0-9])[:h]([0-5][0-9])(?::([0-5][0-9]))?")
_KIND_NAMES: Final = {"travaux": "planned", "planifié": "planned", "exclusion": "excluded"}
_NAMES: Final = {
    "borne": "station",
    "point": "evse",
    "nature": "kind",
    "type": "kind",
    "depuis": "from",
    "début": "from",
    "debut": "from",
    "fin": "to",
    "motif": "cause",
    "puissance_w": "power_w",
    "subscribed_power_w": "power_w",
}
_REMEDIES: Final = {
    "site": "write the site's identifier as it is registered, or only the station's",
    "station": "write the identifier of a station of that site, and its EVSE; or leave both empty",
    "evse": "write the number of the station's EVSE, as 1; or leave it empty",
    "kind": "write planned or excluded",
    "from": "write a moment of Paris, as 22/11/2026 08:00 (of a power: a day)",
    "to": "write a moment of Paris after the begin, as 22/11/2026 18:00",
    "cause": "write why, in 500 characters at most",
    "power_w": "write watts, as 36000",
}
_COLUMN_OF: Final = {
    "site_id": "site",
    "station_id": "station",
    "evse_id": "evse",
    "starts_at": "from",
    "ends_at": "to",
    "from_on": "from",
    "date": "from",
    "subscribed_power_w": "power_w",
}


async def enter_window(
    connection: AsyncConnection,
    *,
    site_id: str | None,
    station_id: str | None,
    evse_id: int | None,
    kind: str,
    starts_at: datetime,
    ends_at: datetime,
    cause: str,
    actor: Actor,
    now: datetime,
) -> tuple[int, bool]:
    """Leave a place out of the availability for a time; the window's id, and whether it is new: the
    same again is the same window. It may lie in the past; its entry says when it was made.

    Raises: NotThere; Refusal.
    """
    if kind not in KINDS:
        raise Refusal(f"A window is one of {', '.join(KINDS)}.", "kind")
    if not (cause.strip() and len(cause) <= CAUSE_LENGTH_MAX):
        raise Refusal(f"Say why, in {CAUSE_LENGTH_MAX} characters at most.", "cause")
    if ends_at <= starts_at:
        raise Refusal("The window would end before it begins.", "ends_at")
    if (ends_at - starts_at).days > WINDOW_DAYS_MAX:
        raise Refusal(f"A window is at most {WINDOW_DAYS_MAX} days long.", "ends_at")
    if evse_id is not None and station_id is None:
        raise Refusal("An EVSE is one of a station: name it.", "station_id")
    place = await store.find_place(connection, site_id, station_id, evse_id)
    if place is None:
        raise NotThere(_no_place(site_id, station_id, evse_id), "site_id")
    values = {
        "client_id": place[0],
        "site_id": place[1],
        "station_key": place[2],
        "evse_id": evse_id,
        "kind": kind,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "cause": cause.strip(),
        "now": now,
        "actor": actor.name,
    }
    made = await store.insert_window(connection, values)
    if made is None:
        known = await store.find_window(connection, values)
        assert known is not None, "it stood in the way"
        return known, False
    await _note(connection, place[0], actor, now, "window.entered", f"window {made}")
    return made, True


async def revoke_window(
    connection: AsyncConnection, window_id: int, reason: str, *, actor: Actor, now: datetime
) -> None:
    """A window counts no more; it stays in the records. Raises: NotThere; Refusal."""
    if not (reason.strip() and len(reason) <= CAUSE_LENGTH_MAX):
        raise Refusal(f"Say why, in {CAUSE_LENGTH_MAX} characters at most.", "reason")
    client_id = await store.revoke_window(connection, window_id, now, actor.name, reason.strip())
    if client_id is None:
        raise NotThere(f"There is no window {window_id} in force.")
    await _note(connection, client_id, actor, now, "window.revoked", f"window {window_id}")


async def enter_power(
    connection: AsyncConnection,
    site_id: str,
    from_on: date,
    subscribed_power_w: int,
    *,
    actor: Actor,
    now: datetime,
) -> tuple[int, bool]:
    """What a site has subscribed from a day of Paris on; the entry's id, and whether it is new.

    Raises: NotThere; Refusal; Conflict where another power is entered for that day.
    """
    if not 1 <= subscribed_power_w <= POWER_W_MAX:
        raise Refusal(f"A power is 1 to {POWER_W_MAX} watts.", "subscribed_power_w")
    place = await store.find_place(connection, site_id, None, None)
    if place is None:
        raise NotThere(f"There is no site {site_id}.", "site_id")
    values = {
        "client_id": place[0],
        "site_id": site_id,
        "from_on": from_on,
        "subscribed_power_w": subscribed_power_w,
        "now": now,
        "actor": actor.name,
    }
    made = await store.insert_power(connection, values)
    if made is None:
        known = await store.list_powers(connection, site_id=site_id, in_force_on=from_on)
        if not known or known[0].subscribed_power_w != subscribed_power_w:
            raise Conflict(
                f"Site {site_id} has another power from {from_on} on: withdraw that entry first.",
                "subscribed_power_w",
            )
        return known[0].id, False
    await _note(connection, place[0], actor, now, "power.entered", f"site {site_id}")
    return made, True


async def withdraw_power(
    connection: AsyncConnection, power_id: int, *, actor: Actor, now: datetime
) -> None:
    """An entry was wrong; it stays in the records. Raises: NotThere."""
    client_id = await store.withdraw_power(connection, power_id, now, actor.name)
    if client_id is None:
        raise NotThere(f"There is no entry {power_id} in force.")
    await _note(connection, client_id, actor, now, "power.withdrawn", f"entry {power_id}")


# --- Files ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Imported:
    """What became of a file: lines that are new, that were known, and that are bad."""

    entered: int = 0
    known: int = 0
    problems: list[BadLine] = field(default_factory=list)


async def import_windows(
    pool: AsyncConnectionPool, data: bytes, *, actor: Actor, now: datetime
) -> Imported:
    """Enter the windows of a file, each line in a transaction of its own: a bad one stops nothing
    but itself."""

    async def enter(connection: AsyncConnection, record: Record) -> bool:
        kind = record["kind"].lower()
        _, is_new = await enter_window(
            connection,
            site_id=record["site"] or None,
            station_id=record["station"] or None,
            evse_id=_number(record["evse"], "evse") if record["evse"] else None,
            kind=_KIND_NAMES.get(kind, kind),
            starts_at=parse_moment(record["from"], "from"),
            ends_at=parse_moment(record["to"], "to"),
            cause=record["cause"],
            actor=actor,
            now=now,
        )
        return is_new

    columns = ("site", "station", "evse", "kind", "from", "to", "cause")
    return await _import(pool, data, columns, ("kind", "from", "to", "cause"), enter)


async def import_powers(
    pool: AsyncConnectionPool, data: bytes, *, actor: Actor, now: datetime
) -> Imported:
    """Enter the subscribed powers of a file, as `import_windows` does."""

    async def enter(connection: AsyncConnection, record: Record) -> bool:
        _, is_new = await enter_power(
            connection,
            record["site"],
            parse_day(record["from"]),
            _number(record["power_w"], "power_w"),
            actor=actor,
            now=now,
        )
        return is_new

    columns = ("site", "from", "power_w")
    return await _import(pool, data, columns, columns, enter)


def parse_moment(text: str, column: str) -> datetime:
    """A moment of Paris as 22/11/2026 08:00, or one with its offset. Raises: Refusal, also for an
    hour that the clock skips that night; of one that comes twice the first is taken."""
    try:
        stated = datetime.fromisoformat(text)
        if stated.tzinfo is not None:
            return stated
    except ValueError:
        pass
    match = _TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        clock = time(int(match[2]), int(match[3]), int(match[4] or 0))
        local = datetime.combine(parse_day(match[1]), clock, PARIS)
    except (ValueError, Refusal):
        raise Refusal(f"{text[:60]!r} is no moment", column) from None
    if _is_skipped(local):
        raise Refusal(f"{text[:60]!r} does not exist: the clock is put forward then", column)
    return local


def _is_skipped(local: datetime) -> bool:
    """Whether the clock of Paris never shows this hour."""
    return local.astimezone(UTC).astimezone(PARIS).replace(tzinfo=None) != local.replace(
        tzinfo=None
    )


async def _import(
    pool: AsyncConnectionPool,
    data: bytes,
    columns: Sequence[str],
    required: Sequence[str],
    enter: Callable[[AsyncConnection, Record], Awaitable[bool]],
) -> Imported:
    done = Imported()
    for record in _read(data, columns, required, done):
        try:
            async with transaction(pool) as connection:
                is_new = await enter(connection, record)
        except Refusal as refusal:
            column = _COLUMN_OF.get(refusal.field or "", refusal.field)
            remedy = _REMEDIES.get(column or "", "mend the line and import the file again")
            done.problems.append(BadLine(record.line, column, str(refusal).rstrip("."), remedy))
            continue
        done.entered += is_new
        done.known += not is_new
    return done


def _read(
    data: bytes, columns: Sequence[str], required: Sequence[str], done: Imported
) -> list[Record]:
    """The rows, their cells by our names; what is no row is reported."""
    plan = Plan()
    table = reading.read_table(as_utf8(data), plan)
    for problem in plan.sorted_problems():
        done.problems.append(
            BadLine(problem.line, problem.column, problem.reason, "mend the file as a table")
        )
    if table is None:
        return []
    header = [_NAMES.get(name, name) for name in table.header]
    for name in (name for name in header if name not in columns):
        remedy = f"the columns are {';'.join(columns)}"
        done.problems.append(BadLine(1, name, f"there is no column {name}", remedy))
    for name in (name for name in required if name not in header):
        remedy = f"add it: {_REMEDIES[name]}"
        done.problems.append(BadLine(1, name, f"the column {name} is missing", remedy))
    if any(bad.line == 1 for bad in done.problems):
        return []
    return [Record(each.line, _renamed(each.cells)) for each in table.records]


def _renamed(cells: Mapping[str, str]) -> dict[str, str]:
    return {_NAMES.get(name, name): text for name, text in cells.items()}


def _number(text: str, column: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise Refusal(f"{text[:60]!r} is no whole number", column)
    return int(text)


def _no_place(site_id: str | None, station_id: str | None, evse_id: int | None) -> str:
    if station_id is None:
        return f"There is no site {site_id}." if site_id else "Name a site or a station."
    point = f", EVSE {evse_id}," if evse_id is not None else ""
    return (
        f"There is no station {station_id}{point} at {f'site {site_id}' if site_id else 'a site'}."
    )


async def _note(
    connection: AsyncConnection,
    client_id: int,
    actor: Actor,
    now: datetime,
    action: str,
    subject: str,
) -> None:
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        client_id=client_id,
        action=action,
        subject=subject,
    )
