"""Drivers from a CSV file: all of it or nothing, and twice is once."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from csms import drivers, group_requests
from csms.clients import Actor
from csms.config import Settings
from csms.db import transaction
from csms.provisioning import drivers_csv, import_file
from csms.provisioning.plan import ImportReport
from csms.store import drivers as store
from tests.test_api_drivers import Api, api, done, group
from tests.test_api_stations import told

__all__ = ["api"]

NOW = datetime(2026, 5, 25, 12, tzinfo=UTC)
A, B = 2, 3  # clients
WORLD = """
INSERT INTO client (name) VALUES ('A'), ('B');
INSERT INTO site (id, client_id, time_zone) VALUES
    ('a', 2, 'Europe/Paris'), ('b', 3, 'Indian/Reunion'), ('b2', 3, 'Indian/Reunion');
INSERT INTO driver_group (client_id, name, kind) VALUES
    (2, 'Résidents', 'residents'), (3, 'Résidents', 'residents'), (3, 'Staff', 'staff');
INSERT INTO group_access (group_id, client_id, site_id) VALUES (1, 2, 'a'), (2, 3, 'b');
"""
TWO = """given_name;family_name;email;phone;group;site(s);badge;valid_from;valid_until
Zoé;Exemple;one@example.org;06 12 34 56 78;Résidents;a;CARD1;2026-01-01;31/12/2026
Noël;Exemple;two@example.org;;résidents;b;CARD2;;
"""


@pytest.fixture
async def world(pool: AsyncConnectionPool) -> AsyncConnectionPool:
    async with transaction(pool) as connection:
        await connection.execute(WORLD.encode())
    return pool


async def load(pool: AsyncConnectionPool, text: str | bytes, **options: Any) -> ImportReport:
    data = text.encode() if isinstance(text, str) else text
    return await drivers_csv.import_drivers(pool, data, Actor("key desk"), NOW, **options)


async def known(pool: AsyncConnectionPool) -> list[store.Driver]:
    async with pool.connection() as connection:
        return await store.list_drivers(connection, NOW, limit=100)


async def test_drivers_come_with_group_and_badge(world: AsyncConnectionPool) -> None:
    report = await load(world, TWO)
    assert report.problems == []
    assert report.created == {"driver": 2, "membership": 2, "badge": 2}
    one, two = await known(world)
    assert (one.given_name, one.phone) == ("Zoé", "+33612345678")
    assert [of["client_id"] for of in one.groups + two.groups] == [A, B]
    assert [badge["uid"] for badge in one.badges + two.badges] == ["CARD1", "CARD2"]
    (of,) = one.groups
    assert datetime.fromisoformat(of["from_at"]) == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert datetime.fromisoformat(of["to_at"]) == datetime(2026, 12, 31, 23, tzinfo=UTC)
    async with world.connection() as connection:
        found = await drivers.access_of(connection, one.id, NOW)
    assert [(site.site_id, site.open) for site in found] == [("a", True)]


async def test_the_same_file_twice_changes_nothing(world: AsyncConnectionPool) -> None:
    await load(world, TWO)
    before = await known(world)
    report = await load(world, TWO.replace("one@", "ONE@"))
    assert (report.created, report.updated) == ({}, {})
    assert report.unchanged == {"driver": 2, "membership": 2, "badge": 2}
    assert await known(world) == before
    changed = TWO.replace("Zoé", "Chloé").replace("31/12/2026", "30/06/2026")
    report = await load(world, changed)
    assert report.updated == {"driver": 1, "membership": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("delimiter", [";", ","])
async def test_files_of_spreadsheets_are_read_as_they_are(
    world: AsyncConnectionPool, encoding: str, delimiter: str
) -> None:
    report = await load(world, TWO.replace(";", delimiter).encode(encoding))
    assert report.problems == []
    assert [driver.given_name for driver in await known(world)] == ["Zoé", "Noël"]


async def test_a_dry_run_checks_all_and_writes_nothing(world: AsyncConnectionPool) -> None:
    report = await load(world, TWO, dry_run=True)
    assert report.created["driver"] == 2
    assert "dry run" in report.summary()
    assert await known(world) == []


async def test_one_refusal_refuses_all_and_each_is_told_by_its_line(
    world: AsyncConnectionPool,
) -> None:
    text = """email;phone;client;group;sites;badge;valid_from;valid_until
one@example.org;;;Nobodys;;;;
two@example.org;;;Résidents;;;;
three@example.org;;Nobody;Résidents;;;;
four@example.org;;;Staff;b;;;
five@example.org;;;Résidents;a|b;;;
six@example.org;;A;Résidents;;;;2026-01-31
seven@example.org;;A;Résidents;;CARD;;
eight@example.org;;A;Résidents;;card;;
nine@example.org;;A;Résidents;;;;
"""
    report = await load(world, text)
    assert [(p.line, p.column) for p in report.problems] == [
        (2, "group"),
        (3, "client"),
        (4, "client"),
        (5, "sites"),
        (6, "sites"),
        (7, "valid_until"),
        (9, "badge"),
    ]
    assert await known(world) == []


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("given_name\nX\n", 1, "email"),
        ("email;surname\none@example.org;X\n", 1, "surname"),
        ("email;phone\none@example.org;12\n", 2, "phone"),
        ("email\nnobody\n", 2, "email"),
        ("email;phone\n;0612345678\n", 2, "email"),
        ("email;group;valid_from\none@example.org;Staff;31/02/2026\n", 2, "valid_from"),
        (
            "email;group;valid_from;valid_until\none@example.org;Staff;2026-02-01;2026-01-01\n",
            2,
            "valid_until",
        ),
        ("email;sites\none@example.org;a\n", 2, "sites"),
        ("email;valid_from\none@example.org;2026-02-01\n", 2, "valid_from"),
        ("email;language\none@example.org;de\n", 2, "language"),
    ],
)
async def test_what_cannot_be_read_is_told(
    world: AsyncConnectionPool, text: str, line: int, column: str
) -> None:
    (problem,) = (await load(world, text)).problems
    assert (problem.line, problem.column) == (line, column)


async def test_without_a_group_the_badge_is_valid_at_the_sites(world: AsyncConnectionPool) -> None:
    text = "email;sites;badge;valid_until\none@example.org;b|b2;CARD;2026-06-30\n"
    assert (await load(world, text)).created == {"driver": 1, "badge": 1}
    assert (await load(world, text)).unchanged == {"driver": 1, "badge": 1}
    async with world.connection() as connection:
        cursor = await connection.execute("SELECT site_ids, valid_until FROM token")
        assert await cursor.fetchall() == [(["b", "b2"], datetime(2026, 6, 30, 20, tzinfo=UTC))]


async def test_a_managers_file_is_about_her_own_groups(
    world: AsyncConnectionPool, settings: Settings
) -> None:
    async def load(world: AsyncConnectionPool, text: str, clients: list[int]) -> ImportReport:
        data = text.encode()
        return await drivers_csv.import_drivers(
            world, data, Actor("person 1"), NOW, clients=clients, settings=settings
        )

    report = await load(world, TWO, clients=[A])
    assert [(p.line, p.column) for p in report.problems] == [(3, "sites")]
    theirs = "email;client;group\none@example.org;B;Staff\n"
    assert [p.column for p in (await load(world, theirs, clients=[A])).problems] == ["client"]
    for text in ("email;group\none@example.org;Staff\n", "email\none@example.org\n"):
        assert [p.column for p in (await load(world, text, clients=[A])).problems] == ["group"]
    text = "email;given_name;group\none@example.org;Zoé;Résidents\n"
    # New, or of another client: asked, each time the same is told, and no badge is given.
    renamed = text.replace("Zoé", "Chloé")
    for client, rows in ((A, text), (A, text), (B, renamed), (B, renamed)):
        report = await load(world, rows, clients=[client])
        assert (report.created, report.unchanged) == ({"request": 1}, {})
    (one,) = await known(world)
    assert (one.given_name, one.groups) == ("Zoé", [])
    async with transaction(world) as connection:
        her = Actor(f"person {one.id}", one.id)
        for of in await group_requests.list_open(connection, one.id, NOW):
            await group_requests.accept(connection, of.group_id, one.id, her, NOW)
    # Hers now, and another client's too: named as before.
    badge = "email;given_name;group;badge\none@example.org;Chloé;Résidents;CARD\n"
    report = await load(world, badge, clients=[A])
    assert (report.created, report.unchanged) == ({"badge": 1}, {"driver": 1, "membership": 1})
    (one,) = await known(world)
    assert (one.given_name, len(one.groups)) == ("Zoé", 2)


async def test_the_command_line_knows_a_file_of_drivers(
    world: AsyncConnectionPool, tmp_path: Path
) -> None:
    path = tmp_path / "drivers.csv"
    path.write_text("email;given_name\none@example.org;Zoé\n", encoding="latin-1")
    report = await import_file(world, path)
    assert report.summary() == "drivers: 1 created, 0 changed, 0 as they were"


async def test_import_over_http(api: Api) -> None:
    group_id = await group(api("desk"), A)
    text = "email;given_name;group\none@example.org;Zoé;Résidents\n"
    manager, other = api("a@example.org"), api("b@example.org")
    tried = done(await manager.post("/drivers/import", content=text, params={"dry_run": True}))
    assert (tried["dry_run"], tried["created"]) == (True, {"request": 1})
    assert done(await manager.get("/drivers"))["total"] == 0
    problem = told(await other.post("/drivers/import", content=text), 422)
    (error,) = problem["errors"]
    assert (error["line"], error["field"]) == ("2", "group")
    done(await manager.post("/drivers/import", content=text))
    assert done(await manager.get(f"/groups/{group_id}/members"))["total"] == 0
    done(await api("desk").post("/drivers/import", content=text))
    assert done(await manager.get(f"/groups/{group_id}/members"))["total"] == 1
    assert told(await manager.post("/drivers/import", content=b""), 422)["errors"]
