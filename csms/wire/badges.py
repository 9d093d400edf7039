"""What stations keep of badges, kept in step: local list, cache, master group.

A job of the worker, for the stations that are connected, accepted, and may be told what nobody has
ordered. Nothing here waits for a station: an order is placed, and a later pass reads what became of
it. So every pass can be run twice, and a worker that dies leaves nothing half done.
"""

from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final

from psycopg import AsyncConnection

from csms.commands import order_unasked
from csms.config import Settings
from csms.domain import local_list
from csms.domain.local_list import Entry, Known, Update
from csms.store import local_authorization as store
from csms.store.local_authorization import StationBadges
from csms.wire import local_lists
from csms.wire.context import time_text
from csms.wire.orders import plain_json

PER_PASS_MAX: Final = 500  # stations
_TAKEN_BY_ALL: Final = 10  # badges in a list; for longer ones the station is asked what it takes
_STATUSES: Final = {
    "accepted": "Accepted",
    "blocked": "Blocked",
    "expired": "Expired",
    "invalid": "Invalid",
}
_BACKOFF: Final = timedelta(minutes=1)
_BACKOFF_MAX: Final = timedelta(hours=6)
_LATELY: Final = timedelta(minutes=10)
_RETRY: Final = timedelta(minutes=10)  # of the cache and the master group


async def keep_in_step(
    connection: AsyncConnection, settings: Settings, now: datetime, *, everything: bool = False
) -> int:
    """One pass over what is due; how many orders it placed. With `everything` also over changes
    that a worker may have slept through."""
    since = now - (store.CACHED_AT_MOST if everything else _LATELY)
    placed = await _keep_lists(connection, settings, now) if settings.local_list_entries_max else 0
    placed += await _clear_caches(connection, settings, now, since)
    return placed + await _tell_masters(connection, settings, now)


# --- Lists --------------------------------------------------------------------------------------


async def _keep_lists(connection: AsyncConnection, settings: Settings, now: datetime) -> int:
    changed_at = await store.fetch_changed_at(connection)
    wanted: dict[str | None, dict[str, Entry]] = {}
    placed = 0
    for station in await store.fetch_lists_due(connection, now, changed_at, PER_PASS_MAX):
        if station.site_id not in wanted:
            wanted[station.site_id] = await _wanted(connection, settings, station.site_id, now)
        async with connection.transaction():
            here = wanted[station.site_id]
            if station.closed:
                here = {key: _refused(entry) for key, entry in here.items()}
            placed += await _keep_list(connection, settings, station, here, changed_at, now)
    return placed


def _refused(entry: Entry) -> Entry:
    """The badge as a station knows it while nobody may start there: the client's contract is
    suspended or over."""
    return entry._replace(status="Blocked") if entry.status == "Accepted" else entry


async def _wanted(
    connection: AsyncConnection, settings: Settings, site_id: str | None, now: datetime
) -> dict[str, Entry]:
    rows = await store.fetch_wanted(connection, site_id, now, settings.local_list_entries_max)
    return {
        key: Entry(
            uid, _STATUSES[status], group_uid, None if until is None else time_text(until), type
        )
        for key, uid, status, group_uid, until, type in rows
    }


async def _keep_list(
    connection: AsyncConnection,
    settings: Settings,
    station: StationBadges,
    wanted: dict[str, Entry],
    changed_at: datetime | None,
    now: datetime,
) -> int:
    """One step for one station: read what became of the last order, place the next."""
    known = _after_order(station) if station.order_status is not None else _known(station)
    if known.version == 0 and (station.list_version or 0) > 0:
        await store.forget_master(connection, station.station_key)  # its settings went the same way
    failed = known.failures > station.list_failures
    boot_at = station.list_boot_at
    rebooted = station.booted_at is not None and (boot_at is None or station.booted_at > boot_at)
    if rebooted:
        boot_at = station.booted_at
    if station.order_status is None and known.state == "unsupported":
        known = local_list.UNKNOWN  # it has other firmware: it may have learnt lists
    elif rebooted and known.state == "known":
        known = known._replace(state="unknown")  # it may have lost its list
    order = partial(
        order_unasked,
        connection,
        settings,
        station.station_key,
        station.protocol,
        why="badges",
        now=now,
    )
    update: Update | None = None
    command_id: int | None = None
    limits_asked = station.list_limits_asked
    if known.state == "unknown" and not failed:
        command_id = await order("GetLocalListVersion", {})
    elif known.state == "known" and not failed:
        usable = local_lists.usable(station, wanted)
        told = await local_lists.fetch_limits(connection, station)
        if len(usable) > _TAKEN_BY_ALL and told.entries_max is None and not limits_asked:
            limits_asked = True
            command_id = await order(*local_lists.question_of_limits(station.protocol))
        else:
            usable = dict(islice(usable.items(), told.list_entries_max))
            portion = local_lists.next_portion(settings, station, known, usable, told)
            if portion is None:
                known = local_list.in_step(known)
            else:
                update, payload = portion
                command_id = await order("SendLocalList", payload)
    await store.write_list(
        connection,
        station.station_key,
        state=known.state,
        version=known.version,
        held=_json(known.held),
        full=known.full,
        failures=known.failures,
        command_id=command_id,
        sending=None if update is None else _json(update.becomes),
        sending_version=None if update is None else (known.version or 0) + 1,
        next_at=now + _backoff(known.failures) if failed else now,
        checked_at=changed_at or now if command_id is None and not failed else None,
        boot_at=boot_at,
        firmware=station.firmware,
        limits_asked=limits_asked,
        site_id=station.site_id,
        closed=station.closed,
        master_group_uid=station.master_group_uid,
    )
    return int(command_id is not None)


def _known(station: StationBadges) -> Known:
    held = {key: Entry(*entry) for key, entry in station.list_held.items()}
    return Known(
        station.list_state, station.list_version, held, station.list_full, station.list_failures
    )


def _after_order(station: StationBadges) -> Known:
    """What is known once the order under way is over."""
    known = _known(station)
    if station.order_action in ("GetConfiguration", "GetVariables"):
        return known  # what it answered stands with all that it tells of itself
    response: dict[str, Any] = plain_json(station.order_response) or {}
    error: dict[str, Any] = plain_json(station.order_error) or {}
    if station.order_status == "failed" and error.get("code") in ("NotSupported", "NotImplemented"):
        return local_list.refused(known, str(error["code"]))
    if station.order_status not in ("accepted", "rejected"):
        return local_list.unanswered(known)
    if station.list_sending is None or station.list_sending_version is None:
        word = response.get("listVersion", response.get("versionNumber"))
        return local_list.told_version(known, word if isinstance(word, int) else 0)
    if station.order_status == "accepted":
        becomes = {key: Entry(*entry) for key, entry in station.list_sending.items()}
        return local_list.accepted(known, station.list_sending_version, becomes)
    return local_list.refused(known, str(response.get("status")))


def _json(held: dict[str, Entry]) -> dict[str, Any]:
    return {key: list(entry) for key, entry in held.items()}


def _backoff(failures: int) -> timedelta:
    backoff: timedelta = _BACKOFF * 2 ** min(failures - 1, 10)
    return min(backoff, _BACKOFF_MAX)


# --- Caches and masters ---------------------------------------------------------------------------


async def _clear_caches(
    connection: AsyncConnection, settings: Settings, now: datetime, since: datetime
) -> int:
    """Stations whose cache may hold a badge that is refused by now, or refuse one that is not since
    its client goes on, are told to clear it."""
    changed_at = await store.fetch_changed_at(connection)
    due = await store.fetch_caches_due(connection, now, since, PER_PASS_MAX)
    for key, closed, protocol in due:
        async with connection.transaction():
            command_id = await order_unasked(
                connection,
                settings,
                key,
                protocol,
                "ClearCache",
                {},
                why="badge_refused",
                now=now,
            )
            await store.note_cache_cleared(
                connection, key, command_id, changed_at or now, now + _RETRY, closed=closed
            )
    return len(due)


async def _tell_masters(connection: AsyncConnection, settings: Settings, now: datetime) -> int:
    """2.0.1 stations are told whose badges may stop every session (C16)."""
    due = await store.fetch_masters_due(connection, now, PER_PASS_MAX)
    for key, _, group_uid in due:
        variable = {
            "attributeValue": group_uid,
            "component": {"name": "AuthCtrlr"},
            "variable": {"name": "MasterPassGroupId"},
        }
        async with connection.transaction():
            command_id = await order_unasked(
                connection,
                settings,
                key,
                "ocpp2.0.1",
                "SetVariables",
                {"setVariableData": [variable]},
                why="master_group",
                now=now,
            )
            await store.note_master_told(connection, key, command_id, group_uid, now + _RETRY)
    return len(due)
