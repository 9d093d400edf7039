"""What is worth knowing of stations and may be lost: deviations counted, clock skews."""

import asyncio
import logging
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from csms import db, metrics
from csms.domain.station import Station
from csms.store import recording

log = logging.getLogger(__name__)

PERIOD_S: Final = 1.0
DEVIATIONS_MAX: Final = 50_000  # kinds times stations between two writes; then they go uncounted


class Observations:
    """Collected in memory, written every second."""

    def __init__(self, database: db.Database) -> None:
        self._database = database
        self._deviations: dict[tuple[int, str, str], dict[str, Any]] = {}
        self._clocks: dict[int, dict[str, Any]] = {}

    def count_deviation(
        self, station: Station, kind: str, subject: str, sample: str, at: datetime
    ) -> None:
        """A station departed from the specification."""
        metrics.DEVIATIONS.labels(kind).inc()
        key = (station.key, kind, subject)
        row = self._deviations.get(key)
        if row is None:
            if len(self._deviations) >= DEVIATIONS_MAX:
                return
            row = self._deviations[key] = {
                "station_key": station.key,
                "kind": kind,
                "subject": subject,
                "sample": sample,
                "first_seen_at": at,
                "count": 0,
            }
        row["count"] += 1
        row["last_seen_at"] = at

    def note_clock(self, station: Station) -> None:
        """What a station's times have shown of its clock."""
        station.clock_noted = (station.clock_skew_s, station.naive_is_local)
        self._clocks[station.key] = {
            "station_key": station.key,
            "clock_skew_s": station.clock_skew_s,
            "naive_is_local": station.naive_is_local,
        }

    async def run(self, up: asyncio.Event) -> None:
        """Write every second while the database is up, until cancelled."""
        async with db.Line(self._database) as line:
            while True:
                db.raise_if_cancelled()
                await asyncio.sleep(PERIOD_S)
                await up.wait()
                if not self._deviations and not self._clocks:
                    continue
                try:
                    await self.flush(await line.get())
                except (psycopg.Error, OSError) as error:
                    log.warning("observations were not written: %s", str(error).strip())
                    await line.drop()

    async def flush(self, connection: AsyncConnection) -> None:
        """Write what was collected; what cannot be written is lost."""
        deviations, self._deviations = self._deviations, {}
        clocks, self._clocks = self._clocks, {}
        if deviations:
            await recording.upsert_deviations(connection, list(deviations.values()))
        if clocks:
            await recording.note_clocks(connection, list(clocks.values()))
