"""Every operation, called by everybody: the wrong manager or driver, a lower role, nobody.

The operations come from the application itself, so that one that is added tomorrow is called too.
Two clients have the same things; each name of A's holds the word alpha, of B's the word beta.
Whoever belongs to A calls every operation with B's identifiers; no answer may hold the word beta.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

from csms import principals
from csms.config import Settings
from csms.db import Database, connect
from csms.web import guard
from csms.web.app import create_app
from tests.scenarios import two_clients
from tests.scenarios.routes import Operation, everything, operations

# What people other than operators may call. Everything else is for operators: to look with the role
# read, to change with operate, unless it stands in NEEDS.
LOG_OUT: Final = "/api/v1/auth/log-out"
MANAGERS: Final = {
    "GET /api/v1/audit",
    "GET /api/v1/availability-windows",
    "GET /api/v1/reports/availability",
    "GET /api/v1/reports/consumption",
    "GET /api/v1/subscribed-powers",
    "GET /api/v1/badge-orders",
    "GET /api/v1/drivers",
    "GET /api/v1/drivers/{person_id}",
    "GET /api/v1/drivers/{person_id}/badges",
    "GET /api/v1/drivers/{person_id}/groups",
    "GET /api/v1/groups",
    "GET /api/v1/groups/{group_id}",
    "GET /api/v1/groups/{group_id}/access",
    "GET /api/v1/groups/{group_id}/members",
    "GET /api/v1/disputes",
    "GET /api/v1/invoices",
    "GET /api/v1/invoices/{invoice_id}",
    "GET /api/v1/invoices/{invoice_id}/files/{file_format}",
    "GET /api/v1/payouts",
    "GET /api/v1/payouts/{payout_id}",
    "GET /api/v1/points/stickers.pdf",
    "GET /api/v1/quotes",
    "GET /api/v1/quotes/{quote_id}",
    "GET /api/v1/power-limits",
    "GET /api/v1/reservations",
    "GET /api/v1/sessions",
    "GET /api/v1/sessions/{session_id}",
    "GET /api/v1/sessions/{session_id}/meter-values",
    "GET /api/v1/sites",
    "GET /api/v1/sites/{site_id:path}",
    "GET /api/v1/sites/{site_id:path}/history",
    "GET /api/v1/stations",
    "GET /api/v1/stations/{station_id:path}/declarability",
    "GET /api/v1/stations/{station_id:path}/history",
    "GET /api/v1/stations/{station_id:path}",
    "GET /api/v1/tariffs",
    "GET /api/v1/tariffs/{tariff_id}",
    "GET /api/v1/tariffs/{tariff_id}/scopes",
    "GET /api/v1/tariffs/{tariff_id}/versions",
    "POST /api/v1/tariffs/preview",
    "GET /api/v1/webhooks",
    "GET /api/v1/webhooks/{webhook_id}",
    "GET /api/v1/clients/{client_id}/lots/{month}",
    "GET /api/v1/clients/{client_id}/lots/{month}/file.csv",
    "GET /api/v1/clients/{client_id}/supply-comparisons",
    "GET /api/v1/supplies",
    "GET /api/v1/statements",
    "GET /api/v1/statements/{statement_id}",
    "GET /api/v1/statements/{statement_id}/files/{file_format}",
    "GET /api/v1/statements/{statement_id}/lines",
}
PEOPLE: Final = ("/api/v1/me/", LOG_OUT + "/")  # whoever is logged in, but what stands in DRIVERS
ADMINS: Final = (
    *("/api/v1/people", "/api/v1/keys", "/api/v1/ocpi-partners"),
    *("/api/v1/data-requests", "/api/v1/archive/", "/api/v1/privacy/runs"),
)
# What managers may change, of their own clients; a client's key may not.
KEEPERS: Final = {
    "POST /api/v1/badge-orders",
    "PATCH /api/v1/badge-orders/{order_id}",
    "POST /api/v1/drivers",
    "PATCH /api/v1/drivers/{person_id}",
    "POST /api/v1/drivers/{person_id}/badges",
    "PATCH /api/v1/drivers/{person_id}/badges/{uid:path}",
    "DELETE /api/v1/drivers/{person_id}/badges/{uid:path}",
    "POST /api/v1/drivers/import",
    "POST /api/v1/disputes/{dispute_id}/withdraw",
    "POST /api/v1/invoices/{invoice_id}/contest",
    "POST /api/v1/statement-lines/{line_id}/contest",
    "POST /api/v1/groups",
    "PATCH /api/v1/groups/{group_id}",
    "DELETE /api/v1/groups/{group_id}",
    "POST /api/v1/groups/{group_id}/access",
    "DELETE /api/v1/groups/{group_id}/access/{access_id}",
    "POST /api/v1/groups/{group_id}/members",
    "DELETE /api/v1/groups/{group_id}/members/{person_id}",
}
DRIVERS: Final = {
    "GET /api/v1/me/badge-orders",
    "POST /api/v1/me/badge-orders",
    "GET /api/v1/me/badges",
    "PATCH /api/v1/me/badges/{uid:path}",
    "GET /api/v1/me/invoices",
    "GET /api/v1/me/invoices/{invoice_id}",
    "GET /api/v1/me/invoices/{invoice_id}/files/{file_format}",
    "GET /api/v1/me/payment-blocks",
    "GET /api/v1/me/direct-debits",
    "GET /api/v1/me/sepa-mandates",
    "GET /api/v1/me/lots",
    "GET /api/v1/me/card-payments",
    "POST /api/v1/me/invoices/{invoice_id}/card-payment",
    "GET /api/v1/me/supply-documents",
    "GET /api/v1/me/points",
    "GET /api/v1/me/points/{point_id}",
    "POST /api/v1/me/points/{point_id}/watch",
    "DELETE /api/v1/me/points/{point_id}/watch",
    "GET /api/v1/me/reservations",
    "POST /api/v1/me/reservations",
    "GET /api/v1/me/reservations/{reservation_id}",
    "DELETE /api/v1/me/reservations/{reservation_id}",
    "GET /api/v1/me/sessions",
    "POST /api/v1/me/sessions",
    "GET /api/v1/me/sessions/{session_id}",
    "GET /api/v1/me/sessions/{session_id}/events",
    "GET /api/v1/me/sessions/{session_id}/meter-values",
    "POST /api/v1/me/sessions/{session_id}/stop",
    "GET /api/v1/me/starts/{start_id}",
}
FINANCE: Final = {
    "POST /api/v1/billing/mentions",
    "POST /api/v1/holdings",
    "POST /api/v1/holdings/{holding_id}/end",
    "POST /api/v1/holdings/{holding_id}/provision",
    "POST /api/v1/holdings/{holding_id}/release",
    "POST /api/v1/lots/import",
    "POST /api/v1/card-payments/{payment_id}/refund",
    "POST /api/v1/drivers/{person_id}/provider-methods",
    "DELETE /api/v1/drivers/{person_id}/provider-methods",
    "POST /api/v1/provider-settlements",
    "POST /api/v1/supplies",
    "POST /api/v1/supplies/{supply_id}/end",
    "POST /api/v1/billing/vat-rates",
    "POST /api/v1/clients/{client_id}/contracts",
    "POST /api/v1/clients/{client_id}/ibans",
    "POST /api/v1/clients/{client_id}/ibans/{iban_id}/approve",
    "POST /api/v1/clients/{client_id}/ibans/{iban_id}/refuse",
    "POST /api/v1/clients/{client_id}/own-sales",
    "POST /api/v1/clients/{client_id}/vat",
    "PATCH /api/v1/contracts/{contract_id}",
    "POST /api/v1/contracts/{contract_id}/close",
    "POST /api/v1/contracts/{contract_id}/letters",
    "PUT /api/v1/contracts/{contract_id}/options/{option}",
    "DELETE /api/v1/contracts/{contract_id}/options/{option}",
    "POST /api/v1/contracts/{contract_id}/resume",
    "POST /api/v1/contracts/{contract_id}/revoke-mandate",
    "POST /api/v1/contracts/{contract_id}/suspend",
    "POST /api/v1/contracts/{contract_id}/terminate",
    "POST /api/v1/contracts/{contract_id}/terms",
    "POST /api/v1/contracts/{contract_id}/withdraw-notice",
    "POST /api/v1/disputes/{dispute_id}/decide",
    "POST /api/v1/invoices/{invoice_id}/correct",
    "POST /api/v1/invoices/{invoice_id}/credit",
    "POST /api/v1/bank-lines/{line_id}/explain",
    "POST /api/v1/bank-statements",
    "POST /api/v1/clients/{client_id}/sepa-mandates",
    "POST /api/v1/clients/{client_id}/sepa-mandates/{mandate_id}/revoke",
    "POST /api/v1/direct-debits",
    "DELETE /api/v1/payment-blocks/{block_id}",
    "POST /api/v1/drivers/{person_id}/sepa-mandates",
    "POST /api/v1/drivers/{person_id}/sepa-mandates/{mandate_id}/revoke",
    "POST /api/v1/late-payments",
    "PUT /api/v1/billing/legal-rates/{semester}",
    "POST /api/v1/payment-files/{file_id}/approve",
    "POST /api/v1/payment-files/{file_id}/cancel",
    "POST /api/v1/payment-files/{file_id}/hand-out",
    "POST /api/v1/payment-reports",
    "POST /api/v1/payouts",
    "POST /api/v1/clients/{client_id}/additional-costs",
    "POST /api/v1/own-refunds/{invoice_id}",
    "POST /api/v1/quotes",
    "POST /api/v1/quotes/{quote_id}/accept",
    "POST /api/v1/quotes/{quote_id}/cancel",
    "POST /api/v1/quotes/{quote_id}/complete",
    "POST /api/v1/quotes/{quote_id}/decline",
    "POST /api/v1/quotes/{quote_id}/withdraw",
    "POST /api/v1/receipts",
    "POST /api/v1/tariffs",
    "DELETE /api/v1/tariffs/{tariff_id}",
    "POST /api/v1/tariffs/{tariff_id}/scopes",
    "DELETE /api/v1/tariffs/{tariff_id}/scopes/{scope_id}",
    "POST /api/v1/tariffs/{tariff_id}/versions",
    "DELETE /api/v1/tariffs/{tariff_id}/versions/{version_id}",
    "POST /api/v1/vat-rates",
}
NEEDS: Final[dict[str, str]] = {
    **dict.fromkeys(FINANCE, "finance"),
    "POST /api/v1/tariffs/preview": "read",  # it changes nothing
}


def needed_role(operation: Operation) -> str:
    if operation.path.startswith(ADMINS):
        return "admin"
    return NEEDS.get(str(operation), "read" if operation.method == "GET" else "operate")


def address(operation: Operation, which: int) -> str:
    """The operation's address with what is A's (0) or B's (1) in it."""

    def value(match: re.Match[str]) -> str:
        name = match[1].split(":")[0]
        return two_clients.VALUES.get(name, ("1", "2"))[which]

    return re.sub(r"\{([^}]+)\}", value, operation.path)


@pytest.fixture
async def app(
    database: Database, pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> FastAPI:
    async with await connect(database, owner=True) as owner:
        await owner.execute(two_clients.WORLD.encode())
    return create_app(pool, settings, people=people)


Client = Callable[[str], httpx.AsyncClient]


@pytest.fixture
async def clients(
    app: FastAPI, pool: AsyncConnectionPool
) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client of each kind, by what it is: nobody, driver, manager, key, and the four roles."""
    async with pool.connection() as connection:
        bearers = await two_clients.log_everybody_in(connection)
    opened = {
        who: httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://test",
            headers={} if bearer is None else {"Authorization": f"Bearer {bearer}"},
        )
        for who, bearer in bearers.items()
    }
    yield opened
    for client in opened.values():
        await client.aclose()


def allowed(operation: Operation) -> set[str]:
    """Who gets past the door; what they find behind it is another matter."""
    name = str(operation)
    if operation.path in guard.OPEN:
        return {"nobody", "driver", "manager", "key of a client", *principals.ROLES}
    if name in DRIVERS:
        return {"driver"}
    if (operation.path + "/").startswith(PEOPLE):
        return {"driver", "manager", *principals.ROLES}
    may = {needed_role(operation)}
    if name in MANAGERS:
        may |= {"manager", "key of a client"}
    if name in KEEPERS:
        may.add("manager")
    return may


def bodies(operation: Operation) -> Iterator[dict[str, Any]]:
    """What is sent: nothing, or an object that hardly any operation takes."""
    if operation.method in ("POST", "PUT", "PATCH"):
        yield {"json": {}}
    else:
        yield {}


async def test_nobody_gets_past_the_door_but_those_who_may(
    app: FastAPI, clients: dict[str, httpx.AsyncClient]
) -> None:
    wrong = []
    for operation in operations(app):
        may = allowed(operation)
        for who, client in clients.items():
            if operation.method != "GET" and who in may:
                continue  # those who may change things are tested where the things are
            for body in bodies(operation):
                answer = await client.request(operation.method, address(operation, 0), **body)
                refused = answer.status_code in (401, 403)
                if refused == (who in may) or answer.status_code >= 500:
                    wrong.append(f"{operation} as {who}: {answer.status_code} {answer.text[:200]}")
                elif refused and (answer.status_code == 401) != (who == "nobody"):
                    wrong.append(f"{operation} as {who}: {answer.status_code}")
    assert not wrong, "\n".join(wrong)


async def test_nobody_of_one_client_learns_anything_of_another(
    app: FastAPI, clients: dict[str, httpx.AsyncClient]
) -> None:
    leaks = []
    seen = 0
    looking_first = sorted(operations(app), key=lambda operation: operation.method != "GET")
    for operation in looking_first:
        if operation.path == LOG_OUT:
            continue  # it would end here
        for who in ("manager", "driver", "key of a client", "nobody"):
            for body in bodies(operation):
                url = address(operation, 1)
                answer = await clients[who].request(operation.method, url, **body)
                text = answer.text.lower()
                for part in url.split("/"):  # what we asked for may be said back to us
                    text = text.replace(part.lower(), "")
                if operation.path == "/api/v1/audit" and answer.status_code == 200:
                    text = str(
                        [e for e in answer.json()["items"] if e["actor"] not in two_clients.OURS]
                    )
                if "beta" in text or answer.status_code >= 500:
                    leaks.append(f"{operation} as {who}: {answer.status_code} {answer.text[:300]}")
                if answer.status_code == 200 and "{" in operation.path and body == {}:
                    leaks.append(
                        f"{operation} as {who} found what is another's: {answer.text[:99]}"
                    )
                own = await clients[who].request(operation.method, address(operation, 0), **body)
                seen += "alpha" in own.text.lower()
    assert not leaks, "\n".join(leaks)
    assert seen >= len(MANAGERS), "people see what is their own"


def test_every_exception_names_an_operation(app: FastAPI) -> None:
    known = {str(operation) for operation in operations(app)}
    assert (MANAGERS | KEEPERS | DRIVERS | set(NEEDS)) <= known
    for beginning in (*PEOPLE, *ADMINS):
        assert any((operation.path + "/").startswith(beginning) for operation in operations(app))
    assert {operation.path for operation in everything(app)} >= guard.OPEN
