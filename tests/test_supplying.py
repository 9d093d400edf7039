"""Bills to co-owners: what each used, the provision, what is put right, what is given back."""

import asyncio
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from billing import books, checks, collecting, ledger, lots, pricing, settling, supplying
from billing.facturx import xml
from billing.facturx_reading import differences
from billing.invoice import Document, TypeCode, faults, from_json
from csms import db
from csms.config import Settings
from csms.db import Database, transaction
from csms.registry import Conflict, Refusal
from simulators.bank import Bank
from tests import billing_world as world
from tests.billing_world import rows
from tests.scenarios import payments
from tests.scenarios import supply as scene
from tests.scenarios.payments import DESK, OWN_IBAN

OCTOBER, NOVEMBER, DECEMBER = date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1)
IN_NOVEMBER = datetime(2026, 11, 2, 9, tzinfo=UTC)
IN_DECEMBER = datetime(2026, 12, 2, 9, tzinfo=UTC)
IN_JANUARY = datetime(2027, 1, 4, 9, tzinfo=UTC)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return payments.with_accounts(settings)


@pytest.fixture
async def client_id(database: Database, pool: AsyncConnectionPool) -> int:
    client_id = await scene.add_coownership(database)
    await scene.supply(pool, client_id)
    return client_id


async def documents(pool: AsyncConnectionPool) -> list[Document]:
    return [
        from_json(row[0]) for row in await rows(pool, "SELECT content FROM invoice ORDER BY id")
    ]


async def problems(pool: AsyncConnectionPool) -> list[str]:
    found = await rows(
        pool,
        "SELECT cause FROM billing_problem WHERE stage = 'supply' AND resolved_at IS NULL "
        "ORDER BY cause",
    )
    return [row[0] for row in found]


async def sound(pool: AsyncConnectionPool, now: datetime = IN_JANUARY) -> None:
    """The books, the checks, and every document by our own recomputation and as XML."""
    async with pool.connection() as connection:
        assert ledger.faults(Counter(await books.balances(connection))) == []
        found = await checks.find_offences(connection, now)
    assert {check.name: told for check, told in found if told} == {}
    for document in await documents(pool):
        assert faults(document) == []
        assert differences(xml(document), document) == []


async def balance(pool: AsyncConnectionPool, account: ledger.Account) -> int:
    async with pool.connection() as connection:
        return await books.balance(connection, account)


async def transfer(
    pool: AsyncConnectionPool, settings: Settings, cents: int, text: str, now: datetime
) -> dict[str, int]:
    """A line of the bank's on the operator's own account; what it was taken for."""
    ((statements, lines),) = await rows(
        pool, "SELECT (SELECT count(*) FROM bank_statement), (SELECT count(*) FROM bank_line)"
    )
    bank = Bank(OWN_IBAN, 0, number=statements, movements=lines)
    bank.receive(cents, "Copropriétaire", payments.DRIVER_IBAN, text)
    done = await payments.read_in(pool, bank, now.date(), now, settings)
    return dict(done.by_kind)


async def test_a_month_is_billed_by_lot_at_the_contract_s_price(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """Lot 12: 37.421 kWh at 0.1740 EUR are 6.51, telemetering 5.00: 11.51, with VAT 13.81."""
    anna = await world.add_driver(database, "anna")
    bela = await world.add_driver(database, "bela")
    await scene.give_lot(pool, client_id, "12", anna, evse_id=1)
    await scene.give_lot(pool, client_id, "13", bela, evse_id=2)
    await scene.charge(database, client_id, 30_000, datetime(2026, 10, 3, 8, tzinfo=UTC))
    await scene.charge(database, client_id, 7_421, datetime(2026, 10, 31, 22, 59, tzinfo=UTC))
    await scene.charge(database, client_id, 99, datetime(2026, 10, 31, 23, tzinfo=UTC))  # November
    done = await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    assert (done.bills, done.energy_wh, done.amount_incl_cents) == (2, 37_421, 1_381 + 600)
    of_anna, of_bela = await documents(pool)
    assert [(line.label, line.net_cents) for line in of_anna.lines] == [
        ("Électricité, lot 12", 651),
        ("Télérelève, lot 12", 500),
    ]
    assert of_anna.lines[0].attributes == (
        ("Énergie", "37,421\u00a0kWh"),
        ("Prix", "0,174\u00a0€/kWh HT"),
    )
    assert (of_anna.seller.name, of_anna.buyer.name) == ("Opérateur de démonstration", "anna")
    assert of_anna.invoicer is None and of_anna.number == "T2P-F-2026-000001"
    assert [line.label for line in of_bela.lines] == ["Télérelève, lot 13"], "connected, unused"
    assert await balance(pool, ledger.receivable_owner(client_id, anna)) == 1_381
    assert await balance(pool, ledger.INCOME_ENERGY) == -651
    assert await balance(pool, ledger.INCOME_TELEMETERING) == -1_000
    again = await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    assert again.bills == 0
    await sound(pool)


async def test_what_the_operator_supplies_is_invoiced_in_nobody_else_s_name(
    database: Database, pool: AsyncConnectionPool, client_id: int
) -> None:
    """Even under a mandate and a tariff: the sessions get no price, and are no problem."""
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            "UPDATE contract SET mandate_from_on = '2026-01-01' WHERE client_id = %s", (client_id,)
        )
    before = await scene.charge(
        database, client_id, 5_000, datetime(2026, 8, 31, 21, tzinfo=UTC), token_uid="X"
    )
    await scene.charge(database, client_id, 5_000, datetime(2026, 9, 1, 8, tzinfo=UTC))
    done = await pricing.run(pool, now=IN_NOVEMBER)
    assert (done.sessions, dict(done.problems)) == (0, {"no_driver": 1})
    ((about,),) = await rows(pool, "SELECT session_id FROM billing_problem")
    assert about == before, "only the day before is the client's"


async def test_shared_points_go_to_the_lot_of_the_badge(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    anna = await world.add_driver(database, "anna")
    await scene.give_lot(pool, client_id, "12", anna)
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            """
            WITH badge AS (INSERT INTO token (uid_key, uid) VALUES ('04aa', '04AA')
                           RETURNING token_key, uid_key)
            INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
            SELECT token_key, uid_key, %s, '2026-01-01' FROM badge
            """,
            (anna,),
        )
    at = datetime(2026, 10, 3, 8, tzinfo=UTC)
    await scene.charge(database, client_id, 10_000, at, token_uid="04AA")
    await scene.charge(database, client_id, 10_000, at, token_uid="04BB")
    done = await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    assert (done.energy_wh, done.problems) == (10_000, 1)
    assert await problems(pool) == ["no_lot"]


async def test_what_is_in_doubt_waits_and_is_on_the_next_bill(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    anna = await world.add_driver(database, "anna")
    at = datetime(2026, 10, 3, 8, tzinfo=UTC)
    await scene.give_lot(pool, client_id, "12", anna, evse_id=1, from_on=date(2026, 10, 4))
    async with await db.connect(database, owner=True) as connection:
        await connection.execute("UPDATE lot_point SET from_on = '2026-09-01'")
    doubtful = await scene.charge(
        database,
        client_id,
        9_000,
        datetime(2026, 10, 5, 8, tzinfo=UTC),
        flags=("energy_implausible",),
    )
    unknown = await scene.charge(database, client_id, None, datetime(2026, 10, 6, 8, tzinfo=UTC))
    early = await scene.charge(database, client_id, 1_000, at)
    right = await scene.charge(database, client_id, 20_000, datetime(2026, 10, 7, 8, tzinfo=UTC))
    assert (await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)).energy_wh == 20_000
    assert await problems(pool) == ["energy_unknown", "held_by_flag", "no_holder"]
    async with await db.connect(database, owner=True) as connection:
        for session_id, wh, flags in (
            (doubtful, 9_000, ["energy_implausible", "confirmed"]),
            (unknown, 3_000, ["settled"]),
            (right, 19_000, ["settled"]),  # put right, downwards
        ):
            await connection.execute(
                "UPDATE session SET energy_wh = %s, flags = %s WHERE id = %s",
                (wh, flags, session_id),
            )
        await connection.execute("UPDATE lot_holding SET from_on = '2026-10-03'")
    done = await scene.bill(pool, settings, NOVEMBER, IN_DECEMBER)
    assert done.energy_wh == 9_000 + 3_000 + 1_000 - 1_000
    assert await problems(pool) == []
    told = await rows(
        pool,
        "SELECT session_id, sum(energy_wh)::bigint FROM supply_session GROUP BY 1 ORDER BY 1",
    )
    assert told == sorted([(doubtful, 9_000), (unknown, 3_000), (early, 1_000), (right, 19_000)])
    await sound(pool)


async def test_telemetering_is_by_the_days_of_the_holding(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """31 days of October: 14 for the one, 17 for the other, 5.00 in all."""
    anna, bela = await world.add_driver(database, "anna"), await world.add_driver(database, "bela")
    first = await scene.give_lot(pool, client_id, "12", anna, evse_id=1)
    await scene.leave(pool, first, date(2026, 10, 15), IN_NOVEMBER)
    await scene.give_lot(
        pool, client_id, "12", bela, evse_id=1, from_on=date(2026, 10, 15), now=IN_NOVEMBER
    )
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    fees = [document.lines[0].net_cents for document in await documents(pool)]
    assert fees == [226, 274]


async def test_a_provision_is_a_liability_until_it_is_consumed(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """120.00 asked and paid; 13.81 used in October; 131.11 in November, 106.19 are left for it."""
    anna = await world.add_driver(database, "anna")
    holding_id = await scene.give_lot(
        pool, client_id, "12", anna, evse_id=1, provision_cents=12_000
    )
    await scene.ask(pool, settings, holding_id)
    (asked,) = await documents(pool)
    assert (asked.type_code, asked.gross_cents, asked.vat_cents) == (
        TypeCode.PREPAYMENT,
        12_000,
        2_000,
    )
    assert await balance(pool, ledger.provision(client_id, anna)) == 0, "nothing is paid yet"
    assert await balance(pool, ledger.VAT_COLLECTED) == 0
    assert await balance(pool, ledger.INCOME_ENERGY) == 0
    with pytest.raises(Conflict, match="was asked for"):
        await scene.ask(pool, settings, holding_id)
    at = datetime(2026, 9, 20, 9, tzinfo=UTC)
    assert await transfer(pool, settings, 12_000, asked.number, at) == {"own_receipt": 1}
    assert await balance(pool, ledger.provision(client_id, anna)) == -12_000
    assert await balance(pool, ledger.VAT_COLLECTED) == -2_000, "due when it is received"
    await scene.charge(database, client_id, 37_421, datetime(2026, 10, 3, 8, tzinfo=UTC))
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    bill = (await documents(pool))[-1]
    assert (bill.gross_cents, bill.paid_cents, bill.deducts_advance) == (1_381, 1_381, True)
    assert dict(bill.mentions)["provision"] == (
        "Provision utilisée : 13,81\u00a0€. Il reste 106,19\u00a0€ de votre provision."
    )
    assert await balance(pool, ledger.provision(client_id, anna)) == -10_619
    assert await balance(pool, ledger.receivable_owner(client_id, anna)) == 0
    await scene.charge(database, client_id, 599_200, datetime(2026, 11, 3, 8, tzinfo=UTC))
    await scene.bill(pool, settings, NOVEMBER, IN_DECEMBER)
    bill = (await documents(pool))[-1]
    assert (bill.gross_cents, bill.paid_cents) == (13_111, 10_619)
    assert await balance(pool, ledger.provision(client_id, anna)) == 0
    assert await balance(pool, ledger.VAT_ADVANCES) == 0
    assert await balance(pool, ledger.receivable_owner(client_id, anna)) == 13_111 - 10_619
    assert await transfer(pool, settings, 2_492, bill.number, IN_DECEMBER) == {"own_receipt": 1}
    assert await balance(pool, ledger.receivable_owner(client_id, anna)) == 0
    await sound(pool)


async def paid_provision(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int, cents: int
) -> tuple[int, int]:
    """A co-owner with a paid provision at lot 12; person and holding."""
    person_id = await world.add_driver(database, "anna")
    holding_id = await scene.give_lot(
        pool, client_id, "12", person_id, evse_id=1, provision_cents=cents
    )
    await scene.ask(pool, settings, holding_id)
    (asked,) = await documents(pool)
    at = datetime(2026, 9, 20, 9, tzinfo=UTC)
    await transfer(pool, settings, cents, asked.number, at)
    return person_id, holding_id


async def test_who_leaves_is_given_back_what_is_left(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    anna, holding_id = await paid_provision(database, pool, settings, client_id, 12_000)
    await scene.charge(database, client_id, 37_421, datetime(2026, 10, 3, 8, tzinfo=UTC))
    await scene.leave(pool, holding_id, date(2026, 11, 1), IN_NOVEMBER, withheld_for="Préavis")
    assert (await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)).given_back_cents == 0
    async with transaction(pool) as connection:
        await lots.release(connection, holding_id, actor=DESK, now=IN_NOVEMBER)
    done = await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    assert (done.bills, done.given_back_cents) == (0, 10_619)
    credit = (await documents(pool))[-1]
    assert (credit.type_code, credit.gross_cents) == (TypeCode.CREDIT_NOTE, 10_619)
    assert await balance(pool, ledger.provision(client_id, anna)) == 0
    assert await balance(pool, ledger.receivable_owner(client_id, anna)) == -10_619
    async with pool.connection() as connection:
        (due,) = await supplying.list_refunds(connection, settings)
    assert (due.amount_cents, due.due_on) == (10_619, date(2026, 12, 2))
    await sound(pool)
    assert (await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)).given_back_cents == 0
    await refund(pool, settings, 10_619, due.number)
    assert await balance(pool, ledger.receivable_owner(client_id, anna)) == 0
    assert await balance(pool, ledger.VAT_ADVANCES) == 0
    await sound(pool)


async def refund(pool: AsyncConnectionPool, settings: Settings, cents: int, number: str) -> None:
    """The refund leaves the operator's own account, and a person says what it was."""
    ((statements, lines),) = await rows(
        pool, "SELECT (SELECT count(*) FROM bank_statement), (SELECT count(*) FROM bank_line)"
    )
    bank = Bank(OWN_IBAN, 0, number=statements, movements=lines)
    bank.charge(cents, "Remboursement")
    await payments.read_in(pool, bank, IN_DECEMBER.date(), IN_DECEMBER, settings)
    ((line_id,),) = await rows(pool, "SELECT max(id) FROM bank_line")
    async with transaction(pool) as connection:
        await settling.explain(
            connection,
            line_id,
            invoice_number=number,
            special="refund",
            actor=DESK,
            now=IN_DECEMBER,
        )


async def test_a_provision_never_paid_is_asked_no_more_once_he_has_left(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    anna = await world.add_driver(database, "anna")
    holding_id = await scene.give_lot(pool, client_id, "12", anna, evse_id=1, provision_cents=500)
    await scene.ask(pool, settings, holding_id)
    await scene.leave(pool, holding_id, date(2026, 10, 1), IN_NOVEMBER)
    done = await scene.bill(pool, settings, date(2026, 9, 1), IN_NOVEMBER)
    assert done.given_back_cents == 0
    assert await rows(pool, "SELECT open_cents FROM supply_invoice_open ORDER BY invoice_id") == [
        (0,),
        (600,),
    ]
    await sound(pool)


async def test_a_provision_that_comes_back_opens_the_bills_that_it_paid(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """100.00 by direct debit, 13.81 used; the bank gives the debit back: both are owed."""
    anna, _ = await paid_provision(database, pool, settings, client_id, 10_000)
    await scene.charge(database, client_id, 37_421, datetime(2026, 10, 3, 8, tzinfo=UTC))
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    ((invoice_id, number),) = await rows(
        pool, "SELECT id, number FROM invoice WHERE type_code = 386"
    )
    async with transaction(pool) as connection:
        await collecting.receive_own(
            connection,
            client_id=client_id,
            invoice_id=invoice_id,
            number=number,
            source_key="returned",
            amount_cents=-10_000,
            received_on=date(2026, 11, 5),
            means="direct_debit",
            actor=DESK,
            now=datetime(2026, 11, 5, 9, tzinfo=UTC),
        )
    assert await balance(pool, ledger.provision(client_id, anna)) == 0
    assert await balance(pool, ledger.receivable_owner(client_id, anna)) == 11_381
    assert await balance(pool, ledger.VAT_ADVANCES) == 0
    await sound(pool)


async def test_more_taken_back_than_used_is_a_credit_note(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    anna, _ = await paid_provision(database, pool, settings, client_id, 10_000)
    session_id = await scene.charge(
        database, client_id, 100_000, datetime(2026, 10, 3, 8, tzinfo=UTC)
    )
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)  # 17.40 + 5.00, with VAT 26.88
    assert await balance(pool, ledger.provision(client_id, anna)) == -(10_000 - 2_688)
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            "UPDATE session SET energy_wh = 0, flags = '{settled}' WHERE id = %s", (session_id,)
        )
    done = await scene.bill(pool, settings, NOVEMBER, IN_DECEMBER)
    assert (done.bills, done.energy_wh, done.amount_incl_cents) == (1, -100_000, -1_488)
    credit = (await documents(pool))[-1]
    assert (credit.type_code, credit.gross_cents) == (TypeCode.CREDIT_NOTE, 1_488)
    assert await balance(pool, ledger.provision(client_id, anna)) == -(10_000 - 1_200)
    assert await balance(pool, ledger.receivable_owner(client_id, anna)) == 0
    await sound(pool)


async def test_a_month_that_is_not_over_is_not_billed(
    pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    with pytest.raises(Refusal, match="not over"):
        await scene.bill(pool, settings, NOVEMBER, IN_NOVEMBER)


async def test_a_dry_run_leaves_nothing(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    anna = await world.add_driver(database, "anna")
    await scene.give_lot(pool, client_id, "12", anna, evse_id=1)
    done = await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER, dry_run=True)
    assert (done.bills, await documents(pool)) == (1, [])


async def test_the_supply_s_meter_stands_beside_its_points(
    database: Database, pool: AsyncConnectionPool, client_id: int
) -> None:
    for day, wh in ((3, 50_000), (20, 45_000)):
        await scene.charge(database, client_id, wh, datetime(2026, 10, day, 8, tzinfo=UTC))
    readings: list[tuple[datetime, int, Any]] = [
        (datetime(2026, 9, 30, 22, tzinfo=UTC), 1_000_000, None),
        (datetime(2026, 10, 10, 22, tzinfo=UTC), 1_051_000, None),
        (datetime(2026, 10, 31, 23, tzinfo=UTC), 1_104_000, None),
    ]
    async with transaction(pool) as connection:
        for at, wh, _ in readings:
            await lots.add_reading(
                connection, f"site-{client_id}", at, wh, "relevé", actor=DESK, now=IN_NOVEMBER
            )
        with pytest.raises(Conflict, match="does not go back"):
            await lots.add_reading(
                connection,
                f"site-{client_id}",
                datetime(2026, 10, 20, 8, tzinfo=UTC),
                900_000,
                "relevé",
                actor=DESK,
                now=IN_NOVEMBER,
            )
        found = await lots.compare(connection, client_id, OCTOBER, date(2026, 10, 31), 5)
    assert [
        (row.meter_wh, row.points_wh, told.difference_wh, told.percent, told.is_flagged)
        for row, told in found
    ] == [
        (51_000, 50_000, 1_000, Decimal("1.96"), False),
        (53_000, 45_000, 8_000, Decimal("15.09"), True),
    ]


async def test_what_is_paid_of_a_provision_after_it_was_credited_is_to_be_given_back(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """A direct debit that was on its way when he left: his money, and no provision any more."""
    anna = await world.add_driver(database, "anna")
    holding_id = await scene.give_lot(pool, client_id, "12", anna, evse_id=1, provision_cents=500)
    await scene.ask(pool, settings, holding_id)
    await scene.leave(pool, holding_id, date(2026, 10, 1), IN_NOVEMBER)
    await scene.bill(pool, settings, date(2026, 9, 1), IN_NOVEMBER)
    ((invoice_id, number),) = await rows(
        pool, "SELECT id, number FROM invoice WHERE type_code = 386"
    )
    for key, cents in (("collected", 500), ("returned", -500)):
        async with transaction(pool) as connection:
            await collecting.receive_own(
                connection,
                client_id=client_id,
                invoice_id=invoice_id,
                number=number,
                source_key=key,
                amount_cents=cents,
                received_on=date(2026, 11, 5),
                means="direct_debit",
                actor=DESK,
                now=datetime(2026, 11, 5, 9, tzinfo=UTC),
            )
        async with pool.connection() as connection:
            due = await supplying.list_refunds(connection, settings)
        assert [each.amount_cents for each in due] == ([500] if cents > 0 else [])
        assert await balance(pool, ledger.provision(client_id, anna)) == 0
        await sound(pool)


async def test_two_runs_at_once_and_a_provision_that_comes_back_meanwhile(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """Whatever comes first: one bill, and no provision that is used and given back as well."""
    anna, _ = await paid_provision(database, pool, settings, client_id, 5_000)
    await scene.charge(database, client_id, 37_421, datetime(2026, 10, 3, 8, tzinfo=UTC))
    ((invoice_id, number),) = await rows(
        pool, "SELECT id, number FROM invoice WHERE type_code = 386"
    )

    async def come_back() -> None:
        async with transaction(pool) as connection:
            await collecting.receive_own(
                connection,
                client_id=client_id,
                invoice_id=invoice_id,
                number=number,
                source_key="returned",
                amount_cents=-5_000,
                received_on=date(2026, 11, 2),
                means="direct_debit",
                actor=DESK,
                now=IN_NOVEMBER,
            )

    runs = [scene.bill(pool, settings, OCTOBER, IN_NOVEMBER) for _ in range(2)]
    done = await asyncio.gather(*runs, come_back())
    assert sorted(each.bills for each in done[:2] if each is not None) == [0, 1]
    assert await balance(pool, ledger.provision(client_id, anna)) == 0
    assert await balance(pool, ledger.receivable_owner(client_id, anna)) == 5_000 + 1_381
    await sound(pool)


async def test_a_supply_takes_over_from_the_mandate_at_midnight_in_paris(
    database: Database, pool: AsyncConnectionPool, settings: Settings
) -> None:
    """On the night when clocks go back: 23:00 UTC is midnight of the 26th, 22:59 is the 25th."""
    client_id = await scene.add_coownership(database, "Copropriété M")
    anna = await world.add_driver(database, "anna")
    await scene.supply(pool, client_id, date(2026, 10, 26))
    await scene.give_lot(
        pool, client_id, "12", anna, evse_id=1, from_on=date(2026, 10, 26), now=IN_NOVEMBER
    )
    await scene.charge(database, client_id, 1_000, datetime(2026, 10, 25, 22, 59, tzinfo=UTC))
    ours = await scene.charge(database, client_id, 2_000, datetime(2026, 10, 25, 23, tzinfo=UTC))
    done = await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    assert done.energy_wh == 2_000
    assert await rows(pool, "SELECT session_id FROM supply_session") == [(ours,)]
    (bill,) = await documents(pool)
    assert bill.lines[-1].attributes == (("Période", "6 jours"),)
    async with transaction(pool) as connection:
        with pytest.raises(Refusal, match="are past changing"):
            await lots.end_supply(connection, 1, date(2026, 10, 26), actor=DESK, now=IN_NOVEMBER)
