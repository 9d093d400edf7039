"""Charging profiles without a version: what is kept, and how much power it leaves at a moment.

Pure. A limit in A is per phase, one in W is of all phases together, as OCPP has it. At every moment
the smallest of these bounds a charging: the station's own maximum, shared evenly by its EVSEs; and
the transaction's profile of the highest stack level that says something then, or in its place the
default for transactions.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

VOLTAGE_V = 230
PAUSE_BELOW_A = 6  # by IEC 61851 no car can be told less: below it charging pauses
STATION_MAX, TX_DEFAULT, TX = "StationMax", "TxDefaultProfile", "TxProfile"
_PURPOSES = {
    "ChargePointMaxProfile": STATION_MAX,
    "ChargingStationMaxProfile": STATION_MAX,
    "TxDefaultProfile": TX_DEFAULT,
    "TxProfile": TX,
}
_RECURRENCE_S = {"Daily": 86_400.0, "Weekly": 604_800.0}


@dataclass(frozen=True)
class Period:
    """From `start_s` of the schedule on. limit: in the unit of its profile."""

    start_s: float
    limit: float
    phases: int | None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One profile as the station keeps it; evse_id 0: of the whole station or of every EVSE.

    purpose None: one that the central system may not set. start None: relative to the beginning of
    the transaction. transaction_id: as text, in both versions. wire: as it came.
    """

    profile_id: int
    evse_id: int
    purpose: str | None
    stack_level: int
    unit: str
    periods: tuple[Period, ...]
    start: datetime | None = None
    duration_s: float | None = None
    recurrence_s: float | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    transaction_id: str | None = None
    wire: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Allowed:
    """power_w None: no limit. until: when that may change, None: not by itself.

    phases: over which that power flows.
    """

    power_w: float | None
    until: datetime | None
    phases: int = 1

    @property
    def pauses(self) -> bool:
        """Whether it is less than a car can be told."""
        return self.power_w is not None and self.power_w < PAUSE_BELOW_A * VOLTAGE_V * self.phases


def read_profile(wire: dict[str, Any], evse_id: int, now: datetime) -> Profile:
    """A profile of either version; of several schedules (2.0.1) the first.

    Raises: ValueError for times that are none, or periods that do not begin at 0 and rise.
    """
    schedule = wire["chargingSchedule"]
    if isinstance(schedule, list):
        schedule = schedule[0]
    periods = tuple(
        Period(entry["startPeriod"], entry["limit"], entry.get("numberPhases"))
        for entry in schedule["chargingSchedulePeriod"]
    )
    starts = [period.start_s for period in periods]
    if not starts or starts[0] != 0 or starts != sorted(set(starts)):
        raise ValueError("the periods of a schedule begin at 0 and rise")
    kind = wire["chargingProfileKind"]
    start = _moment(schedule.get("startSchedule"))
    if start is None and kind != "Relative":
        start = now
    transaction_id = wire.get("transactionId")
    return Profile(
        profile_id=wire.get("chargingProfileId", wire.get("id", 0)),
        evse_id=evse_id,
        purpose=_PURPOSES.get(wire["chargingProfilePurpose"]),
        stack_level=wire["stackLevel"],
        unit=schedule["chargingRateUnit"],
        periods=periods,
        start=None if kind == "Relative" else start,
        duration_s=schedule.get("duration"),
        recurrence_s=_RECURRENCE_S[wire.get("recurrencyKind", "Daily")]
        if kind == "Recurring"
        else None,
        valid_from=_moment(wire.get("validFrom")),
        valid_to=_moment(wire.get("validTo")),
        transaction_id=None if transaction_id is None else str(transaction_id),
        wire=wire,
    )


def _moment(text: str | None) -> datetime | None:
    """Raises: ValueError."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def says(profile: Profile, now: datetime, began_at: datetime, phases: int) -> Allowed:
    """What one profile allows at `now` to a charging that began at `began_at`.

    power_w None: it says nothing then.
    """
    if profile.valid_from is not None and now < profile.valid_from:
        return Allowed(None, profile.valid_from)
    if profile.valid_to is not None and now >= profile.valid_to:
        return Allowed(None, None)
    start = profile.start or began_at
    if now < start:
        return Allowed(None, _earliest(start, profile.valid_to))
    elapsed_s = (now - start).total_seconds()
    ends_s = profile.duration_s
    if profile.recurrence_s is not None:
        start += timedelta(seconds=elapsed_s // profile.recurrence_s * profile.recurrence_s)
        elapsed_s %= profile.recurrence_s
        ends_s = min(ends_s or profile.recurrence_s, profile.recurrence_s)
    if ends_s is not None and elapsed_s >= ends_s:
        again = profile.recurrence_s
        after = None if again is None else start + timedelta(seconds=again)
        return Allowed(None, _earliest(after, profile.valid_to))
    period = [one for one in profile.periods if one.start_s <= elapsed_s][-1]
    later = [one.start_s for one in profile.periods if one.start_s > elapsed_s]
    next_s = min([*later, *([] if ends_s is None else [ends_s])], default=None)
    until = None if next_s is None else start + timedelta(seconds=next_s)
    over = min(phases, period.phases or 3)
    power_w = period.limit * VOLTAGE_V * over if profile.unit == "A" else period.limit
    return Allowed(power_w, _earliest(until, profile.valid_to), over)


class ProfileStore:
    """The profiles of one station."""

    def __init__(self) -> None:
        self.profiles: list[Profile] = []

    def add(self, profile: Profile) -> None:
        """Keep it, in the place of one with its id, or with its purpose, level and EVSE."""
        self.profiles = [
            other
            for other in self.profiles
            if other.profile_id != profile.profile_id and not same_place(other, profile)
        ]
        self.profiles.append(profile)

    def find(
        self,
        *,
        ids: list[int] | None = None,
        evse_id: int | None = None,
        purpose: str | None = None,
        stack_level: int | None = None,
    ) -> list[Profile]:
        """Those that meet all criteria; None asks for nothing. purpose: as on the wire."""
        wanted = None if purpose is None else _PURPOSES.get(purpose, purpose)
        return [
            profile
            for profile in self.profiles
            if (ids is None or profile.profile_id in ids)
            and evse_id in (None, profile.evse_id)
            and wanted in (None, profile.purpose)
            and stack_level in (None, profile.stack_level)
        ]

    def remove(self, profiles: list[Profile]) -> None:
        """Forget these."""
        self.profiles = [profile for profile in self.profiles if profile not in profiles]

    def end_transaction(self, evse_id: int) -> None:
        """A transaction's profiles go with it."""
        self.remove([p for p in self.profiles if p.purpose == TX and p.evse_id == evse_id])

    def allowed(
        self, evse_id: int, now: datetime, began_at: datetime, *, phases: int, sharing: int = 1
    ) -> Allowed:
        """What all profiles together leave to one EVSE.

        sharing: how many EVSEs share the station's maximum. evse_id 0: the station as a whole,
        which only its maximum bounds.
        """
        if not self.profiles:
            return Allowed(None, None)
        most = self._stacked(STATION_MAX, 0, now, began_at, phases)
        if evse_id == 0:
            return most
        ours = self._stacked(TX, evse_id, now, began_at, phases)
        until = _earliest(most.until, ours.until)
        if ours.power_w is None:
            ours = self._stacked(TX_DEFAULT, evse_id, now, began_at, phases)
            until = _earliest(until, ours.until)
        if most.power_w is None:
            return Allowed(ours.power_w, until, ours.phases)
        shared_w = most.power_w / sharing
        if ours.power_w is None or shared_w < ours.power_w:
            return Allowed(shared_w, until, most.phases)
        return Allowed(ours.power_w, until, ours.phases)

    def _stacked(
        self, purpose: str, evse_id: int, now: datetime, began_at: datetime, phases: int
    ) -> Allowed:
        """The highest level that says something; its own EVSE's before one for all."""
        chosen = sorted(
            (p for p in self.profiles if p.purpose == purpose and p.evse_id in (0, evse_id)),
            key=lambda p: (p.stack_level, p.evse_id),
            reverse=True,
        )
        until: datetime | None = None
        for profile in chosen:
            said = says(profile, now, began_at, phases)
            until = _earliest(until, said.until)
            if said.power_w is not None:
                return Allowed(said.power_w, until, said.phases)
        return Allowed(None, until, phases)

    def steps(
        self, evse_id: int, now: datetime, until: datetime, began_at: datetime, *, phases: int
    ) -> Iterator[tuple[datetime, float | None]]:
        """Composite schedule: from when on how much, None: no limit; equal neighbours joined."""
        last: float | None = -1.0
        while now < until:
            allowed = self.allowed(evse_id, now, began_at, phases=phases)
            if allowed.power_w != last:
                yield now, allowed.power_w
                last = allowed.power_w
            if allowed.until is None:
                return
            now = allowed.until


def same_place(one: Profile, other: Profile) -> bool:
    """Whether two profiles could both be in force: same purpose, level and EVSE."""
    return (one.purpose, one.stack_level, one.evse_id) == (
        other.purpose,
        other.stack_level,
        other.evse_id,
    )


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
