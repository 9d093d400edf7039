"""SQL of charging sessions and their meter values, as people read them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class Session:
    """A session as people see it; None is unknown, or not yet."""

    id: int
    client_id: int
    site_id: str | None
    station_id: str
    evse_id: int | None
    connector_id: int | None
    transaction_id: str
    token_uid: str | None
    token_type: str | None
    authorization_status: str
    state: str
    charging_state: str | None
    started_at: datetime
    ended_at: datetime | None
    stated_started_at: datetime | None
    stated_ended_at: datetime | None
    meter_start_wh: Decimal | None
    meter_stop_wh: Decimal | None
    energy_wh: int | None
    last_register_wh: Decimal | None
    last_register_at: datetime | None
    seq_no_missing: list[int]
    stop_reason: str | None
    stop_token_uid: str | None
    flags: list[str]
    revision: int


@dataclass(frozen=True, slots=True)
class ReadingsRange:
    """Where a session's readings lie: what prunes partitions when they are looked up."""

    station_key: int
    readings_from_at: datetime | None
    readings_to_at: datetime | None


@dataclass(frozen=True, slots=True)
class MeterValue:
    """One sampled value, raw: value and unit as reported."""

    at: datetime
    stated_at: datetime
    received_at: datetime
    evse_id: int | None
    connector_id: int | None
    measurand: str
    phase: str | None
    unit: str | None
    context: str | None
    location: str | None
    value: float | None  # None: see text
    text: str | None  # signed, or not a number
    digest: int
    position: int


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions; None does not filter."""

    station_id: str | None = None
    site_id: str | None = None
    token_uid: str | None = None
    transaction_id: str | None = None
    state: str | None = None
    flags: tuple[str, ...] = ()  # all of them
    from_at: datetime | None = None  # overlapping [from_at, to_at)
    to_at: datetime | None = None

    def parameters(self) -> dict[str, object]:
        """By the names that the statements below use."""
        return {
            "station_id": self.station_id,
            "site_id": self.site_id,
            "token_uid": self.token_uid,
            "transaction_id": self.transaction_id,
            "state": self.state,
            "flags": list(self.flags),
            "from_at": self.from_at,
            "to_at": self.to_at,
        }


async def list_sessions(
    connection: AsyncConnection, which: SessionFilter, *, limit: int, cursor: Cursor | None
) -> list[Session]:
    """Up to `limit` sessions, last started first."""
    async with connection.cursor(row_factory=class_row(Session)) as rows:
        await rows.execute(
            """
            SELECT x.id, x.client_id, x.site_id,
                   coalesce(s.id, 'station ' || x.station_key) AS station_id, evse_id, connector_id,
                   transaction_id, token_uid, token_type, authorization_status, state,
                   charging_state, started_at, ended_at, stated_started_at, stated_ended_at,
                   meter_start_wh, meter_stop_wh, energy_wh, last_register_wh, last_register_at,
                   seq_no_missing, stop_reason, stop_token_uid, flags, revision
              FROM session x LEFT JOIN station s USING (station_key)
             WHERE (%(station_id)s::text IS NULL OR x.station_key =
                      (SELECT station_key FROM station WHERE id = %(station_id)s))
               AND (%(site_id)s::text IS NULL OR x.site_id = %(site_id)s)
               AND (%(token_uid)s::text IS NULL OR lower(token_uid) = lower(%(token_uid)s))
               AND (%(transaction_id)s::text IS NULL OR transaction_id = %(transaction_id)s)
               AND (%(state)s::text IS NULL OR state = %(state)s)
               AND (%(flags)s::text[] = '{}' OR flags <> '{}' AND flags @> %(flags)s::text[])
               AND (%(to_at)s::timestamptz IS NULL OR started_at < %(to_at)s)
               AND (%(from_at)s::timestamptz IS NULL OR ended_at IS NULL OR ended_at > %(from_at)s
                    OR started_at >= %(from_at)s)
               AND (%(after_at)s::timestamptz IS NULL
                    OR (started_at, x.id) < (%(after_at)s, %(after_id)s::bigint))
             ORDER BY started_at DESC, x.id DESC LIMIT %(limit)s
            """,
            _parameters(which, limit, cursor),
            prepare=False,
        )
        return await rows.fetchall()


async def list_sessions_of(
    connection: AsyncConnection,
    clients: Collection[int],
    which: SessionFilter,
    *,
    limit: int,
    cursor: Cursor | None,
) -> list[Session]:
    """As `list_sessions`, of these clients: the newest of each, and of those the newest. Asked for
    all that row-level security shows, the database would go through everybody's sessions until it
    had found enough. A station that is another client's by now is named by its number only."""
    async with connection.cursor(row_factory=class_row(Session)) as rows:
        await rows.execute(
            """
            WITH page AS (
                SELECT newest.id
                  FROM unnest(%(clients)s::bigint[]) AS own (client_id)
                 CROSS JOIN LATERAL (
                       SELECT x.id, started_at FROM session x
                        WHERE x.client_id = own.client_id
                          AND (%(station_id)s::text IS NULL OR x.station_key =
                                 (SELECT station_key FROM station WHERE id = %(station_id)s))
                          AND (%(site_id)s::text IS NULL OR x.site_id = %(site_id)s)
                          AND (%(token_uid)s::text IS NULL
                               OR lower(token_uid) = lower(%(token_uid)s))
                          AND (%(transaction_id)s::text IS NULL
                               OR transaction_id = %(transaction_id)s)
                          AND (%(state)s::text IS NULL OR state = %(state)s)
                          AND (%(flags)s::text[] = '{}'
                               OR flags <> '{}' AND flags @> %(flags)s::text[])
                          AND (%(to_at)s::timestamptz IS NULL OR started_at < %(to_at)s)
                          AND (%(from_at)s::timestamptz IS NULL OR ended_at IS NULL
                               OR ended_at > %(from_at)s OR started_at >= %(from_at)s)
                          AND (%(after_at)s::timestamptz IS NULL
                               OR (started_at, x.id) < (%(after_at)s, %(after_id)s::bigint))
                        ORDER BY started_at DESC, x.id DESC LIMIT %(limit)s) AS newest
                 ORDER BY newest.started_at DESC, newest.id DESC LIMIT %(limit)s
            )
            SELECT x.id, x.client_id, x.site_id,
                   coalesce(s.id, 'station ' || x.station_key) AS station_id, evse_id, connector_id,
                   transaction_id, token_uid, token_type, authorization_status, state,
                   charging_state, started_at, ended_at, stated_started_at, stated_ended_at,
                   meter_start_wh, meter_stop_wh, energy_wh, last_register_wh, last_register_at,
                   seq_no_missing, stop_reason, stop_token_uid, flags, revision
              FROM page JOIN session x USING (id) LEFT JOIN station s USING (station_key)
             ORDER BY started_at DESC, x.id DESC
            """,
            {**_parameters(which, limit, cursor), "clients": sorted(set(clients))},
            prepare=False,
        )
        return await rows.fetchall()


def _parameters(which: SessionFilter, limit: int, cursor: Cursor | None) -> dict[str, object]:
    return {
        **which.parameters(),
        "limit": limit,
        "after_at": cursor.key[0] if cursor else None,
        "after_id": cursor.key[1] if cursor else None,
    }


async def count_sessions(connection: AsyncConnection, which: SessionFilter) -> int:
    """How many sessions the filter leaves."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM session x
         WHERE (%(station_id)s::text IS NULL OR x.station_key =
                  (SELECT station_key FROM station WHERE id = %(station_id)s))
           AND (%(site_id)s::text IS NULL OR x.site_id = %(site_id)s)
           AND (%(token_uid)s::text IS NULL OR lower(token_uid) = lower(%(token_uid)s))
           AND (%(transaction_id)s::text IS NULL OR transaction_id = %(transaction_id)s)
           AND (%(state)s::text IS NULL OR state = %(state)s)
           AND (%(flags)s::text[] = '{}' OR flags <> '{}' AND flags @> %(flags)s::text[])
           AND (%(to_at)s::timestamptz IS NULL OR started_at < %(to_at)s)
           AND (%(from_at)s::timestamptz IS NULL OR ended_at IS NULL OR ended_at > %(from_at)s
                OR started_at >= %(from_at)s)
        """,
        which.parameters(),
    )


async def get_session(connection: AsyncConnection, session_id: int) -> Session | None:
    """One session."""
    async with connection.cursor(row_factory=class_row(Session)) as rows:
        await rows.execute(
            """
            SELECT x.id, x.client_id, x.site_id,
                   coalesce(s.id, 'station ' || x.station_key) AS station_id, evse_id, connector_id,
                   transaction_id, token_uid, token_type, authorization_status, state,
                   charging_state, started_at, ended_at, stated_started_at, stated_ended_at,
                   meter_start_wh, meter_stop_wh, energy_wh, last_register_wh, last_register_at,
                   seq_no_missing, stop_reason, stop_token_uid, flags, revision
              FROM session x LEFT JOIN station s USING (station_key) WHERE x.id = %s
            """,
            (session_id,),
        )
        return await rows.fetchone()


async def get_readings_range(connection: AsyncConnection, session_id: int) -> ReadingsRange | None:
    """Where the session's readings lie; None when there is no such session."""
    async with connection.cursor(row_factory=class_row(ReadingsRange)) as rows:
        await rows.execute(
            "SELECT station_key, readings_from_at, readings_to_at FROM session WHERE id = %s",
            (session_id,),
        )
        return await rows.fetchone()


async def list_meter_values(
    connection: AsyncConnection,
    session_id: int,
    where: ReadingsRange,
    *,
    measurand: str | None,
    limit: int,
    cursor: Cursor | None,
) -> list[MeterValue]:
    """Up to `limit` values of the session by stated time, as in the view meter_value.

    Written against the tables: the reading's digest, which makes the order total, is no matter
    of the view.
    """
    async with connection.cursor(row_factory=class_row(MeterValue)) as rows:
        await rows.execute(
            """
            SELECT r.at, r.stated_at, r.received_at, r.evse_id, r.connector_id,
                   p.measurands[v.position] AS measurand,
                   nullif(p.phases[v.position], '') AS phase,
                   nullif(p.units[v.position], '') AS unit,
                   nullif(p.contexts[v.position], '') AS context,
                   nullif(p.locations[v.position], '') AS location,
                   nullif(v.value, 'NaN') AS value,
                   (r.texts::json) ->> (v.position - 1)::text AS text,
                   r.digest, v.position::integer AS position
              FROM meter_reading r JOIN meter_profile p ON p.id = r.profile_id
             CROSS JOIN LATERAL unnest(r.samples) WITH ORDINALITY AS v (value, position)
             WHERE r.station_key = %(station_key)s AND r.session_id = %(session_id)s
               AND r.stated_at >= %(low)s AND r.stated_at <= %(high)s
               AND (%(measurand)s::text IS NULL OR p.measurands[v.position] = %(measurand)s)
               AND (%(after_at)s::timestamptz IS NULL
                    OR (r.stated_at, r.digest, v.position)
                       > (%(after_at)s, %(after_digest)s::bigint, %(after_position)s::bigint))
             ORDER BY r.stated_at, r.digest, v.position LIMIT %(limit)s
            """,
            {
                "session_id": session_id,
                "station_key": where.station_key,
                "low": where.readings_from_at,
                "high": where.readings_to_at,
                "measurand": measurand,
                "limit": limit,
                "after_at": cursor.key[0] if cursor else None,
                "after_digest": cursor.key[1] if cursor else None,
                "after_position": cursor.key[2] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_meter_values(
    connection: AsyncConnection, session_id: int, where: ReadingsRange, *, measurand: str | None
) -> int:
    """How many values the session has."""
    return await fetch_count(
        connection,
        """
        SELECT count(*)
          FROM meter_reading r JOIN meter_profile p ON p.id = r.profile_id
         CROSS JOIN LATERAL unnest(p.measurands) AS m (measurand)
         WHERE r.station_key = %(station_key)s AND r.session_id = %(session_id)s
           AND r.stated_at >= %(low)s AND r.stated_at <= %(high)s
           AND (%(measurand)s::text IS NULL OR m.measurand = %(measurand)s)
        """,
        {
            "session_id": session_id,
            "station_key": where.station_key,
            "low": where.readings_from_at,
            "high": where.readings_to_at,
            "measurand": measurand,
        },
    )
