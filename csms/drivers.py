"""Drivers: who they are, to whom they are invoiced, how they pay, and where they may charge now.

As in `csms.registry` every function runs in the caller's transaction, and an expected refusal is a
`Refusal` with a sentence for people. Whoever changes something says who acts: each change
is noted in the audit by the transaction that makes it. Badges are in `csms.driver_badges`, groups
in `csms.driver_groups`.
"""

import contextlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import ExclusionViolation

from csms import accounts
from csms.announcing import announce
from csms.clients import Actor
from csms.config import Settings
from csms.domain import access, identities
from csms.domain.access import Rule
from csms.registry import AlreadyThere, NotThere, Refusal
from csms.store import audit, links, payment_means
from csms.store import drivers as store
from csms.store.drivers import Billing, Known, PersonConfig
from csms.store.payment_means import PaymentMeans

APP_BADGE_LABEL = "Application"
MEANS_KINDS = ("sepa_mandate", "wallet", "provider", "employer")
_BILLING = frozenset(field.name for field in fields(Billing))
_NOBODY = PersonConfig(email=None, given_name="", family_name="", phone=None, language="fr")
_UNKNOWN = Billing("", None, None, None, "", "", "", "FR")
_EMAIL = re.compile(r"[^@\s<>,;:\"()\[\]\\]+@[^@\s<>,;:\"()\[\]\\]+\.[^@\s.<>,;:\"()\[\]\\]{2,}")


async def note(
    connection: AsyncConnection,
    actor: Actor,
    now: datetime,
    action: str,
    subject: str,
    *,
    client_id: int | None = None,
    **detail: Any,
) -> None:
    """An entry of the audit: what was done to whom, without names and addresses."""
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        action=action,
        subject=subject,
        client_id=client_id,
        detail=detail,
    )


async def sole_client(connection: AsyncConnection, now: datetime, *person_ids: int) -> int | None:
    """The one client to whose groups these drivers belong now or later, all that they belong to:
    its managers may read what is done with them. None where there is none, or another as well."""
    clients: set[int] = set()
    for person_id in person_ids:
        clients |= await store.clients_of_driver(connection, person_id, now)
    return clients.pop() if len(clients) == 1 else None


# --- Who they are -------------------------------------------------------------------------------


def checked_email(text: str) -> str:
    """An e-mail address as it is kept. Raises: Refusal."""
    text = text.strip()
    if len(text) > 254 or not text.isprintable() or not _EMAIL.fullmatch(text):
        raise Refusal("This is no e-mail address.", "email")
    return text


def checked_phone(text: str) -> str:
    """A telephone number as it is kept: + and digits; a French one may be written as at home.

    Raises: Refusal.
    """
    number = re.sub(r"[\s().-]", "", text)
    if re.fullmatch(r"0[1-9][0-9]{8}", number):
        number = "+33" + number[1:]
    if number.startswith("00"):
        number = "+" + number[2:]
    if not re.fullmatch(r"\+[1-9][0-9]{5,14}", number):
        raise Refusal("A telephone number looks like +33 6 12 34 56 78.", "phone")
    return number


def check(values: Mapping[str, Any]) -> None:
    """What `create` says of the values themselves, whoever has the address. Raises: Refusal."""
    _person(_NOBODY, values)
    checked_billing(_UNKNOWN, {k: v for k, v in values.items() if k in _BILLING})


async def create(
    connection: AsyncConnection,
    values: Mapping[str, Any],
    actor: Actor,
    now: datetime,
    *,
    staff_too: bool = True,
) -> int:
    """A new driver from the named values; her person's id.

    `values` takes email, given_name, family_name, phone, language, and the fields of `Billing`. A
    person of this address who is no driver yet, or not any more, becomes one, and stays named as
    she is; with `staff_too` False (a manager acts) nobody who works for the operator or manages a
    client, and nobody whom the operator has closed: to whom she was invoiced is hers.

    Raises: AlreadyThere for a driver; Refusal.
    """
    config = _person(_NOBODY, values)
    known = None
    if config.email is not None:
        known = await store.find_person(connection, email=config.email)
    if known is not None and known.is_driver and not known.is_closed:
        raise AlreadyThere("There is a driver of this e-mail address.", "email")
    if known is not None and known.is_staff and not staff_too:
        raise Refusal("This address belongs to somebody of the staff: ask the operator.", "email")
    if known is not None and known.is_closed and not staff_too:
        raise Refusal("This driver was closed: ask the operator.", "email")
    person_id = known.id if known else await store.insert_person(connection, config)
    if person_id is None:  # another has entered her in this moment
        raise AlreadyThere("There is a driver of this e-mail address.", "email")
    await store.write_driver(connection, person_id, now)
    await _write_billing(connection, person_id, values, now)
    await note(connection, actor, now, "driver created", f"driver {person_id}")
    return person_id


async def invite(
    connection: AsyncConnection, settings: Settings, person_id: int, actor: Actor, now: datetime
) -> None:
    """Mail the driver a link to choose her password; one who has a password needs none.

    Raises: NotThere; Refusal for one without an address, or blocked.
    """
    with contextlib.suppress(AlreadyThere):
        await accounts.invite(connection, settings, person_id, actor=actor.name, now=now)


async def change(
    connection: AsyncConnection,
    person_id: int,
    values: Mapping[str, Any],
    actor: Actor,
    now: datetime,
    *,
    settings: Settings | None = None,
) -> None:
    """Change the named fields of a driver, no other; as `create`. With another address, links that
    were mailed to the former one work no more, and with the settings that one is told.

    Raises: NotThere; AlreadyThere where another has the address; Refusal, also for the address of
    one who works for the operator or manages a client: whoever has it can set a new password.
    """
    known = await get(connection, person_id)
    config = _person(_config(known), values)
    if config != _config(known):
        if config.email != known.email:
            await _check_new_email(connection, known, config)
        await store.update_person(connection, person_id, config, now)
        if (config.email or "").lower() != (known.email or "").lower():
            await _leave_address(connection, known, settings, now)
    await _write_billing(connection, person_id, values, now)
    await note(
        connection, actor, now, "driver changed", f"driver {person_id}", fields=sorted(values)
    )


async def get(connection: AsyncConnection, person_id: int) -> Known:
    """A driver who is not closed, held until the transaction ends. Raises: NotThere."""
    known = await store.find_person(connection, person_id=person_id)
    if known is None or not known.is_driver or known.is_closed:
        raise NotThere(f"There is no driver {person_id}.")
    return known


def _config(known: Known) -> PersonConfig:
    return PersonConfig(
        known.email, known.given_name, known.family_name, known.phone, known.language
    )


def _person(base: PersonConfig, values: Mapping[str, Any]) -> PersonConfig:
    """The named values in it, checked."""
    named = {k: v for k, v in values.items() if k not in _BILLING}
    if named.get("email") is not None:
        named["email"] = checked_email(named["email"])
    if named.get("phone") is not None:
        named["phone"] = checked_phone(named["phone"])
    return replace(base, **named)


async def _check_new_email(connection: AsyncConnection, known: Known, config: PersonConfig) -> None:
    if known.is_staff:
        raise Refusal("The address of somebody of the staff is changed by herself.", "email")
    if config.email is None:
        raise Refusal("An address can be replaced, not taken away.", "email")
    other = await store.find_person(connection, email=config.email)
    if other is not None and other.id != known.id:
        raise AlreadyThere("Another person has this e-mail address.", "email")


async def _leave_address(
    connection: AsyncConnection, known: Known, settings: Settings | None, now: datetime
) -> None:
    """Whoever reads the former address does not come in by what was mailed there."""
    await links.void_links(connection, known.id, None, now)
    if known.email is not None and settings is not None:
        await announce(
            connection,
            settings,
            "account.email_changed",
            now=now,
            person_id=known.id,
            data={"email": known.email},
        )


async def _write_billing(
    connection: AsyncConnection, person_id: int, values: Mapping[str, Any], now: datetime
) -> None:
    named = {k: v for k, v in values.items() if k in _BILLING}
    if not named:
        return
    former = await store.get_billing(connection, person_id)
    assert former is not None
    await store.update_billing(connection, person_id, checked_billing(former, named), now)


def checked_billing(former: Billing, named: Mapping[str, Any]) -> Billing:
    """The named fields in it, as they are kept. Raises: Refusal with the field that is wrong."""
    written = dict(named)
    for field in ("siren", "vat_number"):
        if field in named:
            written[field] = re.sub(r"[\s.]", "", named[field] or "").upper() or None
    billing = replace(former, **written)
    if billing.siren is not None and not identities.is_siren(billing.siren):
        raise Refusal("A SIREN has nine digits, and this one has a wrong one in it.", "siren")
    if billing.vat_number is not None and not identities.is_vat_number(billing.vat_number):
        raise Refusal("This is no VAT number, or one of its digits is wrong.", "vat_number")
    if billing.country not in identities.COUNTRIES:
        raise Refusal("A country is told by its two letters, as FR.", "country")
    if billing.postal_code and not identities.is_postal_code(billing.postal_code, billing.country):
        raise Refusal(f"This is no postal code of {billing.country}.", "postal_code")
    for field, value in named.items():
        if field not in ("siren", "vat_number"):
            refuse_numbers(value, field)
    return billing


# --- How they pay -------------------------------------------------------------------------------


def refuse_numbers(text: str | None, field: str) -> None:
    """Refuse what must never be kept here. Raises: Refusal."""
    if text is None:
        return
    if identities.holds_card_number(text):
        raise Refusal(
            "This looks like the number of a bank card, which is never kept here: "
            "enter the reference that the payment provider gave.",
            field,
        )
    if identities.holds_iban(text):
        raise Refusal(
            "This is a whole IBAN, which is not kept here: enter the reference of the mandate.",
            field,
        )


async def add_means(
    connection: AsyncConnection,
    person_id: int,
    actor: Actor,
    now: datetime,
    *,
    kind: str,
    reference: str,
    label: str = "",
    from_at: datetime | None = None,
    to_at: datetime | None = None,
) -> PaymentMeans:
    """How the driver pays from a moment on, now unless told; what was in force ends then.

    Raises: NotThere; Refusal.
    """
    refuse_numbers(reference, "reference")
    refuse_numbers(label, "label")
    begin = now if from_at is None else from_at
    if begin < now:
        raise Refusal("A means of payment begins now or later: what was charged is paid.", "from")
    if to_at is not None and to_at <= begin:
        raise Refusal("It ends after it begins.", "to")
    await get(connection, person_id)
    try:
        async with connection.transaction():
            await payment_means.end_means(connection, person_id, begin)
            made = await payment_means.insert_means(
                connection,
                person_id,
                kind=kind,
                reference=reference,
                label=label,
                from_at=begin,
                to_at=to_at,
            )
    except ExclusionViolation:
        raise Refusal("Another means of payment begins before this one ends.", "from") from None
    await note(
        connection, actor, now, "means of payment added", f"driver {person_id}", means_id=made.id
    )
    return made


async def end_means(
    connection: AsyncConnection, person_id: int, means_id: int, actor: Actor, now: datetime
) -> None:
    """A means of payment ends now. Raises: NotThere where it is not in force."""
    if not await payment_means.end_means(connection, person_id, now, means_id=means_id):
        raise NotThere(f"Driver {person_id} has no means of payment {means_id} in force.")
    await note(
        connection, actor, now, "means of payment ended", f"driver {person_id}", means_id=means_id
    )


# --- Where they may charge ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SiteAccess:
    """Whether a driver may charge at a site now: until when, or from when on."""

    site_id: str
    open: bool
    until: datetime | None  # while open; None: nothing ends it within a week
    opens_at: datetime | None  # while not open; None: nothing opens it within a year


async def person_of_badge(connection: AsyncConnection, uid: str, at: datetime) -> int | None:
    """The driver whose badge it was at that moment, compared without case; None: nobody's."""
    return await store.find_person_of_badge(connection, uid, at)


async def app_badge(connection: AsyncConnection, person_id: int, now: datetime) -> str:
    """The uid of the driver's virtual badge, with which the session API starts for her: type
    Central, 15 characters. It is made at first need, and hers from then on.

    Raises: NotThere for one who is no driver; Refusal for one who is blocked or closed.
    """
    may_charge = await store.lock_driver(connection, person_id)
    if may_charge is None:
        raise NotThere(f"There is no driver {person_id}.")
    if not may_charge:
        raise Refusal("This driver is blocked or closed.")
    known = await store.find_app_badge(connection, person_id, now)
    if known is not None:
        return known
    uid = _app_uid()
    while not await store.insert_app_badge(connection, uid):
        uid = _app_uid()
    await store.insert_assignment(connection, uid, person_id, APP_BADGE_LABEL, now)
    return uid


async def access_of(connection: AsyncConnection, person_id: int, now: datetime) -> list[SiteAccess]:
    """The sites at which a group of the driver's has access, now or later; by site. Empty for one
    who is blocked, closed, or in no group."""
    rules = await store.list_site_rules(connection, person_id, now)
    found = []
    for (site_id, time_zone), of_site in groupby(rules, lambda r: (r.site_id, r.time_zone)):
        windows = [
            Rule(r.weekdays, r.from_minute, r.to_minute, r.from_at, r.to_at) for r in of_site
        ]
        told = access.access(windows, access.zone_named(time_zone), now)
        found.append(SiteAccess(site_id, told.open, told.until, told.opens_at))
    return found


def _app_uid() -> str:
    return "APP" + secrets.token_hex(6).upper()
