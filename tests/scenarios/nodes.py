"""Several gateways on one database, a balancer before them, and stations that take orders."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from csms import keys
from csms.embedded import APP, OWNER, EmbeddedServer
from tests.scenarios.service import Service

_CHUNK_BYTES = 65_536
_RECONNECT_S = 0.05


class Balancer:
    """A TCP load balancer: each connection goes to the next backend that takes it."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = list(ports)
        self.url = ""
        self._next = 0
        self._streams: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Balancer"]:
        """Balancing within the block."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}/ocpp"
        try:
            yield self
        finally:
            server.close()
            for stream in list(self._streams):
                stream.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self.ports:
            self._next = (self._next + 1) % len(self.ports)
            try:
                behind = await asyncio.open_connection("127.0.0.1", self.ports[self._next])
            except OSError:
                continue
            await asyncio.gather(self._carry(reader, behind[1]), self._carry(behind[0], writer))
            return
        writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._streams.add(writer)
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                writer.write(data)
                await writer.drain()
        self._streams.discard(writer)
        writer.transport.abort()


@dataclass
class OrderTaker:
    """A station of 1.6 that accepts every order, notes it, and comes back when it is cut."""

    identity: str
    url: str
    #: the `data` of the DataTransfer orders that it got, in their order
    taken: list[int] = field(default_factory=list)
    connections: int = 0

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            with suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                async with connect(
                    f"{self.url}/{self.identity}",
                    subprotocols=["ocpp1.6"],  # type: ignore[list-item]
                    compression=None,
                    ping_interval=None,
                    close_timeout=0.1,
                    proxy=None,
                ) as socket:
                    self.connections += 1
                    await self._obey(socket)
            await asyncio.sleep(_RECONNECT_S)

    async def _obey(self, socket: ClientConnection) -> None:
        boot = {"chargePointVendor": "V", "chargePointModel": "M"}
        number = self.connections
        await socket.send(json.dumps([2, f"boot-{number}", "BootNotification", boot]))
        async for text in socket:
            kind, message_id, *rest = json.loads(text)
            if kind == 2:
                if rest[0] == "DataTransfer":  # others are the service's own
                    self.taken.append(int(rest[1]["data"]))
                await socket.send(json.dumps([3, message_id, {"status": "Accepted"}]))


class Cluster:
    """Gateways on one database server; the first one has web and worker too."""

    def __init__(self, folder: Path, size: int, **settings: object) -> None:
        self.server = EmbeddedServer(folder / "external")
        self._settings = settings
        self._folder = folder
        self._size = size
        self.nodes: list[Service] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Cluster"]:
        """All nodes, running within the block. Raises: ServiceError."""
        await asyncio.to_thread(self.server.join)
        try:
            for number in range(self._size):
                name = f"node-{number + 1}"
                node = Service(
                    self._folder / name,
                    self.server,
                    only="gateway" if number else None,
                    node=name,
                    **self._settings,
                )
                self.nodes.append(node)
                await node.start()
            yield self
        finally:
            for node in self.nodes:
                await node.clean_up()
            await asyncio.to_thread(self.server.leave)

    async def api(self, node: Service) -> httpx.AsyncClient:
        """A client of the operator's API of a node."""
        async with await psycopg.AsyncConnection.connect(
            self.server.conninfo(APP), autocommit=True, options="-c role=t2p_service"
        ) as connection:
            key, _ = await keys.create(connection, name="test", role="operator", expires_at=None)
        return httpx.AsyncClient(
            base_url=f"{node.http_url}/api/v1",
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        )

    @property
    def conninfo(self) -> str:
        """The database, as its owner."""
        return self.server.conninfo(OWNER)
