"""A statement as a workbook: real numbers, days and times, one sheet for each kind of row.

Rows are written as they come and leave memory at once. No text is ever taken for a formula or a
link.
"""

import io
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import xlsxwriter  # type: ignore[import-untyped]
from xlsxwriter.workbook import Workbook  # type: ignore[import-untyped]
from xlsxwriter.worksheet import Worksheet  # type: ignore[import-untyped]

from billing import formats
from billing.statement import SessionLine, Statement
from billing.statement_summary import calculation, net_label
from billing.statement_texts import TEXTS
from csms.deadlines import PARIS

_OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
_FORMATS = {
    "text": {},
    "head": {"bold": True, "bg_color": "#E6EFEB", "bottom": 1, "text_wrap": True, "valign": "top"},
    "title": {"bold": True, "font_size": 16},
    "net": {"bold": True, "font_size": 14, "num_format": '#,##0.00 "€"', "top": 1},
    "net_text": {"bold": True, "font_size": 14, "top": 1},
    "euros": {"num_format": '#,##0.00 "€"'},
    "kwh": {"num_format": "#,##0.000"},
    "number": {"num_format": "#,##0"},
    "percent": {"num_format": "0.00"},
    "day": {"num_format": "dd/mm/yyyy"},
    "month": {"num_format": "mm/yyyy"},
    "time": {"num_format": "dd/mm/yyyy hh:mm:ss"},
}


def render(
    statement: Statement,
    lines: Iterable[SessionLine],
    language: str,
    *,
    contest_until: date | None,
    simulated: bool,
) -> bytes:
    """The whole workbook."""
    made = io.BytesIO()
    with xlsxwriter.Workbook(made, _OPTIONS) as book:
        words = TEXTS[language]
        month = formats.month_name(statement.month, language)
        book.set_properties(
            {
                "title": f"{words['title']} – {month}",
                # Not the day on which it is made: the same statement makes the same file.
                "created": datetime(statement.month.year, statement.month.month, 1),  # noqa: DTZ001
            }
        )
        sheets = _Book(book, language)
        _summary(sheets, statement, contest_until, simulated)
        _table_sheet(sheets, "points", _POINTS, [_point(one) for one in statement.points])
        _table_sheet(sheets, "users", _USERS, [_user(one) for one in statement.users])
        _table_sheet(sheets, "sessions", _SESSIONS, (_session(one, words) for one in lines))
        adjustments = [
            [one.month, one.cause, one.amount_cents, one.invoice_number]
            for one in statement.adjustments
        ]
        _table_sheet(sheets, "adjustments", _ADJUSTMENTS, adjustments)
    return made.getvalue()


# Each column: the word for it, its format, its width in characters.
_Columns = Sequence[tuple[str, str, int]]
_POINTS: _Columns = (
    ("point", "text", 32),
    ("site", "text", 32),
    ("sessions", "number", 10),
    ("energy_kwh", "kwh", 14),
    ("billed_eur", "euros", 18),
    ("collected_eur", "euros", 18),
)
_USERS: _Columns = (("user", "text", 36), *_POINTS[2:])
_SESSIONS: _Columns = (
    ("position", "number", 8),
    ("session_id", "number", 12),
    ("started", "time", 19),
    ("ended", "time", 19),
    ("site", "text", 28),
    ("point", "text", 28),
    ("user", "text", 28),
    ("energy_kwh", "kwh", 14),
    ("amount_eur", "euros", 18),
    ("vat_percent", "percent", 12),
    ("collected_eur", "euros", 18),
    ("invoice_number", "text", 26),
    ("estimated", "text", 10),
    ("late", "text", 10),
    ("contested", "text", 22),
)
_ADJUSTMENTS: _Columns = (
    ("month", "month", 14),
    ("cause", "text", 60),
    ("amount_eur", "euros", 18),
    ("invoice_number", "text", 26),
)


class _Book:
    """A workbook with its formats and its language."""

    def __init__(self, book: Workbook, language: str) -> None:
        self._book = book
        self.language = language
        self.words = TEXTS[language]
        self.formats = {name: book.add_format(given) for name, given in _FORMATS.items()}

    def sheet(self, name: str) -> Worksheet:
        """A new sheet, called as its language has it."""
        return self._book.add_worksheet(self.words[f"sheet_{name}"])

    def write(self, sheet: Worksheet, row: int, column: int, value: Any, kind: str) -> None:
        """A cell of its own type: cents become euros, Wh kWh, moments those of Paris."""
        shape = self.formats[kind]
        if kind in ("euros", "net"):
            sheet.write_number(row, column, Decimal(value) / 100, shape)
        elif kind == "kwh":
            sheet.write_number(row, column, Decimal(value) / 1000, shape)
        elif kind in ("number", "percent"):
            sheet.write_number(row, column, value, shape)
        elif kind == "time":
            sheet.write_datetime(row, column, value.astimezone(PARIS).replace(tzinfo=None), shape)
        elif kind in ("day", "month"):
            sheet.write_datetime(row, column, value, shape)
        else:
            sheet.write_string(row, column, value, shape)


def _summary(
    book: _Book, statement: Statement, contest_until: date | None, simulated: bool
) -> None:
    words, sheet = book.words, book.sheet("statement")
    sheet.set_column(0, 0, 46)
    sheet.set_column(1, 1, 20)
    sheet.set_column(2, 2, 70)
    rows: list[tuple[str, Any, str, str]] = [
        (words["client"], statement.legal_name, "text", ""),
        (words["month"], statement.month, "month", ""),
        (words["contract"], statement.contract_reference, "text", ""),
    ]
    for one in calculation(statement, book.language):
        rows.append((one.label, one.amount_cents, "euros", one.detail))
    rows.append((net_label(statement, book.language), statement.net_cents, "net", ""))
    rows.append((words["uncollected"], statement.uncollected_cents, "euros", ""))
    for vat in statement.vat_collected:
        percent = formats.percent(vat.percent, book.language)
        base = formats.money(vat.base_cents, book.language)
        detail = f"{words['vat_base']} : {base}"
        rows.append((f"{words['vat_collected']}, {percent}", vat.vat_cents, "euros", detail))
    rows.append((words["sessions"], statement.sessions, "number", ""))
    rows.append((words["energy_kwh"], statement.energy_wh, "kwh", ""))
    if contest_until is not None:
        label = words["contest_until"].partition("{day}")[0].strip()
        rows.append((label, contest_until, "day", words["contest_hint"]))
    title = f"{words['title']} – {formats.month_name(statement.month, book.language)}"
    book.write(sheet, 0, 0, title, "title")
    if simulated:
        book.write(sheet, 1, 0, words["simulated"], "head")
    for number, (label, value, kind, detail) in enumerate(rows, start=3):
        book.write(sheet, number, 0, label, "net_text" if kind == "net" else "text")
        book.write(sheet, number, 1, value, kind)
        book.write(sheet, number, 2, detail, "net_text" if kind == "net" else "text")


def _table_sheet(book: _Book, name: str, columns: _Columns, rows: Iterable[Sequence[Any]]) -> None:
    sheet = book.sheet(name)
    for at, (_, _, width) in enumerate(columns):
        sheet.set_column(at, at, width)
    sheet.freeze_panes(1, 0)
    for at, (word, _, _) in enumerate(columns):
        book.write(sheet, 0, at, book.words[word], "head")
    last = 0
    for last, row in enumerate(rows, start=1):
        for at, (_, kind, _) in enumerate(columns):
            book.write(sheet, last, at, row[at], kind)
    sheet.autofilter(0, 0, last, len(columns) - 1)
    sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)


def _point(one: Any) -> list[Any]:
    return [one.point, one.site, *_figures(one)]


def _user(one: Any) -> list[Any]:
    return [one.label, *_figures(one)]


def _figures(one: Any) -> list[int]:
    return [one.sessions, one.energy_wh, one.billed_cents, one.collected_cents]


def _session(line: SessionLine, words: dict[str, str]) -> list[Any]:
    return [
        line.position,
        line.session_id,
        line.started_at,
        line.ended_at,
        line.site,
        line.point,
        line.user,
        line.energy_wh,
        line.amount_incl_cents,
        line.vat_percent,
        line.collected_cents,
        line.invoice_number,
        words["yes" if line.is_estimated else "no"],
        words["yes" if line.is_late else "no"],
        words[f"state_{line.contested}"] if line.contested else "",
    ]
