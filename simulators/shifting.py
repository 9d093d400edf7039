"""Sessions of the past moved by whole weeks into the present, so that weekdays and hours stay.

The start is moved in local time and the elapsed duration is kept: who plugs in at 18:00 still does
so on the other side of a clock change, and a charging of ten hours stays one of ten hours. A start
that falls into the hour that spring leaves out is moved forward by one hour.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from simulators.sessions import ChargingRecord

PARIS = ZoneInfo("Europe/Paris")


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """The chosen records, moved; how far; and how many of the file's were left out."""

    records: list[ChargingRecord]
    weeks: int
    left_out: int


def month_bounds(month: str) -> tuple[datetime, datetime]:
    """Begin and end of "YYYY-MM" in Paris, as aware UTC.

    Raises: ValueError for what is no month.
    """
    first = date.fromisoformat(f"{month}-01")
    following = (first + timedelta(days=32)).replace(day=1)
    return _midnight(first), _midnight(following)


def last_full_month(now: datetime) -> str:
    """The last calendar month of Paris that is over, as "YYYY-MM"."""
    first = now.astimezone(PARIS).date().replace(day=1)
    return (first - timedelta(days=1)).strftime("%Y-%m")


def last_day(records: Sequence[ChargingRecord]) -> date:
    """The last local day on which the records say anything: the day at whose end they were cut."""
    return max(max(r.started_at.date(), (r.ended_at or r.started_at).date()) for r in records)


def shift_to_month(records: Sequence[ChargingRecord], month: str) -> Shifted:
    """The records whose end, shifted, lies in the calendar month of Paris.

    Shifted by the smallest number of weeks for which the whole month, shifted back, lies at or
    before the records' last day. Where there is no plug-out the end of the charging at the assumed
    power counts.
    """
    begin, end = month_bounds(month)
    if not records:
        return Shifted(records=[], weeks=0, left_out=0)
    month_ends_on = (end - timedelta(seconds=1)).astimezone(PARIS).date()
    weeks = max(0, -(-(month_ends_on - last_day(records)).days // 7))
    moved = [shifted(record, weeks) for record in records]
    chosen = [record for record in moved if begin <= record.assumed_end_utc < end]
    return Shifted(records=chosen, weeks=weeks, left_out=len(records) - len(chosen))


def shift_to_recent(records: Sequence[ChargingRecord], now: datetime) -> Shifted:
    """All records, shifted by the largest number of weeks after which the last has ended by `now`.

    The number may be negative for records of the future.
    """
    if not records:
        return Shifted(records=[], weeks=0, left_out=0)
    latest = max(record.assumed_end_utc for record in records)
    weeks = (now.astimezone(UTC) - latest) // timedelta(weeks=1)
    moved = [shifted(record, weeks) for record in records]
    # A clock change in between can move an end by an hour.
    if max(record.assumed_end_utc for record in moved) > now:
        weeks -= 1
        moved = [shifted(record, weeks) for record in records]
    return Shifted(records=moved, weeks=weeks, left_out=0)


def shifted(record: ChargingRecord, weeks: int) -> ChargingRecord:
    """The record, `weeks` later."""
    zone = record.started_at.tzinfo
    started_at = record.started_at + timedelta(weeks=weeks)
    round_trip = started_at.astimezone(UTC).astimezone(zone)
    if round_trip.replace(tzinfo=None) != started_at.replace(tzinfo=None):
        started_at = (started_at + timedelta(hours=1)).replace(fold=0)
    if record.ended_at is None:
        return replace(record, started_at=started_at)
    elapsed = record.ended_at.astimezone(UTC) - record.started_utc
    ended_at = (started_at.astimezone(UTC) + elapsed).astimezone(zone)
    return replace(record, started_at=started_at, ended_at=ended_at)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=PARIS).astimezone(UTC)
