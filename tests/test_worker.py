"""The worker: sessions whose stop never came, and what keeps the database in shape."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import db, timeseries, worker
from csms.config import Settings
from csms.db import Database, open_pool
from csms.worker import Job, give_up_lost_sessions
from tests.recorder_node import (
    TIMEOUT_S,
    as_owner,
    provision,
    query,
    reading,
    result,
    running_node,
    stamp,
)

SESSION = "SELECT state, energy_wh, flags FROM session ORDER BY id"


async def give_up(database: Database, settings: Settings, *, later_s: float = 0) -> int:
    """What the worker would do so much later."""
    async with await db.connect(database) as connection:
        now = datetime.now(UTC) + timedelta(seconds=later_s)
        return await give_up_lost_sessions(connection, settings, now)


def available(evse_id: int = 1) -> dict[str, Any]:
    return {
        "connectorId": evse_id,
        "errorCode": "NoError",
        "status": "Available",
        "timestamp": stamp(),
    }


async def test_a_session_is_lost_when_its_evse_has_been_free_for_long(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A", "B"])
    async with running_node(database, settings, token_concurrent_max=0) as node:
        station = await node.station("CP1")
        id = (await station.start("A"))["transactionId"]
        await station.start("B", evse_id=2)
        await station.call("MeterValues", reading(1700, transactionId=id))
        await station.call("StatusNotification", available())
        assert await give_up(database, settings, later_s=1700) == 0
        assert await give_up(database, settings, later_s=1900) == 1
        assert await give_up(database, settings, later_s=1900) == 0
    assert await query(database, SESSION) == [
        ("lost", 700, ["lost_stop"]),
        ("active", 0, []),
    ]
    ((ended_at, last_at),) = await query(
        database, "SELECT ended_at, last_register_at FROM session WHERE state = 'lost'"
    )
    assert ended_at == last_at, "it ended at its last reading"
    assert await query(
        database, "SELECT kind, frame IS NULL, note FROM session_event WHERE kind = 'lost'"
    ) == [("lost", True, "the stop never came")]


async def test_readings_after_the_evse_was_free_keep_a_session_going(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        id = (await station.start("A"))["transactionId"]
        await station.call("StatusNotification", available())
        await station.call("MeterValues", reading(1700, transactionId=id))
        assert await give_up(database, settings, later_s=3600) == 0


async def test_a_session_of_a_station_silent_for_long_is_lost(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings) as node:
        await (await node.station("CP1")).start("A")
    days = settings.lost_station_after_s
    assert await give_up(database, settings, later_s=days - 60) == 0
    await as_owner(
        database,
        "INSERT INTO station_connection SELECT station_key, 'n', 1, 'ocpp1.6', '', now(),"
        " now() + interval '1 hour' FROM station",
    )
    assert await give_up(database, settings, later_s=days + 60) == 0, "heard of meanwhile"
    assert await give_up(database, settings, later_s=days + 3700) == 1
    assert await query(database, SESSION) == [("lost", 0, ["lost_stop"])]


async def test_sessions_of_a_retired_station_are_given_up(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings) as node:
        await (await node.station("CP1")).start("A")
    await as_owner(database, "UPDATE station SET retired_at = now()")
    assert await give_up(database, settings) == 1


@pytest.mark.parametrize("told", [True, False], ids=["refreshed", "behind its back"])
async def test_a_stop_that_comes_after_all_ends_the_lost_session(
    database: Database, settings: Settings, told: bool
) -> None:
    """The gateway hears of the loss by a notification, or at its next commit."""
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        id = (await station.start("A"))["transactionId"]
        await station.call("StatusNotification", available())
        assert await give_up(database, settings, later_s=1900) == 1
        if told:
            node.recorder.refresh("CP1")
        assert await station.stop(id, register_wh=2500) == {}
    assert await query(database, SESSION) == [("ended", 1500, ["late_stop"])]
    kinds = await query(database, "SELECT kind FROM session_event ORDER BY received_at, kind")
    assert [kind for (kind,) in kinds] == ["started", "ended", "lost"] or [
        kind for (kind,) in kinds
    ] == ["started", "lost", "ended"]


async def test_a_reading_that_comes_after_all_counts_for_the_lost_session(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        id = (await station.start("A"))["transactionId"]
        await station.call("StatusNotification", available())
        assert await give_up(database, settings, later_s=1900) == 1
        await station.call("MeterValues", reading(1200, transactionId=id))
    assert await query(database, SESSION) == [("lost", 200, ["lost_stop"])]


async def test_the_gateways_hear_of_a_session_given_up(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with (
        running_node(database, settings) as node,
        await db.connect(database) as listener,
    ):
        await listener.execute("LISTEN t2p_station")
        station = await node.station("CP1")
        await station.start("A")
        await station.call("StatusNotification", available())
        assert await give_up(database, settings, later_s=1900) == 1
        async for notice in listener.notifies(timeout=TIMEOUT_S, stop_after=1):
            assert notice.payload == "CP1"
            return
    pytest.fail("nobody was told")


async def test_a_stop_on_its_way_and_the_worker_do_not_undo_each_other(
    database: Database, settings: Settings
) -> None:
    """The worker holds the session's row while the stop comes; the stop is told after all."""
    await provision(database, ["CP1"], ["A"])
    async with (
        running_node(database, settings) as node,
        await db.connect(database) as connection,
    ):
        station = await node.station("CP1")
        id = (await station.start("A"))["transactionId"]
        await station.call("StatusNotification", available())
        async with connection.transaction():
            later = datetime.now(UTC) + timedelta(hours=1)
            assert await give_up_lost_sessions(connection, settings, later) == 1
            stop = {"transactionId": id, "meterStop": 1800, "timestamp": stamp()}
            answer = station.send("StopTransaction", stop)
            await asyncio.sleep(0)
            assert not answer.done()
        assert result(await asyncio.wait_for(answer, TIMEOUT_S)) == {}
    assert await query(database, SESSION) == [("ended", 800, ["late_stop"])]


# --- Running ------------------------------------------------------------------------------------


@asynccontextmanager
async def working(*pools: AsyncConnectionPool, settings: Settings) -> AsyncIterator[None]:
    """A worker on each pool."""
    tasks = [asyncio.create_task(worker.run(pool, settings)) for pool in pools]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_of_two_workers_one_works_and_the_other_takes_over(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work = 0
    runs = asyncio.Semaphore(0)

    async def count(connection: object, settings: Settings, now: datetime) -> None:
        nonlocal at_work
        at_work += 1
        assert at_work == 1
        await asyncio.sleep(0.02)  # the other one tries meanwhile
        at_work -= 1
        runs.release()

    monkeypatch.setattr(worker, "JOBS", (Job("count", 0.0, count),))
    monkeypatch.setattr(worker, "PERIOD_S", 0.005)
    async with (
        open_pool(database, settings) as one,
        open_pool(database, settings) as two,
        working(two, settings=settings),
        asyncio.timeout(TIMEOUT_S),
    ):
        async with working(one, settings=settings):
            for _ in range(10):
                await runs.acquire()
        await runs.acquire()
        await runs.acquire()


async def test_a_job_that_fails_keeps_no_other_from_its_work_and_no_lock(
    database: Database,
    settings: Settings,
    pool: AsyncConnectionPool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures, successes = asyncio.Semaphore(0), asyncio.Event()

    async def fail(connection: object, settings: Settings, now: datetime) -> None:
        failures.release()
        raise psycopg.errors.LockNotAvailable("a backup reads")

    async def succeed(connection: object, settings: Settings, now: datetime) -> None:
        successes.set()

    jobs = (Job("fail", 60.0, fail), Job("succeed", 60.0, succeed))
    monkeypatch.setattr(worker, "JOBS", jobs)
    monkeypatch.setattr(worker, "PERIOD_S", 0.01)
    async with working(pool, settings=settings), asyncio.timeout(TIMEOUT_S):
        await successes.wait()
        await failures.acquire()
        await failures.acquire()
    async with await db.connect(database) as connection:
        assert await db.try_advisory_lock(connection, worker.LOCK)


async def test_the_worker_goes_on_when_its_connection_was_cut(
    database: Database,
    settings: Settings,
    pool: AsyncConnectionPool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = 0
    again = asyncio.Event()

    async def cut_at_first(connection: psycopg.AsyncConnection, *rest: object) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            await connection.execute("SET ROLE NONE")
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        again.set()

    monkeypatch.setattr(worker, "JOBS", (Job("cut", 60.0, cut_at_first),))
    monkeypatch.setattr(worker, "PERIOD_S", 0.01)
    async with working(pool, settings=settings):
        await asyncio.wait_for(again.wait(), TIMEOUT_S)
    assert runs == 2


async def test_the_worker_can_be_stopped_while_its_connection_breaks(
    settings: Settings, pool: AsyncConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver then raises its own error instead of the cancellation."""
    at_work = asyncio.Event()

    async def broken(connection: psycopg.AsyncConnection, *rest: object) -> None:
        at_work.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await connection.close()
            raise psycopg.OperationalError("the connection is lost") from None

    monkeypatch.setattr(worker, "JOBS", (Job("broken", 0.0, broken),))
    task = asyncio.create_task(worker.run(pool, settings))
    await asyncio.wait_for(at_work.wait(), TIMEOUT_S)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=TIMEOUT_S)
    assert task in done
    assert task.cancelled()


async def test_its_jobs_make_months_drop_the_old_journal_and_keep_the_evidence(
    database: Database, settings: Settings, pool: AsyncConnectionPool, storage: str
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        id = (await station.start("A"))["transactionId"]
        await station.call("MeterValues", reading(1700, transactionId=id))
        await station.stop(id)
    later = datetime.now(UTC) + timedelta(days=300)
    async with pool.connection() as connection:
        for job in worker.JOBS:
            await job.run(connection, settings, later)
    assert await query(database, "SELECT count(*) FROM ocpp_message") == [(0,)]
    assert await query(database, "SELECT count(*) FROM meter_reading") == [(1,)]
    events = await query(database, "SELECT kind, frame FROM session_event ORDER BY received_at")
    assert [(kind, json.loads(frame)[2]) for kind, frame in events] == [
        ("started", "StartTransaction"),
        ("ended", "StopTransaction"),
    ]
    (month,) = await query(
        database, "SELECT to_regclass(%s) IS NOT NULL", f"ocpp_message_{later:%Y_%m}"
    )
    assert month == (storage == timeseries.NATIVE,)
