"""Events of all stations into the database, committed in groups, answered after the commit.

    exchange   one inbound frame on its way: received, handled, committed, answered
    group      what one commit writes; the `Sink` of the domain
    recorder   the groups' writer, the look-ups that events need, and the way back after a failure

A frame is handled at once, in memory, against the state of its station; what came of it joins the
current group. The writer commits the group and then sends its answers in order. No answer leaves
before its commit.

When a commit fails, everything that was handled since is forgotten, the stations are loaded again,
and the same frames are handled again in their order: a start that had been committed after all is
then a repetition and gets the same answer. While the database is away frames only queue, bounded,
and nobody is answered.
"""

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from csms import db, metrics
from csms.config import Settings
from csms.domain.session import State
from csms.domain.station import Station
from csms.domain.values import UTC
from csms.exchange import (
    NO_FACTS,
    NOT_ASKED,
    Exchange,
    Facts,
    Group,
    Need,
    Outbound,
    Question,
    profile_row,
)
from csms.intake import Intake
from csms.lookups import Lookups, configure
from csms.observations import Observations
from csms.store import lookup, recording
from csms.store.lookup import QuirkRow, StationRow

log = logging.getLogger(__name__)

AWAY, CHANGED, REFUSED = "away", "changed", "refused"  # why a group was not committed
# SQLSTATE classes that are nobody's frame's fault: connection, resources, state of the server or
# of its objects, rights, system, damage.
_AWAY_CLASSES: Final = frozenset({"08", "25", "28", "3D", "42", "53", "55", "57", "58", "F0", "XX"})

CROWD: Final = 8  # in one look-up: then the next one waits a little, for more to come
CROWD_WAIT_S: Final = 0.01
LOOKUPS_MAX: Final = 500  # stations per look-up


class Recorder:
    """Keeps the stations of this node and writes what they tell.

    `handle(exchange, facts)` is given by the wire: it reads the frame and either gives its event
    to `intake.record` or returns the `Need` that must be looked up first. `run` must be running.
    """

    def __init__(
        self,
        database: db.Database,
        settings: Settings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.database = database
        self.settings = settings
        self.now = now
        self.handle: Callable[[Exchange, Facts | None], Need | None] = _unset
        self.lookups = Lookups(settings.remembered_answers)
        self.observations = Observations(database)
        self.intake = Intake(settings, self.lookups, self.observations, now)
        self.stations: dict[str, Station] = {}
        self.group = Group()
        self.in_flight: Group | None = None
        #: makes the answer to a frame that cannot be recorded; given by the wire
        self.refuse: Callable[[Exchange], None] = _unset
        #: asks somebody outside; given by the gateway, and otherwise nobody knows
        self.ask_outside: Callable[[Question], Awaitable[object]] = _nobody_knows
        #: who answers questions of a kind, before all others; handed in from above
        self.answers: dict[str, Callable[[Question], Awaitable[object]]] = {}
        self._asking: set[asyncio.Task[None]] = set()
        #: an order of ours waits for a station, behind the answer to what caused it; given by the
        #: gateway
        self.wake: Callable[[str], None] = _to_nobody
        #: told of every group after its commit; must not wait
        self.published: Callable[[Group], None] = _to_nobody
        self.loaded = False  # more stations than group_loaded_stations are connected
        self.up = asyncio.Event()  # the database takes commits
        self.unanswered = 0
        self._queues: dict[Station, deque[Exchange]] = {}
        self._asked: dict[Station, tuple[Need, Exchange]] = {}
        self._wake = asyncio.Event()
        self._wake_lookup = asyncio.Event()
        self._full = asyncio.Event()
        self._idle = asyncio.Event()
        self._released: set[Station] = set()  # without a link, but with frames on their way

    # --- Frames in ------------------------------------------------------------------------------

    def receive(self, exchange: Exchange) -> None:
        """Take a frame: handle it now, or queue it behind what its station waits for."""
        self.unanswered += 1
        station = exchange.station
        station.pending += 1
        queue = self._queues.get(station)
        if queue is not None:
            queue.append(exchange)
        elif station.stale or not self.up.is_set():
            self._queue(station, [exchange])
        else:
            self._process(exchange, None)

    def _queue(self, station: Station, exchanges: Iterable[Exchange]) -> None:
        self._queues.setdefault(station, deque()).extend(exchanges)
        self._advance(station)

    def _advance(self, station: Station) -> None:
        """Handle what is queued of a station, up to the first frame that needs a look-up."""
        queue = self._queues.get(station)
        while queue:
            if not self.up.is_set() or station in self._asked:
                return
            if station.stale:
                self._ask(Need(station=True, reload=True), queue[0])
                return
            if not self._process(queue[0], None):
                return
            queue.popleft()
        self._queues.pop(station, None)

    def _process(self, exchange: Exchange, facts: Facts | None) -> bool:
        """Handle one frame; False when it needs a look-up first and waits at its queue's head."""
        group = self.group
        group.current = exchange
        try:
            need = self.handle(exchange, facts)
        except Exception:  # our own bug: it must not cost the other stations their service
            log.exception("a frame of station %s could not be handled", exchange.station.id)
            need = None
            exchange.station.stale = True
            self._not_handled(exchange)
        group.current = None
        if need is not None:
            station = exchange.station
            if station not in self._queues:
                self._queues[station] = deque((exchange,))
            self._ask(need, exchange)
            return False
        group.exchanges.append(exchange)
        if len(group.exchanges) >= self.settings.group_events_max:
            self._full.set()
        self._wake.set()
        return True

    def _not_handled(self, exchange: Exchange) -> None:
        self.group.current = exchange
        self.refuse(exchange)
        self.group.desk("not_handled", None, None)
        self.group.current = None

    def _ask(self, need: Need, exchange: Exchange) -> None:
        self._asked[exchange.station] = (need, exchange)
        if need.outside is not None:
            self._ask_outside(need, exchange)
        else:
            self._wake_lookup.set()

    def _ask_outside(self, need: Need, exchange: Exchange) -> None:
        """Ask somebody outside, in a task of its own: only this station waits for it."""
        if len(self._asking) >= self.settings.outside_questions_max:
            asyncio.get_running_loop().call_soon(self._told, need, exchange, None)
            return
        task = asyncio.create_task(self._question(need, exchange))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _question(self, need: Need, exchange: Exchange) -> None:
        assert need.outside is not None
        answer: object = None
        try:
            ask = self.answers.get(need.outside.kind, self.ask_outside)
            answer = await ask(need.outside)
        except Exception:
            log.exception("a question of station %s was not asked", exchange.station.id)
        self._told(need, exchange, answer)

    def _told(self, need: Need, exchange: Exchange, answer: object) -> None:
        """The answer from outside is there, or none is to be had: the frame goes on. Kept with the
        frame, it is not asked for again when a commit fails."""
        exchange.outside = answer
        if self._asked.get(exchange.station) == (need, exchange):
            station = exchange.station
            self._resume({station: (need, exchange)}, {station: NO_FACTS})

    # --- Stations -------------------------------------------------------------------------------

    def station_of(self, row: StationRow) -> Station:
        """The station in memory; loaded before its first event when it is new there."""
        station = self.stations.get(row.id)
        if station is None:
            station = self.stations[row.id] = Station(row.station_key, row.id)
            station.stale = True
        self._released.discard(station)
        configure(station, row, self.lookups.quirks_of(row.vendor, row.model, row.firmware))
        return station

    def release(self, station: Station) -> None:
        """The station's last link is gone; it leaves the memory once its frames are committed."""
        if station.pending:
            self._released.add(station)
        elif self.stations.get(station.id) is station:
            del self.stations[station.id]
            station.stale = True

    def refresh(self, station_id: str) -> None:
        """Somebody changed the station, its sessions or its badges: load it before it goes on."""
        station = self.stations.get(station_id)
        if station is not None:
            station.stale = True

    def count_open_sessions(self) -> int:
        """Open sessions of the stations in memory."""
        return sum(
            session.state is State.ACTIVE
            for station in self.stations.values()
            for session in station.sessions.values()
        )

    def note_outbound(self, row: Outbound) -> None:
        """Put a call of ours, answered or given up, into the journal."""
        self.group.outbound.append(row)
        self._wake.set()

    def waiting(self, station: Station) -> int:
        """Frames of the station received and not yet committed."""
        return station.pending

    def reconsider_quirks(self, quirks: list[QuirkRow]) -> None:
        """Take the quirk table as it is now."""
        self.lookups.quirks = quirks

    # --- Running --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Commit groups and look things up until cancelled; what is in the group then is lost,
        and was never answered. Call `drain` before."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write_groups())
                tasks.create_task(self._look_up())
                tasks.create_task(self.observations.run(self.up))
        finally:
            for task in self._asking:
                task.cancel()

    async def drain(self) -> None:
        """Wait until every frame received so far is committed and answered."""
        while self.unanswered:
            self._idle.clear()
            await self._idle.wait()

    async def _write_groups(self) -> None:
        connection = await self._connect_writer()
        self._database_is(True)
        try:
            while True:
                db.raise_if_cancelled()
                await self._wake.wait()
                self._wake.clear()
                await self._gather()
                group, self.group = self.group, Group()
                self._full.clear()
                if group:
                    connection = await self._write(connection, group)
                else:
                    _tell(group.done)
        finally:
            await connection.close()

    async def _write(self, connection: AsyncConnection, group: Group) -> AsyncConnection:
        """Commit one group and answer it; the connection to go on with."""
        self.in_flight = group
        started_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self.settings.commit_timeout_s):
                await self._store_profiles(connection, group)
                await recording.write_group(connection, group.rows(self.now()))
        except Exception as error:  # the database's, or our own on the way to it
            db.raise_if_cancelled()
            connection = await self._recover(connection, group, error)
        else:
            metrics.GROUP_COMMIT.observe(asyncio.get_running_loop().time() - started_s)
            self.in_flight = None
            self._committed(group)
        self.in_flight = None
        return connection

    async def _gather(self) -> None:
        """Let a group grow for its window, or until it is full."""
        window_ms = (
            self.settings.group_window_loaded_ms if self.loaded else self.settings.group_window_ms
        )
        if self.group.exchanges:
            window_ms -= (self.now() - self.group.exchanges[0].received_at).total_seconds() * 1000
        if window_ms > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(window_ms / 1000):
                    await self._full.wait()

    def _committed(self, group: Group) -> None:
        """Answer, and take the new revisions as known."""
        for station, session in group.sessions.values():
            self.intake.committed(session)
            station.forget_old_sessions()
        for exchange in group.exchanges:
            if exchange.answer is not None:
                exchange.reply(exchange.answer)
            self._settle(exchange.station)
        for deviation in group.deviations:
            self.observations.count_deviation(*deviation)
        if group.exchanges:
            metrics.GROUP_SIZE.observe(len(group.exchanges))
            oldest = group.exchanges[0].received_at
            metrics.ANSWER_LATENCY.observe((self.now() - oldest).total_seconds())
        metrics.UNANSWERED.set(self.unanswered)
        self.published(group)
        for station_id in group.ordered:
            self.wake(station_id)
        _tell(group.done)

    async def _until_committed(self, waiting: Iterable[Station]) -> None:
        """Wait until nothing that these stations told is on its way to the database."""
        wanted = set(waiting)
        for group in (self.in_flight, self.group):
            if group is not None and any(e.station in wanted for e in group.exchanges):
                done = asyncio.get_running_loop().create_future()
                group.done.append(done)
                await done

    def _settle(self, station: Station) -> None:
        """One frame of the station is through."""
        self.unanswered -= 1
        if not self.unanswered:
            self._idle.set()
        station.pending -= 1
        if not station.pending and station in self._released:
            self._released.discard(station)
            self.release(station)

    # --- Failure --------------------------------------------------------------------------------

    async def _recover(
        self, connection: AsyncConnection, group: Group, error: Exception
    ) -> AsyncConnection:
        """Forget what was handled, come back to the database, and handle the same frames again.

        What is refused for itself would be refused again: then each frame is written alone, until
        the guilty one is found.
        """
        why = _why(error)
        metrics.COMMIT_FAILURES.labels(why).inc()
        log.warning("a group of %d frames was not committed: %s", len(group.exchanges), error)
        self._database_is(False)
        again = self._forget(group)
        while True:
            try:
                if why == AWAY or connection.closed:
                    await connection.close()
                    await self._revive()
                    connection = await self._connect_writer()
                if why == REFUSED:
                    await self._write_one_by_one(connection, again)
                break
            except Exception as failure:
                if _why(failure) != AWAY:
                    raise
                why = AWAY
        for exchange in reversed(again):
            self._queues.setdefault(exchange.station, deque()).appendleft(exchange)
        self._database_is(True)
        return connection

    def _forget(self, group: Group) -> deque[Exchange]:
        """Drop all state that is not committed; the frames to handle again, in their order."""
        again = deque(group.exchanges + self.group.exchanges)
        outbound = group.outbound + self.group.outbound
        _tell(group.done + self.group.done)
        self.group = Group()
        self.group.outbound = outbound
        self.intake.forget()
        self._asked.clear()
        for station in list(self.stations.values()):
            station.stale = True
        for exchange in again:
            exchange.station.stale = True
            exchange.answer = exchange.action = exchange.message_id = None
        return again

    async def _write_one_by_one(self, connection: AsyncConnection, again: deque[Exchange]) -> None:
        """Find the frame that the database refuses: it alone is set aside, raw, on the desk.

        Takes frames off `again` as they are through.
        Raises: what says that the database is away meanwhile.
        """
        outbound, self.group.outbound = self.group.outbound, []  # no part of the search
        try:
            await self._search(connection, again)
        finally:
            self.group.outbound = outbound + self.group.outbound

    async def _search(self, connection: AsyncConnection, again: deque[Exchange]) -> None:
        while again:
            exchange = again[0]
            exchange.station.stale = True
            try:
                await self.lookups.load(connection, [exchange.station])
                await self._handle_alone(connection, exchange)
                group, self.group = self.group, Group()
                await self._store_profiles(connection, group)
                await recording.write_group(connection, group.rows(self.now()))
            except Exception as error:
                self.group = Group()
                self.intake.forget()
                if _why(error) == AWAY:
                    raise
                log.exception("a frame of station %s cannot be recorded", exchange.station.id)
                exchange.station.stale = True
                group = await self._set_aside(connection, exchange)
            again.popleft()
            self._committed(group)

    async def _handle_alone(self, connection: AsyncConnection, exchange: Exchange) -> None:
        self.group.current = exchange
        if exchange.outside is NOT_ASKED:
            exchange.outside = None  # no time for it: the honest "no"
        need = self.handle(exchange, None)
        if need is not None:
            await self.lookups.top_up_session_ids(connection, 1)
            facts = await self.lookups.fetch(connection, {exchange.station: (need, exchange)})
            again = self.handle(exchange, facts[exchange.station])
            assert again is None
        self.group.current = None
        self.group.exchanges.append(exchange)

    async def _set_aside(self, connection: AsyncConnection, exchange: Exchange) -> Group:
        """Write nothing of the frame but itself: journal and desk.

        The last resort, when not even that can be written, is the log; nobody is answered then.
        """
        group = Group()
        group.current = exchange
        self.refuse(exchange)
        group.desk("not_recordable", None, None)
        group.current = None
        group.exchanges.append(exchange)
        try:
            await recording.write_group(connection, group.rows(self.now()))
        except Exception as error:
            if _why(error) == AWAY:
                raise
            log.exception("a frame cannot even be set aside: %r", exchange.frame[:2000])
            exchange.answer = None
        return group

    async def _connect_writer(self) -> AsyncConnection:
        """A connection that may write, once no backend of a former life of this node may."""
        name = f"time2plug recorder {self.settings.node}"
        while True:
            connection: AsyncConnection | None = None
            try:
                async with asyncio.timeout(self.settings.commit_timeout_s):
                    connection = await db.connect(self.database, application_name=name)
                    await db.hold_advisory_lock(connection, f"recorder {self.settings.node}")
                    await self.lookups.top_up_session_ids(connection, 0)
                    self.lookups.quirks = await lookup.fetch_quirks(connection)
                return connection
            except (psycopg.Error, OSError, TimeoutError) as error:
                db.raise_if_cancelled()
                log.warning("the database is away: %s", str(error).strip())
                self._database_is(False)
                if connection is not None:
                    await connection.close()
                await self._revive()

    async def _revive(self) -> None:
        """Give the database time; an embedded server that died is started again."""
        server = self.database.server
        if server is not None:
            with contextlib.suppress(Exception):
                await asyncio.to_thread(server.ensure_running)
        await asyncio.sleep(self.settings.database_retry_s)

    def _database_is(self, up: bool) -> None:
        metrics.DATABASE_UP.set(1 if up else 0)
        if not up:
            self.up.clear()
            return
        self.up.set()
        for station in list(self._queues):
            self._advance(station)

    # --- Look-ups -------------------------------------------------------------------------------

    async def _look_up(self) -> None:
        """Answer needs in batches, each station's frames going on behind them."""
        name = f"time2plug look-up {self.settings.node}"
        crowded = False
        async with db.Line(self.database, name) as line:
            while True:
                db.raise_if_cancelled()
                await self._wake_lookup.wait()
                if crowded:  # many are asking: let them gather
                    await asyncio.sleep(CROWD_WAIT_S)
                self._wake_lookup.clear()
                await self.up.wait()
                waiting = ((s, w) for s, w in self._asked.items() if w[0].outside is None)
                asked = dict(itertools.islice(waiting, LOOKUPS_MAX))
                if not asked:
                    continue
                crowded = len(asked) >= CROWD
                try:
                    async with asyncio.timeout(self.settings.commit_timeout_s):
                        await self._answer_needs(line, asked)
                except Exception as error:
                    db.raise_if_cancelled()
                    if _why(error) == REFUSED:
                        raise
                    log.warning("a look-up failed: %s", str(error).strip())
                    await line.drop()
                    await self._revive()
                    self._wake_lookup.set()
                if any(need.outside is None for need, _ in self._asked.values()):
                    self._wake_lookup.set()

    async def _answer_needs(
        self, line: db.Line, asked: dict[Station, tuple[Need, Exchange]]
    ) -> None:
        """Look up and go on. A frame whose look-up the database refuses costs only itself.

        Raises: what says that the database is away.
        """
        try:
            facts = await self._read(await line.get(), asked)
        except Exception as error:
            if _why(error) != REFUSED:
                raise
            if len(asked) > 1:
                for station, wanted in asked.items():
                    await self._answer_needs(line, {station: wanted})
                return
            (station,) = asked
            log.exception("a look-up for station %s is refused", station.id)
            self._abandon(station)
        else:
            self._resume(asked, facts)

    def _abandon(self, station: Station) -> None:
        """Answer the frame at the head of the queue as one that we could not handle."""
        _, exchange = self._asked.pop(station)
        self._not_handled(exchange)
        self.group.exchanges.append(exchange)
        self._wake.set()
        self._queues[station].popleft()
        self._advance(station)

    async def _read(
        self, connection: AsyncConnection, asked: dict[Station, tuple[Need, Exchange]]
    ) -> dict[Station, Facts]:
        self.intake.look_up_begins()
        await self.lookups.top_up_session_ids(connection, len(asked))
        await self._until_committed(
            station for station, (need, _) in asked.items() if need.reload or need.limits
        )
        return await self.lookups.fetch(connection, asked)

    def _resume(
        self, asked: dict[Station, tuple[Need, Exchange]], facts: dict[Station, Facts]
    ) -> None:
        """Handle the frames that had waited, and what queued behind them."""
        for station, (need, exchange) in asked.items():
            if self._asked.get(station) != (need, exchange):
                continue  # a failed commit meanwhile: all of it is handled again
            del self._asked[station]
            queue = self._queues.get(station)
            if not queue or queue[0] is not exchange or not self.up.is_set():
                continue
            if need.reload:
                self._advance(station)
                continue
            if self._process(exchange, facts[station]):
                queue.popleft()
                self._advance(station)

    async def _store_profiles(self, connection: AsyncConnection, group: Group) -> None:
        """Rows of profiles that the group's readings are the first to need."""
        new = group.new_profiles()
        if not new:
            return
        ids = await recording.store_profiles(connection, [profile_row(p) for p in new])
        for profile, id in zip(new, ids, strict=True):
            profile.database_id = id


def _why(error: Exception) -> str:
    """Why a commit failed: AWAY (try again later), CHANGED by somebody else (again, from what the
    database holds now), or REFUSED for what was to be written."""
    if isinstance(error, OSError | TimeoutError):
        return AWAY
    if not isinstance(error, psycopg.Error):
        return REFUSED
    state = error.sqlstate
    if state is None:
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return AWAY if lost else REFUSED
    if state[:2] == "40":
        return CHANGED
    return AWAY if state[:2] in _AWAY_CLASSES else REFUSED


async def _nobody_knows(question: Question) -> object:
    return None


def _to_nobody(news: object) -> None:
    """Nobody wants to be told."""


def _unset(*arguments: object) -> Any:
    raise AssertionError("the wire has not been connected to the recorder")


def _tell(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
