"""What partners fetch from us: what they were told, page by page, statuses as they are now told."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection

from reporting import store_ocpi as store
from reporting.ocpi.kinds import Shape, z
from reporting.ocpi.objects import Cdr, Location, Session, Tariff
from reporting.store_ocpi import ToldRow

#: the shape of each module's objects
MODULES: Final[Mapping[str, type[Shape]]] = {
    "locations": Location,
    "tariffs": Tariff,
    "sessions": Session,
    "cdrs": Cdr,
}


@dataclass(frozen=True, slots=True)
class Page:
    """Objects, and how many there are in all."""

    items: list[dict[str, Any]]
    total: int


async def page(
    connection: AsyncConnection,
    partner_id: int,
    module: str,
    from_at: datetime | None,
    to_at: datetime | None,
    offset: int,
    limit: int,
) -> Page:
    """Objects of a module that were last changed in that time, the longest unchanged first."""
    rows = await store.list_told(
        connection,
        partner_id,
        module,
        from_at=from_at,
        to_at=to_at,
        offset=offset,
        limit=limit,
    )
    total = await store.count_told(connection, partner_id, module, from_at, to_at)
    if module == "locations":
        return Page(await _with_statuses(connection, partner_id, rows), total)
    shape = MODULES[module]
    return Page([shape.model_validate(row.content).wire() for row in rows], total)


async def part(
    connection: AsyncConnection,
    partner_id: int,
    location_id: str,
    evse_uid: str | None = None,
    connector_id: str | None = None,
) -> dict[str, Any] | None:
    """A place, a point of it or a connector; None: it was not told of."""
    rows = await store.list_told(connection, partner_id, "locations", object_id=location_id)
    found = next(iter(await _with_statuses(connection, partner_id, rows)), None)
    for list_name, key, wanted in (
        ("evses", "uid", evse_uid),
        ("connectors", "id", connector_id),
    ):
        if wanted is not None and found is not None:
            found = next((item for item in found[list_name] if item[key] == wanted), None)
    return found


async def _with_statuses(
    connection: AsyncConnection, partner_id: int, rows: list[ToldRow]
) -> list[dict[str, Any]]:
    """Places with the statuses that their points were told to have since."""
    evses = {
        row.object_id: row
        for row in await store.list_told(
            connection, partner_id, "evses", parent_ids=[row.object_id for row in rows]
        )
    }
    found = []
    for row in rows:
        content = Location.model_validate(row.content).wire()
        for evse in content["evses"]:
            told = evses.get(evse["uid"])
            if told is not None:
                evse["status"], evse["last_updated"] = told.content["status"], z(told.at)
        content["last_updated"] = z(row.at)
        found.append(content)
    return found
