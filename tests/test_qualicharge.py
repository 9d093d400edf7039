"""QualiCharge over its outlets: real HTTP, a real database, a peer with a real one's faults."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from psycopg_pool import AsyncConnectionPool

from csms.config import Settings
from csms.db import transaction
from reporting import outlet, qualicharge, store_outlet
from reporting.qualicharge_client import Client
from simulators.qualicharge_peer import QualiChargePeer
from tests.qualicharge_world import Clock, World, name_of

DATA = Path(__file__).parents[2] / "shared" / "data"
FREE = ("en_service", "libre")
BUSY = ("en_service", "occupe")
BROKEN = ("hors_service", "inconnu")


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
            qualicharge_user_agent="Exemple Recharge SAS",
            qualicharge_timeout_s=0.5,
        )
        yield World(pool, chosen, peer, clock)


# What is told.


async def test_public_points_are_declared_and_private_ones_never(world: World) -> None:
    await world.build([1, 2], private=[3])
    first, done = await world.push(), await world.push()
    assert sorted(world.peer.points) == [name_of(1), name_of(2)]
    row = world.peer.points[name_of(1)]
    assert (row["nbre_pdc"], row["puissance_nominale"]) == (2, 22.0)
    assert row["coordonneesXY"] == "[4.85, 45.76]"
    assert row["prise_type_2"] is True
    assert (first.sent, done.sent) == (2, 2), "two points, then how each of them stands"
    assert world.peer.agents == {"Exemple Recharge SAS"}
    assert "gzip" in world.peer.encodings
    assert world.peer.log_ins == 2, "one token for all that a run sends"
    assert (await world.push()).sent == 0, "nothing is told twice"


async def test_nothing_of_a_private_point_leaves(world: World) -> None:
    await world.begin([1], private=[2])
    for number in (1, 2):
        await world.status(number, "charging")
        await world.session(number)
    await world.settle()
    sent = json.dumps([world.peer.points, world.peer.statuses, world.peer.sessions])
    assert name_of(2) not in sent
    assert "SECRETBADGE" not in sent
    assert len(world.peer.sessions) == 1


async def test_what_happened_before_a_point_was_public_is_not_told(world: World) -> None:
    await world.begin([1], private=[2])
    for status in ("charging", "faulted", "available"):
        await world.status(2, status)
    await world.session(2)
    await world.do("UPDATE evse SET public = true WHERE evse_id = 2")
    await world.settle()
    assert name_of(2) in world.peer.points
    await world.push()
    assert world.told(2) == [FREE], "how it stands now"
    assert world.peer.sessions == {}
    await world.session(2)
    await world.settle()
    assert len(world.peer.sessions) == 1


async def test_what_happened_while_a_point_was_private_for_a_moment_is_not_told(
    world: World,
) -> None:
    await world.begin([1])
    # Short: on another day the point would be declared anew, and then how it stands is told.
    await world.session(1, minutes=1)
    await world.status(1, "charging")
    world.clock.go_on(seconds=1)
    await world.do(  # it was private, and is public again; nobody looked in between
        """INSERT INTO static_change (at, client_id, actor, kind, site_id, station_id, evse_id,
                                      before, after)
           SELECT %s, client_id, 'test', 'evse', site_id, id, 1, '{"public": false}',
                  '{"public": true}' FROM station""",
        world.clock.now,
    )
    await world.settle()
    assert (world.peer.sessions, BUSY in world.told(1)) == ({}, False)
    world.clock.go_on(seconds=1)
    await world.session(1)
    await world.settle()
    assert len(world.peer.sessions) == 1


async def test_point_that_is_public_no_more_is_withdrawn_and_comes_back(world: World) -> None:
    await world.begin([1, 2])
    await world.do("UPDATE evse SET public = false WHERE evse_id = 2")
    await world.status(2, "charging")
    await world.push()
    assert world.peer.withdrawn == {name_of(2)}
    assert BUSY not in world.told(2)
    await world.do("UPDATE evse SET public = true WHERE evse_id = 2")
    await world.push()
    assert world.peer.withdrawn == set()
    assert ("POST", f"/statique/{name_of(2)}/up", 204) in world.peer.calls
    await world.status(2, "available")
    await world.push()
    assert world.told(2)[-1] == FREE


async def test_what_waits_is_dropped_when_its_point_goes_private(world: World) -> None:
    await world.begin([1, 2])
    world.peer.fault = "unavailable"
    await world.status(2, "charging")
    await world.session(2)
    await world.push()
    world.peer.fault = None
    await world.do("UPDATE evse SET public = false WHERE evse_id = 2")
    world.clock.go_on(hours=1)
    await world.settle()
    assert BUSY not in world.told(2)
    assert world.peer.sessions == {}
    assert (name_of(2), "dropped", qualicharge.NOT_PUBLIC) in await world.states("status")


async def test_change_of_a_point_is_told_once(world: World) -> None:
    await world.begin([1, 2])
    await world.do("UPDATE evse SET power_w_max = 7400 WHERE evse_id = 1")
    assert (await world.push()).sent == 1
    assert world.peer.points[name_of(1)]["puissance_nominale"] == 7.4
    assert ("PUT", f"/statique/{name_of(1)}", 200) in world.peer.calls


async def test_session_is_told_in_kwh_and_proven(world: World) -> None:
    await world.begin([1])
    await world.session(1, energy_wh=7350)
    await world.push()
    assert (await world.states("session"))[0][1] == "waiting", "201 is no proof"
    world.clock.go_on(minutes=2)
    await world.push()
    ((name, row),) = world.peer.sessions.items()
    assert row["energy"] == 7.35
    assert (await world.states("session"))[0][1] == "sent"
    assert await world.do(
        "SELECT remote_id FROM outlet_item WHERE outlet = 'qualicharge.session'"
    ) == [(name,)]


async def test_session_that_was_not_written_after_its_201_is_sent_again(world: World) -> None:
    await world.begin([1])
    await world.session(1)
    world.peer.writes_lost = 1
    await world.push()
    assert world.peer.sessions == {}
    world.clock.go_on(minutes=2)
    await world.push()
    assert world.peer.sessions == {}, "it may be late: patience"
    await world.settle()
    assert len(world.peer.sessions) == 1


async def test_statuses_of_a_day_ago_are_never_sent(world: World) -> None:
    await world.begin([1])
    world.peer.fault = "unavailable"
    await world.status(1, "charging")
    await world.push()
    world.clock.go_on(hours=25)
    await world.status(1, "available")
    world.peer.fault = None
    await world.settle()
    assert BUSY not in world.told(1)
    assert world.told(1)[-1] == FREE
    assert ("FRT2PE1", "dropped", "it is of a day ago or more") in await world.states("status")


async def test_statuses_of_the_same_moment_have_times_of_their_own(world: World) -> None:
    await world.begin([1])
    at = await world.status(1, "finishing")
    await world.do(
        """INSERT INTO evse_status (station_key, at, received_at, evse_id, connector_id, status)
           SELECT station_key, %s, %s, 1, 1, 'available' FROM station""",
        *(at, at + timedelta(milliseconds=200)),
    )
    world.clock.go_on(seconds=1)
    await world.push()
    assert world.told(1)[-2:] == [BUSY, FREE]
    times = [row["horodatage"] for row in world.peer.statuses]
    assert len(times) == len(set(times))


# What is refused.


@pytest.mark.parametrize(
    ("energy_wh", "minutes", "why"),
    [
        (1_000_001, 6000, "not from 0 to 1000 kWh"),
        (7_350, 8 * 24 * 60, "more than 7 days"),
        (30_000, 60, "more than the point can give"),
        (1_001, 0, "took no time"),
    ],
)
async def test_session_against_the_rules_goes_to_the_desk_unsent(
    world: World, energy_wh: int, minutes: float, why: str
) -> None:
    await world.begin([1])
    await world.session(1, energy_wh, minutes)
    await world.session(1)
    await world.settle()
    assert len(world.peer.sessions) == 1
    bad, good = await world.states("session")
    assert bad[1] == "dead" and why in bad[2]
    assert good[1] == "sent"


async def test_one_bad_row_stops_only_itself(world: World) -> None:
    await world.begin(list(range(1, 11)))
    del world.peer.points[name_of(4)]  # the peer has lost it
    for number in range(1, 11):
        await world.status(number, "charging")
    await world.push()
    for number in range(1, 11):
        assert (BUSY in world.told(number)) == (number != 4)
    ((key, reply),) = await world.do(
        "SELECT object_key, reply FROM outlet_item WHERE status = 'dead'"
    )
    assert key == name_of(4)
    assert reply.startswith("404") and "Undeclared attached point" in reply


async def test_batch_that_is_too_long_for_the_peer_arrives_in_parts(world: World) -> None:
    await world.build(list(range(1, 9)))
    world.peer.bulk_max = 3
    await world.push()
    await world.push()
    assert len(world.peer.points) == 8
    assert {row["id_pdc_itinerance"] for row in world.peer.statuses} == set(world.peer.points)


async def test_point_of_another_unit_is_a_dead_letter_until_it_is_sent_again(world: World) -> None:
    await world.build([1, 2])
    world.peer.units = ("FRXXX",)
    await world.push()
    assert [row[1] for row in await world.states("static")] == ["dead", "dead"]
    world.peer.units = ("FRT2P",)
    assert (await world.push()).sent == 0, "nothing is made anew of what a person is to look at"
    await retry_all(world)
    await world.push()
    assert len(world.peer.points) == 2


async def retry_all(world: World) -> None:
    later = world.clock.now + timedelta(days=1)
    async with transaction(world.pool) as connection:
        for row in await store_outlet.list_items(connection, status="dead", limit=100):
            assert await store_outlet.retry_dead(connection, row.id, "test", world.clock.now, later)


async def test_token_is_renewed_once_when_it_is_refused(world: World) -> None:
    await world.build([1])
    async with Client(world.settings) as client:
        found = qualicharge.outlets(world.settings, client)
        await outlet.deliver(world.pool, world.settings, found, world.clock, world.clock.sleep)
        client._login_from_s = 0.0  # as if the minute's log-ins were not used up
        world.peer.forget_tokens()
        await world.status(1, "charging")
        await outlet.deliver(world.pool, world.settings, found, world.clock, world.clock.sleep)
        await world.peer.written()
    assert world.peer.log_ins == 2
    assert world.told(1)[-1] == BUSY


async def test_wrong_password_stops_nothing_for_good_and_is_in_no_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await world.build([1])
    wrong = replace(world.settings, qualicharge_password="a-wrong-secret")
    await world.push(wrong)
    assert "a-wrong-secret" not in caplog.text + repr(wrong)
    assert await world.states("static") == [(name_of(1), "waiting", None)]
    world.clock.go_on(hours=1)
    await world.push()
    assert name_of(1) in world.peer.points


# The peer in trouble.


async def happen(world: World) -> None:
    """A little of everything, with the order of the statuses known."""
    for status in ("preparing", "charging", "finishing", "available", "faulted"):
        for number in (1, 2, 3):
            await world.status(number, status)
    for number in (1, 2, 3):
        await world.session(number, minutes=30)


async def check_all_arrived(world: World) -> None:
    await world.settle(30)
    for number in (1, 2, 3):
        assert world.told(number)[1:] == [BUSY, BUSY, BUSY, FREE, BROKEN], name_of(number)
    found = sorted(row["id_pdc_itinerance"] for row in world.peer.sessions.values())
    assert found == [name_of(1), name_of(2), name_of(3)]
    for (family, point), most in world.peer.at_once.items():
        assert most == 1 or family == "session", f"{most} requests at once about {point}"
    assert {row[3] for row in await world.items()} == {"sent"}


async def test_hub_that_is_down_an_hour_gets_everything_later_once_in_order(
    world: World,
) -> None:
    await world.begin([1, 2, 3])
    gone = replace(world.settings, qualicharge_url="http://127.0.0.1:9/api/v1")
    started_at = world.clock.now
    for _ in range(6):
        await happen(world) if world.clock.now == started_at else None
        await world.push(gone)
        world.clock.go_on(minutes=10)
    (state,) = await world.do(
        "SELECT failures, last_error FROM outlet WHERE name = %s", qualicharge.STATUS
    )
    assert state[0] >= 3 and "Connect" in state[1]
    await check_all_arrived(world)


@pytest.mark.parametrize("fault", ["error", "busy", "unavailable", "silent_before"])
async def test_peer_that_takes_nothing_for_a_while_gets_everything_later(
    world: World, fault: str
) -> None:
    await world.begin([1, 2, 3])
    await happen(world)
    if fault == "silent_before":  # nobody can tell that it took nothing: of sessions a person must
        world.peer.faults.append(fault)
    else:
        world.peer.fault = fault
    await world.push()
    world.peer.fault = None
    if fault == "silent_before":
        await settle_in_doubt(world)
    await check_all_arrived(world)


async def settle_in_doubt(world: World) -> None:
    """A person looks up what is in doubt: the peer has it, or it is sent again."""
    for _ in range(30):
        world.clock.go_on(minutes=20)
        await world.push()
    rows = await world.do(
        "SELECT id, body -> 'request', reason FROM outlet_item WHERE status = 'dead'"
    )
    for item_id, row, reason in rows:
        assert reason == outlet.IN_DOUBT
        assert row not in world.peer.sessions.values(), "it is in doubt, and not there"
        await world.do(
            """UPDATE outlet_item SET status = 'waiting', finished_at = NULL, reason = NULL,
                      doubtful_since = NULL WHERE id = %s""",
            item_id,
        )


@pytest.mark.parametrize("fault", ["cut_late"])
async def test_answer_that_is_cut_after_the_names_proves_what_was_taken(
    world: World, fault: str
) -> None:
    await world.begin([1, 2, 3])
    await happen(world)
    world.peer.faults.extend([fault] * 3)
    await world.push()
    await check_all_arrived(world)


@pytest.mark.parametrize("fault", ["silent_after", "lost_after", "cut_after", "gateway_after"])
async def test_session_whose_name_was_lost_is_never_sent_twice(world: World, fault: str) -> None:
    await world.begin([1, 2, 3])
    await happen(world)
    world.peer.fault = fault
    await world.push()
    world.peer.fault = None
    for _ in range(30):
        world.clock.go_on(minutes=20)
        await world.push()
    assert len(world.peer.sessions) == 3
    for number in (1, 2, 3):
        assert world.told(number)[1:6] == [BUSY, BUSY, BUSY, FREE, BROKEN]
    assert [row[1:] for row in await world.states("session")] == [("dead", outlet.IN_DOUBT)] * 3


async def test_row_that_the_peer_fails_at_does_not_stop_the_others(world: World) -> None:
    await world.begin(list(range(1, 7)))
    world.peer.poison = {name_of(2)}
    for number in range(1, 7):
        await world.status(number, "charging")
    for _ in range(12):
        await world.push()
        world.clock.go_on(minutes=5)
    for number in (1, 3, 4, 5, 6):
        assert world.told(number)[-1] == BUSY
    assert (name_of(2), "waiting", None) in await world.states("status")


async def test_peer_that_is_away_is_asked_with_one_item_whether_it_is_back(world: World) -> None:
    await world.begin([1, 2, 3, 4])
    for number in range(1, 5):
        await world.status(number, "charging")
    world.peer.fault = "unavailable"
    for _ in range(3):
        await world.push()
        world.clock.go_on(hours=2)
    attempts = await world.do(
        "SELECT attempts FROM outlet_item WHERE status = 'waiting' ORDER BY attempts"
    )
    assert attempts == [(2,), (2,), (2,), (3,)]


@pytest.mark.data
async def test_what_is_sent_is_valid_by_the_services_own_schema(world: World) -> None:
    path = DATA / "qualicharge-openapi.json"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    document = json.loads(path.read_text(encoding="utf-8"))
    await world.begin([1, 2])
    await world.status(1, "charging")
    await world.session(1)
    await world.settle()
    sent = {
        "Statique-Input": list(world.peer.points.values()),
        "StatusCreate": world.peer.statuses,
        "SessionCreate": list(world.peer.sessions.values()),
    }
    for name, found in sent.items():
        assert found
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        for row in found:
            jsonschema.validate(row, schema)


# Workers.


async def test_two_workers_at_once_send_nothing_twice_and_keep_the_order(world: World) -> None:
    await world.begin([1, 2, 3])
    await happen(world)
    settings = replace(world.settings, qualicharge_status_entries_max=1)
    world.peer.answer_after_s = 0.02
    done = await asyncio.gather(*(world.push(settings) for _ in range(4)))
    assert sum(one.sent for one in done) == 15
    await check_all_arrived(world)


async def test_worker_killed_between_sending_and_marking_sends_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.begin([1, 2, 3])
    await happen(world)

    async def die(*_: Any, **__: Any) -> None:
        raise SystemError("killed")

    with monkeypatch.context() as patched:
        for name in ("finish", "put_back", "note_answer"):
            patched.setattr(store_outlet, name, die)
        with pytest.raises(SystemError):
            await world.push()
    await world.peer.written()
    assert len(world.peer.sessions) == 3 and world.told(1)[1:] == [BUSY]
    assert await world.push() == outlet.Done(), "it is leased still"
    world.clock.go_on(seconds=world.settings.outlet_lease_s + 1)
    for _ in range(10):
        await world.push()
        world.clock.go_on(minutes=20)
    for number in (1, 2, 3):
        assert world.told(number)[1:6] == [BUSY, BUSY, BUSY, FREE, BROKEN]
    assert len(world.peer.sessions) == 3
    assert [row[1:] for row in await world.states("session")] == [("dead", outlet.IN_DOUBT)] * 3


async def test_limits_of_rate_are_kept_by_all_workers_together(world: World) -> None:
    await world.begin(list(range(1, 31)))
    for number in range(1, 31):
        await world.status(number, "charging")
    before = world.clock.now
    calls = len(world.peer.calls)
    await asyncio.gather(world.push(), world.push())
    requests = [call for call in world.peer.calls[calls:] if call[1].endswith("status/bulk")]
    assert len(requests) == 3
    assert world.clock.now - before >= timedelta(
        seconds=2 * world.settings.qualicharge_status_gap_s
    )


async def test_dry_run_tells_what_would_go_and_sends_nothing(world: World) -> None:
    await world.build([1, 2])
    async with Client(world.settings) as client:
        found = qualicharge.outlets(world.settings, client)
        states = await outlet.preview(world.pool, world.settings, found, world.clock.now)
    assert {state.name: state.waiting for state in states} == {
        "qualicharge.session": 0,
        "qualicharge.static": 2,
        "qualicharge.status": 0,
    }
    assert world.peer.calls == []
    assert await world.items() == []
