"""How accounts end, and how drivers cease to be drivers: by the same steps, told once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from csms import accounts, closing, db
from csms.config import Settings
from csms.db import Database, transaction
from csms.registry import NotThere
from tests.people import add_badge, add_driver, add_manager, add_site, add_station

NOW = datetime.now(UTC)
DESK = closing.By("key desk")


async def rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    async with await db.connect(database, owner=True) as owner:
        return await (await owner.execute(statement.encode())).fetchall()


@pytest.fixture
async def alice(database: Database) -> int:
    """A driver with a badge, a reservation, an order and a log-in."""
    await add_site(database)
    await add_station(database, "CP1")
    alice = await add_driver(database, "alice")
    await add_badge(database, alice, "BADGE")
    await rows(
        database,
        f"""
        WITH ordered AS (
            INSERT INTO badge_order (person_id, ordered_at, ordered_by)
            VALUES ({alice.id}, now(), 'test'))
        INSERT INTO reservation (person_id, client_id, station_key, evse_id, uid_key, from_at,
                                 to_at, lapses_at, created_at, created_by)
        SELECT {alice.id}, client_id, station_key, 1, 'badge', now() + interval '1 hour',
               now() + interval '2 hours', now() + interval '90 minutes', now(), 'test'
          FROM station RETURNING 1
        """,
    )
    return alice.id


DRIVING = """
SELECT (SELECT status FROM token WHERE uid = 'BADGE'), (SELECT blocked_why FROM token LIMIT 1),
       (SELECT state FROM reservation), (SELECT cancelled_at IS NOT NULL FROM badge_order),
       (SELECT count(*) FROM group_member WHERE to_at IS NULL OR to_at > now())
"""
OVER = ("blocked", "closed", "cancelled", True, 0)


async def test_who_drives_no_more_keeps_her_log_in(
    pool: AsyncConnectionPool, settings: Settings, database: Database, alice: int
) -> None:
    async with transaction(pool) as connection:
        await closing.close_driver(connection, settings, alice, now=NOW, by=DESK)
        with pytest.raises(NotThere):
            await closing.close_driver(connection, settings, alice, now=NOW, by=DESK)
    assert await rows(database, DRIVING) == [OVER]
    assert await rows(database, "SELECT count(*) FROM login_session WHERE ended_at IS NULL") == [
        (1,)
    ]
    assert await rows(database, "SELECT event FROM notification") == [("reservation.cancelled",)]
    assert await rows(database, "SELECT actor, action, client_id > 1 FROM audit_entry") == [
        ("key desk", "driver closed", True)
    ]


async def test_an_account_that_is_closed_has_nothing_left_and_its_person_is_told_once(
    pool: AsyncConnectionPool, settings: Settings, database: Database, alice: int
) -> None:
    for first in (True, False):
        async with transaction(pool) as connection:
            closed = await closing.close_account(connection, settings, alice, now=NOW, by=DESK)
            assert closed is first
    assert await rows(database, DRIVING) == [OVER]
    assert await rows(database, "SELECT count(*) FROM login_session WHERE ended_at IS NULL") == [
        (0,)
    ]
    assert await rows(database, "SELECT event FROM notification WHERE event LIKE 'account.%'") == [
        ("account.closed",)
    ]
    assert await rows(database, "SELECT action FROM audit_entry") == [("account closed",)]


async def test_managers_and_links_end_with_the_account(
    pool: AsyncConnectionPool, settings: Settings, database: Database
) -> None:
    await add_site(database)
    manager = await add_manager(database, "manager", "Résidence Exemple")
    async with transaction(pool) as connection:
        await accounts.invite(connection, settings, manager.id, actor="test", now=NOW)
    async with transaction(pool) as connection:
        at = NOW + timedelta(minutes=1)
        await closing.close_account(connection, settings, manager.id, now=at, by=DESK, told=False)
        assert (await accounts.get_person(connection, manager.id)).closed_at == at
    assert await rows(database, "SELECT to_at IS NOT NULL FROM client_manager") == [(True,)]
    assert await rows(database, "SELECT used_at IS NOT NULL FROM one_time_link") == [(True,)]
    assert await rows(database, "SELECT event FROM notification") == [("account.invited",)]


async def test_nobody_is_closed_who_is_not_there(
    pool: AsyncConnectionPool, settings: Settings
) -> None:
    async with transaction(pool) as connection:
        with pytest.raises(NotThere):
            await closing.close_account(connection, settings, 7, now=NOW, by=DESK)
