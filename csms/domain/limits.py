"""How much power an EVSE may give: the lowest of what bounds it."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple


class PowerLimit(NamedTuple):
    """A limit that people set; of the EVSE alone, its share of a wider one counted already."""

    evse_id: int | None  # None: every EVSE of the station
    limit_w: int
    from_at: datetime
    to_at: datetime | None  # None: until further notice


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
