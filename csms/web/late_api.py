"""Operations on late payment: legal rates, what late payouts cost, what late clients owe."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BeforeValidator, Field

from billing import late_fees
from billing.store import late_payment as store
from csms import deadlines
from csms.db import transaction
from csms.web.clients_api import actor_of
from csms.web.fields import CursorText, Day, Input, Limit, Name, Output, PageOf, Utc, plain_number
from csms.web.guard import Finance, Operator, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(tags=["Payments"])

Semester = Annotated[
    str, Path(pattern=r"^20[0-9]{2}-S[12]$", description="A half year, like 2026-S2.")
]
Percent = Annotated[Decimal, Field(ge=0, le=100, decimal_places=2)]
PercentOut = Annotated[int | float, BeforeValidator(plain_number)]


class RateIn(Input):
    """What the decree says, read by a person."""

    particuliers: Percent = Field(description="Per cent a year, for creditors who are people.")
    autres: Percent = Field(description="Per cent a year, in all other cases.")
    decree: Name = Field(description="The arrêté, and the Journal officiel that it stands in.")
    source: Name = Field(description="Where it was read.")


class RateOut(Output):
    """`verified_at` null: nothing is reckoned with it."""

    semester: str
    particuliers: PercentOut
    autres: PercentOut
    decree: str | None
    source: str
    verified_at: Utc | None
    verified_by: str | None


class LatePaymentOut(Output):
    """What a payout that came late cost the operator; it leaves with the client's next one."""

    id: int
    client_id: int
    payout_id: int
    month: date
    principal_cents: int
    paid_on: date
    interest_cents: int
    indemnity_cents: int
    spans: list[dict[str, Any]] = Field(description="How the interest is made, by half year.")
    created_at: Utc
    created_by: str


class ClaimOut(Output):
    """What a client owes because it paid late; `problem`: why there is no figure."""

    invoice_id: int
    number: str
    client_id: int
    client: str
    due_on: date = Field(description="Or the later day for which the debit was announced.")
    until_on: date
    open_cents: int
    interest_cents: int
    indemnity_cents: int
    problem: str | None


class ReckonedOut(Output):
    payouts: int
    interest_cents: int
    indemnity_cents: int
    stopped: list[str] = Field(description="Half years whose rate is not verified.")


@router.get("/billing/legal-rates", summary="List legal rates", responses=documented())
async def list_rates(
    pool: Pool, _: Operator, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[RateOut]:
    """The legal rate of interest by half year, with its decree and who verified it."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (str,),
        rows=lambda connection, count, after: store.list_rates(
            connection, limit=count, cursor=after
        ),
        total=store.count_rates,
        key=lambda row: (row.semester,),
    )
    return shaped(page, RateOut)


@router.put(
    "/billing/legal-rates/{semester}", summary="Verify a legal rate", responses=documented(409)
)
async def verify_rate(pool: Pool, operator: Finance, semester: Semester, body: RateIn) -> RateOut:
    """Enter what the decree of a half year says. What is verified stays."""
    async with transaction(pool) as connection:
        made = await late_fees.verify_rate(
            connection,
            semester=semester,
            **dict(body),
            actor=actor_of(operator),
            now=datetime.now(UTC),
        )
    return RateOut.model_validate(made)


@router.get("/late-payments", summary="List late payouts", responses=documented())
async def list_late(
    pool: Pool, _: Operator, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[LatePaymentOut]:
    """What payouts cost that reached a professional after their day, the last first."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_late(
            connection, limit=count, cursor=after
        ),
        total=store.count_late,
        key=lambda row: (row.id,),
    )
    return shaped(page, LatePaymentOut)


@router.post(
    "/late-payments",
    summary="Reckon late payouts",
    status_code=201,
    responses=documented(),
)
async def reckon_late(pool: Pool, operator: Finance) -> ReckonedOut:
    """Book what payouts cost that came late, each once: interest and 40 EUR, out of the operator's
    own money. The worker does it too."""
    async with pool.connection() as connection:
        done = await late_fees.reckon(connection, datetime.now(UTC), actor=actor_of(operator))
    return ReckonedOut(
        payouts=done.payouts,
        interest_cents=done.interest_cents,
        indemnity_cents=done.indemnity_cents,
        stopped=sorted({why.semester for why in done.stopped.values()}),
    )


@router.get("/late-payments/claims", summary="What late clients owe", responses=documented())
async def list_claims(
    pool: Pool,
    _: Operator,
    until: Annotated[Day | None, Query(description="Until this day; today.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[ClaimOut]:
    """What clients owe because they paid the operator's invoices late, or have not paid: to be
    claimed by a person, and booked nowhere. Contested invoices are left out."""
    day = until or deadlines.paris_day(datetime.now(UTC))

    async def rows(connection: Any, count: int, after: Any) -> list[ClaimOut]:
        rates = await store.fetch_verified(connection)
        found = await store.list_own_late(connection, day, limit=count, cursor=after)
        claims = [late_fees.claim(row, day, rates) for row in found]
        return [_claim(each) for each in claims if each is not None]

    async def total(connection: Any) -> int:
        return len(await late_fees.list_claims(connection, day))

    page = await read_rows(
        pool, limit, cursor, (int,), rows=rows, total=total, key=lambda row: (row.invoice_id,)
    )
    return PageOf[ClaimOut](items=list(page.items), next=page.next, total=page.total)


def _claim(each: late_fees.Claim) -> ClaimOut:
    problem = None if each.stopped is None else f"{each.stopped.message} {each.stopped.remedy}"
    return ClaimOut(
        invoice_id=each.invoice_id,
        number=each.number,
        client_id=each.client_id,
        client=each.client,
        due_on=each.due_on,
        until_on=each.until_on,
        open_cents=each.open_cents,
        interest_cents=each.interest_cents,
        indemnity_cents=each.indemnity_cents,
        problem=problem,
    )
