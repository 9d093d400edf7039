"""What an account tells its person: handed to csms.notifications, which sends it."""

import importlib
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

log = logging.getLogger(__name__)


async def announce(
    connection: AsyncConnection,
    event: str,
    *,
    now: datetime,
    person_id: int,
    data: Mapping[str, Any] | None = None,
    secret: Mapping[str, str] | None = None,
) -> None:
    """Tell a person something about her account, in the caller's transaction."""
    try:
        notifications = importlib.import_module("csms.notifications")
    except ModuleNotFoundError:
        log.warning("%s is told to nobody: this installation sends no mails", event)
        return
    await notifications.announce(
        connection, event, now=now, person_id=person_id, data=data, secret=secret
    )
