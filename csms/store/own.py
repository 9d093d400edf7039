"""SQL of a person's own data, as the register says that they are exported.

The one place where a statement is put together: from the names of tables and columns in the
register, never from what somebody sends. So a column that is told as exported is exported.
"""

from collections.abc import AsyncIterator
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row

from csms.processing import Section

FETCH_ROWS = 500


async def stream_section(
    connection: AsyncConnection, section: Section, person_id: int
) -> AsyncIterator[dict[str, Any]]:
    """A person's rows of one section, through a server-side cursor, hence inside a transaction;
    row-level security shows no others whatever the statement asks for."""
    statement = sql.SQL("SELECT {columns} FROM {table} WHERE {owner} = {person} ORDER BY {order}")
    composed = statement.format(
        columns=sql.SQL(", ").join(sql.Identifier(name) for name in section.columns),
        table=sql.Identifier(section.table),
        owner=sql.Identifier(section.owner),
        person=sql.Literal(person_id),
        order=sql.SQL(", ").join(sql.Literal(n + 1) for n in range(min(3, len(section.columns)))),
    )
    async with connection.cursor(f"own_{section.name}", row_factory=dict_row) as rows:
        rows.itersize = FETCH_ROWS
        await rows.execute(composed)
        async for row in rows:
            yield row
