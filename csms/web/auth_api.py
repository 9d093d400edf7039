"""Operations of the log-in: what nobody must be logged in for, but log-out."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter

from csms import logins, own_account
from csms.db import transaction
from csms.logins import CodeNeeded, LoggedIn
from csms.web.account_models import (
    LinkIn,
    LinkPasswordIn,
    LogInIn,
    LogInOut,
    LogOutIn,
    RefreshIn,
    ResetOut,
    ResetRequestIn,
)
from csms.web.guard import Comer, LogInMeans, Person, Pool
from csms.web.problems import documented

router = APIRouter(prefix="/auth", tags=["Log-in"])

_NOBODY: dict[str, Any] = {"openapi_extra": {"security": []}}  # asks for no key


@router.post("/log-in", summary="Log in", responses=documented(429), **_NOBODY)
async def log_in(means: LogInMeans, caller: Comer, body: LogInIn) -> LogInOut:
    """Log in by address and password, and the code of the second factor where there is one. 401
    says the same for an address that is not known, a wrong password and a closed account."""
    begun = await logins.log_in(
        means,
        body.email,
        body.password,
        code=body.code,
        kind="api",
        caller=replace(caller, device=body.device),
        now=datetime.now(UTC),
    )
    return LogInOut(second_factor_needed=True) if isinstance(begun, CodeNeeded) else _shown(begun)


@router.post("/refresh", summary="Refresh a log-in", responses=documented(), **_NOBODY)
async def refresh(means: LogInMeans, caller: Comer, body: RefreshIn) -> LogInOut:
    """New tokens; the former ones are good no more. A refresh token that is shown again ends the
    log-in, but for some seconds, since an answer may be lost."""
    return _shown(await logins.refresh(means, body.refresh_token, caller, datetime.now(UTC)))


@router.post("/log-out", summary="Log out", status_code=204, responses=documented(403))
async def log_out(pool: Pool, me: Person, body: LogOutIn) -> None:
    """End this log-in, all others, or all."""
    assert me.person_id is not None and me.login_id is not None
    now = datetime.now(UTC)
    async with transaction(pool) as connection:
        if body.which == "this":
            await logins.log_out(connection, me.person_id, me.login_id, now)
        else:
            but = me.login_id if body.which == "others" else None
            await logins.log_out_everywhere(connection, me.person_id, now, but=but)


@router.post(
    "/invitations/accept", summary="Accept an invitation", responses=documented(429), **_NOBODY
)
async def accept_invitation(means: LogInMeans, caller: Comer, body: LinkPasswordIn) -> LogInOut:
    """Choose the first password by the token of a mailed link, and be logged in."""
    return _shown(
        await own_account.accept_invitation(
            means,
            body.token,
            body.password,
            kind="api",
            caller=replace(caller, device=body.device),
            now=datetime.now(UTC),
        )
    )


@router.post(
    "/password/reset-request",
    summary="Ask for a reset of a password",
    status_code=202,
    responses=documented(429),
    **_NOBODY,
)
async def request_reset(means: LogInMeans, caller: Comer, body: ResetRequestIn) -> None:
    """A link is mailed, if there is such an account; the answer is the same where there is none."""
    await own_account.request_reset(means, body.email, caller, datetime.now(UTC))


@router.post("/password/reset", summary="Reset a password", responses=documented(429), **_NOBODY)
async def reset_password(means: LogInMeans, caller: Comer, body: LinkPasswordIn) -> ResetOut:
    """Choose a password by the token of a mailed link. All log-ins end."""
    device = await own_account.reset_password(
        means,
        body.token,
        body.password,
        caller=replace(caller, device=body.device),
        now=datetime.now(UTC),
    )
    return ResetOut(device=device)


@router.post(
    "/email/confirm",
    summary="Confirm another address",
    status_code=204,
    responses=documented(),
    **_NOBODY,
)
async def confirm_email(means: LogInMeans, body: LinkIn) -> None:
    """The address that the link was mailed to is the account's from now on."""
    async with transaction(means.pool) as connection:
        await own_account.confirm_email(connection, means.settings, body.token, datetime.now(UTC))


def _shown(login: LoggedIn) -> LogInOut:
    return LogInOut(
        second_factor_needed=False,
        access_token=login.secret,
        expires_in_s=login.expires_in_s,
        refresh_token=login.refresh,
        device=login.device,
        second_factor_to_set_up=login.must_set_up_second_factor,
    )
