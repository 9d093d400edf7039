"""Lines of a CSV file that people bring: columns by our names or the French ones, in UTF-8 or the
Windows-1252 of spreadsheets, with semicolons or commas; amounts and days as people write them.

What cannot be entered is told with its line, its cause and its remedy.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Final

from billing import money
from csms.provisioning import reading
from csms.provisioning.drivers_csv import as_utf8
from csms.provisioning.plan import Plan
from csms.provisioning.reading import Record
from csms.registry import Refusal

_SPACES: Final = re.compile(r"[\s\u00a0\u202f]")
_AMOUNT: Final = re.compile(r"[-\u2212+]?[0-9]+([.,][0-9]{1,2})?")
_FRENCH_DAY: Final = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})")


@dataclass(frozen=True, slots=True)
class BadLine:
    """What could not be entered: where it stands, why, what to do."""

    line: int
    column: str | None  # None: the line as a whole
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a kind of file."""

    columns: Sequence[str]
    required: Sequence[str]
    names: Mapping[str, str]  # ours, by those that will do
    remedies: Mapping[str, str]  # by column
    column_of: Mapping[str, str]  # by the fields of refusals, where they are called otherwise

    def read(self, data: bytes) -> tuple[list[Record], list[BadLine]]:
        """The rows, their cells by our names; and what is no row."""
        plan = Plan()
        table = reading.read_table(as_utf8(data), plan)
        bad = [
            BadLine(problem.line, problem.column, problem.reason, "mend the file as a table")
            for problem in plan.sorted_problems()
        ]
        if table is None:
            return [], bad
        wrong = self._of_header([self.names.get(name, name) for name in table.header])
        if wrong:
            return [], bad + wrong
        return [Record(each.line, self._renamed(each.cells)) for each in table.records], bad

    def _of_header(self, header: Sequence[str]) -> list[BadLine]:
        known = f"the columns are {';'.join(self.columns)}"
        strange = [name for name in header if name not in self.columns]
        missing = [name for name in self.required if name not in header]
        return [
            *(BadLine(1, name, f"there is no column {name}", known) for name in strange),
            *(
                BadLine(1, name, f"the column {name} is missing", f"add it: {self.remedies[name]}")
                for name in missing
            ),
            *(
                BadLine(1, name, f"the column {name} stands there twice", "leave one of them")
                for place, name in enumerate(header)
                if name in header[:place]
            ),
        ]

    def _renamed(self, cells: Mapping[str, str]) -> dict[str, str]:
        return {self.names.get(name, name): text for name, text in cells.items()}

    def bad(self, line: int, refusal: Refusal) -> BadLine:
        """A line that was refused."""
        column = None if refusal.field is None else self.column_of.get(refusal.field, refusal.field)
        remedy = self.remedies.get(column or "", "mend the line and import the file again")
        return BadLine(line, column, str(refusal), remedy)


def parse_amount(text: str) -> int:
    """Cents of euros as people write them: 1 234,56 or -12.5 or 12 €. Raises: Refusal."""
    plain = _SPACES.sub("", text).removesuffix("€")
    if not _AMOUNT.fullmatch(plain):
        raise Refusal(f"{text[:60]!r} is no amount in euros", "amount")
    try:
        return money.cents(Decimal(plain.replace(",", ".").replace("\u2212", "-")))
    except InvalidOperation:
        raise Refusal(f"{text[:60]!r} is no amount in euros", "amount") from None


def parse_day(text: str) -> date:
    """A day as 22/11/2026 or 2026-11-22. Raises: Refusal."""
    french = _FRENCH_DAY.fullmatch(text)
    try:
        if french is not None:
            return date(int(french[3]), int(french[2]), int(french[1]))
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise Refusal(f"{text[:60]!r} is no day", "date")
