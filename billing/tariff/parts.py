"""What a session used, shared among a tariff's components: exact, then in whole Wh and seconds.

The session is cut wherever a price may change: at hours of the clock, amounts of energy, durations,
between charging and standing, and at each reading where power or current decide. Each piece goes to
the first element that holds in its dimension. Equal components share a part; energy is shared out
in whole Wh by largest remainder, so that the parts are the meter's total.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from billing.tariff.model import Dimension, Reading, Tariff, Usage
from billing.tariff.plan import PRICED, Offer, Plan, State, Window, first_offer, plan_of
from billing.tariff.track import MICROSECOND, SECOND_US, Cut, Energy, Track

NOBODY: Final = -1  # the key of what no offer holds for

# Parts that share the session's total among them.
_KINDS: Final = ((Dimension.ENERGY,), (Dimension.TIME, Dimension.PARKING_TIME))


@dataclass(slots=True)
class Part:
    """What one component was used for: exact at first, then in whole Wh and seconds."""

    dimension: Dimension
    offer: Offer | None  # None: nothing is charged for it
    from_us: int
    to_us: int
    energy_wh: Energy = 0
    duration_us: int = 0
    estimated: bool = False
    measured_wh: int = 0
    measured_s: int = 0
    last_piece: int = -1  # the last piece of the session that gave it something
    quantity: int = 0  # what is billed: measured and stepped


_Parts = dict[tuple[Dimension, int], Part]  # by dimension and key of the offer


def parts_of(
    usage: Usage, readings: Sequence[Reading], tariff: Tariff, zone: ZoneInfo, *, running: bool
) -> list[Part]:
    """The session's parts with a price, in the order of their lines; the times are in UTC.

    `running`: the session goes on, and so does what the car did at its last reading.
    """
    plan = plan_of(tariff)
    end = Cut(max((usage.ended_at - usage.started_at) // MICROSECOND, 0), max(usage.energy_wh, 0))
    windows = plan.windows(usage.started_at, end.offset_us, zone)
    if len(windows) == 1 and not plan.asks_session:
        parts = _whole(plan, windows[0][1], end)
    else:
        parts = _walk(plan, windows, Track(usage, readings), end, running=running)
    for kinds in _KINDS:
        _measure([part for part in parts if part.dimension in kinds])
    priced = sorted((part for part in parts if part.offer is not None), key=_rank)
    _step(priced)
    return priced


def _rank(part: Part) -> int:
    return PRICED.index(part.dimension)  # and by first use: sorting is stable


def _whole(plan: Plan, bits: int, end: Cut) -> list[Part]:
    """The fast way, for a session that no border cuts. `_walk` finds the same."""
    found: _Parts = {}
    for dimension in (Dimension.FLAT, Dimension.ENERGY):
        offer = first_offer(plan.offers[dimension], bits, None)
        _give(found, dimension, offer, 0, Cut(0, 0), end)
    return list(found.values())


def _walk(
    plan: Plan, windows: Sequence[Window], track: Track, end: Cut, *, running: bool
) -> list[Part]:
    """The parts of a session, piece by piece; each goes to the offers that hold at its start."""
    phases = track.phases(running=running) if plan.asks_phases else [(Cut(0, 0), True)]
    starts = [Cut(0, 0), *_cuts(plan, windows, track, phases, end)]
    found: _Parts = {}
    before: dict[Dimension, Part] = {}
    window = phase = 0
    for n, (start, until) in enumerate(zip(starts, [*starts[1:], end], strict=True)):
        while window + 1 < len(windows) and windows[window + 1][0] <= start.offset_us:
            window += 1
        while phase + 1 < len(phases) and phases[phase + 1][0].offset_us <= start.offset_us:
            phase += 1
        load = track.load_at(start.offset_us) if plan.asks_load else (0.0, 0.0)
        state = State(start.energy_wh, start.offset_us, *load)
        dimensions = [Dimension.FLAT] if Dimension.FLAT not in before else []
        dimensions.append(Dimension.ENERGY)
        if plan.asks_phases:
            dimensions.append(Dimension.TIME if phases[phase][1] else Dimension.PARKING_TIME)
        for dimension in dimensions:
            offer = first_offer(plan.offers[dimension], windows[window][1], state)
            part = _give(found, dimension, offer, n, start, until)
            last = before.get(dimension, part)
            sure = start.energy_sure if dimension is Dimension.ENERGY else start.time_sure
            if part is not last and not sure:
                part.estimated = last.estimated = True
            if dimension is not Dimension.FLAT or offer is not None:
                before[dimension] = part
    if plan.asks_load and not track.is_measured:  # the mean of it all decided
        for part in found.values():
            part.estimated = part.dimension is not Dimension.FLAT
    return list(found.values())


def _cuts(
    plan: Plan,
    windows: Sequence[Window],
    track: Track,
    phases: Sequence[tuple[Cut, bool]],
    end: Cut,
) -> list[Cut]:
    """Where the price may change inside the session, in order, each once."""
    cuts = [track.cut_at(offset_us) for offset_us, _ in windows[1:]]
    cuts += [track.cut_at(us) for us in plan.borders_us if 0 < us < end.offset_us]
    cuts += [cut for cut in map(track.cut_of, plan.borders_wh) if cut is not None]
    cuts += [cut for cut, _ in phases[1:]]
    if plan.asks_load:
        cuts += track.points()
    cuts.sort()
    found: list[Cut] = []
    for cut in cuts:
        if found and cut[:2] == found[-1][:2]:
            sure = (
                found[-1].energy_sure and cut.energy_sure,
                found[-1].time_sure and cut.time_sure,
            )
            found[-1] = Cut(*cut[:2], *sure)
        else:
            found.append(cut)
    return found


def _give(
    found: _Parts, dimension: Dimension, offer: Offer | None, n: int, start: Cut, until: Cut
) -> Part:
    """Adds piece n to the part of an offer."""
    key = (dimension, NOBODY if offer is None else offer.key)
    part = found.get(key)
    if part is None:
        part = found[key] = Part(dimension, offer, start.offset_us, start.offset_us)
    if dimension is Dimension.FLAT:
        part.quantity = 1
        return part
    part.to_us = until.offset_us
    part.duration_us += until.offset_us - start.offset_us
    if dimension is Dimension.ENERGY:
        part.energy_wh += until.energy_wh - start.energy_wh
        if until.energy_wh > start.energy_wh:
            part.last_piece = n
    elif until.offset_us > start.offset_us:
        part.last_piece = n
    return part


def _measure(parts: Sequence[Part]) -> None:
    """Whole Wh and seconds for parts that share a session: their sums are its totals."""
    seconds = _whole_numbers([part.duration_us for part in parts], SECOND_US)
    energies = _whole_numbers([part.energy_wh for part in parts], 1)
    for part, duration_s, energy_wh in zip(parts, seconds, energies, strict=True):
        part.measured_s, part.measured_wh = duration_s, energy_wh
        part.quantity = energy_wh if part.dimension is Dimension.ENERGY else duration_s


def _whole_numbers(values: Sequence[Energy], unit: int) -> list[int]:
    """The values in a larger unit, rounded so that their sum is the sum rounded down."""
    pairs = [divmod(value, unit) for value in values]
    numbers = [int(whole) for whole, _ in pairs]
    missing = int(sum(rest for _, rest in pairs) // unit)
    if missing:
        by_rest = sorted(range(len(pairs)), key=lambda i: -pairs[i][1])  # stable: first wins
        for i in by_rest[:missing]:
            numbers[i] += 1
    return numbers


def _step(parts: Sequence[Part]) -> None:
    """Rounds each dimension's total up to the step of the component that was used last.

    With both kinds of time the step is that of standing alone (OCPI 2.2.1, CDRs, step_size).
    """
    for dimension in (Dimension.ENERGY, Dimension.TIME, Dimension.PARKING_TIME):
        of_it = [part for part in parts if part.dimension is dimension and part.last_piece >= 0]
        if not of_it:
            continue
        if dimension is Dimension.TIME and any(
            part.dimension is Dimension.PARKING_TIME and part.last_piece >= 0 for part in parts
        ):
            continue
        last = max(of_it, key=lambda part: part.last_piece)
        step = last.offer.component.step_size if last.offer is not None else 0
        if step > 1:
            last.quantity += -sum(part.quantity for part in of_it) % step
