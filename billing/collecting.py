"""Direct debits: who may be debited, what of, when, and what came of it.

A driver's mandate pays invoices in clients' names, into the account of third parties; the
operator's own invoices, to clients as far as no statement deducts them, and to co-owners, are paid
into its own. Payers are
told of each debit so many days before it (their mandate's notice), and what they have paid or
contested meanwhile is not collected. What comes back, even after it was paid out, is undone whole:
the invoice is open again, and what is missing of the client's the operator makes good (billing.
receipts). An account that is closed or a mandate that is denied ends the mandate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import books, ledger, payment_files, payouts, provisions, receipts, sepa
from billing.payment_state import DEBITS, follow
from billing.store import banking as bank_store
from billing.store import collecting as store
from billing.store import payment_files as file_store
from billing.store.banking import LineRow
from billing.store.collecting import DebitRow, MandateRow, OpenRow
from csms import deadlines
from csms.clients import Actor, checked_iban
from csms.config import Settings
from csms.db import transaction
from csms.deadlines import Days
from csms.notifications import announce
from csms.registry import Conflict, NotThere, Refusal
from csms.store import audit

NOTICE_DAYS_MAX: Final = 14
HOLDER_LENGTH_MAX: Final = 70
#: reasons of a return after which nothing more is debited: account closed, wrong, blocked, of a
#: consumer who forbids debits, no mandate, its holder dead
FINAL_REASONS: Final = frozenset({"AC01", "AC04", "AC06", "AC13", "AG01", "MD01", "MD07"})


@dataclass(slots=True)
class Announced:
    """What a run did."""

    debits: int = 0
    amount_cents: int = 0


@dataclass(slots=True)
class Filed:
    """Files that were made; `cancelled`: debits that are not collected, by their reason."""

    file_ids: list[int] = field(default_factory=list)
    debits: int = 0
    total_cents: int = 0
    cancelled: dict[int, str] = field(default_factory=dict)


async def add_mandate(
    connection: AsyncConnection,
    *,
    reference: str,
    iban: str,
    holder: str,
    signed_on: date,
    actor: Actor,
    now: datetime,
    person_id: int | None = None,
    client_id: int | None = None,
    bic: str | None = None,
    notice_days: int = NOTICE_DAYS_MAX,
) -> int:
    """A mandate that a driver or a client signed; its id. The one in force before is revoked by
    it. notice_days: fourteen, unless the contract says less (T5).

    Raises: Refusal; Conflict for a reference that is there; NotThere.
    """
    if (person_id is None) == (client_id is None):
        raise Refusal("A mandate is a driver's or a client's.", "person_id")
    if not 1 <= notice_days <= NOTICE_DAYS_MAX:
        raise Refusal(f"Notice is given 1 to {NOTICE_DAYS_MAX} days before.", "notice_days")
    if signed_on > deadlines.paris_day(now):
        raise Refusal("The day of the signature lies ahead.", "signed_on")
    if not holder.strip() or len(holder) > HOLDER_LENGTH_MAX:
        raise Refusal(f"Name the holder, in {HOLDER_LENGTH_MAX} characters at most.", "holder")
    checked = checked_iban(iban)
    if not await store.is_payer(connection, person_id=person_id, client_id=client_id):
        who = f"driver {person_id}" if client_id is None else f"client {client_id}"
        raise NotThere(f"There is no {who}.")
    if await store.has_mandate(connection, reference):
        raise Conflict(f"Mandate {reference} is there already.", "reference")
    for former in await store.list_mandates(connection, person_id=person_id, client_id=client_id):
        if former.revoked_at is None:
            await _revoke(connection, former, f"Remplacé par {reference}", actor, now)
    mandate_id = await store.insert_mandate(
        connection,
        {
            "reference": reference,
            "person_id": person_id,
            "client_id": client_id,
            "iban": checked,
            "bic": bic,
            "holder": holder.strip(),
            "signed_on": signed_on,
            "notice_days": notice_days,
            "now": now,
            "actor": actor.name,
        },
    )
    await _note(connection, mandate_id, client_id, "added", actor, now)
    return mandate_id


async def revoke_mandate(
    connection: AsyncConnection,
    mandate_id: int,
    why: str,
    *,
    person_id: int | None,
    client_id: int | None,
    actor: Actor,
    now: datetime,
) -> None:
    """End a payer's mandate: what is in no file yet is not collected. Raises: NotThere; Refusal."""
    if not why.strip():
        raise Refusal("Say why.", "reason")
    known = await store.list_mandates(connection, person_id=person_id, client_id=client_id)
    found = next((each for each in known if each.id == mandate_id), None)
    if found is None:
        raise NotThere(f"There is no such mandate: {mandate_id}.")
    await _revoke(connection, found, why.strip(), actor, now)


async def _revoke(
    connection: AsyncConnection, mandate: MandateRow, why: str, actor: Actor, now: datetime
) -> None:
    if await store.revoke_mandate(connection, mandate.id, why, actor.name, now):
        await _note(connection, mandate.id, mandate.client_id, "revoked", actor, now)


async def announce_debits(
    pool: AsyncConnectionPool,
    now: datetime,
    *,
    settings: Settings,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Announced:
    """Tell payers of the debits of what they owe, each once, in a transaction of its own."""
    async with pool.connection() as connection:
        found = await store.list_open(connection)
    done = Announced()
    for number, row in enumerate(found, start=1):
        day = collection_day(row.due_on, row.notice_days, now)
        if not dry_run and not await _announce(pool, row, day, now, settings):
            continue
        done.debits += 1
        done.amount_cents += row.left_cents
        if progress is not None:
            progress(number, len(found))
    return done


def collection_day(due_on: date | None, notice_days: int, now: datetime) -> date:
    """When what is due may be debited: not before it is due, nor before the payer has had notice
    for so many days; a TARGET day."""
    today = deadlines.paris_day(now)
    first = deadlines.add_days(today, notice_days, Days.CALENDAR)
    return deadlines.next_day(first if due_on is None else max(first, due_on), Days.TARGET)


async def _announce(
    pool: AsyncConnectionPool, row: OpenRow, day: date, now: datetime, settings: Settings
) -> bool:
    async with transaction(pool) as connection:
        debit_id = await store.insert_debit(connection, row, day, now)
        if debit_id is None:
            return False
        event = "debit.announced" if row.person_id is not None else "own_debit.announced"
        await announce(
            connection,
            event,
            now=now,
            client_id=row.client_id,
            person_id=row.person_id,
            subject=f"debit {debit_id}",
            data={
                "invoice": row.number,
                "amount_cents": row.left_cents,
                "due_on": day,
                "mandate": row.reference,
                "creditor": settings.operator_creditor_identifier or "",
            },
            key=f"debit {debit_id} announced",
        )
    return True


async def make_files(
    pool: AsyncConnectionPool, now: datetime, *, settings: Settings, actor: Actor
) -> Filed:
    """Files of the debits whose day is near enough for the bank: one of drivers', one of clients'.
    What was paid or contested meanwhile, or whose mandate has ended, is cancelled.

    Raises: Conflict while the settings do not say who collects.
    """
    done = Filed()
    for account in ("mandate", "own"):
        creditor = _creditor(settings, account)
        async with transaction(pool) as connection:
            await file_store.lock_files(connection)
            await _make_file(connection, account, creditor, now, settings, actor, done)
    return done


def _creditor(settings: Settings, account: str) -> sepa.Creditor:
    """Raises: Conflict."""
    own = payment_files.account_of(settings, account)
    if settings.operator_creditor_identifier is None:
        raise Conflict(
            "Debits need the operator's creditor identifier (ICS), which its bank gives: set "
            "T2P_OPERATOR_CREDITOR_IDENTIFIER."
        )
    return sepa.Creditor(own, settings.operator_creditor_identifier)


async def _make_file(
    connection: AsyncConnection,
    account: str,
    creditor: sepa.Creditor,
    now: datetime,
    settings: Settings,
    actor: Actor,
    done: Filed,
) -> None:
    today = deadlines.paris_day(now)
    first = deadlines.add_days(today, max(1, settings.debit_lead_days), Days.TARGET)
    due = await store.take_due(connection, first, account == "own")
    kept = []
    for debit, left_cents, is_contested in due:
        why = _why_not(debit, left_cents, is_contested)
        if why is None:
            kept.append(debit)
        else:
            await _cancel(connection, debit, why, done)
    if not kept:
        return
    days = {debit.id: max(first, debit.collection_on) for debit in kept}
    sequences = _sequences(kept)
    message_id = await payment_files.next_message_id(connection, "P", today)
    built = sepa.build_debits(
        message_id,
        creditor,
        [_debit(each, sequences[each.id], days[each.id]) for each in kept],
        created_at=now,
        today=today,
    )
    faults = {each.end_to_end_id: each for each in built.refused}
    for each in kept:
        if each.end_to_end_id in faults:
            fault = faults[each.end_to_end_id]
            await _cancel(connection, each, f"{fault.message} {fault.remedy}", done)
    if built.content is None:
        return
    filed = [each for each in kept if each.end_to_end_id not in faults]
    file_id = await payment_files.keep(
        connection,
        built,
        "debit",
        account,
        min(days[each.id] for each in filed),
        settings=settings,
        actor=actor,
        now=now,
    )
    await store.put_in_file(
        connection, [(each.id, sequences[each.id], days[each.id]) for each in filed], file_id
    )
    done.file_ids.append(file_id)
    done.debits += len(filed)
    done.total_cents += built.total_cents


def _why_not(debit: DebitRow, left_cents: int, is_contested: bool) -> str | None:
    if debit.revoked_at is not None:
        return "The mandate has ended."
    if is_contested:
        return "The invoice is contested."
    if left_cents != debit.amount_cents:
        return f"The invoice has {left_cents} cents left, {debit.amount_cents} were announced."
    return None


def _sequences(debits: Sequence[DebitRow]) -> dict[int, str]:
    """The first debit of a mandate is FRST, those after it RCUR."""
    used: set[int] = set()
    found = {}
    for debit in debits:
        is_first = not debit.was_debited and debit.mandate_id not in used
        found[debit.id] = "FRST" if is_first else "RCUR"
        used.add(debit.mandate_id)
    return found


def _debit(debit: DebitRow, sequence: str, day: date) -> sepa.Debit:
    return sepa.Debit(
        debit.end_to_end_id,
        debit.amount_cents,
        sepa.Account(debit.holder, debit.iban, debit.bic),
        debit.reference,
        debit.signed_on,
        sequence,
        day,
        f"Facture {debit.number}",
    )


async def _cancel(connection: AsyncConnection, debit: DebitRow, why: str, done: Filed) -> None:
    after = follow(DEBITS, debit.status, "cancel")
    assert after is not None
    await store.set_status(connection, debit.id, after, reason=why[: payouts.WHY_LENGTH_MAX])
    done.cancelled[debit.id] = why


async def settle_line(
    connection: AsyncConnection, line: LineRow, now: datetime, actor: Actor, settings: Settings
) -> tuple[str, str] | None:
    """Settle the direct debit that a line of the bank's names: collected, or come back. Kind and
    subject; None where it names none, or does not fit it."""
    assert line.end_to_end_id is not None
    debit = await store.get_debit(connection, line.end_to_end_id)
    if debit is None or abs(line.amount_cents) != debit.amount_cents:
        return None
    if debit.is_own != (line.account == "own"):
        return None
    happening = "collect" if line.amount_cents > 0 else "give back"
    after = follow(DEBITS, debit.status, happening)
    if after is None:
        return None
    settled_on = line.booked_on if happening == "collect" else None
    await store.set_status(connection, debit.id, after, settled_on=settled_on, reason=line.reason)
    await _receive(connection, debit, line, now, actor)
    if happening == "give back":
        await _after_return(connection, debit, line, now, actor)
    return ("debit" if happening == "collect" else "debit_return"), f"debit {debit.id}"


async def _receive(
    connection: AsyncConnection, debit: DebitRow, line: LineRow, now: datetime, actor: Actor
) -> None:
    """The money of a debit, or its way back."""
    key = f"debit:{debit.id}"
    is_back = line.amount_cents < 0
    if debit.is_own:
        await receive_own(
            connection,
            client_id=debit.client_id,
            invoice_id=debit.invoice_id,
            number=debit.number,
            source_key=f"{key}:returned" if is_back else key,
            amount_cents=line.amount_cents,
            received_on=line.booked_on,
            means="direct_debit",
            actor=actor,
            now=now,
        )
        return
    await receipts.receive(
        connection,
        source_key=f"{key}:returned" if is_back else key,
        amount_cents=line.amount_cents,
        received_on=line.booked_on,
        means="direct_debit",
        actor=actor,
        now=now,
        person_id=debit.person_id,
        invoice_number=debit.number,
        reverses_key=key if is_back else None,
        simulated=line.is_simulated,
    )


async def _after_return(
    connection: AsyncConnection, debit: DebitRow, line: LineRow, now: datetime, actor: Actor
) -> None:
    """The payer is told; where the reason says so, the mandate ends."""
    ends = line.reason in FINAL_REASONS
    if ends and await store.revoke_mandate(
        connection, debit.mandate_id, f"Rejet {line.reason}", actor.name, now
    ):
        await _note(connection, debit.mandate_id, None, "revoked", actor, now)
    if debit.person_id is not None:
        await announce(
            connection,
            "debit.returned",
            now=now,
            client_id=debit.client_id,
            person_id=debit.person_id,
            subject=f"debit {debit.id}",
            data={
                "invoice": debit.number,
                "amount_cents": debit.amount_cents,
                "bank_reason": line.reason or "",
            },
            key=f"debit {debit.id} returned",
        )


async def receive_own(
    connection: AsyncConnection,
    *,
    client_id: int,
    invoice_id: int,
    number: str,
    source_key: str,
    amount_cents: int,
    received_on: date,
    means: str,
    actor: Actor,
    now: datetime,
) -> int | None:
    """A client, or a co-owner, paid an invoice of the operator's, or that went back (below 0); the
    id of what was entered, None where the source key is there already. In the caller's
    transaction."""
    # What is credited or used of a provision meanwhile is seen, or waits.
    await books.hold(connection, [client_id])
    own_id = await bank_store.insert_own_receipt(
        connection,
        {
            "client_id": client_id,
            "invoice_id": invoice_id,
            "source_key": source_key,
            "amount_cents": amount_cents,
            "received_on": received_on,
            "means": means,
            "now": now,
            "actor": actor.name,
        },
    )
    if own_id is None:
        return None
    document = await provisions.find_document(connection, invoice_id)
    person_id = None if document is None else document.person_id
    booked_on = await books.bookable_on(connection, [client_id], received_on, now)
    entry = ledger.own_received(
        own_id, client_id, number, amount_cents, booked_on, person_id=person_id
    )
    await books.post(connection, [entry], now)
    if document is not None and document.kind == "advance":
        await provisions.receive(connection, document, own_id, amount_cents, booked_on, actor, now)
    return own_id


async def refuse(
    connection: AsyncConnection, end_to_end_id: str, reason: str | None, now: datetime
) -> str:
    """The bank refused a direct debit before its day (pain.002); `debit`, `known` or `unknown`."""
    debit = await store.get_debit(connection, end_to_end_id)
    if debit is None:
        return "unknown"
    after = follow(DEBITS, debit.status, "refuse")
    if after is None:
        return "known"
    await store.set_status(connection, debit.id, after, reason=reason)
    if reason in FINAL_REASONS:
        await store.revoke_mandate(connection, debit.mandate_id, f"Rejet {reason}", "bank", now)
    return "debit"


async def _note(
    connection: AsyncConnection,
    mandate_id: int,
    client_id: int | None,
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
        action=f"sepa_mandate.{what}",
        subject=f"mandate {mandate_id}",
        detail={},
    )
