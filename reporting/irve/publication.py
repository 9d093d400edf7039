"""Both files read from the database: once for the command line, and for whoever polls us.

Pollers share one copy for some seconds: one question to the database at a time, however many ask.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from csms.config import Settings
from csms.domain.services import Option
from csms.services import closed_clients
from reporting import store_irve as store
from reporting.irve import dynamic_rows, static_rows
from reporting.irve.dynamic_rows import Connector, Standing
from reporting.irve.static_rows import PARIS, Point, Static

CONNECTION_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 60.0


class TooManyPoints(RuntimeError):
    """There are more public points than a file may have by the settings."""


async def read_static(connection: AsyncConnection, settings: Settings, now: datetime) -> Static:
    """The static file at the moment. Raises: TooManyPoints."""
    found = await store.list_public_points(connection, settings.irve_points_max + 1)
    _check_count(len(found), settings)
    closed = await closed_clients(
        connection, {point.client_id for point in found}, Option.DATA_GOUV, now
    )
    points = [
        Point(
            site_id=point.site_id,
            site_name=point.site_name,
            site_static=point.site_static,
            client_id=point.client_id,
            client=point.client,
            station_id=point.station_id,
            station_static=point.station_static,
            evse_id=point.evse_id,
            evse_uid=point.evse_uid,
            power_w_max=point.power_w_max,
            evse_static=point.evse_static,
            connectors={k["connector_id"]: k["type"] for k in point.connectors},
            changed_at=point.changed_at,
        )
        for point in found
    ]
    return await asyncio.to_thread(
        static_rows.build,
        points,
        now.astimezone(PARIS).date(),
        prefixes=settings.afirev_prefixes,
        closed_clients=closed,
    )


async def read_dynamic(
    connection: AsyncConnection, settings: Settings, published: frozenset[str]
) -> bytes:
    """The dynamic file of these points of the static one. Raises: TooManyPoints."""
    found = await store.list_public_statuses(connection, settings.irve_points_max + 1)
    _check_count(len(found), settings)
    standings = [
        Standing(
            evse_uid=point.evse_uid,
            status=point.status,
            status_at=point.status_at,
            station_status=point.station_status,
            station_status_at=point.station_status_at,
            connected=point.connected,
            connected_at=point.connected_at,
            disconnected_at=point.disconnected_at,
            created_at=point.created_at,
            connectors=[Connector(k["type"], k["status"]) for k in point.connectors],
        )
        for point in found
    ]
    return await asyncio.to_thread(dynamic_rows.build, standings, published)


def _check_count(count: int, settings: Settings) -> None:
    if count > settings.irve_points_max:
        raise TooManyPoints(f"more than irve_points_max ({settings.irve_points_max}) public points")


@dataclass(frozen=True, slots=True)
class Copy:
    """A file as it is handed out."""

    content: bytes
    etag: str  # quoted, strong
    read_at: datetime
    identifiers: frozenset[str] = frozenset()  # of the static file


class Publication:
    """The two files for pollers, from a pool; a copy of each lasts as the settings say."""

    def __init__(self, pool: AsyncConnectionPool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._copies: dict[str, Copy] = {}
        self._readings: dict[str, asyncio.Task[Copy]] = {}

    async def static(self, now: datetime) -> Copy:
        """The static file. Raises: TooManyPoints; TimeoutError; psycopg.OperationalError."""
        return await self._copy("static", self._settings.irve_static_cache_s, now, self._static)

    async def dynamic(self, now: datetime) -> Copy:
        """The dynamic file. Raises: as `static`."""
        return await self._copy("dynamic", self._settings.irve_dynamic_cache_s, now, self._dynamic)

    async def _copy(
        self, name: str, lasts_s: float, now: datetime, read: Callable[[datetime], Awaitable[Copy]]
    ) -> Copy:
        """The copy that is still good, or what one reading brings to all who wait for it; a caller
        who goes away does not end it for the others."""
        copy = self._copies.get(name)
        if copy is not None and now - copy.read_at < timedelta(seconds=lasts_s):
            return copy
        reading = self._readings.get(name)
        if reading is None or reading.done():
            reading = self._readings[name] = asyncio.create_task(self._read(name, now, read))
        return await asyncio.shield(reading)

    async def _read(
        self, name: str, now: datetime, read: Callable[[datetime], Awaitable[Copy]]
    ) -> Copy:
        async with asyncio.timeout(READ_TIMEOUT_S):
            copy = self._copies[name] = await read(now)
        return copy

    async def _static(self, now: datetime) -> Copy:
        async with self._pool.connection(timeout=CONNECTION_TIMEOUT_S) as connection:
            static = await read_static(connection, self._settings, now)
        content = await asyncio.to_thread(static.content)
        return Copy(content, _etag(content), now, static.identifiers)

    async def _dynamic(self, now: datetime) -> Copy:
        """Of the points in the static file as it was last read, which is not long ago."""
        static = await self.static(now)
        async with self._pool.connection(timeout=CONNECTION_TIMEOUT_S) as connection:
            content = await read_dynamic(connection, self._settings, static.identifiers)
        return Copy(content, _etag(content), now)


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'
