"""Tariffs as drivers read them, and what a tariff leaves without a price."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from billing.tariff import Dimension, Element, Restrictions, Tariff, describe, gaps
from tests.test_tariff import (
    PARIS,
    charging,
    complex_tariff,
    energy,
    excluded,
    flat,
    included,
    parking,
    part,
)

NIGHT = Restrictions(start_minute=22 * 60, end_minute=6 * 60)
PEAK_AND_NIGHT = included(
    Element((flat("1"),)),
    Element((energy("0.20"),), NIGHT),
    Element((energy("0.3125"), parking("2", step_size=900))),
    min_incl_cents=100,
    max_incl_cents=123_456,
)


def plain(sentences: list[str]) -> list[str]:
    """With common blanks in place of narrow ones."""
    return [sentence.replace("\u202f", " ") for sentence in sentences]


def test_a_driver_reads_prices_with_vat_in_french() -> None:
    told = describe(PEAK_AND_NIGHT)

    assert plain(told) == [
        "1,00 € par session, TVA comprise",
        "0,20 €/kWh de 22 h 00 à 06 h 00, TVA comprise",
        "0,3125 €/kWh le reste du temps, TVA comprise",
        "2,00 €/h de branchement sans charge, par tranche entamée de 15 min, TVA comprise",
        "Au moins 1,00 € par session, TVA comprise",
        "Au plus 1 234,56 € par session, TVA comprise",
    ]
    assert told[1] == ("0,20\u202f€/kWh de 22\u202fh\u202f00 à 06\u202fh\u202f00, TVA comprise")


def test_a_driver_may_read_english() -> None:
    assert describe(PEAK_AND_NIGHT, "en") == [
        "€1.00 per session, VAT included",
        "€0.20/kWh from 22:00 to 06:00, VAT included",
        "€0.3125/kWh at other times, VAT included",
        "€2.00 per hour plugged in without charging, per started 15 min, VAT included",
        "At least €1.00 per session, VAT included",
        "At most €1,234.56 per session, VAT included",
    ]


def test_a_seller_without_vat_says_nothing_of_it() -> None:
    assert not any("TVA" in sentence for sentence in describe(PEAK_AND_NIGHT, vat_free=True))


def test_every_restriction_has_its_words() -> None:
    for restrictions, french, english in (
        (Restrictions(start_minute=480), "à partir de 08 h 00", "from 08:00 on"),
        (Restrictions(end_minute=450), "jusqu’à 07 h 30", "until 07:30"),
        (Restrictions(weekdays=frozenset(range(5))), "du lundi au vendredi", "Monday to Friday"),
        (
            Restrictions(weekdays=frozenset({5, 6})),
            "le samedi et le dimanche",
            "on Saturday and Sunday",
        ),
        (
            Restrictions(weekdays=frozenset({0, 2, 4})),
            "le lundi, le mercredi et le vendredi",
            "on Monday, Wednesday and Friday",
        ),
        (
            Restrictions(start_on=date(2026, 11, 1), end_on=date(2027, 4, 1)),
            "du 01/11/2026 au 31/03/2027",
            "from 2026-11-01 to 2027-03-31",
        ),
        (Restrictions(min_wh=10_500), "au-delà de 10,5 kWh", "beyond 10.5 kWh"),
        (Restrictions(max_wh=1_000), "jusqu’à 1 kWh", "up to 1 kWh"),
        (
            Restrictions(min_wh=1_000, max_wh=2_000),
            "entre 1 kWh et 2 kWh",
            "between 1 kWh and 2 kWh",
        ),
        (
            Restrictions(min_duration_s=5_400),
            "au-delà de 1 h 30 min de session",
            "after 1 h 30 min of session",
        ),
        (Restrictions(max_power_w=7_400), "en dessous de 7,4 kW", "below 7.4 kW"),
        (Restrictions(min_current_a=Decimal(32)), "à partir de 32 A", "from 32 A on"),
    ):
        tariff = included(Element((energy("0.5"),), restrictions))
        assert plain(describe(tariff)) == [f"0,50 €/kWh {french}, TVA comprise"]
        assert describe(tariff, "en") == [f"€0.50/kWh {english}, VAT included"]


def test_what_is_free_is_said_to_be() -> None:
    free = included(Element((flat("0"),)))
    first_free = included(
        Element((energy("0"),), Restrictions(max_wh=1_000)),
        Element((energy("0.20", step_size=100),)),
    )

    assert describe(free) == ["Gratuit"]
    assert plain(describe(first_free)) == [
        "Énergie gratuite jusqu’à 1 kWh",
        "0,20 €/kWh dans les autres cas, par tranche entamée de 0,1 kWh, TVA comprise",
    ]


def test_prices_without_vat_say_so_and_those_of_reservations_are_left_out() -> None:
    reserved = Element((charging("5"),), Restrictions(reservation="RESERVATION"))

    assert plain(describe(excluded(reserved, Element((energy("0.25"),)), min_excl_cents=50))) == [
        "0,25 €/kWh, hors TVA",
        "Au moins 0,50 € par session, hors TVA",
    ]


# Gaps


def priced(*restrictions: Restrictions, dimension: Dimension = Dimension.ENERGY) -> Tariff:
    return included(*(Element((part(dimension, "1"),), each) for each in restrictions))


DAY = Restrictions(start_minute=6 * 60, end_minute=21 * 60)


@pytest.mark.parametrize(
    ("tariff", "told"),
    [
        (priced(Restrictions()), []),
        (priced(NIGHT, Restrictions(start_minute=360, end_minute=1320)), []),
        (included(Element((flat("5"),))), []),
        (complex_tariff("1.25"), []),
        (priced(Restrictions(max_wh=5), Restrictions(min_wh=5)), []),
        (priced(NIGHT), ["every day from 06:00 to 22:00"]),
        (priced(Restrictions(360, 1320)), ["every day from 22:00 to 06:00"]),
        (priced(NIGHT, DAY), ["every day from 21:00 to 22:00"]),
        (priced(NIGHT, dimension=Dimension.TIME), ["every day from 06:00 to 22:00"]),
        (priced(Restrictions(reservation="RESERVATION"), NIGHT), ["every day from 06:00 to 22:00"]),
        (
            priced(Restrictions(weekdays=frozenset({5, 6}))),
            ["from Monday 00:00 to Saturday 00:00"],
        ),
        (
            priced(Restrictions(weekdays=frozenset({1, 2, 3, 4}))),
            ["from Saturday 00:00 to Tuesday 00:00"],
        ),
        (priced(Restrictions(max_wh=10_000)), ["at any time, from 10 kWh on"]),
        (
            priced(Restrictions(max_wh=10_000), Restrictions(min_wh=12_000, max_power_w=11_000)),
            ["at any time, from 10 kWh to 12 kWh; from 12 kWh on, from 11 kW on"],
        ),
        (
            priced(Restrictions(max_duration_s=3600), Restrictions(min_duration_s=7200)),
            ["at any time, from 60 min to 120 min"],
        ),
        (
            priced(Restrictions(start_on=date(2026, 11, 1), end_on=date(2027, 4, 1))),
            ["at any time, before 2026-11-01; from 2027-04-01 on"],
        ),
    ],
)
def test_what_has_no_price_is_told(tariff: Tariff, told: list[str]) -> None:
    assert gaps(tariff, PARIS) == [f"No price for energy or time {each}." for each in told]


def test_energy_by_day_and_time_by_night_leave_no_gap() -> None:
    tariff = included(
        Element((energy("0.35"),), Restrictions(360, 1320)), Element((charging("1"),), NIGHT)
    )

    assert gaps(tariff, PARIS) == []


def test_a_price_while_standing_alone_does_not_fill_a_gap() -> None:
    tariff = included(Element((energy("0.35"),), NIGHT), Element((parking("1"),)))

    assert gaps(tariff, PARIS) == ["No price for energy or time every day from 06:00 to 22:00."]


def test_days_outside_the_tariffs_own_term_do_not_count() -> None:
    winter = Element(
        (energy("0.35"),), Restrictions(start_on=date(2026, 11, 1), end_on=date(2027, 4, 1))
    )
    term = {
        "starts_at": datetime(2026, 10, 31, 23, tzinfo=UTC),
        "ends_at": datetime(2027, 3, 31, 22, tzinfo=UTC),
    }

    assert gaps(Tariff((winter,), **term), PARIS) == []


def test_a_tariff_made_to_take_long_is_given_up_in_good_time() -> None:
    tangled = priced(
        *(
            Restrictions(
                min_wh=n,
                max_wh=n + 40,
                min_power_w=n,
                max_power_w=n + 40,
                min_duration_s=n,
                max_duration_s=n + 40,
                min_current_a=Decimal(n),
                max_current_a=Decimal(n + 40),
            )
            for n in range(1, 51)
        )
    )

    assert "use fewer elements" in gaps(tangled, PARIS)[0]
