"""The sums of a document, from its lines and from nothing else."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from billing.invoice.document import Document, DocumentLine, VatTotal


@dataclass(frozen=True, slots=True)
class Totals:
    """What all lines sum to; `vat` has one total for each rate, the lowest first."""

    vat: tuple[VatTotal, ...]
    net_cents: int
    vat_cents: int
    gross_cents: int


def add_up(lines: Iterable[DocumentLine]) -> Totals:
    """The sums of the lines. Nothing is rounded here: each line's VAT was, once."""
    sums: dict[Decimal, list[int]] = {}
    net = vat = gross = 0
    for line in lines:
        of_rate = sums.setdefault(line.vat_percent, [0, 0])
        of_rate[0] += line.net_cents
        of_rate[1] += line.vat_cents
        net += line.net_cents
        vat += line.vat_cents
        gross += line.gross_cents
    totals = tuple(VatTotal(percent, *sums[percent]) for percent in sorted(sums))
    return Totals(totals, net, vat, gross)


def added_up(document: Document) -> Document:
    """The document with the sums of its lines, whatever it had before."""
    totals = add_up(document.lines)
    return replace(
        document,
        vat=totals.vat,
        net_cents=totals.net_cents,
        vat_cents=totals.vat_cents,
        gross_cents=totals.gross_cents,
    )
