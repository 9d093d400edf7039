"""A month of very many sessions: priced, invoiced and closed by the product's own verbs.

The database is filled by SQL. Each stage is then a process of its own, `time2plug billing ...`, as
an operator runs it; its time, its CPU, that of the database, and the most memory that it ever held
are told per stage, and how they grow from one size to the next. Nothing has been collected yet when
the month is closed; documents are records with their numbers, PDFs are made when somebody asks.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from simulators.bench import billing_data
from simulators.bench.machine import Busy, tree_cpu_s
from simulators.bench.processes import BenchError, Product, directory_for_a_run

STAGES = ("price", "issue", "close")
_OPERATOR = {
    "OPERATOR_NAME": "Opérateur de démonstration",
    "OPERATOR_LEGAL_FORM": "SAS au capital de 10 000 €",
    "OPERATOR_SIREN": "732829320",
    "OPERATOR_VAT_NUMBER": "FR44732829320",
    "OPERATOR_REGISTER": "RCS Paris 732 829 320",
    "OPERATOR_STREET": "1 rue de l’Exemple",
    "OPERATOR_POSTAL_CODE": "75004",
    "OPERATOR_CITY": "Paris",
    "OPERATOR_EMAIL": "facturation@example.org",
}


@dataclass(frozen=True)
class Stage:
    """One verb on all sessions of the month."""

    name: str
    wall_s: float
    cpu_s: float  # of the verb's process
    database_cpu_s: float
    memory_bytes: int  # the most that its process held
    others_cores: float


async def run(sizes: tuple[int, ...], *, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """A database of its own for each number of sessions. Raises: BenchError when a verb failed or
    something was left over."""
    return [await _run(sessions, tell) for sessions in sizes]


async def _run(sessions: int, tell: Callable[[str], None]) -> dict[str, Any]:
    month = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    async with directory_for_a_run() as directory:
        server = Product(directory, _OPERATOR, part="web")
        try:
            await server.start()
            async with await server.connect() as connection:
                began = time.monotonic()
                held = await billing_data.fill(connection, sessions, month, tell)
                filled_s = time.monotonic() - began
                stages = []
                for name in STAGES:
                    tell(f"billing: {name}, {sessions:,} sessions")
                    stages.append(await _stage(server, name, month))
                await _check(connection, sessions)
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


async def _stage(server: Product, name: str, month: str) -> Stage:
    database = server.database_pid()
    database_s, busy = tree_cpu_s(database), Busy.now()
    began = time.perf_counter()
    status, output, usage = await asyncio.to_thread(_verb, server, name, month)
    wall_s = time.perf_counter() - began
    if status != 0:
        raise BenchError(f"billing {name} {month} failed:\n{output[-2000:]}")
    cpu_s = usage.ru_utime + usage.ru_stime
    database_s = tree_cpu_s(database) - database_s
    return Stage(
        name,
        round(wall_s, 2),
        round(cpu_s, 2),
        round(database_s, 2),
        usage.ru_maxrss * 1024,
        busy.others_since(cpu_s + database_s)["others_cores"],
    )


def _verb(server: Product, name: str, month: str) -> tuple[int, str, Any]:
    """Exit code, what it printed, and what the system says of the ended process."""
    path = server.directory / f"billing-{name}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "csms", "billing", name, month],
            cwd=server.directory,
            env=server.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, path.read_text(errors="replace"), usage


async def _check(connection: AsyncConnection, sessions: int) -> None:
    """Raises: BenchError when a session was left out, or an amount got lost on the way."""
    left = await billing_data.what_is_left(connection, sessions)
    if left:
        raise BenchError(f"the month is not closed: {', '.join(left)}")
