"""Shapes on the wire: what clients send (In, Change, Replacement) and what we answer (Out)."""

from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from csms.web.fields import (
    BIGINT_MAX,
    BootStatus,
    Count,
    Direction,
    Identifier,
    Input,
    Label,
    Moment,
    Name,
    Note,
    Output,
    Protocol,
    Register,
    RegisterOut,
    Resolution,
    State,
    Static,
    TokenStatus,
    TokenType,
    Truth,
    Utc,
    connector_type,
)


class ClientIn(Input):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Copropriété Les Tilleuls"}]}
    )
    name: Name


class ClientOut(Output):
    id: int
    name: str
    is_operator: bool


class SiteChange(Input):
    name: Label = ""
    client_id: Annotated[int, Field(strict=True, ge=1, le=BIGINT_MAX)] | None = Field(
        default=None, description="Null: the operator's own client."
    )
    time_zone: Name = Field(default="Europe/Paris", description="IANA name.")
    static: Static = Field(default_factory=dict, description="Address, coordinates, what you like.")


class SiteIn(SiteChange):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "tilleuls", "name": "Les Tilleuls, parking -1"}]}
    )
    id: Name


class SiteOut(Output):
    id: str
    client_id: int
    client: str
    name: str
    time_zone: str
    static: Static
    created_at: Utc
    updated_at: Utc


class ConnectorIn(Input):
    connector_id: Count
    type: Annotated[str, Field(max_length=50), AfterValidator(connector_type)] | None = Field(
        default=None, description="OCPP 2.0.1 name, like sType2 or cCCS2."
    )
    power_w_max: Count | None = None


class EvseIn(Input):
    evse_id: Count
    evse_uid: Annotated[Name, Field(max_length=48)] | None = Field(
        default=None, description="eMI3 identifier."
    )
    public: Truth | None = Field(default=None, description="Null: as the station.")
    power_w_max: Count | None = None
    connectors: Annotated[list[ConnectorIn], Field(max_length=100)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _once(self) -> "EvseIn":
        ids = [connector.connector_id for connector in self.connectors]
        if len(set(ids)) != len(ids):
            raise ValueError(f"EVSE {self.evse_id} names a connector twice")
        return self


class StationChange(Input):
    """All that may be changed of a station; what is absent stays (PATCH) or takes its default."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"boot_status": "pending", "ping_interval_s": 120}]}
    )
    site_id: Name | None = None
    protocol: Protocol | None = Field(default=None, description="Null: whatever it speaks.")
    password: Annotated[str, Field(max_length=255)] | None = Field(
        default=None, description="HTTP basic password; never shown again. Null removes it."
    )
    security_profile: Annotated[int, Field(strict=True, ge=0, le=3)] = Field(
        default=0, description="A floor: 1 may come over TLS. A password sets 1 when absent."
    )
    evses: Annotated[list[EvseIn], Field(max_length=1_000)] | None = Field(
        default=None, description="Replaced as a whole; absent or null: as they are."
    )
    public: Truth = False
    boot_status: BootStatus = "accepted"
    auto_configure: Truth = Field(default=True, description="False: we send it nothing unasked.")
    ping_interval_s: Annotated[float, Field(ge=0, le=86_400)] | None = Field(
        default=None, description="Null: the gateway's setting; 0: no pings."
    )
    compression: Truth = False
    vendor: Annotated[Name, Field(max_length=100)] | None = None
    model: Annotated[Name, Field(max_length=100)] | None = None
    serial: Annotated[Name, Field(max_length=100)] | None = None
    static: Static = Field(default_factory=dict)

    @model_validator(mode="after")
    def _once(self) -> "StationChange":
        ids = [evse.evse_id for evse in self.evses or []]
        if len(set(ids)) != len(ids):
            raise ValueError("evses names an EVSE twice")
        return self

    def named(self) -> dict[str, Any]:
        """The members that the client named; EVSEs as plain values."""
        values = super().named()
        values.pop("id", None)
        if self.evses is not None:
            values["evses"] = [evse.model_dump() for evse in self.evses]
        return values


class StationIn(StationChange):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": "CP-0001"},
                {
                    "id": "CP-0002",
                    "site_id": "tilleuls",
                    "protocol": "ocpp2.0.1",
                    "password": "correct-horse-battery",
                    "security_profile": 2,
                    "evses": [
                        {
                            "evse_id": 1,
                            "connectors": [
                                {"connector_id": 1, "type": "sType2", "power_w_max": 22000}
                            ],
                        }
                    ],
                },
            ]
        }
    )
    id: Name


class StationReplacement(StationChange):
    id: Name | None = Field(default=None, description="If named, the id of the address.")


class ConnectorOut(Output):
    connector_id: int
    status: str
    status_at: Utc | None
    error_code: str | None
    type: str | None
    power_w_max: int | None


class EvseOut(Output):
    evse_id: int
    evse_uid: str | None
    status: str
    status_at: Utc | None
    public: bool
    power_w_max: int | None
    connectors: list[ConnectorOut]


class StationOut(Output):
    id: str
    client_id: int
    client: str
    site_id: str | None
    protocol: str | None
    security_profile: int
    has_password: bool
    boot_status: BootStatus
    auto_configure: bool
    public: bool
    ping_interval_s: float | None
    compression: bool
    vendor: str | None
    model: str | None
    serial: str | None
    firmware: str | None
    status: str | None
    status_at: Utc | None
    clock_skew_s: float | None = Field(description="Its clock minus ours, last known.")
    booted_at: Utc | None
    connected: bool
    connected_protocol: str | None
    connected_at: Utc | None
    last_seen_at: Utc | None
    remote_address: str | None
    node: str | None
    evses: list[EvseOut]
    static: Static
    created_at: Utc
    updated_at: Utc


class TokenChange(Input):
    """All that may be changed of a badge; what is absent stays (PATCH) or takes its default."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "blocked"}]})
    type: TokenType = "ISO14443"
    status: TokenStatus = "accepted"
    group_uid: Name | None = Field(
        default=None, description="A badge whose group is its own uid is the group's master."
    )
    valid_until: Moment | None = None
    site_ids: Annotated[list[Name], Field(max_length=10_000)] | None = Field(
        default=None, description="Null: at every site."
    )
    client_id: Annotated[int, Field(strict=True, ge=1, le=BIGINT_MAX)] | None = Field(
        default=None, description="Null: the operator's own client."
    )

    def named(self) -> dict[str, Any]:
        """The members that the client named, but the uid."""
        return {k: v for k, v in super().named().items() if k != "uid"}


class TokenIn(TokenChange):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"uid": "04A2B3C4D5E680"},
                {"uid": "GUEST7", "valid_until": "2027-01-31T23:00:00Z", "site_ids": ["tilleuls"]},
            ]
        }
    )
    uid: Name


class TokenReplacement(TokenChange):
    uid: Name | None = Field(default=None, description="If named, the uid of the address.")


class TokenOut(Output):
    uid: str
    type: str
    status: TokenStatus
    group_uid: str | None
    valid_until: Utc | None
    site_ids: list[str] | None
    client_id: int
    client: str
    created_at: Utc
    updated_at: Utc


class UnknownTokenOut(Output):
    uid: str
    station_id: str
    first_seen_at: Utc
    last_seen_at: Utc
    count: int


class SessionOut(Output):
    id: int
    client_id: int
    site_id: str | None
    station_id: str
    evse_id: int | None
    connector_id: int | None
    transaction_id: str
    token_uid: str | None
    token_type: str | None
    authorization_status: str
    state: State
    charging_state: str | None
    started_at: Utc
    ended_at: Utc | None
    stated_started_at: Utc | None
    stated_ended_at: Utc | None
    meter_start_wh: RegisterOut
    meter_stop_wh: RegisterOut
    energy_wh: int | None = Field(description="Null: unknown, never a guess.")
    last_register_wh: RegisterOut
    last_register_at: Utc | None
    seq_no_missing: list[int]
    stop_reason: str | None
    stop_token_uid: str | None
    flags: list[str]
    revision: int


class MeterValueOut(Output):
    at: Utc
    stated_at: Utc
    received_at: Utc
    evse_id: int | None
    connector_id: int | None
    measurand: str
    phase: str | None
    unit: str | None
    context: str | None
    location: str | None
    value: float | None = Field(description="As reported; null: see text.")
    text: str | None = Field(description="A signed value, or one that is not a number.")


class CallErrorOut(BaseModel):
    code: str
    description: str
    details: Any


class MessageOut(BaseModel):
    at: Utc
    station_id: str
    direction: Direction
    protocol: str
    action: str | None
    message_id: str | None
    payload: Any
    response: Any
    error: CallErrorOut | None
    raw: str | None = Field(description="The frame as it came, when it could not be read.")
    answered_at: Utc | None
    latency_ms: float | None


class EntryOut(Output):
    id: int
    received_at: Utc
    station_id: str
    reason: str
    session_id: int | None
    transaction_id: str | None
    message_id: str | None
    raw: str = Field(validation_alias="frame", description="The frame as it came.")
    settled_at: Utc | None
    settled_by: str | None
    resolution: Resolution | None
    note: str | None


class SettleIn(Input):
    """How a person settles an entry; see the operation for what each resolution takes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"resolution": "dismissed", "note": "Test of the installer."},
                {
                    "resolution": "attached",
                    "session_id": 12000,
                    "ended_at": "2026-10-03T18:20:00Z",
                    "meter_stop_wh": 48211,
                    "note": "Register read on site.",
                },
            ]
        }
    )
    resolution: Resolution
    note: Note
    session_id: Annotated[Identifier, Field(strict=True)] | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None
    meter_start_wh: Register | None = None
    meter_stop_wh: Register | None = None
    token_uid: Name | None = None
    evse_id: Count | None = None


class StationEventOut(Output):
    id: int
    station_id: str
    received_at: Utc
    stated_at: Utc | None
    kind: str
    content: Any


class DeviationOut(Output):
    station_id: str
    vendor: str | None
    model: str | None
    firmware: str | None
    kind: str
    subject: str
    sample: str
    first_seen_at: Utc
    last_seen_at: Utc
    count: int


class RefusedConnectionOut(Output):
    identity: str
    reason: str
    remote_address: str
    detail: str
    first_seen_at: Utc
    last_seen_at: Utc
    count: int


class QuirkChange(Input):
    """All that may be changed of a quirk."""

    vendor: Annotated[Name, Field(max_length=100)] | None = Field(
        default=None, description="Pattern with * and ?, without case; null: all."
    )
    model: Annotated[Name, Field(max_length=100)] | None = None
    firmware: Annotated[Name, Field(max_length=100)] | None = None
    correction: Annotated[Name, Field(max_length=100)] | None = None
    decided_on: date | None = Field(default=None, description="Absent: today.")
    reason: Note | None = None


class QuirkIn(QuirkChange):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "vendor": "Acme*",
                    "model": "Wall-?",
                    "correction": "energy_kwh_as_wh",
                    "reason": "Says Wh, means kWh; confirmed by its maker.",
                }
            ]
        }
    )
    correction: Annotated[Name, Field(max_length=100)]
    reason: Note


class QuirkOut(Output):
    id: int
    vendor: str | None
    model: str | None
    firmware: str | None
    correction: str
    decided_on: date
    reason: str
    retired_at: Utc | None
