"""What managers' pages share: who asks, for which client, how figures are written.

They read in the manager's own connection: row-level security decides what there is.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from psycopg import AsyncConnection
from starlette.responses import Response

from billing import formats
from billing.statement_texts import TEXTS as STATEMENT_TEXTS
from billing.store import managing
from billing.store.managing import ClientRow
from csms.db import acting
from csms.deadlines import PARIS, add_months, paris_day
from csms.principals import Principal
from csms.web.guard import principal_of
from csms.web.manager_texts import MANAGER_TEXTS
from csms.web.rendering import Ties, language_of, page

MONTHS_SHOWN = 24
YEAR_FIRST, YEAR_LAST = 2000, 2099
_KEPT = ("client", "month", "kind", "before", "page")


@dataclass(frozen=True, slots=True)
class Shown:
    """Figures as the reader's language writes them, and the words of statements."""

    language: str

    @property
    def words(self) -> dict[str, str]:
        """Of statements, as their files have them."""
        return STATEMENT_TEXTS[self.language]

    def money(self, cents: int) -> str:
        """An amount in euros."""
        return formats.money(cents, self.language)

    def energy(self, wh: int) -> str:
        """In kWh."""
        return formats.energy(wh, self.language)

    def about(self, wh: int) -> str:
        """In whole kWh, for a look."""
        return formats.energy(wh, self.language, places=0)

    def percent(self, rate: Decimal) -> str:
        """Of a rate in hundredths."""
        return formats.percent(rate, self.language)

    def day(self, on: date) -> str:
        """A day in figures."""
        return formats.day(on, self.language)

    def on(self, at: datetime) -> str:
        """The day in Paris of a moment."""
        return formats.day(paris_day(at), self.language)

    def moment(self, at: datetime) -> str:
        """Day and minute in Paris."""
        return formats.moment(at, self.language, PARIS)

    def written(self, at: str) -> str:
        """Day and minute in Paris of a moment that a document has as RFC 3339."""
        return self.moment(datetime.fromisoformat(at))

    def duration(self, seconds: float) -> str:
        """Hours and minutes."""
        return formats.duration(seconds, self.language)

    def month(self, month: date) -> str:
        """A month in words."""
        return formats.month_name(month, self.language)

    def of_month(self, month: date) -> str:
        """Of a month: d’octobre 2026, de mai 2026."""
        name = self.month(month)
        if self.language != "fr":
            return f"of {name}"
        return f"d’{name}" if name[0] in "ao" else f"de {name}"


def manager_of(request: Request) -> Principal | None:
    """Whoever is logged in as a person; None: nobody is."""
    principal = principal_of(request)
    return principal if principal is not None and principal.person_id is not None else None


def reading(request: Request, me: Principal) -> AbstractAsyncContextManager[AsyncConnection]:
    """A connection that sees what is hers."""
    return acting(request.app.state.people, person_id=me.person_id)


async def choose_client(
    connection: AsyncConnection, asked: str
) -> tuple[list[ClientRow], ClientRow | None]:
    """The clients that she manages, and the one that the address names, or the first."""
    clients = await managing.list_clients(connection)
    chosen = [one for one in clients if str(one.id) == asked]
    return clients, next(iter(chosen or clients), None)


def months_until(last: date) -> list[date]:
    """The first days of the last months, the newest first."""
    first = last.replace(day=1)
    return [add_months(first, -back) for back in range(MONTHS_SHOWN)]


def read_month(asked: str) -> date | None:
    """The month that an address names as 2026-10; None for whatever else, and for years whose
    neighbours the calendar does not have."""
    if len(asked) != 7 or not asked.isascii():
        return None
    try:
        found = date.fromisoformat(f"{asked}-01")
    except ValueError:
        return None
    return found if YEAR_FIRST <= found.year <= YEAR_LAST else None


def named_months(months: Sequence[date], language: str) -> list[tuple[str, str]]:
    """Months for a list to choose from."""
    return [(f"{one:%Y-%m}", formats.month_name(one, language)) for one in months]


def manager_page(
    request: Request,
    template: str,
    part: str,
    *,
    client: ClientRow | None = None,
    clients: Sequence[ClientRow] = (),
    status: int = 200,
    ties: Ties | None = None,
    **values: Any,
) -> Response:
    """A page in the managers' frame; `part`: which of its parts it belongs to."""
    language = language_of(request)
    asked = request.query_params.get("lang")
    # What is read in another language is the same thing: of the same client, month and page.
    kept = [(name, text) for name, text in request.query_params.items() if name in _KEPT]
    elsewhere = urlencode([*kept, ("lang", "en" if language == "fr" else "fr")])
    query = [f"client={client.id}"] if client is not None and len(clients) > 1 else []
    if asked == language:
        query.append(f"lang={asked}")
    tail = f"?{'&'.join(query)}" if query else ""
    return page(
        request,
        template,
        status=status,
        ties=ties,
        m=MANAGER_TEXTS[language],
        shown=Shown(language),
        part=part,
        client=client,
        clients=clients,
        link=lambda path: path + tail,
        elsewhere=f"?{elsewhere}",
        **values,
    )


def missing(request: Request) -> Response:
    """What is not there, or not hers: both are answered alike."""
    return manager_page(request, "manager_missing.html", "", status=404)
