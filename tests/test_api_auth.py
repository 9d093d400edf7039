"""Log-in, account, people, keys and audit over the API."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import accounts, closing, keys
from csms.config import Settings
from csms.db import transaction
from csms.store import sites
from tests.people_at_the_door import (
    OTHER_PASSWORD,
    PASSWORD,
    Mails,
    bearer,
    browser,
    code_of,
    log_in,
    now,
    person,
)
from tests.test_api_stations import told

EMAIL = "conductrice@example.org"
ADMIN = "administratrice@example.org"


@pytest.fixture
def mails(pool: AsyncConnectionPool, settings: Settings) -> Mails:
    return Mails(pool, settings)


@pytest.fixture
async def api(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings, mails: Mails
) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(pool, people, settings) as client:
        yield client


async def enter(api: httpx.AsyncClient, email: str = EMAIL, **members: str) -> dict[str, Any]:
    answer = await log_in(api, email, **members)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    api.headers["Authorization"] = f"Bearer {found['access_token']}"
    return found


async def enter_as_operator(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, *roles: str, email: str = ADMIN
) -> tuple[int, str]:
    """An operator who is logged in and has set up her second factor; who, and its secret."""
    person_id = await person(pool, email, roles=roles)
    await enter(api, email)
    enrolled = await api.post("/api/v1/me/second-factor", json={"password": PASSWORD})
    secret = str(enrolled.json()["secret"])
    code = code_of(secret, steps=0)
    done = await api.post("/api/v1/me/second-factor/confirm", json={"code": code})
    assert done.status_code == 200, done.text
    return person_id, secret


async def test_who_logs_in_is_told_who_she_is(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    person_id = await person(pool)
    begun = await enter(api, " Conductrice@Example.ORG ")
    assert begun["second_factor_needed"] is False
    assert begun["expires_in_s"] == 900
    assert begun["access_token"].startswith("t2a_")
    me = (await api.get("/api/v1/me")).json()
    assert (me["id"], me["email"], me["roles"], me["manages"]) == (person_id, EMAIL, [], [])
    assert me["csrf_token"] is None


async def test_a_driver_reaches_nothing_of_operators(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    await enter(api)
    for path in ("/stations", "/tokens", "/sessions", "/people", "/keys", "/audit", "/sites"):
        told(await api.get(f"/api/v1{path}"), 403)
    told(await api.post("/api/v1/keys", json={"name": "mine"}), 403)


async def test_roles_wait_for_the_second_factor(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool, ADMIN, roles=("read", "admin"))
    begun = await enter(api, ADMIN)
    assert begun["second_factor_to_set_up"] is True
    problem = told(await api.get("/api/v1/stations"), 403)
    assert "second factor" in problem["detail"]
    told(await api.get("/api/v1/people"), 403)
    told(await api.post("/api/v1/keys", json={"name": "mine"}), 403)
    told(await api.get("/api/v1/audit"), 403)
    assert (await api.get("/api/v1/me")).json()["roles"] == []


async def test_with_the_second_factor_roles_count_and_no_others(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await enter_as_operator(api, pool, "read", "admin")
    assert (await api.get("/api/v1/stations")).status_code == 200
    assert (await api.get("/api/v1/people")).status_code == 200
    told(await api.post("/api/v1/stations", json={"id": "CP-1"}), 403)
    assert (await api.get("/api/v1/me")).json()["roles"] == ["admin", "read"]


async def test_log_in_asks_for_the_code_where_there_is_one(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    _, secret = await enter_as_operator(api, pool, "read")
    del api.headers["Authorization"]
    asked = (await log_in(api, ADMIN)).json()
    assert asked["second_factor_needed"] is True
    assert (asked["access_token"], asked["refresh_token"], asked["device"]) == (None, None, None)
    told(await log_in(api, ADMIN, code="000000"), 401)
    told(await log_in(api, ADMIN, code="not a code"), 401)
    begun = await enter(api, ADMIN, code=code_of(secret))
    assert begun["second_factor_to_set_up"] is False
    assert (await api.get("/api/v1/stations")).status_code == 200


async def test_recovery_codes_stand_in_for_the_app_once(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    await enter(api)
    enrolled = (await api.post("/api/v1/me/second-factor", json={"password": PASSWORD})).json()
    assert enrolled["uri"].startswith("otpauth://totp/Time2Plug:")
    assert enrolled["qr_svg"].startswith("data:image/svg+xml")
    codes = (
        await api.post(
            "/api/v1/me/second-factor/confirm", json={"code": code_of(enrolled["secret"])}
        )
    ).json()["recovery_codes"]
    assert len(set(codes)) == 10
    assert (await log_in(api, code=codes[3].upper().replace("-", " "))).status_code == 200
    told(await log_in(api, code=codes[3]), 401)
    assert (await log_in(api, code=codes[4])).status_code == 200


async def test_recovery_codes_are_renewed_and_the_second_factor_removed(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, mails: Mails
) -> None:
    _, secret = await enter_as_operator(api, pool, "read")
    again = {"password": PASSWORD, "code": code_of(secret)}
    told(await api.post("/api/v1/me/second-factor", json={"password": PASSWORD}), 422)
    wrong = {"password": "x", "code": "1"}
    told(await api.post("/api/v1/me/second-factor/recovery-codes", json=wrong), 422)
    told(
        await api.post(
            "/api/v1/me/second-factor/recovery-codes",
            json={"password": PASSWORD, "code": "000000"},
        ),
        422,
    )
    renewed = await api.post("/api/v1/me/second-factor/recovery-codes", json=again)
    code = renewed.json()["recovery_codes"][0]
    gone = {"password": PASSWORD, "code": code}
    assert (await api.post("/api/v1/me/second-factor/remove", json=gone)).status_code == 204
    told(await api.get("/api/v1/stations"), 403)
    assert await mails.events() == ["account.second_factor"] * 2


async def test_refresh_brings_new_tokens_and_ends_the_former_access(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    begun = await enter(api)
    renewed = await api.post("/api/v1/auth/refresh", json={"refresh_token": begun["refresh_token"]})
    assert renewed.status_code == 200
    told(await api.get("/api/v1/me"), 401)
    me = await api.get("/api/v1/me", headers=bearer(renewed.json()["access_token"]))
    assert me.status_code == 200


async def test_tokens_run_out(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    await person(pool)
    short = replace(settings, access_token_s=0.0, refresh_token_s=0.0)
    async with browser(pool, people, short) as api:
        begun = await enter(api)
        told(await api.get("/api/v1/me"), 401)
        again = {"refresh_token": begun["refresh_token"]}
        told(await api.post("/api/v1/auth/refresh", json=again), 401)


@pytest.mark.parametrize("which", ["this", "others", "all"])
async def test_log_out_ends_what_it_says(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, which: str
) -> None:
    await person(pool)
    other = (await log_in(api)).json()
    this = await enter(api)
    ended = await api.post("/api/v1/auth/log-out", json={"which": which})
    assert ended.status_code == 204
    open_now = [
        (await api.get("/api/v1/me", headers=bearer(login["access_token"]))).status_code == 200
        for login in (this, other)
    ]
    assert (
        open_now == {"this": [False, True], "others": [True, False], "all": [False, False]}[which]
    )
    ended_ones = {"this": [this], "others": [other], "all": [this, other]}[which]
    for login in ended_ones:
        again = {"refresh_token": login["refresh_token"]}
        told(await api.post("/api/v1/auth/refresh", json=again), 401)


async def test_log_ins_are_listed_and_ended_one_by_one(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    await person(pool, "autre@example.org")
    foreign = (await log_in(api, "autre@example.org")).json()
    other = (await log_in(api)).json()
    await enter(api)
    listed = (await api.get("/api/v1/me/log-ins")).json()
    assert listed["total"] == 2
    assert [login["is_this"] for login in listed["items"]] == [True, False]
    assert {login["remote_address"] for login in listed["items"]} == {"192.0.2.10"}
    other_id = listed["items"][1]["id"]
    assert (await api.delete(f"/api/v1/me/log-ins/{other_id}")).status_code == 204
    told(await api.delete(f"/api/v1/me/log-ins/{other_id}"), 404)
    told(await api.delete("/api/v1/me/log-ins/1"), 404)  # the other person's
    told(await api.get("/api/v1/me", headers=bearer(other["access_token"])), 401)
    assert (await api.get("/api/v1/me", headers=bearer(foreign["access_token"]))).status_code == 200


async def test_a_profile_is_changed_as_far_as_it_is_named(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await person(pool)
    await enter(api)
    first = {"given_name": "Élodie", "phone": "+33 1 00 00 00 00", "language": "en"}
    await api.patch("/api/v1/me", json=first)
    me = (await api.patch("/api/v1/me", json={"family_name": "Exemple", "phone": None})).json()
    assert (me["given_name"], me["family_name"]) == ("Élodie", "Exemple")
    assert (me["phone"], me["language"]) == (None, "en")
    told(await api.patch("/api/v1/me", json={"phone": "call me"}), 422)
    told(await api.patch("/api/v1/me", json={"operator_roles": ["admin"]}), 422)
    told(await api.patch("/api/v1/me", json={"email": "x@example.org"}), 422)


async def test_a_password_is_changed_with_the_former_one(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, mails: Mails
) -> None:
    await person(pool)
    other = (await log_in(api)).json()
    await enter(api)

    async def change(current: str, password: str) -> httpx.Response:
        return await api.post(
            "/api/v1/me/password", json={"current": current, "password": password}
        )

    assert told(await change("wrong", OTHER_PASSWORD), 422)["errors"][0]["field"] == "current"
    for weak in ("short", "motdepasse2026!", "conductrice2026", "abababababab", PASSWORD):
        problem = told(await change(PASSWORD, weak), 422)
        assert problem["errors"][0]["field"] == "password"
        assert weak not in str(problem)
    assert (await change(PASSWORD, OTHER_PASSWORD)).status_code == 204
    assert await mails.events() == ["account.password_changed"]
    assert (await api.get("/api/v1/me")).status_code == 200
    told(await api.get("/api/v1/me", headers=bearer(other["access_token"])), 401)
    told(await log_in(api), 401)
    assert (await log_in(api, password=OTHER_PASSWORD)).status_code == 200


async def test_an_invitation_is_accepted_once(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, mails: Mails
) -> None:
    await enter_as_operator(api, pool, "admin")
    created = await api.post("/api/v1/people", json={"email": EMAIL, "language": "en"})
    assert created.status_code == 201
    assert created.json()["email_verified_at"] is None
    token = await mails.token("account.invited")
    assert token not in created.text
    accept = {"token": token, "password": PASSWORD}
    weak = {**accept, "password": "azertyuiop12"}
    told(await api.post("/api/v1/auth/invitations/accept", json=weak), 422)
    begun = await api.post("/api/v1/auth/invitations/accept", json=accept)
    assert begun.status_code == 200
    me = await api.get("/api/v1/me", headers=bearer(begun.json()["access_token"]))
    assert me.json()["email_verified_at"] is not None
    told(await api.post("/api/v1/auth/invitations/accept", json=accept), 422)
    told(await api.post(f"/api/v1/people/{me.json()['id']}/invitation"), 409)


async def test_a_second_invitation_ends_the_first_and_both_run_out(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings, mails: Mails
) -> None:
    person_id = await person(pool, password=False)
    async with transaction(pool) as connection:
        first, second = [
            await accounts.invite(connection, settings, person_id, actor="test", now=now())
            for _ in range(2)
        ]
        over = replace(settings, invitation_s=0.0)
        third = await accounts.invite(connection, over, person_id, actor="test", now=now())
    async with browser(pool, people, settings) as api:
        for link in (first, second, third):
            accept = {"token": link.rsplit("/", 1)[1], "password": PASSWORD}
            told(await api.post("/api/v1/auth/invitations/accept", json=accept), 422)
    assert await mails.events() == ["account.invited"] * 3


async def test_a_password_is_reset_by_a_mailed_link(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, mails: Mails, settings: Settings
) -> None:
    await person(pool)
    begun = await enter(api)
    asked = await api.post("/api/v1/auth/password/reset-request", json={"email": EMAIL})
    assert (asked.status_code, asked.text) == (202, "null")
    link = (await mails.links())[-1]
    assert link.startswith(f"{settings.base_url}/reset/")
    reset = {"token": await mails.token("account.reset"), "password": OTHER_PASSWORD}
    done = await api.post("/api/v1/auth/password/reset", json=reset)
    assert done.status_code == 200
    assert await mails.events() == ["account.reset", "account.password_changed"]
    told(await api.get("/api/v1/me"), 401)
    again = {"refresh_token": begun["refresh_token"]}
    told(await api.post("/api/v1/auth/refresh", json=again), 401)
    told(await api.post("/api/v1/auth/password/reset", json=reset), 422)
    assert (await log_in(api, password=OTHER_PASSWORD)).status_code == 200


async def test_few_links_are_mailed_and_all_of_them_work(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, mails: Mails
) -> None:
    await person(pool)
    for _ in range(5):
        asked = await api.post("/api/v1/auth/password/reset-request", json={"email": EMAIL})
        assert asked.status_code == 202
    assert await mails.events() == ["account.reset"] * 3
    first = (await mails.links())[0].rsplit("/", 1)[1]
    reset = {"token": first, "password": OTHER_PASSWORD}
    assert (await api.post("/api/v1/auth/password/reset", json=reset)).status_code == 200
    reset = {"token": await mails.token("account.reset"), "password": PASSWORD}
    told(await api.post("/api/v1/auth/password/reset", json=reset), 422)  # used up with the first


async def test_an_address_is_changed_by_a_link_to_the_other_one(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, mails: Mails
) -> None:
    await person(pool)
    await person(pool, "autre@example.org")
    await enter(api)

    async def ask(email: str, password: str = PASSWORD) -> int:
        change = {"email": email, "password": password}
        return (await api.post("/api/v1/me/email", json=change)).status_code

    assert await ask("nouvelle@example.org", "wrong") == 422
    assert await ask("no address") == 422
    assert await ask("Autre@example.org") == 202
    assert await mails.events() == []
    assert await ask("Nouvelle@example.org") == 202
    assert (await api.get("/api/v1/me")).json()["email"] == EMAIL
    token = {"token": await mails.token("account.email_change")}
    assert (await api.post("/api/v1/auth/email/confirm", json=token)).status_code == 204
    told(await api.post("/api/v1/auth/email/confirm", json=token), 422)
    assert (await api.get("/api/v1/me")).json()["email"] == "nouvelle@example.org"
    assert await mails.addresses("account.email_change") == ["nouvelle@example.org"]
    assert await mails.addresses("account.email_changed") == [EMAIL], "the former one is told"


async def test_who_logs_in_from_a_place_and_browser_that_are_new_is_told(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings, mails: Mails
) -> None:
    await person(pool)
    async with browser(pool, people, settings) as home:
        device = (await log_in(home)).json()["device"]
        await log_in(home)
    async with browser(pool, people, settings, address="198.51.100.7") as elsewhere:
        await log_in(elsewhere, device=device)
        assert await mails.events() == []
    async with browser(pool, people, settings, address="203.0.113.9") as elsewhere:
        await log_in(elsewhere)
    assert await mails.events() == ["account.new_device"]


async def test_an_address_taken_meanwhile_is_not_taken_twice(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, mails: Mails
) -> None:
    await person(pool)
    await enter(api)
    change = {"email": "nouvelle@example.org", "password": PASSWORD}
    await api.post("/api/v1/me/email", json=change)
    await person(pool, "nouvelle@example.org")
    token = {"token": await mails.token("account.email_change")}
    told(await api.post("/api/v1/auth/email/confirm", json=token), 422)


async def test_an_administrator_keeps_people(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, mails: Mails
) -> None:
    own_id, _ = await enter_as_operator(api, pool, "admin")
    created = (
        await api.post(
            "/api/v1/people",
            json={"email": EMAIL, "given_name": "Élodie", "operator_roles": ["operate", "read"]},
        )
    ).json()
    person_id = created["id"]
    assert created["operator_roles"] == ["read", "operate"]
    problem = told(await api.post("/api/v1/people", json={"email": EMAIL.upper()}), 409)
    assert problem["errors"][0]["field"] == "email"
    found = (await api.get("/api/v1/people", params={"q": "ÉLO"})).json()
    assert [row["id"] for row in found["items"]] == [person_id]
    found = (await api.get("/api/v1/people", params={"role": "admin", "limit": 1})).json()
    assert [row["id"] for row in found["items"]] == [own_id]
    address = f"/api/v1/people/{person_id}"
    set_roles = await api.put(f"{address}/roles", json={"roles": []})
    assert set_roles.json()["operator_roles"] == []
    told(await api.put(f"{address}/roles", json={"roles": ["owner"]}), 422)
    assert (await api.post(f"{address}/block")).json()["blocked_at"] is not None
    told(await api.post(f"{address}/invitation"), 422)
    assert (await api.post(f"{address}/unblock")).json()["blocked_at"] is None
    assert (await api.post(f"{address}/invitation")).status_code == 202
    assert (await api.post(f"{address}/close")).json()["closed_at"] is not None
    told(await api.get("/api/v1/people/999"), 404)
    for act in ("block", "close", "second-factor/reset"):
        told(await api.post(f"/api/v1/people/{own_id}/{act}"), 422)
    told(await api.put(f"/api/v1/people/{own_id}/roles", json={"roles": ["read"]}), 422)


async def test_who_is_blocked_or_closed_is_out_at_once(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, settings: Settings
) -> None:
    blocked = await person(pool)
    closed = await person(pool, "autre@example.org")
    first, second = [(await log_in(api, email)).json() for email in (EMAIL, "autre@example.org")]
    async with transaction(pool) as connection:
        await accounts.block(connection, blocked, actor="test", now=now())
        desk = closing.By("test")
        await closing.close_account(connection, settings, closed, now=now(), by=desk)
    for login, email in ((first, EMAIL), (second, "autre@example.org")):
        told(await api.get("/api/v1/me", headers=bearer(login["access_token"])), 401)
        again = {"refresh_token": login["refresh_token"]}
        told(await api.post("/api/v1/auth/refresh", json=again), 401)
        told(await log_in(api, email), 401)


async def test_a_lost_second_factor_is_reset_by_an_administrator(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, mails: Mails
) -> None:
    other_id, _ = await enter_as_operator(api, pool, "read", email=EMAIL)
    other = dict(api.headers)
    await enter_as_operator(api, pool, "admin")
    reset = await api.post(f"/api/v1/people/{other_id}/second-factor/reset")
    assert reset.json()["totp_confirmed_at"] is None
    assert (
        await api.get("/api/v1/me", headers={"Authorization": other["authorization"]})
    ).status_code == 401
    begun = await enter(api, EMAIL)
    assert begun["second_factor_to_set_up"] is True
    told(await api.get("/api/v1/stations"), 403)


async def test_managers_come_and_go(api: httpx.AsyncClient, pool: AsyncConnectionPool) -> None:
    async with transaction(pool) as connection:
        client = await sites.insert_client(connection, "Résidence Exemple")
    assert client is not None
    person_id = await person(pool)
    await enter_as_operator(api, pool, "admin")
    address = f"/api/v1/people/{person_id}/clients"
    added = await api.post(address, json={"client_id": client.id})
    assert added.json()["manages"] == [client.id]
    told(await api.post(address, json={"client_id": client.id}), 409)
    told(await api.post(address, json={"client_id": 999}), 404)
    found = (await api.get("/api/v1/people", params={"client_id": client.id})).json()
    assert [row["id"] for row in found["items"]] == [person_id]
    assert (await api.delete(f"{address}/{client.id}")).status_code == 204
    told(await api.delete(f"{address}/{client.id}"), 404)
    assert (await api.get(f"/api/v1/people/{person_id}")).json()["manages"] == []
    listed = (await api.get(address)).json()["items"]
    assert [row["client"] for row in listed] == ["Résidence Exemple"]
    assert listed[0]["to_at"] is not None


async def test_keys_are_made_shown_once_and_revoked(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    person_id, _ = await enter_as_operator(api, pool, "admin")
    made = (await api.post("/api/v1/keys", json={"name": "meter", "scopes": ["read"]})).json()
    assert made["created_by"] == f"person {person_id}"
    listed = await api.get("/api/v1/keys")
    assert made["key"] not in listed.text
    mine = bearer(made["key"])
    assert (await api.get("/api/v1/stations", headers=mine)).status_code == 200
    told(await api.post("/api/v1/stations", json={"id": "X"}, headers=mine), 403)
    told(await api.get("/api/v1/me", headers=mine), 403)
    assert (await api.delete(f"/api/v1/keys/{made['id']}")).status_code == 204
    told(await api.get("/api/v1/stations", headers=mine), 401)
    told(await api.delete("/api/v1/keys/999"), 404)
    told(await api.post("/api/v1/keys", json={"name": "x", "role": "client"}), 422)
    told(
        await api.post("/api/v1/keys", json={"name": "x", "role": "client", "client_id": 999}), 404
    )


async def test_acts_are_in_the_audit_and_secrets_are_not(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, mails: Mails
) -> None:
    person_id, _ = await enter_as_operator(api, pool, "read", "operate", "admin")
    await api.post("/api/v1/stations", json={"id": "CP-1"})
    await api.patch("/api/v1/stations/CP-1", json={"vendor": "Acme"})
    told(await api.patch("/api/v1/stations/%00", json={"vendor": "Acme"}), 422)
    told(await api.post("/api/v1/stations", json={"id": "CP-1"}), 409)
    await api.post("/api/v1/keys", json={"name": "meter"})
    await api.post("/api/v1/people", json={"email": EMAIL, "operator_roles": ["read"]})
    told(await log_in(api, EMAIL, "wrong"), 401)
    told(await api.get("/api/v1/stations", headers=bearer("t2p_wrong")), 401)
    listed = await api.get("/api/v1/audit", params={"limit": 1000})
    rows = listed.json()["items"]
    acts = [(row["actor"], row["action"], row["detail"].get("status")) for row in rows]
    me = f"person {person_id}"
    assert (me, "POST /api/v1/stations", 201) in acts
    assert (me, "POST /api/v1/stations", 409) in acts
    assert (me, "PATCH /api/v1/stations/{station_id:path}", 200) in acts
    assert [row["subject"] for row in rows if row["action"].startswith("PATCH")] == [
        "station_id=\ufffd",
        "station_id=CP-1",
    ]
    for action in ("logged in", "second factor set up", "key created", "person created"):
        assert (me, action, None) in acts
    failed = [row for row in rows if row["action"] == "log-in failed"]
    assert [(row["actor"], row["remote_address"]) for row in failed] == [("nobody", "192.0.2.10")]
    assert EMAIL not in listed.text
    assert await mails.token("account.invited") not in listed.text
    assert not any(row["detail"].get("status") == 401 for row in rows)
    only = await api.get("/api/v1/audit", params={"action": "key created"})
    assert only.json()["total"] == 1


async def test_managers_read_the_audit_of_their_clients_and_their_own(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    async with transaction(pool) as connection:
        mine = await sites.insert_client(connection, "Résidence Exemple")
        other = await sites.insert_client(connection, "Autre Exemple")
    assert mine is not None and other is not None
    manager = await person(pool, manages=(mine.id,))
    await enter_as_operator(api, pool, "admin")
    for client in (mine, other):
        await api.post(f"/api/v1/people/{manager}/clients", json={"client_id": client.id})
        await api.delete(f"/api/v1/people/{manager}/clients/{client.id}")
    async with transaction(pool) as connection:
        await accounts.add_manager(connection, manager, mine.id, actor="test", now=now())
    await enter(api)
    rows = (await api.get("/api/v1/audit")).json()["items"]
    assert {row["client_id"] for row in rows} == {mine.id, None}
    assert {row["person_id"] for row in rows if row["client_id"] is None} == {manager}
    others = [row for row in rows if row["person_id"] != manager]
    assert others
    assert {row["remote_address"] for row in others} == {None}


async def test_a_key_of_a_client_reads_its_audit(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    async with transaction(pool) as connection:
        client = await sites.insert_client(connection, "Résidence Exemple")
        assert client is not None
        key, _ = await keys.grant(
            connection,
            name="machine",
            role="client",
            scopes=["read"],
            client_id=client.id,
            expires_at=None,
            actor="test",
            person_id=None,
            now=now(),
        )
    rows = (await api.get("/api/v1/audit", headers=bearer(key))).json()["items"]
    assert [(row["client_id"], row["action"]) for row in rows] == [(client.id, "key created")]
    told(await api.get("/api/v1/keys", headers=bearer(key)), 403)
