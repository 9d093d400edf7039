"""Shapes of what happened: sessions, frames, the desk, what was seen of stations, and quirks."""

from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from csms.web.fields import (
    Count,
    Direction,
    Identifier,
    Input,
    Moment,
    Name,
    Note,
    Output,
    Register,
    RegisterOut,
    Resolution,
    State,
    Utc,
)


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


class VariableOut(Output):
    component: str = Field(description="Empty: a key of OCPP 1.6.")
    component_instance: str
    evse_id: int = Field(description="0: the station as a whole.")
    connector_id: int
    variable: str
    variable_instance: str
    attribute: str
    value: str | None
    mutability: str | None
    reported_at: Utc


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
