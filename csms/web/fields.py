"""Kinds of fields, and what all shapes share. Input is strict: unknown members, odd types, NUL and
control characters in names are refused with the field's name. Output times are RFC 3339 in UTC
with Z."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from csms import registry
from csms.static_data.fields import storable
from csms.store.paging import CURSOR_LENGTH_MAX, LIMIT_MAX

Item = TypeVar("Item")

BIGINT_MAX = 2**63 - 1
INT_MAX = 2**31 - 1
DAY_MIN, DAY_MAX = date(2010, 1, 1), date(2090, 12, 31)  # the calendar reaches a little further
REGISTER_WH_MAX = 999_999_999_999


def _trimmed(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("printable characters only, and no space at the ends")
    return text


def _plus_in_query(value: Any) -> Any:
    """An unescaped + in a query arrives as a space; in a time it can only have been the offset."""
    if isinstance(value, str):
        return re.sub(r" (\d\d:?\d\d)$", r"+\1", value)
    return value


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("this time is out of range") from None


def _iso_day(value: Any) -> Any:
    """A day as YYYY-MM-DD, and nothing else that could be read as one."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("a day is written YYYY-MM-DD")
    if not isinstance(value, str | date):
        raise ValueError("a day is written YYYY-MM-DD")
    return value


def connector_type(text: str) -> str:
    """The OCPP 2.0.1 name of the type."""
    found = registry.connector_type(text)
    if found is None:
        raise ValueError(f"one of {', '.join(registry.CONNECTOR_TYPES)}")
    return found


def plain_number(value: Any) -> Any:
    """An exact decimal as a JSON number: whole ones without a fraction."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_trimmed)]
Label = Annotated[str, Field(max_length=255), AfterValidator(_trimmed)]
Note = Annotated[str, Field(min_length=1, max_length=4_000)]
Moment = Annotated[AwareDatetime, BeforeValidator(_plus_in_query), AfterValidator(_to_utc)]
Day = Annotated[date, BeforeValidator(_iso_day), Field(ge=DAY_MIN, le=DAY_MAX)]
Truth = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1, le=INT_MAX)]
Identifier = Annotated[int, Field(ge=0, le=BIGINT_MAX)]
Register = Annotated[Decimal, Field(ge=0, le=REGISTER_WH_MAX, decimal_places=3)]
RegisterOut = Annotated[int | float | None, BeforeValidator(plain_number)]
Static = dict[str, Any]
Utc = Annotated[
    datetime,
    PlainSerializer(
        lambda moment: moment.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        return_type=str,
        when_used="json",
    ),
]

Protocol = Literal["ocpp1.6", "ocpp2.0.1"]
BootStatus = Literal["accepted", "pending", "rejected"]
TokenStatus = Literal["accepted", "blocked", "expired", "invalid"]
TokenType = Literal[
    "Central",
    "eMAID",
    "ISO14443",
    "ISO15693",
    "KeyCode",
    "Local",
    "MacAddress",
    "NoAuthorization",
]
State = Literal["active", "ended", "lost"]
Direction = Literal["in", "out"]
CommandStatus = Literal["queued", "sent", "accepted", "rejected", "failed", "expired", "cancelled"]
Resolution = Literal["dismissed", "attached", "confirmed", "created"]

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Rows at most.")]
CursorText = Annotated[
    str | None, Query(max_length=CURSOR_LENGTH_MAX, description="`next` of the page before.")
]
From = Annotated[
    Moment | None, Query(alias="from", description="Only from this moment on (RFC 3339).")
]
To = Annotated[Moment | None, Query(description="Only before this moment (RFC 3339).")]


class Input(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unstorable(cls, value: Any) -> Any:
        return storable(value)

    def named(self) -> dict[str, Any]:
        """The members that the client named, null ones too; no others."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Output(BaseModel):
    """What we answer, made from a row."""

    model_config = ConfigDict(from_attributes=True)


class PageOf(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next: str | None = Field(description="Cursor of the next page; null on the last one.")
    total: int = Field(description="Length of the whole list, as counted for its first page.")
