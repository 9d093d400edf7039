"""The command line of the benchmarks."""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from simulators.bench import (
    api,
    billing,
    boot,
    collection,
    messages,
    nodes,
    open_loop,
    payments,
    report,
    report_api,
    report_billing,
    storm,
)
from simulators.bench.api_data import World
from simulators.bench.machine import describe
from simulators.bench.processes import BenchError
from simulators.load import raise_file_limit

PARTS = ("messages", "open", "storm", "boot", "nodes", "api", "billing", "payments", "collection")
NOISE = (
    "Figures of one run on one machine. Ratios hold better than figures: what else runs here "
    '("others\' cores") costs all servers alike, but it costs them. Repeat when it is not near 0.'
)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything. The defaults end within some ten minutes."""

    seconds: float = 8.0
    rounds: int = 3
    stations: int = 400
    open_stations: int = 1_000
    open_seconds: float = 20.0
    storm_stations: int = 2_000
    boot_rounds: int = 3
    boot_load_s: float = 2.0
    idle_stations: int = 2_000
    idle_s: float = 20.0
    api_stations: int = 2_000
    api_sessions: int = 100_000
    api_seconds: float = 0.5  # of each operation in each round
    api_rounds: int = 3
    billed_sessions: tuple[int, ...] = (10_000,)
    paid_clients: tuple[int, ...] = (200,)
    collected_sessions: int = 10_000


FULL = Sizes(
    rounds=5,
    open_stations=5_000,
    open_seconds=60.0,
    storm_stations=5_000,
    boot_rounds=5,
    idle_stations=10_000,
    idle_s=90.0,  # longer than a gateway waits between its pings
    api_sessions=1_000_000,
    api_seconds=2.0,
    api_rounds=3,
    billed_sessions=(10_000, 100_000, 1_000_000),
    paid_clients=(200, 2_000),
    collected_sessions=100_000,
)


async def measure(
    parts: tuple[str, ...], sizes: Sizes, console: Console, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Run the parts, show each as it is done; all figures.

    Raises: BenchError.
    """
    figures: dict[str, Any] = {}
    if "messages" in parts:
        figures["messages"] = []
        for action in messages.ACTIONS:
            compared = await messages.compare(
                action,
                stations=sizes.stations,
                seconds=sizes.seconds,
                rounds=sizes.rounds,
                tell=tell,
            )
            report.show_messages(console, compared)
            figures["messages"].append(compared.figures())
    if "open" in parts:
        figures["open"] = await open_loop.run(
            stations=sizes.open_stations, seconds=sizes.open_seconds, tell=tell
        )
        report.show_open_loop(console, figures["open"])
    if "storm" in parts:
        figures["storm"] = await storm.run(stations=sizes.storm_stations, tell=tell)
        report.show_storm(console, figures["storm"])
    if "boot" in parts:
        figures["boot"] = await boot.run(
            rounds=sizes.boot_rounds, load_s=sizes.boot_load_s, tell=tell
        )
        report.show_boot(console, figures["boot"])
    if "nodes" in parts:
        figures["nodes"] = await nodes.run(
            stations=sizes.stations,
            idle_stations=sizes.idle_stations,
            seconds=sizes.seconds,
            idle_s=sizes.idle_s,
            tell=tell,
        )
        report.show_nodes(console, figures["nodes"])
    if "api" in parts:
        figures["api"] = await api.run(
            World(
                stations=sizes.api_stations,
                sessions=sizes.api_sessions,
                read_sessions=sizes.api_sessions // 50,
            ),
            seconds=sizes.api_seconds,
            rounds=sizes.api_rounds,
            tell=tell,
        )
        report_api.show(console, figures["api"])
    if "billing" in parts:
        figures["billing"] = await billing.run(sizes.billed_sessions, tell=tell)
        report_billing.show(console, figures["billing"])
    if "payments" in parts:
        figures["payments"] = await payments.run(sizes.paid_clients, tell=tell)
        report_billing.show_payments(console, figures["payments"])
    if "collection" in parts:
        figures["collection"] = await collection.run(sizes.collected_sessions, tell=tell)
        report_billing.show_collection(console, figures["collection"])
    return figures


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="time2plug bench",
        description="Measure this product on this machine, beside the plain way (the ocpp package "
        "over websockets, storing nothing) and a bare echo. Nothing is kept.",
        epilog="Parts: messages (durable messages per CPU second), open (latency at half of the "
        "maximum rate), storm (thousands of stations at once, memory of each), boot (seconds to "
        "ready), nodes (1, 2 and 4 gateways on one database, idle stations, orders), api "
        "(how late operators, managers and drivers are answered, with many sessions), billing (a "
        "month priced, invoiced and closed; --full: up to 1,000,000 sessions), payments (clients "
        "paid and settled; --full: 2,000), collection (a month's sessions as files; --full: "
        "100,000). Exit code 1 when something failed or was lost; no figure is judged by it.",
    )
    parser.add_argument(
        "part", nargs="*", choices=[[], *PARTS], help=f"{', '.join(PARTS)}; default: all"
    )
    parser.add_argument(
        "--full", action="store_true", help="large sizes: 10,000 stations, 1,000,000 sessions"
    )
    parser.add_argument("--output", type=Path, help="file for all figures, as JSON")
    parser.add_argument("--rounds", type=int, help="of messages")
    parser.add_argument("--seconds", type=float, help="of each run under load")
    parser.add_argument("--stations", type=int, help="of each run, but for boot")
    parser.add_argument(
        "--sessions", type=int, help="that the API has behind it, or are billed, or written"
    )
    parser.add_argument("--clients", type=int, help="that are paid")
    return parser.parse_args(arguments)


def _sizes(args: argparse.Namespace) -> Sizes:
    sizes = vars(FULL if args.full else Sizes())
    if args.rounds is not None:
        sizes = sizes | dict.fromkeys(("rounds", "boot_rounds", "api_rounds"), args.rounds)
    if args.seconds is not None:
        sizes |= dict.fromkeys(("seconds", "open_seconds", "idle_s"), args.seconds)
        sizes["api_seconds"] = args.seconds
        sizes["boot_load_s"] = min(args.seconds, sizes["boot_load_s"])
    if args.stations is not None:
        names = ("stations", "open_stations", "storm_stations", "idle_stations", "api_stations")
        sizes |= dict.fromkeys(names, args.stations)
    if args.sessions is not None:
        sizes["api_sessions"] = args.sessions
        sizes["billed_sessions"] = (args.sessions,)
        sizes["collected_sessions"] = args.sessions
    if args.clients is not None:
        sizes["paid_clients"] = (args.clients,)
    return Sizes(**sizes)


def main(arguments: list[str] | None = None) -> int:
    """The command line; exit code 0 when every part ran and nothing was lost."""
    args = _arguments(arguments)
    if not Path("/proc/stat").exists():
        print("time2plug bench reads CPU times from /proc: it needs Linux.", file=sys.stderr)
        return 1
    raise_file_limit()  # inherited by the processes under test, which raise it themselves anyway
    sizes, status = _sizes(args), Console(stderr=True)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    machine = describe(Path(tempfile.gettempdir()))
    report.show_machine(console, machine)
    began = time.monotonic()

    def tell(what: str) -> None:
        status.print(f"[dim]{time.monotonic() - began:5.0f} s  {what}[/dim]")

    try:
        figures = asyncio.run(measure(tuple(args.part) or PARTS, sizes, console, tell))
    except BenchError as error:
        print(f"time2plug bench: {error}", file=sys.stderr)
        return 1
    console.print(NOISE)
    if args.output is not None:
        whole = {"machine": machine, "sizes": vars(sizes), **figures}
        args.output.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    return 0
