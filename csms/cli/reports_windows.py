"""`time2plug report windows`, `powers`: what people enter for the reports, from files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from csms.cli import common
from csms.cli.billing_month import opened

if TYPE_CHECKING:
    from reporting.windows import Imported


def register(app: typer.Typer) -> None:
    """Put the verbs on their group."""
    app.command()(windows)
    app.command()(powers)


def windows(
    file: Annotated[
        Path, typer.Argument(help="CSV with site;station;evse;kind;from;to;cause.", exists=True)
    ],
) -> None:
    """Enter windows of planned work and exclusions from a CSV file, line by line.

    kind is planned or excluded; times are those of Paris, as 22/11/2026 08:00. A line with no
    station is about the site as a whole, one with no evse about the station. The same line again
    enters nothing; a window is never changed, it is revoked by
    POST /api/v1/availability-windows/{id}/revoke.
    """
    _told("windows", common.run(_windows(file)))


def powers(
    file: Annotated[Path, typer.Argument(help="CSV with site;from;power_w.", exists=True)],
) -> None:
    """Enter the power that sites have subscribed from a CSV file, line by line.

    A power holds from its day on, in Paris, until the next one of its site.
    """
    _told("subscribed powers", common.run(_powers(file)))


def _told(what: str, done: "Imported") -> None:
    typer.echo(f"{done.entered:,} {what} are new; {done.known:,} lines were known.")
    for bad in done.problems:
        column = f", {bad.column}" if bad.column else ""
        typer.echo(f"Line {bad.line}{column}: {bad.cause}. To do: {bad.remedy}.", err=True)
    if done.problems:
        raise typer.Exit(common.FAILED)


async def _windows(file: Path) -> "Imported":
    from csms.clients import Actor
    from csms.provisioning import reading
    from reporting import windows as entries

    data = reading.read_bytes(file)
    async with opened() as (_, pool):
        actor = Actor(common.ACTOR)
        return await entries.import_windows(pool, data, actor=actor, now=common.now())


async def _powers(file: Path) -> "Imported":
    from csms.clients import Actor
    from csms.provisioning import reading
    from reporting import windows as entries

    data = reading.read_bytes(file)
    async with opened() as (_, pool):
        actor = Actor(common.ACTOR)
        return await entries.import_powers(pool, data, actor=actor, now=common.now())
