"""Pages for whoever is not logged in: log-in, invitation, forgotten password; and the way out.

Every form is tied to the browser by a cookie (csms.web.cookies), so that nobody logs a browser in
as somebody else; a log-in always has a new secret, and ends the one that the browser had.
"""

from datetime import UTC, datetime

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from csms import logins, own_account
from csms.db import transaction
from csms.logins import CodeNeeded, LoggedIn, Means
from csms.refusals import AccountRefusal, ComeLater, NotLoggedIn
from csms.registry import Refusal
from csms.web import account_pages, cookies
from csms.web.guard import Comer, LogInMeans, principal_of
from csms.web.page_texts import TEXTS
from csms.web.rendering import BadForm, language_of, page, read_form, sent_to, told

router = APIRouter(include_in_schema=False, default_response_class=Response)

_DONE = ("reset", "logout", "address")  # what the log-in page may say was done


def install(app: FastAPI) -> None:
    """Add the pages, and the one that says that a form was refused."""
    app.include_router(router)
    app.include_router(account_pages.router)
    app.add_exception_handler(BadForm, _bad_form)


async def _bad_form(request: Request, error: Exception) -> Response:
    return page(request, "refused.html", status=403)


@router.get("/login")
async def show_login(request: Request, next: str = "", done: str = "") -> Response:
    """The form; whoever is logged in goes on."""
    if principal_of(request) is not None:
        return sent_to(next)
    said = TEXTS[language_of(request)][f"done_{done}"] if done in _DONE else ""
    return _login_page(request, next, done=said)


@router.post("/login")
async def log_in(request: Request, means: LogInMeans, caller: Comer) -> Response:
    """Address and password; then in, or on to the code."""
    form = await read_form(request, "form")
    email, target = form.get("email", ""), form.get("next", "")
    try:
        begun = await logins.log_in(
            means,
            email,
            form.get("password", ""),
            code=None,
            kind="page",
            caller=caller,
            now=datetime.now(UTC),
        )
    except AccountRefusal as refused:
        return _login_page(request, target, email=email, refused=refused)
    if isinstance(begun, CodeNeeded):
        return page(request, "code.html", ties="form", ticket=begun.ticket, next=target, error="")
    return await _enter(request, means, begun, target)


@router.get("/login/code")
async def show_code() -> Response:
    """The code comes after the password."""
    return sent_to("/login")


@router.post("/login/code")
async def enter_code(request: Request, means: LogInMeans, caller: Comer) -> Response:
    """The code of the second factor; then in."""
    form = await read_form(request, "form")
    ticket, target = form.get("ticket", ""), form.get("next", "")
    try:
        begun = await logins.enter_code(
            means,
            ticket,
            form.get("code", ""),
            kind="page",
            caller=caller,
            now=datetime.now(UTC),
        )
    except AccountRefusal as refused:
        if refused.code == "ticket":
            return _login_page(request, target, refused=refused)
        return page(
            request,
            "code.html",
            status=_status(refused),
            headers=_headers(refused),
            ties="form",
            ticket=ticket,
            next=target,
            error=told(refused, language_of(request)),
        )
    return await _enter(request, means, begun, target)


@router.get("/logout")
async def show_logout(request: Request) -> Response:
    """Ask, since a link alone must not log anybody out."""
    if principal_of(request) is None:
        return sent_to("/login")
    return page(request, "logout.html", ties="session")


@router.post("/logout")
async def log_out(request: Request, means: LogInMeans) -> Response:
    """End this log-in."""
    await read_form(request, "session")
    await _end_present(request, means)
    response = sent_to("/login?done=logout")
    cookies.clear(response, "session", request.state.https)
    return response


@router.get("/invitation/{token}")
async def show_invitation(request: Request, means: LogInMeans, token: str) -> Response:
    """Choose the first password."""
    return await _choose_page(request, means, "invitation", token)


@router.post("/invitation/{token}")
async def accept_invitation(
    request: Request, means: LogInMeans, caller: Comer, token: str
) -> Response:
    """The first password is chosen: in."""
    form = await read_form(request, "form")
    try:
        begun = await own_account.accept_invitation(
            means,
            token,
            form.get("password", ""),
            kind="page",
            caller=caller,
            now=datetime.now(UTC),
        )
    except Refusal as refused:
        return await _choose_page(request, means, "invitation", token, refused)
    return await _enter(request, means, begun, "")


@router.get("/reset")
async def show_reset(request: Request) -> Response:
    """Ask for a link."""
    return page(request, "reset.html", ties="form", error="", done="")


@router.post("/reset")
async def request_reset(request: Request, means: LogInMeans, caller: Comer) -> Response:
    """A link is mailed, if there is such an account."""
    form = await read_form(request, "form")
    texts = TEXTS[language_of(request)]
    try:
        await own_account.request_reset(means, form.get("email", ""), caller, datetime.now(UTC))
    except ComeLater as refused:
        error = told(refused, language_of(request))
        return page(
            request,
            "reset.html",
            status=429,
            headers=_headers(refused),
            ties="form",
            error=error,
            done="",
        )
    return page(request, "reset.html", ties="form", error="", done=texts["reset_sent"])


@router.get("/reset/{token}")
async def show_reset_link(request: Request, means: LogInMeans, token: str) -> Response:
    """Choose the password anew."""
    return await _choose_page(request, means, "reset", token)


@router.post("/reset/{token}")
async def reset_password(
    request: Request, means: LogInMeans, caller: Comer, token: str
) -> Response:
    """The password is chosen anew: now log in with it."""
    form = await read_form(request, "form")
    try:
        device = await own_account.reset_password(
            means, token, form.get("password", ""), caller=caller, now=datetime.now(UTC)
        )
    except Refusal as refused:
        return await _choose_page(request, means, "reset", token, refused)
    response = sent_to("/login?done=reset")
    cookies.set_device(response, means.settings, device, request.state.https)
    cookies.clear(response, "session", request.state.https)
    return response


# --- What they share ------------------------------------------------------------------------------


def _login_page(
    request: Request,
    target: str,
    *,
    email: str = "",
    done: str = "",
    refused: AccountRefusal | None = None,
) -> Response:
    return page(
        request,
        "login.html",
        status=_status(refused) if refused else 200,
        headers=_headers(refused) if refused else None,
        ties="form",
        email=email,
        next=target,
        done=done,
        error=told(refused, language_of(request)) if refused else "",
    )


async def _choose_page(
    request: Request, means: Means, kind: str, token: str, refused: Refusal | None = None
) -> Response:
    """The page where a password is chosen by a link, or which says that the link is over."""
    email, good = "", True
    try:
        async with means.pool.connection() as connection:
            link = await own_account.find_link(connection, token, kind, datetime.now(UTC))
        email = link.person_email or ""
    except AccountRefusal as over:
        refused, good = refused or over, False
    status = 200
    if refused is not None:
        status = _status(refused) if good else 404
    return page(
        request,
        "choose.html",
        status=status,
        headers=_headers(refused),
        ties="form",
        kind=kind,
        token=token,
        email=email,
        good=good,
        error=told(refused, language_of(request)) if refused else "",
    )


async def _enter(request: Request, means: Means, begun: LoggedIn, target: str) -> Response:
    """Send a browser on with its new log-in; the one that it had is over."""
    await _end_present(request, means)
    response = sent_to("/account" if begun.must_set_up_second_factor else target)
    cookies.set_login(response, means.settings, begun, request.state.https)
    return response


async def _end_present(request: Request, means: Means) -> None:
    """End the log-in with which the request came, if it did."""
    principal = principal_of(request)
    if principal is not None and principal.person_id and principal.login_id:
        async with transaction(means.pool) as connection:
            await logins.log_out(
                connection, principal.person_id, principal.login_id, datetime.now(UTC)
            )


def _status(refused: Refusal) -> int:
    if isinstance(refused, NotLoggedIn):
        return 401
    return 429 if isinstance(refused, ComeLater) else 422


def _headers(refused: Refusal | None) -> dict[str, str]:
    if isinstance(refused, ComeLater):
        return {"Retry-After": str(refused.retry_after_s)}
    return {}
