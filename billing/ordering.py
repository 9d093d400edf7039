"""Quotes of the operator's to clients, and what they sell: deposit, balance, costs, refunds.

A quote is signed, completed, cancelled or withdrawn from; each step makes its sales and their
documents in the caller's transaction, or nothing at all. The deposit is given back by a credit note
that names its invoice; what it paid pays what the cancelling costs, and the rest is to be refunded
by a day. Money is noted as paid where it is: settling (transfers that come in), `note_refund`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from psycopg import AsyncConnection

from billing import collecting, money, orders, own_sales
from billing.orders import Case
from billing.payment_state import follow
from billing.store import orders as store
from billing.store.orders import QuoteRow, RefundRow
from csms import deadlines
from csms.clients import Actor
from csms.config import Settings
from csms.deadlines import OFFICE_HOURS
from csms.registry import Conflict, NotThere, Refusal
from csms.store import audit
from csms.store import clients as client_store

KINDS: Final = ("installation", "intervention")
LINES_MAX: Final = 200
TOTAL_CENTS_MAX: Final = 1_000_000_000
TEXT_LENGTH_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a quote: so many, at so much each before VAT."""

    label: str
    quantity: Decimal
    unit_excl_cents: int

    @property
    def amount_excl_cents(self) -> int:
        """Rounded half up, once."""
        return money.round_half_up(self.quantity * self.unit_excl_cents)


async def add_quote(
    connection: AsyncConnection,
    *,
    client_id: int,
    reference: str,
    kind: str,
    label: str,
    lines: Sequence[Line],
    valid_until: date,
    actor: Actor,
    now: datetime,
    deposit_rate: Decimal = orders.DEPOSIT_RATE,
    is_distance: bool = False,
) -> int:
    """A quote as it is offered; its id. deposit_rate: half, unless the Devis says otherwise; of an
    intervention there is no deposit. In the caller's transaction.

    Raises: NotThere; Conflict for a reference that is there; Refusal.
    """
    if kind not in KINDS:
        raise Refusal(f"A quote is of an {' or an '.join(KINDS)}.", "kind")
    if not 1 <= len(lines) <= LINES_MAX:
        raise Refusal(f"A quote has 1 to {LINES_MAX} lines.", "lines")
    total = sum(line.amount_excl_cents for line in lines)
    if not 0 < total <= TOTAL_CENTS_MAX:
        raise Refusal(f"A quote comes to 1 to {TOTAL_CENTS_MAX} cents.", "lines")
    client = await client_store.get_client(connection, client_id)
    if client is None or client.is_operator:
        raise NotThere(f"There is no client {client_id}.")
    quote_id = await store.insert_quote(
        connection,
        {
            "client_id": client_id,
            "reference": reference,
            "kind": kind,
            "label": label,
            "total_excl_cents": total,
            "deposit_rate": deposit_rate if kind == "installation" else Decimal(0),
            "is_distance": is_distance,
            "valid_until": valid_until,
            "now": now,
            "actor": actor.name,
        },
    )
    if quote_id is None:
        raise Conflict(f"Quote {reference} is there already.", "reference")
    await store.insert_lines(
        connection,
        quote_id,
        client_id,
        [
            (line.label, line.quantity, line.unit_excl_cents, line.amount_excl_cents)
            for line in lines
        ],
    )
    await _note(connection, quote_id, client_id, "offered", actor, now)
    return quote_id


async def accept(
    connection: AsyncConnection,
    quote_id: int,
    *,
    signed_on: date,
    signed_by: str,
    planned_at: datetime | None = None,
    actor: Actor,
    now: datetime,
    settings: Settings,
) -> QuoteRow:
    """The client has signed: an installation's deposit is invoiced, due within six days (C10). The
    same signature again is nothing new. Raises: NotThere; Conflict; Refusal."""
    quote = await _locked(connection, quote_id)
    if quote.status == "accepted" and (quote.signed_on, quote.signed_by) == (signed_on, signed_by):
        return quote
    if signed_on > deadlines.paris_day(now):
        raise Refusal("The day of the signature lies ahead.", "signed_on")
    if signed_on > quote.valid_until:
        raise Refusal(f"The quote was good until {quote.valid_until}.", "signed_on")
    quote = await _move(
        connection,
        quote,
        "accept",
        f"signé par {signed_by}",
        actor,
        now,
        signed_on=signed_on,
        signed_by=signed_by,
        planned_at=planned_at,
    )
    deposit = orders.deposit_excl_cents(quote.total_excl_cents, quote.deposit_rate)
    if deposit:
        label = f"Acompte sur le devis {quote.reference} : {quote.label}"
        due_on = orders.deposit_due_on(signed_on)
        await _sell(
            connection, quote, "deposit", "deposit", label, deposit, due_on, actor, now, settings
        )
    return quote


async def decline(
    connection: AsyncConnection, quote_id: int, reason: str, actor: Actor, now: datetime
) -> QuoteRow:
    """Nobody signs it. Raises: NotThere; Conflict."""
    quote = await _locked(connection, quote_id)
    return await _move(connection, quote, "decline", reason, actor, now)


async def complete(
    connection: AsyncConnection,
    quote_id: int,
    on: date,
    reserves: str,
    *,
    actor: Actor,
    now: datetime,
    settings: Settings,
) -> QuoteRow:
    """It was installed, by the report that both signed (its reserves; empty: none), or done. The
    balance is due on that day. Raises: NotThere; Conflict; Refusal."""
    quote = await _locked(connection, quote_id)
    if on > deadlines.paris_day(now):
        raise Refusal("The day lies ahead.", "on")
    if quote.signed_on is not None and on < quote.signed_on:
        raise Refusal(f"The order was signed on {quote.signed_on}.", "on")
    quote = await _move(connection, quote, "complete", reserves, actor, now, ended_on=on)
    balance = orders.balance_excl_cents(quote.total_excl_cents, quote.deposit_rate)
    if balance and quote.kind == "installation":
        label = f"Solde du devis {quote.reference}, acompte déduit : {quote.label}"
        await _sell(
            connection, quote, "installation", "balance", label, balance, on, actor, now, settings
        )
    elif balance:
        label = f"Devis {quote.reference} : {quote.label}"
        await _sell(
            connection, quote, "intervention", "balance", label, balance, None, actor, now, settings
        )
    return quote


async def cancel(
    connection: AsyncConnection,
    quote_id: int,
    agreement: str,
    *,
    actor: Actor,
    now: datetime,
    settings: Settings,
) -> QuoteRow:
    """The client cancels and the operator agrees (`agreement`: in which words): the costs of C16
    are invoiced, the deposit is credited and pays them as far as it was paid.

    Raises: NotThere; Conflict; Refusal without the agreement.
    """
    if not agreement.strip():
        raise Refusal(
            "An order is cancelled with the operator's agreement: say which.", "agreement"
        )
    quote = await _locked(connection, quote_id)
    today = deadlines.paris_day(now)
    quote = await _move(connection, quote, "cancel", agreement, actor, now, ended_on=today)
    deposit = orders.deposit_excl_cents(quote.total_excl_cents, quote.deposit_rate)
    cost = orders.cancelled(quote.total_excl_cents, deposit).cost_excl_cents
    label = f"Frais d’annulation du devis {quote.reference} (article 10)"
    await _sell(
        connection, quote, "cancellation", "cancellation", label, cost, None, actor, now, settings
    )
    await _give_back(connection, quote, deposit, today, actor, now, settings)
    await _set_off(connection, quote, today, actor, now)
    return quote


async def withdraw(
    connection: AsyncConnection,
    quote_id: int,
    on: date,
    *,
    actor: Actor,
    now: datetime,
    settings: Settings,
) -> QuoteRow:
    """The client withdraws from a distance contract, on a day (of sending) within fourteen clear
    days: all that was paid is given back, and nothing is charged (C19).

    Raises: NotThere; Conflict; Refusal.
    """
    quote = await _locked(connection, quote_id)
    if not quote.is_distance:
        raise Refusal("Only a contract that was made at a distance can be withdrawn from.")
    if quote.signed_on is not None:
        last = orders.withdrawal_until(quote.signed_on)
        if not quote.signed_on <= on <= min(last, deadlines.paris_day(now)):
            raise Refusal(f"It could be withdrawn from until {last}.", "on")
    quote = await _move(connection, quote, "withdraw", "", actor, now, ended_on=on)
    deposit = orders.deposit_excl_cents(quote.total_excl_cents, quote.deposit_rate)
    await _give_back(connection, quote, deposit, on, actor, now, settings)
    return quote


async def add_cost(
    connection: AsyncConnection,
    *,
    client_id: int,
    case: Case,
    label: str,
    amount_excl_cents: int,
    on_day: date,
    evidence: str,
    source_key: str,
    quote_id: int | None = None,
    actor: Actor,
    now: datetime,
    settings: Settings,
) -> int:
    """Additional costs by article 7, with what shows that its case holds; the sale's id, which is
    invoiced at once. Case iv needs the quote whose visit was cancelled, less than 48 working hours
    before it. The same source key again is nothing new.

    Raises: NotThere; Conflict; Refusal.
    """
    if not evidence.strip() or len(evidence) > TEXT_LENGTH_MAX:
        raise Refusal(f"Say what shows it, in {TEXT_LENGTH_MAX} characters at most.", "evidence")
    if amount_excl_cents <= 0:
        raise Refusal("Costs are above 0.", "amount_excl_cents")
    quote = None if quote_id is None else await _locked(connection, quote_id)
    if quote is not None and quote.client_id != client_id:
        raise NotThere(f"Client {client_id} has no quote {quote_id}.", "quote_id")
    if case is Case.LATE_CANCELLATION:
        if quote is None or quote.planned_at is None:
            raise Refusal("Name the quote whose planned visit was cancelled.", "quote_id")
        if not orders.is_late_cancellation(now, quote.planned_at, OFFICE_HOURS):
            raise Refusal("48 working hours or more were left: it costs nothing (article 7 iv).")
    sale_id = await own_sales.add_own_sale(
        connection,
        client_id=client_id,
        kind="additional",
        label=label,
        amount_excl_cents=amount_excl_cents,
        on_day=on_day,
        month=deadlines.paris_day(now),
        source_key=f"additional:{source_key}",
        actor=actor,
        now=now,
    )
    await store.insert_sale(
        connection,
        {
            "own_sale_id": sale_id,
            "client_id": client_id,
            "quote_id": quote_id,
            "part": "additional",
            "case": case.value,
            "evidence": evidence,
            "due_on": deadlines.paris_day(now),
        },
    )
    await _issue(connection, client_id, sale_id, None, None, now, settings)
    return sale_id


async def note_refund(
    connection: AsyncConnection,
    invoice_id: int,
    *,
    paid_on: date,
    reference: str,
    actor: Actor,
    now: datetime,
) -> RefundRow:
    """A refund that was due has left the operator's own account, by the transfer of that reference.

    Raises: NotThere where nothing is to be given back; Refusal for a day that lies ahead; Conflict
    for a transfer that gave back a refund of this invoice already.
    """
    if paid_on > deadlines.paris_day(now):
        raise Refusal("The day lies ahead.", "paid_on")
    found = await store.list_refunds(connection, invoice_id=invoice_id, limit=1)
    if not found:
        raise NotThere(f"Nothing is to be given back of invoice {invoice_id}.")
    await client_store.lock_client(connection, found[0].client_id)
    found = await store.list_refunds(connection, invoice_id=invoice_id, limit=1)
    if not found:
        raise NotThere(f"Nothing is to be given back of invoice {invoice_id} any more.")
    (due,) = found
    made = await _received(
        connection,
        due.client_id,
        (due.invoice_id, due.number),
        -due.amount_cents,
        f"refund:{due.invoice_id}:{reference}",
        "transfer",
        paid_on,
        actor,
        now,
    )
    if made is None:
        raise Conflict(
            f"Transfer {reference} gave back a refund of invoice {due.number} already: name the "
            "other one.",
            "reference",
        )
    return due


async def _locked(connection: AsyncConnection, quote_id: int) -> QuoteRow:
    """Raises: NotThere."""
    found = await store.get_quote(connection, quote_id, lock=True)
    if found is None:
        raise NotThere(f"There is no quote {quote_id}.")
    return found


async def _move(
    connection: AsyncConnection,
    quote: QuoteRow,
    happening: str,
    detail: str,
    actor: Actor,
    now: datetime,
    **values: Any,
) -> QuoteRow:
    """The quote in its next state. Raises: Conflict."""
    after = follow(orders.QUOTES, quote.status, happening)
    if after is None:
        raise Conflict(f"Quote {quote.reference} is {quote.status}: one cannot {happening} it.")
    await store.write_status(connection, quote.id, {"status": after, **values})
    await store.insert_event(connection, quote, after, detail[:TEXT_LENGTH_MAX], actor.name, now)
    await _note(connection, quote.id, quote.client_id, after, actor, now)
    moved = await store.get_quote(connection, quote.id)
    assert moved is not None
    return moved


async def _sell(
    connection: AsyncConnection,
    quote: QuoteRow,
    kind: str,
    part: str,
    label: str,
    amount_excl_cents: int,
    due_on: date | None,
    actor: Actor,
    now: datetime,
    settings: Settings,
    original_id: int | None = None,
) -> None:
    """A part of a quote, with its document. Raises: Conflict where the document cannot be made."""
    today = deadlines.paris_day(now)
    sale_id = await own_sales.add_own_sale(
        connection,
        client_id=quote.client_id,
        kind=kind,
        label=label,
        amount_excl_cents=amount_excl_cents,
        on_day=today,
        month=today,
        source_key=f"quote:{quote.id}:{part}",
        actor=actor,
        now=now,
    )
    await store.insert_sale(
        connection,
        {
            "own_sale_id": sale_id,
            "client_id": quote.client_id,
            "quote_id": quote.id,
            "part": part,
            "due_on": due_on or today,
        },
    )
    await _issue(connection, quote.client_id, sale_id, due_on, original_id, now, settings)


async def _issue(
    connection: AsyncConnection,
    client_id: int,
    sale_id: int,
    due_on: date | None,
    original_id: int | None,
    now: datetime,
    settings: Settings,
) -> None:
    issued = await own_sales.issue_own(
        connection,
        client_id,
        deadlines.paris_day(now).replace(day=1),
        now,
        settings=settings,
        sale_ids=[sale_id],
        due_on=due_on,
        original_id=original_id,
    )
    if issued.lacks:
        raise Conflict(f"{issued.lacks[0].message} {issued.lacks[0].remedy}")


async def _give_back(
    connection: AsyncConnection,
    quote: QuoteRow,
    deposit_excl_cents: int,
    ended_on: date,
    actor: Actor,
    now: datetime,
    settings: Settings,
) -> None:
    """The deposit, by a credit note that names its invoice."""
    if not deposit_excl_cents:
        return
    deposit = await _document(connection, quote, "deposit")
    assert deposit is not None
    await _sell(
        connection,
        quote,
        "deposit",
        "refund",
        f"Acompte rendu, devis {quote.reference}",
        -deposit_excl_cents,
        orders.refund_due_on(ended_on),
        actor,
        now,
        settings,
        original_id=deposit[0],
    )


async def _document(
    connection: AsyncConnection, quote: QuoteRow, part: str
) -> tuple[int, str] | None:
    """Id and number of the invoice of a part; None: there is none."""
    for sale in await store.list_sales(connection, quote.id):
        if sale.part == part and sale.invoice_id is not None and sale.invoice_number is not None:
            return sale.invoice_id, sale.invoice_number
    return None


async def _set_off(
    connection: AsyncConnection, quote: QuoteRow, today: date, actor: Actor, now: datetime
) -> None:
    """What was paid of the deposit pays what the cancelling costs."""
    deposit = await _document(connection, quote, "deposit")
    costs = await _document(connection, quote, "cancellation")
    if deposit is None or costs is None:
        return
    to_give_back = -await store.fetch_open(connection, deposit[0])
    cents = min(to_give_back, await store.fetch_open(connection, costs[0]))
    if cents <= 0:
        return
    for document, amount in ((deposit, -cents), (costs, cents)):
        key = f"quote:{quote.id}:set_off:{document[0]}"
        await _received(
            connection, quote.client_id, document, amount, key, "other", today, actor, now
        )


async def _received(
    connection: AsyncConnection,
    client_id: int,
    document: tuple[int, str],
    amount_cents: int,
    source_key: str,
    means: str,
    on: date,
    actor: Actor,
    now: datetime,
) -> int | None:
    """The id of what was entered; None: its key is there already."""
    return await collecting.receive_own(
        connection,
        client_id=client_id,
        invoice_id=document[0],
        number=document[1],
        source_key=source_key,
        amount_cents=amount_cents,
        received_on=on,
        means=means,
        actor=actor,
        now=now,
    )


async def _note(
    connection: AsyncConnection,
    quote_id: int,
    client_id: int,
    what: str,
    actor: Actor,
    now: datetime,
) -> None:
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        client_id=client_id,
        action=f"quote.{what}",
        subject=f"quote {quote_id}",
        detail={},
    )
