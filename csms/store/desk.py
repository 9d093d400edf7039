"""SQL of the reconciliation desk: what could not be matched, and how a person settled it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing on the desk; settled_at None: open."""

    id: int
    station_key: int
    station_id: str
    received_at: datetime
    reason: str
    session_id: int | None
    transaction_id: str | None
    message_id: str | None
    frame: str
    settled_at: datetime | None
    settled_by: str | None
    resolution: str | None
    note: str | None


@dataclass(frozen=True, slots=True)
class SessionToSettle:
    """What settling needs of a session, locked."""

    id: int
    station_key: int
    state: str
    started_at: datetime
    ended_at: datetime | None
    meter_start_wh: Decimal | None
    meter_stop_wh: Decimal | None
    energy_wh: int | None


async def list_entries(
    connection: AsyncConnection,
    *,
    station_id: str | None,
    reason: str | None,
    settled: bool | None,
    limit: int,
    cursor: Cursor | None,
) -> list[Entry]:
    """Up to `limit` entries, oldest first: what has waited longest is on top."""
    async with connection.cursor(row_factory=class_row(Entry)) as rows:
        await rows.execute(
            """
            SELECT r.id, r.station_key, s.id AS station_id, received_at, reason, session_id,
                   transaction_id, message_id, frame, settled_at, settled_by, resolution, note
              FROM reconciliation r JOIN station s USING (station_key)
             WHERE (%(station_id)s::text IS NULL OR s.id = %(station_id)s)
               AND (%(reason)s::text IS NULL OR reason = %(reason)s)
               AND (%(settled)s::boolean IS NULL OR %(settled)s = (settled_at IS NOT NULL))
               AND (%(after_at)s::timestamptz IS NULL
                    OR (received_at, r.id) > (%(after_at)s, %(after_id)s::bigint))
             ORDER BY received_at, r.id LIMIT %(limit)s
            """,
            {
                "station_id": station_id,
                "reason": reason,
                "settled": settled,
                "limit": limit,
                "after_at": cursor.key[0] if cursor else None,
                "after_id": cursor.key[1] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_entries(
    connection: AsyncConnection,
    *,
    station_id: str | None,
    reason: str | None,
    settled: bool | None,
) -> int:
    """How many entries those filters leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM reconciliation r JOIN station s USING (station_key)
         WHERE (%(station_id)s::text IS NULL OR s.id = %(station_id)s)
           AND (%(reason)s::text IS NULL OR reason = %(reason)s)
           AND (%(settled)s::boolean IS NULL OR %(settled)s = (settled_at IS NOT NULL))
        """,
        {"station_id": station_id, "reason": reason, "settled": settled},
    )


async def get_entry(
    connection: AsyncConnection, entry_id: int, *, lock: bool = False
) -> Entry | None:
    """One entry; with `lock` held until the transaction ends."""
    if lock:
        await connection.execute("SELECT FROM reconciliation WHERE id = %s FOR UPDATE", (entry_id,))
    async with connection.cursor(row_factory=class_row(Entry)) as rows:
        await rows.execute(
            """
            SELECT r.id, r.station_key, s.id AS station_id, received_at, reason, session_id,
                   transaction_id, message_id, frame, settled_at, settled_by, resolution, note
              FROM reconciliation r JOIN station s USING (station_key) WHERE r.id = %s
            """,
            (entry_id,),
        )
        return await rows.fetchone()


async def settle_entry(
    connection: AsyncConnection,
    *,
    entry_id: int,
    now: datetime,
    settled_by: str,
    resolution: str,
    session_id: int | None,
    note: str,
) -> None:
    """Write down how the entry was settled; session_id None keeps what it says."""
    await connection.execute(
        """
        UPDATE reconciliation
           SET settled_at = %(now)s, settled_by = %(settled_by)s, resolution = %(resolution)s,
               session_id = coalesce(%(session_id)s, session_id), note = %(note)s
         WHERE id = %(id)s
        """,
        {
            "id": entry_id,
            "now": now,
            "settled_by": settled_by,
            "resolution": resolution,
            "session_id": session_id,
            "note": note,
        },
    )


async def lock_session(connection: AsyncConnection, session_id: int) -> SessionToSettle | None:
    """One session, locked until the transaction ends."""
    async with connection.cursor(row_factory=class_row(SessionToSettle)) as rows:
        await rows.execute(
            """
            SELECT id, station_key, state, started_at, ended_at, meter_start_wh, meter_stop_wh,
                   energy_wh
              FROM session WHERE id = %s FOR UPDATE
            """,
            (session_id,),
        )
        return await rows.fetchone()


async def flag_session(connection: AsyncConnection, session_id: int, flag: str) -> None:
    """Add a flag to a session, once."""
    await connection.execute(
        """
        UPDATE session SET flags = flags || %(flag)s::text, revision = revision + 1
         WHERE id = %(id)s AND NOT flags @> ARRAY[%(flag)s::text]
        """,
        {"id": session_id, "flag": flag},
    )


async def end_session(
    connection: AsyncConnection,
    *,
    session_id: int,
    ended_at: datetime,
    meter_start_wh: Decimal | None,
    meter_stop_wh: Decimal | None,
    energy_wh: int | None,
) -> None:
    """Give a session the end that a person decided: flagged 'settled', its stop no longer lost."""
    await connection.execute(
        """
        UPDATE session
           SET state = 'ended', ended_at = %(ended_at)s, charging_state = NULL,
               meter_start_wh = %(meter_start_wh)s, meter_stop_wh = %(meter_stop_wh)s,
               energy_wh = %(energy_wh)s, revision = revision + 1,
               flags = array_remove(array_remove(flags, 'settled'), 'lost_stop')
                       || 'settled'::text
         WHERE id = %(id)s
        """,
        {
            "id": session_id,
            "ended_at": ended_at,
            "meter_start_wh": meter_start_wh,
            "meter_stop_wh": meter_stop_wh,
            "energy_wh": energy_wh,
        },
    )


async def insert_session(
    connection: AsyncConnection,
    *,
    entry: Entry,
    transaction_id: str,
    evse_id: int,
    token_uid: str | None,
    started_at: datetime,
    ended_at: datetime,
    meter_start_wh: Decimal,
    meter_stop_wh: Decimal,
    energy_wh: int,
) -> int:
    """Create the session that the entry proves, and nothing else does; returns its id, the first
    of a block of its own."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id,
                                 evse_id, token_uid, authorization_status, state, started_at,
                                 ended_at, meter_start_wh, meter_stop_wh, energy_wh, flags)
            SELECT nextval('session_block_seq') * 1000, client_id, site_id, station_key,
                   'desk:' || %(entry_id)s::text, %(transaction_id)s, %(evse_id)s, %(token_uid)s,
                   'none', 'ended', %(started_at)s, %(ended_at)s, %(meter_start_wh)s,
                   %(meter_stop_wh)s, %(energy_wh)s, ARRAY['settled']
              FROM station WHERE station_key = %(station_key)s
            RETURNING id
            """,
            {
                "entry_id": entry.id,
                "station_key": entry.station_key,
                "transaction_id": transaction_id,
                "evse_id": evse_id,
                "token_uid": token_uid,
                "started_at": started_at,
                "ended_at": ended_at,
                "meter_start_wh": meter_start_wh,
                "meter_stop_wh": meter_stop_wh,
                "energy_wh": energy_wh,
            },
        )
        session_id = await rows.fetchone()
    assert isinstance(session_id, int)
    return session_id


async def add_settled_event(
    connection: AsyncConnection, *, session_id: int, now: datetime, frame: str, note: str
) -> None:
    """Put the decision and the frame it rests on beside the session, for good."""
    await connection.execute(
        """
        INSERT INTO session_event (session_id, received_at, kind, frame, note)
        VALUES (%(session_id)s, %(now)s, 'settled', %(frame)s, %(note)s)
        """,
        {"session_id": session_id, "now": now, "frame": frame, "note": note},
    )


async def settled_note(
    connection: AsyncConnection, *, session_id: int, settled_at: datetime
) -> str | None:
    """The decision that `add_settled_event` wrote at that moment."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT note FROM session_event
             WHERE session_id = %(session_id)s AND kind = 'settled'
               AND received_at = %(settled_at)s
            """,
            {"session_id": session_id, "settled_at": settled_at},
        )
        row: str | None = await rows.fetchone()
        return row
