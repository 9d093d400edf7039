"""What every test may ask for: a database of its own, a pool on it, settings with free ports.

Tests run in one process or in several that know nothing of each other (pytest-xdist). Each has one
server for its whole session: the embedded one, or the one whose administrator's URL is in
T2P_TEST_DATABASE_URL (`make test-timescale`), which is for the tests of one process alone: its
roles t2p_owner and t2p_app get new passwords, its databases t2p_test_* are dropped. Tests that stop
or kill a server start their own all the same.

A database is a copy of one that has been migrated once, so that a test pays for a copy and not for
the migrations. Where TimescaleDB keeps the tables each is migrated: its workers are never far from
a database, and no copy is made of one in use.
"""

import asyncio
import os
import random
import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count, cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

from csms import timeseries
from csms.config import Settings
from csms.db import Database, connect, migrate, open_pool
from csms.embedded import APP, OWNER, SERVICE, SUPERUSER, EmbeddedServer

if TYPE_CHECKING:  # they take seconds to import, which most tests need not wait for
    from playwright.async_api import Browser, Page

_numbers = count(1)
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# Below those of outgoing connections; a process has every sixteenth, in an order of its own.
_ports = cycle(random.sample(range(10_000 + _worker % 16, 32_768, 16), k=1_423))
TEMPLATE = "t2p_test_template"
EXTERNAL = "T2P_TEST_DATABASE_URL"
MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 4_000_000_000
IN_MEMORY = "time2plug-tests-"  # then the session's process id


class ExternalServer:
    """A server that somebody else runs, known by its administrator's URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._password = secrets.token_urlsafe(16)

    def provide_roles(self) -> None:
        """The two roles of the product that log in, and the one that they become."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            found = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
            for role, rights in ((OWNER, "LOGIN CREATEDB"), (APP, "LOGIN")):
                verb = "ALTER" if role in found else "CREATE"
                connection.execute(
                    sql.SQL("{} ROLE {} {} PASSWORD {}").format(
                        sql.SQL(verb), sql.Identifier(role), sql.SQL(rights), self._password
                    )
                )
            if SERVICE not in found:
                connection.execute("CREATE ROLE t2p_service NOLOGIN")
            connection.execute("ALTER ROLE t2p_app NOINHERIT")
            connection.execute("GRANT t2p_service TO t2p_app")

    def conninfo(self, user: str, database: str = "postgres") -> str:
        """As EmbeddedServer's; SUPERUSER is whoever the URL names."""
        if user == SUPERUSER:
            return make_conninfo(self._url, dbname=database)
        return make_conninfo(self._url, dbname=database, user=user, password=self._password)


Server = EmbeddedServer | ExternalServer


def run_in_thread(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine to its end from a synchronous fixture, apart from the test's own loop."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(lambda: asyncio.run(work())).result()


def database_on(server: Server, name: str) -> Database:
    own = server if isinstance(server, EmbeddedServer) else None
    return Database(server.conninfo(OWNER, name), server.conninfo(APP, name), own)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The session's server. The embedded one is not durable; tests of crashes start their own."""
    url = os.environ.get(EXTERNAL)
    if url:
        external = ExternalServer(url)
        external.provide_roles()
        yield external
        return
    options = {
        "fsync": "off",
        "shared_buffers": "64MB",
        "max_connections": "200",
        "min_wal_size": "64MB",
        "max_wal_size": "256MB",  # it may lie in memory
    }
    with server_folder(tmp_path_factory) as folder:
        server = EmbeddedServer(folder, options)
        server.join()
        try:
            yield server
        finally:
            server.leave()


@contextmanager
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the session's server keeps its files: in memory where that has room, for a copy of a
    database costs a tenth there; else on the disk."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < MEMORY_BYTES_MIN:
        yield tmp_path_factory.mktemp("server")
        return
    remove_what_dead_sessions_left()
    folder = Path(tempfile.mkdtemp(prefix=f"{IN_MEMORY}{os.getpid()}-", dir=MEMORY))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def remove_what_dead_sessions_left() -> None:
    """Give the memory back that sessions hold which were killed, and end their servers."""
    for folder in MEMORY.glob(f"{IN_MEMORY}*-*"):
        pid = int(folder.name.removeprefix(IN_MEMORY).split("-")[0])
        if folder.stat().st_uid == os.geteuid() and not Path(f"/proc/{pid}").exists():
            left = EmbeddedServer(folder)
            if left.pid() is not None:
                left.join()
                left.leave()
            shutil.rmtree(folder, ignore_errors=True)  # another session may be at it too


@pytest.fixture(scope="session")
def administrator(server: Server) -> Iterator[psycopg.Connection]:
    """Superuser of the session's server, for making and dropping databases."""
    with psycopg.connect(server.conninfo(SUPERUSER, "postgres"), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def template(server: Server, administrator: psycopg.Connection) -> Iterator[str]:
    """Name of the migrated database that tests get copies of."""
    create_database(administrator, TEMPLATE)
    run_in_thread(lambda: migrate(database_on(server, TEMPLATE)))
    yield TEMPLATE
    drop_database(administrator, TEMPLATE)


@pytest.fixture(scope="session")
def storage(server: Server, template: str) -> str:
    """How the large tables are kept on the session's server: see csms.timeseries."""

    async def ask() -> str:
        async with await connect(database_on(server, template), owner=True) as connection:
            return await timeseries.kept_by(connection)

    return str(run_in_thread(ask))


@pytest.fixture(autouse=True)
def _skip_what_is_native(request: pytest.FixtureRequest) -> None:
    """Where TimescaleDB keeps the tables there are no months to make and no counts to keep."""
    if (
        request.node.get_closest_marker("native")
        and os.environ.get(EXTERNAL)
        and request.getfixturevalue("storage") != timeseries.NATIVE
    ):
        pytest.skip("the server keeps the large tables in TimescaleDB")


def create_database(
    administrator: psycopg.Connection, name: str, template: str = "template1"
) -> None:
    drop_database(administrator, name)  # of a session that was killed
    administrator.execute(
        # Without this it writes all of the copy twice: the log of a server that is no loss if lost.
        sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER t2p_owner STRATEGY file_copy").format(
            sql.Identifier(name), sql.Identifier(template)
        )
    )


def drop_database(administrator: psycopg.Connection, name: str) -> None:
    administrator.execute(
        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    )


def make_database(
    server: Server, administrator: psycopg.Connection, name: str, storage: str
) -> Database:
    """A migrated database: a copy of the template, which is there, wherever one can be made."""
    made = database_on(server, name)
    if storage == timeseries.NATIVE:
        create_database(administrator, name, TEMPLATE)
    else:
        create_database(administrator, name)
        run_in_thread(lambda: migrate(made))
    return made


@pytest.fixture
def empty_database(server: Server, administrator: psycopg.Connection) -> Iterator[Database]:
    """A database without any table, for tests of the migrator."""
    name = f"t2p_test_{next(_numbers)}"
    create_database(administrator, name)
    yield database_on(server, name)
    drop_database(administrator, name)


@pytest.fixture
def database(server: Server, administrator: psycopg.Connection, storage: str) -> Iterator[Database]:
    """A migrated database with no rows but the operator's own client."""
    name = f"t2p_test_{next(_numbers)}"
    yield make_database(server, administrator, name, storage)
    drop_database(administrator, name)


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    """Settings on that database, with free ports and a data directory of their own."""
    ocpp_port, ocpps_port, http_port = free_ports(3)
    return Settings(
        database_url=database.app_url,
        database_owner_url=database.owner_url,
        data_dir=tmp_path / "data",
        ocpp_port=ocpp_port,
        ocpps_port=ocpps_port,
        http_port=http_port,
    )


@pytest.fixture
async def pool(database: Database, settings: Settings) -> AsyncIterator[AsyncConnectionPool]:
    async with open_pool(database, settings) as pool:
        yield pool


@pytest.fixture
async def people(database: Database, settings: Settings) -> AsyncIterator[AsyncConnectionPool]:
    """The pool of the people's role: it sees nothing until a transaction says for whom it works."""
    async with open_pool(database, settings, role=APP) as pool:
        yield pool


@pytest.fixture
async def browser() -> "AsyncIterator[Browser]":
    """Chromium without a window."""
    from tests.browser import open_browser, why_none

    reason = why_none()
    if reason is not None:
        pytest.skip(reason)
    async with open_browser() as browser:
        yield browser


@pytest.fixture
def faults() -> list[str]:
    """What `page` has complained of so far; a test that provokes it takes it out."""
    return []


@pytest.fixture
async def page(
    browser: "Browser", database: Database, settings: Settings, faults: list[str]
) -> "AsyncIterator[Page]":
    """A page in the browser, of the service's web part on `settings`: nobody is logged in. In the
    end nothing may have failed to load, and the console must be empty."""
    from csms.serve import open_service
    from tests.browser import open_page

    async with (
        open_service(settings, parts=("web",)),
        open_page(browser, settings, faults=faults) as page,
    ):
        yield page
    assert not faults


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures of pages go: the folder that T2P_SCREENSHOTS names, for people to look at."""
    folder = Path(os.environ.get("T2P_SCREENSHOTS") or tmp_path / "pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def free_ports(number: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now, and nobody is about to: neither another
    process of these tests, nor the system, for a connection that goes out."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < number:
            with suppress(OSError):  # somebody listens there
                sockets.append(socket.create_server(("127.0.0.1", next(_ports))))
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


# Where several processes share the tests, one of them takes each file. Those whose tests start
# whole services, gateways by the handful or servers, and give them so long for something, go
# together to one process, and first: two of them at once would wait for each other.

CROWDED = {
    *("test_backup", "test_bench", "test_checks", "test_cli", "test_crash", "test_demo"),
    *("test_embedded", "test_nodes", "test_outside", "test_serve", "test_simulator_load"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: item.path.stem not in CROWDED)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            name = Path(nodeid.partition("::")[0]).stem
            return "crowded" if name in CROWDED else name

    return ByFile(config, log)


# On a build machine (CI set) a skipped test is a failure, unless it needs the shared data folder or
# tables that TimescaleDB does not keep: everything else that a test may miss, the set-up should
# have installed.

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    allowed = {"data", "native"} & set(report.keywords)
    if report.skipped and not hasattr(report, "wasxfail") and not allowed:
        _skipped.append(f"{report.nodeid}: {report.longreprtext}")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped.append(f"{report.nodeid}: {report.longreprtext}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped and os.environ.get("CI"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped and os.environ.get("CI"):
        terminalreporter.section("skipped, which fails a build", red=True)
        for line in _skipped:
            terminalreporter.line(line)
