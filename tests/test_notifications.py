"""Notifications from what happened to the mail that arrives: once, to the right people."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from csms import db
from csms.config import Settings
from csms.db import Database
from csms.domain.back_off import back_off_s
from csms.notifications import announce, delivery, recipients
from csms.notifications.catalogue import CATALOGUE, CATEGORIES, Audience
from csms.notifications.delivery import address_digest, deliver_due
from csms.serve import open_service
from csms.store import notifications as store
from tests.recorder_node import as_owner, query
from tests.scenarios.mail import MailServer, html_of, mail_server, text_of

NOW = datetime(2026, 11, 22, 13, 5, tzinfo=UTC)
LINK = "https://supervision.example.org/reset#token=0123456789abcdef"


@pytest.fixture
async def postbox() -> AsyncIterator[MailServer]:
    async with mail_server() as postbox:
        yield postbox


@pytest.fixture
async def person(database: Database) -> int:
    await as_owner(
        database,
        """INSERT INTO person (email, given_name, family_name)
           VALUES ('camille@example.org', 'Camille', 'Exemple')""",
    )
    return 1


async def tell(pool: AsyncConnectionPool, event: str, **values: Any) -> None:
    async with db.transaction(pool) as connection:
        await announce(connection, event, **({"now": NOW} | values))


async def send(
    pool: AsyncConnectionPool, settings: Settings, *, later: timedelta = timedelta(0)
) -> int:
    return await deliver_due(pool, settings, lambda: NOW + later)


async def states(database: Database) -> list[tuple[str, str | None]]:
    return await query(database, "SELECT status, reason FROM notification_delivery ORDER BY id")


async def test_every_event_of_a_person_arrives_once_with_both_parts_and_the_right_headers(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    settings = postbox.settings(settings)
    for code, event in CATALOGUE.items():
        if Audience.PERSON in event.audience:
            more = {"data": {"email": "camille@example.org"}, "secret": {"link": LINK}}
            await tell(pool, code, person_id=person, settings=settings, **more)
    personal = [code for code, event in CATALOGUE.items() if Audience.PERSON in event.audience]
    assert await send(pool, settings) == len(personal)
    assert await send(pool, settings) == 0
    assert len(postbox.mails) == len(personal)
    assert postbox.connections == 1, "one connection takes them all"
    for mail, envelope, code in zip(postbox.mails, postbox.envelopes, personal, strict=True):
        assert envelope.rcpt_tos == ["camille@example.org"]
        assert envelope.mail_from == "ne-pas-repondre@example.org"
        assert mail["From"] == "Time2Plug <ne-pas-repondre@example.org>"
        assert mail["To"] == "camille@example.org"
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["Content-Language"] == "fr"
        assert mail.get_content_type() == "multipart/alternative"
        assert text_of(mail).startswith(mail["Subject"])
        assert "Bonjour Camille," in text_of(mail)
        assert "Exemple" not in mail["Subject"] and "Camille" not in mail["Subject"]
        optional = CATEGORIES[CATALOGUE[code].category].optional
        page = "https://supervision.example.org/account#notifications"
        assert mail["List-Unsubscribe"] == (f"<{page}>" if optional else None), code
        assert (page in text_of(mail)) is (page in html_of(mail)) is optional
    ids = await query(database, "SELECT message_id::text FROM notification_delivery ORDER BY id")
    assert [m["Message-ID"] for m in postbox.mails] == [f"<{id}@example.org>" for (id,) in ids]


async def test_text_and_html_say_the_same(
    pool: AsyncConnectionPool, settings: Settings, person: int, postbox: MailServer
) -> None:
    data = {"site": "Résidence <b>Exemple</b>", "station_id": "CP&1", "energy_wh": 1_234_567}
    await tell(pool, "session.ended", person_id=person, data=data)
    await send(pool, postbox.settings(settings))
    (mail,) = postbox.mails
    text, html = text_of(mail), html_of(mail)
    assert "Résidence <b>Exemple</b>" in text and "<b>" not in html
    assert "1\u00a0234,57\u00a0kWh" in text
    shown = unescape(re.sub(r"<[^>]+>", " ", html.split("<body", 1)[1].split(">", 1)[1]))
    written = re.sub(r"^-- $", "", text, flags=re.MULTILINE).replace("\u00a0:", " ")
    written = re.sub(r"https://\S+", "", written)
    assert shown.split() == written.split()
    assert "http" not in re.sub(r'href="[^"]*"', "", html), "nothing is fetched from anywhere"


async def test_a_server_away_for_an_hour_costs_nothing_and_doubles_nothing(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    settings = postbox.settings(settings)
    await postbox.stop()
    for number in range(20):
        await tell(pool, "session.ended", person_id=person, key=f"k{number}")
        await send(pool, settings, later=timedelta(seconds=number))
    for minute in range(1, 60):
        assert await send(pool, settings, later=timedelta(minutes=minute)) == 0
    assert postbox.mails == []
    await postbox.start()
    for minute in (60, 61):
        await send(pool, settings, later=timedelta(minutes=minute))
    assert len(postbox.mails) == 20
    assert len({mail["Message-ID"] for mail in postbox.mails}) == 20
    assert await states(database) == [("sent", None)] * 20


async def test_while_no_server_is_set_mails_wait_and_go_when_there_is_one(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    await tell(pool, "session.ended", person_id=person)
    assert await send(pool, settings) == 0
    assert await states(database) == [("waiting", None)]
    assert delivery.metrics.NOTIFICATIONS_WAITING.labels("email")._value.get() == 1
    assert delivery.metrics.MAIL_SERVER._value.get() == 0
    assert await send(pool, postbox.settings(settings), later=timedelta(hours=5)) == 1
    assert delivery.metrics.MAIL_SERVER._value.get() == 1


async def test_a_temporary_refusal_is_tried_again_and_a_permanent_one_is_not(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    settings = postbox.settings(settings)
    await tell(pool, "session.ended", person_id=person)
    postbox.data = "451 4.7.1 Greylisted camille@example.org"
    assert await send(pool, settings) == 0
    assert await query(
        database, "SELECT status, attempts, reply, address_masked FROM notification_delivery"
    ) == [("waiting", 1, "451 4.7.1 Greylisted c***@e***.org", "c***@e***.org")]
    assert await send(pool, settings, later=timedelta(seconds=10)) == 0, "not before its time"
    postbox.data, postbox.rcpt = "250 OK", "550 5.1.1 No such user"
    assert await send(pool, settings, later=timedelta(minutes=1)) == 0
    assert await states(database) == [("dead", "550 5.1.1 No such user")]
    postbox.rcpt = "250 OK"
    assert await send(pool, settings, later=timedelta(hours=2)) == 0
    assert postbox.mails == []


async def test_a_connection_cut_after_the_data_repeats_the_same_message_id(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    settings = postbox.settings(settings)
    await tell(pool, "session.ended", person_id=person)
    postbox.cut_after_data = True
    assert await send(pool, settings) == 0
    postbox.cut_after_data = False
    assert await send(pool, settings, later=timedelta(minutes=1)) == 1
    assert await send(pool, settings, later=timedelta(hours=1)) == 0
    first, second = postbox.mails
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Date"] == second["Date"]
    assert await states(database) == [("sent", None)]


async def test_workers_at_once_send_nothing_twice(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    settings = postbox.settings(settings)
    second = asyncio.Event()

    async def wait_for_a_second_worker() -> None:
        if postbox.connections > 1:
            second.set()
        await asyncio.wait_for(second.wait(), 30)

    postbox.on_data = wait_for_a_second_worker
    for number in range(40):
        await tell(pool, "session.ended", person_id=person, key=f"k{number}")
    sent = await asyncio.gather(*(send(pool, settings) for _ in range(4)))
    assert sum(sent) == len(postbox.mails) == 40
    assert sum(1 for one in sent if one) > 1, "they shared the work"
    assert len({mail["Message-ID"] for mail in postbox.mails}) == 40


async def test_what_a_dead_worker_held_is_sent_when_its_lease_is_over(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    settings = postbox.settings(settings)
    await tell(pool, "session.ended", person_id=person)
    async with pool.connection() as connection:
        await recipients.resolve(connection, settings, NOW)
    await as_owner(
        database,
        """UPDATE notification_delivery SET attempts = 1, lease = gen_random_uuid(),
                  leased_until = '2026-11-22 13:20Z'""",
    )
    assert await send(pool, settings) == 0
    assert await send(pool, settings, later=timedelta(minutes=16)) == 1


async def test_after_a_day_it_is_a_dead_letter_and_a_person_can_let_it_wait_again(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    settings = postbox.settings(settings)
    await postbox.stop()
    await tell(pool, "account.reset", person_id=person, secret={"link": LINK}, settings=settings)
    for hour in range(25):
        await send(pool, settings, later=timedelta(hours=hour))
    assert await states(database) == [("dead", "not delivered in time")]
    assert await query(database, "SELECT secret IS NULL FROM notification") == [(True,)]
    assert await query(database, "SELECT attempts > 20 FROM notification_delivery") == [(True,)]


async def test_secrets_are_sealed_then_wiped_and_never_logged(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = postbox.settings(settings)
    await tell(pool, "account.reset", person_id=person, secret={"link": LINK}, settings=settings)
    ((sealed, row),) = await query(database, "SELECT secret, n::text FROM notification n")
    assert b"token" not in sealed and "token" not in row
    postbox.data = "451 later"
    await send(pool, settings)
    assert await query(database, "SELECT secret IS NULL FROM notification") == [(False,)]
    postbox.data = "250 OK"
    await send(pool, settings, later=timedelta(minutes=1))
    assert LINK in text_of(postbox.mails[0]) and LINK in html_of(postbox.mails[0])
    assert await query(database, "SELECT secret IS NULL FROM notification") == [(True,)]
    everything = await query(
        database, "SELECT n::text || d::text FROM notification n, notification_delivery d"
    )
    assert "token" not in str(everything) and "camille" not in str(everything)
    ours = " ".join(r.getMessage() for r in caplog.records if r.name != "mail.log")  # the server's
    assert "0123456789abcdef" not in ours and "camille@example.org" not in ours


async def test_the_address_is_kept_as_proof_only(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    settings = postbox.settings(settings)
    postbox.data = "250 2.0.0 queued as 4Xyz"
    await tell(pool, "account.closed", person_id=person)
    await send(pool, settings)
    ((digest, masked, reply),) = await query(
        database, "SELECT address_digest, address_masked, reply FROM notification_delivery"
    )
    assert digest == address_digest(settings, "Camille@example.org")
    assert digest != address_digest(settings, "another@example.org")
    assert masked == "c***@e***.org"
    assert reply == "2.0.0 queued as 4Xyz"


async def test_a_change_of_address_goes_to_the_new_one(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    settings = postbox.settings(settings)
    more = {"data": {"email": "new@example.org"}, "secret": {"link": LINK}, "settings": settings}
    await tell(pool, "account.email_change", person_id=person, **more)
    ((row,),) = await query(database, "SELECT n::text FROM notification n")
    assert "new@example.org" not in row
    await send(pool, settings)
    assert postbox.envelopes[0].rcpt_tos == ["new@example.org"]
    assert postbox.mails[0]["To"] == "new@example.org"


@pytest.mark.parametrize(
    "evil", ["x\r\nBcc: all@example.org", "x\nSubject: y", "x\u2028y\x00z".replace("\x00", "\x0b")]
)
async def test_no_value_adds_a_header_or_a_line(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
    evil: str,
) -> None:
    await as_owner(database, "UPDATE person SET given_name = E'x\\r\\nBcc: all@example.org'")
    await as_owner(database, "INSERT INTO client_manager VALUES (1, 1, '2026-01-01', NULL, 'test')")
    await tell(pool, "station.offline", subject="s", data={"station_id": evil, "site": evil})
    await send(pool, postbox.settings(settings))
    (mail,) = postbox.mails
    assert mail["Bcc"] is None
    assert len(mail.get_all("Subject", [])) == 1
    assert mail["Subject"].startswith("Borne x") and mail["Subject"].endswith("injoignable")
    for line in text_of(mail).splitlines():
        assert not line.startswith(("Bcc", "Subject", "y"))


@pytest.mark.parametrize(
    "address",
    [
        "a@example.org\nBcc: b@example.org",
        "a@example.org, b@example.org",
        "no address",
        "a@",
        "é@x.fr",
    ],
)
async def test_an_address_that_is_none_is_a_dead_letter(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
    address: str,
) -> None:
    async with await db.connect(database, owner=True) as owner:
        await owner.execute("UPDATE person SET email = %s", [address])
    await tell(pool, "account.closed", person_id=person)
    assert await send(pool, postbox.settings(settings)) == 0
    assert await states(database) == [("dead", "the address cannot be used")]
    assert postbox.mails == []


async def test_somebody_without_an_address_is_told_nothing(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    await as_owner(database, "UPDATE person SET email = NULL")
    await tell(pool, "account.closed", person_id=person)
    assert await send(pool, postbox.settings(settings)) == 0
    assert await states(database) == [("dropped", "no address")]


async def test_english_is_for_those_who_chose_it(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    await as_owner(database, "UPDATE person SET language = 'en'")
    await tell(pool, "session.ended", person_id=person, data={"ended_at": NOW})
    await send(pool, postbox.settings(settings))
    assert postbox.mails[0]["Subject"] == "Your charge is over"
    assert "End: 22\u00a0Nov\u00a02026,\u00a014:05" in text_of(postbox.mails[0])


async def test_what_is_switched_off_is_not_sent_but_security_cannot_be(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    for category in ("charging_ended", "account"):
        await as_owner(
            database,
            f"INSERT INTO notification_preference VALUES (1, '{category}', 'email', false, now())",
        )
    await tell(pool, "session.ended", person_id=person)
    await tell(pool, "account.password_changed", person_id=person)
    assert await send(pool, postbox.settings(settings)) == 1
    assert await states(database) == [("dropped", "not wanted"), ("sent", None)]


async def test_quiet_hours_delay_what_can_wait(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    await as_owner(
        database, "INSERT INTO quiet_hours VALUES (1, 840, 420, 'Europe/Paris', now())"
    )  # from 14:00, and it is 14:05
    settings = postbox.settings(settings)
    await tell(pool, "session.ended", person_id=person)
    await tell(pool, "session.interrupted", person_id=person)
    assert await send(pool, settings) == 1
    assert "interrompue" in postbox.mails[0]["Subject"]
    assert await query(
        database, "SELECT next_at, attempts FROM notification_delivery WHERE status = 'waiting'"
    ) == [(datetime(2026, 11, 23, 6, 0, tzinfo=UTC), 0)]
    assert await send(pool, settings, later=timedelta(hours=16)) == 0
    assert await send(pool, settings, later=timedelta(hours=17)) == 1


async def test_what_is_worth_nothing_later_is_not_sent_later(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    await tell(pool, "point.free", person_id=person)
    assert await send(pool, settings) == 0
    assert await send(pool, postbox.settings(settings), later=timedelta(minutes=31)) == 0
    assert await states(database) == [("dead", "not delivered in time")]


async def test_the_same_key_is_the_same_notification(
    pool: AsyncConnectionPool, settings: Settings, person: int, postbox: MailServer
) -> None:
    for _ in range(3):
        await tell(pool, "session.ended", person_id=person, key="session over 7")
    assert await send(pool, postbox.settings(settings)) == 1


async def test_a_repetition_within_its_period_is_not_told(
    database: Database, pool: AsyncConnectionPool
) -> None:
    for minutes in (0, 30, 59, 61):
        await tell(
            pool, "station.offline", subject="station CP-1", now=NOW + timedelta(minutes=minutes)
        )
    await tell(pool, "station.offline", subject="station CP-2")
    assert await query(database, "SELECT subject FROM notification ORDER BY id") == [
        ("station CP-1",),
        ("station CP-1",),
        ("station CP-2",),
    ]


async def test_managers_of_the_moment_and_operators_are_told(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    await as_owner(
        database,
        """INSERT INTO client (name) VALUES ('Résidence Exemple');
           INSERT INTO person (email) VALUES ('former@example.org'), ('other@example.org');
           INSERT INTO client_manager VALUES
               (1, 2, '2026-01-01', NULL, 'test'), (2, 2, '2026-01-01', '2026-02-01', 'test'),
               (3, 1, '2026-01-01', NULL, 'test')""",
    )
    settings = postbox.settings(settings, notification_operator_address="operations@example.org")
    await tell(pool, "station.offline", client_id=2, subject="station CP-1")
    assert await send(pool, settings) == 2
    told = sorted(envelope.rcpt_tos[0] for envelope in postbox.envelopes)
    assert told == ["camille@example.org", "operations@example.org"]


async def test_managers_of_a_client_without_the_option_are_not_told(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    await as_owner(
        database,
        """INSERT INTO client (name) VALUES ('A'), ('B');
           INSERT INTO client_manager VALUES
               (1, 2, '2026-01-01', NULL, 'test'), (1, 3, '2026-01-01', NULL, 'test');
           INSERT INTO contract (client_id, client_class, devis_reference, signed_on, starts_on,
                                 term_months)
               SELECT id, 'professionnel', 'D-' || id, '2026-01-01', '2026-01-01', 36
                 FROM client WHERE NOT is_operator;
           INSERT INTO contract_option (client_id, contract_id, option, from_on)
               SELECT client_id, id, 'notifications', '2026-01-01' FROM contract
                WHERE client_id = 2""",
    )
    for client_id in (2, 3):
        data = {"station_id": f"CP-{client_id}"}
        await tell(pool, "station.offline", client_id=client_id, subject=str(client_id), data=data)
    assert await send(pool, postbox.settings(settings)) == 1
    assert postbox.mails[0]["Subject"] == "Borne CP-2 injoignable"


async def test_what_is_personal_is_forgotten(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    settings = postbox.settings(settings)
    await tell(pool, "account.new_device", person_id=person, data={"place": "192.0.2.7"})
    await send(pool, settings)
    await tell(pool, "account.closed", person_id=person)
    async with db.transaction(pool) as connection:
        await recipients.resolve(connection, settings, NOW)
        await store.forget_person(connection, person, NOW)
    assert await send(pool, settings) == 0
    assert await states(database) == [("sent", None), ("dropped", "account erased")]
    assert await query(
        database,
        """SELECT DISTINCT data, address_masked, address_digest
             FROM notification n JOIN notification_delivery d ON d.notification_id = n.id""",
    ) == [({}, None, None)]


async def test_a_database_cut_off_between_the_final_word_and_its_record_repeats_nothing(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
    administrator: psycopg.Connection,
) -> None:
    async def cut() -> None:
        administrator.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE usename = 't2p_app' AND datname = %s""",
            [conninfo_to_dict(database.app_url)["dbname"]],
        )

    postbox.on_data = cut
    await tell(pool, "session.ended", person_id=person)
    assert await send(pool, postbox.settings(settings, database_retry_s=0.01)) == 1
    assert await send(pool, postbox.settings(settings), later=timedelta(hours=1)) == 0
    assert len(postbox.mails) == 1
    assert await states(database) == [("sent", None)]


async def test_who_stops_ends_what_is_being_sent(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    sending, may_end = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        sending.set()
        await may_end.wait()

    postbox.on_data = hold
    for number in range(2):
        await tell(pool, "session.ended", person_id=person, key=str(number))
    task = asyncio.create_task(send(pool, postbox.settings(settings)))
    await sending.wait()
    task.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(postbox.mails) == 1
    assert await states(database) == [("sent", None), ("waiting", None)]


async def test_a_text_that_cannot_be_made_holds_up_no_other(
    database: Database,
    pool: AsyncConnectionPool,
    settings: Settings,
    person: int,
    postbox: MailServer,
) -> None:
    await tell(pool, "session.ended", person_id=person, data={"ended_at": "yesterday"})
    await tell(pool, "session.ended", person_id=person, key="another")
    await as_owner(database, "INSERT INTO notification (event, at) VALUES ('of tomorrow', now())")
    assert await send(pool, postbox.settings(settings)) == 1
    assert await states(database) == [
        ("dead", "its text cannot be made: ValueError"),
        ("sent", None),
    ]


async def test_a_running_service_sends_what_is_announced(
    pool: AsyncConnectionPool, settings: Settings, person: int, postbox: MailServer
) -> None:
    settings = postbox.settings(settings, notification_poll_s=0.05)
    async with open_service(settings, parts=("worker",)):
        await tell(pool, "session.ended", person_id=person, now=datetime.now(UTC))
        async with asyncio.timeout(20):
            await postbox.arrived.wait()
    assert postbox.mails[0]["Subject"] == "Votre recharge est terminée"


def test_back_off_doubles_up_to_an_hour_and_lies_in_its_bounds() -> None:
    settings = Settings()
    bounds = settings.notification_back_off_s, settings.notification_back_off_longest_s
    assert [back_off_s(*bounds, n, 0) for n in (1, 2, 3)] == [30, 60, 120]
    assert back_off_s(*bounds, 500, 0) == 3600
    assert back_off_s(*bounds, 1, 1) == 15
