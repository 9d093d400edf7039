"""Operations on unpaid invoices: what was written about them, and drivers blocked for them."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field

from billing import payment_blocks
from billing.store import reminders as store
from billing.store.reminders import BlockRow
from csms import unpaid
from csms.db import transaction
from csms.registry import NotThere
from csms.store.unpaid import UnpaidRow, fetch_unpaid
from csms.web.clients_api import actor_of, whole
from csms.web.fields import CursorText, Identifier, Limit, Note, Output, PageOf, Utc
from csms.web.guard import Driver, Finance, Operator, Pool
from csms.web.listing import read_rows
from csms.web.problems import documented

router = APIRouter(tags=["Payments"])

BlockId = Annotated[Identifier, Path(description="The block's number.")]


class BlockedInvoiceOut(Output):
    invoice_id: int
    number: str
    left_cents: int


class BlockOut(Output):
    """A driver who may not start at the stations of a client."""

    id: int
    client_id: int
    client: str
    person_id: int
    from_at: Utc
    by: str
    until_at: Utc | None = Field(description="Null: it is open.")
    lifted_by: str | None = Field(description="Null with an end: its cause is gone.")
    lifted_for: str | None
    invoices: list[BlockedInvoiceOut]


class ReminderOut(Output):
    id: int
    invoice_id: int
    client_id: int
    person_id: int | None = Field(description="Null: the client, of an invoice of the operator's.")
    due_since_on: date = Field(description="Due, or due anew: letters begin again with it.")
    level: int = Field(description="From 1 on; 0: the notice of a block.")
    amount_cents: int = Field(description="Left to be paid when it was written.")
    sent_at: Utc
    takes_effect_on: date | None = Field(description="Of a notice: when the block may begin.")


class MyUnpaidInvoiceOut(Output):
    number: str
    due_on: date
    left_cents: int


class MyBlockOut(Output):
    """Where I may not start, what I have to pay, and how."""

    client_id: int
    client: str
    from_at: Utc
    left_cents: int
    invoices: list[MyUnpaidInvoiceOut]
    sentence: str = Field(description="In the driver's language.")


@router.get("/payment-blocks", summary="List blocked drivers", responses=documented())
async def list_blocks(
    pool: Pool,
    _: Operator,
    client_id: Annotated[Identifier | None, Query(description="Only of this client.")] = None,
    person_id: Annotated[Identifier | None, Query(description="Only of this driver.")] = None,
    is_open: Annotated[bool | None, Query(alias="open", description="Only those, or not.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[BlockOut]:
    """Blocks for unpaid invoices, the last set first. A block holds at the stations of its client
    alone, and ends by itself once its invoices are paid."""
    asked: dict[str, Any] = {"client_id": client_id, "person_id": person_id, "is_open": is_open}
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_blocks(
            connection, **asked, limit=count, cursor=after
        ),
        total=lambda connection: store.count_blocks(connection, **asked),
        key=lambda row: (row.id,),
    )
    items = [_block(row) for row in page.items]
    return PageOf[BlockOut](items=items, next=page.next, total=page.total)


@router.delete(
    "/payment-blocks/{block_id}",
    summary="Lift a block",
    status_code=204,
    responses=documented(404),
)
async def lift_block(
    pool: Pool,
    operator: Finance,
    block_id: BlockId,
    reason: Annotated[
        Note,
        Query(min_length=1, max_length=payment_blocks.REASON_LENGTH_MAX, description="Why."),
    ],
) -> None:
    """Let the driver start again, though she has not paid. The notice that led to the block leads
    to none any more; an invoice that is due anew begins again with its first reminder."""
    async with transaction(pool) as connection:
        await payment_blocks.lift(
            connection, block_id, reason, actor=actor_of(operator), now=datetime.now(UTC)
        )


@router.get(
    "/invoices/{invoice_id}/reminders", summary="An invoice's reminders", responses=documented(404)
)
async def list_reminders(
    pool: Pool,
    _: Operator,
    invoice_id: Annotated[Identifier, Path(description="The invoice's number in lists.")],
) -> PageOf[ReminderOut]:
    """What was written about an invoice to whoever pays it, the first one first."""
    async with pool.connection() as connection:
        if not await store.has_invoice(connection, invoice_id):
            raise NotThere(f"There is no invoice {invoice_id}.")
        found = await store.list_letters(connection, invoice_id)
    return whole([ReminderOut.model_validate(row) for row in found])


@router.get(
    "/me/payment-blocks",
    summary="Where I may not start",
    responses=documented(403),
    tags=["Drivers: me"],
)
async def list_my_blocks(request: Request, pool: Pool, driver: Driver) -> PageOf[MyBlockOut]:
    """The clients at whose stations the driver may not start because of unpaid invoices; one row
    each."""
    assert driver.person_id is not None
    async with pool.connection() as connection:
        rows = await fetch_unpaid(connection, driver.person_id)
    by_client: dict[int, list[UnpaidRow]] = {}
    for row in rows:
        by_client.setdefault(row.client_id, []).append(row)
    iban = request.app.state.settings.operator_mandate_iban
    return whole([_my_block(found, iban, driver.language) for found in by_client.values()])


def _block(row: BlockRow) -> BlockOut:
    invoices = [
        BlockedInvoiceOut(invoice_id=invoice_id, number=number, left_cents=left_cents)
        for invoice_id, number, left_cents in row.invoices
    ]
    shown = {name: getattr(row, name) for name in row.__slots__ if name != "invoices"}
    return BlockOut(**shown, invoices=invoices)


def _my_block(rows: list[UnpaidRow], iban: str | None, language: str) -> MyBlockOut:
    french, english = unpaid.sentences(rows, iban)
    return MyBlockOut(
        client_id=rows[0].client_id,
        client=rows[0].client,
        from_at=rows[0].from_at,
        left_cents=sum(row.left_cents for row in rows),
        invoices=[MyUnpaidInvoiceOut.model_validate(row) for row in rows],
        sentence=english if language == "en" else french,
    )
