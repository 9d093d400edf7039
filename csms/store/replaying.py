"""The statements of the replay: what is copied, the journal as it was, sessions to compare."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection, sql
from psycopg.rows import class_row

#: what people entered, in the order of its references; copied as it is now
COPIED_TABLES: Final = ("client", "site", "station", "evse", "connector", "token", "quirk")


@dataclass(frozen=True, slots=True)
class ReplayedMessage:
    """A frame of the journal, or (frame None) a session that we gave up by ourselves then."""

    at: datetime
    station_id: str
    protocol: str
    frame: str | None
    answer: str | None
    transaction_id: str | None


@dataclass(frozen=True, slots=True)
class ComparedSession:
    """What must come out the same."""

    station_id: str
    transaction_id: str
    token_uid: str | None
    state: str
    started_at: datetime
    ended_at: datetime | None
    meter_start_wh: float | None
    meter_stop_wh: float | None
    energy_wh: int | None
    stop_reason: str | None
    flags: list[str]


async def copy_table(source: AsyncConnection, target: AsyncConnection, table: str) -> None:
    """Replace the target's rows of a table by the source's."""
    name = sql.Identifier(table)
    columns = await _columns(source, table)
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    await target.execute(sql.SQL("DELETE FROM {}").format(name))
    async with (
        source.cursor() as reading,
        target.cursor() as writing,
        reading.copy(sql.SQL("COPY {} ({}) TO STDOUT").format(name, listed)) as rows,
        writing.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(name, listed)) as sink,
    ):
        async for data in rows:
            await sink.write(data)


async def _columns(connection: AsyncConnection, table: str) -> list[str]:
    cursor = await connection.execute(
        """
        SELECT attname FROM pg_attribute
         WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
         ORDER BY attnum
        """,
        (table,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def continue_session_ids(source: AsyncConnection, target: AsyncConnection) -> None:
    """Give new sessions of the target ids that none of the source has."""
    cursor = await source.execute("SELECT coalesce(max(id), 0) / 1000 + 1 FROM session")
    row = await cursor.fetchone()
    assert row is not None
    await target.execute("SELECT setval('session_block_seq', %s)", (row[0],))


async def forget_results(connection: AsyncConnection) -> None:
    """Take back what the copied stations and EVSEs hold of the frames to come."""
    await connection.execute(
        "UPDATE station SET clock_skew_s = NULL, naive_is_local = NULL, booted_at = NULL"
    )
    await connection.execute("UPDATE evse SET status = 'unknown', status_at = NULL")
    await connection.execute("UPDATE connector SET status = 'unknown', status_at = NULL")


async def read_journal(
    connection: AsyncConnection, start: datetime, end: datetime, stations: Sequence[str] | None
) -> AsyncIterator[ReplayedMessage]:
    """Inbound frames in the order of receipt, with the sessions given up in between; a snapshot."""
    async with (
        connection.transaction(),
        connection.cursor("journal", row_factory=class_row(ReplayedMessage)) as cursor,
    ):
        cursor.itersize = 1000
        await cursor.execute(
            """
            SELECT m.at, s.id AS station_id, m.protocol, m.frame, m.answer,
                   NULL::text AS transaction_id
              FROM ocpp_message m JOIN station s USING (station_key)
             WHERE m.direction = 'in' AND m.at >= %(start)s AND m.at < %(end)s
               AND (%(stations)s::text[] IS NULL OR s.id = ANY(%(stations)s))
            UNION ALL
            SELECT e.received_at, s.id, '', NULL, NULL, x.transaction_id
              FROM session_event e JOIN session x ON x.id = e.session_id
              JOIN station s USING (station_key)
             WHERE e.kind = 'lost' AND e.frame IS NULL
               AND e.received_at >= %(start)s AND e.received_at < %(end)s
               AND (%(stations)s::text[] IS NULL OR s.id = ANY(%(stations)s))
             ORDER BY 1
            """,
            {"start": start, "end": end, "stations": stations},
        )
        async for message in cursor:
            yield message


async def open_session_row(
    connection: AsyncConnection, station_id: str, transaction_id: str
) -> dict[str, Any] | None:
    """The newest active session of the transaction, as column: value, locked."""
    cursor = await connection.execute(
        """
        SELECT to_json(x) FROM session x JOIN station s USING (station_key)
         WHERE s.id = %s AND x.transaction_id = %s AND x.state = 'active'
         ORDER BY x.id DESC LIMIT 1 FOR UPDATE OF x
        """,
        (station_id, transaction_id),
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def read_sessions(
    connection: AsyncConnection, stations: Sequence[str] | None
) -> list[ComparedSession]:
    """All sessions of the stations (None: of all)."""
    async with connection.cursor(row_factory=class_row(ComparedSession)) as cursor:
        await cursor.execute(
            """
            SELECT s.id AS station_id, x.transaction_id, x.token_uid, x.state, x.started_at,
                   x.ended_at, x.meter_start_wh::float8, x.meter_stop_wh::float8, x.energy_wh,
                   x.stop_reason, x.flags
              FROM session x JOIN station s USING (station_key)
             WHERE %(stations)s::text[] IS NULL OR s.id = ANY(%(stations)s)
             ORDER BY s.id, x.started_at, x.transaction_id, x.id
            """,
            {"stations": stations},
        )
        return await cursor.fetchall()


async def read_left_out(
    connection: AsyncConnection, start: datetime, end: datetime, stations: Sequence[str] | None
) -> set[tuple[str, str]]:
    """(station, transaction) of the sessions that the stretch does not explain: some of what made
    them what they are lies outside of it, or a person has settled them. One that has no stop may
    have grown by any later message of its station."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT s.id, x.transaction_id
          FROM session x JOIN station s USING (station_key)
          LEFT JOIN session_event e ON e.session_id = x.id
         WHERE (e.session_id IS NULL OR e.received_at < %(start)s OR e.received_at >= %(end)s
                OR e.kind IN ('settled', 'corrected')
                OR (x.state <> 'ended'
                    AND EXISTS (SELECT FROM ocpp_message m
                                 WHERE m.station_key = x.station_key AND m.direction = 'in'
                                   AND m.at >= %(end)s)))
           AND (%(stations)s::text[] IS NULL OR s.id = ANY(%(stations)s))
        """,
        {"start": start, "end": end, "stations": stations},
    )
    return set(await cursor.fetchall())
