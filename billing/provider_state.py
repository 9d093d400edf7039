"""What becomes of a payment at a provider: which state follows which, and by what.

Pure. A time-out says nothing of what happened there: the payment is `unknown` until the provider is
asked, never failed by assumption. What the provider says may come twice and in any order; a step
that does not follow from the state changes nothing.
"""

from dataclasses import dataclass
from typing import Final

#: state, what happens -> the next state
PAYMENTS: Final[dict[tuple[str, str], str]] = {
    ("requested", "authorise"): "authorised",
    ("requested", "capture"): "captured",
    ("requested", "void"): "voided",
    ("requested", "fail"): "failed",
    ("requested", "time out"): "unknown",
    ("unknown", "authorise"): "authorised",
    ("unknown", "capture"): "captured",
    ("unknown", "void"): "voided",
    ("unknown", "fail"): "failed",
    ("authorised", "capture"): "captured",
    ("authorised", "void"): "voided",  # by us, or since it was too old
    ("authorised", "time out"): "unknown",
    ("captured", "refund in part"): "partly_refunded",
    ("captured", "refund"): "refunded",
    ("captured", "charge back"): "charged_back",  # the card holder's bank took it back
    ("partly_refunded", "refund in part"): "partly_refunded",
    ("partly_refunded", "refund"): "refunded",
    ("partly_refunded", "charge back"): "charged_back",
}
#: states in which something is still to be done, or to be found out
UNFINISHED: Final = ("requested", "authorised", "unknown")
_REACHED: Final = ("captured", "partly_refunded", "refunded", "charged_back")


@dataclass(frozen=True, slots=True)
class Told:
    """A payment as the provider says it is. `captured_cents` counts what was given back since."""

    reference: str
    is_authorised: bool
    is_ended: bool  # voided or refused: nothing comes of it any more
    captured_cents: int
    refunded_cents: int
    is_charged_back: bool = False  # and not won by us since
    is_won: bool = False  # it was charged back, and we have won
    reason: str | None = None

    @property
    def kept_cents(self) -> int:
        """What of the money is still there."""
        return 0 if self.is_charged_back else max(0, self.captured_cents - self.refunded_cents)


def happenings(told: Told) -> tuple[str, ...]:
    """What must have happened for the payment to be as told, in order."""
    if told.captured_cents > 0:
        if told.is_charged_back:
            return ("capture", "charge back")
        if told.refunded_cents >= told.captured_cents:
            return ("capture", "refund")
        return ("capture", "refund in part") if told.refunded_cents else ("capture",)
    if told.is_ended:
        return ("void",) if told.reason is None else ("fail",)
    return ("authorise",) if told.is_authorised else ()


def follow(state: str, told: Told) -> tuple[str, ...]:
    """The states that come after this one, in order, for the payment to be as told; those that were
    passed already, or that do not follow, are left out."""
    passed = []
    for happening in happenings(told):
        after = PAYMENTS.get((state, happening))
        if after is None and happening == "fail":  # an authorisation that ended is void
            after = PAYMENTS.get((state, "void"))
        if after is not None and after != state:
            passed.append(after)
            state = after
    return tuple(passed)


def has_money(state: str) -> bool:
    """Whether money was captured, whatever became of it."""
    return state in _REACHED
