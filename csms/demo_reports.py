"""The reports of the demonstration: what was charged in its month, and how points stood today.

Availability is of today: before, no station of the demonstration had ever been connected.
"""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from psycopg_pool import AsyncConnectionPool

from csms import deadlines
from csms.config import Settings
from reporting import (
    availability_reading,
    availability_sheet,
    consumption_reading,
    consumption_sheet,
    report_files,
)
from reporting.collection import write_bytes
from reporting.sheet import Sheet
from reporting.span import Span

LANGUAGE: Final = "fr"
FORMATS: Final = ("pdf", "xlsx")


async def write(
    pool: AsyncConnectionPool, settings: Settings, month: str, now: datetime, folder: Path
) -> list[Path]:
    """Write each report of all clients as a PDF and as a workbook."""
    today = Span.parse(f"{(day := deadlines.paris_day(now))}..{day}")
    async with pool.connection() as connection:
        consumption = await consumption_reading.read(
            connection,
            Span.parse(month),
            now,
            client_ids=None,
            site_id=None,
            sessions_total=settings.report_sessions_total,
        )
        availability = await availability_reading.read(
            connection,
            today,
            now,
            client_ids=None,
            site_id=None,
            points_max=settings.report_points_max,
        )
    made: list[tuple[str, Span, Sheet, dict[str, Any]]] = [
        (
            "consumption",
            Span.parse(month),
            consumption_sheet.sheet_of(consumption, LANGUAGE),
            consumption_sheet.as_json(consumption),
        ),
        (
            "availability",
            today,
            availability_sheet.sheet_of(availability, LANGUAGE),
            availability_sheet.as_json(availability),
        ),
    ]
    return await asyncio.to_thread(_lay_down, folder, made)


def _lay_down(folder: Path, made: list[tuple[str, Span, Sheet, dict[str, Any]]]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, span, sheet, told in made:
        for file_format in FORMATS:
            name = report_files.file_name(kind, span, sheet.of, file_format, LANGUAGE)
            paths.append(folder / name)
            write_bytes(paths[-1], report_files.render(sheet, told, file_format))
    return paths
