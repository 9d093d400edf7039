"""Reports on their way out: by API, by verbs, on paper, as a page and as a workbook."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pypdfium2
import pytest
from psycopg_pool import AsyncConnectionPool
from typer.testing import CliRunner

from csms import keys
from csms.config import Settings
from csms.db import Database
from csms.domain.services import Option
from csms.web.app import create_app
from reporting import report_files, sheet
from reporting.sheet import Kind
from tests.people_at_the_door import log_in_page, person
from tests.report_world import (
    add_places,
    add_session,
    client_id_of,
    links,
    manager,
    run,
    speaking,
    statuses,
)

HOUR = 3_600


@pytest.fixture(autouse=True)
async def places(database: Database) -> None:
    """CP-1 was away for ten hours of October; one planned window, one excluded, one revoked."""
    await add_places(database)
    await links(
        database,
        "CP-1",
        ("2026-09-01 08:00", True),
        ("2026-10-03 00:00", False),
        ("2026-10-03 10:00", True),
    )
    for evse_id in (1, 2):
        await statuses(database, "CP-1", evse_id, ("2026-09-01 08:00", "available"))
    await statuses(
        database, "CP-1", 2, ("2026-10-05 10:00", "faulted"), ("2026-10-05 14:00", "available")
    )
    await run(
        database,
        """INSERT INTO availability_window (client_id, site_id, station_key, evse_id, kind,
                                            starts_at, ends_at, cause, created_at, created_by)
           SELECT client_id, site_id, CASE w.kind WHEN 'planned' THEN station_key END,
                  CASE w.kind WHEN 'planned' THEN 2 END, w.kind, w.starts::timestamptz,
                  w.ends::timestamptz, w.cause, '2026-10-01 09:00Z', 'key desk'
             FROM station, (VALUES
                  ('planned', '2026-10-05 12:00+02', '2026-10-05 18:00+02',
                   'Travaux sur le tableau'),
                  ('excluded', '2026-10-06 00:00+02', '2026-10-06 05:00+02',
                   '=1+1 Coupure du réseau')) w (kind, starts, ends, cause)
            WHERE id = 'CP-1'""",
    )


@pytest.fixture
async def desk(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    async with pool.connection() as connection:
        key, _ = await keys.create(connection, name="desk", role="operator", expires_at=None)
    async with speaking(pool, people, settings, key) as client:
        yield client


def text_of(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(pdf)
    return "\n".join(page.get_textpage().get_text_range() for page in document)


async def verb(*words: str) -> Any:
    from csms.__main__ import app

    return await asyncio.to_thread(CliRunner().invoke, app, ["report", *words])


# --- Availability ---------------------------------------------------------------------------------

AVAILABILITY = "/api/v1/reports/availability?month=2026-10&site_id=tilleuls"


async def test_the_figures_are_told_with_their_rules(desk: httpx.AsyncClient) -> None:
    told = (await desk.get(AVAILABILITY)).json()
    assert told["starts_at"] == "2026-09-30T22:00:00Z"
    assert [one["availability_hundredths_of_percent"] for one in told["points"]] == [9_865, 9_837]
    assert told["total"] == {
        "availability_hundredths_of_percent": 9_851,
        "up_s": 1_452 * HOUR,
        "down_s": 22 * HOUR,
        "unknown_s": 0,
        "left_out_s": 16 * HOUR,
    }
    assert told["points"][1]["outages"][1] == {
        "starts_at": "2026-10-05T08:00:00Z",
        "ends_at": "2026-10-05T10:00:00Z",
        "duration_s": 2 * HOUR,
        "states": ["faulted"],
    }
    assert any("Offline" in rule for rule in told["rules"])


async def test_paper_says_figures_and_rules_on_its_first_page(desk: httpx.AsyncClient) -> None:
    for language, words in (
        ("fr", ["98,51 %", "Règles de calcul", "soit 745 heures", "octobre 2026"]),
        ("en", ["98.51%", "How it is computed", "that is 745 hours"]),
    ):
        answer = await desk.get(f"{AVAILABILITY}&format=pdf&language={language}")
        assert answer.headers["content-type"] == "application/pdf"
        first = pypdfium2.PdfDocument(answer.content)[0].get_textpage().get_text_range()
        first = " ".join(first.split()).replace("\u202f", " ")
        for word in words:
            assert word in first, word
    whole = " ".join(text_of(answer.content).split())
    for word in ("Travaux sur le tableau", "05/10/2026 12:00", "Excluded period"):
        assert word in whole, word


async def test_a_workbook_has_numbers_and_no_formula(desk: httpx.AsyncClient) -> None:
    answer = await desk.get(f"{AVAILABILITY}&format=xlsx&language=fr")
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    points = book["Par point de recharge"]
    rows = list(points.iter_rows(values_only=True))
    assert rows[1][0] == "CP-1 · 1"
    assert rows[1][1] == pytest.approx(0.9865)
    assert rows[-1][0] == "Total"
    windows = book["Travaux planifiés et périodes e"]
    causes = [cell for cell in windows["E"] if str(cell.value).startswith("=1+1")]
    assert [cell.data_type for cell in causes] == ["s"]


async def test_a_page_stands_alone_and_is_allowed_its_styles(desk: httpx.AsyncClient) -> None:
    answer = await desk.get(f"{AVAILABILITY}&format=html")
    assert '<link rel="stylesheet" href="/static/report.css">' in answer.text
    assert "<style" not in answer.text
    assert "style-src 'self'" in answer.headers["content-security-policy"]
    assert "98,51\u202f%" in answer.text
    styles = await desk.get("/static/report.css")
    assert (styles.status_code, styles.headers["content-type"]) == (200, "text/css; charset=utf-8")


async def test_a_manager_reads_of_her_clients_only_and_only_what_their_contract_opens(
    database: Database,
    pool: AsyncConnectionPool,
    people: AsyncConnectionPool,
    settings: Settings,
) -> None:
    hers = await manager(database, "Les Ormes")
    other = await client_id_of(database, "Les Tilleuls")
    own = await client_id_of(database, "Les Ormes")
    async with speaking(pool, people, settings, hers.token) as client:
        told = (await client.get("/api/v1/reports/availability?month=2026-10")).json()
        assert [one["station_id"] for one in told["points"]] == ["CP-9"]
        assert "Tilleuls" not in json.dumps(told)
        for query in (f"client_id={other}", "site_id=tilleuls"):
            answer = await client.get(f"/api/v1/reports/availability?month=2026-10&{query}")
            assert answer.status_code == 404, answer.text
        await run(
            database,
            """INSERT INTO contract (client_id, client_class, devis_reference, signed_on, starts_on,
                                     term_months)
               VALUES (%s, 'professionnel', 'D-1', '2026-01-01', '2026-01-01', 36)""",
            (own,),
        )
        closed = await client.get("/api/v1/reports/availability?month=2026-10")
        assert closed.status_code == 403
        assert "Analysis and reports" in closed.text
        await run(
            database,
            """INSERT INTO contract_option (client_id, contract_id, option, from_on)
               SELECT client_id, id, %s, '2026-01-01' FROM contract""",
            (Option.ANALYSIS_REPORTS.value,),
        )
        answer = await client.get("/api/v1/reports/availability?month=2026-10")
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "query",
    [
        "month=2026-13",
        "month=2999-10",
        "from_on=2026-10-01",
        "month=2026-10&from_on=2026-10-01&to_on=2026-10-02",
        "from_on=2026-10-05&to_on=2026-10-04",
        "from_on=2024-10-05&to_on=2026-10-04",
        "format=doc",
        "month=2090-01",
    ],
)
async def test_what_cannot_be_reported_on_is_refused(desk: httpx.AsyncClient, query: str) -> None:
    answer = await desk.get(f"/api/v1/reports/availability?{query}")
    assert answer.status_code == 422, answer.text


async def test_the_verb_writes_each_format_whole(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2P_DATABASE_URL", database.app_url)
    monkeypatch.chdir(tmp_path)
    for file_format in report_files.FORMATS:
        done = await verb(
            *("availability", "2026-10", "--client", "Les Tilleuls", "--format", file_format)
        )
        assert done.exit_code == 0, done.output
        path = tmp_path / f"disponibilite-2026-10-les-tilleuls.{file_format}"
        assert path.stat().st_size > 500
    assert "<style>" in (tmp_path / "disponibilite-2026-10-les-tilleuls.html").read_text()
    printed = await verb(
        "availability", "2026-10-05..2026-10-05", "--format", "json", "--output", "-"
    )
    assert json.loads(printed.output)["from_on"] == "2026-10-05"
    for bad in (["2026-13"], ["2026-10", "--format", "doc"], ["2026-10", "--output", "-"]):
        assert (await verb("availability", *bad)).exit_code == 2
    assert (await verb("availability", "2026-10", "--client", "Nobody")).exit_code == 1


# --- Consumption ----------------------------------------------------------------------------------

CONSUMPTION = "/api/v1/reports/consumption?month=2026-10"


@pytest.fixture
async def month(database: Database) -> None:
    """Four sessions at CP-1, one at CP-9; 12 kW are subscribed, and passed for an hour."""
    await add_session(
        *(database, 1_000, "2026-10-05 18:00", "2026-10-05 20:00", 16_000),
        registers=[("2026-10-05 19:00", 9_000)],
    )
    await add_session(
        database, 2_000, "2026-10-05 18:30", "2026-10-05 19:30", 6_000, evse_id=2, token_uid="=B"
    )
    await add_session(database, 3_000, "2026-10-12 18:00", "2026-10-12 19:00", 4_000)
    await add_session(database, 4_000, "2026-10-13 19:00", "2026-10-13 20:00", 3_000)
    await add_session(
        database, 5_000, "2026-10-14 08:00", "2026-10-14 09:00", 7_000, station_id="CP-9"
    )
    await run(
        database,
        """INSERT INTO subscribed_power (client_id, site_id, from_on, subscribed_power_w,
                                         created_at, created_by)
           SELECT client_id, id, '2026-01-01', 12000, now(), 'test' FROM site""",
    )


async def test_consumption_is_told_in_whole_units(desk: httpx.AsyncClient, month: None) -> None:
    told = (await desk.get(f"{CONSUMPTION}&site_id=tilleuls")).json()
    assert told["total"]["energy_wh"] == 29_000
    assert sum(one["energy_wh"] for one in told["points"]) == 29_000
    assert sum(one["energy_wh"] for one in told["users"]) == 29_000
    assert sum(one["energy_wh"] for one in told["hours"]) == 29_000
    (load,) = told["loads"]
    assert load["peak"] == {"at": "2026-10-05T16:30:00Z", "power_w": 14_000}
    assert [one["excess_w"] for one in load["above"]] == [2_000] * 4


async def test_consumption_is_drawn_on_paper_and_on_a_page(
    desk: httpx.AsyncClient, month: None
) -> None:
    answer = await desk.get(f"{CONSUMPTION}&site_id=tilleuls&format=pdf&language=fr")
    text = " ".join(text_of(answer.content).split()).replace("\u202f", " ").replace("\u00a0", " ")
    for word in (
        *("29,0 kWh", "14,0 kW", "Puissance souscrite : 12,0 kW.", "05/10/2026 18:30"),
        *("4 quarts d’heure la dépassent, de 2,0 kW au plus", "Badge =B"),
    ):
        assert word in text, word
    page = await desk.get(f"{CONSUMPTION}&format=html&language=en")
    assert page.text.count("data:image/png;base64,") == 5, "days, hours, week and two curves"
    assert "img-src 'self' data:" in page.headers["content-security-policy"]


async def test_the_workbook_has_every_quarter_that_had_energy(
    desk: httpx.AsyncClient, month: None
) -> None:
    answer = await desk.get(f"{CONSUMPTION}&format=xlsx&language=en")
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    curve = list(book["Load curve"].iter_rows(min_row=2, values_only=True))
    assert len(curve) == 8 + 4 + 4 + 4
    assert curve[0][::2] == ("Garage Tilleuls", 8)
    assert str(curve[0][1]) == "2026-10-05 18:00:00"
    assert curve[0][3] == 12
    badges = [cell for cell in book["By user"]["A"] if str(cell.value).startswith("Badge =B")]
    assert [cell.data_type for cell in badges] == ["s"]
    hours = book["Energy by hour of the day"].iter_rows(min_row=2, values_only=True)
    assert sum(float(str(row[1])) for row in hours) == 36


async def test_costs_and_habits_are_shown_where_the_contract_opens_them(
    database: Database,
    pool: AsyncConnectionPool,
    people: AsyncConnectionPool,
    settings: Settings,
    month: None,
) -> None:
    own = await client_id_of(database, "Les Tilleuls")
    hers = await manager(database, "Les Tilleuls")
    await run(
        database,
        """WITH made AS (
               INSERT INTO contract (client_id, client_class, devis_reference, signed_on, starts_on,
                                     term_months)
               VALUES (%s, 'professionnel', 'D-1', '2026-01-01', '2026-01-01', 36) RETURNING *)
           INSERT INTO contract_option (client_id, contract_id, option, from_on)
           SELECT client_id, id, 'analysis_reports', '2026-01-01' FROM made""",
        (own,),
    )
    async with speaking(pool, people, settings, hers.token) as client:
        told = (await client.get(CONSUMPTION)).json()
        assert told["total"]["energy_wh"] == 29_000
        assert told["total"]["cost_incl_cents"] is None
        assert "usual_hours" not in told["users"][0]
        for option in ("user_costs", "user_profiles"):
            await run(
                database,
                """INSERT INTO contract_option (client_id, contract_id, option, from_on)
                   SELECT client_id, id, %s, '2026-01-01' FROM contract""",
                (option,),
            )
        told = (await client.get(CONSUMPTION)).json()
        assert told["total"]["cost_incl_cents"] == 0
        assert told["users"][0]["usual_hours"] is None, "three sessions are no habit"


async def test_the_verb_reports_consumption(
    database: Database, month: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2P_DATABASE_URL", database.app_url)
    path = tmp_path / "report.pdf"
    done = await verb("consumption", "2026-10", "--output", str(path))
    assert done.exit_code == 0, done.output
    assert "36,0" in done.output
    assert path.read_bytes().startswith(b"%PDF")
    empty = await verb("consumption", "2026-09", "--format", "html", "--output", "-")
    assert "Aucune session" in empty.output


# --- Pages ----------------------------------------------------------------------------------------


@pytest.fixture
async def browser_of(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[httpx.AsyncClient]:
    """A browser before the application, with no log-in yet."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(pool, settings, people=people)),
        base_url="http://test",
    ) as client:
        yield client


async def test_a_manager_finds_the_reports_of_her_client_in_her_pages(
    database: Database,
    pool: AsyncConnectionPool,
    browser_of: httpx.AsyncClient,
    month: None,
) -> None:
    own = await client_id_of(database, "Les Tilleuls")
    other = await client_id_of(database, "Les Ormes")
    asked = "/gestion/rapports?month=2026-10"
    assert (await browser_of.get(asked)).headers["location"].startswith("/login")
    await person(pool, "gestionnaire@example.org", manages=(own,))
    await log_in_page(browser_of, "gestionnaire@example.org")
    page = (await browser_of.get(asked)).text
    assert "98,51\u202f%" in page
    assert f"/api/v1/reports/availability?month=2026-10&amp;client_id={own}" in page
    consumed = (await browser_of.get(f"{asked}&kind=consumption&client={other}&lang=en")).text
    assert "29.0\u00a0kWh" in consumed
    assert "CP-9" not in consumed
    assert "style=" not in consumed, "its policy lets no such style through"
    assert (await browser_of.get("/rapports")).headers["location"] == "/gestion/rapports"
    before = await browser_of.get("/gestion/rapports?month=2099-01&lang=fr")
    assert (before.status_code, "Il n’y a rien à montrer" in before.text) == (200, True)


async def test_a_manager_is_told_what_her_contract_does_not_open(
    database: Database, pool: AsyncConnectionPool, browser_of: httpx.AsyncClient
) -> None:
    own = await client_id_of(database, "Les Tilleuls")
    await run(
        database,
        """INSERT INTO contract (client_id, client_class, devis_reference, signed_on, starts_on,
                                 term_months)
           VALUES (%s, 'professionnel', 'D-1', '2026-01-01', '2026-01-01', 36)""",
        (own,),
    )
    await person(pool, "gestionnaire@example.org", manages=(own,))
    await log_in_page(browser_of, "gestionnaire@example.org")
    page = (await browser_of.get("/gestion/rapports?month=2026-10")).text
    assert "L’option « Analyse et rapports (disponibilité, consommation) » n’est pas" in page
    assert "98,51" not in page


async def test_an_operator_finds_the_reports_of_any_client(
    database: Database, pool: AsyncConnectionPool, browser_of: httpx.AsyncClient, month: None
) -> None:
    other = await client_id_of(database, "Les Ormes")
    await person(pool, "exploitante@example.org", roles=("read",))
    await log_in_page(browser_of, "exploitante@example.org")
    await run(database, "UPDATE login_session SET second_factor_at = now()")
    page = (await browser_of.get("/rapports?month=2026-10&kind=consumption")).text
    assert "36,0\u00a0kWh" in page
    one = (await browser_of.get(f"/rapports?month=2026-10&kind=consumption&client={other}")).text
    assert "7,0\u00a0kWh" in one
    assert "CP-1" not in one
    assert 'href="/rapports"' in (await browser_of.get("/")).text


# --- Values for people ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kind", "french", "english"),
    [
        (None, Kind.PERCENT, "–", "–"),
        (9_851, Kind.PERCENT, "98,51 %", "98.51%"),
        (123_456, Kind.MONEY, "1 234,56 €", "€1,234.56"),
        (37_421, Kind.ENERGY, "37,4 kWh", "37.4 kWh"),
        (36_050, Kind.POWER, "36,1 kW", "36.1 kW"),
        (1_234, Kind.NUMBER, "1 234", "1,234"),
        (90, Kind.DURATION, "1 min 30 s", "1 min 30 s"),
        (1_452 * HOUR + 300, Kind.DURATION, "1 452 h 05", "1,452 h 05"),
        (
            datetime(2026, 11, 22, 17, 5, tzinfo=UTC),
            Kind.MOMENT,
            "22/11/2026 18:05",
            "22/11/2026 18:05",
        ),
    ],
)
def test_a_value_is_written_as_its_language_has_it(
    value: object, kind: Kind, french: str, english: str
) -> None:
    def plain(language: str) -> str:
        return sheet.shown(value, kind, language).replace("\u202f", " ").replace("\u00a0", " ")

    assert (plain("fr"), plain("en")) == (french, english)
