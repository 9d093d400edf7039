"""Invoices paid through a payment provider: asked for, captured, given back, and found out.

No transaction is open while the provider is asked: these functions begin their own. What it answers
is written afterwards, money only by `receipts.receive` and in the transaction that says so; so a
crash between any two steps leaves a payment that `resolve_unknown` goes on with, under the same
idempotency keys. Webhooks are
hints: the payment that they name is fetched, so that their order and number do not matter.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from psycopg import AsyncConnection

from billing import books, ledger, provider_state, receipts, settling
from billing.ledger import PSP_CLEARING
from billing.provider_state import Told
from billing.providers import (
    Asked,
    Declined,
    Forged,
    PaymentProvider,
    Unavailable,
    check_reference,
)
from billing.store import card_payments as store
from billing.store import ledger as ledger_store
from billing.store.card_payments import PaymentRow
from csms import deadlines
from csms.clients import Actor
from csms.registry import Conflict, NotThere, Refusal

STEPS_MAX: Final = 4  # a payment is authorised and captured; more is another day's
BATCH_PAYMENTS: Final = 100
WEBHOOK_BYTES_MAX: Final = 262_144
FORGED_BYTES_KEPT: Final = 2_048
FORGED_PER_DAY_MAX: Final = 1_000  # no more of them are kept: anybody can post


class Settlement(NamedTuple):
    """A payout of the provider's to the account of third parties, as its report says."""

    reference: str
    gross_cents: int  # of payments, refunds taken off
    fee_cents: int


async def add_method(
    connection: AsyncConnection,
    provider: PaymentProvider,
    person_id: int,
    customer_reference: str,
    method_reference: str,
    now: datetime,
) -> int:
    """Where a driver may be charged, by the provider's references. Raises: Refusal."""
    customer, method = check_reference(customer_reference), check_reference(method_reference)
    async with connection.transaction():
        return await store.insert_method(
            connection, person_id, provider.name, customer, method, now
        )


async def pay_invoice(
    connection: AsyncConnection,
    provider: PaymentProvider,
    number: str,
    now: datetime,
    *,
    actor: Actor,
    simulated: bool = False,
) -> str:
    """Charge what is open of a driver's invoice; the state of its payment. Again for an invoice
    whose payment is under way goes on with that one; one that is paid stays so.

    Raises: NotThere; Refusal where nothing is to be charged, or nowhere to; Conflict where the
    bank is asked for it already.
    """
    if provider.name == "offline":
        await provider.authorise(Asked("", 0, "", "", now))  # says what to do instead
    async with connection.transaction():
        payment_id = await _open(connection, provider, number, now, simulated)
    return await _advance(connection, provider, payment_id, now, actor)


async def resolve_unknown(
    connection: AsyncConnection,
    provider: PaymentProvider,
    now: datetime,
    *,
    actor: Actor,
    after_s: float = 60.0,
) -> Counter[str]:
    """Look into signed webhooks, and go on with payments that nobody has asked about for so long;
    how many came to which state. Every step can run twice."""
    done: Counter[str] = Counter()
    async with connection.transaction():
        webhooks = await store.list_webhooks(connection, provider.name, BATCH_PAYMENTS)
    for webhook_id, payment_id in webhooks:
        if payment_id is not None:
            if not await _ask(connection, provider, payment_id, now, actor):
                continue  # it is looked into the next time
            done["told"] += 1
        async with connection.transaction():
            await store.set_webhook_handled(connection, webhook_id, now)
    before = now - timedelta(seconds=after_s)
    async with connection.transaction():
        unfinished = await store.list_unfinished(connection, provider.name, before, BATCH_PAYMENTS)
    for payment_id in unfinished:
        done[await _advance(connection, provider, payment_id, now, actor)] += 1
    return done


async def refund(
    connection: AsyncConnection,
    provider: PaymentProvider,
    payment_id: int,
    amount_cents: int,
    now: datetime,
    *,
    kept_cents: int,
    actor: Actor,
) -> str:
    """Give so much of a captured payment back; its state. `kept_cents`: what the caller saw was
    there; the same call again, after that changed, gives nothing back a second time.

    Raises: Refusal for more than is there; Conflict where something else is there; Unavailable when
    nobody knows whether it was given back: call again.
    """
    if not await _ask(connection, provider, payment_id, now, actor):
        raise Unavailable("the provider does not answer")
    async with connection.transaction():
        payment = await store.get_payment(connection, payment_id)
    if payment.booked_cents == kept_cents - amount_cents and amount_cents > 0:
        return payment.status  # it was given back by the call before
    if payment.booked_cents != kept_cents:
        raise Conflict(f"There are {payment.booked_cents} cents of this payment.", "kept_cents")
    if not 0 < amount_cents <= kept_cents:
        raise Refusal(f"Between 1 and {kept_cents} cents can be given back.", "amount_cents")
    total = payment.captured_cents - kept_cents + amount_cents
    try:
        told = await provider.refund(_asked(payment), amount_cents, total)
    except Declined as error:
        raise Refusal(f"The provider refused to give it back: {error}.") from error
    return await _record(connection, payment_id, told, None, now, actor)


async def take_webhook(
    connection: AsyncConnection,
    provider: PaymentProvider,
    content: bytes,
    signature: str,
    now: datetime,
) -> bool:
    """Keep what was posted in the provider's name; whether it is new. Nothing else is done here.

    Raises: Forged, after a note of it; Refusal for one that is too long.
    """
    if len(content) > WEBHOOK_BYTES_MAX:
        raise Refusal(f"A webhook holds at most {WEBHOOK_BYTES_MAX} bytes.")
    try:
        notice = provider.verify_webhook(content, signature, now)
    except Forged:
        async with connection.transaction():
            since = now - timedelta(days=1)
            if await store.count_forged(connection, provider.name, since) < FORGED_PER_DAY_MAX:
                await store.insert_webhook(
                    connection, provider.name, None, None, content[:FORGED_BYTES_KEPT], now
                )
        raise
    async with connection.transaction():
        return await store.insert_webhook(
            connection, provider.name, notice.event_id, notice.reference, content, now
        )


async def settle(
    connection: AsyncConnection,
    provider: PaymentProvider,
    report: Settlement,
    now: datetime,
    *,
    actor: Actor,
    line_id: int | None = None,
) -> int | None:
    """Book a payout of the provider's, once. Its fee is the operator's own, made good in the same
    entry. The bank's line that tells of it, where it was read already, is explained by it: the one
    that names its reference, or `line_id`; its id.

    Raises: Conflict for a payout that is booked with other amounts, or a line that is another;
    NotThere; Refusal.
    """
    if report.gross_cents <= 0 or not 0 <= report.fee_cents <= report.gross_cents:
        raise Refusal("A payout is above 0, and its fee is no more than it.", "gross_cents")
    key = f"{provider.name}:{check_reference(report.reference)}"
    async with connection.transaction():
        await ledger_store.lock_chains(connection, [books.OPERATOR])
        day = await books.bookable_on(connection, [books.OPERATOR], deadlines.paris_day(now), now)
        known = await store.find_booked_on(connection, f"settlement:{key}")
        entry = ledger.provider_settled(key, report.gross_cents, report.fee_cents, known or day)
        await books.post(connection, [entry], now)
        net_cents = report.gross_cents - report.fee_cents
        return await settling.settle_suspended(
            connection, key, report.reference, net_cents, line_id, actor=actor, now=now
        )


async def _open(
    connection: AsyncConnection,
    provider: PaymentProvider,
    number: str,
    now: datetime,
    simulated: bool,
) -> int:
    """The payment of an invoice, a new one where none is open. Raises: see pay_invoice."""
    charge = await store.find_charge(connection, number, provider.name)
    if charge is None:
        raise NotThere(f"There is no invoice {number} in a client's name.", "invoice_number")
    if charge.open_payment_id is not None:
        return charge.open_payment_id
    if charge.open_cents <= 0:
        raise Refusal(f"Nothing is open of invoice {number}.", "invoice_number")
    if charge.is_debited:
        raise Conflict(
            f"Invoice {number} is being debited from a bank account: cancel that first, or wait.",
            "invoice_number",
        )
    if charge.method_id is None:
        raise Refusal(
            "The provider has no means of payment of this driver: she adds one there, or pays by "
            "transfer or direct debit.",
            "invoice_number",
        )
    values = {
        "key": f"t2p-{charge.invoice_id}-{charge.attempts + 1}",
        "provider": provider.name,
        "client_id": charge.client_id,
        "person_id": charge.person_id,
        "invoice_id": charge.invoice_id,
        "method_id": charge.method_id,
        "amount_cents": charge.open_cents,
        "is_simulated": simulated,
        "now": now,
    }
    payment_id = await store.insert_payment(connection, values)
    await store.add_event(connection, payment_id, charge.client_id, "requested", None, now)
    return payment_id


async def _advance(
    connection: AsyncConnection,
    provider: PaymentProvider,
    payment_id: int,
    now: datetime,
    actor: Actor,
) -> str:
    """Go on with a payment as far as it goes now; its state."""
    status = ""
    for _ in range(STEPS_MAX):
        async with connection.transaction():
            payment = await store.get_payment(connection, payment_id)
        if payment.status not in provider_state.UNFINISHED or payment.status == status:
            return payment.status
        status = payment.status
        try:
            told = await _step(provider, payment, now)
        except Unavailable as error:
            return await _record(
                connection, payment_id, None, f"time out: {error}"[:200], now, actor
            )
        except Declined as error:
            found = await _after_refusal(provider, payment, now)
            await _record(connection, payment_id, found, str(error)[:200], now, actor)
            continue
        await _record(connection, payment_id, told, None, now, actor)
    return status


async def _step(provider: PaymentProvider, payment: PaymentRow, now: datetime) -> Told:
    """What is next for a payment. What was paid otherwise since is not captured."""
    asked = _asked(payment)
    if payment.status == "requested":
        return await provider.authorise(asked)
    if payment.status == "authorised":
        due_cents = min(payment.open_cents, payment.amount_cents)
        if due_cents > 0:
            return await provider.capture(asked, due_cents)
        return await provider.void(asked)
    told = await provider.fetch(asked, now)
    return told or Told(payment.key, False, True, 0, 0, reason="never_there")


async def _after_refusal(
    provider: PaymentProvider, payment: PaymentRow, now: datetime
) -> Told | None:
    """How a payment stands of which a call was refused; None: nobody knows."""
    if payment.reference is None:
        return Told(payment.key, False, True, 0, 0, reason="declined")
    try:
        return await provider.fetch(_asked(payment), now)
    except (Unavailable, Declined):
        return None


async def _ask(
    connection: AsyncConnection,
    provider: PaymentProvider,
    payment_id: int,
    now: datetime,
    actor: Actor,
) -> bool:
    """Ask how a payment stands and write it; False: no answer."""
    async with connection.transaction():
        payment = await store.get_payment(connection, payment_id)
    try:
        told = await provider.fetch(_asked(payment), now)
    except (Unavailable, Declined):
        return False
    if told is not None:
        await _record(connection, payment_id, told, None, now, actor)
    return True


async def _record(
    connection: AsyncConnection,
    payment_id: int,
    told: Told | None,
    detail: str | None,
    now: datetime,
    actor: Actor,
) -> str:
    """Write how a payment stands, and its money; told None: nobody knows. Its state.

    An answer may be older than what is written: what was booked once never grows again.
    """
    async with connection.transaction():
        payment = await store.get_payment(connection, payment_id)
        if told is None:
            after = provider_state.PAYMENTS.get((payment.status, "time out"))
            states: tuple[str, ...] = () if after is None else (after,)
        else:
            states = provider_state.follow(payment.status, told)
        for status in states:
            reason = detail or (None if told is None else told.reason)
            await store.add_event(connection, payment.id, payment.client_id, status, reason, now)
        status = states[-1] if states else payment.status
        captured, booked, key = payment.captured_cents, payment.booked_cents, payment.booked_key
        if told is not None and provider_state.has_money(status):
            captured = captured or told.captured_cents
            is_fresh = payment.captured_cents == 0 or (told.is_won and booked == 0)
            kept = told.kept_cents if is_fresh else min(booked, told.kept_cents)
            key = await _book(connection, payment, captured, kept, now, actor)
            booked = kept
        is_ours = told is not None and told.reference != payment.key
        values = {
            "id": payment.id,
            "status": status,
            "reference": told.reference if told is not None and is_ours else None,
            "captured_cents": captured,
            "booked_cents": booked,
            "booked_key": key,
            "now": now,
        }
        await store.set_payment(connection, values)
        return status


async def _book(
    connection: AsyncConnection,
    payment: PaymentRow,
    captured_cents: int,
    kept_cents: int,
    now: datetime,
    actor: Actor,
) -> str | None:
    """Bring the books to what is kept of a payment; the key of the receipt that holds it. A receipt
    is undone whole, and what is left entered anew."""
    root = f"provider:{payment.provider}:{payment.key}"
    held_cents, key = payment.booked_cents, payment.booked_key
    if payment.captured_cents == 0:
        held_cents, key = captured_cents, f"{root}:capture"
        await _receive(connection, payment, key, captured_cents, None, now, actor)
    if kept_cents > held_cents == 0:  # a charge-back was won: it is paid after all
        held_cents, key = kept_cents, f"{root}:won:{payment.steps}"
        await store.add_event(connection, payment.id, payment.client_id, "won_back", None, now)
        await _receive(connection, payment, key, kept_cents, None, now, actor)
    if held_cents == kept_cents:
        return key
    assert key is not None and kept_cents < held_cents, payment.key
    await _receive(connection, payment, f"{key}:back", -held_cents, key, now, actor)
    if kept_cents == 0:
        return None
    kept_key = f"{root}:kept:{kept_cents}"
    await _receive(connection, payment, kept_key, kept_cents, None, now, actor)
    return kept_key


async def _receive(
    connection: AsyncConnection,
    payment: PaymentRow,
    key: str,
    amount_cents: int,
    reverses_key: str | None,
    now: datetime,
    actor: Actor,
) -> None:
    await receipts.receive(
        connection,
        source_key=key,
        amount_cents=amount_cents,
        received_on=deadlines.paris_day(now),
        means="card",
        actor=actor,
        now=now,
        invoice_number=None if reverses_key is not None else payment.number,
        reverses_key=reverses_key,
        simulated=payment.is_simulated,
        into=PSP_CLEARING,
    )


def _asked(payment: PaymentRow) -> Asked:
    return Asked(
        payment.key,
        payment.amount_cents,
        payment.customer_reference,
        payment.method_reference,
        payment.created_at,
        payment.reference,
        payment.steps,
    )
