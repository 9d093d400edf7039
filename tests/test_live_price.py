"""The price so far: to stations with each event, to drivers who follow, as the invoice will say it.

What is told at the end is compared with what the stage makes of the same session from the database.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool

from billing import money, pricing, tariffs
from billing.live_price import LivePrices
from billing.tariffs import Place
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, transaction
from csms.serve import open_service
from csms.store.starts import Live, fetch_live
from simulators.driver import Driver, DriverConfig, running, utc_now
from simulators.model import OCPP16, OCPP201, StationConfig
from simulators.station import Station
from tests import billing_world as world
from tests import people as persons
from tests.recorder_node import Talker, as_owner, event, query, running_node, until
from tests.scenarios.gate import PATIENCE_S
from tests.test_api_me import events
from tests.test_pricing import assign_everywhere, charge, give_badge

DESK = Actor("command line")
NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
QUICK = {"live_price_poll_s": 0.05, "command_poll_s": 0.1, "live_period_s": 0.05}
# Dear by day; cheap at night, when standing costs too.
DEAR: dict[str, Any] = {
    "elements": [
        {
            "price_components": [
                {"type": "ENERGY", "price": 0.2},
                {"type": "PARKING_TIME", "price": 6},
            ],
            "restrictions": {"start_time": "22:00", "end_time": "06:00"},
        },
        {"price_components": [{"type": "ENERGY", "price": 0.4}]},
    ]
}


@pytest.fixture
async def client_id(database: Database) -> int:
    made = await world.add_client(database, "Copropriété A")
    person_id = await world.add_driver(database, "anne")
    await give_badge(database, person_id, "04a1")
    await as_owner(database, "UPDATE station SET public = true")
    return made


async def change(pool: AsyncConnectionPool, client_id: int, content: dict[str, Any]) -> None:
    """The client's tariff says this for sessions that begin from January on, everywhere."""
    async with transaction(pool) as connection:
        made = await tariffs.create(connection, client_id, "cher", "Cher", DESK, NOW)
        january = datetime(2025, 12, 31, 23, tzinfo=UTC)
        await tariffs.add_version(
            connection, made.id, content, from_at=january, actor=DESK, now=NOW
        )
        await tariffs.assign(connection, made.id, Place(), from_at=january, actor=DESK, now=NOW)


@asynccontextmanager
async def node_with_prices(
    database: Database, settings: Settings, pool: AsyncConnectionPool, client_id: int
) -> AsyncIterator[tuple[LivePrices, Talker]]:
    """A gateway's recorder that knows the prices of now, and the client's station."""
    prices = LivePrices(pool, settings)
    await prices.look(datetime.now(UTC))
    async with running_node(database, settings) as node:
        node.recorder.intake.cost_of = prices.cost_of
        yield prices, await node.station(f"station-{client_id}", OCPP201)


async def final_cents(database: Database, pool: AsyncConnectionPool) -> list[int]:
    """What the stage makes of all that has ended."""
    await pricing.run(pool, now=datetime.now(UTC) + timedelta(days=5))
    rows = await query(database, "SELECT amount_incl_cents FROM priced_session ORDER BY session_id")
    return [row[0] for row in rows]


async def test_a_station_is_told_the_price_with_each_event_and_the_last_is_the_invoices(
    database: Database, settings: Settings, pool: AsyncConnectionPool, client_id: int
) -> None:
    await assign_everywhere(database, client_id)
    async with node_with_prices(database, settings, pool, client_id) as (_, station):

        async def told(kind: str, seq: int, register_wh: int, ago_s: float) -> Any:
            made = event(kind, "t1", seq, register_wh=register_wh, ago_s=ago_s, badge="04A1")
            return await station.call("TransactionEvent", made)

        started = await told("Started", 0, 1_000, 3600)
        assert "totalCost" not in started
        assert (await told("Updated", 1, 5_000, 1800))["totalCost"] == 1.4
        assert (await told("Ended", 2, 11_123, 0))["totalCost"] == 3.54  # 3.54305
    assert await final_cents(database, pool) == [354]


async def test_no_price_is_told_where_no_tariff_holds_or_no_mandate_was_given(
    database: Database, settings: Settings, pool: AsyncConnectionPool, client_id: int
) -> None:
    other = await world.add_client(database, "Copropriété B", mandate_from_on=None)
    await assign_everywhere(database, other)
    for each in (client_id, other):
        async with node_with_prices(database, settings, pool, each) as (_, station):
            for seq, kind in enumerate(("Started", "Updated", "Ended")):
                made = event(kind, "t1", seq, register_wh=1_000 * seq, badge="04A1")
                answer = await station.call("TransactionEvent", made)
                assert "totalCost" not in answer


async def test_a_tariff_that_comes_is_known_within_the_next_look(
    database: Database, settings: Settings, pool: AsyncConnectionPool, client_id: int
) -> None:
    async with node_with_prices(database, settings, pool, client_id) as (prices, station):
        began = event("Started", "t1", 0, register_wh=0, ago_s=60, badge="04A1")
        await station.call("TransactionEvent", began)
        before = await station.call("TransactionEvent", event("Updated", "t1", 1, register_wh=1000))
        assert "totalCost" not in before
        await assign_everywhere(database, client_id)
        await prices.look(datetime.now(UTC))
        after = await station.call("TransactionEvent", event("Updated", "t1", 2, register_wh=2000))
        assert after["totalCost"] == 0.7


async def test_a_drivers_group_has_its_own_price(
    database: Database, settings: Settings, pool: AsyncConnectionPool, client_id: int
) -> None:
    await change(
        pool,
        client_id,
        {"elements": [{"price_components": DEAR["elements"][1]["price_components"]}]},
    )
    await as_owner(
        database,
        f"""INSERT INTO driver_group (client_id, name, kind)
            VALUES ({client_id}, 'Agents', 'residents')""",
        """INSERT INTO group_member (group_id, person_id, from_at)
           SELECT g.id, b.person_id, '2026-01-01' FROM driver_group g, driver_badge b""",
        """INSERT INTO tariff_scope (client_id, tariff_id, group_id, from_at, created_at,
                                     created_by)
           SELECT t.client_id, t.id, g.id, '2026-01-01', now(), 'test'
             FROM tariff t, driver_group g WHERE t.code = 'base'""",
    )
    async with node_with_prices(database, settings, pool, client_id) as (_, station):
        for transaction_id, badge, cost in (("t1", "04A1", 0.35), ("t2", "04FF", 0.4)):
            start = event("Started", transaction_id, 0, register_wh=0, ago_s=60, badge=badge)
            await station.call("TransactionEvent", start)
            end = event("Ended", transaction_id, 1, register_wh=1_000)
            assert (await station.call("TransactionEvent", end))["totalCost"] == cost


# Kind, hours ago and register of a session that charges, stands and charges.
COURSE = [
    ("Started", 3.0, 0),
    ("Updated", 2.5, 5_000),
    ("Updated", 2.0, 5_000),
    ("Updated", 1.5, 5_000),
    ("Updated", 1.0, 9_000),
    ("Ended", 0.0, 10_000),
]


STANDING: dict[str, Any] = {
    "elements": [
        {
            "price_components": [
                {"type": "ENERGY", "price": 0.4},
                {"type": "PARKING_TIME", "price": 6},
            ],
        }
    ]
}


@pytest.mark.parametrize("restarts", [False, True])
async def test_readings_count_even_where_the_process_began_in_the_midst_of_a_session(
    database: Database,
    settings: Settings,
    pool: AsyncConnectionPool,
    client_id: int,
    restarts: bool,
) -> None:
    await change(pool, client_id, STANDING)

    async def tell(station: Talker, seq: int) -> dict[str, Any]:
        kind, ago_h, register_wh = COURSE[seq]
        made = event(kind, "t1", seq, register_wh=register_wh, ago_s=ago_h * 3600, badge="04A1")
        return await station.call("TransactionEvent", made)

    async with node_with_prices(database, settings, pool, client_id) as (_, station):
        for seq in range(4):
            answer = await tell(station, seq)
        assert answer["totalCost"] > 2.0 + 6.0  # an hour of standing, and as it goes on
        if not restarts:
            answers = [await tell(station, seq) for seq in (4, 5)]
    if restarts:
        async with node_with_prices(database, settings, pool, client_id) as (prices, station):
            assert "totalCost" not in await tell(station, 4)  # what came before is being read
            await prices.read_wanted()
            (course,) = prices.courses()
            assert course.whole
            answers = [await tell(station, 5)]
    assert answers[-1]["totalCost"] == 4.0 + 6.0
    assert await final_cents(database, pool) == [1000]


async def test_a_fault_in_prices_keeps_no_session_from_being_recorded(
    database: Database,
    settings: Settings,
    pool: AsyncConnectionPool,
    client_id: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await assign_everywhere(database, client_id)
    monkeypatch.setattr("billing.live_price._usage", lambda *_: 1 / 0)
    async with node_with_prices(database, settings, pool, client_id) as (_, station):
        for seq, kind in enumerate(("Started", "Ended")):
            made = event(kind, "t1", seq, register_wh=1_000 * seq, badge="04A1")
            assert "totalCost" not in await station.call("TransactionEvent", made)
    assert "cannot be worked out" in caplog.text
    assert await query(database, "SELECT energy_wh FROM session") == [(1000,)]


async def test_too_many_readings_of_one_session_are_not_kept(
    database: Database, settings: Settings, pool: AsyncConnectionPool, client_id: int
) -> None:
    await change(pool, client_id, STANDING)
    settings = replace(settings, live_price_session_readings_max=3)
    async with node_with_prices(database, settings, pool, client_id) as (prices, station):
        costs = []
        for seq in range(6):
            kind = "Started" if seq == 0 else "Updated"
            made = event(
                kind, "t1", seq, register_wh=100 * seq, ago_s=60.0 * (6 - seq), badge="04A1"
            )
            costs.append((await station.call("TransactionEvent", made)).get("totalCost"))
        assert [cost is None for cost in costs] == [True, False, False, True, True, True]
        assert [course.registers for course in prices.courses()] == [[]]


async def test_a_follower_is_told_what_the_invoice_says_hours_with_other_prices_too(
    database: Database, settings: Settings, pool: AsyncConnectionPool, client_id: int
) -> None:
    await change(pool, client_id, DEAR)
    evening = datetime(2026, 10, 5, 19, tzinfo=UTC)  # 21:00 in Paris
    session_id = await charge(
        database,
        client_id,
        start=evening,
        hours=2,
        energy_wh=10_000,
        registers=((0, 0), (1, 7_000), (2, 10_000)),
    )
    prices = LivePrices(pool, settings)
    await prices.look(NOW)
    async with pool.connection() as connection:
        (row,) = await fetch_live(connection, [session_id])
    running_row = replace(row, state="active", ended_at=None)
    ends_at = evening + timedelta(hours=2)
    for each in (row, running_row):
        assert await prices.price(each, ends_at) == Decimal("3.40")  # 7 kWh at 0.40, 3 at 0.20
    assert await final_cents(database, pool) == [340]


async def test_nobody_is_told_a_price_of_hours_without_one(
    database: Database, settings: Settings, pool: AsyncConnectionPool, client_id: int
) -> None:
    await change(pool, client_id, {"elements": DEAR["elements"][:1]})
    session_id = await charge(database, client_id)
    prices = LivePrices(pool, settings)
    await prices.look(NOW)
    async with pool.connection() as connection:
        (row,) = await fetch_live(connection, [session_id])
    assert await prices.price(row, NOW) is None
    unknown: Live = replace(row, energy_wh=None)
    assert await prices.price(unknown, NOW) is None


@pytest.mark.parametrize("protocol", [OCPP16, OCPP201])
async def test_a_driver_who_follows_her_session_sees_its_price(
    database: Database, settings: Settings, pool: AsyncConnectionPool, protocol: str
) -> None:
    settings = replace(settings, live_refresh_s=0.5, **QUICK)
    client_id = await world.add_client(database, "Résidence Exemple")
    await assign_everywhere(database, client_id)
    await as_owner(
        database,
        """INSERT INTO contract_option (client_id, contract_id, option, from_on)
           SELECT client_id, id, 'driver_app', starts_on FROM contract""",
    )
    await persons.add_site(database)
    driver = await persons.add_driver(database, "alice")
    await persons.add_badge(database, driver, "04A1")
    (code,) = await persons.add_station(database, "CP1")
    station = Driver(
        Station(StationConfig(identity="CP1", protocol=protocol), utc_now()),
        DriverConfig(
            url=f"ws://127.0.0.1:{settings.ocpp_port}/ocpp", backoff_min_s=0.01, backoff_max_s=0.05
        ),
    )
    base_url = f"http://127.0.0.1:{settings.http_port}"
    async with open_service(settings), running(station), driver.client(base_url) as api:
        await station.settled(PATIENCE_S)
        await until(database, "SELECT FROM station_connection WHERE disconnected_at IS NULL")
        begun = await started(api, code)
        costs = []
        async with api.stream("GET", f"/me/sessions/{begun}/events") as stream:
            async for _, name, data in events(stream):
                if name == "comment":
                    continue
                costs.append((data["energy_wh"], data["cost"]))
                if len(costs) == 1:
                    station.station.sample(1, utc_now() + timedelta(seconds=30))
                elif name == "session" and data["power_w"] is not None:
                    await api.post(f"/me/sessions/{begun}/stop")
    energy_wh, cost = costs[-1]
    assert energy_wh > 0
    assert cost == str(money.euros((energy_wh * 35 + 500) // 1000))


async def started(api: httpx.AsyncClient, code: str) -> int:
    answer = await api.post("/me/sessions", json={"point_id": code})
    assert answer.is_success, answer.text
    return int(answer.json()["session_id"])
