"""SQL of the periods: what is over is deleted or emptied, a bounded batch at a time.

Every function takes the moment before which things are over and the most rows to touch, and returns
how many it touched: as many as asked for means that there may be more.
"""

from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from csms.store.paging import Cursor, fetch_count

# What of a frame stays: text that holds nothing, in a column that may not be empty.
WIPED_FRAME = "[]"


@dataclass(frozen=True, slots=True)
class Run:
    """What one rule did in one night."""

    id: int
    at: datetime
    rule: str
    rows: int
    detail: str
    failed: bool


async def delete_log_ins(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Log-ins that ended, or could have been used last, before then."""
    cursor = await connection.execute(
        """
        DELETE FROM login_session WHERE id IN (
            SELECT id FROM login_session
             WHERE coalesce(ended_at, greatest(secret_expires_at, refresh_expires_at)) < %s
             LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def blank_log_ins(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Where log-ins came from that began before then and go on."""
    cursor = await connection.execute(
        """
        UPDATE login_session SET remote_address = '', user_agent = '' WHERE id IN (
            SELECT id FROM login_session
             WHERE created_at < %s AND (remote_address <> '' OR user_agent <> '') LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def delete_links(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Links that were good once, and could be until then."""
    cursor = await connection.execute(
        """
        DELETE FROM one_time_link WHERE id IN (
            SELECT id FROM one_time_link WHERE expires_at < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def delete_devices(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Browsers that were known until then."""
    cursor = await connection.execute(
        """
        DELETE FROM trusted_device WHERE token_sha256 IN (
            SELECT token_sha256 FROM trusted_device WHERE expires_at < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def delete_failures(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Failures to log in that were last seen before then."""
    cursor = await connection.execute(
        """
        DELETE FROM login_failure WHERE key_sha256 IN (
            SELECT key_sha256 FROM login_failure WHERE last_at < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def delete_refused(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Connections refused at the handshake, last before then."""
    cursor = await connection.execute(
        """
        DELETE FROM refused_connection WHERE (identity, reason) IN (
            SELECT identity, reason FROM refused_connection WHERE last_seen_at < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def delete_unknown_tokens(
    connection: AsyncConnection, before: datetime, rows_max: int
) -> int:
    """Unknown badges that were last shown before then."""
    cursor = await connection.execute(
        """
        DELETE FROM unknown_token WHERE uid_key IN (
            SELECT uid_key FROM unknown_token WHERE last_seen_at < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def delete_partner_tokens(
    connection: AsyncConnection, before: datetime, rows_max: int
) -> int:
    """Tokens that partners last told us of before then: whoever shows one is asked about anew."""
    cursor = await connection.execute(
        """
        DELETE FROM ocpi_token WHERE ctid IN (
            SELECT ctid FROM ocpi_token WHERE received_at < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def delete_grants(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """What partners said of their drivers' badges before then, sessions of that time with it."""
    cursor = await connection.execute(
        """
        DELETE FROM roaming_grant WHERE id IN (
            SELECT id FROM roaming_grant WHERE at < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def delete_told_sessions(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Sessions and CDRs as partners were told of them before then."""
    cursor = await connection.execute(
        """
        DELETE FROM ocpi_told WHERE ctid IN (
            SELECT ctid FROM ocpi_told
             WHERE module IN ('sessions', 'cdrs') AND at < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def blank_connections(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Addresses of stations that went before then."""
    cursor = await connection.execute(
        """
        UPDATE station_connection SET remote_address = '' WHERE station_key IN (
            SELECT station_key FROM station_connection
             WHERE disconnected_at < %s AND remote_address <> '' LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def blank_audit(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Where acts of before then came from; nothing else of them can be changed."""
    return await fetch_count(
        connection,
        "SELECT forget_audit_addresses(%(before)s, %(rows_max)s)",
        {"before": before, "rows_max": rows_max},
    )


async def blank_orders(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """What orders that name a badge or a customer said, and what was answered, once they have been
    over since before then. That they were given, and what became of them, stays."""
    cursor = await connection.execute(
        """
        UPDATE command SET payload = '{}', response = NULL, error = NULL WHERE id IN (
            SELECT id FROM command
             WHERE finished_at < %s AND payload <> '{}'
               AND action IN ('RemoteStartTransaction', 'RequestStartTransaction', 'SendLocalList',
                              'ReserveNow', 'CustomerInformation', 'DataTransfer')
             LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def blank_reports(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """What stations told of customers, badges and vehicles before then."""
    cursor = await connection.execute(
        """
        UPDATE station_event SET content = '{}' WHERE id IN (
            SELECT id FROM station_event
             WHERE received_at < %s AND content <> '{}'
               AND kind IN ('customer_information', 'data_transfer', 'get_15118_certificate')
             LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def blank_deviations(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Samples of what stations wrote otherwise than they should, last before then."""
    cursor = await connection.execute(
        """
        UPDATE deviation SET sample = '' WHERE (station_key, kind, subject) IN (
            SELECT station_key, kind, subject FROM deviation
             WHERE last_seen_at < %s AND sample <> '' LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def blank_requests(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """What was written in requests that were answered before then, and by whom."""
    cursor = await connection.execute(
        """
        UPDATE data_request SET requester = '', message = '' WHERE id IN (
            SELECT id FROM data_request
             WHERE finished_at < %s AND (requester <> '' OR message <> '') LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def delete_watches(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Wishes to be told of a free point that were over before then."""
    cursor = await connection.execute(
        """
        DELETE FROM point_watch WHERE id IN (
            SELECT id FROM point_watch WHERE expires_at < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def delete_starts(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Starts asked for from afar of which nothing could come any more before then. The session is
    its driver's without: it has her badge."""
    cursor = await connection.execute(
        """
        DELETE FROM session_start WHERE id IN (
            SELECT id FROM session_start WHERE due_at < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def delete_reservations(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Reservations that were over before then, and whose driver had gone by then."""
    cursor = await connection.execute(
        """
        DELETE FROM reservation WHERE id IN (
            SELECT id FROM reservation
             WHERE ended_at < %(before)s AND to_at < %(before)s
               AND (state <> 'used' OR released_at < %(before)s) LIMIT %(max)s)
        """,
        {"before": before, "max": rows_max},
    )
    return cursor.rowcount


async def delete_requests(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Requests that were answered before then."""
    cursor = await connection.execute(
        """
        DELETE FROM data_request WHERE id IN (
            SELECT id FROM data_request WHERE finished_at < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def delete_consents(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Consents that were withdrawn before then."""
    cursor = await connection.execute(
        """
        DELETE FROM consent WHERE id IN (SELECT id FROM consent WHERE withdrawn_at < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def wipe_settled_frames(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Frames and notes of the desk that were settled before then."""
    cursor = await connection.execute(
        """
        UPDATE reconciliation SET frame = %(wiped)s, note = NULL WHERE id IN (
            SELECT id FROM reconciliation
             WHERE settled_at < %(before)s AND (frame <> %(wiped)s OR note IS NOT NULL)
             LIMIT %(rows_max)s)
        """,
        {"wiped": WIPED_FRAME, "before": before, "rows_max": rows_max},
    )
    return cursor.rowcount


async def delete_contacts(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Contacts that were removed before then, or whose client was closed."""
    cursor = await connection.execute(
        """
        DELETE FROM client_contact WHERE id IN (
            SELECT c.id FROM client_contact c JOIN client ON client.id = c.client_id
             WHERE least(c.removed_at, client.closed_at) < %s LIMIT %s)
        """,
        (before, rows_max),
    )
    return cursor.rowcount


async def erase_clients(connection: AsyncConnection, before: datetime, rows_max: int) -> int:
    """Who clients were that were closed before then and have no session since: a number is left,
    and what was agreed."""
    return await fetch_count(
        connection,
        """
        WITH gone AS (
            UPDATE client SET name = 'client ' || id, class = NULL, legal_name = NULL, siren = NULL,
                              street = NULL, postal_code = NULL, city = NULL, country = NULL
             WHERE id IN (SELECT c.id FROM client c
                           WHERE c.closed_at < %(before)s AND NOT c.is_operator
                             AND c.name <> 'client ' || c.id
                             AND NOT EXISTS (SELECT FROM session s
                                              WHERE s.client_id = c.id
                                                AND coalesce(s.ended_at, 'infinity') >= %(before)s)
                           LIMIT %(rows_max)s)
            RETURNING id
        ), accounts AS (
            UPDATE client_iban SET iban = 'XX00ERASED00000', holder = 'erased'
             WHERE client_id IN (SELECT id FROM gone)
        ), numbers AS (
            UPDATE client_vat SET vat_number = 'erased'
             WHERE vat_number IS NOT NULL AND client_id IN (SELECT id FROM gone)
        ), letters AS (
            UPDATE contract_suspension SET reason = 'erased'
             WHERE client_id IN (SELECT id FROM gone)
        ), places AS (
            UPDATE site SET name = '', static = '{}' WHERE client_id IN (SELECT id FROM gone)
        )
        SELECT count(*) FROM gone
        """,
        {"before": before, "rows_max": rows_max},
    )


async def delete_static_changes(
    connection: AsyncConnection, before: datetime, rows_max: int
) -> int:
    """Changes of places, stations and points before then; none that is younger than ten years."""
    return await fetch_count(
        connection,
        "SELECT forget_static_changes(%(before)s, %(rows_max)s)",
        {"before": before, "rows_max": rows_max},
    )


async def list_settled_accounts(
    connection: AsyncConnection, before: datetime, rows_max: int
) -> list[int]:
    """Persons whose account was closed before then and who are not erased."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT id FROM person WHERE closed_at < %s AND erased_at IS NULL ORDER BY id LIMIT %s
            """,
            (before, rows_max),
        )
        return await rows.fetchall()


async def oldest_with_badge(connection: AsyncConnection, before: datetime) -> datetime | None:
    """When the first session ended that still shows its badge, if that was before then."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT ended_at FROM session
             WHERE ended_at < %s AND start_key <> 'past|' || id ORDER BY ended_at LIMIT 1
            """,
            (before,),
        )
        found: datetime | None = await rows.fetchone()
        return found


async def pseudonymise_sessions(
    connection: AsyncConnection, from_at: datetime, to_at: datetime
) -> int:
    """Sessions that ended in [from_at, to_at) show their badges no more; see the migration."""
    return await fetch_count(
        connection,
        "SELECT pseudonymise_sessions(%(from_at)s, %(to_at)s)",
        {"from_at": from_at, "to_at": to_at},
    )


async def empty_archive(connection: AsyncConnection, today: date) -> int:
    """Forget those in the archive whose last day is past; how many."""
    return await fetch_count(connection, "SELECT empty_archive(%(today)s)", {"today": today})


async def add_run(
    connection: AsyncConnection, now: datetime, rule: str, rows: int, detail: str, *, failed: bool
) -> None:
    """Note what a rule did."""
    await connection.execute(
        "INSERT INTO retention_run (at, rule, rows, detail, failed) VALUES (%s, %s, %s, %s, %s)",
        (now, rule, rows, detail, failed),
    )


async def has_run_since(connection: AsyncConnection, since: datetime) -> bool:
    """Whether the periods were applied since then."""
    return bool(
        await fetch_count(
            connection,
            "SELECT count(*) FROM retention_run WHERE at >= %(since)s",
            {"since": since},
        )
    )


async def list_runs(
    connection: AsyncConnection, *, rule: str | None, limit: int, cursor: Cursor | None
) -> list[Run]:
    """Up to `limit` of what was done, newest first."""
    async with connection.cursor(row_factory=class_row(Run)) as rows:
        await rows.execute(
            """
            SELECT id, at, rule, rows, detail, failed FROM retention_run
             WHERE (%(rule)s::text IS NULL OR rule = %(rule)s)
               AND (%(id)s::bigint IS NULL OR id < %(id)s)
             ORDER BY id DESC LIMIT %(limit)s
            """,
            {"rule": rule, "id": cursor.key[0] if cursor else None, "limit": limit},
            prepare=False,
        )
        return await rows.fetchall()


async def count_runs(connection: AsyncConnection, *, rule: str | None) -> int:
    """How many there are."""
    return await fetch_count(
        connection,
        "SELECT count(*) FROM retention_run WHERE %(rule)s::text IS NULL OR rule = %(rule)s",
        {"rule": rule},
    )
