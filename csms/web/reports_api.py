"""Operations on reports, as JSON, a page, paper or a workbook. Operators read all; managers,
and machines of clients, those of clients whose contract opens them."""

import asyncio
from collections.abc import Collection
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from csms import services
from csms.config import Settings
from csms.deadlines import add_months, paris_day
from csms.domain.services import Option, closed
from csms.registry import NotThere, Refusal
from csms.web.fields import Day, Identifier, Name
from csms.web.guard import Pool, Reader, Reading
from csms.web.problems import Problem, documented
from reporting import (
    availability_reading,
    availability_sheet,
    consumption_reading,
    consumption_sheet,
    report_files,
    sheet_html,
)
from reporting.consumption_reading import ConsumptionReport
from reporting.span import Span

router = APIRouter(tags=["Reports"])
page_router = APIRouter(include_in_schema=False)

STYLES = "/static/report.css"
Month = Annotated[
    str | None,
    Query(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", description="Month, as 2026-10; or two days."),
]
FromOn = Annotated[Day | None, Query(description="First day, with `to_on`.")]
ToOn = Annotated[Day | None, Query(description="Last day, included.")]
ClientId = Annotated[Identifier | None, Query(description="Only of this client.")]
SiteId = Annotated[Name | None, Query(description="Only of this site.")]
Format = Annotated[report_files.Format, Query(alias="format")]
Language = Annotated[
    str | None, Query(pattern="^(fr|en)$", description="fr or en; default: the reader's.")
]
FILES: dict[int | str, dict[str, object]] = {
    200: {
        "content": {kind.split(";")[0]: {} for kind in report_files.MEDIA_TYPES.values()},
        "description": "The report.",
    },
    **documented(404),
}


@page_router.get(STYLES)
async def get_styles() -> Response:
    """The styles of reports as pages."""
    return Response(sheet_html.styles(), media_type="text/css")


@router.get(
    "/reports/availability",
    summary="Availability",
    response_class=Response,
    responses=FILES,
)
async def get_availability(
    request: Request,
    pool: Pool,
    reader: Reader,
    month: Month = None,
    from_on: FromOn = None,
    to_on: ToOn = None,
    client_id: ClientId = None,
    site_id: SiteId = None,
    file_format: Format = "json",
    language: Language = None,
) -> Response:
    """How much of a month, or of any days, each point, site and client could be used. By default of
    the last month that is over. Rules and causes stand with the figures."""
    now = datetime.now(UTC)
    span = chosen_span(month, from_on, to_on, now)
    clients = await chosen_clients(pool, reader, client_id, Option.ANALYSIS_REPORTS, span, now)
    settings: Settings = request.app.state.settings
    async with reader.connection() as connection:
        report = await availability_reading.read(
            connection,
            span,
            now,
            client_ids=clients,
            site_id=site_id,
            points_max=settings.report_points_max,
        )
    language = language or reader.language
    sheet = availability_sheet.sheet_of(report, language)
    made = await asyncio.to_thread(
        report_files.render, sheet, availability_sheet.as_json(report), file_format, link=STYLES
    )
    return sent(made, "availability", span, sheet.of, file_format, language)


@router.get(
    "/reports/consumption",
    summary="Consumption",
    response_class=Response,
    responses=FILES,
)
async def get_consumption(
    request: Request,
    pool: Pool,
    reader: Reader,
    month: Month = None,
    from_on: FromOn = None,
    to_on: ToOn = None,
    client_id: ClientId = None,
    site_id: SiteId = None,
    file_format: Format = "json",
    language: Language = None,
) -> Response:
    """What was charged in a month, or in any days, by point, site, user and hour; the load curve
    against the subscribed power. Costs, and the habits of users, where the contract opens them."""
    now = datetime.now(UTC)
    span = chosen_span(month, from_on, to_on, now)
    clients = await chosen_clients(pool, reader, client_id, Option.ANALYSIS_REPORTS, span, now)
    report = await read_consumption(request, pool, reader, span, now, clients, site_id)
    language = language or reader.language
    of, made = await asyncio.to_thread(_consumption, report, file_format, language)
    return sent(made, "consumption", span, of, file_format, language)


async def read_consumption(
    request: Request,
    pool: Pool,
    reader: Reading,
    span: Span,
    now: datetime,
    clients: list[int] | None,
    site_id: str | None = None,
) -> ConsumptionReport:
    """What these clients' contracts open of it; everything for an operator. Raises: Refusal."""
    closed_costs = closed_profiles = False
    if clients is not None and reader.clients is not None:
        closed_costs = bool(await without(pool, clients, Option.USER_COSTS, span, now))
        closed_profiles = bool(await without(pool, clients, Option.USER_PROFILES, span, now))
    settings: Settings = request.app.state.settings
    async with reader.connection() as connection:
        return await consumption_reading.read(
            connection,
            span,
            now,
            client_ids=clients,
            site_id=site_id,
            sessions_total=settings.report_sessions_total,
            with_costs=not closed_costs,
            with_profiles=not closed_profiles,
        )


def _consumption(report: ConsumptionReport, file_format: str, language: str) -> tuple[str, bytes]:
    """Whose it is, and the file: pictures take a second or two."""
    sheet = consumption_sheet.sheet_of(report, language)
    told = consumption_sheet.as_json(report)
    return sheet.of, report_files.render(sheet, told, file_format, link=STYLES)


def sent(made: bytes, kind: str, span: Span, of: str, file_format: str, language: str) -> Response:
    """The file: to look at, or to keep."""
    name = report_files.file_name(kind, span, of, file_format, language)
    where = "attachment" if file_format in ("pdf", "xlsx") else "inline"
    return Response(
        made,
        media_type=report_files.MEDIA_TYPES[file_format],
        headers={"Content-Disposition": f'{where}; filename="{name}"'},
    )


def chosen_span(month: str | None, from_on: date | None, to_on: date | None, now: datetime) -> Span:
    """What is asked for; the last month that is over where nothing is. Raises: Refusal."""
    if (from_on is None) != (to_on is None) or (month is not None and from_on is not None):
        raise Refusal("Name a month, or both a first and a last day.", "month")
    try:
        if from_on is not None and to_on is not None:
            return Span(from_on, to_on)
        if month is not None:
            return Span.parse(month)
    except ValueError as error:
        raise Refusal(f"This cannot be reported on: {error}.", "from_on") from None
    return Span.month(add_months(paris_day(now).replace(day=1), -1))


async def chosen_clients(
    pool: Pool,
    reader: Reading,
    client_id: int | None,
    option: Option,
    span: Span,
    now: datetime,
) -> list[int] | None:
    """Whose report it is; None: everybody's, for an operator. A manager's contract opens it at one
    end of the span at least.

    Raises: NotThere for a client that is not hers; Problem (403) where none of hers has the option.
    """
    if reader.clients is None:
        return None if client_id is None else [client_id]
    own = [one for one in reader.clients if client_id in (None, one)]
    if not own:
        raise NotThere("There is no such client of yours.", "client_id")
    open_to = set(own) - await without(pool, own, option, span, now)
    if not open_to:
        raise Problem(403, closed("not_subscribed", option).text(reader.language))
    return sorted(open_to)


async def without(
    pool: Pool, client_ids: Collection[int], option: Option, span: Span, now: datetime
) -> set[int]:
    """Of these clients, those to whom the option is open neither at the begin nor at the end."""
    period = span.period
    ends = (period.starts_at, min(period.ends_at, now))
    async with pool.connection() as connection:
        found = [await services.closed_clients(connection, client_ids, option, end) for end in ends]
    return found[0] & found[1]
