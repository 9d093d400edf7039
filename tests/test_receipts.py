"""Money received: what it pays, that it enters once, and what is taken back."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import books, ledger, receipts
from billing.receipts import Received, apply_wallets
from csms.clients import Actor
from csms.db import Database, connect, transaction
from csms.registry import Conflict, NotThere, Refusal
from tests.scenarios import billed
from tests.scenarios.billed import NOW

ACTOR = Actor("test")
TODAY = NOW.date()
JUST_HERE = date(2026, 11, 2)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[AsyncConnection]:
    """In the world of tests.scenarios.billed, committed."""
    async with await connect(database, owner=True) as owner:
        await billed.build(owner)
    async with await connect(database) as opened:
        await opened.set_autocommit(False)
        yield opened
        await opened.rollback()


async def receive(connection: AsyncConnection, key: str, cents: int, **named: Any) -> Received:
    values: dict[str, Any] = {"received_on": JUST_HERE, "means": "transfer", "actor": ACTOR}
    return await receipts.receive(
        connection, source_key=key, amount_cents=cents, **values | {"now": NOW} | named
    )


async def open_cents(connection: AsyncConnection, number: str) -> int:
    cursor = await connection.execute(
        "SELECT open_cents FROM invoice_open WHERE number = %s", (number,)
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def shares(connection: AsyncConnection) -> list[tuple[int, int]]:
    cursor = await connection.execute(
        "SELECT session_id, amount_cents FROM receipt_share ORDER BY id"
    )
    return await cursor.fetchall()


async def faults(connection: AsyncConnection) -> list[str]:
    return ledger.faults(Counter(await books.balances(connection)))


async def test_money_for_an_invoice_fills_its_sessions_in_their_order(
    connection: AsyncConnection,
) -> None:
    number = await billed.issue(connection, 2, 1, [300, 500, 400])
    entered = await receive(connection, "bank:1", 600, invoice_number=number)
    assert (entered.is_new, entered.receipt.person_id, entered.receipt.allocated_cents) == (
        True,
        1,
        600,
    )
    assert await shares(connection) == [(1, 300), (2, 300)]
    assert await open_cents(connection, number) == 600
    assert await books.balance(connection, ledger.owed("available", 2)) == -600
    await receive(connection, "bank:2", 600, invoice_number=number)
    assert await open_cents(connection, number) == 0
    assert await books.balance(connection, ledger.receivable_drivers(2)) == 0
    assert not await faults(connection)


async def test_money_without_an_invoice_pays_the_oldest_of_whichever_client(
    connection: AsyncConnection,
) -> None:
    younger = await billed.issue(connection, 2, 1, [500], issued_on=date(2026, 11, 1))
    older = await billed.issue(connection, 3, 1, [400], issued_on=date(2026, 10, 1))
    other = await billed.issue(connection, 3, 2, [999])
    await receive(connection, "bank:1", 700, person_id=1)
    found = [await open_cents(connection, number) for number in (older, younger, other)]
    assert found == [0, 200, 999]


async def test_what_is_too_much_stays_with_the_driver_and_pays_what_comes(
    connection: AsyncConnection,
) -> None:
    number = await billed.issue(connection, 2, 1, [300])
    await receive(connection, "bank:1", 1000, invoice_number=number)
    assert await open_cents(connection, number) == 0
    assert await books.balance(connection, ledger.wallet(1)) == -700
    later = await billed.issue(connection, 3, 1, [450, 450])
    assert await apply_wallets(connection, [1, 2], NOW) == 700
    assert await open_cents(connection, later) == 200
    assert await books.balance(connection, ledger.wallet(1)) == 0
    assert await apply_wallets(connection, [1, 2], NOW) == 0
    assert not await faults(connection)


async def test_the_same_receipt_again_enters_nothing(connection: AsyncConnection) -> None:
    number = await billed.issue(connection, 2, 1, [300])
    first = await receive(connection, "bank:1", 200, invoice_number=number)
    for named in ({"invoice_number": number}, {"invoice_number": number, "person_id": 1}):
        again = await receive(connection, "bank:1", 200, **named)
        assert again == Received(first.receipt, False)
    assert await open_cents(connection, number) == 100


@pytest.mark.parametrize(
    ("cents", "named"),
    [
        (201, {}),
        (200, {"received_on": date(2026, 11, 1)}),
        (200, {"means": "card"}),
        (200, {"invoice_number": None, "person_id": 1}),
        (200, {"simulated": True}),
        (200, {"into": ledger.PSP_CLEARING}),
    ],
)
async def test_the_same_key_with_another_body_is_refused(
    connection: AsyncConnection, cents: int, named: dict[str, Any]
) -> None:
    number = await billed.issue(connection, 2, 1, [300])
    await receive(connection, "bank:1", 200, invoice_number=number)
    with pytest.raises(Conflict, match="bank:1"):
        await receive(connection, "bank:1", cents, **{"invoice_number": number} | named)


async def test_credits_lessen_what_is_open_and_give_back_what_was_paid(
    connection: AsyncConnection,
) -> None:
    number = await billed.issue(connection, 2, 1, [300, 500])
    first, second = await billed.sessions_of(connection, number)
    await receive(connection, "bank:1", 700, invoice_number=number)
    await billed.credit(connection, number, [(first, 300)])
    assert await open_cents(connection, number) == -200
    await apply_wallets(connection, [1], NOW)
    assert await open_cents(connection, number) == 0
    assert await books.balance(connection, ledger.wallet(1)) == -200
    assert (await shares(connection))[-2:] == [(first, -300), (second, 100)]
    assert not await faults(connection)


async def test_money_that_names_a_corrective_pays_what_it_corrects(
    connection: AsyncConnection,
) -> None:
    number = await billed.issue(connection, 2, 1, [300, 500])
    first, second = await billed.sessions_of(connection, number)
    corrective = await billed.correct(connection, number, [(first, 100), (second, 500)], -200)
    await receive(connection, "bank:1", 700, invoice_number=corrective)
    assert await shares(connection) == [(first, 100), (second, 500)]
    assert await books.balance(connection, ledger.wallet(1)) == -100
    credit = await billed.credit(connection, number, [(second, 500)])
    await apply_wallets(connection, [1], NOW)
    assert await open_cents(connection, number) == 0
    assert await books.balance(connection, ledger.wallet(1)) == -600
    await receive(connection, "bank:2", 1, invoice_number=credit)  # nothing is open: hers
    assert await books.balance(connection, ledger.wallet(1)) == -601
    assert not await faults(connection)


async def test_a_reversal_takes_back_exactly_what_the_receipt_paid(
    connection: AsyncConnection,
) -> None:
    number = await billed.issue(connection, 2, 1, [300, 500])
    await receive(connection, "bank:1", 400, invoice_number=number)
    await receive(connection, "bank:2", 900, person_id=1)
    before = await books.balances(connection)
    back = await receive(connection, "bank:3", -400, reverses_key="bank:1", received_on=TODAY)
    assert back.receipt.reverses_key == "bank:1"
    assert await open_cents(connection, number) == 0  # the other 500 in advance paid it again
    assert await books.balance(connection, ledger.wallet(1)) == -100
    assert await books.balance(connection, ledger.BANK_MANDATE) == before["bank:mandate"] - 400
    await receive(connection, "bank:4", -900, reverses_key="bank:2")
    assert await open_cents(connection, number) == 800
    assert await books.balance(connection, ledger.wallet(1)) == 0
    assert not await faults(connection)


async def test_what_a_client_was_paid_out_already_the_operator_makes_good(
    connection: AsyncConnection,
) -> None:
    number = await billed.issue(connection, 2, 1, [300])
    other = await billed.issue(connection, 3, 2, [300])
    await receive(connection, "bank:1", 300, invoice_number=number)
    await receive(connection, "bank:2", 300, invoice_number=other)
    sale = ledger.own_invoice(99, "T2P-1", 2, 100, 0, 20, TODAY)
    await books.post(connection, [sale, ledger.offset(2, billed.MONTH, 120, TODAY)], NOW)
    await receive(connection, "bank:3", -300, reverses_key="bank:1")
    assert await books.balance(connection, ledger.owed("available", 2)) == 0
    assert await books.balance(connection, ledger.receivable_client(2)) == 120
    assert await books.balance(connection, ledger.BANK_OWN) == -120
    assert await books.balance(connection, ledger.BANK_MANDATE) == 300 + 120
    assert not await faults(connection)


async def test_what_cannot_be_undone_is_refused_with_a_reason(connection: AsyncConnection) -> None:
    await receive(connection, "bank:1", 400, person_id=1)
    with pytest.raises(NotThere, match="bank:9"):
        await receive(connection, "bank:2", -400, reverses_key="bank:9")
    with pytest.raises(Refusal, match="undone whole: the amount is -400"):
        await receive(connection, "bank:2", -399, reverses_key="bank:1")
    with pytest.raises(Refusal, match="names the receipt"):
        await receive(connection, "bank:2", -400, person_id=1)
    with pytest.raises(Refusal, match="another driver's"):
        await receive(connection, "bank:2", -400, person_id=2, reverses_key="bank:1")
    await receive(connection, "bank:2", -400, reverses_key="bank:1")
    assert not (await receive(connection, "bank:2", -400, reverses_key="bank:1")).is_new
    with pytest.raises(Conflict, match="undone already"):
        await receive(connection, "bank:3", -400, reverses_key="bank:1")
    with pytest.raises(Refusal, match="undoes another"):
        await receive(connection, "bank:3", 400, reverses_key="bank:2")


@pytest.mark.parametrize(
    ("cents", "named", "field"),
    [
        (0, {"person_id": 1}, "amount_cents"),
        (10**12, {"person_id": 1}, "amount_cents"),
        (5, {}, "person_id"),
        (5, {"person_id": 99}, "person_id"),
        (5, {"invoice_number": "F-9"}, "invoice_number"),
        (5, {"person_id": 1, "means": "gold"}, "means"),
        (5, {"person_id": 1, "received_on": TODAY + timedelta(days=1)}, "received_on"),
        (5, {"person_id": 1, "received_on": date(1999, 1, 1)}, "received_on"),
        (5, {"person_id": 1, "source_key": " "}, "source_key"),
    ],
)
async def test_what_cannot_be_entered_says_which_field(
    connection: AsyncConnection, cents: int, named: dict[str, Any], field: str
) -> None:
    with pytest.raises(Refusal) as refused:
        await receive(connection, named.pop("source_key", "bank:1"), cents, **named)
    assert refused.value.field == field


async def test_another_drivers_invoice_is_refused(connection: AsyncConnection) -> None:
    number = await billed.issue(connection, 2, 1, [300])
    with pytest.raises(Refusal, match="another driver's"):
        await receive(connection, "bank:1", 300, invoice_number=number, person_id=2)


async def test_in_a_closed_month_it_is_booked_today(connection: AsyncConnection) -> None:
    number = await billed.issue(connection, 2, 1, [300], issued_on=date(2026, 10, 5))
    await books.close_month(connection, 2, date(2026, 10, 1), NOW)
    entered = await receive(
        connection, "bank:1", 300, invoice_number=number, received_on=date(2026, 10, 20)
    )
    assert entered.receipt.booked_on == date(2026, 10, 20)  # the operator's month is open
    cursor = await connection.execute("SELECT booked_on FROM receipt_share")
    assert await cursor.fetchall() == [(TODAY,)]
    await books.close_month(connection, books.OPERATOR, date(2026, 10, 1), NOW)
    late = await receive(connection, "bank:2", 1, person_id=1, received_on=date(2026, 10, 20))
    assert (late.receipt.received_on, late.receipt.booked_on) == (date(2026, 10, 20), TODAY)
    await connection.commit()


async def test_two_at_once_enter_it_once(
    pool: AsyncConnectionPool, connection: AsyncConnection
) -> None:
    number = await billed.issue(connection, 2, 1, [1000])
    await connection.commit()

    async def enter(n: int) -> bool:
        async with transaction(pool) as own:
            return (await receive(own, f"bank:{n % 5}", 100, invoice_number=number)).is_new

    assert sum(await asyncio.gather(*(enter(n) for n in range(20)))) == 5
    assert await open_cents(connection, number) == 500


async def test_receipts_and_invoices_at_once_leave_nothing_unpaid_that_a_wallet_could_pay(
    pool: AsyncConnectionPool, connection: AsyncConnection
) -> None:
    """Of two clients and drivers, some of it rolled back: whatever came first, a wallet is empty
    or nothing is open, and nothing is paid twice."""
    chance = random.Random(7)

    async def bill(n: int) -> None:
        client_id, person_id = 2 + n % 2, 1 + n // 2 % 2
        await issue_and_pay(pool, 100_000 + n, client_id, person_id)

    async def enter(n: int) -> None:
        try:
            async with transaction(pool) as own:
                await receive(own, f"bank:{n}", 50 + 37 * n, person_id=1 + n % 2)
                if n % 5 == 0:
                    raise InterruptedError
        except InterruptedError:
            pass

    work = [*(bill(n) for n in range(16)), *(enter(n) for n in range(16))]
    chance.shuffle(work)
    await asyncio.gather(*work)
    async with transaction(pool) as own:
        await receipts.settle_wallets(own, NOW)
    cursor = await connection.execute(
        """
        SELECT person_id, sum(open_cents), bool_and(open_cents >= 0) FROM invoice_open
         GROUP BY person_id ORDER BY 1
        """
    )
    for person_id, owing, is_sound in await cursor.fetchall():
        assert is_sound
        in_advance = -await books.balance(connection, ledger.wallet(person_id))
        assert min(in_advance, owing) == 0
    assert not await faults(connection)


async def issue_and_pay(
    pool: AsyncConnectionPool, session_id: int, client_id: int, person_id: int
) -> None:
    """Issue as the stage does: the invoice, then the wallet, in one transaction."""
    async with transaction(pool) as own:
        await billed.issue(
            own, client_id, person_id, [100 + session_id % 7], first_session_id=session_id
        )
        await asyncio.sleep(0)
        await apply_wallets(own, [1, 2], NOW)


async def test_nothing_stays_of_a_receipt_cut_off_before_its_end(
    database: Database, connection: AsyncConnection
) -> None:
    number = await billed.issue(connection, 2, 1, [1000])
    await connection.commit()
    cut = await connect(database)
    await cut.set_autocommit(False)
    await receive(cut, "bank:1", 100, invoice_number=number)
    await cut.close()  # as a process that is killed before its commit
    assert await open_cents(connection, number) == 1000
    assert (await receive(connection, "bank:1", 100, invoice_number=number)).is_new
    assert await open_cents(connection, number) == 900


async def test_thousands_of_wallets_pay_in_a_few_statements(connection: AsyncConnection) -> None:
    """Not a round trip for each driver."""
    await connection.execute(
        """
        INSERT INTO person (email) SELECT 'd' || n || '@example.org' FROM generate_series(1, 300) n
        """
    )
    await connection.execute("INSERT INTO driver SELECT id FROM person WHERE id > 2 ORDER BY id")
    persons = range(3, 303)
    for person_id in persons:
        await receive(connection, f"bank:{person_id}", 70, person_id=person_id)
    for person_id in persons:
        await billed.issue(connection, 2, person_id, [100])
    asked = 0
    execute = AsyncConnection.execute

    async def counted(self: Any, *args: Any, **named: Any) -> Any:
        nonlocal asked
        asked += 1
        return await execute(self, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.AsyncConnection, "execute", counted)
        assert await apply_wallets(connection, persons, NOW) == 300 * 70
    assert asked < 25
    assert not await faults(connection)
