"""What drivers have paid in advance pays what they are invoiced, by the function of receipts."""

from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec

from psycopg import AsyncConnection


async def apply(connection: AsyncConnection, person_ids: Sequence[int], now: datetime) -> None:
    """Pay the open invoices of drivers from their wallets, in the caller's transaction. Without
    receipts there is no wallet."""
    if person_ids and find_spec("billing.receipts") is not None:
        await import_module("billing.receipts").apply_wallets(connection, person_ids, now)
