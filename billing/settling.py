"""What the bank says happened: its statements are read in, and each line settles what it names.

A line that names a payment of ours, by its end-to-end id and its amount, settles it: a payout, the
transfer of what the operator earned, a direct debit, or the return of one of these. A transfer that
names one open invoice and pays just that is received for it; one that names a payout of the payment
provider's, whose report is booked, is that. Anything else is booked as unexplained at once (471),
so that the account in the books is the one at the bank, and waits for a person, who is shown what
it may be. Nothing is guessed.

The same statement again changes nothing, nor does a line that two statements tell. Each line is a
transaction of its own.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Literal

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import books, collecting, disputes, ledger, receipts, sepa
from billing.payment_state import PAYOUTS, follow
from billing.sepa import BankStatement
from billing.store import banking as store
from billing.store import payment_files as file_store
from billing.store import payouts as payout_store
from billing.store import problems
from billing.store.banking import CandidateRow, LineRow
from billing.store.payment_files import TransferRow
from billing.store.payouts import PayoutRow
from csms import deadlines
from csms.clients import Actor
from csms.config import Settings
from csms.db import transaction
from csms.notifications import announce
from csms.registry import Conflict, NotThere, Refusal
from csms.store import audit

Special = Literal["fee", "top_up", "refund"]

STAGE: Final = "settle"
BATCH_LINES: Final = 1_000
SUGGESTIONS_MAX: Final = 5
_REFERENCE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{2,99}")  # of a payment provider's
_NUMBER: Final = re.compile(r"[A-Za-z0-9]+(?:[-/_][A-Za-z0-9]+)+")


@dataclass(slots=True)
class Settled:
    """What a run did. `by_kind`: lines by what they were taken for."""

    statements: int = 0
    known: int = 0  # statements that were there
    lines: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    difference_cents: int | None = None  # the bank's balance less the books'; None: nobody knows


async def read_in(
    pool: AsyncConnectionPool,
    content: bytes,
    now: datetime,
    *,
    settings: Settings,
    actor: Actor,
    simulated: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Settled:
    """Keep the statements of a file (camt.053), and settle what their lines name.

    Raises: sepa.Unreadable; Refusal for an account that is none of the operator's; Conflict for a
    statement that was read in with another content.
    """
    statements = sepa.read_statements(content)
    named = [(_account(each, settings), each) for each in statements]
    done = Settled()
    if dry_run:
        done.statements = len(statements)
        done.lines = sum(len(each.lines) for each in statements)
        return done
    for account, statement in named:
        async with transaction(pool) as connection:
            await _keep(connection, account, statement, now, actor, simulated, done)
    await match(pool, now, settings=settings, actor=actor, done=done, progress=progress)
    return done


def _account(statement: BankStatement, settings: Settings) -> str:
    """Which of the operator's accounts. Raises: Refusal."""
    known = {settings.operator_mandate_iban: "mandate", settings.operator_own_iban: "own"}
    account = known.get(statement.iban)
    if account is None:
        raise Refusal(
            f"Statement {statement.reference} is of an account that is none of the operator's "
            f"(…{statement.iban[-4:]}): look at T2P_OPERATOR_MANDATE_IBAN and "
            "T2P_OPERATOR_OWN_IBAN."
        )
    return account


async def _keep(
    connection: AsyncConnection,
    account: str,
    statement: BankStatement,
    now: datetime,
    actor: Actor,
    simulated: bool,
    done: Settled,
) -> None:
    if statement.closing_on > deadlines.paris_day(now):
        raise Refusal(
            f"Statement {statement.reference} is of {statement.closing_on}, which lies ahead: look "
            "at the file."
        )
    await store.lock_account(connection)
    sha256 = hashlib.sha256(repr(statement).encode()).digest()
    statement_id, kept, is_new = await store.insert_statement(
        connection,
        {
            "account": account,
            "reference": statement.reference,
            "opening_cents": statement.opening_cents,
            "closing_cents": statement.closing_cents,
            "closing_on": statement.closing_on,
            "sha256": sha256,
            "is_simulated": simulated,
            "now": now,
            "actor": actor.name,
        },
    )
    if kept != sha256:
        raise Conflict(
            f"Statement {statement.reference} was read in before with another content: nothing of "
            "it was taken. Ask the bank which one holds."
        )
    if not is_new:
        done.known += 1
        return
    done.statements += 1
    lines = [line for line in statement.lines if line.amount_cents]
    known = await store.fetch_known(connection, account, [line.reference for line in lines])
    for line in lines:
        there = known.get(line.reference, (line.amount_cents, line.booked_on))
        if there != (line.amount_cents, line.booked_on):
            raise Conflict(
                f"Line {line.reference} of statement {statement.reference} was told before with "
                "another amount or day: nothing of it was taken. Ask the bank which one holds."
            )
    done.lines += await store.insert_lines(
        connection,
        statement_id,
        account,
        [
            (
                line.reference,
                line.amount_cents,
                line.booked_on,
                line.kind,
                line.end_to_end_id,
                line.counterparty_name,
                line.counterparty_iban,
                line.remittance,
                line.reason,
            )
            for line in lines
        ],
    )


async def match(
    pool: AsyncConnectionPool,
    now: datetime,
    *,
    settings: Settings,
    actor: Actor,
    done: Settled | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Settled:
    """Settle every line that was taken for nothing yet."""
    done = done or Settled()
    async with pool.connection() as connection:
        while open_ids := await store.list_open(connection, limit=BATCH_LINES):
            for number, line_id in enumerate(open_ids, start=1):
                async with connection.transaction():
                    await _settle(connection, line_id, now, settings, actor, done)
                if progress is not None:
                    progress(number, len(open_ids))
        done.difference_cents = await difference(connection)
    return done


async def difference(connection: AsyncConnection) -> int | None:
    """What the bank's last statement of the account of third parties has more than the books, what
    the operator has laid there in the books alone taken off; None: there is no statement."""
    closing = await store.fetch_closing(connection, "mandate")
    if closing is None:
        return None
    _, laid, mandate = await file_store.fetch_earned(connection)
    return closing[1] - (mandate - laid)


async def _settle(
    connection: AsyncConnection,
    line_id: int,
    now: datetime,
    settings: Settings,
    actor: Actor,
    done: Settled,
) -> None:
    """One line, by the first reading that fits it to the cent."""
    line = await store.get_line(connection, line_id)
    assert line is not None
    if await store.fetch_matches(connection, line_id):
        return
    found = None
    try:
        async with connection.transaction():
            found = await _named(connection, line, now, actor, settings)
            found = found or await _of_settlement(connection, line)
            found = found or await _of_invoice(connection, line, now, actor)
    except Refusal as refusal:
        await _note(connection, line, refusal, now)
    if found is None:
        found = "suspense", _subject(line)
        await _suspend(connection, line, now)
    await store.insert_match(connection, line.id, *found, now, actor.name)
    done.by_kind[found[0]] += 1


async def _note(
    connection: AsyncConnection, line: LineRow, refusal: Refusal, now: datetime
) -> None:
    await problems.note(
        connection,
        stage=STAGE,
        subject=_subject(line),
        client_id=None,
        month=None,
        session_id=None,
        cause="line_not_received",
        message=str(refusal),
        remedy="Look at the line, and say whose money it is.",
        now=now,
    )


def _subject(line: LineRow) -> str:
    return f"bank line {line.id}"


async def _named(
    connection: AsyncConnection, line: LineRow, now: datetime, actor: Actor, settings: Settings
) -> tuple[str, str] | None:
    """What the line's end-to-end id names, where its amount is the right one; kind and subject."""
    if line.end_to_end_id is None:
        return None
    if line.account == "mandate":
        payout = await payout_store.get_payout(connection, end_to_end_id=line.end_to_end_id)
        if payout is not None:
            return await _of_payout(connection, line, payout, now, actor)
        transfer = await file_store.find_transfer(connection, end_to_end_id=line.end_to_end_id)
        if transfer is not None:
            return await _of_transfer(connection, line, transfer, now)
    elif await file_store.find_transfer(connection, end_to_end_id=line.end_to_end_id):
        return "other", f"internal transfer {line.end_to_end_id}"  # its other side books it
    return await collecting.settle_line(connection, line, now, actor, settings)


async def _of_payout(
    connection: AsyncConnection,
    line: LineRow,
    payout: PayoutRow,
    now: datetime,
    actor: Actor,
) -> tuple[str, str] | None:
    if abs(line.amount_cents) != payout.amount_cents:
        return None
    happening = "settle" if line.amount_cents < 0 else "give back"
    after = follow(PAYOUTS, payout.status, happening)
    if after is None:
        return None
    booked_on = await _booked_on(connection, [payout.client_id], line.booked_on, now)
    make = ledger.paid if happening == "settle" else ledger.given_back
    entry = make(payout.id, payout.client_id, payout.amount_cents, booked_on)
    await books.post(connection, [entry], now)
    settled_on = line.booked_on if happening == "settle" else None
    await payout_store.set_status(connection, payout.id, after, settled_on)
    await payout_store.insert_event(
        connection, payout.id, payout.client_id, after, now, actor.name, line.reason
    )
    if happening == "give back":
        await disputes.hold_open(connection, payout.client_id, now)
    data = {
        "month": payout.month,
        "amount_cents": payout.amount_cents,
        "client": payout.client,
        "settled_on": line.booked_on,
        "reference": payout.end_to_end_id,
    }
    event = "payout.settled" if happening == "settle" else "payout.returned"
    await announce(
        connection,
        event,
        now=now,
        client_id=payout.client_id,
        subject=f"payout {payout.id}",
        data=data,
        key=f"{event} {payout.id}",
    )
    return ("payout" if happening == "settle" else "payout_return"), f"payout {payout.id}"


async def _of_transfer(
    connection: AsyncConnection,
    line: LineRow,
    transfer: TransferRow,
    now: datetime,
) -> tuple[str, str] | None:
    if line.amount_cents != -transfer.amount_cents or transfer.status != "sent":
        return None
    booked_on = await _booked_on(connection, [], line.booked_on, now)
    entry = ledger.swept(transfer.id, transfer.earned_cents, booked_on)
    await books.post(connection, [entry], now)
    await file_store.set_transfer_status(connection, transfer.id, "settled")
    return "transfer", f"internal transfer {transfer.id}"


async def _of_invoice(
    connection: AsyncConnection, line: LineRow, now: datetime, actor: Actor
) -> tuple[str, str] | None:
    """The one invoice that the line names and pays to the cent."""
    if line.amount_cents <= 0 or line.kind != "transfer_in":
        return None
    candidates = await store.find_invoices(connection, numbers_in(line.remittance or ""))
    fitting = [each for each in candidates if _fits(line, each)]
    if len(candidates) != 1 or len(fitting) != 1:
        return None
    return await _receive(connection, line, fitting[0], now, actor)


async def _of_settlement(connection: AsyncConnection, line: LineRow) -> tuple[str, str] | None:
    """The payout of the payment provider that the line names, and that is booked already."""
    if line.account != "mandate" or line.amount_cents <= 0:
        return None
    named = _REFERENCE.findall(line.remittance or "")
    found = await store.find_settlements(connection, named, line.amount_cents)
    return ("settlement", f"settlement {found[0]}") if len(found) == 1 else None


async def settle_suspended(
    connection: AsyncConnection,
    key: str,
    reference: str,
    net_cents: int,
    line_id: int | None,
    *,
    actor: Actor,
    now: datetime,
) -> int | None:
    """A payout of the payment provider was booked under a key: the line that waits unexplained and
    names its reference, or is `line_id`, is that; its id. None: no line tells of it yet. In the
    caller's transaction.

    Raises: NotThere for a line that is not there; Conflict for one that is explained, or of another
    amount.
    """
    taken = await store.find_line_of(connection, f"settlement {key}")
    if taken is not None and line_id in (None, taken):
        return taken
    if line_id is None:
        waiting = await store.list_suspense(connection, limit=BATCH_LINES)
        named = [
            each
            for each in waiting
            if each.account == "mandate"
            and each.amount_cents == net_cents
            and reference in _REFERENCE.findall(each.remittance or "")
        ]
        if len(named) != 1:
            return None
        line_id = named[0].id
    line = await store.get_line(connection, line_id)
    if line is None:
        raise NotThere(f"There is no line {line_id} of the bank's.", "line_id")
    matches = await store.fetch_matches(connection, line_id)
    if True not in matches or False in matches:
        raise Conflict(f"Line {line_id} is explained: {matches.get(False, 'it is not read yet')}.")
    if (line.account, line.amount_cents) != ("mandate", net_cents):
        raise Conflict(
            f"Line {line_id} is of {line.amount_cents} cents on the account {line.account}, the "
            f"payout of {net_cents} on that of third parties.",
            "line_id",
        )
    booked_on = deadlines.paris_day(now)
    first = await _suspense_of(connection, line)
    await books.post(connection, [ledger.reversal(first, booked_on)], now)
    await store.insert_match(
        connection, line_id, "settlement", f"settlement {key}", now, actor.name
    )
    await problems.resolve(connection, STAGE, [_subject(line)], now)
    return line_id


def _fits(line: LineRow, invoice: CandidateRow) -> bool:
    return invoice.left_cents == line.amount_cents and invoice.is_own == (line.account == "own")


def numbers_in(text: str) -> list[str]:
    """What may be numbers of invoices, of what was written as the reason of a transfer."""
    return _NUMBER.findall(text.upper())


async def _receive(
    connection: AsyncConnection, line: LineRow, invoice: CandidateRow, now: datetime, actor: Actor
) -> tuple[str, str]:
    if invoice.is_own:
        own_id = await collecting.receive_own(
            connection,
            client_id=invoice.client_id,
            invoice_id=invoice.invoice_id,
            number=invoice.number,
            source_key=key_of(line),
            amount_cents=line.amount_cents,
            received_on=line.booked_on,
            means="transfer",
            actor=actor,
            now=now,
        )
        return "own_receipt", f"own receipt {own_id}"
    return await _receive_from(connection, line, None, invoice.number, now, actor)


async def _receive_from(
    connection: AsyncConnection,
    line: LineRow,
    person_id: int | None,
    invoice_number: str | None,
    now: datetime,
    actor: Actor,
) -> tuple[str, str]:
    """A driver's money. Raises: as `receipts.receive`."""
    received = await receipts.receive(
        connection,
        source_key=key_of(line),
        amount_cents=line.amount_cents,
        received_on=line.booked_on,
        means="transfer",
        actor=actor,
        now=now,
        person_id=person_id,
        invoice_number=invoice_number,
        simulated=line.is_simulated,
    )
    return "receipt", f"receipt {received.receipt.id}"


def key_of(line: LineRow) -> str:
    """The source key of a receipt that a line is."""
    return f"bank:{line.account}:{line.reference}"


async def _suspend(connection: AsyncConnection, line: LineRow, now: datetime) -> None:
    booked_on = await _booked_on(connection, [], line.booked_on, now)
    await books.post(connection, [_suspense(line, booked_on)], now)


def _suspense(line: LineRow, booked_on: date) -> ledger.Entry:
    account = ledger.BANK_MANDATE if line.account == "mandate" else ledger.BANK_OWN
    return ledger.suspended(line.id, account, line.amount_cents, booked_on)


async def _booked_on(
    connection: AsyncConnection, client_ids: Sequence[int], day: date, now: datetime
) -> date:
    return await books.bookable_on(connection, [*client_ids, books.OPERATOR], day, now)


async def suggest(connection: AsyncConnection, line: LineRow) -> list[CandidateRow]:
    """Invoices that an unexplained line may have paid: those that it names, then those of its
    amount; a person decides."""
    named = await store.find_invoices(connection, numbers_in(line.remittance or ""))
    if line.amount_cents <= 0 or line.account != "mandate":
        return named[:SUGGESTIONS_MAX]
    others = await store.find_by_amount(
        connection, line.amount_cents, line.counterparty_iban, SUGGESTIONS_MAX
    )
    known = {each.invoice_id for each in named}
    return [*named, *(each for each in others if each.invoice_id not in known)][:SUGGESTIONS_MAX]


async def explain(
    connection: AsyncConnection,
    line_id: int,
    *,
    person_id: int | None = None,
    invoice_number: str | None = None,
    special: Special | None = None,
    actor: Actor,
    now: datetime,
) -> str:
    """A person says whose money an unexplained line is, or which invoice it pays; the subject that
    it is taken for. What it pays beyond is the driver's; beyond an invoice of the operator's it is
    to be given back, and listed among the refunds. In the caller's transaction.

    special: fee: the bank's, the operator bears it; top_up: what the operator had laid on the
    account of third parties in the books, moved there now (both accounts tell a line of it);
    refund: of what was paid of the operator's invoice.

    Raises: NotThere; Conflict where it is explained; Refusal for what it cannot be.
    """
    line = await store.get_line(connection, line_id)
    if line is None:
        raise NotThere(f"There is no line {line_id} of the bank's.")
    matches = await store.fetch_matches(connection, line_id)
    if True not in matches or False in matches:
        raise Conflict(f"Line {line_id} is explained: {matches.get(False, 'it is not read yet')}.")
    if line.amount_cents < 0 and special is None:
        raise Refusal("Money that left is no payment of an invoice.", "line_id")
    booked_on = deadlines.paris_day(now)
    first = await _suspense_of(connection, line)
    await books.post(connection, [ledger.reversal(first, booked_on)], now)
    if special is None:
        kind, subject = await _explained(connection, line, person_id, invoice_number, now, actor)
    else:
        kind, subject = await _special(connection, line, special, invoice_number, now, actor)
    await store.insert_match(connection, line.id, kind, subject, now, actor.name)
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        client_id=None,
        action="bank_line.explained",
        subject=_subject(line),
        detail={"as": subject},
    )
    await problems.resolve(connection, STAGE, [_subject(line)], now)
    return subject


async def _special(
    connection: AsyncConnection,
    line: LineRow,
    special: Special,
    invoice_number: str | None,
    now: datetime,
    actor: Actor,
) -> tuple[str, str]:
    """Raises: NotThere; Refusal."""
    is_mandate = line.account == "mandate"
    if special == "top_up":
        if (line.amount_cents > 0) != is_mandate:
            raise Refusal("The operator's money goes to the account of third parties.", "line_id")
        _, laid, _ = await file_store.fetch_earned(connection)
        if is_mandate and line.amount_cents > laid:
            raise Refusal(
                f"The operator owes the account of third parties {laid} cents, no more: whose is "
                "the rest?",
                "line_id",
            )
        return "top_up", f"top-up by bank line {line.id}"
    if line.amount_cents > 0:
        raise Refusal("Money that came in is neither a fee nor a refund.", "line_id")
    if special == "fee":
        account = ledger.BANK_MANDATE if is_mandate else ledger.BANK_OWN
        booked_on = deadlines.paris_day(now)
        fee = ledger.bank_fee(line.id, account, -line.amount_cents, booked_on)
        await books.post(connection, [fee], now)
        return "fee", f"fee of bank line {line.id}"
    found = await store.find_invoices(connection, [invoice_number or ""])
    if is_mandate or not found or not found[0].is_own:
        raise NotThere(f"The operator has no invoice {invoice_number}.", "invoice_number")
    if line.amount_cents < found[0].left_cents:
        raise Refusal(
            f"{max(0, -found[0].left_cents)} cents are to be given back of invoice "
            f"{invoice_number}.",
            "invoice_number",
        )
    _, subject = await _receive(connection, line, found[0], now, actor)
    return "refund", subject


async def _suspense_of(connection: AsyncConnection, line: LineRow) -> ledger.Entry:
    """The entry that the line was booked by, with its own day."""
    booked = await store.fetch_booked_on(connection, f"suspense:{line.id}")
    return _suspense(line, booked)


async def _explained(
    connection: AsyncConnection,
    line: LineRow,
    person_id: int | None,
    invoice_number: str | None,
    now: datetime,
    actor: Actor,
) -> tuple[str, str]:
    """Raises: NotThere; Refusal."""
    if line.account == "own":
        found = await store.find_invoices(connection, [invoice_number or ""])
        if not found or not found[0].is_own:
            raise NotThere(f"The operator has no invoice {invoice_number}.", "invoice_number")
        return await _receive(connection, line, found[0], now, actor)
    return await _receive_from(connection, line, person_id, invoice_number, now, actor)
