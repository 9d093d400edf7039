"""HTTP as the hub serves it: requests read, answers written, connections kept, faults injected."""

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
Match = Callable[[str, str], bool]
#: Nothing is done: 500, 503, `ocpi3000`, `ocpi2001`, `html` (200, no JSON), `timeout` (no answer),
#: `refuse` (the connection ends). All is done: `cut` (the answer ends in its middle), `lost` (no
#: byte of it comes), `slow` (it comes late).
FAULTS: Final = frozenset(
    ("500", "503", "timeout", "cut", "lost", "refuse", "ocpi3000", "ocpi2001", "html", "slow")
)


@dataclass
class Received:
    """A request as it came, and how it was answered.

    Header names are compared without case; `body` is the JSON document, None without one;
    `http_status` 0: no answer, or no whole one, went out; `ocpi_status` None: no envelope did.
    """

    at: datetime
    method: str
    path: str
    query: dict[str, str]
    headers: httpx.Headers
    body: Any
    http_status: int = 0
    ocpi_status: int | None = None
    is_over: bool = False  # answered, or never to be

    @property
    def words(self) -> str:
        """The request as complaints name it."""
        return f"{self.method} {self.path}"


@dataclass
class Answer:
    """What goes out; `body` str is no JSON. `sent` is called once all of it went out."""

    http_status: int
    body: dict[str, Any] | str
    headers: dict[str, str] = field(default_factory=dict)
    sent: Callable[[], None] | None = None


@dataclass
class _Fault:
    kind: str
    times: int | None
    match: Match | None


class Faults:
    """What goes wrong next. The first that matches a request is used; `times` None: always."""

    def __init__(self) -> None:
        self._waiting: list[_Fault] = []

    def add(self, kind: str, times: int | None, match: Match | None) -> None:
        """Raises: ValueError for a kind that is none of FAULTS."""
        if kind not in FAULTS:
            raise ValueError(f"{kind!r} is no fault; the faults are {', '.join(sorted(FAULTS))}")
        self._waiting.append(_Fault(kind, times, match))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._waiting.clear()

    def take(self, method: str, path: str) -> str | None:
        """The fault of this request, used up."""
        for fault in self._waiting:
            if fault.match is None or fault.match(method, path):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._waiting.remove(fault)
                return fault.kind
        return None


Handle = Callable[[Received, bytes, "str | None"], Coroutine[Any, Any, Answer | None]]


class Server:
    """A port and its connections. `down` and `up` close and open it again, at once."""

    def __init__(self, handle: Handle, take_fault: Callable[[str, str], str | None]) -> None:
        self._handle, self._take_fault = handle, take_fault
        self._clock: Callable[[], datetime] | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None
        self._address = ("127.0.0.1", 0)

    @property
    def port(self) -> int:
        """The port, known since it was opened first."""
        return self._address[1]

    def open(self, host: str, port: int, clock: Callable[[], datetime]) -> None:
        """Listen; 0: on any port that is free. Raises: OSError where the port is taken."""
        self._clock = clock
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(128)
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        self._socket, self._address = listener, (host, listener.getsockname()[1])
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def up(self) -> None:
        """Listen again where it listened before."""
        if self._socket is None:
            assert self._clock is not None, "it was open before"
            self.open(*self._address, self._clock)

    def down(self) -> None:
        """Refuse connections, and end those that are open."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        for talk in self._talks:
            talk.cancel()

    async def close(self) -> None:
        """Down, and nothing of it left running."""
        self.down()
        await asyncio.gather(*self._talks, return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # it went away before we looked
        connection.setblocking(False)
        talk = asyncio.create_task(self._talk(connection))
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _talk(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=64 * 1024)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the other side went away
        except ValueError:
            pass  # or spoke no HTTP
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection goes on."""
        received, content = await self._read(reader)
        fault = self._take_fault(received.method, received.path)
        # The other side may give up while the answer is made: then nobody waits for it.
        gone = asyncio.create_task(_gone(reader))
        try:
            answer = await self._answered(received, content, fault, gone)
            if answer is None:
                return False
            return await self._write(writer, received, answer, cut=fault == "cut")
        finally:
            gone.cancel()
            received.is_over = True

    async def _answered(
        self, received: Received, content: bytes, fault: str | None, gone: asyncio.Task[None]
    ) -> Answer | None:
        work = asyncio.create_task(self._handle(received, content, fault))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not work.done():
                work.cancel()
        return work.result() if work.done() else None

    async def _read(self, reader: asyncio.StreamReader) -> tuple[Received, bytes]:
        assert self._clock is not None
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        pairs = [line.partition(":") for line in lines[1:] if line]
        headers = httpx.Headers([(name, value.strip()) for name, _, value in pairs])
        content = await _body(reader, headers)
        split = urlsplit(target)
        query = dict(parse_qsl(split.query, keep_blank_values=True))
        received = Received(self._clock(), method, unquote(split.path), query, headers, None)
        return received, content

    async def _write(
        self, writer: asyncio.StreamWriter, received: Received, answer: Answer, *, cut: bool
    ) -> bool:
        is_json = not isinstance(answer.body, str)
        content = (json.dumps(answer.body) if is_json else str(answer.body)).encode()
        keeps = received.headers.get("connection", "").lower() != "close" and not cut
        headers = {
            "Content-Type": "application/json" if is_json else "text/html",
            "Content-Length": str(len(content)),
            "Connection": "keep-alive" if keeps else "close",
            **answer.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {answer.http_status} X\r\n{lines}\r\n".encode()
        writer.write(head + (content[: len(content) // 2] if cut else content))
        await writer.drain()
        if cut:
            writer.close()
            await writer.wait_closed()
            return False
        received.http_status = answer.http_status
        if isinstance(answer.body, dict):
            received.ocpi_status = answer.body.get("status_code")
        if answer.sent is not None:
            answer.sent()
        return keeps


async def _body(reader: asyncio.StreamReader, headers: httpx.Headers) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        length = int(headers.get("content-length", 0))
        if not 0 <= length <= BODY_BYTES_MAX:
            raise ValueError("a body that is too long")
        return await reader.readexactly(length)
    content = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        content += (await reader.readexactly(size + 2))[:-2]
        if len(content) > BODY_BYTES_MAX:
            raise ValueError("a body that is too long")
    await reader.readuntil(b"\r\n")
    return content


async def _gone(reader: asyncio.StreamReader) -> None:
    """When the other side has closed. A stream tells that to a read only, which would take what
    comes next; so it is looked at instead."""
    while not reader.at_eof():  # noqa: ASYNC110
        await asyncio.sleep(0.02)
