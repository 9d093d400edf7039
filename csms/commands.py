"""Orders to stations: placed, sent once, answered once, or given up.

    queued ----> sent ----> accepted | rejected     as the station's answer says
       |          |
       |          +-------> failed                  an error, or no answer; one that comes later
       |                                            is kept beside (`late_at`), the state stays
       +----> expired | cancelled

The table `command` is the queue. Whoever places an order commits it with everything else that he
does; the node that holds the station's newest connection claims it, commits that, and only then
writes it to the socket: at most once, whatever dies in between. Wake-ups (NOTIFY here, MQTT beside
it) only make that quick; each node also looks for itself every few seconds.

The words of the wire are checked by `csms.wire.orders`, which is the way in; here an order is an
action and a text.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import psycopg
from psycopg import AsyncConnection

from csms import db
from csms.config import Settings
from csms.store import commands as store
from csms.store.commands import Command

log = logging.getLogger(__name__)

#: answers in several messages follow these
REPORTED: Final = frozenset(
    {
        "CustomerInformation",
        "GetBaseReport",
        "GetChargingProfiles",
        "GetDiagnostics",
        "GetDisplayMessages",
        "GetLog",
        "GetMonitoringReport",
        "GetReport",
        "PublishFirmware",
        "SignedUpdateFirmware",
        "UpdateFirmware",
    }
)
OPEN: Final = frozenset({"queued", "sent"})
OPERATOR: Final = "operator"
_MOVED_GRACE: Final = timedelta(seconds=5)  # the old node may still write what it heard
_POLL_S: Final = 1.0

NO_ANSWER: Final = (
    '{"code":"NoAnswer","description":"The station gave no answer, or its connection ended first. '
    'Whether it did what was asked is not known.","details":{}}'
)


def command_row(
    station_key: int,
    protocol: str,
    action: str,
    payload: Mapping[str, Any],
    *,
    origin: str,
    now: datetime,
    expires_in_s: float,
    created_by: str | None = None,
) -> dict[str, Any]:
    """A valid order as `store.insert_commands` takes it."""
    request_id = payload.get("requestId")
    return {
        "station_key": station_key,
        "protocol": protocol,
        "action": action,
        "payload": msgspec.json.encode(payload).decode(),
        "origin": origin,
        "created_by": created_by,
        "created_at": now,
        "expires_at": now + timedelta(seconds=expires_in_s),
        "request_id": request_id if action in REPORTED and isinstance(request_id, int) else None,
    }


async def order_unasked(
    connection: AsyncConnection,
    settings: Settings,
    station_key: int,
    protocol: str,
    action: str,
    payload: Mapping[str, Any],
    *,
    why: str,
    now: datetime,
) -> int:
    """Place an order of our own, valid by its schema, in the caller's transaction; its id."""
    row = command_row(
        station_key,
        protocol,
        action,
        payload,
        origin=f"us:{why}",
        now=now,
        expires_in_s=settings.own_order_expires_in_s,
    )
    (command_id,) = await store.insert_commands(connection, [row])
    return command_id


class Watch:
    """Tells when orders are over. `run` must be running; without it, or while the database is
    away, waiting looks for itself every second."""

    def __init__(self, database: db.Database) -> None:
        self._database = database
        self._waiting: dict[int, set[asyncio.Event]] = {}

    async def run(self) -> None:
        """Follow the channel until cancelled."""
        while True:
            try:
                async with await db.connect(self._database) as connection:
                    await connection.execute("LISTEN t2p_command_done")
                    self._tell_all()  # what was missed while nobody listened
                    async for notice in connection.notifies():
                        self._tell(int(notice.payload))
            except (psycopg.Error, OSError) as error:
                db.raise_if_cancelled()
                log.warning("outcomes of orders are not followed: %s", str(error).strip())
            await asyncio.sleep(_POLL_S)

    @contextmanager
    def waiting(self, command_id: int) -> Iterator[asyncio.Event]:
        """An event that is set when the order may be over."""
        event = asyncio.Event()
        self._waiting.setdefault(command_id, set()).add(event)
        try:
            yield event
        finally:
            events = self._waiting[command_id]
            events.discard(event)
            if not events:
                del self._waiting[command_id]

    def _tell(self, command_id: int) -> None:
        for event in self._waiting.get(command_id, ()):
            event.set()

    def _tell_all(self) -> None:
        for command_id in list(self._waiting):
            self._tell(command_id)


async def wait_for(
    watch: Watch | None,
    command_id: int,
    fetch: Callable[[], Awaitable[Command | None]],
    timeout_s: float,
) -> Command:
    """The order, placed and committed, when it is over, or as it is after the wait."""
    clock = asyncio.get_running_loop().time
    deadline_s = clock() + timeout_s
    with watch.waiting(command_id) if watch else nullcontext(asyncio.Event()) as event:
        while True:
            event.clear()
            command = await fetch()
            assert command is not None, "orders are never deleted"
            left_s = deadline_s - clock()
            if command.status not in OPEN or left_s <= 0:
                return command
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, _POLL_S)):
                    await event.wait()


async def give_up(connection: AsyncConnection, settings: Settings, now: datetime) -> int:
    """End what nobody will answer any more: a job of the worker; how many orders it ended."""
    async with connection.transaction():
        expired = await store.expire_commands(connection, now)
        failed = await store.fail_abandoned(connection, now, now - _MOVED_GRACE, NO_ANSWER)
    await store.note_overdue_parts(connection, now)
    return expired + failed
