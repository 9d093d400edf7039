"""The calendar: which days count, and when a period ends. Every deadline of the house is from here.

Days are dates in Europe/Paris, moments are aware UTC. Nothing here reads the clock.

What counts as a day is a `Days`:

- OUVRABLE: all but Sundays and public holidays; Saturday counts (what the contract says where it
  says "jours ouvrables");
- OUVRE: Monday to Friday without public holidays;
- TARGET: days on which euro transfers settle;
- CALENDAR: every day.

Public holidays are the eleven of metropolitan France. `alsace_moselle` adds Good Friday and
26 December; it is a fact of a site, since Good Friday holds only where there is a Protestant or
mixed church. Leaving it out counts fewer holidays and so gives the earlier end.

Rule of prudence: for our own duties the earliest reading is kept to, for the client's rights the
latest is granted. Functions whose rule can be read both ways take a `Reading` and default to the
side that this rule asks for.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

import holidays

from csms.domain.values import UTC, add_months

__all__ = [
    "OFFICE_HOURS",
    "PARIS",
    "ROUND_THE_CLOCK",
    "Days",
    "OpeningHours",
    "Reading",
    "account_closing_deadline",
    "add_days",
    "add_months",
    "contest_window_end",
    "counts",
    "end_of_day",
    "end_of_period",
    "hours_deadline",
    "invoice_contest_end",
    "last_of",
    "next_day",
    "nth_of_month",
    "paris_day",
    "payout_date",
    "previous_day",
    "public_holidays",
    "request_deadline",
    "start_of_day",
    "statement_deadline",
    "statement_target",
    "target_closing_days",
]

PARIS: Final = ZoneInfo("Europe/Paris")
YEAR_MIN: Final = 2008  # Whit Monday is a holiday every year since then
YEAR_MAX: Final = 2100  # the library knows no holidays far beyond, and does not say so

_MOSELLE: Final = "57"
_TARGET: Final = "XECB"
_DAY: Final = timedelta(days=1)


class Days(StrEnum):
    """Which days count; see the module."""

    CALENDAR = "calendar"
    OUVRABLE = "ouvrable"
    OUVRE = "ouvre"
    TARGET = "target"


class Reading(StrEnum):
    """How a rule is read that can be read both ways."""

    EARLIEST = "earliest"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class OpeningHours:
    """Local hours during which time runs, on every day that counts.

    `closes` midnight is the end of the day; both midnight is the whole day. Hours are never across
    midnight. Raises: ValueError for hours of no length.
    """

    opens: time = time(9)
    closes: time = time(18)
    days: Days = Days.OUVRE
    alsace_moselle: bool = False

    def __post_init__(self) -> None:
        if self.closes != time(0) and self.closes <= self.opens:
            raise ValueError(f"open from {self.opens} to {self.closes}: not a span of one day")


OFFICE_HOURS: Final = OpeningHours()
ROUND_THE_CLOCK: Final = OpeningHours(time(0), time(0))


@cache
def public_holidays(year: int, *, alsace_moselle: bool = False) -> frozenset[date]:
    """Jours fériés of the year. Raises: ValueError outside 2008 to 2100."""
    _check(year)
    subdivision = _MOSELLE if alsace_moselle else None
    return frozenset(holidays.country_holidays("FR", subdiv=subdivision, years=year))


@cache
def target_closing_days(year: int) -> frozenset[date]:
    """Days, weekends apart, on which TARGET is closed. Raises: ValueError outside 2008 to 2100."""
    _check(year)
    return frozenset(holidays.financial_holidays(_TARGET, years=year))


def counts(day: date, days: Days, *, alsace_moselle: bool = False) -> bool:
    """Whether the day is one of those that count."""
    if days is Days.CALENDAR:
        return True
    if days is Days.TARGET:
        return day.weekday() < 5 and day not in target_closing_days(day.year)
    last_weekday = 5 if days is Days.OUVRABLE else 4  # Saturday, Friday
    return day.weekday() <= last_weekday and day not in public_holidays(
        day.year, alsace_moselle=alsace_moselle
    )


def next_day(day: date, days: Days, *, alsace_moselle: bool = False) -> date:
    """The day itself if it counts, else the first one after it that does."""
    while not counts(day, days, alsace_moselle=alsace_moselle):
        day += _DAY
    return day


def previous_day(day: date, days: Days, *, alsace_moselle: bool = False) -> date:
    """The day itself if it counts, else the last one before it that does."""
    while not counts(day, days, alsace_moselle=alsace_moselle):
        day -= _DAY
    return day


def add_days(day: date, number: int, days: Days, *, alsace_moselle: bool = False) -> date:
    """The `number`th day after `day` of those that count; `day` itself is day 0 and not counted.

    Raises: ValueError for a number below 1.
    """
    if number < 1:
        raise ValueError(f"the {number}th day after a day")
    for _ in range(number):
        day = next_day(day + _DAY, days, alsace_moselle=alsace_moselle)
    return day


def nth_of_month(month: date, number: int, days: Days, *, alsace_moselle: bool = False) -> date:
    """The `number`th day of the month that counts; `month` is any day of it.

    Raises: ValueError when the month has not so many.
    """
    before = month.replace(day=1) - _DAY
    found = add_days(before, number, days, alsace_moselle=alsace_moselle)
    if (found.year, found.month) != (month.year, month.month):
        raise ValueError(f"{month:%Y-%m} has no {number}th day of {days}")
    return found


def last_of(month: date, day_of_month: int, days: Days) -> date:
    """The last day that counts up to and including that day of the month."""
    return previous_day(month.replace(day=day_of_month), days)


def statement_deadline(month: date, *, alsace_moselle: bool = False) -> date:
    """The last day for the statement of a month of service: 5th jour ouvrable of the next (C01).

    `month` is any day of the month of service. Ends with that day. It is our duty: leave the local
    holidays out for the earliest reading.
    """
    following = add_months(month.replace(day=1), 1)
    return nth_of_month(following, 5, Days.OUVRABLE, alsace_moselle=alsace_moselle)


def statement_target(month: date, *, alsace_moselle: bool = False) -> date:
    """The day on which the statement of a month of service is to go out: 1st jour ouvré of the
    next, which leaves the client's ten days before the payout (T1)."""
    following = add_months(month.replace(day=1), 1)
    return nth_of_month(following, 1, Days.OUVRE, alsace_moselle=alsace_moselle)


def payout_date(month: date) -> date:
    """The day on which what was collected in a month is to reach the client: the last TARGET day
    up to and including the 15th of the next (C05)."""
    return last_of(add_months(month.replace(day=1), 1), 15, Days.TARGET)


def contest_window_end(
    delivered_on: date, *, days_open: int = 10, reading: Reading = Reading.EARLIEST
) -> date:
    """The last day on which the client may contest a statement (C02): ten calendar days, the day
    of delivery not counted.

    EARLIEST is what the contract says; LATEST carries an end on a Saturday, Sunday or holiday over
    to the next jour ouvré: what comes until then is taken all the same.
    """
    if days_open < 1:
        raise ValueError("a window of no days")
    end = delivered_on + timedelta(days=days_open)
    return end if reading is Reading.EARLIEST else next_day(end, Days.OUVRE)


def invoice_contest_end(available_on: date, *, reading: Reading = Reading.EARLIEST) -> date:
    """The last day on which the client may contest an invoice issued in its name (C04): fifteen
    calendar days from when it was made available; as `contest_window_end`."""
    return contest_window_end(available_on, days_open=15, reading=reading)


def end_of_period(last: date) -> date:
    """Where a period ends by article 3(4) of Regulation 1182/71: on its last day, or on the next
    working day where that is a public holiday, a Sunday or a Saturday."""
    return next_day(last, Days.OUVRE)


def request_deadline(
    received_on: date, *, months: int = 1, reading: Reading = Reading.LATEST
) -> date:
    """The last day to answer a person's request (GDPR article 12(3)): one month, or three where it
    was extended.

    The month ends with the day of the same number, or the month's last where there is none.
    LATEST, the law's own end, goes on to the next working day by `end_of_period`; EARLIEST does
    not, for those who rather answer before.
    """
    last = add_months(received_on, months)
    return end_of_period(last) if reading is Reading.LATEST else last


def account_closing_deadline(requested_on: date, *, alsace_moselle: bool = False) -> date:
    """The last day to close an account: fifteen jours ouvrables after the request."""
    return add_days(requested_on, 15, Days.OUVRABLE, alsace_moselle=alsace_moselle)


def hours_deadline(since: datetime, hours: float, opening: OpeningHours = OFFICE_HOURS) -> datetime:
    """When so many open hours ("heures ouvrées", C18) have passed since a moment, in UTC.

    Time runs during the opening hours only, in hours that have really passed: the two nights of the
    clock change have an hour more or less. The contract states no opening hours;
    `ROUND_THE_CLOCK` is the earliest reading. An end that falls on closing time is that time.

    Raises: ValueError for a time without a zone, or hours not above 0.
    """
    if since.tzinfo is None:
        raise ValueError("a moment without a zone")
    if not hours > 0:
        raise ValueError(f"{hours} hours")
    left = timedelta(hours=hours)
    now = since.astimezone(UTC)
    day = paris_day(now)
    while True:
        day = next_day(day, opening.days, alsace_moselle=opening.alsace_moselle)
        opens, closes = _open_span(day, opening)
        begins = max(now, opens)
        if begins < closes:
            if begins + left <= closes:
                return begins + left
            left -= closes - begins
        day += _DAY


def paris_day(moment: datetime) -> date:
    """The date in Paris at a moment. Raises: ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    return moment.astimezone(PARIS).date()


def start_of_day(day: date, zone: tzinfo = PARIS) -> datetime:
    """The first moment of a local day, in UTC."""
    return datetime.combine(day, time(0), zone).astimezone(UTC)


def end_of_day(day: date, zone: tzinfo = PARIS) -> datetime:
    """The first moment after a local day, in UTC: whatever is before it was in time."""
    return start_of_day(day + _DAY, zone)


def _open_span(day: date, opening: OpeningHours) -> tuple[datetime, datetime]:
    opens = datetime.combine(day, opening.opens, PARIS).astimezone(UTC)
    if opening.closes == time(0):
        return opens, end_of_day(day)
    return opens, datetime.combine(day, opening.closes, PARIS).astimezone(UTC)


def _check(year: int) -> None:
    if not YEAR_MIN <= year <= YEAR_MAX:
        raise ValueError(f"no calendar of {year}: only {YEAR_MIN} to {YEAR_MAX}")
