"""May this badge charge here, now: as decided, and as stations are told."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from csms import db, driver_badges, drivers
from csms.authorization import decide, decide_shown, decide_start
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database
from csms.domain.contract import Closure
from csms.domain.events import Token
from csms.domain.reservation import Kept
from csms.domain.session import Session, State
from csms.domain.station import Station
from tests.recorder_node import (
    TIMEOUT_S,
    Talker,
    add_badge,
    as_owner,
    event,
    provision,
    query,
    result,
    running_node,
    stamp,
)

NOW = datetime(2026, 5, 25, 12, tzinfo=UTC)


def token(**fields: Any) -> Token:
    plain: dict[str, Any] = {
        "uid_key": "a",
        "status": "accepted",
        "group_uid": None,
        "valid_until": None,
        "site_ids": None,
        "open_sessions": [],
    }
    return Token(**(plain | fields))


def station(site_id: str | None = None) -> Station:
    made = Station(7, "CP1")
    made.site_id = site_id
    return made


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "Accepted"),
        ({"status": "blocked"}, "Blocked"),
        ({"status": "expired"}, "Expired"),
        ({"status": "invalid"}, "Invalid"),
        ({"valid_until": NOW + timedelta(seconds=1)}, "Accepted"),
        ({"valid_until": NOW}, "Expired"),
        ({"status": "blocked", "valid_until": NOW}, "Blocked"),
        ({"site_ids": ["S1", "S2"]}, "Accepted"),
        ({"site_ids": ["S2"]}, "NotAtThisLocation"),
        ({"site_ids": []}, "NotAtThisLocation"),
    ],
)
def test_a_badge_is_judged_by_status_validity_and_site(fields: dict[str, Any], status: str) -> None:
    assert decide(token(**fields), station("S1"), NOW).status == status


def test_a_badge_that_nobody_knows_is_unknown() -> None:
    assert decide(None, station(), NOW).status == "Unknown"


def test_a_badge_with_sites_is_refused_by_a_station_without_one() -> None:
    assert decide(token(site_ids=["S1"]), station(None), NOW).status == "NotAtThisLocation"


def test_the_group_and_the_end_of_validity_are_told_with_every_decision() -> None:
    known = token(status="blocked", group_uid="G", valid_until=NOW)
    assert decide(known, station(), NOW) == ("Blocked", "G", NOW)


@pytest.mark.parametrize(
    ("open_sessions", "opening", "concurrent_max", "offline", "status"),
    [
        ([], frozenset(), 1, False, "Accepted"),
        ([(1, 8, 1)], frozenset(), 1, False, "ConcurrentTx"),
        ([(1, 8, 1)], frozenset(), 2, False, "Accepted"),
        ([(1, 8, 1)], frozenset(), 0, False, "Accepted"),
        ([(1, 8, 1)], frozenset(), 1, True, "Accepted"),
        ([(1, 7, 2)], frozenset(), 1, False, "ConcurrentTx"),
        ([(1, 7, 1)], frozenset(), 1, False, "Accepted"),
        ([], frozenset({5}), 1, False, "ConcurrentTx"),
        ([(5, 8, 1)], frozenset({5}), 2, False, "Accepted"),
        ([(5, 8, 1)], frozenset({6}), 2, False, "ConcurrentTx"),
    ],
)
def test_other_sessions_of_a_badge_count_up_to_the_limit(
    open_sessions: list[tuple[int, int, int]],
    opening: frozenset[int],
    concurrent_max: int,
    offline: bool,
    status: str,
) -> None:
    decision = decide_start(
        token(open_sessions=open_sessions),
        station(),
        1,
        NOW,
        offline=offline,
        concurrent_max=concurrent_max,
        opening=opening,
    )
    assert decision.status == status


@pytest.mark.parametrize(
    ("own_max", "status"),
    [(None, "ConcurrentTx"), (1, "ConcurrentTx"), (2, "Accepted"), (0, "Accepted")],
)
def test_a_badges_own_bound_counts_before_the_setting(own_max: int | None, status: str) -> None:
    known = token(open_sessions=[(1, 8, 1)], concurrent_max=own_max)
    decision = decide_start(known, station(), 1, NOW, offline=False, concurrent_max=1)
    assert decision.status == status


@pytest.mark.parametrize("offline", [False, True])
def test_master_of_a_group_is_let_in_to_stop_and_never_to_start(offline: bool) -> None:
    master = token(uid_key="boss", group_uid="BOSS")
    assert decide(master, station(), NOW) == ("Accepted", "BOSS", None)
    decision = decide_start(master, station(), 1, NOW, offline=offline, concurrent_max=0)
    assert decision == ("Invalid", "BOSS", None)
    member = token(group_uid="BOSS")
    assert (
        decide_start(member, station(), 1, NOW, offline=offline, concurrent_max=0)[0] == "Accepted"
    )


@pytest.mark.parametrize(
    ("after_s", "status"), [(-1, "Accepted"), (0, "NotAtThisLocation"), (3600, "Accepted")]
)
def test_nobody_starts_while_the_clients_contract_is_suspended(after_s: int, status: str) -> None:
    here = station()
    here.closures = (Closure(NOW, NOW + timedelta(hours=1), "suspended"),)
    at = NOW + timedelta(seconds=after_s)
    assert decide(token(), here, at).status == status
    for offline in (False, True):  # judged by when it began
        decision = decide_start(token(), here, 1, at, offline=offline, concurrent_max=0)
        assert decision.status == status


def test_a_badge_may_end_what_runs_when_the_contract_is_over_and_start_nothing() -> None:
    here = station()
    here.closures = (Closure(NOW, None, "ended"),)
    running = Session(1, start_key="k", transaction_id="1", state=State.ACTIVE, started_at=NOW)
    here.sessions["1"] = running
    assert decide(token(), here, NOW).status == "NotAtThisLocation", "none was ever accepted"
    running.authorization_status = "Accepted"
    assert decide(token(), here, NOW).status == "Accepted"
    start = decide_start(token(), here, 2, NOW, offline=False, concurrent_max=0)
    assert start.status == "NotAtThisLocation"
    assert decide(token(status="blocked"), here, NOW).status == "Blocked"


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize(
    ("client_id", "after_s", "status"),
    [(5, -1, "Accepted"), (5, 0, "NoCredit"), (5, 3600, "NoCredit"), (6, 0, "Accepted")],
)
def test_who_leaves_invoices_unpaid_starts_nothing_at_that_client(
    client_id: int, after_s: int, status: str, offline: bool
) -> None:
    here = station()
    here.client_id = client_id
    at = NOW + timedelta(seconds=after_s)  # what began offline is judged by when it began
    badge = token(unpaid=[(5, NOW.timestamp())])
    assert decide(badge, here, at).status == status
    decision = decide_start(badge, here, 1, at, offline=offline, concurrent_max=0)
    assert decision.status == status


def test_a_badge_may_end_what_runs_where_invoices_are_unpaid_and_start_nothing() -> None:
    here = station()
    here.client_id = 5
    badge = token(unpaid=[(5, NOW.timestamp())])
    here.sessions["1"] = Session(
        1, start_key="k", transaction_id="1", state=State.ACTIVE, started_at=NOW
    )
    here.sessions["1"].authorization_status = "Accepted"
    assert decide(badge, here, NOW).status == decide_shown(badge, here, NOW).status == "Accepted"
    start = decide_start(badge, here, 2, NOW, offline=False, concurrent_max=0)
    assert start.status == "NoCredit"
    assert decide(badge._replace(status="blocked"), here, NOW).status == "Blocked"


# --- What stations are told ---------------------------------------------------------------------


async def authorize(talker: Talker, uid: str) -> dict[str, Any]:
    """What Authorize is answered, in either version."""
    if talker.protocol == "ocpp1.6":
        answer = await talker.call("Authorize", {"idTag": uid})
        return answer["idTagInfo"]  # type: ignore[no-any-return]
    badge = {"idToken": uid, "type": "ISO14443"}
    answer = await talker.call("Authorize", {"idToken": badge})
    return answer["idTokenInfo"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("protocol", ["ocpp1.6", "ocpp2.0.1"])
async def test_a_badge_blocked_a_moment_ago_is_refused_at_once(
    database: Database, settings: Settings, protocol: str
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings) as node:
        one = await node.station("CP1", protocol)
        assert (await authorize(one, "A"))["status"] == "Accepted"
        await as_owner(database, "UPDATE token SET status = 'blocked'")
        assert (await authorize(one, "A"))["status"] == "Blocked"
        if protocol == "ocpp1.6":
            assert (await one.start("A"))["idTagInfo"]["status"] == "Blocked"
        else:
            told = event("Started", "t", 0, badge="A")
            answer = await one.call("TransactionEvent", told)
            assert answer["idTokenInfo"]["status"] == "Blocked"
        await as_owner(database, "UPDATE token SET status = 'accepted', retired_at = now()")
        refused = "Invalid" if protocol == "ocpp1.6" else "Unknown"
        assert (await authorize(one, "A"))["status"] == refused


CLIENT = (
    "INSERT INTO client (name) VALUES ('Exemple')",
    "UPDATE station SET client_id = (SELECT id FROM client WHERE name = 'Exemple')",
)
SUSPENDED = (
    """INSERT INTO contract (client_id, client_class, devis_reference, signed_on, starts_on,
                             term_months)
       SELECT id, 'professionnel', 'D-1', '2026-01-01', '2026-01-01', 36 FROM client
        WHERE name = 'Exemple'""",
    """INSERT INTO contract_suspension (client_id, contract_id, received_on, reason, from_on)
       SELECT client_id, id, '2026-01-01', 'unpaid', '2026-02-01' FROM contract""",
)


@pytest.mark.parametrize("protocol", ["ocpp1.6", "ocpp2.0.1"])
async def test_a_suspension_refuses_starts_at_once_and_lets_go_on_what_runs(
    database: Database, settings: Settings, protocol: str
) -> None:
    await provision(database, ["CP1", "CP2"], ["A", "B"])
    await as_owner(database, *CLIENT)
    refused = "Invalid" if protocol == "ocpp1.6" else "NotAtThisLocation"
    async with running_node(database, settings) as node:
        one, two = await node.station("CP1", protocol), await node.station("CP2", protocol)
        running = await begin(one, "A", 1)
        assert running["status"] == "Accepted"
        await as_owner(database, *SUSPENDED)
        assert (await authorize(two, "B"))["status"] == refused
        assert (await begin(two, "B", 1))["status"] == refused
        assert (await authorize(one, "A"))["status"] == "Accepted", "it may be there to stop"
        assert (await begin(one, "B", 2))["status"] == refused
        if protocol == "ocpp1.6":
            await one.stop(running["transactionId"], register_wh=5000)
        else:
            await one.call(
                "TransactionEvent", event("Ended", "t-CP1-1", 1, badge="A", register_wh=5000)
            )
    rows = await query(
        database, "SELECT state, energy_wh FROM session WHERE token_uid = 'A' ORDER BY id"
    )
    assert rows == [("ended", 4000)]


async def begin(talker: Talker, uid: str, evse_id: int) -> dict[str, Any]:
    """What a start with the badge is answered; of 1.6 with its transactionId."""
    if talker.protocol == "ocpp1.6":
        answer = await talker.start(uid, evse_id=evse_id)
        return answer["idTagInfo"] | {"transactionId": answer["transactionId"]}  # type: ignore[no-any-return]
    transaction = f"t-{talker.station.id}-{evse_id}"
    told = event("Started", transaction, 0, badge=uid, evse_id=evse_id, register_wh=1000)
    return (await talker.call("TransactionEvent", told))["idTokenInfo"]  # type: ignore[no-any-return]


async def test_badges_are_compared_without_case(database: Database, settings: Settings) -> None:
    await provision(database, ["CP1", "CP2"], ["aBcD"])
    async with running_node(database, settings) as node:
        one, two = await node.station("CP1"), await node.station("CP2", "ocpp2.0.1")
        assert (await authorize(one, "ABCD"))["status"] == "Accepted"
        assert (await authorize(two, "abcd"))["status"] == "Accepted"
        await one.start("ABCD")
        answer = await two.call("TransactionEvent", event("Started", "t", 0, badge="abcd"))
        assert answer["idTokenInfo"]["status"] == "ConcurrentTx", "the same badge"
    assert await query(database, "SELECT token_uid FROM session ORDER BY id") == [
        ("ABCD",),
        ("abcd",),
    ]


async def test_group_and_validity_are_told_in_the_words_of_the_version(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1", "CP2"])
    async with await db.connect(database) as connection:
        until = datetime(2040, 1, 2, 3, 4, 5, tzinfo=UTC)
        await add_badge(connection, "A", group_uid="G", valid_until=until)
        await add_badge(connection, "B", group_uid="G" * 30)
    async with running_node(database, settings) as node:
        one, two = await node.station("CP1"), await node.station("CP2", "ocpp2.0.1")
        moment = "2040-01-02T03:04:05.000Z"
        told = {"status": "Accepted", "parentIdTag": "G", "expiryDate": moment}
        assert await authorize(one, "A") == told
        assert (await one.start("A"))["idTagInfo"] == told
        assert await authorize(two, "A") == {
            "status": "Accepted",
            "cacheExpiryDateTime": moment,
            "groupIdToken": {"idToken": "G", "type": "Central"},
        }
        assert await authorize(one, "B") == {"status": "Accepted"}, "1.6 holds 20 characters"


async def test_a_badge_of_other_sites_is_refused(database: Database, settings: Settings) -> None:
    await as_owner(
        database,
        "INSERT INTO site (id) VALUES ('S1'), ('S2')",
        "INSERT INTO station (id, site_id) VALUES ('CP1', 'S1'), ('CP2', 'S2')",
    )
    async with await db.connect(database) as connection:
        await add_badge(connection, "A", site_ids=["S2"])
    async with running_node(database, settings) as node:
        one, two = await node.station("CP1"), await node.station("CP2")
        assert (await authorize(one, "A"))["status"] == "Invalid"
        assert (await one.start("A"))["idTagInfo"]["status"] == "Invalid"
        assert (await authorize(two, "A"))["status"] == "Accepted"
        old = await node.station("CP1", "ocpp2.0.1")
        assert (await authorize(old, "A"))["status"] == "NotAtThisLocation"


@pytest.mark.parametrize(("limit", "status"), [(1, "ConcurrentTx"), (0, "Accepted")])
async def test_a_badge_charges_at_one_place_at_a_time_unless_set_otherwise(
    database: Database, settings: Settings, limit: int, status: str
) -> None:
    await provision(database, ["CP1", "CP2"], ["A"])
    async with running_node(database, settings, token_concurrent_max=limit) as node:
        one, two = await node.station("CP1"), await node.station("CP2")
        first = await one.start("A")
        assert first["idTagInfo"]["status"] == "Accepted"
        assert (await two.start("A"))["idTagInfo"]["status"] == status
        await one.stop(first["transactionId"])
        again = await two.start("A", evse_id=2, register_wh=9)
    assert again["idTagInfo"]["status"] == "Accepted", "what was refused holds no place"


async def test_two_starts_in_one_moment_are_not_both_accepted(
    database: Database, settings: Settings
) -> None:
    """Neither of them is committed when the other is decided."""
    await provision(database, ["CP1", "CP2"], ["A"])
    async with running_node(database, settings, group_window_ms=100.0) as node:
        talkers = [await node.station("CP1"), await node.station("CP2")]
        await asyncio.gather(*(talker.call("Heartbeat", {}) for talker in talkers))
        start = {"connectorId": 1, "idTag": "A", "meterStart": 5, "timestamp": stamp()}
        answers = [talker.send("StartTransaction", start) for talker in talkers]
        frames = await asyncio.wait_for(asyncio.gather(*answers), TIMEOUT_S)
    statuses = sorted(result(frame)["idTagInfo"]["status"] for frame in frames)
    assert statuses == ["Accepted", "ConcurrentTx"]


async def test_a_badge_may_start_anew_where_its_session_lost_its_stop(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings) as node:
        one = await node.station("CP1")
        await one.start("A", ago_s=60)
        assert (await one.start("A", register_wh=1100))["idTagInfo"]["status"] == "Accepted"
    states = await query(database, "SELECT state FROM session ORDER BY id")
    assert states == [("lost",), ("active",)]


@pytest.mark.parametrize("protocol", ["ocpp1.6", "ocpp2.0.1"])
async def test_what_began_offline_is_never_refused_for_another_session(
    database: Database, settings: Settings, protocol: str
) -> None:
    await provision(database, ["CP1", "CP2"], ["A"])
    async with running_node(database, settings) as node:
        one, two = await node.station("CP1"), await node.station("CP2", protocol)
        await one.start("A")
        if protocol == "ocpp1.6":
            answer = (await two.start("A", ago_s=7200))["idTagInfo"]
        else:
            told = event("Started", "t", 0, badge="A", ago_s=7200, offline=True)
            answer = (await two.call("TransactionEvent", told))["idTokenInfo"]
    assert answer["status"] == "Accepted"


async def test_what_began_offline_is_judged_by_the_time_at_which_it_began(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"])
    async with await db.connect(database) as connection:
        an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
        await add_badge(connection, "A", valid_until=an_hour_ago)
    async with running_node(database, settings) as node:
        one = await node.station("CP1")
        assert (await one.start("A", ago_s=7200))["idTagInfo"]["status"] == "Accepted"
        assert (await one.start("A", evse_id=2))["idTagInfo"]["status"] == "Expired"


async def test_a_start_told_again_gets_the_decision_of_the_first_time(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings) as node:
        one = await node.station("CP1")
        start = {"connectorId": 1, "idTag": "A", "meterStart": 5, "timestamp": stamp()}
        first = await one.call("StartTransaction", start)
        await as_owner(database, "UPDATE token SET status = 'blocked'")
        assert await one.call("StartTransaction", start) == first


async def test_unknown_badges_are_counted_where_they_were_shown_last(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1", "CP2"], ["KNOWN"])
    async with running_node(database, settings) as node:
        one, two = await node.station("CP1"), await node.station("CP2", "ocpp2.0.1")
        assert (await authorize(one, "New"))["status"] == "Invalid"
        assert (await authorize(two, "NEW"))["status"] == "Unknown"
        assert (await authorize(one, "KNOWN"))["status"] == "Accepted"
        await one.start("other")
        await two.call("TransactionEvent", event("Started", "t", 0, badge="new"))
        await two.call("TransactionEvent", event("Updated", "t", 1, badge="new"))
    rows = await query(
        database,
        "SELECT u.uid, s.id, u.count, u.last_seen_at > u.first_seen_at"
        "  FROM unknown_token u JOIN station s USING (station_key) ORDER BY u.uid_key",
    )
    assert rows == [("New", "CP2", 4, True), ("other", "CP1", 1, False)]


async def test_a_badge_of_2000_characters_is_refused_and_harms_nobody(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings) as node:
        one = await node.station("CP1")
        answers = [
            one.send("Authorize", {"idTag": "x" * 2000}),
            one.send("Authorize", {"idTag": "a\x00b"}),
            one.send("Authorize", {"idTag": "A"}),
        ]
        frames = await asyncio.wait_for(asyncio.gather(*answers), TIMEOUT_S)
    assert [frame[0] for frame in frames][2] == 3
    assert result(frames[2])["idTagInfo"]["status"] == "Accepted"
    for frame in frames[:2]:
        assert frame[0] == 4 or frame[2]["idTagInfo"]["status"] == "Invalid"


# --- Badges of drivers ----------------------------------------------------------------------------

RESIDENT = """
INSERT INTO site (id) VALUES ('S1'), ('S2');
INSERT INTO station (id, site_id) VALUES ('CP1', 'S1'), ('CP2', 'S2');
INSERT INTO person (email) VALUES ('conducteur@example.org');
INSERT INTO driver (person_id) SELECT id FROM person;
INSERT INTO driver_group (client_id, name, kind) VALUES (1, 'Residents', 'residents');
INSERT INTO group_member (group_id, person_id, from_at) VALUES (1, 1, now() - interval '1 day');
INSERT INTO token (uid_key, uid) VALUES ('a', 'A');
INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
    SELECT token_key, uid_key, 1, now() - interval '1 day' FROM token;
INSERT INTO group_access (group_id, client_id, site_id, weekdays) VALUES (1, 1, 'S1', %s);
"""


def weekdays(*days_from_today: int) -> int:
    """Weekdays as the column holds them, counted from the one in Paris now."""
    today = datetime.now(ZoneInfo("Europe/Paris")).weekday()
    return sum(1 << (today + days) % 7 for days in days_from_today)


async def start(talker: Talker, uid: str, evse_id: int = 1) -> str:
    """With which word a start is answered, in either version."""
    if talker.protocol == "ocpp1.6":
        return str((await talker.start(uid, evse_id=evse_id))["idTagInfo"]["status"])
    told = event("Started", f"t{evse_id}", 0, badge=uid, evse_id=evse_id)
    answer = await talker.call("TransactionEvent", told)
    return str(answer["idTokenInfo"]["status"])


BOTH = pytest.mark.parametrize("protocol", ["ocpp1.6", "ocpp2.0.1"])


@BOTH
async def test_a_drivers_badge_charges_where_and_when_her_group_may(
    database: Database, settings: Settings, protocol: str
) -> None:
    await as_owner(database, RESIDENT % weekdays(3))
    refused = ("Invalid", "Invalid")
    if protocol == "ocpp2.0.1":
        refused = ("NotAtThisTime", "NotAtThisLocation")
    async with running_node(database, settings) as node:
        here = await node.station("CP1", protocol)
        elsewhere = await node.station("CP2", protocol)
        assert (await authorize(here, "A"))["status"] == refused[0]
        assert await start(here, "A") == refused[0]
        assert (await authorize(elsewhere, "A"))["status"] == refused[1]
        await as_owner(database, f"UPDATE group_access SET weekdays = {weekdays(0, 1)}")
        told = await authorize(here, "A")
        assert told["status"] == "Accepted"
        until = told["expiryDate" if protocol == "ocpp1.6" else "cacheExpiryDateTime"]
        assert datetime.fromisoformat(until) > datetime.now(UTC) + timedelta(hours=20)
        assert await start(here, "A", 2) == "Accepted"
        await as_owner(database, "UPDATE group_member SET to_at = now()")
        assert (await authorize(here, "A"))["status"] == refused[1]


@BOTH
async def test_a_badge_lost_a_moment_ago_and_one_of_a_blocked_driver_are_refused(
    database: Database, settings: Settings, protocol: str
) -> None:
    await as_owner(database, RESIDENT % 127)
    async with running_node(database, settings) as node:
        here = await node.station("CP1", protocol)
        assert (await authorize(here, "A"))["status"] == "Accepted"
        async with await db.connect(database) as connection:
            now, desk = datetime.now(UTC), Actor("key desk")
            await driver_badges.block(connection, 1, "A", "lost", desk, now)
        assert (await authorize(here, "A"))["status"] == "Blocked"
        assert await start(here, "A") == "Blocked"
        async with await db.connect(database) as connection:
            await driver_badges.unblock(connection, 1, "A", desk, now)
        assert (await authorize(here, "A"))["status"] == "Accepted"
        await as_owner(database, "UPDATE person SET blocked_at = now()")
        assert await start(here, "A", 2) == "Blocked"


async def test_a_badge_given_away_meanwhile_is_judged_as_hers_who_had_it_then(
    database: Database, settings: Settings
) -> None:
    """What began offline is told late, when the badge belongs to somebody without access."""
    await as_owner(database, RESIDENT % 127)
    async with await db.connect(database) as connection:
        now, desk = datetime.now(UTC), Actor("key desk")
        other = await drivers.create(connection, {"email": "other@example.org"}, desk, now)
        await driver_badges.assign(connection, other, "A", desk, now - timedelta(hours=1))
    async with running_node(database, settings) as node:
        here = await node.station("CP1")
        assert (await here.start("A", ago_s=7200))["idTagInfo"]["status"] == "Accepted"
        assert (await here.start("A", evse_id=2))["idTagInfo"]["status"] == "Invalid"


def test_a_rule_of_a_site_is_read_by_that_sites_clock() -> None:
    noon = NOW.timestamp()
    known = token(holders=[[noon - 9, None, True]], rules=[["S1", 127, 840, 900, noon - 9, None]])
    here = station("S1")
    for zone, status in (("Europe/Paris", "Accepted"), ("Indian/Reunion", "NotAtThisTime")):
        here.time_zone = zone
        assert decide(known, here, NOW).status == status, zone
    assert decide(known, station("S2"), NOW).status == "NotAtThisLocation"


def test_any_driver_charges_at_a_public_point_and_nobody_else_at_a_private_one() -> None:
    drivers = token(holders=[[0, None, True]])
    here = station("S1")
    assert decide(drivers, here, NOW).status == "NotAtThisLocation"
    here.public_evses = frozenset({2})
    assert decide(drivers, here, NOW).status == "Accepted", "somewhere at the station"
    for evse_id, status in ((1, "NotAtThisLocation"), (2, "Accepted")):
        decision = decide_start(drivers, here, evse_id, NOW, offline=False, concurrent_max=1)
        assert decision.status == status
    blocked = token(holders=[[0, None, False]])
    assert decide(blocked, here, NOW, 2).status == "Blocked"


def test_what_is_reserved_for_others_is_refused_while_it_is() -> None:
    here = station()
    here.evses = {(0, None): "available", (1, 1): "available", (2, 1): "available"}
    here.reservations = (Kept(1, NOW, NOW + timedelta(hours=1), frozenset({"b"})),)

    def starts(uid: str, evse_id: int, at: datetime, *, offline: bool = False) -> str:
        return decide_start(
            token(uid_key=uid), here, evse_id, at, offline=offline, concurrent_max=1
        ).status

    assert starts("a", 1, NOW) == "NotAtThisTime"
    assert starts("b", 1, NOW) == starts("a", 2, NOW) == "Accepted"
    assert starts("a", 1, NOW, offline=True) == "Accepted", "it has happened"
    assert starts("a", 1, NOW - timedelta(seconds=1)) == "Accepted"
    assert decide_shown(token(), here, NOW).status == "Accepted", "the other one is free"
    here.reservations = (here.reservations[0]._replace(evse_id=None),)
    assert decide_shown(token(), here, NOW).status == "NotAtThisTime"
    assert decide_shown(token(status="blocked"), here, NOW).status == "Blocked"
    assert decide_shown(None, here, NOW).status == "Unknown"
