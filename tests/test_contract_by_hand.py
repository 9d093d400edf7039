"""The examples of tests/data/exemples_du_contrat.md, replayed by the product and worked out again.

The document is for an accountant; each section has a table. What the product comes to is compared
with each row of it, none left out; the column of the calculations is worked out by a reckoner that
knows nothing of the product.
"""

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from billing import (
    books,
    closing,
    collecting,
    disputes,
    late_fees,
    late_payment,
    ledger,
    payment_files,
    payouts,
    sending,
    statement,
    statement_state,
)
from billing.statement import Statement
from billing.statement_state import History
from csms import contracts, deadlines
from csms.config import Settings
from csms.db import Database, connect, transaction
from simulators.bank import Bank
from tests import billing_world as world
from tests.billing_world import MONTH, NOW, rows
from tests.scenarios import payments
from tests.scenarios.payments import DESK, MANDATE_IBAN

DOCUMENT = Path(__file__).parent / "data" / "exemples_du_contrat.md"
NOVEMBER, DECEMBER = date(2026, 11, 1), date(2026, 12, 1)
OCTOBER_25 = datetime(2026, 10, 25, 12, tzinfo=UTC)
PAYDAY = date(2026, 11, 13)

Value = int | date  # cents


@dataclass(frozen=True)
class Row:
    """A row of a table: its value, and how it is worked out (empty: a day)."""

    label: str
    value: Value
    calculation: str


def sections() -> dict[int, list[Row]]:
    """The tables of the document, by the number of their section."""
    found: dict[int, list[Row]] = {}
    number = 0
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"## (\d+)\. ", line):
            number = int(heading[1])
            found[number] = []
        elif line.startswith("| ") and not line.startswith("| Ligne "):
            label, value, calculation = (cell.strip() for cell in line.strip("|").split("|"))
            found[number].append(Row(label, parsed(value), calculation))
    return found


def parsed(text: str) -> Value:
    """−55,60 € in cents; 13/11/2026 as a day."""
    if "/" in text:
        day, month, year = (int(part) for part in text.split("/"))
        return date(year, month, day)
    assert text.endswith(" €"), text
    return int(Decimal(text[:-2].replace(",", ".").replace("−", "-")).scaleb(2))


OPERATIONS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def worked_out(calculation: str) -> int:
    """What a calculation comes to, in cents, half up."""
    text = calculation.replace("−", "-").replace("×", "*").replace(",", ".").replace("%", "/100")

    def value(node: ast.AST) -> Decimal:
        if isinstance(node, ast.BinOp):
            result: Decimal = OPERATIONS[type(node.op)](value(node.left), value(node.right))
            return result
        if isinstance(node, ast.UnaryOp):
            assert isinstance(node.op, ast.USub)
            return -value(node.operand)
        assert isinstance(node, ast.Constant), calculation
        return Decimal(str(node.value))

    euros = value(ast.parse(text, mode="eval").body)
    return int((euros * 100).quantize(Decimal(1), ROUND_HALF_UP))


SECTIONS = sections()


@pytest.mark.parametrize(
    "row",
    [row for table in SECTIONS.values() for row in table if isinstance(row.value, int)],
    ids=lambda row: row.label,
)
def test_every_amount_of_the_document_is_worked_out_right(row: Row) -> None:
    assert worked_out(row.calculation) == row.value


def test_the_document_has_the_sections_that_are_replayed() -> None:
    assert {number: bool(table) for number, table in SECTIONS.items()} == dict.fromkeys(
        range(1, 7), True
    )


def compare(number: int, found: dict[str, Value]) -> None:
    """Every row of the section, and nothing else."""
    assert found == {row.label: row.value for row in SECTIONS[number]}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return payments.with_accounts(settings)


class House:
    """The product, a bank and the days that pass."""

    def __init__(self, database: Database, pool: AsyncConnectionPool, settings: Settings) -> None:
        self.database, self.pool, self.settings = database, pool, settings
        self.bank = Bank(MANDATE_IBAN, 0)
        self.keys = 0

    async def client(self, name: str, client_class: str, vat_status: str) -> int:
        made = await world.add_client(
            self.database, name, status=vat_status, invoicing="per_use", fee_cents=1_500
        )
        async with await connect(self.database, owner=True) as owner:
            for table, column in (("client", "class"), ("contract", "client_class")):
                key = "id" if table == "client" else "client_id"
                await owner.execute(
                    f"UPDATE {table} SET {column} = %s WHERE {key} = %s", (client_class, made)
                )
        await payments.give_account(self.database, made)
        return made

    async def charge(
        self,
        client_id: int,
        amounts: list[int],
        at: datetime,
        vat_case: str = "redevable",
        *,
        driver: str = "anne",
        paid: bool = True,
    ) -> list[str]:
        """Uses of a day, each with its invoice, by transfer through the bank; the numbers."""
        known = await rows(
            self.pool, "SELECT id FROM person WHERE email = %s", f"{driver}@example.org"
        )
        person_id = known[0][0] if known else await world.add_driver(self.database, driver)
        await world.add_sessions(
            self.database, client_id, person_id, amounts, day=at.date(), vat_case=vat_case
        )
        before = len(await self._numbers(client_id))
        month = deadlines.paris_day(at).replace(day=1)
        await payments.bill(self.pool, client_id, month, at, self.settings)
        numbers = (await self._numbers(client_id))[before:]
        if paid:
            for number, cents in zip(numbers, amounts, strict=True):
                self.bank.receive(cents, "Camille Exemple", payments.DRIVER_IBAN, number)
            await self.bank_says(at.date())
        return numbers

    async def _numbers(self, client_id: int) -> list[str]:
        found = await rows(
            self.pool,
            "SELECT number FROM invoice WHERE client_id = %s AND issuer = 'client' ORDER BY id",
            client_id,
        )
        return [number for (number,) in found]

    async def bank_says(self, day: date) -> None:
        at = datetime(day.year, day.month, day.day, 19, tzinfo=UTC)
        done = await payments.read_in(self.pool, self.bank, day, at, self.settings)
        assert done.difference_cents == 0

    async def close(self, month: date, now: datetime) -> None:
        """Close and send; delivered on the same day."""
        done = await closing.close_month(self.pool, month, now, settings=self.settings)
        assert done.stopped == {}
        await sending.send_month(self.pool, month, now, settings=self.settings)
        async with transaction(self.pool) as connection:
            await connection.execute(
                """
                INSERT INTO statement_event (statement_id, client_id, kind, at, proof)
                SELECT id, client_id, 'delivered', %s, '{"channel": "email"}' FROM statement
                 WHERE month = %s
                """,
                (now, month),
            )

    async def pay(self, month: date, at: datetime, day: date | None = None) -> list[int]:
        """Order, approve, execute and settle; the amounts of the payouts."""
        drafted = await payouts.draft(self.pool, month, at, settings=self.settings, actor=DESK)
        assert drafted.stopped == {}
        filed = await payment_files.make(
            self.pool, at, settings=self.settings, actor=DESK, execution_on=day
        )
        if filed.file_id is None:
            return []
        await payments.hand_over(self.pool, filed.file_id, self.bank, at)
        ((executed,),) = await rows(
            self.pool, "SELECT execution_on FROM payment_file WHERE id = %s", filed.file_id
        )
        if filed.to_lay_cents == 0:
            await self.bank_says(executed)
        else:  # what the operator owes there stays in its own account until it moves it
            await payments.read_in(
                self.pool, self.bank, executed, at + timedelta(days=3), self.settings
            )
        found = await rows(
            self.pool,
            "SELECT amount_cents FROM payout WHERE file_id = %s AND status = 'settled' ORDER BY id",
            filed.file_id,
        )
        return [cents for (cents,) in found]

    async def told(self, client_id: int, month: date) -> Statement:
        ((content,),) = await rows(
            self.pool,
            "SELECT content FROM statement WHERE client_id = %s AND month = %s",
            client_id,
            month,
        )
        return statement.from_json(content)

    async def own_laid(self) -> int:
        """What left the operator's own account in the books."""
        async with self.pool.connection() as connection:
            return -await books.balance(connection, ledger.BANK_OWN)


@pytest.fixture
def house(database: Database, pool: AsyncConnectionPool, settings: Settings) -> House:
    return House(database, pool, settings)


def excl(made: Statement) -> tuple[int, int, int, int]:
    """Commission and fees, each before VAT and its VAT."""
    return (
        sum(one.excl_cents for one in made.commission),
        sum(one.vat_cents for one in made.commission),
        sum(one.excl_cents for one in made.fees),
        sum(one.vat_cents for one in made.fees),
    )


async def test_1_an_ordinary_month_for_each_class(house: House) -> None:
    kinds = [
        ("particulier", "particulier en franchise", "franchise", "particulier"),
        ("syndicat", "syndicat non assujetti", "non_assujetti", "non_professionnel"),
        ("société", "société redevable", "redevable", "professionnel"),
    ]
    clients = {
        name: await house.client(name, client_class, vat) for name, _, vat, client_class in kinds
    }
    for name, _, vat, _ in kinds:
        await house.charge(clients[name], [4_000] * 3, OCTOBER_25, vat)
    await house.close(MONTH, NOW)
    assert await house.pay(MONTH, NOW) == [9_480] * 3
    made = {name: await house.told(client_id, MONTH) for name, client_id in clients.items()}
    assert len({(one.net_cents, one.collected_cents, excl(one)) for one in made.values()}) == 1
    some = made["société"]
    commission, commission_vat, fee, fee_vat = excl(some)
    history = History(NOW, NOW, None, 0)
    last = statement_state.printed_until(history)
    assert last is not None
    ((settled_on,),) = await rows(house.pool, "SELECT DISTINCT settled_on FROM payout")
    found: dict[str, Value] = {
        "Encaissé": some.collected_cents,
        "Commission HT": commission,
        "TVA sur la commission": commission_vat,
        "Frais de gestion HT": fee,
        "TVA sur les frais de gestion": fee_vat,
        "Net à verser": some.net_cents,
        "Relevé visé le": deadlines.statement_target(MONTH),
        "Relevé au plus tard le": deadlines.statement_deadline(MONTH),
        "Contestation possible jusqu'au": last,
        "Versement au plus tard le": deadlines.payout_date(MONTH),
        "Versé le": settled_on,
    }
    for name, label, _, client_class in kinds:
        found[f"TVA collectée, {label}"] = sum(one.vat_cents for one in made[name].vat_collected)
        found[f"Indemnité en cas de retard, {name}"] = late_payment.indemnity_cents(client_class)
    compare(1, found)


async def test_2_a_contested_line(house: House) -> None:
    client_id = await house.client("société", "professionnel", "redevable")
    await house.charge(client_id, [4_000] * 3, OCTOBER_25)
    await house.close(MONTH, NOW)
    ((line_id,),) = await rows(
        house.pool, "SELECT id FROM statement_line WHERE kind = 'session' ORDER BY id LIMIT 1"
    )
    async with transaction(house.pool) as connection:
        dispute_id = await disputes.contest_line(
            connection, line_id, "Durée inexacte", DESK, datetime(2026, 11, 5, 9, tzinfo=UTC)
        )
    ((held,),) = await rows(house.pool, "SELECT held_cents FROM dispute")
    paid = await house.pay(MONTH, datetime(2026, 11, 10, 9, tzinfo=UTC))
    decided_at = datetime(2026, 11, 20, 9, tzinfo=UTC)
    async with transaction(house.pool) as connection:
        await disputes.decide(
            connection,
            dispute_id,
            "rejected",
            "La borne le confirme",
            actor=DESK,
            now=decided_at,
            settings=house.settings,
        )
    then = await house.pay(MONTH, decided_at)
    compare(
        2,
        {
            "Net du relevé": (await house.told(client_id, MONTH)).net_cents,
            "Commission TTC de la recharge contestée": 4_000 - held,
            "Retenu": held,
            "Versé le 13 novembre": sum(paid),
            "Versé après la décision": sum(then),
            "Versé en tout": sum(paid) + sum(then),
        },
    )


async def test_3_and_4_a_returned_debit_a_negative_month_and_the_next(house: House) -> None:
    client_id = await house.client("société", "professionnel", "redevable")
    september = datetime(2026, 9, 10, 12, tzinfo=UTC)
    bruno = await world.add_driver(house.database, "bruno")
    await payments.sign_mandate(house.pool, september, person_id=bruno)
    (number,) = await house.charge(client_id, [4_000], september, driver="bruno", paid=False)
    await collecting.announce_debits(house.pool, september, settings=house.settings)
    at = datetime(2026, 10, 8, 9, tzinfo=UTC)
    filed = await collecting.make_files(house.pool, at, settings=house.settings, actor=DESK)
    (file_id,) = filed.file_ids
    await payments.hand_over(house.pool, file_id, house.bank, at)
    await house.bank_says(date(2026, 10, 15))
    await house.charge(client_id, [4_000] * 2, OCTOBER_25)
    await house.close(MONTH, NOW)
    paid = await house.pay(MONTH, NOW)

    laid = await house.own_laid()
    ((identifier,),) = await rows(house.pool, "SELECT end_to_end_id FROM direct_debit")
    house.bank.give_back(identifier, "MD06")
    await payments.read_in(
        house.pool,
        house.bank,
        date(2026, 11, 18),
        datetime(2026, 11, 18, 19, tzinfo=UTC),
        house.settings,
    )
    covered = await house.own_laid() - laid
    first_of_december = datetime(2026, 12, 1, 9, tzinfo=UTC)
    await house.close(NOVEMBER, first_of_december)
    november = await house.told(client_id, NOVEMBER)
    compare(
        3,
        {
            "Versé le 13 novembre": sum(paid),
            "Comblé par Time2Plug le 18 novembre": covered,
            "Encaissé en novembre": november.collected_cents,
            "Commission TTC de novembre": sum(one.incl_cents for one in november.commission),
            "Frais de gestion TTC": sum(one.incl_cents for one in november.fees),
            "Net de novembre": november.net_cents,
            "Versé pour novembre": sum(await house.pay(NOVEMBER, first_of_december)),
        },
    )

    day = datetime(2026, 12, 10, 12, tzinfo=UTC)
    house.bank.receive(4_000, "Bruno", payments.DRIVER_IBAN, f"facture {number}")
    numbers = await house.charge(client_id, [3_000] * 2, day, paid=False)
    for each in numbers:
        house.bank.receive(3_000, "Anne", payments.DRIVER_IBAN, each)
    await payments.read_in(house.pool, house.bank, day.date(), day, house.settings)
    january = datetime(2027, 1, 4, 9, tzinfo=UTC)
    await house.close(DECEMBER, january)
    december = await house.told(client_id, DECEMBER)
    compare(
        4,
        {
            "Report de novembre": december.opening_cents,
            "Encaissé en décembre": december.collected_cents,
            "Commission TTC de décembre": sum(one.incl_cents for one in december.commission),
            "Frais de gestion TTC": sum(one.incl_cents for one in december.fees),
            "Net de décembre": december.net_cents,
            "Versé pour décembre": sum(await house.pay(DECEMBER, january)),
            "Versement au plus tard le": deadlines.payout_date(DECEMBER),
        },
    )


async def test_5_a_late_payout(house: House) -> None:
    client_id = await house.client("société", "professionnel", "redevable")
    await house.charge(client_id, [4_000] * 3, OCTOBER_25)
    await house.close(MONTH, NOW)
    at = datetime(2026, 11, 20, 9, tzinfo=UTC)
    paid = await house.pay(MONTH, at, date(2026, 11, 23))
    after = datetime(2026, 11, 24, 9, tzinfo=UTC)
    async with transaction(house.pool) as connection:
        await late_fees.verify_rate(
            connection,
            semester="2026-S2",
            particuliers=Decimal("6.84"),
            autres=Decimal("2.75"),
            decree="pour l'exemple",
            source="exemple",
            actor=DESK,
            now=after,
        )
    async with house.pool.connection() as connection:
        done = await late_fees.reckon(connection, after, actor=DESK)
    compare(
        5,
        {
            "Versé le 23 novembre": sum(paid),
            "Intérêts de retard": done.interest_cents,
            "Indemnité forfaitaire": done.indemnity_cents,
            "Versé ensuite": sum(await house.pay(MONTH, after)),
        },
    )


async def test_6_a_termination(house: House) -> None:
    client_id = await house.client("société", "professionnel", "redevable")
    ((contract_id,),) = await rows(house.pool, "SELECT id FROM contract")
    told_on = datetime(2026, 10, 15, 9, tzinfo=UTC)
    async with transaction(house.pool) as connection:
        contract = await contracts.get(connection, contract_id)
        due = await contracts.preview_indemnity(
            connection, contract, notified_on=told_on.date(), leaves_on=date(2026, 11, 30)
        )
        await contracts.end_by_client(
            connection,
            contract_id,
            notified_on=told_on.date(),
            leaves_on=date(2026, 11, 30),
            actor=DESK,
            now=told_on,
        )
    november = datetime(2026, 11, 20, 12, tzinfo=UTC)
    await house.charge(client_id, [5_000], november)
    (late,) = await house.charge(client_id, [3_000], november, paid=False)
    await house.close(NOVEMBER, datetime(2026, 12, 1, 9, tzinfo=UTC))
    first = await house.pay(NOVEMBER, datetime(2026, 12, 1, 9, tzinfo=UTC))
    house.bank.receive(3_000, "Anne", payments.DRIVER_IBAN, late)
    await house.bank_says(date(2026, 12, 16))
    await house.close(DECEMBER, datetime(2027, 1, 4, 9, tzinfo=UTC))
    then = await house.pay(DECEMBER, datetime(2027, 1, 4, 9, tzinfo=UTC))
    told = await house.told(client_id, NOVEMBER)
    final = await house.told(client_id, DECEMBER)
    compare(
        6,
        {
            "Encaissé en novembre": told.collected_cents,
            "Net de novembre": told.net_cents,
            "Encaissé en décembre": final.collected_cents,
            "Net du décompte final": final.net_cents,
            "Versé en tout depuis la résiliation": sum(first) + sum(then),
            "Indemnité calculée, HT": due.total_cents,
        },
    )
