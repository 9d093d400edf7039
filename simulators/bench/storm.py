"""Thousands of stations at once, and the memory that each takes.

Storm: all open their connections in the same moment, shake hands, boot, and have the durable
answer. Memory: the same stations with a transaction each and some messages sent at a pace, so that
all that is kept of a station is there; the growth of the gateway's resident memory over their
number. (Sent all at once, what is on its way to the database would be counted as well.)
"""

import time
from collections.abc import Callable
from typing import Any

from simulators.bench.machine import Busy, memory_bytes
from simulators.bench.processes import check_clean, load, product
from simulators.bench.provision import add_stations

PREFIX = "ST"
CPU_WANTED_S_PER_5000 = 5.0
MEMORY_WANTED_BYTES = 20_000
_PASSWORD = "bench-4f1c9be20a7d-{id}"  # noqa: S105 - of simulated stations
_MESSAGES_PER_STATION = 10  # more than the answers that are remembered of each
_MESSAGES_PER_S = 1_500


async def storm(stations: int, password: str | None) -> dict[str, Any]:
    """All stations at once.

    Raises: BenchError unless every one was accepted and none closed.
    """
    options: tuple[str, ...] = ("--prefix", PREFIX)
    if password is not None:
        options += ("--password", password)
    async with product() as server:
        async with await server.connect() as connection:
            await add_stations(connection, PREFIX, stations, password)
        busy, before, began = Busy.now(), server.cpu(), time.perf_counter()
        async with load(server.url, "BootNotification", stations, *options) as generator:
            used, wall_s = server.cpu().since(before), time.perf_counter() - began
            figures = generator.set_up
    return {
        "security_profile": 0 if password is None else 1,
        "stations": stations,
        "accepted": figures["booted"],
        "gateway_cpu_s": used.server_s,
        "gateway_cpu_ms_per_station": used.server_s / stations * 1000,
        "database_cpu_s": used.database_s,
        "seconds": figures["setup_s"],
        "boot_p50_ms": figures["boot_p50_ms"],
        "boot_p99_ms": figures["boot_p99_ms"],
        "wall_with_start_of_load_s": wall_s,
        **busy.others_since(used.server_s + used.database_s + figures["cpu_s"]),
    }


async def memory(stations: int) -> dict[str, Any]:
    """Resident memory of the gateway before and with the stations in a session each.

    Raises: BenchError.
    """
    seconds = stations * _MESSAGES_PER_STATION / _MESSAGES_PER_S
    options = ("--prefix", PREFIX, "--rate", str(_MESSAGES_PER_S), "--duration", str(seconds))
    async with product() as server:
        async with await server.connect() as connection:
            await add_stations(connection, PREFIX, stations)
        before = memory_bytes(server.pid)
        async with load(server.url, "TransactionEvent", stations, *options) as generator:
            with_session = memory_bytes(server.pid)
            check_clean(await generator.go())
            after = memory_bytes(server.pid)
    return {
        "stations": stations,
        "before_bytes": before,
        "after_start_bytes_per_station": (with_session - before) / stations,
        "bytes_per_station": (after - before) / stations,
        "bytes_per_station_wanted": MEMORY_WANTED_BYTES,
    }


async def run(*, stations: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Storms without and with passwords, and memory.

    Raises: BenchError.
    """
    storms = []
    for password in (None, _PASSWORD):
        tell(f"storm: {stations} stations, {'no password' if password is None else 'passwords'}")
        storms.append(await storm(stations, password))
    tell(f"storm: memory of {stations} stations")
    return {
        "storms": storms,
        "cpu_wanted_s": CPU_WANTED_S_PER_5000 * stations / 5000,
        "memory": await memory(stations),
    }
