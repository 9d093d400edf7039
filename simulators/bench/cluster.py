"""Several gateways on one database, each a process with its own name and ports.

The database is the embedded one of a worker, as a whole installation would have one; gateways reach
it by its URL only, and know nothing of each other but what stands in it.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from psycopg import AsyncConnection

from simulators.bench.machine import memory_bytes
from simulators.bench.processes import (
    STOP_TIMEOUT_S,
    BenchError,
    Cpu,
    Product,
    directory_for_a_run,
)


class Cluster:
    """A worker with the database, its gateways, and where people and programs ask."""

    def __init__(self, worker: Product, gateways: list[Product], web: Product | None) -> None:
        self.worker = worker
        self.gateways = gateways
        self.web = web

    @property
    def url(self) -> str:
        """Of all gateways, as the load generator takes them."""
        return ",".join(gateway.url for gateway in self.gateways)

    def cpu(self) -> Cpu:
        """CPU so far of all gateways, and of the database; of worker and web it is left out."""
        gateways_s = sum(gateway.cpu().server_s for gateway in self.gateways)
        return Cpu(gateways_s, self.worker.cpu().database_s)

    def gateway_cpu_s(self) -> list[float]:
        """CPU so far of each gateway."""
        return [gateway.cpu().server_s for gateway in self.gateways]

    def memory_bytes(self) -> list[int]:
        """Resident memory of each gateway."""
        return [memory_bytes(gateway.pid) for gateway in self.gateways]

    async def connect(self) -> AsyncConnection:
        """A connection to the database, as the owner."""
        return await self.worker.connect()

    async def operator_key(self) -> str:
        """A key for the operator API.

        Raises: BenchError.
        """
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "csms", "key", "create", "--role", "operator"],
            *["--name", "bench"],
            cwd=self.worker.directory,
            env=self.gateways[0].environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await asyncio.wait_for(process.communicate(), STOP_TIMEOUT_S)
        lines = out.decode().split()
        if process.returncode or not lines:
            raise BenchError(f"no API key could be made: {errors.decode()[-500:]}")
        return lines[-1]


@asynccontextmanager
async def cluster(nodes: int, *, has_web: bool = False) -> AsyncIterator[Cluster]:
    """So many gateways on an empty database, ready; stopped and removed in the end.

    Raises: BenchError.
    """
    async with directory_for_a_run() as directory, AsyncExitStack() as stack:
        worker = Product(directory, part="worker")
        stack.push_async_callback(worker.stop)
        await worker.start()

        def beside(name: str, part: str) -> Product:
            place = directory / name
            place.mkdir()
            product = Product(place, _settings(directory, name), part=part)
            stack.push_async_callback(product.stop)  # before the worker, with the database
            return product

        gateways = [beside(f"node-{number}", "gateway") for number in range(1, nodes + 1)]
        web = beside("web", "web") if has_web else None
        all_of_them = gateways if web is None else [*gateways, web]
        await asyncio.gather(*(product.start() for product in all_of_them))
        yield Cluster(worker, gateways, web)


def _settings(directory: Path, name: str) -> dict[str, str]:
    """Of one process on the database of the worker in `directory`."""
    socket = quote(str(directory.resolve() / "data" / "postgres" / "socket"), safe="")
    url = f"postgresql:///time2plug?host={socket}&user="
    return {
        "NODE": name,
        "DATABASE_URL": url + "t2p_app",
        "DATABASE_OWNER_URL": url + "t2p_owner",
    }
