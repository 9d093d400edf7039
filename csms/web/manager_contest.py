"""How a manager contests a line of a statement, and lets go of what she contested.

A line is contested by a form of its own row, which htmx sends and swaps where scripts run, and
which works as any form where they do not.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from psycopg import AsyncConnection
from starlette.responses import Response

from billing import disputes
from billing.statement import from_json
from billing.store import managing
from csms.clients import Actor
from csms.db import transaction
from csms.principals import Principal
from csms.registry import Refusal
from csms.web.fields import Identifier
from csms.web.manager_frame import Shown, manager_of, manager_page, missing, reading
from csms.web.manager_standing import standing_of
from csms.web.manager_statement import (
    LINES_SHOWN,
    has_several_sites,
    shown_line,
    statement_page,
)
from csms.web.manager_texts import MANAGER_TEXTS
from csms.web.rendering import language_of, read_form, sent_to

router = APIRouter(include_in_schema=False, default_response_class=Response)


@router.post("/gestion/releves/{statement_id}/lignes/{line_id}/contester")
async def contest(request: Request, statement_id: Identifier, line_id: Identifier) -> Response:
    """Contest a line, with a reason."""
    form, me = await _sent(request)
    reason = form.get("reason", "").strip()
    if not 0 < len(reason) <= disputes.REASON_LENGTH_MAX:
        return await _answer(request, me, statement_id, line_id, "contested", "reason", reason)
    refused = await _act(
        request,
        me,
        statement_id,
        line_id,
        lambda connection, now: disputes.contest_line(connection, line_id, reason, _by(me), now),
        in_time=True,
    )
    return await _answer(request, me, statement_id, line_id, "contested", refused, reason)


@router.post("/gestion/releves/{statement_id}/lignes/{line_id}/retirer")
async def withdraw(request: Request, statement_id: Identifier, line_id: Identifier) -> Response:
    """Withdraw what was contested and is not decided."""
    _, me = await _sent(request)
    refused = await _act(
        request,
        me,
        statement_id,
        line_id,
        lambda connection, now: disputes.withdraw_line(connection, line_id, _by(me), now),
        in_time=False,
    )
    return await _answer(request, me, statement_id, line_id, "withdrawn", refused, "")


@router.get("/gestion/releves/{statement_id}/lignes/{rest:path}")
async def show_rest(statement_id: Identifier, rest: str) -> Response:
    """Forms have no page of their own."""
    return sent_to(f"/gestion/releves/{statement_id}")


# --- What they share ------------------------------------------------------------------------------


async def _sent(request: Request) -> tuple[dict[str, str], Principal]:
    """The fields of a form, and who sent it. Raises: BadForm, without a log-in too."""
    form = await read_form(request, "session")
    me = manager_of(request)
    assert me is not None  # else there was no secret to tie the form to
    return form, me


def _by(me: Principal) -> Actor:
    return Actor(me.actor, me.person_id)


async def _act(
    request: Request,
    me: Principal,
    statement_id: int,
    line_id: int,
    change: Callable[[AsyncConnection, datetime], Awaitable[object]],
    *,
    in_time: bool,
) -> str:
    """Do it, if the line is hers to see; why not, as the texts call it: empty when it was done.
    `in_time`: only while the statement is open."""
    async with reading(request, me) as connection:
        if not await managing.list_lines(connection, statement_id, line_id=line_id):
            return "missing"
        found = await managing.list_statements(connection, statement_id=statement_id)
    now = datetime.now(UTC)
    if not found:
        return "missing"
    if in_time and not standing_of(found[0], now).is_open:
        return "late"
    try:
        async with transaction(request.app.state.pool) as connection:
            await change(connection, now)
    except Refusal:
        return "other"
    return ""


async def _answer(
    request: Request,
    me: Principal,
    statement_id: int,
    line_id: int,
    done: str,
    refused: str,
    given: str,
) -> Response:
    """What follows a form: to htmx the line alone, as it stands now; else the page."""
    if refused == "missing":
        return missing(request)
    words = MANAGER_TEXTS[language_of(request)]
    error = words[f"refused_{refused}"] if refused else ""
    async with reading(request, me) as connection:
        rows = await managing.list_lines(connection, statement_id, line_id=line_id)
        found = await managing.list_statements(connection, statement_id=statement_id)
        before = await managing.count_lines(
            connection, statement_id, before=rows[0].position if rows else 0
        )
    if not rows or not found:
        return missing(request)
    if request.headers.get("hx-request") == "true":
        return manager_page(
            request,
            "manager_line_alone.html",
            "statements",
            status=422 if error else 200,
            ties="session",
            line=shown_line(rows[0], Shown(language_of(request))),
            path=f"/gestion/releves/{statement_id}/lignes",
            several_sites=has_several_sites(from_json(found[0].content)),
            can_contest=standing_of(found[0], datetime.now(UTC)).is_open,
            error=error,
            given=given,
            done="" if error else words[f"said_{done}"].format(number=rows[0].position),
        )
    page = before // LINES_SHOWN + 1
    if error:
        return await statement_page(
            request, me, statement_id, page, status=422, at_fault=line_id, error=error, given=given
        )
    position = rows[0].position
    return sent_to(
        f"/gestion/releves/{statement_id}?page={page}&done={done}&line={position}#line-{position}"
    )
