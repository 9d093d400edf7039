"""The life of connections, told from outside a live gateway: the newest wins, pings, floods."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from csms import db, keys
from csms.config import Settings
from csms.db import Database
from tests.scenarios.gate import PATIENCE_S, Gate, RawStation, ask, boot, heartbeat, open_gate

# What one read of a socket brings is taken whole: a flood must be larger than that to be held.
FLOOD_PADDING = "x" * 4_000


@pytest.fixture
async def gate(settings: Settings, database: Database) -> AsyncIterator[Gate]:
    async with open_gate(settings, database) as gate:
        yield gate


@pytest.fixture
async def api(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    """The operator's API of the same process."""
    async with await db.connect(gate.database) as connection:
        key, _ = await keys.create(connection, name="test", role="operator", expires_at=None)
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{gate.settings.http_port}/api/v1",
        headers={"Authorization": f"Bearer {key}"},
    ) as client:
        yield client


async def close_of(socket: ClientConnection) -> tuple[int | None, str | None]:
    """Code and reason with which the gateway ends the connection."""
    async with asyncio.timeout(PATIENCE_S):
        await socket.wait_closed()
    return socket.close_code, socket.close_reason


# --- The newest wins ----------------------------------------------------------------------------


async def test_newest_connection_wins_over_a_half_open_one(gate: Gate) -> None:
    """Field case 24: the late end of the old one must not harm the new one."""
    await gate.add("CP1")
    async with RawStation.open(gate, "/ocpp/CP1", "Connection: Upgrade") as old:
        old.send("Heartbeat", {})
        assert await old.read() is not None
        await gate.connected("CP1", True)
        ((old_generation,),) = await gate.rows("SELECT generation FROM station_connection")
        async with gate.connect("CP1") as new:
            await heartbeat(new)
            old.send("StatusNotification", {"connectorId": 1})  # from a grave, after the goodbye
            async with asyncio.timeout(PATIENCE_S):
                assert await old.read() is None  # it never answers the close frame; it is cut
            await heartbeat(new, "2")
            await gate.connected("CP1", True)
            ((generation,),) = await gate.rows("SELECT generation FROM station_connection")
            assert generation > old_generation
    await gate.connected("CP1", False)


async def test_station_that_reconnects_right_after_its_close_stays_connected(gate: Gate) -> None:
    """Field case 39."""
    await gate.add("CP1")
    await gate.add("CP2")
    for number in range(40):
        async with gate.connect("CP1") as leaving, gate.connect("CP2", protocols=[]) as cut:
            await asyncio.gather(boot(leaving, f"a{number}"), heartbeat(cut, f"b{number}"))
            cut.transport.abort()
        await asyncio.sleep(0.01)  # what the case is about
    async with gate.connect("CP1") as one, gate.connect("CP2") as other:
        await gate.connected("CP1", True)
        await gate.connected("CP2", True)
        await heartbeat(one, "last")
        await heartbeat(other, "last")
        boots = await gate.rows("SELECT count(*) FROM station_event WHERE kind = 'boot'")
        assert boots == [(40,)]


async def test_connection_taken_over_again_and_again_leaves_the_last_one(gate: Gate) -> None:
    await gate.add("CP1")
    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(gate.connect("CP1", close_timeout=0.1))
            for _ in range(20)
        ]
        for socket in sockets[:-1]:
            assert await close_of(socket) == (1008, "a newer connection took over")
        await heartbeat(sockets[-1])
        await gate.connected("CP1", True)


# --- Pings --------------------------------------------------------------------------------------


async def test_pings_by_policy_and_only_the_silent_are_cut(
    settings: Settings, database: Database
) -> None:
    """Field case 25: any frame is a sign of life; a ping without an answer is no reason to cut."""
    settings = replace(settings, ping_interval_s=0.3, silence_timeout_s=3.0)
    async with open_gate(settings, database) as gate, AsyncExitStack() as stack:
        for name in ("TALKS", "SILENT", "OWN"):
            await gate.add(name, ping_interval_s=0 if name == "OWN" else None)
        await gate.add("PONGS")

        async def enter(name: str) -> RawStation:
            opening = RawStation.open(gate, f"/ocpp/{name}", "Connection: Upgrade")
            return await stack.enter_async_context(opening)

        talks, silent, own = [await enter(name) for name in ("TALKS", "SILENT", "OWN")]
        pongs = await stack.enter_async_context(gate.connect("PONGS"))
        began_s = time.monotonic()

        async def talk() -> None:
            for number in range(10):
                await asyncio.sleep(0.5)
                talks.send("Heartbeat", {}, f"{number}")
                assert "currentTime" in str(await talks.read())

        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(talk())
            ends = [tasks.create_task(station.read()) for station in (silent, own)]
        assert time.monotonic() - began_s > settings.silence_timeout_s
        assert [end.result() for end in ends] == [None, None]  # cut
        assert silent.pings > 0
        assert talks.pings == 0 or talks.pings < silent.pings + 10
        assert own.pings == 0
        await heartbeat(pongs)
        for name, alive in {"TALKS": True, "PONGS": True, "SILENT": False, "OWN": False}.items():
            await gate.connected(name, alive)


# --- Compression --------------------------------------------------------------------------------


async def test_compression_is_for_stations_that_have_it(gate: Gate) -> None:
    await gate.add("PLAIN")
    await gate.add("DEFLATE", compression=True)
    for name, extensions in (("PLAIN", []), ("DEFLATE", ["permessage-deflate"])):
        async with gate.connect(name, compression="deflate") as socket:
            assert [extension.name for extension in socket.protocol.extensions] == extensions
            await ask(socket, "DataTransfer", {"vendorId": "V", "data": "x" * 100_000})
            await heartbeat(socket, "2")
    async with gate.connect("DEFLATE", compression=None) as socket:
        assert socket.protocol.extensions == []
        await heartbeat(socket)


async def test_bomb_of_compressed_text_closes_its_own_connection_only(gate: Gate) -> None:
    await gate.add("BOMB", compression=True)
    await gate.add("CP1")
    async with gate.connect("CP1") as other:
        async with gate.connect("BOMB", compression="deflate") as socket:
            await socket.send('[2,"1","DataTransfer",{"vendorId":"' + " " * 20_000_000 + '"}]')
            code, _ = await close_of(socket)
            assert code == 1009
        await heartbeat(other)


# --- Floods -------------------------------------------------------------------------------------


async def test_flood_of_one_station_does_not_disturb_another(
    settings: Settings, database: Database
) -> None:
    """The other one is answered while the flood is held back; nothing of it is lost or refused."""
    frames, burst, rate = 600, 100, 200.0
    settings = replace(settings, frames_per_s_max=rate, frames_burst_max=burst)
    async with open_gate(settings, database) as gate:
        await gate.add("FLOOD")
        await gate.add("CALM")
        async with gate.connect("FLOOD") as flood, gate.connect("CALM") as calm:
            began_s = time.monotonic()
            flooding = asyncio.create_task(pour(flood, frames, padding=FLOOD_PADDING))
            for number in range(5):
                await heartbeat(calm, f"{number}")
            assert not flooding.done()
            await flooding
            await heartbeat(flood, "end")  # read when the rate allows it
            took_s = time.monotonic() - began_s
        assert took_s > (frames - burst) / rate * 0.9
        assert await gate.rows(
            "SELECT count(*) FROM ocpp_message JOIN station USING (station_key) WHERE id = 'FLOOD'"
        ) == [(frames + 1,)]


async def pour(socket: ClientConnection, number: int, *, padding: str) -> None:
    """Write so many calls without waiting, until all are answered, in order."""

    async def write() -> None:
        for at in range(number):
            await socket.send(f'[2,"{at}","DataTransfer",{{"vendorId":"V","data":"{padding}"}}]')

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        for at in range(number):
            assert json.loads(await socket.recv())[:2] == [3, f"{at}"]


async def test_station_that_reads_no_answers_is_cut_in_the_end(
    settings: Settings, database: Database
) -> None:
    """What waits for one station in our memory is bounded."""
    settings = replace(settings, frames_per_s_max=1e6, frames_burst_max=10**6)
    async with open_gate(settings, database) as gate:
        await gate.add("DEAF")
        await gate.add("CP1")
        async with (
            RawStation.open(gate, "/ocpp/DEAF", "Connection: Upgrade") as deaf,
            gate.connect("CP1") as other,
        ):
            deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
            with pytest.raises(ConnectionError):
                async with asyncio.timeout(30):
                    for number in itertools.count():
                        deaf.send("Heartbeat", {}, f"{number:0250d}")
                        await deaf.writer.drain()
            await heartbeat(other)
            await gate.connected("DEAF", False)
            await gate.connected("CP1", True)


# --- What people decide -------------------------------------------------------------------------


async def test_retired_station_is_thrown_out_and_stays_out(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    await gate.add("CP1")
    async with gate.connect("CP1") as socket:
        await heartbeat(socket)
        assert (await api.delete("/stations/CP1")).status_code == 204
        assert await close_of(socket) == (1008, "the station was retired")
        assert await gate.status("CP1") == 404
        assert (await api.put("/stations/CP1", json={})).is_success
        assert await gate.status("CP1") == 101


async def test_changed_boot_status_counts_from_the_next_boot(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    await gate.add("CP1")
    async with gate.connect("CP1") as socket:
        told: list[Any] = []
        for number, status in enumerate(("accepted", "pending", "rejected", "accepted")):
            answer = await api.patch("/stations/CP1", json={"boot_status": status})
            assert answer.status_code == 200
            told.append((await boot(socket, f"{number}"))["status"])
        assert told == ["Accepted", "Pending", "Rejected", "Accepted"]


async def test_stations_are_told_of_a_restart_and_find_us_again(
    settings: Settings, database: Database
) -> None:
    async with open_gate(settings, database) as gate:
        await gate.add("CP1")
        socket = await gate.connect("CP1")
        await socket.send('[2,"1","Heartbeat",{}]')  # received, answered before the goodbye
        await socket.send('[2,"2","Heartbeat",{}]')
        await gate.connected("CP1", True)
    answers = [json.loads(await socket.recv()) for _ in range(2)]
    assert [answer[:2] for answer in answers] == [[3, "1"], [3, "2"]]
    with pytest.raises(ConnectionClosed) as closed:
        await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    async with open_gate(settings, database) as gate:
        await gate.connected("CP1", False)
        async with gate.connect("CP1") as again:
            await heartbeat(again, "3")
