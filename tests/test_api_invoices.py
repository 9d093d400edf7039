"""Invoices by the API: who reads which, files whose bytes stay, and how they are put right."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool

from billing import invoice_files, issuing
from billing.invoice import Document
from csms.config import Settings
from csms.db import Database, connect, transaction
from csms.web.app import create_app
from tests import people as world
from tests.billing_world import (
    MONTH,
    NOW,
    add_client,
    add_driver,
    add_sessions,
    rows,
    with_operator,
)

Clients = dict[str, httpx.AsyncClient]


@pytest.fixture
async def made(database: Database, pool: AsyncConnectionPool, settings: Settings) -> dict[str, int]:
    """Two clients, a driver who charged at both, another at the first; their invoices."""
    alpha, beta = [await add_client(database, name) for name in ("alpha", "beta")]
    ann, bob = [await add_driver(database, name) for name in ("ann", "bob")]
    await add_sessions(database, alpha, ann, [1_201, 333])
    await add_sessions(database, beta, ann, [500])
    await add_sessions(database, alpha, bob, [700])
    for client_id in (alpha, beta):
        async with pool.connection() as connection:
            await issuing.issue(connection, client_id, MONTH, NOW, settings=with_operator(settings))
    return {"alpha": alpha, "beta": beta, "ann": ann, "bob": bob}


@pytest.fixture
async def clients(
    made: dict[str, int],
    database: Database,
    pool: AsyncConnectionPool,
    people: AsyncConnectionPool,
    settings: Settings,
) -> AsyncIterator[Clients]:
    """Who speaks: finance, read, manager of alpha, the two drivers."""
    app = create_app(pool, with_operator(settings), people=people)
    found = {
        "finance": await world.add_person(database, "finance", "read", "finance"),
        "read": await world.add_person(database, "read", "read"),
        "manager": await world.add_manager(database, "manager", "alpha"),
        "ann": await world.log_in(database, made["ann"]),
        "bob": await world.log_in(database, made["bob"]),
    }
    opened = {
        who: httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://test/api/v1",
            headers={"Authorization": f"Bearer {person.token}"},
        )
        for who, person in found.items()
    }
    yield opened
    for client in opened.values():
        await client.aclose()


async def numbers(client: httpx.AsyncClient, path: str, **query: Any) -> list[str]:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [item["number"] for item in answer.json()["items"]]


async def test_each_reads_what_is_hers(clients: Clients, made: dict[str, int]) -> None:
    a1, a2 = [f"C{made['alpha']:05}-F-2026-{number:06}" for number in (1, 2)]
    b1 = f"C{made['beta']:05}-F-2026-000001"
    assert await numbers(clients["read"], "/invoices") == [b1, a2, a1]
    assert await numbers(clients["read"], "/invoices", client_id=made["beta"]) == [b1]
    assert await numbers(clients["read"], "/invoices", issuer="operator") == []
    assert await numbers(clients["read"], "/invoices", month="2026-09-01") == []
    assert await numbers(clients["manager"], "/invoices") == [a2, a1]
    assert await numbers(clients["ann"], "/me/invoices") == [b1, a1]
    assert await numbers(clients["bob"], "/me/invoices") == [a2]
    assert (await clients["bob"].get("/invoices")).status_code == 403
    assert (await clients["bob"].get("/me/invoices/1")).status_code == 404
    assert (await clients["manager"].get("/invoices/3")).status_code == 404


async def test_an_invoice_is_told_with_its_lines(clients: Clients) -> None:
    told = (await clients["ann"].get("/me/invoices/1")).json()
    assert told["amount_incl_cents"] == 1_534
    assert [line["amount_incl_cents"] for line in told["lines"]] == [1_201, 333]
    assert told["issued_on"] == "2026-11-02"
    first, rest = (await clients["read"].get("/invoices", params={"limit": 1})).json(), None
    rest = await clients["read"].get("/invoices", params={"cursor": first["next"]})
    assert (first["total"], len(rest.json()["items"])) == (3, 2)


@pytest.fixture
def makers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Makes a file that is another one each time; what was made."""
    found: list[str] = []

    def make(document: Document) -> bytes:
        found.append(document.number)
        return f"{document.number}, {len(found)}".encode()

    monkeypatch.setattr(invoice_files, "_maker", lambda file_format: make)
    return found


async def test_a_file_is_made_once_and_keeps_its_bytes(
    clients: Clients, pool: AsyncConnectionPool, makers: list[str]
) -> None:
    asked = [
        clients[who].get(path)
        for who, path in (
            ("ann", "/me/invoices/1/files/pdf"),
            ("manager", "/invoices/1/files/pdf"),
            ("read", "/invoices/1/files/pdf"),
        )
    ]
    answers = await asyncio.gather(*asked)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.content for answer in answers}) == 1, "who came later got the first one's"
    first = answers[0]
    assert first.headers["Content-Type"] == "application/pdf"
    assert first.headers["ETag"] == f'"{hashlib.sha256(first.content).hexdigest()}"'
    stored = await rows(pool, "SELECT content, sha256 FROM invoice_file")
    assert stored == [(first.content, hashlib.sha256(first.content).digest())]
    known = {"If-None-Match": first.headers["ETag"]}
    again = await clients["ann"].get("/me/invoices/1/files/pdf", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert set(makers) == {"C00002-F-2026-000001"}
    xml = await clients["ann"].get("/me/invoices/1/files/xml")
    assert xml.headers["Content-Type"].startswith("application/xml")


async def test_a_file_of_another_s_is_not_there_and_not_made(
    clients: Clients, makers: list[str]
) -> None:
    for who, path in (("bob", "/me/invoices/1/files/pdf"), ("manager", "/invoices/3/files/pdf")):
        assert (await clients[who].get(path)).status_code == 404
    assert (await clients["ann"].get("/me/invoices/1/files/docx")).status_code == 422
    assert makers == []


async def test_a_document_that_is_not_right_is_refused_loudly_and_not_stored(
    clients: Clients, pool: AsyncConnectionPool, makers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invoice_files, "faults", lambda document: ["Its VAT is off by 50 cents."])
    answer = await clients["ann"].get("/me/invoices/1/files/pdf")
    assert answer.status_code == 409
    assert "off by 50 cents" in answer.json()["detail"]
    assert makers == []
    assert await rows(pool, "SELECT FROM invoice_file") == []


async def test_finance_gives_back_and_replaces(clients: Clients) -> None:
    body: dict[str, Any] = {"reason": "Contestation"}
    assert (await clients["read"].post("/invoices/1/credit", json=body)).status_code == 403
    (first, second) = (await clients["read"].get("/invoices/1")).json()["lines"]
    corrected = await clients["finance"].post(
        "/invoices/1/correct",
        json={**body, "amounts": [{"session_id": first["session_id"], "amount_incl_cents": 600}]},
    )
    assert corrected.status_code == 201, corrected.text
    told = corrected.json()
    assert (told["type_code"], told["amount_incl_cents"], told["effect_cents"]) == (384, 933, -601)
    assert told["original_number"].endswith("-F-2026-000001")
    credited = await clients["finance"].post(
        "/invoices/1/credit", json={**body, "session_ids": [second["session_id"]]}
    )
    assert (credited.json()["type_code"], credited.json()["effect_cents"]) == (381, -333)
    again = await clients["finance"].post(
        "/invoices/1/credit", json={**body, "session_ids": [second["session_id"]]}
    )
    assert again.status_code == 409


async def test_finance_enters_sales_texts_and_rates(clients: Clients, made: dict[str, int]) -> None:
    finance = clients["finance"]
    sale = {
        "label": "Intervention sur site",
        "amount_excl_cents": 9_000,
        "on_day": "2026-10-12",
        "source_key": "visit-1",
    }
    path = f"/clients/{made['alpha']}/own-sales"
    answer = await finance.post(path, json=sale)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["kind"], answer.json()["month"]) == ("intervention", "2026-10-01")
    assert (await finance.post(path, json=sale)).json()["id"] == answer.json()["id"]
    other = await finance.post(path, json={**sale, "amount_excl_cents": 1})
    assert other.status_code == 409
    assert len((await finance.get(path)).json()["items"]) == 1
    assert (await finance.get("/clients/999/own-sales")).status_code == 404

    rate = {"from_on": "2027-01-01", "percent": 21, "source": "loi de finances"}
    assert (await finance.post("/billing/vat-rates", json=rate)).status_code == 201
    assert (await finance.post("/billing/vat-rates", json=rate)).status_code == 409
    rates = (await finance.get("/billing/vat-rates")).json()["items"]
    assert [(each["to_on"], each["percent"]) for each in rates] == [("2027-01-01", 20), (None, 21)]

    text = {
        "code": "franchise",
        "language": "fr",
        "from_on": "2028-01-01",
        "text": "TVA non applicable",
        "source": "CIBS",
    }
    assert (await finance.post("/billing/mentions", json=text)).status_code == 201
    assert (await finance.post("/billing/mentions", json=text)).status_code == 409
    unknown = await finance.post("/billing/mentions", json={**text, "code": "other"})
    assert unknown.status_code == 422
    listed = (await finance.get("/billing/mentions", params={"limit": 1_000})).json()["items"]
    assert sum(each["code"] == "franchise" for each in listed) == 3


async def test_an_invoice_lies_open_to_the_client_from_the_first_time_that_it_was_said(
    database: Database, pool: AsyncConnectionPool, made: dict[str, int]
) -> None:
    assert made
    for later in (NOW, NOW.replace(day=20)):
        async with transaction(pool) as connection:
            await issuing.make_available(connection, [1, 2], later)
    found = await rows(pool, "SELECT invoice_id, available_at FROM invoice_availability")
    assert sorted(found) == [(1, NOW), (2, NOW)]
    async with await connect(database, owner=True) as owner:
        cursor = await owner.execute("SELECT count(*) FROM invoice")
        assert await cursor.fetchone() == (3,)
