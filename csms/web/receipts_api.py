"""Operations on receipts: money that came in from drivers, or went back."""

from datetime import UTC, date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from billing import receipts
from billing.store import receipts as store
from csms.db import transaction
from csms.web.clients_api import actor_of
from csms.web.fields import (
    CursorText,
    Day,
    Identifier,
    Input,
    Label,
    Limit,
    Name,
    Output,
    PageOf,
    Truth,
    Utc,
)
from csms.web.guard import Finance, Operator, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(tags=["Receipts"])

Means = Literal["transfer", "direct_debit", "card", "wallet", "other"]
Cents = Annotated[
    int, Field(strict=True, ge=-receipts.AMOUNT_CENTS_MAX, le=receipts.AMOUNT_CENTS_MAX)
]


class ReceiptIn(Input):
    """Money that is here, or that went back."""

    source_key: Annotated[Name, Field(max_length=receipts.KEY_LENGTH_MAX)] = Field(
        description="Reference of the bank's or the provider's line; each is entered once."
    )
    amount_cents: Cents = Field(description="Below 0: it went back, with `reverses_key`.")
    received_on: Day = Field(description="Value date.")
    means: Means = "transfer"
    person_id: Identifier | None = Field(
        default=None, description="The driver; null: whose invoice it is."
    )
    invoice_number: Name | None = Field(
        default=None, description="The invoice that it pays; null: the driver's oldest ones."
    )
    reverses_key: Name | None = Field(
        default=None, description="Key of the receipt that this one undoes, whole."
    )
    simulated: Truth = Field(default=False, description="Of a demonstration: labelled so.")


class ReceiptOut(Output):
    """A receipt, and how much of it is on invoices; the rest is the driver's, in advance."""

    id: int
    source_key: Label
    person_id: int
    client_id: int | None
    invoice_number: str | None
    amount_cents: int
    allocated_cents: int
    received_on: date
    booked_on: date = Field(description="In the books: never in a month that is closed.")
    means: Means
    reverses_key: str | None
    is_reversed: bool
    is_simulated: bool
    created_at: Utc
    created_by: str


@router.get("/receipts", summary="List receipts", responses=documented())
async def list_receipts(
    pool: Pool,
    _: Operator,
    source_key: Annotated[Name | None, Query(description="Only the one of this key.")] = None,
    person_id: Annotated[Identifier | None, Query(description="Only of this driver.")] = None,
    client_id: Annotated[
        Identifier | None, Query(description="Only with money on invoices of this client.")
    ] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[ReceiptOut]:
    """Receipts, the last entered first."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_receipts(
            connection,
            source_key=source_key,
            person_id=person_id,
            client_id=client_id,
            limit=count,
            cursor=after,
        ),
        total=lambda connection: store.count_receipts(
            connection, source_key=source_key, person_id=person_id, client_id=client_id
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, ReceiptOut)


@router.post(
    "/receipts",
    summary="Enter a receipt",
    status_code=201,
    responses=documented(404, 409)
    | {200: {"model": ReceiptOut, "description": "It was there already; nothing is new."}},
)
async def enter_receipt(
    pool: Pool, operator: Finance, body: ReceiptIn, response: Response
) -> ReceiptOut:
    """Enter money received, or gone back. It pays the invoice named, then the driver's oldest ones;
    the rest is hers in advance and pays what comes. A reversal takes back what the receipt paid.
    The same key with the same content enters nothing, with another content it is 409."""
    async with transaction(pool) as connection:
        entered = await receipts.receive(
            connection,
            source_key=body.source_key,
            amount_cents=body.amount_cents,
            received_on=body.received_on,
            means=body.means,
            person_id=body.person_id,
            invoice_number=body.invoice_number,
            reverses_key=body.reverses_key,
            simulated=body.simulated,
            actor=actor_of(operator),
            now=datetime.now(UTC),
        )
    if not entered.is_new:
        response.status_code = 200
    return ReceiptOut.model_validate(entered.receipt)
