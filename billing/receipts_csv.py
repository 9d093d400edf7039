"""Receipts from a CSV file, as a bank's list or an accountant's sheet gives them.

The columns are `source_key;person;invoice;amount;date;means;reverses` (the French names in
`LAYOUT` will do), separated by semicolons or commas, in UTF-8 or the Windows-1252 of spreadsheets:

- source_key: the reference of the bank's line, each once; the same line again enters nothing;
- person: e-mail address or number of the driver; may be empty where an invoice or `reverses` is;
- invoice: its number; empty: her oldest ones are paid;
- amount: euros with a decimal comma or point, `1 234,56`; below 0 with `reverses`;
- date: 22/11/2026 or 2026-11-22, the value date;
- means: transfer, direct_debit, card, wallet or other, or in French (virement, prélèvement, carte,
  avance, autre); empty: transfer;
- reverses: the key of the receipt that this one undoes, whole.

Each line is entered by itself: a bad one stops nothing but itself, and is reported.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import receipts
from billing.csv_lines import BadLine, Layout, parse_amount, parse_day
from billing.receipts import Received
from billing.store import receipts as store
from csms.clients import Actor
from csms.db import transaction
from csms.provisioning.reading import Record
from csms.registry import NotThere, Refusal

LAYOUT: Final = Layout(
    columns=("source_key", "person", "invoice", "amount", "date", "means", "reverses"),
    required=("source_key", "amount", "date"),
    names={
        "référence": "source_key",
        "reference": "source_key",
        "conducteur": "person",
        "facture": "invoice",
        "montant": "amount",
        "moyen": "means",
        "annule": "reverses",
    },
    remedies={
        "source_key": "give each line the reference that the bank gave it, once",
        "person": "write the e-mail address or the number of a driver who is registered",
        "invoice": "write the number of an invoice as it is printed, or leave it empty",
        "amount": "write euros, as 12,34; below 0 only with the key that it reverses",
        "date": "write a day that has come, as 22/11/2026 or 2026-11-22",
        "means": "write transfer, direct_debit, card, wallet or other",
        "reverses": "write the key of a receipt that was entered and not undone yet",
    },
    column_of={
        "person_id": "person",
        "invoice_number": "invoice",
        "amount_cents": "amount",
        "received_on": "date",
        "reverses_key": "reverses",
    },
)
_MEANS: Final = {name: name for name in receipts.MEANS} | {
    "virement": "transfer",
    "prélèvement": "direct_debit",
    "prelevement": "direct_debit",
    "carte": "card",
    "avance": "wallet",
    "autre": "other",
    "": "transfer",
}


@dataclass(slots=True)
class ImportReport:
    """What became of a file. Cents are of the new lines: in and out."""

    new: int = 0
    known: int = 0
    in_cents: int = 0
    out_cents: int = 0
    problems: list[BadLine] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line as it reads; None: an empty cell."""

    source_key: str
    person: int | str | None
    invoice: str | None
    amount_cents: int
    received_on: date
    means: str
    reverses: str | None


async def import_receipts(
    pool: AsyncConnectionPool,
    data: bytes,
    *,
    actor: Actor,
    now: datetime,
    simulated: bool = False,
    progress: Callable[[int, int], None] = lambda done, all_lines: None,
) -> ImportReport:
    """Enter the lines of a file, each in a transaction of its own: cut off, it goes on by being
    imported again."""
    report = ImportReport()
    records, report.problems = LAYOUT.read(data)
    for done, record in enumerate(records, start=1):
        try:
            line = _parse(record)
            async with transaction(pool) as connection:
                entered = await _enter(connection, line, actor, now, simulated)
        except Refusal as refusal:
            report.problems.append(LAYOUT.bad(record.line, refusal))
        else:
            _count(report, entered)
        progress(done, len(records))
    async with transaction(pool) as connection:
        await receipts.settle_wallets(connection, now)
    report.problems.sort(key=lambda problem: problem.line)
    return report


async def _enter(
    connection: AsyncConnection, line: _Line, actor: Actor, now: datetime, simulated: bool
) -> Received:
    """Raises: Refusal."""
    person_id = None
    if line.person is not None:
        person_id = await store.find_driver(connection, line.person)
        if person_id is None:
            raise NotThere(f"there is no driver {line.person}", "person")
    return await receipts.receive(
        connection,
        source_key=line.source_key,
        amount_cents=line.amount_cents,
        received_on=line.received_on,
        means=line.means,
        person_id=person_id,
        invoice_number=line.invoice,
        reverses_key=line.reverses,
        simulated=simulated,
        actor=actor,
        now=now,
    )


def _count(report: ImportReport, entered: Received) -> None:
    if not entered.is_new:
        report.known += 1
        return
    report.new += 1
    report.in_cents += max(0, entered.receipt.amount_cents)
    report.out_cents += max(0, -entered.receipt.amount_cents)


def _parse(record: Record) -> _Line:
    """Raises: Refusal with the column."""
    means = _MEANS.get(record["means"].lower())
    if means is None:
        raise Refusal(f"{record['means'][:60]} is no means of payment", "means")
    person = record["person"]
    return _Line(
        source_key=record["source_key"],
        person=int(person) if _is_number(person) else person or None,
        invoice=record["invoice"] or None,
        amount_cents=parse_amount(record["amount"]),
        received_on=parse_day(record["date"]),
        means=means,
        reverses=record["reverses"] or None,
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19
