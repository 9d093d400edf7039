"""The monthly collection as a workbook: numbers as numbers, times as times, the same bytes for the
same month. Rows are written as they come and leave memory at once; no text is a formula or a link.
"""

import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import IO, Any, Final
from zoneinfo import ZoneInfo

import xlsxwriter  # type: ignore[import-untyped]

from reporting.collection import COLUMNS, Collection
from reporting.store import CollectedSession

ROWS_MAX: Final = 1_048_575  # of a sheet, below its head
_OPTIONS: Final = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}
_WIDTHS: Final = {"started_at": 19, "ended_at": 19, "started_local": 19, "ended_local": 19}
_MAKER_AT: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - a workbook's own times have no zone


class TooManyRows(ValueError):
    """A workbook's sheet does not hold so many sessions."""


async def write(
    rows: AsyncIterator[CollectedSession], file: IO[str], collection: Collection
) -> Collection:
    """The workbook of these rows, in an open file. Raises: TooManyRows; OSError."""
    assert isinstance(file, io.TextIOWrapper), "what is written are its bytes"
    with xlsxwriter.Workbook(file.buffer, _OPTIONS) as book:
        book.set_properties({"title": f"Collection {collection.month}", "created": _MAKER_AT})
        head = book.add_format({"bold": True, "bg_color": "#E6EFEB", "bottom": 1})
        moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        sheet = book.add_worksheet(str(collection.month))
        sheet.freeze_panes(1, 0)
        for place, name in enumerate(COLUMNS):
            sheet.set_column(place, place, _WIDTHS.get(name, 14))
            sheet.write_string(0, place, name, head)
        number = 0
        async for row in rows:
            number += 1
            if number > ROWS_MAX:
                raise TooManyRows(
                    f"A workbook holds {ROWS_MAX} sessions: write csv or json, or one client's."
                )
            collection.add(row)
            for place, value in enumerate(_cells(row)):
                if isinstance(value, datetime):
                    sheet.write_datetime(number, place, value, moment)
                elif isinstance(value, str):
                    sheet.write_string(number, place, value)
                elif value is not None:
                    sheet.write_number(number, place, value)
        sheet.autofilter(0, 0, number, len(COLUMNS) - 1)
    return collection


def _cells(row: CollectedSession) -> list[Any]:
    """The row's values in the order of the columns; times without a zone, as sheets know them."""
    zone = ZoneInfo(row.time_zone)
    values: dict[str, Any] = {
        "started_at": row.started_at.astimezone(UTC).replace(tzinfo=None),
        "ended_at": row.ended_at.astimezone(UTC).replace(tzinfo=None),
        "started_local": row.started_at.astimezone(zone).replace(tzinfo=None),
        "ended_local": row.ended_at.astimezone(zone).replace(tzinfo=None),
        "flags": " ".join(row.flags),
    }
    return [values[name] if name in values else getattr(row, name) for name in COLUMNS]
