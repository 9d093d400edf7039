"""What stands before every request: who may pass, how much it may send, which headers leave.

Written as plain ASGI, outside the router, so that an address which nobody thought of is closed
too: all of /api asks for a key or a log-in, but the addresses in OPEN.

An operation says who may call it by the kind of principal that it asks for; a test calls every
operation as everybody else. What people other than operators read, they read through `Reader`: for
them it is a transaction of the role under row-level security.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import psycopg
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from csms import principals
from csms.db import acting
from csms.principals import Principal, Role
from csms.web import problems

PROTECTED = "/api"
OPEN: set[str] = set()  # addresses under PROTECTED that nobody needs to log in for
CONNECTION_TIMEOUT_S = 10.0

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; "
        b"form-action 'none'; frame-ancestors 'none'",
    ),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="A key that `time2plug key create` printed, or an access token of a log-in.",
)


class Guard:
    """ASGI middleware: headers on everything, a limit on bodies, keys for /api."""

    def __init__(self, app: ASGIApp, pool: AsyncConnectionPool, body_bytes_max: int) -> None:
        self._app = app
        self._pool = pool
        self._body_bytes_max = body_bytes_max
        self._too_long = f"A request holds at most {body_bytes_max} bytes."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _with_headers(scope, message)}
            await send(message)

        refusal = self._too_large(scope) or await self._unauthorized(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded_send)
            return
        await self._app(scope, self._limited(receive), guarded_send)

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

    async def _unauthorized(self, scope: Scope) -> ASGIApp | None:
        """The refusal of a request to /api by nobody; None lets it pass."""
        path = scope["path"]
        if path in OPEN or (path != PROTECTED and not path.startswith(PROTECTED + "/")):
            return None
        token = _bearer_token(scope)
        if token is None:
            return _challenge(path, "Send a key: `Authorization: Bearer <key>`.", None)
        try:
            async with self._pool.connection(timeout=CONNECTION_TIMEOUT_S) as connection:
                found = await principals.authenticate(connection, token, datetime.now(UTC))
        except psycopg.OperationalError:
            return problems.response(
                503,
                "The database does not answer; nothing was changed. Try again soon.",
                path=path,
                headers={"Retry-After": "5"},
            )
        if isinstance(found, str):
            return _challenge(path, found, "invalid_token")
        scope.setdefault("state", {})["principal"] = found
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
    headers = [*message.get("headers", []), *_HEADERS]
    if scope["path"].startswith(PROTECTED):
        headers.append((b"cache-control", b"no-store"))
    return headers


# --- Who may call an operation --------------------------------------------------------------------


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
        needed = role or ("read" if request.method in _SAFE else "operate")
        if needed not in principal.roles:
            if principal.lacks_second_factor:
                raise problems.Problem(403, "This takes the second factor: log in with your code.")
            raise problems.Problem(403, f"This takes the role operator, {needed}.")
        return principal

    return check


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
        raise problems.Problem(403, "This takes the role operator, read; or a client to manage.")
    return Reading(request, principal)


async def _own(request: Request, principal: Annotated[Principal, Depends(_person)]) -> Reading:
    """What is a person's own, whoever else she may be."""
    return Reading(request, Principal(name=principal.name, person_id=principal.person_id))


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
