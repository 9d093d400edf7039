"""What stations tell of their configuration, and orders in the portions that they take."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection

from csms.config import Settings
from csms.db import Database
from csms.wire.variables import PARTS_MAX, list_portions
from tests.scenarios.gate import PATIENCE_S, Gate, boot, heartbeat, open_gate
from tests.test_commands import boot_201, client_of, ordered, place

SECRET = "correct-horse-battery"


@pytest.fixture
async def gate(settings: Settings, database: Database) -> AsyncIterator[Gate]:
    async with open_gate(replace(settings, command_poll_s=0.1), database) as gate:
        yield gate


@pytest.fixture
async def api(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gate) as client:
        yield client


def named(
    name: str, component: str = "OCPPCommCtrlr", instance: str | None = None
) -> dict[str, Any]:
    variable = {"name": name} | ({"instance": instance} if instance else {})
    return {"component": {"name": component}, "variable": variable}


async def report(station: ClientConnection, number: int, *items: dict[str, Any]) -> None:
    """A NotifyReport, answered."""
    payload = {
        "requestId": 1,
        "generatedAt": "2026-11-25T12:00:00Z",
        "seqNo": number,
        "reportData": list(items),
    }
    await station.send(json.dumps([2, f"r{number}", "NotifyReport", payload]))
    assert await ordered(station) == [3, f"r{number}", {}]


def valued(value: str | None, **more: Any) -> dict[str, Any]:
    return {"variableAttribute": [({} if value is None else {"value": value}) | more]}


async def test_device_model_is_what_was_told_last(gate: Gate, api: httpx.AsyncClient) -> None:
    await gate.add("CP1", protocol="ocpp2.0.1")
    async with gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
        await boot_201(station)
        evse = {"component": {"name": "EVSE", "evse": {"id": 2}}, "variable": {"name": "Power"}}
        secret = named("BasicAuthPassword", "SecurityCtrlr")
        await report(
            station,
            0,
            named("HeartbeatInterval") | valued("300", mutability="ReadWrite"),
            evse | valued("22000"),
            secret | valued(SECRET),
        )
        await report(station, 1, named("HeartbeatInterval") | valued("600"))
        # Orders tell, too: what was read, and what was taken.
        data = [named("HeartbeatInterval"), named("Nothing")]
        order = {"action": "GetVariables", "payload": {"getVariableData": data}}
        results = [
            data[0] | {"attributeStatus": "Accepted", "attributeValue": "900"},
            data[1] | {"attributeStatus": "UnknownVariable"},
            secret | {"attributeStatus": "Accepted", "attributeValue": SECRET},
        ]
        told, _ = await carry_out(api, station, order, {"getVariableResult": results})
        assert told["response"]["getVariableResult"][:2] == results[:2]
        assert SECRET not in json.dumps(told)
        assert await values(api) == {("EVSE", 2, "Power"): "22000", HEARTBEAT: "900"}
        data = [
            named("HeartbeatInterval") | {"attributeValue": "60"},
            named("MessageTimeout") | {"attributeValue": "5"},
        ]
        order = {"action": "SetVariables", "payload": {"setVariableData": data}}
        results = [
            named("HeartbeatInterval") | {"attributeStatus": "Accepted"},
            named("MessageTimeout") | {"attributeStatus": "Rejected"},
        ]
        await carry_out(api, station, order, {"setVariableResult": results})
        assert await values(api) == {("EVSE", 2, "Power"): "22000", HEARTBEAT: "60"}
    journal = "SELECT count(*) FROM ocpp_message WHERE direction = 'out' AND answer ~ %s"
    await gate.eventually([(2,)], journal, "HeartbeatInterval")
    assert await gate.rows(journal, SECRET) == [(0,)]
    listed = (await api.get("/stations/CP1/variables?limit=1")).json()
    assert listed["total"] == 2
    rest = (await api.get(f"/stations/CP1/variables?cursor={listed['next']}")).json()["items"]
    assert [(item["variable"], item["mutability"]) for item in rest] == [
        ("HeartbeatInterval", "ReadWrite")
    ]
    assert (await api.get("/stations/CP9/variables")).status_code == 404


HEARTBEAT = ("OCPPCommCtrlr", 0, "HeartbeatInterval")


async def values(api: httpx.AsyncClient) -> dict[tuple[str, int, str], str]:
    items = (await api.get("/stations/CP1/variables")).json()["items"]
    assert SECRET not in json.dumps(items)
    return {(i["component"], i["evse_id"], i["variable"]): i["value"] for i in items}


async def carry_out(
    api: httpx.AsyncClient,
    station: ClientConnection,
    order: dict[str, Any],
    *answers: dict[str, Any] | None,
) -> tuple[dict[str, Any], list[list[Any]]]:
    """Give an order that comes in as many calls as there are answers (None: an error); what the
    API tells of it, and the calls."""
    asked = asyncio.create_task(place(api, "CP1", order))
    calls = []
    for answer in answers:
        calls.append(await ordered(station))
        error = [4, calls[-1][1], "InternalError", "", {}]
        await station.send(json.dumps(error if answer is None else [3, calls[-1][1], answer]))
    return (await asked).json(), calls


async def test_keys_of_16_are_listed_without_the_password(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    await gate.add("CP1", protocol="ocpp1.6")
    async with gate.connect("CP1") as station:
        await boot(station)
        keys = [
            {"key": "HeartbeatInterval", "readonly": False, "value": "300"},
            {"key": "NumberOfConnectors", "readonly": True, "value": "1"},
            {"key": "AuthorizationKey", "readonly": False, "value": SECRET},
            {"key": "WifiPassword", "readonly": False, "value": SECRET},
        ]
        answer = {"configurationKey": keys}
        order = {"action": "GetConfiguration", "payload": {}}
        told, _ = await carry_out(api, station, order, answer)
        assert told["response"]["configurationKey"][0] == keys[0]
        assert told["response"]["configurationKey"][2] == keys[2] | {"value": "***"}
        assert SECRET not in json.dumps(told)
        payload = {"key": "HeartbeatInterval", "value": "60"}
        order = {"action": "ChangeConfiguration", "payload": payload}
        await carry_out(api, station, order, {"status": "Accepted"})
        assert await values(api) == {
            ("", 0, "HeartbeatInterval"): "60",
            ("", 0, "NumberOfConnectors"): "1",
        }


@pytest.mark.parametrize("action", ["GetVariables", "SetVariables"])
async def test_order_is_sent_in_the_portions_that_the_station_takes(
    gate: Gate, api: httpx.AsyncClient, action: str
) -> None:
    await gate.add("CP1", protocol="ocpp2.0.1")
    get = action == "GetVariables"
    member, results = ("getVariableData", "getVariableResult")
    if not get:
        member, results = "setVariableData", "setVariableResult"
    async with gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
        await boot_201(station)
        await report(station, 0, named("ItemsPerMessage", "DeviceDataCtrlr", action) | valued("2"))
        items = [
            named(f"V{number}") | ({} if get else {"attributeValue": "1"}) for number in range(5)
        ]
        order = {"action": action, "payload": {member: items}}

        def result(number: int) -> dict[str, Any]:
            return named(f"V{number}") | {"attributeStatus": "Accepted"}

        parts = [[0, 1], [2, 3], [4]]
        answers = [{results: [result(number) for number in part]} for part in parts]
        told, calls = await carry_out(api, station, order, *answers)
        assert [len(call[3][member]) for call in calls] == [2, 2, 1]
        first = calls[0][1]
        assert [call[1] for call in calls] == [first, f"{first}-1", f"{first}-2"]
        assert told["status"] == "accepted"
        names = [item["variable"]["name"] for item in told["response"][results]]
        assert names == ["V0", "V1", "V2", "V3", "V4"]
        # One that fails on the way keeps what was answered before.
        told, _ = await carry_out(api, station, order, answers[0], None)
        assert (told["status"], told["error"]["code"]) == ("failed", "InternalError")
        assert len(told["response"][results]) == 2
        await heartbeat(station, "quiet")


@given(
    st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=40),
    st.none() | st.integers(1, 50),
    st.none() | st.integers(1, 300),
)
def test_portions_keep_the_order_and_the_limits(
    items: list[bytes], items_max: int | None, bytes_max: int | None
) -> None:
    parts = list_portions(items, items_max=items_max, bytes_max=bytes_max, around_bytes=50)
    assert [item for part in parts for item in part] == items
    for part in parts:
        assert 1 <= len(part) <= (items_max or len(items))
        message_bytes = 50 + sum(len(item) + 1 for item in part)
        assert bytes_max is None or message_bytes <= bytes_max or len(part) == 1


def test_portions_are_never_more_than_their_numbers() -> None:
    items = [b"x" * 100] * 2_500
    parts = list_portions(items, items_max=1, bytes_max=10, around_bytes=0)
    assert len(parts) <= PARTS_MAX
    assert sum(map(len, parts)) == 2_500


async def test_messages_are_no_longer_than_the_station_takes(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    await gate.add("CP1", protocol="ocpp2.0.1")
    async with gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
        await boot_201(station)
        limit = named("BytesPerMessage", "DeviceDataCtrlr", "GetVariables") | valued("300")
        await report(station, 0, limit)
        items = [named(f"Élément{number}") for number in range(5)]
        order = {"action": "GetVariables", "payload": {"getVariableData": items}}
        asked = asyncio.create_task(place(api, "CP1", order))
        named_so_far: list[Any] = []
        while len(named_so_far) < len(items):
            async with asyncio.timeout(PATIENCE_S):
                text = await station.recv()
            assert isinstance(text, str)
            assert len(text.encode()) <= 300
            _, message_id, _, payload = json.loads(text)
            data = payload["getVariableData"]
            named_so_far += data
            results = [item | {"attributeStatus": "UnknownVariable"} for item in data]
            answer = [3, message_id, {"getVariableResult": results}]
            await station.send(json.dumps(answer))
        assert named_so_far == items
        assert len((await asked).json()["response"]["getVariableResult"]) == 5


async def test_keys_are_asked_for_in_portions(gate: Gate, api: httpx.AsyncClient) -> None:
    await gate.add("CP1", protocol="ocpp1.6")
    async with gate.connect("CP1") as station:
        await boot(station)
        key = {"key": "GetConfigurationMaxKeys", "readonly": True, "value": "2"}
        order: dict[str, Any] = {"action": "GetConfiguration", "payload": {}}
        await carry_out(api, station, order, {"configurationKey": [key]})
        order["payload"] = {"key": ["A", "B", "C"]}
        told, calls = await carry_out(
            api,
            station,
            order,
            {"configurationKey": [{"key": "A", "readonly": True}], "unknownKey": ["B"]},
            {"unknownKey": ["C"]},
        )
        assert [call[3]["key"] for call in calls] == [["A", "B"], ["C"]]
        assert told["response"]["unknownKey"] == ["B", "C"]
