"""Every request that changed something, or tried to, as a row of the audit.

Noted before the answer leaves, beside what the operations note themselves in their own
transactions: who, which operation (its template, not its address, which may hold a token), on
what, how it was answered. Requests that were refused since nobody was known (401) leave no row, nor
do those of nobody that were refused for another reason: anybody could fill the table with them.
"""

import logging
from datetime import UTC, datetime

import psycopg
from fastapi import Request
from psycopg_pool import AsyncConnectionPool
from starlette.types import Scope

from csms.closing import By
from csms.principals import Principal
from csms.store import audit
from csms.web.callers import SAFE_METHODS

log = logging.getLogger(__name__)

PREFIX = "/api/v1"
SECRET_PARAMETERS = frozenset({"token"})


def concerns(request: Request, client_id: int | None, subject: str | None = None) -> None:
    """Say whom a request concerns, and what: its row in the audit is that client's to read."""
    request.state.audit_client_id = client_id
    if subject is not None:
        request.state.audit_subject = subject


def by(request: Request, principal: Principal) -> By:
    """Whoever asks, as what is done to an account is noted."""
    host = request.client.host if request.client else None
    return By(principal.actor, principal.person_id, host)


async def note(pool: AsyncConnectionPool, scope: Scope, status: int) -> None:
    """Note a request that is about to be answered. That it cannot be noted changes nothing any
    more: it is logged."""
    if scope["method"] in SAFE_METHODS or status == 401:
        return
    state = scope["state"]
    principal = state.get("principal")
    if principal is None and status >= 400:
        return
    route = _template(scope)
    if route is None:
        return  # there is nothing at this address
    client_id = state.get("audit_client_id")
    if client_id is None and principal is not None:
        client_id = principal.client_id
    try:
        async with pool.connection() as connection:
            await audit.add_entry(
                connection,
                datetime.now(UTC),
                actor="nobody" if principal is None else principal.actor,
                person_id=None if principal is None else principal.person_id,
                client_id=client_id,
                action=f"{scope['method']} {route}",
                subject=state.get("audit_subject") or _subject(scope),
                detail={"status": status},
                remote_address=state["caller"].address,
            )
    except psycopg.Error as error:
        log.error("%s %s was not noted in the audit: %s", scope["method"], route, error)


def _template(scope: Scope) -> str | None:
    """The address of the operation, its parameters by name; routers leave their prefix out."""
    path: str | None = getattr(scope.get("route"), "path", None)
    if path is None or path.startswith(PREFIX) or not scope["path"].startswith(PREFIX + "/"):
        return path
    return PREFIX + path


def _subject(scope: Scope) -> str:
    parameters = scope.get("path_params") or {}
    subject = " ".join(
        f"{name}={value}" for name, value in parameters.items() if name not in SECRET_PARAMETERS
    )
    return subject[:500].replace("\0", "\ufffd")  # as PostgreSQL can hold it
