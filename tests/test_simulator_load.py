"""The load generator: valid texts, honest figures, in process and as a command."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import ocpp.v16.call as call16
import pytest
from ocpp.messages import CallResult, _validate_payload
from websockets.asyncio.server import ServerConnection, serve

from simulators import load
from simulators.load_orders import answer_to_order
from simulators.model import OCPP16, OCPP201
from simulators.rawsocket import upgrade_request
from tests.order_samples import ORDERS
from tests.simulator_peer import Peer, peer_listening


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with peer_listening() as peer:
        yield peer


@pytest.mark.parametrize(
    ("action", "protocol"),
    [
        ("MeterValues", "ocpp1.6"),
        ("TransactionEvent", "ocpp2.0.1"),
        ("Heartbeat", "ocpp1.6"),
        ("Heartbeat", "ocpp2.0.1"),
        ("BootNotification", "ocpp2.0.1"),
    ],
)
async def test_all_that_is_sent_is_valid_and_counted(
    peer: Peer, action: str, protocol: str
) -> None:
    plan = load.LoadPlan(
        url=peer.url, stations=3, action=action, protocol=protocol, messages=30, finish=True
    )
    result = await load.run(plan)
    assert peer.schema_errors == []
    assert result.booted == 3
    assert result.errors == result.unanswered == result.closed == 0
    if action != "BootNotification":
        assert result.sent == result.answered == 30
        assert result.p50_ms is not None and result.p999_ms is not None
        assert 0 < result.p50_ms <= result.p999_ms


async def test_no_message_of_a_station_repeats_another(peer: Peer) -> None:
    for action, protocol in (("MeterValues", "ocpp1.6"), ("TransactionEvent", "ocpp2.0.1")):
        plan = load.LoadPlan(
            url=peer.url, stations=2, action=action, protocol=protocol, messages=60
        )
        await load.run(plan)
        payloads = [json.dumps(payload) for payload in peer.payloads(action, "LOAD00000")]
        assert len(payloads) == len(set(payloads)) >= 20
    seq_nos = [event["seqNo"] for event in peer.payloads("TransactionEvent", "LOAD00000")]
    assert seq_nos == list(range(len(seq_nos)))
    (values,) = {len(p["meterValue"][0]["sampledValue"]) for p in peer.payloads("MeterValues")}
    assert values == 8


async def test_the_transaction_id_given_is_the_one_used(peer: Peer) -> None:
    await load.run(load.LoadPlan(url=peer.url, stations=3, messages=9, finish=True))
    for station in ("LOAD00000", "LOAD00001", "LOAD00002"):
        used = {p["transactionId"] for p in peer.payloads("MeterValues", station)}
        used |= {p["transactionId"] for p in peer.payloads("StopTransaction", station)}
        assert len(used) == 1
    assert {p["transactionId"] for p in peer.payloads("StopTransaction")} == {1, 2, 3}


async def test_in_the_open_loop_a_stall_shows_in_the_latency_of_what_came_after_it() -> None:
    """The server stops for 0.3 s; all that was due meanwhile has waited, sent or not."""
    seen = 0

    async def stalling(socket: ServerConnection) -> None:
        nonlocal seen
        async for text in socket:
            seen += 1
            if seen == 20:
                await asyncio.sleep(0.3)
            await socket.send(text)

    async with serve(stalling, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        plan = load.LoadPlan(
            url=f"ws://127.0.0.1:{port}/echo",
            stations=1,
            action="Echo",
            duration_s=1.0,
            rate_per_s=100,
        )
        result = await load.run(plan)
    assert 95 <= result.answered <= 101
    late = result.p99_ms
    assert late is not None and late > 200


async def test_refused_and_cut_connections_are_counted(peer: Peer) -> None:
    peer.cut_on.add("MeterValues")
    result = await load.run(load.LoadPlan(url=peer.url, stations=3, messages=30))
    assert result.closed == 1
    assert result.unanswered >= 1

    async def refuse(socket: ServerConnection) -> None:
        """Never reached."""

    async with serve(refuse, "127.0.0.1", 0, process_request=lambda c, r: c.respond(401, "")) as s:
        port = next(iter(s.sockets)).getsockname()[1]
        result = await load.run(load.LoadPlan(url=f"ws://127.0.0.1:{port}/x", stations=2))
    assert result.refused == 2
    assert result.reasons == {"refused: HTTP 401": 2}


async def test_as_a_process_it_waits_when_asked_and_prints_json(peer: Peer) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *["-m", "simulators.load", "--url", peer.url, "--stations", "2", "--messages", "10"],
        "--wait",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdin is not None
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    assert ready["booted"] == 2
    assert not peer.payloads("MeterValues")
    process.stdin.write(b"\n")
    result = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    assert result["answered"] == 10
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 30) == 0


@pytest.mark.parametrize("protocol", [OCPP16, OCPP201])
def test_every_order_is_obeyed_in_a_valid_word(protocol: str) -> None:
    for action, payload in ORDERS[protocol].items():
        order = json.dumps([2, "id-1", action, payload], separators=(",", ":")).encode()
        kind, message_id, response = json.loads(answer_to_order(order, is_201=protocol == OCPP201))
        assert (kind, message_id) == (3, "id-1"), action
        _validate_payload(CallResult("id-1", response, action), protocol.removeprefix("ocpp"))


async def test_stations_are_dealt_over_all_gateways_and_obey_while_they_wait() -> None:
    async with peer_listening() as one, peer_listening() as other:
        plan = load.LoadPlan(url=f"{one.url},{other.url}", stations=5, action="BootNotification")

        async def order_about(result: load.LoadResult) -> None:
            for peer in (one, other):
                for client in peer.clients.values():
                    answer = await client.call(call16.ClearCache(), suppress=False)
                    assert answer.status == "Accepted"

        result = await load.run(plan, order_about)
    assert result.booted == result.orders == 5
    assert [len(one.clients), len(other.clients)] == [3, 2]


def test_identity_and_password_are_written_as_http_wants_them() -> None:
    text = upgrade_request("ws://host:9000/ocpp/", "CP|1", "ocpp1.6", "pw").decode()
    assert text.startswith("GET /ocpp/CP%7C1 HTTP/1.1\r\nHost: host:9000\r\n")
    assert "Authorization: Basic Q1B8MTpwdw==\r\n" in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "Nonsense"},
        {"protocol": "ocpp1.5"},
        {"action": "TransactionEvent", "protocol": "ocpp1.6"},
        {"stations": 0},
        {"rate_per_s": 0.0},
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        load.check(load.LoadPlan(url="ws://localhost", **wrong))  # type: ignore[arg-type]
