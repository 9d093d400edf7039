"""`time2plug serve` as a process: up, watched, taken ports, drained."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from csms.config import Settings
from csms.db import Database
from tests.recorder_node import provision, query, stamp

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 40.0


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a process finds them."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("T2P_")}
    stated = {
        f"T2P_{field.name.upper()}": str(getattr(settings, field.name))
        for field in fields(Settings)
        if getattr(settings, field.name) not in (field.default, None)
    }
    return plain | stated | {"PYTHONPATH": str(ROOT)}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-X", "dev", "-W", "error", "-m", "csms", "serve", *arguments]


class Process:
    """A server at work; `log` is what it wrote."""

    def __init__(self, settings: Settings, process: subprocess.Popen[bytes], log: Path) -> None:
        self.http = f"http://127.0.0.1:{settings.http_port}"
        self.ocpp = f"ws://127.0.0.1:{settings.ocpp_port}/ocpp"
        self._process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.http, timeout=15) as client:
            return await client.get(path)

    async def answers(self, path: str, status: int) -> httpx.Response:
        """Wait until the path is answered with this status."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                assert self._process.poll() is None, self.log
                try:
                    response = await self.get(path)
                except httpx.TransportError:
                    pass
                else:
                    if response.status_code == status:
                        return response
                await asyncio.sleep(0.05)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        """The exit code, once it has ended by itself."""
        return await asyncio.to_thread(self._process.wait, TIMEOUT_S)


def _start(settings: Settings, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command(*arguments), env=environment(settings), cwd=folder, stdout=log, stderr=log
        )


@asynccontextmanager
async def serving(
    settings: Settings, folder: Path, *arguments: str, path: str = "/readyz"
) -> AsyncIterator[Process]:
    """A server that is ready within the block, told to stop at its end, and gone afterwards."""
    process = _start(settings, folder, *arguments)
    server = Process(settings, process, folder / "log")
    try:
        await server.answers(path, 200)
        yield server
        if process.poll() is None:
            process.terminate()
            assert await server.ended() == 0, server.log
        assert "Traceback" not in server.log, server.log
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def dial(server: Process, id: str) -> connect:
    return connect(f"{server.ocpp}/{id}", subprotocols=[Subprotocol("ocpp1.6")], proxy=None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_when_all_that_was_received_is_answered(
    database: Database, settings: Settings, tmp_path: Path, number: signal.Signals
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with serving(settings, tmp_path) as server, dial(server, "CP1") as station:
        await station.send('[2,"1","Heartbeat",{}]')
        await station.recv()
        async with await psycopg.AsyncConnection.connect(database.owner_url) as other:
            await other.execute("LOCK TABLE ocpp_message IN EXCLUSIVE MODE")
            start = {"connectorId": 1, "idTag": "A", "meterStart": 5, "timestamp": stamp()}
            await station.send(json.dumps([2, "s", "StartTransaction", start]))
            await station.ping()  # what was sent before it has arrived
            server.signal(number)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(station.recv(), 0.5)
        answer = json.loads(await asyncio.wait_for(station.recv(), TIMEOUT_S))
        assert answer[:2] == [3, "s"]
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(station.recv(), TIMEOUT_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012, "restart: come back"
        assert await server.ended() == 0, server.log
        assert await query(database, "SELECT transaction_id FROM session") == [
            (str(answer[2]["transactionId"]),)
        ]
        assert (
            await query(database, "SELECT 1 FROM station_connection WHERE disconnected_at IS NULL")
            == []
        )


@pytest.mark.parametrize("what", ["ocpp", "http"])
async def test_a_taken_port_is_told_in_one_sentence(
    database: Database, settings: Settings, tmp_path: Path, what: str
) -> None:
    port = settings.ocpp_port if what == "ocpp" else settings.http_port
    with socket.create_server(("127.0.0.1", port)):
        done = await asyncio.to_thread(
            subprocess.run,
            command(),
            env=environment(settings),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"time2plug: {what.upper()} port {port} cannot be opened; is another server running there? "
        f"Set T2P_{what.upper()}_PORT to another one.\n"
    )


async def test_a_database_that_is_not_there_is_told_in_one_sentence(
    settings: Settings, tmp_path: Path
) -> None:
    away = environment(settings) | {
        "T2P_DATABASE_URL": "postgresql://t2p_app@127.0.0.1:1/none",
        "T2P_DATABASE_OWNER_URL": "postgresql://t2p_owner@127.0.0.1:1/none",
    }
    done = await asyncio.to_thread(
        subprocess.run,
        command(),
        env=away,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("time2plug: ")
    assert "Traceback" not in done.stderr


async def _has_health_alone(server: Process) -> None:
    assert (await server.get("/readyz")).json() == {"status": "ready", "reasons": {}}
    assert "python_info" in (await server.get("/metrics")).text
    assert (await server.get("/login")).status_code == 404
    assert (await server.get("/api/v1/stations")).status_code == 401  # nobody has a key
    assert (await server.get("/openapi.json")).status_code == 404


async def test_each_part_runs_alone(database: Database, settings: Settings, tmp_path: Path) -> None:
    await provision(database, ["CP1"], ["A"])
    async with (
        serving(settings, tmp_path / "gateway", "--only", "gateway") as server,
        dial(server, "CP1") as station,
    ):
        await station.send('[2,"1","Heartbeat",{}]')
        assert json.loads(await station.recv())[0] == 3
        await _has_health_alone(server)
    for part in ("web", "worker"):
        async with serving(settings, tmp_path / part, "--only", part) as server:
            if part == "web":
                assert (await server.get("/api/v1/stations")).status_code == 401
                assert (await server.get("/login")).status_code == 200
            else:
                await _has_health_alone(server)
            with pytest.raises(ConnectionRefusedError):
                async with dial(server, "CP1"):
                    pass


async def test_health_readiness_and_metrics_tell_when_the_database_is_away(
    database: Database, settings: Settings, tmp_path: Path, administrator: psycopg.Connection
) -> None:
    await provision(database, ["CP1"])
    name = psycopg.conninfo.conninfo_to_dict(database.app_url)["dbname"]
    async with serving(settings, tmp_path) as server, dial(server, "CP1") as station:
        await station.send('[2,"1","Heartbeat",{}]')
        await station.recv()
        metrics = (await server.get("/metrics")).text
        assert 't2p_messages_total{action="Heartbeat",direction="in",result="answered"} 1.0' in (
            metrics
        )
        assert "t2p_stations_connected 1.0" in metrics
        assert "t2p_database_up 1.0" in metrics
        no_more = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        administrator.execute(no_more.format(sql.Identifier(str(name)), sql.SQL("false")))
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        await station.send('[2,"2","Heartbeat",{}]')
        away = await server.answers("/readyz", 503)
        assert away.json()["status"] == "not ready"
        assert away.json()["reasons"]["database"] == "it does not answer"
        assert (await server.get("/healthz")).json() == {"status": "alive"}
        assert "t2p_database_up 0.0" in (await server.get("/metrics")).text
        with pytest.raises(InvalidStatus) as refused:
            async with dial(server, "CP1"):
                pass
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) > 0
        administrator.execute(no_more.format(sql.Identifier(str(name)), sql.SQL("true")))
        answer = json.loads(await asyncio.wait_for(station.recv(), TIMEOUT_S))
        assert answer[:2] == [3, "2"], "answered when it was back"
        await server.answers("/readyz", 200)


async def test_it_starts_an_embedded_database_where_none_is_given(
    settings: Settings, tmp_path: Path
) -> None:
    own = replace(settings, database_url=None, database_owner_url=None, data_dir=tmp_path / "data")
    async with serving(own, tmp_path) as server:
        assert (await server.get("/readyz")).json() == {"status": "ready", "reasons": {}}
        assert f"OCPP on port {settings.ocpp_port}" in server.log
    assert not (tmp_path / "data" / "postgres" / "data" / "postmaster.pid").exists()
