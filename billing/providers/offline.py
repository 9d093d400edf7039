"""No payment provider, the default: every call is refused, and says what to do instead."""

from datetime import datetime
from typing import Never

from billing.provider_state import Told
from billing.providers import Asked, Forged, Notice
from csms.registry import Refusal


class Offline:
    """A provider that is not there."""

    name = "offline"

    async def authorise(self, asked: Asked) -> Told:
        """Raises: Refusal."""
        _refuse()

    async def capture(self, asked: Asked, amount_cents: int) -> Told:
        """Raises: Refusal."""
        _refuse()

    async def void(self, asked: Asked) -> Told:
        """Raises: Refusal."""
        _refuse()

    async def refund(self, asked: Asked, amount_cents: int, total_cents: int) -> Told:
        """Raises: Refusal."""
        _refuse()

    async def fetch(self, asked: Asked, now: datetime) -> Told | None:
        """Raises: Refusal."""
        _refuse()

    def verify_webhook(self, content: bytes, signature: str, now: datetime) -> Notice:
        """Raises: Forged: nobody may speak in the name of nobody."""
        raise Forged("no provider is configured")


def _refuse() -> Never:
    raise Refusal(
        "No payment provider is configured. Drivers pay by bank transfer, which tops up their "
        "wallet (POST /api/v1/receipts or the bank's statement), or by SEPA direct debit.",
        "provider",
    )
