"""What people do with their own accounts: accept an invitation, change or reset the password,
change the address, set up a second factor.

What changes who can log in asks for the password again, within a log-in too: whoever finds a
browser open has not found the account. Argon2 works while no connection is held.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg import AsyncConnection

from csms import accounts, second_factor, secrets, throttle
from csms import logins as door
from csms.announcing import announce
from csms.config import Settings
from csms.db import transaction
from csms.logins import Caller, Kind, LoggedIn, Means
from csms.password_work import check_chosen
from csms.principals import TOKEN_LENGTH_MAX, digest
from csms.refusals import AccountRefusal, NotLoggedIn
from csms.store import audit, links, logins, people
from csms.store.links import Link
from csms.store.people import Credentials


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A second factor to be: shown once."""

    secret: str  # to type
    uri: str  # otpauth://
    qr_svg: str  # data: URL


async def find_link(connection: AsyncConnection, token: str, purpose: str, now: datetime) -> Link:
    """A link that is good now. Raises: AccountRefusal."""
    found = None
    if len(token) <= TOKEN_LENGTH_MAX:
        found = await links.find_link(connection, digest(token), purpose, now)
    if found is None:
        raise _over()
    return found


async def accept_invitation(
    means: Means, token: str, password: str, *, kind: Kind, caller: Caller, now: datetime
) -> LoggedIn:
    """Choose the first password, and be logged in. Raises: AccountRefusal; ComeLater."""
    password_hash = await _hash_for_link(means, token, "invitation", password, now)
    async with transaction(means.pool) as connection:
        person = await _take_link(connection, token, "invitation", password_hash, now)
        await _note(connection, person.id, "invitation accepted", now, caller)
        return await door.begin(connection, means.settings, person, kind, caller, None, now)


async def request_reset(means: Means, email: str, caller: Caller, now: datetime) -> None:
    """Mail a link by which the password is chosen anew, if there is such an account; nobody can
    tell. A few mails at most in the time that a link lasts, all of which work. Raises: ComeLater.
    """
    settings = means.settings
    account = door.normalised(email)
    async with transaction(means.pool) as connection:
        await throttle.admit_request(connection, settings, "reset", caller.address, now)
        person = await people.find_credentials(connection, account)
        mark = throttle.key(settings, "account", account).hex()[:16]
        await audit.add_entry(
            connection,
            now,
            actor="nobody",
            action="reset of a password asked for",
            subject=f"account {mark}",
            remote_address=caller.address,
        )
        if person is None or not person.is_open or person.email is None:
            return
        lasts = timedelta(seconds=settings.reset_link_s)
        sent = await links.count_links(connection, person.id, "reset", now - lasts)
        if sent < settings.reset_mails_max:
            link = await accounts.issue_link(connection, settings, person.id, "reset", lasts, now)
            await announce(
                connection,
                settings,
                "account.reset",
                now=now,
                person_id=person.id,
                data={"expires_at": now + lasts},
                link=link,
            )


async def reset_password(
    means: Means, token: str, password: str, *, caller: Caller, now: datetime
) -> str:
    """Choose the password anew by a link: all log-ins end, no other link works any more. What the
    browser calls itself from now on: others' failures do not hold it back. The second factor
    stays. Raises: AccountRefusal; ComeLater."""
    password_hash = await _hash_for_link(means, token, "reset", password, now)
    async with transaction(means.pool) as connection:
        person = await _take_link(connection, token, "reset", password_hash, now)
        await logins.end_logins(connection, person.id, "password reset", now)
        await links.forget_devices(connection, person.id)
        device, _ = await door.trust(connection, means.settings, person.id, caller, now)
        await announce(
            connection, means.settings, "account.password_changed", now=now, person_id=person.id
        )
        await _note(connection, person.id, "password reset", now, caller)
    return device


async def change_password(
    means: Means, person_id: int, login_id: int, current: str, chosen: str, now: datetime
) -> None:
    """Change the password; all other log-ins end. Raises: AccountRefusal; ComeLater."""
    person = await _check_again(means, person_id, login_id, current, now, field="current")
    if current == chosen:
        raise AccountRefusal("password_same", "This is the password of before.", "password")
    check_chosen(chosen, person.email, means.settings.account_password_length_min)
    password_hash = await means.passwords.hash(chosen)
    async with transaction(means.pool) as connection:
        await people.set_password(connection, person_id, password_hash, now)
        await logins.end_logins(connection, person_id, "password changed", now, but=login_id)
        await links.void_links(connection, person_id, None, now)
        await announce(
            connection, means.settings, "account.password_changed", now=now, person_id=person_id
        )
        await _note(connection, person_id, "password changed", now)


async def ask_for_email(
    means: Means, person_id: int, login_id: int, password: str, email: str, now: datetime
) -> None:
    """Mail a link to another address, by which it becomes the account's. None goes to one that is
    somebody's already, and nobody can tell. Whoever asks too often waits: anybody's address may be
    named. Raises: AccountRefusal; ComeLater."""
    address = accounts.checked_email(email)
    await _check_again(means, person_id, login_id, password, now)
    async with transaction(means.pool) as connection:
        asker = f"person {person_id}"
        await throttle.admit_request(connection, means.settings, "email change", asker, now)
        await _note(connection, person_id, "change of address asked for", now)
        if await people.find_credentials(connection, address) is not None:
            return
        lasts = timedelta(seconds=means.settings.email_link_s)
        link = await accounts.issue_link(
            connection, means.settings, person_id, "email", lasts, now, email=address
        )
        await announce(
            connection,
            means.settings,
            "account.email_change",
            now=now,
            person_id=person_id,
            data={"email": address, "expires_at": now + lasts},
            link=link,
        )


async def confirm_email(
    connection: AsyncConnection, settings: Settings, token: str, now: datetime
) -> None:
    """The address that a link was mailed to is the account's from now on; links that went to the
    former one work no more, and that one is told. Raises: AccountRefusal."""
    link = await find_link(connection, token, "email", now)
    await people.lock_person(connection, link.person_id)
    if link.email is None or not await links.use_link(connection, link.id, now):
        raise _over()
    taken = AccountRefusal("email_taken", "This address cannot be used.", "email")
    try:
        if not await people.set_email(connection, link.person_id, link.email, now):
            raise taken
    except psycopg.errors.UniqueViolation:  # taken in this moment
        raise taken from None
    await links.void_links(connection, link.person_id, None, now)
    if link.person_email is not None:
        await announce(
            connection,
            settings,
            "account.email_changed",
            now=now,
            person_id=link.person_id,
            data={"email": link.person_email},
        )
    await _note(connection, link.person_id, "address changed", now)


# --- The second factor ----------------------------------------------------------------------------


async def enrol(
    means: Means, person_id: int, login_id: int, password: str, now: datetime
) -> Enrolment:
    """Begin to set up a second factor: it counts once a code of it was shown (`confirm`).
    Raises: AccountRefusal; ComeLater."""
    person = await _check_again(means, person_id, login_id, password, now)
    if person.totp_confirmed_at is not None:
        raise _there_already()
    secret = second_factor.new_secret()
    async with transaction(means.pool) as connection:
        sealed = secrets.seal(means.settings, secret)
        await people.set_totp(connection, person_id, sealed, now)
    uri = second_factor.uri(secret, person.email or f"person {person_id}")
    return Enrolment(secret, uri, second_factor.qr_svg(uri))


async def confirm(
    means: Means,
    person_id: int,
    login_id: int,
    code: str,
    now: datetime,
    *,
    secret: str | None = None,
) -> list[str]:
    """The first code of the app: the second factor counts from now on, this log-in has shown it.
    The recovery codes, which are never shown again. `secret`: the log-in's from now on, since it
    may do more than before; None: as it was. Raises: AccountRefusal; ComeLater."""
    attempt = await _admit_check(means, login_id, now)
    codes, stored = second_factor.new_recovery_codes()
    async with transaction(means.pool) as connection:
        person = await _credentials(connection, person_id)
        if person.totp_confirmed_at is not None:
            raise _there_already()
        used = await second_factor.use_code(connection, means.settings, person, code, now)
        if used is None:
            raise _wrong_code()
        await throttle.succeed(connection, attempt)
        await people.confirm_totp(connection, person_id, stored, now)
        await logins.prove_login(connection, login_id, now, digest(secret) if secret else None)
        await announce(
            connection,
            means.settings,
            "account.second_factor",
            now=now,
            person_id=person_id,
            data={"change": "set up"},
        )
        await _note(connection, person_id, "second factor set up", now)
    return codes


async def renew_recovery_codes(
    means: Means, person_id: int, login_id: int, password: str, code: str, now: datetime
) -> list[str]:
    """Ten other recovery codes; the former ones work no more. Raises: AccountRefusal; ComeLater."""
    codes, stored = second_factor.new_recovery_codes()
    await _check_again(means, person_id, login_id, password, now)
    attempt = await _admit_code(means, person_id, now)
    async with transaction(means.pool) as connection:
        await _use_code(connection, means.settings, person_id, code, now)
        await throttle.succeed(connection, attempt)
        await people.set_recovery(connection, person_id, stored)
        await _note(connection, person_id, "recovery codes renewed", now)
    return codes


async def remove_second_factor(
    means: Means, person_id: int, login_id: int, password: str, code: str, now: datetime
) -> None:
    """No second factor any more; other log-ins end, and roles wait for another one.
    Raises: AccountRefusal; ComeLater."""
    await _check_again(means, person_id, login_id, password, now)
    attempt = await _admit_code(means, person_id, now)
    async with transaction(means.pool) as connection:
        await _use_code(connection, means.settings, person_id, code, now)
        await throttle.succeed(connection, attempt)
        await people.remove_totp(connection, person_id, now)
        await logins.prove_login(connection, login_id, None, None)
        await logins.end_logins(connection, person_id, "second factor removed", now, but=login_id)
        await announce(
            connection,
            means.settings,
            "account.second_factor",
            now=now,
            person_id=person_id,
            data={"change": "removed"},
        )
        await _note(connection, person_id, "second factor removed", now)


# --- What they share ------------------------------------------------------------------------------


async def _hash_for_link(
    means: Means, token: str, purpose: str, password: str, now: datetime
) -> str:
    async with means.pool.connection() as connection:
        link = await find_link(connection, token, purpose, now)
    check_chosen(password, link.person_email, means.settings.account_password_length_min)
    return await means.passwords.hash(password)


async def _take_link(
    connection: AsyncConnection, token: str, purpose: str, password_hash: str, now: datetime
) -> Credentials:
    """Use the link up and set the password; whose it is. Raises: AccountRefusal."""
    link = await find_link(connection, token, purpose, now)
    await people.lock_person(connection, link.person_id)
    if not await links.use_link(connection, link.id, now):
        raise _over()
    await people.set_password(connection, link.person_id, password_hash, now)
    await people.verify_email(connection, link.person_id, now)
    await links.void_links(connection, link.person_id, None, now)
    return await _credentials(connection, link.person_id)


async def _check_again(
    means: Means,
    person_id: int,
    login_id: int,
    password: str,
    now: datetime,
    *,
    field: str = "password",
) -> Credentials:
    """Whose password was shown again. Raises: AccountRefusal; ComeLater."""
    attempt = await _admit_check(means, login_id, now)
    async with means.pool.connection() as connection:
        person = await _credentials(connection, person_id)
    if not await means.passwords.verify(person.password_hash, password):
        raise AccountRefusal("wrong_password", "This is not your password.", field)
    async with transaction(means.pool) as connection:
        await throttle.succeed(connection, attempt)
    return person


async def _admit_check(means: Means, login_id: int, now: datetime) -> throttle.Attempt:
    means.passwords.check_room()
    async with transaction(means.pool) as connection:
        return await throttle.admit_check(connection, means.settings, login_id, now)


async def _admit_code(means: Means, person_id: int, now: datetime) -> throttle.Attempt:
    async with transaction(means.pool) as connection:
        return await throttle.admit_code(
            connection, means.settings, person_id=person_id, device=None, now=now
        )


async def _use_code(
    connection: AsyncConnection,
    settings: Settings,
    person_id: int,
    code: str,
    now: datetime,
) -> None:
    """Raises: AccountRefusal."""
    person = await _credentials(connection, person_id)
    if person.totp_confirmed_at is None:
        raise AccountRefusal("no_second_factor", "There is no second factor.", "code")
    if await second_factor.use_code(connection, settings, person, code, now) is None:
        raise _wrong_code()


async def _credentials(connection: AsyncConnection, person_id: int) -> Credentials:
    person = await people.get_credentials(connection, person_id)
    if person is None or not person.is_open:
        raise NotLoggedIn("closed", "This account is closed.")
    return person


def _over() -> AccountRefusal:
    return AccountRefusal(
        "link", "This link is not good any more: it was used, or its time is over.", "token"
    )


def _wrong_code() -> AccountRefusal:
    return AccountRefusal("wrong_code", "This code is not right, or was used already.", "code")


def _there_already() -> AccountRefusal:
    return AccountRefusal("second_factor_there", "There is a second factor: remove it first.")


async def _note(
    connection: AsyncConnection,
    person_id: int,
    action: str,
    now: datetime,
    caller: Caller | None = None,
) -> None:
    await audit.add_entry(
        connection,
        now,
        actor=f"person {person_id}",
        person_id=person_id,
        action=action,
        subject=f"person {person_id}",
        remote_address=caller.address if caller else None,
    )
