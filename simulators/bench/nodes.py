"""Several gateways on one database: how much more they do together, and what limits them.

throughput   the same stations in a closed loop over 1, 2 and 4 gateways; every message durable
             before its answer. The database must hold every value that was answered.
idle         many stations that are connected and say nothing: memory and CPU of the gateways
orders       from the API of one gateway to a station on the same and on another, and back

All of it runs on one machine, the load generator too: beyond its cores more gateways cannot do
more. What each part of a message costs is what a larger installation is reckoned from.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from simulators.bench.cluster import Cluster, cluster
from simulators.bench.machine import Busy, memory_bytes
from simulators.bench.orders import round_trips
from simulators.bench.processes import check_clean, load
from simulators.bench.provision import add_stations, check_kept, count_kept

NODES = (1, 2, 4)
ACTION = "TransactionEvent"
PREFIX = "ND"
IDLE_NODES = 2
_WARM_UP_S = 1.5
_FULL_SHARE = 0.9  # of a core: what uses more has no more to give


@dataclass(frozen=True)
class Shared:
    """So many gateways under load for some seconds."""

    nodes: int
    stations: int
    answered: int
    rate_per_s: float
    per_gateway_cpu_s: float  # messages per CPU second of all gateways together
    gateways_cores: float
    busiest_gateway_cores: float
    database_cores: float
    database_us: float  # CPU of the database per message
    load_cores: float
    others_cores: float
    stolen_cores: float
    p50_ms: float
    p99_ms: float

    @property
    def cores(self) -> float:
        """Cores in use by everything."""
        ours = self.gateways_cores + self.database_cores + self.load_cores
        return ours + self.others_cores + self.stolen_cores


def limited_by(run: Shared, cores: int) -> str:
    """What had no more to give, by where the CPU went."""
    if run.cores >= _FULL_SHARE * cores:
        return f"the {cores} cores of this machine"
    if run.load_cores >= _FULL_SHARE:
        return "the load generator"
    if run.busiest_gateway_cores >= _FULL_SHARE:
        return "a gateway's one core"
    return "waiting: for commits, and for stations with one message each under way"


async def throughput(nodes: int, *, stations: int, seconds: float) -> Shared:
    """A closed loop after a short warm-up; checked against the database.

    Raises: BenchError when a run was not clean, or the database lacks what was answered.
    """
    async with cluster(nodes) as servers:
        async with await servers.connect() as connection:
            await add_stations(connection, PREFIX, stations)
        answered, run = 0, None
        for lasting_s in (min(_WARM_UP_S, seconds), seconds):
            run = await _run(servers, stations, lasting_s)
            answered += run.answered
        async with await servers.connect() as connection:
            check_kept(await count_kept(connection, PREFIX), answered, stations * 2)
    assert run is not None
    return run


async def _run(servers: Cluster, stations: int, seconds: float) -> Shared:
    options = ("--duration", str(seconds), "--prefix", PREFIX, "--finish")
    async with load(servers.url, ACTION, stations, *options) as generator:
        busy, before, each = Busy.now(), servers.cpu(), servers.gateway_cpu_s()
        began = time.perf_counter()
        figures = await generator.go()
        wall_s = time.perf_counter() - began
        used = servers.cpu().since(before)
        each = [now - then for now, then in zip(servers.gateway_cpu_s(), each, strict=True)]
        around = busy.others_since(used.server_s + used.database_s + figures["cpu_s"])
        check_clean(figures)
    answered = figures["answered"]
    return Shared(
        nodes=len(servers.gateways),
        stations=stations,
        answered=answered,
        rate_per_s=figures["rate_per_s"],
        per_gateway_cpu_s=answered / max(used.server_s, 0.01),
        gateways_cores=used.server_s / wall_s,
        busiest_gateway_cores=max(each) / wall_s,
        database_cores=used.database_s / wall_s,
        database_us=used.database_s / max(answered, 1) * 1e6,
        load_cores=figures["cpu_s"] / wall_s,
        p50_ms=figures["p50_ms"],
        p99_ms=figures["p99_ms"],
        **around,
    )


async def idle(stations: int, seconds: float) -> dict[str, Any]:
    """Stations that have booted and wait, on IDLE_NODES gateways; then some orders among them.

    Raises: BenchError when one could not come in, or is gone in the end.
    """
    options = ("--prefix", PREFIX)
    async with cluster(IDLE_NODES, has_web=True) as servers:
        async with await servers.connect() as connection:
            await add_stations(connection, PREFIX, stations)
        memory_before = servers.memory_bytes()
        async with load(servers.url, "BootNotification", stations, *options) as generator:
            memory_after = servers.memory_bytes()
            await asyncio.sleep(min(5.0, seconds))  # what follows the boots is not idle yet
            busy, before, began = Busy.now(), servers.cpu(), time.perf_counter()
            await asyncio.sleep(seconds)
            used, wall_s = servers.cpu().since(before), time.perf_counter() - began
            around = busy.others_since(used.server_s + used.database_s)
            load_bytes = memory_bytes(generator.pid)
            orders = await round_trips(servers, PREFIX, stations)
            check_clean(await generator.go())
    grown = sum(memory_after) - sum(memory_before)
    return {
        "nodes": IDLE_NODES,
        "stations": stations,
        "setup_s": generator.set_up["setup_s"],
        "boot_p50_ms": generator.set_up["boot_p50_ms"],
        "boot_p99_ms": generator.set_up["boot_p99_ms"],
        "gateway_bytes_before": statistics.mean(memory_before),
        "bytes_per_station": grown / stations,
        "gateways_cores": used.server_s / wall_s,
        "database_cores": used.database_s / wall_s,
        "load_bytes_per_station": load_bytes / stations,
        "orders": orders,
        **around,
    }


async def run(
    *, stations: int, idle_stations: int, seconds: float, idle_s: float, tell: Callable[[str], None]
) -> dict[str, Any]:
    """All three.

    Raises: BenchError.
    """
    cores = len(os.sched_getaffinity(0))
    runs = []
    for nodes in NODES:
        tell(f"nodes: {nodes} gateways, {stations} stations")
        one = await throughput(nodes, stations=stations, seconds=seconds)
        runs.append(asdict(one) | {"cores": one.cores, "limited_by": limited_by(one, cores)})
    tell(f"nodes: {idle_stations} idle stations on {IDLE_NODES} gateways, and orders to them")
    return {"throughput": runs, "idle": await idle(idle_stations, idle_s)}
