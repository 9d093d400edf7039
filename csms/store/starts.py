"""SQL of starts that drivers ask for, and of their sessions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class StartRow:
    """A start of the acting driver, and what is known of its order and session."""

    id: int
    point_id: str
    idempotency_key: str | None
    created_at: datetime
    due_at: datetime
    order_status: str | None
    sent_at: datetime | None
    order_error: str | None
    session_id: int | None
    authorization_status: str | None  # of the session


@dataclass(frozen=True, slots=True)
class DriverRow:
    """Whether somebody may charge at all, and how much she does already."""

    closed: bool
    sessions_elsewhere: int  # open, hers, not on the EVSE asked for
    starts_elsewhere: int  # asked for and still without a session


@dataclass(frozen=True, slots=True)
class BadgeRow:
    """The badge that stands for a driver's app."""

    uid_key: str
    uid: str
    type: str
    status: str
    group_uid: str | None
    valid_until: datetime | None
    site_ids: list[str] | None
    concurrent_max: int | None
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class MySession:
    """A session of the acting driver, as she sees it."""

    id: int
    point_id: str | None
    station_key: int
    site_id: str | None
    site_name: str | None
    evse_id: int | None
    connector_id: int | None
    transaction_id: str
    state: str
    charging_state: str | None
    authorization_status: str
    started_at: datetime
    ended_at: datetime | None
    energy_wh: int | None
    power_w: float | None
    stop_reason: str | None
    flags: list[str]
    readings_from_at: datetime | None
    readings_to_at: datetime | None


@dataclass(frozen=True, slots=True)
class MyValue:
    """One sampled value of such a session."""

    at: datetime
    stated_at: datetime
    measurand: str
    phase: str | None
    unit: str | None
    context: str | None
    location: str | None
    value: float | None
    digest: int
    position: int


@dataclass(frozen=True, slots=True)
class Live:
    """How a session stands at the moment; the revision counts its changes."""

    id: int
    revision: int
    state: str
    charging_state: str | None
    started_at: datetime
    ended_at: datetime | None
    energy_wh: int | None
    power_w: float | None
    client_id: int
    site_id: str | None
    station_key: int
    evse_id: int | None
    token_uid: str | None
    meter_start_wh: float | None
    readings_from_at: datetime | None
    readings_to_at: datetime | None


async def lock_driver(connection: AsyncConnection, person_id: int) -> bool:
    """Let one request of a driver at a time decide; False: there is no such driver."""
    cursor = await connection.execute(
        "SELECT true FROM driver WHERE person_id = %s FOR UPDATE", (person_id,)
    )
    return await cursor.fetchone() is not None


async def lock_point(connection: AsyncConnection, station_key: int, evse_id: int) -> None:
    """Let one request for a point at a time decide, until the transaction ends. Its row is locked,
    and no number that a lock of somebody else's may have too."""
    await connection.execute(
        "SELECT FROM point WHERE station_key = %s AND evse_id = %s FOR UPDATE",
        (station_key, evse_id),
    )


async def get_driver(
    connection: AsyncConnection, person_id: int, station_key: int, evse_id: int, now: datetime
) -> DriverRow | None:
    """The driver, and what she has going on elsewhere; None: she is none."""
    async with connection.cursor(row_factory=class_row(DriverRow)) as rows:
        await rows.execute(
            """
            SELECT d.closed_at IS NOT NULL OR p.closed_at IS NOT NULL OR p.blocked_at IS NOT NULL
                   AS closed,
                   (SELECT count(DISTINCT s.id) FROM driver_badge b
                      JOIN session s ON lower(s.token_uid) = b.uid_key AND s.state = 'active'
                           AND s.authorization_status = 'Accepted'
                     WHERE b.person_id = d.person_id AND s.started_at >= b.from_at
                       AND (b.to_at IS NULL OR s.started_at < b.to_at)
                       AND (s.station_key, coalesce(s.evse_id, 0)) <> (%(station_key)s, %(evse_id)s)
                   ) AS sessions_elsewhere,
                   (SELECT count(*) FROM session_start a JOIN command q ON q.id = a.command_id
                     WHERE a.person_id = d.person_id AND a.due_at > %(now)s
                       AND q.status IN ('queued', 'sent', 'accepted')
                       AND (a.station_key, a.evse_id) <> (%(station_key)s, %(evse_id)s)
                       AND NOT EXISTS (SELECT FROM session s
                                        WHERE s.station_key = a.station_key
                                          AND s.evse_id = a.evse_id
                                          AND lower(s.token_uid) = a.uid_key
                                          AND (s.received_start_at >= a.created_at
                                               OR s.state = 'active'))
                   ) AS starts_elsewhere
              FROM driver d JOIN person p ON p.id = d.person_id
             WHERE d.person_id = %(person_id)s
            """,
            {"person_id": person_id, "station_key": station_key, "evse_id": evse_id, "now": now},
        )
        return await rows.fetchone()


async def get_badge(connection: AsyncConnection, uid: str) -> BadgeRow | None:
    """A badge by its number; None: there is none."""
    async with connection.cursor(row_factory=class_row(BadgeRow)) as rows:
        await rows.execute(
            """
            SELECT t.uid_key, t.uid, t.type, t.status,
                   coalesce(t.group_uid, (
                       SELECT own_badge_group(b.person_id) FROM driver_badge b
                        WHERE b.token_key = t.token_key AND t.status = 'accepted'
                          AND b.from_at <= now() AND (b.to_at IS NULL OR b.to_at > now())))
                   AS group_uid,
                   t.valid_until, t.site_ids, t.concurrent_max, t.retired_at
              FROM token t WHERE t.uid_key = lower(%s)
            """,
            (uid,),
        )
        return await rows.fetchone()


async def find_pending(
    connection: AsyncConnection, station_key: int, evse_id: int, now: datetime
) -> tuple[int, int] | None:
    """(id, person_id) of a start at the EVSE that is still under way; None: none is."""
    cursor = await connection.execute(
        """
        SELECT a.id, a.person_id FROM session_start a JOIN command q ON q.id = a.command_id
         WHERE a.station_key = %(station_key)s AND a.evse_id = %(evse_id)s AND a.due_at > %(now)s
           AND q.status IN ('queued', 'sent', 'accepted')
           AND NOT EXISTS (SELECT FROM session s
                            WHERE s.station_key = a.station_key AND s.evse_id = a.evse_id
                              AND lower(s.token_uid) = a.uid_key
                              AND (s.received_start_at >= a.created_at OR s.state = 'active'))
         ORDER BY a.id DESC LIMIT 1
        """,
        {"station_key": station_key, "evse_id": evse_id, "now": now},
    )
    return await cursor.fetchone()


async def find_by_key(
    connection: AsyncConnection, person_id: int, idempotency_key: str
) -> tuple[int, str] | None:
    """(id, code of the point) of the start that this key stands for; None: it is new."""
    cursor = await connection.execute(
        """
        SELECT a.id, p.code FROM session_start a JOIN point p USING (station_key, evse_id)
         WHERE a.person_id = %s AND a.idempotency_key = %s
        """,
        (person_id, idempotency_key),
    )
    return await cursor.fetchone()


async def insert_start(
    connection: AsyncConnection,
    *,
    person_id: int,
    client_id: int,
    station_key: int,
    evse_id: int,
    connector_id: int | None,
    uid_key: str,
    idempotency_key: str | None,
    now: datetime,
    due_at: datetime,
) -> int:
    """A start asked for, its order not placed yet; its id."""
    cursor = await connection.execute(
        """
        INSERT INTO session_start (person_id, client_id, station_key, evse_id, connector_id,
                                   uid_key, idempotency_key, created_at, due_at)
        VALUES (%(person_id)s, %(client_id)s, %(station_key)s, %(evse_id)s, %(connector_id)s,
                %(uid_key)s, %(idempotency_key)s, %(now)s, %(due_at)s)
        RETURNING id
        """,
        {
            "person_id": person_id,
            "client_id": client_id,
            "station_key": station_key,
            "evse_id": evse_id,
            "connector_id": connector_id,
            "uid_key": uid_key,
            "idempotency_key": idempotency_key,
            "now": now,
            "due_at": due_at,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def note_order(
    connection: AsyncConnection, start_id: int, command_id: int, remote_start_id: int | None
) -> None:
    """The start's order is placed."""
    await connection.execute(
        "UPDATE session_start SET command_id = %s, remote_start_id = %s WHERE id = %s",
        (command_id, remote_start_id, start_id),
    )


async def get_order_of(connection: AsyncConnection, start_id: int) -> int | None:
    """The order of a start."""
    cursor = await connection.execute(
        "SELECT command_id FROM session_start WHERE id = %s", (start_id,)
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def get_station_id(connection: AsyncConnection, station_key: int) -> str:
    """The identity of a station that exists."""
    cursor = await connection.execute(
        "SELECT id FROM station WHERE station_key = %s", (station_key,)
    )
    row = await cursor.fetchone()
    assert row is not None
    return str(row[0])


async def get_my_start(connection: AsyncConnection, start_id: int) -> StartRow | None:
    """A start of the acting driver; None: she has none of that number."""
    async with connection.cursor(row_factory=class_row(StartRow)) as rows:
        await rows.execute(
            """
            SELECT id, point_id, idempotency_key, created_at, due_at, order_status, sent_at,
                   order_error, session_id, authorization_status
              FROM my_start WHERE id = %s
            """,
            (start_id,),
        )
        return await rows.fetchone()


# --- Her sessions ---------------------------------------------------------------------------------


async def list_my_sessions(
    connection: AsyncConnection,
    *,
    state: str | None,
    from_at: datetime | None,
    to_at: datetime | None,
    limit: int,
    cursor: Cursor | None,
) -> list[MySession]:
    """Up to `limit` sessions of the acting driver that began in [from_at, to_at), last first."""
    async with connection.cursor(row_factory=class_row(MySession)) as rows:
        await rows.execute(
            """
            SELECT id, point_id, station_key, site_id, site_name, evse_id, connector_id,
                   transaction_id, state, charging_state, authorization_status, started_at,
                   ended_at, energy_wh, power_w, stop_reason, flags, readings_from_at,
                   readings_to_at
              FROM my_session
             WHERE (%(state)s::text IS NULL OR state = %(state)s)
               AND (%(from_at)s::timestamptz IS NULL OR started_at >= %(from_at)s)
               AND (%(to_at)s::timestamptz IS NULL OR started_at < %(to_at)s)
               AND (%(after_at)s::timestamptz IS NULL
                    OR (started_at, id) < (%(after_at)s, %(after_id)s::bigint))
             ORDER BY started_at DESC, id DESC LIMIT %(limit)s
            """,
            {
                "state": state,
                "from_at": from_at,
                "to_at": to_at,
                "limit": limit,
                "after_at": cursor.key[0] if cursor else None,
                "after_id": cursor.key[1] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_my_sessions(
    connection: AsyncConnection,
    *,
    state: str | None,
    from_at: datetime | None,
    to_at: datetime | None,
) -> int:
    """How many sessions the filters leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM my_session
         WHERE (%(state)s::text IS NULL OR state = %(state)s)
           AND (%(from_at)s::timestamptz IS NULL OR started_at >= %(from_at)s)
           AND (%(to_at)s::timestamptz IS NULL OR started_at < %(to_at)s)
        """,
        {"state": state, "from_at": from_at, "to_at": to_at},
    )


async def get_my_session(connection: AsyncConnection, session_id: int) -> MySession | None:
    """A session of the acting driver; None: she has none of that number."""
    async with connection.cursor(row_factory=class_row(MySession)) as rows:
        await rows.execute(
            """
            SELECT id, point_id, station_key, site_id, site_name, evse_id, connector_id,
                   transaction_id, state, charging_state, authorization_status, started_at,
                   ended_at, energy_wh, power_w, stop_reason, flags, readings_from_at,
                   readings_to_at
              FROM my_session WHERE id = %s
            """,
            (session_id,),
        )
        return await rows.fetchone()


async def list_my_values(
    connection: AsyncConnection,
    session: MySession,
    *,
    measurand: str | None,
    limit: int,
    cursor: Cursor | None,
) -> list[MyValue]:
    """Up to `limit` values of the session by stated time."""
    async with connection.cursor(row_factory=class_row(MyValue)) as rows:
        await rows.execute(
            """
            SELECT at, stated_at, measurand, phase, unit, context, location, value, digest,
                   position::integer AS position
              FROM my_meter_value
             WHERE station_key = %(station_key)s AND session_id = %(session_id)s
               AND stated_at >= %(low)s AND stated_at <= %(high)s
               AND (%(measurand)s::text IS NULL OR measurand = %(measurand)s)
               AND (%(after_at)s::timestamptz IS NULL
                    OR (stated_at, digest, position)
                       > (%(after_at)s, %(after_digest)s::bigint, %(after_position)s::bigint))
             ORDER BY stated_at, digest, position LIMIT %(limit)s
            """,
            {
                "station_key": session.station_key,
                "session_id": session.id,
                "low": session.readings_from_at,
                "high": session.readings_to_at,
                "measurand": measurand,
                "limit": limit,
                "after_at": cursor.key[0] if cursor else None,
                "after_digest": cursor.key[1] if cursor else None,
                "after_position": cursor.key[2] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_my_values(
    connection: AsyncConnection, session: MySession, *, measurand: str | None
) -> int:
    """How many values the session has."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM my_meter_value
         WHERE station_key = %(station_key)s AND session_id = %(session_id)s
           AND stated_at >= %(low)s AND stated_at <= %(high)s
           AND (%(measurand)s::text IS NULL OR measurand = %(measurand)s)
        """,
        {
            "station_key": session.station_key,
            "session_id": session.id,
            "low": session.readings_from_at,
            "high": session.readings_to_at,
            "measurand": measurand,
        },
    )


async def fetch_live(connection: AsyncConnection, session_ids: Sequence[int]) -> list[Live]:
    """How these sessions stand: one question, however many are watched."""
    async with connection.cursor(row_factory=class_row(Live)) as rows:
        await rows.execute(
            """
            SELECT id, revision, state, charging_state, started_at, ended_at, energy_wh, power_w,
                   client_id, site_id, station_key, evse_id, token_uid,
                   meter_start_wh::float8 AS meter_start_wh, readings_from_at, readings_to_at
              FROM session WHERE id = ANY(%s)
            """,
            (list(session_ids),),
        )
        return await rows.fetchall()
