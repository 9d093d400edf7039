"""Direct debits, and the bank's lines: told before, collected once, undone when they come back;
what nothing explains waits for a person."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from billing import books, checks, collecting, disputes, ledger, receipts, settling
from billing.store import banking, payment_files
from csms.config import Settings
from csms.db import Database, transaction
from csms.registry import Conflict, NotThere, Refusal
from simulators.bank import Bank
from tests import billing_world as world
from tests.billing_world import MONTH, NOW, rows
from tests.scenarios import payments
from tests.scenarios.payments import DESK, DRIVER_IBAN, MANDATE_IBAN, OWN_IBAN, SECOND

ISSUED = datetime(2026, 10, 6, 9, tzinfo=UTC)
DUE = date(2026, 11, 5)  # thirty days later


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return payments.with_accounts(settings)


@pytest.fixture
async def client_id(database: Database, pool: AsyncConnectionPool, settings: Settings) -> int:
    """A client with two open invoices, of 40 EUR and 20 EUR, to one driver."""
    made = await world.add_client(database, "Copropriété A", invoicing="per_use")
    await payments.give_account(database, made)
    person_id = await world.add_driver(database, "anne")
    await world.add_sessions(database, made, person_id, [4_000, 2_000])
    await payments.bill(pool, made, MONTH, ISSUED, settings)
    return made


@pytest.fixture
async def person_id(pool: AsyncConnectionPool, client_id: int) -> int:
    ((found,),) = await rows(pool, "SELECT person_id FROM driver")
    return int(found)


async def nothing_is_wrong(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:
        assert ledger.faults(Counter(await books.balances(connection))) == []
        found = await checks.find_offences(connection, ISSUED)
    assert {check.name: told for check, told in found if told} == {}


async def debits(pool: AsyncConnectionPool) -> list[tuple[str, int, str | None, str]]:
    return [
        (row[0], row[1], row[2], row[3])
        for row in await rows(
            pool,
            "SELECT end_to_end_id, amount_cents, sequence, status FROM direct_debit ORDER BY id",
        )
    ]


async def file_and_hand_over(
    pool: AsyncConnectionPool, bank: Bank, now: datetime, settings: Settings
) -> collecting.Filed:
    filed = await collecting.make_files(pool, now, settings=settings, actor=DESK)
    for file_id in filed.file_ids:
        await payments.hand_over(pool, file_id, bank, now)
    return filed


async def test_a_payer_is_told_before_and_debited_on_the_day_it_is_due(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, person_id: int
) -> None:
    await payments.sign_mandate(pool, ISSUED, person_id=person_id)
    for expected in (2, 0):
        told = await collecting.announce_debits(pool, ISSUED, settings=settings)
        assert told.debits == expected
    assert await rows(pool, "SELECT DISTINCT collection_on FROM direct_debit") == [(DUE,)]
    assert await rows(
        pool, "SELECT count(*) FROM notification WHERE event = 'debit.announced'"
    ) == [(2,)]
    early = await collecting.make_files(pool, ISSUED, settings=settings, actor=DESK)
    assert early.file_ids == [], "not weeks before"
    bank = Bank(MANDATE_IBAN, 0)
    at = datetime(2026, 11, 3, 9, tzinfo=UTC)
    filed = await file_and_hand_over(pool, bank, at, settings)
    assert (filed.debits, filed.total_cents) == (2, 6_000)
    again = await collecting.make_files(pool, at, settings=settings, actor=DESK)
    assert again.file_ids == []
    assert {row[2] for row in await debits(pool)} == {"FRST", "RCUR"}
    done = await payments.read_in(pool, bank, DUE, at + timedelta(days=2), settings)
    assert done.by_kind == {"debit": 2}
    assert done.difference_cents == 0
    assert {row[3] for row in await debits(pool)} == {"collected"}
    assert await rows(pool, "SELECT open_cents FROM payable_invoice") == [(0,), (0,)]
    assert await rows(
        pool,
        "SELECT means, sum(amount_cents)::bigint, bool_and(is_simulated) FROM receipt GROUP BY 1",
    ) == [("direct_debit", 6_000, True)]
    await nothing_is_wrong(pool)


async def test_a_debit_that_comes_back_opens_the_invoice_and_is_not_tried_again(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, person_id: int
) -> None:
    await payments.sign_mandate(pool, ISSUED, person_id=person_id)
    await collecting.announce_debits(pool, ISSUED, settings=settings)
    bank = Bank(MANDATE_IBAN, 0)
    at = datetime(2026, 11, 3, 9, tzinfo=UTC)
    await file_and_hand_over(pool, bank, at, settings)
    await payments.read_in(pool, bank, DUE, at + timedelta(days=2), settings)
    ((first, _, _, _), (second, _, _, _)) = await debits(pool)
    bank.give_back(first, "AM04")
    later = at + timedelta(days=6)
    done = await payments.read_in(pool, bank, later.date(), later, settings)
    assert done.by_kind == {"debit_return": 1}
    assert [row[3] for row in await debits(pool)] == ["returned", "collected"]
    assert await rows(pool, "SELECT open_cents FROM payable_invoice WHERE open_cents > 0") == [
        (4_000,)
    ]
    assert await rows(pool, "SELECT revoked_at IS NULL FROM sepa_mandate") == [(True,)]
    told = await collecting.announce_debits(pool, later, settings=settings)
    assert told.debits == 0, "a person is reminded instead"
    bank.give_back(second, "AC04")
    later += timedelta(days=1)
    await payments.read_in(pool, bank, later.date(), later, settings)
    assert await rows(pool, "SELECT revoked_for FROM sepa_mandate") == [("Rejet AC04",)]
    assert await rows(pool, "SELECT count(*) FROM notification WHERE event = 'debit.returned'") == [
        (2,)
    ]
    await nothing_is_wrong(pool)


@pytest.mark.parametrize("what", ["paid", "revoked", "contested"])
async def test_what_changed_since_it_was_announced_is_not_collected(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, person_id: int, what: str
) -> None:
    mandate_id = await payments.sign_mandate(pool, ISSUED, person_id=person_id)
    await collecting.announce_debits(pool, ISSUED, settings=settings)
    at = datetime(2026, 11, 3, 9, tzinfo=UTC)
    ((number, invoice_id),) = await rows(
        pool, "SELECT number, invoice_id FROM invoice_open WHERE open_cents = 4000"
    )
    async with transaction(pool) as connection:
        if what == "revoked":
            with pytest.raises(NotThere):
                await collecting.revoke_mandate(
                    connection, 99, "x", person_id=person_id, client_id=None, actor=DESK, now=at
                )
            await collecting.revoke_mandate(
                connection,
                mandate_id,
                "Demande du titulaire",
                person_id=person_id,
                client_id=None,
                actor=DESK,
                now=at,
            )
        elif what == "contested":
            await disputes.contest_invoice(connection, invoice_id, "Durée", DESK, at)
        else:
            await receipts.receive(
                connection,
                source_key="bank:x",
                amount_cents=500,
                received_on=at.date(),
                means="transfer",
                actor=DESK,
                now=at,
                invoice_number=number,
            )
    filed = await collecting.make_files(pool, at, settings=settings, actor=DESK)
    left = 0 if what == "revoked" else 1
    assert (filed.debits, len(filed.cancelled)) == (left, 2 - left)
    assert Counter(row[3] for row in await debits(pool))["cancelled"] == 2 - left


async def test_a_new_mandate_takes_the_place_of_the_old_and_the_history_stays(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, person_id: int
) -> None:
    await payments.sign_mandate(pool, ISSUED, person_id=person_id)
    with pytest.raises(Conflict):
        await payments.sign_mandate(pool, ISSUED, person_id=person_id)
    await payments.sign_mandate(pool, ISSUED, "MD-2", person_id=person_id)
    assert await rows(pool, "SELECT reference, revoked_for FROM sepa_mandate ORDER BY id") == [
        ("MD-1", "Remplacé par MD-2"),
        ("MD-2", None),
    ]
    good: dict[str, Any] = {
        "reference": "MD-3",
        "iban": DRIVER_IBAN,
        "holder": "C",
        "signed_on": date(2026, 1, 1),
        "actor": DESK,
        "now": ISSUED,
        "person_id": person_id,
    }
    changes: tuple[dict[str, Any], ...] = (
        {"iban": "FR00"},
        {"holder": " "},
        {"signed_on": date(2027, 1, 1)},
        {"notice_days": 15},
        {"client_id": client_id},
    )
    for wrong in changes:
        async with transaction(pool) as connection:
            with pytest.raises(Refusal):
                await collecting.add_mandate(connection, **(good | wrong))


def test_notice_comes_first_where_the_due_day_is_too_near() -> None:
    """T5: due eight days after the invoice, with fourteen days of notice."""
    now = datetime(2026, 11, 2, 9, tzinfo=UTC)
    assert collecting.collection_day(date(2026, 11, 10), 14, now) == date(2026, 11, 16)
    assert collecting.collection_day(date(2026, 11, 10), 5, now) == date(2026, 11, 10)
    assert collecting.collection_day(None, 12, now) == date(2026, 11, 16), "14 is a Saturday"


async def test_without_a_creditor_identifier_nothing_is_collected_and_it_says_so(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    for missing in ("operator_creditor_identifier", "operator_mandate_iban"):
        with pytest.raises(Conflict, match="T2P_"):
            await collecting.make_files(
                pool, ISSUED, settings=replace(settings, **{missing: None}), actor=DESK
            )


async def test_the_subscription_is_debited_from_the_client_into_the_operators_own_account(
    database: Database, pool: AsyncConnectionPool, settings: Settings
) -> None:
    made = await world.add_client(database, "Copropriété B", subscription_cents=12_000)
    await payments.give_account(database, made)
    december = datetime(2026, 2, 2, 9, tzinfo=UTC)
    await payments.close(pool, date(2026, 1, 1), december, settings)
    ((number, open_cents),) = await rows(pool, "SELECT number, open_cents FROM own_invoice_open")
    assert open_cents == 14_400
    await payments.sign_mandate(pool, december, client_id=made)
    told = await collecting.announce_debits(pool, december, settings=settings)
    assert (told.debits, told.amount_cents) == (1, 14_400)
    bank = Bank(OWN_IBAN, 0)
    at = datetime(2026, 2, 13, 9, tzinfo=UTC)
    await file_and_hand_over(pool, bank, at, settings)
    at = datetime(2026, 3, 3, 9, tzinfo=UTC)
    done = await payments.read_in(pool, bank, date(2026, 2, 17), at, settings)
    assert done.by_kind == {"debit": 1}
    async with pool.connection() as connection:
        assert await books.balance(connection, ledger.receivable_client(made)) == 0
        assert await books.balance(connection, ledger.BANK_OWN) == 14_400
    ((reference, _, _, _),) = await debits(pool)
    bank.give_back(reference, "MD06")
    await payments.read_in(pool, bank, date(2026, 3, 2), at, settings)
    assert await rows(pool, "SELECT open_cents FROM own_invoice_open") == [(14_400,)]
    async with pool.connection() as connection:
        assert await books.balance(connection, ledger.receivable_client(made)) == 14_400
    bank.receive(14_400, "SDC", DRIVER_IBAN, f"facture {number.lower()}")
    done = await payments.read_in(pool, bank, date(2026, 3, 3), at, settings)
    assert done.by_kind == {"own_receipt": 1}
    assert await rows(pool, "SELECT open_cents FROM own_invoice_open") == [(0,)]
    await nothing_is_wrong(pool)


async def test_only_what_names_its_invoice_and_pays_just_that_is_received_by_itself(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, person_id: int
) -> None:
    numbers = [row[0] for row in await rows(pool, "SELECT number FROM invoice_open ORDER BY 1")]
    bank = Bank(MANDATE_IBAN, 0)
    bank.receive(4_000, "Camille", DRIVER_IBAN, f"Facture {numbers[0]} merci")
    bank.receive(1_999, "Camille", DRIVER_IBAN, f"Facture {numbers[1]}")
    bank.receive(2_000, "Camille", DRIVER_IBAN, "recharge octobre")
    bank.receive(2_000, "Camille", DRIVER_IBAN, f"{numbers[0]} {numbers[1]}")
    bank.charge(700, "Frais")
    at = datetime(2026, 10, 12, 9, tzinfo=UTC)
    done = await payments.read_in(pool, bank, at.date(), at, settings)
    assert done.by_kind == {"receipt": 1, "suspense": 4}
    assert done.difference_cents == 0
    async with pool.connection() as connection:
        assert -await books.balance(connection, ledger.SUSPENSE) == 5_999 - 700
        assert await books.balance(connection, ledger.BANK_OWN) == -700, "not the clients' money"
        waiting = await banking.list_suspense(connection, limit=10)
        assert [line.amount_cents for line in waiting] == [1_999, 2_000, 2_000, -700]
        first = await settling.suggest(connection, waiting[0])
        second = await settling.suggest(connection, waiting[1])
    assert [one.number for one in first] == [numbers[1]]
    assert [one.number for one in second] == [numbers[1]], "by its amount"
    await nothing_is_wrong(pool)
    async with transaction(pool) as connection:
        for wrong, error in ((999, NotThere), (waiting[3].id, Refusal)):
            with pytest.raises(error):
                await settling.explain(connection, wrong, person_id=person_id, actor=DESK, now=at)
    async with transaction(pool) as connection:
        subject = await settling.explain(
            connection, waiting[1].id, invoice_number=numbers[1], actor=SECOND, now=at
        )
    assert subject.startswith("receipt ")
    async with transaction(pool) as connection:
        with pytest.raises(Conflict, match="explained"):
            await settling.explain(
                connection, waiting[1].id, invoice_number=numbers[1], actor=SECOND, now=at
            )
        await settling.explain(connection, waiting[0].id, person_id=person_id, actor=SECOND, now=at)
    assert await rows(pool, "SELECT open_cents FROM invoice_open") == [(0,), (0,)]
    async with pool.connection() as connection:
        assert -await books.balance(connection, ledger.wallet(person_id)) == 1_999
        assert await settling.difference(connection) == 0
    await nothing_is_wrong(pool)


async def test_lines_told_twice_settle_once_and_a_changed_statement_is_refused(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    bank = Bank(MANDATE_IBAN, 0)
    bank.receive(4_000, "Camille", DRIVER_IBAN, "avance")
    at = datetime(2026, 10, 12, 9, tzinfo=UTC)
    content = bank.statement(at.date())
    await settling.read_in(pool, content, at, settings=settings, actor=DESK)
    renamed = content.replace(b"0189-00001", b"0189-00002")
    done = await settling.read_in(pool, renamed, at, settings=settings, actor=DESK)
    assert (done.statements, done.lines) == (1, 0)
    changed = content.replace(b"40.00", b"41.00")
    with pytest.raises(Conflict, match="another content"):
        await settling.read_in(pool, changed, at, settings=settings, actor=DESK)
    moved = renamed.replace(b"0189-00002", b"0189-00003").replace(b"40.00", b"41.00")
    with pytest.raises(Conflict, match="told before"):
        await settling.read_in(pool, moved, at, settings=settings, actor=DESK)
    foreign = content.replace(MANDATE_IBAN.encode(), DRIVER_IBAN.encode())
    with pytest.raises(Refusal, match="none of the operator"):
        await settling.read_in(pool, foreign, at, settings=settings, actor=DESK)
    with pytest.raises(Refusal, match="ahead"):
        early = at - timedelta(days=1)
        await settling.read_in(pool, renamed, early, settings=settings, actor=DESK)
    dry = await settling.read_in(
        pool, renamed.replace(b"00002", b"00003"), at, settings=settings, actor=DESK, dry_run=True
    )
    assert (dry.statements, dry.lines) == (1, 1)
    assert await rows(pool, "SELECT count(*) FROM bank_statement") == [(2,)]


async def test_a_payment_of_the_wrong_amount_is_not_taken_for_ours(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    bank = Bank(MANDATE_IBAN, 0)
    at = datetime(2026, 10, 12, 9, tzinfo=UTC)
    bank.receive(123, "X", DRIVER_IBAN, "T2P-P-1-1")
    content = bank.statement(at.date()).replace(b"NOTPROVIDED", b"T2P-P-1-1")
    done = await settling.read_in(pool, content, at, settings=settings, actor=DESK)
    assert done.by_kind == {"suspense": 1}


async def test_a_line_that_cannot_be_received_waits_and_holds_up_no_other(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    numbers = [row[0] for row in await rows(pool, "SELECT number FROM invoice_open ORDER BY 1")]
    bank = Bank(MANDATE_IBAN, 0)
    bank.receive(4_000, "Camille", DRIVER_IBAN, numbers[0])
    bank.receive(2_000, "Camille", DRIVER_IBAN, numbers[1])
    at = datetime(2026, 10, 12, 9, tzinfo=UTC)
    # Somebody entered the first line by hand, as something else.
    other_id = await world.add_driver(database, "bruno")
    await payments.receive(pool, "bank:mandate:SIM000000001", 1, at, person_id=other_id)
    done = await payments.read_in(pool, bank, at.date(), at, settings)
    assert done.by_kind == {"suspense": 1, "receipt": 1}
    assert await rows(pool, "SELECT stage, cause FROM billing_problem") == [
        ("settle", "line_not_received")
    ]
    await nothing_is_wrong(pool)


async def test_the_same_fee_on_two_statements_is_paid_twice(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """A bank that gives its lines no reference: none is taken for another's repetition."""
    bank = Bank(MANDATE_IBAN, 0)
    at = datetime(2026, 10, 12, 9, tzinfo=UTC)
    for _ in range(2):
        bank.charge(300, "Frais")
        content = re.sub(rb"<AcctSvcrRef>[^<]*</AcctSvcrRef>", b"", bank.statement(at.date()))
        await settling.read_in(pool, content, at, settings=settings, actor=DESK)
        again = await settling.read_in(pool, content, at, settings=settings, actor=DESK)
        assert again.lines == 0
    assert await rows(pool, "SELECT count(*), sum(amount_cents)::bigint FROM bank_line") == [
        (2, -600)
    ]
    async with pool.connection() as connection:
        assert await settling.difference(connection) == 0


async def explained(pool: AsyncConnectionPool, cents: int, **how: Any) -> str:
    """The line of that amount, explained by a person."""
    ((line_id,),) = await rows(pool, "SELECT id FROM bank_line WHERE amount_cents = %s", cents)
    async with transaction(pool) as connection:
        return await settling.explain(connection, line_id, **how, actor=DESK, now=NOW)


async def test_a_fee_of_the_banks_is_the_operators_and_no_clients(
    pool: AsyncConnectionPool, settings: Settings
) -> None:
    bank = Bank(payments.MANDATE_IBAN, 0)
    bank.charge(450, "Frais de tenue de compte")
    done = await payments.read_in(pool, bank, NOW.date(), NOW, settings)
    assert (done.by_kind, done.difference_cents) == ({"suspense": 1}, 0)
    with pytest.raises(Refusal, match="no payment"):
        await explained(pool, -450, invoice_number="x")
    await explained(pool, -450, special="fee")
    with pytest.raises(Conflict):
        await explained(pool, -450, special="fee")
    async with pool.connection() as connection:
        assert await books.balance(connection, ledger.EXPENSE_BANK) == 450
        assert await books.balance(connection, ledger.SUSPENSE) == 0
        assert await settling.difference(connection) == 0
    # It brings the 4.50 there from its own account; both banks tell a line of it.
    own = Bank(payments.OWN_IBAN, 0)
    own.charge(450, "virement vers le compte de tiers")
    bank.receive(450, "Opérateur", payments.OWN_IBAN, "complément")
    for each in (bank, own):
        await payments.read_in(pool, each, NOW.date(), NOW, settings)
    with pytest.raises(Refusal, match="neither a fee nor a refund"):
        await explained(pool, 450, special="fee")
    await explained(pool, 450, special="top_up")
    ((line_id,),) = await rows(
        pool, "SELECT id FROM bank_line WHERE amount_cents = -450 AND account = 'own'"
    )
    async with transaction(pool) as connection:
        await settling.explain(connection, line_id, special="top_up", actor=DESK, now=NOW)
    async with pool.connection() as connection:
        assert await books.balance(connection, ledger.SUSPENSE) == 0
        assert await books.balance(connection, ledger.BANK_OWN) == -450
        assert await settling.difference(connection) == 0
        assert await payment_files.fetch_earned(connection) == (0, 0, 0)
        found = await checks.find_offences(connection, NOW)
    assert {check.name: told for check, told in found if told} == {}


async def test_nobody_brings_more_than_the_operator_owes_there(
    pool: AsyncConnectionPool, settings: Settings
) -> None:
    bank = Bank(payments.MANDATE_IBAN, 0)
    bank.receive(100, "Opérateur", payments.OWN_IBAN, "complément")
    await payments.read_in(pool, bank, NOW.date(), NOW, settings)
    with pytest.raises(Refusal, match="owes the account of third parties 0 cents"):
        await explained(pool, 100, special="top_up")
