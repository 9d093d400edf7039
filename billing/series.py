"""Documents get their numbers, their rows and their entries in the books, in one transaction.

A series belongs to an issuer, a kind and a year; its row is held from before the first number is
taken until the commit, so that no number is lost and none is given twice. Its days never go back: a
document is dated at least like the one before it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final, NamedTuple

from psycopg import AsyncConnection

from billing import books, ledger
from billing.invoice import Document, DocumentLine, TypeCode, faults, to_json
from billing.store import issuing as store
from billing.store.issuing import NewInvoice, NewLine, Series
from csms import deadlines
from csms.registry import Conflict

DIGITS: Final = 6
_LETTER: Final = {"invoice": "F", "credit": "A"}  # facture, avoir


class Faulty(Conflict):
    """A document that is not right by our own recomputation: it is neither issued nor shown."""

    def __init__(self, subject: str, sentences: Sequence[str]) -> None:
        super().__init__(f"The document {subject} is not right: {' '.join(sentences)}")
        self.sentences = tuple(sentences)


class Supplied(NamedTuple):
    """What a document to a co-owner does to the books: the parts of a bill without VAT; or of an
    advance what is asked of him, what he had paid, and the VAT in that (see
    `ledger.advance_invoiced`)."""

    energy_excl_cents: int = 0
    telemetering_excl_cents: int = 0
    asked_cents: int = 0
    paid_cents: int = 0
    paid_vat_cents: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """A document that waits for its number, with what its row and its entry need."""

    document: Document
    issuer: str  # client | operator
    client_id: int
    person_id: int | None
    month: date
    source_key: str
    lines: tuple[NewLine, ...]
    effect_cents: int  # on what the buyer owes
    effect_vat_cents: int
    original_id: int | None = None
    commission_excl_cents: int = 0  # of the operator's effect: its part that is commission
    supply: Supplied | None = None  # of the operator's: to a co-owner


class Written(NamedTuple):
    """A document as it was issued."""

    id: int
    document: Document
    draft: Draft


class Opened(NamedTuple):
    """A series that this transaction holds, and the day of what it issues."""

    series: Series
    issued_on: date


async def opened(
    connection: AsyncConnection, client_id: int | None, kind: str, now: datetime
) -> Opened:
    """Hold the series of an issuer (None: the operator) for documents of this day, in Paris; kind:
    invoice, or credit."""
    today = deadlines.paris_day(now)
    issuer = "T2P" if client_id is None else f"C{client_id:05}"
    prefix = f"{issuer}-{_LETTER[kind]}-{today.year}-"
    series = await store.hold_series(connection, client_id, kind, today.year, prefix)
    return Opened(series, max(today, series.last_issued_on or today))


async def write(
    connection: AsyncConnection, opened: Opened, drafts: Sequence[Draft], now: datetime
) -> tuple[list[Written], list[tuple[Draft, Faulty]]]:
    """Number, check and keep documents of one issuer in their order, with their entries in the
    books. Those that are faulty take no number and are given back with what is wrong."""
    series = opened.series
    sequence = series.last_number
    rows: list[NewInvoice] = []
    numbered: list[Document] = []
    kept: list[Draft] = []
    refused: list[tuple[Draft, Faulty]] = []
    for draft in drafts:
        number = f"{series.prefix}{sequence + 1:0{DIGITS}}"
        document = replace(draft.document, number=number)
        wrong = faults(document)
        if wrong:
            refused.append((draft, Faulty(draft.source_key, wrong)))
            continue
        sequence += 1
        kept.append(draft)
        numbered.append(document)
        rows.append(_row(draft, document, series, sequence, now))
    if not rows:
        return [], refused
    ids = await store.insert_invoices(connection, rows)
    lines = [
        (ids[row.number], line)
        for row, draft in zip(rows, kept, strict=True)
        for line in draft.lines
    ]
    await store.insert_lines(connection, rows[0].client_id, lines)
    await store.advance_series(connection, series.id, sequence)
    written = [
        Written(ids[document.number], document, draft)
        for document, draft in zip(numbered, kept, strict=True)
    ]
    entries = [_entry(each) for each in written]
    # What a bill of nothing moves between incomes is booked too.
    await books.post(connection, [each for each in entries if each.postings], now)
    return written, refused


async def write_one(
    connection: AsyncConnection, opened: Opened, draft: Draft, now: datetime
) -> Written:
    """One document. Raises: Faulty."""
    written, refused = await write(connection, opened, [draft], now)
    if refused:
        raise refused[0][1]
    return written[0]


def _row(
    draft: Draft, document: Document, series: Series, sequence: int, now: datetime
) -> NewInvoice:
    content = to_json(document)
    return NewInvoice(
        issuer=draft.issuer,
        client_id=draft.client_id,
        person_id=draft.person_id,
        series_id=series.id,
        sequence=sequence,
        number=document.number,
        type_code=int(document.type_code),
        vat_case=document.vat_case.value,
        to_consumer=document.buyer.is_consumer,
        month=draft.month,
        issued_on=document.issued_on,
        due_on=document.due_on,
        amount_excl_cents=document.net_cents,
        vat_cents=document.vat_cents,
        amount_incl_cents=document.gross_cents,
        effect_cents=draft.effect_cents,
        effect_vat_cents=draft.effect_vat_cents,
        original_id=draft.original_id,
        reason=document.reason or None,
        source_key=draft.source_key,
        content=content,
        content_sha256=hashlib.sha256(content.encode()).digest(),
        created_at=now,
    )


def _entry(written: Written) -> ledger.Entry:
    """What the document does to the books, on its day."""
    draft, document = written.draft, written.document
    if draft.issuer == "client":
        return ledger.invoice_issued(
            draft.client_id, written.id, document.number, draft.effect_cents, document.issued_on
        )
    if draft.supply is not None:
        return _supply_entry(written, draft.supply)
    fees = draft.effect_cents - draft.effect_vat_cents - draft.commission_excl_cents
    return ledger.own_invoice(
        written.id,
        document.number,
        draft.client_id,
        draft.commission_excl_cents,
        fees,
        draft.effect_vat_cents,
        document.issued_on,
    )


def _supply_entry(written: Written, supplied: Supplied) -> ledger.Entry:
    draft, document = written.draft, written.document
    assert draft.person_id is not None
    owner = draft.client_id, draft.person_id
    if supplied.asked_cents or supplied.paid_cents:
        return ledger.advance_invoiced(
            written.id,
            document.number,
            owner,
            supplied.asked_cents,
            supplied.paid_cents,
            supplied.paid_vat_cents,
            document.issued_on,
        )
    return ledger.supply_invoice(
        written.id,
        document.number,
        owner,
        supplied.energy_excl_cents,
        supplied.telemetering_excl_cents,
        draft.effect_vat_cents,
        document.issued_on,
    )


def plain_effect(document: Document) -> tuple[int, int]:
    """What a document by itself does to what its buyer owes, and the VAT in it: a credit note
    lessens it."""
    sign = -1 if document.type_code is TypeCode.CREDIT_NOTE else 1
    return sign * document.gross_cents, sign * document.vat_cents


def row_of(lines: Sequence[DocumentLine], position: int, *, is_original: bool) -> NewLine:
    """The row of one session, or one sale, whose lines begin at a position."""
    return NewLine(
        position=position,
        session_id=lines[0].session_id,
        own_sale_id=lines[0].own_sale_id,
        is_original=is_original,
        amount_excl_cents=sum(line.net_cents for line in lines),
        vat_cents=sum(line.vat_cents for line in lines),
        amount_incl_cents=sum(line.gross_cents for line in lines),
    )
