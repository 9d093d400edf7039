"""SQL of the journal: one row per exchange of frames, newest first."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count

_STRETCH = timedelta(seconds=10)
_STRETCH_MAX = timedelta(days=400)
_AHEAD = timedelta(days=1)  # another node's clock
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Message:
    """A request of either side and the answer to it, as texts on the wire."""

    at: datetime
    station_key: int
    station_id: str
    direction: str  # in: the station asked; out: we asked
    protocol: str
    action: str | None  # None: could not be read
    message_id: str | None
    frame: str
    answer: str | None
    answered_at: datetime | None
    latency_ms: float | None


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which exchanges; None does not filter. Times are [from_at, to_at)."""

    station_id: str | None = None
    action: str | None = None
    direction: str | None = None
    message_id: str | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None

    def parameters(self) -> dict[str, object]:
        """By the names that the statements below use."""
        return {
            "station_id": self.station_id,
            "action": self.action,
            "direction": self.direction,
            "message_id": self.message_id,
            "from_at": self.from_at,
            "to_at": self.to_at,
        }


async def list_messages(
    connection: AsyncConnection, which: MessageFilter, *, limit: int, cursor: Cursor | None
) -> list[Message]:
    """Up to `limit` exchanges, newest first."""
    async with connection.cursor(row_factory=class_row(Message)) as rows:
        await rows.execute(
            """
            SELECT m.at, m.station_key, s.id AS station_id, m.direction, m.protocol, m.action,
                   m.message_id, m.frame, m.answer, m.answered_at, m.latency_ms
              FROM ocpp_message m JOIN station s USING (station_key)
             WHERE (%(station_id)s::text IS NULL OR m.station_key =
                    (SELECT station_key FROM station WHERE id = %(station_id)s))
               AND (%(action)s::text IS NULL OR m.action = %(action)s)
               AND (%(direction)s::text IS NULL OR m.direction = %(direction)s)
               AND (%(message_id)s::text IS NULL OR m.message_id = %(message_id)s)
               AND (%(from_at)s::timestamptz IS NULL OR m.at >= %(from_at)s)
               AND (%(to_at)s::timestamptz IS NULL OR m.at < %(to_at)s)
               AND (%(after_at)s::timestamptz IS NULL OR m.at <= %(after_at)s)
               AND (%(after_at)s::timestamptz IS NULL
                    OR (m.at, m.station_key, m.direction, coalesce(m.message_id, ''))
                       < (%(after_at)s, %(after_key)s::integer, %(after_direction)s::text,
                          %(after_id)s::text))
             ORDER BY m.at DESC, m.station_key DESC, m.direction DESC,
                      coalesce(m.message_id, '') DESC
             LIMIT %(limit)s
            """,
            {
                **which.parameters(),
                "limit": limit,
                "after_at": cursor.key[0] if cursor else None,
                "after_key": cursor.key[1] if cursor else None,
                "after_direction": cursor.key[2] if cursor else None,
                "after_id": cursor.key[3] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def list_newest(
    connection: AsyncConnection,
    which: MessageFilter,
    now: datetime,
    *,
    limit: int,
    cursor: Cursor | None,
) -> list[Message]:
    """As `list_messages`, quick on a long journal too.

    The journal of all stations has no index in the order of time, only ranges of it. So one looks
    into the newest stretch first, then into ever longer ones before it, until enough is found:
    what is read stays in proportion to what lies between now and the last row shown.
    """
    if which.station_id is not None:
        return await list_messages(connection, which, limit=limit, cursor=cursor)
    found: list[Message] = []
    stretch = _STRETCH
    upper = which.to_at or now + _AHEAD
    if cursor is not None:
        upper = min(upper, cursor.key[0] + _TICK)
    while len(found) < limit:
        lower = None if stretch > _STRETCH_MAX else upper - stretch
        last = lower is None or (which.from_at is not None and lower <= which.from_at)
        part = replace(which, from_at=which.from_at if last else lower, to_at=upper)
        found += await list_messages(connection, part, limit=limit - len(found), cursor=cursor)
        if last or lower is None:
            break
        upper, stretch = lower, stretch * 6
    return found


async def count_messages(connection: AsyncConnection, which: MessageFilter) -> int:
    """How many exchanges the filter leaves."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM ocpp_message m
         WHERE (%(station_id)s::text IS NULL OR m.station_key =
                (SELECT station_key FROM station WHERE id = %(station_id)s))
           AND (%(action)s::text IS NULL OR m.action = %(action)s)
           AND (%(direction)s::text IS NULL OR m.direction = %(direction)s)
           AND (%(message_id)s::text IS NULL OR m.message_id = %(message_id)s)
           AND (%(from_at)s::timestamptz IS NULL OR m.at >= %(from_at)s)
           AND (%(to_at)s::timestamptz IS NULL OR m.at < %(to_at)s)
        """,
        which.parameters(),
    )
