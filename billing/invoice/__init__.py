"""Invoices as values: what a document says, how it is added up, kept, and what is wrong with it.

Pure. A `Document` is frozen at issue, kept as JSON and never changed; XML (`billing.facturx`) and
PDF (`billing.invoice_pdf`) are made from it and from nothing else.
"""

from billing.invoice.adding import Totals, add_up, added_up
from billing.invoice.document import (
    Document,
    DocumentLine,
    Party,
    TypeCode,
    VatCase,
    VatTotal,
)
from billing.invoice.faults import faults
from billing.invoice.record import from_json, to_json

__all__ = [
    "Document",
    "DocumentLine",
    "Party",
    "Totals",
    "TypeCode",
    "VatCase",
    "VatTotal",
    "add_up",
    "added_up",
    "faults",
    "from_json",
    "to_json",
]
