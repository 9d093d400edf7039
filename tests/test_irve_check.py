"""What the national consolidation makes of a static file: refused, dropped, put right, or wrong."""

import csv
import io
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reporting.irve import consolidation
from reporting.irve.consolidation import Judgement, judge
from reporting.irve.findings import Effect
from reporting.irve.schema import STATIC_NAMES, csv_bytes
from reporting.irve.summary import judgement_summary
from tests.irve_world import TODAY, built, good_row, point

DATA = Path(__file__).parents[2] / "shared" / "data" / "irve"

GOOD = csv_bytes(STATIC_NAMES, [good_row()])


def judged(content: bytes, name: str = "irve.csv") -> Judgement:
    return judge(content, name, TODAY)


def codes(judgement: Judgement) -> set[tuple[str, str]]:
    return {(finding.effect.value, finding.code) for finding in judgement.findings}


def file_of(*rows: dict[str, str], without: tuple[str, ...] = (), extra: str = "") -> bytes:
    names = tuple(name for name in STATIC_NAMES if name not in without) + ((extra,) * bool(extra))
    return csv_bytes(
        names,
        [{name: row.get(name, "x") for name in names} for row in rows or (good_row(),)],
    )


def two(**changes: str) -> tuple[dict[str, str], dict[str, str]]:
    """Two points of one station, the second written otherwise."""
    first = good_row(nbre_pdc="2")
    return first, good_row(nbre_pdc="2", id_pdc_itinerance="FRABCE2", **changes)


def test_our_own_file_is_taken_whole() -> None:
    judgement = judged(built(*(point(n) for n in range(1, 6))).content())
    assert (judgement.rows, judgement.kept) == (5, 5)
    assert not judgement.findings and not judgement.is_left_out


@pytest.mark.parametrize(
    ("content", "name", "code"),
    [
        (b"", "irve.csv", "file_empty"),
        (b" \n\n", "irve.csv", "file_empty"),
        (b"PK\x03\x04" + GOOD, "irve.csv", "file_zip"),
        (GOOD, "irve.xlsx", "file_extension"),
        (b"n_amenageur,n_operateur,id_pdc\n1,2,3\n", "irve.csv", "file_v1"),
        (b"a,b,c\n1,2,3\n", "irve.csv", "file_no_id"),
        (b"x\n" + GOOD, "irve.csv", "file_no_id"),
        (GOOD.replace(b",", b"\t"), "irve.csv", "file_separator"),
        (GOOD.replace(b",", b"|", 40), "irve.csv", "file_separator"),
        (b"id_pdc_itinerance", "irve.csv", "file_separator"),
        (GOOD.replace(b",id_station_local", b";id_station_local"), "x", "file_separators_mixed"),
        (file_of(without=("horaires",)), "irve.csv", "column_missing"),
        (GOOD.replace(b"observations", b"horaires"), "irve.csv", "column_twice"),
        (GOOD + b"a,b,c\n", "irve.csv", "row_cells"),
        (GOOD + b'"a"b,\n', "irve.csv", "file_broken"),
        (GOOD + b'"never closed', "irve.csv", "file_broken"),
    ],
)
def test_a_file_that_is_left_out_whole_is_told_why(content: bytes, name: str, code: str) -> None:
    judgement = judged(content, name)
    assert judgement.is_left_out and judgement.kept == 0
    assert ("file", code) in codes(judgement)
    assert "REFUSÉ" in judgement_summary(judgement, name, "fr")
    assert "LEFT OUT" in judgement_summary(judgement, name, "en")


def test_one_bad_row_of_many_leaves_the_file_out() -> None:
    rows = [good_row(nbre_pdc="50", id_pdc_itinerance=f"FRABCE{n}") for n in range(50)]
    rows[30] = rows[30] | {"accessibilite_pmr": ""}
    judgement = judged(file_of(*rows))
    assert (judgement.rows, judgement.kept, judgement.invalid) == (50, 0, {32})
    (finding,) = judgement.findings
    assert (finding.line, finding.point, finding.column) == (32, "FRABCE30", "accessibilite_pmr")
    assert "ligne 32, point FRABCE30, colonne accessibilite_pmr : " in judgement_summary(
        judgement, "x.csv", "fr"
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (GOOD.decode().encode("latin-1", errors="replace"), "encoding"),
        (file_of(without=("cable_t2_attache",)), "column_absent"),
        (file_of(good_row(reservation="FALSE")), "truth_spelling"),
        (file_of(good_row(coordonneesXY="[2.4032 , 48.8398]")), "place_spaces"),
        (file_of(good_row(coordonneesXY="[48.8398,2.4032]")), "place_swapped"),
    ],
)
def test_what_is_put_right_silently_is_told(content: bytes, code: str) -> None:
    judgement = judged(content)
    assert not judgement.is_left_out and judgement.kept == 1
    assert codes(judgement) == {("fixed", code)}
    assert "Corrigé d’office" in judgement_summary(judgement, "x.csv", "fr")


def test_semicolons_are_put_right() -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, STATIC_NAMES, delimiter=";")
    writer.writeheader()
    writer.writerow(good_row())
    assert codes(judged(text.getvalue().encode())) == {("fixed", "semicolons")}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\xef\xbb\xbf" + GOOD, "byte_order_mark"),
        (file_of(extra="couleur"), "column_unknown"),
        (csv_bytes(STATIC_NAMES, []), "file_no_row"),
    ],
)
def test_what_nobody_minds_is_told_as_a_doubt(content: bytes, code: str) -> None:
    judgement = judged(content)
    assert not judgement.is_left_out
    assert codes(judgement) == {("doubt", code)}


def test_carriage_returns_and_line_breaks_in_cells_are_read() -> None:
    row = good_row(observations='a "b"\nc, d', nbre_pdc="2")
    content = file_of(row, row | {"id_pdc_itinerance": "FRABCE2", "gratuit": "x"})
    judgement = judged(content.replace(b"\n", b"\r\n"))
    assert [(f.line, f.code) for f in judgement.findings] == [(4, "truth_form")]


# --- Rows of one identifier -----------------------------------------------------------------------


def dropped(*rows: dict[str, str]) -> dict[int, str]:
    """Line and code of the rows that are dropped."""
    count = str(len(rows))
    judgement = judged(file_of(*(row | {"nbre_pdc": count} for row in rows)))
    found = {f.line or 0: f.code for f in judgement.findings if f.effect is Effect.DROPPED}
    assert judgement.kept == len(rows) - len(found)
    assert set(found) == judgement.dropped
    return found


def test_of_the_same_rows_the_first_is_kept() -> None:
    row = good_row()
    assert dropped(row, row, row) == {3: "duplicate_exact", 4: "duplicate_exact"}


def test_the_latest_of_one_point_is_kept() -> None:
    rows = [good_row(date_maj=f"2025-0{n}-01") for n in (2, 3, 1)]
    assert dropped(*rows) == {2: "duplicate_older", 4: "duplicate_older"}


def test_of_different_rows_of_one_day_none_is_kept() -> None:
    rows = [good_row(), good_row(puissance_nominale="11"), good_row(date_maj="2020-01-01")]
    assert dropped(*rows) == {
        2: "duplicate_undecided",
        3: "duplicate_undecided",
        4: "duplicate_older",
    }


def test_points_without_an_identifier_are_all_dropped() -> None:
    rows = [good_row(), good_row(id_pdc_itinerance="Non concerné"), good_row(
        id_pdc_itinerance="Non concerné", id_pdc_local="B2")]  # fmt: skip
    assert dropped(*rows) == {3: "not_concerned", 4: "not_concerned"}


# --- Rows of one station --------------------------------------------------------------------------


def test_a_station_that_contradicts_itself_is_told() -> None:
    judgement = judged(file_of(*two(nom_station="Les Lilas", horaires="24/7")))
    found = [(f.line, f.column, f.code) for f in judgement.findings]
    assert found == [(3, "nom_station", "station_differs"), (3, "horaires", "station_differs")]
    assert judgement.kept == 2, "nobody nationally minds"
    assert "« Les Lilas » diffère de la première ligne de la station (2), qui porte" in (
        judgement_summary(judgement, "x.csv", "fr")
    )


def test_points_announced_and_not_there_are_told() -> None:
    judgement = judged(file_of(*two(), good_row(id_pdc_itinerance="FRABCE3", nbre_pdc="3")))
    assert [(f.line, f.code, f.value) for f in judgement.findings] == [
        (2, "count_differs", "2"),
        (3, "count_differs", "2"),
    ]


def test_connectors_declared_as_points_are_told() -> None:
    rows = two(prise_type_2="false")
    first = rows[0] | {"prise_type_ef": "false"}
    assert codes(judged(file_of(first, rows[1]))) == {("doubt", "connector_as_point")}


def test_stations_without_an_identifier_are_told_apart_by_the_local_one() -> None:
    changes = {"id_station_itinerance": "Non concerné"}
    rows = [good_row(**changes), good_row(**changes, id_station_local="S-2", nom_station="B")]
    assert {code for _, code in codes(judged(file_of(*rows)))} == {"duplicate_undecided"}


# --- Any file -------------------------------------------------------------------------------------


def test_many_findings_are_counted_and_some_are_told() -> None:
    rows = [
        good_row(id_pdc_itinerance=f"FRABCE{n}", nbre_pdc="500", gratuit="oui") for n in range(500)
    ]
    judgement = judged(file_of(*rows))
    assert judgement.count(Effect.FILE) == 500 == len(judgement.invalid)
    assert len(judgement.findings) == consolidation.EXAMPLES_MAX
    assert "500 fois en tout" in judgement_summary(judgement, "x.csv", "fr")
    assert "500 times in all" in judgement_summary(judgement, "x.csv", "en")


def test_a_large_file_is_judged_in_a_short_time_and_its_reading_is_told() -> None:
    rows = [
        good_row(id_pdc_itinerance=f"FRABCE{n}", id_station_itinerance=f"FRABCP{n}")
        for n in range(5_000)
    ]
    content = file_of(*rows)
    read: list[int] = []
    began = time.perf_counter()
    judgement = judge(content, "x.csv", TODAY, (), read.append)
    assert time.perf_counter() - began < 20
    assert judgement.kept == 5_000
    assert len(read) > 4 and sum(read) <= len(content)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400), st.sampled_from([b"", GOOD, GOOD[:900]]))
def test_no_file_makes_it_fail(content: bytes, before: bytes) -> None:
    judgement = judged(before + content)
    assert judgement_summary(judgement, "x.csv", "fr")
    assert judgement_summary(judgement, "x.csv", "en")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(STATIC_NAMES),
        st.text(max_size=20) | st.sampled_from(["[1e999,2]", "²", "٣", "9" * 5_000, "24/7 00:60"]),
        max_size=4,
    )
)
def test_no_cell_makes_it_fail(changes: dict[str, str]) -> None:
    safe = {k: v.encode(errors="replace").decode() for k, v in changes.items()}
    judgement = judged(file_of(good_row(**safe), good_row()))
    assert judgement_summary(judgement, "x.csv", "fr")


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="needs exemple-statique.csv of the shared data")
def test_the_official_example_is_taken_though_it_is_wrong() -> None:
    judgement = judged((DATA / "exemple-statique.csv").read_bytes())
    assert not judgement.is_left_out and judgement.kept == 2
    found = {finding.code for finding in judgement.findings}
    assert {"id_example", "phone_form", "count_differs", "commune_postal"} <= found
