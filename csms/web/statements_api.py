"""Operations on statements and disputes: read, as files, contested, decided.

Row-level security says who sees which; managers and clients' keys see a statement once it was sent.
A manager contests for her client; who decides has the role finance.
"""

import asyncio
import json
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from psycopg import AsyncConnection
from pydantic import Field

from billing import disputes, statement, statement_files, statement_lines, statement_state
from billing.statement_state import History
from billing.store import disputes as dispute_store
from billing.store import statements as store
from billing.store.statements import StatementRow
from csms.db import transaction
from csms.registry import NotThere
from csms.web.clients_api import actor_of
from csms.web.fields import (
    CursorText,
    Day,
    Identifier,
    Input,
    Label,
    Limit,
    Note,
    Output,
    PageOf,
    Utc,
)
from csms.web.guard import Finance, Pool, Reader, Reading
from csms.web.keeping import Keeper, Keeping
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(tags=["Statements"])

StatementId = Annotated[Identifier, Path(description="The statement's number in the list.")]
Format = Annotated[Literal["pdf", "csv", "xlsx", "json"], Path(description="Of the file.")]
Reason = Annotated[Note, Field(max_length=disputes.REASON_LENGTH_MAX)]
Cents = Annotated[int, Field(strict=True, ge=0, le=10_000_000)]


class StatementListed(Output):
    id: int
    client_id: int
    month: date = Field(description="Its first day.")
    state: Literal["draft", "sent", "contested", "final"]
    collected_cents: int
    uncollected_cents: int
    commission_cents: int
    fees_cents: int
    offset_cents: int
    adjustment_cents: int
    disputed_cents: int
    opening_cents: int
    net_cents: int = Field(description="To be paid; below 0: carried over.")
    closed_at: Utc
    sent_at: Utc | None
    delivered_at: Utc | None = Field(description="The first delivery that is proved.")
    contest_until: date | None = Field(description="The last day that is told.")


class StatementOut(StatementListed):
    content: dict[str, Any] = Field(description="All its figures, as its JSON file has them.")


class StatementLineOut(Output):
    id: int
    position: int
    kind: Literal[
        "session", "late_session", "receipt", "adjustment", "own_sale", "offset", "hold", "release"
    ]
    session_id: int | None
    invoice_id: int | None
    invoice_number: str | None
    own_sale_id: int | None
    dispute_id: int | None
    amount_cents: int
    cause: str | None


class ContestIn(Input):
    reason: Reason


class PriceIn(Input):
    session_id: Identifier
    amount_incl_cents: Cents


class DecideIn(Input):
    decision: Literal["upheld", "rejected"]
    reason: Reason = Field(description="The client reads it.")
    credit: bool = Field(default=False, description="Upheld: give it back by a credit note.")
    amounts: list[PriceIn] = Field(
        default_factory=list,
        max_length=100,
        description="Upheld: what the sessions cost instead, by a corrective.",
    )


class DisputeOut(Output):
    id: int
    client_id: int
    client: str | None
    month: date
    statement_id: int | None
    statement_line_id: int | None
    session_id: int | None
    invoice_id: int | None
    invoice_number: str | None
    is_invoice: bool = Field(description="The invoice itself is contested, not a line.")
    opened_at: Utc
    window_ends_on: date
    reason: Label
    held_cents: int = Field(description="Held back of what is owed to the client meanwhile.")
    decided_at: Utc | None
    decision: str | None
    decision_reason: str | None
    correction_id: int | None
    correction_number: str | None


@router.get("/statements", summary="List statements", responses=documented())
async def list_statements(
    reader: Reader,
    client_id: Annotated[Identifier | None, Query(description="Only of this client.")] = None,
    month: Annotated[Day | None, Query(description="Only of this month: its first day.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[StatementListed]:
    """Monthly statements, the newest first."""
    asked: dict[str, Any] = {
        "client_ids": reader.clients,
        "client_id": client_id,
        "month": month,
    }
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_statements(
            connection, **asked, limit=count, cursor=after
        ),
        total=lambda connection: store.count_statements(connection, **asked),
        key=lambda row: (row.id,),
    )
    now = datetime.now(UTC)
    items = [StatementListed(**_told(row, now)) for row in page.items]
    return PageOf[StatementListed](items=items, next=page.next, total=page.total)


@router.get("/statements/{statement_id}", summary="A statement", responses=documented(404))
async def get_statement(reader: Reader, statement_id: StatementId) -> StatementOut:
    """One statement with all its figures: points, users, VAT collected, adjustments."""
    async with reader.connection() as connection:
        found = await _found(connection, reader, statement_id)
    return StatementOut(
        **_told(found, datetime.now(UTC)),
        content=json.loads(found.content),
    )


@router.get(
    "/statements/{statement_id}/lines", summary="Lines of a statement", responses=documented(404)
)
async def list_lines(
    reader: Reader, statement_id: StatementId, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[StatementLineOut]:
    """Sessions with the invoice of each use, receipts, adjustments and deductions, in order."""
    async with reader.connection() as connection:
        await _found(connection, reader, statement_id)
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_lines(
            connection, statement_id, limit=count, cursor=after
        ),
        total=lambda connection: store.count_lines(connection, statement_id),
        key=lambda row: (row.position,),
    )
    return shaped(page, StatementLineOut)


@router.get(
    "/statements/{statement_id}/files/{file_format}",
    summary="A statement as a file",
    response_class=Response,
    responses={
        200: {
            "content": {kind: {} for kind in statement_files.MEDIA_TYPES.values()},
            "description": "The file; once it was sent the same bytes each time.",
        },
        **documented(404),
    },
)
async def get_file(reader: Reader, statement_id: StatementId, file_format: Format) -> Response:
    """The statement as PDF, CSV, XLSX or JSON, in the reader's language."""
    language: statement_files.Language = "en" if reader.language == "en" else "fr"
    async with reader.connection() as connection:
        found = await _found(connection, reader, statement_id)
        made = await store.get_file(connection, statement_id, file_format, language)
        lines = (
            await statement_lines.fetch(connection, statement_id, language) if made is None else []
        )
    told = statement.from_json(found.content)
    if made is None:
        made = await asyncio.to_thread(
            statement_files.render,
            told,
            lines,
            file_format,
            language,
            contest_until=statement_state.printed_until(_history(found)),
            simulated=told.is_simulated,
        )
    name = statement_files.file_name(told, file_format, language)
    return Response(
        made,
        media_type=statement_files.MEDIA_TYPES[file_format],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.post(
    "/statement-lines/{line_id}/contest",
    summary="Contest a line of a statement",
    status_code=201,
    responses=documented(404, 409),
)
async def contest_line(
    pool: Pool, keeper: Keeper, line_id: Identifier, body: ContestIn
) -> DisputeOut:
    """Contest a line within ten days of the delivery. What the client would get of it is held
    back; the rest of the statement stays as it is."""
    async with transaction(pool) as connection:
        line = await dispute_store.get_line(connection, line_id)
        if line is None:
            raise NotThere(f"There is no line {line_id} to contest.")
        keeper.check_client(line.client_id)
        made = await disputes.contest_line(
            connection, line_id, body.reason, keeper.actor, keeper.now
        )
        return await _dispute(connection, made)


@router.post(
    "/invoices/{invoice_id}/contest",
    summary="Contest an invoice",
    status_code=201,
    responses=documented(404, 409),
)
async def contest_invoice(
    pool: Pool, keeper: Keeper, invoice_id: Identifier, body: ContestIn
) -> DisputeOut:
    """Contest an invoice in the client's name, within fifteen days of when it lay open."""
    await _check_invoice(keeper, invoice_id)
    async with transaction(pool) as connection:
        made = await disputes.contest_invoice(
            connection, invoice_id, body.reason, keeper.actor, keeper.now
        )
        return await _dispute(connection, made)


@router.get("/disputes", summary="List disputes", responses=documented())
async def list_disputes(
    reader: Reader,
    client_id: Annotated[Identifier | None, Query(description="Only of this client.")] = None,
    undecided: Annotated[bool | None, Query(description="Only those, or only the others.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[DisputeOut]:
    """What clients contest, the newest first."""
    page = await read_rows(
        reader,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: dispute_store.list_disputes(
            connection,
            client_ids=reader.clients,
            client_id=client_id,
            is_open=undecided,
            limit=count,
            cursor=after,
        ),
        total=lambda connection: dispute_store.count_disputes(
            connection,
            client_ids=reader.clients,
            client_id=client_id,
            statement_id=None,
            is_open=undecided,
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, DisputeOut)


@router.post("/disputes/{dispute_id}/withdraw", summary="Withdraw", responses=documented(404, 409))
async def withdraw(pool: Pool, keeper: Keeper, dispute_id: Identifier) -> DisputeOut:
    """Let go of what was contested and is not decided; what was held is owed again."""
    async with transaction(pool) as connection:
        told = await _dispute(connection, dispute_id)
        keeper.check_client(told.client_id)
        if told.invoice_id is not None:
            await _check_invoice(keeper, told.invoice_id)
        await disputes.withdraw(connection, dispute_id, keeper.actor, keeper.now)
        return await _dispute(connection, dispute_id)


@router.post("/disputes/{dispute_id}/decide", summary="Decide", responses=documented(404, 409))
async def decide(
    request: Request, pool: Pool, operator: Finance, dispute_id: Identifier, body: DecideIn
) -> DisputeOut:
    """Decide a dispute, with a reason. What is upheld is put right by a credit note or a
    corrective, and comes into the next statement with its cause."""
    amounts = {each.session_id: each.amount_incl_cents for each in body.amounts}
    async with transaction(pool) as connection:
        await disputes.decide(
            connection,
            dispute_id,
            body.decision,
            body.reason,
            correction="credit" if body.credit else (amounts or None),
            actor=actor_of(operator),
            now=datetime.now(UTC),
            settings=request.app.state.settings,
        )
        return await _dispute(connection, dispute_id)


async def _found(connection: AsyncConnection, reader: Reading, statement_id: int) -> StatementRow:
    """Raises: NotThere; so too before it was sent, but for operators."""
    found = await store.list_statements(
        connection, statement_id=statement_id, client_ids=reader.clients, limit=1
    )
    if not found:
        raise NotThere(f"There is no statement {statement_id}.")
    return found[0]


async def _check_invoice(keeper: Keeping, invoice_id: int) -> None:
    """Raises: NotThere where she may not read it: a co-owner's bills are between him and the
    operator."""
    async with keeper.reading() as connection:
        client_id = await store.client_of_invoice(connection, invoice_id)
    if client_id is None:
        raise NotThere(f"There is no invoice {invoice_id}.")
    keeper.check_client(client_id)


async def _dispute(connection: AsyncConnection, dispute_id: int) -> DisputeOut:
    found = await dispute_store.get_dispute(connection, dispute_id)
    if found is None:
        raise NotThere(f"There is no dispute {dispute_id}.")
    return DisputeOut.model_validate(found)


def _history(row: StatementRow) -> History:
    return History(row.sent_at, row.delivered_at, row.final_at, row.disputes_open)


def _told(row: StatementRow, now: datetime) -> dict[str, Any]:
    """The members of a statement in a list."""
    history = _history(row)
    names = set(StatementListed.model_fields) - {"state", "contest_until"}
    return {
        **{name: getattr(row, name) for name in names},
        "state": statement_state.state(history, now),
        "contest_until": statement_state.printed_until(history),
    }
