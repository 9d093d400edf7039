"""How late answers are at half of the maximum rate.

Many stations; messages are due at fixed times whatever the server does, and an answer's latency
counts from the time its message was due. The maximum is measured first, in a closed loop of the
same stations. Then the same again with the cyclic garbage collector at Python's usual threshold:
that is what the product's setting is for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulators.bench.machine import Busy
from simulators.bench.messages import PREFIX, measure
from simulators.bench.processes import Product, check_clean, load, product
from simulators.bench.provision import add_stations

ACTION = "TransactionEvent"
USUAL_COLLECTOR = {"GC_THRESHOLD": "700"}
P99_WANTED_MS = 50.0


@dataclass(frozen=True)
class Paced:
    """One open-loop run."""

    collector: str  # the product's setting, or Python's usual one
    stations: int
    rate_per_s: float  # wanted
    answered_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    per_cpu_s: float
    database_us: float
    load_cpu_share: float  # of one core: near 1, the generator itself would be late
    others_cores: float
    stolen_cores: float


async def paced(
    server: Product, collector: str, stations: int, rate_per_s: float, seconds: float
) -> Paced:
    """One run at a given rate, its first seconds left out of the latencies.

    Raises: BenchError.
    """
    warm_up_s = min(2.0, seconds / 4)
    options = [
        *("--duration", str(seconds), "--warm-up", str(warm_up_s), "--rate", str(rate_per_s)),
        *("--prefix", PREFIX[ACTION], "--finish"),
    ]
    async with load(server.url, ACTION, stations, *options) as generator:
        busy, before = Busy.now(), server.cpu()
        figures = await generator.go()
        used = server.cpu().since(before)
        check_clean(figures)
    in_all = figures["answered"] * (seconds + warm_up_s) / seconds
    return Paced(
        collector=collector,
        stations=stations,
        rate_per_s=rate_per_s,
        answered_per_s=figures["rate_per_s"],
        p50_ms=figures["p50_ms"],
        p99_ms=figures["p99_ms"],
        p999_ms=figures["p999_ms"],
        max_ms=figures["max_ms"],
        per_cpu_s=in_all / max(used.server_s, 0.01),
        database_us=used.database_s / max(in_all, 1) * 1e6,
        load_cpu_share=figures["cpu_s"] / (seconds + warm_up_s),
        **busy.others_since(used.server_s + used.database_s + figures["cpu_s"]),
    )


async def run(*, stations: int, seconds: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """The maximum, and half of it under both settings of the collector.

    Raises: BenchError.
    """
    tell(f"open loop: the maximum of {stations} stations")
    async with product() as server:
        await _add(server, stations)
        await measure(server, ACTION, stations, min(2.0, seconds), PREFIX[ACTION])
        most = await measure(server, ACTION, stations, min(8.0, seconds), PREFIX[ACTION])
        rate_per_s = most.rate_per_s / 2
        tell(f"open loop: {stations} stations, {rate_per_s:,.0f} messages a second")
        runs = [await paced(server, "as set", stations, rate_per_s, seconds)]
    tell("open loop: the same with the usual threshold of the collector")
    async with product(USUAL_COLLECTOR) as server:
        await _add(server, stations)
        await measure(server, ACTION, stations, min(2.0, seconds), PREFIX[ACTION])
        runs.append(await paced(server, "usual (700)", stations, rate_per_s, seconds))
    return {
        "action": ACTION,
        "seconds": seconds,
        "maximum": vars(most),
        "paced": [vars(one) for one in runs],
        "p99_wanted_ms": P99_WANTED_MS,
    }


async def _add(server: Product, stations: int) -> None:
    async with await server.connect() as connection:
        await add_stations(connection, PREFIX[ACTION], stations)
