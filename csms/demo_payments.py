"""The end of the demonstration's month: clients are paid by a simulated bank, which says so.

What statements leave is ordered as `time2plug billing pay` does, approved by another person, handed
to the bank of simulators.bank, and settled by its account statement. The bank does not wait for the
day of the transfers, and all that comes from it is labelled as simulated. Killed anywhere and run
again it goes on.
"""

import asyncio
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from schwifty import IBAN

from billing import books, ledger, payment_files, payouts, settling
from billing.payouts import Drafted
from billing.settling import Settled
from billing.store import demo as store
from csms import clients, deadlines
from csms.clients import Actor
from csms.config import Settings
from csms.db import transaction
from csms.demo_people import CLIENTS
from csms.store import clients as client_store
from csms.store import sites
from simulators.bank import Bank

_ACTOR: Final = Actor("command line")
_SECOND: Final = Actor("exploitation@example.org")
_BANK: Final = "20041"  # an example's; nobody has these accounts


@dataclass(frozen=True, slots=True)
class Paid:
    """What was paid, and where the files are."""

    drafted: Drafted
    transfers: int
    total_cents: int
    settled: Settled
    folder: Path


async def provide_accounts(connection: AsyncConnection, now: datetime) -> None:
    """An account for the payouts of each client, entered by one and approved by another."""
    for number, demo in enumerate(CLIENTS, start=1):
        client = await sites.find_client(connection, demo.name)
        if client is None or await client_store.list_ibans(connection, client.id):
            continue
        made = await clients.enter_iban(
            connection,
            client.id,
            iban=demo_iban(number),
            holder=demo.legal_name,
            actor=_ACTOR,
            now=now,
        )
        await clients.decide_iban(
            connection, client.id, made.id, approved=True, actor=_SECOND, now=now
        )


def demo_iban(number: int) -> str:
    """A French account number with right check digits, of nobody."""
    made = IBAN.generate("FR", bank_code=_BANK, branch_code="01005", account_code=f"{number:011d}")
    return str(made)


async def run(
    pool: AsyncConnectionPool, settings: Settings, month: date, now: datetime, folder: Path
) -> Paid:
    """Pay a month: order, approve, hand over, settle; the files are laid down."""
    drafted = await payouts.draft(pool, month, now, settings=settings, actor=_ACTOR)
    await payment_files.make(pool, now, settings=settings, actor=_ACTOR)
    bank, contents = await _bank(pool, settings), []
    async with pool.connection() as connection:
        waiting = await store.list_unsettled_files(connection)
    for file_id, name in waiting:
        async with transaction(pool) as connection:
            await payment_files.approve(connection, file_id, _SECOND, now)
            content = await payment_files.hand_out(connection, file_id, _SECOND, now)
        report = bank.take(content, at_once=True)
        contents += [(f"{name}.xml", content), (f"{name}-reponse.xml", report)]
    settled = Settled()
    if waiting:
        today = deadlines.paris_day(now)
        told = bank.statement(today)
        contents.append((f"releve-bancaire-{today}-{bank.number:02d}.xml", told))
        settled = await settling.read_in(
            pool, told, now, settings=settings, actor=_ACTOR, simulated=True
        )
    for name, content in contents:
        await asyncio.to_thread(_write, folder / name, content)
    async with pool.connection() as connection:
        transfers, total_cents = await store.sum_transfers(connection)
    return Paid(drafted, transfers, total_cents, settled, folder)


async def _bank(pool: AsyncConnectionPool, settings: Settings) -> Bank:
    """The bank as it stood: with what the books say it holds, after the statements that it gave."""
    assert settings.operator_mandate_iban is not None
    async with pool.connection() as connection:
        balance = await books.balance(connection, ledger.BANK_MANDATE)
        statements, lines = await store.count_bank(connection)
    return Bank(settings.operator_mandate_iban, balance, number=statements, movements=lines)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
