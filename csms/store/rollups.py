"""SQL of the daily counts of readings, statuses and messages, where no extension keeps them.

A pass counts anew every day that got rows since the pass before, late readings too; it can run
twice. Rows are found by when they were received, and are committed later than that: moments later,
or hours later by a node that was cut off from the database. So every pass looks back an hour, and
the first of each day looks back three days.
"""

from datetime import datetime

from psycopg import AsyncConnection


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
            await count(connection, await _lock_since(connection, name, now))
            await _note_counted(connection, name, now)
    return True


async def _lock_since(connection: AsyncConnection, name: str, now: datetime) -> str:
    """From when on there may be rows not counted yet; a text, since it can be -infinity."""
    cursor = await connection.execute(
        """
        SELECT (least(counted_to, %(now)s)
                - CASE WHEN counted_to < date_trunc('day', %(now)s::timestamptz, 'UTC')
                       THEN interval '3 days' ELSE interval '1 hour' END)::text
          FROM schema_rollup WHERE name = %(name)s FOR UPDATE
        """,
        {"now": now, "name": name},
    )
    row = await cursor.fetchone()
    assert row is not None
    return str(row[0])


async def _note_counted(connection: AsyncConnection, name: str, counted_to: datetime) -> None:
    await connection.execute(
        "UPDATE schema_rollup SET counted_to = %s WHERE name = %s", (counted_to, name)
    )


async def _count_messages(connection: AsyncConnection, since: str) -> None:
    """The days from that moment's on; messages bear the time of receipt."""
    await connection.execute(
        """
        DELETE FROM message_rollup
         WHERE day >= date_trunc('day', %s::timestamptz, 'UTC')
        """,
        (since,),
    )
    await connection.execute(
        """
        INSERT INTO message_rollup (station_key, direction, action, day, messages, answered)
        SELECT station_key, direction, coalesce(action, ''), date_trunc('day', at, 'UTC'),
               count(*), count(answer)
          FROM ocpp_message
         WHERE at >= date_trunc('day', %s::timestamptz, 'UTC')
         GROUP BY 1, 2, 3, 4
        """,
        (since,),
    )


async def _count_statuses(connection: AsyncConnection, since: str) -> None:
    """The same of statuses."""
    await connection.execute(
        """
        DELETE FROM status_rollup
         WHERE day >= date_trunc('day', %s::timestamptz, 'UTC')
        """,
        (since,),
    )
    await connection.execute(
        """
        INSERT INTO status_rollup (station_key, evse_id, status, day, changes)
        SELECT station_key, evse_id, status, date_trunc('day', received_at, 'UTC'), count(*)
          FROM evse_status
         WHERE received_at >= date_trunc('day', %s::timestamptz, 'UTC')
         GROUP BY 1, 2, 3, 4
        """,
        (since,),
    )


async def _count_readings(connection: AsyncConnection, since: str) -> None:
    """The days of the readings that came since: these bear the station's own time, often a late
    one."""
    await connection.execute(
        """
        CREATE TEMPORARY TABLE day_counted ON COMMIT DROP AS
        SELECT DISTINCT date_trunc('day', stated_at, 'UTC') AS day FROM meter_reading
         WHERE received_at >= %s::timestamptz
        """,
        (since,),
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
