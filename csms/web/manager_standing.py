"""How a statement stands for who reads it: its state, and until when it can be contested."""

from dataclasses import dataclass
from datetime import date, datetime

from billing.store.managing import StatementRow
from csms.deadlines import Reading, contest_window_end, paris_day


@dataclass(frozen=True, slots=True)
class Standing:
    """A statement in a list."""

    id: int
    month: date
    net_cents: int
    collected_cents: int
    state: str  # sent, contested, final
    contest_until: date | None  # as printed; None: it has not reached anybody yet
    is_open: bool  # a line can still be contested
    disputes_open: int


def standing_of(row: StatementRow, now: datetime) -> Standing:
    """What its events say. The earliest end is what she is told; until the latest she is heard."""
    until, is_open = None, row.final_at is None
    if row.delivered_at is not None:
        delivered_on = paris_day(row.delivered_at)
        until = contest_window_end(delivered_on)
        latest = contest_window_end(delivered_on, reading=Reading.LATEST)
        is_open = is_open and paris_day(now) <= latest
    if row.disputes_open:
        state = "contested"
    elif row.final_at is not None or (row.delivered_at is not None and not is_open):
        state = "final"
    else:
        state = "sent"
    return Standing(
        row.id,
        row.month,
        row.net_cents,
        row.collected_cents,
        state,
        until,
        is_open,
        row.disputes_open,
    )
