"""`time2plug billing send`, `disputes`, `decide`: statements go out, and what becomes of them."""

from typing import Annotated

import typer

from csms.cli import common
from csms.cli.billing import app, progress_bar
from csms.cli.billing_month import Client, DryRun, client_id_of, first_day, opened

LISTED_MAX = 1000


def register() -> None:
    """Put the verbs on their group."""
    app.command()(send)
    app.command()(disputes)
    app.command()(decide)


def send(
    month: Annotated[str, typer.Argument(help="Month of the statements, like 2026-10.")],
    client: Client = None,
    dry_run: DryRun = False,
) -> None:
    """Send the statements of a month to managers and contacts, with the PDF; each once.

    Their invoices lie open from now on. The ten days to contest run from the first delivery that
    is proved.
    """
    common.run(_send(month, client, dry_run))


async def _send(month: str, client: str | None, dry_run: bool) -> None:
    from billing import sending

    first = first_day(month)
    async with opened() as (settings, pool):
        client_id = await client_id_of(pool, client)
        with progress_bar() as bar:
            task = bar.add_task("Statements", total=None)
            done = await sending.send_month(
                pool,
                first,
                common.now(),
                settings=settings,
                client_id=client_id,
                dry_run=dry_run,
                progress=lambda count, total: bar.update(task, completed=count, total=total),
            )
    verb = "would be sent" if dry_run else "sent"
    typer.echo(
        f"{done.statements:,} statements {verb}, {done.net_cents / 100:,.2f} EUR net in all; "
        f"{done.invoices:,} invoices lie open since; {done.contacts:,} contacts beside managers."
    )


def disputes(client: Client = None) -> None:
    """List what clients contest and nobody has decided."""
    common.run(_disputes(client))


async def _disputes(client: str | None) -> None:
    from billing.store import disputes as store

    async with opened() as (_, pool):
        client_id = await client_id_of(pool, client)
        async with pool.connection() as connection:
            found = await store.list_disputes(
                connection, client_id=client_id, is_open=True, limit=LISTED_MAX
            )
    if not found:
        typer.echo("Nothing is contested.")
        return
    common.show_table(
        ("DISPUTE", "CLIENT", "MONTH", "WHAT", "SINCE", "HELD, EUR", "REASON"),
        [
            (
                row.id,
                row.client,
                f"{row.month:%Y-%m}",
                row.invoice_number,
                row.opened_at,
                f"{row.held_cents / 100:.2f}",
                row.reason,
            )
            for row in found
        ],
    )


def decide(
    dispute_id: Annotated[int, typer.Argument(help="As `billing disputes` lists it.")],
    decision: Annotated[str, typer.Argument(help="upheld or rejected.")],
    reason: Annotated[str, typer.Argument(help="Why; the client reads it.")],
    credit: Annotated[
        bool, typer.Option("--credit", help="Upheld: give it back by a credit note.")
    ] = False,
) -> None:
    """Decide what a client contests. What is upheld comes into the next statement."""
    if decision not in ("upheld", "rejected"):
        common.fail("a dispute is upheld or rejected", 2)
    common.run(_decide(dispute_id, decision == "upheld", reason, credit))


async def _decide(dispute_id: int, is_upheld: bool, reason: str, credit: bool) -> None:
    from billing import disputes as contests
    from csms import db
    from csms.clients import Actor

    async with opened() as (settings, pool), db.transaction(pool) as connection:
        made = await contests.decide(
            connection,
            dispute_id,
            "upheld" if is_upheld else "rejected",
            reason,
            correction="credit" if credit else None,
            actor=Actor(common.ACTOR),
            now=common.now(),
            settings=settings,
        )
    typer.echo(f"Decided{'' if made is None else f'; document {made} puts it right'}.")
