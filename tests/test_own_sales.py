"""What the operator sells to clients: entered once, due by the contract, invoiced in its series."""

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from billing import books, ledger, own_sales, wording
from billing.charging import Issued
from billing.invoice import Document, TypeCode, faults, from_json
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, connect, transaction
from csms.domain.contract import ClientClass, Contract, Terms
from csms.registry import Conflict, NotThere, Refusal
from tests.billing_world import MONTH, NOW, add_client, rows, with_operator

ACTOR = Actor("test")


@pytest.fixture
def operator(settings: Settings) -> Settings:
    return with_operator(settings)


async def sell(pool: AsyncConnectionPool, client_id: int, amount: int, **values: Any) -> int:
    given = {
        "kind": "intervention",
        "label": "Intervention",
        "on_day": date(2026, 10, 12),
        "source_key": f"test:{amount}",
        **values,
    }
    async with transaction(pool) as connection:
        return await own_sales.add_own_sale(
            connection,
            client_id=client_id,
            amount_excl_cents=amount,
            month=given["on_day"],
            actor=ACTOR,
            now=NOW,
            **given,
        )


async def invoice(
    pool: AsyncConnectionPool,
    settings: Settings,
    client_id: int,
    now: datetime = NOW,
    *,
    month: date = MONTH,
    dry_run: bool = False,
) -> Issued:
    async with pool.connection() as connection:
        return await own_sales.issue_own(
            connection, client_id, month, now, settings=settings, dry_run=dry_run
        )


async def documents(pool: AsyncConnectionPool) -> list[Document]:
    return [
        from_json(row[0]) for row in await rows(pool, "SELECT content FROM invoice ORDER BY id")
    ]


async def test_a_sale_is_entered_once(database: Database, pool: AsyncConnectionPool) -> None:
    client_id = await add_client(database, "alpha")
    made = await sell(pool, client_id, 5_000)
    assert await sell(pool, client_id, 5_000) == made
    with pytest.raises(Conflict, match="of other content"):
        await sell(pool, client_id, 6_000, source_key="test:5000")
    with pytest.raises(Refusal):
        await sell(pool, client_id, 0)
    with pytest.raises(Refusal):
        await sell(pool, client_id, 1, kind="gift")
    with pytest.raises(NotThere):
        await sell(pool, 1, 5_000)  # the operator itself
    assert await rows(pool, "SELECT count(*) FROM own_sale") == [(1,)]
    acts = await rows(pool, "SELECT action FROM audit_entry")
    assert acts == [("own_sale.added",)], "once"


async def test_the_operator_invoices_what_waits_in_its_own_series(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    await sell(pool, client_id, 2_500, kind="management_fee", label="Frais de gestion")
    await sell(pool, client_id, 733, kind="commission", label="Commission")
    await sell(pool, client_id, 999, on_day=date(2026, 11, 1))  # of the next month
    issued = await invoice(pool, operator, client_id)
    (document,) = await documents(pool)
    assert (issued.documents, issued.gross_cents) == (1, 3_880)
    assert document.number == "T2P-F-2026-000001"
    assert document.seller.name == "Opérateur de démonstration"
    assert document.invoicer is None
    assert not document.is_goods
    assert (document.net_cents, document.vat_cents) == (3_233, 500 + 147)
    assert document.due_on == date(2026, 11, 10)
    assert faults(document) == []
    async with pool.connection() as connection:
        for account, expected in (
            (ledger.receivable_client(client_id), 3_880),
            (ledger.INCOME_COMMISSION, -733),
            (ledger.INCOME_FEES, -2_500),
            (ledger.VAT_COLLECTED, -647),
        ):
            assert await books.balance(connection, account) == expected
    assert (await invoice(pool, operator, client_id)).documents == 0


async def test_vat_is_that_of_the_invoice_s_day(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    """Where the rate changes between the sale and the invoice, the invoice's day decides."""
    client_id = await add_client(database, "alpha")
    async with transaction(pool) as connection:
        await wording.add_vat_rate(
            connection,
            from_on=date(2026, 11, 1),
            percent=Decimal("19.6"),
            source="test",
            actor=ACTOR,
            now=NOW,
        )
    await sell(pool, client_id, 1_000)
    await invoice(pool, operator, client_id, datetime(2026, 10, 31, 12, tzinfo=UTC))
    await sell(pool, client_id, 2_000)
    await invoice(pool, operator, client_id, datetime(2026, 10, 31, 23, 30, tzinfo=UTC))
    assert [each.vat_cents for each in await documents(pool)] == [200, 392]


async def test_more_given_back_than_sold_is_a_credit_note_on_the_last_invoice(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    await sell(pool, client_id, -500, kind="commission", label="Commission reprise")
    assert [lack.cause for lack in (await invoice(pool, operator, client_id)).lacks] == [
        "nothing_to_credit"
    ]
    await sell(pool, client_id, 2_000)
    await invoice(pool, operator, client_id)
    assert await rows(pool, "SELECT FROM billing_problem WHERE resolved_at IS NULL") == []
    await sell(pool, client_id, -700, kind="commission", label="Commission reprise")
    await sell(pool, client_id, 100)
    issued = await invoice(pool, operator, client_id)
    first, credit = await documents(pool)
    assert first.net_cents == 1_500
    assert credit.type_code is TypeCode.CREDIT_NOTE
    assert credit.number == "T2P-A-2026-000001"
    assert credit.original_number == first.number
    assert (credit.net_cents, credit.vat_cents) == (600, 120)
    assert [line.net_cents for line in credit.lines] == [700, -100]
    assert issued.gross_cents == -720
    assert faults(credit) == []
    async with pool.connection() as connection:
        assert await books.balance(connection, ledger.receivable_client(client_id)) == 1_800 - 720
        assert await books.balance(connection, ledger.INCOME_COMMISSION) == 500 + 700
    assert (await invoice(pool, operator, client_id)).documents == 0


async def test_what_sums_to_nothing_waits(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    await sell(pool, client_id, 500)
    await sell(pool, client_id, -500)
    assert (await invoice(pool, operator, client_id)).documents == 0
    await sell(pool, client_id, 300)
    await invoice(pool, operator, client_id)
    ((lines,),) = await rows(pool, "SELECT count(*) FROM invoice_line")
    assert lines == 3


async def test_two_clients_invoiced_at_once_share_the_series_without_a_gap(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    clients = [await add_client(database, f"client-{number}") for number in range(6)]
    for client_id in clients:
        await sell(pool, client_id, 1_000, source_key=f"c{client_id}")
    await asyncio.gather(*(invoice(pool, operator, each) for each in clients * 2))
    found = await rows(pool, "SELECT sequence FROM invoice ORDER BY sequence")
    assert [row[0] for row in found] == [1, 2, 3, 4, 5, 6]


async def test_a_dry_run_writes_nothing(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha")
    await sell(pool, client_id, 1_000)
    dry = await invoice(pool, operator, client_id, dry_run=True)
    assert await rows(pool, "SELECT FROM invoice") == []
    assert await rows(pool, "SELECT FROM invoice_series") == []
    assert dry == await invoice(pool, operator, client_id)


async def test_a_client_without_an_address_gets_none_until_it_has_one(
    database: Database, pool: AsyncConnectionPool, operator: Settings
) -> None:
    client_id = await add_client(database, "alpha", status=None)  # its own VAT is no matter here
    await sell(pool, client_id, 1_000)
    async with await connect(database, owner=True) as owner:
        await owner.execute(
            "UPDATE client SET street = NULL, postal_code = NULL, city = NULL, country = NULL"
        )
    issued = await invoice(pool, operator, client_id)
    assert [lack.cause for lack in issued.lacks] == ["client_without_address"]
    async with await connect(database, owner=True) as owner:
        await owner.execute(
            "UPDATE client SET street = 'a', postal_code = 'b', city = 'c', country = 'FR'"
        )
    assert (await invoice(pool, operator, client_id)).documents == 1
    assert await rows(pool, "SELECT FROM billing_problem WHERE resolved_at IS NULL") == []


async def test_fees_and_subscriptions_fall_due_by_the_contract_once(
    database: Database, pool: AsyncConnectionPool
) -> None:
    client_id = await add_client(database, "alpha", fee_cents=2_500, subscription_cents=120_000)
    for month in (date(2026, 1, 1), date(2026, 10, 1), date(2027, 1, 1), date(2026, 10, 1)):
        async with transaction(pool) as connection:
            await own_sales.add_due_sales(connection, client_id, month, NOW)
    found = await rows(pool, "SELECT kind, on_day, amount_excl_cents FROM own_sale ORDER BY id")
    assert found == [
        ("management_fee", date(2026, 1, 31), 2_500),
        ("subscription", date(2026, 1, 1), 120_000),
        ("management_fee", date(2026, 10, 31), 2_500),
        ("management_fee", date(2027, 1, 31), 2_500),
        ("subscription", date(2027, 1, 1), 120_000),
    ]


def agreed(**values: Any) -> list[Terms]:
    return [Terms(date(2024, 1, 1), None, **values)]


def contract(**values: Any) -> Contract:
    return Contract(
        ClientClass.NON_PROFESSIONNEL,
        date(2024, 1, 1),
        values.pop("starts_on", date(2024, 2, 29)),
        36,
        **values,
    )


def test_a_month_of_which_one_day_is_in_force_owes_a_whole_fee() -> None:
    terms = agreed(monthly_management_fee_cents=900)
    begun = contract(starts_on=date(2026, 10, 31))
    assert own_sales.due_in(begun, terms, date(2026, 10, 1)) == [
        ("management_fee", date(2026, 10, 31), "Frais de gestion, octobre 2026", 900)
    ]
    assert own_sales.due_in(begun, terms, date(2026, 9, 1)) == []
    ended = contract(notice_on=date(2026, 6, 1), ends_on=date(2026, 10, 1))
    assert [due[1] for due in own_sales.due_in(ended, terms, date(2026, 10, 1))] == [
        date(2026, 10, 1)
    ]
    assert own_sales.due_in(ended, terms, date(2026, 11, 1)) == []


def test_the_anniversary_of_a_leap_day_is_the_last_of_february() -> None:
    terms = agreed(yearly_subscription_cents=12_000)
    assert [due[1] for due in own_sales.due_in(contract(), terms, date(2026, 2, 1))] == [
        date(2026, 2, 28)
    ]
    assert [due[1] for due in own_sales.due_in(contract(), terms, date(2028, 2, 1))] == [
        date(2028, 2, 29)
    ]
    assert own_sales.due_in(contract(), terms, date(2026, 3, 1)) == []
