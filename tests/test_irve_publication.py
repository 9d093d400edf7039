"""The national files as they leave the database: whom they show, when, and who may fetch them."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool
from typer.testing import CliRunner, Result

from csms import clients, contracts, db, provisioning, registry, site_registry
from csms.__main__ import app as command
from csms.config import SettingError, Settings, load
from csms.db import Database, transaction
from csms.store import sites
from csms.web.app import create_app
from reporting.irve import dynamic_rows, publication
from reporting.irve.dynamic_rows import Connector, Standing
from reporting.irve.publication import Publication, TooManyPoints
from reporting.irve.static_rows import PARIS, Static
from reporting.irve.summary import static_summary
from tests import table_schema
from tests.irve_world import EVSE, SITE
from tests.test_irve_files import needs_data, official_faults

NOW = datetime.now(UTC)
SECRET = "Ne-pas-publier"
EVSES: list[dict[str, Any]] = [
    {
        "evse_id": number,
        "evse_uid": f"FRABCE{number}",
        "power_w_max": 22_000,
        "static": EVSE,
        "connectors": [
            {"connector_id": 1, "type": "sType2", "power_w_max": 22_000},
            {"connector_id": 2, "type": "sCEE-7-7", "power_w_max": 3_700},
        ],
    }
    for number in (1, 2)
]


def evses(*numbers: int, **values: Any) -> list[dict[str, Any]]:
    """EVSEs of one station, numbered from 1, their identifiers by the numbers given."""
    return [
        EVSES[0] | {"evse_id": n, "evse_uid": f"FRABCE{number}"} | values
        for n, number in enumerate(numbers, start=1)
    ]


async def add_world(pool: AsyncConnectionPool) -> None:
    """A public station of two points, a private one, one with a private point, at two sites."""
    hidden_point = evses(66, public=False)[0] | {"evse_id": 2}
    async with transaction(pool) as connection:
        await site_registry.create_site(
            connection, "tilleuls", {"name": "Les Tilleuls", "static": SITE}, actor="test"
        )
        hidden = SITE | {"afirev_station_id": "FRABCP66", "brand_name": SECRET, "address": SECRET}
        await site_registry.create_site(
            connection, "cache", {"name": SECRET, "static": hidden}, actor="test"
        )
        for station_id, site_id, is_public, points in (
            ("CP-1", "tilleuls", True, EVSES),
            ("CP-2", "tilleuls", True, [*evses(31), hidden_point]),
            ("CP-3", "tilleuls", False, [evses(661)[0]]),
            ("CP-4", "tilleuls", False, evses(41, public=True)),
            (f"{SECRET}-5", "cache", False, evses(662)),
        ):
            await registry.create_station(
                connection,
                station_id,
                {"site_id": site_id, "public": is_public, "evses": points},
                length_min=8,
            )


@pytest.fixture
async def world(pool: AsyncConnectionPool) -> None:
    await add_world(pool)


PUBLIC = ["FRABCE1", "FRABCE2", "FRABCE31", "FRABCE41"]


async def static_of(pool: AsyncConnectionPool, settings: Settings, now: datetime = NOW) -> Static:
    async with pool.connection() as connection:
        return await publication.read_static(connection, settings, now)


async def dynamic_of(pool: AsyncConnectionPool, settings: Settings) -> dict[str, dict[str, str]]:
    """The rows of the dynamic file by point."""
    static = await static_of(pool, settings)
    async with pool.connection() as connection:
        content = await publication.read_dynamic(connection, settings, static.identifiers)
    assert table_schema.faults(content, table_schema.DYNAMIC) == []
    return {row["id_pdc_itinerance"]: row for row in read(content)}


def read(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


async def change(pool: AsyncConnectionPool, statement: str, *parameters: Any) -> None:
    async with pool.connection() as connection:
        await connection.execute(statement.encode(), parameters)


# --- Whom the static file shows -------------------------------------------------------------------


async def test_public_points_are_in_the_file_and_private_ones_nowhere(
    world: None, pool: AsyncConnectionPool, settings: Settings
) -> None:
    static = await static_of(pool, settings)
    content = static.content().decode()
    assert [row["id_pdc_itinerance"] for row in static.rows] == PUBLIC
    assert {row["nbre_pdc"] for row in static.rows} == {"4"}
    assert not static.refused and not static.doubtful and not static.not_in_force
    for private in ("FRABCE66", "FRABCP66", SECRET, "CP-3"):
        assert private not in content
    assert table_schema.faults(static.content(), table_schema.STATIC) == []


async def test_a_retired_station_and_one_that_turns_private_leave_the_file(
    world: None, pool: AsyncConnectionPool, settings: Settings
) -> None:
    async with transaction(pool) as connection:
        await registry.retire_station(connection, "CP-4", NOW, actor="test")
        await registry.change_station(connection, "CP-2", {"public": False}, length_min=8)
    static = await static_of(pool, settings)
    assert [row["id_pdc_itinerance"] for row in static.rows] == PUBLIC[:2]
    assert {row["nbre_pdc"] for row in static.rows} == {"2"}
    assert set(await dynamic_of(pool, settings)) == set(PUBLIC[:2])


async def test_a_point_that_is_stored_wrongly_stops_itself_alone(
    world: None, pool: AsyncConnectionPool, settings: Settings
) -> None:
    await change(
        pool,
        """UPDATE evse SET static = static || '{"free": "peut-être"}' WHERE evse_uid = 'FRABCE2'""",
    )
    static = await static_of(pool, settings)
    assert [row["id_pdc_itinerance"] for row in static.rows] == ["FRABCE1", "FRABCE31", "FRABCE41"]
    (refused,) = static.refused
    assert refused.point.evse_uid == "FRABCE2"
    assert set(await dynamic_of(pool, settings)) == {"FRABCE1", "FRABCE31", "FRABCE41"}


async def test_the_day_of_the_last_change_of_site_station_or_point_is_told(
    world: None, pool: AsyncConnectionPool, database: Database, settings: Settings
) -> None:
    async with await db.connect(database, owner=True) as owner:
        await owner.execute("ALTER TABLE static_change DISABLE TRIGGER USER")
        await owner.execute("UPDATE static_change SET at = '2025-03-01 23:30Z'")
        await owner.execute("UPDATE station SET created_at = '2025-01-01 00:00Z'")
        await owner.execute("UPDATE site SET created_at = '2025-01-01 00:00Z'")
        await owner.execute(
            "UPDATE static_change SET at = '2025-04-01 12:00Z' WHERE kind = 'station' "
            "AND station_id = 'CP-2'"
        )
        await owner.execute(
            "UPDATE static_change SET at = '2025-05-01 12:00Z' WHERE kind = 'evse' "
            "AND station_id = 'CP-1' AND evse_id = 2"
        )
    static = await static_of(pool, settings)
    assert {row["id_pdc_itinerance"]: row["date_maj"] for row in static.rows} == {
        "FRABCE1": "2025-03-02",
        "FRABCE2": "2025-05-01",
        "FRABCE31": "2025-04-01",
        "FRABCE41": "2025-03-02",
    }
    changed = {"name": "Les Tilleuls bleus"}
    async with transaction(pool) as connection:
        await site_registry.change_site(connection, "tilleuls", changed, actor="test")
    today = datetime.now(UTC).astimezone(PARIS).date()
    dates = {row["date_maj"] for row in (await static_of(pool, settings)).rows}
    assert dates == {today.isoformat()}


@pytest.mark.parametrize(("option", "published"), [("data_gouv", 4), ("collection", 0)])
async def test_a_contract_opens_the_declaration_or_the_points_are_held_back(
    world: None, pool: AsyncConnectionPool, settings: Settings, option: str, published: int
) -> None:
    now = datetime.now(UTC)
    desk = clients.Actor("key desk")
    async with transaction(pool) as connection:
        client = await sites.insert_client(connection, "Les Lilas")
        assert client is not None
        owner = {"client_id": client.id}
        await site_registry.change_site(connection, "tilleuls", owner, actor="test")
        await clients.change(connection, client.id, {"client_class": "particulier"}, desk, now)
    assert len((await static_of(pool, settings)).rows) == 4, "no contract closes nothing"
    async with transaction(pool) as connection:
        await contracts.create(
            connection,
            client.id,
            devis_reference="D-1",
            starts_on=date(2026, 5, 25),
            signed_on=date(2026, 5, 4),
            term_months=None,
            mandate_from_on=None,
            options=[option],
            actor=desk,
            now=now,
        )
    static = await static_of(pool, settings)
    assert (len(static.rows), len(static.refused)) == (published, 4 - published)
    text = static_summary(static, "fr")
    assert ("le contrat du client Les Lilas n’ouvre pas" in text) == (published == 0)


async def test_what_was_exported_is_the_same_after_an_import(
    world: None,
    pool: AsyncConnectionPool,
    database: Database,
    settings: Settings,
    tmp_path: Path,
) -> None:
    before = await static_of(pool, settings)
    path = tmp_path / "irve.csv"
    path.write_bytes(before.content())
    async with await db.connect(database, owner=True) as owner:
        await owner.execute("DELETE FROM station")
        await owner.execute("DELETE FROM site")
    report = await provisioning.import_file(pool, path)
    assert not report.problems and not report.warnings
    assert (await static_of(pool, settings)).rows == before.rows


async def test_prefixes_of_the_operator_are_compared(
    world: None, pool: AsyncConnectionPool, settings: Settings
) -> None:
    ours = replace(settings, afirev_prefixes=("FRABC",))
    assert len((await static_of(pool, ours)).rows) == 4
    others = replace(settings, afirev_prefixes=("FRXYZ", "FRZZZ"))
    static = await static_of(pool, others)
    assert static.rows == ()
    assert {f.code for one in static.refused for f in one.findings} == {"prefix_foreign"}


async def test_more_points_than_the_setting_allows_are_no_file(
    world: None, pool: AsyncConnectionPool, settings: Settings
) -> None:
    with pytest.raises(TooManyPoints, match="irve_points_max"):
        await static_of(pool, replace(settings, irve_points_max=3))
    assert len((await static_of(pool, replace(settings, irve_points_max=4))).rows) == 4


def test_prefixes_are_read_and_checked(tmp_path: Path) -> None:
    found = load({"T2P_AFIREV_PREFIXES": "FRABC, FRT2P"}, tmp_path)
    assert found.afirev_prefixes == ("FRABC", "FRT2P")
    for wrong in ("FR*ABC", "frabc", "FRABCD"):
        with pytest.raises(SettingError, match="T2P_AFIREV_PREFIXES"):
            load({"T2P_AFIREV_PREFIXES": wrong}, tmp_path)


# --- The dynamic file -----------------------------------------------------------------------------

AT = datetime(2026, 11, 26, 10, 0, 1, 999_999, tzinfo=UTC)


def standing(status: str = "available", **values: Any) -> Standing:
    """A point that is connected, at AT, with one socket of type 2."""
    known: dict[str, Any] = {
        "evse_uid": "FRABCE1",
        "status": status,
        "status_at": AT,
        "station_status": None,
        "station_status_at": None,
        "connected": True,
        "connected_at": AT - timedelta(hours=1),
        "disconnected_at": None,
        "created_at": AT - timedelta(days=9),
        "connectors": [Connector("sType2", status)],
    }
    return Standing(**(known | values))


def row_of(one: Standing) -> dict[str, str]:
    content = dynamic_rows.build([one], {one.evse_uid})
    assert table_schema.faults(content, table_schema.DYNAMIC) == []
    (row,) = read(content)
    return row


@pytest.mark.parametrize(
    ("status", "state", "occupation", "socket"),
    [
        ("available", "en_service", "libre", "fonctionnel"),
        ("preparing", "en_service", "occupe", "fonctionnel"),
        ("charging", "en_service", "occupe", "fonctionnel"),
        ("suspended_ev", "en_service", "occupe", "fonctionnel"),
        ("suspended_evse", "en_service", "occupe", "fonctionnel"),
        ("finishing", "en_service", "occupe", "fonctionnel"),
        ("occupied", "en_service", "occupe", "fonctionnel"),
        ("reserved", "en_service", "reserve", "fonctionnel"),
        ("unavailable", "hors_service", "inconnu", "hors_service"),
        ("faulted", "hors_service", "inconnu", "hors_service"),
        ("unknown", "inconnu", "inconnu", "inconnu"),
    ],
)
def test_our_states_in_the_files_words(
    status: str, state: str, occupation: str, socket: str
) -> None:
    assert row_of(standing(status)) == {
        "id_pdc_itinerance": "FRABCE1",
        "etat_pdc": state,
        "occupation_pdc": occupation,
        "horodatage": "2026-11-26T10:00:01+00:00",
        "etat_prise_type_2": socket,
        "etat_prise_type_combo_ccs": "",
        "etat_prise_type_chademo": "",
        "etat_prise_type_ef": "",
    }


def test_every_status_that_we_record_has_its_word() -> None:
    from csms.domain.station import STATUSES

    for status in STATUSES:
        known = row_of(standing(status))["etat_pdc"] != "inconnu"
        assert known == (status != "unknown"), status


def test_of_a_station_that_is_not_connected_nothing_is_known() -> None:
    gone_at = AT + timedelta(minutes=5)
    row = row_of(standing("charging", connected=False, disconnected_at=gone_at))
    assert (row["etat_pdc"], row["occupation_pdc"]) == ("inconnu", "inconnu")
    assert (row["etat_prise_type_2"], row["etat_prise_type_ef"]) == ("inconnu", "")
    assert row["horodatage"] == "2026-11-26T10:05:01+00:00"


def test_a_point_never_heard_of_is_unknown_since_its_station_was_entered() -> None:
    never = standing(
        "unknown", status_at=None, connected=False, connected_at=None, disconnected_at=None
    )
    assert row_of(never)["horodatage"] == "2026-11-17T10:00:01+00:00"


def test_a_return_with_the_former_status_is_newer_than_the_absence() -> None:
    gone = row_of(standing(connected=False, disconnected_at=AT + timedelta(minutes=5)))
    back = row_of(standing(connected_at=AT + timedelta(minutes=6)))
    assert back["occupation_pdc"] == "libre"
    assert back["horodatage"] > gone["horodatage"]


def test_a_station_out_of_order_as_a_whole_has_no_point_in_order() -> None:
    broken_at = AT + timedelta(minutes=1)
    row = row_of(standing(station_status="faulted", station_status_at=broken_at))
    assert (row["etat_pdc"], row["occupation_pdc"]) == ("hors_service", "inconnu")
    assert (row["etat_prise_type_2"], row["horodatage"][14:19]) == ("hors_service", "01:01")
    assert row_of(standing(station_status="available"))["etat_pdc"] == "en_service"


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        (("faulted", "available"), "fonctionnel"),
        (("faulted", "unavailable"), "hors_service"),
        (("faulted", "unknown"), "fonctionnel"),  # what the point says holds for it
    ],
)
def test_one_connector_of_a_type_that_works_is_enough(
    statuses: tuple[str, ...], state: str
) -> None:
    sockets = [Connector("cCCS2", status) for status in statuses] + [Connector("sType2", "faulted")]
    row = row_of(standing("available", connectors=sockets))
    assert row["etat_prise_type_combo_ccs"] == state
    assert row["etat_prise_type_2"] == "hors_service"
    assert row["etat_pdc"] == "en_service"


def test_only_points_of_the_static_file_are_told_in_order() -> None:
    standings = [standing(evse_uid=f"FRABCE{n}") for n in (3, 1, 2)]
    content = dynamic_rows.build(standings, {"FRABCE1", "FRABCE3", "FRABCE9"})
    assert [row["id_pdc_itinerance"] for row in read(content)] == ["FRABCE1", "FRABCE3"]


async def test_the_status_as_recorded_is_told(
    world: None, pool: AsyncConnectionPool, settings: Settings
) -> None:
    await change(
        pool,
        """
        INSERT INTO station_connection (station_key, node, generation, protocol, remote_address,
                                        connected_at, last_seen_at)
        SELECT station_key, 'n', 1, 'ocpp1.6', '::1', %s, %s
          FROM station WHERE id IN ('CP-1', 'CP-4')
        """,
        AT,
        AT,
    )
    await change(
        pool,
        "UPDATE station_connection SET disconnected_at = %s WHERE station_key = "
        "(SELECT station_key FROM station WHERE id = 'CP-4')",
        AT + timedelta(days=400),
    )
    later = AT + timedelta(days=365)
    await change(pool, "UPDATE evse SET status = 'charging', status_at = %s", later)
    await change(pool, "UPDATE connector SET status = 'charging' WHERE connector_id = 1")
    await change(pool, "UPDATE connector SET status = 'faulted' WHERE connector_id = 2")
    rows = await dynamic_of(pool, settings)
    assert sorted(rows) == PUBLIC
    assert list(rows["FRABCE1"].values()) == [
        *("FRABCE1", "en_service", "occupe", "2027-11-26T10:00:01+00:00"),
        *("fonctionnel", "", "", "hors_service"),
    ]
    assert rows["FRABCE31"]["etat_pdc"] == "inconnu", "never connected"
    assert rows["FRABCE41"]["etat_pdc"] == "inconnu", "gone"
    assert rows["FRABCE41"]["horodatage"] == "2027-12-31T10:00:01+00:00"


@pytest.mark.data
@needs_data
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_dynamic_file_passes_the_official_schema(tmp_path: Path) -> None:
    statuses = ("available", "charging", "faulted", "unknown", "reserved")
    standings = [standing(s, evse_uid=f"FRABCE{n}") for n, s in enumerate(statuses)]
    content = dynamic_rows.build(standings, {one.evse_uid for one in standings})
    assert official_faults(content, "dynamique", tmp_path) == []


# --- Over HTTP ------------------------------------------------------------------------------------


@pytest.fixture
async def visitor(
    world: None, pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    """Nobody in particular, where the files are published."""
    app = create_app(pool, replace(settings, irve_published=True), people=people)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(
    ("name", "schema", "lasts_s"),
    [("statique", table_schema.STATIC, 60), ("dynamique", table_schema.DYNAMIC, 15)],
)
async def test_anybody_may_fetch_the_files_where_they_are_published(
    visitor: httpx.AsyncClient, name: str, schema: Any, lasts_s: int
) -> None:
    answer = await visitor.get(f"/irve/{name}.csv")
    assert answer.status_code == 200
    assert table_schema.faults(answer.content, schema) == []
    assert [row["id_pdc_itinerance"] for row in read(answer.content)] == PUBLIC
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers.get_list("cache-control") == [f"public, max-age={lasts_s}"]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert SECRET not in answer.text and "FRABCE66" not in answer.text

    head = await visitor.head(f"/irve/{name}.csv")
    assert head.content == b""
    for header in ("etag", "content-length", "content-type"):
        assert head.headers[header] == answer.headers[header]


@pytest.mark.parametrize("name", ["statique", "dynamique"])
async def test_who_has_the_copy_is_sent_nothing(visitor: httpx.AsyncClient, name: str) -> None:
    path = f"/irve/{name}.csv"
    etag = (await visitor.get(path)).headers["etag"]
    assert etag.startswith('"')
    for stated in (etag, f'"x", W/{etag}', "*"):
        same = await visitor.get(path, headers={"If-None-Match": stated})
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["etag"] == etag
    other = await visitor.get(path, headers={"If-None-Match": '"x"'})
    assert other.status_code == 200


async def test_nothing_is_published_unless_a_setting_says_so(
    world: None, pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    transport = httpx.ASGITransport(create_app(pool, settings, people=people))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for name in ("statique", "dynamique"):
            answer = await client.get(f"/irve/{name}.csv")
            assert answer.status_code == 404
            assert answer.headers.get_list("cache-control") == ["no-store"]
            assert "FRABC" not in answer.text


async def test_too_many_points_are_no_truncated_file(
    world: None, pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> None:
    few = replace(settings, irve_published=True, irve_points_max=1)
    transport = httpx.ASGITransport(create_app(pool, few, people=people))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/irve/statique.csv")
    assert answer.status_code == 503 and "irve_points_max" in answer.json()["detail"]


async def test_however_many_ask_the_database_is_asked_once_and_then_again(
    world: None, pool: AsyncConnectionPool, settings: Settings
) -> None:
    files = Publication(pool, settings)
    first, *others = await asyncio.gather(*(files.static(NOW) for _ in range(20)))
    assert all(copy is first for copy in others)
    async with transaction(pool) as connection:
        await registry.retire_station(connection, "CP-4", NOW, actor="test")
    almost = NOW + timedelta(seconds=settings.irve_static_cache_s - 1)
    assert await files.static(almost) is first
    anew = await files.static(NOW + timedelta(seconds=settings.irve_static_cache_s))
    assert anew.etag != first.etag and len(read(anew.content)) == 3


async def test_a_caller_who_goes_away_does_not_end_the_reading_of_the_others(
    world: None, pool: AsyncConnectionPool, settings: Settings
) -> None:
    files = Publication(pool, settings)
    gone = asyncio.create_task(files.dynamic(NOW))
    stays = asyncio.create_task(files.dynamic(NOW))
    await asyncio.sleep(0.01)
    gone.cancel()
    assert len(read((await stays).content)) == 4
    assert gone.cancelled()


async def test_a_failure_is_told_to_all_who_wait_and_not_remembered(
    world: None, pool: AsyncConnectionPool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Publication(pool, settings)
    real = publication.read_static
    asked = 0

    async def fails(*_: Any) -> Static:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        raise TimeoutError

    monkeypatch.setattr(publication, "read_static", fails)
    results = await asyncio.gather(*(files.static(NOW) for _ in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {TimeoutError} and asked == 1
    monkeypatch.setattr(publication, "read_static", real)
    assert len(read((await files.static(NOW)).content)) == 4


async def test_a_point_made_private_leaves_the_dynamic_file_before_the_static_is_read_anew(
    world: None, pool: AsyncConnectionPool, settings: Settings
) -> None:
    files = Publication(pool, settings)
    assert len(read((await files.dynamic(NOW)).content)) == 4
    async with transaction(pool) as connection:
        await registry.change_station(connection, "CP-2", {"public": False}, length_min=8)
    later = await files.dynamic(NOW + timedelta(seconds=settings.irve_dynamic_cache_s))
    assert len(read(later.content)) == 3


# --- On the command line --------------------------------------------------------------------------

Run = Callable[..., Result]


@pytest.fixture
def run(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    """Run `report` on the world; fails unless it ends with the code expected."""

    async def fill() -> None:
        async with db.open_pool(database, settings) as pool:
            await add_world(pool)

    asyncio.run(fill())
    monkeypatch.setenv("T2P_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("T2P_DATABASE_OWNER_URL", str(settings.database_owner_url))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(command, ["report", *arguments])
        assert result.exit_code == code, result.output
        return result

    return run


def test_the_static_file_is_written_and_passes_its_own_check(run: Run, tmp_path: Path) -> None:
    told = run("irve-static").stdout
    assert "4 point(s) publié(s), dans 1 station(s)." in told
    path = tmp_path / "irve-statique.csv"
    content = path.read_bytes()
    assert table_schema.faults(content, table_schema.STATIC) == []
    assert SECRET not in content.decode() + told
    run("irve-static", "--output", "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == content
    judged = run("irve-static", "--check", str(path)).stdout
    assert "ACCEPTÉ : 4 ligne(s) gardée(s) sur 4, 0 écartée(s)." in judged


def test_a_dry_run_writes_nothing_and_says_what_would_become_of_it(
    run: Run, tmp_path: Path
) -> None:
    told = run("irve-static", "--dry-run", "--language", "en").stdout
    assert "4 point(s) published" in told and "TAKEN: 4 line(s) kept of 4" in told
    assert list(tmp_path.glob("*.csv")) == []


def test_the_file_alone_goes_to_standard_output(run: Run) -> None:
    result = run("irve-static", "--output", "-")
    assert table_schema.faults(result.stdout_bytes, table_schema.STATIC) == []
    assert "4 point(s)" in result.stderr
    dynamic = run("irve-dynamic", "--output", "-")
    assert table_schema.faults(dynamic.stdout_bytes, table_schema.DYNAMIC) == []


def test_a_wrong_point_is_told_and_the_others_are_written(
    run: Run, database: Database, tmp_path: Path
) -> None:
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("UPDATE evse SET power_w_max = 22 WHERE evse_uid = 'FRABCE1'")
        connection.execute("UPDATE evse SET power_w_max = NULL WHERE evse_uid = 'FRABCE2'")
    told = run("irve-static").stdout
    assert "Renseignez evse.power_w_max." in told
    assert (
        "point FRABCE1 (borne CP-1/1), colonne puissance_nominale : 0.022 kW est trop peu" in told
    )
    rows = read((tmp_path / "irve-statique.csv").read_bytes())
    assert [row["id_pdc_itinerance"] for row in rows] == PUBLIC[2:]


def test_the_dynamic_file_is_written(run: Run, tmp_path: Path) -> None:
    assert "4 lignes dans irve-dynamique.csv" in run("irve-dynamic").stdout
    content = (tmp_path / "irve-dynamique.csv").read_bytes()
    assert [row["id_pdc_itinerance"] for row in read(content)] == PUBLIC


def test_a_file_that_would_be_left_out_ends_with_a_failure(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("n_operateur,id_pdc\n1,2\n", encoding="utf-8")
    assert "REFUSÉ" in run("irve-static", "--check", str(bad), code=1).stdout
    run("irve-static", "--check", str(tmp_path / "nowhere.csv"), code=1)
    run("irve-static", "--language", "de", code=2)


def test_a_file_too_large_is_not_read(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2P_IRVE_FILE_BYTES_MAX", "100")
    (tmp_path / "large.csv").write_bytes(b"x" * 101)
    result = run("irve-static", "--check", "large.csv", code=1)
    assert "T2P_IRVE_FILE_BYTES_MAX" in result.stderr
    assert result.stdout == ""
