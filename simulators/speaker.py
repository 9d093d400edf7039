"""What a charge point says and is told: queue, boot, settings, what it learns of badges.

The lower half of `simulators.station.Station`, which adds EVSEs, cars and energy.
"""

import uuid
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from simulators import messages16, messages201, telling
from simulators.access import Access
from simulators.agenda import Agenda
from simulators.badges import Badges, Known
from simulators.certificates import CertificateStore
from simulators.faults import stamp
from simulators.model import OCPP201, Evse, Heard, Message, Session, StationConfig
from simulators.outbox import Outbox
from simulators.settings import Settings, settings16, settings201

HEARD_MAX = 1_000
Then = Callable[[dict[str, Any], datetime], None]


class Speaker:
    """`notify` is called whenever there is something new to send or to do."""

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
        self.firmware = config.firmware
        self.evses = {
            number: Evse(number, config.register_wh, config.power_w)
            for number in range(1, config.evses + 1)
        }
        self.sessions: list[Session] = []
        self.booted_at = now
        self.boot_status: str | None = None  # the central system's answer to the last boot
        self.online = False
        self.booting = True  # a boot is due before anything else
        self.boot_reason = "PowerUp"
        self.after_boot: list[tuple[str, dict[str, Any]]] = []  # said when the boot is accepted
        self.interval_s = 300
        self.leaving: str | None = None  # what the driver has to do: see Driver
        self.dropped: list[Message] = []
        self.heard: deque[Heard] = deque(maxlen=HEARD_MAX)  # orders, whatever became of them
        self.orders_heard = 0  # in all; `heard` keeps the last of them
        self.called_for = False  # what is said now, an order called for
        self.outbox = Outbox(config.faults.duplicate_every)
        self.agenda = Agenda()
        rows = settings16(config.evses)
        if self.is_201:
            rows = settings201(config.evses, config.power_w)
        self.settings = Settings(rows, is_201=self.is_201)
        self.access = Access(config.security_profile)
        self.knows_a_password = False  # it was delivered with one; the driver says so
        self.knows_a_root = False  # likewise, of a root certificate
        self.badges = Badges()
        self.certificates = CertificateStore()
        self.shown: dict[int, dict[str, Any]] = {}  # display messages by their id
        self.monitors: dict[int, dict[str, Any]] = {}  # variable monitors by their id
        self.published: dict[str, str] = {}  # firmware for others: checksum -> where
        self.transfers: dict[str, tuple[str, int | None]] = {}  # kind -> last status, request id

    def authorize(self, badge: str, then: Then | None = None) -> None:
        """A badge is shown; `then` is told the answer."""
        action, payload = (messages201 if self.is_201 else messages16).authorize(badge)
        self.say(action, payload, then)

    def hear(self, order: Heard) -> None:
        """An order has come in."""
        self.heard.append(order)
        self.orders_heard += 1
        self.notify()

    def leave(self, how: str) -> None:
        """Ask the driver to break the connection: see Driver for the words."""
        self.leaving = how
        self.notify()

    def connected(self) -> None:
        """The websocket is open."""
        self.online = True
        if self.booting:
            telling.tell_boot(self, self.boot_reason)
        self.notify()

    def disconnected(self) -> None:
        """The websocket is gone; what was under way is unanswered."""
        self.online = False
        self.outbox.forget()

    def heartbeat(self) -> None:
        self.say("Heartbeat", {})

    def tell_status(self, now: datetime, evse_id: int | None = None) -> None:
        """The state of one EVSE, 0 for the station, None for all."""
        if evse_id in (0, None) and not self.is_201:
            self.say(*messages16.status(0, "Available", self.stamp(now), "NoError"))
        for evse in self.evses.values():
            if evse_id in (evse.evse_id, None):
                telling.tell_state(self, evse, now)

    def tell_boot(self, reason: str | None = None) -> None:
        """Boot again without having rebooted, as after TriggerMessage."""
        telling.tell_boot(self, reason or self.boot_reason)

    def remember(self, messages: Iterable[Message], sessions: Iterable[Session]) -> None:
        """Put what happened while nobody looked into the queue of transaction messages."""
        self.sessions += sessions
        self.outbox.add_all(messages)
        self.notify()

    def say(self, action: str, payload: dict[str, Any], then: Then | None = None) -> None:
        """Queue any request that concerns no transaction; `then` is told the response."""
        message = Message(action, payload, durable=False, called_for=self.called_for, then=then)
        self.outbox.add(message)
        self.notify()

    def put(self, message: Message) -> None:
        """Queue a transaction message."""
        self.outbox.add(message)
        self.notify()

    @property
    def is_201(self) -> bool:
        return self.config.protocol == OCPP201

    @property
    def accepted(self) -> bool:
        """Whether the central system took the last boot."""
        return self.boot_status == "Accepted"

    @property
    def unanswered(self) -> int:
        """Messages that wait for their answer."""
        return self.outbox.unanswered

    @property
    def durable_unanswered(self) -> int:
        """Transaction messages that wait for their answer."""
        return self.outbox.durable_unanswered

    @property
    def local_list(self) -> dict[str, str]:
        """Badges of the local list, as written there, and their status."""
        listed = self.badges.listed
        return {listed.names[key]: known.status for key, known in listed.known.items()}

    def next_message(self) -> Message | None:
        """What to send now, one at a time; None when there is nothing or it is not allowed.

        Boot comes first and alone until it is accepted; on hold, what orders called for may go.
        """
        return self.outbox.next(accepted=self.accepted, on_hold=self.boot_status == "Pending")

    def wire(self, message: Message) -> dict[str, Any]:
        """The payload as it goes out now."""
        if self.is_201 or "transactionId" not in message.payload:
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
            self.outbox.remove(message)
            self._boot_answered(response, now)
        if message.starts and session is not None and not self.is_201:
            session.transaction_id = str(int(response["transactionId"]))
        self.outbox.remove(message)
        info = response.get("idTokenInfo" if self.is_201 else "idTagInfo") or {}
        if session is not None:
            session.told_wh = max(session.told_wh, message.energy_wh)
            if message.starts:
                session.start_answered = True
                session.authorization = info.get("status")
                self._learn(session.badge, info)
            if message.ends:
                session.end_answered = True
        elif message.action == "Authorize":
            told = message.payload
            self._learn(told["idToken"]["idToken"] if self.is_201 else told["idTag"], info)
        if message.then is not None:
            message.then(response, now)

    def refused(self, message: Message) -> None:
        """A CALLERROR came for `message`: asked again, or dropped after `attempts_max` of them."""
        message.refusals += 1
        message.message_id = None  # a refused id is not used again
        attempts_max = self.config.attempts_max if message.durable else 1
        if attempts_max is not None and message.refusals >= attempts_max:
            self.outbox.remove(message)
            self.dropped.append(message)

    def stamp(self, now: datetime) -> str:
        """`now` by the station's own clock, as it writes it."""
        return stamp(self.faults, now, self.booted_at)

    def _boot_answered(self, response: dict[str, Any], now: datetime) -> None:
        self.interval_s = int(response.get("interval") or self.interval_s)
        self.boot_status = response.get("status")
        if self.accepted:
            self.settings.put("heartbeat_s", str(self.interval_s))
        if self.accepted and self.booting:
            self.booting = False
            self.tell_status(now)
            for action, payload in self.after_boot:
                self.say(action, payload)
            self.after_boot.clear()

    def _learn(self, badge: str, info: dict[str, Any]) -> None:
        """Keep in the cache what the central system said of a badge."""
        if "status" not in info or not self.settings.flag("cache_enabled"):
            return
        group = info.get("groupIdToken", {}).get("idToken") if self.is_201 else None
        group = group or info.get("parentIdTag")
        self.badges.remember(badge, Known(info["status"], group))
