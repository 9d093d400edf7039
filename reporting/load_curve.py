"""The mean power of every quarter of an hour from meter registers: pure, integers only.

Between two registers, energy is spread evenly over time; a session without any register in between
is thereby spread evenly from its start to its end. A quarter of an hour of Paris is one of UTC on
every day of the year. No energy is lost or made: the quarters of a session add up to its energy.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

QUARTER: Final = timedelta(minutes=15)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Register:
    """What a session had taken by `at` (aware), in Wh since its start or since any fixed zero."""

    at: datetime
    energy_wh: int


def energy_mwh_by_quarter(registers: Iterable[Register]) -> Iterator[tuple[datetime, int]]:
    """The energy in mWh (thousandths of Wh) of one session by start of quarter (UTC), in time.

    The registers, its start and end among them, may come in any order; one below an earlier one
    is passed over, energy is never negative. A rise within no time falls in its one quarter.
    """
    found: Counter[datetime] = Counter()
    for one, following in pairwise(_rising(registers)):
        rise_mwh = (following.energy_wh - one.energy_wh) * 1000
        length = (following.at - one.at) // _MICROSECOND
        quarter, given_mwh = _quarter(one.at), 0
        while quarter + QUARTER < following.at:
            passed = (quarter + QUARTER - one.at) // _MICROSECOND
            until_mwh = rise_mwh * passed // length
            found[quarter] += until_mwh - given_mwh
            quarter, given_mwh = quarter + QUARTER, until_mwh
        found[quarter] += rise_mwh - given_mwh
    return iter(sorted(found.items()))


def mean_power_w(energy_mwh: int) -> int:
    """The mean power of a quarter of an hour in W, rounded half up."""
    return (energy_mwh * 4 + 500) // 1000


def above_subscribed(
    quarters_mwh: Mapping[datetime, int], subscribed_w: int
) -> list[tuple[datetime, int]]:
    """The quarters whose mean power passes the subscribed one, with the excess in W, in time.

    Compared before rounding; an excess of less than half a watt is said as 0.
    """
    limit_mwh = subscribed_w * 250
    return [
        (quarter, mean_power_w(energy_mwh - limit_mwh))
        for quarter, energy_mwh in sorted(quarters_mwh.items())
        if energy_mwh > limit_mwh
    ]


def _rising(registers: Iterable[Register]) -> Iterator[Register]:
    highest: int | None = None
    in_order = sorted(registers, key=lambda register: (register.at, register.energy_wh))
    for register in in_order:
        if highest is None or register.energy_wh >= highest:
            highest = register.energy_wh
            yield Register(register.at.astimezone(UTC), highest)


def _quarter(at: datetime) -> datetime:
    return at.replace(minute=at.minute - at.minute % 15, second=0, microsecond=0)
