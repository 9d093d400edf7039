"""Files for accountants: the operator's books as FEC, a client's sales in its layout."""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from psycopg_pool import AsyncConnectionPool
from typer.testing import CliRunner

from billing import books, fec, ledger
from billing.ledger import BANK_MANDATE, PSP_CLEARING
from billing.store.fec import SaleRow
from csms.config import Settings
from csms.db import Database, connect, transaction
from csms.registry import NotThere, Refusal
from tests.scenarios import billed
from tests.scenarios.billed import NOW
from tests.test_receipts import receive

SIREN = "123456782"
LAST_YEAR = datetime(2025, 12, 20, 9, tzinfo=UTC)
COLUMNS = """
    JournalCode JournalLib EcritureNum EcritureDate CompteNum CompteLib CompAuxNum CompAuxLib
    PieceRef PieceDate EcritureLib Debit Credit EcritureLet DateLet ValidDate Montantdevise Idevise
    """
Lines = list[dict[str, str]]


@pytest.fixture
async def two_years(database: Database, pool: AsyncConnectionPool) -> None:
    """2025: money in advance, a sale, a provider's fee. 2026: invoices, money, a corrective, a
    credit, a sale, an offset."""
    async with await connect(database, owner=True) as owner:
        await billed.build(owner)
        await owner.execute(
            "UPDATE client SET legal_name = E'SDC\\t«\u202fL’Œuvre\u202f»' WHERE id = 2"
        )
    day = LAST_YEAR.date()
    async with transaction(pool) as connection:
        await receive(
            connection,
            "VIR-0",
            2000,
            person_id=1,
            received_on=day,
            into=PSP_CLEARING,
            now=LAST_YEAR,
        )
        before = [
            ledger.provider_settled("p0", 2000, 30, day),
            ledger.own_invoice(900, "T2P-F-2025-000001", 3, 1000, 500, 300, day),
        ]
        await books.post(connection, before, LAST_YEAR)
        number = await billed.issue(connection, 2, 1, [1500, 1200])
        await receive(connection, "VIR-1", 300, person_id=1)
        sessions = await billed.sessions_of(connection, number)
        await billed.correct(connection, number, [(sessions[0], 1400), (sessions[1], 1200)], -100)
        other = await billed.issue(connection, 3, 2, [700])
        await billed.credit(connection, other, [(3, 700)])
        sale = ledger.own_invoice(901, "T2P-F-2026-000001", 2, 100, 0, 20, NOW.date())
        await books.post(
            connection, [sale, ledger.offset(2, billed.MONTH, 120, date(2026, 11, 1))], NOW
        )


def read(path: Path) -> Lines:
    """The lines of a file by column; what is no such file fails."""
    text = path.read_bytes().decode("iso8859-15")
    assert text.endswith("\r\n")
    header, *rows = [line.split("\t") for line in text.removesuffix("\r\n").split("\r\n")]
    assert header == COLUMNS.split()
    assert all(len(row) == 18 for row in rows)
    return [dict(zip(header, row, strict=True)) for row in rows]


def cents(line: dict[str, str]) -> int:
    debit, credit = (int(line[side].replace(",", "")) for side in ("Debit", "Credit"))
    assert not (debit and credit)
    return debit - credit


def is_sound(lines: Lines) -> None:
    """What the form asks of every line, and of all of them."""
    entries: dict[str, Lines] = defaultdict(list)
    for line in lines:
        for column in ("EcritureDate", "PieceDate", "ValidDate"):
            assert re.fullmatch("[0-9]{8}", line[column]) and date.fromisoformat(line[column])
        for column in ("Debit", "Credit"):
            assert re.fullmatch(r"[0-9]+,[0-9]{2}", line[column]), line
        for column in ("JournalCode", "JournalLib", "CompteLib", "PieceRef", "EcritureLib"):
            assert line[column].strip(), (column, line)
        assert re.fullmatch(r"[1-7][0-9]{5}", line["CompteNum"])
        assert bool(line["CompAuxNum"]) == bool(line["CompAuxLib"])
        entries[line["EcritureNum"]].append(line)
    for number, of_one in entries.items():
        assert sum(map(cents, of_one)) == 0, number
        assert len({(each["EcritureDate"], each["PieceRef"]) for each in of_one}) == 1
    by_journal: dict[str, list[int]] = defaultdict(list)
    for number in entries:
        by_journal[number[:2]].append(int(number[2:]))
    for code, numbers in by_journal.items():
        assert numbers == list(range(1, len(numbers) + 1)), code


def balances(lines: Lines) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = defaultdict(int)
    for line in lines:
        found[line["CompteNum"], line["CompAuxNum"]] += cents(line)
    return {account: amount for account, amount in found.items() if amount}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def bytes_of(folder: Path) -> bytes:
    """Of the one file in it."""
    (path,) = folder.iterdir()
    return path.read_bytes()


async def written(pool: AsyncConnectionPool, settings: Settings, year: int, folder: Path) -> Lines:
    async with pool.connection() as connection:
        made = await fec.write_fec(connection, settings, year, folder)
    assert made.path.name == f"{SIREN}FEC{year}1231.txt"
    lines = read(made.path)
    assert made.lines == len(lines)
    assert made.entries == len({line["EcritureNum"] for line in lines})
    assert made.debit_cents == sum(max(0, cents(line)) for line in lines)
    assert names_in(folder) == [made.path.name]
    return lines


@pytest.fixture
def named(settings: Settings) -> Settings:
    return replace(settings, operator_siren=SIREN)


async def test_the_fec_holds_the_operators_books_and_begins_with_what_was_before(
    pool: AsyncConnectionPool, named: Settings, two_years: None, tmp_path: Path
) -> None:
    lines = await written(pool, named, 2026, tmp_path)
    is_sound(lines)
    opening = [line for line in lines if line["JournalCode"] == "AN"]
    assert balances(opening) == {
        ("110000", ""): -1470,  # 15 euros earned, 30 cents of fees
        ("411000", "C00003"): 1800,
        ("445710", ""): -300,
        ("467300", "D000001"): -2000,
        ("512000", ""): -30,
        ("512100", ""): 2000,
    }
    assert lines[0]["EcritureNum"] == "AN000001"
    assert {line["EcritureDate"] for line in opening} == {"20260101"}
    assert balances(lines) == {
        ("110000", ""): -1470,
        ("411000", "C00003"): 1800,
        ("445710", ""): -320,
        ("467110", "C00002"): -2180,  # 23 euros received, 1.20 set off
        ("512000", ""): -30,
        ("512100", ""): 2300,
        ("706100", ""): -100,
    }
    assert not [line for line in lines if line["CompteNum"].startswith("4672")]


async def test_a_year_without_one_before_has_no_opening(
    pool: AsyncConnectionPool, named: Settings, two_years: None, tmp_path: Path
) -> None:
    lines = await written(pool, named, 2025, tmp_path)
    is_sound(lines)
    assert {line["JournalCode"] for line in lines} == {"BQ", "VE"}
    receipt = next(line for line in lines if line["PieceRef"] == "VIR-0")
    assert (receipt["EcritureDate"], receipt["ValidDate"]) == ("20251220", "20251220")
    assert await written(pool, named, 2024, tmp_path / "before") == []


async def test_texts_hold_no_tab_and_nothing_that_the_form_cannot_hold(
    pool: AsyncConnectionPool, named: Settings, two_years: None, tmp_path: Path
) -> None:
    lines = await written(pool, named, 2026, tmp_path)
    names = {line["CompAuxLib"] for line in lines if line["CompAuxNum"] == "C00002"}
    assert names == {"SDC « L'Œuvre »"}


async def test_the_same_books_give_the_same_bytes_and_a_later_entry_comes_last(
    pool: AsyncConnectionPool, named: Settings, two_years: None, tmp_path: Path
) -> None:
    first = await written(pool, named, 2026, tmp_path)
    bytes_before = bytes_of(tmp_path)
    assert await written(pool, named, 2026, tmp_path) == first
    assert bytes_of(tmp_path) == bytes_before
    async with transaction(pool) as connection:
        await receive(connection, "VIR-9", 5, person_id=2, received_on=date(2026, 2, 1))
    assert (await written(pool, named, 2026, tmp_path))[: len(first)] == first


async def test_the_fec_agrees_with_the_ledger(
    pool: AsyncConnectionPool, named: Settings, two_years: None, tmp_path: Path
) -> None:
    async with pool.connection() as connection:
        sums = await books.balances(connection)
    found = balances(await written(pool, named, 2026, tmp_path))
    assert found["512100", ""] == sums[BANK_MANDATE.code]
    assert found["467110", "C00002"] == sums["owed:available:2"]
    assert found["411000", "C00003"] == sums["receivable:client:3"]
    assert found["445710", ""] == sums["vat:collected"]


async def test_a_clients_sales_are_an_extract_and_not_called_its_fec(
    pool: AsyncConnectionPool, two_years: None, tmp_path: Path
) -> None:
    async with pool.connection() as connection:
        made = await fec.write_sales(connection, 2, 2026, tmp_path)
        other = await fec.write_sales(connection, 3, 2026, tmp_path)
        with pytest.raises(NotThere, match="no client 99"):
            await fec.write_sales(connection, 99, 2026, tmp_path)
    assert made.path.name == "ventes-C00002-2026.txt"
    assert "FEC" not in made.path.name
    lines = read(made.path)
    is_sound(lines)
    assert [line["EcritureLib"] for line in lines[::2]] == [
        "Facture C00002-F-2026-000001",
        "Facture rectificative C00002-F-2026-000002",
    ]
    assert balances(lines) == {("411000", "D000001"): 2600, ("707000", ""): -2600}
    credited = read(other.path)
    is_sound(credited)
    assert balances(credited) == {}
    assert credited[-1]["EcritureLib"] == "Avoir C00003-A-2026-000001"
    assert credited[-1]["Debit"] == "7,00"


async def test_vat_of_a_clients_sales_has_its_own_line() -> None:
    async def sales() -> AsyncIterator[SaleRow]:
        day = date(2026, 11, 2)
        yield SaleRow("F1", 380, day, day, 1, "Quelqu’un", 1200, 200)
        yield SaleRow("A1", 381, day, day, 1, None, -600, -100)

    found = [legs async for _, legs in fec._sale_entries(sales())]
    assert [[(leg.account, leg.amount_cents) for leg in legs] for legs in found] == [
        [("411000", 1200), ("707000", -1000), ("445710", -200)],
        [("411000", -600), ("707000", 500), ("445710", 100)],
    ]


async def test_without_its_siren_the_operator_has_no_fec(
    pool: AsyncConnectionPool, settings: Settings, named: Settings, tmp_path: Path
) -> None:
    async with pool.connection() as connection:
        with pytest.raises(Refusal, match="T2P_OPERATOR_SIREN"):
            await fec.write_fec(connection, settings, 2026, tmp_path)
        with pytest.raises(Refusal, match="A year"):
            await fec.write_fec(connection, named, 26, tmp_path)
    assert names_in(tmp_path) == []


async def test_the_verbs_write_both_files(
    settings: Settings, two_years: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from csms.__main__ import app

    assert settings.database_url is not None
    monkeypatch.setenv("T2P_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("T2P_OPERATOR_SIREN", SIREN)
    for arguments in (["fec"], ["sales", "--client", "2"]):
        verb = ["billing", "export", *arguments, "--year", "2026", "--output", str(tmp_path)]
        said = await asyncio.to_thread(CliRunner().invoke, app, verb)
        assert said.exit_code == 0, said.output
        assert "debits and credits of" in said.output
    assert names_in(tmp_path) == [
        f"{SIREN}FEC20261231.txt",
        "ventes-C00002-2026.txt",
    ]


def test_every_account_of_the_ledger_has_its_name() -> None:
    accounts = [value for value in vars(ledger).values() if isinstance(value, ledger.Account)]
    accounts += [ledger.owed(state, 2) for state in ledger.OWED_STATES]
    accounts += [ledger.receivable_client(2), ledger.wallet(1)]
    for account in accounts:
        assert account.general_account in fec._ACCOUNTS, account
