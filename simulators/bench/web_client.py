"""An HTTP/1.1 client that costs little: one kept connection, the whole body.

The load generator shares the machine with the server; a client that took as long as the server
would measure itself.
"""

import asyncio
import time
from dataclasses import dataclass

from simulators.bench.processes import BenchError

_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Answer:
    """What came back, and how long that took from the first byte sent to the last received."""

    status: int
    body: bytes
    taken_s: float


class WebClient:
    """One caller's connection to a port of 127.0.0.1. Use with `async with`."""

    def __init__(self, port: int, bearer: str) -> None:
        self._port = port
        self._bearer = bearer

    async def __aenter__(self) -> "WebClient":
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, limit=2**20
        )
        return self

    async def __aexit__(self, *reason: object) -> None:
        self._writer.close()

    async def get(self, path: str) -> Answer:
        """Ask for an address, with its query. Raises: BenchError as `request`."""
        return await self.request("GET", path)

    async def request(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Send one request, with a body in JSON, and wait for the answer.

        Raises: BenchError when the connection ends or the answer does not come.
        """
        request = (
            f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._bearer}\r\n"
        )
        if body:
            request += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        began = time.perf_counter()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                self._writer.write(request.encode() + b"\r\n" + body)
                status, length = _head(await self._reader.readuntil(b"\r\n\r\n"))
                answer = await self._reader.readexactly(length)
        except (OSError, EOFError, ValueError, KeyError, asyncio.LimitOverrunError) as error:
            raise BenchError(f"{method} {path}: {error or type(error).__name__}") from error
        return Answer(status, answer, time.perf_counter() - began)


def _head(head: bytes) -> tuple[int, int]:
    """Status, and length of the body.

    Raises: ValueError, KeyError for an answer without a length: a stream.
    """
    first, *lines = head.decode("latin-1").lower().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines if ": " in line)
    return int(first.split(" ")[1]), int(fields["content-length"])
