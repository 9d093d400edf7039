"""What is due when: statements, contests, payouts, files for the bank, debits, letters.

Every day is from csms.deadlines or from the row that it concerns. What is past and not done stays
on the list, as late, until it is done.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal

from psycopg import AsyncConnection

from billing import statement_state, supplying
from billing.statement_state import History
from billing.store import agenda as store
from billing.store import lots as lot_store
from billing.store import orders as order_store
from billing.store import payment_files as file_store
from billing.store import payouts as payout_store
from billing.store import sending as sending_store
from billing.store.agenda import DayRow
from billing.store.payment_files import FileRow
from csms import contracts, deadlines
from csms.config import Settings
from csms.deadlines import Reading

Kind = Literal[
    "statements_target",
    "statements",
    "statements_final",
    "invoices_presumed_accepted",
    "payouts",
    "payouts_to_settle",
    "file_to_approve",
    "file_to_hand_out",
    "debits",
    "own_invoices",
    "supply_bills",
    "refunds",
    "letter",
]
FILES_MAX: Final = 1_000
REFUNDS_MAX: Final = 10_000
DAYS_MAX: Final = 750  # that a calendar may span
CONTEST_DAYS_MAX: Final = 31  # from when an invoice lies open to the end of its contest, and more


@dataclass(frozen=True, slots=True)
class Item:
    """Something that falls on a day. `number` of what, or None where nobody can know yet;
    `amount_cents` where it is money. `detail`: a month, a file's or a contract's name. `is_late`:
    the day is over and it was to be done by then."""

    day: date
    kind: Kind
    detail: str
    number: int | None
    amount_cents: int | None
    is_late: bool


async def calendar(
    connection: AsyncConnection,
    from_on: date,
    to_on: date,
    now: datetime,
    *,
    settings: Settings,
) -> list[Item]:
    """All that falls on the days from `from_on` to `to_on`, both included, and what is late; by
    day."""
    today = deadlines.paris_day(now)
    found: list[Item] = []
    month = deadlines.add_months(from_on.replace(day=1), -1)
    while month <= to_on:
        found += await _month(connection, month, today)
        month = deadlines.add_months(month, 1)
    found += await _contests(connection, from_on)
    found += [
        item
        for file in await file_store.list_files(connection, is_open=True, limit=FILES_MAX)
        for item in _file(file, today)
    ]
    for kind, rows in (
        ("payouts_to_settle", await store.sum_payouts(connection, to_on)),
        ("debits", await store.sum_debits(connection, to_on)),
        ("own_invoices", await store.sum_own_dues(connection, to_on)),
        ("refunds", await _refunds(connection, settings)),
    ):
        found += list(_days(kind, rows, today))
    for contract, milestone in await contracts.calendar(connection, from_on, to_on):
        if milestone.kind == "letter_until":
            found.append(
                Item(milestone.on, "letter", contract.devis_reference, 1, None, is_late=False)
            )
    kept = [item for item in found if item.day <= to_on and (item.day >= from_on or item.is_late)]
    return sorted(kept, key=lambda item: (item.day, item.kind, item.detail))


async def _month(connection: AsyncConnection, month: date, today: date) -> list[Item]:
    """Statements and payouts of a month of service."""
    name = f"{month:%Y-%m}"
    billed_from = deadlines.add_months(month, 1)
    has_ended = today >= billed_from
    unbilled = await lot_store.count_unbilled(connection, month) if has_ended else None
    missing = len(await sending_store.list_late(connection, month)) if has_ended else None
    target, last = deadlines.statement_target(month), deadlines.statement_deadline(month)
    due_on = deadlines.payout_date(month)
    dues = await payout_store.fetch_dues(connection, None, month) if has_ended else []
    dues = [due for due in dues if due.month == month]
    return [
        Item(target, "statements_target", name, missing, None, is_late=False),
        Item(last, "statements", name, missing, None, is_late=bool(missing) and today > last),
        Item(
            due_on,
            "payouts",
            name,
            len({due.client_id for due in dues}) if has_ended else None,
            sum(due.due_cents for due in dues) if has_ended else None,
            is_late=bool(dues) and today > due_on,
        ),
        *(
            [Item(billed_from, "supply_bills", name, unbilled, None, is_late=today > last)]
            if unbilled
            else []
        ),
    ]


async def _refunds(connection: AsyncConnection, settings: Settings) -> list[DayRow]:
    """What clients and co-owners are to be given back from the operator's own account, by day."""
    due: dict[date, list[int]] = {}
    for row in await order_store.list_refunds(connection, limit=REFUNDS_MAX):
        due.setdefault(row.due_on, []).append(row.amount_cents)
    for each in await supplying.list_refunds(connection, settings):
        due.setdefault(each.due_on, []).append(each.amount_cents)
    return [DayRow(day, len(cents), sum(cents)) for day, cents in sorted(due.items())]


async def _contests(connection: AsyncConnection, from_on: date) -> list[Item]:
    """When statements become final, and invoices are presumed accepted: the latest readings."""
    ends: dict[date, int] = {}
    for row in await sending_store.list_running(connection):
        last = statement_state.open_until(
            History(row.sent_at, row.delivered_at, None, row.disputes_open)
        )
        if last is not None:
            ends[last] = ends.get(last, 0) + 1
    found = [
        Item(day, "statements_final", "", number, None, is_late=False)
        for day, number in ends.items()
    ]
    since = from_on - timedelta(days=CONTEST_DAYS_MAX)
    for invoices in await store.sum_contestable(connection, since):
        day = deadlines.invoice_contest_end(invoices.available_on, reading=Reading.LATEST)
        found.append(
            Item(
                day,
                "invoices_presumed_accepted",
                "",
                invoices.number,
                invoices.amount_cents,
                is_late=False,
            )
        )
    return found


def _file(file: FileRow, today: date) -> Iterator[Item]:
    """What a payment file waits for. Its own day is the bank's: it is late from that day on."""
    kind: Kind = "file_to_approve" if file.approved_at is None else "file_to_hand_out"
    yield Item(
        file.execution_on,
        kind,
        file.message_id,
        file.payments,
        file.total_cents,
        is_late=today >= file.execution_on,
    )


def _days(kind: str, rows: Sequence[DayRow], today: date) -> Iterator[Item]:
    for row in rows:
        yield Item(row.day, kind, "", row.number, row.amount_cents, is_late=row.day < today)  # type: ignore[arg-type]  # the callers name kinds
