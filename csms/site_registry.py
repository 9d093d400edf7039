"""What people decide of sites: created, replaced, changed; checked, and kept in the history.

As csms.registry: every function runs in the caller's transaction; an expected refusal is a
`Refusal` with its field.
"""

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from csms import static_history
from csms.registry import AlreadyThere, NotThere, Refusal, checked_static
from csms.static_data import SiteStatic
from csms.static_history import Change
from csms.store import sites
from csms.store.sites import Site

DEFAULT_ZONE = "Europe/Paris"


async def create_site(
    connection: AsyncConnection, site_id: str, values: Mapping[str, Any], *, actor: str
) -> None:
    """A new site from `name`, `client_id` (None: the operator's own), `time_zone`, `static`.

    Raises: AlreadyThere, also for an AFIREV identifier that another site has; Refusal.
    """
    if not await _insert(connection, site_id, values, actor):
        raise AlreadyThere(f"Site {site_id} exists already.", "id")


async def put_site(
    connection: AsyncConnection, site_id: str, values: Mapping[str, Any], *, actor: str
) -> bool:
    """Create or replace a site; True when it was created. Raises: as `create_site`."""
    if await _insert(connection, site_id, values, actor):
        return True
    former = await sites.lock_site(connection, site_id)
    assert former is not None, "a site is never removed"
    await _update(connection, former, await _whole(connection, values), actor)
    return False


async def change_site(
    connection: AsyncConnection, site_id: str, values: Mapping[str, Any], *, actor: str
) -> None:
    """Change the named members, no other; `static` is replaced as a whole. Its stations follow a
    site to another client, and groups of the former one have no access any more.

    Raises: NotThere; as `create_site`.
    """
    former = await sites.lock_site(connection, site_id)
    if former is None:
        raise NotThere(f"There is no site {site_id}.")
    kept = {name: value for name, value in _facts(former).items() if name not in values}
    await _update(connection, former, kept | await _checked(connection, values), actor)


async def _insert(
    connection: AsyncConnection, site_id: str, values: Mapping[str, Any], actor: str
) -> bool:
    facts = await _whole(connection, values)
    try:
        if not await sites.insert_site(connection, site_id=site_id, **facts):
            return False
    except UniqueViolation:
        raise _taken(facts) from None
    change = Change("site", facts["client_id"], site_id, None, None, None, facts)
    await static_history.record(connection, actor, [change])
    return True


async def _update(
    connection: AsyncConnection, former: Site, facts: dict[str, Any], actor: str
) -> None:
    try:
        await sites.update_site(connection, site_id=former.id, **facts)
    except UniqueViolation:
        raise _taken(facts) from None
    change = Change("site", facts["client_id"], former.id, None, None, _facts(former), facts)
    await static_history.record(connection, actor, [change])


async def _whole(connection: AsyncConnection, values: Mapping[str, Any]) -> dict[str, Any]:
    """All facts of a site; what is not named has its default."""
    defaults: dict[str, Any] = {"name": "", "client_id": None, "static": {}}
    defaults["time_zone"] = DEFAULT_ZONE
    return await _checked(connection, {**defaults, **values})


async def _checked(connection: AsyncConnection, values: Mapping[str, Any]) -> dict[str, Any]:
    """The named facts, looked at. Raises: Refusal."""
    facts = {
        name: values[name]
        for name in ("name", "client_id", "time_zone", "static")
        if name in values
    }
    if "time_zone" in facts:
        _check_zone(facts["time_zone"])
    if "static" in facts:
        facts["static"] = checked_static(SiteStatic, facts["static"])
    if "client_id" in facts:
        if facts["client_id"] is None:
            facts["client_id"] = await sites.operator_client_id(connection)
        elif await sites.get_client(connection, facts["client_id"]) is None:
            raise Refusal(f"There is no client {facts['client_id']}.", "client_id")
    return facts


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of the zone database
        raise Refusal(f"There is no time zone {name}.", "time_zone") from None


def _facts(site: Site) -> dict[str, Any]:
    return {
        "name": site.name,
        "client_id": site.client_id,
        "time_zone": site.time_zone,
        "static": site.static,
    }


def _taken(facts: Mapping[str, Any]) -> AlreadyThere:
    identifier = facts["static"].get("afirev_station_id")
    return AlreadyThere(
        f"Another site has the station identifier {identifier} already.",
        "static.afirev_station_id",
    )
