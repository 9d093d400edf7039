"""Operations on one's own account. For people with their log-in; a key is nobody's account."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request

from csms import accounts, logins, own_account
from csms.db import transaction
from csms.principals import Principal
from csms.registry import NotThere
from csms.store import logins as store
from csms.store import people
from csms.web import cookies
from csms.web.account_models import (
    CodeIn,
    EmailChange,
    EnrolmentOut,
    LogInListed,
    MeOut,
    PasswordAgain,
    PasswordAndCode,
    PasswordChange,
    ProfileChange,
    RecoveryCodesOut,
)
from csms.web.fields import Identifier, PageOf
from csms.web.guard import LogInMeans, Own, Person, Pool
from csms.web.problems import documented

router = APIRouter(prefix="/me", tags=["My account"])


@router.get("", summary="Who I am", responses=documented(403))
async def get_me(request: Request, me: Person, own: Own) -> MeOut:
    """One's own account, and what may be done with it."""
    async with own.connection() as connection:
        person = await people.get_person(connection, ids(me)[0])
    if person is None:
        raise NotThere("This account is gone.")
    settings = request.app.state.settings
    secret: str | None = getattr(request.state, "session_secret", None)
    shown = {name: getattr(person, name) for name in person.__slots__}
    return MeOut(
        **shown,
        roles=sorted(me.roles),
        second_factor_to_set_up=me.lacks_second_factor,
        csrf_token=cookies.csrf_token(settings, secret) if secret is not None else None,
    )


@router.patch("", summary="Change my profile", responses=documented(403))
async def change_me(
    request: Request, pool: Pool, me: Person, own: Own, body: ProfileChange
) -> MeOut:
    """Change names, phone and language, as far as they are named."""
    async with transaction(pool) as connection:
        await accounts.change_profile(
            connection, ids(me)[0], body.named(), actor=me.actor, now=datetime.now(UTC)
        )
    return await get_me(request, me, own)


@router.post(
    "/password", summary="Change my password", status_code=204, responses=documented(403, 429)
)
async def change_password(means: LogInMeans, me: Person, body: PasswordChange) -> None:
    """Change the password. All other log-ins end."""
    await own_account.change_password(
        means, *ids(me), body.current, body.password, datetime.now(UTC)
    )


@router.post("/email", summary="Change my address", status_code=202, responses=documented(403, 429))
async def change_email(means: LogInMeans, me: Person, body: EmailChange) -> None:
    """Mail a link to another address; opened, it becomes the account's."""
    await own_account.ask_for_email(means, *ids(me), body.password, body.email, datetime.now(UTC))


@router.get("/log-ins", summary="My log-ins", responses=documented(403))
async def list_logins(request: Request, me: Person, own: Own) -> PageOf[LogInListed]:
    """One's open log-ins, the last used first; two hundred at most."""
    now = datetime.now(UTC)
    idle = timedelta(seconds=request.app.state.settings.page_idle_s)
    async with own.connection() as connection:
        found = await store.list_logins(connection, ids(me)[0], now, now - idle)
    items = [
        LogInListed(
            id=login.id,
            kind="page" if login.kind == "page" else "api",
            is_this=login.id == me.login_id,
            created_at=login.created_at,
            last_used_at=login.last_used_at,
            second_factor_at=login.second_factor_at,
            remote_address=login.remote_address,
            user_agent=login.user_agent,
        )
        for login in found
    ]
    return PageOf[LogInListed](items=items, next=None, total=len(items))


@router.delete(
    "/log-ins/{login_id}", summary="End a log-in", status_code=204, responses=documented(403, 404)
)
async def end_login(
    pool: Pool, me: Person, login_id: Annotated[Identifier, Path(description="One of mine.")]
) -> None:
    """End one of one's log-ins."""
    async with transaction(pool) as connection:
        if not await logins.log_out(connection, ids(me)[0], login_id, datetime.now(UTC)):
            raise NotThere(f"You have no log-in {login_id} that is open.")


@router.post("/second-factor", summary="Set up a second factor", responses=documented(403, 429))
async def enrol(means: LogInMeans, me: Person, body: PasswordAgain) -> EnrolmentOut:
    """The secret for an app, shown once. It counts once a code of it has confirmed it."""
    found = await own_account.enrol(means, *ids(me), body.password, datetime.now(UTC))
    return EnrolmentOut.model_validate(found)


@router.post(
    "/second-factor/confirm",
    summary="Confirm the second factor",
    responses=documented(403, 429),
)
async def confirm(means: LogInMeans, me: Person, body: CodeIn) -> RecoveryCodesOut:
    """The first code of the app. This log-in has shown its second factor: an operator's roles
    count from now on."""
    codes = await own_account.confirm(means, *ids(me), body.code, datetime.now(UTC))
    return RecoveryCodesOut(recovery_codes=codes)


@router.post(
    "/second-factor/recovery-codes",
    summary="Renew the recovery codes",
    responses=documented(403, 429),
)
async def renew_codes(means: LogInMeans, me: Person, body: PasswordAndCode) -> RecoveryCodesOut:
    """Ten other recovery codes; the former ones are good no more."""
    codes = await own_account.renew_recovery_codes(
        means, *ids(me), body.password, body.code, datetime.now(UTC)
    )
    return RecoveryCodesOut(recovery_codes=codes)


@router.post(
    "/second-factor/remove",
    summary="Remove the second factor",
    status_code=204,
    responses=documented(403, 429),
)
async def remove(means: LogInMeans, me: Person, body: PasswordAndCode) -> None:
    """No second factor any more. An operator's roles wait for another one."""
    await own_account.remove_second_factor(
        means, *ids(me), body.password, body.code, datetime.now(UTC)
    )


def ids(me: Principal) -> tuple[int, int]:
    """The person, and her log-in."""
    assert me.person_id is not None and me.login_id is not None
    return me.person_id, me.login_id
