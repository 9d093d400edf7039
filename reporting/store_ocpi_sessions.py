"""SQL of sessions as partners are told of them, their prices, and partners' orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from reporting.ocpi.kinds import AuthMethod


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session of a partner's driver; token None: told without any driver (advenir)."""

    id: int
    client_id: int
    location_id: str
    evse_uid: str
    connector_id: int | None
    started_at: datetime
    ended_at: datetime | None
    state: str
    energy_wh: int | None
    token: dict[str, Any] | None
    method: AuthMethod | None
    reference: str | None


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """A session that was told and has not come to its end for the partner."""

    id: int
    client_id: int
    state: str
    ended_at: datetime | None
    energy_wh: int | None
    content: dict[str, Any]  # as told
    told_at: datetime


@dataclass(frozen=True, slots=True)
class PricedRow:
    """A session that was told, over and priced; lines None: its price is nobody's business."""

    id: int
    client_id: int
    started_at: datetime
    ended_at: datetime
    energy_wh: int
    lines: list[dict[str, Any]] | None
    tariff_version_id: int | None
    content: dict[str, Any]  # as told


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A partner's order that is over, or whose time is."""

    id: int
    client_id: int
    kind: str
    response_url: str
    status: str
    response: str | None
    error: str | None
    created_at: datetime


async def list_new_sessions(
    connection: AsyncConnection, partner_id: int, outlet: str, after: datetime, limit: int
) -> list[SessionRow]:
    """Sessions that began after that and are not told yet: those that one of the partner's grants
    let begin since then, and all at sites of its feed without drivers. Nothing is told of a point
    before the partner took its place: with several workers one could overtake the other."""
    async with connection.cursor(row_factory=class_row(SessionRow)) as rows:
        await rows.execute(
            """
            WITH found AS (
                SELECT r.session_id, r.token, r.method, r.reference
                  FROM (SELECT DISTINCT uid_key FROM roaming_grant
                         WHERE partner_id = %(partner)s AND at > %(after)s) g
                  JOIN session x ON lower(x.token_uid) = g.uid_key AND x.started_at > %(after)s
                  JOIN roaming_session r ON r.session_id = x.id AND r.partner_id = %(partner)s
                UNION ALL
                SELECT x.id, NULL, NULL, NULL
                  FROM ocpi_site o
                  JOIN session x ON x.site_id = o.site_id AND x.started_at > %(after)s
                   AND x.started_at >= o.from_at AND (o.to_at IS NULL OR x.started_at < o.to_at)
                 WHERE o.partner_id = %(partner)s AND o.feed = 'advenir'
                   AND (o.to_at IS NULL OR o.to_at > %(after)s)
                   AND NOT EXISTS (SELECT FROM roaming_session r WHERE r.session_id = x.id
                                      AND r.partner_id = %(partner)s)
            )
            SELECT x.id, x.client_id, k.parent_id AS location_id, k.object_id AS evse_uid,
                   x.connector_id, x.started_at, x.ended_at, x.state, x.energy_wh, f.token,
                   f.method, f.reference
              FROM found f JOIN session x ON x.id = f.session_id
              JOIN evse e ON e.station_key = x.station_key AND e.evse_id = x.evse_id
              JOIN ocpi_told k ON k.partner_id = %(partner)s AND k.module = 'evses'
               AND k.object_id = e.evse_uid
              JOIN ocpi_partner p ON p.id = %(partner)s
             WHERE NOT EXISTS (SELECT FROM ocpi_told t
                                WHERE t.partner_id = %(partner)s AND t.module = 'sessions'
                                  AND t.object_id = x.id::text)
               AND EXISTS (SELECT FROM outlet_item i
                            WHERE i.outlet = %(outlet)s
                              AND i.object_key = 'location/' || k.parent_id AND i.status = 'sent'
                              AND i.body ->> 'method' = 'PUT' AND i.finished_at >= p.registered_at)
             ORDER BY x.started_at, x.id LIMIT %(limit)s
            """,
            {"partner": partner_id, "outlet": outlet, "after": after, "limit": limit},
        )
        return await rows.fetchall()


async def list_changed_sessions(
    connection: AsyncConnection, partner_id: int, told_before: datetime, limit: int
) -> list[ChangedRow]:
    """Sessions told as going on that have ended, or that have taken more since they were told,
    before that moment."""
    async with connection.cursor(row_factory=class_row(ChangedRow)) as rows:
        await rows.execute(
            """
            SELECT x.id, x.client_id, x.state, x.ended_at, x.energy_wh, t.content, t.at AS told_at
              FROM ocpi_told t JOIN session x ON x.id = t.object_id::bigint
             WHERE t.partner_id = %(partner)s AND t.module = 'sessions' AND t.is_open
               AND t.content ->> 'status' = 'ACTIVE'
               AND (x.state <> 'active'
                    OR (t.at <= %(before)s
                        AND x.energy_wh > (t.content ->> 'energy_wh')::bigint))
             ORDER BY coalesce(x.ended_at, %(before)s), x.id LIMIT %(limit)s
            """,
            {"partner": partner_id, "before": told_before, "limit": limit},
        )
        return await rows.fetchall()


async def list_priced_sessions(
    connection: AsyncConnection, partner_id: int, limit: int
) -> list[PricedRow]:
    """Sessions told as over that have no CDR yet, and their price; those of the feed without
    drivers need none."""
    async with connection.cursor(row_factory=class_row(PricedRow)) as rows:
        await rows.execute(
            """
            SELECT x.id, x.client_id, coalesce(p.started_at, x.started_at) AS started_at,
                   coalesce(p.ended_at, x.ended_at) AS ended_at,
                   coalesce(p.energy_wh, x.energy_wh) AS energy_wh,
                   CASE WHEN NOT a.is_anonymous THEN p.lines END AS lines,
                   CASE WHEN NOT a.is_anonymous THEN p.tariff_version_id END AS tariff_version_id,
                   t.content
              FROM ocpi_told t JOIN session x ON x.id = t.object_id::bigint
             CROSS JOIN LATERAL (SELECT (t.content ->> 'is_anonymous')::boolean AS is_anonymous) a
              LEFT JOIN priced_session p ON p.session_id = x.id
             WHERE t.partner_id = %(partner)s AND t.module = 'sessions' AND t.is_open
               AND t.content ->> 'status' <> 'ACTIVE'
               AND (p.session_id IS NOT NULL
                    OR (a.is_anonymous AND x.state = 'ended' AND x.energy_wh IS NOT NULL))
             ORDER BY x.ended_at, x.id LIMIT %(limit)s
            """,
            {"partner": partner_id, "limit": limit},
        )
        return await rows.fetchall()


async def close_told(
    connection: AsyncConnection, partner_id: int, session_ids: Sequence[str]
) -> None:
    """Nothing more is to be told of these sessions."""
    await connection.execute(
        """
        UPDATE ocpi_told SET is_open = false
         WHERE partner_id = %s AND module = 'sessions' AND object_id = ANY (%s)
        """,
        (partner_id, list(session_ids)),
    )


async def open_told(
    connection: AsyncConnection, partner_id: int, session_ids: Sequence[str]
) -> None:
    """Something is still to be told of these sessions."""
    await connection.execute(
        """
        UPDATE ocpi_told SET is_open = true
         WHERE partner_id = %s AND module = 'sessions' AND object_id = ANY (%s)
        """,
        (partner_id, list(session_ids)),
    )


# --- Partners' orders -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlaceRow:
    """A point that a partner's driver may charge at."""

    station_id: str
    station_key: int
    evse_id: int
    evse_uid: str
    client_id: int
    site_id: str
    status: str
    is_connected: bool
    is_taken: bool  # somebody charges there


@dataclass(frozen=True, slots=True)
class RunningRow:
    """A session that a partner knows."""

    id: int
    state: str
    transaction_id: str
    station_id: str
    client_id: int


async def list_places(
    connection: AsyncConnection, partner_id: int, location_id: str, now: datetime
) -> list[PlaceRow]:
    """The points of a location that the partner was told of and whose drivers may charge there."""
    async with connection.cursor(row_factory=class_row(PlaceRow)) as rows:
        await rows.execute(
            """
            SELECT s.id AS station_id, s.station_key, e.evse_id, e.evse_uid, s.client_id,
                   s.site_id, e.status,
                   c.station_key IS NOT NULL AND c.disconnected_at IS NULL AS is_connected,
                   EXISTS (SELECT FROM session x
                            WHERE x.station_key = e.station_key AND x.evse_id = e.evse_id
                              AND x.state = 'active' AND x.authorization_status <> 'none')
                   AS is_taken
              FROM ocpi_site o
              JOIN station s ON s.site_id = o.site_id AND s.retired_at IS NULL
              JOIN evse e USING (station_key)
              JOIN ocpi_told t ON t.partner_id = o.partner_id AND t.module = 'evses'
               AND t.object_id = e.evse_uid
              LEFT JOIN station_connection c USING (station_key)
             WHERE o.partner_id = %(partner)s AND o.site_id = %(location)s AND o.feed = 'roaming'
               AND o.from_at <= %(now)s AND (o.to_at IS NULL OR o.to_at > %(now)s)
             ORDER BY e.evse_uid
            """,
            {"partner": partner_id, "location": location_id, "now": now},
        )
        return await rows.fetchall()


async def find_session(
    connection: AsyncConnection, partner_id: int, session_id: str
) -> RunningRow | None:
    """A session of the partner's own drivers that it was told of; None: it was not."""
    async with connection.cursor(row_factory=class_row(RunningRow)) as rows:
        await rows.execute(
            """
            SELECT x.id, x.state, x.transaction_id, s.id AS station_id, x.client_id
              FROM ocpi_told t JOIN session x ON x.id = t.object_id::bigint
              JOIN station s USING (station_key)
             WHERE t.partner_id = %s AND t.module = 'sessions' AND t.object_id = %s
               AND NOT (t.content ->> 'is_anonymous')::boolean
            """,
            (partner_id, session_id),
        )
        return await rows.fetchone()


async def find_command(
    connection: AsyncConnection, partner_id: int, digest: bytes, after: datetime
) -> int | None:
    """The order to the station that the same request became, if it was made after that."""
    cursor = await connection.execute(
        """
        SELECT command_id FROM ocpi_command
         WHERE partner_id = %s AND digest = %s AND created_at > %s
         ORDER BY id DESC LIMIT 1
        """,
        (partner_id, digest, after),
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def insert_command(
    connection: AsyncConnection,
    *,
    partner_id: int,
    client_id: int,
    kind: str,
    command_id: int,
    response_url: str,
    digest: bytes,
    now: datetime,
) -> None:
    """Remember what a partner asked for."""
    await connection.execute(
        """
        INSERT INTO ocpi_command (partner_id, client_id, kind, command_id, response_url, digest,
                                  created_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        (partner_id, client_id, kind, command_id, response_url, digest, now),
    )


async def list_results(
    connection: AsyncConnection, partner_id: int, outlet: str, after: datetime, limit: int
) -> list[ResultRow]:
    """Orders since then that are over and whose result was not made to be told yet."""
    async with connection.cursor(row_factory=class_row(ResultRow)) as rows:
        await rows.execute(
            """
            SELECT o.id, o.client_id, o.kind, o.response_url, q.status, q.response, q.error,
                   o.created_at
              FROM ocpi_command o JOIN command q ON q.id = o.command_id
             WHERE o.partner_id = %(partner)s AND o.created_at > %(after)s
               AND q.finished_at IS NOT NULL
               AND NOT EXISTS (SELECT FROM outlet_item i
                                WHERE i.outlet = %(outlet)s AND i.source_key = o.id::text)
             ORDER BY o.id LIMIT %(limit)s
            """,
            {"partner": partner_id, "outlet": outlet, "after": after, "limit": limit},
        )
        return await rows.fetchall()
