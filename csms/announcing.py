"""What an account tells its person: handed to csms.notifications, which mails it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from csms import notifications
from csms.config import Settings


async def announce(
    connection: AsyncConnection,
    settings: Settings | None,
    event: str,
    *,
    now: datetime,
    person_id: int,
    data: Mapping[str, Any] | None = None,
    link: str | None = None,
) -> None:
    """Tell a person something about her account, in the caller's transaction. A link, and an
    address other than hers (`email` in the data), are kept sealed under the settings' key."""
    await notifications.announce(
        connection,
        event,
        now=now,
        person_id=person_id,
        data=data,
        secret=None if link is None else {"link": link},
        settings=settings,
    )
