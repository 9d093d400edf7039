"""Columns as single parameters: what goes in comes back from PostgreSQL, or is replaced."""

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from csms import db
from csms.db import Database
from csms.domain import session as sessions
from csms.domain.session import Flag, Session, State
from csms.store.columns import json_rows, numbers, safe, safe_frame, texts
from csms.store.session_rows import session_from_row, session_row

AT = datetime(2026, 5, 25, 12, 30, 15, 123456, tzinfo=UTC)
ODD = ["", " ", "NULL", "null", "{}", '"', "\\", "a,b", "\n\t", "é", "\U0001f50c", "\\x1e", "%s"]


async def split(database: Database, column: str) -> list[str | None]:
    """The column as PostgreSQL reads it."""
    async with await db.connect(database) as connection:
        cursor = await connection.execute(
            r"SELECT string_to_array(%s, E'\x1e', E'\x1d')", (column,)
        )
        (value,) = await cursor.fetchone()  # type: ignore[misc]
    return value  # type: ignore[no-any-return]


async def test_texts_come_back_as_they_were(database: Database) -> None:
    values = [*ODD, None, "x" * 100_000]
    assert await split(database, texts(values)) == values
    assert await split(database, texts([None])) == [None]
    assert await split(database, texts(["a"])) == ["a"]
    assert await split(database, texts([])) == []


async def test_numbers_come_back_as_they_were(database: Database) -> None:
    floats = [0.0, -0.0, 1e308, 5e-324, 0.1 + 0.2, None, -17]
    async with await db.connect(database) as connection:
        cursor = await connection.execute(
            "SELECT %s::float8[], %s::bigint[], %s::integer[]",
            (numbers(floats), numbers([2**63 - 1, -(2**63), None]), numbers([])),
        )
        row = await cursor.fetchone()
    assert row == (floats, [2**63 - 1, -(2**63), None], [])


async def test_no_number_and_infinity_come_back_as_they_were(database: Database) -> None:
    async with await db.connect(database) as connection:
        cursor = await connection.execute(
            "SELECT %s::float8[]", (numbers([math.nan, math.inf, -math.inf]),)
        )
        ((nan, *infinities),) = await cursor.fetchone()  # type: ignore[misc]
    assert math.isnan(nan)
    assert infinities == [math.inf, -math.inf]


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("plain", "plain"),
        ("a\x00b", "a\ufffdb"),
        ("a\x1db\x1ec", "a\ufffdb\ufffdc"),
        ("line\nline", "line\nline"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
        ("é\U0001f50c", "é\U0001f50c"),
    ],
)
def test_what_no_column_holds_is_replaced(text: str, stored: str) -> None:
    assert safe(text) == stored
    assert safe(stored) == stored


def test_a_frame_is_kept_as_near_as_a_column_can() -> None:
    assert safe_frame('[2,"1","é",{}]'.encode()) == '[2,"1","é",{}]'
    assert safe_frame(b"\xff\xfe[") == "\ufffd\ufffd["
    assert safe_frame(b"a\x00\x1d\x1eb") == "a\ufffd\ufffd\ufffdb"


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("\x00", "\ufffd"),
        ("a\x00\x00b", "a\ufffd\ufffdb"),
        ("\\u0000", "\\u0000"),
        ("\\\x00", "\\\ufffd"),
        ("\\\\u0000\x00", "\\\\u0000\ufffd"),
        ("\x1d\x1e", "\x1d\x1e"),
    ],
)
async def test_rows_as_json_hold_any_text_but_nul(
    database: Database, text: str, stored: str
) -> None:
    async with await db.connect(database) as connection:
        cursor = await connection.execute(
            "SELECT id, start_key FROM json_populate_recordset(NULL::session, %s::json)",
            (json_rows([{"id": 1, "start_key": text}, {"id": 2, "start_key": "x"}]),),
        )
        assert await cursor.fetchall() == [(1, stored), (2, "x")]


@example([{"": "\\\x00"}])
@example([{"\x00\x00": "\\u0000"}])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=8), max_size=3), max_size=4))
def test_rows_as_json_are_json_without_nul(rows: list[dict[str, str]]) -> None:
    assert json.loads(json_rows(rows)) == [
        {_without_nul(key): _without_nul(value) for key, value in row.items()} for row in rows
    ]


def _without_nul(text: str) -> str:
    return text.replace("\x00", "\ufffd")


def whole_session() -> Session:
    """A session with every field set."""
    session = Session(
        5,
        start_key="1|a|x|5",
        transaction_id="5",
        state=State.ENDED,
        started_at=AT,
        evse_id=1,
        connector_id=2,
        token_uid="A",
        token_type="ISO14443",
        authorization_status="Accepted",
    )
    for name in Session.__slots__:
        if getattr(session, name) is None:
            if name.endswith("_at"):
                setattr(session, name, AT)
            elif name.endswith(("_w", "_wh")):
                setattr(session, name, 12 if name == "energy_wh" else 12.125)
            elif name in ("charging_state", "stop_reason", "stop_token_uid"):
                setattr(session, name, name)
            else:
                setattr(session, name, 3)
    session.flag(Flag.OVERLAP, Flag.OFFLINE)
    session.seq_no_missing = (4, 5)
    session.register_base_wh = 0.125
    session.power_integral_wh = 1 / 3
    session.revision = 9
    return session


async def test_a_session_comes_back_from_its_row_as_it_was(database: Database) -> None:
    session = whole_session()
    row = session_row(1, session)
    async with await db.connect(database) as connection:
        cursor = await connection.execute(
            "SELECT to_json(r) FROM json_populate_recordset(NULL::session, %s::json) r",
            (json_rows([row]),),
        )
        (stored,) = await cursor.fetchone()  # type: ignore[misc]
    again = session_from_row(stored)
    assert (again.is_new, again.change) == (False, sessions.UNCHANGED)
    for name in set(Session.__slots__) - {"is_new", "change"}:
        assert getattr(again, name) == getattr(session, name), name
        assert type(getattr(again, name)) is type(getattr(session, name)), name


async def test_every_field_of_a_session_is_a_column(database: Database) -> None:
    async with await db.connect(database) as connection:
        cursor = await connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'session'::regclass AND attnum > 0"
        )
        columns = {name for (name,) in await cursor.fetchall()}
    assert set(session_row(1, whole_session())) == columns - {"client_id", "site_id"}
