"""The national static file: good points are in it, wrong ones are told, private ones nowhere."""

import csv
import io
import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reporting.irve import static_rows
from reporting.irve.checks import check_row
from reporting.irve.findings import Effect, Finding
from reporting.irve.schema import STATIC, STATIC_NAMES, csv_bytes
from reporting.irve.static_rows import build
from reporting.irve.summary import static_summary
from reporting.irve.texts import EXPECTED, TEXTS
from tests import table_schema
from tests.irve_world import CHANGED_AT, EVSE, SITE, TODAY, built, good_row, point

DATA = Path(__file__).parents[2] / "shared" / "data" / "irve"
needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"needs {DATA.name} of shared/data")

PREFIXES = ("FRABC", "FRA68")


def findings(row: dict[str, str]) -> list[Finding]:
    return check_row(row, TODAY, PREFIXES)


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


# --- A good row -----------------------------------------------------------------------------------


def test_a_point_becomes_a_row_in_the_schemas_words() -> None:
    static = built(point())
    assert not static.refused and not static.doubtful and not static.not_in_force
    assert static.content().decode() == (
        ",".join(STATIC_NAMES) + "\n"
        "Syndicat Exemple,130025265,contact@example.org,Opérateur Exemple,bornes@example.org,"
        "+33184710062,Réseau Exemple,FRABCP1,S-1,Les Tilleuls,"
        "Parking privé réservé à la clientèle,12 rue des Tilleuls 75012 Paris,75112,"
        '"[2.4032,48.8398]",1,FRABCE1,B1,22,true,true,false,false,false,false,true,true,false,'
        '"0,40 € / kWh",Accès réservé,false,"Mo-Fr 08:00-12:00,Sa 09:00-12:00",'
        'Accessible mais non réservé PMR,"Hauteur maximale 2,1 m",false,Direct,12345678912345,'
        "2024-05-06,,2026-11-21,false\n"
    )


def test_what_is_not_known_is_empty() -> None:
    names = ("owner_name", "owner_siren", "owner_email", "operator_name", "operator_phone")
    absent = dict.fromkeys((*names, "local_id", "insee_code", "commissioned_on"))
    absent |= {"grid_connection": None, "delivery_point": None}
    bare = built(point(site=absent, evse=dict.fromkeys(EVSE)))
    (row,) = bare.rows
    assert not bare.refused
    empty = {name for name, value in row.items() if not value}
    assert empty == {
        *("nom_amenageur", "siren_amenageur", "contact_amenageur", "nom_operateur"),
        *("telephone_operateur", "id_station_local", "code_insee_commune", "id_pdc_local"),
        *("gratuit", "paiement_cb", "paiement_autre", "tarification", "raccordement", "num_pdl"),
        *("date_mise_en_service", "observations"),
    }
    assert row["restriction_gabarit"] == "inconnu"


@pytest.mark.parametrize(
    ("power_w", "text"),
    [(22_000, "22"), (7_400, "7.4"), (3_680, "3.68"), (100_000, "100"), (999, "0.999")],
)
def test_power_is_in_kilowatts(power_w: int, text: str) -> None:
    (row,) = built(point(power_w_max=power_w, connectors={1: "sType2", 2: "cCCS2"})).rows
    assert row["puissance_nominale"] == text


@pytest.mark.parametrize(
    ("longitude", "latitude", "text"),
    [
        (2.0, 48.0, "[2,48]"),
        (-0.00000001, 48.5, "[0,48.5]"),
        (2.123456789, 47.1, "[2.1234568,47.1]"),
    ],
)
def test_coordinates_have_the_longitude_first_and_no_space(
    longitude: float, latitude: float, text: str
) -> None:
    place = {"longitude": longitude, "latitude": latitude, "insee_code": None}
    (row,) = built(point(site=place)).rows
    assert row["coordonneesXY"] == text


def test_rows_of_a_station_say_the_same_of_it_and_count_themselves() -> None:
    days = [{"commissioned_on": f"2024-0{n}-01"} for n in (7, 3, 5)]
    site = {"commissioned_on": None}
    static = built(*(point(n, site=site, evse=day) for n, day in enumerate(days, start=1)))
    assert [row["nbre_pdc"] for row in static.rows] == ["3", "3", "3"]
    assert {row["date_mise_en_service"] for row in static.rows} == {"2024-03-01"}


def test_a_wrong_point_is_held_back_and_not_counted() -> None:
    static = built(point(1), point(2, power_w_max=None), point(3))
    assert [row["id_pdc_itinerance"] for row in static.rows] == ["FRABCE1", "FRABCE3"]
    assert {row["nbre_pdc"] for row in static.rows} == {"2"}
    (refused,) = static.refused
    assert static_rows.told(refused, "fr") == [
        "site tilleuls, point FRABCE2 (borne CP-2/1), colonne puissance_nominale : aucune valeur "
        "n’est enregistrée. Renseignez evse.power_w_max."
    ]
    assert static_rows.told(refused, "en") == [
        "site tilleuls, point FRABCE2 (station CP-2/1), column puissance_nominale: no value is "
        "stored. Enter evse.power_w_max."
    ]


def test_the_same_data_give_the_same_bytes_in_whatever_order() -> None:
    points = [point(n, evse={"connectors": [{"connector_id": 1}]}) for n in range(1, 30)]
    content = built(*points).content()
    assert built(*reversed(points)).content() == content
    assert build(points, date(2026, 12, 24)).content() == content


def test_rows_go_by_the_identifiers_of_station_and_point() -> None:
    other = {"afirev_station_id": "FRABCP0"}
    points = [
        point(1, evse_uid="FRABCE9"),
        point(2, evse_uid="FRABCE10"),
        point(3, site_id="z", site=other),
    ]
    assert [row["id_pdc_itinerance"] for row in built(*points).rows] == [
        *("FRABCE3", "FRABCE10", "FRABCE9"),
    ]


def test_a_text_of_several_lines_is_one_line() -> None:
    text = "Accès par la rampe,\r\n  puis à gauche\tau fond"
    (row,) = built(point(evse={"observations": text})).rows
    assert row["observations"] == "Accès par la rampe, puis à gauche au fond"


@pytest.mark.parametrize(
    ("station", "evse"),
    [
        ({"decommissioned_on": "2026-11-25"}, {}),
        ({}, {"decommissioned_on": "2025-01-01"}),
        ({"commissioned_on": "2026-11-26"}, {}),
    ],
)
def test_a_point_that_is_not_in_force_is_left_out(
    station: dict[str, str], evse: dict[str, str]
) -> None:
    static = built(point(1), point(2, station=station, evse=evse))
    assert [gone.evse_uid for gone in static.not_in_force] == ["FRABCE2"]
    assert [row["nbre_pdc"] for row in static.rows] == ["1"]
    assert "FRABCE2" not in static.content().decode()
    assert not static.refused


def test_points_of_a_client_whose_contract_has_no_declaration_are_held_back() -> None:
    static = built(point(1), point(2, client_id=7, client="Les Lilas"), closed_clients={7})
    assert len(static.rows) == 1
    assert "Les Lilas" in static_summary(static, "fr")


def test_the_summary_says_what_is_held_back_and_that_it_would_cost_the_file() -> None:
    static = built(point(1), point(2, site={"operator_email": None}, site_id="lilas"))
    text = static_summary(static, "fr")
    assert "1 point(s) publié(s), dans 1 station(s)." in text
    assert "Renseignez site.operator_email." in text
    assert "ferait refuser le fichier entier" in text
    assert "leave out the whole file" in static_summary(static, "en")


# --- Rows with one fault --------------------------------------------------------------------------

WRONG: list[tuple[str, dict[str, str], str, Effect]] = [
    ("siren_amenageur", {"siren_amenageur": "13002526"}, "siren_form", Effect.FILE),
    ("siren_amenageur", {"siren_amenageur": "130025266"}, "siren_checksum", Effect.WRONG),
    ("siren_amenageur", {"siren_amenageur": "000000000"}, "siren_checksum", Effect.WRONG),
    ("contact_amenageur", {"contact_amenageur": "contact"}, "email_form", Effect.FILE),
    ("contact_operateur", {"contact_operateur": ""}, "required", Effect.FILE),
    ("contact_operateur", {"contact_operateur": "bornes@fool"}, "email_form", Effect.FILE),
    ("telephone_operateur", {"telephone_operateur": "111111111"}, "phone_form", Effect.WRONG),
    ("nom_enseigne", {"nom_enseigne": " "}, "required", Effect.FILE),
    ("nom_station", {"nom_station": ""}, "required", Effect.FILE),
    (
        "id_station_itinerance",
        {"id_station_itinerance": "FR*ABC*P1"},
        "id_separators",
        Effect.FILE,
    ),
    ("id_station_itinerance", {"id_station_itinerance": "12 34"}, "id_form", Effect.FILE),
    ("id_station_itinerance", {"id_station_itinerance": "FRABCE1"}, "station_letter", Effect.WRONG),
    ("id_station_itinerance", {"id_station_itinerance": "FRABCX1"}, "id_letter", Effect.WRONG),
    ("id_pdc_itinerance", {"id_pdc_itinerance": ""}, "required", Effect.FILE),
    ("id_pdc_itinerance", {"id_pdc_itinerance": "FR*ABC*E1*1"}, "id_separators", Effect.FILE),
    ("id_pdc_itinerance", {"id_pdc_itinerance": "frabce1"}, "id_separators", Effect.FILE),
    ("id_pdc_itinerance", {"id_pdc_itinerance": "FRABCE1\n"}, "id_separators", Effect.FILE),
    ("id_pdc_itinerance", {"id_pdc_itinerance": "FRABCP9"}, "point_letter", Effect.WRONG),
    ("id_pdc_itinerance", {"id_pdc_itinerance": "FRABC9999"}, "id_letter", Effect.WRONG),
    (
        "id_pdc_itinerance",
        {"id_pdc_itinerance": "FRABCE" + "1" * 30},
        "id_form",
        Effect.FILE,
    ),
    ("id_pdc_itinerance", {"id_pdc_itinerance": "FRXYZE1"}, "prefix_differs", Effect.WRONG),
    (
        "id_pdc_itinerance",
        {"id_pdc_itinerance": "FRA68E680210015", "id_station_itinerance": "FRA68P1"},
        "id_example",
        Effect.WRONG,
    ),
    (
        "id_pdc_itinerance",
        {"id_pdc_itinerance": "FRXYZE1", "id_station_itinerance": "FRXYZP1"},
        "prefix_foreign",
        Effect.WRONG,
    ),
    ("id_pdc_itinerance", {"id_pdc_itinerance": "Non concerné"}, "not_concerned", Effect.DROPPED),
    ("implantation_station", {"implantation_station": "Parking"}, "word", Effect.FILE),
    ("condition_acces", {"condition_acces": "Accès réservé "}, "word", Effect.FILE),
    ("accessibilite_pmr", {"accessibilite_pmr": ""}, "required", Effect.FILE),
    ("accessibilite_pmr", {"accessibilite_pmr": "oui"}, "word", Effect.FILE),
    ("raccordement", {"raccordement": "direct"}, "word", Effect.FILE),
    ("adresse_station", {"adresse_station": ""}, "required", Effect.FILE),
    ("code_insee_commune", {"code_insee_commune": "2A4"}, "insee_form", Effect.FILE),
    ("code_insee_commune", {"code_insee_commune": "75012"}, "commune_postal", Effect.WRONG),
    ("code_insee_commune", {"code_insee_commune": "21000"}, "commune_postal", Effect.WRONG),
    (
        "code_insee_commune",
        {"code_insee_commune": "69003", "adresse_station": "1 rue Servient 69003 Lyon"},
        "commune_postal",
        Effect.WRONG,
    ),
    ("code_insee_commune", {"code_insee_commune": "2A004"}, "commune_elsewhere", Effect.WRONG),
    ("coordonneesXY", {"coordonneesXY": "2.4032,48.8398"}, "place_form", Effect.FILE),
    ("coordonneesXY", {"coordonneesXY": "[2,4032 48,8398]"}, "place_form", Effect.FILE),
    ("coordonneesXY", {"coordonneesXY": "[2.4032, 48.8398]"}, "place_spaces", Effect.FIXED),
    ("coordonneesXY", {"coordonneesXY": "[48.8398,2.4032]"}, "place_swapped", Effect.FIXED),
    (
        "coordonneesXY",
        {"coordonneesXY": "[-21.1,55.5]"},
        "place_swapped",
        Effect.WRONG,
    ),
    ("coordonneesXY", {"coordonneesXY": "[0,0]"}, "place_outside", Effect.WRONG),
    ("nbre_pdc", {"nbre_pdc": "deux"}, "integer_form", Effect.FILE),
    ("nbre_pdc", {"nbre_pdc": "-1"}, "integer_form", Effect.FILE),
    ("puissance_nominale", {"puissance_nominale": "22,0"}, "number_comma", Effect.FILE),
    ("puissance_nominale", {"puissance_nominale": "22 kW"}, "number_form", Effect.FILE),
    ("puissance_nominale", {"puissance_nominale": "NaN"}, "number_form", Effect.FILE),
    ("puissance_nominale", {"puissance_nominale": "22000"}, "power_watts", Effect.WRONG),
    ("puissance_nominale", {"puissance_nominale": "3700"}, "power_watts", Effect.WRONG),
    ("puissance_nominale", {"puissance_nominale": "0.022"}, "power_little", Effect.WRONG),
    ("prise_type_2", {"prise_type_2": "oui"}, "truth_form", Effect.FILE),
    ("prise_type_2", {"prise_type_2": "VRAI"}, "truth_spelling", Effect.FIXED),
    ("prise_type_2", {"prise_type_2": ""}, "required", Effect.FILE),
    (
        "prise_type_ef",
        {"prise_type_ef": "false", "prise_type_2": "false"},
        "no_socket",
        Effect.WRONG,
    ),
    (
        "cable_t2_attache",
        {"prise_type_2": "false", "cable_t2_attache": "true"},
        "cable_without_t2",
        Effect.WRONG,
    ),
    ("tarification", {"gratuit": "true"}, "free_priced", Effect.WRONG),
    ("reservation", {"reservation": "non"}, "truth_form", Effect.FILE),
    ("horaires", {"horaires": "sur RDV"}, "hours_pattern", Effect.FILE),
    ("horaires", {"horaires": "lundi-vendredi 08:00-12:00"}, "hours_form", Effect.WRONG),
    ("horaires", {"horaires": "Mo-Fr 25:00-26:00"}, "hours_form", Effect.WRONG),
    ("restriction_gabarit", {"restriction_gabarit": ""}, "required", Effect.FILE),
    ("restriction_gabarit", {"restriction_gabarit": "N/A"}, "size_limits_empty", Effect.WRONG),
    ("num_pdl", {"num_pdl": "1234"}, "pdl_form", Effect.WRONG),
    ("num_pdl", {"num_pdl": ""}, "pdl_missing", Effect.WRONG),
    ("date_mise_en_service", {"date_mise_en_service": "14/01/2020"}, "date_form", Effect.FILE),
    ("date_mise_en_service", {"date_mise_en_service": "2026-12-01"}, "date_future", Effect.WRONG),
    ("date_maj", {"date_maj": "2026-02-30"}, "date_unreal", Effect.FILE),
    ("date_maj", {"date_maj": "2026-11-26"}, "date_future", Effect.WRONG),
]
DOUBTFUL: list[tuple[dict[str, str], str]] = [
    ({"adresse_station": "12 rue des Tilleuls Paris"}, "address_postal"),
    ({"code_insee_commune": "69123"}, "commune_department"),
    (
        {"code_insee_commune": "35400", "adresse_station": "1 quai, 35400 Saint-Malo"},
        "commune_as_postal",
    ),
    ({"puissance_nominale": "150"}, "power_ac"),
]


def test_the_good_row_has_no_fault() -> None:
    assert findings(good_row()) == []


@pytest.mark.parametrize(
    ("column", "changes", "code", "effect"),
    WRONG,
    ids=[f"{code}-{next(iter(changes.values()))[:20]!r}" for _, changes, code, _ in WRONG],
)
def test_a_row_with_one_fault_is_refused_with_what_to_do(
    column: str, changes: dict[str, str], code: str, effect: Effect
) -> None:
    found = findings(good_row(**changes))
    told = [(finding.column, finding.code, finding.effect) for finding in found]
    assert told == [(column, code, effect)]
    (finding,) = found
    assert finding.refuses
    for language in ("fr", "en"):
        sentence = finding.told(language)
        what, _, remedy = sentence.partition(". ")
        assert what and re.match(r"[A-ZÉ]", remedy), sentence
        assert sentence.endswith((".", "?")) or len(sentence) > 500
        assert "{" not in sentence
    assert findings(good_row(**changes))[0].told("fr") != finding.told("en")


def test_there_are_forty_faults_of_all_kinds() -> None:
    assert len(WRONG) >= 40
    assert {effect for *_, effect in WRONG} == set(Effect) - {Effect.DOUBT}


@pytest.mark.parametrize(("changes", "code"), DOUBTFUL)
def test_a_doubtful_row_is_told_and_published(changes: dict[str, str], code: str) -> None:
    found = findings(good_row(**changes))
    assert [(finding.code, finding.refuses) for finding in found] == [(code, False)]


def test_every_fault_of_a_row_is_told_at_once() -> None:
    row = good_row(contact_operateur="", puissance_nominale="22000", num_pdl="1")
    assert [finding.code for finding in findings(row)] == ["required", "power_watts", "pdl_form"]


def test_prefixes_are_not_compared_where_none_is_set() -> None:
    row = good_row(id_pdc_itinerance="FRXYZE1", id_station_itinerance="FRXYZP1")
    assert check_row(row, TODAY) == []


def test_a_value_of_somebody_elses_is_shown_without_what_moves_a_terminal() -> None:
    (finding,) = findings(good_row(horaires="\x1b[2J\x07" + "x" * 500))
    sentence = finding.told("fr")
    assert sentence.isprintable() and len(sentence) < 300


def test_every_sentence_is_there_in_both_languages() -> None:
    for code, sentences in (TEXTS | EXPECTED).items():
        assert set(sentences) == {"fr", "en"}, code
        names = [set(re.findall(r"\{(\w+)\}", text)) for text in sentences.values()]
        assert names[0] == names[1], code


# --- What is stored wrongly -----------------------------------------------------------------------

STORED: list[tuple[dict[str, Any], str, str]] = [
    ({"site": {"operator_email": None}}, "contact_operateur", "stored_missing"),
    ({"site": {"afirev_station_id": None}}, "id_station_itinerance", "stored_missing"),
    ({"site": {"longitude": None}}, "coordonneesXY", "stored_missing"),
    ({"site": {"pmr_access": None}}, "accessibilite_pmr", "stored_missing"),
    ({"site": {"city": None}}, "adresse_station", "stored_missing"),
    ({"site_name": ""}, "nom_station", "stored_missing"),
    ({"evse_uid": None}, "id_pdc_itinerance", "stored_missing"),
    ({"connectors": {1: None}}, "prise_type_ef", "stored"),
    ({"site": {"delivery_point": None}}, "num_pdl", "stored"),
    ({"site": {"insee_code": "97411"}}, "code_insee_commune", "stored"),
    ({"site": {"owner_siren": "123456789"}}, "siren_amenageur", "stored_badly"),
    ({"site": {"two_wheelers_only": "non"}}, "station_deux_roues", "stored_badly"),
    ({"site": {"implantation": "moon"}}, "implantation_station", "stored_badly"),
    ({"site": {"longitude": 48.8, "latitude": 2.4}}, "coordonneesXY", "stored_badly"),
    ({"evse": {"decommissioned_on": "hier"}}, "", "stored_badly"),
    (
        {"evse": {"commissioned_on": "2025-01-01", "decommissioned_on": "2024-01-01"}},
        "",
        "stored",
    ),
    ({"evse": {"free": True}}, "tarification", "stored"),
    ({"power_w_max": 2_000_000}, "puissance_nominale", "power_watts"),
    ({"evse_uid": "FRXYZE1"}, "id_pdc_itinerance", "stored"),
    ({"evse_uid": "FRABCP1"}, "id_pdc_itinerance", "point_letter"),
    ({"site": {"commissioned_on": "2027-01-01"}}, "date_mise_en_service", "date_future"),
    ({"site": {"country": "DEU", "longitude": 13.4, "latitude": 52.5, "insee_code": None}},
     "coordonneesXY", "place_outside"),
    ({"site_id": None, "site_name": "", "site": dict.fromkeys(SITE)}, "", "no_site"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "column", "code"), STORED, ids=[f"{c[1]}-{c[2]}-{n}" for n, c in enumerate(STORED)]
)
def test_a_point_that_is_stored_wrongly_is_told_by_what_to_change(
    changes: dict[str, Any], column: str, code: str
) -> None:
    static = built(point(1), point(2, **({"site_id": "lilas"} | changes)))
    (refused,) = static.refused
    assert (column, code) in {(f.column, f.code) for f in refused.findings}
    for line in static_rows.told(refused, "fr"):
        assert re.search(r"\. [A-ZÉ]", line), line
    assert [row["id_pdc_itinerance"] for row in static.rows] == ["FRABCE1"]


def test_what_no_column_needs_holds_nothing_back() -> None:
    bad = {"warranty_manufacturer_until": "x", "parking_type": "x"}
    static = built(point(site=bad, evse={"installed_on": "x", "mass_max_t": 3.5}))
    assert len(static.rows) == 1


# --- Points together ------------------------------------------------------------------------------


def test_two_points_of_one_identifier_are_both_held_back() -> None:
    static = built(point(1), point(2), point(3, evse_uid="FRABCE2"))
    assert [row["id_pdc_itinerance"] for row in static.rows] == ["FRABCE1"]
    lines = [line for refused in static.refused for line in static_rows.told(refused, "fr")]
    assert len(lines) == 2 and all("CP-2/1, CP-3/1" in line for line in lines)


def test_two_sites_with_one_station_are_both_held_back() -> None:
    static = built(point(1), point(2, site=SITE, site_id="lilas"))
    assert static.rows == ()
    assert {f.code for refused in static.refused for f in refused.findings} == {"station_shared"}


@pytest.mark.parametrize(
    ("first", "second", "doubtful"),
    [
        ("sType2", "sCEE-7-7", True),
        ("cCCS2", "cG105", True),
        ("sType2", "sType2", False),
        ("cCCS2", "sType2", False),
    ],
)
def test_connectors_that_look_like_points_are_told_and_published(
    first: str, second: str, doubtful: bool
) -> None:
    static = built(point(1, connectors={1: first}), point(2, connectors={1: second}))
    assert len(static.rows) == 2
    codes = [f.code for told in static.doubtful for f in told.findings]
    assert codes == (["connector_as_point"] if doubtful else [])


def test_points_of_one_kind_among_others_are_no_connectors() -> None:
    kinds = ("sType2", "sCEE-7-7", "sType2")
    static = built(*(point(n, connectors={1: kind}) for n, kind in enumerate(kinds, start=1)))
    assert len(static.rows) == 3 and static.doubtful == ()


# --- The official schema --------------------------------------------------------------------------


def test_the_columns_are_those_of_the_schema() -> None:
    ours = [(c.name, c.required, bool(c.pattern), list(c.words)) for c in STATIC]
    theirs = [
        (name, constraints["required"], "pattern" in constraints, constraints.get("enum", []))
        for name, _, constraints in table_schema.STATIC
    ]
    assert ours == theirs


@pytest.mark.data
@needs_data
@pytest.mark.parametrize(
    ("name", "ours"),
    [("statique", table_schema.STATIC), ("dynamique", table_schema.DYNAMIC)],
)
def test_our_copy_of_the_schema_is_the_official_one(
    name: str, ours: list[tuple[str, str, dict[str, Any]]]
) -> None:
    official = json.loads((DATA / f"schema-{name}.json").read_text(encoding="utf-8"))
    theirs = [(f["name"], f["type"], f["constraints"]) for f in official["fields"]]
    assert ours == theirs


def official_faults(content: bytes, name: str, folder: Path) -> list[str]:
    """What frictionless finds by the official schema."""
    from frictionless import Resource, Schema, system

    (folder / "file.csv").write_bytes(content)
    schema = Schema.from_descriptor(str(DATA / f"schema-{name}.json"))
    with system.use_context(trusted=True):
        report = Resource(path=str(folder / "file.csv"), schema=schema).validate()
    return [f"{row}" for row in report.flatten(["rowNumber", "fieldName", "message"])]


@pytest.mark.data
@needs_data
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_file_passes_the_official_schema(tmp_path: Path) -> None:
    bordeaux = {"longitude": -0.5, "latitude": 44.8, "insee_code": "33063", "postal_code": "33000"}
    points = [
        point(1),
        point(2, evse=dict.fromkeys(EVSE), power_w_max=7_360),
        point(3, site=bordeaux, site_id="b", connectors={1: "cCCS2", 2: "cG105", 3: "cType2"}),
    ]
    static = built(*points)
    assert len(static.rows) == 3
    assert official_faults(static.content(), "statique", tmp_path) == []


@pytest.mark.data
@needs_data
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_the_schema_refuses_is_refused_by_us_too(tmp_path: Path) -> None:
    known = 0
    for _, changes, code, effect in WRONG:
        row = good_row(**changes)
        refused = official_faults(csv_bytes(STATIC_NAMES, [row]), "statique", tmp_path)
        if refused:  # the consolidation reads some spellings that the schema does not
            assert effect in (Effect.FILE, Effect.FIXED), (code, changes, refused)
        known += bool(refused)
    assert known > 20


# --- Whatever is stored ---------------------------------------------------------------------------


def some(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30) | some(
    '"', ",", "a\nb", "=1+1", " x ", "FR*ABC*P1", "1,5", "24/7"
)
ANY = (
    st.none()
    | TEXT
    | st.booleans()
    | st.integers(-10, 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
)
SITES = st.fixed_dictionaries(
    {},
    optional={
        name: st.just(value) | ANY if name != "brand_name" else TEXT for name, value in SITE.items()
    },
)
EVSES = st.fixed_dictionaries(
    {},
    optional={
        "tariff_text": TEXT,
        "observations": TEXT,
        "size_limits": TEXT,
        "local_id": TEXT,
        "height_max_m": st.floats(0, 25),
        "free": ANY,
        "pays_card": ANY,
        "commissioned_on": some("2020-01-01", "2027-01-01", "x", None),
        "decommissioned_on": some("2020-01-01", "2027-01-01", "x", None),
    },
)
TYPES = some("sType2", "cType2", "cCCS2", "cG105", "sCEE-7-7", "cTesla", "Unknown", None)
POINTS = st.builds(
    lambda number, site, evse, few, **values: point(
        number, site=site if few else {}, evse=evse, **values
    ),
    st.integers(1, 6),
    SITES,
    EVSES,
    st.booleans(),
    power_w_max=st.none() | st.integers(1, 5_000_000),
    connectors=st.dictionaries(st.integers(1, 4), TYPES, max_size=4),
    evse_uid=some("FRABCE1", "FRABCE2", "FRABCE33", "FRXYZE1", "FRABCP1", "FR*ABC*E1", None),
    site_id=some("tilleuls", "tilleuls", "lilas", None),
    site_name=TEXT,
    changed_at=st.integers(0, 9_000).map(lambda days: CHANGED_AT - timedelta(days=days)),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(POINTS, max_size=6))
def test_whatever_is_stored_what_is_published_passes(points: list[static_rows.Point]) -> None:
    static = built(*points)
    content = static.content()
    assert table_schema.faults(content, table_schema.STATIC) == []
    rows = rows_of(content)
    assert len({row["id_pdc_itinerance"] for row in rows}) == len(rows)
    for row in rows:
        assert int(row["nbre_pdc"]) == sum(
            other["id_station_itinerance"] == row["id_station_itinerance"] for other in rows
        )
        assert [f for f in check_row(row, TODAY) if f.refuses] == []
    told = len(static.rows) + len(static.refused) + len(static.not_in_force)
    assert told == len(points), "every point is in the file, or somebody is told why not"
    for language in ("fr", "en"):
        assert static_summary(static, language)
