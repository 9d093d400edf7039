"""SIREN: the nine digits by which a French company or association goes, and its VAT number."""

import re
from functools import lru_cache
from typing import Final

_NINE_DIGITS: Final = re.compile(r"[0-9]{9}", re.ASCII)


@lru_cache(maxsize=10_000)
def siren_is_valid(siren: str) -> bool:
    """Nine digits that pass the check of Luhn."""
    if not _NINE_DIGITS.fullmatch(siren):
        return False
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(siren)]
    return sum(value // 10 + value % 10 for value in doubled) % 10 == 0


def french_vat_number(siren: str) -> str:
    """The VAT number that belongs to a SIREN."""
    return f"FR{(12 + 3 * (int(siren) % 97)) % 97:02}{siren}"
