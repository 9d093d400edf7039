"""A session's meter as a line through its readings: how much by when, how much until when.

Offsets are microseconds from the session's start, energies Wh from it. Odd readings raise nothing:
what lies outside the session is left out, what falls back is held at what was reached, what
exceeds the total is held at the total.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import timedelta
from fractions import Fraction
from operator import attrgetter
from typing import Final, NamedTuple

from billing.tariff.model import Reading, Usage

MICROSECOND: Final = timedelta(microseconds=1)
SECOND_US: Final = 1_000_000
HOUR_US: Final = 3600 * SECOND_US

# A register that stands still for less is coarse, not idle: at 100 Wh of resolution and 1.4 kW it
# moves every four minutes.
PAUSE_US_MIN: Final = 300 * SECOND_US

# Between readings further apart the share on either side of a border is an estimate. The longest
# usual interval is an hour, and stations are late.
GAP_US_MAX: Final = 90 * 60 * SECOND_US

VOLTS: Final = 230  # between phase and neutral, to tell a current from a power

_BY_TIME: Final = attrgetter("at")

Energy = int | Fraction


class Cut(NamedTuple):
    """A moment at which a price may change; ordered by time, then energy.

    `energy_sure`, `time_sure`: the energy (the time) up to here is measured, not estimated.
    """

    offset_us: int
    energy_wh: Energy
    energy_sure: bool = True
    time_sure: bool = True


class Track:
    """The points of a session, its start and end among them; between them energy is linear."""

    __slots__ = ("_currents_a", "_energies_wh", "_offsets_us", "_powers_w", "is_measured")

    def __init__(self, usage: Usage, readings: Sequence[Reading]) -> None:
        total_wh = max(usage.energy_wh, 0)
        end_us = max((usage.ended_at - usage.started_at) // MICROSECOND, 0)
        offsets, energies = [0], [0]
        #: what was told at each point; None: nothing
        powers: list[float | None] = [None]
        currents: list[float | None] = [None]
        over: int | None = None  # where readings above the total begin
        for reading in sorted(readings, key=_BY_TIME):
            offset_us = (reading.at - usage.started_at) // MICROSECOND
            if not 0 < offset_us < end_us:
                continue
            energy_wh = reading.energy_wh
            if energy_wh > total_wh:
                over = len(offsets) if over is None else over
                energy_wh = total_wh
            elif over is not None and energy_wh < total_wh:
                for points in (offsets, energies, powers, currents):  # a leap that was none
                    del points[over:]
                over = None
            if offset_us == offsets[-1]:
                energies[-1] = max(energies[-1], energy_wh)
                continue
            offsets.append(offset_us)
            energies.append(max(energies[-1], energy_wh))
            powers.append(reading.power_w)
            currents.append(reading.current_a)
        #: there are readings inside the session
        self.is_measured: Final = len(offsets) > 1
        self._offsets_us = [*offsets, end_us]
        self._energies_wh = [*energies, total_wh]
        self._powers_w = [*powers, None]
        self._currents_a = [*currents, None]

    def cut_at(self, offset_us: int) -> Cut:
        """The cut at a moment inside the session, with the energy up to it."""
        i = bisect_left(self._offsets_us, offset_us)
        if self._offsets_us[i] == offset_us:
            return Cut(offset_us, self._energies_wh[i])
        from_us, from_wh = self._offsets_us[i - 1], self._energies_wh[i - 1]
        span_us, span_wh = self._offsets_us[i] - from_us, self._energies_wh[i] - from_wh
        if not span_wh:
            return Cut(offset_us, from_wh)
        whole, rest = divmod(span_wh * (offset_us - from_us), span_us)
        energy_wh = from_wh + (whole + Fraction(rest, span_us) if rest else whole)
        return Cut(offset_us, energy_wh, energy_sure=self._is_sure(span_us))

    def cut_of(self, energy_wh: int) -> Cut | None:
        """The cut at which so much is reached, with its time; None: never, or at the start."""
        if not 0 < energy_wh <= self._energies_wh[-1]:
            return None
        i = bisect_left(self._energies_wh, energy_wh)
        from_us, from_wh = self._offsets_us[i - 1], self._energies_wh[i - 1]
        span_us, span_wh = self._offsets_us[i] - from_us, self._energies_wh[i] - from_wh
        whole_us = (2 * (energy_wh - from_wh) * span_us + span_wh) // (2 * span_wh)
        sure = energy_wh == self._energies_wh[i] or self._is_sure(span_us)
        return Cut(from_us + whole_us, energy_wh, time_sure=sure)

    def points(self) -> list[Cut]:
        """The readings inside the session."""
        inner = zip(self._offsets_us[1:-1], self._energies_wh[1:-1], strict=True)
        return [Cut(offset_us, energy_wh) for offset_us, energy_wh in inner]

    def phases(self, *, running: bool) -> list[tuple[Cut, bool]]:
        """Where charging and standing take turns, from the start; True is charging.

        Without readings all of it is charging. Of a running session nothing is known after the last
        reading: what was goes on.
        """
        if not self.is_measured:
            return [(Cut(0, 0), True)]
        found: list[tuple[Cut, bool]] = []
        last = len(self._offsets_us) - 1
        known = last - 1 if running else last
        i = 0
        while i < known:
            charging = self._energies_wh[i + 1] > self._energies_wh[i]
            j = i + 1
            if not charging:
                while j < known and self._energies_wh[j + 1] == self._energies_wh[i]:
                    j += 1
                charging = self._offsets_us[j] - self._offsets_us[i] < PAUSE_US_MIN
            if not found or found[-1][1] != charging:
                found.append((Cut(self._offsets_us[i], self._energies_wh[i]), charging))
            i = j
        return found

    def load_at(self, offset_us: int) -> tuple[float, float]:
        """Power in W and current in A from this moment on, as told at the end of that stretch.

        Nothing or zero told: the mean of the stretch, and its current at the nominal voltage. (The
        last sample of a stretch is often taken when the car has just stopped.)
        """
        i = min(bisect_right(self._offsets_us, offset_us), len(self._offsets_us) - 1)
        span_us = self._offsets_us[i] - self._offsets_us[i - 1]
        told_w, told_a = self._powers_w[i], self._currents_a[i]
        if told_w is not None and told_w > 0:
            power_w = told_w
        else:
            energy_wh = self._energies_wh[i] - self._energies_wh[i - 1]
            power_w = energy_wh * HOUR_US / span_us if span_us else 0.0
        return power_w, told_a if told_a is not None and told_a > 0 else power_w / VOLTS

    def _is_sure(self, span_us: int) -> bool:
        return self.is_measured and span_us <= GAP_US_MAX
