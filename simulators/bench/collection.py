"""The sessions of a month written by the product's own verb, as each kind of file: time, and the
most memory of its process."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from simulators.bench import billing_data, verbs
from simulators.bench.processes import Product, directory_for_a_run

KINDS = ("csv", "json", "xlsx")


async def run(sessions: int, *, tell: Callable[[str], None]) -> dict[str, Any]:
    """A database of its own. Raises: BenchError when the verb failed."""
    month = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    async with directory_for_a_run() as directory:
        server = Product(directory, verbs.OPERATOR, part="web")
        try:
            await server.start()
            async with await server.connect() as connection:
                began = time.monotonic()
                await billing_data.fill(connection, sessions, month, tell)
                filled_s = time.monotonic() - began
                stages, size = [], {}
                for kind in KINDS:
                    tell(f"collection: {kind}, {sessions:,} sessions")
                    path = directory / f"collection.{kind}"
                    arguments = (month, "--format", kind, "--output", str(path), "--no-summary")
                    stages.append(
                        await verbs.measure(
                            server, connection, "collection", *arguments, group="report"
                        )
                    )
                    size[kind] = path.stat().st_size
        finally:
            await server.stop()
    return {
        "sessions": sessions,
        "filled_s": round(filled_s, 1),
        "bytes": size,
        "stages": [vars(stage) for stage in stages],
    }
