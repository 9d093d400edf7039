"""Operations on the sites of clients."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from psycopg import AsyncConnection

from csms import site_registry
from csms.db import transaction
from csms.registry import NotThere
from csms.store import sites as store
from csms.store import static_changes
from csms.web.fields import CursorText, Identifier, Limit, Name, PageOf
from csms.web.guard import Operator, Pool, Reader
from csms.web.listing import read_rows, shaped
from csms.web.models import (
    SiteChange,
    SiteIn,
    SiteOut,
    StaticChangeOut,
)
from csms.web.problems import documented

router = APIRouter(tags=["Clients and sites"])

SiteId = Annotated[Name, Path(description="The site's id.")]


@router.get("/sites", summary="List sites", responses=documented())
async def list_sites(
    reader: Reader,
    client_id: Annotated[Identifier | None, Query(description="Only this client's.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[SiteOut]:
    """Sites by id; a manager's are those of her clients."""
    page = await read_rows(
        reader,
        limit,
        cursor,
        (str,),
        rows=lambda connection, count, after: store.list_sites(
            connection, client_id=client_id, limit=count, cursor=after
        ),
        total=lambda connection: store.count_sites(connection, client_id=client_id),
        key=lambda row: (row.id,),
    )
    return shaped(page, SiteOut)


@router.post("/sites", summary="Create a site", status_code=201, responses=documented(409))
async def create_site(pool: Pool, operator: Operator, body: SiteIn) -> SiteOut:
    """Create a site; without a client it is the operator's own. 409 when it exists."""
    async with transaction(pool) as connection:
        await site_registry.create_site(connection, body.id, body.named(), actor=operator.actor)
        return await _shown(connection, body.id)


@router.get("/sites/{site_id:path}/history", summary="History of a site", responses=documented(404))
async def list_site_history(
    reader: Reader, site_id: SiteId, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[StaticChangeOut]:
    """Who changed what of the site, its stations and their points, newest first."""
    async with reader.connection() as connection:
        await _shown(connection, site_id)
    page = await read_rows(
        reader,
        limit,
        cursor,
        (datetime, int),
        rows=lambda connection, count, after: static_changes.list_changes(
            connection, site_id=site_id, limit=count, cursor=after
        ),
        total=lambda connection: static_changes.count_changes(connection, site_id=site_id),
        key=lambda row: (row.at, row.id),
    )
    return shaped(page, StaticChangeOut)


@router.get("/sites/{site_id:path}", summary="A site", responses=documented(404))
async def get_site(reader: Reader, site_id: SiteId) -> SiteOut:
    """One site."""
    async with reader.connection() as connection:
        return await _shown(connection, site_id)


@router.put(
    "/sites/{site_id:path}",
    summary="Create or replace a site",
    responses={201: {"model": SiteOut, "description": "Created"}, **documented(404, 409)},
)
async def put_site(
    pool: Pool, operator: Operator, response: Response, site_id: SiteId, body: SiteChange
) -> SiteOut:
    """Create or replace a site; its stations follow it to another client. 409 when another site
    has its AFIREV identifier."""
    async with transaction(pool) as connection:
        created = await site_registry.put_site(
            connection, site_id, body.named(), actor=operator.actor
        )
        shown = await _shown(connection, site_id)
    response.status_code = 201 if created else 200
    return shown


@router.patch("/sites/{site_id:path}", summary="Change a site", responses=documented(404, 409))
async def change_site(pool: Pool, operator: Operator, site_id: SiteId, body: SiteChange) -> SiteOut:
    """Change the members that are named, no others; its stations follow it to another client."""
    async with transaction(pool) as connection:
        await site_registry.change_site(connection, site_id, body.named(), actor=operator.actor)
        return await _shown(connection, site_id)


async def _shown(connection: AsyncConnection, site_id: str) -> SiteOut:
    """Raises: NotThere."""
    site = await store.get_site(connection, site_id)
    if site is None:
        raise NotThere(f"There is no site {site_id}.")
    return SiteOut.model_validate(site)
