"""What an invoice's XML says, read by itself, multiplied and added again, against its document."""

from decimal import Decimal
from typing import Final

from lxml import etree

from billing.invoice import Document
from billing.money import euros

_SPACES: Final = {
    "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
    "qdt": "urn:un:unece:uncefact:data:standard:QualifiedDataType:100",
}
_DEAL: Final = "/rsm:CrossIndustryInvoice/rsm:SupplyChainTradeTransaction"
_SETTLED: Final = f"{_DEAL}/ram:ApplicableHeaderTradeSettlement"
_SUMS: Final = f"{_SETTLED}/ram:SpecifiedTradeSettlementHeaderMonetarySummation"
_HEAD: Final = "/rsm:CrossIndustryInvoice/rsm:ExchangedDocument"
_AGREED: Final = f"{_DEAL}/ram:ApplicableHeaderTradeAgreement"


def differences(xml: bytes, document: Document) -> list[str]:
    """Where the XML does not say what the document says, or does not add up exactly, in sentences;
    nothing where all is well."""
    tree = etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True))
    found = []
    for path, expected in _expected(document):
        said = _texts(tree, path)
        if said != expected:
            found.append(f"{path} says {said}, not {expected}.")
    return found + _products(tree, document)


def _expected(document: Document) -> list[tuple[str, list[str]]]:
    """Paths, and the texts that stand there in this order."""
    due = document.gross_cents - document.paid_cents
    is_original = document.original_issued_on is None
    original_on = document.original_issued_on
    return [
        (f"{_HEAD}/ram:ID", [document.number]),
        (f"{_HEAD}/ram:TypeCode", [str(int(document.type_code))]),
        (f"{_HEAD}/ram:IssueDateTime/udt:DateTimeString", [f"{document.issued_on:%Y%m%d}"]),
        (f"{_AGREED}/ram:SellerTradeParty/ram:Name", [document.seller.name]),
        (
            f"{_AGREED}/ram:SellerTradeParty/ram:SpecifiedLegalOrganization/ram:ID",
            [document.seller.siren],
        ),
        (f"{_AGREED}/ram:BuyerTradeParty/ram:Name", [document.buyer.name]),
        (
            f"{_SETTLED}/ram:InvoiceReferencedDocument/ram:IssuerAssignedID",
            [] if is_original else [document.original_number],
        ),
        (
            f"{_SETTLED}/ram:InvoiceReferencedDocument/ram:FormattedIssueDateTime"
            "/qdt:DateTimeString",
            [] if original_on is None else [f"{original_on:%Y%m%d}"],
        ),
        (f"{_SUMS}/ram:LineTotalAmount", [_eur(document.net_cents)]),
        (f"{_SUMS}/ram:TaxBasisTotalAmount", [_eur(document.net_cents)]),
        (f"{_SUMS}/ram:TaxTotalAmount", [_eur(document.vat_cents)]),
        (f"{_SUMS}/ram:GrandTotalAmount", [_eur(document.gross_cents)]),
        (
            f"{_SUMS}/ram:TotalPrepaidAmount",
            [_eur(document.paid_cents)] if document.paid_cents else [],
        ),
        (f"{_SUMS}/ram:DuePayableAmount", [_eur(due)]),
        (
            f"{_SETTLED}/ram:ApplicableTradeTax/ram:BasisAmount",
            [_eur(total.base_cents) for total in document.vat],
        ),
        (
            f"{_SETTLED}/ram:ApplicableTradeTax/ram:CalculatedAmount",
            [_eur(total.vat_cents) for total in document.vat],
        ),
    ]


def _products(tree: etree._Element, document: Document) -> list[str]:
    """Each line's quantity times its price is its amount, which is the document's; and their sum
    is the total's."""
    line = f"{_DEAL}/ram:IncludedSupplyChainTradeLineItem"
    names = _texts(tree, f"{line}/ram:SpecifiedTradeProduct/ram:Name")
    prices = _numbers(
        tree,
        f"{line}/ram:SpecifiedLineTradeAgreement/ram:NetPriceProductTradePrice/ram:ChargeAmount",
    )
    quantities = _numbers(tree, f"{line}/ram:SpecifiedLineTradeDelivery/ram:BilledQuantity")
    amounts = _numbers(
        tree,
        f"{line}/ram:SpecifiedLineTradeSettlement"
        "/ram:SpecifiedTradeSettlementLineMonetarySummation/ram:LineTotalAmount",
    )
    if {len(names), len(prices), len(quantities), len(amounts)} != {len(document.lines)}:
        return ["It has not the lines of the document, each with price, quantity and amount."]
    found = []
    for position, (name, price, quantity, amount, line_of) in enumerate(
        zip(names, prices, quantities, amounts, document.lines, strict=True), start=1
    ):
        if quantity * price != amount:
            found.append(f"Line {position}: {quantity} times {price} is not {amount}.")
        if name != line_of.label or amount != euros(line_of.net_cents):
            found.append(f"Line {position} is {name} for {amount}, not as in the document.")
    if sum(amounts, Decimal(0)) != euros(document.net_cents):
        found.append("The lines do not sum to the total.")
    return found


def _texts(tree: etree._Element, path: str) -> list[str]:
    found = tree.xpath(path, namespaces=_SPACES)
    assert isinstance(found, list)
    return [element.text or "" for element in found if isinstance(element, etree._Element)]


def _numbers(tree: etree._Element, path: str) -> list[Decimal]:
    return [Decimal(text) for text in _texts(tree, path)]


def _eur(amount_cents: int) -> str:
    return str(euros(amount_cents))
