"""Operations on stations: decided by people, reported and connected by themselves."""

from datetime import UTC, date, datetime
from typing import Annotated, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query, Request, Response
from psycopg import AsyncConnection

from csms import registry, static_data
from csms.db import transaction
from csms.registry import NotThere, Refusal
from csms.static_data import EvseFacts, Language, SiteFacts, StationFacts
from csms.static_data.declaring import READERS
from csms.store import observations, sites, static_changes, variables
from csms.store import stations as store
from csms.web.fields import CursorText, From, Limit, Name, PageOf, To
from csms.web.guard import Operator, Pool, Reader
from csms.web.listing import read_rows, shaped
from csms.web.models import (
    DeclarabilityOut,
    FindingOut,
    PointDeclarabilityOut,
    StaticChangeOut,
    StationChange,
    StationIn,
    StationOut,
    StationReplacement,
)
from csms.web.problems import documented
from csms.web.record_models import StationEventOut, VariableOut

router = APIRouter(tags=["Stations"])

PARIS = ZoneInfo("Europe/Paris")

StationId = Annotated[Name, Path(description="OCPP identity: the last part of the station's URL.")]


@router.get("/stations", summary="List stations", responses=documented())
async def list_stations(
    reader: Reader,
    site_id: Annotated[Name | None, Query(description="Only those of this site.")] = None,
    connected: Annotated[bool | None, Query(description="Only those connected, or away.")] = None,
    q: Annotated[Name | None, Query(description="Found in id, vendor, model, serial.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[StationOut]:
    """Stations by id, with their connection and the status of every connector; a manager's are
    those of her clients."""
    page = await read_rows(
        reader,
        limit,
        cursor,
        (str,),
        rows=lambda connection, count, after: store.list_stations(
            connection, site_id=site_id, connected=connected, search=q, limit=count, cursor=after
        ),
        total=lambda connection: store.count_stations(
            connection, site_id=site_id, connected=connected, search=q
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, StationOut)


@router.post(
    "/stations", summary="Create a station", status_code=201, responses=documented(409, 413)
)
async def create_station(
    pool: Pool, operator: Operator, request: Request, response: Response, body: StationIn
) -> StationOut:
    """Create a station; it may connect at once. 409 when it exists, or when another station's
    point has one of its identifiers."""
    async with transaction(pool) as connection:
        await registry.create_station(
            connection,
            body.id,
            body.named(),
            length_min=_length_min(request),
            actor=operator.actor,
        )
        created = await _shown(connection, body.id)
    response.headers["Location"] = f"{request.url.path}/{quote(body.id, safe='')}"
    return created


@router.get(
    "/stations/{station_id:path}/events",
    summary="Reports of a station",
    responses=documented(404),
)
async def list_events(
    pool: Pool,
    _: Operator,
    station_id: StationId,
    kind: Annotated[Name | None, Query(description="boot, firmware, log, security, ...")] = None,
    from_at: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[StationEventOut]:
    """What the station reported beside sessions, newest first."""
    async with pool.connection() as connection:
        await _shown(connection, station_id)
    page = await read_rows(
        pool,
        limit,
        cursor,
        (datetime, int),
        rows=lambda connection, count, after: observations.list_events(
            connection,
            station_id,
            kind=kind,
            from_at=from_at,
            to_at=to,
            limit=count,
            cursor=after,
        ),
        total=lambda connection: observations.count_events(
            connection, station_id, kind=kind, from_at=from_at, to_at=to
        ),
        key=lambda row: (row.received_at, row.id),
    )
    return shaped(page, StationEventOut)


@router.get(
    "/stations/{station_id:path}/variables",
    summary="A station's configuration",
    responses=documented(404),
)
async def list_variables(
    pool: Pool,
    _: Operator,
    station_id: StationId,
    component: Annotated[Name | None, Query(description="Only of this component.")] = None,
    variable: Annotated[Name | None, Query(description="Only this variable, or key.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[VariableOut]:
    """What the station last told of its device model (2.0.1) or its keys (1.6, no component).

    Filled by reports and by the answers to orders; passwords are never kept.
    """
    async with pool.connection() as connection:
        await _shown(connection, station_id)
    page = await read_rows(
        pool,
        limit,
        cursor,
        (str, str, int, int, str, str, str),
        rows=lambda connection, count, after: variables.list_variables(
            connection,
            station_id,
            component=component,
            variable=variable,
            limit=count,
            cursor=after,
        ),
        total=lambda connection: variables.count_variables(
            connection, station_id, component=component, variable=variable
        ),
        key=lambda row: row.key,
    )
    return shaped(page, VariableOut)


@router.get(
    "/stations/{station_id:path}/history",
    summary="History of a station",
    responses=documented(404),
)
async def list_station_history(
    reader: Reader, station_id: StationId, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[StaticChangeOut]:
    """Who changed what of the station and its points, newest first."""
    async with reader.connection() as connection:
        await _shown(connection, station_id)
    page = await read_rows(
        reader,
        limit,
        cursor,
        (datetime, int),
        rows=lambda connection, count, after: static_changes.list_changes(
            connection, station_id=station_id, limit=count, cursor=after
        ),
        total=lambda connection: static_changes.count_changes(connection, station_id=station_id),
        key=lambda row: (row.at, row.id),
    )
    return shaped(page, StaticChangeOut)


@router.get(
    "/stations/{station_id:path}/declarability",
    summary="What a station's points lack to be declared",
    responses=documented(404),
)
async def get_declarability(
    reader: Reader,
    station_id: StationId,
    language: Annotated[Language, Query(description="Of the messages.")] = "en",
) -> DeclarabilityOut:
    """What keeps each point from being told to the national file (irve), to QualiCharge and to a
    roaming hub (ocpi). Nothing is refused for it, and nothing is published by asking."""
    async with reader.connection() as connection:
        station = await store.get_station(connection, station_id)
        if station is None:
            raise NotThere(f"There is no station {station_id}.")
        site = await sites.get_site(connection, station.site_id) if station.site_id else None
    facts = SiteFacts(site.name, site.static) if site else SiteFacts("", {})
    today = datetime.now(PARIS).date()
    points = [_declarability(facts, station, evse, today, language) for evse in station.evses]
    return DeclarabilityOut(station_id=station_id, site_id=station.site_id, points=points)


@router.get("/stations/{station_id:path}", summary="A station", responses=documented(404))
async def get_station(reader: Reader, station_id: StationId) -> StationOut:
    """One station, with its connection and the status of every connector."""
    async with reader.connection() as connection:
        return await _shown(connection, station_id)


@router.put(
    "/stations/{station_id:path}",
    summary="Create or replace a station",
    responses={201: {"model": StationOut, "description": "Created"}, **documented(404, 409, 413)},
)
async def put_station(
    pool: Pool,
    operator: Operator,
    request: Request,
    response: Response,
    station_id: StationId,
    body: StationReplacement,
) -> StationOut:
    """Create or replace a station; a retired one comes back.

    What is absent takes its default. Two things stay unless they are named: the password, which
    nobody can read back, and the EVSEs, which the station itself reports.
    """
    if body.id is not None and body.id != station_id:
        raise Refusal("The id in the body is not the one in the address.", "id")
    async with transaction(pool) as connection:
        created = await registry.put_station(
            connection,
            station_id,
            body.named(),
            length_min=_length_min(request),
            actor=operator.actor,
        )
        shown = await _shown(connection, station_id)
    response.status_code = 201 if created else 200
    return shown


@router.patch(
    "/stations/{station_id:path}", summary="Change a station", responses=documented(404, 409, 413)
)
async def change_station(
    pool: Pool, operator: Operator, request: Request, station_id: StationId, body: StationChange
) -> StationOut:
    """Change the members that are named, no others; null clears where null is allowed.
    A connected station feels it at once."""
    async with transaction(pool) as connection:
        await registry.change_station(
            connection,
            station_id,
            body.named(),
            length_min=_length_min(request),
            actor=operator.actor,
        )
        return await _shown(connection, station_id)


@router.delete(
    "/stations/{station_id:path}",
    summary="Retire a station",
    status_code=204,
    responses=documented(404),
)
async def retire_station(pool: Pool, operator: Operator, station_id: StationId) -> None:
    """Retire a station: refused from now on. Its sessions and its journal stay; PUT revives it."""
    async with transaction(pool) as connection:
        await registry.retire_station(
            connection, station_id, datetime.now(UTC), actor=operator.actor
        )


async def _shown(connection: AsyncConnection, station_id: str) -> StationOut:
    """Raises: NotThere."""
    station = await store.get_station(connection, station_id)
    if station is None:
        raise NotThere(f"There is no station {station_id}.")
    return StationOut.model_validate(station)


def _declarability(
    site: SiteFacts,
    station: store.Station,
    evse: dict[str, Any],
    today: date,
    language: Language,
) -> PointDeclarabilityOut:
    types = {k["connector_id"]: k["type"] for k in evse["connectors"]}
    point = EvseFacts(evse["evse_uid"], evse["power_w_max"], types, evse["static"])
    findings = static_data.declarable(site, StationFacts(station.static), point, today)
    hindered = {reader for finding in findings for reader in finding.needed_by}
    return PointDeclarabilityOut(
        evse_id=evse["evse_id"],
        evse_uid=evse["evse_uid"],
        public=evse["public"],
        declarable_to=[reader for reader in READERS if reader not in hindered],
        findings=[
            FindingOut(
                code=finding.code,
                field=finding.field,
                message=finding.told(language),
                needed_by=list(finding.needed_by),
            )
            for finding in findings
        ],
    )


def _length_min(request: Request) -> int:
    minimum: int = request.app.state.settings.password_length_min
    return minimum
