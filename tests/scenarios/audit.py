"""What the stations remember against what the database holds."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from simulators.model import Session
from tests.scenarios.load import Acknowledged, Flood, Load

FLAGS_EXPECTED = {"offline"}  # of stations without a fault, whatever befalls the central system


async def provision(conninfo: str, station_ids: Iterable[str]) -> None:
    """The stations, and a badge for each of them."""
    async with await psycopg.AsyncConnection.connect(conninfo) as connection:
        for station_id in station_ids:
            uid = f"{station_id}-BADGE"
            await connection.execute("INSERT INTO station (id) VALUES (%s)", [station_id])
            await connection.execute(
                "INSERT INTO token (uid, uid_key) VALUES (%s, lower(%s))", [uid, uid]
            )


async def audit(conninfo: str, load: Load, floods: Iterable[Flood] = ()) -> list[str]:
    """Every way in which the database differs from what the stations know; empty: in none."""
    async with await psycopg.AsyncConnection.connect(
        conninfo, row_factory=namedtuple_row, options="-c timezone=UTC"
    ) as connection:
        sessions = await _fetch(connection, _SESSIONS)
        faults = [
            *_audit_stations(load),
            *_audit_sessions(load.sessions, sessions),
            *_audit_readings(load.ledger, await _fetch(connection, _READINGS)),
            *_audit_journal(load.ledger, await _fetch(connection, _ANSWERED)),
            *[f"on the desk: {row}" for row in await _fetch(connection, _DESK)],
        ]
        for flood in floods:
            rows = await _fetch(connection, _FLOOD, flood.identity)
            faults += _audit_flood(flood, rows[0])
    return faults


async def _fetch(connection: Any, statement: str, *parameters: str) -> list[Any]:
    cursor = await connection.execute(statement, parameters)
    rows: list[Any] = await cursor.fetchall()
    return rows


_SESSIONS = """
    SELECT t.id AS station_id, s.id, s.transaction_id, s.state, s.token_uid, s.energy_wh,
           s.started_at, s.ended_at, s.meter_start_wh, s.meter_stop_wh, s.flags
      FROM session s JOIN station t USING (station_key)
"""
_READINGS = """
    SELECT t.id AS station_id, r.stated_at, s.transaction_id
      FROM meter_reading r JOIN station t USING (station_key) JOIN session s ON s.id = r.session_id
"""
_ANSWERED = """
    SELECT t.id AS station_id, m.action, m.message_id, m.answer
      FROM ocpp_message m JOIN station t USING (station_key)
     WHERE m.direction = 'in' AND m.answer IS NOT NULL
"""
_DESK = """
    SELECT t.id, r.reason, r.frame FROM reconciliation r JOIN station t USING (station_key)
"""
_FLOOD = """
    SELECT (SELECT count(*) FROM ocpp_message m WHERE m.station_key = t.station_key
               AND m.action = 'MeterValues') AS messages,
           (SELECT count(*) FROM meter_reading r WHERE r.station_key = t.station_key) AS readings
      FROM station t WHERE t.id = %s
"""


def _audit_stations(load: Load) -> Iterable[str]:
    for driver in load.drivers:
        station = driver.station
        name = station.config.identity
        if station.unanswered:
            yield f"{name}: {station.unanswered} messages never answered"
        for message in station.dropped:
            if message.durable:
                yield f"{name}: {message.action} dropped after a refusal"
        for error in driver.errors:
            if "CallRefused" in error:
                yield f"{name}: refused: {error}"


def _audit_sessions(told: list[Session], rows: list[Any]) -> Iterable[str]:
    by_key = defaultdict(list)
    for row in rows:
        by_key[row.station_id, row.transaction_id].append(row)
    for session in told:
        found = by_key.pop((session.station_id, session.transaction_id), [])
        name = f"{session.station_id} {session.transaction_id}"
        if len(found) != 1:
            yield f"{name}: is in the database {len(found)} times"
        for row in found:
            yield from (f"{name}: {fault}" for fault in _differences(session, row))
    for key, found in by_key.items():
        yield f"{' '.join(key)}: unknown to the station, {len(found)} times"


def _differences(session: Session, row: Any) -> Iterable[str]:
    expected = {
        "state": "ended",
        "token_uid": session.badge,
        "energy_wh": session.energy_wh,
        "meter_start_wh": session.meter_start_wh,
        "meter_stop_wh": session.meter_stop_wh,
        # Stations write milliseconds.
        "started_at": _to_ms(session.started_at),
        "ended_at": _to_ms(session.ended_at),
    }
    for name, value in expected.items():
        if getattr(row, name) != value:
            yield f"{name} is {getattr(row, name)}, the station says {value}"
    if set(row.flags) - FLAGS_EXPECTED:
        yield f"flagged {sorted(row.flags)} without a reason"


def _to_ms(moment: Any) -> Any:
    return moment and moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _audit_readings(ledger: list[Acknowledged], rows: list[Any]) -> Iterable[str]:
    counted = Counter((row.station_id, row.stated_at, row.transaction_id) for row in rows)
    for entry in ledger:
        if entry.stated_at is None:
            continue
        times = counted[entry.station_id, entry.stated_at, entry.session.transaction_id]
        if times != 1:
            yield (
                f"{entry.station_id} {entry.action} {entry.message_id}: acknowledged, its reading "
                f"is in the database {times} times"
            )


def _audit_journal(ledger: list[Acknowledged], rows: list[Any]) -> Iterable[str]:
    answered = {(row.station_id, row.action, row.message_id): row.answer for row in rows}
    for entry in ledger:
        answer = answered.get((entry.station_id, entry.action, entry.message_id))
        if answer is None or not answer.startswith("[3,"):
            yield (
                f"{entry.station_id} {entry.action} {entry.message_id}: acknowledged, the journal "
                f"says {answer}"
            )


def _audit_flood(flood: Flood, row: Any) -> Iterable[str]:
    sent = len(flood.sent)
    answered = Counter(message_id for message_id, _ in flood.answered)
    if flood.errors:
        yield f"{flood.identity}: refused: {flood.errors[:3]}"
    if sorted(answered) != sorted(flood.sent) or max(answered.values()) > 1:
        yield f"{flood.identity}: {sent} sent, {len(flood.answered)} answers"
    if (row.messages, row.readings) != (sent, sent):
        yield f"{flood.identity}: {sent} sent, in the database {row}"
