"""Invoices in clients' names: numbers without a gap, one transaction, what is kept back and why."""

import asyncio
import hashlib
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from billing import books, charging, ledger, receipts, series, wording
from billing.charging import Issued
from billing.invoice import Document, from_json
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, connect, transaction
from csms.domain.siren import french_vat_number
from csms.registry import Conflict
from tests.billing_world import (
    MONTH,
    NOW,
    SIREN,
    add_client,
    add_driver,
    add_sessions,
    rows,
    with_operator,
)

ACTOR = Actor("test")


@pytest.fixture
def operator(settings: Settings) -> Settings:
    return with_operator(settings)


async def issue(
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    *,
    month: date = MONTH,
    now: datetime = NOW,
    dry_run: bool = False,
) -> Issued:
    async with pool.connection() as connection:
        return await charging.issue(
            connection, client_id, month, now, settings=settings, dry_run=dry_run
        )


async def documents(pool: AsyncConnectionPool) -> list[Document]:
    found = await rows(pool, "SELECT content FROM invoice ORDER BY id")
    return [from_json(row[0]) for row in found]


async def problems(pool: AsyncConnectionPool) -> list[str]:
    found = await rows(
        pool, "SELECT cause FROM billing_problem WHERE resolved_at IS NULL ORDER BY cause"
    )
    return [row[0] for row in found]


async def check_series(pool: AsyncConnectionPool) -> None:
    """No gap, no number twice, days in order, the counter at the last number."""
    found = await rows(
        pool,
        """
        SELECT s.prefix, s.last_number, array_agg(i.sequence ORDER BY i.sequence),
               array_agg(i.issued_on ORDER BY i.sequence), array_agg(i.number ORDER BY i.sequence)
          FROM invoice_series s JOIN invoice i ON i.series_id = s.id GROUP BY s.id
        """,
    )
    for prefix, last, sequences, days, numbers in found:
        assert sequences == list(range(1, last + 1)), prefix
        assert days == sorted(days)
        assert numbers == [f"{prefix}{sequence:06}" for sequence in sequences]


async def test_a_driver_gets_one_invoice_of_the_month(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    ann, bob = [await add_driver(database, name) for name in ("ann", "bob")]
    sessions = await add_sessions(database, client_id, ann, [1_201, 0, 333])
    await add_sessions(database, client_id, bob, [600])
    issued = await issue(pool, operator, client_id)
    assert (issued.documents, issued.sessions, issued.gross_cents) == (2, 4, 2_134)
    first, second = await documents(pool)
    assert first.number == f"C{client_id:05}-F-2026-000001"
    assert second.number == f"C{client_id:05}-F-2026-000002"
    assert [line.session_id for line in first.lines] == sessions, "what cost nothing is on it too"
    assert (first.gross_cents, first.vat_cents) == (1_534, 200 + 56)
    assert (first.issued_on, first.due_on) == (date(2026, 11, 2), date(2026, 12, 2))
    assert first.invoicer is not None
    assert first.seller.name == "alpha SDC"
    assert (
        "REG",
        "Établie par Opérateur de démonstration au nom et pour le compte de alpha SDC.",
    ) in first.mentions
    assert "0,35" in first.lines[0].tariff[0]
    async with pool.connection() as connection:
        assert await books.balance(connection, ledger.receivable_drivers(client_id)) == 2_134
        assert await books.balance(connection, ledger.uncollected(client_id)) == -2_134
    again = await issue(pool, operator, client_id)
    assert again.documents == 0
    await check_series(pool)


async def test_each_use_has_an_invoice_where_the_terms_say_so(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha", invoicing="per_use")
    ann = await add_driver(database, "ann", language="en")
    await add_sessions(database, client_id, ann, [500, 700, 0])
    during = datetime(2026, 10, 20, 9, tzinfo=UTC)
    issued = await issue(pool, operator, client_id, now=during)
    assert issued.documents == 2, "one of nothing is not issued"
    assert [each.gross_cents for each in await documents(pool)] == [500, 700]
    assert (await documents(pool))[0].language == "en"


async def test_an_invoice_of_the_month_waits_for_its_end_in_paris(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    ann = await add_driver(database, "ann")
    await add_sessions(database, client_id, ann, [500])
    last_minute = datetime(2026, 10, 31, 22, 59, tzinfo=UTC)
    assert (await issue(pool, operator, client_id, now=last_minute)).documents == 0
    at_midnight = last_minute + timedelta(minutes=1)
    assert (await issue(pool, operator, client_id, now=at_midnight)).documents == 1
    assert (await documents(pool))[0].issued_on == date(2026, 11, 1)


async def test_a_session_that_was_late_gets_an_invoice_of_its_own(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    ann = await add_driver(database, "ann")
    await add_sessions(database, client_id, ann, [500])
    await issue(pool, operator, client_id)
    late = await add_sessions(database, client_id, ann, [300])
    assert (await issue(pool, operator, client_id)).documents == 1
    assert [line.session_id for line in (await documents(pool))[1].lines] == late


@pytest.mark.parametrize(
    ("status", "vat_cents", "mention"),
    [
        ("redevable", 200, None),
        ("franchise", 0, "TVA non applicable, art. 293 B du CGI"),
        ("non_assujetti", 0, "Décompte d’une personne non assujettie à la TVA"),
    ],
)
async def test_each_vat_case_says_what_it_must(
    database: Database,
    pool: AsyncConnectionPool,
    operator: Settings,
    status: str,
    vat_cents: int,
    mention: str | None,
) -> None:
    client_id = await add_client(database, "alpha", status=status)
    ann = await add_driver(database, "ann")
    await add_sessions(database, client_id, ann, [1_200], vat_case=status)
    await issue(pool, operator, client_id)
    (document,) = await documents(pool)
    assert (document.gross_cents, document.vat_cents) == (1_200, vat_cents)
    texts = dict(document.mentions)
    assert {"PMT", "PMD", "AAB", "REG"} <= set(texts)
    assert (mention is None) == (status not in texts)
    assert mention is None or texts[status].startswith(mention)


async def test_a_change_of_rate_within_the_month_gives_lines_of_each_rate(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    """VAT is that of the day of supply, whatever rate holds on the invoice's day."""
    client_id = await add_client(database, "alpha")
    ann = await add_driver(database, "ann")
    await add_sessions(database, client_id, ann, [1_200], day=date(2026, 10, 10))
    await add_sessions(database, client_id, ann, [1_055], day=date(2026, 10, 20), percent="5.5")
    await issue(pool, operator, client_id)
    (document,) = await documents(pool)
    assert [(str(v.percent), v.base_cents, v.vat_cents) for v in document.vat] == [
        ("5.5", 1_000, 55),
        ("20", 1_000, 200),
    ]


async def test_a_change_of_status_within_the_month_gives_two_documents(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha", status="franchise")
    async with await connect(database, owner=True) as owner:
        await owner.execute("UPDATE client_vat SET to_on = '2026-10-15'")
        await owner.execute(
            """
            INSERT INTO client_vat (client_id, status, vat_number, from_on)
            SELECT client_id, 'redevable', %s, '2026-10-15' FROM client_vat
            """,
            (french_vat_number(SIREN),),
        )
    ann = await add_driver(database, "ann")
    await add_sessions(
        database, client_id, ann, [900], day=date(2026, 10, 14), vat_case="franchise"
    )
    await add_sessions(database, client_id, ann, [1_200], day=date(2026, 10, 15))
    await issue(pool, operator, client_id)
    found = await documents(pool)
    assert sorted((each.vat_case.value, each.vat_cents) for each in found) == [
        ("franchise", 0),
        ("redevable", 200),
    ]


async def test_a_business_is_named_by_its_siren_and_a_company_without_is_a_consumer(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    firm = await add_driver(database, "firm", company="Société Exemple", siren="999000110")
    half = await add_driver(database, "half", company="Atelier Exemple")
    for person_id in (firm, half):
        await add_sessions(database, client_id, person_id, [500])
    issued = await issue(pool, operator, client_id)
    first, second = await documents(pool)
    assert (first.buyer.siren, first.buyer.is_consumer) == ("999000110", False)
    assert "40 €" in dict(first.mentions)["PMT"]
    assert (second.buyer.name, second.buyer.is_consumer) == ("Atelier Exemple", True)
    assert issued.notes == [
        f"Driver {half} gave a company without SIREN and was invoiced as a consumer."
    ]


@pytest.mark.parametrize(
    ("damage", "mend", "cause"),
    [
        (
            "UPDATE client SET legal_name = NULL",
            "UPDATE client SET legal_name = 'X' WHERE NOT is_operator",
            "client_without_legal_name",
        ),
        (
            "UPDATE client SET street = NULL, postal_code = NULL, city = NULL, country = NULL",
            "UPDATE client SET street = 'a', postal_code = 'b', city = 'c', country = 'FR'",
            "client_without_address",
        ),
        (
            "UPDATE client SET siren = NULL",
            "UPDATE client SET siren = '999000003'",
            "client_without_siren",
        ),
        (
            "UPDATE client SET siren = '999000110'",
            "UPDATE client SET siren = '999000003'",
            "vat_number_wrong",
        ),
        (
            "UPDATE client_vat SET from_on = '2026-10-06'",
            "UPDATE client_vat SET from_on = '2026-01-01'",
            "vat_status_missing",
        ),
        (
            "UPDATE client_vat SET status = 'franchise'",
            "UPDATE client_vat SET status = 'redevable'",
            "vat_status_changed",
        ),
        (
            "UPDATE contract SET mandate_revoked_on = '2026-10-05'",
            "UPDATE contract SET mandate_revoked_on = NULL",
            "no_mandate",
        ),
        (
            "UPDATE invoice_mention SET to_on = '2026-11-02' WHERE code = 'pmd_consumer'",
            "UPDATE invoice_mention SET to_on = NULL WHERE code = 'pmd_consumer'",
            "mention_missing",
        ),
    ],
)
async def test_what_is_missing_stops_one_client_until_it_is_mended(
    database: Database,
    pool: AsyncConnectionPool,
    operator: Settings,
    damage: str,
    mend: str,
    cause: str,
) -> None:
    client_id = await add_client(database, "alpha")
    ann = await add_driver(database, "ann")
    await add_sessions(database, client_id, ann, [500])
    async with await connect(database, owner=True) as owner:
        await owner.execute(damage.encode())
    issued = await issue(pool, operator, client_id)
    assert issued.documents == 0
    assert [lack.cause for lack in issued.lacks] == [cause]
    assert await problems(pool) == [cause]
    assert (await issue(pool, operator, client_id)).documents == 0
    assert await problems(pool) == [cause], "it is open once"
    async with await connect(database, owner=True) as owner:
        await owner.execute(mend.encode())
    assert (await issue(pool, operator, client_id)).documents == 1
    assert await problems(pool) == []
    await check_series(pool)


async def test_a_mention_that_ran_out_is_renewed_by_a_person(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    """The reference to the CGI may be printed until the end of 2027."""
    client_id = await add_client(database, "alpha", status="franchise")
    ann = await add_driver(database, "ann")
    month, now = date(2027, 12, 1), datetime(2028, 1, 3, 9, tzinfo=UTC)
    day = date(2027, 12, 20)
    await add_sessions(database, client_id, ann, [500], day=day, vat_case="franchise")
    issued = await issue(pool, operator, client_id, month=month, now=now)
    assert [lack.cause for lack in issued.lacks] == ["mention_missing"]
    assert "/api/v1/billing/mentions" in issued.lacks[0].remedy
    async with transaction(pool) as connection:
        await wording.add_mention(
            connection,
            code="franchise",
            language="fr",
            from_on=date(2028, 1, 1),
            to_on=None,
            text="TVA non applicable (nouvelle référence)",
            source="test",
            actor=ACTOR,
            now=now,
        )
    assert (await issue(pool, operator, client_id, month=month, now=now)).documents == 1


async def test_nothing_is_issued_before_the_operator_has_said_who_it_is(
    database: Database, pool: AsyncConnectionPool, settings: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    with pytest.raises(Conflict, match=r"T2P_OPERATOR_NAME.*T2P_OPERATOR_EMAIL"):
        await issue(pool, settings, client_id)
    half = replace(with_operator(settings), operator_siren=None)
    with pytest.raises(Conflict, match=r"set T2P_OPERATOR_SIREN\."):
        await issue(pool, half, client_id)


async def test_a_dry_run_writes_nothing_and_tells_the_same(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    beta = await add_client(database, "beta", status=None)
    ann = await add_driver(database, "ann")
    await add_sessions(database, client_id, ann, [500, 700])
    await add_sessions(database, beta, ann, [500])
    for which in (client_id, beta):
        dry = await issue(pool, operator, which, dry_run=True)
        for table in ("invoice", "invoice_line", "invoice_series", "ledger_entry"):
            assert await rows(pool, f"SELECT FROM {table} WHERE client_id = %s", which) == []
        assert await problems(pool) == []
        assert dry == await issue(pool, operator, which)


async def test_eight_issuers_at_once_who_fail_now_and_then_leave_no_gap(
    database: Database,
    pool: AsyncConnectionPool,
    operator: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client_id = await add_client(database, "alpha", invoicing="per_use")
    beta = await add_client(database, "beta", invoicing="per_use")
    for number in range(12):
        person_id = await add_driver(database, f"driver-{number}")
        for which in (client_id, beta):
            await add_sessions(database, which, person_id, [100 + number, 200 + number])
    monkeypatch.setattr(charging, "BATCH_PERSONS", 2)
    post, calls = books.post, [0]

    async def post_or_fail(*arguments: Any) -> list[int]:
        calls[0] += 1
        if calls[0] % 3 == 0:
            raise ConnectionError("killed after the numbers were taken")
        return await post(*arguments)

    monkeypatch.setattr(books, "post", post_or_fail)

    async def worker(number: int) -> None:
        which = (client_id, beta)[number % 2]
        for _ in range(30):
            try:
                issued = await issue(pool, operator, which)
            except ConnectionError:
                continue
            if issued.documents == 0:
                return

    await asyncio.gather(*(worker(number) for number in range(8)))
    assert calls[0] > 12
    assert await rows(pool, "SELECT count(*), count(DISTINCT number) FROM invoice") == [(48, 48)]
    await check_series(pool)
    (sums,) = await rows(
        pool,
        """
        SELECT count(*), count(DISTINCT session_id),
               sum(amount_incl_cents) = (SELECT sum(amount_incl_cents) FROM priced_session)
          FROM invoice_line
        """,
    )
    assert sums == (48, 48, True)


async def test_a_run_killed_between_any_two_steps_ends_the_same(
    database: Database,
    pool: AsyncConnectionPool,
    operator: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client_id = await add_client(database, "alpha")
    beta = await add_client(database, "beta")
    for number in range(5):
        person_id = await add_driver(database, f"driver-{number}")
        for which in (client_id, beta):
            await add_sessions(database, which, person_id, [100 + number, 201])
    monkeypatch.setattr(charging, "BATCH_PERSONS", 2)
    whole = """
        SELECT i.sequence, i.person_id, i.issued_on, i.amount_incl_cents, i.vat_cents,
               count(DISTINCT l.position), count(DISTINCT e.id)
          FROM invoice i
          JOIN invoice_line l ON l.invoice_id = i.id
          JOIN ledger_entry e ON e.source_key = 'invoice:' || i.id
         WHERE i.client_id = %s GROUP BY i.id ORDER BY i.sequence
    """
    steps: list[tuple[Any, str]] = [
        (series.store, "insert_invoices"),
        (series.store, "insert_lines"),
        (series.store, "advance_series"),
        (series.books, "post"),
        (charging.receipts, "apply_wallets"),
        (charging.problems, "resolve_others"),
    ]
    for module, name in steps:
        true = getattr(module, name)

        async def killed(*arguments: Any, true: Any = true, **named: Any) -> Any:
            await true(*arguments, **named)
            raise ConnectionError("killed")

        with monkeypatch.context() as patch:
            patch.setattr(module, name, killed)
            with pytest.raises(ConnectionError):
                await issue(pool, operator, client_id)
        await check_series(pool)
    await issue(pool, operator, client_id)
    await issue(pool, operator, beta)
    found = await rows(pool, whole, client_id)
    assert len(found) == 5
    assert found == await rows(pool, whole, beta), "as if nothing had happened"


async def test_the_content_is_kept_with_its_hash_and_never_changed(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    ann = await add_driver(database, "ann")
    await add_sessions(database, client_id, ann, [500])
    await issue(pool, operator, client_id)
    ((content, sha256),) = await rows(pool, "SELECT content, content_sha256 FROM invoice")
    assert hashlib.sha256(content.encode()).digest() == sha256
    assert json.loads(content)["number"] == f"C{client_id:05}-F-2026-000001"
    with pytest.raises(Exception, match=r"invoice is append-only|permission denied"):
        await rows(pool, "UPDATE invoice SET content = '' RETURNING id")


async def test_days_of_a_series_never_go_back(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    ann = await add_driver(database, "ann")
    await add_sessions(database, client_id, ann, [500])
    await issue(pool, operator, client_id, now=NOW + timedelta(days=3))
    await add_sessions(database, client_id, ann, [600])
    await issue(pool, operator, client_id, now=NOW)
    assert [each.issued_on for each in await documents(pool)] == [date(2026, 11, 5)] * 2


async def test_a_business_without_an_address_waits_and_nobody_else(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    firms = [
        await add_driver(database, name, company="Exemple", siren="999000110", street="")
        for name in ("one", "two")
    ]
    ann = await add_driver(database, "ann", street="")
    for person_id in (*firms, ann):
        await add_sessions(database, client_id, person_id, [500])
    issued = await issue(pool, operator, client_id)
    assert issued.documents == 1, "a consumer needs none"
    assert await problems(pool) == ["driver_without_address"] * 2
    async with await connect(database, owner=True) as owner:
        await owner.execute(
            "UPDATE driver SET street = '3 rue Exemple' WHERE person_id = %s", [firms[0]]
        )
    assert (await issue(pool, operator, client_id)).documents == 1
    assert await problems(pool) == ["driver_without_address"]


async def test_what_was_paid_in_advance_is_on_the_invoice_that_it_pays(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha", invoicing="per_use")
    ann = await add_driver(database, "ann")
    await add_sessions(database, client_id, ann, [500, 700, 300])
    async with transaction(pool) as connection:
        await receipts.receive(
            connection,
            source_key="bank-1",
            amount_cents=800,
            received_on=NOW.date(),
            means="transfer",
            actor=ACTOR,
            now=NOW,
            person_id=ann,
        )
    await issue(pool, operator, client_id)
    assert [each.paid_cents for each in await documents(pool)] == [500, 300, 0]
    async with pool.connection() as connection:
        assert await books.balance(connection, ledger.wallet(ann)) == 0
        assert await books.balance(connection, ledger.receivable_drivers(client_id)) == 700


async def test_a_month_of_very_many_uses_is_several_documents(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    """Of 3 cents each, whose VAT rounds up by half a cent: the standard allows less than a euro."""
    client_id = await add_client(database, "alpha")
    ann = await add_driver(database, "ann")
    await add_sessions(database, client_id, ann, [3] * 250)
    assert (await issue(pool, operator, client_id)).documents == 2
    found = await documents(pool)
    assert [len(each.lines) for each in found] == [160, 90]
    assert sum(each.gross_cents for each in found) == 750


async def test_a_faulty_document_takes_no_number_and_stops_nobody_else(
    database: Database,
    pool: AsyncConnectionPool,
    operator: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client_id = await add_client(database, "alpha")
    ann, bob = [await add_driver(database, name) for name in ("ann", "bob")]
    for person_id in (ann, bob):
        await add_sessions(database, client_id, person_id, [500])
    true = series.faults

    def wrong(document: Document) -> list[str]:
        return ["It is wrong."] if document.buyer.name == "ann" else true(document)

    with monkeypatch.context() as patch:
        patch.setattr(series, "faults", wrong)
        issued = await issue(pool, operator, client_id)
    assert issued.documents == 1
    assert await problems(pool) == ["faulty_document"]
    assert [each.buyer.name for each in await documents(pool)] == ["bob"]
    assert (await issue(pool, operator, client_id)).documents == 1
    assert await problems(pool) == []
    await check_series(pool)
