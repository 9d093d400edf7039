"""Drivers, their groups and badges: who is who, whose is what, and where each may charge when."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from csms import drivers
from csms.authorization import decide
from csms.db import transaction
from csms.domain.station import Station
from csms.registry import NotThere, Refusal
from csms.store import lookup

NOW = datetime(2026, 5, 25, 12, tzinfo=UTC)  # a Monday, 14:00 in Paris
HOUR = timedelta(hours=1)
PARIS = ZoneInfo("Europe/Paris")

SITES = """
INSERT INTO client (name) VALUES ('A'), ('B');
INSERT INTO site (id, client_id) SELECT 'garage', id FROM client WHERE name = 'A';
INSERT INTO site (id, client_id) SELECT 'office', id FROM client WHERE name = 'B';
"""


@pytest.fixture
async def sites(pool: AsyncConnectionPool) -> AsyncConnectionPool:
    """The pool of a database with two clients and a site of each."""
    async with transaction(pool) as connection:
        await connection.execute(SITES.encode())
    return pool


async def driver(connection: AsyncConnection, email: str = "conducteur@example.org") -> int:
    """A driver with nothing but an e-mail address."""
    cursor = await connection.execute(
        """WITH p AS (INSERT INTO person (email) VALUES (%s) RETURNING id)
           INSERT INTO driver (person_id) SELECT id FROM p RETURNING person_id""",
        (email,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def judged(connection: AsyncConnection, uid: str, site_id: str, now: datetime = NOW) -> str:
    """What a station of the site would be told of the badge."""
    station = Station(1, "CP1")
    station.site_id, station.time_zone = site_id, "Europe/Paris"
    found = await lookup.fetch_tokens(connection, [uid.lower()], [site_id])
    return decide(found[0] if found else None, station, now).status


async def test_the_session_api_gets_one_virtual_badge_per_driver(
    sites: AsyncConnectionPool,
) -> None:
    async with transaction(sites) as connection:
        one, two = await driver(connection), await driver(connection, "other@example.org")
        uid = await drivers.app_badge(connection, one, NOW)
        assert uid.startswith("APP")
        assert len(uid) == 15
        assert await drivers.app_badge(connection, one, NOW + HOUR) == uid
        assert await drivers.app_badge(connection, two, NOW) != uid
        assert await drivers.person_of_badge(connection, uid.lower(), NOW) == one
        assert await drivers.person_of_badge(connection, uid, NOW - HOUR) is None
        assert await judged(connection, uid, "garage") == "NotAtThisLocation"


async def test_a_virtual_badge_is_for_drivers_who_may_charge(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        with pytest.raises(NotThere):
            await drivers.app_badge(connection, 7, NOW)
        one = await driver(connection)
        await connection.execute("UPDATE person SET blocked_at = now()")
        with pytest.raises(Refusal, match="blocked"):
            await drivers.app_badge(connection, one, NOW)
