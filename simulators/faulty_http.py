"""A service over real HTTP that fails as real ones do; what it does, those say that build on it."""

import asyncio
import gzip
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Answer = tuple[int, Any]

#: What is answered before anything is done.
EARLY: dict[str, Answer] = {
    "error": (500, {"message": "Internal Server Error"}),
    "busy": (429, {"message": "Too many requests"}),
    "unavailable": (503, {"message": "Service unavailable"}),
}
#: Those, and: no answer at all, with nothing or all of it done; the connection ends likewise; the
#: answer ends in its middle, or a few bytes before its end; 500 after all is done; a server in
#: front gave up waiting
FAULTS = (
    *(*EARLY, "silent_before", "silent_after", "lost_before", "lost_after"),
    *("cut_after", "cut_late", "error_after", "gateway_after"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came; the names of its headers are in small letters."""

    method: str
    path: str  # without what all addresses of the service begin with
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class FaultyService(ABC):
    """Listens, reads, answers once a connection, and fails as it is told to."""

    prefix = ""  # of every address
    body_bytes_max = 4 * 1024 * 1024

    def __init__(self) -> None:
        self.faults: deque[str] = deque()  # one for each request
        self.fault: str | None = None  # of all of them, while it is set
        self.calls: list[tuple[str, str, int]] = []  # method, path, status (0: no answer)

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[str]:
        """Its address while it listens on the loopback."""
        open_ones: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._converse(reader, writer))
            open_ones.add(task)
            task.add_done_callback(open_ones.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", port)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{self.prefix}"
        finally:
            server.close()
            for task in open_ones:
                task.cancel()
            await asyncio.gather(*open_ones, return_exceptions=True)
            await server.wait_closed()

    @abstractmethod
    async def handle(self, request: Request) -> Answer:
        """What is done, and answered."""

    def is_spared(self, request: Request) -> bool:
        """Whether it never fails."""
        return False

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await self._read(reader)
            fault = None
            if not self.is_spared(request):
                fault = self.fault or (self.faults.popleft() if self.faults else None)
            answer = await self._with_fault(fault, request)
            self.calls.append((request.method, request.path, answer[0] if answer else 0))
            if answer is not None:
                await _write(writer, answer, fault)
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # the other side went away, or spoke no HTTP
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Request:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
        method, target, _ = lines[0].split(" ")
        pairs = [line.partition(":") for line in lines[1:] if line]
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", 0))
        if length > self.body_bytes_max:
            raise ValueError("a body that is too long")
        body = await reader.readexactly(length)
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        split = urlsplit(target)
        path = split.path.removeprefix(self.prefix)
        return Request(method, path, dict(parse_qsl(split.query)), headers, body)

    async def _with_fault(self, fault: str | None, request: Request) -> Answer | None:
        if fault in EARLY:
            return EARLY[fault]
        if fault == "silent_before":
            await asyncio.sleep(3600)
        if fault == "lost_before":
            return None
        answer = await self.handle(request)
        if fault == "silent_after":
            await asyncio.sleep(3600)
        if fault == "error_after":
            return EARLY["error"]
        if fault == "gateway_after":
            return 504, {"message": "Gateway time-out"}
        return None if fault == "lost_after" else answer


async def _write(writer: asyncio.StreamWriter, answer: Answer, fault: str | None) -> None:
    status, body = answer
    content = b"" if status == 204 else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
    if status == 429:
        head += "Retry-After: 1\r\n"
    head += f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    if fault == "cut_after":
        content = content[: min(8, len(content) // 2)]
    elif fault == "cut_late":
        content = content[:-2]
    writer.write(head.encode() + content)
    await writer.drain()
