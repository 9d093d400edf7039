"""SQL of the history of sites, stations and points; append-only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class StaticChange:
    """One change; `before` and `after` hold the members that differ, by dotted name."""

    id: int
    at: datetime
    actor: str
    kind: str  # site, station, evse
    site_id: str | None
    station_id: str | None
    evse_id: int | None
    before: dict[str, Any]
    after: dict[str, Any]


async def insert_changes(connection: AsyncConnection, records: Sequence[dict[str, Any]]) -> None:
    """Add changes: client_id, actor, kind, site_id, station_id, evse_id, before, after."""
    await connection.execute(
        """
        INSERT INTO static_change (client_id, actor, kind, site_id, station_id, evse_id, before,
                                   after)
        SELECT client_id, actor, kind, site_id, station_id, evse_id, before, after
          FROM ROWS FROM (jsonb_to_recordset(%s)
                          AS (client_id bigint, actor text, kind text, site_id text,
                              station_id text, evse_id integer, before jsonb, after jsonb))
               WITH ORDINALITY AS g (client_id, actor, kind, site_id, station_id, evse_id, before,
                                     after, position)
         ORDER BY position
        """,
        (Jsonb(list(records)),),
    )


async def list_changes(
    connection: AsyncConnection,
    *,
    site_id: str | None = None,
    station_id: str | None = None,
    limit: int,
    cursor: Cursor | None,
) -> list[StaticChange]:
    """Up to `limit` changes of a site with all on it, or of a station, newest first."""
    async with connection.cursor(row_factory=class_row(StaticChange)) as rows:
        await rows.execute(
            """
            SELECT id, at, actor, kind, site_id, station_id, evse_id, before, after
              FROM static_change
             WHERE (%(site_id)s::text IS NULL OR site_id = %(site_id)s)
               AND (%(station_id)s::text IS NULL OR station_id = %(station_id)s)
               AND (%(at)s::timestamptz IS NULL OR (at, id) < (%(at)s, %(id)s::bigint))
             ORDER BY at DESC, id DESC LIMIT %(limit)s
            """,
            {
                "site_id": site_id,
                "station_id": station_id,
                "at": cursor.key[0] if cursor else None,
                "id": cursor.key[1] if cursor else None,
                "limit": limit,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_changes(
    connection: AsyncConnection, *, site_id: str | None = None, station_id: str | None = None
) -> int:
    """How many changes the filters of `list_changes` leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM static_change
         WHERE (%(site_id)s::text IS NULL OR site_id = %(site_id)s)
           AND (%(station_id)s::text IS NULL OR station_id = %(station_id)s)
        """,
        {"site_id": site_id, "station_id": station_id},
    )
