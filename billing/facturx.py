"""Factur-X: a document as XML of EN 16931 (CII, with the French rules), and as PDF that carries it.

The same document makes the same bytes of XML. What the library writes is read again and compared
with the document to the cent, since neither the schema nor the official rules do that.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import facturx  # type: ignore[import-untyped]

from billing.facturx_reading import differences
from billing.invoice import Document, DocumentLine, Party, VatCase, VatTotal
from billing.invoice_pdf import draw
from billing.invoice_texts import title
from billing.money import euros
from csms.deadlines import PARIS

LEVEL: Final = "en16931"
FILE_NAME: Final = "factur-x.xml"

_CURRENCY: Final = "EUR"
_ONE: Final = "C62"  # UN/ECE: a piece, the unit of a quantity of 1
_SIREN_SCHEME, _ENDPOINT_SCHEME, _EMAIL_SCHEME = "0002", "0225", "EM"
_GENERAL: Final = "AAI"  # UNTDID 4451: general information
_SUBJECTS: Final = frozenset({"PMT", "PMD", "AAB", "REG"})  # ours that are UNTDID 4451 too
_CATEGORY: Final = {  # UNTDID 5305
    VatCase.REDEVABLE: "S",
    VatCase.FRANCHISE: "E",
    VatCase.NON_ASSUJETTI: "O",
}
_EXEMPTION: Final = {
    VatCase.FRANCHISE: "VATEX-FR-FRANCHISE",
    VatCase.NON_ASSUJETTI: "VATEX-EU-O",
}
_SIMULATED: Final = {
    "fr": "Démonstration – paiements simulés",
    "en": "Demonstration – simulated payments",
}


def xml(document: Document) -> bytes:
    """The document as XML, valid by the schema.

    Raises: AssertionError where it does not say what the document says.
    """
    found: bytes = facturx.generate_cii_xml(
        _data(document), level=LEVEL, check_xsd=True, check_schematron=False
    )
    wrong = differences(found, document)
    assert not wrong, f"XML of {document.number}: {' '.join(wrong)}"
    return found


def pdf(document: Document) -> bytes:
    """The document on paper, as PDF/A-3B by its structure, with its XML within. Its bytes differ
    from one making to the next: who hands it out keeps it.

    Raises: AssertionError, as `xml`.
    """
    sheets = draw(document)
    found: bytes = facturx.generate_from_binary(
        bytes(sheets.output()),
        xml(document),
        flavor="factur-x",
        level=LEVEL,
        check_xsd=False,
        check_schematron=False,
        lang="fr-FR" if document.language == "fr" else "en-GB",
        pdf_metadata={
            "author": document.seller.name,
            "title": f"{title(document)} {document.number} – {document.seller.name}",
            "subject": title(document),
        },
        xmp_compression=False,
    )
    return found


def _data(document: Document) -> dict[str, Any]:
    """The business terms (BT) and groups (BG) of the standard."""
    is_paid = document.gross_cents > 0 and document.paid_cents == document.gross_cents
    found = {
        "BT-1": document.number,
        "BT-2": document.issued_on,
        "BT-3": str(int(document.type_code)),
        "BT-5": _CURRENCY,
        # Of what was paid the day of payment: it was at the latest that of the issue.
        "BT-9": document.issued_on if is_paid else document.due_on,
        "BT-23": _frame(document, is_paid=is_paid),
        "BT-72": document.supplied_to_on,
        "BT-73": document.supplied_from_on,
        "BT-74": document.supplied_to_on,
        "BT-106": _eur(document.net_cents),
        "BT-109": _eur(document.net_cents),
        "BT-110": _eur(document.vat_cents),
        "BT-112": _eur(document.gross_cents),
        "BT-115": _eur(document.gross_cents - document.paid_cents),
        "BG-1": [{"BT-21": code, "BT-22": text} for code, text in _notes(document)],
        "BG-4": _seller(document),
        "BG-7": _buyer(document),
        "BG-23": [_vat_group(document, total) for total in document.vat],
        "BG-25": [
            _line(document, position, line) for position, line in enumerate(document.lines, start=1)
        ],
    }
    if document.paid_cents:
        found["BT-113"] = _eur(document.paid_cents)
    if document.original_issued_on is not None:
        found["BG-3"] = [{"BT-25": document.original_number, "BT-26": document.original_issued_on}]
    return found


def _frame(document: Document, *, is_paid: bool) -> str:
    """The frame of invoicing (BT-23): goods, services or both; paid already, after an advance, or
    neither."""
    what = ("M" if document.has_services else "B") if document.is_goods else "S"
    if document.deducts_advance:
        return what + "4"
    return what + ("2" if is_paid else "1")


def _notes(document: Document) -> list[tuple[str, str]]:
    """Who it is for (BAR), and the mentions; those without a code of their own as information."""
    if document.vat_case is VatCase.NON_ASSUJETTI:
        treatment = "OUTOFSCOPE"  # electronic invoicing is between taxable persons
    else:
        treatment = "B2C" if document.buyer.is_consumer else "B2B"
    notes = [("BAR", treatment)]
    notes += [
        (code if code in _SUBJECTS else _GENERAL, text)
        for code, text in document.mentions
        if code != VatCase.FRANCHISE  # stands with the VAT, as the reason of its absence
    ]
    if document.reason:
        notes.append((_GENERAL, document.reason))
    if document.is_simulated:
        notes.append((_GENERAL, _SIMULATED[document.language]))
    return notes


def _seller(document: Document) -> dict[str, Any]:
    seller = document.seller
    found = _party(seller) | {
        "legal_identifier": seller.siren,
        "legal_identifier_schemeid": _SIREN_SCHEME,
        "einvoicing_addr": seller.siren,
        "einvoicing_addr_schemeid": _ENDPOINT_SCHEME,
    }
    legal = " – ".join(text for text in (seller.legal_form, seller.register) if text)
    if legal:
        found["legal_info"] = legal
    if document.vat_case is not VatCase.NON_ASSUJETTI:
        if seller.vat_number:
            found["vat_identifier"] = seller.vat_number
        else:
            found["tax_identifier"] = seller.siren
    return found


def _buyer(document: Document) -> dict[str, Any]:
    """A consumer has no address in the directory of invoices: her e-mail stands there, or, since
    the rules want one, the seller's, so that it leads nowhere."""
    buyer = document.buyer
    found = _party(buyer)
    if buyer.is_consumer:
        endpoint = buyer.email or document.seller.siren
        scheme = _EMAIL_SCHEME if buyer.email else _ENDPOINT_SCHEME
    else:
        endpoint, scheme = buyer.siren, _ENDPOINT_SCHEME
        found["legal_identifier"] = buyer.siren
        found["legal_identifier_schemeid"] = _SIREN_SCHEME
        if buyer.vat_number and document.vat_case is not VatCase.NON_ASSUJETTI:
            found["vat_identifier"] = buyer.vat_number
    return found | {"einvoicing_addr": endpoint, "einvoicing_addr_schemeid": scheme}


def _party(party: Party) -> dict[str, Any]:
    parts = {
        "name": party.name,
        "addr_l1": party.street,
        "postcode": party.postal_code,
        "city": party.city,
        "country_code": party.country or "FR",
    }
    return {name: text for name, text in parts.items() if text}


def _vat_group(document: Document, total: VatTotal) -> dict[str, str]:
    found = {
        "BT-116": _eur(total.base_cents),
        "BT-117": _eur(total.vat_cents),
        "BT-118": _CATEGORY[document.vat_case],
    }
    if document.vat_case is not VatCase.NON_ASSUJETTI:
        found["BT-119"] = _percent(total.percent)
    exemption = _EXEMPTION.get(document.vat_case)
    if exemption is not None:
        found["BT-121"] = exemption
        found["BT-120"] = dict(document.mentions)[document.vat_case.value]
    return found


def _line(document: Document, position: int, line: DocumentLine) -> dict[str, Any]:
    """Quantity 1 at the net amount; what is below zero is a quantity of -1, prices never are."""
    found: dict[str, Any] = {
        "BT-126": str(position),
        "BT-129": "1" if line.net_cents >= 0 else "-1",
        "BT-130": _ONE,
        "BT-131": _eur(line.net_cents),
        "BT-146": _eur(abs(line.net_cents)),
        "BT-151": _CATEGORY[document.vat_case],
        "BT-153": line.label,
        "BG-32": [
            {"BT-160": name, "BT-161": value}
            for name, value in (*_place(document, line), *line.attributes)
            if name and value
        ],
    }
    if document.vat_case is not VatCase.NON_ASSUJETTI:
        found["BT-152"] = _percent(line.vat_percent)
    begun, ended = _paris_day(line.started_at), _paris_day(line.ended_at)
    if begun is not None and ended is not None:
        found |= {"BT-134": begun, "BT-135": ended}
    return found


def _place(document: Document, line: DocumentLine) -> list[tuple[str, str]]:
    """Where and when, as an attribute each; nothing of a sale that has no place."""
    is_french = document.language == "fr"
    words = ("Point de charge", "Début", "Fin") if is_french else ("Charge point", "Begin", "End")
    return list(zip(words, (line.point, line.started_at, line.ended_at), strict=True))


def _paris_day(text: str) -> date | None:
    return datetime.fromisoformat(text).astimezone(PARIS).date() if text else None


def _eur(amount_cents: int) -> str:
    return str(euros(amount_cents))


def _percent(rate: Decimal) -> str:
    return f"{rate.normalize():f}" if rate else "0"
