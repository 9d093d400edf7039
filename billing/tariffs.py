"""Tariffs of clients: made, changed by versions, and which of them a session is priced by.

As csms.agreed: in the caller's transaction, every act in the audit. A version holds from a moment
on; what held before and had no end ends there. What sessions are priced by is never changed: a
version may not begin before one that was priced already.

Which tariff. The narrowest place that has one wins: EVSE, station, site, client. At one place the
one of a group of the driver's goes before everybody's; of several groups the one joined first.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
from psycopg import AsyncConnection

from billing.store import tariff_lists
from billing.store import tariffs as store
from billing.store.tariffs import ScopeRow, TariffRow, VersionRow
from billing.tariff import Tariff, TariffError, dump, gaps, parse
from csms import clients
from csms.clients import Actor
from csms.deadlines import PARIS
from csms.registry import AlreadyThere, Conflict, NotThere, Refusal

log = logging.getLogger(__name__)

READ_MAX: Final = 4096  # tariffs kept as values


class Place(NamedTuple):
    """Where and for whom a tariff holds; all None: everywhere at the client's, for everybody."""

    site_id: str | None = None
    station_id: str | None = None
    evse_id: int | None = None
    group_id: int | None = None


class Version(NamedTuple):
    """A version as values."""

    id: int
    tariff: Tariff


@dataclass(frozen=True, slots=True)
class NoTariff:
    """Why no tariff applies: none at the place, or none of its versions at that moment."""

    tariff_id: int | None


async def create(
    connection: AsyncConnection, client_id: int, code: str, name: str, actor: Actor, now: datetime
) -> TariffRow:
    """A tariff without a version yet. Raises: NotThere; AlreadyThere; Refusal."""
    await clients.locked(connection, client_id)
    try:
        async with connection.transaction():
            made = await store.insert_tariff(connection, client_id, code, name, now)
    except psycopg.errors.UniqueViolation:
        raise AlreadyThere(f"There is a tariff {code} already.", "code") from None
    except psycopg.errors.CheckViolation:
        raise Refusal(
            "A tariff has a name, and a code of 1 to 36 letters, digits, - and _.", "code"
        ) from None
    await _note(connection, made, actor, now, "tariff.created", {"code": code})
    return made


async def add_version(
    connection: AsyncConnection,
    tariff_id: int,
    document: Mapping[str, Any],
    *,
    from_at: datetime,
    to_at: datetime | None = None,
    actor: Actor,
    now: datetime,
    zone: ZoneInfo = PARIS,
) -> tuple[VersionRow, list[str]]:
    """What the tariff says from a moment on; and the hours, in sentences, without a price.

    Raises: NotThere; Refusal for a document that is no tariff; Conflict where sessions are priced
    already that began later, or another version is known for later.
    """
    tariff = await locked(connection, tariff_id)
    content = read(document)
    if to_at is not None and to_at <= from_at:
        raise Refusal("A version ends after it has begun.", "to_at")
    if await store.is_priced_since(connection, tariff_id, from_at):
        raise Conflict(
            "Sessions that began after that moment are priced already: a version begins later.",
            "from_at",
        )
    await store.end_version(connection, tariff_id, from_at)
    try:
        async with connection.transaction():
            made = await store.insert_version(
                connection,
                tariff,
                from_at=from_at,
                to_at=to_at,
                content=dump(content),
                actor=actor.name,
                now=now,
            )
    except psycopg.errors.ExclusionViolation:
        raise Conflict("Another version holds from that moment on, or later.", "from_at") from None
    await _note(connection, tariff, actor, now, "tariff.changed", {"version_id": made.id})
    return made, gaps(content, zone)


async def end_version(
    connection: AsyncConnection,
    tariff_id: int,
    version_id: int,
    at: datetime,
    actor: Actor,
    now: datetime,
) -> None:
    """What the tariff says ends at that moment, whatever follows.

    Raises: NotThere; Conflict where a session that began later is priced by the tariff.
    """
    tariff = await locked(connection, tariff_id)
    known = await store.list_versions(connection, client_id=tariff.client_id, tariff_id=tariff_id)
    if version_id not in {version.id for version in known}:
        raise NotThere(f"Tariff {tariff_id} has no version {version_id}.")
    if await store.is_priced_since(connection, tariff_id, at):
        raise Conflict("Sessions that began after that moment are priced already.", "at")
    if not await tariff_lists.close_version(connection, version_id, at):
        raise Conflict("The version does not hold at that moment.", "at")
    await _note(connection, tariff, actor, now, "tariff.ended", {"version_id": version_id})


async def assign(
    connection: AsyncConnection,
    tariff_id: int,
    place: Place,
    *,
    from_at: datetime,
    to_at: datetime | None = None,
    actor: Actor,
    now: datetime,
) -> int:
    """Let a tariff hold somewhere for somebody; what held there for the same people ends then.

    Raises: NotThere; Refusal for a place of another client's; Conflict.
    """
    tariff = await locked(connection, tariff_id)
    if tariff.retired_at is not None:
        raise Conflict("This tariff is retired.", "tariff_id")
    keys = await _keys(connection, tariff.client_id, place)
    await store.end_scope(connection, tariff.client_id, keys, from_at)
    try:
        async with connection.transaction():
            made = await store.insert_scope(
                connection,
                tariff,
                keys,
                from_at=from_at,
                to_at=to_at,
                actor=actor.name,
                now=now,
            )
    except psycopg.errors.ExclusionViolation:
        raise Conflict(
            "Another tariff holds there for the same drivers at that time or later.", "from_at"
        ) from None
    await _note(connection, tariff, actor, now, "tariff.assigned", {"scope_id": made})
    return made


async def end_scope(
    connection: AsyncConnection,
    tariff_id: int,
    scope_id: int,
    at: datetime,
    actor: Actor,
    now: datetime,
) -> None:
    """The tariff does not hold there any more. Raises: NotThere."""
    tariff = await locked(connection, tariff_id)
    known = await store.list_scopes(connection, client_id=tariff.client_id, tariff_id=tariff_id)
    if scope_id not in {scope.id for scope in known} or not await store.close_scope(
        connection, scope_id, at
    ):
        raise NotThere(f"Tariff {tariff_id} holds at no place {scope_id} after {at}.")
    await _note(connection, tariff, actor, now, "tariff.unassigned", {"scope_id": scope_id})


async def retire(connection: AsyncConnection, tariff_id: int, actor: Actor, now: datetime) -> None:
    """The tariff holds nowhere from now on. Raises: NotThere."""
    tariff = await locked(connection, tariff_id)
    for scope in await store.list_scopes(
        connection, client_id=tariff.client_id, tariff_id=tariff_id
    ):
        await store.close_scope(connection, scope.id, now)
    await store.retire_tariff(connection, tariff_id, now)
    await _note(connection, tariff, actor, now, "tariff.retired", {})


async def locked(connection: AsyncConnection, tariff_id: int) -> TariffRow:
    """The tariff, held to the end of the transaction. Raises: NotThere."""
    found = await store.lock_tariff(connection, tariff_id)
    if found is None:
        raise NotThere(f"There is no tariff {tariff_id}.")
    return found


def read(document: Mapping[str, Any]) -> Tariff:
    """A tariff of a document. Raises: Refusal that says where it is wrong."""
    try:
        return parse(document)
    except TariffError as error:
        where = f"content.{error.where}" if error.where else "content"
        raise Refusal(str(error), where) from None


@lru_cache(maxsize=READ_MAX)
def _read_text(content: str) -> Tariff | None:
    try:
        return parse(json.loads(content))
    except TariffError as error:
        log.error("a tariff that is stored cannot be read: %s", error)
        return None


def read_stored(content: Mapping[str, Any]) -> Tariff | None:
    """The tariff of a stored version; equal ones are one value. None: it cannot be read, which is
    logged and counts as not being there."""
    return _read_text(json.dumps(content, sort_keys=True))


class Tariffs:
    """A client's tariffs, looked up in memory."""

    def __init__(self, versions: Iterable[VersionRow], scopes: Iterable[ScopeRow]) -> None:
        self._versions: dict[int, list[tuple[VersionRow, Version]]] = {}
        for row in versions:
            tariff = read_stored(row.content)
            if tariff is not None:
                value = Version(row.id, tariff)
                self._versions.setdefault(row.tariff_id, []).append((row, value))
        self._scopes: dict[tuple[object, ...], list[ScopeRow]] = {}
        for scope in scopes:
            key = (scope.site_id, scope.station_key, scope.evse_id, scope.group_id)
            self._scopes.setdefault(key, []).append(scope)
        self.group_ids = {key[3] for key in self._scopes if isinstance(key[3], int)}

    def find(
        self,
        site_id: str | None,
        station_key: int,
        evse_id: int | None,
        group_ids: Sequence[int],
        at: datetime,
    ) -> Version | NoTariff:
        """What a session that begins there is priced by; `group_ids` of the driver then, the one
        joined first before the others."""
        places: list[tuple[str | None, int | None, int | None]] = [
            (None, station_key, None),
            (None, None, None),
        ]
        if evse_id is not None:
            places.insert(0, (None, station_key, evse_id))
        if site_id is not None:
            places.insert(-1, (site_id, None, None))
        for place in places:
            for group_id in (*group_ids, None):
                for scope in self._scopes.get((*place, group_id), ()):
                    if _holds(scope.from_at, scope.to_at, at):
                        return self.version_of(scope.tariff_id, at)
        return NoTariff(None)

    def version_of(self, tariff_id: int, at: datetime) -> Version | NoTariff:
        """What a tariff says at a moment."""
        for row, value in self._versions.get(tariff_id, ()):
            if _holds(row.from_at, row.to_at, at):
                return value
        return NoTariff(tariff_id)


async def load(connection: AsyncConnection, client_id: int) -> Tariffs:
    """A client's tariffs as they are now."""
    return Tariffs(
        await store.list_versions(connection, client_id=client_id),
        await store.list_scopes(connection, client_id=client_id),
    )


def _holds(from_at: datetime, to_at: datetime | None, at: datetime) -> bool:
    return from_at <= at and (to_at is None or at < to_at)


async def _keys(
    connection: AsyncConnection, client_id: int, place: Place
) -> tuple[str | None, int | None, int | None, int | None]:
    """The place as the table has it. Raises: Refusal."""
    if place.site_id is not None and place.station_id is not None:
        raise Refusal("A tariff holds at a site or at a station, not at both.", "site_id")
    if place.evse_id is not None and place.station_id is None:
        raise Refusal("An EVSE is one of a station: name the station too.", "station_id")
    if place.site_id is not None and not await store.has_site(connection, client_id, place.site_id):
        raise Refusal(f"The client has no site {place.site_id}.", "site_id")
    station_key = None
    if place.station_id is not None:
        station_key = await store.find_station(connection, client_id, place.station_id)
        if station_key is None:
            raise Refusal(f"The client has no station {place.station_id}.", "station_id")
    if place.group_id is not None and not await store.has_group(
        connection, client_id, place.group_id
    ):
        raise Refusal(f"The client has no group {place.group_id}.", "group_id")
    return place.site_id, station_key, place.evse_id, place.group_id


async def _note(
    connection: AsyncConnection,
    tariff: TariffRow,
    actor: Actor,
    now: datetime,
    action: str,
    content: dict[str, Any],
) -> None:
    content = {"tariff_id": tariff.id, **content}
    await clients.note(connection, tariff.client_id, actor, now, action, content)
