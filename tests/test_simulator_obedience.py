"""Orders on a real websocket: every one of both versions, obeyed and disobeyed in every way."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import ocpp.v16
import ocpp.v201
import pytest
from ocpp.charge_point import camel_to_snake_case
from ocpp.exceptions import OCPPError
from websockets.asyncio.server import ServerConnection

from simulators.driver import Driver, DriverConfig, running
from simulators.model import OCPP16, OCPP201, StationConfig
from simulators.obedience import Obedience
from simulators.station import Station
from tests.order_samples import ORDERS
from tests.simulator_peer import Peer, peer_listening
from tests.test_simulator_driver import Clock

PROTOCOLS = pytest.mark.parametrize("protocol", [OCPP16, OCPP201])
CLIENTS = pytest.mark.parametrize("plain", [False, True], ids=["package", "plain"])
#: orders whose answer has no word for a refusal
WORDLESS = {"CostUpdated", "GetConfiguration", "GetDiagnostics", "UpdateFirmware"} | {
    "GetLocalListVersion",
    "GetTransactionStatus",
}


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with peer_listening() as peer:
        yield peer


def driver_of(peer: Peer, protocol: str, obedience: Obedience, *, plain: bool = False) -> Driver:
    clock = Clock()
    config = StationConfig(identity="CP1", protocol=protocol, evses=2, obedience=obedience)
    return Driver(
        Station(config, clock()),
        DriverConfig(
            url=peer.url, backoff_min_s=0.01, backoff_max_s=0.02, call_timeout_s=10, plain=plain
        ),
        clock,
    )


async def give(peer: Peer, protocol: str, action: str) -> Any:
    """One order; the answer, checked by the package. Raises: OCPPError for CALLERROR."""
    module = ocpp.v201 if protocol == OCPP201 else ocpp.v16
    request = getattr(module.call, action)(**camel_to_snake_case(ORDERS[protocol][action]))
    return await peer.clients["CP1"].call(request, suppress=False)


async def reconnected(driver: Driver, connections: int) -> None:
    await driver.until(lambda: driver.connections > connections, 30)
    await driver.settled(30)


@PROTOCOLS
@CLIENTS
async def test_every_order_is_obeyed_and_answered_by_the_schema(
    peer: Peer, protocol: str, plain: bool
) -> None:
    driver = driver_of(peer, protocol, Obedience(), plain=plain)
    async with running(driver):
        await driver.settled(30)
        for action in ORDERS[protocol]:
            before = driver.connections
            if action == "Reset":
                # The package reads one frame at a time: one that it cannot answer any more, since
                # the station is gone, would be the last that it reads.
                await driver.settled(30)
            assert await give(peer, protocol, action) is not None, action
            if action == "Reset":
                await reconnected(driver, before)
        await driver.settled(30)
    assert peer.schema_errors == []
    station = driver.station
    assert [order.action for order in station.heard] == list(ORDERS[protocol])
    assert station.local_list
    assert [profile.profile_id for profile in station.profiles.profiles] == [5]
    assert peer.payloads("MeterValues")
    if protocol == OCPP201:
        assert peer.payloads("NotifyReport")[-1]["tbc"] is False
    (session,) = station.sessions
    assert session.badge == "BADGE"


@PROTOCOLS
@CLIENTS
async def test_a_station_that_refuses_does_nothing(peer: Peer, protocol: str, plain: bool) -> None:
    driver = driver_of(peer, protocol, Obedience(usual="refuse"), plain=plain)
    async with running(driver):
        await driver.settled(30)
        said = len(peer.told)
        for action in ORDERS[protocol]:
            answer = await give(peer, protocol, action)
            words = json.dumps(vars(answer))
            assert action in WORDLESS or "Accepted" not in words, action
        await driver.settled(30)
    assert len(peer.told) == said
    station = driver.station
    assert not station.sessions and not station.local_list and not station.profiles.profiles
    assert driver.connections == 1


@PROTOCOLS
async def test_a_station_in_error_answers_callerror(peer: Peer, protocol: str) -> None:
    driver = driver_of(peer, protocol, Obedience(usual="error"))
    async with running(driver):
        await driver.settled(30)
        for action in ORDERS[protocol]:
            with pytest.raises(OCPPError):
                await give(peer, protocol, action)
    assert not driver.station.sessions


@PROTOCOLS
async def test_a_silent_station_hears_and_never_answers(peer: Peer, protocol: str) -> None:
    driver = driver_of(peer, protocol, Obedience(usual="silent"))
    async with running(driver):
        await driver.settled(30)
        client = peer.clients["CP1"]
        socket: ServerConnection = client._connection
        for number, (action, payload) in enumerate(ORDERS[protocol].items()):
            await socket.send(json.dumps([2, str(number), action, payload]))
        await driver.until(lambda: len(driver.station.heard) == len(ORDERS[protocol]), 30)
        driver.station.heartbeat()
        await driver.settled(30)
        assert client._response_queue.empty()
    assert {order.behaviour for order in driver.station.heard} == {"silent"}
    assert not driver.station.sessions


@PROTOCOLS
async def test_a_station_may_reboot_in_the_middle_of_any_order(peer: Peer, protocol: str) -> None:
    driver = driver_of(peer, protocol, Obedience(usual="reboot"))
    async with running(driver):
        await driver.settled(30)
        driver.station.start(1, "BADGE", driver.clock())
        await driver.settled(30)
        for action, payload in ORDERS[protocol].items():
            before = driver.connections
            frame = json.dumps([2, f"id-{action}", action, payload])
            await peer.clients["CP1"]._connection.send(frame)
            await reconnected(driver, before)
    orders = len(ORDERS[protocol])
    assert peer.actions("CP1").count("BootNotification") == orders + 1
    (session,) = driver.station.sessions  # it survives all that
    assert session.ended_at is None
    assert peer.schema_errors == []


async def test_one_order_may_be_disobeyed_and_the_others_obeyed(peer: Peer) -> None:
    driver = driver_of(peer, OCPP16, Obedience(by_action={"ClearCache": "error"}))
    async with running(driver):
        await driver.settled(30)
        with pytest.raises(OCPPError):
            await give(peer, OCPP16, "ClearCache")
        assert (await give(peer, OCPP16, "GetLocalListVersion")).list_version == 0


@PROTOCOLS
async def test_a_soft_reset_tells_the_end_of_sessions_before_it_leaves(
    peer: Peer, protocol: str
) -> None:
    driver = driver_of(peer, protocol, Obedience())
    async with running(driver):
        await driver.settled(30)
        driver.station.start(1, "BADGE", driver.clock())
        await driver.settled(30)
        request: Any = ocpp.v16.call.Reset(type="Soft")
        if protocol == OCPP201:
            request = ocpp.v201.call.Reset(type="Immediate")
        assert (await peer.clients["CP1"].call(request)).status == "Accepted"
        await reconnected(driver, 1)
    actions = peer.actions("CP1")
    end = "TransactionEvent" if protocol == OCPP201 else "StopTransaction"
    last_boot = len(actions) - 1 - actions[::-1].index("BootNotification")
    assert end in actions[:last_boot]
    assert end not in actions[last_boot:]
    if protocol == OCPP16:
        assert peer.payloads("StopTransaction")[0]["reason"] == "SoftReset"
    else:
        assert peer.payloads("BootNotification")[-1]["reason"] == "RemoteReset"


async def test_a_limit_that_comes_into_force_is_told_when_its_time_has_come(peer: Peer) -> None:
    driver = driver_of(peer, OCPP16, Obedience())
    clock = driver.clock
    assert isinstance(clock, Clock)
    async with running(driver):
        await driver.settled(30)
        driver.station.start(1, "BADGE", clock())
        schedule = {
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [
                {"startPeriod": 0, "limit": 16.0},
                {"startPeriod": 600, "limit": 0.0},
            ],
        }
        wire = ORDERS[OCPP16]["SetChargingProfile"]["csChargingProfiles"]
        request = ocpp.v16.call.SetChargingProfile(
            connector_id=1,
            cs_charging_profiles=camel_to_snake_case(wire | {"chargingSchedule": schedule}),
        )
        assert (await peer.clients["CP1"].call(request)).status == "Accepted"
        clock.later(10)
        await peer.until(
            lambda: any(
                p["status"] == "SuspendedEVSE" for p in peer.payloads("StatusNotification")
            ),
            30,
        )


async def test_orders_of_two_stations_are_told_apart() -> None:
    async with peer_listening() as one, peer_listening() as other:
        drivers = [driver_of(peer, OCPP16, Obedience()) for peer in (one, other)]
        async with running(*drivers):
            await asyncio.gather(*(driver.settled(30) for driver in drivers))
            await give(one, OCPP16, "ClearCache")
        assert [len(driver.station.heard) for driver in drivers] == [1, 0]
