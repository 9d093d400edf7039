"""A charging session: its states as a table, and its energy.

The law of this file: everything that decides a session's state, register or energy stands here.
It reads no clock and writes nothing; the recorder asks it and stores what came of it.

Three states exist. A session is ACTIVE from its start (or from the first thing told of it), ENDED
when the station said so, LOST when it must be over but its stop never came. A lost session whose
stop arrives late is ENDED after all; nothing reopens an ended one (field case 10).

Energy. The register runs on in segments: a reading that falls back, or leaps further than the
power allows, is not believed until the next reading confirms it; then a new segment begins and the
leap itself is not counted. At the end the plain difference of stop and start register holds where
it is possible at the connector's power; otherwise the sum of the segments. Whatever had to be
decided is flagged, raw readings stay as they came, the result is never negative and never more
than measured.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final

from csms.domain.metering import BEGIN, Reading
from csms.domain.values import energy_between_wh, seconds


class State(StrEnum):
    """Where a session stands; see the module."""

    ACTIVE = "active"
    ENDED = "ended"
    LOST = "lost"


class Kind(StrEnum):
    """What can happen to a session."""

    STARTED = "started"
    MEASURED = "measured"
    ENDED = "ended"
    SUPERSEDED = "superseded"


class Act(StrEnum):
    """What is done about it."""

    OPEN = "open"
    OPEN_WITHOUT_START = "open without start"
    OPEN_ENDED = "open ended, without start"
    COMPLETE_START = "complete the start"
    MEASURE = "measure"
    MEASURE_LATE = "attach, energy unchanged"
    CLOSE = "close"
    CLOSE_LATE = "close late"
    LOSE = "give up waiting for the stop"
    KEEP = "keep"


NEW: Final = None  # the state of a session that does not exist yet

TRANSITIONS: Final[dict[tuple[State | None, Kind], tuple[State, Act]]] = {
    (NEW, Kind.STARTED): (State.ACTIVE, Act.OPEN),
    (NEW, Kind.MEASURED): (State.ACTIVE, Act.OPEN_WITHOUT_START),
    (NEW, Kind.ENDED): (State.ENDED, Act.OPEN_ENDED),
    (State.ACTIVE, Kind.STARTED): (State.ACTIVE, Act.COMPLETE_START),
    (State.ACTIVE, Kind.MEASURED): (State.ACTIVE, Act.MEASURE),
    (State.ACTIVE, Kind.ENDED): (State.ENDED, Act.CLOSE),
    (State.ACTIVE, Kind.SUPERSEDED): (State.LOST, Act.LOSE),
    (State.ENDED, Kind.STARTED): (State.ENDED, Act.COMPLETE_START),
    (State.ENDED, Kind.MEASURED): (State.ENDED, Act.MEASURE_LATE),
    (State.ENDED, Kind.ENDED): (State.ENDED, Act.KEEP),
    (State.ENDED, Kind.SUPERSEDED): (State.ENDED, Act.KEEP),
    (State.LOST, Kind.STARTED): (State.LOST, Act.COMPLETE_START),
    (State.LOST, Kind.MEASURED): (State.LOST, Act.MEASURE),
    (State.LOST, Kind.ENDED): (State.ENDED, Act.CLOSE_LATE),
    (State.LOST, Kind.SUPERSEDED): (State.LOST, Act.KEEP),
}


class Flag(StrEnum):
    """What a person should know of a session. Billing decides which of them hold an invoice."""

    OFFLINE = "offline"  # told after the fact
    LOST_STOP = "lost_stop"  # the stop never came; ended at the last reading
    LATE_STOP = "late_stop"  # it came after we had given up
    OVERLAP = "overlap"  # another session began on the connector before this one's stop
    STARTED_MISSING = "started_missing"
    ENDED_BEFORE_STARTED = "ended_before_started"  # told in that order
    BEGIN_REGISTER_MISSING = "begin_register_missing"
    END_REGISTER_MISSING = "end_register_missing"
    METER_BACKWARDS = "meter_backwards"
    METER_DISCONTINUITY = "meter_discontinuity"  # reset or leap, confirmed by two readings
    METER_GLITCH = "meter_glitch"  # one reading out of line, not believed
    ENERGY_IMPLAUSIBLE = "energy_implausible"  # more than the power allows in the time
    UNIT_SUSPECT = "unit_suspect"  # register and power differ about a thousandfold
    NO_DURATION = "no_duration"  # energy within no time: clocks that know minutes only
    END_BEFORE_START = "end_before_start"  # clock; the end was set to the start
    CLOCK_MISSING = "clock_missing"
    CLOCK_IMPLAUSIBLE = "clock_implausible"
    CLOCK_AHEAD = "clock_ahead"
    CLOCK_CORRECTED = "clock_corrected"
    REFUSED = "refused"  # the badge was refused and the station charged all the same
    UNAUTHORIZED = "unauthorized"  # energy flowed and no badge was ever accepted
    SEQ_GAP = "seq_gap"  # 2.0.1: events are missing
    EVENTS_LOST = "events_lost"  # and the station says that it has no more of them
    MATCHED_BY_GUESS = "matched_by_guess"  # the stop named no known transaction
    TRANSACTION_ID_REUSED = "transaction_id_reused"
    DOUBTFUL_REPEAT = "doubtful_repeat"  # equal start after the stop, under an unset clock
    SETTLED = "settled"  # by a person, on the desk
    CONFIRMED = "confirmed"


ACCEPTED: Final = "Accepted"
NOBODY: Final = "none"  # authorization_status of a session for which no badge was shown

SEQ_MISSING_MAX: Final = 100  # remembered gaps of one session
SLACK_S: Final = 60.0  # stations state minutes; a leap is judged with that much more time
SLACK_WH: Final = 100.0
ROUNDING_WH: Final = 10.0  # a stop register may be stated more coarsely than the readings
INTEGRAL_GAP_S: Final = 7200.0  # power is not carried over longer silence
UNCHANGED, PROGRESSED, CHANGED = 0, 1, 2  # how much of the row is to be written


class Session:
    """One session as the row of the same name holds it; see the schema for each field."""

    __slots__ = (
        "authorization_status",
        "change",
        "charging_state",
        "connector_id",
        "ended_at",
        "energy_wh",
        "evse_id",
        "flags",
        "id",
        "is_new",
        "last_register_at",
        "last_register_wh",
        "meter_start_wh",
        "meter_stop_wh",
        "power_integral_wh",
        "power_w",
        "readings_from_at",
        "readings_to_at",
        "received_end_at",
        "received_start_at",
        "register_base_wh",
        "remote_start_id",
        "reservation_id",
        "revision",
        "segment_start_wh",
        "seq_no_last",
        "seq_no_missing",
        "start_key",
        "started_at",
        "state",
        "stated_ended_at",
        "stated_started_at",
        "stop_reason",
        "stop_token_uid",
        "suspect_wh",
        "token_type",
        "token_uid",
        "transaction_id",
    )

    def __init__(
        self,
        id: int,
        *,
        start_key: str,
        transaction_id: str,
        state: State,
        started_at: datetime,
        evse_id: int | None = None,
        connector_id: int | None = None,
        token_uid: str | None = None,
        token_type: str | None = None,
        authorization_status: str = NOBODY,
    ) -> None:
        self.id = id
        self.start_key = start_key
        self.transaction_id = transaction_id
        self.state = state
        self.started_at = started_at
        self.evse_id = evse_id
        self.connector_id = connector_id
        self.token_uid = token_uid
        self.token_type = token_type
        self.authorization_status = authorization_status
        self.charging_state: str | None = None
        self.remote_start_id: int | None = None
        self.reservation_id: int | None = None
        self.ended_at: datetime | None = None
        self.stated_started_at: datetime | None = None
        self.stated_ended_at: datetime | None = None
        self.received_start_at: datetime | None = None
        self.received_end_at: datetime | None = None
        self.meter_start_wh: float | None = None
        self.meter_stop_wh: float | None = None
        self.energy_wh: int | None = None
        self.last_register_wh: float | None = None
        self.last_register_at: datetime | None = None
        self.segment_start_wh: float | None = None
        self.register_base_wh = 0.0
        self.suspect_wh: float | None = None
        self.power_w: float | None = None
        self.power_integral_wh = 0.0
        self.seq_no_last: int | None = None
        self.seq_no_missing: tuple[int, ...] = ()
        self.readings_from_at: datetime | None = None
        self.readings_to_at: datetime | None = None
        self.stop_reason: str | None = None
        self.stop_token_uid: str | None = None
        self.flags: frozenset[str] = frozenset()
        self.revision = 0
        self.is_new = True
        self.change = CHANGED

    def flag(self, *flags: str | None) -> None:
        """Add flags; None is passed over."""
        added = {str(flag) for flag in flags if flag is not None}
        if not added <= self.flags:
            self.flags = self.flags | added
            self.change = CHANGED

    def unflag(self, flag: Flag) -> None:
        """Take a flag back that later news have settled."""
        if flag in self.flags:
            self.flags = self.flags - {str(flag)}
            self.change = CHANGED


def advance(session: Session, kind: Kind) -> Act:
    """Move the session by the table and say what is to be done."""
    session_state, act = TRANSITIONS[session.state, kind]
    if session_state is not session.state:
        session.state = session_state
        session.change = CHANGED
    return act


def begin_register(session: Session, register_wh: float, at: datetime) -> None:
    """Take the register at the start of the session, unless one is known already."""
    if session.meter_start_wh is not None:
        return
    session.meter_start_wh = register_wh
    if Flag.METER_DISCONTINUITY not in session.flags:
        session.segment_start_wh = register_wh
    session.change = CHANGED
    if session.last_register_wh is None:
        session.last_register_wh = register_wh
        session.last_register_at = at
    session.unflag(Flag.BEGIN_REGISTER_MISSING)
    if session.state is State.ENDED:
        settle_energy(session, None)
    else:
        session.energy_wh = _energy_of_segments(session)


def measure(
    session: Session,
    reading: Reading,
    at: datetime,
    register_wh: float | None,
    power_w: float | None,
    power_max_w: float,
) -> None:
    """Take a reading into the session; `at` is its believed time.

    An ended session keeps its energy: the reading is attached, no more.
    """
    act = advance(session, Kind.MEASURED)
    if session.change < PROGRESSED:
        session.change = PROGRESSED
    stated_at = reading.stated_at or at
    former_at = session.readings_to_at
    _widen(session, stated_at)
    if register_wh is not None and reading.profile.context == BEGIN:
        begin_register(session, register_wh, at)
    if act is Act.MEASURE_LATE:
        return
    if former_at is None or stated_at > former_at:
        _integrate(session, power_w, 0.0 if former_at is None else seconds(stated_at - former_at))
    newest = session.last_register_at is None or at >= session.last_register_at
    if register_wh is None or not newest:
        return
    _believe(session, register_wh, at, power_max_w)
    session.energy_wh = _energy_of_segments(session)
    if act is Act.MEASURE and session.state is State.LOST:
        session.ended_at = max(session.ended_at or at, at)
        session.change = CHANGED


def note_seq_no(session: Session, seq_no: int | None) -> bool:
    """Count an event of 2.0.1 in; False when this number was there before (a repetition)."""
    if seq_no is None:
        return True
    last = -1 if session.seq_no_last is None else session.seq_no_last
    if seq_no > last:
        if seq_no > last + 1:
            gap = range(last + 1, min(seq_no, last + 1 + SEQ_MISSING_MAX))
            session.seq_no_missing = (session.seq_no_missing + tuple(gap))[-SEQ_MISSING_MAX:]
            session.flag(Flag.SEQ_GAP)
        session.seq_no_last = seq_no
        if session.change < PROGRESSED:
            session.change = PROGRESSED
        return True
    if seq_no not in session.seq_no_missing:
        return False
    session.seq_no_missing = tuple(n for n in session.seq_no_missing if n != seq_no)
    session.change = CHANGED
    _no_gap_no_flag(session)
    return True


def note_first_seq_no(session: Session, seq_no: int | None) -> None:
    """Count the start in: whatever number it has, none of the session was before it."""
    note_seq_no(session, seq_no)
    if seq_no is None or not session.seq_no_missing:
        return
    session.seq_no_missing = tuple(n for n in session.seq_no_missing if n > seq_no)
    session.change = CHANGED
    _no_gap_no_flag(session)


def _no_gap_no_flag(session: Session) -> None:
    if not session.seq_no_missing:
        session.unflag(Flag.SEQ_GAP)
        session.unflag(Flag.EVENTS_LOST)


def close(
    session: Session,
    at: datetime,
    register_wh: float | None,
    *,
    reason: str | None,
    power_max_w: float,
    stop_token_uid: str | None = None,
) -> Act:
    """End the session at the believed time with the station's final register (None: none given).

    Returns what the table says: Act.KEEP means that it had ended before and nothing changed.
    """
    act = advance(session, Kind.ENDED)
    if act is Act.KEEP:
        return act
    if act is Act.CLOSE_LATE:
        session.unflag(Flag.LOST_STOP)
        session.flag(Flag.LATE_STOP)
    session.change = CHANGED
    session.ended_at = at
    if at < session.started_at:
        session.ended_at = session.started_at
        session.flag(Flag.END_BEFORE_START)
    session.stop_reason = reason
    session.stop_token_uid = stop_token_uid
    session.meter_stop_wh = register_wh
    settle_energy(session, power_max_w)
    if session.ended_at == session.started_at and session.energy_wh:
        session.flag(Flag.NO_DURATION)
    judge_authorization(session)
    return act


def judge_authorization(session: Session) -> None:
    """Flag energy that flowed without a badge that we accepted (field case 7)."""
    session.unflag(Flag.UNAUTHORIZED)
    if session.authorization_status == ACCEPTED or session.energy_wh == 0:
        return
    session.flag(Flag.UNAUTHORIZED if session.authorization_status == NOBODY else Flag.REFUSED)


def lose(session: Session, at: datetime) -> Act:
    """Give up waiting for the stop: the session ended at its last reading, or at `at` without one.

    `at` is the latest moment possible (the next start on the connector).
    """
    act = advance(session, Kind.SUPERSEDED)
    if act is not Act.LOSE:
        return act
    end = session.last_register_at or at
    session.ended_at = max(session.started_at, min(end, at) if at >= session.started_at else end)
    session.energy_wh = _energy_of_segments(session)
    session.flag(Flag.LOST_STOP)
    if session.energy_wh is None:
        session.flag(Flag.BEGIN_REGISTER_MISSING)
    judge_authorization(session)
    return act


def settle_energy(session: Session, power_max_w: float | None) -> None:
    """Work out the energy of an ended session from its registers, and flag what is doubtful.

    Field cases 12 to 15. `power_max_w` None: plausibility was judged before, leave those flags.
    """
    start, stop = session.meter_start_wh, session.meter_stop_wh
    if start is None or stop is None:
        session.energy_wh = None
        if start is None:
            session.flag(Flag.BEGIN_REGISTER_MISSING)
        if stop is None:
            session.flag(Flag.END_REGISTER_MISSING)
        return
    broken = Flag.METER_DISCONTINUITY in session.flags
    ended_at = session.ended_at or session.started_at
    possible = power_max_w is None or _within_power(
        stop - start, session.started_at, ended_at, power_max_w
    )
    runs_on = power_max_w is None or _runs_on(session, stop, ended_at, power_max_w)
    if stop >= start and (possible or not broken):
        session.energy_wh = energy_between_wh(start, stop)
    else:
        session.energy_wh = _energy_with_stop(session, stop, runs_on)
    last = session.last_register_wh
    if stop < start or (last is not None and stop < last - ROUNDING_WH and not broken):
        session.flag(Flag.METER_BACKWARDS)
    elif not possible or not (runs_on or broken):
        session.flag(Flag.ENERGY_IMPLAUSIBLE)
    if _unit_suspect(session):
        session.flag(Flag.UNIT_SUSPECT)


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for (state, kind), (after, act) in TRANSITIONS.items():
        source = "[*]" if state is NEW else state.value
        lines.append(f"    {source} --> {after.value}: {kind.value} / {act.value}")
    return "\n".join(lines)


def _widen(session: Session, stated_at: datetime) -> None:
    """Keep the span of stated times, by which the readings are found again."""
    if session.readings_from_at is None or stated_at < session.readings_from_at:
        session.readings_from_at = stated_at
        session.change = CHANGED
    if session.readings_to_at is None or stated_at > session.readings_to_at:
        session.readings_to_at = stated_at


def _integrate(session: Session, power_w: float | None, gap_s: float) -> None:
    """Add the power since the last reading, by trapezium, to the integral that checks the unit.

    A reading without power goes on with the last one.
    """
    before_w = session.power_w
    now_w = before_w if power_w is None else power_w
    if before_w is not None and now_w is not None and gap_s <= INTEGRAL_GAP_S:
        session.power_integral_wh += (before_w + now_w) / 2 * gap_s / 3600
    session.power_w = now_w


def _believe(session: Session, register_wh: float, at: datetime, power_max_w: float) -> None:
    """The monotonic filter: a break in the register needs a second reading to be believed."""
    last, last_at = session.last_register_wh, session.last_register_at
    if last is None or last_at is None:
        session.last_register_wh, session.last_register_at = register_wh, at
        session.segment_start_wh = register_wh
        return
    if register_wh >= last and _within_power(register_wh - last, last_at, at, power_max_w):
        if session.suspect_wh is not None:
            session.suspect_wh = None
            session.flag(Flag.METER_GLITCH)
            session.change = CHANGED
        session.last_register_wh, session.last_register_at = register_wh, at
        return
    suspect = session.suspect_wh
    session.change = CHANGED
    if suspect is None or not (
        register_wh >= suspect and _within_power(register_wh - suspect, last_at, at, power_max_w)
    ):
        session.suspect_wh = register_wh
        if register_wh < last:
            session.flag(Flag.METER_BACKWARDS)
        return
    session.register_base_wh += last - (session.segment_start_wh or 0.0)
    session.segment_start_wh = suspect
    session.suspect_wh = None
    session.last_register_wh, session.last_register_at = register_wh, at
    session.flag(Flag.METER_DISCONTINUITY)


def _within_power(energy_wh: float, since: datetime, until: datetime, power_max_w: float) -> bool:
    """Whether the power can deliver the energy in the time, with the slack of coarse clocks."""
    span_s = max(0.0, seconds(until - since)) + SLACK_S
    return energy_wh <= power_max_w * span_s / 3600 + SLACK_WH


def _runs_on(session: Session, stop_wh: float, ended_at: datetime, power_max_w: float) -> bool:
    """Whether the power can deliver what the stop register adds to the last believed reading."""
    last, last_at = session.last_register_wh, session.last_register_at
    if last is None or last_at is None:
        return True
    return _within_power(stop_wh - last, min(last_at, ended_at), ended_at, power_max_w)


def _energy_of_segments(session: Session) -> int | None:
    """Energy so far; None while the begin register is unknown."""
    if session.meter_start_wh is None or session.last_register_wh is None:
        return None
    start = session.segment_start_wh
    assert start is not None
    in_segment = max(0.0, session.last_register_wh - start)
    return energy_between_wh(0.0, session.register_base_wh + in_segment)


def _energy_with_stop(session: Session, stop_wh: float, runs_on: bool) -> int | None:
    """Energy of the segments, the last one run on to the stop register where that continues it."""
    start = session.segment_start_wh
    broken = Flag.METER_DISCONTINUITY in session.flags
    if broken and runs_on and start is not None and stop_wh >= start:
        return energy_between_wh(0.0, session.register_base_wh + (stop_wh - start))
    if session.last_register_wh == session.meter_start_wh and not session.register_base_wh:
        return None  # nothing was measured between the two registers that contradict each other
    return _energy_of_segments(session)


def _unit_suspect(session: Session) -> bool:
    """Whether register and integrated power differ about a thousandfold (field case 13)."""
    if session.power_integral_wh < 100 or not session.energy_wh:
        return False
    ratio = session.power_integral_wh / session.energy_wh
    return 500 < ratio < 2000 or 0.0005 < ratio < 0.002
