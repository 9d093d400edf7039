"""A closing whose process is killed by the system, again and again, and that is run again."""

import asyncio
import os
import random
import signal
import sys
from datetime import date

import pytest
from psycopg_pool import AsyncConnectionPool

from csms.config import PREFIX, Settings
from csms.db import Database
from tests import billing_world as world
from tests.billing_world import rows

CLIENTS = 14
SEED = 20261126


async def closing(settings: Settings) -> asyncio.subprocess.Process:
    """`time2plug billing close 2026-10` as a process of its own."""
    assert settings.database_url is not None
    given = {PREFIX + name.upper(): value for name, value in world.OPERATOR.items()}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "csms", "billing", "close", "2026-10"),
        env=kept | given | {"T2P_DATABASE_URL": settings.database_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def done(pool: AsyncConnectionPool) -> int:
    ((count,),) = await rows(pool, "SELECT count(*) FROM statement")
    return int(count)


@pytest.mark.timeout(180)
async def test_killed_at_any_moment_it_goes_on_without_a_gap(
    database: Database, pool: AsyncConnectionPool, settings: Settings
) -> None:
    person_id = await world.add_driver(database, "anne")
    for number in range(CLIENTS):
        invoicing = "per_use" if number % 2 else "per_driver_month"
        each = await world.add_client(
            database, f"Copropriété {number}", invoicing=invoicing, fee_cents=900
        )
        await world.add_sessions(database, each, person_id, [700 + n for n in range(12)])
    chance = random.Random(SEED)
    kills = 0
    while await done(pool) < CLIENTS and kills < 12:
        process = await closing(settings)
        before = await done(pool)
        while process.returncode is None and await done(pool) == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # until the other process has got somewhere
        await asyncio.sleep(chance.random() * 0.06)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        await process.communicate()
    process = await closing(settings)
    out, error = await process.communicate()
    assert (process.returncode, error.decode().strip()) == (0, ""), out.decode()
    assert kills >= 3
    assert await done(pool) == CLIENTS
    assert (
        await rows(
            pool,
            """SELECT prefix FROM invoice_series s
            WHERE last_number <> (SELECT count(*) FROM invoice WHERE series_id = s.id)""",
        )
        == []
    )
    assert await rows(
        pool,
        """SELECT (SELECT count(*) FROM invoice_line WHERE is_original AND session_id IS NOT NULL),
                  (SELECT count(*) FROM statement_line WHERE kind = 'session'),
                  (SELECT sum(net_cents) FROM statement), (SELECT min(month) FROM statement)""",
    ) == [(12 * CLIENTS, 12 * CLIENTS, -1_080 * CLIENTS, date(2026, 10, 1))]
    assert (
        await rows(
            pool,
            """SELECT entry_id FROM ledger_posting GROUP BY 1 HAVING sum(amount_cents) <> 0""",
        )
        == []
    )
