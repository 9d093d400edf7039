"""How long an order takes from the API to a station and back, on the same node and across nodes."""

import asyncio
import json
import time
from typing import Any

from simulators.bench.cluster import Cluster
from simulators.bench.processes import BenchError
from simulators.bench.provision import identities

ORDERS = 200  # of each kind, one after the other
_ACTION = "ClearCache"
_WAIT_S = 30


class _Api:
    """The operator API of one gateway, over one connection that stays open."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key

    async def __aenter__(self) -> "_Api":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *reason: object) -> None:
        self._writer.close()

    async def order(self, station_id: str) -> float:
        """Give one order and wait for the station's answer; the seconds it took.

        Raises: BenchError when it was not accepted.
        """
        body = json.dumps({"action": _ACTION, "payload": {}, "wait_s": _WAIT_S}).encode()
        head = (
            f"POST /api/v1/stations/{station_id}/commands HTTP/1.1\r\nHost: bench\r\n"
            f"Authorization: Bearer {self._key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        began = time.perf_counter()
        self._writer.write(head.encode() + body)
        async with asyncio.timeout(2 * _WAIT_S):
            status, answer = await self._response()
        taken_s = time.perf_counter() - began
        if status != 200 or answer.get("status") != "accepted":
            raise BenchError(f"an order to {station_id} came back as {status}: {answer}")
        return taken_s

    async def _response(self) -> tuple[int, dict[str, Any]]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        body = await self._reader.readexactly(int(headers["content-length"]))
        answer = json.loads(body)
        return int(head[0].split()[1]), answer if isinstance(answer, dict) else {}


async def round_trips(servers: Cluster, prefix: str, stations: int) -> dict[str, Any]:
    """Orders to stations of the gateway that is asked, and of the one after it.

    Stations are dealt over the gateways in turn, which says where each is.

    Raises: BenchError.
    """
    nodes = len(servers.gateways)
    ids = identities(prefix, stations)
    figures: dict[str, Any] = {"orders": ORDERS}
    async with _Api(servers.gateways[0].http_port, await servers.operator_key()) as api:
        for name, node in (("same_node", 0), ("other_node", 1 % nodes)):
            there = ids[node::nodes]
            await api.order(there[0])  # the first one waits for what is set up once
            taken_s = sorted([await api.order(there[n % len(there)]) for n in range(ORDERS)])
            figures[name] = {
                "p50_ms": taken_s[ORDERS // 2] * 1000,
                "p99_ms": taken_s[ORDERS * 99 // 100] * 1000,
            }
    return figures
