"""Orders about charging itself: start, stop, unlock, in and out of service, reset."""

from datetime import datetime

from simulators.model import Evse, Session
from simulators.orders.answer import Answer, Effect, Handler, Payload, evse_of, status
from simulators.orders.charging import for_remote_start
from simulators.profiles import Profile
from simulators.station import Station


def _start(
    station: Station, evse_id: int | None, badge: str, remote_id: int | None, payload: Payload
) -> Answer:
    """The driver stands at the car: it is plugged in at once."""
    free = [
        evse.evse_id
        for evse in station.evses.values()
        if evse_id in (None, evse.evse_id) and _is_free(station, evse, badge)
    ]
    if not free or not station.accepted:
        return status("Rejected")
    profile: Profile | None = None
    if "chargingProfile" in payload:
        profile = for_remote_start(station, payload["chargingProfile"], free[0])
        if profile is None:
            return status("Rejected")

    def begin(now: datetime) -> None:
        station.plug_in(free[0], now)
        session = station.start(free[0], badge, now, remote_start_id=remote_id)
        if session is not None and profile is not None:
            station.profiles.add(profile)
            station.follow_limits(now)

    def effect(now: datetime) -> None:
        if not station.settings.flag("authorize_remote"):
            begin(now)
            return
        name = "idTokenInfo" if station.is_201 else "idTagInfo"
        station.authorize(
            badge,
            lambda response, then: (
                begin(then) if response.get(name, {}).get("status") == "Accepted" else None
            ),
        )

    return status("Accepted", effect)


def _is_free(station: Station, evse: Evse, badge: str) -> bool:
    if evse.session is not None or evse.inoperative or evse.error_code != "NoError":
        return False
    return evse.reservation is None or station.is_kept_for(evse.reservation, badge)


def start16(station: Station, payload: Payload, now: datetime) -> Answer:
    # 1.6 has no id to tell a remote start by.
    return _start(station, payload.get("connectorId"), payload["idTag"], None, payload)


def start201(station: Station, payload: Payload, now: datetime) -> Answer:
    badge = payload["idToken"]["idToken"]
    return _start(station, payload.get("evseId"), badge, payload["remoteStartId"], payload)


def stop(station: Station, payload: Payload, now: datetime) -> Answer:
    """RemoteStopTransaction and RequestStopTransaction."""
    wanted = str(payload["transactionId"])
    running = [
        evse.evse_id
        for evse in station.evses.values()
        if evse.session is not None and evse.session.transaction_id == wanted
    ]
    if not running:
        return status("Rejected")
    return status("Accepted", lambda then: _stop(station, running[0], then))


def _stop(station: Station, evse_id: int, now: datetime) -> None:
    station.stop(evse_id, now, reason="Remote")


def unlock16(station: Station, payload: Payload, now: datetime) -> Answer:
    evse_id = payload["connectorId"]
    if evse_id not in station.evses:
        return status("NotSupported")
    return status("Unlocked", _unlocked(station, evse_id))


def unlock201(station: Station, payload: Payload, now: datetime) -> Answer:
    evse = station.evses.get(payload["evseId"])
    if evse is None or payload["connectorId"] != 1:
        return status("UnknownConnector")
    if evse.session is not None:
        return status("OngoingAuthorizedTransaction")
    return status("Unlocked", _unlocked(station, evse.evse_id))


def _unlocked(station: Station, evse_id: int) -> Effect:
    def effect(now: datetime) -> None:
        station.stop(evse_id, now, reason="UnlockCommand")
        station.unplug(evse_id, now)

    return effect


def _available(station: Station, evse_id: int, operative: bool) -> Answer:
    if evse_id and evse_id not in station.evses:
        return status("Rejected")
    chosen = [evse for evse in station.evses.values() if evse_id in (0, evse.evse_id)]
    busy = not operative and any(evse.session is not None for evse in chosen)

    def effect(now: datetime) -> None:
        station.set_available(evse_id, operative, now)

    return status("Scheduled" if busy else "Accepted", effect)


def available16(station: Station, payload: Payload, now: datetime) -> Answer:
    return _available(station, payload["connectorId"], payload["type"] == "Operative")


def available201(station: Station, payload: Payload, now: datetime) -> Answer:
    if payload.get("evse", {}).get("connectorId", 1) != 1:
        return status("Rejected")
    operative = payload["operationalStatus"] == "Operative"
    return _available(station, evse_of(payload) or 0, operative)


def reset16(station: Station, payload: Payload, now: datetime) -> Answer:
    """Soft: sessions end and are told before the connection is closed. Hard: neither."""
    if payload["type"] == "Soft":
        return status("Accepted", lambda then: _leave_softly(station, then))
    return status("Accepted", lambda then: station.leave("hard"))


def _leave_softly(station: Station, now: datetime) -> None:
    station.stop_all(now, "SoftReset")
    station.leave("soft")


def reset201(station: Station, payload: Payload, now: datetime) -> Answer:
    evse_id = payload.get("evseId")
    if evse_id is not None and evse_id not in station.evses:
        return status("Rejected")
    chosen = [evse for evse in station.evses.values() if evse_id in (None, evse.evse_id)]
    busy = any(evse.session is not None for evse in chosen)

    def at_once(now: datetime) -> None:
        for evse in chosen:
            station.stop(evse.evse_id, now, reason="ImmediateReset")
        if evse_id is None:
            station.leave("soft")

    def when_idle(now: datetime) -> None:
        station.agenda.when_idle(
            lambda then: station.leave("scheduled") if evse_id is None else None
        )
        station.pass_time(now)

    if payload["type"] == "Immediate":
        return status("Accepted", at_once)
    return status("Scheduled" if busy else "Accepted", when_idle)


def transaction_status(station: Station, payload: Payload, now: datetime) -> Answer:
    """Whether a transaction goes on, and whether messages (of it, or of any) still wait."""
    queued = station.outbox.durable_of(None)
    wanted = payload.get("transactionId")
    if wanted is None:
        return Answer({"messagesInQueue": queued > 0})
    session = _session(station, wanted)
    if session is None:
        return Answer({"messagesInQueue": False})
    return Answer(
        {
            "ongoingIndicator": session.ended_at is None,
            "messagesInQueue": station.outbox.durable_of(session) > 0,
        }
    )


def _session(station: Station, transaction_id: str) -> Session | None:
    for session in station.sessions:
        if session.transaction_id == transaction_id:
            return session
    return None


def cost_updated(station: Station, payload: Payload, now: datetime) -> Answer:
    """The running cost is shown; one of an unknown transaction is not."""
    session = _session(station, payload["transactionId"])
    if session is not None:
        session.cost = float(payload["totalCost"])
    return Answer({})


def data_transfer(station: Station, payload: Payload, now: datetime) -> Answer:
    """The station's own vendor is known, and gets back what it sent."""
    if payload["vendorId"] != station.config.vendor:
        return status("UnknownVendorId")
    answer = status("Accepted")
    if "data" in payload:
        answer.response["data"] = payload["data"]
    return answer


HANDLERS_16: dict[str, Handler] = {
    "ChangeAvailability": available16,
    "DataTransfer": data_transfer,
    "RemoteStartTransaction": start16,
    "RemoteStopTransaction": stop,
    "Reset": reset16,
    "UnlockConnector": unlock16,
}
HANDLERS_201: dict[str, Handler] = {
    "ChangeAvailability": available201,
    "CostUpdated": cost_updated,
    "DataTransfer": data_transfer,
    "GetTransactionStatus": transaction_status,
    "RequestStartTransaction": start201,
    "RequestStopTransaction": stop,
    "Reset": reset201,
    "UnlockConnector": unlock201,
}
