"""Shapes of what drivers see and ask for."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from csms.web.fields import Count, Input, Moment, Output, State, Utc

PointState = Literal[
    "free", "plugged", "occupied", "reserved", "out_of_order", "offline", "unknown"
]
ReservationState = Literal[
    "requested",
    "placed",
    "confirmed",
    "rejected",
    "used",
    "cancelled",
    "expired",
    "no_show",
]
#: as it stands on the point; typed in without care for case
PointCode = Annotated[str, Field(pattern="^[2-9A-HJKMNP-Za-hjkmnp-z]{6}$")]


class ConnectorAtPoint(Output):
    connector_id: int
    type: str | None = Field(description="OCPP 2.0.1 name, like sType2.")
    power_w_max: int | None
    status: str


class AccessOut(Output):
    open: bool
    until: Utc | None = Field(description="While open; null: nothing ends it within a week.")
    opens_at: Utc | None = Field(description="While not open; null: nothing opens it.")


class ServiceOut(Output):
    open: bool
    code: str | None = None
    detail: str | None = None


class AddressOut(Output):
    street: str | None
    postal_code: str | None
    city: str | None


class PointOut(Output):
    point_id: str = Field(description="The code that stands on the point's sticker.")
    label: str
    site_id: str | None
    site_name: str
    evse_uid: str | None
    url: str = Field(description="The point's public address.")
    distance_m: int | None = Field(description="Null: nobody said from where.")
    latitude: float | None
    longitude: float | None
    address: AddressOut
    public: bool
    power_w_max: int | None
    connectors: list[ConnectorAtPoint]
    state: PointState = Field(
        description="plugged: a car is there and does not charge; starting is possible."
    )
    mine: bool = Field(description="Occupied or reserved by the one who asks.")
    since: Utc | None
    until: Utc | None = Field(description="End of the reservation that holds now.")
    session_id: int | None = Field(description="Hers, going on.")
    reservation_id: int | None = Field(description="Hers, which holds now.")
    reserved_next_at: Utc | None = Field(description="When the next one of somebody else begins.")
    access: AccessOut
    driver_app: ServiceOut
    reservations: ServiceOut
    prices: list[str] | None = Field(
        description="For her who asks, in her language; null: none is known, or in a list."
    )


class WatchOut(Output):
    point_id: str
    expires_at: Utc = Field(description="Nobody is told after that.")


class StartIn(Input):
    model_config = ConfigDict(json_schema_extra={"examples": [{"point_id": "K7QX3M"}]})
    point_id: PointCode
    connector_id: Count | None = None


class StartOut(Output):
    start_id: int
    point_id: str
    state: Literal["asked", "accepted", "started", "refused"] = Field(
        description="asked: the station has not answered; accepted: it has, plug the car in."
    )
    code: str | None = Field(description="Why it was refused; null otherwise.")
    detail: str | None
    session_id: int | None
    created_at: Utc
    due_at: Utc = Field(description="Without a session by then, the station did nothing about it.")


class MySessionOut(Output):
    id: int
    point_id: str | None
    site_id: str | None
    site_name: str | None
    evse_id: int | None
    connector_id: int | None
    state: State
    charging_state: str | None
    authorization_status: str
    started_at: Utc
    ended_at: Utc | None
    duration_s: int
    energy_wh: int | None = Field(description="Null: unknown, never a guess.")
    power_w: float | None = Field(description="The newest, while it goes on.")
    stop_reason: str | None
    flags: list[str]
    amount_incl_cents: int | None = Field(
        description="What it costs, VAT included; null: it has no price yet."
    )
    amount_estimated: bool = Field(
        description="Some of its energy was shared among prices by time, not by the meter."
    )


class MyValueOut(Output):
    at: Utc
    measurand: str
    phase: str | None
    unit: str | None
    context: str | None
    location: str | None
    value: float | None


class ReservationIn(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "point_id": "K7QX3M",
                    "from_at": "2026-12-01T17:00:00Z",
                    "to_at": "2026-12-01T18:30:00Z",
                }
            ]
        }
    )
    point_id: PointCode
    from_at: Moment | None = Field(default=None, description="Null: now.")
    to_at: Moment


class OperatorReservationIn(ReservationIn):
    person_id: Count = Field(description="The driver for whom the point is kept.")
    whole_station: bool = Field(default=False, description="All points of the station.")


class ReservationOut(Output):
    id: int
    point_id: str | None = Field(description="Null: the station as a whole.")
    site_id: str | None
    site_name: str
    from_at: Utc
    to_at: Utc
    lapses_at: Utc = Field(description="Who is not there by then has lost it.")
    state: ReservationState
    soft: bool = Field(
        description="Kept by us alone: the station cannot show it, and others are refused."
    )
    soft_why: str | None
    created_at: Utc
    session_id: int | None
    ended_at: Utc | None


class ReservationRecordOut(ReservationOut):
    """As operators and managers see it."""

    person_id: int
    client_id: int
    station_id: str
    evse_id: int | None
    created_by: str
    command_id: int | None
    ended_by: str | None


def text_of(static: dict[str, Any] | None, name: str) -> str | None:
    """A text of static data, which may hold anything."""
    value = (static or {}).get(name)
    return value if isinstance(value, str) and value else None
