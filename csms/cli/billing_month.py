"""`time2plug billing price`, `close`, `problems`: a month from sessions to statements."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from csms.cli import common
from csms.cli.billing import app, progress_bar

if TYPE_CHECKING:
    from datetime import date

    from psycopg_pool import AsyncConnectionPool

    from csms.config import Settings

Client = Annotated[str | None, typer.Option(help="Only of this client.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell, and write nothing.")]


def register() -> None:
    """Put the verbs on their group."""
    app.command()(price)
    app.command()(close)
    app.command()(problems)


def price(
    month: Annotated[
        str | None, typer.Argument(help="Month of the sessions' end, in Paris; default: the year.")
    ] = None,
    client: Client = None,
    dry_run: DryRun = False,
) -> None:
    """Give ended sessions their price, once each.

    What waits for something is listed by `time2plug billing problems` with its cause and remedy,
    and priced by the next run once it is mended. The worker does the same every few minutes.
    """
    common.run(_price(month, client, dry_run))


async def _price(month: str | None, client: str | None, dry_run: bool) -> None:
    from billing import pricing

    first = None if month is None else first_day(month)
    async with opened() as (_, pool):
        client_id = await client_id_of(pool, client)
        with progress_bar() as bar:
            task = bar.add_task("Sessions", total=None)
            done = await pricing.run(
                pool,
                now=common.now(),
                month=first,
                client_id=client_id,
                dry_run=dry_run,
                progress=lambda looked_at: bar.advance(task, looked_at),
            )
    verb = "would be priced" if dry_run else "priced"
    typer.echo(
        f"{done.sessions:,} sessions {verb}: {done.energy_wh / 1000:,.3f} kWh, "
        f"{done.amount_incl_cents / 100:,.2f} EUR with VAT; {done.estimated:,} with an estimated "
        f"split; {done.waiting:,} wait for their stop or are not under a mandate."
    )
    if done.problems:
        common.show_table(("CAUSE", "PROBLEMS"), sorted(done.problems.items()))
        typer.echo("What to do about them: time2plug billing problems")


def close(
    month: Annotated[str, typer.Argument(help="Month that has ended, like 2026-10, in Paris.")],
    client: Client = None,
    dry_run: DryRun = False,
) -> None:
    """Close a month: price, invoice, and make each client's statement from the books.

    May be killed anywhere and run again; what is closed stays as it is. Statements are sent by
    `time2plug billing send`.
    """
    common.run(_close(month, client, dry_run))


async def _close(month: str, client: str | None, dry_run: bool) -> None:
    from billing import closing

    first = first_day(month)
    async with opened() as (settings, pool):
        client_id = await client_id_of(pool, client)
        with progress_bar() as bar:
            task = bar.add_task("Clients", total=None)
            done = await closing.close_month(
                pool,
                first,
                common.now(),
                settings=settings,
                client_id=client_id,
                dry_run=dry_run,
                progress=lambda count, total: bar.update(task, completed=count, total=total),
            )
    verb = "would be made" if dry_run else "made"
    typer.echo(
        f"{done.statements:,} statements {verb} of {month}: {done.collected_cents / 100:,.2f} EUR "
        f"collected, {done.net_cents / 100:,.2f} EUR net; {done.sessions_priced:,} sessions priced "
        f"and {done.documents:,} invoices issued on the way."
    )
    if done.stopped:
        common.show_table(
            ("CLIENT", "CAUSE", "WHAT", "REMEDY"),
            [
                (str(each), stopped.cause, stopped.message, stopped.remedy)
                for each, stopped in sorted(done.stopped.items())
            ],
        )
        raise typer.Exit(common.FAILED)


def problems(client: Client = None) -> None:
    """List what keeps sessions, invoices and statements back, and what to do about each."""
    common.run(_problems(client))


async def _problems(client: str | None) -> None:
    from billing.store import problems as store

    async with opened() as (_, pool):
        client_id = await client_id_of(pool, client)
        async with pool.connection() as connection:
            found = await store.list_open(connection, client_id=client_id)
    if not found:
        typer.echo("Nothing is kept back.")
        return
    common.show_table(
        ("SINCE", "STAGE", "CAUSE", "WHAT", "REMEDY"),
        [(row.first_at, row.stage, row.cause, row.message, row.remedy) for row in found],
    )


@asynccontextmanager
async def opened() -> "AsyncIterator[tuple[Settings, AsyncConnectionPool]]":
    """The settings, and a pool on their database."""
    from csms import db

    settings = common.settings()
    async with (
        common.open_migrated(settings) as database,
        db.open_pool(database, settings) as pool,
    ):
        yield settings, pool


async def client_id_of(pool: "AsyncConnectionPool", name: str | None) -> int | None:
    """The client of that name; None for none. Raises: NotThere."""
    from csms.registry import NotThere
    from csms.store import sites

    if name is None:
        return None
    async with pool.connection() as connection:
        found = await sites.find_client(connection, name)
    if found is None:
        raise NotThere(f"There is no client {name}.")
    return found.id


def first_day(month: str) -> "date":
    """The first day of a month that is written like 2026-10; else the command ends."""
    from datetime import date

    try:
        return date.fromisoformat(f"{month}-01")
    except ValueError:
        common.fail(f"{month} is no month: write it like 2026-10", 2)
