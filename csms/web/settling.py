"""Settling what lies on the reconciliation desk: one decision of a person, one transaction.

- dismissed: it concerns no session (a test, a duplicate of another kind);
- confirmed: the session it speaks of is right as it stands;
- attached: the session gets the end, and the register if known, that the frame or the site told;
- created: a session that only this frame proves.

The decision is written beside the session with the frame, for good. The same decision again
changes nothing; another one for a settled entry is refused.
"""

import json
import math
from datetime import datetime
from decimal import Decimal

from psycopg import AsyncConnection

from csms.registry import NotThere, Refusal
from csms.store import desk as store
from csms.store.desk import Entry, SessionToSettle
from csms.store.stations import notify_station
from csms.web.problems import Problem
from csms.web.record_models import (
    SettleIn,
)

_TAKES = {
    "dismissed": set[str](),
    "confirmed": {"session_id"},
    "attached": {"session_id", "ended_at", "meter_start_wh", "meter_stop_wh"},
    "created": {
        "started_at",
        "ended_at",
        "meter_start_wh",
        "meter_stop_wh",
        "token_uid",
        "evse_id",
    },
}


async def settle(
    connection: AsyncConnection, entry_id: int, body: SettleIn, settled_by: str, now: datetime
) -> Entry:
    """Settle the entry and return it.

    Raises: NotThere; Problem 409 when it was settled otherwise; Refusal for values that do not
    fit the resolution or the session.
    """
    entry = await store.get_entry(connection, entry_id, lock=True)
    if entry is None:
        raise NotThere(f"There is no entry {entry_id} on the desk.")
    if entry.settled_at is not None:
        return await _again(connection, entry, body)
    _check_members(body)
    if body.ended_at is not None and body.ended_at > now:
        raise Refusal("The end lies in the future.", "ended_at")
    session_id = await _RESOLVE[body.resolution](connection, entry, body)
    await store.settle_entry(
        connection,
        entry_id=entry.id,
        now=now,
        settled_by=settled_by,
        resolution=body.resolution,
        session_id=session_id,
        note=body.note,
    )
    if session_id is not None:
        await store.add_settled_event(
            connection,
            session_id=session_id,
            now=now,
            frame=entry.frame,
            note=_decision(entry, body, settled_by),
        )
    await notify_station(connection, entry.station_id)
    settled = await store.get_entry(connection, entry_id)
    assert settled is not None
    return settled


async def _again(connection: AsyncConnection, entry: Entry, body: SettleIn) -> Entry:
    """The entry as it was settled, if by the same decision."""
    assert entry.settled_at is not None
    same = (entry.resolution, entry.note) == (body.resolution, body.note)
    if same and entry.session_id is not None and body.resolution != "dismissed":
        written = await store.settled_note(
            connection, session_id=entry.session_id, settled_at=entry.settled_at
        )
        same = written == _decision(entry, body, entry.settled_by or "")
    if not same:
        raise Problem(409, f"Entry {entry.id} was settled otherwise, by {entry.settled_by}.")
    return entry


def _check_members(body: SettleIn) -> None:
    """Refuse members that the resolution does not take: they would be lost in silence."""
    for name in sorted(body.model_fields_set - {"resolution", "note"} - _TAKES[body.resolution]):
        if getattr(body, name) is not None:
            raise Refusal(f"The resolution {body.resolution} takes no {name}.", name)


async def _dismissed(connection: AsyncConnection, entry: Entry, body: SettleIn) -> int | None:
    return None


async def _confirmed(connection: AsyncConnection, entry: Entry, body: SettleIn) -> int | None:
    session = await _session(connection, entry, body)
    await store.flag_session(connection, session.id, "confirmed")
    return session.id


async def _attached(connection: AsyncConnection, entry: Entry, body: SettleIn) -> int | None:
    session = await _session(connection, entry, body)
    ended_at = body.ended_at or session.ended_at
    if ended_at is None:
        raise Refusal("The session has no end yet: say when it ended.", "ended_at")
    start_wh = _one_start(session, body)
    stop_wh = session.meter_stop_wh if body.meter_stop_wh is None else body.meter_stop_wh
    energy_wh = session.energy_wh
    if body.meter_stop_wh is not None or body.meter_start_wh is not None:
        energy_wh = _energy_wh(start_wh, stop_wh)
    _check_times(session.started_at, ended_at)
    await store.end_session(
        connection,
        session_id=session.id,
        ended_at=ended_at,
        meter_start_wh=start_wh,
        meter_stop_wh=stop_wh,
        energy_wh=energy_wh,
    )
    return session.id


async def _created(connection: AsyncConnection, entry: Entry, body: SettleIn) -> int | None:
    if body.started_at is None or body.ended_at is None or body.evse_id is None:
        missing = next(n for n in ("started_at", "ended_at", "evse_id") if not getattr(body, n))
        raise Refusal("A new session needs its start, its end and its EVSE.", missing)
    if body.meter_start_wh is None or body.meter_stop_wh is None:
        missing = "meter_start_wh" if body.meter_start_wh is None else "meter_stop_wh"
        raise Refusal("A new session needs its register at start and stop.", missing)
    _check_times(body.started_at, body.ended_at)
    energy_wh = _energy_wh(body.meter_start_wh, body.meter_stop_wh)
    assert energy_wh is not None
    return await store.insert_session(
        connection,
        entry=entry,
        transaction_id=entry.transaction_id or f"desk-{entry.id}",
        evse_id=body.evse_id,
        token_uid=body.token_uid,
        started_at=body.started_at,
        ended_at=body.ended_at,
        meter_start_wh=body.meter_start_wh,
        meter_stop_wh=body.meter_stop_wh,
        energy_wh=energy_wh,
    )


_RESOLVE = {
    "dismissed": _dismissed,
    "confirmed": _confirmed,
    "attached": _attached,
    "created": _created,
}


async def _session(connection: AsyncConnection, entry: Entry, body: SettleIn) -> SessionToSettle:
    """The session the decision is about, locked: the one named, else the entry's own."""
    session_id = entry.session_id if body.session_id is None else body.session_id
    if session_id is None:
        raise Refusal("Say which session: the entry names none.", "session_id")
    session = await store.lock_session(connection, session_id)
    if session is None:
        raise Refusal(f"There is no session {session_id}.", "session_id")
    if session.station_key != entry.station_key:
        raise Refusal("That session is of another station.", "session_id")
    return session


def _one_start(session: SessionToSettle, body: SettleIn) -> Decimal | None:
    """The register at the start; what a station measured is not replaced."""
    if body.meter_start_wh is None or body.meter_start_wh == session.meter_start_wh:
        return session.meter_start_wh
    if session.meter_start_wh is not None:
        raise Refusal("The session has its start register from the station.", "meter_start_wh")
    return body.meter_start_wh


def _energy_wh(start_wh: Decimal | None, stop_wh: Decimal | None) -> int | None:
    """Whole Wh between the registers, rounded down; None when one is unknown."""
    if start_wh is None or stop_wh is None:
        return None
    if stop_wh < start_wh:
        raise Refusal("The register at the stop is below the one at the start.", "meter_stop_wh")
    return math.floor(stop_wh - start_wh)


def _check_times(started_at: datetime, ended_at: datetime) -> None:
    if ended_at < started_at:
        raise Refusal("The session would end before it starts.", "ended_at")


def _decision(entry: Entry, body: SettleIn, settled_by: str) -> str:
    """The decision as one line of JSON, always the same for the same decision."""
    content = body.model_dump(mode="json", exclude_none=True)
    for name in ("meter_start_wh", "meter_stop_wh"):
        value = getattr(body, name)
        if value is not None:
            content[name] = format(value.normalize(), "f")
    content |= {"reconciliation_id": entry.id, "settled_by": settled_by}
    return json.dumps(content, ensure_ascii=False, sort_keys=True)
