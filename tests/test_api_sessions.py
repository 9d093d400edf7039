"""The operator API: sessions, meter values, journal, desk, deviations and quirks."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import keys, registry
from csms.config import Settings
from csms.db import transaction
from csms.store import sites
from csms.web.app import create_app
from tests.scenarios.two_clients import log_in

START = datetime(2026, 10, 3, 8, tzinfo=UTC)
STOP_FRAME = '[2,"19","StopTransaction",{"transactionId":-1,"meterStop":48211}]'


@pytest.fixture
async def api(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    """An operator's client, with stations CP-1 at the site "north" and CP-2 at none."""
    async with transaction(pool) as connection:
        key, _ = await keys.create(connection, name="desk", role="operator", expires_at=None)
        operator_id = await sites.operator_client_id(connection)
        await sites.insert_site(
            connection,
            site_id="north",
            client_id=operator_id,
            name="",
            time_zone="Europe/Paris",
            static={},
        )
        await registry.create_station(connection, "CP-1", {"site_id": "north"}, length_min=8)
        await registry.create_station(connection, "CP-2", {}, length_min=8)
    transport = httpx.ASGITransport(create_app(pool, settings, people=people))
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test/api/v1", headers=headers
    ) as client:
        yield client


async def add_session(pool: AsyncConnectionPool, session_id: int, **values: Any) -> None:
    """An ended session of CP-1 with 7,400 Wh, unless said otherwise."""
    row = {
        "station_id": "CP-1",
        "token_uid": "AbC",
        "state": "ended",
        "started_at": START,
        "ended_at": START + timedelta(hours=1),
        "meter_start_wh": 1000,
        "meter_stop_wh": "8400.250",
        "energy_wh": 7400,
        "flags": [],
        "readings_from_at": None,
        "readings_to_at": None,
    } | values
    async with pool.connection() as connection:
        await connection.execute(
            """
            INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id,
                                 evse_id, connector_id, token_uid, authorization_status, state,
                                 started_at, ended_at, meter_start_wh, meter_stop_wh, energy_wh,
                                 flags, readings_from_at, readings_to_at)
            SELECT %(id)s, client_id, site_id, station_key, %(id)s::text, %(id)s::text, 1, 1,
                   %(token_uid)s, 'Accepted', %(state)s, %(started_at)s, %(ended_at)s,
                   %(meter_start_wh)s, %(meter_stop_wh)s, %(energy_wh)s, %(flags)s,
                   %(readings_from_at)s, %(readings_to_at)s
              FROM station WHERE station.id = %(station_id)s
            """,
            row | {"id": session_id},
        )


async def add_entry(
    pool: AsyncConnectionPool, *, session_id: int | None = None, digest: int = 1
) -> int:
    """A stop that could not be matched, on the desk; returns its id."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            """
            INSERT INTO reconciliation (station_key, received_at, reason, session_id,
                                        transaction_id, message_id, frame, digest)
            SELECT station_key, %(at)s, 'unmatched_stop', %(session_id)s, '-1', '19', %(frame)s,
                   %(digest)s
              FROM station WHERE id = 'CP-1' RETURNING id
            """,
            {
                "at": START + timedelta(seconds=digest),
                "session_id": session_id,
                "frame": STOP_FRAME,
                "digest": digest,
            },
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def settle(
    api: httpx.AsyncClient, entry_id: int, status: int = 200, **body: Any
) -> dict[str, Any]:
    """Settle an entry and expect that status."""
    body.setdefault("note", "seen on site")
    answer = await api.post(f"/reconciliation/{entry_id}/settle", json=body)
    assert answer.status_code == status, answer.text
    result: dict[str, Any] = answer.json()
    return result


async def session(api: httpx.AsyncClient, session_id: int) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(f"/sessions/{session_id}")).json()
    return found


async def test_session_is_shown_with_whole_numbers_where_they_are_whole(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await add_session(pool, 5000, flags=["offline"])
    shown = await session(api, 5000)
    expected = {
        "id": 5000,
        "station_id": "CP-1",
        "site_id": "north",
        "evse_id": 1,
        "connector_id": 1,
        "transaction_id": "5000",
        "token_uid": "AbC",
        "state": "ended",
        "started_at": "2026-10-03T08:00:00Z",
        "ended_at": "2026-10-03T09:00:00Z",
        "meter_start_wh": 1000,
        "meter_stop_wh": 8400.25,
        "energy_wh": 7400,
        "stop_reason": None,
        "flags": ["offline"],
    }
    assert {name: shown[name] for name in expected} == expected
    assert type(shown["meter_start_wh"]) is int
    assert (await api.get("/sessions/77")).status_code == 404
    assert (await api.get("/sessions/99999999999999999999")).status_code == 422


async def test_sessions_are_filtered_and_walked(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    for number in range(2):
        await add_session(pool, number)
    for number in range(2, 5):
        began_at = START + timedelta(hours=number // 2)
        ended_at = START + timedelta(hours=number)
        await add_session(pool, number, started_at=began_at, ended_at=ended_at)
    await add_session(pool, 10, state="active", ended_at=None, energy_wh=None, token_uid=None)
    await add_session(pool, 11, station_id="CP-2", flags=["offline", "overlap"])
    seen: list[int] = []
    cursor = None
    while True:
        parameters: dict[str, Any] = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/sessions", params=parameters)).json()
        assert page["total"] == 7
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [4, 3, 2, 11, 10, 1, 0]

    async def ids(**parameters: Any) -> list[int]:
        answer = await api.get("/sessions", params=parameters)
        assert answer.status_code == 200, answer.text
        return sorted(item["id"] for item in answer.json()["items"])

    assert await ids(station_id="CP-2") == [11]
    assert await ids(station_id="nobody") == []
    assert await ids(site_id="north", state="active") == [10]
    assert await ids(token_uid="aBC", limit=1000) == [0, 1, 2, 3, 4, 11]
    assert await ids(flags=["overlap", "offline"]) == [11]
    assert await ids(flags=["overlap", "lost"]) == []
    assert await ids(transaction_id="3") == [3]
    assert await ids(to="2026-10-03T08:00:00Z") == []
    nine_to_ten = {"from": "2026-10-03T11:00:00+02:00", "to": "2026-10-03T10:00:00Z"}
    assert await ids(**nine_to_ten) == [2, 3, 10]
    unescaped = await api.get("/sessions?from=2026-10-03T11:00:00+02:00")
    assert unescaped.status_code == 200
    for bad in ({"from": "2026-10-03"}, {"to": "yesterday"}, {"state": "open"}, {"limit": 1001}):
        assert (await api.get("/sessions", params=bad)).status_code == 422


async def test_a_manager_of_several_clients_walks_their_sessions_in_one_order(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    async with pool.connection() as connection:
        for name in ("A", "B", "C"):
            await connection.execute("INSERT INTO client (name) VALUES (%s)", (name,))
            await connection.execute(
                """
                INSERT INTO station (id, client_id)
                SELECT 'CP-' || name, id FROM client WHERE name = %s
                """,
                (name,),
            )
        await connection.execute("INSERT INTO person (given_name) VALUES ('manager')")
        await connection.execute(
            """
            INSERT INTO client_manager (person_id, client_id, granted_by)
            SELECT p.id, c.id, 'test' FROM person p, client c WHERE c.name IN ('A', 'C')
            """
        )
        bearer = await log_in(connection, 1)
    for number in range(12):
        # Two begin at once; every fourth belongs to nobody whom she manages.
        station = ("CP-A", "CP-B", "CP-C", "CP-1")[number % 4]
        began = START + timedelta(hours=number // 2)
        flags = ["clock"] if number % 3 == 0 else []
        values: dict[str, Any] = {"station_id": station, "started_at": began, "flags": flags}
        await add_session(pool, number, ended_at=began + timedelta(hours=3), **values)
    hers = {"Authorization": f"Bearer {bearer}"}

    async def walk(**filters: Any) -> list[int]:
        found: list[int] = []
        cursor: dict[str, str] = {}
        while True:
            query = {"limit": 2, **filters, **cursor}
            answer = (await api.get("/sessions", params=query, headers=hers)).json()
            found += [item["id"] for item in answer["items"]]
            if answer["next"] is None:
                assert answer["total"] == len(found)
                return found
            cursor = {"cursor": answer["next"]}

    assert await walk() == [10, 8, 6, 4, 2, 0]
    assert await walk(station_id="CP-C") == [10, 6, 2]
    assert await walk(station_id="CP-B") == []
    assert await walk(flags="clock") == [6, 0]
    assert await walk(to=str((START + timedelta(hours=3)).isoformat())) == [4, 2, 0]
    since = (START + timedelta(hours=5)).isoformat()
    assert await walk(**{"from": since}) == [10, 8, 6]


async def test_meter_values_come_raw_and_in_pages(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    end = START + timedelta(minutes=2)
    await add_session(pool, 1, readings_from_at=START, readings_to_at=end)
    await add_session(pool, 2)
    async with pool.connection() as connection:
        await connection.execute(
            """
            INSERT INTO meter_profile (key, measurands, phases, units, contexts, locations)
            VALUES ('k', '{Energy.Active.Import.Register,Power.Active.Import}', '{"",L1}',
                    '{Wh,W}', '{Sample.Periodic,""}', '{"",Outlet}')
            """
        )
        await connection.execute(
            """
            INSERT INTO meter_reading
            SELECT station_key, %(start)s + n * interval '1 minute', n, %(start)s, %(start)s, 1, 1,
                   1, p.id, ARRAY[1000.5 + n, CASE n WHEN 1 THEN 'NaN'::float8 ELSE 7400 END],
                   CASE n WHEN 1 THEN '{"1": "signed"}' END
              FROM station, meter_profile p, generate_series(0, 2) AS n WHERE station.id = 'CP-1'
            """,
            {"start": START},
        )
    first = (await api.get("/sessions/1/meter-values", params={"limit": 4})).json()
    assert first["total"] == 6
    after = {"limit": 4, "cursor": first["next"]}
    rest = (await api.get("/sessions/1/meter-values", params=after)).json()
    items = first["items"] + rest["items"]
    assert [item["value"] for item in items] == [1000.5, 7400, 1001.5, None, 1002.5, 7400]
    assert items[3]["text"] == "signed"
    assert items[3]["phase"] == "L1"
    assert items[0]["phase"] is None
    assert items[2]["stated_at"] == "2026-10-03T08:01:00Z"
    assert items[0]["unit"] == "Wh"
    power = {"measurand": "Power.Active.Import"}
    assert (await api.get("/sessions/1/meter-values", params=power)).json()["total"] == 3
    assert (await api.get("/sessions/2/meter-values")).json()["items"] == []
    assert (await api.get("/sessions/3/meter-values")).status_code == 404


async def test_journal_takes_frames_apart(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    rows: list[tuple[str, str | None, str | None, str, str | None]] = [
        ("in", "Heartbeat", "1", '[2,"1","Heartbeat",{}]', '[3,"1",{"currentTime":"now"}]'),
        ("out", "Reset", "2", '[2,"2","Reset",{"type":"Soft"}]', '[4,"2","NotSupported","",{}]'),
        ("in", None, None, "[2,", None),
        ("in", "Heartbeat", "4", '[2,"4","Heartbeat",{}]', None),
        ("out", "Reset", "5", '[2,"5","Reset",{}]', '[4,"5"]'),
    ]
    async with pool.connection() as connection:
        for number, (direction, action, message_id, frame, answer) in enumerate(rows):
            await connection.execute(
                """
                INSERT INTO ocpp_message (at, station_key, direction, protocol, action, message_id,
                                          frame, answer, answered_at, latency_ms)
                SELECT %(at)s, station_key, %(direction)s, 'ocpp1.6', %(action)s, %(message_id)s,
                       %(frame)s, %(answer)s, %(at)s, 1.5
                  FROM station WHERE id = 'CP-1'
                """,
                {
                    "at": START + timedelta(seconds=number),
                    "direction": direction,
                    "action": action,
                    "message_id": message_id,
                    "frame": frame,
                    "answer": answer,
                },
            )
    page = (await api.get("/messages", params={"limit": 3})).json()
    after = {"limit": 3, "cursor": page["next"]}
    items = page["items"] + (await api.get("/messages", params=after)).json()["items"]
    assert page["total"] == 5
    assert [item["message_id"] for item in items] == ["5", "4", None, "2", "1"]
    broken, unanswered, unread, refused, heartbeat = items
    assert (heartbeat["payload"], heartbeat["response"]) == ({}, {"currentTime": "now"})
    assert (heartbeat["error"], heartbeat["raw"], heartbeat["latency_ms"]) == (None, None, 1.5)
    assert refused["error"] == {"code": "NotSupported", "description": "", "details": {}}
    assert broken["error"]["code"] == ""
    assert (unread["action"], unread["payload"], unread["raw"]) == (None, None, "[2,")
    assert (unanswered["response"], unanswered["error"]) == (None, None)
    for parameters, expected in [
        ({"action": "Heartbeat"}, ["4", "1"]),
        ({"direction": "out"}, ["5", "2"]),
        ({"message_id": "4"}, ["4"]),
        ({"station_id": "CP-2"}, []),
        ({"from": "2026-10-03T08:00:01Z", "to": "2026-10-03T08:00:03Z"}, [None, "2"]),
    ]:
        found = (await api.get("/messages", params=parameters)).json()["items"]
        assert [item["message_id"] for item in found] == expected


async def test_journal_is_told_whatever_a_frame_holds(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    deep = "[" * 600 + "]" * 600
    frames = [
        '[2,"1","DataTransfer",{"vendorId":"\\ud800x","\\udfff":"\\ud83d\\ude00"}]',
        f'[2,"2","DataTransfer",{{"vendorId":"x","data":{deep}}}]',
        '[2,"3","DataTransfer",{"vendorId":"x","data":1e999}]',
    ]
    async with pool.connection() as connection:
        for number, frame in enumerate(frames):
            await connection.execute(
                """
                INSERT INTO ocpp_message (at, station_key, direction, protocol, action, message_id,
                                          frame, answer)
                SELECT %s, station_key, 'in', 'ocpp2.0.1', 'DataTransfer', '1', %s, %s
                  FROM station WHERE id = 'CP-1'
                """,
                (START + timedelta(seconds=number), frame, f'[3,"1",{{"data":{deep}}}]'),
            )
    answer = await api.get("/messages")
    assert answer.status_code == 200
    infinite, nested, surrogates = answer.json()["items"]
    assert surrogates["payload"] == {"vendorId": "\ufffdx", "\ufffd": "\U0001f600"}
    assert (nested["payload"], nested["raw"]) == (None, frames[1])
    assert infinite["payload"] == {"vendorId": "x", "data": None}
    assert surrogates["response"] is None


async def test_desk_shows_what_is_open_oldest_first(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    second = await add_entry(pool, digest=2)
    first = await add_entry(pool, digest=1)
    listed = (await api.get("/reconciliation")).json()
    assert [item["id"] for item in listed["items"]] == [first, second]
    assert listed["items"][0]["raw"] == STOP_FRAME
    assert listed["items"][0]["reason"] == "unmatched_stop"
    settled = await settle(api, first, resolution="dismissed")
    assert (settled["resolution"], settled["settled_by"]) == ("dismissed", "desk")
    assert [i["id"] for i in (await api.get("/reconciliation")).json()["items"]] == [second]
    past = (await api.get("/reconciliation", params={"settled": "true"})).json()
    assert [item["id"] for item in past["items"]] == [first]
    assert (await api.get(f"/reconciliation/{first}")).json() == settled


async def test_attached_stop_ends_the_session_with_its_energy(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await add_session(
        pool,
        1,
        state="lost",
        meter_stop_wh=None,
        energy_wh=100,
        flags=["lost_stop", "offline"],
        meter_start_wh="1000.5",
    )
    entry = await add_entry(pool)
    settled = await settle(
        api,
        entry,
        resolution="attached",
        session_id=1,
        ended_at="2026-10-03T12:00:00+02:00",
        meter_stop_wh=48211,
    )
    assert settled["session_id"] == 1
    ended = await session(api, 1)
    assert (ended["state"], ended["ended_at"]) == ("ended", "2026-10-03T10:00:00Z")
    assert (ended["meter_stop_wh"], ended["energy_wh"]) == (48211, 47210)
    assert ended["flags"] == ["offline", "settled"]
    assert ended["revision"] == 1
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT session_id, kind, frame, note FROM session_event")
        ((session_id, kind, frame, note),) = await cursor.fetchall()
    assert (session_id, kind, frame) == (1, "settled", STOP_FRAME)
    assert json.loads(note)["settled_by"] == "desk"


async def test_same_decision_again_changes_nothing_and_another_is_refused(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await add_session(pool, 1)
    entry = await add_entry(pool, session_id=1)
    decision = {"resolution": "attached", "meter_stop_wh": 9000}
    first = await settle(api, entry, **decision)
    assert await settle(api, entry, **decision, session_id=None) == first
    assert await settle(api, entry, resolution="attached", meter_stop_wh="9000.0") == first
    assert (await session(api, 1))["revision"] == 1
    for other in (
        {"resolution": "attached", "meter_stop_wh": 9001},
        {"resolution": "dismissed"},
        {**decision, "note": "otherwise"},
    ):
        problem = await settle(api, entry, 409, **other)
        assert "settled otherwise" in problem["detail"]


async def test_confirmed_session_is_left_as_it_is(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await add_session(pool, 1, flags=["overlap"])
    entry = await add_entry(pool, session_id=1)
    await settle(api, entry, resolution="confirmed")
    confirmed = await session(api, 1)
    assert (confirmed["flags"], confirmed["energy_wh"]) == (["overlap", "confirmed"], 7400)


async def test_session_that_only_a_frame_proves_is_created(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    entry = await add_entry(pool)
    values = {
        "resolution": "created",
        "started_at": "2026-10-03T08:00:00Z",
        "ended_at": "2026-10-03T09:00:00Z",
        "meter_start_wh": 100.25,
        "meter_stop_wh": 5100,
        "token_uid": "ABC",
        "evse_id": 1,
    }
    for missing in ("started_at", "ended_at", "meter_start_wh", "meter_stop_wh", "evse_id"):
        problem = await settle(api, entry, 422, **{k: v for k, v in values.items() if k != missing})
        assert problem["errors"][0]["field"] == missing
    settled = await settle(api, entry, **values)
    created = await session(api, settled["session_id"])
    assert created["id"] % 1000 == 0
    assert (created["station_id"], created["site_id"]) == ("CP-1", "north")
    assert (created["energy_wh"], created["state"]) == (4999, "ended")
    assert (created["transaction_id"], created["flags"]) == ("-1", ["settled"])
    assert await settle(api, entry, **values) == settled
    assert (await api.get("/sessions")).json()["total"] == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"resolution": "attached", "meter_stop_wh": 999}, "meter_stop_wh"),
        ({"resolution": "attached", "meter_stop_wh": -1}, "meter_stop_wh"),
        ({"resolution": "attached", "ended_at": "2026-10-03T07:59:59Z"}, "ended_at"),
        ({"resolution": "attached", "ended_at": "2999-10-03T07:59:59Z"}, "ended_at"),
        ({"resolution": "attached", "meter_start_wh": 5}, "meter_start_wh"),
        ({"resolution": "attached", "session_id": 77}, "session_id"),
        ({"resolution": "attached", "session_id": 2}, "session_id"),
        ({"resolution": "attached", "evse_id": 2}, "evse_id"),
        ({"resolution": "dismissed", "session_id": 1}, "session_id"),
        ({"resolution": "sold"}, "resolution"),
        ({"resolution": "dismissed", "note": ""}, "note"),
    ],
)
async def test_decision_that_cannot_be_is_refused_and_changes_nothing(
    api: httpx.AsyncClient, pool: AsyncConnectionPool, body: dict[str, Any], field: str
) -> None:
    await add_session(pool, 1)
    await add_session(pool, 2, station_id="CP-2")
    before = await session(api, 1)
    entry = await add_entry(pool, session_id=1)
    problem = await settle(api, entry, 422, **body)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert await session(api, 1) == before
    assert (await api.get(f"/reconciliation/{entry}")).json()["settled_at"] is None


async def test_decision_needs_what_the_entry_and_session_lack(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    await add_session(
        pool,
        1,
        state="active",
        ended_at=None,
        energy_wh=None,
        meter_stop_wh=None,
        meter_start_wh=None,
    )
    entry = await add_entry(pool)
    nobody = await settle(api, entry, 422, resolution="confirmed")
    assert nobody["errors"][0]["field"] == "session_id"
    endless = await settle(api, entry, 422, resolution="attached", session_id=1)
    assert endless["errors"][0]["field"] == "ended_at"
    await settle(api, entry, resolution="attached", session_id=1, ended_at="2026-10-03T09:00:00Z")
    ended = await session(api, 1)
    assert (ended["state"], ended["energy_wh"]) == ("ended", None)
    await settle(api, 77, 404, resolution="dismissed")


async def test_reports_deviations_and_refusals_of_stations_are_listed(
    api: httpx.AsyncClient, pool: AsyncConnectionPool
) -> None:
    async with pool.connection() as connection:
        await connection.execute(
            """
            INSERT INTO station_event (station_key, received_at, kind, content)
            SELECT station_key, %s + n * interval '1 second', kind, '{"a": 1}'
              FROM station, unnest(ARRAY['boot', 'security', 'boot'])
                   WITH ORDINALITY AS e (kind, n)
             WHERE id = 'CP-1'
            """,
            (START,),
        )
        await connection.execute(
            """
            INSERT INTO deviation
            SELECT station_key, 'string_too_long', 'BootNotification.model', 'x', now(), now(), 2
              FROM station
            """
        )
        await connection.execute(
            """
            INSERT INTO refused_connection
            SELECT 'CP-' || n, 'unknown', '127.0.0.1', '', now(), now(), n
              FROM generate_series(7, 9) AS n
            """
        )
    events = (await api.get("/stations/CP-1/events", params={"kind": "boot"})).json()
    assert [event["received_at"][17:19] for event in events["items"]] == ["03", "01"]
    assert events["items"][0]["content"] == {"a": 1}
    assert (await api.get("/stations/CP-9/events")).status_code == 404
    deviations = (await api.get("/deviations", params={"limit": 1})).json()
    assert (deviations["total"], deviations["items"][0]["station_id"]) == (2, "CP-1")
    after = {"limit": 1, "cursor": deviations["next"]}
    rest = (await api.get("/deviations", params=after)).json()["items"]
    assert [deviation["station_id"] for deviation in rest] == ["CP-2"]
    refused = (await api.get("/refused-connections", params={"limit": 2})).json()
    after = {"limit": 2, "cursor": refused["next"]}
    refused["items"] += (await api.get("/refused-connections", params=after)).json()["items"]
    assert [r["identity"] for r in refused["items"]] == ["CP-9", "CP-8", "CP-7"]


async def test_quirks_are_kept_as_data(api: httpx.AsyncClient) -> None:
    body = {"vendor": "Acme*", "correction": "register_is_kwh", "reason": "told by the maker"}
    created = await api.post("/quirks", json=body)
    assert created.status_code == 201
    quirk = created.json()
    assert quirk["decided_on"] == datetime.now(UTC).date().isoformat()
    changed = await api.patch(f"/quirks/{quirk['id']}", json={"model": "W?"})
    assert (changed.json()["model"], changed.json()["vendor"]) == ("W?", "Acme*")
    assert (await api.post("/quirks", json=body | {"correction": "magic"})).status_code == 422
    assert (await api.patch(f"/quirks/{quirk['id']}", json={"reason": None})).status_code == 422
    assert (await api.delete(f"/quirks/{quirk['id']}")).status_code == 204
    assert (await api.delete(f"/quirks/{quirk['id']}")).status_code == 404
    assert (await api.get("/quirks")).json()["items"] == []
    assert (await api.get("/quirks", params={"retired": "true"})).json()["total"] == 1
