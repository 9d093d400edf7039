"""Every operation, called by everybody: the wrong manager or driver, a lower role, nobody.

The operations come from the application itself, so that one that is added tomorrow is called too.
Two clients have the same things; each name of A's holds the word alpha, of B's the word beta.
Whoever belongs to A calls every operation with B's identifiers; no answer may hold the word beta.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

from csms import keys, principals
from csms.config import Settings
from csms.db import Database, connect
from csms.web import create_app, guard

NOW: Final = datetime.now(UTC)

# Everything of client A and B. The same numbers everywhere: A's things have odd ids, B's even ones.
WORLD: Final = """
INSERT INTO client (name) VALUES ('alpha'), ('beta');
INSERT INTO site (id, client_id, name)
    SELECT name || '-site', id, name FROM client WHERE NOT is_operator;
INSERT INTO station (id, client_id, site_id, public)
    SELECT name || '-station', id, name || '-site', false FROM client WHERE NOT is_operator;
INSERT INTO evse (station_key, evse_id, status) SELECT station_key, 1, 'available' FROM station;
INSERT INTO connector (station_key, evse_id, connector_id) SELECT station_key, 1, 1 FROM station;
UPDATE point SET code = CASE s.id WHEN 'alpha-station' THEN 'AAAA22' ELSE 'BETA22' END
  FROM station s WHERE s.station_key = point.station_key;
INSERT INTO person (email, given_name, family_name)
    SELECT kind || '-' || name || '@example.org', kind || ' ' || name, name
      FROM client, unnest(ARRAY['manager', 'driver']) kind WHERE NOT is_operator
     ORDER BY kind DESC, name;
INSERT INTO person (email, given_name, operator_roles)
    SELECT role || '@example.org', role, ARRAY[role]
      FROM unnest(ARRAY['read', 'operate', 'finance', 'admin']) role;
INSERT INTO client_manager (person_id, client_id, granted_by)
    SELECT p.id, c.id, 'test' FROM person p JOIN client c ON p.given_name = 'manager ' || c.name;
INSERT INTO driver (person_id, billing_name)
    SELECT id, given_name FROM person WHERE given_name LIKE 'driver %';
INSERT INTO driver_group (client_id, name, kind)
    SELECT id, name || '-group', 'residents' FROM client WHERE NOT is_operator;
INSERT INTO group_access (group_id, client_id, site_id)
    SELECT g.id, g.client_id, s.id FROM driver_group g JOIN site s USING (client_id);
INSERT INTO group_member (group_id, person_id)
    SELECT g.id, p.id FROM driver_group g JOIN client c ON c.id = g.client_id
      JOIN person p ON p.given_name = 'driver ' || c.name;
INSERT INTO token (uid_key, uid) VALUES ('alpha01', 'ALPHA01'), ('beta01', 'BETA01');
INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
    SELECT t.token_key, t.uid_key, p.id, '2026-01-01'
      FROM token t JOIN person p ON p.given_name = 'driver ' || replace(t.uid_key, '01', '');
INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id, token_uid,
                     evse_id, connector_id, authorization_status, state, started_at, ended_at,
                     energy_wh)
    SELECT s.station_key * 10, s.client_id, s.site_id, s.station_key, '1', s.id || '-transaction',
           replace(s.id, '-station', '') || '01', 1, 1, 'Accepted', 'ended', '2026-10-01',
           '2026-10-02', 1000
      FROM station s;
INSERT INTO session_start (person_id, client_id, station_key, evse_id, uid_key, created_at, due_at)
    SELECT p.id, s.client_id, s.station_key, 1, t.uid_key, '2026-10-01', '2026-10-01'
      FROM station s JOIN token t ON t.uid_key = replace(s.id, '-station', '01')
      JOIN person p ON p.given_name = 'driver ' || replace(s.id, '-station', '')
     ORDER BY s.station_key;
INSERT INTO reservation (person_id, client_id, station_key, evse_id, uid_key, from_at, to_at,
                         lapses_at, created_at, created_by)
    SELECT person_id, client_id, station_key, 1, uid_key, '2026-12-01', '2026-12-02', '2026-12-02',
           now(), 'test' FROM session_start ORDER BY id;
INSERT INTO power_limit (client_id, site_id, limit_w, from_at, created_at)
    SELECT client_id, id, 7000, now(), now() FROM site;
INSERT INTO command (station_key, protocol, action, payload, origin, created_at, expires_at)
    SELECT station_key, 'ocpp1.6', 'Reset', '{"type":"Soft"}', 'operator', now(), now()
      FROM station;
INSERT INTO station_event (station_key, received_at, kind, content)
    SELECT station_key, now(), 'boot', '{}' FROM station;
INSERT INTO contract (client_id, client_class, devis_reference, starts_on, term_months)
    SELECT id, 'professionnel', name || '-devis', '2026-01-01', 36
      FROM client WHERE NOT is_operator ORDER BY id;
INSERT INTO contract_terms (client_id, contract_id, from_on, commission_rate,
                            monthly_management_fee_cents, yearly_subscription_cents,
                            monthly_telemetering_cents)
    SELECT client_id, id, starts_on, 0, 0, 0, 0 FROM contract;
INSERT INTO client_contact (client_id, name, email, purposes)
    SELECT id, name, name || '@example.org', '{statements}' FROM client WHERE NOT is_operator;
INSERT INTO client_iban (client_id, iban, holder, entered_by, entered_at)
    SELECT id, 'FR1420041010050500013M02606', name, 'test', now()
      FROM client WHERE NOT is_operator;
INSERT INTO audit_entry (at, actor, action, subject, client_id)
    SELECT now(), 'test', 'filled', name, id FROM client WHERE NOT is_operator;
INSERT INTO webhook (client_id, url, secret, created_at, created_by, updated_at)
    SELECT id, 'https://' || name || '.example.org', 'sealed', now(), 'test', now()
      FROM client WHERE NOT is_operator ORDER BY id;
INSERT INTO notification (event, at, client_id, person_id, subject)
    SELECT 'badge.activated', now(), 1, id, family_name || '-badge' FROM person
     WHERE family_name <> '';
INSERT INTO notification_delivery (notification_id, client_id, channel, person_id, created_at,
                                   next_at, give_up_at)
    SELECT id, client_id, 'email', person_id, at, at, at FROM notification;
"""


@dataclass(frozen=True)
class Operation:
    """One method of one address."""

    method: str
    path: str  # as the router has it

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def operations(app: FastAPI) -> list[Operation]:
    """All of /api, as the application's own routers tell them, those without a description too."""
    found = set()
    for part in app.routes:
        contexts = getattr(part, "effective_route_contexts", lambda part=part: [part])()
        for route in contexts:
            if (getattr(route, "path", None) or "").startswith("/api"):
                methods = set(route.methods or ()) - {"HEAD", "OPTIONS"}
                found |= {Operation(method, route.path) for method in methods}
    return sorted(found, key=str)


# What people other than operators may call. Everything else is for operators: to look with the role
# read, to change with operate, unless it stands in NEEDS.
LOG_OUT: Final = "/api/v1/auth/log-out"
MANAGERS: Final = {
    "GET /api/v1/audit",
    "GET /api/v1/badge-orders",
    "GET /api/v1/drivers",
    "GET /api/v1/drivers/{person_id}",
    "GET /api/v1/drivers/{person_id}/badges",
    "GET /api/v1/drivers/{person_id}/groups",
    "GET /api/v1/groups",
    "GET /api/v1/groups/{group_id}",
    "GET /api/v1/groups/{group_id}/access",
    "GET /api/v1/groups/{group_id}/members",
    "GET /api/v1/points/stickers.pdf",
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
    "GET /api/v1/webhooks",
    "GET /api/v1/webhooks/{webhook_id}",
}
PEOPLE: Final = ("/api/v1/me/", LOG_OUT + "/")  # whoever is logged in, but what stands in DRIVERS
ADMINS: Final = (
    *("/api/v1/people", "/api/v1/keys"),
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
    "POST /api/v1/clients/{client_id}/contracts",
    "POST /api/v1/clients/{client_id}/ibans",
    "POST /api/v1/clients/{client_id}/ibans/{iban_id}/approve",
    "POST /api/v1/clients/{client_id}/ibans/{iban_id}/refuse",
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
}
NEEDS: Final[dict[str, str]] = dict.fromkeys(FINANCE, "finance")


def needed_role(operation: Operation) -> str:
    if operation.path.startswith(ADMINS):
        return "admin"
    return NEEDS.get(str(operation), "read" if operation.method == "GET" else "operate")


# What stands for a part of an address: the value of A, and of B.
VALUES: Final = {
    "client_id": ("2", "3"),
    "site_id": ("alpha-site", "beta-site"),
    "station_id": ("alpha-station", "beta-station"),
    "uid": ("ALPHA01", "BETA01"),
    "session_id": ("10", "20"),
    "person_id": ("3", "4"),
    "point_id": ("AAAA22", "BETA22"),
    "option": ("gireve", "gireve"),
}


def address(operation: Operation, which: int) -> str:
    """The operation's address with what is A's (0) or B's (1) in it."""

    def value(match: re.Match[str]) -> str:
        name = match[1].split(":")[0]
        return VALUES.get(name, ("1", "2"))[which]

    return re.sub(r"\{([^}]+)\}", value, operation.path)


@pytest.fixture
async def app(
    database: Database, pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> FastAPI:
    async with await connect(database, owner=True) as owner:
        await owner.execute(WORLD.encode())
    return create_app(pool, settings, people=people)


Client = Callable[[str], httpx.AsyncClient]


@pytest.fixture
async def clients(
    app: FastAPI, pool: AsyncConnectionPool
) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client of each kind, by what it is: nobody, driver, manager, key, and the four roles."""
    bearers: dict[str, str | None] = {"nobody": None}
    async with pool.connection() as connection:
        for number, who in ((1, "manager"), (3, "driver")):
            bearers[who] = await log_in(connection, number)
        for number, role in enumerate(principals.ROLES, start=5):
            bearers[role] = await log_in(connection, number)
        bearers["key of a client"], _ = await keys.create(
            connection, name="alpha", role="client", expires_at=None, client_id=2
        )
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


async def log_in(connection: Any, person_id: int) -> str:
    """An access token of the person, second factor and all."""
    token = f"{principals.ACCESS_PREFIX}{person_id}"
    await connection.execute(
        """
        INSERT INTO login_session (person_id, kind, secret_sha256, secret_expires_at,
                                   second_factor_at, created_at, last_used_at, remote_address)
        VALUES (%s, 'api', %s, %s, %s, %s, %s, '')
        """,
        (person_id, principals.digest(token), NOW + timedelta(hours=1), NOW, NOW, NOW),
    )
    return token


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


OURS: Final = ("person 1", "person 3", "key alpha")  # who asks, here: their own acts are theirs


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
                    text = str([e for e in answer.json()["items"] if e["actor"] not in OURS])
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
    assert {f"{operation.path}" for operation in operations(app)} >= guard.OPEN
