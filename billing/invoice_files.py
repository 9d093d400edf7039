"""Files of invoices: made when first asked for, kept with their hash, never made again."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from billing.invoice import Document, faults, from_json
from billing.series import Faulty
from billing.store import invoices as store
from billing.store.invoices import FileRow
from csms.registry import NotThere

FORMATS: Final = ("pdf", "xml")


async def invoice_file(
    connection: AsyncConnection, invoice_id: int, file_format: str, now: datetime
) -> bytes:
    """The file of an invoice: see `kept_file`."""
    return (await kept_file(connection, invoice_id, file_format, now)).content


async def kept_file(
    connection: AsyncConnection, invoice_id: int, file_format: str, now: datetime
) -> FileRow:
    """The file of an invoice and its hash: pdf or xml (Factur-X). The first who asks has it made;
    where two ask at once, one of both files stays and both get it.

    Raises: NotThere; Faulty for a document that is not right, of which nothing is stored.
    """
    there = await store.get_file(connection, invoice_id, file_format)
    if there is not None:
        return there
    invoice = await store.get_issued(connection, invoice_id)
    if invoice is None:
        raise NotThere(f"There is no invoice {invoice_id}.")
    document = from_json(invoice.content)
    wrong = faults(document)
    if wrong:
        raise Faulty(invoice.number, wrong)
    made = await asyncio.to_thread(_maker(file_format), document)
    await store.insert_file(
        connection, invoice, file_format, made, hashlib.sha256(made).digest(), now
    )
    stored = await store.get_file(connection, invoice_id, file_format)
    assert stored is not None
    return stored


def _maker(file_format: str) -> Callable[[Document], bytes]:
    """What makes the format. Its libraries load slowly: on first need."""
    from billing import facturx

    return facturx.pdf if file_format == "pdf" else facturx.xml


async def make_available(
    connection: AsyncConnection, invoice_ids: Sequence[int], now: datetime
) -> int:
    """Invoices in a client's name lie open to it from now on: its fifteen days run, by the first
    time that this was said. How many were new."""
    return await store.insert_availability(connection, invoice_ids, now)
