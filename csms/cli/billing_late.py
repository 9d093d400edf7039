"""`time2plug billing late`: what late payment costs, in both directions."""

import typer

from csms.cli import common
from csms.cli.billing import app
from csms.cli.billing_month import DryRun, opened


def register() -> None:
    """Put the verb on its group."""
    app.command()(late)


def late(dry_run: DryRun = False) -> None:
    """Book what late payouts cost, each once, and list what late clients owe.

    Interest is three times the legal rate of each half year, once a person has verified it;
    professionals get or owe 40 EUR too. What clients owe is booked nowhere: a person claims it.
    """
    common.run(_late(dry_run))


async def _late(dry_run: bool) -> None:
    from billing import late_fees
    from csms import deadlines
    from csms.clients import Actor

    now = common.now()
    async with opened() as (_, pool), pool.connection() as connection:
        done = await late_fees.reckon(connection, now, actor=Actor(common.ACTOR), dry_run=dry_run)
        claims = await late_fees.list_claims(connection, deadlines.paris_day(now))
    typer.echo(
        f"{done.payouts:,} late payouts {'would be' if dry_run else 'are newly'} booked: "
        f"{done.interest_cents / 100:,.2f} EUR of interest, {done.indemnity_cents / 100:,.2f} EUR "
        "of indemnities."
    )
    if claims:
        common.show_table(
            ("INVOICE", "CLIENT", "DUE", "OPEN, EUR", "INTEREST, EUR", "INDEMNITY, EUR"),
            [
                (
                    each.number,
                    each.client,
                    each.due_on,
                    f"{each.open_cents / 100:.2f}",
                    "no rate" if each.stopped else f"{each.interest_cents / 100:.2f}",
                    f"{each.indemnity_cents / 100:.2f}",
                )
                for each in claims
            ],
        )
    lacking = {why.semester: why for why in done.stopped.values()} | {
        each.stopped.semester: each.stopped for each in claims if each.stopped is not None
    }
    for _, why in sorted(lacking.items()):
        typer.echo(f"{why.message} {why.remedy}", err=True)
    if lacking:
        raise typer.Exit(common.FAILED)
