"""What a charge point tells of itself, in the words of its version: station to messages.

Functions that `Station` calls where something has happened; each queues one message or more.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from simulators import messages16, messages201
from simulators.faults import told_register
from simulators.model import Evse, Message, Session
from simulators.samples import Sample, samples

if TYPE_CHECKING:
    from simulators.speaker import Speaker
    from simulators.station import Station

# Why an end is told, by its reason.
_TRIGGERS = {
    "DeAuthorized": "Deauthorized",
    "EVDisconnected": "EVDeparted",
    "ImmediateReset": "ResetCommand",
    "SoftReset": "ResetCommand",
    "Other": "AbnormalCondition",
    "PowerLoss": "AbnormalCondition",
    "Remote": "RemoteStop",
    "UnlockCommand": "UnlockCommand",
}
_CHARGING_STATES = ("Charging", "SuspendedEV", "SuspendedEVSE")


def tell_boot(station: "Speaker", reason: str) -> None:
    """Before all else that waits."""
    config = station.config
    boot = messages201.boot if station.is_201 else messages16.boot
    # A serial number has 25 characters at most.
    wire = boot(config.vendor, config.model, config.identity[:25], station.firmware, reason)
    message = Message(*wire, durable=False, called_for=station.called_for)
    station.outbox.add_first(message)
    station.notify()


def tell_state(station: "Speaker", evse: Evse, now: datetime) -> None:
    """The state of one EVSE."""
    status = messages201.status if station.is_201 else messages16.status
    station.say(*status(evse.evse_id, evse.state, station.stamp(now), evse.error_code))


def register(station: "Speaker", evse: Evse) -> float:
    """What the meter tells."""
    faults = station.faults
    start_wh = None if evse.session is None else evse.session.meter_start_wh
    if faults.register_per_session:
        return told_register(faults, evse.register_wh, start_wh)
    return told_register(faults, evse.register_wh + evse.register_error_wh, start_wh)


def _values(station: "Station", evse: Evse, now: datetime) -> list[Sample]:
    config = station.config
    return samples(
        register(station, evse),
        station.flowing_w(evse, now),
        phases=config.phases,
        full=config.all_values,
    )


def _event(
    station: "Station", evse: Evse, session: Session, now: datetime, trigger: str
) -> messages201.Event:
    """The next event of a 2.0.1 transaction; counts its seqNo on."""
    seq_no = session.seq_no
    session.events += 1
    every = station.faults.skip_seq_no_every
    skips = bool(every) and session.events % every == 0
    session.seq_no += 2 if skips else 1
    return messages201.Event(
        transaction_id=session.transaction_id,
        seq_no=seq_no,
        at=station.stamp(now),
        trigger=trigger,
        offline=not station.online,
        charging_state=evse.state if evse.state in _CHARGING_STATES else "EVConnected",
        remote_start_id=session.remote_start_id if seq_no == 0 else None,
        reservation_id=session.reservation_id if seq_no == 0 else None,
    )


def tell_start(
    station: "Station", evse: Evse, session: Session, now: datetime, trigger: str
) -> None:
    """A session has begun."""
    at = station.stamp(now)
    if station.is_201:
        event = _event(station, evse, session, now, trigger)
        reading = messages201.meter_value(
            at, _values(station, evse, now)[:1], "Transaction.Begin", station.faults
        )
        wire = messages201.started(event, evse.evse_id, session.badge, reading)
    else:
        wire = messages16.started(
            evse.evse_id, session.badge, register(station, evse), at, session.reservation_id
        )
    station.put(Message(*wire, durable=True, session=session, starts=True))


def tell_sample(station: "Station", evse: Evse, now: datetime, context: str, trigger: str) -> None:
    """The meter values of one EVSE, of its session where it has one."""
    session = evse.session
    at = station.stamp(now)
    values = _values(station, evse, now)
    if not station.is_201:
        wire = messages16.sampled(
            evse.evse_id, at, values, context, station.faults, in_session=session is not None
        )
    else:
        reading = messages201.meter_value(at, values, context, station.faults)
        if session is None:
            wire = messages201.sampled(evse.evse_id, reading)
        else:
            event = _event(station, evse, session, now, trigger)
            wire = messages201.updated(event, reading)
    if session is None:
        station.say(*wire)
        return
    energy_wh = evse.register_wh - session.meter_start_wh
    station.put(Message(*wire, durable=True, session=session, energy_wh=energy_wh))


def tell_end(
    station: "Station", evse: Evse, session: Session, now: datetime, badge: str | None
) -> None:
    """A session has ended."""
    at = station.stamp(now)
    reason = session.stop_reason or "Local"
    if station.is_201:
        event = _event(station, evse, session, now, _TRIGGERS.get(reason, "StopAuthorized"))
        reading = messages201.meter_value(
            at, _values(station, evse, now)[:1], "Transaction.End", station.faults
        )
        wire = messages201.ended(event, reason, badge, reading)
    else:
        wire = messages16.ended(register(station, evse), at, reason, badge, [])
    energy_wh = evse.register_wh - session.meter_start_wh
    message = Message(*wire, durable=True, session=session, energy_wh=energy_wh, ends=True)
    station.put(message)


def tell_security_event(station: "Speaker", kind: str, now: datetime) -> None:
    """A critical event of the security event list; kind: its word there."""
    config = station.config
    about = f"{config.vendor} {config.model} {station.firmware}"[:255]
    payload = {"type": kind, "timestamp": station.stamp(now), "techInfo": about}
    station.say("SecurityEventNotification", payload)


def tell_firmware(
    station: "Speaker", status: str, request_id: int | None, *, signed: bool = True
) -> None:
    """A step of a firmware update. signed False: in the words of plain 1.6, without an id."""
    station.transfers["firmware"] = (status, request_id)
    station.say(*firmware_wire(station, status, request_id, signed=signed))


def firmware_wire(
    station: "Speaker", status: str, request_id: int | None, *, signed: bool
) -> messages16.Wire:
    """The message of a step; an id of None is left out."""
    payload: dict[str, Any] = {"status": status}
    if request_id is not None:
        payload["requestId"] = request_id
    by_extension = signed and not station.is_201
    return "SignedFirmwareStatusNotification" if by_extension else "FirmwareStatusNotification", (
        payload
    )


def tell_log(station: "Speaker", status: str, request_id: int | None) -> None:
    """A step of sending a log file."""
    station.transfers["log"] = (status, request_id)
    payload: dict[str, Any] = {"status": status}
    if request_id is not None:
        payload["requestId"] = request_id
    station.say("LogStatusNotification", payload)


def tell_parts(
    station: "Speaker",
    action: str,
    request_id: int,
    name: str,
    items: Sequence[Any],
    now: datetime,
    *,
    size: int,
) -> None:
    """One report of 2.0.1 in messages of `size` items, numbered, all but the last with tbc."""
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    for seq_no, part in enumerate(parts):
        payload = {
            "requestId": request_id,
            "generatedAt": station.stamp(now),
            "seqNo": seq_no,
            "tbc": seq_no < len(parts) - 1,
            name: part if isinstance(part, str) else list(part),
        }
        station.say(action, payload)
