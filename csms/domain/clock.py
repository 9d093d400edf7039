"""What time is believed of a station (field case 23).

Three times exist for an event: what the station stated, when we received it, and what we hold to
be true. The first two are stored as they are; this module decides the third. A station that was
offline tells old events late, and that is right; a station whose clock is wrong tells live events
at wrong times, and that shows on the messages that are always live (status after a boot, readings
while online). Their difference is the station's skew, which corrects the rest.
"""

from datetime import datetime, timedelta, tzinfo
from typing import Final, NamedTuple

from csms.domain.values import UTC, seconds

YEAR_PLAUSIBLE_MIN: Final = 2020  # no station of ours ran before; 1970 and 2000 are unset clocks


class ClockRules(NamedTuple):
    """Limits, from the settings."""

    skew_max_s: float = 600.0
    offline_age_max_s: float = 730 * 86_400.0


class BelievedTime(NamedTuple):
    """`at` is held to be true; `doubt` is None where that is what the station stated."""

    at: datetime
    doubt: str | None  # clock_missing | clock_implausible | clock_ahead | clock_corrected


def believed_time(
    stated: datetime | None, received: datetime, skew_s: float | None, rules: ClockRules
) -> BelievedTime:
    """The time of an event that a station stated and we received.

    `skew_s` is the station's clock minus ours, None while unknown.
    """
    if stated is None:
        return BelievedTime(received, "clock_missing")
    if stated.year < YEAR_PLAUSIBLE_MIN:
        return BelievedTime(received, "clock_implausible")
    ahead_s = seconds(stated - received)
    if skew_s is not None and abs(skew_s) > rules.skew_max_s:
        try:
            corrected = stated - timedelta(seconds=skew_s)
        except OverflowError:  # a clock that has told of the year 9999
            return BelievedTime(received, "clock_implausible")
        at = corrected if corrected <= received else received
        return BelievedTime(at, "clock_corrected")
    if ahead_s > rules.skew_max_s:
        return BelievedTime(received, "clock_ahead")
    if -ahead_s > rules.offline_age_max_s:
        return BelievedTime(received, "clock_implausible")
    return BelievedTime(stated, None)


def skew_of_live_message(stated: datetime | None, received: datetime) -> float | None:
    """The skew in seconds that a live message shows; None when it states no usable time."""
    if stated is None or stated.year < YEAR_PLAUSIBLE_MIN:
        return None
    return seconds(stated - received)


def parse_time(text: str) -> tuple[datetime | None, str | None]:
    """A time as stations write it, leniently: (UTC time or None, deviation or None).

    Takes what ISO 8601 allows and what the field sends: a blank instead of T, lower-case z, more
    than six fractional digits, epoch seconds or milliseconds, no zone. A time without a zone is
    read as UTC and marked by `fold`, so that it stays what was stated, whatever is thought of the
    station's zone later; `local_time` reads it in that zone.
    """
    raw = text.strip()
    if raw.lstrip("-").isdigit() and len(raw) >= 9:
        try:
            number = int(raw)
            number_s = number / 1000 if abs(number) > 100_000_000_000 else number
            return datetime.fromtimestamp(number_s, UTC), "time_as_number"
        except (ValueError, OverflowError, OSError):
            return None, "time_unreadable"
    candidate = _trim_fraction(raw.replace("z", "Z"))
    try:
        parsed = datetime.fromisoformat(candidate)
    except ValueError:
        return None, "time_unreadable"
    try:
        if parsed.tzinfo is None:
            return parsed.replace(tzinfo=UTC, fold=1), "time_without_zone"
        return parsed.astimezone(UTC), None
    except OverflowError:
        return None, "time_unreadable"


def local_time(moment: datetime, zone: tzinfo) -> datetime:
    """A time that was written without a zone, and read as UTC, as the zone's clocks mean it."""
    try:
        return moment.replace(tzinfo=zone, fold=0).astimezone(UTC)
    except OverflowError:
        return moment


def _trim_fraction(text: str) -> str:
    """Cut a fraction of a second to six digits, which is all that datetime holds."""
    dot = text.find(".")
    if dot < 0:
        return text
    end = dot + 1
    while end < len(text) and text[end].isdigit():
        end += 1
    return text[: min(end, dot + 7)] + text[end:]
