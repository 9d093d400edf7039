"""Orders about sessions and badges, as a station without input or output carries them out."""

from typing import Any

import pytest

from simulators.model import OCPP201
from simulators.obedience import Obedience, parse_obedience
from tests.simulator_orders import BEGIN, PROTOCOLS, TOKEN, later, order, profile, station_of, told

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
def test_a_badge_shown_starts_or_ends_as_the_list_allows(protocol: str) -> None:
    station = station_of(protocol)
    version = "versionNumber" if protocol == OCPP201 else "listVersion"
    entries = list_of(protocol, "GOOD") + list_of(protocol, "BAD", status="Blocked")
    payload = {version: 1, "updateType": "Full", "localAuthorizationList": entries}
    order(station, "SendLocalList", payload)
    assert station.present(1, "BAD", BEGIN) is None
    assert station.present(1, "GOOD", BEGIN) is not None
    assert station.present(1, "UNKNOWN", later(1)) is None
    session = station.present(1, "good", later(2))
    assert session is not None and session.ended_at == later(2)


def test_a_master_ends_sessions_and_never_starts_one() -> None:
    station = station_of(OCPP201)
    group = {"groupIdToken": {"idToken": "MASTERS", "type": "Central"}}
    entries = list_of(OCPP201, "M", **group)
    payload = {"versionNumber": 1, "updateType": "Full", "localAuthorizationList": entries}
    order(station, "SendLocalList", payload)
    station.settings.put("master_group", "MASTERS")
    assert station.present(1, "M", BEGIN) is None
    station.start(1, "B", BEGIN)
    assert station.present(1, "M", later(1)) is not None


@PROTOCOLS
@pytest.mark.parametrize("stops", [False, True])
def test_a_session_of_a_refused_badge_ends_where_the_setting_says_so(
    protocol: str, stops: bool
) -> None:
    station = station_of(protocol)
    station.settings.put("stop_on_invalid", str(stops).lower())
    session = station.start(1, "B", BEGIN)
    assert session is not None
    while (message := station.next_message()) is not None:
        info = {"status": "Invalid"} if message.starts else {"status": "Accepted"}
        answer = {"transactionId": 7, "idTagInfo": info, "idTokenInfo": info}
        station.answered(message, answer, later(1))
    assert (session.stop_reason == "DeAuthorized") is stops


def test_the_needs_of_a_car_are_told() -> None:
    station = station_of(OCPP201, phases=3)
    station.tell_needs(1, 16, 30_000)
    ((action, payload),) = told(station)
    assert action == "NotifyEVChargingNeeds"
    assert payload["chargingNeeds"]["requestedEnergyTransfer"] == "AC_three_phase"


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
