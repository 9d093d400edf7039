"""What a co-owner sees of his supply (article 5.4 d): his lots, his provision, his bills."""

from datetime import date
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from billing.store import lots as lot_store
from billing.store import supply as store
from csms.web.fields import CursorText, Limit, Output, PageOf
from csms.web.guard import Driver, Own
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(prefix="/me", tags=["Drivers: me"])


class MyLotOut(Output):
    """A lot of mine, with my provision."""

    site_id: str
    lot: str
    signed_on: date
    from_on: date
    to_on: date | None
    provision_cents: int = Field(description="Agreed, VAT included.")
    left_cents: int = Field(description="Of what I paid in advance.")
    open_cents: int = Field(description="What I owe; below 0: what is to be given back.")


class MySupplyOut(Output):
    """A bill, a prepayment invoice or a credit note of my supply; `invoice_id` leads to its
    files."""

    invoice_id: int
    number: str
    kind: Literal["bill", "advance", "credit"]
    site_id: str
    lot: str
    month: date
    issued_on: date
    due_on: date
    energy_wh: int
    energy_excl_cents: int
    telemetering_excl_cents: int
    amount_incl_cents: int = Field(description="Below 0: given back.")
    open_cents: int


@router.get("/lots", summary="My lots", responses=documented(403))
async def list_my_lots(
    own: Own, driver: Driver, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[MyLotOut]:
    """Lots of co-ownerships that I have or had, whose electricity the operator supplies."""
    person_id = driver.person_id
    page = await read_rows(
        own,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: lot_store.list_holdings(
            connection, person_id=person_id, limit=count, cursor=after
        ),
        total=lambda connection: lot_store.count_holdings(connection, person_id=person_id),
        key=lambda row: (row.id,),
    )
    return shaped(page, MyLotOut)


@router.get("/supply-documents", summary="My bills of supply", responses=documented(403))
async def list_my_supply(
    own: Own, driver: Driver, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[MySupplyOut]:
    """What I used each month and what it cost, the oldest first; and what I paid in advance."""
    person_id = driver.person_id
    page = await read_rows(
        own,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_documents(
            connection, person_id=person_id, limit=count, cursor=after
        ),
        total=lambda connection: store.count_documents(connection, person_id=person_id),
        key=lambda row: (row.invoice_id,),
    )
    return shaped(page, MySupplyOut)
