"""Webhooks against a real receiver: signed, once, to where they may go and nowhere else."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from csms import db, notices, outbound
from csms.config import Settings
from csms.db import Database
from csms.notifications import announce
from csms.notifications.delivery import deliver_due
from csms.registry import Refusal
from tests.recorder_node import as_owner, query

NOW = datetime(2026, 11, 22, 13, 5, tzinfo=UTC)


@dataclass
class Receiver:
    """An HTTP server that answers as it is told, and keeps what it was sent."""

    port: int = 0
    status: int = 200
    body: bytes = b"ok"
    location: str | None = None
    silent: asyncio.Event | None = None  # answers when this is set
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        headers = {"request": lines[0]}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        content = await reader.readexactly(int(headers["content-length"]))
        self.requests.append((headers, content))
        if self.silent is not None:
            await self.silent.wait()
        answer = f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(self.body)}\r\n"
        if self.location:
            answer += f"Location: {self.location}\r\n"
        writer.write(answer.encode() + b"Connection: close\r\n\r\n" + self.body)
        writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    listening = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    if made.silent is not None:
        made.silent.set()
    listening.close()
    await listening.wait_closed()


@pytest.fixture
def local(settings: Settings) -> Settings:
    return replace(settings, webhook_hosts="127.0.0.1")


async def create(
    pool: AsyncConnectionPool, settings: Settings, url: str, **values: Any
) -> tuple[int, str]:
    more = {"client_id": None, "events": [], "created_by": "test", "now": NOW} | values
    async with db.transaction(pool) as connection:
        return await notices.create_webhook(connection, settings, url=url, **more)


async def tell(pool: AsyncConnectionPool, event: str = "station.offline", **values: Any) -> None:
    more = {"now": NOW, "subject": "station CP-1", "data": {"station_id": "CP-1"}} | values
    async with db.transaction(pool) as connection:
        await announce(connection, event, **more)


async def send(
    pool: AsyncConnectionPool, settings: Settings, later: timedelta = timedelta(0)
) -> int:
    return await deliver_due(pool, settings, lambda: NOW + later)


async def states(database: Database) -> list[Any]:
    return await query(database, "SELECT status, reply FROM notification_delivery ORDER BY id")


async def test_a_message_is_signed_and_its_signature_proves_it(
    database: Database, pool: AsyncConnectionPool, local: Settings, receiver: Receiver
) -> None:
    _, secret = await create(pool, local, receiver.url)
    await tell(pool)
    assert await send(pool, local) == 1
    assert await send(pool, local) == 0
    ((headers, body),) = receiver.requests
    assert headers["request"] == "POST /hook?x=1 HTTP/1.1"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    parts = dict(part.split("=") for part in headers["t2p-signature"].split(","))
    assert int(parts["t"]) == int(NOW.timestamp())

    def mac(secret: str, body: bytes) -> str:
        signed = parts["t"].encode() + b"." + body
        return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()

    assert hmac.compare_digest(parts["v1"], mac(secret, body))
    assert parts["v1"] != mac(secret, body.replace(b"CP-1", b"CP-2")), "a forged body"
    assert parts["v1"] != mac(secret + "x", body), "a forger without the secret"
    content = json.loads(body)
    assert content.pop("id") == headers["t2p-message-id"]
    assert content == {
        "event": "station.offline",
        "at": "2026-11-22T13:05:00Z",
        "client_id": 1,
        "subject": "station CP-1",
        "data": {"station_id": "CP-1"},
    }
    assert await states(database) == [("sent", "200 ok")]
    ((sealed,),) = await query(database, "SELECT secret FROM webhook")
    assert secret.encode() not in sealed


@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
async def test_any_other_answer_is_tried_again_with_the_same_id(
    database: Database,
    pool: AsyncConnectionPool,
    local: Settings,
    receiver: Receiver,
    status: int,
) -> None:
    await create(pool, local, receiver.url)
    await tell(pool)
    receiver.status, receiver.location = status, receiver.url + "&redirected=1"
    assert await send(pool, local) == 0
    assert len(receiver.requests) == 1, "no redirect is followed"
    assert await states(database) == [("waiting", f"{status} ok")]
    receiver.status, receiver.location = 204, None
    receiver.body = b""
    assert await send(pool, local, timedelta(minutes=1)) == 1
    (first, first_body), (second, second_body) = receiver.requests
    assert first["t2p-message-id"] == second["t2p-message-id"]
    assert first_body == second_body
    assert first["t2p-signature"] != second["t2p-signature"], "signed anew: it is of now"


async def test_a_receiver_that_says_gone_is_not_asked_again(
    database: Database, pool: AsyncConnectionPool, local: Settings, receiver: Receiver
) -> None:
    await create(pool, local, receiver.url)
    await tell(pool)
    receiver.status = 410
    assert await send(pool, local) == 0
    assert await send(pool, local, timedelta(hours=2)) == 0
    assert len(receiver.requests) == 1
    assert await query(database, "SELECT status, reason FROM notification_delivery") == [
        ("dead", "410 ok")
    ]


async def test_a_receiver_that_never_answers_or_never_ends_is_cut(
    database: Database, pool: AsyncConnectionPool, local: Settings, receiver: Receiver
) -> None:
    await create(pool, local, receiver.url)
    await tell(pool)
    receiver.silent = asyncio.Event()
    assert await send(pool, replace(local, webhook_timeout_s=0.2)) == 0
    receiver.silent.set()
    receiver.body = b"x" * 1_000_000
    assert await send(pool, local, timedelta(minutes=1)) == 0
    ((status, reply),) = await states(database)
    assert status == "waiting" and "more than 65536 bytes" in reply


async def test_what_waits_for_a_receiver_in_trouble_waits_together(
    database: Database, pool: AsyncConnectionPool, local: Settings, receiver: Receiver
) -> None:
    await create(pool, local, receiver.url)
    for number in range(20):
        await tell(pool, subject=f"station CP-{number}")
    receiver.status = 500
    await send(pool, local)
    assert len(receiver.requests) <= 8, "the lanes that were under way, no more"
    receiver.status = 200
    assert await send(pool, local, timedelta(minutes=1)) == 20


async def test_a_client_is_told_of_itself_and_the_operator_of_all(
    database: Database, pool: AsyncConnectionPool, local: Settings, receiver: Receiver
) -> None:
    await as_owner(database, "INSERT INTO client (name) VALUES ('A'), ('B')")
    await create(pool, local, receiver.url + "&who=operator")
    await create(pool, local, receiver.url + "&who=A", client_id=2)
    await create(pool, local, receiver.url + "&who=B", client_id=3, events=["station.back"])
    for client_id in (2, 3):
        await tell(pool, client_id=client_id, subject=str(client_id))
    assert await send(pool, local) == 3
    told = sorted(
        (headers["request"].split("who=")[1].split()[0], json.loads(body)["client_id"])
        for headers, body in receiver.requests
    )
    assert told == [("A", 2), ("operator", 2), ("operator", 3)]


async def test_accounts_of_people_are_no_machines_business(
    database: Database, pool: AsyncConnectionPool, local: Settings, receiver: Receiver
) -> None:
    await as_owner(database, "INSERT INTO person (email) VALUES ('camille@example.org')")
    await create(pool, local, receiver.url)
    await tell(pool, "account.password_changed", person_id=1)
    await send(pool, local)
    assert receiver.requests == []
    async with db.transaction(pool) as connection:
        with pytest.raises(Refusal, match=r"not told of account\.password_changed"):
            await notices.create_webhook(
                connection,
                local,
                client_id=None,
                url=receiver.url,
                events=["account.password_changed"],
                created_by="test",
                now=NOW,
            )


async def test_a_retired_webhook_gets_nothing_that_waits(
    database: Database, pool: AsyncConnectionPool, local: Settings, receiver: Receiver
) -> None:
    await create(pool, local, receiver.url)
    await tell(pool)
    receiver.status = 500
    await send(pool, local)
    await as_owner(database, "UPDATE webhook SET retired_at = now()")
    assert await send(pool, local, timedelta(minutes=1)) == 0
    assert await query(database, "SELECT status, reason FROM notification_delivery") == [
        ("dropped", "the webhook is no more")
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/hook",
        "ftp://example.org/",
        "https:///hook",
        "https://user:secret@example.org/",
        "https://example.org:99999/",
        "https://example.org/#part",
        "https://example.org/a b",
        "https://exämple.org/",
        "javascript:alert(1)",
        "https://example.org/" + "x" * 2_000,
    ],
)
async def test_an_address_that_may_not_be_is_refused(
    pool: AsyncConnectionPool, settings: Settings, url: str
) -> None:
    with pytest.raises(Refusal) as refusal:
        await create(pool, settings, url)
    assert refusal.value.field == "url"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "[::1]", "169.254.169.254"])
async def test_nothing_is_sent_into_our_own_network(
    database: Database, pool: AsyncConnectionPool, settings: Settings, host: str
) -> None:
    await create(pool, settings, f"https://{host}/hook")
    await tell(pool)
    assert await send(pool, settings) == 0
    ((status, reason),) = await query(database, "SELECT status, reason FROM notification_delivery")
    assert status == "dead" and "not a public address" in reason


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "0.0.0.0"),
        *("::1", "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "224.0.0.1"),
        *("2002:a00:1::", "64:ff9b::a00:1", "2001:0:a00:1:0:0:f5ff:fffe", "ff02::1"),
        *("::127.0.0.1", "::ffff:0:a00:1", "64:ff9b:1::a00:1", "fec0::1", "5f00::1"),
    ],
)
def test_no_form_of_a_private_address_is_public(address: str) -> None:
    assert not outbound.is_public(address)


def test_public_addresses_are_public() -> None:
    for address in ("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8"):
        assert outbound.is_public(address)


async def test_a_client_has_only_so_many(pool: AsyncConnectionPool, settings: Settings) -> None:
    few = replace(settings, webhooks_per_client_entries_max=2)
    for _ in range(2):
        await create(pool, few, "https://example.org/")
    with pytest.raises(Refusal, match="up to 2 webhooks"):
        await create(pool, few, "https://example.org/")
