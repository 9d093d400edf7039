"""Operations on clients: who they are, contacts, VAT, accounts for payouts, history, services."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from psycopg import AsyncConnection

from csms import clients
from csms.clients import Actor
from csms.db import transaction
from csms.domain.services import LABELS
from csms.principals import Principal
from csms.registry import NotThere
from csms.services import all_services
from csms.store import audit, sites
from csms.store import clients as store
from csms.store.clients import ClientRecord, Iban
from csms.web.client_models import (
    AddressOut,
    ClientChange,
    ClientIn,
    ClientOut,
    ContactIn,
    ContactOut,
    HistoryOut,
    IbanIn,
    IbanOut,
    ServiceOut,
    VatIn,
    VatOut,
)
from csms.web.fields import CursorText, Identifier, Limit, PageOf
from csms.web.guard import Finance, Operator, Pool
from csms.web.listing import read_rows, shaped
from csms.web.problems import Problem, documented

router = APIRouter(tags=["Clients and sites"])

ClientId = Annotated[Identifier, Path(description="The client's number.")]
Numbered = Annotated[Identifier, Path(description="Its number.")]


@router.get("/clients", summary="List clients", responses=documented())
async def list_clients(
    pool: Pool, _: Operator, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[ClientOut]:
    """Clients by id: co-ownerships, companies, and the operator itself."""
    page = await read_rows(
        pool,
        limit,
        cursor,
        (int,),
        rows=lambda connection, count, after: store.list_clients(
            connection, limit=count, cursor=after
        ),
        total=sites.count_clients,
        key=lambda row: (row.id,),
    )
    items = [_shape(client) for client in page.items]
    return PageOf[ClientOut](items=items, next=page.next, total=page.total)


@router.post("/clients", summary="Create a client", status_code=201, responses=documented(409))
async def create_client(pool: Pool, operator: Operator, body: ClientIn) -> ClientOut:
    """Create a client; its name is enough. 409 when the name is taken."""
    values = _values(operator, body)
    values.pop("name")
    async with transaction(pool) as connection:
        client_id = await clients.create(connection, body.name, values, actor_of(operator), _now())
        return await _shown(connection, client_id)


@router.get("/clients/{client_id}", summary="A client", responses=documented(404))
async def get_client(pool: Pool, _: Operator, client_id: ClientId) -> ClientOut:
    """One client."""
    async with pool.connection() as connection:
        return await _shown(connection, client_id)


@router.patch("/clients/{client_id}", summary="Change a client", responses=documented(404, 409))
async def change_client(
    pool: Pool, operator: Operator, client_id: ClientId, body: ClientChange
) -> ClientOut:
    """Change the members that are named, no others; an address as a whole."""
    values = _values(operator, body)
    async with transaction(pool) as connection:
        await clients.change(connection, client_id, values, actor_of(operator), _now())
        return await _shown(connection, client_id)


@router.get("/clients/{client_id}/contacts", summary="List contacts", responses=documented(404))
async def list_contacts(pool: Pool, _: Operator, client_id: ClientId) -> PageOf[ContactOut]:
    """Whom to write to or to call, and about what."""
    async with pool.connection() as connection:
        await _shown(connection, client_id)
        found = await store.list_contacts(connection, client_id)
    return whole([ContactOut.model_validate(contact) for contact in found])


@router.post(
    "/clients/{client_id}/contacts",
    summary="Add a contact",
    status_code=201,
    responses=documented(404),
)
async def add_contact(
    pool: Pool, operator: Operator, client_id: ClientId, body: ContactIn
) -> ContactOut:
    """Add a person to write to or to call."""
    async with transaction(pool) as connection:
        made = await clients.add_contact(
            connection,
            client_id,
            name=body.name,
            email=body.email,
            phone=body.phone,
            purposes=body.purposes,
            actor=actor_of(operator),
            now=_now(),
        )
    return ContactOut.model_validate(made)


@router.delete(
    "/clients/{client_id}/contacts/{contact_id}",
    summary="Remove a contact",
    status_code=204,
    responses=documented(404),
)
async def remove_contact(
    pool: Pool, operator: Operator, client_id: ClientId, contact_id: Numbered
) -> None:
    """Take a contact away."""
    async with transaction(pool) as connection:
        await clients.remove_contact(connection, client_id, contact_id, actor_of(operator), _now())


@router.get("/clients/{client_id}/vat", summary="List VAT statuses", responses=documented(404))
async def list_vat(pool: Pool, _: Operator, client_id: ClientId) -> PageOf[VatOut]:
    """How the client stands to VAT, by date."""
    async with pool.connection() as connection:
        await _shown(connection, client_id)
        found = await store.list_vat(connection, client_id)
    return whole([VatOut.model_validate(vat) for vat in found])


@router.post(
    "/clients/{client_id}/vat",
    summary="Declare a VAT status",
    status_code=201,
    responses=documented(404, 409),
)
async def add_vat(pool: Pool, operator: Finance, client_id: ClientId, body: VatIn) -> VatOut:
    """How the client stands to VAT from a day on; what held and had no end ends there."""
    async with transaction(pool) as connection:
        made = await clients.add_vat(
            connection,
            client_id,
            status=body.status,
            vat_number=body.vat_number,
            from_on=body.from_on,
            to_on=body.to_on,
            actor=actor_of(operator),
            now=_now(),
        )
    return VatOut.model_validate(made)


@router.get("/clients/{client_id}/ibans", summary="List accounts", responses=documented(404))
async def list_ibans(pool: Pool, _: Operator, client_id: ClientId) -> PageOf[IbanOut]:
    """All accounts that were ever entered, newest first, masked; the current one is where payouts
    go."""
    async with pool.connection() as connection:
        await _shown(connection, client_id)
        found = await store.list_ibans(connection, client_id)
    return whole([_iban(iban) for iban in found])


@router.post(
    "/clients/{client_id}/ibans",
    summary="Enter an account",
    status_code=201,
    responses=documented(404),
)
async def enter_iban(pool: Pool, operator: Finance, client_id: ClientId, body: IbanIn) -> IbanOut:
    """Enter an account for payouts; it counts once somebody else has approved it."""
    async with transaction(pool) as connection:
        made = await clients.enter_iban(
            connection,
            client_id,
            iban=body.iban,
            holder=body.holder,
            actor=actor_of(operator),
            now=_now(),
        )
    return _iban(made)


@router.post(
    "/clients/{client_id}/ibans/{iban_id}/approve",
    summary="Approve an account",
    responses=documented(404, 409),
)
async def approve_iban(
    pool: Pool, operator: Finance, client_id: ClientId, iban_id: Numbered
) -> IbanOut:
    """Approve an account that somebody else entered: payouts go there from now on."""
    return await _decided(pool, operator, client_id, iban_id, approved=True)


@router.post(
    "/clients/{client_id}/ibans/{iban_id}/refuse",
    summary="Refuse an account",
    responses=documented(404, 409),
)
async def refuse_iban(
    pool: Pool, operator: Finance, client_id: ClientId, iban_id: Numbered
) -> IbanOut:
    """Refuse an account that waits, or take back one's own."""
    return await _decided(pool, operator, client_id, iban_id, approved=False)


@router.get("/clients/{client_id}/services", summary="What is open", responses=documented(404))
async def list_services(pool: Pool, _: Operator, client_id: ClientId) -> PageOf[ServiceOut]:
    """Every option of article 5.4: whether it is open to the client now, and if not, why."""
    async with pool.connection() as connection:
        await _shown(connection, client_id)
        services = await all_services(connection, client_id, _now())
    return whole(
        [
            ServiceOut(
                option=option.value,
                label_fr=LABELS[option].fr,
                label_en=LABELS[option].en,
                clause=LABELS[option].clause,
                **service._asdict(),
            )
            for option, service in services.items()
        ]
    )


@router.get("/clients/{client_id}/history", summary="A client's history", responses=documented(404))
async def list_history(
    pool: Pool, _: Operator, client_id: ClientId, limit: Limit = 100, cursor: CursorText = None
) -> PageOf[HistoryOut]:
    """Who changed what of the client and its contracts, newest first."""
    async with pool.connection() as connection:
        await _shown(connection, client_id)
    which: dict[str, Any] = {
        "client_id": client_id,
        "person_id": None,
        "action": None,
        "from_at": None,
        "to_at": None,
    }
    page = await read_rows(
        pool,
        limit,
        cursor,
        (datetime, int),
        rows=lambda connection, count, after: audit.list_entries(
            connection, limit=count, cursor=after, **which
        ),
        total=lambda connection: audit.count_entries(connection, **which),
        key=lambda row: (row.at, row.id),
    )
    return shaped(page, HistoryOut)


def actor_of(principal: Principal) -> Actor:
    """Who acts, as the audit names him."""
    return Actor(principal.actor, principal.person_id)


def whole(items: list[Any]) -> PageOf[Any]:
    """A list that is never long, as one page."""
    return PageOf(items=items, next=None, total=len(items))


def _values(operator: Principal, body: ClientChange) -> dict[str, Any]:
    """The members that were named. Raises: Problem (403) for what is finance's."""
    values = body.named()
    if "regulatory_basis" in values and "finance" not in operator.roles:
        raise Problem(403, "The regulatory basis takes the role operator, finance.")
    if body.address is not None:
        values["address"] = body.address.model_dump()
    return values


async def _decided(
    pool: Pool, operator: Principal, client_id: int, iban_id: int, *, approved: bool
) -> IbanOut:
    async with transaction(pool) as connection:
        await clients.decide_iban(
            connection,
            client_id,
            iban_id,
            approved=approved,
            actor=actor_of(operator),
            now=_now(),
        )
        found = await store.list_ibans(connection, client_id)
    return next(_iban(iban) for iban in found if iban.id == iban_id)


async def _shown(connection: AsyncConnection, client_id: int) -> ClientOut:
    """Raises: NotThere."""
    client = await store.get_client(connection, client_id)
    if client is None:
        raise NotThere(f"There is no client {client_id}.")
    return _shape(client)


def _shape(client: ClientRecord) -> ClientOut:
    return ClientOut(
        id=client.id,
        name=client.name,
        is_operator=client.is_operator,
        client_class=client.client_class,  # type: ignore[arg-type]  # the database knows no other
        legal_name=client.legal_name,
        siren=client.siren,
        address=None if client.street is None else AddressOut.model_validate(client),
        regulatory_basis=client.regulatory_basis,  # type: ignore[arg-type]  # nor here
        closed_at=client.closed_at,
    )


def _iban(iban: Iban) -> IbanOut:
    state = "waiting" if iban.approved is None else "current" if iban.approved else "refused"
    return IbanOut(
        id=iban.id,
        iban=clients.masked(iban.iban),
        holder=iban.holder,
        state="replaced" if iban.replaced_at is not None else state,  # type: ignore[arg-type]
        entered_by=iban.entered_by,
        entered_at=iban.entered_at,
        decided_by=iban.decided_by,
        decided_at=iban.decided_at,
        replaced_at=iban.replaced_at,
    )


def _now() -> datetime:
    return datetime.now(UTC)
