"""Unpaid invoices on a real database: letters, blocks, and what stations and drivers are told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool
from typer.testing import CliRunner
from websockets.asyncio.client import ClientConnection

from billing import (
    books,
    checks,
    collecting,
    ledger,
    own_sales,
    payment_blocks,
    reminders,
)
from csms import db, worker
from csms.__main__ import app as verbs
from csms.config import SettingError, Settings, load
from csms.db import Database, transaction
from csms.registry import NotThere, Refusal
from csms.store import local_authorization as store
from csms.web.app import create_app
from csms.wire import badges
from tests import billing_world as world
from tests.billing_world import MONTH, rows
from tests.people import add_person, log_in
from tests.recorder_node import event
from tests.scenarios import payments
from tests.scenarios.gate import Gate, ask, boot, open_gate
from tests.scenarios.payments import DESK
from tests.test_commands import boot_201

ISSUED = datetime(2026, 10, 6, 9, tzinfo=UTC)
DUE = date(2026, 11, 5)
NOTICE_DAY = 42  # past due; the block comes on 28 December, 53 days past due


def after(days: int, hour: int = 9) -> datetime:
    """A moment so many days past due."""
    return datetime(DUE.year, DUE.month, DUE.day, hour, tzinfo=UTC) + timedelta(days)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return payments.with_accounts(settings)


@pytest.fixture
async def client_id(database: Database, pool: AsyncConnectionPool, settings: Settings) -> int:
    """A client with an open invoice of 40 EUR to a driver with a badge, and public stations."""
    made = await world.add_client(database, "Copropriété A", invoicing="per_use")
    person_id = await world.add_driver(database, "anne")
    await world.add_sessions(database, made, person_id, [4_000])
    await payments.bill(pool, made, MONTH, after(-30), settings)
    async with await db.connect(database, owner=True) as connection:
        await connection.execute("UPDATE station SET public = true")
        await connection.execute(
            """
            WITH badge AS (INSERT INTO token (uid, uid_key) VALUES ('BADGE1', 'badge1')
                           RETURNING token_key, uid_key)
            INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
            SELECT token_key, uid_key, %s, '2026-01-01' FROM badge
            """,
            (person_id,),
        )
    return made


@pytest.fixture
async def person_id(pool: AsyncConnectionPool, client_id: int) -> int:
    ((found,),) = await rows(pool, "SELECT person_id FROM driver")
    return int(found)


async def remind(
    pool: AsyncConnectionPool,
    settings: Settings,
    days: int,
    *,
    arrives: bool = True,
    **how: Any,
) -> reminders.Reminded:
    """A run on a day; where it gives notice, the driver receives it."""
    done = await reminders.remind(pool, after(days), settings=settings, **how)
    if done.notices and arrives and not how.get("dry_run"):
        await deliver(pool, after(days, hour=10))
    return done


async def deliver(pool: AsyncConnectionPool, at: datetime, status: str = "sent") -> None:
    """A mail server takes, or (dead) refuses, the notices of a block."""
    async with transaction(pool) as connection:
        await connection.execute(
            """
            INSERT INTO notification_delivery (notification_id, client_id, channel, person_id,
                                               status, created_at, next_at, give_up_at, finished_at)
            SELECT id, client_id, 'email', person_id, %(status)s, %(at)s, %(at)s, %(at)s, %(at)s
              FROM notification WHERE event = 'invoice.block_announced'
            ON CONFLICT DO NOTHING
            """,
            {"status": status, "at": at},
        )


async def block(pool: AsyncConnectionPool, settings: Settings) -> None:
    """Let the days pass until the driver is blocked."""
    blocked = 0
    for days in (7, 21, 35, NOTICE_DAY, 53):
        blocked += (await remind(pool, settings, days)).blocked
    assert blocked == 1


async def events(pool: AsyncConnectionPool) -> Counter[str]:
    found = await rows(
        pool,
        "SELECT event FROM notification WHERE event LIKE '%%invoice%%' OR event LIKE 'driver.%%'",
    )
    return Counter(event for (event,) in found)


async def open_blocks(pool: AsyncConnectionPool) -> int:
    ((count,),) = await rows(pool, "SELECT count(*) FROM payment_block WHERE until_at IS NULL")
    return int(count)


async def standing(pool: AsyncConnectionPool) -> int:
    ((count,),) = await rows(pool, "SELECT count(*) FROM standing_block")
    return int(count)


async def nothing_is_wrong(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:
        assert ledger.faults(Counter(await books.balances(connection))) == []
        found = await checks.find_offences(connection, after(60))
    assert {check.name: told for check, told in found if told} == {}


# --- Letters ------------------------------------------------------------------------------------


async def test_letters_go_out_each_on_its_day_and_each_once(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    told = []
    for days in range(60):
        for _ in range(2):
            done = await remind(pool, settings, days)
            if done:
                told.append((days, done.reminders, done.notices, done.blocked))
    assert told == [
        (7, {1: 1}, 0, 0),
        (21, {2: 1}, 0, 0),
        (35, {3: 1}, 0, 0),
        (NOTICE_DAY, {}, 1, 0),
        (53, {}, 0, 1),
    ]
    assert await rows(pool, "SELECT level, takes_effect_on FROM reminder ORDER BY id") == [
        (1, None),
        (2, None),
        (3, None),
        (0, date(2026, 12, 28)),
    ]
    assert await events(pool) == {
        "invoice.reminded": 3,
        "invoice.block_announced": 1,
        "driver.blocked": 1,
    }
    ((data,),) = await rows(
        pool, "SELECT data FROM notification WHERE event = 'invoice.block_announced'"
    )
    assert (data["client"], data["amount_cents"]) == ("Copropriété A", 4_000)
    assert (data["blocked_on"], data["iban"]) == ("2026-12-28", payments.MANDATE_IBAN)


async def test_a_dry_run_tells_the_same_and_writes_nothing(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    seen: list[tuple[int, int]] = []
    for _ in range(2):
        done = await remind(
            pool, settings, 7, dry_run=True, progress=lambda *counts: seen.append(counts)
        )
        assert (done.reminders, done.amount_cents) == ({1: 1}, 4_000)
    assert seen == [(1, 1), (1, 1)]
    assert await rows(pool, "SELECT count(*) FROM reminder") == [(0,)]
    assert not await events(pool)


@pytest.mark.parametrize("what", ["paid", "contested", "debited", "small"])
async def test_who_has_a_reason_not_to_pay_is_left_in_peace(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, person_id: int, what: str
) -> None:
    ((invoice_id, number),) = await rows(pool, "SELECT id, number FROM invoice")
    if what == "paid":
        await payments.receive(pool, "k", 4_000, after(1), invoice_number=number)
    if what == "small":
        await payments.receive(pool, "k", 3_901, after(1), invoice_number=number)
    if what == "contested":
        await contest(pool, invoice_id, client_id)
    if what == "debited":
        await payments.sign_mandate(pool, after(1), person_id=person_id)
        await collecting.announce_debits(pool, after(1), settings=settings)
    for days in (7, 21, 35, 60):
        assert not await remind(pool, settings, days)
    assert not await events(pool)


async def contest(pool: AsyncConnectionPool, invoice_id: int, client_id: int) -> None:
    """The client contests an invoice in its name."""
    async with transaction(pool) as connection:
        await connection.execute(
            """
            INSERT INTO dispute (client_id, invoice_id, month, opened_at, opened_by, window_ends_on,
                                 reason, held_cents)
            VALUES (%s, %s, '2026-10-01', '2026-11-05', 'person 1', '2026-11-20', 'Wrong', 0)
            """,
            (client_id, invoice_id),
        )


async def test_what_is_decided_is_due_anew_and_begins_with_the_first_reminder(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    ((invoice_id,),) = await rows(pool, "SELECT id FROM invoice")
    await remind(pool, settings, 7)
    await contest(pool, invoice_id, client_id)
    assert not await remind(pool, settings, 21)
    async with transaction(pool) as connection:
        await connection.execute(
            """
            UPDATE dispute SET decided_at = %s, decided_by = 'test', decision = 'rejected',
                               decision_reason = 'No'
            """,
            (after(22),),
        )
    assert not await remind(pool, settings, 25)
    assert (await remind(pool, settings, 32)).reminders == {1: 1}


async def test_money_that_comes_back_begins_the_letters_again(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    ((number,),) = await rows(pool, "SELECT number FROM invoice")
    await remind(pool, settings, 7)
    await payments.receive(pool, "k", 4_000, after(10), invoice_number=number)
    assert not await remind(pool, settings, 21)
    await payments.receive(pool, "back", -4_000, after(22), reverses_key="k")
    assert not await remind(pool, settings, 25)
    assert (await remind(pool, settings, 32)).reminders == {1: 1}
    assert (await remind(pool, settings, 43)).reminders == {2: 1}


@pytest.mark.parametrize(
    ("kind", "levels"), [("intervention", [1, 2, 3]), ("commission", [])]
)  # a commission is deducted by the statement: nobody transfers it
async def test_the_operators_own_invoices_are_reminded_of_and_block_nobody(
    database: Database, pool: AsyncConnectionPool, settings: Settings, kind: str, levels: list[int]
) -> None:
    client_id = await world.add_client(database, "Copropriété B")
    async with transaction(pool) as connection:
        await own_sales.add_own_sale(
            connection,
            client_id=client_id,
            kind=kind,
            label=kind,
            amount_excl_cents=30_000,
            on_day=date(2026, 10, 5),
            month=MONTH,
            source_key=kind,
            actor=DESK,
            now=ISSUED,
        )
        await own_sales.issue_own(connection, client_id, MONTH, ISSUED, settings=settings)
    told = []
    for days in range(-30, 60):
        done = await remind(pool, settings, days)
        told += list(done.reminders)
        assert not done.notices and not done.blocked
    assert told == levels
    assert (await events(pool))["own_invoice.reminded"] == len(levels)
    if levels:
        assert await rows(pool, "SELECT DISTINCT person_id, amount_cents FROM reminder") == [
            (None, 36_000)
        ]


# --- Blocks -------------------------------------------------------------------------------------


async def test_payment_lifts_the_block_in_its_own_transaction(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, person_id: int
) -> None:
    await block(pool, settings)
    ((number,),) = await rows(pool, "SELECT number FROM invoice")
    await payments.receive(pool, "part", 1_000, after(54), invoice_number=number)
    assert (await open_blocks(pool), await standing(pool)) == (1, 1), "3 000 cents are left"
    await payments.receive(pool, "rest", 2_950, after(54), person_id=person_id)
    assert (await open_blocks(pool), await standing(pool)) == (0, 0), "50 cents block nobody"
    assert (await events(pool))["driver.unblocked"] == 1
    assert not await remind(pool, settings, 90)
    await nothing_is_wrong(pool)


async def test_a_block_without_a_cause_holds_no_longer_and_is_lifted_by_the_next_run(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    await block(pool, settings)
    ((invoice_id,),) = await rows(pool, "SELECT id FROM invoice")
    await contest(pool, invoice_id, client_id)
    assert (await open_blocks(pool), await standing(pool)) == (1, 0)
    sunday = 52
    assert (await remind(pool, settings, sunday, dry_run=True)).lifted == 1
    assert (await remind(pool, settings, sunday)).lifted == 1
    assert await open_blocks(pool) == 0


async def test_a_person_lifts_a_block_and_its_notice_blocks_no_more(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    await block(pool, settings)
    ((block_id,),) = await rows(pool, "SELECT id FROM payment_block")
    async with transaction(pool) as connection:
        with pytest.raises(Refusal):
            await payment_blocks.lift(connection, block_id, "  ", actor=DESK, now=after(54))
        await payment_blocks.lift(connection, block_id, "Échéancier", actor=DESK, now=after(54))
        with pytest.raises(NotThere):
            await payment_blocks.lift(connection, block_id, "Again", actor=DESK, now=after(54))
    for days in (55, 60, 90):
        assert not await remind(pool, settings, days)
    assert await rows(
        pool, "SELECT detail ->> 'reason' FROM audit_entry WHERE action = 'payment_block.lifted'"
    ) == [("Échéancier",)]


async def test_the_database_blocks_nobody_before_the_day_that_the_notice_named(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, person_id: int
) -> None:
    for days in (7, 21, 35, NOTICE_DAY):
        await remind(pool, settings, days)
    with pytest.raises(psycopg.errors.CheckViolation, match="may not block yet"):
        async with transaction(pool) as connection:
            await connection.execute(
                """
                WITH made AS (
                    INSERT INTO payment_block (client_id, person_id, min_cents, from_at, by)
                    VALUES (%s, %s, 100, %s, 'test') RETURNING id, client_id)
                INSERT INTO payment_block_cause (block_id, client_id, notice_id, invoice_id,
                                                 amount_cents, told_at, added_at)
                SELECT m.id, m.client_id, r.id, r.invoice_id, 1, r.sent_at, %s
                  FROM made m, reminder r WHERE r.level = 0
                """,
                (client_id, person_id, after(52), after(52)),
            )


@pytest.mark.parametrize("status", [None, "dead"])
async def test_a_notice_that_reaches_nobody_blocks_nobody(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, status: str | None
) -> None:
    for days in (7, 21, 35, NOTICE_DAY):
        await remind(pool, settings, days, arrives=False)
    if status is not None:
        await deliver(pool, after(NOTICE_DAY), status)
    for days in (53, 60, 90):
        done = await remind(pool, settings, days)
        assert (done.blocked, done.undelivered) == (0, status == "dead")


async def test_a_notice_that_comes_late_blocks_late(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    for days in (7, 21, 35, NOTICE_DAY):
        await remind(pool, settings, days, arrives=False)
    await deliver(pool, after(50))
    assert [days for days in range(51, 63) if (await remind(pool, settings, days)).blocked] == [60]


async def test_a_second_invoice_keeps_the_block_when_the_first_is_paid(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
) -> None:
    await block(pool, settings)
    ((first,),) = await rows(pool, "SELECT number FROM invoice")
    await world.add_sessions(database, client_id, person_id, [2_000], day=date(2026, 10, 6))
    await payments.bill(pool, client_id, MONTH, after(-29), settings)
    done = [await remind(pool, settings, days) for days in (54, 62, 69, 77, 84, 95)]
    assert [each.blocked for each in done] == [0] * 6, "she is blocked already"
    assert await rows(pool, "SELECT count(*) FROM payment_block_cause") == [(2,)]
    await payments.receive(pool, "k", 4_000, after(96), invoice_number=first)
    assert await open_blocks(pool) == 1
    await payments.receive(pool, "l", 2_000, after(97), person_id=person_id)
    assert await open_blocks(pool) == 0


# --- At the stations ----------------------------------------------------------------------------


@pytest.fixture
async def gate(settings: Settings, database: Database) -> AsyncIterator[Gate]:
    async with open_gate(replace(settings, command_poll_s=0.1), database) as opened:
        yield opened


@pytest.mark.parametrize("protocol", ["ocpp1.6", "ocpp2.0.1"])
async def test_who_does_not_pay_is_refused_at_the_client_alone_until_she_pays(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
    gate: Gate,
    protocol: str,
) -> None:
    other = await world.add_client(database, "Copropriété B")
    async with await db.connect(database, owner=True) as connection:
        await connection.execute("UPDATE station SET public = true")
    word = "Blocked" if protocol == "ocpp1.6" else "NoCredit"
    async with (
        gate.connect(f"station-{client_id}", protocols=[protocol]) as here,
        gate.connect(f"station-{other}", protocols=[protocol]) as elsewhere,
    ):
        for station in (here, elsewhere):
            await (boot if protocol == "ocpp1.6" else boot_201)(station, "b")
        for days in (7, 21, 35, NOTICE_DAY):
            await remind(pool, settings, days)
            assert await shown(here, protocol, f"a{days}") == "Accepted"
        running = await started(here, protocol, "running")
        assert running == "Accepted"
        # Blocked while she charges: the session goes on, and her badge may be shown to end it.
        assert (await remind(pool, settings, 53)).blocked == 1
        await since_always(database)
        assert await shown(here, protocol, "b1") == "Accepted"
        assert await rows(pool, "SELECT state FROM session WHERE token_uid = 'BADGE1'") == [
            ("active",)
        ]
        await stopped(here, protocol, "running", pool)
        assert await shown(here, protocol, "b2") == word
        assert await started(here, protocol, "refused") == word
        assert await shown(elsewhere, protocol, "c1") == "Accepted"
        await stopped(here, protocol, "refused", pool)
        ((number,),) = await rows(pool, "SELECT number FROM invoice")
        await payments.receive(pool, "k", 4_000, after(54), invoice_number=number)
        assert await shown(here, protocol, "d1") == "Accepted"
        assert await started(here, protocol, "paid") == "Accepted"


async def since_always(database: Database) -> None:
    """Blocks were set at the days of the test; stations live today."""
    async with await db.connect(database, owner=True) as connection:
        await connection.execute("UPDATE payment_block SET from_at = '2020-01-01'")


async def shown(station: ClientConnection, protocol: str, number: str) -> str:
    """What a station is told of the badge."""
    if protocol == "ocpp1.6":
        answer = await ask(station, "Authorize", {"idTag": "BADGE1"}, number)
        return str(answer["idTagInfo"]["status"])
    token = {"idToken": "BADGE1", "type": "ISO14443"}
    answer = await ask(station, "Authorize", {"idToken": token}, number)
    return str(answer["idTokenInfo"]["status"])


_MADE: dict[str, int] = {}


async def started(station: ClientConnection, protocol: str, name: str) -> str:
    """What a station is told when a session begins."""
    if protocol == "ocpp1.6":
        payload = {
            "connectorId": 1,
            "idTag": "BADGE1",
            "meterStart": 1_000 + len(_MADE),
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }
        answer = await ask(station, "StartTransaction", payload, name)
        _MADE[name] = answer["transactionId"]
        return str(answer["idTagInfo"]["status"])
    told = event("Started", name, 0, badge="BADGE1", evse_id=1, register_wh=1_000)
    answer = await ask(station, "TransactionEvent", told, name)
    return str(answer["idTokenInfo"]["status"])


async def stopped(
    station: ClientConnection, protocol: str, name: str, pool: AsyncConnectionPool
) -> None:
    """The session ends."""
    if protocol == "ocpp1.6":
        payload = {
            "transactionId": _MADE[name],
            "meterStop": 2_000,
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }
        await ask(station, "StopTransaction", payload, f"{name}-stop")
    else:
        told = event("Ended", name, 1, evse_id=1, register_wh=2_000)
        await ask(station, "TransactionEvent", told, f"{name}-stop")


async def add_resident(database: Database, client_id: int, person_id: int) -> None:
    """The driver may charge at the client's site at all hours."""
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            """
            WITH made AS (INSERT INTO driver_group (client_id, name, kind)
                          VALUES (%(client_id)s, 'Résidents', 'residents') RETURNING id),
            open AS (INSERT INTO group_access (group_id, client_id, site_id)
                     SELECT id, %(client_id)s, 'site-' || %(client_id)s FROM made)
            INSERT INTO group_member (group_id, person_id, from_at)
            SELECT id, %(person_id)s, '2026-01-01' FROM made
            """,
            {"client_id": client_id, "person_id": person_id},
        )


async def test_caches_of_stations_are_cleared_of_the_block_and_of_its_refusals(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
    gate: Gate,
) -> None:
    await add_resident(database, client_id, person_id)
    name = f"station-{client_id}"
    ((key,),) = await rows(pool, "SELECT station_key FROM station WHERE id = %s", name)

    async def due() -> list[int]:
        """Stations whose cache is to be cleared; they are."""
        now = datetime.now(UTC)
        async with transaction(pool) as connection:
            since = now - timedelta(hours=1)
            found = [row[0] for row in await store.fetch_caches_due(connection, now, since, 10)]
            for each in found:
                command_id = await order(connection, name, now)
                await store.note_cache_cleared(
                    connection, each, command_id, now, now - timedelta(seconds=1), closed=False
                )
        return found

    async with gate.connect(name) as station:
        await boot(station, "b")
        await gate.connected(name, True)
        await due()
        assert await due() == []
        await block(pool, settings)
        assert (await due(), await due()) == ([key], [])
        async with await db.connect(database, owner=True) as connection:
            await connection.execute("UPDATE payment_block SET from_at = '2020-01-01'")
        at = datetime.now(UTC)
        await payments.receive(pool, "k", 4_000, at, person_id=person_id)
        assert (await due(), await due()) == ([key], [])


async def order(connection: psycopg.AsyncConnection, station_id: str, now: datetime) -> int:
    """An order to clear the cache that the station has answered."""
    cursor = await connection.execute(
        """
        INSERT INTO command (station_key, protocol, action, payload, origin, created_at, expires_at,
                             status, finished_at)
        SELECT station_key, 'ocpp1.6', 'ClearCache', '{}', 'system', %(now)s, %(now)s, 'accepted',
               %(now)s FROM station WHERE id = %(id)s RETURNING id
        """,
        {"now": now, "id": station_id},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_lists_in_stations_follow_the_block_and_its_end(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
) -> None:
    await add_resident(database, client_id, person_id)
    site = f"site-{client_id}"

    async def told() -> str:
        async with pool.connection() as connection:
            wanted = await badges._wanted(connection, settings, site, datetime.now(UTC))
        return wanted["badge1"].status

    async def changed_at() -> datetime:
        ((found,),) = await rows(pool, "SELECT updated_at FROM token WHERE uid = 'BADGE1'")
        assert isinstance(found, datetime)
        return found

    assert await told() == "Accepted"
    before = await changed_at()
    await block(pool, settings)
    assert await told() == "Blocked"
    noted = await changed_at()
    assert noted > before, "stations are looked at again"
    await payments.receive(pool, "k", 4_000, after(54), person_id=person_id)
    assert await told() == "Accepted"
    assert await changed_at() > noted


@asynccontextmanager
async def api_of(
    database: Database,
    pool: AsyncConnectionPool,
    people: AsyncConnectionPool,
    settings: Settings,
    person_id: int,
) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient, httpx.AsyncClient]]:
    """Somebody of finance, somebody who only reads, and the driver speak to the API."""
    transport = httpx.ASGITransport(create_app(pool, settings, people=people))
    who = (
        await add_person(database, "amelie", "read", "finance"),
        await add_person(database, "bruno", "read"),
        await log_in(database, person_id),
    )
    async with AsyncExitStack() as stack:
        desk, reader, hers = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=transport,
                    base_url="http://test/api/v1",
                    headers={"Authorization": f"Bearer {each.token}"},
                )
            )
            for each in who
        ]
        yield desk, reader, hers


async def test_operators_see_and_lift_blocks_and_a_driver_is_told_what_to_pay(
    database: Database,
    pool: AsyncConnectionPool,
    people: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    person_id: int,
) -> None:
    await block(pool, settings)
    async with api_of(database, pool, people, settings, person_id) as (desk, reader, hers):
        (mine,) = (await hers.get("/me/payment-blocks")).json()["items"]
        assert (mine["client"], mine["left_cents"]) == ("Copropriété A", 4_000)
        ((number, invoice_id),) = await rows(pool, "SELECT number, id FROM invoice")
        for part in ("40,00\u00a0€", number, "FR76 3000 6000", "Copropriété A"):
            assert part in mine["sentence"]
        ((code,),) = await rows(pool, "SELECT code FROM point")
        refused = await hers.post("/me/sessions", json={"point_id": code})
        assert (refused.status_code, refused.json()["code"]) == (403, "invoices_unpaid")
        assert refused.json()["detail"] == mine["sentence"]
        letters = (await desk.get(f"/invoices/{invoice_id}/reminders")).json()["items"]
        assert [letter["level"] for letter in letters] == [1, 2, 3, 0]
        assert (await desk.get("/invoices/999/reminders")).status_code == 404
        (found,) = (await desk.get("/payment-blocks", params={"open": True})).json()["items"]
        assert found["invoices"] == [
            {"invoice_id": invoice_id, "number": number, "left_cents": 4_000}
        ]
        address = f"/payment-blocks/{found['id']}"
        for other in (hers, reader):
            assert (await other.delete(address, params={"reason": "x"})).status_code == 403
        assert (await desk.delete(address)).status_code == 422, "no reason"
        assert (await desk.delete(address, params={"reason": "Accord"})).status_code == 204
        assert (await desk.delete(address, params={"reason": "Accord"})).status_code == 404
        (found,) = (await desk.get("/payment-blocks", params={"open": False})).json()["items"]
        assert found["lifted_for"] == "Accord"
        assert (await hers.get("/me/payment-blocks")).json()["items"] == []
        answer = await hers.post("/me/sessions", json={"point_id": code})
        assert answer.json()["code"] == "service_closed", "no more for want of payment"


async def test_the_verb_says_what_it_does(
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert settings.database_url is not None
    monkeypatch.setenv("T2P_DATABASE_URL", settings.database_url)
    monkeypatch.setattr("csms.cli.common.now", lambda: after(7))

    async def run(*arguments: str) -> str:
        """In a thread: a verb has a loop of its own."""
        done = await asyncio.to_thread(CliRunner().invoke, verbs, ["billing", "remind", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    tried = await run("--dry-run")
    assert "1 reminders (1 of level 1) and 0 notices of a block would be sent, of 40.00" in tried
    assert "1 reminders (1 of level 1) and 0 notices of a block sent, of 40.00 EUR" in await run()
    assert "0 reminders and 0 notices" in await run()


async def test_the_worker_lifts_what_has_no_cause_and_reminds_in_office_hours(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    jobs = {job.name: job for job in worker.JOBS}
    remind_job = jobs["remind of unpaid invoices"]
    lift_job = jobs["lift blocks that have no cause any more"]
    async with pool.connection() as connection:
        assert not await remind_job.run(connection, settings, after(7, hour=22))
        done = await remind_job.run(connection, settings, after(7))
        assert isinstance(done, reminders.Reminded) and done.reminders == {1: 1}
    await block(pool, settings)
    ((invoice_id,),) = await rows(pool, "SELECT id FROM invoice")
    async with pool.connection() as connection:
        assert await lift_job.run(connection, settings, after(54)) == 0
        await contest(pool, invoice_id, client_id)
        assert await lift_job.run(connection, settings, after(54)) == 1


def test_the_worker_writes_in_office_hours_of_working_days_only() -> None:
    assert reminders.is_time(datetime(2026, 11, 12, 8, tzinfo=UTC))  # 9 in Paris, a Thursday
    assert not reminders.is_time(datetime(2026, 11, 12, 7, 59, tzinfo=UTC))
    assert not reminders.is_time(datetime(2026, 11, 12, 17, tzinfo=UTC))
    assert not reminders.is_time(datetime(2026, 11, 11, 9, tzinfo=UTC)), "a holiday"
    assert not reminders.is_time(datetime(2026, 11, 14, 9, tzinfo=UTC)), "a Saturday"


@pytest.mark.parametrize("text", ["", "21,7", "7,7", "0,7", "7;21"])
def test_days_that_do_not_rise_are_refused(text: str) -> None:
    with pytest.raises(SettingError, match="REMINDER_DAYS"):
        load({"T2P_REMINDER_DAYS": text})
    assert load({"T2P_REMINDER_DAYS": "5, 10"}).reminder_days == (5, 10)
