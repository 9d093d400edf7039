"""SQL of reservations: what drivers ask for, what is due, what badges must keep away from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.domain.reservation import Kept
from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation with the names of its place."""

    id: int
    person_id: int
    client_id: int
    station_key: int
    station_id: str
    site_id: str | None
    site_name: str
    time_zone: str
    point_id: str | None  # None: the station as a whole
    evse_id: int | None
    uid_key: str
    from_at: datetime
    to_at: datetime
    lapses_at: datetime
    state: str
    soft: bool
    soft_why: str | None
    created_at: datetime
    created_by: str
    command_id: int | None
    session_id: int | None
    ended_at: datetime | None
    ended_by: str | None


@dataclass(frozen=True, slots=True)
class Due:
    """A reservation for which something is to be done, locked for its transaction."""

    id: int
    person_id: int
    station_key: int
    station_id: str
    evse_id: int | None
    uid_key: str
    lapses_at: datetime
    state: str
    soft: bool
    connected: bool
    uid: str
    token_type: str
    group_uid: str | None
    command_status: str | None
    response: str | None  # JSON texts
    error: str | None
    session_id: int | None  # that uses it, where one was found
    protocol: str | None  # of the station's connection, or expected of it


@dataclass(frozen=True, slots=True)
class ReservationFilter:
    """Which reservations; None does not filter. Times are of [from_at, to_at) overlapping."""

    reservation_id: int | None = None
    person_id: int | None = None
    station_id: str | None = None
    site_id: str | None = None
    state: str | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None

    def parameters(self) -> dict[str, object]:
        """By the names that the statements below use."""
        return {
            "reservation_id": self.reservation_id,
            "person_id": self.person_id,
            "station_id": self.station_id,
            "site_id": self.site_id,
            "state": self.state,
            "from_at": self.from_at,
            "to_at": self.to_at,
        }


async def fetch_kept(
    connection: AsyncConnection, station_keys: Sequence[int]
) -> dict[int, list[Kept]]:
    """Reservations of the stations that are not over, with all badges of their drivers. What a
    driver reserved who may charge no more keeps nobody out."""
    cursor = await connection.execute(
        """
        SELECT r.station_key, r.evse_id, r.from_at, r.to_at,
               ARRAY(SELECT b.uid_key FROM driver_badge b
                      WHERE b.person_id = r.person_id
                        AND (b.to_at IS NULL OR b.to_at > now())) || r.uid_key
          FROM reservation r JOIN person p ON p.id = r.person_id
         WHERE r.station_key = ANY(%s) AND r.state IN ('requested', 'placed', 'confirmed')
           AND p.blocked_at IS NULL AND p.closed_at IS NULL
        """,
        (list(station_keys),),
    )
    kept: dict[int, list[Kept]] = {}
    for station_key, evse_id, from_at, to_at, uid_keys in await cursor.fetchall():
        kept.setdefault(station_key, []).append(Kept(evse_id, from_at, to_at, frozenset(uid_keys)))
    return kept


async def count_open(connection: AsyncConnection, person_id: int) -> int:
    """Reservations of a driver that are not over."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM reservation
         WHERE person_id = %(person_id)s AND state IN ('requested', 'placed', 'confirmed')
        """,
        {"person_id": person_id},
    )


async def insert_reservation(
    connection: AsyncConnection,
    *,
    person_id: int,
    client_id: int,
    station_key: int,
    evse_id: int | None,
    uid_key: str,
    from_at: datetime,
    to_at: datetime,
    lapses_at: datetime,
    now: datetime,
    created_by: str,
) -> int:
    """A reservation agreed to; its id.

    Raises: psycopg.errors.ExclusionViolation when somebody has the place then.
    """
    cursor = await connection.execute(
        """
        INSERT INTO reservation (person_id, client_id, station_key, evse_id, uid_key, from_at,
                                 to_at, lapses_at, created_at, created_by)
        VALUES (%(person_id)s, %(client_id)s, %(station_key)s, %(evse_id)s, %(uid_key)s,
                %(from_at)s, %(to_at)s, %(lapses_at)s, %(now)s, %(created_by)s)
        RETURNING id
        """,
        {
            "person_id": person_id,
            "client_id": client_id,
            "station_key": station_key,
            "evse_id": evse_id,
            "uid_key": uid_key,
            "from_at": from_at,
            "to_at": to_at,
            "lapses_at": lapses_at,
            "now": now,
            "created_by": created_by,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def write_state(
    connection: AsyncConnection,
    reservation_id: int,
    state: str,
    now: datetime,
    *,
    soft_why: str | None = None,
    command_id: int | None = None,
    session_id: int | None = None,
    ended_by: str | None = None,
) -> None:
    """A reservation has come to a state; what is None stays as it was. An end releases the place,
    but while its driver charges there."""
    await connection.execute(
        """
        UPDATE reservation
           SET state = %(state)s::text,
               soft = soft OR %(soft_why)s::text IS NOT NULL,
               soft_why = coalesce(%(soft_why)s, soft_why),
               command_id = coalesce(%(command_id)s, command_id),
               placed_at = CASE WHEN %(state)s = 'placed' THEN %(now)s ELSE placed_at END,
               confirmed_at = CASE WHEN %(state)s = 'confirmed' THEN coalesce(confirmed_at, %(now)s)
                                   ELSE confirmed_at END,
               session_id = coalesce(%(session_id)s, session_id),
               ended_at = CASE WHEN %(state)s NOT IN ('requested', 'placed', 'confirmed')
                               THEN %(now)s ELSE ended_at END,
               ended_by = coalesce(%(ended_by)s, ended_by),
               released_at = CASE WHEN %(state)s IN ('rejected', 'cancelled', 'expired', 'no_show')
                                  THEN %(now)s ELSE released_at END
         WHERE id = %(id)s
        """,
        {
            "id": reservation_id,
            "state": state,
            "now": now,
            "soft_why": soft_why,
            "command_id": command_id,
            "session_id": session_id,
            "ended_by": ended_by,
        },
    )


async def lock_due(
    connection: AsyncConnection, now: datetime, limit: int, *, reservation_id: int | None = None
) -> list[Due]:
    """Reservations with something to do: begun and not placed, answered, used, or over; all, or the
    one of this number. Locked; those that somebody else has locked are left to him.

    A session uses a reservation when it is its driver's, at its place, and goes on within its time
    or began there, or when the station says that it does.
    """
    async with connection.cursor(row_factory=class_row(Due)) as rows:
        await rows.execute(
            """
            SELECT r.id, r.person_id, r.station_key, s.id AS station_id, r.evse_id, r.uid_key,
                   r.lapses_at, r.state, r.soft, t.uid, t.type AS token_type,
                   coalesce(t.group_uid, own_badge_group(r.person_id)) AS group_uid,
                   c.station_key IS NOT NULL AND c.disconnected_at IS NULL AS connected,
                   q.status AS command_status, q.response, q.error, x.id AS session_id,
                   CASE WHEN c.disconnected_at IS NULL AND c.protocol <> '' THEN c.protocol
                        ELSE coalesce(s.protocol, s.spoken, nullif(c.protocol, '')) END AS protocol
              FROM reservation r
              JOIN station s USING (station_key)
              JOIN token t ON t.uid_key = r.uid_key
              LEFT JOIN station_connection c USING (station_key)
              LEFT JOIN command q ON q.id = r.command_id
              LEFT JOIN LATERAL (
                   SELECT x.id FROM session x
                    WHERE x.station_key = r.station_key
                      AND (r.evse_id IS NULL OR x.evse_id = r.evse_id)
                      AND x.started_at < r.to_at
                      AND (x.state = 'active' OR x.started_at >= r.from_at)
                      AND x.started_at >= r.from_at - interval '1 day'
                      AND x.authorization_status = 'Accepted'
                      AND (x.reservation_id = r.id
                           OR lower(x.token_uid) IN (SELECT b.uid_key FROM driver_badge b
                                                      WHERE b.person_id = r.person_id))
                      AND r.from_at <= %(now)s
                    ORDER BY x.started_at LIMIT 1) x ON true
             WHERE r.state IN ('requested', 'placed', 'confirmed')
               AND (%(reservation_id)s::integer IS NULL OR r.id = %(reservation_id)s)
               AND (r.lapses_at <= %(now)s OR x.id IS NOT NULL
                    OR (r.state = 'requested' AND r.from_at <= %(now)s)
                    OR (r.state = 'placed' AND q.status NOT IN ('queued', 'sent')))
             ORDER BY r.id LIMIT %(limit)s
               FOR UPDATE OF r SKIP LOCKED
            """,
            {"now": now, "limit": limit, "reservation_id": reservation_id},
        )
        return await rows.fetchall()


async def lock_one(connection: AsyncConnection, reservation_id: int) -> Due | None:
    """A reservation that is not over, locked, whatever is to be done; None: it is over."""
    async with connection.cursor(row_factory=class_row(Due)) as rows:
        await rows.execute(
            """
            SELECT r.id, r.person_id, r.station_key, s.id AS station_id, r.evse_id, r.uid_key,
                   r.lapses_at, r.state, r.soft, t.uid, t.type AS token_type,
                   coalesce(t.group_uid, own_badge_group(r.person_id)) AS group_uid,
                   c.station_key IS NOT NULL AND c.disconnected_at IS NULL AS connected,
                   q.status AS command_status, q.response, q.error, NULL::bigint AS session_id,
                   CASE WHEN c.disconnected_at IS NULL AND c.protocol <> '' THEN c.protocol
                        ELSE coalesce(s.protocol, s.spoken, nullif(c.protocol, '')) END AS protocol
              FROM reservation r
              JOIN station s USING (station_key)
              JOIN token t ON t.uid_key = r.uid_key
              LEFT JOIN station_connection c USING (station_key)
              LEFT JOIN command q ON q.id = r.command_id
             WHERE r.id = %(id)s AND r.state IN ('requested', 'placed', 'confirmed')
               FOR UPDATE OF r
            """,
            {"id": reservation_id},
        )
        return await rows.fetchone()


async def list_expiring(
    connection: AsyncConnection, now: datetime, warning_s: float, limit: int
) -> list[int]:
    """Reservations that will be given up within the time of the warning, or of the half of theirs
    where that is shorter, and whose drivers were not told so yet."""
    cursor = await connection.execute(
        """
        SELECT r.id FROM reservation r
         WHERE r.state IN ('requested', 'placed', 'confirmed') AND r.lapses_at > %(now)s
           AND r.lapses_at - least(make_interval(secs => %(warning_s)s),
                                   (r.lapses_at - r.from_at) / 2) <= %(now)s
           AND NOT EXISTS (SELECT FROM notification n
                            WHERE n.key = 'reservation.expiring ' || r.id)
         ORDER BY r.id LIMIT %(limit)s
        """,
        {"now": now, "warning_s": warning_s, "limit": limit},
    )
    return [int(row[0]) for row in await cursor.fetchall()]


async def note_dropped(connection: AsyncConnection, since: datetime) -> int:
    """Reservations that the station says it no longer keeps are kept by us alone; how many."""
    cursor = await connection.execute(
        """
        UPDATE reservation r SET soft = true, soft_why = 'dropped'
          FROM station_event e
         WHERE r.state = 'confirmed' AND NOT r.soft AND e.station_key = r.station_key
           AND e.kind = 'reservation' AND e.received_at >= greatest(r.placed_at, %s)
           AND e.content ->> 'reservationId' = r.id::text
        """,
        (since,),
    )
    return cursor.rowcount


async def release_used(connection: AsyncConnection) -> int:
    """Places whose driver has charged and gone are free for others to reserve; how many."""
    cursor = await connection.execute(
        """
        UPDATE reservation r SET released_at = x.ended_at
          FROM session x
         WHERE r.state = 'used' AND r.released_at IS NULL AND x.id = r.session_id
           AND x.ended_at IS NOT NULL
        """
    )
    return cursor.rowcount


async def list_reservations(
    connection: AsyncConnection,
    which: ReservationFilter,
    *,
    limit: int,
    cursor: Cursor | None = None,
) -> list[Reservation]:
    """Up to `limit` reservations, the newest first; of the acting person, hers or her clients'."""
    async with connection.cursor(row_factory=class_row(Reservation)) as rows:
        await rows.execute(
            """
            SELECT r.id, r.person_id, r.client_id, r.station_key, s.id AS station_id, s.site_id,
                   coalesce(site.name, '') AS site_name,
                   coalesce(site.time_zone, 'Europe/Paris') AS time_zone, p.code AS point_id,
                   r.evse_id, r.uid_key, r.from_at, r.to_at, r.lapses_at, r.state, r.soft,
                   r.soft_why, r.created_at,
                   r.created_by, r.command_id, r.session_id, r.ended_at, r.ended_by
              FROM reservation r
              JOIN station s USING (station_key)
              LEFT JOIN site ON site.id = s.site_id
              LEFT JOIN point p ON p.station_key = r.station_key AND p.evse_id = r.evse_id
             WHERE (%(reservation_id)s::integer IS NULL OR r.id = %(reservation_id)s)
               AND (%(person_id)s::bigint IS NULL OR r.person_id = %(person_id)s)
               AND (%(station_id)s::text IS NULL OR s.id = %(station_id)s)
               AND (%(site_id)s::text IS NULL OR s.site_id = %(site_id)s)
               AND (%(state)s::text IS NULL OR r.state = %(state)s)
               AND (%(from_at)s::timestamptz IS NULL OR r.to_at > %(from_at)s)
               AND (%(to_at)s::timestamptz IS NULL OR r.from_at < %(to_at)s)
               AND (%(after)s::integer IS NULL OR r.id < %(after)s)
             ORDER BY r.id DESC LIMIT %(limit)s
            """,
            {
                **which.parameters(),
                "limit": limit,
                "after": cursor.key[0] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_reservations(connection: AsyncConnection, which: ReservationFilter) -> int:
    """How many reservations the filter leaves."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM reservation r JOIN station s USING (station_key)
         WHERE (%(person_id)s::bigint IS NULL OR r.person_id = %(person_id)s)
           AND (%(station_id)s::text IS NULL OR s.id = %(station_id)s)
           AND (%(site_id)s::text IS NULL OR s.site_id = %(site_id)s)
           AND (%(state)s::text IS NULL OR r.state = %(state)s)
           AND (%(from_at)s::timestamptz IS NULL OR r.to_at > %(from_at)s)
           AND (%(to_at)s::timestamptz IS NULL OR r.from_at < %(to_at)s)
        """,
        which.parameters(),
    )


async def get_reservation(connection: AsyncConnection, reservation_id: int) -> Reservation | None:
    """One reservation."""
    found = await list_reservations(
        connection, ReservationFilter(reservation_id=reservation_id), limit=1
    )
    return found[0] if found else None
