"""What a station can tell us, in our words, free of any protocol version.

`StopTransaction` of OCPP 1.6 and `TransactionEvent(Ended)` of 2.0.1 both become `Ended`. Times are
what the station stated (None: nothing readable); registers are in Wh.
"""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import NamedTuple

from csms.domain.access import SHUT, Access, Rule, access
from csms.domain.limits import LimitStep, PlannedPeriod
from csms.domain.metering import Reading
from csms.domain.values import uid_key


class Started(NamedTuple):
    """A session began. `transaction_id` is None where the central system gives it (1.6)."""

    evse_id: int | None
    connector_id: int | None
    transaction_id: str | None
    token_uid: str | None
    token_type: str | None
    stated_at: datetime | None
    register_wh: float | None
    readings: tuple[Reading, ...] = ()
    seq_no: int | None = None
    offline: bool = False
    charging_state: str | None = None
    remote_start_id: int | None = None
    reservation_id: int | None = None
    stated_register: str = ""  # the register as written, part of what makes a start the same


class Updated(NamedTuple):
    """A running session told something. `trigger` is why."""

    transaction_id: str
    stated_at: datetime | None
    readings: tuple[Reading, ...] = ()
    seq_no: int | None = None
    offline: bool = False
    charging_state: str | None = None
    evse_id: int | None = None
    connector_id: int | None = None
    token_uid: str | None = None
    token_type: str | None = None
    trigger: str | None = None


class Ended(NamedTuple):
    """A session ended. `register_wh` is None where the station gave no final register."""

    transaction_id: str
    stated_at: datetime | None
    register_wh: float | None
    readings: tuple[Reading, ...] = ()
    reason: str | None = None
    seq_no: int | None = None
    offline: bool = False
    evse_id: int | None = None
    connector_id: int | None = None
    token_uid: str | None = None
    token_type: str | None = None


class Metered(NamedTuple):
    """Meter values on their own. `transaction_id` is None where the station named none."""

    evse_id: int
    connector_id: int | None
    transaction_id: str | None
    readings: tuple[Reading, ...]


class StatusChanged(NamedTuple):
    """A connector (or with evse_id 0 the station) has a status; words of csms.domain.station."""

    evse_id: int
    connector_id: int | None
    status: str
    error_code: str | None
    detail: str | None
    stated_at: datetime | None


class Booted(NamedTuple):
    """The station came up and says what it is."""

    vendor: str
    model: str
    serial: str | None
    firmware: str | None
    reason: str | None


class Decision(NamedTuple):
    """May the badge charge here, now: a status in the words of OCPP 2.0.1, and its group."""

    status: str
    group_uid: str | None = None
    valid_until: datetime | None = None


class Token(NamedTuple):
    """A badge as it is known, with its open sessions."""

    uid_key: str
    status: str  # accepted, blocked, expired, invalid
    group_uid: str | None
    valid_until: datetime | None  # None: without end
    site_ids: list[str] | None  # None: at every site
    open_sessions: list[tuple[int, int, int | None]]  # (session id, station_key, evse_id)
    concurrent_max: int | None = None  # of them at once; None: as the setting says; 0: no bound
    #: whose it was when: (from, until, whether she may charge at all), in seconds since 1970
    holders: Sequence[tuple[float, float | None, bool]] = ()
    #: where her groups let her charge: (site_id, weekdays, from_minute, to_minute, from, until)
    rules: Sequence[tuple[str, int, int, int, float, float | None]] = ()
    #: clients whose invoices its driver leaves unpaid, blocked there since: (client_id, from)
    unpaid: Sequence[tuple[int, float]] = ()
    is_roaming: bool = False  # of a partner's driver, as the partner said last

    def is_to_be_asked_about(self, site_id: str | None, now: datetime) -> bool:
        """Whether what a partner said of it last does not let it charge there, or no more."""
        if not self.is_roaming:
            return False
        is_over = self.valid_until is not None and self.valid_until <= now
        return is_over or self.status != "accepted" or site_id not in (self.site_ids or ())

    def owes(self, client_id: int, now: datetime) -> bool:
        """Whether its driver is blocked at the client's stations then, for unpaid invoices."""
        moment = now.timestamp()
        return any(client == client_id and from_s <= moment for client, from_s in self.unpaid)

    def holder_may_charge(self, now: datetime) -> bool | None:
        """Whether the driver whose badge it is then may charge at all; None: it is nobody's."""
        moment = now.timestamp()
        for from_s, to_s, may_charge in self.holders:
            if from_s <= moment and (to_s is None or moment < to_s):
                return may_charge
        return None

    def access(self, site_id: str | None, zone: tzinfo, now: datetime) -> Access:
        """What the groups of its driver say of the site, read in the site's own time zone."""
        rules = [
            Rule.of_seconds(weekdays, from_minute, to_minute, from_s, to_s)
            for site, weekdays, from_minute, to_minute, from_s, to_s in self.rules
            if site == site_id
        ]
        return access(rules, zone, now) if rules else SHUT

    @property
    def is_master(self) -> bool:
        """Whether it is the master of its group: it stops any session at its sites, and starts
        none (OCPP 2.0.1, C16)."""
        return self.group_uid is not None and uid_key(self.group_uid) == self.uid_key


class TokenShown(NamedTuple):
    """Somebody showed a badge and asks whether it may charge."""

    uid: str
    type: str | None


class Reported(NamedTuple):
    """Anything else worth keeping: firmware, logs, security, device model, certificates, ..."""

    kind: str
    content: dict[str, object]
    stated_at: datetime | None
    variables: tuple[dict[str, object], ...] = ()  # of the station's configuration, told in it


class CarNeeds(NamedTuple):
    """A car says how it would like to be charged. `power_w_max` is the most that it takes."""

    evse_id: int
    power_w_max: int | None
    content: dict[str, object]  # as told, to be kept


class CarPlan(NamedTuple):
    """A car says how it is going to charge, from `stated_at` on, in order of time."""

    evse_id: int
    periods: tuple[PlannedPeriod, ...]
    duration_s: float | None  # None: the last period has no end
    content: dict[str, object]  # as told, to be kept
    stated_at: datetime | None


class Alive(NamedTuple):
    """A heartbeat: nothing to keep but the moment."""


Event = (
    Started
    | Updated
    | Ended
    | Metered
    | StatusChanged
    | Booted
    | TokenShown
    | Reported
    | CarNeeds
    | CarPlan
    | Alive
)


class Outcome(NamedTuple):
    """What is to be answered; the wire writes it in the words of the station's version."""

    at: datetime
    decision: Decision | None = None  # None: no badge was shown
    transaction_id: str | None = None
    told: dict[str, object] | None = None  # what somebody outside answered; None: nothing
    granted: bool = False  # what the station asked for will be seen to
    boot_status: str = "accepted"
    interval_s: int = 0
    limits: tuple[LimitStep, ...] = ()  # what the EVSE may give from now on; empty: no bound
    plan_exceeds: bool = False  # a car's plan goes above them
    messages_missing: bool = False  # the session just ended, and some of it was never received
    cost: Decimal | None = None  # of the session so far, in the currency of its tariff; None: none
