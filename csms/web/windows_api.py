"""Operations on what people enter for the reports: windows of planned work and exclusions, and the
power that sites have subscribed. Managers read those of their sites."""

from datetime import UTC, date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import ConfigDict, Field, model_validator

from csms.db import transaction
from csms.web.clients_api import actor_of
from csms.web.fields import (
    Count,
    CursorText,
    Day,
    From,
    Identifier,
    Input,
    Label,
    Limit,
    Moment,
    Name,
    Output,
    PageOf,
    To,
    Utc,
)
from csms.web.guard import Operator, Pool, Reader
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented
from reporting import store_windows as store
from reporting import windows

router = APIRouter(tags=["Reports"])

Kind = Literal["planned", "excluded"]
Text = Annotated[Label, Field(min_length=1)]
WindowId = Annotated[Identifier, Path(description="The window's number.")]
PowerId = Annotated[Identifier, Path(description="The entry's number.")]
OfSite = Annotated[Name | None, Query(description="Only of this site.")]
_FILE = {
    "requestBody": {
        "required": True,
        "content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class WindowIn(Input):
    """A site as a whole, or a station of it, or one of its points."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "site_id": "tilleuls",
                    "kind": "planned",
                    "starts_at": "2026-11-22T08:00:00+01:00",
                    "ends_at": "2026-11-22T12:00:00+01:00",
                    "cause": "Travaux sur le tableau",
                }
            ]
        }
    )
    site_id: Name | None = None
    station_id: Name | None = None
    evse_id: Count | None = Field(default=None, description="Null: the station as a whole.")
    kind: Kind = Field(description="planned: work that was announced; excluded: any other cause.")
    starts_at: Moment
    ends_at: Moment
    cause: Text

    @model_validator(mode="after")
    def _somewhere(self) -> "WindowIn":
        if self.site_id is None and self.station_id is None:
            raise ValueError("name a site or a station")
        return self


class RevokeIn(Input):
    reason: Text


class WindowOut(Output):
    id: int
    client_id: int
    site_id: str
    station_id: str | None
    evse_id: int | None
    kind: Kind
    starts_at: Utc
    ends_at: Utc
    cause: str
    created_at: Utc
    created_by: str
    revoked_at: Utc | None = Field(description="It counts no more since then.")
    revoked_by: str | None
    revoked_for: str | None
    contradicts: list[int] = Field(
        description="Windows of the other kind at the same time and place; the exclusion is said."
    )


class PowerIn(Input):
    site_id: Name
    from_on: Day = Field(description="First day, in Paris; it holds until the next entry.")
    subscribed_power_w: Annotated[int, Field(strict=True, ge=1, le=windows.POWER_W_MAX)]


class PowerOut(Output):
    id: int
    client_id: int
    site_id: str
    from_on: date
    subscribed_power_w: int
    created_at: Utc
    created_by: str
    withdrawn_at: Utc | None
    withdrawn_by: str | None


class BadRowOut(Output):
    line: int
    column: str | None
    cause: str
    remedy: str


class EnteredLinesOut(Output):
    entered: int
    known: int
    problems: list[BadRowOut]


@router.get("/availability-windows", summary="List windows", responses=documented())
async def list_windows(
    reader: Reader,
    site_id: OfSite = None,
    from_at: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[WindowOut]:
    """Planned work and exclusions, revoked ones too, the newest entry first."""
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_windows(
            connection,
            site_id=site_id,
            from_at=from_at,
            to_at=to,
            client_ids=reader.clients,
            limit=count,
            cursor=after,
        ),
        total=lambda connection: store.count_windows(
            connection, site_id=site_id, from_at=from_at, to_at=to, client_ids=reader.clients
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, WindowOut)


@router.post(
    "/availability-windows", summary="Enter a window", status_code=201, responses=documented(404)
)
async def enter_window(pool: Pool, operator: Operator, body: WindowIn) -> WindowOut:
    """The time of the window leaves the availability of its place. The same again is the same
    window; it is never changed, only revoked."""
    async with transaction(pool) as connection:
        window_id, _ = await windows.enter_window(
            connection,
            site_id=body.site_id,
            station_id=body.station_id,
            evse_id=body.evse_id,
            kind=body.kind,
            starts_at=body.starts_at,
            ends_at=body.ends_at,
            cause=body.cause,
            actor=actor_of(operator),
            now=_now(),
        )
        (found,) = await store.list_windows(connection, window_id=window_id)
    return WindowOut.model_validate(found)


@router.post(
    "/availability-windows/import",
    summary="Import windows",
    responses=documented(),
    openapi_extra=_FILE,
)
async def import_windows(request: Request, pool: Pool, operator: Operator) -> EnteredLinesOut:
    """A CSV with the columns site;station;evse;kind;from;to;cause. A bad line stops nothing but
    itself."""
    done = await windows.import_windows(
        pool, await request.body(), actor=actor_of(operator), now=_now()
    )
    return _told(done)


@router.post(
    "/availability-windows/{window_id}/revoke",
    summary="Revoke a window",
    responses=documented(404),
)
async def revoke_window(
    pool: Pool, operator: Operator, window_id: WindowId, body: RevokeIn
) -> WindowOut:
    """The window counts no more, in reports of the past neither; it stays in the records."""
    async with transaction(pool) as connection:
        await windows.revoke_window(
            connection, window_id, body.reason, actor=actor_of(operator), now=_now()
        )
        (found,) = await store.list_windows(connection, window_id=window_id)
    return WindowOut.model_validate(found)


@router.get("/subscribed-powers", summary="List subscribed powers", responses=documented())
async def list_powers(
    reader: Reader, site_id: OfSite = None, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[PowerOut]:
    """What sites have subscribed, withdrawn entries too, the newest entry first."""
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_powers(
            connection, site_id=site_id, client_ids=reader.clients, limit=count, cursor=after
        ),
        total=lambda connection: store.count_powers(
            connection, site_id=site_id, client_ids=reader.clients
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, PowerOut)


@router.post(
    "/subscribed-powers",
    summary="Enter a subscribed power",
    status_code=201,
    responses=documented(404, 409),
)
async def enter_power(pool: Pool, operator: Operator, body: PowerIn) -> PowerOut:
    """What a site has subscribed from a day on. 409 when another power is entered for that day."""
    async with transaction(pool) as connection:
        power_id, _ = await windows.enter_power(
            connection,
            body.site_id,
            body.from_on,
            body.subscribed_power_w,
            actor=actor_of(operator),
            now=_now(),
        )
        (found,) = await store.list_powers(connection, power_id=power_id)
    return PowerOut.model_validate(found)


@router.post(
    "/subscribed-powers/import",
    summary="Import subscribed powers",
    responses=documented(),
    openapi_extra=_FILE,
)
async def import_powers(request: Request, pool: Pool, operator: Operator) -> EnteredLinesOut:
    """A CSV with the columns site;from;power_w. A bad line stops nothing but itself."""
    done = await windows.import_powers(
        pool, await request.body(), actor=actor_of(operator), now=_now()
    )
    return _told(done)


@router.delete(
    "/subscribed-powers/{power_id}",
    summary="Withdraw a subscribed power",
    status_code=204,
    responses=documented(404),
)
async def withdraw_power(pool: Pool, operator: Operator, power_id: PowerId) -> None:
    """The entry was wrong; it stays in the records."""
    async with transaction(pool) as connection:
        await windows.withdraw_power(connection, power_id, actor=actor_of(operator), now=_now())


def _told(done: windows.Imported) -> EnteredLinesOut:
    return EnteredLinesOut(
        entered=done.entered,
        known=done.known,
        problems=[BadRowOut.model_validate(problem) for problem in done.problems],
    )


def _now() -> datetime:
    return datetime.now(UTC)
