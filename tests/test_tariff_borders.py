"""Where a price changes: hours, midnights, clock-change nights, amounts, durations, loads."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from billing.tariff import (
    Component,
    Dimension,
    Element,
    Price,
    Reading,
    Restrictions,
    Tariff,
    Usage,
    price,
    price_so_far,
)
from tests.test_tariff import PARIS, VAT, charge, charging, energy, flat, included, parking

NIGHT = Restrictions(start_minute=22 * 60, end_minute=6 * 60)
PEAK_AND_NIGHT = included(Element((energy("0.20"),), NIGHT), Element((energy("0.35"),)))
NIGHT_TIME = included(Element((charging("1"),), NIGHT))


def local(day: str, clock: str, fold: int = 0) -> datetime:
    """A moment by the clock in Paris, as aware UTC."""
    naive = datetime.fromisoformat(f"{day}T{clock}")
    return naive.replace(tzinfo=PARIS, fold=fold).astimezone(UTC)


def use(
    tariff: Tariff,
    start: datetime,
    end: datetime,
    wh: int,
    readings: dict[datetime, int] | None = None,
) -> Price:
    told = [Reading(at, energy_wh) for at, energy_wh in (readings or {}).items()]
    return price(Usage(start, end, wh), told, tariff, zone=PARIS, vat_percent=VAT)


def energies(found: Price) -> list[int]:
    return [line.energy_wh for line in found.lines if line.dimension is Dimension.ENERGY]


def hours(restrictions: Restrictions, start: datetime, end: datetime) -> float:
    """How long a price per hour holds in a session."""
    found = use(included(Element((charging("1"),), restrictions)), start, end, 1000)
    return sum(line.quantity for line in found.lines) / 3600


# Hours and midnights


def test_energy_is_split_at_the_border_by_the_readings_around_it() -> None:
    found = use(
        PEAK_AND_NIGHT,
        local("2026-11-16", "20:00"),
        local("2026-11-17", "00:00"),
        10_000,
        {local("2026-11-16", "21:45"): 7_000, local("2026-11-16", "22:15"): 8_000},
    )

    assert [(line.unit_price_eur, line.energy_wh) for line in found.lines] == [
        (Decimal("0.35"), 7_500),
        (Decimal("0.20"), 2_500),
    ]
    assert [line.amount_incl_cents for line in found.lines] == [263, 50]
    assert not found.estimated


def test_without_readings_time_shares_the_energy_and_the_lines_say_so() -> None:
    found = use(PEAK_AND_NIGHT, local("2026-11-16", "21:00"), local("2026-11-17", "00:00"), 10_000)

    assert energies(found) == [3_333, 6_667]
    assert [line.estimated for line in found.lines] == [True, True]
    assert found.estimated


def test_the_largest_remainder_gets_the_odd_wh() -> None:
    """7 Wh in ten hours, of which eight are cheap: 1.4 and 5.6."""
    found = use(PEAK_AND_NIGHT, local("2026-11-16", "20:30"), local("2026-11-17", "06:30"), 7)

    assert energies(found) == [1, 6]


def test_readings_of_start_and_end_measure_no_border_between() -> None:
    start, end = local("2026-11-16", "21:50"), local("2026-11-16", "22:10")

    found = use(PEAK_AND_NIGHT, start, end, 1_000, {start: 0, end: 1_000})

    assert found.estimated


def test_readings_hours_apart_measure_no_border_between() -> None:
    found = use(
        PEAK_AND_NIGHT,
        local("2026-11-16", "18:00"),
        local("2026-11-17", "00:00"),
        10_000,
        {local("2026-11-16", "19:00"): 5_000},
    )

    assert found.estimated


def test_nothing_is_estimated_where_nothing_was_drawn_around_the_border() -> None:
    found = use(
        PEAK_AND_NIGHT,
        local("2026-11-16", "18:00"),
        local("2026-11-17", "08:00"),
        10_000,
        {local("2026-11-16", "20:00"): 10_000, local("2026-11-17", "07:00"): 10_000},
    )

    assert energies(found) == [10_000]
    assert not found.estimated


def test_a_session_inside_one_price_needs_no_readings() -> None:
    found = use(PEAK_AND_NIGHT, local("2026-11-16", "23:00"), local("2026-11-17", "05:00"), 10_000)

    assert energies(found) == [10_000]
    assert found.amount_incl_cents == 200
    assert not found.estimated


def test_several_nights_share_a_line() -> None:
    found = use(
        PEAK_AND_NIGHT,
        local("2026-11-16", "12:00"),
        local("2026-11-19", "12:00"),
        72_000,
        {local("2026-11-16", "12:00") + timedelta(hours=h): h * 1000 for h in range(1, 72)},
    )

    assert [(line.energy_wh, line.duration_s) for line in found.lines] == [
        (48_000, 48 * 3600),
        (24_000, 24 * 3600),
    ]
    assert found.lines[1].from_at == local("2026-11-16", "22:00")
    assert found.lines[1].to_at == local("2026-11-19", "06:00")


def test_the_border_itself_belongs_to_the_price_that_begins() -> None:
    assert energies(
        use(PEAK_AND_NIGHT, local("2026-11-16", "22:00"), local("2026-11-16", "22:30"), 100)
    )
    at_ten = use(PEAK_AND_NIGHT, local("2026-11-16", "22:00"), local("2026-11-16", "22:30"), 1_000)
    until_ten = use(
        PEAK_AND_NIGHT, local("2026-11-16", "21:30"), local("2026-11-16", "22:00"), 1_000
    )

    assert at_ten.amount_incl_cents == 20
    assert until_ten.amount_incl_cents == 35


def test_a_weekday_ends_at_midnight_even_when_the_hours_do_not() -> None:
    monday_nights = Restrictions(22 * 60, 6 * 60, weekdays=frozenset({0}))

    # 00:00 to 06:00 and 22:00 to 24:00 of Monday 16 November
    assert hours(monday_nights, local("2026-11-15", "12:00"), local("2026-11-18", "12:00")) == 8


def test_a_date_begins_at_local_midnight_and_the_end_is_not_included() -> None:
    one_day = Restrictions(start_on=date(2026, 11, 17), end_on=date(2026, 11, 18))

    assert hours(one_day, local("2026-11-16", "20:00"), local("2026-11-18", "04:00")) == 24


def test_an_end_at_midnight_is_the_end_of_the_day() -> None:
    evening = Restrictions(start_minute=20 * 60, end_minute=0)

    assert hours(evening, local("2026-11-16", "12:00"), local("2026-11-17", "12:00")) == 4


# Clock-change nights


@pytest.mark.parametrize(
    ("day", "restrictions", "expected"),
    [
        ("2026-10-24", Restrictions(start_minute=0, end_minute=360), 7),
        ("2027-03-27", Restrictions(start_minute=0, end_minute=360), 5),
        ("2026-11-16", Restrictions(start_minute=0, end_minute=360), 6),
        ("2026-10-24", NIGHT, 9),
        ("2027-03-27", NIGHT, 7),
        ("2026-11-16", NIGHT, 8),
        ("2026-10-24", Restrictions(start_minute=120, end_minute=180), 2),  # twice
        ("2027-03-27", Restrictions(start_minute=120, end_minute=180), 0),  # left out
        ("2026-10-24", Restrictions(start_minute=150, end_minute=180), 1),  # two halves
        ("2026-10-24", Restrictions(start_minute=60, end_minute=150), 2),  # an hour, two halves
        ("2027-03-27", Restrictions(start_minute=150, end_minute=210), 0.5),
        ("2026-10-24", Restrictions(weekdays=frozenset({6})), 13),  # Sunday until noon
        ("2027-03-27", Restrictions(weekdays=frozenset({6})), 11),
    ],
)
def test_a_night_has_the_hours_that_the_clock_shows(
    day: str, restrictions: Restrictions, expected: float
) -> None:
    start = local(day, "20:00")
    noon_after = local((date.fromisoformat(day) + timedelta(days=1)).isoformat(), "12:00")

    assert hours(restrictions, start, noon_after) == expected


def test_half_past_two_comes_twice_in_october() -> None:
    half_past_two = Restrictions(start_minute=150, end_minute=180)
    first, second = (local("2026-10-25", "02:30", fold) for fold in (0, 1))

    assert second - first == timedelta(hours=1)
    assert hours(half_past_two, first, first + timedelta(minutes=30)) == 0.5
    assert hours(half_past_two, first + timedelta(minutes=30), second) == 0
    assert hours(half_past_two, second, second + timedelta(minutes=30)) == 0.5


def test_energy_of_the_long_night_is_shared_by_true_hours() -> None:
    """From 20:00 to 08:00 are 13 hours, 9 of them cheap; one kWh in each."""
    start = local("2026-10-24", "20:00")
    readings = {start + timedelta(minutes=m): m * 1000 // 60 for m in range(15, 13 * 60, 15)}

    found = use(PEAK_AND_NIGHT, start, local("2026-10-25", "08:00"), 13_000, readings)

    assert energies(found) == [4_000, 9_000]
    assert [line.duration_s for line in found.lines] == [4 * 3600, 9 * 3600]
    assert not found.estimated


# Amounts and durations


def test_the_first_kwh_are_free_and_the_border_is_exact() -> None:
    tariff = included(
        Element((energy("0"),), Restrictions(max_wh=1_000)),
        Element((energy("0.20"),)),
    )

    found = charge(tariff, "20")

    assert energies(found) == [1_000, 19_000]
    assert found.amount_incl_cents == 380
    assert not charge(tariff, "20").estimated
    assert not use(
        tariff, local("2026-11-16", "08:00"), local("2026-11-16", "12:00"), 5_000
    ).estimated


def test_a_maximum_is_not_included_and_a_minimum_is() -> None:
    cheap_first = included(
        Element((energy("0.10"),), Restrictions(max_wh=10_000)), Element((energy("1"),))
    )
    dear_later = included(
        Element((energy("1"),), Restrictions(min_wh=10_000)), Element((energy("0.10"),))
    )

    for kwh, expected in (("10", 100), ("10.01", 101), ("12", 300)):
        assert charge(cheap_first, kwh).amount_incl_cents == expected
        assert charge(dear_later, kwh).amount_incl_cents == expected


def test_a_price_by_duration_changes_after_so_long() -> None:
    """The example of OCPI: half an hour free, then 0.25, after an hour 0.40."""
    tariff = included(
        Element((energy("0"),), Restrictions(max_duration_s=1800)),
        Element((energy("0.25"),), Restrictions(max_duration_s=3600)),
        Element((energy("0.40"),)),
    )

    assert energies(charge(tariff, "15", minutes=90)) == [5_000, 5_000, 5_000]
    assert charge(tariff, "15", minutes=90).amount_incl_cents == 325
    assert energies(charge(tariff, "15", minutes=30)) == [15_000]


def test_an_amount_reached_in_an_unread_stretch_makes_time_an_estimate_and_energy_none() -> None:
    tariff = included(
        Element((charging("1"), energy("0.10")), Restrictions(max_wh=5_000)),
        Element((charging("2"), energy("0.20"))),
    )

    found = use(tariff, local("2026-11-16", "08:00"), local("2026-11-16", "10:00"), 10_000)

    assert [(line.dimension.value, line.estimated) for line in found.lines] == [
        ("ENERGY", False),
        ("ENERGY", False),
        ("TIME", True),
        ("TIME", True),
    ]


# Power and current


def test_current_decides_from_reading_to_reading() -> None:
    tariff = included(
        Element((energy("0.20"),), Restrictions(max_current_a=Decimal(32))),
        Element((energy("0.50"),)),
    )
    start = local("2026-11-16", "08:00")
    usage = Usage(start, start + timedelta(minutes=30), 6_000)
    readings = [
        Reading(start + timedelta(minutes=10), 1_000, current_a=16.0),
        Reading(start + timedelta(minutes=20), 4_000, current_a=32.0),
        Reading(start + timedelta(minutes=30), 6_000, current_a=20.0),
    ]

    found = price(usage, readings, tariff, zone=PARIS, vat_percent=VAT)

    # The last stretch ends with the session: 2 kWh in ten minutes are 52 A at 230 V.
    assert energies(found) == [1_000, 5_000]


def test_power_is_the_mean_of_the_stretch_where_the_station_tells_none() -> None:
    tariff = included(
        Element((energy("0.20"),), Restrictions(max_power_w=7_000)), Element((energy("0.50"),))
    )
    start = local("2026-11-16", "08:00")
    usage = Usage(start, start + timedelta(hours=2), 18_000)

    found = price(
        usage, [Reading(start + timedelta(hours=1), 6_999)], tariff, zone=PARIS, vat_percent=VAT
    )
    unread = price(usage, [], tariff, zone=PARIS, vat_percent=VAT)

    assert energies(found) == [6_999, 11_001]
    assert not found.estimated
    assert energies(unread) == [18_000]
    assert unread.estimated


def test_a_sample_of_no_power_is_not_believed_of_a_stretch_that_charged() -> None:
    """It was taken when the car had just stopped."""
    tariff = included(
        Element((energy("0.20"),), Restrictions(max_power_w=7_000)), Element((energy("0.50"),))
    )
    start = local("2026-11-16", "08:00")
    usage = Usage(start, start + timedelta(hours=2), 11_000)
    readings = [Reading(start + timedelta(hours=1), 11_000, power_w=0.0, current_a=0.0)]

    found = price(usage, readings, tariff, zone=PARIS, vat_percent=VAT)

    assert found.amount_incl_cents == 550


# Charging and standing


TIMES = included(Element((charging("1"), parking("3"))))


def seconds(found: Price) -> dict[str, int]:
    return {line.dimension.value: line.quantity for line in found.lines}


def test_standing_begins_with_the_last_reading_that_rose() -> None:
    assert seconds(charge(TIMES, minutes=60, standing=45)) == {"TIME": 3600, "PARKING_TIME": 2700}


def test_without_readings_all_of_the_time_is_charging() -> None:
    start = local("2026-11-16", "08:00")

    found = use(TIMES, start, start + timedelta(hours=2), 5_000)

    assert seconds(found) == {"TIME": 7200}
    assert not found.estimated


def test_a_coarse_register_is_no_car_that_stands() -> None:
    """Every minute a reading, of a meter that shows hundreds of Wh."""
    start = local("2026-11-16", "08:00")
    readings = {start + timedelta(minutes=m): m * 30 // 100 * 100 for m in range(1, 60)}

    found = use(TIMES, start, start + timedelta(minutes=60), 1_800, readings)

    assert seconds(found) == {"TIME": 3600}


def test_a_pause_in_the_middle_is_standing() -> None:
    start = local("2026-11-16", "08:00")
    readings = {
        start + timedelta(minutes=m): min(m, 20) * 100 if m < 40 else (m - 20) * 100
        for m in range(1, 60)
    }

    found = use(TIMES, start, start + timedelta(minutes=60), 4_000, readings)

    assert seconds(found) == {"TIME": 2400, "PARKING_TIME": 1200}


def test_silence_of_a_running_session_is_not_standing_yet() -> None:
    start = local("2026-11-16", "08:00")
    usage = Usage(start, start + timedelta(minutes=59), 3_000)
    readings = [Reading(start + timedelta(minutes=m), m * 100) for m in (15, 30)]

    so_far = price_so_far(usage, readings, TIMES, zone=PARIS, vat_percent=VAT)
    ended = price(usage, readings, TIMES, zone=PARIS, vat_percent=VAT)

    assert seconds(so_far) == {"TIME": 59 * 60}
    assert seconds(ended) == {"TIME": 30 * 60, "PARKING_TIME": 29 * 60}


# Which element, and what is no price


def test_of_each_dimension_the_first_element_that_holds_counts() -> None:
    tariff = included(
        Element((energy("0.10"),), NIGHT),
        Element((energy("0.20"), flat("1"))),
        Element((energy("0.30"), flat("2"), charging("1"))),
    )

    found = charge(tariff, "10", minutes=60)

    assert [(line.dimension.value, line.amount_incl_cents) for line in found.lines] == [
        ("FLAT", 100),
        ("ENERGY", 200),
        ("TIME", 100),
    ]


def test_a_price_of_reservations_is_none_of_sessions() -> None:
    reserved = Element((flat("4"), charging("5")), Restrictions(reservation="RESERVATION"))
    tariff = included(reserved, Element((flat("0.50"), energy("0.25"))))

    assert charge(tariff, "20").amount_incl_cents == 550


def test_a_fee_is_taken_once_and_when_its_element_first_holds() -> None:
    late = included(Element((flat("3"),), Restrictions(min_wh=15_000)), Element((energy("0.10"),)))

    assert charge(late, "10").amount_incl_cents == 100
    assert charge(late, "20").amount_incl_cents == 500
    start = local("2026-11-16", "20:00")
    nights = included(Element((flat("3"),), NIGHT))
    assert use(nights, start, start + timedelta(days=3), 100).amount_incl_cents == 300
    assert use(nights, start, start + timedelta(hours=2), 100).amount_incl_cents == 0


def test_of_two_fees_the_first_that_holds_is_the_only_one() -> None:
    tariff = included(Element((flat("3"),), NIGHT), Element((flat("1"),)))

    by_day = use(tariff, local("2026-11-16", "20:00"), local("2026-11-17", "08:00"), 100)
    by_night = use(tariff, local("2026-11-16", "23:00"), local("2026-11-17", "08:00"), 100)

    assert (by_day.amount_incl_cents, by_night.amount_incl_cents) == (100, 300)


def test_the_step_belongs_to_the_price_that_was_used_last_though_not_first() -> None:
    """From five in the morning to eleven at night: night, day, night."""
    tariff = included(
        Element((energy("0.20", step_size=1_000),), NIGHT), Element((energy("0.35", step_size=10),))
    )

    found = use(tariff, local("2026-11-16", "05:00"), local("2026-11-16", "23:00"), 17_990)

    assert [line.quantity - line.energy_wh for line in found.lines] == [10, 0]


def test_times_may_come_by_the_clock_of_the_site() -> None:
    """Two times of one zone are subtracted by the clock on the wall unless one takes care."""
    start = local("2026-10-24", "22:00")
    usage = Usage(start.astimezone(PARIS), local("2026-10-25", "06:00").astimezone(PARIS), 9_000)
    readings = [
        Reading((start + timedelta(minutes=m)).astimezone(PARIS), min(m * 20, 9_000))
        for m in range(15, 540, 15)
    ]
    tariff = included(Element((charging("1"), energy("0.20")), NIGHT), Element((parking("9"),)))

    found = price(usage, readings, tariff, zone=PARIS, vat_percent=VAT)

    assert [(line.dimension.value, line.quantity) for line in found.lines] == [
        ("ENERGY", 9_000),
        ("TIME", 450 * 60),
        ("PARKING_TIME", 90 * 60),
    ]
    assert found.lines[0].from_at == start
    assert found.lines[0].from_at.tzinfo is UTC


def test_what_no_element_prices_costs_nothing_and_has_no_line() -> None:
    found = use(
        included(Element((energy("0.20"),), NIGHT)),
        local("2026-11-16", "20:00"),
        local("2026-11-17", "00:00"),
        10_000,
    )

    assert energies(found) == [5_000]
    assert found.energy_wh == 10_000
    assert found.amount_incl_cents == 100


def test_equal_prices_of_two_elements_share_a_line() -> None:
    weekend = Restrictions(weekdays=frozenset({5, 6}))
    tariff = included(
        Element((energy("0.20"),), NIGHT),
        Element((energy("0.20"),), weekend),
        Element((energy("0.35"),)),
    )

    # Friday 23:00 to Saturday 12:00: night, then weekend
    found = use(tariff, local("2026-11-20", "23:00"), local("2026-11-21", "12:00"), 10_000)

    assert energies(found) == [10_000]
    assert not found.estimated


# Odd sessions and readings


START = local("2026-11-16", "21:00")


@pytest.mark.parametrize(
    "readings",
    [
        [Reading(START + timedelta(minutes=m), wh) for m, wh in ((90, 5_000), (30, 1_000))],
        [Reading(START + timedelta(minutes=m), wh) for m, wh in ((30, 5_000), (60, 4_000))],
        [Reading(START + timedelta(minutes=30), 999_999)],
        [Reading(START + timedelta(minutes=30), -5)],
        [Reading(START + timedelta(days=d), 5_000) for d in (-1, 1)],
        [Reading(START + timedelta(minutes=30), wh) for wh in (5_000, 4_000, 6_000)],
        [Reading(START + timedelta(minutes=30), 5_000, float("nan"), float("inf"))],
    ],
)
def test_odd_readings_lose_no_wh(readings: list[Reading]) -> None:
    usage = Usage(START, START + timedelta(hours=2), 10_000)

    found = price(usage, readings, PEAK_AND_NIGHT, zone=PARIS, vat_percent=VAT)

    assert sum(energies(found)) == 10_000


def test_a_reading_that_falls_is_held_at_what_was_reached() -> None:
    usage = Usage(START, START + timedelta(hours=2), 10_000)
    for told in ([(30, 5_000), (60, 4_000)], [(60, 5_000), (60, 4_000)]):
        readings = [Reading(START + timedelta(minutes=m), wh) for m, wh in told]

        found = price(usage, readings, PEAK_AND_NIGHT, zone=PARIS, vat_percent=VAT)

        assert energies(found) == [5_000, 5_000]


def test_a_leap_above_the_total_that_is_taken_back_is_no_reading() -> None:
    usage = Usage(START, START + timedelta(hours=2), 10_000)
    readings = [
        Reading(START + timedelta(minutes=m), wh)
        for m, wh in ((20, 60_000), (40, 60_001), (60, 5_000), (80, 10_001))
    ]

    found = price(usage, readings, PEAK_AND_NIGHT, zone=PARIS, vat_percent=VAT)

    assert energies(found) == [5_000, 5_000]


def test_a_session_without_energy_or_without_duration_has_a_price() -> None:
    tariff = included(
        Element((flat("1"),)),
        Element((energy("0.10"),), Restrictions(max_wh=1_000)),
        Element((energy("0.20"), charging("1"), parking("2"))),
    )
    moment = Usage(START, START, 5_000)
    backwards = Usage(START, START - timedelta(hours=1), 0)
    idle = Usage(START, START + timedelta(hours=1), 0)

    cost = {
        name: price(usage, [], tariff, zone=PARIS, vat_percent=VAT)
        for name, usage in (("moment", moment), ("backwards", backwards), ("idle", idle))
    }

    assert energies(cost["moment"]) == [1_000, 4_000]
    assert cost["moment"].amount_incl_cents == 100 + 10 + 80
    assert cost["backwards"].amount_incl_cents == 100
    assert cost["idle"].amount_incl_cents == 200


def test_component_prices_are_decimals_of_six_places() -> None:
    with pytest.raises(TypeError):
        Component(Dimension.ENERGY, 0.35)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="6 decimals"):
        Component(Dimension.ENERGY, Decimal("0.1234567"))
