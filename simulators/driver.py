"""Drives a station over a websocket.

A driver connects (and reconnects, waiting longer each time), sends what the station wants to say,
one call at a time, sends transaction messages again until they are answered, and lets the station
answer the central system's calls. The station's time comes from `clock`, so a scenario can press
an evening into seconds. How it connects (password, TLS, certificate, address) is the station's own
business (`simulators.access`), which starts from what this driver was given.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from simulators.clients import CallRefused, Client, PackageClient, PlainClient
from simulators.connecting import DriverConfig, deliver, opening
from simulators.model import Message
from simulators.station import Station

__all__ = ["Driver", "DriverConfig", "running", "utc_now"]


def utc_now() -> datetime:
    return datetime.now(UTC)


TIMER_MAX_S = 1.0  # between looks at a clock that may be a virtual one


@dataclass(frozen=True)
class _Leave:
    """How a connection is broken. reboot: the reason, None: the station stays on."""

    waits: bool = True  # what is still to be said is said before
    aborts: bool = False  # without a word even to the operating system
    reboot: str | None = None
    keeps_sessions: bool = False


# The words of `Station.leaving`.
_LEAVES = {
    "reconnect": _Leave(),
    "soft": _Leave(reboot="RemoteReset"),
    "scheduled": _Leave(reboot="ScheduledReset"),
    "firmware": _Leave(reboot="FirmwareUpdate"),
    "hard": _Leave(waits=False, reboot="RemoteReset"),
    "crash": _Leave(waits=False, aborts=True, reboot="Watchdog", keeps_sessions=True),
}


class Driver:
    """One station on the wire. `run` until cancelled or `close`."""

    def __init__(
        self, station: Station, config: DriverConfig, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self.station = station
        self.config = config
        self.clock = clock
        self.connections = 0
        self.refused_handshakes = 0
        self.resent = 0
        self.errors: list[str] = []
        self.on_answer: Callable[[Message], None] = lambda message: None
        self._wake = asyncio.Event()
        self._timer = asyncio.Event()
        self._changed = asyncio.Condition()
        self._wanted = asyncio.Event()  # set: the link is wanted
        self._wanted.set()
        self._closing = False
        self._socket: ClientConnection | None = None
        self._numbers = 0
        self._run_id = f"{random.getrandbits(40):010x}"
        station.notify = self._woken
        deliver(station, config)

    async def run(self) -> None:
        """Connect and serve the station until `close`."""
        timer = asyncio.create_task(self._pass_time())
        try:
            await self._stay_connected()
        finally:
            await _cancel({timer})

    async def _stay_connected(self) -> None:
        failures = 0
        while not self._closing:
            await self._wanted.wait()
            if self._closing:
                return
            try:
                await self._serve()
                failures = 0
            except (OSError, InvalidHandshake, TimeoutError) as error:
                failures += 1
                self.station.access.failed()
                self.refused_handshakes += isinstance(error, InvalidHandshake)
                self._note(error)
            except ConnectionClosed:
                failures = 0
            await self._notify()
            if not self._closing and self._wanted.is_set():
                longest = min(self.config.backoff_max_s, self.config.backoff_min_s * 2**failures)
                await asyncio.sleep(random.uniform(longest / 2, longest))

    async def settled(self, timeout_s: float | None = None) -> None:
        """Wait until everything the station had to say is answered.

        Raises: TimeoutError.
        """
        await self.until(lambda: self.station.accepted and not self.station.unanswered, timeout_s)

    async def until(self, condition: Callable[[], bool], timeout_s: float | None = None) -> None:
        """Wait until `condition` holds, looked at after every answer and change of the link.

        Raises: TimeoutError.
        """
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(condition)

    def cut(self) -> None:
        """The network is gone, without a word, and stays away until `restore`."""
        self._wanted.clear()
        self.drop()

    @property
    def is_cut(self) -> bool:
        """Whether the network is away."""
        return not self._wanted.is_set()

    def drop(self) -> None:
        """The connection breaks; the driver is free to connect again at once."""
        if self._socket is not None:
            self._socket.transport.abort()

    def reboot(self, *, keep_sessions: bool = True, reason: str = "PowerUp") -> None:
        """The station goes off and on again, and the connection with it."""
        self.station.reboot(self.clock(), keep_sessions=keep_sessions, reason=reason)
        self.drop()

    def restore(self) -> None:
        """The network is back."""
        self._wanted.set()

    async def close(self) -> None:
        """End by the book. `run` returns soon after."""
        self._closing = True
        self._wanted.set()
        self._wake.set()
        if self._socket is not None:
            await self._socket.close()

    # ---- the link

    async def _serve(self) -> None:
        """One connection from its opening to its end.

        Raises: OSError, InvalidHandshake, TimeoutError while connecting; ConnectionClosed.
        """
        async with opening(self.station, self.config) as socket:
            self._socket = socket
            self.connections += 1
            self.station.access.succeeded()
            make = PlainClient if self.config.plain else PackageClient
            client = make(self.station, socket, self.config.call_timeout_s, self.clock)
            self.station.connected()
            await self._notify()
            tasks = {
                asyncio.create_task(client.listen()),
                asyncio.create_task(self._send_all(client)),
                asyncio.create_task(self._heartbeat()),
            }
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                self._socket = None
                self.station.disconnected()
                await _cancel(tasks)
                self._leave()

    # ---- what the station wants of its driver

    def _woken(self) -> None:
        """The station has something to say, or to do."""
        self._wake.set()
        self._timer.set()
        leave = _LEAVES.get(self.station.leaving or "")
        if leave is None:
            return
        if self._socket is None:
            self._leave()
        elif leave.aborts:
            self._socket.transport.abort()
        elif not leave.waits:
            self._socket.transport.close()  # what was written still goes out

    def _leave(self) -> None:
        """The connection is gone: reboot, if that is why."""
        leave = _LEAVES.get(self.station.leaving or "")
        self.station.leaving = None
        if leave is not None and leave.reboot is not None:
            self.station.reboot(
                self.clock(), keep_sessions=leave.keeps_sessions, reason=leave.reboot
            )

    async def _pass_time(self) -> None:
        """Let the station do what is due, connected or not."""
        while True:
            self._timer.clear()
            now = self.clock()
            due = self.station.next_due(now)
            if due is not None and due <= now:
                self.station.pass_time(now)
                await asyncio.sleep(0)
                continue
            wait_s = None if due is None else min((due - now).total_seconds(), TIMER_MAX_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._timer.wait()

    async def _heartbeat(self) -> None:
        """Say something at the interval that the central system asked for."""
        while True:
            await asyncio.sleep(max(1, self.station.interval_s))
            if not self.station.accepted and self.station.next_message() is None:
                self.station.tell_boot()  # on hold: ask again
            elif self.station.accepted and self.config.heartbeats:
                self.station.heartbeat()

    async def _send_all(self, client: Client) -> None:
        """Send what the station has to say, one call at a time.

        Until the connection ends, or the station leaves and has said all it can.
        """
        stuck = False
        while True:
            self._wake.clear()
            message = self.station.next_message()
            if self.station.leaving is not None and (message is None or stuck):
                return
            if message is None:
                await self._notify()
                await self._wake.wait()
                continue
            answered = await self._send(client, message)
            stuck = not answered and self.station.next_message() is message
            await self._notify()

    async def _send(self, client: Client, message: Message) -> bool:
        """One attempt at one message; whether it was answered. Otherwise it stays where it is."""
        station = self.station
        if message.attempts:
            self.resent += 1
        if message.message_id is None or not self.config.resend_same_id:
            self._numbers += 1
            message.message_id = f"{self._run_id}-{self._numbers}"
        message.attempts += 1
        payload = station.wire(message)
        if message.twice and message.attempts == 1:
            frame = [2, message.message_id, message.action, payload]
            assert self._socket is not None
            await self._socket.send(json.dumps(frame, separators=(",", ":")))
        validate = self.config.validate and not station.faults.break_schema
        try:
            response = await client.ask(
                message.message_id, message.action, payload, validate=validate
            )
        except TimeoutError as error:
            if not message.durable:
                station.refused(message)
            self._note(error)
            return False
        except CallRefused as error:
            station.refused(message)
            self._note(error)
            await asyncio.sleep(self.config.backoff_min_s)
            return False
        try:
            station.answered(message, response, self.clock())
        except (KeyError, TypeError, ValueError) as error:
            station.refused(message)
            self._note(error)
            return False
        self.on_answer(message)
        return True

    def _note(self, error: Exception) -> None:
        """Keep the last errors for those who look."""
        self.errors.append(f"{type(error).__name__}: {error}"[:300])
        del self.errors[:-20]

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel until it works: the `asyncio.wait_for` under the package may swallow it once."""
    while tasks:
        for task in tasks:
            task.cancel()
        done, tasks = await asyncio.wait(tasks, timeout=0.05)
        await asyncio.gather(*done, return_exceptions=True)


@contextlib.asynccontextmanager
async def running(*drivers: Driver) -> AsyncIterator[tuple[Driver, ...]]:
    """Run drivers for as long as the block lasts, then close them."""
    tasks = [asyncio.ensure_future(driver.run()) for driver in drivers]
    try:
        yield drivers
    finally:
        await asyncio.gather(*(driver.close() for driver in drivers))
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
