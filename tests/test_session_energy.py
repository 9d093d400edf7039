"""The session: its table, and the rules by which registers become energy."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.domain import session as sessions
from csms.domain.metering import BEGIN, Profile, Reading, SampleKind
from csms.domain.session import NEW, TRANSITIONS, Act, Flag, Kind, Session, State
from csms.domain.values import energy_between_wh, register_wh

START = datetime(2026, 11, 22, 8, tzinfo=UTC)
POWER_W = 22_000.0
REGISTER = "Energy.Active.Import.Register"
PLAIN = Profile((SampleKind(REGISTER),))
FIRST = Profile((SampleKind(REGISTER, context=BEGIN),))


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def begun(register: float | None = 1000.0) -> Session:
    """An active session; None: its begin register is unknown."""
    session = Session(
        1,
        start_key="key",
        transaction_id="1",
        state=State.ACTIVE,
        started_at=START,
        authorization_status="Accepted",
    )
    if register is not None:
        sessions.begin_register(session, register, START)
    return session


def measure(
    session: Session, minutes: float, register: float | None, power_w: float | None = None
) -> None:
    reading = Reading(at(minutes), PLAIN, [], None, 0)
    sessions.measure(session, reading, at(minutes), register, power_w, POWER_W)


def close(session: Session, minutes: float, register: float | None) -> Session:
    sessions.close(session, at(minutes), register, reason="Local", power_max_w=POWER_W)
    return session


# --- The table ----------------------------------------------------------------------------------


def test_the_table_knows_every_state_and_every_kind_of_event() -> None:
    states: list[State | None] = [*State, NEW]
    impossible = {(NEW, Kind.SUPERSEDED)}  # what does not exist cannot be superseded
    assert set(TRANSITIONS) == {(s, k) for s in states for k in Kind} - impossible


def test_nothing_reopens_an_ended_session() -> None:
    after = {state for (before, _), (state, _) in TRANSITIONS.items() if before is State.ENDED}
    assert after == {State.ENDED}


def test_only_a_late_stop_ends_a_lost_session() -> None:
    ending = {k for (s, k), (after, _) in TRANSITIONS.items() if s is State.LOST is not after}
    assert ending == {Kind.ENDED}
    assert TRANSITIONS[State.LOST, Kind.ENDED][1] is Act.CLOSE_LATE


def test_the_diagram_is_printed_from_the_table() -> None:
    lines = sessions.diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert len(lines) == len(TRANSITIONS) + 1
    assert "    active --> lost: superseded / give up waiting for the stop" in lines


# --- Registers ----------------------------------------------------------------------------------


def test_energy_is_the_difference_of_the_registers() -> None:
    session = begun()
    measure(session, 10, 2500)
    assert session.energy_wh == 1500
    close(session, 20, 4000.9)
    assert (session.state, session.energy_wh, session.flags) == (State.ENDED, 3000, frozenset())


def test_energy_is_never_rounded_up() -> None:
    assert energy_between_wh(0.0, 999.999) == 999
    assert energy_between_wh(100.1, 1100.1) == 1000  # floats say 999.9999999999999
    with pytest.raises(ValueError, match="backwards"):
        energy_between_wh(10.0, 9.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e12, -1e15])
def test_what_no_meter_shows_is_no_register(value: float) -> None:
    assert register_wh(value) is None


def test_an_unknown_register_is_unknown_energy() -> None:
    session = close(begun(None), 10, 4000)
    assert (session.energy_wh, session.flags) == (None, {Flag.BEGIN_REGISTER_MISSING})
    session = close(begun(), 10, None)
    assert (session.energy_wh, session.flags) == (None, {Flag.END_REGISTER_MISSING})


def test_a_begin_register_told_late_settles_the_energy() -> None:
    session = close(begun(None), 10, 4000)
    sessions.begin_register(session, 1000, START)
    assert (session.energy_wh, session.flags) == (3000, frozenset())


def test_a_reading_marked_as_the_begin_is_the_begin_register() -> None:
    session = begun(None)
    sessions.measure(session, Reading(START, FIRST, [], None, 0), START, 1000.0, None, POWER_W)
    close(session, 10, 2000)
    assert session.energy_wh == 1000


def test_a_single_drop_is_a_glitch() -> None:
    session = begun()
    for minutes, register in ((5, 1500), (10, 0), (15, 2000)):
        measure(session, minutes, register)
    assert session.energy_wh == 1000
    close(session, 20, 2200)
    assert session.energy_wh == 1200
    assert session.flags == {Flag.METER_BACKWARDS, Flag.METER_GLITCH}


def test_a_single_leap_is_a_glitch() -> None:
    session = begun()
    for minutes, register in ((5, 1500), (10, 99_999_999), (15, 2000)):
        measure(session, minutes, register)
    close(session, 20, 2200)
    assert (session.energy_wh, session.flags) == (1200, {Flag.METER_GLITCH})


def test_a_reset_begins_a_new_segment() -> None:
    session = begun()
    for minutes, register in ((5, 1500), (10, 0), (15, 400), (20, 800)):
        measure(session, minutes, register)
    close(session, 25, 900)
    assert session.energy_wh == 500 + 900
    assert session.flags == {Flag.METER_BACKWARDS, Flag.METER_DISCONTINUITY}


def test_a_leap_that_stays_is_not_counted() -> None:
    session = begun()
    for minutes, register in ((5, 1500), (10, 900_000), (15, 900_500), (20, 901_000)):
        measure(session, minutes, register)
    assert session.energy_wh == 500 + 1000
    close(session, 25, 901_200)
    assert session.energy_wh == 500 + 1200
    assert session.flags == {Flag.METER_DISCONTINUITY, Flag.ENERGY_IMPLAUSIBLE}


def test_readings_of_the_session_between_registers_of_the_meter() -> None:
    session = begun(120_000)
    for minutes, register in ((5, 0), (10, 300), (15, 600)):
        measure(session, minutes, register)
    close(session, 20, 120_900)
    assert session.energy_wh == 900


def test_a_stop_below_the_start_is_never_negative() -> None:
    session = close(begun(5000), 10, 4000)
    assert (session.energy_wh, session.flags) == (None, {Flag.METER_BACKWARDS})
    session = begun(5000)
    measure(session, 5, 5300)
    close(session, 10, 4000)
    assert (session.energy_wh, session.flags) == (300, {Flag.METER_BACKWARDS})


def test_more_than_the_power_allows_is_flagged() -> None:
    session = close(begun(), 10, 1000 + 22_000)
    assert (session.energy_wh, session.flags) == (22_000, {Flag.ENERGY_IMPLAUSIBLE})
    session = close(begun(), 60, 1000 + 22_000)
    assert (session.energy_wh, session.flags) == (22_000, frozenset())


def test_a_stop_that_leaves_the_last_reading_behind_is_flagged() -> None:
    session = begun()
    measure(session, 59, 2000)
    close(session, 60, 20_000)
    assert (session.energy_wh, session.flags) == (19_000, {Flag.ENERGY_IMPLAUSIBLE})
    session = begun()
    measure(session, 59, 9000)
    close(session, 60, 5000)
    assert (session.energy_wh, session.flags) == (4000, {Flag.METER_BACKWARDS})


def test_a_stop_register_may_be_rounded() -> None:
    session = begun()
    measure(session, 59, 2004.7)
    close(session, 60, 2000)
    assert (session.energy_wh, session.flags) == (1000, frozenset())


@pytest.mark.parametrize(("register", "suspect"), [(1011, True), (12_000, False), (1012, True)])
def test_kilowatt_hours_labelled_watt_hours_are_found_out_by_the_power(
    register: float, suspect: bool
) -> None:
    session = begun()
    for minutes in range(0, 61, 10):
        measure(session, minutes, 1000 + (register - 1000) * minutes / 60, 11_000)
    close(session, 60, register)
    assert (Flag.UNIT_SUSPECT in session.flags) == suspect


def test_watt_hours_labelled_kilowatt_hours_are_found_out_too() -> None:
    session = begun()
    for minutes in range(0, 61, 10):
        measure(session, minutes, 1000 + 11_000_000 * minutes / 60, 11_000)
    close(session, 60, 11_001_000)
    assert {Flag.UNIT_SUSPECT, Flag.ENERGY_IMPLAUSIBLE} <= session.flags


def test_power_told_apart_from_the_register_is_counted_once() -> None:
    session = begun()
    for minutes in range(0, 61, 2):
        measure(session, minutes, None, 11_000)
        measure(session, minutes + 1, 1000 + 11_000 * (minutes + 1) / 60)
    assert session.power_integral_wh == pytest.approx(11_000 * 61 / 60)


# --- Ends ---------------------------------------------------------------------------------------


def test_a_lost_session_ends_at_its_last_reading() -> None:
    session = begun()
    measure(session, 10, 1700)
    assert sessions.lose(session, at(30)) is Act.LOSE
    assert (session.state, session.ended_at, session.energy_wh) == (State.LOST, at(10), 700)
    assert session.flags == {Flag.LOST_STOP}
    assert sessions.lose(session, at(40)) is Act.KEEP


def test_a_lost_session_that_never_began_has_no_energy() -> None:
    session = begun(None)
    sessions.lose(session, at(30))
    assert session.energy_wh is None
    assert session.flags == {Flag.LOST_STOP, Flag.BEGIN_REGISTER_MISSING}


def test_readings_go_on_to_count_in_a_lost_session() -> None:
    session = begun()
    sessions.lose(session, at(30))
    measure(session, 40, 1900)
    assert (session.state, session.ended_at, session.energy_wh) == (State.LOST, at(40), 900)


def test_a_late_stop_ends_a_lost_session_truly() -> None:
    session = begun()
    sessions.lose(session, at(30))
    close(session, 20, 1500)
    assert (session.state, session.ended_at, session.energy_wh) == (State.ENDED, at(20), 500)
    assert session.flags == {Flag.LATE_STOP}


def test_a_reading_after_the_end_changes_no_energy() -> None:
    session = close(begun(), 20, 1500)
    measure(session, 30, 9000)
    assert (session.state, session.energy_wh) == (State.ENDED, 500)


def test_a_second_stop_changes_nothing() -> None:
    session = close(begun(), 20, 1500)
    assert sessions.close(session, at(30), 9000, reason="X", power_max_w=POWER_W) is Act.KEEP
    assert (session.ended_at, session.energy_wh, session.stop_reason) == (at(20), 500, "Local")


def test_a_session_never_ends_before_it_began() -> None:
    session = close(begun(), -30, 1050)
    assert session.ended_at == START
    assert Flag.END_BEFORE_START in session.flags


def test_energy_without_an_accepted_badge_is_flagged() -> None:
    for status, flag in (("none", Flag.UNAUTHORIZED), ("Blocked", Flag.REFUSED)):
        session = begun()
        session.authorization_status = status
        close(session, 20, 1500)
        assert session.flags == {flag}
        session = begun()
        session.authorization_status = status
        close(session, 20, 1000)
        assert session.flags == frozenset()  # nothing flowed


# --- Numbers of 2.0.1 ---------------------------------------------------------------------------


@given(st.permutations(range(8)))
def test_in_whatever_order_events_come_no_gap_is_left(order: list[int]) -> None:
    session = begun()
    assert all(sessions.note_seq_no(session, number) for number in order)
    assert (session.seq_no_last, session.seq_no_missing) == (7, ())
    assert Flag.SEQ_GAP not in session.flags
    assert not any(sessions.note_seq_no(session, number) for number in order)


@given(st.sets(st.integers(0, 60), min_size=1))
def test_what_did_not_come_is_missing(numbers: set[int]) -> None:
    session = begun()
    for number in numbers:
        sessions.note_seq_no(session, number)
    missing = set(range(max(numbers))) - numbers
    assert set(session.seq_no_missing) == missing
    assert (Flag.SEQ_GAP in session.flags) == bool(missing)


def test_a_start_with_a_high_number_leaves_no_gap_before_it() -> None:
    session = begun()
    sessions.note_first_seq_no(session, 2_000_000_000)
    assert (session.seq_no_missing, session.flags) == ((), frozenset())
    sessions.note_seq_no(session, 2_000_000_002)
    assert session.seq_no_missing == (2_000_000_001,)


# --- Whatever a meter does ----------------------------------------------------------------------

REGISTERS = st.floats(-1e6, 1e9) | st.floats(0, 5000) | st.none()
READINGS = st.lists(st.tuples(st.floats(-60, 600), REGISTERS), max_size=12)


@given(start=REGISTERS, readings=READINGS, stop=REGISTERS, stop_at=st.floats(-60, 600))
def test_energy_is_never_negative_and_never_more_than_the_registers_showed(
    start: float | None,
    readings: list[tuple[float, float | None]],
    stop: float | None,
    stop_at: float,
) -> None:
    session = begun(start)
    for minutes, register in readings:
        measure(session, minutes, register)
        assert session.energy_wh is None or session.energy_wh >= 0
    close(session, stop_at, stop)
    if start is None or stop is None:
        assert session.energy_wh is None
        return
    shown = [start, *(register for _, register in readings if register is not None), stop]
    risen = sum(max(0.0, after - before) for before, after in _pairs(shown))
    if session.energy_wh is not None:
        assert 0 <= session.energy_wh <= risen + 0.01
    if stop < start:
        assert Flag.METER_BACKWARDS in session.flags


@given(
    steps=st.lists(st.floats(0, 300), min_size=3, max_size=12),
    glitch=st.floats(-1e6, 1e9),
    where=st.integers(0, 11),
)
def test_one_wrong_reading_among_good_ones_costs_nothing(
    steps: list[float], glitch: float, where: int
) -> None:
    session = begun(0)
    true = 0.0
    for number, step in enumerate(steps):
        true += step
        is_wrong = number == where % (len(steps) - 1)
        measure(session, 5 * (number + 1), glitch if is_wrong else true)
    close(session, 5 * (len(steps) + 1), true)
    assert session.energy_wh == energy_between_wh(0.0, true)


@given(
    before=st.lists(st.floats(1, 1000), min_size=1, max_size=6),
    after=st.lists(st.floats(1, 1000), min_size=3, max_size=6),
)
def test_a_reset_costs_at_most_what_flowed_around_it(
    before: list[float], after: list[float]
) -> None:
    session = begun(50_000)
    register, minutes = 50_000.0, 0
    for step in before:
        register, minutes = register + step, minutes + 5
        measure(session, minutes, register)
    register = 0.0
    for step in after:
        register, minutes = register + step, minutes + 5
        measure(session, minutes, register)
    close(session, minutes, register)
    flowed = sum(before) + sum(after)
    assert session.energy_wh is not None
    assert flowed - after[0] - 2 <= session.energy_wh <= flowed
    assert {Flag.METER_BACKWARDS, Flag.METER_DISCONTINUITY} <= session.flags


def _pairs(values: list[float]) -> list[tuple[float, float]]:
    return list(itertools.pairwise(values))
