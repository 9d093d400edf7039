"""How a statement stands, read from what happened to it. Pure.

draft, sent, contested or final. The ten days run from the earliest delivery that is proved, and not
at all before one is (C02). The earliest reading of their end is what is printed; until the latest
the client is heard.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from csms.deadlines import Reading, contest_window_end, paris_day

State = Literal["draft", "sent", "contested", "final"]


@dataclass(frozen=True, slots=True)
class History:
    """What happened to a statement; None: not yet."""

    sent_at: datetime | None
    delivered_at: datetime | None  # the earliest that is proved: a mail accepted, a page opened
    final_at: datetime | None
    disputes_open: int  # about its lines; those about invoices stand by themselves


def state(history: History, now: datetime) -> State:
    """How it stands at a moment."""
    if history.sent_at is None:
        return "draft"
    if history.disputes_open:
        return "contested"
    return "sent" if is_open(history, now) else "final"


def printed_until(history: History) -> date | None:
    """The last day to contest it that is told: of the delivery, or were it delivered as it was
    sent; None: it was not sent."""
    moment = history.delivered_at or history.sent_at
    return None if moment is None else contest_window_end(paris_day(moment))


def open_until(history: History) -> date | None:
    """The last day on which a contest is taken; None: no delivery is proved, the ten days have not
    begun."""
    if history.delivered_at is None:
        return None
    return contest_window_end(paris_day(history.delivered_at), reading=Reading.LATEST)


def is_open(history: History, now: datetime) -> bool:
    """Whether its lines can be contested."""
    last = open_until(history)
    return history.final_at is None and (last is None or paris_day(now) <= last)
