"""Roaming under attack and in trouble: partners that send what breaks others, hubs that fail."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from billing import pricing
from csms import secrets, serve
from csms.authorization import decide
from csms.config import Settings
from csms.db import Database, transaction
from csms.domain.station import Station
from csms.exchange import ROAMING, Question
from csms.store import lookup
from reporting import store_ocpi
from reporting.ocpi import ordering, partners, telling
from reporting.ocpi.authorizing import Authorizer
from reporting.ocpi.cdrs import Party
from reporting.ocpi.client import Client, Peer
from reporting.ocpi.objects import CommandResponse, Credentials, StartSession, StopSession
from reporting.ocpi.partners import CannotUse
from reporting.outlet import Lost, Refused
from simulators.ocpi_hub import OcpiHub
from tests.ocpi_world import BADGE, CONTRACT, DESK, OWN, World, name_of, roaming, served
from tests.qualicharge_world import Clock
from tests.scenarios.gate import PATIENCE_S

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
        invited = await partners.invite(connection, world.settings, "hub", DESK, world.clock.now)
        partner = await partners.locked(connection, "hub")
    theirs = Credentials.model_validate(CREDENTIALS | {"url": BAD_ADDRESSES[0]})
    with pytest.raises(CannotUse) as refused:
        await partners.accept(
            world.pool, world.settings, partner, invited.token, theirs, world.clock.now
        )
    assert refused.value.code == 3001


# Badges that are ours, and places that are not theirs.


async def order(world: World, **more: Any) -> CommandResponse:
    """START_SESSION of the hub's driver at the first point."""
    token = {
        "country_code": "FR",
        "party_id": "EMP",
        "uid": BADGE,
        "type": "RFID",
        "contract_id": CONTRACT,
        "issuer": "Exemple",
        "valid": True,
        "whitelist": "NEVER",
        "last_updated": "2026-11-01T10:00:00Z",
    }
    asked = StartSession.model_validate(
        {
            "response_url": f"{world.hub.base_url}/x/1",
            "token": token | more,
            "location_id": "tilleuls",
            "evse_uid": name_of(1),
        }
    )
    async with transaction(world.pool) as connection:
        partner = await partners.locked(connection, "hub")
        return await ordering.start(connection, world.settings, partner, asked, world.clock.now)


async def test_a_partner_does_not_start_in_the_name_of_a_driver_of_ours(world: World) -> None:
    """The station would show us our own badge, and our driver would pay."""
    await world.build()
    await world.push()
    await world.do("INSERT INTO token (uid, uid_key) VALUES ('04DEADBEEF01', '04deadbeef01')")
    assert (await order(world, uid="04DEADBEEF01")).result == "ACCEPTED"
    ((payload,),) = await world.do("SELECT payload FROM command")
    payload = json.loads(payload)
    assert payload["idTag"].upper() != "04DEADBEEF01"
    ((key, uid),) = await world.do("SELECT uid_key, token ->> 'uid' FROM roaming_grant")
    assert (key, uid) == (payload["idTag"].lower(), "04DEADBEEF01")


async def test_an_order_that_is_repeated_gets_the_answer_that_it_got(world: World) -> None:
    """Its first answer was lost on the way; meanwhile the station did what it says."""
    await world.build()
    await world.push()
    assert (await order(world)).result == "ACCEPTED"
    session_id = await world.begin_session()
    assert (await order(world)).result == "ACCEPTED"
    await world.push()
    asked = StopSession(response_url=f"{world.hub.base_url}/x/2", session_id=str(session_id))
    answers = []
    for _ in range(2):
        async with transaction(world.pool) as connection:
            partner = await partners.locked(connection, "hub")
            answer = await ordering.stop(
                connection, world.settings, partner, asked, world.clock.now
            )
        answers.append(answer.result)
        await world.end_session(session_id, 1_000)
    assert answers == ["ACCEPTED", "ACCEPTED"]
    ((count,),) = await world.do("SELECT count(*) FROM command")
    assert count == 2


async def test_what_a_partner_allowed_lets_nobody_charge_where_it_is_not_told_of(
    world: World,
) -> None:
    """A public point of another client, some minutes after the driver charged at a site that
    roams."""
    await world.build()
    await world.place(1, "elsewhere")
    await world.grant()
    async with world.pool.connection() as connection:
        (token,) = await lookup.fetch_tokens(connection, [BADGE.lower()], ["elsewhere"])
        ((key,),) = await world.do("SELECT station_key FROM station WHERE id = 'CP-elsewhere'")
    station = Station(key, "CP-elsewhere")
    station.site_id, station.public_evses = "elsewhere", frozenset({1})
    assert station.is_public(1)
    now = world.clock.now + timedelta(minutes=1)
    assert decide(token, station, now, 1).status == "NotAtThisLocation"
    station.site_id = "tilleuls"
    assert decide(token, station, now, 1).status == "Accepted"


async def test_two_partners_with_one_card_each_pay_their_own_session(world: World) -> None:
    """The other partner allowed the same card somewhere else, a moment later."""
    await world.build()
    await world.place(1, "elsewhere")
    await world.push()
    await world.grant()
    await world.do(
        """
        WITH p AS (INSERT INTO ocpi_partner (slug, name, country_code, party_id, person_id,
                                             created_at, created_by)
                   SELECT 'other', name, 'FR', '108', person_id, created_at, created_by
                     FROM ocpi_partner RETURNING id)
        INSERT INTO roaming_grant (partner_id, client_id, station_key, evse_id, uid_key, allowed,
                                   method, token, at, valid_until)
        SELECT p.id, s.client_id, s.station_key, 1, g.uid_key, allowed, method, token, g.at,
               valid_until
          FROM p, roaming_grant g, station s WHERE s.id = 'CP-elsewhere'
        """
    )
    session_id = await world.begin_session()
    rows = await world.do(
        "SELECT slug FROM roaming_session r JOIN ocpi_partner p ON p.id = r.partner_id"
        " WHERE session_id = %s",
        session_id,
    )
    assert rows == [("hub",)]


async def test_an_invitation_that_was_used_meanwhile_registers_nobody(world: World) -> None:
    """Two that hold it read versions at the same time; the second comes too late."""
    await world.build(registered=False)
    async with transaction(world.pool) as connection:
        invited = await partners.invite(connection, world.settings, "hub", DESK, world.clock.now)
        stale = await store_ocpi.find_by_token(connection, partners.sha256(invited.token))
    assert stale is not None
    await world.hub.register(invited.versions_url, invited.token)
    theirs = Credentials.model_validate(CREDENTIALS | {"url": world.hub.versions_url})
    world.hub.invite("t")
    with pytest.raises(CannotUse):
        await partners.accept(
            world.pool, world.settings, stale, invited.token, theirs, world.clock.now
        )
    assert (await world.push()).failures == 0, "the hub's own registration stands"


def test_no_badge_stands_in_the_log(settings: Settings) -> None:
    """The client of HTTP would tell every address that it asks."""
    serve.set_up_log(replace(settings, log_level="INFO"))
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)


# Partners in trouble.


async def join_by(world: World, slug: str, url: str) -> None:
    """Another partner, registered, with all modules at the address; told of the site too."""
    await world.do(
        """
        WITH p AS (INSERT INTO ocpi_partner (slug, name, country_code, party_id, person_id,
                                             our_sha256, their_token, endpoints, registered_at,
                                             created_at, created_by)
                   SELECT %(slug)s, name, 'FR', '108', person_id, sha256(%(slug)s::text::bytea),
                          %(token)s, %(endpoints)s, registered_at, created_at, created_by
                     FROM ocpi_partner WHERE slug = 'hub' RETURNING id)
        INSERT INTO ocpi_site (partner_id, site_id, feed, from_at, created_by)
        SELECT p.id, site_id, feed, from_at, o.created_by FROM p, ocpi_site o
        """,
        slug=slug,
        token=secrets.seal(world.settings, "token"),
        endpoints=Jsonb(
            [
                {"identifier": name, "role": role, "url": f"{url}/{name}"}
                for name, role in (("locations", "RECEIVER"), ("tokens", "SENDER"))
            ]
        ),
    )


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A server that takes requests and answers none; its address, and that it was asked."""
    asked, over = asyncio.Event(), asyncio.Event()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await over.wait()
        writer.close()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
        over.set()


async def test_a_partner_that_does_not_answer_keeps_no_other_waiting(world: World) -> None:
    world.clock.now = datetime.now(UTC)  # as `run` has it
    await world.build()
    await world.push()
    settings = replace(world.settings, ocpi_timeout_s=60.0, ocpi_poll_s=0.05)
    async with silent() as (address, asked):
        await join_by(world, "other", address)
        task = asyncio.create_task(telling.run(world.pool, settings))
        try:
            await asyncio.wait_for(asked.wait(), PATIENCE_S)
            await world.status(1, "charging")
            place = world.hub.locations[(*OWN, "tilleuls")]
            async with asyncio.timeout(PATIENCE_S):
                while place["evses"][0]["status"] != "CHARGING":
                    await asyncio.sleep(0.02)
                    place = world.hub.locations[(*OWN, "tilleuls")]
        finally:
            task.cancel()
            await asyncio.wait([task])


async def content_of(world: World) -> dict[str, Any]:
    """A question about the badge, at the station."""
    ((key,),) = await world.do("SELECT station_key FROM station WHERE id = 'CP-tilleuls'")
    return {
        "uid": BADGE,
        "type": "ISO14443",
        "station_key": key,
        "evse_id": None,
        "site_id": "tilleuls",
        "client_id": world.client_id,
        "at": world.clock.now,
    }


async def test_a_partner_that_does_not_answer_keeps_no_driver_of_another_waiting(
    world: World,
) -> None:
    await world.build()
    settings = replace(world.settings, ocpi_timeout_s=60.0, ocpi_authorize_timeout_s=60.0)
    async with silent() as (address, asked), asyncio.timeout(PATIENCE_S):
        await join_by(world, "other", address)
        asking = Authorizer(world.pool, settings, world.clock)
        task = asyncio.create_task(asking.run())
        while not asking.is_at("tilleuls"):  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.01)
        await asking.ask(Question(ROAMING, await content_of(world)))
        await asked.wait()
        task.cancel()
        await asyncio.wait([task])
    assert await world.do("SELECT allowed FROM roaming_grant") == [("ALLOWED",)]


async def shown(world: World, settings: Settings) -> tuple[str, timedelta]:
    """The badge is shown at the station: what is kept of it, and for how long it holds."""
    asking = Authorizer(world.pool, settings, world.clock)
    task = asyncio.create_task(asking.run())
    async with asyncio.timeout(PATIENCE_S):
        while not asking.is_at("tilleuls"):  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.01)
        await asking.ask(Question(ROAMING, await content_of(world)))
    task.cancel()
    await asyncio.wait([task])
    ((allowed, until),) = await world.do(
        "SELECT allowed, valid_until FROM roaming_grant ORDER BY id DESC LIMIT 1"
    )
    return allowed, until - world.clock.now


async def test_a_driver_may_end_what_she_began_whatever_the_hub_says_by_then(
    world: World,
) -> None:
    await world.build()
    assert (await shown(world, world.settings))[0] == "ALLOWED"
    session_id = await world.begin_session()
    world.clock.go_on(hours=2)
    world.hub.add_token(BADGE, CONTRACT, allowed="NO_CREDIT")
    allowed, lasts = await shown(world, world.settings)
    assert allowed == "ALLOWED"
    assert lasts < timedelta(seconds=30), "to end it, not to begin another"
    await world.end_session(session_id, 1_000)
    assert (await shown(world, world.settings))[0] == "NO_CREDIT"


async def test_a_session_that_began_before_its_site_left_is_told_to_its_end(
    world: World,
) -> None:
    await world.build()
    await world.push()
    await world.grant()
    session_id = await world.begin_session()
    world.clock.go_on(seconds=1)
    async with transaction(world.pool) as connection:
        await partners.end_feed(connection, "hub", "tilleuls", "roaming", DESK, world.clock.now)
    await world.push()
    await world.end_session(session_id, 4_000)
    world.clock.go_on(seconds=1)
    await pricing.run(world.pool, now=world.clock.now)
    await world.push()
    assert world.hub.cdrs[(*OWN, str(session_id))]["total_energy"] == 4


async def test_a_place_abroad_with_a_long_postal_code_stops_nobody_else(world: World) -> None:
    await world.build()
    await world.place(1, "abroad")
    async with transaction(world.pool) as connection:
        await partners.tell_of(connection, "hub", "abroad", "roaming", DESK, world.clock.now)
    await world.do(
        "UPDATE site SET static = static || %s WHERE id = 'abroad'",
        Jsonb({"country": "IRL", "postal_code": "D02 AF30 DUBLIN"}),
    )
    world.clock.go_on(seconds=1)
    await world.push()
    assert {key[2] for key in world.hub.locations} == {"tilleuls", "abroad"}
