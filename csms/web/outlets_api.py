"""Operations on what leaves for other systems: how it goes, and what was refused."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field

from csms.config import Settings
from csms.db import transaction
from csms.web.auditing import concerns
from csms.web.fields import CursorText, Identifier, Input, Limit, Name, Note, Output, PageOf, Utc
from csms.web.guard import Operator, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented
from reporting import outlet_desk
from reporting import store_outlet as store

router = APIRouter(tags=["Outlets"])

ItemStatus = Literal["waiting", "sent", "dead", "dropped"]
ItemId = Annotated[Identifier, Path(description="The item's number.")]


class OutletOut(Output):
    name: str = Field(examples=["qualicharge.status"])
    waiting: int
    oldest_at: Utc | None = Field(description="Since when the first that waits has been there.")
    dead: int
    failures: int = Field(description="Of requests, since the last that went.")
    failed_at: Utc | None
    went_at: Utc | None = Field(description="The last delivery.")
    next_at: Utc | None = Field(description="The peer is left alone until then.")
    last_error: str | None


class OutletItemOut(Output):
    id: int
    outlet: str
    client_id: int
    object_key: str = Field(description="Items of one object go one by one, in order.")
    source_key: str
    kind: str = Field(description="declare, withdraw, status, session, file or link.")
    at: Utc
    body: dict[str, Any] = Field(description="What is told.")
    status: ItemStatus
    attempts: int
    doubtful_since: Utc | None = Field(
        description="Sent then, and nobody knows yet what came of it."
    )
    remote_id: str | None = Field(description="The peer's own name for it.")
    created_at: Utc
    next_at: Utc
    tried_at: Utc | None
    finished_at: Utc | None
    reason: str | None = Field(description="Why it is dead or was dropped.")
    reply: str | None = Field(description="What the peer answered.")
    settled_by: str | None


class RetriedOut(Output):
    items: int = Field(description="How many wait again.")


class GiveUpIn(Input):
    note: Note = Field(description="Why it is not to be sent.")


@router.get("/outlets", summary="How outlets fare", responses=documented())
async def list_outlets(pool: Pool, _: Operator) -> list[OutletOut]:
    """What waits for each peer and since when, its dead letters, its last delivery and failures."""
    async with pool.connection() as connection:
        found = await store.list_states(connection)
    return [OutletOut.model_validate(state) for state in found]


@router.post(
    "/outlets/{outlet}/retry",
    summary="Send all dead letters of an outlet",
    responses=documented(404),
)
async def retry_outlet(
    request: Request,
    pool: Pool,
    operator: Operator,
    outlet: Annotated[Name, Path(description="Its name.", examples=["qualicharge.status"])],
) -> RetriedOut:
    """Let them wait again, when the account was mended for instance. Not those in doubt: look at
    each whether the peer has it."""
    settings: Settings = request.app.state.settings
    async with transaction(pool) as connection:
        number = await outlet_desk.retry_all(
            connection, settings, outlet, operator.actor, datetime.now(UTC)
        )
    return RetriedOut(items=number)


@router.get("/outlet-items", summary="List what leaves", responses=documented())
async def list_items(
    pool: Pool,
    _: Operator,
    outlet: Annotated[Name | None, Query(description="Only of this outlet.")] = None,
    status: Annotated[
        ItemStatus | None, Query(description="dead: the desk, what a person is to look at.")
    ] = None,
    object_key: Annotated[Name | None, Query(description="Only of this point or session.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[OutletItemOut]:
    """What was told to peers, waits to be, or was refused with their answer, newest first."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_items(
            connection,
            outlet=outlet,
            status=status,
            object_key=object_key,
            limit=count,
            cursor=after,
        ),
        total=lambda connection: store.count_items(
            connection, outlet=outlet, status=status, object_key=object_key
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, OutletItemOut)


@router.get("/outlet-items/{item_id}", summary="An item", responses=documented(404))
async def get_item(pool: Pool, _: Operator, item_id: ItemId) -> OutletItemOut:
    """One item, with what is told and what the peer answered."""
    async with pool.connection() as connection:
        return OutletItemOut.model_validate(await outlet_desk.get(connection, item_id))


@router.post(
    "/outlet-items/{item_id}/retry", summary="Send a dead letter", responses=documented(404, 409)
)
async def retry_item(
    request: Request, pool: Pool, operator: Operator, item_id: ItemId
) -> OutletItemOut:
    """Let a dead letter wait again. One in doubt is sent again: look first whether the peer has
    it."""
    settings: Settings = request.app.state.settings
    async with transaction(pool) as connection:
        found = await outlet_desk.retry(
            connection, settings, item_id, operator.actor, datetime.now(UTC)
        )
    concerns(request, found.client_id, f"outlet item {item_id}")
    return OutletItemOut.model_validate(found)


@router.post(
    "/outlet-items/{item_id}/give-up",
    summary="Give up a dead letter",
    responses=documented(404, 409),
)
async def give_up_item(
    request: Request, pool: Pool, operator: Operator, item_id: ItemId, body: GiveUpIn
) -> OutletItemOut:
    """Take a dead letter off the desk: it is not to be sent, or the peer has it already."""
    async with transaction(pool) as connection:
        found = await outlet_desk.give_up(
            connection, item_id, operator.actor, body.note, datetime.now(UTC)
        )
    concerns(request, found.client_id, f"outlet item {item_id}")
    return OutletItemOut.model_validate(found)
