"""`time2plug report`: files for people and for other systems."""

from pathlib import Path
from typing import Annotated

import typer

from csms.cli import common

app = typer.Typer(
    no_args_is_help=True,
    help="Reports: sessions of a month, national files of points, what leaves for others.",
)


@app.callback()
def _group() -> None:
    """Keeps `collection` a sub-verb while it is the only one."""


@app.command()
def collection(
    month: Annotated[str, typer.Argument(help="Month, like 2026-10, in Paris time.")],
    client: Annotated[str | None, typer.Option(help="Only this client's sites.")] = None,
    output_format: Annotated[str, typer.Option("--format", help="csv, json or xlsx.")] = "csv",
    output: Annotated[
        Path | None,
        typer.Option(help="File to write; default: collection-MONTH.FORMAT here; '-': print."),
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary/--no-summary", help="Write the one-page summary beside it.")
    ] = True,
    language: Annotated[str, typer.Option(help="Language of the summary: fr or en.")] = "fr",
) -> None:
    """Write one row per session that ended in the month: point, badge, start, end, energy in Wh.

    The same month gives the same bytes, whenever it is written. Sessions whose end was lost are
    in it too, with their flag; a session of unknown energy has an empty energy, never a guess. A
    manifest beside it has the file's digest, and what was corrected or left out, and why.
    """
    if output_format not in ("csv", "json", "xlsx"):
        common.fail("--format takes csv, json or xlsx", 2)
    if output_format == "xlsx" and str(output) == "-":
        common.fail("a workbook is written to a file, not printed", 2)
    if language not in ("fr", "en"):
        common.fail("--language takes fr or en", 2)
    common.run(_collection(month, client, output_format, output, summary, language))


async def _collection(
    month: str,
    client: str | None,
    output_format: str,
    output: Path | None,
    summary: bool,
    language: str,
) -> None:
    from csms import db
    from csms.registry import Conflict, NotThere
    from reporting import collection as reports
    from reporting import manifest
    from reporting.collection_xlsx import TooManyRows
    from reporting.summary import summary_text

    try:
        chosen = reports.Month.parse(month)
    except ValueError as error:
        common.fail(str(error), 2)
    path = output or Path(f"collection-{chosen}.{output_format}")
    to_stdout = str(path) == "-"
    settings = common.settings()
    async with (
        common.open_migrated(settings) as database,
        db.open_pool(database, settings) as pool,
    ):
        try:
            written = await reports.write(
                pool, chosen, None if to_stdout else path, kind=output_format, client=client
            )
        except reports.UnknownClient as error:
            raise NotThere(str(error)) from None
        except (reports.NotSubscribed, TooManyRows) as error:
            raise Conflict(str(error)) from None
    text = summary_text(written, language)
    typer.echo(text, err=to_stdout)
    if not to_stdout:
        manifest_path = path.with_name(path.stem + "-manifest.json")
        reports.write_text(manifest_path, manifest.render(written, written.left_out, [path]))
        if summary:
            reports.write_text(path.with_name(path.stem + "-summary.txt"), text)
        typer.echo(f"{written.sessions} sessions in {path}")
