"""data.gouv.fr over its outlets: real HTTP, a real database, a peer with a real one's faults."""

import asyncio
import csv
import hashlib
import io
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool
from typer.testing import CliRunner

from csms.__main__ import app as command
from csms.config import SettingError, Settings, load
from csms.db import transaction
from csms.serve import open_service
from reporting import datagouv, outlet, outlet_desk, store_outlet
from reporting.datagouv_client import Client
from reporting.outlet import Done
from simulators.datagouv_peer import DataGouvPeer
from tests.conftest import free_ports
from tests.qualicharge_world import Clock
from tests.test_irve_publication import PUBLIC, SECRET, add_world

PAGE = "https://recharge.example.org"


@dataclass(slots=True)
class World:
    """Two sites with four public points among private ones, the peer, a clock."""

    pool: AsyncConnectionPool
    settings: Settings
    peer: DataGouvPeer
    clock: Clock

    async def push(self, settings: Settings | None = None) -> Done:
        """A worker that looks, and sends what is due, once."""
        chosen = settings or self.settings
        async with Client(chosen) as client:
            found = datagouv.outlets(chosen, client)
            return await outlet.deliver(self.pool, chosen, found, self.clock, self.clock.sleep)

    async def settle(self, rounds: int = 12) -> None:
        """Push until nothing waits, with time in between for what is tried later."""
        for _ in range(rounds):
            await self.push()
            if not await self.do("SELECT id FROM outlet_item WHERE status = 'waiting'"):
                return
            self.clock.go_on(minutes=20)
        raise AssertionError(await self.items())

    async def do(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """A statement, and its rows."""
        async with transaction(self.pool) as connection:
            cursor = await connection.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def change(self, power_w: int) -> None:
        """Another power of a public point: another content."""
        await self.do("UPDATE evse SET power_w_max = %s WHERE evse_uid = %s", power_w, PUBLIC[0])

    async def items(self, name: str = datagouv.STATIC) -> list[tuple[Any, ...]]:
        """(status, reason, reply) of an outlet's items, in the order of their making."""
        return await self.do(
            "SELECT status, reason, reply FROM outlet_item WHERE outlet = %s ORDER BY id", name
        )

    def uploaded(self) -> list[dict[str, str]]:
        """The rows of the file as the peer has it."""
        return list(csv.DictReader(io.StringIO(self.peer.content.decode(), newline="")))


@pytest.fixture
async def world(pool: AsyncConnectionPool, settings: Settings) -> AsyncIterator[World]:
    await add_world(pool)
    peer = DataGouvPeer()
    async with peer.serve() as url:
        chosen = replace(
            settings,
            irve_published=True,
            public_url=PAGE,
            datagouv_url=url,
            datagouv_key=peer.key,
            datagouv_organization=peer.organization,
            datagouv_dataset=peer.dataset,
            datagouv_static_resource=peer.file,
            datagouv_timeout_s=3.0,
        )
        yield World(pool, chosen, peer, Clock())


# What is sent.


async def test_the_file_is_uploaded_described_and_compared(world: World) -> None:
    assert (await world.push()).sent == 1
    assert [row["id_pdc_itinerance"] for row in world.uploaded()] == PUBLIC
    there = world.peer.resources[world.peer.file]
    assert (there["title"], there["type"]) == (datagouv.STATIC_TITLE, "main")
    assert there["schema"]["name"] == "etalab/schema-irve-statique"
    assert there["schema"]["version"] == "2.3.1"
    assert SECRET not in world.peer.content.decode()


async def test_what_was_sent_is_on_record(world: World) -> None:
    await world.push()
    async with world.pool.connection() as connection:
        (item,) = await store_outlet.list_items(connection, outlet=datagouv.STATIC, limit=9)
    content = world.peer.content
    assert (item.status, item.attempts) == ("sent", 1)
    assert item.body["wanted"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert (item.body["rows"], item.body["bytes"]) == (4, len(content))
    assert item.finished_at == world.clock.now
    assert item.reply is not None and item.reply.startswith(f"uploaded, {len(content)} bytes")
    assert world.peer.resources[world.peer.file]["url"] in item.reply


async def test_same_content_is_sent_once_and_another_again(world: World) -> None:
    for _ in range(3):
        await world.push()
        world.clock.go_on(days=1)
    assert len(world.peer.uploads) == 1
    await world.change(7_400)
    await world.push()
    assert len(world.peer.uploads) == 2
    await world.change(22_000)
    await world.push()
    assert len(world.peer.uploads) == 3, "as it was once, and is not there any more"
    assert [row[0] for row in await world.items()] == ["sent"] * 3


async def test_what_is_there_already_is_not_uploaded_again(world: World) -> None:
    await world.push()
    await world.do("DELETE FROM outlet_item")
    await world.push()
    assert len(world.peer.uploads) == 1
    assert "it was there already" in (await world.items())[0][2]


async def test_nothing_is_sent_before_there_is_a_public_point(world: World) -> None:
    await world.do("UPDATE station SET public = false")
    await world.do("UPDATE evse SET public = false")
    await world.push()
    assert (await world.items(), world.peer.calls) == ([], [])


async def test_point_that_went_private_leaves_the_file_even_as_the_last(world: World) -> None:
    await world.push()
    await world.do("UPDATE evse SET public = false WHERE evse_uid = %s", PUBLIC[0])
    await world.push()
    assert [row["id_pdc_itinerance"] for row in world.uploaded()] == PUBLIC[1:]
    await world.do("UPDATE evse SET public = false")
    await world.push()
    assert world.uploaded() == []
    assert world.peer.content.startswith(b"nom_amenageur,"), "a file of no points"


async def test_link_to_the_dynamic_file_is_told_once_and_again_when_it_moves(world: World) -> None:
    linked = replace(world.settings, datagouv_dynamic_resource=world.peer.link)
    await world.push(linked)
    await world.push(linked)
    there = world.peer.resources[world.peer.link]
    assert there["url"] == f"{PAGE}/irve/dynamique.csv"
    assert there["schema"]["name"] == "etalab/schema-irve-dynamique"
    assert [row[0] for row in await world.items(datagouv.LINK)] == ["sent"]
    await world.push(replace(linked, public_url="https://autre.example.org/"))
    assert there["url"] == "https://autre.example.org/irve/dynamique.csv"


# What is refused, here or there.


async def test_file_that_would_be_left_out_is_not_sent_and_the_desk_says_why(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = datagouv.publication.static_rows.Static.content

    def spoiled(self: Any) -> bytes:
        return good(self).replace(b"Acc\xc3\xa8s r\xc3\xa9serv\xc3\xa9", b"sur badge", 1)

    monkeypatch.setattr(datagouv.publication.static_rows.Static, "content", spoiled)
    await world.push()
    ((status, reason, _),) = await world.items()
    assert status == "dead" and world.peer.calls == []
    assert reason.startswith("not sent: the national consolidation would leave the whole file out")
    assert "condition_acces" in reason and PUBLIC[0] in reason
    monkeypatch.undo()
    await world.push()
    assert [row[0] for row in await world.items()] == ["dropped", "sent"]


async def test_file_with_more_points_than_set_is_not_sent(world: World) -> None:
    few = replace(world.settings, irve_points_max=3)
    await world.push(few)
    await world.push(few)
    ((status, reason, _),) = await world.items()
    assert (status, world.peer.calls) == ("dead", [])
    assert "more than irve_points_max (3)" in reason


async def test_wrong_point_is_held_back_and_the_others_are_sent(world: World) -> None:
    await world.do("UPDATE evse SET power_w_max = NULL WHERE evse_uid = %s", PUBLIC[0])
    await world.push()
    assert [row["id_pdc_itinerance"] for row in world.uploaded()] == PUBLIC[1:]
    assert await world.do("SELECT body ->> 'held_back' FROM outlet_item") == [("1",)]


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ({"may_edit": False}, "403"),
        ({"dataset": "5bc04b2cff66bd680e499f40"}, "404"),
        ({"is_deleted": True}, "410"),
        ({"upload_bytes_max": 100}, "413"),
        ({"organization": "5bbb6d6cff66bd4dc17bfd00"}, "belongs to organisation 5bbb6d6cff66bd4d"),
        ({"organization": None}, "belongs to a person"),
    ],
)
async def test_what_the_platform_refuses_waits_on_the_desk_until_it_is_mended(
    world: World, trouble: dict[str, Any], told: str
) -> None:
    right = {name: getattr(world.peer, name) for name in trouble}
    for name, value in trouble.items():
        setattr(world.peer, name, value)
    await world.push()
    ((status, reason, reply),) = await world.items()
    assert (status, reason) == ("dead", "refused by the peer")
    assert told in reply
    for name, value in right.items():
        setattr(world.peer, name, value)
    assert (await world.push()).sent == 0, "a person is to look at it"
    async with transaction(world.pool) as connection:
        await outlet_desk.retry_all(
            connection, world.settings, datagouv.STATIC, "test", world.clock.now
        )
    await world.push()
    assert len(world.peer.uploads) == 1


async def test_file_is_not_put_where_a_link_is_nor_a_link_where_a_file_is(world: World) -> None:
    crossed = replace(
        world.settings,
        datagouv_static_resource=world.peer.link,
        datagouv_dynamic_resource=world.peer.file,
    )
    await world.push(crossed)
    assert "is a link" in (await world.items())[0][2]
    assert "is a file" in (await world.items(datagouv.LINK))[0][2]
    assert {method for method, _, _ in world.peer.calls} == {"GET"}


async def test_schema_that_the_platform_does_not_know_is_told(world: World) -> None:
    await world.push(replace(world.settings, datagouv_schema_version="9.9"))
    ((status, _, reply),) = await world.items()
    assert status == "dead" and "400" in reply and "catalogue" in reply


async def test_wrong_key_stops_nothing_for_good_and_is_in_no_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = replace(world.settings, datagouv_key="a-wrong-secret")
    await world.push(wrong)
    await world.push()
    assert [row[0] for row in await world.items()] == ["waiting"], "left alone for a while"
    kept = str(await world.do("SELECT i::text, o::text FROM outlet_item i, outlet o"))
    for secret in ("a-wrong-secret", world.peer.key):
        assert secret not in caplog.text + repr(wrong) + repr(world.settings) + kept
    world.clock.go_on(hours=1)
    await world.push()
    assert len(world.peer.uploads) == 1


async def test_key_that_an_answer_repeats_is_not_kept(world: World) -> None:
    world.peer.may_edit = False
    shown = replace(world.settings, datagouv_key=world.peer.key)
    world.peer.denial = f"no right for {world.peer.key}"
    await world.push(shown)
    ((_, _, reply),) = await world.items()
    assert "no right for ***" in reply


# The peer in trouble.


async def test_platform_that_is_down_an_hour_gets_the_newest_file_later_once(world: World) -> None:
    gone = replace(world.settings, datagouv_url="http://127.0.0.1:9/api/1")
    for number in range(6):
        await world.change(22_000 - 100 * number)
        await world.push(gone)
        world.clock.go_on(minutes=10)
    ((failures, error),) = await world.do("SELECT failures, last_error FROM outlet")
    assert failures >= 3 and "Connect" in error
    await world.settle()
    assert len(world.peer.uploads) == 1
    assert world.uploaded()[0]["puissance_nominale"] == "21.5"
    assert {row[0] for row in await world.items()} == {"dropped", "sent"}


QUICK = (
    *("error", "busy", "unavailable", "lost_before", "lost_after", "cut_after", "cut_late"),
    *("error_after", "gateway_after"),
)


@pytest.mark.parametrize(
    ("fault", "request_number"),
    [
        *((fault, number) for fault in QUICK for number in range(4)),
        *(("silent_before", 2), ("silent_after", 2)),  # half a second each
    ],
)
async def test_request_that_fails_leaves_one_upload_in_the_end(
    world: World, fault: str, request_number: int
) -> None:
    """The requests are: whose is it, what is there, upload, describe."""
    world.peer.faults.extend([""] * request_number)
    world.peer.faults.append(fault)
    await world.push()
    assert [row[0] for row in await world.items()] == ["waiting"]
    world.clock.go_on(minutes=20)
    await world.settle()
    assert len(world.peer.uploads) == 1
    assert world.peer.resources[world.peer.file]["title"] == datagouv.STATIC_TITLE


async def test_upload_that_was_stored_otherwise_is_sent_again(world: World) -> None:
    world.peer.corrupted = 1
    await world.push()
    ((status, _, reply),) = await world.items()
    assert status == "waiting" and "it stored something else" in reply
    await world.settle()
    assert [row["id_pdc_itinerance"] for row in world.uploaded()] == PUBLIC
    assert len(world.peer.uploads) == 2


async def test_slow_platform_is_waited_for(world: World) -> None:
    world.peer.answer_after_s = 0.3
    assert (await world.push()).sent == 1


async def test_worker_killed_between_sending_and_marking_uploads_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: Any, **__: Any) -> None:
        raise SystemError("killed")

    with monkeypatch.context() as patched:
        for name in ("finish", "put_back", "note_answer"):
            patched.setattr(store_outlet, name, die)
        with pytest.raises(SystemError):
            await world.push()
    assert len(world.peer.uploads) == 1
    assert (await world.push()).sent == 0, "it is leased still"
    world.clock.go_on(seconds=world.settings.outlet_lease_s + 1)
    assert (await world.push()).sent == 1
    assert len(world.peer.uploads) == 1


async def test_two_workers_at_once_upload_once(world: World) -> None:
    world.peer.answer_after_s = 0.02
    done = await asyncio.gather(*(world.push() for _ in range(4)))
    assert sum(one.sent for one in done) == 1
    assert len(world.peer.uploads) == 1


async def test_file_that_changes_while_it_waits_is_sent_as_it_is_then(world: World) -> None:
    world.peer.fault = "unavailable"
    await world.push()
    await world.change(7_400)
    world.peer.fault = None
    world.clock.go_on(hours=1)
    await world.settle()
    assert [row[:2] for row in await world.items()] == [
        ("dropped", datagouv.ANOTHER),
        ("sent", None),
    ]
    assert world.uploaded()[0]["puissance_nominale"] == "7.4"


async def test_the_worker_sends_by_itself(world: World) -> None:
    (http_port,) = free_ports(1)
    quick = replace(world.settings, outlet_poll_s=0.1, http_port=http_port)
    async with open_service(quick, parts=("worker",)), asyncio.timeout(60):
        await world.peer.described.wait()
    assert [row["id_pdc_itinerance"] for row in world.uploaded()] == PUBLIC
    assert len(world.peer.uploads) == 1


# Settings and the command line.


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"T2P_DATAGOUV_KEY": ""}, "come together"),
        ({"T2P_DATAGOUV_DATASET": ""}, "come together"),
        ({"T2P_DATAGOUV_DATASET": "../users"}, "takes the identifier"),
        ({"T2P_DATAGOUV_KEY": "two words"}, "takes the API key"),
        ({"T2P_DATAGOUV_URL": "http://www.data.gouv.fr/api/1"}, "begins with https://"),
        ({"T2P_DATAGOUV_DYNAMIC_RESOURCE": "a-b"}, "needs T2P_IRVE_PUBLISHED=1"),
        ({"T2P_DATAGOUV_TIMEOUT_S": "600"}, "T2P_OUTLET_LEASE_S"),
    ],
)
def test_settings_that_could_not_work_are_refused(changed: dict[str, str], told: str) -> None:
    given = {
        "T2P_DATAGOUV_KEY": "key",
        "T2P_DATAGOUV_ORGANIZATION": "5bbb6d6cff66bd4dc17bfd5a",
        "T2P_DATAGOUV_DATASET": "5bc04b2cff66bd680e499f4a",
        "T2P_DATAGOUV_STATIC_RESOURCE": "54d47250-1daf-483b-965a-3013f8c76617",
    }
    assert datagouv.is_set(load(given))
    with pytest.raises(SettingError, match=told):
        load(given | changed)


def test_no_account_means_no_outlet() -> None:
    assert not datagouv.is_set(Settings())


async def run(world: World, *arguments: str) -> tuple[int, str]:
    """The command line, as an operator has it, beside the peer."""
    settings = world.settings
    environment = {
        "T2P_DATABASE_URL": str(settings.database_url),
        "T2P_DATABASE_OWNER_URL": str(settings.database_owner_url),
        "T2P_DATAGOUV_URL": settings.datagouv_url,
        "T2P_DATAGOUV_KEY": settings.datagouv_key,
        "T2P_DATAGOUV_ORGANIZATION": settings.datagouv_organization,
        "T2P_DATAGOUV_DATASET": settings.datagouv_dataset,
        "T2P_DATAGOUV_STATIC_RESOURCE": settings.datagouv_static_resource,
    }
    done = await asyncio.to_thread(CliRunner().invoke, command, arguments, env=environment)
    return done.exit_code, " ".join(done.output.split())


async def test_push_tells_what_it_would_send_then_what_it_sent(world: World) -> None:
    code, output = await run(world, "report", "push", "datagouv", "--dry-run")
    assert (code, world.peer.calls) == (0, []), output
    assert "irve-statique.csv: 4 points" in output and "1 items would be sent" in output
    assert await world.items() == []
    code, output = await run(world, "report", "push", "datagouv")
    assert code == 0 and "1 items made, 1 delivered" in output, output
    assert len(world.peer.uploads) == 1
    code, output = await run(world, "report", "status")
    assert code == 0 and "datagouv.static" in output


async def test_push_tells_why_the_platform_refuses(world: World) -> None:
    world.peer.may_edit = False
    _, output = await run(world, "report", "push", "datagouv")
    assert "datagouv.static" in output and "do not have the permission" in output
