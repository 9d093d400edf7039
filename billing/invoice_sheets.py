"""The pages of an invoice: what stands on each of them, and who sells, as it is written."""

from datetime import UTC, datetime, time
from typing import Final

from billing.invoice import Document, Party
from billing.invoice_texts import TEXTS, is_account, title
from billing.paper import MARGIN_MM, MUTED, Paper

_FOOT_MM: Final = 22.0  # of each page


class Sheets(Paper):
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


def business_of(document: Document, party: Party, words: dict[str, str]) -> list[str]:
    """By what a business goes: SIREN, and VAT number where the document has VAT."""
    lines = [_siren(party, words)]
    if party.vat_number and not is_account(document):
        lines.append(f"{words['vat_number']} {party.vat_number}")
    return [line for line in lines if line]
