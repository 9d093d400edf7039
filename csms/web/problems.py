"""Every error as problem details (RFC 9457), with a sentence that a person can act on."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from csms import static_data
from csms.domain.point import Why
from csms.points import Denied
from csms.refusals import ComeLater, NotLoggedIn
from csms.registry import AlreadyThere, Conflict, NotThere, Refusal
from csms.store.paging import BadCursor

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
REF = "#/components/schemas/{model}"


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str
    code: str | None = None  # of the rule that is broken, where it has one


class ProblemDetails(BaseModel):
    """An error, RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    code: str | None = Field(
        default=None, description="A stable word for the reason, where drivers are told one."
    )
    errors: list[FieldProblem] | None = None


class Problem(Exception):
    """An error that an operation answers."""

    def __init__(self, status: int, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.field = field


def response(
    status: int,
    detail: str,
    *,
    path: str | None = None,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    code: str | None = None,
) -> JSONResponse:
    """Problem details as a response."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if path is not None:
        content["instance"] = path
    if code is not None:
        content["code"] = code
    if errors:
        content["errors"] = list(errors)
    return JSONResponse(content, status, headers=headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation that may answer these errors, and those all may."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="ProblemDetails")}}},
        }
        for status in sorted({401, 403, 422, 503, *statuses})
    }


def describe(description: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI description with the shapes that `documented` refers to."""
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    for model in (ProblemDetails, FieldProblem):
        schema = model.model_json_schema(ref_template=REF)
        schema.pop("$defs", None)
        schemas[model.__name__] = schema
    return description


def install(app: FastAPI) -> None:
    """Answer every error of the application as problem details, and document them."""
    plain = app.openapi
    app.openapi = lambda: describe(plain())  # type: ignore[method-assign]
    app.add_exception_handler(Problem, _own)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(Denied, _denied)
    app.add_exception_handler(BadCursor, _bad_cursor)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(psycopg.DataError, _bad_data)
    app.add_exception_handler(psycopg.OperationalError, _no_database)
    app.add_exception_handler(Exception, _bug)


def _field(detail: str, field: str | None) -> list[dict[str, str]]:
    return [] if field is None else [{"field": field, "message": detail}]


async def _own(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    detail = str(error)
    errors = _field(detail, error.field)
    return response(error.status, detail, path=request.url.path, errors=errors)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    detail, headers = str(error), {}
    if isinstance(error, NotLoggedIn):
        status, headers = 401, {"WWW-Authenticate": 'Bearer realm="time2plug"'}
    elif isinstance(error, ComeLater):
        status, headers = 429, {"Retry-After": str(error.retry_after_s)}
    elif isinstance(error, NotThere):
        status = 404
    else:
        status = 409 if isinstance(error, AlreadyThere | Conflict) else 422
    errors = _field(detail, error.field)
    return response(status, detail, path=request.url.path, errors=errors, headers=headers)


_DENIED_STATUSES: Final = {
    **dict.fromkeys(
        (
            Why.NOT_ALLOWED_HERE,
            Why.NOT_NOW,
            Why.BADGE_BLOCKED,
            Why.INVOICES_UNPAID,
            Why.ACCOUNT_CLOSED,
            Why.SERVICE_CLOSED,
            Why.CONTRACT_SUSPENDED,
        ),
        403,
    ),
    **dict.fromkeys(
        (Why.KEY_REUSED, Why.TOO_LONG, Why.TOO_SHORT, Why.TOO_FAR_AHEAD, Why.IN_THE_PAST), 422
    ),
    Why.TOO_MANY_STREAMS: 429,
}


async def _denied(request: Request, error: Exception) -> JSONResponse:
    """What a driver cannot have, in her language; the code says which reason it is. What stands in
    the way at the point or its station is a conflict."""
    assert isinstance(error, Denied)
    principal = getattr(request.state, "principal", None)
    return response(
        _DENIED_STATUSES.get(error.why, 409),
        error.sentence("fr" if principal is None else principal.language),
        path=request.url.path,
        code=error.why.value,
    )


async def _bad_cursor(request: Request, error: Exception) -> JSONResponse:
    detail = f"The cursor cannot be used: {error}."
    return response(422, detail, path=request.url.path, errors=_field(detail, "cursor"))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Input that does not fit: which field, and what it takes. Never repeats the input, which
    may hold a password."""
    assert isinstance(error, RequestValidationError)
    errors = [_told(item) for item in error.errors()[:20]]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors[:3])
    if len(error.errors()) > 3:
        detail += f"; and {len(error.errors()) - 3} more"
    return response(422, detail + ".", path=request.url.path, errors=errors)


def _told(item: Mapping[str, Any]) -> dict[str, str]:
    place = [str(part) for part in item["loc"]]
    if item["type"] == "json_invalid":
        return {"field": "body", "message": "this is not JSON"}
    if len(place) > 1 and place[0] in ("body", "query", "path", "header"):
        place = place[1:]
    message = str(item["msg"]).removeprefix("Value error, ")
    if not message[1:2].isupper():  # an abbreviation stays as it is
        message = message[:1].lower() + message[1:]
    told = {"field": ".".join(place), "message": message}
    return told | ({"code": item["type"]} if item["type"] in static_data.TEXTS else {})


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:  # the framework could not even decode the body, or find its end
        detail = "this is not JSON"
        return response(
            422, f"body: {detail}.", path=request.url.path, errors=_field(detail, "body")
        )
    details = {
        404: "There is nothing at this address.",
        405: f"{request.method} is not possible here.",
    }
    plain = error.detail == HTTPStatus(error.status_code).phrase
    detail = details.get(error.status_code, error.detail) if plain else str(error.detail)
    return response(error.status_code, detail, path=request.url.path, headers=error.headers)


async def _bad_data(request: Request, error: Exception) -> JSONResponse:
    """A value that passed our checks and that the database cannot hold."""
    log.warning("%s %s: %s", request.method, request.url.path, type(error).__name__)
    detail = "A value cannot be stored: it is out of range or not valid text."
    return response(422, detail, path=request.url.path)


async def _no_database(request: Request, error: Exception) -> JSONResponse:
    log.warning("%s %s: no database: %s", request.method, request.url.path, type(error).__name__)
    detail = "The database does not answer; nothing was changed. Try again soon."
    return response(503, detail, path=request.url.path, headers={"Retry-After": "5"})


def bug(path: str) -> JSONResponse:
    """Our own bug: the server logs the traceback, the client learns nothing of it."""
    return response(500, "An error on our side; it is logged.", path=path)


async def _bug(request: Request, error: Exception) -> JSONResponse:
    return bug(request.url.path)
