"""SQL of what consumption is added up from: one statement, one named function; the caller owns the
transaction. For an operator's connection, or one that acts for a manager."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class UseRow:
    """A session that is over."""

    session_id: int
    client_id: int
    client: str
    site_id: str | None
    site: str
    station_id: str
    evse_id: int | None
    evse_static: Mapping[str, Any]
    person_id: int | None
    name: str
    token_uid: str | None
    started_at: datetime
    ended_at: datetime
    meter_start_wh: float | None
    energy_wh: int | None
    cost_cents: int | None
    has_readings: bool


async def stream_uses(
    connection: AsyncConnection,
    *,
    client_ids: Sequence[int] | None,
    site_id: str | None,
    from_at: datetime,
    to_at: datetime,
    batch: int,
) -> AsyncIterator[list[UseRow]]:
    """Sessions that are over and overlap the period, so many at a time. In a transaction; other
    statements may be sent between two batches."""
    async with connection.cursor(name="uses", row_factory=class_row(UseRow)) as rows:
        await rows.execute(
            """
            SELECT s.id AS session_id, s.client_id, coalesce(c.legal_name, c.name) AS client,
                   s.site_id, coalesce(nullif(site.name, ''), s.site_id, '') AS site,
                   coalesce(t.id, '–') AS station_id, s.evse_id,
                   coalesce(e.static, '{}') AS evse_static,
                   coalesce(p.person_id, b.person_id) AS person_id,
                   coalesce(nullif(trim(n.given_name || ' ' || n.family_name), ''), n.email, '')
                   AS name,
                   s.token_uid, s.started_at, s.ended_at,
                   s.meter_start_wh::double precision AS meter_start_wh, s.energy_wh,
                   p.amount_incl_cents AS cost_cents,
                   s.readings_from_at IS NOT NULL AS has_readings
              FROM session s
              JOIN client c ON c.id = s.client_id
              LEFT JOIN station t USING (station_key)  -- another's by now, it may not be seen
              LEFT JOIN evse e ON e.station_key = s.station_key AND e.evse_id = s.evse_id
              LEFT JOIN site ON site.id = s.site_id
              LEFT JOIN priced_session p ON p.session_id = s.id
              LEFT JOIN driver_badge b ON b.uid_key = lower(s.token_uid)
                   AND s.started_at >= b.from_at AND (b.to_at IS NULL OR s.started_at < b.to_at)
              LEFT JOIN person n ON n.id = coalesce(p.person_id, b.person_id)
             WHERE s.state IN ('ended', 'lost')
               AND s.ended_at >= %(from_at)s AND s.started_at < %(to_at)s
               AND (%(client_ids)s::bigint[] IS NULL OR s.client_id = ANY (%(client_ids)s))
               AND (%(site_id)s::text IS NULL OR s.site_id = %(site_id)s)
             ORDER BY s.ended_at, s.id
            """,
            {
                "client_ids": None if client_ids is None else list(client_ids),
                "site_id": site_id,
                "from_at": from_at,
                "to_at": to_at,
            },
        )
        while found := await rows.fetchmany(batch):
            yield found


async def list_readings(
    connection: AsyncConnection, session_ids: Sequence[int]
) -> list[tuple[int, datetime, list[float], int]]:
    """session_id, moment, samples and profile of what was read in these sessions, each session's in
    order of time."""
    async with connection.cursor(binary=True) as rows:
        await rows.execute(
            """
            SELECT session_id, at, samples, profile_id
              FROM session_reading WHERE session_id = ANY (%s) ORDER BY session_id, at
            """,
            (list(session_ids),),
        )
        return await rows.fetchall()


async def list_profiles(
    connection: AsyncConnection, profile_ids: Sequence[int]
) -> list[tuple[int, list[str], list[str], list[str], list[str], list[str]]]:
    """What the samples of readings are: id, measurands, phases, units, contexts and locations."""
    cursor = await connection.execute(
        """
        SELECT id, measurands, phases, units, contexts, locations FROM reading_profile
         WHERE id = ANY (%s)
        """,
        (list(profile_ids),),
    )
    return await cursor.fetchall()


async def list_steps(
    connection: AsyncConnection, *, client_ids: Sequence[int] | None, until_on: date
) -> list[tuple[str, date, int]]:
    """Site, first day and watts of what sites have subscribed, up to a day, in order."""
    cursor = await connection.execute(
        """
        SELECT site_id, from_on, subscribed_power_w FROM subscribed_power
         WHERE withdrawn_at IS NULL AND from_on <= %(until_on)s
           AND (%(client_ids)s::bigint[] IS NULL OR client_id = ANY (%(client_ids)s))
         ORDER BY site_id, from_on
        """,
        {"client_ids": None if client_ids is None else list(client_ids), "until_on": until_on},
    )
    return await cursor.fetchall()


async def list_client_names(
    connection: AsyncConnection, client_ids: Sequence[int]
) -> list[tuple[int, str]]:
    """Clients that can be read, by name."""
    cursor = await connection.execute(
        """
        SELECT id, coalesce(legal_name, name) FROM client WHERE id = ANY (%s) ORDER BY 2, 1
        """,
        (list(client_ids),),
    )
    return await cursor.fetchall()
