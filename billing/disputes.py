"""Disputes: a client contests a line of its statement, or an invoice; the operator decides.

A line can be contested for ten days from the first proved delivery of its statement, an invoice in
the client's name for fifteen from when it was made available; before that the days have not begun,
and it is open. Meanwhile the net share of what was collected for it is held back, no more: all else
is paid out as ever (T1). To reject, or to withdraw, lets it go. To uphold lets it go and gives a
credit note or a corrective, which the next statement tells as an adjustment; a statement itself is
never edited. What was contested in time after the payout takes the same way.

Everything is done in the caller's transaction, which holds the client.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal

from psycopg import AsyncConnection

from billing import books, corrections, ledger, money, own_sales, reckoning, statement_state
from billing.statement_state import History
from billing.store import closing as closing_store
from billing.store import disputes as store
from billing.store import invoices as invoice_store
from billing.store import issuing as issue_store
from billing.store import ledger as ledger_store
from billing.store.disputes import Dispute, UseInvoice
from csms import deadlines
from csms.clients import Actor
from csms.config import Settings
from csms.deadlines import Reading
from csms.notifications import announce
from csms.registry import Conflict, NotThere, Refusal
from csms.store import audit
from csms.store import clients as client_store

REASON_LENGTH_MAX: Final = 2_000
DECISION_LENGTH_MAX: Final = corrections.REASON_LENGTH_MAX  # a correction says it too
SESSIONS: Final = ("session", "late_session")
LABEL_LENGTH_MAX: Final = 200

Decision = Literal["upheld", "rejected"]
Correction = Literal["credit"] | Mapping[int, int]
"""What puts it right: all of it given back, or new amounts by session, in cents with VAT."""


@dataclass(frozen=True, slots=True)
class Contested:
    """What a dispute is about."""

    client_id: int
    month: date
    what: str  # for people
    window_ends_on: date
    session_ids: Sequence[int]
    line_id: int | None = None
    invoice_id: int | None = None


async def contest_line(
    connection: AsyncConnection, line_id: int, reason: str, actor: Actor, now: datetime
) -> int:
    """Contest a line of a statement; the dispute's id.

    Raises: NotThere; Conflict where it is contested already, or its days are over; Refusal.
    """
    line = await store.get_line(connection, line_id)
    if line is None or line.kind in ("hold", "release"):
        raise NotThere(f"There is no line {line_id} to contest.")
    history = History(line.sent_at, line.delivered_at, line.final_at, 0)
    last = statement_state.open_until(history)
    if not statement_state.is_open(history, now):
        raise Conflict(
            f"This line could be contested until {last}: the statement is final. An invoice in "
            "your name can be contested by itself, for fifteen days from when you could read it."
        )
    return await _open(
        connection,
        Contested(
            client_id=line.client_id,
            month=line.month,
            what=line.invoice_number or str(line.position),
            window_ends_on=last
            or deadlines.contest_window_end(deadlines.paris_day(now), reading=Reading.LATEST),
            session_ids=[line.session_id]
            if line.session_id is not None and line.kind in SESSIONS
            else [],
            line_id=line_id,
        ),
        reason,
        actor,
        now,
    )


async def contest_invoice(
    connection: AsyncConnection, invoice_id: int, reason: str, actor: Actor, now: datetime
) -> int:
    """Contest an invoice in the client's name, or the operator's to it, which has no last day; the
    dispute's id. Raises: as `contest_line`."""
    invoice = await invoice_store.get_invoice(connection, invoice_id)
    if invoice is None:
        raise NotThere(f"There is no invoice {invoice_id}.")
    today = deadlines.paris_day(now)
    last = invoice_open_until(invoice.issuer, invoice.available_at)
    if last is None:
        last = deadlines.invoice_contest_end(today, reading=Reading.LATEST)
    elif today > last:
        raise Conflict(f"Invoice {invoice.number} could be contested until {last}.")
    session_ids, _ = await store.list_invoice_sales(connection, invoice_id)
    return await _open(
        connection,
        Contested(
            client_id=invoice.client_id,
            month=invoice.month,
            what=invoice.number,
            window_ends_on=last,
            session_ids=session_ids,
            invoice_id=invoice_id,
        ),
        reason,
        actor,
        now,
    )


def invoice_open_until(issuer: str, available_at: datetime | None) -> date | None:
    """The last day on which an invoice can be contested, by the latest reading (C04); None: its
    days have not begun, or it is the operator's own."""
    if issuer != "client" or available_at is None:
        return None
    return deadlines.invoice_contest_end(deadlines.paris_day(available_at), reading=Reading.LATEST)


async def withdraw(
    connection: AsyncConnection, dispute_id: int, actor: Actor, now: datetime
) -> None:
    """Let go of what was contested and is not decided. Raises: NotThere; Conflict."""
    dispute = await _undecided(connection, dispute_id)
    await _release(connection, dispute, now)
    await _end(connection, dispute, "withdrawn", "Retirée par le client", None, actor, now)
    await _hold_for_others(connection, dispute, now)


async def withdraw_line(
    connection: AsyncConnection, line_id: int, actor: Actor, now: datetime
) -> None:
    """Let go of the dispute that is open about a line. Raises: NotThere; Conflict."""
    dispute_id = await store.find_open(connection, line_id=line_id)
    if dispute_id is None:
        raise NotThere(f"Line {line_id} is not contested.")
    await withdraw(connection, dispute_id, actor, now)


async def decide(
    connection: AsyncConnection,
    dispute_id: int,
    decision: Decision,
    reason: str,
    *,
    correction: Correction | None = None,
    actor: Actor,
    now: datetime,
    settings: Settings,
) -> int | None:
    """Decide a dispute, with a reason; the id of the document that puts it right, if one does.

    What is upheld needs a correction, unless a document has corrected it since it was contested, or
    the line is neither a session nor a sale. A sale of the operator's is given back by a sale below
    0, on its next invoice.

    Raises: NotThere; Conflict where it is decided, or nothing is left to be given back; Refusal.
    """
    if not reason.strip() or len(reason) > DECISION_LENGTH_MAX:
        raise Refusal(f"Say why, in {DECISION_LENGTH_MAX} characters at most.", "reason")
    if decision == "rejected" and correction is not None:
        raise Refusal("What is rejected is not corrected.", "correction")
    dispute = await _undecided(connection, dispute_id)
    await _release(connection, dispute, now)  # first: a correction takes from what is available
    made = None
    if decision == "upheld":
        made = await _put_right(connection, dispute, correction, reason, actor, now, settings)
    await _end(connection, dispute, decision, reason.strip(), made, actor, now)
    await _hold_for_others(connection, dispute, now)
    return made


async def invoices_of_statement(connection: AsyncConnection, statement_id: int) -> list[UseInvoice]:
    """The invoice of each use of a statement (C03), in its order."""
    return await store.list_use_invoices(connection, statement_id)


def net_share_cents(shares: Sequence[tuple[Decimal, int]], vat_percent: Decimal) -> int:
    """What the client gets of what was collected, its commission with VAT taken off; never below
    0. `shares`: the commission's rate and the cents."""
    by_rate: dict[Decimal, int] = {}
    for rate, cents in shares:
        by_rate[rate] = by_rate.get(rate, 0) + cents
    net = sum(by_rate.values())
    for rate, cents in by_rate.items():
        commission = reckoning.commission_cents(rate, cents)
        net -= commission + money.vat_on(commission, vat_percent)
    return max(0, net)


async def _open(
    connection: AsyncConnection, what: Contested, reason: str, actor: Actor, now: datetime
) -> int:
    if not reason.strip() or len(reason) > REASON_LENGTH_MAX:
        raise Refusal(f"Say why, in {REASON_LENGTH_MAX} characters at most.", "reason")
    client = await client_store.lock_client(connection, what.client_id)
    assert client is not None
    there = await store.find_open(connection, line_id=what.line_id, invoice_id=what.invoice_id)
    if there is not None:
        raise Conflict(f"This is contested already: dispute {there}.")
    held = await _held_cents(connection, what.client_id, list(what.session_ids), now)
    dispute_id = await store.insert_dispute(
        connection,
        {
            "client_id": what.client_id,
            "statement_line_id": what.line_id,
            "invoice_id": what.invoice_id,
            "month": what.month,
            "opened_at": now,
            "opened_by": actor.name,
            "person_id": actor.person_id,
            "window_ends_on": what.window_ends_on,
            "reason": reason.strip(),
            "held_cents": held,
        },
    )
    if held:
        entry = ledger.held(dispute_id, what.client_id, held, deadlines.paris_day(now))
        await books.post(connection, [entry], now)
    await announce(
        connection,
        "dispute.opened",
        now=now,
        client_id=what.client_id,
        subject=f"dispute {dispute_id}",
        data={
            "client": client.name,
            "month": what.month,
            "what": what.what,
            "number": dispute_id,
        },
        key=f"dispute {dispute_id} opened",
    )
    await _note(connection, dispute_id, what.client_id, "opened", {"held_cents": held}, actor, now)
    return dispute_id


async def _held_cents(
    connection: AsyncConnection, client_id: int, session_ids: list[int], now: datetime
) -> int:
    """What to hold for sessions: their net share, what is held for them already taken off, and
    never more than is available, or than their statement has left to be paid: what was paid out
    already is put right by the next statement (T1)."""
    if not session_ids:
        return 0
    rates = await closing_store.fetch_rates(connection, client_id)
    shares = [
        (_rate_on(rates, day), cents)
        for day, cents in await store.fetch_collected(connection, session_ids)
    ]
    percent = await issue_store.fetch_vat_percent(connection, deadlines.paris_day(now))
    net = net_share_cents(shares, percent or Decimal(0))
    net -= await store.fetch_held(connection, client_id, session_ids)
    await ledger_store.lock_chains(connection, [client_id])
    available = -await books.balance(connection, ledger.owed("available", client_id))
    unpaid = await store.fetch_unpaid(connection, session_ids)
    return max(0, min(net, available, net if unpaid is None else unpaid))


def _rate_on(rates: Sequence[tuple[date, date | None, Decimal]], day: date) -> Decimal:
    """The commission's rate on a day, or of the last terms before; none: 0."""
    return next((rate for from_on, _, rate in reversed(rates) if from_on <= day), Decimal(0))


async def _undecided(connection: AsyncConnection, dispute_id: int) -> Dispute:
    """The dispute, its client held. Raises: NotThere; Conflict."""
    found = await store.get_dispute(connection, dispute_id)
    if found is None:
        raise NotThere(f"There is no dispute {dispute_id}.")
    await client_store.lock_client(connection, found.client_id)
    found = await store.get_dispute(connection, dispute_id)  # as it is now that nobody else can
    assert found is not None
    if found.decided_at is not None:
        raise Conflict(
            f"Dispute {dispute_id} was {found.decision} on {deadlines.paris_day(found.decided_at)}."
        )
    return found


async def _release(connection: AsyncConnection, dispute: Dispute, now: datetime) -> None:
    if dispute.held_cents:
        day = deadlines.paris_day(now)
        entry = ledger.released(dispute.id, dispute.client_id, dispute.held_cents, day)
        await books.post(connection, [entry], now)


async def hold_open(connection: AsyncConnection, client_id: int, now: datetime) -> None:
    """Money of a client's is there again, since a payout never left or came back: hold what is
    contested of it, and had gone with it. In the caller's transaction, the client's books held."""
    for each in await store.list_unheld(connection, client_id):
        session_ids, _ = await _contested(connection, each)
        await _hold(connection, each, session_ids, now)


async def _hold(
    connection: AsyncConnection, dispute: Dispute, session_ids: list[int], now: datetime
) -> None:
    held = await _held_cents(connection, dispute.client_id, session_ids, now)
    if held:
        await store.set_held(connection, dispute.id, held)
        entry = ledger.held(dispute.id, dispute.client_id, held, deadlines.paris_day(now))
        await books.post(connection, [entry], now)


async def _hold_for_others(connection: AsyncConnection, ended: Dispute, now: datetime) -> None:
    """What a dispute had held for another one too, which was opened after it and is open still, is
    held for that one from now on: a line and its invoice can both be contested."""
    if not ended.held_cents:
        return
    concerned, _ = await _contested(connection, ended)
    for each in await store.list_unheld(connection, ended.client_id):
        session_ids, _ = await _contested(connection, each)
        if set(session_ids) & set(concerned):
            await _hold(connection, each, session_ids, now)


async def _put_right(
    connection: AsyncConnection,
    dispute: Dispute,
    correction: Correction | None,
    reason: str,
    actor: Actor,
    now: datetime,
    settings: Settings,
) -> int | None:
    """The document that corrects what is contested; None: a sale of the operator's was given back,
    or nothing can be corrected. Raises: Conflict; Refusal."""
    line = None
    if dispute.statement_line_id is not None:
        line = await store.get_line(connection, dispute.statement_line_id)
        assert line is not None
    session_ids, sale_ids = await _contested(connection, dispute)
    if correction is None:
        made = None
        if dispute.invoice_id is not None:
            made = await store.find_correction(connection, dispute.invoice_id, dispute.opened_at)
        if made is None and (session_ids or sale_ids):
            raise Refusal(
                "What is upheld is put right by a credit note or new amounts: say which.",
                "correction",
            )
        return made
    if sale_ids:
        if correction != "credit":
            raise Refusal("A sale of the operator's is given back whole: credit.", "correction")
        for sale_id in sale_ids:
            await _give_back(connection, dispute, sale_id, actor, now)
        return None
    if not session_ids or dispute.invoice_id is None:
        raise Refusal(
            "There is no invoice to correct: say in the reason what is done.", "correction"
        )
    if correction == "credit":
        wanted = session_ids if line is not None else None
        return await corrections.credit(
            connection, dispute.invoice_id, wanted, reason, actor, now, settings=settings
        )
    assert not isinstance(correction, str)
    if unknown := sorted(set(correction) - set(session_ids)):
        raise Refusal(
            f"Session {', '.join(map(str, unknown))} is not contested by dispute {dispute.id}.",
            "correction",
        )
    return await corrections.correct(
        connection, dispute.invoice_id, correction, reason, actor, now, settings=settings
    )


async def _contested(connection: AsyncConnection, dispute: Dispute) -> tuple[list[int], list[int]]:
    """Sessions and sales of the operator's that a dispute is about."""
    if dispute.statement_line_id is None:
        assert dispute.invoice_id is not None
        return await store.list_invoice_sales(connection, dispute.invoice_id)
    line = await store.get_line(connection, dispute.statement_line_id)
    assert line is not None
    sessions = [line.session_id] if line.session_id and line.kind in SESSIONS else []
    return sessions, [line.own_sale_id] if line.own_sale_id is not None else []


async def _give_back(
    connection: AsyncConnection, dispute: Dispute, sale_id: int, actor: Actor, now: datetime
) -> None:
    """A sale below 0, for the operator's next invoice and the client's next statement."""
    kind, label, cents, key = await store.get_own_sale(connection, sale_id)
    today = deadlines.paris_day(now)
    await own_sales.add_own_sale(
        connection,
        client_id=dispute.client_id,
        kind=kind,
        label=f"Rendu : {label}"[:LABEL_LENGTH_MAX],
        amount_excl_cents=-cents,
        on_day=today,
        month=today,
        # The rate of a commission ends its key, and statements read it there.
        source_key=f"dispute:{dispute.id}:{sale_id}:{key.rsplit(':', 1)[-1]}",
        actor=actor,
        now=now,
    )


async def _end(
    connection: AsyncConnection,
    dispute: Dispute,
    decision: str,
    reason: str,
    correction_id: int | None,
    actor: Actor,
    now: datetime,
) -> None:
    await store.write_decision(
        connection,
        dispute.id,
        decision=decision,
        reason=reason,
        decided_by=actor.name,
        correction_id=correction_id,
        now=now,
    )
    if decision != "withdrawn":
        await announce(
            connection,
            # What a co-owner contests of his bill is no manager's to read.
            "dispute.decided" if dispute.owner_id is None else "owner_dispute.decided",
            now=now,
            client_id=dispute.client_id,
            person_id=dispute.owner_id,
            subject=f"dispute {dispute.id}",
            data={
                "month": dispute.month,
                "what": dispute.invoice_number or str(dispute.id),
                "decision": decision,
                "why": reason,
            },
            key=f"dispute {dispute.id} decided",
        )
    detail = {"correction_id": correction_id}
    await _note(connection, dispute.id, dispute.client_id, decision, detail, actor, now)


async def _note(
    connection: AsyncConnection,
    dispute_id: int,
    client_id: int,
    what: str,
    detail: dict[str, Any],
    actor: Actor,
    now: datetime,
) -> None:
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        client_id=client_id,
        action=f"dispute.{what}",
        subject=f"dispute {dispute_id}",
        detail=detail,
    )
