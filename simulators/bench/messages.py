"""Durable messages per CPU second, beside the plain way and a bare echo.

Three servers under the same load generator, round by round in turn, so that what else the machine
does falls on all of them alike:

    ours    every message committed with journal, deduplication and authorisation before its answer
    plain   `ocpp.ChargePoint` over `websockets`, storing nothing
    echo    `websockets` alone, sending each frame back

Figures are messages per second of CPU of the server's processes, the database's not counted but
shown beside. A ratio is that of one round; the median over the rounds is what counts. In the end
the database must hold every value that was answered, or the measurement fails.
"""

import statistics
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from simulators.bench.machine import Busy
from simulators.bench.processes import (
    Cpu,
    PlainServer,
    Product,
    check_clean,
    load,
    plain_server,
    product,
)
from simulators.bench.provision import Kept, add_stations, check_kept, count_kept

ACTIONS = ("MeterValues", "TransactionEvent")
PREFIX = {"MeterValues": "MV", "TransactionEvent": "TE"}
SERVERS = ("ours", "plain", "echo")
#: how many times as many messages as the plain way, per CPU second
REQUIRED = {"MeterValues": 10.0, "TransactionEvent": 20.0}
_WARM_UP_S = 1.5


@dataclass(frozen=True)
class Run:
    """One server under load for some seconds."""

    answered: int
    rate_per_s: float
    per_cpu_s: float  # messages per CPU second of the server
    cpu_s: float
    database_cpu_s: float
    database_us: float  # CPU of the database per message
    p50_ms: float
    p99_ms: float
    load_cpu_s: float
    others_cores: float
    stolen_cores: float


@dataclass
class Comparison:
    """All rounds of one action. `rounds` are lists in the order measured."""

    action: str
    stations: int
    seconds: float
    rounds: dict[str, list[Run]] = field(default_factory=lambda: {name: [] for name in SERVERS})
    kept: Kept | None = None

    def ratios(self, to: str) -> list[float]:
        """Ours over another server, round by round."""
        pairs = zip(self.rounds["ours"], self.rounds[to], strict=True)
        return [ours.per_cpu_s / other.per_cpu_s for ours, other in pairs]

    def figures(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "action": self.action,
            "stations": self.stations,
            "seconds": self.seconds,
            "rounds": {name: [vars(run) for run in runs] for name, runs in self.rounds.items()},
            "ratio_to_plain": statistics.median(self.ratios("plain")),
            "ratio_to_echo": statistics.median(self.ratios("echo")),
            "ratio_required": REQUIRED[self.action],
            "kept": self.kept._asdict() if self.kept else None,
        }


async def measure(
    server: Product | PlainServer, action: str, stations: int, seconds: float, prefix: str
) -> Run:
    """One closed-loop run: each station sends its next message when it has the answer to the last.

    Raises: BenchError.
    """
    options = ("--duration", str(seconds), "--prefix", prefix, "--finish")
    async with load(server.url, action, stations, *options) as generator:
        busy, before = Busy.now(), server.cpu()
        figures = await generator.go()
        used = server.cpu().since(before)
        around = busy.others_since(used.server_s + used.database_s + figures["cpu_s"])
        check_clean(figures)
        return _run(figures, used, around)


def _run(figures: dict[str, Any], used: Cpu, around: dict[str, float]) -> Run:
    answered = figures["answered"]
    return Run(
        answered=answered,
        rate_per_s=figures["rate_per_s"],
        per_cpu_s=answered / max(used.server_s, 0.01),
        cpu_s=used.server_s,
        database_cpu_s=used.database_s,
        database_us=used.database_s / max(answered, 1) * 1e6,
        p50_ms=figures["p50_ms"],
        p99_ms=figures["p99_ms"],
        load_cpu_s=figures["cpu_s"],
        **around,
    )


async def compare(
    action: str, *, stations: int, seconds: float, rounds: int, tell: Callable[[str], None]
) -> Comparison:
    """The three servers in turn, `rounds` times, after a short turn to warm each up.

    Raises: BenchError when a run was not clean, or the database lacks what was answered.
    """
    result = Comparison(action, stations, seconds)
    prefix = PREFIX[action]
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(product())
        servers: dict[str, Product | PlainServer] = {
            "ours": ours,
            "plain": await stack.enter_async_context(plain_server(echo=False)),
            "echo": await stack.enter_async_context(plain_server(echo=True)),
        }
        async with await ours.connect() as connection:
            await add_stations(connection, prefix, stations)
        answered = 0
        for number in range(rounds + 1):
            for name, server in servers.items():
                tell(f"{action}: {name}, {f'round {number}' if number else 'warming up'}")
                spoken = "Echo" if name == "echo" else action
                lasting_s = seconds if number else min(_WARM_UP_S, seconds)
                run = await measure(server, spoken, stations, lasting_s, prefix)
                if number:
                    result.rounds[name].append(run)
                if name == "ours":
                    answered += run.answered
        tell(f"{action}: counting what the database holds")
        async with await ours.connect() as connection:
            result.kept = await count_kept(connection, prefix)
        check_kept(result.kept, answered, stations * (rounds + 1))
    return result
