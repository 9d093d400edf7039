"""A reservation of a point: its states as a table, and what one may ask for.

The law of this file: whatever moves a reservation on stands in the table. REQUESTED is agreed by
us; PLACED: the station has been told and has not answered; CONFIRMED: the station keeps the point,
or where it cannot we alone do ("soft": badges of others are refused there). USED: its driver
charges. REJECTED: the point turned out to be out of order when it began. NO_SHOW: it was kept in
vain; EXPIRED: it was over before anybody could keep it.

Reads no clock and writes nothing.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """Where a reservation stands; see the module."""

    REQUESTED = "requested"
    PLACED = "placed"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    USED = "used"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    NO_SHOW = "no_show"


class Kind(StrEnum):
    """What can happen to a reservation."""

    TELL = "the station is told"
    KEEP = "the station keeps it"
    KEEP_SOFT = "we alone keep it"
    REFUSE = "the point is out of order"
    USE = "its driver charges"
    CANCEL = "cancelled"
    LAPSE = "nobody came in time"


OPEN: Final = frozenset({State.REQUESTED, State.PLACED, State.CONFIRMED})

TRANSITIONS: Final[dict[tuple[State, Kind], State]] = {
    (State.REQUESTED, Kind.TELL): State.PLACED,
    (State.REQUESTED, Kind.KEEP_SOFT): State.CONFIRMED,
    (State.REQUESTED, Kind.USE): State.USED,
    (State.REQUESTED, Kind.CANCEL): State.CANCELLED,
    (State.REQUESTED, Kind.LAPSE): State.EXPIRED,
    (State.PLACED, Kind.KEEP): State.CONFIRMED,
    (State.PLACED, Kind.KEEP_SOFT): State.CONFIRMED,
    (State.PLACED, Kind.REFUSE): State.REJECTED,
    (State.PLACED, Kind.USE): State.USED,
    (State.PLACED, Kind.CANCEL): State.CANCELLED,
    (State.PLACED, Kind.LAPSE): State.EXPIRED,
    (State.CONFIRMED, Kind.KEEP_SOFT): State.CONFIRMED,
    (State.CONFIRMED, Kind.USE): State.USED,
    (State.CONFIRMED, Kind.CANCEL): State.CANCELLED,
    (State.CONFIRMED, Kind.LAPSE): State.NO_SHOW,
}


def after(state: State, kind: Kind) -> State | None:
    """The state that follows; None: this cannot happen any more, and changes nothing."""
    return TRANSITIONS.get((state, kind))


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.REQUESTED.value}"]
    for (state, kind), following in TRANSITIONS.items():
        lines.append(f"    {state.value} --> {following.value}: {kind.value}")
    ends = [state for state in State if not any(begin is state for begin, _ in TRANSITIONS)]
    return "\n".join(lines + [f"    {state.value} --> [*]" for state in ends])


class Limits(NamedTuple):
    """What a driver may reserve at a place."""

    open_max: int  # reservations that are not over, anywhere
    minutes_max: int
    ahead_max: timedelta
    grace: timedelta  # not there so long after its begin: given up


class Fault(NamedTuple):
    """Why a period cannot be reserved: a code, and the bound that it breaks."""

    code: str  # too_short, too_long, in_the_past, too_far_ahead, too_many_reservations
    bound: int = 0  # minutes, minutes, 0, days, reservations


MINUTES_MIN: Final = 5
LATE: Final = timedelta(minutes=1)  # "from now on", as clocks differ


def fault_of(
    from_at: datetime, to_at: datetime, open_count: int, limits: Limits, now: datetime
) -> Fault | None:
    """Why this period cannot be had; None: it can, as far as its driver goes. `open_count` is how
    many she has already."""
    if from_at < now - LATE:
        return Fault("in_the_past")
    minutes = (to_at - from_at) / timedelta(minutes=1)
    if minutes < MINUTES_MIN:
        return Fault("too_short", MINUTES_MIN)
    if minutes > limits.minutes_max:
        return Fault("too_long", limits.minutes_max)
    if from_at > now + limits.ahead_max:
        return Fault("too_far_ahead", limits.ahead_max.days)
    if open_count >= limits.open_max:
        return Fault("too_many_reservations", limits.open_max)
    return None


def lapses_at(from_at: datetime, to_at: datetime, grace: timedelta) -> datetime:
    """When a point is kept in vain; no grace: to the end."""
    return to_at if grace <= timedelta(0) else min(to_at, from_at + grace)


class Kept(NamedTuple):
    """A period for which an EVSE, or all of a station (None), is kept for some badges."""

    evse_id: int | None
    from_at: datetime
    to_at: datetime
    uid_keys: frozenset[str]


def keeps_out(
    kept: tuple[Kept, ...], uid_key: str, evse_id: int | None, evses: frozenset[int], now: datetime
) -> bool:
    """Whether the badge must leave the EVSE alone; `evse_id` None: whether it must leave alone
    every one of the station's `evses`."""
    others = [k for k in kept if k.from_at <= now < k.to_at and uid_key not in k.uid_keys]
    if not others:
        return False
    if any(k.evse_id is None for k in others):
        return True
    taken = {k.evse_id for k in others}
    return evse_id in taken if evse_id is not None else bool(evses) and evses <= taken
