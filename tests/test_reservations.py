"""Reservations over HTTP, kept by simulated stations of both versions or by us alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from csms import booking, db
from csms.config import Settings
from csms.db import Database
from simulators.driver import Driver, DriverConfig, running, utc_now
from simulators.model import OCPP16, OCPP201, StationConfig
from simulators.obedience import Obedience
from simulators.station import Station
from tests.people import add_badge, add_driver, add_manager, add_person, add_site, add_station
from tests.scenarios.gate import PATIENCE_S, Gate, open_gate
from tests.test_api_me import code, http

PROTOCOLS = pytest.mark.parametrize("protocol", [OCPP16, OCPP201])


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(
        settings,
        command_poll_s=0.1,
        call_timeout_s=1.0,
        start_answer_timeout_s=3.0,
        start_session_wait_s=5.0,
    )


@pytest.fixture
async def gate(settings: Settings, database: Database) -> AsyncIterator[Gate]:
    await add_site(database)
    async with open_gate(settings, database) as gate:
        yield gate


@asynccontextmanager
async def station_at(
    gate: Gate, protocol: str, evses: int = 1, **obedience: str
) -> AsyncIterator[tuple[Driver, list[str]]]:
    codes = await add_station(gate.database, "CP1", evses)
    config = StationConfig(
        identity="CP1",
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
        await gate.connected("CP1", True)
        yield driver, codes


def hours(from_h: float, to_h: float, point_id: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "point_id": point_id,
        "from_at": (now + timedelta(hours=from_h)).isoformat(),
        "to_at": (now + timedelta(hours=to_h)).isoformat(),
    }


async def work(gate: Gate, hours_later: float = 0.0) -> int:
    """A pass of the worker at that moment."""
    async with await db.connect(gate.database) as connection:
        return await booking.advance(
            connection, gate.settings, datetime.now(UTC) + timedelta(hours=hours_later)
        )


async def get(api: httpx.AsyncClient, reservation_id: int) -> dict[str, Any]:
    found = (await api.get(f"/me/reservations/{reservation_id}")).json()
    assert isinstance(found, dict)
    return found


@PROTOCOLS
async def test_a_station_keeps_its_point_for_the_driver_who_then_charges(
    gate: Gate, database: Database, protocol: str
) -> None:
    alice, bob = await add_driver(database, "alice"), await add_driver(database, "bob")
    async with (
        station_at(gate, protocol) as (driver, (point_id,)),
        http(gate, alice) as hers,
        http(gate, bob) as his,
    ):
        made = await hers.post("/me/reservations", json=hours(0, 1, point_id))
        assert made.status_code == 201, made.text
        assert (made.json()["state"], made.json()["soft"]) == ("confirmed", False)
        kept = driver.station.evses[1].reservation
        assert kept is not None and kept.reservation_id == made.json()["id"]

        shown = (await hers.get(f"/me/points/{point_id}")).json()
        assert (shown["state"], shown["mine"]) == ("reserved", True)
        assert shown["reservation_id"] == made.json()["id"]
        shown = (await his.get(f"/me/points/{point_id}")).json()
        assert (shown["state"], shown["mine"], shown["reservation_id"]) == ("reserved", False, None)
        assert shown["until"] is not None
        refused = await his.post("/me/sessions", json={"point_id": point_id})
        assert code(refused) == "reserved_by_another"

        begun = await hers.post("/me/sessions", json={"point_id": point_id})
        assert begun.status_code == 201, begun.text
        assert await work(gate) == 1
        used = await get(hers, made.json()["id"])
        assert (used["state"], used["session_id"]) == ("used", begun.json()["session_id"])
        assert await work(gate) == 0
        await hers.post(f"/me/sessions/{begun.json()['session_id']}/stop")
        assert await work(gate) == 1  # what she no longer needs is free
        assert (await his.post("/me/reservations", json=hours(0.2, 1, point_id))).status_code == 201


@PROTOCOLS
async def test_her_card_charges_where_her_app_has_reserved_and_nobody_elses_does(
    gate: Gate, database: Database, protocol: str
) -> None:
    alice, bob = await add_driver(database, "alice"), await add_driver(database, "bob")
    await add_badge(database, alice, "BADGE-ALICE")
    await add_badge(database, bob, "BADGE-BOB")
    async with station_at(gate, protocol) as (driver, (point_id,)), http(gate, alice) as api:
        made = (await api.post("/me/reservations", json=hours(0, 1, point_id))).json()
        assert (made["state"], made["soft"]) == ("confirmed", False)
        kept = driver.station.evses[1].reservation
        assert kept is not None and kept.group == f"DRIVER-{alice.id}"
        for badge, fits in (("BADGE-BOB", False), ("BADGE-ALICE", True)):
            driver.station.authorize(badge, lambda response, status: None)
            await driver.settled(PATIENCE_S)
            assert driver.station.is_kept_for(kept, badge) is fits
        driver.station.start(1, "BADGE-ALICE", utc_now())
        await driver.settled(PATIENCE_S)
        assert await gate.rows("SELECT reservation_id, authorization_status FROM session") == [
            (made["id"], "Accepted")
        ]
        assert await work(gate) == 1
        assert (await get(api, made["id"]))["state"] == "used"


@PROTOCOLS
async def test_a_reservation_is_cancelled_at_the_station_too(
    gate: Gate, database: Database, protocol: str
) -> None:
    alice = await add_driver(database, "alice")
    async with station_at(gate, protocol) as (driver, (point_id,)), http(gate, alice) as api:
        made = (await api.post("/me/reservations", json=hours(0, 1, point_id))).json()
        assert driver.station.evses[1].reservation is not None
        gone = await api.delete(f"/me/reservations/{made['id']}")
        assert (gone.status_code, gone.json()["state"]) == (200, "cancelled")
        assert await gate.rows(
            "SELECT event, person_id, data ->> 'reason' FROM notification ORDER BY id"
        ) == [
            ("reservation.made", alice.id, None),
            ("reservation.cancelled", alice.id, "asked"),
        ]
        again = await api.delete(f"/me/reservations/{made['id']}")
        assert again.json()["state"] == "cancelled"
        await driver.until(lambda: driver.station.evses[1].reservation is None, PATIENCE_S)
        assert (await api.post("/me/reservations", json=hours(0, 1, point_id))).status_code == 201


@PROTOCOLS
@pytest.mark.parametrize(
    ("behaviour", "why"), [("refuse", "rejected"), ("error", "unsupported"), ("silent", "silent")]
)
async def test_what_the_station_cannot_keep_we_keep(
    gate: Gate, database: Database, protocol: str, behaviour: str, why: str
) -> None:
    alice, bob = await add_driver(database, "alice"), await add_driver(database, "bob")
    await add_badge(database, alice, "BADGE-ALICE")
    await add_badge(database, bob, "BADGE-BOB")
    async with (
        station_at(gate, protocol, ReserveNow=behaviour) as (driver, (point_id,)),
        http(gate, alice) as api,
    ):
        made = (await api.post("/me/reservations", json=hours(0, 1, point_id))).json()
        assert (made["state"], made["soft"]) == ("confirmed", True)
        assert made["soft_why"] in ((why, "occupied") if behaviour == "refuse" else (why,))
        answers: list[str] = []
        name = "idTokenInfo" if driver.station.is_201 else "idTagInfo"
        for badge in ("BADGE-BOB", "BADGE-ALICE"):
            driver.station.authorize(badge, lambda r, _: answers.append(r[name]["status"]))
            await driver.settled(PATIENCE_S)
        assert answers == ["NotAtThisTime" if driver.station.is_201 else "Invalid", "Accepted"]
        driver.station.start(1, "BADGE-BOB", utc_now())
        await driver.settled(PATIENCE_S)
        assert await gate.rows("SELECT authorization_status FROM session") == [("NotAtThisTime",)]


async def test_a_driver_who_is_blocked_keeps_nobody_out(gate: Gate, database: Database) -> None:
    alice, bob = await add_driver(database, "alice"), await add_driver(database, "bob")
    await add_badge(database, bob, "BADGE-BOB")
    async with (
        station_at(gate, OCPP16, ReserveNow="refuse") as (driver, (point_id,)),
        http(gate, alice) as api,
    ):
        await api.post("/me/reservations", json=hours(0, 1, point_id))
        answers: list[str] = []
        for blocked in (False, True):
            if blocked:
                async with await db.connect(database) as connection:
                    await connection.execute(
                        "UPDATE person SET blocked_at = now() WHERE id = %s", (alice.id,)
                    )
            driver.station.authorize(
                "BADGE-BOB", lambda r, _: answers.append(r["idTagInfo"]["status"])
            )
            await driver.settled(PATIENCE_S)
    assert answers == ["Invalid", "Accepted"]


async def test_a_station_that_is_away_is_no_reason_to_keep_nothing(
    gate: Gate, database: Database
) -> None:
    alice = await add_driver(database, "alice")
    (point_id,) = await add_station(database, "CP1")
    async with http(gate, alice) as api:
        made = (await api.post("/me/reservations", json=hours(0, 1, point_id))).json()
    assert (made["state"], made["soft"], made["soft_why"]) == ("confirmed", True, "offline")


async def test_a_point_out_of_order_cannot_be_kept(gate: Gate, database: Database) -> None:
    alice = await add_driver(database, "alice")
    async with station_at(gate, OCPP16) as (driver, (point_id,)), http(gate, alice) as api:
        driver.station.fault(1, utc_now())
        await driver.settled(PATIENCE_S)
        made = (await api.post("/me/reservations", json=hours(0, 1, point_id))).json()
        assert made["state"] == "rejected"


async def test_one_that_begins_later_is_told_to_the_station_then(
    gate: Gate, database: Database
) -> None:
    alice = await add_driver(database, "alice")
    async with station_at(gate, OCPP201) as (driver, (point_id,)), http(gate, alice) as api:
        made = (await api.post("/me/reservations", json=hours(1, 3, point_id))).json()
        assert made["state"] == "requested"
        assert await work(gate) == 0
        assert not driver.station.heard
        assert await work(gate, hours_later=1.1) == 1
        assert (await get(api, made["id"]))["state"] == "placed"


async def expiring(gate: Gate) -> list[tuple[Any, ...]]:
    """Whom was told that his reservation is about to expire: person, reservation, when."""
    return [
        (row[0], row[1], row[2].replace("+00:00", "Z"))
        for row in await gate.rows(
            "SELECT person_id, data ->> 'reservation_id', data ->> 'until_at' FROM notification"
            " WHERE event = 'reservation.expiring'"
        )
    ]


async def test_the_end_of_a_short_reservation_is_told_at_its_half(
    gate: Gate, database: Database
) -> None:
    alice = await add_driver(database, "alice")
    (point_id,) = await add_station(database, "CP1")
    async with http(gate, alice) as api:
        await api.post("/me/reservations", json=hours(0, 0.1, point_id))
        await work(gate, hours_later=0.04)
        assert await expiring(gate) == []
        await work(gate, hours_later=0.06)
        assert len(await expiring(gate)) == 1


async def test_nobody_there_in_time_loses_it(gate: Gate, database: Database) -> None:
    alice = await add_driver(database, "alice")
    async with station_at(gate, OCPP16) as (driver, (point_id,)), http(gate, alice) as api:
        made = (await api.post("/me/reservations", json=hours(0, 1, point_id))).json()
        assert await work(gate, hours_later=0.3) == 0
        assert await expiring(gate) == []
        for _ in range(2):
            assert await work(gate, hours_later=0.4) == 0
        (told,) = await expiring(gate)
        assert told[0] == alice.id
        assert (told[1], told[2]) == (str(made["id"]), made["lapses_at"]), "when it is given up"
        assert await work(gate, hours_later=0.6) == 1
        assert (await get(api, made["id"]))["state"] == "no_show"
        await driver.until(lambda: driver.station.evses[1].reservation is None, PATIENCE_S)


async def test_one_that_nobody_could_keep_expires(gate: Gate, database: Database) -> None:
    alice = await add_driver(database, "alice")
    (point_id,) = await add_station(database, "CP1")
    async with http(gate, alice) as api:
        made = (await api.post("/me/reservations", json=hours(1, 2, point_id))).json()
        assert await work(gate, hours_later=3) == 1
        assert (await get(api, made["id"]))["state"] == "expired"


async def test_of_many_who_want_a_point_at_once_one_gets_it(gate: Gate, database: Database) -> None:
    drivers = [await add_driver(database, f"driver{number}") for number in range(6)]
    (point_id,) = await add_station(database, "CP1")
    clients = [http(gate, driver) for driver in drivers]
    answers = await asyncio.gather(
        *(
            api.post("/me/reservations", json=hours(1 + number / 10, 2.5, point_id))
            for number, api in enumerate(clients)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    refused = [answer for answer in answers if answer.status_code == 409]
    assert {code(answer) for answer in refused} == {"reserved_by_another"}
    for api in clients:
        await api.aclose()


async def test_limits_are_those_of_the_group(gate: Gate, database: Database) -> None:
    alice = await add_driver(database, "alice")
    codes = await add_station(database, "CP1", 3)
    async with http(gate, alice) as api:

        async def why(from_h: float, to_h: float, point_id: str) -> str:
            return code(await api.post("/me/reservations", json=hours(from_h, to_h, point_id)))

        assert await why(1, 3.1, codes[0]) == "too_long"
        assert await why(1, 1.01, codes[0]) == "too_short"
        assert await why(-1, 1, codes[0]) == "in_the_past"
        assert await why(24 * 15, 24 * 15 + 1, codes[0]) == "too_far_ahead"
        assert await why(1, 2, "222222") == "not_allowed_here"
        for point_id in codes[:2]:
            answer = await api.post("/me/reservations", json=hours(1, 2, point_id))
            assert answer.status_code == 201
        assert await why(1, 2, codes[2]) == "too_many_reservations"
        mine = (await api.get("/me/reservations")).json()
        assert [r["point_id"] for r in mine["items"]] == [codes[1], codes[0]]


async def test_each_sees_and_cancels_what_is_his(gate: Gate, database: Database) -> None:
    alice, bob = await add_driver(database, "alice"), await add_driver(database, "bob")
    operator = await add_person(database, "operator", "read", "operate")
    manager = await add_manager(database, "manager", "Résidence Exemple")
    other = await add_manager(database, "other", "Time2Plug")
    (point_id, _) = await add_station(database, "CP1", 2)
    async with (
        http(gate, alice) as hers,
        http(gate, bob) as his,
        http(gate, operator) as operators,
        http(gate, manager) as managers,
        http(gate, other) as others,
    ):
        made = (await hers.post("/me/reservations", json=hours(1, 2, point_id))).json()
        where = f"/me/reservations/{made['id']}"
        assert (await his.get(where)).status_code == 404
        assert (await his.delete(where)).status_code == 404
        assert (await his.get("/me/reservations")).json()["items"] == []
        for api, count in ((operators, 1), (managers, 1), (others, 0)):
            assert (await api.get("/reservations")).json()["total"] == count
        assert (await hers.get("/reservations")).status_code == 403
        assert (await managers.delete(f"/reservations/{made['id']}")).status_code == 403

        endless = hours(1, 2, point_id) | {"from_at": "9999-12-31T23:00:00Z"}
        endless |= {"person_id": bob.id, "to_at": "9999-12-31T23:59:00Z"}
        assert code(await operators.post("/reservations", json=endless)) == "too_far_ahead"
        taken = hours(1.5, 3, point_id) | {"person_id": bob.id, "whole_station": True}
        assert code(await operators.post("/reservations", json=taken)) == "reserved_by_another"
        gone = await operators.delete(f"/reservations/{made['id']}")
        assert (gone.json()["state"], gone.json()["ended_by"]) == (
            "cancelled",
            f"person {operator.id}",
        )
        whole = await operators.post("/reservations", json=taken)
        assert whole.status_code == 201 and whole.json()["point_id"] is None
        assert (await his.get("/me/reservations")).json()["total"] == 1


async def test_what_a_station_drops_we_keep(gate: Gate, database: Database) -> None:
    alice = await add_driver(database, "alice")
    async with station_at(gate, OCPP201) as (driver, (point_id,)), http(gate, alice) as api:
        made = (await api.post("/me/reservations", json=hours(0, 1, point_id))).json()
        driver.station.say(
            "ReservationStatusUpdate",
            {"reservationId": made["id"], "reservationUpdateStatus": "Removed"},
        )
        await driver.settled(PATIENCE_S)
        assert await work(gate) == 1
        kept = await get(api, made["id"])
        assert (kept["state"], kept["soft"], kept["soft_why"]) == ("confirmed", True, "dropped")
