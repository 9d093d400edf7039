"""A charge point without input or output: what it is, does, counts and wants to say.

Methods are what happens to a station (`plug_in`, `start`, `sample`, `stop`, `reboot`, ...) at a
moment `now` that the caller gives: an aware datetime, the true time, whatever the station's own
clock says. They append messages to two queues. Transaction messages stay, in order, through cuts
and reboots until they are answered; all others are forgotten when the connection goes. A driver
asks `next_message`, sends it as `wire` writes it, and hands the answer to `answered` or `refused`.

States are the words of 1.6 (Available, Preparing, Charging, SuspendedEV, Finishing, Reserved,
Unavailable, Faulted). Energy is integrated exactly and counted in whole Wh, and `sessions` is the
station's own count of what flowed: the truth a test compares with the central system's database.
"""

import uuid
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from simulators import messages16, messages201
from simulators.faults import stamp, told_register
from simulators.model import OCPP201, Evse, Message, Session, StationConfig, default_settings
from simulators.samples import Sample, samples

# Why an end is told, by its reason.
_TRIGGERS = {
    "DeAuthorized": "Deauthorized",
    "EVDisconnected": "EVDeparted",
    "ImmediateReset": "ResetCommand",
    "Other": "AbnormalCondition",
    "PowerLoss": "AbnormalCondition",
    "Remote": "RemoteStop",
}


class Station:
    """The charge point. `notify` is called whenever there is something new to send."""

    def __init__(
        self,
        config: StationConfig,
        now: datetime,
        *,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        notify: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self.faults = config.faults
        self.notify = notify
        self.new_id = new_id
        self.evses = {
            number: Evse(number, config.register_wh, config.power_w)
            for number in range(1, config.evses + 1)
        }
        self.sessions: list[Session] = []
        self.booted_at = now
        self.accepted = False  # the central system's answer to the last boot
        self.online = False
        self.booting = True  # a boot is due before anything else
        self.boot_reason = "PowerUp"
        self.interval_s = 300
        self.dropped: list[Message] = []
        self.settings: dict[str, str] = default_settings(config)
        self.local_list: dict[str, str] = {}  # badge -> status
        self.local_list_version = 0
        self._durable: deque[Message] = deque()
        self._volatile: deque[Message] = deque()
        self._durable_count = 0

    # ---- what happens to it

    def plug_in(self, evse_id: int, now: datetime) -> None:
        """A car is plugged in."""
        evse = self.evses[evse_id]
        evse.count(now)
        evse.plugged = True
        if evse.state in ("Available", "Reserved"):
            self._set_state(evse, "Preparing", now)

    def authorize(self, badge: str) -> None:
        """A badge is shown."""
        self._say((messages201 if self.is_201 else messages16).authorize(badge))

    def start(
        self, evse_id: int, badge: str, now: datetime, *, remote_start_id: int | None = None
    ) -> Session | None:
        """Charging begins. None: this EVSE is in use, out of order or not there."""
        evse = self.evses.get(evse_id)
        if evse is None or evse.session is not None or evse.inoperative:
            return None
        evse.count(now)
        evse.plugged = True
        transaction_id = self.new_id() if self.is_201 else ""
        session = Session(
            self.config.identity, evse_id, badge, transaction_id, now, evse.register_wh
        )
        session.remote_start_id = remote_start_id
        evse.session = session
        self.sessions.append(session)
        self._set_state(evse, "Charging", now)
        trigger = "Authorized" if remote_start_id is None else "RemoteStart"
        self._tell_start(evse, session, now, trigger)
        return session

    def sample(self, evse_id: int, now: datetime, *, context: str = "Sample.Periodic") -> None:
        """The EVSE tells its meter values."""
        evse = self.evses[evse_id]
        evse.count(now)
        trigger = "Trigger" if context == "Trigger" else "MeterValuePeriodic"
        self._tell_sample(evse, now, context, trigger)

    def sample_all(self, now: datetime) -> None:
        """Every EVSE with a session tells its meter values."""
        for evse in self.evses.values():
            if evse.session is not None:
                self.sample(evse.evse_id, now)

    def suspend(self, evse_id: int, now: datetime, *, resume: bool = False) -> None:
        """The car stops drawing current, or draws again."""
        evse = self.evses[evse_id]
        evse.count(now)
        if evse.session is not None:
            self._set_state(evse, "Charging" if resume else "SuspendedEV", now)
            if self.is_201:
                self._tell_sample(evse, now, "Other", "ChargingStateChanged")

    def set_power(self, evse_id: int, power_w: int, now: datetime) -> None:
        """From `now` on the car draws `power_w`."""
        evse = self.evses[evse_id]
        evse.count(now)
        evse.power_w = power_w

    def stop(
        self, evse_id: int, now: datetime, *, reason: str = "Local", badge: str | None = None
    ) -> Session | None:
        """Charging ends; reasons are the words of 2.0.1. None: nothing was going on."""
        evse = self.evses[evse_id]
        evse.count(now)
        session = evse.session
        if session is None:
            return None
        session.ended_at = now
        session.meter_stop_wh = evse.register_wh
        session.stop_reason = reason
        if self.faults.lose_stops:
            session.end_lost = True
        else:
            self._tell_end(evse, session, now, badge)
        evse.session = None
        self._set_state(evse, "Finishing" if evse.plugged else "Available", now)
        return session

    def unplug(self, evse_id: int, now: datetime) -> None:
        """The car leaves; what still charges ends."""
        evse = self.evses[evse_id]
        evse.plugged = False
        if evse.session is not None:
            self.stop(evse_id, now, reason="EVDisconnected")
        self._set_state(evse, "Unavailable" if evse.inoperative else "Available", now)

    def fault(self, evse_id: int, now: datetime, error_code: str = "InternalError") -> None:
        """The EVSE breaks down, which ends its charging; "NoError" repairs it."""
        evse = self.evses[evse_id]
        if evse.session is not None and error_code != "NoError":
            self.stop(evse_id, now, reason="Other")
        evse.error_code = error_code
        healthy = "Preparing" if evse.plugged else "Available"
        self._set_state(evse, healthy if error_code == "NoError" else "Faulted", now)

    def set_available(self, evse_id: int, available: bool, now: datetime) -> bool:
        """Take an EVSE (0: all) out of or into service. False: a session goes on, done after it."""
        chosen = list(self.evses.values()) if evse_id == 0 else [self.evses[evse_id]]
        for evse in chosen:
            evse.inoperative = not available
            if evse.session is None:
                in_service = "Preparing" if evse.plugged else "Available"
                self._set_state(evse, in_service if available else "Unavailable", now)
        return available or all(evse.session is None for evse in chosen)

    def disturb_meter(self, evse_id: int, error_wh: int) -> None:
        """From now on the meter tells `error_wh` more (or less) than what flowed."""
        self.evses[evse_id].register_error_wh += error_wh

    def reset_meter(self, evse_id: int) -> None:
        """The meter tells 0 now and counts on from there; the true count goes on."""
        evse = self.evses[evse_id]
        evse.register_error_wh = -evse.register_wh

    def reboot(self, now: datetime, *, keep_sessions: bool = True, reason: str = "PowerUp") -> None:
        """Off and on again. Sessions go on after it, or end with it (reason PowerLoss or Reboot).

        What was not sent and concerns no transaction is forgotten; the queue of transaction
        messages is in permanent memory.
        """
        for evse in self.evses.values():
            evse.count(now)
            if evse.session is not None and not keep_sessions:
                ended_by = "PowerLoss" if reason == "PowerUp" else "ImmediateReset"
                self.stop(evse.evse_id, now, reason=ended_by)
        self._volatile.clear()
        self.booted_at = now
        self.boot_reason = reason
        self.booting = True
        self.accepted = False
        self.notify()

    def connected(self) -> None:
        """The websocket is open."""
        self.online = True
        if self.booting:
            self._queue_boot()
        self.notify()

    def disconnected(self) -> None:
        """The websocket is gone; what was under way is unanswered."""
        self.online = False
        self._volatile.clear()

    def heartbeat(self) -> None:
        self._say(("Heartbeat", {}))

    def tell_status(self, now: datetime, evse_id: int | None = None) -> None:
        """The state of one EVSE, 0 for the station, None for all."""
        if evse_id in (0, None) and not self.is_201:
            self._say(messages16.status(0, "Available", self.stamp(now), "NoError"))
        for evse in self.evses.values():
            if evse_id in (evse.evse_id, None):
                self._tell_state(evse, now)

    def tell_boot(self) -> None:
        """Boot again without having rebooted, as after TriggerMessage."""
        self._queue_boot()

    def remember(self, messages: Iterable[Message], sessions: Iterable[Session]) -> None:
        """Put what happened while nobody looked into the queue of transaction messages."""
        self.sessions += sessions
        for message in messages:
            self._put(message)

    # ---- what it wants to say

    @property
    def is_201(self) -> bool:
        return self.config.protocol == OCPP201

    @property
    def unanswered(self) -> int:
        """Messages that wait for their answer."""
        return len(self._durable) + len(self._volatile)

    @property
    def durable_unanswered(self) -> int:
        """Transaction messages that wait for their answer."""
        return len(self._durable)

    def next_message(self) -> Message | None:
        """What to send now, one at a time; None when there is nothing or it is not allowed.

        Boot comes first and alone until it is accepted.
        """
        if self._volatile and (self.accepted or self._volatile[0].action == "BootNotification"):
            return self._volatile[0]
        if self.accepted and self._durable:
            return self._durable[0]
        return None

    def wire(self, message: Message) -> dict[str, Any]:
        """The payload as it goes out now."""
        if "transactionId" not in message.payload:
            return message.payload
        number = -1
        if message.session is not None and message.session.transaction_id:
            number = int(message.session.transaction_id)
        if self.faults.transaction_id_minus_one:
            number = -1
        return {**message.payload, "transactionId": number}

    def answered(self, message: Message, response: dict[str, Any], now: datetime) -> None:
        """`response` came for `message`.

        Raises: KeyError, TypeError or ValueError when it lacks what the station needs; then
        nothing has changed.
        """
        session = message.session
        if message.action == "BootNotification":
            self._remove(message)
            self._boot_answered(response, now)
        if session is None:
            self._remove(message)
            return
        if message.starts and not self.is_201:
            session.transaction_id = str(int(response["transactionId"]))
        self._remove(message)
        session.told_wh = max(session.told_wh, message.energy_wh)
        if message.starts:
            session.start_answered = True
            info = response.get("idTokenInfo" if self.is_201 else "idTagInfo") or {}
            session.authorization = info.get("status")
        if message.ends:
            session.end_answered = True

    def refused(self, message: Message) -> None:
        """A CALLERROR came for `message`: asked again, or dropped after `attempts_max` of them."""
        message.refusals += 1
        message.message_id = None  # a refused id is not used again
        attempts_max = self.config.attempts_max if message.durable else 1
        if attempts_max is not None and message.refusals >= attempts_max:
            self._remove(message)
            self.dropped.append(message)

    def stamp(self, now: datetime) -> str:
        """`now` by the station's own clock, as it writes it."""
        return stamp(self.faults, now, self.booted_at)

    # ---- within

    def _queue_boot(self) -> None:
        config = self.config
        boot = messages201.boot if self.is_201 else messages16.boot
        # A serial number has 25 characters at most.
        wire = boot(
            config.vendor, config.model, config.identity[:25], config.firmware, self.boot_reason
        )
        self._volatile.appendleft(Message(*wire, durable=False))
        self.notify()

    def _boot_answered(self, response: dict[str, Any], now: datetime) -> None:
        self.interval_s = int(response.get("interval") or self.interval_s)
        self.accepted = response.get("status") == "Accepted"
        if self.accepted and self.booting:
            self.booting = False
            self.tell_status(now)

    def _say(self, wire: tuple[str, dict[str, Any]]) -> None:
        self._volatile.append(Message(*wire, durable=False))
        self.notify()

    def _put(self, message: Message) -> None:
        """Append a transaction message to the queue that outlives everything."""
        self._durable_count += 1
        every = self.faults.duplicate_every
        message.twice = bool(every) and self._durable_count % every == 0
        self._durable.append(message)
        self.notify()

    def _remove(self, message: Message) -> None:
        """Take an answered message out; a late answer finds it gone."""
        for queue in (self._volatile, self._durable):
            if message in queue:
                queue.remove(message)
                return

    def _set_state(self, evse: Evse, state: str, now: datetime) -> None:
        if evse.state != state:
            evse.state = state
            if self.online:
                self._tell_state(evse, now)

    def _tell_state(self, evse: Evse, now: datetime) -> None:
        status = messages201.status if self.is_201 else messages16.status
        self._say(status(evse.evse_id, evse.state, self.stamp(now), evse.error_code))

    def _register(self, evse: Evse) -> float:
        """What the meter tells."""
        start_wh = None if evse.session is None else evse.session.meter_start_wh
        if self.faults.register_per_session:
            return told_register(self.faults, evse.register_wh, start_wh)
        return told_register(self.faults, evse.register_wh + evse.register_error_wh, start_wh)

    def _values(self, evse: Evse) -> list[Sample]:
        power_w = evse.power_w if evse.state == "Charging" else 0
        config = self.config
        return samples(self._register(evse), power_w, phases=config.phases, full=config.all_values)

    def _event(
        self, evse: Evse, session: Session, now: datetime, trigger: str
    ) -> messages201.Event:
        """The next event of a 2.0.1 transaction; counts its seqNo on."""
        seq_no = session.seq_no
        session.events += 1
        every = self.faults.skip_seq_no_every
        skips = bool(every) and session.events % every == 0
        session.seq_no += 2 if skips else 1
        states = {"Charging": "Charging", "SuspendedEV": "SuspendedEV"}
        return messages201.Event(
            transaction_id=session.transaction_id,
            seq_no=seq_no,
            at=self.stamp(now),
            trigger=trigger,
            offline=not self.online,
            charging_state=states.get(evse.state, "EVConnected"),
            remote_start_id=session.remote_start_id if seq_no == 0 else None,
        )

    def _tell_start(self, evse: Evse, session: Session, now: datetime, trigger: str) -> None:
        at = self.stamp(now)
        if self.is_201:
            event = self._event(evse, session, now, trigger)
            reading = messages201.meter_value(
                at, self._values(evse)[:1], "Transaction.Begin", self.faults
            )
            wire = messages201.started(event, evse.evse_id, session.badge, reading)
        else:
            wire = messages16.started(evse.evse_id, session.badge, self._register(evse), at)
        self._put(Message(*wire, durable=True, session=session, starts=True))

    def _tell_sample(self, evse: Evse, now: datetime, context: str, trigger: str) -> None:
        session = evse.session
        at = self.stamp(now)
        values = self._values(evse)
        if not self.is_201:
            wire = messages16.sampled(
                evse.evse_id, at, values, context, self.faults, in_session=session is not None
            )
        else:
            reading = messages201.meter_value(at, values, context, self.faults)
            if session is None:
                wire = messages201.sampled(evse.evse_id, reading)
            else:
                wire = messages201.updated(self._event(evse, session, now, trigger), reading)
        if session is None:
            self._say(wire)
            return
        energy_wh = evse.register_wh - session.meter_start_wh
        self._put(Message(*wire, durable=True, session=session, energy_wh=energy_wh))

    def _tell_end(self, evse: Evse, session: Session, now: datetime, badge: str | None) -> None:
        at = self.stamp(now)
        reason = session.stop_reason or "Local"
        if self.is_201:
            event = self._event(evse, session, now, _TRIGGERS.get(reason, "StopAuthorized"))
            reading = messages201.meter_value(
                at, self._values(evse)[:1], "Transaction.End", self.faults
            )
            wire = messages201.ended(event, reason, badge, reading)
        else:
            wire = messages16.ended(self._register(evse), at, reason, badge, [])
        energy_wh = evse.register_wh - session.meter_start_wh
        self._put(Message(*wire, durable=True, session=session, energy_wh=energy_wh, ends=True))
