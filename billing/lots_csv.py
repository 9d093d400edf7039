"""Lots and co-owners from a CSV file, as a co-ownership's manager (syndic) keeps them.

The columns are `site;lot;station;evse;email;given_name;family_name;from;signed;provision` (the
French names in `LAYOUT` will do), separated by semicolons or commas, in UTF-8 or the Windows-1252
of spreadsheets:

- site, lot: where, and how the lot is called there;
- station, evse: the lot's own point; empty: it charges at shared ones, by badge;
- email: the co-owner's; one who is no driver yet becomes one, with the names given, and is written
  to by nobody; empty: the lot has no holder, or none that is known;
- from: since when the point and the lot are his, as 22/11/2026 or 2026-11-22;
- signed: the day of his contract; empty: `from`;
- provision: euros with VAT, by his contract; empty: none.

Each line is entered by itself: a bad one stops nothing but itself, and is reported. The same line
again enters nothing.
"""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from billing import lots
from billing.csv_lines import BadLine, Layout, parse_amount, parse_day
from billing.store import lots as store
from billing.store import receipts as receipt_store
from billing.store.lots import LotMonth
from csms import drivers
from csms.clients import Actor
from csms.db import transaction
from csms.domain.spreadsheet import defused
from csms.provisioning.reading import Record
from csms.registry import Refusal
from csms.store import sites

LAYOUT: Final = Layout(
    columns=(
        *("site", "lot", "station", "evse", "email", "given_name", "family_name"),
        *("from", "signed", "provision"),
    ),
    required=("site", "lot", "from"),
    names={
        "borne": "station",
        "point": "evse",
        "courriel": "email",
        "prénom": "given_name",
        "prenom": "given_name",
        "nom": "family_name",
        "depuis": "from",
        "signé": "signed",
        "signe": "signed",
    },
    remedies={
        "site": "write the site's identifier as it is registered",
        "lot": "write the lot's name: letters, digits, spaces and . / - _, 32 at most",
        "station": "write the identifier of a station of that site, and its EVSE",
        "evse": "write the number of the station's EVSE, as 1",
        "email": "write the co-owner's e-mail address, or leave it empty",
        "from": "write a day, as 22/11/2026 or 2026-11-22",
        "signed": "write the day of the contract, not after today",
        "provision": "write euros with VAT, as 120,00",
    },
    column_of={
        "site_id": "site",
        "point": "station",
        "from_on": "from",
        "signed_on": "signed",
        "provision_cents": "provision",
        "amount": "provision",
        "person_id": "email",
    },
)


@dataclass(slots=True)
class LotsReport:
    """What became of a file: lines whose lot, or holder, is new; and those that were known."""

    lots: int = 0
    holdings: int = 0
    people: int = 0
    known: int = 0
    problems: list[BadLine] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Line:
    site_id: str
    lot: str
    point: tuple[str, int] | None
    email: str | None
    given_name: str
    family_name: str
    from_on: date
    signed_on: date
    provision_cents: int


async def import_lots(
    pool: AsyncConnectionPool,
    data: bytes,
    *,
    actor: Actor,
    now: datetime,
    progress: Callable[[int, int], None] = lambda done, all_lines: None,
) -> LotsReport:
    """Enter the lines of a file, each in a transaction of its own: cut off, it goes on by being
    imported again."""
    report = LotsReport()
    records, report.problems = LAYOUT.read(data)
    for done, record in enumerate(records, start=1):
        try:
            line = _parse(record)
            async with transaction(pool) as connection:
                await _enter(connection, line, actor, now, report)
        except Refusal as refusal:
            report.problems.append(LAYOUT.bad(record.line, refusal))
        progress(done, len(records))
    report.problems.sort(key=lambda problem: problem.line)
    return report


async def _enter(
    connection: AsyncConnection, line: _Line, actor: Actor, now: datetime, report: LotsReport
) -> None:
    """Raises: Refusal."""
    before = await store.count_lots(connection, line.site_id)
    lot_id = await lots.put_lot(
        connection,
        line.site_id,
        line.lot,
        point=line.point,
        from_on=line.from_on,
        actor=actor,
        now=now,
    )
    is_new_lot = await store.count_lots(connection, line.site_id) > before
    counted = await store.count_holdings(connection, lot_id=lot_id)
    is_new_person = False
    if line.email is not None:
        is_new_person = await _hold(connection, line, lot_id, actor, now)
    is_new_holding = await store.count_holdings(connection, lot_id=lot_id) > counted
    report.lots += is_new_lot
    report.people += is_new_person
    report.holdings += is_new_holding
    report.known += not (is_new_lot or is_new_holding)


async def _hold(
    connection: AsyncConnection, line: _Line, lot_id: int, actor: Actor, now: datetime
) -> bool:
    """The co-owner has the lot; whether he is new. Raises: Refusal."""
    assert line.email is not None
    person_id = await receipt_store.find_driver(connection, line.email)
    is_new = person_id is None
    if person_id is None:
        values = {
            "email": line.email,
            "given_name": line.given_name,
            "family_name": line.family_name,
        }
        person_id = await drivers.create(connection, values, actor, now)
    client_id = await sites.client_of_site(connection, line.site_id)
    assert client_id is not None  # `put_lot` has found it
    await lots.begin_holding(
        connection,
        lot_id,
        client_id=client_id,
        person_id=person_id,
        signed_on=line.signed_on,
        from_on=line.from_on,
        provision_cents=line.provision_cents,
        actor=actor,
        now=now,
    )
    return is_new


def _parse(record: Record) -> _Line:
    """Raises: Refusal with the column."""
    from_on = _day(record["from"], "from")
    provision = record["provision"]
    return _Line(
        site_id=record["site"],
        lot=record["lot"],
        point=_point(record["station"], record["evse"]),
        email=record["email"] or None,
        given_name=record["given_name"],
        family_name=record["family_name"],
        from_on=from_on,
        signed_on=_day(record["signed"], "signed") if record["signed"] else from_on,
        provision_cents=parse_amount(provision) if provision else 0,
    )


def _day(text: str, column: str) -> date:
    try:
        return parse_day(text)
    except Refusal as refusal:
        raise Refusal(str(refusal), column) from None


def _point(station_id: str, evse: str) -> tuple[str, int] | None:
    if not station_id and not evse:
        return None
    if not station_id:
        raise Refusal("an EVSE is one of a station", "station")
    if evse and not (evse.isascii() and evse.isdecimal() and len(evse) < 6 and int(evse)):
        raise Refusal(f"{evse[:60]!r} is no number of an EVSE", "evse")
    return station_id, int(evse or 1)


_MONTH_COLUMNS: Final = (
    *("Mois", "Site", "Lot", "Points", "Copropriétaire", "Énergie (kWh)", "Énergie HT (€)"),
    *("Télérelève HT (€)", "TVA (€)", "Total TTC (€)"),
)


def write_lot_months(month: str, rows: Iterable[LotMonth]) -> bytes:
    """One line for each lot, for the manager's software: semicolons, UTF-8 with its mark, decimal
    comma. A text that a spreadsheet would take for a formula has an apostrophe before it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(_MONTH_COLUMNS)
    for row in rows:
        cells = (row.site_id, row.lot, " ".join(row.points), row.holder)
        amounts = (
            row.energy_excl_cents,
            row.telemetering_excl_cents,
            row.vat_cents,
            row.amount_incl_cents,
        )
        writer.writerow(
            [
                month,
                *(defused(cell) for cell in cells),
                _comma(row.energy_wh, 1_000, 3),
                *(_comma(cents, 100, 2) for cents in amounts),
            ]
        )
    return text.getvalue().encode("utf-8-sig")


def _comma(value: int, of: int, places: int) -> str:
    whole, part = divmod(abs(value), of)
    return f"{'-' if value < 0 else ''}{whole},{part:0{places}}"
