"""SQL of what stations keep of badges: local list, cache, master group."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

CACHED_AT_MOST = timedelta(days=90)  # no station keeps an answer for longer


@dataclass(frozen=True, slots=True)
class StationBadges:
    """A connected station, what it is known to keep, and what became of the order under way."""

    station_key: int
    station_id: str
    client_id: int
    site_id: str | None
    protocol: str
    firmware: str | None
    booted_at: datetime | None
    list_state: str
    list_version: int | None
    list_held: dict[str, Any]
    list_full: bool
    list_command_id: int | None
    list_sending: dict[str, Any] | None
    list_sending_version: int | None
    list_failures: int
    list_boot_at: datetime | None
    list_limits_asked: bool  # with its present firmware
    closed: bool  # nobody may start at its client's stations, now
    master_group_uid: str | None  # as the station has told or taken it; None: not known
    order_status: str | None  # None: none is under way
    order_action: str | None
    order_response: str | None  # JSON
    order_error: str | None  # JSON


async def fetch_changed_at(connection: AsyncConnection) -> datetime | None:
    """When a badge was last changed; None: there are none. All changes up to then are visible.

    In a transaction of its own. Raises: psycopg.errors.LockNotAvailable while somebody who changes
    badges does not commit: look again later.
    """
    cursor = await connection.execute("SELECT tokens_changed_at()")
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def fetch_lists_due(
    connection: AsyncConnection, now: datetime, changed_at: datetime | None, limit: int
) -> list[StationBadges]:
    """Up to `limit` connected stations whose list may be out of step, or whose order is over.

    Only those that are accepted, and that may be told what nobody has ordered.
    """
    async with connection.cursor(row_factory=class_row(StationBadges)) as rows:
        await rows.execute(
            """
            SELECT s.station_key, s.id AS station_id, s.client_id, s.site_id, c.protocol,
                   s.firmware, s.booted_at, coalesce(a.list_state, 'unknown') AS list_state,
                   a.list_version, coalesce(a.list_held, '{}') AS list_held,
                   coalesce(a.list_full, true) AS list_full, a.list_command_id, a.list_sending,
                   a.list_sending_version, coalesce(a.list_failures, 0) AS list_failures,
                   a.list_boot_at,
                   coalesce(a.list_limits_asked
                            AND a.list_firmware IS NOT DISTINCT FROM s.firmware, false)
                   AS list_limits_asked, k.closed,
                   v.value AS master_group_uid, q.status AS order_status,
                   q.action AS order_action, q.response AS order_response, q.error AS order_error
              FROM station_connection c JOIN station s USING (station_key)
              LEFT JOIN local_authorization a USING (station_key)
              LEFT JOIN command q ON q.id = a.list_command_id
              LEFT JOIN station_variable v
                ON v.station_key = s.station_key AND v.component = 'AuthCtrlr'
               AND v.variable = 'MasterPassGroupId' AND v.component_instance = ''
               AND v.variable_instance = '' AND v.evse_id = 0 AND v.connector_id = 0
               AND v.attribute = 'Actual'
             CROSS JOIN LATERAL (
                   SELECT EXISTS (SELECT FROM client_closure x
                                   WHERE x.client_id = s.client_id AND x.from_at <= %(now)s
                                     AND (x.to_at IS NULL OR %(now)s < x.to_at)) AS closed) k
             WHERE c.disconnected_at IS NULL AND c.protocol <> '' AND s.retired_at IS NULL
               AND s.boot_status = 'accepted' AND s.auto_configure
               AND CASE WHEN a.station_key IS NULL THEN true
                        WHEN q.id IS NOT NULL THEN q.status NOT IN ('queued', 'sent')
                        WHEN a.list_next_at > %(now)s THEN false
                        WHEN a.list_state = 'unsupported'
                        THEN s.firmware IS DISTINCT FROM a.list_firmware
                        ELSE a.list_state = 'unknown' OR a.list_full
                             OR s.booted_at > a.list_boot_at
                             OR a.list_checked_at IS NULL
                             OR a.list_checked_at < %(changed)s
                             OR a.list_site_id IS DISTINCT FROM s.site_id
                             OR a.list_closed <> k.closed
                             OR a.list_master_group_uid IS DISTINCT FROM v.value END
             ORDER BY a.list_checked_at NULLS FIRST, s.station_key LIMIT %(limit)s
            """,
            {"now": now, "changed": changed_at, "limit": limit},
        )
        return await rows.fetchall()


async def fetch_wanted(
    connection: AsyncConnection, site_id: str | None, now: datetime, limit: int
) -> list[tuple[str, str, str, str | None, datetime | None, str]]:
    """(uid_key, uid, status, group_uid, valid_until, type) of badges that a station of the site
    should know by itself; those that may charge first, the refused ones too, for when it is
    offline.

    A driver's badge that may charge there at some hours only is left out: the station has to ask.
    """
    cursor = await connection.execute(
        """
        WITH unpaid AS (
            SELECT u.person_id FROM standing_block u JOIN site s USING (client_id)
             WHERE s.id = %(site)s
        ), held AS (
            SELECT b.token_key, b.person_id,
                   coalesce(p.blocked_at, p.closed_at, d.closed_at) IS NOT NULL
                   OR b.person_id IN (SELECT person_id FROM unpaid) AS is_barred
              FROM driver_badge b JOIN driver d USING (person_id)
              JOIN person p ON p.id = b.person_id
             WHERE b.from_at <= %(now)s AND coalesce(b.to_at > %(now)s, true)
        ), rules AS (
            SELECT token_key, bool_or(is_always) AS is_always,
                   CASE WHEN NOT bool_or(is_always AND to_at IS NULL)
                        THEN max(to_at) FILTER (WHERE is_always) END AS until
              FROM badge_access
             WHERE site_id = %(site)s AND from_at <= %(now)s AND coalesce(to_at > %(now)s, true)
             GROUP BY token_key
        )
        SELECT t.uid_key, t.uid,
               CASE WHEN t.status <> 'accepted' THEN t.status WHEN h.is_barred THEN 'blocked'
                    WHEN v.until <= %(now)s THEN 'expired' ELSE t.status END AS status,
               coalesce(t.group_uid, CASE WHEN t.status = 'accepted' AND NOT h.is_barred
                                          THEN own_badge_group(h.person_id) END), v.until, t.type
          FROM token t LEFT JOIN held h USING (token_key) LEFT JOIN rules r USING (token_key)
         CROSS JOIN LATERAL (SELECT coalesce(%(site)s = ANY (t.site_ids), false) AS is_named) n
         CROSS JOIN LATERAL (
               SELECT least(t.valid_until, CASE WHEN NOT is_named THEN r.until END) AS until) v
         WHERE t.retired_at IS NULL AND t.type NOT IN ('Central', 'NoAuthorization', 'MacAddress')
           AND (n.is_named
                OR CASE WHEN h.is_barred IS NULL THEN t.site_ids IS NULL
                        ELSE r.is_always OR (r.token_key IS NOT NULL
                                             AND (h.is_barred OR t.status <> 'accepted')) END)
         ORDER BY (t.status = 'accepted' AND h.is_barred IS NOT TRUE
                   AND coalesce(v.until > %(now)s, true)) DESC, t.uid_key
         LIMIT %(limit)s
        """,
        {"site": site_id, "now": now, "limit": limit},
        prepare=False,
    )
    return await cursor.fetchall()


async def write_list(
    connection: AsyncConnection,
    station_key: int,
    *,
    state: str,
    version: int | None,
    held: dict[str, Any],
    full: bool,
    failures: int,
    command_id: int | None,
    sending: dict[str, Any] | None,
    sending_version: int | None,
    next_at: datetime,
    checked_at: datetime | None,
    boot_at: datetime | None,
    firmware: str | None,
    limits_asked: bool,
    site_id: str | None,
    closed: bool,
    master_group_uid: str | None,
) -> None:
    """Write what is known of a station's list. `checked_at` None leaves it as it was."""
    await connection.execute(
        """
        INSERT INTO local_authorization AS a (
            station_key, list_state, list_version, list_held, list_full, list_failures,
            list_command_id, list_sending, list_sending_version, list_next_at, list_checked_at,
            list_boot_at, list_firmware, list_limits_asked, list_site_id, list_closed,
            list_master_group_uid)
        VALUES (%(key)s, %(state)s, %(version)s, %(held)s, %(full)s, %(failures)s, %(command)s,
                %(sending)s, %(sending_version)s, %(next)s, %(checked)s, %(boot)s, %(firmware)s,
                %(limits_asked)s, %(site)s, %(closed)s, %(master)s)
        ON CONFLICT (station_key) DO UPDATE
           SET list_state = excluded.list_state, list_version = excluded.list_version,
               list_held = excluded.list_held, list_full = excluded.list_full,
               list_failures = excluded.list_failures,
               list_command_id = excluded.list_command_id, list_sending = excluded.list_sending,
               list_sending_version = excluded.list_sending_version,
               list_next_at = excluded.list_next_at,
               list_checked_at = coalesce(excluded.list_checked_at, a.list_checked_at),
               list_boot_at = excluded.list_boot_at, list_firmware = excluded.list_firmware,
               list_limits_asked = excluded.list_limits_asked,
               list_site_id = excluded.list_site_id, list_closed = excluded.list_closed,
               list_master_group_uid = excluded.list_master_group_uid
        """,
        {
            "key": station_key,
            "state": state,
            "version": version,
            "held": Jsonb(held),
            "full": full,
            "failures": failures,
            "command": command_id,
            "sending": None if sending is None else Jsonb(sending),
            "sending_version": sending_version,
            "next": next_at,
            "checked": checked_at,
            "boot": boot_at,
            "firmware": firmware,
            "limits_asked": limits_asked,
            "site": site_id,
            "closed": closed,
            "master": master_group_uid,
        },
    )


async def fetch_caches_due(
    connection: AsyncConnection, now: datetime, since: datetime, limit: int
) -> list[tuple[int, bool, str]]:
    """(station_key, closed, protocol) of connected stations that may still let in, from their
    cache, a badge that may not charge there any more. `closed`: nobody may start there now.

    That is: blocked, expired by a person, retired or taken from the site since the cache was last
    cleared; or of a driver who may not charge there any more, or not at every hour; and any badge
    where the client's contract was suspended or has ended since then, or goes on again: refusals
    are remembered too; so are those of drivers blocked there for unpaid invoices, who pay. An order
    that failed to clear it is tried again. Only badges that changed and stations that connected
    after `since` are looked at: a pass over everything is for now and then.
    """
    cursor = await connection.execute(
        """
        WITH changed AS MATERIALIZED (
            SELECT t.token_key, t.uid_key, t.status, t.site_ids, t.created_at, t.updated_at,
                   t.retired_at, b.person_id,
                   t.status <> 'accepted' OR t.retired_at IS NOT NULL
                   OR coalesce(p.blocked_at, p.closed_at, d.closed_at) IS NOT NULL AS is_refused
              FROM token t
              LEFT JOIN driver_badge b ON b.token_key = t.token_key AND b.from_at <= %(now)s
               AND coalesce(b.to_at > %(now)s, true)
              LEFT JOIN driver d ON d.person_id = b.person_id
              LEFT JOIN person p ON p.id = b.person_id
             WHERE t.updated_at > %(oldest)s AND t.updated_at > t.created_at
               AND (t.status <> 'accepted' OR t.retired_at IS NOT NULL OR t.site_ids IS NOT NULL
                    OR b.person_id IS NOT NULL)
        ), news AS (SELECT coalesce(max(updated_at) > %(since)s, false) AS there_are FROM changed)
        SELECT s.station_key, k.closed, c.protocol
          FROM station_connection c JOIN station s USING (station_key)
          LEFT JOIN local_authorization a USING (station_key)
          LEFT JOIN command q ON q.id = a.cache_command_id
         CROSS JOIN LATERAL (
               SELECT EXISTS (SELECT FROM client_closure x
                               WHERE x.client_id = s.client_id AND x.from_at <= %(now)s
                                 AND (x.to_at IS NULL OR %(now)s < x.to_at)) AS closed) k
         WHERE c.disconnected_at IS NULL AND c.protocol <> '' AND s.retired_at IS NULL
           AND s.boot_status = 'accepted' AND s.auto_configure
           AND (q.id IS NULL OR q.status NOT IN ('queued', 'sent'))
           AND coalesce(a.cache_next_at <= %(now)s, true)
           AND (q.status IN ('expired', 'cancelled') OR q.error::json ->> 'code' = 'NoAnswer'
                OR k.closed <> coalesce(a.cache_closed, false)
                OR ((c.connected_at > %(since)s OR (SELECT there_are FROM news)) AND EXISTS (
                SELECT FROM changed t
                 WHERE t.updated_at > greatest(a.cache_cleared_at, t.created_at, s.created_at)
                   AND (t.is_refused
                        OR EXISTS (SELECT FROM payment_block u
                                    WHERE u.person_id = t.person_id AND u.client_id = s.client_id
                                      AND coalesce(u.until_at > a.cache_cleared_at, true))
                        OR CASE WHEN t.person_id IS NULL
                                THEN NOT coalesce(s.site_id = ANY (t.site_ids), t.site_ids IS NULL)
                                ELSE NOT coalesce(s.site_id = ANY (t.site_ids), false)
                                     AND NOT EXISTS (
                                         SELECT FROM badge_access a
                                          WHERE a.token_key = t.token_key AND a.site_id = s.site_id
                                            AND a.is_always AND a.from_at <= %(now)s
                                            AND coalesce(a.to_at > %(now)s, true)) END)
                   AND (s.site_id = ANY (t.site_ids)
                        OR CASE WHEN t.person_id IS NULL THEN t.site_ids IS NULL
                                ELSE EXISTS (SELECT FROM badge_access a
                                              WHERE a.token_key = t.token_key
                                                AND a.site_id = s.site_id) END
                        OR EXISTS (SELECT FROM session u
                                    WHERE lower(u.token_uid) = t.uid_key
                                      AND u.station_key = s.station_key)))))
         ORDER BY s.station_key LIMIT %(limit)s
        """,
        {"now": now, "since": since, "oldest": now - CACHED_AT_MOST, "limit": limit},
        prepare=False,
    )
    return await cursor.fetchall()


async def note_cache_cleared(
    connection: AsyncConnection,
    station_key: int,
    command_id: int,
    changed_at: datetime,
    next_at: datetime,
    *,
    closed: bool,
) -> None:
    """The station is told to forget badges changed up to that moment, and all those of before its
    client was `closed`, or is no more; tried again from next_at."""
    await connection.execute(
        """
        INSERT INTO local_authorization (station_key, cache_command_id, cache_cleared_at,
                                         cache_next_at, cache_closed)
        VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (station_key) DO UPDATE
           SET cache_command_id = excluded.cache_command_id,
               cache_cleared_at = excluded.cache_cleared_at, cache_next_at = excluded.cache_next_at,
               cache_closed = excluded.cache_closed
        """,
        (station_key, command_id, changed_at, next_at, closed),
    )


async def fetch_masters_due(
    connection: AsyncConnection, now: datetime, limit: int
) -> list[tuple[int, str, str]]:
    """(station_key, station_id, group_uid) of connected 2.0.1 stations that were not yet told the
    group whose badges may stop every session there; '' where there is none any more.

    It is that of the first accepted master badge of the station's client, else of the operator's
    own, that is valid at the station's site and alone in its group: to a station no badge of the
    group that it is told may start (C16), so a group with drivers in it is never told. An order
    without an answer is tried again; one that the station has answered is not, until the group
    changes.
    """
    cursor = await connection.execute(
        """
        SELECT s.station_key, s.id, coalesce(m.group_uid, '')
          FROM station_connection c JOIN station s USING (station_key)
          LEFT JOIN local_authorization a USING (station_key)
          LEFT JOIN command q ON q.id = a.master_command_id
          LEFT JOIN LATERAL (
               SELECT t.group_uid FROM token t JOIN client k ON k.id = t.client_id
                WHERE t.uid_key = lower(t.group_uid) AND t.status = 'accepted'
                  AND t.retired_at IS NULL AND coalesce(t.valid_until > %(now)s, true)
                  AND (t.site_ids IS NULL OR s.site_id = ANY (t.site_ids))
                  AND (t.client_id = s.client_id OR k.is_operator)
                  AND NOT EXISTS (SELECT FROM token o
                                   WHERE lower(o.group_uid) = t.uid_key
                                     AND o.uid_key <> t.uid_key AND o.retired_at IS NULL)
                ORDER BY (t.client_id = s.client_id) DESC, t.uid_key LIMIT 1) m ON true
         WHERE c.disconnected_at IS NULL AND c.protocol = 'ocpp2.0.1' AND s.retired_at IS NULL
           AND s.boot_status = 'accepted' AND s.auto_configure
           AND (q.id IS NULL OR q.status NOT IN ('queued', 'sent'))
           AND coalesce(a.master_next_at <= %(now)s, true)
           AND (coalesce(a.master_group_uid, '') <> coalesce(m.group_uid, '')
                OR q.status IN ('expired', 'cancelled') OR q.error::json ->> 'code' = 'NoAnswer')
         ORDER BY s.station_key LIMIT %(limit)s
        """,
        {"now": now, "limit": limit},
    )
    return await cursor.fetchall()


async def note_master_told(
    connection: AsyncConnection,
    station_key: int,
    command_id: int,
    group_uid: str,
    next_at: datetime,
) -> None:
    """The station is told the group; tried again from next_at where that fails."""
    await connection.execute(
        """
        INSERT INTO local_authorization (station_key, master_command_id, master_group_uid,
                                         master_next_at)
        VALUES (%s, %s, %s, %s)
        ON CONFLICT (station_key) DO UPDATE
           SET master_command_id = excluded.master_command_id,
               master_group_uid = excluded.master_group_uid,
               master_next_at = excluded.master_next_at
        """,
        (station_key, command_id, group_uid, next_at),
    )


async def forget_master(connection: AsyncConnection, station_key: int) -> None:
    """The station has begun a new life: whatever it was told of masters is gone."""
    await connection.execute(
        "UPDATE local_authorization SET master_group_uid = NULL WHERE station_key = %s",
        (station_key,),
    )
