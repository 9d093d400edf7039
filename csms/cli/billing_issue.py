"""`time2plug billing issue`, `billing export platform`: documents, and files for platforms."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from csms.cli import common
from csms.cli.billing import app, export


def register() -> None:
    """Put the verbs on their groups."""
    app.command()(issue)
    export.command("platform")(export_platform)


def issue(
    month: Annotated[str, typer.Argument(help="Month of supply, like 2026-10, in Paris time.")],
    client: Annotated[str | None, typer.Option(help="Only of this client.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell, and write nothing.")] = False,
) -> None:
    """Issue the invoices of a month's priced sessions, in the name of each client.

    What was issued is not issued again. What is kept back is told with its cause and its remedy,
    and issued by the next run once it is mended.
    """
    common.run(_issue(month, client, dry_run))


async def _issue(month: str, client: str | None, dry_run: bool) -> None:
    from datetime import date

    from billing.issuing import issue_month
    from csms import db
    from csms.registry import NotThere
    from csms.store import sites
    from reporting.collection import Month

    try:
        chosen = Month.parse(month)
    except ValueError as error:
        common.fail(str(error), 2)
    settings = common.settings()
    async with (
        common.open_migrated(settings) as database,
        db.open_pool(database, settings) as pool,
    ):
        client_id = None
        if client is not None:
            async with pool.connection() as connection:
                found = await sites.find_client(connection, client)
            if found is None:
                raise NotThere(f"There is no client {client}.")
            client_id = found.id
        with _bar("Clients") as step:
            issued = await issue_month(
                pool,
                date(chosen.year, chosen.month, 1),
                common.now(),
                settings=settings,
                client_id=client_id,
                dry_run=dry_run,
                progress=step,
            )
    verb = "would be issued" if dry_run else "issued"
    typer.echo(
        f"{issued.documents} invoices for {issued.sessions} sessions {verb}: "
        f"{issued.gross_cents // 100:,}.{issued.gross_cents % 100:02} EUR with VAT"
    )
    for note in issued.notes:
        typer.echo(f"note: {note}")
    if issued.lacks:
        common.show_table(
            ("CAUSE", "WHAT", "REMEDY"),
            [(lack.cause, lack.message, lack.remedy) for lack in issued.lacks],
        )


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar; call the result with how many are done, and of how many."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def export_platform() -> None:
    """Lay down invoices between businesses (Factur-X) and daily sums of sales to consumers in the
    folder for an approved platform (T2P_PLATFORM_DROP_DIR), each once.

    Laid down is not transmitted: that is the platform's to do, and to say.
    """
    common.run(_export_platform())


async def _export_platform() -> None:
    from billing import platform
    from csms import db

    settings = common.settings()
    folder = platform.drop_folder(settings)
    async with (
        common.open_migrated(settings) as database,
        db.open_pool(database, settings) as pool,
    ):
        laid = await platform.export(pool, folder, common.now(), settings=settings)
    typer.echo(
        f"{laid.invoices} invoices and {laid.aggregates} daily sums "
        f"{platform.LAID_DOWN['en']}: {settings.platform_drop_dir}"
    )
