"""Managers' pages over HTTP: what they show, to whom, and that scripts are not needed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool

from csms.config import Settings
from csms.db import Database, connect
from tests.people_at_the_door import browser, log_in_page, person
from tests.scenarios import statements
from tests.scenarios.statements import World

MANAGER = "gestionnaire@example.org"
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
async def worlds(database: Database) -> tuple[World, World]:
    """Client A with 60 sessions, whose statement arrived yesterday, and B with four."""
    async with await connect(database, owner=True) as owner:
        a = await statements.fill(owner, "alpha", 60)
        b = await statements.fill(owner, "beta", 4)
        for world in (a, b):
            await statements.deliver(owner, world, YESTERDAY)
    return a, b


@pytest.fixture
async def page(
    pool: AsyncConnectionPool,
    people: AsyncConnectionPool,
    settings: Settings,
    worlds: tuple[World, World],
) -> AsyncIterator[httpx.AsyncClient]:
    """The browser of who manages A, logged in."""
    await person(pool, MANAGER, manages=(worlds[0].client_id,))
    async with browser(pool, people, settings) as client:
        await log_in_page(client, MANAGER)
        yield client


def plain(answer: httpx.Response) -> str:
    """The page with its no-break spaces as spaces."""
    return answer.text.replace("\u202f", " ").replace("\xa0", " ")


async def test_a_manager_lands_on_the_month_at_a_glance(
    page: httpx.AsyncClient, worlds: tuple[World, World]
) -> None:
    assert (await page.get("/")).headers["location"] == "/gestion"
    answer = await page.get("/gestion")
    shown = plain(answer)
    assert answer.status_code == 200
    assert "Octobre 2026" in shown
    for figure in ("192,00 €", "48,00 €", "600,000 kWh"):
        assert figure in shown, figure
    assert f"/gestion/releves/{worlds[0].statement_id}" in shown
    assert "à contester jusqu’au" in shown
    assert shown.count('<rect class="bar"') == 31 + 2
    assert "beta" not in shown
