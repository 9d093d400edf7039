"""What an approved platform (plateforme agréée) is to be given: invoices between businesses as
Factur-X, and sales to consumers as daily sums (e-reporting, Flux 10.3).

We are no such platform. The default lays files down in a folder, from which somebody's connector
takes them: "déposé dans le dossier pour une plateforme agréée". Whether they were transmitted is
not known here, and never said. Each file is written whole or not at all, noted with its hash, and
laid down once; a run that is killed between the writing and the note writes the same file again.

The sums have the element names of the French e-reporting (Report, TransactionsReport,
Transactions), so that a connector needs no table of ours; they are checked against no schema.
"""

import asyncio
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Final, Protocol
from xml.etree import ElementTree

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import money, parties
from billing.invoice_files import invoice_file
from billing.store import platform as store
from billing.store.platform import Aggregate
from csms import deadlines
from csms.config import Settings
from csms.db import transaction
from csms.registry import Conflict
from csms.store import clients as client_store

BATCH: Final = 100
LAID_DOWN: Final = {
    "fr": "déposé dans le dossier pour une plateforme agréée",
    "en": "laid down in the folder for an approved platform",
}
_GOODS: Final = "TLB1"  # supplies of goods subject to VAT
_SERVICES: Final = "TPS1"
_UNTAXED: Final = "TNT1"  # not subject to VAT


class ApprovedPlatform(Protocol):
    """Where files for a platform go."""

    async def lay_down(self, name: str, content: bytes) -> None:
        """Take a file, whole; the same name again replaces it. Raises: OSError."""


class DropFolder:
    """A folder that a platform's connector, or a person, empties."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def lay_down(self, name: str, content: bytes) -> None:
        """Write the file beside its name, to the disk, and give it its name."""
        await asyncio.to_thread(self._write, name, content)

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._folder / f".{name}.part"
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._folder / name)


@dataclass(slots=True)
class Laid:
    """What a run laid down."""

    invoices: int = 0
    aggregates: int = 0


def drop_folder(settings: Settings) -> DropFolder:
    """The folder of the settings. Raises: Conflict where there is none."""
    if settings.platform_drop_dir is None:
        raise Conflict("Set T2P_PLATFORM_DROP_DIR: the folder for an approved platform.")
    return DropFolder(settings.platform_drop_dir)


async def export(
    pool: AsyncConnectionPool, platform: ApprovedPlatform, now: datetime, *, settings: Settings
) -> Laid:
    """Lay down what was not yet: each invoice between businesses, and of each day that is over, in
    Paris, each seller's sales to consumers."""
    laid = Laid()
    after = 0
    while True:
        async with pool.connection() as connection:
            waiting = await store.fetch_waiting(connection, after, BATCH)
        for invoice in waiting:
            async with transaction(pool) as connection:
                content = await invoice_file(connection, invoice.id, "pdf", now)
                name = f"{invoice.number}.pdf"
                await platform.lay_down(name, content)
                laid.invoices += await store.insert_file(
                    connection,
                    client_id=invoice.client_id if invoice.issuer == "client" else None,
                    kind="invoice",
                    invoice_id=invoice.id,
                    source_key=f"invoice:{invoice.id}",
                    name=name,
                    sha256=hashlib.sha256(content).digest(),
                    now=now,
                )
        if len(waiting) < BATCH:
            break
        after = waiting[-1].id
    laid.aggregates = await _export_aggregates(pool, platform, now, settings)
    return laid


async def _export_aggregates(
    pool: AsyncConnectionPool, platform: ApprovedPlatform, now: datetime, settings: Settings
) -> int:
    today = deadlines.paris_day(now)
    async with pool.connection() as connection:
        days = await store.fetch_aggregated_days(connection, today)
    laid = 0
    for seller, day in days:
        async with transaction(pool) as connection:
            sums = await store.fetch_aggregates(connection, seller, day)
            identity = await _identity(connection, seller, settings)
            content = flux10(identity, sums)
            name = f"b2c-{'T2P' if seller is None else f'C{seller:05}'}-{day}.xml"
            await platform.lay_down(name, content)
            laid += await store.insert_file(
                connection,
                client_id=seller,
                kind="b2c_aggregate",
                invoice_id=None,
                source_key=f"b2c:{'operator' if seller is None else seller}:{day}",
                name=name,
                sha256=hashlib.sha256(content).digest(),
                now=now,
            )
    return laid


async def _identity(
    connection: AsyncConnection, seller: int | None, settings: Settings
) -> tuple[str, str]:
    """SIREN and name of a seller; None: the operator."""
    if seller is None:
        operator = parties.operator_party(settings)
        return operator.siren, operator.name
    client = await client_store.get_client(connection, seller)
    assert client is not None
    return client.siren or "", client.legal_name or client.name


def flux10(seller: tuple[str, str], sums: Sequence[Aggregate]) -> bytes:
    """A seller's (SIREN, name) sales to consumers as XML: a group for each day and category, a
    subtotal for each rate."""
    report = ElementTree.Element("Report")
    issuer = ElementTree.SubElement(report, "Issuer")
    _text(issuer, "Id", seller[0])
    _text(issuer, "Name", seller[1])
    transactions = ElementTree.SubElement(report, "TransactionsReport")
    for (day, category), group in groupby(
        sorted(sums, key=lambda each: (each.issued_on, _category(each), each.vat_percent)),
        key=lambda each: (each.issued_on, _category(each)),
    ):
        of_group = list(group)
        element = ElementTree.SubElement(transactions, "Transactions")
        _text(element, "Date", f"{day:%Y%m%d}")
        _text(element, "CategoryCode", category)
        _text(element, "TransactionsCurrency", "EUR")
        _text(element, "TransactionsCount", str(of_group[0].documents))
        _text(element, "TaxExclusiveAmount", _euros(sum(each.base_cents for each in of_group)))
        _text(element, "TaxTotal", _euros(sum(each.vat_cents for each in of_group)))
        for each in of_group:
            subtotal = ElementTree.SubElement(element, "TaxSubtotal")
            _text(subtotal, "TaxPercent", f"{each.vat_percent:.2f}")
            _text(subtotal, "TaxableAmount", _euros(each.base_cents))
            _text(subtotal, "TaxTotal", _euros(each.vat_cents))
    ElementTree.indent(report)
    found: bytes = ElementTree.tostring(report, encoding="utf-8", xml_declaration=True)
    return found


def _category(each: Aggregate) -> str:
    if each.vat_percent == 0:
        return _UNTAXED
    return _GOODS if each.category == "goods" else _SERVICES


def _euros(cents: int) -> str:
    return str(money.euros(cents))


def _text(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text
