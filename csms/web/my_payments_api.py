"""What a driver sees of her own direct debits: who may debit, and what is on its way."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter
from pydantic import BeforeValidator

from billing.store import collecting as store
from csms.clients import masked
from csms.web.banking_api import DebitStatus
from csms.web.clients_api import whole
from csms.web.fields import CursorText, Label, Limit, Output, PageOf, Utc
from csms.web.guard import Driver, Own
from csms.web.listing import read_rows, shaped
from csms.web.problems import documented

router = APIRouter(prefix="/me", tags=["Drivers: me"])


class MyMandateOut(Output):
    """A mandate that I signed; `revoked_at` null: it is in force."""

    reference: str
    iban: Annotated[str, BeforeValidator(masked)]
    holder: Label
    signed_on: date
    notice_days: int
    revoked_at: Utc | None


class MyDebitOut(Output):
    """An invoice that is or was debited."""

    invoice_number: str
    amount_cents: int
    collection_on: date
    mandate_reference: str
    status: DebitStatus
    settled_on: date | None


@router.get("/sepa-mandates", summary="My mandates", responses=documented(403))
async def list_my_mandates(own: Own, driver: Driver) -> PageOf[MyMandateOut]:
    """Mandates by which my invoices are debited, the newest first. Ask the operator to revoke one;
    your bank refunds a debit within eight weeks without a reason."""
    async with own.connection() as connection:
        found = await store.list_mandates(connection, person_id=driver.person_id, client_id=None)
    return whole([MyMandateOut.model_validate(mandate) for mandate in found])


@router.get("/direct-debits", summary="My direct debits", responses=documented(403))
async def list_my_debits(
    own: Own, driver: Driver, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[MyDebitOut]:
    """What was or will be debited of my invoices, the last announced first."""
    person_id = driver.person_id
    page = await read_rows(
        own,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_debits(
            connection, client_id=None, person_id=person_id, status=None, limit=count, cursor=after
        ),
        total=lambda connection: store.count_debits(
            connection, client_id=None, person_id=person_id, status=None
        ),
        key=lambda row: (row.id,),
    )
    return shaped(page, MyDebitOut)
