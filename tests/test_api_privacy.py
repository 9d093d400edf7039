"""Personal data over HTTP: one's own rights, the work of administrators, the archive."""

import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import principals
from csms.config import Settings
from csms.db import Database, connect
from csms.processing import register
from csms.web.app import create_app

NOW = datetime.now(UTC)
PERSONS = {"driver": 1, "neighbour": 2, "admin": 3, "operator": 4}

# Driver and neighbour live in the same residence and charge at the same station.
WORLD = """
INSERT INTO client (name) VALUES ('Résidence Exemple');
INSERT INTO site (id, client_id, name) VALUES ('garage', 2, 'Garage');
INSERT INTO station (id, client_id, site_id) VALUES ('CP-1', 2, 'garage');
INSERT INTO person (email, given_name, password_hash, totp_secret, operator_roles)
    VALUES ('driver@example.org', 'Driver', 'the-hash', 'the-secret', '{}'),
           ('neighbour@example.org', 'Neighbour', 'the-hash', 'the-secret', '{}'),
           ('admin@example.org', 'Admin', 'the-hash', 'the-secret', '{read,admin}'),
           ('operator@example.org', 'Operator', 'the-hash', 'the-secret', '{read,operate}');
INSERT INTO driver (person_id, billing_name, street)
    VALUES (1, 'Driver SARL', '1 rue des Exemples'), (2, 'Neighbour', '2 rue des Exemples');
INSERT INTO payment_means (person_id, kind, reference) VALUES (1, 'wallet', 'W-driver'),
                                                             (2, 'wallet', 'W-neighbour');
INSERT INTO driver_group (client_id, name, kind) VALUES (2, 'Residents', 'residents');
INSERT INTO group_member (group_id, person_id) VALUES (1, 1), (1, 2);
INSERT INTO token (uid_key, uid) VALUES ('aa', 'AA'), ('bb', 'BB');
INSERT INTO driver_badge (token_key, uid_key, person_id, label, from_at)
    VALUES (1, 'aa', 1, 'my car', '2026-01-01'), (2, 'bb', 2, 'hers', '2026-01-01');
INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id, token_uid,
                     authorization_status, state, started_at, ended_at, meter_start_wh,
                     meter_stop_wh, energy_wh, stop_reason)
    SELECT n, 2, 'garage', 1, n::text, '=1+' || n, CASE n % 2 WHEN 1 THEN 'AA' ELSE 'BB' END,
           'Accepted', 'ended', '2026-10-01 08:00Z', '2026-10-01 09:00Z', 1000.5, 8400.5, 7400, NULL
      FROM generate_series(1, 1200) n;
INSERT INTO audit_entry (at, actor, person_id, action, subject)
    VALUES (now(), 'person 1', 1, 'badge blocked', 'badge'),
           (now(), 'person 2', 2, 'neighbour acted', 'badge');
"""

Clients = dict[str, httpx.AsyncClient]


@pytest.fixture
async def clients(
    database: Database, pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[Clients]:
    """A client of each person, logged in with her second factor."""
    async with await connect(database, owner=True) as owner:
        await owner.execute(WORLD.encode())
        for person_id in PERSONS.values():
            await owner.execute(
                """
                INSERT INTO login_session (person_id, kind, secret_sha256, secret_expires_at,
                                           second_factor_at, created_at, last_used_at,
                                           remote_address)
                VALUES (%s, 'api', %s, %s, %s, %s, %s, %s)
                """,
                (
                    *(person_id, principals.digest(f"{principals.ACCESS_PREFIX}{person_id}")),
                    *(NOW + timedelta(hours=1), NOW, NOW, NOW, f"192.0.2.{person_id}"),
                ),
            )
    app = create_app(pool, settings, people=people)
    opened = {
        who: httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://test/api/v1",
            headers={"Authorization": f"Bearer {principals.ACCESS_PREFIX}{person_id}"},
        )
        for who, person_id in PERSONS.items()
    }
    yield opened
    for client in opened.values():
        await client.aclose()


async def call(
    client: httpx.AsyncClient, method: str, url: str, status: int = 200, **options: Any
) -> Any:
    answer = await client.request(method, url, **options)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content and "json" in answer.headers["content-type"] else answer


def unpacked(answer: httpx.Response) -> tuple[dict[str, Any], str, str]:
    """The three parts of an export."""
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["donnees.json", "sessions.csv", "resume.html"]
        return (
            json.loads(archive.read("donnees.json")),
            archive.read("sessions.csv").decode("utf-8"),
            archive.read("resume.html").decode("utf-8"),
        )


# The export.


async def test_a_person_gets_everything_of_her_own_and_nothing_of_others(clients: Clients) -> None:
    answer = await clients["driver"].get("/me/export")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].endswith('.zip"')
    assert answer.headers["cache-control"] == "no-store"
    data, table, page = unpacked(answer)
    sections = data["sections"]
    assert set(sections) == {section.name for section in register().sections}
    assert sections["profile"][0]["email"] == "driver@example.org"
    assert sections["billing_identity"][0]["billing_name"] == "Driver SARL"
    assert [m["reference"] for m in sections["payment_means"]] == ["W-driver"]
    assert [g["name"] for g in sections["groups"]] == ["Residents"]
    assert [b["label"] for b in sections["badges"]] == ["my car"]
    assert [a["action"] for a in sections["acts"]] == ["badge blocked"]
    assert [entry["remote_address"] for entry in sections["log_ins"]] == ["192.0.2.1"]
    assert len(sections["sessions"]) == 600
    assert sections["sessions"][0]["started_at"] == "2026-10-01T08:00:00Z"
    assert sections["sessions"][0]["meter_start_wh"] == 1000.5
    whole = json.dumps(data) + table + page
    for word in ("neighbour", "Neighbour", "BB", "the-hash", "the-secret", "192.0.2.2"):
        assert word not in whole, word


async def test_the_table_of_sessions_opens_in_a_french_spreadsheet(clients: Clients) -> None:
    _, table, page = unpacked(await clients["driver"].get("/me/export"))
    assert table.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(table[1:]), delimiter=";"))
    assert len(rows) == 600
    assert rows[0]["Début"] == "01/10/2026 10:00:00"
    assert rows[0]["Énergie (kWh)"] == "7,400"
    assert rows[0]["Borne"] == "CP-1"
    assert '<html lang="fr">' in page
    assert "<td>2026</td><td>600</td><td>4440,000</td>" in page


async def test_who_has_nothing_gets_an_empty_file(clients: Clients) -> None:
    data, table, page = unpacked(await clients["operator"].get("/me/export"))
    assert data["sections"]["sessions"] == []
    assert table.count("\n") == 1
    assert "resume" not in page


# Consents and requests of one's own.


async def test_a_person_agrees_to_offers_and_thinks_again(clients: Clients) -> None:
    driver = clients["driver"]
    told = await call(driver, "GET", "/me/consents")
    assert told["prospecting"] is False
    await call(driver, "PUT", "/me/consents/prospecting", 422, json={"version": "1999"})
    for _ in range(2):
        await call(
            driver, "PUT", "/me/consents/prospecting", 204, json={"version": told["version"]}
        )
    told = await call(driver, "GET", "/me/consents")
    assert told["prospecting"] is True
    assert len(told["items"]) == 1
    assert (await call(clients["neighbour"], "GET", "/me/consents"))["items"] == []
    for _ in range(2):
        await call(driver, "DELETE", "/me/consents/prospecting", 204)
    told = await call(driver, "GET", "/me/consents")
    assert told["prospecting"] is False
    assert told["items"][0]["withdrawn_at"] is not None
    await call(driver, "DELETE", "/me/consents/anything", 422)


async def test_a_person_asks_and_an_administrator_answers(
    clients: Clients, pool: AsyncConnectionPool
) -> None:
    driver, admin = clients["driver"], clients["admin"]
    asked = await call(
        driver, "POST", "/me/data-requests", 201, json={"kind": "erasure", "message": "Merci"}
    )
    assert asked["state"] == "received"
    assert asked["close_on"] < asked["due_on"]
    await call(driver, "POST", "/me/data-requests", 409, json={"kind": "erasure"})
    await call(driver, "POST", "/me/data-requests", 422, json={"kind": "everything"})
    mine = await call(driver, "GET", "/me/data-requests")
    assert [r["id"] for r in mine["items"]] == [asked["id"]]
    assert (await call(clients["neighbour"], "GET", "/me/data-requests"))["total"] == 0
    await call(clients["neighbour"], "DELETE", f"/me/data-requests/{asked['id']}", 404)

    listed = await call(admin, "GET", "/data-requests?state=received")
    assert [(r["person_id"], r["message"]) for r in listed["items"]] == [(1, "Merci")]
    assert (await call(admin, "GET", "/data-requests?overdue=true"))["items"] == []
    acts = f"/data-requests/{asked['id']}/acts"
    await call(admin, "POST", acts, 422, json={"act": "refuse"})
    done = await call(admin, "POST", acts, json={"act": "complete"})
    assert done["state"] == "done"
    assert done["kept_until"] == "2036-10-31"
    await call(admin, "POST", acts, 422, json={"act": "complete"})
    await call(driver, "GET", "/me/data-requests", 401)

    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT action, detail::text FROM audit_entry")
        entries = await cursor.fetchall()
    assert ("data request: complete", '{"kind": "erasure"}') in entries
    assert not any("Merci" in str(entry) or "example.org" in str(entry) for entry in entries)


async def test_a_person_withdraws_her_request(clients: Clients) -> None:
    driver = clients["driver"]
    asked = await call(driver, "POST", "/me/data-requests", 201, json={"kind": "closing"})
    back = await call(driver, "DELETE", f"/me/data-requests/{asked['id']}")
    assert back["state"] == "withdrawn"
    await call(driver, "DELETE", f"/me/data-requests/{asked['id']}", 422)


async def test_a_letter_is_entered_with_the_day_on_which_it_came(clients: Clients) -> None:
    admin = clients["admin"]
    body = {"kind": "access", "person_id": 2, "received_at": "2025-01-30T10:00:00Z"}
    entered = await call(admin, "POST", "/data-requests", 201, json=body)
    assert entered["due_on"] == "2025-02-28"
    late = await call(admin, "GET", "/data-requests?overdue=true")
    assert [r["id"] for r in late["items"]] == [entered["id"]]
    future = body | {"person_id": 1, "received_at": "2099-01-01T00:00:00Z"}
    await call(admin, "POST", "/data-requests", 422, json=future)
    ancient = {"kind": "erasure", "person_id": 1, "received_at": "0121-10-03T03:41:23-12:22"}
    await call(admin, "POST", "/data-requests", 422, json=ancient)
    await call(admin, "POST", "/data-requests", 404, json=body | {"person_id": 99})
    assert (await call(admin, "GET", f"/data-requests/{entered['id']}"))["person_id"] == 2
    await call(admin, "GET", "/data-requests/99", 404)

    data, _, _ = unpacked(await admin.get(f"/data-requests/{entered['id']}/export"))
    assert data["sections"]["profile"][0]["email"] == "neighbour@example.org"
    assert "driver@example.org" not in json.dumps(data)
    await call(admin, "POST", f"/data-requests/{entered['id']}/acts", json={"act": "complete"})
    await call(admin, "GET", f"/data-requests/{entered['id']}/export", 404)


# The archive and the runs.


async def test_the_archive_is_read_with_a_reason(clients: Clients) -> None:
    admin = clients["admin"]
    entered = await call(
        admin,
        "POST",
        "/data-requests",
        201,
        json={"kind": "erasure", "person_id": 1, "received_at": "2025-01-30T10:00:00Z"},
    )
    await call(admin, "POST", f"/data-requests/{entered['id']}/acts", json={"act": "complete"})
    await call(admin, "GET", "/archive/sessions?person_id=1", 422)
    await call(admin, "GET", "/archive/sessions?person_id=1&reason=short", 422)
    await call(clients["operator"], "GET", "/archive/sessions?person_id=1&reason=0123456789", 403)
    opened = await call(
        admin, "GET", "/archive/sessions?token_uid=aa&reason=Demande de l’administration&limit=10"
    )
    assert opened["persons"][0]["identity"]["street"] == "1 rue des Exemples"
    assert len(opened["items"]) == 10
    assert opened["total"] == 600
    assert {row["token_uid"] for row in opened["items"]} == {"AA"}
    following = await call(
        admin,
        "GET",
        "/archive/sessions",
        params={
            "token_uid": "aa",
            "reason": "Demande de l’administration",
            "limit": 10,
            "cursor": opened["next"],
        },
    )
    assert not {r["id"] for r in opened["items"]} & {r["id"] for r in following["items"]}
    nobody = await call(admin, "GET", "/archive/sessions?person_id=2&reason=0123456789")
    assert (nobody["persons"], nobody["items"]) == ([], []), "her account is active"


async def test_the_nights_are_shown(clients: Clients, pool: AsyncConnectionPool) -> None:
    async with pool.connection() as connection:
        await connection.execute(
            """INSERT INTO retention_run (at, rule, rows)
               VALUES (now(), 'journal', 2), (now(), 'x', 0)"""
        )
    runs = await call(clients["admin"], "GET", "/privacy/runs?rule=journal")
    assert [(r["rule"], r["rows"], r["failed"]) for r in runs["items"]] == [("journal", 2, False)]
    await call(clients["operator"], "GET", "/privacy/runs", 403)
    await call(clients["driver"], "GET", "/privacy/runs", 403)
