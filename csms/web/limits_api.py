"""Operations on limits of power: dated, of a station, an EVSE or a site."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from psycopg import AsyncConnection
from pydantic import ConfigDict, Field, model_validator

from csms.db import transaction
from csms.registry import NotThere, Refusal
from csms.store import limits as store
from csms.store.limits import PowerLimitRow
from csms.web.fields import (
    INT_MAX,
    Count,
    CursorText,
    Identifier,
    Input,
    Label,
    Limit,
    Moment,
    Name,
    Output,
    PageOf,
    Utc,
)
from csms.web.guard import Operator, Pool, Reader
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(tags=["Energy"])

Watts = Annotated[int, Field(strict=True, ge=0, le=INT_MAX)]


class PowerLimitIn(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"site_id": "tilleuls", "limit_w": 22000, "reason": "Travaux sur le tableau"},
                {
                    "station_id": "CP-0001",
                    "evse_id": 1,
                    "limit_w": 7400,
                    "to_at": "2027-01-31T23:00:00Z",
                },
            ]
        }
    )
    site_id: Name | None = Field(default=None, description="A site, or else a station.")
    station_id: Name | None = None
    evse_id: Count | None = Field(default=None, description="Null: the station as a whole.")
    limit_w: Watts = Field(
        description="Of several EVSEs each gets an equal share. 0: none charges."
    )
    from_at: Moment | None = Field(default=None, description="Null: from now on.")
    to_at: Moment | None = Field(default=None, description="Null: until further notice.")
    reason: Label = ""

    @model_validator(mode="after")
    def _one_place(self) -> "PowerLimitIn":
        if (self.site_id is None) == (self.station_id is None):
            raise ValueError("name a site or a station, one of the two")
        if self.evse_id is not None and self.station_id is None:
            raise ValueError("an EVSE belongs to a station: name it")
        return self


class PowerLimitChange(Input):
    limit_w: Watts | None = None
    from_at: Moment | None = None
    to_at: Moment | None = None
    reason: Label = ""


class PowerLimitOut(Output):
    id: int
    site_id: str | None
    station_id: str | None
    evse_id: int | None
    limit_w: int
    from_at: Utc
    to_at: Utc | None
    reason: str
    created_by: str | None
    created_at: Utc


LimitId = Annotated[Identifier, Path(description="The limit's number.")]


@router.get("/power-limits", summary="List limits of power", responses=documented())
async def list_limits(
    reader: Reader,
    site_id: Annotated[Name | None, Query(description="Only those of this site.")] = None,
    station_id: Annotated[Name | None, Query(description="Only those of this station.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[PowerLimitOut]:
    """Limits that were not lifted, newest first."""
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_limits(
            connection, site_id=site_id, station_id=station_id, limit=count, cursor=after
        ),
        total=lambda connection: store.count_limits(
            connection, site_id=site_id, station_id=station_id
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, PowerLimitOut)


@router.post(
    "/power-limits", summary="Set a limit of power", status_code=201, responses=documented(404)
)
async def set_limit(pool: Pool, operator: Operator, body: PowerLimitIn) -> PowerLimitOut:
    """Set a limit. It counts from the next profile on that a station of the place is given."""
    from_at = body.from_at or datetime.now(UTC)
    _check_order(from_at, body.to_at)
    async with transaction(pool) as connection:
        limit_id = await store.insert_limit(
            connection,
            site_id=body.site_id,
            station_id=body.station_id,
            evse_id=body.evse_id,
            limit_w=body.limit_w,
            from_at=from_at,
            to_at=body.to_at,
            reason=body.reason,
            created_by=operator.name,
        )
        if limit_id is None:
            place = f"site {body.site_id}" if body.site_id else f"station {body.station_id}"
            raise NotThere(f"There is no {place}.")
        return PowerLimitOut.model_validate(await _fetch(connection, limit_id))


@router.patch("/power-limits/{limit_id}", summary="Change a limit", responses=documented(404))
async def change_limit(
    pool: Pool, _: Operator, limit_id: LimitId, body: PowerLimitChange
) -> PowerLimitOut:
    """Change the members that are named, no others."""
    named = body.named()
    async with transaction(pool) as connection:
        former = await _fetch(connection, limit_id)
        from_at = named.get("from_at") or former.from_at
        to_at = named.get("to_at", former.to_at)
        _check_order(from_at, to_at)
        limit_w = named.get("limit_w")
        await store.change_limit(
            connection,
            limit_id,
            limit_w=former.limit_w if limit_w is None else limit_w,
            from_at=from_at,
            to_at=to_at,
            reason=named.get("reason", former.reason),
        )
        return PowerLimitOut.model_validate(await _fetch(connection, limit_id))


@router.delete(
    "/power-limits/{limit_id}", summary="Lift a limit", status_code=204, responses=documented(404)
)
async def lift_limit(pool: Pool, _: Operator, limit_id: LimitId) -> None:
    """Lift a limit; it stays in the records."""
    async with transaction(pool) as connection:
        if not await store.retire_limit(connection, limit_id, datetime.now(UTC)):
            raise NotThere(f"There is no limit {limit_id}.")


def _check_order(from_at: datetime, to_at: datetime | None) -> None:
    if to_at is not None and to_at <= from_at:
        raise Refusal("The limit would end before it begins.", "to_at")


async def _fetch(connection: AsyncConnection, limit_id: int) -> PowerLimitRow:
    """Raises: NotThere."""
    found = await store.list_limits(connection, limit_id=limit_id)
    if not found:
        raise NotThere(f"There is no limit {limit_id}.")
    return found[0]
