"""A page of a list, as every list operation answers it."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from psycopg import AsyncConnection

from csms.store import paging
from csms.store.paging import Cursor
from csms.web.fields import Output, PageOf

Row = TypeVar("Row")
Shape = TypeVar("Shape", bound=Output)


class Connections(Protocol):
    """Where connections come from: a pool, or what a caller may read."""

    def connection(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection, given back at the end of the block."""


async def read_rows(
    pool: Connections,
    limit: int,
    cursor: str | None,
    key_kinds: tuple[type, ...],
    *,
    rows: Callable[[AsyncConnection, int, Cursor | None], Awaitable[Sequence[Row]]],
    total: Callable[[AsyncConnection], Awaitable[int]],
    key: Callable[[Row], tuple[Any, ...]],
) -> paging.Page[Row]:
    """One page: `rows` reads one more than asked for, `key` is what the order goes by, and
    `total` is asked only when the first page does not hold all. Raises: BadCursor."""
    after = paging.decode(cursor, key_kinds)
    async with pool.connection() as connection:
        found = await rows(connection, limit + 1, after)
        if after is not None:
            length = after.total
        elif len(found) <= limit:
            length = len(found)
        else:
            length = await total(connection)
    return paging.page_of(found, limit, length, key)


def shaped(page: paging.Page[Any], shape: type[Shape]) -> PageOf[Shape]:
    """The page with its rows in their shape on the wire."""
    items = [shape.model_validate(row) for row in page.items]
    return PageOf[Shape](items=items, next=page.next, total=page.total)
