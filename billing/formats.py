"""Amounts, quantities, days and spans as people read them, in French or English.

French has its narrow no-break spaces and the decimal comma; what is below 0 has a minus sign, not a
hyphen. Cents, Wh and Decimals in: nothing here takes a float for an amount.
"""

from datetime import date, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from babel.dates import format_date
from babel.numbers import format_currency, format_decimal

from csms.deadlines import PARIS

_LOCALES: Final = {"fr": "fr_FR", "en": "en_GB"}
_MINUS: Final = "\u2212"


def money(cents: int, language: str) -> str:
    """1 234,56 €; €1,234.56."""
    text = format_currency(Decimal(cents) / 100, "EUR", locale=_LOCALES[language])
    return text.replace("-", _MINUS)


def energy(wh: int, language: str, places: int = 3) -> str:
    """37,421 kWh; rounded half up to fewer places where it is only looked at."""
    kwh = (Decimal(wh) / 1000).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    pattern = "#,##0." + "0" * places if places else "#,##0"
    text = format_decimal(kwh, pattern, locale=_LOCALES[language])
    return f"{text}\u00a0kWh"


def percent(rate: Decimal, language: str) -> str:
    """20 %; 5,5 %."""
    text = format_decimal(rate, "#,##0.##", locale=_LOCALES[language])
    return f"{text}\u202f%" if language == "fr" else f"{text}%"


def day(on: date, language: str) -> str:
    """22/11/2026."""
    return format_date(on, "dd/MM/yyyy", locale=_LOCALES[language])


def moment(at: datetime, language: str, zone: tzinfo = PARIS) -> str:
    """22/11/2026 18:05."""
    local = at.astimezone(zone)
    return f"{day(local.date(), language)} {local:%H:%M}"


def duration(seconds: float, language: str) -> str:
    """1 h 20; minutes alone below an hour."""
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours}\u00a0h\u00a0{minutes:02}" if hours else f"{minutes}\u00a0min"


def month_name(month: date, language: str) -> str:
    """novembre 2026."""
    return format_date(month, "LLLL yyyy", locale=_LOCALES[language])


def unit_price(eur: Decimal, language: str) -> str:
    """0,35 €; as many decimals as it has, two at least."""
    text = format_decimal(eur, "#,##0.00####", locale=_LOCALES[language])
    return f"{text}\u00a0€" if language == "fr" else f"€{text}"
