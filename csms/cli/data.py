"""Verbs that move whole stretches of data: migrate, import, backup, restore, replay."""

from pathlib import Path
from typing import Annotated

import typer

from csms.cli import common

app = typer.Typer()


@app.command()
def migrate() -> None:
    """Bring the database up to date. Needs the owning role: T2P_DATABASE_OWNER_URL."""
    applied = common.run(_migrate())
    for name in applied:
        typer.echo(f"applied {name}")
    typer.echo("The database is up to date.")


@app.command("import")
def import_file(
    path: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Our own CSV, a static IRVE CSV (2.3), or drivers."),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, write nothing.")
    ] = False,
) -> None:
    """Load sites and stations, or drivers, from a CSV file, all of it or nothing.

    One row per connector; the columns are listed in the README, and an example ships as
    csms/data/stations-example.csv. The same file twice changes nothing. What is refused is told
    line by line.

    A file of drivers has a column email; the others are given_name, family_name, phone, language,
    client, group, sites (several with |), badge, valid_from and valid_until.
    """
    if not path.is_file():
        common.fail(f"there is no file {path}", 2)
    if not common.run(_import(path, dry_run)):
        raise typer.Exit(common.FAILED)


@app.command()
def backup(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the backup.")],
) -> None:
    """Write the whole database into one file, while the server runs.

    It holds everything that had been acknowledged when it began. Only its owner may read the file:
    it holds badges and hashes of passwords.
    """
    size_bytes = common.run(_backup(path))
    typer.echo(f"The backup is in {path}: {size_bytes / 1e6:,.1f} MB.")


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `backup` wrote.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace what the database holds now.")
    ] = False,
) -> None:
    """Fill an empty database from a backup, or with --force any. Stop the server first.

    All of it or nothing: what was there stays until the whole backup is in.
    """
    if not path.is_file():
        common.fail(f"there is no file {path}", 2)
    common.run(_restore(path, force))
    typer.echo("The database is restored.")


async def _backup(path: Path) -> int:
    from csms import backup

    with common.byte_counter("written") as progress:
        async with common.open_migrated() as database:
            return await backup.backup(database, path, progress=progress)


async def _restore(path: Path, force: bool) -> None:
    from csms import backup

    with common.byte_counter("read") as progress:
        async with common.open_migrated() as database:
            await backup.restore(database, path, force=force, progress=progress)


async def _migrate() -> list[str]:
    from csms import db

    async with db.open_database(common.settings()) as database:
        return await db.migrate(database)


async def _import(path: Path, dry_run: bool) -> bool:
    """True when the file was good."""
    from csms import db, provisioning

    chosen = common.settings()
    async with common.open_migrated(chosen) as database, db.open_pool(database, chosen) as pool:
        report = await provisioning.import_file(
            pool,
            path,
            dry_run=dry_run,
            password_length_min=chosen.password_length_min,
            actor="command line",
        )
    for problem in report.warnings:
        typer.echo(f"warning: {problem}", err=True)
    for problem in report.problems:
        typer.echo(str(problem), err=True)
    typer.echo(report.summary(), err=bool(report.problems))
    for station_id, password in report.generated_passwords.items():
        typer.echo(f"{station_id}\t{password}")
    return not report.problems
