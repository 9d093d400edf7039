"""MQTT: what is published, after which commit, and what happens when the broker is away."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiomqtt
import pytest

from csms import metrics
from csms.config import SettingError, Settings
from csms.db import Database
from csms.embedded_broker import Broker, fits
from csms.telemetry import Telemetry, check_url
from tests.conftest import free_ports
from tests.scenarios.gate import PATIENCE_S, Gate, ask, boot, heartbeat, open_gate
from tests.test_commands import RESET, client_of, obey, place

START = {"connectorId": 1, "idTag": "A", "meterStart": 1000, "timestamp": "2026-11-25T12:00:00Z"}
ODD = "CP/1+#"


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    async with Broker().open() as broker:
        yield broker


@pytest.fixture
async def gate(settings: Settings, database: Database, broker: Broker) -> AsyncIterator[Gate]:
    settings = replace(settings, mqtt_url=broker.url, telemetry_live_s=0.1)
    async with open_gate(settings, database) as gate:
        yield gate


class Reader:
    """Whoever subscribes to a topic."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._messages = client.messages

    async def next(self, topic: str) -> Any:
        """The next message of just this topic, as a value; others are passed over."""
        async with asyncio.timeout(PATIENCE_S):
            async for message in self._messages:
                if message.topic.value == topic:
                    return json.loads(bytes(message.payload))  # type: ignore[arg-type]
        raise AssertionError("the subscription ended")


@asynccontextmanager
async def reading(broker: Broker, pattern: str) -> AsyncIterator[Reader]:
    """A subscription within the block."""
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.subscribe(pattern)
        yield Reader(client)


async def test_state_is_there_for_who_comes_later(gate: Gate, broker: Broker) -> None:
    await gate.add("CP1")
    status = {"connectorId": 1, "errorCode": "NoError", "status": "Preparing"}
    async with gate.connect("CP1") as station:
        await ask(station, "StatusNotification", status)
        await gate.connected("CP1", True)
        async with reading(broker, "t2p/#") as late:
            told = await late.next("t2p/stations/CP1/connection")
            assert (told["connected"], told["node"]) == (True, gate.settings.node)
        async with reading(broker, "t2p/#") as late:
            told = await late.next("t2p/stations/CP1/evses/1/connectors/1/status")
            assert (told["status"], told["error_code"]) == ("preparing", None)
        async with reading(broker, "t2p/nodes/+") as late:
            assert (await late.next(f"t2p/nodes/{gate.settings.node}"))["alive"] is True
    async with reading(broker, "t2p/stations/CP1/connection") as reader:
        while (await reader.next("t2p/stations/CP1/connection"))["connected"]:
            pass


async def test_session_is_told_from_start_to_end_without_its_badge(
    gate: Gate, broker: Broker
) -> None:
    await gate.add("CP1")
    async with reading(broker, "t2p/stations/CP1/#") as reader, gate.connect("CP1") as station:
        started = await ask(station, "StartTransaction", START, "1")
        told = await reader.next("t2p/stations/CP1/sessions")
        assert (told["event"], told["state"]) == ("started", "active")
        assert told["transaction_id"] == str(started["transactionId"])
        assert "A" not in told.values()
        values = [{"timestamp": "2026-11-25T12:05:00Z", "sampledValue": [{"value": "1400"}]}]
        payload = {
            "connectorId": 1,
            "transactionId": started["transactionId"],
            "meterValue": values,
        }
        await ask(station, "MeterValues", payload, "2")
        while (live := await reader.next("t2p/stations/CP1/evses/1/live"))["energy_wh"] != 400:
            pass
        assert live["register_wh"] == 1400
        stop = {
            "transactionId": started["transactionId"],
            "meterStop": 1900,
            "timestamp": "2026-11-25T12:30:00Z",
        }
        await ask(station, "StopTransaction", stop, "3")
        told = await reader.next("t2p/stations/CP1/sessions")
        assert (told["event"], told["state"], told["energy_wh"]) == ("ended", "ended", 900)


async def test_identity_with_odd_letters_stays_within_its_level(gate: Gate, broker: Broker) -> None:
    await gate.add(ODD)
    url = f"{gate.url}/CP%2F1%2B%23"
    pattern = "t2p/stations/+/connection"
    async with reading(broker, pattern) as reader, gate.connect(ODD, url=url) as station:
        await heartbeat(station)
        told = await reader.next("t2p/stations/CP%2F1%2B%23/connection")
        assert told["connected"] is True


async def test_broker_that_dies_costs_no_frame_and_is_told_all_when_it_is_back(
    gate: Gate, broker: Broker
) -> None:
    await gate.add("CP1")
    async with AsyncExitStack() as stack:
        station = await stack.enter_async_context(gate.connect("CP1"))
        await heartbeat(station)
        async with reading(broker, "t2p/#") as reader:
            await reader.next("t2p/stations/CP1/connection")
        for client in list(broker._clients.values()):
            client.writer.transport.abort()
        broker._retained.clear()
        status = {"connectorId": 1, "errorCode": "NoError", "status": "Charging"}
        await ask(station, "StatusNotification", status, "2")
        async with reading(broker, "t2p/#") as reader:
            await reader.next("t2p/stations/CP1/connection")
            told = await reader.next("t2p/stations/CP1/evses/1/connectors/1/status")
            assert told["status"] == "charging"


async def test_telling_a_broker_all_anew_holds_back_no_wake_up(
    settings: Settings, broker: Broker
) -> None:
    many = 3_000
    telemetry = Telemetry(replace(settings, mqtt_url=broker.url))
    for number in range(many):
        telemetry.station_connected(f"CP{number}", True, datetime.now(UTC))
    told = 0
    async with aiomqtt.Client("127.0.0.1", broker.port) as reader, asyncio.TaskGroup() as tasks:
        await reader.subscribe("t2p/#")
        running = tasks.create_task(telemetry.run())
        async with asyncio.timeout(PATIENCE_S):
            async for message in reader.messages:
                if told == 0:
                    assert telemetry.wake("node", "command", "CP1")
                if message.topic.value.startswith("t2p/wake/"):
                    break
                told += 1
            assert told < many
            async for _ in reader.messages:
                told += 1
                if told == many:
                    break
        running.cancel()


async def test_service_without_its_broker_serves(settings: Settings, database: Database) -> None:
    (port,) = free_ports(1)
    settings = replace(settings, mqtt_url=f"mqtt://127.0.0.1:{port}")
    async with open_gate(settings, database) as gate:
        await gate.add("CP1")
        async with gate.connect("CP1") as station, client_of(gate) as api:
            await boot(station)
            asked = asyncio.create_task(place(api, "CP1", RESET))  # woken by the database
            await obey(station)
            assert (await asked).json()["status"] == "accepted"


async def test_what_waits_for_a_broker_is_bounded(settings: Settings) -> None:
    settings = replace(settings, mqtt_url="mqtt://127.0.0.1:1", telemetry_queue_events_max=10)
    telemetry = Telemetry(settings)
    telemetry.connected = True  # as far as it knows
    dropped = metrics.MQTT_DROPPED._value.get()
    for number in range(25):
        assert telemetry.wake("node", "command", f"CP{number}")
    assert metrics.MQTT_DROPPED._value.get() - dropped == 15


async def test_order_wakes_the_node_by_mqtt_where_there_is_a_broker(
    settings: Settings, database: Database, broker: Broker
) -> None:
    """Polling is far away, and the database is not asked to tell."""
    async with AsyncExitStack() as stack:
        gates = []
        for name in ("node-a", "node/b"):
            ocpp_port, http_port = free_ports(2)
            own = replace(
                settings,
                node=name,
                ocpp_port=ocpp_port,
                http_port=http_port,
                mqtt_url=broker.url,
                command_poll_s=3_600.0,
            )
            gates.append(await stack.enter_async_context(open_gate(own, database)))
        a, b = gates
        async with reading(broker, "t2p/#") as reader:
            await reader.next("t2p/nodes/node-a")
            await reader.next("t2p/nodes/node%2Fb")
            await a.add("CP1")
            async with client_of(a) as api, b.connect("CP1") as station:
                await boot(station)
                await b.connected("CP1", True)
                asked = asyncio.create_task(place(api, "CP1", RESET))
                assert await reader.next("t2p/wake/node%2Fb/command") == {"subject": "CP1"}
                await obey(station)
                assert (await asked).json()["status"] == "accepted"
                # Noise on the topic of hints hurts nobody.
                async with aiomqtt.Client("127.0.0.1", broker.port) as stranger:
                    for payload in (b"", b"{", b'{"subject":7}', b'{"subject":"NOBODY"}'):
                        await stranger.publish("t2p/wake/node%2Fb/command", payload)
                asked = asyncio.create_task(place(api, "CP1", RESET))
                await obey(station)
                assert (await asked).json()["status"] == "accepted"


def test_url_of_another_kind_is_refused(settings: Settings) -> None:
    for url in ("http://broker", "mqtt://", "broker:1883"):
        with pytest.raises(SettingError, match="T2P_MQTT_URL"):
            check_url(replace(settings, mqtt_url=url))
    check_url(replace(settings, mqtt_url="mqtts://user:pass@broker:8883"))


# --- The embedded broker ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "pattern", "expected"),
    [
        ("a/b/c", "a/b/c", True),
        ("a/b/c", "a/+/c", True),
        ("a/b/c", "a/#", True),
        ("a", "a/#", True),
        ("a/b/c", "a/+", False),
        ("a/b", "a/b/+", False),
        ("a/b", "a", False),
        ("$SYS/x", "#", False),
        ("a/", "a/+", True),
    ],
)
def test_filters_are_those_of_mqtt(topic: str, pattern: str, expected: bool) -> None:
    assert fits(topic, pattern) == expected


async def test_last_will_is_told_when_a_client_dies_and_not_when_it_leaves(broker: Broker) -> None:
    will = aiomqtt.Will("gone", b'"dead"', retain=True)
    async with reading(broker, "#") as reader:
        async with aiomqtt.Client("127.0.0.1", broker.port, will=will) as polite:
            await polite.publish("here", b'"polite"', qos=1)
        assert await reader.next("here") == "polite"
        dying = aiomqtt.Client("127.0.0.1", broker.port, identifier="dying", will=will)
        await dying.__aenter__()
        broker._clients["dying"].writer.transport.abort()
        assert await reader.next("gone") == "dead"
        with pytest.raises(aiomqtt.MqttError):
            async with asyncio.timeout(PATIENCE_S):
                async for _ in dying.messages:
                    pass
        await dying.__aexit__(None, None, None)


async def test_what_is_no_mqtt_ends_its_own_connection(broker: Broker) -> None:
    for noise in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10\x04\x00\x04MQ",
        b"\x10\xff\xff\xff\x7f",
        b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x02ab",
        b"\x00" * 10,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(noise)
        writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                await reader.read()
        writer.close()
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.publish("still", b"there", qos=1)
