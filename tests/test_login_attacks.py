"""What somebody may try who wants in, or wants others out."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from statistics import median

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import accounts, logins, own_account, throttle
from csms.config import Settings
from csms.db import transaction
from csms.logins import Caller, Means
from csms.password_work import PasswordWork
from csms.refusals import AccountRefusal, ComeLater, NotLoggedIn
from csms.web.callers import Proxies, is_local
from tests.people_at_the_door import (
    OTHER_PASSWORD,
    PASSWORD,
    Mails,
    bearer,
    browser,
    code_of,
    csrf,
    log_in,
    log_in_page,
    now,
    person,
)

EMAIL = "conductrice@example.org"
ELSEWHERE = "198.51.100.7"


@pytest.fixture
def mails(pool: AsyncConnectionPool, settings: Settings) -> Mails:
    return Mails(pool, settings)


@pytest.fixture
async def api(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(pool, people, settings) as client:
        yield client


@pytest.fixture
async def attacker(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(pool, people, settings, address=ELSEWHERE) as client:
        yield client


@pytest.fixture
def means(pool: AsyncConnectionPool, settings: Settings) -> Means:
    return Means(pool, settings, PasswordWork(2, 50))


class Slow(PasswordWork):
    """Checks as ever; then something happens before the answer is used."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def verify(self, stored: str | None, password: str) -> bool:
        good = await super().verify(stored, password)
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        return good


@pytest.mark.parametrize("what", ["reset", "changed", "blocked"])
async def test_no_log_in_by_a_former_password_outlives_its_change(
    pool: AsyncConnectionPool, settings: Settings, mails: Mails, what: str
) -> None:
    """Whoever has stolen a password logs in again and again while its owner has it reset."""
    person_id = await person(pool)
    work = Slow(2, 50)
    means = Means(pool, settings, work)
    thief, owner = Caller(ELSEWHERE), Caller("192.0.2.9")

    async def meanwhile() -> None:
        if what == "blocked":
            async with transaction(pool) as connection:
                await accounts.block(connection, person_id, actor="test", now=now())
        elif what == "changed":
            await own_account.change_password(
                means, person_id, own.login_id, PASSWORD, OTHER_PASSWORD, now()
            )
        else:
            await own_account.request_reset(means, EMAIL, owner, now())
            token = await mails.token("account.reset")
            await own_account.reset_password(means, token, OTHER_PASSWORD, caller=owner, now=now())

    own = await logins.log_in(
        means, EMAIL, PASSWORD, code=None, kind="api", caller=owner, now=now()
    )
    assert isinstance(own, logins.LoggedIn)
    work.meanwhile = meanwhile
    with pytest.raises(NotLoggedIn):
        await logins.log_in(means, EMAIL, PASSWORD, code=None, kind="api", caller=thief, now=now())
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT id FROM login_session WHERE ended_at IS NULL AND remote_address = %s",
            (ELSEWHERE,),
        )
        assert await cursor.fetchall() == []


async def test_of_two_links_of_a_person_used_at_once_one_works(
    pool: AsyncConnectionPool, settings: Settings, mails: Mails
) -> None:
    await person(pool)
    means = Means(pool, settings, PasswordWork(2, 50))
    caller = Caller("192.0.2.9")

    async def use(link: str) -> bool:
        token = link.rsplit("/", 1)[1]
        try:
            await own_account.reset_password(means, token, OTHER_PASSWORD, caller=caller, now=now())
        except AccountRefusal:
            return False
        return True

    for _ in range(5):
        for _ in range(2):
            await own_account.request_reset(means, EMAIL, caller, now())
        pair = (await mails.links())[-2:]
        assert sorted(await asyncio.gather(*map(use, pair * 2))) == [False, False, False, True]
        async with pool.connection() as connection:
            await connection.execute("DELETE FROM one_time_link")


# --- Guessing -------------------------------------------------------------------------------------


async def test_guessing_is_made_to_wait_longer_and_longer(
    attacker: httpx.AsyncClient, pool: AsyncConnectionPool, settings: Settings
) -> None:
    await person(pool)
    statuses = [(await log_in(attacker, password=f"guess {n}")).status_code for n in range(5)]
    assert statuses == [401] * 5
    refused = await log_in(attacker, password="guess 6")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert (await log_in(attacker, password=PASSWORD)).status_code == 429, "not even the right one"
    waits = []
    async with pool.connection() as connection:
        for _ in range(13):
            await connection.execute("UPDATE login_failure SET last_at = last_at - interval '1h'")
            assert (await log_in(attacker, password="guess")).status_code == 401
            waits.append(int((await log_in(attacker)).headers["retry-after"]))
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]


async def test_a_storm_of_guesses_is_let_through_one_by_one_on_every_node(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    await person(pool)
    async with (
        browser(pool, people, settings, address=ELSEWHERE) as one,
        browser(pool, people, replace(settings, node="node-2"), address=ELSEWHERE) as other,
    ):
        answers = await asyncio.gather(
            *(log_in(node, password=f"{n}") for n in range(12) for node in (one, other))
        )
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(401) == 5
    assert statuses.count(429) == 19


async def test_guesses_on_many_accounts_from_one_place_wait_too(
    attacker: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    for number in range(30):
        assert (await log_in(attacker, f"{number}@example.org")).status_code == 401
    assert (await log_in(attacker, "31@example.org")).status_code == 429
    assert (await log_in(attacker)).status_code == 429


async def test_success_forgives_ones_own_failures_and_no_others(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    await person(pool, "complice@example.org")
    for number in range(29):
        await log_in(api, f"{number}@example.org")
    for _ in range(3):
        assert (await log_in(api, "complice@example.org")).status_code == 200
    assert (await log_in(api, "30@example.org")).status_code == 401
    assert (await log_in(api, "31@example.org")).status_code == 429


async def test_failures_are_forgotten_after_a_day(
    attacker: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    for _ in range(6):
        await log_in(attacker, password="guess")
    async with pool.connection() as connection:
        await connection.execute("UPDATE login_failure SET last_at = last_at - interval '25h'")
    assert [(await log_in(attacker, password="x")).status_code for _ in range(6)] == [
        *[401] * 5,
        429,
    ]


async def test_counters_hold_nobodys_address(
    attacker: httpx.AsyncClient, pool: AsyncConnectionPool, settings: Settings
) -> None:
    await log_in(attacker)
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT key_sha256 FROM login_failure")
        keys = {row[0] for row in await cursor.fetchall()}
    assert throttle.key(settings, "account", EMAIL) in keys
    other = replace(settings, secret_key="k" * 32)
    assert throttle.key(other, "account", EMAIL) not in keys


# --- Others are not locked out --------------------------------------------------------------------


async def test_an_attack_from_one_place_is_not_noticed_elsewhere(
    api: httpx.AsyncClient, attacker: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    for _ in range(10):
        await log_in(attacker, password="guess")
    assert (await log_in(attacker)).status_code == 429
    assert (await log_in(api)).status_code == 200


async def test_an_attack_from_everywhere_leaves_each_place_its_first_attempt(
    pool: AsyncConnectionPool, means: Means
) -> None:
    await person(pool)

    async def attempt(address: str, password: str = "guess") -> str:
        try:
            await logins.log_in(
                means,
                EMAIL,
                password,
                code=None,
                kind="api",
                caller=Caller(address),
                now=now(),
            )
        except ComeLater:
            return "later"
        except logins.NotLoggedIn:
            return "wrong"
        return "in"

    assert await attempt("203.0.113.200", PASSWORD) == "in"  # a place that is known
    for number in range(51):
        assert await attempt(f"203.0.113.{number}") == "wrong"
    assert await attempt("203.0.113.100") == "wrong"
    assert await attempt("203.0.113.100") == "later", "one attempt, no longer five"
    assert await attempt("203.0.113.101", PASSWORD) == "in"
    assert [await attempt("203.0.113.200") for _ in range(5)] == ["wrong"] * 5


async def test_who_shares_a_network_cannot_lock_a_known_browser_out(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    await person(pool)
    async with (
        browser(pool, people, settings) as mine,
        browser(pool, people, settings) as neighbour,
    ):
        await log_in_page(mine)
        mine.cookies.delete("t2p_session")
        for number in range(40):
            await log_in(neighbour, EMAIL if number < 8 else f"{number}@example.org")
        assert (await log_in(neighbour)).status_code == 429
        answer = await log_in_page(mine)
        assert answer.status_code == 303
        device = mine.cookies["t2p_device"]
        assert (await log_in(neighbour, device=device)).status_code == 200, "a program's likewise"


async def test_the_cookie_of_a_known_browser_is_no_way_round_the_waits(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    await person(pool, "autre@example.org")
    device = (await log_in(api, "autre@example.org")).json()["device"]
    statuses = [(await log_in(api, password="guess", device=device)).status_code for _ in range(6)]
    assert statuses == [*[401] * 5, 429], "it is known for its own person only"
    own = [
        (await log_in(api, "autre@example.org", "guess", device=device)).status_code
        for _ in range(6)
    ]
    assert own == [*[401] * 5, 429]


async def test_a_reset_by_mail_opens_the_door_under_attack(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings, mails: Mails
) -> None:
    await person(pool)
    async with browser(pool, people, settings) as mine:
        for _ in range(6):
            await log_in(mine, password="guess")
        assert (await log_in(mine)).status_code == 429
        asked = await mine.get("/reset")
        await mine.post("/reset", data={"csrf": csrf(asked), "email": EMAIL})
        path = f"/reset/{await mails.token('account.reset')}"
        shown = await mine.get(path)
        await mine.post(path, data={"csrf": csrf(shown), "password": OTHER_PASSWORD})
        assert (await log_in_page(mine, password=OTHER_PASSWORD)).status_code == 303


def test_places_are_addresses_and_networks_of_ipv6() -> None:
    assert throttle.place_of("192.0.2.1") == "192.0.2.1"
    assert throttle.place_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert throttle.place_of("2001:db8:1:2:3::4") == throttle.place_of("2001:db8:1:2:ffff::1")
    assert throttle.place_of("2001:db8:1:2::1") != throttle.place_of("2001:db8:1:3::1")
    assert throttle.place_of("fe80::1%eth0") == "fe80::/64"
    assert throttle.place_of("") == ""


def test_forwarded_addresses_are_believed_of_trusted_proxies_only(settings: Settings) -> None:
    def seen(peer: str, forwarded: str, *, trusted: str | None, proto: str = "https") -> object:
        proxies = Proxies(replace(settings, trusted_proxies=trusted))
        headers = [
            (b"x-forwarded-for", forwarded.encode()),
            (b"x-forwarded-proto", proto.encode()),
        ]
        scope = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": headers}
        caller, https = proxies.see(scope, None)
        return caller.address, https

    ours = "10.0.0.0/8,::1"
    assert seen("192.0.2.1", "198.51.100.1", trusted=None) == ("192.0.2.1", False)
    assert seen("192.0.2.1", "198.51.100.1", trusted=ours) == ("192.0.2.1", False)
    assert seen("10.0.0.1", "198.51.100.1", trusted=ours) == ("198.51.100.1", True)
    spoofed = "203.0.113.66, 198.51.100.1, 10.0.0.2"
    assert seen("::1", spoofed, trusted=ours) == ("198.51.100.1", True)
    assert seen("10.0.0.1", "nonsense", trusted=ours) == ("10.0.0.1", True)
    assert seen("10.0.0.1", "", trusted=ours, proto="http") == ("10.0.0.1", False)
    assert seen("10.0.0.1", "", trusted=ours, proto="https, http") == ("10.0.0.1", False)
    assert seen("10.0.0.1", "198.51.100.1:4711", trusted=ours)[0] == "198.51.100.1"  # type: ignore[index]
    assert seen("10.0.0.1", "[2001:db8::1]:80", trusted=ours)[0] == "2001:db8::1"  # type: ignore[index]


# --- Finding out who has an account ---------------------------------------------------------------


async def test_answers_do_not_tell_who_has_an_account(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, settings: Settings
) -> None:
    await person(pool)
    blocked = await person(pool, "bloquee@example.org")
    await person(pool, "invitee@example.org", password=False)
    async with transaction(pool) as connection:
        await accounts.block(connection, blocked, actor="test", now=now())
    emails = (EMAIL, "inconnue@example.org", "bloquee@example.org", "invitee@example.org", "x")
    wrong = {}
    for email in emails:
        password = PASSWORD if email == "bloquee@example.org" else "wrong"
        answer = await log_in(api, email, password)
        wrong[email] = (answer.status_code, answer.text, sorted(answer.headers))
    assert len(set(map(str, wrong.values()))) == 1
    asked = {}
    for email in emails:
        answer = await api.post("/api/v1/auth/password/reset-request", json={"email": email})
        asked[email] = (answer.status_code, answer.text, sorted(answer.headers))
    assert len(set(map(str, asked.values()))) == 1


async def test_the_time_does_not_tell_who_has_an_account(
    pool: AsyncConnectionPool, means: Means
) -> None:
    await person(pool)
    taken: dict[str, list[float]] = {EMAIL: [], "inconnue@example.org": []}
    for number in range(9):
        for email, times in taken.items():
            start = time.perf_counter()
            with pytest.raises(logins.NotLoggedIn):
                await logins.log_in(
                    means,
                    email,
                    "wrong",
                    code=None,
                    kind="api",
                    caller=Caller(f"203.0.113.{number}"),
                    now=now(),
                )
            times.append(time.perf_counter() - start)
    known, unknown = (median(times) for times in taken.values())
    assert 0.5 < known / unknown < 2.0  # without the check for nobody it is several times


async def test_nobody_floods_others_with_mails_about_a_change_of_address(
    pool: AsyncConnectionPool, settings: Settings, mails: Mails
) -> None:
    """One with an account can name anybody's address."""
    person_id = await person(pool)
    await person(pool, "taken@example.org")
    means = Means(pool, settings, PasswordWork(2, 50))
    caller = Caller("192.0.2.9")
    own = await logins.log_in(
        means, EMAIL, PASSWORD, code=None, kind="api", caller=caller, now=now()
    )
    assert isinstance(own, logins.LoggedIn)

    async def ask(email: str) -> None:
        await own_account.ask_for_email(means, person_id, own.login_id, PASSWORD, email, now())

    for number in range(settings.source_failures_max):
        await ask("taken@example.org" if number % 2 else f"victim{number}@example.org")
    for email in ("victim@example.org", "taken@example.org"):  # and nobody learns whose it is
        with pytest.raises(ComeLater):
            await ask(email)
    assert len(await mails.addresses("account.email_change")) == settings.source_failures_max // 2


async def test_too_many_requests_for_mails_wait(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    statuses = [
        (
            await api.post(
                "/api/v1/auth/password/reset-request", json={"email": f"{n}@example.org"}
            )
        ).status_code
        for n in range(31)
    ]
    assert statuses == [*[202] * 30, 429]


# --- Tokens and codes -----------------------------------------------------------------------------


async def test_a_stolen_refresh_token_ends_the_log_in(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    begun = (await log_in(api)).json()

    async def refresh(token: str) -> httpx.Response:
        return await api.post("/api/v1/auth/refresh", json={"refresh_token": token})

    second = (await refresh(begun["refresh_token"])).json()
    async with pool.connection() as connection:
        await connection.execute("UPDATE login_session SET refreshed_at = now() - interval '1h'")
    assert (await refresh(begun["refresh_token"])).status_code == 401
    assert (await refresh(second["refresh_token"])).status_code == 401
    me = await api.get("/api/v1/me", headers=bearer(second["access_token"]))
    assert me.status_code == 401
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT ended_why FROM login_session")
        assert await cursor.fetchall() == [("reuse",)]


async def test_a_lost_answer_to_a_refresh_is_asked_for_again(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    begun = (await log_in(api)).json()
    again = {"refresh_token": begun["refresh_token"]}
    lost = (await api.post("/api/v1/auth/refresh", json=again)).json()
    second = (await api.post("/api/v1/auth/refresh", json=again)).json()
    me = await api.get("/api/v1/me", headers=bearer(second["access_token"]))
    assert me.status_code == 200
    # Whoever has the answer that was lost is noticed, once the seconds are over.
    async with pool.connection() as connection:
        await connection.execute("UPDATE login_session SET refreshed_at = now() - interval '1h'")
    stolen = {"refresh_token": lost["refresh_token"]}
    assert (await api.post("/api/v1/auth/refresh", json=stolen)).status_code == 401
    me = await api.get("/api/v1/me", headers=bearer(second["access_token"]))
    assert me.status_code == 401


async def test_one_kind_of_secret_does_not_stand_for_another(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    begun = (await log_in(api)).json()
    await log_in_page(api)
    cookie = api.cookies["t2p_session"]
    api.cookies.clear()
    for token in (begun["refresh_token"], begun["device"], cookie, "t2a_" + cookie, "t2a_"):
        assert (await api.get("/api/v1/me", headers=bearer(token))).status_code == 401
    api.cookies.set("t2p_session", begun["access_token"])
    assert (await api.get("/account")).status_code == 303
    again = {"refresh_token": begun["access_token"]}
    assert (await api.post("/api/v1/auth/refresh", json=again)).status_code == 401


async def enrolled(api: httpx.AsyncClient, pool: AsyncConnectionPool) -> str:
    """The secret of a person who has set up her second factor."""
    await person(pool)
    mine = bearer((await log_in(api)).json()["access_token"])
    answer = await api.post("/api/v1/me/second-factor", json={"password": PASSWORD}, headers=mine)
    secret = str(answer.json()["secret"])
    code = {"code": code_of(secret, steps=0)}
    done = await api.post("/api/v1/me/second-factor/confirm", json=code, headers=mine)
    assert done.status_code == 200
    assert (await log_in(api, code=code["code"])).status_code == 401, "good once"
    return secret


async def test_a_code_is_good_once(api: httpx.AsyncClient, pool: AsyncConnectionPool) -> None:
    secret = await enrolled(api, pool)
    code = code_of(secret)
    answers = await asyncio.gather(*(log_in(api, code=code) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401]
    assert (await log_in(api, code=code_of(secret, steps=0))).status_code == 401, "nor one before"


async def test_codes_of_other_times_are_no_good(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    secret = await enrolled(api, pool)
    async with pool.connection() as connection:
        await connection.execute("UPDATE person SET totp_last_step = 0")
    for steps in (-3, 3):
        assert (await log_in(api, code=code_of(secret, steps=steps))).status_code == 401


async def test_codes_are_guessed_a_few_times_only_from_wherever(
    api: httpx.AsyncClient, attacker: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    secret = await enrolled(api, pool)
    device = (await log_in(api, code=code_of(secret))).json()["device"]
    statuses = []
    for number in range(8):
        client = (api, attacker)[number % 2]
        statuses.append((await log_in(client, code=f"00000{number}")).status_code)
    assert statuses == [*[401] * 5, *[429] * 3]
    # In a browser that is known the owner still comes in.
    async with pool.connection() as connection:
        await connection.execute("UPDATE person SET totp_last_step = 0")
    mine = await log_in(api, code=code_of(secret), device=device)
    assert mine.status_code == 200


async def test_passwords_are_guessed_a_few_times_only_within_a_log_in(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    mine = bearer((await log_in(api)).json()["access_token"])
    statuses = [
        (
            await api.post("/api/v1/me/second-factor", json={"password": f"{n}"}, headers=mine)
        ).status_code
        for n in range(6)
    ]
    assert statuses == [*[422] * 5, 429]


# --- Browsers -------------------------------------------------------------------------------------


async def test_a_log_in_has_a_new_secret_whatever_was_planted(
    api: httpx.AsyncClient, attacker: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    form = await api.get("/login")
    form_cookie = api.cookies["t2p_form"]
    api.cookies.clear()
    done = await api.post(
        "/login",
        data={"csrf": csrf(form), "email": EMAIL, "password": PASSWORD},
        headers={"Cookie": f"t2p_form={form_cookie}; t2p_session=planted"},
    )
    assert done.status_code == 303
    secret = api.cookies["t2p_session"]
    api.cookies.clear()
    for value, status in (("planted", 303), (secret, 200)):
        answer = await attacker.get("/account", headers={"Cookie": f"t2p_session={value}"})
        assert answer.status_code == status


async def test_a_log_in_ends_the_one_that_the_browser_had(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    form = await api.get("/login")
    fields = {"csrf": csrf(form), "email": EMAIL, "password": PASSWORD}
    form_cookie = api.cookies["t2p_form"]
    await api.post("/login", data=fields)
    first = api.cookies["t2p_session"]
    api.cookies.set("t2p_form", form_cookie)
    await api.post("/login", data=fields)
    values = [cookie.value for cookie in api.cookies.jar if cookie.name == "t2p_session"]
    assert len(values) == 1
    assert values[0] != first
    api.cookies.clear()
    api.cookies.set("t2p_session", first)
    assert (await api.get("/account")).status_code == 303


@pytest.mark.parametrize("https", [False, True])
async def test_cookies_are_closed_to_scripts_and_other_sites(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings, https: bool
) -> None:
    await person(pool)
    scheme = "https" if https else "http"
    async with browser(pool, people, settings, base_url=f"{scheme}://test") as client:
        form = await client.get("/login")
        done = await log_in_page(client)
        home = await client.get("/")
    prefix = "__Host-t2p" if https else "t2p"
    given = {
        header.split("=")[0]: header.lower()
        for answer in (form, done)
        for header in answer.headers.get_list("set-cookie")
    }
    assert set(given) == {f"{prefix}_{name}" for name in ("form", "session", "device")}
    for header in given.values():
        assert "httponly" in header
        assert "samesite=lax" in header
        assert "path=/" in header
        assert "domain" not in header
        assert ("; secure" in header) == https
    assert "max-age=43200" in given[f"{prefix}_session"]
    for answer in (form, done, home):
        assert answer.headers["cache-control"] == "no-store"
        assert ("strict-transport-security" in answer.headers) == https
        policy = answer.headers["content-security-policy"]
        assert "form-action 'self'" in policy
        assert "script-src" not in policy
        assert "default-src 'none'" in policy
        assert answer.headers["x-frame-options"] == "DENY"
    assert home.status_code == 200


async def test_over_https_a_cookie_that_anybody_could_plant_is_not_read(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    await person(pool)
    async with browser(pool, people, settings) as plain:
        await log_in_page(plain)
        secret = plain.cookies["t2p_session"]
    async with browser(pool, people, settings, base_url="https://test") as client:
        client.cookies.set("t2p_session", secret)
        assert (await client.get("/account")).status_code == 303
        client.cookies.set("__Host-t2p_session", secret)
        assert (await client.get("/account")).status_code == 200


async def test_two_cookies_of_one_name_are_none(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    await log_in_page(api)
    secret = api.cookies["t2p_session"]
    api.cookies.clear()
    planted = {"Cookie": f"t2p_session={secret}; t2p_session=planted"}
    assert (await api.get("/account", headers=planted)).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://test.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_other_sites_send_no_form_not_even_to_log_in(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, headers: dict[str, str]
) -> None:
    await person(pool)
    form = await api.get("/login")
    fields = {"csrf": csrf(form), "email": EMAIL, "password": PASSWORD}
    assert (await api.post("/login", data=fields, headers=headers)).status_code == 403
    await api.post("/login", data=fields, headers={"Origin": "http://test"})
    account = await api.get("/account")
    assert account.status_code == 200
    fields = {"csrf": csrf(account), "given_name": "changed"}
    refused = await api.post("/account/profile", data=fields, headers=headers)
    assert refused.status_code == 403
    token = (await api.get("/api/v1/me")).json()["csrf_token"]
    refused = await api.patch(
        "/api/v1/me", json={"given_name": "x"}, headers={**headers, "X-CSRF-Token": token}
    )
    assert refused.status_code == 403
    assert "changed" not in (await api.get("/account")).text


async def test_forms_come_through_a_proxy_that_asks_us_by_another_name(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    await person(pool)
    known = replace(settings, public_url="https://charging.example.org/")
    for origin, status in (("https://charging.example.org", 303), ("https://evil.example", 403)):
        async with browser(pool, people, known) as client:
            client.headers["Origin"] = origin
            assert (await log_in_page(client)).status_code == status


async def test_a_form_carries_the_token_of_its_own_browser(
    api: httpx.AsyncClient, attacker: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    await person(pool, "complice@example.org")
    foreign = csrf(await attacker.get("/login"))
    await api.get("/login")
    for token in ("", foreign, "0" * 64, "é"):
        fields = {"csrf": token, "email": EMAIL, "password": PASSWORD}
        assert (await api.post("/login", data=fields)).status_code == 403
    await log_in_page(attacker, "complice@example.org")
    await log_in_page(api)
    foreign = csrf(await attacker.get("/account"))
    for path in ("/account/profile", "/account/password", "/logout", "/account/log-ins"):
        assert (await api.post(path, data={"csrf": foreign})).status_code == 403
        assert (await api.post(path)).status_code == 403
    assert (await api.get("/account")).status_code == 200


async def test_the_api_takes_a_cookie_only_with_its_token(
    api: httpx.AsyncClient, attacker: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    await log_in_page(api)
    token = (await api.get("/api/v1/me")).json()["csrf_token"]
    change = {"given_name": "Élodie"}
    assert (await api.patch("/api/v1/me", json=change)).status_code == 403
    wrong = {"X-CSRF-Token": "0" * 64}
    assert (await api.patch("/api/v1/me", json=change, headers=wrong)).status_code == 403
    right = {"X-CSRF-Token": token}
    assert (await api.patch("/api/v1/me", json=change, headers=right)).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        " //evil.example",
        "",
    ],
)
async def test_a_log_in_leads_nowhere_else(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, target: str
) -> None:
    assert not is_local(target)
    await person(pool)
    assert (await log_in_page(api, next=target)).headers["location"] == "/"
    answer = await api.get("/login", params={"next": target})
    assert answer.headers["location"] == "/"


async def test_links_in_mails_do_not_follow_the_host_that_is_asked(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, settings: Settings, mails: Mails
) -> None:
    await person(pool)
    await api.post(
        "/api/v1/auth/password/reset-request",
        json={"email": EMAIL},
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
    )
    assert (await mails.links())[0].startswith(settings.base_url)


async def test_pages_say_back_nothing_that_is_not_escaped(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    evil = '"><script>alert(1)</script>'
    await person(pool)
    shown = await log_in_page(api, evil, "wrong", next=evil)
    assert shown.status_code == 401
    assert "<script" not in shown.text
    for path in ("/login", "/reset", "/invitation/x"):
        answer = await api.get(path, params={"next": evil, "done": evil, "lang": evil})
        assert "<script" not in answer.text
        assert answer.status_code < 500


@pytest.mark.parametrize("value", ["\0", "\ud800", "a" * 100_000, "' OR 1=1 --", "%", "é" * 300])
async def test_odd_texts_are_refused_and_break_nothing(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, value: str
) -> None:
    form = await api.get("/login")
    text = value.encode("utf-8", "surrogatepass").hex()
    quoted = re.sub("..", lambda pair: f"%{pair[0]}", text)
    for fields in (f"email={quoted}&password=x", f"email=x&password={quoted}"):
        answer = await api.post(
            "/login",
            content=f"csrf={csrf(form)}&{fields}".encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert answer.status_code in (401, 403)
    for path in ("/invitation/", "/reset/", "/account/email/"):
        assert (await api.get(path + quoted[:3_000])).status_code in (404, 405)


async def test_no_more_log_ins_wait_than_can_be_worked_on(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    await person(pool)
    narrow = replace(settings, login_queue_waiting_max=0)
    async with browser(pool, people, narrow) as api:
        busy = await log_in(api)
        assert (busy.status_code, busy.headers["retry-after"]) == (429, "5")
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM login_failure")
        assert await cursor.fetchone() == (0,), "who was not let in has not failed"
