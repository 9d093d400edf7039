"""The availability report: figures that add up by hand, from what the database holds."""

from datetime import UTC, date, datetime

import pytest
from psycopg_pool import AsyncConnectionPool

from csms.clients import Actor
from csms.db import Database, acting, transaction
from csms.registry import NotThere, Refusal
from reporting import availability_reading, windows
from reporting.availability import Availability, Link, Period, Report, State
from reporting.availability_reading import AvailabilityReport
from reporting.availability_report import (
    AvailabilityFigures,
    Place,
    PointHistory,
    figures,
    in_turn,
)
from reporting.span import Span
from tests.report_world import add_places, client_id_of, links, manager, paris, run, statuses

HOUR = 3_600
DAY = 24 * HOUR
OCTOBER = Span.parse("2026-10")
NOVEMBER = datetime(2026, 11, 2, 9, tzinfo=UTC)
PLACE = Place(1, "Les Tilleuls", "tilleuls", "Garage", "CP-1", 1, "CP-1 · 1", None)


# --- Pure -----------------------------------------------------------------------------------------


def point(evse_id: int = 1, site: str = "tilleuls", client_id: int = 1) -> Place:
    return Place(client_id, f"client {client_id}", site, site, "CP-1", evse_id, str(evse_id), None)


def test_seconds_of_points_are_added_and_percentages_never_averaged() -> None:
    """One point was down for a day of two; the other was known for its last hour only, and up."""
    period = Period(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 3, tzinfo=UTC))
    begin, mid, late = (
        period.starts_at,
        datetime(2026, 10, 2, tzinfo=UTC),
        datetime(2026, 10, 2, 23, tzinfo=UTC),
    )
    found = figures(
        period,
        NOVEMBER,
        [
            PointHistory(
                point(1),
                None,
                [Report(begin, "available")],
                [Link(begin, True), Link(mid, False)],
                [],
            ),
            PointHistory(point(2), None, [Report(late, "available")], [Link(late, True)], []),
        ],
    )
    one, two = found.points
    assert one.availability == Availability(DAY, DAY, 0, 0)
    assert two.availability == Availability(HOUR, 0, 2 * DAY - HOUR, 0)
    assert (one.availability.hundredths_of_percent, two.availability.hundredths_of_percent) == (
        5_000,
        10_000,
    )
    assert found.total == Availability(DAY + HOUR, DAY, 2 * DAY - HOUR, 0)
    assert found.total.hundredths_of_percent == 5_102  # 25 of 49 hours
    assert [(site.points, site.outages) for site in found.sites] == [(2, 1)]


def test_an_outage_goes_on_from_one_cause_to_the_next() -> None:
    period = Period(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 2, tzinfo=UTC))
    at = [datetime(2026, 10, 1, hour, tzinfo=UTC) for hour in range(24)]
    reports = [Report(at[0], "available"), Report(at[2], "faulted"), Report(at[6], "available")]
    link = [Link(at[0], True), Link(at[4], False), Link(at[5], True), Link(at[9], False)]
    (found,) = figures(period, NOVEMBER, [PointHistory(PLACE, None, reports, link, [])]).points
    assert [(one.starts_at, one.ends_at, one.states) for one in found.outages] == [
        (at[2], at[6], (State.FAULTED, State.OFFLINE)),
        (at[9], period.ends_at, (State.OFFLINE,)),
    ]
    assert found.seconds[State.FAULTED] == 3 * HOUR
    assert found.seconds[State.OFFLINE] == 16 * HOUR
    assert sum(found.seconds.values()) == DAY


def test_a_period_that_runs_is_measured_until_now_and_one_ahead_not_at_all() -> None:
    period = OCTOBER.period
    found = figures(period, paris("2026-10-02 00:00"), [PointHistory(PLACE, None, [], [], [])])
    assert found.total == Availability(0, 0, DAY, 0)
    with pytest.raises(ValueError, match="not begun"):
        figures(period, period.starts_at, [])


def test_a_retired_point_counts_until_it_was_retired() -> None:
    up = [Link(paris("2026-09-01 00:00"), True)]
    free = [Report(paris("2026-09-01 00:00"), "available")]
    in_october, before = paris("2026-10-03 00:00"), paris("2026-09-30 12:00")
    assert figures(
        OCTOBER.period, NOVEMBER, [PointHistory(PLACE, in_october, free, up, [])]
    ).total == Availability(2 * DAY, 0, 0, 0)
    assert (
        figures(OCTOBER.period, NOVEMBER, [PointHistory(PLACE, before, free, up, [])]).points == ()
    )


def test_of_two_changes_of_a_link_at_once_the_one_known_later_counts() -> None:
    at = paris("2026-10-05 08:00")
    told = in_turn([Link(at, True), Link(at, False), Link(at, True)])
    assert [link.up for link in told] == [True, False, True]
    assert len({link.at for link in told}) == 3
    assert sorted(told, key=lambda link: link.at) == told


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-02", date(2026, 2, 1), date(2026, 2, 28)),
        ("2026-10-05..2026-10-05", date(2026, 10, 5), date(2026, 10, 5)),
    ],
)
def test_a_span_is_a_month_or_days(text: str, first: date, last: date) -> None:
    span = Span.parse(text)
    assert (span.first, span.last, str(span)) == (first, last, text)


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-10-05..2026-10-04", "2026-01-01..2027-12-31", "1990-01"]
)
def test_other_spans_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Span.parse(text)


# --- From the database ----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
async def places(database: Database) -> None:
    """Both points of CP-1 were free, and its link up, since September."""
    await add_places(database)
    await links(database, "CP-1", ("2026-09-01 08:00", True))
    for evse_id in (1, 2):
        await statuses(database, "CP-1", evse_id, ("2026-09-01 08:00", "available"))


async def read(
    pool: AsyncConnectionPool, span: Span = OCTOBER, *, now: datetime = NOVEMBER
) -> AvailabilityReport:
    async with pool.connection() as connection:
        return await availability_reading.read(
            connection, span, now, client_ids=None, site_id="tilleuls", points_max=100
        )


async def figures_of(
    pool: AsyncConnectionPool, span: Span = OCTOBER, *, now: datetime = NOVEMBER
) -> AvailabilityFigures:
    return (await read(pool, span, now=now)).figures


async def enter(
    pool: AsyncConnectionPool, kind: str, starts: str, ends: str, evse_id: int | None = None
) -> int:
    async with transaction(pool) as connection:
        found, _ = await windows.enter_window(
            connection,
            site_id="tilleuls",
            station_id=None if evse_id is None else "CP-1",
            evse_id=evse_id,
            kind=kind,
            starts_at=paris(starts),
            ends_at=paris(ends),
            cause="Travaux",
            actor=Actor("test"),
            now=NOVEMBER,
        )
    return found


async def test_a_month_of_two_points_adds_up_by_hand(
    database: Database, pool: AsyncConnectionPool
) -> None:
    """October 2026 has 745 hours in Paris. The station was away for 10; point 2 was faulted for 4,
    two of them within planned work of 6; the whole site was excluded for 5."""
    await links(database, "CP-1", ("2026-10-03 00:00", False), ("2026-10-03 10:00", True))
    await statuses(
        database, "CP-1", 2, ("2026-10-05 10:00", "faulted"), ("2026-10-05 14:00", "available")
    )
    await enter(pool, "planned", "2026-10-05 12:00", "2026-10-05 18:00", evse_id=2)
    await enter(pool, "excluded", "2026-10-06 00:00", "2026-10-06 05:00")
    found = await figures_of(pool)
    one, two = found.points
    assert one.availability == Availability(730 * HOUR, 10 * HOUR, 0, 5 * HOUR)
    assert two.availability == Availability(722 * HOUR, 12 * HOUR, 0, 11 * HOUR)
    assert one.availability.hundredths_of_percent == 9_865  # 730 of 740
    assert two.availability.hundredths_of_percent == 9_837  # 722 of 734
    assert found.total.hundredths_of_percent == 9_851  # 1 452 of 1 474
    assert [(o.duration_s, o.states) for o in two.outages] == [
        (10 * HOUR, (State.OFFLINE,)),
        (2 * HOUR, (State.FAULTED,)),
    ]


async def test_the_day_on_which_the_clock_is_put_back_has_25_hours(
    database: Database, pool: AsyncConnectionPool
) -> None:
    await run(
        database,
        """INSERT INTO station_link (station_key, at, up, node)
           SELECT station_key, at::timestamptz, up, 'n' FROM station,
                  (VALUES ('2026-10-25 02:30+02', false), ('2026-10-25 02:30+01', true)) v (at, up)
            WHERE id = 'CP-1'""",
    )
    found = await figures_of(pool, Span.parse("2026-10-25..2026-10-25"))
    assert found.points[0].availability == Availability(24 * HOUR, HOUR, 0, 0)
    spring = await figures_of(
        pool, Span.parse("2027-03-28..2027-03-28"), now=datetime(2027, 4, 1, tzinfo=UTC)
    )
    assert spring.points[0].availability == Availability(23 * HOUR, 0, 0, 0)


async def test_what_happened_before_the_period_says_how_it_began(
    database: Database, pool: AsyncConnectionPool
) -> None:
    """Statuses may come late: the fault of September was told in October."""
    await run(
        database,
        """INSERT INTO evse_status (station_key, at, received_at, evse_id, connector_id, status)
           SELECT station_key, '2026-09-30 20:00Z', '2026-10-01 05:00Z', 1, 1, 'faulted'
             FROM station WHERE id = 'CP-1'""",
    )
    await statuses(database, "CP-1", 1, ("2026-10-02 00:00", "available"))
    found = await figures_of(pool)
    assert found.points[0].availability == Availability(721 * HOUR, 24 * HOUR, 0, 0)
    assert found.points[1].availability == Availability(745 * HOUR, 0, 0, 0)


async def test_a_fault_of_the_station_is_one_of_both_points(
    database: Database, pool: AsyncConnectionPool
) -> None:
    await statuses(
        database, "CP-1", 0, ("2026-10-07 00:00", "faulted"), ("2026-10-07 03:00", "available")
    )
    found = await figures_of(pool)
    assert [one.seconds[State.FAULTED] for one in found.points] == [3 * HOUR, 3 * HOUR]


async def test_a_revoked_window_counts_no_more_and_is_still_shown(
    pool: AsyncConnectionPool,
) -> None:
    window_id = await enter(pool, "planned", "2026-10-05 12:00", "2026-10-05 18:00")
    assert (await figures_of(pool)).total.left_out_s == 12 * HOUR
    async with transaction(pool) as connection:
        await windows.revoke_window(
            connection, window_id, "Reporté", actor=Actor("test"), now=NOVEMBER
        )
    found = await read(pool)
    assert found.figures.total.left_out_s == 0
    assert [one.revoked_for for one in found.windows] == ["Reporté"]


async def test_a_point_of_which_nothing_was_ever_heard_is_unknown_not_up(
    database: Database, pool: AsyncConnectionPool
) -> None:
    async with pool.connection() as connection:
        found = await availability_reading.read(
            connection, OCTOBER, NOVEMBER, client_ids=None, site_id="ormes", points_max=9
        )
    assert found.figures.total == Availability(0, 0, 745 * HOUR, 0)
    assert found.figures.total.hundredths_of_percent is None


async def test_the_same_figures_are_found_whenever_they_are_asked_for(
    database: Database, pool: AsyncConnectionPool
) -> None:
    await links(database, "CP-1", ("2026-10-03 00:00", False), ("2026-10-03 10:00", True))
    first = await figures_of(pool)
    await links(database, "CP-1", ("2026-11-03 00:00", False))
    await statuses(database, "CP-1", 1, ("2026-11-03 00:00", "faulted"))
    assert await figures_of(pool, now=datetime(2027, 2, 1, tzinfo=UTC)) == first


async def test_a_manager_is_shown_the_points_of_her_clients_and_no_history_of_others(
    database: Database, people: AsyncConnectionPool, pool: AsyncConnectionPool
) -> None:
    await links(database, "CP-9", ("2026-09-01 08:00", True))
    await statuses(database, "CP-9", 1, ("2026-09-01 08:00", "available"))
    hers = await manager(database, "Les Ormes")
    async with acting(people, person_id=hers.id) as connection:
        found = await availability_reading.read(
            connection, OCTOBER, NOVEMBER, client_ids=None, points_max=9
        )
        assert [one.place.station_id for one in found.figures.points] == ["CP-9"]
        assert found.figures.total == Availability(745 * HOUR, 0, 0, 0)
        with pytest.raises(NotThere):
            await availability_reading.read(
                connection, OCTOBER, NOVEMBER, client_ids=None, site_id="tilleuls", points_max=9
            )
        cursor = await connection.execute("SELECT DISTINCT station_key FROM station_status")
        assert len(await cursor.fetchall()) == 1
    both = await figures_both(pool)
    assert [one.client for one in both.clients] == ["Les Ormes", "Les Tilleuls"]
    assert [one.points for one in both.clients] == [1, 2]


async def figures_both(pool: AsyncConnectionPool) -> AvailabilityFigures:
    async with pool.connection() as connection:
        found = await availability_reading.read(
            connection, OCTOBER, NOVEMBER, client_ids=None, points_max=9
        )
    return found.figures


async def test_too_many_points_and_a_month_ahead_are_refused(
    database: Database, pool: AsyncConnectionPool
) -> None:
    client_id = await client_id_of(database, "Les Tilleuls")
    async with pool.connection() as connection:
        with pytest.raises(Refusal, match="1 points at most"):
            await availability_reading.read(
                connection, OCTOBER, NOVEMBER, client_ids=[client_id], points_max=1
            )
        with pytest.raises(Refusal, match="not begun"):
            await availability_reading.read(
                connection, Span.parse("2026-12"), NOVEMBER, client_ids=None, points_max=9
            )
