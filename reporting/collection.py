"""The monthly collection: one row per session that ended in the month.

It carries what invoices and statements are made from: whose, where, which badge, from when to
when, how many Wh, and what a person should know (flags). Money is no matter of it. A session
counts in the month, in Paris time, in which it ended; one whose end was lost counts where it is
taken to have ended, with its flag; one of unknown energy has an empty energy, never a guess.

The same month gives the same bytes as long as its sessions are not settled anew: rows go by end
and id, times are written in one form, and nothing of the moment of writing is in the file. Files
appear whole or not at all.
"""

import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from csms.domain.services import Option
from csms.domain.spreadsheet import defused
from csms.services import service_open
from csms.store import sites
from reporting import store
from reporting.store import CollectedSession, LeftOut

PARIS = ZoneInfo("Europe/Paris")
COLUMNS = (
    "client",
    "site_id",
    "site_name",
    "station_id",
    "evse_id",
    "connector_id",
    "evse_uid",
    "token_uid",
    "session_id",
    "transaction_id",
    "state",
    "started_at",
    "ended_at",
    "started_local",
    "ended_local",
    "meter_start_wh",
    "meter_stop_wh",
    "energy_wh",
    "stop_reason",
    "flags",
)


LEFT_OUT_MAX: Final = 100_000  # told in a manifest
# Flags that tell how a session came to us and put nothing about it in doubt.
HARMLESS: Final = frozenset({"offline", "settled", "confirmed"})


class UnknownClient(ValueError):
    """No client has that name."""


class NotSubscribed(ValueError):
    """The client's contract has no monthly collection at either end of the month."""


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month of Paris."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> "Month":
        """From "2026-10". Raises: ValueError."""
        year, dash, month = text.partition("-")
        if not (dash and len(year) == 4 and len(month) == 2 and (year + month).isdecimal()):
            raise ValueError(f"{text!r} is not a month like 2026-10")
        if not (2000 <= int(year) <= 2999 and 1 <= int(month) <= 12):
            raise ValueError(f"{text!r} is not a month like 2026-10")
        return cls(int(year), int(month))

    @classmethod
    def last_full(cls, now: datetime) -> "Month":
        """The month before the one that `now` lies in."""
        local = now.astimezone(PARIS)
        return cls(local.year, local.month)._shifted(-1)

    @property
    def start_at(self) -> datetime:
        """Its first moment, in UTC."""
        return datetime(self.year, self.month, 1, tzinfo=PARIS).astimezone(UTC)

    @property
    def end_at(self) -> datetime:
        """The first moment after it, in UTC."""
        return self._shifted(1).start_at

    def _shifted(self, months: int) -> "Month":
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return Month(year, month + 1)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


@dataclass(slots=True)
class SiteTotal:
    """What one site delivered in the month."""

    client: str
    site_id: str | None
    site_name: str | None
    sessions: int = 0
    flagged: int = 0  # with a flag that a person should look at
    unknown_energy: int = 0
    energy_wh: int = 0


@dataclass(slots=True)
class Collection:
    """What was written: its totals, for the summary and for comparisons."""

    month: Month
    client: str | None
    sites: dict[tuple[str, str | None], SiteTotal] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    #: sessions about which something was decided, with their flags
    corrected: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def sessions(self) -> int:
        """Rows in all."""
        return sum(site.sessions for site in self.sites.values())

    @property
    def energy_wh(self) -> int:
        """Known energy in all."""
        return sum(site.energy_wh for site in self.sites.values())

    @property
    def unknown_energy(self) -> int:
        """Rows whose energy is unknown."""
        return sum(site.unknown_energy for site in self.sites.values())

    def add(self, row: CollectedSession) -> None:
        """Count a row."""
        key = (row.client, row.site_id)
        total = self.sites.get(key)
        if total is None:
            total = self.sites[key] = SiteTotal(row.client, row.site_id, row.site_name)
        total.sessions += 1
        if any(flag not in HARMLESS for flag in row.flags):
            total.flagged += 1
            self.corrected.append((row.session_id, tuple(row.flags)))
        total.unknown_energy += row.energy_wh is None
        total.energy_wh += row.energy_wh or 0
        for flag in row.flags:
            self.flags[flag] = self.flags.get(flag, 0) + 1


async def write(
    pool: AsyncConnectionPool,
    month: Month,
    path: Path | None,
    *,
    kind: str,
    client: str | None = None,
) -> Collection:
    """Write the month's collection as "csv", "json" or "xlsx" to the path (None: standard output,
    not for xlsx) and return its totals.

    That of one client is a service which its contract opens (article 5.4); the whole is ours.

    Raises: UnknownClient; NotSubscribed; collection_xlsx.TooManyRows; OSError when the file cannot
    be written, which then does not exist.
    """
    with _opened(path) as file:
        async with _snapshot(pool) as connection:
            if client is not None:
                await _check_client(connection, client, month)
            span: dict[str, Any] = {
                "from_at": month.start_at,
                "to_at": month.end_at,
                "client": client,
            }
            found = Collection(month, client)
            found.left_out = await store.list_left_out(connection, **span, limit=LEFT_OUT_MAX)
            rows = store.stream_collection(connection, **span, time_zone=str(PARIS))
            if kind == "xlsx":
                from reporting import collection_xlsx

                assert path is not None, "a workbook is not printed"
                return await collection_xlsx.write(rows, file, found)
            writer = _write_csv if kind == "csv" else _write_json
            return await writer(rows, file, found)


async def _check_client(connection: AsyncConnection, name: str, month: Month) -> None:
    """The option is open at one end of the month, or the contract suspended: what was charged until
    then is collected. Raises: UnknownClient; NotSubscribed."""
    client = await sites.find_client(connection, name)
    if client is None:
        raise UnknownClient(f"there is no client {name!r}")
    for moment in (month.start_at, month.end_at - timedelta(seconds=1)):
        service = await service_open(connection, client.id, Option.COLLECTION, moment)
        if service.reason in (None, "suspended"):
            return
    raise NotSubscribed(f"{name} in {month}: {service.text('en')}")


@asynccontextmanager
async def _snapshot(pool: AsyncConnectionPool) -> AsyncIterator[AsyncConnection]:
    """A connection in one read-only transaction: rows and totals are of the same moment."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


async def _write_csv(
    rows: AsyncIterator[CollectedSession], file: IO[str], collection: Collection
) -> Collection:
    """RFC 4180 with a header, UTF-8; flags with spaces between; formulas defused."""
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    async for row in rows:
        collection.add(row)
        record = _record(row)
        record["flags"] = " ".join(row.flags)
        writer.writerow({name: _cell(value) for name, value in record.items()})
    return collection


async def _write_json(
    rows: AsyncIterator[CollectedSession], file: IO[str], collection: Collection
) -> Collection:
    """One object: month, client, sessions (one a line), totals."""
    file.write(
        f'{{"month": "{collection.month}", '
        f'"client": {json.dumps(collection.client, ensure_ascii=False)}, "sessions": ['
    )
    separator = "\n"
    async for row in rows:
        collection.add(row)
        file.write(separator + json.dumps(_record(row), ensure_ascii=False))
        separator = ",\n"
    totals = {
        "sessions": collection.sessions,
        "energy_wh": collection.energy_wh,
        "unknown_energy": collection.unknown_energy,
    }
    file.write(f'\n], "totals": {json.dumps(totals)}}}\n')
    return collection


def _record(row: CollectedSession) -> dict[str, object]:
    """A row by its column names; times in UTC and in the site's own time."""
    zone = ZoneInfo(row.time_zone)
    record: dict[str, object] = {
        name: getattr(row, name) for name in COLUMNS if name not in ("started_local", "ended_local")
    }
    record["started_at"] = _utc(row.started_at)
    record["ended_at"] = _utc(row.ended_at)
    record["started_local"] = _local(row.started_at, zone)
    record["ended_local"] = _local(row.ended_at, zone)
    record["meter_start_wh"] = _number(row.meter_start_wh)
    record["meter_stop_wh"] = _number(row.meter_stop_wh)
    return {name: record[name] for name in COLUMNS}


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).isoformat()


def _number(value: Decimal | None) -> int | float | None:
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() else float(value)


def _cell(value: object) -> object:
    return defused(value, numbers_stay=True) if isinstance(value, str) else value


@contextmanager
def _opened(path: Path | None) -> Iterator[IO[str]]:
    """The file to write, put in its place whole once all is written and safe on the disk."""
    if path is None:
        buffer = io.StringIO(newline="")
        yield buffer
        sys.stdout.write(buffer.getvalue())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        os.fchmod(descriptor, 0o640)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with _opened(path) as file:
        file.write(text)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with _opened(path) as file:
        assert isinstance(file, io.TextIOWrapper), "what is written are its bytes"
        file.buffer.write(content)
