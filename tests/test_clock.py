"""What time is believed of a station, and how its times are read."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csms.domain.clock import (
    ClockRules,
    believed_time,
    local_time,
    parse_time,
    skew_of_live_message,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RULES = ClockRules(skew_max_s=600, offline_age_max_s=92 * 86_400)
PARIS = ZoneInfo("Europe/Paris")


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


@pytest.mark.parametrize("age", [{}, {"minutes": 9}, {"hours": 5}, {"days": 91}, {"minutes": -9}])
def test_a_plausible_time_is_believed_as_stated(age: dict[str, float]) -> None:
    assert believed_time(ago(**age), NOW, None, RULES) == (ago(**age), None)


@pytest.mark.parametrize(
    ("stated", "doubt"),
    [
        (None, "clock_missing"),
        (datetime(1970, 1, 1, tzinfo=UTC), "clock_implausible"),
        (datetime(2000, 1, 1, tzinfo=UTC), "clock_implausible"),
        (datetime(2019, 12, 31, tzinfo=UTC), "clock_implausible"),
        (NOW - timedelta(days=93), "clock_implausible"),
        (NOW + timedelta(minutes=11), "clock_ahead"),
        (NOW + timedelta(days=4000), "clock_ahead"),
    ],
)
def test_an_implausible_time_gives_way_to_the_time_of_receipt(
    stated: datetime | None, doubt: str
) -> None:
    assert believed_time(stated, NOW, None, RULES) == (NOW, doubt)


def test_a_known_skew_corrects_times_but_never_into_the_future() -> None:
    hour_ahead = 3600.0
    stated = NOW + timedelta(minutes=50)
    assert believed_time(stated, NOW, hour_ahead, RULES) == (ago(minutes=10), "clock_corrected")
    late = NOW + timedelta(minutes=70)
    assert believed_time(late, NOW, hour_ahead, RULES) == (NOW, "clock_corrected")
    behind = -7200.0
    assert believed_time(ago(hours=3), NOW, behind, RULES) == (ago(hours=1), "clock_corrected")


def test_a_small_skew_corrects_nothing() -> None:
    assert believed_time(ago(minutes=3), NOW, 599.0, RULES) == (ago(minutes=3), None)


@given(
    stated=st.none() | st.datetimes(timezones=st.just(UTC)),
    received=st.datetimes(
        min_value=datetime(2022, 1, 1),  # noqa: DTZ001 - so the strategy wants it
        max_value=datetime(2100, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    skew_s=st.none() | st.floats(-3e11, 3e11),
)
def test_some_time_is_always_believed(
    stated: datetime | None, received: datetime, skew_s: float | None
) -> None:
    believed = believed_time(stated, received, skew_s, RULES)
    assert believed.at <= received + timedelta(seconds=RULES.skew_max_s)
    assert believed.doubt is not None or believed.at == stated


def test_a_live_message_shows_the_skew() -> None:
    assert skew_of_live_message(NOW + timedelta(seconds=90), NOW) == 90.0
    assert skew_of_live_message(NOW - timedelta(hours=1), NOW) == -3600.0
    assert skew_of_live_message(datetime(1970, 1, 1, tzinfo=UTC), NOW) is None
    assert skew_of_live_message(None, NOW) is None


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T12:00:00Z",
        "2026-11-22T12:00:00.000Z",
        "2026-11-22T13:00:00+01:00",
        "2026-11-22T12:00:00.000000000Z",
        "2026-11-22 12:00:00Z",
        "2026-11-22t12:00:00z",
        " 2026-11-22T12:00:00Z ",
        "2026-11-22T12:00Z",
        "20261122T120000Z",
    ],
)
def test_times_are_read_as_stations_write_them(text: str) -> None:
    assert parse_time(text) == (NOW, None)


def test_a_time_without_a_zone_is_read_as_utc_and_marked() -> None:
    moment, deviation = parse_time("2026-11-22T12:00:00")
    assert (moment, deviation) == (NOW, "time_without_zone")
    assert moment is not None
    assert moment.fold == 1
    marked = [parse_time(text)[0] for text in ("2026-11-22T12:00:00Z", "1795348800")]
    assert [found is not None and found.fold for found in marked] == [0, 0]


@pytest.mark.parametrize(
    ("wall", "utc"),
    [
        ("2026-11-22T13:00:00", "2026-11-22T12:00:00Z"),
        ("2026-07-22T14:00:00", "2026-07-22T12:00:00Z"),
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),  # comes twice: the first is taken
        ("2026-03-29T02:30:00", "2026-03-29T01:30:00Z"),  # does not exist
    ],
)
def test_a_time_without_a_zone_may_be_what_the_wall_clock_shows(wall: str, utc: str) -> None:
    moment, _ = parse_time(wall)
    assert moment is not None
    assert local_time(moment, PARIS) == parse_time(utc)[0]


def test_local_time_at_the_end_of_the_calendar_stays_as_it_is() -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)
    assert local_time(first, PARIS) == first


@pytest.mark.parametrize("text", ["1795348800", "1795348800000"])
def test_epoch_seconds_and_milliseconds_are_read(text: str) -> None:
    moment = datetime.fromtimestamp(1_795_348_800, UTC)
    assert parse_time(text) == (moment, "time_as_number")


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "yesterday", "12:00", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z"),
        *("99999999999999999999", "--123456789", "²²²²²²²²²²", "9" * 5000),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"),
    ],
)
def test_what_is_no_time_is_unreadable(text: str) -> None:
    assert parse_time(text) == (None, "time_unreadable")


@settings(max_examples=50)
@given(st.text("-+0123456789TZtz:. ²٣", max_size=40) | st.text(max_size=40))
def test_no_text_makes_the_reading_of_times_fail(text: str) -> None:
    moment, deviation = parse_time(text)
    assert (moment is None) == (deviation == "time_unreadable")
    assert moment is None or moment.utcoffset() == timedelta(0)


@given(
    st.datetimes(
        min_value=datetime(1971, 1, 1),  # noqa: DTZ001 - so the strategy wants it
        max_value=datetime(9000, 1, 1),  # noqa: DTZ001
        timezones=st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))),
    )
)
def test_every_rfc_3339_time_is_read_exactly(moment: datetime) -> None:
    assert parse_time(moment.isoformat()) == (moment, None)
