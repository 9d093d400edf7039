"""How late answers are at half of the maximum rate.

Many stations; messages are due at fixed times whatever the server does, and an answer's latency
counts from the time its message was due. The maximum is measured first, in a closed loop of the
same stations. Then the same again with young collections of the garbage collector that are rarer
and larger: what the product's setting is for.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from simulators.bench.machine import Busy
from simulators.bench.messages import PREFIX, measure
from simulators.bench.processes import Product, check_clean, load, product
from simulators.bench.provision import add_stations

ACTION = "TransactionEvent"
COLLECTORS: dict[str, dict[str, str] | None] = {
    "as set": None,
    "rare (50,000)": {"GC_THRESHOLD": "50000"},
}
P99_WANTED_MS = 50.0


@dataclass(frozen=True)
class Paced:
    """One open-loop run."""

    collector: str  # the product's setting, or fewer and larger young collections
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
        around = busy.others_since(used.server_s + used.database_s + figures["cpu_s"])
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
        **around,
    )


async def run(*, stations: int, seconds: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """The maximum, and half of it under both settings of the collector.

    Raises: BenchError.
    """
    tell(f"open loop: the maximum of {stations} stations")
    async with _warm(None, stations, seconds) as server:
        most = await measure(server, ACTION, stations, min(8.0, seconds), PREFIX[ACTION])
    rate_per_s = most.rate_per_s / 2
    runs = []
    # Each on a server of its own with the same past, so that only the setting differs.
    for collector, settings in COLLECTORS.items():
        tell(f"open loop: {rate_per_s:,.0f} messages a second, collector {collector}")
        async with _warm(settings, stations, seconds) as server:
            runs.append(await paced(server, collector, stations, rate_per_s, seconds))
    return {
        "action": ACTION,
        "seconds": seconds,
        "maximum": vars(most),
        "paced": [vars(one) for one in runs],
        "p99_wanted_ms": P99_WANTED_MS,
    }


@asynccontextmanager
async def _warm(
    settings: dict[str, str] | None, stations: int, seconds: float
) -> AsyncIterator[Product]:
    """The product with its stations known, after a short run."""
    async with product(settings) as server:
        async with await server.connect() as connection:
            await add_stations(connection, PREFIX[ACTION], stations)
        await measure(server, ACTION, stations, min(2.0, seconds), PREFIX[ACTION])
        yield server
