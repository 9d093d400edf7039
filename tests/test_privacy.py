"""Personal data: requests and their days, accounts that end, erasure that keeps the books whole."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import checks, closing, metrics, privacy, retention
from csms.closing import By
from csms.config import Settings
from csms.db import Database, connect, transaction
from csms.domain import data_request
from csms.domain.data_request import Act, Kind, State
from csms.privacy import books_until
from csms.processing import register
from csms.registry import AlreadyThere, NotThere, Refusal
from csms.store import drivers, erasure, people
from csms.store import privacy as store
from csms.store import retention as periods
from reporting import collection
from reporting.collection import Month

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ADMIN = By("key desk", None, "192.0.2.1")
SETTINGS = Settings(secret_key="x" * 64)
MARK = "marque"  # in everything personal of person 1; nothing else holds it

# Person 1 has all that a person can have, person 2 an account and nothing more. Both charged at
# CP-1 in October 2026, each with a badge of his own.
WORLD = """
INSERT INTO client (name) VALUES ('Résidence Exemple');
INSERT INTO site (id, client_id, name) VALUES ('garage', 2, 'Garage');
INSERT INTO station (id, client_id, site_id) VALUES ('CP-1', 2, 'garage');
INSERT INTO evse (station_key, evse_id) VALUES (1, 1);
INSERT INTO person (email, given_name, family_name, phone, password_hash, totp_secret,
                    recovery_sha256, operator_roles)
    VALUES ('marque@example.org', 'Marque', 'De Marque', '+33 marque', 'marque', 'marque',
            '{marque}', '{read}'),
           ('other@example.org', 'Other', 'Person', NULL, 'hash', NULL, '{}', '{}'),
           ('third@example.org', 'Never', 'Charged', NULL, 'hash', NULL, '{}', '{}');
INSERT INTO client_manager (person_id, client_id, from_at, granted_by)
    VALUES (1, 2, '2026-01-01', 'test');
INSERT INTO login_session (person_id, kind, secret_sha256, secret_expires_at, created_at,
                           last_used_at, remote_address, user_agent)
    SELECT id, 'page', ('s' || id)::bytea, '2027-01-01', '2026-11-01', '2026-11-20',
           CASE id WHEN 1 THEN 'marque' ELSE '192.0.2.2' END,
           CASE id WHEN 1 THEN 'marque' ELSE '' END
      FROM person;
INSERT INTO one_time_link (person_id, purpose, token_sha256, email, created_at, expires_at)
    VALUES (1, 'email', 'marque', 'marque@example.org', '2026-11-24', '2026-12-01');
INSERT INTO trusted_device VALUES (1, 'marque', '2026-11-01', '2027-11-01');
INSERT INTO driver (person_id, billing_name, company, siren, vat_number, street, postal_code, city)
    VALUES (1, 'De Marque SARL', 'Marque', '123456789', 'FR00marque', '1 rue Marque', '75000',
            'Marque'), (2, '', NULL, NULL, NULL, '', '', ''), (3, '', NULL, NULL, NULL, '', '', '');
INSERT INTO payment_means (person_id, kind, reference, label, from_at)
    VALUES (1, 'sepa_mandate', 'RUM-marque', 'compte marque', '2026-01-01');
INSERT INTO driver_group (client_id, name, kind) VALUES (2, 'Residents', 'residents');
INSERT INTO group_member (group_id, person_id, from_at)
    VALUES (1, 1, '2026-01-01'), (1, 2, '2026-01-01');
INSERT INTO token (uid_key, uid) VALUES ('aa', 'AA'), ('bb', 'BB');
INSERT INTO driver_badge (token_key, uid_key, person_id, label, from_at)
    VALUES (1, 'aa', 1, 'ma marque', '2026-01-01'), (2, 'bb', 2, '', '2026-01-01');
INSERT INTO badge_order (person_id, ordered_at, ordered_by) VALUES (1, '2026-11-20', 'person 1');
INSERT INTO notification (event, at, person_id, subject, data, secret)
    VALUES ('account.new_device', '2026-11-01', 1, 'log-in 1', '{"device": "marque"}', NULL),
           ('account.email_change', '2026-11-24', 1, '', '{}', 'marque');
INSERT INTO notification_delivery (notification_id, client_id, channel, person_id, status, reply,
                                   created_at, next_at, give_up_at, finished_at, address_masked,
                                   address_digest)
    VALUES (1, 1, 'email', 1, 'sent', '250 marque', '2026-11-01', '2026-11-01', '2026-11-02',
            '2026-11-01', 'marque', 'marque'),
           (2, 1, 'email', 1, 'waiting', '450 marque', '2026-11-24', '2026-11-24', '2026-11-25',
            NULL, 'marque', 'marque');
INSERT INTO consent (person_id, purpose, text_version, how, given_at)
    VALUES (1, 'prospecting', '2026-11', 'page', '2026-11-01');
INSERT INTO reservation (person_id, client_id, station_key, evse_id, uid_key, from_at, to_at,
                         lapses_at, created_at, created_by)
    VALUES (1, 2, 1, 1, 'aa', '2026-11-25 13:00Z', '2026-11-25 14:00Z', '2026-11-25 13:30Z',
            '2026-11-25 11:00Z', 'person 1');
INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id, token_uid,
                     evse_id, connector_id, authorization_status, state, started_at, ended_at,
                     meter_start_wh, meter_stop_wh, energy_wh, last_register_wh, segment_start_wh)
    SELECT n, 2, 'garage', 1, '1|aa|' || n, n::text, CASE n % 2 WHEN 1 THEN 'AA' ELSE 'bb' END,
           1, 1, 'Accepted', 'ended', '2026-10-01 08:00Z'::timestamptz + n * interval '1 day',
           '2026-10-01 09:00Z'::timestamptz + n * interval '1 day', 0, 5000, 5000, 5000, 0
      FROM generate_series(1, 6) n;
INSERT INTO session_event (session_id, received_at, kind, frame, note)
    SELECT id, ended_at, 'ended', '[2,"1","StopTransaction",{"idTag":"AA"}]', 'seen' FROM session;
"""


ANSWERED = """
INSERT INTO data_request (person_id, kind, state, received_at, received_by, requester, message,
                          due_on, extended_at, extension_reason, finished_at, finished_by, outcome)
    VALUES (1, 'access', 'done', '2026-10-02', 'key desk', 'De Marque', 'marque', '2026-12-02',
            '2026-10-20', 'marque moves house', '2026-11-20', 'key desk', 'told to marque');
"""


@pytest.fixture(autouse=True)
async def world(database: Database) -> None:
    async with await connect(database, owner=True) as owner:
        await owner.execute(WORLD.encode())


async def execute(database: Database, script: str) -> None:
    async with await connect(database, owner=True) as owner:
        await owner.execute(script.encode())


async def rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    async with await connect(database, owner=True) as owner:
        return await (await owner.execute(statement.encode())).fetchall()


async def where_is(database: Database, text: str) -> set[str]:
    """The tables with a row that holds the text, bytes included."""
    found = set()
    hexed = text.encode().hex()
    async with await connect(database, owner=True) as owner:
        names = await (
            await owner.execute(
                """SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
                    AND relkind IN ('r', 'p') AND NOT relispartition"""
            )
        ).fetchall()
        for (name,) in names:
            cursor = await owner.execute(f'SELECT to_jsonb(t)::text FROM "{name}" t'.encode())
            for (row,) in await cursor.fetchall():
                if text in row.lower() or hexed in row:
                    found.add(str(name))
    return found


async def erase(
    pool: AsyncConnectionPool, person_id: int = 1, now: datetime = NOW
) -> privacy.Erased:
    async with transaction(pool) as connection:
        return await privacy.erase(connection, SETTINGS, person_id, now=now, by=ADMIN)


async def october(pool: AsyncConnectionPool, folder: Path) -> bytes:
    path = folder / "october.csv"
    await collection.write(pool, Month(2026, 10), path, kind="csv")
    return path.read_bytes()


# The end of an account.


async def test_a_closed_account_has_no_way_in_and_no_right(
    pool: AsyncConnectionPool, database: Database
) -> None:
    async with transaction(pool) as connection:
        assert await closing.close_account(connection, SETTINGS, 1, now=NOW, by=ADMIN)
        assert not await privacy.may_prospect(connection, 1)
        assert not await closing.close_account(connection, SETTINGS, 1, now=NOW, by=ADMIN), "once"
    for statement in (
        "SELECT 1 FROM login_session WHERE person_id = 1 AND ended_at IS NULL",
        "SELECT 1 FROM one_time_link WHERE person_id = 1 AND used_at IS NULL",
        "SELECT 1 FROM trusted_device WHERE person_id = 1",
        "SELECT 1 FROM group_member WHERE person_id = 1 AND to_at IS NULL",
        "SELECT 1 FROM client_manager WHERE person_id = 1 AND to_at IS NULL",
        "SELECT 1 FROM payment_means WHERE person_id = 1 AND to_at IS NULL",
        "SELECT 1 FROM badge_order WHERE person_id = 1 AND cancelled_at IS NULL",
        "SELECT 1 FROM driver WHERE person_id = 1 AND closed_at IS NULL",
        "SELECT 1 FROM person WHERE id = 1 AND (closed_at IS NULL OR operator_roles <> '{}')",
        "SELECT 1 FROM consent WHERE person_id = 1 AND withdrawn_at IS NULL",
        "SELECT 1 FROM reservation WHERE person_id = 1 AND state <> 'cancelled'",
    ):
        assert await rows(database, statement) == [], statement
    assert await rows(database, "SELECT uid, status, blocked_why FROM token ORDER BY uid") == [
        ("AA", "blocked", "closed"),
        ("BB", "accepted", None),
    ]
    assert await rows(
        database, "SELECT count(*) FROM login_session WHERE ended_at IS NULL AND person_id > 1"
    ) == [(2,)]


async def test_an_erased_person_is_nowhere_but_in_the_restricted_archive(
    pool: AsyncConnectionPool, database: Database
) -> None:
    await execute(database, ANSWERED)
    held = {"person", "driver", "login_session", "payment_means", "notification", "data_request"}
    assert held <= await where_is(database, MARK)
    erased = await erase(pool)
    assert await where_is(database, MARK) == {"archived_person"}
    assert erased.kept_until == date(2036, 10, 31)
    assert "31/10/2036" in erased.told()
    assert "L.123-22" in erased.told()
    assert await erase(pool) == erased, "another time changes nothing"
    ((identity,),) = await rows(database, "SELECT identity FROM archived_person")
    assert identity["billing_name"] == "De Marque SARL"
    assert identity["payment_means"][0]["reference"] == "RUM-marque"


async def test_lists_leave_out_who_was_erased(pool: AsyncConnectionPool) -> None:
    async def listed() -> tuple[list[int], list[int]]:
        async with pool.connection() as connection:
            drives = await drivers.list_drivers(connection, NOW, limit=9)
            known = await people.list_people(
                connection, search=None, role=None, client_id=None, limit=9, cursor=None
            )
            assert len(drives) == await drivers.count_drivers(
                connection, NOW, group_id=None, client_id=None, search=None
            )
            assert len(known) == await people.count_people(
                connection, search=None, role=None, client_id=None
            )
        return [one.id for one in drives], [one.id for one in known]

    assert await listed() == ([1, 2, 3], [1, 2, 3])
    await erase(pool)
    assert await listed() == ([2, 3], [2, 3])
    async with pool.connection() as connection:
        (gone,) = await drivers.list_drivers(connection, NOW, person_id=1)
        assert (gone.email, gone.given_name, gone.closed_at) == (None, "", NOW)
        assert await people.get_person(connection, 1) is not None


async def test_who_never_charged_leaves_nothing(
    pool: AsyncConnectionPool, database: Database
) -> None:
    erased = await erase(pool, 3)
    assert erased.kept_until is None
    assert await rows(database, "SELECT * FROM archived_person") == []
    assert await where_is(database, "third@example.org") == set()


async def test_the_books_stay_whole(
    pool: AsyncConnectionPool, database: Database, tmp_path: Path
) -> None:
    before = await october(pool, tmp_path)
    assert before.count(b"AA") == 3

    async def offences() -> dict[str, int]:
        async with pool.connection() as connection:
            found = await checks.find_offences(connection, NOW)
        return {check.name: len(offending) for check, offending in found}

    proved = await offences()
    await erase(pool)
    async with pool.connection() as connection:
        await retention.apply(connection, SETTINGS, NOW)
    assert await october(pool, tmp_path) == before
    assert await offences() == proved
    assert proved["ends without evidence"] == proved["energy beyond registers"] == 0
    assert await rows(database, "SELECT count(*) FROM session_event WHERE frame IS NOT NULL") == [
        (6,)
    ]


async def test_nobody_is_erased_while_she_charges(
    pool: AsyncConnectionPool, database: Database
) -> None:
    await rows(
        database,
        """UPDATE session SET state = 'active', ended_at = NULL WHERE id = 5 RETURNING id""",
    )
    with pytest.raises(Refusal, match="under way"):
        await erase(pool)
    assert await rows(database, "SELECT closed_at, erased_at FROM person WHERE id = 1") == [
        (None, None)
    ]


async def test_a_person_who_is_not_there_is_told(pool: AsyncConnectionPool) -> None:
    with pytest.raises(NotThere):
        await erase(pool, 99)


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 10, 31, 22, 59, tzinfo=UTC), date(2036, 10, 31)),
        (datetime(2026, 10, 31, 23, 0, tzinfo=UTC), date(2036, 11, 30)),  # November in Paris
        (datetime(2028, 2, 1, tzinfo=UTC), date(2038, 2, 28)),
        (datetime(2026, 12, 31, 22, tzinfo=UTC), date(2036, 12, 31)),
    ],
)
def test_books_are_kept_ten_years_from_the_end_of_the_month(moment: datetime, day: date) -> None:
    assert books_until(moment) == day


# The restricted archive.


async def test_the_archive_opens_with_a_reason_that_goes_into_the_audit(
    pool: AsyncConnectionPool, database: Database
) -> None:
    await erase(pool)
    asked = {"reader": "key desk", "reader_person": None, "address": "192.0.2.1"}
    reason = "Contrôle fiscal de 2026"
    async with transaction(pool) as connection:
        found = await erasure.open_archive(
            connection, **asked, reason=reason, person_id=None, badge="AA"
        )
        assert [a.person_id for a in found] == [1]
        assert found[0].identity["city"] == "Marque"
        none = await erasure.open_archive(
            connection, **asked, reason=reason, person_id=2, badge=None
        )
        assert none == []
    assert await rows(
        database,
        "SELECT actor, subject, detail ->> 'reason' FROM audit_entry"
        " WHERE action = 'archive opened' ORDER BY id",
    ) == [("key desk", "badge", reason), ("key desk", "person 2", reason)]
    for bad in ("", "because", "          "):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="reason"):
            async with transaction(pool) as connection:
                await erasure.open_archive(connection, **asked, reason=bad, person_id=1, badge=None)


async def test_machines_cannot_look_into_the_archive_in_any_other_way(
    pool: AsyncConnectionPool,
) -> None:
    await erase(pool)
    for statement in (
        "SELECT * FROM archived_person",
        "UPDATE archived_person SET kept_until = '2000-01-01'",
        "DELETE FROM archived_person",
        "SELECT person_id FROM archived_person",
    ):
        async with pool.connection() as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(statement.encode())


async def test_the_archive_is_emptied_after_its_last_day_and_not_before(
    pool: AsyncConnectionPool, database: Database
) -> None:
    await erase(pool)
    async with transaction(pool) as connection:
        # However late the caller says it is, the database has its own clock.
        assert await periods.empty_archive(connection, date(2100, 1, 1)) == 0
    await rows(database, "UPDATE archived_person SET kept_until = '2020-01-31' RETURNING 1")
    async with transaction(pool) as connection:
        assert await periods.empty_archive(connection, date(2020, 1, 31)) == 0
        assert await periods.empty_archive(connection, date(2020, 2, 1)) == 1
    assert await rows(database, "SELECT 1 FROM driver_badge WHERE person_id = 1") == []
    assert await where_is(database, MARK) == set()


# Requests.


async def receive(
    pool: AsyncConnectionPool,
    kind: Kind,
    person_id: int | None = 1,
    received_at: datetime = NOW,
    requester: str = "",
) -> int:
    async with transaction(pool) as connection:
        return await privacy.receive_request(
            connection,
            kind=kind,
            person_id=person_id,
            received_at=received_at,
            requester=requester,
            now=NOW,
            by=ADMIN,
        )


async def do(
    pool: AsyncConnectionPool, request_id: int, act: Act, reason: str = "", now: datetime = NOW
) -> store.DataRequest:
    async with transaction(pool) as connection:
        return await privacy.act(
            connection, SETTINGS, request_id, act, reason=reason, now=now, by=ADMIN
        )


async def find(pool: AsyncConnectionPool, request_id: int) -> store.DataRequest:
    async with transaction(pool) as connection:
        found = await store.lock_request(connection, request_id)
    assert found is not None
    return found


def test_every_state_takes_the_acts_of_the_table_and_no_others() -> None:
    for state in State:
        for act in Act:
            assert (data_request.after(state, act) is None) == (
                state not in data_request.OPEN or (state is State.WORKING and act is Act.START)
            )
    assert "received --> working : start" in data_request.diagram()


async def test_a_request_has_a_month_and_an_account_fifteen_working_days(
    pool: AsyncConnectionPool,
) -> None:
    access = await find(pool, await receive(pool, Kind.ACCESS))
    assert (access.due_on, access.close_on) == (date(2026, 12, 25), None)
    erasing = await find(pool, await receive(pool, Kind.ERASURE))
    # Jours ouvrables from 26 November on, Sundays out: the 15th is 12 December.
    assert (erasing.due_on, erasing.close_on) == (date(2026, 12, 25), date(2026, 12, 12))
    closing = await find(pool, await receive(pool, Kind.CLOSING))
    assert closing.due_on == closing.close_on == date(2026, 12, 12)
    late = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)  # the 25th in Paris
    assert (await find(pool, await receive(pool, Kind.OBJECTION, 1, late))).due_on == date(
        2026, 12, 25
    )


async def test_a_request_is_open_once_a_kind(pool: AsyncConnectionPool) -> None:
    first = await receive(pool, Kind.ACCESS)
    with pytest.raises(AlreadyThere):
        await receive(pool, Kind.ACCESS)
    await receive(pool, Kind.ACCESS, 2)
    await do(pool, first, Act.WITHDRAW)
    await receive(pool, Kind.ACCESS)


async def test_letters_of_somebody_without_an_account_are_requests_too(
    pool: AsyncConnectionPool,
) -> None:
    request_id = await receive(pool, Kind.ACCESS, None, requester="Une personne")
    await receive(pool, Kind.ACCESS, None, requester="Une autre")
    with pytest.raises(Refusal, match="what was done"):
        await do(pool, request_id, Act.COMPLETE)
    done = await do(pool, request_id, Act.COMPLETE, "Aucune donnée.")
    assert (done.state, done.outcome) == ("done", "Aucune donnée.")
    with pytest.raises(Refusal):
        await receive(pool, Kind.ERASURE, None)
    with pytest.raises(Refusal):
        await receive(pool, Kind.CLOSING, None, requester="Une personne")


async def test_an_extension_is_told_within_the_month_and_given_once(
    pool: AsyncConnectionPool,
) -> None:
    request_id = await receive(pool, Kind.ACCESS)
    with pytest.raises(Refusal, match="why"):
        await do(pool, request_id, Act.EXTEND)
    extended = await do(pool, request_id, Act.EXTEND, "Dossier complexe", NOW + timedelta(days=30))
    assert (extended.due_on, extended.state) == (date(2027, 2, 25), "received")
    with pytest.raises(Refusal, match="already"):
        await do(pool, request_id, Act.EXTEND, "encore")
    too_late = await receive(pool, Kind.ACCESS, 2)
    with pytest.raises(Refusal, match="over"):
        await do(pool, too_late, Act.EXTEND, "oublié", NOW + timedelta(days=31))
    closing = await receive(pool, Kind.CLOSING, 2)
    with pytest.raises(Refusal, match="not put off"):
        await do(pool, closing, Act.EXTEND, "non")


async def test_to_complete_an_erasure_erases_and_says_what_is_kept(
    pool: AsyncConnectionPool, database: Database
) -> None:
    request_id = await receive(pool, Kind.ERASURE)
    assert (await do(pool, request_id, Act.START)).state == "working"
    done = await do(pool, request_id, Act.COMPLETE)
    assert done.kept_until == date(2036, 10, 31)
    assert done.closed_at == done.finished_at == NOW
    assert "17(3)b" in done.outcome
    assert await where_is(database, MARK) == {"archived_person"}
    with pytest.raises(Refusal, match="takes no"):
        await do(pool, request_id, Act.COMPLETE)


async def test_people_and_operators_are_told(pool: AsyncConnectionPool, database: Database) -> None:
    request_id = await receive(pool, Kind.ERASURE)
    await receive(pool, Kind.ACCESS, 2)
    await do(pool, request_id, Act.EXTEND, "Dossier complexe")
    for day in (13, 13, 26):  # its day to close the account is 12 December
        async with transaction(pool) as connection:
            await privacy.watch_requests(connection, datetime(2026, 12, day, tzinfo=UTC))
    await do(pool, request_id, Act.COMPLETE)
    found = await rows(
        database,
        """SELECT event, person_id, data, secret IS NOT NULL FROM notification
            WHERE event LIKE 'data.%' ORDER BY id""",
    )
    assert [(event, person_id) for event, person_id, _, _ in found] == [
        ("data.request_received", 1),
        ("data.request_received", 2),
        ("data.request_extended", 1),
        ("data.request_due", None),  # late: the account of person 1
        ("data.request_due", None),  # late: the answer to person 2
        ("data.request_done", 1),
    ]
    assert [data for _, person_id, data, _ in found if person_id == 1][:2] == [{}, {}]
    *_, (_, _, answer, sealed) = found
    assert sealed, "the address that is erased, for this last mail"
    assert "L.123-22" in answer["outcome"]
    assert await where_is(database, MARK) == {"archived_person"}


async def test_to_complete_a_closing_closes_and_an_objection_ends_the_consent(
    pool: AsyncConnectionPool, database: Database
) -> None:
    await do(pool, await receive(pool, Kind.OBJECTION), Act.COMPLETE)
    async with pool.connection() as connection:
        assert not await privacy.may_prospect(connection, 1)
    assert await rows(database, "SELECT closed_at FROM person WHERE id = 1") == [(None,)]
    done = await do(pool, await receive(pool, Kind.CLOSING), Act.COMPLETE)
    assert done.outcome == "Le compte est fermé."
    assert await rows(database, "SELECT closed_at FROM person WHERE id = 1") == [(NOW,)]


async def test_late_requests_are_seen(pool: AsyncConnectionPool) -> None:
    await receive(pool, Kind.ACCESS)  # until 25 December
    await receive(pool, Kind.CLOSING, 2)  # until 12 December

    async def seen(now: datetime) -> tuple[float, float, str | None]:
        async with pool.connection() as connection:
            told = await privacy.watch_requests(connection, now)
        days = metrics.DATA_REQUESTS
        return (
            days.labels("near")._value.get(),
            days.labels("late")._value.get(),
            told,
        )

    assert await seen(NOW) == (0, 0, None)
    assert await seen(datetime(2026, 12, 12, 12, tzinfo=UTC)) == (
        1,
        0,
        "0 requests are late, 1 are due within a week",
    )
    near, late, told = await seen(datetime(2026, 12, 24, tzinfo=UTC))
    assert (near, late) == (1, 1)
    assert told is not None


# Consents.


async def test_prospecting_needs_a_consent_to_the_text_of_today(
    pool: AsyncConnectionPool,
) -> None:
    version = register().prospecting_version
    me = By("person 2", 2)
    async with transaction(pool) as connection:
        assert not await privacy.may_prospect(connection, 2)
        with pytest.raises(Refusal, match="text of today"):
            await privacy.give_consent(connection, 2, version="old", how="api", now=NOW, by=me)
        assert await privacy.give_consent(connection, 2, version=version, how="api", now=NOW, by=me)
        assert not await privacy.give_consent(
            connection, 2, version=version, how="api", now=NOW, by=me
        )
        assert await privacy.may_prospect(connection, 2)
        assert await privacy.withdraw_consent(connection, 2, now=NOW, by=me)
        assert not await privacy.withdraw_consent(connection, 2, now=NOW, by=me)
        assert not await privacy.may_prospect(connection, 2)
        assert [c.withdrawn_at for c in await store.list_consents(connection, 2)] == [NOW]


# The audit.


async def test_of_the_audit_only_old_addresses_can_be_forgotten(
    pool: AsyncConnectionPool, database: Database
) -> None:
    await rows(
        database,
        """INSERT INTO audit_entry (at, actor, action, subject, remote_address)
           SELECT now() - months * interval '1 month', 'test', 'acted', 'old', '192.0.2.3'
             FROM unnest(ARRAY[5, 7]) months RETURNING 1""",
    )
    async with await connect(database, owner=True) as owner:
        for change in (
            "remote_address = '192.0.2.4'",
            "remote_address = NULL, actor = 'another'",
            "remote_address = NULL, at = at - interval '1 day'",
            "remote_address = NULL, detail = '{\"x\": 1}'",
            "remote_address = NULL",  # the younger one is among them
            "subject = 'young'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                await owner.execute(f"UPDATE audit_entry SET {change}".encode())
        for statement in ("DELETE FROM audit_entry", "TRUNCATE audit_entry"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                await owner.execute(statement.encode())
    async with pool.connection() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("UPDATE audit_entry SET remote_address = NULL")
        # However young it may be by the caller's clock.
        assert await periods.blank_audit(connection, datetime.now(UTC), 100) == 1
        assert await periods.blank_audit(connection, datetime.now(UTC), 100) == 0
    assert await rows(
        database, "SELECT remote_address FROM audit_entry WHERE subject = 'old' ORDER BY at"
    ) == [(None,), ("192.0.2.3",)]


async def test_of_the_history_of_places_only_what_is_older_than_ten_years_goes(
    pool: AsyncConnectionPool, database: Database
) -> None:
    await execute(
        database,
        """INSERT INTO static_change (at, client_id, actor, kind, site_id, before, after)
           SELECT now() - years * interval '1 year', 2, 'test', 'site', 'garage', '{}', '{}'
             FROM unnest(ARRAY[9, 11]) years""",
    )
    for statement in (
        "DELETE FROM static_change",
        "TRUNCATE static_change",
        "UPDATE static_change SET actor = 'another'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            await execute(database, statement)
    async with pool.connection() as connection:
        assert await periods.delete_static_changes(connection, datetime.now(UTC), 100) == 1
        assert await periods.delete_static_changes(connection, datetime.now(UTC), 100) == 0


# Sessions after ten years.


async def test_after_ten_years_badges_become_aliases_and_nothing_else_changes(
    pool: AsyncConnectionPool, database: Database, tmp_path: Path
) -> None:
    await rows(
        database,
        """UPDATE session SET started_at = started_at - interval '20 years',
                              ended_at = ended_at - interval '20 years', stop_token_uid = token_uid
            WHERE id < 5 RETURNING 1""",
    )
    before = await rows(
        database, "SELECT id, started_at, ended_at, energy_wh, station_key FROM session ORDER BY id"
    )
    async with pool.connection() as connection:
        await retention.apply(connection, SETTINGS, NOW)
        again = await retention.apply(connection, SETTINGS, NOW)
    assert again == 0
    after = await rows(
        database, "SELECT id, started_at, ended_at, energy_wh, station_key FROM session ORDER BY id"
    )
    assert after == before
    found = await rows(database, "SELECT token_uid, stop_token_uid FROM session ORDER BY id")
    assert [uid for uid, _ in found[4:]] == ["AA", "bb"]
    assert all(uid == stop for uid, stop in found[:4])
    aliases = [uid for uid, _ in found[:4]]
    assert aliases[0] == aliases[2] != aliases[1] == aliases[3]
    assert all(alias.startswith("X") and len(alias) == 13 for alias in aliases)
    assert await rows(
        database,
        """SELECT count(*), count(frame), count(note) FROM session_event WHERE session_id < 5""",
    ) == [(4, 0, 0)]
    path = tmp_path / "old.json"
    await collection.write(pool, Month(2006, 10), path, kind="json")
    first = path.read_bytes()
    assert json.loads(first)["totals"]["energy_wh"] == 20_000
    await collection.write(pool, Month(2006, 10), path, kind="json")
    assert path.read_bytes() == first


async def test_no_caller_can_pseudonymise_what_the_books_need(pool: AsyncConnectionPool) -> None:
    for to_at in (datetime.now(UTC), datetime.now(UTC) - timedelta(days=3_640)):
        async with pool.connection() as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="books"):
                await periods.pseudonymise_sessions(
                    connection, datetime(2000, 1, 1, tzinfo=UTC), to_at
                )


# The nightly job.


OLD = """
INSERT INTO login_session (person_id, kind, secret_sha256, secret_expires_at, created_at,
                           last_used_at, ended_at, remote_address)
    VALUES (2, 'page', 'o1', '2026-02-01', '2026-01-01', '2026-01-01', '2026-01-02', '192.0.2.5'),
           (2, 'page', 'o2', '2027-02-01', '2026-01-01', '2026-11-01', NULL, '192.0.2.6');
INSERT INTO one_time_link (person_id, purpose, token_sha256, created_at, expires_at)
    VALUES (2, 'reset', 'o1', '2026-01-01', '2026-01-02');
INSERT INTO group_request (group_id, person_id, asked_by, asked_at, expires_at)
    SELECT (SELECT min(id) FROM driver_group), id, 'key desk', '2026-04-01', '2026-05-01'
      FROM person WHERE id = 2;
INSERT INTO trusted_device VALUES (2, 'o1', '2025-01-01', '2026-11-01');
INSERT INTO login_failure VALUES ('o1', 3, '2026-01-01', '2026-05-01');
INSERT INTO refused_connection (identity, reason, remote_address, first_seen_at, last_seen_at)
    VALUES ('CP-9', 'unknown', '192.0.2.9', '2026-01-01', '2026-05-01');
INSERT INTO unknown_token VALUES ('ff', 'FF', 1, '2026-01-01', '2026-05-01', 1);
INSERT INTO station_connection (station_key, node, generation, protocol, remote_address,
                                connected_at, last_seen_at, disconnected_at)
    VALUES (1, 'node-1', 1, 'ocpp1.6', '192.0.2.7', '2026-01-01', '2026-05-01', '2026-05-01');
INSERT INTO command (station_key, protocol, action, payload, origin, created_at, expires_at, status,
                     finished_at, response)
    VALUES (1, 'ocpp1.6', 'RemoteStartTransaction', '{"idTag":"AA"}', 'operator', '2026-05-01',
            '2026-05-01', 'accepted', '2026-05-01', '{"status":"Accepted"}'),
           (1, 'ocpp1.6', 'Reset', '{"type":"Soft"}', 'operator', '2026-05-01', '2026-05-01',
            'accepted', '2026-05-01', '{}');
INSERT INTO station_event (station_key, received_at, kind, content)
    VALUES (1, '2026-05-01', 'customer_information', '{"data": "x"}'),
           (1, '2026-05-01', 'boot', '{"reason": "PowerUp"}');
INSERT INTO deviation VALUES (1, 'kind', 'subject', '"AA"', '2026-05-01', '2026-05-01', 1);
INSERT INTO data_request (person_id, kind, state, received_at, received_by, requester, message,
                          due_on, finished_at)
    VALUES (2, 'access', 'done', '2026-01-01', 'x', 'Someone', 'Text', '2026-02-01', '2026-01-20'),
           (2, 'access', 'done', '2020-01-01', 'x', '', '', '2020-02-01', '2020-01-20');
INSERT INTO consent (person_id, purpose, text_version, how, given_at, withdrawn_at)
    VALUES (2, 'prospecting', '2019', 'page', '2019-01-01', '2020-01-01');
INSERT INTO reconciliation (station_key, received_at, reason, frame, digest, settled_at, note)
    VALUES (1, '2014-10-01', 'unmatched_stop', '[2,"9","StopTransaction",{"idTag":"AA"}]', 9,
            '2014-10-02', 'by whom');
UPDATE person SET closed_at = '2026-08-01' WHERE id = 1;
INSERT INTO point_watch (person_id, site_id, created_at, expires_at)
    VALUES (2, 'garage', '2026-05-01', '2026-05-02');
INSERT INTO session_start (person_id, client_id, station_key, evse_id, uid_key, created_at, due_at)
    SELECT 2, 2, 1, 1, 'bb', at, at FROM unnest('{2026-05-01, 2026-11-01}'::timestamptz[]) at;
INSERT INTO reservation (person_id, client_id, station_key, evse_id, uid_key, from_at, to_at,
                         lapses_at, created_at, created_by, state, session_id, ended_at,
                         released_at)
    SELECT 2, 2, 1, n, 'bb', '2026-05-01 12:00Z', '2026-05-01 13:00Z', '2026-05-01 12:30Z',
           '2026-05-01', 'test', state, CASE state WHEN 'used' THEN 1 END, '2026-05-01', released_at
      FROM (VALUES (2, 'no_show', '2026-05-01'::timestamptz), (3, 'used', '2026-05-01'),
                   (4, 'used', '2026-11-01'), (5, 'used', NULL)) r (n, state, released_at);
INSERT INTO client (name, class, siren, street, postal_code, city, country, closed_at)
    VALUES ('Ancienne Résidence', 'professionnel', '732829320', '1 rue Exemple', '75001', 'Paris',
            'FR', '2016-10-01'),
           ('Ancienne, et facturée', NULL, NULL, NULL, NULL, NULL, NULL, '2016-10-01');
INSERT INTO client_contact (client_id, name, email, purposes, removed_at)
    VALUES (2, 'Someone', 'someone@example.org', '{contract}', '2026-08-01'),
           (2, 'Another', 'another@example.org', '{contract}', NULL);
INSERT INTO client_vat (client_id, status, vat_number, from_on)
    VALUES (3, 'redevable', 'FR44732829320', '2010-01-01');
INSERT INTO client_iban (client_id, iban, holder, entered_by, entered_at)
    VALUES (3, 'FR1420041010050500013M02606', 'Ancienne', 'key desk', '2012-01-01');
INSERT INTO static_change (at, client_id, actor, kind, site_id, before, after)
    VALUES ('2005-01-01', 3, 'test', 'site', 'garage', '{}', '{"street": "1 rue Exemple"}'),
           ('2026-01-01', 2, 'test', 'site', 'garage', '{}', '{}');
UPDATE session SET client_id = 4 WHERE id = 6;
INSERT INTO ocpi_partner (slug, name, country_code, party_id, created_at, created_by)
    VALUES ('hub', 'Hub', 'FR', '107', '2014-01-01', 'test');
INSERT INTO ocpi_token (partner_id, country_code, party_id, uid_key, type, content, last_updated,
                        received_at)
    SELECT id, 'FR', 'EMP', uid, 'RFID', '{}', at, at
      FROM ocpi_partner,
           (VALUES ('ab', '2026-01-01'::timestamptz), ('cd', '2026-11-01')) t (uid, at);
INSERT INTO roaming_grant (partner_id, client_id, station_key, uid_key, allowed, method, token, at,
                           valid_until)
    SELECT id, 2, 1, 'ab', 'ALLOWED', 'AUTH_REQUEST', '{}', at, at
      FROM ocpi_partner, unnest('{2014-10-01, 2026-11-01}'::timestamptz[]) at;
INSERT INTO ocpi_told (partner_id, module, object_id, client_id, content, at)
    SELECT id, module, '1', 2, '{}', '2014-10-01'
      FROM ocpi_partner, unnest('{sessions, cdrs, locations}'::text[]) module;
"""
EXPECTED = {
    "log-ins that are over": 1,
    "addresses of log-ins": 1,
    "links that are over": 1,
    "requests of groups": 1,
    "known browsers": 1,
    "failures to log in": 1,
    "refused connections": 1,
    "unknown badges": 1,
    "addresses of stations": 1,
    "addresses in the audit": 0,
    "badges in orders": 1,
    "customers in reports of stations": 1,
    "samples of deviations": 1,
    "texts of requests": 1,
    "watches of points": 1,
    "starts asked for": 1,
    "tokens of partners": 1,
    "reservations that are over": 2,
    "journal": 0,
    "requests": 1,
    "consents": 1,
    "closed accounts": 1,
    "badges of sessions": 0,
    "frames on the desk": 1,
    "words of partners on their drivers": 1,
    "sessions told to partners": 2,
    "restricted archive": 0,
    "contacts of clients": 1,
    "closed clients": 1,
    "history of places": 1,
}


async def test_a_night_applies_every_period_and_says_so(
    pool: AsyncConnectionPool, database: Database
) -> None:
    await execute(database, OLD)
    async with pool.connection() as connection:
        await retention.apply(connection, SETTINGS, NOW)
        runs = await periods.list_runs(connection, rule=None, limit=100, cursor=None)
        assert {run.rule: run.rows for run in runs} == EXPECTED
        assert not any(run.failed for run in runs)
        assert await retention.apply(connection, SETTINGS, NOW) == 0, "all is done"
    assert await where_is(database, MARK) == {"archived_person"}
    assert await rows(
        database, "SELECT action, payload, response FROM command ORDER BY action DESC"
    ) == [("Reset", '{"type":"Soft"}', "{}"), ("RemoteStartTransaction", "{}", None)]
    assert await rows(database, "SELECT count(*) FROM session_start") == [(1,)]
    assert await rows(
        database, "SELECT evse_id FROM reservation WHERE state = 'used' ORDER BY 1"
    ) == [(4,), (5,)], "whose session went on until lately, or goes on"
    assert await rows(database, "SELECT frame, note FROM reconciliation") == [("[]", None)]
    assert await rows(
        database, "SELECT remote_address FROM login_session WHERE secret_sha256 = 'o2'"
    ) == [("",)]
    assert await rows(database, "SELECT name, city FROM client WHERE id > 2 ORDER BY id") == [
        ("client 3", None),
        ("Ancienne, et facturée", None),
    ]
    assert await rows(
        database,
        "SELECT iban, holder, vat_number FROM client_iban JOIN client_vat USING (client_id)",
    ) == [("XX00ERASED00000", "erased", "erased")]


async def test_what_is_younger_is_left_alone(pool: AsyncConnectionPool, database: Database) -> None:
    await execute(database, OLD)
    async with pool.connection() as connection:
        total = await retention.apply(connection, SETTINGS, datetime(2026, 6, 30, tzinfo=UTC))
        runs = await periods.list_runs(connection, rule=None, limit=100, cursor=None)
    assert total == sum(run.rows for run in runs) == 7
    assert {run.rule for run in runs if run.rows} == {
        *("requests", "consents", "frames on the desk", "history of places"),
        *("words of partners on their drivers", "sessions told to partners"),
    }


async def test_a_rule_that_fails_stops_no_other(
    pool: AsyncConnectionPool, database: Database
) -> None:
    await execute(database, OLD + "REVOKE DELETE ON login_failure FROM t2p_service")
    async with pool.connection() as connection:
        await retention.apply(connection, SETTINGS, NOW)
        runs = await periods.list_runs(connection, rule=None, limit=100, cursor=None)
    failed = {run.rule: run.detail for run in runs if run.failed}
    assert failed == {"failures to log in": "InsufficientPrivilege"}
    assert {run.rule: run.rows for run in runs} == EXPECTED | {"failures to log in": 0}


async def test_a_night_is_begun_once_after_two_o_clock_in_paris(
    pool: AsyncConnectionPool, database: Database
) -> None:
    async def look(now: datetime) -> int:
        async with pool.connection() as connection:
            await retention.nightly(connection, SETTINGS, now)
            return await periods.count_runs(connection, rule="journal")

    assert await look(datetime(2026, 11, 25, 0, 59, tzinfo=UTC)) == 0
    assert await look(datetime(2026, 11, 25, 1, 1, tzinfo=UTC)) == 1
    assert await look(datetime(2026, 11, 25, 22, tzinfo=UTC)) == 1
    assert await look(datetime(2026, 11, 26, 0, 30, tzinfo=UTC)) == 1
    assert await look(datetime(2026, 11, 26, 1, 30, tzinfo=UTC)) == 2


async def test_batches_are_bounded_and_go_on_until_nothing_is_left(
    pool: AsyncConnectionPool, database: Database
) -> None:
    await rows(
        database,
        """INSERT INTO login_failure SELECT n::text::bytea, 1, '2026-01-01', '2026-01-01'
             FROM generate_series(1, 2500) n RETURNING 1""",
    )
    asked = []

    async def batch(connection: psycopg.AsyncConnection, before: datetime, rows_max: int) -> int:
        asked.append(rows_max)
        return await periods.delete_failures(connection, before, rows_max)

    async with pool.connection() as connection:
        assert await retention.in_batches(connection, NOW, batch) == 2500
    assert asked == [retention.BATCH_ROWS] * 3
