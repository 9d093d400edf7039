"""A driver's own badges."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path

from csms import driver_badges
from csms.clients import Actor
from csms.db import transaction
from csms.store import driver_badges as store
from csms.web.driver_models import HeldBadgeOut, OrderOut, OwnBadgeChange
from csms.web.fields import CursorText, Limit, Name, PageOf
from csms.web.guard import Driver, Own, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(prefix="/me", tags=["My badges"])

Uid = Annotated[Name, Path(description="The badge's number, compared without case.")]


@router.get("/badges", summary="My badges", responses=documented(403))
async def list_my_badges(
    own: Own, driver: Driver, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[HeldBadgeOut]:
    """Badges that are, or were, mine, the newest first."""
    person_id = driver.person_id
    assert person_id is not None
    page = await read_rows(
        own,
        limit,
        cursor,
        (datetime, str),
        rows=lambda connection, count, after: store.list_held(
            connection, person_id, limit=count, cursor=after
        ),
        total=lambda connection: store.count_held(connection, person_id),
        key=lambda row: (row.from_at, row.uid),
    )
    return shaped(page, HeldBadgeOut)


@router.patch(
    "/badges/{uid:path}",
    summary="Report my badge as lost, or name it",
    responses=documented(403, 404),
)
async def change_my_badge(
    pool: Pool, own: Own, driver: Driver, uid: Uid, body: OwnBadgeChange
) -> HeldBadgeOut:
    """Name a badge of mine, or have it blocked: it is refused from this moment on."""
    person_id = driver.person_id
    assert person_id is not None
    now = datetime.now(UTC)
    async with transaction(pool) as connection:
        if body.label is not None:
            await driver_badges.rename(connection, person_id, uid, body.label, now)
        if body.status == "blocked":
            actor = Actor(driver.actor, driver.person_id)
            await driver_badges.block(connection, person_id, uid, body.why, actor, now)
        await driver_badges.held(connection, person_id, uid, now)
    async with own.connection() as connection:
        return HeldBadgeOut.model_validate(await store.get_held(connection, person_id, uid))


@router.get("/badge-orders", summary="Badges that I ordered", responses=documented(403))
async def list_my_orders(
    own: Own, driver: Driver, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[OrderOut]:
    """Badges that are to be sent to me, or were; by number."""
    person_id = driver.person_id
    page = await read_rows(
        own,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_orders(
            connection, person_id=person_id, limit=count, cursor=after
        ),
        total=lambda connection: store.count_orders(
            connection, person_id=person_id, open_only=False
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, OrderOut)


@router.post(
    "/badge-orders", summary="Order a badge for me", status_code=201, responses=documented(403)
)
async def order_my_badge(pool: Pool, driver: Driver) -> OrderOut:
    """A badge is to be sent to me."""
    assert driver.person_id is not None
    actor = Actor(driver.actor, driver.person_id)
    async with transaction(pool) as connection:
        made = await driver_badges.order(connection, driver.person_id, actor, datetime.now(UTC))
    return OrderOut.model_validate(made)
