"""The journal once more: the same sessions in a fresh database, or a list of what differs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from csms import db, replay
from csms.config import SettingError, Settings
from csms.db import Database
from csms.worker import give_up_lost_sessions
from simulators.driver import DriverConfig
from simulators.replay import StationPlan, plan_stations
from simulators.replay import replay as simulate
from simulators.synthetic import generate
from tests.conversation import Service
from tests.recorder_node import (
    Node,
    Talker,
    add_badge,
    as_owner,
    event,
    provision,
    query,
    reading,
    running_node,
    stamp,
)


@pytest.fixture(autouse=True)
def same_database(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replay finds the database with its server, as it finds the embedded one."""

    @asynccontextmanager
    async def opened(settings: Settings) -> AsyncIterator[Database]:
        yield database

    monkeypatch.setattr(db, "open_database", opened)


@pytest.fixture(autouse=True)
def nothing_left(administrator: psycopg.Connection) -> None:
    """Fresh databases of replays are dropped, whatever came out."""
    yield  # type: ignore[misc]
    cursor = administrator.execute("SELECT datname FROM pg_database WHERE datname ~ 't2p_replay'")
    assert cursor.fetchall() == []


async def replayed(settings: Settings, **options: object) -> int:
    """Exit code of the verb."""
    return await asyncio.to_thread(replay.run, settings, **options)  # type: ignore[arg-type]


async def _fill(node: Node) -> tuple[Talker, Talker]:
    """Sessions of both versions with all that is decided about them."""
    one, two = await node.station("CP1"), await node.station("CP2", "ocpp2.0.1")
    await one.call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
    first = (await one.start("A", ago_s=900))["transactionId"]
    refused = (await one.start("BLOCKED", evse_id=2, ago_s=800))["transactionId"]
    values = reading(1400, ago_s=600, transactionId=first)
    await one.call("MeterValues", values)
    await one.call("MeterValues", values)
    await one.stop(first, register_wh=1500, ago_s=300)
    await one.stop(refused, register_wh=1900, ago_s=290)
    await one.start("B", register_wh=1500)
    await one.stop(-1, register_wh=9)
    for seq_no, kind in enumerate(("Started", "Updated", "Ended")):
        badge = "A" if kind == "Started" else None
        told = event(kind, "t1", seq_no, badge=badge, register_wh=100 + 10 * seq_no, ago_s=50)
        await two.call("TransactionEvent", told)
    await two.call("TransactionEvent", event("Ended", "t2", 4, register_wh=300, offline=True))
    await two.call("TransactionEvent", event("Started", "t3", 0, register_wh=300, badge="NOBODY"))
    return one, two


async def _provision(database: Database) -> None:
    await provision(database, ["CP1", "CP2"], ["A", "B"])
    async with await db.connect(database) as connection:
        await add_badge(connection, "BLOCKED", status="blocked")


async def test_a_journal_arrives_at_the_same_sessions(
    database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await _provision(database)
    async with running_node(database, settings) as node:
        await _fill(node)
    assert await replayed(settings) == 0
    out = capsys.readouterr().out
    assert "6 sessions in the journal's database, 6 in the fresh one, 0 differ." in out


async def test_badges_changed_since_change_nothing(database: Database, settings: Settings) -> None:
    await _provision(database)
    async with running_node(database, settings) as node:
        await _fill(node)
    await as_owner(
        database,
        "UPDATE token SET status = 'blocked' WHERE uid IN ('A', 'B')",
        "UPDATE token SET status = 'accepted' WHERE uid = 'BLOCKED'",
        "INSERT INTO token (uid, uid_key) VALUES ('NOBODY', 'nobody')",
    )
    assert await replayed(settings) == 0


async def test_sessions_are_given_up_at_the_moments_of_then(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings, token_concurrent_max=0) as node:
        station = await node.station("CP1")
        late = (await station.start("A"))["transactionId"]
        await station.start("A", evse_id=2)
        for evse_id in (1, 2):
            free = {"connectorId": evse_id, "errorCode": "NoError", "status": "Available"}
            await station.call("StatusNotification", free | {"timestamp": stamp()})
        impatient = changed(settings, lost_stop_after_s=-60.0)
        async with await db.connect(database) as connection:
            assert await give_up_lost_sessions(connection, impatient, datetime.now(UTC)) == 2
        node.recorder.refresh("CP1")
        await station.stop(late, register_wh=1300)
        # Lost without the worker: another car stands there.
        await station.start("A", evse_id=1, register_wh=1300)
        await station.start("A", evse_id=1, register_wh=1400)
    states = await query(database, "SELECT state FROM session ORDER BY id")
    assert [state for (state,) in states] == ["ended", "lost", "lost", "active"]
    assert await replayed(settings, end=datetime.now(UTC) + timedelta(seconds=1)) == 0


@pytest.mark.parametrize(
    "tampered",
    [
        "UPDATE session SET energy_wh = energy_wh + 1 WHERE transaction_id = 't1'",
        "UPDATE session SET ended_at = ended_at + interval '1 s' WHERE transaction_id = 't1'",
        "UPDATE session SET flags = '{overlap}' WHERE transaction_id = 't1'",
        "UPDATE session SET token_uid = 'X' WHERE transaction_id = 't3'",
    ],
)
async def test_a_session_that_was_tampered_with_differs(
    database: Database, settings: Settings, tampered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await _provision(database)
    async with running_node(database, settings) as node:
        await _fill(node)
    await as_owner(database, tampered)
    assert await replayed(settings) == 1
    out = capsys.readouterr().out
    assert "1 differ." in out
    assert "expected: ('CP2', " in out
    assert "arrived: ('CP2', " in out


async def test_a_session_that_was_taken_away_differs(
    database: Database, settings: Settings
) -> None:
    await _provision(database)
    async with running_node(database, settings) as node:
        await _fill(node)
    of_t1 = "(SELECT id FROM session WHERE transaction_id = 't1')"
    await as_owner(
        database,
        f"DELETE FROM session_event WHERE session_id = {of_t1}",
        "DELETE FROM session WHERE transaction_id = 't1'",
    )
    assert await replayed(settings) == 1


async def test_a_stretch_of_some_stations_can_be_replayed(
    database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await _provision(database)
    async with running_node(database, settings) as node:
        one, two = await _fill(node)
        middle = datetime.now(UTC)
        last = (await one.start("A", evse_id=3))["transactionId"]
        await one.stop(last)
        # What began before the stretch is no session of it.
        await two.call("TransactionEvent", event("Updated", "t3", 1, register_wh=320))
    assert await replayed(settings, stations=["CP2"]) == 0
    assert "6 frames, 3 sessions" in capsys.readouterr().out
    assert await replayed(settings, start=middle) == 0
    assert "3 frames, 1 sessions" in capsys.readouterr().out
    assert await replayed(settings, end=middle.replace(tzinfo=None)) == 0
    assert "14 frames, 4 sessions" in capsys.readouterr().out


async def test_what_a_person_settled_is_left_out(database: Database, settings: Settings) -> None:
    await _provision(database)
    async with running_node(database, settings) as node:
        await _fill(node)
    await as_owner(
        database,
        "UPDATE session SET energy_wh = 1 WHERE transaction_id = 't3'",
        "INSERT INTO session_event SELECT id, now(), 'settled' FROM session"
        " WHERE transaction_id = 't3'",
    )
    assert await replayed(settings) == 0


async def test_a_quirk_of_a_make_is_replayed_too(database: Database, settings: Settings) -> None:
    await _provision(database)
    await as_owner(
        database,
        "INSERT INTO quirk (vendor, correction, decided_on, reason)"
        " VALUES ('V', 'register_is_kwh', '2022-05-25', 'seen')",
    )
    async with running_node(database, settings) as node:
        await _fill(node)
    ((energy_wh,),) = await query(database, "SELECT max(energy_wh) FROM session")
    assert energy_wh == 900_000
    assert await replayed(settings) == 0


async def test_an_owner_who_may_create_no_database_is_told_so(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Database(database.app_url, database.app_url)
    with pytest.raises(SettingError, match="grant it CREATEDB"):
        async with replay.fresh_database(plain):
            pass


async def test_months_of_real_traffic_come_out_the_same(
    database: Database, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stations told their past through websockets; half of them on each version."""
    records = [
        record for record in generate(3) if record.ended_at is None or record.number % 9 == 0
    ]
    plans: list[StationPlan] = plan_stations(records)
    await provision(
        database,
        [plan.station_id for plan in plans],
        sorted({record.badge for record in records}),
    )
    service = Service(changed(settings, data_dir=tmp_path), database)
    await service.start()
    try:
        result = await simulate(
            records,
            plans,
            DriverConfig(url=f"ws://127.0.0.1:{service.port}/ocpp", plain=True, heartbeats=False),
            interval_s=4 * 3600,
        )
    finally:
        await service.stop()
    assert result.unacknowledged == 0, result.failures
    assert await replayed(settings) == 0
    assert f"{len(records):,} sessions in the journal's database" in capsys.readouterr().out
