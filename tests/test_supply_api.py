"""A supplied co-ownership, from its list of lots to the bill: by API, by verbs, as files."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool
from typer.testing import CliRunner

from billing import disputes, lots_csv
from csms import keys
from csms.config import Settings
from csms.db import Database, connect, transaction
from csms.web.app import create_app
from tests.billing_world import rows
from tests.scenarios import payments
from tests.scenarios import supply as scene
from tests.scenarios.payments import DESK
from tests.scenarios.two_clients import log_in

LIST = """site;lot;borne;point;courriel;prénom;nom;depuis;signé;provision
{site};12;{station};1;anna@example.org;Anna;Exemple;01/09/2026;25/08/2026;120,00
{site};13;{station};2;bela@example.org;Béla;Exemple;01/09/2026;;
{site};14;;;;;;01/09/2026;;
"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return payments.with_accounts(settings)


@pytest.fixture
async def client_id(database: Database, pool: AsyncConnectionPool) -> int:
    return await scene.add_coownership(database)


@pytest.fixture
async def finance(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    async with pool.connection() as connection:
        key, _ = await keys.create(connection, name="desk", role="operator", expires_at=None)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(pool, settings, people=people)),
        base_url="http://test",
        headers={"Authorization": f"Bearer {key}"},
    ) as client:
        yield client


def listed(client_id: int, text: str = LIST) -> bytes:
    return text.format(site=f"site-{client_id}", station=f"station-{client_id}").encode()


async def test_from_the_list_of_lots_to_the_bill(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    finance: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = f"site-{client_id}"
    made = await finance.post("/api/v1/supplies", json={"site_id": site, "from_on": "2026-09-01"})
    assert made.status_code == 201, made.text
    again = await finance.post("/api/v1/supplies", json={"site_id": site, "from_on": "2026-10-01"})
    assert again.status_code == 409
    report = await finance.post("/api/v1/lots/import", content=listed(client_id))
    assert report.json() == {"lots": 3, "holdings": 2, "people": 2, "known": 0, "problems": []}
    report = await finance.post("/api/v1/lots/import", content=listed(client_id))
    assert report.json()["known"] == 3
    holdings = (await finance.get(f"/api/v1/holdings?client_id={client_id}")).json()["items"]
    assert [(each["lot"], each["name"], each["provision_cents"]) for each in holdings] == [
        ("12", "Anna Exemple", 12_000),
        ("13", "Béla Exemple", 0),
    ]
    asked = await finance.post(f"/api/v1/holdings/{holdings[0]['id']}/provision", json={})
    assert asked.status_code == 201, asked.text
    assert (
        await finance.post(f"/api/v1/holdings/{holdings[1]['id']}/provision", json={})
    ).status_code == 422, "his contract has none"
    await scene.charge(database, client_id, 37_421, datetime(2026, 10, 3, 8, tzinfo=UTC))
    told = await run(settings, monkeypatch, "supply", "2026-10", "--dry-run")
    assert "2 bills would be issued: 37.421 kWh, 19.81 EUR with VAT" in told
    told = await run(settings, monkeypatch, "supply", "2026-10")
    assert "2 bills issued" in told
    lines = (await finance.get(f"/api/v1/clients/{client_id}/lots/2026-10")).json()["items"]
    assert [(each["lot"], each["energy_wh"], each["amount_incl_cents"]) for each in lines] == [
        ("12", 37_421, 1_381),
        ("13", 0, 600),
    ]
    file = await finance.get(f"/api/v1/clients/{client_id}/lots/2026-10/file.csv")
    table = list(csv.DictReader(io.StringIO(file.content.decode("utf-8-sig")), delimiter=";"))
    assert table[0] == {
        "Mois": "2026-10",
        "Site": site,
        "Lot": "12",
        "Points": f"station-{client_id}/1",
        "Copropriétaire": "Anna Exemple",
        "Énergie (kWh)": "37,421",
        "Énergie HT (€)": "6,51",
        "Télérelève HT (€)": "5,00",
        "TVA (€)": "2,30",
        "Total TTC (€)": "13,81",
    }
    assert len(table) == 2
    ended = await finance.post(
        f"/api/v1/holdings/{holdings[1]['id']}/end",
        json={"to_on": "2026-10-15", "reason": "Vente"},
    )
    assert ended.status_code == 200, ended.text
    early = await finance.post(
        f"/api/v1/holdings/{holdings[0]['id']}/end",
        json={"to_on": "2026-10-03", "reason": "Vente"},
    )
    assert early.status_code == 422 and "was billed to him" in early.json()["detail"]


async def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    from csms.__main__ import app

    monkeypatch.setenv("T2P_DATABASE_URL", settings.database_url or "")
    for name, value in vars_of(settings).items():
        monkeypatch.setenv(f"T2P_{name.upper()}", value)
    result = await asyncio.to_thread(CliRunner().invoke, app, ["billing", *arguments])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def vars_of(settings: Settings) -> dict[str, str]:
    """What the operator is, for a process of its own."""
    names = [name for name in settings.__slots__ if name.startswith("operator_")]
    return {name: value for name in names if (value := getattr(settings, name))}


async def test_a_co_owner_sees_his_own_and_the_manager_lots_alone(
    database: Database,
    pool: AsyncConnectionPool,
    people: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
) -> None:
    await scene.supply(pool, client_id)
    async with await connect(database, owner=True) as owner:
        cursor = await owner.execute(
            "INSERT INTO person (email, given_name) VALUES ('syndic@example.org', 'Syndic') "
            "RETURNING id"
        )
        ((manager,),) = await cursor.fetchall()
        await owner.execute(
            "INSERT INTO client_manager (person_id, client_id, granted_by) VALUES (%s, %s, 'test')",
            (manager, client_id),
        )
    await lots_csv.import_lots(
        pool, listed(client_id), actor=DESK, now=datetime(2026, 9, 1, 8, tzinfo=UTC)
    )
    ((anna,),) = await rows(pool, "SELECT id FROM person WHERE email = 'anna@example.org'")
    await scene.charge(database, client_id, 37_421, datetime(2026, 10, 3, 8, tzinfo=UTC))
    await scene.bill(pool, settings, date(2026, 10, 1), datetime(2026, 11, 2, 9, tzinfo=UTC))
    async with pool.connection() as connection:
        hers, theirs = await log_in(connection, anna), await log_in(connection, manager)
    app = create_app(pool, settings, people=people)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://test",
        headers={"Authorization": f"Bearer {hers}"},
    ) as own:
        mine = (await own.get("/api/v1/me/lots")).json()["items"]
        assert [(each["lot"], each["open_cents"]) for each in mine] == [("12", 1_381)]
        (bill,) = (await own.get("/api/v1/me/supply-documents")).json()["items"]
        assert (bill["energy_wh"], bill["amount_incl_cents"]) == (37_421, 1_381)
        pdf = await own.get(f"/api/v1/me/invoices/{bill['invoice_id']}/files/pdf")
        assert pdf.content.startswith(b"%PDF")
        (told,) = (await own.get("/api/v1/me/invoices")).json()["items"]
        assert told["number"] == bill["number"]
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://test",
        headers={"Authorization": f"Bearer {theirs}"},
    ) as syndic:
        found = (await syndic.get(f"/api/v1/clients/{client_id}/lots/2026-10")).json()["items"]
        assert [each["lot"] for each in found] == ["12", "13"]
        assert (await syndic.get("/api/v1/invoices")).json()["items"] == []
        answer = await syndic.get(f"/api/v1/invoices/{bill['invoice_id']}")
        assert answer.status_code == 404
        answer = await syndic.get(f"/api/v1/invoices/{bill['invoice_id']}/files/pdf")
        assert answer.status_code == 404
        path = f"/api/v1/invoices/{bill['invoice_id']}/contest"
        answer = await syndic.post(path, json={"reason": "Elle ne paiera pas"})
        assert answer.status_code == 404, "nor is it hers to contest, or to withdraw what is"
        async with transaction(pool) as connection:
            dispute_id = await disputes.contest_invoice(
                connection,
                bill["invoice_id"],
                "Je n’ai pas chargé",
                DESK,
                datetime(2026, 11, 3, 9, tzinfo=UTC),
            )
        answer = await syndic.post(f"/api/v1/disputes/{dispute_id}/withdraw")
        assert answer.status_code == 404
        told = (await syndic.get("/api/v1/disputes")).json()
        assert (told["items"], told["total"]) == ([], 0)


BAD: list[tuple[str, str]] = [
    ("{site};12/?;;;;;;01/09/2026;;", "lot"),
    ("nowhere;12;;;;;;01/09/2026;;", "site"),
    ("{site};12;strange;1;;;;01/09/2026;;", "station"),
    ("{site};12;{station};9;;;;01/09/2026;;", "station"),
    ("{site};12;{station};x;;;;01/09/2026;;", "evse"),
    ("{site};12;;1;;;;01/09/2026;;", "station"),
    ("{site};12;;;no address;;;01/09/2026;;", "email"),
    ("{site};12;;;;;;32/09/2026;;", "from"),
    ("{site};12;;;a@example.org;;;01/09/2026;01/09/2096;", "signed"),
    ("{site};12;;;a@example.org;;;01/09/2026;;beaucoup", "provision"),
    ("{site};12;;;a@example.org;;;01/09/2026;;999 999,00", "provision"),
]


@pytest.mark.parametrize(("line", "column"), BAD)
async def test_a_bad_line_stops_only_itself(
    pool: AsyncConnectionPool, client_id: int, line: str, column: str
) -> None:
    head, good = LIST.splitlines()[0], LIST.splitlines()[2]
    data = listed(client_id, "\n".join([head, line, good]))
    now = datetime(2026, 9, 1, 8, tzinfo=UTC)
    report = await lots_csv.import_lots(pool, data, actor=DESK, now=now)
    assert [(bad.line, bad.column) for bad in report.problems] == [(2, column)]
    assert all(bad.cause and bad.remedy for bad in report.problems)
    assert report.holdings == 1, "the other line is entered"
    kept: list[Any] = await rows(pool, "SELECT count(*) FROM lot WHERE reference = '12'")
    assert kept == [(0,)], "nothing of a bad line is kept"


@pytest.mark.parametrize("second", ["lot", "borne"])
async def test_a_column_that_stands_there_twice_enters_nothing(
    pool: AsyncConnectionPool, client_id: int, second: str
) -> None:
    """By the same name or by its French one: which of the two is right nobody knows."""
    data = listed(
        client_id, f"site;lot;station;{second};from\n{{site}};12;{{station}};13;01/09/2026"
    )
    report = await lots_csv.import_lots(
        pool, data, actor=DESK, now=datetime(2026, 9, 1, 8, tzinfo=UTC)
    )
    assert report.lots == 0
    assert any("twice" in bad.cause for bad in report.problems)


async def test_the_meter_is_shown_beside_its_points(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    finance: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await scene.supply(pool, client_id)
    await scene.charge(database, client_id, 90_000, datetime(2026, 10, 3, 8, tzinfo=UTC))
    for at, wh in (("2026-09-30T22:00:00Z", 0), ("2026-10-31T23:00:00Z", 100_000)):
        entered = await finance.post(
            "/api/v1/supply-readings",
            json={"site_id": f"site-{client_id}", "at": at, "index_wh": wh, "source": "relevé"},
        )
        assert entered.status_code == 201, entered.text
    (found,) = (
        await finance.get(
            f"/api/v1/clients/{client_id}/supply-comparisons?from_on=2026-10-01&to_on=2026-11-01"
        )
    ).json()["items"]
    assert (found["difference_wh"], found["difference_percent"], found["is_flagged"]) == (
        10_000,
        10,
        True,
    )
    told = await run(settings, monkeypatch, "meter", "2026-10", "--client", "Copropriété S")
    assert "10.000 10.00 look into it" in told, "read at the end of October, in Paris"
    told = await run(settings, monkeypatch, "meter", "2026-11", "--client", "Copropriété S")
    assert "There are no two readings" in told
    replaced = {
        "site_id": f"site-{client_id}",
        "at": "2026-11-01T08:00:00Z",
        "index_wh": 0,
        "source": "pose",
    }
    answer = await finance.post("/api/v1/supply-readings", json=replaced)
    assert answer.status_code == 409 and "is_new_meter" in answer.json()["detail"]
    answer = await finance.post("/api/v1/supply-readings", json={**replaced, "is_new_meter": True})
    assert answer.status_code == 201, answer.text
    told_of = (await finance.get("/api/v1/supply-readings")).json()["items"]
    assert [(each["index_wh"], each["is_new_meter"]) for each in told_of] == [
        (0, True),
        (100_000, False),
        (0, False),
    ]
