"""Orders about badges and places: local list, cache, reservations."""

from datetime import datetime

from simulators.badges import Known
from simulators.model import Reservation
from simulators.orders.answer import Answer, Handler, Payload, moment, status
from simulators.station import Station


def list_version(station: Station, payload: Payload, now: datetime) -> Answer:
    """In 1.6, -1 where there are no local lists."""
    if station.is_201:
        return Answer({"versionNumber": station.badges.listed.version})
    enabled = station.settings.flag("list_enabled")
    return Answer({"listVersion": station.badges.listed.version if enabled else -1})


def send_list(station: Station, payload: Payload, now: datetime) -> Answer:
    """A differential list is taken only when it is newer; a list is taken whole or not at all."""
    settings, listed = station.settings, station.badges.listed
    if not settings.flag("list_enabled"):
        return status("Failed" if station.is_201 else "NotSupported")
    version = payload["versionNumber" if station.is_201 else "listVersion"]
    full = payload["updateType"] == "Full"
    if not full and version <= listed.version:
        return status("VersionMismatch")
    entries = [_entry(station, entry) for entry in payload.get("localAuthorizationList", [])]
    badges = [badge.lower() for badge, _ in entries]
    if (
        version <= 0
        or len(entries) > settings.number("list_items_max")
        or len(set(badges)) < len(badges)
        or (full and any(known is None for _, known in entries))
        or listed.size_after(entries, full=full) > settings.number("list_max")
    ):
        return status("Failed")
    listed.replace(version, entries, full=full)
    settings.put("list_entries", str(len(listed.known)))
    return status("Accepted")


def _entry(station: Station, entry: Payload) -> tuple[str, Known | None]:
    if station.is_201:
        badge, info = entry["idToken"]["idToken"], entry.get("idTokenInfo")
        group = None if info is None else info.get("groupIdToken", {}).get("idToken")
    else:
        badge, info = entry["idTag"], entry.get("idTagInfo")
        group = None if info is None else info.get("parentIdTag")
    return badge, None if info is None else Known(info["status"], group)


def clear_cache(station: Station, payload: Payload, now: datetime) -> Answer:
    if not station.settings.flag("cache_enabled"):
        return status("Rejected")
    station.badges.cached.clear()
    return status("Accepted")


def _reserve(station: Station, evse_id: int, reservation: Reservation, now: datetime) -> Answer:
    evse = station.evses.get(evse_id)
    if evse is None or reservation.expires_at <= now:
        return status("Rejected")
    if evse.error_code != "NoError":
        return status("Faulted")
    if evse.inoperative:
        return status("Unavailable")
    kept = evse.reservation
    is_others = kept is not None and kept.reservation_id != reservation.reservation_id
    if evse.session is not None or evse.plugged or is_others:
        return status("Occupied")
    return status("Accepted", lambda then: station.reserve(evse_id, reservation, then))


def reserve16(station: Station, payload: Payload, now: datetime) -> Answer:
    """Connector 0, any of them, is not offered (ReserveConnectorZeroSupported)."""
    reservation = Reservation(
        payload["reservationId"],
        payload["idTag"],
        payload.get("parentIdTag"),
        moment(payload["expiryDate"]),
    )
    return _reserve(station, payload["connectorId"], reservation, now)


def reserve201(station: Station, payload: Payload, now: datetime) -> Answer:
    """Any EVSE is not offered (ReservationCtrlr.NonEvseSpecific)."""
    reservation = Reservation(
        payload["id"],
        payload["idToken"]["idToken"],
        payload.get("groupIdToken", {}).get("idToken"),
        moment(payload["expiryDateTime"]),
    )
    return _reserve(station, payload.get("evseId", 0), reservation, now)


def cancel(station: Station, payload: Payload, now: datetime) -> Answer:
    wanted = payload["reservationId"]
    for evse in station.evses.values():
        if evse.reservation is not None and evse.reservation.reservation_id == wanted:
            return status("Accepted", lambda then: _release(station, wanted, then))
    return status("Rejected")


def _release(station: Station, reservation_id: int, now: datetime) -> None:
    station.release(reservation_id, now)


_BOTH: dict[str, Handler] = {
    "CancelReservation": cancel,
    "ClearCache": clear_cache,
    "GetLocalListVersion": list_version,
    "SendLocalList": send_list,
}
HANDLERS_16: dict[str, Handler] = _BOTH | {"ReserveNow": reserve16}
HANDLERS_201: dict[str, Handler] = _BOTH | {"ReserveNow": reserve201}
