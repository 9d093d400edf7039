"""Stations that charge all the time, and remember what the central system acknowledged.

Half of them speak 1.6, half 2.0.1; some write every message twice, half send an unanswered message
again under a new id. Their clocks are true and their sessions last seconds, at a power that makes
some hundred watt-hours of each.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from simulators.driver import Driver, DriverConfig, running
from simulators.faults import Faults
from simulators.model import OCPP16, OCPP201, Message, Session, StationConfig
from simulators.station import Station

POWER_W = 150_000
SAMPLES_MAX = 15  # per session
PAUSE_MIN_S, PAUSE_MAX_S = 0.01, 0.11  # between two things that a station does


@dataclass(frozen=True)
class Acknowledged:
    """A transaction message whose answer has arrived."""

    station_id: str
    action: str
    message_id: str
    session: Session
    stated_at: datetime | None  # of its meter reading; None: it has none
    at_s: float  # monotonic


class Load:
    """The stations, and the ledger of all that was acknowledged to them."""

    def __init__(self, url: str, stations: int, seed: int, *, call_timeout_s: float = 5.0) -> None:
        self.chance = random.Random(seed)
        self.ledger: list[Acknowledged] = []
        self.drivers = [self._driver(url, number, call_timeout_s) for number in range(stations)]
        self._ending = asyncio.Event()
        self._acknowledged = asyncio.Event()

    def _driver(self, url: str, number: int, call_timeout_s: float) -> Driver:
        config = StationConfig(
            identity=f"CHAOS-{number + 1:03d}",
            protocol=(OCPP16, OCPP201)[number % 2],
            power_w=POWER_W,
            phases=3,
            register_wh=self.chance.randrange(10_000_000),
            all_values=number % 3 == 0,
            faults=Faults(duplicate_every=5 if number // 2 % 3 == 0 else 0),
        )
        driver = Driver(
            Station(config, datetime.now(UTC)),
            DriverConfig(
                url=url,
                call_timeout_s=call_timeout_s,
                backoff_min_s=0.05,
                backoff_max_s=0.5,
                resend_same_id=number // 2 % 2 == 0,
                plain=number % 8 > 1,
            ),
        )
        driver.on_answer = lambda message: self._note(driver, message)
        return driver

    @property
    def station_ids(self) -> list[str]:
        return [driver.station.config.identity for driver in self.drivers]

    @property
    def sessions(self) -> list[Session]:
        """All sessions, by the stations' own count."""
        return [session for driver in self.drivers for session in driver.station.sessions]

    @asynccontextmanager
    async def charging(self) -> AsyncIterator[None]:
        """Let the stations charge within the block; `finish` belongs at its end."""
        async with running(*self.drivers), asyncio.TaskGroup() as tasks:
            for number, driver in enumerate(self.drivers):
                tasks.create_task(
                    self._charge(driver, random.Random(f"{self.chance.random()}{number}"))
                )
            try:
                yield
            finally:
                self._ending.set()

    async def more(self, number: int, timeout_s: float = 60.0) -> None:
        """Wait for so many more acknowledgements. Raises: TimeoutError."""
        wanted = len(self.ledger) + number
        async with asyncio.timeout(timeout_s):
            while len(self.ledger) < wanted:
                self._acknowledged.clear()
                await self._acknowledged.wait()

    async def finish(self, timeout_s: float = 60.0) -> None:
        """End all sessions and wait until everything is acknowledged. Raises: TimeoutError."""
        self._ending.set()
        async with asyncio.timeout(timeout_s):
            for driver in self.drivers:
                await driver.until(
                    lambda station=driver.station: (  # type: ignore[misc]
                        station.evses[1].session is None
                        and station.accepted
                        and not station.unanswered
                    )
                )

    async def _charge(self, driver: Driver, chance: random.Random) -> None:
        """Session after session, until the end."""
        station = driver.station
        badge = f"{station.config.identity}-BADGE"
        while not self._ending.is_set():
            station.plug_in(1, driver.clock())
            station.start(1, badge, driver.clock())
            for _ in range(chance.randint(1, SAMPLES_MAX)):
                await self._pause(chance)
                if self._ending.is_set():
                    break
                if station.durable_unanswered < 100:  # a station's memory has an end too
                    station.sample(1, driver.clock())
            await self._pause(chance)
            station.unplug(1, driver.clock())
            await self._pause(chance)

    async def _pause(self, chance: random.Random) -> None:
        """What a station does between two messages, which never bear the same millisecond."""
        await asyncio.sleep(PAUSE_MIN_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0, PAUSE_MAX_S)):
                await self._ending.wait()

    def _note(self, driver: Driver, message: Message) -> None:
        if message.session is None:
            return
        assert message.message_id is not None
        readings = message.payload.get("meterValue")
        self.ledger.append(
            Acknowledged(
                driver.station.config.identity,
                message.action,
                message.message_id,
                message.session,
                datetime.fromisoformat(readings[0]["timestamp"]) if readings else None,
                time.monotonic(),
            )
        )
        self._acknowledged.set()


class Flood:
    """A station that writes readings without waiting for answers, for as long as the socket takes
    them. `sent` and `answered` are message ids."""

    def __init__(self, url: str, identity: str) -> None:
        self.url = url
        self.identity = identity
        self.sent: list[str] = []
        self.answered: list[tuple[str, float]] = []  # and when, monotonic
        self.errors: list[Any] = []
        self._beginning = asyncio.Event()
        self._ending = asyncio.Event()
        self._answer = asyncio.Event()
        self._began = datetime.now(UTC) - timedelta(hours=1)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Hold the connection within the block; `begin` and `end` say when it writes."""
        async with (
            connect(
                f"{self.url}/{self.identity}",
                subprotocols=["ocpp1.6"],  # type: ignore[list-item]
                compression=None,
                ping_interval=None,
                close_timeout=1,
                proxy=None,
            ) as socket,
            asyncio.TaskGroup() as tasks,
        ):
            reading = tasks.create_task(self._read(socket))
            pouring = tasks.create_task(self._pour(socket))
            try:
                yield
                self.end()
                await pouring
            finally:
                reading.cancel()
                pouring.cancel()

    def begin(self) -> None:
        """Write as much as the socket takes."""
        self._beginning.set()

    def end(self) -> None:
        """Write no more; what is on its way stays so."""
        self._ending.set()
        self._beginning.set()

    async def drained(self, timeout_s: float) -> None:
        """Wait until every frame is answered. Raises: TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while len(self.answered) < len(self.sent):
                self._answer.clear()
                await self._answer.wait()

    async def _pour(self, socket: ClientConnection) -> None:
        await self._beginning.wait()
        while not self._ending.is_set():
            message_id = f"{self.identity}-{len(self.sent)}"
            self.sent.append(message_id)
            await socket.send(self._frame(message_id, len(self.sent)))

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            kind, message_id, *rest = json.loads(text)
            self.answered.append((message_id, time.monotonic()))
            if kind != 3:
                self.errors.append(rest)
            self._answer.set()

    def _frame(self, message_id: str, number: int) -> str:
        """Some kilobytes of MeterValues."""
        at = (self._began + timedelta(milliseconds=number)).isoformat()
        values = [
            {"value": f"{230 + number % 10}.{at}", "measurand": "Voltage", "unit": "V"}
            for at in range(60)
        ]
        payload = {"connectorId": 2, "meterValue": [{"timestamp": at, "sampledValue": values}]}
        return json.dumps([2, message_id, "MeterValues", payload])


def energy_wh(sessions: Sequence[Session]) -> int:
    """Of all finished sessions."""
    return sum(session.energy_wh or 0 for session in sessions)
