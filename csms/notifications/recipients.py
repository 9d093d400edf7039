"""Who is told: the deliveries of notifications, made by those who are there at that moment.

Whoever is switched off by preference gets a delivery all the same, which says so and goes nowhere:
the log shows that nothing was forgotten.
"""

from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection

from csms import services
from csms.config import Settings
from csms.domain.services import Option
from csms.notifications.catalogue import CATALOGUE, CATEGORIES, Audience
from csms.store import notifications as store

BATCH: Final = 200


async def resolve(
    connection: AsyncConnection,
    settings: Settings,
    now: datetime,
) -> int:
    """Make the deliveries of up to a batch of notifications, in a transaction; how many of them.

    Managers and webhooks of a client that has not subscribed to notifications are not told but of
    what the operator owes it to tell.
    """
    async with connection.transaction():
        found = await store.lock_unresolved(connection, BATCH)
        if not found:
            return 0
        clients = {client_id for _, _, client_id in found}
        closed = await services.closed_clients(connection, clients, Option.NOTIFICATIONS, now)
        known = [  # of another version of ours may be others: they are told to nobody
            (id, CATALOGUE[code], client_id) for id, code, client_id in found if code in CATALOGUE
        ]

        def plan(audience: Audience | None, *, open_only: bool = False) -> list[dict[str, Any]]:
            return [
                {
                    "id": id,
                    "category": event.category,
                    "optional": CATEGORIES[event.category].optional,
                    "enabled": CATEGORIES[event.category].enabled,
                    "lasts_s": event.lasts_s or settings.notification_give_up_s,
                }
                for id, event, client_id in known
                if (event.webhook if audience is None else audience in event.audience)
                and not (open_only and client_id in closed and not event.always)
            ]

        await store.insert_for_persons(connection, plan(Audience.PERSON), now)
        await store.insert_for_managers(connection, plan(Audience.MANAGERS, open_only=True), now)
        if settings.notification_operator_address is not None:
            await store.insert_for_addresses(connection, plan(Audience.OPERATORS), now)
        await store.insert_for_addresses(connection, plan(Audience.ADDRESS), now)
        await store.insert_for_webhooks(connection, plan(None), sorted(closed), now)
        await store.mark_resolved(connection, [id for id, _, _ in found], now)
    return len(found)
