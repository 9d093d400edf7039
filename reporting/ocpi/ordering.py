"""Partners' orders: a session begun or ended for one of their drivers.

An order is answered at once, whether it is taken; what became of it follows at the address that
came with it (telling.Results). The same order again within the time of one is the same order. A
start lets the driver's token charge for as long as the station may take to begin.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import AsyncConnection

from csms import services
from csms.config import Settings
from csms.domain.services import Option
from csms.domain.values import uid_key
from csms.registry import Conflict, NotThere, Refusal
from csms.store import commands as order_store
from csms.wire import orders, remote
from reporting import store_ocpi
from reporting import store_ocpi_sessions as store
from reporting.ocpi.authorizing import cdr_token
from reporting.ocpi.client import same_origin
from reporting.ocpi.objects import CommandResponse, StartSession, StopSession
from reporting.store_ocpi import PartnerRow
from reporting.store_ocpi_sessions import PlaceRow

ORIGIN: Final = "partner"
INT_MAX: Final = 2**31 - 1
UID_LENGTH_16: Final = 20  # idTag of OCPP 1.6
#: types of OCPP 2.0.1 (IdTokenEnumType) of OCPI's
TYPES: Final[Mapping[str, str]] = {"RFID": "ISO14443", "APP_USER": "Central"}
OTHER: Final = "Central"
SHUT: Final = frozenset({"faulted", "unavailable"})


class UnknownPlace(Exception):
    """There is no such location or EVSE for the partner (2003)."""


class BadAddress(Exception):
    """The result is to go where the partner is not (2001)."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What a station is told."""

    kind: str
    client_id: int
    station_id: str
    action: str
    payload: dict[str, Any]


async def start(
    connection: AsyncConnection,
    settings: Settings,
    partner: PartnerRow,
    asked: StartSession,
    now: datetime,
) -> CommandResponse:
    """Begin to charge, in the caller's transaction. Raises: UnknownPlace, BadAddress."""
    _check_address(partner, asked.response_url)
    found = await store.list_places(connection, partner.id, asked.location_id, now)
    if asked.evse_uid is not None:
        found = [place for place in found if place.evse_uid == asked.evse_uid]
    if not found:
        raise UnknownPlace(asked.evse_uid or asked.location_id)
    if await _known(connection, settings, partner, asked.wire(), now):
        return _answer(settings, "ACCEPTED")
    place = next((p for p in found if _is_free(p)), None)
    if place is None or await _is_closed(connection, place, now) or not asked.token.valid:
        return _answer(settings, "REJECTED")
    target = await order_store.fetch_target(connection, place.station_id)
    if target is None or target.node is None or target.protocol is None:
        return _answer(settings, "REJECTED")
    uid = station_uid(
        asked.token.uid,
        asked.token.contract_id,
        is_ours=await store_ocpi.is_ours(connection, uid_key(asked.token.uid)),
    )
    action, payload = remote.start_order(
        target.protocol,
        evse_id=place.evse_id,
        uid=uid,
        token_type=TYPES.get(asked.token.type, OTHER),
        group_uid=None,
        remote_start_id=int.from_bytes(_digest(asked.wire())[:4]) % INT_MAX,
    )
    order = _Order("START_SESSION", place.client_id, place.station_id, action, payload)
    if not await _place(
        connection, settings, partner, order, asked.response_url, asked.wire(), now
    ):
        return _answer(settings, "REJECTED")
    begun_by = settings.ocpi_command_timeout_s + settings.start_session_timeout_s
    await store_ocpi.insert_grant(
        connection,
        partner_id=partner.id,
        client_id=place.client_id,
        station_key=place.station_key,
        evse_id=place.evse_id,
        uid_key=uid_key(uid),
        allowed="ALLOWED",
        method="COMMAND",
        reference=asked.authorization_reference,
        token=cdr_token(asked.token),
        at=now,
        valid_until=now + timedelta(seconds=begun_by),
    )
    await store_ocpi.write_token(
        connection, partner.id, asked.token.wire(), asked.token.last_updated, now
    )
    return _answer(settings, "ACCEPTED")


async def stop(
    connection: AsyncConnection,
    settings: Settings,
    partner: PartnerRow,
    asked: StopSession,
    now: datetime,
) -> CommandResponse:
    """End a session of the partner's driver, in the caller's transaction. Raises: BadAddress."""
    _check_address(partner, asked.response_url)
    session = await store.find_session(connection, partner.id, asked.session_id)
    if session is None:
        return _answer(settings, "UNKNOWN_SESSION")
    if await _known(connection, settings, partner, asked.wire(), now):
        return _answer(settings, "ACCEPTED")
    if session.state != "active":
        return _answer(settings, "REJECTED")
    target = await order_store.fetch_target(connection, session.station_id)
    if target is None or target.node is None or target.protocol is None:
        return _answer(settings, "REJECTED")
    if target.protocol == "ocpp1.6" and not session.transaction_id.isdigit():
        return _answer(settings, "REJECTED")  # it spoke another version when the session began
    action, payload = remote.stop_order(target.protocol, session.transaction_id)
    order = _Order("STOP_SESSION", session.client_id, session.station_id, action, payload)
    taken = await _place(
        connection, settings, partner, order, asked.response_url, asked.wire(), now
    )
    return _answer(settings, "ACCEPTED" if taken else "REJECTED")


def station_uid(uid: str, contract_id: str, *, is_ours: bool = False) -> str:
    """What a station is told for a partner's token: its uid, or 20 characters made of it where 1.6
    could not carry it, or where a badge of ours has the same: its driver would pay."""
    if len(uid) <= UID_LENGTH_16 and not is_ours:
        return uid
    made = hashlib.sha256(f"{uid}\0{contract_id}".encode()).hexdigest()
    return ("OCPI" + made)[:UID_LENGTH_16].upper()


async def _place(
    connection: AsyncConnection,
    settings: Settings,
    partner: PartnerRow,
    order: _Order,
    response_url: str,
    asked: dict[str, Any],
    now: datetime,
) -> bool:
    """Put the order into the station's queue; False where it does not take it."""
    try:
        command_id = await orders.place(
            connection,
            order.station_id,
            order.action,
            order.payload,
            origin=ORIGIN,
            created_by=f"partner {partner.slug}",
            now=now,
            expires_in_s=settings.ocpi_command_timeout_s,
            settings=settings,
        )
    except (Refusal, Conflict, NotThere):
        return False
    await store.insert_command(
        connection,
        partner_id=partner.id,
        client_id=order.client_id,
        kind=order.kind,
        command_id=command_id,
        response_url=response_url,
        digest=_digest(asked),
        now=now,
    )
    return True


async def _known(
    connection: AsyncConnection,
    settings: Settings,
    partner: PartnerRow,
    asked: dict[str, Any],
    now: datetime,
) -> bool:
    """Whether the same was asked for and may be under way still: the partner repeats itself."""
    await store_ocpi.lock_partner(connection, partner.slug)  # one at a time
    after = now - timedelta(seconds=settings.ocpi_command_timeout_s)
    found = await store.find_command(connection, partner.id, _digest(asked), after)
    return found is not None


def _digest(asked: dict[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()


def _is_free(place: PlaceRow) -> bool:
    return place.is_connected and not place.is_taken and place.status not in SHUT


async def _is_closed(connection: AsyncConnection, place: PlaceRow, now: datetime) -> bool:
    return bool(await services.closed_clients(connection, [place.client_id], Option.GIREVE, now))


def _check_address(partner: PartnerRow, url: str) -> None:
    """Results go to the partner's own server, wherever on it. Raises: BadAddress."""
    own = [partner.versions_url or "", *(endpoint["url"] for endpoint in partner.endpoints)]
    if not any(same_origin(url, address) for address in own):
        raise BadAddress("response_url is not on the server of your versions or modules.")


def _answer(settings: Settings, result: str) -> CommandResponse:
    return CommandResponse.model_validate(
        {"result": result, "timeout": int(settings.ocpi_command_timeout_s)}
    )
