"""Static data from JSON: strictly where somebody enters it, leniently where it is stored."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, TypeVar

from pydantic import ValidationError

from csms.domain.point_rules import Broken
from csms.static_data.models import (
    EvseStatic,
    Life,
    PointTerms,
    SiteStatic,
    StationStatic,
    Warranty,
    warranty,
)
from csms.static_data.texts import TEXTS, Language, message

Model = TypeVar("Model", SiteStatic, StationStatic, EvseStatic)


# Where a rule of several members is told.
_FIELD_OF = {
    "coordinates_swapped": "latitude",
    "coordinates_outside": "latitude",
    "postal_form": "postal_code",
}


class Flaw(Broken):
    """One thing that is wrong in what somebody wrote."""

    def __init__(self, field: str, code: str, text: str, parts: Mapping[str, Any]) -> None:
        super().__init__(code, **parts)
        self.field = field  # dotted; empty: the whole
        self.text = text  # English

    def told(self, language: Language) -> str:
        """The sentence; French where the rule is ours, else as pydantic says it."""
        return message(self.code, language, **self.parts) if self.code in TEXTS else self.text


def flaws(
    model: type[SiteStatic] | type[StationStatic] | type[EvseStatic], values: Mapping[str, Any]
) -> list[Flaw]:
    """What is wrong with the values; nothing where they can be stored."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        return _flaws_of(error)
    return []


def _flaws_of(error: ValidationError) -> list[Flaw]:
    return [
        Flaw(
            ".".join(str(part) for part in item["loc"]) or _FIELD_OF.get(item["type"], ""),
            item["type"],
            item["msg"].removeprefix("Value error, "),
            item.get("ctx", {}) if item["type"] in TEXTS else {},
        )
        for item in error.errors()
    ]


def lenient(model: type[Model], stored: Mapping[str, Any]) -> tuple[Model, list[Flaw]]:
    """What is stored as far as it can be used, and what cannot: it may be older than the rules."""
    try:
        return model.model_validate(stored), []
    except ValidationError as error:
        found = _flaws_of(error)
    kept = _without(stored, found)
    rest = flaws(model, kept)
    if rest:  # each is well formed, together they contradict
        kept = {name: value for name, value in kept.items() if name not in _DATES}
        kept = _without(kept, rest)
        found += [flaw for flaw in rest if flaw.code not in {known.code for known in found}]
    return model.model_validate(kept), found


def _without(stored: Mapping[str, Any], found: Iterable[Flaw]) -> dict[str, Any]:
    """The members that no flaw names; half a place is none."""
    bad = {flaw.field.partition(".")[0] for flaw in found}
    if bad & _PLACE:
        bad |= _PLACE
    return {name: value for name, value in stored.items() if name not in bad}


_PLACE = {"longitude", "latitude"}
_DATES = [name for name in Life.model_fields if name.endswith("_on")]


def merged(before: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """What was known with what is stated anew in it; `other` member by member, at every depth."""
    result = dict(before)
    for name, value in stated.items():
        known = result.get(name)
        nested = isinstance(value, Mapping) and isinstance(known, Mapping)
        result[name] = merged(known, value) if nested else value  # type: ignore[arg-type]
    return result


_TERMS = [name for name in PointTerms.model_fields if name != "other"]
_LIFE = [name for name in Life.model_fields if name != "other"]


def terms_of(site: SiteStatic, evse: EvseStatic) -> PointTerms:
    """How a point may be used: as it says, else as its site says."""
    values = {name: _first(getattr(evse, name), getattr(site, name)) for name in _TERMS}
    return PointTerms.model_construct(**values)


def life_of(station: StationStatic, evse: EvseStatic) -> Life:
    """When a point came: as it says, else as its station says."""
    values = {name: _first(getattr(evse, name), getattr(station, name)) for name in _LIFE}
    return Life.model_construct(**values)


def stored_warranty(station: Mapping[str, Any], evse: Mapping[str, Any]) -> Warranty:
    """The warranties of a point from what is stored of it and its station; quick, for lists."""
    days: dict[str, Any] = {name: _day(_first(evse.get(name), station.get(name))) for name in _LIFE}
    return warranty(Life.model_construct(other={}, **days))


def _day(stored: Any) -> date | None:
    try:
        return date.fromisoformat(stored)
    except (TypeError, ValueError):
        return None


def _first(own: Any, inherited: Any) -> Any:
    return inherited if own is None else own
