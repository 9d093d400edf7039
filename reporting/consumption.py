"""What was charged over a period, by client, site, point, user and hour, and the load that it made:
pure, integers only, added up session by session.

- a session counts, with its whole energy, its time and its price, in the period in which it ended;
- the load curve, and the hours of the day, are of the energy that flowed within the period: from
  meter readings where there are, spread evenly between them; so a session across its border is in
  the one sum whole and in the other in part;
- a session of unknown energy counts as one, with no energy; one that has no price yet with no cost.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from reporting.availability import PARIS, Period
from reporting.load_curve import (
    QUARTER,
    Register,
    above_subscribed,
    energy_mwh_by_quarter,
    mean_power_w,
)

HABIT_SESSIONS_MIN: Final = 4  # fewer show no habit
HABIT_HOURS: Final = 3  # the span of hours in which most sessions begin
HABIT_DAY_PERCENT: Final = 25  # of a user's sessions, for a day to be usual


@dataclass(frozen=True, slots=True)
class User:
    """Who charged: a person, else a badge that is nobody's, else nobody that is known."""

    person_id: int | None = None
    name: str = ""  # '' where it is not the reader's to see
    badge_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """A session that is over. `registers`: what it had taken by when, in Wh since its start."""

    client_id: int
    client: str
    site_id: str | None
    site: str
    point: str
    user: User
    started_at: datetime
    ended_at: datetime
    energy_wh: int | None
    cost_cents: int | None
    registers: Sequence[Register] = ()


@dataclass(slots=True)
class Sum:
    """Sessions added up. `unknown`: those of unknown energy; `unpriced`: those without a price."""

    sessions: int = 0
    energy_wh: int = 0
    duration_s: int = 0
    cost_cents: int = 0
    unknown: int = 0
    unpriced: int = 0

    def add(self, use: Use) -> None:
        """Count a session."""
        self.sessions += 1
        self.energy_wh += use.energy_wh or 0
        passed = use.ended_at.astimezone(UTC) - use.started_at.astimezone(UTC)
        self.duration_s += passed // timedelta(seconds=1)
        self.cost_cents += use.cost_cents or 0
        self.unknown += use.energy_wh is None
        self.unpriced += use.cost_cents is None


@dataclass(slots=True)
class Habits:
    """When a user's sessions begin: hours of the day and days of the week, in Paris."""

    by_hour: list[int] = field(default_factory=lambda: [0] * 24)
    by_weekday: list[int] = field(default_factory=lambda: [0] * 7)  # Monday first

    def add(self, started_at: datetime) -> None:
        """Count a begin."""
        local = started_at.astimezone(PARIS)
        self.by_hour[local.hour] += 1
        self.by_weekday[local.weekday()] += 1

    @property
    def usual_hours(self) -> tuple[int, int] | None:
        """From which hour to which most sessions begin; the earliest of equals. None: too few."""
        if sum(self.by_hour) < HABIT_SESSIONS_MIN:
            return None
        counts = [
            sum(self.by_hour[(first + step) % 24] for step in range(HABIT_HOURS))
            for first in range(24)
        ]
        first = counts.index(max(counts))
        return first, (first + HABIT_HOURS) % 24

    @property
    def usual_days(self) -> tuple[int, ...]:
        """Days with so many of the sessions, Monday is 0. Empty: too few sessions, or no such
        day."""
        total = sum(self.by_weekday)
        if total < HABIT_SESSIONS_MIN:
            return ()
        return tuple(
            day
            for day, count in enumerate(self.by_weekday)
            if 100 * count >= HABIT_DAY_PERCENT * total
        )


@dataclass(frozen=True, slots=True)
class Step:
    """What a site has subscribed from a day of Paris on, until the next step."""

    from_on: date
    power_w: int


@dataclass(frozen=True, slots=True)
class Excess:
    """A quarter of an hour whose mean power passes what is subscribed."""

    at: datetime
    power_w: int
    subscribed_w: int
    excess_w: int


@dataclass(frozen=True, slots=True)
class Load:
    """A site's load: mWh by start of quarter (UTC), quarters without energy left out."""

    quarters_mwh: Mapping[datetime, int]
    steps: tuple[Step, ...]

    @property
    def peak(self) -> tuple[datetime, int] | None:
        """The quarter of the highest mean power, in W; the first of equals. None: no energy."""
        if not self.quarters_mwh:
            return None
        at = max(
            self.quarters_mwh,
            key=lambda quarter: (self.quarters_mwh[quarter], -quarter.timestamp()),
        )
        return at, mean_power_w(self.quarters_mwh[at])

    @property
    def above(self) -> tuple[Excess, ...]:
        """The quarters above what is subscribed then, in time."""
        by_power: defaultdict[int, dict[datetime, int]] = defaultdict(dict)
        for quarter, energy_mwh in self.quarters_mwh.items():
            power_w = self.subscribed_w(quarter)
            if power_w is not None:
                by_power[power_w][quarter] = energy_mwh
        found = [
            Excess(at, mean_power_w(quarters[at]), power_w, excess_w)
            for power_w, quarters in by_power.items()
            for at, excess_w in above_subscribed(quarters, power_w)
        ]
        return tuple(sorted(found, key=lambda one: one.at))

    def subscribed_w(self, at: datetime) -> int | None:
        """What is subscribed at the moment; None: nothing that is known."""
        day = at.astimezone(PARIS).date()
        in_force = [step for step in self.steps if step.from_on <= day]
        return max(in_force, key=lambda step: step.from_on).power_w if in_force else None


@dataclass(frozen=True, slots=True)
class Named:
    """A sum with what it is of. `site_id` and what follows are None where it is of more."""

    client_id: int
    client: str
    sum: Sum
    site_id: str | None = None
    site: str = ""
    point: str = ""
    user: User | None = None
    habits: Habits | None = None


@dataclass(frozen=True, slots=True)
class ConsumptionFigures:
    """All sums; places in the order of their names, users by what they took."""

    total: Sum
    clients: tuple[Named, ...]
    sites: tuple[Named, ...]
    points: tuple[Named, ...]
    users: tuple[Named, ...]
    days_wh: Mapping[date, int]  # by the day of the end
    hours_mwh: tuple[int, ...]  # by hour of the day
    week_mwh: tuple[tuple[int, ...], ...]  # by weekday, Monday first, and hour
    loads: Mapping[str | None, Load]  # by site


class Tally:
    """Adds up the sessions of a period, one after another: what it keeps grows with points, users
    and quarters, not with sessions."""

    def __init__(self, period: Period) -> None:
        self._period = period
        self._total = Sum()
        self._sums: defaultdict[tuple[object, ...], Sum] = defaultdict(Sum)
        self._names: dict[tuple[object, ...], Use] = {}
        self._habits: defaultdict[tuple[object, ...], Habits] = defaultdict(Habits)
        self._days: Counter[date] = Counter()
        self._quarters: defaultdict[str | None, Counter[datetime]] = defaultdict(Counter)

    def add(self, use: Use) -> None:
        """Count a session that ended in the period, or that took energy in it."""
        if self._period.starts_at <= use.ended_at < self._period.ends_at:
            self._count(use)
        if use.energy_wh is not None:
            self._load(use, use.energy_wh)

    def _count(self, use: Use) -> None:
        self._total.add(use)
        whose = use.user.person_id if use.user.person_id is not None else use.user.badge_uid
        keys = {
            "client": (use.client_id,),
            "site": (use.client_id, use.site_id),
            "point": (use.client_id, use.site_id, use.point),
            "user": (use.client_id, use.user.person_id is not None, whose),
        }
        for kind, key in keys.items():
            self._sums[kind, *key].add(use)
            self._names.setdefault((kind, *key), use)
        self._habits[("user", *keys["user"])].add(use.started_at)
        self._days[use.ended_at.astimezone(PARIS).date()] += use.energy_wh or 0

    def _load(self, use: Use, energy_wh: int) -> None:
        """The energy by quarter. A reading beyond the session's own energy is passed over: the
        session has it right."""
        within = [one for one in use.registers if use.started_at < one.at < use.ended_at]
        registers = [
            Register(use.started_at, 0),
            *(one for one in within if 0 <= one.energy_wh <= energy_wh),
            Register(use.ended_at, energy_wh),
        ]
        quarters = self._quarters[use.site_id]
        for quarter, energy_mwh in energy_mwh_by_quarter(registers):
            if energy_mwh and self._period.starts_at <= quarter < self._period.ends_at:
                quarters[quarter] += energy_mwh

    def figures(self, steps: Mapping[str | None, Sequence[Step]]) -> ConsumptionFigures:
        """What was added up so far; `steps`: what each site has subscribed."""
        hours = [0] * 24
        week = [[0] * 24 for _ in range(7)]
        for quarters in self._quarters.values():
            for quarter, energy_mwh in quarters.items():
                local = quarter.astimezone(PARIS)
                hours[local.hour] += energy_mwh
                week[local.weekday()][local.hour] += energy_mwh
        return ConsumptionFigures(
            total=self._total,
            clients=self._named("client"),
            sites=self._named("site"),
            points=self._named("point"),
            users=self._named("user"),
            days_wh=dict(sorted(self._days.items())),
            hours_mwh=tuple(hours),
            week_mwh=tuple(map(tuple, week)),
            loads={
                site: Load(dict(sorted(quarters.items())), tuple(steps.get(site, ())))
                for site, quarters in self._quarters.items()
            },
        )

    def _named(self, kind: str) -> tuple[Named, ...]:
        found = []
        for key, use in self._names.items():
            if key[0] != kind:
                continue
            found.append(
                Named(
                    use.client_id,
                    use.client,
                    self._sums[key],
                    use.site_id if kind in ("site", "point") else None,
                    use.site if kind in ("site", "point") else "",
                    use.point if kind == "point" else "",
                    use.user if kind == "user" else None,
                    self._habits[key] if kind == "user" else None,
                )
            )
        if kind == "user":
            found.sort(key=lambda one: (-one.sum.energy_wh, one.client, _name(one.user)))
        else:
            found.sort(key=lambda one: (one.client, one.client_id, one.site, one.point))
        return tuple(found)


def quarters_of(period: Period) -> Iterable[datetime]:
    """The starts of its quarters of an hour."""
    at = period.starts_at
    while at < period.ends_at:
        yield at
        at += QUARTER


def _name(user: User | None) -> str:
    return "" if user is None else user.name or user.badge_uid or str(user.person_id)
