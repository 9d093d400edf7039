"""Live sessions for those who follow them: one look at the database for all, however many follow.

A process has one `Live`. While somebody follows, it looks every `live_period_s` at all sessions
that are followed, by one statement; whoever knows that something changed sets it going at once
(`wake`). So it works the same on every node and without a broker. Nothing is kept for a follower
but the newest state of his session: a slow one misses what has been overtaken.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import psycopg
from psycopg_pool import AsyncConnectionPool

from csms import db
from csms.config import Settings
from csms.store import starts
from csms.store.starts import Live as Row

log = logging.getLogger(__name__)


class TooMany(Exception):
    """No further follower is taken: this person, or this process, has enough of them."""


class _Watched:
    """A session and those who follow it."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.followers = 0
        self.changed = asyncio.Condition()


class Follower:
    """One who follows a session. `next` gives what is new."""

    def __init__(self, live: "Live", watched: _Watched) -> None:
        self._live = live
        self._watched = watched
        self._seen: Row | None = None

    async def next(self, timeout_s: float) -> Row | None:
        """The session when it has changed since the last call, or None after the time-out, or when
        everything ends."""
        try:
            async with asyncio.timeout(timeout_s), self._watched.changed:
                await self._watched.changed.wait_for(
                    lambda: self._live.closed or self._is_new(self._watched.row)
                )
        except TimeoutError:
            return None
        self._seen = self._watched.row
        return None if self._live.closed else self._seen

    @property
    def row(self) -> Row:
        """The newest that is known."""
        return self._watched.row

    @property
    def over(self) -> bool:
        """Nothing more will come: the process stops."""
        return self._live.closed

    def _is_new(self, row: Row) -> bool:
        return self._seen is None or row.revision != self._seen.revision


class Live:
    """Sessions that are followed in this process. `run` must be running."""

    def __init__(self, pool: AsyncConnectionPool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._watched: dict[int, _Watched] = {}
        self._of_person: dict[int, int] = {}
        self._wake = asyncio.Event()
        self.closed = False
        self.looks = 0  # at the database, so far

    @property
    def followers(self) -> int:
        """How many follow something."""
        return sum(self._of_person.values())

    @property
    def sessions(self) -> int:
        """How many sessions are followed."""
        return len(self._watched)

    @asynccontextmanager
    async def follow(self, row: Row, person_id: int) -> AsyncIterator[Follower]:
        """Follow a session that the person may see, from how it stood a moment ago on. Raises:
        TooMany."""
        own = self._of_person.get(person_id, 0)
        if (
            own >= self._settings.live_person_streams_max
            or self.followers >= self._settings.live_streams_max
            or self.closed
        ):
            raise TooMany
        watched = self._watched.setdefault(row.id, _Watched(row))
        watched.followers += 1
        self._of_person[person_id] = own + 1
        self._wake.set()
        try:
            yield Follower(self, watched)
        finally:
            watched.followers -= 1
            if not watched.followers:
                del self._watched[row.id]
            self._of_person[person_id] -= 1
            if not self._of_person[person_id]:
                del self._of_person[person_id]

    def wake(self) -> None:
        """Something may have changed: look now."""
        self._wake.set()

    async def close(self) -> None:
        """End all following: the process stops."""
        self.closed = True
        for watched in list(self._watched.values()):
            async with watched.changed:
                watched.changed.notify_all()

    async def run(self) -> None:
        """Look until cancelled; a database that is away is asked again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._watched:
                try:
                    await self._look()
                except (psycopg.Error, OSError, TimeoutError) as error:
                    db.raise_if_cancelled()
                    log.warning("live sessions cannot be read: %s", str(error).strip())
                try:
                    async with asyncio.timeout(self._settings.live_period_s):
                        await self._wake.wait()
                    self._wake.clear()
                except TimeoutError:
                    continue

    async def _look(self) -> None:
        self.looks += 1
        async with self._pool.connection() as connection:
            rows = await starts.fetch_live(connection, list(self._watched))
        for row in rows:
            watched = self._watched.get(row.id)
            if watched is not None and watched.row.revision < row.revision:
                async with watched.changed:
                    watched.row = row
                    watched.changed.notify_all()


def duration_s(row: Row, now: datetime) -> int:
    """How long the session has lasted, or lasted."""
    return max(0, int(((row.ended_at or now) - row.started_at).total_seconds()))
