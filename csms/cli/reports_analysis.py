"""`time2plug report availability`, `consumption`: what people are shown of their points."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from csms.cli import common
from csms.cli.billing_month import client_id_of, opened

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from csms.config import Settings
    from reporting.sheet import Sheet
    from reporting.span import Span

    Read = Callable[
        [AsyncConnection, Settings, Span, int | None, str | None, str],
        Awaitable[tuple[Sheet, dict[str, Any]]],
    ]

SpanText = Annotated[
    str, typer.Argument(metavar="SPAN", help="2026-10, or 2026-10-01..2026-10-15, in Paris.")
]
Client = Annotated[str | None, typer.Option(help="Only this client's points.")]
Site = Annotated[str | None, typer.Option(help="Only this site's points, by its id.")]
Format = Annotated[str, typer.Option("--format", help="json, html, pdf or xlsx.")]
Output = Annotated[
    Path | None, typer.Option(help="File to write; default: named after the report; '-': print.")
]
Language = Annotated[str, typer.Option(help="fr or en.")]


def register(app: typer.Typer) -> None:
    """Put the verbs on their group."""
    app.command()(availability)
    app.command()(consumption)


def availability(
    span: SpanText,
    client: Client = None,
    site: Site = None,
    output_format: Format = "pdf",
    output: Output = None,
    language: Language = "fr",
) -> None:
    """Report how much of the time each point, site and client could be used.

    The rules stand on the first page: what counts as up and down, what windows of planned work and
    exclusions leave out. The same days give the same figures, whenever they are asked for.
    """
    common.run(
        _report("availability", _availability, span, client, site, output_format, output, language)
    )


def consumption(
    span: SpanText,
    client: Client = None,
    site: Site = None,
    output_format: Format = "pdf",
    output: Output = None,
    language: Language = "fr",
) -> None:
    """Report what was charged, by point, site, user and hour of the day, with its cost.

    With the load curve of each site (mean power of each quarter of an hour) against the power that
    `time2plug report powers` entered, and the quarters above it; and with the habits of users.
    """
    common.run(
        _report("consumption", _consumption, span, client, site, output_format, output, language)
    )


async def _report(
    kind: str,
    read: "Read",
    span_text: str,
    client: str | None,
    site: str | None,
    output_format: str,
    output: Path | None,
    language: str,
) -> None:
    from reporting import collection, report_files
    from reporting.span import Span

    if output_format not in report_files.FORMATS:
        common.fail(f"--format takes {', '.join(report_files.FORMATS)}", 2)
    if language not in ("fr", "en"):
        common.fail("--language takes fr or en", 2)
    if str(output) == "-" and output_format in ("pdf", "xlsx"):
        common.fail("this format is written to a file, not printed", 2)
    try:
        span = Span.parse(span_text)
    except ValueError as error:
        common.fail(str(error), 2)
    async with opened() as (settings, pool):
        client_id = await client_id_of(pool, client)
        async with pool.connection() as connection:
            sheet, told = await read(connection, settings, span, client_id, site, language)
    made = report_files.render(sheet, told, output_format)
    if str(output) == "-":
        typer.echo(made.decode(), nl=False)
        return
    name = report_files.file_name(kind, span, sheet.of, output_format, language)
    path = output or Path(name)
    collection.write_bytes(path, made)
    typer.echo(f"{path}: {', '.join(f'{one.name} {one.value}' for one in sheet.figures)}")


async def _availability(
    connection: "AsyncConnection",
    settings: "Settings",
    span: "Span",
    client_id: int | None,
    site_id: str | None,
    language: str,
) -> "tuple[Sheet, dict[str, Any]]":
    from reporting import availability_reading, availability_sheet

    report = await availability_reading.read(
        connection,
        span,
        common.now(),
        client_ids=None if client_id is None else [client_id],
        site_id=site_id,
        points_max=settings.report_points_max,
    )
    return availability_sheet.sheet_of(report, language), availability_sheet.as_json(report)


async def _consumption(
    connection: "AsyncConnection",
    settings: "Settings",
    span: "Span",
    client_id: int | None,
    site_id: str | None,
    language: str,
) -> "tuple[Sheet, dict[str, Any]]":
    from reporting import consumption_reading, consumption_sheet

    report = await consumption_reading.read(
        connection,
        span,
        common.now(),
        client_ids=None if client_id is None else [client_id],
        site_id=site_id,
        sessions_total=settings.report_sessions_total,
    )
    return consumption_sheet.sheet_of(report, language), consumption_sheet.as_json(report)
