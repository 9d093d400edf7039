"""The sessions of a statement as its files have them, read from its lines."""

from collections.abc import Mapping
from typing import Final

from psycopg import AsyncConnection

from billing.statement import SessionLine
from billing.store import managing
from billing.store.managing import LineRow
from csms.points import label_of

NAMELESS: Final[Mapping[str, str]] = {"fr": "Utilisateur n° {number}", "en": "User no. {number}"}


async def fetch(connection: AsyncConnection, statement_id: int, language: str) -> list[SessionLine]:
    """All sessions of a statement, in their order; as far as the connection's role may see."""
    total = await managing.count_lines(connection, statement_id)
    rows = await managing.list_lines(connection, statement_id, limit=total)
    return [session_line(row, language) for row in rows]


def session_line(row: LineRow, language: str) -> SessionLine:
    """The line as files have it."""
    return SessionLine(
        position=row.position,
        session_id=row.session_id,
        point=label_of(row.evse_static, row.station_id, row.evse_id or 0),
        site=row.site,
        user=user(row, language),
        started_at=row.started_at,
        ended_at=row.ended_at,
        energy_wh=row.energy_wh,
        amount_incl_cents=row.amount_cents,
        vat_percent=row.vat_percent,
        collected_cents=row.collected_cents,
        invoice_number=row.invoice_number,
        is_estimated=row.is_estimated,
        is_late=row.is_late,
        contested=(row.decision or "open") if row.dispute_id is not None else "",
    )


def user(row: LineRow, language: str) -> str:
    """The driver's name; a number where it is not there, or not to be seen."""
    return row.name or NAMELESS[language].format(number=row.person_id)
