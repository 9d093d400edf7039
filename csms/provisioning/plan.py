"""What a file says, before anything is written."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = (
    "client",
    "site",
    "station",
    "EVSE",
    "connector",
    "driver",
    "membership",
    "request",
    "badge",
)
PROBLEMS_MAX = 1_000
"""After so many the rest of the file is not told any more."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal: where it stands, what stands there, why it cannot be used."""

    line: int
    column: str | None  # None: the line as a whole
    value: str
    reason: str

    def __str__(self) -> str:
        place = f"line {self.line}" + (f", {self.column}" if self.column else "")
        return f"{place}: {self.reason}" + (f" (found {self.value!r})" if self.value else "")


@dataclass(slots=True)
class SitePlan:
    """A site as the file says; None or absent keeps what is there."""

    id: str
    line: int
    values: dict[str, Any] = field(default_factory=dict)  # client, name, time_zone
    static: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class EvsePlan:
    """An EVSE as the file says. Without a number it gets the one it has by its uid or local id,
    or the next one."""

    line: int
    evse_id: int | None
    values: dict[str, Any] = field(default_factory=dict)  # evse_uid, public
    static: dict[str, Any] = field(default_factory=dict)
    connectors: dict[int, dict[str, Any]] = field(default_factory=dict)  # type, power_w_max

    @property
    def power_w_max(self) -> int | None:
        """That of its strongest connector; None when none is stated."""
        powers = [c["power_w_max"] for c in self.connectors.values() if c.get("power_w_max")]
        return max(powers, default=None)


@dataclass(slots=True)
class StationPlan:
    """A station as the file says; absent values keep what is there."""

    id: str
    line: int
    values: dict[str, Any] = field(default_factory=dict)  # columns of the table, and password
    static: dict[str, Any] = field(default_factory=dict)
    evses: list[EvsePlan] = field(default_factory=list)

    def evse(self, evse_id: int, line: int) -> EvsePlan:
        """Its EVSE of that number, made when it is new."""
        for evse in self.evses:
            if evse.evse_id == evse_id:
                return evse
        evse = EvsePlan(line, evse_id)
        self.evses.append(evse)
        return evse


@dataclass(slots=True)
class Plan:
    """The whole file, and what is wrong with it."""

    sites: dict[str, SitePlan] = field(default_factory=dict)
    stations: dict[str, StationPlan] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    uid_lines: dict[str, int] = field(default_factory=dict)

    def refuse(self, line: int, column: str | None, value: str, reason: str) -> None:
        """Note a problem; values are shown in part, passwords never come here."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(line, column, value[:60], reason))

    def warn(self, line: int, column: str | None, value: str, reason: str) -> None:
        """Note something odd that is taken all the same."""
        if len(self.warnings) < PROBLEMS_MAX:
            self.warnings.append(Problem(line, column, value[:60], reason))

    def site(self, site_id: str, line: int) -> SitePlan:
        """The site of that id, made when it is new."""
        return self.sites.setdefault(site_id, SitePlan(site_id, line))

    def station(self, station_id: str, line: int) -> StationPlan:
        """The station of that id, made when it is new."""
        return self.stations.setdefault(station_id, StationPlan(station_id, line))

    def merge(
        self,
        known: dict[str, Any],
        named: Mapping[str, Any],
        line: int,
        first_line: int,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        """Put what a row names (None: nothing) beside what earlier rows named of the same thing;
        a contradiction is a problem. `columns` names a value's column where it differs."""
        for name, value in named.items():
            if value is None:
                continue
            if known.setdefault(name, value) != value:
                column = (columns or {}).get(name, name)
                shown = "" if name == "password" else str(value)
                self.refuse(
                    line, column, shown, f"contradicts an earlier row, from line {first_line} on"
                )

    def claim_uid(self, evse_uid: str | None, column: str, line: int) -> None:
        """Refuse an EVSE's uid that another EVSE of the file has."""
        if evse_uid is None:
            return
        first = self.uid_lines.setdefault(evse_uid, line)
        if first != line:
            self.refuse(line, column, evse_uid, f"is already in line {first}")

    def sorted_problems(self) -> list[Problem]:
        """By line."""
        return sorted(self.problems, key=lambda problem: problem.line)


@dataclass(slots=True)
class ImportReport:
    """What an import did, or why it did nothing."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    created: Counter[str] = field(default_factory=Counter)  # by kind: client, site, ...
    updated: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    generated_passwords: dict[str, str] = field(default_factory=dict)  # by station, shown once
    dry_run: bool = False

    def summary(self) -> str:
        """The report in a few lines."""
        if self.problems:
            number = len(self.problems)
            return f"Nothing was imported: {number} problem{'s' if number > 1 else ''}, see above."
        lines = ["Nothing was written: this was a dry run."] if self.dry_run else []
        for kind in KINDS:
            counts = (self.created[kind], self.updated[kind], self.unchanged[kind])
            if any(counts):
                lines.append("{}s: {} created, {} changed, {} as they were".format(kind, *counts))
        return "\n".join(lines)
