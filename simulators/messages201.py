"""OCPP 2.0.1 messages of a simulated charging station: pure functions to (action, payload)."""

from dataclasses import dataclass
from typing import Any

from simulators.faults import Faults, wire_value
from simulators.samples import Sample

Wire = tuple[str, dict[str, Any]]
TRANSACTION_ACTIONS = frozenset({"TransactionEvent"})

_REASONS = {"SoftReset": "ImmediateReset", "UnlockCommand": "Other"}  # words of 1.6 alone
_STATES = {state: state for state in ("Available", "Reserved", "Unavailable", "Faulted")}


@dataclass(frozen=True, kw_only=True)
class Event:
    """What every TransactionEvent says; at: as written by the station."""

    transaction_id: str
    seq_no: int
    at: str
    trigger: str
    offline: bool
    charging_state: str | None = None
    remote_start_id: int | None = None
    reservation_id: int | None = None


def boot(vendor: str, model: str, serial: str, firmware: str, reason: str) -> Wire:
    return "BootNotification", {
        "reason": reason,
        "chargingStation": {
            "vendorName": vendor,
            "model": model,
            "serialNumber": serial,
            "firmwareVersion": firmware,
        },
    }


def status(evse_id: int, state: str, at: str, error_code: str) -> Wire:
    """States of the station core are those of 1.6; all that a car sits at are Occupied."""
    del error_code
    return "StatusNotification", {
        "timestamp": at,
        "connectorStatus": _STATES.get(state, "Occupied"),
        "evseId": evse_id,
        "connectorId": 1,
    }


def authorize(badge: str) -> Wire:
    return "Authorize", {"idToken": id_token(badge)}


def id_token(badge: str) -> dict[str, str]:
    return {"idToken": badge, "type": "ISO14443"}


def started(event: Event, evse_id: int, badge: str, reading: dict[str, Any]) -> Wire:
    payload = _event("Started", event)
    payload["evse"] = {"id": evse_id, "connectorId": 1}
    payload["idToken"] = id_token(badge)
    payload["meterValue"] = [reading]
    if event.reservation_id is not None:
        payload["reservationId"] = event.reservation_id
    return "TransactionEvent", payload


def updated(event: Event, reading: dict[str, Any] | None) -> Wire:
    payload = _event("Updated", event)
    if reading is not None:
        payload["meterValue"] = [reading]
    return "TransactionEvent", payload


def ended(event: Event, reason: str, badge: str | None, reading: dict[str, Any]) -> Wire:
    payload = _event("Ended", event)
    payload["transactionInfo"]["stoppedReason"] = _REASONS.get(reason, reason)
    if badge is not None:
        payload["idToken"] = id_token(badge)
    payload["meterValue"] = [reading]
    return "TransactionEvent", payload


def sampled(evse_id: int, reading: dict[str, Any]) -> Wire:
    """Values outside any session."""
    return "MeterValues", {"evseId": evse_id, "meterValue": [reading]}


def charging_needs(evse_id: int, phases: int, current_a: int, energy_wh: int) -> Wire:
    """What a car asks for over ISO 15118, alternating current at 230 V."""
    return "NotifyEVChargingNeeds", {
        "evseId": evse_id,
        "chargingNeeds": {
            "requestedEnergyTransfer": {1: "AC_single_phase", 2: "AC_two_phase"}.get(
                phases, "AC_three_phase"
            ),
            "acChargingParameters": {
                "energyAmount": energy_wh,
                "evMinCurrent": 6,
                "evMaxCurrent": current_a,
                "evMaxVoltage": 230,
            },
        },
    }


def meter_value(at: str, values: list[Sample], context: str, faults: Faults) -> dict[str, Any]:
    """One reading."""
    sampled_values = []
    for sample in values:
        entry: dict[str, Any] = {
            "value": wire_value(faults, sample, text_wanted=False),
            "context": context,
            "measurand": sample.measurand,
            "unitOfMeasure": {"unit": sample.unit},
        }
        if sample.phase is not None:
            entry["phase"] = sample.phase
        sampled_values.append(entry)
    return {"timestamp": at, "sampledValue": sampled_values}


def _event(kind: str, event: Event) -> dict[str, Any]:
    info: dict[str, Any] = {"transactionId": event.transaction_id}
    if event.charging_state is not None:
        info["chargingState"] = event.charging_state
    if event.remote_start_id is not None:
        info["remoteStartId"] = event.remote_start_id
    payload: dict[str, Any] = {
        "eventType": kind,
        "timestamp": event.at,
        "triggerReason": event.trigger,
        "seqNo": event.seq_no,
        "transactionInfo": info,
    }
    if event.offline:
        payload["offline"] = True
    return payload
