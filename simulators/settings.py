"""Configuration keys (1.6) and variables of the device model (2.0.1) of a charge point.

Both are rows of one shape; the tables are `settings16` and `settings201`. A variable of 2.0.1 is
named `Component.Variable`, `Component/1.Variable` for one of EVSE 1, `Component/1/1.Variable` for
one of its connector, with `[Instance]` behind where it has one. Names are compared without case.
What the rest of the station asks for it asks by a meaning: one word for both versions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

READ_ONLY, READ_WRITE, WRITE_ONLY = "ReadOnly", "ReadWrite", "WriteOnly"

# meaning: (key of 1.6, variable of 2.0.1); None: that version has none
_MEANINGS: dict[str, tuple[str | None, str | None]] = {
    "authorize_remote": ("AuthorizeRemoteTxRequests", "AuthCtrlr.AuthorizeRemoteStart"),
    "cache_enabled": ("AuthorizationCacheEnabled", "AuthCacheCtrlr.Enabled"),
    "get_items_max": ("GetConfigurationMaxKeys", "DeviceDataCtrlr.ItemsPerMessage[GetVariables]"),
    "set_items_max": (None, "DeviceDataCtrlr.ItemsPerMessage[SetVariables]"),
    "report_items_max": (None, "DeviceDataCtrlr.ItemsPerMessage[GetReport]"),
    "monitor_items_max": (None, "MonitoringCtrlr.ItemsPerMessage[SetVariableMonitoring]"),
    "heartbeat_s": ("HeartbeatInterval", "OCPPCommCtrlr.HeartbeatInterval"),
    "list_enabled": ("LocalAuthListEnabled", "LocalAuthListCtrlr.Enabled"),
    "list_items_max": ("SendLocalListMaxLength", "LocalAuthListCtrlr.ItemsPerMessage"),
    "list_max": ("LocalAuthListMaxLength", "LocalAuthListCtrlr.Storage"),
    "list_entries": (None, "LocalAuthListCtrlr.Entries"),
    "master_group": (None, "AuthCtrlr.MasterPassGroupId"),
    "organization": ("CpoName", "SecurityCtrlr.OrganizationName"),
    "password": ("AuthorizationKey", "SecurityCtrlr.BasicAuthPassword"),
    "profile_level_max": ("ChargeProfileMaxStackLevel", "SmartChargingCtrlr.ProfileStackLevel"),
    "profile_periods_max": (
        "ChargingScheduleMaxPeriods",
        "SmartChargingCtrlr.PeriodsPerSchedule",
    ),
    "profile_units": ("ChargingScheduleAllowedChargingRateUnit", "SmartChargingCtrlr.RateUnit"),
    "profiles_max": (
        "MaxChargingProfilesInstalled",
        "SmartChargingCtrlr.Entries[ChargingProfiles]",
    ),
    "sample_s": ("MeterValueSampleInterval", "SampledDataCtrlr.TxUpdatedInterval"),
    "security_profile": ("SecurityProfile", "SecurityCtrlr.SecurityProfile"),
    "stop_on_invalid": ("StopTransactionOnInvalidId", "TxCtrlr.StopTxOnInvalidId"),
    "slots": (None, "OCPPCommCtrlr.NetworkConfigurationPriority"),
    "certificates_max": ("CertificateStoreMaxLength", "SecurityCtrlr.CertificateEntries"),
}


@dataclass(frozen=True)
class Setting:
    """One row. kind: the words of 2.0.1. low, high: of a number, or the length of a text.

    options: what a list may hold, empty: anything. reboot: a change takes effect at the next boot.
    """

    name: str
    value: str
    kind: str = "string"
    mutability: str = READ_WRITE
    low: int | None = None
    high: int | None = None
    options: tuple[str, ...] = ()
    unit: str | None = None
    reboot: bool = False

    def accepts(self, value: str) -> bool:
        """Whether `value` can be one of this setting."""
        if self.kind == "boolean":
            return value.lower() in ("true", "false")
        if self.kind == "integer":
            if not value.removeprefix("-").isdecimal():
                return False
            return (self.low is None or int(value) >= self.low) and (
                self.high is None or int(value) <= self.high
            )
        if self.kind == "MemberList" and self.options:
            return all(part.strip() in self.options for part in value.split(",") if part)
        low = self.low or 0
        return low <= len(value) <= (500 if self.high is None else self.high)


class Settings:
    """The rows of one station. `on_change` is told the name and value of every accepted change."""

    def __init__(self, rows: list[Setting], *, is_201: bool) -> None:
        self._rows = {row.name.lower(): row for row in rows}
        self._is_201 = is_201
        self.on_change: Callable[[str, str], None] = lambda name, value: None

    def __iter__(self) -> Iterator[Setting]:
        return iter(list(self._rows.values()))

    def get(self, name: str) -> Setting | None:
        """The row of that name."""
        return self._rows.get(name.lower())

    def name_of(self, meaning: str) -> str | None:
        """How this version calls it; None: it has no such setting."""
        return _MEANINGS[meaning][self._is_201]

    def text(self, meaning: str, default: str = "") -> str:
        """The value of a meaning, `default` where this version has none."""
        name = self.name_of(meaning)
        row = None if name is None else self.get(name)
        return default if row is None else row.value

    def flag(self, meaning: str) -> bool:
        """Whether a switch is on."""
        return self.text(meaning).lower() == "true"

    def number(self, meaning: str, default: int = 0) -> int:
        """A number; `default` where this version has no such setting."""
        return int(self.text(meaning) or default)

    def put(self, meaning_or_name: str, value: str) -> None:
        """The station itself sets a value: nothing is asked, nobody is told."""
        name = self.name_of(meaning_or_name) if meaning_or_name in _MEANINGS else meaning_or_name
        row = None if name is None else self.get(name)
        if row is not None:
            self._rows[row.name.lower()] = replace(row, value=value)

    def change(self, name: str, value: str) -> str:
        """An order to set a value: NotSupported, Rejected, RebootRequired or Accepted."""
        row = self.get(name)
        if row is None:
            return "NotSupported"
        if row.mutability == READ_ONLY or not row.accepts(value):
            return "Rejected"
        self._rows[name.lower()] = replace(row, value=value)
        self.on_change(row.name, value)
        return "RebootRequired" if row.reboot and value != row.value else "Accepted"


def _yes(name: str, value: str = "true", mutability: str = READ_WRITE) -> Setting:
    return Setting(name, value, "boolean", mutability)


def _number(
    name: str, value: int, high: int = 1_000_000, unit: str | None = None, *, reboot: bool = False
) -> Setting:
    return Setting(name, str(value), "integer", low=0, high=high, unit=unit, reboot=reboot)


def _fixed(name: str, value: object) -> Setting:
    kind = "integer" if isinstance(value, int) else "string"
    return Setting(name, str(value), kind, READ_ONLY)


_MEASURANDS = (
    "Energy.Active.Import.Register",
    "Power.Active.Import",
    "Current.Import",
    "Voltage",
)
_SAMPLED = Setting("", ",".join(_MEASURANDS[:2]), "MemberList", options=_MEASURANDS)


def settings16(evses: int) -> list[Setting]:
    """The configuration keys of a station with so many connectors."""
    return [
        _yes("AuthorizationCacheEnabled"),
        Setting("AuthorizationKey", "", mutability=WRITE_ONLY, low=8, high=40),
        _yes("AuthorizeRemoteTxRequests", "false"),
        _fixed("CertificateStoreMaxLength", 20),
        _fixed("ChargeProfileMaxStackLevel", 10),
        _fixed("ChargingScheduleAllowedChargingRateUnit", "Current,Power"),
        _fixed("ChargingScheduleMaxPeriods", 24),
        _number("ClockAlignedDataInterval", 0, unit="s"),
        _number("ConnectionTimeOut", 60, unit="s"),
        Setting("CpoName", "Time2Plug", high=500),
        _fixed("GetConfigurationMaxKeys", 50),
        _number("HeartbeatInterval", 300, unit="s"),
        _yes("LocalAuthListEnabled"),
        _fixed("LocalAuthListMaxLength", 1_000),
        _yes("LocalAuthorizeOffline"),
        _fixed("MaxChargingProfilesInstalled", 10),
        _number("MeterValueSampleInterval", 900, unit="s"),
        replace(_SAMPLED, name="MeterValuesSampledData"),
        _fixed("NumberOfConnectors", evses),
        _yes("ReserveConnectorZeroSupported", "false", READ_ONLY),
        Setting("SecurityProfile", "0", "integer", low=0, high=3),
        _fixed("SendLocalListMaxLength", 200),
        _fixed(
            "SupportedFeatureProfiles",
            "Core,FirmwareManagement,LocalAuthListManagement,RemoteTrigger,Reservation,"
            "SmartCharging",
        ),
        _yes("StopTransactionOnInvalidId", "false"),
        _number("TransactionMessageAttempts", 3),
        _number("TransactionMessageRetryInterval", 10, unit="s"),
        _yes("UnlockConnectorOnEVSideDisconnect"),
        _number("WebSocketPingInterval", 60, unit="s", reboot=True),
    ]


def settings201(evses: int, power_w: int) -> list[Setting]:
    """The device model of a station with so many EVSEs of one connector each."""
    return [
        _number("AlignedDataCtrlr.Interval", 0, unit="s"),
        _yes("AuthCacheCtrlr.Enabled"),
        _yes("AuthCtrlr.AuthorizeRemoteStart", "false"),
        _yes("AuthCtrlr.Enabled"),
        Setting("AuthCtrlr.MasterPassGroupId", "", high=36),
        _yes("AuthCtrlr.OfflineTxForUnknownIdEnabled", "false"),
        _fixed("DeviceDataCtrlr.BytesPerMessage[GetReport]", 65_000),
        _fixed("DeviceDataCtrlr.BytesPerMessage[GetVariables]", 65_000),
        _fixed("DeviceDataCtrlr.BytesPerMessage[SetVariables]", 65_000),
        _fixed("DeviceDataCtrlr.ItemsPerMessage[GetReport]", 10),
        _fixed("DeviceDataCtrlr.ItemsPerMessage[GetVariables]", 10),
        _fixed("DeviceDataCtrlr.ItemsPerMessage[SetVariables]", 5),
        _yes("LocalAuthListCtrlr.Enabled"),
        _fixed("LocalAuthListCtrlr.Entries", 0),
        _fixed("LocalAuthListCtrlr.ItemsPerMessage", 200),
        _fixed("LocalAuthListCtrlr.Storage", 1_000),
        _yes("MonitoringCtrlr.Enabled"),
        _fixed("MonitoringCtrlr.ItemsPerMessage[SetVariableMonitoring]", 10),
        _number("OCPPCommCtrlr.HeartbeatInterval", 300, unit="s"),
        _number("OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]", 10, unit="s"),
        _number("OCPPCommCtrlr.MessageAttempts[TransactionEvent]", 3),
        _number("OCPPCommCtrlr.NetworkProfileConnectionAttempts", 3),
        Setting("OCPPCommCtrlr.NetworkConfigurationPriority", "1", "SequenceList", reboot=True),
        _number("OCPPCommCtrlr.WebSocketPingInterval", 60, unit="s", reboot=True),
        _yes("ReservationCtrlr.Enabled"),
        _yes("ReservationCtrlr.NonEvseSpecific", "false", READ_ONLY),
        _number("SampledDataCtrlr.TxUpdatedInterval", 900, unit="s"),
        replace(_SAMPLED, name="SampledDataCtrlr.TxUpdatedMeasurands"),
        Setting("SecurityCtrlr.BasicAuthPassword", "", mutability=WRITE_ONLY, low=8, high=40),
        _fixed("SecurityCtrlr.CertificateEntries", 20),
        Setting("SecurityCtrlr.OrganizationName", "Time2Plug", high=64),
        _fixed("SecurityCtrlr.SecurityProfile", 0),
        _yes("SmartChargingCtrlr.Enabled"),
        _fixed("SmartChargingCtrlr.Entries[ChargingProfiles]", 10),
        _fixed("SmartChargingCtrlr.PeriodsPerSchedule", 24),
        _fixed("SmartChargingCtrlr.ProfileStackLevel", 10),
        _fixed("SmartChargingCtrlr.RateUnit", "A,W"),
        _number("TxCtrlr.EVConnectionTimeOut", 60, unit="s"),
        _yes("TxCtrlr.StopTxOnInvalidId", "false"),
        _fixed("ChargingStation.AvailabilityState", "Available"),
        _fixed("ChargingStation.FirmwareVersion", ""),
        _fixed("ChargingStation.Model", ""),
        _fixed("ChargingStation.SerialNumber", ""),
        _fixed("ChargingStation.VendorName", ""),
        *(row for evse_id in range(1, evses + 1) for row in _evse_rows(evse_id, power_w)),
    ]


def _evse_rows(evse_id: int, power_w: int) -> list[Setting]:
    return [
        _fixed(f"EVSE/{evse_id}.AvailabilityState", "Available"),
        Setting(f"EVSE/{evse_id}.Power", "0", "decimal", READ_ONLY, low=0, high=power_w, unit="W"),
        _fixed(f"Connector/{evse_id}/1.AvailabilityState", "Available"),
        _fixed(f"Connector/{evse_id}/1.ConnectorType", "sType2"),
    ]
