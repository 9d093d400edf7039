"""The statements of the recorder: a group of exchanges in one commit.

The hot statement writes journal, readings and the progress of sessions in a single round trip.
What is rarer (sessions that begin or end, statuses, boots, the desk) goes as JSON record sets in
the same transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from csms.store.columns import json_rows, numbers, texts
from csms.store.commands import insert_commands
from csms.store.variables import write_variables


@dataclass(slots=True)
class GroupRows:
    """All that one commit writes, times as ISO texts.

    The three that come in hundreds are columns, in the order that `_write_hot` names them:
    messages (at, station_key, direction, protocol, action, message_id, frame, answer), readings
    (the table's columns, samples as array literals) and progress (what a reading changes of a
    session, with the revision it was read at). The others are rows by column name.
    """

    answered_at: str
    messages: tuple[list[Any], ...]
    readings: tuple[list[Any], ...]
    progress: tuple[list[Any], ...]
    opened: Sequence[dict[str, Any]]
    changed: Sequence[dict[str, Any]]
    evidence: Sequence[dict[str, Any]]
    statuses: Sequence[dict[str, Any]]
    boots: Sequence[dict[str, Any]]
    reports: Sequence[dict[str, Any]]
    desk: Sequence[dict[str, Any]]
    unknown_tokens: Sequence[dict[str, Any]]
    orders: Sequence[dict[str, Any]] = ()  # to the stations, that follow from what they told
    variables: Sequence[
        tuple[int, list[dict[str, Any]], datetime]
    ] = ()  # what they say of themselves

    @property
    def cold(self) -> bool:
        """Whether there is more than the hot statement writes."""
        return bool(
            self.opened
            or self.changed
            or self.evidence
            or self.statuses
            or self.boots
            or self.reports
            or self.desk
            or self.unknown_tokens
            or self.orders
            or self.variables
        )


async def write_group(connection: AsyncConnection, rows: GroupRows) -> None:
    """Write and commit a group.

    Raises: psycopg.Error; SerializationFailure when somebody else changed a session meanwhile, in
    which case nothing is written.
    """
    if not rows.cold:
        await _write_hot(connection, rows)
        return
    async with connection.transaction(), connection.pipeline():
        # Sessions first: evidence and desk refer to them.
        if rows.opened:
            await _insert_sessions(connection, rows.opened)
        if rows.changed:
            await update_sessions(connection, rows.changed)
        if rows.evidence:
            await insert_evidence(connection, rows.evidence)
        if rows.boots:
            await _update_booted(connection, rows.boots)
        if rows.statuses:
            await _write_statuses(connection, rows.statuses)
        if rows.reports:
            await _insert_reports(connection, rows.reports)
        if rows.desk:
            await _insert_desk(connection, rows.desk)
        if rows.unknown_tokens:
            await _upsert_unknown_tokens(connection, rows.unknown_tokens)
        for station_key, told, at in rows.variables:
            await write_variables(connection, station_key, told, at)
        if rows.orders:
            await insert_commands(connection, rows.orders, notify=False)
        await _write_hot(connection, rows)


async def _write_hot(connection: AsyncConnection, rows: GroupRows) -> None:
    """Journal, readings and progress in one statement."""
    m, r, p = rows.messages, rows.readings, rows.progress
    await connection.execute(
        r"""
        WITH given AS (SELECT %s::timestamptz AS answered_at),
        journal AS (
            INSERT INTO ocpp_message (at, station_key, direction, protocol, action, message_id,
                                      frame, answer, answered_at, latency_ms)
            SELECT m.at, m.station_key, m.direction, m.protocol, m.action, m.message_id,
                   coalesce(m.frame, ''),  -- an empty text alone leaves no element in its column
                   m.answer, CASE WHEN m.answer IS NOT NULL THEN g.answered_at END,
                   CASE WHEN m.answer IS NOT NULL
                        THEN greatest(0, extract(epoch FROM g.answered_at - m.at) * 1000) END
              FROM given g, unnest(
                       string_to_array(%s, E'\x1e', E'\x1d')::timestamptz[],
                       %s::integer[],
                       string_to_array(%s, E'\x1e', E'\x1d'),
                       string_to_array(%s, E'\x1e', E'\x1d'),
                       string_to_array(%s, E'\x1e', E'\x1d'),
                       string_to_array(%s, E'\x1e', E'\x1d'),
                       string_to_array(%s, E'\x1e', E'\x1d'),
                       string_to_array(%s, E'\x1e', E'\x1d')
                   ) AS m (at, station_key, direction, protocol, action, message_id, frame, answer)
        ), readings AS (
            INSERT INTO meter_reading (station_key, stated_at, digest, at, received_at, session_id,
                                       evse_id, connector_id, profile_id, samples, texts)
            SELECT r.station_key, r.stated_at, r.digest, r.at, r.received_at, r.session_id,
                   r.evse_id, r.connector_id, r.profile_id, r.samples::double precision[], r.texts
              FROM unnest(
                       %s::integer[],
                       string_to_array(%s, E'\x1e', E'\x1d')::timestamptz[],
                       %s::bigint[],
                       string_to_array(%s, E'\x1e', E'\x1d')::timestamptz[],
                       string_to_array(%s, E'\x1e', E'\x1d')::timestamptz[],
                       %s::bigint[], %s::integer[], %s::integer[], %s::integer[],
                       string_to_array(%s, E'\x1e', E'\x1d'),
                       string_to_array(%s, E'\x1e', E'\x1d')
                   ) AS r (station_key, stated_at, digest, at, received_at, session_id, evse_id,
                           connector_id, profile_id, samples, texts)
            ON CONFLICT DO NOTHING
        ), progressed AS (
            UPDATE session s
               SET revision = p.revision + 1,
                   last_register_wh = p.last_register_wh,
                   last_register_at = p.last_register_at,
                   energy_wh = p.energy_wh,
                   seq_no_last = p.seq_no_last,
                   readings_to_at = p.readings_to_at,
                   power_w = p.power_w,
                   power_integral_wh = p.power_integral_wh
              FROM unnest(
                       %s::bigint[], %s::integer[], %s::double precision[],
                       string_to_array(%s, E'\x1e', E'\x1d')::timestamptz[],
                       %s::bigint[], %s::integer[],
                       string_to_array(%s, E'\x1e', E'\x1d')::timestamptz[],
                       %s::double precision[], %s::double precision[]
                   ) AS p (id, revision, last_register_wh, last_register_at, energy_wh, seq_no_last,
                           readings_to_at, power_w, power_integral_wh)
             WHERE s.id = p.id AND s.revision = p.revision
            RETURNING 1
        )
        SELECT require((SELECT count(*) FROM progressed) = %s, 'a session was changed elsewhere')
        """,
        (
            rows.answered_at,
            texts(m[0]),
            numbers(m[1]),
            texts(m[2]),
            texts(m[3]),
            texts(m[4]),
            texts(m[5]),
            texts(m[6]),
            texts(m[7]),
            numbers(r[0]),
            texts(r[1]),
            numbers(r[2]),
            texts(r[3]),
            texts(r[4]),
            numbers(r[5]),
            numbers(r[6]),
            numbers(r[7]),
            numbers(r[8]),
            texts(r[9]),
            texts(r[10]),
            numbers(p[0]),
            numbers(p[1]),
            numbers(p[2]),
            texts(p[3]),
            numbers(p[4]),
            numbers(p[5]),
            texts(p[6]),
            numbers(p[7]),
            numbers(p[8]),
            len(p[0]),
        ),
        prepare=True,
    )


async def _insert_sessions(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Sessions that began; client and site are those of the station now."""
    await connection.execute(
        """
        INSERT INTO session (
            id, client_id, site_id, station_key, start_key, transaction_id, evse_id, connector_id,
            token_uid, token_type, authorization_status, state, charging_state,
            remote_start_id, reservation_id, started_at, ended_at, stated_started_at,
            stated_ended_at, received_start_at, received_end_at, meter_start_wh, meter_stop_wh,
            energy_wh, last_register_wh, last_register_at, segment_start_wh, register_base_wh,
            suspect_wh, power_w, power_integral_wh, seq_no_last, seq_no_missing, readings_from_at,
            readings_to_at, stop_reason, stop_token_uid, flags)
        SELECT r.id, t.client_id, t.site_id, r.station_key, r.start_key, r.transaction_id,
               r.evse_id, r.connector_id, r.token_uid, r.token_type, r.authorization_status,
               r.state, r.charging_state, r.remote_start_id, r.reservation_id, r.started_at,
               r.ended_at, r.stated_started_at, r.stated_ended_at, r.received_start_at,
               r.received_end_at, r.meter_start_wh, r.meter_stop_wh, r.energy_wh,
               r.last_register_wh, r.last_register_at, r.segment_start_wh, r.register_base_wh,
               r.suspect_wh, r.power_w,
               r.power_integral_wh, r.seq_no_last, r.seq_no_missing, r.readings_from_at,
               r.readings_to_at, r.stop_reason, r.stop_token_uid, r.flags
          FROM json_populate_recordset(NULL::session, %s::json) r
          JOIN station t USING (station_key)
        """,
        (json_rows(rows),),
    )


async def update_sessions(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Sessions changed beyond a reading's progress; refused where the revision moved on."""
    await connection.execute(
        """
        WITH changed AS (
            UPDATE session s
               SET revision = r.revision + 1, start_key = r.start_key, evse_id = r.evse_id,
                   connector_id = r.connector_id, token_uid = r.token_uid,
                   token_type = r.token_type, authorization_status = r.authorization_status,
                   state = r.state, charging_state = r.charging_state,
                   remote_start_id = r.remote_start_id, reservation_id = r.reservation_id,
                   started_at = r.started_at, ended_at = r.ended_at,
                   stated_started_at = r.stated_started_at, stated_ended_at = r.stated_ended_at,
                   received_start_at = r.received_start_at, received_end_at = r.received_end_at,
                   meter_start_wh = r.meter_start_wh, meter_stop_wh = r.meter_stop_wh,
                   energy_wh = r.energy_wh, last_register_wh = r.last_register_wh,
                   last_register_at = r.last_register_at, segment_start_wh = r.segment_start_wh,
                   register_base_wh = r.register_base_wh, suspect_wh = r.suspect_wh,
                   power_w = r.power_w, power_integral_wh = r.power_integral_wh,
                   seq_no_last = r.seq_no_last, seq_no_missing = r.seq_no_missing,
                   readings_from_at = r.readings_from_at, readings_to_at = r.readings_to_at,
                   stop_reason = r.stop_reason, stop_token_uid = r.stop_token_uid, flags = r.flags
              FROM json_populate_recordset(NULL::session, %s::json) r
             WHERE s.id = r.id AND s.revision = r.revision
            RETURNING 1
        )
        SELECT require((SELECT count(*) FROM changed) = %s, 'a session was changed elsewhere')
        """,
        (json_rows(rows), len(rows)),
    )


async def insert_evidence(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Frames and decisions that began, ended or corrected sessions."""
    await connection.execute(
        """
        INSERT INTO session_event (session_id, received_at, kind, frame, note)
        SELECT session_id, received_at, kind, frame, note
          FROM json_populate_recordset(NULL::session_event, %s::json)
        """,
        (json_rows(rows),),
    )


async def _update_booted(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """What stations say of themselves when they boot."""
    await connection.execute(
        """
        UPDATE station s
           SET vendor = r.vendor, model = r.model,
               reported_serial = coalesce(r.reported_serial, s.reported_serial),
               firmware = coalesce(r.firmware, s.firmware), booted_at = r.booted_at,
               spoken = r.spoken
          FROM json_populate_recordset(NULL::station, %s::json) r
         WHERE s.station_key = r.station_key
        """,
        (json_rows(rows),),
    )


async def _write_statuses(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """The history of statuses, and the newest of each place; unknown EVSEs come into being."""
    await connection.execute(
        """
        WITH told AS (
            SELECT row_number() OVER () AS n, t.*
              FROM json_populate_recordset(NULL::evse_status, %s::json) t
        ), history AS (
            INSERT INTO evse_status (station_key, at, received_at, stated_at, evse_id, connector_id,
                                     status, error_code, detail)
            SELECT station_key, at, received_at, stated_at, evse_id, connector_id, status,
                   error_code, detail FROM told
        ), newest AS (
            SELECT DISTINCT ON (station_key, evse_id, connector_id) * FROM told
             ORDER BY station_key, evse_id, connector_id, n DESC
        ), whole AS (
            UPDATE station s SET status = t.status, status_at = t.at
              FROM newest t WHERE s.station_key = t.station_key AND t.evse_id = 0
        ), evses AS (
            INSERT INTO evse (station_key, evse_id, status, status_at)
            SELECT DISTINCT ON (station_key, evse_id) station_key, evse_id, status, at FROM newest
             WHERE evse_id > 0 ORDER BY station_key, evse_id, n DESC
            ON CONFLICT (station_key, evse_id)
               DO UPDATE SET status = excluded.status, status_at = excluded.status_at
        )
        INSERT INTO connector (station_key, evse_id, connector_id, status, status_at, error_code)
        SELECT station_key, evse_id, connector_id, status, at, error_code FROM newest
         WHERE evse_id > 0 AND connector_id IS NOT NULL
        ON CONFLICT (station_key, evse_id, connector_id)
           DO UPDATE SET status = excluded.status, status_at = excluded.status_at,
                         error_code = excluded.error_code
        """,
        (json_rows(rows),),
    )


async def _insert_reports(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """What stations report; what follows an answer of theirs joins the order it belongs to."""
    await connection.execute(
        """
        WITH report_of (kind, action) AS (
            VALUES ('report', 'GetBaseReport'), ('report', 'GetReport'),
                   ('monitoring_report', 'GetMonitoringReport'),
                   ('customer_information', 'CustomerInformation'),
                   ('display_messages', 'GetDisplayMessages'),
                   ('charging_profiles', 'GetChargingProfiles'),
                   ('log', 'GetLog'), ('diagnostics', 'GetDiagnostics'),
                   ('firmware', 'UpdateFirmware'), ('firmware', 'SignedUpdateFirmware'),
                   ('publish_firmware', 'PublishFirmware')
        ), told AS (
            SELECT r.*,
                   -- The order that it answers: by its requestId, else the newest still open one.
                   (SELECT max(q.id) FROM report_of o JOIN command q ON q.action = o.action
                     WHERE o.kind = r.kind AND q.station_key = r.station_key
                       AND q.status IN ('sent', 'accepted', 'failed')
                       AND CASE WHEN r.content ->> 'requestId' ~ '^-?[0-9]{1,10}$'
                                THEN q.request_id = (r.content ->> 'requestId')::bigint
                                ELSE q.request_id IS NULL AND q.parts IN ('none', 'awaited')
                           END) AS answers,
                   CASE WHEN r.kind IN ('log', 'diagnostics')
                        THEN r.content ->> 'status' NOT IN ('Idle', 'Uploading')
                        WHEN r.kind = 'firmware'
                        THEN r.content ->> 'status' IN (
                             'Installed', 'InstallationFailed', 'DownloadFailed',
                             'InvalidSignature', 'InstallVerificationFailed')
                        WHEN r.kind = 'publish_firmware'
                        THEN r.content ->> 'status' IN (
                             'Published', 'DownloadFailed', 'InvalidChecksum', 'PublishFailed')
                        ELSE coalesce(r.content ->> 'tbc', 'false') <> 'true' END AS is_last
              FROM json_populate_recordset(NULL::station_event, %s::json) r
        ), collected AS (
            UPDATE command q
               SET parts = CASE WHEN NOT t.is_last THEN
                                     CASE q.parts WHEN 'none' THEN 'awaited' ELSE q.parts END
                                WHEN q.parts = 'overdue' THEN 'late'
                                ELSE 'complete' END
              FROM (SELECT answers, bool_or(is_last) AS is_last
                      FROM told WHERE answers IS NOT NULL GROUP BY answers) t
             WHERE q.id = t.answers
        )
        INSERT INTO station_event (station_key, received_at, stated_at, kind, content, command_id)
        SELECT station_key, received_at, stated_at, kind, content, answers FROM told
        """,
        (json_rows(rows),),
    )


async def _insert_desk(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Frames that need a person; the same one again adds nothing."""
    await connection.execute(
        """
        INSERT INTO reconciliation (station_key, received_at, reason, session_id, transaction_id,
                                    message_id, frame, digest)
        SELECT station_key, received_at, reason, session_id, transaction_id, message_id, frame,
               digest
          FROM json_populate_recordset(NULL::reconciliation, %s::json)
        ON CONFLICT (station_key, reason, digest) DO NOTHING
        """,
        (json_rows(rows),),
    )


async def _upsert_unknown_tokens(
    connection: AsyncConnection, rows: Sequence[dict[str, Any]]
) -> None:
    await connection.execute(
        """
        INSERT INTO unknown_token (uid_key, uid, station_key, first_seen_at, last_seen_at, count)
        SELECT uid_key, uid, station_key, first_seen_at, last_seen_at, count
          FROM json_populate_recordset(NULL::unknown_token, %s::json)
        ON CONFLICT (uid_key) DO UPDATE
           SET station_key = excluded.station_key, last_seen_at = excluded.last_seen_at,
               count = unknown_token.count + excluded.count
        """,
        (json_rows(rows),),
    )


async def store_profiles(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> list[int]:
    """The ids of meter profiles, in the order given, stored where they are new.

    A row has `key` and the five arrays of meter_profile.
    """
    cursor = await connection.execute(
        """
        WITH given AS (
            SELECT row_number() OVER () AS n, g.*
              FROM json_populate_recordset(NULL::meter_profile, %s::json) g
        ), added AS (
            INSERT INTO meter_profile (key, measurands, phases, units, contexts, locations)
            SELECT key, measurands, phases, units, contexts, locations FROM given
            ON CONFLICT (key) DO UPDATE SET key = excluded.key
            RETURNING id, key
        )
        SELECT added.id FROM given JOIN added USING (key) ORDER BY given.n
        """,
        (json_rows(rows),),
    )
    return [row[0] for row in await cursor.fetchall()]


async def next_session_block(connection: AsyncConnection) -> int:
    """The first of a block of 1,000 session ids that nobody else will get."""
    cursor = await connection.execute("SELECT nextval('session_block_seq') * 1000")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def upsert_deviations(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Count departures from the specification; one row per station, kind and subject given."""
    await connection.execute(
        """
        INSERT INTO deviation (station_key, kind, subject, sample, first_seen_at, last_seen_at,
                               count)
        SELECT station_key, kind, subject, sample, first_seen_at, last_seen_at, count
          FROM json_populate_recordset(NULL::deviation, %s::json)
        ON CONFLICT (station_key, kind, subject) DO UPDATE
           SET sample = excluded.sample, last_seen_at = excluded.last_seen_at,
               count = deviation.count + excluded.count
        """,
        (json_rows(rows),),
    )


async def note_clocks(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """The clocks of stations as last shown."""
    await connection.execute(
        """
        UPDATE station s SET clock_skew_s = r.clock_skew_s, naive_is_local = r.naive_is_local
          FROM json_populate_recordset(NULL::station, %s::json) r
         WHERE s.station_key = r.station_key
        """,
        (json_rows(rows),),
    )
