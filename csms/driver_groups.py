"""Groups of drivers: residents, visitors, staff of a client; their members, and their access.

A group's access is weekly windows at sites of its client, read by each site's own clock (see
`csms.domain.access`). As in `csms.drivers`: the caller's transaction, refusals as sentences, an
entry in the audit for each change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import ExclusionViolation, UniqueViolation

from csms.clients import Actor
from csms.domain.access import DAY_MINUTES, EVERY_DAY
from csms.drivers import get, note
from csms.registry import AlreadyThere, NotThere, Refusal
from csms.store import groups as store
from csms.store import sites
from csms.store.groups import Access, GroupConfig

KINDS = ("residents", "visitors", "staff")
ACCESS_MAX = 100  # windows of a group in force: each badge of a member is held against all of them


async def create(
    connection: AsyncConnection,
    client_id: int,
    values: Mapping[str, Any],
    actor: Actor,
    now: datetime,
) -> int:
    """A new group of the client; its id. `values` takes name, kind, and the limits of reservations
    (`GroupConfig`). Raises: AlreadyThere where the client has one of this name; Refusal."""
    if await sites.get_client(connection, client_id) is None:
        raise Refusal(f"There is no client {client_id}.", "client_id")
    base = GroupConfig(client_id, "", "residents", 1, 120)
    group_id = await _write(connection, None, replace(base, **values), now)
    await note(connection, actor, now, "group created", f"group {group_id}", client_id=client_id)
    return group_id


async def change(
    connection: AsyncConnection,
    group_id: int,
    values: Mapping[str, Any],
    actor: Actor,
    now: datetime,
) -> None:
    """Change the named fields of a group, no other. Raises: NotThere; AlreadyThere."""
    former = await get_group(connection, group_id)
    await _write(connection, group_id, replace(former, **values), now)
    await note(
        connection,
        actor,
        now,
        "group changed",
        f"group {group_id}",
        client_id=former.client_id,
        fields=sorted(values),
    )


async def retire(connection: AsyncConnection, group_id: int, actor: Actor, now: datetime) -> None:
    """The group gives nobody access any more. Raises: NotThere."""
    former = await get_group(connection, group_id)
    await store.retire_group(connection, group_id, now)
    await note(
        connection, actor, now, "group retired", f"group {group_id}", client_id=former.client_id
    )


async def get_group(connection: AsyncConnection, group_id: int) -> GroupConfig:
    """The group, held until the transaction ends. Raises: NotThere."""
    found = await store.lock_group(connection, group_id)
    if found is None:
        raise NotThere(f"There is no group {group_id}.")
    return found


async def _write(
    connection: AsyncConnection, group_id: int | None, config: GroupConfig, now: datetime
) -> int:
    try:
        async with connection.transaction():
            return await store.write_group(connection, group_id, config, now)
    except UniqueViolation:
        raise AlreadyThere(f"There is a group {config.name} already.", "name") from None


# --- Members ------------------------------------------------------------------------------------


async def add_member(
    connection: AsyncConnection,
    group_id: int,
    person_id: int,
    actor: Actor,
    now: datetime,
    *,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
) -> None:
    """The driver belongs to the group from a moment on, now unless told; until further notice
    unless told. Raises: NotThere; AlreadyThere where she is in it then; Refusal."""
    group = await get_group(connection, group_id)
    await get(connection, person_id)
    begin = now if from_at is None else from_at
    check_period(begin, to_at)
    try:
        async with connection.transaction():
            await store.insert_member(connection, group_id, person_id, begin, to_at)
    except (ExclusionViolation, UniqueViolation):
        raise AlreadyThere(
            f"Driver {person_id} is in this group for a part of that time already.", "person_id"
        ) from None
    await note(
        connection,
        actor,
        now,
        "member added",
        f"driver {person_id}",
        client_id=group.client_id,
        group_id=group_id,
    )


def check_period(begin: datetime, end: datetime | None) -> None:
    """Whether somebody may be a member for that time. Raises: Refusal."""
    _check_year(begin, "from")
    _check_year(end, "to")
    if end is not None and end <= begin:
        raise Refusal("It ends after it begins.", "to")


def _check_year(moment: datetime | None, field: str) -> None:
    """No clock counts as far as the calendar of years does. Raises: Refusal."""
    if moment is not None and not 2000 <= moment.year <= 2200:
        raise Refusal("This year lies outside 2000 to 2200.", field)


async def end_member(
    connection: AsyncConnection,
    group_id: int,
    person_id: int,
    actor: Actor,
    now: datetime,
    *,
    to_at: datetime | None = None,
) -> None:
    """The driver leaves the group: now, with what has yet to begin, or at a later moment.

    Raises: NotThere where she is not in it; Refusal.
    """
    group = await get_group(connection, group_id)
    if to_at is None:
        ended = await store.end_memberships(connection, person_id, now, group_id=group_id)
        if not ended:
            raise NotThere(f"Driver {person_id} is not in this group.")
    else:
        await _end_later(connection, group_id, person_id, now, to_at)
    await note(
        connection,
        actor,
        now,
        "member removed" if to_at is None else "membership bounded",
        f"driver {person_id}",
        client_id=group.client_id,
        group_id=group_id,
    )


async def _end_later(
    connection: AsyncConnection, group_id: int, person_id: int, now: datetime, to_at: datetime
) -> None:
    found = await store.find_membership(connection, group_id, person_id, now)
    if found is None:
        raise NotThere(f"Driver {person_id} is not in this group.")
    from_at, _ = found
    _check_year(to_at, "to")
    if to_at <= max(from_at, now):
        raise Refusal("It ends after it begins, and not in the past.", "to")
    try:
        async with connection.transaction():
            await store.end_membership(connection, group_id, person_id, from_at, to_at)
    except ExclusionViolation:
        raise Refusal("She is in this group again before that.", "to") from None


# --- Access -------------------------------------------------------------------------------------


def weekday_mask(weekdays: Sequence[int]) -> int:
    """Weekdays by their ISO numbers (1 Monday) as bits; none is every day. Raises: Refusal."""
    if any(not 1 <= day <= 7 for day in weekdays):
        raise Refusal("Weekdays are numbers from 1, Monday, to 7, Sunday.", "weekdays")
    return sum(1 << day - 1 for day in set(weekdays)) or EVERY_DAY


def weekdays_of(mask: int) -> list[int]:
    """The ISO numbers of the weekdays in it."""
    return [day for day in range(1, 8) if mask >> day - 1 & 1]


def minute_of(text: str, field: str) -> int:
    """The minute of the day of a time like 07:30; 24:00 is the day's end. Raises: Refusal."""
    hours, colon, minutes = text.partition(":")
    plain = len(hours) == len(minutes) == 2 and (hours + minutes).isascii()
    if not colon or not plain or not (hours + minutes).isdecimal():
        raise Refusal("A time looks like 07:30.", field)
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > DAY_MINUTES:
        raise Refusal("A time lies between 00:00 and 24:00.", field)
    return minute


def time_of(minute: int) -> str:
    """The minute of the day as a time."""
    return f"{minute // 60:02}:{minute % 60:02}"


async def add_access(
    connection: AsyncConnection,
    group_id: int,
    site_id: str,
    actor: Actor,
    now: datetime,
    *,
    weekdays: Sequence[int] = (),
    begin: str = "00:00",
    end: str = "24:00",
) -> Access:
    """A window at a site of the group's client, by the site's clock; one that ends at or before its
    begin ends the next day. Raises: NotThere; Refusal."""
    group = await get_group(connection, group_id)
    from_minute, to_minute = minute_of(begin, "from"), minute_of(end, "to")
    if from_minute == DAY_MINUTES:
        from_minute = 0
    if await store.count_access(connection, group_id) >= ACCESS_MAX:
        raise Refusal(f"A group has {ACCESS_MAX} windows at most: end one, or make another group.")
    if await sites.client_of_site(connection, site_id) != group.client_id:
        raise Refusal(f"This client has no site {site_id}.", "site_id")
    made = await store.insert_access(
        connection,
        group_id,
        group.client_id,
        site_id=site_id,
        weekdays=weekday_mask(weekdays),
        from_minute=from_minute,
        to_minute=to_minute or DAY_MINUTES,
        now=now,
    )
    await note(
        connection,
        actor,
        now,
        "access given",
        f"group {group_id}",
        client_id=group.client_id,
        access_id=made.id,
    )
    return made


async def end_access(
    connection: AsyncConnection, group_id: int, access_id: int, actor: Actor, now: datetime
) -> None:
    """The window is taken away. Raises: NotThere."""
    group = await get_group(connection, group_id)
    if not await store.retire_access(connection, group_id, access_id, now):
        raise NotThere(f"Group {group_id} has no access {access_id}.")
    await note(
        connection,
        actor,
        now,
        "access taken",
        f"group {group_id}",
        client_id=group.client_id,
        access_id=access_id,
    )
