"""The monthly statement as a value: what a client is told of its month, to the cent.

Pure. A `Statement` is made once from the books, stored as JSON and never changed; pages and files
show it and compute nothing anew. Amounts are cents, VAT included unless the name says otherwise,
and unsigned as they are named: `net_cents` is what is left of the collected after the deductions.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from csms.domain.values import UTC


@dataclass(frozen=True, slots=True)
class Commission:
    """Of what was collected under one rate, with the operator's VAT on top."""

    rate: Decimal  # per cent
    base_cents: int
    excl_cents: int
    vat_cents: int
    incl_cents: int


@dataclass(frozen=True, slots=True)
class Fee:
    """A sale of the operator's to the client that is deducted."""

    label: str
    excl_cents: int
    vat_cents: int
    incl_cents: int
    invoice_number: str = ""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What puts a past month right; below 0: to the client's debit."""

    amount_cents: int
    cause: str
    invoice_number: str  # of the credit or corrective; empty: none
    month: date  # which it concerns


@dataclass(frozen=True, slots=True)
class VatCollected:
    """Contained in what was collected, at one rate."""

    percent: Decimal
    base_cents: int
    vat_cents: int


@dataclass(frozen=True, slots=True)
class PointFigures:
    """What was charged at a point."""

    point: str
    site: str
    sessions: int
    energy_wh: int
    billed_cents: int
    collected_cents: int


@dataclass(frozen=True, slots=True)
class UserFigures:
    """What a driver charged."""

    label: str
    sessions: int
    energy_wh: int
    billed_cents: int
    collected_cents: int


@dataclass(frozen=True, slots=True)
class Previous:
    """The month before, for comparison."""

    sessions: int
    energy_wh: int
    collected_cents: int
    net_cents: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A client's month."""

    client_id: int
    client_name: str
    legal_name: str
    month: date
    contract_reference: str
    opening_cents: int
    collected_cents: int
    uncollected_cents: int
    commission: tuple[Commission, ...]
    fees: tuple[Fee, ...]
    offset_cents: int
    adjustments: tuple[Adjustment, ...]
    disputed_cents: int
    vat_collected: tuple[VatCollected, ...]
    net_cents: int  # below 0: carried over to the next month
    points: tuple[PointFigures, ...]
    users: tuple[UserFigures, ...]
    sessions: int
    energy_wh: int
    billed_cents: int
    previous: Previous | None
    is_simulated: bool = False  # money of the demonstration: says so wherever it shows
    lines_sha256: str = ""  # hex digest of all lines of the statement (see billing.closing)


@dataclass(frozen=True, slots=True)
class SessionLine:
    """A session on a statement. `contested`: empty, or open, upheld, rejected, withdrawn."""

    position: int
    session_id: int
    point: str
    site: str
    user: str
    started_at: datetime
    ended_at: datetime
    energy_wh: int
    amount_incl_cents: int
    vat_percent: Decimal
    collected_cents: int
    invoice_number: str
    is_estimated: bool
    is_late: bool
    contested: str


def canonical(statement: Statement, lines: Iterable[SessionLine]) -> bytes:
    """The same bytes for the same statement, always: JSON with sorted names."""
    return _written({"statement": asdict(statement), "lines": [asdict(one) for one in lines]})


def to_json(statement: Statement) -> str:
    """What is stored of it."""
    return _written(asdict(statement)).decode()


def from_json(text: str) -> Statement:
    """What `to_json` wrote."""
    told = json.loads(text)
    previous = told["previous"]
    return Statement(
        **{
            **told,
            "month": date.fromisoformat(told["month"]),
            "commission": tuple(_read(Commission, one) for one in told["commission"]),
            "fees": tuple(_read(Fee, one) for one in told["fees"]),
            "adjustments": tuple(_read(Adjustment, one) for one in told["adjustments"]),
            "vat_collected": tuple(_read(VatCollected, one) for one in told["vat_collected"]),
            "points": tuple(_read(PointFigures, one) for one in told["points"]),
            "users": tuple(_read(UserFigures, one) for one in told["users"]),
            "previous": _read(Previous, previous) if previous is not None else None,
        }
    )


def _read(shape: Any, members: Mapping[str, Any]) -> Any:
    values = dict(members)
    for name in ("rate", "percent"):
        if name in values:
            values[name] = Decimal(values[name])
    if "month" in values:
        values["month"] = date.fromisoformat(values["month"])
    return shape(**values)


def _written(value: Any) -> bytes:
    text = json.dumps(
        value, default=_plain, sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )
    return text.encode()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    assert isinstance(value, Decimal), type(value)
    return str(value)
