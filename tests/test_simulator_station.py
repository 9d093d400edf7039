"""The charge point without input or output: states, meter, queue, faults, its own count."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators import commands
from simulators.faults import Faults, stamp
from simulators.model import OCPP16, OCPP201, Message, StationConfig
from simulators.station import Station
from tests.simulator_peer import assert_valid

BEGIN = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
PROTOCOLS = pytest.mark.parametrize("protocol", [OCPP16, OCPP201])


def later(minutes: float) -> datetime:
    return BEGIN + timedelta(minutes=minutes)


def station_of(protocol: str = OCPP16, **options: Any) -> Station:
    station = Station(StationConfig(identity="CP1", protocol=protocol, **options), BEGIN)
    station.connected()
    exchange(station)
    return station


def answer(message: Message, station: Station) -> dict[str, Any]:
    """What a central system would say."""
    if message.action == "BootNotification":
        return {"status": "Accepted", "interval": 60, "currentTime": "2026-11-22T18:00:00Z"}
    if message.action == "StartTransaction":
        return {"transactionId": len(station.sessions), "idTagInfo": {"status": "Accepted"}}
    return {}


def exchange(station: Station) -> list[tuple[str, dict[str, Any]]]:
    """Answer everything the station has to say; returns it as it went out, checked."""
    said = []
    while (message := station.next_message()) is not None:
        payload = station.wire(message)
        if not station.faults.break_schema:
            assert_valid(station.config.protocol, message.action, payload)
        said.append((message.action, payload))
        station.answered(message, answer(message, station), BEGIN)
    return said


def test_nothing_is_said_before_boot_is_accepted() -> None:
    station = Station(StationConfig(identity="CP1"), BEGIN)
    station.start(1, "B", BEGIN)
    assert station.next_message() is None
    station.connected()
    boot = station.next_message()
    assert boot is not None and boot.action == "BootNotification"
    station.answered(boot, {"status": "Pending", "interval": 5}, BEGIN)
    assert station.next_message() is None
    station.tell_boot()
    assert [action for action, _ in exchange(station)] == [
        "BootNotification",
        "StatusNotification",
        "StatusNotification",
        "StartTransaction",
    ]


@PROTOCOLS
@pytest.mark.parametrize("full", [False, True])
def test_every_message_is_valid_by_the_schema(protocol: str, full: bool) -> None:
    station = station_of(protocol, evses=2, phases=3, all_values=full)
    station.plug_in(1, BEGIN)
    station.authorize("B")
    station.start(1, "B", later(1))
    station.start(2, "C", later(1), remote_start_id=4)
    station.sample_all(later(10))
    station.suspend(1, later(20))
    station.suspend(1, later(30), resume=True)
    station.stop(1, later(40), badge="B")
    station.unplug(1, later(41))
    station.sample(1, later(42), context="Trigger")
    station.fault(2, later(43))
    station.heartbeat()
    said = exchange(station)  # checks
    station.reboot(later(44))
    station.connected()
    said += exchange(station)
    assert len(said) > 15
    assert all(session.acknowledged for session in station.sessions)


@given(
    power_w=st.integers(1, 350_000),
    steps=st.lists(st.integers(0, 10_000_000), min_size=1, max_size=40),
)
@settings(max_examples=50, deadline=None)
def test_the_meter_counts_the_same_in_any_steps(power_w: int, steps: list[int]) -> None:
    station = station_of(power_w=power_w)
    now = BEGIN
    station.start(1, "B", now)
    for step_ms in steps:
        now += timedelta(milliseconds=step_ms)
        station.sample(1, now)
    session = station.stop(1, now)
    assert session is not None
    assert session.energy_wh == power_w * sum(steps) // 3_600_000


def test_time_that_runs_backwards_counts_nothing() -> None:
    station = station_of(power_w=3600)
    station.start(1, "B", later(10))
    station.sample(1, later(5))
    session = station.stop(1, later(70))
    assert session is not None
    assert session.energy_wh == 3600


def test_a_full_car_draws_nothing() -> None:
    station = station_of(power_w=6000)
    station.start(1, "B", BEGIN)
    station.suspend(1, later(30))
    session = station.stop(1, later(300))
    assert session is not None
    assert session.energy_wh == 3000


@PROTOCOLS
def test_transaction_messages_survive_cut_and_reboot_and_others_do_not(protocol: str) -> None:
    station = station_of(protocol)
    station.disconnected()
    station.start(1, "B", BEGIN)
    station.heartbeat()
    station.sample(1, later(1))
    station.reboot(later(2))
    station.connected()
    actions = [action for action, _ in exchange(station)]
    assert "Heartbeat" not in actions
    if protocol == OCPP16:
        assert actions[-2:] == ["StartTransaction", "MeterValues"]
    else:
        assert actions[-2:] == ["TransactionEvent", "TransactionEvent"]


def test_a_message_stays_first_until_it_is_answered() -> None:
    station = station_of()
    station.start(1, "B", BEGIN)
    exchange_statuses(station)
    first = station.next_message()
    assert first is not None
    assert station.next_message() is first
    station.refused(first)
    assert station.next_message() is first
    station.answered(first, {"transactionId": 7}, BEGIN)
    assert station.next_message() is None
    station.answered(first, {"transactionId": 8}, BEGIN)  # a late one changes no queue
    assert station.next_message() is None


def exchange_statuses(station: Station) -> None:
    while (message := station.next_message()) is not None and not message.durable:
        station.answered(message, {}, BEGIN)


def test_an_answer_without_a_transaction_id_changes_nothing() -> None:
    station = station_of()
    session = station.start(1, "B", BEGIN)
    exchange_statuses(station)
    message = station.next_message()
    assert message is not None and session is not None
    with pytest.raises(KeyError):
        station.answered(message, {}, BEGIN)
    assert station.next_message() is message
    assert not session.start_answered


def test_a_message_refused_too_often_is_dropped() -> None:
    station = station_of(attempts_max=3)
    station.start(1, "B", BEGIN)
    exchange_statuses(station)
    message = station.next_message()
    assert message is not None
    for _ in range(3):
        assert station.next_message() is message
        station.refused(message)
    assert station.next_message() is None
    assert station.dropped == [message]
    station.stop(1, later(5))
    (stop,) = [payload for action, payload in exchange(station) if action == "StopTransaction"]
    assert stop["transactionId"] == -1


def test_offline_events_of_201_say_so_and_seq_no_goes_on() -> None:
    station = station_of(OCPP201)
    station.start(1, "B", BEGIN)
    station.disconnected()
    station.sample(1, later(1))
    station.connected()
    station.stop(1, later(2))
    events = [payload for action, payload in exchange(station) if action == "TransactionEvent"]
    assert [event["seqNo"] for event in events] == [0, 1, 2]
    assert [event.get("offline", False) for event in events] == [False, True, False]


def test_out_of_order_evses_do_not_start_and_go_on_with_what_runs() -> None:
    station = station_of(evses=2)
    assert station.start(3, "B", BEGIN) is None
    station.start(1, "B", BEGIN)
    assert not station.set_available(0, False, later(1))
    assert station.evses[1].session is not None
    assert station.start(2, "B", later(1)) is None
    station.unplug(1, later(2))
    assert station.evses[1].state == "Unavailable"
    assert station.set_available(0, True, later(3))
    assert station.start(1, "B", later(4)) is not None


# ---- faults


@pytest.mark.parametrize(
    ("faults", "text"),
    [
        (Faults(), "2026-11-22T18:05:00.000Z"),
        (Faults(fraction_digits=0), "2026-11-22T18:05:00Z"),
        (Faults(fraction_digits=6), "2026-11-22T18:05:00.000000Z"),
        (Faults(clock_without_zone=True), "2026-11-22T18:05:00.000"),
        (Faults(clock_offset_s=-7200), "2026-11-22T16:05:00.000Z"),
        (Faults(clock_from_1970=True), "1970-01-01T00:05:00.000Z"),
    ],
)
def test_clocks_go_wrong_in_their_ways(faults: Faults, text: str) -> None:
    assert stamp(faults, later(5), BEGIN) == text


@PROTOCOLS
def test_a_faulty_clock_still_gives_valid_messages(protocol: str) -> None:
    station = station_of(protocol, faults=Faults(clock_from_1970=True, clock_without_zone=True))
    station.start(1, "B", BEGIN)
    station.stop(1, later(1))
    assert exchange(station)


def test_numbers_stand_for_strings_and_strings_for_numbers() -> None:
    values = []
    for protocol in (OCPP16, OCPP201):
        station = station_of(protocol, faults=Faults(values_of_other_type=True))
        station.start(1, "B", BEGIN)
        station.sample(1, later(60))
        payload = exchange(station)[-1][1]
        values.append(payload["meterValue"][0]["sampledValue"][0]["value"])
    assert values == [7360, "7360"]


def test_kwh_go_out_as_wh() -> None:
    station = station_of(register_wh=1_000_500, faults=Faults(kwh_labelled_wh=True))
    station.start(1, "B", BEGIN)
    station.stop(1, later(60))
    said = dict(exchange(station))
    assert said["StartTransaction"]["meterStart"] == 1000.5
    assert said["StopTransaction"]["meterStop"] == 1007.86
    assert station.sessions[0].energy_wh == 7360


def test_a_register_may_begin_anew_with_each_session() -> None:
    station = station_of(register_wh=5000, faults=Faults(register_per_session=True))
    for begin in (0, 120):
        station.start(1, "B", later(begin))
        station.stop(1, later(begin + 60))
    said = exchange(station)
    assert [p["meterStart"] for a, p in said if a == "StartTransaction"] == [0, 0]
    assert [p["meterStop"] for a, p in said if a == "StopTransaction"] == [7360, 7360]


def test_a_meter_may_be_reset_and_jump_and_run_backwards() -> None:
    station = station_of(register_wh=5000, power_w=60)
    station.start(1, "B", BEGIN)
    told = []
    for minute, disturb in ((1, 0), (2, 1000), (3, -2000)):
        station.disturb_meter(1, disturb)
        station.sample(1, later(minute))
        told.append(exchange(station)[-1][1]["meterValue"][0]["sampledValue"][0]["value"])
    station.reset_meter(1)
    session = station.stop(1, later(4))
    assert told == ["5001", "6002", "4003"]
    assert dict(exchange(station))["StopTransaction"]["meterStop"] == 1
    assert session is not None
    assert session.energy_wh == 4


def test_minus_one_stands_for_the_transaction_id() -> None:
    station = station_of(faults=Faults(transaction_id_minus_one=True))
    station.start(1, "B", BEGIN)
    station.sample(1, later(1))
    station.stop(1, later(2))
    said = dict(exchange(station))
    assert said["MeterValues"]["transactionId"] == said["StopTransaction"]["transactionId"] == -1


def test_a_stop_may_get_lost() -> None:
    station = station_of(faults=Faults(lose_stops=True))
    station.start(1, "B", BEGIN)
    station.sample(1, later(30))
    exchange(station)
    station.stop(1, later(60))
    assert "StopTransaction" not in dict(exchange(station))
    (session,) = station.sessions
    assert session.end_lost
    assert not session.acknowledged
    assert (session.energy_wh, session.told_wh) == (7360, 3680)


def test_seq_no_may_have_gaps() -> None:
    station = station_of(OCPP201, faults=Faults(skip_seq_no_every=2))
    station.start(1, "B", BEGIN)
    station.sample(1, later(1))
    station.sample(1, later(2))
    station.stop(1, later(3))
    events = [payload for action, payload in exchange(station) if action == "TransactionEvent"]
    assert [event["seqNo"] for event in events] == [0, 1, 3, 4]


# ---- answers to calls


def test_an_action_that_is_not_known_is_not_implemented() -> None:
    for protocol, action in ((OCPP16, "SetDisplayMessage"), (OCPP201, "GetDiagnostics")):
        with pytest.raises(commands.OrderError) as refused:
            commands.answer(station_of(protocol), action, {}, BEGIN)
        assert refused.value.code == "NotImplemented"


@PROTOCOLS
def test_a_local_list_is_kept_by_version(protocol: str) -> None:
    station = station_of(protocol)
    version = "versionNumber" if protocol == OCPP201 else "listVersion"

    def send(number: int, kind: str, **badges: str | None) -> str:
        entries = []
        for badge, status in badges.items():
            key, info = ("idTag", "idTagInfo")
            entry: dict[str, Any] = {key: badge}
            if protocol == OCPP201:
                info = "idTokenInfo"
                entry = {"idToken": {"idToken": badge, "type": "ISO14443"}}
            if status is not None:
                entry[info] = {"status": status}
            entries.append(entry)
        payload = {version: number, "updateType": kind, "localAuthorizationList": entries}
        result = commands.answer(station, "SendLocalList", payload, BEGIN)
        return str(result.response["status"])

    assert send(2, "Full", A="Accepted", B="Blocked") == "Accepted"
    assert send(3, "Differential", A=None, C="Accepted") == "Accepted"
    assert send(3, "Differential", D="Accepted") == "VersionMismatch"
    assert station.local_list == {"B": "Blocked", "C": "Accepted"}
    told = commands.answer(station, "GetLocalListVersion", {}, BEGIN)
    assert told.response == {version: 3}
