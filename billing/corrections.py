"""What puts an invoice in a client's name right: credit notes (381) and correctives (384).

An original and what corrects it are a chain, read in the order of its making: a credit note takes
sessions away, whole; a corrective states everything anew, at the prices that hold from then on.
What is left of a session is on the last document that states it and was not taken away since.
Documents are never changed. What the buyer owes changes by the document's effect; what she has paid
for a session beyond its price goes to her wallet (billing.receipts), and the document says so.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Final

from psycopg import AsyncConnection

from billing import documents, formats, parties, receipts, series
from billing.documents import MentionMissing
from billing.invoice import Document, DocumentLine, Party, TypeCode, from_json
from billing.series import Draft, Written
from billing.store import invoices as invoice_store
from billing.store import issuing as issue_store
from billing.store.invoices import Issued
from billing.store.issuing import NewLine
from csms.clients import Actor
from csms.config import Settings
from csms.registry import Conflict, NotThere, Refusal
from csms.store import audit
from csms.store import clients as client_store

REASON_LENGTH_MAX: Final = 500
AMOUNT_CENTS_MAX: Final = 10_000_000  # of one session

Left = dict[int, tuple[DocumentLine, ...]]  # lines that hold, by session


@dataclass(frozen=True, slots=True)
class Chain:
    """An original, what corrects it, and what is left."""

    original: Issued
    document: Document  # the original's
    corrections: Sequence[Issued]
    left: Left


async def credit(
    connection: AsyncConnection,
    invoice_id: int,
    session_ids: Collection[int] | None,
    reason: str,
    actor: Actor,
    now: datetime,
    *,
    settings: Settings,
) -> int:
    """Give back what is left of an invoice, or of some of its sessions, by a credit note; its id.
    `invoice_id` may be the original's or that of a corrective of it. In the caller's transaction.

    Raises: NotThere; Conflict where nothing is left; Refusal.
    """
    chain = await _chain(connection, invoice_id, reason)
    wanted = sorted(chain.left if session_ids is None else set(session_ids))
    unknown = [session_id for session_id in wanted if session_id not in chain.left]
    if unknown or not wanted:
        raise Conflict(
            f"Nothing is left on invoice {chain.original.number} to be given back"
            + (f" of session {', '.join(map(str, unknown))}." if unknown else "."),
            "session_ids",
        )
    lines = [line for session_id in wanted for line in chain.left[session_id]]
    if sum(line.gross_cents for line in lines) <= 0:
        raise Conflict("These sessions cost nothing: there is nothing to give back.", "session_ids")
    written = await _write(
        connection,
        chain,
        TypeCode.CREDIT_NOTE,
        lines,
        dict.fromkeys(wanted, 0),
        reason,
        now,
        settings,
    )
    await _note(connection, written, chain, actor, now, "invoice.credited")
    return written.id


async def correct(
    connection: AsyncConnection,
    invoice_id: int,
    amounts: Mapping[int, int],
    reason: str,
    actor: Actor,
    now: datetime,
    *,
    settings: Settings,
) -> int:
    """Replace an invoice by a corrective at other prices; its id. `amounts`: what sessions cost
    from now on, in cents with VAT included; the others stay as they are. In the caller's
    transaction.

    Raises: NotThere; Conflict for a session that is not on it any more, or where nothing would
    change or be left (that is a credit note); Refusal.
    """
    chain = await _chain(connection, invoice_id, reason)
    unknown = [session_id for session_id in amounts if session_id not in chain.left]
    if unknown:
        raise Conflict(
            f"Session {', '.join(map(str, unknown))} is not on invoice {chain.original.number}, "
            "or was given back whole.",
            "amounts",
        )
    if any(not 0 <= amount <= AMOUNT_CENTS_MAX for amount in amounts.values()):
        raise Refusal(f"A session costs from 0 to {AMOUNT_CENTS_MAX} cents.", "amounts")
    changed = {
        session_id: amount
        for session_id, amount in amounts.items()
        if amount != _gross(chain.left[session_id])
    }
    lines = [
        line
        for session_id, there in chain.left.items()
        for line in (
            documents.repriced(there, changed[session_id], chain.document.language)
            if session_id in changed
            else there
        )
    ]
    if not changed:
        raise Conflict("These are the prices that hold already.", "amounts")
    if _gross(lines) == 0:
        raise Conflict("Nothing would be left of the invoice: give a credit note.", "amounts")
    written = await _write(
        connection, chain, TypeCode.CORRECTED, lines, changed, reason, now, settings
    )
    await _note(connection, written, chain, actor, now, "invoice.corrected")
    return written.id


async def left_of(connection: AsyncConnection, invoice_id: int) -> dict[int, int]:
    """What is left of the sessions of an invoice, in cents with VAT; those given back are not in
    it. Raises: NotThere."""
    chain = await _chain(connection, invoice_id, "look")
    return {session_id: _gross(lines) for session_id, lines in chain.left.items()}


async def _chain(connection: AsyncConnection, invoice_id: int, reason: str) -> Chain:
    """The chain of an invoice, its client held. Raises: NotThere; Conflict; Refusal."""
    if not reason.strip() or len(reason) > REASON_LENGTH_MAX:
        raise Refusal(f"Say why, in {REASON_LENGTH_MAX} characters at most.", "reason")
    found = await invoice_store.get_issued(connection, invoice_id)
    if found is None:
        raise NotThere(f"There is no invoice {invoice_id}.")
    if found.issuer != "client":
        raise Conflict(
            "The operator's own invoices are put right by a sale below 0 (own-sales).", "invoice_id"
        )
    if found.type_code == TypeCode.CREDIT_NOTE:
        raise Conflict(f"{found.number} is a credit note: correct what it corrects.", "invoice_id")
    await client_store.lock_client(connection, found.client_id)
    original = found
    if found.original_id is not None:
        root = await invoice_store.get_issued(connection, found.original_id)
        assert root is not None
        original = root
    corrections = await invoice_store.fetch_corrections(connection, original.id)
    document = from_json(original.content)
    return Chain(original, document, corrections, _left(document, corrections))


def _left(document: Document, corrections: Iterable[Issued]) -> Left:
    """What the chain leaves of each session."""
    left = _by_session(document.lines)
    for each in corrections:
        said = _by_session(from_json(each.content).lines)
        if each.type_code == TypeCode.CREDIT_NOTE:
            left = {session: lines for session, lines in left.items() if session not in said}
        else:
            left = said
    return left


def _by_session(lines: Sequence[DocumentLine]) -> Left:
    found: dict[int, list[DocumentLine]] = {}
    for line in lines:
        assert line.session_id is not None
        found.setdefault(line.session_id, []).append(line)
    return {session_id: tuple(there) for session_id, there in found.items()}


def _gross(lines: Iterable[DocumentLine]) -> int:
    return sum(line.gross_cents for line in lines)


async def _write(
    connection: AsyncConnection,
    chain: Chain,
    type_code: TypeCode,
    lines: Sequence[DocumentLine],
    prices: Mapping[int, int],
    reason: str,
    now: datetime,
    settings: Settings,
) -> Written:
    """The document with its effects. `prices`: what the sessions that change cost from now on."""
    is_credit = type_code is TypeCode.CREDIT_NOTE
    opened = await series.opened(
        connection, chain.original.client_id, "credit" if is_credit else "invoice", now
    )
    paid = await invoice_store.fetch_paid(connection, chain.original.id, list(chain.left))
    returned = sum(max(0, paid.get(session_id, 0) - price) for session_id, price in prices.items())
    kept = 0 if is_credit else sum(paid.values()) - returned
    document = await _document(
        connection, chain, type_code, lines, opened.issued_on, reason, settings, kept
    )
    if returned:
        amount = formats.money(returned, document.language)
        document = replace(
            document,
            mentions=(*document.mentions, documents.wallet_mention(amount, document.language)),
        )
    effect, effect_vat = series.plain_effect(document)
    if not is_credit:  # it replaces all that was left
        before = [line for there in chain.left.values() for line in there]
        effect -= _gross(before)
        effect_vat -= sum(line.vat_cents for line in before)
    draft = Draft(
        document=document,
        issuer="client",
        client_id=chain.original.client_id,
        person_id=chain.original.person_id,
        month=chain.original.month,
        source_key=f"{'credit' if is_credit else 'corrective'}:"
        f"{chain.original.id}:{len(chain.corrections) + 1}",
        lines=tuple(_rows(lines)),
        effect_cents=effect,
        effect_vat_cents=effect_vat,
        original_id=chain.original.id,
    )
    written = await series.write_one(connection, opened, draft, now)
    assert chain.original.person_id is not None
    await receipts.apply_wallets(connection, [chain.original.person_id], now)
    return written


async def _document(
    connection: AsyncConnection,
    chain: Chain,
    type_code: TypeCode,
    lines: Sequence[DocumentLine],
    issued_on: date,
    reason: str,
    settings: Settings,
    paid_cents: int,
) -> Document:
    """The correcting document: parties and VAT case are the original's, texts those of its day."""
    original = chain.document
    try:
        return documents.compose(
            type_code=type_code,
            issued_on=issued_on,
            due_on=issued_on + timedelta(days=settings.invoice_due_days),
            supplied=(original.supplied_from_on, original.supplied_to_on),
            vat_case=original.vat_case,
            is_goods=original.is_goods,
            seller=original.seller,
            buyer=original.buyer,
            invoicer=_invoicer(original, settings),
            lines=lines,
            texts=await issue_store.fetch_mentions(connection, issued_on),
            language=original.language,
            is_simulated=original.is_simulated,
            original=original,
            reason=reason.strip(),
            paid_cents=paid_cents,
        )
    except MentionMissing as missing:
        raise Conflict(
            f"{missing} Enter the wording that the law wants now (POST /api/v1/billing/mentions)."
        ) from None


def _invoicer(original: Document, settings: Settings) -> Party:
    """The operator as it is today. Raises: Conflict."""
    assert original.invoicer is not None
    return parties.operator_party(settings)


def _rows(lines: Sequence[DocumentLine]) -> Iterable[NewLine]:
    """One row for each session, at the position of its first line."""
    position = 1
    for there in _by_session(lines).values():
        yield series.row_of(there, position, is_original=False)
        position += len(there)


async def _note(
    connection: AsyncConnection,
    written: Written,
    chain: Chain,
    actor: Actor,
    now: datetime,
    action: str,
) -> None:
    detail: dict[str, Any] = {
        "number": written.document.number,
        "original": chain.original.number,
        "effect_cents": written.draft.effect_cents,
    }
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        client_id=chain.original.client_id,
        action=action,
        subject=f"invoice {written.id}",
        detail=detail,
    )
