"""What people decide of clients: who they are, their contacts, VAT and accounts for payouts.

Every function runs in the caller's transaction and notes it in the audit. An expected
refusal is a `Refusal` with a sentence for people. An account counts only once another than the one
who entered it has approved it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final, NamedTuple

import psycopg
import pycountry
from psycopg import AsyncConnection
from schwifty import IBAN
from schwifty.exceptions import SchwiftyException

from csms.domain.siren import french_vat_number, siren_is_valid
from csms.registry import AlreadyThere, Conflict, NotThere, Refusal
from csms.store import audit, keys, sites
from csms.store import clients as store
from csms.store.clients import ClientRecord, Contact, Iban, Vat

CLASSES: Final = ("particulier", "non_professionnel", "professionnel")
REGULATORY_BASES: Final = ("psp_split", "agent_psp", "exempted")
PURPOSES: Final = ("contract", "statements", "invoices", "technical", "personal_data")
VAT_STATUSES: Final = ("redevable", "franchise", "non_assujetti")
SINGLE_TAXABLE_PERSON: Final = "membre_assujetti_unique"
ADDRESS_FIELDS: Final = ("street", "postal_code", "city", "country")
_COMMAND_LINE: Final = "command line"

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_PHONE: Final = re.compile(r"\+?[0-9][0-9 .()-]{3,30}")
_VAT: Final = re.compile(r"[A-Z]{2}[A-Z0-9+*]{2,13}")


class Actor(NamedTuple):
    """Who changes something, as the audit names him: "key demo", "person 7", "command line"."""

    name: str
    person_id: int | None = None


async def create(
    connection: AsyncConnection, name: str, values: Mapping[str, Any], actor: Actor, now: datetime
) -> int:
    """A new client; its id. `values` as in `change`. Raises: AlreadyThere; Refusal."""
    made = await sites.insert_client(connection, name)
    if made is None:
        raise AlreadyThere(f"Client {name} exists already.", "name")
    record = await store.get_client(connection, made.id)
    assert record is not None
    await store.write_client(connection, _merged(record, values))
    await note(connection, made.id, actor, now, "client.created", _told(values))
    return made.id


async def change(
    connection: AsyncConnection,
    client_id: int,
    values: Mapping[str, Any],
    actor: Actor,
    now: datetime,
) -> None:
    """Change the named fields of a client, no other: name, client_class, legal_name, siren,
    address ({street, postal_code, city, country} or None) and regulatory_basis.

    Raises: NotThere; AlreadyThere for a name that is taken; Refusal.
    """
    former = await locked(connection, client_id)
    if not await store.write_client(connection, _merged(former, values)):
        raise AlreadyThere(f"Client {values['name']} exists already.", "name")
    await note(connection, client_id, actor, now, "client.changed", _told(values))


async def add_contact(
    connection: AsyncConnection,
    client_id: int,
    *,
    name: str,
    email: str | None,
    phone: str | None,
    purposes: Sequence[str],
    actor: Actor,
    now: datetime,
) -> Contact:
    """A person to write to or to call, and about what. Raises: NotThere; Refusal."""
    await locked(connection, client_id)
    if email is None and phone is None:
        raise Refusal("A contact has an e-mail address or a telephone number.", "email")
    if email is not None and not (len(email) <= 254 and _EMAIL.fullmatch(email)):
        raise Refusal("This is not an e-mail address: write it like name@example.org.", "email")
    if phone is not None and not _PHONE.fullmatch(phone):
        raise Refusal("A telephone number has digits, like +33 1 23 45 67 89.", "phone")
    for purpose in purposes:
        _one_of(purpose, PURPOSES, "purposes")
    made = await store.insert_contact(
        connection,
        client_id,
        name=name,
        email=email,
        phone=phone,
        purposes=list(dict.fromkeys(purposes)),
    )
    content = {"contact_id": made.id, "purposes": made.purposes}
    await note(connection, client_id, actor, now, "contact.added", content)
    return made


async def remove_contact(
    connection: AsyncConnection, client_id: int, contact_id: int, actor: Actor, now: datetime
) -> None:
    """Take a contact away. Raises: NotThere."""
    await locked(connection, client_id)
    if not await store.remove_contact(connection, client_id, contact_id, now):
        raise NotThere(f"Client {client_id} has no contact {contact_id}.")
    await note(connection, client_id, actor, now, "contact.removed", {"contact_id": contact_id})


async def add_vat(
    connection: AsyncConnection,
    client_id: int,
    *,
    status: str,
    vat_number: str | None,
    from_on: date,
    to_on: date | None,
    actor: Actor,
    now: datetime,
) -> Vat:
    """How the client stands to VAT from a day on, as it has declared; what held until then and had
    no end ends there.

    Raises: NotThere; Conflict for a period that overlaps another; Refusal, for a member of a
    single taxable person (assujetti unique) among others: its invoices are another's.
    """
    client = await locked(connection, client_id)
    number = _vat_number(status, vat_number, client)
    _check_period(from_on, to_on)
    await store.end_vat(connection, client_id, from_on)
    try:
        async with connection.transaction():
            made = await store.insert_vat(
                connection,
                client_id,
                status=status,
                vat_number=number,
                from_on=from_on,
                to_on=to_on,
            )
    except psycopg.errors.ExclusionViolation:
        raise Conflict(
            f"Another VAT status holds on some day from {from_on} on: the later period cannot be "
            "rewritten.",
            "from_on",
        ) from None
    content = {
        "status": status,
        "vat_number": number,
        "from_on": str(from_on),
        "to_on": _text(to_on),
    }
    await note(connection, client_id, actor, now, "vat.added", content)
    return made


async def enter_iban(
    connection: AsyncConnection,
    client_id: int,
    *,
    iban: str,
    holder: str,
    actor: Actor,
    now: datetime,
) -> Iban:
    """An account for payouts, which counts once another person has approved it.

    Raises: NotThere; Refusal for what is no IBAN of the SEPA area.
    """
    await locked(connection, client_id)
    made = await store.insert_iban(
        connection,
        client_id,
        iban=checked_iban(iban),
        holder=holder,
        by=actor.name,
        now=now,
    )
    content = {"iban_id": made.id, "iban": masked(made.iban)}
    await note(connection, client_id, actor, now, "iban.entered", content)
    return made


async def decide_iban(
    connection: AsyncConnection,
    client_id: int,
    iban_id: int,
    *,
    approved: bool,
    actor: Actor,
    now: datetime,
) -> None:
    """Approve an account, which replaces the one that counted, or refuse it.

    Raises: NotThere; Conflict when it was decided before, or when who entered it approves it: by a
    key of his own, too.
    """
    await locked(connection, client_id)
    known = {iban.id: iban for iban in await store.list_ibans(connection, client_id)}
    found = known.get(iban_id)
    if found is None:
        raise NotThere(f"Client {client_id} has no account {iban_id}.")
    if found.approved is not None:
        raise Conflict(f"Account {iban_id} was decided before, by {found.decided_by}.")
    if approved and await are_one(connection, found.entered_by, actor.name):
        raise Conflict("Another than who entered an account approves it.")
    if approved:
        await store.replace_iban(connection, client_id, now)
    await store.decide_iban(connection, iban_id, approved=approved, by=actor.name, now=now)
    what = "iban.approved" if approved else "iban.refused"
    await note(
        connection, client_id, actor, now, what, {"iban_id": iban_id, "iban": masked(found.iban)}
    )


async def are_one(connection: AsyncConnection, one: str, other: str) -> bool:
    """Whether the same person may stand behind two actors: a key counts as whoever made it. Who
    makes keys on the server's command line is not known: such keys count each for itself."""
    if one == other:
        return True
    behind = await keys.fetch_behind(connection, one) & await keys.fetch_behind(connection, other)
    return bool(behind - {_COMMAND_LINE})


async def locked(connection: AsyncConnection, client_id: int) -> ClientRecord:
    """The client, for this transaction to change. Raises: NotThere."""
    client = await store.lock_client(connection, client_id)
    if client is None:
        raise NotThere(f"There is no client {client_id}.")
    return client


async def note(
    connection: AsyncConnection,
    client_id: int,
    actor: Actor,
    now: datetime,
    what: str,
    detail: dict[str, Any],
    contract_id: int | None = None,
) -> None:
    """Add an act to the audit, as one that concerns the client. No name and no address in it."""
    subject = f"client {client_id}" if contract_id is None else f"contract {contract_id}"
    await audit.add_entry(
        connection,
        now,
        actor=actor.name,
        person_id=actor.person_id,
        client_id=client_id,
        action=what,
        subject=subject,
        detail=detail,
    )


def masked(iban: str) -> str:
    """An account number as people are shown it: country, check digits, the last four."""
    return f"{iban[:4]}{'•' * (len(iban) - 8)}{iban[-4:]}"


def checked_iban(text: str) -> str:
    """The IBAN without spaces. Raises: Refusal when its check digits or its national ones are
    wrong, or its country is outside the SEPA area."""
    try:
        iban = IBAN(text, validate_bban=True)
    except (SchwiftyException, ValueError):
        raise Refusal(
            "This is no valid IBAN: one of its characters is wrong or missing.", "iban"
        ) from None
    if not iban.in_sepa_zone:
        raise Refusal("Payouts go to accounts of the SEPA area only.", "iban")
    return str(iban.compact)


def _merged(former: ClientRecord, values: Mapping[str, Any]) -> ClientRecord:
    named = dict(values)
    if "address" in named:
        address = named.pop("address")
        named |= _checked_address(address) if address else dict.fromkeys(ADDRESS_FIELDS)
    client = replace(former, **named)
    if client.client_class is not None:
        _one_of(client.client_class, CLASSES, "client_class")
    if client.regulatory_basis is not None:
        _one_of(client.regulatory_basis, REGULATORY_BASES, "regulatory_basis")
    if client.siren is not None and not siren_is_valid(client.siren):
        raise Refusal("A SIREN has nine digits, the last of which checks the others.", "siren")
    if client.client_class == "professionnel" and client.siren is None:
        raise Refusal("A professional client has a SIREN.", "siren")
    return client


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the audit holds of a change: codes with their values, all else by name only."""
    codes = ("client_class", "siren", "regulatory_basis")
    named = {name: values[name] for name in codes if name in values}
    return {**named, "changed": sorted(values)}


def _checked_address(address: Mapping[str, str]) -> dict[str, str]:
    country = address["country"]
    if len(country) != 2 or not country.isupper() or not pycountry.countries.get(alpha_2=country):
        raise Refusal("A country goes by its two letters of ISO 3166, like FR.", "address.country")
    if country == "FR" and not re.fullmatch(r"[0-9]{5}", address["postal_code"]):
        raise Refusal("A French postal code has five digits.", "address.postal_code")
    return {field: address[field] for field in ADDRESS_FIELDS}


def _vat_number(status: str, number: str | None, client: ClientRecord) -> str | None:
    """The VAT number that goes with the status, checked. Raises: Refusal."""
    if status == SINGLE_TAXABLE_PERSON:
        raise Refusal(
            "A member of a single taxable person (assujetti unique) cannot be invoiced for here: "
            "its invoices carry the VAT number of the whole.",
            "status",
        )
    _one_of(status, VAT_STATUSES, "status")
    if number is None:
        if status == "redevable":
            raise Refusal("Who owes VAT has a VAT number.", "vat_number")
        return None
    if status == "non_assujetti":
        raise Refusal("Who is no taxable person has no VAT number.", "vat_number")
    number = number.replace(" ", "").upper()
    if not _VAT.fullmatch(number):
        raise Refusal("A VAT number begins with the two letters of its country.", "vat_number")
    if number.startswith("FR"):
        siren = number[4:]
        if not siren_is_valid(siren) or (
            number[2:4].isdigit() and number != french_vat_number(siren)
        ):
            raise Refusal("This French VAT number has a wrong digit.", "vat_number")
        if client.siren is not None and siren != client.siren:
            raise Refusal(f"This VAT number is not that of SIREN {client.siren}.", "vat_number")
    return number


def _check_period(from_on: date, to_on: date | None) -> None:
    if to_on is not None and to_on <= from_on:
        raise Refusal("A period ends after it has begun.", "to_on")


def _one_of(value: str, known: Sequence[str], field: str) -> None:
    if value not in known:
        raise Refusal(f"{value} is none of {', '.join(known)}.", field)


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
