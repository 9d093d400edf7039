"""The register of processing activities: what is done with personal data, why, and for how long.

The register itself is data (csms/data/processing.toml, which says how it is to be kept); this reads
and checks it. Texts are in French and English. Whoever applies a period takes it from here, so that
what is told and what is done are the same.
"""

import tomllib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, Final

from csms.domain.values import UTC, add_months

LANGUAGES: Final = ("fr", "en")
_FILE: Final = "processing.toml"
_TEXTS: Final = ("name", "purpose", "people", "data", "recipients", "active", "archive")


class Basis(StrEnum):
    """What makes an activity lawful (GDPR article 6(1))."""

    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    LEGITIMATE_INTEREST = "legitimate_interest"
    CONSENT = "consent"


class End(StrEnum):
    """What happens to data when its active period is over."""

    DELETED = "deleted"
    ANONYMISED = "anonymised"
    ARCHIVED = "archived"


Text = dict[str, str]  # by language
Columns = dict[str, tuple[str, ...]]  # by table


@dataclass(frozen=True, slots=True)
class Activity:
    """One processing activity (GDPR article 30)."""

    code: str
    basis: Basis
    end: End
    name: Text
    purpose: Text
    people: Text
    data: Text
    recipients: Text
    active: Text  # period in the active base
    archive: Text  # period in the intermediate archive
    columns: Columns


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie that our pages set; all are strictly necessary."""

    name: str
    purpose: Text
    lasts: Text


@dataclass(frozen=True, slots=True)
class Periods:
    """How long things are kept."""

    technical_logs_months: int
    settling_months: int  # after the end of an account
    books_years: int  # after the end of the month of a session
    proofs_years: int


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a person's export: a table or view, and what she gets of it."""

    name: str
    table: str
    covers: str  # the table itself, or that behind a view
    owner: str  # the column that names her
    columns: tuple[str, ...]
    withheld: dict[str, str]  # column: why


@dataclass(frozen=True, slots=True)
class Register:
    """All of it."""

    controller: dict[str, str]
    periods: Periods
    prospecting_version: str
    prospecting_text: Text
    cookies: tuple[Cookie, ...]
    activities: tuple[Activity, ...]
    sections: tuple[Section, ...]
    export_withheld: dict[str, str]  # table: why
    without_personal_data: Columns


@cache
def register() -> Register:
    """The register as it is shipped."""
    text = resources.files("csms").joinpath("data", _FILE).read_text(encoding="utf-8")
    return parse(text)


def parse(text: str) -> Register:
    """A register from its TOML. Raises: ValueError, KeyError or TypeError where it is not whole."""
    raw = tomllib.loads(text)
    found = Register(
        controller=raw["controller"],
        periods=Periods(**raw["periods"]),
        prospecting_version=raw["prospecting"]["version"],
        prospecting_text=_text(raw["prospecting"]["text"]),
        cookies=tuple(
            Cookie(c["name"], _text(c["purpose"]), _text(c["lasts"])) for c in raw["cookie"]
        ),
        activities=tuple(_activity(a) for a in raw["activity"]),
        sections=tuple(
            Section(
                name=name,
                table=s["table"],
                covers=s.get("covers", s["table"]),
                owner=s["owner"],
                columns=_names(s["columns"]),
                withheld=s.get("withheld", {}),
            )
            for name, s in raw["export"].items()
        ),
        export_withheld=raw["export_withheld"],
        without_personal_data=_columns(raw["without_personal_data"]),
    )
    _check_once(found)
    return found


def years_before(moment: datetime, years: int) -> datetime:
    """The same moment so many years before; the 29th of February is the 28th then."""
    return months_before(moment, 12 * years)


def months_before(moment: datetime, months: int) -> datetime:
    """The same time of the day so many calendar months before, in UTC."""
    moment = moment.astimezone(UTC)
    day = add_months(moment.date(), -months)
    return moment.replace(year=day.year, month=day.month, day=day.day)


def _activity(raw: dict[str, Any]) -> Activity:
    texts = {name: _text(raw[name]) for name in _TEXTS}
    return Activity(
        code=raw["code"],
        basis=Basis(raw["basis"]),
        end=End(raw["end"]),
        columns=_columns(raw.get("columns", {})),
        **texts,
    )


def _columns(raw: dict[str, str]) -> Columns:
    return {table: _names(names) for table, names in raw.items()}


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _text(raw: dict[str, str]) -> Text:
    if set(raw) != set(LANGUAGES) or not all(raw.values()):
        raise ValueError(f"a text in {' and '.join(LANGUAGES)}, not {raw}")
    return raw


def _check_once(found: Register) -> None:
    """Raises: ValueError for a column that is named twice."""
    seen: set[tuple[str, str]] = set()
    for columns in [*(a.columns for a in found.activities), found.without_personal_data]:
        for table, names in columns.items():
            for name in names:
                if (table, name) in seen:
                    raise ValueError(f"{table}.{name} is named twice")
                seen.add((table, name))
