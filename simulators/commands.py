"""What a simulated charge point answers to the central system's calls, and what they do to it.

`answer` gives the response and, where the call has one, an effect to be run after the response is
out (a Reset is answered before the reset). What the station has no state for is refused in the
words of its version, never accepted for show. All payloads are in wire form.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from simulators.station import Station

Payload = dict[str, Any]
Effect = Callable[[datetime], None]
READ_ONLY = frozenset({"NumberOfConnectors", "SupportedFeatureProfiles"})
REBOOT_NEEDED = frozenset({"WebSocketPingInterval", "OCPPCommCtrlr.WebSocketPingInterval"})
LOCAL_LIST_MAX = 1_000


@dataclass
class Answer:
    """`effect` None: there is nothing to do. `reset`: the driver has to reconnect after it."""

    response: Payload
    effect: Effect | None = None
    reset: bool = False


def answer(station: Station, action: str, payload: Payload) -> Answer | None:
    """The answer to a call; None: the station does not know the action (NotImplemented)."""
    handlers = _HANDLERS_201 if station.is_201 else _HANDLERS_16
    handler = handlers.get(action)
    return None if handler is None else handler(station, payload)


def known_actions(station: Station) -> list[str]:
    """The actions that the station answers."""
    return list(_HANDLERS_201 if station.is_201 else _HANDLERS_16)


# ---- both versions


def _always(**response: Any) -> Callable[[Station, Payload], Answer]:
    return lambda station, payload: Answer(dict(response))


def _list_version(station: Station, payload: Payload) -> Answer:
    key = "versionNumber" if station.is_201 else "listVersion"
    return Answer({key: station.local_list_version})


def _send_local_list(station: Station, payload: Payload) -> Answer:
    version = payload["versionNumber" if station.is_201 else "listVersion"]
    full = payload["updateType"] == "Full"
    if not full and version <= station.local_list_version:
        return Answer({"status": "VersionMismatch"})
    badges = {} if full else dict(station.local_list)
    for entry in payload.get("localAuthorizationList", []):
        badge = entry["idToken"]["idToken"] if station.is_201 else entry["idTag"]
        info = entry.get("idTokenInfo" if station.is_201 else "idTagInfo")
        if info is None:
            badges.pop(badge, None)
        else:
            badges[badge] = info["status"]
    if len(badges) > LOCAL_LIST_MAX:
        return Answer({"status": "Failed"})
    station.local_list = badges
    station.local_list_version = version
    return Answer({"status": "Accepted"})


def _data_transfer(station: Station, payload: Payload) -> Answer:
    return Answer({"status": "UnknownVendorId"})


def _reset(station: Station, payload: Payload) -> Answer:
    """Either kind of reset ends the sessions at once, as stations do that cannot wait."""

    def effect(now: datetime) -> None:
        station.reboot(now, keep_sessions=False, reason="RemoteReset")

    return Answer({"status": "Accepted"}, effect, reset=True)


def _available(station: Station, evse_id: int, operative: bool) -> Answer:
    if evse_id and evse_id not in station.evses:
        return Answer({"status": "Rejected"})
    chosen = [evse for evse in station.evses.values() if evse_id in (0, evse.evse_id)]
    busy = not operative and any(evse.session is not None for evse in chosen)

    def effect(now: datetime) -> None:
        station.set_available(evse_id, operative, now)

    return Answer({"status": "Scheduled" if busy else "Accepted"}, effect)


def _start(station: Station, evse_id: int | None, badge: str, remote_id: int | None) -> Answer:
    free = [
        evse.evse_id
        for evse in station.evses.values()
        if evse.session is None and not evse.inoperative and evse_id in (None, evse.evse_id)
    ]
    if not free:
        return Answer({"status": "Rejected"})

    def effect(now: datetime) -> None:
        if station.settings.get("AuthorizeRemoteTxRequests") == "true":
            station.authorize(badge)
        station.plug_in(free[0], now)
        # 1.6 has no id to tell a remote start by.
        station.start(free[0], badge, now, remote_start_id=remote_id)

    return Answer({"status": "Accepted"}, effect)


def _stop(station: Station, transaction_id: str) -> Answer:
    running = [
        evse.evse_id
        for evse in station.evses.values()
        if evse.session is not None and evse.session.transaction_id == transaction_id
    ]
    if not running:
        return Answer({"status": "Rejected"})

    def effect(now: datetime) -> None:
        station.stop(running[0], now, reason="Remote")

    return Answer({"status": "Accepted"}, effect)


def _unlock(station: Station, evse_id: int, words: tuple[str, str, str]) -> Answer:
    """words: for done, for a session that goes on, for a connector that is not there."""
    evse = station.evses.get(evse_id)
    if evse is None:
        return Answer({"status": words[2]})
    if station.is_201 and evse.session is not None:
        return Answer({"status": words[1]})
    return Answer({"status": words[0]}, lambda now: station.unplug(evse_id, now))


def _trigger(station: Station, wanted: str, evse_id: int | None) -> Answer:
    def values(now: datetime) -> None:
        for number in station.evses if evse_id in (None, 0) else [evse_id]:
            assert number is not None
            station.sample(number, now, context="Trigger")

    def running(now: datetime) -> None:
        for evse in station.evses.values():
            if evse.session is not None and evse_id in (None, evse.evse_id):
                station.sample(evse.evse_id, now, context="Trigger")

    effects: dict[str, Effect] = {
        "BootNotification": lambda now: station.tell_boot(),
        "Heartbeat": lambda now: station.heartbeat(),
        "StatusNotification": lambda now: station.tell_status(now, evse_id),
        "MeterValues": values,
    }
    if station.is_201:
        effects["TransactionEvent"] = running
    if wanted not in effects:
        return Answer({"status": "NotImplemented"})
    if evse_id not in (None, 0, *station.evses):
        return Answer({"status": "Rejected"})
    return Answer({"status": "Accepted"}, effects[wanted])


# ---- 1.6


def _get_configuration(station: Station, payload: Payload) -> Answer:
    wanted = payload.get("key") or list(station.settings)
    response: Payload = {
        "configurationKey": [
            {"key": key, "readonly": key in READ_ONLY, "value": station.settings[key]}
            for key in wanted
            if key in station.settings
        ]
    }
    unknown = [key for key in wanted if key not in station.settings]
    if unknown:
        response["unknownKey"] = unknown
    return Answer(response)


def _change_configuration(station: Station, payload: Payload) -> Answer:
    return Answer({"status": _change(station, payload["key"], payload["value"], "NotSupported")})


def _change(station: Station, key: str, value: str, unknown: str) -> str:
    """Set one value; returns the word for what became of it."""
    if key not in station.settings:
        return unknown
    old = station.settings[key]
    if key in READ_ONLY or (old.isdigit() and not value.isdigit()):
        return "Rejected"
    station.settings[key] = value
    if key.endswith("HeartbeatInterval"):
        station.interval_s = int(value) or station.interval_s
    return "RebootRequired" if key in REBOOT_NEEDED and value != old else "Accepted"


# ---- 2.0.1


def _evse_of(payload: Payload) -> int | None:
    evse = payload.get("evse")
    return None if evse is None else int(evse["id"])


def _variable(entry: Payload) -> tuple[str, Payload]:
    """The name under which a variable is kept, and what the answer repeats of the question."""
    name = f"{entry['component']['name']}.{entry['variable']['name']}"
    return name, {"component": entry["component"], "variable": entry["variable"]}


def _unknown_variable(station: Station, name: str) -> str:
    component = name.split(".", 1)[0] + "."
    known = any(other.startswith(component) for other in station.settings)
    return "UnknownVariable" if known else "UnknownComponent"


def _get_variables(station: Station, payload: Payload) -> Answer:
    results = []
    for entry in payload["getVariableData"]:
        name, result = _variable(entry)
        value = station.settings.get(name)
        if entry.get("attributeType", "Actual") != "Actual":
            result["attributeStatus"] = "NotSupportedAttributeType"
        elif value is None:
            result["attributeStatus"] = _unknown_variable(station, name)
        else:
            result |= {"attributeStatus": "Accepted", "attributeValue": value}
        results.append(result)
    return Answer({"getVariableResult": results})


def _set_variables(station: Station, payload: Payload) -> Answer:
    results = []
    for entry in payload["setVariableData"]:
        name, result = _variable(entry)
        unknown = _unknown_variable(station, name)
        if entry.get("attributeType", "Actual") != "Actual":
            result["attributeStatus"] = "NotSupportedAttributeType"
        else:
            result["attributeStatus"] = _change(station, name, entry["attributeValue"], unknown)
        results.append(result)
    return Answer({"setVariableResult": results})


def _transaction_status(station: Station, payload: Payload) -> Answer:
    queued = station.durable_unanswered > 0
    wanted = payload.get("transactionId")
    if wanted is None:
        return Answer({"messagesInQueue": queued})
    for session in station.sessions:
        if session.transaction_id == wanted:
            return Answer({"ongoingIndicator": session.ended_at is None, "messagesInQueue": queued})
    return Answer({"messagesInQueue": False})


_BOTH: dict[str, Callable[[Station, Payload], Answer]] = {
    "ClearCache": _always(status="Accepted"),
    "DataTransfer": _data_transfer,
    "GetLocalListVersion": _list_version,
    "SendLocalList": _send_local_list,
    "CancelReservation": _always(status="Rejected"),
    "ReserveNow": _always(status="Rejected"),
    "GetCompositeSchedule": _always(status="Rejected"),
    "ClearChargingProfile": _always(status="Unknown"),
    "GetLog": _always(status="Rejected"),
}
_HANDLERS_16: dict[str, Callable[[Station, Payload], Answer]] = {
    **_BOTH,
    "ChangeAvailability": lambda station, payload: _available(
        station, payload["connectorId"], payload["type"] == "Operative"
    ),
    "ChangeConfiguration": _change_configuration,
    "GetConfiguration": _get_configuration,
    "GetDiagnostics": _always(),
    "RemoteStartTransaction": lambda station, payload: _start(
        station, payload.get("connectorId"), payload["idTag"], None
    ),
    "RemoteStopTransaction": lambda station, payload: _stop(station, str(payload["transactionId"])),
    "Reset": _reset,
    "SetChargingProfile": _always(status="NotSupported"),
    "TriggerMessage": lambda station, payload: _trigger(
        station, payload["requestedMessage"], payload.get("connectorId")
    ),
    "ExtendedTriggerMessage": lambda station, payload: _trigger(
        station, payload["requestedMessage"], payload.get("connectorId")
    ),
    "UnlockConnector": lambda station, payload: _unlock(
        station, payload["connectorId"], ("Unlocked", "UnlockFailed", "NotSupported")
    ),
    "UpdateFirmware": _always(),
}
_HANDLERS_201: dict[str, Callable[[Station, Payload], Answer]] = {
    **_BOTH,
    "ChangeAvailability": lambda station, payload: _available(
        station, _evse_of(payload) or 0, payload["operationalStatus"] == "Operative"
    ),
    "GetBaseReport": _always(status="NotSupported"),
    "GetTransactionStatus": _transaction_status,
    "GetVariables": _get_variables,
    "RequestStartTransaction": lambda station, payload: _start(
        station, payload.get("evseId"), payload["idToken"]["idToken"], payload["remoteStartId"]
    ),
    "RequestStopTransaction": lambda station, payload: _stop(station, payload["transactionId"]),
    "Reset": _reset,
    "SetChargingProfile": _always(status="Rejected"),
    "SetVariables": _set_variables,
    "TriggerMessage": lambda station, payload: _trigger(
        station, payload["requestedMessage"], _evse_of(payload)
    ),
    "UnlockConnector": lambda station, payload: _unlock(
        station,
        payload["evseId"],
        ("Unlocked", "OngoingAuthorizedTransaction", "UnknownConnector"),
    ),
    "UpdateFirmware": _always(status="Rejected"),
}
