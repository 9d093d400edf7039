"""Credit notes and correctives: chains that never give back more than was charged."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg_pool import AsyncConnectionPool

from billing import books, corrections, issuing, ledger, money, receipts
from billing.documents import repriced
from billing.invoice import Document, DocumentLine, TypeCode, faults, from_json
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, transaction
from csms.registry import Conflict, NotThere, Refusal
from tests.billing_world import (
    MONTH,
    NOW,
    add_client,
    add_driver,
    add_sessions,
    rows,
    with_operator,
)

ACTOR = Actor("test")
LATER = NOW + timedelta(days=20)


class World:
    """An invoice of three sessions, and what is done to it."""

    def __init__(
        self, pool: AsyncConnectionPool, settings: Settings, client_id: int, person_id: int
    ) -> None:
        self.pool = pool
        self.settings = settings
        self.client_id = client_id
        self.person_id = person_id
        self.sessions: list[int] = []
        self.invoice_id = 0

    async def credit(self, sessions: list[int] | None, invoice_id: int | None = None) -> int:
        async with transaction(self.pool) as connection:
            return await corrections.credit(
                connection,
                invoice_id or self.invoice_id,
                sessions,
                "Contestation",
                ACTOR,
                LATER,
                settings=self.settings,
            )

    async def correct(self, amounts: dict[int, int], invoice_id: int | None = None) -> int:
        async with transaction(self.pool) as connection:
            return await corrections.correct(
                connection,
                invoice_id or self.invoice_id,
                amounts,
                "Erreur de tarif",
                ACTOR,
                LATER,
                settings=self.settings,
            )

    async def document(self, invoice_id: int) -> Document:
        ((content,),) = await rows(
            self.pool, "SELECT content FROM invoice WHERE id = %s", invoice_id
        )
        return from_json(content)

    async def left(self) -> dict[int, int]:
        async with transaction(self.pool) as connection:
            return await corrections.left_of(connection, self.invoice_id)

    async def receivable(self) -> int:
        async with self.pool.connection() as connection:
            return await books.balance(connection, ledger.receivable_drivers(self.client_id))

    async def effects(self) -> int:
        ((total,),) = await rows(self.pool, "SELECT sum(effect_cents)::bigint FROM invoice")
        return int(total)


@pytest.fixture
async def world(database: Database, pool: AsyncConnectionPool, settings: Settings) -> World:
    client_id = await add_client(database, "alpha")
    person_id = await add_driver(database, "ann")
    made = World(pool, with_operator(settings), client_id, person_id)
    made.sessions = await add_sessions(database, client_id, person_id, [1_201, 0, 333])
    async with pool.connection() as connection:
        await issuing.issue(connection, client_id, MONTH, NOW, settings=made.settings)
    ((made.invoice_id,),) = await rows(pool, "SELECT id FROM invoice")
    return made


async def test_a_session_is_given_back_whole_and_once(world: World) -> None:
    first = world.sessions[0]
    made = await world.credit([first])
    document = await world.document(made)
    assert document.type_code is TypeCode.CREDIT_NOTE
    assert document.number == f"C{world.client_id:05}-A-2026-000001", "a series of its own"
    assert document.original_number == f"C{world.client_id:05}-F-2026-000001"
    assert document.original_issued_on == date(2026, 11, 2)
    assert (document.gross_cents, document.vat_cents) == (1_201, 200)
    assert document.reason == "Contestation"
    assert await world.receivable() == 333
    with pytest.raises(Conflict, match=f"session {first}"):
        await world.credit([first])
    assert faults(document) == []
    rest = await world.document(await world.credit(None))
    assert [line.session_id for line in rest.lines] == world.sessions[1:]
    assert rest.gross_cents == 333
    assert await world.receivable() == await world.effects() == 0
    with pytest.raises(Conflict, match="Nothing is left"):
        await world.credit(None)


async def test_a_corrective_states_everything_anew(world: World) -> None:
    first, free, last = world.sessions
    made = await world.correct({first: 600})
    document = await world.document(made)
    assert document.type_code is TypeCode.CORRECTED
    assert document.number == f"C{world.client_id:05}-F-2026-000002"
    assert [line.gross_cents for line in document.lines] == [600, 0, 333]
    assert document.original_number == f"C{world.client_id:05}-F-2026-000001"
    assert faults(document) == []
    ((effect, effect_vat),) = await rows(
        world.pool, "SELECT effect_cents, effect_vat_cents FROM invoice WHERE id = %s", made
    )
    assert (effect, effect_vat) == (600 - 1_201, 100 - 200)
    assert await world.receivable() == 933
    assert await world.left() == {first: 600, free: 0, last: 333}
    originals = await rows(
        world.pool, "SELECT count(*) FROM invoice_line WHERE is_original GROUP BY invoice_id"
    )
    assert originals == [(3,)]


async def test_corrections_follow_each_other(world: World) -> None:
    """Lowered, given back in part, raised again, given back whole: always to the cent."""
    first, free, last = world.sessions
    corrective = await world.correct({first: 600})
    await world.credit([last], invoice_id=corrective)
    assert await world.left() == {first: 600, free: 0}
    with pytest.raises(Conflict, match="given back whole"):
        await world.correct({last: 100})
    again = await world.correct({first: 900})
    document = await world.document(again)
    assert [line.session_id for line in document.lines] == [first, free]
    assert document.original_number.endswith("-F-2026-000001"), "it names the first of them all"
    assert await world.receivable() == await world.effects() == 900
    final = await world.document(await world.credit(None))
    assert final.gross_cents == 900
    assert await world.receivable() == await world.effects() == 0


async def test_what_cannot_be_is_refused_and_changes_nothing(world: World) -> None:
    first, free, _last = world.sessions
    with pytest.raises(Conflict, match="hold already"):
        await world.correct({first: 1_201})
    with pytest.raises(Conflict, match="Nothing would be left"):
        await world.correct(dict.fromkeys(world.sessions, 0))
    with pytest.raises(Refusal, match="from 0"):
        await world.correct({first: -1})
    with pytest.raises(Conflict, match="not on invoice"):
        await world.correct({9_999: 5})
    with pytest.raises(Conflict, match="cost nothing"):
        await world.credit([free])
    with pytest.raises(NotThere):
        await world.credit(None, invoice_id=9_999)
    credit = await world.credit([first])
    with pytest.raises(Conflict, match="is a credit note"):
        await world.credit(None, invoice_id=credit)
    async with transaction(world.pool) as connection:
        with pytest.raises(Refusal, match="Say why"):
            await corrections.credit(
                connection, world.invoice_id, None, " ", ACTOR, LATER, settings=world.settings
            )
    assert await rows(world.pool, "SELECT count(*) FROM invoice") == [(2,)]


async def pay(world: World, key: str, amount_cents: int) -> None:
    """Money for the invoice: it fills the sessions in their order."""
    ((number,),) = await rows(
        world.pool, "SELECT number FROM invoice WHERE id = %s", world.invoice_id
    )
    async with transaction(world.pool) as connection:
        await receipts.receive(
            connection,
            source_key=key,
            amount_cents=amount_cents,
            received_on=NOW.date(),
            means="transfer",
            actor=ACTOR,
            now=NOW,
            invoice_number=number,
        )


async def balance(world: World, account: ledger.Account) -> int:
    async with world.pool.connection() as connection:
        return await books.balance(connection, account)


async def test_what_was_paid_beyond_the_price_goes_back_to_the_wallet(world: World) -> None:
    first = world.sessions[0]
    await pay(world, "bank-1", 700)
    await pay(world, "bank-2", 834)
    document = await world.document(await world.correct({first: 600}))
    told = dict(document.mentions)["wallet"]
    assert told.startswith("Somme déjà payée, portée à votre compte : 6,01")
    assert (document.gross_cents, document.paid_cents) == (933, 933), "the rest is paid"
    assert document.lines[0].attributes[-1] == ("Montant", "corrigé")
    assert "Prix TTC" not in dict(document.lines[0].attributes)
    assert faults(document) == []
    assert await balance(world, ledger.wallet(world.person_id)) == -601
    assert await balance(world, ledger.owed("available", world.client_id)) == -(1_534 - 601)
    assert await balance(world, ledger.receivable_drivers(world.client_id)) == 0
    back = await rows(
        world.pool,
        """
        SELECT session_id, sum(amount_cents)::bigint FROM receipt_share WHERE amount_cents < 0
         GROUP BY session_id
        """,
    )
    assert back == [(first, -601)]


async def test_what_went_to_the_wallet_pays_what_is_still_owed(world: World) -> None:
    await pay(world, "bank-1", 1_201)
    await world.credit([world.sessions[0]])
    assert await balance(world, ledger.wallet(world.person_id)) == -(1_201 - 333)
    assert await balance(world, ledger.owed("available", world.client_id)) == -333
    assert await world.receivable() == 0


async def test_money_that_was_paid_out_already_is_made_good_by_the_operator(world: World) -> None:
    """The client owes it; another client's money never covers it."""
    await pay(world, "bank-1", 1_534)
    async with transaction(world.pool) as connection:
        paid_out = ledger.Entry(
            "payout:test",
            "payout",
            date(2026, 11, 13),
            "Virement",
            world.client_id,
            (
                ledger.Posting(ledger.owed("available", world.client_id), 1_534),
                ledger.Posting(ledger.BANK_MANDATE, -1_534),
            ),
        )
        await books.post(connection, [paid_out], NOW)
    await world.credit(None)
    for account, expected in (
        (ledger.owed("available", world.client_id), 0),
        (ledger.wallet(world.person_id), -1_534),
        (ledger.BANK_MANDATE, 1_534),
        (ledger.BANK_OWN, -1_534),
        (ledger.receivable_client(world.client_id), 1_534),
    ):
        assert await balance(world, account) == expected, account.code


LINE = st.tuples(st.integers(0, 10_000), st.sampled_from([0, 55, 200]))


@given(st.lists(LINE, min_size=1, max_size=6), st.integers(0, 20_000))
@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_lines_at_another_price_sum_to_it_and_hold_their_vat(
    parts: list[tuple[int, int]], gross: int
) -> None:
    lines = []
    for amount, tenths in parts:
        rate = Decimal(tenths) / 10
        vat = money.vat_in(amount, rate)
        lines.append(DocumentLine("x", (), rate, amount - vat, vat, amount, session_id=1))
    made = repriced(lines, gross, "fr")
    assert sum(line.gross_cents for line in made) == gross
    assert all(line.gross_cents >= 0 for line in made)
    assert all(line.vat_cents == money.vat_in(line.gross_cents, line.vat_percent) for line in made)
