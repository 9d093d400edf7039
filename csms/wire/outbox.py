"""Orders from the queue to the stations of this node, and the answers back.

One task claims and writes, for all links, on one connection: a claim takes the next order of every
station that is ready, and is committed before anything is written to a socket. Each call then
waits for its answer in a task of its own; what came of it is written before the station's next
order is claimed. So orders of a station keep their order, never two are under way, and none is
sent twice.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import psycopg
from psycopg import AsyncConnection

from csms import db, metrics
from csms.commands import REPORTED
from csms.config import Settings
from csms.domain.order_secrets import masked_answer
from csms.domain.values import UTC
from csms.recorder import Recorder
from csms.store import commands as store
from csms.store.columns import safe
from csms.store.commands import Claimed
from csms.wire import effects, frames, orders, variables
from csms.wire.link import CallError, CallTimeout, Link

log = logging.getLogger(__name__)

CLAIMS_MAX: Final = 500  # stations per claim
DUE_GRACE_S: Final = 30.0  # for writing what came of a call, on top of its time-out
LATE_MAX: Final = 1_000  # answers after their time that wait to be written
_RETRY_S: Final = 1.0


class Outcome(NamedTuple):
    """What came of an order, to be written; JSON texts."""

    link: Link
    order: Claimed
    status: str
    response: Mapping[str, Any] | None
    error: str | None
    refused: bool  # by CALLERROR: the station has not done it


class Late(NamedTuple):
    """An answer that no call waits for any more."""

    link: Link
    frame: frames.Frame


class Outbox:
    """Sends the orders of the stations that this node holds. `run` must be running."""

    def __init__(
        self, database: db.Database, settings: Settings, recorder: Recorder, links: dict[str, Link]
    ) -> None:
        self._database = database
        self._settings = settings
        self._recorder = recorder
        self._links = links  # the gateway's own: the newest of each station
        self._ready: dict[int, Link] = {}  # may have an order waiting, by station_key
        self._busy: set[Link] = set()  # an order is under way
        self._outcomes: deque[Outcome] = deque()
        self._late: deque[Late] = deque(maxlen=LATE_MAX)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._stopping = False

    # --- What may go out ------------------------------------------------------------------------

    def wake(self, station_id: str) -> None:
        """An order may wait for the station; nothing happens when it is not here, or not ready."""
        link = self._links.get(station_id)
        if link is not None:
            self.offer(link)

    def offer(self, link: Link) -> None:
        """The link may be ready for an order: it connected, booted, or has answered the last."""
        if self._stopping or link in self._busy or not self._may_be_told(link):
            return
        self._ready[link.station.key] = link
        self._wake.set()

    def _may_be_told(self, link: Link) -> bool:
        if not link.registered or link.protocol is None or link.boot_answer == "rejected":
            return False
        if link.station.boot_status == "rejected":
            return False
        if link.booted:
            return True
        patience_over = link.age_s() >= self._settings.boot_patience_s
        return patience_over and self._settings.orders_without_boot == "send"

    def take_late(self, link: Link, frame: frames.Frame) -> None:
        """An answer without a call: perhaps that of an order given up."""
        self._late.append(Late(link, frame))
        self._wake.set()

    # --- Running --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send and write until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._poll())
            async with db.Line(self._database, f"time2plug outbox {self._settings.node}") as line:
                while True:
                    db.raise_if_cancelled()
                    await self._wake.wait()
                    self._wake.clear()
                    try:
                        await self._work(await line.get(), tasks)
                    except (psycopg.Error, OSError, TimeoutError) as error:
                        db.raise_if_cancelled()
                        log.warning("orders cannot be read or written: %s", str(error).strip())
                        await line.drop()
                        await asyncio.sleep(_RETRY_S)
                        self._wake.set()

    async def drain(self, timeout_s: float) -> None:
        """Send nothing more, and wait for the answers to what was sent."""
        self._stopping = True
        self._ready.clear()
        try:
            async with asyncio.timeout(timeout_s):
                while self._busy or self._outcomes:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            log.warning("%d orders have no answer yet, and end without one", len(self._busy))

    async def _poll(self) -> None:
        """Look for orders whose wake-up was lost, or whose station had to be given patience."""
        async with db.Line(self._database) as line:
            while True:
                await asyncio.sleep(self._settings.command_poll_s)
                try:
                    found = await store.fetch_waiting_stations(
                        await line.get(), self._settings.node
                    )
                except (psycopg.Error, OSError):
                    db.raise_if_cancelled()
                    await line.drop()
                    continue
                for station_id in found:
                    self.wake(station_id)

    async def _work(self, connection: AsyncConnection, tasks: asyncio.TaskGroup) -> None:
        while self._outcomes:
            await self._write(connection, self._outcomes[0])
            outcome = self._outcomes.popleft()
            self._busy.discard(outcome.link)
            self.offer(outcome.link)
        while self._late:
            await self._write_late(connection, self._late[0])
            self._late.popleft()
        if not self._busy:
            self._idle.set()
        while self._ready:
            await self._claim(connection, tasks)

    async def _claim(self, connection: AsyncConnection, tasks: asyncio.TaskGroup) -> None:
        asked = dict(list(self._ready.items())[:CLAIMS_MAX])
        now = datetime.now(UTC)
        wait_s = self._settings.call_timeout_s + DUE_GRACE_S
        claimed = await store.claim_commands(
            connection,
            [_claim_row(link) for link in asked.values()],
            node=self._settings.node,
            now=now,
            due_at=now + timedelta(seconds=wait_s),
        )
        for key, link in asked.items():
            if self._ready.get(key) is link:
                del self._ready[key]
        for order in claimed:
            link = asked[order.station_key]
            self._busy.add(link)
            try:
                parts = await self._prepare(connection, order, now)
            except effects.NotNow as reason:
                error = orders.error_json("NotSent", str(reason))
                self._outcomes.append(Outcome(link, order, "failed", None, error, refused=False))
                self._wake.set()
            except Exception:  # it was claimed: nobody else will send it
                db.raise_if_cancelled()
                log.exception("order %d to %s was not sent", order.id, link.station.id)
                error = orders.error_json("NotSent", "The server failed before it was sent.")
                self._outcomes.append(Outcome(link, order, "failed", None, error, refused=False))
                self._wake.set()
            else:
                tasks.create_task(self._send(link, order, parts))

    async def _prepare(
        self, connection: AsyncConnection, order: Claimed, now: datetime
    ) -> list[str]:
        """What comes before an order is sent; its payload in the portions the station takes."""
        await effects.prepare(connection, order, now)
        parts = await variables.portions(connection, order)
        if len(parts) > 1:
            longest_s = self._settings.call_timeout_s * len(parts) + DUE_GRACE_S
            await store.postpone_due(connection, order.id, now + timedelta(seconds=longest_s))
        return parts

    # --- One order ------------------------------------------------------------------------------

    async def _send(self, link: Link, order: Claimed, parts: list[str]) -> None:
        status, error, refused = "failed", None, False
        answers: list[Mapping[str, Any]] = []
        try:
            if order.protocol != link.protocol:
                error = orders.error_json(
                    "OtherProtocol",
                    f"The order is one of {order.protocol}, the station now speaks "
                    f"{link.protocol}.",
                )
            else:
                link.calls_for(order.action, order.payload)
                for number, part in enumerate(parts):
                    answers.append(await self._ask(link, order, number, part))
                status = orders.status_of(variables.together(order.action, answers))
        except CallError as refusal:
            refused = True
            error = orders.error_json(refusal.code, refusal.description, refusal.details)
        except CallTimeout as silence:
            error = orders.error_json("NoAnswer", str(silence))
        except frames.AnswerError as fault:
            error = orders.error_json("BadAnswer", str(fault))
            self._note_departure(link, order, str(fault))
        except Exception:  # one station's answer must not end the orders of all
            log.exception("the answer of %s to order %d was not read", link.station.id, order.id)
            status, error = "failed", orders.error_json("BadAnswer", "It could not be read.")
        metrics.ORDERS.labels(status).inc()
        response = variables.together(order.action, answers) if answers else None
        self._outcomes.append(Outcome(link, order, status, response, error, refused))
        self._wake.set()

    async def _ask(self, link: Link, order: Claimed, number: int, part: str) -> Mapping[str, Any]:
        """Ask for one part of an order; most have one."""
        message_id = f"{order.message_id}-{number}" if number else order.message_id
        answer = await link.call(order.action, part, message_id, self._settings.call_timeout_s)
        fault = orders.fault_of_answer(order.protocol, order.action, answer)
        if fault is not None:
            self._note_departure(link, order, fault)
        return answer if isinstance(answer, dict) else {}

    def _note_departure(self, link: Link, order: Claimed, fault: str) -> None:
        """An answer is taken as far as it makes sense, and on record where it departs."""
        self._recorder.observations.count_deviation(
            link.station, "answer_departs", order.action, fault, datetime.now(UTC)
        )

    async def _write(self, connection: AsyncConnection, outcome: Outcome) -> None:
        now = datetime.now(UTC)
        order = outcome.order
        response = _json(outcome.response)
        reported = outcome.status == "accepted" and order.action in REPORTED
        due_s = self._settings.command_reports_timeout_s
        async with connection.transaction():
            in_time = await store.finish_command(
                connection,
                order.id,
                status=outcome.status,
                response=response,
                error=outcome.error,
                now=now,
                parts_due_at=now + timedelta(seconds=due_s) if reported else None,
            )
            if not in_time:  # given up by the worker while the database was away
                await store.finish_late(
                    connection,
                    order.station_key,
                    order.message_id,
                    response=response,
                    error=outcome.error,
                    now=now,
                )
            if outcome.response is not None or outcome.refused:
                await _apply(
                    connection,
                    outcome.link,
                    order.id,
                    order.action,
                    order.payload,
                    outcome.response,
                )

    async def _write_late(self, connection: AsyncConnection, late: Late) -> None:
        station, frame = late.link.station, late.frame
        response: Mapping[str, Any] | None = None
        error = None
        readable = True
        try:
            if frame.kind == frames.CALL_ERROR:
                error = orders.error_json(*frames.error_parts(frame.payload))
            else:
                answer = frames.answer_value(frame.payload)
                response = masked_answer(answer) if isinstance(answer, dict) else {}
        except frames.AnswerError as fault:
            error, readable = orders.error_json("BadAnswer", str(fault)), False
        async with connection.transaction():
            found = await store.finish_late(
                connection,
                station.key,
                safe(frame.message_id),
                response=_json(response),
                error=error,
                now=datetime.now(UTC),
            )
            if found is not None and readable:
                command_id, _, action, payload = found
                await _apply(connection, late.link, command_id, action, payload, response)


async def _apply(
    connection: AsyncConnection,
    link: Link,
    command_id: int,
    action: str,
    payload: str,
    response: Mapping[str, Any] | None,
) -> None:
    """What follows from an answer, in the transaction that writes it; a fault of ours there costs
    the effect, never the answer."""
    answered = effects.Answered(
        link.station.key,
        link.station.id,
        link.protocol or "",
        command_id,
        action,
        orders.plain_json(payload),
        response,
        datetime.now(UTC),
    )
    try:
        async with connection.transaction():
            await effects.apply(connection, answered)
    except (psycopg.OperationalError, OSError):
        raise
    except Exception:
        log.exception("what follows from %s of station %s was not done", action, link.station.id)


def _claim_row(link: Link) -> dict[str, Any]:
    on_hold = "pending" in (link.boot_answer, link.station.boot_status)
    return {
        "station_key": link.station.key,
        "generation": link.generation,
        "held": orders.held(link.protocol or "", on_hold=on_hold),
    }


def _json(response: Mapping[str, Any] | None) -> str | None:
    """An answer as it is kept; NUL, which no column holds, is replaced."""
    if response is None:
        return None
    return safe(msgspec.json.encode(response).decode())
