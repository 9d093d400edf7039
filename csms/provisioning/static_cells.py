"""Cells of a CSV file as static data: text becomes what its member takes, by the rules of
csms.static_data."""

from collections.abc import Iterator, Mapping
from typing import Any

from csms import static_data
from csms.provisioning import reading
from csms.provisioning.plan import Plan
from csms.provisioning.reading import Record
from csms.static_data import EvseStatic, SiteStatic, StationStatic

Model = type[SiteStatic] | type[StationStatic] | type[EvseStatic]


def value_of(model: Model, name: str, text: str) -> Any:
    """The value of a member from its cell, in its stored form. Raises: ValueError, with the
    reason."""
    reasons = []
    for candidate in _readings(text):
        found = static_data.flaws(model, {name: candidate})
        if not found:
            return model.model_validate({name: candidate}).stored().get(name)
        reasons += found
    ours = [flaw.text for flaw in reasons if flaw.code in static_data.TEXTS]
    raise ValueError(ours[0] if ours else reasons[-1].text[:1].lower() + reasons[-1].text[1:])


def _readings(text: str) -> Iterator[Any]:
    """What a text may stand for: itself, a number, a truth, a list of words. The last reading is
    the one whose refusal says most to people."""
    yield [part.strip() for part in text.split(",")]
    for parse in (int, lambda t: float(t.replace(",", ".")), reading.truth):
        try:
            yield parse(text)
        except ValueError:
            continue
    yield text


def from_columns(model: Model, prefix: str, record: Record, plan: Plan) -> dict[str, Any]:
    """The filled cells of the columns that begin with the prefix: members of the model where it
    has them, the rest as text under `other`."""
    values: dict[str, Any] = {}
    other: dict[str, Any] = {}
    for column, text in record.cells.items():
        name = column.removeprefix(prefix)
        if not text or name == column:
            continue
        if name not in model.model_fields or name in ("other", "connectors"):
            other[name] = text
            continue
        try:
            values[name] = value_of(model, name, text)
        except ValueError as error:
            plan.refuse(record.line, column, text, str(error))
    return values | ({"other": other} if other else {})


def check_together(
    model: Model,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    line: int,
    plan: Plan,
) -> None:
    """Refuse what cannot stand together, unless it stood there before."""
    found = static_data.flaws(model, after)
    known = {flaw.code for flaw in static_data.flaws(model, before)} if found else set()
    for flaw in found:
        if flaw.code not in known:
            plan.refuse(line, flaw.field or None, "", flaw.text)
