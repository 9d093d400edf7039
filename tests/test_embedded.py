"""The embedded server under the deaths that it must survive, each on its own data directory."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from csms.embedded import APP, DATABASE, OWNER, SUPERUSER, EmbeddedServer, EmbeddedServerError
from csms.postgres_tools import Account, account_for, command_line_of, tool

ROOT = Path(__file__).parent.parent
JOIN = """
import sys
from pathlib import Path
from csms.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
server.join()
print(server.pid(), flush=True)
sys.stdin.readline()
server.leave()
print("left", flush=True)
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Below a folder that only we may enter, as a checkout in a home or of mkdtemp is."""
    parent = tmp_path / "private"
    parent.mkdir(mode=0o700)
    return parent / "data"


@pytest.fixture
def joined(data_dir: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(data_dir)
    server.join()
    yield server
    server.leave()


def eventually(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait for something that another process does, with no event to wait on."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.01)


def connect(server: EmbeddedServer, user: str = OWNER) -> psycopg.Connection:
    return psycopg.connect(server.conninfo(user), autocommit=True)


def other_process(data_dir: Path, account: Account | None = None) -> subprocess.Popen[str]:
    """A process that joins, prints the server's process id, and leaves when told a line."""
    command = [sys.executable, "-c", JOIN, str(data_dir)]
    if account is not None:
        command = account.wrap(command, data_dir)
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def end(process: subprocess.Popen[str]) -> str:
    """Tell the process to leave; what it printed after."""
    output, _ = process.communicate("\n", timeout=60)
    return output.strip()


def test_the_server_runs_below_a_folder_that_only_we_may_enter(joined: EmbeddedServer) -> None:
    with connect(joined, APP) as connection:
        row = connection.execute("SELECT current_user, current_database()").fetchone()
        assert row == (APP, DATABASE)
    assert (joined.directory.parent.parent.stat().st_mode & 0o777) == 0o700
    assert joined.socket_dir.stat().st_mode & 0o777 == 0o700


def test_commits_are_durable_and_nothing_listens_on_the_network(joined: EmbeddedServer) -> None:
    expected = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
    }
    with connect(joined) as connection:
        for name, value in expected.items():
            row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
            assert row == (value,), name
    assert joined.pid() is not None


def test_the_roles_that_the_product_uses_are_no_superusers(joined: EmbeddedServer) -> None:
    with connect(joined) as connection:
        rows = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolsuper OR rolbypassrls OR rolreplication"
        ).fetchall()
    assert rows == [(SUPERUSER,)]


def test_root_hands_the_server_to_another_user(joined: EmbeddedServer) -> None:
    pid = joined.pid()
    assert pid is not None
    uid = Path(f"/proc/{pid}").stat().st_uid
    assert uid != 0
    if os.geteuid() == 0:
        assert uid == account_for(joined.directory).uid  # type: ignore[union-attr]


def test_a_normal_user_can_run_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    account = None
    if os.geteuid() == 0:
        data_dir.mkdir()
        account = account_for(data_dir)
        assert account is not None
        os.chown(data_dir, account.uid, account.gid)
    process = other_process(data_dir, account)
    assert process.stdout is not None
    assert int(process.stdout.readline()) > 0
    assert end(process) == "left"


def test_the_last_of_two_users_stops_the_server(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    server.join()
    other = other_process(data_dir)
    assert other.stdout is not None
    pid = server.pid()
    assert int(other.stdout.readline()) == pid
    server.leave()
    assert server.pid() == pid, "the other still uses it"
    assert end(other) == "left"
    assert server.pid() is None
    log = (server.directory / "server.log").read_text()
    assert "database system is shut down" in log
    server.leave()  # a second time: nothing


def test_two_users_at_once_make_one_cluster(data_dir: Path) -> None:
    servers = [EmbeddedServer(data_dir) for _ in range(3)]
    with ThreadPoolExecutor(3) as executor:
        list(executor.map(EmbeddedServer.join, servers))
    assert len({server.pid() for server in servers}) == 1
    for server in servers:
        server.leave()
    assert servers[0].pid() is None


def test_a_killed_server_comes_back_with_every_committed_row(joined: EmbeddedServer) -> None:
    with connect(joined) as connection:
        connection.execute("CREATE TABLE kept AS SELECT g FROM generate_series(1, 1000) g")
    killed = joined.pid()
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    joined.ensure_running()
    assert joined.pid() not in (None, killed)
    with connect(joined) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)
    eventually(lambda: not Path(f"/proc/{killed}").exists())  # reaped, no zombie


def test_children_of_a_killed_server_that_still_work_are_ended(joined: EmbeddedServer) -> None:
    with ThreadPoolExecutor(1) as executor:
        connection = connect(joined)
        backend = connection.info.backend_pid
        busy = executor.submit(
            connection.execute, "SELECT count(*) FROM generate_series(1, 10000000000) g"
        )
        # Its statement has begun once another session sees it active.
        with connect(joined, SUPERUSER) as watcher:
            eventually(
                lambda: (
                    watcher.execute(
                        "SELECT state FROM pg_stat_activity WHERE pid = %s", [backend]
                    ).fetchone()
                    == ("active",)
                )
            )
        killed = joined.pid()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        joined.ensure_running()
        assert command_line_of(backend) == []
        assert isinstance(busy.exception(timeout=20), psycopg.OperationalError)
        connection.close()


def test_an_orphaned_server_is_used_on(data_dir: Path) -> None:
    parent = other_process(data_dir)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate(timeout=20)
    server = EmbeddedServer(data_dir)
    server.join()
    assert server.pid() == pid
    server.leave()
    assert server.pid() is None, "its new user was its last one"


def test_a_recycled_process_id_fools_nobody(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    server.join()
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    # Some other process of the server's user now has the id that the file names.
    command = ["/bin/sleep", "60"]
    account = account_for(server.directory)
    stranger = subprocess.Popen(account.wrap(command, Path("/")) if account else command)
    stale = server.directory / "data" / "postmaster.pid"
    stale.write_text(stale.read_text().replace(str(pid), str(stranger.pid), 1))
    try:
        assert server.pid() is None
        server.ensure_running()
        server.leave()
        assert stranger.poll() is None, "it was let alone"
    finally:
        stranger.kill()
        stranger.wait()


def test_a_start_cut_short_during_initdb_is_begun_again(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    half = server.directory / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("16\n")
    server.join()
    assert server.pid() is not None
    server.leave()
    assert not half.exists()


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / ("x" * 120) / "data")
    server.join()
    try:
        assert server.socket_dir.parent == Path("/tmp")
        assert server.socket_dir.stat().st_mode & 0o777 == 0o700
        with connect(server) as connection:
            connection.execute("SELECT 1")
    finally:
        server.leave()
    assert not server.socket_dir.exists()


def test_a_socket_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / ("y" * 120) / "data")
    trap = tmp_path / "trap"
    trap.mkdir()
    server.socket_dir.symlink_to(trap)
    try:
        with pytest.raises(EmbeddedServerError, match="remove it"):
            server.join()
    finally:
        server.socket_dir.unlink()


def test_a_data_directory_that_is_a_file_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(EmbeddedServerError, match=r"cannot run: (File exists|Not a directory)"):
        EmbeddedServer(tmp_path / "data").join()


def test_a_server_that_cannot_start_shows_the_end_of_its_log(data_dir: Path) -> None:
    server = EmbeddedServer(data_dir)
    server.join()
    server.leave()
    (server.directory / "data" / "global" / "pg_control").write_bytes(b"nothing good")
    with pytest.raises(EmbeddedServerError, match=r"ended at once(.|\n)*pg_control"):
        server.join()


def test_the_tools_of_both_versions_are_found() -> None:
    for version in (16, 18):
        done = subprocess.run([tool("pg_dump", version), "--version"], capture_output=True)
        assert f"(PostgreSQL) {version}." in done.stdout.decode()
