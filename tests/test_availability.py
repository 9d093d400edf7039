"""Availability of a point: states that tile the period, whole seconds, stated definitions."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.domain.station import STATUSES
from reporting.availability import (
    WHOLE_STATION,
    Availability,
    Kind,
    Link,
    Period,
    Report,
    State,
    Window,
    intervals,
    measure,
    paris_days,
)

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = Period(START, START + timedelta(days=1))


def hour(hours: float) -> datetime:
    return START + timedelta(hours=hours)


UP = (Link(hour(-5), True),)
FREE = Report(hour(-4), "available")

TIMES = st.integers(-(10**11), 2 * 10**11).map(lambda us: START + timedelta(microseconds=us))
REPORTS = st.lists(
    st.builds(
        Report, TIMES, st.sampled_from(sorted(STATUSES)), st.sampled_from([WHOLE_STATION, 0, 1, 2])
    ),
    max_size=12,
)
LINKS = st.lists(st.builds(Link, TIMES, st.booleans()), max_size=6)
WINDOWS = st.lists(st.builds(Window, TIMES, TIMES, st.sampled_from(Kind)), max_size=5)


@given(REPORTS, LINKS, WINDOWS)
def test_intervals_tile_the_period(
    reports: list[Report], links: list[Link], windows: list[Window]
) -> None:
    tiles = intervals(DAY, reports, links, windows)
    assert (tiles[0].starts_at, tiles[-1].ends_at) == (DAY.starts_at, DAY.ends_at)
    for one, next_one in pairwise(tiles):
        assert one.ends_at == next_one.starts_at
        assert (one.state, one.window) != (next_one.state, next_one.window)
    assert all(tile.duration_s > 0 for tile in tiles)
    found = measure(tiles)
    assert found.denominator_s + found.unknown_s + found.left_out_s == 86_400


@given(REPORTS, LINKS, WINDOWS, st.builds(Window, TIMES, TIMES, st.sampled_from(Kind)))
def test_a_window_never_raises_the_denominator(
    reports: list[Report], links: list[Link], windows: list[Window], more: Window
) -> None:
    before = measure(intervals(DAY, reports, links, windows))
    after = measure(intervals(DAY, reports, links, [*windows, more]))
    assert after.up_s <= before.up_s
    assert after.down_s <= before.down_s
    assert after.unknown_s <= before.unknown_s


@given(REPORTS, LINKS, WINDOWS, st.randoms(use_true_random=False))
def test_order_does_not_matter(
    reports: list[Report], links: list[Link], windows: list[Window], random: Random
) -> None:
    shuffled = (
        random.sample(reports, len(reports)),
        random.sample(links, len(links)),
        random.sample(windows, len(windows)),
    )
    assert intervals(DAY, *shuffled) == intervals(DAY, reports, links, windows)


@given(REPORTS, LINKS, WINDOWS, st.integers(1, 86_399))
def test_two_parts_of_a_period_add_up(
    reports: list[Report], links: list[Link], windows: list[Window], cut_s: int
) -> None:
    cut = START + timedelta(seconds=cut_s)
    parts = [Period(DAY.starts_at, cut), Period(cut, DAY.ends_at)]
    first, second = (measure(intervals(part, reports, links, windows)) for part in parts)
    assert first + second == measure(intervals(DAY, reports, links, windows))


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_every_status_of_a_station_has_a_state(status: str) -> None:
    (tile,) = intervals(DAY, [Report(hour(-1), status)], UP)
    assert (tile.state is State.UNKNOWN) == (status == "unknown")


def test_offline_counts_against() -> None:
    found = measure(intervals(DAY, [FREE], [*UP, Link(hour(6), False), Link(hour(12), True)]))
    assert found == Availability(18 * 3600, 6 * 3600, 0, 0)
    assert found.hundredths_of_percent == 7500


def test_planned_work_and_exclusions_leave_the_denominator() -> None:
    fault = [FREE, Report(hour(2), "faulted"), Report(hour(6), "charging")]
    windows = [
        Window(hour(1), hour(4), Kind.PLANNED),
        Window(hour(3), hour(5), Kind.EXCLUDED),
    ]
    tiles = intervals(DAY, fault, UP, windows)
    assert measure(tiles) == Availability(19 * 3600, 3600, 0, 4 * 3600)
    excluded = [tile for tile in tiles if tile.window is Kind.EXCLUDED]
    assert sum(tile.duration_s for tile in excluded) == 2 * 3600


def test_what_is_not_known_is_said_apart() -> None:
    found = measure(intervals(DAY, [Report(hour(8), "available")], [Link(hour(4), True)]))
    assert found == Availability(16 * 3600, 0, 8 * 3600, 0)
    assert found.hundredths_of_percent == 10_000
    assert measure(intervals(DAY, [], [])).hundredths_of_percent is None


def test_a_fault_of_the_station_is_one_of_its_points() -> None:
    whole = [Report(hour(3), "faulted", WHOLE_STATION), Report(hour(4), "available", WHOLE_STATION)]
    assert measure(intervals(DAY, [FREE, *whole], UP)).down_s == 3600


def test_a_point_is_as_its_best_connector() -> None:
    reports = [Report(hour(-1), "faulted", 1), Report(hour(-1), "available", 2)]
    assert measure(intervals(DAY, reports, UP)).up_s == 86_400
    later = [*reports, Report(hour(12), "faulted", 2)]
    assert measure(intervals(DAY, later, UP)).up_s == 43_200


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)]
)
def test_a_day_of_paris_has_the_hours_it_has(day: date, hours: int) -> None:
    period = paris_days(day, day)
    assert period.duration_s == hours * 3600
    down = [Link(period.starts_at, True), Link(period.ends_at - timedelta(hours=1), False)]
    found = measure(intervals(period, [Report(period.starts_at, "available")], down))
    assert (found.up_s, found.down_s) == ((hours - 1) * 3600, 3600)


@pytest.mark.parametrize(
    ("up_s", "down_s", "expected"), [(1, 2, 3333), (2, 1, 6667), (1, 19_999, 1), (1, 20_001, 0)]
)
def test_percentages_are_rounded_half_up(up_s: int, down_s: int, expected: int) -> None:
    assert Availability(up_s, down_s, 0, 0).hundredths_of_percent == expected


def test_bad_periods_and_words_are_refused() -> None:
    for starts_at, ends_at in (
        (START, START),
        (START.replace(tzinfo=None), hour(1)),
        (START, START + timedelta(microseconds=1)),
    ):
        with pytest.raises(ValueError):
            Period(starts_at, ends_at)
    with pytest.raises(ValueError, match="nonsense"):
        intervals(DAY, [Report(START, "nonsense")], UP)


def test_a_change_counts_from_the_second_in_which_it_happened() -> None:
    change = START + timedelta(seconds=61, microseconds=999_999)
    tiles = intervals(DAY, [FREE, Report(change, "faulted")], UP)
    assert [tile.duration_s for tile in tiles] == [61, 86_400 - 61]
