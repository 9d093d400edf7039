"""`time2plug billing`: money received, the proof of the books, files for accountants.

Other modules of csms.cli named billing_* register their verbs on `app` and `export` too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from csms.cli import common

if TYPE_CHECKING:
    from rich.progress import Progress

    from billing.fec import Written
    from billing.receipts import Received
    from billing.receipts_csv import ImportReport

app = typer.Typer(
    no_args_is_help=True,
    help="Billing: receipts, the checks of the books, files for accountants. Every verb may run "
    "again: what is there already stays as it is.",
)
export = typer.Typer(no_args_is_help=True, help="Write files for accountants and platforms.")
app.add_typer(export, name="export")

Simulated = Annotated[
    bool, typer.Option("--simulated", help="Of a demonstration: labelled so wherever it shows.")
]


@contextmanager
def progress_bar() -> Iterator["Progress"]:
    """A bar with a count and the time left, on standard error; gone at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        yield shown


@app.command()
def receipt(
    source_key: Annotated[str, typer.Argument(help="Reference of the bank's line; each once.")],
    amount: Annotated[str, typer.Argument(help="Euros, as 12,34; below 0 with --reverses.")],
    day: Annotated[str, typer.Argument(help="Value date, as 22/11/2026 or 2026-11-22.")],
    person: Annotated[
        str | None, typer.Option(help="The driver's e-mail address or number.")
    ] = None,
    invoice: Annotated[
        str | None, typer.Option(help="Number of the invoice; without, the oldest are paid.")
    ] = None,
    means: Annotated[
        str, typer.Option(help="transfer, direct_debit, card, wallet or other.")
    ] = "transfer",
    reverses: Annotated[
        str | None, typer.Option(help="Key of the receipt that this one undoes, whole.")
    ] = None,
    simulated: Simulated = False,
) -> None:
    """Enter money received from a driver, or gone back (put -- before an amount below 0).

    It pays the invoice, then her oldest ones; the rest is hers in advance. The same again enters
    nothing.
    """
    from billing import csv_lines
    from billing.money import euros
    from csms.registry import Refusal

    try:
        amount_cents = csv_lines.parse_amount(amount)
        received_on = csv_lines.parse_day(day)
    except Refusal as refusal:
        common.fail(str(refusal), 2)
    entered = common.run(
        _receive(
            source_key=source_key,
            amount_cents=amount_cents,
            received_on=received_on,
            means=means,
            person=person,
            invoice_number=invoice,
            reverses_key=reverses,
            simulated=simulated,
        )
    )
    found = entered.receipt
    rest_cents = 0 if found.reverses_id else found.amount_cents - found.allocated_cents
    typer.echo(
        f"Receipt {found.source_key} of driver {found.person_id} "
        f"{'is entered' if entered.is_new else 'was there already: nothing is new'}; "
        f"{euros(found.allocated_cents)} EUR are on invoices, {euros(rest_cents)} EUR in advance."
    )


@app.command("import-receipts")
def import_receipts(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV file.")],
    simulated: Simulated = False,
) -> None:
    """Enter the receipts of a CSV file, line by line: a bad line stops only itself.

    Columns: source_key;person;invoice;amount;date;means;reverses. person is an e-mail address or a
    number; amounts are euros (1 234,56), days 22/11/2026 or 2026-11-22. The same file again enters
    nothing. Exit code 1 when a line was bad: mend it and import the file again.
    """
    from billing.money import euros

    if not path.is_file():
        common.fail(f"there is no file {path}", 2)
    report = common.run(_import(path, simulated))
    for bad in report.problems:
        place = f"line {bad.line}" + (f", {bad.column}" if bad.column else "")
        typer.echo(f"{place}: {bad.cause} -> {bad.remedy}", err=True)
    typer.echo(
        f"{report.new} new ({euros(report.in_cents)} EUR in, {euros(report.out_cents)} EUR back), "
        f"{report.known} known, {len(report.problems)} bad"
    )
    if report.problems:
        raise typer.Exit(common.FAILED)


@app.command()
def check() -> None:
    """Prove the books on the data itself; exit code 1 when a promise is broken.

    It reads only, and the server may run meanwhile.
    """
    if not common.run(_check()):
        raise typer.Exit(common.FAILED)


Year = Annotated[int, typer.Option(help="Calendar year, like 2026.")]
Folder = Annotated[Path, typer.Option("--output", help="Folder to write to.")]


@export.command("fec")
def export_fec(year: Year, output: Folder = Path()) -> None:
    """Write the operator's own books of a year as FEC (LPF, A47 A-1): SIRENFECAAAAMMJJ.txt.

    Needs T2P_OPERATOR_SIREN. A year that has not ended gives a provisional file.
    """
    _tell(common.run(_export(year, None, output)))
    if year >= common.now().year:
        typer.echo("The year has not ended: the file is provisional.")


@export.command("sales")
def export_sales(
    client: Annotated[int, typer.Option(help="Number of the client.")],
    year: Year,
    output: Folder = Path(),
) -> None:
    """Write a client's sales journal of a year for its accountant: ventes-C00012-2026.txt.

    An extract in the layout of the FEC; the FEC of the client is its accountant's to make.
    """
    _tell(common.run(_export(year, client, output)))


def _tell(written: "Written") -> None:
    from billing.money import euros

    typer.echo(
        f"{written.path}: {written.entries} entries, {written.lines} lines, debits and credits of "
        f"{euros(written.debit_cents)} EUR each"
    )


async def _export(year: int, client_id: int | None, folder: Path) -> "Written":
    """The sales of a client, or (None) the books of the operator."""
    from billing import fec
    from csms import db

    settings = common.settings()
    async with (
        common.open_migrated(settings) as database,
        await db.connect(database, application_name="time2plug billing export") as connection,
    ):
        if client_id is None:
            return await fec.write_fec(connection, settings, year, folder)
        return await fec.write_sales(connection, client_id, year, folder)


async def _check() -> bool:
    """Whether every promise is kept; what is not is printed."""
    from rich.console import Console

    from billing import checks
    from csms import db
    from csms.checks import show

    async with (
        common.open_migrated() as database,
        await db.connect(database, application_name="time2plug billing check") as connection,
    ):
        found = await checks.find_offences(connection, common.now())
    show(found, Console())
    return not any(offences for _, offences in found)


async def _receive(*, person: str | None, **values: Any) -> "Received":
    from billing import receipts
    from billing.store import receipts as store
    from csms.clients import Actor
    from csms.registry import NotThere

    now = common.now()
    async with common.transaction() as connection:
        person_id = None
        if person is not None:
            who = int(person) if person.isdecimal() else person
            person_id = await store.find_driver(connection, who)
            if person_id is None:
                raise NotThere(f"There is no driver {person}.", "person")
        return await receipts.receive(
            connection, person_id=person_id, actor=Actor(common.ACTOR), now=now, **values
        )


async def _import(path: Path, simulated: bool) -> "ImportReport":
    from billing import receipts_csv
    from csms import db
    from csms.clients import Actor
    from csms.provisioning import reading

    settings = common.settings()
    data = reading.read_bytes(path)
    async with (
        common.open_migrated(settings) as database,
        db.open_pool(database, settings) as pool,
    ):
        with progress_bar() as shown:
            task = shown.add_task("Receipts", total=None)
            return await receipts_csv.import_receipts(
                pool,
                data,
                actor=Actor(common.ACTOR),
                now=common.now(),
                simulated=simulated,
                progress=lambda done, total: shown.update(task, completed=done, total=total),
            )
