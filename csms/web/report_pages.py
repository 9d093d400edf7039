"""Reports as pages: for managers in their frame, of their clients; for operators of any client.

What a manager reads, she reads in her own connection, and only what the client's contract opens.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final

from fastapi import APIRouter, Request
from psycopg import AsyncConnection
from starlette.responses import Response

from billing.store.managing import ClientRow
from csms.config import Settings
from csms.deadlines import add_months, paris_day
from csms.domain.services import Option, closed
from csms.registry import NotThere, Refusal
from csms.store import clients as client_store
from csms.store.paging import LIMIT_MAX
from csms.web.guard import Pool, principal_of
from csms.web.manager_frame import (
    choose_client,
    manager_of,
    manager_page,
    months_until,
    named_months,
    read_month,
    reading,
)
from csms.web.manager_texts import MANAGER_TEXTS
from csms.web.rendering import language_of, page, sent_to
from csms.web.reports_api import without
from reporting import (
    availability_reading,
    availability_sheet,
    consumption_reading,
    consumption_sheet,
    sheet_html,
)
from reporting.sheet import Sheet
from reporting.span import Span

router = APIRouter(include_in_schema=False, default_response_class=Response)

KINDS: Final = ("availability", "consumption")


@router.get("/gestion/rapports")
async def show_reports(
    request: Request, pool: Pool, client: str = "", month: str = "", kind: str = ""
) -> Response:
    """A report of a manager's client."""
    me = manager_of(request)
    if me is None:
        return sent_to("/login?next=/gestion/rapports")
    now, language = datetime.now(UTC), language_of(request)
    first, shown_kind = _chosen(month, kind, now)
    span, part, lacks = Span.month(first), "", ""
    async with reading(request, me) as connection:
        clients, chosen = await choose_client(connection, client)
        if chosen is None:
            return manager_page(request, "manager_reports.html", "reports")
        option = Option.ANALYSIS_REPORTS
        if await without(pool, [chosen.id], option, span, now):
            lacks = closed("not_subscribed", option).text(language)
        else:
            try:
                costs = not await without(pool, [chosen.id], Option.USER_COSTS, span, now)
                habits = not await without(pool, [chosen.id], Option.USER_PROFILES, span, now)
                part = await _part(
                    *(request, connection, shown_kind, span, now, [chosen.id], language),
                    with_costs=costs,
                    with_profiles=habits,
                )
            except (NotThere, Refusal):
                lacks = MANAGER_TEXTS[language]["report_nothing"]
    return manager_page(
        request,
        "manager_reports.html",
        "reports",
        client=chosen,
        clients=clients,
        months=named_months(months_until(paris_day(now)), language),
        month=f"{first:%Y-%m}",
        kind=shown_kind,
        report=part,
        lacks=lacks,
    )


@router.get("/rapports")
async def show_all_reports(
    request: Request, pool: Pool, client: str = "", month: str = "", kind: str = ""
) -> Response:
    """A report of any client, or of all, for operators."""
    principal = principal_of(request)
    if principal is None:
        return sent_to("/login?next=/rapports")
    if not principal.is_operator:
        return sent_to("/gestion/rapports")
    now, language = datetime.now(UTC), language_of(request)
    first, shown_kind = _chosen(month, kind, now)
    part, lacks = "", ""
    async with pool.connection() as connection:
        clients = await _clients(connection)
        chosen = next((one for one in clients if str(one.id) == client), None)
        try:
            part = await _part(
                *(request, connection, shown_kind, Span.month(first), now),
                *(None if chosen is None else [chosen.id], language),
            )
        except (NotThere, Refusal) as error:
            lacks = str(error)
    return page(
        request,
        "operator_reports.html",
        m=MANAGER_TEXTS[language],
        clients=clients,
        client=chosen,
        months=named_months(months_until(paris_day(now)), language),
        month=f"{first:%Y-%m}",
        kind=shown_kind,
        report=part,
        lacks=lacks,
    )


def _chosen(month: str, kind: str, now: datetime) -> tuple[date, str]:
    """The first day of the month that is asked for, the last one by default; and the kind."""
    last = add_months(paris_day(now).replace(day=1), -1)
    return read_month(month) or last, kind if kind in KINDS else KINDS[0]


async def _clients(connection: AsyncConnection) -> Sequence[ClientRow]:
    """As many clients as a list has room for."""
    found = await client_store.list_clients(connection, limit=LIMIT_MAX, cursor=None)
    rows = [ClientRow(one.id, one.legal_name or one.name) for one in found]
    return sorted(rows, key=lambda one: one.name)


async def _part(
    request: Request,
    connection: AsyncConnection,
    kind: str,
    span: Span,
    now: datetime,
    client_ids: list[int] | None,
    language: str,
    *,
    with_costs: bool = True,
    with_profiles: bool = True,
) -> str:
    """The report as a part of a page. Raises: NotThere; Refusal."""
    settings: Settings = request.app.state.settings
    if kind == "availability":
        report = await availability_reading.read(
            connection, span, now, client_ids=client_ids, points_max=settings.report_points_max
        )
        return sheet_html.part(availability_sheet.sheet_of(report, language))
    found = await consumption_reading.read(
        connection,
        span,
        now,
        client_ids=client_ids,
        sessions_total=settings.report_sessions_total,
        with_costs=with_costs,
        with_profiles=with_profiles,
    )

    def drawn() -> Sheet:
        return consumption_sheet.sheet_of(found, language)

    return sheet_html.part(await asyncio.to_thread(drawn))
