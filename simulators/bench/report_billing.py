"""Tables of a month that is billed, and paid, for a terminal: each stage at each size, and the
growth."""

from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.table import Table


def show(console: Console, figures: list[dict[str, Any]]) -> None:
    """Sizes and stages as rows, then what a session costs from one size to the next."""
    table = Table(title="a month billed, by the verbs of the product", title_justify="left")
    table.add_column("sessions", justify="right")
    table.add_column("stage")
    for column in ("s", "sessions/s", "CPU s: verb / db", "memory MB", "others' cores"):
        table.add_column(column, justify="right")
    for one in figures:
        for stage in one["stages"]:
            table.add_row(
                f"{one['sessions']:,}",
                stage["name"],
                f"{stage['wall_s']:.1f}",
                f"{one['sessions'] / stage['wall_s']:,.0f}",
                f"{stage['cpu_s']:.1f} / {stage['database_cpu_s']:.1f}",
                f"{stage['memory_bytes'] / 2**20:,.0f}",
                f"{stage['others_cores']:.2f}",
            )
    console.print(table)
    for one in figures:
        held, made = one["held"], one["made"]
        console.print(
            f"  {held['sessions']:,} sessions of {held['clients']:,} clients and "
            f"{held['drivers']:,} drivers, {held['meter_readings']:,} readings (filled in "
            f"{one['filled_s']:.0f} s): {made['documents']:,} documents, {made['entries']:,} "
            f"entries in the books, {made['statements']:,} statements of "
            f"{made['statement_lines']:,} lines"
        )
    for small, large in pairwise(figures):
        times = large["sessions"] / small["sessions"]
        growth = ", ".join(
            f"{a['name']} {b['wall_s'] / a['wall_s'] / times:.2f}"
            for a, b in zip(small["stages"], large["stages"], strict=True)
        )
        console.print(
            f"  time per session, {large['sessions']:,} over {small['sessions']:,}: {growth} "
            "(1 is linear)"
        )


def show_payments(console: Console, figures: list[dict[str, Any]]) -> None:
    """Clients and stages as rows, then what a client costs from one size to the next."""
    table = Table(title="clients paid, by the verbs of the product", title_justify="left")
    table.add_column("clients", justify="right")
    table.add_column("stage")
    for column in ("s", "clients/s", "transactions/client", "CPU s: verb / db", "memory MB"):
        table.add_column(column, justify="right")
    for one in figures:
        for stage in one["stages"]:
            table.add_row(
                f"{one['clients']:,}",
                stage["name"],
                f"{stage['wall_s']:.1f}",
                f"{one['clients'] / stage['wall_s']:,.0f}",
                f"{stage['commits'] / one['clients']:.2f}",
                f"{stage['cpu_s']:.1f} / {stage['database_cpu_s']:.1f}",
                f"{stage['memory_bytes'] / 2**20:,.0f}",
            )
    console.print(table)
    for one in figures:
        console.print(
            f"  {one['clients']:,} clients paid {one['paid']['amount_cents'] / 100:,.2f} EUR of "
            f"{one['receipts']:,} receipts, by a file of {one['file_bytes']:,} bytes (filled in "
            f"{one['filled_s']:.0f} s)"
        )
    for small, large in pairwise(figures):
        times = large["clients"] / small["clients"]
        growth = ", ".join(
            f"{a['name']} {b['wall_s'] / a['wall_s'] / times:.2f}"
            for a, b in zip(small["stages"], large["stages"], strict=True)
        )
        console.print(
            f"  time per client, {large['clients']:,} over {small['clients']:,}: {growth} "
            "(1 is linear)"
        )


def show_collection(console: Console, figures: dict[str, Any]) -> None:
    """Each kind of file as a row."""
    title = f"{figures['sessions']:,} sessions of a month written, by the verb of the product"
    table = Table(title=title, title_justify="left")
    table.add_column("file")
    for column in ("s", "sessions/s", "CPU s: verb / db", "memory MB", "file MB"):
        table.add_column(column, justify="right")
    for kind, stage in zip(figures["bytes"], figures["stages"], strict=True):
        table.add_row(
            kind,
            f"{stage['wall_s']:.1f}",
            f"{figures['sessions'] / stage['wall_s']:,.0f}",
            f"{stage['cpu_s']:.1f} / {stage['database_cpu_s']:.1f}",
            f"{stage['memory_bytes'] / 2**20:,.0f}",
            f"{figures['bytes'][kind] / 10**6:,.1f}",
        )
    console.print(table)
