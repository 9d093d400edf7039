"""Bills to co-owners where something went another way: sold, moved, put right, contested."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

from billing import (
    books,
    collecting,
    disputes,
    ledger,
    lots,
    own_sales,
    reminders,
    settling,
    supplying,
)
from billing.facturx import pdf, xml
from billing.invoice import TypeCode
from billing.store import orders as order_store
from csms import db
from csms.config import Settings
from csms.db import Database, transaction
from csms.notifications import recipients
from csms.registry import Conflict, Refusal
from tests import billing_world as world
from tests.billing_world import rows
from tests.scenarios import payments
from tests.scenarios import supply as scene
from tests.scenarios.payments import DESK
from tests.schematron import broken
from tests.test_supplying import (
    DECEMBER,
    IN_DECEMBER,
    IN_JANUARY,
    IN_NOVEMBER,
    NOVEMBER,
    OCTOBER,
    balance,
    documents,
    paid_provision,
    problems,
    refund,
    sound,
    transfer,
)

SEPTEMBER = date(2026, 9, 1)
THIRD = datetime(2026, 10, 3, 8, tzinfo=UTC)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return payments.with_accounts(settings)


@pytest.fixture
async def client_id(database: Database, pool: AsyncConnectionPool) -> int:
    client_id = await scene.add_coownership(database)
    await scene.supply(pool, client_id)
    return client_id


async def put_right(database: Database, session_id: int, energy_wh: int) -> None:
    """Somebody settled the energy of a session on the desk."""
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            "UPDATE session SET energy_wh = %s, flags = '{settled}' WHERE id = %s",
            (energy_wh, session_id),
        )


async def billed(pool: AsyncConnectionPool) -> list[tuple[str, str, int, int, int]]:
    """What documents say: buyer's number, kind, energy, energy's price, the fee."""
    return await rows(
        pool,
        """
        SELECT p.given_name, kind, energy_wh, energy_excl_cents, telemetering_excl_cents
          FROM supply_document d JOIN person p ON p.id = d.person_id ORDER BY invoice_id
        """,
    )


async def accepted(pool: AsyncConnectionPool) -> None:
    """All is sound, and every document is right by the official checks and can be printed."""
    await sound(pool)
    for document in await documents(pool):
        assert broken(xml(document)) == []
        assert pdf(document).startswith(b"%PDF")


async def test_energy_taken_back_for_as_much_as_the_fee_lets_no_fee_out(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """5.00 of energy are taken back, 5.00 of telemetering are due: a bill of nothing, once."""
    anna = await world.add_driver(database, "anna")
    await scene.give_lot(pool, client_id, "12", anna, evse_id=1)
    session_id = await scene.charge(database, client_id, 50_000, THIRD)
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    await put_right(database, session_id, 50_000 - 28_736)
    await scene.bill(pool, settings, NOVEMBER, IN_DECEMBER)
    await scene.bill(pool, settings, DECEMBER, IN_JANUARY)
    assert await billed(pool) == [
        ("anna", "bill", 50_000, 870, 500),
        ("anna", "bill", -28_736, -500, 500),
        ("anna", "bill", 0, 0, 500),
    ]
    await accepted(pool)


async def test_a_correction_goes_to_whom_the_session_was_billed(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """The point was another lot's already, it is found out later: Anna paid, Anna has it back."""
    anna, bela = await world.add_driver(database, "anna"), await world.add_driver(database, "bela")
    await scene.give_lot(pool, client_id, "12", anna, evse_id=1)
    await scene.give_lot(pool, client_id, "13", bela, evse_id=2)
    session_id = await scene.charge(database, client_id, 50_000, THIRD)
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    async with await db.connect(database, owner=True) as connection:
        await connection.execute("UPDATE lot_point SET to_on = '2026-09-15' WHERE evse_id = 1")
        await connection.execute(
            """
            INSERT INTO lot_point (lot_id, client_id, station_key, evse_id, from_on)
            SELECT q.lot_id, q.client_id, q.station_key, 1, '2026-09-15' FROM lot_point q
             WHERE evse_id = 2
            """
        )
    await put_right(database, session_id, 40_000)
    await scene.bill(pool, settings, NOVEMBER, IN_DECEMBER)
    assert await billed(pool) == [
        ("anna", "bill", 50_000, 870, 500),
        ("bela", "bill", 0, 0, 500),
        ("anna", "bill", -10_000, -174, 500),
        ("bela", "bill", 0, 0, 500),
    ]
    await sound(pool)


async def test_a_point_is_not_moved_to_another_lot_from_a_day_that_is_billed(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    anna = await world.add_driver(database, "anna")
    await scene.give_lot(pool, client_id, "12", anna, evse_id=1)
    await scene.charge(database, client_id, 50_000, THIRD)
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    for day, is_fine in ((date(2026, 10, 3), False), (date(2026, 10, 4), True)):
        async with transaction(pool) as connection:
            told = lots.put_lot(
                connection,
                f"site-{client_id}",
                "13",
                point=(f"station-{client_id}", 1),
                from_on=day,
                actor=DESK,
                now=IN_NOVEMBER,
            )
            if is_fine:
                await told
                continue
            with pytest.raises(Refusal, match="2026-10-03"):
                await told


async def test_the_points_of_a_station_that_moved_away_are_no_lot_s_of_the_new_site(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """It stands at another supplied site of the client's, as a shared one: the badge says who."""
    anna = await world.add_driver(database, "anna")
    await scene.give_lot(pool, client_id, "12", anna, evse_id=1)
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            "INSERT INTO site (id, client_id, name) VALUES ('garage', %s, 'Garage')", (client_id,)
        )
        await connection.execute(
            """
            WITH badge AS (INSERT INTO token (uid_key, uid) VALUES ('04aa', '04AA')
                           RETURNING token_key, uid_key)
            INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
            SELECT token_key, uid_key, %s, '2026-01-01' FROM badge
            """,
            (anna,),
        )
    async with transaction(pool) as connection:
        await lots.supply_site(connection, "garage", SEPTEMBER, actor=DESK, now=scene.AT)
        lot_id = await lots.put_lot(connection, "garage", "G1", actor=DESK, now=scene.AT)
        await lots.begin_holding(
            connection,
            lot_id,
            client_id=client_id,
            person_id=anna,
            signed_on=SEPTEMBER,
            from_on=SEPTEMBER,
            provision_cents=0,
            actor=DESK,
            now=scene.AT,
        )
    async with await db.connect(database, owner=True) as connection:
        await connection.execute("UPDATE station SET site_id = 'garage'")
    await scene.charge(database, client_id, 10_000, THIRD, token_uid="04AA")
    done = await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    assert await problems(pool) == []
    assert done.energy_wh == 10_000


async def test_a_new_contract_s_price_holds_from_its_first_day(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """The terms of the one before have no end of their own: it ended itself."""
    anna = await world.add_driver(database, "anna")
    await scene.give_lot(pool, client_id, "12", anna, evse_id=1)
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            "UPDATE contract SET notice_by = 'client', notice_on = '2026-06-01', "
            "ends_on = '2026-09-30'"
        )
        await connection.execute(
            """
            WITH made AS (
                INSERT INTO contract (client_id, client_class, devis_reference, signed_on,
                                      starts_on, term_months)
                VALUES (%(id)s, 'non_professionnel', 'D-new', '2026-09-15', '2026-10-01', 36)
                RETURNING id)
            INSERT INTO contract_terms (client_id, contract_id, from_on, commission_rate,
                                        monthly_management_fee_cents, yearly_subscription_cents,
                                        monthly_telemetering_cents, energy_price_eur_per_kwh,
                                        invoicing)
            SELECT %(id)s, id, '2026-10-01', 0.05, 0, 0, 700, 0.2, 'per_driver_month' FROM made
            """,
            {"id": client_id},
        )
    await scene.charge(database, client_id, 10_000, datetime(2026, 9, 30, 20, tzinfo=UTC))
    await scene.charge(database, client_id, 10_000, datetime(2026, 9, 30, 23, tzinfo=UTC))
    await scene.bill(pool, settings, SEPTEMBER, IN_NOVEMBER)
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    assert await billed(pool) == [
        ("anna", "bill", 10_000, 174, 500),
        ("anna", "bill", 10_000, 200, 700),
    ]


async def set_percent(database: Database, percent: Decimal, from_on: date) -> None:
    """Another rate of VAT from a day on."""
    async with await db.connect(database, owner=True) as connection:
        await connection.execute("UPDATE vat_rate SET to_on = %s WHERE to_on IS NULL", (from_on,))
        await connection.execute(
            "INSERT INTO vat_rate (percent, from_on, source) VALUES (%s, %s, 'test')",
            (percent, from_on),
        )


async def test_a_provision_is_credited_at_the_rate_at_which_it_was_asked_for(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """120.00 with 20.00 of VAT were paid in 2026; in 2027 a rate of 10 % changes none of it."""
    _, holding_id = await paid_provision(database, pool, settings, client_id, 12_000)
    await set_percent(database, Decimal(10), date(2027, 1, 1))
    await scene.leave(pool, holding_id, SEPTEMBER.replace(day=2), IN_JANUARY)
    await scene.bill(pool, settings, SEPTEMBER, IN_JANUARY)
    _, fee, credit = await documents(pool)
    assert credit.type_code is TypeCode.CREDIT_NOTE
    assert (credit.gross_cents, credit.vat[0].percent) == (12_000 - fee.gross_cents, Decimal(20))
    await sound(pool)


async def test_energy_is_credited_at_the_rate_at_which_it_was_billed(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    anna = await world.add_driver(database, "anna")
    await scene.give_lot(pool, client_id, "12", anna, evse_id=1)
    session_id = await scene.charge(database, client_id, 100_000, THIRD)
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    await set_percent(database, Decimal(10), date(2026, 12, 1))
    await put_right(database, session_id, 0)
    await scene.bill(pool, settings, NOVEMBER, IN_DECEMBER)
    first, credit = await documents(pool)
    energy = next(line for line in credit.lines if line.label.startswith("Électricité"))
    assert (energy.net_cents, energy.vat_cents) == (
        first.lines[0].net_cents,
        first.lines[0].vat_cents,
    )
    await accepted(pool)


async def test_a_bill_has_what_is_put_right_at_its_rate_and_the_rest_at_today_s(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """10 kWh fewer of October, at 20 %; 50 kWh of December, at 10 %: 1.74 of the one, 8.70."""
    anna = await world.add_driver(database, "anna")
    await scene.give_lot(pool, client_id, "12", anna, evse_id=1)
    session_id = await scene.charge(database, client_id, 30_000, THIRD)
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    await set_percent(database, Decimal(10), date(2027, 1, 1))
    await put_right(database, session_id, 20_000)
    await scene.charge(database, client_id, 50_000, datetime(2026, 12, 9, tzinfo=UTC))
    await scene.bill(pool, settings, DECEMBER, IN_JANUARY)
    bill = (await documents(pool))[-1]
    assert [(line.net_cents, line.vat_cents) for line in bill.lines] == [
        (870, 87),
        (-174, -35),
        (500, 50),
    ]
    await accepted(pool)


async def test_what_is_left_waits_for_energy_that_is_not_billed_yet(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """A session came after October's bill, and before his provision is released."""
    _, holding_id = await paid_provision(database, pool, settings, client_id, 12_000)
    await scene.charge(database, client_id, 37_421, THIRD)
    await scene.leave(pool, holding_id, NOVEMBER, IN_NOVEMBER, withheld_for="Préavis")
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    await scene.charge(database, client_id, 100_000, THIRD)
    async with transaction(pool) as connection:
        await lots.release(connection, holding_id, actor=DESK, now=IN_NOVEMBER)
    assert (await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)).given_back_cents == 0
    done = await scene.bill(pool, settings, NOVEMBER, IN_DECEMBER)
    assert done.provision_cents == 2_088, "17.40 with VAT"
    assert done.given_back_cents == 12_000 - 1_381 - 2_088
    await sound(pool)


async def test_a_contested_bill_is_not_paid_from_the_provision_at_the_end(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """Only what is certain is set off: what it could cost is kept, the rest is given back, and
    once it is decided the bill is paid."""
    anna = await world.add_driver(database, "anna")
    holding_id = await scene.give_lot(
        pool, client_id, "12", anna, evse_id=1, provision_cents=12_000
    )
    await scene.charge(database, client_id, 37_421, THIRD)
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)  # 13.81, and no provision yet
    await scene.ask(pool, settings, holding_id, IN_NOVEMBER)
    ((bill_id,),) = await rows(pool, "SELECT id FROM invoice WHERE type_code = 380")
    asked = (await documents(pool))[-1]
    await transfer(pool, settings, 12_000, asked.number, IN_NOVEMBER)
    async with transaction(pool) as connection:
        dispute_id = await disputes.contest_invoice(
            connection, bill_id, "Je n’ai pas chargé", DESK, IN_NOVEMBER
        )
    await scene.leave(pool, holding_id, NOVEMBER, IN_NOVEMBER)
    done = await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    assert done.given_back_cents == 12_000 - 1_381
    assert await rows(pool, "SELECT open_cents FROM supply_invoice_open WHERE open_cents > 0") == [
        (1_381,)
    ]
    assert await balance(pool, ledger.provision(client_id, anna)) == -1_381
    async with transaction(pool) as connection:
        await disputes.decide(
            connection,
            dispute_id,
            "rejected",
            "Le relevé est juste",
            actor=DESK,
            now=IN_NOVEMBER,
            settings=settings,
        )
    done = await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    assert done.given_back_cents == 0
    assert await balance(pool, ledger.provision(client_id, anna)) == 0
    await sound(pool)


async def test_telemetering_billed_for_days_after_he_left_is_given_back(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """October was billed whole to Anna; on 5 November it turns out that she sold on the 15th."""
    anna, bela = await world.add_driver(database, "anna"), await world.add_driver(database, "bela")
    first = await scene.give_lot(pool, client_id, "12", anna, evse_id=1)
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    at = datetime(2026, 11, 5, 9, tzinfo=UTC)
    await scene.leave(pool, first, date(2026, 10, 15), at)
    await scene.give_lot(pool, client_id, "12", bela, evse_id=1, from_on=date(2026, 10, 15), now=at)
    await scene.bill(pool, settings, OCTOBER, at)
    await scene.bill(pool, settings, NOVEMBER, IN_DECEMBER)
    await scene.bill(pool, settings, DECEMBER, IN_JANUARY)
    told = await rows(
        pool,
        """
        SELECT p.given_name, sum(telemetering_excl_cents)::bigint
          FROM supply_document d JOIN person p ON p.id = d.person_id GROUP BY 1 ORDER BY 1
        """,
    )
    assert told == [("anna", 226), ("bela", 274 + 500 + 500)]
    await accepted(pool)


async def test_a_credit_note_names_the_bill_that_had_the_energy(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """October's energy is taken back in December: October's provision comes back, not November's
    fee."""
    anna, _ = await paid_provision(database, pool, settings, client_id, 10_000)
    session_id = await scene.charge(database, client_id, 100_000, THIRD)
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)  # 26.88
    await scene.bill(pool, settings, NOVEMBER, IN_DECEMBER)  # 6.00
    await put_right(database, session_id, 0)
    await scene.bill(pool, settings, DECEMBER, IN_JANUARY)  # 14.88 back
    _, october, _, credit = await documents(pool)
    assert credit.type_code is TypeCode.CREDIT_NOTE
    assert credit.original_number == october.number
    assert await balance(pool, ledger.provision(client_id, anna)) == -(10_000 - 1_200 - 600)
    assert await balance(pool, ledger.receivable_owner(client_id, anna)) == 0
    async with pool.connection() as connection:
        assert await supplying.list_refunds(connection, settings) == []
    await sound(pool)


async def test_a_bill_that_its_provision_paid_is_due_anew_when_that_comes_back(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """October's bill was due on 2 December, and paid: in January nobody is told for the last
    time of what he owes since yesterday."""
    await paid_provision(database, pool, settings, client_id, 10_000)
    await scene.charge(database, client_id, 37_421, THIRD)
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    ((advance_id, number),) = await rows(
        pool, "SELECT id, number FROM invoice WHERE type_code = 386"
    )
    async with transaction(pool) as connection:
        await collecting.receive_own(
            connection,
            client_id=client_id,
            invoice_id=advance_id,
            number=number,
            source_key="returned",
            amount_cents=-10_000,
            received_on=date(2027, 1, 4),
            means="direct_debit",
            actor=DESK,
            now=IN_JANUARY,
        )
    done = await reminders.remind(pool, datetime(2027, 1, 6, 9, tzinfo=UTC), settings=settings)
    assert done.reminders == {}
    done = await reminders.remind(pool, datetime(2027, 1, 11, 9, tzinfo=UTC), settings=settings)
    assert done.reminders == {1: 2}, "the bill and the provision, for the first time"


async def waiting(pool: AsyncConnectionPool, number: int) -> None:
    """Until so many wait for a lock."""
    waits = """
        SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
         WHERE NOT l.granted AND a.datname = current_database()
        """
    async with asyncio.timeout(20):
        # The database has no event for it.
        while await rows(pool, waits) != [(number,)]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_provision_that_comes_in_while_it_is_credited_is_to_be_given_back(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """The bank's line is read while the run gives up what was never paid."""
    anna = await world.add_driver(database, "anna")
    holding_id = await scene.give_lot(pool, client_id, "12", anna, evse_id=1, provision_cents=500)
    invoice_id = await scene.ask(pool, settings, holding_id)
    await scene.leave(pool, holding_id, OCTOBER, IN_NOVEMBER)

    async def come_in() -> None:
        async with transaction(pool) as connection:
            await collecting.receive_own(
                connection,
                client_id=client_id,
                invoice_id=invoice_id,
                number="T2P-F-2026-000001",
                source_key="collected",
                amount_cents=500,
                received_on=IN_NOVEMBER.date(),
                means="direct_debit",
                actor=DESK,
                now=IN_NOVEMBER,
            )

    async with transaction(pool) as connection:
        await books.hold(connection, [client_id])
        run = asyncio.create_task(scene.bill(pool, settings, SEPTEMBER, IN_NOVEMBER))
        await waiting(pool, 1)
        money = asyncio.create_task(come_in())
        await waiting(pool, 2)
    await asyncio.gather(run, money)
    assert await balance(pool, ledger.provision(client_id, anna)) == 0
    async with pool.connection() as connection:
        (due,) = await supplying.list_refunds(connection, settings)
    assert due.amount_cents == 500
    await sound(pool)


async def test_an_unpaid_bill_of_the_operator_s_blocks_no_co_owner_and_announces_no_block(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """A provision that nobody pays, and the letters that mail servers took: he charges on."""
    anna = await world.add_driver(database, "anna")
    holding_id = await scene.give_lot(
        pool, client_id, "12", anna, evse_id=1, provision_cents=12_000
    )
    await scene.ask(pool, settings, holding_id, scene.AT)
    told: list[int] = []
    for days in range(150):
        at = scene.AT.replace(hour=9) + timedelta(days)
        done = await reminders.remind(pool, at, settings=settings)
        told += done.reminders
        assert (done.notices, done.blocked) == (0, 0), at
    assert told == [1, 2, 3]
    assert await rows(pool, "SELECT DISTINCT event, person_id FROM notification") == [
        ("owner_invoice.reminded", anna)
    ]


async def test_a_co_owner_who_was_blocked_for_such_a_bill_is_so_no_more(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """Whatever code wrote it: the database takes no such cause, and one that is there is none."""
    anna = await world.add_driver(database, "anna")
    holding_id = await scene.give_lot(pool, client_id, "12", anna, evse_id=1, provision_cents=500)
    await scene.ask(pool, settings, holding_id, scene.AT)
    cause = """
        WITH notice AS (
            INSERT INTO reminder (client_id, invoice_id, person_id, due_since_on, level,
                                  amount_cents, sent_on, sent_at, takes_effect_on)
            SELECT client_id, id, person_id, due_on, 0, 500, '2026-11-01', '2026-11-01',
                   '2026-11-10' FROM invoice RETURNING id, client_id, invoice_id, person_id),
        block AS (
            INSERT INTO payment_block (client_id, person_id, min_cents, from_at, by)
            SELECT client_id, person_id, 1, '2026-11-10', 'test' FROM notice
            RETURNING id, client_id)
        INSERT INTO payment_block_cause (block_id, client_id, notice_id, invoice_id, amount_cents,
                                         told_at, added_at)
        SELECT b.id, b.client_id, n.id, n.invoice_id, 500, '2026-11-01', '2026-11-10'
          FROM notice n, block b
        """
    async with await db.connect(database, owner=True) as connection:
        with pytest.raises(psycopg.errors.CheckViolation, match="blocks nobody"):
            async with connection.transaction():
                await connection.execute(cause.encode())
        async with connection.transaction():  # as it was before the database refused
            await connection.execute("ALTER TABLE payment_block_cause DISABLE TRIGGER USER")
            await connection.execute(cause.encode())
            await connection.execute("ALTER TABLE payment_block_cause ENABLE TRIGGER USER")
    assert await rows(pool, "SELECT person_id FROM standing_block") == []
    assert (await reminders.remind(pool, IN_DECEMBER, settings=settings)).lifted == 1


async def test_what_is_decided_of_a_contested_bill_is_told_to_its_co_owner_alone(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """A manager of the co-ownership is neither told of it, nor shown it by the database."""
    anna = await world.add_driver(database, "anna")
    await scene.give_lot(pool, client_id, "12", anna, evse_id=1)
    await scene.charge(database, client_id, 37_421, THIRD)
    await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    ((bill_id,),) = await rows(pool, "SELECT id FROM invoice")
    manager = await add_manager(database, client_id)
    async with transaction(pool) as connection:
        dispute_id = await disputes.contest_invoice(
            connection, bill_id, "Je n’ai pas chargé", DESK, IN_NOVEMBER
        )
    assert await seen_by(database, manager, "SELECT id FROM client") == [client_id]
    assert await seen_by(database, manager, "SELECT id FROM dispute") == []
    async with transaction(pool) as connection:
        await disputes.decide(
            connection,
            dispute_id,
            "rejected",
            "Le relevé est juste",
            actor=DESK,
            now=IN_NOVEMBER,
            settings=settings,
        )
    async with pool.connection() as connection:
        await recipients.resolve(connection, settings, IN_NOVEMBER)
    told = await rows(
        pool,
        """
        SELECT n.event, d.person_id
          FROM notification n JOIN notification_delivery d ON d.notification_id = n.id
         WHERE n.event LIKE '%%dispute.decided'
        """,
    )
    assert told == [("owner_dispute.decided", anna)]
    assert await seen_by(database, manager, "SELECT id FROM dispute") == []


async def add_manager(database: Database, client_id: int) -> int:
    """A manager of the client; the person's id."""
    async with await db.connect(database, owner=True) as connection:
        cursor = await connection.execute(
            """
            WITH made AS (INSERT INTO person (email, given_name)
                          VALUES ('syndic@example.org', 'Syndic') RETURNING id)
            INSERT INTO client_manager (person_id, client_id, granted_by, from_at)
            SELECT id, %s, 'test', '2026-01-01' FROM made RETURNING person_id
            """,
            (client_id,),
        )
        ((person_id,),) = await cursor.fetchall()
    return int(person_id)


async def seen_by(database: Database, person_id: int, statement: str) -> list[int]:
    """What the database itself shows to a person: no code between."""
    conninfo = make_conninfo(database.app_url, options="-c role=t2p_app")
    async with await psycopg.AsyncConnection.connect(conninfo) as connection:
        await connection.execute("SELECT set_config('t2p.person_id', %s, true)", (str(person_id),))
        cursor = await connection.execute(statement.encode())
        return [row[0] for row in await cursor.fetchall()]


async def explained(
    pool: AsyncConnectionPool, cents: int, number: str, special: settling.Special | None = None
) -> str:
    """The last line of that amount, explained by a person."""
    ((line_id,),) = await rows(pool, f"SELECT max(id) FROM bank_line WHERE amount_cents = {cents}")
    async with transaction(pool) as connection:
        return await settling.explain(
            connection,
            line_id,
            invoice_number=number,
            special=special,
            actor=DESK,
            now=IN_DECEMBER,
        )


@pytest.mark.parametrize("what", ["bill", "provision"])
async def test_what_a_co_owner_pays_twice_is_owed_back_until_the_bank_says_it_left(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int, what: str
) -> None:
    """The second transfer is his money: it is listed with its day, and given back once."""
    anna = await world.add_driver(database, "anna")
    holding_id = await scene.give_lot(pool, client_id, "12", anna, evse_id=1, provision_cents=1_381)
    if what == "provision":
        await scene.ask(pool, settings, holding_id)
    else:
        await scene.charge(database, client_id, 37_421, THIRD)
        await scene.bill(pool, settings, OCTOBER, IN_NOVEMBER)
    (asked,) = await documents(pool)
    await transfer(pool, settings, 1_381, asked.number, IN_NOVEMBER)
    kept = await balance(pool, ledger.provision(client_id, anna))
    assert await transfer(pool, settings, 1_381, asked.number, IN_DECEMBER) == {"suspense": 1}
    assert (await explained(pool, 1_381, asked.number)).startswith("own receipt")
    async with pool.connection() as connection:
        (due,) = await supplying.list_refunds(connection, settings)
    assert (due.number, due.amount_cents) == (asked.number, 1_381)
    assert due.due_on == date(2027, 1, 1), "thirty days after it came in, not after the issue"
    assert await balance(pool, ledger.receivable_owner(client_id, anna)) == -1_381
    assert await balance(pool, ledger.provision(client_id, anna)) == kept, "it is no provision"
    await sound(pool)
    with pytest.raises(Refusal, match="1381 cents are to be given back"):
        await refund(pool, settings, 1_382, asked.number)
    await refund(pool, settings, 1_381, asked.number)
    async with pool.connection() as connection:
        assert await supplying.list_refunds(connection, settings) == []
    assert await balance(pool, ledger.receivable_owner(client_id, anna)) == 0
    assert await balance(pool, ledger.provision(client_id, anna)) == kept
    await sound(pool)


async def test_what_a_client_pays_twice_is_owed_back_as_well(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """120.00 for an intervention, then 150.00 once more."""
    async with transaction(pool) as connection:
        await own_sales.add_own_sale(
            connection,
            client_id=client_id,
            kind="intervention",
            label="Intervention",
            amount_excl_cents=10_000,
            on_day=OCTOBER,
            month=OCTOBER,
            source_key="intervention",
            actor=DESK,
            now=IN_NOVEMBER,
        )
        await own_sales.issue_own(connection, client_id, OCTOBER, IN_NOVEMBER, settings=settings)
    (bill,) = await documents(pool)
    await transfer(pool, settings, 12_000, bill.number, IN_NOVEMBER)
    assert await transfer(pool, settings, 15_000, bill.number, IN_DECEMBER) == {"suspense": 1}
    await explained(pool, 15_000, bill.number)
    async with pool.connection() as connection:
        (due,) = await order_store.list_refunds(connection, limit=10)
        assert await order_store.count_refunds(connection) == 1
    assert (due.number, due.amount_cents, due.quote_id) == (bill.number, 15_000, None)
    assert due.due_on == date(2026, 12, 16)
    assert await balance(pool, ledger.receivable_client(client_id)) == -15_000
    await sound(pool)
    await refund(pool, settings, 15_000, bill.number)
    async with pool.connection() as connection:
        assert await order_store.list_refunds(connection, limit=10) == []
        assert await order_store.count_refunds(connection) == 0
    assert await balance(pool, ledger.receivable_client(client_id)) == 0
    await sound(pool)


async def test_what_a_statement_gives_back_is_not_listed_a_second_time(
    database: Database, pool: AsyncConnectionPool, settings: Settings, client_id: int
) -> None:
    """A commission that was too much is credited on the last invoice, and deducted less."""
    for kind, cents in (("intervention", 10_000), ("commission", -2_000)):
        async with transaction(pool) as connection:
            await own_sales.add_own_sale(
                connection,
                client_id=client_id,
                kind=kind,
                label=kind,
                amount_excl_cents=cents,
                on_day=OCTOBER,
                month=OCTOBER,
                source_key=kind,
                actor=DESK,
                now=IN_NOVEMBER,
            )
            await own_sales.issue_own(
                connection, client_id, OCTOBER, IN_NOVEMBER, settings=settings
            )
        if cents > 0:
            (bill,) = await documents(pool)
            await transfer(pool, settings, 12_000, bill.number, IN_NOVEMBER)
    ((left,),) = await rows(pool, "SELECT open_cents FROM own_invoice_open")
    assert left == -2_400
    async with pool.connection() as connection:
        assert await order_store.list_refunds(connection, limit=10) == []


async def test_a_meter_that_was_replaced_goes_on_from_its_own_first_index(
    database: Database, pool: AsyncConnectionPool, client_id: int
) -> None:
    """The old one ends at 1,500 Wh at noon of the 15th, the new one begins at 20: 500, then 100."""

    async def read(day: int, index_wh: int, hour: int = 8, is_new_meter: bool = False) -> int:
        async with transaction(pool) as connection:
            made = await lots.add_reading(
                connection,
                f"site-{client_id}",
                datetime(2026, 10, day, hour, tzinfo=UTC),
                index_wh,
                "visite",
                is_new_meter=is_new_meter,
                actor=DESK,
                now=IN_NOVEMBER,
            )
        assert made is not None
        return made

    async def withdraw(reading_id: int) -> None:
        async with transaction(pool) as connection:
            await lots.withdraw_reading(connection, reading_id, actor=DESK, now=IN_NOVEMBER)

    async def compared() -> list[tuple[int, int, int, int]]:
        async with pool.connection() as connection:
            found = await lots.compare(connection, client_id, OCTOBER, date(2026, 10, 31), 5)
        return [(p.from_at.day, p.to_at.day, p.meter_wh, p.points_wh) for p, _ in found]

    await scene.charge(database, client_id, 490, datetime(2026, 10, 9, tzinfo=UTC))
    await scene.charge(database, client_id, 60, datetime(2026, 10, 15, 12, 30, tzinfo=UTC))
    await scene.charge(database, client_id, 40, datetime(2026, 10, 20, tzinfo=UTC))
    await read(1, 1_000)
    await read(15, 1_500, hour=12)
    with pytest.raises(Conflict, match=r"120 Wh would follow 1500.*is_new_meter"):
        await read(31, 120)
    first = await read(15, 20, hour=13, is_new_meter=True)
    assert await compared() == [(1, 15, 500, 490)], "the new one's first reading ends no period"
    await read(31, 120)
    assert await compared() == [(1, 15, 500, 490), (15, 31, 100, 60 + 40)]
    with pytest.raises(Conflict, match="19 Wh would follow 20"):
        await read(16, 19)
    with pytest.raises(Conflict, match="120 Wh would follow 1500"):
        await withdraw(first)
    await read(15, 30, hour=14, is_new_meter=True)  # what it really began with
    await withdraw(first)
    await read(20, 100)
    assert await compared() == [(1, 15, 500, 490), (15, 20, 70, 100), (20, 31, 20, 0)]


async def test_a_meter_whose_last_index_nobody_read_is_compared_by_what_is_known(
    pool: AsyncConnectionPool, client_id: int
) -> None:
    """A first reading may also be the first of all, or follow another one."""
    told = [(1, 10, True), (2, 60, False), (3, 5, True), (4, 7, True), (5, 27, False)]
    for day, index_wh, is_new_meter in told:
        async with transaction(pool) as connection:
            await lots.add_reading(
                connection,
                f"site-{client_id}",
                datetime(2026, 10, day, tzinfo=UTC),
                index_wh,
                "visite",
                is_new_meter=is_new_meter,
                actor=DESK,
                now=IN_NOVEMBER,
            )
    async with pool.connection() as connection:
        found = await lots.compare(connection, client_id, OCTOBER, date(2026, 10, 31), 5)
    assert [(p.from_at.day, p.to_at.day, p.meter_wh) for p, _ in found] == [(1, 2, 50), (2, 5, 20)]
