"""Files exchanged with the bank, as values: no database, no clock.

What goes out (`transfers`: pain.001.001.09, `debits`: pain.008.001.08) is built by sepaxml from
dataclasses (`parties`), refuses single payments by their faults (`faults`), and is proved before
it leaves: the bank's XSD, then our own rules read back from the bytes (`proving`). The same batch
gives the same bytes. What comes in (`camt`: account statements; `status`: pain.002) is read with a
parser that takes no entities and no network.
"""

from billing.sepa.camt import BankLine, BankStatement, read_statements
from billing.sepa.debits import build_debits
from billing.sepa.parties import Account, Address, Creditor, Debit, Transfer
from billing.sepa.proving import Built, Refused
from billing.sepa.reading import Unreadable
from billing.sepa.status import (
    REFUSED,
    PaymentStatus,
    identifiers_in,
    is_status_report,
    read_status,
)
from billing.sepa.transfers import build_transfers

__all__ = [
    "REFUSED",
    "Account",
    "Address",
    "BankLine",
    "BankStatement",
    "Built",
    "Creditor",
    "Debit",
    "PaymentStatus",
    "Refused",
    "Transfer",
    "Unreadable",
    "build_debits",
    "build_transfers",
    "identifiers_in",
    "is_status_report",
    "read_statements",
    "read_status",
]
