"""The stage that prices sessions: what gets a price, what waits and why, each once."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from billing import pricing, tariffs
from billing.store import problems
from billing.tariffs import NoTariff, Place
from csms import db
from csms.clients import Actor
from csms.db import Database, transaction
from csms.registry import Conflict, Refusal
from tests import billing_world as world

DESK = Actor("command line")
NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
MONTH = date(2026, 10, 1)
JANUARY = datetime(2025, 12, 31, 23, tzinfo=UTC)
NIGHT_AND_DAY = {
    "currency": "EUR",
    "taxes_included": True,
    "elements": [
        {
            "price_components": [{"type": "ENERGY", "price": 0.20, "step_size": 1}],
            "restrictions": {"start_time": "22:00", "end_time": "06:00"},
        },
        {"price_components": [{"type": "ENERGY", "price": 0.40, "step_size": 1}]},
    ],
}


@pytest.fixture
async def client_id(database: Database) -> int:
    """A client whose drivers pay 0.35 EUR per kWh everywhere."""
    made = await world.add_client(database, "Copropriété A")
    await assign_everywhere(database, made)
    return made


@pytest.fixture
async def person_id(database: Database) -> int:
    made = await world.add_driver(database, "anne")
    await give_badge(database, made, "04a1")
    return made


async def assign_everywhere(database: Database, client_id: int) -> None:
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            """
            INSERT INTO tariff_scope (client_id, tariff_id, from_at, created_at, created_by)
            SELECT client_id, id, '2026-01-01', now(), 'test' FROM tariff WHERE client_id = %s
            """,
            (client_id,),
        )


async def give_badge(database: Database, person_id: int, uid: str) -> None:
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            "INSERT INTO token (uid_key, uid) VALUES (%s, %s) ON CONFLICT DO NOTHING", (uid, uid)
        )
        await connection.execute(
            """INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
               SELECT token_key, uid_key, %s, '2026-01-01' FROM token WHERE uid_key = %s""",
            (person_id, uid),
        )


async def charge(
    database: Database,
    client_id: int,
    *,
    badge: str | None = "04a1",
    start: datetime = datetime(2026, 10, 5, 8, tzinfo=UTC),
    hours: float = 2,
    energy_wh: int | None = 10_000,
    flags: tuple[str, ...] = (),
    registers: tuple[tuple[float, float], ...] = (),
) -> int:
    """An ended session; `registers` are hours since the start and Wh, as the station told them."""
    end = start + timedelta(hours=hours)
    async with await db.connect(database, owner=True) as connection:
        values: dict[str, Any] = {
            "client_id": client_id,
            "badge": badge,
            "start": start,
            "end": end,
            "energy": energy_wh,
            "flags": list(flags),
            "state": "lost" if "lost_stop" in flags else "ended",
            "from_at": start if registers else None,
            "to_at": end if registers else None,
        }
        cursor = await connection.execute(
            """
            INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id,
                                 token_uid, authorization_status, state, started_at, ended_at,
                                 energy_wh, evse_id, flags, readings_from_at, readings_to_at,
                                 meter_start_wh)
            SELECT (SELECT coalesce(max(id), 0) + 1 FROM session), s.client_id, s.site_id,
                   s.station_key, gen_random_uuid()::text, '1', %(badge)s, 'Accepted', %(state)s,
                   %(start)s, %(end)s, %(energy)s, 1, %(flags)s, %(from_at)s, %(to_at)s, 0
              FROM station s WHERE s.client_id = %(client_id)s LIMIT 1
            RETURNING id
            """,
            values,
        )
        row = await cursor.fetchone()
        assert row is not None
        for number, (after_h, register) in enumerate(registers):
            await connection.execute(
                """
                INSERT INTO meter_profile (key, measurands, phases, units, contexts, locations)
                VALUES ('register', '{Energy.Active.Import.Register}', '{""}', '{Wh}', '{""}',
                        '{""}')
                ON CONFLICT DO NOTHING
                """
            )
            at = start + timedelta(hours=after_h)
            await connection.execute(
                """
                INSERT INTO meter_reading (station_key, stated_at, digest, at, received_at,
                                           session_id, profile_id, samples)
                SELECT s.station_key, %(at)s, %(number)s, %(at)s, %(at)s, s.id, p.id,
                       ARRAY[%(register)s::float8]
                  FROM session s, meter_profile p WHERE s.id = %(id)s
                """,
                {"at": at, "number": number, "id": row[0], "register": register},
            )
        return int(row[0])


async def price(pool: AsyncConnectionPool, **values: Any) -> pricing.Priced:
    return await pricing.run(pool, now=values.pop("now", NOW), month=MONTH, **values)


async def open_causes(pool: AsyncConnectionPool) -> list[str]:
    async with pool.connection() as connection:
        return [row.cause for row in await problems.list_open(connection)]


async def priced(pool: AsyncConnectionPool) -> list[tuple[Any, ...]]:
    return await world.rows(
        pool,
        """SELECT session_id, amount_incl_cents, vat_cents, is_estimated, supplied_on, month
             FROM priced_session ORDER BY session_id""",
    )


async def test_a_session_gets_its_price_and_keeps_it(
    database: Database, pool: AsyncConnectionPool, client_id: int, person_id: int
) -> None:
    session_id = await charge(database, client_id)
    done = await price(pool)
    assert (done.sessions, done.amount_incl_cents, done.energy_wh) == (1, 350, 10_000)
    expected = [(session_id, 350, 58, False, date(2026, 10, 5), MONTH)]
    assert await priced(pool) == expected
    again = await price(pool)
    assert (again.sessions, dict(again.problems)) == (0, {})
    assert await priced(pool) == expected


async def test_a_dry_run_writes_nothing(
    database: Database, pool: AsyncConnectionPool, client_id: int, person_id: int
) -> None:
    await charge(database, client_id)
    await charge(database, client_id, energy_wh=None)
    done = await price(pool, dry_run=True)
    assert (done.sessions, dict(done.problems)) == (1, {"energy_unknown": 1})
    assert await priced(pool) == []
    assert await open_causes(pool) == []


async def test_the_month_of_a_session_is_that_of_its_end_in_paris(
    database: Database, pool: AsyncConnectionPool, client_id: int, person_id: int
) -> None:
    """31 October 23:30 in Paris to 1 November 00:30, and one that ends half an hour earlier."""
    late = datetime(2026, 10, 31, 22, 30, tzinfo=UTC)
    await charge(database, client_id, start=late - timedelta(hours=1), hours=1.25)
    await charge(database, client_id, start=late, hours=1)
    await price(pool)
    assert [row[4] for row in await priced(pool)] == [date(2026, 10, 31)]
    await pricing.run(pool, now=NOW)
    assert [row[5] for row in await priced(pool)] == [MONTH, date(2026, 11, 1)]


@pytest.mark.parametrize("with_readings", [True, False])
async def test_energy_is_split_where_the_tariff_changes(
    database: Database,
    pool: AsyncConnectionPool,
    client_id: int,
    person_id: int,
    with_readings: bool,
) -> None:
    """From 21:00 to 23:00 in Paris: three quarters of the energy came before 22:00."""
    await change_tariff(pool, client_id)
    registers = ((0.0, 0.0), (1.0, 7_500.0), (2.0, 10_000.0)) if with_readings else ()
    await charge(
        database,
        client_id,
        start=datetime(2026, 10, 5, 19, tzinfo=UTC),
        registers=registers,
    )
    await price(pool)
    ((_, amount, _, is_estimated, _, _),) = await priced(pool)
    assert (amount, is_estimated) == ((350, False) if with_readings else (300, True))


async def test_a_register_in_kwh_that_says_wh_is_split_all_the_same(
    database: Database, pool: AsyncConnectionPool, client_id: int, person_id: int
) -> None:
    await change_tariff(pool, client_id)
    await charge(
        database,
        client_id,
        start=datetime(2026, 10, 5, 19, tzinfo=UTC),
        registers=((0.0, 0.0), (1.0, 7.5), (2.0, 10.0)),
    )
    await price(pool)
    assert [row[1] for row in await priced(pool)] == [350]


async def test_the_night_that_has_an_hour_more_is_priced_by_its_own_hours(
    database: Database, pool: AsyncConnectionPool, client_id: int, person_id: int
) -> None:
    """22:00 to 06:00 on the night to 25 October 2026 lasts nine hours: all of it is night."""
    await change_tariff(pool, client_id)
    start = datetime(2026, 10, 24, 20, tzinfo=UTC)
    await charge(database, client_id, start=start, hours=9, energy_wh=18_000)
    await charge(database, client_id, start=start, hours=10, energy_wh=20_000)
    await price(pool)
    assert [row[1] for row in await priced(pool)] == [360, 360 + 80]


async def change_tariff(pool: AsyncConnectionPool, client_id: int) -> None:
    """From October on: 0.20 EUR at night, 0.40 by day."""
    async with transaction(pool) as connection:
        (tariff,) = await tariffs.store.list_tariffs(connection, client_id)
        await tariffs.add_version(
            connection,
            tariff.id,
            NIGHT_AND_DAY,
            from_at=datetime(2026, 9, 30, 22, tzinfo=UTC),
            actor=DESK,
            now=NOW,
        )


PROBLEMS = {
    "energy_unknown": {"energy_wh": None},
    "held_by_flag": {"flags": ("unit_suspect",)},
    "no_driver": {"badge": "ffff"},
}


@pytest.mark.parametrize("cause", PROBLEMS)
async def test_what_is_in_doubt_waits_and_stops_nothing_else(
    database: Database, pool: AsyncConnectionPool, client_id: int, person_id: int, cause: str
) -> None:
    bad = await charge(database, client_id, **PROBLEMS[cause])  # type: ignore[arg-type]
    good = await charge(database, client_id)
    done = await price(pool)
    assert (done.sessions, dict(done.problems)) == (1, {cause: 1})
    assert [row[0] for row in await priced(pool)] == [good]
    async with pool.connection() as connection:
        (told,) = await problems.list_open(connection, client_id=client_id, month=MONTH)
    assert (told.session_id, told.cause) == (bad, cause)
    assert str(bad) in told.message
    assert told.remedy.endswith(".")
    await price(pool)  # does not list it twice
    assert await open_causes(pool) == [cause]


async def test_a_session_that_a_person_confirmed_is_priced_and_its_problem_is_over(
    database: Database, pool: AsyncConnectionPool, client_id: int, person_id: int
) -> None:
    session_id = await charge(database, client_id, flags=("energy_implausible",))
    await price(pool)
    assert await open_causes(pool) == ["held_by_flag"]
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE session SET flags = flags || ARRAY['confirmed'] WHERE id = %s", (session_id,)
        )
    assert (await price(pool)).sessions == 1
    assert await open_causes(pool) == []


async def test_a_session_whose_stop_may_still_come_waits_some_days(
    database: Database, pool: AsyncConnectionPool, client_id: int, person_id: int
) -> None:
    start = datetime(2026, 10, 30, 8, tzinfo=UTC)
    await charge(database, client_id, start=start, flags=("lost_stop",))
    soon = await price(pool, now=datetime(2026, 11, 1, 9, tzinfo=UTC))
    assert (soon.sessions, soon.waiting) == (0, 1)
    assert (await price(pool, now=datetime(2026, 11, 3, 9, tzinfo=UTC))).sessions == 1


CLIENT_PROBLEMS = {
    "vat_status_missing": ({"status": None}, True),
    "no_tariff": ({}, False),
}


@pytest.mark.parametrize("cause", CLIENT_PROBLEMS)
async def test_what_the_client_lacks_is_told_once_and_mended_by_the_next_run(
    database: Database, pool: AsyncConnectionPool, person_id: int, cause: str
) -> None:
    values, has_tariff = CLIENT_PROBLEMS[cause]
    other = await world.add_client(database, "Copropriété B", **values)  # type: ignore[arg-type]
    if has_tariff:
        await assign_everywhere(database, other)
    for _ in range(3):
        await charge(database, other)
    assert dict((await price(pool)).problems) == {cause: 1}
    assert await open_causes(pool) == [cause]
    if has_tariff:
        async with pool.connection() as connection:
            await connection.execute(
                "INSERT INTO client_vat (client_id, status, from_on) VALUES (%s, %s, '2026-01-01')",
                (other, "non_assujetti"),
            )
    else:
        await assign_everywhere(database, other)
    assert (await price(pool)).sessions == 3
    assert await open_causes(pool) == []


async def test_hours_without_a_price_are_a_gap_and_not_free(
    database: Database, pool: AsyncConnectionPool, client_id: int, person_id: int
) -> None:
    async with transaction(pool) as connection:
        (tariff,) = await tariffs.store.list_tariffs(connection, client_id)
        _, gaps = await tariffs.add_version(
            connection,
            tariff.id,
            {"elements": NIGHT_AND_DAY["elements"][:1], "taxes_included": True, "currency": "EUR"},  # type: ignore[index]
            from_at=datetime(2026, 9, 30, 22, tzinfo=UTC),
            actor=DESK,
            now=NOW,
        )
    assert gaps
    await charge(database, client_id)
    assert dict((await price(pool)).problems) == {"tariff_gap": 1}


async def test_sessions_that_are_not_under_the_mandate_are_left_alone(
    database: Database, pool: AsyncConnectionPool, person_id: int
) -> None:
    other = await world.add_client(database, "Copropriété C", mandate_from_on=date(2026, 10, 10))
    await assign_everywhere(database, other)
    await charge(database, other)
    done = await price(pool)
    assert (done.sessions, done.waiting, dict(done.problems)) == (0, 1, {})


async def test_two_workers_price_everything_once(
    database: Database,
    pool: AsyncConnectionPool,
    client_id: int,
    person_id: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pricing, "BATCH_SESSIONS", 3)
    for _ in range(10):
        await charge(database, client_id)
    one, other = await asyncio.gather(price(pool), price(pool))
    assert len(await priced(pool)) == 10
    assert one.sessions + other.sessions >= 10


async def test_a_run_that_dies_between_two_batches_is_gone_on_with(
    database: Database,
    pool: AsyncConnectionPool,
    client_id: int,
    person_id: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pricing, "BATCH_SESSIONS", 4)
    for number in range(10):
        await charge(database, client_id, energy_wh=1_000 * number)

    def die(looked_at: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        await price(pool, progress=die)
    assert len(await priced(pool)) == 4
    await price(pool)
    assert [row[1] for row in await priced(pool)] == [35 * number for number in range(10)]


async def test_a_price_is_never_rewritten(
    database: Database, pool: AsyncConnectionPool, client_id: int, person_id: int
) -> None:
    session_id = await charge(database, client_id)
    await price(pool)
    for is_owner in (False, True):
        async with await db.connect(database, owner=is_owner) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute("UPDATE priced_session SET amount_incl_cents = 0")
    async with pool.connection() as connection:
        await connection.execute("UPDATE session SET energy_wh = 9 WHERE id = %s", (session_id,))
        assert await pricing.note_changed(connection, client_id, MONTH, NOW) == 1
    assert await open_causes(pool) == ["changed_after_pricing"]


async def test_the_narrowest_place_and_the_drivers_own_group_decide(
    database: Database, pool: AsyncConnectionPool, client_id: int, person_id: int
) -> None:
    at = datetime(2026, 10, 5, tzinfo=UTC)
    async with transaction(pool) as connection:
        cursor = await connection.execute(
            """INSERT INTO driver_group (client_id, name, kind)
               VALUES (%s, 'Visiteurs', 'visitors') RETURNING id""",
            (client_id,),
        )
        row = await cursor.fetchone()
        assert row is not None
        group_id = int(row[0])
        places = {
            "site": Place(site_id=f"site-{client_id}"),
            "site of the group": Place(site_id=f"site-{client_id}", group_id=group_id),
            "station": Place(station_id=f"station-{client_id}"),
            "evse": Place(station_id=f"station-{client_id}", evse_id=1),
        }
        names = {}
        for name, place in places.items():
            made = await tariffs.create(
                connection, client_id, name[:4] + str(len(names)), name, DESK, NOW
            )
            version, _ = await tariffs.add_version(
                connection, made.id, NIGHT_AND_DAY, from_at=JANUARY, actor=DESK, now=NOW
            )
            names[version.id] = name
            await tariffs.assign(connection, made.id, place, from_at=JANUARY, actor=DESK, now=NOW)
        known = await tariffs.load(connection, client_id)
        cursor = await connection.execute("SELECT station_key FROM station")
        (row,) = await cursor.fetchall()
        key, site = int(row[0]), f"site-{client_id}"

        def found(
            site_id: str | None, station_key: int, evse_id: int | None, groups: list[int]
        ) -> str:
            version = known.find(site_id, station_key, evse_id, groups, at)
            return "none" if isinstance(version, NoTariff) else names.get(version.id, "client")

        assert found(site, key, 1, [group_id]) == "evse"
        assert found(site, key, 2, [group_id]) == "station"
        assert found(site, key, None, []) == "station"
        assert found(site, 999, 1, [group_id]) == "site of the group"
        assert found(site, 999, 1, []) == "site"
        assert found("elsewhere", 999, 1, []) == "client"
        assert known.find(None, 999, 1, [], datetime(2020, 1, 1, tzinfo=UTC)) == NoTariff(None)


async def test_versions_and_places_do_not_overlap_and_the_past_is_not_rewritten(
    database: Database, pool: AsyncConnectionPool, client_id: int, person_id: int
) -> None:
    await charge(database, client_id)
    await price(pool)
    async with transaction(pool) as connection:
        (tariff,) = await tariffs.store.list_tariffs(connection, client_id)
        with pytest.raises(Conflict, match="priced already"):
            await tariffs.add_version(
                connection,
                tariff.id,
                NIGHT_AND_DAY,
                from_at=datetime(2026, 10, 1, tzinfo=UTC),
                actor=DESK,
                now=NOW,
            )
        later = datetime(2026, 12, 1, tzinfo=UTC)
        await tariffs.add_version(
            connection, tariff.id, NIGHT_AND_DAY, from_at=later, actor=DESK, now=NOW
        )
        with pytest.raises(Conflict, match="Another version"):
            await tariffs.add_version(
                connection,
                tariff.id,
                NIGHT_AND_DAY,
                from_at=later - timedelta(days=1),
                actor=DESK,
                now=NOW,
            )
        with pytest.raises(Refusal, match="no station"):
            await tariffs.assign(
                connection,
                tariff.id,
                Place(station_id="elsewhere"),
                from_at=NOW,
                actor=DESK,
                now=NOW,
            )
        await tariffs.retire(connection, tariff.id, DESK, NOW)
        known = await tariffs.load(connection, client_id)
        assert known.find(None, 1, 1, [], NOW + timedelta(days=1)) == NoTariff(None)
