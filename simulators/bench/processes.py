"""The processes of a run: the product, the servers it is compared with, the load generator."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection

from simulators.bench.machine import tree_cpu_s

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
_POLL_S = 0.01


class BenchError(Exception):
    """A measurement that means nothing: something failed, or was lost. Says what."""


@dataclass(frozen=True)
class Cpu:
    """CPU seconds since a process began: of the server under test, and of its database."""

    server_s: float
    database_s: float = 0.0

    def since(self, before: "Cpu") -> "Cpu":
        """What was used between `before` and now."""
        return Cpu(self.server_s - before.server_s, self.database_s - before.database_s)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])


class Product:
    """`time2plug serve --only gateway` in a directory of its own, with its embedded database.

    settings: T2P_ variables without the prefix, beside ports and directory. part: what it serves.
    """

    def __init__(
        self, directory: Path, settings: dict[str, str] | None = None, *, part: str = "gateway"
    ) -> None:
        self.directory = directory.resolve()
        self.part = part
        self.ocpp_port = free_port()
        self.http_port = free_port()
        self._settings = settings or {}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where stations connect."""
        return f"ws://127.0.0.1:{self.ocpp_port}/ocpp"

    @property
    def pid(self) -> int:
        """Of the gateway."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> float:
        """Start and wait until it is ready; how many seconds that took.

        Raises: BenchError when it ends, or is not ready in time.
        """
        began = time.perf_counter()
        with (self.directory / "server.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-m", "csms", "serve", "--only", self.part],
                cwd=self.directory,  # no time2plug.toml there
                env=self.environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        await self.ready()
        return time.perf_counter() - began

    def environment(self) -> dict[str, str]:
        """In which its processes run, and verbs beside it."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith("T2P_")}
        ours = {
            "DATA_DIR": "data",
            "HOST": "127.0.0.1",
            "OCPP_PORT": str(self.ocpp_port),
            "HTTP_PORT": str(self.http_port),
            "LOG_LEVEL": "WARNING",
            **self._settings,
        }
        return kept | {f"T2P_{name}": value for name, value in ours.items()}

    async def ready(self) -> None:
        """Wait until /readyz says so.

        Raises: BenchError.
        """
        deadline = time.perf_counter() + START_TIMEOUT_S
        while not await self._is_ready():
            if self._process is None or self._process.returncode is not None:
                raise BenchError(f"the server ended:\n{self._log_tail()}")
            if time.perf_counter() > deadline:
                raise BenchError(f"the server is not ready in time:\n{self._log_tail()}")
            await asyncio.sleep(_POLL_S)

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.http_port)
                try:
                    writer.write(
                        b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
                    )
                    return b" 200 " in await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    def _log_tail(self) -> str:
        return (self.directory / "server.log").read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """SIGKILL to the gateway."""
        assert self._process is not None
        self._process.kill()

    async def ended(self) -> None:
        """Wait until the gateway is gone."""
        assert self._process is not None
        await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)

    def database_pid(self) -> int | None:
        """First process of the database; None when there is none."""
        path = self.directory / "data" / "postgres" / "data"
        try:
            pid = int((path / "postmaster.pid").read_text().split("\n")[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(path) in command else None

    def kill_database(self) -> None:
        """SIGKILL to the database's first process."""
        pid = self.database_pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def cpu(self) -> Cpu:
        """CPU so far."""
        database = self.database_pid()
        return Cpu(tree_cpu_s(self.pid, without=database), tree_cpu_s(database))

    async def connect(self) -> AsyncConnection:
        """A connection to its database, as the owner."""
        return await psycopg.AsyncConnection.connect(
            host=str(self.directory / "data" / "postgres" / "socket"),
            dbname="time2plug",
            user="t2p_owner",
            autocommit=True,
        )

    async def stop(self) -> None:
        """End all of it, however it stands. The database of a killed gateway is ended too."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        deadline = time.perf_counter() + STOP_TIMEOUT_S
        while (pid := self.database_pid()) is not None:
            late = time.perf_counter() > deadline
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGINT)
            await asyncio.sleep(0.1)


@asynccontextmanager
async def directory_for_a_run() -> AsyncIterator[Path]:
    """A directory that is removed in the end."""
    # Short and in /tmp: the database's socket lies in it, whose path is bounded.
    path = Path(tempfile.mkdtemp(prefix="t2p-bench-"))
    try:
        yield path
    finally:
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)


@asynccontextmanager
async def product(settings: dict[str, str] | None = None) -> AsyncIterator[Product]:
    """The product on an empty database, ready; stopped and removed in the end.

    Raises: BenchError.
    """
    async with directory_for_a_run() as directory:
        server = Product(directory, settings)
        try:
            await server.start()
            yield server
        finally:
            await server.stop()


class PlainServer:
    """One of the servers for comparison: `simulators.plain_server`."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.url = f"ws://127.0.0.1:{port}/ocpp"

    def cpu(self) -> Cpu:
        """CPU so far."""
        return Cpu(tree_cpu_s(self._process.pid))


@asynccontextmanager
async def plain_server(*, echo: bool) -> AsyncIterator[PlainServer]:
    """`ocpp.ChargePoint` over `websockets`, or, barer, an echo."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "simulators.plain_server", str(port)],
        *(["--echo"] if echo else []),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # the library logs what it cannot place
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        if await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S) != b"listening\n":
            raise BenchError("the server for comparison does not listen")
        yield PlainServer(process, port)
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close its input, which ends it; by force when that does not."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()


class Load:
    """One load generator. First its stations connect, boot and start; then, at `go`, they send."""

    def __init__(self, process: asyncio.subprocess.Process, patience_s: float) -> None:
        self._process = process
        self._patience_s = patience_s
        self.set_up: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """Of the generator."""
        return self._process.pid

    async def figures(self) -> dict[str, Any]:
        """The next line of figures.

        Raises: BenchError when none comes.
        """
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), self._patience_s)
        except TimeoutError:
            raise BenchError("the load generator does not come to an end") from None
        if not line:
            raise BenchError("the load generator failed")
        found = json.loads(line)
        assert isinstance(found, dict)
        return found

    async def go(self) -> dict[str, Any]:
        """Send as planned; the figures once all is answered, with the stations still connected."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        return await self.figures()


@asynccontextmanager
async def load(
    url: str, action: str, stations: int, *options: str, patience_s: float = 300.0
) -> AsyncIterator[Load]:
    """A load generator whose stations are connected and ready; they leave in the end.

    Raises: BenchError when a station could not come in.
    """
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "simulators.load", "--url", url, "--action", action],
        *["--stations", str(stations), "--wait", "--hold", *options],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        generator = Load(process, patience_s)
        generator.set_up = await generator.figures()
        check_clean(generator.set_up)
        yield generator
    except BaseException:
        process.kill()  # it would go on with its plan
        raise
    finally:
        await _end(process)


def check_clean(figures: dict[str, Any]) -> None:
    """Raises: BenchError when a station was refused or cut, or a message refused or unanswered."""
    names = ("errors", "unanswered", "closed", "refused", "reasons")
    wrong = {name: figures[name] for name in names if figures[name]}
    if figures["connected"] != figures["stations"]:
        wrong["connected"] = f"{figures['connected']} of {figures['stations']}"
    if wrong:
        raise BenchError(f"the run under {figures['action']} was not clean: {wrong}")
