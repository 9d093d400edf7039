"""Groups to which one is asked to belong: agree, or not."""

from datetime import UTC, datetime

from fastapi import APIRouter

from csms import group_requests
from csms.clients import Actor
from csms.db import transaction
from csms.web.driver_models import GroupRequestOut
from csms.web.fields import Identifier, PageOf
from csms.web.guard import Person, Pool
from csms.web.me_api import ids
from csms.web.problems import documented

router = APIRouter(prefix="/me/memberships", tags=["My account"])


@router.get("", summary="Groups that I am asked to join", responses=documented(403))
async def list_my_requests(pool: Pool, me: Person) -> PageOf[GroupRequestOut]:
    """What waits for an answer; all on one page."""
    async with pool.connection() as connection:
        found = await group_requests.list_open(connection, ids(me)[0], datetime.now(UTC))
    items = [GroupRequestOut.model_validate(one) for one in found]
    return PageOf[GroupRequestOut](items=items, next=None, total=len(items))


@router.post(
    "/{group_id}/accept", summary="Join a group", status_code=204, responses=documented(403, 404)
)
async def accept_request(pool: Pool, me: Person, group_id: Identifier) -> None:
    """Belong to the group: its managers see my name, address and badges from now on."""
    async with transaction(pool) as connection:
        await group_requests.accept(
            connection, group_id, ids(me)[0], Actor(me.actor, me.person_id), datetime.now(UTC)
        )


@router.post(
    "/{group_id}/refuse",
    summary="Do not join a group",
    status_code=204,
    responses=documented(403, 404),
)
async def refuse_request(pool: Pool, me: Person, group_id: Identifier) -> None:
    """Nobody is told, and nothing changes."""
    async with transaction(pool) as connection:
        await group_requests.refuse(
            connection, group_id, ids(me)[0], Actor(me.actor, me.person_id), datetime.now(UTC)
        )
