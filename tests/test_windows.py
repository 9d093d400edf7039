"""Windows of planned work and exclusions, and subscribed powers: entered, read, revoked."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool
from typer.testing import CliRunner

from csms import keys
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, transaction
from csms.registry import Refusal
from reporting import windows
from tests.report_world import add_places, manager, paris, run, speaking

DESK = Actor("person 7")
NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
WORKS = {
    "station_id": "CP-1",
    "evse_id": 2,
    "kind": "planned",
    "starts_at": "2026-10-05T08:00:00+02:00",
    "ends_at": "2026-10-05T12:00:00+02:00",
    "cause": "Travaux sur le tableau",
}
FILE = """site;borne;point;nature;début;fin;motif
tilleuls;CP-1;2;travaux;05/10/2026 08:00;05/10/2026 12:00;Travaux sur le tableau
tilleuls;;;exclusion;2026-10-25 02:30;25/10/2026 04:00;Coupure du réseau
ormes;CP-1;;planned;05/10/2026 08:00;05/10/2026 12:00;Ailleurs
tilleuls;;;planned;29/03/2026 02:30;29/03/2026 05:00;Heure qui n’existe pas
tilleuls;;;rest;05/10/2026 08:00;05/10/2026 12:00;Quoi
tilleuls;;;planned;05/10/2026 12:00;05/10/2026 08:00;À l’envers
"""


@pytest.fixture(autouse=True)
async def places(database: Database) -> None:
    await add_places(database)


@pytest.fixture
async def desk(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    async with pool.connection() as connection:
        key, _ = await keys.create(connection, name="desk", role="operator", expires_at=None)
    async with speaking(pool, people, settings, key) as client:
        yield client


async def test_a_window_is_entered_once_and_revoked_with_its_reason(
    desk: httpx.AsyncClient,
) -> None:
    made = await desk.post("/api/v1/availability-windows", json=WORKS)
    assert made.status_code == 201, made.text
    window = made.json()
    assert (window["site_id"], window["starts_at"]) == ("tilleuls", "2026-10-05T06:00:00Z")
    again = await desk.post("/api/v1/availability-windows", json=WORKS)
    assert again.json() == window
    path = f"/api/v1/availability-windows/{window['id']}/revoke"
    revoked = (await desk.post(path, json={"reason": "Reporté"})).json()
    assert revoked["revoked_for"] == "Reporté"
    assert revoked["revoked_by"] == "key desk"
    assert (await desk.post(path, json={"reason": "Encore"})).status_code == 404
    listed = (await desk.get("/api/v1/availability-windows")).json()
    assert listed["items"] == [revoked], "it stays in the records"
    anew = (await desk.post("/api/v1/availability-windows", json=WORKS)).json()
    assert anew["id"] != window["id"]


async def test_windows_that_contradict_each_other_are_both_kept_and_say_so(
    desk: httpx.AsyncClient,
) -> None:
    planned = (await desk.post("/api/v1/availability-windows", json=WORKS)).json()
    whole_site = {
        "site_id": "tilleuls",
        "kind": "excluded",
        "starts_at": "2026-10-05T09:00:00Z",
        "ends_at": "2026-10-06T09:00:00Z",
        "cause": "Coupure du réseau",
    }
    excluded = (await desk.post("/api/v1/availability-windows", json=whole_site)).json()
    elsewhere = whole_site | {"site_id": "ormes"}
    beside = whole_site | {"site_id": None, "station_id": "CP-1", "evse_id": 1}
    for body in (elsewhere, beside):
        assert (await desk.post("/api/v1/availability-windows", json=body)).status_code == 201
    listed = (await desk.get("/api/v1/availability-windows?site_id=tilleuls")).json()["items"]
    assert {one["id"]: one["contradicts"] for one in listed} == {
        planned["id"]: [excluded["id"]],
        excluded["id"]: [planned["id"]],
        excluded["id"] + 2: [],
    }


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"station_id": "CP-7"}, 404),
        ({"evse_id": 9}, 404),
        ({"site_id": "ormes"}, 404),
        ({"ends_at": "2026-10-05T07:00:00+02:00"}, 422),
        ({"ends_at": "2028-10-05T07:00:00+02:00"}, 422),
        ({"kind": "other"}, 422),
        ({"cause": ""}, 422),
        ({"station_id": None}, 422),
        ({"station_id": None, "site_id": "tilleuls"}, 422),
    ],
)
async def test_a_window_that_says_nothing_sensible_is_refused(
    desk: httpx.AsyncClient, change: dict[str, Any], status: int
) -> None:
    answer = await desk.post("/api/v1/availability-windows", json=WORKS | change)
    assert answer.status_code == status, answer.text
    assert (await desk.get("/api/v1/availability-windows")).json()["items"] == []


async def test_a_manager_reads_the_windows_and_powers_of_her_sites_only(
    database: Database,
    pool: AsyncConnectionPool,
    people: AsyncConnectionPool,
    settings: Settings,
    desk: httpx.AsyncClient,
) -> None:
    for site in ("tilleuls", "ormes"):
        window = WORKS | {"station_id": None, "evse_id": None, "site_id": site}
        assert (await desk.post("/api/v1/availability-windows", json=window)).status_code == 201
        power = {"site_id": site, "from_on": "2026-10-01", "subscribed_power_w": 36_000}
        assert (await desk.post("/api/v1/subscribed-powers", json=power)).status_code == 201
    hers = await manager(database, "Les Ormes")
    async with speaking(pool, people, settings, hers.token) as client:
        for path in ("/api/v1/availability-windows", "/api/v1/subscribed-powers"):
            answer = (await client.get(path)).json()
            assert [one["site_id"] for one in answer["items"]] == ["ormes"]
            assert (await client.get(f"{path}?site_id=tilleuls")).json()["items"] == []
        assert (await client.post("/api/v1/availability-windows", json=WORKS)).status_code == 403


async def test_a_file_of_windows_is_entered_line_by_line(pool: AsyncConnectionPool) -> None:
    done = await windows.import_windows(pool, FILE.encode(), actor=DESK, now=NOW)
    assert (done.entered, done.known) == (2, 0)
    assert [(bad.line, bad.column) for bad in done.problems] == [
        (4, "site"),
        (5, "from"),
        (6, "kind"),
        (7, "to"),
    ]
    again = await windows.import_windows(pool, FILE.encode("cp1252"), actor=DESK, now=NOW)
    assert (again.entered, again.known) == (0, 2)


async def test_times_of_a_file_are_those_of_paris(database: Database, pool: Any) -> None:
    """Of the hour that comes twice, the first; an offset is believed."""
    await windows.import_windows(pool, FILE.encode(), actor=DESK, now=NOW)
    rows = await run(database, "SELECT starts_at, ends_at FROM availability_window ORDER BY id")
    assert rows == [
        (paris("2026-10-05 08:00"), paris("2026-10-05 12:00")),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 3, tzinfo=UTC)),
    ]
    assert windows.parse_moment("2026-10-25T02:30:00+01:00", "from") == datetime(
        2026, 10, 25, 1, 30, tzinfo=UTC
    )


@pytest.mark.parametrize("content", [b"", b"site;from\ntilleuls;x", b"a;b\n1;2", b"\xff\xfe\0"])
async def test_a_file_of_another_kind_enters_nothing(pool: Any, content: bytes) -> None:
    done = await windows.import_windows(pool, content, actor=DESK, now=NOW)
    assert done.entered == 0
    assert done.problems


async def test_a_power_holds_from_its_day_on_and_is_withdrawn_when_wrong(
    desk: httpx.AsyncClient,
) -> None:
    body = {"site_id": "tilleuls", "from_on": "2026-10-01", "subscribed_power_w": 36_000}
    made = (await desk.post("/api/v1/subscribed-powers", json=body)).json()
    assert (await desk.post("/api/v1/subscribed-powers", json=body)).json() == made
    other = body | {"subscribed_power_w": 42_000}
    assert (await desk.post("/api/v1/subscribed-powers", json=other)).status_code == 409
    assert (await desk.delete(f"/api/v1/subscribed-powers/{made['id']}")).status_code == 204
    assert (await desk.delete(f"/api/v1/subscribed-powers/{made['id']}")).status_code == 404
    assert (await desk.post("/api/v1/subscribed-powers", json=other)).status_code == 201
    listed = (await desk.get("/api/v1/subscribed-powers")).json()["items"]
    assert [one["withdrawn_by"] for one in listed] == [None, "key desk"]
    nowhere = body | {"site_id": "nowhere"}
    assert (await desk.post("/api/v1/subscribed-powers", json=nowhere)).status_code == 404


async def test_verbs_enter_files_and_tell_what_is_wrong(
    settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from csms.__main__ import app

    monkeypatch.setenv("T2P_DATABASE_URL", database.app_url)
    file = tmp_path / "powers.csv"
    file.write_text("site;from;power_w\ntilleuls;01/10/2026;36000\ntilleuls;01/10/2026;1\n")
    done = await asyncio.to_thread(CliRunner().invoke, app, ["report", "powers", str(file)])
    assert done.exit_code == 1
    assert "1 subscribed powers are new" in done.output
    assert "Line 3, power_w" in done.output
    file.write_text(FILE)
    done = await asyncio.to_thread(CliRunner().invoke, app, ["report", "windows", str(file)])
    assert "2 windows are new" in done.output


async def test_what_is_entered_stands_in_the_audit(
    database: Database, pool: AsyncConnectionPool
) -> None:
    async with transaction(pool) as connection:
        window_id, _ = await windows.enter_window(
            connection,
            site_id="tilleuls",
            station_id=None,
            evse_id=None,
            kind="planned",
            starts_at=NOW,
            ends_at=NOW + timedelta(hours=1),
            cause="Travaux",
            actor=DESK,
            now=NOW,
        )
        await windows.revoke_window(connection, window_id, "Reporté", actor=DESK, now=NOW)
        with pytest.raises(Refusal, match="Say why"):
            await windows.revoke_window(connection, window_id, " ", actor=DESK, now=NOW)
    rows = await run(database, "SELECT actor, action FROM audit_entry ORDER BY id")
    assert rows == [("person 7", "window.entered"), ("person 7", "window.revoked")]
