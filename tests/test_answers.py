"""What stations answer to orders, however wrong: taken as far as it makes sense, put on record,
never answered, and felt by nobody else (promise 8)."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx
import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

from csms import db
from csms.commands import OPERATOR
from csms.config import Settings
from csms.db import Database
from csms.wire import orders
from tests.scenarios.gate import Gate, boot, heartbeat, open_gate
from tests.test_commands import RESET, client_of, ordered, place, until
from tests.test_fuzz import Arena, Peer, complaints

__all__ = ["complaints"]

ACCEPTING = {"Accepted", "AcceptedCanceled", "RebootRequired", "Scheduled", "Unlocked"}
ACCEPTING |= {"Unpublished"}
DEPTH_MAX = 64
DEEP = "[" * (DEPTH_MAX + 8) + "]" * (DEPTH_MAX + 8)
TOO_LARGE = ("1e999", "-1e999", "9" * 5_000)

Complaints = list[Any]


@pytest.fixture
async def gate(settings: Settings, database: Database) -> AsyncIterator[Gate]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("csms.observations.PERIOD_S", 0.05)
        async with open_gate(replace(settings, command_poll_s=0.1), database) as gate:
            yield gate


@pytest.fixture
async def api(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gate) as client:
        yield client


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        ('{"status":[]}', "rejected", None),
        ('{"status":{"word":"Accepted"}}', "rejected", None),
        ('{"status":true}', "rejected", None),
        ('{"status":null}', "accepted", None),
        ('{"status":"' + "x" * 400_000 + '"}', "rejected", None),
        ('"Accepted"', "accepted", None),
        ("null", "accepted", None),
        ('{"status":1e999}', "failed", "BadAnswer"),
        ('{"status":' + "9" * 5_000 + "}", "failed", "BadAnswer"),
        ('{"status":"Accepted","more":' + DEEP + "}", "failed", "BadAnswer"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_answer_that_departs_is_on_record_and_ends_its_order_only(
    gate: Gate, api: httpx.AsyncClient, answer: str, status: str, code: str | None
) -> None:
    await gate.add("CP1", protocol="ocpp1.6")
    async with gate.connect("CP1") as station:
        await boot(station)
        placed = (await place(api, "CP1", RESET | {"wait_s": 0})).json()
        order = await ordered(station)
        await station.send(f'[3,"{order[1]}",{answer}]')
        told = await until(api, placed["command_id"], status)
        assert (told["error"] or {}).get("code") == code
        await heartbeat(station)  # and nothing came in answer to the answer
        await gate.eventually(
            [("answer_departs", "Reset")],
            "SELECT kind, subject FROM deviation WHERE kind LIKE 'answer%%'",
        )
        asked = asyncio.create_task(place(api, "CP1", RESET))
        order = await ordered(station)
        await station.send(f'[3,"{order[1]}",{{"status":"Accepted"}}]')
        assert (await asked).json()["status"] == "accepted"


@pytest.mark.parametrize("answer", ["[]", "7", "null", '"Accepted"'])
async def test_answer_that_is_no_object_departs_also_where_nothing_is_required(
    gate: Gate, api: httpx.AsyncClient, answer: str
) -> None:
    await gate.add("CP1", protocol="ocpp1.6")
    async with gate.connect("CP1") as station:
        await boot(station)
        body = {"action": "GetConfiguration", "payload": {}, "wait_s": 0}
        placed = (await place(api, "CP1", body)).json()
        order = await ordered(station)
        await station.send(f'[3,"{order[1]}",{answer}]')
        await until(api, placed["command_id"], "accepted")
        await gate.eventually(
            [("answer_departs", "GetConfiguration")], "SELECT kind, subject FROM deviation"
        )


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ('[4,"{id}"]', "GenericError"),
        ('[4,"{id}","InternalError"]', "InternalError"),
        ('[4,"{id}",{"a":1},["b"],7]', "{'a': 1}"),
        ('[4,"{id}","InternalError","","\\u0000"]', "InternalError"),
        ('[4,"{id}","InternalError","",{"x":1e999}]', "BadAnswer"),
        ('[4,"{id}","InternalError","",DEEP]', "BadAnswer"),
    ],
)
async def test_error_with_odd_members_fails_its_order_only(
    gate: Gate, api: httpx.AsyncClient, answer: str, code: str
) -> None:
    await gate.add("CP1", protocol="ocpp1.6")
    async with gate.connect("CP1") as station:
        await boot(station)
        placed = (await place(api, "CP1", RESET | {"wait_s": 0})).json()
        order = await ordered(station)
        await station.send(answer.replace("{id}", order[1]).replace("DEEP", DEEP))
        told = await until(api, placed["command_id"], "failed")
        assert told["error"]["code"] == code
        await heartbeat(station)


@pytest.mark.parametrize(
    "answer",
    [
        '[3,"{id}",{"status":[]}]',
        '[3,"{id}",{"status":1e999}]',
        '[3,"{id}",DEEP]',
        '[4,"{id}","InternalError","",{"x":1e999}]',
        '[4,"{id}","InternalError","",DEEP]',
    ],
)
async def test_bad_answer_that_comes_late_is_felt_by_nobody(
    settings: Settings, database: Database, answer: str
) -> None:
    settings = replace(settings, command_poll_s=0.1, call_timeout_s=0.2)
    async with open_gate(settings, database) as gate, client_of(gate) as api:
        await gate.add("CP1", protocol="ocpp1.6")
        async with gate.connect("CP1") as station:
            await boot(station)
            placed = (await place(api, "CP1", RESET | {"wait_s": 0})).json()
            order = await ordered(station)
            await until(api, placed["command_id"], "failed")
            await station.send(answer.replace("{id}", order[1]).replace("DEEP", DEEP))
            await until(api, placed["command_id"], "failed", late=True)
            await heartbeat(station)


async def test_answer_beyond_the_largest_frame_ends_the_connection_and_the_order(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    await gate.add("CP1", protocol="ocpp1.6")
    async with gate.connect("CP1") as station:
        await boot(station)
        placed = (await place(api, "CP1", RESET | {"wait_s": 0})).json()
        order = await ordered(station)
        huge = "x" * gate.settings.frame_bytes_max
        await station.send(f'[3,"{order[1]}",{{"status":"{huge}"}}]')
        told = await until(api, placed["command_id"], "failed")
        assert told["error"]["code"] == "NoAnswer"
    async with gate.connect("CP1") as station:
        await boot(station)
        await heartbeat(station)


@pytest.mark.parametrize(
    "payload",
    [
        '{"transactionId":"t","totalCost":NaN}',
        '{"transactionId":"t","totalCost":Infinity}',
        '{"transactionId":"t","totalCost":1e999}',
        '{"transactionId":"\\ud800","totalCost":1}',
    ],
)
async def test_what_is_no_json_is_not_sent(
    gate: Gate, api: httpx.AsyncClient, payload: str
) -> None:
    await gate.add("CP1", protocol="ocpp2.0.1")
    answer = await api.post(
        "/stations/CP1/commands",
        content='{"action":"CostUpdated","wait_s":0,"payload":' + payload + "}",
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422, answer.text
    assert (await api.get("/commands")).json()["total"] == 0


@pytest.mark.parametrize("limit", [1e300, float("inf"), float("nan"), 10**60 + 0.05])
def test_limit_of_any_size_is_held_to_the_schema(limit: float) -> None:
    period = {"startPeriod": 0, "limit": limit}
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [period]}
    answer = {"status": "Accepted", "chargingSchedule": schedule}
    fault = orders.fault_of_answer("ocpp1.6", "GetCompositeSchedule", answer)
    assert (fault is None) == (limit in (1e300, 10**60 + 0.05))


# --- Mutated answers ------------------------------------------------------------------------------


class Asked(NamedTuple):
    """An order, and the members of a good answer as JSON texts."""

    action: str
    payload: dict[str, Any]
    answer: dict[str, str]


NAME = {"component": {"name": "C"}, "variable": {"name": "V"}}
PERIODS = '{"chargingRateUnit":"A","chargingSchedulePeriod":[{"startPeriod":0,"limit":HOLE}]}'
RESULT = '[{"attributeStatus":HOLE,"component":{"name":"C"},"variable":{"name":"V"}}]'
ASKED = {
    "ocpp1.6": [
        Asked("Reset", {"type": "Soft"}, {"status": '"Accepted"'}),
        Asked("ChangeConfiguration", {"key": "K", "value": "1"}, {"status": '"RebootRequired"'}),
        Asked("ChangeConfiguration", {"key": "SecurityProfile", "value": "1"}, {"status": "HOLE"}),
        Asked("GetConfiguration", {}, {"configurationKey": '[{"key":"K","value":HOLE}]'}),
        Asked("GetLocalListVersion", {}, {"listVersion": "HOLE"}),
        Asked(
            "GetCompositeSchedule",
            {"connectorId": 1, "duration": 60},
            {"status": '"Accepted"', "chargingSchedule": PERIODS},
        ),
        Asked("UnlockConnector", {"connectorId": 1}, {"status": '"UnlockFailed"'}),
    ],
    "ocpp2.0.1": [
        Asked("GetVariables", {"getVariableData": [NAME]}, {"getVariableResult": RESULT}),
        Asked(
            "SetVariables",
            {"setVariableData": [NAME | {"attributeValue": "1"}]},
            {"setVariableResult": RESULT},
        ),
        Asked("GetReport", {"requestId": 1, "componentVariable": [NAME]}, {"status": '"Accepted"'}),
        Asked("CostUpdated", {"totalCost": 1.5, "transactionId": "t"}, {}),
        Asked("GetTransactionStatus", {}, {"messagesInQueue": "HOLE"}),
        Asked(
            "UnlockConnector",
            {"evseId": 1, "connectorId": 1},
            {"status": '"Unlocked"', "statusInfo": '{"reasonCode":HOLE}'},
        ),
    ],
}

_plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(["Accepted", "Rejected", "\0", "NotSupported"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text("abc\0", max_size=3) | st.sampled_from(["status", "component"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)
junk = _plain.map(json.dumps) | st.sampled_from([*TOO_LARGE, DEEP, "9" * 400, "1e300", "-0", "1E5"])


@st.composite
def answers(draw: st.DrawFn, asked: Asked) -> str:
    """The rest of an answer frame, behind its id: mostly good, in parts spoilt."""
    if draw(st.integers(0, 7)) == 0:
        return "4" + "".join("," + part for part in draw(st.lists(junk, max_size=4)))
    if draw(st.integers(0, 7)) == 0:
        return "3," + draw(junk)
    members = {name: text.replace("HOLE", draw(junk)) for name, text in asked.answer.items()}
    for name in draw(st.sets(st.sampled_from([*members, "status", "more"]), max_size=2)):
        if draw(st.booleans()):
            members[name] = draw(junk)
        else:
            members.pop(name, None)
    return "3,{" + ",".join(f"{json.dumps(n)}:{text}" for n, text in members.items()) + "}"


def due(rest: str) -> tuple[str, str | None]:
    """(status, code of the error) that the order has to end with."""
    try:
        kind, *members = json.loads(f"[{rest}]", parse_float=_bounded)
    except (OverflowError, ValueError):
        return "failed", "BadAnswer"
    if depth_of(members) - 1 > DEPTH_MAX:
        return "failed", "BadAnswer"
    if kind == 4:
        return "failed", str(members[0]) if members else "GenericError"
    status = members[0].get("status") if isinstance(members[0], dict) else None
    accepted = status is None or (isinstance(status, str) and status in ACCEPTING)
    return ("accepted" if accepted else "rejected"), None


def _bounded(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise OverflowError(text)
    return value


def depth_of(value: Any) -> int:
    """How many lists and objects stand around the innermost value."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


BATCH = 20
BATCHES = 12


@pytest.mark.timeout(300)
def test_any_answer_ends_its_order_as_it_says_and_nobody_else_notices(
    settings: Settings, database: Database, complaints: Complaints
) -> None:
    with Arena(replace(settings, command_poll_s=0.1), database).open() as arena:
        peers = [arena.do(_booted(arena, protocol)) for protocol in ASKED]

        @hypothesis.settings(
            max_examples=BATCHES,
            deadline=None,
            derandomize=bool(os.environ.get("CI")),
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def storm(data: st.DataObject) -> None:
            plays = []
            for peer in peers:
                asked = data.draw(
                    st.lists(st.sampled_from(ASKED[peer.protocol]), min_size=BATCH, max_size=BATCH)
                )
                plays.append((peer, [(each, data.draw(answers(each))) for each in asked]))
            arena.do(_play_all(arena, plays))
            assert not complaints, complaints[0].getMessage()

        storm()
    assert arena.tweets > 0


async def _booted(arena: Arena, protocol: str) -> Peer:
    peer = await arena.peer(f"ANSWERS-{protocol}", protocol)
    station: dict[str, Any] = {"chargePointVendor": "V", "chargePointModel": "M"}
    if protocol != "ocpp1.6":
        station = {"reason": "PowerUp", "chargingStation": {"vendorName": "V", "model": "M"}}
    await peer.socket.send(json.dumps([2, "boot", "BootNotification", station]))
    assert json.loads(await peer.socket.recv())[0] == 3
    return peer


async def _play_all(arena: Arena, plays: list[tuple[Peer, list[tuple[Asked, str]]]]) -> None:
    await asyncio.gather(*(_play(arena, *play) for play in plays))


async def _play(arena: Arena, peer: Peer, told: list[tuple[Asked, str]]) -> None:
    """Order all of it, answer each as drawn, and see what became of it."""
    async with await db.connect(arena.database) as connection:
        ids = [
            await orders.place(
                connection,
                peer.identity,
                asked.action,
                asked.payload,
                origin=OPERATOR,
                now=datetime.now(UTC),
                expires_in_s=3600,
                settings=arena.settings,
            )
            for asked, _ in told
        ]
        for asked, rest in told:
            async with asyncio.timeout(20):
                order = json.loads(await peer.socket.recv())
            assert order[2:] == [asked.action, asked.payload], order
            kind, _, parts = rest.partition(",")
            await peer.socket.send(f'[{kind},"{order[1]}"{"," + parts if parts else ""}]')
        assert await peer.play([], f"fence-{next(arena.numbers)}") == []
        for command_id, (asked, rest) in zip(ids, told, strict=True):
            became = await _outcome(connection, command_id)
            assert became == due(rest), f"{asked.action}: {rest[:300]}"


async def _outcome(connection: Any, command_id: int) -> tuple[str, str | None]:
    async with asyncio.timeout(20):
        while True:
            cursor = await connection.execute(
                "SELECT status, error FROM command WHERE id = %s", [command_id]
            )
            status, error = await cursor.fetchone()
            if status not in ("queued", "sent"):
                return status, json.loads(error)["code"] if error else None
            await asyncio.sleep(0.01)
