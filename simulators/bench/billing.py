"""A month of very many sessions: priced, invoiced and closed by the product's own verbs.

The database is filled by SQL. Each stage is then a process of its own, `time2plug billing ...`, as
an operator runs it; its time, its CPU, that of the database, and the most memory that it ever held
are told per stage, and how they grow from one size to the next. Nothing has been collected yet when
the month is closed; documents are records with their numbers, PDFs are made when somebody asks. The
proof of the books runs over all of it at the end.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from simulators.bench import billing_data, verbs
from simulators.bench.processes import BenchError, Product, directory_for_a_run

STAGES = ("price", "issue", "close")


async def run(sizes: tuple[int, ...], *, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """A database of its own for each number of sessions. Raises: BenchError when a verb failed or
    something was left over."""
    return [await _run(sessions, tell) for sessions in sizes]


async def _run(sessions: int, tell: Callable[[str], None]) -> dict[str, Any]:
    month = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    async with directory_for_a_run() as directory:
        server = Product(directory, verbs.OPERATOR, part="web")
        try:
            await server.start()
            async with await server.connect() as connection:
                began = time.monotonic()
                held = await billing_data.fill(connection, sessions, month, tell)
                filled_s = time.monotonic() - began
                stages = []
                for name in STAGES:
                    tell(f"billing: {name}, {sessions:,} sessions")
                    stages.append(await verbs.measure(server, connection, name, month))
                await _check(connection, sessions)
                tell(f"billing: check, {sessions:,} sessions")
                stages.append(await verbs.measure(server, connection, "check"))
                made = await billing_data.count_made(connection)
            return {
                "sessions": sessions,
                "held": held,
                "filled_s": round(filled_s, 1),
                "made": made,
                "stages": [vars(stage) for stage in stages],
            }
        finally:
            await server.stop()


async def _check(connection: AsyncConnection, sessions: int) -> None:
    """Raises: BenchError when a session was left out, or an amount got lost on the way."""
    left = await billing_data.what_is_left(connection, sessions)
    if left:
        raise BenchError(f"the month is not closed: {', '.join(left)}")
