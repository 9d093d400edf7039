"""A station as the central system knows it: its EVSEs, and the sessions it has told of.

The law of this file: which session an event belongs to is decided here and nowhere else, by keys
of that one station, never across stations. Events go in with the time of receipt and the decision
about the badge; sessions change; everything worth keeping is told to the `Sink`.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from csms.domain import session as sessions
from csms.domain.clock import (
    BelievedTime,
    ClockRules,
    believed_time,
    local_time,
    skew_of_live_message,
)
from csms.domain.events import Decision, Ended, Metered, Started, StatusChanged, Updated
from csms.domain.metering import BEGIN, END, Reading
from csms.domain.session import ACCEPTED, NOBODY, Act, Flag, Kind, Session, State
from csms.domain.values import register_wh, seconds, uid_key

RECENT_SESSIONS_MAX: Final = 2  # ended sessions kept in memory; older ones are looked up
LIVE_AFTER_BOOT_S: Final = 120.0
NOW_S: Final = 60.0  # so close to the receipt is the present

# Words for the status of an EVSE; the first nine are those of OCPP 1.6, `occupied` is all that
# 2.0.1 tells. A transition that the table does not know is believed and put on record.
_NEXT_STATUSES: Final[dict[str, str]] = {
    "available": "preparing charging suspended_ev suspended_evse reserved unavailable occupied",
    "preparing": "available charging suspended_ev suspended_evse finishing",
    "charging": "available suspended_ev suspended_evse finishing unavailable",
    "suspended_ev": "available charging suspended_evse finishing unavailable",
    "suspended_evse": "available charging suspended_ev finishing unavailable",
    "finishing": "available preparing unavailable",
    "reserved": "available preparing unavailable occupied",
    "unavailable": "available preparing charging suspended_ev suspended_evse occupied reserved",
    "occupied": "available unavailable reserved",
}
STATUSES: Final = frozenset(_NEXT_STATUSES) | {"faulted", "unknown"}
STATUS_TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    status: frozenset(following.split()) | {"faulted", status}
    for status, following in _NEXT_STATUSES.items()
} | {"faulted": STATUSES, "unknown": STATUSES}


class Sink(Protocol):
    """Where a station tells what is worth keeping; the recorder's group is one."""

    def session(self, station: "Station", session: Session) -> None:
        """The session is new or changed."""

    def evidence(self, session: Session, kind: str, note: str | None = None) -> None:
        """The frame at hand began, ended or corrected the session."""

    def reading(
        self,
        session: Session | None,
        evse_id: int | None,
        connector_id: int | None,
        reading: Reading,
        at: datetime,
    ) -> None:
        """A meter reading, inside a session or not."""

    def status(self, event: StatusChanged, at: datetime) -> None:
        """A status to keep and to show."""

    def desk(self, reason: str, session: Session | None, transaction_id: str | None) -> None:
        """The frame at hand needs a person."""

    def deviation(self, kind: str, subject: str, sample: str) -> None:
        """The station departed from the specification."""


class Station:
    """State of one station on this node. Fields that the database sets are in `configure`."""

    __slots__ = (
        "answers",
        "boot_status",
        "booted_at",
        "client_id",
        "clock_skew_s",
        "evses",
        "id",
        "key",
        "naive_is_local",
        "pending",
        "power_max_w",
        "quirks",
        "sessions",
        "site_id",
        "stale",
        "time_zone",
    )

    def __init__(self, key: int, id: str) -> None:
        self.key = key
        self.id = id
        self.client_id = 0
        self.site_id: str | None = None
        self.time_zone = "UTC"
        self.boot_status = "accepted"
        self.quirks: frozenset[str] = frozenset()
        self.power_max_w: dict[int, int] = {}
        self.clock_skew_s: float | None = None
        self.naive_is_local: bool | None = None
        self.booted_at: datetime | None = None
        #: status by (evse_id, connector_id); (0, None) is the station itself
        self.evses: dict[tuple[int, int | None], str] = {}
        #: open sessions and the newest ended ones, by transaction id
        self.sessions: dict[str, Session] = {}
        #: remembered answers: message id -> (hash of the frame, answer, when the frame came)
        self.answers: dict[str, tuple[int, str, datetime]] = {}
        #: frames received and not yet committed
        self.pending = 0
        #: the database knows better: load again before the next event
        self.stale = False

    def find_by_start(self, start_key: str) -> Session | None:
        """The newest session in memory that began with this key, or anew under it."""
        anew = start_key + "#"
        found = [
            s
            for s in self.sessions.values()
            if s.start_key == start_key or s.start_key.startswith(anew)
        ]
        return max(found, key=lambda s: s.id, default=None)

    def open_on(self, evse_id: int | None) -> list[Session]:
        """Active sessions on the EVSE, oldest first."""
        return sorted(
            (s for s in self.sessions.values() if s.state is State.ACTIVE and s.evse_id == evse_id),
            key=lambda s: s.started_at,
        )

    def forget_old_sessions(self) -> None:
        """Keep open sessions and the newest few others; only what is stored may be forgotten."""
        over = len(self.sessions) - RECENT_SESSIONS_MAX
        if over <= 0:
            return
        for transaction_id, session in list(self.sessions.items()):
            if over <= 0:
                return
            if session.state is not State.ACTIVE and session.change == sessions.UNCHANGED:
                del self.sessions[transaction_id]
                over -= 1


class Moment(NamedTuple):
    """What surrounds an event: when it came, the rules, and where the results go."""

    received_at: datetime
    rules: ClockRules
    power_default_w: int
    new_session_id: Callable[[], int]
    sink: Sink


def start_key_16(event: Started) -> str:
    """What makes a StartTransaction the same: connector, badge, stated time, stated register."""
    stated = event.stated_at.isoformat() if event.stated_at else ""
    return f"{event.connector_id}|{uid_key(event.token_uid or '')}|{stated}|{event.stated_register}"


def start_key_of(event: Started | Updated | Ended) -> str | None:
    """The key by which a repeated start is found; None for what cannot start a 1.6 session."""
    if event.transaction_id is not None:
        return f"tx|{event.transaction_id}"
    return start_key_16(event) if isinstance(event, Started) else None


# --- Sessions -----------------------------------------------------------------------------------


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
    believed = _believe_time(station, event.stated_at, moment)
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
        believed = _believe_time(station, event.stated_at, moment)
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
    believed = _believe_time(station, event.stated_at, moment)
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
    believed = _believe_time(station, event.stated_at, moment)
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


# --- EVSEs --------------------------------------------------------------------------------------


def change_status(station: Station, event: StatusChanged, moment: Moment) -> None:
    """Take a status in; it is live right after a boot, and then tells the station's clock."""
    if station.booted_at is not None and (
        seconds(moment.received_at - station.booted_at) <= LIVE_AFTER_BOOT_S
    ):
        skew_s = skew_of_live_message(_in_utc(station, event.stated_at), moment.received_at)
        if skew_s is not None:
            station.clock_skew_s = skew_s
    believed = _believe_time(station, event.stated_at, moment)
    if believed.doubt not in (None, "clock_missing"):
        moment.sink.deviation(str(believed.doubt), "status", str(event.stated_at))
    place = (event.evse_id, event.connector_id)
    before = station.evses.get(place, "unknown")
    if event.status not in STATUS_TRANSITIONS.get(before, STATUSES):
        moment.sink.deviation("unexpected_status", f"{before} > {event.status}", str(place))
    station.evses[place] = event.status
    moment.sink.status(event, believed.at)


# --- Details ------------------------------------------------------------------------------------


def zone_time(station: Station, stated: datetime) -> datetime:
    """A time without a zone, read as UTC, as the clocks of the station's zone mean it."""
    try:
        return local_time(stated, ZoneInfo(station.time_zone))
    except (ZoneInfoNotFoundError, ValueError):
        return stated


def _in_utc(station: Station, stated: datetime | None) -> datetime | None:
    """The time that a station means. `fold` marks one without a zone; they may be local time."""
    if stated is None or not stated.fold or not station.naive_is_local:
        return stated
    return zone_time(station, stated)


def believe(
    station: Station, stated: datetime | None, received_at: datetime, rules: ClockRules
) -> BelievedTime:
    """What time is held to be true of what the station stated."""
    stated = _in_utc(station, stated)
    return believed_time(stated, received_at, _skew_s(station, stated, received_at, rules), rules)


def _skew_s(
    station: Station, stated: datetime | None, received_at: datetime, rules: ClockRules
) -> float | None:
    """The skew to judge a time by. A wrong clock does not hit the present: it was set right."""
    known_s = station.clock_skew_s
    if stated is None or known_s is None or abs(known_s) <= rules.skew_max_s:
        return known_s
    shown_s = seconds(stated - received_at)
    return shown_s if abs(shown_s) <= NOW_S else known_s


def _believe_time(station: Station, stated: datetime | None, moment: Moment) -> BelievedTime:
    """The same, and what the time shows of the station's clock."""
    stated = _in_utc(station, stated)
    received_at, rules = moment.received_at, moment.rules
    station.clock_skew_s = _skew_s(station, stated, received_at, rules)
    believed = believed_time(stated, received_at, station.clock_skew_s, rules)
    if believed.doubt == "clock_ahead" and stated is not None:
        # Nothing queued comes from the future: the station's clock is ahead by at least this.
        station.clock_skew_s = seconds(stated - received_at)
    return believed


def _power_max_w(station: Station, evse_id: int | None, moment: Moment) -> float:
    """The bound of plausibility on the EVSE: a quarter above what its connector can give."""
    stated = station.power_max_w.get(evse_id or 0)
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
        unset_clock = believed.doubt in ("clock_missing", "clock_implausible")
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
        sessions.settle_energy(session, _power_max_w(station, session.evse_id, moment))
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
    _supersede(station, evse_id, _believe_time(station, stated_at, moment).at, moment)
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
    power_max_w = _power_max_w(station, session.evse_id, moment)
    for reading in readings:
        at = _believe_time(station, reading.stated_at, moment).at
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
        at = _believe_time(station, reading.stated_at, moment).at
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
        power_max_w=_power_max_w(station, session.evse_id, moment),
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


__all__ = [
    "ACCEPTED",
    "STATUSES",
    "STATUS_TRANSITIONS",
    "Decision",
    "Moment",
    "Sink",
    "Station",
    "believe",
    "change_status",
    "end_session",
    "lose_session",
    "start_key_16",
    "start_key_of",
    "start_session",
    "stop_transaction",
    "take_meter_values",
    "update_session",
    "zone_time",
]
