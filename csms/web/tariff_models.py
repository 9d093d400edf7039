"""Shapes of tariffs, of where they hold, and of what a session would cost."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.config import JsonDict

from csms.web.fields import Count, Day, Identifier, Input, Moment, Name, Output, Utc

ENERGY_WH_MAX = 10_000_000
READINGS_MAX = 5_000
CONTENT: JsonDict = {
    "currency": "EUR",
    "elements": [
        {
            "price_components": [{"type": "ENERGY", "price": 0.22, "step_size": 1}],
            "restrictions": {"start_time": "22:00", "end_time": "06:00"},
        },
        {"price_components": [{"type": "ENERGY", "price": 0.35, "step_size": 1}]},
    ],
}

Content = Annotated[
    dict[str, Any],
    Field(
        description="An OCPI 2.2.1 Tariff, in euros. Our `taxes_included` (true) says that prices "
        "include VAT."
    ),
]
Percent = Annotated[Decimal, Field(ge=0, le=100, max_digits=5, decimal_places=2)]
Exact = Annotated[Decimal, PlainSerializer(lambda number: f"{number:f}", return_type=str)]
Energy = Annotated[int, Field(strict=True, ge=0, le=ENERGY_WH_MAX)]


class TariffIn(Input):
    client_id: Identifier
    code: Annotated[str, Field(min_length=1, max_length=36, pattern="^[A-Za-z0-9_-]+$")]
    name: Name


class TariffOut(Output):
    id: int
    client_id: int
    code: str
    name: str
    created_at: Utc
    retired_at: Utc | None


class VersionIn(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"content": CONTENT, "from_at": "2026-12-01T00:00:00+01:00"}]
        }
    )
    content: Content
    from_at: Moment = Field(description="Sessions that begin from then on; what held ends then.")
    to_at: Moment | None = Field(default=None, description="Null: until another version.")


class VersionOut(Output):
    id: int
    tariff_id: int
    from_at: Utc
    to_at: Utc | None
    content: dict[str, Any]
    sentences: list[str] = Field(description="The prices in words, in the caller's language.")
    created_at: Utc
    created_by: str


class VersionMadeOut(VersionOut):
    warnings: list[str] = Field(description="Hours, amounts or durations without a price.")


class ScopeIn(Input):
    """All null: everywhere at the client's, for everybody."""

    site_id: Name | None = None
    station_id: Name | None = None
    evse_id: Count | None = Field(default=None, description="Of that station.")
    group_id: Identifier | None = Field(default=None, description="For its drivers alone.")
    from_at: Moment
    to_at: Moment | None = None


class ScopeOut(Output):
    id: int
    tariff_id: int
    site_id: str | None
    station_id: str | None
    evse_id: int | None
    group_id: int | None
    from_at: Utc
    to_at: Utc | None = Field(description="Equal to `from_at`: it never took effect.")


class ReadingIn(Input):
    at: Moment
    energy_wh: Energy = Field(description="Since the session's start.")
    power_w: Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)] | None = None


class PreviewIn(Input):
    """Either `content` or `tariff_id`; either `session_id`, or the three of a made-up session."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "content": CONTENT,
                    "started_at": "2026-11-20T20:00:00+01:00",
                    "ended_at": "2026-11-21T02:00:00+01:00",
                    "energy_wh": 21_000,
                }
            ]
        }
    )
    content: Content | None = None
    tariff_id: Identifier | None = Field(
        default=None, description="As it was, or will be, at the session's start."
    )
    session_id: Identifier | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None
    energy_wh: Energy | None = None
    readings: Annotated[list[ReadingIn], Field(max_length=READINGS_MAX)] = Field(
        default=[], description="Of a made-up session; without them energy is shared by time."
    )


class LineOut(Output):
    dimension: str
    quantity: int = Field(description="Billed: Wh, seconds, or 1.")
    energy_wh: int
    duration_s: int
    from_at: Utc
    to_at: Utc
    unit_price_eur: Exact = Field(description="Per kWh, per hour, or once.")
    vat_percent: Exact
    amount_excl_cents: int
    amount_incl_cents: int
    estimated: bool = Field(description="Its share of the energy was not measured.")


class PreviewOut(Output):
    version_id: int | None = Field(description="Null: of the content that was sent.")
    started_at: Utc
    ended_at: Utc
    energy_wh: int
    amount_excl_cents: int
    vat_cents: int
    amount_incl_cents: int
    estimated: bool
    vat_free: bool = Field(description="The client charges no VAT.")
    lines: list[LineOut]
    sentences: list[str]
    warnings: list[str] = Field(description="What the tariff leaves without a price.")


class RateIn(Input):
    from_on: Day
    to_on: Day | None = Field(default=None, description="First day after it; null: no end.")
    percent: Annotated[Percent, BeforeValidator(lambda value: _exact(value))]
    source: Name = Field(description="The law that says so.")


class RateOut(Output):
    from_on: date
    to_on: date | None
    percent: Exact
    source: str


def _exact(value: Any) -> Any:
    """A JSON number by its decimal text; 5.5 is 5.5."""
    return Decimal(repr(value)) if isinstance(value, float) else value
