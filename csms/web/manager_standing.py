"""How a statement, or an invoice, stands for who reads it: its state, and until when it can be
contested."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from billing import disputes, statement_state
from billing.statement_state import History, State
from billing.store.managing import InvoiceRow, StatementRow
from csms.deadlines import invoice_contest_end, paris_day

InvoiceState = Literal["", "open", "contested", "line", "upheld", "rejected", "accepted"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A statement in a list."""

    id: int
    month: date
    net_cents: int
    collected_cents: int
    state: State
    contest_until: date | None  # as printed
    is_open: bool  # a line can still be contested
    disputes_open: int


def standing_of(row: StatementRow, now: datetime) -> Standing:
    """What its events say. The earliest end is what she is told; until the latest she is heard."""
    history = History(row.sent_at, row.delivered_at, row.final_at, row.disputes_open)
    return Standing(
        row.id,
        row.month,
        row.net_cents,
        row.collected_cents,
        statement_state.state(history, now),
        statement_state.printed_until(history),
        statement_state.is_open(history, now),
        row.disputes_open,
    )


@dataclass(frozen=True, slots=True)
class InvoiceStanding:
    """How an invoice stands for the client in whose name it is, or to whom.

    open: it can be contested; line: a line of it is contested on a statement, or was; accepted: the
    fifteen days went by without a word (5.4 c). '': the operator's own, which nothing presumes
    accepted.
    """

    state: InvoiceState
    contest_until: date | None  # that is told; None: no day is over yet, or there is none
    can_contest: bool


def invoice_standing(row: InvoiceRow, now: datetime) -> InvoiceStanding:
    """What its availability and its disputes say. While the earliest end is ahead, that is what
    she is told; then the latest, until which she is heard."""
    today, last = paris_day(now), disputes.invoice_open_until(row.issuer, row.available_at)
    until = None
    if last is not None and row.available_at is not None:
        first = invoice_contest_end(paris_day(row.available_at))
        until = first if today <= first else last
    in_time = last is None or today <= last
    return InvoiceStanding(
        _invoice_state(row, in_time=in_time),
        until if in_time else None,
        in_time and (row.dispute_id is None or row.decision == "withdrawn"),
    )


def _invoice_state(row: InvoiceRow, *, in_time: bool) -> InvoiceState:
    if row.dispute_id is not None and row.decided_at is None:
        return "contested"
    if row.decision == "upheld":
        return "upheld"
    if row.decision == "rejected":
        return "rejected"
    if row.is_line_open:
        return "line"
    if row.issuer != "client":
        return ""
    if in_time:
        return "open"
    return "accepted" if row.line_statement_id is None else "line"
