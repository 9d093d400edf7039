"""SQL of quirks: known faults of a make, as data."""

from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class Quirk:
    """A correction and whom it is for; a pattern is case-blind with * and ?, None matches all."""

    id: int
    vendor: str | None
    model: str | None
    firmware: str | None
    correction: str
    decided_on: date
    reason: str
    retired_at: datetime | None


async def list_quirks(connection: AsyncConnection, *, retired: bool = False) -> list[Quirk]:
    """All quirks in force, oldest first; with `retired` those of the past too."""
    async with connection.cursor(row_factory=class_row(Quirk)) as rows:
        await rows.execute(
            """
            SELECT id, vendor, model, firmware, correction, decided_on, reason, retired_at
              FROM quirk WHERE retired_at IS NULL OR %s ORDER BY id
            """,
            (retired,),
        )
        return await rows.fetchall()


async def lock_quirk(connection: AsyncConnection, quirk_id: int) -> Quirk | None:
    """One quirk in force, locked until the transaction ends."""
    async with connection.cursor(row_factory=class_row(Quirk)) as rows:
        await rows.execute(
            """
            SELECT id, vendor, model, firmware, correction, decided_on, reason, retired_at
              FROM quirk WHERE id = %s AND retired_at IS NULL FOR UPDATE
            """,
            (quirk_id,),
        )
        return await rows.fetchone()


async def insert_quirk(
    connection: AsyncConnection,
    *,
    vendor: str | None,
    model: str | None,
    firmware: str | None,
    correction: str,
    decided_on: date,
    reason: str,
) -> Quirk:
    """A new quirk."""
    async with connection.cursor(row_factory=class_row(Quirk)) as rows:
        await rows.execute(
            """
            INSERT INTO quirk (vendor, model, firmware, correction, decided_on, reason)
            VALUES (%(vendor)s, %(model)s, %(firmware)s, %(correction)s, %(decided_on)s,
                    %(reason)s)
            RETURNING id, vendor, model, firmware, correction, decided_on, reason, retired_at
            """,
            {
                "vendor": vendor,
                "model": model,
                "firmware": firmware,
                "correction": correction,
                "decided_on": decided_on,
                "reason": reason,
            },
        )
        row = await rows.fetchone()
    assert row is not None
    return row


async def update_quirk(connection: AsyncConnection, quirk: Quirk) -> None:
    """Write a quirk whole, by its id."""
    await connection.execute(
        """
        UPDATE quirk
           SET vendor = %(vendor)s, model = %(model)s, firmware = %(firmware)s,
               correction = %(correction)s, decided_on = %(decided_on)s, reason = %(reason)s,
               retired_at = %(retired_at)s
         WHERE id = %(id)s
        """,
        {
            "id": quirk.id,
            "vendor": quirk.vendor,
            "model": quirk.model,
            "firmware": quirk.firmware,
            "correction": quirk.correction,
            "decided_on": quirk.decided_on,
            "reason": quirk.reason,
            "retired_at": quirk.retired_at,
        },
    )


async def notify_quirks(connection: AsyncConnection) -> None:
    """Tell the gateways at commit that quirks changed."""
    await connection.execute("SELECT pg_notify('t2p_quirk', '')")
