"""Badges of drivers, from the order to the return: sent, activated, lost, blocked, given back.

A badge is one driver's at a time; to give it to another ends that in the same moment, and what each
charged stays hers. One that is lost is refused at once by the server, and by the stations' own
lists as soon as they are told. As in `csms.drivers`: the caller's transaction, refusals as
sentences, an entry in the audit for each change. The driver is told of an order, of a badge that
is hers from now on, and of one that is blocked.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection

from csms import registry
from csms.clients import Actor
from csms.domain.values import uid_key
from csms.drivers import get, note, refuse_numbers, sole_client
from csms.notifications import announce
from csms.registry import NotThere, Refusal
from csms.store import driver_badges as store
from csms.store import drivers, tokens
from csms.store.driver_badges import Badge, Order

BLOCK_REASONS: Final = ("lost", "stolen", "unpaid", "asked", "operator")
DRIVERS_REASONS: Final = ("lost", "stolen", "asked")  # that a driver or a manager may give, or undo
FREED: Final = ("returned", "closed")  # its former driver has done with it
OPEN_ORDERS_MAX: Final = 5  # of a driver, neither activated nor cancelled


# --- Orders -------------------------------------------------------------------------------------


async def order(connection: AsyncConnection, person_id: int, actor: Actor, now: datetime) -> Order:
    """A badge is to be sent to the driver. Raises: NotThere; Refusal for too many at once."""
    await get(connection, person_id)
    waiting = await store.count_orders(connection, person_id=person_id, open_only=True)
    if waiting >= OPEN_ORDERS_MAX:
        raise Refusal(f"{waiting} badges are ordered for this driver already.")
    order_id = await store.insert_order(connection, person_id, now, actor.name)
    made = await _order(connection, order_id)
    await _note_order(connection, actor, now, "badge ordered", made)
    await announce(
        connection,
        "badge.ordered",
        now=now,
        person_id=person_id,
        subject=f"badge order {order_id}",
        key=f"badge.ordered {order_id}",
    )
    return made


async def mark_sent(
    connection: AsyncConnection, order_id: int, actor: Actor, now: datetime
) -> Order:
    """The badge is on its way. Raises: NotThere; Refusal for an order that is over."""
    found = await _open_order(connection, order_id)
    if found.sent_at is None:
        await store.write_order(connection, replace(found, sent_at=now))
        await _note_order(connection, actor, now, "badge sent", found)
    return await _order(connection, order_id)


async def cancel(connection: AsyncConnection, order_id: int, actor: Actor, now: datetime) -> Order:
    """Nothing is sent any more. Raises: NotThere; Refusal for an order that is over."""
    found = await _open_order(connection, order_id)
    await store.write_order(connection, replace(found, cancelled_at=now))
    await _note_order(connection, actor, now, "order cancelled", found)
    return await _order(connection, order_id)


async def _note_order(
    connection: AsyncConnection, actor: Actor, now: datetime, action: str, order: Order
) -> None:
    """An entry of the audit, which a manager reads as in `_note`."""
    client_id = await sole_client(connection, now, order.person_id)
    subject = f"driver {order.person_id}"
    await note(connection, actor, now, action, subject, client_id=client_id, order_id=order.id)


async def _order(connection: AsyncConnection, order_id: int) -> Order:
    found = await store.lock_order(connection, order_id)
    if found is None:
        raise NotThere(f"There is no order {order_id}.")
    return found


async def _open_order(connection: AsyncConnection, order_id: int) -> Order:
    found = await _order(connection, order_id)
    if found.cancelled_at is not None:
        raise Refusal("This order was cancelled.")
    if found.activated_at is not None:
        raise Refusal("The badge of this order is in use.")
    return found


# --- Whose it is --------------------------------------------------------------------------------


async def assign(
    connection: AsyncConnection,
    person_id: int,
    uid: str,
    actor: Actor,
    now: datetime,
    *,
    label: str = "",
    order_id: int | None = None,
    clients: Collection[int] | None = None,
    told: bool = True,
) -> None:
    """The badge is the driver's from now on, a new one as well as one that stations have shown; who
    had it before has it no more. With `order_id` it is the one that was ordered for her.

    `clients` are those of a manager who acts, None: an operator. A manager gives badges that nobody
    has entered, that belong to her clients, or to a driver who is with no other client. With `told`
    False the driver hears nothing of it: she charges with it already, only we did not know whose
    it is.

    Raises: NotThere; Refusal.
    """
    registry.check_uid(uid)
    refuse_numbers(label, "label")
    await get(connection, person_id)
    known = await store.lock_badge(connection, uid, now)
    if known is not None:
        _check_assignable(known)
        await _check_reach(connection, known, clients, now)
    if known is None or known.retired_at is not None:
        await registry.create_token(connection, uid, {}, replacing=True)
        known = await store.lock_badge(connection, uid, now)
        assert known is not None
    is_new = known.person_id != person_id or known.status == "blocked"
    if known.status == "blocked":  # freed
        await store.set_status(connection, known.token_key, "accepted", None)
    if known.person_id != person_id:
        await store.end_assignment(connection, known.token_key, now)
        await drivers.insert_assignment(connection, known.uid, person_id, label, now)
    elif label:
        await store.set_label(connection, known.token_key, label, now)
    if order_id is not None:
        await _activate_order(connection, order_id, person_id, known.uid, now)
    await tokens.notify_token(connection, uid)
    await _note(
        connection, actor, now, "badge assigned", known, person_id, former_driver=known.person_id
    )
    if is_new and told:
        named = replace(
            known, label=label if known.person_id != person_id else label or known.label
        )
        await _tell(connection, "badge.activated", person_id, named, now)


async def _note(
    connection: AsyncConnection,
    actor: Actor,
    now: datetime,
    action: str,
    badge: Badge,
    person_id: int,
    **detail: Any,
) -> None:
    """An entry of the audit. Managers read it where the driver, and whoever else had the badge, is
    with their client alone."""
    theirs = {person_id, detail.get("former_driver") or person_id}
    client_id = await sole_client(connection, now, *theirs)
    subject = f"badge {badge.token_key}"
    await note(
        connection, actor, now, action, subject, client_id=client_id, driver=person_id, **detail
    )


async def _tell(
    connection: AsyncConnection,
    event: str,
    person_id: int,
    badge: Badge,
    now: datetime,
    **data: str,
) -> None:
    """Tell the driver, once of each moment at which this happens to the badge."""
    await announce(
        connection,
        event,
        now=now,
        person_id=person_id,
        subject=f"badge {badge.token_key}",
        data={"badge": badge.label or badge.uid, **data},
        key=f"{event} {badge.token_key} {person_id} {now.isoformat()}",
    )


def _check_assignable(badge: Badge) -> None:
    if badge.type == "Central":
        raise Refusal("A virtual badge stays with its driver.", "uid")
    if badge.group_uid is not None and uid_key(badge.group_uid) == uid_key(badge.uid):
        raise Refusal("The master of a group starts no session: it is no driver's badge.", "uid")
    if badge.retired_at is None and badge.status != "accepted" and badge.blocked_why not in FREED:
        why = f" ({badge.blocked_why})" if badge.blocked_why else ""
        raise Refusal(f"This badge is {badge.status}{why}: unblock it first.", "uid")


async def _check_reach(
    connection: AsyncConnection, badge: Badge, clients: Collection[int] | None, now: datetime
) -> None:
    if clients is None or badge.client_id in clients:
        return
    if badge.person_id is not None:
        theirs = await drivers.clients_of_driver(connection, badge.person_id, now)
        if theirs and theirs <= frozenset(clients):
            return
    raise Refusal("This badge is in other hands: ask the operator.", "uid")


async def _activate_order(
    connection: AsyncConnection, order_id: int, person_id: int, uid: str, now: datetime
) -> None:
    found = await _open_order(connection, order_id)
    if found.person_id != person_id:
        raise NotThere(f"There is no order {order_id} of this driver.")
    activated = replace(found, uid=uid, activated_at=now, sent_at=found.sent_at or now)
    await store.write_order(connection, activated)


async def give_back(
    connection: AsyncConnection, person_id: int, uid: str, actor: Actor, now: datetime
) -> None:
    """The driver has the badge no more; it is refused until somebody else gets it.

    Raises: NotThere.
    """
    badge = await held(connection, person_id, uid, now)
    await store.end_assignment(connection, badge.token_key, now)
    if badge.status == "accepted":
        await store.set_status(connection, badge.token_key, "blocked", "returned")
    await tokens.notify_token(connection, uid)
    await _note(connection, actor, now, "badge returned", badge, person_id)


async def rename(
    connection: AsyncConnection, person_id: int, uid: str, label: str, now: datetime
) -> None:
    """What its driver calls it. Raises: NotThere; Refusal."""
    refuse_numbers(label, "label")
    badge = await held(connection, person_id, uid, now)
    await store.set_label(connection, badge.token_key, label, now)


async def held(connection: AsyncConnection, person_id: int, uid: str, now: datetime) -> Badge:
    """A badge that is the driver's now, held until the transaction ends. Raises: NotThere."""
    badge = await store.lock_badge(connection, uid, now)
    if badge is None or badge.retired_at is not None or badge.person_id != person_id:
        raise NotThere(f"This driver has no badge {uid}.")
    return badge


# --- Whether it may charge ----------------------------------------------------------------------


async def block(
    connection: AsyncConnection, person_id: int, uid: str, why: str, actor: Actor, now: datetime
) -> None:
    """The badge is refused from now on, and taken for lost by lists of stations as soon as they are
    told. It stays the driver's. Raises: NotThere; Refusal for one that is neither accepted nor
    blocked."""
    badge = await held(connection, person_id, uid, now)
    if badge.type == "Central":
        raise Refusal("A virtual badge cannot be lost: close the account.", "uid")
    if badge.status not in ("accepted", "blocked"):
        raise Refusal(f"This badge is {badge.status} already.", "uid")
    if badge.status == "blocked" and badge.blocked_why not in DRIVERS_REASONS:
        why = badge.blocked_why or why  # the weightier reason stays: a driver cannot undo it
    await store.set_status(connection, badge.token_key, "blocked", why)
    await tokens.notify_token(connection, uid)
    await _note(connection, actor, now, "badge blocked", badge, person_id, why=why)
    if badge.status == "accepted":
        await _tell(connection, "badge.blocked", person_id, badge, now, reason=why)


async def unblock(
    connection: AsyncConnection,
    person_id: int,
    uid: str,
    actor: Actor,
    now: datetime,
    *,
    reasons: Collection[str] | None = None,
) -> None:
    """The badge charges again, one that was found. `reasons` are those that whoever acts may undo,
    None: all. Raises: NotThere; Refusal."""
    badge = await held(connection, person_id, uid, now)
    if badge.status != "blocked":
        raise Refusal("This badge is not blocked.", "uid")
    if reasons is not None and badge.blocked_why not in reasons:
        raise Refusal("The operator has blocked this badge: ask him.", "uid")
    await store.set_status(connection, badge.token_key, "accepted", None)
    await tokens.notify_token(connection, uid)
    await _note(connection, actor, now, "badge unblocked", badge, person_id)
