"""A statement on its page: the one number, what leads to it, each session; and its files.

To open it proves that it has reached its reader: the ten days to contest it run from then, unless
the mail was delivered before.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from billing import statement, statement_files
from billing.statement import Statement
from billing.statement_files import FORMATS, MEDIA_TYPES, Format
from billing.statement_lines import session_line, user
from billing.statement_summary import calculation, net_label
from billing.store import managing, payouts
from billing.store.managing import LineRow
from billing.store.payouts import StatementPaymentRow
from csms import deadlines
from csms.clients import masked
from csms.db import transaction
from csms.points import label_of
from csms.principals import Principal
from csms.web.fields import Identifier
from csms.web.manager_frame import (
    Shown,
    choose_client,
    manager_of,
    manager_page,
    missing,
    reading,
)
from csms.web.manager_standing import standing_of
from csms.web.manager_texts import MANAGER_TEXTS
from csms.web.rendering import language_of, sent_to

router = APIRouter(include_in_schema=False, default_response_class=Response)

LINES_SHOWN: Final = 50


@router.get("/gestion/releves/{statement_id}")
async def show_statement(
    request: Request, statement_id: Identifier, page: str = "1", done: str = "", line: str = ""
) -> Response:
    """The statement, and a page of its sessions."""
    me = manager_of(request)
    if me is None:
        return sent_to(f"/login?next=/gestion/releves/{statement_id}")
    words = MANAGER_TEXTS[language_of(request)]
    said = ""
    if done in ("contested", "withdrawn") and line.isascii() and line.isdigit() and len(line) < 10:
        async with reading(request, me) as connection:
            ended = await managing.find_line_dispute(connection, statement_id, int(line))
        if ended == {"contested": "open", "withdrawn": "withdrawn"}[done]:
            said = words[f"said_{done}"].format(number=line)
    number = int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 1
    await _note_opened(request, me, statement_id)
    return await statement_page(request, me, statement_id, max(1, number), done=said)


@router.get("/gestion/releves/{statement_id}/fichier.{format}")
async def download(request: Request, statement_id: Identifier, format: str) -> Response:
    """The statement as a file: the one that was kept, where one was."""
    me = manager_of(request)
    if me is None:
        return sent_to(f"/login?next=/gestion/releves/{statement_id}")
    if format not in FORMATS:
        return missing(request)
    kind: Format = format
    language: statement_files.Language = "en" if language_of(request) == "en" else "fr"
    now = datetime.now(UTC)
    async with reading(request, me) as connection:
        found = await managing.list_statements(connection, statement_id=statement_id)
        if not found:
            return missing(request)
        made = await managing.get_file(connection, statement_id, format, language)
        rows: list[LineRow] = []
        if made is None:
            total = await managing.count_lines(connection, statement_id)
            rows = await managing.list_lines(connection, statement_id, limit=total)
    told = statement.from_json(found[0].content)
    if made is None:
        made = await asyncio.to_thread(
            statement_files.render,
            told,
            [session_line(row, language) for row in rows],
            kind,
            language,
            contest_until=standing_of(found[0], now).contest_until,
            simulated=told.is_simulated,
        )
    name = statement_files.file_name(told, kind, language)
    return Response(
        made,
        media_type=MEDIA_TYPES[kind],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


# --- What they share ------------------------------------------------------------------------------


async def _note_opened(request: Request, me: Principal, statement_id: int) -> None:
    """It has reached her: she opens it, and it is hers to see."""
    async with reading(request, me) as connection:
        if not await managing.list_statements(connection, statement_id=statement_id):
            return
    assert me.person_id is not None
    async with transaction(request.app.state.pool) as connection:
        await managing.note_opened(connection, statement_id, me.person_id, datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A session on the statement, with the last dispute about it."""

    id: int
    position: int
    point: str
    site: str
    user: str
    started_at: datetime
    ended_at: datetime
    energy_wh: int
    amount_cents: int
    collected_cents: int
    invoice_id: int | None
    invoice_number: str
    is_estimated: bool
    is_late: bool
    dispute_id: int | None
    opened_at: datetime | None
    reason: str | None
    decided_at: datetime | None
    decision: str | None
    decision_reason: str | None

    @property
    def is_open(self) -> bool:
        """Whether it is contested and not decided."""
        return self.dispute_id is not None and self.decided_at is None


async def statement_page(
    request: Request,
    me: Principal,
    statement_id: int,
    number: int,
    *,
    done: str = "",
    status: int = 200,
    at_fault: int | None = None,
    error: str = "",
    given: str = "",
) -> Response:
    """Page `number` of the statement; `error`: why the line `at_fault` was not contested, for the
    reason `given`."""
    async with reading(request, me) as connection:
        found = await managing.list_statements(connection, statement_id=statement_id)
        if not found:
            return missing(request)
        clients, client = await choose_client(connection, str(found[0].client_id))
        total = await managing.count_lines(connection, statement_id)
        number = min(number, max(1, -(-total // LINES_SHOWN)))  # the last, where there are fewer
        first = (number - 1) * LINES_SHOWN
        rows = await managing.list_lines(connection, statement_id, offset=first, limit=LINES_SHOWN)
        paid = await payouts.list_of_statement(connection, statement_id)
    language = language_of(request)
    shown, told = Shown(language), statement.from_json(found[0].content)
    standing = standing_of(found[0], datetime.now(UTC))
    return manager_page(
        request,
        "manager_statement.html",
        "statements",
        client=client,
        clients=clients,
        status=status,
        ties="session",
        statement=told,
        standing=standing,
        net_label=net_label(told, language),
        payments=_payments(told, paid, shown),
        sums=calculation(told, language),
        activity=_activity(told, shown),
        several_sites=has_several_sites(told),
        simulated=told.is_simulated,
        path=f"/gestion/releves/{statement_id}",
        can_contest=standing.is_open,
        lines=[shown_line(row, shown) for row in rows],
        first=first + 1,
        total=total,
        earlier=number - 1 if number > 1 else None,
        later=number + 1 if first + LINES_SHOWN < total else None,
        done=done,
        at_fault=at_fault,
        error=error,
        given=given,
    )


def _payments(told: Statement, paid: Sequence[StatementPaymentRow], shown: Shown) -> list[str]:
    """What became of the net, a sentence each; where nothing was paid yet, by when it will be."""
    words = MANAGER_TEXTS[shown.language]
    if not paid and told.net_cents > 0:
        last = deadlines.payout_date(told.month)
        return [words["pay_by"].format(day=shown.day(last))]
    return [
        words[f"pay_{one.status}"].format(
            amount=shown.money(one.amount_cents),
            day=shown.day(one.settled_on or one.due_on),
            account=masked(one.iban),
            reference=one.end_to_end_id,
        )
        for one in paid
    ]


def has_several_sites(told: Statement) -> bool:
    """Whether a point's name alone does not say where it is."""
    return len({one.site for one in told.points}) > 1


def _activity(told: Statement, shown: Shown) -> list[tuple[str, str, str]]:
    """What the month came to, beside the one before."""
    words, before = MANAGER_TEXTS[shown.language], told.previous
    return [
        (words["sessions"], str(told.sessions), str(before.sessions) if before else "–"),
        (
            words["energy"],
            shown.energy(told.energy_wh),
            shown.energy(before.energy_wh) if before else "–",
        ),
        (
            words["collected"],
            shown.money(told.collected_cents),
            shown.money(before.collected_cents) if before else "–",
        ),
        (
            words["net"],
            shown.money(told.net_cents),
            shown.money(before.net_cents) if before else "–",
        ),
    ]


def shown_line(row: LineRow, shown: Shown) -> ShownLine:
    """The line as its row on the page has it."""
    return ShownLine(
        id=row.id,
        position=row.position,
        point=label_of(row.evse_static, row.station_id, row.evse_id or 0),
        site=row.site,
        user=user(row, shown.language),
        started_at=row.started_at,
        ended_at=row.ended_at,
        energy_wh=row.energy_wh,
        amount_cents=row.amount_cents,
        collected_cents=row.collected_cents,
        invoice_id=row.invoice_id,
        invoice_number=row.invoice_number,
        is_estimated=row.is_estimated,
        is_late=row.is_late,
        dispute_id=row.dispute_id,
        opened_at=row.opened_at,
        reason=row.reason,
        decided_at=row.decided_at,
        decision=row.decision,
        decision_reason=row.decision_reason,
    )
