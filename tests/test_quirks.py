"""Known faults of makes: whom a correction is for, and what it corrects."""

import pytest

from csms import db
from csms.config import Settings
from csms.db import Database
from csms.domain.quirks import CORRECTIONS, matches
from csms.store import lookup
from tests.recorder_node import as_owner, event, provision, query, reading, running_node

ADD = "INSERT INTO quirk (vendor, model, firmware, correction, decided_on, reason) VALUES "
SEEN = "'2022-05-25', 'seen on site'"
BOOT = {"chargePointVendor": "Acme", "chargePointModel": "W7", "firmwareVersion": "1.2.3"}


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        (None, None, True),
        (None, "anything", True),
        ("Acme", "ACME", True),
        ("acme", "Acme Ltd", False),
        ("acme*", "Acme Ltd", True),
        ("1.?", "1.2", True),
        ("1.?", "1.23", False),
        ("*", None, True),
        ("?", None, False),
        ("", None, True),
    ],
)
def test_a_pattern_fits_without_case(pattern: str | None, value: str | None, fits: bool) -> None:
    assert matches(pattern, value) is fits


def test_every_correction_is_explained() -> None:
    assert set(CORRECTIONS) == {"register_is_kwh", "register_is_wh", "naive_time_is_local"}
    assert all(CORRECTIONS.values())


@pytest.mark.parametrize(
    ("patterns", "energy_wh"),
    [
        ("'acme', 'w?', '1.2*'", 500_000),
        ("'acme', NULL, NULL", 500_000),
        ("NULL, NULL, NULL", 500_000),
        ("'acme', 'w8', NULL", 500),
        ("'acme', 'w7', '2*'", 500),
    ],
)
async def test_a_correction_applies_to_its_make_alone(
    database: Database, settings: Settings, patterns: str, energy_wh: int
) -> None:
    await provision(database, ["CP1"], ["A"])
    await as_owner(database, f"{ADD} ({patterns}, 'register_is_kwh', {SEEN})")
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        await station.call("BootNotification", BOOT)
        id = (await station.start("A", register_wh=1000))["transactionId"]
        await station.call("MeterValues", reading(1200, transactionId=id))
        await station.stop(id, register_wh=1500)
    assert await query(database, "SELECT energy_wh FROM session") == [(energy_wh,)]
    assert await query(database, "SELECT value FROM meter_value") == [(1200.0,)], "raw"


async def test_a_register_in_watt_hours_labelled_kilowatt_hours_is_divided(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    await as_owner(database, f"{ADD} ('acme', NULL, NULL, 'register_is_wh', {SEEN})")
    async with running_node(database, settings) as node:
        station = await node.station("CP1", "ocpp2.0.1")
        make = {"vendorName": "Acme", "model": "W7"}
        boot = {"reason": "PowerUp", "chargingStation": make}
        await station.call("BootNotification", boot)
        unit = {"unit": "kWh"}
        for seq_no, (kind, value) in enumerate((("Started", 7_000), ("Ended", 9_500))):
            told = event(kind, "t", seq_no, badge="A", register_wh=value)
            told["meterValue"][0]["sampledValue"][0]["unitOfMeasure"] = unit
            await station.call("TransactionEvent", told)
    assert await query(database, "SELECT energy_wh FROM session") == [(2500,)]
    assert await query(database, "SELECT value, unit FROM meter_value ORDER BY value") == [
        (7000.0, "kWh"),
        (9500.0, "kWh"),
    ]


async def test_a_quirk_decided_now_is_taken_by_the_running_recorder(
    database: Database, settings: Settings
) -> None:
    await provision(database, ["CP1"], ["A"])
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        await station.call("BootNotification", BOOT)
        await as_owner(database, f"{ADD} ('acme', NULL, NULL, 'register_is_kwh', {SEEN})")
        async with await db.connect(database) as connection:
            node.recorder.reconsider_quirks(await lookup.fetch_quirks(connection))
        station = await node.station("CP1")  # the gateway asks for it when it is told
        id = (await station.start("A", register_wh=1))["transactionId"]
        await station.stop(id, register_wh=3)
    assert await query(database, "SELECT energy_wh FROM session") == [(2000,)]


async def test_a_retired_quirk_corrects_nothing(database: Database, settings: Settings) -> None:
    await provision(database, ["CP1"], ["A"])
    await as_owner(
        database,
        f"{ADD} ('acme', NULL, NULL, 'register_is_kwh', {SEEN})",
        "UPDATE quirk SET retired_at = now()",
    )
    async with running_node(database, settings) as node:
        station = await node.station("CP1")
        await station.call("BootNotification", BOOT)
        id = (await station.start("A", register_wh=1))["transactionId"]
        await station.stop(id, register_wh=3)
    assert await query(database, "SELECT energy_wh FROM session") == [(2,)]
