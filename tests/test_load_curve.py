"""Mean power by quarter of an hour: no energy lost or made, compared with what is subscribed."""

from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from reporting.load_curve import (
    QUARTER,
    Register,
    above_subscribed,
    energy_mwh_by_quarter,
    mean_power_w,
)

START = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)
TIMES = st.integers(0, 2 * 10**10).map(lambda us: START + timedelta(microseconds=us))
REGISTERS = st.lists(st.builds(Register, TIMES, st.integers(0, 50_000)), min_size=2, max_size=9)


@given(REGISTERS, st.randoms(use_true_random=False))
def test_the_quarters_add_up_in_any_order(registers: list[Register], random: Random) -> None:
    found = list(energy_mwh_by_quarter(registers))
    in_order = sorted(registers, key=lambda register: (register.at, register.energy_wh))
    rise_wh = max(register.energy_wh for register in registers) - in_order[0].energy_wh
    assert sum(energy for _, energy in found) == rise_wh * 1000
    assert all(energy >= 0 for _, energy in found)
    assert all(quarter.minute % 15 == quarter.second == 0 for quarter, _ in found)
    assert list(energy_mwh_by_quarter(random.sample(registers, len(registers)))) == found


def test_a_session_without_values_is_spread_evenly() -> None:
    ends = [
        Register(START + timedelta(minutes=10), 100),
        Register(START + timedelta(minutes=40), 6100),
    ]
    powers = [mean_power_w(energy) for _, energy in energy_mwh_by_quarter(ends)]
    assert powers == [4000, 12_000, 8000]


def test_values_say_when_the_energy_flowed() -> None:
    values = [
        Register(START, 0),
        Register(START + QUARTER, 1750),
        Register(START + QUARTER * 3, 1750),
    ]
    assert [mean_power_w(energy) for _, energy in energy_mwh_by_quarter(values)] == [7000, 0, 0]


def test_a_register_that_falls_is_passed_over() -> None:
    values = [
        Register(START, 500),
        Register(START + timedelta(minutes=5), 0),
        Register(START + QUARTER, 1500),
    ]
    assert list(energy_mwh_by_quarter(values)) == [(START, 1_000_000)]


def test_the_clock_change_moves_no_quarter() -> None:
    paris = ZoneInfo("Europe/Paris")
    ends = [
        Register(datetime(2026, 3, 29, 1, 30, tzinfo=paris), 0),
        Register(datetime(2026, 3, 29, 3, 30, tzinfo=paris), 4000),
    ]
    found = list(energy_mwh_by_quarter(ends))
    assert [quarter for quarter, _ in found] == [START + QUARTER * n for n in range(2, 6)]
    assert {mean_power_w(energy) for _, energy in found} == {4000}


def test_only_what_passes_the_subscribed_power_is_an_excess() -> None:
    quarters = {START + QUARTER: 9_000_001, START: 9_250_000, START + QUARTER * 2: 9_000_000}
    assert above_subscribed(quarters, 36_000) == [(START, 1000), (START + QUARTER, 0)]
