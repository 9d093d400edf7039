"""OCPP 2.0.1: what cars say of the power that they want, and the profiles that we give them."""

import math
from collections.abc import Sequence
from typing import Any, Final

from csms.domain.events import CarNeeds, CarPlan, Event, Outcome
from csms.domain.limits import LimitStep, PlannedPeriod
from csms.domain.values import seconds
from csms.wire.context import Context, OwnOrder, Request, encode, place_id, plain, stated, time_text

VOLTAGE_V: Final = 230  # of a phase, in Europe
# Of the profiles that we send on our own account, plus the EVSE: a profile takes the place of the
# one with its id, on whichever EVSE of the station that is (K01.FR.05). Far from those that people
# give.
PROFILE_ID_BASE: Final = 1_000_000
PROFILE_STACK_LEVEL: Final = 0
POWER_UNBOUNDED_W: Final = 400_000  # stands for no limit between limits: no car takes more
_PHASES: Final = {"AC_single_phase": 1, "AC_two_phase": 2, "AC_three_phase": 3}  # others: DC


def _needs(message: Any, context: Context) -> Event:
    content = plain(message)
    return CarNeeds(place_id(message.evseId), _car_w_max(content), content)


def _car_w_max(content: dict[str, Any]) -> int | None:
    """What the car takes at most: by its current on the phases that it asks for, or its power."""
    phases = _PHASES.get(str(_part(content, "chargingNeeds", "requestedEnergyTransfer")))
    if phases is not None:
        current_a = _part(content, "chargingNeeds", "acChargingParameters", "evMaxCurrent")
        return None if current_a is None else round(current_a * VOLTAGE_V * phases)
    power_w = _part(content, "chargingNeeds", "dcChargingParameters", "evMaxPower")
    current_a = _part(content, "chargingNeeds", "dcChargingParameters", "evMaxCurrent")
    voltage_v = _part(content, "chargingNeeds", "dcChargingParameters", "evMaxVoltage")
    if power_w is None and current_a is not None and voltage_v is not None:
        power_w = current_a * voltage_v
    return None if power_w is None else round(power_w)


def _plan(message: Any, context: Context) -> Event:
    content = plain(message)
    return CarPlan(
        place_id(message.evseId),
        _planned(content),
        _part(content, "chargingSchedule", "duration"),
        content,
        stated(message.timeBase),
    )


def _planned(content: dict[str, Any]) -> tuple[PlannedPeriod, ...]:
    """The periods of a schedule; amperes are per phase, of three where it names none."""
    in_amperes = _part(content, "chargingSchedule", "chargingRateUnit") == "A"
    periods = (
        PlannedPeriod(
            period.get("startPeriod") or 0,
            (period.get("limit") or 0.0)
            * (VOLTAGE_V * (period.get("numberPhases") or 3) if in_amperes else 1),
        )
        for period in _part(content, "chargingSchedule", "chargingSchedulePeriod") or ()
    )
    return tuple(sorted(periods))


def _part(content: Any, *names: str) -> Any:
    """What stands at the end of a path; None where it breaks off."""
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def _answer_needs(event: Event, outcome: Outcome) -> str:
    """Accepted: a profile follows (K15.FR.03). Without a transaction, or a bound, none does."""
    follows = outcome.transaction_id is not None and outcome.limits
    return encode({"status": "Accepted" if follows else "Rejected"})


def _answer_plan(event: Event, outcome: Outcome) -> str:
    """A plan within the limits is accepted (K15.FR.08, K16.FR.06)."""
    return encode({"status": "Rejected" if outcome.plan_exceeds else "Accepted"})


def _profile_for_needs(event: Event, outcome: Outcome) -> OwnOrder | None:
    """The charging profile that a car's needs call for (K15.FR.02): the limits, for as long as the
    transaction lasts."""
    assert isinstance(event, CarNeeds)
    if outcome.transaction_id is None or not outcome.limits:
        return None
    phases = _PHASES.get(str(_part(event.content, "chargingNeeds", "requestedEnergyTransfer")))
    schedule = {
        "id": 1,
        "startSchedule": time_text(outcome.at),
        "chargingRateUnit": "W" if phases is None else "A",
        "chargingSchedulePeriod": _schedule_periods(outcome.limits, phases),
    }
    profile = {
        "id": PROFILE_ID_BASE + event.evse_id,
        "stackLevel": PROFILE_STACK_LEVEL,
        "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": [schedule],
        "transactionId": outcome.transaction_id,
    }
    payload = {"evseId": event.evse_id, "chargingProfile": profile}
    return OwnOrder("SetChargingProfile", payload, "charging_needs", demanded=True)


def _schedule_periods(limits: Sequence[LimitStep], phases: int | None) -> list[dict[str, Any]]:
    """The limits in whole seconds from the first one on; phases None: direct current, in W.

    A lower one begins a little earlier rather than later, a higher one later rather than earlier.
    """
    periods: list[dict[str, Any]] = []
    before_w = 0
    for step in limits:
        power_w = POWER_UNBOUNDED_W if step.limit_w is None else step.limit_w
        after_s = seconds(step.from_at - limits[0].from_at)
        start_s = math.floor(after_s) if power_w < before_w else math.ceil(after_s)
        while periods and periods[-1]["startPeriod"] >= start_s:
            del periods[-1]
        period: dict[str, Any] = {"startPeriod": start_s}
        if phases is None:
            period["limit"] = float(power_w)
        else:
            period |= {"limit": limit_a(power_w, phases), "numberPhases": phases}
        periods.append(period)
        before_w = power_w
    return periods


def limit_a(power_w: int, phases: int) -> float:
    """A limit per phase in A, in tenths, never above the power. Below 6 A no car can charge
    (IEC 61851-1): it pauses (field case 37)."""
    tenths = power_w * 10 // (VOLTAGE_V * phases)
    return tenths / 10 if tenths >= 60 else 0.0


NEEDS: Final = Request(
    _needs, _answer_needs, ("evseId", "chargingNeeds"), follow=_profile_for_needs
)
PLAN: Final = Request(_plan, _answer_plan, ("evseId", "chargingSchedule"))
