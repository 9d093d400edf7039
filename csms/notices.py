"""What people decide of notifications: preferences, quiet hours, watches; webhooks, dead letters.

Every function runs in the caller's transaction. An expected refusal is a `Refusal`, as in
csms.registry.
"""

import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from psycopg import AsyncConnection

from csms import secrets
from csms.config import Settings
from csms.domain.quiet_hours import MINUTES_A_DAY
from csms.notifications import webhooks as signing
from csms.notifications.catalogue import CATALOGUE, CATEGORIES, PING, WEBHOOK_EVENTS
from csms.refusals import AccountRefusal
from csms.registry import NotThere, Refusal
from csms.store import choices, deliveries, webhooks
from csms.store.choices import QuietHours

CHANNELS: Final = ("email",)
WATCH_S: Final = 86_400.0  # how long somebody waits for a free point, at most
WATCHES_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Preference:
    """Whether a person is told things of a category on a channel."""

    category: str
    channel: str
    enabled: bool
    optional: bool  # she may change it


@cache
def time_zones() -> frozenset[str]:
    """All zones that a clock can be set to."""
    return frozenset(zoneinfo.available_timezones())


async def preferences(connection: AsyncConnection, person_id: int) -> list[Preference]:
    """All of a person's preferences, those that she never chose as the catalogue has them."""
    chosen = await choices.fetch_preferences(connection, person_id)
    return [
        Preference(
            category=category.code,
            channel=channel,
            enabled=not category.optional or chosen.get((category.code, channel), category.enabled),
            optional=category.optional,
        )
        for category in CATEGORIES.values()
        for channel in CHANNELS
    ]


async def choose(
    connection: AsyncConnection,
    person_id: int,
    enabled: Mapping[tuple[str, str], bool],
    hours: QuietHours | None,
    now: datetime,
) -> None:
    """Replace a person's preferences, by category and channel, and her quiet hours; None: none.

    What is not named is as the catalogue has it. Raises: Refusal.
    """
    for (code, channel), value in enabled.items():
        category = CATEGORIES.get(code)
        if category is None or channel not in CHANNELS:
            raise Refusal(f"There is no category {code} on the channel {channel}.", "preferences")
        if not category.optional and not value:
            raise Refusal(f"What concerns {code} is always told.", "preferences")
    await choices.replace_preferences(connection, person_id, enabled, now)
    if hours is None:
        await choices.delete_quiet_hours(connection, person_id)
        return
    if hours.from_minute == hours.to_minute:
        text = "Quiet hours end at another minute than they begin."
        raise AccountRefusal("quiet_hours", text, "quiet_hours")
    if hours.time_zone not in time_zones():
        text = f"There is no time zone {hours.time_zone}."
        raise AccountRefusal("time_zone", text, "quiet_hours")
    assert 0 <= hours.from_minute < MINUTES_A_DAY and 0 <= hours.to_minute < MINUTES_A_DAY
    await choices.write_quiet_hours(connection, person_id, hours, now)


async def watch(
    connection: AsyncConnection,
    person_id: int,
    now: datetime,
    *,
    site_id: str | None = None,
    station_id: str | None = None,
    evse_id: int | None = None,
    lasts_s: float = WATCH_S,
) -> int:
    """Tell her, once, when a point is free: any of a site, of a station, or one. The watch's id.

    Whether she may charge there is the caller's to ask. The same wish again is the same watch, and
    lasts longer. Raises: NotThere; Refusal.
    """
    assert (site_id is None) != (station_id is None)
    await choices.end_old_watches(connection, person_id, now)
    if len(await choices.list_watches(connection, person_id, now)) >= WATCHES_MAX:
        raise Refusal(f"Up to {WATCHES_MAX} points are watched at once.")
    watch_id = await choices.insert_watch(
        connection,
        person_id,
        site_id=site_id,
        station_id=station_id,
        evse_id=evse_id,
        now=now,
        expires_at=now + timedelta(seconds=min(lasts_s, WATCH_S)),
    )
    if watch_id is None:
        raise NotThere(f"There is no station {station_id}.")
    return watch_id


async def create_webhook(
    connection: AsyncConnection,
    settings: Settings,
    *,
    client_id: int | None,
    url: str,
    events: Sequence[str],
    created_by: str,
    now: datetime,
) -> tuple[int, str]:
    """A webhook of a client (None: of the operator, told of every client): its id, and the secret
    that its messages are signed with, which nobody can read again. Raises: NotThere; Refusal."""
    _check_url(settings, url)
    found = await webhooks.lock_client(connection, client_id)
    if found is None:
        raise NotThere(f"There is no client {client_id}.", "client_id")
    most = settings.webhooks_per_client_entries_max
    if await webhooks.count_webhooks(connection, found) >= most:
        raise Refusal(f"A client has up to {most} webhooks.")
    secret = signing.new_secret()
    webhook_id = await webhooks.insert_webhook(
        connection,
        client_id=found,
        url=url,
        events=_checked_events(events),
        secret=secrets.seal(settings, secret),
        created_by=created_by,
        now=now,
    )
    return webhook_id, secret


async def change_webhook(
    connection: AsyncConnection,
    settings: Settings,
    webhook_id: int,
    *,
    url: str | None,
    events: Sequence[str] | None,
    now: datetime,
) -> None:
    """Change what is not None. Raises: NotThere; Refusal."""
    if url is not None:
        _check_url(settings, url)
    checked = None if events is None else _checked_events(events)
    if not await webhooks.change_webhook(connection, webhook_id, url=url, events=checked, now=now):
        raise NotThere(f"There is no webhook {webhook_id}.")


async def renew_secret(
    connection: AsyncConnection, settings: Settings, webhook_id: int, now: datetime
) -> str:
    """Another secret from now on, for what waits too. Raises: NotThere."""
    secret = signing.new_secret()
    sealed = secrets.seal(settings, secret)
    if not await webhooks.change_webhook(connection, webhook_id, secret=sealed, now=now):
        raise NotThere(f"There is no webhook {webhook_id}.")
    return secret


async def ping_webhook(
    connection: AsyncConnection, settings: Settings, webhook_id: int, now: datetime
) -> int:
    """Send it a message that means nothing; the delivery's id in the log. Raises: NotThere."""
    if not await webhooks.list_webhooks(connection, webhook_id=webhook_id):
        raise NotThere(f"There is no webhook {webhook_id}.")
    give_up_at = now + timedelta(seconds=settings.notification_give_up_s)
    return await deliveries.insert_ping(connection, webhook_id, PING, now, give_up_at)


async def retry(
    connection: AsyncConnection, settings: Settings, delivery_id: int, now: datetime
) -> None:
    """Let a dead letter wait again, for as long as a new one. Raises: NotThere; Refusal."""
    found = await deliveries.get_delivery(connection, delivery_id)
    if found is None:
        raise NotThere(f"There is no delivery {delivery_id}.")
    event = CATALOGUE.get(found.event)
    if event is not None and (event.link or event.elsewhere):
        raise Refusal("Its link was wiped when it was given up: have a new one sent.")
    give_up_at = now + timedelta(seconds=settings.notification_give_up_s)
    if not await deliveries.retry_dead(connection, delivery_id, now, give_up_at):
        raise Refusal(f"Delivery {delivery_id} is no dead letter: it is {found.status}.")


def _check_url(settings: Settings, url: str) -> None:
    problem = signing.url_problem(settings, url)
    if problem is not None:
        raise Refusal(problem[0].upper() + problem[1:] + ".", "url")


def _checked_events(events: Sequence[str]) -> list[str]:
    for event in events:
        if event not in WEBHOOK_EVENTS:
            raise Refusal(f"Webhooks are not told of {event}.", "events")
    return sorted(set(events))
