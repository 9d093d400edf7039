"""Files of what was really issued: valid by the official sheets, made once, kept."""

import asyncio
import hashlib
from datetime import date
from pathlib import Path

import pytest
from psycopg_pool import AsyncConnectionPool
from typer.testing import CliRunner

from billing import corrections, invoice_files, issuing
from csms.__main__ import app
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, transaction
from csms.registry import NotThere
from tests.billing_world import (
    MONTH,
    NOW,
    OPERATOR,
    add_client,
    add_driver,
    add_sessions,
    rows,
    with_operator,
)
from tests.schematron import broken

ACTOR = Actor("test")


@pytest.fixture
def operator(settings: Settings) -> Settings:
    return with_operator(settings)


async def file(pool: AsyncConnectionPool, invoice_id: int, file_format: str) -> bytes:
    async with transaction(pool) as connection:
        return await invoice_files.invoice_file(connection, invoice_id, file_format, NOW)


@pytest.mark.parametrize("status", ["redevable", "franchise", "non_assujetti"])
async def test_everything_that_is_issued_passes_the_official_checks(
    database: Database, pool: AsyncConnectionPool, operator: Settings, status: str
) -> None:
    """To a consumer and a business: invoice, corrective, credit note; and the operator's own."""
    client_id = await add_client(database, "alpha", status=status)
    ann = await add_driver(database, "ann", language="en")
    firm = await add_driver(database, "firm", company="Exemple", siren="999000110")
    for person_id in (ann, firm):
        await add_sessions(database, client_id, person_id, [1_201, 333, 0], vat_case=status)
    async with pool.connection() as connection:
        await issuing.issue(connection, client_id, MONTH, NOW, settings=operator)
    for invoice_id in (1, 2):
        (session_id, *_), *_ = await rows(
            pool, "SELECT session_id FROM invoice_line WHERE invoice_id = %s", invoice_id
        )
        async with transaction(pool) as connection:
            await corrections.correct(
                connection, invoice_id, {session_id: 600}, "Tarif", ACTOR, NOW, settings=operator
            )
            await corrections.credit(
                connection, invoice_id, [session_id], "Litige", ACTOR, NOW, settings=operator
            )
    for amount in (2_500, -1_000):
        async with transaction(pool) as connection:
            await issuing.add_own_sale(
                connection,
                client_id=client_id,
                kind="management_fee",
                label="Frais de gestion",
                amount_excl_cents=amount,
                on_day=date(2026, 10, 31),
                month=MONTH,
                source_key=f"fee {amount}",
                actor=ACTOR,
                now=NOW,
            )
            await issuing.issue_own(connection, client_id, MONTH, NOW, settings=operator)
    issued = await rows(pool, "SELECT id, number, type_code FROM invoice ORDER BY id")
    assert sorted(row[2] for row in issued) == [380, 380, 380, 381, 381, 381, 384, 384]
    for invoice_id, number, _ in issued:
        assert broken(await file(pool, invoice_id, "xml")) == [], number


async def test_a_pdf_keeps_its_bytes_though_two_ask_at_once(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    await add_sessions(database, client_id, await add_driver(database, "ann"), [500])
    async with pool.connection() as connection:
        await issuing.issue(connection, client_id, MONTH, NOW, settings=operator)
    both = await asyncio.gather(file(pool, 1, "pdf"), file(pool, 1, "pdf"))
    assert both[0] == both[1] == await file(pool, 1, "pdf")
    assert both[0].startswith(b"%PDF")
    ((sha256,),) = await rows(pool, "SELECT sha256 FROM invoice_file")
    assert sha256 == hashlib.sha256(both[0]).digest()
    with pytest.raises(NotThere):
        await file(pool, 999, "pdf")


async def prepare(database: Database) -> int:
    client_id = await add_client(database, "alpha")
    await add_sessions(database, client_id, await add_driver(database, "ann"), [500])
    firm = await add_driver(database, "firm", company="Exemple", siren="999000110")
    await add_sessions(database, client_id, firm, [700])
    other = await add_client(database, "beta", status=None)
    await add_sessions(database, other, firm, [700])
    return client_id


def verb(settings: Settings, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run `time2plug billing ...` as a person would; exit code and what it said."""
    environ = {
        "T2P_DATABASE_URL": settings.database_url,
        "T2P_DATABASE_OWNER_URL": settings.database_owner_url,
        "T2P_PLATFORM_DROP_DIR": str(folder),
        **{f"T2P_{name.upper()}": value for name, value in OPERATOR.items()},
    }
    found = CliRunner().invoke(app, ["billing", *arguments], env=environ)
    return found.exit_code, found.output


async def test_the_verbs_issue_and_lay_down_and_may_run_again(
    database: Database, pool: AsyncConnectionPool, settings: Settings, tmp_path: Path
) -> None:
    await prepare(database)

    async def say(*arguments: str) -> str:
        code, output = await asyncio.to_thread(verb, settings, tmp_path / "drop", *arguments)
        assert code == 0, output
        return output

    dry = await say("issue", "2026-10", "--dry-run")
    assert "2 invoices for 2 sessions would be issued: 12.00 EUR with VAT" in dry
    assert await rows(pool, "SELECT FROM invoice") == []
    told = await say("issue", "2026-10")
    assert "2 invoices for 2 sessions issued" in told
    assert "vat_status_missing" in told, "what is kept back is told with its remedy"
    assert "0 invoices for 0 sessions issued" in await say("issue", "2026-10", "--client", "alpha")
    laid = await say("export", "platform")
    assert "1 invoices and 0 daily sums laid down in the folder for an approved platform" in laid
    assert "transmitted" not in laid
    code, output = await asyncio.to_thread(verb, settings, tmp_path, "issue", "October")
    assert (code, "is not a month" in output) == (2, True)
    code, output = await asyncio.to_thread(
        verb, settings, tmp_path, "issue", "2026-10", "--client", "gamma"
    )
    assert (code, "no client gamma" in output) == (1, True)
