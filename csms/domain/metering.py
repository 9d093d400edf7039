"""What a list of sampled values means.

A station repeats the same list of (measurand, phase, unit, context, location) in every message;
only the numbers change. The list is a `Profile`, worked out once and remembered; a `Reading` is a
moment, a profile and the numbers in its order. Raw numbers are never changed: the register in Wh
and the power in W that the session needs are derived beside them.
"""

from datetime import datetime
from typing import Final, NamedTuple

from csms.domain.values import ENERGY_UNIT_WH, POWER_UNIT_W, digest64, register_wh

REGISTER: Final = "Energy.Active.Import.Register"
POWER: Final = "Power.Active.Import"
PERIODIC: Final = "Sample.Periodic"
BEGIN: Final = "Transaction.Begin"
END: Final = "Transaction.End"

_PHASES: Final = ("L1", "L2", "L3")
_PHASES_TO_NEUTRAL: Final = ("L1-N", "L2-N", "L3-N")

# Spellings of measurands that mean another one (field case 19 and OCA errata).
_MEASURAND_ALIASES: Final = {"": REGISTER, "Request.Energy": REGISTER}


class SampleKind(NamedTuple):
    """What one number of a reading is; empty texts where the station said nothing.

    `factor` is the power of ten of OCPP 2.0.1's unit multiplier; `signed` tells a value that is no
    number but signed data, kept as the text that came; `proved` one that has a signed value too.
    """

    measurand: str
    phase: str = ""
    unit: str = ""
    context: str = ""
    location: str = ""
    factor: int = 0
    signed: bool = False
    proved: bool = False


class Profile:
    """A list of sample kinds with what follows from it: where the register and the power stand."""

    __slots__ = (
        "context",
        "database_id",
        "kinds",
        "mark",
        "power_at",
        "proved",
        "register_at",
        "signed",
    )

    def __init__(self, kinds: tuple[SampleKind, ...]) -> None:
        self.kinds = kinds
        #: (position, factor to Wh) of the register, or of its three phases; empty: no register
        self.register_at = _positions(kinds, REGISTER, ENERGY_UNIT_WH, "Wh")
        #: (position, factor to W) likewise
        self.power_at = _positions(kinds, POWER, POWER_UNIT_W, "W")
        contexts = {kind.context for kind in kinds} - {""}
        #: the context of the whole reading; Transaction.Begin and .End win over periodic ones
        self.context = next((c for c in (BEGIN, END) if c in contexts), PERIODIC)
        #: some value is signed data, no number
        self.signed = any(kind.signed for kind in kinds)
        #: some number has a signed value beside it
        self.proved = any(kind.proved for kind in kinds)
        #: what tells it from others in the digest of a reading: equal numbers of another phase, say
        self.mark = f"{digest64(*(str(part) for kind in kinds for part in kind)):x}"
        #: id of its row, None until the recorder has stored it
        self.database_id: int | None = None

    def register_wh(self, samples: list[float], factor: float = 1.0) -> float | None:
        """The import register in Wh, summed over phases where only those are given.

        None when the reading has none or it is no number that a meter can show. `factor` is a
        known fault of the make (kWh labelled Wh: 1000).
        """
        total = 0.0
        for position, unit_factor in self.register_at:
            total += samples[position] * unit_factor
        return register_wh(total * factor) if self.register_at else None

    def power_w(self, samples: list[float]) -> float | None:
        """The active power drawn in W, None as above."""
        total = 0.0
        for position, unit_factor in self.power_at:
            total += samples[position] * unit_factor
        return total if self.power_at and -1e9 < total < 1e9 else None


class Reading(NamedTuple):
    """What the meter showed at one moment."""

    stated_at: datetime | None  # None: the station gave no readable time
    profile: Profile
    samples: list[float]  # in the order of profile.kinds; NaN where texts has it
    texts: str | None  # JSON {"position": text} of signed or unreadable values
    digest: int  # of the content, for "once"
    literal: str = "{}"  # the samples as an array literal, as they are stored


def _positions(
    kinds: tuple[SampleKind, ...], measurand: str, units: dict[str, float], default_unit: str
) -> tuple[tuple[int, float], ...]:
    """Where the total of a measurand stands; its three phases where there is no total.

    Of several totals (a message with Transaction.Begin and .End samples) the last one counts: it
    is the newest. Values measured at the inlet or the battery are not the outlet's.
    """
    total: tuple[int, float] | None = None
    by_phase: dict[str, tuple[int, float]] = {}
    for position, kind in enumerate(kinds):
        if _MEASURAND_ALIASES.get(kind.measurand, kind.measurand) != measurand:
            continue
        if kind.signed or kind.location not in ("", "Outlet"):
            continue
        factor = units.get((kind.unit or default_unit).lower())
        if factor is None:
            continue
        scaled = (position, factor * 10.0**kind.factor)
        if kind.phase == "":
            total = scaled
        else:
            by_phase[kind.phase] = scaled
    if total is not None:
        return (total,)
    for phases in (_PHASES, _PHASES_TO_NEUTRAL):
        if all(phase in by_phase for phase in phases):
            return tuple(by_phase[phase] for phase in phases)
    if len(by_phase) == 1:  # a single-phase station that names its phase
        return tuple(by_phase.values())
    return ()
