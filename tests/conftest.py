"""What every test may ask for: a database of its own, a pool on it, settings with free ports.

One embedded server runs for the whole session. A database is a copy of one that has been migrated
once, so that a test pays for a copy and not for the migrations.

With T2P_TEST_URL (the address of a server's administrator) the tests run there instead, TimescaleDB
among them where that server has it; each database is then migrated by itself, since one in which
the extension works cannot be copied. Tests that stop the server they run on have one of their own.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

from csms.config import Settings
from csms.db import Database, migrate, open_pool
from csms.embedded import APP, OWNER, SUPERUSER, EmbeddedServer

_numbers = count(1)
TEMPLATE = "t2p_template"


def run_in_thread(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine to its end from a synchronous fixture, apart from the test's own loop."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(lambda: asyncio.run(work())).result()


class GivenServer:
    """A server that is there already, with roles made for the tests."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._password = secrets.token_urlsafe(24)

    def prepare(self) -> None:
        """Make the roles that tests log in with; those of a former run get another password."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            for role in (OWNER, APP):
                names = (sql.Identifier(role), sql.Literal(self._password))
                with suppress(psycopg.errors.DuplicateObject):
                    connection.execute(sql.SQL("CREATE ROLE {}").format(names[0]))
                connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(*names))

    def conninfo(self, user: str, database: str) -> str:
        """As `EmbeddedServer.conninfo`."""
        if user == SUPERUSER:
            return make_conninfo(self._url, dbname=database)
        return make_conninfo(self._url, dbname=database, user=user, password=self._password)


Server = EmbeddedServer | GivenServer


def database_on(server: Server, name: str) -> Database:
    embedded = server if isinstance(server, EmbeddedServer) else None
    return Database(server.conninfo(OWNER, name), server.conninfo(APP, name), embedded)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The session's server. Not durable; tests of crashes start their own."""
    url = os.environ.get("T2P_TEST_URL")
    if url:
        given = GivenServer(url)
        given.prepare()
        yield given
        return
    options = {"fsync": "off", "shared_buffers": "64MB", "max_connections": "200"}
    server = EmbeddedServer(tmp_path_factory.mktemp("server"), options)
    server.join()
    try:
        yield server
    finally:
        server.leave()


@pytest.fixture(scope="session")
def administrator(server: Server) -> Iterator[psycopg.Connection]:
    """Superuser of the session's server, for making and dropping databases."""
    with psycopg.connect(server.conninfo(SUPERUSER, "postgres"), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def template(server: Server, administrator: psycopg.Connection) -> str:
    """Name of the migrated database that tests get copies of."""
    if isinstance(server, GivenServer):
        return TEMPLATE  # each is migrated by itself: see `make_database`
    create_database(administrator, TEMPLATE)
    run_in_thread(lambda: migrate(database_on(server, TEMPLATE)))
    return TEMPLATE


def create_database(
    administrator: psycopg.Connection, name: str, template: str = "template1"
) -> None:
    administrator.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER t2p_owner").format(
            sql.Identifier(name), sql.Identifier(template)
        )
    )


def make_database(
    server: Server, administrator: psycopg.Connection, name: str, template: str
) -> Database:
    """A database as the template is, with the extension where the server has it."""
    database = database_on(server, name)
    if isinstance(server, EmbeddedServer):
        create_database(administrator, name, template)
        return database
    create_database(administrator, name)
    with psycopg.connect(server.conninfo(SUPERUSER, name), autocommit=True) as connection:
        found = connection.execute(
            "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"
        )
        if found.fetchone() is not None:
            connection.execute("CREATE EXTENSION timescaledb")
    run_in_thread(lambda: migrate(database))
    return database


def drop_database(administrator: psycopg.Connection, name: str) -> None:
    administrator.execute(
        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    )


@pytest.fixture
def empty_database(server: Server, administrator: psycopg.Connection) -> Iterator[Database]:
    """A database without any table, for tests of the migrator."""
    name = f"t{next(_numbers)}"
    create_database(administrator, name)
    yield database_on(server, name)
    drop_database(administrator, name)


@pytest.fixture
def database(
    server: Server, administrator: psycopg.Connection, template: str
) -> Iterator[Database]:
    """A migrated database with no rows but the operator's own client."""
    name = f"t{next(_numbers)}"
    yield make_database(server, administrator, name, template)
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


def free_ports(number: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    try:
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


# On a build machine (CI set) a skipped test is a failure, unless it needs the shared data folder:
# everything else that a test may miss, the set-up should have installed.

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and "data" not in report.keywords:
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
