"""A CSV file as records with their line numbers; what makes it unreadable is a problem."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from csms.provisioning.plan import Plan

if TYPE_CHECKING:
    from _csv import Reader

BYTES_MAX = 64 * 1024 * 1024
ROWS_MAX = 200_000
CELL_LENGTH_MAX = 4_000

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Record:
    """One row: its line in the file and its cells, trimmed, by column; absent cells are empty."""

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


@dataclass(frozen=True, slots=True)
class Table:
    """The header, trimmed and in lower case, and the rows."""

    header: Sequence[str]
    records: Sequence[Record]


def read_bytes(path: Path) -> bytes:
    """The file. Raises: OSError, also for one of more than BYTES_MAX."""
    with path.open("rb") as file:
        data = file.read(BYTES_MAX + 1)
    if len(data) > BYTES_MAX:
        raise OSError(f"{path} holds more than {BYTES_MAX // 1024 // 1024} MiB")
    return data


def read_table(data: bytes, plan: Plan) -> Table | None:
    """The rows of UTF-8 text with or without a byte order mark, separated by commas or
    semicolons; None when it is no such table."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        plan.refuse(line, None, "", "is not UTF-8: save the file as UTF-8")
        return None
    if "\0" in text:
        plan.refuse(text.count("\n", 0, text.index("\0")) + 1, None, "", "holds a NUL character")
        return None
    first = text.split("\n", 1)[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if not any(header):
            plan.refuse(1, None, "", "the file is empty: it begins with the names of its columns")
            return None
        _check_header(header, plan)
        return Table(header, list(_records(reader, header, plan)))
    except csv.Error as error:
        plan.refuse(reader.line_num, None, "", f"is not CSV: {error}")
        return None


def _check_header(header: Sequence[str], plan: Plan) -> None:
    for position, name in enumerate(header):
        if name and name in header[:position]:
            plan.refuse(1, name, "", "this column stands there twice")


def _records(reader: "Reader", header: Sequence[str], plan: Plan) -> Iterator[Record]:
    """Every row that is not empty."""
    before = reader.line_num
    for number, row in enumerate(reader):
        line, before = before + 1, reader.line_num
        if number >= ROWS_MAX:
            plan.refuse(line, None, "", f"a file holds at most {ROWS_MAX} rows: split it")
            return
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != len(header):
            reason = f"has {len(cells)} cells, the header has {len(header)}"
            plan.refuse(line, None, "", reason)
            continue
        long = next((n for n, c in zip(header, cells, strict=True) if len(c) > CELL_LENGTH_MAX), "")
        if long:
            plan.refuse(line, long, "", f"has more than {CELL_LENGTH_MAX} characters")
            continue
        yield Record(line, dict(zip(header, cells, strict=True)))


def cell(
    record: Record,
    column: str,
    plan: Plan,
    parse: Callable[[str], Value],
    *,
    required: bool = False,
) -> Value | None:
    """The value of a cell; None for an empty or a refused one. `parse` raises ValueError with the
    reason as its text."""
    text = record[column]
    if not text:
        if required:
            plan.refuse(record.line, column, "", "must not be empty")
        return None
    try:
        return parse(text)
    except ValueError as error:
        plan.refuse(record.line, column, text, str(error))
        return None


def name(text: str) -> str:
    """A name or an identifier: 1 to 255 printable characters."""
    if len(text) > 255:
        raise ValueError("has more than 255 characters")
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A parser of whole numbers within bounds."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not low <= int(text[:12]) <= high:
            raise ValueError(f"takes a whole number from {low} to {high}")
        return int(text)

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """A parser of decimal numbers within bounds, with a point or a comma."""

    def parse(text: str) -> float:
        try:
            value = float(text.replace(",", "."))
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"takes a number from {low:g} to {high:g}")
        return value

    return parse


def truth(text: str) -> bool:
    """true or false, 1 or 0, yes or no, oui or non, vrai or faux; without case."""
    lowered = text.lower()
    if lowered in ("true", "1", "yes", "oui", "vrai"):
        return True
    if lowered in ("false", "0", "no", "non", "faux"):
        return False
    raise ValueError("takes true or false")


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser that takes one of the choices, as written."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"takes one of: {', '.join(choices)}")
        return text

    return parse
