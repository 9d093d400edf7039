"""Operations on people, for administrators."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from psycopg import AsyncConnection

from csms import accounts, closing
from csms.db import transaction
from csms.principals import Principal
from csms.registry import Refusal
from csms.store import people
from csms.web.account_models import (
    ManagingIn,
    ManagingOut,
    PersonIn,
    PersonOut,
    ProfileChange,
    RoleName,
    RolesIn,
)
from csms.web.auditing import by, concerns
from csms.web.fields import CursorText, Identifier, Limit, Name, PageOf
from csms.web.guard import Admin, LogInMeans, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(prefix="/people", tags=["People and keys"])

PersonId = Annotated[Identifier, Path(description="A person's id.")]


@router.get("", summary="List people", responses=documented(403))
async def list_people(
    pool: Pool,
    _: Admin,
    q: Annotated[Name | None, Query(description="Part of a name or address.")] = None,
    role: Annotated[RoleName | None, Query(description="Only operators with it.")] = None,
    client_id: Annotated[
        Identifier | None, Query(description="Only those who manage this client now.")
    ] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[PersonOut]:
    """People by id."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: people.list_people(
            connection, search=q, role=role, client_id=client_id, limit=count, cursor=after
        ),
        total=lambda connection: people.count_people(
            connection, search=q, role=role, client_id=client_id
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, PersonOut)


@router.post("", summary="Create a person", status_code=201, responses=documented(403, 409))
async def create_person(
    means: LogInMeans, admin: Admin, request: Request, response: Response, body: PersonIn
) -> PersonOut:
    """Create a person and mail her an invitation. 409 when the address is somebody's."""
    now = datetime.now(UTC)
    async with transaction(means.pool) as connection:
        person_id = await accounts.create_person(
            connection,
            email=body.email,
            given_name=body.given_name,
            family_name=body.family_name,
            phone=body.phone,
            language=body.language,
            roles=body.operator_roles,
            actor=admin.actor,
            now=now,
        )
        if body.invite and body.email is not None:
            await accounts.invite(connection, means.settings, person_id, actor=admin.actor, now=now)
        shown = await _shown(connection, person_id)
    concerns(request, None, f"person_id={person_id}")
    response.headers["Location"] = f"/api/v1/people/{person_id}"
    return shown


@router.get("/{person_id}", summary="A person", responses=documented(403, 404))
async def get_person(pool: Pool, _: Admin, person_id: PersonId) -> PersonOut:
    """One person."""
    async with pool.connection() as connection:
        return await _shown(connection, person_id)


@router.patch("/{person_id}", summary="Change a person", responses=documented(403, 404))
async def change_person(
    pool: Pool, admin: Admin, person_id: PersonId, body: ProfileChange
) -> PersonOut:
    """Change names, phone and language, as far as they are named."""
    async with transaction(pool) as connection:
        await accounts.change_profile(
            connection, person_id, body.named(), actor=admin.actor, now=datetime.now(UTC)
        )
        return await _shown(connection, person_id)


@router.post(
    "/{person_id}/invitation",
    summary="Invite a person",
    status_code=202,
    responses=documented(403, 404, 409),
)
async def invite(means: LogInMeans, admin: Admin, person_id: PersonId) -> None:
    """Mail a link to choose a password; a former one works no more. 409 when she has one."""
    async with transaction(means.pool) as connection:
        await accounts.invite(
            connection, means.settings, person_id, actor=admin.actor, now=datetime.now(UTC)
        )


@router.put("/{person_id}/roles", summary="Set roles", responses=documented(403, 404))
async def set_roles(pool: Pool, admin: Admin, person_id: PersonId, body: RolesIn) -> PersonOut:
    """Give a person these roles of an operator, no others. They count with a second factor."""
    _not_herself(admin, person_id)
    async with transaction(pool) as connection:
        await accounts.set_roles(
            connection, person_id, body.roles, actor=admin.actor, now=datetime.now(UTC)
        )
        return await _shown(connection, person_id)


@router.get(
    "/{person_id}/clients", summary="Clients that a person manages", responses=documented(403, 404)
)
async def list_managing(pool: Pool, _: Admin, person_id: PersonId) -> PageOf[ManagingOut]:
    """What a person manages, managed, or will manage, newest first."""
    async with pool.connection() as connection:
        await accounts.get_person(connection, person_id)
        found = await people.list_managing(connection, person_id)
    items = [ManagingOut.model_validate(row) for row in found]
    return PageOf[ManagingOut](items=items, next=None, total=len(items))


@router.post(
    "/{person_id}/clients",
    summary="Let a person manage a client",
    status_code=201,
    responses=documented(403, 404, 409),
)
async def add_managing(
    pool: Pool, admin: Admin, request: Request, person_id: PersonId, body: ManagingIn
) -> PersonOut:
    """Let a person see what is a client's, from now on or for a time."""
    async with transaction(pool) as connection:
        await accounts.add_manager(
            connection,
            person_id,
            body.client_id,
            from_at=body.from_at,
            to_at=body.to_at,
            actor=admin.actor,
            now=datetime.now(UTC),
        )
        shown = await _shown(connection, person_id)
    concerns(request, body.client_id)
    return shown


@router.delete(
    "/{person_id}/clients/{client_id}",
    summary="Let a person manage a client no more",
    status_code=204,
    responses=documented(403, 404),
)
async def end_managing(
    pool: Pool,
    admin: Admin,
    request: Request,
    person_id: PersonId,
    client_id: Annotated[Identifier, Path(description="A client's id.")],
) -> None:
    """A person sees what is the client's no more, from now on."""
    async with transaction(pool) as connection:
        await accounts.end_manager(
            connection, person_id, client_id, actor=admin.actor, now=datetime.now(UTC)
        )
    concerns(request, client_id)


@router.post("/{person_id}/block", summary="Block a person", responses=documented(403, 404))
async def block(pool: Pool, admin: Admin, person_id: PersonId) -> PersonOut:
    """Let a person in no more; her log-ins end at once."""
    _not_herself(admin, person_id)
    async with transaction(pool) as connection:
        await accounts.block(connection, person_id, actor=admin.actor, now=datetime.now(UTC))
        return await _shown(connection, person_id)


@router.post(
    "/{person_id}/unblock", summary="Let a person in again", responses=documented(403, 404)
)
async def unblock(pool: Pool, admin: Admin, person_id: PersonId) -> PersonOut:
    """Let a blocked person in again."""
    async with transaction(pool) as connection:
        await accounts.unblock(connection, person_id, actor=admin.actor, now=datetime.now(UTC))
        return await _shown(connection, person_id)


@router.post("/{person_id}/close", summary="Close an account", responses=documented(403, 404))
async def close(request: Request, pool: Pool, admin: Admin, person_id: PersonId) -> PersonOut:
    """End an account for good, with all that belongs to it; the person is told."""
    _not_herself(admin, person_id)
    async with transaction(pool) as connection:
        await closing.close_account(
            connection,
            request.app.state.settings,
            person_id,
            now=datetime.now(UTC),
            by=by(request, admin),
        )
        return await _shown(connection, person_id)


@router.post(
    "/{person_id}/second-factor/reset",
    summary="Reset a second factor",
    responses=documented(403, 404),
)
async def reset_second_factor(pool: Pool, admin: Admin, person_id: PersonId) -> PersonOut:
    """Take a lost second factor away; her log-ins end, her roles wait for another one."""
    _not_herself(admin, person_id)
    async with transaction(pool) as connection:
        await accounts.reset_second_factor(
            connection, person_id, actor=admin.actor, now=datetime.now(UTC)
        )
        return await _shown(connection, person_id)


def _not_herself(admin: Principal, person_id: int) -> None:
    """Nobody shuts herself out, or gives herself a role. Raises: Refusal."""
    if admin.person_id == person_id:
        raise Refusal("Another administrator has to do this for you.")


async def _shown(connection: AsyncConnection, person_id: int) -> PersonOut:
    return PersonOut.model_validate(await accounts.get_person(connection, person_id))
