"""Payment providers: what is asked of any of them, and what they may answer.

Amounts are integer cents of euro. A payment is named by our key, of which each call makes its
idempotency key: the same call again has no second effect. Of a card we keep and take nothing but
the provider's opaque references.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from billing.provider_state import Told
from csms.registry import Refusal

_REFERENCE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{2,99}")
_DIGITS = re.compile(r"\d(?:[ -]?\d){11,18}")


class Unavailable(Exception):
    """The provider gave no answer that says what happened: nobody knows, ask again."""


class Declined(Exception):
    """The provider says no, for good: nothing was charged. Its argument is the provider's code."""


class Forged(Exception):
    """What was posted in the provider's name is not signed by it, or not now."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A payment that we ask for. `reference`: the provider's own, once it is known.
    `steps`: how many states it had; a call that cannot have effect twice has a key of its own after
    each, since providers keep the answer to a key even where it was an error."""

    key: str
    amount_cents: int
    customer_reference: str
    method_reference: str
    asked_at: datetime
    reference: str | None = None
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """A signed webhook: which payment changed. What it says of it is not relied upon: it may be
    old, or come before another that happened earlier; the payment is fetched."""

    event_id: str
    kind: str
    reference: str | None


class PaymentProvider(Protocol):
    """What a provider can do.

    Each call but `verify_webhook` raises Unavailable when nobody knows what came of it, Declined
    when the provider refused it, and Refusal where there is no provider at all.
    """

    name: str

    async def authorise(self, asked: Asked) -> Told:
        """Reserve the amount; nothing is taken yet."""

    async def capture(self, asked: Asked, amount_cents: int) -> Told:
        """Take so much of what is reserved; the rest is let go."""

    async def void(self, asked: Asked) -> Told:
        """Let go of what is reserved."""

    async def refund(self, asked: Asked, amount_cents: int, total_cents: int) -> Told:
        """Give so much back, which makes `total_cents` in all."""

    async def fetch(self, asked: Asked, now: datetime) -> Told | None:
        """How the payment stands, by our key; None: the provider never heard of it."""

    def verify_webhook(self, content: bytes, signature: str, now: datetime) -> Notice:
        """Read what was posted in its name. Raises: Forged."""


def check_reference(value: str) -> str:
    """An opaque reference of a provider's, as it was given. Raises: Refusal for anything else, and
    above all for what may be the number of a card; the value is never repeated."""
    if looks_like_card(value):
        raise Refusal(
            "That looks like the number of a card, which is never kept here: send the reference "
            "that the payment provider gave for it.",
            "method_reference",
        )
    if not _REFERENCE.fullmatch(value):
        raise Refusal(
            "A reference of the provider's is a letter, then letters, digits, - and _.",
            "method_reference",
        )
    return value


def looks_like_card(value: str) -> bool:
    """Whether 12 to 19 digits with the check digit of card numbers (ISO/IEC 7812) stand in it."""
    runs = (run.group() for run in _DIGITS.finditer(value))
    return any(_luhn([int(each) for each in run if each.isdigit()]) for run in runs)


def _luhn(digits: list[int]) -> bool:
    doubled = [d * 2 - 9 * (d > 4) if n % 2 else d for n, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0
