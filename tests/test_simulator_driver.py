"""A station on a real websocket: what it says, says again, and answers."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import ocpp.v16.call as call16
import ocpp.v201.call as call201
import pytest

from simulators.driver import Driver, DriverConfig, running
from simulators.faults import Faults
from simulators.model import OCPP16, OCPP201, StationConfig
from simulators.station import Station
from tests.simulator_peer import Peer, peer_listening

BEGIN = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
PROTOCOLS = pytest.mark.parametrize("protocol", [OCPP16, OCPP201])


class Clock:
    """A virtual time that the test moves."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now

    def later(self, minutes: float) -> datetime:
        self.now += timedelta(minutes=minutes)
        return self.now


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with peer_listening() as peer:
        yield peer


@pytest.fixture
def clock() -> Clock:
    return Clock()


def driver_of(peer: Peer, clock: Clock, protocol: str, **options: Any) -> Driver:
    faults = options.pop("faults", Faults())
    station = Station(
        StationConfig(identity="CP/1", protocol=protocol, evses=2, faults=faults), clock()
    )
    config = DriverConfig(
        url=peer.url, backoff_min_s=0.01, backoff_max_s=0.05, call_timeout_s=5, **options
    )
    return Driver(station, config, clock)


def charge_for_an_hour(driver: Driver, clock: Clock) -> None:
    station = driver.station
    station.plug_in(1, clock())
    station.start(1, "BADGE", clock())
    station.sample(1, clock.later(30))
    station.stop(1, clock.later(30))
    station.unplug(1, clock())


@PROTOCOLS
async def test_a_charging_is_told_from_boot_to_unplug(
    peer: Peer, clock: Clock, protocol: str
) -> None:
    driver = driver_of(peer, clock, protocol)
    async with running(driver):
        await driver.settled(10)
        charge_for_an_hour(driver, clock)
        await driver.settled(10)
    assert peer.schema_errors == []
    assert peer.actions("CP%2F1")[0] == "BootNotification"
    (session,) = driver.station.sessions
    assert session.acknowledged
    assert session.energy_wh == session.told_wh == 7_360
    if protocol == OCPP16:
        (stop,) = peer.payloads("StopTransaction")
        assert stop["transactionId"] == 1
        assert stop["meterStop"] == 7_360
    else:
        events = peer.payloads("TransactionEvent")
        assert [event["seqNo"] for event in events] == [0, 1, 2]
        assert {event["transactionInfo"]["transactionId"] for event in events} == {
            session.transaction_id
        }


@PROTOCOLS
@pytest.mark.parametrize("same_id", [True, False])
async def test_a_start_whose_answer_is_lost_with_the_link_is_sent_again(
    peer: Peer, clock: Clock, protocol: str, same_id: bool
) -> None:
    action = "StartTransaction" if protocol == OCPP16 else "TransactionEvent"
    driver = driver_of(peer, clock, protocol, resend_same_id=same_id)
    async with running(driver):
        await driver.settled(10)
        peer.cut_on.add(action)
        charge_for_an_hour(driver, clock)
        await driver.settled(10)
    starts = [told for told in peer.told if told[2] == action][:2]
    assert starts[0][3] == starts[1][3]
    assert (starts[0][1] == starts[1][1]) is same_id
    assert driver.connections == 2
    assert driver.station.sessions[0].acknowledged


@PROTOCOLS
async def test_what_happens_while_the_network_is_away_is_told_afterwards(
    peer: Peer, clock: Clock, protocol: str
) -> None:
    driver = driver_of(peer, clock, protocol)
    async with running(driver):
        await driver.settled(10)
        driver.cut()
        await driver.until(lambda: not driver.station.online, 10)
        charge_for_an_hour(driver, clock)
        driver.restore()
        await driver.settled(10)
    assert driver.station.sessions[0].acknowledged
    if protocol == OCPP201:
        assert all(event["offline"] for event in peer.payloads("TransactionEvent"))


@PROTOCOLS
async def test_a_reboot_in_mid_session_boots_again_and_keeps_the_session(
    peer: Peer, clock: Clock, protocol: str
) -> None:
    driver = driver_of(peer, clock, protocol)
    async with running(driver):
        await driver.settled(10)
        driver.station.start(1, "BADGE", clock())
        await driver.settled(10)
        clock.later(10)
        driver.reboot()
        await driver.until(lambda: driver.connections == 2, 10)
        await driver.settled(10)
        driver.station.stop(1, clock.later(10))
        await driver.settled(10)
    assert peer.actions("CP%2F1").count("BootNotification") == 2
    assert driver.station.sessions[0].acknowledged
    assert len(driver.station.sessions) == 1


async def test_a_duplicate_is_two_frames_with_one_id(peer: Peer, clock: Clock) -> None:
    driver = driver_of(peer, clock, OCPP16, faults=Faults(duplicate_every=1))
    async with running(driver):
        await driver.settled(10)
        charge_for_an_hour(driver, clock)
        await driver.settled(10)
        await peer.until(lambda: len(peer.payloads("StopTransaction")) == 2)
    ids = [told[1] for told in peer.told if told[2] == "StartTransaction"]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert peer.starts == 1


async def test_a_refused_transaction_message_is_sent_again(peer: Peer, clock: Clock) -> None:
    driver = driver_of(peer, clock, OCPP16)
    async with running(driver):
        await driver.settled(10)
        peer.refuse_on.add("StopTransaction")
        charge_for_an_hour(driver, clock)
        await driver.settled(10)
    assert len(peer.payloads("StopTransaction")) == 2
    assert driver.station.sessions[0].acknowledged


async def test_an_unanswered_message_times_out_and_is_sent_again(peer: Peer, clock: Clock) -> None:
    driver = driver_of(peer, clock, OCPP16)
    driver.config = DriverConfig(url=peer.url, call_timeout_s=0.2)
    peer.silent_on.add("StartTransaction")
    async with running(driver):
        charge_for_an_hour(driver, clock)
        await driver.settled(10)
    assert len(peer.payloads("StartTransaction")) == 2


async def test_on_hold_nothing_but_boot_is_sent(peer: Peer, clock: Clock) -> None:
    peer.boot_status = "Pending"
    driver = driver_of(peer, clock, OCPP16)
    async with running(driver):
        charge_for_an_hour(driver, clock)
        await driver.until(lambda: not driver.station.unanswered or driver.connections == 1, 10)
        await peer.until(lambda: peer.told)
        assert peer.actions("CP%2F1") == ["BootNotification"]
        peer.boot_status = "Accepted"
        driver.station.tell_boot()
        await driver.settled(10)
    assert driver.station.sessions[0].acknowledged


async def test_the_password_goes_by_basic_authentication(peer: Peer, clock: Clock) -> None:
    driver = driver_of(peer, clock, OCPP16, password="secret")
    async with running(driver):
        await driver.settled(10)
    assert peer.passwords == ["Basic " + base64.b64encode(b"CP/1:secret").decode()]


async def test_remote_start_and_stop_of_16_have_their_effect(peer: Peer, clock: Clock) -> None:
    driver = driver_of(peer, clock, OCPP16)
    async with running(driver):
        await driver.settled(10)
        client = peer.clients["CP%2F1"]
        started = await client.call(call16.RemoteStartTransaction(id_tag="B", connector_id=2))
        assert started.status == "Accepted"
        await driver.until(lambda: any(s.start_answered for s in driver.station.sessions), 10)
        again = await client.call(call16.RemoteStartTransaction(id_tag="B", connector_id=2))
        assert again.status == "Rejected"
        stopped = await client.call(call16.RemoteStopTransaction(transaction_id=1))
        assert stopped.status == "Accepted"
        await driver.until(lambda: driver.station.sessions[0].acknowledged, 10)
    assert peer.payloads("StopTransaction")[0]["reason"] == "Remote"


async def test_remote_start_and_stop_of_201_have_their_effect(peer: Peer, clock: Clock) -> None:
    driver = driver_of(peer, clock, OCPP201)
    async with running(driver):
        await driver.settled(10)
        client = peer.clients["CP%2F1"]
        token = {"id_token": "B", "type": "ISO14443"}
        started = await client.call(
            call201.RequestStartTransaction(id_token=token, remote_start_id=7, evse_id=1)
        )
        assert started.status == "Accepted"
        await driver.until(lambda: any(s.start_answered for s in driver.station.sessions), 10)
        (session,) = driver.station.sessions
        assert peer.payloads("TransactionEvent")[0]["transactionInfo"]["remoteStartId"] == 7
        stopped = await client.call(
            call201.RequestStopTransaction(transaction_id=session.transaction_id)
        )
        assert stopped.status == "Accepted"
        await driver.until(lambda: session.acknowledged, 10)


@PROTOCOLS
async def test_a_reset_is_answered_then_done(peer: Peer, clock: Clock, protocol: str) -> None:
    driver = driver_of(peer, clock, protocol)
    async with running(driver):
        await driver.settled(10)
        driver.station.start(1, "BADGE", clock())
        await driver.settled(10)
        request = call16.Reset(type="Hard") if protocol == OCPP16 else call201.Reset("Immediate")
        assert (await peer.clients["CP%2F1"].call(request)).status == "Accepted"
        await driver.until(lambda: driver.connections == 2, 10)
        await driver.settled(10)
    (session,) = driver.station.sessions
    assert session.acknowledged
    assert peer.actions("CP%2F1").count("BootNotification") == 2
    assert peer.schema_errors == []


async def test_settings_of_16_are_read_and_changed(peer: Peer, clock: Clock) -> None:
    driver = driver_of(peer, clock, OCPP16)
    async with running(driver):
        await driver.settled(10)
        client = peer.clients["CP%2F1"]

        async def change(key: str, value: str) -> str:
            return str((await client.call(call16.ChangeConfiguration(key, value))).status)

        assert await change("HeartbeatInterval", "42") == "Accepted"
        assert await change("HeartbeatInterval", "soon") == "Rejected"
        assert await change("NumberOfConnectors", "9") == "Rejected"
        assert await change("WebSocketPingInterval", "7") == "RebootRequired"
        assert await change("Nonsense", "1") == "NotSupported"
        read = await client.call(call16.GetConfiguration(key=["HeartbeatInterval", "Nonsense"]))
    assert read.configuration_key == [
        {"key": "HeartbeatInterval", "readonly": False, "value": "42"}
    ]
    assert read.unknown_key == ["Nonsense"]
    assert driver.station.interval_s == 42


async def test_variables_of_201_are_read_and_changed(peer: Peer, clock: Clock) -> None:
    driver = driver_of(peer, clock, OCPP201)
    async with running(driver):
        await driver.settled(10)
        client = peer.clients["CP%2F1"]

        def about(component: str, variable: str) -> dict[str, Any]:
            return {"component": {"name": component}, "variable": {"name": variable}}

        interval = about("OCPPCommCtrlr", "HeartbeatInterval")
        done = await client.call(
            call201.SetVariables(
                [
                    interval | {"attribute_value": "42"},
                    about("OCPPCommCtrlr", "Nonsense") | {"attribute_value": "1"},
                    about("Nonsense", "Nonsense") | {"attribute_value": "1"},
                ]
            )
        )
        read = await client.call(call201.GetVariables([interval]))
    assert [result["attribute_status"] for result in done.set_variable_result] == [
        "Accepted",
        "UnknownVariable",
        "UnknownComponent",
    ]
    assert read.get_variable_result[0]["attribute_value"] == "42"


@PROTOCOLS
async def test_every_call_of_the_central_system_gets_a_valid_answer(
    peer: Peer, clock: Clock, protocol: str
) -> None:
    """Valid, for the peer's client checks responses by the schema and raises."""
    driver = driver_of(peer, clock, protocol)
    calls: list[Any] = [
        call16.ChangeAvailability(connector_id=1, type="Inoperative"),
        call16.ClearCache(),
        call16.DataTransfer(vendor_id="x"),
        call16.GetLocalListVersion(),
        call16.SendLocalList(
            list_version=3,
            update_type="Full",
            local_authorization_list=[{"id_tag": "B", "id_tag_info": {"status": "Accepted"}}],
        ),
        call16.TriggerMessage(requested_message="MeterValues", connector_id=1),
        call16.TriggerMessage(requested_message="StatusNotification"),
        call16.UnlockConnector(connector_id=1),
        call16.GetDiagnostics(location="ftp://nowhere"),
        call16.UpdateFirmware(location="ftp://nowhere", retrieve_date="2026-11-22T12:00:00Z"),
        call16.GetCompositeSchedule(connector_id=1, duration=60),
        call16.CancelReservation(reservation_id=1),
        call16.ClearChargingProfile(),
    ]
    token = {"id_token": "B", "type": "ISO14443"}
    if protocol == OCPP201:
        calls = [
            call201.ChangeAvailability(operational_status="Inoperative", evse={"id": 1}),
            call201.ClearCache(),
            call201.DataTransfer(vendor_id="x"),
            call201.GetLocalListVersion(),
            call201.SendLocalList(
                version_number=3,
                update_type="Full",
                local_authorization_list=[
                    {"id_token": token, "id_token_info": {"status": "Accepted"}}
                ],
            ),
            call201.TriggerMessage(requested_message="MeterValues", evse={"id": 1}),
            call201.TriggerMessage(requested_message="StatusNotification"),
            call201.UnlockConnector(evse_id=1, connector_id=1),
            call201.GetTransactionStatus(),
            call201.GetBaseReport(request_id=1, report_base="FullInventory"),
            call201.CancelReservation(reservation_id=1),
        ]
    async with running(driver):
        await driver.settled(10)
        for request in calls:
            assert await peer.clients["CP%2F1"].call(request, suppress=False) is not None
        await driver.settled(10)
    assert driver.station.local_list == {"B": "Accepted"}
    assert driver.station.evses[1].state == "Unavailable"
    assert peer.payloads("MeterValues")
    assert peer.schema_errors == []


async def test_the_driver_keeps_trying_until_the_server_is_there(clock: Clock) -> None:
    async with peer_listening() as gone:
        url = gone.url
    station = Station(StationConfig(identity="CP1"), clock())
    driver = Driver(station, DriverConfig(url=url, backoff_min_s=0.01, backoff_max_s=0.02), clock)
    async with running(driver):
        await driver.until(lambda: len(driver.errors) >= 3, 10)
    assert "Connect" in driver.errors[0] or "OSError" in driver.errors[0]
    assert asyncio.all_tasks() == {asyncio.current_task()}
