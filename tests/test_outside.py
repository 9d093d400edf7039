"""The product as somebody meets it who has only its README: processes, settings, sentences."""

import asyncio
import http
import socket
import subprocess
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool
from typer.testing import CliRunner
from websockets.asyncio.server import Request, Response, ServerConnection, serve

from csms.config import SettingError, Settings, load
from csms.db import Database, open_database
from csms.serve import open_service
from csms.web.app import create_app
from simulators import cli as simulators_cli
from tests.test_serve import TIMEOUT_S, command, environment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("T2P_HTTP_PORT", "99999"),
        ("T2P_OCPP_PORT", "-1"),
        ("T2P_PING_INTERVAL_S", "nan"),
        ("T2P_CALL_TIMEOUT_S", "inf"),
        ("T2P_LOG_LEVEL", "chatty"),
    ],
)
def test_a_setting_out_of_its_range_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        load({name: value}, tmp_path)


async def test_a_database_url_that_cannot_be_read_is_told_without_its_password() -> None:
    settings = Settings(database_url="postgresql://me:secret@[host/time2plug")
    with pytest.raises(SettingError, match="T2P_DATABASE_URL") as told:
        async with open_database(settings):
            pass
    assert "secret" not in str(told.value)


async def test_a_certificate_that_is_not_there_is_told_in_one_sentence(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    missing = {"T2P_TLS_CERT": "absent.pem", "T2P_TLS_KEY": "absent.key"}
    done = await asyncio.to_thread(
        subprocess.run,
        command("--only", "gateway"),
        env=environment(settings) | missing,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "time2plug: The certificate absent.pem with the key absent.key cannot be used: "
        "No such file or directory. See T2P_TLS_CERT and T2P_TLS_KEY.\n"
    )


async def test_of_two_servers_that_bind_at_once_one_ends(
    database: Database, settings: Settings
) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", settings.http_port))

        async def listen_meanwhile() -> None:
            async with open_service(settings, parts=("web",)):
                raise AssertionError("it is ready, and will never be asked anything")

        serving = asyncio.ensure_future(listen_meanwhile())
        await asyncio.sleep(0)  # both have bound: it waits for the database
        other.listen()
        with pytest.raises(BaseExceptionGroup) as ended:
            await serving
    assert ended.group_contains(SettingError, match="HTTP port")


async def test_readiness_is_told_while_the_database_takes_questions_and_does_not_answer(
    database: Database, pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    transport = httpx.ASGITransport(create_app(pool, settings, people=people))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        async with await psycopg.AsyncConnection.connect(database.owner_url) as other:
            await other.execute("LOCK TABLE schema_migration IN ACCESS EXCLUSIVE MODE")
            async with asyncio.timeout(TIMEOUT_S):
                answers = await asyncio.gather(*(client.get("/readyz") for _ in range(20)))
            assert {answer.status_code for answer in answers} == {503}
            assert answers[0].json()["reasons"] == {"database": "it does not answer"}
            async with pool.connection(timeout=1):
                pass  # the questions left room for others
        async with asyncio.timeout(TIMEOUT_S):
            while (await client.get("/readyz")).status_code != 200:
                pass


@pytest.mark.parametrize("verb", [["station", "SIM-0001"], ["fleet", "evening-peak"]])
@pytest.mark.parametrize(
    ("status", "told"), [(404, "create it there first"), (401, "wants its password")]
)
async def test_simulators_say_that_they_are_not_wanted(
    verb: list[str], status: int, told: str
) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(http.HTTPStatus(status), "")

    async def never(connection: ServerConnection) -> None:
        raise AssertionError("it was let in")

    async with serve(never, "127.0.0.1", 0, process_request=refuse) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ocpp"
        result = await asyncio.wait_for(
            asyncio.to_thread(CliRunner().invoke, simulators_cli.app, [*verb, "--url", url]),
            TIMEOUT_S,
        )
    assert result.exit_code == 1
    assert f"SIM-0001 is refused with {status}" in result.output.replace("\n", " ")
    assert told.split()[0] in result.output
