"""A statement for spreadsheets, as text: semicolons, UTF-8 with its mark, decimal comma.

One table: the sums first, then each session, then each adjustment, told apart by the first column.
A text that a spreadsheet would take for a formula has an apostrophe before it.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from decimal import Decimal

from billing.statement import SessionLine, Statement
from billing.statement_summary import calculation, net_label
from billing.statement_texts import TEXTS
from csms.deadlines import PARIS
from csms.domain.spreadsheet import defused


def render(statement: Statement, lines: Iterable[SessionLine], language: str) -> bytes:
    """The whole table."""
    words = TEXTS[language]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow([words[name] for name in _COLUMNS])
    for row in _rows(statement, lines, language):
        writer.writerow([row.get(name, "") for name in _COLUMNS])
    return text.getvalue().encode("utf-8-sig")


_COLUMNS = (
    "rubric",
    "label",
    "position",
    "session_id",
    "started",
    "ended",
    "site",
    "point",
    "user",
    "energy_kwh",
    "amount_eur",
    "vat_percent",
    "collected_eur",
    "invoice_number",
    "estimated",
    "late",
    "contested",
    "month",
)


def _rows(
    statement: Statement, lines: Iterable[SessionLine], language: str
) -> Iterator[dict[str, str]]:
    words = TEXTS[language]
    month = f"{statement.month:%Y-%m}"
    sums = [(one.label, one.amount_cents) for one in calculation(statement, language)]
    sums.append((net_label(statement, language), statement.net_cents))
    sums.append((words["uncollected"], statement.uncollected_cents))
    for label, cents in sums:
        yield {
            "rubric": words["summary"],
            "label": defused(label),
            "amount_eur": _euros(cents, language),
            "month": month,
        }
    for line in lines:
        yield _session(line, language) | {"month": month}
    for one in statement.adjustments:
        yield {
            "rubric": words["adjustment"],
            "label": defused(one.cause),
            "amount_eur": _euros(one.amount_cents, language),
            "invoice_number": defused(one.invoice_number),
            "month": f"{one.month:%Y-%m}",
        }


def _session(line: SessionLine, language: str) -> dict[str, str]:
    words = TEXTS[language]
    return {
        "rubric": words["session"],
        "position": str(line.position),
        "session_id": str(line.session_id),
        "started": f"{line.started_at.astimezone(PARIS):%d/%m/%Y %H:%M:%S}",
        "ended": f"{line.ended_at.astimezone(PARIS):%d/%m/%Y %H:%M:%S}",
        "site": defused(line.site),
        "point": defused(line.point),
        "user": defused(line.user),
        "energy_kwh": _number(Decimal(line.energy_wh) / 1000, 3, language),
        "amount_eur": _euros(line.amount_incl_cents, language),
        "vat_percent": _number(line.vat_percent, 2, language),
        "collected_eur": _euros(line.collected_cents, language),
        "invoice_number": defused(line.invoice_number),
        "estimated": words["yes" if line.is_estimated else "no"],
        "late": words["yes" if line.is_late else "no"],
        "contested": words[f"state_{line.contested}"] if line.contested else "",
    }


def _euros(cents: int, language: str) -> str:
    return _number(Decimal(cents) / 100, 2, language)


def _number(value: Decimal, places: int, language: str) -> str:
    """Without grouping, which spreadsheets may not read."""
    text = f"{value:.{places}f}"
    return text.replace(".", ",") if language == "fr" else text
