"""The recorder: groups, their answers, and the way back after a failure."""

import asyncio
import re
from contextlib import AsyncExitStack

import pytest

from csms import db
from csms.config import Settings
from csms.db import Database
from tests.recorder_node import (
    TIMEOUT_S,
    CallRefused,
    as_owner,
    event,
    provision,
    query,
    reading,
    result,
    running_node,
    stamp,
    until,
)

WAITS_FOR_LOCK = """
    SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE NOT l.granted AND a.datname = current_database()
       AND a.application_name LIKE 'time2plug recorder%'
"""
LOOK_UP_WAITS = WAITS_FOR_LOCK.replace("recorder", "look-up")


async def test_no_answer_leaves_before_its_commit(database: Database, settings: Settings) -> None:
    await provision(database, ["CP1"], ["A"])
    async with (
        running_node(database, settings) as node,
        await db.connect(database, owner=True) as other,
    ):
        station = await node.station("CP1")
        await station.call("Heartbeat", {})
        async with other.transaction():
            await other.execute("LOCK TABLE ocpp_message IN EXCLUSIVE MODE")
            answers = [
                station.send("Heartbeat", {}),
                station.send(
                    "StartTransaction",
                    {"connectorId": 1, "idTag": "A", "meterStart": 5, "timestamp": stamp()},
                ),
            ]
            await until(database, WAITS_FOR_LOCK)
            assert not any(answer.done() for answer in answers)
            assert await query(database, "SELECT id FROM session") == []
        frames = await asyncio.wait_for(asyncio.gather(*answers), TIMEOUT_S)
    assert result(frames[0])["currentTime"]
    assert result(frames[1])["idTagInfo"] == {"status": "Accepted"}


async def test_what_is_told_while_its_group_is_written_is_in_the_next(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with (
        running_node(database, settings) as node,
        await db.connect(database, owner=True) as other,
    ):
        station = await node.station("CP1", "ocpp2.0.1")
        await station.call("TransactionEvent", event("Started", "t", 0, register_wh=100, badge="A"))
        async with other.transaction():
            await other.execute("LOCK TABLE ocpp_message IN EXCLUSIVE MODE")
            first = station.send("TransactionEvent", event("Updated", "t", 1, register_wh=200))
            await until(database, WAITS_FOR_LOCK)
            last = station.send("TransactionEvent", event("Ended", "t", 2, register_wh=300))
        await asyncio.wait_for(asyncio.gather(first, last), TIMEOUT_S)
    rows = await query(database, "SELECT state, energy_wh, seq_no_last, flags FROM session")
    assert rows == [("ended", 200, 2, [])]


async def test_a_start_told_while_another_group_is_written_belongs_to_one_session(
    database: Database, settings: Settings
) -> None:
    """The repetition comes before the first one is committed."""
    await provision(database, ["CP1"], ["A"])
    start = {"connectorId": 1, "idTag": "A", "meterStart": 5, "timestamp": stamp()}
    async with (
        running_node(database, settings) as node,
        await db.connect(database, owner=True) as other,
    ):
        station = await node.station("CP1")
        await station.call("Heartbeat", {})
        async with other.transaction():
            await other.execute("LOCK TABLE ocpp_message IN EXCLUSIVE MODE")
            first = station.send("StartTransaction", start)
            await until(database, WAITS_FOR_LOCK)
            again = station.send("StartTransaction", start)
        frames = await asyncio.wait_for(asyncio.gather(first, again), TIMEOUT_S)
    assert result(frames[0]) == result(frames[1])
    assert len(await query(database, "SELECT id FROM session")) == 1


async def test_a_session_changed_elsewhere_is_loaded_again_and_told_on(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1", "CP2"], ["A", "B"])
    async with running_node(database, settings) as node:
        station, other = await node.station("CP1"), await node.station("CP2")
        id = (await station.start("A"))["transactionId"]
        await other.start("B")
        await query(
            database,
            "UPDATE session SET revision = 7, flags = '{confirmed}' WHERE id = %s RETURNING 1",
            id,
        )
        answers = [
            station.send("MeterValues", reading(1500, transactionId=id)),
            other.send("MeterValues", reading(1700)),
        ]
        await asyncio.wait_for(asyncio.gather(*answers), TIMEOUT_S)
        await station.stop(id, register_wh=1800)
    rows = await query(
        database, "SELECT state, energy_wh, revision, flags FROM session ORDER BY id"
    )
    assert rows == [("ended", 800, 9, ["confirmed"]), ("active", 700, 1, [])]


async def test_a_session_ended_elsewhere_stays_ended(
    database: Database, settings: Settings
) -> None:
    """A person ends it on the desk while readings are on their way."""
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        id = (await station.start("A"))["transactionId"]
        await query(
            database,
            "UPDATE session SET revision = revision + 1, state = 'ended', ended_at = now(),"
            " energy_wh = 123 WHERE id = %s RETURNING 1",
            id,
        )
        await station.call("MeterValues", reading(1500, transactionId=id))
    rows = await query(database, "SELECT state, energy_wh FROM session")
    assert rows == [("ended", 123)]
    assert await query(database, "SELECT session_id FROM meter_reading") == [(id,)]


async def test_only_the_frame_that_the_database_refuses_is_set_aside(
    database: Database, settings: Settings
) -> None:
    names = [f"CP{number}" for number in range(6)]
    await provision(database, names, names)
    async with running_node(database, settings, group_window_ms=50.0) as node:
        stations = [await node.station(name) for name in names]
        await asyncio.gather(*(station.call("Heartbeat", {}) for station in stations))
        await as_owner(
            database, "ALTER TABLE session ADD CONSTRAINT poison CHECK (token_uid <> 'CP3')"
        )
        starts = [
            station.send(
                "StartTransaction",
                {"connectorId": 1, "idTag": name, "meterStart": 5, "timestamp": stamp()},
            )
            for station, name in zip(stations, names, strict=True)
        ]
        after = stations[3].send("Heartbeat", {})
        frames = await asyncio.wait_for(asyncio.gather(*starts), TIMEOUT_S)
        assert [frame[0] for frame in frames] == [3, 3, 3, 4, 3, 3]
        assert frames[3][2] == "InternalError"
        assert result(await after)["currentTime"]
        await as_owner(database, "ALTER TABLE session DROP CONSTRAINT poison")
        again = await stations[3].start("CP3")
        assert again["idTagInfo"] == {"status": "Accepted"}, "the badge has no other session"
    assert len(await query(database, "SELECT id FROM session")) == 6
    desk = await query(
        database,
        "SELECT s.id, r.reason, r.frame FROM reconciliation r JOIN station s USING (station_key)",
    )
    assert [(id, reason) for id, reason, _ in desk] == [("CP3", "not_recordable")]
    assert '"StartTransaction"' in desk[0][2]
    journal = await query(
        database, "SELECT frame, answer FROM ocpp_message WHERE answer LIKE '[4,%'"
    )
    assert [frame for frame, _ in journal] == [desk[0][2]]


async def test_nobody_is_answered_while_not_even_the_raw_frame_can_be_kept(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings, database_retry_s=0.05) as node:
        station = await node.station("CP1")
        await station.call("Heartbeat", {})
        await as_owner(database, "REVOKE INSERT ON ocpp_message FROM t2p_service")
        answer = station.send(
            "StartTransaction",
            {"connectorId": 1, "idTag": "A", "meterStart": 5, "timestamp": stamp()},
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(answer), 0.5)
        assert await query(database, "SELECT id FROM session") == []
        await as_owner(database, "GRANT INSERT ON ocpp_message TO t2p_service")
        frame = await asyncio.wait_for(answer, TIMEOUT_S)
    assert result(frame)["idTagInfo"] == {"status": "Accepted"}
    assert await query(database, "SELECT reason FROM reconciliation") == []
    assert len(await query(database, "SELECT id FROM session")) == 1


async def test_rows_that_cannot_be_made_cost_only_their_own_frame(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own bug on the way to the database, not the database's refusal."""
    await provision(database, ["CP1", "CP2"], ["A"])
    async with running_node(database, settings, group_window_ms=50.0) as node:
        station, other = await node.station("CP1"), await node.station("CP2")
        await asyncio.gather(station.call("Heartbeat", {}), other.call("Heartbeat", {}))
        from csms import exchange

        whole = exchange.session_row

        def broken(key: int, session: exchange.Session) -> dict[str, object]:
            if session.token_uid == "A":
                raise RuntimeError("no row for this one")
            return whole(key, session)

        monkeypatch.setattr(exchange, "session_row", broken)
        start = {"connectorId": 1, "meterStart": 5, "timestamp": stamp()}
        answers = [
            station.send("StartTransaction", start | {"idTag": "A"}),
            other.send("StartTransaction", start | {"idTag": "B"}),
        ]
        frames = await asyncio.wait_for(asyncio.gather(*answers), TIMEOUT_S)
    assert [frame[0] for frame in frames] == [4, 3]
    assert await query(database, "SELECT reason FROM reconciliation") == [("not_recordable",)]
    assert await query(database, "SELECT token_uid FROM session") == [("B",)]


async def test_a_fault_of_ours_in_one_frame_harms_no_other_station(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await provision(database, ["CP1", "CP2"], ["A"])
    async with running_node(database, settings) as node:
        station, other = await node.station("CP1"), await node.station("CP2")
        record = node.recorder.intake.record

        def broken(exchange, event, facts, group):  # type: ignore[no-untyped-def]
            if exchange.station.id == "CP1" and exchange.action == "MeterValues":
                raise ZeroDivisionError
            return record(exchange, event, facts, group)

        monkeypatch.setattr(node.recorder.intake, "record", broken)
        id = (await station.start("A"))["transactionId"]
        answers = [
            other.send("MeterValues", reading(7)),
            station.send("MeterValues", reading(1500, transactionId=id)),
            other.send("MeterValues", reading(8)),
        ]
        frames = await asyncio.wait_for(asyncio.gather(*answers), TIMEOUT_S)
        assert [frame[0] for frame in frames] == [3, 4, 3]
        with pytest.raises(CallRefused, match="InternalError"):
            await station.call("MeterValues", reading(1600, transactionId=id))
        monkeypatch.setattr(node.recorder.intake, "record", record)
        await station.stop(id)
    desk = await query(database, "SELECT reason FROM reconciliation")
    assert desk == [("not_handled",), ("not_handled",)]
    assert await query(database, "SELECT state, energy_wh FROM session") == [("ended", 1000)]


async def test_a_remembered_answer_outlives_the_memory_of_its_station(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    boot = {"chargePointVendor": "V", "chargePointModel": "M"}
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        first = await station.call("BootNotification", boot, message_id="boot-1")
        node.recorder.refresh("CP1")
        assert await station.call("BootNotification", boot, message_id="boot-1") == first
        node.recorder.release(station.station)
        station = await node.station("CP1")
        assert await station.call("BootNotification", boot, message_id="boot-1") == first
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        assert await station.call("BootNotification", boot, message_id="boot-1") == first
        changed = boot | {"chargePointModel": "N"}
        assert await station.call("BootNotification", changed, message_id="boot-1") != first
    rows = await query(database, "SELECT content->>'model' FROM station_event ORDER BY id")
    assert rows == [("M",), ("N",)]


async def test_session_ids_of_two_nodes_never_meet(database: Database, settings: Settings) -> None:
    names = [f"CP{number}" for number in range(8)]
    await provision(database, names)
    async with (
        running_node(database, settings, node="one") as one,
        running_node(database, settings, node="two") as two,
    ):
        stations = [await (one, two)[at % 2].station(name) for at, name in enumerate(names)]
        answers = await asyncio.gather(
            *(
                station.start("A", evse_id=evse_id)
                for station in stations
                for evse_id in range(1, 6)
            )
        )
    ids = [answer["transactionId"] for answer in answers]
    assert len(set(ids)) == 40
    assert {id for (id,) in await query(database, "SELECT id FROM session")} == set(ids)
    assert max(ids) < 2**31, "1.6 has 32 bits for them"


async def test_a_second_recorder_of_the_same_node_waits_until_the_first_is_gone(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with AsyncExitStack() as first_life:
        first = await first_life.enter_async_context(running_node(database, settings))
        async with running_node(database, settings, wait=False) as second:
            station = await second.station("CP1")
            answer = station.send("Heartbeat", {})
            await until(database, WAITS_FOR_LOCK)
            await (await first.station("CP1")).start("A")
            assert not answer.done()
            await first_life.aclose()
            assert result(await asyncio.wait_for(answer, TIMEOUT_S))["currentTime"]


async def test_a_silent_backend_of_a_dead_connection_cannot_commit_behind_the_new_one(
    database: Database, settings: Settings
) -> None:
    """The writer's connection is cut while it waits; the group is handled again, once."""
    await provision(database, ["CP1"], ["A"])
    async with (
        running_node(database, settings, database_retry_s=0.05) as node,
        await db.connect(database, owner=True) as other,
    ):
        station = await node.station("CP1")
        await station.call("Heartbeat", {})
        async with other.transaction():
            await other.execute("LOCK TABLE ocpp_message IN EXCLUSIVE MODE")
            answer = station.send(
                "StartTransaction",
                {"connectorId": 1, "idTag": "A", "meterStart": 5, "timestamp": stamp()},
            )
            await until(database, WAITS_FOR_LOCK)
            await query(
                database,
                "WITH login AS MATERIALIZED (SELECT set_config('role', 'none', true))"
                " SELECT pg_terminate_backend(pid) FROM login, pg_stat_activity"
                " WHERE application_name LIKE 'time2plug recorder%'"
                "   AND datname = current_database()",
            )
            assert not answer.done()
        frame = await asyncio.wait_for(answer, TIMEOUT_S)
    assert await query(database, "SELECT id FROM session") == [(result(frame)["transactionId"],)]


async def test_a_commit_that_takes_too_long_is_given_up_and_done_again(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with (
        running_node(database, settings, commit_timeout_s=0.3, database_retry_s=0.05) as node,
        await db.connect(database, owner=True) as other,
    ):
        station = await node.station("CP1")
        await station.call("Heartbeat", {})
        async with other.transaction():
            await other.execute("LOCK TABLE ocpp_message IN EXCLUSIVE MODE")
            answer = station.send("Heartbeat", {})
            await until(database, WAITS_FOR_LOCK)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(answer), 0.8)
        assert result(await asyncio.wait_for(answer, TIMEOUT_S))["currentTime"]


async def test_an_offline_queue_is_handled_in_its_order(
    database: Database, settings: Settings
) -> None:
    """Starts wait for look-ups; what follows them waits behind them."""
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings) as node:
        station = await node.station("CP1", "ocpp2.0.1")
        answers = []
        for number in range(30):
            ago_s = 3600 * (40 - number)
            for seq_no, (kind, register_wh) in enumerate(
                (("Started", 0), ("Updated", 50), ("Ended", 100))
            ):
                answers.append(
                    station.send(
                        "TransactionEvent",
                        event(
                            kind,
                            f"t{number}",
                            seq_no,
                            register_wh=number * 100 + register_wh,
                            badge="A" if kind == "Started" else None,
                            ago_s=ago_s - seq_no * 600,
                            offline=True,
                        ),
                    )
                )
        await asyncio.wait_for(asyncio.gather(*answers), TIMEOUT_S)
        assert len(node.recorder.stations["CP1"].sessions) <= 3, "old ones are forgotten"
    rows = await query(database, "SELECT transaction_id, state, energy_wh FROM session ORDER BY id")
    assert rows == [(f"t{number}", "ended", 100) for number in range(30)]


async def test_a_session_looked_up_is_not_forgotten_before_its_frame_is_handled(
    database: Database, settings: Settings
) -> None:
    """A commit of the station in between forgets what has ended and is not needed."""
    await provision(database, ["CP1"], ["A"])
    async with (
        running_node(database, settings, token_concurrent_max=0) as node,
        await db.connect(database, owner=True) as journal_holder,
        await db.connect(database, owner=True) as token_holder,
    ):
        station = await node.station("CP1")
        old = (await station.start("A"))["transactionId"]
        stop = {"transactionId": old, "idTag": "A", "meterStop": 1500, "timestamp": stamp()}
        await station.call("StopTransaction", stop)
        for evse_id in (1, 2):
            await station.start("A", evse_id=evse_id, register_wh=1500)
        node.recorder.refresh("CP1")
        await station.call("Heartbeat", {})
        assert len(node.recorder.stations["CP1"].sessions) == 2
        async with token_holder.transaction():
            async with journal_holder.transaction():
                await journal_holder.execute("LOCK TABLE ocpp_message IN EXCLUSIVE MODE")
                values = station.send("MeterValues", reading(1600))
                await until(database, WAITS_FOR_LOCK)
                await token_holder.execute("LOCK TABLE token IN ACCESS EXCLUSIVE MODE")
                again = station.send("StopTransaction", stop)
                await until(database, LOOK_UP_WAITS)
            await asyncio.wait_for(values, TIMEOUT_S)
        await asyncio.wait_for(again, TIMEOUT_S)
    assert await query(database, "SELECT reason FROM reconciliation") == []


async def test_a_station_leaves_the_memory_when_its_frames_are_through(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"])
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        answer = station.send("Heartbeat", {})
        node.recorder.release(station.station)
        assert "CP1" in node.recorder.stations
        await asyncio.wait_for(answer, TIMEOUT_S)
        await node.recorder.drain()
        assert "CP1" not in node.recorder.stations


async def test_the_journal_holds_every_frame_in_the_order_of_receipt(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"])
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        answers = [station.send("DataTransfer", {"vendorId": str(number)}) for number in range(200)]
        await asyncio.wait_for(asyncio.gather(*answers), TIMEOUT_S)
    rows = await query(
        database, "SELECT frame, answer IS NOT NULL, latency_ms >= 0 FROM ocpp_message ORDER BY at"
    )
    numbers = [int(re.search(r'"vendorId":"(\d+)"', frame)[1]) for frame, *_ in rows]  # type: ignore[index]
    assert numbers == list(range(200))
    assert all(answered and measured for _, answered, measured in rows)


@pytest.mark.parametrize("protocol", ["ocpp1.6", "ocpp2.0.1"])
async def test_a_queue_under_an_unset_clock_keeps_its_energy(
    database: Database, settings: Settings, protocol: str
) -> None:
    """Told within a moment, it says nothing of the power: stop less start holds."""
    await provision(database, ["CP1"], ["A"])
    hours = [f"2018-12-24T{hour:02}:00:00Z" for hour in range(9)]
    registers = [1000 + 50_000 * hour for hour in range(9)]
    async with running_node(database, settings) as node:
        station = await node.station("CP1", protocol)
        if protocol == "ocpp1.6":
            start = {"connectorId": 1, "idTag": "A", "meterStart": 1000, "timestamp": hours[0]}
            id = (await station.call("StartTransaction", start))["transactionId"]
            for hour, register_wh in zip(hours[1:-1], registers[1:-1], strict=True):
                values = reading(register_wh, transactionId=id)
                values["meterValue"][0]["timestamp"] = hour
                await station.call("MeterValues", values)
            stop = {"transactionId": id, "meterStop": registers[-1], "timestamp": hours[-1]}
            await station.call("StopTransaction", stop)
        else:
            kinds = ["Started", *["Updated"] * 7, "Ended"]
            for seq_no, kind in enumerate(kinds):
                badge = "A" if kind == "Started" else None
                told = event(kind, "t", seq_no, register_wh=registers[seq_no], badge=badge)
                told["timestamp"] = told["meterValue"][0]["timestamp"] = hours[seq_no]
                await station.call("TransactionEvent", told | {"offline": True})
    rows = await query(database, "SELECT state, energy_wh, flags FROM session")
    expected = ["clock_implausible"] + (["offline"] if protocol == "ocpp2.0.1" else [])
    assert rows == [("ended", 400_000, expected)]
