"""Charging from afar: a driver starts and stops by her app, and hears what really came of it.

A start is an order to the station, on her app's badge, and a row that remembers it: what came of it
is read from the order's answer and from the session, never stored twice. An order that was not sent
within the wait is taken back: nothing begins an hour later at a station that was away.

Decisions are made under locks of the driver and of the point, so that two requests at once are two
requests one after the other.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from psycopg import AsyncConnection

from csms import drivers, points, unpaid
from csms.config import Settings
from csms.domain import point
from csms.domain.point import Asked, Why
from csms.domain.services import Option
from csms.points import Denied, Point
from csms.registry import NotThere, Refusal
from csms.store import commands as orders_store
from csms.store import points as points_store
from csms.store import starts as store
from csms.store.starts import BadgeRow, MySession, StartRow
from csms.store.unpaid import fetch_unpaid
from csms.wire import orders, remote
from csms.wire.orders import OrderRefused

ORIGIN: Final = "driver"
INT_MAX: Final = 2**31 - 1
#: a new badge counts from so long ago on: clocks of stations may be behind
_BADGE_SLACK: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Begun:
    """A start, new or known, and the order to wait for; None: there is none to wait for."""

    start_id: int
    command_id: int | None
    station_id: str


async def begin(
    connection: AsyncConnection,
    settings: Settings,
    person_id: int,
    code: str,
    connector_id: int | None,
    idempotency_key: str | None,
    now: datetime,
) -> Begun:
    """Order a station to charge for the driver, in the caller's transaction.

    The same key again, or the same point while her start there is under way, is the same start.
    Raises: Denied, saying why it cannot be.
    """
    if not await store.lock_driver(connection, person_id):
        raise Denied(Why.ACCOUNT_CLOSED)
    if idempotency_key is not None:
        known = await store.find_by_key(connection, person_id, idempotency_key)
        if known is not None:
            if known[1] != code:
                raise Denied(Why.KEY_REUSED)
            return Begun(known[0], await store.get_order_of(connection, known[0]), "")
    place = await points_store.find_place(connection, code)
    if place is None:
        raise Denied(Why.NOT_ALLOWED_HERE)
    await store.lock_point(connection, *place)
    await points_store.act_for(connection, person_id)
    driver = await store.get_driver(connection, person_id, *place, now)
    if driver is None or driver.closed:
        raise Denied(Why.ACCOUNT_CLOSED)
    pending = await store.find_pending(connection, *place, now)
    if pending is not None and pending[1] == person_id:
        return Begun(pending[0], await store.get_order_of(connection, pending[0]), "")
    found = await points.get_point(connection, points.closed_of(connection), person_id, code, now)
    badge = await app_badge(connection, person_id, found, now)
    await check_paid(connection, settings, person_id, found)
    _check(found, badge, pending is not None, connector_id)
    bound = settings.token_concurrent_max
    if badge.concurrent_max is not None:
        bound = badge.concurrent_max
    if 0 < bound <= driver.sessions_elsewhere + driver.starts_elsewhere:
        raise Denied(Why.TOO_MANY_SESSIONS)
    return await _order(
        connection,
        settings,
        person_id,
        found,
        badge,
        connector_id,
        idempotency_key,
        now,
    )


def _check(found: Point, badge: BadgeRow, pending: bool, connector_id: int | None) -> None:
    """Raises: Denied."""
    points.check_place(found, Option.DRIVER_APP)
    if not found.access.open:
        raise Denied(Why.NOT_ALLOWED_HERE if found.access.opens_at is None else Why.NOT_NOW)
    known = [c["connector_id"] for c in found.row.connectors or ()]
    if connector_id is not None and known and connector_id not in known:
        raise NotThere(f"This point has no connector {connector_id}.", "connector_id")
    points.check_state(found.standing)
    if pending:
        raise Denied(Why.POINT_OCCUPIED)


async def app_badge(
    connection: AsyncConnection, person_id: int, found: Point, now: datetime
) -> BadgeRow:
    """The badge of the driver's app, which may be used at this point. Raises: Denied."""
    try:
        uid = await drivers.app_badge(connection, person_id, now - _BADGE_SLACK)
    except Refusal:
        raise Denied(Why.ACCOUNT_CLOSED) from None
    badge = await store.get_badge(connection, uid)
    if badge is None or badge.retired_at is not None or badge.status != "accepted":
        raise Denied(Why.BADGE_BLOCKED)
    if badge.valid_until is not None and badge.valid_until <= now:
        raise Denied(Why.BADGE_BLOCKED)
    return badge


async def check_paid(
    connection: AsyncConnection, settings: Settings, person_id: int, found: Point
) -> None:
    """Accept that the driver leaves no invoices unpaid for which she is blocked at the point's
    client. Raises: Denied, saying what to pay."""
    rows = await fetch_unpaid(connection, person_id, found.row.client_id)
    if rows:
        texts = unpaid.sentences(rows, settings.operator_mandate_iban)
        raise Denied(Why.INVOICES_UNPAID, texts=texts)


async def _order(
    connection: AsyncConnection,
    settings: Settings,
    person_id: int,
    found: Point,
    badge: BadgeRow,
    connector_id: int | None,
    idempotency_key: str | None,
    now: datetime,
) -> Begun:
    row = found.row
    target = await orders_store.fetch_target(connection, row.station_id)
    if target is None or target.node is None or target.protocol is None:
        raise Denied(Why.STATION_OFFLINE)
    start_id = await store.insert_start(
        connection,
        person_id=person_id,
        client_id=row.client_id,
        station_key=row.station_key,
        evse_id=row.evse_id,
        connector_id=connector_id,
        uid_key=badge.uid_key,
        idempotency_key=idempotency_key,
        now=now,
        due_at=now + timedelta(seconds=settings.start_session_timeout_s),
    )
    remote_start_id = start_id % INT_MAX
    action, payload = remote.start_order(
        target.protocol,
        evse_id=row.evse_id,
        uid=badge.uid,
        token_type=badge.type,
        group_uid=badge.group_uid,
        remote_start_id=remote_start_id,
    )
    command_id = await place(connection, settings, row.station_id, action, payload, person_id, now)
    told = None if target.protocol == "ocpp1.6" else remote_start_id
    await store.note_order(connection, start_id, command_id, told)
    return Begun(start_id, command_id, row.station_id)


async def place(
    connection: AsyncConnection,
    settings: Settings,
    station_id: str,
    action: str,
    payload: dict[str, object],
    person_id: int | None,
    now: datetime,
    *,
    expires_in_s: float | None = None,
) -> int:
    """An order on a driver's behalf, not sent any more once nobody waits for it. Raises: Denied
    where too many wait for the station."""
    try:
        return await orders.place(
            connection,
            station_id,
            action,
            payload,
            origin=ORIGIN,
            created_by=None if person_id is None else f"person {person_id}",
            now=now,
            expires_in_s=settings.start_answer_timeout_s if expires_in_s is None else expires_in_s,
            settings=settings,
        )
    except OrderRefused:
        raise Denied(Why.STATION_OFFLINE) from None


def outcome(row: StartRow, now: datetime) -> Asked:
    """How far a start has come."""
    return point.asked(
        order_status=row.order_status,
        was_sent=row.sent_at is not None,
        no_answer=remote.is_silence(row.order_error),
        session_status=row.authorization_status if row.session_id is not None else None,
        due_at=row.due_at,
        now=now,
    )


async def order_stop(
    connection: AsyncConnection,
    settings: Settings,
    person_id: int,
    session: MySession,
    now: datetime,
) -> tuple[int, str]:
    """Order a session of the driver's to end; the order, and its station. Raises: Denied."""
    if session.state != "active":
        raise Denied(Why.SESSION_OVER)
    station_id = await store.get_station_id(connection, session.station_key)
    target = await orders_store.fetch_target(connection, station_id)
    if target is None or target.node is None or target.protocol is None:
        raise Denied(Why.STATION_OFFLINE)
    if target.protocol == "ocpp1.6" and not session.transaction_id.isdigit():
        raise Denied(Why.STATION_REFUSED)  # it spoke another version when the session began
    action, payload = remote.stop_order(target.protocol, session.transaction_id)
    command_id = await place(connection, settings, station_id, action, payload, person_id, now)
    return command_id, station_id


def why_not(status: str, error: str | None) -> Why | None:
    """Why an order to stop did nothing; None: it was accepted. Of one that is over, or given up."""
    if status == "accepted":
        return None
    if status in ("queued", "expired", "cancelled"):
        return Why.STATION_OFFLINE
    if status == "sent" or (status == "failed" and remote.is_silence(error)):
        return Why.STATION_IGNORES
    return Why.STATION_REFUSED
