"""The way in: what happened is written down in the transaction that makes it true."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from psycopg import AsyncConnection

from csms import secrets
from csms.config import Settings
from csms.notifications.catalogue import CATALOGUE, Audience
from csms.store import notifications as store


async def announce(
    connection: AsyncConnection,
    event: str,
    *,
    now: datetime,
    person_id: int | None = None,
    client_id: int | None = None,
    subject: str = "",
    data: Mapping[str, Any] | None = None,
    secret: Mapping[str, str] | None = None,
    key: str | None = None,
    settings: Settings | None = None,
) -> None:
    """Tell of an event of the catalogue, in the caller's transaction; sent after its commit.

    `person_id`: whom it is for, where the catalogue says a person; `client_id`: whose managers and
    webhooks are told (None: the operator). `subject` names the thing ("station CP-1"): it tells
    repetitions, and people read it in the log. `data` is what the text says, as the catalogue lists
    it; an address that the mail goes to instead of the person's own is one of them (`email`), and
    is kept as a secret. `secret` may hold `link`. Secrets need the `settings`, under whose key they
    are sealed. The same `key` again is the same notification, and adds nothing.
    """
    known = CATALOGUE[event]
    assert person_id is not None or known.audience != (Audience.PERSON,), f"{event}: for whom?"
    assert not known.link or (secret and secret.get("link")), f"{event}: which link?"
    told, hidden = dict(data or {}), dict(secret or {})
    if known.elsewhere:
        hidden["address"] = str(told.pop("email"))
    sealed = None
    if hidden:
        assert settings is not None, f"{event}: its secret is sealed under the settings' key"
        sealed = secrets.seal(settings, json.dumps(hidden))
    await store.insert_notification(
        connection,
        event=event,
        at=now,
        person_id=person_id,
        client_id=client_id,
        subject=subject,
        data={name: _plain(value) for name, value in told.items()},
        secret=sealed,
        key=key,
        repeat_s=known.repeat_s,
    )


def _plain(value: Any) -> Any:
    """The value as JSON holds it: times and dates in ISO."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
