"""Invoices of charging, in the name of clients: from priced sessions to numbered documents.

Only sessions of a day on which the mandate was in force are invoiced (C23). The terms of that day
say whether each use has an invoice or each driver and month; the latter waits for the month's end,
in Paris. Sessions of one driver under two VAT cases are on two documents, under two rates on lines
of each rate. A document of nothing in all is not issued: what costs nothing waits for an invoice of
the same driver and month that costs something.

Each batch of drivers is one transaction: series, documents, lines, books, wallets. A run that is
killed leaves whole batches; the next run goes on with what is on no invoice.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from billing import documents, parties, receipts, series
from billing.documents import MentionMissing
from billing.invoice import DocumentLine, Party, TypeCode, VatCase
from billing.parties import Lack
from billing.series import Draft, Faulty, row_of
from billing.store import issuing as store
from billing.store import problems
from billing.store.issuing import DriverRow, PendingSession
from billing.tariff import describe, parse
from csms import contracts, deadlines
from csms.config import Settings
from csms.domain.contract import Contract, mandated
from csms.domain.values import add_months
from csms.registry import NotThere
from csms.store import clients as client_store
from csms.store import contracts as contract_store
from csms.store.clients import ClientRecord, Vat

Done = TypeVar("Done")

BATCH_PERSONS: Final = 100
ATTEMPTS_MAX: Final = 5
LINES_MAX: Final = 160  # of a document: each is off by 0.61 cents at most, all by less than a euro
PER_USE: Final = "per_use"
STAGE: Final = "issue"


@dataclass(slots=True)
class Issued:
    """What a run did."""

    documents: int = 0
    sessions: int = 0
    gross_cents: int = 0
    lacks: list[Lack] = field(default_factory=list)  # what was kept back, each once
    notes: list[str] = field(default_factory=list)  # what somebody may want to look at

    def add(self, other: "Issued") -> None:
        """Count another run in."""
        self.documents += other.documents
        self.sessions += other.sessions
        self.gross_cents += other.gross_cents
        self.lacks += [lack for lack in other.lacks if lack not in self.lacks]
        self.notes += [note for note in other.notes if note not in self.notes]


class _Key(NamedTuple):
    """Sessions with the same key are on one document."""

    person_id: int
    vat_case: str
    session_id: int  # 0: all of the month


@dataclass(frozen=True, slots=True)
class _World:
    """All that a client's documents are made from."""

    client: ClientRecord
    statuses: Sequence[Vat]
    contracts: Sequence[tuple[int, Contract]]
    periods: Sequence[store.Period]
    operator: Party
    texts: documents.Mentions
    drivers: dict[int, DriverRow]
    tariffs: dict[tuple[int, str, bool], tuple[str, ...]]  # by version, language, without VAT
    issued_on: date
    month: date
    settings: Settings


async def issue(
    connection: AsyncConnection,
    client_id: int,
    month: date,
    now: datetime,
    *,
    settings: Settings,
    dry_run: bool = False,
) -> Issued:
    """Issue what a client's drivers are due for a month (its first day), each batch of them in a
    transaction of its own; within one of the caller's where there is one. What is kept back is
    noted with its cause and remedy, and resolved by the run that finds it mended.

    dry_run: do all of it and take it back.

    Raises: NotThere; Conflict while the settings do not say who the operator is.
    """
    operator = parties.operator_party(settings)
    total = Issued()
    after = 0
    while True:
        part, last = await _retried(
            connection,
            partial(
                _batch,
                connection,
                client_id,
                month,
                after,
                operator,
                settings,
                now,
                total,
                dry_run=dry_run,
            ),
        )
        total.add(part)
        if last is None:
            return total
        after = last


async def _retried(connection: AsyncConnection, work: Callable[[], Awaitable[Done]]) -> Done:
    """Do a transaction again that fell to another one, each waiting for what the other held; within
    one of the caller's it cannot be."""
    is_own = connection.info.transaction_status == TransactionStatus.IDLE
    for _ in range(ATTEMPTS_MAX - 1 if is_own else 0):
        try:
            return await work()
        except psycopg.errors.DeadlockDetected:
            continue
    return await work()


async def _batch(
    connection: AsyncConnection,
    client_id: int,
    month: date,
    after: int,
    operator: Party,
    settings: Settings,
    now: datetime,
    so_far: Issued,
    *,
    dry_run: bool,
) -> tuple[Issued, int | None]:
    """One transaction: documents of the drivers after one; what was issued, and the last of them
    where more may follow. The last batch notes what all of them kept back."""
    part = Issued()
    async with connection.transaction() as transaction:
        client = await client_store.lock_client(connection, client_id)
        if client is None:
            raise NotThere(f"There is no client {client_id}.")
        persons = await store.fetch_pending_persons(
            connection, client_id, month, deadlines.paris_day(now), after, BATCH_PERSONS
        )
        if persons:
            part = await _issue_batch(connection, client, month, persons, operator, settings, now)
        more = len(persons) == BATCH_PERSONS
        if not more:
            lacks = [*so_far.lacks, *(lack for lack in part.lacks if lack not in so_far.lacks)]
            prefix = f"client {client_id} {month:%Y-%m}"
            await note_lacks(connection, prefix, client_id, month, lacks, now)
        if dry_run:
            raise psycopg.Rollback(transaction)
    return part, persons[-1] if more else None


async def _issue_batch(
    connection: AsyncConnection,
    client: ClientRecord,
    month: date,
    persons: Sequence[int],
    operator: Party,
    settings: Settings,
    now: datetime,
) -> Issued:
    """Documents of some drivers, in the caller's transaction, which holds the client's row."""
    today = deadlines.paris_day(now)  # nothing is invoiced before its day of supply
    pending = await store.fetch_pending(connection, client.id, month, today, persons)
    opened = await series.opened(connection, client.id, "invoice", now)
    world = await _world(connection, client, month, pending, operator, settings, opened.issued_on)
    found = Issued()
    drafts = []
    for key, sessions in _grouped(world, pending, deadlines.paris_day(now), found).items():
        for part in _parted(sessions):
            made = _draft(world, key, part)
            if isinstance(made, Draft):
                drafts.append(made)
            elif made is not None:
                _keep_back(found, made)
    advance = await store.fetch_advances(connection, persons)
    drafts = [_paid(draft, advance) for draft in drafts]
    written, refused = await series.write(connection, opened, drafts, now)
    for draft, faulty in refused:
        _keep_back(found, _lack_of_faulty(draft, faulty))
    buyers = sorted({each.draft.person_id for each in written if each.draft.person_id})
    await receipts.apply_wallets(connection, buyers, now)
    for each in written:
        found.documents += 1
        found.sessions += len(each.draft.lines)
        found.gross_cents += each.document.gross_cents
    found.notes += [
        f"Driver {person_id} gave a company without SIREN and was invoiced as a consumer."
        for person_id in buyers
        if parties.is_doubtful(world.drivers[person_id])
    ]
    return found


def _paid(draft: Draft, advance: dict[int, int]) -> Draft:
    """The document with what its buyer has paid in advance, which pays it at once; `advance` is
    brought up to date. A wallet holds something only when nothing older is owed."""
    assert draft.person_id is not None
    paid = min(advance.get(draft.person_id, 0), draft.document.gross_cents)
    if paid <= 0:
        return draft
    advance[draft.person_id] -= paid
    return replace(draft, document=replace(draft.document, paid_cents=paid))


def _keep_back(found: Issued, lack: Lack) -> None:
    if lack not in found.lacks:
        found.lacks.append(lack)


async def _world(
    connection: AsyncConnection,
    client: ClientRecord,
    month: date,
    pending: Sequence[PendingSession],
    operator: Party,
    settings: Settings,
    issued_on: date,
) -> _World:
    versions = sorted({session.tariff_version_id for session in pending})
    contents = await store.fetch_tariff_contents(connection, versions)
    rows = await contract_store.fetch_contracts(connection, client_id=client.id)
    persons = sorted({session.person_id for session in pending})
    return _World(
        client=client,
        statuses=await client_store.list_vat(connection, client.id),
        contracts=[(row.id, contracts.core_of(row)) for row in rows],
        periods=await store.fetch_periods(connection, client.id),
        operator=operator,
        texts=await store.fetch_mentions(connection, issued_on),
        drivers=await store.fetch_drivers(connection, persons),
        tariffs={
            (version, language, vat_free): tuple(describe(tariff, language, vat_free=vat_free))
            for version, tariff in ((each, parse(contents[each])) for each in contents)
            for language in ("fr", "en")
            for vat_free in (False, True)
        },
        issued_on=issued_on,
        month=month,
        settings=settings,
    )


def _grouped(
    world: _World, pending: Sequence[PendingSession], today: date, found: Issued
) -> dict[_Key, list[PendingSession]]:
    """Sessions by document, in the order of their documents; those that wait are left out."""
    month_is_over = today >= add_months(world.month, 1)
    groups: dict[_Key, list[PendingSession]] = {}
    without_mandate = Counter[date]()
    governing: dict[date, int | None] = {}
    for session in pending:
        day = session.supplied_on
        if day not in governing:
            governing[day] = _mandate_on(world, day)
        contract_id = governing[day]
        if contract_id is None:
            without_mandate[day] += 1
            continue
        per_use = _invoicing(world, contract_id, day) == PER_USE
        if per_use or month_is_over:
            own = session.session_id if per_use else 0
            groups.setdefault(_Key(session.person_id, session.vat_case, own), []).append(session)
    if without_mandate:
        _keep_back(found, _lack_of_mandate(world.client, without_mandate))
    return groups


def _parted(sessions: Sequence[PendingSession]) -> Iterator[Sequence[PendingSession]]:
    """Sessions of one document, in as many as keep the cents of VAT, rounded line by line, within
    what the standard allows for a whole document."""
    first = lines = 0
    for place, session in enumerate(sessions):
        own = max(1, len(session.lines))
        if lines + own > LINES_MAX and place > first:
            yield sessions[first:place]
            first, lines = place, 0
        lines += own
    yield sessions[first:]


def _mandate_on(world: _World, day: date) -> int | None:
    """The contract whose mandate was in force on a day; None: there was none."""
    for contract_id, contract in world.contracts:
        if mandated(contract, day):
            return contract_id
    return None


def _invoicing(world: _World, contract_id: int, day: date) -> str:
    """How often drivers get an invoice, by the terms of the day."""
    for period in world.periods:
        if (
            period.contract_id == contract_id
            and period.from_on <= day
            and (period.to_on is None or day < period.to_on)
        ):
            return period.invoicing
    return "per_driver_month"


def _lack_of_mandate(client: ClientRecord, days: Counter[date]) -> Lack:
    return Lack(
        "no_mandate",
        f"Client {client.name}: {sum(days.values())} sessions from {min(days)} to {max(days)} "
        "ended on days without a mandate in force.",
        "Enter the mandate's first day, or leave them: they are not ours to invoice.",
    )


def _lack_of_faulty(draft: Draft, faulty: Faulty) -> Lack:
    return Lack(
        "faulty_document",
        f"The document of {draft.source_key} is not right: {' '.join(faulty.sentences)}",
        "Put its source right where it is wrong; else this is a fault of the software: report it.",
        draft.source_key,
    )


def _draft(world: _World, key: _Key, sessions: Sequence[PendingSession]) -> Draft | Lack | None:
    """One document; what keeps it back; None for one of nothing in all."""
    if sum(session.amount_incl_cents for session in sessions) == 0:
        return None
    case = VatCase(key.vat_case)
    first, last = sessions[0].supplied_on, sessions[-1].supplied_on
    seller = parties.client_party(world.client, world.statuses, last, case)
    if isinstance(seller, Lack):
        return seller
    driver = world.drivers[key.person_id]
    buyer = parties.driver_party(driver)
    if isinstance(buyer, Lack):
        return buyer
    lines: list[DocumentLine] = []
    rows = []
    for session in sessions:
        told = (session.tariff_version_id, driver.language, case is not VatCase.REDEVABLE)
        tariff = world.tariffs[told]
        own = documents.lines_of(session, driver.language, tariff)
        rows.append(row_of(own, len(lines) + 1, is_original=True))
        lines += own
    try:
        document = documents.compose(
            type_code=TypeCode.INVOICE,
            issued_on=world.issued_on,
            due_on=world.issued_on + timedelta(days=world.settings.invoice_due_days),
            supplied=(first, last),
            vat_case=case,
            is_goods=True,
            seller=seller,
            buyer=buyer,
            invoicer=world.operator,
            lines=lines,
            texts=world.texts,
            language=driver.language,
            is_simulated=world.settings.billing_simulated,
        )
    except MentionMissing as missing:
        return lack_of_mention(missing)
    effect, effect_vat = series.plain_effect(document)
    return Draft(
        document=document,
        issuer="client",
        client_id=world.client.id,
        person_id=key.person_id,
        month=world.month,
        source_key=f"sessions:{min(session.session_id for session in sessions)}",
        lines=tuple(rows),
        effect_cents=effect,
        effect_vat_cents=effect_vat,
    )


def lack_of_mention(missing: MentionMissing) -> Lack:
    """A text that has run out, and what to do."""
    return Lack(
        "mention_missing",
        f"No wording of the mention {missing.code} ({missing.language}) is in force on "
        f"{missing.day}.",
        "Enter the wording that the law wants now (POST /api/v1/billing/mentions).",
    )


async def note_lacks(
    connection: AsyncConnection,
    prefix: str,
    client_id: int,
    month: date,
    lacks: Sequence[Lack],
    now: datetime,
) -> None:
    """Write down what keeps invoices back, under subjects that begin with `prefix`; what stood
    there and is not among it any more is mended."""
    subjects = [f"{prefix} {lack.cause} {lack.about}".rstrip() for lack in lacks]
    for subject, lack in zip(subjects, lacks, strict=True):
        await problems.note(
            connection,
            stage=STAGE,
            subject=subject,
            client_id=client_id,
            month=month,
            session_id=None,
            cause=lack.cause,
            message=lack.message,
            remedy=lack.remedy,
            now=now,
        )
    await problems.resolve_others(connection, STAGE, f"{prefix} ", subjects, now)
