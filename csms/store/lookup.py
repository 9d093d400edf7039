"""What the gateway and the recorder read: stations, their state, badges, quirks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.domain.events import Token
from csms.domain.limits import PowerLimit
from csms.store.columns import safe


@dataclass(frozen=True, slots=True)
class StationRow:
    """What the gateway needs of a station before it lets it in, and to read its frames."""

    station_key: int
    id: str
    client_id: int
    site_id: str | None
    time_zone: str
    protocol: str | None
    security_profile: int
    password_hash: str | None
    boot_status: str
    auto_configure: bool
    ping_interval_s: float | None
    compression: bool
    vendor: str | None
    model: str | None
    firmware: str | None
    clock_skew_s: float | None
    naive_is_local: bool | None
    node: str | None  # that held it last, or holds it
    serial: str | None
    password_hash_next: str | None  # valid beside the other, until it has been used
    security_profile_next: int | None  # the floor, once the station has come in so
    revoked_certificates: list[str]  # SHA-256, hex
    public_evses: list[int]


async def fetch_stations(connection: AsyncConnection, ids: Sequence[str]) -> list[StationRow]:
    """Stations by identity, those that exist and are not retired."""
    async with connection.cursor(row_factory=class_row(StationRow)) as cursor:
        await cursor.execute(
            """
            SELECT s.station_key, s.id, s.client_id, s.site_id,
                   coalesce(site.time_zone, 'Europe/Paris') AS time_zone, s.protocol,
                   s.security_profile, s.password_hash, s.boot_status, s.auto_configure,
                   s.ping_interval_s, s.compression, s.vendor, s.model, s.firmware, s.clock_skew_s,
                   s.naive_is_local, c.node, s.serial, s.password_hash_next,
                   s.security_profile_next,
                   ARRAY(SELECT k.fingerprint_sha256 FROM station_certificate k
                          WHERE k.station_key = s.station_key AND k.revoked_at IS NOT NULL)
                   AS revoked_certificates,
                   ARRAY(SELECT e.evse_id FROM evse e
                          WHERE e.station_key = s.station_key AND coalesce(e.public, s.public))
                   AS public_evses
              FROM station s LEFT JOIN site ON site.id = s.site_id
              LEFT JOIN station_connection c USING (station_key)
             WHERE s.id = ANY(%s) AND s.retired_at IS NULL
            """,
            (list(ids),),
        )
        return await cursor.fetchall()


async def fetch_places(
    connection: AsyncConnection, station_keys: Sequence[int]
) -> list[tuple[int, int, int | None, str, int | None]]:
    """(station_key, evse_id, connector_id, status, power_w_max) of every connector.

    No connector gives more than its EVSE.
    """
    cursor = await connection.execute(
        """
        SELECT e.station_key, e.evse_id, c.connector_id, coalesce(c.status, e.status),
               least(c.power_w_max, e.power_w_max)
          FROM evse e LEFT JOIN connector c USING (station_key, evse_id)
         WHERE e.station_key = ANY(%s)
        """,
        (list(station_keys),),
    )
    return await cursor.fetchall()


async def fetch_power_limits(
    connection: AsyncConnection, station_keys: Sequence[int]
) -> dict[int, list[PowerLimit]]:
    """Limits of the stations that are in force or will be, by station_key.

    One of a station or site as a whole comes as the equal share of each of its EVSEs, so that
    their sum never exceeds it, whatever each of them does. A station that has told of no EVSE yet
    has one.
    """
    cursor = await connection.execute(
        """
        SELECT s.station_key, p.evse_id,
               CASE WHEN p.evse_id IS NOT NULL THEN p.limit_w
                    WHEN p.station_key IS NOT NULL THEN p.limit_w / greatest(1, (
                         SELECT count(*) FROM evse e WHERE e.station_key = s.station_key))
                    ELSE p.limit_w / (
                         SELECT sum(greatest(1, (SELECT count(*) FROM evse e
                                                  WHERE e.station_key = o.station_key)))::bigint
                           FROM station o
                          WHERE o.site_id = p.site_id AND o.retired_at IS NULL) END,
               p.from_at, p.to_at
          FROM station s
          JOIN power_limit p ON p.station_key = s.station_key OR p.site_id = s.site_id
         WHERE s.station_key = ANY(%s) AND s.retired_at IS NULL AND p.retired_at IS NULL
           AND (p.to_at IS NULL OR p.to_at > now())
        """,
        (list(station_keys),),
    )
    limits: dict[int, list[PowerLimit]] = {}
    for key, evse_id, limit_w, from_at, to_at in await cursor.fetchall():
        limits.setdefault(key, []).append(PowerLimit(evse_id, limit_w, from_at, to_at))
    return limits


async def fetch_open_sessions(
    connection: AsyncConnection, station_keys: Sequence[int]
) -> list[dict[str, Any]]:
    """Active sessions of the stations as column: value."""
    cursor = await connection.execute(
        "SELECT to_json(s) FROM session s WHERE station_key = ANY(%s) AND state = 'active'",
        (list(station_keys),),
    )
    return [row[0] for row in await cursor.fetchall()]


async def find_sessions(
    connection: AsyncConnection, wanted: Sequence[tuple[int, str, str]]
) -> list[dict[str, Any]]:
    """Sessions by (station_key, what, value), what being transaction_id, start_key or ended_at.

    ended_at means the time that the station stated for its end, in ISO.
    """
    cursor = await connection.execute(
        """
        SELECT to_json(s)
          FROM unnest(%s::integer[], %s::text[], %s::text[]) AS w (station_key, what, value)
          JOIN session s ON s.station_key = w.station_key
               AND CASE w.what WHEN 'transaction_id' THEN s.transaction_id = w.value
                               WHEN 'start_key' THEN s.start_key = w.value
                               ELSE s.stated_ended_at = w.value::timestamptz END
        """,
        ([w[0] for w in wanted], [w[1] for w in wanted], [safe(w[2]) for w in wanted]),
    )
    return [row[0] for row in await cursor.fetchall()]


async def fetch_answers(
    connection: AsyncConnection, station_keys: Sequence[int], count: int
) -> list[tuple[int, str, str, datetime]]:
    """(station_key, frame, answer, at) of each station's newest answered frames."""
    cursor = await connection.execute(
        """
        SELECT m.station_key, m.frame, m.answer, m.at
          FROM unnest(%s::integer[]) AS k (station_key)
         CROSS JOIN LATERAL (
               SELECT * FROM ocpp_message
                WHERE station_key = k.station_key AND direction = 'in' AND answer IS NOT NULL
                  AND answer NOT LIKE '[4,%%"SecurityError",%%'  -- of a station on hold: not kept
                  AND at > now() - interval '1 day'
                ORDER BY at DESC LIMIT %s) m
         ORDER BY m.station_key, m.at
        """,
        (list(station_keys), count),
    )
    return await cursor.fetchall()


async def fetch_tokens(
    connection: AsyncConnection, uid_keys: Sequence[str], site_ids: Sequence[str]
) -> list[Token]:
    """Badges by uid_key with their open sessions, and for those of drivers with what their groups
    say of the sites: what is in force, then what has ended last; and where she is blocked for
    unpaid invoices (a view of billing's). A badge that is none of ours is as a partner said last
    (roaming_grant, of reporting's), charged to the partner's account. Accepted badges of a driver
    are a group where they are in no other: one that is lost must not stop what another began.

    OFFSET 0 keeps the planner to the way from the badge to its few rules: a plan for any badges
    and sites would begin with the sites, and read all their members.
    """
    async with connection.cursor(row_factory=class_row(Token)) as cursor:
        await cursor.execute(
            """
            SELECT t.uid_key, t.status,
                   coalesce(t.group_uid, (
                       SELECT own_badge_group(b.person_id) FROM driver_badge b
                        WHERE b.token_key = t.token_key AND t.status = 'accepted'
                          AND b.from_at <= now() AND (b.to_at IS NULL OR b.to_at > now())))
                   AS group_uid,
                   t.valid_until, t.site_ids,
                   ARRAY(SELECT json_build_array(s.id, s.station_key, s.evse_id) FROM session s
                          WHERE lower(s.token_uid) = t.uid_key AND s.state = 'active'
                            AND s.authorization_status = 'Accepted'
                          LIMIT 100) AS open_sessions,
                   t.concurrent_max,
                   ARRAY(SELECT json_build_array(
                                extract(epoch FROM b.from_at), extract(epoch FROM b.to_at),
                                p.blocked_at IS NULL AND p.closed_at IS NULL
                                AND d.closed_at IS NULL)
                           FROM driver_badge b JOIN driver d USING (person_id)
                           JOIN person p ON p.id = b.person_id
                          WHERE b.token_key = t.token_key) AS holders,
                   ARRAY(SELECT json_build_array(a.site_id, a.weekdays, a.from_minute, a.to_minute,
                                extract(epoch FROM greatest(b.from_at, m.from_at)),
                                extract(epoch FROM least(b.to_at, m.to_at, a.over_at)))
                           FROM driver_badge b
                          CROSS JOIN LATERAL (SELECT * FROM group_member
                                               WHERE person_id = b.person_id OFFSET 0) m
                          CROSS JOIN LATERAL (
                                SELECT x.*, least(x.retired_at, g.retired_at) AS over_at
                                  FROM driver_group g JOIN group_access x ON x.group_id = g.id
                                 WHERE g.id = m.group_id AND x.group_id = m.group_id
                                   AND x.site_id = ANY(%(site_ids)s) OFFSET 0) a
                          WHERE b.token_key = t.token_key
                            AND coalesce(b.to_at > m.from_at, true)
                            AND coalesce(m.to_at > b.from_at, true)
                          ORDER BY least(b.to_at, m.to_at, a.over_at) DESC NULLS FIRST
                          LIMIT 1000) AS rules,
                   ARRAY(SELECT DISTINCT ON (u.client_id)
                                json_build_array(u.client_id, extract(epoch FROM u.from_at))
                           FROM driver_badge b JOIN standing_block u USING (person_id)
                          WHERE b.token_key = t.token_key AND b.from_at <= now()
                            AND coalesce(b.to_at > now(), true)) AS unpaid,
                   false AS is_roaming
              FROM token t
             WHERE t.uid_key = ANY(%(uid_keys)s) AND t.retired_at IS NULL
             UNION ALL
            SELECT g.uid_key,
                   CASE g.allowed WHEN 'ALLOWED' THEN 'accepted' WHEN 'EXPIRED' THEN 'expired'
                                  ELSE 'blocked' END,
                   NULL, g.valid_until,
                   ARRAY(SELECT o.site_id FROM ocpi_site o
                          WHERE o.partner_id = g.partner_id AND o.feed = 'roaming'
                            AND o.from_at <= now() AND (o.to_at IS NULL OR o.to_at > now())),
                   ARRAY(SELECT json_build_array(s.id, s.station_key, s.evse_id) FROM session s
                          WHERE lower(s.token_uid) = g.uid_key AND s.state = 'active'
                            AND s.authorization_status = 'Accepted'
                          LIMIT 100),
                   NULL,
                   ARRAY(SELECT json_build_array(0, NULL, p.blocked_at IS NULL
                                                 AND p.closed_at IS NULL AND d.closed_at IS NULL)
                           FROM driver d JOIN person p ON p.id = d.person_id
                          WHERE d.person_id = a.person_id),
                   ARRAY[]::json[],
                   ARRAY(SELECT DISTINCT ON (u.client_id)
                                json_build_array(u.client_id, extract(epoch FROM u.from_at))
                           FROM standing_block u WHERE u.person_id = a.person_id),
                   true
              FROM unnest(%(uid_keys)s::text[]) AS k (uid_key)
             CROSS JOIN LATERAL (SELECT * FROM roaming_grant r WHERE r.uid_key = k.uid_key
                                  ORDER BY r.id DESC LIMIT 1) g
              JOIN ocpi_partner a ON a.id = g.partner_id AND a.registered_at <= g.at
             WHERE NOT EXISTS (SELECT FROM token t
                                WHERE t.uid_key = k.uid_key AND t.retired_at IS NULL)
            """,
            {"uid_keys": [safe(key) for key in uid_keys], "site_ids": list(site_ids)},
        )
        return await cursor.fetchall()


@dataclass(frozen=True, slots=True)
class QuirkRow:
    """A known fault of a make; None matches all."""

    vendor: str | None
    model: str | None
    firmware: str | None
    correction: str
    decided_on: date
    reason: str


async def fetch_quirks(connection: AsyncConnection) -> list[QuirkRow]:
    """All quirks in force."""
    async with connection.cursor(row_factory=class_row(QuirkRow)) as cursor:
        await cursor.execute(
            """
            SELECT vendor, model, firmware, correction, decided_on, reason
              FROM quirk WHERE retired_at IS NULL
            """
        )
        return await cursor.fetchall()
