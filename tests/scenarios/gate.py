"""A live gateway in the test's own loop, seen from outside: stations knock, ask and listen."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

import httpx
from psycopg import sql
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from csms import db
from csms.config import Settings
from csms.db import Database
from csms.serve import open_service
from simulators.rawsocket import PING, TEXT, frame

PATIENCE_S = 30.0


@dataclass
class Gate:
    """The gateway of these settings; `url` has no identity."""

    settings: Settings
    database: Database

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.settings.ocpp_port}/ocpp"

    @property
    def secure_url(self) -> str:
        return f"wss://127.0.0.1:{self.settings.ocpps_port}/ocpp"

    async def add(self, station_id: str, **columns: Any) -> None:
        """A row of the station table."""
        names = ["id", *columns]
        statement = sql.SQL("INSERT INTO station ({}) VALUES ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join([sql.Placeholder()] * len(names)),
        )
        async with await db.connect(self.database) as connection:
            await connection.execute(statement, [station_id, *columns.values()])

    async def rows(self, statement: str, *parameters: Any) -> list[Any]:
        """What a query finds."""
        async with await db.connect(self.database) as connection:
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall()

    async def eventually(self, expected: list[Any], statement: str, *parameters: Any) -> None:
        """Wait until a query finds this: some rows are written a moment after the fact."""
        deadline_s = time.monotonic() + PATIENCE_S
        while (found := await self.rows(statement, *parameters)) != expected:
            assert time.monotonic() < deadline_s, f"{statement}: {found}, not {expected}"
            await asyncio.sleep(0.02)

    def connect(
        self,
        identity: str,
        *,
        url: str | None = None,
        protocols: Sequence[str] = ("ocpp1.6",),
        password: str | bytes | None = None,
        user: str | None = None,
        authorization: str | None = None,
        tls: SSLContext | None = None,
        **options: Any,
    ) -> connect:
        """A station's connection to be; `url` is whole, identity included."""
        headers = {}
        if password is not None:
            authorization = basic(identity if user is None else user, password)
        if authorization is not None:
            headers["Authorization"] = authorization
        if url is None:
            url = f"{self.url if tls is None else self.secure_url}/{identity}"
        given: dict[str, Any] = {"compression": None, "ping_interval": None, "proxy": None}
        return connect(
            url,
            subprotocols=list(protocols) or None,  # type: ignore[arg-type]
            additional_headers=headers,
            ssl=tls,
            **{**given, **options},
        )

    async def knock(self, identity: str, **how: Any) -> Response | ClientConnection:
        """Try to connect, and leave at once: the refusal, or the connection that was."""
        try:
            async with self.connect(identity, **how) as socket:
                return socket
        except InvalidStatus as refusal:
            return refusal.response

    async def status(self, identity: str, **how: Any) -> int:
        """The HTTP status of an attempt to connect."""
        answer = await self.knock(identity, **how)
        response = answer if isinstance(answer, Response) else answer.response
        assert response is not None
        return response.status_code

    async def refused(self, identity: str, *reasons: str) -> None:
        """Wait until the operator's list shows the identity for just these reasons."""
        await self.eventually(
            [(reason, "127.0.0.1") for reason in sorted(reasons)],
            "SELECT reason, remote_address FROM refused_connection"
            " WHERE identity = %s ORDER BY reason",
            identity,
        )

    async def connected(self, identity: str, expected: bool) -> None:
        """Wait until the database says whether the station is connected."""
        await self.eventually(
            [(expected,)] if expected else [],
            "SELECT true FROM station_connection JOIN station USING (station_key)"
            " WHERE id = %s AND disconnected_at IS NULL",
            identity,
        )


@asynccontextmanager
async def open_gate(settings: Settings, database: Database) -> AsyncIterator[Gate]:
    """Gateway and API, running within the block."""
    async with open_service(settings, parts=("gateway", "web")):
        yield Gate(settings, database)


def basic(user: str, password: str | bytes) -> str:
    """The header of HTTP basic authentication; a password may be any bytes."""
    secret = password.encode() if isinstance(password, str) else password
    return "Basic " + base64.b64encode(user.encode() + b":" + secret).decode()


async def ask(
    socket: ClientConnection, action: str, payload: dict[str, Any], message_id: str = "1"
) -> Any:
    """The payload of the answer to a call."""
    await socket.send(json.dumps([2, message_id, action, payload]))
    async with asyncio.timeout(PATIENCE_S):
        answer = json.loads(await socket.recv())
    assert answer[:2] == [3, message_id], answer
    return answer[2]


async def heartbeat(socket: ClientConnection, message_id: str = "1") -> None:
    """Be answered, or fail."""
    assert "currentTime" in await ask(socket, "Heartbeat", {}, message_id)


async def boot(socket: ClientConnection, message_id: str = "1") -> Any:
    """Boot in the words of 1.6; the answer."""
    payload = {"chargePointVendor": "V", "chargePointModel": "M"}
    return await ask(socket, "BootNotification", payload, message_id)


class RawStation:
    """A station that writes what it likes and answers nothing, not even pings."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.status = 0
        self.pings = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls, gate: Gate, target: str, *headers: str, answered: bool = True
    ) -> AsyncIterator["RawStation"]:
        """Ask for `target` with these headers beside those that identify a websocket's opening."""
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.settings.ocpp_port)
        station = cls(reader, writer)
        lines = (
            f"GET {target} HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *headers,
        )
        writer.write("\r\n".join([*lines, "", ""]).encode())
        try:
            if answered:
                async with asyncio.timeout(PATIENCE_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                station.status = int(head.split()[1])
            yield station
        finally:
            writer.transport.abort()

    def send(self, action: str, payload: dict[str, Any], message_id: str = "1") -> None:
        """Write a call."""
        self.writer.write(frame(json.dumps([2, message_id, action, payload]).encode(), TEXT))

    async def read(self) -> str | None:
        """The next text, pings counted and passed over; None: the gateway has ended it."""
        try:
            while True:
                first, size = await self.reader.readexactly(2)
                if size == 126:
                    size = int.from_bytes(await self.reader.readexactly(2), "big")
                payload = await self.reader.readexactly(size)
                self.pings += first & 15 == PING
                if first & 15 == TEXT:
                    return payload.decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            return None


async def count_open_stations(gate: Gate) -> int:
    """How many the gateway itself believes to be connected, by its metrics."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{gate.settings.http_port}/metrics")
    lines = answer.text.splitlines()
    name = "t2p_stations_connected "
    return int(float(next(line.split()[1] for line in lines if line.startswith(name))))
