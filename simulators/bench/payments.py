"""Many clients paid: their month is collected, closed, ordered, handed to a simulated bank and
settled by its statement, with the product's own verbs.

Each client has a few sessions of ten drivers, all paid by transfer from a file. The file of payouts
is approved over HTTP by a key, for the verb that made it may not approve it. All of it happens in
the days after the month, whenever the benchmark runs.
"""

import asyncio
import csv
import io
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from simulators.bank import Bank
from simulators.bench import billing_data, verbs
from simulators.bench.processes import BenchError, Product, directory_for_a_run

SESSIONS_PER_CLIENT = 5
MANDATE_IBAN = "FR7630006000011234567890189"
_ACCOUNTS = {
    "OPERATOR_MANDATE_IBAN": MANDATE_IBAN,
    "OPERATOR_OWN_IBAN": "FR7630004000031234567890143",
    "BILLING_SIMULATED": "true",
}


async def run(sizes: tuple[int, ...], *, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """A database of its own for each number of clients. Raises: BenchError when a verb failed or
    somebody was not paid."""
    return [await _run(clients, tell) for clients in sizes]


async def _run(clients: int, tell: Callable[[str], None]) -> dict[str, Any]:
    month = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    async with directory_for_a_run() as directory:
        server = Product(directory, verbs.OPERATOR | _ACCOUNTS, part="web")
        try:
            await server.start()
            async with await server.connect() as connection:
                return await _pay(server, connection, clients, month, tell)
        finally:
            await server.stop()


async def _pay(
    server: Product,
    connection: AsyncConnection,
    clients: int,
    month: str,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    sessions = clients * SESSIONS_PER_CLIENT
    first = datetime.fromisoformat(f"{month}-01T12:00:00Z")
    after = (first + timedelta(days=31)).replace(day=2)  # the month is over
    in_month, day = after - timedelta(days=3), after + timedelta(days=20)
    began = time.monotonic()
    await billing_data.fill(connection, sessions, month, tell, clients=clients)
    await billing_data.prepare_payments(connection)
    filled_s = time.monotonic() - began
    stages = []

    async def stage(name: str, *arguments: str, at: datetime) -> None:
        tell(f"payments: {name}, {clients:,} clients")
        stages.append(await verbs.measure(server, connection, name, *arguments, at=at))

    for name in ("price", "issue"):
        await stage(name, month, at=in_month)
    receipts = server.directory / "receipts.csv"
    lines, cents = await _receipts(connection)
    receipts.write_text(lines, encoding="utf-8")
    await stage("import-receipts", str(receipts), "--simulated", at=in_month)
    await stage("close", month, at=after)
    await stage("pay", month, at=after)
    content = await _hand_out(server, connection)
    bank = Bank(MANDATE_IBAN, cents)
    bank.take(content)
    statement = server.directory / "statement.xml"
    statement.write_bytes(bank.statement(day.date()))
    await stage("settle", str(statement), "--simulated", at=day)
    await stage("check", at=day)
    paid = await billing_data.count_paid(connection)
    if paid["clients"] != clients:
        raise BenchError(f"{paid['clients']} of {clients} clients were paid")
    return {
        "clients": clients,
        "receipts": lines.count("\n") - 1,
        "filled_s": round(filled_s, 1),
        "paid": paid,
        "file_bytes": len(content),
        "stages": [vars(stage) for stage in stages],
    }


async def _receipts(connection: AsyncConnection) -> tuple[str, int]:
    """A file of the bank's that pays every invoice on its day, and how much that is in all."""
    cursor = await connection.execute(
        """
        SELECT number, open_cents, to_char(issued_on, 'YYYY-MM-DD') FROM invoice_open
         WHERE open_cents > 0 ORDER BY invoice_id
        """
    )
    found = await cursor.fetchall()
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\n")
    writer.writerow(("source_key", "person", "invoice", "amount", "date", "means", "reverses"))
    for place, (number, cents, day) in enumerate(found):
        amount = f"{cents // 100},{cents % 100:02d}"
        writer.writerow((f"bench:{place}", "", number, amount, day, "transfer", ""))
    return text.getvalue(), sum(cents for _, cents, _ in found)


async def _hand_out(server: Product, connection: AsyncConnection) -> bytes:
    """The file of the payouts, approved by somebody else than who made it. Raises: BenchError."""
    cursor = await connection.execute("SELECT id, message_id FROM payment_file")
    found = await cursor.fetchone()
    if found is None:
        raise BenchError("no payment file was made")
    file_id, name = found
    key = await asyncio.to_thread(_key, server)
    await asyncio.to_thread(_approve, server, file_id, key)
    folder = server.directory
    await verbs.measure(server, connection, "hand-out", str(file_id), "--output", str(folder))
    return (folder / f"{name}.xml").read_bytes()


def _key(server: Product) -> str:
    made = subprocess.run(
        [sys.executable, "-m", "csms", "key", "create", "--role", "operator", "--name", "second"],
        cwd=server.directory,
        env=server.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.split()[-1]


def _approve(server: Product, file_id: int, key: str) -> None:
    """Raises: urllib.error.HTTPError."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.http_port}/api/v1/payment-files/{file_id}/approve",
        method="POST",
        headers={"Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=60):  # noqa: S310 - as above
        pass
