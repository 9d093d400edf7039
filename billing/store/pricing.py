"""SQL of the stage that prices sessions: what has no price yet, and what the price depends on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import args_row, class_row

from csms.domain.metering import Profile, SampleKind


@dataclass(frozen=True, slots=True)
class SessionRow:
    """An ended session without a price. `supplied_on`: the day of its end, in Paris."""

    id: int
    site_id: str | None
    station_key: int
    station_id: str
    evse_id: int | None
    time_zone: str
    started_at: datetime
    ended_at: datetime
    energy_wh: int | None
    meter_start_wh: float | None
    readings_from_at: datetime | None
    readings_to_at: datetime | None
    flags: list[str]
    supplied_on: date
    token_uid: str | None
    person_id: int | None  # whose badge it was at its start, or the partner of whoever charged


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """A reading of a session, as it is stored."""

    session_id: int
    at: datetime
    profile_id: int
    samples: list[float]


async def lock_client(connection: AsyncConnection, client_id: int) -> None:
    """One worker at a time prices a client's sessions; held to the end of the transaction."""
    await connection.execute("SELECT pg_advisory_xact_lock(9, %s)", (client_id,))


async def list_clients_to_price(
    connection: AsyncConnection, client_id: int | None, from_at: datetime, to_at: datetime
) -> list[int]:
    """Clients, the operator apart, with a session without a price that ended in that time; what the
    operator supplies itself (article 5.4 d) needs none.

    OFFSET keeps the look-up a look-up, one for each session: as a join it reads every price there
    is, for the one client that a closing asks about.
    """
    cursor = await connection.execute(
        """
        SELECT c.id FROM client c
         WHERE NOT c.is_operator AND (%(client_id)s::bigint IS NULL OR c.id = %(client_id)s)
           AND EXISTS (SELECT FROM session s
                        WHERE s.client_id = c.id AND s.state <> 'active'
                          AND s.ended_at >= %(from_at)s AND s.ended_at < %(to_at)s
                          AND NOT EXISTS (SELECT FROM priced_session p WHERE p.session_id = s.id
                                          OFFSET 0)
                          AND NOT EXISTS (
                              SELECT FROM supply u
                               WHERE u.site_id = s.site_id
                                 AND u.from_on <= (s.ended_at AT TIME ZONE 'Europe/Paris')::date
                                 AND (u.to_on IS NULL
                                      OR (s.ended_at AT TIME ZONE 'Europe/Paris')::date < u.to_on)))
         ORDER BY c.id
        """,
        {"client_id": client_id, "from_at": from_at, "to_at": to_at},
        prepare=False,
    )
    return [row[0] for row in await cursor.fetchall()]


async def fetch_unpriced(
    connection: AsyncConnection,
    client_id: int,
    from_at: datetime,
    to_at: datetime,
    after_id: int,
    limit: int,
) -> list[SessionRow]:
    """Sessions of the client that ended in that time and have no price, by id; those apart that the
    operator supplies itself."""
    async with connection.cursor(row_factory=class_row(SessionRow)) as rows:
        await rows.execute(
            """
            SELECT s.id, s.site_id, s.station_key, t.id AS station_id, s.evse_id,
                   coalesce(site.time_zone, 'Europe/Paris') AS time_zone, s.started_at, s.ended_at,
                   s.energy_wh, s.meter_start_wh::float8 AS meter_start_wh, s.readings_from_at,
                   s.readings_to_at, s.flags,
                   (s.ended_at AT TIME ZONE 'Europe/Paris')::date AS supplied_on, s.token_uid,
                   coalesce(b.person_id, r.person_id) AS person_id
              FROM session s
              JOIN station t USING (station_key)
              LEFT JOIN site ON site.id = s.site_id
              LEFT JOIN driver_badge b ON b.uid_key = lower(s.token_uid)
                   AND s.started_at >= b.from_at AND (b.to_at IS NULL OR s.started_at < b.to_at)
              LEFT JOIN roaming_session r ON r.session_id = s.id
             WHERE s.client_id = %(client_id)s AND s.state <> 'active'
               AND s.ended_at >= %(from_at)s AND s.ended_at < %(to_at)s AND s.id > %(after_id)s
               AND NOT EXISTS (SELECT FROM priced_session p WHERE p.session_id = s.id OFFSET 0)
               AND NOT EXISTS (
                   SELECT FROM supply u
                    WHERE u.site_id = s.site_id
                      AND u.from_on <= (s.ended_at AT TIME ZONE 'Europe/Paris')::date
                      AND (u.to_on IS NULL
                           OR (s.ended_at AT TIME ZONE 'Europe/Paris')::date < u.to_on))
             ORDER BY s.id LIMIT %(limit)s
            """,
            {
                "client_id": client_id,
                "from_at": from_at,
                "to_at": to_at,
                "after_id": after_id,
                "limit": limit,
            },
        )
        return await rows.fetchall()


async def fetch_sessions(
    connection: AsyncConnection, session_ids: Sequence[int], now: datetime
) -> list[tuple[int, SessionRow]]:
    """Any sessions, each with its client, priced or not; those that go on as if they ended now."""
    async with connection.cursor(row_factory=args_row(_with_client)) as rows:
        await rows.execute(
            """
            SELECT DISTINCT ON (s.id) s.client_id, s.id, s.site_id, s.station_key, t.id, s.evse_id,
                   coalesce(site.time_zone, 'Europe/Paris'), s.started_at,
                   greatest(coalesce(s.ended_at, %(now)s), s.started_at), s.energy_wh,
                   s.meter_start_wh::float8, s.readings_from_at, s.readings_to_at, s.flags,
                   (coalesce(s.ended_at, %(now)s) AT TIME ZONE 'Europe/Paris')::date, s.token_uid,
                   coalesce(b.person_id, r.person_id) AS person_id
              FROM session s
              JOIN station t USING (station_key)
              LEFT JOIN site ON site.id = s.site_id
              LEFT JOIN driver_badge b ON b.uid_key = lower(s.token_uid)
                   AND s.started_at >= b.from_at AND (b.to_at IS NULL OR s.started_at < b.to_at)
              LEFT JOIN roaming_session r ON r.session_id = s.id
             WHERE s.id = ANY (%(ids)s) ORDER BY s.id
            """,
            {"ids": list(session_ids), "now": now},
        )
        return await rows.fetchall()


def _with_client(client_id: int, *columns: Any) -> tuple[int, SessionRow]:
    return client_id, SessionRow(*columns)


async def fetch_amounts(
    connection: AsyncConnection, session_ids: Sequence[int]
) -> dict[int, tuple[int, bool]]:
    """What sessions cost, VAT included, and whether that is estimated; those that have a price and
    that the caller may see."""
    cursor = await connection.execute(
        """
        SELECT session_id, amount_incl_cents, is_estimated FROM priced_session
         WHERE session_id = ANY (%s)
        """,
        (list(session_ids),),
    )
    return {
        session_id: (cents, estimated) for session_id, cents, estimated in await cursor.fetchall()
    }


async def fetch_memberships(
    connection: AsyncConnection, group_ids: Sequence[int], person_ids: Sequence[int]
) -> list[tuple[int, int, datetime, datetime | None]]:
    """person_id, group_id, from_at and to_at of these drivers in these groups, oldest first."""
    cursor = await connection.execute(
        """
        SELECT person_id, group_id, from_at, to_at FROM group_member
         WHERE group_id = ANY (%s) AND person_id = ANY (%s) ORDER BY from_at, group_id
        """,
        (list(group_ids), list(person_ids)),
    )
    return await cursor.fetchall()


async def fetch_readings(
    connection: AsyncConnection, sessions: Sequence[SessionRow]
) -> list[ReadingRow]:
    """The readings of these sessions, each session's in order of time."""
    async with connection.cursor(row_factory=class_row(ReadingRow)) as rows:
        await rows.execute(
            """
            SELECT r.session_id, r.at, r.profile_id, r.samples
              FROM unnest(%s::bigint[], %s::integer[], %s::timestamptz[], %s::timestamptz[])
                   AS q (session_id, station_key, from_at, to_at)
              JOIN meter_reading r ON r.station_key = q.station_key
                   AND r.stated_at BETWEEN q.from_at AND q.to_at AND r.session_id = q.session_id
             ORDER BY r.session_id, r.at
            """,
            (
                [session.id for session in sessions],
                [session.station_key for session in sessions],
                [session.readings_from_at for session in sessions],
                [session.readings_to_at for session in sessions],
            ),
        )
        return await rows.fetchall()


async def fetch_profiles(
    connection: AsyncConnection, profile_ids: Sequence[int]
) -> dict[int, Profile]:
    """What the samples of readings are, by profile."""
    cursor = await connection.execute(
        """
        SELECT id, measurands, phases, units, contexts, locations FROM meter_profile
         WHERE id = ANY (%s)
        """,
        (list(profile_ids),),
    )
    return {
        profile_id: Profile(
            tuple(
                SampleKind(measurand, phase, unit, context, location)
                for measurand, phase, unit, context, location in zip(*columns, strict=True)
            )
        )
        for profile_id, *columns in await cursor.fetchall()
    }


async def fetch_vat_rates(connection: AsyncConnection) -> list[tuple[date, date | None, Any]]:
    """The normal rate by date: from_on, to_on (not included), percent."""
    cursor = await connection.execute(
        "SELECT from_on, to_on, percent FROM vat_rate ORDER BY from_on"
    )
    return await cursor.fetchall()


async def fetch_supplied(
    connection: AsyncConnection, client_id: int
) -> list[tuple[str, date, date | None]]:
    """Sites of a client's that the operator supplies itself: site, from_on, to_on (not in it)."""
    cursor = await connection.execute(
        "SELECT site_id, from_on, to_on FROM supply WHERE client_id = %s ORDER BY id", (client_id,)
    )
    return await cursor.fetchall()


async def insert_priced(connection: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> int:
    """Sessions with their price; how many of them are new. Rows are the columns of priced_session
    with priced_at first, then in their order; `lines` as JSON text."""
    priced_at, *columns, lines = zip(*rows, strict=True)
    cursor = await connection.execute(
        """
        INSERT INTO priced_session (
            priced_at, session_id, client_id, month, supplied_on, site_id, station_key, evse_id,
            person_id, tariff_version_id, vat_case, started_at, ended_at, energy_wh,
            amount_excl_cents, vat_cents, amount_incl_cents, is_estimated, lines)
        SELECT %s::timestamptz, u.*
          FROM ROWS FROM (
                unnest(%s::bigint[], %s::bigint[], %s::date[], %s::date[], %s::text[],
                       %s::integer[], %s::integer[], %s::bigint[], %s::bigint[], %s::text[],
                       %s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::bigint[],
                       %s::bigint[], %s::bigint[], %s::boolean[]),
                jsonb_array_elements(%s::jsonb)) AS u
        ON CONFLICT (session_id) DO NOTHING
        """,
        # One text for the lines of all: quoted as elements of an array they cost more than prices.
        (priced_at[0], *map(list, columns), f"[{','.join(lines)}]"),
    )
    return cursor.rowcount


async def list_changed_after_pricing(
    connection: AsyncConnection, client_id: int, from_at: datetime, to_at: datetime
) -> list[tuple[int, int, int | None]]:
    """Sessions that are not any more as they were priced: id, energy then and energy now."""
    cursor = await connection.execute(
        """
        SELECT s.id, p.energy_wh, s.energy_wh
          FROM priced_session p JOIN session s ON s.id = p.session_id
         WHERE p.client_id = %s AND p.ended_at >= %s AND p.ended_at < %s
           AND (s.energy_wh, s.ended_at, s.started_at)
               IS DISTINCT FROM (p.energy_wh, p.ended_at, p.started_at)
         ORDER BY s.id
        """,
        (client_id, from_at, to_at),
    )
    return await cursor.fetchall()
