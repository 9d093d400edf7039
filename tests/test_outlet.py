"""Outlets: their waits, their desk, their verbs, and what a killed process leaves."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from psycopg_pool import AsyncConnectionPool

from csms import keys
from csms.config import SettingError, Settings, load
from csms.domain.back_off import back_off_s, luck
from csms.web.app import create_app
from reporting import outlet, qualicharge
from reporting import qualicharge_rows as rows
from simulators.qualicharge_peer import QualiChargePeer
from tests.qualicharge_world import Clock, World, name_of

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
async def world(pool: AsyncConnectionPool, settings: Settings) -> AsyncIterator[World]:
    clock = Clock()
    peer = QualiChargePeer(clock=clock)
    async with peer.serve() as url:
        chosen = replace(
            settings,
            qualicharge_url=url,
            qualicharge_user=peer.user,
            qualicharge_password=peer.password,
            qualicharge_timeout_s=5.0,
        )
        yield World(pool, chosen, peer, clock)


# Waits.


@given(st.integers(1, 500), st.text(max_size=20))
def test_wait_grows_to_its_longest_and_chance_takes_half_of_it_at_most(
    attempts: int, seed: str
) -> None:
    chance = luck(seed, attempts)
    assert 0 <= chance < 1
    assert chance == luck(seed, attempts)
    wait_s = back_off_s(10, 3600, attempts, chance)
    longest_s = min(10 * 2.0 ** min(attempts - 1, 30), 3600)
    assert longest_s / 2 < wait_s <= longest_s


def test_what_failed_together_is_not_tried_together() -> None:
    waits = {round(back_off_s(10, 3600, 4, luck(f"qualicharge.status/{n}", 4))) for n in range(100)}
    assert len(waits) > 25


# Words and rules.


@pytest.mark.parametrize(
    ("statuses", "told"),
    [
        (["available", "available"], ("en_service", "libre")),
        (["charging", "available"], ("en_service", "occupe")),
        (["suspended_ev", "unavailable"], ("en_service", "occupe")),
        (["reserved", "available"], ("en_service", "reserve")),
        (["faulted", "available"], ("en_service", "libre")),
        (["faulted", "unavailable"], ("hors_service", "inconnu")),
        (["unknown", "unknown"], ("inconnu", "inconnu")),
        (["occupied", "unknown"], ("en_service", "occupe")),
    ],
)
def test_point_of_two_connectors_has_one_status(statuses: list[str], told: tuple[str, str]) -> None:
    connectors = [
        {"type": kind, "status": status}
        for kind, status in zip(("sType2", "cCCS2"), statuses, strict=True)
    ]
    row = rows.status_row("FRT2PE1", NOW, "unknown", connectors)
    assert (row["etat_pdc"], row["occupation_pdc"]) == told
    states = {"faulted": "hors_service", "unavailable": "hors_service", "unknown": "inconnu"}
    assert row["etat_prise_type_2"] == states.get(statuses[0], "fonctionnel")
    assert row["etat_prise_type_combo_ccs"] == states.get(statuses[1], "fonctionnel")
    assert "etat_prise_type_ef" not in row


@given(st.integers(0, 1_000_000))
def test_energy_is_told_in_kwh_to_the_last_wh(energy_wh: int) -> None:
    row = rows.session_row("FRT2PE1", NOW, NOW, energy_wh)
    assert round(row["energy"] * 1000) == energy_wh
    assert 0 <= row["energy"] <= 1000
    assert len(repr(row["energy"]).split("e")[0].split(".")[-1]) <= 3 or energy_wh < 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"id_station_itinerance": "ESABCP1"}, "no French station"),
        ({"id_pdc_itinerance": "FRXXXE1"}, "operating unit"),
        ({"id_pdc_itinerance": "FRT2PP1"}, "no French point"),
        ({"puissance_nominale": 7400}, "1.3 to 4000"),
        ({"raccordement": "Direct", "num_pdl": None}, "num_pdl"),
        ({"horaires": "sur rendez-vous"}, "hours"),
        ({"restriction_gabarit": "?"}, "two characters"),
        ({"date_maj": "2026-11-27"}, "future"),
        ({"date_mise_en_service": "2027-01-01"}, "future"),
        ({}, None),
    ],
)
def test_point_against_the_rules_is_seen_before_it_is_sent(
    changes: dict[str, Any], why: str | None
) -> None:
    row = {
        "id_station_itinerance": "FRT2PP1",
        "id_pdc_itinerance": "FRT2PE1",
        "puissance_nominale": 7.4,
        "raccordement": "Indirect",
        "num_pdl": None,
        "horaires": "24/7",
        "restriction_gabarit": "inconnu",
        "date_maj": "2026-11-26",
    }
    flaw = rows.static_flaw(row | changes, date(2026, 11, 26))
    assert flaw is None if why is None else flaw is not None and why in flaw


def test_account_that_is_half_there_or_in_the_clear_is_refused(tmp_path: Path) -> None:
    url = {"T2P_QUALICHARGE_URL": "https://example.org/api/v1"}
    with pytest.raises(SettingError, match="come together"):
        load(url, tmp_path)
    account = {"T2P_QUALICHARGE_USER": "u", "T2P_QUALICHARGE_PASSWORD": "a-secret"}
    settings = load(url | account, tmp_path)
    assert qualicharge.is_set(settings) and not qualicharge.is_set(load({}, tmp_path))
    assert "a-secret" not in repr(settings)
    with pytest.raises(SettingError, match="https"):
        load({"T2P_QUALICHARGE_URL": "http://example.org/api/v1"} | account, tmp_path)
    with pytest.raises(SettingError, match="OUTLET_LEASE"):
        load(url | account | {"T2P_OUTLET_LEASE_S": "100"}, tmp_path)


async def test_without_an_account_there_is_no_outlet(settings: Settings) -> None:
    async with qualicharge.open_outlets(settings) as found:
        assert found == []


# The desk.


@pytest.fixture
async def api(world: World, people: AsyncConnectionPool) -> AsyncIterator[httpx.AsyncClient]:
    async with world.pool.connection() as connection:
        key, _ = await keys.create(connection, name="desk", role="operator", expires_at=None)
    transport = httpx.ASGITransport(create_app(world.pool, world.settings, people=people))
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://test/api/v1",
        headers={"Authorization": f"Bearer {key}"},
    ) as client:
        yield client


async def test_person_sees_what_was_refused_and_has_it_sent_again(
    world: World, api: httpx.AsyncClient
) -> None:
    world.peer.units = ("FRXXX",)
    await world.build([1, 2])
    await world.push()
    found = (await api.get("/outlet-items", params={"status": "dead"})).json()
    assert (found["total"], {item["object_key"] for item in found["items"]}) == (
        2,
        {name_of(1), name_of(2)},
    )
    item = found["items"][0]
    assert item["reply"].startswith("403") and "not assigned to" in item["reply"]
    assert item["body"]["request"]["id_pdc_itinerance"] == item["object_key"]
    world.peer.units = ("FRT2P",)
    again = await api.post(f"/outlet-items/{item['id']}/retry")
    assert (again.status_code, again.json()["status"]) == (200, "waiting")
    assert (await api.post(f"/outlet-items/{item['id']}/retry")).status_code == 409
    assert (await api.post("/outlet-items/999/retry")).status_code == 404
    nobody = await api.post("/outlets/qualicharge.nothing/retry")
    assert nobody.status_code == 404
    # What is given up is not made anew.
    other = found["items"][1]
    given = await api.post(f"/outlet-items/{other['id']}/give-up", json={"note": "vendu"})
    assert (given.json()["status"], given.json()["reason"]) == ("dropped", "vendu")
    assert given.json()["settled_by"] == "key desk"
    world.clock.go_on(days=1)
    await world.push()
    assert set(world.peer.points) == {item["object_key"]}
    actions = await world.do("SELECT action FROM audit_entry WHERE action LIKE %s", "%outlet%")
    assert len(actions) >= 2


async def test_all_that_was_refused_goes_again_when_the_account_is_mended(
    world: World, api: httpx.AsyncClient
) -> None:
    world.peer.scopes = ("static:read",)
    await world.build([1, 2, 3])
    await world.push()
    assert [row[1] for row in await world.states("static")] == ["dead"] * 3
    world.peer.scopes = ("static:create", "dynamic:create")
    again = await api.post("/outlets/qualicharge.static/retry")
    assert again.json() == {"items": 3}
    await world.push()
    assert len(world.peer.points) == 3
    assert (await api.post("/outlets/qualicharge.static/retry")).json() == {"items": 0}


async def test_what_is_in_doubt_goes_again_only_when_a_person_looked_at_it(
    world: World, api: httpx.AsyncClient
) -> None:
    await world.begin([1])
    await world.session(1)
    await world.push()
    await world.do("UPDATE outlet_item SET remote_id = NULL WHERE outlet = %s", qualicharge.SESSION)
    world.clock.go_on(hours=1)
    await world.push()
    assert (await api.post("/outlets/qualicharge.session/retry")).json() == {"items": 0}
    (item,) = (await api.get("/outlet-items", params={"status": "dead"})).json()["items"]
    assert item["doubtful_since"] is not None and item["reason"] == outlet.IN_DOUBT
    assert (await api.post(f"/outlet-items/{item['id']}/retry")).status_code == 200


async def test_state_of_outlets_is_told_and_measured(world: World, api: httpx.AsyncClient) -> None:
    await world.begin([1])
    world.peer.fault = "unavailable"
    await world.status(1, "charging")
    await world.push()
    world.clock.go_on(minutes=20)
    await world.push()
    states = {state["name"]: state for state in (await api.get("/outlets")).json()}
    status = states["qualicharge.status"]
    assert (status["waiting"], status["dead"], status["failures"]) == (1, 0, 2)
    assert status["last_error"].startswith("503") and status["next_at"] is not None
    assert states["qualicharge.static"]["went_at"] is not None

    def measured(name: str) -> float | None:
        return REGISTRY.get_sample_value(name, {"outlet": "qualicharge.status"})

    assert measured("t2p_outlet_waiting") == 1
    assert measured("t2p_outlet_lag_seconds") == pytest.approx(1200, abs=5)
    assert measured("t2p_outlet_up") == 0
    world.peer.fault = None
    world.clock.go_on(minutes=20)
    await world.push()
    assert (measured("t2p_outlet_waiting"), measured("t2p_outlet_up")) == (0, 1)


async def test_what_cannot_be_delivered_in_its_time_is_a_dead_letter(world: World) -> None:
    await world.build([1])
    world.peer.fault = "unavailable"
    await world.push()
    world.clock.go_on(seconds=world.settings.outlet_give_up_s + 1)
    await world.push()
    assert await world.states("static") == [(name_of(1), "dead", "not delivered in time")]


async def test_what_was_delivered_long_ago_is_forgotten_where_it_may_be(world: World) -> None:
    await world.begin([1])
    await world.session(1)
    await world.settle()
    world.clock.go_on(days=31)
    await world.push()
    left = await world.items()
    assert [row[0] for row in left if row[3] == "sent"].count("qualicharge.session") == 1
    old = await world.do(
        "SELECT count(*) FROM outlet_item WHERE outlet = %s AND finished_at < %s",
        *("qualicharge.status", world.clock.now - timedelta(days=30)),
    )
    assert old == [(0,)]


# Verbs, in processes of their own.


def environment(world: World, **settings: object) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("T2P_")},
        "T2P_DATABASE_URL": str(world.settings.database_url),
        "T2P_DATABASE_OWNER_URL": str(world.settings.database_owner_url),
        "T2P_QUALICHARGE_URL": str(world.settings.qualicharge_url),
        "T2P_QUALICHARGE_USER": world.peer.user,
        "T2P_QUALICHARGE_PASSWORD": world.peer.password,
        **{f"T2P_{name.upper()}": str(value) for name, value in settings.items()},
    }


async def verb(world: World, *arguments: str, **settings: object) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "csms", "report", *arguments),
        env=environment(world, **settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, output.decode()


async def test_push_tells_what_it_did_and_status_how_it_stands(world: World) -> None:
    await world.build([1, 2])
    code, output = await verb(world, "push", "qualicharge", "--dry-run")
    assert (code, world.peer.calls) == (0, [])
    assert "2 items would be sent" in output
    code, output = await verb(world, "push", "qualicharge")
    assert (code, set(world.peer.points)) == (0, {name_of(1), name_of(2)})
    assert "2 items made, 2 delivered" in output
    world.peer.fault = "unavailable"
    code, output = await verb(world, "push", "qualicharge")
    assert code == 1 and "report status" in output
    code, output = await verb(world, "status")
    assert code == 0
    line = next(line for line in output.splitlines() if line.startswith("qualicharge.status"))
    assert line.split("\t")[1] == "2" and "503" in line
    assert world.peer.password not in output


async def test_push_without_an_account_says_which_settings_are_missing(world: World) -> None:
    code, output = await verb(
        world,
        "push",
        "qualicharge",
        qualicharge_url="",
        qualicharge_user="",
        qualicharge_password="",
    )
    assert code == 1 and "T2P_QUALICHARGE_URL" in output


async def test_process_killed_while_it_sends_leaves_nothing_out_and_doubles_nothing(
    world: World,
) -> None:
    await world.begin([1, 2])
    for number in (1, 2):
        await world.status(number, "charging")
    world.clock.now = datetime.now(UTC) + timedelta(minutes=5)
    world.peer.fault = "silent_after"  # all of it is done, and none of it answered
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "csms", "report", "push", "qualicharge"),
        env=environment(world),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    while len(world.peer.statuses) < 4:
        await asyncio.sleep(0.05)
        assert process.returncode is None
    process.send_signal(signal.SIGKILL)
    await process.wait()
    world.peer.fault = None
    found = await world.do(
        "SELECT count(*) FROM outlet_item WHERE status = 'waiting' AND doubtful_since IS NOT NULL"
    )
    assert found == [(2,)]
    world.clock.go_on(seconds=world.settings.outlet_lease_s + 60)
    await world.settle()
    busy = ("en_service", "occupe")
    assert [world.told(number).count(busy) for number in (1, 2)] == [1, 1]
    assert {row[3] for row in await world.items()} == {"sent"}
