"""OCPI 2.2.1 as partners call it: versions, credentials, places, tariffs, sessions, CDRs, tokens,
commands; under /ocpi, an application of its own.

Who calls proves itself with its token, in Base64 or, as some write it, as it is. What OCPI refuses
is told in its envelope with HTTP 200; HTTP's own codes stand for what HTTP is about: 401 for a
token, 404 for what does not exist, 405 for credentials in the wrong state, 400 for what is no JSON.
Names of a request are given back with its answer.
"""

import base64
import binascii
import contextlib
import json
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NoReturn
from urllib.parse import urlencode

import psycopg
from fastapi import Depends, FastAPI, Header, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, SerializerFunctionWrapHandler, ValidationError, model_serializer
from starlette.exceptions import HTTPException

from csms.config import Settings
from csms.db import transaction
from csms.registry import Refusal
from reporting import store_ocpi as store
from reporting.ocpi import listing, ordering, partners
from reporting.ocpi.kinds import Shape, TokenType
from reporting.ocpi.objects import (
    CommandResponse,
    Credentials,
    StartSession,
    StopSession,
    Token,
    patch_of,
)
from reporting.ocpi.partners import CannotUse
from reporting.store_ocpi import PartnerRow

log = logging.getLogger(__name__)

PATH: Final = "/ocpi"
CPO: Final = f"/cpo/{partners.VERSION}"
OK: Final = 1000
CLIENT_ERROR, INVALID, UNKNOWN_LOCATION, UNKNOWN_TOKEN = 2000, 2001, 2003, 2004
SERVER_ERROR: Final = 3000
NOT_SUPPORTED: Final = frozenset({"RESERVE_NOW", "CANCEL_RESERVATION", "UNLOCK_CONNECTOR"})
#: headers of a request that come back in others: who asked is who is answered
ECHOED: Final = {
    "x-request-id": "X-Request-ID",
    "x-correlation-id": "X-Correlation-ID",
    **{f"ocpi-from-{what}": f"OCPI-to-{what}" for what in ("country-code", "party-id")},
    **{f"ocpi-to-{what}": f"OCPI-from-{what}" for what in ("country-code", "party-id")},
}
_NAME: Final = re.compile(r"[!-~]{1,200}")
#: modules that we have, and our role in each
MODULES: Final = (
    ("credentials", "RECEIVER"),
    ("credentials", "SENDER"),
    ("locations", "SENDER"),
    ("tariffs", "SENDER"),
    ("sessions", "SENDER"),
    ("cdrs", "SENDER"),
    ("tokens", "RECEIVER"),
    ("commands", "RECEIVER"),
)


class Said(Exception):
    """An answer that ends a request: HTTP status, status code of OCPI, and a sentence."""

    def __init__(self, http_status: int, code: int, text: str) -> None:
        super().__init__(text)
        self.http_status = http_status
        self.code = code


class Reply(BaseModel):
    """What every answer is in."""

    data: Any = None
    status_code: int
    status_message: str | None = None
    timestamp: str

    @model_serializer(mode="wrap")
    def _without_nulls(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in inner(self).items() if value is not None}


def install(app: FastAPI, pool: AsyncConnectionPool, settings: Settings) -> None:
    """Put it on the application."""
    app.mount(PATH, create_app(pool, settings))


def create_app(pool: AsyncConnectionPool, settings: Settings) -> FastAPI:
    """The application under /ocpi."""
    app = FastAPI(
        title="Time2Plug Supervision: OCPI",
        version=partners.VERSION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.pool, app.state.settings = pool, settings
    app.add_exception_handler(Said, _said)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(psycopg.OperationalError, _no_database)
    app.add_exception_handler(psycopg.DataError, _bad_data)
    app.add_exception_handler(Exception, _bug)
    app.middleware("http")(_echo)
    _add_versions(app)
    _add_credentials(app)
    _add_lists(app)
    _add_tokens(app)
    _add_commands(app)
    return app


# --- Who calls ------------------------------------------------------------------------------------


async def _comer(
    request: Request, authorization: Annotated[str, Header(max_length=1_000)] = ""
) -> PartnerRow:
    """A partner, registered or invited. Raises: Said (401)."""
    pool: AsyncConnectionPool = request.app.state.pool
    scheme, _, text = authorization.strip().partition(" ")
    if scheme.lower() == "token":
        async with pool.connection() as connection:
            for token in _tokens(text.strip()):
                found = await store.find_by_token(connection, partners.sha256(token))
                if found is not None:
                    request.state.token = token
                    return found
    raise Said(401, CLIENT_ERROR, "This takes `Authorization: Token <token in Base64>`.")


def _tokens(text: str) -> list[str]:
    """The token, decoded where it is Base64; some do not encode it."""
    found = []
    with contextlib.suppress(binascii.Error, UnicodeDecodeError):
        found.append(base64.b64decode(text, validate=True).decode())
    return [*found, text]


Comer = Annotated[PartnerRow, Depends(_comer)]


async def _partner(comer: Comer) -> PartnerRow:
    """A partner that is registered. Raises: Said (401)."""
    if comer.registered_at is None or comer.is_invited:
        raise Said(401, CLIENT_ERROR, "This token is for registering: POST your credentials.")
    return comer


Partner = Annotated[PartnerRow, Depends(_partner)]


async def _body(request: Request) -> Any:
    """Raises: Said (400)."""
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError):
        raise Said(400, INVALID, "The body is no JSON.") from None


Body = Annotated[Any, Depends(_body)]


def _read(shape: type[Shape], body: Any) -> Any:
    """The body as the shape. Raises: Said (2001), saying what is wrong where."""
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        raise Said(200, INVALID, _told(error.errors())) from None


# --- Versions and credentials ---------------------------------------------------------------------


def _add_versions(app: FastAPI) -> None:
    @app.get("/versions")
    async def versions(request: Request, _: Comer) -> Reply:
        """The versions that we speak."""
        return _ok([{"version": partners.VERSION, "url": _url(request, f"/{partners.VERSION}")}])

    @app.get(f"/{partners.VERSION}")
    async def details(request: Request, _: Comer) -> Reply:
        """The modules of the version."""
        endpoints = [
            {
                "identifier": name,
                "role": role,
                "url": _url(
                    request,
                    f"/{partners.VERSION}/{name}" if name == "credentials" else f"{CPO}/{name}",
                ),
            }
            for name, role in MODULES
        ]
        return _ok({"version": partners.VERSION, "endpoints": endpoints})


def _add_credentials(app: FastAPI) -> None:
    path = f"/{partners.VERSION}/credentials"

    @app.get(path)
    async def get_credentials(request: Request, comer: Comer) -> Reply:
        """Ours, without a token: it was told once, when it was made."""
        settings = _settings(request)
        own = _own(settings)
        found = partners.credentials(settings, own, "-").wire()
        return _ok(found | {"token": request.state.token})

    @app.post(path)
    async def post_credentials(request: Request, comer: Comer, body: Body) -> Reply:
        """Register. 405 where that was done."""
        if comer.registered_at is not None and not comer.is_invited:
            _not_now("You are registered: PUT changes that.")
        return await _accepted(request, comer, body)

    @app.put(path)
    async def put_credentials(request: Request, comer: Comer, body: Body) -> Reply:
        """Change the registration, and both tokens. 405 where there is none."""
        if comer.registered_at is None or comer.is_invited:
            _not_now("You are not registered: POST does that.")
        return await _accepted(request, comer, body)

    @app.delete(path)
    async def delete_credentials(request: Request, comer: Comer) -> Reply:
        """End the registration. 405 where there is none."""
        if comer.registered_at is None or comer.is_invited:
            _not_now("You are not registered.")
        await partners.unregister(request.app.state.pool, comer, _now())
        return _ok(None)


async def _accepted(request: Request, comer: PartnerRow, body: Any) -> Reply:
    theirs: Credentials = _read(Credentials, body)
    settings = _settings(request)
    _own(settings)
    try:
        ours = await partners.accept(
            request.app.state.pool, settings, comer, request.state.token, theirs, _now()
        )
    except CannotUse as error:
        raise Said(200, error.code, str(error)) from None
    return _ok(ours.wire())


def _not_now(text: str) -> NoReturn:
    raise Said(405, CLIENT_ERROR, text)


# --- Lists ----------------------------------------------------------------------------------------

Offset = Annotated[int, Query(ge=0, le=10_000_000)]
Limit = Annotated[int | None, Query(ge=1, le=10_000)]
When = Annotated[datetime | None, Query()]
Id = Annotated[str, Path(min_length=1, max_length=39)]


def _add_lists(app: FastAPI) -> None:
    for module in listing.MODULES:
        app.get(f"{CPO}/{module}", name=f"list {module}")(_lister(module))

    @app.get(f"{CPO}/locations/{{location_id}}")
    async def get_location(request: Request, partner: Partner, location_id: Id) -> Reply:
        """A place."""
        return _ok(await _found(request, partner, location_id))

    @app.get(f"{CPO}/locations/{{location_id}}/{{evse_uid}}")
    async def get_evse(request: Request, partner: Partner, location_id: Id, evse_uid: Id) -> Reply:
        """A point of a place."""
        return _ok(await _found(request, partner, location_id, evse_uid))

    @app.get(f"{CPO}/locations/{{location_id}}/{{evse_uid}}/{{connector_id}}")
    async def get_connector(
        request: Request, partner: Partner, location_id: Id, evse_uid: Id, connector_id: Id
    ) -> Reply:
        """A connector of a point."""
        return _ok(await _found(request, partner, location_id, evse_uid, connector_id))


def _lister(module: str) -> Callable[..., Awaitable[Response]]:
    async def list_objects(
        request: Request,
        partner: Partner,
        date_from: When = None,
        date_to: When = None,
        offset: Offset = 0,
        limit: Limit = None,
    ) -> Response:
        """Objects that changed in that time, the longest unchanged first, in pages."""
        settings = _settings(request)
        most = (
            settings.ocpi_cdr_page_entries_max
            if module == "cdrs"
            else settings.ocpi_page_entries_max
        )
        limit = min(limit or most, most)
        async with request.app.state.pool.connection() as connection:
            page = await listing.page(
                connection, partner.id, module, _aware(date_from), _aware(date_to), offset, limit
            )
        headers = {"X-Total-Count": str(page.total), "X-Limit": str(limit)}
        if offset + len(page.items) < page.total and page.items:
            query = {
                name: value
                for name, value in request.query_params.items()
                if name in ("date_from", "date_to")
            }
            query |= {"offset": str(offset + limit), "limit": str(limit)}
            address = f"{settings.base_url}{request.url.path}?{urlencode(query)}"
            headers["Link"] = f'<{address}>; rel="next"'
        return JSONResponse(_ok(page.items).model_dump(), headers=headers)

    return list_objects


async def _found(request: Request, partner: PartnerRow, *path: str) -> dict[str, Any]:
    """Raises: Said (404)."""
    async with request.app.state.pool.connection() as connection:
        found = await listing.part(connection, partner.id, *path)
    if found is None:
        raise Said(404, UNKNOWN_LOCATION, f"There is no {'/'.join(path)}.")
    return found


# --- Tokens ---------------------------------------------------------------------------------------


def _add_tokens(app: FastAPI) -> None:
    path = f"{CPO}/tokens/{{country_code}}/{{party_id}}/{{uid}}"
    Kind = Annotated[TokenType, Query(alias="type")]
    Country = Annotated[str, Path(min_length=2, max_length=2)]
    PartyId = Annotated[str, Path(min_length=3, max_length=3)]
    Uid = Annotated[str, Path(min_length=1, max_length=36)]

    @app.get(path)
    async def get_token(
        request: Request,
        partner: Partner,
        country_code: Country,
        party_id: PartyId,
        uid: Uid,
        kind: Kind = "RFID",
    ) -> Reply:
        """A token as it was told to us."""
        async with request.app.state.pool.connection() as connection:
            found = await store.get_token(connection, partner.id, country_code, party_id, uid, kind)
        if found is None:
            raise Said(404, UNKNOWN_TOKEN, "You did not tell us of this token.")
        return _ok(found)

    @app.put(path)
    async def put_token(
        request: Request,
        partner: Partner,
        country_code: Country,
        party_id: PartyId,
        uid: Uid,
        body: Body,
        kind: Kind = "RFID",
    ) -> Reply:
        """Keep a token. What is older than what we know changes nothing."""
        token: Token = _read(Token, body)
        _check_same(token, country_code, party_id, uid, kind)
        await _keep(request, partner, token)
        return _ok(None)

    @app.patch(path)
    async def patch_token(
        request: Request,
        partner: Partner,
        country_code: Country,
        party_id: PartyId,
        uid: Uid,
        body: Body,
        kind: Kind = "RFID",
    ) -> Reply:
        """Change what is named of a token."""
        try:
            patch = patch_of(Token, body)
        except ValidationError as error:
            raise Said(200, INVALID, _told(error.errors())) from None
        except ValueError as error:
            raise Said(200, INVALID, str(error)) from None
        async with request.app.state.pool.connection() as connection:
            known = await store.get_token(connection, partner.id, country_code, party_id, uid, kind)
        if known is None:
            raise Said(404, UNKNOWN_TOKEN, "You did not tell us of this token.")
        token = Token.model_validate(known).model_copy(update=patch)
        _check_same(token, country_code, party_id, uid, kind)
        await _keep(request, partner, token)
        return _ok(None)


def _check_same(token: Token, country_code: str, party_id: str, uid: str, kind: str) -> None:
    """Raises: Said (2001) where the address names another token than the body."""
    named = (country_code.upper(), party_id.upper(), uid.lower(), kind)
    told = (token.country_code.upper(), token.party_id.upper(), token.uid.lower(), token.type)
    if named != told:
        raise Said(200, INVALID, "The address names another token than the body.")


async def _keep(request: Request, partner: PartnerRow, token: Token) -> None:
    async with transaction(request.app.state.pool) as connection:
        await store.write_token(connection, partner.id, token.wire(), token.last_updated, _now())


# --- Commands -------------------------------------------------------------------------------------


def _add_commands(app: FastAPI) -> None:
    @app.post(f"{CPO}/commands/{{name}}")
    async def post_command(
        request: Request,
        partner: Partner,
        name: Annotated[str, Path(min_length=1, max_length=36)],
        body: Body,
    ) -> Reply:
        """Begin or end a session; all else is not supported."""
        settings = _settings(request)
        if name in NOT_SUPPORTED:
            return _ok(CommandResponse(result="NOT_SUPPORTED", timeout=0).wire())
        if name not in ("START_SESSION", "STOP_SESSION"):
            raise Said(404, CLIENT_ERROR, "There is no such command.")
        asked = _read(StartSession if name == "START_SESSION" else StopSession, body)
        order = ordering.start if name == "START_SESSION" else ordering.stop
        try:
            async with transaction(request.app.state.pool) as connection:
                answer = await order(connection, settings, partner, asked, _now())
        except ordering.UnknownPlace as error:
            raise Said(200, UNKNOWN_LOCATION, f"There is no {error}.") from None
        except ordering.BadAddress as error:
            raise Said(200, INVALID, str(error)) from None
        return _ok(answer.wire())


# --- Answers --------------------------------------------------------------------------------------


def _ok(data: Any) -> Reply:
    return Reply(data=data, status_code=OK, timestamp=_z(_now()))


def _refusal(http_status: int, code: int, text: str) -> JSONResponse:
    content = {"status_code": code, "status_message": text[:1_000], "timestamp": _z(_now())}
    return JSONResponse(content, http_status)


async def _said(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Said)
    return _refusal(error.http_status, error.code, str(error))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _refusal(error.status_code, CLIENT_ERROR, str(error.detail))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return _refusal(200, INVALID, _told(error.errors()))


async def _bad_data(request: Request, error: Exception) -> JSONResponse:
    return _refusal(200, INVALID, "A text holds characters that cannot be kept.")


async def _bug(request: Request, error: Exception) -> JSONResponse:
    return _refusal(500, SERVER_ERROR, "This could not be processed: a fault of ours.")


async def _no_database(request: Request, error: Exception) -> JSONResponse:
    log.warning("the database does not answer: %s", str(error).strip())
    answer = _refusal(503, SERVER_ERROR, "The database does not answer. Try again soon.")
    answer.headers["Retry-After"] = "5"
    return answer


async def _echo(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    answer = await go_on(request)
    for theirs, ours in ECHOED.items():
        value = request.headers.get(theirs, "")
        if _NAME.fullmatch(value):
            answer.headers[ours] = value
    return answer


def _told(errors: Any) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in errors[:10]
    )


def _url(request: Request, path: str) -> str:
    return f"{_settings(request).base_url}{PATH}{path}"


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _own(settings: Settings) -> Any:
    """Raises: Said where OCPI is off."""
    try:
        return partners.needed_party(settings)
    except Refusal as error:
        raise Said(503, SERVER_ERROR, str(error)) from None


def _aware(moment: datetime | None) -> datetime | None:
    """A time without a zone is in UTC, as the specification says. Raises: Said (2001)."""
    if moment is None:
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise Said(200, INVALID, "This time is out of range.") from None


def _now() -> datetime:
    return datetime.now(UTC)


def _z(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
