"""Text in a table that spreadsheets open."""

from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def defused(text: str, *, numbers_stay: bool = False) -> str:
    """The text, with an apostrophe before what a spreadsheet would take for a formula: stations and
    drivers write some of it. numbers_stay: a plain number, a transaction id of -1 say, is none."""
    if not text.startswith(_FORMULA):
        return text
    is_number = text[0] in "+-" and text[1:].isdecimal()
    return text if numbers_stay and is_number else f"'{text}"
