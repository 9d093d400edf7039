"""A statement on paper: page 1 is one number and how it comes about, page 2 by charge point, page 3
by user, then every session with the number of its invoice.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from billing import formats
from billing.paper import ACCENT, AMBER_INK, AMBER_TINT, INK, MARGIN_MM, MUTED, TINT, Paper
from billing.statement import SessionLine, Statement
from billing.statement_summary import calculation, net_label
from billing.statement_texts import TEXTS
from csms.deadlines import PARIS

_AMBER_LINE: Final = (196, 138, 0)
_CHANGED: Final = re.compile(rb'(xmp:(?:Modify|Metadata)Date=)"[-0-9T:]{19}\+00:00"')
_PAD_MM: Final = 1.0  # between a column's border and its words


def render(
    statement: Statement,
    lines: Iterable[SessionLine],
    language: str,
    *,
    contest_until: date | None,
    simulated: bool,
) -> bytes:
    """The whole document; some 0.3 ms for each session."""
    paper = _Paper(statement, language, simulated)
    paper.add_page()
    _first_page(paper, statement, contest_until)
    paper.add_page()
    _by_point(paper, statement)
    paper.add_page()
    _by_user(paper, statement)
    paper.add_page(orientation="L")
    _annex(paper, lines)
    return _without_clock(bytes(paper.output()), paper.made_at)


class _Paper(Paper):
    """Pages with the head and the foot of every one."""

    def __init__(self, statement: Statement, language: str, simulated: bool) -> None:
        super().__init__()
        self.language = language
        self.words = TEXTS[language]
        self.month = formats.month_name(statement.month, language)
        self._statement = statement
        self._simulated = simulated
        self.set_lang("fr-FR" if language == "fr" else "en-GB")
        self.set_title(f"{self.words['title']} – {self.month} – {statement.legal_name}")
        # The same statement makes the same file, whenever it is made.
        self.made_at = datetime.combine(statement.month, datetime.min.time(), UTC)
        self.set_creation_date(self.made_at)

    def _default_file_id(self, buffer: bytearray) -> str:
        return str(super()._default_file_id(bytearray(_without_clock(bytes(buffer), self.made_at))))

    @property
    def bottom(self) -> float:
        """Where the foot of the page begins."""
        return float(self.h) - 20

    def header(self) -> None:
        """Whose statement it is, on every page."""
        half = self.epw / 2
        self.ink(9, colour=MUTED)
        self.put(MARGIN_MM, 13.5, half, f"{self.words['title']} – {self.month}")
        self.put(MARGIN_MM + half, 13.5, half, self._statement.legal_name, "R")
        self.rule(16)
        self.set_y(21)
        if self._simulated:
            self.ink(9, "B", AMBER_INK)
            self.put(MARGIN_MM, 24.5, self.epw, self.words["simulated"])
            self.set_y(26)

    def footer(self) -> None:
        """Which page it is."""
        self.rule(self.h - 16)
        self.set_xy(MARGIN_MM, self.h - 15)
        self.ink(8, colour=MUTED)
        page = self.words["page"].format(number=self.page_no(), total="{nb}")
        contract = f"{self.words['contract']} {self._statement.contract_reference}"
        self.cell(self.epw / 2, 5, self.printable(contract))
        self.cell(self.epw / 2, 5, page, align="R")

    def heading(self, text: str) -> None:
        """What the part below is about."""
        self.ink(13, "B", ACCENT)
        self.cell(self.epw, 9, text, new_x="LMARGIN", new_y="NEXT")


def _without_clock(made: bytes, at: datetime) -> bytes:
    """The document as though it was changed at that moment: the library writes when it was, in as
    many characters, so that nothing moves."""
    moment = at.isoformat(timespec="seconds").encode()
    return _CHANGED.sub(rb'\g<1>"' + moment + b'"', made)


# --- Page 1 ---------------------------------------------------------------------------------------


def _first_page(paper: _Paper, statement: Statement, contest_until: date | None) -> None:
    words, language = paper.words, paper.language
    paper.set_y(paper.get_y() + 3)
    paper.ink(15, "B")
    paper.cell(
        paper.epw,
        8,
        paper.fitted(paper.printable(statement.legal_name), paper.epw),
        new_x="LMARGIN",
        new_y="NEXT",
    )
    paper.set_y(paper.get_y() + 3)
    _one_number(paper, statement)
    paper.heading(words["how"])
    sums = calculation(statement, language)
    for one in sums:
        _sum(paper, one.label, one.detail, one.amount_cents)
    _sum(paper, net_label(statement, language), "", statement.net_cents, total=True)
    paper.set_y(paper.get_y() + 4)
    _sum(paper, words["uncollected"], words["uncollected_hint"], statement.uncollected_cents)
    paper.set_y(paper.get_y() + 4)
    _contest_box(paper, contest_until)
    top = paper.get_y() + 4
    half = (paper.epw - 8) / 2
    _vat(paper, statement, MARGIN_MM, top, half)
    _activity(paper, statement, MARGIN_MM + half + 8, top, half)


def _one_number(paper: _Paper, statement: Statement) -> None:
    top = paper.get_y()
    paper.set_fill_color(*TINT)
    paper.rect(MARGIN_MM, top, paper.epw, 34, style="F", round_corners=True, corner_radius=2.5)
    paper.set_xy(MARGIN_MM + 7, top + 4)
    paper.ink(12, colour=MUTED)
    paper.cell(paper.epw - 14, 6, net_label(statement, paper.language))
    paper.set_xy(MARGIN_MM + 7, top + 11)
    paper.ink(30, "B", ACCENT)
    paper.cell(paper.epw - 14, 13, formats.money(statement.net_cents, paper.language))
    paper.set_xy(MARGIN_MM + 7, top + 25)
    paper.ink(10, colour=MUTED)
    paper.cell(paper.epw - 14, 5, paper.words["net_hint"].format(month=paper.month))
    paper.set_xy(MARGIN_MM, top + 39)


def _sum(paper: _Paper, label: str, detail: str, amount_cents: int, *, total: bool = False) -> None:
    style = "B" if total else ""
    amount = formats.money(amount_cents, paper.language)
    if total:
        paper.rule(paper.get_y() + 0.5, ACCENT)
        paper.set_y(paper.get_y() + 1)
    paper.ink(10.5, style)
    paper.cell(paper.epw - 40, 6.5, paper.fitted(paper.printable(label), paper.epw - 40))
    paper.cell(40, 6.5, amount, align="R", new_x="LMARGIN", new_y="NEXT")
    if detail:
        paper.ink(8.5, colour=MUTED)
        paper.multi_cell(
            paper.epw - 40, 4.2, paper.printable(detail), align="L", new_x="LMARGIN", new_y="NEXT"
        )
        paper.set_y(paper.get_y() + 1)


def _contest_box(paper: _Paper, contest_until: date | None) -> None:
    words = paper.words
    top = paper.get_y()
    paper.set_fill_color(*AMBER_TINT)
    paper.set_draw_color(*_AMBER_LINE)
    paper.set_line_width(0.4)
    text = words["contest_hint"] if contest_until else words["contest_later"]
    height = 20.0 if contest_until else 12.0
    paper.rect(MARGIN_MM, top, paper.epw, height, style="DF", round_corners=True, corner_radius=2)
    paper.set_xy(MARGIN_MM + 5, top + 3)
    if contest_until is not None:
        paper.ink(12, "B")
        day = formats.day(contest_until, paper.language)
        paper.cell(paper.epw - 10, 6, words["contest_until"].format(day=day))
        paper.set_xy(MARGIN_MM + 5, top + 9.5)
    paper.ink(9)
    paper.multi_cell(paper.epw - 10, 4.4, text, align="L")
    paper.set_xy(MARGIN_MM, top + height)


def _vat(paper: _Paper, statement: Statement, left: float, top: float, width: float) -> None:
    words, language = paper.words, paper.language
    paper.set_xy(left, top)
    paper.ink(11, "B", ACCENT)
    paper.cell(width, 7, words["vat_collected"])
    rows = [
        (
            formats.percent(one.percent, language),
            formats.money(one.base_cents, language),
            formats.money(one.vat_cents, language),
        )
        for one in statement.vat_collected
    ]
    if rows:
        heads = (words["vat_rate"], words["vat_base"], words["vat_amount"])
        _small_table(paper, left, top + 8, width, heads, rows)
    paper.set_xy(left, paper.get_y() + 1.5 if rows else top + 8)
    paper.ink(8.5, colour=MUTED)
    paper.multi_cell(width, 4.2, words["vat_hint"] if rows else words["vat_none"], align="L")


def _activity(paper: _Paper, statement: Statement, left: float, top: float, width: float) -> None:
    words, language = paper.words, paper.language
    paper.set_xy(left, top)
    paper.ink(11, "B", ACCENT)
    paper.cell(width, 7, words["activity"])
    before = statement.previous
    rows = [
        (words["sessions"], str(statement.sessions), str(before.sessions) if before else "–"),
        (
            words["energy"],
            formats.energy(statement.energy_wh, language),
            formats.energy(before.energy_wh, language) if before else "–",
        ),
        (
            words["collected_short"],
            formats.money(statement.collected_cents, language),
            formats.money(before.collected_cents, language) if before else "–",
        ),
    ]
    heads = ("", words["this_month"], words["last_month"])
    _small_table(paper, left, top + 8, width, heads, rows)


def _small_table(
    paper: _Paper,
    left: float,
    top: float,
    width: float,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> None:
    column = width / len(heads)
    paper.set_y(top)
    for number, row in enumerate((heads, *rows)):
        paper.set_x(left)
        paper.ink(8.5 if number == 0 else 9, colour=MUTED if number == 0 else INK)
        for at, text in enumerate(row):
            paper.cell(column, 5.5, text, align="L" if at == 0 else "R")
        paper.set_y(paper.get_y() + 5.5)


# --- Tables ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    head: str
    width: float  # of the width of the text
    align: str = "L"


def _by_point(paper: _Paper, statement: Statement) -> None:
    words = paper.words
    paper.heading(words["points"])
    several = len({one.site for one in statement.points}) > 1
    columns = [_Column(words["point"], 0.21 if several else 0.44)]
    if several:
        columns.append(_Column(words["site"], 0.23))
    columns += _figure_columns(words, 0.56)
    rows = [
        (one.point, *([one.site] if several else []), *_figures(one, paper.language))
        for one in statement.points
    ]
    _table(paper, columns, rows)
    _totals(paper, columns, statement.points)


def _by_user(paper: _Paper, statement: Statement) -> None:
    words = paper.words
    paper.heading(words["users"])
    columns = [_Column(words["user"], 0.44), *_figure_columns(words, 0.56)]
    rows = [(one.label, *_figures(one, paper.language)) for one in statement.users]
    _table(paper, columns, rows)
    _totals(paper, columns, statement.users)


def _figure_columns(words: dict[str, str], width: float) -> list[_Column]:
    return [
        _Column(words["sessions"], width * 0.17, "R"),
        _Column(words["energy"], width * 0.30, "R"),
        _Column(words["billed"], width * 0.26, "R"),
        _Column(words["collected_short"], width * 0.27, "R"),
    ]


def _figures(one: Any, language: str) -> tuple[str, str, str, str]:
    return (
        str(one.sessions),
        formats.energy(one.energy_wh, language),
        formats.money(one.billed_cents, language),
        formats.money(one.collected_cents, language),
    )


def _totals(paper: _Paper, columns: Sequence[_Column], parts: Sequence[Any]) -> None:
    """The last line: the sums of what stands above."""
    row = (
        paper.words["total"],
        *[""] * (len(columns) - 5),
        str(sum(one.sessions for one in parts)),
        formats.energy(sum(one.energy_wh for one in parts), paper.language),
        formats.money(sum(one.billed_cents for one in parts), paper.language),
        formats.money(sum(one.collected_cents for one in parts), paper.language),
    )
    _row(paper, columns, row, 6.5, style="B")


def _annex(paper: _Paper, lines: Iterable[SessionLine]) -> None:
    words, language = paper.words, paper.language
    paper.heading(words["annex"])
    columns = [
        _Column(words["position"], 0.05, "R"),
        _Column(words["started"], 0.115),
        _Column(words["duration"], 0.065, "R"),
        _Column(words["point"], 0.195),
        _Column(words["user"], 0.165),
        _Column(words["energy"], 0.09, "R"),
        _Column(words["amount"], 0.085, "R"),
        _Column(words["collected_short"], 0.085, "R"),
        _Column(words["invoice"], 0.15),
    ]
    count = _table(paper, columns, (_session(line, language) for line in lines), size=8, height=5.2)
    paper.set_y(paper.get_y() + 2)
    paper.ink(8, colour=MUTED)
    paper.multi_cell(paper.epw, 4.2, words["marks"] if count else words["none"], align="L")


def _session(line: SessionLine, language: str) -> tuple[str, ...]:
    marks = ("*" if line.is_estimated else "") + ("†" if line.is_late else "")
    marks += "‡" if line.contested else ""
    return (
        str(line.position),
        formats.moment(line.started_at, language, PARIS),
        formats.duration((line.ended_at - line.started_at).total_seconds(), language),
        line.point,
        line.user,
        formats.energy(line.energy_wh, language),
        formats.money(line.amount_incl_cents, language) + marks,
        formats.money(line.collected_cents, language),
        line.invoice_number,
    )


def _table(
    paper: _Paper,
    columns: Sequence[_Column],
    rows: Iterable[Sequence[str]],
    *,
    size: float = 9.5,
    height: float = 6.5,
) -> int:
    """A table over as many pages as it takes, its heads on each; how many rows it has."""
    heads = [one.head for one in columns]
    _row(paper, columns, heads, height, style="B", size=size, filled=True)
    count = 0
    for row in rows:
        if paper.get_y() + height > paper.bottom:
            paper.add_page(same=True)
            _row(paper, columns, heads, height, style="B", size=size, filled=True)
        _row(paper, columns, row, height, size=size)
        count += 1
    return count


def _row(
    paper: _Paper,
    columns: Sequence[_Column],
    texts: Sequence[str],
    height: float,
    *,
    style: str = "",
    size: float = 9.5,
    filled: bool = False,
) -> None:
    paper.ink(size, style)
    top, left = paper.get_y(), MARGIN_MM
    if filled:
        paper.set_fill_color(*TINT)
        paper.rect(MARGIN_MM, top, paper.epw, height, style="F")
    base = top + height / 2 + size * 0.12
    for column, text in zip(columns, texts, strict=True):
        width = column.width * paper.epw
        paper.put(left + _PAD_MM, base, width - 2 * _PAD_MM, text, column.align)
        left += width
    paper.set_xy(MARGIN_MM, top + height)
    if not filled:
        paper.rule(paper.get_y())
