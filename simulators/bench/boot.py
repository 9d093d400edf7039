"""From nothing to ready, and back to service after a kill -9, in seconds.

cold           empty directory: database created, started and migrated, server ready
warm           stopped in order, started again
gateway        the gateway killed under load and started again; the database ran on
database       the database killed under load; the gateway brings it back by itself
both           both killed under load, as when the machine fails: recovery from the log
"""

import asyncio
import statistics
from collections.abc import Callable
from typing import Any

from simulators.bench.processes import Product, check_clean, directory_for_a_run, load
from simulators.bench.provision import add_stations

STEPS = ("cold", "warm", "gateway", "database", "both")
PREFIX = "BT"
_STATIONS = 20


async def _kill_under_load(server: Product, load_s: float, *, database: bool) -> None:
    """Kill the gateway, and the database with it, while messages are on their way."""
    options = ("--prefix", PREFIX, "--duration", "3600")
    async with load(server.url, "MeterValues", _STATIONS, *options) as generator:
        going = asyncio.create_task(generator.go())
        await asyncio.sleep(load_s)
        server.kill()
        if database:
            server.kill_database()
        await server.ended()
        await going  # all its connections are lost, which ends it


async def _outage_s(server: Product, load_s: float) -> float:
    """How long the slowest answer took when the database was killed while the gateway ran on.

    Raises: BenchError when a message was not answered in the end.
    """
    options = ("--prefix", PREFIX, "--duration", str(2 * load_s + 1))
    async with load(server.url, "MeterValues", _STATIONS, *options) as generator:
        going = asyncio.create_task(generator.go())
        await asyncio.sleep(load_s)
        server.kill_database()
        figures = await going
    check_clean(figures)
    return float(figures["max_ms"]) / 1000


async def once(load_s: float) -> dict[str, float]:
    """Seconds of each step, one after the other on one directory.

    Raises: BenchError.
    """
    taken_s: dict[str, float] = {}
    async with directory_for_a_run() as directory:
        server = Product(directory)
        try:
            taken_s["cold"] = await server.start()
            async with await server.connect() as connection:
                await add_stations(connection, PREFIX, _STATIONS)
            await server.stop()
            taken_s["warm"] = await server.start()
            await _kill_under_load(server, load_s, database=False)
            taken_s["gateway"] = await server.start()
            taken_s["database"] = await _outage_s(server, load_s)
            await server.stop()
            await server.start()
            await _kill_under_load(server, load_s, database=True)
            taken_s["both"] = await server.start()
        finally:
            await server.stop()
    return taken_s


async def run(*, rounds: int, load_s: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """All rounds, and the median of each step.

    Raises: BenchError.
    """
    all_rounds = []
    for number in range(1, rounds + 1):
        tell(f"boot: round {number} of {rounds}")
        all_rounds.append(await once(load_s))
    return {
        "rounds": all_rounds,
        "median_s": {step: statistics.median(r[step] for r in all_rounds) for step in STEPS},
    }
