"""Local lists in the words of each version: what a station may be told, how much of it at once.

A station says how much it takes: SendLocalListMaxLength and LocalAuthListMaxLength in 1.6,
ItemsPerMessage and BytesPerMessage of LocalAuthListCtrlr in 2.0.1. Until it has, the settings hold.
"""

from typing import Any, Final, NamedTuple

import msgspec
from psycopg import AsyncConnection

from csms.config import Settings
from csms.domain import local_list
from csms.domain.local_list import Entry, Known, Update
from csms.domain.values import uid_key
from csms.store.local_authorization import StationBadges
from csms.store.variables import fetch_values
from csms.wire import ocpp16
from csms.wire.variables import stated_limit

_UID_LENGTH_MAX: Final = {ocpp16.PROTOCOL: 20, "ocpp2.0.1": 36}
_TYPE_16: Final = "ISO14443"  # 1.6 knows no types
_LIMITS_16: Final = ("SendLocalListMaxLength", "LocalAuthListMaxLength")
_LIMITS_201: Final = ("ItemsPerMessage", "BytesPerMessage")
_CONTROLLER: Final = "LocalAuthListCtrlr"


class Limits(NamedTuple):
    """How much a station takes; None: it has not said."""

    entries_max: int | None  # in one message
    list_entries_max: int | None  # in all
    bytes_max: int | None  # of one message's payload


def usable(station: StationBadges, wanted: dict[str, Entry]) -> dict[str, Entry]:
    """The badges that the station's version has words for.

    A master is listed only where the station knows his group as the Master Pass group: elsewhere
    he could start by himself while nobody else can be asked.
    """
    in_16 = station.protocol == ocpp16.PROTOCOL
    found = {}
    for key, entry in wanted.items():
        is_master = entry.group_uid is not None and uid_key(entry.group_uid) == key
        starts = is_master and (in_16 or entry.group_uid != station.master_group_uid)
        if len(entry.uid) > _UID_LENGTH_MAX[station.protocol]:
            continue
        if not (starts and entry.status == "Accepted"):
            found[key] = entry._replace(type=_TYPE_16) if in_16 else entry
    return found


async def fetch_limits(connection: AsyncConnection, station: StationBadges) -> Limits:
    """What the station has said of its limits, asked or not."""
    in_16 = station.protocol == ocpp16.PROTOCOL
    component, names = ("", _LIMITS_16) if in_16 else (_CONTROLLER, _LIMITS_201)
    values = await fetch_values(connection, station.station_key, component, "")
    told = [stated_limit(values.get(name)) for name in names]
    return Limits(told[0], told[1], None) if in_16 else Limits(told[0], None, told[1])


def question_of_limits(protocol: str) -> tuple[str, dict[str, Any]]:
    """The order, action and payload, by which a station is asked how much it takes."""
    if protocol == ocpp16.PROTOCOL:
        return "GetConfiguration", {"key": list(_LIMITS_16)}
    variables = [
        {"component": {"name": _CONTROLLER}, "variable": {"name": name}} for name in _LIMITS_201
    ]
    return "GetVariables", {"getVariableData": variables}


def next_portion(
    settings: Settings, station: StationBadges, known: Known, wanted: dict[str, Entry], told: Limits
) -> tuple[Update, dict[str, Any]] | None:
    """The next update and its payload, as much as the station takes; None: it is in step.

    What failed before is tried in smaller portions: not all stations tell what they take.
    """
    version = (known.version or 0) + 1
    entries_max = min(
        settings.local_list_update_entries_max,
        told.entries_max or settings.local_list_update_entries_max,
    )
    entries_max = max(1, entries_max >> min(known.failures, 10))
    bytes_max = min(settings.frame_bytes_max, told.bytes_max or settings.frame_bytes_max)
    while True:
        update = local_list.next_update(
            known.held, wanted, full=known.full, entries_max=entries_max
        )
        if update is None:
            return None
        payload = list_payload(station.protocol, version, update)
        if entries_max == 1 or len(msgspec.json.encode(payload)) <= bytes_max:
            return update, payload
        entries_max //= 2


def list_payload(protocol: str, version: int, update: Update) -> dict[str, Any]:
    """SendLocalList in the words of the version."""
    if protocol == ocpp16.PROTOCOL:
        entries: list[dict[str, Any]] = [{"idTag": entry.uid} for entry in update.removed]
        entries += [
            {"idTag": entry.uid, "idTagInfo": _info(entry, "expiryDate", "parentIdTag", 20)}
            for entry in update.entries
        ]
        number = "listVersion"
    else:
        entries = [
            {"idToken": {"idToken": entry.uid, "type": entry.type}} for entry in update.removed
        ]
        entries += [
            {
                "idToken": {"idToken": entry.uid, "type": entry.type},
                "idTokenInfo": _info(entry, "cacheExpiryDateTime", "groupIdToken", 36),
            }
            for entry in update.entries
        ]
        number = "versionNumber"
    payload: dict[str, Any] = {
        number: version,
        "updateType": "Full" if update.full else "Differential",
    }
    if entries:  # an empty list has no entries; 2.0.1 wants none rather than an empty array
        payload["localAuthorizationList"] = entries
    return payload


def _info(entry: Entry, until: str, group: str, group_length_max: int) -> dict[str, Any]:
    info: dict[str, Any] = {"status": entry.status}
    if entry.valid_until is not None:
        info[until] = entry.valid_until
    if entry.group_uid is not None and len(entry.group_uid) <= group_length_max:
        in_16 = group == "parentIdTag"
        central = {"idToken": entry.group_uid, "type": "Central"}
        info[group] = entry.group_uid if in_16 else central
    return info
