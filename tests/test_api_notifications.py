"""Notifications over the API: one's own choices and log, the operator's log, webhooks."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import db, keys, principals
from csms.config import Settings
from csms.db import Database
from csms.notifications import announce
from csms.notifications.delivery import deliver_due
from csms.web.app import create_app
from tests.recorder_node import as_owner, query
from tests.scenarios.mail import mail_server
from tests.test_api_stations import told

OWN = "/api/v1/me/notifications"
CHOICES = f"{OWN}/preferences"


@pytest.fixture
async def api(
    database: Database, pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    """An operator's client; `as_person` is how a person calls."""
    await as_owner(
        database, "INSERT INTO person (email) VALUES ('a@example.org'), ('b@example.org')"
    )
    async with pool.connection() as connection:
        key, _ = await keys.create(connection, name="desk", role="operator", expires_at=None)
        for person_id in (1, 2):
            await connection.execute(
                """
                INSERT INTO login_session (person_id, kind, secret_sha256, secret_expires_at,
                                           created_at, last_used_at, remote_address)
                VALUES (%s, 'api', %s, now() + interval '1 hour', now(), now(), '')
                """,
                (person_id, principals.digest(f"t2a_{person_id}")),
            )
    transport = httpx.ASGITransport(create_app(pool, settings, people=people))
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers=headers
    ) as client:
        yield client


def as_person(number: int = 1) -> dict[str, str]:
    return {"Authorization": f"Bearer t2a_{number}"}


async def test_a_person_chooses_what_she_is_told(api: httpx.AsyncClient) -> None:
    found = (await api.get(CHOICES, headers=as_person())).json()
    assert found["quiet_hours"] is None
    assert {"category": "account", "channel": "email", "enabled": True, "optional": False} in found[
        "preferences"
    ]
    assert all(one["enabled"] for one in found["preferences"])
    body = {
        "preferences": [{"category": "charging_started", "enabled": False}],
        "quiet_hours": {"from_time": "22:00", "to_time": "07:30"},
    }
    for _ in range(2):
        answer = await api.put(CHOICES, json=body, headers=as_person())
        assert answer.status_code == 200
    chosen = (await api.get(CHOICES, headers=as_person())).json()
    assert chosen == answer.json()
    assert chosen["quiet_hours"] == {
        "from_time": "22:00",
        "to_time": "07:30",
        "time_zone": "Europe/Paris",
    }
    off = [one["category"] for one in chosen["preferences"] if not one["enabled"]]
    assert off == ["charging_started"]
    other = (await api.get(CHOICES, headers=as_person(2))).json()
    assert other == found, "another's are her own"
    assert (await api.put(CHOICES, json={}, headers=as_person())).json() == found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"preferences": [{"category": "account", "enabled": False}]}, "preferences"),
        ({"preferences": [{"category": "nothing", "enabled": False}]}, "preferences"),
        ({"quiet_hours": {"from_time": "22:00", "to_time": "22:00"}}, "quiet_hours"),
        (
            {"quiet_hours": {"from_time": "22:00", "to_time": "07:00", "time_zone": "Mars/X"}},
            "quiet_hours",
        ),
        ({"quiet_hours": {"from_time": "24:00", "to_time": "07:00"}}, "quiet_hours.from_time"),
    ],
)
async def test_what_cannot_be_chosen_is_refused(
    api: httpx.AsyncClient, body: dict[str, object], field: str
) -> None:
    problem = told(await api.put(CHOICES, json=body, headers=as_person()), 422)
    assert problem["errors"][0]["field"] == field


async def test_a_key_has_no_choices(api: httpx.AsyncClient) -> None:
    told(await api.get(CHOICES), 403)
    told(await api.get(OWN), 403)


async def test_the_log_shows_to_each_what_is_theirs_and_to_operators_all(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, settings: Settings
) -> None:
    async with mail_server() as server:
        sending = server.settings(settings)
        async with db.transaction(pool) as connection:
            now = datetime.now(UTC)
            for person_id in (1, 2, 1):
                await announce(connection, "account.closed", now=now, person_id=person_id)
        assert await deliver_due(pool, sending) == 3
    own = (await api.get(OWN, headers=as_person())).json()
    assert own["total"] == 2
    assert {one["address"] for one in own["items"]} == {"a***@e***.org"}
    assert "reply" not in own["items"][0]
    page = (await api.get("/api/v1/notifications?limit=2")).json()
    assert page["total"] == 3 and len(page["items"]) == 2
    rest = (await api.get(f"/api/v1/notifications?limit=2&cursor={page['next']}")).json()
    assert [one["person_id"] for one in page["items"] + rest["items"]] == [1, 2, 1]
    assert (await api.get("/api/v1/notifications?person_id=2&status=sent")).json()["total"] == 1
    assert (await api.get("/api/v1/notifications?event=session.ended")).json()["total"] == 0
    one = (await api.get(f"/api/v1/notifications/{page['items'][0]['id']}")).json()
    assert one == page["items"][0]
    told(await api.get("/api/v1/notifications/99"), 404)


async def test_a_dead_letter_is_seen_and_sent_after_all(
    api: httpx.AsyncClient, database: Database, pool: AsyncConnectionPool, settings: Settings
) -> None:
    async with mail_server() as server:
        sending = server.settings(settings)
        server.rcpt = "550 no"
        async with db.transaction(pool) as connection:
            now = datetime.now(UTC)
            await announce(connection, "account.closed", now=now, person_id=1)
            secret = {"link": "https://example.org/x"}
            await announce(
                connection, "account.reset", now=now, person_id=1, secret=secret, settings=sending
            )
        await deliver_due(pool, sending)
        state = (await api.get("/api/v1/notifications/state")).json()
        assert state["mail_server"] is None, "this process has none"
        email = state["channels"][0]
        assert (email["channel"], email["waiting"], email["dead"]) == ("email", 0, 2)
        dead = (await api.get("/api/v1/notifications?status=dead")).json()["items"]
        reset, closed = dead
        told(await api.post(f"/api/v1/notifications/{reset['id']}/retry"), 422)
        again = await api.post(f"/api/v1/notifications/{closed['id']}/retry")
        assert again.json()["status"] == "waiting"
        told(await api.post(f"/api/v1/notifications/{closed['id']}/retry"), 422)
        told(await api.post("/api/v1/notifications/99/retry"), 404)
        server.rcpt = "250 OK"
        assert await deliver_due(pool, sending) == 1
    metrics = (await api.get("/metrics")).text
    assert 't2p_notifications_dead{channel="email"} 1.0' in metrics


async def test_a_webhook_is_made_changed_tested_and_retired(
    api: httpx.AsyncClient, database: Database
) -> None:
    body = {"url": "https://example.org/hook", "events": ["station.back", "station.offline"]}
    made = await api.post("/api/v1/webhooks", json=body)
    assert made.status_code == 201
    webhook = made.json()
    secret = webhook.pop("secret")
    assert secret.startswith("whs_") and len(secret) > 40
    url = f"/api/v1/webhooks/{webhook['id']}"
    assert (await api.get(url)).json() == webhook
    assert (await api.get("/api/v1/webhooks")).json()["items"] == [webhook]
    changed = (await api.patch(url, json={"events": []})).json()
    assert changed["events"] == [] and changed["url"] == webhook["url"]
    renewed = (await api.post(f"{url}/secret")).json()["secret"]
    assert renewed != secret
    ping = await api.post(f"{url}/test")
    assert ping.status_code == 202
    delivery = (await api.get(f"/api/v1/notifications/{ping.json()['delivery_id']}")).json()
    assert (delivery["event"], delivery["status"]) == ("webhook.ping", "waiting")
    assert (await api.delete(url)).status_code == 204
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/secret")):
        told(await api.request(method, url + path, json={} if method == "PATCH" else None), 404)
    told(await api.post(f"{url}/test"), 404)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"url": "http://example.org/"}, 422),
        ({"url": "https://example.org/", "events": ["account.reset"]}, 422),
        ({"url": "https://example.org/", "events": ["nothing"]}, 422),
        ({"url": "https://example.org/", "client_id": 99}, 404),
        ({}, 422),
    ],
)
async def test_a_webhook_that_cannot_be_is_refused(
    api: httpx.AsyncClient, body: dict[str, object], status: int
) -> None:
    told(await api.post("/api/v1/webhooks", json=body), status)


async def test_no_secret_is_ever_answered_again(api: httpx.AsyncClient, database: Database) -> None:
    made = (await api.post("/api/v1/webhooks", json={"url": "https://example.org/"})).json()
    await api.post(f"/api/v1/webhooks/{made['id']}/test")
    for path in ("webhooks", f"webhooks/{made['id']}", "notifications"):
        assert made["secret"] not in (await api.get(f"/api/v1/{path}")).text
    stored = await query(database, "SELECT w::text FROM webhook w")
    assert made["secret"].encode().hex() not in str(stored)
    assert datetime.now(UTC) - datetime.fromisoformat(made["created_at"]) < timedelta(minutes=1)
