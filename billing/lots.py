"""What the operator supplies to co-owners (article 5.4 d): sites, lots and their points, who holds
them, and what the supply's meter shows.

Every function runs in the caller's transaction and holds the client. Days are of Europe/Paris;
`from_on` is the first day of something, `to_on` the first day after it.
"""

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

import psycopg
from psycopg import AsyncConnection

from billing import supply
from billing.store import lots as store
from billing.store import receipts as receipt_store
from billing.store.lots import HoldingRow, MeteredPeriod
from billing.supply import Comparison
from csms import deadlines
from csms.clients import Actor
from csms.registry import Conflict, NotThere, Refusal
from csms.store import audit, sites
from csms.store import clients as client_store

PROVISION_CENTS_MAX: Final = 10_000_000
TEXT_LENGTH_MAX: Final = 200
INDEX_WH_MAX: Final = 10**14
_LOT: Final = re.compile(r"[^\W_][\w ./-]{0,31}")


async def supply_site(
    connection: AsyncConnection, site_id: str, from_on: date, *, actor: Actor, now: datetime
) -> int:
    """The operator holds the site's delivery point from a day on: what is charged there is no more
    invoiced in the client's name. The supply's id.

    Raises: NotThere; Refusal; Conflict where it is supplied, or has invoices of such days.
    """
    client_id = await client_of(connection, site_id)
    if await store.is_invoiced_since(connection, site_id, from_on):
        raise Conflict(
            f"Sessions of site {site_id} from {from_on} on have a price under the client's "
            "mandate: supply it from a later day.",
            "from_on",
        )
    values = {
        "client_id": client_id,
        "site_id": site_id,
        "from_on": from_on,
        "now": now,
        "actor": actor.name,
    }
    try:
        async with connection.transaction():
            supply_id = await store.insert_supply(connection, values)
    except psycopg.errors.ExclusionViolation:
        raise Conflict(f"Site {site_id} is supplied by the operator already.", "site_id") from None
    await _note(connection, client_id, actor, now, "supply.begun", f"site {site_id}", from_on)
    return supply_id


async def end_supply(
    connection: AsyncConnection, supply_id: int, to_on: date, *, actor: Actor, now: datetime
) -> None:
    """The operator holds a delivery point no more from that day on.

    Raises: NotThere; Conflict where it ended; Refusal for a day that is billed already.
    """
    found = await store.list_supplies(connection, supply_id=supply_id)
    if not found:
        raise NotThere(f"There is no supply {supply_id}.")
    (running,) = found
    await client_store.lock_client(connection, running.client_id)
    last = await store.fetch_last_billed(connection, running.site_id)
    if to_on < running.from_on or (last is not None and to_on <= last):
        raise Refusal(f"Days up to {last or running.from_on} are past changing.", "to_on")
    if not await store.end_supply(connection, supply_id, to_on):
        raise Conflict(f"Supply {supply_id} ended on {running.to_on}.")
    subject = f"site {running.site_id}"
    await _note(connection, running.client_id, actor, now, "supply.ended", subject, to_on)


async def put_lot(
    connection: AsyncConnection,
    site_id: str,
    reference: str,
    *,
    point: tuple[str, int] | None = None,
    from_on: date | None = None,
    actor: Actor,
    now: datetime,
) -> int:
    """The lot of that name, made where it is new; its id. point: a station and its EVSE at which
    only this lot charges, from a day on (before it, another may).

    Raises: NotThere; Refusal; Conflict where the point is another lot's from a later day on.
    """
    client_id = await client_of(connection, site_id)
    if not _LOT.fullmatch(reference):
        raise Refusal("A lot is named in 1 to 32 letters, digits, spaces and . / - _.", "lot")
    lot_id = await store.put_lot(connection, client_id, site_id, reference, now)
    if point is None:
        return lot_id
    if from_on is None:
        raise Refusal("Say from when on the point is the lot's.", "from_on")
    key = await store.find_point(connection, client_id, site_id, *point)
    if key is None:
        raise NotThere(f"Site {site_id} has no point {point[0]}, EVSE {point[1]}.", "point")
    held = await store.fetch_lot_of_point(connection, key, point[1], from_on)
    if held is not None:
        _, of_lot, since_on = held
        if of_lot == lot_id:
            return lot_id
        if since_on == from_on:
            raise Conflict(f"Point {point[0]}/{point[1]} is another lot's on {from_on}.", "point")
    last = await store.fetch_last_billed_at(connection, key, point[1])
    if last is not None and from_on <= last:
        raise Refusal(
            f"What point {point[0]}/{point[1]} gave on {last} is billed: give it from a later day.",
            "from_on",
        )
    if held is not None:
        await store.end_point(connection, held[0], from_on)
    try:
        async with connection.transaction():
            await store.insert_point(connection, lot_id, client_id, (key, point[1]), from_on)
    except psycopg.errors.ExclusionViolation:
        raise Conflict(
            f"Point {point[0]}/{point[1]} is given to a lot from a later day on.", "point"
        ) from None
    name = f"lot {reference} of site {site_id}"
    await _note(connection, client_id, actor, now, "lot.point_given", name, from_on)
    return lot_id


async def begin_holding(
    connection: AsyncConnection,
    lot_id: int,
    *,
    client_id: int,
    person_id: int,
    signed_on: date,
    from_on: date,
    provision_cents: int,
    actor: Actor,
    now: datetime,
) -> int:
    """A co-owner has a lot from a day on, under a contract that he signed; provision_cents: what it
    says, VAT included. The same again is the same holding; its id.

    Raises: NotThere; Refusal; Conflict where another has it.
    """
    if signed_on > deadlines.paris_day(now):
        raise Refusal("The day of the signature lies ahead.", "signed_on")
    if not 0 <= provision_cents <= PROVISION_CENTS_MAX:
        raise Refusal(f"A provision is 0 to {PROVISION_CENTS_MAX} cents.", "provision_cents")
    if await receipt_store.find_driver(connection, person_id) is None:
        raise NotThere(f"There is no driver {person_id}.", "person_id")
    await client_store.lock_client(connection, client_id)
    for each in await store.list_holdings(connection, client_id=client_id, lot_id=lot_id):
        if (each.person_id, each.from_on) == (person_id, from_on):
            if (each.signed_on, each.provision_cents) != (signed_on, provision_cents):
                raise Conflict(
                    f"Lot {each.lot} is his from {from_on} on, with other terms: "
                    f"{each.provision_cents} cents, signed on {each.signed_on}.",
                    "provision_cents",
                )
            return each.id
    values = {
        "client_id": client_id,
        "lot_id": lot_id,
        "person_id": person_id,
        "signed_on": signed_on,
        "provision_cents": provision_cents,
        "from_on": from_on,
        "now": now,
        "actor": actor.name,
    }
    try:
        async with connection.transaction():
            holding_id = await store.insert_holding(connection, values)
    except psycopg.errors.ForeignKeyViolation:
        raise NotThere(f"Client {client_id} has no lot {lot_id}.", "lot_id") from None
    except psycopg.errors.ExclusionViolation:
        raise Conflict("Another has the lot then: end his holding first.", "from_on") from None
    await _note(
        connection, client_id, actor, now, "holding.begun", f"holding {holding_id}", from_on
    )
    return holding_id


async def end_holding(
    connection: AsyncConnection,
    holding_id: int,
    to_on: date,
    why: str,
    *,
    withheld_for: str = "",
    actor: Actor,
    now: datetime,
) -> None:
    """A co-owner's contract ends: the lot is not his from that day on. His provision pays his last
    bills, and the rest is given back; withheld_for: why it is not yet, where the conditions of
    article 6 are not kept.

    Raises: NotThere; Refusal; Conflict where it has ended.
    """
    holding = await _holding(connection, holding_id)
    if holding.to_on is not None:
        raise Conflict(f"The holding of lot {holding.lot} ended on {holding.to_on}.")
    if not why.strip() or max(len(why), len(withheld_for)) > TEXT_LENGTH_MAX:
        raise Refusal(f"Say why, in {TEXT_LENGTH_MAX} characters at most.", "reason")
    if to_on <= holding.from_on:
        raise Refusal(f"It began on {holding.from_on}.", "to_on")
    last = await store.fetch_last_used(connection, holding_id)
    if last is not None and to_on <= last:
        raise Refusal(f"What was used on {last} was billed to him.", "to_on")
    await store.end_holding(
        connection, holding_id, to_on, why.strip(), withheld_for.strip() or None
    )
    subject = f"holding {holding_id}"
    await _note(connection, holding.client_id, actor, now, "holding.ended", subject, to_on)


async def release(
    connection: AsyncConnection, holding_id: int, *, actor: Actor, now: datetime
) -> None:
    """What is left of a provision is withheld no more. Raises: NotThere; Conflict."""
    holding = await _holding(connection, holding_id)
    if not await store.release_holding(connection, holding_id):
        raise Conflict(f"The provision of lot {holding.lot} is not withheld.")
    subject = f"holding {holding_id}"
    await _note(connection, holding.client_id, actor, now, "holding.released", subject)


async def _holding(connection: AsyncConnection, holding_id: int) -> HoldingRow:
    """The holding, its client held. Raises: NotThere."""
    found = await store.list_holdings(connection, holding_id=holding_id)
    if not found:
        raise NotThere(f"There is no holding {holding_id}.")
    await client_store.lock_client(connection, found[0].client_id)
    (holding,) = await store.list_holdings(connection, holding_id=holding_id)
    return holding


async def add_reading(
    connection: AsyncConnection,
    site_id: str,
    at: datetime,
    index_wh: int,
    source: str,
    *,
    is_new_meter: bool = False,
    actor: Actor,
    now: datetime,
) -> int | None:
    """What the supply's meter showed at a moment; its id. None: it is entered already.
    is_new_meter: the first of a meter that replaces the one before, whose last index is a reading
    of its own, before it. What is refused is not written.

    Raises: NotThere; Refusal; Conflict where it goes back, or the moment has another reading.
    """
    client_id = await client_of(connection, site_id)
    if at > now:
        raise Refusal("A reading is entered once it was taken: the moment lies ahead.", "at")
    if not 0 <= index_wh <= INDEX_WH_MAX:
        raise Refusal(f"An index is 0 to {INDEX_WH_MAX} Wh.", "index_wh")
    if not source.strip() or len(source) > TEXT_LENGTH_MAX:
        raise Refusal(f"Say where it is from, in {TEXT_LENGTH_MAX} characters at most.", "source")
    there = await store.get_index(connection, site_id, at)
    if there is not None:
        if there != (index_wh, is_new_meter):
            raise Conflict(f"The reading of that moment is {there[0]} Wh: withdraw it first.", "at")
        return None
    async with connection.transaction():
        reading_id = await store.insert_reading(
            connection,
            {
                "client_id": client_id,
                "site_id": site_id,
                "at": at,
                "index_wh": index_wh,
                "is_new_meter": is_new_meter,
                "source": source.strip(),
                "now": now,
                "actor": actor.name,
            },
        )
        await _check_order(connection, site_id)
    await _note(connection, client_id, actor, now, "supply.read", f"site {site_id}")
    return reading_id


async def withdraw_reading(
    connection: AsyncConnection, reading_id: int, *, actor: Actor, now: datetime
) -> None:
    """A reading was wrong.

    Raises: NotThere; Conflict where those around it would go back: the first of a new meter is
    withdrawn once the right one is entered, or those after it are withdrawn.
    """
    async with connection.transaction():
        found = await store.withdraw_reading(connection, reading_id, actor.name, now)
        if found is None:
            raise NotThere(f"There is no reading {reading_id}, or it was withdrawn.")
        client_id, site_id = found
        await client_store.lock_client(connection, client_id)  # who enters one meanwhile waits
        await _check_order(connection, site_id)
    await _note(connection, client_id, actor, now, "supply.unread", f"reading {reading_id}")


async def _check_order(connection: AsyncConnection, site_id: str) -> None:
    """Raises: Conflict."""
    backward = await store.find_backward(connection, site_id)
    if backward is not None:
        raise Conflict(
            f"A meter does not go back: {backward[1]} Wh would follow {backward[0]}. Withdraw the "
            "one that is wrong, or enter the first one of a new meter as that (is_new_meter).",
            "index_wh",
        )


async def compare(
    connection: AsyncConnection,
    client_id: int,
    from_on: date,
    to_on: date,
    flag_above_percent: int,
) -> list[tuple[MeteredPeriod, Comparison]]:
    """The supply's meter beside the points, for each period between two readings that ends on the
    days from `from_on` to `to_on`, both included."""
    end = to_on + timedelta(days=1)
    return [
        (each, supply.compared(each.meter_wh, each.points_wh, Decimal(flag_above_percent)))
        for each in await store.list_metered(
            connection,
            client_id,
            deadlines.start_of_day(from_on),
            deadlines.start_of_day(end),
        )
    ]


async def client_of(connection: AsyncConnection, site_id: str) -> int:
    """The client whose site it is, held to the end of the transaction. Raises: NotThere."""
    client_id = await sites.client_of_site(connection, site_id)
    client = None if client_id is None else await client_store.lock_client(connection, client_id)
    if client is None or client.is_operator:
        raise NotThere(f"There is no site {site_id} of a client's.", "site_id")
    return client.id


async def _note(
    connection: AsyncConnection,
    client_id: int,
    actor: Actor,
    now: datetime,
    action: str,
    subject: str,
    day: date | None = None,
) -> None:
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        client_id=client_id,
        action=action,
        subject=subject,
        detail={} if day is None else {"day": str(day)},
    )
