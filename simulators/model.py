"""What a simulated charge point is made of: its configuration, EVSEs, sessions and messages."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from simulators.faults import Faults

OCPP16 = "ocpp1.6"
OCPP201 = "ocpp2.0.1"
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
    all_values: bool = False  # current and voltage of each phase in every reading
    attempts_max: int | None = None  # a transaction message refused so often is dropped
    faults: Faults = field(default_factory=Faults)


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
    metered_at: datetime | None = None  # up to when the register has counted
    register_error_wh: int = 0  # added to what the meter tells, by a fault
    _rest_w_us: int = 0

    def count(self, now: datetime) -> None:
        """Let the register run up to `now`; time that runs backwards counts nothing."""
        if self.metered_at is not None and now > self.metered_at and self.state == "Charging":
            elapsed_us = (now - self.metered_at) // _MICROSECOND
            total = self.power_w * elapsed_us + self._rest_w_us
            added_wh, self._rest_w_us = divmod(total, _W_US_PER_WH)
            self.register_wh += added_wh
        if self.metered_at is None or now > self.metered_at:
            self.metered_at = now


def default_settings(config: StationConfig) -> dict[str, str]:
    """The configuration keys (1.6) or `Component.Variable` names (2.0.1) that it knows."""
    if config.protocol == OCPP16:
        return {
            "AuthorizeRemoteTxRequests": "false",
            "ClockAlignedDataInterval": "0",
            "ConnectionTimeOut": "60",
            "HeartbeatInterval": "300",
            "LocalAuthListEnabled": "true",
            "MeterValueSampleInterval": "900",
            "MeterValuesSampledData": "Energy.Active.Import.Register,Power.Active.Import",
            "NumberOfConnectors": str(config.evses),
            "SupportedFeatureProfiles": "Core,FirmwareManagement,LocalAuthListManagement,"
            "RemoteTrigger",
            "TransactionMessageAttempts": "3",
            "TransactionMessageRetryInterval": "10",
            "WebSocketPingInterval": "60",
        }
    return {
        "AlignedDataCtrlr.Interval": "0",
        "AuthCtrlr.AuthorizeRemoteStart": "false",
        "LocalAuthListCtrlr.Enabled": "true",
        "OCPPCommCtrlr.HeartbeatInterval": "300",
        "OCPPCommCtrlr.MessageAttemptInterval": "10",
        "OCPPCommCtrlr.MessageAttempts": "3",
        "OCPPCommCtrlr.WebSocketPingInterval": "60",
        "SampledDataCtrlr.TxUpdatedInterval": "900",
        "SampledDataCtrlr.TxUpdatedMeasurands": "Energy.Active.Import.Register,Power.Active.Import",
        "TxCtrlr.EVConnectionTimeOut": "60",
    }
