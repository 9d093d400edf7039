"""Late payment at work: what late payouts cost is booked and paid; what clients owe is listed.

A payout to a professional that the bank settled after its day is looked at once: interest and 40
EUR are booked out of the operator's own money and leave with the client's next payout; not where
the client's account was the reason. What late
clients owe of the operator's invoices is reckoned on demand and claimed by a person: it is booked
nowhere. A half year whose rate is not verified stops only what it concerns, and is listed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from billing import books, late_payment, ledger
from billing.late_payment import Interest, NoRate, Span
from billing.store import late_payment as store
from billing.store import problems
from billing.store.late_payment import LatePayoutRow, LegalRate, OwnInvoiceRow
from csms import deadlines
from csms.clients import Actor
from csms.registry import Conflict, Refusal
from csms.store import audit
from csms.store import clients as client_store

STAGE: Final = "late"


@dataclass(slots=True)
class Reckoned:
    """What a run found late; `stopped`: payouts whose rate is not verified."""

    payouts: int = 0
    interest_cents: int = 0
    indemnity_cents: int = 0
    stopped: dict[int, NoRate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a client owes because an invoice of the operator's was paid late; `stopped`: why there
    is no figure."""

    invoice_id: int
    number: str
    client_id: int
    client: str
    due_on: date  # or the later day for which the debit was announced (T5)
    until_on: date
    open_cents: int
    interest_cents: int
    indemnity_cents: int
    stopped: NoRate | None


async def reckon(
    connection: AsyncConnection, now: datetime, *, actor: Actor, dry_run: bool = False
) -> Reckoned:
    """Book what payouts cost that came late, each once, in a transaction of its own."""
    rates = await store.fetch_verified(connection)
    done = Reckoned()
    settled = await store.list_settled(connection)
    for payout_id, lines in groupby(settled, key=lambda row: row.payout_id):
        late = [row for row in lines if row.settled_on > deadlines.payout_date(row.month)]
        if not late:
            continue
        found = _interest(late, rates)
        if isinstance(found, NoRate):
            done.stopped[payout_id] = found
            if not dry_run:
                await _stop(connection, late[0], found, now)
            continue
        indemnity = late_payment.indemnity_cents(late[0].client_class)
        if not dry_run and not await _book(connection, late, found, indemnity, actor, now):
            continue
        done.payouts += 1
        done.interest_cents += found.cents
        done.indemnity_cents += indemnity
    return done


def _interest(lines: Sequence[LatePayoutRow], rates: Mapping[str, Decimal]) -> Interest | NoRate:
    """Of all that a payout paid late, each statement from its own day."""
    cents, spans = 0, list[Span]()
    for line in lines:
        found = late_payment.interest(
            line.amount_cents, deadlines.payout_date(line.month), line.settled_on, rates
        )
        if isinstance(found, NoRate):
            return found
        cents += found.cents
        spans += found.spans
    return Interest(cents, tuple(spans))


async def _book(
    connection: AsyncConnection,
    lines: Sequence[LatePayoutRow],
    found: Interest,
    indemnity: int,
    actor: Actor,
    now: datetime,
) -> bool:
    """Whether it was new."""
    first = lines[0]
    async with connection.transaction():
        await client_store.lock_client(connection, first.client_id)
        if await store.has_late(connection, first.payout_id):
            return False
        late_id = await store.insert_late(
            connection,
            {
                "client_id": first.client_id,
                "payout_id": first.payout_id,
                "month": first.month,
                "principal_cents": sum(line.amount_cents for line in lines),
                "paid_on": first.settled_on,
                "interest_cents": found.cents,
                "indemnity_cents": indemnity,
                "spans": Jsonb([_told(span) for span in found.spans]),
                "now": now,
                "actor": actor.name,
            },
        )
        entry = ledger.late_paid(
            late_id, first.client_id, found.cents + indemnity, deadlines.paris_day(now)
        )
        await books.post(connection, [entry], now)
        await problems.resolve(connection, STAGE, [_subject(first.payout_id)], now)
    return True


def _told(span: Span) -> dict[str, Any]:
    members = asdict(span) | {"days": span.days, "times": late_payment.TIMES}
    return {
        name: value if isinstance(value, int) else str(value) for name, value in members.items()
    }


async def _stop(
    connection: AsyncConnection, line: LatePayoutRow, why: NoRate, now: datetime
) -> None:
    async with connection.transaction():
        await problems.note(
            connection,
            stage=STAGE,
            subject=_subject(line.payout_id),
            client_id=line.client_id,
            month=line.month,
            session_id=None,
            cause="rate_not_verified",
            message=why.message,
            remedy=why.remedy,
            now=now,
        )


def _subject(payout_id: int) -> str:
    return f"payout {payout_id}"


def claim(row: OwnInvoiceRow, until_on: date, rates: Mapping[str, Decimal]) -> Claim | None:
    """What a client owes because it paid late, or has not paid by a day; None: nothing.

    A debit that was announced for a later day, because the payer has so many days of notice, is
    not late before it.
    """
    credits = [(date.fromisoformat(day), cents) for day, cents in row.credits]
    due_on = max(row.due_on, row.debit_on or row.due_on)
    found = late_payment.interest(row.billed_cents, due_on, until_on, rates, credits)
    if isinstance(found, Interest) and not found.spans:
        return None
    return Claim(
        invoice_id=row.invoice_id,
        number=row.number,
        client_id=row.client_id,
        client=row.client,
        due_on=due_on,
        until_on=until_on,
        open_cents=row.open_cents,
        interest_cents=0 if isinstance(found, NoRate) else found.cents,
        indemnity_cents=late_payment.indemnity_cents(row.client_class),
        stopped=found if isinstance(found, NoRate) else None,
    )


async def list_claims(connection: AsyncConnection, until_on: date) -> list[Claim]:
    """What clients owe because they paid late, or have not paid by a day."""
    rates = await store.fetch_verified(connection)
    rows = await store.list_own_late(connection, until_on)
    found = [claim(row, until_on, rates) for row in rows]
    return [each for each in found if each is not None]


async def verify_rate(
    connection: AsyncConnection,
    *,
    semester: str,
    particuliers: Decimal,
    autres: Decimal,
    decree: str,
    source: str,
    actor: Actor,
    now: datetime,
) -> LegalRate:
    """Enter what the decree of a half year says, read by a person. In the caller's transaction.

    Raises: Conflict for one that is verified already; Refusal for a half year that lies ahead.
    """
    if semester > late_payment.semester_of(deadlines.paris_day(now)):
        raise Refusal(f"{semester} has not begun: its rate is not known yet.", "semester")
    values = {
        "semester": semester,
        "particuliers": particuliers,
        "autres": autres,
        "decree": decree,
        "source": source,
        "now": now,
        "actor": actor.name,
    }
    if not await store.write_rate(connection, values):
        raise Conflict(f"The rate of {semester} is verified already, and stays.", "semester")
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        client_id=None,
        action="legal_rate.verified",
        subject=f"legal rate {semester}",
        detail={"particuliers": str(particuliers), "autres": str(autres), "decree": decree},
    )
    return LegalRate(semester, particuliers, autres, decree, source, now, actor.name)
