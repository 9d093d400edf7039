"""The static data of sites, stations and points: the superset of IRVE, QualiCharge and OCPI.

| here | IRVE | OCPI |
|---|---|---|
| site | station de recharge | Location |
| station | (none) | (none): a box with a socket to us |
| EVSE, connector | point de recharge | EVSE, Connector |

Every member may be absent: what is not known is not stored. A point takes what it does not say
from its site (`PointTerms`) or its station (`Life`). Unknown members are refused; `other` takes an
object of anything.
"""

from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from csms.domain import point_rules
from csms.domain.point_rules import Broken
from csms.static_data.fields import (
    Country,
    Day,
    DeliveryPoint,
    Email,
    Floor,
    InseeCode,
    Latitude,
    Longitude,
    LongText,
    OpeningHours,
    Other,
    Phone,
    PowerW,
    Siren,
    StationId,
    Text,
    Truth,
    Word,
    refusal,
    storable,
)

Implantation = Literal[
    "street", "public_parking", "private_parking_public_use", "customer_parking", "fast_station"
]
Access = Literal["open", "reserved"]
PmrAccess = Literal["reserved", "accessible", "not_accessible", "unknown"]
GridConnection = Literal["direct", "indirect"]
ParkingType = Literal[  # OCPI ParkingType
    "along_motorway",
    "parking_garage",
    "parking_lot",
    "on_driveway",
    "on_street",
    "underground_garage",
]
Current = Literal["ac_1_phase", "ac_2_phase", "ac_2_phase_split", "ac_3_phase", "dc"]  # OCPI
Format = Literal["socket", "cable"]
FRANCE = "FRA"


class _Static(BaseModel):
    """What all have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    other: Other = Field(default_factory=dict, description="What no member has room for.")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unstorable(cls, value: Any) -> Any:
        return storable(value)

    def stored(self) -> dict[str, Any]:
        """The members that are set, as JSON."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {name: value for name, value in values.items() if value not in ({}, [])}


class PointTerms(_Static):
    """How a point may be used. A site's hold for its points that say nothing."""

    pmr_access: PmrAccess | None = Field(default=None, description="For people with disabilities.")
    mass_max_t: Annotated[float, Field(gt=0, le=100)] | None = None
    height_max_m: Annotated[float, Field(gt=0, le=20)] | None = None
    length_max_m: Annotated[float, Field(gt=0, le=50)] | None = None
    width_max_m: Annotated[float, Field(gt=0, le=20)] | None = None
    size_limits: Text | None = Field(
        default=None, description="Limits of size in words, where the numbers do not tell them."
    )
    reservation: Truth | None = Field(default=None, description="May be reserved beforehand.")
    free: Truth | None = Field(default=None, description="Charging costs nothing.")
    pays_ad_hoc: Truth | None = Field(default=None, description="Without any contract.")
    pays_card: Truth | None = Field(default=None, description="At a terminal for bank cards.")
    pays_card_contactless: Truth | None = None
    pays_other: Truth | None = None
    pays_subscription: Truth | None = None
    pays_roaming: Truth | None = Field(default=None, description="Through mobility providers.")
    tariff_text: LongText | None = Field(default=None, description="Prices in words.")
    plug_and_charge: Truth | None = None
    smart_charging: Truth | None = Field(default=None, description="Its power can be governed.")
    observations: LongText | None = None


class Life(_Static):
    """When a thing came and goes. A station's hold for its points that say nothing."""

    installed_on: Day | None = Field(default=None, description="Date of the installation report.")
    commissioned_on: Day | None = None
    decommissioned_on: Day | None = None
    warranty_manufacturer_until: Day | None = Field(
        default=None, description="Last day; absent: 24 months from commissioning (CGV 5.4 b)."
    )
    warranty_installation_until: Day | None = Field(
        default=None, description="Last day; absent: one year from installation (CGV 8)."
    )

    @model_validator(mode="after")
    def _in_order(self) -> "Life":
        order = ("installed_on", "commissioned_on", "decommissioned_on")
        days = [(name, getattr(self, name)) for name in order if getattr(self, name)]
        for (earlier, day), (later, next_day) in pairwise(days):
            if next_day < day:
                raise refusal(Broken("dates_order", earlier=earlier, later=later))
        return self


class SiteStatic(PointTerms):
    """A site: the station of IRVE, the location of OCPI."""

    owner_name: Text | None = Field(default=None, description="Aménageur: whose points they are.")
    owner_siren: Siren | None = None
    owner_email: Email | None = None
    operator_name: Text | None = None
    operator_siren: Siren | None = None
    operator_email: Email | None = None
    operator_phone: Phone | None = Field(default=None, description="Kept as +33184710062.")
    brand_name: Text | None = Field(default=None, description="Enseigne: name of the network.")
    afirev_station_id: StationId | None = Field(
        default=None, description="Kept in capitals without separators; its letter is P."
    )
    local_id: Text | None = None
    implantation: Implantation | None = None
    parking_type: ParkingType | None = None
    address: Text | None = Field(default=None, description="Number and street.")
    postal_code: Text | None = None
    city: Text | None = None
    insee_code: InseeCode | None = None
    country: Country | None = Field(default=None, description="ISO 3166 alpha-3; absent: FRA.")
    longitude: Longitude | None = None
    latitude: Latitude | None = None
    directions: LongText | None = None
    opening_hours: OpeningHours | None = Field(
        default=None, description="24/7, or like Mo-Fr 08:00-12:00,Sa 09:00-12:00."
    )
    access: Access | None = Field(default=None, description="Reserved: behind a barrier, badge.")
    two_wheelers_only: Truth | None = None
    grid_connection: GridConnection | None = Field(
        default=None, description="Direct: the delivery point serves these points alone."
    )
    delivery_point: DeliveryPoint | None = Field(default=None, description="PDL, 14 digits.")
    power_w_max: PowerW | None = Field(default=None, description="Of all points together.")
    commissioned_on: Day | None = None
    facilities: Annotated[list[Word], Field(max_length=50)] | None = Field(
        default=None, description="What is near: words of OCPI Facility, in small letters."
    )
    equipment: Annotated[list[Word], Field(max_length=50)] | None = Field(
        default=None, description="equipement_afir of IRVE 3, in small letters."
    )
    energy_supplier: Text | None = None
    green_energy: Truth | None = None

    @model_validator(mode="after")
    def _french(self) -> "SiteStatic":
        """The rules of French places, where the site is in France."""
        if self.country not in (None, FRANCE):
            return self
        try:
            if self.postal_code is not None:
                point_rules.postal_code(self.postal_code)
            if self.longitude is not None and self.latitude is not None:
                point_rules.region(self.longitude, self.latitude)
        except Broken as broken:
            raise refusal(broken) from None
        return self


class StationStatic(Life):
    """A box with a socket to us; it holds one or more points."""

    floor: Floor | None = None
    place: Text | None = Field(default=None, description="Where on the site: parking space 12.")


class ConnectorStatic(_Static):
    """What is known of a connector beyond its type and power."""

    connector_id: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
    format: Format | None = Field(default=None, description="Cable: attached to the point.")
    current: Current | None = None
    voltage_max_v: Annotated[int, Field(strict=True, ge=1, le=5_000)] | None = None
    current_max_a: Annotated[int, Field(strict=True, ge=1, le=5_000)] | None = None
    tariff_ids: Annotated[list[Text], Field(max_length=20)] | None = None


class EvseStatic(PointTerms, Life):
    """A point of charge. Its identifier, power and connectors' types stand beside it."""

    local_id: Text | None = None
    label: Text | None = Field(default=None, description="What is written on it.")
    floor: Floor | None = None
    directions: LongText | None = None
    connectors: Annotated[list[ConnectorStatic], Field(max_length=100)] = Field(
        default_factory=list
    )

    @model_validator(mode="after")
    def _once(self) -> "EvseStatic":
        seen: set[int] = set()
        for connector in self.connectors:
            if connector.connector_id in seen:
                raise refusal(Broken("connector_twice", value=connector.connector_id))
            seen.add(connector.connector_id)
        return self

    def stored(self) -> dict[str, Any]:
        """The members that are set, as JSON; of the connectors too."""
        values = super().stored()
        if self.connectors:
            values["connectors"] = [connector.stored() for connector in self.connectors]
        return values


class Warranty(BaseModel):
    """Last days of the warranties; None where the day that they count from is not known."""

    manufacturer_until: date | None
    installation_until: date | None


def warranty(life: Life) -> Warranty:
    """The manufacturer's 24 months from commissioning (article 5.4 b) and the installer's year
    from installation (article 8), unless other last days are stated."""
    manufacturer, installation = life.warranty_manufacturer_until, life.warranty_installation_until
    if manufacturer is None and life.commissioned_on is not None:
        manufacturer = point_rules.months_later(life.commissioned_on, 24)
    if installation is None and life.installed_on is not None:
        installation = point_rules.months_later(life.installed_on, 12)
    return Warranty(manufacturer_until=manufacturer, installation_until=installation)
