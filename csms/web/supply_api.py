"""Operations on what the operator supplies to co-owners (article 5.4 d): sites, lots, holdings,
provisions, meter readings. Managers see what was billed of each lot, and the meter beside the
points."""

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from psycopg import AsyncConnection
from pydantic import Field

from billing import lots, lots_csv, supplying
from billing.store import lots as store
from csms.db import transaction
from csms.registry import NotThere
from csms.store import clients
from csms.web.clients_api import ClientId, actor_of, whole
from csms.web.fields import (
    Count,
    CursorText,
    Day,
    Identifier,
    Input,
    Label,
    Limit,
    Moment,
    Name,
    Output,
    PageOf,
    Utc,
    plain_number,
)
from csms.web.guard import Finance, Operator, Pool, Reader
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(tags=["Supply of co-owners"])

SupplyId = Annotated[Identifier, Path(description="The supply's number.")]
HoldingId = Annotated[Identifier, Path(description="The holding's number.")]
ReadingId = Annotated[Identifier, Path(description="The reading's number.")]
MonthText = Annotated[
    str, Path(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", description="Month, as 2026-10.")
]
Text = Annotated[str, Field(max_length=lots.TEXT_LENGTH_MAX)]


class SupplyIn(Input):
    site_id: Name
    from_on: Day = Field(description="First day on which the operator holds the delivery point.")


class EndIn(Input):
    to_on: Day = Field(description="First day after it.")


class SupplyOut(Output):
    id: int
    client_id: int
    site_id: str
    from_on: date
    to_on: date | None
    created_at: Utc


class LotIn(Input):
    """A lot; with a station and its EVSE, the point at which only it charges from a day on."""

    site_id: Name
    lot: Annotated[Name, Field(max_length=32)]
    station_id: Name | None = None
    evse_id: Count = 1
    from_on: Day | None = None


class LotOut(Output):
    lot_id: int


class HoldingIn(Input):
    site_id: Name
    lot: Annotated[Name, Field(max_length=32)]
    person_id: Identifier
    signed_on: Day
    from_on: Day
    provision_cents: Annotated[int, Field(strict=True, ge=0, le=lots.PROVISION_CENTS_MAX)] = Field(
        default=0, description="By the contract, VAT included."
    )


class HoldingOut(Output):
    id: int
    client_id: int
    site_id: str
    lot: str
    person_id: int
    name: Label
    email: str | None
    signed_on: date
    provision_cents: int = Field(description="Agreed, VAT included.")
    from_on: date
    to_on: date | None
    ended_for: str | None
    withheld_for: str | None = Field(description="Why what is left is not given back yet.")
    left_cents: int = Field(description="Of what was paid in advance.")
    open_cents: int = Field(description="Owed on all documents; below 0: to be given back.")


class EndHoldingIn(Input):
    to_on: Day = Field(description="First day on which the lot is not his.")
    reason: Annotated[Text, Field(min_length=1)]
    withheld_for: Text = Field(
        default="", description="Why the provision is not given back yet (article 6); '': it is."
    )


class ProvisionIn(Input):
    amount_cents: Annotated[int, Field(strict=True, ge=1, le=lots.PROVISION_CENTS_MAX)] | None = (
        Field(default=None, description="VAT included; null: what the contract says, once.")
    )


class AskedOut(Output):
    invoice_id: int


class LotMonthOut(Output):
    """What was billed of a lot for a month. Amounts but the last are before VAT."""

    site_id: str
    lot: str
    points: list[str]
    holder: Label
    energy_wh: int
    energy_excl_cents: int
    telemetering_excl_cents: int
    vat_cents: int
    amount_incl_cents: int


class ReadingIn(Input):
    site_id: Name
    at: Moment
    index_wh: Annotated[int, Field(strict=True, ge=0, le=lots.INDEX_WH_MAX)]
    is_new_meter: bool = Field(
        default=False,
        description="The first reading of a meter that replaces another. Enter the last index of "
        "the old one first, as a reading before it.",
    )
    source: Annotated[Text, Field(min_length=1)]


class ReadingOut(Output):
    id: int
    client_id: int
    site_id: str
    at: Utc
    index_wh: int
    is_new_meter: bool
    source: str
    created_at: Utc
    created_by: str
    withdrawn_at: Utc | None


class EnteredOut(Output):
    id: int | None = Field(description="null: it was entered before.")


class ComparisonOut(Output):
    """The supply's meter beside its points, between two readings."""

    site_id: str
    from_at: Utc
    to_at: Utc
    meter_wh: int
    points_wh: int = Field(description="Of sessions that ended in that time, each whole.")
    sessions: int
    without_energy: int = Field(description="Sessions whose energy is not known.")
    difference_wh: int
    difference_percent: int | float | None
    is_flagged: bool


class RefundOut(Output):
    invoice_id: int
    number: str
    client_id: int
    person_id: int
    lot: str
    amount_cents: int
    due_on: date


class BadLineOut(Output):
    line: int
    column: str | None
    cause: str
    remedy: str


class ImportOut(Output):
    lots: int
    holdings: int
    people: int
    known: int
    problems: list[BadLineOut]


@router.get("/supplies", summary="List supplied sites", responses=documented())
async def list_supplies(
    reader: Reader,
    client_id: Annotated[Identifier | None, Query(description="Only of this client.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[SupplyOut]:
    """Sites whose delivery point the operator holds, or held, in the order of their entry."""
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_supplies(
            connection, client_id, client_ids=reader.clients, limit=count, cursor=after
        ),
        total=lambda connection: store.count_supplies(
            connection, client_id, client_ids=reader.clients
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, SupplyOut)


@router.post("/supplies", summary="Supply a site", status_code=201, responses=documented(404, 409))
async def supply_site(pool: Pool, operator: Finance, body: SupplyIn) -> SupplyOut:
    """The operator holds the site's delivery point: it sells what is charged there, and nothing of
    it is invoiced in the client's name."""
    async with transaction(pool) as connection:
        made = await lots.supply_site(
            connection, body.site_id, body.from_on, actor=actor_of(operator), now=_now()
        )
        (found,) = await store.list_supplies(connection, supply_id=made)
    return SupplyOut.model_validate(found)


@router.post("/supplies/{supply_id}/end", summary="End a supply", responses=documented(404, 409))
async def end_supply(pool: Pool, operator: Finance, supply_id: SupplyId, body: EndIn) -> SupplyOut:
    """The operator holds the delivery point no more."""
    async with transaction(pool) as connection:
        await lots.end_supply(
            connection, supply_id, body.to_on, actor=actor_of(operator), now=_now()
        )
        (found,) = await store.list_supplies(connection, supply_id=supply_id)
    return SupplyOut.model_validate(found)


@router.post("/lots", summary="Enter a lot", status_code=201, responses=documented(404, 409))
async def put_lot(pool: Pool, operator: Operator, body: LotIn) -> LotOut:
    """A lot of a site, made where it is new; the point becomes its own from that day on."""
    point = None if body.station_id is None else (body.station_id, body.evse_id)
    async with transaction(pool) as connection:
        lot_id = await lots.put_lot(
            connection,
            body.site_id,
            body.lot,
            point=point,
            from_on=body.from_on,
            actor=actor_of(operator),
            now=_now(),
        )
    return LotOut(lot_id=lot_id)


@router.post(
    "/lots/import",
    summary="Import lots and co-owners",
    responses=documented(),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def import_lots(request: Request, pool: Pool, operator: Finance) -> ImportOut:
    """A CSV with the columns site;lot;station;evse;email;given_name;family_name;from;signed;
    provision. A bad line stops nothing but itself."""
    content = await request.body()
    report = await lots_csv.import_lots(pool, content, actor=actor_of(operator), now=_now())
    return ImportOut(
        lots=report.lots,
        holdings=report.holdings,
        people=report.people,
        known=report.known,
        problems=[BadLineOut.model_validate(problem) for problem in report.problems],
    )


@router.get("/holdings", summary="List holdings", responses=documented())
async def list_holdings(
    pool: Pool,
    _: Operator,
    client_id: Annotated[Identifier | None, Query(description="Only of this client.")] = None,
    person_id: Annotated[Identifier | None, Query(description="Only of this co-owner.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[HoldingOut]:
    """Who has which lot, with what is left of provisions and what is owed."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_holdings(
            connection, client_id=client_id, person_id=person_id, limit=count, cursor=after
        ),
        total=lambda connection: store.count_holdings(
            connection, client_id=client_id, person_id=person_id
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, HoldingOut)


@router.post(
    "/holdings", summary="Begin a holding", status_code=201, responses=documented(404, 409)
)
async def begin_holding(pool: Pool, operator: Finance, body: HoldingIn) -> HoldingOut:
    """A co-owner has a lot from a day on, under the contract that he signed."""
    actor, now = actor_of(operator), _now()
    async with transaction(pool) as connection:
        lot_id = await lots.put_lot(connection, body.site_id, body.lot, actor=actor, now=now)
        client_id = await lots.client_of(connection, body.site_id)
        holding_id = await lots.begin_holding(
            connection,
            lot_id,
            client_id=client_id,
            person_id=body.person_id,
            signed_on=body.signed_on,
            from_on=body.from_on,
            provision_cents=body.provision_cents,
            actor=actor,
            now=now,
        )
        (found,) = await store.list_holdings(connection, holding_id=holding_id)
    return HoldingOut.model_validate(found)


@router.post("/holdings/{holding_id}/end", summary="End a holding", responses=documented(404, 409))
async def end_holding(
    pool: Pool, operator: Finance, holding_id: HoldingId, body: EndHoldingIn
) -> HoldingOut:
    """His contract ends: the provision pays his last bills, and the rest is given back."""
    async with transaction(pool) as connection:
        await lots.end_holding(
            connection,
            holding_id,
            body.to_on,
            body.reason,
            withheld_for=body.withheld_for,
            actor=actor_of(operator),
            now=_now(),
        )
        (found,) = await store.list_holdings(connection, holding_id=holding_id)
    return HoldingOut.model_validate(found)


@router.post(
    "/holdings/{holding_id}/release", summary="Release a provision", responses=documented(404, 409)
)
async def release_holding(pool: Pool, operator: Finance, holding_id: HoldingId) -> HoldingOut:
    """What is left is withheld no more, and is given back with the next bills."""
    async with transaction(pool) as connection:
        await lots.release(connection, holding_id, actor=actor_of(operator), now=_now())
        (found,) = await store.list_holdings(connection, holding_id=holding_id)
    return HoldingOut.model_validate(found)


@router.post(
    "/holdings/{holding_id}/provision",
    summary="Ask for a provision",
    status_code=201,
    responses=documented(404, 409),
)
async def ask_provision(
    request: Request, pool: Pool, operator: Finance, holding_id: HoldingId, body: ProvisionIn
) -> AskedOut:
    """A prepayment invoice to the co-owner. What he pays is a liability until it is consumed."""
    async with transaction(pool) as connection:
        invoice_id = await supplying.ask_provision(
            connection,
            holding_id,
            _now(),
            settings=request.app.state.settings,
            actor=actor_of(operator),
            amount_cents=body.amount_cents,
        )
    return AskedOut(invoice_id=invoice_id)


@router.get(
    "/clients/{client_id}/lots/{month}",
    summary="What lots used in a month",
    responses=documented(404),
)
async def list_lot_months(
    reader: Reader, client_id: ClientId, month: MonthText
) -> PageOf[LotMonthOut]:
    """A line for each lot and holder, as it was billed."""
    async with reader.connection() as connection:
        await _require(connection, reader, client_id)
        found = await store.list_lot_months(
            connection, client_id, _first(month), client_ids=reader.clients
        )
    return whole([LotMonthOut.model_validate(row) for row in found])


@router.get(
    "/clients/{client_id}/lots/{month}/file.csv",
    summary="What lots used in a month, as a file",
    response_class=Response,
    responses=documented(404)
    | {200: {"content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def lot_months_file(reader: Reader, client_id: ClientId, month: MonthText) -> Response:
    """The same for the software of the co-ownership's manager: semicolons, UTF-8 with its mark,
    decimal comma."""
    async with reader.connection() as connection:
        await _require(connection, reader, client_id)
        found = await store.list_lot_months(
            connection, client_id, _first(month), client_ids=reader.clients
        )
    name = f"lots-{client_id}-{month}.csv"
    return Response(
        lots_csv.write_lot_months(month, found),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get(
    "/clients/{client_id}/supply-comparisons",
    summary="The supply's meter beside its points",
    responses=documented(404),
)
async def compare(
    request: Request,
    reader: Reader,
    client_id: ClientId,
    from_on: Annotated[Day, Query(description="Of periods that end from this day on.")],
    to_on: Annotated[Day, Query(description="The last day.")],
) -> PageOf[ComparisonOut]:
    """For each period between two readings: what the meter and the points counted. Above a part of
    it the difference is flagged (T2P_SUPPLY_DIFFERENCE_PERCENT)."""
    async with reader.connection() as connection:
        await _require(connection, reader, client_id)
        found = await lots.compare(
            connection,
            client_id,
            from_on,
            to_on,
            request.app.state.settings.supply_difference_percent,
        )
    return whole(
        [
            ComparisonOut(
                site_id=period.site_id,
                from_at=period.from_at,
                to_at=period.to_at,
                meter_wh=period.meter_wh,
                points_wh=period.points_wh,
                sessions=period.sessions,
                without_energy=period.without_energy,
                difference_wh=told.difference_wh,
                difference_percent=plain_number(told.percent),
                is_flagged=told.is_flagged,
            )
            for period, told in found
        ]
    )


@router.get("/supply-readings", summary="List meter readings", responses=documented())
async def list_readings(
    pool: Pool,
    _: Operator,
    client_id: Annotated[Identifier | None, Query(description="Only of this client.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[ReadingOut]:
    """What supplies' meters showed, the last entered first."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_readings(
            connection, client_id, limit=count, cursor=after
        ),
        total=lambda connection: store.count_readings(connection, client_id),
        key=lambda row: (row.id,),
    )
    return shaped(page, ReadingOut)


@router.post(
    "/supply-readings",
    summary="Enter a meter reading",
    status_code=201,
    responses=documented(404, 409),
)
async def add_reading(pool: Pool, operator: Operator, body: ReadingIn) -> EnteredOut:
    """What a supply's meter showed at a moment."""
    async with transaction(pool) as connection:
        made = await lots.add_reading(
            connection,
            body.site_id,
            body.at,
            body.index_wh,
            body.source,
            is_new_meter=body.is_new_meter,
            actor=actor_of(operator),
            now=_now(),
        )
    return EnteredOut(id=made)


@router.delete(
    "/supply-readings/{reading_id}",
    summary="Withdraw a meter reading",
    status_code=204,
    responses=documented(404, 409),
)
async def withdraw_reading(pool: Pool, operator: Operator, reading_id: ReadingId) -> None:
    """It was wrong; it stays on record as withdrawn."""
    async with transaction(pool) as connection:
        await lots.withdraw_reading(connection, reading_id, actor=actor_of(operator), now=_now())


@router.get("/supply-refunds", summary="What co-owners are given back", responses=documented())
async def list_refunds(request: Request, pool: Pool, _: Operator) -> PageOf[RefundOut]:
    """To be transferred from the operator's own account; then explain the bank's line as refund of
    the invoice named."""
    async with pool.connection() as connection:
        found = await supplying.list_refunds(connection, request.app.state.settings)
    return whole([RefundOut.model_validate(row) for row in found])


async def _require(connection: AsyncConnection, reader: Reader, client_id: int) -> None:
    """Raises: NotThere for a client that is not there, or not whoever asks'."""
    is_strange = reader.clients is not None and client_id not in reader.clients
    if is_strange or await clients.get_client(connection, client_id) is None:
        raise NotThere(f"There is no client {client_id}.")


def _first(month: str) -> date:
    return date.fromisoformat(f"{month}-01")


def _now() -> datetime:
    return datetime.now(UTC)
