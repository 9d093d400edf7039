"""A report as a workbook: numbers as numbers, moments those of Paris, one sheet for each table and
one for the figures with their rules. Rows leave memory at once; no text is a formula or a link."""

import io
from datetime import date, datetime
from decimal import Decimal
from typing import Final

import xlsxwriter  # type: ignore[import-untyped]
from xlsxwriter.format import Format  # type: ignore[import-untyped]
from xlsxwriter.workbook import Workbook  # type: ignore[import-untyped]
from xlsxwriter.worksheet import Worksheet  # type: ignore[import-untyped]

from csms.deadlines import PARIS
from reporting.sheet import Kind, Sheet, Table

ROWS_MAX: Final = 1_048_000
_OPTIONS: Final = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
_SHAPES: Final = {
    Kind.TEXT: {},
    Kind.NUMBER: {"num_format": "#,##0"},
    Kind.ENERGY: {"num_format": "#,##0.000"},
    Kind.POWER: {"num_format": "#,##0.000"},
    Kind.MONEY: {"num_format": '#,##0.00 "€"'},
    Kind.PERCENT: {"num_format": "0.00%"},
    Kind.DURATION: {"num_format": "[h]:mm:ss"},
    Kind.DAY: {"num_format": "dd/mm/yyyy"},
    Kind.MOMENT: {"num_format": "dd/mm/yyyy hh:mm:ss"},
}
_UNITS: Final = {Kind.ENERGY: "kWh", Kind.POWER: "kW", Kind.DURATION: "h:min:s"}
_WIDTHS: Final = {Kind.TEXT: 28, Kind.MOMENT: 19, Kind.DAY: 12}


class _Book:
    """A workbook with its formats."""

    def __init__(self, book: Workbook) -> None:
        self.book = book
        self.shapes: dict[Kind, Format] = {kind: book.add_format(s) for kind, s in _SHAPES.items()}
        self.bold: dict[Kind, Format] = {
            kind: book.add_format({**shape, "bold": True, "top": 1})
            for kind, shape in _SHAPES.items()
        }
        head = {"bold": True, "bg_color": "#E6EFEB", "bottom": 1, "text_wrap": True}
        self.head = book.add_format({**head, "valign": "top"})
        self.title = book.add_format({"bold": True, "font_size": 16})
        self.wrapped = book.add_format({"text_wrap": True, "valign": "top"})


def render(sheet: Sheet) -> bytes:
    """The whole workbook."""
    made = io.BytesIO()
    with xlsxwriter.Workbook(made, _OPTIONS) as book:
        book.set_properties(
            {
                "title": f"{sheet.title} – {sheet.span}",
                "created": sheet.made_at.astimezone(PARIS).replace(tzinfo=None),
            }
        )
        shapes = _Book(book)
        _summary(shapes, sheet)
        for section in sheet.sections:
            if section.table is not None:
                _table(shapes, section.table)
    return made.getvalue()


def _summary(book: _Book, sheet: Sheet) -> None:
    page = book.book.add_worksheet("Synthèse" if sheet.language == "fr" else "Summary")
    page.set_column(0, 0, 40)
    page.set_column(1, 1, 24)
    page.set_column(2, 2, 70)
    page.write_string(0, 0, sheet.title, book.title)
    page.write_string(1, 0, f"{sheet.of} · {sheet.span}")
    page.write_string(2, 0, sheet.made)
    row = 4
    for figure in sheet.figures:
        for at, text in enumerate((figure.name, figure.value, figure.note)):
            page.write_string(row, at, text)
        row += 1
    row += 1
    page.write_string(row, 0, sheet.rules_title, book.head)
    for number, rule in enumerate(sheet.rules, start=row + 1):
        page.merge_range(number, 0, number, 2, "", book.wrapped)
        page.write_string(number, 0, rule, book.wrapped)
        page.set_row(number, 15 * (1 + len(rule) // 120))


def _table(book: _Book, table: Table) -> None:
    page = book.book.add_worksheet(table.name[:31])
    page.freeze_panes(1, 0)
    for at, column in enumerate(table.columns):
        page.set_column(at, at, _WIDTHS.get(column.kind, 14))
        unit = _UNITS.get(column.kind)
        page.write_string(0, at, f"{column.head} ({unit})" if unit else column.head, book.head)
    last = 0
    for last, row in enumerate((*table.rows, *table.more)[:ROWS_MAX], start=1):
        for at, column in enumerate(table.columns):
            _cell(page, last, at, row[at], column.kind, book.shapes[column.kind])
    page.autofilter(0, 0, last, len(table.columns) - 1)
    if table.total is not None:
        for at, column in enumerate(table.columns):
            _cell(page, last + 1, at, table.total[at], column.kind, book.bold[column.kind])
    page.set_landscape()
    page.set_paper(9)  # A4
    page.fit_to_pages(1, 0)
    page.repeat_rows(0)


def _cell(page: Worksheet, row: int, column: int, value: object, kind: Kind, shape: Format) -> None:
    """A cell of its own type: Wh become kWh, cents euros, seconds a length of time."""
    if value is None or value == "":
        page.write_blank(row, column, None, shape)
    elif isinstance(value, datetime):
        page.write_datetime(row, column, value.astimezone(PARIS).replace(tzinfo=None), shape)
    elif isinstance(value, date):
        page.write_datetime(row, column, value, shape)
    elif isinstance(value, int) and kind is not Kind.TEXT:
        page.write_number(row, column, _number(value, kind), shape)
    else:
        page.write_string(row, column, str(value), shape)


def _number(value: int, kind: Kind) -> float | Decimal:
    if kind in (Kind.ENERGY, Kind.POWER):
        return Decimal(value) / 1_000
    if kind is Kind.MONEY:
        return Decimal(value) / 100
    if kind is Kind.PERCENT:
        return Decimal(value) / 10_000
    if kind is Kind.DURATION:
        return value / 86_400
    return value
