"""What happened without anybody calling `announce`: sessions, stations, points that are free.

Found by anti-join, so that nothing is forgotten while no worker runs and nothing is told twice. An
event older than the setting is told to nobody: a database that has been there for years begins
with what happens now.

A station that comes and goes is told once: away means away for a while, back means back for a
while, and between two tellings of "away" stands one of "back".
"""

from datetime import datetime, timedelta
from typing import Final

from psycopg import AsyncConnection

from csms.config import Settings
from csms.notifications.catalogue import CATALOGUE
from csms.store import happenings, notifications

DELETED_MAX: Final = 10_000  # by one run

# Stop reasons of both versions by which a charge ended before its time, in our words (texts/).
INTERRUPTIONS: Final = {
    "PowerLoss": "power",
    "EmergencyStop": "emergency",
    "HardReset": "restart",
    "SoftReset": "restart",
    "Reboot": "restart",
    "ImmediateReset": "restart",
    "GroundFault": "fault",
    "OvercurrentFault": "fault",
    "PowerQuality": "fault",
    "DeAuthorized": "refused",
}


async def detect(connection: AsyncConnection, settings: Settings, now: datetime) -> int:
    """Write down what has happened since; how many notifications."""

    def ago(span_s: float) -> datetime:
        return now - timedelta(seconds=span_s)

    since = ago(settings.notification_age_max_s)
    back_before = ago(settings.station_back_after_s)
    async with connection.transaction():
        return sum(
            [
                await happenings.insert_started_sessions(connection, now, since),
                await happenings.insert_ended_sessions(connection, now, since, INTERRUPTIONS),
                await happenings.insert_stations_back(connection, now, back_before),
                await happenings.insert_offline_stations(
                    connection,
                    now,
                    since,
                    away_before=ago(settings.station_offline_after_s),
                    told_after=ago(CATALOGUE["station.offline"].repeat_s),
                ),
                await happenings.insert_repairs(connection, now, back_before),
                await happenings.insert_faults(
                    connection,
                    now,
                    since,
                    faulted_before=ago(settings.station_fault_after_s),
                    told_after=ago(CATALOGUE["station.faulted"].repeat_s),
                ),
                await happenings.fulfil_watches(connection, now),
            ]
        )


async def drop_old(connection: AsyncConnection, settings: Settings, now: datetime) -> int:
    """Drop the log from before the days of the setting, but what proves a notice of contract;
    how many notifications."""
    kept = [code for code, event in CATALOGUE.items() if event.category == "contract"]
    before = now - timedelta(days=settings.notification_days)
    async with connection.transaction():
        return await notifications.delete_old(connection, before, kept, DELETED_MAX)
