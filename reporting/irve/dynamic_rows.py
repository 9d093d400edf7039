"""The dynamic file: how each published point stands, by the status as recorded.

| our status | etat_pdc | occupation_pdc |
|---|---|---|
| available | en_service | libre |
| preparing, charging, suspended, finishing, occupied | en_service | occupe |
| reserved | en_service | reserve |
| faulted, unavailable, of the point or of its whole station | hors_service | inconnu |
| unknown, or the station is not connected | inconnu | inconnu |

`horodatage` is since when that is so, as far as anybody knows: the time of the status, or of the
connection or its loss where this came later. A socket that the point has not is left empty.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from csms.static_data import irve
from reporting.irve.schema import DYNAMIC_NAMES, csv_bytes

_OUT_OF_ORDER: Final = frozenset({"faulted", "unavailable"})
_OCCUPATION: Final = {
    "available": "libre",
    "reserved": "reserve",
    **dict.fromkeys(
        ("preparing", "charging", "suspended_ev", "suspended_evse", "finishing", "occupied"),
        "occupe",
    ),
}
_UNKNOWN: Final = "inconnu"
_SOCKETS: Final = {f"etat_{column}": kinds for column, kinds in irve.SOCKETS.items()}


class Connector(NamedTuple):
    """A connector of the point, as it last reported."""

    type: str | None
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is recorded of a public point."""

    evse_uid: str
    status: str
    status_at: datetime | None
    station_status: str | None  # of the station as a whole
    station_status_at: datetime | None
    connected: bool
    connected_at: datetime | None
    disconnected_at: datetime | None
    created_at: datetime  # of the station: since then, at least, it is not known
    connectors: Sequence[Connector]


def build(standings: Iterable[Standing], published: Collection[str]) -> bytes:
    """The file of the points that the static file has, by their identifiers in order."""
    rows = [_row(standing) for standing in standings if standing.evse_uid in published]
    rows.sort(key=lambda row: row["id_pdc_itinerance"])
    return csv_bytes(DYNAMIC_NAMES, rows)


def _row(standing: Standing) -> dict[str, str]:
    state, occupation = _state(standing)
    return {
        "id_pdc_itinerance": standing.evse_uid,
        "etat_pdc": state,
        "occupation_pdc": occupation,
        "horodatage": _at(standing).astimezone(UTC).isoformat(timespec="seconds"),
        **{column: _socket(standing, kinds) for column, kinds in _SOCKETS.items()},
    }


def _state(standing: Standing) -> tuple[str, str]:
    """etat_pdc and occupation_pdc."""
    if not standing.connected:
        return _UNKNOWN, _UNKNOWN
    if standing.status in _OUT_OF_ORDER or standing.station_status in _OUT_OF_ORDER:
        return "hors_service", _UNKNOWN
    occupation = _OCCUPATION.get(standing.status)
    return (_UNKNOWN, _UNKNOWN) if occupation is None else ("en_service", occupation)


def _at(standing: Standing) -> datetime:
    """The latest of all that the row follows from: it never goes back, so that whoever keeps the
    newest of each point is not misled when a station returns with its former status."""
    moments = (
        standing.status_at,
        standing.station_status_at,
        standing.connected_at,
        standing.disconnected_at,
    )
    return max([standing.created_at, *(moment for moment in moments if moment is not None)])


def _socket(standing: Standing, kinds: frozenset[str]) -> str:
    """The state of the point's connectors of these types: one that works is enough."""
    statuses = [connector.status for connector in standing.connectors if connector.type in kinds]
    if not statuses:
        return ""
    if not standing.connected:
        return _UNKNOWN
    if standing.station_status in _OUT_OF_ORDER:
        return "hors_service"
    states = {_socket_state(standing.status if s == "unknown" else s) for s in statuses}
    for state in ("fonctionnel", "hors_service"):
        if state in states:
            return state
    return _UNKNOWN


def _socket_state(status: str) -> str:
    if status in _OUT_OF_ORDER:
        return "hors_service"
    return "fonctionnel" if status in _OCCUPATION else _UNKNOWN
