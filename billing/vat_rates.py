"""The normal rate of VAT by date: of charging and of the operator's own sales alike."""

from datetime import date
from decimal import Decimal

import psycopg
from psycopg import AsyncConnection

from billing.store import tariff_lists as store
from csms.registry import Conflict, Refusal


async def add(
    connection: AsyncConnection, *, from_on: date, to_on: date | None, percent: Decimal, source: str
) -> None:
    """A rate from a day on; what held before and had no end ends there. In the caller's
    transaction.

    Raises: Refusal; Conflict where another is known for then or later, or sessions that ended that
    day or later have their price.
    """
    if to_on is not None and to_on <= from_on:
        raise Refusal("A rate ends after it has begun.", "to_on")
    await store.lock_rates(connection)
    if await store.is_priced_on(connection, from_on):
        raise Conflict("Sessions of that day or later are priced already.", "from_on")
    await store.end_rate(connection, from_on)
    try:
        async with connection.transaction():
            await store.insert_rate(
                connection, from_on=from_on, to_on=to_on, percent=percent, source=source
            )
    except (psycopg.errors.UniqueViolation, psycopg.errors.ExclusionViolation):
        raise Conflict("Another rate holds on that day or later.", "from_on") from None
