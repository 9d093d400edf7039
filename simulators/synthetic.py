"""Charging sessions with the shape of the Trondheim file, for those who do not have it.

Parameters, computed from the file (Sørensen, Lindberg, Sartori, Andresen, "Residential electric
vehicle charging datasets from apartment buildings", Data in Brief 2021, doi 10.17632/jbks2rcwyj,
CC BY 4.0):

- 24 garages with 1 to 10 charge points: 57 private ones and 12 shared by the 97 users of the file;
- 79.5 % of the sessions on private points;
- plug-in hour of the day: `HOURS`, in thousandths of all sessions; weekdays: `WEEKDAYS`;
- energy and stay: quantiles `ENERGY_WH` and `STAY_MIN`, linear between them, with a rank
  correlation of 0.35 between the two; nobody draws more than 7.4 kW;
- sessions per user and month: quantiles `PER_MONTH`, mean 12.7;
- anomalies: 0.5 % of the sessions without plug-out, 0.25 % without length (10 to 60 Wh),
  0.16 % that share the start of the session before on their connector.

Same seed, same sessions. No session overlaps another on its connector.
"""

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from simulators.sessions import ASSUMED_POWER_W, LOCAL, ChargingRecord

PREFIX = "SYN-"
GARAGE_POINTS = (1,) * 6 + (2,) * 7 + (3,) * 3 + (4,) * 5 + (5,) * 2 + (10,)
SHARED_POINTS = 12
USERS = 97
PRIVATE_SHARE = 0.795
HOURS = (15, 6, 4, 2, 1, 1, 3, 11, 12, 10, 17, 25, 29, 43, 59, 114, 140, 88, 85, 98, 85, 67, 54, 29)
WEEKDAYS = (143, 137, 151, 156, 150, 124, 139)  # from Monday
QUANTILES = (0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
ENERGY_WH = (
    10, 60, 1590, 2760, 4450, 5940, 7340, 9050, 11600, 14490, 18210, 26070, 38140, 59420, 80860,
)  # fmt: skip
STAY_MIN = (0, 2, 37, 70, 133, 205, 365, 601, 715, 853, 991, 1249, 1725, 3971, 15302)
PER_MONTH_QUANTILES = (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1)
PER_MONTH = (1, 2, 5, 9, 17, 27, 70)
NO_PLUG_OUT_SHARE = 0.005
NO_LENGTH_SHARE = 0.0025
SHARED_START_SHARE = 0.0016
_COUPLING = 0.35


@dataclass(frozen=True)
class _Point:
    site_id: str
    station_id: str
    private: bool
    badges: tuple[str, ...]
    rate_per_day: float


def generate(
    seed: int = 1, *, days: int = 92, last_day: date = date(2020, 1, 31)
) -> list[ChargingRecord]:
    """Sessions of `days` days up to `last_day`, numbered in the order of their starts."""
    chance = random.Random(seed)
    begin = last_day - timedelta(days=days - 1)
    records = [
        record for point in _points(chance) for record in _of_point(chance, point, begin, days)
    ]
    records.sort(key=lambda r: (r.started_utc, r.station_id, r.number))
    return [replace(record, number=number) for number, record in enumerate(records, 1)]


def _points(chance: random.Random) -> list[_Point]:
    """The charge points: the shared ones stand in the largest garages, users come in turn."""
    shared_at = {len(GARAGE_POINTS) - 1 - number for number in range(SHARED_POINTS)}
    users = [f"{PREFIX}U{number:02d}" for number in range(1, USERS + 1)]
    private_count = sum(GARAGE_POINTS) - SHARED_POINTS
    sharing = users[private_count:]
    rates = [_quantile(PER_MONTH_QUANTILES, PER_MONTH, chance.random()) / 30.4 for _ in users]
    private_rate = sum(rates[:private_count])
    shared_rate = private_rate * (1 - PRIVATE_SHARE) / PRIVATE_SHARE / SHARED_POINTS
    points: list[_Point] = []
    private = shared = 0
    for index, count in enumerate(GARAGE_POINTS):
        site = f"{PREFIX}G{index + 1:02d}"
        for number in range(1, count + 1):
            station = f"{site}-{number}"
            if number == 1 and index in shared_at:
                badges = tuple(sharing[shared::SHARED_POINTS])
                points.append(_Point(site, station, False, badges, shared_rate))
                shared += 1
            else:
                points.append(_Point(site, station, True, (users[private],), rates[private]))
                private += 1
    return points


def _of_point(chance: random.Random, point: _Point, begin: date, days: int) -> list[ChargingRecord]:
    """The sessions of one point, none before the one before it is over."""
    average = sum(WEEKDAYS) / 7
    starts = []
    for day in (begin + timedelta(days=number) for number in range(days)):
        expected = point.rate_per_day * WEEKDAYS[day.weekday()] / average
        for _ in range(_poisson(chance, expected)):
            (hour,) = chance.choices(range(24), HOURS)
            starts.append(datetime.combine(day, time(hour, chance.randrange(60)), LOCAL))
    records: list[ChargingRecord] = []
    free_from: datetime | None = None
    for started_at in sorted(starts, key=lambda at: at.astimezone(UTC)):
        if free_from is not None and started_at.astimezone(UTC) <= free_from:
            continue
        made = _session(chance, point, started_at)
        records += made
        free_from = max(record.assumed_end_utc for record in made)
    return records


def _session(chance: random.Random, point: _Point, started_at: datetime) -> list[ChargingRecord]:
    """One session; or two that share their start, the first without length."""
    rank = chance.random()
    other = rank if chance.random() < _COUPLING else chance.random()
    energy_wh = round(_quantile(QUANTILES, ENERGY_WH, rank) / 10) * 10
    stay_min = round(_quantile(QUANTILES, STAY_MIN, other))
    stay_min = max(stay_min, -(-energy_wh * 60 // ASSUMED_POWER_W))
    start = started_at.astimezone(UTC)
    whole = ChargingRecord(
        number=0,
        site_id=point.site_id,
        station_id=point.station_id,
        evse_id=1,
        badge=chance.choice(point.badges),
        private=point.private,
        started_at=started_at,
        ended_at=(start + timedelta(minutes=stay_min)).astimezone(LOCAL),
        energy_wh=energy_wh,
    )
    short = replace(whole, ended_at=started_at, energy_wh=chance.randrange(10, 70, 10))
    kind = chance.random()
    if kind < NO_PLUG_OUT_SHARE:
        return [replace(whole, ended_at=None)]
    if kind < NO_PLUG_OUT_SHARE + SHARED_START_SHARE:
        return [short, replace(whole, number=1)]
    if kind < NO_PLUG_OUT_SHARE + SHARED_START_SHARE + NO_LENGTH_SHARE:
        return [short]
    return [whole]


def _quantile(ranks: Sequence[float], values: Sequence[float], rank: float) -> float:
    """The value at `rank`, linear between the known ones."""
    above = min(bisect_right(ranks, rank), len(ranks) - 1)
    low, high = ranks[above - 1], ranks[above]
    return values[above - 1] + (values[above] - values[above - 1]) * (rank - low) / (high - low)


def _poisson(chance: random.Random, expected: float) -> int:
    """A number of events, by counting exponential waits."""
    count, passed = 0, chance.expovariate(1)
    while passed < expected:
        count += 1
        passed += chance.expovariate(1)
    return count
