"""Orders of the central system, as a station without input or output carries them out."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ocpp.messages import Call, CallResult, _validate_payload

from simulators import commands
from simulators.faults import Faults
from simulators.model import OCPP16, OCPP201, Message, StationConfig
from simulators.obedience import Obedience, parse_obedience
from simulators.station import Station
from tests.simulator_peer import assert_valid

BEGIN = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
PROTOCOLS = pytest.mark.parametrize("protocol", [OCPP16, OCPP201])
TOKEN = {"idToken": "B", "type": "ISO14443"}


def later(minutes: float) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


def station_of(protocol: str = OCPP16, **options: Any) -> Station:
    options = {"identity": "CP1", "evses": 2, **options}
    station = Station(StationConfig(protocol=protocol, **options), BEGIN)
    station.connected()
    told(station)
    return station


def reply(station: Station, message: Message) -> dict[str, Any]:
    """What a central system would say."""
    if message.action == "BootNotification":
        return {"status": "Accepted", "interval": 60, "currentTime": "2026-11-22T18:00:00Z"}
    if message.action == "StartTransaction":
        return {"transactionId": len(station.sessions), "idTagInfo": {"status": "Accepted"}}
    if message.action == "Authorize":
        info = "idTokenInfo" if station.is_201 else "idTagInfo"
        return {info: {"status": "Accepted"}}
    return {}


def told(station: Station, now: datetime = BEGIN) -> list[tuple[str, dict[str, Any]]]:
    """Answer all that the station has to say; as it went out, checked by the schema."""
    said = []
    while (message := station.next_message()) is not None:
        payload = station.wire(message)
        assert_valid(station.config.protocol, message.action, payload)
        said.append((message.action, payload))
        station.answered(message, reply(station, message), now)
    return said


def order(
    station: Station, action: str, payload: dict[str, Any], now: datetime = BEGIN
) -> dict[str, Any]:
    """Give an order, both it and its answer checked by the schema, and let its effect happen."""
    version = station.config.protocol.removeprefix("ocpp")
    _validate_payload(Call("1", action, payload), version)
    given = commands.answer(station, action, payload, now)
    _validate_payload(CallResult("1", given.response, action), version)
    commands.carry_out(station, given, now)
    return given.response


def profile(protocol: str, limits: list[tuple[int, float]], **more: Any) -> dict[str, Any]:
    """A charging profile in A; more: members of the profile, `duration` and `startSchedule` of its
    schedule."""
    schedule: dict[str, Any] = {
        "chargingRateUnit": more.pop("unit", "A"),
        "chargingSchedulePeriod": [
            {"startPeriod": start_s, "limit": limit} for start_s, limit in limits
        ],
    }
    for name in ("duration", "startSchedule"):
        if name in more:
            schedule[name] = more.pop(name)
    wire = {
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        **more,
    }
    number = wire.pop("id", 1)
    if protocol == OCPP201:
        return wire | {"id": number, "chargingSchedule": [schedule | {"id": 1}]}
    return wire | {"chargingProfileId": number, "chargingSchedule": schedule}


def set_profile(station: Station, evse_id: int, wire: dict[str, Any], now: datetime = BEGIN) -> str:
    payload = (
        {"evseId": evse_id, "chargingProfile": wire}
        if station.is_201
        else {"connectorId": evse_id, "csChargingProfiles": wire}
    )
    return str(order(station, "SetChargingProfile", payload, now)["status"])


def composite(station: Station, evse_id: int, duration_s: int, now: datetime) -> list[Any]:
    name = "evseId" if station.is_201 else "connectorId"
    answer = order(station, "GetCompositeSchedule", {name: evse_id, "duration": duration_s}, now)
    schedule = answer["schedule" if station.is_201 else "chargingSchedule"]
    return [(p["startPeriod"], p["limit"]) for p in schedule["chargingSchedulePeriod"]]


# ---- power


@PROTOCOLS
def test_a_limit_bounds_the_power_as_its_schedule_goes_on(protocol: str) -> None:
    """7,360 W are drawn; 16 A of one phase are 3,680 W, and 5 A are too few for any car."""
    station = station_of(protocol, phases=1)
    station.start(1, "B", BEGIN)
    wire = profile(protocol, [(0, 16), (1800, 5), (3600, 32)])
    assert set_profile(station, 1, wire) == "Accepted"
    assert composite(station, 1, 7200, BEGIN) == [(0, 16), (1800, 5), (3600, 32)]
    told(station)
    station.pass_time(later(30))
    assert station.evses[1].state == "SuspendedEVSE"
    assert ("StatusNotification" in dict(told(station))) is True
    station.pass_time(later(60))
    assert station.evses[1].state == "Charging"
    session = station.stop(1, later(120))
    assert session is not None
    assert session.energy_wh == 1840 + 0 + 7360


@PROTOCOLS
def test_energy_is_the_same_whoever_looks_at_it(protocol: str) -> None:
    """The meter follows a schedule exactly, although nobody looked while it changed."""
    station = station_of(protocol)
    station.start(1, "B", BEGIN)
    set_profile(station, 1, profile(protocol, [(0, 16), (1800, 5), (3600, 32)]))
    session = station.stop(1, later(120))
    assert session is not None and session.energy_wh == 1840 + 7360


@PROTOCOLS
def test_the_highest_level_counts_and_the_transactions_own_before_the_default(
    protocol: str,
) -> None:
    station = station_of(protocol)
    session = station.start(1, "B", BEGIN)
    assert session is not None
    told(station)
    tx = session.transaction_id
    own = {"chargingProfilePurpose": "TxProfile"}
    own["transactionId"] = tx if protocol == OCPP201 else int(tx)  # type: ignore[assignment]
    set_profile(station, 0, profile(protocol, [(0, 8)], id=1, stackLevel=3))
    set_profile(station, 0, profile(protocol, [(0, 9)], id=2, stackLevel=4, duration=60))
    assert composite(station, 1, 120, BEGIN) == [(0, 9), (60, 8)]
    assert set_profile(station, 1, profile(protocol, [(0, 20)], id=3, **own)) == "Accepted"
    assert composite(station, 1, 120, BEGIN) == [(0, 20)]
    station.stop(1, later(1))
    assert [p.profile_id for p in station.profiles.profiles] == [1, 2]


@PROTOCOLS
def test_the_stations_maximum_is_shared_by_those_who_charge(protocol: str) -> None:
    purpose = "ChargingStationMaxProfile" if protocol == OCPP201 else "ChargePointMaxProfile"
    station = station_of(protocol)
    wire = profile(protocol, [(0, 20)], chargingProfilePurpose=purpose)
    assert set_profile(station, 1, wire) == "Rejected"
    assert set_profile(station, 0, wire) == "Accepted"
    station.start(1, "B", BEGIN)
    station.start(2, "C", later(60))
    drawn = [station.flowing_w(evse, later(60)) for evse in station.evses.values()]
    assert drawn == [2300, 2300]
    session = station.stop(1, later(120))
    assert session is not None and session.energy_wh == 4600 + 2300


@PROTOCOLS
def test_a_profile_says_nothing_before_and_after_its_validity(protocol: str) -> None:
    station = station_of(protocol)
    wire = profile(
        protocol, [(0, 10)], validFrom="2026-11-22T18:10:00Z", validTo="2026-11-22T18:20:00Z"
    )
    assert set_profile(station, 1, wire) == "Accepted"
    assert composite(station, 1, 1800, BEGIN) == [(0, 32), (600, 10), (1200, 32)]


def test_a_daily_profile_comes_again_and_a_relative_one_begins_with_the_session() -> None:
    station = station_of()
    daily = profile(
        OCPP16,
        [(0, 10)],
        chargingProfileKind="Recurring",
        recurrencyKind="Daily",
        startSchedule="2026-11-20T18:30:00Z",
        duration=600,
    )
    set_profile(station, 1, daily)
    assert composite(station, 1, 86_400 + 3600, BEGIN) == [
        (0, 32),
        (1800, 10),
        (2400, 32),
        (88_200, 10),
        (88_800, 32),
    ]
    relative = profile(OCPP16, [(0, 6), (600, 7)], id=2, chargingProfileKind="Relative")
    set_profile(station, 2, relative)
    station.start(2, "B", later(5))
    assert composite(station, 2, 1200, later(10)) == [(0, 6), (300, 7)]


@PROTOCOLS
def test_what_is_beyond_the_stations_means_is_refused(protocol: str) -> None:
    station = station_of(protocol, faults=Faults(refuse_purposes=("TxProfile",)))
    many = [(second, 10.0) for second in range(25)]
    assert set_profile(station, 1, profile(protocol, many)) == "Rejected"
    assert set_profile(station, 1, profile(protocol, [(0, 10)], stackLevel=11)) == "Rejected"
    assert set_profile(station, 1, profile(protocol, [(5, 10)])) == "Rejected"
    assert set_profile(station, 7, profile(protocol, [(0, 10)])) == "Rejected"
    word = "Rejected" if protocol == OCPP201 else "NotSupported"
    own = profile(protocol, [(0, 10)], chargingProfilePurpose="TxProfile")
    assert set_profile(station, 1, own) == word
    for number in range(10):
        wire = profile(protocol, [(0, 10)], id=number, stackLevel=number)
        assert set_profile(station, 1, wire) == "Accepted"
    assert set_profile(station, 1, profile(protocol, [(0, 10)], id=10, stackLevel=10)) == "Rejected"


@PROTOCOLS
def test_a_transactions_profile_needs_the_transaction(protocol: str) -> None:
    station = station_of(protocol)
    other = "nobody" if protocol == OCPP201 else 99
    own = {"chargingProfilePurpose": "TxProfile", "transactionId": other}
    assert set_profile(station, 1, profile(protocol, [(0, 10)], **own)) == "Rejected"
    station.start(1, "B", BEGIN)
    told(station)
    assert set_profile(station, 1, profile(protocol, [(0, 10)], **own)) == "Rejected"


def test_profiles_are_cleared_by_what_was_asked_for() -> None:
    station = station_of()
    for number in range(3):
        set_profile(station, number, profile(OCPP16, [(0, 10)], id=number, stackLevel=number))

    def clear(**criteria: Any) -> list[int]:
        order(station, "ClearChargingProfile", criteria)
        return [p.profile_id for p in station.profiles.profiles]

    assert clear(id=1) == [0, 2]
    assert order(station, "ClearChargingProfile", {"stackLevel": 1}) == {"status": "Unknown"}
    assert clear(connectorId=2, stackLevel=2) == [0]
    assert clear() == []


def test_profiles_of_201_are_reported_evse_by_evse() -> None:
    station = station_of(OCPP201)
    for evse_id in (0, 1, 2):
        wire = profile(OCPP201, [(0, 10)], id=evse_id + 1, stackLevel=evse_id)
        assert set_profile(station, evse_id, wire) == "Accepted"
    again = profile(OCPP201, [(0, 12)], id=9, stackLevel=1)
    assert set_profile(station, 1, again) == "Rejected"
    answer = order(station, "GetChargingProfiles", {"requestId": 5, "chargingProfile": {}})
    assert answer == {"status": "Accepted"}
    reports = [payload for action, payload in told(station)]
    assert [(r["evseId"], r["tbc"]) for r in reports] == [(0, True), (1, True), (2, False)]
    none = {"requestId": 6, "chargingProfile": {"chargingProfileId": [99]}}
    assert order(station, "GetChargingProfiles", none) == {"status": "NoProfiles"}


def test_a_station_may_accept_limits_and_ignore_them() -> None:
    station = station_of(faults=Faults(ignore_profiles=True))
    station.start(1, "B", BEGIN)
    assert set_profile(station, 1, profile(OCPP16, [(0, 0)])) == "Accepted"
    session = station.stop(1, later(60))
    assert session is not None and session.energy_wh == 7360


# ---- sessions


@PROTOCOLS
def test_a_remote_start_takes_its_profile_along(protocol: str) -> None:
    station = station_of(protocol)
    own = profile(protocol, [(0, 10)], chargingProfilePurpose="TxProfile")
    payload: dict[str, Any] = {"idTag": "B", "connectorId": 2, "chargingProfile": own}
    action = "RemoteStartTransaction"
    if protocol == OCPP201:
        payload = {"idToken": TOKEN, "remoteStartId": 3, "evseId": 2, "chargingProfile": own}
        action = "RequestStartTransaction"
    assert order(station, action, payload)["status"] == "Accepted"
    assert station.flowing_w(station.evses[2], later(1)) == 2300
    assert order(station, action, payload)["status"] == "Rejected"


@PROTOCOLS
def test_a_remote_start_that_has_to_be_authorized_waits_for_the_answer(protocol: str) -> None:
    station = station_of(protocol)
    station.settings.put("authorize_remote", "true")
    payload: dict[str, Any] = {"idTag": "B"}
    action = "RemoteStartTransaction"
    if protocol == OCPP201:
        payload, action = {"idToken": TOKEN, "remoteStartId": 3}, "RequestStartTransaction"
    assert order(station, action, payload)["status"] == "Accepted"
    assert not station.sessions
    assert told(station)[0][0] == "Authorize"
    assert len(station.sessions) == 1


@PROTOCOLS
def test_out_of_service_is_scheduled_while_a_car_charges(protocol: str) -> None:
    station = station_of(protocol)
    station.start(1, "B", BEGIN)
    payload = (
        {"operationalStatus": "Inoperative", "evse": {"id": 1}}
        if protocol == OCPP201
        else {"connectorId": 1, "type": "Inoperative"}
    )
    assert order(station, "ChangeAvailability", payload)["status"] == "Scheduled"
    station.stop(1, later(1))
    assert station.evses[1].state == "Unavailable"
    assert order(station, "ChangeAvailability", payload)["status"] == "Accepted"


@PROTOCOLS
def test_a_reserved_evse_is_kept_for_its_badge_until_it_expires(protocol: str) -> None:
    station = station_of(protocol)

    def reserve(number: int, until: str) -> str:
        payload: dict[str, Any] = {
            "connectorId": 1, "expiryDate": until, "idTag": "B", "reservationId": number
        }  # fmt: skip
        if protocol == OCPP201:
            payload = {"id": number, "expiryDateTime": until, "idToken": TOKEN, "evseId": 1}
        return str(order(station, "ReserveNow", payload)["status"])

    assert reserve(7, "2026-11-22T18:30:00Z") == "Accepted"
    assert station.evses[1].state == "Reserved"
    assert reserve(8, "2026-11-22T18:30:00Z") == "Occupied"
    assert reserve(8, "2026-11-22T17:30:00Z") == "Rejected"
    assert station.start(1, "C", later(1)) is None
    assert station.next_due(later(1)) == later(30)
    station.pass_time(later(30))
    assert station.evses[1].state == "Available"
    said = dict(told(station))
    assert ("ReservationStatusUpdate" in said) is (protocol == OCPP201)
    assert reserve(9, "2026-11-22T19:30:00Z") == "Accepted"
    session = station.start(1, "B", later(40))
    assert session is not None
    begun = dict(told(station))["TransactionEvent" if protocol == OCPP201 else "StartTransaction"]
    assert begun["reservationId"] == 9
    assert order(station, "CancelReservation", {"reservationId": 9}) == {"status": "Rejected"}


@PROTOCOLS
def test_a_reservation_can_be_cancelled(protocol: str) -> None:
    station = station_of(protocol)
    payload: dict[str, Any] = {
        "connectorId": 1, "expiryDate": "2026-11-22T19:00:00Z", "idTag": "B", "reservationId": 7
    }  # fmt: skip
    if protocol == OCPP201:
        payload = {
            "id": 7, "expiryDateTime": "2026-11-22T19:00:00Z", "idToken": TOKEN, "evseId": 1
        }  # fmt: skip
    order(station, "ReserveNow", payload)
    assert order(station, "CancelReservation", {"reservationId": 7}) == {"status": "Accepted"}
    assert station.evses[1].state == "Available"


def test_the_state_of_transactions_is_told() -> None:
    station = station_of(OCPP201)
    session = station.start(1, "B", BEGIN)
    assert session is not None
    asked = {"transactionId": session.transaction_id}
    assert order(station, "GetTransactionStatus", asked) == {
        "ongoingIndicator": True,
        "messagesInQueue": True,
    }
    told(station)
    station.stop(1, later(1))
    told(station)
    assert order(station, "GetTransactionStatus", asked) == {
        "ongoingIndicator": False,
        "messagesInQueue": False,
    }
    unknown = order(station, "GetTransactionStatus", {"transactionId": "x"})
    assert unknown == {"messagesInQueue": False}
    order(station, "CostUpdated", {"totalCost": 1.25, **asked})
    assert session.cost == 1.25


def test_a_reset_on_idle_waits_for_the_last_car() -> None:
    station = station_of(OCPP201)
    station.start(1, "B", BEGIN)
    assert order(station, "Reset", {"type": "OnIdle"}) == {"status": "Scheduled"}
    assert station.leaving is None
    station.stop(1, later(1))
    assert station.leaving == "scheduled"


def test_one_evse_can_be_reset_alone() -> None:
    station = station_of(OCPP201)
    station.start(1, "B", BEGIN)
    station.start(2, "C", BEGIN)
    assert order(station, "Reset", {"type": "Immediate", "evseId": 1}) == {"status": "Accepted"}
    assert station.leaving is None
    assert [evse.session is None for evse in station.evses.values()] == [True, False]


def test_an_unlocked_connector_of_16_ends_its_session_and_one_of_201_does_not() -> None:
    station = station_of()
    station.start(1, "B", BEGIN)
    assert order(station, "UnlockConnector", {"connectorId": 1}) == {"status": "Unlocked"}
    assert dict(told(station))["StopTransaction"]["reason"] == "UnlockCommand"
    assert order(station, "UnlockConnector", {"connectorId": 9}) == {"status": "NotSupported"}
    other = station_of(OCPP201)
    other.start(1, "B", BEGIN)
    asked = {"evseId": 1, "connectorId": 1}
    assert order(other, "UnlockConnector", asked)["status"] == "OngoingAuthorizedTransaction"
    unknown = order(other, "UnlockConnector", {"evseId": 1, "connectorId": 2})
    assert unknown["status"] == "UnknownConnector"


# ---- badges


def list_of(protocol: str, *badges: str, **info: Any) -> list[dict[str, Any]]:
    if protocol == OCPP201:
        return [
            {
                "idToken": {"idToken": badge, "type": "ISO14443"},
                "idTokenInfo": {"status": "Accepted"} | info,
            }
            for badge in badges
        ]
    return [{"idTag": badge, "idTagInfo": {"status": "Accepted"} | info} for badge in badges]


@PROTOCOLS
def test_a_list_that_is_too_long_or_names_a_badge_twice_is_refused_whole(protocol: str) -> None:
    station = station_of(protocol)
    version = "versionNumber" if protocol == OCPP201 else "listVersion"

    def send(number: int, *badges: str, kind: str = "Full") -> str:
        entries = list_of(protocol, *badges)
        payload = {version: number, "updateType": kind, "localAuthorizationList": entries}
        return str(order(station, "SendLocalList", payload)["status"])

    assert send(1, "A", "a") == "Failed"
    assert send(1, *[f"B{number}" for number in range(201)]) == "Failed"
    for number in range(5):
        badges = [f"B{number}-{n}" for n in range(200)]
        assert send(number + 1, *badges, kind="Differential") == "Accepted"
    assert send(6, "C", kind="Differential") == "Failed"
    assert len(station.local_list) == 1000
    station.settings.put("list_enabled", "false")
    assert send(7, "C") == ("Failed" if protocol == OCPP201 else "NotSupported")


def test_a_badge_of_the_master_group_may_stop_any_session() -> None:
    station = station_of(OCPP201)
    group = {"groupIdToken": {"idToken": "MASTERS", "type": "Central"}}
    entries = list_of(OCPP201, "M", **group) + list_of(OCPP201, "C")
    payload = {"versionNumber": 1, "updateType": "Full", "localAuthorizationList": entries}
    order(station, "SendLocalList", payload)
    session = station.start(1, "B", BEGIN)
    assert session is not None
    assert [station.may_stop(session, badge) for badge in ("b", "C", "M")] == [True, False, False]
    master = {
        "component": {"name": "AuthCtrlr"},
        "variable": {"name": "MasterPassGroupId"},
        "attributeValue": "MASTERS",
    }
    order(station, "SetVariables", {"setVariableData": [master]})
    assert station.may_stop(session, "M")


@PROTOCOLS
def test_the_cache_learns_and_is_cleared(protocol: str) -> None:
    station = station_of(protocol)
    station.authorize("B")
    told(station)
    assert station.badges.find("b") is not None
    assert order(station, "ClearCache", {}) == {"status": "Accepted"}
    assert station.badges.find("B") is None
    station.settings.put("cache_enabled", "false")
    assert order(station, "ClearCache", {}) == {"status": "Rejected"}


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


# ---- obedience


def test_obedience_is_read_from_words() -> None:
    assert parse_obedience("") == Obedience()
    assert parse_obedience("refuse").of("Reset") == "refuse"
    read = parse_obedience("error, Reset=silent,ClearCache=accept")
    assert [read.of(action) for action in ("Reset", "ClearCache", "GetLog")] == [
        "silent",
        "accept",
        "error",
    ]
    for wrong in ("maybe", "Reset=maybe", "Re set=silent", "Reset="):
        with pytest.raises(ValueError):
            parse_obedience(wrong)
