"""Tables of what was measured, for a terminal."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from simulators.bench.boot import STEPS
from simulators.bench.messages import REQUIRED, SERVERS, Comparison, Run

_STEP_NAMES = {
    "cold": "empty directory to ready",
    "warm": "started again",
    "gateway": "gateway killed: started again",
    "database": "database killed: longest wait of a station",
    "both": "both killed: started again",
}


def show_machine(console: Console, machine: dict[str, Any]) -> None:
    """One line: figures mean nothing without it."""
    console.print(
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']} GB, "
        f"Python {machine['python']}, Linux {machine['kernel']}, "
        f"disk sync {machine['disk_sync_us']} µs, load average before {machine['load_average']}"
    )


def show_messages(console: Console, result: Comparison) -> None:
    """Servers as rows, medians over the rounds with the range behind."""
    title = f"{result.action}, 8 sampled values: {result.stations} stations, closed loop"
    columns = ("msg/CPU-s", "msg/s", "p50 / p99 ms", "db µs/msg", "others")
    table = _table(title, "server", *columns)
    for name in SERVERS:
        runs = result.rounds[name]
        if not runs:
            continue
        table.add_row(
            name,
            _spread(run.per_cpu_s for run in runs),
            f"{_median(runs, 'rate_per_s'):,.0f}",
            f"{_median(runs, 'p50_ms'):.1f} / {_median(runs, 'p99_ms'):.1f}",
            f"{_median(runs, 'database_us'):.0f}" if name == "ours" else "-",
            f"{_median(runs, 'others_cores'):.2f}",
        )
    console.print(table)
    to_plain, to_echo = result.ratios("plain"), result.ratios("echo")
    console.print(
        f"  ratio to plain: {_spread(to_plain, 1)} (required: {REQUIRED[result.action]:.0f}), "
        f"to echo: {_spread(to_echo, 2)}"
    )
    if result.kept is not None:
        console.print(
            f"  held by the database, as answered: {result.kept.values:,} values of "
            f"{result.kept.messages:,} messages in {result.kept.sessions:,} sessions"
        )


def show_open_loop(console: Console, figures: dict[str, Any]) -> None:
    """Latency at half of the maximum, both settings of the collector."""
    most, paced = figures["maximum"], figures["paced"]
    title = (
        f"{figures['action']}, {paced[0]['stations']:,} stations, open loop at "
        f"{paced[0]['rate_per_s']:,.0f} msg/s, half of {most['rate_per_s']:,.0f}"
    )
    columns = ("msg/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "msg/CPU-s", "others")
    table = _table(title, "collector", *columns)
    for one in paced:
        latencies = [f"{one[name]:.1f}" for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms")]
        table.add_row(
            one["collector"],
            f"{one['answered_per_s']:,.0f}",
            *latencies,
            f"{one['per_cpu_s']:,.0f}",
            f"{one['others_cores']:.2f}",
        )
    console.print(table)
    p99_ms, wanted_ms = paced[0]["p99_ms"], figures["p99_wanted_ms"]
    console.print(f"  p99 {_verdict(p99_ms <= wanted_ms)} {wanted_ms:.0f} ms")


def show_storm(console: Console, figures: dict[str, Any]) -> None:
    """Storms without and with passwords; memory."""
    columns = ("accepted", "seconds", "gateway CPU s", "db CPU s", "boot p50 / p99 ms")
    stations = figures["storms"][0]["stations"]
    table = _table(f"{stations:,} stations at once", "profile", *columns)
    for one in figures["storms"]:
        table.add_row(
            str(one["security_profile"]),
            f"{one['accepted']:,}",
            f"{one['seconds']:.1f}",
            f"{one['gateway_cpu_s']:.2f}",
            f"{one['database_cpu_s']:.2f}",
            f"{one['boot_p50_ms']:.0f} / {one['boot_p99_ms']:.0f}",
        )
    console.print(table)
    cpu_s, wanted_s = figures["storms"][0]["gateway_cpu_s"], figures["cpu_wanted_s"]
    console.print(f"  gateway CPU, profile 0: {_verdict(cpu_s <= wanted_s)} {wanted_s:.1f} s")
    memory = figures["memory"]
    each, wanted = memory["bytes_per_station"], memory["bytes_per_station_wanted"]
    console.print(
        f"  memory per station with its session: {each / 1000:.1f} kB "
        f"({memory['after_start_bytes_per_station'] / 1000:.1f} kB before its messages), "
        f"{_verdict(each <= wanted)} {wanted / 1000:.0f} kB"
    )


def show_boot(console: Console, figures: dict[str, Any]) -> None:
    """Seconds to ready."""
    table = _table("seconds to service", "from", "median", "range")
    for step in STEPS:
        taken = [one[step] for one in figures["rounds"]]
        low_high = f"{min(taken):.2f} to {max(taken):.2f}"
        table.add_row(_STEP_NAMES[step], f"{figures['median_s'][step]:.2f}", low_high)
    console.print(table)


def show_nodes(console: Console, figures: dict[str, Any]) -> None:
    """Gateways as rows, where the cores went behind; then idle stations and orders."""
    runs = figures["throughput"]
    title = f"several gateways, one database: {runs[0]['stations']:,} stations, closed loop"
    columns = ("msg/s", "x 1", "msg/CPU-s", "p50 / p99 ms", "db µs/msg", "cores: gw / db / load")
    table = _table(title, "gateways", *columns, "others")
    for one in runs:
        cores = [one[f"{name}_cores"] for name in ("gateways", "database", "load")]
        table.add_row(
            f"{one['nodes']}",
            f"{one['rate_per_s']:,.0f}",
            f"{one['rate_per_s'] / runs[0]['rate_per_s']:.2f}",
            f"{one['per_gateway_cpu_s']:,.0f}",
            f"{one['p50_ms']:.1f} / {one['p99_ms']:.1f}",
            f"{one['database_us']:.0f}",
            " / ".join(f"{used:.2f}" for used in cores),
            f"{one['others_cores'] + one['stolen_cores']:.2f}",
        )
    console.print(table)
    for one in runs:
        console.print(f"  {one['nodes']} gateways, limited by {one['limited_by']}")
    _show_idle(console, figures["idle"])


def _show_idle(console: Console, idle: dict[str, Any]) -> None:
    console.print(
        f"  {idle['stations']:,} idle stations on {idle['nodes']} gateways: in after "
        f"{idle['setup_s']:.1f} s; {idle['bytes_per_station'] / 1000:.1f} kB each "
        f"(a gateway without any: {idle['gateway_bytes_before'] / 1e6:.0f} MB); "
        f"all gateways {idle['gateways_cores'] * 100:.1f} % of a core, "
        f"the database {idle['database_cores'] * 100:.1f} %"
    )
    taken = idle["orders"]
    console.print(
        f"  an order from the web part to a station and back: "
        f"{taken['p50_ms']:.1f} ms (p50), {taken['p99_ms']:.1f} ms (p99)"
    )


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _median(runs: Sequence[Run], name: str) -> float:
    return statistics.median(float(getattr(run, name)) for run in runs)


def _spread(values: Iterable[float], decimals: int = 0) -> str:
    """Median, and from the least to the most."""
    known = list(values)
    low, high = f"{min(known):,.{decimals}f}", f"{max(known):,.{decimals}f}"
    return f"{statistics.median(known):,.{decimals}f} ({low} to {high})"


def _verdict(kept: bool) -> str:
    return "within" if kept else "NOT within"
