"""How people read numbers, times and punctuation, in French and in English.

French: 1 234,56 and 22/11/2026 14:05, with spaces that do not break before : ; ? ! and within
« » and numbers. English: 1,234.56 and 22 Nov 2026, 14:05.
"""

import re
from datetime import date, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

NBSP: Final = "\u00a0"
BLANKS: Final = frozenset({NBSP, "\u202f"})
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)

_MOIS: Final = (
    *("janvier", "février", "mars", "avril", "mai", "juin"),
    *("juillet", "août", "septembre", "octobre", "novembre", "décembre"),
)
_MONTHS_WHOLE: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def typeset(texts: Any, language: str) -> Any:
    """The texts (nested lists and tables of them) with the spaces that their language asks for."""
    if isinstance(texts, dict):
        return {name: typeset(value, language) for name, value in texts.items()}
    if isinstance(texts, list):
        return [typeset(value, language) for value in texts]
    return french(texts) if language == "fr" and isinstance(texts, str) else texts


def french(text: str) -> str:
    """Spaces before double punctuation and within « » do not break; apostrophes are curved."""
    text = re.sub(r" (?=[:;?!»])", NBSP, text).replace("« ", f"«{NBSP}")
    return text.replace("'", "’")


def number(value: Decimal, decimals: int, language: str) -> str:
    """A number with so many decimals, rounded half up."""
    rounded = value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)
    text = f"{rounded:,}"
    return text.replace(",", NBSP).replace(".", ",") if language == "fr" else text


def energy(energy_wh: Any, language: str) -> str:
    """Watt-hours as kWh with two decimals; '' for None."""
    if not isinstance(energy_wh, int):
        return ""
    return number(Decimal(energy_wh) / 1000, 2, language) + f"{NBSP}kWh"


def money(amount_cents: Any, language: str) -> str:
    """Cents as euros; '' for None."""
    if not isinstance(amount_cents, int):
        return ""
    text = number(abs(Decimal(amount_cents)) / 100, 2, language)
    sign = "\N{MINUS SIGN}" if amount_cents < 0 else ""
    return f"{sign}{text}{NBSP}€" if language == "fr" else f"{sign}€{text}"


def month(value: date | None, language: str) -> str:
    """A month by its name and year; '' for None."""
    if value is None:
        return ""
    names = _MOIS if language == "fr" else _MONTHS_WHOLE
    return f"{names[value.month - 1]}{NBSP}{value.year}"


def duration(begin: datetime | None, end: datetime | None) -> str:
    """Hours and minutes between two moments; '' where one of them is unknown."""
    if begin is None or end is None or end < begin:
        return ""
    minutes = round((end - begin).total_seconds() / 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{NBSP}h{NBSP}{minutes:02}" if hours else f"{minutes}{NBSP}min"


def day(value: date | None, language: str) -> str:
    """A day; '' for None."""
    if value is None:
        return ""
    if language == "fr":
        return f"{value:%d/%m/%Y}"
    return f"{value.day}{NBSP}{_MONTHS[value.month - 1]}{NBSP}{value.year}"


def moment(value: datetime | None, zone: tzinfo, language: str) -> str:
    """A moment on the zone's clock, to the minute; '' for None."""
    if value is None:
        return ""
    local = value.astimezone(zone)
    between = NBSP if language == "fr" else f",{NBSP}"
    return f"{day(local.date(), language)}{between}{local:%H:%M}"
