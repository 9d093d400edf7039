"""Quiet hours on the local clock: over midnight, and on both nights when the clock changes."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from csms.domain.quiet_hours import end_of_quiet

PARIS = ZoneInfo("Europe/Paris")


def minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


@pytest.mark.parametrize(
    ("now", "begin", "end", "until"),
    [
        # over midnight
        ("2026-11-22T21:59+01:00", "22:00", "07:00", None),
        ("2026-11-22T22:00+01:00", "22:00", "07:00", "2026-11-23T07:00+01:00"),
        ("2026-11-23T00:30+01:00", "22:00", "07:00", "2026-11-23T07:00+01:00"),
        ("2026-11-23T06:59+01:00", "22:00", "07:00", "2026-11-23T07:00+01:00"),
        ("2026-11-23T07:00+01:00", "22:00", "07:00", None),
        # within a day
        ("2026-11-22T12:59+01:00", "12:00", "13:00", "2026-11-22T13:00+01:00"),
        ("2026-11-22T23:59+01:00", "00:00", "01:00", None),
        ("2026-11-22T00:00+01:00", "00:00", "23:59", "2026-11-22T23:59+01:00"),
        # the night that lacks 02:00 to 03:00
        ("2026-03-29T01:00+01:00", "22:00", "07:00", "2026-03-29T07:00+02:00"),
        ("2026-03-29T01:59+01:00", "22:00", "02:30", "2026-03-29T03:00+02:00"),
        ("2026-03-29T03:00+02:00", "22:00", "02:30", None),
        ("2026-03-29T03:10+02:00", "02:30", "04:00", "2026-03-29T04:00+02:00"),
        ("2026-03-29T01:59+01:00", "02:30", "04:00", None),
        # the night that has 02:00 to 03:00 twice
        ("2026-10-25T01:00+02:00", "22:00", "07:00", "2026-10-25T07:00+01:00"),
        ("2026-10-25T02:29+02:00", "22:00", "02:30", "2026-10-25T02:30+01:00"),
        ("2026-10-25T02:45+02:00", "22:00", "02:30", "2026-10-25T02:30+01:00"),
        ("2026-10-25T02:30+01:00", "22:00", "02:30", None),
        ("2026-10-25T02:30+02:00", "02:30", "04:00", "2026-10-25T04:00+01:00"),
    ],
)
def test_quiet_hours_end_when_the_clock_says_so(
    now: str, begin: str, end: str, until: str | None
) -> None:
    found = end_of_quiet(datetime.fromisoformat(now), minute(begin), minute(end), PARIS)
    assert found == (None if until is None else datetime.fromisoformat(until))


def test_they_are_those_of_the_zone() -> None:
    now = datetime.fromisoformat("2026-11-22T10:00+00:00")
    assert end_of_quiet(now, minute("22:00"), minute("07:00"), ZoneInfo("Indian/Reunion")) is None
    found = end_of_quiet(now, minute("22:00"), minute("07:00"), ZoneInfo("Pacific/Noumea"))
    assert found is None
    found = end_of_quiet(now, minute("20:00"), minute("07:00"), ZoneInfo("Pacific/Noumea"))
    assert found == datetime.fromisoformat("2026-11-23T07:00+11:00")
