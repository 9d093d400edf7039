"""Drivers whom a manager wants in a group, and who agree first.

A manager who names an e-mail address learns nothing of whose it is, not even whether it is
anybody's: she is told "asked" in any case, and who it is, known or new, answers at /account or by
/api/v1/me/memberships. Until she agrees she is no member, has no access by the group, and the
manager sees nothing of her. As in `csms.drivers`: the caller's transaction, refusals as sentences.
"""

import contextlib
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import AsyncConnection

from csms import driver_groups, drivers
from csms.announcing import announce
from csms.clients import Actor
from csms.config import Settings
from csms.registry import AlreadyThere, NotThere, Refusal
from csms.store import drivers as driver_store
from csms.store import group_requests as store
from csms.store import people
from csms.store.drivers import Known

LASTS: Final = timedelta(days=30)  # also how long a refusal keeps her from being asked again


async def find_own(
    connection: AsyncConnection, email: str, clients: Collection[int], now: datetime
) -> Known | None:
    """Who has this address, if managers of these clients see her already; None tells nothing."""
    known = await driver_store.find_person(connection, email=email)
    if known is None or not await store.is_managed(connection, known.id, sorted(clients), now):
        return None
    return known


async def ask(
    connection: AsyncConnection,
    settings: Settings,
    group_id: int,
    values: Mapping[str, Any],
    actor: Actor,
    now: datetime,
    *,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
) -> None:
    """Ask whoever has the address in `values` (as of `drivers.create`) to belong to the group;
    nobody has it yet: a driver is created, and invited. One who is blocked or closed, who was
    asked already or refused lately, is not told again: whoever asks can tell none of it.

    Raises: NotThere of the group; Refusal for what is wrong in itself.
    """
    group = await driver_groups.get_group(connection, group_id)
    driver_groups.check_period(from_at or now, to_at)
    drivers.check(values)
    if to_at is not None and to_at <= now:
        raise Refusal("It ends after it begins, and not in the past.", "to")
    # That she asked is hers to read in the audit; whom it led to is not: what a person did is shown
    # to her, so the rest is not noted as done by her. The request itself says who asked.
    await drivers.note(
        connection, actor, now, "membership asked", f"group {group_id}", client_id=group.client_id
    )
    unseen = Actor("system", None)
    person_id = await _person(connection, values, unseen, now)
    if person_id is None or not await store.insert_request(
        connection,
        group_id,
        person_id,
        asked_by=actor.name,
        now=now,
        expires_at=now + LASTS,
        from_at=from_at,
        to_at=to_at,
    ):
        return
    await drivers.invite(connection, settings, person_id, unseen, now)
    (asked,) = (r for r in await list_open(connection, person_id, now) if r.group_id == group_id)
    await announce(
        connection,
        settings,
        "driver.group_asked",
        now=now,
        person_id=person_id,
        data={"group": asked.name, "client": asked.client, "expires_at": asked.expires_at},
        link=f"{settings.base_url}/account",
    )


async def _person(
    connection: AsyncConnection, values: Mapping[str, Any], actor: Actor, now: datetime
) -> int | None:
    """Whom to ask; None: nobody, for the account is blocked or closed."""
    email = drivers.checked_email(values["email"])
    known = await driver_store.find_person(connection, email=email)
    if known is None:
        try:
            return await drivers.create(connection, values, actor, now, staff_too=False)
        except AlreadyThere:  # another has entered her in this moment
            known = await driver_store.find_person(connection, email=email)
    if known is None or known.is_closed:
        return None
    account = await people.get_credentials(connection, known.id)
    return known.id if account is not None and account.is_open else None


async def list_open(
    connection: AsyncConnection, person_id: int, now: datetime
) -> list[store.GroupRequest]:
    """The groups to which the person is asked to belong, that wait for her answer."""
    return await store.list_open(connection, person_id, now)


async def accept(
    connection: AsyncConnection, group_id: int, person_id: int, actor: Actor, now: datetime
) -> None:
    """She belongs to the group from now on, or from the day that was asked for. Raises: NotThere
    where nothing waits for her answer; Refusal."""
    await driver_groups.get_group(connection, group_id)
    bounds = await store.decide(connection, group_id, person_id, now, accepted=True)
    if bounds is None:
        raise _nothing(group_id)
    known = await driver_store.find_person(connection, person_id=person_id)
    if known is not None and not known.is_driver:
        await driver_store.write_driver(connection, person_id, now)
    from_at, to_at = bounds
    begin = now if from_at is None else max(from_at, now)
    with contextlib.suppress(AlreadyThere):  # the operator has entered her meanwhile
        await driver_groups.add_member(
            connection, group_id, person_id, actor, now, from_at=begin, to_at=to_at
        )


async def refuse(
    connection: AsyncConnection, group_id: int, person_id: int, actor: Actor, now: datetime
) -> None:
    """She does not; whoever asked is not told. Raises: NotThere where nothing waits."""
    if await store.decide(connection, group_id, person_id, now, accepted=False) is None:
        raise _nothing(group_id)
    await drivers.note(connection, actor, now, "membership refused", f"group {group_id}")


def _nothing(group_id: int) -> NotThere:
    return NotThere(f"Nobody asks you to belong to group {group_id}.")
