"""Operations on groups of drivers: members, and where and when they may charge."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from psycopg import AsyncConnection

from csms import driver_groups
from csms.db import transaction
from csms.drivers import checked_email
from csms.registry import NotThere, Refusal
from csms.store import drivers
from csms.store import groups as store
from csms.web.driver_models import (
    AccessIn,
    AccessOut,
    AskedOut,
    GroupChange,
    GroupIn,
    GroupOut,
    MemberIn,
    MemberOut,
)
from csms.web.fields import CursorText, Identifier, Limit, Moment, PageOf
from csms.web.guard import Pool, Reader
from csms.web.keeping import Keeper, Keeping, asked
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(prefix="/groups", tags=["Drivers"])

GroupId = Annotated[Identifier, Path(description="The group's number.")]


async def _one(connection: AsyncConnection, group_id: int) -> GroupOut:
    """Raises: NotThere where it is not for the reader to see."""
    found = await store.get_group(connection, group_id, datetime.now(UTC))
    if found is None:
        raise NotThere(f"There is no group {group_id}.")
    return GroupOut.model_validate(found)


async def _shown(keeper: Keeping, group_id: int) -> GroupOut:
    async with keeper.reading() as connection:
        return await _one(connection, group_id)


@router.get("", summary="List groups", responses=documented(403))
async def list_groups(
    reader: Reader,
    client_id: Annotated[Identifier | None, Query(description="Only this client's.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[GroupOut]:
    """Groups by number; to a manager those of her clients."""
    now = datetime.now(UTC)
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_groups(
            connection, now, client_id=client_id, limit=count, cursor=after
        ),
        total=lambda connection: store.count_groups(connection, client_id=client_id),
        key=lambda row: (row.id,),
    )
    return shaped(page, GroupOut)


@router.post("", summary="Create a group", status_code=201, responses=documented(403, 404, 409))
async def create_group(pool: Pool, keeper: Keeper, body: GroupIn) -> GroupOut:
    """Create a group of a client. 409 when the client has one of this name."""
    keeper.check_client(body.client_id)
    async with transaction(pool) as connection:
        group_id = await driver_groups.create(
            connection, body.client_id, body.named(), keeper.actor, keeper.now
        )
    return await _shown(keeper, group_id)


@router.get("/{group_id}", summary="A group", responses=documented(403, 404))
async def get_group(reader: Reader, group_id: GroupId) -> GroupOut:
    """One group."""
    async with reader.connection() as connection:
        return await _one(connection, group_id)


@router.patch("/{group_id}", summary="Change a group", responses=documented(403, 404, 409))
async def change_group(
    pool: Pool, keeper: Keeper, group_id: GroupId, body: GroupChange
) -> GroupOut:
    """Change the members that are named, no others."""
    async with transaction(pool) as connection:
        await keeper.check_group(connection, group_id)
        await driver_groups.change(connection, group_id, body.named(), keeper.actor, keeper.now)
    return await _shown(keeper, group_id)


@router.delete(
    "/{group_id}", summary="Retire a group", status_code=204, responses=documented(403, 404)
)
async def retire_group(pool: Pool, keeper: Keeper, group_id: GroupId) -> None:
    """The group gives nobody access any more."""
    async with transaction(pool) as connection:
        await keeper.check_group(connection, group_id)
        await driver_groups.retire(connection, group_id, keeper.actor, keeper.now)


# --- Members ------------------------------------------------------------------------------------


@router.get("/{group_id}/members", summary="Members of a group", responses=documented(403, 404))
async def list_members(
    reader: Reader, group_id: GroupId, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[MemberOut]:
    """Members of now and later, by number."""
    now = datetime.now(UTC)
    async with reader.connection() as connection:
        await _one(connection, group_id)
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int, datetime),
        rows=lambda connection, count, after: store.list_members(
            connection, group_id, now, limit=count, cursor=after
        ),
        total=lambda connection: store.count_members(connection, group_id, now),
        key=lambda row: (row.person_id, row.from_at),
    )
    return shaped(page, MemberOut)


@router.post(
    "/{group_id}/members",
    summary="Add a member",
    status_code=201,
    response_model=MemberOut,
    responses=documented(403, 404, 409) | {202: {"model": AskedOut}},
)
async def add_member(
    request: Request, pool: Pool, keeper: Keeper, group_id: GroupId, body: MemberIn
) -> MemberOut | Response:
    """A driver belongs to the group, from now on unless told. A manager adds drivers that are hers
    already; of any other address 202: whoever has it is asked, and belongs to it once she agrees.
    409 when she is in it then."""
    async with transaction(pool) as connection:
        await keeper.check_group(connection, group_id)
        if body.email is not None and body.person_id is None:
            settings, named = request.app.state.settings, {"email": body.email}
            if await keeper.ask(
                connection, settings, group_id, named, from_at=body.from_at, to_at=body.to_at
            ):
                return asked(body.email, group_id)
        person_id = await _person(connection, keeper, body)
        await driver_groups.add_member(
            connection,
            group_id,
            person_id,
            keeper.actor,
            keeper.now,
            from_at=body.from_at,
            to_at=body.to_at,
        )
        known = await drivers.find_person(connection, person_id=person_id)
        assert known is not None
    return MemberOut(
        person_id=person_id,
        given_name=known.given_name,
        family_name=known.family_name,
        email=known.email,
        from_at=body.from_at or keeper.now,
        to_at=body.to_at,
    )


async def _person(connection: AsyncConnection, keeper: Keeping, body: MemberIn) -> int:
    """Raises: NotThere; Refusal."""
    if (body.person_id is None) == (body.email is None):
        raise Refusal("Name the driver, by number or by e-mail address.", "person_id")
    if body.person_id is not None:
        await keeper.check_driver(connection, body.person_id)
        return body.person_id
    assert body.email is not None
    known = await drivers.find_person(connection, email=checked_email(body.email))
    if known is None or not known.is_driver or known.is_closed:
        raise NotThere("There is no driver of this address: create her.")
    return known.id


@router.delete(
    "/{group_id}/members/{person_id}",
    summary="Remove a member",
    status_code=204,
    responses=documented(403, 404),
)
async def end_member(
    pool: Pool,
    keeper: Keeper,
    group_id: GroupId,
    person_id: Identifier,
    at: Annotated[Moment | None, Query(description="Later, instead of now.")] = None,
) -> None:
    """The driver leaves the group: now, or at a later moment. What she charged stays hers."""
    async with transaction(pool) as connection:
        await keeper.check_group(connection, group_id)
        await driver_groups.end_member(
            connection, group_id, person_id, keeper.actor, keeper.now, to_at=at
        )


# --- Access -------------------------------------------------------------------------------------


@router.get("/{group_id}/access", summary="Access of a group", responses=documented(403, 404))
async def list_access(
    reader: Reader, group_id: GroupId, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[AccessOut]:
    """Where and when members may charge, by number."""
    async with reader.connection() as connection:
        await _one(connection, group_id)
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_access(
            connection, group_id, limit=count, cursor=after
        ),
        total=lambda connection: store.count_access(connection, group_id),
        key=lambda row: (row.id,),
    )
    return shaped(page, AccessOut)


@router.post(
    "/{group_id}/access", summary="Give access", status_code=201, responses=documented(403, 404)
)
async def add_access(pool: Pool, keeper: Keeper, group_id: GroupId, body: AccessIn) -> AccessOut:
    """Members may charge at a site of the group's client: every day or on some weekdays, all day or
    from one time to another by the site's own clock, over midnight too. Several windows add up."""
    async with transaction(pool) as connection:
        await keeper.check_group(connection, group_id)
        made = await driver_groups.add_access(
            connection,
            group_id,
            body.site_id,
            keeper.actor,
            keeper.now,
            weekdays=body.weekdays,
            begin=body.begin,
            end=body.end,
        )
    return AccessOut.model_validate(made)


@router.delete(
    "/{group_id}/access/{access_id}",
    summary="Take access away",
    status_code=204,
    responses=documented(403, 404),
)
async def end_access(pool: Pool, keeper: Keeper, group_id: GroupId, access_id: Identifier) -> None:
    """The window is taken away; the next time a badge is shown counts."""
    async with transaction(pool) as connection:
        await keeper.check_group(connection, group_id)
        await driver_groups.end_access(connection, group_id, access_id, keeper.actor, keeper.now)
