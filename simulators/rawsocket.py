"""A websocket client with as little work per frame as Python allows, for load generators only.

The generator shares its machine with the server under test, so what it does not compute is what
the server gets. Three short cuts against a full client, all within what a server must accept:
frames are masked with the key 0 (the bytes stay as they are; the server unmasks as always),
messages are never fragmented, no extension is offered. Everything else that simulates a station
uses the `websockets` package.
"""

import asyncio
import base64
import os
from ssl import SSLContext
from typing import cast
from urllib.parse import quote, urlsplit

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
_NO_MASK = b"\x00\x00\x00\x00"
HEADER_BYTES_MAX = 16 * 1024


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One whole client frame around `payload`."""
    size = len(payload)
    first = 0x80 | opcode
    if size < 126:
        return bytes((first, 0x80 | size)) + _NO_MASK + payload
    if size < 65536:
        return bytes((first, 0xFE, size >> 8, size & 0xFF)) + _NO_MASK + payload
    return bytes((first, 0xFF)) + size.to_bytes(8, "big") + _NO_MASK + payload


class RawSocket(asyncio.Protocol):
    """One connection. Subclasses override `opened`, `text` and `closed`.

    `closed(reason)` is called once however the connection ends, also when the upgrade is refused:
    then `status` holds the HTTP status (0 while none was read) and `opened` was never called.
    """

    __slots__ = ("_buffer", "_done", "_request", "status", "transport", "upgraded")

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._buffer = b""
        self._done = False
        self.upgraded = False
        self.status = 0
        self.transport: asyncio.Transport | None = None

    def opened(self) -> None:
        """The server accepted the upgrade."""

    def text(self, payload: bytes) -> None:
        """One text message arrived."""

    def closed(self, reason: str) -> None:
        """The connection is over."""

    def send(self, payload: bytes) -> None:
        """Queue one text message; on a connection that is over it goes nowhere."""
        if self.transport is not None:
            self.transport.write(frame(payload))

    def close(self) -> None:
        """Close by the book: a close frame, then the socket."""
        if self.transport is not None:
            self.transport.write(frame(b"\x03\xe8", CLOSE))
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one in behaviour, not by class.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._end("connection lost" if exc is None else f"{type(exc).__name__}: {exc}")

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if not self.upgraded:
            rest = self._read_response(data)
            if rest is None:
                return
            data = rest
        position, size = 0, len(data)
        while size - position >= 2:
            length = data[position + 1]
            start = position + 2
            if length == 126:
                start += 2
                length = int.from_bytes(data[position + 2 : start], "big")
            elif length == 127:
                start += 8
                length = int.from_bytes(data[position + 2 : start], "big")
            end = start + length
            if size < start or size < end:
                break
            self._read_frame(data[position], data[start:end])
            position = end
        self._buffer = data[position:] if position else data

    def _read_frame(self, first: int, payload: bytes) -> None:
        if first == 0x80 | TEXT:
            self.text(payload)
        elif first == 0x80 | PING:
            if self.transport is not None:
                self.transport.write(frame(payload, PONG))
        elif first == 0x80 | CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            reason = payload[2:].decode(errors="replace")
            self._end(f"closed by server: {code} {reason}".rstrip())
            if self.transport is not None:
                self.transport.write(frame(payload[:2], CLOSE))
                self.transport.close()
        elif first != 0x80 | PONG:
            self._end(f"frame not understood: first byte {first:#x}")
            if self.transport is not None:
                self.transport.abort()

    def _read_response(self, data: bytes) -> bytes | None:
        """The bytes after the HTTP response, None while it is incomplete or when it refuses."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = data
            if len(data) > HEADER_BYTES_MAX and self.transport is not None:
                self.transport.abort()
            return None
        status = data.split(b" ", 2)[1:2]
        self.status = int(status[0]) if status and status[0].isdigit() else 0
        if self.status != 101:
            self._end(f"refused: HTTP {self.status}")
            if self.transport is not None:
                self.transport.close()
            return None
        self.upgraded = True
        self.opened()
        return data[end + 4 :]

    def give_up(self, reason: str) -> None:
        """Count the connection as over before it was made."""
        self._end(reason)

    def _end(self, reason: str) -> None:
        if not self._done:
            self._done = True
            self.closed(reason)


def upgrade_request(
    url: str, identity: str, subprotocol: str | None, password: str | None = None
) -> bytes:
    """The HTTP request that opens `url`/`identity` as a websocket.

    subprotocol: None offers none. password: None sends no credentials; else HTTP basic
    authentication with the identity as user.
    """
    parts = urlsplit(url)
    path = f"{parts.path.rstrip('/')}/{quote(identity, safe='')}"
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    if password is not None:
        credentials = base64.b64encode(f"{identity}:{password}".encode()).decode()
        lines.append(f"Authorization: Basic {credentials}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def connect(socket: RawSocket, url: str, ssl: SSLContext | None = None) -> None:
    """Open the TCP (or, for wss, TLS) connection of `socket`; the upgrade follows by itself.

    Raises: OSError when the server cannot be reached.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    if secure and ssl is None:
        import ssl as tls

        ssl = tls.create_default_context()
    loop = asyncio.get_running_loop()
    await loop.create_connection(
        lambda: socket, parts.hostname or "", port, ssl=ssl if secure else None
    )
