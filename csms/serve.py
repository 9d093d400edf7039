"""A whole process: gateway, web and worker together, or one of them; started, watched, drained."""

import asyncio
import contextlib
import gc
import importlib
import logging
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import uvicorn
import uvloop
from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

from billing.live_price import LivePrices
from csms import db
from csms.commands import Watch
from csms.config import SettingError, Settings
from csms.embedded import APP, EmbeddedServer
from csms.exchange import ROAMING
from csms.recorder import Recorder
from csms.telemetry import Telemetry, check_url
from csms.web import health
from csms.wire.gateway import Gateway, port_taken
from reporting.ocpi.authorizing import Authorizer

log = logging.getLogger(__name__)

PARTS = ("gateway", "web", "worker")
MODULES = {"gateway": "csms.wire.gateway", "web": "csms.web.app", "worker": "csms.worker"}
EMBEDDED_CHECK_S = 2.0
HTTP_BACKLOG = 2048


def set_up_log(settings: Settings) -> None:
    """Where the process tells what it does; of addresses that it asks, and of frames, nothing."""
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # peers' faults are on the lists
    logging.getLogger("httpx").setLevel(logging.WARNING)  # partners' addresses name badges


def run(settings: Settings, only: str | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    set_up_log(settings)
    load(PARTS if only is None else (only,))
    exit_code = 0
    try:
        uvloop.run(serve(settings, only=only, announce=_announce))
    except* SettingError as errors:
        for error in errors.exceptions:
            print(f"time2plug: {error}", file=sys.stderr)
        exit_code = 1
    return exit_code


async def serve(
    settings: Settings,
    *,
    only: str | None = None,
    announce: Callable[[Settings, list[int]], None] | None = None,
    stopping: asyncio.Event | None = None,
) -> None:
    """Serve until a signal comes or `stopping` is set; then drain and return.

    `announce` is told the settings and the ports of the gateway once everything is up.
    """
    stopping = stopping or asyncio.Event()
    with _signals(stopping):
        parts = PARTS if only is None else (only,)
        async with open_service(settings, parts=parts) as ports:
            tune_collector(settings)
            if announce is not None:
                announce(settings, ports)
            await stopping.wait()
            log.info("stopping: answering what was received")


@asynccontextmanager
async def open_service(
    settings: Settings, *, parts: Sequence[str] = PARTS
) -> AsyncIterator[list[int]]:
    """The parts asked for, running; the ports of the gateway. Drained and stopped on exit.

    Raises: SettingError, alone or in a group, when the database cannot be used or a port is
    taken. A part that fails later ends the others.
    """
    raise_file_limit()
    check_url(settings)
    with _bind_http(settings) as http_socket:
        async with db.open_database(settings) as database:
            await _migrate(database)
            async with _open_parts(database, settings, parts, http_socket) as ports:
                yield ports


@asynccontextmanager
async def _open_parts(
    database: db.Database, settings: Settings, parts: Sequence[str], http_socket: socket.socket
) -> AsyncIterator[list[int]]:
    async with db.open_pool(database, settings) as pool, asyncio.TaskGroup() as tasks:
        running: list[asyncio.Task[None]] = []

        def begin(*work: Coroutine[Any, Any, None]) -> None:
            running.extend(map(tasks.create_task, work))

        _listen_http(http_socket, settings)
        recorder: Recorder | None = None
        gateway: Gateway | None = None
        telemetry = Telemetry(settings)
        prices = LivePrices(pool, settings)
        if "gateway" in parts:
            recorder = _recorder(database, pool, settings, telemetry, prices, begin)
            gateway = Gateway(database, settings, recorder, telemetry)
            begin(gateway.run())
            await recorder.up.wait()
            try:
                await gateway.start()
            except SettingError:
                await gateway.stop()  # another of its ports may be open
                raise
        if set(parts) != {"worker"}:
            begin(prices.run(), telemetry.run())
        if database.server is not None:
            begin(_keep_alive(database.server))
        if "worker" in parts:
            begin(*_module("worker").parts(pool, settings))
        ready = _readiness(recorder, gateway)
        async with _open_app(database, pool, settings, parts, ready, begin) as app:
            if "web" in parts:
                app.state.telemetry = telemetry
                app.state.price = prices.price
            http = _HttpServer(settings, app)
            serving = tasks.create_task(http.serve([http_socket]))
            await http.up.wait()
            try:
                yield gateway.ports if gateway is not None else []
            finally:
                if gateway is not None:
                    await gateway.stop()  # while /readyz tells that it drains
                if "web" in parts:
                    await app.state.live.close()  # else they hold the server up
                http.should_exit = True
                await serving
                for task in running:
                    task.cancel()


def _recorder(
    database: db.Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    telemetry: Telemetry,
    prices: LivePrices,
    begin: Callable[..., None],
) -> Recorder:
    """The recorder with all that it asks, begun."""
    roaming = Authorizer(pool, settings)
    recorder = Recorder(database, settings)
    recorder.published = telemetry.published
    recorder.intake.cost_of = prices.cost_of
    recorder.intake.roams_at = roaming.is_at
    recorder.answers[ROAMING] = roaming.ask
    begin(roaming.run(), recorder.run())
    return recorder


@asynccontextmanager
async def _open_app(
    database: db.Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    parts: Sequence[str],
    ready: health.Ready,
    begin: Callable[..., None],
) -> AsyncIterator[FastAPI]:
    """What answers over HTTP: pages and API of the web part, of others health and metrics."""
    if "web" not in parts:
        yield health.create_app(pool, settings, ready)
        return
    async with db.open_pool(database, settings, role=APP) as people:
        watch = Watch(database)
        app: FastAPI = _module("web").create_app(
            pool, settings, people=people, ready=ready, watch=watch
        )
        begin(watch.run(), app.state.live.run())
        yield app


def load(parts: Sequence[str]) -> None:
    """Load the parts that are about to run; before there is a loop, which it would hold up. Of a
    node that only takes stations, neither pages nor jobs take the start, or the memory."""
    for part in parts:
        _module(part)


def _module(part: str) -> Any:
    return importlib.import_module(MODULES[part])


async def _keep_alive(server: EmbeddedServer) -> None:
    """Start the embedded server again when it has died, whoever may be asking for it or not."""
    while True:
        await asyncio.sleep(EMBEDDED_CHECK_S)
        if server.pid() is None:
            log.warning("the embedded PostgreSQL has died; starting it again")
            try:
                await asyncio.to_thread(server.ensure_running)
            except SettingError as error:
                log.error("it did not start: %s", error)


class _HttpServer(uvicorn.Server):
    """uvicorn under our own signals; every part has it, for health and metrics at least."""

    def __init__(self, settings: Settings, app: object) -> None:
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]  # an ASGI application
            log_level="warning",
            backlog=HTTP_BACKLOG,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
            lifespan="off",
            proxy_headers=False,  # csms.web.callers believes those that the settings name
        )
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


def _bind_http(settings: Settings) -> socket.socket:
    """The socket of the web part, bound before anything else begins; it does not listen yet."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((settings.host, settings.http_port))
    except OSError as error:
        bound.close()
        raise port_taken("HTTP", settings.http_port) from error
    return bound


def _listen_http(bound: socket.socket, settings: Settings) -> None:
    """Two processes that start at once can both bind, and the loop would not tell the second one
    that it cannot listen: it would be ready and never be asked anything."""
    try:
        bound.listen(HTTP_BACKLOG)
    except OSError as error:
        raise port_taken("HTTP", settings.http_port) from error


async def _migrate(database: db.Database) -> None:
    """Bring the database up to date; a login that may not is fine when there is nothing to do."""
    try:
        await db.migrate(database)
    except psycopg.OperationalError as error:
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise SettingError(f"The database cannot be reached: {reason}") from error
    except (psycopg.errors.InsufficientPrivilege, SettingError):
        async with await db.connect(database) as connection:
            if await db.missing_migrations(connection):
                raise


def _readiness(
    recorder: Recorder | None, gateway: Gateway | None
) -> Callable[[], Awaitable[dict[str, str]]]:
    async def ready() -> dict[str, str]:
        if gateway is not None and gateway.draining:
            return {"gateway": "this node is about to stop: its stations go to the others"}
        if recorder is not None and not recorder.up.is_set():
            return {"gateway": "the recorder cannot commit"}
        return {}

    return ready


@contextlib.contextmanager
def _signals(stopping: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    names = (signal.SIGTERM, signal.SIGINT)
    for name in names:
        with contextlib.suppress(ValueError, NotImplementedError):  # not the main thread
            loop.add_signal_handler(name, stopping.set)
    try:
        yield
    finally:
        for name in names:
            with contextlib.suppress(ValueError, NotImplementedError):
                loop.remove_signal_handler(name)


def raise_file_limit() -> None:
    """Soft limit on open files to the hard one: every station is a socket."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def tune_collector(settings: Settings) -> None:
    """Keep the cyclic collector off what lives for ever; it made the tail of the answers.

    Frames and their rows hold no cycles and go by reference counting; full collections over
    thousands of connections took hundreds of milliseconds. The young ones stay small and frequent:
    rare large ones showed in the tail.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(settings.gc_threshold, 50, 1000)


def _announce(settings: Settings, ports: list[int]) -> None:
    http = f"http://{settings.host}:{settings.http_port}/"
    where = "".join(f", OCPP on port {port}" for port in ports)
    log.info("ready: %s%s", http, where)
