"""Objects of OCPI 2.2.1 of the modules that we serve, or are served by.

Required is what the specification requires, so that what we send is whole. What we receive may have
more, which is passed over, and times without a zone. Amounts are euros as the hub wants them
(Decimal), energy is kWh and duration hours.
"""

from functools import cache
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field, TypeAdapter

from reporting.ocpi.kinds import (
    Allowed,
    AuthMethod,
    Capability,
    CdrDimensionType,
    Clock,
    CommandAnswer,
    CommandOutcome,
    ConnectorFormat,
    Country2,
    Country3,
    Currency,
    Day,
    Degrees,
    Dimension,
    EvseStatus,
    ImageCategory,
    InterfaceRole,
    Moment,
    Number,
    ParkingRestriction,
    ParkingType,
    Party,
    PowerType,
    ProfileType,
    Reservation,
    Role,
    SessionStatus,
    Shape,
    TariffType,
    Text20,
    Text36,
    Text39,
    Text45,
    Text64,
    Text255,
    TokenType,
    Url,
    Weekday,
    Whitelist,
)

Item = TypeVar("Item")
Whole = Annotated[int, Field(ge=0)]


class DisplayText(Shape):
    """A text in a language (ISO 639-1), without markup."""

    language: Annotated[str, Field(min_length=2, max_length=2)]
    text: Annotated[str, Field(max_length=512)]


class Price(Shape):
    """An amount; without `incl_vat` no VAT is known."""

    excl_vat: Number
    incl_vat: Number | None = None


# --- Locations ------------------------------------------------------------------------------------


class Coordinates(Shape):
    """Degrees as text, five to seven decimals."""

    latitude: Degrees
    longitude: Degrees


class OtherCoordinates(Coordinates):
    """Of an entrance, or another related place."""

    name: DisplayText | None = None


class Image(Shape):
    """A picture at an address."""

    url: Url
    thumbnail: Url | None = None
    category: ImageCategory
    type: Annotated[str, Field(max_length=4)]
    width: Annotated[int, Field(ge=0, le=99_999)] | None = None
    height: Annotated[int, Field(ge=0, le=99_999)] | None = None


class BusinessDetails(Shape):
    """A company as drivers see it."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    website: Url | None = None
    logo: Image | None = None


class PublishToken(Shape):
    """Whose tokens may see a place that is not published."""

    uid: Text36 | None = None
    type: TokenType | None = None
    visual_number: Text64 | None = None
    issuer: Text64 | None = None
    group_id: Text36 | None = None


class RegularHours(Shape):
    """Of a day of the week, 1 (Monday) to 7; the end is not included."""

    weekday: Annotated[int, Field(ge=1, le=7)]
    period_begin: Clock
    period_end: Clock


class ExceptionalPeriod(Shape):
    """A time that is not as usual."""

    period_begin: Moment
    period_end: Moment


class Hours(Shape):
    """When a place is open."""

    twentyfourseven: bool
    regular_hours: list[RegularHours] | None = None
    exceptional_openings: list[ExceptionalPeriod] | None = None
    exceptional_closings: list[ExceptionalPeriod] | None = None


class EnergySource(Shape):
    """A part of the energy, in percent."""

    source: Text36
    percentage: Number


class EnvironmentalImpact(Shape):
    """Grams per kWh."""

    category: Text36
    amount: Number


class EnergyMix(Shape):
    """Where the energy is from."""

    is_green_energy: bool
    energy_sources: list[EnergySource] | None = None
    environ_impact: list[EnvironmentalImpact] | None = None
    supplier_name: Text64 | None = None
    energy_product_name: Text64 | None = None


class StatusSchedule(Shape):
    """What an EVSE will be."""

    period_begin: Moment
    period_end: Moment | None = None
    status: EvseStatus


class Connector(Shape):
    """A socket, or a cable; volts, amperes and watts at most."""

    id: Text36
    standard: Text36
    format: ConnectorFormat
    power_type: PowerType
    max_voltage: Whole
    max_amperage: Whole
    max_electric_power: Whole | None = None
    tariff_ids: list[Text36] | None = None
    terms_and_conditions: Url | None = None
    last_updated: Moment


class Evse(Shape):
    """One car at a time."""

    uid: Text36
    evse_id: Annotated[str, Field(max_length=48)] | None = None
    status: EvseStatus
    status_schedule: list[StatusSchedule] | None = None
    capabilities: list[Capability] | None = None
    connectors: Annotated[list[Connector], Field(min_length=1)]
    floor_level: Annotated[str, Field(max_length=4)] | None = None
    coordinates: Coordinates | None = None
    physical_reference: Annotated[str, Field(max_length=16)] | None = None
    directions: list[DisplayText] | None = None
    parking_restrictions: list[ParkingRestriction] | None = None
    images: list[Image] | None = None
    last_updated: Moment


class Location(Shape):
    """A place with EVSEs."""

    country_code: Country2
    party_id: Party
    id: Text36
    publish: bool
    publish_allowed_to: list[PublishToken] | None = None
    name: Text255 | None = None
    address: Text45
    city: Text45
    postal_code: Annotated[str, Field(max_length=10)] | None = None
    state: Text20 | None = None
    country: Country3
    coordinates: Coordinates
    related_locations: list[OtherCoordinates] | None = None
    parking_type: ParkingType | None = None
    evses: list[Evse] | None = None
    directions: list[DisplayText] | None = None
    operator: BusinessDetails | None = None
    suboperator: BusinessDetails | None = None
    owner: BusinessDetails | None = None
    facilities: list[Text36] | None = None
    time_zone: Text255
    opening_times: Hours | None = None
    charging_when_closed: bool | None = None
    images: list[Image] | None = None
    energy_mix: EnergyMix | None = None
    last_updated: Moment


# --- Tariffs --------------------------------------------------------------------------------------


class PriceComponent(Shape):
    """Euros per kWh, hour or session; `step_size` in Wh or seconds; `vat` in percent."""

    type: Dimension
    price: Number
    vat: Number | None = None
    step_size: Whole


class TariffRestrictions(Shape):
    """When an element holds; times and days in the place's own time, durations in seconds."""

    start_time: Clock | None = None
    end_time: Clock | None = None
    start_date: Day | None = None
    end_date: Day | None = None
    min_kwh: Number | None = None
    max_kwh: Number | None = None
    min_current: Number | None = None
    max_current: Number | None = None
    min_power: Number | None = None
    max_power: Number | None = None
    min_duration: Whole | None = None
    max_duration: Whole | None = None
    day_of_week: list[Weekday] | None = None
    reservation: Reservation | None = None


class TariffElement(Shape):
    """Prices that hold together."""

    price_components: Annotated[list[PriceComponent], Field(min_length=1)]
    restrictions: TariffRestrictions | None = None


class Tariff(Shape):
    """Prices of charging. One that changes gets another id: the hub keeps what it was told."""

    country_code: Country2
    party_id: Party
    id: Text36
    currency: Currency
    type: TariffType | None = None
    tariff_alt_text: list[DisplayText] | None = None
    tariff_alt_url: Url | None = None
    min_price: Price | None = None
    max_price: Price | None = None
    elements: Annotated[list[TariffElement], Field(min_length=1)]
    start_date_time: Moment | None = None
    end_date_time: Moment | None = None
    energy_mix: EnergyMix | None = None
    last_updated: Moment


# --- Sessions and CDRs ----------------------------------------------------------------------------


class CdrToken(Shape):
    """Whose session it is."""

    country_code: Annotated[str, Field(min_length=2, max_length=2)]  # `$$` of the ADVENIR feed
    party_id: Party
    uid: Text36
    type: TokenType
    contract_id: Text36


class CdrDimension(Shape):
    """A quantity of a period: kWh, hours, amperes, kW."""

    type: CdrDimensionType
    volume: Number


class ChargingPeriod(Shape):
    """A time in which nothing relevant changed; it ends where the next begins."""

    start_date_time: Moment
    dimensions: Annotated[list[CdrDimension], Field(min_length=1)]
    tariff_id: Text36 | None = None


class Session(Shape):
    """A session that goes on, or has ended."""

    country_code: Country2
    party_id: Party
    id: Text36
    start_date_time: Moment
    end_date_time: Moment | None = None
    kwh: Number
    cdr_token: CdrToken
    auth_method: AuthMethod
    authorization_reference: Text36 | None = None
    location_id: Text36
    evse_uid: Text36
    connector_id: Text36
    meter_id: Text255 | None = None
    currency: Currency
    charging_periods: list[ChargingPeriod] | None = None
    total_cost: Price | None = None
    status: SessionStatus
    last_updated: Moment


class CdrLocation(Shape):
    """Where it was, as it was then."""

    id: Text36
    name: Text255 | None = None
    address: Text45
    city: Text45
    postal_code: Annotated[str, Field(max_length=10)] | None = None
    state: Text20 | None = None
    country: Country3
    coordinates: Coordinates
    evse_uid: Text36
    evse_id: Annotated[str, Field(max_length=48)]
    connector_id: Text36
    connector_standard: Text36
    connector_format: ConnectorFormat
    connector_power_type: PowerType


class SignedValue(Shape):
    """A reading that the meter signed."""

    nature: Annotated[str, Field(max_length=32)]
    plain_data: Annotated[str, Field(max_length=512)]
    signed_data: Annotated[str, Field(max_length=5_000)]


class SignedData(Shape):
    """Readings that prove a session."""

    encoding_method: Text36
    encoding_method_version: int | None = None
    public_key: Annotated[str, Field(max_length=512)] | None = None
    signed_values: Annotated[list[SignedValue], Field(min_length=1)]
    url: Annotated[str, Field(max_length=512)] | None = None


class Cdr(Shape):
    """What a session cost, for good: it is never changed, only credited."""

    country_code: Country2
    party_id: Party
    id: Text39
    start_date_time: Moment
    end_date_time: Moment
    session_id: Text36 | None = None
    cdr_token: CdrToken
    auth_method: AuthMethod
    authorization_reference: Text36 | None = None
    cdr_location: CdrLocation
    meter_id: Text255 | None = None
    currency: Currency
    tariffs: list[Tariff] | None = None
    charging_periods: Annotated[list[ChargingPeriod], Field(min_length=1)]
    signed_data: SignedData | None = None
    total_cost: Price
    total_fixed_cost: Price | None = None
    total_energy: Number
    total_energy_cost: Price | None = None
    total_time: Number
    total_time_cost: Price | None = None
    total_parking_time: Number | None = None
    total_parking_cost: Price | None = None
    total_reservation_cost: Price | None = None
    remark: Text255 | None = None
    invoice_reference_id: Text39 | None = None
    credit: bool | None = None
    credit_reference_id: Text39 | None = None
    home_charging_compensation: bool | None = None
    last_updated: Moment


# --- Tokens, commands -----------------------------------------------------------------------------


class EnergyContract(Shape):
    """With whom the driver has a contract on energy."""

    supplier_name: Text64
    contract_id: Text64 | None = None


class Token(Shape):
    """A badge or an app of a driver of a partner's."""

    country_code: Country2
    party_id: Party
    uid: Text36
    type: TokenType
    contract_id: Text36
    visual_number: Text64 | None = None
    issuer: Text64
    group_id: Text36 | None = None
    valid: bool
    whitelist: Whitelist
    language: Annotated[str, Field(min_length=2, max_length=2)] | None = None
    default_profile_type: ProfileType | None = None
    energy_contract: EnergyContract | None = None
    last_updated: Moment


class LocationReferences(Shape):
    """Where a token is to charge."""

    location_id: Text36
    evse_uids: list[Text36] | None = None


class AuthorizationInfo(Shape):
    """Whether a token may charge now."""

    allowed: Allowed
    token: Token
    location: LocationReferences | None = None
    authorization_reference: Text36 | None = None
    info: DisplayText | None = None


class StartSession(Shape):
    """A partner asks us to start a session."""

    response_url: Url
    token: Token
    location_id: Text36
    evse_uid: Text36 | None = None
    connector_id: Text36 | None = None
    authorization_reference: Text36 | None = None


class StopSession(Shape):
    """A partner asks us to end a session."""

    response_url: Url
    session_id: Text36


class CommandResponse(Shape):
    """Whether we take a command; its result follows within so many seconds."""

    result: CommandAnswer
    timeout: Whole
    message: list[DisplayText] | None = None


class CommandResult(Shape):
    """What became of a command."""

    result: CommandOutcome
    message: list[DisplayText] | None = None


# --- Credentials, versions ------------------------------------------------------------------------


class CredentialsRole(Shape):
    """Somebody who speaks through these credentials."""

    role: Role
    business_details: BusinessDetails
    party_id: Party
    country_code: Country2


class Credentials(Shape):
    """How to speak to a party: its token, the address of its versions."""

    token: Text64
    url: Url
    roles: Annotated[list[CredentialsRole], Field(min_length=1)]


class Version(Shape):
    """A version and where its details are."""

    version: Annotated[str, Field(max_length=10)]
    url: Url


class Endpoint(Shape):
    """Where a module is."""

    identifier: Text36
    role: InterfaceRole
    url: Url


class VersionDetails(Shape):
    """All modules of a version."""

    version: Annotated[str, Field(max_length=10)]
    endpoints: Annotated[list[Endpoint], Field(min_length=1)]


# --- Around them ----------------------------------------------------------------------------------


class Envelope(Shape, Generic[Item]):
    """What every answer is in: `status_code` is OCPI's own, beside that of HTTP."""

    data: Item | None = None
    status_code: int
    status_message: Annotated[str, Field(max_length=1_000)] | None = None
    timestamp: Moment


def patch_of(shape: type[Shape], received: Any) -> dict[str, Any]:
    """A PATCH as it was received: the named fields, each as the shape wants it. Raises: ValueError
    for a field that is wrong, or without `last_updated`."""
    if not isinstance(received, dict) or "last_updated" not in received:
        raise ValueError("A PATCH is an object with last_updated.")
    return {
        name: _of_field(shape, name).validate_python(value)
        for name, value in received.items()
        if name in shape.model_fields
    }


@cache
def _of_field(shape: type[Shape], name: str) -> TypeAdapter[Any]:
    field = shape.model_fields[name]
    kind: Any = field.annotation
    for constraint in field.metadata:
        kind = Annotated[kind, constraint]
    return TypeAdapter(kind)


def same_text(one: str, other: str) -> bool:
    """Whether two texts are one, as OCPI compares its CiStrings."""
    return one.casefold() == other.casefold()
