"""Orders through the operator's API: placed, kept for who is away, sent once, answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection

from csms import commands, db, keys, worker
from csms.commands import OPERATOR
from csms.config import Settings
from csms.db import Database
from csms.wire import orders
from tests.scenarios.gate import PATIENCE_S, Gate, boot, heartbeat, open_gate

RESET = {"action": "Reset", "payload": {"type": "Soft"}}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, command_poll_s=0.1)


@pytest.fixture
async def gate(settings: Settings, database: Database) -> AsyncIterator[Gate]:
    async with open_gate(settings, database) as gate:
        yield gate


@pytest.fixture
async def api(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gate) as client:
        yield client


def client_of(gate: Gate) -> "ApiClient":
    return ApiClient(gate)


class ApiClient:
    """The operator's API of a gate's process."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> httpx.AsyncClient:
        async with await db.connect(self._gate.database) as connection:
            key, _ = await keys.create(connection, name="test", role="operator", expires_at=None)
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self._gate.settings.http_port}/api/v1",
            headers={"Authorization": f"Bearer {key}"},
            timeout=PATIENCE_S * 2,
        )
        return self._client

    async def __aexit__(self, *_: object) -> None:
        assert self._client is not None
        await self._client.aclose()


async def ordered(socket: ClientConnection) -> list[Any]:
    """The next frame that a station gets: an order, or an answer."""
    async with asyncio.timeout(PATIENCE_S):
        frame = json.loads(await socket.recv())
    assert isinstance(frame, list)
    return frame


async def obey(socket: ClientConnection, status: str = "Accepted") -> list[Any]:
    """Answer the next order with a status; the order."""
    order = await ordered(socket)
    assert order[0] == 2, order
    await socket.send(json.dumps([3, order[1], {"status": status}]))
    return order


async def place(api: httpx.AsyncClient, station_id: str, body: dict[str, Any]) -> httpx.Response:
    return await api.post(f"/stations/{station_id}/commands", json=body)


async def until(
    api: httpx.AsyncClient, command_id: int, status: str, *, late: bool = False
) -> dict[str, Any]:
    """Wait until the order has that status, and perhaps an answer after its time."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = (await api.get(f"/commands/{command_id}")).json()
            if found["status"] == status and (found["late_at"] is not None) == late:
                assert isinstance(found, dict)
                return found
            await asyncio.sleep(0.02)


async def test_order_is_answered_with_the_stations_answer(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    await gate.add("CP1")
    async with gate.connect("CP1") as station:
        await boot(station)
        asked = asyncio.create_task(place(api, "CP1", RESET))
        order = await obey(station)
        answer = await asked
    assert order[2:] == ["Reset", {"type": "Soft"}]
    assert answer.status_code == 200
    told = answer.json()
    assert (told["status"], told["response"], told["error"]) == (
        "accepted",
        {"status": "Accepted"},
        None,
    )
    assert answer.headers["Location"] == f"/api/v1/commands/{told['command_id']}"
    assert told["created_by"] == "test"


async def test_frames_are_compact_with_members_in_the_order_posted(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    await gate.add("CP1")
    text = '{"action":"ChangeConfiguration","wait_s":0,"payload":{"value":"é","key":"X"}}'
    async with gate.connect("CP1") as station:
        await boot(station)
        await api.post(
            "/stations/CP1/commands",
            content=text.encode(),
            headers={"Content-Type": "application/json"},
        )
        async with asyncio.timeout(PATIENCE_S):
            frame = await station.recv()
    assert isinstance(frame, str)
    assert frame.endswith(',"ChangeConfiguration",{"value":"é","key":"X"}]')


async def test_order_waits_for_a_station_that_is_away(gate: Gate, api: httpx.AsyncClient) -> None:
    await gate.add("CP1", protocol="ocpp1.6")
    answer = await place(api, "CP1", RESET | {"wait_s": 0})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    async with gate.connect("CP1") as station:
        await boot(station)
        await obey(station, "Rejected")
        told = await until(api, answer.json()["command_id"], "rejected")
    assert told["response"] == {"status": "Rejected"}


async def test_orders_of_a_station_go_out_in_order_one_at_a_time(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    await gate.add("CP1", protocol="ocpp1.6")
    keys = [f"Key{number}" for number in range(8)]
    for key in keys:
        payload = {"key": key, "value": "1"}
        body = {"action": "ChangeConfiguration", "payload": payload, "wait_s": 0}
        assert (await place(api, "CP1", body)).status_code == 202
    async with gate.connect("CP1") as station:
        await boot(station)
        for key in keys:
            order = await ordered(station)
            assert order[3]["key"] == key
            await heartbeat(station)  # and no other order before its answer
            await station.send(json.dumps([3, order[1], {"status": "Accepted"}]))


async def test_order_without_a_boot_waits_for_the_patience(
    settings: Settings, database: Database
) -> None:
    settings = replace(settings, boot_patience_s=0.3)
    async with open_gate(settings, database) as gate, client_of(gate) as api:
        await gate.add("CP1", protocol="ocpp1.6")
        await place(api, "CP1", RESET | {"wait_s": 0})
        async with gate.connect("CP1") as station:
            await heartbeat(station)
            await obey(station)
            await until(api, 1, "accepted")


async def test_order_can_wait_for_the_boot_by_setting(
    settings: Settings, database: Database
) -> None:
    settings = replace(settings, boot_patience_s=0.0, orders_without_boot="wait")
    async with open_gate(settings, database) as gate, client_of(gate) as api:
        await gate.add("CP1", protocol="ocpp1.6")
        await place(api, "CP1", RESET | {"wait_s": 0})
        async with gate.connect("CP1") as station:
            await gate.connected("CP1", True)
            for number in range(5):
                await heartbeat(station, f"{number}")  # nothing but answers comes
            await boot(station)
            await obey(station)


async def test_order_can_be_taken_back_until_it_is_sent(gate: Gate, api: httpx.AsyncClient) -> None:
    await gate.add("CP1", protocol="ocpp1.6")
    first, second = [(await place(api, "CP1", RESET | {"wait_s": 0})).json() for _ in range(2)]
    gone = await api.delete(f"/commands/{first['command_id']}")
    assert (gone.status_code, gone.json()["status"]) == (200, "cancelled")
    async with gate.connect("CP1") as station:
        await boot(station)
        await obey(station)
        await until(api, second["command_id"], "accepted")
        await heartbeat(station)  # one order came, not two
    late = await api.delete(f"/commands/{second['command_id']}")
    assert late.status_code == 409
    assert "too late" in late.json()["detail"]


async def test_order_expires_and_is_not_sent(
    gate: Gate, api: httpx.AsyncClient, database: Database
) -> None:
    await gate.add("CP1", protocol="ocpp1.6")
    told = (await place(api, "CP1", RESET | {"wait_s": 0, "expires_in_s": 60})).json()
    async with await db.connect(database) as connection:
        later = datetime.now(UTC) + timedelta(seconds=61)
        assert await commands.give_up(connection, gate.settings, later) == 1
    assert (await api.get(f"/commands/{told['command_id']}")).json()["status"] == "expired"
    async with gate.connect("CP1") as station:
        await boot(station)
        await heartbeat(station)


async def test_what_is_not_valid_is_refused_with_the_reason(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    await gate.add("CP1", protocol="ocpp1.6")
    await gate.add("NEW")
    for station_id, body, status, words in (
        ("CP1", {"action": "Reset", "payload": {"type": "Medium"}}, 422, "type: 'Medium'"),
        ("CP1", {"action": "Reset", "payload": {}}, 422, "'type' is a required property"),
        ("CP1", {"action": "Reset", "payload": {"type": "Soft", "x": 1}}, 422, "'x'"),
        ("CP1", {"action": "GetVariables", "payload": {}}, 422, "no order of OCPP 1.6"),
        ("CP1", {"action": "Heartbeat", "payload": {}}, 422, "no order of OCPP 1.6"),
        ("NEW", RESET, 422, "set its protocol"),
        ("NOBODY", RESET, 404, "no station NOBODY"),
    ):
        answer = await place(api, station_id, body)
        assert answer.status_code == status, answer.text
        assert words in answer.json()["detail"]
    assert (await api.get("/commands")).json()["total"] == 0


def test_tenths_of_an_ampere_are_valid_as_people_write_them() -> None:
    for limit in (6.3, 0.1, 16, 16.0, 32.7):
        period = {"startPeriod": 0, "limit": limit}
        schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [period]}
        profile = {
            "chargingProfileId": 1,
            "stackLevel": 0,
            "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule": schedule,
        }
        orders.check(
            "ocpp1.6", "SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile}
        )
        period["limit"] = limit + 0.05
        with pytest.raises(orders.OrderRefused, match="multiple"):
            orders.check(
                "ocpp1.6", "SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile}
            )


async def test_too_many_orders_for_one_station_are_refused(
    settings: Settings, database: Database
) -> None:
    settings = replace(settings, command_queue_commands_max=3)
    async with open_gate(settings, database) as gate, client_of(gate) as api:
        await gate.add("CP1", protocol="ocpp1.6")
        answers = [await place(api, "CP1", RESET | {"wait_s": 0}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [202, 202, 202, 422]
        assert "3 orders wait" in answers[-1].json()["detail"]


async def test_reports_are_collected_under_their_order(gate: Gate, api: httpx.AsyncClient) -> None:
    await gate.add("CP1", protocol="ocpp2.0.1")
    body = {"action": "GetBaseReport", "payload": {"requestId": 7, "reportBase": "FullInventory"}}
    async with gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
        await boot_201(station)
        asked = asyncio.create_task(place(api, "CP1", body))
        await obey(station)
        told = (await asked).json()
        assert told["parts"] == "awaited"
        for number in range(3):
            report = {
                "requestId": 7,
                "generatedAt": "2026-11-25T12:00:00Z",
                "seqNo": number,
                "tbc": number < 2,
            }
            await station.send(json.dumps([2, f"r{number}", "NotifyReport", report]))
            assert (await ordered(station))[:2] == [3, f"r{number}"]
        unasked = {"requestId": 8, "generatedAt": "2026-11-25T12:00:00Z", "seqNo": 0}
        await station.send(json.dumps([2, "r8", "NotifyReport", unasked]))
        assert (await ordered(station))[:2] == [3, "r8"]
    assert (await api.get(f"/commands/{told['command_id']}")).json()["parts"] == "complete"
    reports = (await api.get(f"/commands/{told['command_id']}/reports")).json()
    assert [item["content"]["seqNo"] for item in reports["items"]] == [0, 1, 2]


async def boot_201(station: ClientConnection, message_id: str = "boot") -> str:
    """Boot in the words of 2.0.1; the status answered."""
    payload = {"reason": "PowerUp", "chargingStation": {"vendorName": "V", "model": "M"}}
    await station.send(json.dumps([2, message_id, "BootNotification", payload]))
    answer = await ordered(station)
    assert answer[:2] == [3, message_id]
    return str(answer[2]["status"])


async def test_reports_that_never_come_are_overdue(
    gate: Gate, api: httpx.AsyncClient, database: Database
) -> None:
    await gate.add("CP1", protocol="ocpp2.0.1")
    body = {"action": "GetBaseReport", "payload": {"requestId": 7, "reportBase": "FullInventory"}}
    async with gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
        await boot_201(station)
        asked = asyncio.create_task(place(api, "CP1", body))
        await obey(station)
        told = (await asked).json()
        async with await db.connect(database) as connection:
            later = datetime.now(UTC) + timedelta(hours=2)
            await commands.give_up(connection, gate.settings, later)
        address = f"/commands/{told['command_id']}"
        assert (await api.get(address)).json()["parts"] == "overdue"
        report = {"requestId": 7, "generatedAt": "2026-11-25T12:00:00Z", "seqNo": 0}
        await station.send(json.dumps([2, "r", "NotifyReport", report]))
        assert (await ordered(station))[:2] == [3, "r"]
        assert (await api.get(address)).json()["parts"] == "late"


async def test_order_of_a_node_that_died_is_given_up_and_never_sent_again(
    gate: Gate, api: httpx.AsyncClient, database: Database
) -> None:
    """Committed as sent, and the process gone: nobody knows whether the station got it."""
    await gate.add("CP1", protocol="ocpp1.6")
    async with await db.connect(database) as connection:
        await orders.place(
            connection,
            "CP1",
            "Reset",
            {"type": "Soft"},
            origin=OPERATOR,
            now=datetime.now(UTC),
            expires_in_s=3600,
            settings=gate.settings,
        )
        await connection.execute(
            "UPDATE command SET status = 'sent', node = 'gone', generation = 1, message_id = 'm',"
            " sent_at = now() - interval '1 minute', due_at = now() + interval '1 minute'"
        )
        async with gate.connect("CP1") as station:
            await boot(station)
            await gate.connected("CP1", True)
            await worker.give_up_orders(connection, gate.settings, datetime.now(UTC))
            told = (await api.get("/commands/1")).json()
            assert (told["status"], told["error"]["code"]) == ("failed", "NoAnswer")
            await heartbeat(station)
            # Its answer comes after all, on the new connection: kept, and the state stays.
            await station.send('[3,"m",{"status":"Accepted"}]')
            told = await until(api, 1, "failed", late=True)
            assert told["response"] == {"status": "Accepted"}


# --- Stations on hold ---------------------------------------------------------------------------


async def test_station_on_hold_is_told_to_do_things_and_may_say_what_it_is_asked(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    """OCPP 2.0.1, B02: refused is only what comes unasked; what hangs on it is kept."""
    await gate.add("CP1", protocol="ocpp2.0.1", boot_status="pending")
    started = {
        "eventType": "Started",
        "timestamp": "2026-11-25T12:00:00Z",
        "triggerReason": "CablePluggedIn",
        "seqNo": 0,
        "transactionInfo": {"transactionId": "t1"},
    }
    async with gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
        assert await boot_201(station) == "Pending"
        for action, payload in (("Heartbeat", {}), ("TransactionEvent", started)):
            await station.send(json.dumps([2, action, action, payload]))
            answer = await ordered(station)
            assert answer[:3] == [4, action, "SecurityError"]
        body = {"action": "TriggerMessage", "payload": {"requestedMessage": "Heartbeat"}}
        asked = asyncio.create_task(place(api, "CP1", body))
        await obey(station)
        assert (await asked).json()["status"] == "accepted"
        await heartbeat(station)  # now it was asked for
        assert (await api.patch("/stations/CP1", json={"boot_status": "accepted"})).is_success
        assert await boot_201(station, "again") == "Accepted"
        # The very same frame, once accepted, is heard.
        await station.send(json.dumps([2, "TransactionEvent", "TransactionEvent", started]))
        assert (await ordered(station))[:2] == [3, "TransactionEvent"]
    desk = (await api.get("/reconciliation")).json()["items"]
    assert [(item["reason"], item["message_id"]) for item in desk] == [
        ("station_pending", "TransactionEvent")
    ]


async def test_station_of_16_on_hold_is_not_told_to_charge(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    await gate.add("CP1", protocol="ocpp1.6", boot_status="pending")
    start = {"action": "RemoteStartTransaction", "payload": {"idTag": "A"}, "wait_s": 0}
    async with gate.connect("CP1") as station:
        assert (await boot(station))["status"] == "Pending"
        held = (await place(api, "CP1", start)).json()
        asked = asyncio.create_task(place(api, "CP1", RESET))
        assert (await obey(station))[2] == "Reset"  # what came behind is not held up
        assert (await asked).json()["status"] == "accepted"
        await heartbeat(station)  # one of 1.6 may talk
        assert (await api.patch("/stations/CP1", json={"boot_status": "accepted"})).is_success
        assert (await boot(station, "2"))["status"] == "Accepted"
        assert (await obey(station))[2] == "RemoteStartTransaction"
        await until(api, held["command_id"], "accepted")


@pytest.mark.parametrize("protocol", ["ocpp1.6", "ocpp2.0.1"])
async def test_rejected_station_is_told_nothing_and_heard_in_nothing_but_its_boot(
    gate: Gate, api: httpx.AsyncClient, protocol: str
) -> None:
    await gate.add("CP1", protocol=protocol, boot_status="rejected")
    async with gate.connect("CP1", protocols=[protocol]) as station:
        if protocol == "ocpp1.6":
            assert (await boot(station))["status"] == "Rejected"
        else:
            assert await boot_201(station) == "Rejected"
        order = RESET if protocol == "ocpp1.6" else {"action": "ClearCache", "payload": {}}
        told = (await place(api, "CP1", order | {"wait_s": 0})).json()
        for number in range(3):
            await station.send(f'[2,"{number}","Heartbeat",{{}}]')
            assert (await ordered(station))[:3] == [4, f"{number}", "SecurityError"]
        assert (await api.get(f"/commands/{told['command_id']}")).json()["status"] == "queued"
