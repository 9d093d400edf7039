"""Sampled values without a version: what was measured, in base units."""

from dataclasses import dataclass

REGISTER = "Energy.Active.Import.Register"
POWER = "Power.Active.Import"
VOLTAGE_V = 230.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One value; phase None: of all phases together."""

    value: float
    measurand: str
    unit: str
    phase: str | None = None


def samples(register_wh: float, power_w: float, *, phases: int, full: bool) -> list[Sample]:
    """Register and power; `full` adds current and voltage of each phase."""
    values = [Sample(register_wh, REGISTER, "Wh"), Sample(round(power_w, 1), POWER, "W")]
    if full:
        names = [f"L{number}" for number in range(1, phases + 1)]
        current_a = round(power_w / phases / VOLTAGE_V, 2)
        values += [Sample(current_a, "Current.Import", "A", name) for name in names]
        values += [Sample(VOLTAGE_V, "Voltage", "V", f"{name}-N") for name in names]
    return values
