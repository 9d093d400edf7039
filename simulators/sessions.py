"""Real charging sessions of a housing cooperative, read from the Trondheim CSV.

Source: Sørensen, Lindberg, Sartori, Andresen, "Residential electric vehicle charging datasets from
apartment buildings", Data in Brief 2021, doi 10.17632/jbks2rcwyj, CC BY 4.0. `;` separated, decimal
comma, local time of Europe/Oslo, minutes only. The file is read from a path and never kept here.

Mapping to charge points. A garage is a site. A private user has a station with one EVSE in each
garage where the file shows him (one of the 56 charged in two garages: 57 private stations, a charge
point does not move); each shared id is a station with one EVSE (12). A badge is a user.

Anomalies, and what becomes of them. None is lost, each is counted by `anomalies`:

- no plug-out (34 rows): start and readings up to the full energy are replayed, no stop. The next
  start on the connector ends it as lost; without one the station stays silent. All its energy is
  told before that next start, for a connector charges one car at a time.
- no length (17): start and stop in the same minute, sent as it is.
- overlap on a connector (1): messages go in the order of their times, so the new start comes before
  the old stop.
- shared start (11 pairs): both are kept, distinct by their register: each session's register begins
  where the session before it, in the order of start and session number, ended.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import groupby, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

LOCAL = ZoneInfo("Europe/Oslo")
ASSUMED_POWER_W = 7_400  # of a car: the file's highest mean power of a session is 7.8 kW
PREFIX = "TRD-"
COLUMNS = (
    "session_ID",
    "Garage_ID",
    "User_ID",
    "User_type",
    "Shared_ID",
    "Start_plugin",
    "End_plugout",
    "El_kWh",
)


class SessionsFileError(ValueError):
    """The file cannot be read; says the line, the column and what stands there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargingRecord:
    """One charging as the file has it. Times are aware, in local time (`LOCAL`)."""

    number: int
    site_id: str
    station_id: str
    evse_id: int
    badge: str
    private: bool
    started_at: datetime
    ended_at: datetime | None  # None: no plug-out
    energy_wh: int

    # Python compares and subtracts times of one zone by the clock on the wall; these do not.
    @property
    def started_utc(self) -> datetime:
        return self.started_at.astimezone(UTC)

    @property
    def ended_utc(self) -> datetime | None:
        return None if self.ended_at is None else self.ended_at.astimezone(UTC)

    @property
    def charging_s(self) -> float:
        """How long the car draws: at the assumed power, or harder when the stay is shorter."""
        needed_s = self.energy_wh * 3600 / ASSUMED_POWER_W
        if self.ended_utc is None:
            return needed_s
        return min(needed_s, (self.ended_utc - self.started_utc).total_seconds())

    @property
    def assumed_end_utc(self) -> datetime:
        """The plug-out, or the end of the charging where none is known."""
        return self.ended_utc or self.started_utc + timedelta(seconds=self.charging_s)


@dataclass(frozen=True, kw_only=True)
class Anomalies:
    """How many records are out of order, by kind. Pairs are neighbours on one connector."""

    no_plug_out: int
    no_length: int
    overlaps: int
    shared_starts: int


def read_csv(path: Path) -> list[ChargingRecord]:
    """The records of the file in its order.

    Raises: SessionsFileError; OSError.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(read_lines(file))


def read_lines(lines: Iterable[str]) -> Iterator[ChargingRecord]:
    """As `read_csv`, from the lines of the file."""
    reader = csv.DictReader(lines, delimiter=";")
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise SessionsFileError(f"line 1: there is no column {', '.join(missing)}")
    for row in reader:
        yield _record(row, reader.line_num)


def _record(row: dict[str, str], line: int) -> ChargingRecord:
    kind, user, garage = row["User_type"], row["User_ID"], row["Garage_ID"]
    if kind not in ("Private", "Shared"):
        raise SessionsFileError(f"line {line}: User_type {kind!r} is neither Private nor Shared")
    started_at = _time(row, "Start_plugin", line)
    if started_at is None:
        raise SessionsFileError(f"line {line}: Start_plugin is missing")
    ended_at = _time(row, "End_plugout", line)
    if ended_at is not None and ended_at < started_at:
        ended_at = ended_at.replace(fold=1)  # from the first into the second of two equal hours
    if ended_at is not None and ended_at.astimezone(UTC) < started_at.astimezone(UTC):
        raise SessionsFileError(f"line {line}: End_plugout lies before Start_plugin")
    try:
        number = int(row["session_ID"])
    except (TypeError, ValueError):
        raise SessionsFileError(f"line {line}: session_ID {row['session_ID']!r}") from None
    private = kind == "Private"
    return ChargingRecord(
        number=number,
        site_id=PREFIX + garage,
        station_id=PREFIX + (_private_point(user, garage) if private else row["Shared_ID"]),
        evse_id=1,
        badge=PREFIX + user,
        private=private,
        started_at=started_at,
        ended_at=ended_at,
        energy_wh=_energy_wh(row["El_kWh"], line),
    )


def _private_point(user: str, garage: str) -> str:
    """Users are named after a garage; away from it the garage is said too."""
    return user if user.startswith(f"{garage}-") else f"{garage}-{user}"


def _time(row: dict[str, str], column: str, line: int) -> datetime | None:
    """A time of the file. In the hour that comes twice in autumn, the first one is meant."""
    text = row[column]
    if text in ("NA", "", None):
        return None
    try:
        return datetime.strptime(text, "%d.%m.%Y %H:%M").replace(tzinfo=LOCAL)
    except ValueError:
        raise SessionsFileError(f"line {line}: {column} {text!r} is not DD.MM.YYYY HH:MM") from None


def _energy_wh(text: str, line: int) -> int:
    """kWh with a decimal comma to whole Wh, exactly."""
    try:
        energy_wh = Decimal(text.replace(",", ".")) * 1000
    except (InvalidOperation, AttributeError):
        raise SessionsFileError(f"line {line}: El_kWh {text!r} is not a number") from None
    if not energy_wh.is_finite() or energy_wh < 0 or energy_wh != energy_wh.to_integral_value():
        raise SessionsFileError(f"line {line}: El_kWh {text!r} is not a whole number of Wh")
    return int(energy_wh)


def in_start_order(records: Iterable[ChargingRecord]) -> list[ChargingRecord]:
    """By connector, then start, then session number: the order in which registers go on."""
    return sorted(records, key=lambda r: (r.station_id, r.evse_id, r.started_utc, r.number))


def by_connector(records: Iterable[ChargingRecord]) -> list[list[ChargingRecord]]:
    """The records of each connector, in the order of their starts."""
    groups = groupby(in_start_order(records), key=lambda r: (r.station_id, r.evse_id))
    return [list(group) for _, group in groups]


def anomalies(records: Sequence[ChargingRecord]) -> Anomalies:
    """Count what is out of order."""
    pairs = [pair for group in by_connector(records) for pair in pairwise(group)]
    return Anomalies(
        no_plug_out=sum(r.ended_at is None for r in records),
        no_length=sum(r.ended_utc == r.started_utc for r in records),
        overlaps=sum(
            a.ended_utc is not None and a.ended_utc > b.started_utc > a.started_utc
            for a, b in pairs
        ),
        shared_starts=sum(a.started_utc == b.started_utc for a, b in pairs),
    )
