"""Invoices paid through a provider that fails in every way: each is paid once, the books hold."""

import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of
from hypothesis import strategies as st
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import books, card_payments, checks, ledger, receipts
from billing.card_payments import Settlement
from billing.provider_state import UNFINISHED
from billing.providers import Forged, Unavailable
from billing.providers.offline import Offline
from billing.providers.stripe import Stripe
from billing.settling import Settled
from csms import keys
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, connect, open_pool
from csms.registry import Conflict, Refusal
from csms.web.app import create_app
from simulators.bank import Bank
from simulators.payment_provider import FAULTS, PaymentPeer
from tests.scenarios import billed, payments
from tests.scenarios.billed import NOW
from tests.scenarios.two_clients import log_in

ACTOR = Actor("test")
LATER = NOW + timedelta(minutes=5)


class Killed(Exception):
    """What a process that dies leaves undone."""


class Mortal(Stripe):
    """The adapter in a process that may die before or after any call: `dies` says at which."""

    dies: list[str | None]

    async def _call(
        self, method: str, path: str, headers: dict[str, str], **sent: Any
    ) -> dict[str, Any]:
        when = self.dies.pop(0) if self.dies else None
        if when == "before":
            raise Killed
        answer = await super()._call(method, path, headers, **sent)
        if when == "after":
            raise Killed
        return answer


class Shop:
    """The peer, the adapter and a connection of its own."""

    def __init__(self, peer: PaymentPeer, provider: Mortal, connection: AsyncConnection) -> None:
        self.peer, self.provider, self.connection = peer, provider, connection

    async def invoice(self, cents: int, method: str = "pm_good") -> str:
        async with self.connection.transaction():
            number = await billed.issue(self.connection, 2, 1, [cents])
        await card_payments.add_method(self.connection, self.provider, 1, "cus_1", method, NOW)
        return number

    async def pay(self, number: str) -> str:
        return await card_payments.pay_invoice(
            self.connection, self.provider, number, NOW, actor=ACTOR, simulated=True
        )

    async def resolve(self) -> Counter[str]:
        return await card_payments.resolve_unknown(
            self.connection, self.provider, LATER, actor=ACTOR, after_s=0
        )

    async def hear(self, event: dict[str, Any]) -> bool:
        content = json.dumps(event).encode()
        signature = self.peer.sign(content, int(LATER.timestamp()))
        return await card_payments.take_webhook(
            self.connection, self.provider, content, signature, LATER
        )

    async def one(self, statement: str, *values: Any) -> Any:
        cursor = await self.connection.execute(statement.encode(), values)
        row = await cursor.fetchone()
        return None if row is None else row[0]

    async def open_cents(self, number: str) -> int:
        return int(await self.one("SELECT open_cents FROM invoice_open WHERE number = %s", number))

    async def check(self) -> None:
        """The books hold, and never more is in them than the provider took."""
        balances = Counter(await books.balances(self.connection))
        assert ledger.faults(balances) == []
        taken = sum(self.peer.kept_cents(each) for each in self.peer.intents)
        booked = await self.one("SELECT coalesce(sum(booked_cents), 0) FROM provider_payment")
        assert balances[ledger.PSP_CLEARING.code] == booked
        captured = sum(each["amount_received"] for each in self.peer.intents.values())
        assert booked <= captured
        self.is_level = booked == taken


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    async with await connect(database, owner=True) as owner:
        await billed.build(owner)
    peer = PaymentPeer()
    async with (
        peer.serve() as url,
        httpx.AsyncClient(timeout=0.3) as client,
        await connect(database) as connection,
    ):
        provider = Mortal(peer.key, peer.secret, client, api=url, allow_live=False)
        provider.dies = []
        yield Shop(peer, provider, connection)


async def test_an_invoice_is_authorised_captured_and_paid(shop: Shop) -> None:
    number = await shop.invoice(1_200)
    assert await shop.pay(number) == "captured"
    assert await shop.open_cents(number) == 0
    assert await shop.pay(number) == "captured", "again changes nothing"
    assert len(shop.peer.intents) == 1
    row = await shop.one("SELECT row(means, is_simulated, source_key)::text FROM receipt")
    assert row == "(card,t,provider:stripe:t2p-1-1:capture)"
    await shop.check()
    assert shop.is_level


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", [0, 1])
async def test_a_call_without_an_answer_is_found_out(shop: Shop, fault: str, call: int) -> None:
    number = await shop.invoice(1_200)
    shop.peer.faults.extend([None] * call + [fault, fault])  # and the one that tries again
    await shop.pay(number)
    shop.peer.faults.clear()
    for _ in range(3):
        await shop.resolve()
    assert await shop.open_cents(number) == (
        1_200 if (fault, call) == ("error_before", 0) else 0
    ), "an error on a creation is repeated under its key until nobody can have acted on it"
    assert sum(i["amount_received"] for i in shop.peer.intents.values()) <= 1_200
    assert await shop.one("SELECT count(*) FROM provider_payment WHERE status = 'failed'") == 0
    await shop.check()


async def test_a_payment_that_never_came_to_be_fails_when_its_key_is_too_old(shop: Shop) -> None:
    number = await shop.invoice(1_200)
    shop.peer.faults.extend(["error_before", "error_before"])
    assert await shop.pay(number) == "unknown"
    await card_payments.resolve_unknown(
        shop.connection, shop.provider, NOW + timedelta(hours=24), actor=ACTOR
    )
    assert await shop.one("SELECT status FROM provider_payment") == "failed"
    assert await shop.pay(number) == "captured", "a new payment, under a new key"
    assert await shop.open_cents(number) == 0


async def test_a_card_that_is_refused_leaves_the_invoice_open(shop: Shop) -> None:
    number = await shop.invoice(1_200, "pm_declined")
    assert await shop.pay(number) == "failed"
    detail = await shop.one("SELECT detail FROM provider_payment_event ORDER BY id DESC LIMIT 1")
    assert detail == "insufficient_funds"
    assert await shop.open_cents(number) == 1_200


async def test_what_was_paid_by_transfer_meanwhile_is_not_captured(shop: Shop) -> None:
    number = await shop.invoice(1_200)
    shop.provider.dies = [None, "before"]
    with pytest.raises(Killed):
        await shop.pay(number)
    async with shop.connection.transaction():
        await receipts.receive(
            shop.connection,
            source_key="bank:1",
            amount_cents=1_200,
            received_on=NOW.date(),
            means="transfer",
            actor=ACTOR,
            now=NOW,
            invoice_number=number,
        )
    assert await shop.resolve() == {"voided": 1}
    assert sum(i["amount_received"] for i in shop.peer.intents.values()) == 0


async def test_refunds_and_chargebacks_take_back_what_was_paid(shop: Shop) -> None:
    number = await shop.invoice(1_200)
    await shop.pay(number)
    give: dict[str, Any] = {"kept_cents": 1_200, "actor": ACTOR}
    for _ in range(2):  # the same call again gives nothing more
        assert (
            await card_payments.refund(shop.connection, shop.provider, 1, 300, LATER, **give)
        ) == "partly_refunded"
    assert await shop.open_cents(number) == 300
    with pytest.raises(Conflict):
        await card_payments.refund(shop.connection, shop.provider, 1, 100, LATER, **give)
    with pytest.raises(Refusal):
        await card_payments.refund(
            shop.connection, shop.provider, 1, 901, LATER, kept_cents=900, actor=ACTOR
        )
    shop.peer.charge_back("pi_1x")
    for event in [*shop.peer.events[::-1], *shop.peer.events]:
        await shop.hear(event)
    await shop.resolve()
    assert await shop.one("SELECT status FROM provider_payment") == "charged_back"
    assert await shop.open_cents(number) == 1_200
    await shop.check()
    assert shop.is_level


async def test_a_charge_back_that_is_won_pays_the_invoice_after_all(shop: Shop) -> None:
    number = await shop.invoice(1_200)
    await shop.pay(number)
    shop.peer.charge_back("pi_1x")
    await shop.hear(shop.peer.events[-1])
    await shop.resolve()
    assert await shop.open_cents(number) == 1_200
    shop.peer.win("pi_1x")
    for event in [*shop.peer.events[::-1], *shop.peer.events]:
        await shop.hear(event)
        await shop.resolve()
    assert await shop.open_cents(number) == 0
    await shop.check()
    assert shop.is_level
    events = "SELECT string_agg(status, ' ' ORDER BY id) FROM provider_payment_event"
    assert (await shop.one(events)).endswith("captured charged_back won_back")


async def read_bank(shop: Shop, settings: Settings, database: Database, bank: Bank) -> Settled:
    async with open_pool(database, settings) as pool:
        return await payments.read_in(
            pool, bank, LATER.date(), LATER, payments.with_accounts(settings)
        )


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize("bank_first", [True, False])
async def test_the_provider_s_payout_and_the_bank_s_line_are_one(
    shop: Shop, settings: Settings, database: Database, is_named: bool, bank_first: bool
) -> None:
    await shop.pay(await shop.invoice(1_200))
    bank = Bank(payments.MANDATE_IBAN, 0)
    text = "STRIPE po_1x PAYOUT" if is_named else "STRIPE"
    bank.receive(1_180, "Stripe", payments.DRIVER_IBAN, text)
    report = Settlement("po_1x", 1_200, 20)
    if bank_first:
        done = await read_bank(shop, settings, database, bank)
        assert done.by_kind == {"suspense": 1}
    for _ in range(2):
        matched = await card_payments.settle(
            shop.connection, shop.provider, report, LATER, actor=ACTOR
        )
    if not bank_first:
        done = await read_bank(shop, settings, database, bank)
        assert done.by_kind == {"settlement" if is_named else "suspense": 1}
    else:
        assert matched == (1 if is_named else None)
    if not is_named:
        assert (
            await card_payments.settle(
                shop.connection, shop.provider, report, LATER, actor=ACTOR, line_id=1
            )
            == 1
        )
    balances = await books.balances(shop.connection)
    assert balances.get("suspense", 0) == balances.get("psp:clearing", 0) == 0
    assert (balances["bank:mandate"], balances["bank:own"]) == (1_200, -20)
    found = await checks.find_offences(shop.connection, LATER)
    assert "bank lines beside books" not in {check.name for check, told in found if told}


async def test_a_line_of_another_amount_is_no_payout(
    shop: Shop, settings: Settings, database: Database
) -> None:
    await shop.pay(await shop.invoice(1_200))
    bank = Bank(payments.MANDATE_IBAN, 0)
    bank.receive(1_181, "Stripe", payments.DRIVER_IBAN, "STRIPE po_1x")
    await read_bank(shop, settings, database, bank)
    report = Settlement("po_1x", 1_200, 20)
    with pytest.raises(Conflict, match="of 1181 cents"):
        await card_payments.settle(
            shop.connection, shop.provider, report, LATER, actor=ACTOR, line_id=1
        )
    assert "psp:clearing" in await books.balances(shop.connection)


async def test_a_refund_whose_answer_is_lost_is_given_once(shop: Shop) -> None:
    number = await shop.invoice(1_200)
    await shop.pay(number)
    shop.peer.faults.extend(["lost_after", "lost_before"])
    for _ in range(2):
        try:
            await card_payments.refund(
                shop.connection, shop.provider, 1, 300, LATER, kept_cents=1_200, actor=ACTOR
            )
        except Unavailable:
            continue
    assert [each["amount"] for each in shop.peer.refunds] == [300]
    assert await shop.open_cents(number) == 300


async def test_a_payout_of_the_provider_is_booked_once_and_its_fee_is_ours(shop: Shop) -> None:
    await shop.pay(await shop.invoice(1_200))
    for later in (LATER, LATER + timedelta(days=2)):
        await card_payments.settle(
            shop.connection, shop.provider, Settlement("po_1", 1_200, 20), later, actor=ACTOR
        )
    balances = await books.balances(shop.connection)
    assert (balances["bank:mandate"], balances["bank:own"]) == (1_200, -20)
    assert balances.get("psp:clearing", 0) == 0
    with pytest.raises(Conflict):
        await card_payments.settle(
            shop.connection, shop.provider, Settlement("po_1", 1_100, 20), LATER, actor=ACTOR
        )


async def test_no_provider_says_what_to_do(shop: Shop) -> None:
    number = await shop.invoice(1_200)
    with pytest.raises(Refusal, match="transfer"):
        await card_payments.pay_invoice(shop.connection, Offline(), number, NOW, actor=ACTOR)
    assert await shop.one("SELECT count(*) FROM provider_payment") == 0


async def test_forged_webhooks_are_noted_and_change_nothing(shop: Shop) -> None:
    number = await shop.invoice(1_200)
    await shop.pay(number)
    shop.peer.charge_back("pi_1x")
    content = json.dumps(shop.peer.events[-1]).encode()
    at_s = int(LATER.timestamp())
    right = shop.peer.sign(content, at_s)
    wrong = [
        "",
        "t=,v1=",
        f"t={at_s}",
        f"t={at_s},v1=é",
        right[:-1] + ("0" if right[-1] != "0" else "1"),
        right.replace("v1=", "v0="),
        right.replace(f"t={at_s}", f"t={at_s + 1}"),
        shop.peer.sign(content, at_s - 301),
        shop.peer.sign(content, at_s + 301),
        PaymentPeer(secret="whsec_other").sign(content, at_s),
    ]
    for signature in wrong:
        with pytest.raises(Forged):
            await card_payments.take_webhook(
                shop.connection, shop.provider, content, signature, LATER
            )
    with pytest.raises(Forged):
        await card_payments.take_webhook(
            shop.connection, shop.provider, content + b" ", right, LATER
        )
    assert await shop.one("SELECT count(*) FROM provider_webhook WHERE event_id IS NULL") == 11
    assert await shop.resolve() == {}
    assert await shop.open_cents(number) == 0


def test_a_live_key_is_refused_where_none_may_be_used() -> None:
    with pytest.raises(ValueError, match="live key"):
        Stripe("sk_live_x", "", httpx.AsyncClient(), allow_live=False)


async def test_secrets_are_in_no_text_of_the_settings(settings: Settings) -> None:
    told = repr(replace(settings, stripe_key="sk_test_quiet", stripe_webhook_secret="whsec_quiet"))
    assert "quiet" not in told


async def test_the_webhook_address_asks_for_the_signature_alone(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    peer = PaymentPeer()
    own = replace(settings, stripe_key=peer.key, stripe_webhook_secret=peer.secret)
    path = "/api/v1/providers/stripe/webhook"
    content = b'{"id": "evt_1", "type": "charge.refunded", "data": {"object": {"id": "ch_1"}}}'
    at_s = int(time.time())
    headers = {"stripe-signature": peer.sign(content, at_s)}
    for with_provider, expected in ((settings, 400), (own, 200)):
        transport = httpx.ASGITransport(create_app(pool, with_provider, people=people))
        async with httpx.AsyncClient(transport=transport, base_url="http://desk") as client:
            answer = await client.post(path, content=content, headers=headers)
            assert answer.status_code == expected, answer.text
            if expected == 200:
                again = await client.post(path, content=content, headers=headers)
                assert (answer.json(), again.json()) == ({"is_new": True}, {"is_new": False})
                forged = await client.post(path, content=content + b" ", headers=headers)
                assert forged.status_code == 400
                long = await client.post(path, content=b"x" * 20_000_000, headers=headers)
                assert long.status_code == 413


ACTS = st.lists(
    st.tuples(
        st.sampled_from(("pay", "pay", "resolve", "refund", "hear", "hear_again", "forge", "back")),
        st.lists(st.sampled_from((None, *FAULTS[:4])), max_size=3),
        st.lists(st.sampled_from((None, None, "before", "after")), max_size=3),
        st.integers(0, 30),
    ),
    min_size=2,
    max_size=9,
)


async def act(shop: Shop, number: str, what: str, pick: int) -> None:
    events = shop.peer.events
    if what == "pay":
        await shop.pay(number)
    elif what == "resolve":
        await shop.resolve()
    elif what in ("hear", "hear_again") and events:
        await shop.hear(events[pick % len(events)])
    elif what == "forge" and events:
        content = json.dumps(events[pick % len(events)]).encode()
        with pytest.raises(Forged):
            await card_payments.take_webhook(
                shop.connection, shop.provider, content, "t=1,v1=00", LATER
            )
    elif what == "refund":
        payment_id = await shop.one(
            "SELECT id FROM provider_payment WHERE booked_cents > 0 ORDER BY id DESC LIMIT 1"
        )
        if payment_id is not None:
            kept = await shop.one(
                "SELECT booked_cents FROM provider_payment WHERE id = %s", payment_id
            )
            await card_payments.refund(
                shop.connection,
                shop.provider,
                payment_id,
                1 + pick % kept,
                LATER,
                kept_cents=kept,
                actor=ACTOR,
            )
    elif what == "back":
        taken = [k for k, each in shop.peer.intents.items() if each["amount_received"]]
        if taken and pick % 5 == 0:
            shop.peer.charge_back(taken[-1])


@settings_of(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=ACTS)
async def test_whatever_fails_each_invoice_is_paid_once(
    shop: Shop, acts: list[tuple[str, list[str | None], list[str | None], int]]
) -> None:
    """Time-outs, errors, deaths between any two steps, webhooks in any order: at the end, with all
    webhooks told, what is open of the invoice is what the provider did not keep."""
    number = await shop.invoice(1_200)
    before = set(shop.peer.intents)
    for what, faults, dies, pick in acts:
        shop.peer.faults.extend(faults)
        shop.provider.dies = list(dies)
        with contextlib.suppress(Killed, Unavailable, Refusal, Conflict):
            await act(shop, number, what, pick)  # after a death the process starts again
        await shop.check()
    shop.peer.faults.clear()
    shop.provider.dies = []
    for event in shop.peer.events[::-1]:
        await shop.hear(event)
    for _ in range(3):
        await shop.resolve()
    await card_payments.resolve_unknown(  # keys whose answer is an error for ever
        shop.connection, shop.provider, NOW + timedelta(hours=25), actor=ACTOR, after_s=0
    )
    await shop.check()
    assert shop.is_level
    mine = set(shop.peer.intents) - before
    kept = sum(shop.peer.kept_cents(each) for each in mine)
    assert kept <= 1_200
    assert await shop.open_cents(number) == 1_200 - kept
    left = await shop.one(
        "SELECT count(*) FROM provider_payment WHERE status = ANY (%s)", list(UNFINISHED)
    )
    assert left == 0


async def test_a_driver_pays_and_the_operator_gives_back(
    database: Database,
    pool: AsyncConnectionPool,
    people: AsyncConnectionPool,
    settings: Settings,
) -> None:
    """The journey by API: the provider's references, a payment, one that is another's, a refund,
    the payout; and what is said without a provider, and while it is silent."""
    async with await connect(database, owner=True) as owner:
        await billed.build(owner)
    async with pool.connection() as connection:
        async with connection.transaction():
            await billed.issue(connection, 2, 1, [1_200])
            await billed.issue(connection, 2, 2, [700])
        key, _ = await keys.create(connection, name="desk", role="operator", expires_at=None)
        driver = await log_in(connection, 1)
    hers, desk = {"Authorization": f"Bearer {driver}"}, {"Authorization": f"Bearer {key}"}
    peer = PaymentPeer()
    async with peer.serve() as url:
        charged = replace(settings, stripe_key=peer.key, stripe_url=url, provider_timeout_s=0.3)
        async with calling(create_app(pool, settings, people=people)) as client:
            refused = await client.post("/api/v1/me/invoices/1/card-payment", headers=hers)
            assert refused.status_code == 422 and "transfer" in refused.json()["detail"]
        async with calling(create_app(pool, charged, people=people)) as client:
            refused = await client.post("/api/v1/me/invoices/1/card-payment", headers=hers)
            assert refused.status_code == 422 and "no means" in refused.json()["detail"]
            card = {"customer_reference": "cus_1", "method_reference": "4242 4242 4242 4242"}
            answer = await client.post(
                "/api/v1/drivers/1/provider-methods", json=card, headers=desk
            )
            assert answer.status_code == 422 and "4242" not in answer.text
            card["method_reference"] = "pm_good"
            answer = await client.post(
                "/api/v1/drivers/1/provider-methods", json=card, headers=desk
            )
            assert answer.status_code == 201, answer.text
            others = await client.post("/api/v1/me/invoices/2/card-payment", headers=hers)
            assert others.status_code == 404
            for _ in range(2):
                paid = await client.post("/api/v1/me/invoices/1/card-payment", headers=hers)
                assert paid.json()["status"] == "captured", paid.text
            assert len(peer.intents) == 1
            (mine,) = (await client.get("/api/v1/me/card-payments", headers=hers)).json()["items"]
            assert (mine["invoice_id"], mine["captured_cents"]) == (1, 1_200)
            back = {"amount_cents": 200, "kept_cents": 1_200}
            peer.faults.extend(["lost_before", "lost_before"])
            silent = await client.post("/api/v1/card-payments/1/refund", json=back, headers=desk)
            assert silent.status_code == 503 and "try again" in silent.json()["detail"]
            for _ in range(2):
                given = await client.post("/api/v1/card-payments/1/refund", json=back, headers=desk)
                assert (given.json()["status"], given.json()["booked_cents"]) == (
                    "partly_refunded",
                    1_000,
                ), given.text
            report = {"reference": "po_1", "gross_cents": 1_000, "fee_cents": 20}
            booked = await client.post("/api/v1/provider-settlements", json=report, headers=desk)
            assert booked.json() == {"line_id": None}
            (listed,) = (await client.get("/api/v1/card-payments", headers=desk)).json()["items"]
            assert listed["booked_cents"] == 1_000
            gone = await client.delete("/api/v1/drivers/1/provider-methods", headers=desk)
            assert gone.status_code == 204
    async with pool.connection() as connection:
        balances = Counter(await books.balances(connection))
        assert ledger.faults(balances) == []
        assert balances["psp:clearing"] == 0


def calling(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
