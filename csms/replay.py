"""A stretch of the journal once more through the recorder, into a fresh database, and compared.

What people entered (stations, badges, quirks) is copied as it is now; ids of sessions and decisions
about badges are taken from the answers given then, so that a badge blocked since changes nothing.
Sessions that we had given up by ourselves are given up at the same moments. The outcome must be the
same sessions. Those that began before the stretch, went on after it, or were settled by a person
are left out.
"""

import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from csms import db
from csms.config import SettingError, Settings
from csms.domain import session as sessions
from csms.domain.events import Decision
from csms.domain.session import Act
from csms.domain.values import UTC
from csms.embedded import SUPERUSER
from csms.exchange import Exchange
from csms.recorder import Recorder
from csms.store import lookup, lost, replaying
from csms.store.replaying import ComparedSession, ReplayedMessage
from csms.store.session_rows import session_from_row, session_row
from csms.wire.dispatch import Dispatcher

IN_FLIGHT_MAX: Final = 2_000  # frames handed to the recorder and not yet committed
SHOWN_MAX: Final = 20
UNSAID: Final = ("Unknown", "NotAtThisLocation", "NotAtThisTime")  # all Invalid in 1.6
#: flags that people, or answers to orders of ours, have set
_NOT_OF_FRAMES: Final = frozenset({"confirmed", "events_lost"})

console = Console()


def run(
    settings: Settings,
    start: datetime | None = None,
    end: datetime | None = None,
    stations: Sequence[str] | None = None,
) -> int:
    """Replay and compare; 0 when every session came out the same."""
    try:
        return asyncio.run(_run(settings, _utc(start), _utc(end), stations))
    except SettingError as error:
        print(f"time2plug: {error}", file=sys.stderr)
        return 1


async def _run(
    settings: Settings, start: datetime | None, end: datetime | None, stations: Sequence[str] | None
) -> int:
    begin = start or datetime(2000, 1, 1, tzinfo=UTC)
    until = end or datetime.now(UTC)
    async with db.open_database(settings) as database, fresh_database(database) as fresh:
        frames = await replay(settings, database, fresh, begin, until, stations)
        async with await db.connect(database) as source, await db.connect(fresh) as target:
            left_out = await replaying.read_left_out(source, begin, until, stations)
            expected, arrived = [
                [
                    session
                    for session in await replaying.read_sessions(connection, stations)
                    if (session.station_id, session.transaction_id) not in left_out
                ]
                for connection in (source, target)
            ]
    return _tell(frames, expected, arrived)


@asynccontextmanager
async def fresh_database(database: db.Database) -> AsyncIterator[db.Database]:
    """A migrated database beside the given one, dropped at the end.

    Raises: SettingError when the owner may not create databases.
    """
    name = f"t2p_replay_{uuid4().hex[:12]}"
    if database.server is not None:
        administrator = database.server.conninfo(SUPERUSER, "postgres")
    else:
        administrator = database.owner_url
    try:
        async with await psycopg.AsyncConnection.connect(administrator, autocommit=True) as admin:
            owner = "OWNER t2p_owner" if database.server is not None else ""
            await admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 " + owner).format(
                    sql.Identifier(name)
                )
            )
    except psycopg.errors.InsufficientPrivilege:
        raise SettingError(
            "A replay needs a fresh database and the owner may not create one: "
            "grant it CREATEDB, or set T2P_DATABASE_OWNER_URL to a role that may."
        ) from None
    fresh = db.Database(
        make_conninfo(database.owner_url, dbname=name),
        make_conninfo(database.app_url, dbname=name),
    )
    try:
        await db.migrate(fresh)
        yield fresh
    finally:
        async with await psycopg.AsyncConnection.connect(administrator, autocommit=True) as admin:
            await admin.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


async def replay(
    settings: Settings,
    source: db.Database,
    target: db.Database,
    start: datetime,
    end: datetime,
    stations: Sequence[str] | None = None,
) -> int:
    """Feed the stretch into the target database; how many frames it had."""
    async with await db.connect(source) as reading:
        async with await db.connect(target, owner=True) as writing, writing.transaction():
            for table in replaying.COPIED_TABLES:
                await replaying.copy_table(reading, writing, table)
            await replaying.forget_results(writing)
            await replaying.continue_session_ids(reading, writing)
        player = _Player(settings, target)
        async with player.running(), await db.connect(source) as journal:
            with Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=console,
            ) as progress:
                task = progress.add_task("Reading the journal")
                async with await db.connect(target) as giving_up:
                    async for message in replaying.read_journal(journal, start, end, stations):
                        await player.play(message, giving_up)
                        progress.update(task, description=f"{player.frames:,} frames replayed")
    return player.frames


class _Player:
    """A recorder without sockets, with the clock, ids and decisions of the journal."""

    def __init__(self, settings: Settings, target: db.Database) -> None:
        self.recorder = Recorder(target, settings)
        self.dispatcher = Dispatcher(self.recorder)
        self.recorder.intake.new_session_id = self._session_id
        self.recorder.intake.judge = self._judge
        self.target = target
        self.frames = 0
        self._answers: dict[tuple[str, datetime], Any] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The recorder at work; drained at the end."""
        task = asyncio.ensure_future(self.recorder.run())
        try:
            await self.recorder.up.wait()
            yield
            await self.recorder.drain()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def play(self, message: ReplayedMessage, connection: psycopg.AsyncConnection) -> None:
        """One entry of the journal."""
        if message.frame is None:
            await self.recorder.drain()
            await self._give_up(message, connection)
            return
        station = self.recorder.stations.get(message.station_id)
        if station is None:
            rows = await lookup.fetch_stations(connection, [message.station_id])
            if not rows:
                return  # retired since
            station = self.recorder.station_of(rows[0])
        self._answers[station.id, message.at] = _result(message.answer)
        self.dispatcher.receive(
            station, message.protocol, message.frame.encode(), message.at, lambda answer: None
        )
        self.frames += 1
        if self.recorder.unanswered >= IN_FLIGHT_MAX:
            await self.recorder.drain()
            self._answers.clear()

    async def _give_up(self, message: ReplayedMessage, connection: psycopg.AsyncConnection) -> None:
        assert message.transaction_id is not None
        async with connection.transaction():
            row = await replaying.open_session_row(
                connection, message.station_id, message.transaction_id
            )
            if row is None:
                return
            session = session_from_row(row)
            if sessions.lose(session, message.at) is Act.LOSE:
                changed = [session_row(row["station_key"], session)]
                await lost.write_lost_sessions(connection, changed, message.at)
        self.recorder.refresh(message.station_id)

    def _answer_of(self, exchange: Exchange | None) -> Any:
        if exchange is None:
            return None
        return self._answers.get((exchange.station.id, exchange.received_at))

    def _session_id(self) -> int:
        """The id that the answer of then gave; a new one where the station gave its own."""
        answer = self._answer_of(self.recorder.group.current)
        given = answer.get("transactionId") if isinstance(answer, dict) else None
        return given if isinstance(given, int) else self.recorder.lookups.new_session_id()

    def _judge(self, exchange: Exchange, decision: Decision | None) -> Decision | None:
        """The decision of then, where the answer tells it."""
        answer = self._answer_of(exchange)
        if decision is None or not isinstance(answer, dict):
            return decision
        info = answer.get("idTagInfo") or answer.get("idTokenInfo") or {}
        status = info.get("status")
        unsaid = status == "Invalid" and decision.status in UNSAID
        return decision if status is None or unsaid else decision._replace(status=status)


def _result(answer: str | None) -> Any:
    """The payload of a CALLRESULT as it stood in the journal; None for anything else."""
    if answer is None or not answer.startswith("[3,"):
        return None
    return json.loads(answer)[2]


def _tell(
    frames: int, expected: Sequence[ComparedSession], arrived: Sequence[ComparedSession]
) -> int:
    """Print what came out, and what differs."""
    missing = Counter(map(_key, expected)) - Counter(map(_key, arrived))
    extra = Counter(map(_key, arrived)) - Counter(map(_key, expected))
    differing = max(sum(missing.values()), sum(extra.values()))
    console.print(
        f"{frames:,} frames, {len(expected):,} sessions in the journal's database, "
        f"{len(arrived):,} in the fresh one, {differing:,} differ."
    )
    for word, keys in (("expected", missing), ("arrived", extra)):
        for key in list(keys)[:SHOWN_MAX]:
            console.print(f"  {word}: {key}", markup=False, highlight=False)
    return 1 if missing or extra else 0


def _key(session: ComparedSession) -> tuple[Any, ...]:
    *values, flags = astuple(session)
    return (*values, tuple(sorted(set(flags) - _NOT_OF_FRAMES)))


def _utc(moment: datetime | None) -> datetime | None:
    """A moment of the command line, which is in UTC."""
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)
