"""Our server of OCPI: who may call it, in which state, and that nothing which is sent breaks it."""

import base64
import copy
import json
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import APIRoute
from psycopg_pool import AsyncConnectionPool

from csms.config import Settings
from csms.db import Database, transaction
from csms.web import ocpi_server
from reporting.ocpi import partners
from simulators.ocpi_hub import OcpiHub
from tests.ocpi_world import BADGE, CONTRACT, DESK, World, roaming, served
from tests.qualicharge_world import Clock
from tests.test_schemathesis import ODD

TOKENS: Final = "/cpo/2.2.1/tokens/FR/EMP"
TOKEN: Final[dict[str, Any]] = {
    "country_code": "FR",
    "party_id": "EMP",
    "uid": "04AA",
    "type": "RFID",
    "contract_id": "FREMPC00000009X",
    "issuer": "Exemple",
    "valid": True,
    "whitelist": "ALLOWED",
    "last_updated": "2026-11-01T10:00:00Z",
}
BODIES: Final[dict[str, dict[str, Any]]] = {
    "credentials": {
        "token": "t",
        "url": "http://127.0.0.1:9/ocpi/versions",
        "roles": [
            {
                "role": "HUB",
                "party_id": "107",
                "country_code": "FR",
                "business_details": {"name": "Exemple"},
            }
        ],
    },
    "tokens": TOKEN,
    "commands": {
        "response_url": "http://127.0.0.1:9/x",
        "token": TOKEN,
        "location_id": "tilleuls",
        "session_id": "1",
    },
}
ROUNDS: Final = 25


class Caller:
    """Calls our server with a token."""

    def __init__(self, world: World, http: httpx.AsyncClient) -> None:
        self.world, self._http = world, http
        self.token = ""

    async def __call__(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **more: Any
    ) -> httpx.Response:
        encoded = base64.b64encode((self.token if token is None else token).encode()).decode()
        headers = {"Authorization": f"Token {encoded}", "X-Request-ID": str(uuid4())}
        if body is not None:
            more["content"] = body if isinstance(body, bytes) else json.dumps(body)
        return await self._http.request(method, "/ocpi" + path, headers=headers, **more)


@pytest.fixture
async def call(
    database: Database, pool: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[Caller]:
    """As the hub, which is registered, with the token that it has of us."""
    hub = OcpiHub()
    hub.add_token(BADGE, CONTRACT)
    settings = roaming(settings)
    world = World(database, pool, settings, hub, Clock())
    async with (
        hub.serve(),
        served(pool, settings),
        httpx.AsyncClient(base_url=settings.base_url, timeout=30) as http,
    ):
        await world.build()
        await world.push()
        made = Caller(world, http)
        made.token = hub.link.theirs or ""
        yield made


def code(answer: httpx.Response) -> tuple[int, int]:
    return answer.status_code, answer.json()["status_code"]


# Who may call, and in which state.


async def test_nobody_gets_in_without_a_token_that_we_gave(call: Caller) -> None:
    for path in ("/versions", "/2.2.1", "/cpo/2.2.1/locations", "/2.2.1/credentials"):
        assert code(await call("GET", path, token="wrong")) == (401, 2000)
        assert (await call("GET", path)).status_code == 200


async def test_a_token_is_taken_that_is_not_encoded(call: Caller) -> None:
    plain = {"Authorization": f"Token {call.token}"}
    async with httpx.AsyncClient(base_url=call.world.settings.base_url) as http:
        assert (await http.get("/ocpi/versions", headers=plain)).status_code == 200


async def test_credentials_in_the_wrong_state_are_405(call: Caller) -> None:
    body = BODIES["credentials"]
    assert code(await call("POST", "/2.2.1/credentials", body)) == (405, 2000)
    await call.world.hub.unregister()
    assert code(await call("DELETE", "/2.2.1/credentials")) == (401, 2000), "the token is void"
    async with transaction(call.world.pool) as connection:
        invited = await partners.invite(
            connection, call.world.settings, "hub", DESK, call.world.clock.now
        )
    call.token = invited.token
    assert (await call("GET", "/versions")).status_code == 200
    assert code(await call("PUT", "/2.2.1/credentials", body)) == (405, 2000)
    assert code(await call("DELETE", "/2.2.1/credentials")) == (405, 2000)
    assert code(await call("GET", "/cpo/2.2.1/locations")) == (401, 2000), "not registered yet"
    assert code(await call("POST", "/2.2.1/credentials", body)) == (200, 3001), "nobody is there"


async def test_an_invitation_is_good_once(call: Caller) -> None:
    await call.world.hub.unregister()
    async with transaction(call.world.pool) as connection:
        invited = await partners.invite(
            connection, call.world.settings, "hub", DESK, call.world.clock.now
        )
    await call.world.hub.register(invited.versions_url, invited.token)
    assert code(await call("GET", "/versions", token=invited.token)) == (401, 2000)


async def test_no_token_stands_in_the_database(call: Caller) -> None:
    rows = await call.world.do("SELECT p::text FROM ocpi_partner p")
    assert call.token not in str(rows)


# Tokens and commands.


async def test_a_token_is_kept_changed_and_given_back(call: Caller) -> None:
    assert code(await call("PUT", f"{TOKENS}/04AA", TOKEN)) == (200, 1000)
    later = {"valid": False, "last_updated": "2026-11-02T10:00:00Z"}
    assert code(await call("PATCH", f"{TOKENS}/04aa", later)) == (200, 1000)
    found = (await call("GET", f"{TOKENS}/04AA?type=RFID")).json()["data"]
    assert (found["valid"], found["last_updated"]) == (False, "2026-11-02T10:00:00Z")
    assert code(await call("PUT", f"{TOKENS}/04AA", TOKEN)) == (200, 1000), "older: no change"
    assert (await call("GET", f"{TOKENS}/04AA")).json()["data"]["valid"] is False
    assert code(await call("PUT", f"{TOKENS}/04BB", TOKEN)) == (200, 2001), "another address"
    assert code(await call("GET", f"{TOKENS}/04CC")) == (404, 2004)
    assert code(await call("PATCH", f"{TOKENS}/04AA", {"valid": True})) == (200, 2001)


async def test_what_is_no_json_is_400_and_what_is_no_object_2001(call: Caller) -> None:
    assert code(await call("PUT", f"{TOKENS}/04AA", b"{")) == (400, 2001)
    assert code(await call("PUT", f"{TOKENS}/04AA", [])) == (200, 2001)


async def test_commands_that_we_do_not_have_are_answered(call: Caller) -> None:
    for name in ("RESERVE_NOW", "CANCEL_RESERVATION", "UNLOCK_CONNECTOR"):
        answer = await call.world.hub.command(name, {})
        assert answer.result == "NOT_SUPPORTED"
    assert (await call("POST", "/cpo/2.2.1/commands/DANCE", {})).status_code == 404


async def test_results_go_nowhere_but_to_the_partner(call: Caller) -> None:
    body = BODIES["commands"] | {"response_url": "http://127.0.0.1:1/elsewhere"}
    for name in ("START_SESSION", "STOP_SESSION"):
        answer = await call("POST", f"/cpo/2.2.1/commands/{name}", body)
        assert code(answer) == (200, 2001)
        assert "response_url" in answer.json()["status_message"]


async def test_an_unknown_place_is_2003_and_a_station_that_is_away_rejects(call: Caller) -> None:
    body = BODIES["commands"] | {"response_url": f"{call.world.hub.base_url}/x"}
    path = "/cpo/2.2.1/commands/START_SESSION"
    assert code(await call("POST", path, body | {"location_id": "nowhere"})) == (200, 2003)
    await call.world.do("UPDATE station_connection SET disconnected_at = now()")
    answer = (await call("POST", path, body)).json()
    assert answer["data"]["result"] == "REJECTED"


async def test_a_place_is_fetched_down_to_its_connectors(call: Caller) -> None:
    base = "/cpo/2.2.1/locations/tilleuls"
    place = (await call("GET", base)).json()["data"]
    evse = (await call("GET", f"{base}/FRT2PE1")).json()["data"]
    connector = (await call("GET", f"{base}/FRT2PE1/1")).json()["data"]
    assert place["evses"][0] == evse
    assert evse["connectors"] == [connector]
    for path in (f"{base}x", f"{base}/NONE", f"{base}/FRT2PE1/2"):
        assert code(await call("GET", path)) == (404, 2003)


# Whatever is sent.


def spoilt(value: Any, chance: random.Random) -> Any:
    """The value with one thing in it odd, absent or too much."""
    value = copy.deepcopy(value)
    places: list[tuple[Any, Any]] = [
        (container, key) for container in containers(value) for key in keys(container)
    ]
    if not places or chance.random() < 0.1:
        return chance.choice(ODD)
    container, key = chance.choice(places)
    if isinstance(container, dict) and chance.random() < 0.2:
        del container[key]
    else:
        container[key] = chance.choice(ODD)
    return value


def containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from containers(inner)


def keys(container: Any) -> list[Any]:
    return list(container) if isinstance(container, dict) else list(range(len(container)))


def odd_text(chance: random.Random) -> str:
    return str(chance.choice([odd for odd in ODD if isinstance(odd, str | int)]))[:200]


async def test_whatever_is_sent_is_answered_in_the_envelope(call: Caller) -> None:
    """Every operation, with odd values in its address, its query and its body."""
    chance = random.Random(20_261_127)
    app = ocpi_server.create_app(call.world.pool, call.world.settings)
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    assert len(routes) >= 17
    for route in routes:
        (method,) = route.methods
        if method in ("POST", "PUT", "DELETE") and "credentials" in route.path:
            body = BODIES["credentials"] | {"roles": []}  # it would change our token
        else:
            body = next((b for name, b in BODIES.items() if name in route.path), {})
        for _ in range(ROUNDS):
            if method == "DELETE":
                continue
            path = route.path
            for name in ("location_id", "evse_uid", "connector_id", "uid", "name"):
                path = path.replace("{" + name + "}", quoted(odd_text(chance)))
            path = path.replace("{country_code}", "FR").replace("{party_id}", "EMP")
            query = {
                name: odd_text(chance)
                for name in ("offset", "limit", "date_from", "date_to", "type")
                if chance.random() < 0.3
            }
            sent = None if method == "GET" else encoded(spoilt(body, chance))
            answer = await call(method, path, sent, params=query)
            assert answer.status_code in (200, 400, 401, 404, 405), (method, path, sent)
            assert isinstance(answer.json()["status_code"], int)
            assert answer.json()["timestamp"].endswith("Z")


def quoted(text: str) -> str:
    return quote(text, safe="", errors="replace") or "x"


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()
