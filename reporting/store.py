"""SQL of reporting: one statement, one named function; the caller owns the transaction."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from psycopg import AsyncConnection
from psycopg.rows import class_row

FETCH_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class CollectedSession:
    """One row of the monthly collection; None is unknown."""

    client: str
    site_id: str | None
    site_name: str | None
    time_zone: str
    station_id: str
    evse_id: int | None
    connector_id: int | None
    evse_uid: str | None
    token_uid: str | None
    session_id: int
    transaction_id: str
    state: str
    started_at: datetime
    ended_at: datetime
    meter_start_wh: Decimal | None
    meter_stop_wh: Decimal | None
    energy_wh: int | None
    stop_reason: str | None
    flags: list[str]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something of a month that its collection has no row for."""

    what: str  # session | message
    id: int
    station_id: str
    at: datetime  # of the session's start, or the message's arrival
    reason: str  # goes_on | not_matched | dismissed
    detail: str | None


async def list_left_out(
    connection: AsyncConnection,
    *,
    from_at: datetime,
    to_at: datetime,
    client: str | None,
    limit: int,
) -> list[LeftOut]:
    """What began, or arrived, in [from_at, to_at) and is no row: sessions that had not ended by
    `to_at`, and messages on the desk that made none; by time."""
    async with connection.cursor(row_factory=class_row(LeftOut)) as rows:
        await rows.execute(
            """
            SELECT 'session' AS what, x.id, s.id AS station_id, x.started_at AS at,
                   'goes_on' AS reason, NULL AS detail
              FROM session x JOIN station s USING (station_key) JOIN client c ON c.id = x.client_id
             WHERE x.started_at >= %(from_at)s AND x.started_at < %(to_at)s
               AND (x.ended_at IS NULL OR x.ended_at >= %(to_at)s)
               AND (%(client)s::text IS NULL OR c.name = %(client)s)
            UNION ALL
            SELECT 'message', r.id, s.id, r.received_at,
                   CASE WHEN r.settled_at IS NULL THEN 'not_matched' ELSE 'dismissed' END, r.reason
              FROM reconciliation r JOIN station s USING (station_key)
              JOIN client c ON c.id = s.client_id
             WHERE r.received_at >= %(from_at)s AND r.received_at < %(to_at)s
               AND r.session_id IS NULL AND coalesce(r.resolution, 'dismissed') = 'dismissed'
               AND (%(client)s::text IS NULL OR c.name = %(client)s)
             ORDER BY 4, 1, 2 LIMIT %(limit)s
            """,
            {"from_at": from_at, "to_at": to_at, "client": client, "limit": limit},
        )
        return await rows.fetchall()


async def stream_collection(
    connection: AsyncConnection,
    *,
    from_at: datetime,
    to_at: datetime,
    client: str | None,
    time_zone: str,
) -> AsyncIterator[CollectedSession]:
    """The sessions that ended in [from_at, to_at), of one client or of all, by end and id.

    Runs through a server-side cursor, hence inside a transaction: a month never has to fit into
    memory. `time_zone` is that of sessions without a site.
    """
    async with connection.cursor("collection", row_factory=class_row(CollectedSession)) as rows:
        rows.itersize = FETCH_ROWS
        await rows.execute(
            """
            SELECT client.name AS client, x.site_id, site.name AS site_name,
                   coalesce(site.time_zone, %(time_zone)s) AS time_zone, s.id AS station_id,
                   x.evse_id, x.connector_id, e.evse_uid, x.token_uid, x.id AS session_id,
                   x.transaction_id, x.state, x.started_at, x.ended_at, x.meter_start_wh,
                   x.meter_stop_wh, x.energy_wh, x.stop_reason, x.flags
              FROM session x
              JOIN station s USING (station_key)
              JOIN client ON client.id = x.client_id
              LEFT JOIN site ON site.id = x.site_id
              LEFT JOIN evse e ON e.station_key = x.station_key AND e.evse_id = x.evse_id
             WHERE x.ended_at >= %(from_at)s AND x.ended_at < %(to_at)s
               AND (%(client)s::text IS NULL OR client.name = %(client)s)
             ORDER BY x.ended_at, x.id
            """,
            {"from_at": from_at, "to_at": to_at, "client": client, "time_zone": time_zone},
        )
        async for row in rows:
            yield row
