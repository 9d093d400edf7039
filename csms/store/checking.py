"""The statements of `time2plug check`: each returns what contradicts one promise.

A row is (subject, detail, total): whom it concerns, what is wrong, and how many such rows there
are in all. No more than `rows_max` come back. Frames are searched as text: what stations wrote is
not always JSON.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class Offence:
    """One row that contradicts a promise; `total` counts all of its kind."""

    subject: str
    detail: str
    total: int


async def energy_beyond_registers(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Sessions with energy below zero, without registers, or beyond what their registers ran.

    The registers ran from start to stop, or through the segments of a meter that began anew. What
    a person has settled stands for itself.
    """
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            SELECT 'session ' || id AS subject,
                   format('%%s Wh, the registers ran %%s Wh', energy_wh, measured_wh) AS detail,
                   count(*) OVER () AS total
              FROM session CROSS JOIN LATERAL (
                   SELECT greatest(
                              meter_stop_wh - meter_start_wh,
                              register_base_wh + greatest(last_register_wh, meter_stop_wh)
                                  - segment_start_wh) AS measured_wh) m
             WHERE NOT flags && '{settled}'
               AND (energy_wh < 0 OR energy_wh > coalesce(measured_wh, -1))
             ORDER BY id LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()


async def energy_beside_registers(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Ended sessions of a faultless meter whose energy is not stop less start, in whole Wh."""
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            SELECT 'session ' || id AS subject,
                   format('%%s Wh from %%s to %%s', energy_wh, meter_start_wh, meter_stop_wh)
                       AS detail,
                   count(*) OVER () AS total
              FROM session
             WHERE state = 'ended'
               AND NOT flags && '{meter_backwards,meter_discontinuity,meter_glitch,
                                  energy_implausible,begin_register_missing,
                                  end_register_missing,settled}'
               AND energy_wh IS DISTINCT FROM floor(meter_stop_wh - meter_start_wh)
             ORDER BY id LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()


async def ends_without_evidence(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Sessions that are over and have no record of what ended them."""
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            SELECT 'session ' || s.id AS subject, s.state || ' at ' || s.ended_at AS detail,
                   count(*) OVER () AS total
              FROM session s
             WHERE s.state <> 'active'
               AND NOT EXISTS (SELECT FROM session_event e
                                WHERE e.session_id = s.id
                                  AND e.kind IN ('ended', 'lost', 'settled', 'corrected'))
             ORDER BY s.id LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()


async def starts_counted_twice(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Starts of one station that became more than one session."""
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            SELECT 'station ' || t.id AS subject,
                   'sessions ' || string_agg(s.id::text, ', ' ORDER BY s.id) AS detail,
                   count(*) OVER () AS total
              FROM session s JOIN station t USING (station_key)
             GROUP BY t.id, s.start_key HAVING count(*) > 1
             ORDER BY t.id LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()


async def overlaps_unflagged(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Sessions at the same time on the same EVSE where neither carries a flag that explains it."""
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            WITH plain AS (
                SELECT id, station_key, evse_id, started_at,
                       max(coalesce(ended_at, 'infinity')) OVER (
                           PARTITION BY station_key, evse_id ORDER BY started_at, id
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS taken_until
                  FROM session
                 WHERE evse_id > 0
                   AND NOT flags && '{overlap,late_stop,lost_stop,matched_by_guess,no_duration,
                                      seq_gap,started_missing,ended_before_started,
                                      end_before_start,doubtful_repeat,transaction_id_reused,
                                      clock_missing,clock_implausible,clock_ahead,
                                      clock_corrected,settled}'
            )
            SELECT 'session ' || p.id AS subject,
                   format('began %%s on EVSE %%s of %%s, taken until %%s', p.started_at, p.evse_id,
                          t.id, p.taken_until) AS detail,
                   count(*) OVER () AS total
              FROM plain p JOIN station t USING (station_key)
             WHERE p.started_at < p.taken_until
             ORDER BY p.id LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()


async def desk_without_frame(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Cases on the desk without their frame, or whose frame the journal of that time has not."""
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            SELECT 'case ' || r.id AS subject, r.reason || ' at ' || r.received_at AS detail,
                   count(*) OVER () AS total
              FROM reconciliation r
             WHERE (r.frame = '' AND r.reason <> 'unreadable_frame')  -- some stations send nothing
                OR (r.received_at >= (SELECT min(at) FROM ocpp_message)
                    AND NOT EXISTS (SELECT FROM ocpp_message m
                                     WHERE m.station_key = r.station_key
                                       AND m.at = r.received_at AND m.frame = r.frame))
             ORDER BY r.id LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()


async def active_on_retired_stations(
    connection: AsyncConnection, rows_max: int, before: datetime
) -> list[Offence]:
    """Active sessions of stations retired before that moment: the worker should have ended them."""
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            SELECT 'session ' || s.id AS subject,
                   format('%%s was retired at %%s', t.id, t.retired_at) AS detail,
                   count(*) OVER () AS total
              FROM session s JOIN station t USING (station_key)
             WHERE s.state = 'active' AND t.retired_at < %s
             ORDER BY s.id LIMIT %s
            """,
            (before, rows_max),
        )
        return await cursor.fetchall()


async def answered_without_session(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Starts and events that the journal shows acknowledged, and whose session is not there.

    Transaction ids written with escapes are passed over.
    """
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            r"""
            WITH told AS (
                SELECT station_key, action, min(at) AS at,
                       CASE action
                           WHEN 'StartTransaction'
                               THEN substring(answer FROM '"transactionId":(\d+)')
                           ELSE substring(frame FROM '"transactionId"\s*:\s*"([^"\\]{1,255})"')
                       END AS transaction_id
                  FROM ocpp_message
                 WHERE direction = 'in' AND action IN ('StartTransaction', 'TransactionEvent')
                   AND answer LIKE '[3,%%'
                 GROUP BY 1, 2, 4
            )
            SELECT 'station ' || t.id AS subject,
                   format('%%s of transaction %%s, answered at %%s', told.action,
                          told.transaction_id, told.at) AS detail,
                   count(*) OVER () AS total
              FROM told JOIN station t USING (station_key)
             WHERE told.transaction_id IS NOT NULL
               AND NOT EXISTS (SELECT FROM session s
                                WHERE s.station_key = told.station_key
                                  AND s.transaction_id = told.transaction_id)
             ORDER BY told.at LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()


async def answered_without_readings(
    connection: AsyncConnection, rows_max: int, since: datetime, sample_max: int
) -> list[Offence]:
    """Acknowledged messages with readings, and none of these stored; of the newest `sample_max`.

    Repetitions stored nothing themselves: the reading is then there under the time it states, or
    the journal has the same payload before.
    """
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            r"""
            WITH told AS MATERIALIZED (
                SELECT station_key, at, action, frame,
                       regexp_replace(frame, '^[^,]*,[^,]*,', '') AS payload
                  FROM ocpp_message
                 WHERE at >= %(since)s AND direction = 'in' AND answer LIKE '[3,%%'
                   AND action IN ('MeterValues', 'StopTransaction', 'TransactionEvent')
                   AND frame ~ '"sampledValue"\s*:\s*\[\s*\{'
                 ORDER BY at DESC LIMIT %(sample_max)s
            ), stored AS MATERIALIZED (
                SELECT station_key, received_at FROM meter_reading
                 WHERE station_key IN (SELECT station_key FROM told) AND received_at >= %(since)s
            ), suspect AS MATERIALIZED (
                SELECT * FROM told
                 WHERE NOT EXISTS (SELECT FROM stored
                                    WHERE stored.station_key = told.station_key
                                      AND stored.received_at = told.at)
            )
            SELECT 'station ' || t.id AS subject,
                   format('%%s answered at %%s', s.action, s.at) AS detail,
                   count(*) OVER () AS total
              FROM suspect s JOIN station t USING (station_key)
             WHERE NOT EXISTS (SELECT FROM meter_reading r
                                WHERE r.station_key = s.station_key
                                  AND strpos(s.frame, to_char(r.stated_at,
                                             'YYYY-MM-DD"T"HH24:MI:SS')) > 0)
               AND NOT EXISTS (SELECT FROM ocpp_message m
                                WHERE m.station_key = s.station_key AND m.at < s.at
                                  AND m.answer IS NOT NULL
                                  AND regexp_replace(m.frame, '^[^,]*,[^,]*,', '') = s.payload)
             ORDER BY s.at LIMIT %(rows_max)s
            """,
            {"since": since, "sample_max": sample_max, "rows_max": rows_max},
        )
        return await cursor.fetchall()


async def rows_without_client(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Rows that lead to no client: none named, or their station or session is not there.

    The three large tables are walked from station to station, not from row to row.
    """
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            WITH RECURSIVE
            readings (station_key) AS (
                SELECT min(station_key) FROM meter_reading
                UNION ALL
                SELECT (SELECT min(r.station_key) FROM meter_reading r
                         WHERE r.station_key > readings.station_key)
                  FROM readings WHERE station_key IS NOT NULL
            ), statuses (station_key) AS (
                SELECT min(station_key) FROM evse_status
                UNION ALL
                SELECT (SELECT min(r.station_key) FROM evse_status r
                         WHERE r.station_key > statuses.station_key)
                  FROM statuses WHERE station_key IS NOT NULL
            ), messages (station_key) AS (
                SELECT min(station_key) FROM ocpp_message
                UNION ALL
                SELECT (SELECT min(r.station_key) FROM ocpp_message r
                         WHERE r.station_key > messages.station_key)
                  FROM messages WHERE station_key IS NOT NULL
            ), lost (subject, detail) AS (
                SELECT 'site ' || id, 'no client' FROM site WHERE client_id IS NULL
                UNION ALL
                SELECT 'station ' || id, 'no client' FROM station WHERE client_id IS NULL
                UNION ALL
                SELECT 'badge ' || uid, 'no client' FROM token WHERE client_id IS NULL
                UNION ALL
                SELECT 'session ' || id, 'no client' FROM session WHERE client_id IS NULL
                UNION ALL
                SELECT DISTINCT 'session ' || e.session_id, 'evidence of no session'
                  FROM session_event e
                 WHERE NOT EXISTS (SELECT FROM session s WHERE s.id = e.session_id)
                UNION ALL
                SELECT 'station number ' || k.station_key, k.kind || ' of no station'
                  FROM (SELECT station_key, 'readings' AS kind FROM readings
                        UNION ALL SELECT station_key, 'statuses' FROM statuses
                        UNION ALL SELECT station_key, 'messages' FROM messages) k
                 WHERE k.station_key IS NOT NULL
                   AND NOT EXISTS (SELECT FROM station s WHERE s.station_key = k.station_key)
            )
            SELECT subject, detail, count(*) OVER () AS total FROM lost
             ORDER BY subject, detail LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()


async def links_told_otherwise(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Stations whose history of links ends otherwise than their connection stands."""
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            SELECT 'station ' || s.id AS subject,
                   CASE WHEN l.up THEN 'is gone, and its link is up since ' || l.at
                        ELSE 'is connected, and its link is down since ' || l.at END AS detail,
                   count(*) OVER () AS total
              FROM station_connection c JOIN station s USING (station_key)
              JOIN LATERAL (SELECT up, at FROM station_link h WHERE h.station_key = c.station_key
                             ORDER BY at DESC, id DESC LIMIT 1) l ON true
             WHERE l.up <> (c.disconnected_at IS NULL)
             ORDER BY s.id LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()


async def tables_without_client(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Tables whose rows cannot lead to a client or a person: no station, session or group.

    Apart from what is nobody's: makes and their meters, keys, nodes, strangers, failures to log in,
    what the nights did, our bookkeeping, the law's texts and rates, the books by their keys, the
    operator's accounts at the bank.
    """
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            SELECT 'table ' || c.relname AS subject,
                   'leads to no client and to no person' AS detail,
                   count(*) OVER () AS total
              FROM pg_class c
             WHERE c.relnamespace = current_schema()::regnamespace
               AND c.relkind IN ('r', 'p') AND NOT c.relispartition
               AND c.relname NOT IN ('client', 'person', 'meter_profile', 'quirk',
                                     'refused_connection', 'api_key', 'node', 'login_failure',
                                     'retention_run', 'invoice_mention', 'ledger_chain',
                                     'ledger_closing', 'ledger_posting', 'vat_rate', 'bank_line',
                                     'bank_match', 'bank_statement', 'internal_transfer',
                                     'payment_file', 'provider_webhook', 'legal_rate', 'outlet',
                                     'ocpi_site', 'ocpi_token')
               AND c.relname NOT LIKE 'schema\\_%%'
               AND NOT EXISTS (SELECT FROM pg_attribute a
                                WHERE a.attrelid = c.oid AND NOT a.attisdropped
                                  AND a.attname IN ('client_id', 'station_key', 'session_id',
                                                    'person_id', 'group_id'))
             ORDER BY c.relname LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()


async def missing_partitions(
    connection: AsyncConnection, rows_max: int, now: datetime
) -> list[Offence]:
    """Months, this one and the next, that a large table has no partition for."""
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            SELECT 'table ' || parent AS subject, 'no partition for ' || month AS detail,
                   count(*) OVER () AS total
              FROM unnest(ARRAY['meter_reading', 'evse_status', 'ocpp_message']) AS parent
             CROSS JOIN generate_series(0, 1) AS n
             CROSS JOIN to_char(%(now)s::timestamptz + n * interval '1 month', 'YYYY_MM') AS month
             WHERE to_regclass(parent || '_' || month) IS NULL
               AND EXISTS (SELECT FROM schema_storage WHERE kind = 'native')
             ORDER BY parent, month LIMIT %(rows_max)s
            """,
            {"now": now, "rows_max": rows_max},
        )
        return await cursor.fetchall()


async def owned_by_application(connection: AsyncConnection, rows_max: int) -> list[Offence]:
    """Tables, views and sequences of the application's roles: they could change what they are."""
    async with connection.cursor(row_factory=class_row(Offence)) as cursor:
        await cursor.execute(
            """
            SELECT c.relname::text AS subject, 'is owned by ' || o.rolname AS detail,
                   count(*) OVER () AS total
              FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
             WHERE o.rolname IN ('t2p_app', 't2p_service')
               AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
             ORDER BY c.relname LIMIT %s
            """,
            (rows_max,),
        )
        return await cursor.fetchall()
