"""Operations on contracts: made, changed, suspended, ended; their terms, options and dates."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from psycopg import AsyncConnection

from csms import agreed, contracts, deadlines
from csms.contracts import DatedMilestone
from csms.db import transaction
from csms.domain import contract as rules
from csms.domain.services import LABELS, Option
from csms.registry import NotThere, Refusal
from csms.store import clients as client_store
from csms.store import contracts as store
from csms.store import paging
from csms.store.contracts import ContractRow, OptionRow
from csms.web.client_models import (
    ContractChange,
    ContractIn,
    ContractOut,
    DayIn,
    IndemnityOut,
    LetterIn,
    MilestoneOut,
    OptionIn,
    OptionOut,
    SuspendIn,
    SuspensionOut,
    TerminatedOut,
    TerminateIn,
    TermsIn,
    TermsOut,
)
from csms.web.clients_api import ClientId, actor_of, whole
from csms.web.fields import CursorText, Day, Identifier, Limit, PageOf
from csms.web.guard import Finance, Operator, Pool
from csms.web.problems import documented

router = APIRouter(tags=["Contracts"])

SPAN_DAYS_MAX = 5 * 366

ContractId = Annotated[Identifier, Path(description="The contract's number.")]
OptionCode = Annotated[Option, Path(description="An option of article 5.4.")]
FromDay = Annotated[Day | None, Query(alias="from", description="First day; today.")]
ToDay = Annotated[Day | None, Query(description="Last day; a year after the first.")]


@router.get("/clients/{client_id}/contracts", summary="List contracts", responses=documented(404))
async def list_contracts(pool: Pool, _: Operator, client_id: ClientId) -> PageOf[ContractOut]:
    """A client's contracts by start, drafts and closed ones too."""
    async with pool.connection() as connection:
        if await client_store.get_client(connection, client_id) is None:
            raise NotThere(f"There is no client {client_id}.")
        found = await store.fetch_contracts(connection, client_id=client_id)
    return whole([_shape(contract) for contract in found])


@router.post(
    "/clients/{client_id}/contracts",
    summary="Make a contract",
    status_code=201,
    responses=documented(404, 409),
)
async def create_contract(
    pool: Pool, operator: Finance, client_id: ClientId, body: ContractIn
) -> ContractOut:
    """Make a contract: a draft until it is signed and has begun. From its first day on nothing is
    open to the client but the options that are subscribed."""
    async with transaction(pool) as connection:
        contract_id = await contracts.create(
            connection,
            client_id,
            devis_reference=body.devis_reference,
            starts_on=body.starts_on,
            signed_on=body.signed_on,
            term_months=body.term_months,
            mandate_from_on=body.mandate_from_on,
            options=body.options,
            actor=actor_of(operator),
            now=_now(),
        )
        return await _shown(connection, contract_id)


@router.get("/contracts/{contract_id}", summary="A contract", responses=documented(404))
async def get_contract(pool: Pool, _: Operator, contract_id: ContractId) -> ContractOut:
    """One contract, as it stands today."""
    async with pool.connection() as connection:
        return await _shown(connection, contract_id)


@router.patch(
    "/contracts/{contract_id}", summary="Change a contract", responses=documented(404, 409)
)
async def change_contract(
    pool: Pool, operator: Finance, contract_id: ContractId, body: ContractChange
) -> ContractOut:
    """Change a draft, or give the mandate. 409 for what stands once a contract has begun."""
    async with transaction(pool) as connection:
        await contracts.change(connection, contract_id, body.named(), actor_of(operator), _now())
        return await _shown(connection, contract_id)


@router.post("/contracts/{contract_id}/suspend", summary="Suspend", responses=documented(404, 409))
async def suspend(
    pool: Pool, operator: Finance, contract_id: ContractId, body: SuspendIn
) -> ContractOut:
    """Suspend for a breach, seven days after the registered letter was received: no driver can
    start at the client's stations; running sessions go on."""
    async with transaction(pool) as connection:
        await contracts.suspend(
            connection,
            contract_id,
            received_on=body.received_on,
            reason=body.reason,
            from_on=body.from_on,
            actor=actor_of(operator),
            now=_now(),
        )
        return await _shown(connection, contract_id)


@router.post("/contracts/{contract_id}/resume", summary="Resume", responses=documented(404, 409))
async def resume(pool: Pool, operator: Finance, contract_id: ContractId) -> ContractOut:
    """End the suspension now, or take back one that has not begun."""
    async with transaction(pool) as connection:
        await contracts.resume(connection, contract_id, actor_of(operator), _now())
        return await _shown(connection, contract_id)


@router.post(
    "/contracts/{contract_id}/terminate", summary="Terminate", responses=documented(404, 409)
)
async def terminate(
    pool: Pool, operator: Finance, contract_id: ContractId, body: TerminateIn
) -> TerminatedOut:
    """Note a notice: the client's, to the next anniversary that it is in time for; or ours for a
    breach, one month after the registered letter was received."""
    actor, now = actor_of(operator), _now()
    indemnity = None
    async with transaction(pool) as connection:
        if body.by == "client":
            found = await contracts.end_by_client(
                connection,
                contract_id,
                notified_on=body.letter_on,
                leaves_on=body.ends_on,
                actor=actor,
                now=now,
            )
            indemnity = IndemnityOut.model_validate(found)
        else:
            await contracts.end_by_operator(
                connection,
                contract_id,
                received_on=body.letter_on,
                ends_on=body.ends_on,
                actor=actor,
                now=now,
            )
        shown = await _shown(connection, contract_id)
    return TerminatedOut(contract=shown, indemnity=indemnity)


@router.post(
    "/contracts/{contract_id}/withdraw-notice",
    summary="Withdraw a notice",
    responses=documented(404, 409),
)
async def withdraw_notice(pool: Pool, operator: Finance, contract_id: ContractId) -> ContractOut:
    """The parties go on."""
    async with transaction(pool) as connection:
        await contracts.withdraw_notice(connection, contract_id, actor_of(operator), _now())
        return await _shown(connection, contract_id)


@router.post(
    "/contracts/{contract_id}/revoke-mandate",
    summary="Revoke the mandate",
    responses=documented(404, 409),
)
async def revoke_mandate(
    pool: Pool, operator: Finance, contract_id: ContractId, body: DayIn
) -> ContractOut:
    """No invoice and no collection in the client's name from that day on."""
    async with transaction(pool) as connection:
        await contracts.revoke_mandate(connection, contract_id, body.on, actor_of(operator), _now())
        return await _shown(connection, contract_id)


@router.post("/contracts/{contract_id}/close", summary="Close", responses=documented(404, 409))
async def close(pool: Pool, operator: Finance, contract_id: ContractId) -> ContractOut:
    """Close a contract that has ended and is settled, or drop a draft."""
    async with transaction(pool) as connection:
        await contracts.close(connection, contract_id, actor_of(operator), _now())
        return await _shown(connection, contract_id)


@router.post(
    "/contracts/{contract_id}/letters",
    summary="Note a letter of L.215-1",
    status_code=201,
    responses=documented(404, 409),
)
async def note_letter(
    pool: Pool, operator: Finance, contract_id: ContractId, body: LetterIn
) -> ContractOut:
    """Note when the client was told of its right to refuse the renewal."""
    async with transaction(pool) as connection:
        await agreed.note_letter(connection, contract_id, body.sent_on, actor_of(operator), _now())
        return await _shown(connection, contract_id)


@router.get(
    "/contracts/{contract_id}/indemnity", summary="Preview an early end", responses=documented(404)
)
async def preview_indemnity(
    pool: Pool,
    _: Operator,
    contract_id: ContractId,
    leaves_on: Annotated[Day, Query(description="The last day that the client wants.")],
    notified_on: Annotated[Day | None, Query(description="Of the notice; today.")] = None,
) -> IndemnityOut:
    """What the client would owe for leaving on a day (article 6). Nothing is written."""
    async with pool.connection() as connection:
        contract = await contracts.get(connection, contract_id)
        found = await contracts.preview_indemnity(
            connection, contract, notified_on=notified_on or _today(), leaves_on=leaves_on
        )
    return IndemnityOut.model_validate(found)


@router.get(
    "/contracts/{contract_id}/dates", summary="A contract's calendar", responses=documented(404)
)
async def list_contract_dates(
    pool: Pool,
    _: Operator,
    contract_id: ContractId,
    from_on: FromDay = None,
    to: ToDay = None,
) -> PageOf[MilestoneOut]:
    """Renewals, letters that are due before them, last days for a notice, suspensions, the end."""
    first, last = _span(from_on, to)
    async with pool.connection() as connection:
        contract = await contracts.get(connection, contract_id)
    found = rules.calendar(contracts.core_of(contract), first, last)
    return whole([_milestone(DatedMilestone(contract, each)) for each in found])


@router.get("/contract-dates", summary="What is due in all contracts", responses=documented())
async def list_dates(
    pool: Pool,
    _: Operator,
    from_on: FromDay = None,
    to: ToDay = None,
    limit: Limit = 100,
    cursor: CursorText = None,
) -> PageOf[MilestoneOut]:
    """The same for all contracts that are signed and not closed, by day."""
    first, last = _span(from_on, to)
    after = paging.decode(cursor, (str, int, str))
    async with pool.connection() as connection:
        found = await contracts.calendar(connection, first, last)
    keyed = [(_key(each), each) for each in found]
    rest = [each for key, each in keyed if after is None or key > after.key]
    page = paging.page_of(rest, limit, len(found) if after is None else after.total, _key)
    items = [_milestone(each) for each in page.items]
    return PageOf[MilestoneOut](items=items, next=page.next, total=page.total)


@router.get("/contracts/{contract_id}/terms", summary="List terms", responses=documented(404))
async def list_terms(pool: Pool, _: Operator, contract_id: ContractId) -> PageOf[TermsOut]:
    """What was agreed of money, by date."""
    async with pool.connection() as connection:
        await contracts.get(connection, contract_id)
        found = await store.list_terms(connection, contract_id)
    return whole([TermsOut.model_validate(terms) for terms in found])


@router.post(
    "/contracts/{contract_id}/terms",
    summary="Agree on terms",
    status_code=201,
    responses=documented(404, 409),
)
async def add_terms(
    pool: Pool, operator: Finance, contract_id: ContractId, body: TermsIn
) -> TermsOut:
    """Terms from a day on; those that held until then and had no end end there."""
    async with transaction(pool) as connection:
        made = await agreed.add_terms(
            connection, contract_id, **dict(body), actor=actor_of(operator), now=_now()
        )
    return TermsOut.model_validate(made)


@router.get("/contracts/{contract_id}/options", summary="List options", responses=documented(404))
async def list_options(pool: Pool, _: Operator, contract_id: ContractId) -> PageOf[OptionOut]:
    """Every subscription of the contract, past and to come."""
    async with pool.connection() as connection:
        await contracts.get(connection, contract_id)
        found = await store.list_options(connection, contract_id)
    return whole([_option(option) for option in found])


@router.put(
    "/contracts/{contract_id}/options/{option}",
    summary="Subscribe to an option",
    responses=documented(404, 409),
)
async def subscribe(
    pool: Pool, operator: Finance, contract_id: ContractId, option: OptionCode, body: OptionIn
) -> PageOf[OptionOut]:
    """Open a service to the client from a day on. 409 when it is subscribed already."""
    async with transaction(pool) as connection:
        await agreed.subscribe(
            connection,
            contract_id,
            option,
            body.from_on,
            body.to_on,
            actor_of(operator),
            _now(),
        )
        found = await store.list_options(connection, contract_id)
    return whole([_option(row) for row in found])


@router.delete(
    "/contracts/{contract_id}/options/{option}",
    summary="End an option",
    responses=documented(404),
)
async def unsubscribe(
    pool: Pool,
    operator: Finance,
    contract_id: ContractId,
    option: OptionCode,
    on: Annotated[Day | None, Query(description="The first day without it; today.")] = None,
) -> PageOf[OptionOut]:
    """Close a service to the client from a day on."""
    async with transaction(pool) as connection:
        await agreed.unsubscribe(
            connection, contract_id, option, on or _today(), actor_of(operator), _now()
        )
        found = await store.list_options(connection, contract_id)
    return whole([_option(row) for row in found])


async def _shown(connection: AsyncConnection, contract_id: int) -> ContractOut:
    """Raises: NotThere."""
    return _shape(await contracts.get(connection, contract_id))


def _shape(contract: ContractRow) -> ContractOut:
    today = _today()
    core = contracts.core_of(contract)
    fields: dict[str, Any] = {
        name: getattr(contract, name)
        for name in ContractOut.model_fields
        if hasattr(contract, name)
    }
    fields["suspensions"] = [SuspensionOut(**_without_id(each)) for each in contract.suspensions]
    return ContractOut(
        **fields,
        state=rules.state_at(core, today).value,
        term_on=rules.term_on(core, today),
        free_to_leave=rules.state_at(core, today) in rules.IN_FORCE
        and rules.free_to_leave(core, today),
        mandated=rules.mandated(core, today),
    )


def _without_id(suspension: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in suspension.items() if name != "id"}


def _option(row: OptionRow) -> OptionOut:
    label = LABELS[Option(row.option)].fr
    return OptionOut(
        id=row.id, option=row.option, label=label, from_on=row.from_on, to_on=row.to_on
    )


def _milestone(each: DatedMilestone) -> MilestoneOut:
    return MilestoneOut(
        on=each.milestone.on,
        kind=each.milestone.kind,  # type: ignore[arg-type]  # the calendar knows no other
        anniversary_on=each.milestone.anniversary_on,
        contract_id=each.contract.id,
        client_id=each.contract.client_id,
        client=each.contract.client,
    )


def _key(each: DatedMilestone) -> tuple[str, int, str]:
    return (each.milestone.on.isoformat(), each.contract.id, each.milestone.kind)


def _span(from_on: date | None, to_on: date | None) -> tuple[date, date]:
    """Raises: Refusal for days in the wrong order, or too many."""
    first = from_on or _today()
    last = to_on or deadlines.add_months(first, 12)
    if not 0 <= (last - first).days <= SPAN_DAYS_MAX:
        raise Refusal("The days are in order, and at most five years apart.", "to")
    return first, last


def _today() -> date:
    return deadlines.paris_day(_now())


def _now() -> datetime:
    return datetime.now(UTC)
