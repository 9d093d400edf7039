"""An invoice on paper: who sells, who buys, the sum on top, a row for each use, totals, mentions.

Drawn from the document alone; `billing.facturx` puts the XML into it.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from billing import formats
from billing.invoice import Document, Party, TypeCode, VatCase
from billing.invoice_sheets import Sheets, business_of
from billing.invoice_table import draw_table, lists_uses
from billing.invoice_texts import is_account, title
from billing.paper import ACCENT, AMBER_INK, AMBER_TINT, INK, MARGIN_MM, MUTED, Colour, Paper

_RIGHT_SHARE: Final = 0.42  # of the head's width, for what the document is and for whom
_SUM_MM: Final = 5.4
_HEAD_MENTION: Final = "REG"  # printed under the seller, not at the end


def draw(document: Document) -> Paper:
    """The pages, complete but for the foot of the last; some 0.3 ms for each use."""
    paper = Sheets(document)
    paper.add_page()
    y = _parties(paper, document)
    y = _banners(paper, document, y)
    y = _sum_on_top(paper, document, y)
    y = draw_table(paper, document, y)
    y = _tariffs(paper, document, y)
    y = _totals(paper, document, y)
    _mentions(paper, document, y)
    return paper


# --- The head of the first page -------------------------------------------------------------------


def _parties(paper: Sheets, document: Document) -> float:
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
        for line in business_of(document, document.buyer, words):
            paper.put(x, y, width, line)
            y += 4
    return y + 4


def _seller(paper: Sheets, document: Document) -> float:
    seller, words = document.seller, paper.words
    width = paper.epw * 0.56
    paper.ink(17, "B", ACCENT)
    y = paper.paragraph(MARGIN_MM, 24, width, seller.name, 7)
    paper.ink(9.5)
    for line in _address(seller):
        paper.put(MARGIN_MM, y, width, line)
        y += 4.4
    paper.ink(8.5, colour=MUTED)
    lines = [
        seller.legal_form,
        seller.register,
        *business_of(document, seller, words),
        seller.email,
    ]
    for line in filter(None, lines):
        paper.put(MARGIN_MM, y, width, line)
        y += 4
    made_out = dict(document.mentions).get(_HEAD_MENTION)
    if made_out:
        paper.ink(8.5, "B", INK)
        y = paper.paragraph(MARGIN_MM, y + 2.5, width, made_out, 4)
    return y


def _address(party: Party) -> list[str]:
    town = f"{party.postal_code} {party.city}".strip()
    country = party.country if party.country not in ("", "FR") else ""
    return [line for line in (party.street, town, country) if line]


def _identity(paper: Sheets, document: Document) -> float:
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


def _banners(paper: Sheets, document: Document, y: float) -> float:
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


def _banner(paper: Sheets, y: float, head: str, text: str, colours: tuple[Colour, Colour]) -> float:
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


def _sum_on_top(paper: Sheets, document: Document, y: float) -> float:
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


def _due(document: Document) -> int:
    return document.gross_cents - document.paid_cents


# --- The end --------------------------------------------------------------------------------------


def _tariffs(paper: Sheets, document: Document, y: float) -> float:
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


def _totals(paper: Sheets, document: Document, y: float) -> float:
    """Sums on the right, kept together; on the left how many uses they are of."""
    rows = list(_sums(document, paper.words, paper.language))
    if y + _SUM_MM * len(rows) + 4 > paper.bottom:
        y = paper.next_page()
    if lists_uses(document):
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


def _mentions(paper: Sheets, document: Document, y: float) -> None:
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
