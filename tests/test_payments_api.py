"""Payments by the API and by the verbs: four eyes, the bank's word, what nothing explains."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool
from typer.testing import CliRunner

from billing import books, ledger
from csms.__main__ import app as verbs
from csms.config import Settings
from csms.db import Database, transaction
from csms.web.app import create_app
from simulators.bank import Bank
from tests import billing_world
from tests import people as world
from tests.billing_world import MONTH, NOW, rows
from tests.scenarios import payments
from tests.scenarios.payments import DRIVER_IBAN, MANDATE_IBAN, OWN_IBAN

Clients = dict[str, httpx.AsyncClient]
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return payments.with_accounts(settings)


@pytest.fixture
async def invoices(
    database: Database, pool: AsyncConnectionPool, settings: Settings
) -> list[tuple[int, str, int]]:
    """A client whose October is closed: 40 EUR paid, 20 EUR not."""
    made = await billing_world.add_client(database, "alpha", invoicing="per_use")
    await payments.give_account(database, made)
    person_id = await billing_world.add_driver(database, "anne")
    await billing_world.add_sessions(database, made, person_id, [4_000, 2_000])
    october = datetime(2026, 10, 31, 12, tzinfo=UTC)
    found = await payments.bill(pool, made, MONTH, october, settings)
    number = found[0][1]
    await payments.receive(pool, "bank:1", 4_000, october, invoice_number=number)
    await payments.close(pool, MONTH, NOW, settings)
    return found


@pytest.fixture
async def clients(
    invoices: list[tuple[int, str, int]],
    database: Database,
    pool: AsyncConnectionPool,
    people: AsyncConnectionPool,
    settings: Settings,
) -> AsyncIterator[Clients]:
    """Who speaks: two of finance, who only reads, the manager of alpha, and one of another."""
    app = create_app(pool, settings, people=people)
    await billing_world.add_client(database, "beta")
    found = {
        "amelie": await world.add_person(database, "amelie", "read", "finance"),
        "bruno": await world.add_person(database, "bruno", "read", "finance"),
        "read": await world.add_person(database, "read", "read"),
        "manager": await world.add_manager(database, "manager", "alpha"),
        "other": await world.add_manager(database, "other", "beta"),
    }
    ((driver_id,),) = await rows(pool, "SELECT person_id FROM driver")
    found["anne"] = await world.log_in(database, driver_id)
    opened = {
        who: httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://test/api/v1",
            headers={"Authorization": f"Bearer {person.token}"},
        )
        for who, person in found.items()
    }
    yield opened
    for client in opened.values():
        await client.aclose()


@pytest.fixture
async def bank(pool: AsyncConnectionPool, invoices: list[tuple[int, str, int]]) -> Bank:
    async with pool.connection() as connection:
        return Bank(MANDATE_IBAN, await books.balance(connection, ledger.BANK_MANDATE))


def told(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


async def hand_over(clients: Clients, file_id: int, bank: Bank) -> None:
    """Approved by the other, handed out, and executed by the bank yesterday."""
    told(await clients["bruno"].post(f"/payment-files/{file_id}/approve"))
    answer = await clients["amelie"].post(f"/payment-files/{file_id}/hand-out")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/xml"
    bank.take(answer.content, at_once=True)


async def test_a_month_is_paid_by_two_people_and_settled_by_the_bank(
    clients: Clients, bank: Bank
) -> None:
    amelie, bruno = clients["amelie"], clients["bruno"]
    order = {"month": "2026-10-01"}
    told(await clients["read"].post("/payouts", json=order), 403)
    made = told(await amelie.post("/payouts", json=order), 201)
    assert (made["payouts"], made["amount_cents"], made["late"], made["stopped"]) == (
        1,
        3_760,  # 40.00 less 5 % and VAT on it
        1,  # today is long after 13 November 2026
        [],
    )
    file_id = made["file_id"]
    again = told(await amelie.post("/payouts", json=order), 201)
    assert (again["payouts"], again["file_id"]) == (0, None)

    refused = told(await amelie.post(f"/payment-files/{file_id}/approve"), 409)
    assert "another person" in refused["detail"]
    told(await bruno.post(f"/payment-files/{file_id}/hand-out"), 409)
    (file,) = told(await clients["read"].get("/payment-files?is_open=true"))["items"]
    assert (file["id"], file["payments"], file["approved_by"]) == (file_id, 2, None)
    await hand_over(clients, file_id, bank)
    assert told(await bruno.get("/payment-files?is_open=true"))["items"] == []
    told(await amelie.post(f"/payment-files/{file_id}/cancel", json={"reason": "Trop tard"}), 409)

    content = bank.statement(YESTERDAY)
    done = told(await bruno.post("/bank-statements?simulated=true", content=content), 201)
    assert (done["by_kind"], done["difference_cents"]) == ({"payout": 1, "transfer": 1}, 0)
    again = told(await bruno.post("/bank-statements?simulated=true", content=content), 201)
    assert (again["known"], again["lines"], again["by_kind"]) == (1, 0, {})

    (payout,) = told(await clients["manager"].get("/payouts"))["items"]
    assert (payout["status"], payout["settled_on"]) == ("settled", str(YESTERDAY))
    seen = told(await clients["manager"].get(f"/payouts/{payout['id']}"))
    assert [(line["kind"], line["amount_cents"]) for line in seen["lines"]] == [
        ("statement", 3_760)
    ]
    assert [event["status"] for event in seen["events"]] == ["draft", "sent", "settled"]
    assert {event["by"] for event in seen["events"]} == {None}, "who works there is not told"
    assert told(await clients["other"].get("/payouts"))["items"] == []
    told(await clients["other"].get(f"/payouts/{payout['id']}"), 404)


async def test_a_file_that_was_given_up_is_made_anew(clients: Clients) -> None:
    amelie = clients["amelie"]
    first = told(await amelie.post("/payouts", json={"month": "2026-10-01"}), 201)["file_id"]
    given_up = told(
        await amelie.post(f"/payment-files/{first}/cancel", json={"reason": "Mauvais jour"})
    )
    assert given_up["cancelled_at"] is not None
    second = told(await amelie.post("/payouts", json={"month": "2026-10-01"}), 201)
    assert (second["payouts"], second["amount_cents"]) == (1, 3_760)
    assert second["file_id"] != first


async def test_what_nothing_explains_is_explained_by_a_person(
    clients: Clients, bank: Bank, invoices: list[tuple[int, str, int]]
) -> None:
    amelie, number = clients["amelie"], invoices[1][1]
    bank.receive(2_000, "Camille Exemple", DRIVER_IBAN, "merci pour la recharge")
    done = told(await amelie.post("/bank-statements", content=bank.statement(YESTERDAY)), 201)
    assert done["by_kind"] == {"suspense": 1}
    (line,) = told(await amelie.get("/bank-lines/suspense"))["items"]
    assert (line["amount_cents"], line["remittance"]) == (2_000, "merci pour la recharge")
    (found,) = told(await amelie.get(f"/bank-lines/{line['id']}/suggestions"))["items"]
    assert (found["number"], found["left_cents"]) == (number, 2_000)
    path = f"/bank-lines/{line['id']}/explain"
    told(await amelie.post(path, json={}), 422)
    explained = told(await amelie.post(path, json={"invoice_number": number}))
    assert explained["subject"].startswith("receipt ")
    told(await amelie.post(path, json={"invoice_number": number}), 409)
    assert told(await amelie.get("/bank-lines/suspense"))["items"] == []


async def test_a_mandate_is_entered_used_and_revoked(
    clients: Clients, pool: AsyncConnectionPool, invoices: list[tuple[int, str, int]]
) -> None:
    amelie = clients["amelie"]
    ((person_id,),) = await rows(pool, "SELECT person_id FROM driver")
    path = f"/drivers/{person_id}/sepa-mandates"
    body = {
        "reference": "RUM-1",
        "iban": DRIVER_IBAN,
        "holder": "Camille Exemple",
        "signed_on": "2026-11-03",
    }
    told(await amelie.post("/drivers/9999/sepa-mandates", json=body), 404)
    wrong = told(await amelie.post(path, json=body | {"iban": "DE89370400440532013001"}), 422)
    assert "IBAN" in wrong["detail"]
    made = told(await amelie.post(path, json=body), 201)
    assert made["iban"].endswith("3000") and "•" in made["iban"]
    told(await amelie.post(path, json=body), 409)
    done = told(await amelie.post("/direct-debits"), 201)
    assert (done["announced"], done["announced_cents"], done["file_ids"]) == (1, 2_000, [])
    assert told(await amelie.post("/direct-debits"), 201)["announced"] == 0, "told once"
    (debit,) = told(await amelie.get("/direct-debits?status=notified"))["items"]
    assert (debit["invoice_number"], debit["sequence"]) == (invoices[1][1], None)
    me = clients["anne"]
    (mine,) = told(await me.get("/me/sepa-mandates"))["items"]
    assert mine["iban"] == made["iban"] and mine["revoked_at"] is None
    (coming,) = told(await me.get("/me/direct-debits"))["items"]
    assert (coming["invoice_number"], coming["status"]) == (invoices[1][1], "notified")
    told(await clients["manager"].get("/me/direct-debits"), 403)
    revoked = told(await amelie.post(f"{path}/{made['id']}/revoke", json={"reason": "Compte clos"}))
    assert revoked["revoked_for"] == "Compte clos"
    (known,) = told(await amelie.get(path))["items"]
    assert known["revoked_at"] is not None


async def test_what_is_no_bank_file_is_refused_with_a_sentence(clients: Clients) -> None:
    for path in ("/bank-statements", "/payment-reports"):
        for content in (b"", b"<html>", b"<!DOCTYPE a><a/>", b"<a/>"):
            answer = told(await clients["amelie"].post(path, content=content), 422)
            assert "statement" in answer["detail"] or "report" in answer["detail"]


async def test_the_calendar_says_what_is_late_until_it_is_done(
    clients: Clients, bank: Bank
) -> None:
    amelie = clients["amelie"]

    async def late() -> list[tuple[str, str]]:
        items = told(await amelie.get("/billing/calendar"))["items"]
        return [(item["kind"], item["day"]) for item in items if item["is_late"]]

    assert ("payouts", "2026-11-13") in told_of(
        told(await amelie.get("/billing/calendar?from=2026-11-01&to=2026-11-30"))
    )
    made = told(await amelie.post("/payouts", json={"month": "2026-10-01"}), 201)
    assert ("payouts_to_settle", "2026-11-13") in await late()
    await hand_over(clients, made["file_id"], bank)
    told(await amelie.post("/bank-statements", content=bank.statement(YESTERDAY)), 201)
    assert [kind for kind, _ in await late() if kind.startswith("payout")] == []
    told(await amelie.get("/billing/calendar?from=2026-11-01&to=2026-10-30"), 422)
    told(await amelie.get("/billing/calendar?from=2026-11-01&to=2036-10-30"), 422)


def told_of(page: dict[str, Any]) -> set[tuple[str, str]]:
    return {(item["kind"], item["day"]) for item in page["items"]}


async def test_the_verbs_pay_a_month_and_read_the_bank(
    settings: Settings,
    pool: AsyncConnectionPool,
    clients: Clients,
    bank: Bank,
    invoices: list[tuple[int, str, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert settings.database_url is not None
    monkeypatch.setenv("T2P_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("T2P_OPERATOR_MANDATE_IBAN", MANDATE_IBAN)
    monkeypatch.setenv("T2P_OPERATOR_OWN_IBAN", OWN_IBAN)
    monkeypatch.setenv("T2P_OPERATOR_CREDITOR_IDENTIFIER", "FR72ZZZ123456")
    monkeypatch.setenv("T2P_OPERATOR_NAME", "Opérateur de démonstration")
    runner = CliRunner()

    async def run(*arguments: str, code: int = 0) -> str:
        result = await asyncio.to_thread(runner.invoke, verbs, ["billing", *arguments])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.output

    assert "1 payouts would be made of 2026-10: 37.60 EUR" in await run(
        "pay", "2026-10", "--dry-run"
    )
    assert await rows(pool, "SELECT count(*) FROM payout") == [(0,)]
    output = await run("pay", "2026-10")
    assert "1 payouts made of 2026-10: 37.60 EUR, 1 of them after their last day" in output
    ((file_id, name),) = await rows(pool, "SELECT id, message_id FROM payment_file")
    assert f"/api/v1/payment-files/{file_id}/approve" in output
    assert "nothing for a new file" in await run("pay", "2026-10")
    assert "no day" in await run("pay", "2026-10", "--on", "tomorrow", code=2)
    assert name in await run("payment-files")
    assert "not approved" in await run("hand-out", str(file_id), code=1)
    assert "no payment file" in await run("hand-out", "99", code=1)
    told(await clients["bruno"].post(f"/payment-files/{file_id}/approve"))
    output = await run("hand-out", str(file_id), "--output", str(tmp_path))
    written = tmp_path / f"{name}.xml"
    assert str(written) in output
    before = written.read_bytes()
    await run("hand-out", str(file_id), "--output", str(tmp_path))
    assert written.read_bytes() == before
    assert "No payment file waits" in await run("payment-files")

    report = tmp_path / "report.xml"
    report.write_bytes(bank.take(before, at_once=True))
    bank.receive(2_000, "Camille Exemple", DRIVER_IBAN, "merci")
    statement = tmp_path / "statement.xml"
    statement.write_bytes(bank.statement(YESTERDAY))
    assert "refused nothing" in await run("settle", str(report))
    dry = await run("settle", str(statement), "--dry-run")
    assert "1 statements with 3 lines would be read" in dry
    output = await run("settle", str(statement), "--simulated")
    assert "1 payout, 1 suspense, 1 transfer" in output
    assert "1 known" in await run("settle", str(statement), "--simulated")
    assert "no file" in await run("settle", str(tmp_path / "none.xml"), code=2)
    written.write_bytes(b"no XML")
    assert "not XML" in await run("settle", str(written), code=1)

    ((line_id,),) = await rows(pool, "SELECT id FROM bank_line WHERE amount_cents = 2000")
    assert invoices[1][1] in await run("suspense")
    assert "name the invoice" in await run("explain", str(line_id), code=2)
    assert "receipt" in await run("explain", str(line_id), "--invoice", invoices[1][1])
    assert "Every line is explained" in await run("suspense")
    assert "payouts" in await run("calendar", "--from", "2026-11-01", "--to", "2026-11-30")
    assert "0 debits announced" in await run("collect")
    async with transaction(pool) as connection:
        assert not ledger.faults(Counter(await books.balances(connection)))
