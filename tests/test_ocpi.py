"""Roaming over OCPI: our server and client against a simulated hub, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from billing import pricing
from csms.config import Settings
from csms.db import Database, transaction
from reporting import outlet
from reporting.ocpi import partners, telling
from simulators.ocpi_hub import OcpiHub
from tests.ocpi_world import BADGE, CONTRACT, DESK, OWN, World, name_of, roaming, served
from tests.qualicharge_world import Clock


@pytest.fixture
async def world(
    database: Database, pool: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[World]:
    clock = Clock()
    hub = OcpiHub(clock=clock)
    hub.add_token(BADGE, CONTRACT)
    settings = roaming(settings)
    async with hub.serve(), served(pool, settings):
        yield World(database, pool, settings, hub, clock)
    assert hub.complaints == []


def place_of(hub: OcpiHub, site: str = "tilleuls") -> dict[str, Any]:
    return hub.locations[(*OWN, site)]


def statuses(hub: OcpiHub) -> dict[str, str]:
    return {evse["uid"]: evse["status"] for evse in place_of(hub)["evses"]}


# Registration.


async def test_the_hub_registers_with_us_and_is_told_of_its_sites(world: World) -> None:
    await world.build()
    done = await world.push()
    assert (done.sent, done.dead, done.failures) == (2, 0, 0), "a tariff and a place"
    place = place_of(world.hub)
    assert (place["name"], place["publish"]) == ("Parking des Tilleuls", True)
    assert place["coordinates"] == {"latitude": "45.760000", "longitude": "4.850000"}
    assert [evse["evse_id"] for evse in place["evses"]] == ["FR*T2P*E1", "FR*T2P*E2"]
    (tariff,) = world.hub.tariffs.values()
    assert place["evses"][0]["connectors"][0]["tariff_ids"] == [tariff["id"]]
    (component,) = tariff["elements"][0]["price_components"]
    assert (component["price"], component["vat"]) == (0.2917, 20), "0.35 with VAT"
    assert (await world.push()).sent == 0, "nothing is told twice"


async def test_we_register_with_the_hub_too(world: World) -> None:
    await world.build(registered=False)
    world.hub.invite("the-token-of-the-hub")
    made = await partners.register(
        world.pool,
        world.settings,
        "hub",
        world.hub.versions_url,
        "the-token-of-the-hub",
        DESK,
        world.clock.now,
    )
    assert made.registered_at is not None
    assert (await world.push()).sent == 2
    assert await partners.close(world.pool, world.settings, "hub", DESK, world.clock.now) is None


async def test_a_site_that_is_not_told_of_stays_with_us(world: World) -> None:
    await world.build(feed=None)
    assert (await world.push()).made == 0
    assert world.hub.locations == {}


async def test_a_private_point_beside_public_ones_is_told_to_nobody(world: World) -> None:
    await world.build(points=3)
    await world.do("UPDATE evse SET public = false WHERE evse_id = 2")
    await world.push()
    assert list(statuses(world.hub)) == [name_of(1), name_of(3)]
    assert place_of(world.hub)["publish"] is True
    await world.do("UPDATE evse SET public = false WHERE evse_id = 3")
    world.clock.go_on(seconds=1)
    assert (await world.push()).dead == 0
    removed, whole = world.hub.received[-2:]
    assert (removed.path.rsplit("/")[-1], removed.body["status"]) == (name_of(3), "REMOVED")
    assert [evse["uid"] for evse in whole.body["evses"]] == [name_of(1)]


async def test_where_all_sessions_are_told_all_points_are_and_the_place_is_not_published(
    world: World,
) -> None:
    await world.build(points=2)
    await world.do("UPDATE evse SET public = false WHERE evse_id = 2")
    async with transaction(world.pool) as connection:
        await partners.tell_of(connection, "hub", "tilleuls", "advenir", DESK, world.clock.now)
    await world.push()
    assert list(statuses(world.hub)) == [name_of(1), name_of(2)]
    assert place_of(world.hub)["publish"] is False


# Places and statuses.


async def test_a_status_is_told_when_it_changes(world: World) -> None:
    await world.build()
    await world.push()
    await world.status(1, "charging")
    await world.status(2, "faulted")
    assert (await world.push()).sent == 2
    assert statuses(world.hub) == {name_of(1): "CHARGING", name_of(2): "OUTOFORDER"}
    await world.do("UPDATE station_connection SET disconnected_at = now()")
    await world.push()
    assert set(statuses(world.hub).values()) == {"UNKNOWN"}
    assert all(r.method != "PUT" or "/locations/" not in r.path for r in world.hub.received[-2:])


async def test_what_is_no_longer_told_of_is_removed(world: World) -> None:
    await world.build()
    await world.push()
    async with transaction(world.pool) as connection:
        world.clock.go_on(seconds=1)
        await partners.end_feed(connection, "hub", "tilleuls", "roaming", DESK, world.clock.now)
    await world.push()
    assert set(statuses(world.hub).values()) == {"REMOVED"}


async def test_the_hub_pulls_what_it_was_told_in_small_pages(world: World) -> None:
    await world.build(points=2)
    for number in range(3):
        await world.place(1, f"site-{number}-x")
        async with transaction(world.pool) as connection:
            site = f"site-{number}-x"
            await partners.tell_of(connection, "hub", site, "roaming", DESK, world.clock.now)
    await world.push()
    await world.status(1, "charging")
    await world.push()
    found = await world.hub.pull("locations", page=2)
    assert {place["id"]: place for place in found} == {
        key[2]: place for key, place in world.hub.locations.items()
    }


# Sessions and CDRs.


async def test_a_session_is_told_from_its_begin_to_its_cdr(world: World) -> None:
    await world.build()
    await world.push()
    await world.grant()
    session_id = await world.begin_session()
    await world.push()
    key = (*OWN, str(session_id))
    assert world.hub.sessions[key]["status"] == "ACTIVE"
    assert world.hub.sessions[key]["cdr_token"]["uid"] == BADGE
    await world.energy(session_id, 3_000)
    world.clock.go_on(minutes=10)
    await world.push()
    assert world.hub.sessions[key]["kwh"] == 3
    world.clock.go_on(minutes=10)
    await world.end_session(session_id, 7_350)
    await world.push()
    assert (world.hub.sessions[key]["status"], world.hub.sessions[key]["kwh"]) == (
        "COMPLETED",
        7.35,
    )
    assert world.hub.cdrs == {}, "it has no price yet"
    world.clock.go_on(seconds=1)
    await pricing.run(world.pool, now=world.clock.now)
    await world.push()
    cdr = world.hub.cdrs[key]
    ((cents_excl, cents_incl, person_id),) = await world.do(
        "SELECT amount_excl_cents, amount_incl_cents, person_id FROM priced_session"
    )
    assert cdr["total_cost"] == {"excl_vat": cents_excl / 100, "incl_vat": cents_incl / 100}
    assert (cents_incl, person_id) == (257, world.account), "7.35 kWh at 0.35"
    assert (cdr["total_energy"], cdr["cdr_token"]["contract_id"]) == (7.35, CONTRACT)
    assert (await world.push()).made == 0


async def test_a_driver_of_ours_is_nobody_elses_business(world: World) -> None:
    await world.build()
    await world.push()
    session_id = await world.begin_session(uid="04FFFFFF")
    await world.end_session(session_id, 5_000)
    assert (await world.push()).made == 0


async def test_advenir_is_told_of_all_sessions_and_of_no_driver(world: World) -> None:
    await world.build(feed="advenir", public=False)
    await world.push()
    assert place_of(world.hub)["publish"] is False
    session_id = await world.begin_session(uid="04FFFFFF")
    world.clock.go_on(minutes=30)
    await world.end_session(session_id, 5_000)
    await world.push()
    await world.push()
    (cdr,) = world.hub.cdrs.values()
    assert cdr["cdr_token"] == {
        "country_code": "$$",
        "party_id": "ADV",
        "uid": "12345671234567",
        "type": "RFID",
        "contract_id": "Gireve2Advenir",
    }
    assert (cdr["total_energy"], cdr["total_cost"]["excl_vat"]) == (5, 0)
    assert "04FFFFFF" not in str([world.hub.sessions, world.hub.cdrs])


# What goes wrong.


async def test_a_hub_that_is_down_for_an_hour_gets_everything_later_once_and_in_order(
    world: World,
) -> None:
    await world.build()
    await world.push()
    before = len(world.hub.received)
    world.hub.down()
    for status in ("charging", "available", "faulted", "available", "charging"):
        await world.status(1, status)
        await world.push()
        world.clock.go_on(minutes=10)
    await world.grant()
    session_id = await world.begin_session()
    world.clock.go_on(minutes=10)
    await world.end_session(session_id, 4_000)
    await world.push()
    world.clock.go_on(seconds=1)
    await pricing.run(world.pool, now=world.clock.now)
    await world.push()
    assert len(world.hub.received) == before
    world.hub.up()
    for _ in range(10):
        world.clock.go_on(minutes=10)
        await world.push()
    told = [r.body["status"] for r in world.hub.received[before:] if r.method == "PATCH"]
    assert told == ["CHARGING", "AVAILABLE", "OUTOFORDER", "AVAILABLE", "CHARGING"]
    sessions = [r.body["status"] for r in world.hub.received[before:] if "/sessions/" in r.path]
    assert sessions == ["COMPLETED"] or sessions == ["ACTIVE", "COMPLETED"]
    assert len([r for r in world.hub.received if r.path.endswith("/cdrs")]) == 1


@pytest.mark.parametrize("fault", ["500", "503", "timeout", "cut", "refuse", "ocpi3000", "html"])
async def test_whatever_the_hub_does_each_object_arrives(world: World, fault: str) -> None:
    await world.build()
    await world.push()
    await world.grant()
    session_id = await world.begin_session()
    for kind in ("/locations/", "/sessions/", "/cdrs"):
        world.hub.fail(fault, times=2, match=lambda method, path, kind=kind: kind in path)
    await world.status(2, "charging")
    await world.push()
    world.clock.go_on(minutes=10)
    await world.end_session(session_id, 4_000)
    world.clock.go_on(seconds=1)
    await pricing.run(world.pool, now=world.clock.now)
    for _ in range(20):
        world.clock.go_on(minutes=10)
        await world.push()
    assert statuses(world.hub)[name_of(2)] == "CHARGING"
    key = (*OWN, str(session_id))
    assert world.hub.sessions[key]["status"] == "COMPLETED"
    assert world.hub.cdrs[key]["total_energy"] == 4
    ((waiting,),) = await world.do("SELECT count(*) FROM outlet_item WHERE status <> 'sent'")
    assert waiting == 0


async def test_what_the_hub_refuses_is_on_the_desk_with_its_answer(world: World) -> None:
    await world.build()
    world.hub.fail("ocpi2001", match=lambda method, path: "/locations/" in path)
    done = await world.push()
    assert (done.sent, done.dead) == (1, 1), "the tariff went, the place did not"
    ((reply,),) = await world.do("SELECT reply FROM outlet_item WHERE status = 'dead'")
    assert "2001" in reply


async def test_what_is_cut_off_while_it_is_told_arrives_once_and_in_order(world: World) -> None:
    """Whoever tells dies at any moment; another goes on from what is recorded."""
    await world.build()
    await world.push()
    await world.grant()
    session_id = await world.begin_session()
    before = len(world.hub.received)
    world.hub.slow_down(0.05)
    hasty = replace(world.settings, drain_timeout_s=0.0, outlet_lease_s=120.0)
    for step, status in enumerate(("charging", "available", "faulted", "available", "charging")):
        await world.status(1, status)
        if step == 3:
            await world.end_session(session_id, 4_000)
            world.clock.go_on(seconds=1)
            await pricing.run(world.pool, now=world.clock.now)
        async with telling.open_outlets(world.pool, hasty) as outlets:
            task = asyncio.create_task(
                outlet.deliver(world.pool, hasty, outlets, world.clock, world.clock.sleep)
            )
            count = len(world.hub.received)
            for _ in range(100_000):  # until the hub has a request in its hands
                if len(world.hub.received) > count or task.done():
                    break
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        world.clock.go_on(minutes=10)
    world.hub.slow_down(0.0)
    for _ in range(20):
        world.clock.go_on(minutes=10)
        await world.push()
    told = [r.body["status"] for r in world.hub.received[before:] if r.method == "PATCH"]
    assert [one for place, one in enumerate(told) if told[place - 1 : place] != [one]] == [
        *("CHARGING", "AVAILABLE", "OUTOFORDER", "AVAILABLE", "CHARGING")
    ]
    key = (*OWN, str(session_id))
    assert world.hub.sessions[key]["status"] == "COMPLETED"
    assert len(world.hub.cdrs) == 1
    ((left,),) = await world.do("SELECT count(*) FROM outlet_item WHERE status <> 'sent'")
    assert left == 0
