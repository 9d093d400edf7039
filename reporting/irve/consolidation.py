"""What the national consolidation would make of a static file, ours or somebody else's.

It takes a file whole or leaves it out whole: one invalid row is enough. It puts some things right
without a word, takes others as they stand, and of rows with one identifier it keeps one or none.
What it would do with rows of other producers' files cannot be known from one file alone.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import PurePath
from typing import Final

from reporting.irve.checks import check_row
from reporting.irve.findings import Effect, Finding
from reporting.irve.schema import STATIC, STATIC_NAMES
from reporting.irve.together import Together

EXAMPLES_MAX: Final = 20  # of findings of one code and column that are kept; all are counted
PROGRESS_LINES: Final = 1_000
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_ID: Final = "id_pdc_itinerance"

Progress = Callable[[int], None]


@dataclass(slots=True)
class Judgement:
    """What becomes of a file: its rows, those dropped, and what was found."""

    rows: int = 0
    findings: list[Finding] = field(default_factory=list)  # up to EXAMPLES_MAX of a kind
    counts: Counter[tuple[Effect, str, str]] = field(default_factory=Counter)
    dropped: set[int] = field(default_factory=set)  # lines
    invalid: set[int] = field(default_factory=set)  # lines for which the file is left out

    def add(self, finding: Finding) -> None:
        """Take a finding in."""
        kind = (finding.effect, finding.code, finding.column)
        self.counts[kind] += 1
        if self.counts[kind] <= EXAMPLES_MAX:
            self.findings.append(finding)
        if finding.line is not None:
            if finding.effect is Effect.DROPPED:
                self.dropped.add(finding.line)
            elif finding.effect is Effect.FILE:
                self.invalid.add(finding.line)

    def count(self, effect: Effect) -> int:
        """How many findings there are of that effect."""
        return sum(n for (found, _, _), n in self.counts.items() if found is effect)

    @property
    def is_left_out(self) -> bool:
        """Whether the consolidation leaves the whole file out."""
        return self.count(Effect.FILE) > 0

    @property
    def kept(self) -> int:
        """Rows that reach the consolidated file, as far as this file decides it."""
        return 0 if self.is_left_out else self.rows - len(self.dropped)


class _Stop(Exception):
    """Nothing can be read beyond this finding."""

    def __init__(self, code: str, value: str = "", **parts: object) -> None:
        super().__init__(code)
        self.finding = Finding(code, Effect.FILE, value=value, parts=parts)


def judge(
    content: bytes,
    name: str,
    today: date,
    prefixes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Judgement:
    """The judgement of a file by its name and content. `progress` is told how many characters more
    were read."""
    judgement = Judgement()
    try:
        text = _text(content, name, judgement)
        separator = _separator(text, judgement)
        _read(text, separator, judgement, (today, prefixes), progress or _silent)
    except _Stop as stop:
        judgement.add(stop.finding)
    order = list(Effect)
    judgement.findings.sort(key=lambda f: (order.index(f.effect), f.line or 0))
    return judgement


def _silent(_: int) -> None:
    """Nobody watches."""


# --- The file -------------------------------------------------------------------------------------


def _text(content: bytes, name: str, judgement: Judgement) -> str:
    if not content.strip():
        raise _Stop("file_empty")
    if content.startswith(_ZIP):
        raise _Stop("file_zip")
    extension = PurePath(name).suffix
    if extension.lower() not in ("", ".csv"):
        raise _Stop("file_extension", extension)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        judgement.add(Finding("encoding", Effect.FIXED))
        text = content.decode("latin-1")
    if text.startswith("\ufeff"):
        judgement.add(Finding("byte_order_mark", Effect.DOUBT))
    return text.removeprefix("\ufeff")


def _separator(text: str, judgement: Judgement) -> str:
    """What stands before id_pdc_itinerance in the header, or after it where it comes first."""
    header = text.partition("\n")[0].rstrip("\r").replace('"', "")
    if "nom_operateur" not in header and "n_operateur" in header:
        raise _Stop("file_v1")
    at = header.find(_ID)
    if at < 0:
        raise _Stop("file_no_id")
    separator = header[at - 1] if at else header[len(_ID) : len(_ID) + 1]
    if separator not in (",", ";"):
        raise _Stop("file_separator", separator)
    if "," in header and ";" in header:
        raise _Stop("file_separators_mixed")
    if separator == ";":
        judgement.add(Finding("semicolons", Effect.FIXED))
    return separator


def _columns(header: Sequence[str], judgement: Judgement) -> None:
    for name, times in Counter(header).items():
        if times > 1:
            judgement.add(Finding("column_twice", Effect.FILE, name, line=1))
        if name not in STATIC_NAMES:
            judgement.add(Finding("column_unknown", Effect.DOUBT, name, name, line=1))
    for column in STATIC:
        if column.name not in header:
            code = "column_missing" if column.required else "column_absent"
            effect = Effect.FILE if column.required else Effect.FIXED
            judgement.add(Finding(code, effect, column.name, line=1))


# --- Its rows -------------------------------------------------------------------------------------


def _read(
    text: str,
    separator: str,
    judgement: Judgement,
    rules: tuple[date, Sequence[str]],
    progress: Progress,
) -> None:
    lines = _lines(text, separator, progress)
    header = next(lines, (1, []))[1]
    _columns(header, judgement)
    if judgement.is_left_out:  # each row would say it again
        judgement.rows = sum(bool(cells) for _, cells in lines)
        return
    together = Together()
    for line, cells in lines:
        if not cells:
            continue
        judgement.rows += 1
        if len(cells) != len(header):
            parts = {"found": len(cells), "meant": len(header)}
            judgement.add(Finding("row_cells", Effect.FILE, line=line, parts=parts))
            continue
        row = _row(header, cells)
        for finding in check_row(row, *rules):
            judgement.add(replace(finding, line=line, point=row[_ID]))
        for finding in together.add(row, line):
            judgement.add(finding)
    for finding in together.finish():
        judgement.add(finding)
    if not judgement.rows:
        judgement.add(Finding("file_no_row", Effect.DOUBT))


def _lines(text: str, separator: str, progress: Progress) -> Iterator[tuple[int, list[str]]]:
    """The records, with the number of the line on which each begins. Raises: _Stop."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line, read = 1, 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            stop = _Stop("file_broken", reason=str(error))
            stop.finding = replace(stop.finding, line=line)
            raise stop from None
        yield line, cells
        read += sum(map(len, cells)) + len(cells)
        line = reader.line_num + 1
        if line % PROGRESS_LINES == 0:
            progress(read)
            read = 0
    progress(read)


def _row(header: Sequence[str], cells: Sequence[str]) -> Mapping[str, str]:
    known = dict(zip(header, cells, strict=True))
    return {name: known.get(name, "") for name in STATIC_NAMES}
