"""`time2plug billing supply`, `lots`, `meter`: what the operator supplies to co-owners itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from csms.cli import common
from csms.cli.billing import app, progress_bar
from csms.cli.billing_month import Client, DryRun, client_id_of, first_day, opened

if TYPE_CHECKING:
    from billing.lots_csv import LotsReport


def register() -> None:
    """Put the verbs on their group."""
    app.command()(supply)
    app.command()(lots)
    app.command()(meter)


def supply(
    month: Annotated[str, typer.Argument(help="Month that has ended, like 2026-10, in Paris.")],
    client: Client = None,
    dry_run: DryRun = False,
) -> None:
    """Bill co-owners for a month of what the operator supplies them itself (article 5.4 d).

    Each lot's holder is billed once for a month: the energy at the contract's price, and the
    telemetering. Provisions pay as far as they go; of holdings that have ended what is left is
    credited, to be transferred back. What keeps something from being billed is listed by
    `time2plug billing problems`, and is on the next bill once it is mended.
    """
    common.run(_supply(month, client, dry_run))


async def _supply(month: str, client: str | None, dry_run: bool) -> None:
    from billing import supplying
    from billing.money import euros
    from csms.clients import Actor

    async with opened() as (settings, pool):
        client_id = await client_id_of(pool, client)
        with progress_bar() as bar:
            task = bar.add_task("Clients", total=None)
            done = await supplying.bill_month(
                pool,
                first_day(month),
                common.now(),
                settings=settings,
                client_id=client_id,
                actor=Actor(common.ACTOR),
                dry_run=dry_run,
                progress=lambda count, total: bar.update(task, completed=count, total=total),
            )
        async with pool.connection() as connection:
            refunds = await supplying.list_refunds(connection, settings)
    would = "would be " if dry_run else ""
    typer.echo(
        f"{done.bills:,} bills {would}issued: {done.energy_wh / 1000:,.3f} kWh, "
        f"{euros(done.amount_incl_cents)} EUR with VAT, of which provisions pay "
        f"{euros(done.provision_cents)} EUR."
    )
    if done.given_back_cents:
        typer.echo(f"{euros(done.given_back_cents)} EUR of provisions {would}credited.")
    if refunds:
        common.show_table(
            ("TO GIVE BACK", "LOT", "UNTIL", "EUR"),
            [
                (each.number, each.lot, each.due_on, str(euros(each.amount_cents)))
                for each in refunds
            ],
        )
    if done.problems:
        typer.echo(
            f"{done.problems:,} things keep something from being billed: "
            "time2plug billing problems says what to do."
        )


def lots(
    file: Annotated[Path, typer.Argument(help="CSV with the columns of the list of lots.")],
) -> None:
    """Enter lots and co-owners from a CSV file, line by line: a bad line stops only itself.

    Columns: site;lot;station;evse;email;given_name;family_name;from;signed;provision. A co-owner
    who is no driver yet becomes one, and is written to by nobody.
    """
    report = common.run(_lots(file))
    typer.echo(
        f"{report.lots:,} lots, {report.holdings:,} holdings and {report.people:,} co-owners are "
        f"new; {report.known:,} lines were known."
    )
    for bad in report.problems:
        column = f", {bad.column}" if bad.column else ""
        typer.echo(f"Line {bad.line}{column}: {bad.cause}. To do: {bad.remedy}.", err=True)
    if report.problems:
        raise typer.Exit(common.FAILED)


async def _lots(file: Path) -> "LotsReport":
    from billing import lots_csv
    from csms.clients import Actor
    from csms.provisioning import reading

    data = reading.read_bytes(file)
    async with opened() as (_, pool):
        with progress_bar() as bar:
            task = bar.add_task("Lots", total=None)
            return await lots_csv.import_lots(
                pool,
                data,
                actor=Actor(common.ACTOR),
                now=common.now(),
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )


def meter(
    month: Annotated[str, typer.Argument(help="Month, like 2026-10, in Paris.")],
    client: Annotated[str, typer.Option(help="The client.")],
) -> None:
    """Show the meter of a supply beside its points, for each period between two readings that ends
    in a month; readings are entered by POST /api/v1/supply-readings.
    """
    common.run(_meter(month, client))


async def _meter(month: str, client: str) -> None:
    from datetime import timedelta

    from billing import lots
    from csms.deadlines import add_months

    first = first_day(month)
    async with opened() as (settings, pool):
        client_id = await client_id_of(pool, client)
        assert client_id is not None
        async with pool.connection() as connection:
            found = await lots.compare(
                connection,
                client_id,
                first,
                add_months(first, 1) - timedelta(days=1),
                settings.supply_difference_percent,
            )
    if not found:
        typer.echo("There are no two readings of which the later one is of that month.")
        return
    common.show_table(
        ("SITE", "FROM", "TO", "METER, kWh", "POINTS, kWh", "DIFFERENCE, kWh", "%", ""),
        [
            (
                period.site_id,
                f"{period.from_at:%Y-%m-%d %H:%M}Z",
                f"{period.to_at:%Y-%m-%d %H:%M}Z",
                f"{period.meter_wh / 1000:,.3f}",
                f"{period.points_wh / 1000:,.3f}",
                f"{told.difference_wh / 1000:,.3f}",
                "" if told.percent is None else f"{told.percent}",
                "look into it" if told.is_flagged else "",
            )
            for period, told in found
        ],
    )
