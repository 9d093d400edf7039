"""What is laid down for an approved platform: whole files, each once, and never called sent."""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from psycopg_pool import AsyncConnectionPool

from billing import corrections, invoice_files, issuing, platform
from billing.invoice import Document
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, transaction
from csms.registry import Conflict
from tests.billing_world import (
    MONTH,
    NOW,
    add_client,
    add_driver,
    add_sessions,
    rows,
    with_operator,
)


@pytest.fixture
def operator(settings: Settings, tmp_path: Path) -> Settings:
    return replace(with_operator(settings), platform_drop_dir=tmp_path / "drop")


@pytest.fixture
def folder(operator: Settings) -> Path:
    assert operator.platform_drop_dir is not None
    return operator.platform_drop_dir


@pytest.fixture(autouse=True)
def _plain_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that tells which document it is of: what is in a PDF is tested elsewhere."""

    def made(document: Document) -> bytes:
        return document.number.encode()

    monkeypatch.setattr(invoice_files, "_maker", lambda file_format: made)


def files(folder: Path, pattern: str = "*") -> dict[str, bytes]:
    """What lies in the folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob(pattern))}


def written_at(folder: Path) -> list[int]:
    return [path.stat().st_mtime_ns for path in sorted(folder.iterdir())]


async def laid(
    pool: AsyncConnectionPool, settings: Settings, now: datetime = NOW + timedelta(days=1)
) -> platform.Laid:
    return await platform.export(pool, platform.drop_folder(settings), now, settings=settings)


async def issue(
    database: Database, pool: AsyncConnectionPool, settings: Settings, status: str = "redevable"
) -> int:
    client_id = await add_client(database, status, status=status)
    firm = await add_driver(database, f"firm-{status}", company="Exemple", siren="999000110")
    ann = await add_driver(database, f"ann-{status}")
    for person_id in (firm, ann):
        await add_sessions(database, client_id, person_id, [1_200], vat_case=status)
        await add_sessions(database, client_id, person_id, [1_055], vat_case=status, percent="5.5")
    async with pool.connection() as connection:
        await issuing.issue(connection, client_id, MONTH, NOW, settings=settings)
    return client_id


async def test_invoices_between_businesses_and_daily_sums_are_laid_down_once(
    database: Database, pool: AsyncConnectionPool, operator: Settings, folder: Path
) -> None:
    client_id = await issue(database, pool, operator)
    first = await laid(pool, operator)
    assert (first.invoices, first.aggregates) == (1, 1)
    number = f"C{client_id:05}-F-2026-000001"
    aggregate = f"b2c-C{client_id:05}-2026-11-02.xml"
    assert list(files(folder)) == [f"{number}.pdf", aggregate]
    assert files(folder)[f"{number}.pdf"] == number.encode()
    before = written_at(folder)
    again = await laid(pool, operator)
    assert (again.invoices, again.aggregates) == (0, 0)
    assert written_at(folder) == before
    noted = await rows(pool, "SELECT name, sha256 FROM platform_file ORDER BY name")
    laid_down = files(folder).items()
    assert noted == [(name, hashlib.sha256(content).digest()) for name, content in laid_down]


async def test_daily_sums_are_by_rate_and_add_up(
    database: Database, pool: AsyncConnectionPool, operator: Settings, folder: Path
) -> None:
    await issue(database, pool, operator)
    await laid(pool, operator)
    (content,) = files(folder, "b2c-*.xml").values()
    report = ElementTree.fromstring(content)
    group = report.find("TransactionsReport/Transactions")
    assert group is not None
    told = {element.tag: element.text for element in group if element.text and not len(element)}
    assert told == {
        "Date": "20261102",
        "CategoryCode": "TLB1",
        "TransactionsCurrency": "EUR",
        "TransactionsCount": "1",
        "TaxExclusiveAmount": "20.00",
        "TaxTotal": "2.55",
    }
    assert [[each.text for each in subtotal] for subtotal in group.iter("TaxSubtotal")] == [
        ["5.50", "10.00", "0.55"],
        ["20.00", "10.00", "2.00"],
    ]


async def test_the_day_that_runs_waits_for_its_end(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    await issue(database, pool, operator)
    assert (await laid(pool, operator, NOW)).aggregates == 0
    assert (await laid(pool, operator)).aggregates == 1


async def test_a_credit_note_is_taken_off_on_its_own_day(
    database: Database, pool: AsyncConnectionPool, operator: Settings, folder: Path
) -> None:
    await issue(database, pool, operator)
    ((invoice_id,),) = await rows(pool, "SELECT id FROM invoice WHERE to_consumer")
    async with transaction(pool) as connection:
        await corrections.credit(
            connection, invoice_id, None, "Test", Actor("test"), NOW, settings=operator
        )
    await laid(pool, operator)
    (content,) = files(folder, "b2c-*.xml").values()
    text = content.decode()
    assert "<TransactionsCount>2</TransactionsCount>" in text
    assert "<TaxExclusiveAmount>0.00</TaxExclusiveAmount>" in text


async def test_a_corrective_is_told_as_its_difference_by_rate(
    database: Database, pool: AsyncConnectionPool, operator: Settings, folder: Path
) -> None:
    """Replaced, given back in part, replaced again: each on its day with what it changes."""
    await issue(database, pool, operator)
    ((invoice_id,),) = await rows(pool, "SELECT id FROM invoice WHERE to_consumer")
    first, second = [
        row[0]
        for row in await rows(
            pool,
            "SELECT session_id FROM invoice_line WHERE invoice_id = %s ORDER BY position",
            invoice_id,
        )
    ]
    actor = Actor("test")
    for days, work in (
        (1, {first: 600, second: 1_055}),
        (2, None),
        (3, {second: 211}),
    ):
        async with transaction(pool) as connection:
            now = NOW + timedelta(days=days)
            if work is None:
                await corrections.credit(
                    connection, invoice_id, [first], "Test", actor, now, settings=operator
                )
            else:
                await corrections.correct(
                    connection, invoice_id, work, "Test", actor, now, settings=operator
                )
    await laid(pool, operator, NOW + timedelta(days=9))
    told = [
        [
            (percent.text, base.text, vat.text)
            for percent, base, vat in ElementTree.fromstring(content).iter("TaxSubtotal")
        ]
        for content in files(folder, "b2c-*.xml").values()
    ]
    assert told == [
        [("5.50", "10.00", "0.55"), ("20.00", "10.00", "2.00")],
        [("5.50", "0.00", "0.00"), ("20.00", "-5.00", "-1.00")],
        [("20.00", "-5.00", "-1.00")],
        [("5.50", "-8.00", "-0.44"), ("20.00", "0.00", "0.00")],
    ]


async def test_sellers_without_vat_are_told_as_such_or_not_at_all(
    database: Database, pool: AsyncConnectionPool, operator: Settings, folder: Path
) -> None:
    await issue(database, pool, operator, "franchise")
    await issue(database, pool, operator, "non_assujetti")
    found = await laid(pool, operator)
    assert (found.invoices, found.aggregates) == (1, 1), "who is not subject to VAT reports nothing"
    (content,) = files(folder, "b2c-*.xml").values()
    assert b"TNT1" in content


async def test_killed_between_the_file_and_its_note_the_next_run_lays_the_same(
    database: Database,
    pool: AsyncConnectionPool,
    operator: Settings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await issue(database, pool, operator)

    async def killed(*_: object, **__: object) -> bool:
        raise ConnectionError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(platform.store, "insert_file", killed)
        with pytest.raises(ConnectionError):
            await laid(pool, operator)
    assert await rows(pool, "SELECT FROM platform_file") == []
    found = await laid(pool, operator)
    assert (found.invoices, found.aggregates) == (1, 1)
    assert files(folder, ".*") == {}, "nothing unfinished lies there"


def test_without_a_folder_nothing_is_laid_down(settings: Settings) -> None:
    with pytest.raises(Conflict, match="T2P_PLATFORM_DROP_DIR"):
        platform.drop_folder(settings)


def test_nothing_is_ever_called_transmitted() -> None:
    assert platform.LAID_DOWN["fr"] == "déposé dans le dossier pour une plateforme agréée"
