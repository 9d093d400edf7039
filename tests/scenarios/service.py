"""The service as a process of its own, its database, and what may befall either."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from csms.embedded import APP, OWNER, EmbeddedServer
from tests.conftest import free_ports

READY_TIMEOUT_S = 60.0
_POLL_S = 0.05


class ServiceError(Exception):
    """The service did not do what it is for; the text says what, with the end of its log."""


@dataclass(frozen=True)
class Refused:
    """A handshake that was refused."""

    status: int
    retry_after: str | None


class Service:
    """`time2plug serve` in a folder of its own, restarted on the same ports.

    external: a database server that the service may not start itself; None: it runs its own.
    only: one of its parts, as a node among others; None: all.
    """

    def __init__(
        self,
        folder: Path,
        external: EmbeddedServer | None = None,
        *,
        only: str | None = None,
        **settings: object,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.only = only
        self.server = external or EmbeddedServer(folder / "data")
        self.ocpp_port, http_port = free_ports(2)
        self.url = f"ws://127.0.0.1:{self.ocpp_port}/ocpp"
        self.http_url = f"http://127.0.0.1:{http_port}"
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("T2P_")} | {
            "T2P_DATA_DIR": str(folder / "data"),
            "T2P_OCPP_PORT": str(self.ocpp_port),
            "T2P_HTTP_PORT": str(http_port),
        }
        if external is not None:
            self._environment |= {
                "T2P_DATABASE_URL": external.conninfo(APP),
                "T2P_DATABASE_OWNER_URL": external.conninfo(OWNER),
            }
        self._environment |= {f"T2P_{k.upper()}": str(v) for k, v in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    # Its life.

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises: ServiceError."""
        with (self.folder / "service.log").open("ab") as log:
            part = ["--only", self.only] if self.only else []
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it takes milliseconds
                [sys.executable, "-m", "csms", "serve", *part],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        await self.ready()

    async def ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until it says that it is ready. Raises: ServiceError."""
        deadline = time.monotonic() + timeout_s
        said = "nothing"
        async with httpx.AsyncClient(base_url=self.http_url, timeout=10) as client:
            while time.monotonic() < deadline:
                self.check_alive()
                try:
                    response = await client.get("/readyz")
                except httpx.HTTPError:
                    pass
                else:
                    if response.status_code == 200:
                        return
                    said = response.text
                await asyncio.sleep(_POLL_S)
        raise self.error(f"not ready after {timeout_s} s; it says {said}")

    def check_alive(self) -> None:
        """Raises: ServiceError when it has ended by itself."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise self.error(f"ended by itself with exit code {self._process.returncode}")

    async def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        assert self._process is not None
        self.check_alive()
        self._process.kill()
        await asyncio.to_thread(self._process.wait)

    async def stop(self, timeout_s: float = 30.0) -> None:
        """SIGTERM, as a service manager does. Raises: ServiceError when it stays or complains."""
        assert self._process is not None
        self._process.terminate()
        try:
            code = await asyncio.to_thread(self._process.wait, timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise self.error(f"still there {timeout_s} s after SIGTERM") from None
        if code:
            raise self.error(f"exit code {code} after SIGTERM")

    async def clean_up(self) -> None:
        """Leave no process behind, whatever has happened."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        own = EmbeddedServer(self.folder / "data")
        if own.pid() is not None:  # its user is dead: join it, and be the last to leave
            await asyncio.to_thread(own.join)
            await asyncio.to_thread(own.leave)

    # What can be seen of it.

    @property
    def rss_bytes(self) -> int:
        """Its resident memory."""
        assert self._process is not None
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise self.error("it has no memory")

    async def knock(self, station_id: str, timeout_s: float = 10.0) -> Refused | None:
        """Try to connect as a station; None: it was let in."""
        try:
            async with connect(
                f"{self.url}/{station_id}",
                subprotocols=["ocpp1.6"],  # type: ignore[list-item]
                open_timeout=timeout_s,
                close_timeout=0.1,
                proxy=None,
            ):
                return None
        except InvalidStatus as refusal:
            response = refusal.response
            return Refused(response.status_code, response.headers.get("Retry-After"))
        except (OSError, InvalidHandshake, ConnectionClosed, TimeoutError) as error:
            raise self.error(f"a handshake was not answered: {error!r}") from error

    def error(self, reason: str) -> ServiceError:
        """The reason, and the last lines of the log."""
        log = (self.folder / "service.log").read_text(errors="replace")
        return ServiceError("\n  ".join([f"The service: {reason}", *log.splitlines()[-15:]]))

    # What may befall its database.

    def kill_database(self) -> None:
        """SIGKILL to the first process of the database."""
        self.server.kill()

    async def kill_backend(self) -> None:
        """SIGKILL to the database process that commits for the recorder: all of them restart."""
        async with await psycopg.AsyncConnection.connect(self.server.conninfo(OWNER)) as connection:
            cursor = await connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'time2plug recorder%'"
            )
            pids = [row[0] for row in await cursor.fetchall()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def freeze_database(self) -> list[int]:
        """SIGSTOP to all processes of the database: it holds its connections and says nothing."""
        first = self.server.pid()
        assert first is not None
        os.kill(first, signal.SIGSTOP)  # from now on there are no new ones
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        frozen = [first, *map(int, children)]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        return frozen

    @staticmethod
    def thaw_database(frozen: list[int]) -> None:
        """Let the processes go on."""
        for pid in reversed(frozen):
            os.kill(pid, signal.SIGCONT)
