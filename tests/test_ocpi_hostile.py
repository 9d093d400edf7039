"""Roaming under attack and in trouble: partners that send what breaks others, hubs that fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from csms.config import Settings
from csms.db import Database, transaction
from reporting.ocpi import partners
from reporting.ocpi.cdrs import Party
from reporting.ocpi.client import Client, Peer
from reporting.ocpi.objects import Credentials
from reporting.ocpi.partners import CannotUse
from reporting.outlet import Lost, Refused
from simulators.ocpi_hub import OcpiHub
from tests.ocpi_world import BADGE, CONTRACT, DESK, OWN, World, roaming, served
from tests.qualicharge_world import Clock

CREDENTIALS: dict[str, Any] = {
    "token": "t",
    "url": "http://127.0.0.1:9/ocpi/versions",
    "roles": [
        {
            "role": "HUB",
            "party_id": "107",
            "country_code": "FR",
            "business_details": {"name": "Exemple"},
        }
    ],
}
DEEP = b'{"status_code":1000,"data":' + b"[" * 200_000


@pytest.fixture
async def world(
    database: Database, pool: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[World]:
    clock = Clock()
    hub = OcpiHub(clock=clock)
    hub.add_token(BADGE, CONTRACT)
    settings = roaming(settings)
    async with hub.serve(), served(pool, settings):
        yield World(database, pool, settings, hub, clock)


@asynccontextmanager
async def answering(body: bytes) -> AsyncIterator[str]:
    """A server whose every answer is this; its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/ocpi"


# Addresses and answers that are none.

BAD_ADDRESSES = [
    "https://hub..example/ocpi",
    f"https://{'a' * 64}.example/ocpi",
    "https://hub.example:99999/ocpi",
    "https://hub.example:port/ocpi",
    "https://hub.example/\x01",
    "http://[::1/ocpi",
]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
async def test_an_address_that_is_none_is_a_refusal(settings: Settings, address: str) -> None:
    async with Client(roaming(settings), Party(*OWN)) as client:
        with pytest.raises(Refused):
            await client.call(Peer(Party("FR", "107"), "token"), "GET", address)


async def test_an_answer_that_is_nested_without_end_is_no_answer(settings: Settings) -> None:
    async with answering(DEEP) as address, Client(roaming(settings), Party(*OWN)) as client:
        with pytest.raises(Lost):
            await client.call(Peer(Party("FR", "107"), "token"), "GET", address)


async def test_a_partner_whose_module_is_nowhere_stops_nobody_else(world: World) -> None:
    await world.build()
    await world.do(
        "UPDATE ocpi_partner SET endpoints = %s",
        Jsonb([{"identifier": "locations", "role": "RECEIVER", "url": BAD_ADDRESSES[0]}]),
    )
    done = await world.push()
    assert (done.sent, done.dead) == (0, 1)


async def test_a_partner_that_registers_with_no_address_is_told_so(world: World) -> None:
    await world.build(registered=False)
    async with transaction(world.pool) as connection:
        await partners.invite(connection, world.settings, "hub", DESK, world.clock.now)
        partner = await partners.locked(connection, "hub")
    theirs = Credentials.model_validate(CREDENTIALS | {"url": BAD_ADDRESSES[0]})
    with pytest.raises(CannotUse) as refused:
        await partners.accept(world.pool, world.settings, partner, theirs, world.clock.now)
    assert refused.value.code == 3001
