"""The monthly collection: every session that ended in the month, once, the same bytes each time."""

import csv
import hashlib
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import clients, contracts, registry
from csms.db import transaction
from csms.domain.session import Flag
from csms.store import sites
from reporting import collection, manifest
from reporting.collection import Month
from reporting.summary import summary_text

OCTOBER = Month(2026, 10)


async def add_session(pool: AsyncConnectionPool, session_id: int, **values: Any) -> None:
    """A session of station CP-1, ended on 10 October, unless said otherwise."""
    row = {
        "id": session_id,
        "site_id": "tilleuls",
        "start_key": str(session_id),
        "transaction_id": str(session_id),
        "evse_id": 1,
        "token_uid": "ABC",
        "state": "ended",
        "started_at": datetime(2026, 10, 10, 8, tzinfo=UTC),
        "ended_at": datetime(2026, 10, 10, 9, tzinfo=UTC),
        "meter_start_wh": 1000,
        "meter_stop_wh": 8400,
        "energy_wh": 7400,
        "flags": [],
    } | values
    async with pool.connection() as connection:
        await connection.execute(
            """
            INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id,
                                 evse_id, connector_id, token_uid, authorization_status, state,
                                 started_at, ended_at, meter_start_wh, meter_stop_wh, energy_wh,
                                 flags)
            SELECT %(id)s, client_id, %(site_id)s, station_key, %(start_key)s, %(transaction_id)s,
                   %(evse_id)s, 1, %(token_uid)s, 'Accepted', %(state)s, %(started_at)s,
                   %(ended_at)s, %(meter_start_wh)s, %(meter_stop_wh)s, %(energy_wh)s, %(flags)s
              FROM station WHERE id = 'CP-1'
            """,
            row,
        )


@pytest.fixture(autouse=True)
async def garage(pool: AsyncConnectionPool) -> None:
    """One station with one identified EVSE at a client's site."""
    async with transaction(pool) as connection:
        client = await sites.insert_client(connection, "Les Tilleuls")
        assert client is not None
        await sites.insert_site(
            connection,
            site_id="tilleuls",
            client_id=client.id,
            name="Garage",
            time_zone="Europe/Paris",
            static={},
        )
        evses = [{"evse_id": 1, "evse_uid": "FRT2PE1", "connectors": []}]
        await registry.create_station(
            connection, "CP-1", {"site_id": "tilleuls", "evses": evses}, length_min=8
        )


async def rows_of(pool: AsyncConnectionPool, path: Path, **options: Any) -> list[dict[str, str]]:
    await collection.write(pool, OCTOBER, path, kind="csv", **options)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_month_is_read_and_bounded_in_paris_time() -> None:
    assert Month.parse("2026-10").start_at == datetime(2026, 9, 30, 22, tzinfo=UTC)
    assert OCTOBER.end_at == datetime(2026, 10, 31, 23, tzinfo=UTC)
    assert Month(2026, 12).end_at == datetime(2026, 12, 31, 23, tzinfo=UTC)
    assert Month.last_full(datetime(2026, 12, 31, 23, tzinfo=UTC)) == Month(2026, 12)
    assert Month.last_full(datetime(2026, 12, 31, 22, 59, tzinfo=UTC)) == Month(2026, 11)
    for text in ("", "2026", "2026-13", "2026-1", "26-10", "2026-10-01", "2026_10", "²026-10"):
        with pytest.raises(ValueError, match="is not a month"):
            Month.parse(text)


async def test_session_is_told_whole(pool: AsyncConnectionPool, tmp_path: Path) -> None:
    await add_session(pool, 1000, flags=["offline", "overlap"], meter_stop_wh="8400.5")
    (row,) = await rows_of(pool, tmp_path / "c.csv")
    assert row == {
        "client": "Les Tilleuls",
        "site_id": "tilleuls",
        "site_name": "Garage",
        "station_id": "CP-1",
        "evse_id": "1",
        "connector_id": "1",
        "evse_uid": "FRT2PE1",
        "token_uid": "ABC",
        "session_id": "1000",
        "transaction_id": "1000",
        "state": "ended",
        "started_at": "2026-10-10T08:00:00Z",
        "ended_at": "2026-10-10T09:00:00Z",
        "started_local": "2026-10-10T10:00:00+02:00",
        "ended_local": "2026-10-10T11:00:00+02:00",
        "meter_start_wh": "1000",
        "meter_stop_wh": "8400.5",
        "energy_wh": "7400",
        "stop_reason": "",
        "flags": "offline overlap",
    }


async def test_month_holds_what_ended_in_it_in_paris_time(
    pool: AsyncConnectionPool, tmp_path: Path
) -> None:
    start = datetime(2026, 9, 30, 20, tzinfo=UTC)
    for session_id, ended_at in {
        1: datetime(2026, 9, 30, 21, 59, 59, tzinfo=UTC),  # still September
        2: datetime(2026, 9, 30, 22, tzinfo=UTC),
        3: datetime(2026, 10, 25, 0, 30, tzinfo=UTC),  # 2:30 summer time
        4: datetime(2026, 10, 25, 1, 30, tzinfo=UTC),  # 2:30 again, winter time
        5: datetime(2026, 10, 31, 22, 59, 59, tzinfo=UTC),
        6: datetime(2026, 10, 31, 23, tzinfo=UTC),  # November
    }.items():
        await add_session(pool, session_id, started_at=start, ended_at=ended_at)
    await add_session(pool, 7, state="active", ended_at=None)
    rows = await rows_of(pool, tmp_path / "c.csv")
    assert [row["session_id"] for row in rows] == ["2", "3", "4", "5"]
    assert [row["ended_local"][10:] for row in rows[1:3]] == ["T02:30:00+02:00", "T02:30:00+01:00"]


async def test_lost_and_unmeasured_sessions_are_not_left_out(
    pool: AsyncConnectionPool, tmp_path: Path
) -> None:
    await add_session(pool, 1, state="lost", flags=["lost_stop"])
    await add_session(pool, 2, meter_stop_wh=None, energy_wh=None, flags=["end_register_missing"])
    await add_session(pool, 3, site_id=None, evse_id=None, token_uid=None)
    rows = await rows_of(pool, tmp_path / "c.csv")
    assert [(row["state"], row["energy_wh"], row["flags"]) for row in rows] == [
        ("lost", "7400", "lost_stop"),
        ("ended", "", "end_register_missing"),
        ("ended", "7400", ""),
    ]
    assert rows[2]["ended_local"] == "2026-10-10T11:00:00+02:00"


async def test_same_month_gives_the_same_bytes(pool: AsyncConnectionPool, tmp_path: Path) -> None:
    for session_id in (5, 3, 4, 1, 2):
        await add_session(pool, session_id)
    for kind in ("csv", "json"):
        texts = []
        for name in ("a", "b"):
            path = tmp_path / "deeper" / f"{name}.{kind}"
            await collection.write(pool, OCTOBER, path, kind=kind)
            texts.append(path.read_bytes())
        assert texts[0] == texts[1]
    assert names_in(tmp_path / "deeper") == ["a.csv", "a.json", "b.csv", "b.json"]


async def test_json_says_the_same_as_csv(pool: AsyncConnectionPool, tmp_path: Path) -> None:
    await add_session(pool, 1, flags=["offline"])
    await add_session(pool, 2, energy_wh=None)
    path = tmp_path / "c.json"
    written = await collection.write(pool, OCTOBER, path, kind="json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["month"] == "2026-10"
    assert content["totals"] == {"sessions": 2, "energy_wh": 7400, "unknown_energy": 1}
    assert [s["energy_wh"] for s in content["sessions"]] == [7400, None]
    assert content["sessions"][0]["flags"] == ["offline"]
    assert list(content["sessions"][0]) == list(collection.COLUMNS)
    assert (written.sessions, written.energy_wh, written.unknown_energy) == (2, 7400, 1)


async def test_client_gets_its_own_rows_only(pool: AsyncConnectionPool, tmp_path: Path) -> None:
    await add_session(pool, 1)
    path = tmp_path / "c.csv"
    assert len(await rows_of(pool, path, client="Les Tilleuls")) == 1
    assert await rows_of(pool, path, client="Time2Plug") == []
    with pytest.raises(collection.UnknownClient):
        await rows_of(pool, tmp_path / "never.csv", client="Nobody")
    assert names_in(tmp_path) == ["c.csv"]


async def test_spreadsheet_runs_no_formula_of_a_station(
    pool: AsyncConnectionPool, tmp_path: Path
) -> None:
    await add_session(pool, 1, token_uid="=cmd()", transaction_id="-1")
    (row,) = await rows_of(pool, tmp_path / "c.csv")
    assert (row["token_uid"], row["transaction_id"]) == ("'=cmd()", "-1")


async def test_summary_fits_a_page_and_adds_up(pool: AsyncConnectionPool, tmp_path: Path) -> None:
    await add_session(pool, 1, flags=["offline"])
    await add_session(pool, 2, energy_wh=None, flags=["end_register_missing", "offline"])
    await add_session(pool, 3, site_id=None)
    written = await collection.write(pool, OCTOBER, tmp_path / "c.csv", kind="csv")
    french = summary_text(written)
    assert "octobre 2026" in french
    assert "Les Tilleuls" in french
    assert "(sans site)" in french
    assert "14\u202f800" in french
    assert "1 session(s) d’énergie inconnue" in french
    assert max(len(line) for line in french.splitlines()) <= 80
    english = summary_text(written, "en")
    assert "October 2026" in english
    assert "14,800" in english
    empty = await collection.write(pool, Month(2020, 1), tmp_path / "d.csv", kind="csv")
    assert "Aucune session" in summary_text(empty)


@pytest.mark.parametrize(
    ("options", "ends_on", "collected"),
    [
        ([], None, False),
        (["collection"], None, True),
        (["collection"], date(2026, 10, 20), True),  # what was charged until then
        (["collection"], date(2026, 9, 20), False),
        (["gireve"], date(2026, 10, 20), False),
    ],
)
async def test_a_clients_collection_is_a_service_that_its_contract_opens(
    pool: AsyncConnectionPool,
    tmp_path: Path,
    options: list[str],
    ends_on: date | None,
    collected: bool,
) -> None:
    await add_session(pool, 1)
    now = datetime(2026, 8, 1, tzinfo=UTC)
    desk = clients.Actor("key desk")
    async with transaction(pool) as connection:
        client = await sites.find_client(connection, "Les Tilleuls")
        assert client is not None
        await clients.change(connection, client.id, {"client_class": "particulier"}, desk, now)
        contract_id = await contracts.create(
            connection,
            client.id,
            devis_reference="D-1",
            starts_on=date(2026, 5, 25),
            signed_on=date(2026, 5, 4),
            term_months=None,
            mandate_from_on=None,
            options=options,
            actor=desk,
            now=now,
        )
        if ends_on is not None:
            await contracts.end_by_operator(
                connection,
                contract_id,
                received_on=date(2026, 7, 1),
                ends_on=ends_on,
                actor=desk,
                now=now,
            )
    path = tmp_path / "collection.csv"
    if collected:
        assert len(await rows_of(pool, path, client="Les Tilleuls")) == 1
    else:
        with pytest.raises(collection.NotSubscribed, match=r"Monthly collection|has ended"):
            await rows_of(pool, path, client="Les Tilleuls")
    assert len(await rows_of(pool, tmp_path / "all.csv")) == 1, "the whole is the operator's own"


async def test_a_workbook_says_the_same_as_csv(pool: AsyncConnectionPool, tmp_path: Path) -> None:
    await add_session(pool, 1)
    await add_session(pool, 2, energy_wh=None, meter_stop_wh=None, token_uid="=1+1")
    plain = await rows_of(pool, tmp_path / "a.csv")
    path = tmp_path / "a.xlsx"
    found = await collection.write(pool, OCTOBER, path, kind="xlsx")
    sheet = openpyxl.load_workbook(path)["2026-10"]
    head, *rows = list(sheet.values)
    assert list(head) == list(collection.COLUMNS)
    assert len(rows) == found.sessions == len(plain) == 2
    first = dict(zip(head, rows[0], strict=True))
    assert (first["energy_wh"], first["started_at"], first["started_local"]) == (
        7400,
        datetime(2026, 10, 10, 8),  # noqa: DTZ001 - a workbook's times have no zone
        datetime(2026, 10, 10, 10),  # noqa: DTZ001 - a workbook's times have no zone
    )
    second = dict(zip(head, rows[1], strict=True))
    assert (second["energy_wh"], second["token_uid"]) == (None, "=1+1")
    assert sheet.cell(3, list(head).index("token_uid") + 1).data_type == "s", "no formula"
    again = tmp_path / "b.xlsx"
    await collection.write(pool, OCTOBER, again, kind="xlsx")
    assert path.read_bytes() == again.read_bytes(), "the same month, the same bytes"


async def test_the_manifest_says_what_was_corrected_or_left_out_and_why(
    pool: AsyncConnectionPool, tmp_path: Path
) -> None:
    await add_session(pool, 1)
    await add_session(pool, 2, flags=["offline"])
    await add_session(pool, 3, flags=["lost_stop", "offline"], state="lost")
    await add_session(pool, 4, ended_at=None, state="active", energy_wh=None)
    await add_session(pool, 5, ended_at=datetime(2026, 11, 1, 0, tzinfo=UTC))
    async with pool.connection() as connection:
        await connection.execute(
            """
            INSERT INTO reconciliation (station_key, received_at, reason, frame, digest, settled_at,
                                        settled_by, resolution)
            SELECT station_key, at, 'unknown_transaction', '[]', digest, settled_at,
                   CASE WHEN settled_at IS NOT NULL THEN 'test' END,
                   CASE WHEN settled_at IS NOT NULL THEN 'dismissed' END
              FROM station, (VALUES ('2026-10-11Z'::timestamptz, 1, NULL::timestamptz),
                                    ('2026-10-12Z', 2, '2026-10-13Z'), ('2026-11-12Z', 3, NULL))
                            AS d (at, digest, settled_at)
            """
        )
    path = tmp_path / "a.csv"
    found = await collection.write(pool, OCTOBER, path, kind="csv")
    text = manifest.render(found, found.left_out, [path])
    told = json.loads(text)
    assert (told["sessions"], told["energy_wh"]) == (3, 22_200)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert told["files"] == [{"name": "a.csv", "bytes": path.stat().st_size, "sha256": digest}]
    assert told["corrected"] == [
        {
            "session_id": 3,
            "flags": {
                "lost_stop": "its stop never came: it ends at its last reading",
                "offline": "told after the fact: the station had no link",
            },
        }
    ]
    assert [(row["what"], row["id"], row["reason"][:20]) for row in told["left_out"]] == [
        ("session", 4, "it had not ended whe"),
        ("session", 5, "it had not ended whe"),
        ("message", 1, "a message that belon"),
        ("message", 2, "a message that a per"),
    ]
    again = await collection.write(pool, OCTOBER, path, kind="csv")
    assert manifest.render(again, again.left_out, [path]) == text


def test_every_flag_has_its_words() -> None:
    assert set(manifest.WHY) == set(Flag)
