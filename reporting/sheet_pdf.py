"""A report on paper: the figures and their rules on the first page, then part by part."""

import io
from collections.abc import Sequence
from typing import Final

from billing.paper import ACCENT, MARGIN_MM, MUTED, Paper
from reporting import sheet as sheets
from reporting.sheet import Column, Picture, Section, Sheet, Table

_PAD_MM: Final = 1.0
_GAP_MM: Final = 3.0  # more, between a figure and the words beside it
_ROW_MM: Final = 6.2
_LINE_MM: Final = 3.9  # from one line of a cell to the next
_LINES_MAX: Final = 5
_FIGURES_A_LINE: Final = 3
_BOX_MM: Final = 24.0


def render(sheet: Sheet) -> bytes:
    """The whole document."""
    paper = _Paper(sheet)
    paper.add_page()
    _first_page(paper, sheet)
    for section in sheet.parts:
        _section(paper, section)
    return bytes(paper.output())


class _Paper(Paper):
    """Pages with the head and the foot of every one."""

    def __init__(self, sheet: Sheet) -> None:
        super().__init__()
        self._sheet = sheet
        self.language = sheet.language
        self.set_lang("fr-FR" if sheet.language == "fr" else "en-GB")
        self.set_title(f"{sheet.title} – {sheet.span} – {sheet.of}")
        self.set_creation_date(sheet.made_at)

    @property
    def bottom(self) -> float:
        """Where the foot of the page begins."""
        return float(self.h) - 20

    def header(self) -> None:
        """What it is and whose, on every page."""
        half = self.epw / 2
        self.ink(9, colour=MUTED)
        self.put(MARGIN_MM, 13.5, half, f"{self._sheet.title} – {self._sheet.span}")
        self.put(MARGIN_MM + half, 13.5, half, self._sheet.of, "R")
        self.rule(16)
        self.set_y(21)

    def footer(self) -> None:
        """When it was made, and which page it is."""
        self.rule(self.h - 16)
        self.set_xy(MARGIN_MM, self.h - 15)
        self.ink(8, colour=MUTED)
        self.cell(self.epw * 0.8, 5, self.printable(self._sheet.made))
        self.cell(self.epw * 0.2, 5, f"{self.page_no()}\u202f/\u202f{{nb}}", align="R")

    def room(self, height: float) -> None:
        """Go on to the next page unless so much has room on this one."""
        if self.get_y() + height > self.bottom:
            self.add_page(same=True)


def _first_page(paper: _Paper, sheet: Sheet) -> None:
    paper.set_y(paper.get_y() + 2)
    paper.ink(20, "B")
    paper.cell(paper.epw, 10, paper.printable(sheet.title), new_x="LMARGIN", new_y="NEXT")
    paper.ink(11, colour=MUTED)
    of = paper.fitted(paper.printable(f"{sheet.of} · {sheet.span}"), paper.epw)
    paper.cell(paper.epw, 6, of, new_x="LMARGIN", new_y="NEXT")
    paper.set_y(paper.get_y() + 4)
    _figures(paper, sheet)
    paper.ink(12, "B", ACCENT)
    paper.cell(paper.epw, 8, paper.printable(sheet.rules_title), new_x="LMARGIN", new_y="NEXT")
    for rule in sheet.rules:
        paper.ink(9.5)
        lines = paper.wrapped(rule, paper.epw - 5)
        paper.room(4.6 * len(lines))
        top = paper.get_y()
        paper.put(MARGIN_MM, top + 3.5, 4, "•")
        after = paper.paragraph(MARGIN_MM + 4, top + 3.5, paper.epw - 4, rule, 4.6)
        paper.set_y(after - 3.5 + 0.8)


def _figures(paper: _Paper, sheet: Sheet) -> None:
    """In tinted boxes, so many on a line."""
    gap = 4.0
    width = (paper.epw - gap * (_FIGURES_A_LINE - 1)) / _FIGURES_A_LINE
    top = paper.get_y()
    for number, figure in enumerate(sheet.figures):
        line, place = divmod(number, _FIGURES_A_LINE)
        x, y = MARGIN_MM + place * (width + gap), top + line * (_BOX_MM + gap)
        paper.set_fill_color(230, 239, 235)
        paper.rect(x, y, width, _BOX_MM, style="F", round_corners=True, corner_radius=2)
        paper.ink(9, colour=MUTED)
        paper.put(x + 3.5, y + 6, width - 7, figure.name)
        paper.ink(17, "B", ACCENT)
        paper.put(x + 3.5, y + 14, width - 7, figure.value)
        paper.ink(8, colour=MUTED)
        for at, text in enumerate(paper.wrapped(figure.note, width - 7)[:2]):
            paper.put(x + 3.5, y + 18.5 + 3.4 * at, width - 7, text)
    lines = -(-len(sheet.figures) // _FIGURES_A_LINE)
    paper.set_y(top + lines * (_BOX_MM + gap) + 2)


def _section(paper: _Paper, section: Section) -> None:
    needed = 28.0
    if section.pictures:
        needed = 14 + paper.epw * section.pictures[0].ratio
    paper.room(needed)
    paper.set_y(paper.get_y() + 4)
    paper.ink(13, "B", ACCENT)
    paper.cell(paper.epw, 8, paper.printable(section.title), new_x="LMARGIN", new_y="NEXT")
    if section.intro:
        _words(paper, section.intro)
    for picture in section.pictures:
        _picture(paper, picture)
    if section.table is not None and section.table.rows:
        _table(paper, section.table)
    for note in section.notes:
        _words(paper, note, size=8.5)


def _words(paper: _Paper, text: str, size: float = 9.5) -> None:
    paper.ink(size, colour=MUTED)
    lines = paper.wrapped(text, paper.epw)
    paper.room(4.4 * len(lines) + 2)
    after = paper.paragraph(MARGIN_MM, paper.get_y() + 4.5, paper.epw, text, 4.4)
    paper.set_y(after - 4.5 + 2)


def _picture(paper: _Paper, picture: Picture) -> None:
    height = paper.epw * picture.ratio
    paper.room(height + 2)
    top = paper.get_y()
    paper.image(io.BytesIO(picture.png), MARGIN_MM, top, w=paper.epw, alt_text=picture.alt)
    paper.set_y(top + height + 2)


def _table(paper: _Paper, table: Table) -> None:
    """Over as many pages as it takes, its heads on each."""
    _heads(paper, table.columns)
    for row in table.rows:
        _row(paper, table.columns, sheets.texts(row, table.columns, paper.language))
    if table.total is not None:
        paper.room(_ROW_MM)
        paper.rule(paper.get_y() + 0.2, ACCENT)
        _row(paper, table.columns, sheets.texts(table.total, table.columns, paper.language), "B")
    paper.set_y(paper.get_y() + 1)


def _heads(paper: _Paper, columns: Sequence[Column]) -> None:
    """Words above columns, on as many lines as the longest takes."""
    paper.ink(8.5, "B")
    total = sum(column.width for column in columns)
    lines = [
        paper.wrapped(column.head, column.width / total * paper.epw - 2 * _PAD_MM)
        for column in columns
    ]
    height = 2.4 + 3.8 * max(len(one) for one in lines)
    top, left = paper.get_y(), MARGIN_MM
    paper.box(top, height)
    for column, pad, words in zip(columns, _pads(columns), lines, strict=True):
        width = column.width / total * paper.epw
        for at, text in enumerate(words):
            align = "R" if sheets.is_figure(column.kind) else "L"
            paper.put(left + pad, top + 4.2 + 3.8 * at, width - pad - _PAD_MM, text, align)
        left += width
    paper.set_xy(MARGIN_MM, top + height)


def _pads(columns: Sequence[Column]) -> list[float]:
    """The room before the words of each column."""
    figures = [sheets.is_figure(column.kind) for column in columns]
    return [
        _PAD_MM + (_GAP_MM if before and not own else 0)
        for before, own in zip([False, *figures], figures, strict=False)
    ]


def _row(paper: _Paper, columns: Sequence[Column], texts: Sequence[str], style: str = "") -> None:
    """Figures on one line, words on as many as they take, up to LINES_MAX."""
    paper.ink(9, style)
    total = sum(column.width for column in columns)
    widths = [column.width / total * paper.epw for column in columns]
    pads = _pads(columns)
    lines = [
        [text]
        if sheets.is_figure(column.kind)
        else paper.wrapped(text, width - pad - _PAD_MM)[:_LINES_MAX]
        for column, width, pad, text in zip(columns, widths, pads, texts, strict=True)
    ]
    height = _ROW_MM + _LINE_MM * (max(len(one) for one in lines) - 1)
    if paper.get_y() + height > paper.bottom:
        paper.add_page(same=True)
        _heads(paper, columns)
        paper.ink(9, style)
    top, left = paper.get_y(), MARGIN_MM
    for column, width, pad, words in zip(columns, widths, pads, lines, strict=True):
        for at, text in enumerate(words):
            base = top + _ROW_MM / 2 + 1.1 + _LINE_MM * at
            if sheets.is_figure(column.kind):
                paper.figure(left + width - _PAD_MM, base, text)
            else:
                paper.put(left + pad, base, width - pad - _PAD_MM, text)
        left += width
    paper.set_xy(MARGIN_MM, top + height)
    paper.rule(paper.get_y())
