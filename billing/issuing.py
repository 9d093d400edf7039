"""From priced sessions and own sales to documents: what the other stages of billing call.

charging (in clients' names), own_sales (the operator's), corrections (credit notes, correctives),
invoice_files (their bytes, and when they lay open); series numbers them, documents and parties say
what is on them.
"""

from collections.abc import Callable
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing.charging import Issued, issue
from billing.corrections import correct, credit, left_of
from billing.invoice_files import invoice_file, kept_file, make_available
from billing.own_sales import add_due_sales, add_own_sale, issue_own
from billing.store import issuing as store
from csms.config import Settings

__all__ = [
    "Issued",
    "add_due_sales",
    "add_own_sale",
    "correct",
    "credit",
    "invoice_file",
    "issue",
    "issue_month",
    "issue_own",
    "kept_file",
    "left_of",
    "make_available",
]

Progress = Callable[[int, int], None]  # clients done, of how many


async def issue_month(
    pool: AsyncConnectionPool,
    month: date,
    now: datetime,
    *,
    settings: Settings,
    client_id: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Issued:
    """Issue what all clients' drivers are due for a month, or one client's. May run twice, and at
    once with another.

    Raises: Conflict while the settings do not say who the operator is.
    """
    total = Issued()
    async with pool.connection() as connection:
        clients = await store.fetch_clients_to_issue(connection, month, client_id)
        for done, each in enumerate(clients, start=1):
            total.add(await issue(connection, each, month, now, settings=settings, dry_run=dry_run))
            if progress is not None:
                progress(done, len(clients))
    return total


async def issue_on(
    connection: AsyncConnection, month: date, now: datetime, *, settings: Settings
) -> int:
    """As `issue_month` for all clients, on this connection; how many documents."""
    documents = 0
    for each in await store.fetch_clients_to_issue(connection, month, None):
        documents += (await issue(connection, each, month, now, settings=settings)).documents
    return documents
