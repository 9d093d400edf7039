"""All that prices of running sessions depend on, of all clients, as values in memory.

The same rules as those of the stage (billing.pricing): where that would not price a session for its
place, its day or its driver, nothing is found here.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from billing import pricing
from billing.pricing import VAT_FREE, World
from billing.store import price_book as store
from billing.store import pricing as pricing_store
from billing.store.price_book import MemberRow
from billing.store.tariffs import ScopeRow, VersionRow
from billing.tariff import Tariff
from billing.tariffs import NoTariff, Tariffs
from csms import contracts, deadlines
from csms.domain.contract import Contract
from csms.domain.values import uid_key
from csms.store import contracts as contract_store

LOOK_BACK: Final = timedelta(days=31)  # how long ago a session that goes on may have begun
CLIENTS_AT_ONCE: Final = 100  # worked out before others have their turn


class Where(NamedTuple):
    """Where a session takes place, and on which badge."""

    client_id: int
    site_id: str | None
    station_key: int
    evse_id: int | None
    token_uid: str | None
    started_at: datetime


class Terms(NamedTuple):
    """What a session is priced by."""

    tariff: Tariff
    zone: ZoneInfo
    vat_percent: Decimal
    vat_free: bool


@dataclass(frozen=True, slots=True)
class Book:
    """Clients with a tariff, as they stood when it was read."""

    clients: dict[int, World]
    zones: dict[str, ZoneInfo]  # of sites that are not on the clock of Paris
    members: dict[str, list[MemberRow]]  # by badge; of groups that have a tariff of their own

    def find(self, where: Where, ends_at: datetime) -> Terms | None:
        """What a session that ends then is priced by; None: no tariff applies, or it would not be
        ours to invoice."""
        world = self.clients.get(where.client_id)
        if world is None:
            return None
        day = deadlines.paris_day(ends_at)
        if pricing.is_supplied(world.supplied, where.site_id, day):
            return None
        vat = pricing.vat_on(world, day)
        if vat is None or isinstance(vat, str):
            return None
        groups = self._groups(where) if world.tariffs.group_ids else []
        version = world.tariffs.find(
            where.site_id, where.station_key, where.evse_id, groups, where.started_at
        )
        if isinstance(version, NoTariff):
            return None
        vat_case, percent = vat
        zone = self.zones.get(where.site_id or "", deadlines.PARIS)
        return Terms(version.tariff, zone, percent, vat_case in VAT_FREE)

    def _groups(self, where: Where) -> list[int]:
        at = where.started_at
        return [
            group_id
            for _, badge_from, badge_to, group_id, from_at, to_at in self.members.get(
                uid_key(where.token_uid or ""), ()
            )
            if badge_from <= at
            and (badge_to is None or at < badge_to)
            and from_at <= at
            and (to_at is None or at < to_at)
        ]


EMPTY: Final = Book({}, {}, {})


async def load(connection: AsyncConnection, now: datetime, rows_max: int) -> Book:
    """The book as it stands now; of each list at most so many rows, those beyond are not there."""
    since = now - LOOK_BACK
    versions: dict[int, list[VersionRow]] = defaultdict(list)
    for version in await store.list_versions(connection, since, rows_max):
        versions[version.client_id].append(version)
    scopes: dict[int, list[ScopeRow]] = defaultdict(list)
    for scope in await store.list_scopes(connection, since, rows_max):
        scopes[scope.client_id].append(scope)
    agreed: dict[int, list[Contract]] = defaultdict(list)
    for row in await contract_store.fetch_contracts(connection):
        agreed[row.client_id].append(contracts.core_of(row))
    statuses = defaultdict(list)
    for vat in await store.list_vat(connection):
        statuses[vat.client_id].append(vat)
    rates = await pricing_store.fetch_vat_rates(connection)
    supplied = await store.list_supplied(connection)
    clients: dict[int, World] = {}
    for number, client_id in enumerate(versions.keys() & scopes.keys()):
        if number % CLIENTS_AT_ONCE == 0:
            await asyncio.sleep(0)
        clients[client_id] = World(
            client_id,
            Tariffs(versions[client_id], scopes[client_id]),
            statuses[client_id],
            agreed[client_id],
            rates,
            supplied.get(client_id, ()),
        )
    zones = {
        site_id: pricing.zone_named(name) for site_id, name in await store.list_zones(connection)
    }
    group_ids = sorted({g for world in clients.values() for g in world.tariffs.group_ids})
    return Book(clients, zones, await _members(connection, group_ids, since, rows_max))


async def _members(
    connection: AsyncConnection, group_ids: Sequence[int], since: datetime, rows_max: int
) -> dict[str, list[MemberRow]]:
    members: dict[str, list[MemberRow]] = defaultdict(list)
    if group_ids:
        for row in await store.list_members(connection, group_ids, since, rows_max):
            members[row[0]].append(row)
    return dict(members)
