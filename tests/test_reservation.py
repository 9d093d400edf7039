"""Reservations, pure: the table of states, what may be asked for, whom a reservation keeps out."""

from datetime import UTC, datetime, timedelta

import pytest

from csms.domain import reservation
from csms.domain.reservation import OPEN, Kept, Kind, Limits, State, after, fault_of, keeps_out

NOW = datetime(2026, 12, 1, 17, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LIMITS = Limits(2, 120, timedelta(days=14), timedelta(minutes=30))


def test_what_is_over_stays_over() -> None:
    for state in set(State) - OPEN:
        assert [after(state, kind) for kind in Kind] == [None] * len(Kind)


def test_whatever_is_open_can_be_cancelled_used_and_lost() -> None:
    for state in OPEN:
        assert after(state, Kind.CANCEL) is State.CANCELLED
        assert after(state, Kind.USE) is State.USED
        assert after(state, Kind.LAPSE) in (State.NO_SHOW, State.EXPIRED)


def test_every_state_is_reached_and_left_by_the_table() -> None:
    reached = {State.REQUESTED} | set(reservation.TRANSITIONS.values())
    assert reached == set(State)


def test_the_diagram_is_printed_from_the_table() -> None:
    lines = reservation.diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> requested"]
    assert "    confirmed --> no_show: nobody came in time" in lines
    assert "    no_show --> [*]" in lines
    assert len(lines) == 2 + len(reservation.TRANSITIONS) + len(State) - len(OPEN)


@pytest.mark.parametrize(
    ("begins", "lasts", "open_count", "code"),
    [
        (timedelta(0), timedelta(hours=2), 1, None),
        (timedelta(days=14), timedelta(hours=1), 0, None),
        (-2 * MINUTE, timedelta(hours=1), 0, "in_the_past"),
        (timedelta(0), 4 * MINUTE, 0, "too_short"),
        (timedelta(0), timedelta(hours=-1), 0, "too_short"),
        (timedelta(0), 121 * MINUTE, 0, "too_long"),
        (timedelta(days=14, minutes=1), timedelta(hours=1), 0, "too_far_ahead"),
        (timedelta(0), timedelta(hours=1), 2, "too_many_reservations"),
    ],
)
def test_what_a_driver_may_reserve(
    begins: timedelta, lasts: timedelta, open_count: int, code: str | None
) -> None:
    from_at = NOW + begins
    found = fault_of(from_at, from_at + lasts, open_count, LIMITS, NOW)
    assert (found.code if found else None) == code


def test_a_point_is_kept_for_a_while_and_not_beyond_its_time() -> None:
    end = NOW + timedelta(hours=1)
    assert reservation.lapses_at(NOW, end, timedelta(minutes=30)) == NOW + timedelta(minutes=30)
    assert reservation.lapses_at(NOW, end, timedelta(hours=2)) == end
    assert reservation.lapses_at(NOW, end, timedelta(0)) == end


def test_others_are_kept_out_of_what_is_reserved_while_it_is() -> None:
    kept = (Kept(1, NOW, NOW + timedelta(hours=1), frozenset({"hers"})),)
    evses = frozenset({1, 2})
    assert keeps_out(kept, "his", 1, evses, NOW)
    assert not keeps_out(kept, "hers", 1, evses, NOW)
    assert not keeps_out(kept, "his", 2, evses, NOW)
    assert not keeps_out(kept, "his", None, evses, NOW), "the other one is free"
    assert keeps_out(kept, "his", None, frozenset({1}), NOW)
    assert not keeps_out(kept, "his", 1, evses, NOW - MINUTE)
    assert not keeps_out(kept, "his", 1, evses, NOW + timedelta(hours=1))


def test_a_whole_station_keeps_others_out_everywhere() -> None:
    kept = (Kept(None, NOW, NOW + timedelta(hours=1), frozenset({"hers"})),)
    assert keeps_out(kept, "his", 2, frozenset({1, 2}), NOW)
    assert keeps_out(kept, "his", None, frozenset(), NOW)
    assert not keeps_out(kept, "hers", 2, frozenset({1, 2}), NOW)
