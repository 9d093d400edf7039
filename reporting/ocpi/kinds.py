"""Simple kinds of OCPI 2.2.1: texts, times, numbers, and the words of its enumerations."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
)


class Shape(BaseModel):
    """An object of OCPI: what it does not know is passed over, what it has not is left out."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    def wire(self) -> dict[str, Any]:
        """The object as it is sent: no null where a field is absent, times in UTC with Z."""
        return self.model_dump(mode="json", exclude_none=True, by_alias=True)


def _utc(moment: datetime) -> datetime:
    """A time without a zone is in UTC, as the specification says."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def z(moment: datetime) -> str:
    """A time in UTC as it is written: seconds, and thousandths where it has them."""
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def _decimal(value: Any) -> Any:
    """Binary fractions by the digits that they are written with."""
    return Decimal(repr(value)) if isinstance(value, float) else value


def _number(value: Decimal) -> int | float:
    """A JSON number with the same digits: a float holds 15 of them."""
    return int(value) if value == value.to_integral_value() else float(value)


Text3 = Annotated[str, StringConstraints(max_length=3)]
Text20 = Annotated[str, StringConstraints(max_length=20)]
Text36 = Annotated[str, StringConstraints(min_length=1, max_length=36)]
Text39 = Annotated[str, StringConstraints(min_length=1, max_length=39)]
Text45 = Annotated[str, StringConstraints(max_length=45)]
Text64 = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Text255 = Annotated[str, StringConstraints(max_length=255)]
Url = Annotated[str, StringConstraints(max_length=255, pattern=r"^https?://")]
Country2 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2}$")]
Country3 = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]  # ISO 3166-1 alpha-3
Party = Annotated[str, StringConstraints(min_length=3, max_length=3)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Degrees = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,3}\.[0-9]{5,7}$")]
Clock = Annotated[str, StringConstraints(pattern=r"^([0-1][0-9]|2[0-3]):[0-5][0-9]$")]
Day = Annotated[str, StringConstraints(pattern=r"^[12][0-9]{3}-[01][0-9]-[0-3][0-9]$")]
Moment = Annotated[datetime, AfterValidator(_utc), PlainSerializer(z, return_type=str)]
Number = Annotated[
    Decimal, BeforeValidator(_decimal), PlainSerializer(_number, return_type=int | float)
]

ParkingType = Literal[
    "ALONG_MOTORWAY",
    "PARKING_GARAGE",
    "PARKING_LOT",
    "ON_DRIVEWAY",
    "ON_STREET",
    "UNDERGROUND_GARAGE",
]
EvseStatus = Literal[
    "AVAILABLE",
    "BLOCKED",
    "CHARGING",
    "INOPERATIVE",
    "OUTOFORDER",
    "PLANNED",
    "REMOVED",
    "RESERVED",
    "UNKNOWN",
]
Capability = Literal[
    "CHARGING_PROFILE_CAPABLE",
    "CHARGING_PREFERENCES_CAPABLE",
    "CHIP_CARD_SUPPORT",
    "CONTACTLESS_CARD_SUPPORT",
    "CREDIT_CARD_PAYABLE",
    "DEBIT_CARD_PAYABLE",
    "PED_TERMINAL",
    "REMOTE_START_STOP_CAPABLE",
    "RESERVABLE",
    "RFID_READER",
    "START_SESSION_CONNECTOR_REQUIRED",
    "TOKEN_GROUP_CAPABLE",
    "UNLOCK_CAPABLE",
]
ParkingRestriction = Literal["EV_ONLY", "PLUGGED", "DISABLED", "CUSTOMERS", "MOTORCYCLES"]
ConnectorFormat = Literal["SOCKET", "CABLE"]
PowerType = Literal["AC_1_PHASE", "AC_2_PHASE", "AC_2_PHASE_SPLIT", "AC_3_PHASE", "DC"]
TokenType = Literal["AD_HOC_USER", "APP_USER", "OTHER", "RFID"]
AuthMethod = Literal["AUTH_REQUEST", "COMMAND", "WHITELIST"]
SessionStatus = Literal["ACTIVE", "COMPLETED", "INVALID", "PENDING", "RESERVATION"]
Whitelist = Literal["ALWAYS", "ALLOWED", "ALLOWED_OFFLINE", "NEVER"]
Allowed = Literal["ALLOWED", "BLOCKED", "EXPIRED", "NO_CREDIT", "NOT_ALLOWED"]
ProfileType = Literal["CHEAP", "FAST", "GREEN", "REGULAR"]
TariffType = Literal["AD_HOC_PAYMENT", "PROFILE_CHEAP", "PROFILE_FAST", "PROFILE_GREEN", "REGULAR"]
Dimension = Literal["ENERGY", "FLAT", "PARKING_TIME", "TIME"]
Weekday = Literal["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]
Reservation = Literal["RESERVATION", "RESERVATION_EXPIRES"]
CdrDimensionType = Literal[
    "CURRENT",
    "ENERGY",
    "ENERGY_EXPORT",
    "ENERGY_IMPORT",
    "MAX_CURRENT",
    "MIN_CURRENT",
    "MAX_POWER",
    "MIN_POWER",
    "PARKING_TIME",
    "POWER",
    "RESERVATION_TIME",
    "STATE_OF_CHARGE",
    "TIME",
]
Role = Literal["CPO", "EMSP", "HUB", "NAP", "NSP", "OTHER", "SCSP"]
InterfaceRole = Literal["SENDER", "RECEIVER"]
CommandAnswer = Literal["NOT_SUPPORTED", "REJECTED", "ACCEPTED", "UNKNOWN_SESSION"]
CommandOutcome = Literal[
    "ACCEPTED",
    "CANCELED_RESERVATION",
    "EVSE_OCCUPIED",
    "EVSE_INOPERATIVE",
    "FAILED",
    "NOT_SUPPORTED",
    "REJECTED",
    "TIMEOUT",
    "UNKNOWN_RESERVATION",
]
ImageCategory = Literal["CHARGER", "ENTRANCE", "LOCATION", "NETWORK", "OPERATOR", "OTHER", "OWNER"]
