"""Units and identifiers. Energy in Wh, power in W, times as aware UTC datetimes."""

import calendar
import math
from datetime import date, datetime, timedelta, timezone
from hashlib import blake2b
from typing import Final

UTC: Final = timezone.utc  # noqa: UP017 - the C constant that msgspec hands out as well

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Factors to the base unit, for the spellings that stations use. The key is lower case.
ENERGY_UNIT_WH: Final = {"wh": 1.0, "kwh": 1000.0, "mwh": 1_000_000.0}
POWER_UNIT_W: Final = {"w": 1.0, "kw": 1000.0, "va": 1.0, "kva": 1000.0}


def uid_key(uid: str) -> str:
    """The form in which badges are compared: without case, as OCPP's CiString asks."""
    return uid.lower()


def register_wh(value: float) -> float | None:
    """A register in Wh to the thousandth: below the resolution of any meter, above float noise.

    None for what no meter can show: NaN, infinite, a petawatt-hour.
    """
    return round(value, 3) if -1e12 < value < 1e12 else None  # NaN fails both


def energy_between_wh(start_wh: float, stop_wh: float) -> int:
    """Whole watt-hours between two registers, rounded down: never more than measured.

    Raises: ValueError when the stop is below the start; the caller decides what that means.
    """
    if stop_wh < start_wh:
        raise ValueError(f"register runs backwards: {start_wh} to {stop_wh} Wh")
    # Registers hold thousandths; the half of one undoes the float noise of the subtraction.
    return math.floor(stop_wh - start_wh + 0.0005)


def digest64(*parts: str) -> int:
    """64 bits of BLAKE2b over the parts as a signed integer (PostgreSQL's bigint).

    Used as a key of content within one station, never against an adversary.
    """
    digest = blake2b("\x00".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def seconds(span: timedelta) -> float:
    """The span in seconds; a name for what `total_seconds` hides in expressions."""
    return span.total_seconds()


def add_months(day: date, months: int) -> date:
    """The day of the same number, so many months later (earlier below 0); the month's last where
    it has no such day: 31 January and a month is 28 or 29 February."""
    year, month0 = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month0 + 1, min(day.day, calendar.monthrange(year, month0 + 1)[1]))
