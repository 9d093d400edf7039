"""Partners: invited or registered by us, told of sites, and gone again.

A token by which a partner speaks to us is told once and kept as its fingerprint; the one by which
we speak to it is sealed (csms.secrets). Registration goes both ways: the partner uses an invitation
(its POST to our credentials), or we use one of its own.
"""

import hashlib
import secrets as chance
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from pydantic import ValidationError

from csms import drivers, secrets
from csms.clients import Actor
from csms.config import SettingError, Settings
from csms.db import transaction
from csms.registry import AlreadyThere, Conflict, NotThere, Refusal
from reporting import store_ocpi as store
from reporting.ocpi.cdrs import Party
from reporting.ocpi.client import Client, Peer
from reporting.ocpi.objects import (
    BusinessDetails,
    Credentials,
    CredentialsRole,
    Version,
    VersionDetails,
)
from reporting.outlet import Away, Lost, Refused
from reporting.store_ocpi import PartnerRow

VERSION: Final = "2.2.1"
FEEDS: Final = ("roaming", "advenir")
TOKEN_BYTES: Final = 32


class CannotUse(Exception):
    """A partner's interface is of no use: the status code of OCPI, and why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a partner needs to register with us; the token is told once."""

    versions_url: str
    token: str


def own_party(settings: Settings) -> Party | None:
    """Who we are; None: OCPI is off."""
    if settings.ocpi_party_id is None:
        return None
    return Party(settings.ocpi_country_code, settings.ocpi_party_id)


def needed_party(settings: Settings) -> Party:
    """Who we are. Raises: Refusal where OCPI is off."""
    found = own_party(settings)
    if found is None:
        raise Refusal("OCPI is off: set T2P_OCPI_PARTY_ID, the letters of the AFIREV prefix.")
    return found


def versions_url(settings: Settings) -> str:
    """Where our versions are."""
    return f"{settings.base_url}/ocpi/versions"


def sha256(token: str) -> bytes:
    """A token as it is kept and looked up: it has 256 bits of chance and needs no salt."""
    return hashlib.sha256(token.encode()).digest()


def peer_of(settings: Settings, partner: PartnerRow) -> Peer | None:
    """A registered partner as it is spoken to; None: it is not registered, or its token was sealed
    under another key."""
    if partner.their_token is None:
        return None
    try:
        token = secrets.unseal(settings, partner.their_token)
    except (secrets.Unreadable, SettingError):
        return None
    return Peer(
        Party(partner.country_code, partner.party_id),
        token,
        {(e["identifier"], e["role"]): e["url"] for e in partner.endpoints},
    )


def credentials(settings: Settings, party: Party, token: str) -> Credentials:
    """How we are spoken to."""
    name = settings.operator_name or "Time2Plug"
    return Credentials(
        token=token,
        url=versions_url(settings),
        roles=[
            CredentialsRole(
                role="CPO",
                business_details=BusinessDetails(name=name[:100]),
                party_id=party.party_id,
                country_code=party.country_code,
            )
        ],
    )


# --- What the operator decides --------------------------------------------------------------------


async def create(
    connection: AsyncConnection,
    *,
    slug: str,
    name: str,
    country_code: str,
    party_id: str,
    person_id: int | None,
    actor: Actor,
    now: datetime,
) -> PartnerRow:
    """A new partner, not registered yet. `person_id` is the driver's account, of a company, to
    which its drivers' sessions are invoiced; without one it roams nowhere.

    Raises: AlreadyThere, Refusal.
    """
    if person_id is not None:
        await drivers.get(connection, person_id)
    try:
        async with connection.transaction():
            made = await store.insert_partner(
                connection,
                slug=slug,
                name=name,
                country_code=country_code,
                party_id=party_id,
                person_id=person_id,
                by=actor.name,
                now=now,
            )
    except psycopg.errors.CheckViolation:
        raise Refusal(
            "A partner has a short name of 2 to 20 small letters, a country of two capitals and a "
            "party of three characters, like gireve, FR, 107."
        ) from None
    if not made:
        raise AlreadyThere(f"There was a partner {slug} before.", "slug")
    await _note(connection, actor, now, "partner created", slug)
    return await locked(connection, slug)


async def invite(
    connection: AsyncConnection, settings: Settings, slug: str, actor: Actor, now: datetime
) -> Invitation:
    """A token with which the partner registers, once; a former one is void.

    Raises: NotThere; Conflict where it is registered.
    """
    needed_party(settings)
    partner = await locked(connection, slug)
    if partner.registered_at is not None:
        raise Conflict(f"{slug} is registered: end that first.")
    token = chance.token_urlsafe(TOKEN_BYTES)
    await store.set_invitation(connection, partner.id, sha256(token))
    await _note(connection, actor, now, "partner invited", slug)
    return Invitation(versions_url(settings), token)


async def tell_of(
    connection: AsyncConnection, slug: str, site_id: str, feed: str, actor: Actor, now: datetime
) -> None:
    """Tell the partner of a site from now on. Raises: NotThere, AlreadyThere, Refusal."""
    partner = await locked(connection, slug)
    if feed not in FEEDS:
        raise Refusal(f"A feed is one of: {', '.join(FEEDS)}.", "feed")
    if feed == "roaming" and partner.person_id is None:
        raise Refusal(f"{slug} has no account to which its drivers' sessions are invoiced.", "feed")
    try:
        async with connection.transaction():
            await store.insert_feed(connection, partner.id, site_id, feed, actor.name, now)
    except psycopg.errors.ForeignKeyViolation:
        raise NotThere(f"There is no site {site_id}.") from None
    except psycopg.errors.ExclusionViolation:
        raise AlreadyThere(f"{slug} is told of {site_id} already ({feed}).", "site_id") from None
    await _note(connection, actor, now, f"{feed} begun", slug, site_id)


async def end_feed(
    connection: AsyncConnection, slug: str, site_id: str, feed: str, actor: Actor, now: datetime
) -> None:
    """Tell the partner of the site no more. Raises: NotThere."""
    partner = await locked(connection, slug)
    if not await store.end_feed(connection, partner.id, site_id, feed, actor.name, now):
        raise NotThere(f"{slug} is not told of {site_id} ({feed}).")
    await _note(connection, actor, now, f"{feed} ended", slug, site_id)


async def close(
    pool: AsyncConnectionPool, settings: Settings, slug: str, actor: Actor, now: datetime
) -> str | None:
    """End the registration at both sides, and the partner; what it answers where it does not take
    it, for people. Raises: NotThere."""
    async with transaction(pool) as connection:
        partner = await locked(connection, slug)
        await store.set_unregistered(connection, partner.id, now)
        await _note(connection, actor, now, "partner closed", slug)
    peer, own = peer_of(settings, partner), own_party(settings)
    if peer is None or own is None:
        return None
    try:
        async with Client(settings, own) as client:
            url = _url(partner.endpoints, "credentials")
            await client.call(peer, "DELETE", url, is_routed=False)
    except (CannotUse, Refused, Away, Lost) as error:
        return str(error)
    return None


async def locked(connection: AsyncConnection, slug: str) -> PartnerRow:
    """A partner that is not closed. Raises: NotThere."""
    found = await store.lock_partner(connection, slug)
    if found is None:
        raise NotThere(f"There is no partner {slug}.")
    return found


# --- Registration ---------------------------------------------------------------------------------


async def register(
    pool: AsyncConnectionPool,
    settings: Settings,
    slug: str,
    url: str,
    token: str,
    actor: Actor,
    now: datetime,
) -> PartnerRow:
    """Register with the partner, at the address of its versions and with the token that it gave us.

    It asks us for our versions meanwhile, with the token that we send. Raises: NotThere, Conflict,
    Refusal; CannotUse; Refused, Away, Lost of the outlet.
    """
    own = needed_party(settings)
    ours = chance.token_urlsafe(TOKEN_BYTES)
    async with transaction(pool) as connection:
        partner = await locked(connection, slug)
        if partner.registered_at is not None:
            raise Conflict(f"{slug} is registered: end that first.")
        await store.set_invitation(connection, partner.id, sha256(ours))
    first = Peer(Party(partner.country_code, partner.party_id), token)
    async with Client(settings, own) as client:
        endpoints = await read_endpoints(client, first, url)
        at = _url(endpoints, "credentials")
        body = credentials(settings, own, ours).wire()
        answer = await client.call(first, "POST", at, body, is_routed=False)
    try:
        theirs = Credentials.model_validate(answer)
    except ValidationError:
        raise CannotUse(3001, "The partner answers no credentials.") from None
    async with transaction(pool) as connection:
        partner = await locked(connection, slug)
        await _registered(connection, settings, partner, theirs, endpoints, ours, now)
        await _note(connection, actor, now, "partner registered", slug)
        return await locked(connection, slug)


async def accept(
    pool: AsyncConnectionPool,
    settings: Settings,
    partner: PartnerRow,
    token: str,
    theirs: Credentials,
    now: datetime,
) -> Credentials:
    """A partner registers, or changes its registration: read what it has, and answer the token by
    which it speaks to us from now on. `token` is the one by which it proved itself: it has to be
    good still when its versions have been read. Raises: CannotUse."""
    own = needed_party(settings)
    party = Party(partner.country_code, partner.party_id)
    async with Client(settings, own) as client:
        try:
            endpoints = await read_endpoints(client, Peer(party, theirs.token), theirs.url)
        except (Refused, Away, Lost) as error:
            raise CannotUse(3001, f"Your versions cannot be read: {error}"[:500]) from None
    ours = chance.token_urlsafe(TOKEN_BYTES)
    async with transaction(pool) as connection:
        known = await store.lock_partner(connection, partner.slug)
        proven = await store.find_by_token(connection, sha256(token))
        if known is None or proven is None:
            raise CannotUse(2000, "Your token was used or ended meanwhile.")
        await _registered(connection, settings, known, theirs, endpoints, ours, now)
        await _note(connection, Actor(f"partner {known.slug}"), now, "registered", known.slug)
    return credentials(settings, own, ours)


async def unregister(pool: AsyncConnectionPool, partner: PartnerRow, now: datetime) -> None:
    """A partner ends its registration; it may be invited again."""
    async with transaction(pool) as connection:
        await store.set_unregistered(connection, partner.id, None)
        await _note(connection, Actor(f"partner {partner.slug}"), now, "unregistered", partner.slug)


async def read_endpoints(client: Client, peer: Peer, url: str) -> list[dict[str, str]]:
    """The modules of a partner's version. Raises: CannotUse; Refused, Away, Lost."""
    try:
        offered = [
            Version.model_validate(item)
            for item in await client.call(peer, "GET", url, is_routed=False) or ()
        ]
        details_url = next((v.url for v in offered if v.version == VERSION), None)
        if details_url is None:
            raise CannotUse(3002, f"You do not speak OCPI {VERSION}.")
        details = VersionDetails.model_validate(
            await client.call(peer, "GET", details_url, is_routed=False)
        )
    except (ValidationError, TypeError):
        raise CannotUse(3001, "Your versions are not what OCPI says they are.") from None
    found = [{"identifier": e.identifier, "role": e.role, "url": e.url} for e in details.endpoints]
    _url(found, "credentials")
    return found


def _url(endpoints: Sequence[dict[str, str]], module: str) -> str:
    """Raises: CannotUse."""
    for endpoint in endpoints:
        if endpoint["identifier"] == module:
            return endpoint["url"]
    raise CannotUse(3003, f"You have no module {module}.")


async def _registered(
    connection: AsyncConnection,
    settings: Settings,
    partner: PartnerRow,
    theirs: Credentials,
    endpoints: Sequence[dict[str, str]],
    ours: str,
    now: datetime,
) -> None:
    await store.set_registered(
        connection,
        partner.id,
        our_sha256=sha256(ours),
        their_token=secrets.seal(settings, theirs.token),
        versions_url=theirs.url,
        endpoints=endpoints,
        now=now,
    )
    await store.forget_places(connection, partner.id)


async def _note(
    connection: AsyncConnection,
    actor: Actor,
    now: datetime,
    action: str,
    slug: str,
    site_id: str | None = None,
) -> None:
    await drivers.note(connection, actor, now, action, f"partner {slug}", site=site_id)
