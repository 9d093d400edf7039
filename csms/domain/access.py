"""When a driver may charge at a site: weekly windows of the groups that she belongs to.

A window is told by the clock on the site's wall: weekdays, from a minute to a minute; one that ends
at or before its begin ends the next day. On the night when clocks go back it begins at the first
passing of its begin and ends at the last one of its end; on the night when they go forward a time
that is left out is the moment at which the clocks jump. So whoever reads the site's clock inside
the window is never refused.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from csms.domain.values import UTC

DAY_MINUTES: Final = 1_440
EVERY_DAY: Final = 127  # 1 Monday ... 64 Sunday
HORIZON: Final = timedelta(days=8)  # a week, and the longest window of a day
AHEAD_MAX: Final = timedelta(days=366)  # what begins later is not told of yet

_DAY: Final = timedelta(days=1)
_MINUTE: Final = timedelta(minutes=1)


class Rule(NamedTuple):
    """One group's window at one site, and since when and until when it is the driver's."""

    weekdays: int = EVERY_DAY
    from_minute: int = 0  # of the day, 0 to 1439
    to_minute: int = DAY_MINUTES  # of the day, 1 to 1440; at or before from_minute: the next day's
    from_at: datetime | None = None  # None: always was
    to_at: datetime | None = None  # None: until further notice

    @classmethod
    def of_seconds(
        cls, weekdays: int, from_minute: int, to_minute: int, from_s: float, to_s: float | None
    ) -> "Rule":
        """A rule as a look-up tells it, with its moments in seconds since 1970."""
        begin = datetime.fromtimestamp(from_s, UTC)
        end = None if to_s is None else datetime.fromtimestamp(to_s, UTC)
        return cls(weekdays, from_minute, to_minute, begin, end)

    @property
    def is_always(self) -> bool:
        """Whether it leaves out no hour of the week."""
        whole = (self.to_minute - self.from_minute) % DAY_MINUTES == 0
        return whole and self.weekdays == EVERY_DAY


class Access(NamedTuple):
    """May she charge: now and until when, or from when on."""

    open: bool
    until: datetime | None = None  # while open; None: nothing ends it within a week
    opens_at: datetime | None = None  # while not open; None: nothing opens it within a year


SHUT: Final = Access(False)


def zone_named(name: str) -> tzinfo:
    """The time zone of a site by its IANA name; UTC where there is no such zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def access(rules: Iterable[Rule], zone: tzinfo, now: datetime) -> Access:
    """What the rules of one site say together; `zone` is the site's, `now` any aware moment.

    Windows that touch are one, so `until` is when the driver is really out.
    """
    rules = list(rules)
    spans = sorted(span for rule in rules for span in _spans(rule, zone, now))
    end: datetime | None = None
    for begin, over in spans:
        if (end is None and begin <= now < over) or (end is not None and begin <= end < over):
            end = over
    if end is not None:
        return Access(True, None if end > now + HORIZON and not _ends(rules, end) else end)
    return Access(False, opens_at=min((begin for begin, _ in spans if begin > now), default=None))


def _ends(rules: list[Rule], moment: datetime) -> bool:
    return any(rule.to_at == moment for rule in rules)


def _spans(rule: Rule, zone: tzinfo, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The rule's windows as moments: from the one that may be open now on, up to the horizon; of a
    rule that begins later, from its begin."""
    first = now if rule.from_at is None or rule.from_at <= now else rule.from_at
    if first - now > AHEAD_MAX:
        return
    if rule.to_at is not None and rule.to_at <= first:
        return
    never = datetime.max.replace(tzinfo=UTC)
    if rule.is_always:
        yield first, rule.to_at or never
        return
    today = first.astimezone(zone).date()
    for number in range(-1, 2 * HORIZON.days):  # a window may fall out in the night of a change
        day = today + number * _DAY
        if not rule.weekdays >> day.weekday() & 1:
            continue
        begin, end = _window(rule, day, zone)
        begin = max(begin, first) if begin <= first < end else begin
        end = min(end, rule.to_at or never)
        if first <= begin < end:
            yield begin, end


def _window(rule: Rule, day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    begin = _moment(day, rule.from_minute, zone, last=False)
    next_day = rule.to_minute <= rule.from_minute
    return begin, _moment(day + _DAY * next_day, rule.to_minute, zone, last=True)


def _moment(day: date, minute: int, zone: tzinfo, *, last: bool) -> datetime:
    """When the clock on the wall shows the minute of the day: for the first time, or the last one.
    A minute that is left out: when the clock jumps over it."""
    wall = datetime.combine(day, time()) + minute * _MINUTE
    for _ in range(2 * DAY_MINUTES):
        moment = wall.replace(tzinfo=zone, fold=int(last)).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None, fold=0) == wall:
            return moment
        wall += _MINUTE
    raise AssertionError("no clock leaves out two days")
