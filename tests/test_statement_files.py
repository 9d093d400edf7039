"""A statement as files: the figures of all of them agree, and each is what its readers expect."""

import csv
import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import openpyxl
import pypdfium2
import pytest

from billing import statement_files
from billing.statement import SessionLine, Statement, from_json, to_json
from billing.statement_files import FORMATS, Format, Language, render
from billing.statement_summary import calculation
from tests.scenarios.statements import made, session_lines

UNTIL = date(2026, 11, 12)
NET_EUR = Decimal("153.96")  # 192.00 - 23.04 - 12.00 - 3.00


@pytest.fixture
def lines() -> list[SessionLine]:
    return session_lines("alpha", 60)


@pytest.fixture
def statement(lines: list[SessionLine]) -> Statement:
    return made(7, "alpha", lines)


def rendered(
    statement: Statement, lines: list[SessionLine], format: Format, language: Language = "fr"
) -> bytes:
    return render(statement, lines, format, language, contest_until=UNTIL, simulated=False)


def rows_of(made: bytes, encoding: str = "utf-8-sig") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(made.decode(encoding)), delimiter=";"))


def book_of(made: bytes) -> Any:
    return openpyxl.load_workbook(io.BytesIO(made))


def pages_of(made: bytes) -> list[str]:
    """The text of each page, with its no-break spaces as spaces."""
    document = pypdfium2.PdfDocument(made)
    try:
        found = []
        for page in document:
            text = page.get_textpage()
            found.append(text.get_text_range().replace("\u202f", " ").replace("\xa0", " "))
            text.close()
            page.close()
        return found
    finally:
        document.close()


def eur(text: str) -> Decimal:
    return Decimal(text.replace(",", "."))


def test_the_figures_agree_in_every_format(statement: Statement, lines: list[SessionLine]) -> None:
    assert statement.net_cents == 15396
    told = rows_of(rendered(statement, lines, "csv"))
    sums = {one["Libellé"]: one for one in told if one["Rubrique"] == "Synthèse"}
    assert eur(sums["Net à vous verser"]["Montant TTC (€)"]) == NET_EUR
    sessions = [one for one in told if one["Rubrique"] == "Session"]
    assert sum(eur(one["Montant TTC (€)"]) for one in sessions) == Decimal("240.00")
    assert sum(eur(one["Encaissé TTC (€)"]) for one in sessions) == Decimal("192.00")
    assert sum(eur(one["Énergie (kWh)"]) for one in sessions) == Decimal("600.000")

    book = book_of(rendered(statement, lines, "xlsx"))
    column = {row[0].value: row[1].value for row in book["Relevé"].iter_rows() if row[0].value}
    assert column["Net à vous verser"] == pytest.approx(float(NET_EUR))
    assert column["Encaissé pour votre compte, TVA comprise"] == 192
    for sheet, rows in (("Points", 2), ("Utilisateurs", 3), ("Sessions", 60)):
        heads = [cell.value for cell in book[sheet][1]]
        at = heads.index("Encaissé TTC (€)")
        cells = [row[at] for row in book[sheet].iter_rows(min_row=2, values_only=True)]
        assert (len(cells), sum(cells)) == (rows, pytest.approx(192)), sheet

    document = json.loads(rendered(statement, lines, "json"))
    assert document["statement"]["net_cents"] == 15396
    assert sum(one["collected_cents"] for one in document["lines"]) == 19200

    first = pages_of(rendered(statement, lines, "pdf"))[0]
    for figure in ("153,96 €", "192,00 €", "−23,04 €", "−12,00 €", "−3,00 €", "48,00 €", "32,00 €"):
        assert figure in first, figure


def test_what_leads_to_the_net_sums_to_it(statement: Statement) -> None:
    for disputed, label in ((340, "retenu jusqu’à la décision"), (-340, "plus retenu")):
        whole = replace(
            statement,
            opening_cents=-500,
            offset_cents=250,
            disputed_cents=disputed,
            net_cents=statement.net_cents - 500 - 250 - disputed,
        )
        for language in ("fr", "en"):
            assert sum(one.amount_cents for one in calculation(whole, language)) == whole.net_cents
        assert label in calculation(whole, "fr")[-1].label


def test_csv_opens_in_a_french_spreadsheet(statement: Statement, lines: list[SessionLine]) -> None:
    made = rendered(statement, lines, "csv")
    assert made.startswith(b"\xef\xbb\xbfRubrique;")
    text = made.decode("utf-8-sig")
    assert len({line.count(";") for line in text.splitlines()}) == 1
    first = next(one for one in rows_of(made) if one["Rubrique"] == "Session")
    assert first["Début"] == "01/10/2026 18:05:00", "in Paris"
    assert first["Énergie (kWh)"] == "10,000"
    assert first["Taux de TVA (%)"] == "20,00"
    assert first["N° de facture"] == "alpha-F-2026-000001"
    adjusted = [one for one in rows_of(made) if one["Rubrique"] == "Ajustement"]
    assert [one["Mois concerné"] for one in adjusted] == ["2026-09"]
    english = rendered(statement, lines, "csv", "en")
    assert english.startswith(b"\xef\xbb\xbfSection;")
    assert ";10.000;4.00;" in english.decode()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_becomes_a_formula(
    statement: Statement, lines: list[SessionLine], start: str
) -> None:
    bad = f'{start}HYPERLINK("https://evil.example";"x")'
    lines = [replace(lines[0], user=bad, point=bad, site=bad), *lines[1:]]
    told = [
        one for one in rows_of(rendered(statement, lines, "csv")) if one["Rubrique"] == "Session"
    ]
    for name in ("Utilisateur", "Point de charge", "Site"):
        assert told[0][name] == f"'{bad}", name
    sheet = book_of(rendered(statement, lines, "xlsx"))["Sessions"]
    assert {cell.data_type for row in sheet.iter_rows(min_row=2) for cell in row} <= {"s", "n", "d"}


def test_xlsx_cells_are_numbers_and_days(statement: Statement, lines: list[SessionLine]) -> None:
    book = book_of(rendered(statement, lines, "xlsx"))
    assert book.sheetnames == ["Relevé", "Points", "Utilisateurs", "Sessions", "Ajustements"]
    sheet = book["Sessions"]
    row = dict(zip([cell.value for cell in sheet[1]], sheet[2], strict=True))
    assert row["Début"].value == datetime(2026, 10, 1, 18, 5)  # noqa: DTZ001 - in Paris
    assert row["Début"].is_date
    for name, value in (
        ("Ligne", 1),
        ("Énergie (kWh)", 10),
        ("Montant TTC (€)", 4),
        ("Taux de TVA (%)", 20),
    ):
        assert (row[name].data_type, row[name].value) == ("n", value), name
    assert "€" in row["Montant TTC (€)"].number_format
    assert sheet.freeze_panes == "A2"
    assert book["Ajustements"]["A2"].is_date
    english = book_of(rendered(statement, lines, "xlsx", "en"))
    assert english.sheetnames[:2] == ["Statement", "Points"]


def test_pdf_has_the_one_number_then_points_users_and_every_session(
    statement: Statement, lines: list[SessionLine]
) -> None:
    pages = pages_of(rendered(statement, lines, "pdf"))
    assert "À contester jusqu’au 12/11/2026 inclus" in pages[0]
    assert pages[0].index("Net à vous verser") < pages[0].index("Comment ce montant")
    for page, texts in (
        (1, ("Par point de charge", "alpha · 2")),
        (2, ("Par utilisateur", "Conductrice 3 alpha")),
    ):
        assert [text for text in texts if text not in pages[page]] == [], page
    rest = "".join(pages[3:])
    assert all(line.invoice_number in rest for line in lines)
    assert f"Page {len(pages)} sur {len(pages)}" in pages[-1]
    assert all("simulés" not in page for page in pages)
    english = pages_of(rendered(statement, lines, "pdf", "en"))
    assert "Net to be paid to you" in english[0]
    assert "€153.96" in english[0]


def test_pdf_says_what_is_simulated_negative_or_not_yet_delivered(
    statement: Statement, lines: list[SessionLine]
) -> None:
    owing = replace(statement, net_cents=-450, opening_cents=-450 - statement.net_cents)
    made = render(owing, lines, "pdf", "fr", contest_until=None, simulated=True)
    pages = pages_of(made)
    assert all("paiements simulés" in page for page in pages)
    assert "Solde reporté sur le prochain relevé" in pages[0]
    assert "Net à vous verser" not in pages[0]
    assert "À contester jusqu’au" not in pages[0]
    assert "court dès la communication" in pages[0]


def test_a_month_without_sessions_has_all_its_files(statement: Statement) -> None:
    empty = made(7, "alpha", [])
    for format in FORMATS:
        assert render(empty, [], format, "fr", contest_until=UNTIL, simulated=False)
    assert "Aucune session" in pages_of(rendered(empty, [], "pdf"))[-1]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_same_statement_makes_the_same_bytes(
    statement: Statement, lines: list[SessionLine], format: Format, language: Language
) -> None:
    once = rendered(statement, lines, format, language)
    today = f"{datetime.now(UTC):%Y-%m-%dT}".encode()
    assert format != "pdf" or once.count(b'Date="2026-10-01T00:00:00+00:00"') == 3
    assert today not in once, "no file tells when it was made"
    again = rendered(from_json(to_json(statement)), list(lines), format, language)
    assert once == again


def test_ten_thousand_sessions_are_all_there(statement: Statement) -> None:
    many = [
        replace(line, position=at)
        for at, line in enumerate(session_lines("alpha", 62) * 162, start=1)
    ]
    assert len(many) > 10_000
    sessions = [one for one in rows_of(rendered(statement, many, "csv")) if one["Ligne"]]
    assert [int(one["Ligne"]) for one in sessions] == list(range(1, len(many) + 1))
    with zipfile.ZipFile(io.BytesIO(rendered(statement, many, "xlsx"))) as parts:
        sheet = parts.read("xl/worksheets/sheet4.xml").decode()
    assert sheet.count("<row ") == len(many) + 1
    text = "\n".join(pages_of(rendered(statement, many[:2_000], "pdf"))).replace("\r", "")
    assert [at for at in range(1, 2_001) if f"\n{at} " not in text] == []


def test_a_download_is_named_after_its_month(statement: Statement) -> None:
    assert statement_files.file_name(statement, "pdf", "fr") == "releve-2026-10-7.pdf"
