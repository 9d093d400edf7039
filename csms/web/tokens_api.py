"""Operations on badges."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from psycopg import AsyncConnection

from csms import registry
from csms.db import transaction
from csms.registry import NotThere, Refusal
from csms.store import tokens as store
from csms.web.fields import CursorText, Limit, Name, PageOf, TokenStatus
from csms.web.guard import Operator, Pool
from csms.web.listing import read_rows, shaped
from csms.web.models import (
    TokenChange,
    TokenIn,
    TokenOut,
    TokenReplacement,
    UnknownTokenOut,
)
from csms.web.problems import documented

router = APIRouter(tags=["Badges"])

Uid = Annotated[Name, Path(description="The badge's number, compared without case.")]


@router.get("/tokens", summary="List badges", responses=documented())
async def list_tokens(
    pool: Pool,
    _: Operator,
    status: Annotated[TokenStatus | None, Query(description="Only those.")] = None,
    group_uid: Annotated[Name | None, Query(description="Only this group's.")] = None,
    site_id: Annotated[Name | None, Query(description="Only those valid at this site.")] = None,
    q: Annotated[Name | None, Query(description="Part of the number.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[TokenOut]:
    """Badges by number."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (str,),
        rows=lambda connection, count, after: store.list_tokens(
            connection,
            status=status,
            group_uid=group_uid,
            site_id=site_id,
            search=q,
            limit=count,
            cursor=after,
        ),
        total=lambda connection: store.count_tokens(
            connection, status=status, group_uid=group_uid, site_id=site_id, search=q
        ),
        key=lambda row: (row.uid,),
    )
    return shaped(page, TokenOut)


@router.post("/tokens", summary="Create a badge", status_code=201, responses=documented(409))
async def create_token(pool: Pool, _: Operator, body: TokenIn) -> TokenOut:
    """Create a badge. 409 when it exists, in whatever case it is written."""
    async with transaction(pool) as connection:
        await registry.create_token(connection, body.uid, body.named())
        return await _shown(connection, body.uid)


@router.get("/tokens/{uid:path}", summary="A badge", responses=documented(404))
async def get_token(pool: Pool, _: Operator, uid: Uid) -> TokenOut:
    """One badge."""
    async with pool.connection() as connection:
        return await _shown(connection, uid)


@router.put(
    "/tokens/{uid:path}",
    summary="Create or replace a badge",
    responses={201: {"model": TokenOut, "description": "Created"}, **documented(404)},
)
async def put_token(
    pool: Pool, _: Operator, response: Response, uid: Uid, body: TokenReplacement
) -> TokenOut:
    """Create or replace a badge; a retired one comes back. What is absent takes its default."""
    if body.uid is not None and body.uid.lower() != uid.lower():
        raise Refusal("The uid in the body is not the one in the address.", "uid")
    async with transaction(pool) as connection:
        created = await registry.create_token(
            connection, body.uid or uid, body.named(), replacing=True
        )
        shown = await _shown(connection, uid)
    response.status_code = 201 if created else 200
    return shown


@router.patch("/tokens/{uid:path}", summary="Change a badge", responses=documented(404))
async def change_token(pool: Pool, _: Operator, uid: Uid, body: TokenChange) -> TokenOut:
    """Change the members that are named, no others; the next time it is shown counts."""
    async with transaction(pool) as connection:
        await registry.change_token(connection, uid, body.named())
        return await _shown(connection, uid)


@router.delete(
    "/tokens/{uid:path}", summary="Retire a badge", status_code=204, responses=documented(404)
)
async def retire_token(pool: Pool, _: Operator, uid: Uid) -> None:
    """Retire a badge: unknown from now on. Its sessions stay; PUT revives it."""
    async with transaction(pool) as connection:
        await registry.retire_token(connection, uid, datetime.now(UTC))


@router.get("/unknown-tokens", summary="Badges nobody entered", responses=documented())
async def list_unknown_tokens(
    pool: Pool, _: Operator, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[UnknownTokenOut]:
    """Badges shown at stations that nobody has entered, last seen first."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (datetime, str),
        rows=lambda connection, count, after: store.list_unknown_tokens(
            connection, limit=count, cursor=after
        ),
        total=store.count_unknown_tokens,
        key=lambda row: (row.last_seen_at, row.uid),
    )
    return shaped(page, UnknownTokenOut)


async def _shown(connection: AsyncConnection, uid: str) -> TokenOut:
    """Raises: NotThere."""
    token = await store.get_token(connection, uid)
    if token is None:
        raise NotThere(f"There is no badge {uid}.")
    return TokenOut.model_validate(token)
