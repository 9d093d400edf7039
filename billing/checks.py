"""`time2plug billing check`: what the books and the documents promise, proved on the live data.

Every check is one statement that looks for what must not be, all on one snapshot; nothing is
mended here. A part that has promises of its own adds its checks to `CHECKS`.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from billing.store import (
    checking,
    checking_documents,
    checking_payments,
    checking_statements,
    checking_supply,
)
from csms.checks import SHOWN_MAX, Check
from csms.store.checking import Offence


def _timeless(
    find: Callable[[AsyncConnection, int], Awaitable[list[Offence]]],
) -> Callable[[AsyncConnection, datetime], Awaitable[list[Offence]]]:
    """A statement that asks for no moment."""

    async def at(connection: AsyncConnection, now: datetime) -> list[Offence]:
        return await find(connection, SHOWN_MAX)

    return at


CHECKS: Final = (
    Check(
        "unbalanced entries",
        "debits equal credits in every entry, and so in all of them",
        _timeless(checking.unbalanced_entries),
    ),
    Check(
        "changed entries",
        "every entry says what it said when it was written",
        _timeless(checking.changed_entries),
    ),
    Check(
        "broken chains",
        "no entry was taken out, put in or moved: each follows the one before by its digest",
        _timeless(checking.broken_chains),
    ),
    Check(
        "late entries",
        "nothing was booked in a month that was closed",
        _timeless(checking.late_entries),
    ),
    Check(
        "client money lent",
        "what is held for others is never less than what is owed to them",
        _timeless(checking.lent_client_money),
    ),
    Check(
        "overdrawn accounts",
        "no client and no driver has less than nothing",
        _timeless(checking.overdrawn_accounts),
    ),
    Check(
        "claims beside invoices",
        "what drivers owe in the books is what is open on invoices",
        _timeless(checking.claims_beside_invoices),
    ),
    Check(
        "receipts beside books",
        "all money received is in the books, once, on its day",
        _timeless(checking.receipts_beside_books),
    ),
    Check(
        "shares beside books",
        "every cent that pays a session is allocated in the books",
        _timeless(checking.shares_beside_books),
    ),
    Check(
        "overspent receipts",
        "no money pays twice, and none that went back pays anything",
        _timeless(checking.overspent_receipts),
    ),
    Check(
        "odd reversals",
        "what is undone is undone whole, for the same driver",
        _timeless(checking.odd_reversals),
    ),
    Check(
        "gaps in series",
        "invoices are numbered without a gap, in the order of their days",
        _timeless(checking_documents.gaps_in_series),
    ),
    Check(
        "invoices beside books",
        "every invoice is in the books, with its effect",
        _timeless(checking_documents.invoices_beside_books),
    ),
    Check(
        "effects beside documents",
        "what is owed on an invoice is what its documents say together",
        _timeless(checking_documents.effects_beside_documents),
    ),
    Check(
        "overpaid sessions",
        "no session has received more than it costs",
        _timeless(checking_documents.overpaid_sessions),
    ),
    Check(
        "lines beside prices",
        "each session is invoiced at its price, to its driver",
        _timeless(checking_documents.lines_beside_prices),
    ),
    Check(
        "sums beside lines",
        "the lines of an invoice add up to it",
        _timeless(checking_documents.sums_beside_lines),
    ),
    Check(
        "changed documents",
        "invoices and statements say what they said when they were made",
        _timeless(checking_documents.changed_documents),
    ),
    Check(
        "documents beside rows",
        "an invoice says the number, day and sums that its row has",
        _timeless(checking_documents.documents_beside_rows),
    ),
    Check(
        "changed files",
        "files keep the bytes that were handed out",
        _timeless(checking_documents.changed_files),
    ),
    Check(
        "statements beside lines",
        "the figures of a statement are the sums of its lines",
        _timeless(checking_statements.sums_beside_lines),
    ),
    Check(
        "statements out of line",
        "each statement begins with what the one before carried over",
        _timeless(checking_statements.openings_beside_nets),
    ),
    Check(
        "lines beside sources",
        "each line of a statement leads to its session, share or sale, to the cent",
        _timeless(checking_statements.lines_beside_sources),
    ),
    Check(
        "payouts beside lines",
        "each payout is the sum of what it pays",
        _timeless(checking_payments.payouts_beside_lines),
    ),
    Check(
        "paid beyond statements",
        "no statement is paid more than it leaves, nor twice",
        _timeless(checking_payments.paid_beyond_statements),
    ),
    Check(
        "payouts beside books",
        "every payout is in the books as it stands",
        _timeless(checking_payments.payouts_beside_books),
    ),
    Check(
        "files beside payments",
        "a payment file is the sum of its payments",
        _timeless(checking_payments.files_beside_payments),
    ),
    Check(
        "debits beside receipts",
        "what was collected is received, what came back is undone, each once",
        _timeless(checking_payments.debits_beside_receipts),
    ),
    Check(
        "own receipts beside books",
        "what clients paid of the operator's invoices is in its books",
        _timeless(checking_payments.own_receipts_beside_books),
    ),
    Check(
        "late payments beside books",
        "what late payouts cost is booked, once",
        _timeless(checking_payments.late_payments_beside_books),
    ),
    Check(
        "bank lines beside books",
        "each line of the bank's is taken for one thing, of its amount",
        _timeless(checking_payments.lines_beside_books),
    ),
    Check(
        "supply beside sources",
        "what co-owners are billed leads to their sessions, to the watt-hour",
        _timeless(checking_supply.documents_beside_sources),
    ),
    Check(
        "provisions beside books",
        "provisions of co-owners are in the books as they stand, and never below 0",
        _timeless(checking_supply.provisions_beside_books),
    ),
)


async def find_offences(
    connection: AsyncConnection, now: datetime
) -> list[tuple[Check, list[Offence]]]:
    """Every check with what it found, in the order of `CHECKS`; an empty list is a promise kept.
    All look at the same moment, whoever writes meanwhile; in a transaction of the caller's, at what
    that one sees. Raises: psycopg.Error."""
    is_alone = connection.info.transaction_status == TransactionStatus.IDLE
    async with connection.transaction():
        if is_alone:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return [(check, await check.find(connection, now)) for check in CHECKS]
