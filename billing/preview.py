"""What a session would have cost under a tariff: one that took place, or one that is made up.

Nothing is written. VAT is that of the client on the day of the end: its declared status, and the
normal rate. Where the client has declared nothing, or there is no client, prices are told as if it
charged VAT.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from billing import pricing
from billing.store import pricing as store
from billing.store import tariff_lists
from billing.store import tariffs as tariff_store
from billing.tariff import Price, Reading, Tariff, Usage, gaps, price
from billing.tariffs import NoTariff, Tariffs, Version
from csms import deadlines
from csms.registry import Conflict, NotThere, Refusal
from csms.store import clients as client_store


@dataclass(frozen=True, slots=True)
class Preview:
    """A price with what it rests on. `gaps`: hours for which the tariff has no price, in words."""

    usage: Usage
    price: Price
    tariff: Tariff
    version_id: int | None
    vat_free: bool
    gaps: list[str]


async def version_at(
    connection: AsyncConnection, tariff_id: int, at: datetime
) -> tuple[int, Version]:
    """The client of a tariff, and what the tariff says at a moment, as far as the caller may see.

    Raises: NotThere; Conflict where no version is in force then.
    """
    row = await tariff_lists.get_tariff(connection, tariff_id)
    if row is None:
        raise NotThere(f"There is no tariff {tariff_id}.")
    versions = await tariff_store.list_versions(
        connection, client_id=row.client_id, tariff_id=tariff_id
    )
    found = Tariffs(versions, ()).version_of(tariff_id, at)
    if isinstance(found, NoTariff):
        raise Conflict(f"Tariff {tariff_id} has no version in force at {at:%Y-%m-%d %H:%M}Z.")
    return row.client_id, found


async def of_session(
    connection: AsyncConnection,
    session_id: int,
    tariff: Tariff,
    version_id: int | None,
    now: datetime,
) -> Preview:
    """What a session that is there would have cost; one that goes on, as if it ended now.

    Raises: NotThere; Refusal where its energy is not known.
    """
    found = await store.fetch_sessions(connection, [session_id], now)
    if not found:
        raise NotThere(f"There is no session {session_id}.")
    ((client_id, session),) = found
    if session.energy_wh is None:
        raise Refusal(f"The energy of session {session_id} is not known.", "session_id")
    readings = await pricing.readings_of(connection, [(session, tariff)])
    return await _preview(
        connection,
        client_id,
        pricing.usage_of(session),
        readings.get(session.id, ()),
        (tariff, version_id),
        pricing.zone_named(session.time_zone),
    )


async def of_usage(
    connection: AsyncConnection,
    client_id: int | None,
    usage: Usage,
    readings: Sequence[Reading],
    tariff: Tariff,
    version_id: int | None,
) -> Preview:
    """What a session that is made up would cost, on the clock of Paris."""
    held = (tariff, version_id)
    return await _preview(connection, client_id, usage, readings, held, deadlines.PARIS)


async def _preview(
    connection: AsyncConnection,
    client_id: int | None,
    usage: Usage,
    readings: Sequence[Reading],
    held: tuple[Tariff, int | None],
    zone: ZoneInfo,
) -> Preview:
    tariff, version_id = held
    on = deadlines.paris_day(usage.ended_at)
    vat_free = await is_vat_free(connection, client_id, on)
    rates = await store.fetch_vat_rates(connection)
    percent = next((p for from_on, to_on, p in rates if pricing.is_on(from_on, to_on, on)), None)
    if percent is None:
        raise Conflict(f"No rate of VAT is known for {on}.")
    priced = price(usage, readings, tariff, zone=zone, vat_percent=percent, vat_free=vat_free)
    return Preview(usage, priced, tariff, version_id, vat_free, gaps(tariff, zone))


async def is_vat_free(connection: AsyncConnection, client_id: int | None, on: date) -> bool:
    """Whether the client charges no VAT that day; False where it has not said."""
    if client_id is None:
        return False
    statuses = await client_store.list_vat(connection, client_id)
    status = next((s.status for s in statuses if pricing.is_on(s.from_on, s.to_on, on)), None)
    return status in pricing.VAT_FREE
