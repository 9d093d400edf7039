"""Pages of one's own account: profile, notifications, address, password, second factor, log-ins."""

import contextlib
import secrets as chance
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from csms import accounts, group_requests, logins, notices, own_account
from csms.clients import Actor
from csms.db import transaction
from csms.domain.quiet_hours import clock_of, minute_of
from csms.logins import Means
from csms.principals import Principal
from csms.refusals import AccountRefusal, ComeLater
from csms.registry import NotThere, Refusal
from csms.store import choices
from csms.store import logins as store
from csms.store.choices import QuietHours
from csms.web import cookies
from csms.web.fields import Identifier
from csms.web.guard import LogInMeans, principal_of
from csms.web.page_texts import TEXTS
from csms.web.rendering import language_of, page, read_form, sent_to, told

router = APIRouter(include_in_schema=False, default_response_class=Response)

_DONE = (
    "password",
    "profile",
    "notifications",
    "email",
    "address",
    "logins",
    "removed",
    "joined",
    "declined",
)


@router.get("/account/email/{token}")
async def show_email_link(request: Request, means: LogInMeans, token: str) -> Response:
    """Confirm another address: asked, since programs open links in mails too."""
    return await _email_page(request, means, token, None)


@router.post("/account/email/{token}")
async def confirm_email(request: Request, means: LogInMeans, token: str) -> Response:
    """The address is the account's."""
    await read_form(request, "form")
    try:
        async with transaction(means.pool) as connection:
            await own_account.confirm_email(connection, means.settings, token, datetime.now(UTC))
    except Refusal as refused:
        return await _email_page(request, means, token, refused)
    where = "/account" if principal_of(request) is not None else "/login"
    return sent_to(f"{where}?done=address")


@router.get("/account")
async def show_account(request: Request, means: LogInMeans, done: str = "") -> Response:
    """All of it on one page."""
    me = _me(request)
    if me is None:
        return sent_to("/login?next=/account")
    said = TEXTS[language_of(request)][f"done_{done}"] if done in _DONE else ""
    return await _account_page(request, means, me, done=said)


@router.post("/account/profile")
async def change_profile(request: Request, means: LogInMeans) -> Response:
    """Names, phone, language."""
    form, me = await _sent(request)
    fields = ("given_name", "family_name", "phone", "language")
    values = {name: form[name] for name in fields if name in form}

    async def change() -> None:
        async with transaction(means.pool) as connection:
            await accounts.change_profile(
                connection, _ids(me)[0], values, actor=me.actor, now=datetime.now(UTC)
            )

    return await _done(request, means, me, change(), "profile")


@router.post("/account/notifications")
async def choose_notifications(request: Request, means: LogInMeans) -> Response:
    """What she is told on which channel, and when not to be disturbed: a box that is not ticked
    sends nothing, so what may be chosen and is not named is not wanted."""
    form, me = await _sent(request)
    now = datetime.now(UTC)

    async def change() -> None:
        async with transaction(means.pool) as connection:
            known = await notices.preferences(connection, _ids(me)[0])
            wanted = {
                (one.category, one.channel): f"{one.category}.{one.channel}" in form
                for one in known
                if one.optional
            }
            await notices.choose(connection, _ids(me)[0], wanted, _quiet_hours(form), now)

    return await _done(request, means, me, change(), "notifications")


@router.post("/account/email")
async def change_email(request: Request, means: LogInMeans) -> Response:
    """A link goes to another address."""
    form, me = await _sent(request)
    change = own_account.ask_for_email(
        means,
        *_ids(me),
        form.get("password", ""),
        form.get("email", ""),
        datetime.now(UTC),
    )
    return await _done(request, means, me, change, "email")


@router.post("/account/password")
async def change_password(request: Request, means: LogInMeans) -> Response:
    """Another password; other log-ins end."""
    form, me = await _sent(request)
    change = own_account.change_password(
        means,
        *_ids(me),
        form.get("current", ""),
        form.get("password", ""),
        datetime.now(UTC),
    )
    return await _done(request, means, me, change, "password")


@router.post("/account/memberships/{group_id}")
async def answer_request(request: Request, means: LogInMeans, group_id: Identifier) -> Response:
    """Join a group to which she is asked to belong, or not."""
    form, me = await _sent(request)
    accepted = form.get("answer") == "accept"
    answer = group_requests.accept if accepted else group_requests.refuse

    async def change() -> None:
        async with transaction(means.pool) as connection:
            with contextlib.suppress(NotThere):  # answered already, or over: the page shows what is
                await answer(
                    connection,
                    group_id,
                    _ids(me)[0],
                    Actor(me.actor, me.person_id),
                    datetime.now(UTC),
                )

    return await _done(request, means, me, change(), "joined" if accepted else "declined")


@router.post("/account/log-ins")
async def end_others(request: Request, means: LogInMeans) -> Response:
    """End all log-ins but this."""
    _, me = await _sent(request)
    person_id, login_id = _ids(me)
    async with transaction(means.pool) as connection:
        await logins.log_out_everywhere(connection, person_id, datetime.now(UTC), but=login_id)
    return sent_to("/account?done=logins")


@router.post("/account/log-ins/{login_id}")
async def end_login(request: Request, means: LogInMeans, login_id: int) -> Response:
    """End one log-in."""
    _, me = await _sent(request)
    async with transaction(means.pool) as connection:
        await logins.log_out(connection, _ids(me)[0], login_id, datetime.now(UTC))
    return sent_to("/account?done=logins")


@router.post("/account/second-factor")
async def enrol(request: Request, means: LogInMeans) -> Response:
    """Show the secret for an app, once."""
    form, me = await _sent(request)
    try:
        enrolment = await own_account.enrol(
            means, *_ids(me), form.get("password", ""), datetime.now(UTC)
        )
    except Refusal as refused:
        return await _account_page(request, means, me, refused=refused)
    return page(request, "enrol.html", ties="session", enrolment=enrolment, error="")


@router.post("/account/second-factor/confirm")
async def confirm(request: Request, means: LogInMeans) -> Response:
    """The first code: the recovery codes, and a new secret for a log-in that may do more."""
    form, me = await _sent(request)
    secret = chance.token_urlsafe(32)
    try:
        codes = await own_account.confirm(
            means, *_ids(me), form.get("code", ""), datetime.now(UTC), secret=secret
        )
    except Refusal as refused:
        return page(
            request,
            "enrol.html",
            status=_status(refused),
            ties="session",
            enrolment=None,
            error=told(refused, language_of(request)),
        )
    response = page(request, "recovery.html", codes=codes)
    cookies.set_session(response, means.settings, secret, request.state.https)
    return response


@router.post("/account/second-factor/codes")
async def renew_codes(request: Request, means: LogInMeans) -> Response:
    """Other recovery codes."""
    form, me = await _sent(request)
    try:
        codes = await own_account.renew_recovery_codes(
            means,
            *_ids(me),
            form.get("password", ""),
            form.get("code", ""),
            datetime.now(UTC),
        )
    except Refusal as refused:
        return await _account_page(request, means, me, refused=refused)
    return page(request, "recovery.html", codes=codes)


@router.post("/account/second-factor/remove")
async def remove(request: Request, means: LogInMeans) -> Response:
    """No second factor any more."""
    form, me = await _sent(request)
    change = own_account.remove_second_factor(
        means,
        *_ids(me),
        form.get("password", ""),
        form.get("code", ""),
        datetime.now(UTC),
    )
    return await _done(request, means, me, change, "removed")


@router.get("/account/{rest:path}")
async def show_rest(rest: str) -> Response:
    """Forms have no page of their own."""
    return sent_to("/account")


# --- What they share ------------------------------------------------------------------------------


def _me(request: Request) -> Principal | None:
    principal = principal_of(request)
    return principal if principal is not None and principal.person_id is not None else None


async def _sent(request: Request) -> tuple[dict[str, str], Principal]:
    """The fields of a form, and who sent it. Raises: BadForm, without a log-in too."""
    form = await read_form(request, "session")
    me = _me(request)
    assert me is not None  # else there was no secret to tie the form to
    return form, me


def _quiet_hours(form: dict[str, str]) -> QuietHours | None:
    """As they were filled in; None: both times are empty. Raises: AccountRefusal."""
    begin, end = form.get("quiet_from", ""), form.get("quiet_to", "")
    if not begin and not end:
        return None
    first, last = minute_of(begin), minute_of(end)
    if first is None or last is None:
        raise AccountRefusal("quiet_hours", "Quiet hours have a begin and an end.", "quiet_hours")
    return QuietHours(first, last, form.get("time_zone", ""))


def _ids(me: Principal) -> tuple[int, int]:
    assert me.person_id is not None and me.login_id is not None
    return me.person_id, me.login_id


async def _done(
    request: Request, means: Means, me: Principal, change: Awaitable[None], done: str
) -> Response:
    """Make a change and say so, or why not."""
    try:
        await change
    except Refusal as refused:
        return await _account_page(request, means, me, refused=refused)
    return sent_to(f"/account?done={done}")


async def _account_page(
    request: Request,
    means: Means,
    me: Principal,
    *,
    done: str = "",
    refused: Refusal | None = None,
) -> Response:
    now = datetime.now(UTC)
    idle = timedelta(seconds=means.settings.page_idle_s)
    person_id = _ids(me)[0]
    async with means.pool.connection() as connection:
        person = await accounts.get_person(connection, person_id)
        found = await store.list_logins(connection, person_id, now, now - idle)
        wanted = await notices.preferences(connection, person_id)
        requests = await group_requests.list_open(connection, person_id, now)
        quiet = await choices.fetch_quiet_hours(connection, person_id)
    return page(
        request,
        "account.html",
        status=_status(refused) if refused else 200,
        headers=_later(refused),
        ties="session",
        person=person,
        logins=found,
        requests=requests,
        preferences=wanted,
        channels=notices.CHANNELS,
        quiet=quiet,
        clock=clock_of,
        done=done,
        error=told(refused, language_of(request)) if refused else "",
    )


async def _email_page(
    request: Request, means: Means, token: str, refused: Refusal | None
) -> Response:
    email, good = "", True
    try:
        async with means.pool.connection() as connection:
            link = await own_account.find_link(connection, token, "email", datetime.now(UTC))
        email = link.email or ""
    except Refusal as over:
        refused, good = refused or over, False
    return page(
        request,
        "email.html",
        status=200 if refused is None else 422 if good else 404,
        ties="form",
        token=token,
        email=email,
        good=good,
        done="",
        error=told(refused, language_of(request)) if refused else "",
    )


def _status(refused: Refusal) -> int:
    return 429 if isinstance(refused, ComeLater) else 422


def _later(refused: Refusal | None) -> dict[str, str]:
    if isinstance(refused, ComeLater):
        return {"Retry-After": str(refused.retry_after_s)}
    return {}
