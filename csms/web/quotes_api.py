"""Operations on the operator's quotes, additional costs and refunds. Managers see the quotes of
their clients."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from psycopg import AsyncConnection
from pydantic import BeforeValidator, Field

from billing import ordering
from billing.orders import Case
from billing.store import orders as store
from billing.store.orders import QuoteRow
from csms.db import transaction
from csms.registry import NotThere
from csms.web.clients_api import ClientId, actor_of
from csms.web.fields import (
    CursorText,
    Day,
    Identifier,
    Input,
    Label,
    Limit,
    Moment,
    Name,
    Note,
    Output,
    PageOf,
    Truth,
    Utc,
    plain_number,
)
from csms.web.guard import Finance, Operator, Pool, Reader
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(tags=["Quotes"])

QuoteId = Annotated[Identifier, Path(description="The quote's number.")]
Status = Literal["draft", "accepted", "declined", "completed", "cancelled", "withdrawn"]
Kind = Literal["installation", "intervention"]
UnitCents = Annotated[int, Field(strict=True, ge=-100_000_000, le=100_000_000)]
Quantity = Annotated[Decimal, Field(gt=0, le=1_000_000, decimal_places=3)]
Text = Annotated[Note, Field(max_length=ordering.TEXT_LENGTH_MAX)]


class QuoteLineIn(Input):
    label: Name
    quantity: Quantity
    unit_excl_cents: UnitCents = Field(description="Before VAT; below 0: a discount.")


class QuoteIn(Input):
    client_id: Identifier
    reference: Annotated[Name, Field(max_length=100)] = Field(description="Number of the Devis.")
    kind: Kind
    label: Name
    lines: Annotated[list[QuoteLineIn], Field(min_length=1, max_length=ordering.LINES_MAX)]
    valid_until: Day
    deposit_rate: Annotated[Decimal, Field(ge=0, le=1, decimal_places=4)] = Field(
        default=Decimal("0.5"), description="Of an installation: half, unless the Devis says less."
    )
    is_distance: Truth = Field(
        default=False, description="Made at a distance: may be withdrawn from for 14 clear days."
    )


class AcceptIn(Input):
    signed_on: Day
    signed_by: Name
    planned_at: Moment | None = Field(default=None, description="Of the visit.")


class ReasonIn(Input):
    reason: Text


class CompleteIn(Input):
    on: Day = Field(description="Day of the installation's report, or of the work.")
    reserves: Annotated[str, Field(max_length=ordering.TEXT_LENGTH_MAX)] = ""


class CancelIn(Input):
    agreement: Text = Field(description="How the operator has agreed.")


class WithdrawIn(Input):
    on: Day = Field(description="Day on which the withdrawal was sent.")


class QuoteListed(Output):
    id: int
    client_id: int
    reference: Label
    kind: Kind
    label: Label
    total_excl_cents: int
    deposit_rate: Annotated[int | float, BeforeValidator(plain_number)]
    is_distance: bool
    valid_until: date
    status: Status
    signed_on: date | None
    signed_by: str | None
    planned_at: Utc | None
    ended_on: date | None
    created_at: Utc


class QuoteLineOut(Output):
    position: int
    label: str
    quantity: Annotated[int | float, BeforeValidator(plain_number)]
    unit_excl_cents: int
    amount_excl_cents: int


class SaleOut(Output):
    """What the quote sold, with its document."""

    own_sale_id: int
    part: Literal["deposit", "balance", "cancellation", "refund", "additional"]
    due_on: date
    amount_excl_cents: int
    invoice_id: int | None
    invoice_number: str | None


class QuoteOut(QuoteListed):
    lines: list[QuoteLineOut]
    sales: list[SaleOut] = Field(description="For operators.")


class CostIn(Input):
    """Article 7: (i) no_access, (ii) nothing_found, (iii) unfinished, (iv) late_cancellation."""

    case: Case
    label: Name
    amount_excl_cents: Annotated[int, Field(strict=True, gt=0, le=10_000_000)]
    on_day: Day
    evidence: Text = Field(description="What shows that the case holds.")
    source_key: Annotated[Name, Field(max_length=100)]
    quote_id: Identifier | None = None


class CostOut(Output):
    own_sale_id: int


class RefundOut(Output):
    invoice_id: int
    number: str
    client_id: int
    client: str
    quote_id: int | None = Field(description="Whose deposit it was; null: paid twice, or credited.")
    amount_cents: int
    due_on: date


class RefundIn(Input):
    paid_on: Day
    reference: Annotated[Name, Field(max_length=35)] = Field(description="Of the transfer.")


@router.get("/quotes", summary="List quotes", responses=documented())
async def list_quotes(
    reader: Reader,
    client_id: Annotated[Identifier | None, Query(description="Only of this client.")] = None,
    status: Annotated[Status | None, Query(description="Only those that stand so.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[QuoteListed]:
    """Quotes, the last made first."""
    asked: dict[str, Any] = {
        "client_ids": reader.clients,
        "client_id": client_id,
        "status": status,
    }
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_quotes(
            connection, **asked, limit=count, cursor=after
        ),
        total=lambda connection: store.count_quotes(connection, **asked),
        key=lambda row: (row.id,),
    )
    return shaped(page, QuoteListed)


@router.get("/quotes/{quote_id}", summary="A quote", responses=documented(404))
async def get_quote(reader: Reader, quote_id: QuoteId) -> QuoteOut:
    """One quote with its lines; for operators, what it sold."""
    async with reader.connection() as connection:
        found = await store.list_quotes(
            connection,
            client_ids=reader.clients,
            client_id=None,
            status=None,
            quote_id=quote_id,
            limit=1,
        )
        if not found:
            raise NotThere(f"There is no quote {quote_id}.")
        return await _shown(connection, found[0], with_sales=reader.clients is None)


@router.post("/quotes", summary="Offer a quote", status_code=201, responses=documented(404, 409))
async def add_quote(pool: Pool, operator: Finance, body: QuoteIn) -> QuoteOut:
    """Enter a quote as it is offered; it stays as it is."""
    async with transaction(pool) as connection:
        made = await ordering.add_quote(
            connection,
            client_id=body.client_id,
            reference=body.reference,
            kind=body.kind,
            label=body.label,
            lines=[
                ordering.Line(line.label, line.quantity, line.unit_excl_cents)
                for line in body.lines
            ],
            valid_until=body.valid_until,
            deposit_rate=body.deposit_rate,
            is_distance=body.is_distance,
            actor=actor_of(operator),
            now=_now(),
        )
        found = await store.get_quote(connection, made)
        assert found is not None
        return await _shown(connection, found)


@router.post("/quotes/{quote_id}/accept", summary="Accept a quote", responses=documented(404, 409))
async def accept_quote(
    request: Request, pool: Pool, operator: Finance, quote_id: QuoteId, body: AcceptIn
) -> QuoteOut:
    """The client has signed: an installation's deposit is invoiced, due within six days."""
    async with transaction(pool) as connection:
        found = await ordering.accept(
            connection,
            quote_id,
            signed_on=body.signed_on,
            signed_by=body.signed_by,
            planned_at=body.planned_at,
            actor=actor_of(operator),
            now=_now(),
            settings=request.app.state.settings,
        )
        return await _shown(connection, found)


@router.post(
    "/quotes/{quote_id}/decline", summary="Decline a quote", responses=documented(404, 409)
)
async def decline_quote(
    pool: Pool, operator: Finance, quote_id: QuoteId, body: ReasonIn
) -> QuoteOut:
    """Nobody signs it."""
    async with transaction(pool) as connection:
        found = await ordering.decline(
            connection, quote_id, body.reason, actor_of(operator), _now()
        )
        return await _shown(connection, found)


@router.post(
    "/quotes/{quote_id}/complete", summary="Complete a quote", responses=documented(404, 409)
)
async def complete_quote(
    request: Request, pool: Pool, operator: Finance, quote_id: QuoteId, body: CompleteIn
) -> QuoteOut:
    """Installed, by the report that both signed, or done: the balance is invoiced."""
    async with transaction(pool) as connection:
        found = await ordering.complete(
            connection,
            quote_id,
            body.on,
            body.reserves,
            actor=actor_of(operator),
            now=_now(),
            settings=request.app.state.settings,
        )
        return await _shown(connection, found)


@router.post("/quotes/{quote_id}/cancel", summary="Cancel an order", responses=documented(404, 409))
async def cancel_quote(
    request: Request, pool: Pool, operator: Finance, quote_id: QuoteId, body: CancelIn
) -> QuoteOut:
    """The client cancels and the operator agrees: a fifth of the order, 350 EUR at least, is
    invoiced and paid by the deposit; the rest of that is to be given back."""
    async with transaction(pool) as connection:
        found = await ordering.cancel(
            connection,
            quote_id,
            body.agreement,
            actor=actor_of(operator),
            now=_now(),
            settings=request.app.state.settings,
        )
        return await _shown(connection, found)


@router.post(
    "/quotes/{quote_id}/withdraw",
    summary="Withdraw from a contract",
    responses=documented(404, 409),
)
async def withdraw_quote(
    request: Request, pool: Pool, operator: Finance, quote_id: QuoteId, body: WithdrawIn
) -> QuoteOut:
    """The client withdraws from a distance contract: all that it paid is to be given back."""
    async with transaction(pool) as connection:
        found = await ordering.withdraw(
            connection,
            quote_id,
            body.on,
            actor=actor_of(operator),
            now=_now(),
            settings=request.app.state.settings,
        )
        return await _shown(connection, found)


@router.post(
    "/clients/{client_id}/additional-costs",
    summary="Charge additional costs",
    status_code=201,
    responses=documented(404, 409),
)
async def add_cost(
    request: Request, pool: Pool, operator: Finance, client_id: ClientId, body: CostIn
) -> CostOut:
    """Additional costs by one of the four cases of article 7, invoiced at once."""
    async with transaction(pool) as connection:
        made = await ordering.add_cost(
            connection,
            client_id=client_id,
            **dict(body),
            actor=actor_of(operator),
            now=_now(),
            settings=request.app.state.settings,
        )
    return CostOut(own_sale_id=made)


@router.get("/own-refunds", summary="List refunds that are due", responses=documented())
async def list_refunds(
    pool: Pool, _: Operator, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[RefundOut]:
    """What clients are to be given back of the operator's invoices (deposits, what was paid twice
    or credited), and by when. Transfer it, then explain the bank's line as refund."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_refunds(
            connection, limit=count, cursor=after
        ),
        total=store.count_refunds,
        key=lambda row: (row.invoice_id,),
    )
    return shaped(page, RefundOut)


@router.post("/own-refunds/{invoice_id}", summary="Note a refund", responses=documented(404))
async def note_refund(
    pool: Pool,
    operator: Finance,
    invoice_id: Annotated[Identifier, Path(description="Of what is given back.")],
    body: RefundIn,
) -> RefundOut:
    """A refund has left the operator's own account."""
    async with transaction(pool) as connection:
        found = await ordering.note_refund(
            connection,
            invoice_id,
            paid_on=body.paid_on,
            reference=body.reference,
            actor=actor_of(operator),
            now=_now(),
        )
    return RefundOut.model_validate(found)


async def _shown(
    connection: AsyncConnection, quote: QuoteRow, *, with_sales: bool = True
) -> QuoteOut:
    lines = await store.list_lines(connection, quote.id)
    sales = await store.list_sales(connection, quote.id) if with_sales else []
    return QuoteOut(
        **QuoteListed.model_validate(quote).model_dump(),
        lines=[QuoteLineOut.model_validate(line) for line in lines],
        sales=[SaleOut.model_validate(sale) for sale in sales],
    )


def _now() -> datetime:
    return datetime.now(UTC)
