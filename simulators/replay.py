"""Charging records of the past, told by stations that were offline meanwhile.

Each station connects, boots, tells its present status, and then works off its queue: starts, meter
values at fixed intervals of each session, stops, all with the times at which they happened, in the
order of those times (2.0.1 with offline=true). As fast as the central system answers, many
stations at once. What the records say is the truth: `Replay` keeps it beside what was answered.

`script` is pure: records of one station to messages. How anomalies are told stands in
`simulators.sessions`. Transaction ids of 2.0.1 depend only on the record, so that the same replay
again is a retransmission.
"""

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from simulators import messages16, messages201
from simulators.driver import Driver, DriverConfig, utc_now
from simulators.faults import Faults, stamp
from simulators.model import OCPP16, OCPP201, Message, Session, StationConfig
from simulators.samples import samples
from simulators.sessions import ChargingRecord, by_connector
from simulators.station import Station

Progress = Callable[[int, int], None]  # messages answered, messages in all
_NAMESPACE = uuid.UUID("b5f0e9a0-6f3c-5c0e-9d52-0a9f8f0c7d11")
_NO_FAULTS = Faults()


@dataclass(frozen=True, kw_only=True)
class StationPlan:
    """One station that records need, for provisioning."""

    station_id: str
    site_id: str
    protocol: str
    evse_ids: tuple[int, ...]


@dataclass
class Told:
    """One record and what the station told of it."""

    record: ChargingRecord
    session: Session

    @property
    def acknowledged(self) -> bool:
        """Whether all of it was answered; without plug-out the last reading counts."""
        if self.record.ended_at is None:
            return self.session.start_answered and self.session.told_wh == self.record.energy_wh
        return self.session.acknowledged


@dataclass
class Replay:
    """What was replayed: the truth to compare the central system's sessions with."""

    told: list[Told]
    stations: int
    messages: int = 0
    answered: int = 0
    resent: int = 0
    refused: int = 0
    seconds: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)  # station -> why it did not finish

    @property
    def energy_wh(self) -> int:
        """By the records, answered or not."""
        return sum(told.record.energy_wh for told in self.told)

    @property
    def unacknowledged(self) -> int:
        return sum(not told.acknowledged for told in self.told)


def plan_stations(
    records: Sequence[ChargingRecord], protocol: str | None = None
) -> list[StationPlan]:
    """The stations of the records, by identity; `protocol` None: every other one speaks 2.0.1.

    Which speaks what depends on the identities that occur: plan all records of a file at once and
    hand the plan to `replay`, so that a selection does not change it.
    """
    evses: dict[tuple[str, str], set[int]] = defaultdict(set)
    for record in records:
        evses[record.station_id, record.site_id].add(record.evse_id)
    plans = []
    for number, ((station_id, site_id), evse_ids) in enumerate(sorted(evses.items())):
        spoken = protocol or (OCPP16, OCPP201)[number % 2]
        plans.append(
            StationPlan(
                station_id=station_id,
                site_id=site_id,
                protocol=spoken,
                evse_ids=tuple(sorted(evse_ids)),
            )
        )
    return plans


def script(
    records: Sequence[ChargingRecord], protocol: str, interval_s: int
) -> tuple[list[Message], list[Told]]:
    """The transaction messages of one station's records, in the order of their times."""
    timed: list[tuple[datetime, int, int, Message]] = []
    all_told: list[Told] = []
    for group in by_connector(records):
        register_wh = 0
        for index, record in enumerate(group):
            following = group[index + 1].started_utc if index + 1 < len(group) else None
            session = _session(record, protocol, register_wh)
            told = Told(record, session)
            steps = _steps(told, protocol, interval_s, following)
            order = len(all_told)
            timed += [(at, order, step, message) for step, (at, message) in enumerate(steps)]
            all_told.append(told)
            register_wh += record.energy_wh
    timed.sort(key=lambda entry: entry[:3])
    return [message for *_, message in timed], all_told


def _session(record: ChargingRecord, protocol: str, register_wh: int) -> Session:
    key = f"{record.station_id}/{record.number}/{record.started_utc.isoformat()}"
    return Session(
        station_id=record.station_id,
        evse_id=record.evse_id,
        badge=record.badge,
        transaction_id=str(uuid.uuid5(_NAMESPACE, key)) if protocol == OCPP201 else "",
        started_at=record.started_utc,
        meter_start_wh=register_wh,
        ended_at=record.ended_utc,
        meter_stop_wh=None if record.ended_at is None else register_wh + record.energy_wh,
        stop_reason=None if record.ended_at is None else "EVDisconnected",
        end_lost=record.ended_at is None,
    )


def _steps(
    told: Told, protocol: str, interval_s: int, following: datetime | None
) -> list[tuple[datetime, Message]]:
    """Start, readings, end of one record. following: the connector's next start, None: none."""
    record, session = told.record, told.session
    teller = _Teller201(session) if protocol == OCPP201 else _Teller16(session)
    charging_s = record.charging_s
    if record.ended_utc is None and following is not None:
        charging_s = min(charging_s, (following - session.started_at).total_seconds())
    if record.ended_utc is None:
        stay_s = charging_s
    else:
        stay_s = (record.ended_utc - session.started_at).total_seconds()
    mean_w = record.energy_wh * 3600 / charging_s if charging_s else 0.0
    steps = [(session.started_at, Message(*teller.start(), durable=True, session=session))]
    steps[0][1].starts = True

    def reading(after_s: float, energy_wh: int) -> None:
        at = session.started_at + timedelta(seconds=after_s)
        power_w = mean_w if after_s < charging_s else 0.0
        wire = teller.reading(at, session.meter_start_wh + energy_wh, power_w)
        steps.append((at, Message(*wire, durable=True, session=session, energy_wh=energy_wh)))

    after_s = interval_s
    while after_s < stay_s:
        share = min(1.0, after_s / charging_s) if charging_s else 1.0  # a file knows minutes
        reading(after_s, int(record.energy_wh * share))
        after_s += interval_s
    if record.ended_utc is None:
        reading(stay_s, record.energy_wh)
    else:
        end = Message(*teller.end(), durable=True, session=session, energy_wh=record.energy_wh)
        end.ends = True
        steps.append((record.ended_utc, end))
    return steps


class _Teller16:
    """The messages of one session in 1.6."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def start(self) -> messages16.Wire:
        session = self._session
        return messages16.started(
            session.evse_id, session.badge, session.meter_start_wh, _stamp(session.started_at)
        )

    def reading(self, at: datetime, register_wh: int, power_w: float) -> messages16.Wire:
        return messages16.sampled(
            self._session.evse_id,
            _stamp(at),
            samples(register_wh, power_w, phases=1, full=False),
            "Sample.Periodic",
            _NO_FAULTS,
            in_session=True,
        )

    def end(self) -> messages16.Wire:
        session = self._session
        assert session.ended_at is not None and session.meter_stop_wh is not None
        return messages16.ended(
            session.meter_stop_wh, _stamp(session.ended_at), "EVDisconnected", None, []
        )


class _Teller201:
    """The messages of one session in 2.0.1, seqNo rising with each."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def _event(self, at: datetime, trigger: str, state: str) -> messages201.Event:
        seq_no = self._session.seq_no
        self._session.seq_no += 1
        return messages201.Event(
            transaction_id=self._session.transaction_id,
            seq_no=seq_no,
            at=_stamp(at),
            trigger=trigger,
            offline=True,
            charging_state=state,
        )

    def _reading(self, at: datetime, register_wh: int, context: str) -> dict[str, Any]:
        values = samples(register_wh, 0, phases=1, full=False)[:1]
        return messages201.meter_value(_stamp(at), values, context, _NO_FAULTS)

    def start(self) -> messages201.Wire:
        session = self._session
        reading = self._reading(session.started_at, session.meter_start_wh, "Transaction.Begin")
        event = self._event(session.started_at, "Authorized", "Charging")
        return messages201.started(event, session.evse_id, session.badge, reading)

    def reading(self, at: datetime, register_wh: int, power_w: float) -> messages201.Wire:
        values = samples(register_wh, power_w, phases=1, full=False)
        state = "Charging" if power_w else "SuspendedEV"
        event = self._event(at, "MeterValuePeriodic", state)
        reading = messages201.meter_value(_stamp(at), values, "Sample.Periodic", _NO_FAULTS)
        return messages201.updated(event, reading)

    def end(self) -> messages201.Wire:
        session = self._session
        assert session.ended_at is not None and session.meter_stop_wh is not None
        reading = self._reading(session.ended_at, session.meter_stop_wh, "Transaction.End")
        event = self._event(session.ended_at, "EVDeparted", "Idle")
        return messages201.ended(event, "EVDisconnected", None, reading)


def _stamp(at: datetime) -> str:
    return stamp(_NO_FAULTS, at, at)


async def replay(
    records: Sequence[ChargingRecord],
    plans: Sequence[StationPlan],
    config: DriverConfig,
    *,
    interval_s: int = 3600,
    connections_max: int = 100,
    station_timeout_s: float = 600.0,
    passwords: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> Replay:
    """Tell the records to the central system.

    passwords: by station, over `config.password`. A station that is not done within its time is
    named in `failures`; the others go on.
    """
    by_station: dict[str, list[ChargingRecord]] = defaultdict(list)
    for record in records:
        by_station[record.station_id].append(record)
    chosen = [plan for plan in plans if plan.station_id in by_station]
    result = Replay(told=[], stations=len(chosen))
    gate = asyncio.Semaphore(connections_max)
    drivers = []
    for plan in chosen:
        messages, told = script(by_station[plan.station_id], plan.protocol, interval_s)
        result.told += told
        result.messages += len(messages)
        drivers.append(_driver(plan, messages, told, config, passwords or {}))

    def count(message: Message) -> None:
        if message.durable:
            result.answered += 1
            if progress is not None:
                progress(result.answered, result.messages)

    async def one(driver: Driver) -> None:
        async with gate:
            driver.on_answer = count
            await _run_to_end(driver, station_timeout_s, result)

    # A station says one thing at a time: the one with most to say determines the end.
    drivers.sort(key=lambda driver: -driver.station.durable_unanswered)
    started = time.perf_counter()
    await asyncio.gather(*(one(driver) for driver in drivers))
    result.seconds = time.perf_counter() - started
    return result


def _driver(
    plan: StationPlan,
    messages: list[Message],
    told: list[Told],
    config: DriverConfig,
    passwords: dict[str, str],
) -> Driver:
    station = Station(
        StationConfig(
            identity=plan.station_id,
            protocol=plan.protocol,
            evses=max(plan.evse_ids),
            model="Replay",
        ),
        utc_now(),
    )
    station.remember(messages, [each.session for each in told])
    password = passwords.get(plan.station_id, config.password)
    return Driver(station, config.with_password(password))


async def _run_to_end(driver: Driver, timeout_s: float, result: Replay) -> None:
    """Run one driver until its queue is answered, or its time is over."""
    task = asyncio.ensure_future(driver.run())
    waiting = asyncio.ensure_future(driver.settled(timeout_s))
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    station = driver.station
    failure = waiting.exception() if waiting.done() else task.exception()
    if failure is not None or not waiting.done():
        last = driver.errors[-1] if driver.errors else "no answer in time"
        reason = last if isinstance(failure, TimeoutError) or failure is None else str(failure)
        result.failures[station.config.identity] = reason
    waiting.cancel()
    await driver.close()
    task.cancel()
    await asyncio.gather(task, waiting, return_exceptions=True)
    result.resent += driver.resent
    result.refused += len(station.dropped)
