"""How an account ends, and how somebody ceases to be a driver: the one place that does either.

A driver who is closed keeps her log-in, and may manage clients; an account that is closed has
nothing left. Everything runs in the caller's transaction and is noted in the audit. What becomes of
a person's data afterwards is in `csms.privacy`.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

from csms import booking
from csms.config import Settings
from csms.drivers import sole_client
from csms.notifications import announce
from csms.registry import NotThere
from csms.store import (
    audit,
    driver_badges,
    drivers,
    erasure,
    group_requests,
    groups,
    links,
    logins,
    tokens,
)
from csms.store import privacy as store


@dataclass(frozen=True, slots=True)
class By:
    """Who acts, as the audit names it."""

    actor: str  # "person 7", "key demo", "system"
    person_id: int | None = None
    remote_address: str | None = None


async def close_driver(
    connection: AsyncConnection, settings: Settings, person_id: int, *, now: datetime, by: By
) -> None:
    """The driver charges no more: her badges are blocked, she leaves her groups, her reservations
    and orders are cancelled, her means of payment end. Her person stays, with what she has charged.

    Raises: NotThere.
    """
    client_id = await sole_client(connection, now, person_id)
    if not await drivers.close_driver(connection, person_id, now):
        raise NotThere(f"There is no driver {person_id}.")
    await _end_driving(connection, settings, person_id, now, by)
    await _note(connection, now, by, "driver closed", f"driver {person_id}", client_id)


async def close_account(
    connection: AsyncConnection,
    settings: Settings,
    person_id: int,
    *,
    now: datetime,
    by: By,
    told: bool = True,
) -> bool:
    """End a person's account with all that belongs to it; False when it had ended before. A session
    under way goes on to its end, and is hers. She is told by mail, unless with `told` False she
    hears of it in another way. Raises: NotThere."""
    account = await erasure.lock_account(connection, person_id)
    if account is None:
        raise NotThere(f"There is no person {person_id}.", "person_id")
    if account.closed_at is None:
        await erasure.close_person(connection, person_id, now)
        await _note(connection, now, by, "account closed", f"person {person_id}")
        if told and account.email is not None:
            await announce(connection, "account.closed", now=now, person_id=person_id)
    # What was opened since, or left open by an earlier release, ends here too.
    await drivers.close_driver(connection, person_id, now)
    await _end_driving(connection, settings, person_id, now, by)
    await erasure.end_managing(connection, person_id, now)
    await store.withdraw_consents(connection, person_id, None, now)
    await logins.end_logins(connection, person_id, "closed", now)
    await links.void_links(connection, person_id, None, now)
    await links.forget_devices(connection, person_id)
    await store.note_closing(connection, person_id, now)
    return account.closed_at is None


async def _end_driving(
    connection: AsyncConnection, settings: Settings, person_id: int, now: datetime, by: By
) -> None:
    await groups.end_memberships(connection, person_id, now)
    await group_requests.delete_requests_of(connection, person_id)
    await erasure.end_payment_means(connection, person_id, now)
    await erasure.cancel_badge_orders(connection, person_id, now)
    for reservation_id in await erasure.list_open_reservations(connection, person_id):
        await booking.cancel(connection, settings, reservation_id, now, by=by.actor)
    await erasure.cancel_watches(connection, person_id, now)
    for uid in await driver_badges.block_all(connection, person_id, "closed", now):
        await tokens.notify_token(connection, uid)


async def _note(
    connection: AsyncConnection,
    now: datetime,
    by: By,
    action: str,
    subject: str,
    client_id: int | None = None,
) -> None:
    await audit.add_entry(
        connection,
        now,
        actor=by.actor,
        person_id=by.person_id,
        client_id=client_id,
        action=action,
        subject=subject,
        remote_address=by.remote_address,
    )
