"""An invoice on paper: who sells, who buys, the sum on top, a row for each use, totals, mentions.

Drawn from the document alone; `billing.facturx` puts the XML into it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Final, NamedTuple

from billing import formats
from billing.invoice import Document, DocumentLine, Party, TypeCode, VatCase
from billing.invoice_texts import TEXTS, is_account, title
from billing.paper import ACCENT, AMBER_INK, AMBER_TINT, INK, MARGIN_MM, MUTED, Colour, Paper
from csms.deadlines import PARIS

_FOOT_MM: Final = 22.0  # of each page
_ROW_MM: Final = 9.4  # a use: two lines of words
_PART_MM: Final = 4.6  # a further part of its price
_AFTER_PARTS_MM: Final = 1.4
_SMALL_PT: Final = 7.4
_RULE_MM: Final = 3.9  # from the foot of a row's words up to the line above them
_RIGHT_SHARE: Final = 0.42  # of the head's width, for what the document is and for whom
_SUM_MM: Final = 5.4
_HEAD_MENTION: Final = "REG"  # printed under the seller, not at the end
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


def draw(document: Document) -> Paper:
    """The pages, complete but for the foot of the last; some 0.3 ms for each use."""
    paper = _Sheets(document)
    paper.add_page()
    y = _parties(paper, document)
    y = _banners(paper, document, y)
    y = _sum_on_top(paper, document, y)
    y = _table(paper, document, y)
    y = _tariffs(paper, document, y)
    y = _totals(paper, document, y)
    _mentions(paper, document, y)
    return paper


class _Sheets(Paper):
    """Pages that say whose document they are of, and which they are."""

    def __init__(self, document: Document) -> None:
        super().__init__()
        self.words = TEXTS[document.language]
        self.language = document.language
        self._document = document
        self._heading = f"{title(document)} {self.words['no']} {document.number}"
        self.set_lang("fr-FR" if document.language == "fr" else "en-GB")
        self.set_title(f"{self._heading} – {document.seller.name}")
        self.set_author(document.seller.name)
        self.set_subject(title(document))
        self.set_creator("Time2Plug")
        # Of the day of issue, whenever it is printed.
        self.set_creation_date(datetime.combine(document.issued_on, time(), UTC))

    @property
    def bottom(self) -> float:
        """Where the foot of the page begins."""
        return float(self.h) - _FOOT_MM

    def header(self) -> None:
        """From the second page on: what this is a page of."""
        if self.page_no() == 1:
            return
        self.ink(8.5, colour=MUTED)
        simulated = f" · {self.words['simulated']}" if self._document.is_simulated else ""
        self.put(MARGIN_MM, 13, self.epw * 0.7, self._heading + simulated)
        self.put(MARGIN_MM + self.epw * 0.7, 13, self.epw * 0.3, self._document.seller.name, "R")
        self.rule(16)

    def footer(self) -> None:
        """The seller's particulars and the number of the page."""
        self.rule(self.h - 16)
        self.ink(7.5, colour=MUTED)
        self.set_xy(MARGIN_MM, self.h - 14)
        self.cell(30, 4, self.words["page"].format(number=self.page_no(), total="{nb}"))
        self.put(
            MARGIN_MM + 30,
            self.h - 11.3,
            self.epw - 30,
            _particulars(self._document, self.words),
            "R",
        )

    def next_page(self) -> float:
        """Begin a page. Returns where its first line stands."""
        self.add_page()
        return 24.0


def _particulars(document: Document, words: dict[str, str]) -> str:
    """Of the seller, and of who makes the document out for it."""
    seller = document.seller
    parts = [seller.name, seller.legal_form, _siren(seller, words), seller.register]
    if seller.vat_number and not is_account(document):
        parts.append(f"{words['vat_number']} {seller.vat_number}")
    return " · ".join(part for part in parts if part)


def _siren(party: Party, words: dict[str, str]) -> str:
    """SIREN 999 000 003, in groups as people write it."""
    digits = party.siren
    groups = "\u202f".join(digits[at : at + 3] for at in range(0, len(digits), 3))
    return f"{words['siren']} {groups}" if digits else ""


# --- The head of the first page -------------------------------------------------------------------


def _parties(paper: _Sheets, document: Document) -> float:
    """The seller large on the left, what the document is on the right, the buyer below."""
    left = _seller(paper, document)
    right = _identity(paper, document)
    y = max(left, right) + 7
    words, width = paper.words, paper.epw * _RIGHT_SHARE
    x = paper.w - MARGIN_MM - width
    paper.ink(8, "B", MUTED)
    paper.put(x, y, width, words["account_buyer" if is_account(document) else "buyer"])
    y += 5
    paper.ink(10.5, "B")
    y = paper.paragraph(x, y, width, document.buyer.name, 4.8)
    paper.ink(9.5)
    for line in _address(document.buyer):
        paper.put(x, y, width, line)
        y += 4.4
    if not document.buyer.is_consumer:
        paper.ink(8.5, colour=MUTED)
        for line in _business(document, document.buyer, words):
            paper.put(x, y, width, line)
            y += 4
    return y + 4


def _seller(paper: _Sheets, document: Document) -> float:
    seller, words = document.seller, paper.words
    width = paper.epw * 0.56
    paper.ink(17, "B", ACCENT)
    y = paper.paragraph(MARGIN_MM, 24, width, seller.name, 7)
    paper.ink(9.5)
    for line in _address(seller):
        paper.put(MARGIN_MM, y, width, line)
        y += 4.4
    paper.ink(8.5, colour=MUTED)
    lines = [seller.legal_form, seller.register, *_business(document, seller, words), seller.email]
    for line in filter(None, lines):
        paper.put(MARGIN_MM, y, width, line)
        y += 4
    made_out = dict(document.mentions).get(_HEAD_MENTION)
    if made_out:
        paper.ink(8.5, "B", INK)
        y = paper.paragraph(MARGIN_MM, y + 2.5, width, made_out, 4)
    return y


def _business(document: Document, party: Party, words: dict[str, str]) -> list[str]:
    lines = [_siren(party, words)]
    if party.vat_number and not is_account(document):
        lines.append(f"{words['vat_number']} {party.vat_number}")
    return [line for line in lines if line]


def _address(party: Party) -> list[str]:
    town = f"{party.postal_code} {party.city}".strip()
    country = party.country if party.country not in ("", "FR") else ""
    return [line for line in (party.street, town, country) if line]


def _identity(paper: _Sheets, document: Document) -> float:
    """Title, number and days, at the right margin."""
    words, language = paper.words, paper.language
    width = paper.epw * _RIGHT_SHARE
    x = paper.w - MARGIN_MM - width
    paper.ink(17, "B")
    y = 24.0
    for line in paper.wrapped(title(document), width):
        paper.put(x, y, width, line, "R")
        y += 7
    for name, value in _days(document, words, language):
        paper.ink(9, colour=MUTED)
        paper.put(x, y, width * 0.42, name)
        paper.ink(9.5, "B")
        paper.put(x + width * 0.42, y, width * 0.58, value, "R")
        y += 5
    return y


def _days(document: Document, words: dict[str, str], language: str) -> Iterable[tuple[str, str]]:
    begin = formats.day(document.supplied_from_on, language)
    end = formats.day(document.supplied_to_on, language)
    yield words["number"], document.number
    yield words["issued"], formats.day(document.issued_on, language)
    if begin == end:
        yield words["supplied"], begin
    else:
        yield words["period"], words["from_to"].format(begin=begin, end=end)
    if document.type_code is not TypeCode.CREDIT_NOTE and _due(document):
        yield words["due"], formats.day(document.due_on, language)


def _due(document: Document) -> int:
    return document.gross_cents - document.paid_cents


def _banners(paper: _Sheets, document: Document, y: float) -> float:
    """What it corrects and why; that it is of the demonstration."""
    words = paper.words
    if document.is_simulated:
        y = _banner(paper, y, words["simulated"], words["simulated_hint"], (AMBER_TINT, AMBER_INK))
    if document.original_issued_on is None:
        return y
    is_credit = document.type_code is TypeCode.CREDIT_NOTE
    code = ("replaces", "replaces_account")[is_account(document)]
    if is_credit:
        code = ("on_original", "on_account")[is_account(document)]
    head = words[code].format(
        own_number=document.number,
        title=words["credit"] if is_credit else title(document),
        number=document.original_number,
        day=formats.day(document.original_issued_on, paper.language),
    )
    reason = words["reason"].format(reason=document.reason) if document.reason else ""
    return _banner(paper, y, head, reason, ((241, 244, 246), INK))


def _banner(
    paper: _Sheets, y: float, head: str, text: str, colours: tuple[Colour, Colour]
) -> float:
    ground, ink = colours
    paper.ink(8.5)
    lines = paper.wrapped(text, paper.epw - 10) if text else []
    height = 9 + 4.2 * len(lines)
    paper.box(y, height, ground)
    paper.ink(9.5, "B", ink)
    paper.put(MARGIN_MM + 5, y + 6, paper.epw - 10, head)
    paper.ink(8.5, colour=ink)
    for number, line in enumerate(lines):
        paper.put(MARGIN_MM + 5, y + 10.4 + 4.2 * number, paper.epw - 10, line)
    return y + height + 3


def _sum_on_top(paper: _Sheets, document: Document, y: float) -> float:
    """The one number that a reader looks for."""
    words, language = paper.words, paper.language
    if document.type_code is TypeCode.CREDIT_NOTE:
        name, amount, hint = words["credited"], document.gross_cents, words["credited_hint"]
    elif document.type_code is TypeCode.CORRECTED and not document.paid_cents:
        # What was paid for the original is not on this document.
        name, amount, hint = words["restated"], document.gross_cents, words["restated_hint"]
    elif _due(document):
        day = formats.day(document.due_on, language)
        name, amount, hint = words["to_pay"], _due(document), words["to_pay_by"].format(day=day)
    elif document.gross_cents == 0:
        name, amount, hint = words["to_pay"], 0, words["paid_up_hint"]
    else:
        code = "account_paid_up" if is_account(document) else "paid_up"
        name, amount, hint = words[code], document.gross_cents, words["paid_up_hint"]
    height = 18.0
    paper.box(y, height)
    paper.ink(11, "B", ACCENT)
    paper.put(MARGIN_MM + 5, y + 8, paper.epw / 2, name)
    paper.ink(9, colour=MUTED)
    paper.put(MARGIN_MM + 5, y + 13, paper.epw / 2, hint)
    paper.ink(22, "B", ACCENT)
    half = paper.epw / 2
    paper.put(MARGIN_MM + half, y + 12, half - 5, formats.money(amount, language), "R")
    return y + height + 8


# --- The table ------------------------------------------------------------------------------------


def _table(paper: _Sheets, document: Document, y: float) -> float:
    """A row for each use or sale; further parts of a use's price follow close, without a line."""
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
            if document.is_goods
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
    if document.is_goods:
        return [
            _Column(words["date"], 21, "L"),
            _Column(words["point"], 60, "L"),
            _Column(words["times"], 25, "L"),
            _Column(words["quantity"], 22, "R"),
            _Column(words["price" if has_vat else "price_plain"], 25, "R"),
            _Column(words["amount" if has_vat else "amount_plain"], 25, "R"),
        ]
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


def _head(paper: _Sheets, columns: list[_Column], y: float) -> float:
    x = MARGIN_MM
    paper.ink(8, "B", MUTED)
    for column in columns:
        paper.put(x, y, column.width_mm - 1.5 * (column.align == "L"), column.head, column.align)
        x += column.width_mm
    paper.rule(y + 2, MUTED)
    return y + 6.6


def _row(
    paper: _Sheets,
    columns: list[_Column],
    cells: list[tuple[str, str]],
    y: float,
    *,
    is_part: bool = False,
) -> None:
    """Two lines of words in each cell, the second small; of a further part one, its name small."""
    x = MARGIN_MM
    for column, (text, detail) in zip(columns, cells, strict=True):
        room = column.width_mm - 1.5 * (column.align == "L")
        if is_part and column.align == "L":
            paper.ink(_SMALL_PT, colour=MUTED)
        else:
            paper.ink(9)
        paper.put(x, y, room, text, column.align)
        if detail:
            paper.ink(_SMALL_PT, colour=MUTED)
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
        (formats.money(line.gross_cents, language), ""),
    ]
    if is_part:
        return [("", ""), (more, ""), ("", ""), *quantities]
    day, times, lasted = _when(line, words, language)
    return [(day, ""), (line.point, more), (times, lasted), *quantities]


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


# --- The end --------------------------------------------------------------------------------------


def _tariffs(paper: _Sheets, document: Document, y: float) -> float:
    """Each price that was in force, once."""
    said = dict.fromkeys(text for line in document.lines for text in line.tariff)
    if not said:
        return y
    if y + 10 > paper.bottom:
        y = paper.next_page()
    paper.ink(8, "B", MUTED)
    paper.put(MARGIN_MM, y, paper.epw, paper.words["tariffs"])
    y += 4.2
    paper.ink(8, colour=MUTED)
    for text in said:
        if y > paper.bottom:
            y = paper.next_page()
            paper.ink(8, colour=MUTED)
        paper.put(MARGIN_MM, y, paper.epw, text)
        y += 3.8
    return y + 2


def _totals(paper: _Sheets, document: Document, y: float) -> float:
    """Sums on the right, kept together; on the left how many uses they are of."""
    rows = list(_sums(document, paper.words, paper.language))
    if y + _SUM_MM * len(rows) + 4 > paper.bottom:
        y = paper.next_page()
    if document.is_goods:
        paper.ink(8.5, colour=MUTED)
        paper.put(MARGIN_MM, y + 3, paper.epw / 3, _volume(document, paper.words, paper.language))
    width = 82.0
    x = paper.w - MARGIN_MM - width
    y += 3
    for name, value, is_bold in rows:
        if is_bold:
            paper.rule(y - 3.9, MUTED, left=x)
        paper.ink(10.5 if is_bold else 9, "B" if is_bold else "", INK if is_bold else MUTED)
        paper.put(x, y, width * 0.6, name)
        paper.ink(10.5 if is_bold else 9, "B" if is_bold else "")
        paper.put(x + width * 0.6, y, width * 0.4, value, "R")
        y += _SUM_MM
    return y + 2


def _volume(document: Document, words: dict[str, str], language: str) -> str:
    uses = len({line.session_id for line in document.lines})
    energy_wh = sum(line.energy_wh or 0 for line in document.lines)
    counted = words["use"] if uses == 1 else words["uses"].format(number=uses)
    return f"{counted} · {formats.energy(energy_wh, language)}"


def _sums(
    document: Document, words: dict[str, str], language: str
) -> Iterable[tuple[str, str, bool]]:
    """Name, amount, and whether it is the one to look at."""
    has_vat = document.vat_case is VatCase.REDEVABLE
    if has_vat:
        yield words["total_net"], formats.money(document.net_cents, language), False
        for total in document.vat:
            yield (
                _vat_name(total.percent, total.base_cents, words, language, len(document.vat)),
                (formats.money(total.vat_cents, language)),
                False,
            )
    name = words["total_gross" if has_vat else "total"]
    yield name, formats.money(document.gross_cents, language), True
    if document.paid_cents:
        yield words["paid"], formats.money(-document.paid_cents, language), False
        yield words["to_pay"], formats.money(_due(document), language), True


def _vat_name(
    percent: Decimal, base_cents: int, words: dict[str, str], language: str, rates: int
) -> str:
    """TVA 20 %; of several rates each with its base."""
    name = words["total_vat"].format(rate=formats.percent(percent, language))
    return f"{name} ({words['base']} {formats.money(base_cents, language)})" if rates > 1 else name


def _mentions(paper: _Sheets, document: Document, y: float) -> None:
    """What the law wants said, the VAT first."""
    mentions = [(code, text) for code, text in document.mentions if code != _HEAD_MENTION]
    mentions.sort(key=lambda mention: mention[0] not in tuple(VatCase))
    y += 3
    for code, text in mentions:
        is_vat = code in tuple(VatCase)
        size = 9.0 if is_vat else 7.6
        paper.ink(size, "B" if is_vat else "", INK if is_vat else MUTED)
        lines = paper.wrapped(text, paper.epw)
        step = size * 0.45
        if y + step * len(lines) > paper.bottom + 2:
            y = paper.next_page()
            paper.ink(size, "B" if is_vat else "", INK if is_vat else MUTED)
        for line in lines:
            paper.put(MARGIN_MM, y, paper.epw, line)
            y += step
        y += 1.2
