"""What is open to a client, now: every part that serves clients or their drivers asks here.

The operator's own client has every service. So has a client none of whose contracts has begun: an
installation that was there before its contract was entered goes on working, and nothing is closed
for want of paper. From the first day of a signed contract on, the options in force are open, no
others; from a suspension or the end on, none.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from csms import deadlines
from csms.domain import contract
from csms.domain.services import LABELS, OPEN, Option, Service, closed
from csms.store import services as store

#: orders by which somebody begins to charge, or claims a point for it, in both versions
STARTING: Final = frozenset({"RemoteStartTransaction", "RequestStartTransaction"})
RESERVING: Final = frozenset({"ReserveNow"})
#: orders of remote maintenance: firmware and diagnostics
MAINTAINING: Final = frozenset(
    {
        *("UpdateFirmware", "SignedUpdateFirmware", "PublishFirmware", "UnpublishFirmware"),
        *("GetDiagnostics", "GetLog"),
    }
)


async def service_open(
    connection: AsyncConnection, client_id: int, option: Option | str, now: datetime
) -> Service:
    """Whether the option is open to the client at the moment, or why it is not.

    The mandate needs its own dates besides the option. A client that does not exist has nothing.
    Raises: ValueError for an option that does not exist.
    """
    option = Option(option)
    today = deadlines.paris_day(now)
    found = await store.fetch_services(connection, [client_id], now, today)
    return _judged(found.get(client_id), option)


async def all_services(
    connection: AsyncConnection, client_id: int, now: datetime
) -> dict[Option, Service]:
    """What `service_open` says of each option, in one statement; in the order of article 5.4."""
    found = await store.fetch_services(connection, [client_id], now, deadlines.paris_day(now))
    return {option: _judged(found.get(client_id), option) for option in LABELS}


async def closed_clients(
    connection: AsyncConnection, client_ids: Collection[int], option: Option | str, now: datetime
) -> set[int]:
    """Of these clients, those to whom the option is not open at the moment, in one question.

    Raises: ValueError for an option that does not exist.
    """
    option = Option(option)
    today = deadlines.paris_day(now)
    found = await store.fetch_services(connection, client_ids, now, today)
    return {one for one in client_ids if not _judged(found.get(one), option).open}


def _judged(found: store.ClientServices | None, option: Option) -> Service:
    if found is None:
        return closed("not_subscribed", option)
    if found.is_operator or not found.contracted:
        return OPEN
    if found.closure is not None:
        return closed(found.closure)
    if option not in found.subscribed:
        return closed("not_subscribed", option)
    if option is Option.MANDATE and not found.mandated:
        return closed("no_mandate")
    return OPEN


async def closed_options(
    connection: AsyncConnection, client_ids: Sequence[int], options: Sequence[Option], now: datetime
) -> dict[tuple[int, Option], Service]:
    """What of these options is closed to which of the clients, as `service_open` says it of one; in
    one statement. The mandate's own dates are not looked at."""
    rows = await store.fetch_options(
        connection, client_ids, list(options), now, deadlines.paris_day(now)
    )
    return {
        (client_id, Option(option)): closed(reason)
        if reason is not None
        else closed("not_subscribed", Option(option))
        for client_id, option, reason in rows
    }


async def charging_open(connection: AsyncConnection, client_id: int, now: datetime) -> Service:
    """Whether drivers may start at the client's stations: only its suspension or end forbids it."""
    closures = await store.fetch_closures(connection, [client_id])
    found = contract.closed_at(closures.get(client_id, ()), now)
    return OPEN if found is None else closed(found.reason)


async def order_open(
    connection: AsyncConnection, station_id: str, action: str, now: datetime
) -> Service:
    """Whether an order that a person gives a station is open to its client.

    Charging and reserving are closed with the client, firmware and diagnostics without the option.
    All other orders are open, and so are all of an unknown station, which others refuse.
    """
    if action not in STARTING | RESERVING | MAINTAINING:
        return OPEN
    client_id = await store.fetch_client_of_station(connection, station_id)
    if client_id is None:
        return OPEN
    if action in MAINTAINING:
        return await service_open(connection, client_id, Option.REMOTE_MAINTENANCE, now)
    if action in RESERVING:
        return await service_open(connection, client_id, Option.RESERVATIONS, now)
    return await charging_open(connection, client_id, now)
