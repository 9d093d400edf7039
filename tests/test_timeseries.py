"""How the large tables are kept: the choice, and the same answers from either side."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from csms import backup, checks, db, maintenance, timeseries
from csms.config import Settings
from csms.db import Database
from csms.store import rollups
from tests.scenarios.gate import Gate, ask, heartbeat, open_gate

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
#: functions of TimescaleDB 2.13 or newer, as its documentation has them
DOCUMENTED = {
    "add_compression_policy",
    "add_continuous_aggregate_policy",
    "by_range",
    "create_hypertable",
    "drop_chunks",
    "refresh_continuous_aggregate",
    "time_bucket",
}
PLAIN = {"count", "min", "max", "coalesce", "now", "date_trunc"}
VIEWS = {
    "message_day": "SELECT station_key, direction, coalesce(action, ''),"
    " date_trunc('day', at, 'UTC'), count(*), count(answer) FROM ocpp_message GROUP BY 1, 2, 3, 4",
    "status_day": "SELECT station_key, evse_id, status, date_trunc('day', received_at, 'UTC'),"
    " count(*) FROM evse_status GROUP BY 1, 2, 3, 4",
    "reading_day": "SELECT station_key, coalesce(evse_id, 0), date_trunc('day', stated_at, 'UTC'),"
    " count(*), min(stated_at), max(stated_at) FROM meter_reading GROUP BY 1, 2, 3",
}


async def rows(connection: AsyncConnection, statement: str) -> list[Any]:
    cursor = await connection.execute(statement.encode())
    return sorted(await cursor.fetchall())


async def write(connection: AsyncConnection, received_at: datetime, stated_at: datetime) -> None:
    """A message, a status and a reading of one station."""
    await connection.execute(
        "INSERT INTO ocpp_message (at, station_key, direction, protocol, action, frame, answer)"
        " SELECT %s, station_key, 'in', 'ocpp1.6', 'Heartbeat', '[]', '[]' FROM station",
        (received_at,),
    )
    await connection.execute(
        "INSERT INTO evse_status (station_key, at, received_at, evse_id, status)"
        " SELECT station_key, %s, %s, 1, 'available' FROM station",
        (received_at, received_at),
    )
    await connection.execute(
        "INSERT INTO meter_reading (station_key, stated_at, digest, at, received_at, profile_id,"
        " samples) SELECT station_key, %s, 1, %s, %s, 1, '{1}' FROM station",
        (stated_at, stated_at, received_at),
    )


async def compare(connection: AsyncConnection) -> None:
    """Every view gives what the tables hold."""
    for view, statement in VIEWS.items():
        assert await rows(connection, f"SELECT * FROM {view}") == await rows(connection, statement)


@pytest.mark.native
async def test_server_without_the_extension_keeps_native_months(database: Database) -> None:
    async with await db.connect(database, owner=True) as connection:
        assert not await timeseries.is_usable(connection)
        assert await timeseries.settle(connection) == timeseries.NATIVE
        assert await rows(connection, "SELECT kind FROM schema_storage") == [("native",)]


@pytest.mark.native
@pytest.mark.parametrize(
    ("version", "installed", "loaded", "licence", "schema", "obstacle"),
    [
        ("2.23.0-dev", True, True, "timescale", "public", None),
        ("2.12.2", True, True, "timescale", "public", "version 2.12.2 is older than 2.13"),
        ("2.17.2", False, False, "timescale", "public", "not in the server's shared_preload"),
        ("2.17.2", True, True, "apache", "public", "its Apache edition has no compression"),
        ("2.17.2", True, True, "timescale", "pg_catalog", "in another schema than ours"),
    ],
)
async def test_extension_is_used_where_nothing_stands_in_its_way(
    database: Database,
    caplog: pytest.LogCaptureFixture,
    version: str,
    installed: bool,
    loaded: bool,
    licence: str,
    schema: str,
    obstacle: str | None,
) -> None:
    """Catalogues of such a server, put before the real ones."""
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            f"""
            CREATE TEMPORARY VIEW pg_available_extensions AS
                SELECT 'timescaledb' AS name, '{version}' AS default_version,
                       CASE WHEN {installed} THEN '{version}' END AS installed_version;
            CREATE TEMPORARY VIEW pg_settings AS
                SELECT 'timescaledb.disable_load' AS name WHERE {loaded};
            CREATE TEMPORARY VIEW pg_extension AS
                SELECT 'timescaledb' AS extname, '{schema}'::regnamespace AS extnamespace;
            SET timescaledb.license = '{licence}';
            SET search_path = public, pg_temp, pg_catalog;
            """.encode()
        )
        assert await timeseries.is_usable(connection) is (obstacle is None)
    assert [obstacle in record.message for record in caplog.records if obstacle] == (
        [True] if obstacle else []
    )


@pytest.mark.native
async def test_extension_out_of_reach_is_no_error(database: Database) -> None:
    """Where its library is loaded, and the role may read no setting of the server."""
    async with await db.connect(database, owner=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("SHOW shared_preload_libraries")
        await connection.execute("SET timescaledb.unknown = 'x'")
        assert await rows(
            connection, "SELECT count(*) FROM pg_settings WHERE name LIKE 'timescaledb.%'"
        ) == [(0,)], "what anybody may write in a file is no proof"


@pytest.mark.native
async def test_days_are_counted_as_they_are_however_late_their_rows_come(
    database: Database,
) -> None:
    async with await db.connect(database) as connection:
        await connection.execute("INSERT INTO station (id) VALUES ('CP1'), ('CP2')")
        await compare(connection)
        for number in range(6):
            at = NOW - 5 * DAY + number * DAY
            await write(connection, at, at)
            await compare(connection)  # before anything is counted, and between two passes
            assert await rollups.count_days(connection, at)
            await compare(connection)
        await write(connection, NOW + timedelta(minutes=1), NOW - 4 * DAY + timedelta(hours=1))
        later = NOW + timedelta(minutes=15)
        for _ in range(2):  # twice is once
            await rollups.count_days(connection, later)
            await compare(connection)
        assert len(await rows(connection, "SELECT * FROM reading_rollup")) == 12


@pytest.mark.native
async def test_rows_of_a_node_that_was_cut_off_are_counted_when_they_come(
    database: Database,
) -> None:
    """Received yesterday and the day before, committed today."""
    async with await db.connect(database) as connection:
        await connection.execute("INSERT INTO station (id) VALUES ('CP1')")
        for at in (NOW - 2 * DAY, NOW - DAY, NOW):
            await write(connection, at, at)
            await rollups.count_days(connection, at)
        for hours in (30, 20):
            at = NOW - timedelta(hours=hours)
            await write(connection, at, at)
        await rollups.count_days(connection, NOW + timedelta(hours=12))
        await compare(connection)


@pytest.mark.native
async def test_counts_survive_a_worker_whose_clock_leapt_ahead(database: Database) -> None:
    async with await db.connect(database) as connection:
        await connection.execute("INSERT INTO station (id) VALUES ('CP1')")
        await write(connection, NOW - DAY, NOW - DAY)
        await rollups.count_days(connection, NOW + 400 * DAY)
        await write(connection, NOW, NOW)
        for hours in (1, 25):
            await rollups.count_days(connection, NOW + timedelta(hours=hours))
            await compare(connection)


@pytest.mark.native
async def test_counts_of_a_journal_outlive_it(database: Database) -> None:
    async with await db.connect(database) as connection:
        await connection.execute("INSERT INTO station (id) VALUES ('CP1')")
        for at in (NOW - 300 * DAY, NOW):
            await write(connection, at, at)
        await rollups.count_days(connection, NOW)
        await maintenance.drop_old_journal(connection, NOW, 6)
        assert await rows(connection, "SELECT count(*) FROM ocpp_message") == [(1,)]
        for later in (timedelta(minutes=15), DAY):
            await rollups.count_days(connection, NOW + later)
            assert await rows(connection, "SELECT sum(messages) FROM message_day") == [(2,)]


async def count(database: Database) -> None:
    """What the worker does on one side, and TimescaleDB's own jobs on the other."""
    async with await db.connect(database) as connection:
        if await rollups.count_days(connection, NOW):
            return
    async with await db.connect(database, owner=True) as connection:
        for statement in timeseries.first_count():
            if statement.startswith("CALL"):
                await connection.execute(statement.encode())


async def test_the_same_queries_give_the_same_answers(database: Database) -> None:
    """On whatever the tests run."""
    async with await db.connect(database) as connection:
        await connection.execute("INSERT INTO station (id) VALUES ('CP1'), ('CP2')")
        for number in range(40):
            await write(connection, NOW - number * DAY, NOW - 3 * number * DAY)
        await compare(connection)
        for late in (200 * DAY, 55 * DAY, timedelta(hours=2)):
            await count(database)
            await compare(connection)
            await write(connection, NOW, NOW - late)
            await connection.execute(  # and what is there already, once more
                "INSERT INTO meter_reading SELECT * FROM meter_reading ON CONFLICT DO NOTHING"
            )
        await count(database)
        await compare(connection)


def test_other_branch_uses_documented_functions_only() -> None:
    text = "\n".join(timeseries.conversion() + timeseries.first_count())
    ours = {"ensure_month", "drop_journal_before"}
    called = set(re.findall(r"\b([a-z_]+)\(", text)) - PLAIN - ours
    assert called == DOCUMENTED
    for series in timeseries.SERIES:
        assert f"create_hypertable('{series.table}', by_range('{series.time}'" in text
        assert f"add_compression_policy('{series.table}'" in text
        assert f"CREATE MATERIALIZED VIEW {series.rollup} WITH (timescaledb.continuous" in text
        assert f"GRANT SELECT, INSERT ON {series.table} TO t2p_service" in text
    assert text.index("create_hypertable(") < text.index("INSERT INTO meter_reading SELECT")


STAND_INS = """
    CREATE TABLE called (what text);
    CREATE FUNCTION by_range(name text, span interval) RETURNS text LANGUAGE sql
        AS 'SELECT name || '' '' || span';
    CREATE FUNCTION create_hypertable(relation regclass, dimension text,
                                      create_default_indexes boolean) RETURNS void
        LANGUAGE sql AS 'INSERT INTO called VALUES (relation || '' by '' || dimension)';
    CREATE FUNCTION add_compression_policy(relation regclass, after interval) RETURNS void
        LANGUAGE sql AS 'INSERT INTO called VALUES (relation || '' compressed'')';
    CREATE FUNCTION add_continuous_aggregate_policy(relation regclass, start_offset interval,
        end_offset interval, schedule_interval interval) RETURNS void
        LANGUAGE sql AS 'INSERT INTO called VALUES (relation || '' refreshed'')';
    CREATE FUNCTION time_bucket(width interval, at timestamptz) RETURNS timestamptz
        LANGUAGE sql AS 'SELECT date_trunc(''day'', at, ''UTC'')';
    CREATE PROCEDURE refresh_continuous_aggregate(relation regclass, low timestamptz,
                                                  high timestamptz)
        LANGUAGE sql AS 'INSERT INTO called VALUES (relation || '' counted'')';
    CREATE FUNCTION drop_chunks(relation regclass, older_than timestamptz) RETURNS SETOF text
        LANGUAGE sql AS 'SELECT ''_chunk_'' || relation';
"""


def plain(statement: str) -> str | None:
    """The statement as a server without the extension can run it; None: it has nothing to run."""
    if "SET (timescaledb." in statement:
        return None
    found = re.fullmatch(
        r"CREATE MATERIALIZED VIEW (\w+) WITH \(.*?\) AS (.*) WITH NO DATA", statement
    )
    return f"CREATE VIEW {found[1]} AS {found[2]}" if found else statement


@pytest.fixture
async def converted(database: Database) -> Database:
    """A filled database after the conversion, what only the extension can do stood in for."""
    async with await db.connect(database, owner=True) as connection:
        await connection.execute("INSERT INTO station (id) VALUES ('CP1')")
        for number in range(3):
            await write(connection, NOW - number * DAY, NOW - number * DAY)
        await connection.execute(STAND_INS.encode())
        async with connection.transaction():
            for statement in timeseries.conversion():
                text = plain(statement)
                if text is not None:
                    await connection.execute(text.encode())
        # The next migrator finds the tables moved and not yet counted, and no views.
    assert await db.migrate(database) == []
    return database


@pytest.mark.native
async def test_conversion_moves_every_row_and_the_same_queries_give_the_same_answers(
    converted: Database,
) -> None:
    async with await db.connect(converted) as connection:
        for table in ("ocpp_message", "evse_status", "meter_reading"):
            assert await rows(connection, f"SELECT count(*) FROM {table}") == [(3,)]
        await compare(connection)
        await write(connection, NOW, NOW - 9 * DAY)
        await compare(connection)
        with pytest.raises(psycopg.errors.UniqueViolation):
            await write(connection, NOW, NOW - 9 * DAY)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("DELETE FROM meter_reading")
    async with await db.connect(converted, owner=True) as connection:
        called = await rows(connection, "SELECT what FROM called")
        assert ("meter_reading by stated_at 7 days",) in called
        for series in timeseries.SERIES:
            assert called.count((f"{series.rollup} counted",)) == 1
        assert await timeseries.settle(connection) == timeseries.TIMESCALE
        assert await rows(connection, "SELECT what FROM called") == called, "once and for good"


@pytest.mark.native
async def test_maintenance_leaves_hypertables_to_the_extension(converted: Database) -> None:
    async with await db.connect(converted) as connection:
        assert await maintenance.ensure_partitions(connection, NOW, 2) == []
        assert await maintenance.drop_old_journal(connection, NOW, 6) == ["_chunk_ocpp_message"]
        assert await rollups.count_days(connection, NOW) is False
        found = dict(await checks.find_offences(connection, NOW))
        assert not [check for check, bad in found.items() if bad and "partition" in check.name]
    with pytest.raises(backup.BackupError, match="TimescaleDB"):
        await backup.backup(converted, Path("unused"))


@pytest.mark.native
async def test_gateway_works_above_converted_tables(
    settings: Settings, converted: Database
) -> None:
    async with open_gate(settings, converted) as gate:
        await told(gate)
    async with await db.connect(converted) as connection:
        await compare(connection)


async def told(gate: Gate) -> None:
    """A station says something of each kind, a reading twice."""
    async with gate.connect("CP1") as station:
        await heartbeat(station)
        status = {"connectorId": 1, "errorCode": "NoError", "status": "Preparing"}
        await ask(station, "StatusNotification", status, "2")
        values = [{"timestamp": "2026-11-25T12:05:00Z", "sampledValue": [{"value": "1400"}]}]
        for message_id in ("3", "4"):
            payload = {"connectorId": 1, "meterValue": values}
            await ask(station, "MeterValues", payload, message_id)
    assert await gate.rows(
        "SELECT count(*) FROM meter_reading WHERE received_at > now() - interval '1 hour'"
    ) == [(1,)]
