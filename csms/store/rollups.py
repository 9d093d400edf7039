"""SQL of the daily counts of readings, statuses and messages, where no extension keeps them.

A pass counts anew every day that got rows since the pass before, late readings too; it can run
twice. A row may be committed a while after the time that it bears: hence the lag.
"""

from datetime import datetime, timedelta

from psycopg import AsyncConnection

COMMIT_LAG = timedelta(minutes=5)


async def count_days(connection: AsyncConnection, now: datetime) -> bool:
    """Count the days that changed; False where TimescaleDB does it."""
    cursor = await connection.execute("SELECT kind = 'native' FROM schema_storage")
    if await cursor.fetchone() != (True,):
        return False
    for name, count in (
        ("message", _count_messages),
        ("status", _count_statuses),
        ("reading", _count_readings),
    ):
        async with connection.transaction():
            await connection.execute(
                "SELECT 1 FROM schema_rollup WHERE name = %s FOR UPDATE", (name,)
            )
            await count(connection, name)
            await _note_counted(connection, name, now - COMMIT_LAG)
    return True


async def _note_counted(connection: AsyncConnection, name: str, counted_to: datetime) -> None:
    await connection.execute(
        "UPDATE schema_rollup SET counted_to = %s WHERE name = %s", (counted_to, name)
    )


async def _count_messages(connection: AsyncConnection, name: str) -> None:
    """The days since the one that was counted last; messages bear the time of receipt."""
    await connection.execute(
        """
        DELETE FROM message_rollup
         WHERE day >= (SELECT date_trunc('day', counted_to, 'UTC') FROM schema_rollup
                        WHERE name = %s)
        """,
        (name,),
    )
    await connection.execute(
        """
        INSERT INTO message_rollup (station_key, direction, action, day, messages, answered)
        SELECT station_key, direction, coalesce(action, ''), date_trunc('day', at, 'UTC'),
               count(*), count(answer)
          FROM ocpp_message
         WHERE at >= (SELECT date_trunc('day', counted_to, 'UTC') FROM schema_rollup
                       WHERE name = %s)
         GROUP BY 1, 2, 3, 4
        """,
        (name,),
    )


async def _count_statuses(connection: AsyncConnection, name: str) -> None:
    """The same of statuses."""
    await connection.execute(
        """
        DELETE FROM status_rollup
         WHERE day >= (SELECT date_trunc('day', counted_to, 'UTC') FROM schema_rollup
                        WHERE name = %s)
        """,
        (name,),
    )
    await connection.execute(
        """
        INSERT INTO status_rollup (station_key, evse_id, status, day, changes)
        SELECT station_key, evse_id, status, date_trunc('day', received_at, 'UTC'), count(*)
          FROM evse_status
         WHERE received_at >= (SELECT date_trunc('day', counted_to, 'UTC') FROM schema_rollup
                                WHERE name = %s)
         GROUP BY 1, 2, 3, 4
        """,
        (name,),
    )


async def _count_readings(connection: AsyncConnection, name: str) -> None:
    """The days of the readings that came since: they bear the station's own time, often a late
    one."""
    await connection.execute(
        """
        CREATE TEMPORARY TABLE day_counted ON COMMIT DROP AS
        SELECT DISTINCT date_trunc('day', stated_at, 'UTC') AS day FROM meter_reading
         WHERE received_at >= (SELECT counted_to FROM schema_rollup WHERE name = %s)
        """,
        (name,),
    )
    await connection.execute("DELETE FROM reading_rollup r USING day_counted d WHERE r.day = d.day")
    await connection.execute(
        """
        INSERT INTO reading_rollup (station_key, evse_id, day, readings, first_at, last_at)
        SELECT m.station_key, coalesce(m.evse_id, 0), d.day, count(*), min(m.stated_at),
               max(m.stated_at)
          FROM day_counted d
          JOIN meter_reading m ON m.stated_at >= d.day AND m.stated_at < d.day + interval '1 day'
         GROUP BY 1, 2, 3
        """
    )
