"""Hours of the local clock in which somebody is not to be disturbed."""

import re
from datetime import date, datetime, time, timedelta, tzinfo

from csms.domain.values import UTC

MINUTES_A_DAY = 1_440


def minute_of(text: str) -> int | None:
    """The minute of the day that a clock shows as 22:00; None when no clock shows that."""
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        return None
    return int(text[:2]) * 60 + int(text[3:])


def clock_of(minute: int) -> str:
    """A minute of the day as a clock shows it: 22:00."""
    return f"{minute // 60:02}:{minute % 60:02}"


def end_of_quiet(now: datetime, from_minute: int, to_minute: int, zone: tzinfo) -> datetime | None:
    """When the quiet hours that now lies in end, in UTC; None when it lies in none.

    Minutes are those of the day on the zone's clock, 0 to 1439; hours whose end is before their
    begin end the next day. A minute that the clock shows twice begins at its first time and ends
    at its second; one that the clock leaps over stands for the leap.
    """
    today = now.astimezone(zone).date()
    ends_next_day = to_minute < from_minute
    for day in (today - timedelta(days=1), today):
        begin, _ = _moments(day, from_minute, zone)
        _, end = _moments(day + timedelta(days=1) if ends_next_day else day, to_minute, zone)
        if begin <= now < end:
            return end
    return None


def _moments(day: date, minute: int, zone: tzinfo) -> tuple[datetime, datetime]:
    """First and last moment, in UTC, at which the clock shows this minute of the day."""
    wall = datetime.combine(day, time(minute // 60, minute % 60))
    first = wall.replace(tzinfo=zone).astimezone(UTC)
    last = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if last >= first:
        return first, last
    leap = last  # before the clock leapt; it never showed this minute
    while leap.astimezone(zone).replace(tzinfo=None) < wall:
        leap += timedelta(minutes=1)
    return leap, leap
