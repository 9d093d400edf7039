"""Who changed what of sites, stations and points: written with the change, in its transaction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import AsyncConnection

from csms.store import static_changes as store

SYSTEM = "system"
"""The actor where no person and no key asked for it."""
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Change:
    """A site, a station or a point as it was and as it is; None: not there."""

    kind: Literal["site", "station", "evse"]
    client_id: int  # the owner's from now on
    site_id: str | None
    station_id: str | None
    evse_id: int | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


async def record(connection: AsyncConnection, actor: str, changes: Iterable[Change]) -> None:
    """Keep those of the changes that changed something."""
    records = []
    for change in changes:
        before, after = difference(change.before or {}, change.after or {})
        if before or after or (change.before is None) != (change.after is None):
            records.append(
                {
                    "client_id": change.client_id,
                    "actor": actor,
                    "kind": change.kind,
                    "site_id": change.site_id,
                    "station_id": change.station_id,
                    "evse_id": change.evse_id,
                    "before": before,
                    "after": after,
                }
            )
    if records:
        await store.insert_changes(connection, records)


def difference(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The members that differ, as they were and as they are; those of `static` by dotted name. A
    member that is absent or None is left out."""
    old, new = _flat(before), _flat(after)
    names = [name for name in old | new if old.get(name, _ABSENT) != new.get(name, _ABSENT)]
    return (
        {name: old[name] for name in names if name in old},
        {name: new[name] for name in names if name in new},
    )


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name == "static":
            flat |= {f"static.{member}": inner for member, inner in value.items()}
        elif value is not None:
            flat[name] = value
    return flat
