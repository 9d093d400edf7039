"""What people decide of contracts: made, suspended, resumed, ended, closed.

The rules are those of csms.domain.contract; here they meet the database. Every function runs in the
caller's transaction, holds the client's row while it does, and notes it in the audit.
Today is the day in Paris at `now`. What cannot happen to a contract in its state, by the table of
that module, is a `Conflict`.

A signed contract governs its client from its first day on, and no other one with it: clients have
one at a time, and what changes in between are its terms and options. See csms.services for what
follows for stations and people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection

from csms import clients, deadlines
from csms.clients import Actor
from csms.domain import contract as rules
from csms.domain.contract import (
    ClientClass,
    Contract,
    Indemnity,
    Kind,
    Milestone,
    State,
    Suspension,
    Terms,
)
from csms.domain.services import Option
from csms.registry import AlreadyThere, Conflict, NotThere, Refusal
from csms.store import clients as client_store
from csms.store import contracts as store
from csms.store.contracts import ContractRow

DRAFT_FIELDS: Final = ("devis_reference", "signed_on", "starts_on", "term_months")
_BEFORE_STATE: Final = {
    Kind.SUSPEND: "be suspended",
    Kind.RESUME: "be resumed",
    Kind.NOTICE: "be ended by notice",
    Kind.WITHDRAW: "have its notice withdrawn",
    Kind.CLOSE: "be closed",
}


class DatedMilestone(NamedTuple):
    """A day of some contract's calendar."""

    contract: ContractRow
    milestone: Milestone


async def create(
    connection: AsyncConnection,
    client_id: int,
    *,
    devis_reference: str,
    starts_on: date,
    signed_on: date | None,
    term_months: int | None,
    mandate_from_on: date | None,
    options: Sequence[str],
    actor: Actor,
    now: datetime,
) -> int:
    """A contract, a draft until it is signed and has begun; its id.

    Without `term_months` the term is that of the client's class; a non_professionnel's is in the
    Devis and must be stated. The options are subscribed from the first day on.

    Raises: NotThere; AlreadyThere for a Devis that has a contract; Conflict for days that another
    contract of the client governs; Refusal.
    """
    client = await clients.locked(connection, client_id)
    if client.is_operator:
        raise Refusal("The operator has no contract with itself.", "client_id")
    if client.client_class is None:
        raise Refusal(
            "The client's class decides its rights: set client_class of the client first.",
            "client_class",
        )
    if term_months is None:
        term_months = rules.TERM_MONTHS[ClientClass(client.client_class)]
        if term_months is None:
            raise Refusal(
                "The term of a non-professional is that of its Devis: state it in months.",
                "term_months",
            )
    known = [option_code(option) for option in dict.fromkeys(options)]
    check_past(signed_on, deadlines.paris_day(now), "signed_on")
    try:
        async with connection.transaction():
            contract_id = await store.insert_contract(
                connection,
                client_id,
                client_class=client.client_class,
                devis_reference=devis_reference,
                signed_on=signed_on,
                starts_on=starts_on,
                term_months=term_months,
                mandate_from_on=mandate_from_on,
            )
    except psycopg.errors.ExclusionViolation:
        raise _overlap(starts_on) from None
    if contract_id is None:
        raise AlreadyThere(f"Devis {devis_reference} has a contract already.", "devis_reference")
    contract = await get(connection, contract_id)
    await store.insert_options(connection, contract, known, starts_on, None)
    await client_store.set_closed(connection, client_id, None)
    content = {
        "devis_reference": devis_reference,
        "signed_on": signed_on,
        "starts_on": starts_on,
        "term_months": term_months,
        "mandate_from_on": mandate_from_on,
        "options": known,
    }
    await note(connection, contract, actor, now, "contract.created", content)
    return contract_id


async def get(connection: AsyncConnection, contract_id: int) -> ContractRow:
    """One contract. Raises: NotThere."""
    found = await store.fetch_contracts(connection, contract_id=contract_id)
    if not found:
        raise NotThere(f"There is no contract {contract_id}.")
    return found[0]


async def change(
    connection: AsyncConnection,
    contract_id: int,
    values: Mapping[str, Any],
    actor: Actor,
    now: datetime,
) -> None:
    """Change the named fields of a contract, no other.

    A draft's Devis, signature, start and term; the mandate's first day as long as it has none. What
    has begun is changed by notice, suspension, terms and options only.

    Raises: NotThere; AlreadyThere; Conflict; Refusal.
    """
    contract = await locked(connection, contract_id)
    today = deadlines.paris_day(now)
    named = {name: value for name, value in values.items() if getattr(contract, name) != value}
    if not named:
        return
    if set(named) & set(DRAFT_FIELDS) and state_on(contract, today) is not State.DRAFT:
        raise Conflict("The contract has begun: its Devis, signature, start and term stand.")
    if "mandate_from_on" in named and contract.mandate_from_on is not None:
        raise Conflict("The mandate was given already.", "mandate_from_on")
    check_past(named.get("signed_on"), today, "signed_on")
    await _write(connection, replace(contract, **named))
    await note(connection, contract, actor, now, "contract.changed", named)


async def suspend(
    connection: AsyncConnection,
    contract_id: int,
    *,
    received_on: date,
    reason: str,
    from_on: date | None,
    actor: Actor,
    now: datetime,
) -> date:
    """Suspend a contract for a breach (article 6); the first day of the suspension.

    `received_on` is when the client received the registered letter: the suspension begins seven
    whole days later at the earliest, never in the past, and on `from_on` where that is later.

    Raises: NotThere; Conflict; Refusal.
    """
    contract = await locked(connection, contract_id)
    today = deadlines.paris_day(now)
    check_past(received_on, today, "received_on")
    _require(contract, today, Kind.SUSPEND)
    if any(suspension["until_on"] is None for suspension in contract.suspensions):
        raise Conflict("A suspension of this contract is noted already.")
    earliest = max(rules.suspension_from(received_on), today)
    if from_on is not None and from_on < earliest:
        raise Refusal(
            f"The notice of seven days allows no suspension before {earliest}.", "from_on"
        )
    begins = from_on or earliest
    try:
        async with connection.transaction():
            await store.insert_suspension(
                connection, contract, received_on=received_on, reason=reason, from_on=begins
            )
    except psycopg.errors.ExclusionViolation:
        raise Conflict("The contract was suspended on some of these days already.") from None
    content = {"received_on": received_on, "from_on": begins}  # the reason may hold names
    await note(connection, contract, actor, now, "contract.suspended", content)
    return begins


async def resume(
    connection: AsyncConnection, contract_id: int, actor: Actor, now: datetime
) -> None:
    """End a suspension today, or take back one that has not begun. Raises: NotThere; Conflict."""
    contract = await locked(connection, contract_id)
    today = deadlines.paris_day(now)
    if not await store.end_suspension(connection, contract_id, today):
        raise Conflict("The contract is not suspended.")
    await note(connection, contract, actor, now, "contract.resumed", {"on": today})


async def end_by_client(
    connection: AsyncConnection,
    contract_id: int,
    *,
    notified_on: date,
    leaves_on: date | None,
    actor: Actor,
    now: datetime,
) -> Indemnity:
    """Note the client's notice; what its end makes due, which is told and never posted.

    `notified_on` is the day of the postmark where known, else of receipt. The contract ends at the
    next anniversary that the notice is in time for, or on any day where the client was not told of
    the renewal. `leaves_on` is an end that the client wants before that, at the price of the
    indemnity.

    Raises: NotThere; Conflict; Refusal.
    """
    contract = await locked(connection, contract_id)
    today = deadlines.paris_day(now)
    check_past(notified_on, today, "notified_on")
    _require(contract, today, Kind.NOTICE)
    core = core_of(contract)
    if leaves_on is not None and leaves_on < max(notified_on, contract.starts_on):
        raise Refusal("The contract ends with the notice at the earliest.", "leaves_on")
    ends_on = leaves_on or max(rules.leaving(core, notified_on).ends_on, contract.starts_on)
    due = await preview_indemnity(connection, contract, notified_on=notified_on, leaves_on=ends_on)
    await _end(connection, contract, "client", notified_on, ends_on, actor, now)
    return due


async def end_by_operator(
    connection: AsyncConnection,
    contract_id: int,
    *,
    received_on: date,
    ends_on: date | None,
    actor: Actor,
    now: datetime,
) -> date:
    """End a contract for a breach (article 6); its last day: one month after the client received
    the registered letter, or `ends_on` where that is later.

    Raises: NotThere; Conflict; Refusal.
    """
    contract = await locked(connection, contract_id)
    today = deadlines.paris_day(now)
    check_past(received_on, today, "received_on")
    _require(contract, today, Kind.NOTICE)
    earliest = max(rules.termination_on(received_on), today)
    if ends_on is not None and ends_on < earliest:
        raise Refusal(f"The notice of one month allows no end before {earliest}.", "ends_on")
    last = ends_on or earliest
    await _end(connection, contract, "operator", received_on, last, actor, now)
    return last


async def withdraw_notice(
    connection: AsyncConnection, contract_id: int, actor: Actor, now: datetime
) -> None:
    """The parties go on: take the notice back before it has ended the contract.

    Raises: NotThere; Conflict.
    """
    contract = await locked(connection, contract_id)
    _require(contract, deadlines.paris_day(now), Kind.WITHDRAW)
    await _write(connection, replace(contract, notice_by=None, notice_on=None, ends_on=None))
    content = {"ended_on": contract.ends_on}
    await note(connection, contract, actor, now, "notice.withdrawn", content)


async def revoke_mandate(
    connection: AsyncConnection, contract_id: int, on: date, actor: Actor, now: datetime
) -> None:
    """No invoice and no collection in the client's name from the day on (C23), today or later.

    Raises: NotThere; Conflict when there is no mandate; Refusal.
    """
    contract = await locked(connection, contract_id)
    if contract.mandate_from_on is None or contract.mandate_revoked_on is not None:
        raise Conflict("The contract has no mandate to revoke.")
    if on < max(contract.mandate_from_on, deadlines.paris_day(now)):
        raise Refusal("A mandate is revoked from today on, or from a later day.", "on")
    await _write(connection, replace(contract, mandate_revoked_on=on))
    await note(connection, contract, actor, now, "mandate.revoked", {"on": on})


async def close(connection: AsyncConnection, contract_id: int, actor: Actor, now: datetime) -> None:
    """Close a contract that has ended and is settled, or drop a draft.

    With its last contract the client is closed: its managers see no live data any more, its
    statements stay. Its stations are left as they are: they may connect and their sessions are
    recorded, nobody may start there, and whoever takes them over gives them another site.

    Raises: NotThere; Conflict.
    """
    contract = await locked(connection, contract_id)
    draft = state_on(contract, deadlines.paris_day(now)) is State.DRAFT
    _require(contract, deadlines.paris_day(now), Kind.CLOSE)
    # A draft that was signed governs nothing any more: its days are free for another.
    signed_on = None if draft else contract.signed_on
    await _write(connection, replace(contract, signed_on=signed_on, closed_at=now))
    if not draft and not await client_store.has_open_contract(connection, contract.client_id):
        await client_store.set_closed(connection, contract.client_id, now)
    await note(connection, contract, actor, now, "contract.closed", {"draft": draft})


async def preview_indemnity(
    connection: AsyncConnection, contract: ContractRow, *, notified_on: date, leaves_on: date
) -> Indemnity:
    """What the client would owe for leaving on a day; nothing is written."""
    agreed = [
        Terms(
            row.from_on,
            row.to_on,
            row.commission_rate,
            row.monthly_management_fee_cents,
            row.yearly_subscription_cents,
            row.monthly_telemetering_cents,
            row.energy_price_eur_per_kwh,
        )
        for row in await store.list_terms(connection, contract.id)
    ]
    return rules.indemnity(core_of(contract), agreed, notified_on=notified_on, leaves_on=leaves_on)


async def calendar(connection: AsyncConnection, from_on: date, to_on: date) -> list[DatedMilestone]:
    """What is due in all contracts that are signed and not closed, by day, both days included."""
    found = [
        DatedMilestone(contract, milestone)
        for contract in await store.fetch_contracts(connection, not_closed=True)
        if contract.signed_on is not None
        for milestone in rules.calendar(core_of(contract), from_on, to_on)
    ]
    return sorted(
        found, key=lambda each: (each.milestone.on, each.contract.id, each.milestone.kind)
    )


def core_of(contract: ContractRow) -> Contract:
    """The contract as its rules know it."""
    return Contract(
        client_class=ClientClass(contract.client_class),
        signed_on=contract.signed_on,
        starts_on=contract.starts_on,
        term_months=contract.term_months,
        suspensions=tuple(
            Suspension(
                date.fromisoformat(each["from_on"]),
                None if each["until_on"] is None else date.fromisoformat(each["until_on"]),
            )
            for each in contract.suspensions
        ),
        notice_on=contract.notice_on,
        ends_on=contract.ends_on,
        closed_on=None if contract.closed_at is None else deadlines.paris_day(contract.closed_at),
        letters_on=tuple(contract.letters_on),
        mandate_from_on=contract.mandate_from_on,
        mandate_revoked_on=contract.mandate_revoked_on,
    )


def state_on(contract: ContractRow, day: date) -> State:
    """The contract's state on a day."""
    return rules.state_at(core_of(contract), day)


async def locked(connection: AsyncConnection, contract_id: int) -> ContractRow:
    """The contract, its client's row held. Raises: NotThere."""
    client_id = await store.fetch_client_of(connection, contract_id)
    if client_id is None:
        raise NotThere(f"There is no contract {contract_id}.")
    await clients.locked(connection, client_id)
    return await get(connection, contract_id)


async def _write(connection: AsyncConnection, contract: ContractRow) -> None:
    try:
        async with connection.transaction():
            written = await store.update_contract(connection, contract)
    except psycopg.errors.ExclusionViolation:
        raise _overlap(contract.starts_on) from None
    if not written:
        raise AlreadyThere(
            f"Devis {contract.devis_reference} has a contract already.", "devis_reference"
        )


async def _end(
    connection: AsyncConnection,
    contract: ContractRow,
    by: str,
    notice_on: date,
    ends_on: date,
    actor: Actor,
    now: datetime,
) -> None:
    if contract.ends_on is not None and ends_on >= contract.ends_on:
        raise Conflict(f"The contract ends on {contract.ends_on} already.")
    await _write(connection, replace(contract, notice_by=by, notice_on=notice_on, ends_on=ends_on))
    content = {"by": by, "notice_on": notice_on, "ends_on": ends_on}
    await note(connection, contract, actor, now, "notice.given", content)


async def note(
    connection: AsyncConnection,
    contract: ContractRow,
    actor: Actor,
    now: datetime,
    what: str,
    content: dict[str, Any],
) -> None:
    """Note an act in the audit: days and numbers as text."""
    detail = {name: _plain(value) for name, value in content.items()}
    await clients.note(connection, contract.client_id, actor, now, what, detail, contract.id)


def _require(contract: ContractRow, today: date, kind: Kind) -> None:
    """Raises: Conflict for what the table does not know."""
    state = state_on(contract, today)
    if not rules.may(state, kind):
        word = state.value.replace("_", " ")
        raise Conflict(f"A contract that is {word} cannot {_BEFORE_STATE[kind]}.")


def option_code(text: str) -> str:
    """The option of that code. Raises: Refusal."""
    try:
        return Option(text).value
    except ValueError:
        known = ", ".join(option.value for option in Option)
        raise Refusal(f"{text} is no option; there are {known}.", "option") from None


def _overlap(starts_on: date) -> Conflict:
    return Conflict(
        f"Another contract of this client holds on some day from {starts_on} on: end that first.",
        "starts_on",
    )


def check_past(day: date | None, today: date, field: str) -> None:
    """Raises: Refusal for a day that is still to come."""
    if day is not None and day > today:
        raise Refusal(f"{day} is still to come.", field)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | str | list) else str(value)
