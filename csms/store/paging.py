"""Lists in pages: a page is found by the key of the last row before it, never by an offset.

The cursor that a client gets is opaque text: the key of the last row seen, and the total that was
counted for the first page, so that a long list is counted once.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, LiteralString, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

LIMIT_MAX = 1_000
CURSOR_LENGTH_MAX = 2_000

Row = TypeVar("Row")


class BadCursor(ValueError):
    """A cursor that no list of ours gave."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: after `key`; `total` is the length of the whole list."""

    key: tuple[Any, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page of a list; `next` is None on the last one."""

    items: Sequence[Row]
    next: str | None
    total: int


async def fetch_count(
    connection: AsyncConnection, statement: LiteralString, parameters: dict[str, Any]
) -> int:
    """The one number that a statement answers."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(statement, parameters, prepare=False)
        value = await rows.fetchone()
    assert isinstance(value, int)
    return value


def page_of(
    rows: Sequence[Row], limit: int, total: int, key: Callable[[Row], tuple[Any, ...]]
) -> Page[Row]:
    """The page from up to `limit + 1` rows: one more than asked for shows that more follow."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(shown, encode(Cursor(key(shown[-1]), total)) if more else None, total)


def encode(cursor: Cursor) -> str:
    """Text of a cursor, safe in a URL."""
    key = [v.isoformat() if isinstance(v, datetime) else v for v in cursor.key]
    text = json.dumps([cursor.total, *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(text: str | None, kinds: tuple[type, ...]) -> Cursor | None:
    """The cursor that `encode` wrote for a key of these types (str, int, datetime); None from None.

    Raises: BadCursor for anything else.
    """
    if text is None:
        return None
    try:
        if len(text) > CURSOR_LENGTH_MAX:
            raise BadCursor("a cursor is not that long")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        total, *key = json.loads(raw)
        if len(key) != len(kinds) or type(total) is not int:
            raise BadCursor("the cursor belongs to another list")
        return Cursor(tuple(_value(v, kind) for v, kind in zip(key, kinds, strict=True)), total)
    except BadCursor:
        raise
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise BadCursor("the cursor is none of ours: take it from `next`, unchanged") from None


def _value(value: object, kind: type) -> Any:
    if kind is datetime and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise BadCursor("the cursor is none of ours: take it from `next`, unchanged")
        return moment
    if type(value) is not kind or (type(value) is int and not -(2**63) <= value < 2**63):
        raise BadCursor("the cursor is none of ours: take it from `next`, unchanged")
    if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise BadCursor("the cursor is none of ours: take it from `next`, unchanged")
    return value
