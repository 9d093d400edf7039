"""Quotes and what they sell: deposit, balance, cancelling, withdrawal, costs, refunds."""

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from billing import books, checks, collecting, ledger, ordering, settling
from billing.invoice import from_json
from billing.invoice.faults import faults
from billing.orders import Case
from billing.store import orders as order_store
from billing.store.orders import QuoteRow
from csms.config import Settings
from csms.db import Database, connect, transaction
from csms.registry import Conflict, NotThere, Refusal
from simulators.bank import Bank
from tests import billing_world as world
from tests.billing_world import rows
from tests.scenarios import payments
from tests.scenarios.payments import DESK, OWN_IBAN

SIGNED = date(2026, 11, 6)
AT = datetime(2026, 11, 6, 15, tzinfo=UTC)
LINES = [
    ordering.Line("Borne murale, pose comprise", Decimal(2), 150_000),
    ordering.Line("Câble, par mètre", Decimal("12.5"), 1_000),
]  # 3 000,00 + 125,00


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return payments.with_accounts(settings)


@pytest.fixture
async def client_id(database: Database) -> int:
    return await world.add_client(database, "Copropriété A")


async def offer(pool: AsyncConnectionPool, client_id: int, **values: Any) -> int:
    async with transaction(pool) as connection:
        return await ordering.add_quote(
            connection,
            client_id=client_id,
            reference=values.pop("reference", "D-2026-17"),
            kind=values.pop("kind", "installation"),
            label=values.pop("label", "Deux bornes au sous-sol"),
            lines=values.pop("lines", LINES),
            valid_until=date(2026, 12, 31),
            actor=DESK,
            now=AT,
            **values,
        )


async def sign(
    pool: AsyncConnectionPool, settings: Settings, quote_id: int, **values: Any
) -> QuoteRow:
    async with transaction(pool) as connection:
        return await ordering.accept(
            connection,
            quote_id,
            signed_on=SIGNED,
            signed_by="le syndic",
            actor=DESK,
            now=values.pop("now", AT),
            settings=settings,
            **values,
        )


async def invoices(pool: AsyncConnectionPool) -> list[tuple[Any, ...]]:
    """Type, cents before VAT and with it, due day, what is left, in order."""
    return await rows(
        pool,
        """
        SELECT i.type_code, i.amount_excl_cents, i.amount_incl_cents, i.due_on, o.open_cents
          FROM invoice i LEFT JOIN own_invoice_open o ON o.invoice_id = i.id
         WHERE i.issuer = 'operator' ORDER BY i.id
        """,
    )


async def pay(pool: AsyncConnectionPool, settings: Settings, at: datetime) -> None:
    """The client pays the last invoice by transfer, into the operator's own account."""
    ((number, cents),) = await rows(
        pool,
        "SELECT number, open_cents FROM own_invoice_open WHERE open_cents > 0 "
        "ORDER BY invoice_id DESC LIMIT 1",
    )
    ((statements, lines),) = await rows(
        pool, "SELECT (SELECT count(*) FROM bank_statement), (SELECT count(*) FROM bank_line)"
    )
    bank = Bank(OWN_IBAN, 0, number=statements, movements=lines)
    bank.receive(cents, "SDC A", payments.CLIENT_IBAN, f"Facture {number}")
    done = await payments.read_in(pool, bank, at.date(), at, settings)
    assert done.by_kind == {"own_receipt": 1}


async def sound(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:
        assert ledger.faults(Counter(await books.balances(connection))) == []
        found = await checks.find_offences(connection, AT)
    assert {check.name: told for check, told in found if told} == {}
    for (content,) in await rows(pool, "SELECT content FROM invoice"):
        assert faults(from_json(content)) == []


async def test_an_installation_from_the_signature_to_the_balance(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """3 125,00 before VAT: 1 562,50 within six days, 1 562,50 on the day of the installation."""
    quote_id = await offer(pool, client_id)
    signed = await sign(pool, settings, quote_id)
    assert (signed.status, signed.total_excl_cents) == ("accepted", 312_500)
    assert await invoices(pool) == [(380, 156_250, 187_500, date(2026, 11, 12), 187_500)]
    await sign(pool, settings, quote_id)
    assert len(await invoices(pool)) == 1, "the same signature again sells nothing"
    await pay(pool, settings, AT)
    done_at = datetime(2026, 11, 24, 16, tzinfo=UTC)
    async with transaction(pool) as connection:
        done = await ordering.complete(
            connection,
            quote_id,
            date(2026, 11, 24),
            "sans réserve",
            actor=DESK,
            now=done_at,
            settings=settings,
        )
    assert done.status == "completed"
    assert await invoices(pool) == [
        (380, 156_250, 187_500, date(2026, 11, 12), 0),
        (380, 156_250, 187_500, date(2026, 11, 24), 187_500),
    ]
    async with transaction(pool) as connection:
        with pytest.raises(Conflict, match="is completed"):
            await ordering.cancel(
                connection, quote_id, "d'accord", actor=DESK, now=done_at, settings=settings
            )
    await sound(pool)


async def test_to_cancel_costs_a_fifth_of_what_the_deposit_paid_and_the_rest_goes_back(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """3 125,00: a fifth is 625,00, with VAT 750,00; 1 875,00 were paid, 1 125,00 go back."""
    quote_id = await offer(pool, client_id)
    await sign(pool, settings, quote_id)
    await pay(pool, settings, AT)
    at = datetime(2026, 11, 16, 9, tzinfo=UTC)
    async with transaction(pool) as connection:
        await ordering.cancel(
            connection, quote_id, "accord par courriel", actor=DESK, now=at, settings=settings
        )
    assert [row[:3] for row in await invoices(pool)] == [
        (380, 156_250, 187_500),
        (380, 62_500, 75_000),
        (381, 156_250, 187_500),
    ]
    ((original,),) = await rows(pool, "SELECT original_id FROM invoice WHERE type_code = 381")
    ((deposit_id, open_cents),) = await rows(
        pool, "SELECT invoice_id, open_cents FROM own_invoice_open WHERE open_cents <> 0"
    )
    assert (original, open_cents) == (deposit_id, -112_500)
    async with transaction(pool) as connection:
        (due,) = await order_store.list_refunds(connection, limit=10)
        assert (due.amount_cents, due.due_on) == (112_500, date(2026, 11, 30))
    await sound(pool)
    paid_at = datetime(2026, 11, 27, 9, tzinfo=UTC)
    async with transaction(pool) as connection:
        with pytest.raises(Refusal, match="lies ahead"):
            await ordering.note_refund(
                connection,
                deposit_id,
                paid_on=date(2026, 11, 28),
                reference="V-1",
                actor=DESK,
                now=paid_at,
            )
        await ordering.note_refund(
            connection,
            deposit_id,
            paid_on=paid_at.date(),
            reference="V-1",
            actor=DESK,
            now=paid_at,
        )
        with pytest.raises(NotThere):
            await ordering.note_refund(
                connection,
                deposit_id,
                paid_on=paid_at.date(),
                reference="V-2",
                actor=DESK,
                now=paid_at,
            )
        assert await order_store.list_refunds(connection, limit=10) == []
        own = await books.balance(connection, ledger.BANK_OWN)
        claim = await books.balance(connection, ledger.receivable_client(client_id))
    assert (own, claim) == (75_000, 0), "what it kept is what the cancelling costs"
    await sound(pool)


async def test_a_refund_that_the_bank_tells_is_explained_by_its_invoice(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    quote_id = await offer(pool, client_id, is_distance=True)
    await sign(pool, settings, quote_id)
    await pay(pool, settings, AT)
    at = datetime(2026, 11, 16, 9, tzinfo=UTC)
    async with transaction(pool) as connection:
        await ordering.withdraw(
            connection, quote_id, at.date(), actor=DESK, now=at, settings=settings
        )
        (due,) = await order_store.list_refunds(connection, limit=10)
    bank = Bank(OWN_IBAN, due.amount_cents, number=1, movements=1)
    bank.charge(due.amount_cents, f"Remboursement {due.number}")
    await payments.read_in(pool, bank, at.date(), at, settings)
    ((line_id,),) = await rows(pool, "SELECT id FROM bank_line WHERE amount_cents < 0")
    async with transaction(pool) as connection:
        with pytest.raises(NotThere):
            await settling.explain(
                connection, line_id, special="refund", invoice_number="x", actor=DESK, now=at
            )
    async with transaction(pool) as connection:
        await settling.explain(
            connection, line_id, special="refund", invoice_number=due.number, actor=DESK, now=at
        )
        assert await order_store.list_refunds(connection, limit=10) == []
        assert await books.balance(connection, ledger.BANK_OWN) == 0
        assert await books.balance(connection, ledger.SUSPENSE) == 0
    await sound(pool)


async def test_what_was_not_paid_is_not_given_back_and_the_costs_are_owed(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """An order of 400,00: a fifth would be 80,00, so 350,00 and VAT."""
    quote_id = await offer(pool, client_id, lines=[ordering.Line("Prise", Decimal(1), 40_000)])
    await sign(pool, settings, quote_id)
    async with transaction(pool) as connection:
        with pytest.raises(Refusal, match="agreement"):
            await ordering.cancel(connection, quote_id, " ", actor=DESK, now=AT, settings=settings)
        await ordering.cancel(connection, quote_id, "oui", actor=DESK, now=AT, settings=settings)
    assert [(row[1], row[4]) for row in await invoices(pool) if row[0] == 380] == [
        (20_000, 0),
        (35_000, 42_000),
    ]
    async with pool.connection() as connection:
        assert await order_store.list_refunds(connection, limit=10) == []
    await sound(pool)


async def test_a_deposit_is_given_back_at_the_rate_at_which_it_was_invoiced(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """The rate changes between the signature and the withdrawal: he has back what he paid."""
    quote_id = await offer(pool, client_id, is_distance=True)
    await sign(pool, settings, quote_id)
    await pay(pool, settings, AT)
    async with await connect(database, owner=True) as owner:
        await owner.execute("UPDATE vat_rate SET to_on = '2026-11-10' WHERE to_on IS NULL")
        await owner.execute(
            "INSERT INTO vat_rate (percent, from_on, source) VALUES (10, '2026-11-10', 'test')"
        )
    at = datetime(2026, 11, 16, 9, tzinfo=UTC)
    async with transaction(pool) as connection:
        await ordering.withdraw(
            connection, quote_id, at.date(), actor=DESK, now=at, settings=settings
        )
        (due,) = await order_store.list_refunds(connection, limit=10)
    assert due.amount_cents == 187_500
    await sound(pool)


async def test_a_deposit_paid_twice_is_given_back_once_while_the_order_stands(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """The list of refunds has as many as it says."""
    quote_id = await offer(pool, client_id)
    await sign(pool, settings, quote_id)
    await pay(pool, settings, AT)
    ((invoice_id, number),) = await rows(pool, "SELECT id, number FROM invoice")
    async with transaction(pool) as connection:
        await collecting.receive_own(
            connection,
            client_id=client_id,
            invoice_id=invoice_id,
            number=number,
            source_key="again",
            amount_cents=187_500,
            received_on=SIGNED,
            means="transfer",
            actor=DESK,
            now=AT,
        )
        (due,) = await order_store.list_refunds(connection, limit=10)
        assert await order_store.count_refunds(connection) == 1
    assert (due.amount_cents, due.due_on) == (187_500, date(2026, 11, 20))


async def test_nothing_is_installed_before_its_order_was_signed(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    quote_id = await offer(pool, client_id)
    await sign(pool, settings, quote_id)
    async with transaction(pool) as connection:
        with pytest.raises(Refusal, match="signed on 2026-11-06"):
            await ordering.complete(
                connection, quote_id, date(2026, 11, 5), "", actor=DESK, now=AT, settings=settings
            )


async def test_a_transfer_gives_back_one_refund(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """The bank sent it back, it is paid again: by a reference of its own, or it is not noted."""
    quote_id = await offer(pool, client_id, is_distance=True)
    await sign(pool, settings, quote_id)
    await pay(pool, settings, AT)
    async with transaction(pool) as connection:
        await ordering.withdraw(connection, quote_id, SIGNED, actor=DESK, now=AT, settings=settings)
        (due,) = await order_store.list_refunds(connection, limit=10)
        noted = {
            "paid_on": SIGNED,
            "reference": "V-1",
            "actor": DESK,
            "now": AT,
        }
        await ordering.note_refund(connection, due.invoice_id, **noted)
        await collecting.receive_own(
            connection,
            client_id=client_id,
            invoice_id=due.invoice_id,
            number=due.number,
            source_key="sent back",
            amount_cents=due.amount_cents,
            received_on=SIGNED,
            means="transfer",
            actor=DESK,
            now=AT,
        )
        with pytest.raises(Conflict, match="V-1"):
            await ordering.note_refund(connection, due.invoice_id, **noted)
        await ordering.note_refund(connection, due.invoice_id, **(noted | {"reference": "V-2"}))
        assert await order_store.list_refunds(connection, limit=10) == []


async def test_a_distance_contract_is_withdrawn_from_without_costs(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    quote_id = await offer(pool, client_id, is_distance=True)
    await sign(pool, settings, quote_id)
    await pay(pool, settings, AT)
    at = datetime(2026, 11, 23, 9, tzinfo=UTC)
    for day, message in ((date(2026, 11, 21), "until 2026-11-20"), (date(2026, 11, 5), "until")):
        async with transaction(pool) as connection:
            with pytest.raises(Refusal, match=message):
                await ordering.withdraw(
                    connection, quote_id, day, actor=DESK, now=at, settings=settings
                )
    async with transaction(pool) as connection:
        done = await ordering.withdraw(
            connection, quote_id, date(2026, 11, 20), actor=DESK, now=at, settings=settings
        )
        (due,) = await order_store.list_refunds(connection, limit=10)
    assert done.status == "withdrawn"
    assert (due.amount_cents, due.due_on) == (187_500, date(2026, 12, 4))
    other = await offer(pool, client_id, reference="D-2026-18")
    await sign(pool, settings, other)
    async with transaction(pool) as connection:
        with pytest.raises(Refusal, match="at a distance"):
            await ordering.withdraw(
                connection, other, SIGNED, actor=DESK, now=at, settings=settings
            )
    await sound(pool)


async def test_an_intervention_is_invoiced_when_it_is_done(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    quote_id = await offer(
        pool,
        client_id,
        kind="intervention",
        lines=[ordering.Line("Remplacement d'un câble", Decimal(1), 18_000)],
    )
    async with transaction(pool) as connection:
        with pytest.raises(Conflict, match="is draft"):
            await ordering.complete(
                connection, quote_id, SIGNED, "", actor=DESK, now=AT, settings=settings
            )
    await sign(pool, settings, quote_id)
    assert await invoices(pool) == []
    async with transaction(pool) as connection:
        await ordering.complete(
            connection, quote_id, SIGNED, "", actor=DESK, now=AT, settings=settings
        )
    ((_, excl, incl, due_on, _),) = await invoices(pool)
    assert (excl, incl, due_on) == (18_000, 21_600, date(2026, 11, 14)), "eight days, as ever"
    await sound(pool)


async def test_additional_costs_need_their_case(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    quote_id = await offer(pool, client_id)
    await sign(pool, settings, quote_id, planned_at=datetime(2026, 11, 23, 9, tzinfo=UTC))

    async def cost(case: Case, at: datetime, key: str = "k", **values: Any) -> int:
        async with transaction(pool) as connection:
            return await ordering.add_cost(
                connection,
                client_id=client_id,
                case=case,
                label="Déplacement sans objet",
                amount_excl_cents=9_000,
                on_day=at.date(),
                evidence=values.pop("evidence", "bon de visite 12"),
                source_key=key,
                actor=DESK,
                now=at,
                settings=settings,
                **values,
            )

    made = await cost(Case.NOTHING_FOUND, AT)
    assert await cost(Case.NOTHING_FOUND, AT) == made, "the same again is the same"
    assert len(await invoices(pool)) == 2
    with pytest.raises(Refusal, match="what shows it"):
        await cost(Case.NO_ACCESS, AT, "k2", evidence=" ")
    with pytest.raises(Refusal, match="Name the quote"):
        await cost(Case.LATE_CANCELLATION, AT, "k2")
    with pytest.raises(Refusal, match="48 working hours"):
        await cost(Case.LATE_CANCELLATION, AT, "k2", quote_id=quote_id)
    late = datetime(2026, 11, 20, 9, tzinfo=UTC)
    await cost(Case.LATE_CANCELLATION, late, "k2", quote_id=quote_id)
    assert [row[1] for row in await invoices(pool)] == [156_250, 9_000, 9_000]
    await sound(pool)


async def test_what_was_offered_stays(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    quote_id = await offer(pool, client_id)
    with pytest.raises(Conflict, match="is there already"):
        await offer(pool, client_id)
    with pytest.raises(Refusal, match="1 to"):
        await offer(pool, client_id, reference="D-2", lines=[])
    with pytest.raises(NotThere):
        await offer(pool, 999, reference="D-3")
    async with await connect(database, owner=True) as owner:
        for change in ("total_excl_cents = 1", "label = 'x'", "deposit_rate = 0"):
            with pytest.raises(psycopg.errors.CheckViolation):
                await owner.execute(f"UPDATE quote SET {change}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await owner.execute("UPDATE quote_line SET amount_excl_cents = 1")
    async with transaction(pool) as connection:
        with pytest.raises(Refusal, match="lies ahead"):
            await ordering.accept(
                connection,
                quote_id,
                signed_on=date(2026, 11, 7),
                signed_by="x",
                actor=DESK,
                now=AT,
                settings=settings,
            )


async def test_a_document_that_cannot_be_made_leaves_nothing_behind(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    quote_id = await offer(pool, client_id)
    async with await connect(database, owner=True) as owner:
        await owner.execute("UPDATE vat_rate SET from_on = '2030-01-01'")
    with pytest.raises(Conflict, match="No rate of VAT"):
        await sign(pool, settings, quote_id)
    assert await rows(pool, "SELECT status FROM quote") == [("draft",)]
    assert await rows(pool, "SELECT count(*) FROM own_sale") == [(0,)]
