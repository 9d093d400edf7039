"""What the database itself shows to people: a raw connection of their role, no code between."""

from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from csms.db import Database, connect

PEOPLE = """
INSERT INTO client (name) VALUES ('A'), ('B');
INSERT INTO site (id, client_id) SELECT 'site-' || name, id FROM client WHERE NOT is_operator;
INSERT INTO station (id, client_id, site_id, password_hash)
    SELECT 'CP-' || name, id, 'site-' || name, 'secret' FROM client WHERE NOT is_operator;
INSERT INTO evse (station_key, evse_id) SELECT station_key, 1 FROM station;
INSERT INTO person (email, given_name, password_hash)
    VALUES ('manager-a@example.org', 'manager A', 'secret'),
           ('manager-b@example.org', 'manager B', 'secret'),
           ('driver-a@example.org', 'driver A', 'secret'),
           ('driver-b@example.org', 'driver B', 'secret'),
           ('nobody@example.org', 'nobody', 'secret');
INSERT INTO client_manager (person_id, client_id, granted_by)
    SELECT p.id, c.id, 'test' FROM person p JOIN client c ON p.given_name = 'manager ' || c.name;
INSERT INTO driver (person_id) SELECT id FROM person WHERE given_name LIKE 'driver %';
INSERT INTO driver_group (client_id, name, kind)
    SELECT id, 'Residents', 'residents' FROM client WHERE NOT is_operator;
INSERT INTO group_access (group_id, client_id, site_id)
    SELECT g.id, g.client_id, s.id FROM driver_group g JOIN site s USING (client_id);
INSERT INTO group_member (group_id, person_id)
    SELECT g.id, p.id FROM driver_group g JOIN client c ON c.id = g.client_id
      JOIN person p ON p.given_name = 'driver ' || c.name;
INSERT INTO token (uid_key, uid) VALUES ('aa', 'AA'), ('bb', 'BB');
INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
    SELECT t.token_key, t.uid_key, p.id, '2026-01-01'
      FROM token t JOIN person p ON p.given_name = 'driver ' || left(t.uid, 1);
INSERT INTO badge_order (person_id, ordered_at, ordered_by)
    SELECT person_id, now(), 'test' FROM driver;
INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id, token_uid,
                     authorization_status, state, started_at, ended_at, energy_wh)
    SELECT s.station_key * 10 + n, s.client_id, s.site_id, s.station_key, n::text, n::text,
           CASE n WHEN 1 THEN 'AA' ELSE 'bb' END, 'Accepted', 'ended', '2026-10-01', '2026-10-02', 1
      FROM station s, generate_series(1, 2) n;
INSERT INTO contract (client_id, client_class, devis_reference, starts_on, term_months)
    SELECT id, 'professionnel', 'devis-' || name, '2026-01-01', 36
      FROM client WHERE NOT is_operator;
INSERT INTO client_contact (client_id, name, phone, purposes)
    SELECT id, 'contact-' || name, '0', '{}' FROM client WHERE NOT is_operator;
INSERT INTO contract_option (client_id, contract_id, option, from_on)
    SELECT client_id, id, 'gireve', starts_on FROM contract;
INSERT INTO audit_entry (at, actor, action, client_id)
    SELECT now(), 'test', 'filled', id FROM client WHERE NOT is_operator;
INSERT INTO static_change (client_id, actor, kind, site_id, before, after)
    SELECT client_id, 'test', 'site', id, '{}', '{}' FROM site;
INSERT INTO login_session (person_id, kind, secret_sha256, secret_expires_at, created_at,
                           last_used_at, remote_address)
    SELECT id, 'page', id::text::bytea, now(), now(), now(), '' FROM person;
INSERT INTO notification (event, at, client_id, person_id, subject, secret)
    SELECT 'account.closed', now(), c.id, p.id, p.given_name, 'secret'
      FROM person p, client c WHERE p.given_name LIKE 'driver %' AND c.is_operator;
INSERT INTO notification_delivery (notification_id, client_id, channel, person_id, created_at,
                                   next_at, give_up_at)
    SELECT id, client_id, 'email', person_id, at, at, at FROM notification;
INSERT INTO webhook (client_id, url, secret, created_at, created_by, updated_at)
    SELECT id, 'https://' || name || '.example.org', 'secret', now(), 'test', now() FROM client
     WHERE NOT is_operator;
INSERT INTO station_link (station_key, at, up, node)
    SELECT station_key, now(), true, 'node of ' || id FROM station;
INSERT INTO availability_window (client_id, site_id, kind, starts_at, ends_at, cause, created_at,
                                 created_by)
    SELECT client_id, id, 'planned', '2026-10-01', '2026-10-02', id, now(), 'test' FROM site;
INSERT INTO subscribed_power (client_id, site_id, from_on, subscribed_power_w, created_at,
                              created_by)
    SELECT client_id, id, '2026-01-01', 36000, now(), 'test' FROM site;
INSERT INTO quiet_hours SELECT id, 0, 60, 'Europe/Paris', now() FROM person
     WHERE given_name LIKE 'driver %';
"""

# What each sees of a table, as text that names the owner; nothing stands for no row.
SEEN = {
    "SELECT name FROM client": {"manager A": ["A"], "manager B": ["B"]},
    "SELECT id FROM site": {"manager A": ["site-A"], "manager B": ["site-B"]},
    "SELECT id FROM station": {"manager A": ["CP-A"], "manager B": ["CP-B"]},
    "SELECT node FROM station_link": {
        "manager A": ["node of CP-A"],
        "manager B": ["node of CP-B"],
    },
    "SELECT cause FROM availability_window": {"manager A": ["site-A"], "manager B": ["site-B"]},
    "SELECT site_id FROM subscribed_power": {"manager A": ["site-A"], "manager B": ["site-B"]},
    "SELECT s.id FROM evse JOIN station s USING (station_key)": {
        "manager A": ["CP-A"],
        "manager B": ["CP-B"],
    },
    "SELECT DISTINCT site_id FROM session": {"manager A": ["site-A"], "manager B": ["site-B"]},
    "SELECT DISTINCT token_uid FROM my_session": {"driver A": ["AA"], "driver B": ["bb"]},
    "SELECT uid FROM token": {
        "manager A": ["AA"],
        "manager B": ["BB"],
        "driver A": ["AA"],
        "driver B": ["BB"],
    },
    "SELECT given_name FROM person": {
        "manager A": ["driver A", "manager A"],
        "manager B": ["driver B", "manager B"],
        "driver A": ["driver A"],
        "driver B": ["driver B"],
        "nobody": ["nobody"],
    },
    "SELECT given_name FROM driver JOIN person ON id = person_id": {
        "driver A": ["driver A"],  # to whom they are invoiced is not their manager's
        "driver B": ["driver B"],
    },
    "SELECT given_name FROM badge_order JOIN person p ON p.id = person_id": {
        "manager A": ["driver A"],
        "manager B": ["driver B"],
        "driver A": ["driver A"],
        "driver B": ["driver B"],
    },
    "SELECT site_id FROM group_access": {
        "manager A": ["site-A"],
        "manager B": ["site-B"],
        "driver A": ["site-A"],
        "driver B": ["site-B"],
    },
    "SELECT devis_reference FROM contract": {"manager A": ["devis-A"], "manager B": ["devis-B"]},
    "SELECT name FROM client_contact": {"manager A": ["contact-A"], "manager B": ["contact-B"]},
    "SELECT c.devis_reference FROM contract_option o JOIN contract c ON c.id = o.contract_id": {
        "manager A": ["devis-A"],
        "manager B": ["devis-B"],
    },
    "SELECT c.id - 1 FROM audit_entry JOIN client c ON c.id = client_id": {
        "manager A": [1],
        "manager B": [2],
    },
    "SELECT site_id FROM static_change": {"manager A": ["site-A"], "manager B": ["site-B"]},
    "SELECT subject FROM notification": {"driver A": ["driver A"], "driver B": ["driver B"]},
    "SELECT person_id FROM notification_delivery": {"driver A": [3], "driver B": [4]},
    "SELECT person_id FROM quiet_hours": {"driver A": [3], "driver B": [4]},
    "SELECT url FROM webhook": {
        "manager A": ["https://A.example.org"],
        "manager B": ["https://B.example.org"],
    },
    "SELECT person_id FROM login_session": {
        "manager A": [1],
        "manager B": [2],
        "driver A": [3],
        "driver B": [4],
        "nobody": [5],
    },
}
WHO = ["manager A", "manager B", "driver A", "driver B", "nobody"]


@pytest.fixture
async def raw(database: Database) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection of the application's login as it comes, with rows of two clients."""
    async with await connect(database, owner=True) as owner:
        await owner.execute(PEOPLE.encode())
    conninfo = make_conninfo(database.app_url, options="-c role=t2p_app")
    async with await psycopg.AsyncConnection.connect(conninfo) as connection:
        yield connection


async def act_as(connection: psycopg.AsyncConnection, who: int | None) -> None:
    await connection.execute(
        "SELECT set_config('t2p.person_id', %s, true)", ["" if who is None else str(who)]
    )


async def column(connection: psycopg.AsyncConnection, statement: str) -> list[object]:
    cursor = await connection.execute(statement.encode())
    return sorted((row[0] for row in await cursor.fetchall()), key=str)


@pytest.mark.parametrize("statement", SEEN)
async def test_people_see_what_is_theirs_and_no_more(
    raw: psycopg.AsyncConnection, statement: str
) -> None:
    for number, who in enumerate(WHO, start=1):
        await act_as(raw, number)
        assert await column(raw, statement) == SEEN[statement].get(who, []), who


async def test_nobody_sees_anything(raw: psycopg.AsyncConnection) -> None:
    for statement in SEEN:
        await act_as(raw, None)
        assert await column(raw, statement) == [], statement


async def test_a_key_of_a_client_sees_its_client(raw: psycopg.AsyncConnection) -> None:
    await raw.execute("SELECT set_config('t2p.client_id', '2', true)")
    for statement in ("SELECT id FROM site", "SELECT DISTINCT site_id FROM session"):
        assert await column(raw, statement) == ["site-A"]


@pytest.mark.parametrize(("days", "seen"), [(30, True), (100, False)])
async def test_a_driver_who_left_long_ago_is_no_managers_business(
    raw: psycopg.AsyncConnection, database: Database, days: int, seen: bool
) -> None:
    async with await connect(database, owner=True) as owner:
        await owner.execute(
            """UPDATE group_member SET from_at = '2026-01-01',
                                       to_at = now() - %s * interval '1 day'""",
            [days],
        )
    await act_as(raw, 1)
    names = await column(raw, "SELECT given_name FROM person WHERE given_name LIKE 'driver %'")
    assert names == (["driver A"] if seen else [])
    assert await column(raw, "SELECT uid_key FROM driver_badge") == (["aa"] if seen else [])
    assert await column(raw, "SELECT uid FROM token") == (["AA"] if seen else [])
    assert await column(raw, "SELECT site_id FROM session") != [], "what was charged stays hers"


async def test_a_manager_of_yesterday_sees_nothing(
    raw: psycopg.AsyncConnection, database: Database
) -> None:
    async with await connect(database, owner=True) as owner:
        await owner.execute(
            """UPDATE client_manager SET from_at = now() - interval '2 days',
                                         to_at = now() - interval '1 day'"""
        )
    await act_as(raw, 1)
    assert await column(raw, "SELECT name FROM client") == []
    assert await column(raw, "SELECT id FROM session") == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT password_hash FROM person",
        "SELECT totp_secret FROM person",
        "SELECT secret_sha256 FROM login_session",
        "SELECT password_hash FROM station",
        "SELECT * FROM api_key",
        "SELECT * FROM ocpp_message",
        "SELECT * FROM meter_reading",
        "SELECT * FROM evse_status",
        "INSERT INTO station_link (station_key, at, up, node) VALUES (1, now(), true, 'mine')",
        "UPDATE subscribed_power SET subscribed_power_w = 1",
        "UPDATE availability_window SET cause = 'mine'",
        "SELECT * FROM one_time_link",
        "SELECT secret FROM notification",
        "SELECT data FROM notification",
        "SELECT secret FROM webhook",
        "SELECT address_digest FROM notification_delivery",
        "UPDATE notification_preference SET enabled = false",
        "UPDATE client SET name = 'mine'",
        "INSERT INTO static_change (client_id, actor, kind, site_id, before, after)"
        " VALUES (2, 'me', 'site', 'site-A', '{}', '{}')",
        "DELETE FROM session",
        "INSERT INTO client_manager (person_id, client_id, granted_by) VALUES (5, 2, 'me')",
        "UPDATE person SET operator_roles = '{admin}'",
        "CREATE TABLE mine (id int)",
    ],
)
async def test_secrets_and_changes_are_refused_to_everybody(
    raw: psycopg.AsyncConnection, statement: str
) -> None:
    await act_as(raw, 1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await raw.execute(statement.encode())


async def test_every_table_is_closed_or_shows_nothing_to_nobody(
    raw: psycopg.AsyncConnection, database: Database
) -> None:
    """Whatever is there and whatever will be: no grant at all, or row-level security."""
    async with await connect(database, owner=True) as owner:
        names = await column(
            owner,
            """SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
                AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition""",
        )
        open_tables = await column(
            owner,
            """SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
                AND relkind IN ('r', 'p') AND NOT relrowsecurity
                AND has_any_column_privilege('t2p_app', oid, 'SELECT, INSERT, UPDATE')""",
        )
    assert open_tables == []
    readable = []
    for name in names:
        try:
            async with raw.transaction():
                found = await column(raw, f'SELECT count(*) FROM "{name}"')
        except psycopg.errors.InsufficientPrivilege:
            continue
        readable.append(name)
        assert found == [0], name
    assert {"session", "station", "my_session", "person"} <= set(readable)


async def test_the_audit_is_never_rewritten_not_even_by_its_owner(database: Database) -> None:
    async with await connect(database, owner=True) as owner:
        await owner.execute(
            "INSERT INTO audit_entry (at, actor, action) VALUES (now(), 'test', 'acted')"
        )
        for statement in (
            "UPDATE audit_entry SET actor = 'another'",
            "DELETE FROM audit_entry",
            "TRUNCATE audit_entry",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                await owner.execute(statement.encode())
