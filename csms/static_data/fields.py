"""Kinds of fields of the static data: each checks itself and says what is wrong by its code."""

import json
import math
import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from csms.domain import opening_hours, point_rules
from csms.domain.point_rules import Broken
from csms.static_data.texts import TEXTS

OTHER_LENGTH_MAX = 32_000
OTHER_DEPTH_MAX = 20

Value = TypeVar("Value")


def refusal(broken: Broken) -> PydanticCustomError:
    """A broken rule as pydantic tells it: the code is its type, the sentence is English."""
    return PydanticCustomError(broken.code, TEXTS[broken.code]["en"], dict(broken.parts))


def obeying(rule: Callable[[Value], Value]) -> AfterValidator:
    """A validator from a rule that raises `Broken`."""

    def check(value: Value) -> Value:
        try:
            return rule(value)
        except Broken as broken:
            raise refusal(broken) from None

    return AfterValidator(check)


def storable(value: Any) -> Any:
    """Refuse what PostgreSQL cannot hold, anywhere in a JSON value: NUL, half surrogates, NaN."""
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, str):
            if "\0" in part:
                raise ValueError("NUL characters cannot be stored")
            if any("\ud800" <= character <= "\udfff" for character in part):
                raise ValueError("text must be valid Unicode")
        elif isinstance(part, float) and not math.isfinite(part):
            raise ValueError("numbers must be finite")
        elif isinstance(part, dict):
            rest.extend(part.keys())
            rest.extend(part.values())
        elif isinstance(part, list):
            rest.extend(part)
    return value


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("printable characters only, and no space at the ends")
    return text


def _no_number(value: Any) -> Any:
    """A number is no date, not even one of seconds."""
    if isinstance(value, int | float):
        raise ValueError("takes a date like 2026-11-25")
    return value


def _small(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse an object that is too long, or so deep that it could not be written again."""
    if _too_deep(value) or len(json.dumps(value)) > OTHER_LENGTH_MAX:
        raise refusal(Broken("other_too_much", most=OTHER_LENGTH_MAX, depth=OTHER_DEPTH_MAX))
    return value


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(OTHER_DEPTH_MAX):
        level = [
            inner
            for part in level
            if isinstance(part, dict | list)
            for inner in (part.values() if isinstance(part, dict) else part)
        ]
    return bool(level)


def _floor(value: Any) -> int | str:
    """A number where it is one, else what the lift says: RC, P2."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,3}", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and -50 <= value <= 300:
        return value
    if isinstance(value, str) and 1 <= len(value) <= 4 and value.isprintable():
        return value
    raise ValueError("takes a floor: a number from -50 to 300, or up to 4 characters")


Text = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_printable)]
LongText = Annotated[str, Field(min_length=1, max_length=4_000)]
Truth = Annotated[bool, Field(strict=True)]
Day = Annotated[
    date, Field(ge=date(1990, 1, 1), le=date(2199, 12, 31)), BeforeValidator(_no_number)
]
Other = Annotated[dict[str, Any], AfterValidator(_small)]
Floor = Annotated[
    int | str,
    PlainValidator(_floor),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": -50, "maximum": 300},
                {"type": "string", "minLength": 1, "maxLength": 4},
            ]
        }
    ),
]
Country = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Word = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,60}$")]

StationId = Annotated[Text, obeying(point_rules.station_id)]
PointId = Annotated[Text, obeying(point_rules.point_id)]
Siren = Annotated[Text, obeying(point_rules.siren)]
Phone = Annotated[Text, obeying(point_rules.phone)]
Email = Annotated[Text, obeying(point_rules.email)]
InseeCode = Annotated[Text, obeying(point_rules.insee_code)]
DeliveryPoint = Annotated[Text, obeying(point_rules.delivery_point)]
OpeningHours = Annotated[
    Annotated[str, Field(min_length=1, max_length=1_000)], obeying(opening_hours.canonical)
]
PowerW = Annotated[
    Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)], obeying(point_rules.power_w)
]
Longitude = Annotated[float, Field(strict=True, ge=-180, le=180)]
Latitude = Annotated[float, Field(strict=True, ge=-90, le=90)]
