"""What a simulated charge point is made of: its configuration, EVSEs, sessions and messages."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from simulators.faults import Faults
from simulators.obedience import Obedience

OCPP16 = "ocpp1.6"
OCPP201 = "ocpp2.0.1"
DRAWING = ("Charging", "SuspendedEVSE")  # states in which the car takes what it is given
_MICROSECOND = timedelta(microseconds=1)
_W_US_PER_WH = 3600 * 1_000_000


@dataclass(frozen=True, kw_only=True)
class StationConfig:
    """What a station is. `register_wh`: of every meter when new; `attempts_max` None: for ever."""

    identity: str
    protocol: str = OCPP16
    evses: int = 1
    power_w: int = 7_360
    phases: int = 1
    vendor: str = "Time2Plug"
    model: str = "Simulator"
    firmware: str = "1.0.0"
    register_wh: int = 0
    security_profile: int = 0  # it was delivered with
    all_values: bool = False  # current and voltage of each phase in every reading
    attempts_max: int | None = None  # a transaction message refused so often is dropped
    faults: Faults = field(default_factory=Faults)
    obedience: Obedience = field(default_factory=Obedience)


@dataclass(eq=False)
class Session:
    """One charging, as the station itself counted it."""

    station_id: str
    evse_id: int
    badge: str
    transaction_id: str  # 2.0.1; in 1.6 empty until the start is answered, then the decimal id
    started_at: datetime
    meter_start_wh: int
    ended_at: datetime | None = None
    meter_stop_wh: int | None = None
    stop_reason: str | None = None
    start_answered: bool = False
    end_answered: bool = False
    end_lost: bool = False  # the station will never tell the end
    authorization: str | None = None  # the answer to the start
    told_wh: int = 0  # highest energy of this session in an answered message
    seq_no: int = 0
    events: int = 0
    remote_start_id: int | None = None
    reservation_id: int | None = None  # the reservation that it used
    cost: float | None = None  # as last told by CostUpdated

    @property
    def energy_wh(self) -> int | None:
        """What flowed; None while it still does."""
        return None if self.meter_stop_wh is None else self.meter_stop_wh - self.meter_start_wh

    @property
    def acknowledged(self) -> bool:
        """Whether the central system has answered for the whole of it."""
        return self.start_answered and self.end_answered


@dataclass(eq=False)
class Message:
    """One request to send; the same object through all its attempts."""

    action: str
    payload: dict[str, Any]
    durable: bool
    session: Session | None = None
    energy_wh: int = 0  # of the session, as this message tells it
    message_id: str | None = None  # of the last attempt
    attempts: int = 0
    refusals: int = 0
    twice: bool = False  # to be written twice
    starts: bool = False
    ends: bool = False
    called_for: bool = False  # by an order: may be sent before the boot is accepted
    then: Callable[[dict[str, Any], datetime], None] | None = None  # told the response


@dataclass(frozen=True)
class Heard:
    """An order of the central system as it came in, whatever became of it."""

    message_id: str
    action: str
    payload: dict[str, Any]
    behaviour: str


@dataclass(frozen=True)
class Reservation:
    """An EVSE kept for a badge, or for any badge of its group, until `expires_at`."""

    reservation_id: int
    badge: str
    group: str | None
    expires_at: datetime


@dataclass
class Evse:
    """One charging point and its meter."""

    evse_id: int
    register_wh: int
    power_w: int
    state: str = "Available"
    plugged: bool = False
    inoperative: bool = False
    error_code: str = "NoError"
    session: Session | None = None
    reservation: Reservation | None = None
    metered_at: datetime | None = None  # up to when the register has counted
    register_error_wh: int = 0  # added to what the meter tells, by a fault
    _rest_w_us: int = 0

    def count(self, now: datetime, power_w: float | None = None) -> None:
        """Let the register run up to `now`; time that runs backwards counts nothing.

        power_w: what may flow at most; None: as much as the car draws.
        """
        drawing = self.state in DRAWING
        if self.metered_at is not None and now > self.metered_at and drawing:
            elapsed_us = (now - self.metered_at) // _MICROSECOND
            flows_w = self.power_w if power_w is None else min(self.power_w, int(power_w))
            total = flows_w * elapsed_us + self._rest_w_us
            added_wh, self._rest_w_us = divmod(total, _W_US_PER_WH)
            self.register_wh += added_wh
        if self.metered_at is None or now > self.metered_at:
            self.metered_at = now
