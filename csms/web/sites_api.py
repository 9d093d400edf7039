"""Operations on clients and their sites."""

from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query, Response
from psycopg import AsyncConnection

from csms.db import transaction
from csms.registry import AlreadyThere, NotThere, Refusal
from csms.store import sites as store
from csms.web.fields import CursorText, Identifier, Limit, Name, PageOf
from csms.web.guard import Operator, Pool
from csms.web.listing import read_rows, shaped
from csms.web.models import (
    ClientIn,
    ClientOut,
    SiteChange,
    SiteIn,
    SiteOut,
)
from csms.web.problems import documented

router = APIRouter(tags=["Clients and sites"])

SiteId = Annotated[Name, Path(description="The site's id.")]


@router.get("/clients", summary="List clients", responses=documented())
async def list_clients(
    pool: Pool, _: Operator, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[ClientOut]:
    """Clients by id: co-ownerships, companies, and the operator itself."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_clients(
            connection, limit=count, cursor=after
        ),
        total=store.count_clients,
        key=lambda row: (row.id,),
    )
    return shaped(page, ClientOut)


@router.post("/clients", summary="Create a client", status_code=201, responses=documented(409))
async def create_client(pool: Pool, _: Operator, body: ClientIn) -> ClientOut:
    """Create a client. 409 when the name is taken."""
    async with transaction(pool) as connection:
        client = await store.insert_client(connection, body.name)
    if client is None:
        raise AlreadyThere(f"Client {body.name} exists already.", "name")
    return ClientOut.model_validate(client)


@router.get("/clients/{client_id}", summary="A client", responses=documented(404))
async def get_client(pool: Pool, _: Operator, client_id: Identifier) -> ClientOut:
    """One client."""
    async with pool.connection() as connection:
        client = await store.get_client(connection, client_id)
    if client is None:
        raise NotThere(f"There is no client {client_id}.")
    return ClientOut.model_validate(client)


@router.get("/sites", summary="List sites", responses=documented())
async def list_sites(
    pool: Pool,
    _: Operator,
    client_id: Annotated[Identifier | None, Query(description="Only this client's.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[SiteOut]:
    """Sites by id."""
    page = await read_rows(
        pool,
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
async def create_site(pool: Pool, _: Operator, body: SiteIn) -> SiteOut:
    """Create a site; without a client it is the operator's own. 409 when it exists."""
    async with transaction(pool) as connection:
        if not await _insert(connection, body.id, body):
            raise AlreadyThere(f"Site {body.id} exists already.", "id")
        return await _shown(connection, body.id)


@router.get("/sites/{site_id:path}", summary="A site", responses=documented(404))
async def get_site(pool: Pool, _: Operator, site_id: SiteId) -> SiteOut:
    """One site."""
    async with pool.connection() as connection:
        return await _shown(connection, site_id)


@router.put(
    "/sites/{site_id:path}",
    summary="Create or replace a site",
    responses={201: {"model": SiteOut, "description": "Created"}, **documented()},
)
async def put_site(
    pool: Pool, _: Operator, response: Response, site_id: SiteId, body: SiteChange
) -> SiteOut:
    """Create or replace a site; its stations follow it to another client."""
    async with transaction(pool) as connection:
        created = await _insert(connection, site_id, body)
        if not created:
            await _update(connection, site_id, body)
        shown = await _shown(connection, site_id)
    response.status_code = 201 if created else 200
    return shown


@router.patch("/sites/{site_id:path}", summary="Change a site", responses=documented(404))
async def change_site(pool: Pool, _: Operator, site_id: SiteId, body: SiteChange) -> SiteOut:
    """Change the members that are named, no others; its stations follow it to another client."""
    async with transaction(pool) as connection:
        former = await _shown(connection, site_id)
        kept = SiteChange(
            name=former.name,
            client_id=former.client_id,
            time_zone=former.time_zone,
            static=former.static,
        )
        await _update(connection, site_id, kept.model_copy(update=body.named()))
        return await _shown(connection, site_id)


async def _shown(connection: AsyncConnection, site_id: str) -> SiteOut:
    """Raises: NotThere."""
    site = await store.get_site(connection, site_id)
    if site is None:
        raise NotThere(f"There is no site {site_id}.")
    return SiteOut.model_validate(site)


async def _insert(connection: AsyncConnection, site_id: str, body: SiteChange) -> bool:
    return await store.insert_site(
        connection,
        site_id=site_id,
        client_id=await _checked(connection, body),
        name=body.name,
        time_zone=body.time_zone,
        static=body.static,
    )


async def _update(connection: AsyncConnection, site_id: str, body: SiteChange) -> None:
    await store.update_site(
        connection,
        site_id=site_id,
        client_id=await _checked(connection, body),
        name=body.name,
        time_zone=body.time_zone,
        static=body.static,
    )


async def _checked(connection: AsyncConnection, body: SiteChange) -> int:
    """The client of the site; the time zone is looked at on the way. Raises: Refusal."""
    try:
        ZoneInfo(body.time_zone)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of the zone database
        raise Refusal(f"There is no time zone {body.time_zone}.", "time_zone") from None
    if body.client_id is None:
        return await store.operator_client_id(connection)
    if await store.get_client(connection, body.client_id) is None:
        raise Refusal(f"There is no client {body.client_id}.", "client_id")
    return body.client_id
