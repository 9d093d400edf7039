"""Pages from templates: in the language of whoever reads them, with forms that only they send.

A page in which somebody is logged in has the language of the account, unless `?lang=` asks for
another; others have the one that their browser prefers.
"""

import urllib.parse
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

from csms.refusals import AccountRefusal
from csms.registry import Refusal
from csms.web import cookies
from csms.web.callers import is_local
from csms.web.guard import principal_of
from csms.web.page_texts import LANGUAGES, TEXTS

PARIS = ZoneInfo("Europe/Paris")
FORM_BYTES_MAX = 64 * 1024
FORM_FIELDS_MAX = 50

Ties = Literal["form", "session"]  # what ties a form to the browser: see csms.web.cookies


class BadForm(Exception):
    """A form that did not come from a page of ours, or whose page is too old."""


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("csms.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    ties: Ties | None = None,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response:
    """A page from a template; `ties`: it has forms, tied to the browser or to the log-in."""
    language = language_of(request)
    other = "en" if language == "fr" else "fr"
    asked = request.query_params.get("lang")
    secret = _secret(request, ties) if ties is not None else None
    fresh = secret is None and ties == "form"
    if fresh:
        secret = cookies.new_form_secret()
    settings = request.app.state.settings
    html = (
        _environment()
        .get_template(template)
        .render(
            t=TEXTS[language],
            language=language,
            other=other,
            lang=f"?lang={language}" if asked in LANGUAGES else "",
            csrf=cookies.csrf_token(settings, secret) if secret is not None else "",
            who=principal_of(request),
            moment=lambda at: moment(at, language),
            **values,
        )
    )
    response = HTMLResponse(html, status, headers=dict(headers or {}) | {"Vary": "Accept-Language"})
    if fresh and secret is not None:
        cookies.set_form(response, secret, request.state.https)
    return response


async def read_form(request: Request, ties: Ties) -> dict[str, str]:
    """The fields of a form of ours, the first of each name. Raises: BadForm."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if kind != "application/x-www-form-urlencoded" or len(body) > FORM_BYTES_MAX:
        raise BadForm
    try:
        pairs = urllib.parse.parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX
        )
    except ValueError:
        raise BadForm from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value.replace("\0", ""))
    secret = _secret(request, ties)
    settings = request.app.state.settings
    if secret is None or not cookies.is_csrf_token(settings, secret, fields.get("csrf", "")):
        raise BadForm
    return fields


def _secret(request: Request, ties: Ties) -> str | None:
    if ties == "form":
        return cookies.read(request.scope, "form", request.state.https)
    secret: str | None = getattr(request.state, "session_secret", None)
    return secret


def sent_to(target: str | None, default: str = "/") -> RedirectResponse:
    """Go on at a path of ours; at the default when the target is none."""
    return RedirectResponse(target if target and is_local(target) else default, 303)


def told(error: Refusal, language: str) -> str:
    """Why something was refused, in the language of whoever reads it."""
    texts = TEXTS[language]
    if isinstance(error, AccountRefusal):
        text = texts.get(f"refused_{error.code}")
        if text is not None:
            return text.replace("{number}", str(error.number))
    return texts["refused"]


def language_of(request: Request) -> str:
    """fr or en: what is asked for, else the account's, else what the browser prefers."""
    asked = request.query_params.get("lang")
    principal = principal_of(request)
    if asked in LANGUAGES:
        return asked
    if principal is not None and principal.person_id is not None:
        return principal.language
    return choose_language(request.headers.get("accept-language", ""))


def choose_language(accepted: str) -> str:
    """fr or en: the first of the two that the browser prefers, else fr."""
    weighted = []
    for part in accepted[:1_000].lower().split(","):
        name, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight or 1)
        except ValueError:
            quality = 0.0
        if name[:2] in LANGUAGES and quality > 0:
            weighted.append((quality, name[:2]))
    return max(weighted, key=lambda pair: pair[0])[1] if weighted else "fr"


def moment(at: datetime, language: str) -> str:
    """Day and minute in Paris, in words."""
    local = at.astimezone(PARIS)
    month = TEXTS[language]["months"].split()[local.month - 1]
    if language == "fr":
        day = "1er" if local.day == 1 else str(local.day)
        return f"{day} {month} {local.year}, {local:%H:%M}"
    return f"{local.day} {month} {local.year}, {local:%H:%M}"
