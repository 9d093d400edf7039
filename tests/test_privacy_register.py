"""The register of processing activities: whole, true to the database, and told to people."""

import re
from pathlib import Path
from typing import get_args

import httpx
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from csms import processing, retention
from csms.config import Settings
from csms.db import Database, acting, connect
from csms.processing import Basis, register
from csms.store import own
from csms.web import cookies
from csms.web.app import create_app

ROOT = Path(__file__).parent.parent
TOML = (ROOT / "csms" / "data" / "processing.toml").read_text(encoding="utf-8")

Column = tuple[str, str]


async def columns_of(database: Database) -> set[Column]:
    """Every column of every table of ours, but the single months."""
    async with await connect(database, owner=True) as connection:
        cursor = await connection.execute(
            """
            SELECT c.relname, a.attname
              FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
             WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
               AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
            """
        )
        return {(str(table), str(column)) for table, column in await cursor.fetchall()}


def personal() -> set[Column]:
    return {
        (table, column)
        for activity in register().activities
        for table, columns in activity.columns.items()
        for column in columns
    }


def named() -> set[Column]:
    """Every column that the register names."""
    impersonal = register().without_personal_data
    return personal() | {(t, column) for t, columns in impersonal.items() for column in columns}


async def test_every_column_of_the_database_is_in_the_register(database: Database) -> None:
    """Whoever adds a column says in csms/data/processing.toml whether it holds personal data."""
    missing = sorted(await columns_of(database) - named())
    assert missing == [], "name them in csms/data/processing.toml"


@pytest.mark.native  # where TimescaleDB keeps the tables the counts are views
async def test_the_register_names_nothing_that_is_not_there(database: Database) -> None:
    assert sorted(named() - await columns_of(database)) == []


async def test_what_is_a_persons_own_is_exported_or_withheld_with_a_reason(
    database: Database,
) -> None:
    there = await columns_of(database)
    own_tables = {table for table, column in there if column == "person_id"} | {"person"}
    covered = {section.covers: section for section in register().sections}
    withheld = register().export_withheld
    assert all(withheld.values())
    assert set(withheld) <= own_tables
    for table in own_tables - set(withheld):
        assert table in covered, f"{table} is neither exported nor withheld"
        section = covered[table]
        told = set(section.columns) | set(section.withheld)
        lacking = {column for name, column in personal() if name == table} - told
        assert lacking == set(), f"{table}: {lacking}"
        assert all(section.withheld.values())
        assert not set(section.columns) & set(section.withheld)


async def test_people_may_read_all_that_is_exported(people: AsyncConnectionPool) -> None:
    """Under their own role: no grant is missing."""
    for section in register().sections:
        async with acting(people, person_id=1) as connection:
            rows = [row async for row in own.stream_section(connection, section, 1)]
            assert rows == []


async def test_no_secret_is_exported() -> None:
    for section in register().sections:
        for column in section.columns:
            assert not re.search(r"hash|secret_sha|sha256|totp_secret|recovery", column), column


def test_periods_are_those_of_the_settings_and_of_the_contract() -> None:
    periods = register().periods
    assert periods.technical_logs_months == Settings().journal_months == 6
    assert periods.books_years == 10


def test_every_rule_of_the_night_belongs_to_an_activity() -> None:
    codes = {activity.code for activity in register().activities}
    assert {rule.activity for rule in retention.RULES} <= codes
    assert len({rule.name for rule in retention.RULES}) == len(retention.RULES)


def test_prospecting_rests_on_consent_alone() -> None:
    (prospecting,) = (a for a in register().activities if a.code == "prospecting")
    assert prospecting.basis is Basis.CONSENT
    assert [a.code for a in register().activities if a.basis is Basis.CONSENT] == ["prospecting"]


@pytest.mark.parametrize(
    ("pattern", "replacement", "error"),
    [
        (r'token = "uid_key', 'token = "uid_key uid_key', "named twice"),
        (r'purpose\.en = "To make offers[^\n]*', "", "a text in fr and en"),
        (r'basis = "consent"', 'basis = "habit"', "habit"),
    ],
)
def test_a_register_that_is_not_whole_is_refused(
    pattern: str, replacement: str, error: str
) -> None:
    text, changed = re.subn(pattern, replacement, TOML, count=1)
    assert changed == 1
    with pytest.raises(ValueError, match=error):
        processing.parse(text)


@pytest.fixture
def visitor(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings
) -> httpx.AsyncClient:
    """Somebody without a key."""
    transport = httpx.ASGITransport(create_app(pool, settings, people=people))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_everybody_may_read_the_register(visitor: httpx.AsyncClient) -> None:
    answer = await visitor.get("/api/v1/privacy/register")
    assert answer.status_code == 200
    body = answer.json()
    assert body["periods"]["technical_logs_months"] == 6
    assert {a["code"] for a in body["activities"]} == {a.code for a in register().activities}
    assert "session" in next(a for a in body["activities"] if a["code"] == "charging")["columns"]


async def test_the_page_tells_it_in_french_and_in_english(visitor: httpx.AsyncClient) -> None:
    french = await visitor.get("/confidentialite", headers={"Accept-Language": "de"})
    assert french.status_code == 200
    assert '<html lang="fr">' in french.text
    english = await visitor.get("/confidentialite?lang=en")
    assert '<html lang="en">' in english.text
    for activity in register().activities:
        assert activity.purpose["fr"] in french.text
        assert activity.purpose["en"].replace("'", "&#x27;") in english.text
    for cookie in register().cookies:
        assert cookie.name in french.text
    assert register().controller["contact"] in french.text
    assert "set-cookie" not in french.headers
    login = await visitor.get("/login?lang=fr")
    assert 'href="/confidentialite?lang=fr"' in login.text


def test_every_cookie_of_ours_is_told() -> None:
    told = {cookie.name for cookie in register().cookies}
    assert told == {cookies.name_of(kind, https=False) for kind in get_args(cookies.Cookie)}


def test_french_texts_have_french_spaces() -> None:
    wrong = re.compile(r"[^\u00a0\u202f\s][:;?!»](?!//)|« | »| [:;?!](\s|$)|'")
    for activity in register().activities:
        for text in (activity.purpose, activity.data, activity.active, activity.archive):
            assert not wrong.search(text["fr"]), text["fr"]


async def test_the_people_s_role_reads_no_archive(people: AsyncConnectionPool) -> None:
    async with people.connection() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("SELECT * FROM archived_person")
