"""Sites, stations, EVSEs and connectors from a CSV file: all of it or nothing.

- reading: a CSV file as records with their line numbers, whatever its separator;
- own_csv, irve_csv: records of either kind -> plan, with everything that is wrong in them;
- static_cells: text as static data, by the rules of csms.static_data;
- plan: what a file says, checked for contradictions;
- writing: plan -> database, and what it changed.

The same file twice changes nothing. An import adds and changes; it removes nothing, and an empty
cell keeps what is there. `import_file` is the door.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from psycopg_pool import AsyncConnectionPool

from csms.clients import Actor
from csms.provisioning import drivers_csv, irve_csv, own_csv, reading
from csms.provisioning.plan import ImportReport, Plan
from csms.provisioning.writing import write

__all__ = ["ImportReport", "import_file"]


async def import_file(
    pool: AsyncConnectionPool,
    path: Path,
    *,
    dry_run: bool = False,
    password_length_min: int = 8,
    actor: str = "import",
) -> ImportReport:
    """Load the file; `report.problems` says what is refused, then nothing was written. `actor`
    goes into the history of what changed.

    With `dry_run` everything is checked, against the database too, and nothing is written.

    Raises: OSError when the file cannot be read.
    """
    data = await asyncio.to_thread(reading.read_bytes, path)
    if drivers_csv.is_drivers(data):
        by, now = Actor("command line"), datetime.now(UTC)
        return await drivers_csv.import_drivers(pool, data, by, now, dry_run=dry_run)
    plan = await asyncio.to_thread(read_plan, data, password_length_min)
    if plan.problems:
        return ImportReport(problems=plan.sorted_problems(), warnings=plan.warnings)
    return await write(pool, plan, dry_run=dry_run, actor=actor)


def read_plan(data: bytes, password_length_min: int) -> Plan:
    """What the file says, of whichever kind its header shows it to be."""
    plan = Plan()
    table = reading.read_table(data, plan)
    if table is not None:
        if irve_csv.is_irve(table.header):
            irve_csv.read(table, plan)
        else:
            own_csv.read(table, plan, password_length_min)
    return plan
