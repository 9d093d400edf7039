"""How much power an EVSE may give: the lowest of what bounds it, now and as far as is known."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

_SECOND: Final = timedelta(seconds=1)


class PowerLimit(NamedTuple):
    """A limit that people set; of the EVSE alone, its share of a wider one counted already."""

    evse_id: int | None  # None: every EVSE of the station
    limit_w: int
    from_at: datetime
    to_at: datetime | None  # None: until further notice


class LimitStep(NamedTuple):
    """What an EVSE may give from a moment on, until the next step."""

    from_at: datetime
    limit_w: int | None  # None: nothing bounds it


class PlannedPeriod(NamedTuple):
    """What a car is going to take from a moment on, until its next period."""

    from_s: float  # since the beginning of its plan
    power_w: float


def limit_w(
    limits: Iterable[PowerLimit],
    evse_id: int,
    now: datetime,
    *,
    connector_w_max: int | None,
    car_w_max: int | None,
) -> int | None:
    """The limit of the EVSE at a moment, in W; None when nothing bounds it.

    It is the lowest of what its connector can give, what the car takes, and the limits in force.
    A planner that shares a building's power between cars takes the place of this function.
    """
    bounds = [bound for bound in (connector_w_max, car_w_max) if bound is not None]
    bounds += [
        limit.limit_w
        for limit in limits
        if limit.evse_id in (None, evse_id)
        and limit.from_at <= now
        and (limit.to_at is None or now < limit.to_at)
    ]
    return min(bounds, default=None)


def steps(
    limits: Iterable[PowerLimit],
    evse_id: int,
    now: datetime,
    limit_at: Callable[[datetime], int | None],
    steps_max: int,
) -> tuple[LimitStep, ...]:
    """The limit now and whenever a dated one begins or ends, `limit_at` saying what it is then.

    In order of time, the first one from now on, equal neighbours as one. The last of `steps_max`
    is the lowest of what would follow.
    """
    moments = {now}
    for limit in limits:
        if limit.evse_id in (None, evse_id):
            moments.update(m for m in (limit.from_at, limit.to_at) if m is not None and m > now)
    found: list[LimitStep] = []
    for moment in sorted(moments):
        step = LimitStep(moment, limit_at(moment))
        if not found or found[-1].limit_w != step.limit_w:
            found.append(step)
    if len(found) <= max(1, steps_max):
        return tuple(found)
    kept, rest = found[: max(1, steps_max) - 1], found[max(1, steps_max) - 1 :]
    lowest = min((step.limit_w for step in rest if step.limit_w is not None), default=None)
    return (*kept, LimitStep(rest[0].from_at, lowest))


def exceeds(
    plan: Sequence[PlannedPeriod],
    begins_at: datetime,
    duration_s: float | None,
    allowed: Sequence[LimitStep],
) -> bool:
    """Whether a car's plan goes above what is allowed at any moment from the first step on.

    A plan without a duration goes on as it ends.
    """
    ends_s = float("inf") if duration_s is None else duration_s
    for number, period in enumerate(plan):
        until_s = plan[number + 1].from_s if number + 1 < len(plan) else ends_s
        for at, step in enumerate(allowed):
            later = allowed[at + 1].from_at if at + 1 < len(allowed) else None
            if step.limit_w is None or period.power_w <= step.limit_w:
                continue
            from_s = (step.from_at - begins_at) / _SECOND
            later_s = float("inf") if later is None else (later - begins_at) / _SECOND
            if max(period.from_s, from_s) < min(until_s, later_s):
                return True
    return False
