"""Reservations: asked for, kept by the station or by us, used, or over.

A reservation is a promise of ours first: badges of others are refused at the point from its begin
on (`csms.authorization`), and no two overlap (the database sees to it). When it begins the station
is told as well (ReserveNow); one that is away, does not know the order or refuses it leaves a
"soft" reservation. Its driver is warned before it is given up. States and what leads from one to
the next: `csms.domain.reservation`.

`advance` does what is due, as a job of the worker and for one reservation right after it was made;
it can run twice, and several at once.
"""

import logging
from datetime import datetime, timedelta
from typing import Final

import psycopg
from psycopg import AsyncConnection

from csms import points, remote
from csms.config import Settings
from csms.domain import reservation
from csms.domain.point import Why
from csms.domain.reservation import Kind, Limits, State
from csms.domain.services import Option
from csms.notifications import announce
from csms.points import Denied, Point
from csms.registry import NotThere
from csms.store import points as points_store
from csms.store import reservations as store
from csms.store import starts
from csms.store.points import AccessRow
from csms.store.reservations import Due, Reservation
from csms.wire import remote as words

log = logging.getLogger(__name__)

PER_PASS_MAX: Final = 200
#: what operators may reserve for a driver
_OPERATORS: Final = Limits(1_000, 31 * 1_440, timedelta(days=366), timedelta(0))
_EVENTS_LOOKED_AT: Final = timedelta(hours=1)


async def make(
    connection: AsyncConnection,
    settings: Settings,
    person_id: int,
    code: str,
    from_at: datetime,
    to_at: datetime,
    now: datetime,
    *,
    by: str,
    whole_station: bool = False,
    limited: bool = True,
) -> int:
    """Reserve a point for a driver, or with it all of its station, in the caller's transaction; the
    reservation's id. `limited` is False where an operator does it. Raises: Denied."""
    if not await starts.lock_driver(connection, person_id):
        raise Denied(Why.ACCOUNT_CLOSED)
    await points_store.act_for(connection, person_id)
    place = await points_store.find_place(connection, code)
    driver = None
    if place is not None:
        driver = await starts.get_driver(connection, person_id, *place, now)
    if driver is not None and driver.closed:
        raise Denied(Why.ACCOUNT_CLOSED)
    found = await points.get_point(connection, points.closed_of(connection), person_id, code, now)
    points.check_place(found, Option.DRIVER_APP)
    points.check_place(found, Option.RESERVATIONS)
    rules = await _rules(connection, person_id, found, now)
    limits = limits_of(settings, rules, found.row.public)
    if not limited:
        limits = _OPERATORS._replace(grace=limits.grace)
    count = await store.count_open(connection, person_id)
    fault = reservation.fault_of(from_at, to_at, count, limits, now)
    if fault is not None:
        raise Denied(Why(fault.code), fault.bound)
    if not points.access_at(found.row, rules, max(from_at, now)).open:
        raise Denied(Why.NOT_NOW if rules else Why.NOT_ALLOWED_HERE)
    badge = await remote.app_badge(connection, person_id, found, now)
    if limited:
        await remote.check_paid(connection, settings, person_id, found)
    try:
        async with connection.transaction():
            made = await store.insert_reservation(
                connection,
                person_id=person_id,
                client_id=found.row.client_id,
                station_key=found.row.station_key,
                evse_id=None if whole_station else found.row.evse_id,
                uid_key=badge.uid_key,
                from_at=from_at,
                to_at=to_at,
                lapses_at=reservation.lapses_at(from_at, to_at, limits.grace),
                now=now,
                created_by=by,
            )
    except psycopg.errors.ExclusionViolation:
        raise Denied(Why.RESERVED_BY_ANOTHER) from None
    await _announce(connection, "reservation.made", made, now)
    return made


async def _rules(
    connection: AsyncConnection, person_id: int, found: Point, now: datetime
) -> list[AccessRow]:
    site_id = found.row.site_id
    if site_id is None:
        return []
    return (await points.rules_at(connection, person_id, [site_id], now)).get(site_id, [])


def limits_of(settings: Settings, rules: list[AccessRow], public: bool) -> Limits:
    """What the driver may reserve: the most that a group of hers with access there says, or what
    anybody may at a public point."""
    counts = [rule.reservations_max for rule in rules]
    minutes = [rule.reservation_minutes_max for rule in rules]
    if public:
        counts.append(settings.public_reservations_max)
        minutes.append(settings.public_reservation_minutes_max)
    return Limits(
        max(counts, default=0),
        max(minutes, default=0),
        timedelta(days=settings.reservation_ahead_max_days),
        timedelta(seconds=settings.reservation_grace_s),
    )


async def cancel(
    connection: AsyncConnection,
    settings: Settings,
    reservation_id: int,
    now: datetime,
    *,
    by: str,
    person_id: int | None = None,
) -> Reservation:
    """Cancel a reservation, of this driver if one is named, in the caller's transaction.

    Raises: NotThere; Denied when it is over. One that is cancelled already stays so.
    """
    known = await store.get_reservation(connection, reservation_id)
    if known is None or (person_id is not None and known.person_id != person_id):
        raise NotThere(f"There is no reservation {reservation_id}.")
    due = await store.lock_one(connection, reservation_id)
    if due is None:
        if known.state == State.CANCELLED:
            return known
        raise Denied(Why.RESERVATION_OVER)
    await _end(connection, settings, due, Kind.CANCEL, now, by=by)
    again = await store.get_reservation(connection, reservation_id)
    assert again is not None
    return again


async def advance(
    connection: AsyncConnection,
    settings: Settings,
    now: datetime,
    *,
    reservation_id: int | None = None,
) -> int:
    """Do what is due, of one reservation or of all; how many it moved. Without a transaction of the
    caller's: each pass is one."""
    moved = 0
    async with connection.transaction():
        for due in await store.lock_due(
            connection, now, PER_PASS_MAX, reservation_id=reservation_id
        ):
            moved += await _step(connection, settings, due, now)
    if reservation_id is None:
        async with connection.transaction():
            moved += await store.note_dropped(connection, now - _EVENTS_LOOKED_AT)
            moved += await store.release_used(connection)
            await _warn(connection, settings, now)
    return moved


async def _warn(connection: AsyncConnection, settings: Settings, now: datetime) -> None:
    """Tell drivers whose reservations are about to be given up."""
    warning_s = settings.reservation_warning_s
    for expiring in await store.list_expiring(connection, now, warning_s, PER_PASS_MAX):
        await _announce(connection, "reservation.expiring", expiring, now)


async def _step(connection: AsyncConnection, settings: Settings, due: Due, now: datetime) -> bool:
    """Move one reservation on, if anything is due."""
    state = State(due.state)
    if due.session_id is not None:
        return await _move(connection, due, Kind.USE, now, session_id=due.session_id)
    if due.lapses_at <= now:
        await _end(connection, settings, due, Kind.LAPSE, now, by="system")
        return True
    if state is State.REQUESTED:
        return await _tell(connection, settings, due, now)
    if state is State.PLACED and due.command_status not in (None, "queued", "sent"):
        kept, soft_why = words.reserved(due.command_status, due.response, due.error)
        if not kept:
            await _move(connection, due, Kind.REFUSE, now, ended_by="station")
            await _announce(connection, "reservation.cancelled", due.id, now, "station")
            return True
        kind = Kind.KEEP if soft_why is None else Kind.KEEP_SOFT
        return await _move(connection, due, kind, now, soft_why=soft_why)
    return False


async def _tell(connection: AsyncConnection, settings: Settings, due: Due, now: datetime) -> bool:
    """Tell the station, if it is there; else we alone keep the point."""
    if due.connected and due.protocol is not None:
        action, payload = words.reserve_order(
            due.protocol,
            reservation_id=due.id,
            evse_id=due.evse_id,
            uid=due.uid,
            token_type=due.token_type,
            group_uid=due.group_uid,
            until=due.lapses_at,
        )
        try:
            async with connection.transaction():
                command_id = await remote.place(
                    connection, settings, due.station_id, action, payload, due.person_id, now
                )
        except Denied:
            log.info("reservation %d is not told to %s", due.id, due.station_id)
        else:
            return await _move(connection, due, Kind.TELL, now, command_id=command_id)
    return await _move(connection, due, Kind.KEEP_SOFT, now, soft_why="offline")


async def _end(
    connection: AsyncConnection,
    settings: Settings,
    due: Due,
    kind: Kind,
    now: datetime,
    *,
    by: str,
) -> None:
    """The reservation is over; a station that was told of it, and is there, is told so too."""
    await _move(connection, due, kind, now, ended_by=by)
    if kind is Kind.LAPSE:
        await _announce(connection, "reservation.expired", due.id, now)
    else:
        reason = "asked" if by == f"person {due.person_id}" else None
        await _announce(connection, "reservation.cancelled", due.id, now, reason)
    told = due.command_status in ("queued", "sent", "accepted")
    if not (told and not due.soft and due.connected and due.protocol is not None):
        return
    action, payload = words.release_order(due.id)
    try:
        async with connection.transaction():
            await remote.place(
                connection,
                settings,
                due.station_id,
                action,
                payload,
                due.person_id,
                now,
                expires_in_s=settings.own_order_expires_in_s,
            )
    except Denied:
        log.info("%s is not told of the end of reservation %d", due.station_id, due.id)


async def _announce(
    connection: AsyncConnection,
    event: str,
    reservation_id: int,
    now: datetime,
    reason: str | None = None,
) -> None:
    """Tell its driver, once of each; `reason` in the words of the catalogue."""
    found = await store.get_reservation(connection, reservation_id)
    assert found is not None
    await announce(
        connection,
        event,
        now=now,
        person_id=found.person_id,
        client_id=found.client_id,
        subject=f"reservation {reservation_id}",
        data={
            "reservation_id": reservation_id,
            "station_id": found.station_id,
            "evse_id": found.evse_id,
            "site": found.site_name,
            "time_zone": found.time_zone,
            "from_at": found.from_at,
            "until_at": found.lapses_at if event == "reservation.expiring" else found.to_at,
            "reason": reason,
        },
        key=f"{event} {reservation_id}",
    )


async def _move(
    connection: AsyncConnection,
    due: Due,
    kind: Kind,
    now: datetime,
    *,
    soft_why: str | None = None,
    command_id: int | None = None,
    session_id: int | None = None,
    ended_by: str | None = None,
) -> bool:
    state = reservation.after(State(due.state), kind)
    if state is None:
        return False
    await store.write_state(
        connection,
        due.id,
        state.value,
        now,
        soft_why=soft_why,
        command_id=command_id,
        session_id=session_id,
        ended_by=ended_by,
    )
    return True
