"""Operations on the reconciliation desk."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from csms.db import transaction
from csms.registry import NotThere
from csms.store import desk as store
from csms.web import settling
from csms.web.fields import CursorText, Identifier, Limit, Name, PageOf
from csms.web.guard import Operator, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented
from csms.web.record_models import (
    EntryOut,
    SettleIn,
)

router = APIRouter(tags=["Reconciliation"])


@router.get("/reconciliation", summary="What could not be matched", responses=documented())
async def list_entries(
    pool: Pool,
    _: Operator,
    settled: Annotated[
        bool | None, Query(description="false: what is open; true: what was settled.")
    ] = False,
    station_id: Annotated[Name | None, Query(description="Only of this station.")] = None,
    reason: Annotated[Name | None, Query(description="Only for this reason.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[EntryOut]:
    """Frames that no session could be found for, or that a person should look at, oldest first."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (datetime, int),
        rows=lambda connection, count, after: store.list_entries(
            connection,
            station_id=station_id,
            reason=reason,
            settled=settled,
            limit=count,
            cursor=after,
        ),
        total=lambda connection: store.count_entries(
            connection, station_id=station_id, reason=reason, settled=settled
        ),
        key=lambda row: (row.received_at, row.id),
    )
    return shaped(page, EntryOut)


@router.get("/reconciliation/{entry_id}", summary="An entry", responses=documented(404))
async def get_entry(pool: Pool, _: Operator, entry_id: Identifier) -> EntryOut:
    """One entry, open or settled."""
    async with pool.connection() as connection:
        entry = await store.get_entry(connection, entry_id)
    if entry is None:
        raise NotThere(f"There is no entry {entry_id} on the desk.")
    return EntryOut.model_validate(entry)


@router.post(
    "/reconciliation/{entry_id}/settle", summary="Settle an entry", responses=documented(404, 409)
)
async def settle_entry(pool: Pool, key: Operator, entry_id: Identifier, body: SettleIn) -> EntryOut:
    """Settle an entry; the same decision again is answered alike, another one with 409.

    - `dismissed`: it concerns no session. Only a note.
    - `confirmed`: the session (`session_id`, or the entry's own) is right as it stands.
    - `attached`: the session gets `ended_at`, and `meter_stop_wh` if known (and `meter_start_wh`
      where the station gave none). The energy is the difference, never negative.
    - `created`: a new session from `started_at`, `ended_at`, `meter_start_wh`, `meter_stop_wh`,
      `evse_id`, and `token_uid` if known.
    """
    async with transaction(pool) as connection:
        entry = await settling.settle(
            connection, entry_id, body, settled_by=key.name, now=datetime.now(UTC)
        )
    return EntryOut.model_validate(entry)
