"""Provisions of co-owners (article 5.4 d): received, used for bills, come back, given back.

A provision is asked for by a prepayment invoice, is a liability once it is paid, and pays the bills
of its holding as far as it goes. What comes back from the bank undoes the newest uses that it no
longer covers: those bills are open again. Each happening is a row and an entry in the books, once.
"""

from datetime import date, datetime
from typing import NamedTuple

from psycopg import AsyncConnection

from billing import books, ledger, money, supply
from billing.store import issuing as issue_store
from billing.store import supply as store
from billing.store.supply import DocumentRow, ProvisionRow
from csms.clients import Actor
from csms.registry import Conflict


class Balance(NamedTuple):
    """What is left of a provision, and the VAT contained in it."""

    cents: int
    vat_cents: int


async def find_document(connection: AsyncConnection, invoice_id: int) -> DocumentRow | None:
    """The document to a co-owner that an invoice is; None: it is to nobody of them."""
    found = await store.list_documents(connection, invoice_id=invoice_id)
    return found[0] if found else None


async def balance(connection: AsyncConnection, holding_id: int) -> Balance:
    """What is left of the provision of a holding."""
    return _sum(await store.list_provisions(connection, holding_id))


def _sum(rows: list[ProvisionRow]) -> Balance:
    return Balance(sum(row.amount_cents for row in rows), sum(row.vat_cents for row in rows))


async def receive(
    connection: AsyncConnection,
    advance: DocumentRow,
    own_receipt_id: int,
    amount_cents: int,
    booked_on: date,
    actor: Actor,
    now: datetime,
) -> None:
    """Money came in for a prepayment invoice, or came back (below 0); `advance` as it is with that.
    Only what was asked for is a provision: what comes in beyond it, since it was credited
    meanwhile, is to be given back, and giving it back takes nothing off the provision."""
    if amount_cents < 0:
        amount_cents = -min(-amount_cents, max(0, advance.open_cents))
    else:
        amount_cents = max(0, min(amount_cents, advance.open_cents + amount_cents))
    if amount_cents == 0:
        return
    if amount_cents < 0:
        await _reopen(connection, advance, -amount_cents, own_receipt_id, booked_on, actor, now)
    left = await balance(connection, advance.holding_id)
    # What was given back already is no provision any more: he owes it by the invoice alone.
    amount_cents = max(amount_cents, -left.cents)
    if amount_cents == 0:
        return
    vat_cents = (
        await _vat_in(connection, amount_cents, booked_on)
        if amount_cents > 0
        else -supply.vat_part(-amount_cents, left.cents, left.vat_cents)
    )
    await _happen(
        connection,
        advance,
        "received",
        advance.invoice_id,
        (amount_cents, vat_cents),
        f"received:{own_receipt_id}",
        booked_on,
        actor,
        now,
    )


async def _vat_in(connection: AsyncConnection, amount_cents: int, day: date) -> int:
    """Raises: Conflict while no rate is known for the day."""
    percent = await issue_store.fetch_vat_percent(connection, day)
    if percent is None:
        raise Conflict(
            f"No rate of VAT is in force on {day}: enter it (POST /api/v1/billing/vat-rates)."
        )
    return money.vat_in(amount_cents, percent)


async def _reopen(
    connection: AsyncConnection,
    advance: DocumentRow,
    amount_cents: int,
    own_receipt_id: int,
    booked_on: date,
    actor: Actor,
    now: datetime,
) -> None:
    """Undo the newest uses as far as the provision is short of what came back."""
    rows = await store.list_provisions(connection, advance.holding_id)
    short_cents = amount_cents - _sum(rows).cents
    used: dict[int, Balance] = {}
    for row in rows:
        if row.kind == "used":
            before = used.get(row.invoice_id, Balance(0, 0))
            used[row.invoice_id] = Balance(
                before.cents - row.amount_cents, before.vat_cents - row.vat_cents
            )
    for invoice_id, of_bill in sorted(used.items(), reverse=True):
        cents = min(of_bill.cents, short_cents)
        if cents <= 0:
            continue
        vat_cents = supply.vat_part(cents, of_bill.cents, of_bill.vat_cents)
        await _happen(
            connection,
            advance,
            "used",
            invoice_id,
            (cents, vat_cents),
            f"reopened:{own_receipt_id}:{invoice_id}",
            booked_on,
            actor,
            now,
        )
        short_cents -= cents


async def use(
    connection: AsyncConnection, bill: DocumentRow, booked_on: date, actor: Actor, now: datetime
) -> int:
    """Pay what is open of a bill from the provision of its holding; how much, in cents. With the
    rows of the holding held by the caller (its client)."""
    left = await balance(connection, bill.holding_id)
    cents = min(left.cents, bill.open_cents)
    if cents <= 0:
        return 0
    vat_cents = supply.vat_part(cents, left.cents, left.vat_cents)
    rows = await store.list_provisions(connection, bill.holding_id)
    await _happen(
        connection,
        bill,
        "used",
        bill.invoice_id,
        (-cents, -vat_cents),
        f"used:{bill.invoice_id}:{len(rows)}",
        booked_on,
        actor,
        now,
    )
    return cents


async def put_back(
    connection: AsyncConnection, bill: DocumentRow, booked_on: date, actor: Actor, now: datetime
) -> None:
    """A bill costs less than was paid of it (`bill.open_cents` is below 0): what of that a
    provision paid is provision again; the rest is to be given back."""
    rows = await store.list_provisions(connection, bill.holding_id)
    used = _sum([row for row in rows if row.kind == "used" and row.invoice_id == bill.invoice_id])
    cents = min(-used.cents, -bill.open_cents)
    if cents <= 0:
        return
    vat_cents = supply.vat_part(cents, -used.cents, -used.vat_cents)
    key = f"put_back:{bill.invoice_id}:{len(rows)}"
    await _happen(
        connection,
        bill,
        "used",
        bill.invoice_id,
        (cents, vat_cents),
        key,
        booked_on,
        actor,
        now,
    )


async def credit(
    connection: AsyncConnection,
    note: DocumentRow,
    amount_cents: int,
    vat_cents: int,
    actor: Actor,
    now: datetime,
) -> None:
    """What is left is given back by a credit note, whose own entry books it."""
    await store.insert_provision(
        connection,
        _values(
            note,
            "credited",
            note.invoice_id,
            (-amount_cents, -vat_cents),
            f"credited:{note.invoice_id}",
            actor,
            now,
        ),
    )


async def _happen(
    connection: AsyncConnection,
    of: DocumentRow,
    kind: str,
    invoice_id: int,
    amounts: tuple[int, int],
    source_key: str,
    booked_on: date,
    actor: Actor,
    now: datetime,
) -> None:
    """A row and its entry; nothing where the key is there."""
    made = await store.insert_provision(
        connection, _values(of, kind, invoice_id, amounts, source_key, actor, now)
    )
    if made is None:
        return
    cents, vat_cents = amounts
    owner = of.client_id, of.person_id
    entry = (
        ledger.provision_received(made, owner, cents, vat_cents, booked_on)
        if kind == "received"
        else ledger.provision_used(made, owner, -cents, -vat_cents, booked_on)
    )
    await books.post(connection, [entry], now)


def _values(
    of: DocumentRow,
    kind: str,
    invoice_id: int,
    amounts: tuple[int, int],
    source_key: str,
    actor: Actor,
    now: datetime,
) -> dict[str, object]:
    return {
        "client_id": of.client_id,
        "holding_id": of.holding_id,
        "person_id": of.person_id,
        "kind": kind,
        "invoice_id": invoice_id,
        "amount_cents": amounts[0],
        "vat_cents": amounts[1],
        "source_key": source_key,
        "now": now,
        "actor": actor.name,
    }
