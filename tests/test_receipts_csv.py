"""Receipts from a file: read as people write, each line by itself, once."""

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool
from typer.testing import CliRunner

from billing import books, ledger, receipts_csv
from billing.csv_lines import parse_amount, parse_day
from billing.receipts_csv import ImportReport
from csms import keys
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, connect, transaction
from csms.registry import Refusal
from csms.web.app import create_app
from tests.scenarios import billed
from tests.scenarios.billed import NOW

HEADER = "source_key;person;invoice;amount;date;means;reverses\n"


@pytest.fixture
async def number(database: Database, pool: AsyncConnectionPool) -> str:
    """An invoice of client 2 to driver 1, of 12.50 euros."""
    async with await connect(database, owner=True) as owner:
        await billed.build(owner)
    async with transaction(pool) as connection:
        return await billed.issue(connection, 2, 1, [1000, 250])


async def load(pool: AsyncConnectionPool, text: str | bytes) -> ImportReport:
    data = text.encode() if isinstance(text, str) else text
    return await receipts_csv.import_receipts(pool, data, actor=Actor("test"), now=NOW)


async def test_a_file_of_a_bank_is_entered_and_twice_adds_nothing(
    pool: AsyncConnectionPool, number: str
) -> None:
    text = HEADER + (
        f"VIR-1;driver-1@example.org;{number};10,00;01/11/2026;virement;\n"
        "VIR-2;DRIVER-2@example.org;;1\u202f234,56 €;2026-11-02;;\n"
        f"VIR-3;;{number};2.5;02/11/2026;card;\n"
        "VIR-4;2;;-1234,56;2026-11-02;;VIR-2\n"
    )
    first = await load(pool, "\ufeff" + text)
    assert first == ImportReport(new=4, in_cents=1000 + 123456 + 250, out_cents=123456)
    assert await load(pool, text) == ImportReport(known=4)
    async with pool.connection() as connection:
        assert await books.balance(connection, ledger.BANK_MANDATE) == 1250
        assert await books.balance(connection, ledger.receivable_drivers(2)) == 0


async def test_a_bad_line_stops_only_itself_and_says_what_to_do(
    pool: AsyncConnectionPool, number: str
) -> None:
    text = HEADER + (
        "a;1;;ten;2026-11-02;;\n"
        "b;1;;10;31/02/2026;;\n"
        "c;1;;10;2026-11-02;gold;\n"
        "d;nobody@example.org;;10;2026-11-02;;\n"
        "e;1;F-9;10;2026-11-02;;\n"
        f"f;2;{number};10;2026-11-02;;\n"
        "g;1;;10;2026-11-02;;h\n"
        "i;1;;10;2026-11-03;;\n"
        ";1;;10;2026-11-02;;\n"
        "j;1;;10\n"
        "k;1;;1,00;2026-11-02;;\n"
        "k;1;;2,00;2026-11-02;;\n"
        "l;;;1,00;2026-11-02;;\n"
        "m;1;;1,234;2026-11-02;;\n"
    )
    report = await load(pool, text)
    assert (report.new, report.known) == (1, 0)
    assert [(bad.line, bad.column) for bad in report.problems] == [
        (2, "amount"),
        (3, "date"),
        (4, "means"),
        (5, "person"),
        (6, "invoice"),
        (7, "person"),
        (8, "reverses"),
        (9, "date"),
        (10, "source_key"),
        (11, None),
        (13, "source_key"),
        (14, "person"),
        (15, "amount"),
    ]
    assert all(bad.cause and bad.remedy for bad in report.problems)
    mended = await load(pool, text.replace("ten", "10"))
    assert (mended.new, mended.known, len(mended.problems)) == (1, 1, 12)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", (1, None)),
        ("source_key;amount\nx;1\n", (1, "date")),
        ("source_key;amount;date;colour\nx;1;2026-11-02;red\n", (1, "colour")),
        (HEADER + 'x;1;;"1;2\n', (2, None)),
    ],
)
async def test_a_file_that_is_no_such_list_is_refused_whole(
    pool: AsyncConnectionPool, number: str, text: str, place: tuple[int, str | None]
) -> None:
    report = await load(pool, text)
    assert report.new == 0
    assert [(bad.line, bad.column) for bad in report.problems][:1] == [place]


async def test_a_spreadsheet_of_windows_with_french_names_is_read(
    pool: AsyncConnectionPool, number: str
) -> None:
    text = f"référence;facture;montant;date;moyen\nÉ1;{number};12,50;02/11/2026;prélèvement\n"
    report = await load(pool, text.encode("cp1252"))
    assert report == ImportReport(new=1, in_cents=1250)
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT source_key, means FROM receipt")
        assert await cursor.fetchall() == [("É1", "direct_debit")]


@pytest.mark.parametrize(
    ("text", "cents"),
    [
        ("12,34", 1234),
        ("12.3", 1230),
        ("12", 1200),
        ("1 234,56", 123456),
        ("1\u00a0234\u202f567,89 €", 123456789),
        ("-5,00", -500),
        ("\u22125,00", -500),
        ("+5", 500),
    ],
)
def test_amounts_are_read_as_people_write_them(text: str, cents: int) -> None:
    assert parse_amount(text) == cents


@pytest.mark.parametrize("text", ["", "1,2,3", "1.234,56", "12,345", "1e3", "NaN", "٣", "--1", "€"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        parse_amount(text)


def test_days_are_read_in_french_and_iso() -> None:
    assert parse_day("22/11/2026") == parse_day("2026-11-22") == date(2026, 11, 22)
    for text in ("22/11/26", "2026-13-01", "11-22-2026", "", "2026-11-22T00:00"):
        with pytest.raises(Refusal):
            parse_day(text)


@pytest.fixture
async def finance(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(pool, settings, people=people)
    async with transaction(pool) as connection:
        key, _ = await keys.create(
            connection, name="finance", role="operator", expires_at=None, scopes=["read", "finance"]
        )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://test/api/v1",
        headers={"Authorization": f"Bearer {key}"},
    ) as client:
        yield client


async def test_finance_enters_receipts_and_reads_them(
    finance: httpx.AsyncClient, number: str
) -> None:
    body = {
        "source_key": "VIR-1",
        "amount_cents": 2000,
        "received_on": "2026-11-02",
        "invoice_number": number,
    }
    made = await finance.post("/receipts", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["allocated_cents"] == 1250
    again = await finance.post("/receipts", json=body)
    assert (again.status_code, again.json()) == (200, made.json())
    other = await finance.post("/receipts", json=body | {"amount_cents": 1})
    assert (other.status_code, other.json()["errors"][0]["field"]) == (409, "source_key")
    lost = await finance.post("/receipts", json=body | {"source_key": "x", "person_id": 77})
    assert lost.status_code == 404
    back = {
        "source_key": "VIR-2",
        "amount_cents": -2000,
        "received_on": "2026-11-02",
        "reverses_key": "VIR-1",
    }
    assert (await finance.post("/receipts", json=back)).status_code == 201
    found = (await finance.get("/receipts", params={"person_id": 1})).json()
    assert [row["source_key"] for row in found["items"]] == ["VIR-2", "VIR-1"]
    assert found["items"][1]["is_reversed"]
    assert (await finance.get("/receipts", params={"client_id": 3})).json()["total"] == 0


async def test_the_verbs_enter_and_import(
    number: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import asyncio

    from csms.__main__ import app

    assert settings.database_url is not None
    monkeypatch.setenv("T2P_DATABASE_URL", settings.database_url)
    runner = CliRunner()
    path = tmp_path / "bank.csv"
    path.write_text(HEADER + f"V2;;{number};1,00;01/11/2026;;\nV3;;;1,00;01/11/2026;;\n")
    calls = [
        ["receipt", "V1", "10,00", "02/11/2026", "--invoice", number],
        ["receipt", "V1", "10,00", "02/11/2026", "--invoice", number],
        ["receipt", "V1", "11,00", "02/11/2026", "--invoice", number],
        ["import-receipts", str(path)],
        ["receipt", "--reverses", "V1", "--", "V4", "-10,00", "02/11/2026"],
    ]
    said = [
        await asyncio.to_thread(runner.invoke, app, ["billing", *arguments]) for arguments in calls
    ]
    assert [each.exit_code for each in said] == [0, 0, 1, 1, 0], [each.output for each in said]
    assert "10.00 EUR are on invoices" in said[0].output
    assert "nothing is new" in said[1].output
    assert "another content" in said[2].output
    assert "line 3, person: " in said[3].output
    assert "1 new (1.00 EUR in, 0.00 EUR back), 0 known, 1 bad" in said[3].output
