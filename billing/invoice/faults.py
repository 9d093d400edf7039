"""What is wrong with a document, by our own exact recomputation.

The official checks of an electronic invoice let a euro of VAT pass, and never multiply a quantity
by its price. Here every cent is made again from what it comes from. A document with a fault is
neither issued nor shown.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from billing.invoice.adding import add_up
from billing.invoice.document import Document, DocumentLine, Party, TypeCode, VatCase
from billing.money import CENTS_PER_EURO, divide_half_up, vat_in, vat_on
from csms.domain.siren import french_vat_number, siren_is_valid

LINES_MAX: Final = 10_000
TEXT_LENGTH_MAX: Final = 200
MENTION_LENGTH_MAX: Final = 1_000
ATTRIBUTES_MAX: Final = 20
# The standard (BR-CO-17) refuses a total of VAT that is a euro or more off its rate times its base.
ROUNDING_SPREAD_CENTS: Final = 99

_NUMBER: Final = re.compile(r"[A-Za-z0-9+/_-]{1,35}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_VAT_NUMBER: Final = re.compile(r"[A-Z]{2}[0-9A-Z+*]{2,13}")
# What neither XML nor paper can hold.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Rates of metropolitan France, Corsica and overseas, past and present, that BR-FR-16 knows.
_RATES: Final = frozenset(
    Decimal(rate) / 100
    for rate in (2000, 1960, 2060, 1300, 1000, 960, 920, 850, 700, 550, 210, 175, 105, 90)
)
_ALWAYS: Final = ("PMT", "PMD", "AAB")  # recovery costs, penalties, discount
_YEAR_MIN, _YEAR_MAX = 2000, 2099  # BR-FR-03
_WH_PER_KWH, _S_PER_HOUR = 1000, 3600


def faults(document: Document) -> list[str]:
    """What is wrong, in sentences for those who issue; nothing, where it may be issued."""
    return [
        *_of_identity(document),
        *_of_days(document),
        *_of_seller(document),
        *_of_buyer(document.buyer),
        *_of_mentions(document),
        *_of_texts(document),
        *_of_lines(document),
        *_of_sums(document),
    ]


def _of_identity(document: Document) -> Iterator[str]:
    if not _NUMBER.fullmatch(document.number):
        yield "Its number needs 1 to 35 letters, digits or + - _ /, and no space."
    if document.language not in ("fr", "en"):
        yield f"There is no language {document.language}."
    named, day = document.original_number, document.original_issued_on
    if document.type_code in (TypeCode.INVOICE, TypeCode.PREPAYMENT):
        if named or day is not None:
            yield "An invoice names no original."
        return
    if not _NUMBER.fullmatch(named) or day is None:
        yield "A credit note and a corrected invoice name one original, by number and day."
        return
    if named == document.number:
        yield "It names itself as its original."
    if day > document.issued_on:
        yield "Its original is of a later day."


def _of_days(document: Document) -> Iterator[str]:
    days = (
        document.issued_on,
        document.due_on,
        document.supplied_from_on,
        document.supplied_to_on,
    )
    if not all(_YEAR_MIN <= day.year <= _YEAR_MAX for day in days):
        yield f"Its days are not all from {_YEAR_MIN} to {_YEAR_MAX}."
    if document.due_on < document.issued_on:
        yield "It is due before it is issued."
    if document.supplied_to_on < document.supplied_from_on:
        yield "Its supply ends before it begins."
    if document.is_goods and document.supplied_to_on > document.issued_on:
        yield "It is issued before what it invoices was supplied."


def _of_seller(document: Document) -> Iterator[str]:
    seller = document.seller
    yield from _of_address("seller", seller)
    if not siren_is_valid(seller.siren):
        yield "The seller has no SIREN of nine digits, the last of which checks the others."
    elif not _belongs(seller.vat_number, seller.siren):
        yield "The seller's VAT number is not that of its SIREN."
    if seller.vat_number and not _VAT_NUMBER.fullmatch(seller.vat_number):
        yield "The seller's VAT number begins with the letters of no country, or is too long."
    if document.vat_case is VatCase.REDEVABLE and not seller.vat_number:
        yield "A seller who owes VAT shows a VAT number."
    if document.vat_case is VatCase.NON_ASSUJETTI and seller.vat_number:
        yield "A seller who is no taxable person shows no VAT number."
    if document.invoicer is not None:
        if not document.invoicer.name:
            yield "The invoicer has no name."
        if not siren_is_valid(document.invoicer.siren):
            yield "The invoicer has no valid SIREN."


def _belongs(vat_number: str, siren: str) -> bool:
    """Whether a French VAT number is that of a SIREN; keys of letters go by its digits alone."""
    if not vat_number.startswith("FR"):
        return True
    if vat_number[2:4].isdigit():
        return vat_number == french_vat_number(siren)
    return vat_number[4:] == siren


def _of_buyer(buyer: Party) -> Iterator[str]:
    """A consumer may do without an address; a business needs what the law wants of it."""
    if not buyer.is_consumer:
        yield from _of_address("buyer", buyer)
        if not siren_is_valid(buyer.siren):
            yield "A business that buys has a SIREN of nine digits, the last of which checks them."
        if buyer.vat_number and not _VAT_NUMBER.fullmatch(buyer.vat_number):
            yield "The buyer's VAT number begins with the letters of no country, or is too long."
        return
    if not buyer.name:
        yield "The buyer has no name."
    if buyer.country and not _COUNTRY.fullmatch(buyer.country):
        yield "The buyer's country is not two capital letters."


def _of_address(role: str, party: Party) -> Iterator[str]:
    if not party.name:
        yield f"The {role} has no name."
    if not (party.street and party.postal_code and party.city):
        yield f"The {role} has no whole address: street, postal code and city."
    if not _COUNTRY.fullmatch(party.country):
        yield f"The {role}'s country is not two capital letters."


def _of_mentions(document: Document) -> Iterator[str]:
    """Each text that the law wants, once; none that contradicts the seller's VAT."""
    counted = Counter(code for code, _ in document.mentions)
    texts = dict(document.mentions)
    for code in _ALWAYS:
        if counted[code] != 1:
            yield f"It has {counted[code]} mentions {code} and needs one."
    for case in (VatCase.FRANCHISE, VatCase.NON_ASSUJETTI):
        wanted = 1 if document.vat_case is case else 0
        if counted[case.value] != wanted:
            yield f"It has {counted[case.value]} mentions {case.value} and needs {wanted}."
    if document.invoicer is None:
        if "REG" in counted:
            yield "It says that somebody else made it out, and nobody else did."
    elif counted["REG"] != 1 or not all(
        name in texts["REG"] for name in (document.invoicer.name, document.seller.name)
    ):
        yield "It does not say once by whom, and in whose name, it was made out (REG)."


def _of_texts(document: Document) -> Iterator[str]:
    """Texts are there, bounded, and of characters that can be printed."""
    parties = [document.seller, document.buyer, document.invoicer]
    texts = [document.original_number, document.reason]
    for party in parties:
        if party is not None:
            texts += [party.name, party.street, party.postal_code, party.city, party.email]
            texts += [party.legal_form, party.register]
    if _are_bad(texts):
        yield f"A text is longer than {TEXT_LENGTH_MAX}, or has a character that cannot be printed."
    for code, text in document.mentions:
        if not text.strip() or len(text) > MENTION_LENGTH_MAX or _UNPRINTABLE.search(text):
            yield f"The mention {code} is empty, too long or cannot be printed."


def _are_bad(texts: Collection[str]) -> bool:
    """Whether one of them is too long or cannot be printed; looked through together, for speed."""
    return max(map(len, texts)) > TEXT_LENGTH_MAX or _UNPRINTABLE.search("".join(texts)) is not None


def _of_lines(document: Document) -> Iterator[str]:
    if not 1 <= len(document.lines) <= LINES_MAX:
        yield f"It has {len(document.lines)} lines, and needs 1 to {LINES_MAX}."
    for position, line in enumerate(document.lines, start=1):
        for wrong in _of_line(document, line):
            yield f"Line {position}: {wrong}"
    yield from _of_uses(document)


def _of_uses(document: Document) -> Iterator[str]:
    """A maximum price takes something off, so a line may be below zero; a whole use is not."""
    by_session: dict[int, int] = {}
    for line in document.lines:
        if line.session_id is not None:
            by_session[line.session_id] = by_session.get(line.session_id, 0) + line.gross_cents
    if any(gross < 0 for gross in by_session.values()):
        yield "A use costs less than nothing."


def _of_line(document: Document, line: DocumentLine) -> Iterator[str]:
    if not _are_whole(line.net_cents, line.vat_cents, line.gross_cents):
        yield "its amounts are not whole cents."
        return
    if line.net_cents + line.vat_cents != line.gross_cents:
        yield "net and VAT do not make the gross amount."
    if document.vat_case is VatCase.REDEVABLE:
        if line.vat_percent not in _RATES:
            yield f"{line.vat_percent} % is no rate of French VAT."
    elif line.vat_percent or line.vat_cents:
        yield "it has VAT, and the seller charges none."
    if line.vat_cents != vat_in(line.gross_cents, line.vat_percent):
        yield "its VAT is not the one that its gross amount contains."
    if not line.label or _are_bad([*_texts_of(line)]):
        yield "a text is missing, too long or cannot be printed."
    if len(line.attributes) > ATTRIBUTES_MAX:
        yield f"it has more than {ATTRIBUTES_MAX} attributes."
    yield from _of_use(line)


def _texts_of(line: DocumentLine) -> Iterable[str]:
    yield line.label
    yield line.point
    yield from line.tariff
    for pair in line.attributes:
        yield from pair


def _of_use(line: DocumentLine) -> Iterator[str]:
    """When it was, how much, and what that makes at its price."""
    if line.energy_wh is not None and line.energy_wh < 0:
        yield "its energy is below zero."
    begun, ended = _moment(line.started_at), _moment(line.ended_at)
    if (line.started_at and begun is None) or (line.ended_at and ended is None):
        yield "its begin or end is no time of day in UTC."
    elif begun is not None and ended is not None and ended < begun:
        yield "it ends before it begins."
    if line.unit_price_eur is None:
        return
    if (line.billed_wh is None) == (line.billed_s is None):
        yield "it has a price, and not one quantity in Wh or in seconds."
    elif line.gross_cents != _at_price(line, line.unit_price_eur):
        yield "its quantity times its price is not its gross amount."


def _at_price(line: DocumentLine, unit_price_eur: Decimal) -> int:
    if line.billed_wh is not None:
        quantity, per = line.billed_wh, _WH_PER_KWH
    else:
        assert line.billed_s is not None
        quantity, per = line.billed_s, _S_PER_HOUR
    numerator, denominator = unit_price_eur.as_integer_ratio()
    return divide_half_up(quantity * numerator * CENTS_PER_EURO, per * denominator)


def _moment(text: str) -> datetime | None:
    """A time with its offset, None where there is none or it cannot be read."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.utcoffset() == timedelta(0) else None


def _of_sums(document: Document) -> Iterator[str]:
    amounts = (document.net_cents, document.vat_cents, document.gross_cents, document.paid_cents)
    if not _are_whole(*amounts):
        yield "Its sums are not whole cents."
        return
    totals = add_up(document.lines)
    if document.vat != totals.vat:
        yield "Its VAT by rate is not that of its lines."
    if (document.net_cents, document.vat_cents, document.gross_cents) != (
        totals.net_cents,
        totals.vat_cents,
        totals.gross_cents,
    ):
        yield "Its sums are not those of its lines."
    for total in totals.vat:
        if abs(total.vat_cents - vat_on(total.base_cents, total.percent)) > ROUNDING_SPREAD_CENTS:
            yield (
                f"The cents rounded line by line at {total.percent} % come to a euro or more: "
                "make it out as several documents."
            )
    if document.gross_cents < 0 or (
        document.type_code is TypeCode.CREDIT_NOTE and document.gross_cents == 0
    ):
        yield "An invoice is not below zero, and a credit note gives something back."
    if not 0 <= document.paid_cents <= max(document.gross_cents, 0):
        yield "What was paid is below zero, or more than the document."
    if document.deducts_advance and not document.paid_cents:
        yield "It deducts an advance, and nothing was paid."
    if document.type_code is TypeCode.CREDIT_NOTE and document.paid_cents:
        yield "A credit note was not paid before."


def _are_whole(*amounts: object) -> bool:
    return all(type(amount) is int for amount in amounts)
