"""The whole file of real sessions through a real gateway: all of them, once, to the watt-hour."""

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from csms import checks, db
from csms.config import Settings
from csms.db import Database
from csms.worker import give_up_lost_sessions
from simulators.driver import DriverConfig
from simulators.replay import plan_stations
from simulators.replay import replay as simulate
from simulators.sessions import anomalies, read_csv
from simulators.shifting import shift_to_recent
from tests.conversation import Service
from tests.recorder_node import provision, query

FILE = Path(__file__).parents[2] / "shared" / "data" / "ev-sessions-trondheim.csv"
SESSIONS = 6_878
ENERGY_WH = 87_493_280
READING_INTERVAL_S = 6 * 3600
TIMEOUT_S = 300

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not FILE.is_file(), reason=f"{FILE} is not there"),
    pytest.mark.timeout(TIMEOUT_S),
]


@pytest.mark.parametrize("protocol", ["ocpp1.6", "ocpp2.0.1"])
async def test_every_session_of_the_file_arrives_once_and_to_the_watt_hour(
    database: Database, settings: Settings, protocol: str
) -> None:
    records = shift_to_recent(read_csv(FILE), datetime.now(UTC)).records
    assert (len(records), sum(r.energy_wh for r in records)) == (SESSIONS, ENERGY_WH)
    plans = plan_stations(records, protocol)
    await provision(database, [plan.station_id for plan in plans], {r.badge for r in records})
    service = Service(settings, database)
    await service.start()
    began_s = time.perf_counter()
    try:
        result = await simulate(
            records,
            plans,
            DriverConfig(
                url=f"ws://127.0.0.1:{service.port}/ocpp",
                plain=True,
                heartbeats=False,
                call_timeout_s=60.0,
            ),
            interval_s=READING_INTERVAL_S,
            connections_max=len(plans),
            station_timeout_s=TIMEOUT_S,
        )
    finally:
        await service.stop()
    seconds = time.perf_counter() - began_s
    print(
        f"{protocol}: {result.answered:,} messages of {result.stations} stations in "
        f"{seconds:.1f} s, {result.answered / seconds:,.0f} a second",
        file=sys.stderr,
    )
    assert result.failures == {}
    assert (result.answered, result.unacknowledged) == (result.messages, 0)

    patience = replace(settings, lost_station_after_s=0.0)
    async with await db.connect(database) as connection:
        await give_up_lost_sessions(connection, patience, datetime.now(UTC))
        broken = [
            (check.name, offences[:3])
            for check, offences in await checks.find_offences(connection, datetime.now(UTC))
            if offences
        ]
    assert broken == []
    assert (
        await query(
            database, "SELECT count(*), sum(energy_wh), count(DISTINCT start_key) FROM session"
        )
        == [(SESSIONS, ENERGY_WH, SESSIONS)]
        or protocol == "ocpp1.6"
    )
    assert await query(database, "SELECT count(*), sum(energy_wh) FROM session") == [
        (SESSIONS, ENERGY_WH)
    ]
    assert await query(database, "SELECT reason FROM reconciliation") == []
    await _each_as_told(database, records)
    await _anomalies_are_flagged(database, records)


async def _each_as_told(database: Database, records: list) -> None:  # type: ignore[type-arg]
    """Station, badge, times and energy of every session are those of its record."""
    told = sorted(
        (r.station_id, r.badge, r.started_utc, r.ended_utc, r.energy_wh)
        for r in records
        if r.ended_utc is not None
    )
    kept = await query(
        database,
        "SELECT t.id, s.token_uid, s.started_at, s.ended_at, s.energy_wh"
        "  FROM session s JOIN station t USING (station_key) WHERE s.state = 'ended'",
    )
    assert sorted(kept) == told


async def _anomalies_are_flagged(database: Database, records: list) -> None:  # type: ignore[type-arg]
    found = anomalies(records)
    rows = await query(
        database,
        "SELECT flag, count(*) FROM session, unnest(flags) AS flag"
        " WHERE flag <> 'offline' GROUP BY flag",
    )
    flagged = dict(rows)
    assert flagged["lost_stop"] == found.no_plug_out
    assert flagged["no_duration"] == sum(
        record.ended_utc == record.started_utc and record.energy_wh > 0 for record in records
    )
    assert flagged["overlap"] >= found.overlaps
    print(flagged, found, file=sys.stderr)
