"""Money received from drivers: the one way in, what it pays, and what is taken back.

Money is the driver's (her wallet) until it pays an invoice: the one that it names, then her oldest
ones, of whichever client; of an invoice the sessions in the order of its lines. So a wallet holds
something only when nothing is owed. What was paid is written as shares of a receipt on sessions,
and as entries in the books, in the same transaction; both are never changed. A share taken back is
one below 0, of the same receipt.

Locks are taken in one order: chains of the books by their keys, then drivers by their numbers.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date, datetime
from itertools import groupby
from typing import Final, NamedTuple

import psycopg
from psycopg import AsyncConnection

from billing import books, ledger, payment_blocks
from billing.ledger import BANK_MANDATE, Account, Entry
from billing.store import ledger as ledger_store
from billing.store import receipts as store
from billing.store.receipts import PayableRow, ReceiptRow, ShareRow
from csms import deadlines
from csms.clients import Actor
from csms.registry import Conflict, NotThere, Refusal
from csms.store import audit

MEANS: Final = ("transfer", "direct_debit", "card", "wallet", "other")
AMOUNT_CENTS_MAX: Final = 10**10
KEY_LENGTH_MAX: Final = 200


class Received(NamedTuple):
    """A receipt as it is now; `is_new`: it was not there before."""

    receipt: ReceiptRow
    is_new: bool


class _Order(NamedTuple):
    """What is to be entered, looked up: who, for what, or instead of what."""

    person_id: int
    invoice: PayableRow | None
    original: ReceiptRow | None


async def receive(
    connection: AsyncConnection,
    *,
    source_key: str,
    amount_cents: int,
    received_on: date,
    means: str,
    actor: Actor,
    now: datetime,
    person_id: int | None = None,
    invoice_number: str | None = None,
    reverses_key: str | None = None,
    simulated: bool = False,
    into: Account = BANK_MANDATE,
) -> Received:
    """Enter money that came in, or that went back (amount below 0, with `reverses_key`: the key of
    the receipt that it undoes, whole). In the caller's transaction.

    source_key: of the bank's or the provider's line; the same again with the same body enters
    nothing. person_id: the driver; None: the one of the invoice or of the receipt undone.
    into: where the money is, `bank:mandate` or `psp:clearing`.

    Raises: Conflict for a key that is there with another body, or a receipt undone already;
    NotThere; Refusal for what cannot be.
    """
    _check(source_key, amount_cents, received_on, means, deadlines.paris_day(now))
    order = await _order(connection, amount_cents, person_id, invoice_number, reverses_key)
    clients = await _hold(connection, order)
    body = _body_sha256(order, amount_cents, received_on, means, simulated, into)
    known = await store.find_receipt(connection, source_key)
    if known is not None:
        if known.body_sha256 != body:
            raise Conflict(
                f"Receipt {source_key} is entered already, with another content: nothing was "
                "written. Undo it by a receipt that reverses it, and enter a new one.",
                "source_key",
            )
        return Received(known, False)
    booked_on = await books.bookable_on(connection, [books.OPERATOR], received_on, now)
    receipt_id = await _insert(
        connection,
        order,
        {
            "source_key": source_key,
            "amount_cents": amount_cents,
            "received_on": received_on,
            "booked_on": booked_on,
            "means": means,
            "is_simulated": simulated,
            "body_sha256": body,
            "created_at": now,
            "created_by": actor.name,
        },
    )
    money = ledger.money_received(receipt_id, order.person_id, into, amount_cents, booked_on)
    if order.original is not None:
        taken = [
            replace(share, amount_cents=-share.amount_cents, earliest_on=booked_on)
            for share in await store.fetch_shares(connection, order.original.id)
        ]
        await _write(connection, taken, now)
    await books.post(connection, [money], now)
    first = None if order.invoice is None else order.invoice.id
    await _pay(connection, [order.person_id], clients, now, first_invoice_id=first)
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        client_id=None if order.invoice is None else order.invoice.client_id,
        action="receipt.entered" if order.original is None else "receipt.reversed",
        subject=f"receipt {receipt_id}",
        detail={"amount_cents": amount_cents, "means": means},
    )
    entered = await store.find_receipt(connection, source_key)
    assert entered is not None
    return Received(entered, True)


async def apply_wallets(
    connection: AsyncConnection, person_ids: Collection[int], now: datetime
) -> int:
    """Pay what these drivers owe from what they have in advance, after invoices or corrections were
    issued to them; what they paid for a session beyond its price since it was corrected goes to
    their wallets first. The sum paid in cents. In the caller's transaction.

    Clients whose books somebody else holds are left for `settle_wallets`: the caller has chains
    already, and would wait for them out of their order.
    """
    in_credit = await store.find_in_credit(connection, sorted(set(person_ids)))
    if not in_credit:
        return 0
    concerned = await store.fetch_clients_concerned(connection, in_credit, None)
    clients = await store.take_chains(connection, sorted(concerned))
    await store.lock_drivers(connection, in_credit)
    await _write(connection, await store.fetch_excess(connection, in_credit, clients), now)
    return await _pay(connection, in_credit, clients, now)


async def settle_wallets(connection: AsyncConnection, now: datetime) -> int:
    """Pay from wallets what was left open while somebody held the client's books; the sum in cents.
    At the beginning of a transaction."""
    person_ids = await store.list_in_arrears(connection)
    if not person_ids:
        return 0
    clients = await store.fetch_clients_concerned(connection, person_ids, None)
    await ledger_store.lock_chains(connection, sorted(clients))
    return await apply_wallets(connection, person_ids, now)


async def _pay(
    connection: AsyncConnection,
    person_ids: Sequence[int],
    client_ids: Collection[int],
    now: datetime,
    *,
    first_invoice_id: int | None = None,
) -> int:
    """Everything that the wallets of these drivers can pay to these clients; they and the chains
    are held."""
    planned = await store.plan_payments(
        connection, person_ids, sorted(client_ids), first_invoice_id
    )
    await _write(connection, planned, now)
    if planned:
        await payment_blocks.lift_groundless(connection, now, person_ids)
    return sum(share.amount_cents for share in planned)


async def _write(connection: AsyncConnection, shares: Sequence[ShareRow], now: datetime) -> None:
    """Keep shares (below 0: taken back) and book them, one entry for each receipt and invoice."""
    if not shares:
        return
    ordered = sorted(shares, key=_pair)  # stable: the sessions stay in their order
    days = await _booking_days(connection, ordered, now)
    ids = await store.insert_shares(
        connection,
        [
            (
                share.receipt_id,
                share.client_id,
                share.invoice_id,
                share.session_id,
                share.amount_cents,
                days[share.client_id, share.earliest_on],
                share.correction_id,
            )
            for share in ordered
        ],
        now,
    )
    available = await _available(connection, ordered)
    entries = []
    for _, rows in groupby(zip(ids, ordered, strict=True), key=lambda row: _pair(row[1])):
        numbered = list(rows)
        share_id, share = numbered[0]
        cents = sum(each.amount_cents for _, each in numbered)
        entries.append(_entry(share_id, share, cents, days, available))
    await books.post(connection, entries, now)


def _pair(share: ShareRow) -> tuple[int, int, int]:
    return share.client_id, share.receipt_id, share.invoice_id


def _entry(
    share_id: int,
    share: ShareRow,
    cents: int,
    days: dict[tuple[int, date], date],
    available: dict[int, int],
) -> Entry:
    """The entry of one receipt on one invoice; `available` is brought up to date."""
    entry = ledger.allocated(
        str(share_id),
        share.number,
        share.client_id,
        share.person_id,
        cents,
        days[share.client_id, share.earliest_on],
        available_cents=available.get(share.client_id),
    )
    if share.client_id in available:
        left = ledger.balances([entry])[ledger.owed("available", share.client_id).code]
        available[share.client_id] -= left
    return entry


async def _available(connection: AsyncConnection, shares: Sequence[ShareRow]) -> dict[int, int]:
    """What is owed to the clients from whom something is taken back, of it what is not held."""
    clients = sorted({share.client_id for share in shares if share.amount_cents < 0})
    return {
        client_id: -await books.balance(connection, ledger.owed("available", client_id))
        for client_id in clients
    }


async def _booking_days(
    connection: AsyncConnection, shares: Sequence[ShareRow], now: datetime
) -> dict[tuple[int, date], date]:
    """By client and earliest day: that day, or today where its month is closed for the client."""
    return {
        (client_id, day): await books.bookable_on(connection, [client_id], day, now)
        for client_id, day in {(share.client_id, share.earliest_on) for share in shares}
    }


def _check(source_key: str, amount_cents: int, received_on: date, means: str, today: date) -> None:
    """Raises: Refusal."""
    if not source_key.strip() or len(source_key) > KEY_LENGTH_MAX or not source_key.isprintable():
        raise Refusal(
            f"A receipt has a key of its own, of 1 to {KEY_LENGTH_MAX} printable characters: the "
            "reference of the line on the bank's statement.",
            "source_key",
        )
    if not amount_cents or abs(amount_cents) > AMOUNT_CENTS_MAX:
        raise Refusal(f"An amount is not 0, and at most {AMOUNT_CENTS_MAX} cents.", "amount_cents")
    if means not in MEANS:
        raise Refusal(f"The means is one of {', '.join(MEANS)}.", "means")
    if received_on > today:
        raise Refusal("Money is entered once it is here: the day lies ahead.", "received_on")
    if received_on.year < today.year - 10:
        raise Refusal("The day lies more than ten years back.", "received_on")


async def _order(
    connection: AsyncConnection,
    amount_cents: int,
    person_id: int | None,
    invoice_number: str | None,
    reverses_key: str | None,
) -> _Order:
    """Whose money it is, and what for. Raises: NotThere; Refusal."""
    if reverses_key is not None:
        return await _reversal(connection, amount_cents, person_id, invoice_number, reverses_key)
    if amount_cents < 0:
        raise Refusal(
            "Money that went back names the receipt that it undoes (reverses).", "reverses_key"
        )
    invoice = None
    if invoice_number is not None:
        invoice = await store.find_payable(connection, invoice_number)
        if invoice is None:
            raise NotThere(
                f"There is no invoice {invoice_number} in a client's name: look at its number.",
                "invoice_number",
            )
    if person_id is None:
        if invoice is None:
            raise Refusal(
                "Say whose money it is: a driver, or the number of an invoice.", "person_id"
            )
        return _Order(invoice.person_id, invoice, None)
    if await store.find_driver(connection, person_id) is None:
        raise NotThere(f"There is no driver {person_id}.", "person_id")
    if invoice is not None and invoice.person_id != person_id:
        raise Refusal(
            f"Invoice {invoice.number} is another driver's: name one of the two.", "person_id"
        )
    return _Order(person_id, invoice, None)


async def _reversal(
    connection: AsyncConnection,
    amount_cents: int,
    person_id: int | None,
    invoice_number: str | None,
    reverses_key: str,
) -> _Order:
    """What is undone. Raises: NotThere; Refusal."""
    original = await store.find_receipt(connection, reverses_key)
    if original is None:
        raise NotThere(f"There is no receipt {reverses_key} to undo.", "reverses_key")
    if original.reverses_id is not None:
        raise Refusal(
            f"Receipt {reverses_key} undoes another: enter the money anew instead.", "reverses_key"
        )
    if amount_cents != -original.amount_cents:
        raise Refusal(
            f"A receipt is undone whole: the amount is {-original.amount_cents} cents.",
            "amount_cents",
        )
    if person_id not in (None, original.person_id):
        raise Refusal(f"Receipt {reverses_key} is another driver's.", "person_id")
    if invoice_number not in (None, original.invoice_number):
        raise Refusal(f"Receipt {reverses_key} named another invoice, or none.", "invoice_number")
    return _Order(original.person_id, None, original)


async def _insert(connection: AsyncConnection, order: _Order, values: dict[str, object]) -> int:
    """The receipt; its id. Raises: Conflict where what it undoes is undone already."""
    original = order.original
    if original is not None:
        now_is = await store.find_receipt(connection, original.source_key)
        assert now_is is not None
        if now_is.is_reversed:
            raise Conflict(f"Receipt {original.source_key} is undone already.", "reverses_key")
    named = order.invoice
    if original is not None:
        invoice_id, client_id = original.invoice_id, original.client_id
    else:
        invoice_id = None if named is None else named.id
        client_id = None if named is None else named.client_id
    return await store.insert_receipt(
        connection,
        values
        | {
            "person_id": order.person_id,
            "invoice_id": invoice_id,
            "client_id": client_id,
            "reverses_id": None if original is None else original.id,
        },
    )


async def _hold(connection: AsyncConnection, order: _Order) -> set[int]:
    """Hold the driver, and the chains of all clients whom her money can concern: these. An invoice
    issued meanwhile may add one: then all is let go and taken anew, in the order of the keys."""
    receipt_id = None if order.original is None else order.original.id
    persons = [order.person_id]
    while True:
        clients = await store.fetch_clients_concerned(connection, persons, receipt_id)
        is_held = False
        async with connection.transaction():  # a savepoint: what is taken in it can be let go
            await ledger_store.lock_chains(connection, sorted({books.OPERATOR, *clients}))
            await store.lock_drivers(connection, persons)
            now_concerned = await store.fetch_clients_concerned(connection, persons, receipt_id)
            is_held = now_concerned <= clients
            if not is_held:
                raise psycopg.Rollback
        if is_held:
            return clients


def _body_sha256(
    order: _Order,
    amount_cents: int,
    received_on: date,
    means: str,
    simulated: bool,
    into: Account,
) -> bytes:
    """SHA-256 of what a receipt says."""
    body = [
        order.person_id,
        None if order.invoice is None else order.invoice.id,
        None if order.original is None else order.original.id,
        amount_cents,
        received_on.isoformat(),
        means,
        simulated,
        into.code,
    ]
    return hashlib.sha256(json.dumps(body, separators=(",", ":")).encode()).digest()
