"""What stands before every request: who may pass, how much it may send, which headers leave.

Written as plain ASGI, outside the router, so that an address which nobody thought of is closed
too: all of /api asks for a key, whatever stands behind it.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

import psycopg
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from psycopg_pool import AsyncConnectionPool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from csms import keys
from csms.store.keys import StoredKey
from csms.web import problems

PROTECTED = "/api"
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

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="A key that `time2plug key create --role operator` printed.",
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
        """The refusal of a request to /api without a good key; None lets it pass."""
        path = scope["path"]
        if path != PROTECTED and not path.startswith(PROTECTED + "/"):
            return None
        key = _bearer_key(scope)
        if key is None:
            return _challenge(path, "Send a key: `Authorization: Bearer <key>`.", None)
        try:
            async with self._pool.connection(timeout=CONNECTION_TIMEOUT_S) as connection:
                found = await keys.authenticate(connection, key, datetime.now(UTC))
        except psycopg.OperationalError:
            return problems.response(
                503,
                "The database does not answer; nothing was changed. Try again soon.",
                path=path,
                headers={"Retry-After": "5"},
            )
        if isinstance(found, str):
            return _challenge(path, found, "invalid_token")
        scope.setdefault("state", {})["key"] = found
        return None


def _bearer_key(scope: Scope) -> str | None:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, key = values[0].decode("latin-1").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


def _challenge(path: str, detail: str, error: str | None) -> ASGIApp:
    header = 'Bearer realm="time2plug"' + (f', error="{error}"' if error else "")
    return problems.response(401, detail, path=path, headers={"WWW-Authenticate": header})


def _with_headers(scope: Scope, message: Message) -> list[tuple[bytes, bytes]]:
    headers = [*message.get("headers", []), *_HEADERS]
    if scope["path"].startswith(PROTECTED):
        headers.append((b"cache-control", b"no-store"))
    return headers


async def _operator(request: Request, _: Annotated[Any, Security(_bearer)]) -> StoredKey:
    """The operator's key behind this request."""
    key: StoredKey | None = getattr(request.state, "key", None)
    if key is None:
        raise problems.Problem(401, "Send a key: `Authorization: Bearer <key>`.")
    if key.role != "operator":
        raise problems.Problem(403, "This key may not do that: it takes the role operator.")
    return key


def _pool(request: Request) -> AsyncConnectionPool:
    pool: AsyncConnectionPool = request.app.state.pool
    return pool


Operator = Annotated[StoredKey, Depends(_operator)]
Pool = Annotated[AsyncConnectionPool, Depends(_pool)]
