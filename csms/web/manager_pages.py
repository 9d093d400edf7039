"""Pages of whoever manages a client: the month at a glance, statements, invoices, users.

A manager lands here after her log-in. Row-level security shows her what is of her clients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from fastapi import APIRouter, Request
from psycopg import AsyncConnection
from starlette.responses import Response

from billing.store import managing
from billing.store.managing import DayRow, MoneyRow, PointRow
from csms.deadlines import add_months, end_of_day, paris_day, start_of_day
from csms.points import label_of
from csms.web import charts
from csms.web.manager_frame import (
    Shown,
    choose_client,
    manager_of,
    manager_page,
    months_until,
    named_months,
    read_month,
    reading,
)
from csms.web.manager_standing import Standing, invoice_standing, standing_of
from csms.web.manager_texts import MANAGER_TEXTS
from csms.web.rendering import language_of, sent_to

router = APIRouter(include_in_schema=False, default_response_class=Response)

INVOICES_SHOWN: Final = 100
POINTS_DRAWN: Final = 12


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its name, and how it stands to the month before."""

    name: str
    value: str
    note: str
    main: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A statement on which she may still act."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class ShownPoint:
    """A point with its name."""

    label: str
    site: str
    sessions: int
    energy_wh: int
    billed_cents: int


@dataclass(frozen=True, slots=True)
class Month:
    """What a month of a client came to."""

    days: Sequence[DayRow]
    money: MoneyRow

    @property
    def sessions(self) -> int:
        """How many ended."""
        return sum(one.sessions for one in self.days)

    @property
    def energy_wh(self) -> int:
        """What they took."""
        return sum(one.energy_wh for one in self.days)


@router.get("/gestion")
async def show_dashboard(request: Request, client: str = "", month: str = "") -> Response:
    """The month at a glance."""
    me = manager_of(request)
    if me is None:
        return sent_to("/login?next=/gestion")
    now = datetime.now(UTC)
    async with reading(request, me) as connection:
        clients, chosen = await choose_client(connection, client)
        if chosen is None:
            return _without_client(request, "manager_dashboard.html", "dashboard")
        of = read_month(month) or await _last_month(connection, chosen.id, now)
        this = await _month(connection, chosen.id, of)
        before = await _month(connection, chosen.id, add_months(of, -1))
        begin, end = _bounds(of)
        points = await managing.list_points(connection, chosen.id, begin, end)
        statements = await managing.list_statements(connection, client_id=chosen.id)
    language = language_of(request)
    shown = Shown(language)
    standings = [standing_of(row, now) for row in statements]
    return manager_page(
        request,
        "manager_dashboard.html",
        "dashboard",
        client=chosen,
        clients=clients,
        months=named_months(months_until(paris_day(now)), language),
        month=f"{of:%Y-%m}",
        month_name=shown.month(of),
        is_running=end > now,
        figures=_figures(this, before, of, shown, is_running=end > now),
        unpriced=sum(one.unpriced for one in this.days),
        waiting=_waiting(standings, shown),
        statement_id=this.money.statement_id,
        days=this.days,
        by_day=_day_chart(this.days, of, shown),
        points=[_named(one) for one in points],
        by_point=_point_chart(points, shown),
    )


@router.get("/gestion/releves")
async def show_statements(request: Request, client: str = "") -> Response:
    """All statements, the newest first."""
    me = manager_of(request)
    if me is None:
        return sent_to("/login?next=/gestion/releves")
    now = datetime.now(UTC)
    async with reading(request, me) as connection:
        clients, chosen = await choose_client(connection, client)
        if chosen is None:
            return _without_client(request, "manager_statements.html", "statements")
        rows = await managing.list_statements(connection, client_id=chosen.id)
    return manager_page(
        request,
        "manager_statements.html",
        "statements",
        client=chosen,
        clients=clients,
        statements=[standing_of(row, now) for row in rows],
    )


@router.get("/gestion/utilisateurs")
async def show_users(request: Request, client: str = "", month: str = "") -> Response:
    """Who charged how much in a month."""
    me = manager_of(request)
    if me is None:
        return sent_to("/login?next=/gestion/utilisateurs")
    now = datetime.now(UTC)
    async with reading(request, me) as connection:
        clients, chosen = await choose_client(connection, client)
        if chosen is None:
            return _without_client(request, "manager_users.html", "users")
        of = read_month(month) or await _last_month(connection, chosen.id, now)
        users = await managing.list_users(connection, chosen.id, *_bounds(of))
    language = language_of(request)
    return manager_page(
        request,
        "manager_users.html",
        "users",
        client=chosen,
        clients=clients,
        months=named_months(months_until(paris_day(now)), language),
        month=f"{of:%Y-%m}",
        month_name=Shown(language).month(of),
        users=users,
    )


@router.get("/gestion/factures")
async def show_invoices(
    request: Request, client: str = "", month: str = "", before: str = ""
) -> Response:
    """Invoices in the client's name, the newest first; and the operator's to it."""
    me = manager_of(request)
    if me is None:
        return sent_to("/login?next=/gestion/factures")
    now, of = datetime.now(UTC), read_month(month)
    async with reading(request, me) as connection:
        clients, chosen = await choose_client(connection, client)
        if chosen is None:
            return _without_client(request, "manager_invoices.html", "invoices")
        invoices, own = [
            await managing.list_invoices(
                connection,
                chosen.id,
                issuer,
                month=of,
                before=_number(before) if issuer == "client" else None,
                limit=INVOICES_SHOWN + 1,
            )
            for issuer in ("client", "operator")
        ]
    older = ""
    if len(invoices) > INVOICES_SHOWN:
        older = f"?client={chosen.id}&month={month if of else ''}&before={invoices[-2].id}"
        if request.query_params.get("lang") == language_of(request):
            older += f"&lang={language_of(request)}"
    return manager_page(
        request,
        "manager_invoices.html",
        "invoices",
        client=chosen,
        clients=clients,
        months=named_months(months_until(paris_day(now)), language_of(request)),
        month=f"{of:%Y-%m}" if of else "",
        invoices=[(one, invoice_standing(one, now)) for one in invoices[:INVOICES_SHOWN]],
        own=[(one, invoice_standing(one, now)) for one in own[:INVOICES_SHOWN]],
        older=older,
    )


# --- What they share ------------------------------------------------------------------------------


def _without_client(request: Request, template: str, part: str) -> Response:
    return manager_page(request, template, part)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _bounds(month: date) -> tuple[datetime, datetime]:
    """Where the month begins and ends in Paris, in UTC."""
    return start_of_day(month), end_of_day(add_months(month, 1) - timedelta(days=1))


async def _last_month(connection: AsyncConnection, client_id: int, now: datetime) -> date:
    """The newest month in which something happened; this one when nothing ever did."""
    last = await managing.find_last_activity(connection, client_id, now)
    return (last or paris_day(now)).replace(day=1)


async def _month(connection: AsyncConnection, client_id: int, month: date) -> Month:
    return Month(
        await managing.list_days(connection, client_id, *_bounds(month)),
        await managing.get_money(connection, client_id, month),
    )


def _figures(
    this: Month, before: Month, month: date, shown: Shown, *, is_running: bool
) -> list[Figure]:
    """What the month came to; beside the month before once it is whole."""
    words = MANAGER_TEXTS[shown.language]
    former = shown.month(add_months(month, -1))

    def note(now: int, then: int) -> str:
        if is_running or not before.sessions or not then:
            return ""
        if now == then:
            return words["as_before"].format(month=former)
        change = f"{(now - then) / then:+.0%}".replace("%", "\u202f%").replace("-", "\u2212")
        return words["than_before"].format(change=change, month=former)

    money, then = this.money, before.money
    net = Figure(words["net"], "–", words["net_open"], main=True)
    if money.net_cents is not None:
        name = words["net"] if money.net_cents >= 0 else words["carried"]
        told = note(money.net_cents, then.net_cents) if then.net_cents is not None else ""
        net = Figure(name, shown.money(money.net_cents), told, main=True)
    return [
        net,
        Figure(
            words["collected"],
            shown.money(money.collected_cents),
            note(money.collected_cents, then.collected_cents),
        ),
        Figure(words["uncollected"], shown.money(money.uncollected_cents), ""),
        Figure(
            words["energy"], shown.about(this.energy_wh), note(this.energy_wh, before.energy_wh)
        ),
        Figure(words["sessions"], str(this.sessions), note(this.sessions, before.sessions)),
    ]


def _waiting(standings: Sequence[Standing], shown: Shown) -> list[Waiting]:
    words = MANAGER_TEXTS[shown.language]
    found = []
    for one in standings:
        if one.is_open and one.contest_until is not None:
            text = words["deadline"].format(
                of_month=shown.of_month(one.month), day=shown.day(one.contest_until)
            )
            found.append(Waiting(one.id, text))
        if one.disputes_open:
            name = words["statement_of"].format(of_month=shown.of_month(one.month))
            held = words["deadline_held_one" if one.disputes_open == 1 else "deadline_held"]
            found.append(Waiting(one.id, held.format(of_month=name, number=one.disputes_open)))
    return found


def _named(row: PointRow) -> ShownPoint:
    label = label_of(row.evse_static, row.station_id, row.evse_id or 0)
    return ShownPoint(label, row.site, row.sessions, row.energy_wh, row.billed_cents)


def _day_chart(days: Sequence[DayRow], month: date, shown: Shown) -> charts.Chart:
    """A bar for every day of the month, those without a session too."""
    found = {one.day: one.energy_wh for one in days}
    length = (add_months(month, 1) - month).days
    values = []
    for number in range(length):
        day = month + timedelta(days=number)
        energy_wh = found.get(day, 0)
        values.append((str(day.day), energy_wh / 1000, shown.about(energy_wh)))
    return charts.columns(values)


def _point_chart(points: Sequence[PointRow], shown: Shown) -> charts.Chart:
    """The most used points; the table has all."""
    return charts.rows(
        [
            (_named(one).label, one.energy_wh / 1000, shown.about(one.energy_wh))
            for one in points[:POINTS_DRAWN]
        ]
    )
