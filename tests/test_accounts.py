"""Accounts: addresses, passwords, roles, clients; what the audit says, what is forgotten."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from psycopg_pool import AsyncConnectionPool

from csms import accounts, keys, passwords, second_factor, throttle, worker
from csms.config import SettingError, Settings, load
from csms.db import transaction
from csms.password_work import PasswordWork, check_chosen
from csms.refusals import AccountRefusal, ComeLater
from csms.registry import AlreadyThere, NotThere, Refusal
from csms.store import audit, failures, people, sites
from csms.store.audit import AuditEntry
from tests.people_at_the_door import OTHER_PASSWORD, PASSWORD, now, person


async def acts(pool: AsyncConnectionPool) -> list[AuditEntry]:
    """The audit, oldest first."""
    async with pool.connection() as connection:
        found = await audit.list_entries(
            connection,
            client_id=None,
            person_id=None,
            action=None,
            from_at=None,
            to_at=None,
            limit=1_000,
            cursor=None,
        )
    return found[::-1]


@pytest.mark.parametrize(
    "password",
    [
        PASSWORD,
        OTHER_PASSWORD,
        "tEsvu0-qhjbon-kypxiw",
        "皿は青い空の下で静かに光る",
        "829304712983",  # no rule about the kinds of characters
        "p" * 20 + "qrstuvw xyz",
        "é" * 5 + "abcdefg",
    ],
)
def test_long_passwords_of_any_kind_are_taken(password: str) -> None:
    check_chosen(password, "conductrice@example.org", 12)


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("onze lettre", "password_short"),
        ("é" * 128, "password_long"),
        ("un cheval\0 bleu", "password_characters"),
        ("un cheval\ud800 bleu", "password_characters"),
        ("conductrice@example.org", "password_email"),
        ("Conductrice@Example.org", "password_email"),
        ("conductrice-2026", "password_email"),
        ("1q2w3e4r5t6y", "password_common"),
        ("MotDePasse2026!", "password_common"),
        ("12345azertyuiop", "password_common"),
        ("qwertyqwerty", "password_common"),
        ("abcabcabcabcabc", "password_common"),
        ("aaaaaaaaaaaaaaaa", "password_common"),
        ("abcdefghijklmnop", "password_common"),
        ("zyxwvutsrqponm", "password_common"),
        ("aabbaabbccaabbcc", "password_common"),  # few different characters
    ],
)
def test_passwords_that_are_guessed_first_are_refused(password: str, code: str) -> None:
    with pytest.raises(AccountRefusal) as refused:
        check_chosen(password, "conductrice@example.org", 12)
    assert refused.value.code == code
    assert password not in str(refused.value)


async def test_a_check_for_nobody_is_made_and_fails() -> None:
    work = PasswordWork(1, 10)
    assert not await work.verify(None, PASSWORD)
    stored = await work.hash(PASSWORD)
    assert await work.verify(stored, PASSWORD)
    assert not await work.verify(stored, OTHER_PASSWORD)
    assert not passwords.is_fast(stored)


async def test_who_finds_too_many_waiting_is_told_to_come_later() -> None:
    work = PasswordWork(1, 2)
    answers = await asyncio.gather(
        *(work.verify(None, PASSWORD) for _ in range(4)), return_exceptions=True
    )
    assert answers[:2] == [False, False]
    assert all(isinstance(answer, ComeLater) for answer in answers[2:])
    work.check_room()


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (" Conductrice@Example.ORG ", "conductrice@example.org"),
        ("prénom.nom+borne@exemple.example.org", "prénom.nom+borne@exemple.example.org"),
        ("x", None),
        ("", None),
        ("a@b", None),
        ("a b@example.org", None),
        ("a@example.org, b@example.org", None),
        ("a@example.org\r\nBcc: b@example.org", None),
        ("<a@example.org>", None),
        ("a@" + "x" * 250 + ".org", None),
    ],
)
def test_addresses_are_stored_in_one_form(typed: str, stored: str | None) -> None:
    if stored is None:
        with pytest.raises(AccountRefusal):
            accounts.checked_email(typed)
    else:
        assert accounts.checked_email(typed) == stored


async def test_an_address_is_one_persons_also_for_two_who_come_at_once(
    pool: AsyncConnectionPool,
) -> None:
    async def create(email: str) -> int:
        async with transaction(pool) as connection:
            return await accounts.create_person(connection, email=email, actor="test", now=now())

    made = await asyncio.gather(
        create("a@example.org"), create("A@Example.org"), return_exceptions=True
    )
    assert sorted(isinstance(one, AlreadyThere) for one in made) == [False, True]


async def test_a_person_without_an_address_is_not_invited(
    pool: AsyncConnectionPool, settings: Settings
) -> None:
    async with transaction(pool) as connection:
        one, two = [
            await accounts.create_person(connection, email=None, actor="test", now=now())
            for _ in range(2)
        ]
        assert one != two
        with pytest.raises(Refusal):
            await accounts.invite(connection, settings, one, actor="test", now=now())
        with pytest.raises(NotThere):
            await accounts.invite(connection, settings, 999, actor="test", now=now())


async def test_roles_are_ours_only_and_each_once(pool: AsyncConnectionPool) -> None:
    person_id = await person(pool)
    async with transaction(pool) as connection:
        given = ("admin", "read", "read")
        await accounts.set_roles(connection, person_id, given, actor="test", now=now())
        found = await accounts.get_person(connection, person_id)
        assert found.operator_roles == ["read", "admin"]
        with pytest.raises(Refusal):
            await accounts.set_roles(connection, person_id, ["owner"], actor="test", now=now())
        with pytest.raises(NotThere):
            await accounts.set_roles(connection, 999, ["read"], actor="test", now=now())


async def test_a_client_is_managed_for_a_time_and_never_twice_at_once(
    pool: AsyncConnectionPool,
) -> None:
    person_id = await person(pool)
    start = now()
    async with transaction(pool) as connection:
        client = await sites.insert_client(connection, "Résidence Exemple")
        assert client is not None

        async def add(from_h: float, to_h: float | None) -> None:
            await accounts.add_manager(
                connection,
                person_id,
                client.id,
                from_at=start + timedelta(hours=from_h),
                to_at=None if to_h is None else start + timedelta(hours=to_h),
                actor="test",
                now=start,
            )

        await add(10, 20)
        with pytest.raises(AlreadyThere):
            await add(15, None)
        with pytest.raises(Refusal):
            await add(30, 30)
        await add(20, None)
        assert (await accounts.get_person(connection, person_id)).manages == []
        later = start + timedelta(hours=12)
        await accounts.end_manager(connection, person_id, client.id, actor="test", now=later)
        with pytest.raises(NotThere):
            await accounts.end_manager(connection, person_id, client.id, actor="test", now=later)
        found = await people.list_managing(connection, person_id)
    ends = [(managing.to_at, managing.from_at) for managing in found]
    assert ends[1][0] == later
    assert ends[0][0] is not None
    assert ends[0][0] - ends[0][1] == timedelta(microseconds=1), "what had not begun never was"


async def test_acts_are_noted_with_who_did_them_and_for_whom(pool: AsyncConnectionPool) -> None:
    async with transaction(pool) as connection:
        client = await sites.insert_client(connection, "Résidence Exemple")
        assert client is not None
        admin = await accounts.create_person(
            connection, email="a@example.org", actor="command line", now=now()
        )
        await accounts.add_manager(connection, admin, client.id, actor=f"person {admin}", now=now())
        await keys.grant(
            connection,
            name="machine",
            role="client",
            scopes=["read"],
            client_id=client.id,
            expires_at=None,
            actor="key other",
            person_id=None,
            now=now(),
        )
    found = [(act.actor, act.person_id, act.client_id, act.action) for act in await acts(pool)]
    assert found == [
        ("command line", None, None, "person created"),
        (f"person {admin}", admin, client.id, "manager added"),
        ("key other", None, client.id, "key created"),
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"role": "king"},
        {"name": "person 7"},
        {"name": "System"},
        {"scopes": ["write"]},
        {"scopes": []},
        {"role": "client", "scopes": ["read"]},
        {"role": "client", "scopes": ["read", "admin"], "client_id": 1},
        {"client_id": 1},
        {"client_id": 999, "role": "client", "scopes": ["read"]},
        {"expires_at": now() - timedelta(days=1)},
    ],
)
async def test_keys_that_make_no_sense_are_refused(
    pool: AsyncConnectionPool, values: dict[str, object]
) -> None:
    asked: dict[str, object] = {
        "name": "x",
        "role": "operator",
        "scopes": ["read"],
        "client_id": None,
        "expires_at": None,
    }
    async with transaction(pool) as connection:
        with pytest.raises(Refusal):
            await keys.grant(
                connection,
                **(asked | values),  # type: ignore[arg-type]
                actor="test",
                person_id=None,
                now=now(),
            )


async def test_an_unreadable_second_factor_leaves_the_recovery_codes(
    pool: AsyncConnectionPool, settings: Settings
) -> None:
    person_id = await person(pool)
    codes, stored = second_factor.new_recovery_codes()
    async with transaction(pool) as connection:
        await people.set_totp(connection, person_id, b"\x01 sealed elsewhere, long ago", now())
        await people.confirm_totp(connection, person_id, stored, now())
        who = await people.get_credentials(connection, person_id)
        assert who is not None
        used = [
            await second_factor.use_code(connection, settings, who, code, now())
            for code in ("123456", codes[0], codes[0])
        ]
    assert used == [None, "recovery code", None]


async def test_the_worker_forgets_failures_of_another_day(
    pool: AsyncConnectionPool, settings: Settings
) -> None:
    start = now()
    async with transaction(pool) as connection:
        await throttle.admit_request(connection, settings, "reset", "192.0.2.1", start)
    (job,) = [job for job in worker.JOBS if "failures" in job.name]
    async with pool.connection() as connection:
        assert await job.run(connection, settings, start + timedelta(hours=23)) == 0
        assert await job.run(connection, settings, start + timedelta(hours=25)) == 1
        key = throttle.key(settings, "reset", "192.0.2.1")
        assert await failures.get_failures(connection, key) is None


def test_settings_of_the_door_are_checked() -> None:
    good = load({"T2P_PUBLIC_URL": "https://charging.example.org/", "T2P_TRUSTED_PROXIES": "::1"})
    assert good.base_url == "https://charging.example.org"
    assert replace(Settings(), host="::1").base_url == "http://[::1]:8080"
    for name, value in (("PUBLIC_URL", "charging.example.org"), ("TRUSTED_PROXIES", "proxy")):
        with pytest.raises(SettingError):
            load({f"T2P_{name}": value})
