"""Tariffs as JSON: read strictly, with a sentence for each refusal, and written back the same."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billing.tariff import (
    Component,
    Dimension,
    Element,
    Restrictions,
    Tariff,
    TariffError,
    dump,
    gaps,
    parse,
)
from tests.test_tariff import PARIS, complex_tariff

EXAMPLES = Path(__file__).parents[2] / "shared" / "data" / "ocpi-2.2.1-examples"

# The complex example of OCPI 2.2.1, as it stands there.
COMPLEX = """
{"country_code": "DE", "party_id": "ALL", "id": "14", "currency": "EUR", "type": "REGULAR",
 "tariff_alt_url": "https://company.com/tariffs/14",
 "elements": [
  {"price_components": [{"type": "FLAT", "price": 2.50, "vat": 15, "step_size": 1}]},
  {"price_components": [{"type": "TIME", "price": 1.00, "vat": 20, "step_size": 900}],
   "restrictions": {"max_current": 32.00}},
  {"price_components": [{"type": "TIME", "price": 2.00, "vat": 20, "step_size": 600}],
   "restrictions": {"min_current": 32.00,
                    "day_of_week": ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]}},
  {"price_components": [{"type": "TIME", "price": 1.25, "vat": 20, "step_size": 600}],
   "restrictions": {"min_current": 32.00, "day_of_week": ["SATURDAY", "SUNDAY"]}},
  {"price_components": [{"type": "PARKING_TIME", "price": 5.00, "vat": 10, "step_size": 300}],
   "restrictions": {"start_time": "09:00", "end_time": "18:00",
                    "day_of_week": ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]}},
  {"price_components": [{"type": "PARKING_TIME", "price": 6.00, "vat": 10, "step_size": 300}],
   "restrictions": {"start_time": "10:00", "end_time": "17:00", "day_of_week": ["SATURDAY"]}}],
 "last_updated": "2015-06-29T20:39:09Z"}
"""


def energy_at(price: Any = 0.35, **restrictions: Any) -> dict[str, Any]:
    element: dict[str, Any] = {"price_components": [{"type": "ENERGY", "price": price}]}
    return element | ({"restrictions": restrictions} if restrictions else {})


def document(*elements: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"currency": "EUR", "elements": list(elements) or [energy_at()], **members}


def test_the_complex_example_is_read_as_it_is_meant() -> None:
    assert parse(json.loads(COMPLEX) | {"taxes_included": False}) == complex_tariff("1.25")


def test_prices_include_vat_unless_the_document_says_otherwise() -> None:
    assert parse(document()).taxes_included
    assert not parse(document(taxes_included=False)).taxes_included


def test_a_price_is_the_decimal_that_was_written_not_the_binary_fraction() -> None:
    for written in (0.1, 0.35, 0.123456, Decimal("0.1")):
        component = parse(document(energy_at(written))).elements[0].components[0]
        assert component.price_eur == Decimal(str(written))


def test_all_restrictions_are_read_in_our_units() -> None:
    told = {
        "start_time": "22:00",
        "end_time": "06:30",
        "start_date": "2026-11-01",
        "end_date": "2027-04-01",
        "min_kwh": 0.5,
        "max_kwh": 20,
        "min_current": 6,
        "max_current": 32.5,
        "min_power": 3.7,
        "max_power": 22,
        "min_duration": 60,
        "max_duration": 7200,
        "day_of_week": ["SUNDAY", "MONDAY"],
    }

    read = parse(document(energy_at(**told))).elements[0].restrictions

    assert (read.start_minute, read.end_minute, read.weekdays) == (1320, 390, frozenset({0, 6}))
    assert (read.min_wh, read.max_wh) == (500, 20_000)
    assert (read.min_current_a, read.max_current_a) == (Decimal(6), Decimal("32.5"))
    assert (read.min_power_w, read.max_power_w) == (3_700, 22_000)
    assert (read.min_duration_s, read.max_duration_s) == (60, 7_200)
    written = dump(parse(document(energy_at(**told))))["elements"][0]["restrictions"]
    assert {**written, "day_of_week": sorted(written["day_of_week"])} == {
        **told,
        "day_of_week": ["MONDAY", "SUNDAY"],
    }


def test_a_document_survives_json() -> None:
    told = document(
        energy_at(0.2, start_time="22:00", end_time="06:00"),
        {"price_components": [{"type": "FLAT", "price": 1, "vat": 5.5}]},
        {
            "price_components": [{"type": "TIME", "price": 2, "step_size": 600}],
            "restrictions": {"reservation": "RESERVATION_EXPIRES"},
        },
        min_price={"incl_vat": 1.5},
        max_price={"excl_vat": 20, "incl_vat": 24},
        start_date_time="2026-11-01T00:00:00+01:00",
        end_date_time="2027-11-01T00:00:00Z",
    )

    tariff = parse(told)
    written = json.loads(json.dumps(dump(tariff)))

    assert parse(written) == tariff
    assert dump(parse(written)) == written
    assert written["min_price"] == {"incl_vat": 1.5}
    assert written["start_date_time"] == "2026-10-31T23:00:00Z"
    assert (tariff.min_incl_cents, tariff.max_incl_cents) == (150, 2400)


@pytest.mark.parametrize(
    ("told", "where", "remedy"),
    [
        ([], "tariff", "takes an object"),
        ({}, "elements", "list of 1 to 50"),
        (document(elements=[]), "elements", "list of 1 to 50"),
        (document(elements=[energy_at()] * 51), "elements", "list of 1 to 50"),
        (document(currency="USD"), "currency", "in euros"),
        (document(taxes_included="yes"), "taxes_included", "true or false"),
        (document(elemnts=[]), "elemnts", "is not known"),
        (document({"price_components": []}), "elements[0].price_components", "1 to 4"),
        (document({"restrictions": {}}), "elements[0].price_components", "1 to 4"),
        (document(energy_at(None)), "elements[0].price_components[0].price", "is missing"),
        (document(energy_at("0.35")), "elements[0].price_components[0].price", "a number from 0"),
        (document(energy_at(True)), "elements[0].price_components[0].price", "a number from 0"),
        (document(energy_at(-0.1)), "elements[0].price_components[0].price", "0 to 100"),
        (document(energy_at(100.01)), "elements[0].price_components[0].price", "0 to 100"),
        (document(energy_at(10**400)), "elements[0].price_components[0].price", "0 to 100"),
        (document(energy_at(float("nan"))), "elements[0].price_components[0].price", "0 to 100"),
        (document(energy_at(float("inf"))), "elements[0].price_components[0].price", "0 to 100"),
        (document(energy_at(0.1234567)), "elements[0].price_components[0].price", "6 decimals"),
        (document(energy_at(start_time="24:00")), "elements[0].restrictions.start_time", "23:59"),
        (document(energy_at(start_time=["x"])), "elements[0].restrictions.start_time", "23:59"),
        (
            document(energy_at(start_time="08:00", end_time="08:00")),
            "elements[0].restrictions.end_time",
            "leave both out",
        ),
        (document(energy_at(start_date="1/1/26")), "elements[0].restrictions.start_date", "a day"),
        (document(energy_at(end_date="2026-02-30")), "elements[0].restrictions.end_date", "a day"),
        (document(energy_at(end_date=20260101)), "elements[0].restrictions.end_date", "a day"),
        (
            document(energy_at(start_date="2026-02-02", end_date="2026-02-02")),
            "elements[0].restrictions.end_date",
            "a larger one",
        ),
        (
            document(energy_at(min_kwh=10, max_kwh=10)),
            "elements[0].restrictions.max_kwh",
            "a larger one",
        ),
        (document(energy_at(max_duration=0)), "elements[0].restrictions.max_duration", "more"),
        (document(energy_at(max_duration=0.5)), "elements[0].restrictions.max_duration", "whole"),
        (document(energy_at(day_of_week=[])), "elements[0].restrictions.day_of_week", "MONDAY"),
        (document(energy_at(day_of_week="MONDAY")), "elements[0].restrictions.day_of_week", "list"),
        (document(energy_at(day_of_week=[["x"]])), "elements[0].restrictions.day_of_week", "list"),
        (document(energy_at(reservation="YES")), "elements[0].restrictions.reservation", "one of"),
        (document(energy_at(weekday=1)), "elements[0].restrictions.weekday", "is not known"),
        (document(energy_at(reservation="RESERVATION")), "elements", "for sessions"),
        (document(min_price=1), "min_price", "takes an object"),
        (document(min_price={"excl_vat": 1}), "min_price.incl_vat", "include VAT"),
        (
            document(min_price={"incl_vat": 1}, taxes_included=False),
            "min_price.excl_vat",
            "exclude VAT",
        ),
        (document(min_price={"incl_vat": 1.005}), "min_price.incl_vat", "2 decimals"),
        (document(min_price={"excl_vat": 2, "incl_vat": 1}), "min_price.incl_vat", "not above"),
        (
            document(min_price={"incl_vat": 2}, max_price={"incl_vat": 1}),
            "max_price",
            "not above min_price",
        ),
        (document(start_date_time="soon"), "start_date_time", "a time like"),
        (document(start_date_time="0001-01-01T00:00:00+05:00"), "start_date_time", "a time like"),
        (
            document(start_date_time="2026-01-01T00:00:00Z", end_date_time="2025-01-01T00:00:00Z"),
            "end_date_time",
            "a larger one",
        ),
    ],
)
def test_a_refusal_says_where_what_and_what_to_do(told: Any, where: str, remedy: str) -> None:
    with pytest.raises(TariffError) as refused:
        parse(told)

    assert refused.value.where == where
    assert str(refused.value).startswith(where)
    assert remedy in str(refused.value)


def test_a_component_has_one_of_four_types_once_and_bounded_steps() -> None:
    for component, remedy in (
        ({"type": "WATER", "price": 1}, "one of: ENERGY, TIME, PARKING_TIME, FLAT"),
        ({"type": "MIN_PRICE", "price": 1}, "one of"),
        ({"type": ["TIME"], "price": 1}, "one of"),
        ({"type": "TIME", "price": 1, "step_size": 86_401}, "0 to 86400"),
        ({"type": "TIME", "price": 1, "step_size": 1.5}, "whole number"),
        ({"type": "TIME", "price": 1, "vat": 101}, "0 to 100"),
        ({"type": "TIME", "price": 1, "tax": 20}, "is not known"),
    ):
        with pytest.raises(TariffError, match=remedy):
            parse(document({"price_components": [component]}))
    twice = {"price_components": [{"type": "TIME", "price": 1}, {"type": "TIME", "price": 2}]}
    with pytest.raises(TariffError, match="twice"):
        parse(document(twice))


@pytest.mark.data
@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="needs ../shared/data")
def test_every_example_of_ocpi_is_read_and_written_back() -> None:
    paths = sorted(EXAMPLES.glob("tariff*.json"))
    assert len(paths) >= 19
    for path in paths:
        told = json.loads(path.read_text(encoding="utf-8"))

        tariff = parse(told | {"taxes_included": False})

        assert parse(json.loads(json.dumps(dump(tariff)))) == tariff, path.name
        assert gaps(tariff, PARIS) == [], path.name
        assert [len(e.components) for e in tariff.elements] == [
            len(e["price_components"]) for e in told["elements"]
        ]


def test_equal_tariffs_are_one_in_a_table() -> None:
    component = Component(Dimension.ENERGY, Decimal("0.35"))
    tables = {Tariff((Element((component,), Restrictions()),)) for _ in range(2)}

    assert tables == {parse(document())}
