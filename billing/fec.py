"""Files for accountants: the operator's own books as FEC, a client's sales in the same layout.

The FEC (fichier des écritures comptables, LPF, article A47 A-1) belongs to a taxpayer's own
accounts. The operator's holds its entries, third-party money in 467; the memos of what drivers owe
clients are none of its claims and stay out. For a client there is an extract of the sales journal
in FEC layout: it is not "the FEC" of the client, whose accountant keeps that, and is not named so.

18 columns with tabs between, days as AAAAMMJJ, amounts with a decimal comma, ISO 8859-15. Entries
stand in the order in which they were written, numbered without a gap in each journal; a year begins
with the balances before it. The financial year is the calendar year.
"""

import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import date
from pathlib import Path
from typing import IO, Final, NamedTuple

from psycopg import AsyncConnection

from billing.store import fec as store
from billing.store.fec import OpeningRow, PostingRow, SaleRow
from csms.config import Settings
from csms.registry import NotThere, Refusal
from csms.store import clients

COLUMNS: Final = (
    "JournalCode",
    "JournalLib",
    "EcritureNum",
    "EcritureDate",
    "CompteNum",
    "CompteLib",
    "CompAuxNum",
    "CompAuxLib",
    "PieceRef",
    "PieceDate",
    "EcritureLib",
    "Debit",
    "Credit",
    "EcritureLet",
    "DateLet",
    "ValidDate",
    "Montantdevise",
    "Idevise",
)
ENCODING: Final = "iso8859-15"
YEARS: Final = range(2000, 2200)

_OPENING: Final = ("AN", "À nouveaux")
_SALES: Final = ("VE", "Ventes")
_BANK: Final = ("BQ", "Banque")
_OTHER: Final = ("OD", "Opérations diverses")
_JOURNALS: Final = {
    "own_invoice": _SALES,
    "supply_invoice": _SALES,
    **dict.fromkeys(
        ("receipt", "settlement", "paid", "given_back", "swept", "own_receipt", "suspense"), _BANK
    ),
    "bank_fee": _BANK,
}
_ACCOUNTS: Final = {
    "110000": "Report à nouveau (solde créditeur)",
    "119000": "Report à nouveau (solde débiteur)",
    "411000": "Clients",
    "411100": "Copropriétaires",
    "419100": "Copropriétaires, provisions reçues",
    "419110": "Copropriétaires, provisions appelées",
    "445710": "TVA collectée",
    "445870": "TVA sur avances reçues",
    "467110": "Mandants, à reverser",
    "467120": "Mandants, contesté",
    "467130": "Mandants, en paiement",
    "467300": "Conducteurs, avances",
    "471000": "Compte d'attente",
    "511600": "Prestataire de paiement, à recevoir",
    "512000": "Banque, compte propre",
    "512100": "Banque, compte de tiers",
    "627100": "Frais bancaires",
    "627800": "Frais de paiement",
    "671200": "Pénalités de retard",
    "706100": "Commissions",
    "706200": "Frais de gestion et abonnements",
    "706300": "Télérelève",
    "707000": "Ventes d'énergie",
}
_PLAIN: Final = str.maketrans(
    {"\t": " ", "\r": " ", "\n": " ", "’": "'", "\u00a0": " ", "\u202f": " ", "\u2212": "-"}
)


class Written(NamedTuple):
    """A file: how many entries and lines, and the sum of its debits, which is that of its
    credits."""

    path: Path
    entries: int
    lines: int
    debit_cents: int


class _Leg(NamedTuple):
    """One line of an entry, before it is text."""

    account: str
    aux: tuple[str, str]  # number and name; empty: none
    amount_cents: int


class _Text(NamedTuple):
    """What all lines of an entry say."""

    journal: tuple[str, str]
    booked_on: date
    piece_ref: str
    piece_on: date
    label: str
    valid_on: date


async def write_fec(
    connection: AsyncConnection, settings: Settings, year: int, folder: Path
) -> Written:
    """The operator's books of a year as SIRENFECAAAAMMJJ.txt, of one moment. A file that is there
    is replaced once the new one is whole. The connection is in no transaction.

    Raises: Refusal without the operator's SIREN; OSError.
    """
    first, end = _year(year)
    if settings.operator_siren is None:
        raise Refusal("The FEC is named by the operator's SIREN: set T2P_OPERATOR_SIREN.")
    path = folder / f"{settings.operator_siren}FEC{year}1231.txt"
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        openings = await store.fetch_openings(connection, first)
        async with aclosing(store.stream_postings(connection, first, end)) as postings:
            return await _write(path, _entries(openings, postings, first))


async def write_sales(
    connection: AsyncConnection, client_id: int, year: int, folder: Path
) -> Written:
    """A client's sales journal of a year, in FEC layout, as ventes-C00012-2026.txt. The connection
    is in no transaction. Raises: NotThere; OSError."""
    first, end = _year(year)
    path = folder / f"ventes-{_client_number(client_id)}-{year}.txt"
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if await clients.get_client(connection, client_id) is None:
            raise NotThere(f"There is no client {client_id}.")
        async with aclosing(store.stream_sales(connection, client_id, first, end)) as sales:
            return await _write(path, _sale_entries(sales))


def _year(year: int) -> tuple[date, date]:
    """Its first day, and that of the next one. Raises: Refusal."""
    if year not in YEARS:
        raise Refusal(f"A year is one from {YEARS[0]} to {YEARS[-1]}.", "year")
    return date(year, 1, 1), date(year + 1, 1, 1)


async def _entries(
    openings: Sequence[OpeningRow], postings: AsyncIterator[PostingRow], first: date
) -> AsyncIterator[tuple[_Text, list[_Leg]]]:
    """The balances before the year, then its entries."""
    if openings:
        text = _Text(_OPENING, first, "AN", first, f"À nouveaux au {first:%d/%m/%Y}", first)
        yield text, opening_legs(openings)
    legs: list[_Leg] = []
    former: PostingRow | None = None
    async for row in postings:
        if former is not None and former.entry_id != row.entry_id:
            yield _text_of(former), legs
            legs = []
        former = row
        legs.append(_Leg(row.general_account, _aux(row), row.amount_cents))
    if former is not None:
        yield _text_of(former), legs


def opening_legs(openings: Iterable[OpeningRow]) -> list[_Leg]:
    """Accounts of the balance sheet as they stand; what was earned and spent before, as one sum
    carried forward."""
    legs, result_cents = [], 0
    for row in openings:
        if row.account_kind in ("income", "expense"):
            result_cents += row.amount_cents
        else:
            legs.append(_Leg(row.general_account, _aux(row), row.amount_cents))
    if result_cents:
        account = "110000" if result_cents < 0 else "119000"
        legs.append(_Leg(account, ("", ""), result_cents))
    return legs


async def _sale_entries(
    sales: AsyncIterator[SaleRow],
) -> AsyncIterator[tuple[_Text, list[_Leg]]]:
    """Each document by what it changes: a 384 brings the difference to what it replaces."""
    async for row in sales:
        what = {381: "Avoir", 384: "Facture rectificative"}.get(row.type_code, "Facture")
        label = f"{what} {row.number}"
        driver = (_driver_number(row.person_id), row.buyer or f"Conducteur {row.person_id}")
        legs = [
            _Leg("411000", driver, row.effect_cents),
            _Leg("707000", ("", ""), row.effect_vat_cents - row.effect_cents),
            _Leg("445710", ("", ""), -row.effect_vat_cents),
        ]
        text = _Text(_SALES, row.issued_on, row.number, row.issued_on, label, row.valid_on)
        yield text, [leg for leg in legs if leg.amount_cents]


def _text_of(row: PostingRow) -> _Text:
    journal = _JOURNALS.get(row.kind, _OTHER)
    return _Text(journal, row.booked_on, row.piece_ref, row.piece_on, row.label, row.valid_on)


def _aux(row: PostingRow | OpeningRow) -> tuple[str, str]:
    """Whose account it is. Drivers are numbers: the operator's accounts need no names of them."""
    if row.person_id is not None:
        who = "Conducteur" if row.client_id is None else "Copropriétaire"
        return _driver_number(row.person_id), f"{who} {row.person_id}"
    if row.client_id is not None:
        return _client_number(row.client_id), row.client or f"Client {row.client_id}"
    return "", ""


def _client_number(client_id: int) -> str:
    return f"C{client_id:05}"


def _driver_number(person_id: int) -> str:
    return f"D{person_id:06}"


async def _write(path: Path, entries: AsyncIterator[tuple[_Text, list[_Leg]]]) -> Written:
    """The file, numbered as it is written."""
    numbers: Counter[str] = Counter()
    lines = debit_cents = 0
    with _put_in_place(path) as file:
        file.write(_line(COLUMNS))
        async for text, legs in entries:
            code = text.journal[0]
            numbers[code] += 1
            number = f"{code}{numbers[code]:06}"
            file.writelines(_line(cells(text, number, leg)) for leg in legs)
            lines += len(legs)
            debit_cents += sum(max(0, leg.amount_cents) for leg in legs)
    return Written(path, numbers.total(), lines, debit_cents)


@contextmanager
def _put_in_place(path: Path) -> Iterator[IO[str]]:
    """A file to write that takes its place when it is whole, and leaves nothing when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding=ENCODING, errors="replace", newline="", dir=path.parent, delete=False
    ) as file:
        made = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            made.replace(path)
        except BaseException:
            made.unlink()
            raise


def cells(text: _Text, number: str, leg: _Leg) -> tuple[str, ...]:
    """One line: all 18 columns."""
    return (
        *text.journal,
        number,
        _day(text.booked_on),
        leg.account,
        _ACCOUNTS[leg.account],
        *leg.aux,
        text.piece_ref,
        _day(text.piece_on),
        text.label,
        amount(max(0, leg.amount_cents)),
        amount(max(0, -leg.amount_cents)),
        *("", ""),
        _day(text.valid_on),
        *("", ""),
    )


def amount(cents: int) -> str:
    """Euros with a decimal comma and nothing between thousands; `cents` is not below 0."""
    return f"{cents // 100},{cents % 100:02}"


def _day(day: date) -> str:
    return f"{day:%Y%m%d}"


def _line(texts: Sequence[str]) -> str:
    return "\t".join(text.translate(_PLAIN) for text in texts) + "\r\n"
