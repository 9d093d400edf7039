"""The days that a report is about: a month, or any days, of Paris."""

import calendar
import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from billing import formats
from reporting.availability import Period, paris_days

DAYS_MAX: Final = 400  # a year, and what a report compares it with
_YEARS: Final = (2000, 2099)
_FORM: Final = re.compile(r"(\d{4}-\d{2}-\d{2})\.\.(\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True, slots=True)
class Span:
    """From the first day to the last one, both included."""

    first: date
    last: date

    def __post_init__(self) -> None:
        """Raises: ValueError where it ends before it begins, or is longer than DAYS_MAX."""
        if self.last < self.first:
            raise ValueError("the last day lies before the first")
        if (self.last - self.first).days >= DAYS_MAX:
            raise ValueError(f"a report is about {DAYS_MAX} days at most")
        if not (_YEARS[0] <= self.first.year and self.last.year <= _YEARS[1]):
            raise ValueError(f"the years are {_YEARS[0]} to {_YEARS[1]}")

    @classmethod
    def month(cls, first: date) -> "Span":
        """The month that a day lies in."""
        last = calendar.monthrange(first.year, first.month)[1]
        return cls(first.replace(day=1), first.replace(day=last))

    @classmethod
    def parse(cls, text: str) -> "Span":
        """From 2026-10, or 2026-10-01..2026-10-15. Raises: ValueError."""
        days = _FORM.fullmatch(text)
        try:
            if days is not None:
                return cls(date.fromisoformat(days[1]), date.fromisoformat(days[2]))
            if re.fullmatch(r"\d{4}-\d{2}", text):
                return cls.month(date.fromisoformat(f"{text}-01"))
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from None
        raise ValueError(
            f"{text!r} is neither a month like 2026-10 nor days like 2026-10-01..2026-10-15"
        )

    @property
    def period(self) -> Period:
        """Its moments, in Paris."""
        return paris_days(self.first, self.last)

    @property
    def days(self) -> list[date]:
        """Every day."""
        return [self.first + timedelta(n) for n in range((self.last - self.first).days + 1)]

    def shown(self, language: str) -> str:
        """octobre 2026; du 01/10/2026 au 15/10/2026."""
        if self == Span.month(self.first):
            return formats.month_name(self.first, language)
        first, last = formats.day(self.first, language), formats.day(self.last, language)
        return f"du {first} au {last}" if language == "fr" else f"{first} to {last}"

    def __str__(self) -> str:
        if self == Span.month(self.first):
            return f"{self.first:%Y-%m}"
        return f"{self.first}..{self.last}"
