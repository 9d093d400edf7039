"""The web application, put together."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

from csms.commands import Watch
from csms.config import Settings
from csms.live import Live
from csms.logins import Means
from csms.password_work import PasswordWork
from csms.web import (
    auth_api,
    banking_api,
    billing_api,
    card_payments_api,
    certificates_api,
    clients_api,
    commands_api,
    contracts_api,
    desk_api,
    docs,
    drivers_api,
    groups_api,
    health,
    invoices_api,
    irve_api,
    keys_api,
    late_api,
    limits_api,
    login_pages,
    manager_contest,
    manager_invoice,
    manager_pages,
    manager_statement,
    me_api,
    me_points_api,
    me_sessions_api,
    my_badges_api,
    my_memberships_api,
    my_payments_api,
    my_supply_api,
    notifications_api,
    observed_api,
    ocpi_server,
    outlets_api,
    pages,
    partners_api,
    payments_api,
    people_api,
    privacy_api,
    privacy_page,
    problems,
    providers_api,
    quotes_api,
    receipts_api,
    reminders_api,
    report_pages,
    reports_api,
    reservations_api,
    security_api,
    sessions_api,
    sites_api,
    statements_api,
    stations_api,
    stickers_api,
    supply_api,
    tariffs_api,
    tokens_api,
    webhooks_api,
    windows_api,
)
from csms.web.guard import Guard
from csms.web.health import Ready

_STATIC = Path(__file__).parent / "static"
_DESCRIPTION = """The operator's view of stations, badges, sessions, frames and what needs a person.

Every request carries `Authorization: Bearer <key>`: a key that `time2plug key create` printed, or
the access token of a person's log-in (`POST /api/v1/auth/log-in`), which lasts some minutes and is
refreshed. What a browser sends with its cookie carries `X-CSRF-Token` where it changes something.

Lists are `{"items": [...], "next": cursor or null, "total": n}` and take `limit` and `cursor`, and
`from` and `to` where time matters. Errors are problem details (RFC 9457). Times are RFC 3339; we
answer in UTC. `PUT` creates or replaces, `PATCH` changes what is named, `DELETE` retires."""
_TAGS = [
    {"name": "Stations", "description": "Charge points: who may connect, and how they stand."},
    {"name": "Orders", "description": "What stations are told to do, and what came of it."},
    {"name": "Certificates", "description": "How stations prove who they are."},
    {"name": "Energy", "description": "How much power may be given, where and when."},
    {"name": "Clients and sites", "description": "Whose they are and where."},
    {"name": "Contracts", "description": "What was agreed with clients, and what is in force."},
    {"name": "Tariffs", "description": "What charging costs, where, for whom and from when on."},
    {"name": "Badges", "description": "Who may charge."},
    {"name": "Drivers", "description": "Who charges: groups, access, badges, means of payment."},
    {"name": "My badges", "description": "A driver's own."},
    {"name": "Drivers: me", "description": "What a driver finds, charges and reserves."},
    {"name": "Reservations", "description": "Who keeps which point, and when."},
    {"name": "Sessions", "description": "Who charged what, where and when."},
    {"name": "Invoices", "description": "In the name of clients, and the operator's own."},
    {"name": "Receipts", "description": "Money received from drivers, and what it paid."},
    {"name": "Payments", "description": "By bank: payouts, debits, files, the bank's statements."},
    {"name": "Quotes", "description": "What the operator offers, installs and charges for."},
    {"name": "Personal data", "description": "The register, one's rights, the archive."},
    {"name": "Journal", "description": "Every frame of either side."},
    {
        "name": "Reports",
        "description": "Availability, consumption, and what people enter for them.",
    },
    {"name": "Outlets", "description": "What leaves for other systems."},
    {"name": "Partners", "description": "Whom we speak OCPI with, and what they are told of."},
    {"name": "Reconciliation", "description": "What could not be matched, settled by a person."},
    {"name": "Log-in", "description": "Address and password, tokens, links that were mailed."},
    {"name": "My account", "description": "What people see and change of themselves."},
    {"name": "People and keys", "description": "Who may do what, and who did what."},
    {"name": "Notifications", "description": "What people and machines are told, and its proof."},
    {"name": "Deviations and quirks", "description": "Stations that depart from OCPP."},
    {"name": "Open data", "description": "The national files of public points, for anybody."},
]


def create_app(
    pool: AsyncConnectionPool,
    settings: Settings,
    *,
    people: AsyncConnectionPool,
    ready: Ready | None = None,
    watch: Watch | None = None,
) -> FastAPI:
    """The application on an open pool, and on one of the people's role. `watch` tells at once when
    orders are over.

    `ready` adds the process's own conditions to /readyz: it returns what is not ready, by name,
    with the reason; an empty dict is ready.
    """
    app = FastAPI(
        title="Time2Plug Supervision",
        version=_version(),
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would lead to whatever host the request says
        middleware=[Middleware(Guard, pool=pool, settings=settings)],
    )
    app.state.pool = pool
    app.state.people = people
    app.state.settings = settings
    app.state.means = Means(
        pool, settings, PasswordWork(settings.argon2_workers, settings.login_queue_waiting_max)
    )
    app.state.watch = watch
    app.state.telemetry = None  # wakes nodes by MQTT, where there is a broker
    app.state.live = Live(pool, settings)  # its `run` is the caller's
    app.state.price = me_sessions_api.no_price  # of a session so far; handed in from above
    problems.install(app)
    for part in (
        commands_api,  # these first: the address of a station may hold slashes, and takes the rest
        security_api,
        stations_api,
        sites_api,
        clients_api,
        contracts_api,
        tariffs_api,
        tokens_api,
        drivers_api,
        groups_api,
        my_badges_api,
        my_memberships_api,
        sessions_api,
        desk_api,
        observed_api,
        limits_api,
        certificates_api,
        auth_api,
        me_api,
        people_api,
        keys_api,
        notifications_api,
        webhooks_api,
        me_points_api,
        me_sessions_api,
        reservations_api,
        stickers_api,
        privacy_api,
        invoices_api,
        billing_api,
        receipts_api,
        providers_api,
        statements_api,
        payments_api,
        reminders_api,
        banking_api,
        late_api,
        quotes_api,
        my_payments_api,
        supply_api,
        my_supply_api,
        card_payments_api,
        outlets_api,
        partners_api,
        windows_api,
        reports_api,
    ):
        app.include_router(part.router, prefix="/api/v1")
    irve_api.install(app, pool, settings)
    ocpi_server.install(app, pool, settings)
    app.include_router(pages.router)
    app.include_router(privacy_page.router)
    login_pages.install(app)
    app.include_router(manager_pages.router)
    app.include_router(manager_statement.router)
    app.include_router(manager_contest.router)
    app.include_router(manager_invoice.router)
    app.include_router(report_pages.router)
    app.include_router(docs.router)
    app.include_router(stickers_api.page_router)
    app.include_router(reports_api.page_router)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    health.install(app, pool, ready)
    return app


def _version() -> str:
    try:
        return version("time2plug")
    except PackageNotFoundError:
        return "0"
