"""What a late payment costs: three times the legal rate, and 40 EUR where the class allows.

Pure. Articles 5.4 c and 7 of the contract; the rates are of Code monétaire et financier, L.313-2,
one pair for each half of a year, by decree. The contract is silent on three points, decided here: a
period that crosses semesters has the rate of each for its days; a year has 365 days, a leap year
too; interest runs from the day after the due date to the day of the credit, that one included. It
is rounded once, half up. A semester whose rate nobody has verified refuses: nothing is
extrapolated.

- A payout that is late is owed to clients of the class professionnel alone, interest and 40 EUR,
  for the clause says "au Client Professionnel" (C08).
- An invoice of the operator's that is late bears interest whoever the client is; the 40 EUR are for
  professionals (C09). "Applicable aux débiteurs professionnels" is read as the rate of "tous autres
  cas", for the creditor decides of the rate, and the operator is one of these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from billing import money

TIMES: Final = 3
YEAR_DAYS: Final = 365
INDEMNITY_CENTS: Final = 4_000  # once for each late payment (Code de commerce, D.441-5)
PROFESSIONAL: Final = "professionnel"

#: what came in on a day, in cents
Credit = tuple[date, int]


@dataclass(frozen=True, slots=True)
class Span:
    """Days on which the same sum was late at the same rate."""

    semester: str  # 2026-S1
    from_on: date
    to_on: date  # included
    principal_cents: int
    percent: Decimal  # a year, the legal rate alone

    @property
    def days(self) -> int:
        """How many, both included."""
        return (self.to_on - self.from_on).days + 1


@dataclass(frozen=True, slots=True)
class Interest:
    """Interest and how it is made."""

    cents: int
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class NoRate:
    """Why there is no figure: the rate of a semester is not there, or nobody has verified it."""

    semester: str

    @property
    def message(self) -> str:
        """For people."""
        return (
            f"The legal rate of {self.semester} is not verified: no interest is reckoned with it."
        )

    @property
    def remedy(self) -> str:
        """What to do."""
        return (
            "Read the decree in the Journal officiel and enter what it says "
            f"(PUT /api/v1/billing/legal-rates/{self.semester})."
        )


def semester_of(day: date) -> str:
    """The half of the year that a day is in: 2026-S1."""
    return f"{day.year}-S{1 if day.month <= 6 else 2}"


def interest(
    principal_cents: int,
    due_on: date,
    until_on: date,
    rates: Mapping[str, Decimal],
    credits: Sequence[Credit] = (),
) -> Interest | NoRate:
    """Interest on what was due on a day, until another (included).

    rates: of verified semesters, in per cent a year. credits: payments in part, each of which still
    bears interest on its own day. Nothing late gives no cents and no spans.
    """
    spans: list[Span] = []
    for from_on, to_on, left_cents in _owed(principal_cents, due_on, until_on, credits):
        while from_on <= to_on:
            semester = semester_of(from_on)
            percent = rates.get(semester)
            if percent is None:
                return NoRate(semester)
            last = min(to_on, _end_of(from_on))
            spans.append(Span(semester, from_on, last, left_cents, percent))
            from_on = last + timedelta(days=1)
    whole = sum((_exact(span) for span in spans), Fraction())
    return Interest(money.divide_half_up(whole.numerator, whole.denominator), tuple(spans))


def indemnity_cents(client_class: str) -> int:
    """The 40 EUR, where the client's class allows them; in either direction."""
    return INDEMNITY_CENTS if client_class == PROFESSIONAL else 0


def _owed(
    principal_cents: int, due_on: date, until_on: date, credits: Sequence[Credit]
) -> list[tuple[date, date, int]]:
    """From, to (included) and what was left then, in order; none of it 0."""
    found = []
    left, from_on = principal_cents, due_on + timedelta(days=1)
    for day, cents in sorted(credits):
        if day > due_on and left > 0 and from_on <= min(day, until_on):
            found.append((from_on, min(day, until_on), left))
            from_on = min(day, until_on) + timedelta(days=1)
        left -= cents
    if left > 0 and from_on <= until_on:
        found.append((from_on, until_on, left))
    return found


def _end_of(day: date) -> date:
    """The last day of its semester."""
    return date(day.year, 6, 30) if day.month <= 6 else date(day.year, 12, 31)


def _exact(span: Span) -> Fraction:
    numerator, denominator = span.percent.as_integer_ratio()
    rate = Fraction(numerator, denominator) / 100
    return span.principal_cents * TIMES * rate * span.days / YEAR_DAYS
