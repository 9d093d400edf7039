"""Orders through the operator's API to simulated stations, which really carry them out."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from csms.config import Settings
from csms.db import Database
from simulators.driver import Driver, DriverConfig, running, utc_now
from simulators.model import OCPP16, OCPP201, StationConfig
from simulators.obedience import Obedience
from simulators.station import Station
from tests.order_samples import ORDERS
from tests.scenarios.gate import PATIENCE_S, Gate, open_gate
from tests.test_commands import client_of

PROTOCOLS = pytest.mark.parametrize("protocol", [OCPP16, OCPP201])


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, command_poll_s=0.1, call_timeout_s=2.0, token_concurrent_max=0)


@pytest.fixture
async def gate(settings: Settings, database: Database) -> AsyncIterator[Gate]:
    async with open_gate(settings, database) as gate:
        yield gate


@pytest.fixture
async def api(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gate) as client:
        yield client


async def driver_of(gate: Gate, protocol: str, obedience: Obedience) -> Driver:
    await gate.add("CP1", auto_configure=False)
    config = StationConfig(identity="CP1", protocol=protocol, evses=2, obedience=obedience)
    return Driver(
        Station(config, utc_now()),
        DriverConfig(url=gate.url, backoff_min_s=0.01, backoff_max_s=0.05),
    )


async def give(api: httpx.AsyncClient, protocol: str, action: str) -> dict[str, Any]:
    body = {"action": action, "payload": ORDERS[protocol][action], "wait_s": PATIENCE_S}
    answer = await api.post("/stations/CP1/commands", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


@PROTOCOLS
async def test_every_order_arrives_and_its_answer_comes_back(
    gate: Gate, api: httpx.AsyncClient, protocol: str
) -> None:
    driver = await driver_of(gate, protocol, Obedience())
    async with running(driver):
        await driver.settled(PATIENCE_S)
        for action in ORDERS[protocol]:
            before = driver.connections
            found = await give(api, protocol, action)
            assert found["status"] in ("accepted", "rejected"), found
            assert found["response"] is not None and found["error"] is None, found
            if action == "Reset":
                await driver.until(lambda b=before: driver.connections > b, PATIENCE_S)
                await driver.settled(PATIENCE_S)
        await driver.settled(PATIENCE_S)
    assert [heard.action for heard in driver.station.heard] == list(ORDERS[protocol])
    assert driver.station.local_list and driver.station.profiles.profiles


@PROTOCOLS
@pytest.mark.parametrize(
    ("behaviour", "status"),
    [("refuse", "rejected"), ("error", "failed"), ("silent", "failed"), ("reboot", "failed")],
)
async def test_what_a_station_does_not_do_is_told_and_not_tried_again(
    gate: Gate, api: httpx.AsyncClient, protocol: str, behaviour: str, status: str
) -> None:
    driver = await driver_of(gate, protocol, Obedience(by_action={"ClearCache": behaviour}))
    async with running(driver):
        await driver.settled(PATIENCE_S)
        found = await give(api, protocol, "ClearCache")
        assert found["status"] == status, found
        after = await give(api, protocol, "GetLocalListVersion")
        assert after["status"] == "accepted"
    assert [heard.action for heard in driver.station.heard] == [
        "ClearCache",
        "GetLocalListVersion",
    ]
