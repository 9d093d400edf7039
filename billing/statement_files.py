"""A statement as a file: for people on paper (PDF), in spreadsheets (CSV, XLSX), for machines
(JSON). The figures of all four are those of the statement; nothing is computed anew.
"""

from collections.abc import Iterable
from datetime import date
from typing import Final, Literal

from billing import statement_csv, statement_pdf, statement_xlsx
from billing.statement import SessionLine, Statement, canonical

Format = Literal["pdf", "csv", "xlsx", "json"]
Language = Literal["fr", "en"]

MEDIA_TYPES: Final[dict[Format, str]] = {
    "pdf": "application/pdf",
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "json": "application/json",
}
FORMATS: Final = tuple(MEDIA_TYPES)


def render(
    statement: Statement,
    lines: Iterable[SessionLine],
    format: Format,
    language: Language,
    *,
    contest_until: date | None,
    simulated: bool,
) -> bytes:
    """The file, the same bytes whenever it is made. `contest_until`: the last day to contest it;
    None: it was not delivered yet. `simulated`: its money is that of the demonstration. Takes a
    while for thousands of lines: call it from a thread."""
    if format == "json":
        return canonical(statement, lines)
    if format == "csv":
        return statement_csv.render(statement, lines, language)
    make = statement_pdf.render if format == "pdf" else statement_xlsx.render
    return make(statement, lines, language, contest_until=contest_until, simulated=simulated)


def file_name(statement: Statement, format: Format, language: Language) -> str:
    """What a download of it is called."""
    word = "releve" if language == "fr" else "statement"
    return f"{word}-{statement.month:%Y-%m}-{statement.client_id}.{format}"
