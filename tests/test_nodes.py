"""Several gateways on one database: orders find their station, stations move, nodes die."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import namedtuple_row
from websockets.exceptions import ConnectionClosed

from csms import db
from csms.config import Settings
from csms.db import Database
from csms.store import connections
from tests.conftest import free_ports
from tests.scenarios.audit import audit, provision
from tests.scenarios.gate import PATIENCE_S, Gate, ask, boot, heartbeat, open_gate
from tests.scenarios.load import Load
from tests.scenarios.nodes import Balancer, Cluster, OrderTaker
from tests.test_commands import RESET, client_of, obey, place

SEED = 20_220_525
HOLDER = "SELECT node FROM station_connection WHERE disconnected_at IS NULL"
START = {"connectorId": 1, "idTag": "A", "meterStart": 1000, "timestamp": "2026-11-25T12:00:00Z"}


@pytest.fixture
async def gates(settings: Settings, database: Database) -> AsyncIterator[list[Gate]]:
    """Two nodes on one database."""
    async with AsyncExitStack() as stack:
        opened = []
        for name in ("node-a", "node-b"):
            ocpp_port, http_port = free_ports(2)
            own = replace(
                settings, node=name, ocpp_port=ocpp_port, http_port=http_port, command_poll_s=0.2
            )
            opened.append(await stack.enter_async_context(open_gate(own, database)))
        yield opened


async def test_order_given_to_one_node_reaches_a_station_on_another(gates: list[Gate]) -> None:
    a, b = gates
    await a.add("CP1")
    async with client_of(a) as api, b.connect("CP1") as station:
        await boot(station)
        asked = asyncio.create_task(place(api, "CP1", RESET))
        assert (await obey(station))[2] == "Reset"
        told = (await asked).json()
        assert (told["status"], told["node"]) == ("accepted", "node-b")
        names = {node["name"] for node in (await api.get("/nodes")).json()["items"]}
        assert names == {"node-a", "node-b"}


async def test_order_whose_wake_up_is_lost_is_found_all_the_same(gates: list[Gate]) -> None:
    a, b = gates
    await a.add("CP1", protocol="ocpp1.6")
    async with b.connect("CP1") as station:
        await boot(station)
        await b.connected("CP1", True)
        async with await db.connect(a.database) as connection:
            await connection.execute(
                "INSERT INTO command (station_key, protocol, action, payload, origin, created_at,"
                " expires_at) SELECT station_key, 'ocpp1.6', 'ClearCache', '{}', 'operator', now(),"
                " now() + interval '1 hour' FROM station"
            )
        assert (await obey(station))[2] == "ClearCache"


async def test_station_that_moves_in_mid_session_keeps_session_and_answers(
    gates: list[Gate],
) -> None:
    a, b = gates
    await a.add("CP1")
    async with await db.connect(a.database) as connection:
        await connection.execute("INSERT INTO token (uid, uid_key) VALUES ('A', 'a')")
    values = {
        "connectorId": 1,
        "meterValue": [{"timestamp": "2026-11-25T12:05:00Z", "sampledValue": [{"value": "1400"}]}],
    }
    async with a.connect("CP1") as old:
        started = await ask(old, "StartTransaction", START, "1")
        values["transactionId"] = started["transactionId"]
        await ask(old, "MeterValues", values, "2")
        async with b.connect("CP1") as new:  # the old socket is half open
            # The same message under the same id, under a new one, and the readings once more.
            assert await ask(new, "StartTransaction", START, "1") == started
            assert await ask(new, "StartTransaction", START, "1-again") == started
            await ask(new, "MeterValues", values, "2-again")
            async with asyncio.timeout(PATIENCE_S):  # the other node heard of it
                with pytest.raises(ConnectionClosed):
                    await old.recv()
            assert old.close_code == 1008
            await a.eventually([("node-b",)], HOLDER)
            stop = {
                "transactionId": started["transactionId"],
                "meterStop": 1900,
                "timestamp": "2026-11-25T12:30:00Z",
            }
            await ask(new, "StopTransaction", stop, "3")
    async with a.connect("CP1") as back:
        await ask(back, "StopTransaction", stop, "3-again")
        assert await ask(back, "StartTransaction", START, "1-back") == started
        await a.eventually([("node-a",)], HOLDER)
    assert await a.rows("SELECT state, energy_wh FROM session") == [("ended", 900)]
    assert await a.rows("SELECT count(*) FROM meter_reading") == [(1,)]


async def test_station_that_goes_to_and_fro_is_where_it_connected_last(gates: list[Gate]) -> None:
    await gates[0].add("CP1")
    async with AsyncExitStack() as stack:
        for number in range(10):
            gate = gates[number % 2]
            socket = await stack.enter_async_context(gate.connect("CP1", close_timeout=0.1))
        await heartbeat(socket)
        await gates[0].eventually([("node-b",)], HOLDER)
        async with client_of(gates[0]) as api:
            await boot(socket, "boot")
            asked = asyncio.create_task(place(api, "CP1", RESET))
            await obey(socket)
            assert (await asked).json()["node"] == "node-b"


async def test_node_that_is_about_to_stop_says_so_and_sends_its_stations_away(
    settings: Settings, database: Database
) -> None:
    settings = replace(settings, drain_s=0.3)
    async with AsyncExitStack() as stack:
        stopping = AsyncExitStack()
        await stack.enter_async_context(stopping)
        gate = await stopping.enter_async_context(open_gate(settings, database))
        for number in range(30):
            await gate.add(f"CP{number}")
        sockets = [
            await stack.enter_async_context(gate.connect(f"CP{number}")) for number in range(30)
        ]
        closing = asyncio.create_task(stopping.aclose())
        async with httpx.AsyncClient() as client:
            address = f"http://127.0.0.1:{settings.http_port}/readyz"
            async with asyncio.timeout(PATIENCE_S):
                while (answer := await client.get(address)).status_code != 503:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        assert "about to stop" in answer.text
        async with asyncio.timeout(PATIENCE_S):
            for socket in sockets:
                await socket.wait_closed()
        assert {socket.close_code for socket in sockets} == {1012}
        await closing
    async with await db.connect(database) as connection:
        cursor = await connection.execute(
            "SELECT count(*) FROM station_connection WHERE disconnected_at IS NULL"
        )
        assert await cursor.fetchone() == (0,)


@pytest.mark.chaos
@pytest.mark.parametrize("size", [2, 4])
async def test_node_killed_under_load_loses_nothing_and_runs_no_order_twice(
    tmp_path: Path, size: int
) -> None:
    settings = {"node_dead_after_s": 4, "call_timeout_s": 5, "command_poll_s": 0.5}
    async with (
        Cluster(tmp_path, size, **settings).open() as cluster,
        Balancer([node.ocpp_port for node in cluster.nodes]).open() as balancer,
    ):
        load = Load(balancer.url, 16, SEED)
        takers = [OrderTaker(f"TAKER-{number}", balancer.url) for number in range(12)]
        names = [taker.identity for taker in takers]
        await provision(cluster.conninfo, [*load.station_ids, *names])
        victim = cluster.nodes[-1]
        async with await cluster.api(cluster.nodes[0]) as api, asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(taker.run()) for taker in takers]
            async with load.charging():
                await load.more(100)
                placed = await give_orders(api, names, 0, 5)
                giving = tasks.create_task(give_orders(api, names, 5, 15))
                await load.more(30)
                await victim.kill()
                placed += await giving
                await load.more(100)  # the stations found another node
                await victim.start()
                placed += await give_orders(api, names, 20, 5)
                await load.more(100)
                await load.finish()
            over = [await until_over(api, command_id) for command_id in placed]
            for task in running:
                task.cancel()
        assert await audit(cluster.conninfo, load) == []
        assert {order["status"] for order in over} <= {"accepted", "failed"}
        for taker in takers:
            own = [order for order in over if order["station_id"] == taker.identity]
            assert taker.taken == sorted(set(taker.taken)), "in order, and none twice"
            accepted = {o["payload"]["data"] for o in own if o["status"] == "accepted"}
            assert accepted <= set(map(str, taker.taken)), "accepted without having been there"
            lost = {o["payload"]["data"] for o in own if o["status"] == "failed"}
            assert len(lost) <= 1, "one order at most was under way when the node died"
        async with await psycopg.AsyncConnection.connect(
            cluster.conninfo, row_factory=namedtuple_row
        ) as connection:
            cursor = await connection.execute("SELECT count(*) AS n FROM session")
            counted = await cursor.fetchone()
        assert counted is not None
        assert counted.n == len(load.sessions)


async def give_orders(
    api: httpx.AsyncClient, names: list[str], first: int, count: int
) -> list[int]:
    """So many numbered orders to each station; their ids."""
    placed = []
    for number in range(first, first + count):
        for name in names:
            payload = {"vendorId": "T", "data": str(number)}
            body = {"action": "DataTransfer", "payload": payload, "wait_s": 0}
            answer = await place(api, name, body)
            assert answer.status_code == 202 or answer.status_code == 200, answer.text
            placed.append(answer.json()["command_id"])
    return placed


async def until_over(api: httpx.AsyncClient, command_id: int) -> dict[str, Any]:
    """The order when it is over."""
    async with asyncio.timeout(60):
        while True:
            found: dict[str, Any] = (await api.get(f"/commands/{command_id}")).json()
            if found["status"] not in ("queued", "sent"):
                return found
            await asyncio.sleep(0.1)


async def test_connection_told_twice_is_the_same_connection(database: Database) -> None:
    """A node that does not know whether its first attempt was committed tells it again."""
    async with await db.connect(database) as connection:
        await connection.execute("INSERT INTO station (id) VALUES ('CP1')")
        cursor = await connection.execute("SELECT station_key FROM station")
        ((key,),) = await cursor.fetchall()
        generations = await connections.next_generations(connection, 2)

        async def tell(generation: int) -> set[int]:
            row = {
                "station_key": key,
                "node": "node-a",
                "generation": generation,
                "protocol": "ocpp1.6",
                "remote_address": "192.0.2.1",
                "connected_at": datetime.now(UTC),
            }
            return await connections.open_connections(connection, [row], "node-a", 15)

        assert await tell(generations[1]) == {key}
        assert await tell(generations[1]) == {key}
        assert await tell(generations[0]) == set()  # an older one, heard of late
