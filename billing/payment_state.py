"""What becomes of a payout and of a direct debit: which state follows which, and by what.

Pure. A payout takes the client's money out of what is available the moment it is made (`draft`),
and out of the account of third parties when the bank says so (`settled`); whatever does not arrive
puts it back. A bank may answer twice and in any order: what was settled stays settled when an
acceptance comes late, and only a return undoes it.
"""

from typing import Final

#: state, what happens -> the next state
PAYOUTS: Final[dict[tuple[str, str], str]] = {
    ("draft", "send"): "sent",
    ("draft", "cancel"): "cancelled",
    ("sent", "settle"): "settled",
    ("sent", "refuse"): "refused",  # pain.002: it never left
    ("settled", "give back"): "returned",  # the client's bank sent it back
}

DEBITS: Final[dict[tuple[str, str], str]] = {
    ("notified", "send"): "sent",
    ("notified", "cancel"): "cancelled",  # paid otherwise, revoked, contested
    ("sent", "collect"): "collected",
    ("sent", "refuse"): "refused",  # before the day: nothing was collected
    ("collected", "give back"): "returned",  # returned by the bank or refunded to the debtor
}


def follow(table: dict[tuple[str, str], str], state: str, happening: str) -> str | None:
    """The state after something happened; None: that cannot happen in this state."""
    return table.get((state, happening))


def diagram(table: dict[tuple[str, str], str], first: str) -> str:
    """The table as a mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {first}"]
    lines += [f"    {state} --> {after}: {what}" for (state, what), after in table.items()]
    return "\n".join(lines)
