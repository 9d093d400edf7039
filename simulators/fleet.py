"""Scenarios: what many stations do together, and what they counted themselves.

Each scenario is a coroutine `(options, progress) -> Report`; the report's sessions are the truth to
compare a central system's database with.

A scenario is a row of ticks. Pressed (the default), a tick is a quarter of an hour of a virtual
clock that runs over some hours up to the present: an evening takes seconds, and to the central
system the stations' clocks seem slow, for they are online and tell times of hours ago. In real time
(`tick_s`), a tick is that many seconds, and energies are a few Wh. Wrong clocks always run in real
time: where the time of receipt is what counts, pressed time would make all powers implausible.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ssl import SSLContext

from simulators import load
from simulators.driver import Driver, DriverConfig, running, utc_now
from simulators.faults import Faults
from simulators.model import OCPP16, OCPP201, Session, StationConfig
from simulators.obedience import Obedience
from simulators.station import Station

Progress = Callable[[int, int], None]  # steps done, steps in all
TICK_MIN = 15
BADGES_PER_STATION = 2


@dataclass(frozen=True, kw_only=True)
class FleetOptions:
    """Who takes part. protocol None: every other station speaks 2.0.1.

    password: HTTP basic; `{id}` in it stands for the station's identity.
    """

    url: str
    stations: int = 20
    protocol: str | None = None
    prefix: str = "SIM-"
    password: str | None = None
    ssl: SSLContext | None = None
    seed: int = 1
    timeout_s: float = 120.0
    call_timeout_s: float = 30.0
    tick_s: float | None = None  # None: pressed time
    obedience: Obedience = field(default_factory=Obedience)


@dataclass
class Report:
    """What happened, by the stations' own count."""

    scenario: str
    stations: int
    sessions: list[Session] = field(default_factory=list)
    connections: int = 0
    refused_handshakes: int = 0
    resent: int = 0
    dropped: int = 0
    unanswered: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    storm: load.LoadResult | None = None  # of a boot storm

    @property
    def acknowledged(self) -> int:
        """Sessions that the central system has answered for from start to end."""
        return sum(session.acknowledged for session in self.sessions)

    @property
    def energy_wh(self) -> int:
        """Of all finished sessions."""
        return sum(session.energy_wh or 0 for session in self.sessions)


class ScenarioClock:
    """The true time, or one that `pass_tick` moves."""

    def __init__(self, hours: float, tick_s: float | None) -> None:
        self._tick_s = tick_s
        self._pressed = None if tick_s is not None else utc_now() - timedelta(hours=hours)

    def __call__(self) -> datetime:
        return self._pressed or utc_now()

    async def pass_tick(self) -> datetime:
        """Let one tick pass; returns the time after it."""
        if self._pressed is not None:
            self._pressed += timedelta(minutes=TICK_MIN)
        else:
            await asyncio.sleep(self._tick_s or 0)
        return self()

    def soon(self) -> datetime:
        """A moment from now, well before the next tick."""
        wait_s = 30 if self._pressed is not None else (self._tick_s or 0) / 10
        return self() + timedelta(seconds=wait_s)


class Fleet:
    """The stations of one scenario on one virtual clock."""

    def __init__(
        self,
        options: FleetOptions,
        hours: float,
        faults: Callable[[int], Faults] = lambda number: Faults(),
        *,
        resend_same_id: Callable[[int], bool] = lambda number: True,
    ) -> None:
        self.options = options
        self.chance = random.Random(options.seed)
        self.clock = ScenarioClock(hours, options.tick_s)
        self.ticks = round(hours * 60 / TICK_MIN)
        self.drivers = [
            self._driver(number, faults(number), resend_same_id(number))
            for number in range(options.stations)
        ]

    def _driver(self, number: int, faults: Faults, resend_same_id: bool) -> Driver:
        options = self.options
        identity = f"{options.prefix}{number + 1:04d}"
        config = StationConfig(
            identity=identity,
            protocol=options.protocol or (OCPP16, OCPP201)[number % 2],
            power_w=self.chance.choice((3_680, 7_360, 11_040, 22_080)),
            phases=3,
            register_wh=self.chance.randrange(10_000_000),
            all_values=True,
            faults=faults,
            obedience=options.obedience,
        )
        password = options.password
        return Driver(
            Station(config, self.clock()),
            DriverConfig(
                url=options.url,
                password=None if password is None else password.replace("{id}", identity),
                ssl=options.ssl,
                call_timeout_s=options.call_timeout_s,
                backoff_min_s=0.05,
                backoff_max_s=2.0,
                resend_same_id=resend_same_id,
            ),
            self.clock,
        )

    @property
    def stations(self) -> list[Station]:
        return [driver.station for driver in self.drivers]

    def badge(self, station: Station) -> str:
        """One of the badges that charge at this station and nowhere else."""
        return f"{station.config.identity}-{self.chance.randint(1, BADGES_PER_STATION)}"

    def start_all(self) -> None:
        """Every station begins to charge."""
        for station in self.stations:
            station.plug_in(1, self.clock())
            station.start(1, self.badge(station), self.clock())

    def stop_all(self) -> None:
        """What still charges ends, and the cars leave."""
        for station in self.stations:
            station.unplug(1, self.clock())

    async def settle(self) -> None:
        """Wait until all that were not cut off have been answered. Raises: TimeoutError."""
        await asyncio.gather(
            *(d.settled(self.options.timeout_s) for d in self.drivers if not d.is_cut)
        )

    async def tick(self) -> None:
        """Let a tick pass: sessions tell their values, answers are awaited."""
        now = await self.clock.pass_tick()
        for station in self.stations:
            station.sample_all(now)
        await self.settle()

    def report(self, scenario: str, seconds: float) -> Report:
        """The count so far."""
        return Report(
            scenario=scenario,
            stations=len(self.drivers),
            sessions=[session for station in self.stations for session in station.sessions],
            connections=sum(driver.connections for driver in self.drivers),
            refused_handshakes=sum(driver.refused_handshakes for driver in self.drivers),
            resent=sum(driver.resent for driver in self.drivers),
            dropped=sum(len(station.dropped) for station in self.stations),
            unanswered=sum(station.unanswered for station in self.stations),
            seconds=seconds,
            errors=[error for driver in self.drivers for error in driver.errors][:20],
        )


async def _play(
    name: str, fleet: Fleet, act: Callable[[], Awaitable[None]], *, finish: bool = True
) -> Report:
    """Connect the fleet, let it act, end what still charges, count. Raises: TimeoutError."""
    started = time.perf_counter()
    async with running(*fleet.drivers):
        await fleet.settle()
        await act()
        for driver in fleet.drivers:
            driver.restore()
        if finish:
            fleet.stop_all()
        await fleet.settle()
        return fleet.report(name, time.perf_counter() - started)


async def evening_peak(options: FleetOptions, progress: Progress | None = None) -> Report:
    """Everybody comes home: arrivals around 18:00 of an eight-hour evening, stays of 1 to 6 hours.

    Cars are full after a while and draw nothing then.
    """
    fleet = Fleet(options, hours=8)
    arrivals = {s: max(0, min(28, round(fleet.chance.gauss(8, 4)))) for s in fleet.stations}
    departures = {s: arrivals[s] + fleet.chance.randint(4, 24) for s in fleet.stations}
    full = {s: arrivals[s] + fleet.chance.randint(2, 20) for s in fleet.stations}

    async def act() -> None:
        for tick in range(fleet.ticks):
            now = fleet.clock()
            for station in fleet.stations:
                if tick == arrivals[station]:
                    station.plug_in(1, now)
                    badge = fleet.badge(station)
                    station.authorize(badge)
                    station.start(1, badge, now)
                if tick == full[station] and tick < departures[station]:
                    station.suspend(1, now)
                if tick == departures[station]:
                    station.unplug(1, now)
            await fleet.tick()
            _tell(progress, tick + 1, fleet.ticks)

    return await _play("evening_peak", fleet, act)


async def cut_network(options: FleetOptions, progress: Progress | None = None) -> Report:
    """In mid-session the network goes for half of the stations, for two hours.

    Of those, one half ends the session and begins another one meanwhile.
    """
    fleet = Fleet(options, hours=5)

    async def act() -> None:
        fleet.start_all()
        for tick in range(fleet.ticks):
            if tick == 4:
                for driver in fleet.drivers[::2]:
                    driver.cut()
                    await driver.until(lambda d=driver: not d.station.online, 30)  # type: ignore[misc]
            if tick == 8:
                for station in fleet.stations[::4]:
                    station.unplug(1, fleet.clock())
                    station.start(1, fleet.badge(station), fleet.clock.soon())
            if tick == 12:
                for driver in fleet.drivers[::2]:
                    driver.restore()
            await fleet.tick()
            _tell(progress, tick + 1, fleet.ticks)

    return await _play("cut_network", fleet, act)


async def reboot_mid_session(options: FleetOptions, progress: Progress | None = None) -> Report:
    """Every station reboots while it charges; every other one loses its session by that."""
    fleet = Fleet(options, hours=3)

    async def act() -> None:
        fleet.start_all()
        for tick in range(fleet.ticks):
            if tick == 4:
                connections = [driver.connections for driver in fleet.drivers]
                for number, driver in enumerate(fleet.drivers):
                    driver.reboot(keep_sessions=number % 2 == 0)
                for driver, before in zip(fleet.drivers, connections, strict=True):
                    await driver.until(
                        lambda d=driver, b=before: d.connections > b,  # type: ignore[misc]
                        options.timeout_s,
                    )
            await fleet.tick()
            _tell(progress, tick + 1, fleet.ticks)

    return await _play("reboot_mid_session", fleet, act)


async def wrong_clock(options: FleetOptions, progress: Progress | None = None) -> Report:
    """Clocks some hours ahead or behind, in 1970, without a zone, with six digits, in turn.

    In real time, ticks of half a second unless the options say otherwise.
    """
    if options.tick_s is None:
        options = replace(options, tick_s=0.5)
    kinds = (
        Faults(clock_offset_s=3 * 3600),
        Faults(clock_offset_s=-5 * 3600),
        Faults(clock_from_1970=True),
        Faults(clock_without_zone=True),
        Faults(fraction_digits=6),
        Faults(fraction_digits=0),
    )
    fleet = Fleet(options, hours=2, faults=lambda number: kinds[number % len(kinds)])

    async def act() -> None:
        fleet.start_all()
        for tick in range(fleet.ticks):
            await fleet.tick()
            _tell(progress, tick + 1, fleet.ticks)

    return await _play("wrong_clock", fleet, act)


async def retransmissions(options: FleetOptions, progress: Progress | None = None) -> Report:
    """Answers get lost with their connections, and messages are written twice.

    Half of the stations send again under the same message id, half under a new one.
    """
    fleet = Fleet(
        options,
        hours=4,
        faults=lambda number: Faults(duplicate_every=2 + number % 3),
        resend_same_id=lambda number: number // 2 % 2 == 0,
    )

    async def act() -> None:
        fleet.start_all()
        for tick in range(fleet.ticks):
            now = await fleet.clock.pass_tick()
            for station in fleet.stations:
                station.sample_all(now)
                if fleet.chance.random() < 0.2:
                    station.unplug(1, now)
                    station.start(1, fleet.badge(station), fleet.clock.soon())
            for driver in fleet.chance.sample(fleet.drivers, (len(fleet.drivers) + 2) // 3):
                await asyncio.sleep(0)  # some messages are on their way now, unanswered
                driver.drop()
            await fleet.settle()
            _tell(progress, tick + 1, fleet.ticks)

    return await _play("retransmissions", fleet, act)


async def boot_storm(options: FleetOptions, progress: Progress | None = None) -> Report:
    """All stations connect and boot at once, by the light client of the load generator."""
    load.raise_file_limit()
    plan = load.LoadPlan(
        url=options.url,
        stations=options.stations,
        action="BootNotification",
        protocol=options.protocol or OCPP16,
        prefix=options.prefix,
        password=options.password,
        ssl=options.ssl,
        setup_timeout_s=options.timeout_s,
    )
    result = await load.run(plan)
    _tell(progress, 1, 1)
    return Report(
        scenario="boot_storm",
        stations=options.stations,
        connections=result.connected,
        refused_handshakes=result.refused,
        unanswered=options.stations - result.booted,
        seconds=result.setup_s,
        errors=[f"{count} x {reason}" for reason, count in result.reasons.items()],
        storm=result,
    )


SCENARIOS: dict[str, Callable[[FleetOptions, Progress | None], Awaitable[Report]]] = {
    "evening-peak": evening_peak,
    "cut-network": cut_network,
    "reboot-mid-session": reboot_mid_session,
    "wrong-clock": wrong_clock,
    "retransmissions": retransmissions,
    "boot-storm": boot_storm,
}


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
