"""Which provider the settings name: none, unless there is a key of one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from billing.providers import PaymentProvider
from billing.providers.offline import Offline
from billing.providers.stripe import Stripe
from csms.config import Settings


@asynccontextmanager
async def provider(settings: Settings) -> AsyncIterator[PaymentProvider]:
    """The provider to be asked. A live key is used only where the settings say so, and never in a
    demonstration. Raises: ValueError for one elsewhere."""
    if settings.stripe_key is None:
        yield Offline()
        return
    may_be_live = settings.stripe_live and not settings.billing_simulated
    async with httpx.AsyncClient(timeout=settings.provider_timeout_s) as client:
        yield Stripe(
            settings.stripe_key,
            settings.stripe_webhook_secret or "",
            client,
            api=settings.stripe_url,
            tries=settings.provider_failures_max,
            allow_live=may_be_live,
        )
