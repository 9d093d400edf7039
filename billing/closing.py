"""The closing of a month: prices, invoices, then each client's statement from the books.

Per client the sessions of the month are priced and invoiced, each batch committed; then one
transaction makes the operator's own invoice, sets off what is due, writes the statement with its
lines and closes the month in the client's books. Killed anywhere and run again it goes on, and
arrives at the same: each session, each share of a receipt and each sale is on one statement.

A session that has a problem is left out and comes into the statement after it is mended, as a late
one. What a client lacks as a whole (its VAT status, its address) stops that client and no other.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import books, issuing, ledger, own_sales, pricing, reckoning, statement
from billing.reckoning import Charged, Correction, Facts, Share, Sold
from billing.statement import Previous, Statement
from billing.store import closing as store
from billing.store import problems
from billing.store.closing import ChargedRow, ShareRow
from csms import deadlines
from csms.clients import Actor
from csms.config import Settings
from csms.db import transaction
from csms.points import label_of
from csms.registry import Refusal
from csms.store import clients as client_store

STAGE: Final = "close"
SYSTEM: Final = Actor("system")
#: paid by themselves, when due
OTHERS: Final = ("subscription", "intervention", "telemetering", *own_sales.OF_ORDERS)
STOPPING: Final = frozenset({"no_contract", "vat_status_missing", "vat_rate_missing"})
PASSING: Final = frozenset({"no_mandate", "faulty_document"})  # leave out what they concern


class Stopped(Exception):
    """What keeps a client's month from being closed, and what to do."""

    def __init__(self, cause: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.cause = cause
        self.message = message
        self.remedy = remedy


@dataclass(slots=True)
class Closed:
    """What a run did."""

    clients: int = 0
    sessions_priced: int = 0
    documents: int = 0
    statements: int = 0
    already: int = 0
    collected_cents: int = 0
    net_cents: int = 0
    stopped: dict[int, Stopped] = field(default_factory=dict)  # by client


async def close_month(
    pool: AsyncConnectionPool,
    month: date,
    now: datetime,
    *,
    settings: Settings,
    client_id: int | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Closed:
    """Close a month (any day of it) for all clients that are due a statement, or for one.

    `progress` is told how many clients are done, and of how many. dry_run: the statements are
    computed of what is priced and invoiced already, and nothing is written.

    Raises: Refusal before the month has ended in Paris; Conflict while the settings do not say who
    the operator is.
    """
    month = month.replace(day=1)
    until = deadlines.start_of_day(deadlines.add_months(month, 1))
    if now < until:
        raise Refusal(f"{month:%Y-%m} has not ended: its statements are made from {until} on.")
    async with pool.connection() as connection:
        client_ids = await store.list_clients_to_close(connection, month, until, client_id)
    done = Closed(clients=len(client_ids))
    for number, each in enumerate(client_ids, start=1):
        try:
            await _close_client(pool, each, month, now, settings, done, dry_run=dry_run)
        except Stopped as stopped:
            done.stopped[each] = stopped
            if not dry_run:
                await _note(pool, each, month, stopped, now)
        if progress is not None:
            progress(number, len(client_ids))
    return done


async def _close_client(
    pool: AsyncConnectionPool,
    client_id: int,
    month: date,
    now: datetime,
    settings: Settings,
    done: Closed,
    *,
    dry_run: bool,
) -> None:
    """Price, invoice, and make the statement. Raises: Stopped; Conflict."""
    priced = await pricing.run(pool, now=now, client_id=client_id, dry_run=dry_run)
    done.sessions_priced += priced.sessions
    stopping = STOPPING.intersection(priced.problems)
    if stopping:
        raise Stopped(
            "sessions_not_priced",
            f"Client {client_id}: no session of {month:%Y-%m} can be priced "
            f"({', '.join(sorted(stopping))}).",
            "Mend what `time2plug billing problems` lists for it, then close again.",
        )
    async with pool.connection() as connection:
        for each in await store.list_pending_months(connection, client_id, month):
            issued = await issuing.issue(
                connection, client_id, each, now, settings=settings, dry_run=dry_run
            )
            done.documents += issued.documents
            lacks = [lack for lack in issued.lacks if lack.cause not in PASSING]
            if lacks:
                raise Stopped(lacks[0].cause, lacks[0].message, lacks[0].remedy)
    made = await close(pool, client_id, month, now, settings=settings, dry_run=dry_run)
    if made is None:
        done.already += 1
        return
    done.statements += 1
    done.collected_cents += made.collected_cents
    done.net_cents += made.net_cents


async def close(
    pool: AsyncConnectionPool,
    client_id: int,
    month: date,
    now: datetime,
    *,
    settings: Settings,
    dry_run: bool = False,
) -> Statement | None:
    """A client's statement of a month (its first day), in one transaction; None: it is there.

    Raises: Stopped; Conflict while the settings do not say who the operator is.
    """
    made = None
    async with pool.connection() as connection, connection.transaction() as work:
        await client_store.lock_client(connection, client_id)
        if await store.find_statement(connection, client_id, month) is None:
            made = await _make(connection, client_id, month, now, settings)
            subject = f"client {client_id} {month:%Y-%m}"
            await problems.resolve(connection, STAGE, [subject], now)
        if dry_run:
            raise psycopg.Rollback(work)
    return made


async def _make(
    connection: AsyncConnection, client_id: int, month: date, now: datetime, settings: Settings
) -> Statement:
    """The operator's invoices, the statement, its lines, the entries; the month is closed."""
    await books.close_month(connection, client_id, month, now)  # first: nobody books in it any more
    heads = await store.list_heads(connection, client_id)
    if heads and heads[0][0] > month:
        raise Stopped(
            "closed_out_of_order",
            f"Client {client_id} has a statement of {heads[0][0]:%Y-%m} already.",
            f"What is left of {month:%Y-%m} comes into its next statement.",
        )
    until_on = deadlines.add_months(month, 1) - timedelta(days=1)
    shares = await store.fetch_shares(connection, client_id, until_on)
    rates = await store.fetch_rates(connection, client_id)
    told = [_share(share, _rate(client_id, rates, share.rate_on)) for share in shares]
    await _sell_commission(connection, client_id, month, told, until_on, now)
    await _invoice(connection, client_id, month, now, settings)
    facts, charged, past_due = await _facts(
        connection, client_id, month, until_on, told, heads, now, settings
    )
    await _set_off(connection, facts, now)
    rows = await _lines(connection, facts, charged, shares, past_due)
    made = _with_digest(reckoning.compute(facts), rows)
    contract = await store.fetch_contract(connection, client_id, until_on)
    statement_id = await store.insert_statement(
        connection, _columns(made, None if contract is None else contract[0], now)
    )
    await store.insert_lines(
        connection,
        statement_id,
        client_id,
        [
            (
                each.kind,
                each.session_id,
                each.receipt_share_id,
                each.invoice_id,
                each.own_sale_id,
                each.dispute_id,
                each.amount_cents,
                each.cause,
            )
            for each in rows
        ],
    )
    return made


def _rate(client_id: int, rates: Sequence[tuple[date, date | None, Decimal]], day: date) -> Decimal:
    """The commission of the terms in force on a day, or of the last ones before (C23: a final
    account). Raises: Stopped."""
    found = None
    for from_on, _, rate in rates:
        if from_on <= day:
            found = rate
    if found is None:
        raise Stopped(
            "terms_missing",
            f"Client {client_id} has no terms in force on {day}: its commission is not known.",
            "Enter what the Devis says (POST /api/v1/contracts/{id}/terms).",
        )
    return found


def _share(row: ShareRow, rate: Decimal) -> Share:
    parts = tuple(
        (Decimal(percent), gross, gross - net) for percent, gross, net in row.vat_parts or ()
    )
    return Share(
        row.id, row.session_id, row.amount_cents, rate, row.correction_id, row.before_cents, parts
    )


async def _sell_commission(
    connection: AsyncConnection,
    client_id: int,
    month: date,
    shares: Sequence[Share],
    until_on: date,
    now: datetime,
) -> None:
    """The commission of the month, a sale for each rate; and the fees that are due in it."""
    for rate, base in sorted(reckoning.commission_bases(shares).items()):
        cents = reckoning.commission_cents(rate, base)
        if cents:
            percent = f"{(rate * 100).normalize():f}".replace(".", ",")
            await own_sales.add_own_sale(
                connection,
                client_id=client_id,
                kind="commission",
                label=f"Commission d’intermédiation, {percent} % des encaissements",
                amount_excl_cents=cents,
                on_day=until_on,
                month=month,
                source_key=reckoning.commission_key(client_id, month, rate),
                actor=SYSTEM,
                now=now,
            )
    await own_sales.add_due_sales(connection, client_id, month, now)


async def _invoice(
    connection: AsyncConnection, client_id: int, month: date, now: datetime, settings: Settings
) -> None:
    """The operator's invoices: of what is deducted, and of what is paid by itself when due.

    A credit that no invoice of the operator's could be named for waits. Raises: Stopped.
    """
    for kinds in (store.DEDUCTED, OTHERS):
        issued = await own_sales.issue_own(
            connection, client_id, month, now, settings=settings, kinds=kinds
        )
        lacks = [lack for lack in issued.lacks if lack.cause != "nothing_to_credit"]
        if lacks:
            raise Stopped(lacks[0].cause, lacks[0].message, lacks[0].remedy)


async def _facts(
    connection: AsyncConnection,
    client_id: int,
    month: date,
    until_on: date,
    shares: Sequence[Share],
    heads: Sequence[tuple[date, int, str]],
    now: datetime,
    settings: Settings,
) -> tuple[Facts, list[ChargedRow], list[tuple[int, str, int]]]:
    """The facts, the sessions as they are stored, and the operator's invoices past due."""
    client = await client_store.get_client(connection, client_id)
    assert client is not None
    charged = await store.fetch_charged(connection, client_id, month, until_on)
    past_due = await store.fetch_past_due(connection, client_id, deadlines.paris_day(now))
    contract = await store.fetch_contract(connection, client_id, until_on)
    facts = Facts(
        client_id=client_id,
        client_name=client.name,
        legal_name=client.legal_name or client.name,
        month=month,
        contract_reference="" if contract is None else contract[1],
        opening_cents=min(0, heads[0][1]) if heads else 0,
        uncollected_cents=await store.fetch_uncollected(connection, client_id, month, until_on),
        charged=[_charged(row) for row in charged],
        shares=shares,
        sold=[
            Sold(
                row.own_sale_id,
                row.kind,
                row.label,
                row.source_key,
                row.excl_cents,
                row.vat_cents,
                row.incl_cents,
                row.invoice_id,
                row.invoice_number,
            )
            for row in await store.fetch_sold(connection, client_id)
        ],
        corrections=[
            Correction(row.invoice_id, row.number, row.reason, row.month)
            for row in await store.fetch_corrections(connection, client_id, until_on)
        ],
        past_due_cents=sum(left for _, _, left in past_due),
        held_cents=sum(cents for _, cents in await store.fetch_holds(connection, client_id, False)),
        released_cents=sum(
            cents for _, cents in await store.fetch_holds(connection, client_id, True)
        ),
        previous=_previous(heads, month),
        is_simulated=settings.billing_simulated,
    )
    return facts, charged, past_due


def _charged(row: ChargedRow) -> Charged:
    return Charged(
        row.session_id,
        row.station_id,
        label_of(row.evse_static, row.station_id, row.evse_id or 0),
        row.site,
        row.person_id,
        row.user,
        row.energy_wh,
        row.amount_cents,
        row.collected_cents,
    )


def _previous(heads: Sequence[tuple[date, int, str]], month: date) -> Previous | None:
    """The figures of the month before, where it has a statement."""
    if not heads or heads[0][0] != deadlines.add_months(month, -1):
        return None
    before = statement.from_json(heads[0][2])
    return Previous(before.sessions, before.energy_wh, before.collected_cents, before.net_cents)


async def _set_off(connection: AsyncConnection, facts: Facts, now: datetime) -> None:
    """The deductions in the books: what the client owes is set off as far as this statement's own
    money reaches; what the operator gave back beyond it comes from its own account.

    What was taken back after it had been paid out, and the operator made good, the client owes
    too: the statement has it among what was collected, below 0.
    """
    client_id = facts.client_id
    covered = await store.fetch_covered(
        connection, client_id, [share.id for share in facts.shares if share.amount_cents < 0]
    )
    due = (
        sum(one.incl_cents for one in facts.sold)
        - facts.opening_cents
        + reckoning.offset_cents(facts)
        + covered
    )
    day = deadlines.paris_day(now)
    if due > 0:
        amount = min(
            due,
            reckoning.own_cents(facts) + covered,
            -await books.balance(connection, ledger.owed("available", client_id)),
            await books.balance(connection, ledger.receivable_client(client_id)),
        )
        if amount > 0:
            entry = ledger.offset(client_id, facts.month, amount, day)
            await books.post(connection, [entry], now)
    elif due < 0:
        entry = ledger.credited(client_id, facts.month, -due, day)
        await books.post(connection, [entry], now)


class Line(NamedTuple):
    """A line as it is written. What the closing itself has numbered counts by its number in the
    digest (`told`), so that a closing that was killed and run again arrives at the same."""

    kind: str
    amount_cents: int
    told: str
    session_id: int | None = None
    receipt_share_id: int | None = None
    invoice_id: int | None = None
    own_sale_id: int | None = None
    dispute_id: int | None = None
    cause: str | None = None


async def _lines(
    connection: AsyncConnection,
    facts: Facts,
    charged: Sequence[ChargedRow],
    shares: Sequence[ShareRow],
    past_due: Sequence[tuple[int, str, int]],
) -> list[Line]:
    """Every line of the statement, in its order."""
    lines = [
        Line(
            "session" if row.month == facts.month else "late_session",
            row.amount_cents,
            row.invoice_number,
            session_id=row.session_id,
            invoice_id=row.invoice_id,
        )
        for row in sorted(charged, key=lambda row: row.month != facts.month)
    ]
    reasons = {one.invoice_id: one.reason for one in facts.corrections}
    for share in shares:
        correction = share.correction_id
        lines.append(
            Line(
                "receipt" if correction is None else "adjustment",
                share.amount_cents,
                share.invoice_number,
                session_id=share.session_id,
                receipt_share_id=share.id,
                invoice_id=share.invoice_id if correction is None else correction,
                cause=None if correction is None else reasons.get(correction, ""),
            )
        )
    returned = {share.correction_id for share in shares}
    lines += [
        Line("adjustment", 0, one.number, invoice_id=one.invoice_id, cause=one.reason)
        for one in facts.corrections
        if one.invoice_id not in returned
    ]
    lines += [
        Line(
            "own_sale",
            -sold.incl_cents,
            sold.source_key,
            invoice_id=sold.invoice_id,
            own_sale_id=sold.own_sale_id,
        )
        for sold in facts.sold
    ]
    left = reckoning.offset_cents(facts)
    for invoice_id, number, cents in past_due:
        taken = min(cents, left)
        left -= taken
        if taken:
            lines.append(Line("offset", -taken, number, invoice_id=invoice_id))
    for kind, sign in (("hold", -1), ("release", 1)):
        for dispute_id, cents in await store.fetch_holds(
            connection, facts.client_id, kind == "release"
        ):
            lines.append(Line(kind, sign * cents, "", dispute_id=dispute_id))
    return lines


def _with_digest(made: Statement, rows: Sequence[Line]) -> Statement:
    """The statement with the digest of its lines, so that its own vouches for them too."""
    return replace(made, lines_sha256=lines_digest(rows))


def lines_digest(lines: Sequence[Line]) -> str:
    """SHA-256 of lines in their order, in hex."""
    told = [
        [each.kind, each.session_id, each.dispute_id, each.told, each.amount_cents, each.cause]
        for each in lines
    ]
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _columns(made: Statement, contract_id: int | None, now: datetime) -> dict[str, Any]:
    content = statement.to_json(made)
    return {
        "client_id": made.client_id,
        "month": made.month,
        "contract_id": contract_id,
        "opening_cents": made.opening_cents,
        "collected_cents": made.collected_cents,
        "uncollected_cents": made.uncollected_cents,
        "commission_cents": sum(one.incl_cents for one in made.commission),
        "fees_cents": sum(one.incl_cents for one in made.fees),
        "offset_cents": made.offset_cents,
        "adjustment_cents": sum(one.amount_cents for one in made.adjustments),
        "disputed_cents": made.disputed_cents,
        "net_cents": made.net_cents,
        "content": content,
        "sha256": hashlib.sha256(content.encode()).digest(),
        "closed_at": now,
    }


async def _note(
    pool: AsyncConnectionPool, client_id: int, month: date, stopped: Stopped, now: datetime
) -> None:
    async with transaction(pool) as connection:
        await problems.note(
            connection,
            stage=STAGE,
            subject=f"client {client_id} {month:%Y-%m}",
            client_id=client_id,
            month=month,
            session_id=None,
            cause=stopped.cause,
            message=stopped.message,
            remedy=stopped.remedy,
            now=now,
        )
