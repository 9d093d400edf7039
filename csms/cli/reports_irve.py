"""`time2plug report irve-static`, `irve-dynamic`: the national files of public points."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from csms.cli import common
from csms.cli.reports import app

if TYPE_CHECKING:
    from csms.config import Settings
    from csms.static_data import Language
    from reporting.irve.static_rows import Static

LanguageOption = Annotated[str, typer.Option(help="Language of what is told: fr or en.")]
OutputOption = Annotated[Path | None, typer.Option(help="File to write; '-': print it.")]


def register() -> None:
    """Put the verbs on their group."""
    app.command("irve-static")(irve_static)
    app.command("irve-dynamic")(irve_dynamic)


def irve_static(
    output: OutputOption = None,
    check: Annotated[
        Path | None,
        typer.Option(help="Judge this file, anybody's, instead of writing ours."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Write nothing; say what the national consolidation does."),
    ] = False,
    language: LanguageOption = "fr",
) -> None:
    """Write the static IRVE file (schema 2.3.1): one row per public point in force.

    A wrong row is held back with what to do about it, the others are written: the national
    consolidation would leave out the whole file for one. Default: irve-statique.csv here.

    With --check FILE, a file of anybody is judged as that consolidation would: what it refuses,
    drops, puts right without a word, and what it takes though it is wrong. Ends with 1 where the
    whole file would be left out.
    """
    told_in = _language(language)
    if check is not None:
        _judge_file(check, told_in)
        return
    common.run(_static(output or Path("irve-statique.csv"), dry_run, told_in))


def irve_dynamic(
    output: OutputOption = None,
    language: LanguageOption = "fr",
) -> None:
    """Write the dynamic IRVE file: how each point of the static file stands, as recorded.

    Default: irve-dynamique.csv here. For whoever polls it, T2P_IRVE_PUBLISHED opens
    /irve/dynamique.csv and /irve/statique.csv.
    """
    _language(language)
    common.run(_dynamic(output or Path("irve-dynamique.csv"), language))


def _language(language: str) -> "Language":
    if language not in ("fr", "en"):
        common.fail("--language takes fr or en", 2)
    return cast("Language", language)


def _judge_file(path: Path, language: "Language") -> None:
    settings = common.settings()
    try:
        size_bytes = path.stat().st_size
        if size_bytes > settings.irve_file_bytes_max:
            common.fail(
                f"{path} has {size_bytes:,} bytes, more than T2P_IRVE_FILE_BYTES_MAX "
                f"({settings.irve_file_bytes_max:,})"
            )
        content = path.read_bytes()
    except OSError as error:
        common.fail(str(error))
    if not _judge(content, path.name, settings, language):
        raise typer.Exit(common.FAILED)


def _judge(content: bytes, name: str, settings: "Settings", language: "Language") -> bool:
    """Say what becomes of the file; whether it is taken."""
    from csms import deadlines
    from reporting.irve.consolidation import judge
    from reporting.irve.summary import judgement_summary

    today = deadlines.paris_day(common.now())
    with common.byte_counter("checked") as count:
        judgement = judge(content, name, today, settings.afirev_prefixes, count)
    typer.echo(judgement_summary(judgement, name, language), nl=False)
    return not judgement.is_left_out


async def _static(path: Path, dry_run: bool, language: "Language") -> None:
    from reporting.irve.summary import static_summary

    settings = common.settings()
    static, _ = await _read(settings)
    to_stdout = str(path) == "-" and not dry_run
    typer.echo(static_summary(static, language), err=to_stdout, nl=False)
    if dry_run:
        typer.echo("")
        if not _judge(static.content(), path.name, settings, language):
            raise typer.Exit(common.FAILED)
        return
    _write(path, static.content())
    if not to_stdout:
        typer.echo(f"{len(static.rows)} {'lignes dans' if language == 'fr' else 'rows in'} {path}")


async def _dynamic(path: Path, language: str) -> None:
    _, content = await _read(common.settings(), with_dynamic=True)
    _write(path, content)
    if str(path) != "-":
        rows = content.count(b"\n") - 1
        typer.echo(f"{rows} {'lignes dans' if language == 'fr' else 'rows in'} {path}")


async def _read(settings: "Settings", *, with_dynamic: bool = False) -> "tuple[Static, bytes]":
    """The static file and, where it is asked for, the dynamic one of the same moment."""
    from csms import db
    from reporting.irve import publication

    async with (
        common.open_migrated(settings) as database,
        db.open_pool(database, settings) as pool,
        pool.connection() as connection,
    ):
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        try:
            static = await publication.read_static(connection, settings, common.now())
            if not with_dynamic:
                return static, b""
            identifiers = static.identifiers
            return static, await publication.read_dynamic(connection, settings, identifiers)
        except publication.TooManyPoints as error:
            common.fail(str(error))


def _write(path: Path, content: bytes) -> None:
    from reporting.collection import write_text

    if str(path) == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    write_text(path, content.decode())
