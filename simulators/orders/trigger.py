"""TriggerMessage: what the central system wants to hear is really said."""

from datetime import datetime

from simulators import telling
from simulators.certificates import STATION, V2G
from simulators.orders.answer import Answer, Effect, Handler, Payload, status
from simulators.orders.security import ask_to_sign
from simulators.station import Station


def _values(station: Station, evse_id: int | None) -> Effect:
    def effect(now: datetime) -> None:
        for number in station.evses if evse_id in (None, 0) else [evse_id]:
            assert number is not None
            station.sample(number, now, context="Trigger")

    return effect


def _running(station: Station, evse_id: int | None) -> Effect:
    def effect(now: datetime) -> None:
        for evse in station.evses.values():
            if evse.session is not None and evse_id in (None, 0, evse.evse_id):
                station.sample(evse.evse_id, now, context="Trigger")

    return effect


def _firmware(station: Station, *, signed: bool) -> Effect:
    """The last step of an update; Idle, without an id, where none is under way."""

    def effect(now: datetime) -> None:
        step, request_id = station.transfers.get("firmware", ("Idle", None))
        if step == "Installed":
            step, request_id = "Idle", None
        station.say(*telling.firmware_wire(station, step, request_id, signed=signed))

    return effect


def _transfer(station: Station, kind: str, action: str, over: tuple[str, ...]) -> Effect:
    """Likewise of a log, or of firmware published; over: steps after which nothing goes on."""

    def effect(now: datetime) -> None:
        step, request_id = station.transfers.get(kind, ("Idle", None))
        payload: Payload = {"status": "Idle" if step in over else step}
        if request_id is not None and step not in over:
            payload["requestId"] = request_id
        station.say(action, payload)

    return effect


def _effects(station: Station, evse_id: int | None) -> dict[str, Effect]:
    """By the message wanted, in both versions."""
    return {
        "BootNotification": lambda now: station.tell_boot("Triggered"),
        "Heartbeat": lambda now: station.heartbeat(),
        "MeterValues": _values(station, evse_id),
        "StatusNotification": lambda now: station.tell_status(now, evse_id),
        "LogStatusNotification": _transfer(
            station, "log", "LogStatusNotification", ("Uploaded", "UploadFailure")
        ),
    }


def _trigger16(station: Station, payload: Payload, now: datetime) -> Answer:
    return _trigger_by(station, payload, signed=False)


def _trigger_extended(station: Station, payload: Payload, now: datetime) -> Answer:
    return _trigger_by(station, payload, signed=True)


def _trigger_by(station: Station, payload: Payload, *, signed: bool) -> Answer:
    evse_id = payload.get("connectorId")
    effects = _effects(station, evse_id) | {
        "DiagnosticsStatusNotification": _transfer(
            station, "diagnostics", "DiagnosticsStatusNotification", ("Uploaded", "UploadFailed")
        ),
        "FirmwareStatusNotification": _firmware(station, signed=signed),
        "SignChargePointCertificate": ask_to_sign(station, STATION),
    }
    wanted = payload["requestedMessage"]
    if wanted not in effects:
        return status("NotImplemented")
    if evse_id not in (None, 0, *station.evses):
        return status("Rejected")
    return status("Accepted", effects[wanted])


def _trigger201(station: Station, payload: Payload, now: datetime) -> Answer:
    """F06: a status only of a connector that is named, and no boot when the last was accepted."""
    evse = payload.get("evse")
    evse_id = None if evse is None else evse["id"]
    effects = _effects(station, evse_id) | {
        "FirmwareStatusNotification": _firmware(station, signed=True),
        "PublishFirmwareStatusNotification": _transfer(
            station,
            "publish",
            "PublishFirmwareStatusNotification",
            ("Published", "DownloadFailed"),
        ),
        "SignChargingStationCertificate": ask_to_sign(station, STATION),
        "SignV2GCertificate": ask_to_sign(station, V2G),
        "TransactionEvent": _running(station, evse_id),
    }
    wanted = payload["requestedMessage"]
    if wanted not in effects:
        return status("NotImplemented")
    if (
        evse_id not in (None, 0, *station.evses)
        or (wanted == "BootNotification" and station.accepted)
        or (wanted == "StatusNotification" and (evse or {}).get("connectorId") != 1)
    ):
        return status("Rejected")
    return status("Accepted", effects[wanted])


HANDLERS_16: dict[str, Handler] = {
    "ExtendedTriggerMessage": _trigger_extended,
    "TriggerMessage": _trigger16,
}
HANDLERS_201: dict[str, Handler] = {"TriggerMessage": _trigger201}
