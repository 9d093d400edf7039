"""Static data through the API: checked, unique, in the history, and what a declaration lacks."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import keys
from csms.config import Settings
from csms.web.app import create_app

SITE = {
    "address": "12 rue des Tilleuls",
    "postal_code": "75012",
    "city": "Paris",
    "longitude": 2.4032,
    "latitude": 48.8398,
    "afirev_station_id": "FR*ABC*P12",
    "opening_hours": "Mo-Fr 08:00-12:00,Sa 09:00-12:00",
}


async def client_with(
    app: Any, pool: AsyncConnectionPool, role: str, client_id: int | None = None
) -> httpx.AsyncClient:
    async with pool.connection() as connection:
        text, _ = await keys.create(
            connection, name=f"{role} key", role=role, expires_at=None, client_id=client_id
        )
    headers = {"Authorization": f"Bearer {text}"}
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://test/api/v1", headers=headers)


@pytest.fixture
def app(pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings) -> Any:
    return create_app(pool, settings, people=people)


@pytest.fixture
async def api(app: Any, pool: AsyncConnectionPool) -> AsyncIterator[httpx.AsyncClient]:
    async with await client_with(app, pool, "operator") as client:
        yield client


def told(answer: httpx.Response, status: int) -> list[dict[str, str]]:
    """The errors of a refusal with this status."""
    assert answer.status_code == status, answer.text
    errors: list[dict[str, str]] = answer.json()["errors"]
    return errors


async def station(api: httpx.AsyncClient, station_id: str, **values: Any) -> dict[str, Any]:
    answer = await api.put(f"/stations/{station_id}", json=values)
    assert answer.status_code in (200, 201), answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_site_keeps_its_facts_in_canonical_form(api: httpx.AsyncClient) -> None:
    answer = await api.post("/sites", json={"id": "tilleuls", "name": "T", "static": SITE})
    assert answer.status_code == 201, answer.text
    assert answer.json()["static"] == SITE | {"afirev_station_id": "FRABCP12"}
    free = {"other": {"gate": {"code": [1, 2]}}}
    await api.patch("/sites/tilleuls", json={"static": free})
    assert (await api.get("/sites/tilleuls")).json()["static"] == free


@pytest.mark.parametrize(
    ("static", "field", "code", "words"),
    [
        ({"longitude": 48.8, "latitude": 2.4}, "static", "coordinates_swapped", "look swapped"),
        ({"owner_siren": "130025266"}, "static.owner_siren", "siren_checksum", "check digit"),
        ({"power_w_max": 150}, "static.power_w_max", "power_looks_like_kw", "write 150000"),
        ({"afirev_station_id": "FRABCE1"}, "static.afirev_station_id", "station_id_letter", "P"),
        ({"opening_hours": "sur RDV"}, "static.opening_hours", "opening_hours_form", "24/7"),
        ({"gate_code": "1"}, "static.gate_code", None, "not permitted"),
    ],
)
async def test_refusal_names_field_rule_and_remedy(
    api: httpx.AsyncClient, static: dict[str, Any], field: str, code: str | None, words: str
) -> None:
    (error,) = told(await api.post("/sites", json={"id": "x", "static": static}), 422)
    assert (error["field"], error.get("code")) == (field, code)
    assert words in error["message"]
    assert (await api.get("/sites")).json()["total"] == 0


async def test_points_are_checked_as_deep_as_their_connectors(api: httpx.AsyncClient) -> None:
    for evse, field in (
        ({"evse_uid": "FRABCP1"}, "evses.0.evse_uid"),
        ({"power_w_max": 22}, "evses.0.power_w_max"),
        ({"connectors": [{"connector_id": 1, "power_w_max": 7}]}, "evses.0.connectors.0"),
        ({"static": {"connectors": [{"connector_id": 0}]}}, "evses.0.static.connectors.0"),
        ({"static": {"warranty": "2 years"}}, "evses.0.static.warranty"),
    ):
        body = {"id": "CP", "evses": [{"evse_id": 1, **evse}]}
        assert told(await api.post("/stations", json=body), 422)[0]["field"].startswith(field)


async def test_point_keeps_its_static_data_until_they_are_named(api: httpx.AsyncClient) -> None:
    static = {"label": "A1", "connectors": [{"connector_id": 1, "format": "socket"}]}
    named = [{"evse_id": 1, "evse_uid": "fr*abc*e1", "static": static}]
    shown = await station(api, "CP", evses=named)
    assert shown["evses"][0]["evse_uid"] == "FRABCE1"
    assert shown["evses"][0]["static"] == static
    shown = await station(api, "CP", evses=[{"evse_id": 1, "evse_uid": "FRABCE1"}])
    assert shown["evses"][0]["static"] == static
    shown = await station(api, "CP", evses=[{"evse_id": 1, "static": {}}])
    assert shown["evses"][0]["static"] == {}


async def test_warranties_are_shown_for_points(api: httpx.AsyncClient) -> None:
    shown = await station(
        api,
        "CP",
        static={"installed_on": "2026-02-27", "commissioned_on": "2026-03-02"},
        evses=[
            {"evse_id": 1},
            {"evse_id": 2, "static": {"warranty_manufacturer_until": "2031-03-02"}},
        ],
    )
    assert [evse["warranty"] for evse in shown["evses"]] == [
        {"manufacturer_until": "2028-03-02", "installation_until": "2027-02-27"},
        {"manufacturer_until": "2031-03-02", "installation_until": "2027-02-27"},
    ]


async def test_identifiers_are_unique_and_the_owner_is_named(api: httpx.AsyncClient) -> None:
    await api.post("/sites", json={"id": "one", "static": SITE})
    for answer in (
        await api.post("/sites", json={"id": "two", "static": SITE}),
        await api.put("/sites/two", json={"static": SITE}),
    ):
        assert "FRABCP12 already" in told(answer, 409)[0]["message"]
    await api.post("/sites", json={"id": "two"})
    told(await api.patch("/sites/two", json={"static": SITE}), 409)
    point = {"evse_id": 1, "evse_uid": "FRABCE1"}
    await station(api, "A", evses=[point])
    errors = told(await api.post("/stations", json={"id": "B", "evses": [point]}), 409)
    assert errors[0]["message"] == "FRABCE1 belongs to EVSE 1 of station A."
    assert (await api.get("/stations/B")).status_code == 404
    twice = {"id": "B", "evses": [{**point, "evse_uid": "FRABCE2"}, {**point, "evse_id": 2}]}
    twice["evses"][1]["evse_uid"] = "FR*ABC*E2"  # type: ignore[index]
    assert "Two of the EVSEs" in told(await api.post("/stations", json=twice), 422)[0]["message"]


async def test_points_of_a_station_may_swap_their_identifiers(api: httpx.AsyncClient) -> None:
    await station(api, "A", evses=[{"evse_id": n, "evse_uid": f"FRABCE{n}"} for n in (1, 2)])
    shown = await station(
        api, "A", evses=[{"evse_id": n, "evse_uid": f"FRABCE{3 - n}"} for n in (1, 2)]
    )
    assert [evse["evse_uid"] for evse in shown["evses"]] == ["FRABCE2", "FRABCE1"]


async def test_identifier_of_a_retired_station_is_free_and_stays_with_who_took_it(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    points = [{"evse_id": n, "evse_uid": f"FRABCE{n}"} for n in (1, 2)]
    await station(api, "old", evses=points)
    await api.delete("/stations/old")
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT count(evse_uid) FROM evse")
        assert await cursor.fetchone() == (2,)  # its sessions still lead to them
    await station(api, "new", evses=points[:1])
    back = await station(api, "old")
    assert [evse["evse_uid"] for evse in back["evses"]] == [None, "FRABCE2"]


async def test_history_tells_who_changed_what(api: httpx.AsyncClient) -> None:
    await api.post("/sites", json={"id": "s", "name": "One", "static": {"city": "Paris"}})
    await api.patch("/sites/s", json={"name": "Two", "static": {"city": "Lyon"}})
    await api.patch("/sites/s", json={"name": "Two"})  # changes nothing
    point = {"evse_id": 1, "connectors": [{"connector_id": 1, "type": "type2"}]}
    await station(api, "CP", site_id="s", evses=[point], password="not for the history")
    await station(api, "CP", site_id="s", public=True, evses=[point | {"power_w_max": 22_000}])
    await station(api, "CP", site_id="s", public=True, evses=[])
    await api.delete("/stations/CP")
    page = (await api.get("/sites/s/history")).json()
    assert "not for the history" not in str(page)
    seen = [(c["kind"], c["evse_id"], c["before"], c["after"]) for c in reversed(page["items"])]
    connectors = [{"connector_id": 1, "type": "sType2", "power_w_max": None}]
    operator_id = seen[0][3]["client_id"]
    assert seen == [
        (
            "site",
            None,
            {},
            {
                "name": "One",
                "client_id": operator_id,
                "time_zone": "Europe/Paris",
                "static.city": "Paris",
            },
        ),
        (
            "site",
            None,
            {"name": "One", "static.city": "Paris"},
            {"name": "Two", "static.city": "Lyon"},
        ),
        ("station", None, {}, {"client_id": operator_id, "site_id": "s", "public": False}),
        ("evse", 1, {}, {"connectors": connectors}),
        ("station", None, {"public": False}, {"public": True}),
        ("evse", 1, {}, {"power_w_max": 22_000}),
        ("evse", 1, {"power_w_max": 22_000, "connectors": connectors}, {}),
        ("station", None, {"retired": False}, {"retired": True}),
    ]
    assert {change["actor"] for change in page["items"]} == {"key operator key"}
    assert page["total"] == len(seen)
    first = (await api.get("/sites/s/history", params={"limit": 3})).json()
    rest = (await api.get("/sites/s/history", params={"cursor": first["next"]})).json()
    assert first["items"] + rest["items"] == page["items"]
    assert (await api.get("/sites/none/history")).status_code == 404
    assert (await api.get("/stations/CP/history")).status_code == 404
    await station(api, "CP", site_id="s")
    assert (await api.get("/stations/CP/history")).json()["total"] == 7


async def test_a_client_reads_its_own_sites_stations_and_history_alone(
    app: Any, api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    ids = [(await api.post("/clients", json={"name": name})).json()["id"] for name in "AB"]
    for name, client_id in zip("ab", ids, strict=True):
        await api.post("/sites", json={"id": name, "client_id": client_id})
        points = [{"evse_id": 1, "connectors": [{"connector_id": 1}]}]
        await station(api, f"CP-{name}", site_id=name, password="long enough", evses=points)
    async with await client_with(app, pool, "client", ids[0]) as owner:
        assert [site["id"] for site in (await owner.get("/sites")).json()["items"]] == ["a"]
        assert (await owner.get("/sites/a")).status_code == 200
        assert (await owner.get("/sites/a/history")).json()["total"] == 3
        assert (await owner.get("/stations/CP-a/history")).json()["total"] == 2
        stations = (await owner.get("/stations")).json()["items"]
        assert [(shown["id"], shown["has_password"]) for shown in stations] == [("CP-a", True)]
        assert (await owner.get("/stations/CP-a/declarability")).json()["site_id"] == "a"
        others = ("", "/history", "/declarability")
        for path in ("/sites/b", "/sites/b/history", *(f"/stations/CP-b{end}" for end in others)):
            assert (await owner.get(path)).status_code == 404, path
        for path in ("/sites/a", "/stations/CP-a"):
            assert (await owner.patch(path, json={})).status_code == 403, path
    await api.patch("/sites/a", json={"client_id": ids[1]})
    async with await client_with(app, pool, "client", ids[1]) as taker:
        (change,) = (await taker.get("/sites/a/history")).json()["items"]
        assert change["after"] == {"client_id": ids[1]}


async def test_of_two_who_take_an_identifier_at_once_one_is_refused(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await station(api, "A", evses=[{"evse_id": 1}])
    await station(api, "B")
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("UPDATE evse SET evse_uid = 'FRABCE1'")
        body = {"evses": [{"evse_id": 1, "evse_uid": "FRABCE1"}]}
        second = asyncio.ensure_future(api.patch("/stations/B", json=body))
        blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
        async with asyncio.timeout(10):
            # The database has no event for it.
            while await (await connection.execute(blocked)).fetchone() == (0,):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert "Another station's point" in told(await second, 409)[0]["message"]


async def test_history_is_never_rewritten(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await api.post("/sites", json={"id": "s"})
    for statement in ("UPDATE static_change SET actor = 'x'", "DELETE FROM static_change"):
        async with pool.connection() as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(statement)


async def test_what_a_point_lacks_is_told_in_both_languages_and_refuses_nothing(
    api: httpx.AsyncClient,
) -> None:
    await api.post("/sites", json={"id": "s", "name": "Site", "static": SITE})
    point = {"evse_id": 1, "evse_uid": "FRXYZE1", "power_w_max": 22_000}
    await station(api, "CP", site_id="s", public=True, evses=[point])
    (english,) = (await api.get("/stations/CP/declarability")).json()["points"]
    assert (english["public"], english["declarable_to"]) == (True, [])
    messages = {finding["field"]: finding for finding in english["findings"]}
    assert messages["evse.evse_uid"]["code"] == "prefix_differs"
    assert messages["site.owner_siren"]["message"] == "is missing"
    assert messages["site.owner_siren"]["needed_by"] == ["qualicharge"]
    answer = await api.get("/stations/CP/declarability", params={"language": "fr"})
    (french,) = answer.json()["points"]
    assert {f["message"] for f in french["findings"] if f["code"] == "missing"} == {"manque"}
    assert (await api.get("/stations/none/declarability")).status_code == 404


async def test_what_is_stored_badly_does_not_stand_in_the_way_of_other_changes(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await api.post("/sites", json={"id": "s"})
    await station(api, "CP", site_id="s", evses=[{"evse_id": 1}])
    async with pool.connection() as connection:
        for table in ("site", "station", "evse"):
            await connection.execute(
                f"""UPDATE {table} SET static = '{{"floor": [], "owner_siren": "1"}}'"""
            )
    assert (await api.patch("/sites/s", json={"name": "New"})).json()["name"] == "New"
    assert (await api.patch("/stations/CP", json={"vendor": "Acme"})).json()["vendor"] == "Acme"
    (point,) = (await api.get("/stations/CP/declarability")).json()["points"]
    assert {f["field"] for f in point["findings"] if f["code"] == "stored_badly"} >= {
        "site.owner_siren",
        "station.floor",
    }
