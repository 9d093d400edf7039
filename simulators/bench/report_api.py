"""Tables of how late the API answers, for a terminal: the slowest operation first."""

from typing import Any

from rich.console import Console
from rich.table import Table


def show(console: Console, figures: dict[str, Any]) -> None:
    """Operations and callers as rows, then all together, then what row-level security costs."""
    held = figures["held"]
    title = (
        f"the API with {held['stations']:,} stations, {held['sessions']:,} sessions, "
        f"{held['meter_values']:,} values (filled in {figures['filled_s']:.0f} s): "
        f"{figures['callers']} callers at once"
    )
    table = Table(title=title, title_justify="left")
    for column in ("operation", "as"):
        table.add_column(column)
    for column in ("rows", "p50 ms", "p95 ms", "p99 ms", "answers/s", "CPU ms: web / db"):
        table.add_column(column, justify="right")
    for one in figures["operations"]:
        low, high = one["p95_ms_range"]
        table.add_row(
            one["operation"],
            one["caller"],
            f"{one['rows']:,}",
            f"{one['p50_ms']:.1f}",
            f"{one['p95_ms']:.1f} ({low:.1f} to {high:.1f})",
            f"{one['p99_ms']:.1f}",
            f"{one['rate_per_s']:,.0f}",
            f"{one['web_ms']:.1f} / {one['database_ms']:.1f}",
        )
    console.print(table)
    for kind, times in figures["all"].items():
        console.print(
            f"  {kind}, each operation equally often: p50 {times['p50_ms']:.1f} ms, "
            f"p95 {times['p95_ms']:.1f} ms, p99 {times['p99_ms']:.1f} ms"
        )
    _show_row_security(console, figures["row_security"])
    console.print(f"  others' cores meanwhile: {figures['others_cores']:.2f}")


def _show_row_security(console: Console, ratios: dict[str, dict[str, Any]]) -> None:
    table = Table(
        title="row-level security: a manager's time over an operator's, same rows",
        title_justify="left",
    )
    table.add_column("operation")
    for column in ("p50 ratio", "db CPU ms more"):
        table.add_column(column, justify="right")
    for name, ratio in ratios.items():
        low, high = ratio["p50_range"]
        table.add_row(
            name,
            f"{ratio['p50']:.2f} ({low:.2f} to {high:.2f})",
            f"{ratio['more_database_ms']:.1f}",
        )
    console.print(table)
