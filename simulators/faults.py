"""What a simulated charge point may do wrong, as data: field cases of real stations.

A `Faults` changes what the station says (times, values, ids, repetitions), never its own count of
the energy that flowed.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from simulators.samples import Sample

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Faults:
    """All off by default."""

    clock_offset_s: float = 0.0  # the station's clock minus the true one
    clock_from_1970: bool = False  # the clock counts from 1970 since the last boot
    clock_without_zone: bool = False  # "2026-01-31T12:00:00.000", no Z
    fraction_digits: int = 3  # of the seconds
    values_of_other_type: bool = False  # 1.6: numbers for strings; 2.0.1: strings for numbers
    kwh_labelled_wh: bool = False  # registers in kWh under the unit Wh, also in Start and Stop
    register_per_session: bool = False  # the register told begins at 0 with each session
    transaction_id_minus_one: bool = False  # 1.6: Stop and MeterValues carry -1
    lose_stops: bool = False  # the end of a session is never told
    duplicate_every: int = 0  # each n-th transaction message is written twice; 0: none
    skip_seq_no_every: int = 0  # 2.0.1: each n-th event skips a number; 0: none
    ignore_profiles: bool = False  # charging profiles are accepted and bound nothing
    refuse_purposes: tuple[str, ...] = ()  # of charging profiles that it cannot do
    fail_transfers: bool = False  # files are neither fetched nor sent
    hex_password: bool = False  # an ordered password is the bytes that its hex digits stand for

    @property
    def break_schema(self) -> bool:
        """Whether messages may be invalid by the JSON schemas."""
        return self.values_of_other_type or (
            self.kwh_labelled_wh  # a register of 12.345 where 1.6 wants an integer
        )


def stamp(faults: Faults, now: datetime, booted_at: datetime) -> str:
    """`now` as the station writes it."""
    if faults.clock_from_1970:
        now = _EPOCH + (now - booted_at)
    now = now.astimezone(UTC) + timedelta(seconds=faults.clock_offset_s)
    text = now.strftime("%Y-%m-%dT%H:%M:%S")
    if faults.fraction_digits:
        text += f".{now.microsecond:06d}".ljust(16, "0")[: faults.fraction_digits + 1]
    return text if faults.clock_without_zone else text + "Z"


def told_register(faults: Faults, register_wh: int, session_start_wh: int | None) -> float:
    """The register as the station tells it: an int, or with kWh under a wrong unit a float.

    session_start_wh: the register at the start of the session; None outside any session.
    """
    told = register_wh
    if faults.register_per_session:
        told = 0 if session_start_wh is None else register_wh - session_start_wh
    return told / 1000 if faults.kwh_labelled_wh else told


def wire_value(faults: Faults, sample: Sample, *, text_wanted: bool) -> str | float:
    """A sampled value in the type that the version wants, or in the other one."""
    value = int(sample.value) if sample.value == int(sample.value) else round(sample.value, 3)
    return str(value) if text_wanted is not faults.values_of_other_type else value
