"""An invoice on its page: what it says, how it stands, and the form by which a manager contests it.

For fifteen days from when it was made available she may contest an invoice in her client's name
(5.4 c). The form is sent and swapped by htmx where scripts run, and works as any form elsewhere.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from psycopg import AsyncConnection
from starlette.responses import Response

from billing import disputes, invoice
from billing.invoice import Document
from billing.store import disputes as dispute_store
from billing.store import managing
from billing.store.managing import InvoiceRow
from csms.clients import Actor
from csms.db import transaction
from csms.principals import Principal
from csms.registry import Refusal
from csms.web.fields import Identifier
from csms.web.manager_frame import choose_client, manager_of, manager_page, missing, reading
from csms.web.manager_standing import InvoiceStanding, invoice_standing
from csms.web.manager_texts import MANAGER_TEXTS
from csms.web.rendering import language_of, read_form, sent_to

router = APIRouter(include_in_schema=False, default_response_class=Response)


@dataclass(frozen=True, slots=True)
class Seen:
    """An invoice that is hers to see."""

    row: InvoiceRow
    client_id: int
    standing: InvoiceStanding


@router.get("/gestion/factures/{invoice_id}")
async def show_invoice(request: Request, invoice_id: Identifier, done: str = "") -> Response:
    """What the invoice says, and how it stands."""
    me = manager_of(request)
    if me is None:
        return sent_to(f"/login?next=/gestion/factures/{invoice_id}")
    seen = await _see(request, me, invoice_id)
    if seen is None:
        return missing(request)
    words, said = MANAGER_TEXTS[language_of(request)], ""
    if done == "contested" and seen.standing.state == "contested":
        said = words["said_invoice_contested"]
    elif done == "withdrawn" and seen.row.decision == "withdrawn":
        said = words["said_invoice_withdrawn"]
    return await _page(request, me, seen, done=said)


@router.post("/gestion/factures/{invoice_id}/contester")
async def contest(request: Request, invoice_id: Identifier) -> Response:
    """Contest it, with a reason."""
    form = await read_form(request, "session")
    reason = form.get("reason", "").strip()

    async def act(connection: AsyncConnection, actor: Actor, now: datetime) -> None:
        await disputes.contest_invoice(connection, invoice_id, reason, actor, now)

    fault = "" if 0 < len(reason) <= disputes.REASON_LENGTH_MAX else "refused_reason"
    return await _acted(request, invoice_id, act, "contested", given=reason, fault=fault)


@router.post("/gestion/factures/{invoice_id}/retirer")
async def withdraw(request: Request, invoice_id: Identifier) -> Response:
    """Withdraw what was contested and is not decided."""
    await read_form(request, "session")

    async def act(connection: AsyncConnection, actor: Actor, now: datetime) -> None:
        open_id = await dispute_store.find_open(connection, invoice_id=invoice_id)
        if open_id is None:
            raise Refusal("It is not contested.")
        await disputes.withdraw(connection, open_id, actor, now)

    return await _acted(request, invoice_id, act, "withdrawn")


@router.get("/gestion/factures/{invoice_id}/{rest:path}")
async def show_rest(invoice_id: Identifier, rest: str) -> Response:
    """Forms have no page of their own."""
    return sent_to(f"/gestion/factures/{invoice_id}")


# --- What they share ------------------------------------------------------------------------------


async def _see(request: Request, me: Principal, invoice_id: int) -> Seen | None:
    """The invoice as it stands now; None: there is none, or it is not of her clients."""
    async with reading(request, me) as connection:
        found = await managing.get_invoice(connection, invoice_id)
    if found is None:
        return None
    row, client_id = found
    return Seen(row, client_id, invoice_standing(row, datetime.now(UTC)))


async def _acted(
    request: Request,
    invoice_id: int,
    act: Callable[[AsyncConnection, Actor, datetime], Awaitable[None]],
    done: str,
    *,
    given: str = "",
    fault: str = "",
) -> Response:
    """Do it if the invoice is hers, and answer: to htmx the part that changed, else the page."""
    me = manager_of(request)
    assert me is not None  # else there was no secret to tie the form to
    seen = await _see(request, me, invoice_id)
    if seen is None:
        return missing(request)
    if not fault:
        try:
            async with transaction(request.app.state.pool) as connection:
                await act(connection, Actor(me.actor, me.person_id), datetime.now(UTC))
        except Refusal:
            late = done == "contested" and seen.standing.state in ("accepted", "line")
            fault = "refused_late" if late else "refused_invoice"
    now = await _see(request, me, invoice_id)
    if now is None:
        return missing(request)
    words = MANAGER_TEXTS[language_of(request)]
    error = words[fault] if fault else ""
    if request.headers.get("hx-request") == "true":
        return manager_page(
            request,
            "manager_contest_alone.html",
            "invoices",
            status=422 if error else 200,
            ties="session",
            error=error,
            given=given,
            done="" if error else words[f"said_invoice_{done}"],
            **_shown(now),
        )
    if error:
        return await _page(request, me, now, status=422, error=error, given=given)
    asked = request.query_params.get("lang")
    lang = f"&lang={asked}" if asked == language_of(request) else ""
    return sent_to(f"/gestion/factures/{invoice_id}?done={done}{lang}#contest")


def _shown(seen: Seen) -> dict[str, Any]:
    return {
        "invoice": seen.row,
        "standing": seen.standing,
        "path": f"/gestion/factures/{seen.row.id}",
    }


async def _page(
    request: Request,
    me: Principal,
    seen: Seen,
    *,
    done: str = "",
    status: int = 200,
    error: str = "",
    given: str = "",
) -> Response:
    """The whole page; `error`: why it was not contested, for the reason `given`."""
    async with reading(request, me) as connection:
        clients, client = await choose_client(connection, str(seen.client_id))
        corrections = await managing.list_corrections(connection, seen.row.id)
        content = await managing.get_invoice_content(connection, seen.row.id)
    document: Document | None = invoice.from_json(content) if content is not None else None
    return manager_page(
        request,
        "manager_invoice.html",
        "invoices",
        client=client,
        clients=clients,
        status=status,
        ties="session",
        document=document,
        corrections=corrections,
        done=done,
        error=error,
        given=given,
        **_shown(seen),
    )
