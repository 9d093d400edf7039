"""Operations on invoices: read, as files, put right; read as the driver who got them.

Row-level security says who sees which: managers and clients' keys those in their client's name and
the operator's to it, drivers those in their own name.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import corrections, invoice_files
from billing.store import invoices as store
from billing.store.invoices import InvoiceRow
from csms.db import transaction
from csms.registry import NotThere
from csms.web.clients_api import actor_of
from csms.web.fields import CursorText, Day, Identifier, Limit, PageOf
from csms.web.guard import Driver, Finance, Own, Pool, Reader, Reading
from csms.web.invoice_models import (
    CorrectIn,
    CreditIn,
    InvoiceLineOut,
    InvoiceListed,
    InvoiceOut,
    Issuer,
)
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(tags=["Invoices"])

MEDIA_TYPES: Final = {"pdf": "application/pdf", "xml": "application/xml"}

InvoiceId = Annotated[Identifier, Path(description="The invoice's number in this list.")]
Format = Annotated[
    Literal["pdf", "xml"], Path(description="pdf: Factur-X, for people and machines; xml: CII.")
]
Known = Annotated[
    str | None, Header(alias="If-None-Match", max_length=200, description="ETag of a file.")
]
_FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {media_type: {} for media_type in MEDIA_TYPES.values()},
        "description": "The file, the same bytes each time.",
        "headers": {"ETag": {"schema": {"type": "string"}}},
    },
    304: {"description": "It is the one with that ETag."},
}


@router.get("/invoices", summary="List invoices", responses=documented())
async def list_invoices(
    reader: Reader,
    client_id: Annotated[Identifier | None, Query(description="Only of this client.")] = None,
    issuer: Annotated[Issuer | None, Query(description="Only issued in this name.")] = None,
    month: Annotated[Day | None, Query(description="Only of this month: its first day.")] = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[InvoiceListed]:
    """Invoices, credit notes and correctives, the newest first."""
    return await _listed(
        reader,
        client_ids=reader.clients,
        client_id=client_id,
        person_id=None,
        issuer=issuer,
        month=month,
        limit=limit,
        cursor=cursor,
    )


@router.get("/invoices/{invoice_id}", summary="An invoice", responses=documented(404))
async def get_invoice(reader: Reader, invoice_id: InvoiceId) -> InvoiceOut:
    """One invoice with its lines."""
    async with reader.connection() as connection:
        return await _shown(connection, invoice_id)


@router.get(
    "/invoices/{invoice_id}/files/{file_format}",
    summary="An invoice as a file",
    response_class=Response,
    responses={**_FILE, **documented(404, 409)},
)
async def get_invoice_file(
    pool: Pool, reader: Reader, invoice_id: InvoiceId, file_format: Format, known: Known = None
) -> Response:
    """The invoice as PDF (Factur-X) or XML. 409: it is not right, and is not shown."""
    async with reader.connection() as connection:
        found = await _found(connection, invoice_id)
    return await _file(pool, found, file_format, known)


@router.post(
    "/invoices/{invoice_id}/credit",
    summary="Give a credit note",
    status_code=201,
    responses=documented(404, 409),
)
async def give_credit(
    request: Request, pool: Pool, operator: Finance, invoice_id: InvoiceId, body: CreditIn
) -> InvoiceOut:
    """Give back sessions of an invoice in a client's name, or all that is left of it. What the
    driver has paid for them goes to her wallet."""
    async with transaction(pool) as connection:
        made = await corrections.credit(
            connection,
            invoice_id,
            body.session_ids,
            body.reason,
            actor_of(operator),
            datetime.now(UTC),
            settings=request.app.state.settings,
        )
        return await _shown(connection, made)


@router.post(
    "/invoices/{invoice_id}/correct",
    summary="Replace an invoice",
    status_code=201,
    responses=documented(404, 409),
)
async def correct(
    request: Request, pool: Pool, operator: Finance, invoice_id: InvoiceId, body: CorrectIn
) -> InvoiceOut:
    """Issue a corrective that replaces an invoice in a client's name, at other prices."""
    async with transaction(pool) as connection:
        made = await corrections.correct(
            connection,
            invoice_id,
            {price.session_id: price.amount_incl_cents for price in body.amounts},
            body.reason,
            actor_of(operator),
            datetime.now(UTC),
            settings=request.app.state.settings,
        )
        return await _shown(connection, made)


@router.get("/me/invoices", summary="The driver's invoices", responses=documented(403))
async def list_my_invoices(
    me: Driver, own: Own, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[InvoiceListed]:
    """Invoices to the driver, the newest first; of what the operator supplies to a co-owner itself
    they are its own."""
    return await _listed(
        own,
        client_ids=None,
        client_id=None,
        person_id=me.person_id,
        issuer=None,
        month=None,
        limit=limit,
        cursor=cursor,
    )


@router.get(
    "/me/invoices/{invoice_id}", summary="An invoice of the driver's", responses=documented(404)
)
async def get_my_invoice(me: Driver, own: Own, invoice_id: InvoiceId) -> InvoiceOut:
    """One of the driver's invoices with its lines."""
    async with own.connection() as connection:
        return await _shown(connection, invoice_id, person_id=me.person_id)


@router.get(
    "/me/invoices/{invoice_id}/files/{file_format}",
    summary="An invoice of the driver's as a file",
    response_class=Response,
    responses={**_FILE, **documented(404, 409)},
)
async def get_my_invoice_file(
    pool: Pool,
    me: Driver,
    own: Own,
    invoice_id: InvoiceId,
    file_format: Format,
    known: Known = None,
) -> Response:
    """One of the driver's invoices as PDF (Factur-X) or XML."""
    async with own.connection() as connection:
        found = await _found(connection, invoice_id, person_id=me.person_id)
    return await _file(pool, found, file_format, known)


async def _listed(
    reading: Reading,
    *,
    client_ids: list[int] | None,
    client_id: int | None,
    person_id: int | None,
    issuer: str | None,
    month: date | None,
    limit: int,
    cursor: str | None,
) -> PageOf[InvoiceListed]:
    which: dict[str, Any] = {
        "client_ids": client_ids,
        "client_id": client_id,
        "person_id": person_id,
        "issuer": issuer,
        "month": month,
    }
    page = await read_rows(
        reading,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_invoices(
            connection, **which, limit=count, cursor=after
        ),
        total=lambda connection: store.count_invoices(connection, **which),
        key=lambda row: (row.id,),
    )
    return shaped(page, InvoiceListed)


async def _found(
    connection: AsyncConnection, invoice_id: int, *, person_id: int | None = None
) -> InvoiceRow:
    """The invoice, the person's where one is given. Raises: NotThere."""
    found = await store.get_invoice(connection, invoice_id)
    if found is None or (person_id is not None and found.person_id != person_id):
        raise NotThere(f"There is no invoice {invoice_id}.")
    return found


async def _shown(
    connection: AsyncConnection, invoice_id: int, *, person_id: int | None = None
) -> InvoiceOut:
    """Raises: NotThere."""
    found = await _found(connection, invoice_id, person_id=person_id)
    lines = await store.list_lines(connection, invoice_id)
    return InvoiceOut(
        **InvoiceListed.model_validate(found).model_dump(),
        lines=[InvoiceLineOut.model_validate(line) for line in lines],
    )


async def _file(
    pool: AsyncConnectionPool, invoice: InvoiceRow, file_format: str, known: str | None
) -> Response:
    """The file, to somebody who may see its invoice. The first time it is made, and kept in the
    service's name: people write nothing here."""
    async with transaction(pool) as connection:
        file = await invoice_files.kept_file(connection, invoice.id, file_format, datetime.now(UTC))
    etag = f'"{file.sha256.hex()}"'
    if known is not None and etag in known:
        return Response(status_code=304, headers={"ETag": etag})
    return Response(
        file.content,
        media_type=MEDIA_TYPES[file_format],
        headers={
            "ETag": etag,
            "Content-Disposition": f'inline; filename="{invoice.number}.{file_format}"',
        },
    )
