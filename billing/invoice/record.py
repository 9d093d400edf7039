"""A document as JSON and back: what is kept of an invoice, and hashed.

Equal documents make equal bytes: members in the order of the fields, no spaces, days as ISO 8601,
rates without trailing zeros. What was written before a field existed reads with its default.
"""

import json
from collections.abc import Iterable
from dataclasses import fields
from datetime import date
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

from billing.invoice.document import Document, DocumentLine, Party, TypeCode, VatCase, VatTotal

_FIELDS: Final[dict[type, tuple[str, ...]]] = {
    kind: tuple(field.name for field in fields(kind))
    for kind in (Document, DocumentLine, Party, VatTotal)
}
_VALUES: Final = {kind: attrgetter(*names) for kind, names in _FIELDS.items()}
_DAYS: Final = (
    "issued_on",
    "due_on",
    "supplied_from_on",
    "supplied_to_on",
    "original_issued_on",
)
_PARTIES: Final = ("seller", "buyer", "invoicer")


def to_json(document: Document) -> str:
    """The document as text, the same for equal documents always."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=_plain)


def from_json(text: str) -> Document:
    """The document that `to_json` wrote."""
    values: dict[str, Any] = json.loads(text)
    for name in _DAYS:
        if values.get(name) is not None:
            values[name] = date.fromisoformat(values[name])
    for name in _PARTIES:
        if values[name] is not None:
            values[name] = Party(**values[name])
    values |= {
        "type_code": TypeCode(values["type_code"]),
        "vat_case": VatCase(values["vat_case"]),
        "lines": tuple(map(_line, values["lines"])),
        "vat": tuple(map(_vat_total, values["vat"])),
        "mentions": _pairs(values["mentions"]),
    }
    return Document(**values)


def _plain(value: object) -> object:
    """What JSON has no word for, in words it has."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}" if value else "0"
    if isinstance(value, date):
        return value.isoformat()
    kind = type(value)
    return dict(zip(_FIELDS[kind], _VALUES[kind](value), strict=True))


def _line(values: dict[str, Any]) -> DocumentLine:
    values |= {
        "attributes": _pairs(values["attributes"]),
        "vat_percent": Decimal(values["vat_percent"]),
        "tariff": tuple(values.get("tariff", ())),
    }
    if values.get("unit_price_eur") is not None:
        values["unit_price_eur"] = Decimal(values["unit_price_eur"])
    return DocumentLine(**values)


def _vat_total(values: dict[str, Any]) -> VatTotal:
    return VatTotal(Decimal(values["percent"]), values["base_cents"], values["vat_cents"])


def _pairs(values: Iterable[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in values)
