"""Accounts, as operators keep them: made, invited, given roles and clients, blocked, closed.

Every function runs in the caller's transaction, notes the act in the audit under `actor` (see
csms.principals.Principal.actor; "command line"), and takes the time. What people do with their own
accounts is in csms.own_account. An address is stored in lower case and is one person's only.
"""

import re
import secrets as chance
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from csms.announcing import announce
from csms.config import Settings
from csms.logins import normalised
from csms.principals import ROLES, digest
from csms.refusals import AccountRefusal
from csms.registry import AlreadyThere, NotThere, Refusal
from csms.store import audit, links, logins, people, sites
from csms.store.people import Person

LANGUAGES = ("fr", "en")
NAME_LENGTH_MAX = 200
PHONE_LENGTH_MAX = 30
_EMAIL = re.compile(r"[^\s@,;:<>()\[\]\\\"]+@[^\s@,;:<>()\[\]\\\"/]+\.[^\s@,;:<>()\[\]\\\"/.]+")
_PHONE = re.compile(r"\+?[0-9 .()/-]{4,30}")


def checked_email(text: str) -> str:
    """The address as it is stored. Raises: AccountRefusal."""
    email = normalised(text)
    if not _EMAIL.fullmatch(email):
        raise AccountRefusal("email", "This is not an e-mail address.", "email")
    return email


def checked_profile(values: Mapping[str, Any]) -> dict[str, Any]:
    """given_name, family_name, phone, language, as far as they are named; names without space at
    their ends. Raises: AccountRefusal."""
    checked = dict(values)
    for field in ("given_name", "family_name"):
        name = checked.get(field)
        if name is not None:
            checked[field] = name.strip()
            if len(name) > NAME_LENGTH_MAX or not name.isprintable():
                text = f"A name has {NAME_LENGTH_MAX} printable characters at most."
                raise AccountRefusal("name", text, field, NAME_LENGTH_MAX)
    phone = (checked.get("phone") or "").strip() or None
    if phone is not None and not _PHONE.fullmatch(phone):
        raise AccountRefusal("phone", "This is not a telephone number.", "phone")
    if "phone" in checked:
        checked["phone"] = phone
    if checked.get("language") not in (None, *LANGUAGES):
        raise AccountRefusal("language", "A language is fr or en.", "language")
    return checked


async def create_person(
    connection: AsyncConnection,
    *,
    email: str | None,
    actor: str,
    now: datetime,
    given_name: str = "",
    family_name: str = "",
    phone: str | None = None,
    language: str = "fr",
    roles: Collection[str] = (),
) -> int:
    """A new person; her id. Without an address she cannot log in. Raises: Refusal, AlreadyThere."""
    address = checked_email(email) if email is not None else None
    profile = checked_profile(
        {
            "given_name": given_name,
            "family_name": family_name,
            "phone": phone,
            "language": language,
        }
    )
    person_id = await people.add_person(
        connection, email=address, operator_roles=_checked_roles(roles), now=now, **profile
    )
    if person_id is None:
        raise AlreadyThere("There is a person with this address.", "email")
    detail = {"roles": _checked_roles(roles)}
    await _note(connection, actor, "person created", person_id, now, detail)
    return person_id


async def get_person(connection: AsyncConnection, person_id: int) -> Person:
    """Raises: NotThere."""
    person = await people.get_person(connection, person_id)
    if person is None:
        raise NotThere(f"There is no person {person_id}.")
    return person


async def change_profile(
    connection: AsyncConnection,
    person_id: int,
    values: Mapping[str, Any],
    *,
    actor: str,
    now: datetime,
) -> None:
    """Change names, phone and language, as far as they are named. Raises: Refusal, NotThere."""
    checked = checked_profile(values)
    await get_person(connection, person_id)
    await people.update_profile(
        connection,
        person_id,
        given_name=checked.get("given_name"),
        family_name=checked.get("family_name"),
        phone=checked.get("phone"),
        forget_phone="phone" in checked and checked["phone"] is None,
        language=checked.get("language"),
        now=now,
    )
    detail = {"changed": sorted(checked)}
    await _note(connection, actor, "profile changed", person_id, now, detail)


async def invite(
    connection: AsyncConnection, settings: Settings, person_id: int, *, actor: str, now: datetime
) -> str:
    """Mail a link by which a person chooses her password; the link, which is good once and ends
    former ones. Raises: NotThere, Refusal."""
    person = await people.get_credentials(connection, person_id)
    if person is None:
        raise NotThere(f"There is no person {person_id}.")
    if person.email is None:
        raise Refusal("This person has no address to invite her at.", "email")
    if not person.is_open:
        raise Refusal("This account is blocked or closed.")
    if person.password_hash is not None:
        raise AlreadyThere("This person has a password: she can have it reset.")
    lasts = timedelta(seconds=settings.invitation_s)
    link = await issue_link(connection, settings, person_id, "invitation", lasts, now)
    await announce(
        connection,
        settings,
        "account.invited",
        now=now,
        person_id=person_id,
        data={"expires_at": now + lasts},
        link=link,
    )
    await _note(connection, actor, "person invited", person_id, now)
    return link


async def issue_link(
    connection: AsyncConnection,
    settings: Settings,
    person_id: int,
    purpose: str,
    lasts: timedelta,
    now: datetime,
    *,
    email: str | None = None,
) -> str:
    """A new link of a purpose (invitation, reset, email). Those before it work no more; those of a
    reset do, or whoever asks for one after the other would spoil each before it is used."""
    token = chance.token_urlsafe(32)
    if purpose != "reset":
        await links.void_links(connection, person_id, purpose, now)
    await links.add_link(
        connection,
        person_id=person_id,
        purpose=purpose,
        token_sha256=digest(token),
        email=email,
        now=now,
        expires_at=now + lasts,
    )
    path = {"invitation": "invitation", "reset": "reset", "email": "account/email"}[purpose]
    return f"{settings.base_url}/{path}/{token}"


async def set_roles(
    connection: AsyncConnection,
    person_id: int,
    roles: Collection[str],
    *,
    actor: str,
    now: datetime,
) -> None:
    """Give a person these roles of an operator, and no others; they count at once, with her second
    factor. Raises: NotThere, Refusal."""
    before = (await get_person(connection, person_id)).operator_roles
    after = _checked_roles(roles)
    if before != after:
        await people.set_roles(connection, person_id, after, now)
        detail = {"before": before, "after": after}
        await _note(connection, actor, "roles changed", person_id, now, detail)


async def add_manager(
    connection: AsyncConnection,
    person_id: int,
    client_id: int,
    *,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
    actor: str,
    now: datetime,
) -> None:
    """Let a person manage a client, from now on or later. Raises: NotThere, AlreadyThere."""
    await get_person(connection, person_id)
    if await sites.get_client(connection, client_id) is None:
        raise NotThere(f"There is no client {client_id}.", "client_id")
    start = from_at or now
    if to_at is not None and to_at <= start:
        raise Refusal("The end comes after the begin.", "to_at")
    added = await people.add_manager(
        connection,
        person_id=person_id,
        client_id=client_id,
        from_at=start,
        to_at=to_at,
        granted_by=actor,
    )
    if not added:
        raise AlreadyThere("This person manages this client in that time already.", "client_id")
    await _note(connection, actor, "manager added", person_id, now, client_id=client_id)


async def end_manager(
    connection: AsyncConnection, person_id: int, client_id: int, *, actor: str, now: datetime
) -> None:
    """A person manages a client no more. Raises: NotThere."""
    if not await people.end_manager(connection, person_id, client_id, now):
        raise NotThere(f"Person {person_id} does not manage client {client_id}.")
    await _note(connection, actor, "manager removed", person_id, now, client_id=client_id)


async def block(connection: AsyncConnection, person_id: int, *, actor: str, now: datetime) -> None:
    """Let a person in no more, until `unblock`: her log-ins end at once. Raises: NotThere."""
    await get_person(connection, person_id)
    await people.set_blocked(connection, person_id, True, now)
    await logins.end_logins(connection, person_id, "blocked", now)
    await _note(connection, actor, "person blocked", person_id, now)


async def unblock(
    connection: AsyncConnection, person_id: int, *, actor: str, now: datetime
) -> None:
    """Let a blocked person in again. Raises: NotThere."""
    await get_person(connection, person_id)
    await people.set_blocked(connection, person_id, False, now)
    await _note(connection, actor, "person let in again", person_id, now)


async def reset_second_factor(
    connection: AsyncConnection, person_id: int, *, actor: str, now: datetime
) -> None:
    """Take a person's second factor away, since it is lost; her log-ins end. Her roles wait until
    she has set up another one. Raises: NotThere."""
    await get_person(connection, person_id)
    await people.remove_totp(connection, person_id, now)
    await logins.end_logins(connection, person_id, "second factor reset", now)
    await announce(
        connection,
        None,
        "account.second_factor",
        now=now,
        person_id=person_id,
        data={"change": "reset"},
    )
    await _note(connection, actor, "second factor reset", person_id, now)


def _checked_roles(roles: Collection[str]) -> list[str]:
    """In our order, each once. Raises: Refusal."""
    for role in roles:
        if role not in ROLES:
            raise Refusal(f"There is no role {role!r}; roles are: {', '.join(ROLES)}.", "roles")
    return [role for role in ROLES if role in roles]


async def _note(
    connection: AsyncConnection,
    actor: str,
    action: str,
    person_id: int,
    now: datetime,
    detail: Mapping[str, Any] | None = None,
    *,
    client_id: int | None = None,
) -> None:
    own = actor.removeprefix("person ")
    await audit.add_entry(
        connection,
        now,
        actor=actor,
        person_id=int(own) if own != actor else None,
        client_id=client_id,
        action=action,
        subject=f"person {person_id}",
        detail=dict(detail or {}),
    )
