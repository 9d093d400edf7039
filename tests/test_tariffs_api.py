"""Tariffs over HTTP: made, changed, where they hold, what a session would cost; and for drivers."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool

from billing import pricing
from csms.config import Settings
from csms.db import Database, connect
from csms.web.app import create_app
from tests import billing_world as world
from tests import people as persons
from tests.test_pricing import charge, give_badge

DAY = {
    "elements": [
        {
            "price_components": [{"type": "ENERGY", "price": 0.2, "step_size": 1}],
            "restrictions": {"start_time": "22:00", "end_time": "06:00"},
        },
        {"price_components": [{"type": "ENERGY", "price": 0.4, "step_size": 1}]},
    ]
}
NIGHT_ONLY = {"elements": DAY["elements"][:1]}


@pytest.fixture
async def client_id(database: Database) -> int:
    return await world.add_client(database, "Copropriété A")


Clients = dict[str, httpx.AsyncClient]


@pytest.fixture
async def api(
    database: Database,
    pool: AsyncConnectionPool,
    people: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
) -> AsyncIterator[Clients]:
    """Of finance, of one who may look, of the client's manager and of a driver."""
    app = create_app(pool, settings, people=people)
    driver = await persons.add_person(database, "driver")
    async with await connect(database, owner=True) as connection:
        await connection.execute("INSERT INTO driver (person_id) VALUES (%s)", (driver.id,))
    await give_badge(database, driver.id, "04a1")
    found = {
        "finance": await persons.add_person(database, "finance", "read", "finance"),
        "read": await persons.add_person(database, "read", "read"),
        "manager": await persons.add_manager(database, "manager", "Copropriété A"),
        "driver": driver,
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
    for each in opened.values():
        await each.aclose()


async def done(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


async def make(api: Clients, client_id: int, content: dict[str, Any] = DAY) -> int:
    """A tariff with a version from January on, which holds everywhere at the client's."""
    body = {"client_id": client_id, "code": "nuit", "name": "Jour et nuit"}
    made = await done(await api["finance"].post("/tariffs", json=body))
    path = f"/tariffs/{made['id']}"
    version = {"content": content, "from_at": "2026-01-01T00:00:00+01:00"}
    await done(await api["finance"].post(f"{path}/versions", json=version))
    await done(await api["finance"].post(f"{path}/scopes", json={"from_at": "2026-01-01T00:00Z"}))
    return int(made["id"])


async def test_finance_makes_a_tariff_and_its_client_reads_it(api: Clients, client_id: int) -> None:
    tariff_id = await make(api, client_id)
    listed = await done(await api["manager"].get("/tariffs"))
    assert {"nuit", "base"} == {one["code"] for one in listed["items"]}
    (version,) = (await done(await api["manager"].get(f"/tariffs/{tariff_id}/versions")))["items"]
    assert version["from_at"] == "2025-12-31T23:00:00Z"
    assert version["sentences"] == [
        "€0.20/kWh from 22:00 to 06:00, VAT included",
        "€0.40/kWh at other times, VAT included",
    ]
    (scope,) = (await done(await api["manager"].get(f"/tariffs/{tariff_id}/scopes")))["items"]
    assert (scope["site_id"], scope["station_id"], scope["to_at"]) == (None, None, None)


async def test_the_place_that_is_wrong_in_a_tariff_is_named(api: Clients, client_id: int) -> None:
    tariff_id = await make(api, client_id)
    wrong = {"elements": [{"price_components": [{"type": "ENERGY", "price": "cheap"}]}]}
    body = {"content": wrong, "from_at": "2026-11-01T00:00Z"}
    answer = await api["finance"].post(f"/tariffs/{tariff_id}/versions", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "content.elements[0].price_components[0].price"


async def test_hours_without_a_price_are_warned_of(api: Clients, client_id: int) -> None:
    tariff_id = await make(api, client_id)
    body = {"content": NIGHT_ONLY, "from_at": "2026-12-01T00:00Z"}
    made = await done(await api["finance"].post(f"/tariffs/{tariff_id}/versions", json=body))
    assert made["warnings"] == ["No price for energy or time every day from 06:00 to 22:00."]
    versions = (await done(await api["read"].get(f"/tariffs/{tariff_id}/versions")))["items"]
    assert [one["to_at"] for one in versions] == ["2026-12-01T00:00:00Z", None]


async def test_scopes_and_versions_end_and_tariffs_retire(api: Clients, client_id: int) -> None:
    tariff_id = await make(api, client_id)
    path = f"/tariffs/{tariff_id}"
    body = {"station_id": f"station-{client_id}", "evse_id": 1, "from_at": "2026-10-01T00:00Z"}
    scope = await done(await api["finance"].post(f"{path}/scopes", json=body))
    assert (scope["station_id"], scope["evse_id"]) == (f"station-{client_id}", 1)
    again = await api["finance"].post(f"{path}/scopes", json=body)
    assert (again.status_code, again.json()["errors"][0]["field"]) == (409, "from_at")
    elsewhere = await api["finance"].post(f"{path}/scopes", json=body | {"station_id": "nowhere"})
    assert (elsewhere.status_code, elsewhere.json()["errors"][0]["field"]) == (422, "station_id")
    at = {"at": "2026-10-15T00:00:00Z"}
    await done(await api["finance"].delete(f"{path}/scopes/{scope['id']}", params=at))
    assert (
        await api["finance"].delete(f"{path}/scopes/{scope['id']}", params=at)
    ).status_code == 404
    (version,) = (await done(await api["read"].get(f"{path}/versions")))["items"]
    await done(await api["finance"].delete(f"{path}/versions/{version['id']}", params=at))
    late = await api["finance"].delete(f"{path}/versions/{version['id']}", params=at)
    assert late.status_code == 409
    await done(await api["finance"].delete(path))
    scopes = (await done(await api["read"].get(f"{path}/scopes")))["items"]
    assert all(one["to_at"] is not None for one in scopes)
    assert (await done(await api["read"].get(path)))["retired_at"] is not None


async def test_a_made_up_session_is_priced_across_the_evening(api: Clients, client_id: int) -> None:
    tariff_id = await make(api, client_id)
    body = {
        "tariff_id": tariff_id,
        "started_at": "2026-11-20T20:00:00+01:00",
        "ended_at": "2026-11-21T00:00:00+01:00",
        "energy_wh": 20_000,
    }
    told = await done(await api["manager"].post("/tariffs/preview", json=body))
    assert told["amount_incl_cents"] == 10 * 40 + 10 * 20 and told["estimated"]
    assert [(line["energy_wh"], line["unit_price_eur"]) for line in told["lines"]] == [
        (10_000, "0.4"),
        (10_000, "0.2"),
    ]
    readings = [{"at": "2026-11-20T22:00:00+01:00", "energy_wh": 15_000}]
    told = await done(
        await api["manager"].post("/tariffs/preview", json=body | {"readings": readings})
    )
    assert told["amount_incl_cents"] == 15 * 40 + 5 * 20
    alone = {name: value for name, value in body.items() if name != "tariff_id"}
    told = await done(
        await api["read"].post("/tariffs/preview", json=alone | {"content": NIGHT_ONLY})
    )
    assert (told["amount_incl_cents"], len(told["warnings"])) == (200, 1)


async def test_a_session_that_took_place_is_priced_by_its_readings(
    api: Clients, client_id: int, database: Database
) -> None:
    session_id = await charge(
        database, client_id, hours=2, energy_wh=10_000, registers=((0, 0), (1, 7_000), (2, 10_000))
    )
    body = {"content": DAY, "session_id": session_id}
    told = await done(await api["manager"].post("/tariffs/preview", json=body))
    assert (told["amount_incl_cents"], told["energy_wh"]) == (400, 10_000)
    assert told["vat_cents"] == 67


async def test_managers_ask_about_their_own_alone(
    api: Clients, client_id: int, database: Database
) -> None:
    other = await world.add_client(database, "Copropriété B")
    session_id = await charge(database, other)
    tariff_id = await make(api, other)
    body = {"content": DAY, "session_id": session_id}
    assert (await api["manager"].post("/tariffs/preview", json=body)).status_code == 404
    assert (await api["read"].post("/tariffs/preview", json=body)).status_code == 200
    assert (await api["manager"].get(f"/tariffs/{tariff_id}")).status_code == 404
    assert (await api["manager"].get(f"/tariffs/{tariff_id}/scopes")).status_code == 404
    made_up = {
        "tariff_id": tariff_id,
        "started_at": "2026-11-20T20:00Z",
        "ended_at": "2026-11-20T21:00Z",
        "energy_wh": 1,
    }
    assert (await api["manager"].post("/tariffs/preview", json=made_up)).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "tariff_id"),
        ({"content": DAY}, "started_at"),
        ({"content": DAY, "session_id": 1, "energy_wh": 5}, "energy_wh"),
        (
            {
                "content": DAY,
                "started_at": "2026-11-20T20:00Z",
                "ended_at": "2026-11-20T19:00Z",
                "energy_wh": 5,
            },
            "ended_at",
        ),
        (
            {
                "content": DAY,
                "started_at": "0001-01-01T00:00Z",
                "ended_at": "0001-01-01T01:00Z",
                "energy_wh": 5,
            },
            "started_at",
        ),
    ],
)
async def test_a_preview_says_what_it_misses(
    api: Clients, body: dict[str, Any], field: str
) -> None:
    answer = await api["read"].post("/tariffs/preview", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_rate_of_vat_follows_another_and_changes_no_price_that_is_made(
    api: Clients, client_id: int, database: Database, pool: AsyncConnectionPool
) -> None:
    body = {"from_on": "2027-01-01", "percent": 21.5, "source": "loi de finances"}
    assert (await done(await api["finance"].post("/vat-rates", json=body)))["percent"] == "21.5"
    rates = (await done(await api["read"].get("/vat-rates")))["items"]
    assert [(r["from_on"], r["to_on"], r["percent"]) for r in rates] == [
        ("2014-01-01", "2027-01-01", "20.00"),
        ("2027-01-01", None, "21.50"),
    ]
    assert (await api["finance"].post("/vat-rates", json=body)).status_code == 409
    person_id = await world.add_driver(database, "autre")
    await world.add_sessions(database, client_id, person_id, [350])
    early = await api["finance"].post("/vat-rates", json=body | {"from_on": "2026-10-05"})
    assert early.status_code == 409 and "priced" in early.text


async def test_a_driver_is_told_the_prices_of_a_point_and_of_what_she_charged(
    api: Clients, client_id: int, database: Database, pool: AsyncConnectionPool
) -> None:
    async with await connect(database, owner=True) as connection:
        cursor = await connection.execute(
            """UPDATE station SET public = true WHERE client_id = %s
               RETURNING (SELECT code FROM point p WHERE p.station_key = station.station_key)""",
            (client_id,),
        )
        row = await cursor.fetchone()
        assert row is not None
        group = await connection.execute(
            """INSERT INTO driver_group (client_id, name, kind) VALUES (%s, 'Agents', 'residents')
               RETURNING id""",
            (client_id,),
        )
        group_id = (await group.fetchall())[0][0]
    point = f"/me/points/{row[0]}"
    assert (await done(await api["driver"].get(point)))["prices"] is None
    tariff_id = await make(api, client_id)
    assert (await done(await api["driver"].get(point)))["prices"] == [
        "€0.20/kWh from 22:00 to 06:00, VAT included",
        "€0.40/kWh at other times, VAT included",
    ]
    tariffs = (await done(await api["read"].get("/tariffs")))["items"]
    base = next(one["id"] for one in tariffs if one["id"] != tariff_id)
    scope = {"group_id": group_id, "from_at": "2026-01-01T00:00Z"}
    await done(await api["finance"].post(f"/tariffs/{base}/scopes", json=scope))
    async with await connect(database, owner=True) as connection:
        await connection.execute(
            """INSERT INTO group_member (group_id, person_id, from_at)
               SELECT %s, person_id, '2026-01-01' FROM driver_badge""",
            (group_id,),
        )
    told = await done(await api["driver"].get(point))
    assert told["prices"] == ["€0.35/kWh, VAT included"]
    session_id = await charge(database, client_id)
    (before,) = (await done(await api["driver"].get("/me/sessions")))["items"]
    assert (before["amount_incl_cents"], before["amount_estimated"]) == (None, False)
    await pricing.run(pool, now=world.NOW, month=world.MONTH)
    (after,) = (await done(await api["driver"].get("/me/sessions")))["items"]
    one = await done(await api["driver"].get(f"/me/sessions/{session_id}"))
    assert after["amount_incl_cents"] == one["amount_incl_cents"] == 350
