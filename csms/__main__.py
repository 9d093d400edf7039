"""The `time2plug` command.

Verbs live in csms.cli; those of a whole process (serve, demo, simulate, bench, check, replay)
only hand over here. Nothing slow is imported before a verb runs.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from csms.cli import (
    billing,
    billing_issue,
    billing_late,
    billing_month,
    billing_pay,
    billing_remind,
    billing_send,
    billing_supply,
    common,
    data,
    keys,
    report_push,
    reports,
    reports_analysis,
    reports_irve,
    reports_windows,
    stations,
    tokens,
    users,
)

app = typer.Typer(
    name="time2plug",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Supervision of charging points: an OCPP central system whose sessions are never lost. "
    "Settings are environment variables T2P_..., or a time2plug.toml; without "
    "T2P_DATABASE_URL an embedded PostgreSQL runs in ./data. "
    "Start with `time2plug demo`, or with `time2plug serve`.",
)
app.add_typer(data.app)
app.add_typer(stations.app, name="station")
app.add_typer(tokens.app, name="token")
app.add_typer(keys.app, name="key")
app.add_typer(users.app, name="user")
report_push.register(reports.app)
reports_windows.register(reports.app)
reports_analysis.register(reports.app)
app.add_typer(reports.app, name="report")
app.add_typer(billing.app, name="billing")
billing_issue.register()
billing_late.register()
billing_month.register()
billing_pay.register()
billing_remind.register()
billing_send.register()
billing_supply.register()
reports_irve.register()

_HANDED_OVER = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command()
def serve(
    only: Annotated[
        str | None, typer.Option(help="Run one part only: gateway, web or worker.")
    ] = None,
) -> None:
    """Run the server: OCPP gateway, web pages and API, periodic jobs, in one process.

    Stations connect to ws://HOST:9000/ocpp/ID, people to http://HOST:8080/. Ctrl-C ends it cleanly.
    """
    if only not in (None, "gateway", "web", "worker"):
        common.fail("--only takes gateway, web or worker", 2)
    settings = common.settings()
    raise typer.Exit(_code(common.load_part("csms.serve", "run")(settings, only)))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the job.")] = False,
    sessions: Annotated[
        Path | None,
        typer.Option(help="Sessions to replay (CSV); default: generated ones of the same shape."),
    ] = None,
) -> None:
    """Show the main job: replay a month of real sessions of 24 garages, collect, compare.

    Starts everything, provisions the garages, replays the month through OCPP, writes the monthly
    collection and compares it with the simulators' own count; then stays up until Ctrl-C.
    """
    settings = common.settings()
    run = common.load_part("csms.demo", "run")
    raise typer.Exit(_code(run(settings, once=once, sessions=sessions)))


@app.command(context_settings=_HANDED_OVER)
def simulate(context: typer.Context) -> None:
    """Run simulated charge points against any central system."""
    common.load_part("simulators.cli", "app")(context.args, prog_name="time2plug simulate")


@app.command(context_settings=_HANDED_OVER)
def bench(context: typer.Context) -> None:
    """Measure: durable messages per CPU second, beside the plain way and a bare echo."""
    raise typer.Exit(_code(common.load_part("simulators.bench", "main")(context.args)))


@app.command()
def check() -> None:
    """Check the promises on the data itself; exit code 1 when one is broken."""
    raise typer.Exit(_code(common.load_part("csms.checks", "run")(common.settings())))


@app.command()
def replay(
    start: Annotated[
        datetime | None, typer.Option("--from", help="Only from this moment on (UTC).")
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", help="Only before this moment (UTC).")
    ] = None,
    station: Annotated[
        list[str] | None, typer.Option(help="Only this station; again for more.")
    ] = None,
) -> None:
    """Feed a stretch of the journal through the recorder into a fresh database, and compare.

    Arrives at the same sessions, or says which differ.
    """
    run = common.load_part("csms.replay", "run")
    raise typer.Exit(_code(run(common.settings(), start, end, station or None)))


def _code(result: object) -> int:
    """Exit code from what a part returned: a number, or nothing for success."""
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry of the console script."""
    app(prog_name="time2plug")


if __name__ == "__main__":
    main()
