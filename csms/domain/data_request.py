"""A person's request about her data: the states it goes through, and the days that it has.

    received -> working -> done, refused or withdrawn

`start` may be left out. An extension is no state: it moves the day, once, with a reason that is
told within the first month (GDPR article 12(3)). The table below is the machine; `diagram` prints
it.
"""

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What is asked, by the article of the GDPR that gives the right."""

    ACCESS = "access"  # 15
    RECTIFICATION = "rectification"  # 16
    ERASURE = "erasure"  # 17; closes the account first
    RESTRICTION = "restriction"  # 18
    PORTABILITY = "portability"  # 20
    OBJECTION = "objection"  # 21; to prospecting: at once, without a reason
    CLOSING = "closing"  # of the account alone


class State(StrEnum):
    """Where a request stands."""

    RECEIVED = "received"
    WORKING = "working"
    DONE = "done"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class Act(StrEnum):
    """What is done with it."""

    START = "start"
    EXTEND = "extend"
    COMPLETE = "complete"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"


TABLE: Final = {
    (State.RECEIVED, Act.START): State.WORKING,
    (State.RECEIVED, Act.EXTEND): State.RECEIVED,
    (State.RECEIVED, Act.COMPLETE): State.DONE,
    (State.RECEIVED, Act.REFUSE): State.REFUSED,
    (State.RECEIVED, Act.WITHDRAW): State.WITHDRAWN,
    (State.WORKING, Act.EXTEND): State.WORKING,
    (State.WORKING, Act.COMPLETE): State.DONE,
    (State.WORKING, Act.REFUSE): State.REFUSED,
    (State.WORKING, Act.WITHDRAW): State.WITHDRAWN,
}
OPEN: Final = frozenset({State.RECEIVED, State.WORKING})
CLOSES_ACCOUNT: Final = frozenset({Kind.ERASURE, Kind.CLOSING})
NEEDS_REASON: Final = frozenset({Act.EXTEND, Act.REFUSE})

MONTHS: Final = 1
EXTENDED_MONTHS: Final = 3


def after(state: State, act: Act) -> State | None:
    """The state that the act leads to; None where it cannot be done."""
    return TABLE.get((state, act))


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> received"]
    lines += [f"    {state} --> {into} : {act}" for (state, act), into in TABLE.items()]
    lines += [f"    {state} --> [*]" for state in State if state not in OPEN]
    return "\n".join(lines) + "\n"
