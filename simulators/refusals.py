"""How a charge point says no to each order, in the words of its version.

For orders whose answer has no word for it, the emptiest answer that is valid; nothing is done then.
"""

from collections.abc import Callable
from typing import Any

Payload = dict[str, Any]
Refusal = Callable[[Payload], Payload]


def _word(word: str) -> Refusal:
    return lambda payload: {"status": word}


def _fixed(**response: Any) -> Refusal:
    return lambda payload: dict(response)


def _each(asked: str, answered: str, names: tuple[str, ...], status: str, word: str) -> Refusal:
    """A refusal of every item; names: what is repeated of it."""

    def refuse(payload: Payload) -> Payload:
        items = [item if isinstance(item, dict) else {"id": item} for item in payload[asked]]
        return {
            answered: [
                {name: item[name] for name in names if name in item} | {status: word}
                for item in items
            ]
        }

    return refuse


_VARIABLE = ("component", "variable", "attributeType")
_SPECIAL_16: dict[str, Refusal] = {
    "ClearChargingProfile": _word("Unknown"),
    "DeleteCertificate": _word("Failed"),
    "GetConfiguration": lambda payload: {"unknownKey": payload.get("key", [])},
    "GetDiagnostics": _fixed(),
    "GetInstalledCertificateIds": _word("NotFound"),
    "GetLocalListVersion": _fixed(listVersion=-1),
    "SendLocalList": _word("Failed"),
    "UnlockConnector": _word("UnlockFailed"),
    "UpdateFirmware": _fixed(),
}
_SPECIAL_201: dict[str, Refusal] = {
    "ClearChargingProfile": _word("Unknown"),
    "ClearDisplayMessage": _word("Unknown"),
    "ClearVariableMonitoring": _each("id", "clearMonitoringResult", ("id",), "status", "Rejected"),
    "CostUpdated": _fixed(),
    "DeleteCertificate": _word("Failed"),
    "GetChargingProfiles": _word("NoProfiles"),
    "GetDisplayMessages": _word("Unknown"),
    "GetInstalledCertificateIds": _word("NotFound"),
    "GetLocalListVersion": _fixed(versionNumber=0),
    "GetTransactionStatus": _fixed(messagesInQueue=False),
    "GetVariables": _each(
        "getVariableData", "getVariableResult", _VARIABLE, "attributeStatus", "Rejected"
    ),
    "SendLocalList": _word("Failed"),
    "SetVariableMonitoring": _each(
        "setMonitoringData",
        "setMonitoringResult",
        ("component", "variable", "type", "severity"),
        "status",
        "Rejected",
    ),
    "SetVariables": _each(
        "setVariableData", "setVariableResult", _VARIABLE, "attributeStatus", "Rejected"
    ),
    "UnlockConnector": _word("UnlockFailed"),
    "UnpublishFirmware": _word("NoFirmware"),
}


def refusal(action: str, payload: Payload, *, is_201: bool) -> Payload:
    """The response that says no to an order."""
    special = _SPECIAL_201 if is_201 else _SPECIAL_16
    return special.get(action, _word("Rejected"))(payload)
