"""A report as what is shown of it, whatever it is shown on: a page, paper, a workbook.

Values are what they are (Wh, cents, seconds, moments); `shown` writes one for people. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from babel.numbers import format_decimal

from billing import formats

NONE = "–"
_LOCALES = {"fr": "fr_FR", "en": "en_GB"}


class Kind(StrEnum):
    """What a column holds. A value of None is shown as a dash."""

    TEXT = "text"
    NUMBER = "number"
    ENERGY = "energy"  # Wh
    POWER = "power"  # W
    MONEY = "money"  # cents
    PERCENT = "percent"  # hundredths of a percent
    DURATION = "duration"  # seconds
    DAY = "day"
    MOMENT = "moment"


@dataclass(frozen=True, slots=True)
class Column:
    """Its head, what it holds, and its share of the width."""

    head: str
    kind: Kind
    width: float


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of values, and their total where there is one. `name`: of its sheet in a workbook.
    `more`: rows that are only in the workbook and the JSON, where a page has room for no more."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[object, ...], ...]
    total: tuple[object, ...] | None = None
    more: tuple[tuple[object, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart as PNG, with its text for those who do not see it."""

    png: bytes
    alt: str
    ratio: float  # height by width


@dataclass(frozen=True, slots=True)
class Section:
    """A part with its title, what is said of it, charts and a table. `for_workbook`: its rows are
    too many for a page; it stands in the workbook only."""

    title: str
    intro: str = ""
    pictures: tuple[Picture, ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()
    for_workbook: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that stands out."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A whole report in one language."""

    title: str
    of: str  # whose
    span: str
    made_at: datetime
    made: str  # when, in words
    language: str
    figures: tuple[Figure, ...]
    rules_title: str
    rules: tuple[str, ...]
    sections: tuple[Section, ...] = field(default_factory=tuple)

    @property
    def parts(self) -> tuple[Section, ...]:
        """The sections that stand on a page."""
        return tuple(section for section in self.sections if not section.for_workbook)


def shown(value: object, kind: Kind, language: str) -> str:
    """A value for people."""
    if value is None:
        return NONE
    if kind is Kind.TEXT:
        return str(value)
    if kind is Kind.DAY:
        assert isinstance(value, date)
        return formats.day(value, language)
    if kind is Kind.MOMENT:
        assert isinstance(value, datetime)
        return formats.moment(value, language)
    assert isinstance(value, int)
    if kind is Kind.ENERGY:
        return formats.energy(value, language, places=1)
    if kind is Kind.POWER:
        return power(value, language)
    if kind is Kind.MONEY:
        return formats.money(value, language)
    if kind is Kind.PERCENT:
        return percent(value, language)
    if kind is Kind.DURATION:
        return duration(value, language)
    return number(value, language)


def number(value: int, language: str) -> str:
    """1 234."""
    return str(format_decimal(value, "#,##0", locale=_LOCALES[language]))


def decimal(value: float, language: str) -> str:
    """1 234,5: a number of a scale, as short as it goes."""
    return str(format_decimal(value, "#,##0.##", locale=_LOCALES[language]))


def percent(hundredths: int, language: str) -> str:
    """99,50 %: always two places, for they are compared."""
    text = format_decimal(Decimal(hundredths) / 100, "#,##0.00", locale=_LOCALES[language])
    return f"{text}\u202f%" if language == "fr" else f"{text}%"


def power(watts: int, language: str) -> str:
    """36,0 kW; to the tenth."""
    kilowatts = (Decimal(watts) / 1000).quantize(Decimal("0.1"), ROUND_HALF_UP)
    return f"{format_decimal(kilowatts, '#,##0.0', locale=_LOCALES[language])}\u00a0kW"


def duration(seconds: int, language: str) -> str:
    """1 452 h 05; 4 min 30 s below an hour: seconds are what is counted."""
    if seconds < 3_600:
        minutes, rest = divmod(seconds, 60)
        return f"{minutes}\u00a0min\u00a0{rest:02}\u00a0s" if rest else f"{minutes}\u00a0min"
    hours, rest = divmod(seconds, 3_600)
    return f"{number(hours, language)}\u00a0h\u00a0{rest // 60:02}"


def is_figure(kind: Kind) -> bool:
    """Whether a column is set to the right."""
    return kind not in (Kind.TEXT, Kind.DAY, Kind.MOMENT)


def texts(row: Sequence[object], columns: Sequence[Column], language: str) -> list[str]:
    """A row for people; '' where a total has nothing to say."""
    return [
        "" if value == "" else shown(value, column.kind, language)
        for value, column in zip(row, columns, strict=True)
    ]
