"""Static data: what is refused with which words, what is missing, what the official files hold."""

import csv
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms import static_data
from csms.domain import opening_hours, point_rules
from csms.domain.opening_hours import HOLIDAYS, Period
from csms.domain.point_rules import Broken
from csms.static_data import (
    EvseFacts,
    EvseStatic,
    Life,
    SiteFacts,
    SiteStatic,
    StationFacts,
    StationStatic,
    declarable,
    flaws,
    irve,
)
from csms.static_data.declaring import READERS

DATA = Path(__file__).parents[2] / "shared" / "data"
TODAY = date(2026, 11, 25)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

DEEP = ("other", "other_too_much")
SITE = {
    "owner_name": "Syndicat Exemple",
    "owner_siren": "130025265",
    "owner_email": "contact@example.org",
    "operator_name": "Opérateur Exemple",
    "operator_email": "bornes@example.org",
    "operator_phone": "01 84 71 00 62",
    "brand_name": "Réseau Exemple",
    "afirev_station_id": "FR*ABC*P1",
    "implantation": "customer_parking",
    "address": "12 rue des Tilleuls",
    "postal_code": "75012",
    "city": "Paris",
    "insee_code": "75112",
    "longitude": 2.4032,
    "latitude": 48.8398,
    "opening_hours": "24/7",
    "access": "reserved",
    "two_wheelers_only": False,
    "grid_connection": "indirect",
    "pmr_access": "unknown",
    "reservation": False,
    "pays_ad_hoc": True,
}
EVSE = {
    "connectors": [
        {
            "connector_id": 1,
            "format": "socket",
            "current": "ac_3_phase",
            "voltage_max_v": 400,
            "current_max_a": 32,
        }
    ]
}
POINT = EvseFacts("FRABCE1", 22_000, {1: "sType2"}, EVSE)


def findings_of(
    site: dict[str, Any] | None = None,
    station: dict[str, Any] | None = None,
    point: EvseFacts = POINT,
) -> set[tuple[str, str]]:
    found = declarable(
        SiteFacts("Les Tilleuls", SITE if site is None else site),
        StationFacts(station or {}),
        point,
        TODAY,
    )
    return {(finding.code, finding.field) for finding in found}


def codes(model: Any, values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(flaw.field, flaw.code) for flaw in flaws(model, values)]


# --- Rules ---------------------------------------------------------------------------------------


@given(
    st.text(LETTERS, min_size=3, max_size=3),
    st.text(LETTERS, min_size=1, max_size=29),
    st.sampled_from(["", "*", "-", " "]),
)
def test_identifiers_have_one_form_whatever_separates_them(
    unit: str, rest: str, separator: str
) -> None:
    for rule, letter in ((point_rules.point_id, "E"), (point_rules.station_id, "P")):
        written = separator.join(["fr", unit.lower(), letter + rest])
        canonical = rule(written)
        assert canonical == f"FR{unit}{letter}{rest}"
        assert rule(canonical) == canonical


@given(st.text(LETTERS, min_size=3, max_size=3), st.text(LETTERS, min_size=1, max_size=29))
def test_letters_of_stations_and_points_are_not_confused(unit: str, rest: str) -> None:
    with pytest.raises(Broken, match="point_id_letter"):
        point_rules.point_id(f"FR{unit}P{rest}")
    with pytest.raises(Broken, match="station_id_letter"):
        point_rules.station_id(f"FR{unit}E{rest}")


@given(st.integers(1, 10**8 - 1), st.integers(0, 8), st.integers(1, 9))
def test_one_mistyped_digit_of_a_siren_is_found(body: int, place: int, change: int) -> None:
    stem = f"{body:08d}"
    check = next(d for d in "0123456789" if point_rules.luhn_sum(stem + d) % 10 == 0)
    siren = stem + check
    assert point_rules.siren(siren) == siren
    wrong = siren[:place] + str((int(siren[place]) + change) % 10) + siren[place + 1 :]
    with pytest.raises(Broken, match="siren_checksum"):
        point_rules.siren(wrong)


@pytest.mark.parametrize(
    ("rule", "written", "kept"),
    [
        (point_rules.phone, "01 84 71 00 62", "+33184710062"),
        (point_rules.phone, "+33 (0)1 84 71 00 62", "+33184710062"),
        (point_rules.phone, "tel:+33-1-84-71-00-62", "+33184710062"),
        (point_rules.phone, "0033184710062", "+33184710062"),
        (point_rules.phone, "0262 12 34 56", "+262262123456"),
        (point_rules.phone, "+3224710062", "+3224710062"),
        (point_rules.siren, "130 025 265", "130025265"),
        (point_rules.insee_code, "2a004", "2A004"),
        (point_rules.postal_code, "97 400", "97400"),
        (point_rules.delivery_point, "12345 678912345", "12345678912345"),
        (opening_hours.canonical, " Mo-Fr  08:00-12:00 ", "Mo-Fr 08:00-12:00"),
    ],
)
def test_what_people_write_gets_its_canonical_form(
    rule: Callable[[str], str], written: str, kept: str
) -> None:
    assert rule(written) == kept
    assert rule(kept) == kept


@pytest.mark.parametrize(
    ("rule", "written", "code"),
    [
        (point_rules.phone, "111111111", "phone_form"),
        (point_rules.phone, "+33 84", "phone_form"),
        (point_rules.siren, "12345678", "siren_form"),
        (point_rules.siren, "000000000", "siren_checksum"),
        (point_rules.insee_code, "20004", "insee_form"),
        (point_rules.insee_code, "75011", "insee_is_postal"),
        (point_rules.postal_code, "00100", "postal_form"),
        (point_rules.delivery_point, "1234567891234", "pdl_form"),
        (point_rules.delivery_point, "１２３４５６７８９１２３４５", "pdl_form"),
        (point_rules.email, "contact at example.org", "email_form"),
        (opening_hours.canonical, "sur RDV", "opening_hours_form"),
        (opening_hours.canonical, "Mo-Fr", "opening_hours_form"),
        (opening_hours.canonical, "Mo-Fr 8:00-12:00 (sauf août)", "opening_hours_form"),
        (opening_hours.canonical, "Mo 08:00-25:00", "opening_hours_time"),
        (opening_hours.canonical, "Mo 08:60-12:00", "opening_hours_time"),
        (opening_hours.canonical, "PH off", "opening_hours_never"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_its_code(
    rule: Callable[[str], str], written: str, code: str
) -> None:
    with pytest.raises(Broken) as caught:
        rule(written)
    assert caught.value.code == code


def test_hours_become_periods_of_the_week() -> None:
    found = opening_hours.periods("Mo-Fr 08:00-12:00,Mo-Fr 14:00-18:00,Th 08:00-18:00")
    assert Period(1, 480, 720) in found
    assert Period(4, 480, 1080) in found
    assert len(found) == 11
    assert opening_hours.periods("24/7") == [Period(day, 0, 1440) for day in range(1, 8)]
    over_sunday = opening_hours.periods("Sa-Mo 22:00-06:00")
    assert {period.day for period in over_sunday} == {6, 7, 1}
    replaced = opening_hours.periods("08:00-20:00; Su,PH 09:00-12:00; Sa off")
    assert [p.day for p in replaced] == [1, 2, 3, 4, 5, 7, HOLIDAYS]
    assert replaced[-1] == Period(HOLIDAYS, 540, 720)
    assert replaced[-2] == Period(7, 540, 720)


@pytest.mark.parametrize(
    ("longitude", "latitude", "name"),
    [
        (2.35, 48.85, "metropolitan France"),
        (-4.49, 48.39, "metropolitan France"),
        (8.74, 41.93, "Corsica"),
        (-61.53, 16.24, "Guadeloupe"),
        (-61.07, 14.61, "Martinique"),
        (-52.33, 4.92, "French Guiana"),
        (55.45, -20.88, "La Réunion"),
        (45.23, -12.78, "Mayotte"),
    ],
)
def test_places_of_france_are_known_and_swapped_ones_told(
    longitude: float, latitude: float, name: str
) -> None:
    assert point_rules.region(longitude, latitude).name == name
    found = flaws(SiteStatic, {"longitude": latitude, "latitude": longitude})
    assert found[0].text.startswith("latitude and longitude look swapped")
    assert "inversées" in found[0].told("fr")


def test_a_place_elsewhere_needs_its_country() -> None:
    there = {"longitude": 13.4, "latitude": 52.5}
    assert codes(SiteStatic, there) == [("latitude", "coordinates_outside")]
    assert codes(SiteStatic, there | {"country": "DEU", "postal_code": "D-10115"}) == []


@pytest.mark.parametrize("value", [1, 7, 22, 43, 150, 350, 499])
def test_power_in_kw_is_refused_with_the_watts_that_were_meant(value: int) -> None:
    with pytest.raises(Broken) as caught:
        point_rules.power_w(value)
    assert caught.value.code == "power_looks_like_kw"
    text = static_data.message(caught.value.code, "en", **caught.value.parts)
    assert f"write {value * 1000}" in text


@pytest.mark.parametrize(
    ("day", "months", "last"),
    [
        (date(2026, 3, 15), 24, date(2028, 3, 15)),
        (date(2024, 2, 29), 12, date(2025, 2, 28)),
        (date(2026, 12, 31), 2, date(2027, 2, 28)),
    ],
)
def test_months_end_on_the_same_day_or_the_months_last(day: date, months: int, last: date) -> None:
    assert point_rules.months_later(day, months) == last


# --- Models --------------------------------------------------------------------------------------


def test_site_is_kept_in_canonical_form_and_reads_back() -> None:
    stored = SiteStatic.model_validate(SITE).stored()
    assert stored["afirev_station_id"] == "FRABCP1"
    assert stored["operator_phone"] == "+33184710062"
    assert "other" not in stored
    assert SiteStatic.model_validate(stored).stored() == stored
    assert json.loads(json.dumps(stored)) == stored


@pytest.mark.parametrize(
    ("model", "values", "expected"),
    [
        (SiteStatic, {"colour": "red"}, ("colour", "extra_forbidden")),
        (SiteStatic, {"implantation": "Voirie"}, ("implantation", "literal_error")),
        (SiteStatic, {"two_wheelers_only": 1}, ("two_wheelers_only", "bool_type")),
        (SiteStatic, {"power_w_max": 150}, ("power_w_max", "power_looks_like_kw")),
        (SiteStatic, {"postal_code": "750"}, ("postal_code", "postal_form")),
        (SiteStatic, {"height_max_m": 0}, ("height_max_m", "greater_than")),
        (SiteStatic, {"commissioned_on": 1_700_000_000}, ("commissioned_on", "value_error")),
        (SiteStatic, {"city": "A\0B"}, ("", "value_error")),
        (SiteStatic, {"other": {"x": "y" * 40_000}}, ("other", "other_too_much")),
        (SiteStatic, {"other": json.loads('{"a":' * 400 + "{}" + "}" * 400)}, DEEP),
        (SiteStatic, {"longitude": float("nan")}, ("", "value_error")),
        (
            StationStatic,
            {"installed_on": "2026-05-02", "commissioned_on": "2026-05-01"},
            ("", "dates_order"),
        ),
        (StationStatic, {"floor": "under"}, ("floor", "value_error")),
        (
            EvseStatic,
            {"connectors": [{"connector_id": 1}, {"connector_id": 1}]},
            ("", "connector_twice"),
        ),
    ],
)
def test_refusal_names_field_and_rule(
    model: Any, values: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert expected in codes(model, values)


def test_floor_is_a_number_where_it_is_one() -> None:
    for written, kept in ((-1, -1), ("-1", -1), ("RC", "RC")):
        assert StationStatic.model_validate({"floor": written}).stored() == {"floor": kept}


def test_warranties_follow_from_dates_unless_stated() -> None:
    life = Life(installed_on=date(2026, 2, 27), commissioned_on=date(2026, 3, 2))
    due = static_data.warranty(life)
    assert due.manufacturer_until == date(2028, 3, 2)
    assert due.installation_until == date(2027, 2, 27)
    stated = life.model_copy(update={"warranty_manufacturer_until": date(2031, 3, 2)})
    assert static_data.warranty(stated).manufacturer_until == date(2031, 3, 2)
    assert static_data.warranty(Life()).installation_until is None


def test_a_point_takes_what_it_does_not_say_from_site_and_station() -> None:
    site = SiteStatic(reservation=True, free=False)
    evse = EvseStatic(free=True, commissioned_on=date(2026, 2, 1))
    terms = static_data.terms_of(site, evse)
    assert (terms.reservation, terms.free, terms.pays_card) == (True, True, None)
    station = StationStatic(commissioned_on=date(2026, 1, 1), installed_on=date(2025, 12, 1))
    life = static_data.life_of(station, evse)
    assert (life.commissioned_on, life.installed_on) == (date(2026, 2, 1), date(2025, 12, 1))


def test_what_is_stored_badly_is_left_out_and_told() -> None:
    stored = {"owner_siren": "123456789", "city": "Paris", "longitude": 48.8, "latitude": 2.3}
    found, told = static_data.lenient(SiteStatic, stored)
    assert (found.city, found.owner_siren, found.longitude) == ("Paris", None, None)
    assert {flaw.code for flaw in told} == {"siren_checksum", "coordinates_swapped"}
    assert ("stored_badly", "site.owner_siren") in findings_of(SITE | {"owner_siren": "1"})
    assert ("missing", "site.owner_siren") not in findings_of(SITE | {"owner_siren": "1"})


def test_merging_keeps_what_is_not_stated_at_every_depth() -> None:
    before = {"city": "Paris", "other": {"a": 1, "irve": {"x": "1"}}}
    stated = {"address": "1 rue X", "other": {"irve": {"y": "2"}}}
    assert static_data.merged(before, stated) == {
        "city": "Paris",
        "address": "1 rue X",
        "other": {"a": 1, "irve": {"x": "1", "y": "2"}},
    }


# --- Findings ------------------------------------------------------------------------------------


def test_a_complete_point_lacks_nothing() -> None:
    assert findings_of() == set()


@pytest.mark.parametrize("name", sorted(SITE))
def test_each_fact_of_a_site_is_missed(name: str) -> None:
    site = {key: value for key, value in SITE.items() if key != name}
    owner = "evse" if name in ("pmr_access", "reservation", "pays_ad_hoc") else "site"
    assert findings_of(site) == {("missing", f"{owner}.{name}")}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"grid_connection": "direct"}, ("pdl_direct", "site.delivery_point")),
        ({"afirev_station_id": "FRXYZP1"}, ("prefix_differs", "evse.evse_uid")),
        ({"insee_code": "2A004"}, ("commune_elsewhere", "site.insee_code")),
        ({"commissioned_on": "2027-01-01"}, ("in_future", "site.commissioned_on")),
        (
            {"free": True, "tariff_text": "0,40 €"},
            ("tariff_free_contradiction", "evse.tariff_text"),
        ),
    ],
)
def test_contradictions_of_a_site_are_found(
    changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert findings_of(SITE | changes) == {expected}


def test_contradictions_of_a_point_are_found() -> None:
    bare = EvseFacts(None, None, {}, {})
    assert findings_of(point=bare) == {
        ("missing", "evse.evse_uid"),
        ("missing", "evse.power_w_max"),
        ("no_connector", "evse.connectors"),
    }
    dc = EvseFacts("FRABCE1", 50_000, {1: "cCCS2"}, EVSE)
    assert findings_of(point=dc) == {("current_dc_only", "evse.connectors.1.current")}
    gone = findings_of(station={"decommissioned_on": "2026-11-25"})
    assert gone == {("decommissioned", "evse.decommissioned_on")}
    weak = EvseFacts("FRABCE1", 1_000, {1: "sType2"}, EVSE)
    assert findings_of(point=weak) == {("power_too_little", "evse.power_w_max")}


def test_every_finding_speaks_both_languages() -> None:
    bare = EvseFacts("FRXYZE1", 1_000, {1: "sType2"}, {})
    site = SITE | {"owner_siren": "1", "insee_code": "97411", "grid_connection": "direct"}
    for finding in declarable(SiteFacts("", site), StationFacts({}), bare, TODAY):
        assert finding.needed_by
        assert set(finding.needed_by) <= set(READERS)
        assert finding.told("en") != finding.told("fr")


def test_every_rule_has_its_sentence_in_both_languages_with_the_same_parts() -> None:
    for code, texts in static_data.TEXTS.items():
        assert set(texts) == {"en", "fr"}, code
        parts = [sorted(p.split("}")[0] for p in text.split("{")[1:]) for text in texts.values()]
        assert parts[0] == parts[1], code
        assert " :" not in texts["fr"], f"{code}: a narrow space stands before a colon"


# --- The official files --------------------------------------------------------------------------


def _file(*parts: str) -> Path:
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {path.name} of the shared data")
    return path


@pytest.mark.data
def test_our_words_cover_the_official_ones_both_ways() -> None:
    schema = json.loads(_file("irve", "schema-statique.json").read_text(encoding="utf-8"))
    columns = {column["name"]: column for column in schema["fields"]}
    for name, words in (
        ("implantation_station", irve.IMPLANTATION),
        ("condition_acces", irve.ACCESS),
        ("accessibilite_pmr", irve.PMR_ACCESS),
        ("raccordement", irve.GRID_CONNECTION),
    ):
        official = columns[name].get("constraints", columns[name])["enum"]
        assert list(words) == official
        assert [irve.label(words, ours) for ours in words.values()] == official
    assert set(irve.sockets(["sType2"])) <= set(columns)


@pytest.mark.data
def test_official_identifiers_hours_and_numbers_are_taken() -> None:
    with _file("irve", "exemple-statique.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    document = json.loads(_file("qualicharge-openapi.json").read_text(encoding="utf-8"))
    rows += document["components"]["schemas"]["Statique-Input"]["examples"]
    assert len(rows) > 2
    for row in rows:
        station, point = row["id_station_itinerance"], row["id_pdc_itinerance"]
        assert point_rules.point_id(point) == point
        if station[5] == "E":  # one of QualiCharge's own examples has the letter of a point
            with pytest.raises(Broken, match="station_id_letter"):
                point_rules.station_id(station)
        else:
            assert point_rules.station_id(station) == station
        longitude, latitude = json.loads(row["coordonneesXY"])
        point_rules.region(longitude, latitude)
        point_rules.siren(row["siren_amenageur"])
        point_rules.delivery_point(row["num_pdl"])
        opening_hours.periods(row["horaires"])


@pytest.mark.data
def test_locations_of_the_ocpi_specification_fit_into_a_site() -> None:
    for path in sorted(_file("ocpi-2.2.1-examples").glob("location_example*.json")):
        location = json.loads(path.read_text(encoding="utf-8"))
        site = SiteStatic.model_validate(
            {
                "address": location["address"],
                "city": location["city"],
                "postal_code": location.get("postal_code"),
                "country": location["country"],
                "longitude": float(location["coordinates"]["longitude"]),
                "latitude": float(location["coordinates"]["latitude"]),
                "parking_type": location.get("parking_type", "").lower() or None,
                "operator_name": location.get("operator", {}).get("name"),
            }
        )
        assert site.city == location["city"]
        for evse in location.get("evses", []):
            connectors = [
                {
                    "connector_id": int(connector["id"]),
                    "format": connector["format"].lower(),
                    "current": connector["power_type"].lower(),
                    "voltage_max_v": connector["max_voltage"],
                    "current_max_a": connector["max_amperage"],
                    "tariff_ids": connector.get("tariff_ids"),
                }
                for connector in evse["connectors"]
            ]
            floor = evse.get("floor_level")
            read = EvseStatic.model_validate({"floor": floor, "connectors": connectors})
            assert len(read.connectors) == len(evse["connectors"])
