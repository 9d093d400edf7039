"""What an account tells its person: handed to csms.notifications, which mails it."""

import importlib
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from csms.config import Settings

log = logging.getLogger(__name__)


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
    try:
        notifications = importlib.import_module("csms.notifications")
    except ModuleNotFoundError:
        log.warning("%s is told to nobody: this installation sends no mails", event)
        return
    await notifications.announce(
        connection,
        event,
        now=now,
        person_id=person_id,
        data=data,
        secret=None if link is None else {"link": link},
        settings=settings,
    )
