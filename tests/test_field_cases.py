"""What central systems meet in the field, as conversations: see tests/transcripts."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from csms import db
from csms.config import Settings
from csms.db import Database
from csms.recorder import Recorder
from csms.wire.gateway import Gateway
from csms.wire.link import CallError, CallTimeout, Link
from tests.conftest import Server
from tests.conversation import TIMEOUT_S, TRANSCRIPTS, play
from tests.transcript_service import Service, running_on

CASES = sorted(TRANSCRIPTS.glob("*.ocpp"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    server: Server,
    administrator: psycopg.Connection,
    storage: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Service]:
    """One gateway for all transcripts."""
    async with running_on(server, administrator, storage, tmp_path_factory) as service:
        yield service


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
async def test_conversation(path: Path, service: Service) -> None:
    await play(path, service)


# --- What a transcript cannot say ---------------------------------------------------------------


class BareStation:
    """A station that knows no more of websockets than it must: it never answers a ping."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, text: str, *, rsv1: bool = False) -> None:
        first, *rest = Frame(Opcode.TEXT, text.encode()).serialize(mask=True)
        self.writer.write(bytes([first | 0x40 if rsv1 else first, *rest]))

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame. Raises: IncompleteReadError at the end."""
        async with asyncio.timeout(TIMEOUT_S):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2), "big")
            return first & 0x0F, await self.reader.readexactly(length)

    async def receive_text(self) -> str:
        while True:
            opcode, payload = await self.receive()
            if opcode == Opcode.TEXT:
                return payload.decode()


@asynccontextmanager
async def bare_station(
    service: Service, id: str, header: str = "Connection: Upgrade\r\n"
) -> AsyncIterator[BareStation]:
    """A bare station, known and connected; `header` is one line of its handshake."""
    async with await db.connect(service.database, owner=True) as connection:
        await connection.execute("INSERT INTO station (id) VALUES (%s)", (id,))
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        writer.write(
            f"GET /ocpp/{id} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n{header}"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n".encode()
        )
        async with asyncio.timeout(TIMEOUT_S):
            answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101"), answer
        yield BareStation(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.asyncio(loop_scope="module")
async def test_case_25_whoever_talks_lives_and_whoever_is_silent_is_cut(service: Service) -> None:
    """Pings are answered by neither; frames of OCPP are a sign of life, too."""
    unchanged = service.settings
    service.settings = replace(unchanged, ping_interval_s=0.1, silence_timeout_s=0.5)
    await service.restart()
    try:
        async with bare_station(service, "TALKS") as talks, bare_station(service, "DEAD") as dead:
            cut = asyncio.create_task(_until_the_end(dead))
            asked = 0
            while not cut.done():
                asked += 1
                talks.send(f'[2,"{asked}","Heartbeat",{{}}]')
                assert f'[3,"{asked}",' in await talks.receive_text()
                await asyncio.wait((cut,), timeout=0.05)
            assert Opcode.PING in cut.result()
            talks.send('[2,"last","Heartbeat",{}]')
            assert '[3,"last",' in await talks.receive_text()
    finally:
        service.settings = unchanged
        await service.restart()


async def _until_the_end(station: BareStation) -> list[int]:
    """What a station is sent until it is cut, as opcodes."""
    opcodes = []
    try:
        while True:
            opcodes.append((await station.receive())[0])
    except (asyncio.IncompleteReadError, ConnectionError):
        return opcodes


@pytest.mark.asyncio(loop_scope="module")
async def test_case_27_a_handshake_without_the_connection_header(service: Service) -> None:
    async with bare_station(service, "NO-HEADER", header="") as station:
        station.send('[2,"1","Heartbeat",{}]')
        assert '[3,"1",' in await station.receive_text()


@pytest.mark.asyncio(loop_scope="module")
async def test_case_27_compression_that_was_not_agreed_closes_only_that_connection(
    service: Service,
) -> None:
    async with bare_station(service, "PLAIN") as plain, bare_station(service, "PRESSED") as pressed:
        pressed.send('[2,"1","Heartbeat",{}]', rsv1=True)
        opcode, payload = await pressed.receive()
        assert (opcode, int.from_bytes(payload[:2], "big")) == (Opcode.CLOSE, 1002)
        plain.send('[2,"1","Heartbeat",{}]')
        assert '[3,"1",' in await plain.receive_text()


@asynccontextmanager
async def open_link(database: Database, settings: Settings) -> AsyncIterator[tuple[Link, Any]]:
    """A gateway's link to a station, and the station's end of it."""
    async with await db.connect(database, owner=True) as connection:
        await connection.execute("INSERT INTO station (id) VALUES ('CP1')")
    recorder = Recorder(database, settings)
    gateway = Gateway(database, settings, recorder)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(recorder.run()), tasks.create_task(gateway.run())]
        await recorder.up.wait()
        await gateway.start()
        url = f"ws://127.0.0.1:{settings.ocpp_port}/ocpp/CP1"
        subprotocols = [Subprotocol("ocpp1.6")]
        async with connect(url, subprotocols=subprotocols, proxy=None) as station:
            yield gateway.links["CP1"], station
        await gateway.stop()
        for task in running:
            task.cancel()


async def receive(station: Any) -> list[Any]:
    """The next frame that a station gets."""
    async with asyncio.timeout(TIMEOUT_S):
        frame = json.loads(await station.recv())
    assert isinstance(frame, list)
    return frame


BOOT = '[2,"boot","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]'
HEARTBEAT = '[2,"beat","Heartbeat",{}]'


async def test_case_29_a_station_is_sent_nothing_unasked_before_its_boot(
    database: Database, settings: Settings
) -> None:
    async with open_link(database, settings) as (_, station):
        await station.send(HEARTBEAT)
        assert (await receive(station))[:2] == [3, "beat"]
        await station.send(BOOT)
        assert (await receive(station))[:2] == [3, "boot"]


async def test_case_30_a_second_boot_starts_no_configuration(
    database: Database, settings: Settings
) -> None:
    async with open_link(database, settings) as (_, station):
        for _ in range(2):
            await station.send(BOOT)
            assert (await receive(station))[:2] == [3, "boot"]
        await station.send(HEARTBEAT)
        assert (await receive(station))[:2] == [3, "beat"]


async def test_case_32_the_two_directions_do_not_wait_for_each_other(
    database: Database, settings: Settings
) -> None:
    async with open_link(database, settings) as (link, station):
        call = asyncio.create_task(link.call("ClearCache", "{}", uuid4().hex, TIMEOUT_S))
        kind, call_id, action, payload = await receive(station)
        assert (kind, action, payload) == (2, "ClearCache", {})
        await station.send(HEARTBEAT)
        assert (await receive(station))[:2] == [3, "beat"]
        await station.send(f'[3,"{call_id}",{{"status":"Accepted"}}]')
        assert await call == {"status": "Accepted"}


async def test_one_call_at_a_time_goes_out(database: Database, settings: Settings) -> None:
    async with open_link(database, settings) as (link, station):
        first = asyncio.create_task(link.call("ClearCache", "{}", uuid4().hex, TIMEOUT_S))
        second = asyncio.create_task(link.call("Reset", '{"type":"Soft"}', uuid4().hex, TIMEOUT_S))
        _, first_id, action, _ = await receive(station)
        assert action == "ClearCache"
        await station.send(HEARTBEAT)
        assert (await receive(station))[:2] == [3, "beat"]  # and no Reset before it
        await station.send(f'[4,"{first_id}","InternalError","broken",{{}}]')
        with pytest.raises(CallError, match="InternalError: broken"):
            await first
        _, second_id, action, _ = await receive(station)
        assert action == "Reset"
        await station.send(f'[3,"{second_id}",{{"status":"Rejected"}}]')
        assert await second == {"status": "Rejected"}


async def test_an_answer_too_late_is_recorded_and_hurts_nobody(
    database: Database, settings: Settings
) -> None:
    async with open_link(database, settings) as (link, station):
        with pytest.raises(CallTimeout):
            await link.call("ClearCache", "{}", uuid4().hex, 0.05)
        _, call_id, _, _ = await receive(station)
        await station.send(f'[3,"{call_id}",{{"status":"Accepted"}}]')
        await station.send(HEARTBEAT)
        assert (await receive(station))[:2] == [3, "beat"]
        async with await db.connect(database) as connection:
            cursor = await connection.execute(
                "SELECT direction, action, answer FROM ocpp_message WHERE frame LIKE %s"
                " ORDER BY at",
                (f"%{call_id}%",),
            )
            assert await cursor.fetchall() == [("out", "ClearCache", None), ("in", None, None)]


async def test_a_call_ends_with_its_connection(database: Database, settings: Settings) -> None:
    async with open_link(database, settings) as (link, station):
        call = asyncio.create_task(link.call("ClearCache", "{}", uuid4().hex, TIMEOUT_S))
        await receive(station)
        station.transport.abort()
        with pytest.raises(CallTimeout):
            await call


def test_every_field_case_is_here() -> None:
    named = [path.stem for path in CASES] + [name.removeprefix("test_") for name in globals()]
    cases = {int(name[5:7]) for name in named if name.startswith("case_")}
    assert cases == set(range(1, 34)) | {36, 37}  # 35: tests/test_handshake.py
