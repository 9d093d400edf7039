"""Money: integer cents, rates as Decimal, one rounding, half up.

A float is a TypeError everywhere: binary fractions lose cents. Half up is away from zero, so that a
credit rounds as the charge it takes back.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final

CENTS_PER_EURO: Final = 100


def divide_half_up(numerator: int, denominator: int) -> int:
    """The quotient of two integers, rounded half up; `denominator` is above 0. Exact."""
    magnitude = (2 * abs(numerator) + denominator) // (2 * denominator)
    return magnitude if numerator >= 0 else -magnitude


def round_half_up(value: Decimal) -> int:
    """A Decimal to the nearest integer, half away from zero.

    Raises: TypeError for a float.
    """
    return divide_half_up(*_ratio(value))


def cents(eur: Decimal) -> int:
    """Euros to cents, rounded half up.

    Raises: TypeError for a float.
    """
    numerator, denominator = _ratio(eur)
    return divide_half_up(numerator * CENTS_PER_EURO, denominator)


def euros(amount_cents: int) -> Decimal:
    """Cents to euros, with two decimals always.

    Raises: TypeError for anything but an integer.
    """
    return Decimal(_integer(amount_cents)).scaleb(-2)


def vat_in(amount_incl_cents: int, percent: Decimal) -> int:
    """The VAT that a gross amount contains: gross * rate / (100 + rate), rounded half up.

    Raises: TypeError for a float.
    """
    numerator, denominator = _ratio(percent)
    return divide_half_up(_integer(amount_incl_cents) * numerator, 100 * denominator + numerator)


def vat_on(amount_excl_cents: int, percent: Decimal) -> int:
    """The VAT that comes upon a net amount, rounded half up.

    Raises: TypeError for a float.
    """
    numerator, denominator = _ratio(percent)
    return divide_half_up(_integer(amount_excl_cents) * numerator, 100 * denominator)


def share(amount_cents: int, rate: Decimal) -> int:
    """A part of an amount, rounded half up; a rate of 0.1 is a tenth.

    Raises: TypeError for a float.
    """
    numerator, denominator = _ratio(rate)
    return divide_half_up(_integer(amount_cents) * numerator, denominator)


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Integers in proportion to the weights, none negative, whose sum is the total exactly.

    What is left by rounding down goes to the largest remainders, to the first among equals. Weights
    of nothing but zeros count as equal. A negative total is split as its amount.

    Raises: TypeError for a float, ValueError for a negative weight or a total without weights.
    """
    if any(_integer(weight) < 0 for weight in weights):
        raise ValueError("a share of an amount has no negative weight")
    if not weights:
        if _integer(total):
            raise ValueError("an amount cannot be split among nobody")
        return []
    whole = sum(weights)
    weighted = weights if whole else [1] * len(weights)
    whole = whole or len(weights)
    quotients = [divmod(abs(_integer(total)) * weight, whole) for weight in weighted]
    parts = [quotient for quotient, _ in quotients]
    by_remainder = sorted(range(len(parts)), key=lambda i: -quotients[i][1])  # stable: first wins
    for i in by_remainder[: abs(total) - sum(parts)]:
        parts[i] += 1
    return parts if total >= 0 else [-part for part in parts]


def _integer(value: int) -> int:
    if not isinstance(value, int):
        raise TypeError(f"amounts are integers, not {type(value).__name__}")
    return value


@lru_cache(maxsize=1024, typed=True)  # typed: the float that equals a Decimal finds nothing here
def _ratio(value: Decimal) -> tuple[int, int]:
    if not isinstance(value, Decimal | int):
        raise TypeError(f"rates and sums in euros are Decimal, not {type(value).__name__}")
    return value.as_integer_ratio()
