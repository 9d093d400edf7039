"""Stickers for points: a sheet of labels as PDF, each with the QR code of its point's address.

Labels are 99.1 by 67.7 mm, eight on an A4 sheet, as sold for printers. The fonts are those that
every reader has, for the letters of Latin-1; other characters are replaced.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import segno
from fpdf import FPDF

_COLUMNS, _ROWS = 2, 4
_WIDTH_MM, _HEIGHT_MM = 99.1, 67.7
_LEFT_MM, _TOP_MM, _GAP_MM = 4.65, 13.1, 2.5
_QR_MM: Final = 40.0
_PAD_MM: Final = 4.0
_TEXT_MM: Final = _WIDTH_MM - _QR_MM - 3 * _PAD_MM

_WORDS: Final = {
    "fr": {
        "scan": "Scannez pour charger",
        "code": "Code",
        "help": "Assistance",
        "title": "Étiquettes des points de charge",
    },
    "en": {"scan": "Scan to charge", "code": "Code", "help": "Help", "title": "Labels of points"},
}
_REPLACED: Final = str.maketrans(
    {"’": "'", "‘": "'", "–": "-", "—": "-", "œ": "oe", "Œ": "Oe", "…": "..."}
)


@dataclass(frozen=True, slots=True)
class Sticker:
    """What one label says."""

    url: str
    code: str
    name: str  # of the site
    label: str  # of the point
    evse_uid: str | None  # AFIREV's, without separators


def make_pdf(stickers: Sequence[Sticker], *, phone: str | None, language: str = "fr") -> bytes:
    """The sheets, in the order given. Takes a while: some milliseconds for each."""
    words = _WORDS["en" if language == "en" else "fr"]
    pdf = FPDF(unit="mm", format="A4")
    pdf.set_auto_page_break(False)
    pdf.set_title(words["title"])
    pdf.set_lang(language)
    for number, sticker in enumerate(stickers):
        place = number % (_COLUMNS * _ROWS)
        if place == 0:
            pdf.add_page()
        row, column = divmod(place, _COLUMNS)
        left = _LEFT_MM + column * (_WIDTH_MM + _GAP_MM)
        _draw(pdf, sticker, left, _TOP_MM + row * _HEIGHT_MM, words, phone)
    return bytes(pdf.output())


def _draw(
    pdf: FPDF, sticker: Sticker, left: float, top: float, words: dict[str, str], phone: str | None
) -> None:
    _draw_code(pdf, sticker.url, left + _PAD_MM, top + (_HEIGHT_MM - _QR_MM) / 2)
    pdf.set_xy(left + _QR_MM + 2 * _PAD_MM, top + (_HEIGHT_MM - _QR_MM) / 2)
    lines = [
        ("B", 11.5, words["scan"]),
        ("B", 10.0, sticker.name),
        ("", 10.0, sticker.label),
        ("B", 16.0, sticker.code),
    ]
    if sticker.evse_uid:
        lines.append(("", 8.0, starred(sticker.evse_uid)))
    if phone:
        lines.append(("", 9.0, f"{words['help']} : {phone}"))
    for style, size, text in lines:
        pdf.set_font("helvetica", style, size)
        for line in _broken(pdf, _latin(text)):
            pdf.cell(_TEXT_MM, size * 0.5, line, new_x="LEFT", new_y="NEXT")


def _draw_code(pdf: FPDF, url: str, left: float, top: float) -> None:
    """The QR code in squares, with the quiet zone of four modules that readers want."""
    code = segno.make_qr(url, error="m")
    matrix = [bytes(line) for line in code.matrix_iter(scale=1, border=4)]
    side = _QR_MM / len(matrix)
    pdf.set_fill_color(0)
    for y, modules in enumerate(matrix):
        x = 0
        while x < len(modules):
            end = x
            while end < len(modules) and modules[end]:
                end += 1
            if end > x:
                pdf.rect(left + x * side, top + y * side, (end - x) * side, side, style="F")
            x = end + 1


def starred(evse_uid: str) -> str:
    """An identifier as people read it: FR*ABC*E1234."""
    return f"{evse_uid[:2]}*{evse_uid[2:5]}*{evse_uid[5:]}" if len(evse_uid) > 5 else evse_uid


def _latin(text: str) -> str:
    return text.translate(_REPLACED).encode("latin-1", "replace").decode("latin-1")


def _broken(pdf: FPDF, text: str) -> list[str]:
    """The text on one line or two, cut where it is longer; nothing of an empty one."""
    if pdf.get_string_width(text) <= _TEXT_MM - 2:
        return [text] if text else []
    first, *words = text.split(" ")
    while words and pdf.get_string_width(f"{first} {words[0]}") <= _TEXT_MM - 2:
        first += " " + words.pop(0)
    return [_fitted(pdf, first)] + ([_fitted(pdf, " ".join(words))] if words else [])


def _fitted(pdf: FPDF, text: str) -> str:
    """As much of the text as the label has room for."""
    if pdf.get_string_width(text) <= _TEXT_MM - 2:
        return text
    while text and pdf.get_string_width(text + "...") > _TEXT_MM - 2:
        text = text[:-1]
    return text + "..."
