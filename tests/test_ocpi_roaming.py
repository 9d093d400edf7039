"""A partner's driver from her badge to the CDR: a real gateway, simulated station and hub."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from billing import pricing
from csms.config import Settings
from csms.db import Database
from csms.serve import open_service
from simulators.driver import Driver, DriverConfig, running, utc_now
from simulators.model import OCPP16, OCPP201, StationConfig
from simulators.ocpi_hub import OcpiHub
from simulators.station import Station
from tests.ocpi_world import BADGE, CONTRACT, OWN, World, name_of, roaming
from tests.qualicharge_world import Clock
from tests.scenarios.gate import PATIENCE_S, Gate

QUICK: dict[str, Any] = {
    "command_poll_s": 0.1,
    "ocpi_poll_s": 0.1,
    "ocpi_refresh_s": 0.1,
    "ocpi_places_period_s": 0.2,
    "ocpi_session_update_s": 0.2,
    "outlet_back_off_s": 0.1,
    "outlet_pause_longest_s": 0.2,
}
APP_USER = "01234567-89ab-cdef-0123-456789abcdef"
STATUS = "SELECT authorization_status, state FROM session ORDER BY id"


class Street:
    """The service, the hub and a station with a point that roams."""

    def __init__(self, world: World, gate: Gate, driver: Driver) -> None:
        self.world, self.gate, self.driver = world, gate, driver
        self.hub = world.hub

    async def until(self, found: Any) -> Any:
        """What `found` makes of the hub, once it makes something."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not (value := found()):
            assert time.monotonic() < deadline_s, self.hub.complaints
            await asyncio.sleep(0.02)
        return value

    def session(self, status: str) -> dict[str, Any] | None:
        """A session that the hub knows in that status."""
        return next((s for s in self.hub.sessions.values() if s["status"] == status), None)


@pytest.fixture(params=[OCPP16, OCPP201])
async def street(
    request: pytest.FixtureRequest,
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
) -> AsyncIterator[Street]:
    hub = OcpiHub()
    hub.add_token(BADGE, CONTRACT)
    settings = roaming(settings, **QUICK)
    world = World(database, pool, settings, hub, Clock())
    world.clock.now = utc_now()
    config = StationConfig(identity="CP-tilleuls", protocol=request.param, evses=2)
    station = Driver(
        Station(config, utc_now()),
        DriverConfig(
            url=f"ws://127.0.0.1:{settings.ocpp_port}/ocpp", backoff_min_s=0.01, backoff_max_s=0.05
        ),
    )
    async with hub.serve(), open_service(settings):
        await world.build()
        gate = Gate(settings, database)
        async with running(station):
            await station.settled(PATIENCE_S)
            made = Street(world, gate, station)
            await made.until(lambda: (*OWN, "tilleuls") in hub.locations)
            yield made
    assert hub.complaints == []


async def check_cdr(street: Street) -> None:
    """The CDR says what was priced: energy, time and price."""
    await pricing.run(street.world.pool, now=utc_now())
    cdr = await street.until(lambda: next(iter(street.hub.cdrs.values()), None))
    ((excl, incl, energy_wh, started_at, ended_at),) = await street.gate.rows(
        "SELECT amount_excl_cents, amount_incl_cents, energy_wh, started_at, ended_at"
        " FROM priced_session"
    )
    assert cdr["total_cost"] == {"excl_vat": excl / 100, "incl_vat": incl / 100}
    assert cdr["total_energy"] == energy_wh / 1000
    assert round(cdr["total_time"] * 3600) == round((ended_at - started_at).total_seconds())


async def test_a_badge_is_shown_allowed_by_the_hub_charged_and_billed(street: Street) -> None:
    street.driver.station.plug_in(1, utc_now())
    street.driver.station.present(1, BADGE, utc_now())
    told = await street.until(lambda: street.session("ACTIVE"))
    assert told["auth_method"] == "AUTH_REQUEST"
    assert told["cdr_token"]["contract_id"] == CONTRACT
    await street.gate.eventually([("Accepted", "active")], STATUS)
    street.driver.station.present(1, BADGE, utc_now())
    await street.until(lambda: street.session("COMPLETED"))
    await street.gate.eventually([("Accepted", "ended")], STATUS)
    await check_cdr(street)


async def test_a_badge_that_nobody_knows_does_not_charge(street: Street) -> None:
    street.driver.station.plug_in(1, utc_now())
    street.driver.station.present(1, "0400000000000A", utc_now())
    await street.gate.eventually([("0400000000000A",)], "SELECT uid FROM unknown_token")
    assert await street.gate.rows(STATUS) in ([], [("Invalid", "active")], [("Unknown", "active")])
    assert street.hub.sessions == {}


async def test_a_blocked_badge_is_told_so(street: Street) -> None:
    street.hub.add_token("04BBBBBBBBBBBB", "FREMPC00000000X", allowed="BLOCKED")
    street.driver.station.plug_in(1, utc_now())
    street.driver.station.present(1, "04BBBBBBBBBBBB", utc_now())
    await street.gate.eventually([("BLOCKED",)], "SELECT DISTINCT allowed FROM roaming_grant")
    assert street.hub.sessions == {}


async def test_a_hub_that_is_away_refuses_nobody_whose_token_may_do_without(
    street: Street,
) -> None:
    token = street.hub.add_token("04CCCCCCCCCCCC", "FREMPC00000001X", whitelist="ALLOWED_OFFLINE")
    await street.hub.put_token(token)
    street.hub.fail("500", times=None, match=lambda method, path: path.endswith("/authorize"))
    street.driver.station.plug_in(1, utc_now())
    street.driver.station.present(1, "04CCCCCCCCCCCC", utc_now())
    told = await street.until(lambda: street.session("ACTIVE"))
    assert told["auth_method"] == "WHITELIST"


async def test_the_hub_starts_and_stops_from_afar(street: Street) -> None:
    street.hub.add_token(APP_USER, "FREMPC00000002X", type="APP_USER")
    street.driver.station.plug_in(1, utc_now())
    answer, result = await street.hub.start_session("tilleuls", name_of(1), APP_USER)
    assert (answer.result, result and result.result) == ("ACCEPTED", "ACCEPTED")
    told = await street.until(lambda: street.session("ACTIVE"))
    assert (told["auth_method"], told["cdr_token"]["uid"]) == ("COMMAND", APP_USER)
    answer, result = await street.hub.stop_session(told["id"])
    assert (answer.result, result and result.result) == ("ACCEPTED", "ACCEPTED")
    await street.until(lambda: street.session("COMPLETED"))
    await check_cdr(street)
    answer, result = await street.hub.stop_session("999999")
    assert (answer.result, result) == ("UNKNOWN_SESSION", None)
