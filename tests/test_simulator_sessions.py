"""Sessions of the past: the reader, the shift by whole weeks, the generator, the script."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from simulators.model import OCPP16, OCPP201
from simulators.replay import plan_stations, script
from simulators.sessions import (
    LOCAL,
    Anomalies,
    ChargingRecord,
    SessionsFileError,
    anomalies,
    by_connector,
    read_csv,
    read_lines,
)
from simulators.shifting import (
    last_full_month,
    month_bounds,
    shift_to_month,
    shift_to_recent,
    shifted,
)
from simulators.synthetic import generate
from tests.simulator_peer import assert_valid

HEADER = (
    "session_ID;Garage_ID;User_ID;User_type;Shared_ID;Start_plugin;Start_plugin_hour;End_plugout;"
    "End_plugout_hour;El_kWh;Duration_hours;month_plugin;weekdays_plugin"
)
SMALL = f"""{HEADER}
1;G1;G1-1;Private;NA;21.12.2018 10:20;10;21.12.2018 10:23;10;0,3;0,05;Dec;Friday
2;G1;G1-2;Shared;Shared-1;21.12.2018 11:00;11;21.12.2018 15:00;15;12,34;4;Dec;Friday
3;G1;G1-3;Shared;Shared-1;21.12.2018 14:00;14;21.12.2018 18:00;18;5;4;Dec;Friday
4;G2;G1-1;Private;NA;22.12.2018 10:00;10;NA;NA;7,4;NA;Dec;Saturday
5;G2;G1-1;Private;NA;22.12.2018 10:30;10;22.12.2018 10:30;10;0,01;0;Dec;Saturday
6;G2;G1-1;Private;NA;22.12.2018 10:30;10;22.12.2018 12:30;12;3,5;2;Dec;Saturday
"""
DATA = Path(__file__).parents[2] / "shared" / "data" / "ev-sessions-trondheim.csv"


def small() -> list[ChargingRecord]:
    return list(read_lines(SMALL.splitlines()))


def record(start: datetime, end: datetime | None = None, energy_wh: int = 7400) -> ChargingRecord:
    return replace(small()[0], started_at=start, ended_at=end, energy_wh=energy_wh)


def local(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=LOCAL)  # type: ignore[misc,arg-type]


def test_rows_become_records_to_the_watt_hour() -> None:
    first, second = small()[:2]
    assert first.energy_wh == 300
    assert second.energy_wh == 12_340
    assert first.started_utc == datetime(2018, 12, 21, 9, 20, tzinfo=UTC)
    assert (first.station_id, first.site_id, first.badge) == ("TRD-G1-1", "TRD-G1", "TRD-G1-1")
    assert second.station_id == "TRD-Shared-1"


def test_a_private_user_in_another_garage_has_another_point_there() -> None:
    assert small()[3].station_id == "TRD-G2-G1-1"


def test_anomalies_are_counted() -> None:
    assert anomalies(small()) == Anomalies(no_plug_out=1, no_length=1, overlaps=1, shared_starts=1)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("0,3;", "0,3001;", "line 2: El_kWh '0,3001' is not a whole number of Wh"),
        ("0,3;", "-1;", "line 2: El_kWh '-1'"),
        ("0,3;", "much;", "line 2: El_kWh 'much' is not a number"),
        ("21.12.2018 10:20", "2018-12-21", "line 2: Start_plugin '2018-12-21'"),
        ("21.12.2018 10:20", "NA", "line 2: Start_plugin is missing"),
        ("21.12.2018 10:23", "20.12.2018 10:23", "line 2: End_plugout lies before"),
        ("1;G1;G1-1;Private", "1;G1;G1-1;Public", "line 2: User_type 'Public'"),
        ("El_kWh", "energy", "line 1: there is no column El_kWh"),
    ],
)
def test_what_cannot_be_read_is_named_by_line_and_column(old: str, new: str, told: str) -> None:
    text = SMALL.replace(old, new, 1)
    with pytest.raises(SessionsFileError, match=told.replace("(", r"\(")):
        list(read_lines(text.splitlines()))


# ---- shifting


def test_weekday_and_local_hour_stay() -> None:
    moved = shifted(record(local(2019, 12, 2, 18, 5), local(2019, 12, 3, 7, 5)), 30)
    assert moved.started_at == local(2020, 6, 29, 18, 5)
    assert moved.started_at.weekday() == 0
    assert moved.ended_utc is not None
    assert moved.ended_utc - moved.started_utc == timedelta(hours=13)


def test_the_elapsed_time_is_kept_over_the_night_of_the_autumn_clock_change() -> None:
    moved = shifted(record(local(2026, 10, 17, 22, 0), local(2026, 10, 18, 6, 0)), 1)
    assert moved.started_at == local(2026, 10, 24, 22, 0)
    assert moved.ended_utc == datetime(2026, 10, 25, 4, 0, tzinfo=UTC)  # 05:00 on the wall


def test_the_elapsed_time_is_kept_over_the_night_of_the_spring_clock_change() -> None:
    moved = shifted(record(local(2026, 3, 21, 22, 0), local(2026, 3, 22, 6, 0)), 1)
    assert moved.ended_utc == datetime(2026, 3, 29, 5, 0, tzinfo=UTC)  # 07:00 on the wall


def test_a_start_in_the_missing_hour_is_moved_forward_by_one() -> None:
    moved = shifted(record(local(2026, 3, 22, 2, 30), local(2026, 3, 22, 4, 0)), 1)
    assert moved.started_at == local(2026, 3, 29, 3, 30)
    assert moved.ended_utc == datetime(2026, 3, 29, 3, 0, tzinfo=UTC)


def test_a_start_in_the_hour_that_comes_twice_is_in_the_first() -> None:
    moved = shifted(record(local(2026, 10, 18, 2, 30), local(2026, 10, 18, 3, 30)), 1)
    assert moved.started_utc == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert moved.ended_utc == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_a_stay_over_the_autumn_change_may_end_in_the_second_equal_hour() -> None:
    row = "1;G;G-1;Private;NA;27.10.2019 02:50;2;27.10.2019 02:10;2;0,1;0,3;Oct;Sunday"
    (read,) = read_lines([HEADER, row])
    assert read.ended_utc is not None
    assert read.ended_utc - read.started_utc == timedelta(minutes=20)


def test_the_month_is_that_of_paris() -> None:
    assert month_bounds("2026-10") == (
        datetime(2026, 9, 30, 22, 0, tzinfo=UTC),
        datetime(2026, 10, 31, 23, 0, tzinfo=UTC),
    )
    assert last_full_month(datetime(2026, 10, 31, 23, 30, tzinfo=UTC)) == "2026-10"
    assert last_full_month(datetime(2026, 10, 31, 22, 30, tzinfo=UTC)) == "2026-09"
    assert last_full_month(datetime(2026, 1, 15, tzinfo=UTC)) == "2025-12"


def test_what_ends_in_the_month_is_chosen_and_the_rest_counted() -> None:
    """The last day of the records is 31 January 2020, a Friday; October 2026 ends on a Saturday."""
    last = record(local(2020, 1, 31, 20, 0), local(2020, 1, 31, 23, 0))
    records = [
        record(local(2019, 12, 25, 22, 0), local(2019, 12, 25, 23, 59)),  # 30 September
        record(local(2019, 12, 25, 22, 0), local(2019, 12, 26, 0, 0)),  # 1 October, 00:00
        record(local(2019, 12, 25, 23, 30)),  # an hour at the assumed power: 1 October, 00:30
        record(local(2020, 1, 25, 22, 0), local(2020, 1, 25, 23, 59)),  # 31 October
        record(local(2020, 1, 25, 23, 0), local(2020, 1, 26, 0, 0)),  # 1 November, 00:00
        last,
    ]
    chosen = shift_to_month(records, "2026-10")
    assert chosen.weeks == 353
    assert [r.started_at.date() for r in chosen.records] == [
        date(2026, 9, 30),
        date(2026, 9, 30),
        date(2026, 10, 31),
    ]
    assert chosen.left_out == 3


def test_recent_records_end_just_before_now() -> None:
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    moved = shift_to_recent(small(), now)
    latest = max(r.assumed_end_utc for r in moved.records)
    assert now - timedelta(weeks=1) < latest <= now
    assert moved.left_out == 0
    assert shift_to_recent([], now).records == []


# ---- the script of a replay


@pytest.mark.parametrize("protocol", [OCPP16, OCPP201])
def test_a_script_is_valid_in_time_order_and_tells_all_energy(protocol: str) -> None:
    for group in by_connector(small()):
        messages, told = script(group, protocol, 900)
        for message in messages:
            payload = dict(message.payload)
            if "transactionId" in payload:
                payload["transactionId"] = 1
            assert_valid(protocol, message.action, payload)
        told_wh = {id(each.session): 0 for each in told}
        for message in messages:
            key = id(message.session)
            assert message.energy_wh >= told_wh[key]
            told_wh[key] = message.energy_wh
        assert sorted(told_wh.values()) == sorted(each.record.energy_wh for each in told)


def test_without_plug_out_all_is_told_before_the_next_start_and_no_stop_follows() -> None:
    group = [r for r in small() if r.station_id == "TRD-G2-G1-1"]
    messages, _ = script(group, OCPP16, 900)
    assert [message.action for message in messages] == [
        "StartTransaction",
        "MeterValues",
        "MeterValues",
        "StartTransaction",
        "StopTransaction",
        "StartTransaction",
        *["MeterValues"] * 7,
        "StopTransaction",
    ]
    last_reading = messages[2].payload["meterValue"][0]
    assert last_reading["timestamp"] == "2018-12-22T09:30:00.000Z"
    assert last_reading["sampledValue"][0]["value"] == "7400"


def test_where_sessions_overlap_the_new_start_comes_before_the_old_stop() -> None:
    group = [r for r in small() if r.station_id == "TRD-Shared-1"]
    messages, told = script(group, OCPP16, 86_400)
    assert [(m.action, m.session is told[1].session) for m in messages] == [
        ("StartTransaction", False),
        ("StartTransaction", True),
        ("StopTransaction", False),
        ("StopTransaction", True),
    ]
    assert messages[1].payload["meterStart"] == messages[2].payload["meterStop"] == 12_340


def test_sessions_that_share_their_start_differ_by_their_register() -> None:
    group = [r for r in small() if r.number in (5, 6)]
    starts = [m.payload for m in script(group, OCPP16, 900)[0] if m.starts]
    assert starts[0]["timestamp"] == starts[1]["timestamp"]
    assert [start["meterStart"] for start in starts] == [0, 10]


def test_the_same_record_has_the_same_transaction_id_again() -> None:
    ids = [script(small()[:1], OCPP201, 900)[1][0].session.transaction_id for _ in range(2)]
    assert ids[0] == ids[1]
    assert script(small()[1:2], OCPP201, 900)[1][0].session.transaction_id != ids[0]


def test_half_of_the_stations_speak_each_version() -> None:
    plans = plan_stations(generate())
    assert {plan.protocol for plan in plans[::2]} == {OCPP16}
    assert {plan.protocol for plan in plans[1::2]} == {OCPP201}
    assert {plan.protocol for plan in plan_stations(generate(), OCPP201)} == {OCPP201}


# ---- the generator


def test_generated_sessions_have_the_shape_of_the_file() -> None:
    records = generate()
    assert records == generate()
    assert len({r.site_id for r in records}) == 24
    assert len({r.station_id for r in records}) == 69
    assert 80 <= len({r.badge for r in records}) <= 97
    assert 0.7 < sum(r.private for r in records) / len(records) < 0.88
    assert 1_000 < len(records) < 5_000
    mean_wh = sum(r.energy_wh for r in records) / len(records)
    assert 11_000 < mean_wh < 15_000
    found = anomalies(records)
    assert found.overlaps == 0
    assert found.no_plug_out and found.no_length
    assert all(len(r.badge) <= 20 for r in records)


def test_generated_sessions_of_many_seeds_never_overlap() -> None:
    for seed in range(5):
        for group in by_connector(generate(seed, days=60)):
            for before, after in pairwise(group):
                assert before.assumed_end_utc <= after.started_utc or (
                    before.started_utc == after.started_utc
                )


# ---- the real file


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is not beside the checkout")
def test_the_real_file_is_read_to_the_watt_hour() -> None:
    records = read_csv(DATA)
    assert len(records) == 6_878
    assert sum(r.energy_wh for r in records) == 87_493_280
    assert anomalies(records) == Anomalies(
        no_plug_out=34, no_length=17, overlaps=1, shared_starts=11
    )
    plans = plan_stations(records)
    assert len(plans) == 57 + 12
    assert len({plan.site_id for plan in plans}) == 24
    assert all(len(r.badge) <= 20 and len(r.station_id) <= 25 for r in records)


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the shared data folder is not beside the checkout")
@pytest.mark.parametrize("protocol", [OCPP16, OCPP201])
def test_the_script_of_the_real_file_tells_all_its_energy(protocol: str) -> None:
    energy_wh = 0
    for group in by_connector(read_csv(DATA)):
        messages, told = script(group, protocol, 86_400)
        last = {id(message.session): message.energy_wh for message in messages}
        energy_wh += sum(last.values())
        assert len(last) == len(told)
    assert energy_wh == 87_493_280
