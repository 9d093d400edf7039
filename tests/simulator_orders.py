"""What tests of orders share: a station without input or output, and how it is ordered about."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ocpp.messages import Call, CallResult, _validate_payload

from simulators import commands
from simulators.model import OCPP16, OCPP201, Message, StationConfig
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
