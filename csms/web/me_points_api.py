"""What a driver finds: points around her, and how they stand."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from psycopg_pool import AsyncConnectionPool

from billing import point_prices
from csms import notices, points
from csms.config import Settings
from csms.db import transaction
from csms.domain.services import Option, Service
from csms.points import ClosedOf, Point
from csms.store import choices
from csms.store import points as store
from csms.store.paging import decode, page_of
from csms.store.points import Place
from csms.web.fields import CursorText, Limit, Name, PageOf
from csms.web.guard import Driver, Own, Pool
from csms.web.me_models import (
    AccessOut,
    AddressOut,
    ConnectorAtPoint,
    PointCode,
    PointOut,
    ServiceOut,
    WatchOut,
    text_of,
)
from csms.web.problems import Problem, documented

router = APIRouter(tags=["Drivers: me"])

PointPath = Annotated[PointCode, Path(description="The code on the point's sticker.")]


@router.get("/me/points", summary="Points near a place", responses=documented(403))
async def list_my_points(
    request: Request,
    pool: Pool,
    driver: Driver,
    own: Own,
    lat: Annotated[float | None, Query(ge=-90, le=90, description="Degrees.")] = None,
    lon: Annotated[float | None, Query(ge=-180, le=180, description="Degrees.")] = None,
    radius_m: Annotated[int, Query(ge=1, description="As the crow flies.")] = 5_000,
    site_id: Annotated[Name | None, Query(description="Only at this site.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[PointOut]:
    """Points where the driver may charge, by a group of hers or as anybody may, the nearest first:
    around a place, or at a site; with neither, at the sites of her groups."""
    settings: Settings = request.app.state.settings
    if (lat is None) != (lon is None):
        raise Problem(422, "A place takes both lat and lon.", "lon" if lon is None else "lat")
    if radius_m > settings.points_radius_m_max:
        raise Problem(422, f"At most {settings.points_radius_m_max} m.", "radius_m")
    place = Place(site_id, lat, lon, float(radius_m))
    now = datetime.now(UTC)
    after = decode(cursor, (float, str))
    assert driver.person_id is not None
    async with own.connection() as connection:
        found = await store.list_my_points(connection, place, limit=limit + 1, cursor=after)
        if after is not None:
            total = after.total
        elif len(found) <= limit:
            total = len(found)
        else:
            total = await store.count_my_points(connection, place)
        page = page_of(found, limit, total, lambda row: (row.distance_m, row.code))
        items = await points.get_points(
            connection, _asking(pool), driver.person_id, page.items, now, distances=lat is not None
        )
    return PageOf[PointOut](
        items=[point_out(item, request, driver.language, now) for item in items],
        next=page.next,
        total=page.total,
    )


@router.get("/me/points/{point_id}", summary="A point", responses=documented(403))
async def get_my_point(
    request: Request, pool: Pool, driver: Driver, own: Own, point_id: PointPath
) -> PointOut:
    """One point, if the driver may ever use it, with what it costs her to begin there now;
    `not_allowed_here` says that she may not, or that it is not there."""
    now = datetime.now(UTC)
    assert driver.person_id is not None
    async with own.connection() as connection:
        found = await points.get_point(
            connection, _asking(pool), driver.person_id, point_id.upper(), now
        )
    async with pool.connection() as connection:
        prices = await point_prices.sentences(
            connection, found.row, driver.person_id, now, driver.language
        )
    return point_out(found, request, driver.language, now, prices)


@router.post(
    "/me/points/{point_id}/watch",
    summary="Tell me when it is free",
    status_code=201,
    responses=documented(403),
)
async def watch_point(pool: Pool, driver: Driver, point_id: PointPath) -> WatchOut:
    """Tell the driver, once, when this point is free. The same wish again lasts longer."""
    now = datetime.now(UTC)
    assert driver.person_id is not None
    async with transaction(pool) as connection:
        await store.act_for(connection, driver.person_id)
        found = await points.get_point(
            connection, points.closed_of(connection), driver.person_id, point_id.upper(), now
        )
        points.check_place(found, Option.DRIVER_APP)
        row = found.row
        await notices.watch(
            connection, driver.person_id, now, station_id=row.station_id, evse_id=row.evse_id
        )
        watches = await choices.list_watches(connection, driver.person_id, now)
    (watch,) = [w for w in watches if (w.station_id, w.evse_id) == (row.station_id, row.evse_id)]
    return WatchOut(point_id=row.code, expires_at=watch.expires_at)


@router.delete(
    "/me/points/{point_id}/watch",
    summary="Tell me no more",
    status_code=204,
    responses=documented(403),
)
async def unwatch_point(pool: Pool, driver: Driver, point_id: PointPath) -> None:
    """End the driver's watch of this point; nothing happens where there is none."""
    now = datetime.now(UTC)
    assert driver.person_id is not None
    async with transaction(pool) as connection:
        address = await store.get_address(connection, point_id.upper())
        for watch in await choices.list_watches(connection, driver.person_id, now):
            place = (watch.station_id, watch.evse_id)
            if address is not None and place == (address.station_id, address.evse_id):
                await choices.cancel_watch(connection, driver.person_id, watch.id, now)


def point_out(
    point: Point,
    request: Request,
    language: str,
    now: datetime,
    prices: list[str] | None = None,
) -> PointOut:
    """A point in its shape on the wire."""
    row, standing = point.row, point.standing
    connectors = [ConnectorAtPoint(**connector) for connector in row.connectors or ()]
    powers = [row.power_w_max, *(c.power_w_max for c in connectors)]
    others = [hold.from_at for hold in point.holds if hold.id is None and hold.from_at > now]
    return PointOut(
        point_id=row.code,
        label=point.label,
        site_id=row.site_id,
        site_name=row.site_name,
        evse_uid=row.evse_uid,
        url=address_of(request, row.code),
        distance_m=None if point.distance_m is None else round(point.distance_m),
        latitude=row.latitude,
        longitude=row.longitude,
        address=AddressOut(
            street=text_of(row.site_static, "address"),
            postal_code=text_of(row.site_static, "postal_code"),
            city=text_of(row.site_static, "city"),
        ),
        public=row.public,
        power_w_max=next((w for w in powers if w is not None), None),
        connectors=connectors,
        state=standing.state.value,
        mine=standing.mine,
        since=standing.since,
        until=standing.until,
        session_id=row.my_session_id,
        reservation_id=standing.reservation_id,
        reserved_next_at=min(others, default=None),
        access=AccessOut.model_validate(point.access, from_attributes=True),
        driver_app=_service(point.closed.get(Option.DRIVER_APP), language),
        reservations=_service(point.closed.get(Option.RESERVATIONS), language),
        prices=prices,
    )


def address_of(request: Request, code: str) -> str:
    """The public address of a point."""
    settings: Settings = request.app.state.settings
    return f"{settings.base_url}/p/{code}"


def _service(closed: Service | None, language: str) -> ServiceOut:
    if closed is None:
        return ServiceOut(open=True)
    why = points.why_closed(closed)
    return ServiceOut(open=False, code=why.value, detail=closed.text(language))


def _asking(pool: AsyncConnectionPool) -> ClosedOf:
    """Contracts are not a driver's to read: what they open is asked for on a connection of ours."""

    async def ask(client_ids: Sequence[int], now: datetime) -> Mapping[tuple[int, Option], Service]:
        async with pool.connection() as connection:
            return await points.closed_of(connection)(client_ids, now)

    return ask
