"""Shapes of what people decide: sites, stations, badges. What clients send is In, Change
or Replacement; what we answer is Out."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from csms import static_data
from csms.static_data import EvseStatic, SiteStatic, StationStatic, Warranty
from csms.static_data.fields import PointId, PowerW
from csms.web.fields import (
    BIGINT_MAX,
    BootStatus,
    Count,
    Input,
    Label,
    Moment,
    Name,
    Output,
    Protocol,
    Static,
    TokenStatus,
    TokenType,
    Truth,
    Utc,
    connector_type,
)


class SiteChange(Input):
    name: Label = ""
    client_id: Annotated[int, Field(strict=True, ge=1, le=BIGINT_MAX)] | None = Field(
        default=None, description="Null: the operator's own client."
    )
    time_zone: Name = Field(default="Europe/Paris", description="IANA name.")
    static: SiteStatic = Field(
        default_factory=SiteStatic,
        description="Address, coordinates, opening hours, operator; replaced as a whole.",
    )

    def named(self) -> dict[str, Any]:
        """The members that the client named; static data as they are stored."""
        values = {name: value for name, value in super().named().items() if name != "id"}
        if "static" in values:
            values["static"] = self.static.stored()
        return values


class SiteIn(SiteChange):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": "tilleuls", "name": "Les Tilleuls, parking -1"},
                {
                    "id": "horizon",
                    "name": "Parking Horizon",
                    "static": {
                        "address": "3 avenue de l’Europe",
                        "postal_code": "69003",
                        "city": "Lyon",
                        "insee_code": "69383",
                        "longitude": 4.8578,
                        "latitude": 45.7606,
                        "opening_hours": "24/7",
                    },
                },
            ]
        }
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
    power_w_max: PowerW | None = None


class EvseIn(Input):
    evse_id: Count
    evse_uid: PointId | None = Field(
        default=None,
        description="AFIREV (eMI3) identifier, like FR*ABC*E12; kept in capitals without *.",
    )
    public: Truth | None = Field(default=None, description="Null: as the station.")
    power_w_max: PowerW | None = None
    connectors: Annotated[list[ConnectorIn], Field(max_length=100)] = Field(default_factory=list)
    static: EvseStatic | None = Field(default=None, description="Absent or null: as it is.")

    @model_validator(mode="after")
    def _once(self) -> "EvseIn":
        ids = [connector.connector_id for connector in self.connectors]
        if len(set(ids)) != len(ids):
            raise ValueError(f"EVSE {self.evse_id} names a connector twice")
        return self

    def plain(self) -> dict[str, Any]:
        """All members as plain values; static data as they are stored."""
        stored = None if self.static is None else self.static.stored()
        return self.model_dump(exclude={"static"}) | {"static": stored}


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
    static: StationStatic = Field(default_factory=StationStatic, description="Replaced as a whole.")

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
            values["evses"] = [evse.plain() for evse in self.evses]
        if "static" in values:
            values["static"] = self.static.stored()
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
    static: Static
    warranty: Warranty = Field(
        default_factory=lambda: Warranty(manufacturer_until=None, installation_until=None),
        description="Last days: as stated, else 24 months from commissioning and one year from "
        "installation.",
    )


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
    serial: str | None = Field(description="As people wrote it; may be the CN of a certificate.")
    reported_serial: str | None = Field(description="As the station says when it boots.")
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

    @model_validator(mode="after")
    def _with_warranties(self) -> "StationOut":
        """A point without dates of its own has its station's."""
        for evse in self.evses:
            evse.warranty = static_data.stored_warranty(self.static, evse.static)
        return self


class StaticChangeOut(Output):
    at: Utc
    actor: str
    kind: str = Field(description="site, station or evse: what was changed.")
    site_id: str | None
    station_id: str | None
    evse_id: int | None
    before: dict[str, Any] = Field(description="The members that differ, as they were.")
    after: dict[str, Any] = Field(description="The members that differ, as they are since.")


class FindingOut(Output):
    code: str
    field: str
    message: str
    needed_by: list[str] = Field(description="irve, qualicharge, ocpi: who cannot do without.")


class PointDeclarabilityOut(Output):
    evse_id: int
    evse_uid: str | None
    public: bool = Field(description="Only public points are ever declared.")
    declarable_to: list[str] = Field(description="Who could be told of it now, if it is public.")
    findings: list[FindingOut]


class DeclarabilityOut(Output):
    station_id: str
    site_id: str | None
    points: list[PointDeclarabilityOut]


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
        default=None,
        description="Null: at every site; of a driver's badge: where her groups let her, to which "
        "sites named here are added.",
    )
    concurrent_max: Annotated[int, Field(strict=True, ge=0, le=1_000)] | None = Field(
        default=None, description="Open sessions at once. Null: as the server's setting; 0: any."
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
    concurrent_max: int | None
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
