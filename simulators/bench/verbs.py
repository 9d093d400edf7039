"""Verbs of the product as processes of their own, with what each of them took.

A verb may be run as of another moment: its process is told another time of the command, and is the
same otherwise.
"""

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from simulators.bench.machine import Busy, tree_cpu_s
from simulators.bench.processes import BenchError, Product

_AS_OF = """
import runpy, sys
from datetime import datetime
from csms.cli import common
moment = datetime.fromisoformat(sys.argv.pop(1))
common.now = lambda: moment
runpy.run_module("csms", run_name="__main__", alter_sys=True)
"""
OPERATOR = {
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
    """One verb, to its end."""

    name: str
    wall_s: float
    cpu_s: float  # of the verb's process
    database_cpu_s: float
    memory_bytes: int  # the most that its process held
    commits: int  # transactions in the database meanwhile, reading ones too
    others_cores: float


async def measure(
    server: Product,
    connection: AsyncConnection,
    name: str,
    *arguments: str,
    at: datetime | None = None,
    group: str = "billing",
) -> Stage:
    """Run `time2plug GROUP name arguments`, as of now or of a moment. Raises: BenchError when it
    fails."""
    database = server.database_pid()
    commits = await _commits(connection)
    database_s, busy = tree_cpu_s(database), Busy.now()
    began = time.perf_counter()
    status, output, usage = await asyncio.to_thread(_run, server, group, name, arguments, at)
    wall_s = time.perf_counter() - began
    if status != 0:
        raise BenchError(f"{group} {name} {' '.join(arguments)} failed:\n{output[-2000:]}")
    cpu_s = usage.ru_utime + usage.ru_stime
    database_s = tree_cpu_s(database) - database_s
    return Stage(
        name,
        round(wall_s, 2),
        round(cpu_s, 2),
        round(database_s, 2),
        usage.ru_maxrss * 1024,
        await _commits(connection) - commits,
        busy.others_since(cpu_s + database_s)["others_cores"],
    )


def _run(
    server: Product, group: str, name: str, arguments: tuple[str, ...], at: datetime | None
) -> tuple[int, str, Any]:
    """Exit code, what it printed, and what the system says of the ended process."""
    program = ["-m", "csms"] if at is None else ["-c", _AS_OF, at.isoformat()]
    path = server.directory / f"{group}-{name}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *program, group, name, *arguments],
            cwd=server.directory,
            env=server.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, path.read_text(errors="replace"), usage


async def _commits(connection: AsyncConnection) -> int:
    """Transactions that were committed so far; what a process did is counted once it has ended."""
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    cursor = await connection.execute(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
