"""The money of the demonstration: tariffs, invoices, simulated payments, and the month's closing.

Goes through the replayed month day by day, as an operator's worker would have: what ended is
priced, uses are invoiced, and most drivers pay at once. What they pay is simulated, and says so
wherever it shows. Then the month is closed as `time2plug billing close` does, now: its statements
can be contested from today on. Running it again finds everything there.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import (
    closing,
    issuing,
    pricing,
    receipts,
    sending,
    statement,
    statement_files,
    tariffs,
)
from billing.closing import Closed
from billing.store import demo as store
from billing.store import tariffs as tariff_store
from billing.store.demo import InvoiceRow
from billing.tariffs import Place
from csms import deadlines
from csms.clients import Actor
from csms.config import Settings
from csms.db import transaction
from csms.demo_payments import demo_iban
from csms.demo_people import CLIENTS, DemoClient
from csms.store import sites

UNPAID_EVERY: Final = 6  # of so many invoices one is left unpaid
SHOWN_PER_CLIENT: Final = 4  # invoices that are laid into the folder, corrections apart
_ACTOR: Final = Actor("command line")
_OPERATOR: Final[dict[str, Any]] = {
    "operator_name": "Time2Plug (démonstration)",
    "operator_legal_form": "SAS au capital de 60 000 €",
    "operator_siren": "999000102",
    "operator_vat_number": "FR48999000102",
    "operator_register": "RCS de démonstration 999 000 102",
    "operator_street": "1 rue de l’Exemple",
    "operator_postal_code": "75001",
    "operator_city": "Paris",
    "operator_email": "facturation@example.org",
    "operator_mandate_iban": demo_iban(90),
    "operator_own_iban": demo_iban(91),
}


def _element(eur: float, start: str = "", end: str = "", *, flat: float = 0.0) -> dict[str, Any]:
    """Energy at a price per kWh, in some hours of the day, and a price for the start."""
    components: list[dict[str, Any]] = [{"type": "ENERGY", "price": eur, "step_size": 1}]
    if flat:
        components.append({"type": "FLAT", "price": flat, "step_size": 1})
    element: dict[str, Any] = {"price_components": components}
    if start:
        element["restrictions"] = {"start_time": start, "end_time": end}
    return element


# Each client's tariff, VAT included: one price; nights cheaper; with a start; nights, with a limit.
_TARIFFS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("Tarif unique", {"elements": [_element(0.32)]}),
    ("Heures creuses", {"elements": [_element(0.22, "22:00", "06:00"), _element(0.34)]}),
    ("Énergie et prise en charge", {"elements": [_element(0.36, flat=0.50)]}),
    (
        "Nuit et jour, plafonné",
        {
            "elements": [_element(0.24, "23:00", "07:00"), _element(0.38)],
            "max_price": {"incl_vat": 20.0},
        },
    ),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the money part did, and where its files are."""

    closed: Closed
    sessions: int
    invoices: int
    receipts: int
    unpaid: int
    folder: Path
    statements: int
    documents: int


def with_operator(settings: Settings) -> Settings:
    """The settings with who the operator is, unless they say so, and with all money simulated."""
    missing: dict[str, Any] = {
        name: value for name, value in _OPERATOR.items() if getattr(settings, name) is None
    }
    return replace(settings, **missing, billing_simulated=True)


async def provide_tariffs(
    connection: AsyncConnection, month_begin: datetime, now: datetime
) -> None:
    """A tariff for each client, everywhere and for everybody, from before the month on."""
    since = month_begin - timedelta(days=60)
    for demo, (name, document) in zip(CLIENTS, _TARIFFS, strict=True):
        client = await sites.find_client(connection, demo.name)
        if client is None or await tariff_store.list_tariffs(connection, client.id):
            continue
        made = await tariffs.create(connection, client.id, "BASE", name, _ACTOR, now)
        await tariffs.add_version(
            connection,
            made.id,
            {"currency": "EUR", "taxes_included": True, **document},
            from_at=since,
            actor=_ACTOR,
            now=now,
        )
        await tariffs.assign(connection, made.id, Place(), from_at=since, actor=_ACTOR, now=now)


async def run(
    pool: AsyncConnectionPool,
    settings: Settings,
    month: date,
    now: datetime,
    folder: Path,
    progress: Callable[[int, int], None],
) -> Shown:
    """Price, invoice, collect and close the month (its first day), and lay its files down."""
    found = [(demo, await _client_id(pool, demo)) for demo in CLIENTS]
    known = [(demo, client_id) for demo, client_id in found if client_id is not None]
    days = (deadlines.add_months(month, 1) - month).days
    for number in range(days):
        day = month + timedelta(days=number)
        at = min(now, deadlines.end_of_day(day) - timedelta(minutes=1))
        await pricing.run(pool, now=at, month=month)
        for demo, client_id in known:
            if demo.invoicing == "per_use":
                await _one_day(pool, settings, client_id, month, at)
        progress(number + 1, days)
    await _correct(pool, settings, known, month, now)
    done = await closing.close_month(pool, month, now, settings=settings)
    await sending.send_month(pool, month, now, settings=settings)
    statements = await _lay_statements(pool, month, folder)
    documents = await _lay_invoices(pool, month, folder, now)
    async with pool.connection() as connection:
        counts = await store.fetch_counts(connection, month)
    return Shown(done, *counts, folder, statements, documents)


async def _client_id(pool: AsyncConnectionPool, demo: DemoClient) -> int | None:
    async with pool.connection() as connection:
        client = await sites.find_client(connection, demo.name)
    return None if client is None else client.id


async def _one_day(
    pool: AsyncConnectionPool, settings: Settings, client_id: int, month: date, at: datetime
) -> None:
    """Invoices of the uses that ended until then, and what their drivers pay."""
    async with pool.connection() as connection:
        await issuing.issue(connection, client_id, month, at, settings=settings)
        open_invoices = await store.list_of_day(connection, client_id, deadlines.paris_day(at))
    for invoice in open_invoices:
        if invoice.sequence % UNPAID_EVERY == 0:
            continue
        async with transaction(pool) as connection:
            await receipts.receive(
                connection,
                source_key=f"demo:{invoice.number}",
                amount_cents=invoice.amount_incl_cents,
                received_on=invoice.issued_on,
                means="card",
                invoice_number=invoice.number,
                simulated=True,
                actor=_ACTOR,
                now=at,
            )


async def _correct(
    pool: AsyncConnectionPool,
    settings: Settings,
    known: list[tuple[DemoClient, int]],
    month: date,
    now: datetime,
) -> None:
    """A credit note for one use of each client that invoices uses, and a corrective of another."""
    at = min(now, deadlines.end_of_day(month + timedelta(days=27)) - timedelta(seconds=1))
    for demo, client_id in known:
        if demo.invoicing != "per_use":
            continue
        async with pool.connection() as connection:
            if await store.has_corrections(connection, client_id):
                continue
            chosen = await store.list_first(connection, client_id, month, 2)
        if len(chosen) < 2:
            continue
        credited, corrected = chosen
        async with transaction(pool) as connection:
            await issuing.credit(
                connection,
                credited.id,
                None,
                "Recharge interrompue par une panne de la borne",
                actor=_ACTOR,
                now=at,
                settings=settings,
            )
        async with transaction(pool) as connection:
            await issuing.correct(
                connection,
                corrected.id,
                {corrected.session_id: corrected.amount_incl_cents // 2},
                "Tarif visiteur appliqué à tort à un résident",
                actor=_ACTOR,
                now=at,
                settings=settings,
            )


async def _lay_statements(pool: AsyncConnectionPool, month: date, folder: Path) -> int:
    """Each client's statement in every format, as it was kept when it was sent."""
    async with pool.connection() as connection:
        found = await store.list_files(connection, month)
    for row in found:
        told = statement.from_json(row.content)
        kind = row.format
        assert kind in statement_files.FORMATS
        name = statement_files.file_name(told, kind, "fr")
        await asyncio.to_thread(_write, folder / name, row.file)
    return len({row.id for row in found})


async def _lay_invoices(pool: AsyncConnectionPool, month: date, folder: Path, now: datetime) -> int:
    """Some invoices of each client, every correction, and the operator's own, as Factur-X."""
    async with pool.connection() as connection:
        chosen: list[InvoiceRow] = await store.list_to_show(connection, month, SHOWN_PER_CLIENT)
    for invoice in chosen:
        async with transaction(pool) as connection:
            made = await issuing.invoice_file(connection, invoice.id, "pdf", now)
        await asyncio.to_thread(_write, folder / f"facture-{invoice.number}.pdf", made)
    return len(chosen)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
