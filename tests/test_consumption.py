"""The consumption report: sums that add up by hand, and the load that sessions made."""

from datetime import UTC, date, datetime, timedelta

import pytest
from psycopg_pool import AsyncConnectionPool

from csms.db import Database, acting
from csms.registry import Refusal
from reporting import consumption_reading
from reporting.consumption import Habits, Load, Step, Tally, Use, User
from reporting.consumption_reading import ConsumptionReport
from reporting.load_curve import Register
from reporting.span import Span
from tests.report_world import add_places, add_session, manager, paris, run

HOUR = 3_600
OCTOBER = Span.parse("2026-10")
NOVEMBER = datetime(2026, 11, 2, 9, tzinfo=UTC)
ANNA, BELA = User(1, "Anna"), User(2, "Béla")


def use(
    started: str,
    ended: str,
    energy_wh: int | None = 10_000,
    user: User = ANNA,
    *,
    cost_cents: int | None = 250,
    site: str = "tilleuls",
    point: str = "P1",
    registers: tuple[Register, ...] = (),
) -> Use:
    return Use(
        *(1, "Les Tilleuls", site, site, point, user, paris(started), paris(ended)),
        *(energy_wh, cost_cents, registers),
    )


def tally(*uses: Use, span: Span = OCTOBER) -> Tally:
    found = Tally(span.period)
    for one in uses:
        found.add(one)
    return found


# --- Pure -----------------------------------------------------------------------------------------


def test_sums_by_user_point_and_site_are_of_the_same_sessions() -> None:
    found = tally(
        use("2026-10-01 08:00", "2026-10-01 10:00", 7_000),
        use("2026-10-02 08:00", "2026-10-02 09:00", 3_000, BELA, point="P2", cost_cents=100),
        use("2026-10-03 08:00", "2026-10-03 12:00", None, cost_cents=None),
        use("2026-10-03 13:00", "2026-10-03 14:00", 500, User(badge_uid="ABC"), site="ormes"),
    ).figures({})
    assert (found.total.sessions, found.total.energy_wh, found.total.cost_cents) == (4, 10_500, 600)
    assert (found.total.unknown, found.total.unpriced) == (1, 1)
    assert [(u.user, u.sum.sessions, u.sum.energy_wh, u.sum.duration_s) for u in found.users] == [
        (ANNA, 2, 7_000, 6 * HOUR),
        (BELA, 1, 3_000, HOUR),
        (User(badge_uid="ABC"), 1, 500, HOUR),
    ]
    assert [(p.site, p.point, p.sum.energy_wh) for p in found.points] == [
        ("ormes", "P1", 500),
        ("tilleuls", "P1", 7_000),
        ("tilleuls", "P2", 3_000),
    ]
    assert sum(s.sum.cost_cents for s in found.sites) == found.total.cost_cents
    assert found.days_wh == {
        date(2026, 10, 1): 7_000,
        date(2026, 10, 2): 3_000,
        date(2026, 10, 3): 500,
    }


def test_a_session_across_the_border_counts_where_it_ended_and_loads_where_it_flowed() -> None:
    across = use("2026-09-30 23:00", "2026-10-01 01:00", 4_000)
    later = use("2026-10-31 23:00", "2026-11-01 00:00", 1_000)
    october = tally(across, later).figures({})
    assert (october.total.sessions, october.total.energy_wh) == (1, 4_000)
    assert sum(october.loads["tilleuls"].quarters_mwh.values()) == 2_000_000 + 1_000_000
    september = tally(across, span=Span.parse("2026-09")).figures({})
    assert september.total.sessions == 0
    assert sum(september.loads["tilleuls"].quarters_mwh.values()) == 2_000_000


def test_the_hours_of_a_day_follow_the_readings_and_the_clock_of_paris() -> None:
    """1 kWh in the first hour, 9 in the second; on the day that has the hour from two to three
    twice, both are in it."""
    read = (Register(paris("2026-10-05 19:00"), 1_000),)
    found = tally(use("2026-10-05 18:00", "2026-10-05 20:00", 10_000, registers=read)).figures({})
    assert {h: mwh for h, mwh in enumerate(found.hours_mwh) if mwh} == {18: 10**6, 19: 9 * 10**6}
    assert found.week_mwh[0][19] == 9 * 10**6, "a Monday"
    long = use("2026-10-25 01:00", "2026-10-25 04:00", 4_000)
    found = tally(long, span=Span.parse("2026-10-25..2026-10-25")).figures({})
    assert {h: mwh for h, mwh in enumerate(found.hours_mwh) if mwh} == {
        1: 10**6,
        2: 2 * 10**6,
        3: 10**6,
    }
    assert found.total.duration_s == 4 * HOUR, "the clock shows three"


def test_a_reading_beyond_what_the_session_took_is_passed_over() -> None:
    wild = (
        Register(paris("2026-10-05 18:30"), 900_000),
        Register(paris("2026-10-05 18:45"), -5),
        Register(paris("2026-10-05 21:00"), 3_000),
    )
    found = tally(use("2026-10-05 18:00", "2026-10-05 20:00", 8_000, registers=wild)).figures({})
    assert set(found.loads["tilleuls"].quarters_mwh.values()) == {10**6}


def test_two_points_load_their_site_together_and_what_passes_the_power_is_said() -> None:
    """8 kW for two hours, and 6 kW in the middle hour: 14 kW against 12, then 9 from the sixth."""
    day = [
        use(f"2026-10-0{n} 18:00", f"2026-10-0{n} 20:00", 16_000, ANNA)
        for n in (5, 6)
    ] + [
        use(f"2026-10-0{n} 18:30", f"2026-10-0{n} 19:30", 6_000, BELA, point="P2")
        for n in (5, 6)
    ]  # fmt: skip
    steps = [Step(date(2026, 9, 1), 12_000), Step(date(2026, 10, 6), 14_000)]
    load = tally(*day).figures({"tilleuls": steps}).loads["tilleuls"]
    assert load.peak == (paris("2026-10-05 18:30"), 14_000)
    assert [(one.at, one.power_w, one.excess_w) for one in load.above] == [
        (paris("2026-10-05 18:30") + timedelta(minutes=15 * n), 14_000, 2_000) for n in range(4)
    ]
    assert load.subscribed_w(paris("2026-08-31 12:00")) is None
    assert Load({}, tuple(steps)).peak is None


def test_habits_are_hours_and_days_that_come_again() -> None:
    habits = Habits()
    for started in (
        *("2026-10-05 18:10", "2026-10-06 19:50", "2026-10-12 20:00", "2026-10-13 18:00"),
        *("2026-10-19 07:00", "2026-10-24 23:30"),
    ):
        habits.add(paris(started))
    assert habits.usual_hours == (18, 21)
    assert habits.usual_days == (0, 1)
    few = Habits()
    for _ in range(3):
        few.add(paris("2026-10-05 18:10"))
    assert (few.usual_hours, few.usual_days) == (None, ())
    late = Habits()
    for started in ("2026-10-05 23:10", "2026-10-06 00:50", "2026-10-07 01:00", "2026-10-08 23:00"):
        late.add(paris(started))
    assert late.usual_hours == (23, 2)


# --- From the database ----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
async def places(database: Database) -> None:
    await add_places(database)


async def read(pool: AsyncConnectionPool, site_id: str | None = "tilleuls") -> ConsumptionReport:
    async with pool.connection() as connection:
        return await consumption_reading.read(
            connection, OCTOBER, NOVEMBER, client_ids=None, site_id=site_id, sessions_total=1_000
        )


async def test_a_month_is_read_with_its_readings_prices_and_users(
    database: Database, pool: AsyncConnectionPool
) -> None:
    await add_session(
        *(database, 1_000, "2026-10-05 18:00", "2026-10-05 20:00", 10_000),
        registers=[("2026-10-05 18:00", 1_000), ("2026-10-05 19:00", 2_000)],
    )
    await add_session(database, 2_000, "2026-10-06 18:00", "2026-10-06 19:00", 4_000, evse_id=2)
    await add_session(database, 3_000, "2026-10-07 18:00", "2026-10-07 19:00", None, token_uid=None)
    await add_session(database, 4_000, "2026-11-01 00:00", "2026-11-01 01:00", 9_000, state="lost")
    await run(
        database,
        """INSERT INTO token (uid_key, uid) VALUES ('abc', 'ABC');
           INSERT INTO person (email, given_name) VALUES ('anna@example.org', 'Anna');
           INSERT INTO driver (person_id) SELECT id FROM person;
           INSERT INTO driver_badge (token_key, uid_key, person_id, from_at, to_at)
               SELECT token_key, uid_key, id, '2026-10-06', '2026-11-06' FROM token, person;
           INSERT INTO subscribed_power (client_id, site_id, from_on, subscribed_power_w,
                                         created_at, created_by)
               SELECT client_id, id, '2026-01-01', 8_999, now(), 'test' FROM site""",
    )
    report = await read(pool)
    found = report.figures
    assert (found.total.sessions, found.total.energy_wh, found.total.unknown) == (3, 14_000, 1)
    assert [(u.user, u.sum.energy_wh) for u in found.users if u.user] == [
        (User(badge_uid="ABC"), 10_000),
        (User(person_id=1, name="Anna"), 4_000),
        (User(), 0),
    ], "a badge is hers since the sixth"
    assert [(p.point, p.sum.sessions) for p in found.points] == [("CP-1 · 1", 2), ("CP-1 · 2", 1)]
    load = found.loads["tilleuls"]
    assert load.peak == (paris("2026-10-05 19:00"), 9_000)
    assert [one.excess_w for one in load.above] == [1] * 4
    assert sum(load.quarters_mwh.values()) == 14_000_000


async def test_many_sessions_are_read_a_batch_at_a_time(
    database: Database, pool: AsyncConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        await add_session(
            database, 1_000 + number, "2026-10-05 18:00", "2026-10-05 20:00", 1_000 + number
        )
    monkeypatch.setattr(consumption_reading, "BATCH", 3)
    assert (await read(pool)).figures.total.energy_wh == 7_021
    async with pool.connection() as connection:
        with pytest.raises(Refusal, match="6 sessions at most"):
            await consumption_reading.read(
                connection, OCTOBER, NOVEMBER, client_ids=None, sessions_total=6
            )


async def test_a_manager_is_shown_the_sessions_and_readings_of_her_clients_only(
    database: Database, people: AsyncConnectionPool
) -> None:
    read_at = [("2026-10-05 18:00", 1_000), ("2026-10-05 19:00", 2_000)]
    for session_id, station_id in ((1_000, "CP-1"), (2_000, "CP-9")):
        await add_session(
            *(database, session_id, "2026-10-05 18:00", "2026-10-05 20:00", session_id),
            station_id=station_id,
            registers=read_at,
        )
    hers = await manager(database, "Les Ormes")
    async with acting(people, person_id=hers.id) as connection:
        report = await consumption_reading.read(
            connection, OCTOBER, NOVEMBER, client_ids=None, sessions_total=9
        )
        cursor = await connection.execute("SELECT DISTINCT session_id FROM session_reading")
        assert await cursor.fetchall() == [(2_000,)]
    assert report.figures.total.energy_wh == 2_000
    assert [one.client for one in report.figures.clients] == ["Les Ormes"]
