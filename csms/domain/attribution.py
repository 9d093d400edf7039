"""Which session an event belongs to, and what it does there.

The law of this file: an event finds its session by keys of its own station, never across stations;
what has to be guessed is flagged, what cannot be matched goes to the desk. Events come with the
moment of their receipt and the decision about the badge; sessions change, and everything worth
keeping is told to the `Sink`.
"""

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from csms.domain import session as sessions
from csms.domain.clock import BelievedTime
from csms.domain.events import Decision, Ended, Metered, Started, Updated
from csms.domain.metering import BEGIN, END, Reading
from csms.domain.session import ACCEPTED, NOBODY, Act, Flag, Kind, Session, State
from csms.domain.station import Moment, Sink, Station, believe_now
from csms.domain.values import register_wh, uid_key

CLOCK_UNSET: Final = frozenset({Flag.CLOCK_MISSING.value, Flag.CLOCK_IMPLAUSIBLE.value})


def start_key_16(event: Started) -> str:
    """What makes a StartTransaction the same: connector, badge, stated time, stated register."""
    stated = event.stated_at.isoformat() if event.stated_at else ""
    return f"{event.connector_id}|{uid_key(event.token_uid or '')}|{stated}|{event.stated_register}"


def start_key_of(event: Started | Updated | Ended) -> str | None:
    """The key by which a repeated start is found; None for what cannot start a 1.6 session."""
    if event.transaction_id is not None:
        return f"tx|{event.transaction_id}"
    return start_key_16(event) if isinstance(event, Started) else None


def start_session(
    station: Station, event: Started, decision: Decision | None, moment: Moment
) -> Session:
    """Begin a session, or find the one that this start belongs to (field cases 5 to 9).

    `decision` is None where no badge was shown. The session that comes back carries the answer:
    its transaction id and its authorization_status.
    """
    key = start_key_of(event)
    assert key is not None
    existing = station.find_by_start(key)
    believed = believe_now(station, event.stated_at, moment)
    if existing is not None:
        again = _start_again(station, existing, event, decision, believed, moment)
        if again is not None:
            return again
        key = f"{key}#{moment.received_at.isoformat()}"
    _supersede(station, event.evse_id, believed.at, moment)
    session = _open(station, event, State.ACTIVE, key, believed, decision, moment)
    if existing is not None:
        reused = event.transaction_id is not None
        session.flag(Flag.TRANSACTION_ID_REUSED if reused else Flag.DOUBTFUL_REPEAT)
    _take_start(station, session, event, believed, moment)
    _take_readings(station, session, event.readings, moment)
    sessions.note_first_seq_no(session, event.seq_no)
    moment.sink.evidence(session, "started")
    return session


def update_session(
    station: Station, event: Updated, decision: Decision | None, moment: Moment
) -> Session:
    """Take an event of a running session of 2.0.1 in; open the session if its start is missing."""
    session = station.sessions.get(event.transaction_id)
    if session is None:
        believed = believe_now(station, event.stated_at, moment)
        key = start_key_of(event)
        assert key is not None
        _supersede(station, event.evse_id, believed.at, moment)
        session = _open(station, event, State.ACTIVE, key, believed, decision, moment)
        session.flag(Flag.STARTED_MISSING, Flag.BEGIN_REGISTER_MISSING)
        moment.sink.evidence(session, "started", "first told of by an update")
    fresh = sessions.note_seq_no(session, event.seq_no)
    _take_readings(station, session, event.readings, moment)
    if fresh:
        _take_place(station, session, event.evse_id, event.connector_id, event.stated_at, moment)
        _take_token(session, event.token_uid, event.token_type, decision)
        _take_charging_state(session, event.charging_state)
        if event.offline:
            session.flag(Flag.OFFLINE)
    moment.sink.session(station, session)
    return session


def end_session(
    station: Station, event: Ended, decision: Decision | None, moment: Moment
) -> Session | None:
    """End the session of 2.0.1, opening it first when nothing was told of it before."""
    session = station.sessions.get(event.transaction_id)
    believed = believe_now(station, event.stated_at, moment)
    if session is None:
        key = start_key_of(event)
        assert key is not None
        session = _open(station, event, State.ACTIVE, key, believed, decision, moment)
        session.flag(Flag.STARTED_MISSING, Flag.ENDED_BEFORE_STARTED)
    elif not sessions.note_seq_no(session, event.seq_no):
        _take_readings(station, session, event.readings, moment)
        moment.sink.session(station, session)
        return session
    sessions.note_seq_no(session, event.seq_no)
    _take_place(station, session, event.evse_id, event.connector_id, event.stated_at, moment)
    if event.token_uid is not None and session.token_uid is None:
        _take_token(session, event.token_uid, event.token_type, decision)
    _close(station, session, event, believed, moment)
    return session


def stop_transaction(station: Station, event: Ended, moment: Moment) -> Session | None:
    """End a session of 1.6 by its StopTransaction (field cases 2 to 4).

    None when it matches no session: the frame is then on the desk.
    """
    believed = believe_now(station, event.stated_at, moment)
    session = station.sessions.get(event.transaction_id)
    if session is not None:
        _close(station, session, event, believed, moment)
        return session
    if any(_is_repeat(station, s, event) for s in station.sessions.values()):
        return None  # the stop that was matched by guess, sent again
    candidates = [
        s for s in station.sessions.values() if _may_be_stopped(station, s, event, believed.at)
    ]
    if len(candidates) != 1:
        moment.sink.desk("stop_unmatched", None, event.transaction_id)
        return None
    session = candidates[0]
    _close(station, session, event, believed, moment)
    session.flag(Flag.MATCHED_BY_GUESS)
    moment.sink.desk("stop_matched_by_guess", session, event.transaction_id)
    return session


def take_meter_values(station: Station, event: Metered, moment: Moment) -> Session | None:
    """Attach readings to the session they name, else to the open one on the EVSE, else to none."""
    session: Session | None = None
    if event.transaction_id is not None:
        session = station.sessions.get(event.transaction_id)
        named = event.transaction_id.isdigit() and event.transaction_id != "0"
        if session is None and named:
            moment.sink.desk("meter_values_unmatched", None, event.transaction_id)
            _keep_readings(station, event, moment)
            return None
    if session is None:
        open_sessions = station.open_on(event.evse_id)
        session = open_sessions[-1] if open_sessions else None
    if session is None:
        _keep_readings(station, event, moment)
        return None
    _take_readings(station, session, event.readings, moment)
    if session.change:
        moment.sink.session(station, session)
    return session


def lose_session(station: Station, session: Session, at: datetime, sink: Sink) -> bool:
    """Give up waiting for a stop, as the worker does after its period; True when that was new."""
    if sessions.lose(session, at) is not Act.LOSE:
        return False
    sink.session(station, session)
    sink.evidence(session, "lost")
    return True


# --- Details --------------------------------------------------------------------------------------


def _power_max_w(
    station: Station, evse_id: int | None, moment: Moment, *doubts: str | None
) -> float:
    """The bound of plausibility on the EVSE: a quarter above what its connector can give.

    None at all under an unset clock: a queue told in seconds says nothing of how long it took.
    """
    if not CLOCK_UNSET.isdisjoint(doubts):
        return math.inf
    stated = station.power_w_max_of(evse_id)
    return stated * 1.25 if stated else float(moment.power_default_w)


def _open(
    station: Station,
    event: Started | Updated | Ended,
    state: State,
    key: str,
    believed: BelievedTime,
    decision: Decision | None,
    moment: Moment,
) -> Session:
    id = moment.new_session_id()
    session = Session(
        id,
        start_key=key,
        transaction_id=event.transaction_id if event.transaction_id is not None else str(id),
        state=state,
        started_at=believed.at,
        evse_id=event.evse_id,
        connector_id=event.connector_id,
        token_uid=event.token_uid,
        token_type=event.token_type,
        authorization_status=decision.status if decision else NOBODY,
    )
    session.flag(believed.doubt, Flag.OFFLINE if event.offline else None)
    former = station.sessions.get(session.transaction_id)
    if former is not None:  # a reused id: the former one lives on under its own key
        station.sessions[f"{former.transaction_id}#{former.id}"] = former
    station.sessions[session.transaction_id] = session
    moment.sink.session(station, session)
    return session


def _take_start(
    station: Station, session: Session, event: Started, believed: BelievedTime, moment: Moment
) -> None:
    """What only a start tells."""
    session.started_at = believed.at
    session.stated_started_at = event.stated_at
    session.received_start_at = moment.received_at
    session.remote_start_id = event.remote_start_id
    session.reservation_id = event.reservation_id
    session.charging_state = session.charging_state or event.charging_state
    session.change = sessions.CHANGED
    register = _start_register(station, event)
    if register is not None:
        sessions.begin_register(session, register, believed.at)


def _start_again(
    station: Station,
    existing: Session,
    event: Started,
    decision: Decision | None,
    believed: BelievedTime,
    moment: Moment,
) -> Session | None:
    """The session of a start whose key is known: repeated, or told late. None: really a new one."""
    if existing.stated_started_at is None and existing.received_start_at is None:
        return _complete_start(station, existing, event, decision, believed, moment)
    if event.transaction_id is None:
        unset_clock = believed.doubt in CLOCK_UNSET
        return None if unset_clock and existing.state is State.ENDED else existing
    if existing.stated_started_at == event.stated_at:
        return existing
    if event.seq_no != 0:
        moment.sink.deviation("start_repeated_differently", "TransactionEvent", existing.start_key)
        return existing
    if existing.state is State.ACTIVE:
        sessions.lose(existing, believed.at)
        moment.sink.evidence(existing, "lost", "its transaction id began anew")
        moment.sink.session(station, existing)
    return None


def _complete_start(
    station: Station,
    session: Session,
    event: Started,
    decision: Decision | None,
    believed: BelievedTime,
    moment: Moment,
) -> Session:
    """A start that came after other news of its session."""
    sessions.advance(session, Kind.STARTED)
    sessions.note_first_seq_no(session, event.seq_no)
    _take_place(station, session, event.evse_id, event.connector_id, event.stated_at, moment)
    _take_token(session, event.token_uid, event.token_type, decision)
    _take_start(station, session, event, believed, moment)
    if session.ended_at is not None and session.ended_at < session.started_at:
        session.ended_at = session.started_at
        session.flag(Flag.END_BEFORE_START)
    _take_readings(station, session, event.readings, moment)
    session.unflag(Flag.STARTED_MISSING)
    if session.state is State.ENDED:
        power_max_w = _power_max_w(station, session.evse_id, moment, *session.flags)
        sessions.settle_energy(session, power_max_w)
        sessions.judge_authorization(session)
    moment.sink.session(station, session)
    moment.sink.evidence(session, "started", "told late")
    return session


def _supersede(station: Station, evse_id: int | None, at: datetime, moment: Moment) -> None:
    """A new start on an occupied EVSE: what was open there has lost its stop (field case 5)."""
    if evse_id is None:
        return
    for session in station.open_on(evse_id):
        if session.started_at <= at:
            lose_session(station, session, at, moment.sink)


def _take_place(
    station: Station,
    session: Session,
    evse_id: int | None,
    connector_id: int | None,
    stated_at: datetime | None,
    moment: Moment,
) -> None:
    """The EVSE of a session, told after its start: another session open there is over."""
    if evse_id is None or session.evse_id is not None:
        if connector_id is not None and session.connector_id is None:
            session.connector_id = connector_id
            session.change = sessions.CHANGED
        return
    _supersede(station, evse_id, believe_now(station, stated_at, moment).at, moment)
    session.evse_id = evse_id
    session.connector_id = connector_id
    session.change = sessions.CHANGED


def _take_token(
    session: Session, uid: str | None, type: str | None, decision: Decision | None
) -> None:
    """A badge shown for the session: the first accepted one is whose session it is."""
    if uid is None or decision is None or session.authorization_status == ACCEPTED:
        return
    if session.token_uid is None or decision.status == ACCEPTED:
        session.token_uid, session.token_type = uid, type
        session.authorization_status = decision.status
        session.change = sessions.CHANGED


def _take_charging_state(session: Session, charging_state: str | None) -> None:
    if charging_state is not None and charging_state != session.charging_state:
        session.charging_state = charging_state
        session.change = sessions.CHANGED


def _take_readings(
    station: Station, session: Session, readings: Iterable[Reading], moment: Moment
) -> None:
    """Measure by each reading, and keep it."""
    factor = _register_factor(station)
    for reading in readings:
        at, doubt = believe_now(station, reading.stated_at, moment)
        power_max_w = _power_max_w(station, session.evse_id, moment, doubt)
        profile = reading.profile
        register_wh = profile.register_wh(reading.samples, factor)
        sessions.measure(
            session, reading, at, register_wh, profile.power_w(reading.samples), power_max_w
        )
        moment.sink.reading(session, session.evse_id, session.connector_id, reading, at)


def _register_factor(station: Station) -> float:
    """What a register of this make is multiplied with (field case 13); 1 for nearly all."""
    if not station.quirks:
        return 1.0
    if "register_is_kwh" in station.quirks:
        return 1000.0
    return 0.001 if "register_is_wh" in station.quirks else 1.0


def _start_register(station: Station, event: Started) -> float | None:
    """The register at the start in Wh: stated, else the first that its readings show."""
    factor = _register_factor(station)
    if event.register_wh is not None:
        return register_wh(event.register_wh * factor)
    shown = (r.profile.register_wh(r.samples, factor) for r in event.readings)
    return next((value for value in shown if value is not None), None)


def _stop_register(station: Station, event: Ended) -> float | None:
    """The register at the end in Wh: stated, else what its readings show for the end."""
    factor = _register_factor(station)
    if event.register_wh is not None:
        return register_wh(event.register_wh * factor)
    shown = [
        (reading.profile.context == END, value)
        for reading in event.readings
        if reading.profile.context != BEGIN
        and (value := reading.profile.register_wh(reading.samples, factor)) is not None
    ]
    marked = [value for is_end, value in shown if is_end]
    return marked[-1] if marked else shown[-1][1] if shown else None


def _keep_readings(station: Station, event: Metered, moment: Moment) -> None:
    """Readings outside any session."""
    for reading in event.readings:
        at = believe_now(station, reading.stated_at, moment).at
        moment.sink.reading(None, event.evse_id, event.connector_id, reading, at)


def _close(
    station: Station, session: Session, event: Ended, believed: BelievedTime, moment: Moment
) -> None:
    """End the session, or recognise that it had ended and whether this says the same."""
    if session.state is State.ENDED:
        if not _is_repeat(station, session, event):
            moment.sink.desk("stop_again", session, event.transaction_id)
        _take_readings(station, session, event.readings, moment)
        if session.change:
            moment.sink.session(station, session)
        return
    _take_readings(station, session, event.readings, moment)
    session.stated_ended_at = event.stated_at
    session.received_end_at = moment.received_at
    overlapped = session.state is State.LOST and any(
        s.evse_id == session.evse_id and session.started_at <= s.started_at < believed.at
        for s in station.sessions.values()
        if s is not session
    )
    sessions.close(
        session,
        believed.at,
        _stop_register(station, event),
        reason=event.reason,
        power_max_w=_power_max_w(station, session.evse_id, moment, believed.doubt, *session.flags),
        stop_token_uid=event.token_uid,
    )
    session.flag(
        believed.doubt,
        Flag.OFFLINE if event.offline else None,
        Flag.OVERLAP if overlapped else None,
    )
    moment.sink.session(station, session)
    moment.sink.evidence(session, "ended")


def _is_repeat(station: Station, session: Session, event: Ended) -> bool:
    """Whether the stop says what ended the session before."""
    return (
        session.state is State.ENDED
        and session.stated_ended_at == event.stated_at
        and session.meter_stop_wh == _stop_register(station, event)
    )


def _may_be_stopped(station: Station, session: Session, event: Ended, at: datetime) -> bool:
    """Whether a stop that names no known transaction can be this session's (field cases 3, 4).

    A positive number that we never gave may be anybody's: it needs the badge as well.
    """
    if session.state is State.ENDED or session.started_at > at:
        return False
    ours = uid_key(session.token_uid or "")
    theirs = uid_key(event.token_uid or "")
    if theirs != ours and (theirs or event.transaction_id.lstrip("0").isdigit()):
        return False
    register = _stop_register(station, event)
    if session.meter_start_wh is None or register is None:
        return False
    floor_wh = session.meter_start_wh
    if session.last_register_wh is not None and Flag.METER_BACKWARDS not in session.flags:
        floor_wh = max(floor_wh, session.last_register_wh)
    return register >= floor_wh
