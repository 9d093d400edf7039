"""The operator API: stations, sites, badges, and what every operation has in common."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import keys, passwords
from csms.config import Settings
from csms.web.app import create_app
from csms.web.guard import OPEN


@pytest.fixture
async def key(pool: AsyncConnectionPool) -> str:
    async with pool.connection() as connection:
        text, _ = await keys.create(connection, name="desk", role="operator", expires_at=None)
    return text


@pytest.fixture
async def anyone(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    transport = httpx.ASGITransport(create_app(pool, settings, people=people))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
async def api(anyone: httpx.AsyncClient, key: str) -> httpx.AsyncClient:
    """A client with an operator's key."""
    anyone.headers["Authorization"] = f"Bearer {key}"
    return anyone


def told(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem details of an answer with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    return problem


async def test_station_is_created_with_nothing_but_its_id(api: httpx.AsyncClient) -> None:
    answer = await api.post("/api/v1/stations", json={"id": "CP-1"})
    assert answer.status_code == 201
    station = answer.json()
    assert station["id"] == "CP-1"
    assert station["security_profile"] == 0
    assert station["boot_status"] == "accepted"
    assert station["protocol"] is None
    assert station["connected"] is False
    assert station["last_seen_at"] is None
    assert station["evses"] == []
    assert station["created_at"].endswith("Z")
    assert answer.headers["location"].endswith("/api/v1/stations/CP-1")
    assert (await api.get("/api/v1/stations/CP-1")).json() == station


async def test_station_is_created_whole(api: httpx.AsyncClient) -> None:
    await api.post("/api/v1/sites", json={"id": "garage", "name": "Garage"})
    evses = [
        {
            "evse_id": 1,
            "evse_uid": "FRT2PE1",
            "connectors": [{"connector_id": 1, "type": "Type2", "power_w_max": 22000}],
        },
        {"evse_id": 2, "public": True},
    ]
    answer = await api.post(
        "/api/v1/stations",
        json={
            "id": "CP-2",
            "site_id": "garage",
            "protocol": "ocpp2.0.1",
            "password": "a password of mine",
            "evses": evses,
            "static": {"floor": -1},
            "vendor": "Acme",
        },
    )
    station = answer.json()
    assert answer.status_code == 201, station
    assert station["security_profile"] == 1
    assert station["has_password"] is True
    assert "a password of mine" not in answer.text
    assert station["static"] == {"floor": -1}
    assert [evse["evse_id"] for evse in station["evses"]] == [1, 2]
    assert station["evses"][0]["public"] is False
    assert station["evses"][1]["public"] is True
    connector = station["evses"][0]["connectors"][0]
    assert connector["type"] == "sType2"
    assert connector["power_w_max"] == 22000
    assert connector["status"] == "unknown"


async def test_station_that_exists_is_not_created_again(api: httpx.AsyncClient) -> None:
    await api.post("/api/v1/stations", json={"id": "CP-1", "vendor": "First"})
    told(await api.post("/api/v1/stations", json={"id": "CP-1", "vendor": "Second"}), 409)
    assert (await api.get("/api/v1/stations/CP-1")).json()["vendor"] == "First"


async def test_patch_changes_what_is_named_and_null_clears(api: httpx.AsyncClient) -> None:
    await api.post(
        "/api/v1/stations",
        json={"id": "CP-1", "vendor": "Acme", "model": "W1", "public": True},
    )
    answer = await api.patch("/api/v1/stations/CP-1", json={"vendor": None, "model": "W2"})
    station = answer.json()
    assert answer.status_code == 200
    assert (station["vendor"], station["model"], station["public"]) == (None, "W2", True)


async def test_patch_replaces_evses_and_keeps_their_status(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    both = [{"evse_id": n, "connectors": [{"connector_id": 1}]} for n in (1, 2)]
    await api.post("/api/v1/stations", json={"id": "CP-1", "evses": both})
    async with pool.connection() as connection:
        await connection.execute("UPDATE evse SET status = 'charging'")
    answer = await api.patch(
        "/api/v1/stations/CP-1", json={"evses": [{"evse_id": 2, "power_w_max": 7400}]}
    )
    assert [
        (evse["evse_id"], evse["status"], evse["power_w_max"], evse["connectors"])
        for evse in answer.json()["evses"]
    ] == [(2, "charging", 7400, [])]


async def test_put_replaces_but_keeps_the_password(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    url = "/api/v1/stations/CP-1"
    created = await api.put(url, json={"vendor": "Acme", "password": "a password of mine"})
    assert created.status_code == 201
    replaced = await api.put(url, json={"model": "W1"})
    assert replaced.status_code == 200
    station = replaced.json()
    assert (station["vendor"], station["model"]) == (None, "W1")
    assert (station["has_password"], station["security_profile"]) == (True, 1)
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT password_hash FROM station")
        ((password_hash,),) = await cursor.fetchall()
    assert passwords.verify(password_hash, b"a password of mine")
    assert not passwords.verify(password_hash, b"a password of yours")


async def test_removing_the_password_does_not_open_the_door_in_silence(
    api: httpx.AsyncClient,
) -> None:
    url = "/api/v1/stations/CP-1"
    await api.put(url, json={"password": "a password of mine"})
    told(await api.patch(url, json={"password": None}), 422)
    opened = await api.patch(url, json={"password": None, "security_profile": 0})
    assert opened.json()["has_password"] is False


async def test_retired_station_is_gone_until_a_put_revives_it(api: httpx.AsyncClient) -> None:
    url = "/api/v1/stations/CP-1"
    await api.post("/api/v1/stations", json={"id": "CP-1"})
    assert (await api.delete(url)).status_code == 204
    told(await api.get(url), 404)
    told(await api.patch(url, json={"public": True}), 404)
    told(await api.delete(url), 404)
    assert (await api.get("/api/v1/stations")).json()["items"] == []
    assert (await api.put(url, json={})).status_code == 201
    assert (await api.get(url)).status_code == 200


async def test_gateways_are_told_of_a_change_at_its_commit(
    api: httpx.AsyncClient, settings: Settings
) -> None:
    await api.post("/api/v1/stations", json={"id": "CP-1"})
    assert settings.database_url is not None
    listener = await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True)
    try:
        await listener.execute("LISTEN t2p_station")
        await api.patch("/api/v1/stations/CP-1", json={"boot_status": "pending"})
        notices = [n.payload async for n in listener.notifies(timeout=5, stop_after=1)]
    finally:
        await listener.close()
    assert notices == ["CP-1"]


@pytest.mark.parametrize("identity", ["Nord/CP é+1", "站?#1", "100%2F", "a..b"])
async def test_identity_with_odd_characters_has_an_address(
    api: httpx.AsyncClient, identity: str
) -> None:
    created = await api.post("/api/v1/stations", json={"id": identity})
    assert created.status_code == 201
    address = created.headers["location"]
    assert (await api.get(address)).json()["id"] == identity
    assert (await api.get(address + "/events")).json()["items"] == []


async def test_list_is_filtered_and_walked_by_its_cursor(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await api.post("/api/v1/sites", json={"id": "north"})
    for number in range(7):
        body: dict[str, Any] = {"id": f"CP-{number}", "vendor": "Acme" if number % 2 else "Zeta"}
        if number > 4:
            body["site_id"] = "north"
        await api.post("/api/v1/stations", json=body)
    async with pool.connection() as connection:
        await connection.execute(
            """
            INSERT INTO station_connection
            SELECT station_key, 'node-1', 1, 'ocpp1.6', '127.0.0.1', now(), now(), NULL
              FROM station WHERE id = 'CP-3'
            """
        )
    seen, cursor, totals = [], None, set()
    while True:
        parameters = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/api/v1/stations", params=parameters)).json()
        seen += [station["id"] for station in page["items"]]
        totals.add(page["total"])
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [f"CP-{number}" for number in range(7)]
    assert totals == {7}

    async def ids(**parameters: Any) -> list[str]:
        found = (await api.get("/api/v1/stations", params=parameters)).json()
        assert found["total"] == len(found["items"])
        return [station["id"] for station in found["items"]]

    assert await ids(site_id="north") == ["CP-5", "CP-6"]
    assert await ids(connected="true") == ["CP-3"]
    assert await ids(q="acme") == ["CP-1", "CP-3", "CP-5"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "id"),
        ({"id": ""}, "id"),
        ({"id": "x" * 256}, "id"),
        ({"id": "a\u0000b"}, "body"),
        ({"id": "a\nb"}, "id"),
        ({"id": "CP", "colour": "red"}, "colour"),
        ({"id": "CP", "public": "yes"}, "public"),
        ({"id": "CP", "security_profile": 4}, "security_profile"),
        ({"id": "CP", "security_profile": 2}, "password"),
        ({"id": "CP", "password": "short"}, "password"),
        ({"id": "CP", "protocol": "ocpp1.5"}, "protocol"),
        ({"id": "CP", "site_id": "nowhere"}, "site_id"),
        ({"id": "CP", "boot_status": None}, "boot_status"),
        ({"id": "CP", "static": {"a": ["\u0000"]}}, "body"),
        ({"id": "CP", "evses": [{"evse_id": 0}]}, "evses.0.evse_id"),
        ({"id": "CP", "evses": [{"evse_id": 1}, {"evse_id": 1}]}, "body"),
        (
            {
                "id": "CP",
                "evses": [{"evse_id": 1, "connectors": [{"connector_id": 1, "type": "x"}]}],
            },
            "evses.0.connectors.0.type",
        ),
    ],
)
async def test_bad_station_is_refused_with_its_field(
    api: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    problem = told(await api.post("/api/v1/stations", json=body), 422)
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_refused_password_is_not_repeated(api: httpx.AsyncClient) -> None:
    answer = await api.post("/api/v1/stations", json={"id": "CP", "password": ["hunter2"]})
    told(answer, 422)
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    "content", [b"{", b"[" * 100_000, b'"\\ud800"', b"\xff", b'{"id":NaN}', b"1" * 5_000]
)
async def test_broken_json_is_a_clear_error(api: httpx.AsyncClient, content: bytes) -> None:
    answer = await api.post(
        "/api/v1/stations", content=content, headers={"content-type": "application/json"}
    )
    assert told(answer, 422)["errors"]


async def test_cursor_of_our_own_only(api: httpx.AsyncClient) -> None:
    half = base64.urlsafe_b64encode(b'[1,"\\ud800"]').decode()
    for cursor in ("x", "bm9uc2Vuc2U", "WzEsMl0", "W10", "%00", "é", half):
        problem = told(await api.get("/api/v1/stations", params={"cursor": cursor}), 422)
        assert problem["errors"][0]["field"] == "cursor"


async def test_nothing_under_api_without_a_key(anyone: httpx.AsyncClient) -> None:
    for path in ("/api/v1/stations", "/api/v1/sessions", "/api/v1/nothing", "/api", "/api/"):
        answer = await anyone.get(path)
        told(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    told(await anyone.post("/api/v1/stations", content=b"{"), 401)


async def test_only_good_keys_pass(anyone: httpx.AsyncClient, pool: AsyncConnectionPool) -> None:
    async def ask(header: str) -> httpx.Response:
        return await anyone.get("/api/v1/stations", headers={"Authorization": header})

    now = datetime.now(UTC)
    async with pool.connection() as connection:
        good, record = await keys.create(connection, name="a", role="operator", expires_at=None)
        late, _ = await keys.create(
            connection, name="b", role="operator", expires_at=now - timedelta(seconds=1)
        )
    assert (await ask(f"Bearer {good}")).status_code == 200
    assert (await ask(f"bearer {good}")).status_code == 200
    for header in (
        "",
        "Bearer",
        "Bearer ",
        f"Basic {good}",
        good,
        f"Bearer {good}x",
        "Bearer t2p_",
    ):
        told(await ask(header), 401)
    assert "expired" in told(await ask(f"Bearer {late}"), 401)["detail"]
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE api_key SET revoked_at = now() WHERE id = %s", (record.id,)
        )
    assert "revoked" in told(await ask(f"Bearer {good}"), 401)["detail"]


async def test_unknown_address_and_wrong_method_are_problems(api: httpx.AsyncClient) -> None:
    told(await api.get("/api/v1/nothing"), 404)
    answer = await api.post("/api/v1/messages", json={})
    told(answer, 405)
    assert "GET" in answer.headers["allow"]
    told(await api.get("/nothing"), 404)


async def test_oversized_body_is_refused_whether_announced_or_not(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings, key: str
) -> None:
    from dataclasses import replace

    app = create_app(pool, replace(settings, http_body_bytes_max=1_000), people=people)
    headers = {"Authorization": f"Bearer {key}", "content-type": "application/json"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

        async def stream() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b" " * 500

        for content in (b" " * 1_001, stream()):
            told(await client.post("/api/v1/stations", content=content, headers=headers), 413)


async def test_sites_belong_to_clients_and_take_their_stations_along(
    api: httpx.AsyncClient,
) -> None:
    client = (await api.post("/api/v1/clients", json={"name": "Les Tilleuls"})).json()
    told(await api.post("/api/v1/clients", json={"name": "Les Tilleuls"}), 409)
    site = (await api.post("/api/v1/sites", json={"id": "tilleuls", "name": "Garage"})).json()
    assert site["client"] == "Time2Plug"
    assert site["time_zone"] == "Europe/Paris"
    told(await api.post("/api/v1/sites", json={"id": "tilleuls"}), 409)
    await api.post("/api/v1/stations", json={"id": "CP-1", "site_id": "tilleuls"})
    moved = await api.patch("/api/v1/sites/tilleuls", json={"client_id": client["id"]})
    assert (moved.json()["client"], moved.json()["name"]) == ("Les Tilleuls", "Garage")
    assert (await api.get("/api/v1/stations/CP-1")).json()["client"] == "Les Tilleuls"
    for body in ({"client_id": 999}, {"time_zone": "Paris"}, {"time_zone": "Europe"}):
        told(await api.patch("/api/v1/sites/tilleuls", json=body), 422)
    assert (await api.put("/api/v1/sites/other", json={})).status_code == 201
    assert [s["id"] for s in (await api.get("/api/v1/sites")).json()["items"]] == [
        "other",
        "tilleuls",
    ]


async def test_a_site_takes_its_limits_along_and_leaves_the_groups_of_its_former_client(
    api: httpx.AsyncClient,
) -> None:
    clients = [
        (await api.post("/api/v1/clients", json={"name": name})).json()["id"]
        for name in ("Les Tilleuls", "Les Érables")
    ]
    await api.post("/api/v1/sites", json={"id": "tilleuls", "client_id": clients[0]})
    limit = {"site_id": "tilleuls", "limit_w": 7_000}
    assert (await api.post("/api/v1/power-limits", json=limit)).status_code == 201
    group = {"client_id": clients[0], "name": "Résidents", "kind": "residents"}
    group_id = (await api.post("/api/v1/groups", json=group)).json()["id"]
    access = f"/api/v1/groups/{group_id}/access"
    assert (await api.post(access, json={"site_id": "tilleuls"})).status_code == 201
    moved = await api.patch("/api/v1/sites/tilleuls", json={"client_id": clients[1]})
    assert moved.json()["client"] == "Les Érables"
    assert (await api.get(access)).json()["items"] == []
    limits = (await api.get("/api/v1/power-limits", params={"site_id": "tilleuls"})).json()
    assert [one["limit_w"] for one in limits["items"]] == [7_000]


async def test_badges_are_compared_without_case(api: httpx.AsyncClient) -> None:
    created = await api.post("/api/v1/tokens", json={"uid": "AbC1"})
    assert created.status_code == 201
    assert created.json()["type"] == "ISO14443"
    assert created.json()["status"] == "accepted"
    told(await api.post("/api/v1/tokens", json={"uid": "aBc1"}), 409)
    changed = await api.patch(
        "/api/v1/tokens/ABC1",
        json={"status": "blocked", "valid_until": "2027-01-01T00:00:00+01:00"},
    )
    assert changed.json()["uid"] == "AbC1"
    assert changed.json()["status"] == "blocked"
    assert changed.json()["valid_until"] == "2026-12-31T23:00:00Z"
    assert (await api.delete("/api/v1/tokens/abc1")).status_code == 204
    told(await api.get("/api/v1/tokens/AbC1"), 404)
    revived = await api.put("/api/v1/tokens/AbC1", json={"group_uid": "AbC1"})
    assert revived.status_code == 201
    assert (revived.json()["status"], revived.json()["group_uid"]) == ("accepted", "AbC1")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"uid": "A", "type": "Card"},
        {"uid": "A", "status": "ok"},
        {"uid": "A", "site_ids": ["nowhere"]},
        {"uid": "A", "valid_until": "2027-01-01T00:00:00"},
        {"uid": "A", "valid_until": "0001-01-01T00:00:00+14:00"},
        {"uid": "A", "client_id": 77},
    ],
)
async def test_bad_badge_is_refused(api: httpx.AsyncClient, body: dict[str, Any]) -> None:
    told(await api.post("/api/v1/tokens", json=body), 422)


async def test_unknown_badges_are_listed_until_entered(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await api.post("/api/v1/stations", json={"id": "CP-1"})
    async with pool.connection() as connection:
        await connection.execute(
            """
            INSERT INTO unknown_token
            SELECT lower(uid), uid, station_key, now(), now(), 3
              FROM station, unnest(ARRAY['AA', 'BB']) AS t (uid)
            """
        )
    first = (await api.get("/api/v1/unknown-tokens", params={"limit": 1})).json()
    assert (first["total"], [t["uid"] for t in first["items"]]) == (2, ["BB"])
    after = {"limit": 1, "cursor": first["next"]}
    rest = (await api.get("/api/v1/unknown-tokens", params=after)).json()
    assert [(t["uid"], t["station_id"], t["count"]) for t in rest["items"]] == [("AA", "CP-1", 3)]
    await api.post("/api/v1/tokens", json={"uid": "bb"})
    listed = (await api.get("/api/v1/unknown-tokens")).json()
    assert [t["uid"] for t in listed["items"]] == ["AA"]


async def test_everyone_sees_health_metrics_and_docs(anyone: httpx.AsyncClient) -> None:
    assert (await anyone.get("/healthz")).status_code == 200
    ready = await anyone.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "reasons": {}})
    assert "python_info" in (await anyone.get("/metrics")).text
    docs = await anyone.get("/docs")
    assert "/api/v1/stations" in docs.text
    assert "<script" not in docs.text
    assert docs.headers["x-content-type-options"] == "nosniff"
    assert (await anyone.get("/static/site.css")).status_code == 200


async def test_every_operation_is_described(anyone: httpx.AsyncClient) -> None:
    description = (await anyone.get("/openapi.json")).json()
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (path, method)
            assert operation["description"], (path, method)
            assert operation["tags"], (path, method)
            security = [] if path in OPEN else [{"bearer": []}]
            assert operation["security"] == security, (path, method)
    text = str(description)
    for name in {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in description["components"]["schemas"]


async def test_process_that_is_not_ready_says_why(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    async def ready() -> dict[str, str]:
        return {"gateway": "not listening"}

    transport = httpx.ASGITransport(create_app(pool, settings, people=people, ready=ready))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, {"gateway": "not listening"})


async def test_database_away_is_a_problem_not_a_crash(
    pool: AsyncConnectionPool, settings: Settings, api: httpx.AsyncClient
) -> None:
    await pool.close()
    answers = await asyncio.gather(api.get("/readyz"), api.get("/api/v1/stations"))
    assert [answer.status_code for answer in answers] == [503, 503]
    told(answers[1], 503)
