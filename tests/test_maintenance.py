"""Months of the large tables, made and dropped with the rights of the application."""

from datetime import UTC, datetime

import psycopg
import pytest

from csms.db import Database, connect
from csms.maintenance import drop_old_journal, ensure_partitions

pytestmark = pytest.mark.native
NOW = datetime(2031, 1, 31, 23, 30, tzinfo=UTC)


async def fill(connection: psycopg.AsyncConnection, at: datetime) -> None:
    """One row of each partitioned table at that time."""
    await connection.execute(
        "INSERT INTO ocpp_message (at, station_key, direction, protocol, frame)"
        " VALUES (%s, 1, 'in', 'ocpp1.6', '[]')",
        [at],
    )
    await connection.execute(
        "INSERT INTO evse_status (station_key, at, received_at, evse_id, status)"
        " VALUES (1, %(at)s, %(at)s, 1, 'available')",
        {"at": at},
    )
    await connection.execute(
        "INSERT INTO meter_reading"
        " (station_key, stated_at, digest, at, received_at, profile_id, samples)"
        " VALUES (1, %(at)s, 1, %(at)s, %(at)s, 1, '{1}')",
        {"at": at},
    )


async def homes(connection: psycopg.AsyncConnection, table: str) -> list[str]:
    """The partitions in which the table's rows are, oldest row first."""
    column = {"ocpp_message": "at", "evse_status": "received_at", "meter_reading": "stated_at"}
    cursor = await connection.execute(
        f"SELECT tableoid::regclass::text FROM {table} ORDER BY {column[table]}".encode()
    )
    return [row[0] for row in await cursor.fetchall()]


async def test_months_are_made_from_the_last_to_those_ahead(database: Database) -> None:
    async with await connect(database) as connection:
        made = await ensure_partitions(connection, NOW, 2)
        assert [name for name in made if name.startswith("ocpp")] == [
            "ocpp_message_2030_12",
            "ocpp_message_2031_01",
            "ocpp_message_2031_02",
            "ocpp_message_2031_03",
        ]
        assert len(made) == 12
        assert await ensure_partitions(connection, NOW, 2) == []


@pytest.mark.parametrize("table", ["ocpp_message", "evse_status", "meter_reading"])
async def test_rows_that_came_before_their_month_move_into_it(
    database: Database, table: str
) -> None:
    edges = [
        datetime(2030, 12, 31, 23, 59, 59, 999999, UTC),
        datetime(2031, 1, 1, tzinfo=UTC),
        datetime(2031, 1, 31, 23, 59, 59, 999999, UTC),
        datetime(2031, 2, 1, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
    ]
    async with await connect(database) as connection:
        for at in edges:
            await fill(connection, at)
        assert set(await homes(connection, table)) == {f"{table}_default"}
        await ensure_partitions(connection, NOW, 1)
        assert await homes(connection, table) == [
            f"{table}_default",
            f"{table}_2030_12",
            f"{table}_2031_01",
            f"{table}_2031_01",
            f"{table}_2031_02",
        ]


async def test_a_new_month_has_the_indexes_and_the_key_of_its_table(database: Database) -> None:
    async with await connect(database) as connection:
        await ensure_partitions(connection, NOW, 0)
        await fill(connection, NOW)
        with pytest.raises(psycopg.errors.UniqueViolation):  # a reading is stored once
            await connection.execute(
                "INSERT INTO meter_reading SELECT * FROM meter_reading WHERE stated_at = %s", [NOW]
            )
        cursor = await connection.execute(
            """SELECT count(*) FILTER (WHERE tablename = 'ocpp_message_2031_01'),
                      count(*) FILTER (WHERE tablename = 'evse_status_2031_01')
                 FROM pg_indexes"""
        )
        assert await cursor.fetchone() == (2, 1)
        cursor = await connection.execute(
            "SELECT reloptions FROM pg_class WHERE relname = 'ocpp_message_2031_01'"
        )
        assert await cursor.fetchone() == (["toast_tuple_target=8160"],)


async def test_the_journal_keeps_its_months_and_drops_the_older(database: Database) -> None:
    async with await connect(database) as connection:
        for month in (4, 5, 6, 9):
            await ensure_partitions(connection, datetime(2030, month, 15, tzinfo=UTC), 0)
        await fill(connection, datetime(2029, 1, 1, tzinfo=UTC))  # in the default partition
        for month in (4, 5, 6, 9):
            await fill(connection, datetime(2030, month, 2, tzinfo=UTC))
        now = datetime(2030, 11, 5, tzinfo=UTC)
        dropped = await drop_old_journal(connection, now, 6)
        assert sorted(name for name in dropped if name >= "ocpp_message_2030") == [
            "ocpp_message_2030_03",
            "ocpp_message_2030_04",
        ]
        assert await homes(connection, "ocpp_message") == [
            "ocpp_message_2030_05",
            "ocpp_message_2030_06",
            "ocpp_message_2030_09",
        ]
        assert len(await homes(connection, "meter_reading")) == 5, "readings are kept"
        assert await drop_old_journal(connection, now, 6) == []


async def test_a_long_reader_stops_no_writer_for_long(database: Database) -> None:
    """A backup reads for minutes: making a month gives up, and rows wait where they are."""
    async with await connect(database) as reader, await connect(database) as connection:
        async with reader.transaction():
            await reader.execute("SELECT count(*) FROM ocpp_message")
            await reader.execute("SELECT count(*) FROM meter_reading")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await ensure_partitions(connection, NOW, 0)
            await fill(connection, NOW)
        assert len(await ensure_partitions(connection, NOW, 0)) == 6
        assert await homes(connection, "ocpp_message") == ["ocpp_message_2031_01"]


async def test_another_table_is_refused(database: Database) -> None:
    async with await connect(database) as connection:
        with pytest.raises(psycopg.errors.RaiseException, match="not partitioned"):
            await connection.execute("SELECT ensure_month('session', '2031-01-01')")
