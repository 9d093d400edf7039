"""SQL of how stations prove who they are: passwords and profiles that change, certificates."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.columns import json_rows
from csms.store.paging import Cursor, fetch_count


async def write_next_password(
    connection: AsyncConnection, station_key: int, password_hash: str, now: datetime
) -> bool:
    """The station may come in with this password too, from now on.

    False, and nothing changed, while it may be using the one it was told before: until it has come
    in again, so long ago that what it proved has been written.
    """
    cursor = await connection.execute(
        """
        UPDATE station s SET password_hash_next = %(hash)s, password_next_at = %(now)s
         WHERE station_key = %(station_key)s
           AND (password_hash_next IS NULL OR EXISTS (
                SELECT FROM station_connection c
                 WHERE c.station_key = s.station_key AND c.connected_at > s.password_next_at
                   AND c.connected_at < %(now)s::timestamptz - interval '1 minute'))
        """,
        {"hash": password_hash, "now": now, "station_key": station_key},
    )
    return cursor.rowcount == 1


async def drop_next_password(connection: AsyncConnection, station_key: int) -> None:
    """The station has refused it."""
    await connection.execute(
        "UPDATE station SET password_hash_next = NULL, password_next_at = NULL"
        " WHERE station_key = %s",
        (station_key,),
    )


async def write_next_profile(connection: AsyncConnection, station_key: int, profile: int) -> None:
    """The station is going to come in with a higher profile: then that is the least it must do."""
    await connection.execute(
        """
        UPDATE station SET security_profile_next = %s
         WHERE station_key = %s AND security_profile < %s
        """,
        (profile, station_key, profile),
    )


async def write_proved(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Stations came in with what they were told to use: station_key, password_hash_next (the hash
    that was proved, or null), security_profile_next (likewise)."""
    await connection.execute(
        """
        UPDATE station s
           SET password_hash = CASE WHEN s.password_hash_next = r.password_hash_next
                                    THEN s.password_hash_next ELSE s.password_hash END,
               password_hash_next = CASE WHEN s.password_hash_next = r.password_hash_next
                                         THEN NULL ELSE s.password_hash_next END,
               security_profile = greatest(s.security_profile, r.security_profile_next),
               security_profile_next = CASE WHEN s.security_profile_next = r.security_profile_next
                                            THEN NULL ELSE s.security_profile_next END
          FROM json_populate_recordset(NULL::station, %s::json) r
         WHERE s.station_key = r.station_key
        """,
        (json_rows(rows),),
    )


# --- Certificates of stations ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request for a certificate that nobody has looked at."""

    event_id: int
    station_key: int
    station_id: str
    serial: str | None
    received_at: datetime
    content: dict[str, Any]  # the message


async def fetch_new_requests(connection: AsyncConnection, limit: int) -> list[NewRequest]:
    """Up to `limit` requests that stations sent and that are not on the list yet."""
    async with connection.cursor(row_factory=class_row(NewRequest)) as rows:
        await rows.execute(
            """
            SELECT e.id AS event_id, e.station_key, s.id AS station_id, s.serial, e.received_at,
                   e.content
              FROM station_event e JOIN station s USING (station_key)
             WHERE e.kind = 'sign_certificate'
               AND NOT EXISTS (SELECT FROM certificate_request r WHERE r.event_id = e.id)
             ORDER BY e.id LIMIT %s
            """,
            (limit,),
        )
        return await rows.fetchall()


async def insert_request(
    connection: AsyncConnection,
    request: NewRequest,
    *,
    csr: str,
    subject: str,
    status: str,
    reason: str | None,
) -> None:
    """Put a request on the list, once."""
    await connection.execute(
        """
        INSERT INTO certificate_request (station_key, event_id, received_at, csr, subject, status,
                                         reason)
        VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (event_id) DO NOTHING
        """,
        (request.station_key, request.event_id, request.received_at, csr, subject, status, reason),
    )


@dataclass(frozen=True, slots=True)
class Signable:
    """A request that may be signed now."""

    id: int
    station_key: int
    station_id: str
    serial: str | None
    protocol: str | None  # that the station speaks; None: nobody knows
    csr: str


async def fetch_signable(
    connection: AsyncConnection,
    *,
    automatic: bool,
    per_day_max: int,
    now: datetime,
    but: Sequence[int],
) -> Signable | None:
    """The next request that a person approved; with `automatic` also one that waits, of a station
    that got fewer than per_day_max certificates in a day. Locked; none of `but`; those that could
    not be signed before come last."""
    async with connection.cursor(row_factory=class_row(Signable)) as rows:
        await rows.execute(
            """
            SELECT r.id, r.station_key, s.id AS station_id, s.serial,
                   coalesce(nullif(c.protocol, ''), s.protocol, s.spoken) AS protocol, r.csr
              FROM certificate_request r JOIN station s USING (station_key)
              LEFT JOIN station_connection c USING (station_key)
             WHERE r.id <> ALL (%(but)s) AND (r.status = 'approved'
                OR (r.status = 'waiting' AND %(automatic)s AND %(per_day_max)s > (
                    SELECT count(*) FROM certificate_request d
                     WHERE d.station_key = r.station_key AND d.status = 'signed'
                       AND d.decided_at > %(now)s::timestamptz - interval '1 day')))
             ORDER BY r.reason IS NOT NULL, r.id LIMIT 1 FOR UPDATE OF r SKIP LOCKED
            """,
            {
                "automatic": automatic,
                "per_day_max": per_day_max,
                "now": now,
                "but": list(but),
            },
        )
        return await rows.fetchone()


async def write_signed(
    connection: AsyncConnection, request_id: int, command_id: int, now: datetime
) -> None:
    """The request is signed, and the certificate on its way to the station."""
    await connection.execute(
        """
        UPDATE certificate_request
           SET status = 'signed', reason = NULL, command_id = %s,
               decided_at = coalesce(decided_at, %s)
         WHERE id = %s
        """,
        (command_id, now, request_id),
    )


async def note_unsigned(connection: AsyncConnection, request_id: int, reason: str) -> None:
    """The request could not be signed now; it stays where it is."""
    await connection.execute(
        "UPDATE certificate_request SET reason = %s WHERE id = %s", (reason, request_id)
    )


async def reject_request(
    connection: AsyncConnection, request_id: int, reason: str, by: str | None, now: datetime
) -> bool:
    """Refuse a request that is not signed; False when it is, or there is none."""
    cursor = await connection.execute(
        """
        UPDATE certificate_request SET status = 'rejected', reason = %s, decided_by = %s,
               decided_at = %s
         WHERE id = %s AND status IN ('waiting', 'approved')
        """,
        (reason, by, now, request_id),
    )
    return cursor.rowcount == 1


async def approve_request(
    connection: AsyncConnection, request_id: int, by: str, now: datetime
) -> bool:
    """Let a waiting request be signed; False when it does not wait."""
    cursor = await connection.execute(
        """
        UPDATE certificate_request SET status = 'approved', decided_by = %s, decided_at = %s
         WHERE id = %s AND status = 'waiting'
        """,
        (by, now, request_id),
    )
    return cursor.rowcount == 1


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request for a certificate, as people see it."""

    id: int
    station_id: str
    received_at: datetime
    subject: str
    status: str
    reason: str | None
    decided_by: str | None
    decided_at: datetime | None
    command_id: int | None


async def list_requests(
    connection: AsyncConnection,
    *,
    request_id: int | None = None,
    station_id: str | None = None,
    status: str | None = None,
    limit: int = 1,
    cursor: Cursor | None = None,
) -> list[RequestRow]:
    """Up to `limit` requests, newest first."""
    async with connection.cursor(row_factory=class_row(RequestRow)) as rows:
        await rows.execute(
            """
            SELECT r.id, s.id AS station_id, r.received_at, r.subject, r.status, r.reason,
                   r.decided_by, r.decided_at, r.command_id
              FROM certificate_request r JOIN station s USING (station_key)
             WHERE (%(request_id)s::bigint IS NULL OR r.id = %(request_id)s)
               AND (%(station_id)s::text IS NULL OR s.id = %(station_id)s)
               AND (%(status)s::text IS NULL OR r.status = %(status)s)
               AND (%(after)s::bigint IS NULL OR r.id < %(after)s)
             ORDER BY r.id DESC LIMIT %(limit)s
            """,
            {
                "request_id": request_id,
                "station_id": station_id,
                "status": status,
                "limit": limit,
                "after": cursor.key[0] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_requests(
    connection: AsyncConnection, *, station_id: str | None, status: str | None
) -> int:
    """How many requests those filters leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM certificate_request r JOIN station s USING (station_key)
         WHERE (%(station_id)s::text IS NULL OR s.id = %(station_id)s)
           AND (%(status)s::text IS NULL OR r.status = %(status)s)
        """,
        {"station_id": station_id, "status": status},
    )


async def insert_certificate(connection: AsyncConnection, row: dict[str, Any]) -> None:
    """A certificate that was issued: the table's columns, without its id."""
    await connection.execute(
        """
        INSERT INTO station_certificate (station_key, request_id, serial, fingerprint_sha256,
                                         subject, issuer, not_before, not_after, chain)
        SELECT station_key, request_id, serial, fingerprint_sha256, subject, issuer, not_before,
               not_after, chain
          FROM json_populate_recordset(NULL::station_certificate, %s::json)
        """,
        (json_rows([row]),),
    )


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A certificate that we issued to a station, as people see it."""

    id: int
    station_id: str
    serial: str
    fingerprint_sha256: str
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None


async def list_certificates(
    connection: AsyncConnection,
    *,
    station_id: str | None = None,
    limit: int,
    cursor: Cursor | None = None,
) -> list[CertificateRow]:
    """Up to `limit` certificates, newest first."""
    async with connection.cursor(row_factory=class_row(CertificateRow)) as rows:
        await rows.execute(
            """
            SELECT k.id, s.id AS station_id, k.serial, k.fingerprint_sha256, k.subject, k.issuer,
                   k.not_before, k.not_after, k.revoked_at
              FROM station_certificate k JOIN station s USING (station_key)
             WHERE (%(station_id)s::text IS NULL OR s.id = %(station_id)s)
               AND (%(after)s::bigint IS NULL OR k.id < %(after)s)
             ORDER BY k.id DESC LIMIT %(limit)s
            """,
            {
                "station_id": station_id,
                "limit": limit,
                "after": cursor.key[0] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_certificates(connection: AsyncConnection, *, station_id: str | None) -> int:
    """How many certificates that filter leaves."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM station_certificate k JOIN station s USING (station_key)
         WHERE %(station_id)s::text IS NULL OR s.id = %(station_id)s
        """,
        {"station_id": station_id},
    )


async def revoke_certificate(
    connection: AsyncConnection, certificate_id: int, now: datetime
) -> str | None:
    """Let nobody in with the certificate any more; its station's id, None when there is none.
    A station that is connected is not cut: it is refused at its next handshake."""
    cursor = await connection.execute(
        """
        UPDATE station_certificate k SET revoked_at = coalesce(revoked_at, %s)
          FROM station s WHERE k.id = %s AND s.station_key = k.station_key RETURNING s.id
        """,
        (now, certificate_id),
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


@dataclass(frozen=True, slots=True)
class Ending:
    """A station's newest certificate, which ends soon."""

    id: int
    station_key: int
    station_id: str
    protocol: str | None
    auto_configure: bool
    serial: str
    not_after: datetime


async def fetch_ending(connection: AsyncConnection, before: datetime) -> list[Ending]:
    """The newest certificates of stations that end before then, and nobody was warned of."""
    async with connection.cursor(row_factory=class_row(Ending)) as rows:
        await rows.execute(
            """
            SELECT k.id, k.station_key, s.id AS station_id,
                   coalesce(nullif(c.protocol, ''), s.protocol, s.spoken) AS protocol,
                   s.auto_configure, k.serial, k.not_after
              FROM station_certificate k JOIN station s USING (station_key)
              LEFT JOIN station_connection c USING (station_key)
             WHERE k.not_after < %s AND k.warned_at IS NULL AND k.revoked_at IS NULL
               AND s.retired_at IS NULL
               AND NOT EXISTS (SELECT FROM station_certificate n
                                WHERE n.station_key = k.station_key AND n.not_after > k.not_after
                                  AND n.revoked_at IS NULL)
             ORDER BY k.id LIMIT 500
            """,
            (before,),
        )
        return await rows.fetchall()


async def note_warned(connection: AsyncConnection, ending: Ending, now: datetime) -> None:
    """The end of the certificate is told, as an event of its station."""
    await connection.execute(
        "UPDATE station_certificate SET warned_at = %s WHERE id = %s", (now, ending.id)
    )
    await connection.execute(
        """
        INSERT INTO station_event (station_key, received_at, kind, content)
        VALUES (%s, %s, 'certificate_expiring',
                jsonb_build_object('serial', %s::text, 'not_after', %s::timestamptz))
        """,
        (ending.station_key, now, ending.serial, ending.not_after),
    )


async def fetch_earliest_end(connection: AsyncConnection) -> datetime | None:
    """When the first of the stations' newest certificates ends; None: there are none."""
    cursor = await connection.execute(
        """
        SELECT min(newest) FROM (
               SELECT max(k.not_after) AS newest
                 FROM station_certificate k JOIN station s USING (station_key)
                WHERE k.revoked_at IS NULL AND s.retired_at IS NULL GROUP BY station_key) n
        """
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]
