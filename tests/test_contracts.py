"""Contracts in the database: what they open and close, for orders, badges and stations' lists."""

import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from csms import agreed, clients, contracts, keys, services
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, acting, connect
from csms.domain.services import LABELS, Option
from csms.domain.siren import siren_is_valid
from csms.registry import AlreadyThere, Conflict, NotThere, Refusal
from csms.store import audit, lookup
from csms.store import clients as client_store
from csms.store import contracts as store
from csms.store import services as service_store
from csms.wire import badges, orders

NOW = datetime(2026, 9, 15, 10, tzinfo=UTC)
TODAY = date(2026, 9, 15)
DESK, CHIEF = Actor("key desk"), Actor("key chief")
IBAN = "FR14 2004 1010 0505 0001 3M02 606"


@pytest.fixture
async def connection(pool: AsyncConnectionPool) -> AsyncIterator[AsyncConnection]:
    async with pool.connection() as connection:
        yield connection


@pytest.fixture
async def client_id(connection: AsyncConnection) -> int:
    """A professional client with a site, a station and a badge."""
    values = {"client_class": "professionnel", "siren": "732829320"}
    made = await clients.create(connection, "Parking Exemple", values, DESK, NOW)
    await connection.execute("INSERT INTO site (id, client_id) VALUES ('garage', %s)", (made,))
    await connection.execute(
        """
        INSERT INTO station (id, client_id, site_id, protocol)
        VALUES ('CP-1', %s, 'garage', 'ocpp1.6')
        """,
        (made,),
    )
    await connection.execute("INSERT INTO token (uid_key, uid) VALUES ('aa', 'AA')")
    return made


async def make(connection: AsyncConnection, client_id: int, **fields: Any) -> int:
    """A contract of three years that began in May."""
    plain: dict[str, Any] = {
        "devis_reference": "D-1",
        "starts_on": date(2026, 5, 25),
        "signed_on": date(2026, 5, 4),
        "term_months": None,
        "mandate_from_on": None,
        "options": [],
        "actor": DESK,
        "now": NOW,
    }
    return await contracts.create(connection, client_id, **(plain | fields))


async def is_open(connection: AsyncConnection, client_id: int, option: str, now: datetime) -> str:
    """`open`, or the reason."""
    service = await services.service_open(connection, client_id, option, now)
    together = await services.all_services(connection, client_id, now)
    assert together[Option(option)] == service and set(together) == set(Option)
    assert service.open == (service.reason is None)
    assert bool(service.text()) == bool(service.text("en")) == (not service.open)
    return service.reason or "open"


async def suspended(connection: AsyncConnection, contract_id: int) -> None:
    """Suspend the contract from today on."""
    begins = await contracts.suspend(
        connection,
        contract_id,
        received_on=TODAY - timedelta(days=30),
        reason="unpaid",
        from_on=None,
        actor=DESK,
        now=NOW,
    )
    assert begins == TODAY


async def test_without_a_contract_everything_is_open(
    connection: AsyncConnection, client_id: int
) -> None:
    cursor = await connection.execute("SELECT operator_client_id()")
    row = await cursor.fetchone()
    assert row is not None
    for asked in (client_id, row[0]):
        found = {await is_open(connection, asked, option, NOW) for option in Option}
        assert found == {"open"}
    await make(connection, client_id, signed_on=None)  # a draft opens and closes nothing
    assert await is_open(connection, client_id, "reservations", NOW) == "open"
    assert await is_open(connection, 99_999, "reservations", NOW) == "not_subscribed"
    with pytest.raises(ValueError, match="nonsense"):
        await services.service_open(connection, client_id, "nonsense", NOW)


async def test_each_option_opens_its_own_service_and_no_other(
    connection: AsyncConnection, client_id: int
) -> None:
    contract_id = await make(connection, client_id)
    for option in Option:
        await agreed.subscribe(connection, contract_id, option, TODAY, None, DESK, NOW)
        opened = {o for o in Option if await is_open(connection, client_id, o, NOW) == "open"}
        assert opened == {option} - {Option.MANDATE}
        await agreed.unsubscribe(connection, contract_id, option, TODAY, DESK, NOW)
    assert set(LABELS) == set(Option)


async def test_options_hold_from_day_to_day(connection: AsyncConnection, client_id: int) -> None:
    contract_id = await make(connection, client_id, options=["gireve"])
    assert await is_open(connection, client_id, "gireve", NOW) == "open"
    await agreed.unsubscribe(
        connection, contract_id, "gireve", TODAY + timedelta(days=2), DESK, NOW
    )
    # Paris is two hours ahead: at 22:00 of the 16th in UTC the 17th has begun there.
    last = datetime(2026, 9, 16, 21, 59, tzinfo=UTC)
    assert await is_open(connection, client_id, "gireve", last) == "open"
    after = last + timedelta(minutes=1)
    assert await is_open(connection, client_id, "gireve", after) == "not_subscribed"
    with pytest.raises(Conflict):
        await agreed.subscribe(connection, contract_id, "gireve", TODAY, None, DESK, NOW)
    with pytest.raises(Refusal, match="no option"):
        await agreed.subscribe(connection, contract_id, "nonsense", TODAY, None, DESK, NOW)
    with pytest.raises(NotThere):
        await agreed.unsubscribe(connection, contract_id, "tariffs", TODAY, DESK, NOW)


async def test_the_mandate_has_dates_of_its_own(
    connection: AsyncConnection, client_id: int
) -> None:
    contract_id = await make(connection, client_id, options=["mandate"])
    assert await is_open(connection, client_id, "mandate", NOW) == "no_mandate"
    await contracts.change(connection, contract_id, {"mandate_from_on": TODAY}, DESK, NOW)
    assert await is_open(connection, client_id, "mandate", NOW) == "open"
    with pytest.raises(Conflict):
        await contracts.change(
            connection, contract_id, {"mandate_from_on": date(2026, 6, 1)}, DESK, NOW
        )
    with pytest.raises(Refusal):
        await contracts.revoke_mandate(
            connection, contract_id, TODAY - timedelta(days=1), DESK, NOW
        )
    await contracts.revoke_mandate(connection, contract_id, TODAY + timedelta(days=1), DESK, NOW)
    tomorrow = NOW + timedelta(days=1)
    assert await is_open(connection, client_id, "mandate", NOW) == "open"
    assert await is_open(connection, client_id, "mandate", tomorrow) == "no_mandate"
    with pytest.raises(Conflict):
        await contracts.revoke_mandate(connection, contract_id, TODAY, DESK, NOW)


async def test_a_suspension_waits_for_its_seven_days_and_closes_every_service(
    connection: AsyncConnection, client_id: int
) -> None:
    contract_id = await make(connection, client_id, options=["driver_app"])
    with pytest.raises(Refusal, match="2026-09-23"):
        await contracts.suspend(
            connection,
            contract_id,
            received_on=TODAY,
            reason="unpaid",
            from_on=date(2026, 9, 22),
            actor=DESK,
            now=NOW,
        )
    begins = await contracts.suspend(
        connection,
        contract_id,
        received_on=TODAY,
        reason="unpaid",
        from_on=None,
        actor=DESK,
        now=NOW,
    )
    assert begins == date(2026, 9, 23)
    at = datetime(2026, 9, 22, 22, tzinfo=UTC)  # midnight in Paris
    before = at - timedelta(seconds=1)
    assert await is_open(connection, client_id, "driver_app", before) == "open"
    assert await is_open(connection, client_id, "driver_app", at) == "suspended"
    assert (await services.charging_open(connection, client_id, before)).open
    assert "suspendu" in (await services.charging_open(connection, client_id, at)).text()
    with pytest.raises(Conflict):
        await suspended(connection, contract_id)
    await contracts.resume(connection, contract_id, DESK, NOW)  # before it has begun
    assert await is_open(connection, client_id, "driver_app", at) == "open"
    with pytest.raises(Conflict):
        await contracts.resume(connection, contract_id, DESK, NOW)


async def test_a_suspension_ends_with_the_day_on_which_it_is_lifted(
    connection: AsyncConnection, client_id: int
) -> None:
    contract_id = await make(connection, client_id, options=["driver_app"])
    await suspended(connection, contract_id)
    assert await is_open(connection, client_id, "driver_app", NOW) == "suspended"
    later = NOW + timedelta(days=5)
    assert contracts.state_on(await contracts.get(connection, contract_id), TODAY) == "suspended"
    await contracts.resume(connection, contract_id, DESK, later)
    assert await is_open(connection, client_id, "driver_app", later) == "open"
    assert await is_open(connection, client_id, "driver_app", NOW) == "suspended"  # as it was


async def test_a_suspension_ends_with_its_contract_and_spares_the_next(
    connection: AsyncConnection, client_id: int
) -> None:
    contract_id = await make(connection, client_id, options=["driver_app"])
    await suspended(connection, contract_id)
    await contracts.end_by_operator(
        connection, contract_id, received_on=TODAY, ends_on=None, actor=DESK, now=NOW
    )
    following = date(2026, 11, 1)
    await make(
        connection,
        client_id,
        devis_reference="D-2",
        starts_on=following,
        options=["driver_app"],
    )
    moments = {
        "suspended": datetime(2026, 10, 15, 12, tzinfo=UTC),
        "ended": datetime(2026, 10, 16, 12, tzinfo=UTC),
        "open": datetime(2026, 11, 1, 12, tzinfo=UTC),
    }
    for reason, moment in moments.items():
        assert await is_open(connection, client_id, "driver_app", moment) == reason
        charging = await services.charging_open(connection, client_id, moment)
        assert (charging.reason or "open") == reason


async def test_the_clients_notice_ends_the_contract_at_its_term(
    connection: AsyncConnection, client_id: int
) -> None:
    contract_id = await make(connection, client_id, options=["driver_app"])
    await agreed.add_terms(
        connection,
        contract_id,
        from_on=date(2026, 5, 25),
        to_on=None,
        commission_rate=Decimal("0.05"),
        monthly_management_fee_cents=2_500,
        yearly_subscription_cents=120_000,
        monthly_telemetering_cents=0,
        energy_price_eur_per_kwh=Decimal("0.2016"),
        actor=DESK,
        now=NOW,
    )
    due = await contracts.end_by_client(
        connection, contract_id, notified_on=TODAY, leaves_on=None, actor=DESK, now=NOW
    )
    assert (due.why, due.total_cents) == ("in_time", 0)
    contract = await contracts.get(connection, contract_id)
    assert contract.ends_on == date(2029, 5, 24)
    due = await contracts.end_by_client(
        connection, contract_id, notified_on=TODAY, leaves_on=date(2027, 5, 24), actor=DESK, now=NOW
    )
    # Subscriptions of May 2027 and 2028; fees of the 24 months from 25 May 2027 on.
    assert due.total_cents == 2 * 120_000 + 24 * 2_500
    over = datetime(2027, 5, 24, 22, tzinfo=UTC)
    almost = over - timedelta(seconds=1)
    assert await is_open(connection, client_id, "driver_app", almost) == "open"
    assert await is_open(connection, client_id, "driver_app", over) == "ended"
    with pytest.raises(Conflict, match="2027-05-24"):
        await contracts.end_by_client(
            connection, contract_id, notified_on=TODAY, leaves_on=None, actor=DESK, now=NOW
        )
    await contracts.withdraw_notice(connection, contract_id, DESK, NOW)
    assert await is_open(connection, client_id, "driver_app", over) == "open"
    with pytest.raises(Conflict, match="active"):
        await contracts.withdraw_notice(connection, contract_id, DESK, NOW)


async def test_the_operator_ends_a_contract_one_month_after_receipt(
    connection: AsyncConnection, client_id: int
) -> None:
    contract_id = await make(connection, client_id)
    with pytest.raises(Refusal, match="2026-10-15"):
        await contracts.end_by_operator(
            connection,
            contract_id,
            received_on=TODAY,
            ends_on=date(2026, 10, 14),
            actor=DESK,
            now=NOW,
        )
    last = await contracts.end_by_operator(
        connection, contract_id, received_on=TODAY, ends_on=None, actor=DESK, now=NOW
    )
    assert last == date(2026, 10, 15)


async def test_a_client_is_closed_with_its_last_contract_and_opened_by_the_next(
    connection: AsyncConnection, people: AsyncConnectionPool, client_id: int
) -> None:
    contract_id = await make(connection, client_id)
    await connection.execute(
        """
        WITH made AS (INSERT INTO person (email) VALUES ('gestion@example.org') RETURNING id)
        INSERT INTO client_manager (person_id, client_id, granted_by, from_at)
        SELECT id, %s, 'test', '2026-01-01' FROM made
        """,
        (client_id,),
    )

    async def seen(statement: str) -> list[Any]:
        cursor = await connection.execute("SELECT max(id) FROM person")
        row = await cursor.fetchone()
        assert row is not None
        async with acting(people, person_id=row[0]) as reading:
            rows = await reading.execute(statement.encode())
            return [each[0] for each in await rows.fetchall()]

    await contracts.end_by_operator(
        connection,
        contract_id,
        received_on=date(2026, 8, 1),
        ends_on=None,
        actor=DESK,
        now=NOW,
    )
    with pytest.raises(Conflict, match="notice given"):
        await contracts.close(connection, contract_id, DESK, NOW)
    tomorrow = NOW + timedelta(days=1)
    assert await seen("SELECT id FROM station") == ["CP-1"]
    await contracts.close(connection, contract_id, DESK, tomorrow)
    client = await client_store.get_client(connection, client_id)
    assert client is not None
    assert client.closed_at == tomorrow
    assert await seen("SELECT id FROM station") == []
    assert await seen("SELECT id FROM site") == ["garage"]
    assert await seen("SELECT devis_reference FROM contract") == ["D-1"]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await seen("SELECT iban FROM client_iban")
    assert await is_open(connection, client_id, "driver_app", tomorrow) == "ended"

    following = date(2026, 10, 1)
    await make(
        connection,
        client_id,
        devis_reference="D-2",
        starts_on=following,
        options=["driver_app"],
    )
    client = await client_store.get_client(connection, client_id)
    assert client is not None
    assert client.closed_at is None
    closures = (await service_store.fetch_closures(connection, [client_id]))[client_id]
    assert [(c.reason, c.to_at) for c in closures] == [
        ("ended", datetime(2026, 9, 30, 22, tzinfo=UTC))
    ]
    begins = datetime(2026, 9, 30, 22, tzinfo=UTC)
    assert await is_open(connection, client_id, "driver_app", begins) == "open"


async def test_one_contract_at_a_time_governs_a_client(
    connection: AsyncConnection, client_id: int
) -> None:
    await make(connection, client_id)
    with pytest.raises(AlreadyThere):
        await make(connection, client_id)
    with pytest.raises(Conflict):
        await make(connection, client_id, devis_reference="D-2", starts_on=date(2030, 1, 1))
    draft = await make(connection, client_id, devis_reference="D-3", signed_on=None)
    with pytest.raises(Conflict):
        await contracts.change(connection, draft, {"signed_on": TODAY}, DESK, NOW)
    with pytest.raises(AlreadyThere):
        await contracts.change(connection, draft, {"devis_reference": "D-1"}, DESK, NOW)
    await contracts.close(connection, draft, DESK, NOW)
    assert contracts.state_on(await contracts.get(connection, draft), TODAY) == "closed"


async def test_a_contract_is_made_of_what_its_client_is(
    connection: AsyncConnection, client_id: int
) -> None:
    contract = await contracts.get(connection, await make(connection, client_id))
    assert (contract.client_class, contract.term_months) == ("professionnel", 36)
    syndic = await clients.create(
        connection, "Résidence Exemple", {"client_class": "non_professionnel"}, DESK, NOW
    )
    with pytest.raises(Refusal, match="Devis"):
        await make(connection, syndic, devis_reference="D-2")
    nobody = await clients.create(connection, "Inconnu", {}, DESK, NOW)
    with pytest.raises(Refusal, match="class"):
        await make(connection, nobody, devis_reference="D-3")
    with pytest.raises(Refusal, match="to come"):
        await make(connection, client_id, devis_reference="D-4", signed_on=date(2026, 9, 16))
    with pytest.raises(Conflict, match="begun"):
        await contracts.change(connection, contract.id, {"term_months": 12}, DESK, NOW)


async def test_terms_follow_one_another(connection: AsyncConnection, client_id: int) -> None:
    contract_id = await make(connection, client_id)

    async def agree(from_on: date, cents: int) -> None:
        await agreed.add_terms(
            connection,
            contract_id,
            from_on=from_on,
            to_on=None,
            commission_rate=Decimal("0.1"),
            monthly_management_fee_cents=cents,
            yearly_subscription_cents=0,
            monthly_telemetering_cents=0,
            energy_price_eur_per_kwh=None,
            actor=DESK,
            now=NOW,
        )

    await agree(date(2026, 5, 25), 100)
    await agree(date(2027, 1, 1), 200)
    with pytest.raises(Conflict):
        await agree(date(2026, 8, 1), 300)
    found = await store.list_terms(connection, contract_id)
    assert [(t.from_on, t.to_on, t.monthly_management_fee_cents) for t in found] == [
        (date(2026, 5, 25), date(2027, 1, 1), 100),
        (date(2027, 1, 1), None, 200),
    ]


async def test_the_calendar_of_all_contracts(connection: AsyncConnection, client_id: int) -> None:
    await make(connection, client_id)
    other = await clients.create(
        connection, "Résidence Exemple", {"client_class": "particulier"}, DESK, NOW
    )
    await make(connection, other, devis_reference="D-2", starts_on=date(2026, 6, 1))
    found = await contracts.calendar(connection, date(2026, 12, 1), date(2027, 6, 1))
    assert [
        (str(each.milestone.on), each.contract.client, each.milestone.kind) for each in found
    ] == [
        ("2026-12-01", "Résidence Exemple", "letter_from"),
        ("2027-02-01", "Résidence Exemple", "letter_until"),
        ("2027-03-01", "Résidence Exemple", "notice_deadline"),
        ("2027-06-01", "Résidence Exemple", "renewal"),
    ]


# --- Effects -----------------------------------------------------------------------------------


async def test_orders_of_people_are_refused_where_the_contract_closes_them(
    connection: AsyncConnection, settings: Settings, client_id: int
) -> None:
    async def place(action: str, payload: dict[str, Any], origin: str = "operator") -> int:
        return await orders.place(
            connection,
            "CP-1",
            action,
            payload,
            origin=origin,
            now=NOW,
            expires_in_s=60,
            settings=settings,
        )

    diagnostics = {"location": "ftp://192.0.2.1/"}
    start = {"idTag": "AA", "connectorId": 1}
    await place("GetDiagnostics", diagnostics)
    contract_id = await make(connection, client_id)
    with pytest.raises(Conflict, match="Remote maintenance"):
        await place("GetDiagnostics", diagnostics)
    await place("GetDiagnostics", diagnostics, "us:maintenance")
    await place("RemoteStartTransaction", start)
    await agreed.subscribe(connection, contract_id, "remote_maintenance", TODAY, None, DESK, NOW)
    await place("GetDiagnostics", diagnostics)
    await suspended(connection, contract_id)
    with pytest.raises(Conflict, match="suspended"):
        await place("RemoteStartTransaction", start)
    await place("RemoteStopTransaction", {"transactionId": 1})
    await place("Reset", {"type": "Soft"})


async def test_lists_of_stations_know_no_badge_that_may_charge_while_their_client_is_closed(
    connection: AsyncConnection, settings: Settings, client_id: int
) -> None:
    await connection.execute(
        """
        INSERT INTO station_connection (station_key, node, generation, protocol, remote_address,
                                        connected_at, last_seen_at)
        SELECT station_key, 'node-1', 1, 'ocpp1.6', '', %(now)s, %(now)s FROM station
        """,
        {"now": NOW},
    )

    async def told(now: datetime, response: str) -> Any:
        """The order that a pass places, which is answered at once; None: it places none."""
        await badges.keep_in_step(connection, settings, now)
        cursor = await connection.execute(
            """
            UPDATE command SET status = 'accepted', response = %s, finished_at = %s
             WHERE status = 'queued' RETURNING payload
            """,
            (response, now),
        )
        row = await cursor.fetchone()
        return None if row is None else orders.plain_json(row[0])

    contract_id = await make(connection, client_id)
    await told(NOW, '{"listVersion": 0}')
    first = await told(NOW, '{"status": "Accepted"}')
    assert first["localAuthorizationList"] == [{"idTag": "AA", "idTagInfo": {"status": "Accepted"}}]
    assert await told(NOW, "{}") is None
    await suspended(connection, contract_id)
    later = NOW + timedelta(minutes=5)
    then = await told(later, '{"status": "Accepted"}')
    assert then["localAuthorizationList"] == [{"idTag": "AA", "idTagInfo": {"status": "Blocked"}}]
    assert await told(later, "{}") is None
    await contracts.resume(connection, contract_id, DESK, later)
    again = await told(later, '{"status": "Accepted"}')
    assert again["localAuthorizationList"] == [{"idTag": "AA", "idTagInfo": {"status": "Accepted"}}]


async def test_looking_up_badges_costs_no_query_per_station(
    connection: AsyncConnection, client_id: int
) -> None:
    contract_id = await make(connection, client_id)
    await suspended(connection, contract_id)
    (row,) = await lookup.fetch_stations(connection, ["CP-1"])
    closures = await service_store.fetch_closures(connection, [row.client_id, 1])
    assert {client: [c.reason for c in found] for client, found in closures.items()} == {
        client_id: ["suspended"]
    }


# --- Clients -----------------------------------------------------------------------------------


async def test_an_account_counts_once_another_has_approved_it(
    connection: AsyncConnection, client_id: int
) -> None:
    first = await clients.enter_iban(
        connection, client_id, iban=IBAN, holder="Exemple", actor=DESK, now=NOW
    )
    assert await client_store.fetch_current_iban(connection, client_id) is None
    with pytest.raises(Conflict, match="Another"):
        await clients.decide_iban(
            connection, client_id, first.id, approved=True, actor=DESK, now=NOW
        )
    await clients.decide_iban(connection, client_id, first.id, approved=True, actor=CHIEF, now=NOW)
    current = await client_store.fetch_current_iban(connection, client_id)
    assert current is not None
    assert current.iban == "FR1420041010050500013M02606"
    second = await clients.enter_iban(
        connection,
        client_id,
        iban="DE89370400440532013000",
        holder="Exemple",
        actor=CHIEF,
        now=NOW,
    )
    current = await client_store.fetch_current_iban(connection, client_id)
    assert current is not None
    assert current.id == first.id
    await clients.decide_iban(connection, client_id, second.id, approved=True, actor=DESK, now=NOW)
    found = await client_store.list_ibans(connection, client_id)
    assert [(i.id, i.approved, i.replaced_at is None) for i in found] == [
        (second.id, True, True),
        (first.id, True, False),
    ]
    with pytest.raises(Conflict, match="before"):
        await clients.decide_iban(
            connection, client_id, first.id, approved=True, actor=CHIEF, now=NOW
        )


async def test_nobody_approves_an_account_of_his_own_by_a_key(
    connection: AsyncConnection, client_id: int
) -> None:
    admin = Actor("person 7", 7)
    for name, maker in (("one", admin.name), ("two", admin.name), ("three", "key two")):
        await keys.create(connection, name=name, role="operator", expires_at=None, created_by=maker)
    one, two, three = Actor("key one"), Actor("key two"), Actor("key three")
    for enters, approves in ((admin, one), (one, admin), (one, two), (three, one), (admin, three)):
        made = await clients.enter_iban(
            connection, client_id, iban=IBAN, holder="Exemple", actor=enters, now=NOW
        )
        with pytest.raises(Conflict, match="Another"):
            await clients.decide_iban(
                connection, client_id, made.id, approved=True, actor=approves, now=NOW
            )
    other = Actor("person 8", 8)
    await clients.decide_iban(connection, client_id, made.id, approved=True, actor=other, now=NOW)


async def test_the_database_refuses_an_account_approved_by_who_entered_it(
    connection: AsyncConnection, client_id: int
) -> None:
    made = await clients.enter_iban(
        connection, client_id, iban=IBAN, holder="Exemple", actor=DESK, now=NOW
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        await client_store.decide_iban(connection, made.id, approved=True, by=DESK.name, now=NOW)
    await clients.decide_iban(connection, client_id, made.id, approved=False, actor=DESK, now=NOW)


@pytest.mark.parametrize(
    "iban",
    [
        "",
        "FR14",
        "FR1420041010050500013M02607",
        "FR7630006000011234567890188",
        "BR1800360305000010009795493C1",
    ],
)
def test_what_is_no_account_of_the_sepa_area_is_refused(iban: str) -> None:
    with pytest.raises(Refusal):
        clients.checked_iban(iban)


@given(st.text(max_size=40) | st.from_regex(r"[A-Z]{2}[0-9]{2}[A-Z0-9 ]{0,30}", fullmatch=True))
def test_whatever_is_entered_as_an_account_is_one_or_is_refused(text: str) -> None:
    with contextlib.suppress(Refusal):
        assert re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", clients.checked_iban(text))


@pytest.mark.parametrize(
    ("siren", "valid"),
    [
        ("732829320", True),
        ("100000009", True),
        ("732829321", False),
        ("73282932", False),
        ("7328293200", False),
        ("٧٣٢٨٢٩٣٢٠", False),
    ],
)
def test_a_siren_checks_itself(siren: str, valid: bool) -> None:
    assert siren_is_valid(siren) is valid


def test_an_account_is_shown_masked() -> None:
    assert clients.masked("FR1420041010050500013M02606") == "FR14•••••••••••••••••••2606"


@pytest.mark.parametrize(
    ("status", "number", "word"),
    [
        ("membre_assujetti_unique", None, "single taxable person"),
        ("redevable", None, "has a VAT number"),
        ("redevable", "FR45732829320", "wrong digit"),
        ("redevable", "FR44732829321", "wrong digit"),
        ("redevable", "FR88100000009", "SIREN 732829320"),
        ("redevable", "44732829320", "country"),
        ("non_assujetti", "FR44732829320", "no VAT number"),
        ("nonsense", None, "none of"),
    ],
)
async def test_a_vat_status_that_cannot_be_is_refused(
    connection: AsyncConnection, client_id: int, status: str, number: str | None, word: str
) -> None:
    with pytest.raises(Refusal, match=word):
        await clients.add_vat(
            connection,
            client_id,
            status=status,
            vat_number=number,
            from_on=TODAY,
            to_on=None,
            actor=DESK,
            now=NOW,
        )


async def test_a_vat_status_holds_until_the_next(
    connection: AsyncConnection, client_id: int
) -> None:
    async def declare(status: str, number: str | None, from_on: date) -> None:
        await clients.add_vat(
            connection,
            client_id,
            status=status,
            vat_number=number,
            from_on=from_on,
            to_on=None,
            actor=DESK,
            now=NOW,
        )

    await declare("franchise", None, date(2026, 1, 1))
    await declare("redevable", "FR 44 732 829 320", date(2026, 7, 1))
    with pytest.raises(Conflict):
        await declare("franchise", None, date(2026, 3, 1))
    found = await client_store.list_vat(connection, client_id)
    assert [(v.status, v.vat_number, v.from_on, v.to_on) for v in found] == [
        ("franchise", None, date(2026, 1, 1), date(2026, 7, 1)),
        ("redevable", "FR44732829320", date(2026, 7, 1), None),
    ]


async def test_everything_that_is_done_is_in_the_audit_without_names(
    connection: AsyncConnection, client_id: int
) -> None:
    await clients.add_contact(
        connection,
        client_id,
        name="Camille Exemple",
        email="camille@example.org",
        phone=None,
        purposes=["statements"],
        actor=DESK,
        now=NOW,
    )
    await clients.enter_iban(
        connection, client_id, iban=IBAN, holder="Camille Exemple", actor=CHIEF, now=NOW
    )
    await make(connection, client_id)
    found = await audit.list_entries(
        connection,
        client_id=client_id,
        person_id=None,
        action=None,
        from_at=None,
        to_at=None,
        limit=10,
        cursor=None,
    )
    assert [(entry.action, entry.actor) for entry in found] == [
        ("contract.created", "key desk"),
        ("iban.entered", "key chief"),
        ("contact.added", "key desk"),
        ("client.created", "key desk"),
    ]
    told = str([entry.detail for entry in found])
    assert "Camille" not in told
    assert "camille" not in told
    assert "0505" not in told


async def test_the_database_refuses_periods_that_overlap(database: Database) -> None:
    async with await connect(database) as connection:
        made = await clients.create(
            connection, "Exemple", {"client_class": "particulier"}, DESK, NOW
        )
        contract_id = await make(connection, made, options=["gireve"])
        for statement in (
            """INSERT INTO contract (client_id, client_class, devis_reference, signed_on, starts_on,
                                     term_months)
               VALUES (%s, 'particulier', 'D-9', '2026-01-01', '2027-01-01', 24)""",
            """INSERT INTO contract_option (client_id, contract_id, option, from_on)
               SELECT %s, id, 'gireve', '2030-01-01' FROM contract""",
        ):
            with pytest.raises(psycopg.errors.ExclusionViolation):
                await connection.execute(statement, (made,))
        assert contract_id
