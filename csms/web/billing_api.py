"""Operations on what invoices are made of: own sales, texts of the law, VAT rates."""

from datetime import UTC, datetime

from fastapi import APIRouter

from billing import own_sales, wording
from billing.store import own_sales as sale_store
from billing.store import wording as store
from csms.db import transaction
from csms.registry import NotThere
from csms.store import clients as client_store
from csms.web.clients_api import ClientId, actor_of
from csms.web.fields import CursorText, Limit, PageOf
from csms.web.guard import Finance, Operator, Pool
from csms.web.invoice_models import (
    MentionIn,
    MentionOut,
    OwnSaleIn,
    OwnSaleOut,
    VatRateIn,
    VatRateOut,
)
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(tags=["Invoices"])


@router.get(
    "/clients/{client_id}/own-sales",
    summary="List the operator's sales to a client",
    responses=documented(404),
)
async def list_own_sales(
    pool: Pool, _: Operator, client_id: ClientId, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[OwnSaleOut]:
    """Commissions, fees, subscriptions and interventions, the newest first, each with the invoice
    that it is on."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: sale_store.list_sales(
            connection, client_id, limit=count, cursor=after
        ),
        total=lambda connection: sale_store.count_sales(connection, client_id),
        key=lambda row: (row.id,),
    )
    if not page.items:
        async with pool.connection() as connection:
            if await client_store.get_client(connection, client_id) is None:
                raise NotThere(f"There is no client {client_id}.")
    return shaped(page, OwnSaleOut)


@router.post(
    "/clients/{client_id}/own-sales",
    summary="Enter a sale to a client",
    status_code=201,
    responses=documented(404, 409),
)
async def add_own_sale(
    pool: Pool, operator: Finance, client_id: ClientId, body: OwnSaleIn
) -> OwnSaleOut:
    """Enter what the operator sold to a client, an intervention for instance; it is on the
    operator's next invoice and on the statement of its month. The same source key with the same
    content enters nothing more; with another content it is a 409."""
    async with transaction(pool) as connection:
        await own_sales.add_own_sale(
            connection,
            client_id=client_id,
            kind=body.kind,
            label=body.label,
            amount_excl_cents=body.amount_excl_cents,
            on_day=body.on_day,
            month=body.on_day.replace(day=1),
            source_key=body.source_key,
            actor=actor_of(operator),
            now=datetime.now(UTC),
        )
        found = await sale_store.find_sale(connection, body.source_key)
    return OwnSaleOut.model_validate(found)


@router.get("/billing/mentions", summary="List texts on invoices", responses=documented())
async def list_mentions(
    pool: Pool, _: Operator, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[MentionOut]:
    """What the law wants on invoices, by code, language and date, with its source."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (str, str, str),
        rows=lambda connection, count, after: store.list_mentions(
            connection, limit=count, cursor=after
        ),
        total=store.count_mentions,
        key=lambda row: (row.code, row.language, row.from_on.isoformat()),
    )
    return shaped(page, MentionOut)


@router.post(
    "/billing/mentions", summary="Enter a text", status_code=201, responses=documented(409)
)
async def add_mention(pool: Pool, operator: Finance, body: MentionIn) -> MentionOut:
    """A wording from a day on; the one that held until then and had no end ends there."""
    async with transaction(pool) as connection:
        made = await wording.add_mention(
            connection, **dict(body), actor=actor_of(operator), now=datetime.now(UTC)
        )
    return MentionOut.model_validate(made)


@router.get("/billing/vat-rates", summary="List VAT rates", responses=documented())
async def list_vat_rates(
    pool: Pool, _: Operator, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[VatRateOut]:
    """The normal rate of VAT by date."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (str,),
        rows=lambda connection, count, after: store.list_vat_rates(
            connection, limit=count, cursor=after
        ),
        total=store.count_vat_rates,
        key=lambda row: (row.from_on.isoformat(),),
    )
    return shaped(page, VatRateOut)


@router.post(
    "/billing/vat-rates", summary="Enter a VAT rate", status_code=201, responses=documented(409)
)
async def add_vat_rate(pool: Pool, operator: Finance, body: VatRateIn) -> VatRateOut:
    """The normal rate from a day on: of charging that ends on it or later, and of the operator's
    invoices of it or later."""
    async with transaction(pool) as connection:
        made = await wording.add_vat_rate(
            connection, **dict(body), actor=actor_of(operator), now=datetime.now(UTC)
        )
    return VatRateOut.model_validate(made)
