"""When a driver may charge at a site: windows by the clock on its wall."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.domain.access import Access, Rule, access, zone_named

PARIS = ZoneInfo("Europe/Paris")
ZONES = [PARIS, ZoneInfo("Indian/Reunion"), ZoneInfo("America/Martinique"), ZoneInfo("UTC")]
SPRING = datetime(2026, 3, 29, 1, tzinfo=UTC)  # 02:00 becomes 03:00
AUTUMN = datetime(2026, 10, 25, 1, tzinfo=UTC)  # 03:00 becomes 02:00
MONDAY, SUNDAY = 1, 64
MINUTE = timedelta(minutes=1)


def at(text: str, fold: int = 0) -> datetime:
    """A moment by the clock of Paris."""
    return datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=fold).astimezone(UTC)


def hours(begin: str, end: str, weekdays: int = 127) -> Rule:
    def minute(text: str) -> int:
        return int(text[:2]) * 60 + int(text[3:])

    return Rule(weekdays, minute(begin), minute(end))


def test_nobody_without_a_rule_gets_in() -> None:
    assert access([], PARIS, SPRING) == (False, None, None)


def test_a_rule_of_the_whole_week_is_open_without_end() -> None:
    for rule in (Rule(), Rule(from_minute=480, to_minute=480)):
        assert access([rule], PARIS, AUTUMN) == (True, None, None)


def test_membership_bounds_what_is_always_open() -> None:
    begin, end = at("2026-05-01"), at("2026-09-01")
    rule = Rule(from_at=begin, to_at=end)
    assert access([rule], PARIS, begin - MINUTE) == Access(False, opens_at=begin)
    assert access([rule], PARIS, begin) == Access(True, until=end)
    assert access([rule], PARIS, end) == Access(False)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-05-04T07:59", Access(False, opens_at=at("2026-05-04T08:00"))),
        ("2026-05-04T08:00", Access(True, until=at("2026-05-04T18:30"))),
        ("2026-05-04T18:29", Access(True, until=at("2026-05-04T18:30"))),
        ("2026-05-04T18:30", Access(False, opens_at=at("2026-05-11T08:00"))),
    ],
)
def test_a_window_is_open_on_its_weekday_from_its_first_minute_to_its_last(
    moment: str, expected: Access
) -> None:
    assert access([hours("08:00", "18:30", MONDAY)], PARIS, at(moment)) == expected


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    night = [hours("22:00", "06:00", SUNDAY)]
    assert access(night, PARIS, at("2026-05-03T23:00")) == Access(True, at("2026-05-04T06:00"))
    assert access(night, PARIS, at("2026-05-04T05:59")).open
    assert not access(night, PARIS, at("2026-05-03T05:00")).open


def test_windows_that_touch_are_one() -> None:
    rules = [hours("08:00", "12:00"), hours("12:00", "15:00"), hours("14:00", "14:30")]
    assert access(rules, PARIS, at("2026-05-04T09:00")).until == at("2026-05-04T15:00")
    whole_week = [hours("00:00", "12:00"), hours("12:00", "24:00")]
    assert access(whole_week, PARIS, at("2026-05-04T09:00")) == (True, None, None)


def test_what_the_group_gives_ends_with_the_membership_in_the_middle_of_a_window() -> None:
    rule = hours("08:00", "18:00")._replace(to_at=at("2026-05-04T10:00"))
    assert access([rule], PARIS, at("2026-05-04T09:00")).until == at("2026-05-04T10:00")
    assert access([rule], PARIS, at("2026-05-04T10:00")) == Access(False)


def test_what_begins_in_years_is_not_told_of_yet() -> None:
    for year in (2028, 9999):
        rule = Rule(1, 0, 60, from_at=datetime(year, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
        assert access([rule], PARIS, SPRING) == Access(False)


def test_when_clocks_go_back_the_window_lasts_an_hour_more() -> None:
    night = [hours("22:00", "02:30")]
    first, second = at("2026-10-25T02:15"), at("2026-10-25T02:15", fold=1)
    assert second - first == timedelta(hours=1)
    until = at("2026-10-25T02:30", fold=1)
    assert access(night, PARIS, first) == access(night, PARIS, second) == Access(True, until)
    assert access(night, PARIS, at("2026-10-25T02:45")).open, "the end comes again"
    begins = [hours("02:15", "04:00")]
    assert access(begins, PARIS, at("2026-10-25T02:10", fold=1)).open, "it has begun before"


def test_when_clocks_go_forward_what_is_left_out_is_the_jump() -> None:
    jump = at("2026-03-29T03:00")
    assert jump == SPRING
    begins = [hours("02:30", "04:00", SUNDAY)]
    assert access(begins, PARIS, jump - MINUTE) == Access(False, opens_at=jump)
    assert access(begins, PARIS, jump) == Access(True, until=at("2026-03-29T04:00"))
    ends = [hours("22:00", "02:30")]
    assert access(ends, PARIS, jump - MINUTE).until == jump
    assert not access(ends, PARIS, jump).open
    whole = [hours("02:10", "02:40", SUNDAY)]
    assert access(whole, PARIS, jump).opens_at == at("2026-04-05T02:10"), "that night there is none"


def test_each_site_goes_by_its_own_clock() -> None:
    noon = datetime(2026, 5, 4, 12, tzinfo=UTC)
    rule = [hours("14:00", "15:00")]
    assert access(rule, PARIS, noon).open
    assert not access(rule, zone_named("Indian/Reunion"), noon).open


def test_a_zone_that_does_not_exist_is_utc() -> None:
    for name in ("Nowhere/At_all", "../etc", ""):
        assert zone_named(name).utcoffset(SPRING.replace(tzinfo=None)) == timedelta(0)


NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def around(moment: datetime, days: int) -> st.SearchStrategy[datetime]:
    return st.timedeltas(timedelta(days=-days), timedelta(days=days)).map(lambda t: moment + t)


dates = st.none() | around(SPRING, 2) | around(AUTUMN, 2) | around(NEW_YEAR, 365)
rules = st.builds(
    Rule,
    weekdays=st.integers(1, 127),
    from_minute=st.integers(0, 1439),
    to_minute=st.integers(1, 1440),
    from_at=dates,
    to_at=dates,
)
moments = around(SPRING, 2) | around(AUTUMN, 2) | around(NEW_YEAR, 365)


def by_the_wall(rule: Rule, zone: ZoneInfo, now: datetime) -> bool:
    """Whether the clock on the wall, read plainly, shows a time inside the window."""
    if rule.from_at is not None and now < rule.from_at:
        return False
    if rule.to_at is not None and now >= rule.to_at:
        return False
    wall = now.astimezone(zone)
    minute, day = wall.hour * 60 + wall.minute, wall.weekday()
    today, before = rule.weekdays >> day & 1, rule.weekdays >> (day - 1) % 7 & 1
    if rule.to_minute > rule.from_minute:
        return bool(today and rule.from_minute <= minute < rule.to_minute)
    return bool((today and minute >= rule.from_minute) or (before and minute < rule.to_minute))


@given(st.lists(rules, max_size=4), st.sampled_from(ZONES), moments)
def test_nobody_whose_clock_shows_an_hour_inside_is_refused(
    some: list[Rule], zone: ZoneInfo, now: datetime
) -> None:
    inside = any(by_the_wall(rule, zone, now) for rule in some)
    found = access(some, zone, now)
    if inside:
        assert found.open
    elif found.open:  # the hour that comes twice: between the two passings of a begin or an end
        assert abs(now - AUTUMN) < timedelta(hours=1)
        assert zone is PARIS


@given(st.lists(rules, max_size=4), st.sampled_from(ZONES), moments)
def test_what_is_told_of_later_is_true_later(
    some: list[Rule], zone: ZoneInfo, now: datetime
) -> None:
    found = access(some, zone, now)
    tick = timedelta(microseconds=1)
    if found.open:
        assert found.opens_at is None
        if found.until is not None:
            assert found.until > now
            assert not access(some, zone, found.until).open
            assert access(some, zone, found.until - tick).open
    else:
        assert found.until is None
        if found.opens_at is not None:
            assert found.opens_at > now
            assert access(some, zone, found.opens_at).open
            assert not access(some, zone, found.opens_at - tick).open
