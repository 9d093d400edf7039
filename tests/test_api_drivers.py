"""Drivers over HTTP: as an operator, as the manager of one client or another, as a driver."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import keys
from csms.config import Settings
from csms.db import acting, transaction
from csms.principals import digest
from csms.web.app import create_app
from tests.people_at_the_door import Mails
from tests.test_api_stations import told

CLIENTS = """
INSERT INTO client (name) VALUES ('A'), ('B');
INSERT INTO site (id, client_id) SELECT lower(name), id FROM client WHERE NOT is_operator;
INSERT INTO person (email, given_name, operator_roles) VALUES
    ('a@example.org', 'manager A', '{}'), ('b@example.org', 'manager B', '{}'),
    ('looks@example.org', 'reader', '{read}');
INSERT INTO client_manager (person_id, client_id, granted_by)
    SELECT p.id, c.id, 'test' FROM person p JOIN client c ON p.given_name = 'manager ' || c.name;
"""
A, B = 2, 3  # clients
Api = Callable[[str], httpx.AsyncClient]


@pytest.fixture
async def api(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[Api]:
    """Clients of the API by the e-mail of who is logged in; desk: an operator's key."""
    app = httpx.ASGITransport(create_app(pool, settings, people=people))
    async with transaction(pool) as connection:
        await connection.execute(CLIENTS.encode())
        key, _ = await keys.create(
            connection, name="desk", role="operator", scopes=["read", "operate"], expires_at=None
        )
    made: dict[str, httpx.AsyncClient] = {}

    def client(who: str) -> httpx.AsyncClient:
        if who not in made:
            token = key if who == "desk" else f"t2a_{who}"
            headers = {"Authorization": f"Bearer {token}"}
            url = "http://test/api/v1"
            made[who] = httpx.AsyncClient(transport=app, base_url=url, headers=headers)
        return made[who]

    await log_in(pool)
    yield client
    for one in made.values():
        await one.aclose()


async def log_in(pool: AsyncConnectionPool) -> None:
    """Everybody with an address is logged in, by a token of that address."""
    async with transaction(pool) as connection:
        cursor = await connection.execute("SELECT id, email FROM person WHERE email IS NOT NULL")
        now = datetime.now(UTC)
        for person_id, email in await cursor.fetchall():
            await connection.execute(
                """INSERT INTO login_session (person_id, kind, secret_sha256, secret_expires_at,
                          created_at, last_used_at, remote_address, second_factor_at)
                   VALUES (%s, 'api', %s, %s, %s, %s, '', %s) ON CONFLICT DO NOTHING""",
                (person_id, digest(f"t2a_{email}"), now + timedelta(hours=1), now, now, now),
            )


def done(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def group(client: httpx.AsyncClient, client_id: int, name: str = "Résidents") -> int:
    body = {"client_id": client_id, "name": name}
    return int(done(await client.post("/groups", json=body), 201)["id"])


async def driver(client: httpx.AsyncClient, email: str, **values: Any) -> int:
    answer = await client.post("/drivers", json={"email": email} | values)
    return int(done(answer, 201)["id"])


async def joined(
    api: Api, pool: AsyncConnectionPool, manager: str, email: str, group_id: int, **values: Any
) -> int:
    """A driver whom a manager wants in her group, and who agreed."""
    body = {"email": email, "group_id": group_id} | values
    done(await api(manager).post("/drivers", json=body), 202)
    await log_in(pool)
    done(await api(email).post(f"/me/memberships/{group_id}/accept"), 204)
    found = done(await api(manager).get("/drivers", params={"q": email}))
    return int(found["items"][0]["id"])


async def test_an_operator_enters_a_driver_with_all_that_belongs_to_her(api: Api) -> None:
    desk = api("desk")
    group_id = await group(desk, A)
    person = {
        "email": "one@example.org",
        "given_name": "Camille",
        "family_name": "Exemple",
        "phone": "06 12 34 56 78",
        "group_id": group_id,
        "billing": {"company": "Société Exemple", "siren": "732829320", "postal_code": "75001"},
    }
    made = done(await desk.post("/drivers", json=person), 201)
    assert made["phone"] == "+33612345678"
    assert made["billing"]["siren"] == "732829320"
    assert made["billing"]["country"] == "FR"
    (membership,) = made["groups"]
    assert (membership["name"], membership["client_id"]) == ("Résidents", A)
    path = f"/drivers/{made['id']}"
    change = {"phone": None, "billing": {"city": "Paris"}}
    changed = done(await desk.patch(path, json=change))
    assert (changed["phone"], changed["billing"]["city"]) == (None, "Paris")
    assert changed["billing"]["company"] == "Société Exemple"
    given = done(await desk.post(f"{path}/badges", json={"uid": "CARD", "label": "Clé"}), 201)
    assert [(badge["uid"], badge["label"]) for badge in given["badges"]] == [("CARD", "Clé")]
    assert done(await desk.get(path)) == given
    listed = done(await desk.get("/drivers", params={"q": "exemple", "group_id": group_id}))
    assert listed == {"items": [given], "next": None, "total": 1}
    assert done(await desk.get(f"{path}/groups"))["total"] == 1
    done(await desk.delete(path), 204)
    closed = done(await desk.get(path))
    assert closed["closed_at"] is not None
    assert closed["groups"] == []
    assert closed["badges"][0]["blocked_why"] == "closed"
    told(await desk.delete(path), 404)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "x@example.org", "phone": "12"}, "phone"),
        ({"email": "x@example.org", "billing": {"siren": "123456789"}}, "siren"),
        ({"email": "x@example.org", "billing": {"street": "4111111111111111"}}, "street"),
        ({"email": "a@example.org", "group_id": 99}, None),
    ],
)
async def test_what_is_wrong_of_a_driver_is_told_with_its_field(
    api: Api, values: dict[str, Any], field: str | None
) -> None:
    answer = await api("desk").post("/drivers", json=values)
    problem = told(answer, 422 if field else 404)
    if field:
        assert problem["errors"][0]["field"] == field
    assert done(await api("desk").get("/drivers"))["total"] == 0


async def test_lists_of_drivers_come_in_pages(api: Api) -> None:
    desk = api("desk")
    ids = [await driver(desk, f"{n}@example.org") for n in range(5)]
    first = done(await desk.get("/drivers", params={"limit": 3}))
    assert (len(first["items"]), first["total"]) == (3, 5)
    rest = done(await desk.get("/drivers", params={"limit": 3, "cursor": first["next"]}))
    assert [item["id"] for item in first["items"] + rest["items"]] == ids


async def test_means_of_payment_are_references(api: Api) -> None:
    desk = api("desk")
    path = f"/drivers/{await driver(desk, 'one@example.org')}/payment-means"
    card = {"kind": "provider", "reference": "4111 1111 1111 1111"}
    assert "bank card" in told(await desk.post(path, json=card), 422)["detail"]
    made = done(await desk.post(path, json={"kind": "sepa_mandate", "reference": "T2P-1"}), 201)
    later = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    body = {"kind": "wallet", "reference": "W-1", "from": later}
    second = done(await desk.post(path, json=body), 201)
    found = done(await desk.get(path))["items"]
    assert [means["id"] for means in found] == [made["id"], second["id"]]
    assert found[0]["to_at"] == found[1]["from_at"]
    done(await desk.delete(f"{path}/{made['id']}"), 204)
    told(await desk.delete(f"{path}/{made['id']}"), 404)


async def test_access_is_told_by_the_sites_clock(api: Api) -> None:
    desk = api("desk")
    group_id = await group(desk, A)
    path = f"/groups/{group_id}/access"
    window = {"site_id": "a", "weekdays": [1, 5], "from": "22:00", "to": "06:30"}
    made = done(await desk.post(path, json=window), 201)
    assert {key: made[key] for key in window} == window
    assert made.keys() == {*window, "id", "created_at"}
    assert done(await desk.get(path))["items"] == [made]
    told(await desk.post(path, json={"site_id": "b"}), 422)
    told(await desk.post(path, json={"site_id": "a", "from": "25:00"}), 422)
    one = await driver(desk, "one@example.org", group_id=group_id)
    (site,) = done(await desk.get(f"/drivers/{one}/access"))["items"]
    assert site["site_id"] == "a"
    assert (site["until"] is None) == (not site["open"])
    done(await desk.delete(f"{path}/{made['id']}"), 204)
    assert done(await desk.get(f"/drivers/{one}/access"))["items"] == []
    told(await desk.delete(f"{path}/{made['id']}"), 404)


async def test_members_come_by_number_or_address(api: Api) -> None:
    desk = api("desk")
    group_id = await group(desk, A)
    one, two = await driver(desk, "one@example.org"), await driver(desk, "two@example.org")
    path = f"/groups/{group_id}/members"
    done(await desk.post(path, json={"person_id": one}), 201)
    done(await desk.post(path, json={"email": "TWO@example.org"}), 201)
    told(await desk.post(path, json={"person_id": one}), 409)
    told(await desk.post(path, json={}), 422)
    told(await desk.post(path, json={"person_id": one, "email": "two@example.org"}), 422)
    told(await desk.post(path, json={"email": "three@example.org"}), 404)
    found = done(await desk.get(path, params={"limit": 1}))
    rest = done(await desk.get(path, params={"limit": 1, "cursor": found["next"]}))
    assert [m["person_id"] for m in found["items"] + rest["items"]] == [one, two]
    assert done(await desk.get(f"/groups/{group_id}"))["members"] == 2
    later = datetime.now(UTC) + timedelta(days=1)
    done(await desk.delete(f"{path}/{one}", params={"at": later.isoformat()}), 204)
    done(await desk.delete(f"{path}/{two}"), 204)
    told(await desk.delete(f"{path}/{two}"), 404)
    (left,) = done(await desk.get(path))["items"]
    assert datetime.fromisoformat(left["to_at"]) == later


async def test_a_new_driver_is_invited_when_that_is_wanted(
    api: Api, pool: AsyncConnectionPool
) -> None:
    desk = api("desk")
    await driver(desk, "one@example.org", invite=True)
    await driver(desk, "two@example.org")
    told(await desk.post("/drivers", json={"given_name": "X", "invite": True}), 422)
    text = "email\none@example.org\nthree@example.org\n"
    done(await desk.post("/drivers/import", content=text, params={"invite": True}))
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT p.email FROM one_time_link JOIN person p ON p.id = person_id ORDER BY p.id"
        )
        assert await cursor.fetchall() == [("one@example.org",), ("three@example.org",)]


async def test_links_mailed_to_a_former_address_work_no_more(
    api: Api, pool: AsyncConnectionPool, settings: Settings
) -> None:
    """An operator changes an address when somebody else may read the former one."""
    desk = api("desk")
    one = await driver(desk, "one@example.org", invite=True)
    done(await desk.patch(f"/drivers/{one}", json={"email": "ONE@example.org"}))
    mails = Mails(pool, settings)
    token = await mails.token("account.invited")
    assert "account.email_changed" not in await mails.events(), "it is the same one"
    done(await desk.patch(f"/drivers/{one}", json={"email": "new@example.org"}))
    body = {"token": token, "password": "un cheval bleu dans la cave"}
    told(await desk.post("/auth/invitations/accept", json=body), 422)
    assert await mails.addresses("account.email_changed") == ["ONE@example.org"]


# --- Managers -----------------------------------------------------------------------------------


async def test_a_manager_keeps_groups_drivers_and_badges_of_her_clients(
    api: Api, pool: AsyncConnectionPool
) -> None:
    manager = api("a@example.org")
    group_id = await group(manager, A)
    told(await manager.post("/drivers", json={"email": "one@example.org"}), 422)
    one = await joined(api, pool, "a@example.org", "one@example.org", group_id, phone="0612345678")
    done(await manager.post(f"/groups/{group_id}/access", json={"site_id": "a"}), 201)
    path = f"/drivers/{one}"
    done(await manager.post(f"{path}/badges", json={"uid": "CARD"}), 201)
    done(await manager.patch(f"{path}/badges/card", json={"status": "blocked", "why": "stolen"}))
    done(await manager.patch(f"{path}/badges/card", json={"status": "accepted", "label": "L"}))
    told(
        await manager.patch(f"{path}/badges/CARD", json={"status": "blocked", "why": "unpaid"}), 403
    )
    order = done(await manager.post("/badge-orders", json={"person_id": one}), 201)
    assert done(await manager.get("/badge-orders"))["items"] == [order]
    done(await manager.patch(f"/badge-orders/{order['id']}", json={"status": "cancelled"}))
    changed = done(await manager.patch(path, json={"given_name": "Camille"}))
    assert (changed["given_name"], changed["phone"], changed["billing"]) == ("Camille", None, None)
    told(await manager.patch(path, json={"email": "mine@example.org"}), 403)
    told(await manager.patch(path, json={"billing": {"city": "Paris"}}), 403)
    told(await manager.delete(path), 403)
    for means in (manager.get, manager.post):
        assert (await means(f"{path}/payment-means")).status_code in (403, 422)
    done(await manager.delete(f"{path}/badges/CARD"), 204)
    done(await manager.delete(f"/groups/{group_id}/members/{one}"), 204)
    told(await manager.patch(path, json={"given_name": "Not hers"}), 404)


async def test_a_manager_of_another_client_sees_and_changes_nothing(api: Api) -> None:
    desk, other = api("desk"), api("b@example.org")
    group_id = await group(desk, A)
    one = await driver(desk, "one@example.org", group_id=group_id)
    access = done(await desk.post(f"/groups/{group_id}/access", json={"site_id": "a"}), 201)
    done(await desk.post(f"/drivers/{one}/badges", json={"uid": "CARD"}), 201)
    order = done(await desk.post("/badge-orders", json={"person_id": one}), 201)
    for path in ("/drivers", "/groups", "/badge-orders"):
        assert done(await other.get(path))["total"] == 0
    own = await group(other, B)
    calls: list[tuple[str, str, Any]] = [
        ("GET", f"/drivers/{one}", None),
        ("GET", f"/drivers/{one}/badges", None),
        ("GET", f"/drivers/{one}/groups", None),
        ("PATCH", f"/drivers/{one}", {"given_name": "X"}),
        ("POST", f"/drivers/{one}/badges", {"uid": "NEW"}),
        ("PATCH", f"/drivers/{one}/badges/CARD", {"status": "blocked"}),
        ("DELETE", f"/drivers/{one}/badges/CARD", None),
        ("POST", "/badge-orders", {"person_id": one}),
        ("PATCH", f"/badge-orders/{order['id']}", {"status": "cancelled"}),
        ("GET", f"/groups/{group_id}", None),
        ("PATCH", f"/groups/{group_id}", {"name": "X"}),
        ("DELETE", f"/groups/{group_id}", None),
        ("GET", f"/groups/{group_id}/members", None),
        ("POST", f"/groups/{group_id}/members", {"person_id": one}),
        ("DELETE", f"/groups/{group_id}/members/{one}", None),
        ("GET", f"/groups/{group_id}/access", None),
        ("POST", f"/groups/{group_id}/access", {"site_id": "a"}),
        ("DELETE", f"/groups/{group_id}/access/{access['id']}", None),
        ("POST", f"/groups/{own}/members", {"person_id": one}),
        ("POST", "/groups", {"client_id": A, "name": "X"}),
        ("POST", "/drivers", {"email": "new@example.org", "group_id": group_id}),
    ]
    before = done(await desk.get(f"/drivers/{one}"))
    for method, path, body in calls:
        problem = told(await other.request(method, path, json=body), 404)
        assert "CARD" not in problem["detail"].replace(path, "")
    told(await other.post(f"/groups/{own}/access", json={"site_id": "a"}), 422)
    assert done(await desk.get(f"/drivers/{one}")) == before


async def test_a_driver_of_two_clients_is_half_seen_by_each_manager(
    api: Api, pool: AsyncConnectionPool
) -> None:
    desk, one_manager, other = api("desk"), api("a@example.org"), api("b@example.org")
    first, second = await group(desk, A, "Of A"), await group(desk, B, "Of B")
    one = await driver(
        desk, "one@example.org", group_id=first, billing={"company": "Société Exemple"}
    )
    done(await desk.post(f"/drivers/{one}/badges", json={"uid": "CARD"}), 201)
    assert await joined(api, pool, "b@example.org", "one@example.org", second) == one
    for manager, name in ((one_manager, "Of A"), (other, "Of B")):
        seen = done(await manager.get(f"/drivers/{one}"))
        assert [of["name"] for of in seen["groups"]] == [name]
        assert seen["email"] == "one@example.org"
        assert seen["billing"] is None
        assert [badge["uid"] for badge in seen["badges"]] == ["CARD"]
        told(await manager.patch(f"/drivers/{one}", json={"given_name": "Mine"}), 403)
    assert len(done(await desk.get(f"/drivers/{one}"))["groups"]) == 2


async def test_a_manager_spoils_no_badge_of_a_driver_who_is_with_another_client_too(
    api: Api, pool: AsyncConnectionPool
) -> None:
    """She agreed to be in a group: not to be kept from charging at the other client's."""
    desk, other = api("desk"), api("b@example.org")
    one = await driver(desk, "one@example.org", group_id=await group(desk, A, "Of A"))
    done(await desk.post(f"/drivers/{one}/badges", json={"uid": "CARD"}), 201)
    second = await group(other, B, "Of B")
    two = await joined(api, pool, "b@example.org", "two@example.org", second)
    assert await joined(api, pool, "b@example.org", "one@example.org", second) == one
    before = done(await desk.get(f"/drivers/{one}"))["badges"]
    path = f"/drivers/{one}/badges/CARD"
    told(await other.patch(path, json={"status": "blocked", "why": "lost"}), 403)
    told(await other.patch(path, json={"label": "Mine"}), 403)
    told(await other.delete(path), 403)
    taken = await other.post(f"/drivers/{two}/badges", json={"uid": "CARD"})
    assert "other hands" in told(taken, 422)["detail"]
    assert done(await desk.get(f"/drivers/{one}"))["badges"] == before


async def test_a_manager_brings_no_driver_back_whom_the_operator_closed(api: Api) -> None:
    desk, manager = api("desk"), api("a@example.org")
    group_id = await group(manager, A)
    one = await driver(desk, "one@example.org", group_id=group_id)
    done(await desk.delete(f"/drivers/{one}"), 204)
    body = {"email": "one@example.org", "group_id": group_id, "billing": {"company": "Mine"}}
    told(await manager.post("/drivers", json=body), 422)
    text = "email;group\none@example.org;Résidents\n"
    told(await manager.post("/drivers/import", content=text.encode()), 422)
    assert done(await desk.get(f"/drivers/{one}"))["closed_at"] is not None
    assert await driver(desk, "one@example.org", group_id=group_id) == one


async def test_a_manager_takes_no_badge_out_of_other_hands(api: Api) -> None:
    desk, manager = api("desk"), api("a@example.org")
    one = await driver(desk, "one@example.org", group_id=await group(manager, A))
    await group(desk, B)
    two = await driver(desk, "two@example.org")
    done(await desk.post(f"/drivers/{two}/badges", json={"uid": "THEIRS"}), 201)
    done(await desk.post("/tokens", json={"uid": "STAFF"}), 201)
    for uid in ("theirs", "STAFF"):
        problem = told(await manager.post(f"/drivers/{one}/badges", json={"uid": uid}), 422)
        assert "other hands" in problem["detail"]
    done(await desk.post(f"/drivers/{one}/badges", json={"uid": "theirs"}), 201)
    assert done(await desk.get(f"/drivers/{two}"))["badges"] == []


async def test_a_manager_makes_no_driver_of_staff_who_did_not_agree(api: Api) -> None:
    manager, desk = api("a@example.org"), api("desk")
    group_id = await group(manager, A)
    for email in ("looks@example.org", "b@example.org"):
        body = {"email": email, "group_id": group_id, "billing": {"company": "Mine"}}
        done(await manager.post("/drivers", json=body), 202)
        assert done(await desk.get("/drivers"))["total"] == 0
    done(await api("looks@example.org").post(f"/me/memberships/{group_id}/accept"), 204)
    (one,) = done(await desk.get("/drivers"))["items"]
    assert (one["email"], one["billing"]["company"]) == ("looks@example.org", None)


async def seen_by(manager: httpx.AsyncClient, group_id: int) -> list[Any]:
    """All that tells a manager of drivers, and of what was done in the group."""
    lists = [done(await manager.get(path)) for path in ("/drivers", f"/groups/{group_id}/members")]
    acts = done(await manager.get("/audit"))["items"]
    assert not [act for act in acts if act["subject"].startswith(("driver", "person"))]
    of_group = [act for act in acts if act["subject"] == f"group {group_id}"]
    return [*lists, [(act["action"], act["detail"]) for act in of_group]]


CLOSED, BLOCKED = "closed@example.org", "blocked@example.org"


@pytest.mark.parametrize("email", ["one@example.org", "looks@example.org", CLOSED, BLOCKED])
async def test_a_manager_cannot_tell_whether_there_is_anybody_of_an_address(
    api: Api, pool: AsyncConnectionPool, email: str
) -> None:
    """Whoever it is, of another client, of the staff, closed or blocked: it is as if there had been
    nobody, in the answers and in all that she reads afterwards."""
    desk, manager = api("desk"), api("b@example.org")
    theirs = await group(desk, A)
    for there in ("one@example.org", CLOSED, BLOCKED):
        one = await driver(desk, there, given_name="Secret", group_id=theirs)
        done(await desk.post(f"/drivers/{one}/badges", json={"uid": f"SECRET{one}"}), 201)
        if there == CLOSED:
            done(await desk.delete(f"/drivers/{one}"), 204)
    async with transaction(pool) as connection:
        await connection.execute(
            "UPDATE person SET blocked_at = now() WHERE email = %s", (BLOCKED,)
        )
    answers = []
    for address, name in (("nobody@example.org", "N"), (email, "O")):
        own = await group(manager, B, name)
        body = {"email": address, "group_id": own, "phone": "0612345678", "invite": True}
        text = f"email;group;badge\n{address};{name};CARD\n"
        calls = [
            await manager.post("/drivers", json=body),
            await manager.post("/drivers", json=body),
            await manager.post("/drivers", json=body | {"phone": "12"}),
            await manager.post("/drivers", json=body | {"billing": {"siren": "123456789"}}),
            await manager.post(f"/groups/{own}/members", json={"email": address}),
            await manager.post(f"/groups/{own}/members", json={"email": address.upper()}),
            await manager.post("/drivers/import", content=text),
            await manager.post("/drivers/import", content=text, params={"dry_run": True}),
        ]
        told_of = [(call.status_code, call.text) for call in calls]
        shown = str([told_of, await seen_by(manager, own)])
        assert "SECRET" not in shown.upper()
        done(await manager.delete(f"/groups/{own}"), 204)
        for word in (address, address.upper()):
            shown = shown.replace(word, "ADDRESS")
        answers.append(shown.replace(f'"group_id":{own}', "GROUP"))
        assert [status for status, _ in told_of] == [202, 202, 422, 422, 202, 202, 200, 200]
    assert answers[0] == answers[1]


async def test_a_driver_is_asked_once_and_refuses_or_agrees(
    api: Api, pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    desk, manager, her = api("desk"), api("b@example.org"), api("one@example.org")
    one = await driver(desk, "one@example.org", group_id=await group(desk, A))
    await log_in(pool)
    first, second = await group(manager, B, "First"), await group(manager, B, "Second")
    done(await manager.post(f"/groups/{first}/access", json={"site_id": "b"}), 201)
    for group_id in (first, first, second):
        body = {"email": "one@example.org"}
        done(await manager.post(f"/groups/{group_id}/members", json=body), 202)
    mails = Mails(pool, settings)
    assert (await mails.events()).count("driver.group_asked") == 2
    asked = done(await her.get("/me/memberships"))["items"]
    assert [(of["name"], of["client"]) for of in asked] == [("First", "B"), ("Second", "B")]
    manager_id = done(await manager.get("/me"))["id"]
    for person_id, rows in ((one, 2), (manager_id, 0)):
        async with acting(people, person_id=person_id) as connection:
            cursor = await connection.execute("SELECT * FROM group_request")
            assert len(await cursor.fetchall()) == rows
    assert done(await api("a@example.org").get("/me/memberships"))["total"] == 0
    told(await api("a@example.org").post(f"/me/memberships/{first}/accept"), 404)
    assert done(await desk.get(f"/drivers/{one}/access"))["total"] == 0
    done(await her.post(f"/me/memberships/{second}/refuse"), 204)
    told(await her.post(f"/me/memberships/{second}/accept"), 404)
    told(await manager.get(f"/drivers/{one}"), 404)
    done(await her.post(f"/me/memberships/{first}/accept"), 204)
    told(await her.post(f"/me/memberships/{first}/accept"), 404)
    seen = done(await manager.get(f"/drivers/{one}"))
    assert [of["name"] for of in seen["groups"]] == ["First"]
    assert done(await desk.get(f"/drivers/{one}/access"))["total"] == 1
    body = {"email": "one@example.org"}
    done(await manager.post(f"/groups/{second}/members", json=body), 201)  # hers by now
    told(await manager.post(f"/groups/{second}/members", json=body), 409)


async def test_a_request_keeps_its_days_and_expires(api: Api, pool: AsyncConnectionPool) -> None:
    manager, her = api("b@example.org"), api("one@example.org")
    group_id = await group(manager, B)
    path = f"/groups/{group_id}/members"
    begin, end = (datetime.now(UTC) + timedelta(days=days) for days in (3, 5))
    days = {"from": begin.isoformat(), "to": end.isoformat()}
    told(
        await manager.post(path, json={"email": "one@example.org", "to": "2020-01-01T00:00Z"}), 422
    )
    done(await manager.post(path, json={"email": "one@example.org"} | days), 202)
    await log_in(pool)
    async with transaction(pool) as connection:
        await connection.execute(
            "UPDATE group_request SET asked_at = now() - interval '2 days',"
            " expires_at = now() - interval '1 day'"
        )
    assert done(await her.get("/me/memberships"))["total"] == 0
    told(await her.post(f"/me/memberships/{group_id}/accept"), 404)
    done(await manager.post(path, json={"email": "one@example.org"} | days), 202)
    done(await her.post(f"/me/memberships/{group_id}/accept"), 204)
    (member,) = done(await manager.get(path))["items"]
    assert datetime.fromisoformat(member["from_at"]) == begin
    assert datetime.fromisoformat(member["to_at"]) == end


@pytest.mark.parametrize("who", ["looks@example.org", "driver@example.org"])
async def test_who_may_not_change_is_told_so(api: Api, pool: AsyncConnectionPool, who: str) -> None:
    """An operator who may only look, and a driver."""
    group_id = await group(api("desk"), A)
    await driver(api("desk"), "driver@example.org", group_id=group_id)
    await log_in(pool)
    client = api(who)
    told(await client.post("/groups", json={"client_id": A, "name": "X"}), 403)
    told(await client.post("/drivers", json={"email": "x@example.org"}), 403)
    told(await client.post("/badge-orders", json={"person_id": 1}), 403)
    status = 200 if who.startswith("looks") else 403
    assert (await client.get("/drivers")).status_code == status
    assert (await client.get("/groups")).status_code == status
    assert (await client.get("/me/badges")).status_code == (403 if status == 200 else 200)


# --- Drivers ------------------------------------------------------------------------------------


async def test_a_driver_sees_names_orders_and_loses_her_own_badges(
    api: Api, pool: AsyncConnectionPool
) -> None:
    desk = api("desk")
    one, two = await driver(desk, "one@example.org"), await driver(desk, "two@example.org")
    done(await desk.post(f"/drivers/{one}/badges", json={"uid": "MINE"}), 201)
    done(await desk.post(f"/drivers/{two}/badges", json={"uid": "THEIRS"}), 201)
    await log_in(pool)
    me = api("one@example.org")
    (badge,) = done(await me.get("/me/badges"))["items"]
    assert (badge["uid"], badge["status"], badge["to_at"]) == ("MINE", "accepted", None)
    named = done(await me.patch("/me/badges/mine", json={"label": "Voiture"}))
    assert named["label"] == "Voiture"
    lost = done(await me.patch("/me/badges/mine", json={"status": "blocked", "why": "lost"}))
    assert (lost["status"], lost["blocked_why"]) == ("blocked", "lost")
    told(await me.patch("/me/badges/mine", json={"status": "accepted"}), 422)
    for uid in ("THEIRS", "nothing"):
        told(await me.patch(f"/me/badges/{uid}", json={"status": "blocked"}), 404)
    order = done(await me.post("/me/badge-orders"), 201)
    assert done(await me.get("/me/badge-orders"))["items"] == [order]
    assert done(await api("two@example.org").get("/me/badge-orders"))["total"] == 0
    assert done(await desk.get(f"/drivers/{two}"))["badges"][0]["status"] == "accepted"


async def test_tokens_are_changed_as_before(api: Api) -> None:
    desk = api("desk")
    one = await driver(desk, "one@example.org")
    done(await desk.post(f"/drivers/{one}/badges", json={"uid": "CARD"}), 201)
    done(await desk.patch("/tokens/card", json={"status": "blocked"}))
    assert done(await desk.get(f"/drivers/{one}"))["badges"][0]["blocked_why"] == "operator"
    done(await desk.patch("/tokens/card", json={"status": "accepted"}))
    assert done(await desk.get(f"/drivers/{one}"))["badges"][0]["blocked_why"] is None
