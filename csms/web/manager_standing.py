"""How a statement stands for who reads it: its state, and until when it can be contested."""

from dataclasses import dataclass
from datetime import date, datetime

from billing import statement_state
from billing.statement_state import History, State
from billing.store.managing import StatementRow


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
