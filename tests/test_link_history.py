"""The history of links: what every way in which a connection begins or ends leaves behind."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection

from csms import db
from csms.db import Database
from csms.store import connections

T0 = datetime(2026, 10, 1, 8, tzinfo=UTC)
SILENT_S = 15.0


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


@dataclass
class World:
    """One station and the statements by which nodes tell of it, at seconds after T0."""

    connection: AsyncConnection
    key: int

    async def node(self, name: str, *, started: float = 0, seen: float = 0) -> None:
        await connections.touch_node(self.connection, name, at(started), at(seen), False)

    async def opens(self, node: str, generation: int, seconds: float) -> set[int]:
        row = {
            "station_key": self.key,
            "node": node,
            "generation": generation,
            "protocol": "ocpp1.6",
            "remote_address": "192.0.2.1",
            "connected_at": at(seconds),
        }
        return await connections.open_connections(self.connection, [row], node, SILENT_S)

    async def touches(
        self, node: str, generation: int, seen: float, gone: float | None = None
    ) -> set[int]:
        row = {
            "station_key": self.key,
            "generation": generation,
            "last_seen_at": at(seen),
            "disconnected_at": None if gone is None else at(gone),
        }
        return await connections.touch_connections(self.connection, node, [row])

    async def history(self) -> list[tuple[float, bool]]:
        """Seconds after T0 and whether the link is up from then on, in the order of time."""
        cursor = await self.connection.execute(
            "SELECT at, up FROM station_link WHERE station_key = %s ORDER BY at, id", (self.key,)
        )
        return [((moment - T0).total_seconds(), up) for moment, up in await cursor.fetchall()]


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with await db.connect(database) as connection:
        await connection.execute("INSERT INTO station (id) VALUES ('CP1')")
        cursor = await connection.execute("SELECT station_key FROM station")
        ((key,),) = await cursor.fetchall()
        world = World(connection, key)
        await world.node("a", started=-60)
        await world.node("b", started=-60)
        yield world


async def test_a_station_that_comes_and_goes_is_told_in_order(world: World) -> None:
    await world.opens("a", 1, 0)
    await world.touches("a", 1, 50)
    await world.touches("a", 1, 90, gone=100)
    await world.opens("a", 2, 130)
    assert await world.history() == [(0, True), (100, False), (130, True)]


async def test_what_is_told_twice_is_in_the_history_once(world: World) -> None:
    for _ in range(2):
        await world.opens("a", 1, 0)
    for _ in range(2):
        await world.touches("a", 1, 90, gone=100)
    assert await world.history() == [(0, True), (100, False)]


async def test_the_late_end_of_an_old_connection_is_no_outage(world: World) -> None:
    await world.opens("a", 1, 0)
    await world.opens("a", 2, 100)
    assert await world.touches("a", 1, 90, gone=101) == set()
    assert await world.history() == [(0, True), (100, True)]


async def test_a_station_that_moves_to_another_node_that_lives_has_no_outage(
    world: World,
) -> None:
    await world.opens("a", 1, 0)
    await world.node("a", started=-60, seen=95)
    await world.opens("b", 2, 100)
    assert await world.history() == [(0, True), (100, True)]


async def test_a_station_whose_node_was_killed_was_there_until_it_was_last_heard(
    world: World,
) -> None:
    """It comes back at another node before anybody found the first one dead."""
    await world.opens("a", 1, 0)
    await world.touches("a", 1, 60)
    await world.node("a", started=-60, seen=61)
    await world.opens("b", 2, 80)
    assert await world.history() == [(0, True), (60, False), (80, True)]


async def test_a_node_that_is_back_after_a_kill_ends_the_links_of_its_former_life(
    world: World,
) -> None:
    await world.opens("a", 1, 0)
    await world.touches("a", 1, 60)
    await connections.close_connections_of(world.connection, "a", at(200), cut=True)
    await world.opens("a", 2, 210)
    assert await world.history() == [(0, True), (60, False), (210, True)]


async def test_a_former_life_that_nobody_ended_is_found_when_the_station_is_back(
    world: World,
) -> None:
    """The database was away when the node began anew."""
    await world.opens("a", 1, 0)
    await world.touches("a", 1, 60)
    await world.node("a", started=190, seen=200)
    await world.opens("a", 2, 210)
    assert await world.history() == [(0, True), (60, False), (210, True)]


async def test_a_node_that_ends_in_order_held_its_stations_until_then(world: World) -> None:
    await world.opens("a", 1, 0)
    await connections.close_connections_of(world.connection, "a", at(200), cut=False)
    assert await world.history() == [(0, True), (200, False)]


async def test_the_links_of_a_dead_node_end_when_each_station_was_last_heard(
    world: World,
) -> None:
    await world.opens("a", 1, 0)
    await world.touches("a", 1, 60)
    assert await connections.close_connections_of_the_dead(world.connection, at(1_000)) == 1
    assert await connections.close_connections_of_the_dead(world.connection, at(1_000)) == 0
    assert await world.history() == [(0, True), (60, False)]


async def test_a_node_that_was_taken_for_dead_and_is_not_leaves_no_outage(world: World) -> None:
    """The database was away, and whoever watches the nodes looked before this one could speak."""
    await world.opens("a", 1, 0)
    await world.touches("a", 1, 60)
    await connections.close_connections_of_the_dead(world.connection, at(1_000))
    await world.touches("a", 1, 1_001)
    assert await world.history() == [(0, True), (60, False), (60.000001, True)]


async def test_a_station_taken_for_dead_that_left_later_was_there_until_then(
    world: World,
) -> None:
    await world.opens("a", 1, 0)
    await world.touches("a", 1, 60)
    await connections.close_connections_of_the_dead(world.connection, at(1_000))
    await world.touches("a", 1, 1_001, gone=1_005)
    assert await world.history() == [(0, True), (60, False), (60.000001, True), (1_005, False)]


async def test_a_link_that_came_up_before_the_other_was_told_to_be_down_is_up_after_it(
    world: World,
) -> None:
    """A station opens its new socket before it closes the old one, and the news cross."""
    await world.opens("a", 1, 0)
    await world.touches("a", 1, 90, gone=100.5)
    await world.opens("b", 2, 100.2)
    assert await world.history() == [(0, True), (100.5, False), (100.500001, True)]


async def test_the_history_is_never_rewritten(world: World) -> None:
    await world.opens("a", 1, 0)
    for statement in ("UPDATE station_link SET up = false", "DELETE FROM station_link"):
        with pytest.raises(Exception, match="permission denied"):
            await world.connection.execute(statement.encode())
