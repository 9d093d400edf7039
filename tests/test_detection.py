"""What happened without anybody calling: found once, and nothing of long ago."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csms import db, notices
from csms.config import Settings
from csms.db import Database
from csms.domain.session import Flag
from csms.notifications import detection
from csms.notifications.catalogue import CATALOGUE
from tests.recorder_node import as_owner, provision, query, running_node

NOW = datetime(2026, 11, 22, 13, 5, tzinfo=UTC)
SETTINGS = Settings()

WORLD = """
INSERT INTO client (name) VALUES ('Résidence Exemple');
INSERT INTO site (id, client_id, name) VALUES ('exemple', 2, 'Parking B1');
INSERT INTO station (id, client_id, site_id) VALUES ('CP-1', 2, 'exemple');
INSERT INTO evse (station_key, evse_id) VALUES (1, 1), (1, 2);
INSERT INTO connector (station_key, evse_id, connector_id) VALUES (1, 1, 1), (1, 2, 1);
INSERT INTO person (email) VALUES ('camille@example.org'), ('former@example.org');
INSERT INTO driver (person_id) VALUES (1), (2);
INSERT INTO token (uid_key, uid) VALUES ('04ab', '04AB');
INSERT INTO driver_badge (token_key, uid_key, person_id, from_at, to_at)
    VALUES (1, '04ab', 2, '2025-01-01', '2026-01-01'), (1, '04ab', 1, '2026-01-01', NULL);
"""


@pytest.fixture
async def world(database: Database) -> Database:
    await as_owner(database, WORLD)
    return database


async def detect(database: Database, **later: float) -> int:
    async with await db.connect(database) as connection:
        return await detection.detect(connection, SETTINGS, NOW + timedelta(**later))


async def told(database: Database) -> list[tuple[str, str]]:
    return await query(database, "SELECT event, subject FROM notification ORDER BY id")


async def add_session(database: Database, id: int, **values: Any) -> None:
    row = {
        "id": id,
        "client_id": 2,
        "site_id": "exemple",
        "station_key": 1,
        "start_key": str(id),
        "transaction_id": str(id),
        "evse_id": 1,
        "token_uid": "04AB",
        "authorization_status": "Accepted",
        "state": "active",
        "started_at": NOW - timedelta(hours=1),
        "ended_at": None,
        "stop_reason": None,
        "energy_wh": None,
    } | values
    async with await db.connect(database, owner=True) as owner:
        await owner.execute(
            """
            INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id,
                                 evse_id, token_uid, authorization_status, state, started_at,
                                 ended_at, stop_reason, energy_wh)
            VALUES (%(id)s, %(client_id)s, %(site_id)s, %(station_key)s, %(start_key)s,
                    %(transaction_id)s, %(evse_id)s, %(token_uid)s, %(authorization_status)s,
                    %(state)s, %(started_at)s, %(ended_at)s, %(stop_reason)s, %(energy_wh)s)
            """,
            row,
        )


async def test_a_session_is_told_once_when_it_begins_and_once_when_it_is_over(
    world: Database,
) -> None:
    await add_session(world, 7)
    assert await detect(world) == 1
    assert await detect(world) == 0
    await as_owner(
        world,
        """UPDATE session SET state = 'ended', ended_at = '2026-11-22 13:00Z', energy_wh = 7400,
                  stop_reason = 'Local'""",
    )
    assert await detect(world) == 1
    assert await detect(world) == 0
    assert await told(world) == [("session.started", "session 7"), ("session.ended", "session 7")]
    ((data, person_id, client_id),) = await query(
        world,
        "SELECT data, person_id, client_id FROM notification WHERE event = 'session.ended'",
    )
    assert (person_id, client_id) == (1, 2)
    assert data == {
        "session_id": 7,
        "station_id": "CP-1",
        "evse_id": 1,
        "site": "Parking B1",
        "time_zone": "Europe/Paris",
        "started_at": "2026-11-22T12:05:00+00:00",
        "ended_at": "2026-11-22T13:00:00+00:00",
        "energy_wh": 7400,
        "reason": None,
    }


@pytest.mark.parametrize(
    ("state", "stop_reason", "event", "reason"),
    [
        ("ended", "Local", "session.ended", None),
        ("ended", "Remote", "session.ended", None),
        ("ended", "EVDisconnected", "session.ended", None),
        ("ended", None, "session.ended", None),
        ("ended", "PowerLoss", "session.interrupted", "power"),
        ("ended", "OvercurrentFault", "session.interrupted", "fault"),
        ("ended", "ImmediateReset", "session.interrupted", "restart"),
        ("lost", None, "session.interrupted", "silent"),
    ],
)
async def test_an_end_before_its_time_is_an_interruption(
    world: Database, state: str, stop_reason: str | None, event: str, reason: str | None
) -> None:
    await add_session(world, 7, state=state, ended_at=NOW, stop_reason=stop_reason)
    assert await detect(world) == 1
    assert await query(world, "SELECT event, data ->> 'reason' FROM notification") == [
        (event, reason)
    ]


async def test_a_stop_that_comes_after_all_is_not_told_again(world: Database) -> None:
    await add_session(world, 7, state="lost", ended_at=NOW)
    assert await detect(world) == 1
    await as_owner(world, f"UPDATE session SET state = 'ended', flags = '{{{Flag.LATE_STOP}}}'")
    assert await detect(world) == 0


async def test_a_session_belongs_to_who_had_the_badge_then(world: Database) -> None:
    await add_session(
        world, 7, started_at=datetime(2025, 12, 31, tzinfo=UTC), state="ended", ended_at=NOW
    )
    await detect(world)
    assert await query(world, "SELECT person_id FROM notification") == [(2,)]


async def test_a_session_of_nobodys_badge_is_told_to_machines_only(world: Database) -> None:
    await add_session(world, 7, token_uid="FFFF")
    assert await detect(world) == 0
    await as_owner(
        world,
        """INSERT INTO webhook (client_id, url, secret, created_at, created_by, updated_at)
           VALUES (2, 'https://example.org/', '\\x01', now(), 'test', now())""",
    )
    assert await detect(world) == 1


async def test_an_old_database_is_not_told_of(world: Database) -> None:
    for days in range(1, 400, 40):
        at = NOW - timedelta(days=days, minutes=1)
        await add_session(world, days, started_at=at, ended_at=at, state="ended")
        await add_session(world, days + 1, started_at=at, token_uid=f"b{days}")
    await as_owner(
        world,
        """INSERT INTO station_connection VALUES
               (1, 'n', 1, 'ocpp1.6', '', '2026-01-01', '2026-01-02', '2026-01-02');
           UPDATE evse SET status = 'faulted', status_at = '2026-01-02'""",
    )
    assert await detect(world) == 0


async def connect(database: Database, *, generation: int, at: float, until: float | None) -> None:
    """The station's connection as it stands, in minutes after NOW."""
    async with await db.connect(database, owner=True) as owner:
        await owner.execute(
            """
            INSERT INTO station_connection VALUES
                   (1, 'n', %(g)s, 'ocpp1.6', '', %(at)s, %(at)s, %(until)s)
            ON CONFLICT (station_key) DO UPDATE
               SET generation = %(g)s, connected_at = %(at)s, disconnected_at = %(until)s
            """,
            {
                "g": generation,
                "at": NOW + timedelta(minutes=at),
                "until": None if until is None else NOW + timedelta(minutes=until),
            },
        )


async def test_a_station_is_told_to_be_away_and_back_when_it_stays_so(world: Database) -> None:
    await connect(world, generation=1, at=-60, until=0)
    assert await detect(world, minutes=14) == 0
    assert await detect(world, minutes=16) == 1
    assert await detect(world, minutes=17) == 0
    await connect(world, generation=2, at=20, until=None)
    assert await detect(world, minutes=24) == 0
    assert await detect(world, minutes=26) == 1
    assert await detect(world, minutes=27) == 0
    assert await told(world) == [
        ("station.offline", "station CP-1"),
        ("station.back", "station CP-1"),
    ]


async def test_a_station_that_comes_and_goes_is_told_once(world: Database) -> None:
    await connect(world, generation=1, at=-60, until=0)
    assert await detect(world, minutes=16) == 1
    for generation in range(2, 10):  # four minutes there, sixteen away
        at = 20.0 * (generation - 1)
        await connect(world, generation=generation, at=at, until=None)
        assert await detect(world, minutes=at + 4) == 0
        await connect(world, generation=generation, at=at, until=at + 4)
        assert await detect(world, minutes=at + 19.5) == 0
    assert await told(world) == [("station.offline", "station CP-1")]


async def test_a_station_that_goes_again_within_the_hour_is_told_at_its_end(
    world: Database,
) -> None:
    assert CATALOGUE["station.offline"].repeat_s == 3600
    await connect(world, generation=1, at=-60, until=0)
    assert await detect(world, minutes=16) == 1
    await connect(world, generation=2, at=17, until=None)
    assert await detect(world, minutes=23) == 1
    await connect(world, generation=2, at=17, until=25)
    assert await detect(world, minutes=45) == 0
    assert await detect(world, minutes=77) == 1, "still away, and the hour is over"


async def test_retired_stations_are_nobodys_worry(world: Database) -> None:
    await connect(world, generation=1, at=-60, until=0)
    await as_owner(world, "UPDATE station SET retired_at = now()")
    assert await detect(world, minutes=16) == 0


async def test_a_fault_is_told_for_each_point_and_so_is_its_end(world: Database) -> None:
    await as_owner(
        world,
        """UPDATE evse SET status = 'faulted', status_at = '2026-11-22 13:05Z' WHERE evse_id = 2;
           UPDATE connector SET status = 'faulted', error_code = 'GroundFailure'
            WHERE evse_id = 2""",
    )
    assert await detect(world, minutes=1) == 0
    assert await detect(world, minutes=3) == 1
    assert await detect(world, minutes=4) == 0
    await as_owner(
        world,
        """UPDATE evse SET status = 'available', status_at = '2026-11-22 13:15Z'
            WHERE evse_id = 2""",
    )
    assert await detect(world, minutes=12) == 0
    assert await detect(world, minutes=16) == 1
    assert await query(
        world,
        """SELECT event, subject, data -> 'evse_id', data ->> 'error_code'
             FROM notification ORDER BY id""",
    ) == [
        ("station.faulted", "point CP-1/2", 2, "GroundFailure"),
        ("station.repaired", "point CP-1/2", 2, None),
    ]


async def test_who_waits_for_a_free_point_is_told_once(world: Database) -> None:
    async with await db.connect(world) as connection, connection.transaction():
        first = await notices.watch(connection, 1, NOW, site_id="exemple")
        assert await notices.watch(connection, 1, NOW, site_id="exemple") == first
        await notices.watch(connection, 2, NOW, station_id="CP-1", evse_id=2)
        await notices.watch(connection, 2, NOW, station_id="CP-1", evse_id=1, lasts_s=60)
    assert await detect(world) == 0, "its state is not known"
    await connect(world, generation=1, at=-60, until=None)
    await as_owner(world, "UPDATE evse SET status = 'occupied', status_at = now()")
    assert await detect(world) == 0
    await as_owner(world, "UPDATE evse SET status = 'available' WHERE evse_id = 1")
    assert await detect(world, minutes=2) == 1
    assert await detect(world, minutes=3) == 0
    assert await query(world, "SELECT event, person_id, subject FROM notification") == [
        ("point.free", 1, "point CP-1/1")
    ]
    async with await db.connect(world) as connection, connection.transaction():
        again = await notices.watch(connection, 1, NOW, site_id="exemple")
        assert again != first
        with pytest.raises(notices.NotThere):
            await notices.watch(connection, 1, NOW, station_id="CP-9")


async def test_a_session_on_a_point_keeps_it_from_being_free(world: Database) -> None:
    await connect(world, generation=1, at=-60, until=None)
    await as_owner(world, "UPDATE evse SET status = 'available'")
    await add_session(world, 7, token_uid="FFFF")
    async with await db.connect(world) as connection, connection.transaction():
        await notices.watch(connection, 1, NOW, station_id="CP-1", evse_id=1)
    assert await detect(world) == 0


async def test_old_notifications_go_but_those_of_contracts_stay(world: Database) -> None:
    await as_owner(
        world,
        """INSERT INTO notification (event, at, resolved_at)
           SELECT event, at::timestamptz, at::timestamptz
             FROM unnest(ARRAY['session.ended', 'contract.notice']) event,
                  unnest(ARRAY['2026-01-01', '2026-11-01']) at""",
    )
    async with await db.connect(world) as connection:
        assert await detection.drop_old(connection, SETTINGS, NOW) == 1
        assert await detection.drop_old(connection, SETTINGS, NOW) == 0


async def test_what_a_real_station_tells_is_found(database: Database, settings: Settings) -> None:
    await provision(database, ["CP1"], ["A"])
    await as_owner(
        database,
        """INSERT INTO person (email) VALUES ('camille@example.org');
           INSERT INTO driver (person_id) VALUES (1);
           INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
               SELECT token_key, uid_key, 1, '2026-01-01' FROM token""",
    )
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        id = (await station.start("A"))["transactionId"]
        async with await db.connect(database) as connection:
            assert await detection.detect(connection, settings, datetime.now(UTC)) == 1
        await station.call(
            "StopTransaction",
            {
                "transactionId": id,
                "meterStop": 8400,
                "timestamp": datetime.now(UTC).isoformat(),
                "reason": "PowerLoss",
            },
        )
        async with await db.connect(database) as connection:
            assert await detection.detect(connection, settings, datetime.now(UTC)) == 1
    assert await query(
        database,
        "SELECT event, data ->> 'reason', data -> 'energy_wh' FROM notification ORDER BY id",
    ) == [("session.started", None, None), ("session.interrupted", "power", 7400)]
