"""`time2plug billing pay`, `collect`, `settle`, `calendar` and what belongs to them: money that
leaves and comes by bank."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from csms.cli import common
from csms.cli.billing import Simulated, app, progress_bar
from csms.cli.billing_month import Client, DryRun, client_id_of, first_day, opened

if TYPE_CHECKING:
    from collections import Counter
    from datetime import date

    from billing.payment_files import Filed
    from billing.settling import Settled, Special

LISTED_MAX = 1_000
CALENDAR_DAYS = 45


def register() -> None:
    """Put the verbs on their group."""
    app.command()(pay)
    app.command()(collect)
    app.command("payment-files")(payment_files)
    app.command("hand-out")(hand_out)
    app.command()(settle)
    app.command()(suspense)
    app.command()(explain)
    app.command()(calendar)


def pay(
    month: Annotated[str, typer.Argument(help="The last month to pay of, like 2026-10.")],
    client: Client = None,
    on: Annotated[
        str | None, typer.Option(help="Day of the transfers, as 2026-11-13; default: in time.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Make the payouts of a month's statements, and the file of transfers for the bank.

    Nothing leaves by it: another person approves the file (POST /api/v1/payment-files/{id}/approve)
    and `time2plug billing hand-out` writes it. A second run makes nothing twice.
    """
    common.run(_pay(month, client, on, dry_run))


async def _pay(month: str, client: str | None, on: str | None, dry_run: bool) -> None:
    from billing import payment_files, payouts
    from csms.clients import Actor

    first = first_day(month)
    actor, execution_on = Actor(common.ACTOR), None if on is None else _day(on)
    async with opened() as (settings, pool):
        client_id = await client_id_of(pool, client)
        with progress_bar() as bar:
            task = bar.add_task("Clients", total=None)
            done = await payouts.draft(
                pool,
                first,
                common.now(),
                settings=settings,
                actor=actor,
                client_id=client_id,
                dry_run=dry_run,
                progress=lambda count, total: bar.update(task, completed=count, total=total),
            )
        late = f", {done.late:,} of them after their last day" if done.late else ""
        typer.echo(
            f"{done.payouts:,} payouts {'would be made' if dry_run else 'made'} of {month}: "
            f"{done.amount_cents / 100:,.2f} EUR{late}."
        )
        stopped = [(one, why.message, why.remedy) for one, why in sorted(done.stopped.items())]
        if not dry_run:
            filed = await payment_files.make(
                pool, common.now(), settings=settings, actor=actor, execution_on=execution_on
            )
            stopped += [(one, why, "") for one, why in sorted(filed.refused.items())]
            _tell_filed(filed)
    if stopped:
        common.show_table(("CLIENT", "WHAT", "REMEDY"), stopped)
        raise typer.Exit(common.FAILED)


def _tell_filed(filed: "Filed") -> None:
    if filed.file_id is None:
        typer.echo("There is nothing for a new file.")
    else:
        typer.echo(
            f"File {filed.file_id} holds {filed.payments:,} transfers of "
            f"{filed.total_cents / 100:,.2f} EUR, of which {filed.swept_cents / 100:,.2f} EUR to "
            "the operator's own account. Another person approves it: "
            f"POST /api/v1/payment-files/{filed.file_id}/approve."
        )
    if filed.to_lay_cents:
        typer.echo(
            f"The operator owes the account of third parties {filed.to_lay_cents / 100:,.2f} EUR "
            "that it has made good in the books: transfer them from its own account."
        )


def collect(dry_run: DryRun = False) -> None:
    """Tell payers with a SEPA mandate of their debits, and make the files of those whose day is
    near.

    Each invoice is told and debited once; what was paid or contested meanwhile is not collected.
    """
    common.run(_collect(dry_run))


async def _collect(dry_run: bool) -> None:
    from billing import collecting
    from csms.clients import Actor

    async with opened() as (settings, pool):
        with progress_bar() as bar:
            task = bar.add_task("Invoices", total=None)
            told = await collecting.announce_debits(
                pool,
                common.now(),
                settings=settings,
                dry_run=dry_run,
                progress=lambda count, total: bar.update(task, completed=count, total=total),
            )
        typer.echo(
            f"{told.debits:,} debits {'would be announced' if dry_run else 'announced'}: "
            f"{told.amount_cents / 100:,.2f} EUR."
        )
        if dry_run:
            return
        filed = await collecting.make_files(
            pool, common.now(), settings=settings, actor=Actor(common.ACTOR)
        )
    typer.echo(
        f"{filed.debits:,} debits of {filed.total_cents / 100:,.2f} EUR are in "
        f"{len(filed.file_ids)} new files"
        + "".join(f", {file_id}" for file_id in filed.file_ids)
        + "."
    )
    if filed.cancelled:
        common.show_table(("DEBIT", "NOT COLLECTED BECAUSE"), sorted(filed.cancelled.items()))


def payment_files(
    everything: Annotated[
        bool, typer.Option("--all", help="Those that were handed out or given up, too.")
    ] = False,
) -> None:
    """List the payment files that wait for a person, the last made first."""
    common.run(_payment_files(everything))


async def _payment_files(everything: bool) -> None:
    from billing.store import payment_files as store

    async with opened() as (_, pool), pool.connection() as connection:
        found = await store.list_files(
            connection, is_open=None if everything else True, limit=LISTED_MAX
        )
    if not found:
        typer.echo("No payment file waits.")
        return
    common.show_table(
        ("FILE", "NAME", "DAY", "PAYMENTS", "EUR", "MADE BY", "APPROVED BY", "HANDED OUT"),
        [
            (
                file.id,
                file.message_id,
                file.execution_on,
                file.payments,
                f"{file.total_cents / 100:.2f}",
                file.created_by,
                file.approved_by,
                "given up" if file.cancelled_at else file.sent_at,
            )
            for file in found
        ],
    )


def hand_out(
    file_id: Annotated[int, typer.Argument(help="As `billing payment-files` lists it.")],
    output: Annotated[Path, typer.Option("--output", help="Folder to write to.")] = Path(),
) -> None:
    """Write an approved payment file, for the bank: from now on its payments are on their way.

    The same again writes the same bytes.
    """
    common.run(_hand_out(file_id, output))


async def _hand_out(file_id: int, folder: Path) -> None:
    from billing import payment_files
    from billing.store import payment_files as store
    from csms import db
    from csms.clients import Actor

    async with opened() as (_, pool), db.transaction(pool) as connection:
        file = await store.get_file(connection, file_id)
        content = await payment_files.hand_out(
            connection, file_id, Actor(common.ACTOR), common.now()
        )
        assert file is not None  # else it could not be handed out
        # Before the commit: what cannot be written was not handed out.
        path = folder / f"{file.message_id}.xml"
        path.write_bytes(content)
    typer.echo(
        f"{path}: {file.payments:,} payments of {file.total_cents / 100:,.2f} EUR, to be executed "
        f"on {file.execution_on}."
    )


def settle(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="camt.053 or pain.002, in order.")
    ],
    simulated: Simulated = False,
    dry_run: DryRun = False,
) -> None:
    """Read what the bank says: account statements (camt.053), reports on payment files (pain.002).

    Payouts and debits settle by their references, to the cent; what nothing explains goes to
    suspense (`billing suspense`). The same file again changes nothing. Exit code 1 when a file
    could not be read; those before it hold.
    """
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        common.fail(f"there is no file {missing}", 2)
    common.run(_settle(paths, simulated, dry_run))


async def _settle(paths: list[Path], simulated: bool, dry_run: bool) -> None:
    from billing import refusals, sepa, settling
    from csms.clients import Actor
    from csms.provisioning import reading
    from csms.registry import Refusal

    actor = Actor(common.ACTOR)
    async with opened() as (settings, pool):
        for path in paths:
            content = reading.read_bytes(path)
            try:
                if sepa.is_status_report(content):
                    if dry_run:
                        typer.echo(f"{path}: {len(sepa.read_status(content)):,} statuses")
                        continue
                    refused = await refusals.read_in(pool, content, common.now(), actor=actor)
                    _tell_refused(path, refused)
                    continue
                with progress_bar() as bar:
                    task = bar.add_task("Lines", total=None)
                    done = await settling.read_in(
                        pool,
                        content,
                        common.now(),
                        settings=settings,
                        actor=actor,
                        simulated=simulated,
                        dry_run=dry_run,
                        progress=lambda n, total, task=task: bar.update(  # type: ignore[misc]
                            task, completed=n, total=total
                        ),
                    )
            except (sepa.Unreadable, Refusal) as error:
                common.fail(f"{path}: {error}")
            _tell_settled(path, done, dry_run)


def _tell_refused(path: Path, refused: "Counter[str]") -> None:
    parts = [f"{number:,} {kind}" for kind, number in sorted(refused.items())]
    typer.echo(f"{path}: the bank refused {', '.join(parts) or 'nothing'}.")


def _tell_settled(path: Path, done: "Settled", dry_run: bool) -> None:
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(done.by_kind.items()))
    typer.echo(
        f"{path}: {done.statements:,} statements with {done.lines:,} lines "
        f"{'would be read' if dry_run else 'read'}, {done.known:,} known"
        + (f"; {kinds}." if kinds else ".")
    )
    if done.difference_cents:
        typer.echo(
            f"The bank's balance differs from the books by {done.difference_cents / 100:,.2f} EUR: "
            "is a statement missing?"
        )
    if done.by_kind["suspense"]:
        typer.echo("What nothing explains: time2plug billing suspense")


def suspense() -> None:
    """List the lines of the bank's that nothing explains, with invoices that they may have paid."""
    common.run(_suspense())


async def _suspense() -> None:
    from billing import settling
    from billing.store import banking as store

    rows = []
    async with opened() as (_, pool), pool.connection() as connection:
        for line in await store.list_suspense(connection, limit=LISTED_MAX):
            candidates = await settling.suggest(connection, line)
            rows.append(
                (
                    line.id,
                    line.booked_on,
                    f"{line.amount_cents / 100:.2f}",
                    line.counterparty_name,
                    line.remittance,
                    ", ".join(each.number for each in candidates),
                )
            )
    if not rows:
        typer.echo("Every line is explained.")
        return
    common.show_table(("LINE", "DAY", "EUR", "FROM", "TEXT", "PERHAPS"), rows)


def explain(
    line_id: Annotated[int, typer.Argument(help="As `billing suspense` lists it.")],
    invoice: Annotated[str | None, typer.Option(help="Number of the invoice that it pays.")] = None,
    person: Annotated[str | None, typer.Option(help="The driver's e-mail address.")] = None,
    fee: Annotated[bool, typer.Option("--fee", help="A fee of the bank's.")] = False,
    top_up: Annotated[
        bool, typer.Option("--top-up", help="The operator's own, for the account of third parties.")
    ] = False,
    refund: Annotated[
        str | None, typer.Option(help="Number of the operator's invoice that was given back.")
    ] = None,
) -> None:
    """Say which invoice a line of the bank's pays, whose money it is, or what else it is."""
    if sum((invoice is not None, person is not None, fee, top_up, refund is not None)) != 1:
        common.fail("name the invoice or the driver, or say what else it is; one of them", 2)
    special: Special | None = None
    if fee or top_up or refund is not None:
        special = "fee" if fee else "top_up" if top_up else "refund"
    common.run(_explain(line_id, invoice or refund, person, special))


async def _explain(
    line_id: int, invoice: str | None, person: str | None, special: "Special | None"
) -> None:
    from billing import settling
    from billing.store import receipts as store
    from csms.clients import Actor
    from csms.registry import NotThere

    async with common.transaction() as connection:
        person_id = None
        if person is not None:
            person_id = await store.find_driver(connection, person)
            if person_id is None:
                raise NotThere(f"There is no driver {person}.", "person")
        subject = await settling.explain(
            connection,
            line_id,
            person_id=person_id,
            invoice_number=invoice,
            special=special,
            actor=Actor(common.ACTOR),
            now=common.now(),
        )
    typer.echo(f"Line {line_id} is {subject}.")


def calendar(
    from_on: Annotated[
        str | None, typer.Option("--from", help="First day, as 2026-11-01; default: today.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help=f"Last day; default: {CALENDAR_DAYS} days later.")
    ] = None,
) -> None:
    """Show what is due when: statements, contests, payouts, files, debits, letters.

    What is late stays until it is done.
    """
    common.run(_calendar(from_on, to))


async def _calendar(from_on: str | None, to: str | None) -> None:
    from datetime import timedelta

    from billing import agenda
    from csms import deadlines

    first = deadlines.paris_day(common.now()) if from_on is None else _day(from_on)
    last = first + timedelta(days=CALENDAR_DAYS) if to is None else _day(to)
    if not first <= last <= first + timedelta(days=agenda.DAYS_MAX):
        common.fail(f"from one day to a later one, {agenda.DAYS_MAX} days at most", 2)
    async with opened() as (settings, pool), pool.connection() as connection:
        found = await agenda.calendar(connection, first, last, common.now(), settings=settings)
    if not found:
        typer.echo("Nothing is due.")
        return
    common.show_table(
        ("DAY", "", "WHAT", "OF", "NUMBER", "EUR"),
        [
            (
                item.day,
                "late" if item.is_late else "",
                item.kind.replace("_", " "),
                item.detail,
                item.number,
                None if item.amount_cents is None else f"{item.amount_cents / 100:.2f}",
            )
            for item in found
        ],
    )


def _day(text: str) -> "date":
    """A day like 2026-11-13; else the command ends."""
    from datetime import date

    try:
        return date.fromisoformat(text)
    except ValueError:
        common.fail(f"{text} is no day: write it like 2026-11-13", 2)
