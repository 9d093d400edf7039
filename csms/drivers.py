"""Drivers: who they are, to whom they are invoiced, how they pay, and where they may charge now.

As in `csms.registry` every function runs in the caller's transaction, and an expected refusal is a
`Refusal` with a sentence for people. Whoever changes something says who acts (`By`): each change
is noted in the audit by the transaction that makes it. Badges are in `csms.driver_badges`, groups
in `csms.driver_groups`.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from psycopg import AsyncConnection

from csms.domain import access
from csms.domain.access import Rule
from csms.registry import NotThere, Refusal
from csms.store import drivers as store

APP_BADGE_LABEL = "Application"


@dataclass(frozen=True, slots=True)
class SiteAccess:
    """Whether a driver may charge at a site now: until when, or from when on."""

    site_id: str
    open: bool
    until: datetime | None  # while open; None: nothing ends it within a week
    opens_at: datetime | None  # while not open; None: nothing opens it


async def person_of_badge(connection: AsyncConnection, uid: str, at: datetime) -> int | None:
    """The driver whose badge it was at that moment, compared without case; None: nobody's."""
    return await store.find_person_of_badge(connection, uid, at)


async def app_badge(connection: AsyncConnection, person_id: int, now: datetime) -> str:
    """The uid of the driver's virtual badge, with which the session API starts for her: type
    Central, 15 characters. It is made at first need, and hers from then on.

    Raises: NotThere for one who is no driver; Refusal for one who is blocked or closed.
    """
    may_charge = await store.lock_driver(connection, person_id)
    if may_charge is None:
        raise NotThere(f"There is no driver {person_id}.")
    if not may_charge:
        raise Refusal("This driver is blocked or closed.")
    known = await store.find_app_badge(connection, person_id, now)
    if known is not None:
        return known
    uid = _app_uid()
    while not await store.insert_app_badge(connection, uid):
        uid = _app_uid()
    await store.insert_assignment(connection, uid, person_id, APP_BADGE_LABEL, now)
    return uid


async def access_of(connection: AsyncConnection, person_id: int, now: datetime) -> list[SiteAccess]:
    """The sites at which a group of the driver's has access, now or later; by site. Empty for one
    who is blocked, closed, or in no group."""
    rules = await store.list_site_rules(connection, person_id, now)
    found = []
    for (site_id, time_zone), of_site in groupby(rules, lambda r: (r.site_id, r.time_zone)):
        windows = [
            Rule(r.weekdays, r.from_minute, r.to_minute, r.from_at, r.to_at) for r in of_site
        ]
        told = access.access(windows, access.zone_named(time_zone), now)
        found.append(SiteAccess(site_id, told.open, told.until, told.opens_at))
    return found


def _app_uid() -> str:
    return "APP" + secrets.token_hex(6).upper()
