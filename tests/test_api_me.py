"""A driver's journey over HTTP only, against simulated stations of both versions."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import db
from csms.config import Settings
from csms.db import Database
from csms.serve import open_service
from csms.store import starts
from simulators.driver import Driver, DriverConfig, running, utc_now
from simulators.model import OCPP16, OCPP201, StationConfig
from simulators.obedience import Obedience
from simulators.station import Station
from tests.conftest import free_ports
from tests.people import Person, add_badge, add_driver, add_site, add_station
from tests.scenarios.gate import PATIENCE_S, Gate, open_gate

PROTOCOLS = pytest.mark.parametrize("protocol", [OCPP16, OCPP201])
START = {"RemoteStartTransaction", "RequestStartTransaction"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(
        settings,
        command_poll_s=0.1,
        call_timeout_s=1.0,
        start_answer_timeout_s=3.0,
        start_session_wait_s=5.0,
        live_period_s=0.05,
        live_refresh_s=0.5,
        live_heartbeat_s=0.3,
        live_person_streams_max=2,
    )


@pytest.fixture
async def gate(settings: Settings, database: Database) -> AsyncIterator[Gate]:
    await add_site(database)
    async with open_gate(settings, database) as gate:
        yield gate


def http(gate: Gate, person: Person) -> httpx.AsyncClient:
    return person.client(f"http://127.0.0.1:{gate.settings.http_port}")


@asynccontextmanager
async def station_at(
    gate: Gate, protocol: str, station_id: str = "CP1", evses: int = 1, **obedience: str
) -> AsyncIterator[tuple[Driver, list[str]]]:
    """A simulated station, connected and settled, and the codes of its points."""
    codes = await add_station(gate.database, station_id, evses)
    config = StationConfig(
        identity=station_id,
        protocol=protocol,
        evses=evses,
        obedience=Obedience(by_action=obedience),
    )
    driver = Driver(
        Station(config, utc_now()),
        DriverConfig(url=gate.url, backoff_min_s=0.01, backoff_max_s=0.05),
    )
    async with running(driver):
        await driver.settled(PATIENCE_S)
        await gate.connected(station_id, True)
        yield driver, codes


async def events(response: httpx.Response) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    """(id, event, data) of server-sent events; comments come as event `comment`."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line.startswith(":"):
            yield "", "comment", {}
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield fields["id"], fields["event"], json.loads(fields["data"])
            fields = {}


def code(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    found = answer.json()
    assert found["detail"], found
    return str(found["code"])


@PROTOCOLS
async def test_a_driver_finds_starts_follows_stops_and_looks_back(
    gate: Gate, database: Database, protocol: str
) -> None:
    alice = await add_driver(database, "alice")
    async with station_at(gate, protocol) as (driver, (point_id,)), http(gate, alice) as api:
        found = (
            await api.get("/me/points", params={"lat": 48.851, "lon": 2.35, "radius_m": 500})
        ).json()
        assert [(p["point_id"], p["state"], p["distance_m"]) for p in found["items"]] == [
            (point_id, "free", 111)
        ]
        assert found["items"][0]["access"]["open"] is True
        assert found["items"][0]["address"]["city"] == "Paris"

        begun = await api.post("/me/sessions", json={"point_id": point_id.lower()})
        assert begun.status_code == 201, begun.text
        session_id = begun.json()["session_id"]
        assert begun.headers["Location"] == f"/api/v1/me/sessions/{session_id}"
        now = (await api.get(f"/me/points/{point_id}")).json()
        assert (now["state"], now["mine"], now["session_id"]) == ("occupied", True, session_id)

        seen: list[tuple[str, dict[str, Any]]] = []
        async with api.stream("GET", f"/me/sessions/{session_id}/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            async for _, event, data in events(stream):
                seen.append((event, data))
                if event == "session" and len([e for e, _ in seen if e == "session"]) == 1:
                    driver.station.sample(1, utc_now())
                if event == "session" and data["power_w"] is not None:
                    stopped = await api.post(f"/me/sessions/{session_id}/stop")
                    assert stopped.status_code == 200, stopped.text
                    assert stopped.json()["state"] == "ended"
        assert seen[-1][0] == "ended"
        assert seen[-1][1]["cost"] is None and seen[-1][1]["energy_wh"] is not None
        assert {data["session_id"] for event, data in seen if event != "comment"} == {session_id}

        history = (await api.get("/me/sessions")).json()
        assert [(s["id"], s["point_id"], s["state"]) for s in history["items"]] == [
            (session_id, point_id, "ended")
        ]
        values = (await api.get(f"/me/sessions/{session_id}/meter-values")).json()
        assert values["total"] >= 1
        over = await api.post(f"/me/sessions/{session_id}/stop")
        assert code(over) == "session_over"


async def test_the_last_event_is_not_told_twice(gate: Gate, database: Database) -> None:
    alice = await add_driver(database, "alice")
    async with station_at(gate, OCPP201) as (_, (point_id,)), http(gate, alice) as api:
        session_id = (await api.post("/me/sessions", json={"point_id": point_id})).json()[
            "session_id"
        ]
        await api.post(f"/me/sessions/{session_id}/stop")
        async with api.stream("GET", f"/me/sessions/{session_id}/events") as stream:
            told = [item async for item in events(stream)]
        assert [event for _, event, _ in told] == ["ended"]
        again = await api.get(
            f"/me/sessions/{session_id}/events", headers={"Last-Event-ID": told[-1][0]}
        )
        assert again.status_code == 204


async def test_streams_are_bounded_and_end_with_their_client(
    gate: Gate, database: Database
) -> None:
    alice = await add_driver(database, "alice")
    async with station_at(gate, OCPP16) as (_, (point_id,)), http(gate, alice) as api:
        session_id = (await api.post("/me/sessions", json={"point_id": point_id})).json()[
            "session_id"
        ]
        address = f"/me/sessions/{session_id}/events"
        async with api.stream("GET", address) as first, api.stream("GET", address) as second:
            open_ones = [events(first), events(second)]  # one that is dropped closes its stream
            for kinds in open_ones:
                assert (await anext(kinds))[1] == "session"
            refused = await api.get(address)
            assert (refused.status_code, code(refused)) == (429, "too_many_streams")
        async with asyncio.timeout(PATIENCE_S):  # those who went away are missed at once
            while True:
                async with api.stream("GET", address) as again:
                    if again.status_code == 200:
                        kinds = events(again)
                        assert (await anext(kinds))[1] == "session"
                        assert (await anext(kinds))[1] == "comment"
                        break


@PROTOCOLS
async def test_a_station_that_is_away_is_not_told_later(
    gate: Gate, database: Database, protocol: str
) -> None:
    alice = await add_driver(database, "alice")
    async with station_at(gate, protocol) as (driver, (point_id,)), http(gate, alice) as api:
        driver.cut()
        await gate.connected("CP1", False)
        refused = await api.post("/me/sessions", json={"point_id": point_id})
        assert (refused.status_code, code(refused)) == (409, "station_offline")
        shown = (await api.get(f"/me/points/{point_id}")).json()
        assert shown["state"] == "offline" and shown["since"] is not None
        driver.restore()
        await driver.settled(PATIENCE_S)
        assert not {heard.action for heard in driver.station.heard} & START
    assert await gate.rows("SELECT count(*) FROM command") == [(0,)]


@PROTOCOLS
@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("refuse", "station_refused"), ("error", "station_refused"), ("silent", "station_ignores")],
)
async def test_what_the_station_really_says_is_told(
    gate: Gate, database: Database, protocol: str, behaviour: str, reason: str
) -> None:
    alice = await add_driver(database, "alice")
    disobeys = dict.fromkeys(START, behaviour)
    async with station_at(gate, protocol, **disobeys) as (_, (point_id,)), http(gate, alice) as api:
        refused = await api.post("/me/sessions", json={"point_id": point_id})
        assert (refused.status_code, code(refused)) == (409, reason)
        assert (await api.get("/me/sessions")).json()["total"] == 0


class Idle(Station):
    """Says yes to a start, and waits for a car that does not come."""

    def start(self, *_: Any, **__: Any) -> None:
        return None


@PROTOCOLS
async def test_a_start_that_is_accepted_and_ignored_is_told_as_such(
    settings: Settings, database: Database, protocol: str
) -> None:
    await add_site(database)
    alice = await add_driver(database, "alice")
    (point_id,) = await add_station(database, "CP1")
    quick = replace(settings, start_session_wait_s=0.3, start_session_timeout_s=1.5)
    async with open_gate(quick, database) as gate, http(gate, alice) as api:
        config = StationConfig(identity="CP1", protocol=protocol, evses=1)
        driver = Driver(Idle(config, utc_now()), DriverConfig(url=gate.url))
        async with running(driver):
            await driver.settled(PATIENCE_S)
            begun = await api.post("/me/sessions", json={"point_id": point_id})
            assert (begun.status_code, begun.json()["state"]) == (202, "accepted")
            where = begun.headers["Location"].removeprefix("/api/v1")
            again = await api.post("/me/sessions", json={"point_id": point_id})
            assert again.json()["start_id"] == begun.json()["start_id"]  # still under way
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    shown = (await api.get(where)).json()
                    if shown["state"] != "accepted":
                        break
            assert (shown["state"], shown["code"]) == ("refused", "station_ignores")
            assert shown["detail"] == "The station did nothing about it."


async def test_the_same_key_is_the_same_start(gate: Gate, database: Database) -> None:
    alice = await add_driver(database, "alice")
    async with station_at(gate, OCPP201, evses=2) as (driver, codes), http(gate, alice) as api:
        headers = {"Idempotency-Key": "tap-1"}
        both = await asyncio.gather(
            *(
                api.post("/me/sessions", json={"point_id": codes[0]}, headers=headers)
                for _ in range(2)
            )
        )
        assert [answer.status_code for answer in both] == [201, 201]
        assert both[0].json()["start_id"] == both[1].json()["start_id"]
        assert [h.action for h in driver.station.heard].count("RequestStartTransaction") == 1
        other = await api.post("/me/sessions", json={"point_id": codes[1]}, headers=headers)
        assert (other.status_code, code(other)) == (422, "key_reused")


async def test_of_two_who_start_at_once_one_charges(gate: Gate, database: Database) -> None:
    people = [await add_driver(database, name) for name in ("alice", "bob", "carol")]
    async with station_at(gate, OCPP16) as (driver, (point_id,)):
        clients = [http(gate, person) for person in people]
        answers = await asyncio.gather(
            *(api.post("/me/sessions", json={"point_id": point_id}) for api in clients)
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
        assert {code(a) for a in answers if a.status_code == 409} == {"point_occupied"}
        assert [h.action for h in driver.station.heard] == ["RemoteStartTransaction"]
        for api in clients:
            await api.aclose()


async def test_no_point_waits_for_those_who_change_badges(
    database: Database, pool: AsyncConnectionPool
) -> None:
    """Whatever the number of its station; but for others who start there it does wait."""
    await add_site(database)
    for number in range(1, 10):
        await add_station(database, f"CP{number}")
    async with db.transaction(pool) as desk, db.transaction(pool) as one:
        await desk.execute("INSERT INTO token (uid_key, uid) VALUES ('card', 'CARD')")
        await one.execute("SET LOCAL lock_timeout = '1s'")
        for station_key in range(1, 10):
            await starts.lock_point(one, station_key, 1)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            async with db.transaction(pool) as other:
                await other.execute("SET LOCAL lock_timeout = '10ms'")
                await starts.lock_point(other, 8, 1)


async def test_a_session_is_followed_on_another_node_by_one_look_for_all(
    gate: Gate, database: Database
) -> None:
    alice = await add_driver(database, "alice")
    (http_port,) = free_ports(1)
    other = replace(gate.settings, node="node-2", http_port=http_port)
    async with (
        station_at(gate, OCPP201) as (_, (point_id,)),
        http(gate, alice) as api,
        open_service(other, parts=("web",)),
        alice.client(f"http://127.0.0.1:{http_port}") as elsewhere,
    ):
        begun = await elsewhere.post("/me/sessions", json={"point_id": point_id})
        session_id = begun.json()["session_id"]
        async with elsewhere.stream("GET", f"/me/sessions/{session_id}/events") as stream:
            told = events(stream)
            assert (await anext(told))[1] == "session"
            await api.post(f"/me/sessions/{session_id}/stop")
            async for _, event, data in told:
                last = (event, data["state"]) if data else (event, "")
            assert last == ("ended", "ended")


async def test_each_refusal_has_its_own_reason(gate: Gate, database: Database) -> None:
    alice = await add_driver(database, "alice")
    bob = await add_driver(database, "bob")
    carol = await add_driver(database, "carol", resident=False)
    await add_badge(database, bob, "BADGE-BOB")
    async with (
        station_at(gate, OCPP16, evses=3) as (driver, codes),
        http(gate, alice) as hers,
        http(gate, bob) as his,
        http(gate, carol) as strangers,
    ):

        async def why(api: httpx.AsyncClient, point_id: str) -> str:
            answer = await api.post("/me/sessions", json={"point_id": point_id})
            assert answer.status_code in (403, 409), answer.text
            return code(answer)

        assert await why(strangers, codes[0]) == "not_allowed_here"
        assert await why(hers, "222222") == "not_allowed_here"
        assert (await strangers.get("/me/points", params={"site_id": "exemple"})).json()[
            "items"
        ] == []

        driver.station.start(1, "BADGE-BOB", utc_now())
        driver.station.fault(2, utc_now())
        await driver.settled(PATIENCE_S)
        assert await why(hers, codes[0]) == "point_occupied"
        assert await why(hers, codes[1]) == "point_out_of_order"
        assert await why(his, codes[2]) == "too_many_sessions"

        async with await db.connect(database, owner=True) as owner:
            await owner.execute("UPDATE group_access SET weekdays = 1, to_minute = 1")
            closed = await why(hers, codes[2])
            await owner.execute("UPDATE group_access SET weekdays = 127, to_minute = 1440")
            assert closed in ("not_now", "point_occupied")  # but on Mondays at midnight
            assert (await hers.post("/me/sessions", json={"point_id": codes[2]})).status_code == 201
            await hers.post(
                f"/me/sessions/{(await hers.get('/me/sessions')).json()['items'][0]['id']}/stop"
            )
            await owner.execute("UPDATE token SET status = 'blocked' WHERE type = 'Central'")
            driver.station.unplug(3, utc_now())
            await driver.settled(PATIENCE_S)
            assert await why(hers, codes[2]) == "badge_blocked"
            await owner.execute("UPDATE driver SET closed_at = now()")
        assert (await hers.get("/me/points")).status_code == 403


CONTRACT = """
INSERT INTO contract (client_id, client_class, devis_reference, signed_on, starts_on, term_months)
    SELECT id, 'professionnel', 'D-1', '2026-01-01', '2026-01-01', 36
      FROM client WHERE NOT is_operator;
"""
APP = """
INSERT INTO contract_option (client_id, contract_id, option, from_on)
    SELECT client_id, id, 'driver_app', '2026-01-01' FROM contract;
"""
SUSPENSION = """
INSERT INTO contract_suspension (client_id, contract_id, received_on, reason, from_on)
    SELECT client_id, id, '2026-02-01', 'test', '2026-02-15' FROM contract;
"""


async def test_what_the_contract_does_not_open_says_so(gate: Gate, database: Database) -> None:
    alice = await add_driver(database, "alice")
    (point_id,) = await add_station(database, "CP1")
    body = {"point_id": point_id}
    async with (
        http(gate, alice) as api,
        await db.connect(database, owner=True) as owner,
    ):
        await owner.execute(CONTRACT.encode())
        refused = await api.post("/me/sessions", json=body)
        assert (refused.status_code, code(refused)) == (403, "service_closed")
        shown = (await api.get(f"/me/points/{point_id}")).json()
        assert shown["driver_app"]["code"] == shown["reservations"]["code"] == "service_closed"
        assert "Application for drivers" in shown["driver_app"]["detail"]

        await owner.execute(APP.encode())
        assert code(await api.post("/me/sessions", json=body)) == "station_offline"
        reserved = await api.post("/me/reservations", json=body | {"to_at": "2099-01-01T00:00:00Z"})
        assert code(reserved) == "service_closed"
        shown = (await api.get("/me/points")).json()["items"][0]
        assert (shown["driver_app"]["open"], shown["reservations"]["open"]) == (True, False)

        await owner.execute(SUSPENSION.encode())
        refused = await api.post("/me/sessions", json=body)
        assert (refused.status_code, code(refused)) == (403, "contract_suspended")


async def test_nobody_follows_or_stops_the_session_of_another(
    gate: Gate, database: Database
) -> None:
    alice = await add_driver(database, "alice")
    bob = await add_driver(database, "bob")
    async with (
        station_at(gate, OCPP16) as (_, (point_id,)),
        http(gate, alice) as hers,
        http(gate, bob) as his,
    ):
        begun = (await hers.post("/me/sessions", json={"point_id": point_id})).json()
        session = f"/me/sessions/{begun['session_id']}"
        for answer in (
            await his.get(session),
            await his.get(session + "/meter-values"),
            await his.get(session + "/events"),
            await his.post(session + "/stop"),
            await his.get(f"/me/starts/{begun['start_id']}"),
        ):
            assert answer.status_code == 404
        assert (await his.get("/me/sessions")).json()["items"] == []
        shown = (await his.get(f"/me/points/{point_id}")).json()
        assert (shown["state"], shown["mine"], shown["session_id"]) == ("occupied", False, None)


async def test_a_driver_is_told_when_a_point_is_free(gate: Gate, database: Database) -> None:
    alice = await add_driver(database, "alice")
    carol = await add_driver(database, "carol", resident=False)
    (point_id,) = await add_station(database, "CP1")
    open_watches = "SELECT evse_id FROM point_watch WHERE cancelled_at IS NULL"
    async with http(gate, alice) as api, http(gate, carol) as strangers:
        for _ in range(2):
            watched = await api.post(f"/me/points/{point_id}/watch")
            assert watched.status_code == 201 and watched.json()["point_id"] == point_id
        assert await gate.rows(open_watches) == [(1,)]
        assert code(await strangers.post(f"/me/points/{point_id}/watch")) == "not_allowed_here"
        for _ in range(2):
            assert (await api.delete(f"/me/points/{point_id}/watch")).status_code == 204
        assert await gate.rows(open_watches) == []


async def test_points_come_in_pages_the_nearest_first(gate: Gate, database: Database) -> None:
    alice = await add_driver(database, "alice")
    for number in range(5):
        await add_station(database, f"CP{number}")
    async with await db.connect(database, owner=True) as owner:
        await owner.execute(
            """
            INSERT INTO site (id, static) VALUES
                ('near', '{"latitude": 48.8501, "longitude": 2.35}'),
                ('far', '{"latitude": 48.9, "longitude": 2.35}'),
                ('odd', '{"latitude": "north", "longitude": 2.35}');
            INSERT INTO station (id, site_id, public) VALUES
                ('P-near', 'near', true), ('P-far', 'far', true), ('P-odd', 'odd', true),
                ('P-private', 'near', false);
            INSERT INTO evse (station_key, evse_id)
                SELECT station_key, 1 FROM station WHERE id LIKE 'P-%';
            """
        )
    async with http(gate, alice) as api:
        where: dict[str, Any] = {"lat": 48.8502, "lon": 2.35, "radius_m": 2_000, "limit": 4}
        first = (await api.get("/me/points", params=where)).json()
        assert first["total"] == 6
        second = (await api.get("/me/points", params={**where, "cursor": first["next"]})).json()
        both = first["items"] + second["items"]
        assert [p["site_id"] for p in both] == ["near"] + ["exemple"] * 5
        assert [p["distance_m"] for p in both] == [11] + [22] * 5
        assert second["next"] is None
        mine = (await api.get("/me/points")).json()
        assert {p["site_id"] for p in mine["items"]} == {"exemple"}
        assert (await api.get("/me/points", params={"lat": 1})).status_code == 422
