"""Scenarios, replay and command line, on real websockets against the small peer."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from simulators.cli import app
from simulators.driver import DriverConfig
from simulators.fleet import SCENARIOS, FleetOptions
from simulators.model import OCPP16, OCPP201
from simulators.replay import plan_stations, replay
from simulators.sessions import in_start_order, read_lines
from tests.simulator_peer import Peer, peer_listening
from tests.test_simulator_sessions import SMALL


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with peer_listening() as peer:
        yield peer


def energy_of_answered_stops(peer: Peer) -> int:
    """Energy of all sessions by what the peer was told, each start and stop counted once."""
    starts: dict[tuple[str, int], int] = {}
    for (station, action, text), response in peer.answers.items():
        if action == "StartTransaction":
            starts[station, response["transactionId"]] = json.loads(text)["meter_start"]
    energy_wh = 0
    for station, action, text in peer.answers:
        payload = json.loads(text)
        if action == "StopTransaction":
            energy_wh += payload["meter_stop"] - starts[station, payload["transaction_id"]]
        if action == "TransactionEvent" and payload["event_type"] in ("Started", "Ended"):
            (value,) = payload["meter_value"][0]["sampled_value"]
            energy_wh += value["value"] * (1 if payload["event_type"] == "Ended" else -1)
    return energy_wh


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "boot-storm"])
async def test_in_every_scenario_all_is_answered_once(peer: Peer, name: str) -> None:
    steps: list[tuple[int, int]] = []
    tick_s = 0.1 if name == "wrong-clock" else None
    options = FleetOptions(url=peer.url, stations=6, tick_s=tick_s)
    report = await SCENARIOS[name](options, lambda done, total: steps.append((done, total)))
    assert peer.schema_errors == []
    assert report.unanswered == report.dropped == 0
    assert len(report.sessions) >= 6
    assert report.acknowledged == len(report.sessions)
    assert report.energy_wh == energy_of_answered_stops(peer)
    assert steps[-1][0] == steps[-1][1]


async def test_in_real_time_all_is_told_at_its_time(peer: Peer) -> None:
    began_at = datetime.now(UTC)
    options = FleetOptions(url=peer.url, stations=2, tick_s=0.02)
    report = await SCENARIOS["reboot-mid-session"](options, None)
    assert report.acknowledged == len(report.sessions)
    assert all(session.started_at >= began_at for session in report.sessions)


async def test_retransmissions_do_say_things_again(peer: Peer) -> None:
    report = await SCENARIOS["retransmissions"](FleetOptions(url=peer.url, stations=6), None)
    assert report.connections > 6
    frames = [(station, action, str(payload)) for station, _, action, payload in peer.told]
    assert len(frames) > len(set(frames))


async def test_a_boot_storm_counts_who_was_accepted(peer: Peer) -> None:
    report = await SCENARIOS["boot-storm"](FleetOptions(url=peer.url, stations=50), None)
    assert report.connections == 50
    assert report.unanswered == 0
    assert report.storm is not None and report.storm.booted == 50
    assert len(peer.told) == 50


@pytest.mark.parametrize("protocol", [OCPP16, OCPP201])
@pytest.mark.parametrize("plain", [False, True])
async def test_a_replay_tells_every_session(peer: Peer, protocol: str, plain: bool) -> None:
    records = list(read_lines(SMALL.splitlines()))
    steps: list[tuple[int, int]] = []
    result = await replay(
        records,
        plan_stations(records, protocol),
        DriverConfig(url=peer.url, plain=plain),
        interval_s=900,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert peer.schema_errors == []
    assert result.failures == {}
    assert result.unacknowledged == 0
    assert len(result.told) == len(records)
    assert result.energy_wh == 28_550
    assert result.answered == result.messages == steps[-1][0]
    if protocol == OCPP201:
        assert all(event["offline"] for event in peer.payloads("TransactionEvent"))


async def test_a_replay_goes_on_where_a_connection_broke(peer: Peer) -> None:
    records = list(read_lines(SMALL.splitlines()))
    peer.cut_on = {"MeterValues", "StopTransaction"}
    config = DriverConfig(url=peer.url, plain=True, backoff_min_s=0.01)
    result = await replay(records, plan_stations(records, OCPP16), config)
    assert result.unacknowledged == 0
    assert result.resent >= 2
    assert peer.starts == len(records)


async def test_a_station_that_is_not_done_in_time_is_named(peer: Peer) -> None:
    peer.boot_status = "Rejected"
    records = in_start_order(read_lines(SMALL.splitlines()))[:1]
    result = await replay(
        records,
        plan_stations(records),
        DriverConfig(url=peer.url, plain=True),
        station_timeout_s=0.2,
    )
    assert list(result.failures) == [records[0].station_id]
    assert result.unacknowledged == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


# ---- the command line


@contextmanager
def peer_in_a_thread() -> Iterator[Peer]:
    """A peer with a loop of its own, for commands that run theirs."""
    listening: Future[Peer] = Future()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with peer_listening() as peer:
            listening.set_result(peer)
            await stop.wait()

    thread = Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        yield listening.result(10)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def test_the_command_line_replays_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sessions.csv"
    path.write_text(SMALL)
    with peer_in_a_thread() as peer:
        result = CliRunner().invoke(app, ["replay", str(path), "--url", peer.url])
        assert result.exit_code == 0, result.output
        assert "28,550" in result.output
        assert peer.schema_errors == []
        newest = max(p["timestamp"] for p in peer.payloads("StopTransaction"))
        assert newest[:4] >= str(datetime.now(UTC).year - 1)


def test_the_command_line_runs_a_scenario_a_station_and_a_load() -> None:
    with peer_in_a_thread() as peer:
        for arguments in (
            ["fleet", "wrong-clock", "--stations", "2", "--tick-s", "0.05"],
            ["station", "S1", "--sessions", "1", "--charge-s", "0.05", "--pause-s", "0"],
            ["load", "--stations", "2", "--duration-s", "0.2"],
        ):
            result = CliRunner().invoke(app, [*arguments, "--url", peer.url])
            assert result.exit_code == 0, result.output
        assert peer.payloads("StartTransaction", "S1")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["fleet", "nonsense"], "evening-peak"),
        (["fleet", "wrong-clock", "--protocol", "ocpp9"], "ocpp1.6 or ocpp2.0.1"),
        (["replay", "/nowhere.csv"], "No such file"),
        (["replay", "--month", "soon"], "soon"),
        (["load", "--action", "Nonsense"], "MeterValues"),
    ],
)
def test_a_wrong_command_line_is_told_what_is_wrong(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert told in result.output.replace("\n", " ")
