"""Energy that the operator supplies to co-owners itself (article 5.4 d): whose it was, what it and
the telemetering cost, what is left of a provision, and whether the supply's meter agrees.

Pure. The operator holds the delivery point, so it is the seller. A session is whole of the day of
its end, in Paris: its lot is that of its point, else that of its driver. A provision is a deposit
on future consumption: a liability until it is consumed, refundable when the contract ends.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from billing import money
from csms.domain.values import add_months

WH_PER_KWH: Final = 1_000


@dataclass(frozen=True, slots=True)
class Holding:
    """A co-owner (`person_id`) has a lot from a day on, up to before `to_on`; None: still."""

    id: int
    lot_id: int
    person_id: int
    from_on: date
    to_on: date | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The supply's meter less the sum of its points; percent of the meter, None where it is 0."""

    difference_wh: int
    percent: Decimal | None
    is_flagged: bool


def holds(holding: Holding, day: date) -> bool:
    """Whether the lot is his on that day."""
    return holding.from_on <= day and (holding.to_on is None or day < holding.to_on)


def holder_of(
    holdings: Iterable[Holding],
    day: date,
    *,
    lot_id: int | None,
    person_id: int | None,
) -> Holding | None:
    """Who used what ended on a day at a point of the lot; where the point is of no lot (None), the
    lot of the driver, his first one of several. None: nobody."""
    found = [
        each
        for each in holdings
        if holds(each, day)
        and (each.lot_id == lot_id if lot_id is not None else each.person_id == person_id)
    ]
    return min(found, key=lambda each: each.lot_id, default=None)


def energy_excl_cents(energy_wh: int, price_eur_per_kwh: Decimal) -> int:
    """What energy costs without VAT, rounded once, half away from zero; below 0 for energy that is
    taken back. Raises: TypeError for a price that is no Decimal."""
    if not isinstance(price_eur_per_kwh, Decimal):
        raise TypeError("prices are Decimal")
    price, of = price_eur_per_kwh.as_integer_ratio()
    return money.divide_half_up(money.CENTS_PER_EURO * energy_wh * price, WH_PER_KWH * of)


def telemetering_excl_cents(monthly_cents: int, days: int, month: date) -> int:
    """The fee for so many days of a month (its first day): in proportion, rounded half up."""
    of_month = (add_months(month, 1) - month).days
    assert 0 <= days <= of_month
    return money.divide_half_up(monthly_cents * days, of_month)


def days_in(month: date, *periods: tuple[date, date | None]) -> list[date]:
    """The days of a month (its first day) that lie in all of these periods, in their order."""
    every = [month + timedelta(days=n) for n in range((add_months(month, 1) - month).days)]
    return [
        day
        for day in every
        if all(begin <= day and (end is None or day < end) for begin, end in periods)
    ]


def vat_part(amount_cents: int, balance_cents: int, balance_vat_cents: int) -> int:
    """Of the VAT in a balance the part that leaves it with an amount: in proportion, and all of it
    with the last cent."""
    assert 0 <= amount_cents <= balance_cents
    if amount_cents == balance_cents:
        return balance_vat_cents
    return money.divide_half_up(balance_vat_cents * amount_cents, balance_cents)


def left_of(received: Sequence[tuple[int, int]], used_cents: int) -> list[tuple[int, int]]:
    """What is left of payments (key, cents), the oldest of which was used first; those of which
    nothing is left are not in it."""
    left = []
    for key, cents in received:
        taken = min(cents, used_cents)
        used_cents -= taken
        if cents > taken:
            left.append((key, cents - taken))
    return left


def compared(meter_wh: int, points_wh: int, flag_above_percent: Decimal) -> Comparison:
    """What the supply's meter counted against its points. Points that counted more are judged by
    the same threshold; a meter at 0 while points gave energy is flagged."""
    difference = meter_wh - points_wh
    if meter_wh == 0:
        return Comparison(difference, None, difference != 0)
    exceeds = Decimal(abs(difference)) * 100 > flag_above_percent * meter_wh
    percent = Decimal(money.divide_half_up(difference * 10_000, meter_wh)).scaleb(-2)
    return Comparison(difference, percent, exceeds)
