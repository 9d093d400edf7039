"""How a station of the load generator obeys: in one word, without reading more than it must.

The answer is valid by the schema of either version for every order, and means nothing: for orders
whose result is a measurement, a list or a certificate, it is the emptiest one there is.
"""

import json
from typing import Any

_ACCEPTED = b'{"status":"Accepted"}'
_FIXED = {
    b"ClearDisplayMessage": b'{"status":"Unknown"}',
    b"CostUpdated": b"{}",
    b"GetBaseReport": b'{"status":"NotSupported"}',
    b"GetChargingProfiles": b'{"status":"NoProfiles"}',
    b"GetCompositeSchedule": b'{"status":"Rejected"}',
    b"GetConfiguration": b"{}",
    b"GetDiagnostics": b"{}",
    b"GetDisplayMessages": b'{"status":"Unknown"}',
    b"GetInstalledCertificateIds": b'{"status":"NotFound"}',
    b"GetMonitoringReport": b'{"status":"EmptyResultSet"}',
    b"GetReport": b'{"status":"EmptyResultSet"}',
    b"GetTransactionStatus": b'{"messagesInQueue":false}',
    b"UnlockConnector": b'{"status":"Unlocked"}',
    b"UnpublishFirmware": b'{"status":"Unpublished"}',
}
_REPEATED = ("id", "component", "variable", "attributeType", "type", "severity")
# action: list of the request, list of the response, what each item of it adds
_LISTS: dict[bytes, tuple[str, str, dict[str, str]]] = {
    b"GetVariables": (
        "getVariableData",
        "getVariableResult",
        {"attributeStatus": "Accepted", "attributeValue": ""},
    ),
    b"SetVariables": ("setVariableData", "setVariableResult", {"attributeStatus": "Accepted"}),
    b"SetVariableMonitoring": (
        "setMonitoringData",
        "setMonitoringResult",
        {"status": "Accepted"},
    ),
    b"ClearVariableMonitoring": ("id", "clearMonitoringResult", {"status": "Accepted"}),
}


def answer_to_order(frame: bytes, *, is_201: bool) -> bytes:
    """The frame that answers a CALL, whose action is known by its place in the text."""
    parts = frame.split(b'"', 4)
    if len(parts) < 5:
        return b'[4,"-1","GenericError","",{}]'
    message_id, action = parts[1], parts[3]
    if action == b"GetLocalListVersion":
        body = b'{"versionNumber":0}' if is_201 else b'{"listVersion":0}'
    elif action == b"UpdateFirmware":
        body = _ACCEPTED if is_201 else b"{}"
    elif action in _LISTS:
        body = _item_by_item(action, frame)
    else:
        body = _FIXED.get(action, _ACCEPTED)
    return b'[3,"%b",%b]' % (message_id, body)


def _item_by_item(action: bytes, frame: bytes) -> bytes:
    """An answer that repeats each item of the question: `frame` has to be read for it."""
    payload: dict[str, Any] = json.loads(frame)[3]
    asked, answered, added = _LISTS[action]
    items = [item if isinstance(item, dict) else {"id": item} for item in payload[asked]]
    results = [{n: item[n] for n in _REPEATED if n in item} | added for item in items]
    return json.dumps({answered: results}, separators=(",", ":")).encode()
