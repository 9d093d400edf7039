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
        self._skews: dict[int, float] = {}

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

    def note_skew(self, station_key: int, clock_skew_s: float) -> None:
        """A station's clock differs from ours by so much."""
        self._skews[station_key] = clock_skew_s

    async def run(self, up: asyncio.Event) -> None:
        """Write every second while the database is up, until cancelled."""
        async with db.Line(self._database) as line:
            while True:
                await asyncio.sleep(PERIOD_S)
                await up.wait()
                if not self._deviations and not self._skews:
                    continue
                try:
                    await self.flush(await line.get())
                except (psycopg.Error, OSError) as error:
                    db.raise_if_cancelled()
                    log.warning("observations were not written: %s", str(error).strip())
                    await line.drop()

    async def flush(self, connection: AsyncConnection) -> None:
        """Write what was collected; what cannot be written is lost."""
        deviations, self._deviations = self._deviations, {}
        skews, self._skews = self._skews, {}
        if deviations:
            await recording.upsert_deviations(connection, list(deviations.values()))
        if skews:
            rows = [{"station_key": key, "clock_skew_s": skew} for key, skew in skews.items()]
            await recording.note_clock_skew(connection, rows)
