"""What a payment provider posts to us: signed, kept, and looked into later by the worker."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Request

from billing import card_payments
from billing.providers import Forged
from billing.providers.choosing import provider
from csms.config import Settings
from csms.web.guard import Pool
from csms.web.problems import Problem, documented

router = APIRouter(tags=["Receipts"])


@router.post(
    "/providers/stripe/webhook",
    summary="Take a webhook of the payment provider",
    responses=documented(400),
    openapi_extra={"security": []},  # asks for no key
)
async def take_stripe_webhook(
    request: Request,
    pool: Pool,
    signature: Annotated[str, Header(alias="stripe-signature", max_length=2_000)] = "",
) -> dict[str, bool]:
    """Needs no log-in, but Stripe's signature over the body as it was sent. A repeat is answered
    like the first one. It is kept; the payment that it names is asked about soon after."""
    settings: Settings = request.app.state.settings
    content = await request.body()
    async with provider(settings) as named, pool.connection() as connection:
        if named.name != "stripe":
            raise Problem(400, "No payment provider is configured: set T2P_STRIPE_KEY.")
        try:
            is_new = await card_payments.take_webhook(
                connection, named, content, signature, datetime.now(UTC)
            )
        except Forged as error:
            raise Problem(400, f"This is not signed by the provider: {error}.") from error
    return {"is_new": is_new}
