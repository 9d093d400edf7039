"""What leaves for other systems: found, claimed, sent, and what came of it recorded.

One mechanism for all outlets. An outlet says what is new (`gather`, an anti-join against what was
made before), how a request is made (`send`), and how to learn what became of one whose end is
unknown (`verify`). The rest is here:

- any number of workers: what is claimed is under a lease that is renewed before every request;
- order: of one object one item at a time, the oldest first;
- a peer that is away pauses the whole outlet, longer each time, and then one item tries whether it
  is back; nothing that was not its own fault becomes a dead letter before its time is over;
- a request that is refused as a whole is halved until what is wrong stands alone: a dead letter
  with the peer's answer, for a person to mend, to send again or to give up;
- before a request is made its items are put on record as doubtful. Whoever finds them so after a
  crash, a time-out or a cut answer sends again where the peer does not mind (`is_idempotent`), and
  else asks first. Where it cannot be told, a person decides: nothing goes twice by itself.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, NoReturn
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from csms import db, metrics
from csms.config import Settings
from csms.domain.back_off import back_off_s, luck
from csms.whole import whole
from reporting import store_outlet as store
from reporting.store_outlet import Item, NewItem, State

log = logging.getLogger(__name__)

REPLY_LENGTH_MAX: Final = 2_000
SUSPECT_FAILURES: Final = 2  # in a row: from then on one item at a time tries whether it is back
DROP_BATCH: Final = 10_000
IN_DOUBT: Final = "the peer may have it: its answer was lost, and it cannot be asked"

Moment = Callable[[], datetime]
Sleep = Callable[[float], Awaitable[None]]


class Refused(Exception):
    """The peer took nothing of the request, and would not at another time either: its answer."""


class Away(Exception):
    """The peer took nothing of the request, for now. `retry_after_s`: as it asked, if it did."""

    def __init__(self, reply: str, retry_after_s: float | None = None) -> None:
        super().__init__(reply)
        self.retry_after_s = retry_after_s


class Lost(Exception):
    """Nobody knows whether the peer took the request. `remote_ids`: what it called the items, in
    their order, where that much of the answer came."""

    def __init__(self, reply: str, remote_ids: Sequence[str] = ()) -> None:
        super().__init__(reply)
        self.remote_ids = list(remote_ids)


class Found(Enum):
    """What `verify` learnt."""

    THERE = "there"
    ABSENT = "absent"
    UNKNOWN = "unknown"  # it cannot be learnt


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the peer answered for one item. is_proof False: it is to be verified later."""

    reply: str
    remote_id: str | None = None
    is_proof: bool = True


class Outlet(ABC):
    """What one kind of things to one peer has of its own."""

    name: str
    is_idempotent: bool = False  # the same again does no harm
    batch_max: int = 1
    verify_after_s: float = 60.0  # a write that follows its answer is looked for after so long
    patience_s: float = 600.0  # and taken to have failed after so long
    gather_period_s: float = 0.0  # between two looks at what is new, where a look is long
    keep_days: int | None = None  # what was delivered is forgotten after so long; None: never

    looked_at: datetime | None = None

    @abstractmethod
    async def gather(self, connection: AsyncConnection, now: datetime) -> Sequence[NewItem]:
        """What is new; once a source."""

    @abstractmethod
    async def send(self, items: Sequence[Item]) -> list[Receipt]:
        """One request for all; a receipt for each. Raises: Refused, Away, Lost."""

    async def verify(self, item: Item) -> Found:
        """What became of an item whose end is unknown. Raises: Away, Lost."""
        return Found.UNKNOWN

    async def unfit(
        self, connection: AsyncConnection, items: Sequence[Item], now: datetime
    ) -> dict[int, str]:
        """Those that are not to be sent any more, by id, with the reason: they are dropped."""
        return {}

    def flaw(self, item: Item, now: datetime) -> str | None:
        """Why the peer would refuse it, as far as we know its rules: a dead letter at once."""
        return None

    def is_alone(self, item: Item) -> bool:
        """Whether it goes in a request of its own."""
        return False

    def gap_s(self, items: Sequence[Item]) -> float:
        """Between two requests of this outlet, of all workers."""
        return 0.0


def moment_now() -> datetime:
    """The time, for whoever does not bring another clock."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Done:
    """What a run did, over all outlets."""

    made: int = 0
    sent: int = 0
    dead: int = 0
    dropped: int = 0
    failures: int = 0


async def run(pool: AsyncConnectionPool, settings: Settings, outlets: Sequence[Outlet]) -> None:
    """Deliver what is due until cancelled; what fails is told and tried again."""
    while True:
        try:
            await deliver(pool, settings, outlets)
        except (psycopg.Error, OSError, TimeoutError) as error:
            db.raise_if_cancelled()
            log.warning("outlets could not be served: %s", str(error).strip())
        await asyncio.sleep(settings.outlet_poll_s)


async def deliver(
    pool: AsyncConnectionPool,
    settings: Settings,
    outlets: Sequence[Outlet],
    moment: Moment = moment_now,
    sleep: Sleep = asyncio.sleep,
    progress: Callable[[], None] = lambda: None,
) -> Done:
    """Find what is new and send what is due, of every outlet, until nothing is due. `progress` is
    called whenever an item came to its end."""
    lanes = [_Lane(pool, settings, outlet, moment, sleep, progress) for outlet in outlets]
    # None is cut off by the failure of another: what it is sending would be in doubt.
    outcomes = await asyncio.gather(*(lane.drain() for lane in lanes), return_exceptions=True)
    await measure(pool, moment())
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return _sum([outcome for outcome in outcomes if isinstance(outcome, Done)])


async def preview(
    pool: AsyncConnectionPool, settings: Settings, outlets: Sequence[Outlet], now: datetime
) -> list[State]:
    """How the outlets would stand before sending, with all that is new; nothing is kept."""
    async with pool.connection() as connection, connection.transaction(force_rollback=True):
        for outlet in outlets:
            await gather(connection, settings, outlet, now)
        return await store.list_states(connection)


async def gather(
    connection: AsyncConnection, settings: Settings, outlet: Outlet, now: datetime
) -> int:
    """Make the items of what is new, one worker at a time; how many. In the caller's
    transaction."""
    await store.add_outlet(connection, outlet.name)
    await store.lock_outlet(connection, outlet.name)
    give_up_at = now + timedelta(seconds=settings.outlet_give_up_s)
    return await store.insert_items(
        connection, outlet.name, await outlet.gather(connection, now), now, give_up_at
    )


async def measure(pool: AsyncConnectionPool, now: datetime) -> None:
    """Show how every outlet fares."""
    async with pool.connection() as connection:
        for state in await store.list_states(connection):
            oldest = state.oldest_at
            lag_s = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
            metrics.OUTLET_BACKLOG.labels(state.name).set(state.waiting)
            metrics.OUTLET_LAG.labels(state.name).set(lag_s)
            metrics.OUTLET_DEAD.labels(state.name).set(state.dead)
            metrics.OUTLET_UP.labels(state.name).set(0 if state.failures else 1)


def _sum(parts: Sequence[Done]) -> Done:
    total = Done()
    for part in parts:
        total.made += part.made
        total.sent += part.sent
        total.dead += part.dead
        total.dropped += part.dropped
        total.failures += part.failures
    return total


class _Stop(Exception):
    """The peer is away: nothing more is asked of it in this run."""


class _Lane:
    """One worker at one outlet."""

    def __init__(
        self,
        pool: AsyncConnectionPool,
        settings: Settings,
        outlet: Outlet,
        moment: Moment,
        sleep: Sleep,
        progress: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._outlet = outlet
        self._moment = moment
        self._sleep = sleep
        self._progress = progress
        self._lease = uuid4()
        self._done = Done()

    async def drain(self) -> Done:
        """Find what is new, and send until nothing is due."""
        now = self._moment()
        if self._is_look_due(now):
            async with db.transaction(self._pool) as connection:
                self._done.made = await gather(connection, self._settings, self._outlet, now)
            self._outlet.looked_at = now
        async with db.transaction(self._pool) as connection:
            overdue = await store.give_up_overdue(connection, self._outlet.name, now)
        if overdue:
            self._count("dead", overdue)
            log.warning("%s: %d items were given up: not delivered in time", self._name, overdue)
        if self._outlet.keep_days is not None:
            before = now - timedelta(days=self._outlet.keep_days)
            async with db.transaction(self._pool) as connection:
                await store.drop_old(connection, self._name, before, DROP_BATCH)
        try:
            while await whole(self._step(), self._settings.drain_timeout_s):
                pass
        except _Stop:
            pass
        return self._done

    def _is_look_due(self, now: datetime) -> bool:
        last = self._outlet.looked_at
        period = timedelta(seconds=self._outlet.gather_period_s)
        return last is None or not last <= now < last + period

    @property
    def _name(self) -> str:
        return self._outlet.name

    async def _step(self) -> bool:
        """Send one batch; False when nothing is due. Raises: _Stop."""
        items = await self._claim()
        if not items:
            return False
        held = {item.id: item for item in items}
        try:
            await self._handle(held)
        finally:
            # What was claimed and not come to is given back at once, as doubtful as it is by now.
            for item in list(held.values()):
                await self._back(item, self._moment(), is_doubtful=True)
        return True

    async def _claim(self) -> list[Item]:
        now = self._moment()
        async with db.transaction(self._pool) as connection:
            failures, next_at = await store.lock_outlet(connection, self._name)
            if next_at is not None and next_at > now:
                return []
            limit = 1 if failures >= SUSPECT_FAILURES else self._outlet.batch_max
            return await store.claim(
                connection, self._name, self._lease, now=now, until=self._until(now), limit=limit
            )

    def _until(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._settings.outlet_lease_s)

    async def _handle(self, held: dict[int, Item]) -> None:
        """Bring the items to their ends; each leaves `held` then. Raises: _Stop."""
        for item in list(held.values()):
            if item.doubtful_since is not None and not self._outlet.is_idempotent:
                await self._verify(held, item)
        async with self._pool.connection() as connection:
            unfit = await self._outlet.unfit(connection, list(held.values()), self._moment())
        for item_id, reason in unfit.items():
            await self._finish(held, held[item_id], "dropped", reason=reason)
        for item in list(held.values()):
            flaw = self._outlet.flaw(item, self._moment())
            if flaw is not None:
                await self._finish(held, item, "dead", reason=f"not sent: {flaw}")
        together = []
        for item in list(held.values()):
            if self._outlet.is_alone(item):
                await self._send(held, [item])
            else:
                together.append(item)
        if together:
            await self._send(held, together)

    async def _verify(self, held: dict[int, Item], item: Item) -> None:
        """Learn what became of a doubtful item; it stays in `held` if it is to be sent."""
        assert item.doubtful_since is not None
        try:
            found = await self._outlet.verify(item)
        except (Away, Lost) as error:
            await self._back(item, self._later(item), is_doubtful=True, held=held)
            await self._pause(error)
        if found is not Found.UNKNOWN:
            await self._answered()
        if found is Found.THERE:
            await self._finish(held, item, "sent", reply="found at the peer")
        elif found is Found.UNKNOWN:
            await self._finish(held, item, "dead", reason=IN_DOUBT, is_doubtful=True)
        elif self._moment() < item.doubtful_since + timedelta(seconds=self._outlet.patience_s):
            later = self._moment() + timedelta(seconds=self._outlet.verify_after_s)
            await self._back(item, later, is_doubtful=True, held=held)

    async def _send(self, held: dict[int, Item], items: Sequence[Item]) -> None:
        """Send them in one request; halved where it is refused. Raises: _Stop."""
        items = await self._begin(held, items)
        if not items:
            return
        try:
            receipts = await self._outlet.send(items)
        except Refused as error:
            await self._answered()
            await self._refused(held, items, str(error)[:REPLY_LENGTH_MAX])
            return
        except Away as error:
            for item in items:
                await self._back(
                    item, self._later(item), is_doubtful=False, held=held, reply=str(error)
                )
            await self._pause(error)
        except Lost as error:
            await self._lost(held, items, error)
            await self._pause(error)
        assert len(receipts) == len(items)
        await self._answered(self._moment())
        for item, receipt in zip(items, receipts, strict=True):
            await self._received(held, item, receipt)

    async def _begin(self, held: dict[int, Item], items: Sequence[Item]) -> list[Item]:
        """Wait for their place, then put on record that they are about to be sent. Those that are
        still ours."""
        gap_s = self._outlet.gap_s(items)
        if gap_s > 0:
            async with db.transaction(self._pool) as connection:
                at = await store.take_place(connection, self._name, self._moment(), gap_s)
            await self._sleep(max(0.0, (at - self._moment()).total_seconds()))
        now = self._moment()
        async with db.transaction(self._pool) as connection:
            ours = await store.begin(
                connection, [item.id for item in items], self._lease, now, self._until(now)
            )
        for item in items:
            if item.id not in ours:
                held.pop(item.id, None)
        return [item for item in items if item.id in ours]

    async def _refused(self, held: dict[int, Item], items: Sequence[Item], reply: str) -> None:
        if len(items) == 1:
            await self._finish(held, items[0], "dead", reason="refused by the peer", reply=reply)
            return
        ids = [item.id for item in items]
        await self._record(lambda connection: store.refused_together(connection, ids, self._lease))
        half = len(items) // 2
        await self._send(held, items[:half])
        await self._send(held, items[half:])

    async def _lost(self, held: dict[int, Item], items: Sequence[Item], error: Lost) -> None:
        names: list[str | None] = list(error.remote_ids)
        if len(names) != len(items):
            names = [None] * len(items)
        for item, name in zip(items, names, strict=True):
            later = max(
                self._later(item),
                self._moment() + timedelta(seconds=self._outlet.verify_after_s),
            )
            await self._back(
                item, later, is_doubtful=True, held=held, reply=str(error), remote_id=name
            )

    async def _received(self, held: dict[int, Item], item: Item, receipt: Receipt) -> None:
        if receipt.is_proof:
            await self._finish(held, item, "sent", reply=receipt.reply, remote_id=receipt.remote_id)
            return
        later = self._moment() + timedelta(seconds=self._outlet.verify_after_s)
        await self._back(
            item,
            later,
            is_doubtful=True,
            held=held,
            reply=receipt.reply,
            remote_id=receipt.remote_id,
        )

    # What came of it. These are tried until the database has taken them: what went must not go
    # again because the database was away in that moment.

    async def _answered(self, delivered_at: datetime | None = None) -> None:
        """The peer is there."""
        await self._record(
            lambda connection: store.note_answer(connection, self._name, delivered_at)
        )

    def _later(self, item: Item) -> datetime:
        attempts = item.attempts + 1
        wait_s = back_off_s(
            self._settings.outlet_back_off_s,
            self._settings.outlet_back_off_longest_s,
            attempts,
            luck(f"{self._name}/{item.id}", attempts),
        )
        return self._moment() + timedelta(seconds=wait_s)

    async def _pause(self, error: Away | Lost) -> NoReturn:
        """Let the outlet rest. Raises: _Stop, always."""
        self._count("failed")
        self._done.failures += 1
        now = self._moment()
        asked_s = error.retry_after_s if isinstance(error, Away) else None
        told = str(error)[:REPLY_LENGTH_MAX]
        log.warning("%s: the peer is away: %s", self._name, told[:200])

        async def note(connection: AsyncConnection) -> None:
            failures, _ = await store.lock_outlet(connection, self._name)
            wait_s = back_off_s(
                self._settings.outlet_back_off_s,
                self._settings.outlet_pause_longest_s,
                failures + 1,
                luck(self._name, failures + 1),
            )
            if asked_s is not None:
                wait_s = max(wait_s, min(asked_s, self._settings.outlet_back_off_longest_s))
            next_at = now + timedelta(seconds=wait_s)
            await store.note_failure(connection, self._name, now, next_at, told)

        await self._record(note)
        raise _Stop

    async def _finish(
        self,
        held: dict[int, Item],
        item: Item,
        status: str,
        *,
        reason: str | None = None,
        reply: str | None = None,
        remote_id: str | None = None,
        is_doubtful: bool = False,
    ) -> None:
        self._count(status)
        if status == "dead":
            log.warning("%s: item %d is a dead letter: %s", self._name, item.id, reason)
        await self._record(
            lambda connection: store.finish(
                connection,
                item.id,
                self._lease,
                status=status,
                now=self._moment(),
                reason=reason,
                reply=_cut(reply),
                remote_id=remote_id,
                is_doubtful=is_doubtful,
            )
        )
        held.pop(item.id, None)
        self._progress()

    async def _back(
        self,
        item: Item,
        next_at: datetime,
        *,
        is_doubtful: bool,
        held: dict[int, Item] | None = None,
        reply: str | None = None,
        remote_id: str | None = None,
    ) -> None:
        await self._record(
            lambda connection: store.put_back(
                connection,
                item.id,
                self._lease,
                next_at=next_at,
                is_doubtful=is_doubtful,
                reply=_cut(reply),
                remote_id=remote_id,
            )
        )
        if held is not None:
            held.pop(item.id, None)

    def _count(self, outcome: str, number: int = 1) -> None:
        metrics.OUTLET_OUTCOMES.labels(self._name, outcome).inc(number)
        if outcome in ("sent", "dead", "dropped"):
            setattr(self._done, outcome, getattr(self._done, outcome) + number)

    async def _record(self, statement: Callable[[AsyncConnection], Awaitable[object]]) -> None:
        while True:
            try:
                async with db.transaction(self._pool) as connection:
                    await statement(connection)
                    return
            except (psycopg.OperationalError, OSError) as error:
                db.raise_if_cancelled()
                log.warning("what came of an item waits for the database: %s", error)
                await asyncio.sleep(self._settings.database_retry_s)


def _cut(reply: str | None) -> str | None:
    """A peer's answer as it is kept: printable, and not endless."""
    if reply is None:
        return None
    return "".join(c if c.isprintable() else " " for c in reply[:REPLY_LENGTH_MAX])
