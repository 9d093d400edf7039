"""The price so far: what the stage would make of the session if it ended now."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

from billing.live_price import LivePrices
from csms.config import Settings
from csms.db import Database
from csms.store.starts import Live
from tests import billing_world as world
from tests.test_pricing import (
    MONTH,
    assign_everywhere,
    change_tariff,
    charge,
    give_badge,
    price,
    priced,
)

NOW = datetime(2026, 10, 5, 23, tzinfo=UTC)
EVENING = datetime(2026, 10, 5, 19, tzinfo=UTC)  # 21:00 in Paris; nights begin at 22:00
REGISTERS = ((0.0, 0.0), (1.0, 7_500.0), (2.0, 10_000.0))


@pytest.fixture
async def client_id(database: Database) -> int:
    made = await world.add_client(database, "Copropriété A")
    await assign_everywhere(database, made)
    await give_badge(database, await world.add_driver(database, "anne"), "04a1")
    return made


@pytest.fixture
async def prices(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> AsyncIterator[LivePrices]:
    made = LivePrices(pool, settings)
    await made.look(NOW)
    yield made


async def live(pool: AsyncConnectionPool, session_id: int) -> Live:
    """The session as those who follow it are told."""
    async with (
        pool.connection() as connection,
        connection.cursor(row_factory=class_row(Live)) as rows,
    ):
        await rows.execute(
            """
            SELECT id, revision, state, charging_state, started_at, ended_at, energy_wh, power_w,
                   client_id, site_id, station_key, evse_id, token_uid,
                   meter_start_wh::float8 AS meter_start_wh, readings_from_at, readings_to_at
              FROM session WHERE id = %s
            """,
            (session_id,),
        )
        found = await rows.fetchone()
    assert found is not None
    return found


@pytest.mark.parametrize("with_readings", [True, False])
async def test_at_the_end_it_is_the_price(
    database: Database,
    pool: AsyncConnectionPool,
    client_id: int,
    prices: LivePrices,
    with_readings: bool,
) -> None:
    await change_tariff(pool, client_id)
    await prices.look(NOW)
    session_id = await charge(
        database, client_id, start=EVENING, registers=REGISTERS if with_readings else ()
    )
    told = await prices.price(await live(pool, session_id), NOW)
    await price(pool)
    ((_, cents, *_),) = await priced(pool)
    assert told == Decimal(cents) / 100
    assert cents == (350 if with_readings else 300)
    assert MONTH.month == 10


async def test_a_tariff_that_was_changed_counts_from_the_next_look_on(
    database: Database, pool: AsyncConnectionPool, client_id: int, prices: LivePrices
) -> None:
    session_id = await charge(database, client_id, start=EVENING)
    row = await live(pool, session_id)
    assert await prices.price(row, NOW) == Decimal("3.50")
    await change_tariff(pool, client_id)
    assert await prices.price(row, NOW) == Decimal("3.50")
    await prices.look(NOW + timedelta(seconds=5))
    assert await prices.price(row, NOW) == Decimal("3.00")


async def test_without_a_tariff_or_an_energy_there_is_no_price(
    database: Database, pool: AsyncConnectionPool, client_id: int, prices: LivePrices
) -> None:
    other = await world.add_client(database, "Copropriété B")
    assert await prices.price(await live(pool, await charge(database, other)), NOW) is None
    unknown = await charge(database, client_id, energy_wh=None)
    assert await prices.price(await live(pool, unknown), NOW) is None
