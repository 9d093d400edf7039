"""The embedded PostgreSQL: a server of our own in the data directory, when no URL is given.

Layout of `<data_dir>/postgres/`, which belongs to the account the server runs as:

    data/        the cluster
    socket/      the unix socket; no TCP. Where the path is too long, /tmp/time2plug-<hash>
    server.log   the server's log; server.log.1 is the one before
    start.lock   held while somebody starts or stops the server
    users.lock   held shared by every process that uses it: the last one out stops it
    server.lock  held by the server and all its children

All locks are flock(2): the kernel lets go of them when the holder dies, however it dies. That makes
`server.lock` the one truth about "is anything of the server still alive": no process id is trusted
for it, since ids are used again, and no second server can start while a child of a killed one still
writes. A server whose starter was killed is simply found alive and used on.

As root the server runs as another user (PostgreSQL refuses root); see `csms.unprivileged`.
For another configuration than ours, run a PostgreSQL of your own and set T2P_DATABASE_URL.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from csms.config import SettingError
from csms.postgres_tools import Account, account_for, command_line_of, tool

log = logging.getLogger(__name__)

DATABASE, OWNER, APP, SUPERUSER = "time2plug", "t2p_owner", "t2p_app", "postgres"
SERVICE = "t2p_service"  # no login: what a connection of APP becomes to work for everybody
_SOCKET_DIR_BYTES_MAX = 85  # sun_path takes 104 bytes on the smallest system, with our file name
_LOG_BYTES_MAX = 10_000_000
_POLL_S = 0.02
_LEFTOVER_PATIENCE_S = 2.0
_STARTING_UP = "57P03"

# Durable first: an acknowledged message is a committed one. Given on the command line, so that no
# file in the data directory weakens them and an upgrade of the product reaches existing clusters.
_SERVER_OPTIONS: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "logging_collector": "off",
}


class EmbeddedServerError(SettingError):
    """The embedded server cannot serve: a sentence for people, then the end of its log."""


class EmbeddedServer:
    """One user's hold on the server of one data directory. Safe to call from several threads.

    All methods block; from a coroutine call them through `asyncio.to_thread`.
    """

    def __init__(self, data_dir: Path, options: Mapping[str, str] | None = None) -> None:
        """options: server settings that override ours (the tests' own servers use it)."""
        self.directory = data_dir.absolute() / "postgres"
        self._options = {**_SERVER_OPTIONS, "shared_buffers": _shared_buffers(), **(options or {})}
        self._users_lock: int | None = None
        self._mutex = threading.Lock()

    # What others need to know.

    @property
    def socket_dir(self) -> Path:
        """Where the socket is: the same for every process, whatever its TMPDIR."""
        inside = self.directory.resolve() / "socket"
        if len(os.fsencode(inside)) <= _SOCKET_DIR_BYTES_MAX:
            return inside
        name = "time2plug-" + hashlib.sha256(os.fsencode(inside)).hexdigest()[:20]
        base = Path("/tmp")  # noqa: S108 - checked for its owner and permissions before use
        return (base if base.is_dir() else Path(tempfile.gettempdir())) / name

    def conninfo(self, user: str, database: str = DATABASE) -> str:
        """libpq connection string of one of the roles OWNER, APP, SUPERUSER."""
        return make_conninfo(
            "", host=str(self.socket_dir), dbname=database, user=user, connect_timeout=10
        )

    def pid(self) -> int | None:
        """Process id of the server's first process; None when it is dead."""
        try:
            pid = int((self.directory / "data" / "postmaster.pid").read_text().split("\n")[0])
        except (OSError, ValueError):
            return None
        # The id may have been given to some other process since.
        return pid if str(self.directory / "data") in command_line_of(pid) else None

    def kill(self) -> None:
        """SIGKILL to the server, as the system does when memory is short; for tests of recovery."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    # Joining and leaving.

    def join(self, timeout_s: float = 120.0) -> None:
        """Become a user of the server; start it when it does not run.

        Raises: EmbeddedServerError.
        """
        with self._mutex, self._starting(timeout_s):
            if self._users_lock is None:
                self._users_lock = self._open_lock("users.lock")
                fcntl.flock(self._users_lock, fcntl.LOCK_SH)
            try:
                self._bring_up(timeout_s)
            except BaseException:
                self._release_use()
                raise

    def ensure_running(self, timeout_s: float = 120.0) -> None:
        """Start the server again when it has died. For users that have joined.

        Raises: EmbeddedServerError.
        """
        with self._mutex, self._starting(timeout_s):
            self._bring_up(timeout_s)

    def leave(self, timeout_s: float = 120.0) -> None:
        """Cease to be a user; the last one stops the server and waits for it. Idempotent."""
        with self._mutex:
            if self._users_lock is None:
                return
            with self._starting(timeout_s):
                try:
                    fcntl.flock(self._users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
                finally:
                    self._release_use()
                self._stop(timeout_s)

    def _release_use(self) -> None:
        if self._users_lock is not None:
            os.close(self._users_lock)
            self._users_lock = None

    # Locks.

    @contextlib.contextmanager
    def _starting(self, timeout_s: float) -> Iterator[None]:
        """Holds start.lock: one process at a time decides about the server's life."""
        self._prepare_directory()
        descriptor = self._open_lock("start.lock")
        try:
            deadline = time.monotonic() + timeout_s
            while not _try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise self._error("another process has been starting or stopping it too long")
                time.sleep(_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def _open_lock(self, name: str) -> int:
        try:
            descriptor = os.open(
                self.directory / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise self._error(f"{error.strerror} on {self.directory / name}") from error
        self._give_away(descriptor)
        return descriptor

    def _prepare_directory(self) -> None:
        """The directory exists and belongs to the server's account."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._give_away(self.directory)
        except OSError as error:
            raise self._error(f"{error.strerror}: {error.filename or self.directory}") from error
        owner_uid = self.directory.stat().st_uid
        if os.geteuid() not in (0, owner_uid):
            raise self._error(
                f"it belongs to user id {owner_uid}, not to yours ({os.geteuid()}); run as that "
                "user or as root, or choose another directory with T2P_DATA_DIR"
            )

    def _account(self) -> Account | None:
        """Whom the server runs as; None: as ourselves."""
        return account_for(self.directory)

    def _give_away(self, target: Path | int) -> None:
        account = self._account()
        if account is not None:
            os.chown(target, account.uid, account.gid)

    # Starting. All below run under start.lock.

    def _bring_up(self, timeout_s: float) -> None:
        """Returns when the server accepts connections and holds our roles and database."""
        try:
            self._bring_to_accept(timeout_s)
            self._provide_roles_and_database()
        except OSError as error:
            raise self._error(f"{error.strerror}: {error.filename}") from error
        except psycopg.Error as error:
            raise self._error(str(error)) from error

    def _bring_to_accept(self, timeout_s: float) -> None:
        begun = time.monotonic()
        while not self._accepts():
            waited_s = time.monotonic() - begun
            if waited_s > timeout_s:
                raise self._error("it does not answer")
            lock = self._open_lock("server.lock")
            try:
                if _try_lock(lock):
                    self._start(lock)
                    continue
            finally:
                os.close(lock)
            if waited_s > _LEFTOVER_PATIENCE_S and self.pid() is None:
                self._end_leftovers()
            time.sleep(_POLL_S)

    def _accepts(self) -> bool:
        """Whether a connection can be made; waits out a recovery under way."""
        while True:
            try:
                psycopg.connect(self.conninfo(SUPERUSER, "postgres")).close()
                return True
            except psycopg.OperationalError as error:
                # A recovery ends by itself, and ends sooner when nobody interrupts it.
                if _STARTING_UP not in (error.sqlstate or "") and "starting up" not in str(error):
                    return False
            time.sleep(_POLL_S)

    def _start(self, server_lock: int) -> None:
        """Spawn the server and wait until it is ready or gone; it inherits the held lock."""
        if not (self.directory / "data" / "PG_VERSION").exists():
            self._create_cluster()
        self._prepare_socket_dir()
        # Nothing of the last server lives (we hold the lock), so the file is stale; left there, it
        # would stop the start if its process id has been given to some other process.
        # So is the socket's, which a killed server holds as long as nobody has reaped it.
        (self.directory / "data" / "postmaster.pid").unlink(missing_ok=True)
        (self.socket_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        options = {**self._options, "unix_socket_directories": str(self.socket_dir)}
        command = [str(tool("postgres")), "-D", str(self.directory / "data")]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with self._open_log() as output:
            process = subprocess.Popen(
                self._as_account(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=_server_environment(),
                start_new_session=True,  # Ctrl-C in our terminal is for us alone
                pass_fds=(server_lock,),
            )
        # Reaped at once whenever it ends: no zombie, no process id kept busy.
        threading.Thread(target=process.wait, name="postgres-reaper", daemon=True).start()
        while not self._accepts():
            if process.poll() is not None:
                raise self._error(f"it ended at once (exit code {process.returncode})")
            time.sleep(_POLL_S)
        log.info("embedded PostgreSQL started in %s", self.directory)

    def _create_cluster(self) -> None:
        """initdb beside its final place, then one rename: a half-made cluster is never used."""
        fresh = self.directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._give_away(fresh)
        command = [str(tool("initdb")), "-D", str(fresh), "-U", SUPERUSER, "--encoding=UTF8"]
        # Trust is for those who can reach the socket: its directory has mode 0700, and there is no
        # other way in. A password kept in a file beside it would protect nothing more.
        command += ["--auth=trust", "--lc-collate=C", "--lc-messages=C"]
        for character_type in ("C.UTF-8", "C"):  # lower() of letters beyond ASCII needs the first
            done = subprocess.run(
                self._as_account([*command, f"--lc-ctype={character_type}"]),
                capture_output=True,
                text=True,
                errors="replace",
                cwd="/",
                env=_server_environment(),
            )
            if done.returncode == 0:
                break
        else:
            raise self._error("its cluster could not be created", output=done.stderr)
        fresh.rename(self.directory / "data")

    def _prepare_socket_dir(self) -> None:
        """A directory of mode 0700 that belongs to the server's account."""
        path, account = self.socket_dir, self._account()
        try:
            path.mkdir(mode=0o700)
            if account is not None:
                os.chown(path, account.uid, account.gid)
        except FileExistsError:
            pass
        # In /tmp somebody else may have made it first, to stand between us and the server.
        found = path.lstat()
        owner_uid = os.geteuid() if account is None else account.uid
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner_uid:
            raise self._error(f"{path} is not a directory of user id {owner_uid}: remove it")
        if stat.S_IMODE(found.st_mode) != 0o700:
            path.chmod(0o700)

    def _provide_roles_and_database(self) -> None:
        """Roles and database, made on the first start and looked for on every one."""
        with psycopg.connect(self.conninfo(SUPERUSER, "postgres"), autocommit=True) as connection:
            roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
            if OWNER not in roles:
                connection.execute("CREATE ROLE t2p_owner LOGIN CREATEDB")
            if APP not in roles:
                connection.execute("CREATE ROLE t2p_app LOGIN")
            if SERVICE not in roles:
                connection.execute("CREATE ROLE t2p_service NOLOGIN")
                connection.execute("ALTER ROLE t2p_app NOINHERIT")  # by name only: see csms.db
                connection.execute("GRANT t2p_service TO t2p_app")
            if not connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone():
                connection.execute("CREATE DATABASE time2plug OWNER t2p_owner")

    # Stopping.

    def _stop(self, timeout_s: float) -> None:
        """Clean and fast: open transactions are rolled back, a checkpoint is written."""
        pid = self.pid()
        lock = self._open_lock("server.lock")
        try:
            deadline = time.monotonic() + timeout_s
            if pid is not None:
                os.kill(pid, signal.SIGINT)
            while not _try_lock(lock):
                if time.monotonic() > deadline:
                    log.warning(
                        "embedded PostgreSQL still writes after %s s: left to it", timeout_s
                    )
                    return
                time.sleep(_POLL_S)
            if not self.socket_dir.is_relative_to(self.directory.resolve()):
                with contextlib.suppress(OSError):  # one in /tmp is not left behind
                    self.socket_dir.rmdir()
        finally:
            os.close(lock)
        log.info("embedded PostgreSQL stopped in %s", self.directory)

    def _end_leftovers(self) -> None:
        """Children of a killed server that still run a query end now, as after a crash."""
        data = (self.directory / "data").resolve()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                # A server process names itself so, and works in the cluster's directory.
                words = command_line_of(int(entry.name))
                if words and words[0].startswith("postgres:") and (entry / "cwd").resolve() == data:
                    os.kill(int(entry.name), signal.SIGQUIT)

    # Running and explaining.

    def _as_account(self, command: Sequence[str]) -> list[str]:
        account = self._account()
        return list(command) if account is None else account.wrap(command, self.directory)

    @contextlib.contextmanager
    def _open_log(self) -> Iterator[int]:
        path = self.directory / "server.log"
        with contextlib.suppress(OSError):
            if path.stat().st_size > _LOG_BYTES_MAX:
                path.replace(path.with_suffix(".log.1"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            self._give_away(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _error(self, reason: str, output: str = "") -> EmbeddedServerError:
        """The sentence, and the last lines of what the server said."""
        if not output:
            with contextlib.suppress(OSError):
                output = (self.directory / "server.log").read_text(errors="replace")[-4000:]
        tail = "".join(f"\n  {line}" for line in output.strip().splitlines()[-12:])
        free_mb = _free_mb(self.directory)
        disk = f" ({free_mb} MB free on its disk)" if free_mb is not None and free_mb < 500 else ""
        return EmbeddedServerError(
            f"The embedded PostgreSQL in {self.directory} cannot run: {reason}{disk}{tail}"
        )


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _server_environment() -> dict[str, str]:
    """Ours without what would redirect the server (PGDATA, PGPORT, LC_ALL...)."""
    kept = {"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZDIR", "SYSTEMROOT"}
    return {name: value for name, value in os.environ.items() if name in kept} | {"LC_ALL": "C"}


def _shared_buffers() -> str:
    """A sixteenth of the memory, from 128 MB to 1 GB: the machine is not ours alone."""
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return f"{max(128, min(1024, memory_mb // 16))}MB"


def _free_mb(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(path).free // 2**20
    return None
