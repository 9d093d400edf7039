"""Limits of power that people set, what comes of them, and the price that is told to stations."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.config import Settings
from csms.db import Database
from csms.domain.limits import LimitStep, PlannedPeriod, PowerLimit, exceeds, limit_w, steps
from csms.domain.session import Session
from csms.domain.station import Station
from csms.wire.power201 import VOLTAGE_V, limit_a
from tests.recorder_node import event, provision, running_node
from tests.scenarios.gate import Gate, open_gate
from tests.test_commands import boot_201, client_of, ordered

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def gate(settings: Settings, database: Database) -> AsyncIterator[Gate]:
    async with open_gate(settings, database) as gate:
        yield gate


@pytest.fixture
async def api(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gate) as client:
        yield client


@pytest.mark.parametrize(
    ("limits", "connector_w_max", "car_w_max", "expected"),
    [
        ([], None, None, None),
        ([], 22_000, None, 22_000),
        ([], 22_000, 7_400, 7_400),
        ([PowerLimit(None, 5_000, NOW - HOUR, None)], 22_000, 7_400, 5_000),
        ([PowerLimit(1, 5_000, NOW, NOW + HOUR)], 22_000, None, 5_000),
        ([PowerLimit(2, 5_000, NOW, NOW + HOUR)], 22_000, None, 22_000),
        ([PowerLimit(None, 5_000, NOW - HOUR, NOW)], 22_000, None, 22_000),
        ([PowerLimit(None, 5_000, NOW + HOUR, None)], None, None, None),
        ([PowerLimit(None, 0, NOW, None), PowerLimit(1, 5_000, NOW, None)], 22_000, None, 0),
    ],
)
def test_limit_is_the_lowest_of_what_is_in_force(
    limits: list[PowerLimit],
    connector_w_max: int | None,
    car_w_max: int | None,
    expected: int | None,
) -> None:
    found = limit_w(limits, 1, NOW, connector_w_max=connector_w_max, car_w_max=car_w_max)
    assert found == expected


def test_limits_that_begin_and_end_later_are_steps() -> None:
    limits = [
        PowerLimit(None, 5_000, NOW + HOUR, NOW + 3 * HOUR),
        PowerLimit(1, 4_000, NOW + 2 * HOUR, None),
        PowerLimit(2, 1, NOW + HOUR, None),  # of another EVSE
        PowerLimit(None, 9_000, NOW - HOUR, NOW + HOUR),
    ]

    def found(steps_max: int) -> list[tuple[float, int | None]]:
        told = steps(
            limits,
            1,
            NOW,
            lambda at: limit_w(limits, 1, at, connector_w_max=None, car_w_max=None),
            steps_max,
        )
        return [((step.from_at - NOW) / HOUR, step.limit_w) for step in told]

    assert found(9) == [(0, 9_000), (1, 5_000), (2, 4_000)]
    assert found(2) == [(0, 9_000), (1, 4_000)]
    assert found(1) == found(0) == [(0, 4_000)]
    limits[:] = [PowerLimit(None, 5_000, NOW + HOUR, NOW + 3 * HOUR)]
    assert found(9) == [(0, None), (1, 5_000), (3, None)]


@pytest.mark.parametrize(
    ("plan", "begins_at", "duration_s", "expected"),
    [
        ([(0, 9_000)], NOW, 3600, False),
        ([(0, 9_000)], NOW, None, True),  # it goes on, and from one o'clock on that is too much
        ([(0, 9_000)], NOW, 3601, True),
        ([(0, 9_000), (3600, 5_000)], NOW, None, False),
        ([(0, 9_000), (3601, 5_000)], NOW, None, True),
        ([(0, 20_000), (60, 9_000)], NOW - timedelta(minutes=1), 3600, False),  # what was, was
        ([(0, 0), (30, 9_001), (40, 0)], NOW, None, True),
        ([], NOW, None, False),
    ],
)
def test_plan_is_held_to_the_limits_of_its_time(
    plan: list[tuple[float, float]], begins_at: datetime, duration_s: float | None, expected: bool
) -> None:
    allowed = [LimitStep(NOW, 9_000), LimitStep(NOW + HOUR, 5_000)]
    periods = [PlannedPeriod(*period) for period in plan]
    assert exceeds(periods, begins_at, duration_s, allowed) == expected
    assert not exceeds(periods, begins_at, duration_s, [])


@given(st.integers(0, 500_000), st.sampled_from([1, 2, 3]))
def test_amperes_never_give_more_than_the_watts_and_none_below_six(
    power_w: int, phases: int
) -> None:
    current_a = limit_a(power_w, phases)
    assert current_a == 0 or current_a >= 6
    assert round(current_a * 10) * VOLTAGE_V * phases <= power_w * 10
    if current_a == 0:
        assert power_w < 6 * VOLTAGE_V * phases


async def test_limits_of_a_site_are_shared_so_that_the_sum_never_exceeds_them(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    assert (await api.post("/sites", json={"id": "S1"})).is_success
    for name in ("CP1", "CP2"):
        evses = [{"evse_id": number, "power_w_max": 22_000} for number in (1, 2)]
        body = {"id": name, "site_id": "S1", "evses": evses, "protocol": "ocpp2.0.1"}
        assert (await api.post("/stations", json=body)).is_success
    async with gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
        await boot_201(station)
        assert await asked_for(station, 1) == 95.6  # 22 kW on one phase
        limit = (await api.post("/power-limits", json={"site_id": "S1", "limit_w": 12_000})).json()
        assert await asked_for(station, 2) == 13.0  # a quarter: 3,000 W
        answer = await api.patch(f"/power-limits/{limit['id']}", json={"limit_w": 4_000})
        assert answer.json()["limit_w"] == 4_000
        assert await asked_for(station, 3) == 0  # 1,000 W are less than 6 A
        assert (await api.delete(f"/power-limits/{limit['id']}")).status_code == 204
        assert await asked_for(station, 4) == 95.6
    assert (await api.get("/power-limits")).json()["total"] == 0


async def test_shares_shrink_when_the_site_grows(gate: Gate, api: httpx.AsyncClient) -> None:
    assert (await api.post("/sites", json={"id": "S1"})).is_success
    assert (await api.post("/power-limits", json={"site_id": "S1", "limit_w": 12_000})).is_success
    body: dict[str, Any] = {"id": "CP1", "site_id": "S1", "evses": [{"evse_id": 1}]}
    assert (await api.post("/stations", json=body)).is_success
    async with gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
        await boot_201(station)
        assert await asked_for(station, 1) == 52.1  # 12 kW on one phase
        # Another station, of which nothing is known: it has an EVSE at least.
        assert (await api.post("/stations", json={"id": "CP2", "site_id": "S1"})).is_success
        assert await asked_for(station, 2) == 26.0
        # An EVSE that its station tells of.
        status = {
            "timestamp": datetime.now(UTC).isoformat(),
            "connectorStatus": "Available",
            "evseId": 2,
            "connectorId": 1,
        }
        await station.send(json.dumps([2, "s1", "StatusNotification", status]))
        assert await ordered(station) == [3, "s1", {}]
        assert await asked_for(station, 3) == 17.3


async def test_bound_is_that_of_the_connector_in_use_and_of_its_evse(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    connectors = [{"connector_id": 1, "power_w_max": 4_000}, {"connector_id": 2}]
    evse: dict[str, Any] = {"evse_id": 1, "power_w_max": 7_000, "connectors": connectors}
    assert (await api.post("/stations", json={"id": "CP1", "evses": [evse]})).is_success
    async with gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
        await boot_201(station)
        assert await asked_for(station, 1) == 17.3  # 4 kW
        connectors[0]["power_w_max"] = 22_000
        assert (await api.patch("/stations/CP1", json={"evses": [evse]})).is_success
        assert await asked_for(station, 2) == 30.4  # of the EVSE: 7 kW
        del evse["power_w_max"], connectors[0]["power_w_max"]
        assert (await api.patch("/stations/CP1", json={"evses": [evse]})).is_success
        assert await asked_for(station, 3) == 500.0  # what the car takes


async def test_limit_that_begins_later_is_in_the_profile_already(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    await gate.add("CP1", protocol="ocpp2.0.1")
    from_at = datetime.now(UTC) + HOUR
    limit = {
        "station_id": "CP1",
        "limit_w": 4_600,
        "from_at": from_at.isoformat(),
        "to_at": (from_at + HOUR).isoformat(),
    }
    assert (await api.post("/power-limits", json=limit)).is_success
    async with gate.connect("CP1", protocols=["ocpp2.0.1"]) as station:
        await boot_201(station)
        schedule = await schedule_for(station, 1)
        first, lower, higher = schedule["chargingSchedulePeriod"]
        assert (first["startPeriod"], first["limit"]) == (0, 500.0)
        assert (lower["limit"], higher["limit"]) == (20.0, 500.0)
        begins_at = datetime.fromisoformat(schedule["startSchedule"])
        after = timedelta(seconds=1)
        assert from_at - after <= begins_at + timedelta(seconds=lower["startPeriod"]) <= from_at
        ends_at = begins_at + timedelta(seconds=higher["startPeriod"])
        assert from_at + HOUR - after / 500 <= ends_at <= from_at + HOUR + after
        for amperes, expected in ((20, "Accepted"), (21, "Rejected")):
            plan = {
                "evseId": 1,
                "timeBase": begins_at.isoformat(),
                "chargingSchedule": {
                    "id": 1,
                    "chargingRateUnit": "A",
                    "duration": 7200,
                    "chargingSchedulePeriod": [
                        {"startPeriod": 0, "limit": 32, "numberPhases": 1},
                        {"startPeriod": 3500, "limit": amperes, "numberPhases": 1},
                    ],
                },
            }
            frame = [2, f"p{amperes}", "NotifyEVChargingSchedule", plan]
            await station.send(json.dumps(frame))
            assert (await ordered(station))[2] == {"status": expected}


async def asked_for(station: Any, number: int) -> float:
    """What the profile grants now that a car's needs are answered with."""
    granted: float = (await schedule_for(station, number))["chargingSchedulePeriod"][0]["limit"]
    return granted


async def schedule_for(station: Any, number: int) -> dict[str, Any]:
    """The schedule of the profile that a car's needs are answered with."""
    started = {
        "eventType": "Started" if number == 1 else "Updated",
        "timestamp": datetime.now(UTC).isoformat(),
        "triggerReason": "CablePluggedIn",
        "seqNo": number,
        "transactionInfo": {"transactionId": "t1"},
        "evse": {"id": 1, "connectorId": 1},
    }
    needs = {
        "requestedEnergyTransfer": "AC_single_phase",
        "acChargingParameters": {
            "energyAmount": 1,
            "evMinCurrent": 6,
            "evMaxCurrent": 500,
            "evMaxVoltage": 230,
        },
    }
    await station.send(json.dumps([2, f"t{number}", "TransactionEvent", started]))
    assert (await ordered(station))[0] == 3
    payload = {"evseId": 1, "chargingNeeds": needs}
    await station.send(json.dumps([2, f"n{number}", "NotifyEVChargingNeeds", payload]))
    assert (await ordered(station))[2] == {"status": "Accepted"}
    order = await ordered(station)
    await station.send(json.dumps([3, order[1], {"status": "Accepted"}]))
    schedule: dict[str, Any]
    (schedule,) = order[3]["chargingProfile"]["chargingSchedule"]
    return schedule


async def test_limit_that_makes_no_sense_is_refused_with_the_reason(
    gate: Gate, api: httpx.AsyncClient
) -> None:
    await gate.add("CP1")
    for body, status, words in (
        ({"limit_w": 1}, 422, "one of the two"),
        ({"limit_w": 1, "site_id": "S", "station_id": "CP1"}, 422, "one of the two"),
        ({"limit_w": -1, "station_id": "CP1"}, 422, "greater than or equal to 0"),
        ({"limit_w": 1, "site_id": "S", "evse_id": 1}, 422, "belongs to a station"),
        ({"limit_w": 1, "site_id": "NOWHERE"}, 404, "no site NOWHERE"),
        ({"limit_w": 1, "station_id": "CP9"}, 404, "no station CP9"),
        (
            {"limit_w": 1, "station_id": "CP1", "to_at": "2020-01-01T00:00:00Z"},
            422,
            "before it begins",
        ),
    ):
        answer = await api.post("/power-limits", json=body)
        assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert (await api.patch("/power-limits/1", json={"limit_w": 1})).status_code == 404
    assert (await api.delete("/power-limits/1")).status_code == 404


async def test_price_so_far_is_told_where_there_is_a_tariff(
    database: Database, settings: Settings
) -> None:
    def price(station: Station, session: Session, told: object, now: datetime) -> Decimal | None:
        return None if session.energy_wh is None else session.energy_wh * Decimal("0.00025")

    await provision(database, ["CP1"])
    async with running_node(database, settings) as node:
        station = await node.station("CP1", "ocpp2.0.1")
        node.recorder.intake.cost_of = price
        await station.call("TransactionEvent", event("Started", "t1", 0, register_wh=1000))
        running = await station.call(
            "TransactionEvent", event("Updated", "t1", 1, register_wh=1410)
        )
        assert running == {"totalCost": 0.1}  # 0.1025, half up
        told = event("Ended", "t1", 2, register_wh=3020)
        final = await asyncio.wait_for(station.send("TransactionEvent", told, message_id="m"), 30)
        assert final[2] == {"totalCost": 0.51}
        again = await asyncio.wait_for(station.send("TransactionEvent", told, message_id="m"), 30)
        assert again == final
