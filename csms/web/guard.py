"""What stands before every request: who may pass, how much it may send, which headers leave.

Written as plain ASGI, outside the router, so that an address which nobody thought of is closed
too: all of /api asks for a key or a log-in, but the addresses in OPEN. A browser's log-in comes
with its cookie, for pages and for /api; what changes something with a cookie has to come from a
page of ours, and in /api to carry the token of that log-in too. What changed something is noted in
the audit (csms.web.auditing).

An operation says who may call it by the kind of principal that it asks for; a test calls every
operation as everybody else. What people other than operators read, they read through `Reader`: for
them it is a transaction of the role under row-level security.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import psycopg
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from csms import principals
from csms.config import Settings
from csms.db import acting
from csms.logins import Caller, Means
from csms.principals import Principal, Role
from csms.web import auditing, cookies, problems
from csms.web.callers import SAFE_METHODS, Proxies, has_header, header, is_same_origin

PROTECTED = "/api"
OPEN: set[str] = {  # operations that nobody needs to log in for
    "/api/v1/auth/log-in",
    "/api/v1/auth/refresh",
    "/api/v1/auth/invitations/accept",
    "/api/v1/auth/password/reset-request",
    "/api/v1/auth/password/reset",
    "/api/v1/auth/email/confirm",
    "/api/v1/privacy/register",
    "/api/v1/providers/stripe/webhook",  # signed instead
    "/irve/statique.csv",
    "/irve/dynamique.csv",
}
# What is the same for everybody: no cookie is looked at, and anybody may keep a copy.
IRVE = "/irve/"  # files that say themselves how long a copy is good; what is no file is not kept
PUBLIC = ("/static/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", IRVE)
PARTNERS = "/ocpi/"  # who calls there proves itself with its own kind of token
CONNECTION_TIMEOUT_S = 10.0

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not no-referrer: browsers would not say either from which page a form of ours was sent.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_POLICY = (
    b"default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; "
    b"form-action %s; frame-ancestors 'none'"
)
# Managers' pages have one script, htmx, which is served here and asks nobody else.
WITH_SCRIPT = "/gestion"
_SCRIPT_POLICY = b"; script-src 'self'; connect-src 'self'"
_HSTS = (b"strict-transport-security", b"max-age=31536000")

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="A key that `time2plug key create` printed, or an access token of a log-in.",
)


class Guard:
    """ASGI middleware: headers on everything, a limit on bodies, keys and log-ins, the audit."""

    def __init__(self, app: ASGIApp, pool: AsyncConnectionPool, settings: Settings) -> None:
        self._app = app
        self._pool = pool
        self._settings = settings
        self._proxies = Proxies(settings)
        self._body_bytes_max = settings.http_body_bytes_max
        self._too_long = f"A request holds at most {self._body_bytes_max} bytes."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        caller, https = self._proxies.see(scope, None)
        device = cookies.read(scope, "device", https)
        state["caller"], state["https"] = replace(caller, device=device), https

        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                await auditing.note(self._pool, scope, message["status"])
                message = {**message, "headers": _with_headers(scope, message)}
            await send(message)

        refusal = self._too_large(scope) or await self._stopped(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded_send)
            return
        try:
            await self._app(scope, self._limited(receive), guarded_send)
        except Exception:  # our own bug: answered here, for the headers; logged further out
            if not started:
                await problems.bug(scope["path"])(scope, receive, guarded_send)
            raise

    def _too_large(self, scope: Scope) -> ASGIApp | None:
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._body_bytes_max:
                return problems.response(413, self._too_long, path=scope["path"])
        return None

    def _limited(self, receive: Receive) -> Receive:
        """The same stream, ended by an exception once it is too long."""
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._body_bytes_max:
                raise HTTPException(413, self._too_long)
            return message

        return limited

    async def _stopped(self, scope: Scope) -> ASGIApp | None:
        """The refusal of a request: to /api by nobody, or sent by another site; None lets it
        pass."""
        path = scope["path"]
        if path in OPEN or path.startswith(PUBLIC) or path.startswith(PARTNERS):
            return None
        protected = path == PROTECTED or path.startswith(PROTECTED + "/")
        try:
            if protected and has_header(scope, b"authorization"):
                return await self._stopped_by_token(scope)
            stopped = await self._stopped_by_cookie(scope, protected)
        except psycopg.OperationalError:
            return problems.response(
                503,
                "The database does not answer; nothing was changed. Try again soon.",
                path=path,
                headers={"Retry-After": "5"},
            )
        if stopped is None and protected and "principal" not in scope["state"]:
            return _challenge(path, "Send a key: `Authorization: Bearer <key>`.", None)
        return stopped

    async def _stopped_by_token(self, scope: Scope) -> ASGIApp | None:
        path = scope["path"]
        token = _bearer_token(scope)
        if token is None:
            return _challenge(path, "Send a key: `Authorization: Bearer <key>`.", None)
        async with self._pool.connection(timeout=CONNECTION_TIMEOUT_S) as connection:
            found = await principals.authenticate(connection, token, datetime.now(UTC))
        if isinstance(found, str):
            return _challenge(path, found, "invalid_token")
        scope["state"]["principal"] = found
        return None

    async def _stopped_by_cookie(self, scope: Scope, protected: bool) -> ASGIApp | None:
        """A cookie that names nobody makes somebody who is not logged in."""
        path, state = scope["path"], scope["state"]
        unsafe = scope["method"] not in SAFE_METHODS
        secret = cookies.read(scope, "session", state["https"])
        by_browser = secret is not None or not protected
        if unsafe and by_browser and not is_same_origin(scope, self._settings.public_url):
            return problems.response(403, "This was sent by another site.", path=path)
        if secret is None:
            return None
        idle = timedelta(seconds=self._settings.page_idle_s)
        async with self._pool.connection(timeout=CONNECTION_TIMEOUT_S) as connection:
            found = await principals.by_login(
                connection, secret, "page", datetime.now(UTC), idle=idle
            )
        if isinstance(found, str):
            return _challenge(path, found, "invalid_token") if protected else None
        if unsafe and protected:
            token = header(scope, cookies.CSRF_HEADER)
            if not cookies.is_csrf_token(self._settings, secret, token):
                return problems.response(
                    403, "With a cookie this takes X-CSRF-Token: see /api/v1/me.", path=path
                )
        state["principal"], state["session_secret"] = found, secret
        return None


def _bearer_token(scope: Scope) -> str | None:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _challenge(path: str, detail: str, error: str | None) -> ASGIApp:
    header = 'Bearer realm="time2plug"' + (f', error="{error}"' if error else "")
    return problems.response(401, detail, path=path, headers={"WWW-Authenticate": header})


def _with_headers(scope: Scope, message: Message) -> list[tuple[bytes, bytes]]:
    path = scope["path"]
    headers = [*message.get("headers", []), *_HEADERS]
    to = b"'none'" if path.startswith(PROTECTED) else b"'self'"
    with_script = path == WITH_SCRIPT or path.startswith(WITH_SCRIPT + "/")
    policy = _POLICY % to + (_SCRIPT_POLICY if with_script else b"")
    headers.append((b"content-security-policy", policy))
    if not path.startswith(PUBLIC) or (path.startswith(IRVE) and not _says_how_to_cache(headers)):
        headers.append((b"cache-control", b"no-store"))
    if scope["state"]["https"]:
        headers.append(_HSTS)
    return headers


def _says_how_to_cache(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"cache-control" for name, _ in headers)


# --- Who may call an operation --------------------------------------------------------------------


def caller_of(request: Request) -> Caller:
    """Where a request comes from."""
    found: Caller = request.state.caller
    return found


def principal_of(request: Request) -> Principal | None:
    """Who asks; None: nobody that is known."""
    found: Principal | None = getattr(request.state, "principal", None)
    return found


async def _anybody(request: Request, _: Annotated[Any, Security(_bearer)]) -> Principal:
    """Whoever asks, known. Raises: Problem (401)."""
    found = principal_of(request)
    if found is None:
        raise problems.Problem(401, "Send a key: `Authorization: Bearer <key>`.")
    return found


Anybody = Annotated[Principal, Depends(_anybody)]


def _needs(role: Role | None) -> Callable[..., Any]:
    """An operator with the role; None: read to look, operate to change."""

    async def check(request: Request, principal: Anybody) -> Principal:
        needed = role or ("read" if request.method in SAFE_METHODS else "operate")
        if needed not in principal.roles:
            _check_second_factor(principal)
            raise problems.Problem(403, f"This takes the role operator, {needed}.")
        return principal

    return check


def _check_second_factor(principal: Principal) -> None:
    """Raises: Problem (403) where roles wait for it."""
    if principal.lacks_second_factor:
        raise problems.Problem(403, "This takes the second factor: log in with your code.")


async def _person(principal: Anybody) -> Principal:
    """A person with her log-in, whatever she may do. Raises: Problem (403)."""
    if principal.person_id is None:
        raise problems.Problem(403, "This is for people: log in, a key will not do.")
    return principal


async def _driver(principal: Anybody) -> Principal:
    """A driver. Raises: Problem (403)."""
    if not principal.is_driver:
        raise problems.Problem(403, "This is for drivers.")
    return principal


class Reading:
    """Where a caller reads: everything as an operator; else what row-level security shows, each
    connection being a transaction of its own. Takes the place of a pool in `listing.read_rows`."""

    def __init__(self, request: Request, principal: Principal) -> None:
        self._pool: AsyncConnectionPool = request.app.state.pool
        self._people: AsyncConnectionPool = request.app.state.people
        self._principal = principal

    @property
    def clients(self) -> list[int] | None:
        """Whose the rows are that it can see as a manager or a machine; None: anybody's."""
        if self._principal.is_operator:
            return None
        own = self._principal.client_id
        return sorted(self._principal.manages | ({own} if own is not None else set()))

    @property
    def language(self) -> str:
        """Of whoever reads: fr or en."""
        return self._principal.language

    def connection(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection to read with."""
        if self._principal.is_operator:
            return self._operators()
        return acting(
            self._people,
            person_id=self._principal.person_id,
            client_id=self._principal.client_id,
        )

    @asynccontextmanager
    async def _operators(self) -> AsyncIterator[AsyncConnection]:
        async with self._pool.connection() as connection:
            yield connection


async def _reader(request: Request, principal: Anybody) -> Reading:
    """An operator who may read, a manager, or a client's machine. Raises: Problem (403)."""
    if not principal.is_operator and not principal.reads_as_client:
        _check_second_factor(principal)
        raise problems.Problem(403, "This takes the role operator, read; or a client to manage.")
    return Reading(request, principal)


async def _own(request: Request, principal: Annotated[Principal, Depends(_person)]) -> Reading:
    """What is a person's own, whoever else she may be."""
    return Reading(request, Principal(name=principal.name, person_id=principal.person_id))


def _means(request: Request) -> Means:
    means: Means = request.app.state.means
    return means


def _pool(request: Request) -> AsyncConnectionPool:
    pool: AsyncConnectionPool = request.app.state.pool
    return pool


Operator = Annotated[Principal, Depends(_needs(None))]
Finance = Annotated[Principal, Depends(_needs("finance"))]
Admin = Annotated[Principal, Depends(_needs("admin"))]
Person = Annotated[Principal, Depends(_person)]
Driver = Annotated[Principal, Depends(_driver)]
Reader = Annotated[Reading, Depends(_reader)]
Own = Annotated[Reading, Depends(_own)]
Pool = Annotated[AsyncConnectionPool, Depends(_pool)]
LogInMeans = Annotated[Means, Depends(_means)]
Comer = Annotated[Caller, Depends(caller_of)]
