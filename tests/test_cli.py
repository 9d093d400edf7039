"""The command line: what a newcomer types, and what it answers when something is wrong."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from csms import keys, passwords
from csms.__main__ import app
from csms.config import Settings
from csms.db import Database
from tests.scenarios.gate import boot, open_gate
from tests.test_commands import obey

Run = Callable[..., Result]

VERBS = ["serve", "demo", "simulate", "bench", "check", "replay", "migrate", "import", "backup"]
VERBS += ["restore", "station", "token", "key", "user", "report"]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a verb against the test's database; fails unless it ends with the code expected."""
    monkeypatch.setenv("T2P_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("T2P_DATABASE_OWNER_URL", str(settings.database_owner_url))
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*arguments: str, code: int = 0, given: str | None = None) -> Result:
        result = runner.invoke(app, list(arguments), input=given)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return run


def value(database: Database, statement: str) -> Any:
    """The one value that a statement answers."""
    with psycopg.connect(database.owner_url) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def test_every_verb_explains_itself() -> None:
    runner = CliRunner()
    overview = runner.invoke(app, ["--help"])
    assert overview.exit_code == 0
    for verb in VERBS:
        assert verb in overview.output
        if verb not in ("simulate", "bench"):  # parts of their own, with their own help
            explained = runner.invoke(app, [verb, "--help"])
            assert explained.exit_code == 0, verb
            assert len(explained.output.split()) > 20, verb


def test_help_loads_nothing_slow() -> None:
    program = (
        "import sys; from csms.__main__ import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "slow = {'fastapi', 'pandas', 'psycopg', 'uvicorn', 'websockets', 'ocpp'}\n"
        "sys.exit(','.join(slow & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_key_is_printed_once_alone_on_the_last_line(run: Run, database: Database) -> None:
    key = run("key", "create", "--role", "operator", "--name", "ci").stdout.splitlines()[-1]
    assert key.startswith("t2p_")
    assert " " not in key
    assert value(database, "SELECT key_sha256 FROM api_key") == keys.digest(key)
    listed = run("key", "list").stdout
    assert "ci" in listed
    assert key not in listed


def test_keys_have_scopes_and_those_of_clients_read(run: Run, database: Database) -> None:
    run("key", "create", "--scope", "read", "--scope", "operate")
    assert value(database, "SELECT scopes FROM api_key") == ["read", "operate"]
    client_id = str(value(database, "SELECT id FROM client WHERE is_operator"))
    last = run("key", "create", "--role", "client", "--client", client_id).stdout.splitlines()[-1]
    assert value(database, "SELECT role || scopes[1] FROM api_key WHERE id = 2") == "clientread"
    assert value(database, "SELECT key_sha256 FROM api_key WHERE id = 2") == keys.digest(last)
    for wrong in (["--role", "client"], ["--client", "1"], ["--scope", "write"]):
        run("key", "create", *wrong, code=1)


def test_people_are_invited_by_a_link_alone_on_the_last_line(
    run: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2P_PUBLIC_URL", "https://charging.example.org")
    client_id = str(value(database, "SELECT id FROM client WHERE is_operator"))
    create = ["user", "create", "A@example.org", "--role", "read", "--manages", client_id]
    link = run(*create).stdout.splitlines()[-1]
    assert link.startswith("https://charging.example.org/invitation/")
    token = link.rsplit("/", 1)[1]
    assert value(database, "SELECT token_sha256 FROM one_time_link") == keys.digest(token)
    run(*create, code=1)
    again = run("user", "invite", "a@example.org").stdout.splitlines()[-1]
    assert again != link
    listed = run("user", "list", "--search", "A@EX").stdout
    assert "a@example.org" in listed
    assert "invited" in listed
    assert token not in listed


def test_people_are_kept(run: Run, database: Database) -> None:
    run("user", "create", "a@example.org")
    run("user", "roles", "a@example.org", "--role", "admin", "--role", "read")
    assert value(database, "SELECT operator_roles FROM person") == ["read", "admin"]
    run("user", "roles", "1")
    assert value(database, "SELECT operator_roles FROM person") == []
    run("user", "roles", "1", "--role", "king", code=1)
    client_id = str(value(database, "SELECT id FROM client WHERE is_operator"))
    run("user", "manager", "1", "--client", client_id)
    assert json.loads(run("user", "list", "--json").stdout)[0]["manages"] == [int(client_id)]
    run("user", "manager", "1", "--client", client_id, "--end")
    run("user", "block", "1")
    assert value(database, "SELECT blocked_at IS NOT NULL FROM person")
    run("user", "block", "1", "--undo")
    run("user", "reset-second-factor", "1")
    run("user", "close", "a@example.org")
    assert value(database, "SELECT closed_at IS NOT NULL FROM person")
    assert "no person" in run("user", "close", "b@example.org", code=1).stderr
    assert value(database, "SELECT count(DISTINCT actor) FROM audit_entry") == 1
    assert value(database, "SELECT min(actor) FROM audit_entry") == "command line"


def test_key_expires_and_is_revoked(run: Run, database: Database) -> None:
    run("key", "create", "--expires-days", "30")
    left = value(database, "SELECT expires_at FROM api_key") - datetime.now(UTC)
    assert 29 <= left.days <= 30
    key_id = str(value(database, "SELECT id FROM api_key"))
    run("key", "revoke", key_id)
    assert value(database, "SELECT revoked_at IS NOT NULL FROM api_key")
    assert "there is no key 999" in run("key", "revoke", "999", code=1).stderr
    assert "no role" in run("key", "create", "--role", "king", code=1).stderr


def test_station_is_created_changed_shown_and_retired(run: Run) -> None:
    run("station", "create", "CP-1", "--protocol", "ocpp1.6", "--public")
    assert "exists already" in run("station", "create", "CP-1", code=1).stderr
    run("station", "set", "CP-1", "--protocol", "", "--boot-status", "pending")
    shown = json.loads(run("station", "show", "CP-1").stdout)
    assert (shown["protocol"], shown["boot_status"], shown["public"]) == (None, "pending", True)
    assert shown["created_at"].endswith("Z")
    assert "CP-1" in run("station", "list").stdout
    assert [s["id"] for s in json.loads(run("station", "list", "--json").stdout)] == ["CP-1"]
    run("station", "retire", "CP-1")
    for verb in (["show"], ["retire"], ["set", "--public"]):
        told = run("station", verb[0], "CP-1", *verb[1:], code=1)
        assert told.stderr == "time2plug: There is no station CP-1.\n"


def test_generated_password_is_the_last_line_and_opens_the_door(
    run: Run, database: Database
) -> None:
    password = run("station", "create", "CP-1", "--generate-password").stdout.splitlines()[-1]
    stored = value(database, "SELECT password_hash FROM station")
    assert passwords.is_fast(stored)
    assert passwords.verify(stored, password.encode())


def test_chosen_password_comes_from_standard_input(run: Run, database: Database) -> None:
    run("station", "create", "CP-1", "--password", "-", given="correct horse battery\n")
    stored = value(database, "SELECT password_hash FROM station")
    assert not passwords.is_fast(stored)
    assert passwords.verify(stored, b"correct horse battery")
    assert "needs a password" in run("station", "set", "CP-1", "--password", "", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["station", "create", "CP", "--protocol", "ocpp1.5"], 2, "--protocol takes"),
        (["station", "create", "CP", "--site", "nowhere"], 1, "There is no site nowhere."),
        (["station", "create", "CP", "--password", "short"], 1, "at least 8 characters"),
        (["station", "create", "CP", "--security-profile", "2"], 1, "needs a password"),
        (["station", "create", " "], 1, "printable characters"),
        (["station", "set", "CP"], 2, "nothing to change"),
        (["token", "add", "A", "--status", "fine"], 2, "--status takes"),
        (["token", "add", "A", "--valid-until", "tomorrow"], 2, "is not a time"),
        (["token", "add", "A", "--valid-until", "2027-01-01"], 2, "time zone"),
        (["token", "show", "A"], 1, "There is no badge A."),
        (["report", "collection", "2026-13"], 2, "is not a month"),
        (["report", "collection", "2026-10", "--client", "X"], 1, "there is no client 'X'"),
        (["report", "collection", "2026-10", "--format", "xml"], 2, "csv, json or xlsx"),
        (["import", "missing.csv"], 2, "there is no file missing.csv"),
        (["serve", "--only", "kitchen"], 2, "gateway, web or worker"),
    ],
)
def test_wrong_call_gets_one_sentence(run: Run, arguments: list[str], code: int, told: str) -> None:
    answer = run(*arguments, code=code)
    assert told in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_order_without_a_server_is_kept_listed_and_taken_back(run: Run) -> None:
    run("station", "create", "CP1", "--protocol", "ocpp1.6")
    order = ("station", "command", "CP1", "Reset", '{"type": "Soft"}', "--wait", "0")
    placed = json.loads(run(*order, code=3).stdout)
    assert (placed["status"], placed["response"]) == ("queued", None)
    number = str(placed["command_id"])
    assert "Reset" in run("station", "commands", "CP1").stdout
    assert json.loads(run("station", "commands", "--json").stdout)[0]["status"] == "queued"
    run("station", "cancel", number)
    assert "too late" in run("station", "cancel", number, code=1).stderr
    assert "no order 99" in run("station", "cancel", "99", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["CP1", "Reset", "{"], 2, "not JSON"),
        (["CP1", "Reset", "[]"], 2, "a JSON object"),
        (["CP1", "Reset", "{}"], 1, "'type' is a required property"),
        (["CP1", "Reboot", "{}"], 1, "no order of OCPP 1.6"),
        (["CP9", "Reset", "{}"], 1, "no station CP9"),
    ],
)
def test_order_that_cannot_be_given_is_said_so(
    run: Run, arguments: list[str], code: int, told: str
) -> None:
    run("station", "create", "CP1", "--protocol", "ocpp1.6")
    assert told in run("station", "command", *arguments, code=code).stderr


async def test_order_from_the_command_line_is_answered_by_the_station(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    """The server is another process, for all that the command knows."""
    async with open_gate(settings, database) as gate:
        await gate.add("CP1")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("T2P_")} | {
            "T2P_DATABASE_URL": str(settings.database_url),
            "T2P_DATABASE_OWNER_URL": str(settings.database_owner_url),
        }
        async with gate.connect("CP1") as station:
            await boot(station)
            for status, code in (("Accepted", 0), ("Rejected", 1)):
                command = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "csms", "station", "command", "CP1", "Reset", "-"),
                    cwd=tmp_path,
                    env=environment,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                )
                answering = asyncio.create_task(obey(station, status))
                told, _ = await command.communicate(b'{"type":"Hard"}')
                assert (await answering)[2:] == ["Reset", {"type": "Hard"}]
                assert json.loads(told)["response"] == {"status": status}
                assert command.returncode == code


def test_badges_are_added_changed_and_retired(run: Run) -> None:
    run("token", "add", "AbC", "--group", "G", "--valid-until", "2027-01-31T00:00:00+01:00")
    assert "exists already" in run("token", "add", "aBC", code=1).stderr
    run("token", "set", "abc", "--status", "blocked", "--group", "")
    shown = json.loads(run("token", "show", "ABC").stdout)
    assert (shown["uid"], shown["status"], shown["group_uid"]) == ("AbC", "blocked", None)
    assert shown["valid_until"] == "2027-01-30T23:00:00Z"
    assert "AbC" in run("token", "list", "--status", "blocked").stdout
    run("token", "retire", "ABC")
    assert run("token", "list", "--json").stdout.strip() == "[]"


def test_import_says_what_it_did_or_what_is_wrong(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "stations.csv"
    path.write_text("station_id,password,evse_id,power_w_max\nCP-1,generate,1,7400\n")
    assert "stations: 1 created" in run("import", str(path), "--dry-run").output
    assert "CP-1" not in run("station", "list").stdout
    done = run("import", str(path))
    station_id, password = done.stdout.splitlines()[-1].split("\t")
    assert (station_id, len(password)) == ("CP-1", 32)
    path.write_text("station_id,evse_id,power_w_max\nCP-1,1,7.4\n")
    refused = run("import", str(path), code=1)
    assert "line 2, power_w_max" in refused.stderr
    assert "Nothing was imported" in refused.stderr
    path.write_bytes(b"station_id\n\xff\n")
    assert "UTF-8" in run("import", str(path), code=1).stderr


def test_collection_is_written_with_its_summary(run: Run, tmp_path: Path) -> None:
    told = run("report", "collection", "2026-10")
    assert "octobre 2026" in told.stdout
    assert (tmp_path / "collection-2026-10.csv").read_text().startswith("client,site_id,")
    assert "octobre" in (tmp_path / "collection-2026-10-summary.txt").read_text()
    printed = run("report", "collection", "2026-10", "--format", "json", "--output", "-")
    assert json.loads(printed.stdout)["totals"]["sessions"] == 0


def test_backup_and_restore(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "backup"
    run("station", "create", "CP-1")
    assert "The backup is in" in run("backup", str(path)).stdout
    run("station", "retire", "CP-1")
    assert "time2plug: " in run("restore", str(path), code=1).stderr
    run("restore", str(path), "--force")
    assert "CP-1" in run("station", "list").stdout
    path.write_bytes(b"no backup")
    assert "time2plug: " in run("restore", str(path), "--force", code=1).stderr


def test_migrate_can_run_again(run: Run) -> None:
    assert "up to date" in run("migrate").stdout


def test_terminal_gets_no_control_characters_of_a_station(run: Run, database: Database) -> None:
    run("station", "create", "CP-1")
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("UPDATE station SET vendor = E'\\x1b[31mred\\nline'")
    listed = run("station", "list").stdout
    assert "\x1b" not in listed
    assert len(listed.splitlines()) == 2


def test_database_that_is_away_or_empty_is_said_so(
    run: Run, monkeypatch: pytest.MonkeyPatch, empty_database: Database
) -> None:
    monkeypatch.setenv("T2P_DATABASE_URL", empty_database.app_url)
    assert "time2plug migrate" in run("station", "list", code=1).stderr
    monkeypatch.setenv("T2P_DATABASE_URL", "postgresql://127.0.0.1:1/none?connect_timeout=2")
    assert len(run("station", "list", code=1).stderr.splitlines()) == 1


def test_wrong_setting_is_said_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T2P_HTTP_PORT", "eighty")
    assert "T2P_HTTP_PORT" in run("station", "list", code=2).stderr


def test_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "csms", "nonsense"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert done.returncode == 2
    assert "No such command" in done.stderr
