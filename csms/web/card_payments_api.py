"""Operations on payments through a payment provider: a driver pays an invoice, the operator looks
at payments, gives back, and books what the provider pays out. No data of a card passes here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from psycopg import AsyncConnection
from pydantic import Field

from billing import card_payments
from billing.card_payments import Settlement
from billing.providers import PaymentProvider, Unavailable
from billing.providers.choosing import provider
from billing.store import card_payments as store
from billing.store import invoices, receipts
from billing.store.card_payments import PaymentListed
from csms.db import transaction
from csms.registry import NotThere
from csms.web.clients_api import actor_of
from csms.web.fields import CursorText, Identifier, Input, Label, Limit, Name, Output, PageOf, Utc
from csms.web.guard import Driver, Finance, Operator, Own, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import Problem, documented

router = APIRouter(tags=["Card payments"])

Status = Literal[
    "requested",
    "authorised",
    "captured",
    "partly_refunded",
    "refunded",
    "charged_back",
    "voided",
    "failed",
    "unknown",
]
Reference = Annotated[Name, Field(max_length=100)]
PersonId = Annotated[Identifier, Path(description="The driver's number.")]
PaymentId = Annotated[Identifier, Path(description="The payment's number.")]
InvoiceId = Annotated[Identifier, Path(description="The invoice's number.")]
Cents = Annotated[int, Field(strict=True, ge=1, le=10**10)]


class MethodIn(Input):
    """The provider's own references, as it shows them; never the number of a card."""

    customer_reference: Reference
    method_reference: Reference


class MethodOut(Output):
    id: int


class MyCardPaymentOut(Output):
    """A payment of an invoice of mine. `unknown`: the provider has not answered; it is asked again
    by itself."""

    id: int
    provider: Label
    invoice_id: int
    invoice_number: str
    amount_cents: int
    status: Status
    captured_cents: int
    reason: str | None
    is_simulated: bool = Field(description="Of a demonstration: no money moved.")
    created_at: Utc


class CardPaymentOut(MyCardPaymentOut):
    client_id: int
    person_id: int
    booked_cents: int = Field(description="What of it is there now.")
    checked_at: Utc


class RefundIn(Input):
    amount_cents: Cents
    kept_cents: Cents = Field(
        description="booked_cents as it was seen: the same call again gives nothing back twice."
    )


class SettlementIn(Input):
    """A payout of the provider's, as its report says."""

    reference: Reference
    gross_cents: Cents = Field(description="Of payments, refunds taken off.")
    fee_cents: Annotated[int, Field(strict=True, ge=0, le=10**10)]
    line_id: Identifier | None = Field(
        default=None, description="The bank's line that it is, where that does not name it."
    )


class SettlementOut(Output):
    line_id: int | None = Field(description="The bank's line that tells of it; null: none yet.")


@router.post(
    "/drivers/{person_id}/provider-methods",
    summary="Enter where a driver may be charged",
    status_code=201,
    responses=documented(404),
)
async def add_method(
    request: Request, pool: Pool, _: Finance, person_id: PersonId, body: MethodIn
) -> MethodOut:
    """The references that the provider gave for her; those before are revoked by it."""
    async with _provider(request) as named, pool.connection() as connection:
        if await receipts.find_driver(connection, person_id) is None:
            raise NotThere(f"There is no driver {person_id}.")
        made = await card_payments.add_method(
            connection,
            named,
            person_id,
            body.customer_reference,
            body.method_reference,
            _now(),
        )
    return MethodOut(id=made)


@router.delete(
    "/drivers/{person_id}/provider-methods",
    summary="Charge a driver no more",
    status_code=204,
    responses=documented(404),
)
async def revoke_method(request: Request, pool: Pool, _: Finance, person_id: PersonId) -> None:
    """Nothing more is charged by the provider; what is under way goes on."""
    async with _provider(request) as named, transaction(pool) as connection:
        if not await store.revoke_method(connection, person_id, named.name, _now()):
            raise NotThere(f"Driver {person_id} is not charged by a provider.")


@router.get("/card-payments", summary="List payments at the provider", responses=documented())
async def list_payments(
    pool: Pool,
    _: Operator,
    person_id: Annotated[Identifier | None, Query(description="Only of this driver.")] = None,
    status: Annotated[Status | None, Query(description="Only those that stand so.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[CardPaymentOut]:
    """Payments, the last asked for first."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_payments(
            connection, person_id=person_id, status=status, limit=count, cursor=after
        ),
        total=lambda connection: store.count_payments(
            connection, person_id=person_id, status=status
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, CardPaymentOut)


@router.post(
    "/card-payments/{payment_id}/refund",
    summary="Give a payment back",
    responses=documented(404, 409),
)
async def refund(
    request: Request, pool: Pool, operator: Finance, payment_id: PaymentId, body: RefundIn
) -> CardPaymentOut:
    """So much of a captured payment, at once; the invoice is open again by it. 503 when the
    provider does not answer: call again, nothing is given back twice."""
    async with _provider(request) as named, pool.connection() as connection:
        await _shown(connection, payment_id)
        await card_payments.refund(
            connection,
            named,
            payment_id,
            body.amount_cents,
            _now(),
            kept_cents=body.kept_cents,
            actor=actor_of(operator),
        )
        return CardPaymentOut.model_validate(await _shown(connection, payment_id))


@router.post(
    "/provider-settlements",
    summary="Book a payout of the provider's",
    responses=documented(404, 409),
)
async def settle(
    request: Request, pool: Pool, operator: Finance, body: SettlementIn
) -> SettlementOut:
    """Once for a reference. The bank's line that names it, before or afterwards, is explained by
    it."""
    report = Settlement(body.reference, body.gross_cents, body.fee_cents)
    async with _provider(request) as named, pool.connection() as connection:
        line_id = await card_payments.settle(
            connection, named, report, _now(), actor=actor_of(operator), line_id=body.line_id
        )
    return SettlementOut(line_id=line_id)


@router.get("/me/card-payments", summary="My card payments", responses=documented(403))
async def list_my_payments(
    own: Own, driver: Driver, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[MyCardPaymentOut]:
    """Payments of my invoices through the payment provider, the last first."""
    person_id = driver.person_id
    page = await read_rows(
        own,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_payments(
            connection, person_id=person_id, limit=count, cursor=after
        ),
        total=lambda connection: store.count_payments(connection, person_id=person_id),
        key=lambda row: (row.id,),
    )
    return shaped(page, MyCardPaymentOut)


@router.post(
    "/me/invoices/{invoice_id}/card-payment",
    summary="Pay an invoice of mine by card",
    responses=documented(403, 404, 409),
)
async def pay(
    request: Request, pool: Pool, own: Own, driver: Driver, invoice_id: InvoiceId
) -> MyCardPaymentOut:
    """Charge what is open of it where the provider knows my card. The same call again goes on with
    the payment that is under way, and pays nothing twice."""
    async with own.connection() as connection:
        invoice = await invoices.get_invoice(connection, invoice_id)
    if invoice is None or invoice.person_id != driver.person_id:
        raise NotThere(f"There is no invoice {invoice_id} of yours.")
    async with _provider(request) as named, pool.connection() as connection:
        await card_payments.pay_invoice(
            connection,
            named,
            invoice.number,
            _now(),
            actor=actor_of(driver),
            simulated=request.app.state.settings.billing_simulated,
        )
        (made,) = await store.list_payments(connection, invoice_id=invoice_id, limit=1)
    return MyCardPaymentOut.model_validate(made)


@asynccontextmanager
async def _provider(request: Request) -> AsyncIterator[PaymentProvider]:
    """The provider of the settings; that it does not answer is told as such."""
    async with provider(request.app.state.settings) as named:
        try:
            yield named
        except Unavailable as error:
            raise Problem(
                503, f"The payment provider does not answer ({error}): try again in a minute."
            ) from error


async def _shown(connection: AsyncConnection, payment_id: int) -> PaymentListed:
    """Raises: NotThere."""
    found = await store.list_payments(connection, payment_id=payment_id, limit=1)
    if not found:
        raise NotThere(f"There is no payment {payment_id}.")
    return found[0]


def _now() -> datetime:
    return datetime.now(UTC)
