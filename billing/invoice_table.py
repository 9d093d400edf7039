"""The table of an invoice: a row for each use with the parts of its price, or for each sale."""

from datetime import datetime
from typing import Final, NamedTuple

from billing import formats
from billing.invoice import Document, DocumentLine, VatCase
from billing.invoice_sheets import Sheets
from billing.paper import MARGIN_MM, MUTED
from csms.deadlines import PARIS

_ROW_MM: Final = 9.4  # a use: two lines of words
_PART_MM: Final = 4.6  # a further part of its price
_AFTER_PARTS_MM: Final = 1.4
_SMALL_PT: Final = 7.4
_RULE_MM: Final = 3.9  # from the foot of a row's words up to the line above them
_PRICE_NAMES: Final = frozenset({"Prix TTC", "Prix", "Price incl. VAT", "Price"})
_DURATION_NAMES: Final = frozenset({"Durée", "Duration"})
_TARIFF_NAMES: Final = frozenset({"Tarif", "Tariff"})
# Attributes that have a column of their own.
_SHOWN_NAMES: Final = _PRICE_NAMES | _DURATION_NAMES | {"Énergie", "Energy"}


class _Column(NamedTuple):
    """Of a table: its head, how wide, and to which side its words stand."""

    head: str
    width_mm: float
    align: str


def lists_uses(document: Document) -> bool:
    """Whether it has a row for each use; else it sells something by its name."""
    return document.is_goods and any(line.session_id is not None for line in document.lines)


def draw_table(paper: Sheets, document: Document, y: float) -> float:
    """A row for each use or sale; further parts of a use's price follow close, without a line.
    Returns where the foot of what follows may stand."""
    columns = _columns(document, paper.words)
    y = _head(paper, columns, y)
    former: DocumentLine | None = None
    was_part = False
    for line in document.lines:
        is_part = _is_same_use(line, former)
        if not is_part and was_part:
            y += _AFTER_PARTS_MM
        if y + (_PART_MM if is_part else _ROW_MM) > paper.bottom:
            y = _head(paper, columns, paper.next_page())
            former, is_part = None, False
        if former is not None and not is_part:
            paper.rule(y - _RULE_MM)
        cells = (
            _use(line, document, paper.words, is_part=is_part)
            if lists_uses(document)
            else _sale(line, document)
        )
        _row(paper, columns, cells, y, is_part=is_part)
        y += _PART_MM if is_part else _ROW_MM
        former, was_part = line, is_part
    y += _AFTER_PARTS_MM if was_part else 0
    paper.rule(y - _RULE_MM)
    return y + 1


def _is_same_use(line: DocumentLine, former: DocumentLine | None) -> bool:
    return former is not None and former.session_id == line.session_id is not None


def _columns(document: Document, words: dict[str, str]) -> list[_Column]:
    """Widths sum to the text's."""
    has_vat = document.vat_case is VatCase.REDEVABLE
    if lists_uses(document):
        detailed = _shows_net(document)
        found = [
            _Column(words["date"], 20, "L"),
            _Column(words["point"], 42 if detailed else 61, "L"),
            _Column(words["times"], 25, "L"),
            _Column(words["quantity"], 20 if detailed else 22, "R"),
            _Column(words["price" if has_vat else "price_plain"], 21 if detailed else 25, "R"),
            _Column(words["amount" if has_vat else "amount_plain"], 23 if detailed else 25, "R"),
        ]
        if detailed:
            found[-1:-1] = [_Column(words["net_short"], 16, "R"), _Column(words["rate"], 11, "R")]
        return found
    if not has_vat:
        return [
            _Column(words["designation"], 148, "L"),
            _Column(words["amount_plain"], 30, "R"),
        ]
    return [
        _Column(words["designation"], 92, "L"),
        _Column(words["net"], 28, "R"),
        _Column(words["rate"], 26, "R"),
        _Column(words["amount"], 32, "R"),
    ]


def _shows_net(document: Document) -> bool:
    """Whether each use says its amount without VAT and its rate: a business wants to know, and of
    several rates everybody."""
    return document.vat_case is VatCase.REDEVABLE and (
        not document.buyer.is_consumer or len(document.vat) > 1
    )


def _head(paper: Sheets, columns: list[_Column], y: float) -> float:
    x = MARGIN_MM
    paper.ink(8, "B", MUTED)
    for column in columns:
        paper.put(x, y, column.width_mm - 1.5 * (column.align == "L"), column.head, column.align)
        x += column.width_mm
    paper.rule(y + 2, MUTED)
    return y + 6.6


def _row(
    paper: Sheets,
    columns: list[_Column],
    cells: list[tuple[str, str]],
    y: float,
    *,
    is_part: bool = False,
) -> None:
    """A line of words in each cell, and a small one below, which goes on under figures that have
    none; of a further part of a price one line, its name small."""
    is_alone = sum(bool(detail) for _, detail in cells) == 1
    x = MARGIN_MM
    for column, (text, detail) in zip(columns, cells, strict=True):
        room = column.width_mm - 1.5 * (column.align == "L")
        if is_part and column.align == "L":
            paper.ink(_SMALL_PT, colour=MUTED)
        else:
            paper.ink(9)
        if column.align == "R":
            paper.figure(x + column.width_mm, y, text)
        else:
            paper.put(x, y, room, text)
        if detail:
            paper.ink(_SMALL_PT, colour=MUTED)
            room = paper.w - MARGIN_MM - x if is_alone and column.align == "L" else room
            paper.put(x, y + 3.5, room, detail, column.align)
        x += column.width_mm


def _use(
    line: DocumentLine, document: Document, words: dict[str, str], *, is_part: bool
) -> list[tuple[str, str]]:
    """One part of the price of a use. What the row above says of its session is not said again."""
    language = document.language
    more = _told(line, language, _SHOWN_NAMES | _TARIFF_NAMES if is_part else _SHOWN_NAMES)
    quantities = [
        (_quantity(line, language), ""),
        (_price(line, language), ""),
    ]
    if _shows_net(document):
        quantities += [
            (formats.money(line.net_cents, language), ""),
            (formats.percent(line.vat_percent, language), ""),
        ]
    quantities.append((formats.money(line.gross_cents, language), ""))
    if is_part:
        return [("", ""), (more, ""), ("", ""), *quantities]
    day, times, lasted = _when(line, words, language)
    return [
        (day, ""),
        (line.point, f"{lasted} · {more}" if lasted else more),
        (times, ""),
        *quantities,
    ]


def _told(line: DocumentLine, language: str, but: frozenset[str]) -> str:
    """The line's name and its attributes, the tariff's last since what follows may be cut."""
    colon = " : " if language == "fr" else ": "
    pairs = sorted(line.attributes, key=lambda pair: pair[0] in _TARIFF_NAMES)
    return " · ".join(
        [line.label, *(f"{name}{colon}{value}" for name, value in pairs if name not in but)]
    )


def _quantity(line: DocumentLine, language: str) -> str:
    """Energy, or how long, where it is time that is paid for."""
    if line.energy_wh is not None:
        return formats.energy(line.energy_wh, language)
    if line.billed_s is not None:
        return formats.duration(line.billed_s, language)
    return next((value for name, value in line.attributes if name in _DURATION_NAMES), "")


def _when(line: DocumentLine, words: dict[str, str], language: str) -> tuple[str, str, str]:
    """Day, begin and end in Paris, and how long it lasted, which clocks set back do not tell."""
    if not (line.started_at and line.ended_at):
        return "", "", ""
    begun = datetime.fromisoformat(line.started_at)
    ended = datetime.fromisoformat(line.ended_at)
    from_local, to_local = begun.astimezone(PARIS), ended.astimezone(PARIS)
    days = (to_local.date() - from_local.date()).days
    later = " " + words["next_day"].format(days=days) if days else ""
    return (
        formats.day(from_local.date(), language),
        f"{from_local:%H:%M} – {to_local:%H:%M}",
        formats.duration((ended - begun).total_seconds(), language) + later,
    )


def _price(line: DocumentLine, language: str) -> str:
    """What a kWh or an hour cost, as the driver knows it."""
    if line.unit_price_eur is None:
        return next((value for name, value in line.attributes if name in _PRICE_NAMES), "")
    unit = "kWh" if line.billed_wh is not None else "h"
    return f"{formats.unit_price(line.unit_price_eur, language)}/{unit}"


def _sale(line: DocumentLine, document: Document) -> list[tuple[str, str]]:
    language = document.language
    detail = " · ".join(value for _, value in line.attributes)
    gross = (formats.money(line.gross_cents, language), "")
    if document.vat_case is not VatCase.REDEVABLE:
        return [(line.label, detail), gross]
    return [
        (line.label, detail),
        (formats.money(line.net_cents, language), ""),
        (formats.money(line.vat_cents, language), formats.percent(line.vat_percent, language)),
        gross,
    ]
