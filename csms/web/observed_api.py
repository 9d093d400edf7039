"""Operations on what was seen of stations, and on the quirks that answer it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from psycopg import AsyncConnection

from csms.db import transaction
from csms.domain.quirks import CORRECTIONS
from csms.registry import NotThere, Refusal
from csms.store import observations, quirks
from csms.web.fields import CursorText, Identifier, Limit, Name, PageOf
from csms.web.guard import Operator, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented
from csms.web.record_models import (
    DeviationOut,
    QuirkChange,
    QuirkIn,
    QuirkOut,
    RefusedConnectionOut,
)

router = APIRouter(tags=["Deviations and quirks"])


@router.get("/deviations", summary="How stations depart from OCPP", responses=documented())
async def list_deviations(
    pool: Pool,
    _: Operator,
    station_id: Annotated[Name | None, Query(description="Only of this station.")] = None,
    kind: Annotated[Name | None, Query(description="Only of this kind.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[DeviationOut]:
    """What stations sent that the specification does not allow, counted, with a sample."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int, str, str),
        rows=lambda connection, count, after: observations.list_deviations(
            connection, station_id=station_id, kind=kind, limit=count, cursor=after
        ),
        total=lambda connection: observations.count_deviations(
            connection, station_id=station_id, kind=kind
        ),
        key=lambda row: (row.station_key, row.kind, row.subject),
    )
    return shaped(page, DeviationOut)


@router.get("/refused-connections", summary="Who was refused", responses=documented())
async def list_refused(
    pool: Pool, _: Operator, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[RefusedConnectionOut]:
    """Identities refused at the handshake, last seen first: unknown stations, wrong passwords."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (datetime, str, str),
        rows=lambda connection, count, after: observations.list_refused(
            connection, limit=count, cursor=after
        ),
        total=observations.count_refused,
        key=lambda row: (row.last_seen_at, row.identity, row.reason),
    )
    return shaped(page, RefusedConnectionOut)


@router.get("/quirks", summary="List quirks", responses=documented())
async def list_quirks(
    pool: Pool,
    _: Operator,
    retired: Annotated[bool, Query(description="Those of the past too.")] = False,
) -> PageOf[QuirkOut]:
    """Corrections for known faults of a make, in force, oldest first. They are few: one page."""
    async with pool.connection() as connection:
        found = await quirks.list_quirks(connection, retired=retired)
    items = [QuirkOut.model_validate(quirk) for quirk in found]
    return PageOf[QuirkOut](items=items, next=None, total=len(items))


@router.post("/quirks", summary="Create a quirk", status_code=201, responses=documented())
async def create_quirk(pool: Pool, _: Operator, body: QuirkIn) -> QuirkOut:
    """Create a quirk; it counts for what stations send from now on. Raw values stay as they are."""
    _check_correction(body.correction)
    async with transaction(pool) as connection:
        quirk = await quirks.insert_quirk(
            connection,
            vendor=body.vendor,
            model=body.model,
            firmware=body.firmware,
            correction=body.correction,
            decided_on=body.decided_on or datetime.now(UTC).date(),
            reason=body.reason,
        )
        await quirks.notify_quirks(connection)
    return QuirkOut.model_validate(quirk)


@router.patch("/quirks/{quirk_id}", summary="Change a quirk", responses=documented(404))
async def change_quirk(
    pool: Pool, _: Operator, quirk_id: Identifier, body: QuirkChange
) -> QuirkOut:
    """Change the members that are named, no others."""
    named = body.named()
    for name in ("correction", "decided_on", "reason"):
        if name in named and named[name] is None:
            raise Refusal(f"A quirk needs its {name}.", name)
    if "correction" in named:
        _check_correction(named["correction"])
    async with transaction(pool) as connection:
        changed = replace(await _locked(connection, quirk_id), **named)
        await quirks.update_quirk(connection, changed)
        await quirks.notify_quirks(connection)
    return QuirkOut.model_validate(changed)


@router.delete(
    "/quirks/{quirk_id}", summary="Retire a quirk", status_code=204, responses=documented(404)
)
async def retire_quirk(pool: Pool, _: Operator, quirk_id: Identifier) -> None:
    """Retire a quirk: it no longer counts. What it corrected stays corrected, and flagged."""
    async with transaction(pool) as connection:
        retired = replace(await _locked(connection, quirk_id), retired_at=datetime.now(UTC))
        await quirks.update_quirk(connection, retired)
        await quirks.notify_quirks(connection)


async def _locked(connection: AsyncConnection, quirk_id: int) -> quirks.Quirk:
    """Raises: NotThere."""
    quirk = await quirks.lock_quirk(connection, quirk_id)
    if quirk is None:
        raise NotThere(f"There is no quirk {quirk_id}.")
    return quirk


def _check_correction(correction: str) -> None:
    """Raises: Refusal for a correction that nobody carries out."""
    if correction not in CORRECTIONS:
        raise Refusal(f"A correction is one of: {', '.join(sorted(CORRECTIONS))}.", "correction")
