"""Operations on what the bank says, and on direct debits: statements, lines that nothing explains,
mandates, debits."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BeforeValidator, Field

from billing import collecting, refusals, sepa, settling
from billing.store import banking as bank_store
from billing.store import collecting as store
from billing.store.collecting import MandateRow
from csms.clients import masked
from csms.db import transaction
from csms.registry import NotThere, Refusal
from csms.web.clients_api import ClientId, actor_of, whole
from csms.web.drivers_api import PersonId
from csms.web.fields import (
    CursorText,
    Day,
    Identifier,
    Input,
    Label,
    Limit,
    Name,
    Note,
    Output,
    PageOf,
    Utc,
)
from csms.web.guard import Finance, Operator, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(tags=["Payments"])

DebitStatus = Literal["notified", "sent", "collected", "returned", "refused", "cancelled"]
LineId = Annotated[Identifier, Path(description="The line's number.")]
MandateId = Annotated[Identifier, Path(description="The mandate's number.")]
Masked = Annotated[str, BeforeValidator(masked)]
REASON_LENGTH_MAX = 200
_XML_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/xml": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class SettledOut(Output):
    statements: int = Field(description="That are new.")
    known: int = Field(description="That were read in before: nothing of them is new.")
    lines: int
    by_kind: dict[str, int] = Field(description="Lines, by what they were taken for.")
    difference_cents: int | None = Field(
        description="The bank's balance of the account of third parties less that of the books."
    )


class RefusedOut(Output):
    by_kind: dict[str, int] = Field(
        description="Refused payments; known: settled before, unknown: none of ours."
    )


class CandidateOut(Output):
    invoice_id: int
    number: str
    client_id: int
    person_id: int | None
    left_cents: int


class LineOut(Output):
    id: int
    account: Literal["mandate", "own"]
    reference: str
    amount_cents: int
    booked_on: date
    kind: str
    counterparty_name: str | None
    counterparty_iban: str | None
    remittance: str | None
    is_simulated: bool


class ExplainIn(Input):
    """An invoice or a driver; or what else it is: `fee`, of the bank's; `top_up`, the operator's
    own money for the account of third parties; `refund`, of the operator's invoice named."""

    special: settling.Special | None = None
    invoice_number: Name | None = Field(default=None, description="The invoice that it pays.")
    person_id: Identifier | None = Field(
        default=None, description="The driver whose money it is: it pays her oldest invoices."
    )


class ExplainedOut(Output):
    subject: str = Field(description="What the line is taken for.")


class MandateIn(Input):
    reference: Annotated[str, Field(pattern=r"^[A-Za-z0-9+?/:().,'-]{1,35}$")] = Field(
        description="RUM, as on the form that was signed."
    )
    iban: Annotated[str, Field(min_length=15, max_length=42)]
    bic: Annotated[str, Field(pattern=r"^[A-Z0-9]{8}([A-Z0-9]{3})?$")] | None = None
    holder: Annotated[Name, Field(max_length=collecting.HOLDER_LENGTH_MAX)]
    signed_on: Day
    notice_days: Annotated[int, Field(strict=True, ge=1, le=collecting.NOTICE_DAYS_MAX)] = Field(
        default=collecting.NOTICE_DAYS_MAX, description="14, unless less was agreed."
    )


class RevokeIn(Input):
    reason: Annotated[Note, Field(max_length=REASON_LENGTH_MAX)]


class MandateOut(Output):
    id: int
    reference: str
    iban: Masked
    holder: Label
    signed_on: date
    notice_days: int
    created_at: Utc
    created_by: str
    revoked_at: Utc | None
    revoked_for: str | None


class DebitOut(Output):
    id: int
    client_id: int
    person_id: int | None
    mandate_reference: str
    invoice_id: int
    invoice_number: str
    amount_cents: int
    sequence: Literal["FRST", "RCUR"] | None
    notified_at: Utc
    collection_on: date
    end_to_end_id: str
    status: DebitStatus
    file_id: int | None
    settled_on: date | None
    reason: str | None


class CollectedOut(Output):
    announced: int
    announced_cents: int
    file_ids: list[int]
    debits: int = Field(description="In these files.")
    total_cents: int
    cancelled: dict[int, str] = Field(description="Debits that are not collected, and why.")


@router.post(
    "/bank-statements",
    summary="Read an account statement",
    status_code=201,
    responses=documented(409),
    openapi_extra=_XML_BODY,
)
async def read_bank_statement(
    request: Request,
    pool: Pool,
    operator: Finance,
    simulated: Annotated[bool, Query(description="Of a demonstration.")] = False,
) -> SettledOut:
    """Read camt.053: payouts and debits settle by their references, to the cent; what nothing
    explains goes to suspense. The same file again changes nothing."""
    content = await request.body()
    try:
        done = await settling.read_in(
            pool,
            content,
            datetime.now(UTC),
            settings=request.app.state.settings,
            actor=actor_of(operator),
            simulated=simulated,
        )
    except sepa.Unreadable as error:
        raise Refusal(str(error)) from None
    return SettledOut.model_validate(done)


@router.post(
    "/payment-reports",
    summary="Read a report on a payment file",
    status_code=201,
    responses=documented(409),
    openapi_extra=_XML_BODY,
)
async def read_payment_report(request: Request, pool: Pool, operator: Finance) -> RefusedOut:
    """Read pain.002: what the bank refused before it left is due as before."""
    content = await request.body()
    try:
        done = await refusals.read_in(pool, content, datetime.now(UTC), actor=actor_of(operator))
    except sepa.Unreadable as error:
        raise Refusal(str(error)) from None
    return RefusedOut(by_kind=dict(done))


@router.get("/bank-lines/suspense", summary="List unexplained lines", responses=documented())
async def list_suspense(
    pool: Pool, _: Operator, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[LineOut]:
    """Lines of the bank's that nothing explains yet, in the order in which they were read."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: bank_store.list_suspense(
            connection, limit=count, cursor=after
        ),
        total=bank_store.count_suspense,
        key=lambda row: (row.id,),
    )
    return shaped(page, LineOut)


@router.get(
    "/bank-lines/{line_id}/suggestions",
    summary="What a line may have paid",
    responses=documented(404),
)
async def list_suggestions(pool: Pool, _: Operator, line_id: LineId) -> PageOf[CandidateOut]:
    """Invoices that the line names, then open ones of its amount. A person decides."""
    async with transaction(pool) as connection:
        line = await bank_store.get_line(connection, line_id)
        if line is None:
            raise NotThere(f"There is no line {line_id} of the bank's.")
        found = await settling.suggest(connection, line)
    return whole([CandidateOut.model_validate(each) for each in found])


@router.post(
    "/bank-lines/{line_id}/explain", summary="Explain a line", responses=documented(404, 409)
)
async def explain_line(
    pool: Pool,
    operator: Finance,
    line_id: LineId,
    body: ExplainIn,
) -> ExplainedOut:
    """Say which invoice a line pays, or whose money it is. What it pays beyond is the driver's;
    beyond an invoice of the operator's it is to be given back."""
    named = [body.invoice_number, body.person_id]
    wanted = {None: 1, "refund": 1, "fee": 0, "top_up": 0}[body.special]
    if sum(each is not None for each in named) != wanted or (
        body.special == "refund" and body.invoice_number is None
    ):
        raise Refusal("Name the invoice or the driver, or say what else it is.", "invoice_number")
    async with transaction(pool) as connection:
        subject = await settling.explain(
            connection,
            line_id,
            person_id=body.person_id,
            invoice_number=body.invoice_number,
            special=body.special,
            actor=actor_of(operator),
            now=datetime.now(UTC),
        )
    return ExplainedOut(subject=subject)


@router.get(
    "/drivers/{person_id}/sepa-mandates", summary="A driver's mandates", responses=documented(404)
)
async def list_driver_mandates(pool: Pool, _: Operator, person_id: PersonId) -> PageOf[MandateOut]:
    """All that the driver signed, the one in force first."""
    return await _mandates(pool, person_id=person_id, client_id=None)


@router.post(
    "/drivers/{person_id}/sepa-mandates",
    summary="Enter a driver's mandate",
    status_code=201,
    responses=documented(404, 409),
)
async def add_driver_mandate(
    pool: Pool, operator: Finance, person_id: PersonId, body: MandateIn
) -> MandateOut:
    """Enter a mandate that the driver signed; it revokes the one before."""
    return await _add(pool, operator, body, person_id=person_id, client_id=None)


@router.post(
    "/drivers/{person_id}/sepa-mandates/{mandate_id}/revoke",
    summary="Revoke a driver's mandate",
    responses=documented(404),
)
async def revoke_driver_mandate(
    pool: Pool, operator: Finance, person_id: PersonId, mandate_id: MandateId, body: RevokeIn
) -> MandateOut:
    """End a mandate: what is in no file yet is not collected."""
    return await _revoke(pool, operator, mandate_id, body, person_id=person_id, client_id=None)


@router.get(
    "/clients/{client_id}/sepa-mandates", summary="A client's mandates", responses=documented(404)
)
async def list_client_mandates(pool: Pool, _: Operator, client_id: ClientId) -> PageOf[MandateOut]:
    """All that the client signed, the one in force first."""
    return await _mandates(pool, person_id=None, client_id=client_id)


@router.post(
    "/clients/{client_id}/sepa-mandates",
    summary="Enter a client's mandate",
    status_code=201,
    responses=documented(404, 409),
)
async def add_client_mandate(
    pool: Pool, operator: Finance, client_id: ClientId, body: MandateIn
) -> MandateOut:
    """Enter a mandate by which the client pays the operator's own invoices; it revokes the one
    before."""
    return await _add(pool, operator, body, person_id=None, client_id=client_id)


@router.post(
    "/clients/{client_id}/sepa-mandates/{mandate_id}/revoke",
    summary="Revoke a client's mandate",
    responses=documented(404),
)
async def revoke_client_mandate(
    pool: Pool, operator: Finance, client_id: ClientId, mandate_id: MandateId, body: RevokeIn
) -> MandateOut:
    """End a mandate: what is in no file yet is not collected."""
    return await _revoke(pool, operator, mandate_id, body, person_id=None, client_id=client_id)


@router.get("/direct-debits", summary="List direct debits", responses=documented())
async def list_debits(
    pool: Pool,
    _: Operator,
    client_id: Annotated[Identifier | None, Query(description="Only of this client.")] = None,
    person_id: Annotated[Identifier | None, Query(description="Only of this driver.")] = None,
    status: Annotated[DebitStatus | None, Query(description="Only those that stand so.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[DebitOut]:
    """Debits, the last announced first."""
    asked: dict[str, Any] = {"client_id": client_id, "person_id": person_id, "status": status}
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_debits(
            connection, **asked, limit=count, cursor=after
        ),
        total=lambda connection: store.count_debits(connection, **asked),
        key=lambda row: (row.id,),
    )
    return shaped(page, DebitOut)


@router.post("/direct-debits", summary="Collect", status_code=201, responses=documented(409))
async def collect(request: Request, pool: Pool, operator: Finance) -> CollectedOut:
    """Tell payers with a mandate of their debits, and make the files of those whose day is near.
    Each invoice is told and debited once."""
    now, settings = datetime.now(UTC), request.app.state.settings
    told = await collecting.announce_debits(pool, now, settings=settings)
    filed = await collecting.make_files(pool, now, settings=settings, actor=actor_of(operator))
    return CollectedOut(
        announced=told.debits,
        announced_cents=told.amount_cents,
        file_ids=filed.file_ids,
        debits=filed.debits,
        total_cents=filed.total_cents,
        cancelled=filed.cancelled,
    )


async def _mandates(
    pool: Pool, *, person_id: int | None, client_id: int | None
) -> PageOf[MandateOut]:
    async with pool.connection() as connection:
        found = await store.list_mandates(connection, person_id=person_id, client_id=client_id)
    return whole([MandateOut.model_validate(mandate) for mandate in found])


async def _add(
    pool: Pool, operator: Any, body: MandateIn, *, person_id: int | None, client_id: int | None
) -> MandateOut:
    async with transaction(pool) as connection:
        made = await collecting.add_mandate(
            connection,
            **dict(body),
            person_id=person_id,
            client_id=client_id,
            actor=actor_of(operator),
            now=datetime.now(UTC),
        )
        return await _mandate(connection, made, person_id, client_id)


async def _revoke(
    pool: Pool,
    operator: Any,
    mandate_id: int,
    body: RevokeIn,
    *,
    person_id: int | None,
    client_id: int | None,
) -> MandateOut:
    async with transaction(pool) as connection:
        await collecting.revoke_mandate(
            connection,
            mandate_id,
            body.reason,
            person_id=person_id,
            client_id=client_id,
            actor=actor_of(operator),
            now=datetime.now(UTC),
        )
        return await _mandate(connection, mandate_id, person_id, client_id)


async def _mandate(
    connection: Any, mandate_id: int, person_id: int | None, client_id: int | None
) -> MandateOut:
    known = await store.list_mandates(connection, person_id=person_id, client_id=client_id)
    found: MandateRow | None = next((each for each in known if each.id == mandate_id), None)
    if found is None:
        raise NotThere(f"There is no mandate {mandate_id}.")
    return MandateOut.model_validate(found)
