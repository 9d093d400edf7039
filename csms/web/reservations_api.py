"""Reservations: a driver's own, and what operators and managers see of all."""

from datetime import UTC, datetime
from enum import Enum
from typing import Annotated

from fastapi import APIRouter, Query, Request
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from csms import booking, commands
from csms.config import Settings
from csms.db import transaction
from csms.registry import NotThere
from csms.store import commands as orders_store
from csms.store import reservations as store
from csms.store.reservations import Reservation, ReservationFilter
from csms.web.fields import CursorText, From, Identifier, Limit, Name, PageOf, To
from csms.web.guard import Driver, Operator, Pool, Reader
from csms.web.listing import read_rows, shaped
from csms.web.me_models import (
    OperatorReservationIn,
    ReservationIn,
    ReservationOut,
    ReservationRecordOut,
    ReservationState,
)
from csms.web.problems import documented

router = APIRouter()

_ID_MAX = 2**31 - 1
_ME: list[str | Enum] = ["Drivers: me"]
_ALL: list[str | Enum] = ["Reservations"]

StateText = Annotated[ReservationState | None, Query(description="Only in this state.")]


@router.post(
    "/me/reservations",
    summary="Reserve a point",
    status_code=201,
    tags=_ME,
    responses=documented(403, 409),
)
async def reserve(
    request: Request, pool: Pool, driver: Driver, body: ReservationIn
) -> ReservationOut:
    """Keep a point for the driver for a time. One that begins now is told to the station at once,
    and the answer waits for the station's; a later one is told when it begins.

    Refused with a `code`: not_allowed_here, not_now, account_closed, badge_blocked,
    invoices_unpaid, reserved_by_another, too_many_reservations, too_short, too_long,
    too_far_ahead, in_the_past, service_closed, contract_suspended.
    """
    assert driver.person_id is not None
    made = await _make(request, pool, driver.person_id, body, by=driver.name, limited=True)
    async with pool.connection() as connection:
        return ReservationOut.model_validate(await _get(connection, made, driver.person_id))


@router.get(
    "/me/reservations", summary="The driver's reservations", tags=_ME, responses=documented(403)
)
async def list_mine(
    driver: Driver,
    pool: Pool,
    state: StateText = None,
    from_at: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[ReservationOut]:
    """The driver's reservations, the newest first; `from` and `to` find those that touch the
    interval."""
    which = ReservationFilter(person_id=driver.person_id, state=state, from_at=from_at, to_at=to)
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_reservations(
            connection, which, limit=count, cursor=after
        ),
        total=lambda connection: store.count_reservations(connection, which),
        key=lambda row: (row.id,),
    )
    return shaped(page, ReservationOut)


@router.get(
    "/me/reservations/{reservation_id}",
    summary="A reservation",
    tags=_ME,
    responses=documented(403, 404),
)
async def get_mine(driver: Driver, pool: Pool, reservation_id: Identifier) -> ReservationOut:
    """One reservation of the driver's."""
    async with pool.connection() as connection:
        found = await _get(connection, reservation_id, driver.person_id)
    return ReservationOut.model_validate(found)


@router.delete(
    "/me/reservations/{reservation_id}",
    summary="Cancel a reservation",
    tags=_ME,
    responses=documented(403, 404, 409),
)
async def cancel_mine(
    request: Request, pool: Pool, driver: Driver, reservation_id: Identifier
) -> ReservationOut:
    """Cancel a reservation that is not over (`reservation_over`); the station is told."""
    async with transaction(pool) as connection:
        found = await booking.cancel(
            connection,
            request.app.state.settings,
            min(reservation_id, _ID_MAX),
            datetime.now(UTC),
            by=driver.name,
            person_id=driver.person_id,
        )
    return ReservationOut.model_validate(found)


@router.get("/reservations", summary="List reservations", tags=_ALL, responses=documented(403))
async def list_reservations(
    reader: Reader,
    station_id: Annotated[Name | None, Query(description="Only at this station.")] = None,
    site_id: Annotated[Name | None, Query(description="Only at this site.")] = None,
    person_id: Annotated[Identifier | None, Query(description="Only of this driver.")] = None,
    state: StateText = None,
    from_at: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[ReservationRecordOut]:
    """Reservations, the newest first: all to an operator, those at her clients' points to a
    manager."""
    which = ReservationFilter(
        person_id=person_id,
        station_id=station_id,
        site_id=site_id,
        state=state,
        from_at=from_at,
        to_at=to,
    )
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_reservations(
            connection, which, limit=count, cursor=after
        ),
        total=lambda connection: store.count_reservations(connection, which),
        key=lambda row: (row.id,),
    )
    return shaped(page, ReservationRecordOut)


@router.post(
    "/reservations",
    summary="Reserve for a driver",
    status_code=201,
    tags=_ALL,
    responses=documented(403, 409),
)
async def reserve_for(
    request: Request, pool: Pool, operator: Operator, body: OperatorReservationIn
) -> ReservationRecordOut:
    """Keep a point, or all of its station, for a driver; her groups' limits do not count, her
    access does."""
    made = await _make(
        request,
        pool,
        body.person_id,
        body,
        by=operator.actor,
        limited=False,
        whole_station=body.whole_station,
    )
    async with pool.connection() as connection:
        return ReservationRecordOut.model_validate(await _get(connection, made, None))


@router.delete(
    "/reservations/{reservation_id}",
    summary="Cancel a driver's reservation",
    tags=_ALL,
    responses=documented(403, 404, 409),
)
async def cancel_any(
    request: Request, pool: Pool, operator: Operator, reservation_id: Identifier
) -> ReservationRecordOut:
    """Cancel a reservation that is not over; the station is told."""
    async with transaction(pool) as connection:
        found = await booking.cancel(
            connection,
            request.app.state.settings,
            min(reservation_id, _ID_MAX),
            datetime.now(UTC),
            by=operator.actor,
        )
    return ReservationRecordOut.model_validate(found)


async def _make(
    request: Request,
    pool: AsyncConnectionPool,
    person_id: int,
    body: ReservationIn,
    *,
    by: str,
    limited: bool,
    whole_station: bool = False,
) -> int:
    """Make a reservation; if it begins now, wait for the station's answer."""
    settings: Settings = request.app.state.settings
    now = datetime.now(UTC)
    async with transaction(pool) as connection:
        made = await booking.make(
            connection,
            settings,
            person_id,
            body.point_id.upper(),
            body.from_at or now,
            body.to_at,
            now,
            by=by,
            whole_station=whole_station,
            limited=limited,
        )
    if await _advance(pool, settings, made):
        async with pool.connection() as connection:
            found = await store.get_reservation(connection, made)
        if found is not None and found.state == "placed" and found.command_id is not None:
            await commands.wait_for(
                request.app.state.watch,
                found.command_id,
                lambda: _fetch_command(pool, found.command_id or 0),
                settings.start_answer_timeout_s,
            )
            await _advance(pool, settings, made)
    return made


async def _advance(pool: AsyncConnectionPool, settings: Settings, reservation_id: int) -> int:
    async with pool.connection() as connection:
        return await booking.advance(
            connection, settings, datetime.now(UTC), reservation_id=reservation_id
        )


async def _fetch_command(pool: AsyncConnectionPool, command_id: int) -> orders_store.Command | None:
    async with pool.connection() as connection:
        return await orders_store.get_command(connection, command_id)


async def _get(
    connection: AsyncConnection, reservation_id: int, person_id: int | None
) -> Reservation:
    """Raises: NotThere."""
    found = None
    if reservation_id <= _ID_MAX:
        found = await store.get_reservation(connection, reservation_id)
    if found is None or (person_id is not None and found.person_id != person_id):
        raise NotThere(f"There is no reservation {reservation_id}.")
    return found
