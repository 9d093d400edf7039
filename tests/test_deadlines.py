"""The calendar, against a table for 2026 to 2030 that is frozen in tests/data/deadlines.json, and
against a second calculation that knows nothing of the library: Easter by the algorithm of Meeus,
Jones and Butcher. A library that changes its mind is noticed here."""

import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms import deadlines
from csms.deadlines import Days, OpeningHours, Reading

TABLE: dict[str, Any] = json.loads(
    (Path(__file__).parent / "data" / "deadlines.json").read_text(encoding="utf-8")
)
YEARS = range(2026, 2031)
MONTHS = [date(year, month, 1) for year in YEARS for month in range(1, 13)]
DAYS_TESTED = st.dates(date(2009, 1, 1), date(2099, 12, 31))


def easter(year: int) -> date:
    """Easter Sunday, by Meeus, Jones and Butcher."""
    a, (b, c) = year % 19, divmod(year, 100)
    (d, e), f = divmod(b, 4), (b + 8) // 25
    g = (b - f + 1) // 3
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)


def holidays_by_hand(year: int, *, alsace_moselle: bool = False) -> set[date]:
    fixed = [(1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25)]
    moving = [1, 39, 50]  # after Easter: its Monday, Ascension, Whit Monday
    if alsace_moselle:
        fixed.append((12, 26))
        moving.append(-2)
    return {date(year, *day) for day in fixed} | {
        easter(year) + timedelta(days=days) for days in moving
    }


def target_by_hand(year: int) -> set[date]:
    sunday = easter(year)
    return {
        *(date(year, *day) for day in ((1, 1), (5, 1), (12, 25), (12, 26))),
        *(sunday - timedelta(days=2), sunday + timedelta(days=1)),
    }


def nth_by_hand(month: date, number: int, weekdays: int, closed: set[date]) -> date:
    found = [
        day
        for day in (month + timedelta(days=n) for n in range(31))
        if day.month == month.month and day.isoweekday() <= weekdays and day not in closed
    ]
    return found[number - 1]


def texts(days: Any) -> list[str]:
    return [day.isoformat() for day in sorted(days)]


def after(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1)


@pytest.mark.parametrize("year", YEARS)
def test_holidays_are_those_of_the_table_and_of_the_second_calculation(year: int) -> None:
    frozen = TABLE["years"][str(year)]
    metropole = deadlines.public_holidays(year)
    moselle = deadlines.public_holidays(year, alsace_moselle=True)
    target = deadlines.target_closing_days(year)
    assert texts(metropole) == frozen["holidays"] == texts(holidays_by_hand(year))
    assert texts(moselle - metropole) == frozen["alsace_moselle"]
    assert moselle == holidays_by_hand(year, alsace_moselle=True)
    assert texts(target) == frozen["target_closed"] == texts(target_by_hand(year))


@pytest.mark.parametrize("year", range(2008, 2101))
def test_the_library_knows_the_holidays_of_the_century(year: int) -> None:
    assert deadlines.public_holidays(year) == holidays_by_hand(year)
    assert deadlines.public_holidays(year, alsace_moselle=True) == holidays_by_hand(
        year, alsace_moselle=True
    )
    assert deadlines.target_closing_days(year) == target_by_hand(year)


@pytest.mark.parametrize("year", [1998, 2007, 2101, 2500])
def test_a_year_that_the_library_knows_nothing_of_is_refused(year: int) -> None:
    with pytest.raises(ValueError, match="no calendar"):
        deadlines.public_holidays(year)
    with pytest.raises(ValueError, match="no calendar"):
        deadlines.target_closing_days(year)


@pytest.mark.parametrize("month", MONTHS, ids=str)
def test_each_month_has_the_deadlines_of_the_table(month: date) -> None:
    """The row of a month gives what is due in it, for the service of the month before."""
    service = month - timedelta(days=1)
    row = TABLE["months"][f"{month:%Y-%m}"]
    fifth = deadlines.statement_deadline(service)
    assert {
        "statement_target": deadlines.statement_target(service).isoformat(),
        "statement_deadline": fifth.isoformat(),
        "statement_deadline_alsace_moselle": deadlines.statement_deadline(
            service, alsace_moselle=True
        ).isoformat(),
        "contest_window_end": deadlines.contest_window_end(fifth).isoformat(),
        "payout": deadlines.payout_date(service).isoformat(),
    } == row
    closed = holidays_by_hand(month.year)
    assert row["statement_target"] == nth_by_hand(month, 1, 5, closed).isoformat()
    assert row["statement_deadline"] == nth_by_hand(month, 5, 6, closed).isoformat()
    local = holidays_by_hand(month.year, alsace_moselle=True)
    assert row["statement_deadline_alsace_moselle"] == nth_by_hand(month, 5, 6, local).isoformat()
    open_days = [
        day
        for day in (month + timedelta(days=n) for n in range(15))
        if day.isoweekday() <= 5 and day not in target_by_hand(month.year)
    ]
    assert row["payout"] == open_days[-1].isoformat()


def test_the_table_has_every_month_and_no_other() -> None:
    assert list(TABLE["months"]) == [f"{month:%Y-%m}" for month in MONTHS]
    assert list(TABLE["years"]) == [str(year) for year in YEARS]


def test_the_figures_measured_before() -> None:
    november, may = TABLE["months"]["2026-11"], TABLE["months"]["2027-05"]
    keys = ("statement_deadline", "contest_window_end", "payout")
    assert [november[key] for key in keys] == ["2026-11-06", "2026-11-16", "2026-11-13"]
    assert [may[key] for key in keys] == ["2027-05-10", "2027-05-20", "2027-05-14"]


def test_a_statement_on_its_last_day_never_leaves_the_window_before_the_payout() -> None:
    """Why the statement goes out on the first jour ouvré (T1)."""
    assert all(row["contest_window_end"] >= row["payout"] for row in TABLE["months"].values())


@pytest.mark.parametrize("year", YEARS)
def test_both_clock_changes_are_those_of_the_table(year: int) -> None:
    spring, autumn = (datetime.fromisoformat(text) for text in TABLE["years"][str(year)]["clocks"])
    for change, month, length_h in ((spring, 3, 23), (autumn, 10, 25)):
        last = date(year, month, 31)
        sunday = last - timedelta(days=last.isoweekday() % 7)
        assert change == datetime(year, month, sunday.day, 1, tzinfo=UTC)
        starts, ends = deadlines.start_of_day(sunday), deadlines.end_of_day(sunday)
        assert ends - starts == timedelta(hours=length_h)
        assert starts < change < ends
        before = change.astimezone(deadlines.PARIS).utcoffset()
        assert before != (change - timedelta(seconds=1)).astimezone(deadlines.PARIS).utcoffset()


def paris(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=deadlines.PARIS).astimezone(UTC)


ALL_DAYS = OpeningHours(time(0), time(0), Days.CALENDAR)


@pytest.mark.parametrize(
    ("since", "hours", "opening", "ends"),
    [
        # Monday to Friday, nine hours a day: 48 hours are five days and three hours.
        ("2026-11-16T09:00", 48, deadlines.OFFICE_HOURS, "2026-11-23T12:00"),
        ("2026-11-20T17:30", 1, deadlines.OFFICE_HOURS, "2026-11-23T09:30"),  # over a weekend
        ("2026-11-20T17:00", 1, deadlines.OFFICE_HOURS, "2026-11-20T18:00"),  # ends at closing time
        ("2026-11-21T03:00", 2, deadlines.OFFICE_HOURS, "2026-11-23T11:00"),  # told on a Saturday
        ("2026-11-10T17:00", 2, deadlines.OFFICE_HOURS, "2026-11-12T10:00"),  # 11 November
        ("2026-11-20T17:30", 1, OpeningHours(days=Days.OUVRABLE), "2026-11-21T09:30"),
        # Good Friday and 26 December, where they are holidays.
        ("2027-03-25T17:00", 2, deadlines.OFFICE_HOURS, "2027-03-26T10:00"),
        ("2027-03-25T17:00", 2, OpeningHours(alsace_moselle=True), "2027-03-30T10:00"),
        ("2028-12-22T17:00", 2, deadlines.OFFICE_HOURS, "2028-12-26T10:00"),
        ("2028-12-22T17:00", 2, OpeningHours(alsace_moselle=True), "2028-12-27T10:00"),
        # Over the weekend of each clock change: the wall clock says the same hour.
        ("2026-10-23T17:00", 2, deadlines.OFFICE_HOURS, "2026-10-26T10:00"),
        ("2027-03-26T17:00", 2, deadlines.OFFICE_HOURS, "2027-03-30T10:00"),  # Easter Monday too
        # Where the night of the change itself counts it has the hours that it has.
        ("2026-10-24T12:00", 24, ALL_DAYS, "2026-10-25T11:00"),
        ("2027-03-27T12:00", 24, ALL_DAYS, "2027-03-28T13:00"),
        ("2026-10-23T00:00", 48, deadlines.ROUND_THE_CLOCK, "2026-10-27T00:00"),
    ],
)
def test_open_hours_run_while_it_is_open(
    since: str, hours: float, opening: OpeningHours, ends: str
) -> None:
    assert deadlines.hours_deadline(paris(since), hours, opening) == paris(ends)


def test_the_end_of_open_hours_is_in_utc() -> None:
    since = datetime(2026, 10, 23, 15, tzinfo=UTC)  # 17:00 in summer
    assert deadlines.hours_deadline(since, 2).isoformat() == "2026-10-26T09:00:00+00:00"


@given(
    since=st.datetimes(datetime(2026, 1, 1), datetime(2030, 12, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    first=st.floats(0.01, 60),
    second=st.floats(0.01, 60),
)
def test_open_hours_add_up(since: datetime, first: float, second: float) -> None:
    once = deadlines.hours_deadline(since, first + second)
    twice = deadlines.hours_deadline(deadlines.hours_deadline(since, first), second)
    assert abs(once - twice) < timedelta(milliseconds=1)
    assert deadlines.hours_deadline(since, first, deadlines.ROUND_THE_CLOCK) <= once


@pytest.mark.parametrize("hours", [0, -1, float("nan")])
def test_no_hours_have_no_end(hours: float) -> None:
    with pytest.raises(ValueError, match="hours"):
        deadlines.hours_deadline(datetime(2026, 1, 1, tzinfo=UTC), hours)


def test_a_moment_without_a_zone_and_hours_of_no_length_are_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        deadlines.hours_deadline(datetime(2026, 1, 1), 1)  # noqa: DTZ001
    with pytest.raises(ValueError, match="zone"):
        deadlines.paris_day(datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="span"):
        OpeningHours(time(18), time(9))


@pytest.mark.parametrize(
    ("received", "months", "latest", "earliest"),
    [
        ("2026-03-05", 1, "2026-04-07", "2026-04-05"),  # Easter Sunday; Monday is a holiday too
        ("2026-03-06", 1, "2026-04-07", "2026-04-06"),  # Easter Monday
        ("2026-08-31", 1, "2026-09-30", "2026-09-30"),  # no 31 September
        ("2027-01-29", 1, "2027-03-01", "2027-02-28"),  # no 29 February, and a Sunday
        ("2028-01-31", 1, "2028-02-29", "2028-02-29"),
        ("2026-10-14", 1, "2026-11-16", "2026-11-14"),  # a Saturday
        ("2026-10-11", 1, "2026-11-12", "2026-11-11"),
        ("2026-11-25", 3, "2027-02-25", "2027-02-25"),  # extended
    ],
)
def test_a_request_is_answered_within_the_month(
    received: str, months: int, latest: str, earliest: str
) -> None:
    day = date.fromisoformat(received)
    assert deadlines.request_deadline(day, months=months).isoformat() == latest
    early = deadlines.request_deadline(day, months=months, reading=Reading.EARLIEST)
    assert early.isoformat() == earliest


def test_the_client_may_contest_until_the_working_day_after_a_free_one() -> None:
    sent = date(2026, 12, 15)
    assert deadlines.contest_window_end(sent) == date(2026, 12, 25)
    assert deadlines.contest_window_end(sent, reading=Reading.LATEST) == date(2026, 12, 28)
    assert deadlines.invoice_contest_end(sent) == date(2026, 12, 30)
    with pytest.raises(ValueError, match="window"):
        deadlines.contest_window_end(sent, days_open=0)


def test_an_account_is_closed_within_fifteen_jours_ouvrables() -> None:
    # Friday 30 October 2026: two Sundays are free, and 11 November (1 November is a Sunday).
    assert deadlines.account_closing_deadline(date(2026, 10, 30)) == date(2026, 11, 18)


@pytest.mark.parametrize(
    ("day", "months", "later"),
    [
        ("2027-01-31", 1, "2027-02-28"),
        ("2028-01-31", 1, "2028-02-29"),
        ("2027-03-31", -1, "2027-02-28"),
        ("2026-12-15", 1, "2027-01-15"),
        ("2027-01-15", -1, "2026-12-15"),
        ("2028-02-29", 12, "2029-02-28"),
        ("2026-05-25", 36, "2029-05-25"),
        ("2026-05-25", 0, "2026-05-25"),
    ],
)
def test_months_are_added_within_the_month(day: str, months: int, later: str) -> None:
    assert deadlines.add_months(date.fromisoformat(day), months).isoformat() == later


def test_a_month_has_no_fortieth_day() -> None:
    with pytest.raises(ValueError, match="no 40th"):
        deadlines.nth_of_month(date(2026, 11, 5), 40, Days.CALENDAR)
    with pytest.raises(ValueError, match="0th"):
        deadlines.add_days(date(2026, 11, 5), 0, Days.CALENDAR)


@given(day=DAYS_TESTED, number=st.integers(1, 40), days=st.sampled_from(Days))
def test_days_counted_one_by_one_are_days_counted_together(
    day: date, number: int, days: Days
) -> None:
    ends = deadlines.add_days(day, number, days)
    between = (day + timedelta(days=n) for n in range(1, (ends - day).days + 1))
    assert sum(deadlines.counts(each, days) for each in between) == number
    assert deadlines.counts(ends, days)


@given(day=DAYS_TESTED, days=st.sampled_from(Days))
def test_the_next_and_the_previous_day_meet(day: date, days: Days) -> None:
    following = deadlines.next_day(day, days)
    before = deadlines.previous_day(day, days)
    assert before <= day <= following
    assert (before == following) == deadlines.counts(day, days)


@given(day=DAYS_TESTED)
def test_fewer_holidays_never_give_a_later_end(day: date) -> None:
    local = deadlines.statement_deadline(day, alsace_moselle=True)
    assert deadlines.statement_target(day) <= local
    assert deadlines.statement_deadline(day) <= local


@given(st.datetimes(datetime(2009, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_every_moment_is_within_its_day(moment: datetime) -> None:
    day = deadlines.paris_day(moment)
    assert deadlines.start_of_day(day) <= moment < deadlines.end_of_day(day)
