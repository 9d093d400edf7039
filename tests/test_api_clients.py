"""Clients and contracts over HTTP."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import deadlines, keys
from csms.config import Settings
from csms.domain.services import Option
from csms.web.app import create_app

ADDRESS = {"street": "1 rue Exemple", "postal_code": "75001", "city": "Paris", "country": "FR"}
IBAN = "FR1420041010050500013M02606"


class Caller:
    """The API as the holder of a key sees it."""

    def __init__(self, client: httpx.AsyncClient, key: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {key}"}

    async def __call__(
        self, method: str, path: str, status: int, body: Any = None, **query: str
    ) -> Any:
        """The body of the answer, which has this status."""
        answer = await self._client.request(
            method, f"/api/v1{path}", json=body, params=query, headers=self._headers
        )
        assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
        return answer.json() if answer.content else None


@pytest.fixture
async def http(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(pool, settings, people=people))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def caller(
    pool: AsyncConnectionPool, http: httpx.AsyncClient, name: str, *scopes: str
) -> Caller:
    async with pool.connection() as connection:
        key, _ = await keys.create(
            connection,
            name=name,
            role="operator",
            expires_at=None,
            scopes=scopes or keys.SCOPES,
        )
    return Caller(http, key)


@pytest.fixture
async def api(pool: AsyncConnectionPool, http: httpx.AsyncClient) -> Caller:
    return await caller(pool, http, "desk")


@pytest.fixture
async def client_id(api: Caller) -> int:
    body = {"name": "Résidence Exemple", "client_class": "non_professionnel", "address": ADDRESS}
    return int((await api("POST", "/clients", 201, body))["id"])


def days_from_now(number: int) -> str:
    return (today() + timedelta(days=number)).isoformat()


def today() -> date:
    return deadlines.paris_day(datetime.now(UTC))


async def make(api: Caller, client_id: int, **fields: Any) -> Any:
    """A contract that began a hundred days ago."""
    body = {
        "devis_reference": "D-1",
        "signed_on": days_from_now(-120),
        "starts_on": days_from_now(-100),
        "term_months": 36,
        "mandate_from_on": days_from_now(-100),
        "options": ["remote_maintenance", "mandate"],
    }
    return await api("POST", f"/clients/{client_id}/contracts", 201, body | fields)


async def test_a_name_is_enough_for_a_client(api: Caller) -> None:
    made = await api("POST", "/clients", 201, {"name": "Exemple"})
    assert (made["client_class"], made["address"], made["is_operator"]) == (None, None, False)
    assert await api("GET", f"/clients/{made['id']}", 200) == made
    await api("POST", "/clients", 409, {"name": "Exemple"})
    page = await api("GET", "/clients", 200, limit="1")
    assert (page["items"][0]["is_operator"], page["total"]) == (True, 2)
    rest = await api("GET", "/clients", 200, cursor=page["next"])
    assert rest["items"] == [made]


async def test_a_client_is_changed_by_what_is_named(api: Caller, client_id: int) -> None:
    path = f"/clients/{client_id}"
    changed = await api("PATCH", path, 200, {"siren": "732829320"})
    assert (changed["siren"], changed["address"]) == ("732829320", ADDRESS)
    changed = await api("PATCH", path, 200, {"address": None, "regulatory_basis": "psp_split"})
    assert (changed["siren"], changed["address"]) == ("732829320", None)
    assert changed["regulatory_basis"] == "psp_split"
    await api("POST", "/clients", 201, {"name": "Autre"})
    await api("PATCH", path, 409, {"name": "Autre"})
    await api("PATCH", "/clients/9999", 404, {"name": "Personne"})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"siren": "732829321"}, "siren"),
        ({"siren": "12"}, "siren"),
        ({"client_class": "professionnel"}, "siren"),
        ({"client_class": "syndicat"}, "client_class"),
        ({"address": ADDRESS | {"country": "XX"}}, "address.country"),
        ({"address": ADDRESS | {"country": "fr"}}, "address.country"),
        ({"address": ADDRESS | {"postal_code": "7500"}}, "address.postal_code"),
        ({"address": {"street": "1 rue Exemple"}}, "address.postal_code"),
        ({"regulatory_basis": "none"}, "regulatory_basis"),
        ({"name": None}, "name"),
        ({"unknown": 1}, "unknown"),
    ],
)
async def test_what_a_client_cannot_be_is_refused_with_its_field(
    api: Caller, client_id: int, body: dict[str, Any], field: str
) -> None:
    problem = await api("PATCH", f"/clients/{client_id}", 422, body)
    assert problem["errors"][0]["field"] == field


async def test_contacts_are_added_and_removed(api: Caller, client_id: int) -> None:
    path = f"/clients/{client_id}/contacts"
    body = {"name": "Syndic", "email": "syndic@example.org", "purposes": ["statements"]}
    made = await api("POST", path, 201, body)
    assert (await api("GET", path, 200))["items"] == [made]
    for wrong in ({"email": "no address"}, {"email": None}, {"phone": "call me"}):
        await api("POST", path, 422, body | wrong)
    await api("DELETE", f"{path}/{made['id']}", 204)
    await api("DELETE", f"{path}/{made['id']}", 404)
    assert (await api("GET", path, 200))["items"] == []


async def test_vat_is_declared_by_date(api: Caller, client_id: int) -> None:
    path = f"/clients/{client_id}/vat"
    await api("POST", path, 201, {"status": "non_assujetti", "from_on": "2026-01-01"})
    problem = await api(
        "POST", path, 422, {"status": "membre_assujetti_unique", "from_on": "2026-07-01"}
    )
    assert "assujetti unique" in problem["detail"]
    await api("POST", path, 409, {"status": "franchise", "from_on": "2025-01-01"})
    (found,) = (await api("GET", path, 200))["items"]
    assert (found["status"], found["from_on"], found["to_on"]) == (
        *("non_assujetti", "2026-01-01", None),
    )


async def test_an_account_needs_two_and_is_never_shown_whole(
    api: Caller, pool: AsyncConnectionPool, http: httpx.AsyncClient, client_id: int
) -> None:
    path = f"/clients/{client_id}/ibans"
    await api("POST", path, 422, {"iban": IBAN[:-1] + "7", "holder": "Exemple"})
    made = await api("POST", path, 201, {"iban": IBAN, "holder": "Exemple"})
    assert made["state"] == "waiting"
    await api("POST", f"{path}/{made['id']}/approve", 409)
    other = await caller(pool, http, "chief")
    approved = await other("POST", f"{path}/{made['id']}/approve", 200)
    assert (approved["state"], approved["decided_by"]) == ("current", "key chief")
    wrong = await api("POST", path, 201, {"iban": "DE89370400440532013000", "holder": "Exemple"})
    refused = await other("POST", f"{path}/{wrong['id']}/refuse", 200)
    assert refused["state"] == "refused"
    await other("POST", f"{path}/{wrong['id']}/approve", 409)
    await other("POST", f"{path}/9999/approve", 404)
    found = await api("GET", path, 200)
    history = await api("GET", f"/clients/{client_id}/history", 200)
    for shown in (found, history):
        assert IBAN[4:-4] not in str(shown)
        assert IBAN[-4:] in str(shown)


async def test_a_contract_is_made_suspended_resumed_and_ended(api: Caller, client_id: int) -> None:
    made = await make(api, client_id)
    path = f"/contracts/{made['id']}"
    assert (made["state"], made["mandated"], made["client_class"]) == (
        *("active", True, "non_professionnel"),
    )
    letter = {"received_on": days_from_now(-20), "reason": "unpaid invoice"}
    shown = await api("POST", f"{path}/suspend", 200, letter)
    assert shown["state"] == "suspended"
    assert shown["suspensions"] == [
        {**letter, "from_on": days_from_now(0), "until_on": None},
    ]
    await api("POST", f"{path}/suspend", 409, letter)
    assert (await api("POST", f"{path}/resume", 200))["state"] == "active"
    await api("POST", f"{path}/resume", 409)
    ended = await api(
        "POST", f"{path}/terminate", 200, {"by": "operator", "letter_on": days_from_now(-60)}
    )
    assert ended["indemnity"] is None
    assert (ended["contract"]["state"], ended["contract"]["ends_on"]) == (
        *("notice_given", days_from_now(0)),
    )
    assert (await api("POST", f"{path}/withdraw-notice", 200))["state"] == "active"
    await api("POST", f"{path}/close", 409)
    revoked = await api("POST", f"{path}/revoke-mandate", 200, {"on": days_from_now(0)})
    assert revoked["mandated"] is False
    assert (await api("GET", f"/clients/{client_id}/contracts", 200))["items"] == [revoked]
    actions = [
        entry["action"]
        for entry in (await api("GET", f"/clients/{client_id}/history", 200))["items"]
    ]
    assert actions == [
        *("mandate.revoked", "notice.withdrawn", "notice.given", "contract.resumed"),
        *("contract.suspended", "contract.created", "client.created"),
    ]


async def test_the_indemnity_is_told_before_and_with_the_notice(
    api: Caller, client_id: int
) -> None:
    starts = date(today().year - 1, 1, 1)
    made = await make(api, client_id, starts_on=starts.isoformat())
    path = f"/contracts/{made['id']}"
    terms = {
        "from_on": starts.isoformat(),
        "commission_rate": 0.05,
        "monthly_management_fee_cents": 2500,
        "yearly_subscription_cents": 120000,
        "energy_price_eur_per_kwh": "0.2016",
    }
    agreed = await api("POST", f"{path}/terms", 201, terms)
    assert (agreed["commission_rate"], agreed["energy_price_eur_per_kwh"]) == (0.05, 0.2016)
    last = date(today().year + 1, 12, 31)  # the end of three years
    leaves = last.replace(month=10, day=31).isoformat()  # two months' fees before it
    told = await api("GET", f"{path}/indemnity", 200, leaves_on=leaves)
    assert (told["term_on"], told["total_cents"]) == (last.isoformat(), 5_000)
    assert (await api("GET", path, 200))["ends_on"] is None
    body = {"by": "client", "letter_on": today().isoformat(), "ends_on": leaves}
    ended = await api("POST", f"{path}/terminate", 200, body)
    assert ended["indemnity"] == told
    assert ended["contract"]["ends_on"] == leaves


async def test_the_calendar_tells_what_is_due(api: Caller, client_id: int) -> None:
    body = {"starts_on": "2026-05-25", "signed_on": "2026-05-04", "term_months": 12}
    made = await make(api, client_id, **body)
    span = {"from": "2026-06-01", "to": "2027-05-25"}
    found = await api("GET", f"/contracts/{made['id']}/dates", 200, **span)
    assert [(each["on"], each["kind"]) for each in found["items"]] == [
        ("2026-11-25", "letter_from"),
        ("2027-01-25", "letter_until"),
        ("2027-02-25", "notice_deadline"),
        ("2027-05-25", "renewal"),
    ]
    everything: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = await api("GET", "/contract-dates", 200, limit="3", **span, **cursor)
        everything += page["items"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert everything == found["items"]
    assert page["total"] == 4
    for wrong in ({"from": "2027-01-01", "to": "2026-01-01"}, {"to": "2080-01-01"}, {"to": "x"}):
        await api("GET", "/contract-dates", 422, **wrong)


async def test_options_open_and_close_services(api: Caller, client_id: int) -> None:
    services = f"/clients/{client_id}/services"
    before = (await api("GET", services, 200))["items"]
    assert [each["option"] for each in before] == [option.value for option in Option]
    assert all(each["open"] for each in before)
    contract_id = (await make(api, client_id))["id"]
    path = f"/contracts/{contract_id}/options"
    since = {"from_on": days_from_now(0)}
    await api("PUT", f"{path}/reservations", 200, since)
    await api("PUT", f"{path}/reservations", 409, since)
    await api("PUT", f"{path}/nonsense", 422, since)
    opened = {each["option"] for each in (await api("GET", services, 200))["items"] if each["open"]}
    assert opened == {"remote_maintenance", "mandate", "reservations"}
    await api("DELETE", f"{path}/remote_maintenance", 200)
    await api("DELETE", f"{path}/remote_maintenance", 404)
    closed = next(
        each
        for each in (await api("GET", services, 200))["items"]
        if each["option"] == "remote_maintenance"
    )
    assert closed["reason"] == "not_subscribed"
    assert "Maintenance à distance" in closed["text_fr"]
    assert len((await api("GET", path, 200))["items"]) == 3


async def test_an_order_of_an_option_that_is_not_subscribed_is_refused(
    api: Caller, client_id: int
) -> None:
    await api("POST", "/sites", 201, {"id": "garage", "client_id": client_id})
    await api("POST", "/stations", 201, {"id": "CP-1", "site_id": "garage", "protocol": "ocpp1.6"})
    made = await make(api, client_id, options=[])
    order = {
        "action": "GetDiagnostics",
        "payload": {"location": "ftp://192.0.2.1/"},
        "wait_s": 0,
    }
    problem = await api("POST", "/stations/CP-1/commands", 409, order)
    assert "Remote maintenance" in problem["detail"]
    start = {"action": "RemoteStartTransaction", "payload": {"idTag": "AA"}, "wait_s": 0}
    await api("POST", "/stations/CP-1/commands", 202, start)
    letter = {"received_on": days_from_now(-20), "reason": "unpaid invoice"}
    await api("POST", f"/contracts/{made['id']}/suspend", 200, letter)
    problem = await api("POST", "/stations/CP-1/commands", 409, start)
    assert "suspended" in problem["detail"]


async def test_letters_of_l215_1_are_noted(api: Caller, client_id: int) -> None:
    made = await make(
        api, client_id, starts_on=days_from_now(-800), signed_on=days_from_now(-810), term_months=24
    )
    assert made["free_to_leave"] is True
    sent = (
        date.fromisoformat(made["starts_on"]).replace(day=1) + timedelta(days=730 - 150)
    ).isoformat()
    path = f"/contracts/{made['id']}/letters"
    told = await api("POST", path, 201, {"sent_on": sent})
    assert (told["free_to_leave"], told["letters_on"]) == (False, [sent])
    await api("POST", path, 409, {"sent_on": sent})
    await api("POST", path, 422, {"sent_on": days_from_now(2)})


@pytest.mark.parametrize(
    "fields",
    [
        {"starts_on": "2026-05-25T00:00:00"},
        {"starts_on": 1_779_667_200},
        {"starts_on": "9999-12-31"},
        {"starts_on": "25/05/2026"},
        {"term_months": 0},
        {"term_months": "36"},
        {"options": ["nonsense"]},
        {"signed_on": "2089-01-01"},
    ],
)
async def test_a_contract_that_cannot_be_is_refused(
    api: Caller, client_id: int, fields: dict[str, Any]
) -> None:
    body = {"devis_reference": "D-1", "starts_on": "2026-05-25", "term_months": 36, **fields}
    await api("POST", f"/clients/{client_id}/contracts", 422, body)
    assert (await api("GET", f"/clients/{client_id}/contracts", 200))["total"] == 0


async def test_contracts_and_accounts_take_the_role_of_finance(
    api: Caller, pool: AsyncConnectionPool, http: httpx.AsyncClient, client_id: int
) -> None:
    contract_id = (await make(api, client_id))["id"]
    clerk = await caller(pool, http, "clerk", "read", "operate")
    await clerk("GET", f"/contracts/{contract_id}", 200)
    await clerk("PATCH", f"/clients/{client_id}", 200, {"legal_name": "Syndicat Exemple"})
    for method, path, body in (
        ("PATCH", f"/clients/{client_id}", {"regulatory_basis": "exempted"}),
        ("POST", f"/clients/{client_id}/ibans", {"iban": IBAN, "holder": "Exemple"}),
        ("POST", f"/clients/{client_id}/vat", {"status": "franchise", "from_on": "2026-01-01"}),
        ("POST", f"/contracts/{contract_id}/resume", None),
        ("POST", f"/contracts/{contract_id}/terms", {"from_on": "2026-01-01"}),
    ):
        await clerk(method, path, 403, body)
    reader = await caller(pool, http, "reader", "read")
    await reader("GET", f"/clients/{client_id}/ibans", 200)
    await reader("PATCH", f"/clients/{client_id}", 403, {"legal_name": "Syndicat"})


@pytest.mark.parametrize(
    "path",
    [
        "/contracts/9999",
        "/contracts/9999/dates",
        "/contracts/9999/terms",
        "/contracts/9999/options",
    ],
)
async def test_a_contract_that_does_not_exist_is_not_found(api: Caller, path: str) -> None:
    await api("GET", path, 404)
    for part in ("contracts", "vat", "ibans", "contacts", "services", "history"):
        await api("GET", f"/clients/9999/{part}", 404)
