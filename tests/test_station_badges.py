"""What stations keep of badges, kept in step with what people decide: lists, caches, masters."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from psycopg import AsyncConnection
from websockets.asyncio.client import ClientConnection

from csms import db
from csms.config import Settings
from csms.db import Database
from csms.wire import badges
from tests.scenarios.gate import PATIENCE_S, Gate, boot, heartbeat, open_gate
from tests.test_commands import boot_201, client_of, ordered

BOTH = pytest.mark.parametrize("protocol", ["ocpp1.6", "ocpp2.0.1"])


@dataclass
class Scene:
    """A gate, its API, and the worker's hand on the database."""

    gate: Gate
    api: httpx.AsyncClient
    connection: AsyncConnection
    now: datetime

    async def work(self, *, everything: bool = False) -> int:
        """One pass of the worker; how many orders it placed."""
        return await badges.keep_in_step(
            self.connection, self.gate.settings, self.now, everything=everything
        )

    async def badge(self, uid: str, **fields: Any) -> None:
        assert (await self.api.put(f"/tokens/{uid}", json=fields)).is_success

    async def quiet(self, station: ClientConnection) -> None:
        """Nothing is ordered of the station, however often the worker passes."""
        assert await self.work() == 0
        await heartbeat(station, "quiet")


@pytest.fixture
async def scene(settings: Settings, database: Database) -> AsyncIterator[Scene]:
    settings = replace(settings, local_list_update_entries_max=2, command_poll_s=0.1)
    async with (
        open_gate(settings, database) as gate,
        client_of(gate) as api,
        await db.connect(database) as connection,
    ):
        yield Scene(gate, api, connection, datetime.now(UTC))


async def booted(scene: Scene, station: ClientConnection, protocol: str, number: str = "b") -> None:
    """The station is there, and the database knows it."""
    if protocol == "ocpp1.6":
        await boot(station, number)
    else:
        await boot_201(station, number)
    await scene.gate.connected("CP1", True)


async def answer(scene: Scene, station: ClientConnection, **payload: Any) -> list[Any]:
    """Answer the next order, and wait until the answer is written; the order."""
    order = await ordered(station)
    await reply(scene, station, order, payload)
    return order


async def reply(
    scene: Scene, station: ClientConnection, order: list[Any], payload: dict[str, Any]
) -> None:
    """Answer an order, and wait until the answer is written."""
    assert order[0] == 2, order
    await station.send(json.dumps([3, order[1], payload]))
    async with asyncio.timeout(PATIENCE_S):
        while await scene.gate.rows(  # noqa: ASYNC110
            "SELECT 1 FROM command WHERE message_id = %s AND finished_at IS NULL", order[1]
        ):
            await asyncio.sleep(0.02)


def version_key(protocol: str) -> str:
    return "listVersion" if protocol == "ocpp1.6" else "versionNumber"


def listed(order: list[Any]) -> dict[str, str | None]:
    """Badges and statuses of a SendLocalList; None: the badge goes."""
    found = {}
    for entry in order[3].get("localAuthorizationList", []):
        uid = entry.get("idTag") or entry["idToken"]["idToken"]
        info = entry.get("idTagInfo") or entry.get("idTokenInfo")
        found[uid] = info["status"] if info else None
    return found


@BOTH
async def test_list_is_sent_in_parts_and_then_only_what_changed(
    scene: Scene, protocol: str
) -> None:
    await scene.gate.add("CP1", protocol=protocol)
    for uid in ("AA", "BB", "CC"):
        await scene.badge(uid)
    async with scene.gate.connect("CP1", protocols=[protocol]) as station:
        await booted(scene, station, protocol)
        assert await scene.work() == 1
        order = await answer(scene, station, **{version_key(protocol): 0})
        assert order[2] == "GetLocalListVersion"
        await scene.work()
        order = await answer(scene, station, status="Accepted")
        assert (order[2], order[3]["updateType"]) == ("SendLocalList", "Full")
        assert (order[3][version_key(protocol)], listed(order)) == (
            1,
            {"AA": "Accepted", "BB": "Accepted"},
        )
        await scene.work()
        order = await answer(scene, station, status="Accepted")
        assert order[3]["updateType"] == "Differential"
        assert (order[3][version_key(protocol)], listed(order)) == (2, {"CC": "Accepted"})
        await scene.quiet(station)
        # One is blocked and one goes: the station hears of both, and forgets its cache.
        await scene.badge("AA", status="blocked")
        assert (await scene.api.delete("/tokens/BB")).is_success
        assert await scene.work() == 2
        seen = [await answer(scene, station, status="Accepted") for _ in range(2)]
        by_action = {order[2]: order for order in seen}
        assert listed(by_action["SendLocalList"]) == {"BB": None, "AA": "Blocked"}
        assert by_action["ClearCache"][3] == {}
        await scene.quiet(station)


@BOTH
@pytest.mark.parametrize("word", ["Failed", "VersionMismatch"])
async def test_failed_update_is_repaired(scene: Scene, protocol: str, word: str) -> None:
    await scene.gate.add("CP1", protocol=protocol)
    await scene.badge("AA")
    async with scene.gate.connect("CP1", protocols=[protocol]) as station:
        await booted(scene, station, protocol)
        await scene.work()
        await answer(scene, station, **{version_key(protocol): 0})
        await scene.work()
        await answer(scene, station, status=word)
        await scene.quiet(station)  # it is given time
        scene.now += timedelta(minutes=2)
        await scene.work()
        if word == "VersionMismatch":
            order = await answer(scene, station, **{version_key(protocol): 41})
            assert order[2] == "GetLocalListVersion"
            await scene.work()
        order = await answer(scene, station, status="Accepted")
        assert order[3]["updateType"] == "Full"
        assert order[3][version_key(protocol)] == (42 if word == "VersionMismatch" else 1)
        await scene.quiet(station)


async def test_station_that_lost_its_list_gets_it_again_after_its_boot(scene: Scene) -> None:
    await scene.gate.add("CP1", protocol="ocpp1.6")
    await scene.badge("AA")
    async with scene.gate.connect("CP1") as station:
        await booted(scene, station, "ocpp1.6")
        await scene.work()
        await answer(scene, station, listVersion=0)
        await scene.work()
        await answer(scene, station, status="Accepted")
        await scene.quiet(station)
        await boot(station, "b2")
        await scene.work()
        await answer(scene, station, listVersion=1)  # it has kept it
        await scene.quiet(station)
        await boot(station, "b3")
        await scene.work()
        await answer(scene, station, listVersion=0)  # it has not
        await scene.work()
        order = await answer(scene, station, status="Accepted")
        assert listed(order) == {"AA": "Accepted"}
        await scene.quiet(station)


@BOTH
@pytest.mark.parametrize("version", [2**31 - 1, 2**31, 10**30, -7])
async def test_version_that_nobody_can_count_on_is_replaced(
    scene: Scene, protocol: str, version: int
) -> None:
    """And the lists of all other stations are kept all the same."""
    await scene.gate.add("CP1", protocol=protocol)
    await scene.badge("AA")
    async with scene.gate.connect("CP1", protocols=[protocol]) as station:
        await booted(scene, station, protocol)
        await scene.work()
        await answer(scene, station, **{version_key(protocol): version})
        await scene.work()
        order = await answer(scene, station, status="Accepted")
        assert (order[3]["updateType"], order[3][version_key(protocol)]) == ("Full", 1)
        await scene.quiet(station)


async def test_update_without_an_answer_is_asked_about(scene: Scene) -> None:
    await scene.gate.add("CP1", protocol="ocpp1.6")
    await scene.badge("AA")
    async with scene.gate.connect("CP1") as station:
        await booted(scene, station, "ocpp1.6")
        await scene.work()
        await answer(scene, station, listVersion=0)
        await scene.work()
        assert (await ordered(station))[2] == "SendLocalList"
        station.transport.abort()
    await scene.gate.eventually(
        [("failed",)], "SELECT status FROM command ORDER BY id DESC LIMIT 1"
    )
    async with scene.gate.connect("CP1") as station:
        await booted(scene, station, "ocpp1.6", "b2")
        await scene.work()
        scene.now += timedelta(minutes=2)
        await scene.work()
        await answer(scene, station, listVersion=1)  # it had taken it: nobody knows what it holds
        await scene.work()
        order = await answer(scene, station, status="Accepted")
        assert (order[3]["updateType"], order[3]["listVersion"]) == ("Full", 2)
        await scene.quiet(station)


@BOTH
async def test_station_without_lists_is_left_alone_until_it_has_other_firmware(
    scene: Scene, protocol: str
) -> None:
    await scene.gate.add("CP1", protocol=protocol)
    await scene.badge("AA")
    async with scene.gate.connect("CP1", protocols=[protocol]) as station:
        await booted(scene, station, protocol)
        await scene.work()
        if protocol == "ocpp1.6":
            await answer(scene, station, listVersion=-1)
        else:
            order = await ordered(station)
            await station.send(json.dumps([4, order[1], "NotSupported", "", {}]))
            await scene.gate.eventually([("failed",)], "SELECT status FROM command")
        await scene.work()
        scene.now += timedelta(days=1)
        await scene.quiet(station)
        await booted(scene, station, protocol, "b2")
        await scene.quiet(station)
        await scene.connection.execute("UPDATE station SET firmware = 'new'")
        assert await scene.work() == 1
        assert (await ordered(station))[2] == "GetLocalListVersion"


async def test_only_badges_of_the_site_are_listed(scene: Scene) -> None:
    for site in ("S1", "S2"):
        assert (await scene.api.post("/sites", json={"id": site})).is_success
    body = {"id": "CP1", "site_id": "S1", "protocol": "ocpp1.6"}
    assert (await scene.api.post("/stations", json=body)).is_success
    until = datetime(2030, 1, 1, tzinfo=UTC)
    await scene.badge("AA", site_ids=["S1"], valid_until=until.isoformat(), group_uid="G")
    await scene.badge("BB", site_ids=["S2"])
    await scene.badge("X" * 21)  # longer than any badge of 1.6
    async with scene.gate.connect("CP1") as station:
        await booted(scene, station, "ocpp1.6")
        await scene.work()
        await answer(scene, station, listVersion=0)
        await scene.work()
        order = await answer(scene, station, status="Accepted")
        assert order[3]["localAuthorizationList"] == [
            {
                "idTag": "AA",
                "idTagInfo": {
                    "status": "Accepted",
                    "expiryDate": "2030-01-01T00:00:00.000Z",
                    "parentIdTag": "G",
                },
            }
        ]
        await scene.quiet(station)


async def test_station_that_is_told_nothing_unasked_keeps_its_own_lists(scene: Scene) -> None:
    await scene.gate.add("CP1", protocol="ocpp2.0.1", auto_configure=False)
    await scene.badge("BOSS", group_uid="BOSS")
    await scene.badge("AA")
    async with scene.gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
        await booted(scene, station, "ocpp2.0.1")
        await scene.badge("AA", status="blocked")
        await scene.quiet(station)


async def test_group_of_the_master_is_told_to_stations_of_201_once(
    settings: Settings, database: Database
) -> None:
    settings = replace(settings, local_list_entries_max=0, command_poll_s=0.1)
    async with (
        open_gate(settings, database) as gate,
        client_of(gate) as api,
        await db.connect(database) as connection,
    ):
        scene = Scene(gate, api, connection, datetime.now(UTC))
        await gate.add("CP1", protocol="ocpp2.0.1")
        await scene.badge("BOSS", group_uid="BOSS")
        async with gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
            await booted(scene, station, "ocpp2.0.1")
            assert await scene.work() == 1
            result = {
                "attributeStatus": "Accepted",
                "component": {"name": "AuthCtrlr"},
                "variable": {"name": "MasterPassGroupId"},
            }
            order = await answer(scene, station, setVariableResult=[result])
            (variable,) = order[3]["setVariableData"]
            assert variable["attributeValue"] == "BOSS"
            assert variable["variable"] == {"name": "MasterPassGroupId"}
            await scene.quiet(station)
            await booted(scene, station, "ocpp2.0.1", "b2")
            scene.now += timedelta(days=1)
            await scene.quiet(station)
            await scene.badge("BOSS", group_uid="BOSS", status="blocked")
            await scene.badge("CHIEF", group_uid="CHIEF")
            # And the cache, for the one that was blocked, though the worker slept for a day.
            assert await scene.work(everything=True) == 2


async def test_many_passes_and_workers_place_one_order(scene: Scene) -> None:
    await scene.gate.add("CP1", protocol="ocpp1.6")
    async with scene.gate.connect("CP1") as station:
        await booted(scene, station, "ocpp1.6")
        assert [await scene.work() for _ in range(3)] == [1, 0, 0]


# --- Masters in stations --------------------------------------------------------------------------


async def test_masters_stand_in_no_list_of_16(scene: Scene) -> None:
    """A list of 1.6 cannot say that a badge may stop and not start; offline it would do both."""
    await scene.gate.add("CP1", protocol="ocpp1.6")
    await scene.badge("BOSS", group_uid="boss")
    await scene.badge("AA", group_uid="boss")
    async with scene.gate.connect("CP1") as station:
        await booted(scene, station, "ocpp1.6")
        await scene.work()
        await answer(scene, station, listVersion=0)
        await scene.work()
        order = await answer(scene, station, status="Accepted")
        assert listed(order) == {"AA": "Accepted"}
        await scene.quiet(station)


async def test_badges_of_a_masters_group_still_begin_sessions_at_stations_of_201(
    settings: Settings, database: Database
) -> None:
    """To a station no badge of the Master Pass group may start (C16): no group of drivers is it."""
    settings = replace(settings, local_list_entries_max=0, command_poll_s=0.1)
    async with (
        open_gate(settings, database) as gate,
        client_of(gate) as api,
        await db.connect(database) as connection,
    ):
        scene = Scene(gate, api, connection, datetime.now(UTC))
        await gate.add("CP1", protocol="ocpp2.0.1")
        await scene.badge("BOSS", group_uid="BOSS")
        await scene.badge("AA", group_uid="boss")
        async with gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
            await booted(scene, station, "ocpp2.0.1")
            await scene.quiet(station)
            await scene.badge("CHIEF", group_uid="CHIEF")
            for told in ("CHIEF", ""):
                assert await scene.work() == 1
                result = {
                    "attributeStatus": "Accepted",
                    "component": {"name": "AuthCtrlr"},
                    "variable": {"name": "MasterPassGroupId"},
                }
                order = await answer(scene, station, setVariableResult=[result])
                assert order[3]["setVariableData"][0]["attributeValue"] == told
                await scene.quiet(station)
                scene.now += timedelta(hours=1)
                await scene.badge("BB", group_uid="chief")  # a driver joins that group


async def test_master_is_told_again_to_a_station_that_has_lost_its_list(scene: Scene) -> None:
    """Back to its factory's settings: what else it was told is gone as well."""
    await scene.gate.add("CP1", protocol="ocpp2.0.1")
    await scene.badge("BOSS", group_uid="BOSS")
    await scene.badge("AA")
    actions: list[str] = []
    version, group = 0, ""

    async def settle(station: ClientConnection) -> None:
        nonlocal version, group
        while placed := await scene.work():
            for _ in range(placed):
                order = await ordered(station)
                actions.append(order[2])
                told: dict[str, Any] = {"status": "Accepted"}
                if order[2] == "GetLocalListVersion":
                    told = {"versionNumber": version}
                elif order[2] == "SendLocalList":
                    version = order[3]["versionNumber"]
                else:
                    (item,) = order[3]["setVariableData"]
                    group = item.pop("attributeValue")
                    told = {"setVariableResult": [{"attributeStatus": "Accepted", **item}]}
                await station.send(json.dumps([3, order[1], told]))
            await scene.gate.eventually([], "SELECT 1 FROM command WHERE finished_at IS NULL")

    async with scene.gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
        await booted(scene, station, "ocpp2.0.1")
        await settle(station)
        assert (actions.count("SetVariables"), group) == (1, "BOSS")
        await booted(scene, station, "ocpp2.0.1", "b2")
        scene.now += timedelta(hours=1)
        await settle(station)
        assert actions.count("SetVariables") == 1, "a reboot alone loses nothing"
        version, group = 0, ""
        await booted(scene, station, "ocpp2.0.1", "b3")
        scene.now += timedelta(hours=1)
        await settle(station)
        assert (actions.count("SetVariables"), group) == (2, "BOSS")
        await scene.quiet(station)


# --- Changes that are seen late -------------------------------------------------------------------


async def test_badge_blocked_in_a_long_transaction_is_cleared_from_caches(
    settings: Settings, database: Database
) -> None:
    """Its change is committed after one that began later, and was seen earlier."""
    settings = replace(settings, local_list_entries_max=0, command_poll_s=0.1)
    async with (
        open_gate(settings, database) as gate,
        client_of(gate) as api,
        await db.connect(database) as connection,
        await db.connect(database) as slow,
    ):
        scene = Scene(gate, api, connection, datetime.now(UTC))
        await gate.add("CP1", protocol="ocpp1.6")
        await scene.badge("AA")
        await scene.badge("BB")
        async with gate.connect("CP1") as station:
            await booted(scene, station, "ocpp1.6")
            async with slow.transaction():
                await slow.execute("SELECT now()")  # it has begun
                await scene.badge("BB", status="blocked")
                assert await scene.work() == 1
                assert (await answer(scene, station, status="Accepted"))[2] == "ClearCache"
                await slow.execute("UPDATE token SET status = 'blocked' WHERE uid = 'AA'")
            scene.now += timedelta(hours=1)
            assert await scene.work(everything=True) == 1
            assert (await answer(scene, station, status="Accepted"))[2] == "ClearCache"


async def test_station_that_moves_gets_the_list_of_its_new_site(scene: Scene) -> None:
    for site in ("S1", "S2"):
        assert (await scene.api.post("/sites", json={"id": site})).is_success
    body = {"id": "CP1", "site_id": "S1", "protocol": "ocpp1.6"}
    assert (await scene.api.post("/stations", json=body)).is_success
    await scene.badge("AA", site_ids=["S1"])
    await scene.badge("BB", site_ids=["S2"])
    async with scene.gate.connect("CP1") as station:
        await booted(scene, station, "ocpp1.6")
        await scene.work()
        await answer(scene, station, listVersion=0)
        await scene.work()
        await answer(scene, station, status="Accepted")
        scene.now += timedelta(hours=1)
        await scene.quiet(station)
        # No badge has changed.
        assert (await scene.api.patch("/stations/CP1", json={"site_id": "S2"})).is_success
        assert await scene.work() == 1
        order = await answer(scene, station, status="Accepted")
        assert listed(order) == {"AA": None, "BB": "Accepted"}


# --- What a station takes -------------------------------------------------------------------------


@BOTH
async def test_list_is_as_long_as_the_station_takes(scene: Scene, protocol: str) -> None:
    scene.gate.settings = replace(scene.gate.settings, local_list_update_entries_max=100)
    await scene.gate.add("CP1", protocol=protocol)
    for number in range(12):
        await scene.badge(f"B{number:02}")
    async with scene.gate.connect("CP1", protocols=[protocol]) as station:
        await booted(scene, station, protocol)
        await scene.work()
        await answer(scene, station, **{version_key(protocol): 0})
        assert await scene.work() == 1
        if protocol == "ocpp1.6":
            keys = [
                {"key": "LocalAuthListMaxLength", "readonly": True, "value": "9"},
                {"key": "SendLocalListMaxLength", "readonly": True, "value": "5"},
            ]
            order = await answer(scene, station, configurationKey=keys)
            assert order[2] == "GetConfiguration"
        else:
            told = [
                {
                    "attributeStatus": "Accepted",
                    "attributeValue": value,
                    "component": {"name": "LocalAuthListCtrlr"},
                    "variable": {"name": name},
                }
                for name, value in (("ItemsPerMessage", "5"), ("BytesPerMessage", "600"))
            ]
            order = await answer(scene, station, getVariableResult=told)
            assert order[2] == "GetVariables"
        sent: list[str] = []
        while await scene.work():
            order = await answer(scene, station, status="Accepted")
            assert order[2] == "SendLocalList"
            found = listed(order)
            assert 1 <= len(found) <= 5
            if protocol != "ocpp1.6":
                assert len(json.dumps(order[3], separators=(",", ":"))) <= 600
            sent += found
        assert len(sent) == len(set(sent)) == (9 if protocol == "ocpp1.6" else 12)


async def test_station_that_never_takes_all_is_asked_ever_more_rarely(scene: Scene) -> None:
    await scene.gate.add("CP1", protocol="ocpp1.6")
    for uid in ("AA", "BB", "CC"):
        await scene.badge(uid)
    waited = []
    async with scene.gate.connect("CP1") as station:
        await booted(scene, station, "ocpp1.6")
        await scene.work()
        await answer(scene, station, listVersion=0)
        for _ in range(3):
            await scene.work()
            await answer(scene, station, status="Accepted")  # a first part
            await scene.work()
            await answer(scene, station, status="Failed")  # and no more
            await scene.work()
            ((next_at,),) = await scene.gate.rows("SELECT list_next_at FROM local_authorization")
            waited.append(round((next_at - scene.now) / timedelta(minutes=1)))
            scene.now = next_at
    assert waited == [1, 2, 4]


async def test_badges_are_listed_by_their_type(scene: Scene) -> None:
    await scene.gate.add("CP1", protocol="ocpp2.0.1")
    await scene.badge("FR*T2P*1", type="eMAID")
    async with scene.gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
        await booted(scene, station, "ocpp2.0.1")
        await scene.work()
        await answer(scene, station, versionNumber=0)
        await scene.work()
        order = await answer(scene, station, status="Accepted")
        (entry,) = order[3]["localAuthorizationList"]
        assert entry["idToken"] == {"idToken": "FR*T2P*1", "type": "eMAID"}
        await scene.badge("FR*T2P*1", type="ISO15693")
        await scene.work()
        order = await answer(scene, station, status="Accepted")
        types = [entry["idToken"]["type"] for entry in order[3]["localAuthorizationList"]]
        assert types == ["eMAID", "ISO15693"], "the former goes: to a station it is another badge"
        assert "idTokenInfo" not in order[3]["localAuthorizationList"][0]


# --- Badges of drivers ----------------------------------------------------------------------------


class Residents:
    """A driver with a badge in a group, over the API; the station CP1 is at the group's site."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.group_id = self.person_id = 0
        self.ahead = timedelta(0)  # of the clock; a cache is cleared once in ten minutes

    async def call(self, method: str, path: str, status: int, /, **body: Any) -> Any:
        answer = await self.scene.api.request(method, path, json=body or None)
        assert answer.status_code == status, answer.text
        self.scene.now = datetime.now(UTC) + self.ahead
        return answer.json() if answer.content else None

    async def settle(self, protocol: str) -> None:
        """The site, its station, the driver with her badge, and her group without access."""
        await self.call("POST", "/sites", 201, id="S1")
        await self.call("POST", "/stations", 201, id="CP1", site_id="S1", protocol=protocol)
        made = await self.call("POST", "/groups", 201, client_id=1, name="Residents")
        self.group_id = made["id"]
        email = "conducteur@example.org"
        made = await self.call("POST", "/drivers", 201, email=email, group_id=self.group_id)
        self.person_id = made["id"]
        await self.call("POST", f"/drivers/{self.person_id}/badges", 201, uid="AA")

    async def give_access(self, **window: Any) -> str:
        path = f"/groups/{self.group_id}/access"
        made = await self.call("POST", path, 201, site_id="S1", **window)
        return f"{path}/{made['id']}"


async def orders(scene: Scene, station: ClientConnection) -> dict[str, Any]:
    """What the next pass of the worker orders, answered: by action, a list as what it says. A
    station that is asked for the version of its list holds none."""
    found: dict[str, Any] = {}
    for _ in range(await scene.work(everything=True)):
        order = await ordered(station)
        asked = order[2] == "GetLocalListVersion"
        version = version_key(str(station.subprotocol))
        await reply(scene, station, order, {version: 0} if asked else {"status": "Accepted"})
        found[order[2]] = listed(order) if order[2] == "SendLocalList" else None
    return found


ASKED = {"GetLocalListVersion": None}


@BOTH
async def test_lists_follow_groups_and_access_of_drivers(scene: Scene, protocol: str) -> None:
    residents = Residents(scene)
    await residents.settle(protocol)
    await scene.badge("FREE")
    async with scene.gate.connect("CP1", protocols=[protocol]) as station:
        await booted(scene, station, protocol)
        assert await orders(scene, station) == ASKED
        told = {"SendLocalList": {"FREE": "Accepted"}}
        assert await orders(scene, station) == told, "she has no access here yet"
        await scene.quiet(station)
        access = await residents.give_access()
        assert await orders(scene, station) == {"SendLocalList": {"AA": "Accepted"}}
        await scene.quiet(station)
        # At some hours only: the station has to ask, and forgets what it remembers.
        await residents.call("DELETE", access, 204)
        await residents.give_access(**{"from": "08:00", "to": "18:00"})
        gone = {"SendLocalList": {"AA": None}, "ClearCache": None}
        assert await orders(scene, station) == gone
        await scene.quiet(station)
        await residents.give_access()
        assert await orders(scene, station) == {"SendLocalList": {"AA": "Accepted"}}
        # She leaves the group, and comes back.
        residents.ahead += timedelta(hours=1)
        member = f"/groups/{residents.group_id}/members"
        await residents.call("DELETE", f"{member}/{residents.person_id}", 204)
        assert await orders(scene, station) == gone
        await residents.call("POST", member, 201, person_id=residents.person_id)
        assert await orders(scene, station) == {"SendLocalList": {"AA": "Accepted"}}
        await scene.quiet(station)
        # The badge goes to somebody without access.
        residents.ahead += timedelta(hours=1)
        email = "other@example.org"
        other = await residents.call("POST", "/drivers", 201, email=email)
        await residents.call("POST", f"/drivers/{other['id']}/badges", 201, uid="AA")
        assert await orders(scene, station) == gone
        await scene.quiet(station)


@BOTH
async def test_lost_badge_and_blocked_driver_are_refused_by_lists_too(
    scene: Scene, protocol: str
) -> None:
    residents = Residents(scene)
    await residents.settle(protocol)
    await residents.give_access()
    badge = f"/drivers/{residents.person_id}/badges/AA"
    async with scene.gate.connect("CP1", protocols=[protocol]) as station:
        await booted(scene, station, protocol)
        assert await orders(scene, station) == ASKED
        assert await orders(scene, station) == {"SendLocalList": {"AA": "Accepted"}}
        refused = {"SendLocalList": {"AA": "Blocked"}, "ClearCache": None}
        await residents.call("PATCH", badge, 200, status="blocked", why="lost")
        assert await orders(scene, station) == refused
        await scene.quiet(station)
        await residents.call("PATCH", badge, 200, status="accepted")
        assert await orders(scene, station) == {"SendLocalList": {"AA": "Accepted"}}
        await scene.connection.execute("UPDATE person SET blocked_at = now()")
        await scene.connection.commit()
        scene.now += timedelta(hours=1)
        assert await orders(scene, station) == refused
        await scene.quiet(station)


SUSPENDED = """
WITH made AS (
    INSERT INTO contract (client_id, client_class, devis_reference, signed_on, starts_on,
                          term_months)
    VALUES (1, 'professionnel', 'D-1', '2026-01-01', '2026-01-15', 36) RETURNING id)
INSERT INTO contract_suspension (client_id, contract_id, received_on, reason, from_on)
    SELECT 1, id, '2026-01-20', 'works', '2026-02-01' FROM made
"""


@BOTH
async def test_caches_forget_everybody_when_a_contract_is_suspended_and_when_it_goes_on(
    scene: Scene, database: Database, protocol: str
) -> None:
    async def goes(statement: str) -> None:
        async with await db.connect(database, owner=True) as owner:
            await owner.execute(statement.encode())
        scene.now += timedelta(hours=1)

    await Residents(scene).settle(protocol)
    await scene.badge("FREE")
    async with scene.gate.connect("CP1", protocols=[protocol]) as station:
        await booted(scene, station, protocol)
        assert await orders(scene, station) == ASKED
        assert await orders(scene, station) == {"SendLocalList": {"FREE": "Accepted"}}
        await scene.quiet(station)
        await goes(SUSPENDED)
        refused = {"SendLocalList": {"FREE": "Blocked"}, "ClearCache": None}
        assert await orders(scene, station) == refused
        await scene.quiet(station)
        await goes("UPDATE contract_suspension SET until_on = '2026-02-02'")
        again = {"SendLocalList": {"FREE": "Accepted"}, "ClearCache": None}
        assert await orders(scene, station) == again
        await scene.quiet(station)
        await goes("UPDATE contract_suspension SET until_on = NULL")
        assert await orders(scene, station) == refused, "another time too"
        await scene.quiet(station)


async def test_membership_that_begins_or_ends_by_its_date_changes_lists(
    scene: Scene, database: Database
) -> None:
    """No row changes at that moment: the lists follow all the same."""
    residents = Residents(scene)
    await residents.settle("ocpp1.6")
    await residents.give_access()
    async with scene.gate.connect("CP1") as station:
        await booted(scene, station, "ocpp1.6")
        later = datetime.now(UTC) + timedelta(hours=1)
        member = f"/groups/{residents.group_id}/members"
        await residents.call("DELETE", f"{member}/{residents.person_id}", 204)
        body = {"person_id": residents.person_id, "from": later.isoformat()}
        await residents.call("POST", member, 201, **body)
        assert await orders(scene, station) == {**ASKED, "ClearCache": None}
        assert await orders(scene, station) == {}
        await scene.quiet(station)
        async with await db.connect(database, owner=True) as owner:  # time passes
            for statement in (
                "ALTER TABLE group_member DISABLE TRIGGER USER",
                "UPDATE group_member SET from_at = clock_timestamp() WHERE to_at IS NULL",
            ):
                await owner.execute(statement.encode())
        scene.now = datetime.now(UTC)
        assert await orders(scene, station) == {"SendLocalList": {"AA": "Accepted"}}
        await scene.quiet(station)
        async with await db.connect(database, owner=True) as owner:
            await owner.execute(
                "UPDATE group_member SET to_at = clock_timestamp() WHERE to_at IS NULL"
            )
        scene.now = datetime.now(UTC)
        assert await orders(scene, station) == {"SendLocalList": {"AA": None}}
        await scene.quiet(station)


async def test_list_says_until_when_a_member_may_charge(scene: Scene) -> None:
    residents = Residents(scene)
    await residents.settle("ocpp1.6")
    await residents.give_access()
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    path = f"/groups/{residents.group_id}/members/{residents.person_id}"
    answered = await scene.api.delete(path, params={"at": until.isoformat()})
    assert answered.status_code == 204
    async with scene.gate.connect("CP1") as station:
        await booted(scene, station, "ocpp1.6")
        assert await orders(scene, station) == ASKED
        assert await scene.work() == 1
        order = await answer(scene, station, status="Accepted")
        (entry,) = order[3]["localAuthorizationList"]
        assert datetime.fromisoformat(entry["idTagInfo"]["expiryDate"]) == until
