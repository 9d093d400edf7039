"""Orders about settings, reports, triggers and files, without input or output."""

from datetime import datetime
from typing import Any

import pytest

from simulators import commands
from simulators.faults import Faults
from simulators.model import OCPP16, OCPP201, StationConfig
from simulators.station import Station
from tests.simulator_orders import BEGIN, PROTOCOLS, TOKEN, later, order, station_of, told

# ---- settings and reports


def test_more_items_than_the_station_takes_are_a_callerror() -> None:
    for protocol, action, name, entry, code in (
        (OCPP16, "GetConfiguration", "key", "X", "OccurenceConstraintViolation"),
        (
            OCPP201,
            "GetVariables",
            "getVariableData",
            {"component": {"name": "X"}, "variable": {"name": "Y"}},
            "OccurrenceConstraintViolation",
        ),
    ):
        with pytest.raises(commands.OrderError) as refused:
            commands.answer(station_of(protocol), action, {name: [entry] * 51}, BEGIN)
        assert refused.value.code == code


def variable(name: str, value: str | None = None, **more: Any) -> dict[str, Any]:
    component, _, rest = name.partition(".")
    plain, _, instance = rest.removesuffix("]").partition("[")
    entry: dict[str, Any] = {
        "component": {"name": component} | more.pop("on", {}),
        "variable": {"name": plain} | ({"instance": instance} if instance else {}),
        **more,
    }
    return entry if value is None else entry | {"attributeValue": value}


def test_variables_of_instances_and_evses_are_read_and_secrets_are_not() -> None:
    station = station_of(OCPP201)
    station.start(2, "B", BEGIN)
    asked = [
        variable("DeviceDataCtrlr.ItemsPerMessage[GetVariables]"),
        variable("EVSE.AvailabilityState", on={"evse": {"id": 2}}),
        variable("EVSE.AvailabilityState", on={"evse": {"id": 9}}),
        variable("securityctrlr.basicauthpassword"),
        variable("TxCtrlr.EVConnectionTimeOut", attributeType="Target"),
    ]
    results = order(station, "GetVariables", {"getVariableData": asked})["getVariableResult"]
    assert [(r["attributeStatus"], r.get("attributeValue")) for r in results] == [
        ("Accepted", "10"),
        ("Accepted", "Occupied"),
        ("UnknownComponent", None),
        ("Rejected", None),
        ("NotSupportedAttributeType", None),
    ]


def test_reports_come_in_numbered_parts_and_the_last_says_so() -> None:
    station = station_of(OCPP201)
    answer = order(station, "GetBaseReport", {"requestId": 4, "reportBase": "FullInventory"})
    assert answer == {"status": "Accepted"}
    reports = [payload for action, payload in told(station) if action == "NotifyReport"]
    assert len(reports) > 3
    assert [report["seqNo"] for report in reports] == list(range(len(reports)))
    assert [report["tbc"] for report in reports] == [True] * (len(reports) - 1) + [False]
    assert {report["requestId"] for report in reports} == {4}
    assert sum(len(report["reportData"]) for report in reports) == len(list(station.settings))
    summary = {"requestId": 5, "reportBase": "SummaryInventory"}
    assert order(station, "GetBaseReport", summary) == {"status": "Accepted"}
    one = [{"component": {"name": "EVSE"}, "variable": {"name": "Power"}}]
    order(station, "GetReport", {"requestId": 6, "componentVariable": one})
    assert len(told(station)[-1][1]["reportData"]) == 2
    none = [{"component": {"name": "Nonsense"}}]
    empty = order(station, "GetReport", {"requestId": 7, "componentVariable": none})
    assert empty == {"status": "EmptyResultSet"}


def test_monitors_are_kept_reported_and_cleared() -> None:
    station = station_of(OCPP201)
    entry = {"value": 10, "type": "UpperThreshold", "severity": 5}
    asked = [
        variable("EVSE.Power", on={"evse": {"id": 1}}) | entry,
        variable("EVSE.Power", on={"evse": {"id": 1}}) | entry,
        variable("ChargingStation.Model") | entry,
        variable("Nonsense.Power") | entry,
    ]
    results = order(station, "SetVariableMonitoring", {"setMonitoringData": asked})
    assert [result["status"] for result in results["setMonitoringResult"]] == [
        "Accepted",
        "Duplicate",
        "UnsupportedMonitorType",
        "UnknownComponent",
    ]
    order(station, "GetMonitoringReport", {"requestId": 3})
    (report,) = [payload for action, payload in told(station)]
    assert report["monitor"][0]["variableMonitoring"][0]["id"] == 1
    deltas = {"requestId": 4, "monitoringCriteria": ["DeltaMonitoring"]}
    assert order(station, "GetMonitoringReport", deltas) == {"status": "EmptyResultSet"}
    cleared = order(station, "ClearVariableMonitoring", {"id": [1, 2]})["clearMonitoringResult"]
    assert [result["status"] for result in cleared] == ["Accepted", "NotFound"]
    assert order(station, "SetMonitoringLevel", {"severity": 10}) == {"status": "Rejected"}
    assert order(station, "SetMonitoringBase", {"monitoringBase": "All"})["status"] == "Accepted"


def test_what_is_known_of_a_customer_is_told_in_parts_and_cleared() -> None:
    station = station_of(OCPP201)
    for minute in range(4):
        station.start(1, "B", later(minute))
        station.stop(1, later(minute + 0.5))
    told(station)
    asked = {"requestId": 8, "report": True, "clear": True, "idToken": TOKEN}
    assert order(station, "CustomerInformation", asked) == {"status": "Accepted"}
    parts = [payload for action, payload in told(station)]
    assert len(parts) > 1
    text = "".join(part["data"] for part in parts)
    assert "cache: Accepted" not in text  # events without an answer about the badge teach nothing
    assert text.count("session:") == 4
    nobody = {"requestId": 9, "report": True, "clear": False}
    assert order(station, "CustomerInformation", nobody) == {"status": "Invalid"}


def test_messages_are_shown_found_and_taken_away() -> None:
    station = station_of(OCPP201)

    def show(number: int, kind: str = "UTF8", **more: Any) -> str:
        message = {
            "id": number,
            "priority": "NormalCycle",
            "message": {"format": kind, "content": "Bonjour"},
            **more,
        }
        return str(order(station, "SetDisplayMessage", {"message": message})["status"])

    assert show(1) == "Accepted"
    assert show(2, "HTML") == "NotSupportedMessageFormat"
    assert show(3, transactionId="nobody") == "UnknownTransaction"
    assert order(station, "GetDisplayMessages", {"requestId": 1})["status"] == "Accepted"
    assert told(station)[0][1]["messageInfo"][0]["id"] == 1
    assert order(station, "ClearDisplayMessage", {"id": 1}) == {"status": "Accepted"}
    assert order(station, "ClearDisplayMessage", {"id": 1}) == {"status": "Unknown"}
    assert order(station, "GetDisplayMessages", {"requestId": 1}) == {"status": "Unknown"}


# ---- triggers and files


def test_what_is_triggered_is_said_and_what_cannot_be_is_refused() -> None:
    station = station_of()
    for wanted in ("BootNotification", "Heartbeat", "MeterValues", "StatusNotification"):
        assert order(station, "TriggerMessage", {"requestedMessage": wanted}) == {
            "status": "Accepted"
        }
        assert told(station)[0][0] == wanted
    for wanted in ("DiagnosticsStatusNotification", "FirmwareStatusNotification"):
        order(station, "TriggerMessage", {"requestedMessage": wanted})
        assert told(station) == [(wanted, {"status": "Idle"})]
    order(station, "ExtendedTriggerMessage", {"requestedMessage": "FirmwareStatusNotification"})
    assert told(station) == [("SignedFirmwareStatusNotification", {"status": "Idle"})]
    far = {"requestedMessage": "MeterValues", "connectorId": 9}
    assert order(station, "TriggerMessage", far) == {"status": "Rejected"}


def test_a_trigger_of_201_follows_f06() -> None:
    station = station_of(OCPP201)
    boot = {"requestedMessage": "BootNotification"}
    assert order(station, "TriggerMessage", boot) == {"status": "Rejected"}
    status: dict[str, Any] = {"requestedMessage": "StatusNotification", "evse": {"id": 1}}
    assert order(station, "TriggerMessage", status) == {"status": "Rejected"}
    status["evse"]["connectorId"] = 1
    assert order(station, "TriggerMessage", status) == {"status": "Accepted"}
    assert told(station)[0][1]["evseId"] == 1
    both = {"requestedMessage": "SignCombinedCertificate"}
    assert order(station, "TriggerMessage", both) == {"status": "NotImplemented"}
    station.start(1, "B", BEGIN)
    told(station)
    order(station, "TriggerMessage", {"requestedMessage": "TransactionEvent"})
    assert told(station)[0][1]["triggerReason"] == "Trigger"


@PROTOCOLS
def test_on_hold_only_what_was_called_for_is_said(protocol: str) -> None:
    station = Station(StationConfig(identity="CP1", protocol=protocol), BEGIN)
    station.connected()
    boot = station.next_message()
    assert boot is not None
    station.answered(boot, {"status": "Pending", "interval": 5}, BEGIN)
    station.heartbeat()
    assert station.next_message() is None
    asked = {"requestedMessage": "MeterValues"}
    assert order(station, "TriggerMessage", asked) == {"status": "Accepted"}
    message = station.next_message()
    assert message is not None and message.action == "MeterValues"
    start: dict[str, Any] = {"idTag": "B"}
    action = "RemoteStartTransaction"
    if protocol == OCPP201:
        start, action = {"idToken": TOKEN, "remoteStartId": 1}, "RequestStartTransaction"
    assert order(station, action, start) == {"status": "Rejected"}


def statuses(station: Station, action: str, now: datetime = BEGIN) -> list[str]:
    return [payload["status"] for told_, payload in told(station, now) if told_ == action]


@pytest.mark.parametrize("fails", [False, True])
def test_a_log_is_sent_and_each_step_told(fails: bool) -> None:
    station = station_of(OCPP201, faults=Faults(fail_transfers=fails))
    asked = {"requestId": 1, "logType": "SecurityLog", "log": {"remoteLocation": "https://x/y"}}
    assert order(station, "GetLog", asked)["status"] == "Accepted"
    last = "UploadFailure" if fails else "Uploaded"
    assert statuses(station, "LogStatusNotification") == ["Uploading", last]
    older = station_of(faults=Faults(fail_transfers=fails))
    assert order(older, "GetDiagnostics", {"location": "ftp://x/y"})["fileName"]
    last = "UploadFailed" if fails else "Uploaded"
    assert statuses(older, "DiagnosticsStatusNotification") == ["Uploading", last]


def test_firmware_waits_for_its_time_and_the_last_car_and_is_there_after_the_boot() -> None:
    station = station_of(OCPP201)
    station.start(1, "B", BEGIN)
    told(station)
    firmware = {
        "location": "https://files.example/fw-2.0.bin",
        "retrieveDateTime": "2026-11-22T18:10:00Z",
    }
    order(station, "UpdateFirmware", {"requestId": 5, "firmware": firmware})
    action = "FirmwareStatusNotification"
    assert statuses(station, action) == ["DownloadScheduled"]
    assert station.next_due(BEGIN) == later(10)
    station.pass_time(later(10))
    assert statuses(station, action) == ["Downloading", "Downloaded", "InstallScheduled"]
    station.stop(1, later(20))
    assert statuses(station, action) == ["Installing", "InstallRebooting"]
    assert station.leaving == "firmware"
    station.disconnected()
    station.reboot(later(21), reason="FirmwareUpdate")
    station.connected()
    said = told(station)
    assert said[0][1]["chargingStation"]["firmwareVersion"] == "fw-2.0.bin"
    assert said[0][1]["reason"] == "FirmwareUpdate"
    assert said[-1] == (action, {"status": "Installed", "requestId": 5})


def test_firmware_of_16_is_told_in_its_words() -> None:
    station = station_of()
    asked = {"location": "ftp://x/fw-3.bin", "retrieveDate": "2026-11-22T17:00:00Z"}
    assert order(station, "UpdateFirmware", asked) == {}
    said = statuses(station, "FirmwareStatusNotification")
    assert said == ["Downloading", "Downloaded", "Installing"]
    assert station.firmware == "fw-3.bin"


def test_firmware_that_is_signed_by_no_certificate_is_refused() -> None:
    station = station_of()
    asked = {
        "requestId": 5,
        "firmware": {
            "location": "https://x/fw",
            "retrieveDateTime": "2026-11-22T17:00:00Z",
            "signingCertificate": "nonsense",
            "signature": "x",
        },
    }
    assert order(station, "SignedUpdateFirmware", asked) == {"status": "InvalidCertificate"}
    assert told(station)[0][1]["type"] == "InvalidFirmwareSigningCertificate"


def test_published_firmware_can_be_taken_back() -> None:
    station = station_of(OCPP201)
    asked = {"location": "https://x/fw", "checksum": "a" * 32, "requestId": 2}
    assert order(station, "PublishFirmware", asked) == {"status": "Accepted"}
    said = statuses(station, "PublishFirmwareStatusNotification")
    assert said == ["Downloading", "Downloaded", "ChecksumVerified", "Published"]
    assert order(station, "UnpublishFirmware", {"checksum": "a" * 32})["status"] == "Unpublished"
    assert order(station, "UnpublishFirmware", {"checksum": "a" * 32})["status"] == "NoFirmware"


def test_a_vendor_knows_its_own_messages_only() -> None:
    station = station_of()
    assert order(station, "DataTransfer", {"vendorId": "x"}) == {"status": "UnknownVendorId"}
    ours = {"vendorId": "Time2Plug", "data": "ping"}
    assert order(station, "DataTransfer", ours) == {"status": "Accepted", "data": "ping"}
