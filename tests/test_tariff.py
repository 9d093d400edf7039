"""What sessions cost: the vectors of OCPI 2.2.1, steps, limits, VAT."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

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
)

PARIS = ZoneInfo("Europe/Paris")
VAT = Decimal(20)
START = datetime(2026, 11, 16, 8, 30, tzinfo=UTC)  # a Monday, 09:30 in Paris
WORKDAYS = frozenset(range(5))


def part(
    dimension: Dimension, price_eur: str, vat: str | None = None, step_size: int = 1
) -> Component:
    return Component(
        dimension, Decimal(price_eur), None if vat is None else Decimal(vat), step_size
    )


def energy(price_eur: str, vat: str | None = None, step_size: int = 1) -> Component:
    return part(Dimension.ENERGY, price_eur, vat, step_size)


def charging(price_eur: str, vat: str | None = None, step_size: int = 1) -> Component:
    return part(Dimension.TIME, price_eur, vat, step_size)


def parking(price_eur: str, vat: str | None = None, step_size: int = 1) -> Component:
    return part(Dimension.PARKING_TIME, price_eur, vat, step_size)


def flat(price_eur: str, vat: str | None = None) -> Component:
    return part(Dimension.FLAT, price_eur, vat)


def excluded(*elements: Element, **limits: int) -> Tariff:
    """As OCPI writes them: prices without VAT."""
    return Tariff(elements, taxes_included=False, **limits)


def included(*elements: Element, **limits: int) -> Tariff:
    return Tariff(elements, **limits)


def charge(
    tariff: Tariff,
    kwh: str = "20",
    *,
    minutes: int = 150,
    standing: int = 0,
    start: datetime = START,
    current_a: float | None = None,
    vat_free: bool = False,
) -> Price:
    """A session that charges evenly, read every minute, and then stands for a while."""
    total_wh = int(Decimal(kwh) * 1000)
    readings = [
        Reading(start + timedelta(minutes=m), total_wh * m // minutes, current_a=current_a)
        for m in range(1, minutes + 1)
    ]
    usage = Usage(start, start + timedelta(minutes=minutes + standing), total_wh)
    return price(usage, readings, tariff, zone=PARIS, vat_percent=VAT, vat_free=vat_free)


def cost(found: Price) -> tuple[int, int]:
    return found.amount_excl_cents, found.amount_incl_cents


def billed(found: Price) -> list[tuple[str, int]]:
    return [(line.dimension.value, line.quantity) for line in found.lines]


# The totals that the text of OCPI 2.2.1 gives for its example tariffs.

KWH = Element((energy("0.25", "10"),))
KWH_START = Element((flat("0.50", "20"), energy("0.25", "10")))
KWH_START_PARKING = Element((*KWH_START.components, parking("2", "20", 900)))


def complex_tariff(weekend_price: str) -> Tariff:
    return excluded(
        Element((flat("2.50", "15"),)),
        Element((charging("1", "20", 900),), Restrictions(max_current_a=Decimal(32))),
        Element(
            (charging("2", "20", 600),),
            Restrictions(min_current_a=Decimal(32), weekdays=WORKDAYS),
        ),
        Element(
            (charging(weekend_price, "20", 600),),
            Restrictions(min_current_a=Decimal(32), weekdays=frozenset({5, 6})),
        ),
        Element((parking("5", "10", 300),), Restrictions(540, 1080, weekdays=WORKDAYS)),
        Element((parking("6", "10", 300),), Restrictions(600, 1020, weekdays=frozenset({5}))),
    )


def test_vector_1_a_price_per_kwh() -> None:
    assert cost(charge(excluded(KWH))) == (500, 550)


def test_vector_2_a_start_fee_with_a_rate_of_its_own() -> None:
    assert cost(charge(excluded(KWH_START))) == (550, 610)


@pytest.mark.parametrize("kwh", ["0.001", "0.6", "1.2", "1.999"])
def test_vector_3_a_minimum_price_holds_below_two_kwh(kwh: str) -> None:
    """At 1.2 kWh too, where a public set of examples expects 0.30 and 0.33."""
    tariff = excluded(KWH, min_excl_cents=50, min_incl_cents=55)

    found = charge(tariff, kwh)

    assert cost(found) == (50, 55)
    assert cost(charge(tariff)) == (500, 550)


def test_vector_4_parking_is_billed_by_the_quarter_of_an_hour() -> None:
    found = charge(excluded(KWH_START_PARKING), standing=40)

    assert cost(found) == (700, 790)
    assert ("PARKING_TIME", 2700) in billed(found)


def test_vector_5_a_maximum_price_holds_with_and_without_vat() -> None:
    tariff = excluded(KWH_START, max_excl_cents=1000, max_incl_cents=1100)

    assert cost(charge(tariff, "50")) == (1000, 1100)
    assert cost(charge(tariff, "30")) == (800, 885)
    assert [line.dimension for line in charge(tariff, "30").lines] == ["FLAT", "ENERGY"]


def test_vector_6_a_price_per_hour() -> None:
    assert cost(charge(excluded(Element((charging("2", "10", 60),))))) == (500, 550)


def test_vector_7_charging_and_standing_have_each_their_price() -> None:
    tariff = excluded(Element((charging("3", "10", 60), parking("5", "20", 300))))

    assert cost(charge(tariff, standing=42)) == (1125, 1275)


def test_vector_8_a_rate_with_a_decimal() -> None:
    assert cost(charge(excluded(Element((charging("1.90", "5.2", 300),))))) == (475, 500)


def test_vector_9_energy_in_steps_of_a_hundred_wh() -> None:
    found = charge(excluded(Element((flat("0.50", "20"), energy("0.25", "10", 100)))), "20.45")

    assert cost(found) == (563, 624)
    assert [(line.amount_excl_cents, line.amount_incl_cents) for line in found.lines] == [
        (50, 60),
        (513, 564),
    ]
    assert billed(found) == [("FLAT", 1), ("ENERGY", 20500)]
    assert found.lines[1].energy_wh == found.energy_wh == 20450


def test_vector_10_a_monday_below_32_amperes() -> None:
    found = charge(complex_tariff("1.25"), minutes=165, standing=42, current_a=16)

    assert cost(found) == (900, 1030)


def test_vector_11_a_saturday_above_32_amperes() -> None:
    """13.861 unrounded. The text reckons with 1.20 an hour where its tariff says 1.25."""
    saturday = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)

    found = charge(complex_tariff("1.20"), minutes=114, standing=71, current_a=43, start=saturday)

    assert cost(found) == (1228, 1386)
    assert billed(found) == [("FLAT", 1), ("TIME", 114 * 60), ("PARKING_TIME", 75 * 60)]


def test_vector_12_a_step_rounds_the_sum_at_the_price_used_last() -> None:
    """Six in the evening falls when 4.3 of 5.4 kWh are charged."""
    tariff = excluded(
        Element((energy("0.20", step_size=500),), Restrictions(end_minute=18 * 60)),
        Element((energy("0.27", step_size=500),)),
    )
    start = datetime(2026, 11, 16, 16, 17, tzinfo=UTC)

    found = charge(tariff, "5.4", minutes=54, start=start)

    assert [(line.energy_wh, line.quantity) for line in found.lines] == [(4300, 4300), (1100, 1200)]
    assert found.amount_excl_cents == 118  # 0.86 + 0.324


def test_vector_13_a_step_of_time_too() -> None:
    tariff = excluded(
        Element((charging("5", step_size=600),), Restrictions(end_minute=18 * 60)),
        Element((charging("7", step_size=600),)),
    )
    start = datetime(2026, 11, 16, 16, 54, tzinfo=UTC)

    found = charge(tariff, minutes=28, start=start)

    assert billed(found) == [("TIME", 6 * 60), ("TIME", 24 * 60)]
    assert found.amount_excl_cents == 330


def test_vector_14_time_is_not_rounded_when_parking_is() -> None:
    tariff = excluded(Element((charging("1", step_size=600), parking("2", step_size=600))))

    found = charge(tariff, minutes=21, standing=16)

    assert billed(found) == [("TIME", 21 * 60), ("PARKING_TIME", 20 * 60)]
    assert found.amount_excl_cents == 102  # 0.35 + 0.6667


# Limits and VAT of our own prices, which include it


def test_a_line_is_rounded_once_and_its_vat_is_contained_in_it() -> None:
    found = charge(included(Element((energy("0.3333"), flat("0.99")))), "7.77")

    assert [(line.amount_excl_cents, line.amount_incl_cents) for line in found.lines] == [
        (82, 99),  # VAT 16.5
        (216, 259),  # 258.97; VAT 43.17
    ]
    assert cost(found) == (298, 358)
    assert found.vat == ((VAT, 298, 60),)


def test_half_a_cent_goes_up() -> None:
    assert cost(charge(included(Element((energy("0.125"),))), "0.2"))[1] == 3
    assert cost(charge(included(Element((energy("0.125"),))), "0.199"))[1] == 2


def test_a_rate_of_its_own_goes_before_that_of_the_seller() -> None:
    found = charge(included(Element((energy("0.50", "5.5"), flat("1")))), "10")

    assert found.vat == ((Decimal("5.5"), 474, 26), (VAT, 83, 17))


def test_a_seller_without_vat_asks_the_same_price_without_vat() -> None:
    tariff = included(Element((energy("0.50", "5.5"), flat("1"))), min_incl_cents=900)

    found = charge(tariff, "10", vat_free=True)

    assert cost(found) == (900, 900)
    assert found.vat == ((Decimal(0), 900, 0),)


def test_a_minimum_adds_a_line_and_its_vat() -> None:
    found = charge(included(Element((energy("0.35"),)), min_incl_cents=100), "1")

    assert billed(found) == [("ENERGY", 1000), ("MIN_PRICE", 1)]
    assert cost(found) == (83, 100)
    assert found.lines[1].amount_incl_cents == 65
    assert found.lines[1].unit_price_eur == Decimal("0.65")
    assert found.vat == ((VAT, 83, 17),)


def test_a_maximum_takes_off_a_line_and_its_vat() -> None:
    found = charge(included(Element((energy("0.35"),)), max_incl_cents=1000), "50")

    assert billed(found) == [("ENERGY", 50_000), ("MAX_PRICE", 1)]
    assert found.lines[1].amount_incl_cents == -750
    assert found.vat == ((VAT, 833, 167),)


def test_a_limit_is_shared_among_the_rates() -> None:
    tariff = included(Element((energy("0.80", "10"), flat("2"))), max_incl_cents=500)

    found = charge(tariff, "10")

    assert [(line.dimension.value, line.amount_incl_cents) for line in found.lines] == [
        ("FLAT", 200),
        ("ENERGY", 800),
        ("MAX_PRICE", -100),
        ("MAX_PRICE", -400),
    ]
    assert found.vat == ((Decimal(10), 364, 36), (VAT, 83, 17))


def test_a_minimum_holds_where_nothing_was_used() -> None:
    tariff = included(Element((energy("0.35"),)), min_incl_cents=100)
    usage = Usage(START, START, 0)

    assert cost(price(usage, [], tariff, zone=PARIS, vat_percent=VAT)) == (83, 100)


def test_a_limit_that_does_not_bite_changes_no_line() -> None:
    """VAT of 0.375 and 0.456 euros: which of them gets the odd cent is not asked again."""
    elements = (Element((flat("2.50", "15"),)), Element((charging("1.20", "20"),)))

    limited = charge(excluded(*elements, max_excl_cents=9_000), minutes=114)

    assert limited == charge(excluded(*elements), minutes=114)


def test_where_only_the_limit_without_vat_bites_vat_follows_it() -> None:
    tariff = excluded(KWH, max_excl_cents=1000, max_incl_cents=2000)

    assert cost(charge(tariff, "50")) == (1000, 1100)
    assert cost(charge(excluded(KWH, min_excl_cents=50), "1")) == (50, 55)


def test_prices_without_vat_and_a_seller_without_vat_are_what_the_driver_pays() -> None:
    tariff = excluded(KWH, min_excl_cents=50, min_incl_cents=55)

    assert cost(charge(tariff, "20", vat_free=True)) == (500, 500)
    assert cost(charge(tariff, "1", vat_free=True)) == (50, 50)
