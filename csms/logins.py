"""Log-ins: how they begin, go on and end.

A browser has a secret in a cookie; a program an access token of a few minutes, and a refresh token
that is replaced at every use. One that is shown again ends the log-in, since it was stolen; but for
a few seconds after its replacement, when the answer may have been lost. Every log-in begins with
new secrets, whatever was there before; only digests are stored.

Address and password that do not fit, an account that is not there, and one that is blocked or
closed are told apart by nobody: not by the answer, and not by its time.
"""

import json
import secrets as chance
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from csms import second_factor, secrets, throttle
from csms.announcing import announce
from csms.config import Settings
from csms.db import transaction
from csms.password_work import PasswordWork
from csms.principals import ACCESS_PREFIX, TOKEN_LENGTH_MAX, digest
from csms.refusals import NotLoggedIn
from csms.store import audit, links, people
from csms.store import logins as store
from csms.store.people import Credentials

Kind = Literal["page", "api"]

REFRESH_PREFIX = "t2r_"
EMAIL_LENGTH_MAX = 254
USER_AGENT_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class Means:
    """What log-ins are made with: a pool of the machines' role, settings, threads for argon2."""

    pool: AsyncConnectionPool
    settings: Settings
    passwords: PasswordWork


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request comes from."""

    address: str
    user_agent: str = ""
    device: str | None = None  # what the browser says it is: the secret of a trusted device


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A log-in that has begun or goes on. The secrets are shown now and never again."""

    login_id: int
    person_id: int
    secret: str  # of the cookie, or the access token
    expires_in_s: int
    refresh: str | None  # of a program
    device: str | None  # what this browser calls itself from now on; None: as before
    has_second_factor: bool
    must_set_up_second_factor: bool  # roles wait for it


@dataclass(frozen=True, slots=True)
class CodeNeeded:
    """The password was right; the second factor is asked for. The ticket proves the password, for
    a few minutes."""

    ticket: str


def normalised(email: str) -> str:
    """An address as it is stored and compared; '' for what can be none."""
    text = email.strip().lower()
    return text if len(text) <= EMAIL_LENGTH_MAX and text.isprintable() else ""


async def log_in(
    means: Means,
    email: str,
    password: str,
    *,
    code: str | None,
    kind: Kind,
    caller: Caller,
    now: datetime,
) -> LoggedIn | CodeNeeded:
    """Log a person in by address and password, and the code where she has a second factor.

    Raises: NotLoggedIn; ComeLater.
    """
    account = normalised(email)
    means.passwords.check_room()
    async with transaction(means.pool) as connection:
        person = await people.find_credentials(connection, account)
        attempt = await throttle.admit(
            connection,
            means.settings,
            account=account,
            person_id=person.id if person else None,
            address=caller.address,
            device=caller.device,
            now=now,
        )
    stored = person.password_hash if person else None
    good = await means.passwords.verify(stored, password)
    if not good or person is None or not person.is_open:
        async with transaction(means.pool) as connection:
            await _note_failure(connection, means.settings, account, caller, now)
        raise _wrong_login()
    async with transaction(means.pool) as connection:
        await throttle.succeed(connection, attempt)
    if person.totp_confirmed_at is None:
        async with transaction(means.pool) as connection:
            return await begin(connection, means.settings, person, kind, caller, None, now)
    if code is None:
        return CodeNeeded(_ticket(means.settings, person, now))
    return await _with_code(means, person, code, kind, caller, now)


async def enter_code(
    means: Means, ticket: str, code: str, *, kind: Kind, caller: Caller, now: datetime
) -> LoggedIn:
    """Go on from `CodeNeeded` with the code. Raises: NotLoggedIn; ComeLater."""
    async with means.pool.connection() as connection:
        person = await _of_ticket(connection, means.settings, ticket, now)
    if person is None or not person.is_open or person.totp_confirmed_at is None:
        raise NotLoggedIn("ticket", "This took too long: begin again with your password.")
    return await _with_code(means, person, code, kind, caller, now)


async def begin(
    connection: AsyncConnection,
    settings: Settings,
    person: Credentials,
    kind: Kind,
    caller: Caller,
    second_factor_at: datetime | None,
    now: datetime,
) -> LoggedIn:
    """A new log-in of a person who has proved who she is. Her browser is known from now on.

    Raises: NotLoggedIn when her password has been changed, or her account blocked or closed, since
    `person` was read: that has ended all log-ins, and this one too.
    """
    if not await people.hold_credentials(connection, person.id, person.password_changed_at):
        raise _wrong_login()
    since = now - timedelta(seconds=settings.trusted_device_s)
    former = await store.list_addresses(connection, person.id, since)
    device, is_new = await trust(connection, settings, person.id, caller, now)
    secret, lasts_s = _new_secret(settings, kind)
    refresh = REFRESH_PREFIX + chance.token_urlsafe(32) if kind == "api" else None
    login_id = await store.add_login(
        connection,
        person_id=person.id,
        kind=kind,
        secret_sha256=digest(secret),
        secret_expires_at=now + timedelta(seconds=lasts_s),
        refresh_sha256=digest(refresh) if refresh else None,
        refresh_expires_at=(
            now + timedelta(seconds=settings.refresh_token_s) if refresh is not None else None
        ),
        second_factor_at=second_factor_at,
        remote_address=caller.address,
        user_agent=caller.user_agent[:USER_AGENT_LENGTH_MAX],
        now=now,
    )
    await audit.add_entry(
        connection,
        now,
        actor=f"person {person.id}",
        person_id=person.id,
        action="logged in",
        subject=f"log-in {login_id}",
        detail={"kind": kind, "second_factor": second_factor_at is not None},
        remote_address=caller.address,
    )
    places = {throttle.place_of(address) for address in former}
    if is_new and places and throttle.place_of(caller.address) not in places:
        await announce(
            connection,
            settings,
            "account.new_device",
            now=now,
            person_id=person.id,
            data={"device": caller.user_agent[:USER_AGENT_LENGTH_MAX], "place": caller.address},
        )
    return LoggedIn(
        login_id=login_id,
        person_id=person.id,
        secret=secret,
        expires_in_s=int(lasts_s),
        refresh=refresh,
        device=device,
        has_second_factor=second_factor_at is not None,
        must_set_up_second_factor=bool(person.operator_roles) and second_factor_at is None,
    )


async def trust(
    connection: AsyncConnection, settings: Settings, person_id: int, caller: Caller, now: datetime
) -> tuple[str, bool]:
    """Know the caller's browser as this person's: what it calls itself, and whether that is new."""
    known = caller.device is not None and await links.knows_device(
        connection, person_id, digest(caller.device), now
    )
    device = caller.device if known and caller.device else chance.token_urlsafe(32)
    until = now + timedelta(seconds=settings.trusted_device_s)
    await links.add_device(connection, person_id, digest(device), now, until)
    return device, not known


async def refresh(means: Means, token: str, caller: Caller, now: datetime) -> LoggedIn:
    """New tokens for a refresh token. Raises: NotLoggedIn."""
    over = NotLoggedIn("refresh", "This refresh token is not good any more: log in again.")
    if len(token) > TOKEN_LENGTH_MAX:
        raise over
    async with transaction(means.pool) as connection:
        found = await _refreshed(connection, means.settings, token, caller, now)
    if found is None:  # told after the commit: what was stolen has ended
        raise over
    return found


async def _refreshed(
    connection: AsyncConnection, settings: Settings, token: str, caller: Caller, now: datetime
) -> LoggedIn | None:
    login = await store.lock_refresh(connection, digest(token))
    if login is None or login.ended_at is not None or login.refresh_expires_at <= now:
        return None
    if login.blocked_at is not None or login.closed_at is not None:
        return None
    grace = timedelta(seconds=settings.refresh_grace_s)
    if login.is_former and (login.refreshed_at is None or login.refreshed_at < now - grace):
        await store.end_login(connection, login.id, login.person_id, "reuse", now)
        await audit.add_entry(
            connection,
            now,
            actor="system",
            action="log-in ended: refresh token shown again",
            subject=f"log-in {login.id} of person {login.person_id}",
            remote_address=caller.address,
        )
        return None
    secret, lasts_s = _new_secret(settings, "api")
    renewed = REFRESH_PREFIX + chance.token_urlsafe(32)
    await store.rotate_login(
        connection,
        login.id,
        secret_sha256=digest(secret),
        secret_expires_at=now + timedelta(seconds=lasts_s),
        refresh_sha256=digest(renewed),
        refresh_expires_at=now + timedelta(seconds=settings.refresh_token_s),
        remote_address=caller.address,
        now=now,
    )
    person = await people.get_credentials(connection, login.person_id)
    assert person is not None
    proved = login.second_factor_at is not None
    return LoggedIn(
        login_id=login.id,
        person_id=person.id,
        secret=secret,
        expires_in_s=int(lasts_s),
        refresh=renewed,
        device=None,
        has_second_factor=proved,
        must_set_up_second_factor=bool(person.operator_roles) and not proved,
    )


async def log_out(
    connection: AsyncConnection, person_id: int, login_id: int, now: datetime
) -> bool:
    """End one log-in of a person; False when she has none such."""
    ended = await store.end_login(connection, login_id, person_id, "logged out", now)
    if ended:
        await _note(connection, person_id, "logged out", f"log-in {login_id}", now)
    return ended


async def log_out_everywhere(
    connection: AsyncConnection, person_id: int, now: datetime, *, but: int | None = None
) -> int:
    """End all log-ins of a person, or all but one; how many. Her browsers are known no more when
    all end."""
    number = await store.end_logins(connection, person_id, "logged out", now, but=but)
    if but is None:
        await links.forget_devices(connection, person_id)
    subject = f"person {person_id}" if but is None else f"all but log-in {but}"
    await _note(connection, person_id, "logged out everywhere", subject, now)
    return number


async def forget_old(connection: AsyncConnection, settings: Settings, now: datetime) -> int:
    """Mark what has run out, delete what is long over, failures of another day too; how many."""
    idle_since = now - timedelta(seconds=settings.page_idle_s)
    await store.expire_logins(connection, now, idle_since)
    before = now - timedelta(days=settings.logins_kept_days)
    number = await store.forget_logins(connection, before)
    number += await links.forget_links(connection, now - timedelta(days=settings.links_kept_days))
    number += await links.forget_old_devices(connection, now)
    kept = timedelta(seconds=settings.failures_kept_s)
    return number + await throttle.forget(connection, now - kept)


def _wrong_login() -> NotLoggedIn:
    return NotLoggedIn("wrong_login", "The address or the password is not right.")


def _new_secret(settings: Settings, kind: Kind) -> tuple[str, float]:
    """The secret of a log-in, and how long it is good in seconds."""
    secret = chance.token_urlsafe(32)
    if kind == "api":
        return ACCESS_PREFIX + secret, settings.access_token_s
    return secret, settings.page_login_s


def _ticket(settings: Settings, person: Credentials, now: datetime) -> str:
    """Proof of a password just shown: sealed, so that nobody makes or changes one."""
    until = now + timedelta(seconds=settings.login_code_s)
    content = [person.id, until.timestamp(), _stamp(person)]
    return secrets.seal(settings, json.dumps(content)).hex()


async def _of_ticket(
    connection: AsyncConnection, settings: Settings, ticket: str, now: datetime
) -> Credentials | None:
    try:
        content = json.loads(secrets.unseal(settings, bytes.fromhex(ticket)))
        person_id, until, stamp = content
    except (ValueError, secrets.Unreadable):
        return None
    if until < now.timestamp():
        return None
    person = await people.get_credentials(connection, person_id)
    return person if person is not None and _stamp(person) == stamp else None


def _stamp(person: Credentials) -> str:
    """Changes with the password: a ticket for a former one is worth nothing."""
    return str(person.password_changed_at)


async def _with_code(
    means: Means, person: Credentials, code: str, kind: Kind, caller: Caller, now: datetime
) -> LoggedIn:
    async with transaction(means.pool) as connection:
        attempt = await throttle.admit_code(
            connection, means.settings, person_id=person.id, device=caller.device, now=now
        )
    async with transaction(means.pool) as connection:
        used = await second_factor.use_code(connection, means.settings, person, code, now)
        if used is not None:
            await throttle.succeed(connection, attempt)
            if used == "recovery code":
                await _note(connection, person.id, "recovery code used", f"person {person.id}", now)
            return await begin(connection, means.settings, person, kind, caller, now, now)
        await _note(
            connection, person.id, "code refused", f"person {person.id}", now, caller.address
        )
    raise NotLoggedIn("wrong_code", "This code is not right, or was used already.", "code")


async def _note_failure(
    connection: AsyncConnection, settings: Settings, account: str, caller: Caller, now: datetime
) -> None:
    """Which account it was, only whoever has the key can tell."""
    mark = throttle.key(settings, "account", account).hex()[:16]
    await audit.add_entry(
        connection,
        now,
        actor="nobody",
        action="log-in failed",
        subject=f"account {mark}",
        remote_address=caller.address,
    )


async def _note(
    connection: AsyncConnection,
    person_id: int,
    action: str,
    subject: str,
    now: datetime,
    address: str | None = None,
) -> None:
    await audit.add_entry(
        connection,
        now,
        actor=f"person {person_id}",
        person_id=person_id,
        action=action,
        subject=subject,
        remote_address=address,
    )
