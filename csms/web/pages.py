"""The front page: for operators how things stand, in French or English, without a script;
managers go on to theirs."""

from datetime import UTC, datetime
from html import escape

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.responses import Response

from csms.store import observations
from csms.web.guard import Pool, principal_of
from csms.web.rendering import PARIS, language_of, moment, page, sent_to

router = APIRouter(include_in_schema=False)

_TEXTS = {
    "fr": {
        "title": "Time2Plug Supervision",
        "lead": "L’état des bornes à cet instant.",
        "stations": "Bornes connectées",
        "active": "Sessions en cours",
        "open": "À rapprocher",
        "ended": "Sessions terminées ce mois-ci",
        "energy": "Énergie délivrée ce mois-ci",
        "of": "sur",
        "as_of": "Au",
        "docs": "Documentation de l’API",
        "metrics": "Métriques",
        "privacy": "Données personnelles",
        "other": "English",
        "account": "Mon compte",
        "reports": "Rapports",
        "logout": "Se déconnecter",
    },
    "en": {
        "title": "Time2Plug Supervision",
        "lead": "How the charge points stand right now.",
        "stations": "Stations connected",
        "active": "Sessions in progress",
        "open": "To reconcile",
        "ended": "Sessions ended this month",
        "energy": "Energy delivered this month",
        "of": "of",
        "as_of": "As of",
        "docs": "API documentation",
        "metrics": "Metrics",
        "privacy": "Personal data",
        "other": "Français",
        "account": "My account",
        "reports": "Reports",
        "logout": "Log out",
    },
}


@router.get("/", response_model=None)
async def front_page(request: Request, pool: Pool, lang: str | None = None) -> Response:
    """How the fleet stands, for operators; a small home for others; nobody is asked to log in."""
    principal = principal_of(request)
    if principal is None:
        return sent_to("/login" if lang is None else f"/login?lang={language_of(request)}")
    if not principal.is_operator and principal.manages:
        return sent_to("/gestion" if lang is None else f"/gestion?lang={language_of(request)}")
    if not principal.is_operator:
        return page(request, "home.html", principal=principal)
    now = datetime.now(UTC)
    start, end = month_bounds(now)
    async with pool.connection() as connection:
        overview = await observations.get_overview(connection, start, end)
    return HTMLResponse(render(overview, now, language_of(request)))


def month_bounds(now: datetime) -> tuple[datetime, datetime]:
    """Begin and end in UTC of the calendar month of Paris that `now` lies in."""
    local = now.astimezone(PARIS)
    start = datetime(local.year, local.month, 1, tzinfo=PARIS)
    year, month = divmod(local.year * 12 + local.month, 12)
    end = datetime(year, month + 1, 1, tzinfo=PARIS)
    return start.astimezone(UTC), end.astimezone(UTC)


def render(overview: observations.Overview, now: datetime, language: str) -> str:
    """The page as HTML."""
    text = {name: escape(value) for name, value in _TEXTS[language].items()}
    other = "en" if language == "fr" else "fr"
    figures = [
        (
            text["stations"],
            f"{_number(overview.stations_connected, language)} "
            f"<small>{text['of']} {_number(overview.stations, language)}</small>",
        ),
        (text["active"], _number(overview.sessions_active, language)),
        (text["ended"], _number(overview.sessions_ended, language)),
        (text["energy"], f"{_number(overview.energy_wh // 1000, language)} <small>kWh</small>"),
        (text["open"], _number(overview.entries_open, language)),
    ]
    cards = "\n".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures)
    return f"""<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text["title"]}</title>
<link rel="stylesheet" href="/static/site.css">
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
</head>
<body>
<header><h1>{text["title"]}</h1><p>{text["lead"]}</p></header>
<main>
<dl class="figures">
{cards}
</dl>
<p class="moment">{text["as_of"]} {escape(moment(now, language))}</p>
</main>
<footer><nav>
<a href="/rapports">{text["reports"]}</a>
<a href="/account">{text["account"]}</a>
<a href="/logout">{text["logout"]}</a>
<a href="/docs">{text["docs"]}</a>
<a href="/metrics">{text["metrics"]}</a>
<a href="/confidentialite?lang={language}">{text["privacy"]}</a>
<a href="/?lang={other}" hreflang="{other}" lang="{other}">{text["other"]}</a>
</nav></footer>
</body>
</html>
"""


def _number(value: int, language: str) -> str:
    """Grouped in thousands: by narrow no-break spaces in French."""
    return f"{value:,}".replace(",", "\u202f") if language == "fr" else f"{value:,}"
