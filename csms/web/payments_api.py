"""Operations on payments: payouts, the files that carry them to the bank, the calendar of money.

A file is made by one person and approved by another; a key counts as whoever made it. Managers see
the payouts of their clients.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BeforeValidator, Field

from billing import agenda, payment_files, payouts
from billing.agenda import Kind
from billing.store import payment_files as file_store
from billing.store import payouts as store
from csms import deadlines
from csms.db import transaction
from csms.registry import NotThere, Refusal
from csms.web.clients_api import actor_of
from csms.web.fields import (
    CursorText,
    Day,
    Identifier,
    Input,
    Limit,
    Note,
    Output,
    PageOf,
    Utc,
)
from csms.web.guard import Finance, Operator, Pool, Reader
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(tags=["Payments"])

FileId = Annotated[Identifier, Path(description="The payment file's number.")]
Status = Literal["draft", "sent", "settled", "returned", "refused", "cancelled"]
REASON_LENGTH_MAX = 500
CALENDAR_DAYS = 45


class PayoutListed(Output):
    id: int
    client_id: int
    client: str
    month: date = Field(description="The last whose statement it pays: its first day.")
    amount_cents: int
    due_on: date = Field(description="The last day of article 5.4 c.")
    iban: str
    holder: str
    end_to_end_id: str = Field(description="What the transfer is called at the bank.")
    status: Status
    file_id: int | None
    settled_on: date | None = Field(description="The bank's day.")


class PayoutLineOut(Output):
    position: int
    kind: Literal["statement", "release", "late"]
    statement_id: int | None
    dispute_id: int | None
    late_payment_id: int | None
    month: date
    amount_cents: int


class PayoutEventOut(Output):
    status: Status
    at: Utc
    by: str | None = Field(description="Who, where an operator reads.")
    detail: str | None


class PayoutOut(PayoutListed):
    lines: list[PayoutLineOut]
    events: list[PayoutEventOut]


class PayIn(Input):
    month: Day = Field(description="The last month to pay of: its first day.")
    client_id: Identifier | None = Field(default=None, description="Only of this client.")
    execution_on: Day | None = Field(
        default=None, description="Day of the transfers; null: the last in time."
    )


class StoppedOut(Output):
    client_id: int
    cause: str
    message: str
    remedy: str


class PaidOut(Output):
    """What was made; file_id null: there was nothing for a file."""

    payouts: int
    amount_cents: int
    late: int = Field(description="Of these, made after their last day.")
    file_id: int | None
    total_cents: int
    swept_cents: int = Field(description="Of the file, to the operator's own account.")
    to_lay_cents: int = Field(
        description="What the operator has to transfer to the account of third parties."
    )
    stopped: list[StoppedOut]


class FileOut(Output):
    id: int
    kind: Literal["payout", "debit"]
    account: Literal["mandate", "own"]
    message_id: str
    execution_on: date
    payments: int
    total_cents: int
    sha256: Annotated[str, BeforeValidator(lambda value: bytes(value).hex())]
    is_simulated: bool
    created_at: Utc
    created_by: str
    approved_at: Utc | None
    approved_by: str | None
    sent_at: Utc | None
    cancelled_at: Utc | None


class CancelIn(Input):
    reason: Annotated[Note, Field(max_length=REASON_LENGTH_MAX)]


class DueOut(Output):
    """Something that falls on a day. `number` of what, null where nobody can know yet."""

    day: date
    kind: Kind
    detail: str = Field(description="A month, a file's or a contract's name.")
    number: int | None
    amount_cents: int | None
    is_late: bool


@router.get("/payouts", summary="List payouts", responses=documented())
async def list_payouts(
    reader: Reader,
    client_id: Annotated[Identifier | None, Query(description="Only of this client.")] = None,
    month: Annotated[Day | None, Query(description="Only of this month: its first day.")] = None,
    status: Annotated[Status | None, Query(description="Only those that stand so.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[PayoutListed]:
    """Payouts to clients, the last made first."""
    asked: dict[str, Any] = {
        "client_ids": reader.clients,
        "client_id": client_id,
        "month": month,
        "status": status,
    }
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_payouts(
            connection, **asked, limit=count, cursor=after
        ),
        total=lambda connection: store.count_payouts(connection, **asked),
        key=lambda row: (row.id,),
    )
    return shaped(page, PayoutListed)


@router.get("/payouts/{payout_id}", summary="A payout", responses=documented(404))
async def get_payout(
    reader: Reader, payout_id: Annotated[Identifier, Path(description="Its number.")]
) -> PayoutOut:
    """One payout with what it pays, and what happened to it."""
    async with reader.connection() as connection:
        found = await store.list_payouts(
            connection,
            client_ids=reader.clients,
            client_id=None,
            month=None,
            status=None,
            payout_id=payout_id,
            limit=1,
        )
        if not found:
            raise NotThere(f"There is no payout {payout_id}.")
        lines = await store.list_payout_lines(connection, payout_id)
        events = await store.list_payout_events(connection, payout_id)
    return PayoutOut(
        **PayoutListed.model_validate(found[0]).model_dump(),
        lines=[PayoutLineOut.model_validate(line) for line in lines],
        events=[
            PayoutEventOut(
                status=event.status,  # type: ignore[arg-type]  # the table knows no other
                at=event.at,
                by=event.by if reader.clients is None else None,
                detail=event.detail,
            )
            for event in events
        ],
    )


@router.post("/payouts", summary="Make payouts", status_code=201, responses=documented(409))
async def make_payouts(request: Request, pool: Pool, operator: Finance, body: PayIn) -> PaidOut:
    """Make the payouts of what statements up to a month leave to be paid, and one file of them for
    the bank, which another person approves. A second call makes nothing twice. Whom something
    keeps from being paid is told in `stopped`, and stops nobody else."""
    now, actor, settings = datetime.now(UTC), actor_of(operator), request.app.state.settings
    done = await payouts.draft(
        pool, body.month, now, settings=settings, actor=actor, client_id=body.client_id
    )
    filed = await payment_files.make(
        pool, now, settings=settings, actor=actor, execution_on=body.execution_on
    )
    stopped = [
        StoppedOut(client_id=one, cause=why.cause, message=why.message, remedy=why.remedy)
        for one, why in done.stopped.items()
    ]
    stopped += [
        StoppedOut(client_id=one, cause="refused", message=why, remedy="")
        for one, why in filed.refused.items()
    ]
    return PaidOut(
        payouts=done.payouts,
        amount_cents=done.amount_cents,
        late=done.late,
        file_id=filed.file_id,
        total_cents=filed.total_cents,
        swept_cents=filed.swept_cents,
        to_lay_cents=filed.to_lay_cents,
        stopped=stopped,
    )


@router.get("/payment-files", summary="List payment files", responses=documented())
async def list_payment_files(
    pool: Pool,
    _: Operator,
    is_open: Annotated[
        bool | None, Query(description="Those that wait for a person; false: those that do not.")
    ] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[FileOut]:
    """Files of transfers and of direct debits, the last made first."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: file_store.list_files(
            connection, is_open=is_open, limit=count, cursor=after
        ),
        total=lambda connection: file_store.count_all(connection, is_open=is_open),
        key=lambda row: (row.id,),
    )
    return shaped(page, FileOut)


@router.get("/payment-files/{file_id}", summary="A payment file", responses=documented(404))
async def get_payment_file(pool: Pool, _: Operator, file_id: FileId) -> FileOut:
    """One file; its bytes are handed out once it is approved."""
    async with transaction(pool) as connection:
        return await _file(connection, file_id)


@router.post(
    "/payment-files/{file_id}/approve",
    summary="Approve a payment file",
    responses=documented(404, 409),
)
async def approve_payment_file(pool: Pool, operator: Finance, file_id: FileId) -> FileOut:
    """Approve a file that another person made."""
    async with transaction(pool) as connection:
        await payment_files.approve(connection, file_id, actor_of(operator), datetime.now(UTC))
        return await _file(connection, file_id)


@router.post(
    "/payment-files/{file_id}/hand-out",
    summary="Hand out a payment file",
    response_class=Response,
    responses={200: {"content": {"application/xml": {}}}, **documented(404, 409)},
)
async def hand_out_payment_file(pool: Pool, operator: Finance, file_id: FileId) -> Response:
    """The bytes of an approved file, for the bank (pain.001, pain.008): from now on its payments
    are on their way. The same again gives the same bytes."""
    async with transaction(pool) as connection:
        content = await payment_files.hand_out(
            connection, file_id, actor_of(operator), datetime.now(UTC)
        )
        file = await _file(connection, file_id)
    name = f'attachment; filename="{file.message_id}.xml"'
    return Response(content, media_type="application/xml", headers={"Content-Disposition": name})


@router.post(
    "/payment-files/{file_id}/cancel",
    summary="Give up a payment file",
    responses=documented(404, 409),
)
async def cancel_payment_file(
    pool: Pool, operator: Finance, file_id: FileId, body: CancelIn
) -> FileOut:
    """Give up a file that was not handed out: its payouts are due as before, its debits wait for
    another file."""
    async with transaction(pool) as connection:
        await payment_files.cancel(
            connection, file_id, body.reason, actor_of(operator), datetime.now(UTC)
        )
        return await _file(connection, file_id)


@router.get("/billing/calendar", summary="What is due when", responses=documented())
async def get_calendar(
    request: Request,
    pool: Pool,
    _: Operator,
    from_on: Annotated[Day | None, Query(alias="from", description="First day; today.")] = None,
    to: Annotated[Day | None, Query(description="Last day; 45 days later.")] = None,
) -> PageOf[DueOut]:
    """Statements, contests, payouts, files for the bank, debits, letters, by day; what is late
    stays until it is done."""
    now = datetime.now(UTC)
    first = from_on or deadlines.paris_day(now)
    last = to or first + timedelta(days=CALENDAR_DAYS)
    if not first <= last <= first + timedelta(days=agenda.DAYS_MAX):
        raise Refusal(f"From one day to a later one, {agenda.DAYS_MAX} days at most.", "to")
    async with pool.connection() as connection:
        found = await agenda.calendar(
            connection, first, last, now, settings=request.app.state.settings
        )
    items = [DueOut.model_validate(item) for item in found]
    return PageOf[DueOut](items=items, next=None, total=len(items))


async def _file(connection: Any, file_id: int) -> FileOut:
    """Raises: NotThere."""
    found = await file_store.get_file(connection, file_id)
    if found is None:
        raise NotThere(f"There is no payment file {file_id}.")
    return FileOut.model_validate(found)
