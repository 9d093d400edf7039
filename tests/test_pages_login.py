"""The pages of log-in and account, as a browser uses them."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import accounts, driver_groups, group_requests, logins
from csms.clients import Actor
from csms.config import Settings
from csms.db import transaction
from csms.notifications.catalogue import CATEGORIES
from csms.notifications.delivery import CHOICES_PATH
from csms.store import choices
from tests.people_at_the_door import (
    OTHER_PASSWORD,
    PASSWORD,
    Mails,
    browser,
    code_of,
    csrf,
    log_in,
    log_in_page,
    now,
    person,
)

EMAIL = "conductrice@example.org"
OPERATOR = "operatrice@example.org"


@pytest.fixture
def mails(pool: AsyncConnectionPool, settings: Settings) -> Mails:
    return Mails(pool, settings)


@pytest.fixture
async def page(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings, mails: Mails
) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(pool, people, settings) as client:
        yield client


async def send(page: httpx.AsyncClient, path: str, form_at: str, **fields: str) -> httpx.Response:
    """Fill in a form of a page and send it."""
    form = await page.get(form_at)
    return await page.post(path, data={"csrf": csrf(form), **fields})


async def set_up_second_factor(page: httpx.AsyncClient) -> tuple[str, httpx.Response]:
    """The secret, and the page that follows the first code."""
    shown = await send(page, "/account/second-factor", "/account", password=PASSWORD)
    found = re.search(r"<code>([A-Z2-7]{32})</code>", shown.text)
    assert found is not None, shown.text
    fields = {"csrf": csrf(shown), "code": code_of(found[1], steps=0)}
    return found[1], await page.post("/account/second-factor/confirm", data=fields)


async def test_nobody_is_sent_to_the_log_in(page: httpx.AsyncClient) -> None:
    for path, target in (("/", "/login"), ("/account", "/login?next=/account")):
        answer = await page.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, target)
    form = await page.get("/login")
    assert "Se connecter" in form.text
    assert "Log in" in (await page.get("/login?lang=en")).text
    english = await page.get("/login", headers={"Accept-Language": "de, en;q=0.8, fr;q=0.2"})
    assert "Log in" in english.text
    assert "<script" not in form.text
    assert "style=" not in form.text


async def test_who_logs_in_has_a_home_without_the_fleet(
    page: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    answer = await log_in_page(page, next="/account?done=profile")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account?done=profile")
    home = await page.get("/")
    assert home.status_code == 200
    assert "Vous êtes connecté" in home.text
    assert "Bornes connectées" not in home.text
    assert (await page.get("/login")).headers["location"] == "/"


async def test_the_fleet_is_shown_to_operators_with_their_second_factor(
    page: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool, OPERATOR, roles=("read",))
    answer = await log_in_page(page, OPERATOR, next="/docs")
    assert answer.headers["location"] == "/account"
    assert "attendent la double authentification" in (await page.get("/account")).text
    assert "Bornes connectées" not in (await page.get("/")).text
    before = page.cookies["t2p_session"]
    _, done = await set_up_second_factor(page)
    assert done.text.count("<li><code>") == 10
    assert page.cookies["t2p_session"] != before
    assert "Bornes connectées" in (await page.get("/")).text
    assert "Stations connected" in (await page.get("/?lang=en")).text
    page.cookies.clear()
    page.cookies.set("t2p_session", before)
    assert (await page.get("/")).status_code == 303, "what may do more has another secret"


async def test_the_code_is_a_step_of_its_own(
    page: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool, OPERATOR, roles=("read",))
    await log_in_page(page, OPERATOR)
    secret, _ = await set_up_second_factor(page)
    page.cookies.clear()
    asked = await log_in_page(page, OPERATOR, next="/docs")
    assert asked.status_code == 200
    assert "t2p_session" not in page.cookies
    ticket = re.search(r'name="ticket" value="([0-9a-f]+)"', asked.text)
    assert ticket is not None
    fields = {"csrf": csrf(asked), "ticket": ticket[1], "next": "/docs"}
    wrong = await page.post("/login/code", data={**fields, "code": "000000"})
    assert wrong.status_code == 401
    assert "pas correct" in wrong.text
    forged = await page.post("/login/code", data={**fields, "ticket": "00", "code": "1"})
    assert "recommencez" in forged.text
    done = await page.post("/login/code", data={**fields, "code": code_of(secret)})
    assert (done.status_code, done.headers["location"]) == (303, "/docs")
    assert "Bornes connectées" in (await page.get("/")).text


async def test_a_ticket_runs_out_and_ends_with_a_change_of_password(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    person_id = await person(pool)
    async with browser(pool, people, settings) as page:
        await log_in_page(page)
        secret, _ = await set_up_second_factor(page)
    for changed, chosen in ((True, settings), (False, replace(settings, login_code_s=0.0))):
        async with browser(pool, people, chosen) as page:
            asked = await log_in_page(page)
            ticket = re.search(r'name="ticket" value="([0-9a-f]+)"', asked.text)
            assert ticket is not None
            if changed:
                async with transaction(pool) as connection:
                    await connection.execute(
                        "UPDATE person SET password_changed_at = %s WHERE id = %s",
                        [now(), person_id],
                    )
            fields = {"csrf": csrf(asked), "ticket": ticket[1], "code": code_of(secret)}
            refused = await page.post("/login/code", data=fields)
            assert refused.status_code == 401
            assert "recommencez" in refused.text


async def test_log_out_is_asked_for_and_ends_the_log_in(
    page: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    await log_in_page(page)
    stolen = page.cookies["t2p_session"]
    asked = await page.get("/logout")
    assert (await page.get("/account")).status_code == 200, "a link alone logs nobody out"
    done = await page.post("/logout", data={"csrf": csrf(asked)})
    assert done.headers["location"] == "/login?done=logout"
    assert "t2p_session" not in page.cookies
    assert "Vous êtes déconnecté" in (await page.get("/login?done=logout")).text
    page.cookies.set("t2p_session", stolen)
    assert (await page.get("/account")).status_code == 303


async def test_an_invitation_is_accepted_on_a_page(
    page: httpx.AsyncClient, pool: AsyncConnectionPool, settings: Settings, mails: Mails
) -> None:
    person_id = await person(pool, password=False)
    async with transaction(pool) as connection:
        link = await accounts.invite(connection, settings, person_id, actor="test", now=now())
    path = link.removeprefix(settings.base_url)
    weak = await send(page, path, path, password="azertyuiop12")
    assert weak.status_code == 422
    assert "premiers que l’on devine" in weak.text
    done = await send(page, path, path, password=PASSWORD)
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert (await page.get("/account")).status_code == 200
    over = await page.get(path)
    assert over.status_code == 404
    assert "plus valable" in over.text


async def test_a_forgotten_password_is_chosen_anew(
    page: httpx.AsyncClient, pool: AsyncConnectionPool, mails: Mails
) -> None:
    await person(pool)
    asked = await send(page, "/reset", "/reset", email=EMAIL)
    unknown = await send(page, "/reset", "/reset", email="inconnue@example.org")
    assert asked.text == unknown.text
    assert await mails.events() == ["account.reset"]
    path = f"/reset/{await mails.token('account.reset')}"
    done = await send(page, path, path, password=OTHER_PASSWORD)
    assert done.headers["location"] == "/login?done=reset"
    assert "t2p_device" in page.cookies
    assert "Votre mot de passe est changé" in (await page.get("/login?done=reset")).text
    assert (await log_in_page(page, password=OTHER_PASSWORD)).status_code == 303


async def test_an_account_is_kept_on_its_page(
    page: httpx.AsyncClient, pool: AsyncConnectionPool, mails: Mails
) -> None:
    await person(pool)
    await log_in_page(page)
    saved = await send(
        page,
        "/account/profile",
        "/account",
        given_name="Élodie <b>",
        family_name="Exemple",
        phone="",
        language="fr",
    )
    assert saved.headers["location"] == "/account?done=profile"
    shown = await page.get("/account?done=profile")
    assert "Votre profil est enregistré" in shown.text
    assert "Élodie &lt;b&gt;" in shown.text
    wrong = await send(page, "/account/profile", "/account", phone="call me")
    assert (wrong.status_code, "numéro de téléphone" in wrong.text) == (422, True)
    wrong = await send(page, "/account/password", "/account", current="no", password=OTHER_PASSWORD)
    assert "pas votre mot de passe actuel" in wrong.text
    done = await send(
        page, "/account/password", "/account", current=PASSWORD, password=OTHER_PASSWORD
    )
    assert done.headers["location"] == "/account?done=password"
    done = await send(
        page,
        "/account/email",
        "/account",
        email="nouvelle@example.org",
        password=OTHER_PASSWORD,
    )
    assert done.headers["location"] == "/account?done=email"
    path = f"/account/email/{await mails.token('account.email_change')}"
    assert "nouvelle@example.org" in (await page.get(path)).text
    assert EMAIL in (await page.get("/account")).text, "a link that is only opened changes nothing"
    confirmed = await send(page, path, path)
    assert confirmed.headers["location"] == "/account?done=address"
    assert "nouvelle@example.org" in (await page.get("/account")).text
    assert (await page.get("/account/password")).headers["location"] == "/account"


def boxes(form: httpx.Response) -> dict[str, tuple[bool, bool]]:
    """Of each box of the page: whether it is ticked, and whether it can be changed."""
    return {
        name: ("checked" in rest, "disabled" not in rest)
        for name, rest in re.findall(r'type="checkbox" name="([a-z_.]+)"([^>]*)>', form.text)
    }


async def test_what_mails_say_is_chosen_on_the_page_that_they_point_to(
    page: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    me = await person(pool)
    await log_in_page(page)
    path, _, anchor = CHOICES_PATH.partition("#")
    shown = await page.get(path)
    assert f'id="{anchor}"' in shown.text
    assert "Début d’une recharge" in shown.text
    assert "A charge begins" in (await page.get(f"{path}?lang=en")).text
    assert list(boxes(shown)) == [f"{category}.email" for category in CATEGORIES]
    assert boxes(shown)["account.email"] == (True, False)
    assert boxes(shown)["badges.email"] == (True, True)

    at = f"{path}/notifications"
    wish = {"badges.email": "on", "quiet_from": "22:00", "quiet_to": "07:30"}
    saved = await send(page, at, path, **wish, time_zone="Indian/Reunion")
    assert saved.headers["location"] == f"{path}?done=notifications"
    shown = await page.get(saved.headers["location"])
    assert "Vos choix de notifications sont enregistrés" in shown.text
    assert {name for name, (ticked, free) in boxes(shown).items() if ticked and free} == {
        "badges.email"
    }
    assert boxes(shown)["account.email"] == (True, False), "an account is told of all the same"
    async with pool.connection() as connection:
        assert await choices.fetch_quiet_hours(connection, me) == choices.QuietHours(
            22 * 60, 7 * 60 + 30, "Indian/Reunion"
        )
    for wrong, why in (
        ({"quiet_from": "22:00"}, "un début et une fin"),
        ({"quiet_from": "22:00", "quiet_to": "22:00", "time_zone": "Europe/Paris"}, "diffèrent"),
        ({"quiet_from": "22:00", "quiet_to": "24:00", "time_zone": "Europe/Paris"}, "une fin"),
        ({"quiet_from": "22:00", "quiet_to": "07:00", "time_zone": "Mars"}, "fuseau horaire"),
    ):
        refused = await send(page, at, path, **wrong)
        assert (refused.status_code, why in refused.text) == (422, True), wrong
    assert boxes(await page.get(path))["badges.email"] == (True, True), "refused as a whole"
    forged = await page.post(at, data={"points.email": "on"})
    assert (forged.status_code, "points.email" in forged.text) == (403, False)
    await send(page, at, path, quiet_from="", quiet_to="", time_zone="Europe/Paris")
    async with pool.connection() as connection:
        assert await choices.fetch_quiet_hours(connection, me) is None


async def test_groups_that_one_is_asked_to_join_are_joined_or_refused(
    page: httpx.AsyncClient, pool: AsyncConnectionPool, settings: Settings
) -> None:
    me = await person(pool)
    async with transaction(pool) as connection:
        await connection.execute("INSERT INTO client (name) VALUES ('Résidence Exemple')")
        for name in ("Résidents", "Visiteurs"):
            actor, values = Actor("person 99"), {"email": EMAIL}
            group = await driver_groups.create(connection, 2, {"name": name}, actor, now())
            await group_requests.ask(connection, settings, group, values, actor, now())
    await log_in_page(page)
    shown = await page.get("/account")
    assert "Résidence Exemple" in shown.text
    paths = re.findall(r'action="(/account/memberships/\d+)"', shown.text)
    assert len(paths) == 2
    for path, answer in zip(paths, ("accept", "refuse"), strict=True):
        done = await page.post(path, data={"csrf": csrf(shown), "answer": answer})
        assert done.status_code == 303
    again = await page.post(paths[1], data={"csrf": csrf(shown), "answer": "accept"})
    assert again.status_code == 303, "answered already"
    assert "/account/memberships" not in (await page.get("/account")).text
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT group_id, person_id FROM group_member")
        assert await cursor.fetchall() == [(int(paths[0].rsplit("/", 1)[1]), me)]


async def test_other_log_ins_are_seen_and_ended(
    page: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    first, second = [(await log_in(page)).json()["access_token"] for _ in range(2)]
    await log_in_page(page)
    shown = await page.get("/account")
    ids = re.findall(r'action="/account/log-ins/(\d+)"', shown.text)
    assert len(ids) == 2
    await page.post(f"/account/log-ins/{ids[0]}", data={"csrf": csrf(shown)})
    after = [
        (await page.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})).status_code
        for token in (first, second)
    ]
    assert sorted(after) == [200, 401]
    await page.post("/account/log-ins", data={"csrf": csrf(shown)})
    for token in (first, second):
        answer = await page.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
    assert (await page.get("/account")).status_code == 200


async def test_the_second_factor_is_removed_with_password_and_code(
    page: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    await log_in_page(page)
    secret, _ = await set_up_second_factor(page)
    again = {"password": PASSWORD, "code": "000000"}
    assert (
        await send(page, "/account/second-factor/remove", "/account", **again)
    ).status_code == 422
    again["code"] = code_of(secret)
    codes = await send(page, "/account/second-factor/codes", "/account", **again)
    found = re.findall(r"<li><code>([a-z2-7-]+)</code>", codes.text)
    again["code"] = found[0]
    gone = await send(page, "/account/second-factor/remove", "/account", **again)
    assert gone.headers["location"] == "/account?done=removed"


async def test_a_browser_that_is_idle_is_logged_out(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    await person(pool)
    async with browser(pool, people, settings) as page:
        await log_in_page(page)
        assert (await page.get("/account")).status_code == 200
        async with pool.connection() as connection:
            await connection.execute(
                "UPDATE login_session SET last_used_at = last_used_at - interval '31 minutes'"
            )
        assert (await page.get("/account")).status_code == 303


async def test_forgetting_what_is_over_leaves_what_is_not(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    person_id = await person(pool)
    async with browser(pool, people, settings) as page:
        await log_in_page(page)
        await log_in(page, password="wrong")
        async with transaction(pool) as connection:
            await accounts.issue_link(
                connection, settings, person_id, "reset", now() - now(), now()
            )
            assert await logins.forget_old(connection, settings, now()) == 0
        assert (await page.get("/account")).status_code == 200
    soon = replace(
        settings, page_idle_s=0, logins_kept_days=0, links_kept_days=0, failures_kept_s=0
    )
    async with transaction(pool) as connection:
        assert await logins.forget_old(connection, soon, now()) == 4  # the link, three counters
        assert await logins.forget_old(connection, soon, now()) == 1  # the log-in that was idle
        cursor = await connection.execute("SELECT count(*) FROM trusted_device")
        assert await cursor.fetchone() == (1,)
