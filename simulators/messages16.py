"""OCPP 1.6 messages of a simulated charge point: pure functions to (action, payload).

Where a transaction id belongs stands None: the station fills it in when it sends, for the id
comes with the answer to StartTransaction.
"""

from typing import Any

from simulators.faults import Faults, wire_value
from simulators.samples import Sample

Wire = tuple[str, dict[str, Any]]
TRANSACTION_ACTIONS = frozenset({"StartTransaction", "StopTransaction", "MeterValues"})

# Reasons of the station core, which uses the words of 2.0.1.
_REASONS = {
    "EVDisconnected": "EVDisconnected",
    "EmergencyStop": "EmergencyStop",
    "ImmediateReset": "HardReset",
    "SoftReset": "SoftReset",
    "UnlockCommand": "UnlockCommand",
    "DeAuthorized": "DeAuthorized",
    "PowerLoss": "PowerLoss",
    "Reboot": "Reboot",
    "Remote": "Remote",
    "Local": "Local",
}


def boot(vendor: str, model: str, serial: str, firmware: str, reason: str) -> Wire:
    """`reason` has no place in 1.6."""
    del reason
    return "BootNotification", {
        "chargePointVendor": vendor,
        "chargePointModel": model,
        "chargePointSerialNumber": serial,
        "firmwareVersion": firmware,
    }


def status(evse_id: int, state: str, at: str, error_code: str) -> Wire:
    """State of a connector; 0 is the station as a whole."""
    return "StatusNotification", {
        "connectorId": evse_id,
        "errorCode": error_code,
        "status": state,
        "timestamp": at,
    }


def authorize(badge: str) -> Wire:
    return "Authorize", {"idTag": badge}


def started(
    evse_id: int, badge: str, register_wh: float, at: str, reservation_id: int | None = None
) -> Wire:
    """`reservation_id` None: nothing was reserved."""
    payload: dict[str, Any] = {
        "connectorId": evse_id,
        "idTag": badge,
        "meterStart": register_wh,
        "timestamp": at,
    }
    if reservation_id is not None:
        payload["reservationId"] = reservation_id
    return "StartTransaction", payload


def sampled(
    evse_id: int, at: str, values: list[Sample], context: str, faults: Faults, *, in_session: bool
) -> Wire:
    payload: dict[str, Any] = {"connectorId": evse_id}
    if in_session:
        payload["transactionId"] = None
    payload["meterValue"] = [meter_value(at, values, context, faults)]
    return "MeterValues", payload


def ended(
    register_wh: float, at: str, reason: str, badge: str | None, data: list[dict[str, Any]]
) -> Wire:
    """`data`: readings for transactionData, may be empty."""
    payload: dict[str, Any] = {
        "transactionId": None,
        "meterStop": register_wh,
        "timestamp": at,
        "reason": _REASONS.get(reason, "Other"),
    }
    if badge is not None:
        payload["idTag"] = badge
    if data:
        payload["transactionData"] = data
    return "StopTransaction", payload


def meter_value(at: str, values: list[Sample], context: str, faults: Faults) -> dict[str, Any]:
    """One reading."""
    sampled_values = []
    for sample in values:
        entry: dict[str, Any] = {
            "value": wire_value(faults, sample, text_wanted=True),
            "context": context,
            "measurand": sample.measurand,
            "unit": sample.unit,
        }
        if sample.phase is not None:
            entry["phase"] = sample.phase
        sampled_values.append(entry)
    return {"timestamp": at, "sampledValue": sampled_values}
