"""Drivers, their groups and badges: who is who, whose is what, and where each may charge when."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from csms import closing, driver_badges, driver_groups, drivers, registry, site_registry
from csms.authorization import decide
from csms.clients import Actor
from csms.config import Settings
from csms.db import transaction
from csms.domain.station import Station
from csms.registry import AlreadyThere, NotThere, Refusal
from csms.store import driver_badges as badge_store
from csms.store import drivers as driver_store
from csms.store import lookup, payment_means
from csms.store import tokens as token_store

NOW = datetime(2026, 5, 25, 12, tzinfo=UTC)  # a Monday, 14:00 in Paris
HOUR = timedelta(hours=1)
DAY = 24 * HOUR
DESK = Actor("key desk")

SITES = """
INSERT INTO client (name) VALUES ('A'), ('B');
INSERT INTO site (id, client_id) SELECT 'garage', id FROM client WHERE name = 'A';
INSERT INTO site (id, client_id) SELECT 'office', id FROM client WHERE name = 'B';
"""


@pytest.fixture
async def sites(pool: AsyncConnectionPool) -> AsyncConnectionPool:
    """The pool of a database with two clients and a site of each."""
    async with transaction(pool) as connection:
        await connection.execute(SITES.encode())
    return pool


async def driver(connection: AsyncConnection, email: str = "conducteur@example.org") -> int:
    """A driver with nothing but an e-mail address."""
    return await drivers.create(connection, {"email": email}, DESK, NOW - DAY)


async def group(
    connection: AsyncConnection, client: str, site_id: str | None = None, **window: Any
) -> int:
    """A group of the client, with access at a site."""
    cursor = await connection.execute("SELECT id FROM client WHERE name = %s", (client,))
    (client_id,) = await cursor.fetchone() or (None,)
    assert client_id is not None
    values = {"name": f"{site_id} {window}"}
    group_id = await driver_groups.create(connection, client_id, values, DESK, NOW)
    if site_id is not None:
        await driver_groups.add_access(connection, group_id, site_id, DESK, NOW, **window)
    return group_id


async def member(
    connection: AsyncConnection, group_id: int, person_id: int, **when: datetime
) -> None:
    when = {"from_at": NOW - DAY} | when
    await driver_groups.add_member(connection, group_id, person_id, DESK, NOW, **when)


async def give(connection: AsyncConnection, person_id: int, uid: str, at: datetime = NOW) -> None:
    await driver_badges.assign(connection, person_id, uid, DESK, at)


async def judged(connection: AsyncConnection, uid: str, site_id: str, now: datetime = NOW) -> str:
    """What a station of the site would be told of the badge."""
    station = Station(1, "CP1")
    station.site_id, station.time_zone = site_id, "Europe/Paris"
    found = await lookup.fetch_tokens(connection, [uid.lower()], [site_id])
    return decide(found[0] if found else None, station, now).status


async def test_the_session_api_gets_one_virtual_badge_per_driver(
    sites: AsyncConnectionPool,
) -> None:
    async with transaction(sites) as connection:
        one, two = await driver(connection), await driver(connection, "other@example.org")
        uid = await drivers.app_badge(connection, one, NOW)
        assert uid.startswith("APP")
        assert len(uid) == 15
        assert await drivers.app_badge(connection, one, NOW + HOUR) == uid
        assert await drivers.app_badge(connection, two, NOW) != uid
        assert await drivers.person_of_badge(connection, uid.lower(), NOW) == one
        assert await drivers.person_of_badge(connection, uid, NOW - HOUR) is None
        assert await judged(connection, uid, "garage") == "NotAtThisLocation"


async def test_a_virtual_badge_is_for_drivers_who_may_charge(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        with pytest.raises(NotThere):
            await drivers.app_badge(connection, 7, NOW)
        one = await driver(connection)
        await connection.execute("UPDATE person SET blocked_at = now()")
        with pytest.raises(Refusal, match="blocked"):
            await drivers.app_badge(connection, one, NOW)


# --- Where a badge charges ----------------------------------------------------------------------


async def test_a_badge_of_nobody_goes_by_its_own_sites(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        await registry.create_token(connection, "FREE", {})
        await registry.create_token(connection, "HERE", {"site_ids": ["garage"]})
        assert await judged(connection, "FREE", "office") == "Accepted"
        assert await judged(connection, "HERE", "garage") == "Accepted"
        assert await judged(connection, "HERE", "office") == "NotAtThisLocation"


async def test_a_drivers_badge_goes_by_her_groups(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        await give(connection, one, "CARD")
        assert await judged(connection, "CARD", "garage") == "NotAtThisLocation"
        always = await group(connection, "A", "garage")
        await member(connection, always, one)
        night = await group(connection, "B", "office", begin="22:00", end="06:00")
        await member(connection, night, one)
        assert await judged(connection, "CARD", "garage") == "Accepted"
        assert await judged(connection, "CARD", "office") == "NotAtThisTime"
        assert await judged(connection, "CARD", "office", NOW + 9 * HOUR) == "Accepted"
        assert await drivers.access_of(connection, one, NOW) == [
            drivers.SiteAccess("garage", True, None, None),
            drivers.SiteAccess("office", False, None, NOW + 8 * HOUR),
        ]
        assert await drivers.app_badge(connection, one, NOW - HOUR)


async def test_the_badges_own_sites_count_beside_the_groups(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        await give(connection, one, "CARD")
        await member(connection, await group(connection, "A", "garage"), one)
        await registry.change_token(connection, "CARD", {"site_ids": ["office"]})
        assert await judged(connection, "CARD", "garage") == "Accepted"
        assert await judged(connection, "CARD", "office") == "Accepted"
        for site_id in ("garage", "office"):
            (found,) = await token_store.list_tokens(connection, site_id=site_id)
            assert found.uid == "CARD"
        await registry.change_token(connection, "CARD", {"site_ids": []})
        assert await token_store.list_tokens(connection, site_id="office") == []
        assert await judged(connection, "CARD", "office") == "NotAtThisLocation"


async def test_what_is_accepted_for_some_hours_is_valid_no_longer(
    sites: AsyncConnectionPool,
) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        await give(connection, one, "CARD")
        day = await group(connection, "A", "garage", weekdays=[1], begin="08:00", end="18:00")
        await member(connection, day, one)
        station = Station(1, "CP1")
        station.site_id, station.time_zone = "garage", "Europe/Paris"
        (token,) = await lookup.fetch_tokens(connection, ["card"], ["garage"])
        group_uid = f"DRIVER-{one}"
        assert decide(token, station, NOW) == ("Accepted", group_uid, NOW + 4 * HOUR)
        assert decide(token, station, NOW + 4 * HOUR) == ("NotAtThisTime", group_uid, None)
        sooner = token._replace(valid_until=NOW + HOUR)
        assert decide(sooner, station, NOW).valid_until == NOW + HOUR


async def test_membership_access_and_group_end(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        await give(connection, one, "CARD", NOW - DAY)
        first = await group(connection, "A", "garage")
        await member(connection, first, one, to_at=NOW + HOUR)
        assert await judged(connection, "CARD", "garage") == "Accepted"
        assert await judged(connection, "CARD", "garage", NOW + HOUR) == "NotAtThisLocation"
        await driver_groups.end_member(connection, first, one, DESK, NOW)
        assert await judged(connection, "CARD", "garage") == "NotAtThisLocation"
        assert await judged(connection, "CARD", "garage", NOW - HOUR) == "Accepted", "it was then"
        second = await group(connection, "A", "garage", weekdays=[1])
        await member(connection, second, one)
        assert await judged(connection, "CARD", "garage") == "Accepted"
        cursor = await connection.execute("SELECT max(id) FROM group_access")
        (access_id,) = await cursor.fetchone() or (0,)
        await driver_groups.end_access(connection, second, access_id, DESK, NOW)
        assert await judged(connection, "CARD", "garage") == "NotAtThisLocation"
        third = await group(connection, "A", "garage", weekdays=[1, 2])
        await member(connection, third, one)
        await driver_groups.retire(connection, third, DESK, NOW)
        assert await judged(connection, "CARD", "garage") == "NotAtThisLocation"


async def test_a_site_that_changes_hands_lets_the_former_clients_groups_in_no_more(
    sites: AsyncConnectionPool,
) -> None:
    async with transaction(sites) as connection:
        group_id = await group(connection, "A", "garage")
        person_id = await driver(connection)
        await member(connection, group_id, person_id)
        await give(connection, person_id, "CARD", NOW - HOUR)
        await connection.execute("UPDATE group_access SET created_at = %s", (NOW - DAY,))
        assert await judged(connection, "CARD", "garage") == "Accepted"
    async with transaction(sites) as connection:
        cursor = await connection.execute("SELECT id FROM client WHERE name = 'B'")
        (client_id,) = await cursor.fetchone() or (None,)
        values = {"client_id": client_id}
        await site_registry.change_site(connection, "garage", values, actor="key desk")
        later = datetime.now(UTC) + HOUR
        assert await judged(connection, "CARD", "garage", later) == "NotAtThisLocation"
        own = await group(connection, "B", "garage")
        await site_registry.change_site(connection, "garage", {"name": "Garage"}, actor="key desk")
        await member(connection, own, person_id)
        assert await judged(connection, "CARD", "garage", later) == "Accepted", "its own group's"


async def test_windows_that_are_over_never_hide_one_in_force(sites: AsyncConnectionPool) -> None:
    """However often the hours of a group were changed."""
    async with transaction(sites) as connection:
        group_id = await group(connection, "A")
        person_id = await driver(connection)
        await member(connection, group_id, person_id)
        await give(connection, person_id, "CARD", NOW - HOUR)
        await connection.execute(
            """INSERT INTO group_access (group_id, client_id, site_id, created_at, retired_at)
               SELECT id, client_id, 'garage', %s, %s FROM driver_group, generate_series(1, 1200)
                WHERE id = %s""",
            (NOW - DAY, NOW - HOUR / 2, group_id),
        )
        assert await judged(connection, "CARD", "garage") == "NotAtThisLocation"
        await driver_groups.add_access(connection, group_id, "garage", DESK, NOW)
        assert await judged(connection, "CARD", "garage") == "Accepted"


async def test_a_group_has_no_more_windows_than_a_station_waits_for(
    sites: AsyncConnectionPool,
) -> None:
    async with transaction(sites) as connection:
        group_id = await group(connection, "A")
        for _ in range(driver_groups.ACCESS_MAX):
            made = await driver_groups.add_access(connection, group_id, "garage", DESK, NOW)
        with pytest.raises(Refusal, match="at most"):
            await driver_groups.add_access(connection, group_id, "garage", DESK, NOW)
        await driver_groups.end_access(connection, group_id, made.id, DESK, NOW)
        await driver_groups.add_access(connection, group_id, "garage", DESK, NOW)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE person SET blocked_at = now()",
        "UPDATE person SET closed_at = now()",
        "UPDATE driver SET closed_at = now()",
    ],
)
async def test_badges_of_who_is_blocked_or_closed_are_refused(
    sites: AsyncConnectionPool, statement: str
) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        await give(connection, one, "CARD")
        await member(connection, await group(connection, "A", "garage"), one)
        assert await judged(connection, "CARD", "garage") == "Accepted"
        await connection.execute(statement.encode())
        assert await judged(connection, "CARD", "garage") == "Blocked"
        assert await drivers.access_of(connection, one, NOW) == []


# --- Badges -------------------------------------------------------------------------------------


async def test_a_badge_given_to_another_is_the_formers_no_more(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one, two = await driver(connection), await driver(connection, "other@example.org")
        await member(connection, await group(connection, "A", "garage"), one)
        await give(connection, one, "CARD", NOW - HOUR)
        await give(connection, two, "card", NOW)
        assert await drivers.person_of_badge(connection, "CARD", NOW - HOUR) == one
        assert await drivers.person_of_badge(connection, "CARD", NOW) == two
        assert await judged(connection, "CARD", "garage") == "NotAtThisLocation"
        (held,) = await badge_store.list_held(connection, one, limit=9, cursor=None)
        assert (held.uid, held.from_at, held.to_at) == ("CARD", NOW - HOUR, NOW)


async def test_a_lost_badge_is_refused_until_it_is_found(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        await member(connection, await group(connection, "A", "garage"), one)
        await give(connection, one, "CARD")
        await driver_badges.block(connection, one, "card", "lost", DESK, NOW)
        assert await judged(connection, "CARD", "garage") == "Blocked"
        with pytest.raises(Refusal, match="lost"):
            await give(connection, await driver(connection, "other@example.org"), "CARD")
        await driver_badges.unblock(connection, one, "CARD", DESK, NOW)
        assert await judged(connection, "CARD", "garage") == "Accepted"
        with pytest.raises(Refusal, match="not blocked"):
            await driver_badges.unblock(connection, one, "CARD", DESK, NOW)


async def test_what_the_operator_blocked_is_his_to_unblock(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        await give(connection, one, "CARD")
        await driver_badges.block(connection, one, "CARD", "unpaid", DESK, NOW)
        await driver_badges.block(connection, one, "CARD", "lost", DESK, NOW)
        reasons = driver_badges.DRIVERS_REASONS
        with pytest.raises(Refusal, match="operator"):
            await driver_badges.unblock(connection, one, "CARD", DESK, NOW, reasons=reasons)
        await driver_badges.unblock(connection, one, "CARD", DESK, NOW)


async def test_accepted_badges_of_a_driver_are_a_group_unless_they_are_in_another(
    sites: AsyncConnectionPool,
) -> None:
    async def groups() -> dict[str, str | None]:
        found = await lookup.fetch_tokens(connection, ["card", "own", "lost", "past", app], [])
        return {token.uid_key: token.group_uid for token in found}

    async with transaction(sites) as connection:
        one, two = await driver(connection), await driver(connection, "other@example.org")
        app = (await drivers.app_badge(connection, one, NOW)).lower()
        await registry.create_token(connection, "OWN", {"group_uid": "FLEET"})
        for uid in ("CARD", "OWN", "LOST", "PAST"):
            await give(connection, one, uid, NOW - HOUR)
        await driver_badges.block(connection, one, "LOST", "lost", DESK, NOW)
        await give(connection, two, "PAST")
        hers, others = f"DRIVER-{one}", f"DRIVER-{two}"
        assert await groups() == {
            app: hers,
            "card": hers,
            "own": "FLEET",
            "lost": None,
            "past": others,
        }


async def test_a_returned_badge_charges_nowhere_until_somebody_gets_it(
    sites: AsyncConnectionPool,
) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        await member(connection, await group(connection, "A", "garage"), one)
        await give(connection, one, "CARD", NOW - HOUR)
        await driver_badges.give_back(connection, one, "CARD", DESK, NOW)
        assert await judged(connection, "CARD", "garage") == "Blocked"
        with pytest.raises(NotThere):
            await driver_badges.give_back(connection, one, "CARD", DESK, NOW)
        await give(connection, one, "CARD", NOW + HOUR)
        assert await judged(connection, "CARD", "garage", NOW + HOUR) == "Accepted"


async def test_a_badge_of_the_desk_blocked_and_accepted_says_why(
    sites: AsyncConnectionPool,
) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        await give(connection, one, "CARD")
        for status, why in (("blocked", "operator"), ("expired", None), ("accepted", None)):
            await registry.change_token(connection, "CARD", {"status": status})
            badge = await driver_badges.held(connection, one, "CARD", NOW)
            assert (badge.status, badge.blocked_why) == (status, why)


async def test_masters_and_virtual_badges_are_given_to_nobody(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one, two = await driver(connection), await driver(connection, "other@example.org")
        await registry.create_token(connection, "BOSS", {"group_uid": "boss"})
        with pytest.raises(Refusal, match="master"):
            await give(connection, one, "BOSS")
        uid = await drivers.app_badge(connection, one, NOW)
        with pytest.raises(Refusal, match="virtual"):
            await give(connection, two, uid)
        with pytest.raises(Refusal, match="virtual"):
            await driver_badges.block(connection, one, uid, "lost", DESK, NOW)


async def test_an_ordered_badge_is_sent_and_activated(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one, two = await driver(connection), await driver(connection, "other@example.org")
        order = await driver_badges.order(connection, one, DESK, NOW)
        assert (order.person_id, order.ordered_by, order.sent_at) == (one, "key desk", None)
        sent = await driver_badges.mark_sent(connection, order.id, DESK, NOW + HOUR)
        assert sent.sent_at == NOW + HOUR
        with pytest.raises(NotThere):
            await driver_badges.assign(connection, two, "X", DESK, NOW, order_id=order.id)
        at = NOW + DAY
        await driver_badges.assign(connection, one, "Card", DESK, at, order_id=order.id)
        (done,) = await badge_store.list_orders(connection, order_id=order.id)
        assert (done.uid, done.activated_at) == ("Card", at)
        with pytest.raises(Refusal, match="in use"):
            await driver_badges.cancel(connection, order.id, DESK, at)
        other = await driver_badges.order(connection, one, DESK, NOW)
        await driver_badges.cancel(connection, other.id, DESK, NOW)
        with pytest.raises(Refusal, match="cancelled"):
            await driver_badges.mark_sent(connection, other.id, DESK, NOW)
        for _ in range(driver_badges.OPEN_ORDERS_MAX):
            await driver_badges.order(connection, one, DESK, NOW)
        with pytest.raises(Refusal, match="5 badges"):
            await driver_badges.order(connection, one, DESK, NOW)


async def test_a_manager_reads_of_badges_whose_drivers_are_with_her_client_alone(
    sites: AsyncConnectionPool,
) -> None:
    async with transaction(sites) as connection:
        one, two, three = [
            await driver(connection, f"{name}@example.org") for name in ("one", "two", "three")
        ]
        garage, office = await group(connection, "A", "garage"), await group(connection, "B")
        for group_id, person_id in ((garage, one), (garage, two), (office, two)):
            await member(connection, group_id, person_id)
        for person_id in (one, two, three):
            await give(connection, person_id, f"CARD-{person_id}")
        await driver_badges.block(connection, one, f"CARD-{one}", "lost", DESK, NOW)
        await driver_badges.order(connection, one, DESK, NOW)
        await give(connection, one, f"CARD-{two}", NOW + HOUR)
        cursor = await connection.execute(
            """SELECT a.action, a.detail -> 'driver', c.name
                 FROM audit_entry a LEFT JOIN client c ON c.id = a.client_id
                WHERE a.action LIKE 'badge %' ORDER BY a.id"""
        )
        assert await cursor.fetchall() == [
            ("badge assigned", one, "A"),
            ("badge assigned", two, None),
            ("badge assigned", three, None),
            ("badge blocked", one, "A"),
            ("badge ordered", None, "A"),
            ("badge assigned", one, None),  # it was the other's until then
        ]


async def test_a_driver_is_told_of_her_badges(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        order = await driver_badges.order(connection, one, DESK, NOW)
        for at in (NOW, NOW + HOUR):  # what is so already is not told again
            await driver_badges.assign(connection, one, "Card", DESK, at, label="Blue")
        for why in ("lost", "stolen"):
            await driver_badges.block(connection, one, "CARD", why, DESK, NOW + HOUR)
        await driver_badges.unblock(connection, one, "CARD", DESK, NOW + DAY)
        await driver_badges.block(connection, one, "CARD", "lost", DESK, NOW + DAY)
        await driver_badges.assign(connection, one, "OLD", DESK, NOW, told=False)
        cursor = await connection.execute(
            "SELECT event, person_id, subject, data FROM notification ORDER BY id"
        )
        told = await cursor.fetchall()
        subject = told[1][2]
        assert told == [
            ("badge.ordered", one, f"badge order {order.id}", {}),
            ("badge.activated", one, subject, {"badge": "Blue"}),
            ("badge.blocked", one, subject, {"badge": "Blue", "reason": "lost"}),
            ("badge.blocked", one, subject, {"badge": "Blue", "reason": "lost"}),
        ]


# --- Who she is ---------------------------------------------------------------------------------


async def test_a_closed_driver_is_out_of_everything_and_can_come_back(
    sites: AsyncConnectionPool,
) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        await member(connection, await group(connection, "A", "garage"), one)
        await member(connection, await group(connection, "B", "office"), one, from_at=NOW + DAY)
        await give(connection, one, "CARD")
        await drivers.add_means(connection, one, DESK, NOW, kind="wallet", reference="W-1")
        await closing.close_driver(
            connection, Settings(), one, now=NOW + HOUR, by=closing.By("desk")
        )
        assert await judged(connection, "CARD", "garage", NOW + HOUR) == "Blocked"
        assert await driver_store.clients_of_driver(connection, one, NOW + HOUR) == frozenset()
        (means,) = await payment_means.list_means(connection, one, limit=9, cursor=None)
        assert means.to_at == NOW + HOUR
        with pytest.raises(NotThere):
            await closing.close_driver(connection, Settings(), one, now=NOW, by=closing.By("desk"))
        assert await driver(connection) == one, "she is known"
        assert await judged(connection, "CARD", "garage", NOW + HOUR) == "Blocked"
        await give(connection, one, "CARD", NOW + 2 * HOUR)
        assert await judged(connection, "CARD", "garage", NOW + 2 * HOUR) == "NotAtThisLocation"


async def test_an_address_names_one_driver_without_case(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        with pytest.raises(AlreadyThere):
            await driver(connection, "Conducteur@Example.org")
        two = await driver(connection, "other@example.org")
        with pytest.raises(AlreadyThere):
            change = {"email": "CONDUCTEUR@example.org"}
            await drivers.change(connection, two, change, DESK, NOW)
        with pytest.raises(Refusal, match="replaced"):
            await drivers.change(connection, one, {"email": None}, DESK, NOW)
        await drivers.change(connection, one, {"email": "new@example.org"}, DESK, NOW)
        found = await driver_store.find_person(connection, person_id=one)
        assert found is not None
        assert found.email == "new@example.org"


async def test_the_address_of_staff_is_not_others_to_change(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        await connection.execute("UPDATE person SET operator_roles = '{admin}'")
        with pytest.raises(Refusal, match="staff"):
            await drivers.change(connection, one, {"email": "x@example.org"}, DESK, NOW)
        await connection.execute("UPDATE driver SET closed_at = now()")
        with pytest.raises(Refusal, match="staff"):
            values = {"email": "conducteur@example.org"}
            await drivers.create(connection, values, DESK, NOW, staff_too=False)


@pytest.mark.parametrize(
    "email", ["", "a", "a@b", "a b@example.org", "a@@example.org", "a@example.org,b@example.org"]
)
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(Refusal, match="address"):
        drivers.checked_email(email)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("06 12 34 56 78", "+33612345678"),
        ("+33 (6) 12.34-56 78", "+33612345678"),
        ("0032 2 123 45 67", "+3221234567"),
    ],
)
def test_telephone_numbers_are_kept_in_one_form(text: str, kept: str) -> None:
    assert drivers.checked_phone(text) == kept
    with pytest.raises(Refusal):
        drivers.checked_phone(text + "x")


BILLING = driver_store.Billing("", None, None, None, "", "", "", "FR")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"siren": "732829321"}, "siren"),
        ({"siren": "73282932"}, "siren"),
        ({"vat_number": "FR45732829320"}, "vat_number"),
        ({"vat_number": "FR44732829321"}, "vat_number"),
        ({"country": "XX"}, "country"),
        ({"postal_code": "7500"}, "postal_code"),
        ({"postal_code": "75001", "country": "ZZ"}, "country"),
        ({"street": "4111 1111 1111 1111"}, "street"),
        ({"company": "FR76 3000 6000 0112 3456 7890 189"}, "company"),
    ],
)
def test_what_cannot_be_on_an_invoice_is_refused(values: dict[str, str], field: str) -> None:
    with pytest.raises(Refusal) as refused:
        drivers.checked_billing(BILLING, values)
    assert refused.value.field == field


def test_numbers_on_an_invoice_are_kept_in_one_form() -> None:
    values = {"siren": "732 829 320", "vat_number": "fr 44 732829320", "postal_code": "75001"}
    kept = drivers.checked_billing(BILLING, values)
    assert (kept.siren, kept.vat_number) == ("732829320", "FR44732829320")
    assert drivers.checked_billing(kept, {"siren": ""}).siren is None
    abroad = drivers.checked_billing(BILLING, {"postal_code": "SW1A 1AA", "country": "GB"})
    assert abroad.postal_code == "SW1A 1AA"


# --- How she pays -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    [
        "4111111111111111",
        "carte 4111-1111-1111-1111",
        "FR7630006000011234567890189",
        "iban fr76 3000 6000 0112 3456 7890 189",
    ],
)
async def test_numbers_of_cards_and_accounts_are_never_kept(
    sites: AsyncConnectionPool, reference: str
) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        for fields in ({"reference": reference}, {"reference": "R", "label": reference}):
            with pytest.raises(Refusal, match="kept here"):
                await drivers.add_means(connection, one, DESK, NOW, kind="provider", **fields)
        assert await payment_means.count_means(connection, one) == 0


async def test_a_means_of_payment_follows_another(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        add = partial(drivers.add_means, connection, one, DESK, NOW)
        await add(kind="wallet", reference="W-1")
        later = await add(kind="sepa_mandate", reference="M-20260601-77", from_at=NOW + DAY)
        with pytest.raises(Refusal, match="Another"):
            await add(kind="employer", reference="E", from_at=NOW + HOUR)
        with pytest.raises(Refusal, match="now or later"):
            await add(kind="employer", reference="E", from_at=NOW - HOUR)
        found = await payment_means.list_means(connection, one, limit=9, cursor=None)
        assert [(means.reference, means.to_at) for means in found] == [
            ("W-1", NOW + DAY),
            ("M-20260601-77", None),
        ]
        await drivers.end_means(connection, one, later.id, DESK, NOW + 2 * DAY)
        with pytest.raises(NotThere):
            await drivers.end_means(connection, one, later.id, DESK, NOW + 2 * DAY)


# --- Groups -------------------------------------------------------------------------------------


async def test_groups_of_a_client_have_different_names(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one = await driver_groups.create(connection, 2, {"name": "Résidents"}, DESK, NOW)
        with pytest.raises(AlreadyThere):
            await driver_groups.create(connection, 2, {"name": "RÉSIDENTS"}, DESK, NOW)
        await driver_groups.create(connection, 3, {"name": "Résidents"}, DESK, NOW)
        await driver_groups.retire(connection, one, DESK, NOW)
        await driver_groups.create(connection, 2, {"name": "Résidents"}, DESK, NOW)
        with pytest.raises(NotThere):
            await driver_groups.change(connection, one, {"name": "X"}, DESK, NOW)


async def test_a_driver_is_in_a_group_once_at_a_time(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one, of = await driver(connection), await group(connection, "A", "garage")
        await member(connection, of, one, to_at=NOW + DAY)
        with pytest.raises(AlreadyThere):
            await member(connection, of, one)
        await member(connection, of, one, from_at=NOW + 2 * DAY)
        with pytest.raises(Refusal, match="again"):
            await driver_groups.end_member(connection, of, one, DESK, NOW, to_at=NOW + 3 * DAY)
        await driver_groups.end_member(connection, of, one, DESK, NOW, to_at=NOW + HOUR)
        await driver_groups.end_member(connection, of, one, DESK, NOW)
        with pytest.raises(NotThere):
            await driver_groups.end_member(connection, of, one, DESK, NOW)


@pytest.mark.parametrize("year", [1, 1999, 2201, 9999])
async def test_no_membership_reaches_beyond_all_clocks(
    sites: AsyncConnectionPool, year: int
) -> None:
    moment = datetime(year, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    async with transaction(sites) as connection:
        one, of = await driver(connection), await group(connection, "A", "garage")
        for when in ({"from_at": moment}, {"to_at": moment}):
            with pytest.raises(Refusal, match="year"):
                await member(connection, of, one, **when)


async def test_access_is_at_sites_of_the_groups_own_client(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        of = await group(connection, "A")
        for site_id in ("office", "nowhere"):
            with pytest.raises(Refusal, match="no site"):
                await driver_groups.add_access(connection, of, site_id, DESK, NOW)


@pytest.mark.parametrize("text", ["", "8:00", "08.00", "24:01", "12:60", "08:00:00", "٠٨:٠٠"])
def test_what_is_no_time_of_the_day_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="time"):
        driver_groups.minute_of(text, "from")


def test_times_and_weekdays_read_as_they_are_written() -> None:
    for text in ("00:00", "07:30", "24:00"):
        assert driver_groups.time_of(driver_groups.minute_of(text, "from")) == text
    assert driver_groups.weekday_mask([]) == 127
    assert driver_groups.weekdays_of(driver_groups.weekday_mask([7, 1, 1])) == [1, 7]
    with pytest.raises(Refusal):
        driver_groups.weekday_mask([8])


async def test_every_change_is_in_the_audit_without_names(sites: AsyncConnectionPool) -> None:
    async with transaction(sites) as connection:
        one = await driver(connection)
        of = await group(connection, "A", "garage")
        await member(connection, of, one)
        await give(connection, one, "CARD")
        await driver_badges.block(connection, one, "CARD", "stolen", DESK, NOW)
        cursor = await connection.execute(
            "SELECT action, subject, client_id, detail::text FROM audit_entry ORDER BY id"
        )
        rows = await cursor.fetchall()
    assert [row[0] for row in rows] == [
        "driver created",
        "group created",
        "access given",
        "member added",
        "badge assigned",
        "badge blocked",
    ]
    assert rows[3][1:3] == (f"driver {one}", 2)
    assert not any("example" in text or "CARD" in text for *_, text in rows)
