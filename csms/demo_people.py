"""The people of the demonstration: clients under contract, their managers, drivers with badges.

Each client stands otherwise to VAT, or has its drivers invoiced otherwise: every case shows.

Made by the same functions as an operator's own, dated back to before the month that is replayed, so
that every session of it is somebody's. Running it again finds them there. Names are neutral, and
addresses lie under example.org, where no mail arrives.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from psycopg import AsyncConnection

from csms import accounts, agreed, clients, contracts, deadlines, driver_badges, driver_groups
from csms import drivers as driving
from csms.clients import Actor
from csms.domain.services import Option
from csms.domain.siren import french_vat_number
from csms.logins import Caller, Means
from csms.own_account import accept_invitation, reset_password
from csms.store import people, sites

TERM_MONTHS: Final = 36
BUSINESS_EVERY: Final = 7  # of so many drivers one charges for a company
BUSINESS_SIREN: Final = "999000110"
_ACTOR: Final = Actor("command line")
_BEFORE: Final = timedelta(days=60)  # of the month: contracts, badges and rights begin then
_HERE: Final = Caller(address="127.0.0.1", user_agent="time2plug demo")


@dataclass(frozen=True, slots=True)
class LogIn:
    """A way in, as it is printed."""

    who: str
    email: str
    password: str


@dataclass(frozen=True, slots=True)
class DemoClient:
    """A client as it has declared itself. SIREN numbers begin with 999, which nobody has."""

    name: str
    legal_name: str
    client_class: str
    siren: str
    vat_status: str
    invoicing: str
    with_reservations: bool = True


CLIENTS: Final = (
    DemoClient(
        "Copropriété de démonstration 1",
        "Syndicat de la copropriété de démonstration 1",
        "non_professionnel",
        "999000011",
        "non_assujetti",
        "per_use",
    ),
    DemoClient(
        "Copropriété de démonstration 2",
        "Syndicat de la copropriété de démonstration 2",
        "non_professionnel",
        "999000029",
        "franchise",
        "per_use",
    ),
    DemoClient(
        "Société de démonstration 3",
        "Société de démonstration 3",
        "professionnel",
        "999000037",
        "redevable",
        "per_use",
    ),
    DemoClient(
        "Copropriété de démonstration 4",
        "Syndicat de la copropriété de démonstration 4",
        "non_professionnel",
        "999000045",
        "redevable",
        "per_driver_month",
        with_reservations=False,  # for the difference to show
    ),
)


def client_of_sites(site_ids: Iterable[str]) -> dict[str, str]:
    """Which client each site belongs to: as many of them for each, neighbours together."""
    ordered = sorted(set(site_ids))
    return {
        site_id: CLIENTS[position * len(CLIENTS) // len(ordered)].name
        for position, site_id in enumerate(ordered)
    }


async def provide(
    connection: AsyncConnection,
    badge_sites: Mapping[str, Sequence[str]],
    site_ids: Iterable[str],
    month_begin: datetime,
    now: datetime,
) -> tuple[int, int]:
    """Contracts, managers, groups and drivers for clients and sites that are there, in the caller's
    transaction; how many clients and drivers. `badge_sites`: where each badge charges, by badge."""
    since = month_begin - _BEFORE
    owners = client_of_sites(site_ids)
    groups: dict[str, int] = {}
    for number, demo in enumerate(CLIENTS, start=1):
        theirs = [site_id for site_id, owner in owners.items() if owner == demo.name]
        if theirs:
            found = await sites.find_client(connection, demo.name)
            assert found is not None, "the import has made it"
            groups[demo.name] = await _client(
                connection, found.id, demo, number, theirs, since, now
            )
    for number, (badge, charged_at) in enumerate(sorted(badge_sites.items()), start=1):
        of_clients = {owners[site_id] for site_id in charged_at}
        await _driver(connection, number, badge, [groups[o] for o in sorted(of_clients)], since)
    return len(groups), len(badge_sites)


async def _client(
    connection: AsyncConnection,
    client_id: int,
    demo: DemoClient,
    number: int,
    site_ids: Sequence[str],
    since: datetime,
    now: datetime,
) -> int:
    """Its group of residents; made with all the rest, unless it is there."""
    found = await connection.execute(
        "SELECT id FROM driver_group WHERE client_id = %s AND name = 'Résidents'", (client_id,)
    )
    row = await found.fetchone()
    if row is not None:
        return int(row[0])
    values = {
        "client_class": demo.client_class,
        "legal_name": demo.legal_name,
        "siren": demo.siren,
        "address": {
            "street": "1 rue de l’Exemple",
            "postal_code": "30000",
            "city": "Nîmes",
            "country": "FR",
        },
    }
    await clients.change(connection, client_id, values, _ACTOR, now)
    await clients.add_vat(
        connection,
        client_id,
        status=demo.vat_status,
        vat_number=french_vat_number(demo.siren) if demo.vat_status == "redevable" else None,
        from_on=deadlines.paris_day(since),
        to_on=None,
        actor=_ACTOR,
        now=now,
    )
    await _contract(connection, client_id, demo, since, now)
    email = f"gestion{number}@example.org"
    await clients.add_contact(
        connection,
        client_id,
        name=f"Gestion {number}",
        email=email,
        phone=None,
        purposes=["statements", "invoices"],
        actor=_ACTOR,
        now=now,
    )
    manager_id = await _person(connection, email, "Gestion", str(number), now)
    await accounts.add_manager(
        connection, manager_id, client_id, actor=_ACTOR.name, now=now, from_at=since
    )
    group_id = await driver_groups.create(
        connection, client_id, {"name": "Résidents", "kind": "residents"}, _ACTOR, now
    )
    for site_id in site_ids:
        await driver_groups.add_access(connection, group_id, site_id, _ACTOR, now)
    return group_id


async def _contract(
    connection: AsyncConnection,
    client_id: int,
    demo: DemoClient,
    since: datetime,
    now: datetime,
) -> None:
    """A signed contract with every option, but perhaps that of reservations."""
    begin = deadlines.paris_day(since)
    options = [o for o in Option if demo.with_reservations or o is not Option.RESERVATIONS]
    contract_id = await contracts.create(
        connection,
        client_id,
        devis_reference=f"DEMO-{client_id}",
        signed_on=begin,
        starts_on=begin,
        term_months=TERM_MONTHS,
        mandate_from_on=begin,
        options=[option.value for option in options],
        actor=_ACTOR,
        now=now,
    )
    await agreed.add_terms(
        connection,
        contract_id,
        from_on=begin,
        to_on=None,
        commission_rate=Decimal("0.08"),
        monthly_management_fee_cents=1_500,
        yearly_subscription_cents=24_000,
        monthly_telemetering_cents=300,
        energy_price_eur_per_kwh=Decimal("0.2100"),
        invoicing=demo.invoicing,
        actor=_ACTOR,
        now=now,
    )


async def _person(
    connection: AsyncConnection, email: str, given_name: str, family_name: str, now: datetime
) -> int:
    """A person of this address; her id."""
    found = await people.find_credentials(connection, email)
    if found is not None:
        return found.id
    return await accounts.create_person(
        connection,
        email=email,
        given_name=given_name,
        family_name=family_name,
        actor=_ACTOR.name,
        now=now,
    )


async def _driver(
    connection: AsyncConnection, number: int, badge: str, group_ids: Sequence[int], since: datetime
) -> None:
    """A driver with her badge since then, in these groups; nothing where it is somebody's."""
    if await driving.person_of_badge(connection, badge, since) is not None:
        return
    values = {
        "email": f"conducteur{number:03}@example.org",
        "given_name": "Conducteur",
        "family_name": f"{number:03}",
    }
    if number % BUSINESS_EVERY == 0:
        values |= {
            "company": f"Entreprise de démonstration {number:03}",
            "siren": BUSINESS_SIREN,
            "street": "2 rue de l’Exemple",
            "postal_code": "30000",
            "city": "Nîmes",
        }
    person_id = await driving.create(connection, values, _ACTOR, since)
    await driver_badges.assign(connection, person_id, badge, _ACTOR, since, told=False)
    for group_id in group_ids:
        await driver_groups.add_member(
            connection, group_id, person_id, _ACTOR, since, from_at=since
        )


async def log_ins(means: Means, now: datetime) -> list[LogIn]:
    """Ways in for an administrator, the manager of the first client and the first driver, each
    with a new password. The administrator's roles count once she has set up her second factor."""
    async with means.pool.connection() as connection, connection.transaction():
        await _administrator(connection, now)
    chosen = []
    for who, email in (
        ("operator", "exploitation@example.org"),
        ("manager", "gestion1@example.org"),
        ("driver", "conducteur001@example.org"),
    ):
        password = secrets.token_urlsafe(12)
        await _choose_password(means, email, password, now)
        chosen.append(LogIn(who, email, password))
    return chosen


async def _administrator(connection: AsyncConnection, now: datetime) -> None:
    person_id = await _person(connection, "exploitation@example.org", "Exploitation", "", now)
    roles = ("read", "operate", "finance", "admin")
    await accounts.set_roles(connection, person_id, roles, actor=_ACTOR.name, now=now)


async def _choose_password(means: Means, email: str, password: str, now: datetime) -> None:
    """By the link that a mail would have brought her."""
    async with means.pool.connection() as connection, connection.transaction():
        person = await people.find_credentials(connection, email)
        assert person is not None, email
        purpose = "invitation" if person.password_hash is None else "reset"
        link = await accounts.issue_link(
            connection, means.settings, person.id, purpose, timedelta(minutes=5), now
        )
    token = link.rsplit("/", 1)[1]
    if purpose == "invitation":
        await accept_invitation(means, token, password, kind="page", caller=_HERE, now=now)
    else:
        await reset_password(means, token, password, caller=_HERE, now=now)
