"""Orders on behalf of drivers, in the words of each version: start, stop, reserve, release.

Pure; `csms.wire.orders.place` takes what is made here. A driver's app is a badge of the central
system: its type is told to 2.0.1, which knows types.
"""

import json
from datetime import datetime
from typing import Any, Final

from csms.wire.context import time_text

Order = tuple[str, dict[str, Any]]  # action and payload

_OCCUPIED: Final = "Occupied"
_OUT_OF_ORDER: Final = frozenset({"Faulted", "Unavailable"})


def start_order(
    protocol: str,
    *,
    evse_id: int,
    uid: str,
    token_type: str,
    group_uid: str | None,
    remote_start_id: int,
) -> Order:
    """Begin to charge at an EVSE. 1.6 has no id to tell the start by."""
    if protocol == "ocpp1.6":
        return "RemoteStartTransaction", {"connectorId": evse_id, "idTag": uid}
    payload: dict[str, Any] = {
        "evseId": evse_id,
        "remoteStartId": remote_start_id,
        "idToken": {"idToken": uid, "type": token_type},
    }
    if group_uid is not None:
        payload["groupIdToken"] = {"idToken": group_uid, "type": token_type}
    return "RequestStartTransaction", payload


def stop_order(protocol: str, transaction_id: str) -> Order:
    """End a transaction."""
    if protocol == "ocpp1.6":
        return "RemoteStopTransaction", {"transactionId": int(transaction_id)}
    return "RequestStopTransaction", {"transactionId": transaction_id}


def reserve_order(
    protocol: str,
    *,
    reservation_id: int,
    evse_id: int | None,
    uid: str,
    token_type: str,
    group_uid: str | None,
    until: datetime,
) -> Order:
    """Keep an EVSE, None: the station, for a badge and its group, until then."""
    if protocol == "ocpp1.6":
        payload: dict[str, Any] = {
            "connectorId": evse_id or 0,
            "expiryDate": time_text(until),
            "idTag": uid,
            "reservationId": reservation_id,
        }
        if group_uid is not None and len(group_uid) <= 20:
            payload["parentIdTag"] = group_uid
        return "ReserveNow", payload
    payload = {
        "id": reservation_id,
        "expiryDateTime": time_text(until),
        "idToken": {"idToken": uid, "type": token_type},
    }
    if evse_id is not None:
        payload["evseId"] = evse_id
    if group_uid is not None:
        payload["groupIdToken"] = {"idToken": group_uid, "type": token_type}
    return "ReserveNow", payload


def release_order(reservation_id: int) -> Order:
    """Keep it no longer; the same in both versions."""
    return "CancelReservation", {"reservationId": reservation_id}


def reserved(status: str, response: str | None, error: str | None) -> tuple[bool, str | None]:
    """What came of a ReserveNow: (the point can be had, why the station does not keep it).

    `status` is the order's; texts are JSON. None: the station keeps it.
    """
    if status == "accepted":
        return True, None
    if status in ("expired", "cancelled"):
        return True, "offline"
    if status == "failed":
        return True, "silent" if is_silence(error) else "unsupported"
    word = json.loads(response or "{}").get("status")
    if word in _OUT_OF_ORDER:
        return False, None
    return True, "occupied" if word == _OCCUPIED else "rejected"


def is_silence(error: str | None) -> bool:
    """Whether an order failed because nobody answered it."""
    return bool(error) and json.loads(error or "{}").get("code") == "NoAnswer"
