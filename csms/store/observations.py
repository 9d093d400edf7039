"""SQL of what was seen of stations beside sessions: events, deviations, refused connections."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class StationEvent:
    """A report of a station: boot, firmware, log, security, ..."""

    id: int
    station_id: str
    received_at: datetime
    stated_at: datetime | None
    kind: str
    content: Any


@dataclass(frozen=True, slots=True)
class Deviation:
    """How a station departs from the specification, and how often."""

    station_key: int
    station_id: str
    vendor: str | None
    model: str | None
    firmware: str | None
    kind: str
    subject: str
    sample: str
    first_seen_at: datetime
    last_seen_at: datetime
    count: int


@dataclass(frozen=True, slots=True)
class RefusedConnection:
    """Who was refused at the handshake, why and how often."""

    identity: str
    reason: str
    remote_address: str
    detail: str
    first_seen_at: datetime
    last_seen_at: datetime
    count: int


async def list_events(
    connection: AsyncConnection,
    station_id: str,
    *,
    kind: str | None,
    from_at: datetime | None,
    to_at: datetime | None,
    limit: int,
    cursor: Cursor | None,
) -> list[StationEvent]:
    """Up to `limit` events of the station received in [from_at, to_at), newest first."""
    async with connection.cursor(row_factory=class_row(StationEvent)) as rows:
        await rows.execute(
            """
            SELECT e.id, s.id AS station_id, e.received_at, e.stated_at, e.kind, e.content
              FROM station_event e JOIN station s USING (station_key)
             WHERE s.id = %(station_id)s
               AND (%(kind)s::text IS NULL OR e.kind = %(kind)s)
               AND (%(from_at)s::timestamptz IS NULL OR e.received_at >= %(from_at)s)
               AND (%(to_at)s::timestamptz IS NULL OR e.received_at < %(to_at)s)
               AND (%(after_at)s::timestamptz IS NULL
                    OR (e.received_at, e.id) < (%(after_at)s, %(after_id)s::bigint))
             ORDER BY e.received_at DESC, e.id DESC LIMIT %(limit)s
            """,
            {
                "station_id": station_id,
                "kind": kind,
                "from_at": from_at,
                "to_at": to_at,
                "limit": limit,
                "after_at": cursor.key[0] if cursor else None,
                "after_id": cursor.key[1] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_events(
    connection: AsyncConnection,
    station_id: str,
    *,
    kind: str | None,
    from_at: datetime | None,
    to_at: datetime | None,
) -> int:
    """How many events those filters leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM station_event e JOIN station s USING (station_key)
         WHERE s.id = %(station_id)s
           AND (%(kind)s::text IS NULL OR e.kind = %(kind)s)
           AND (%(from_at)s::timestamptz IS NULL OR e.received_at >= %(from_at)s)
           AND (%(to_at)s::timestamptz IS NULL OR e.received_at < %(to_at)s)
        """,
        {"station_id": station_id, "kind": kind, "from_at": from_at, "to_at": to_at},
    )


async def list_deviations(
    connection: AsyncConnection,
    *,
    station_id: str | None,
    kind: str | None,
    limit: int,
    cursor: Cursor | None,
) -> list[Deviation]:
    """Up to `limit` deviations by station, kind and subject."""
    async with connection.cursor(row_factory=class_row(Deviation)) as rows:
        await rows.execute(
            """
            SELECT d.station_key, s.id AS station_id, s.vendor, s.model, s.firmware, d.kind,
                   d.subject, d.sample, d.first_seen_at, d.last_seen_at, d.count
              FROM deviation d JOIN station s USING (station_key)
             WHERE (%(station_id)s::text IS NULL OR s.id = %(station_id)s)
               AND (%(kind)s::text IS NULL OR d.kind = %(kind)s)
               AND (%(after_key)s::integer IS NULL OR (d.station_key, d.kind, d.subject)
                    > (%(after_key)s, %(after_kind)s::text, %(after_subject)s::text))
             ORDER BY d.station_key, d.kind, d.subject LIMIT %(limit)s
            """,
            {
                "station_id": station_id,
                "kind": kind,
                "limit": limit,
                "after_key": cursor.key[0] if cursor else None,
                "after_kind": cursor.key[1] if cursor else None,
                "after_subject": cursor.key[2] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_deviations(
    connection: AsyncConnection, *, station_id: str | None, kind: str | None
) -> int:
    """How many deviations those filters leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM deviation d JOIN station s USING (station_key)
         WHERE (%(station_id)s::text IS NULL OR s.id = %(station_id)s)
           AND (%(kind)s::text IS NULL OR d.kind = %(kind)s)
        """,
        {"station_id": station_id, "kind": kind},
    )


async def list_refused(
    connection: AsyncConnection, *, limit: int, cursor: Cursor | None
) -> list[RefusedConnection]:
    """Up to `limit` refused identities, last seen first."""
    async with connection.cursor(row_factory=class_row(RefusedConnection)) as rows:
        await rows.execute(
            """
            SELECT identity, reason, remote_address, detail, first_seen_at, last_seen_at, count
              FROM refused_connection
             WHERE %(after_at)s::timestamptz IS NULL OR (last_seen_at, identity, reason)
                   < (%(after_at)s, %(after_identity)s::text, %(after_reason)s::text)
             ORDER BY last_seen_at DESC, identity DESC, reason DESC LIMIT %(limit)s
            """,
            {
                "limit": limit,
                "after_at": cursor.key[0] if cursor else None,
                "after_identity": cursor.key[1] if cursor else None,
                "after_reason": cursor.key[2] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_refused(connection: AsyncConnection) -> int:
    """How many refused identities there are."""
    return await fetch_count(connection, "SELECT count(*) FROM refused_connection", {})


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events of one kind; None does not filter. Times are [from_at, to_at) of receipt."""

    kind: str
    station_id: str | None = None
    type: str | None = None  # the word in the message
    from_at: datetime | None = None
    to_at: datetime | None = None

    def parameters(self) -> dict[str, object]:
        """By the names that the statements below use."""
        return {
            "kind": self.kind,
            "station_id": self.station_id,
            "type": self.type,
            "from_at": self.from_at,
            "to_at": self.to_at,
        }


async def list_events_of_kind(
    connection: AsyncConnection, which: EventFilter, *, limit: int, cursor: Cursor | None
) -> list[StationEvent]:
    """Up to `limit` events of a kind, of all stations, newest first."""
    async with connection.cursor(row_factory=class_row(StationEvent)) as rows:
        await rows.execute(
            """
            SELECT e.id, s.id AS station_id, e.received_at, e.stated_at, e.kind, e.content
              FROM station_event e JOIN station s USING (station_key)
             WHERE e.kind = %(kind)s
               AND (%(station_id)s::text IS NULL OR s.id = %(station_id)s)
               AND (%(type)s::text IS NULL OR e.content ->> 'type' = %(type)s)
               AND (%(from_at)s::timestamptz IS NULL OR e.received_at >= %(from_at)s)
               AND (%(to_at)s::timestamptz IS NULL OR e.received_at < %(to_at)s)
               AND (%(after)s::bigint IS NULL OR e.id < %(after)s)
             ORDER BY e.id DESC LIMIT %(limit)s
            """,
            {
                **which.parameters(),
                "limit": limit,
                "after": cursor.key[0] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_events_of_kind(connection: AsyncConnection, which: EventFilter) -> int:
    """How many events the filter leaves."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM station_event e JOIN station s USING (station_key)
         WHERE e.kind = %(kind)s
           AND (%(station_id)s::text IS NULL OR s.id = %(station_id)s)
           AND (%(type)s::text IS NULL OR e.content ->> 'type' = %(type)s)
           AND (%(from_at)s::timestamptz IS NULL OR e.received_at >= %(from_at)s)
           AND (%(to_at)s::timestamptz IS NULL OR e.received_at < %(to_at)s)
        """,
        which.parameters(),
    )


async def list_reports(
    connection: AsyncConnection, command_id: int, *, limit: int, cursor: Cursor | None
) -> list[StationEvent]:
    """Up to `limit` messages that followed the answer to an order, oldest first."""
    async with connection.cursor(row_factory=class_row(StationEvent)) as rows:
        await rows.execute(
            """
            SELECT e.id, s.id AS station_id, e.received_at, e.stated_at, e.kind, e.content
              FROM station_event e JOIN station s USING (station_key)
             WHERE e.command_id = %(command_id)s
               AND (%(after)s::bigint IS NULL OR e.id > %(after)s)
             ORDER BY e.id LIMIT %(limit)s
            """,
            {
                "command_id": command_id,
                "limit": limit,
                "after": cursor.key[0] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_reports(connection: AsyncConnection, command_id: int) -> int:
    """How many messages followed the answer to an order."""
    return await fetch_count(
        connection,
        "SELECT count(*) FROM station_event WHERE command_id = %(command_id)s",
        {"command_id": command_id},
    )


@dataclass(frozen=True, slots=True)
class Overview:
    """The numbers of the front page."""

    stations: int
    stations_connected: int
    sessions_active: int
    entries_open: int
    sessions_ended: int
    energy_wh: int  # of the sessions that ended in the interval


async def get_overview(connection: AsyncConnection, from_at: datetime, to_at: datetime) -> Overview:
    """Numbers of now, and of the sessions that ended in [from_at, to_at)."""
    async with connection.cursor(row_factory=class_row(Overview)) as rows:
        await rows.execute(
            """
            SELECT (SELECT count(*) FROM station WHERE retired_at IS NULL) AS stations,
                   (SELECT count(*) FROM station_connection c JOIN station s USING (station_key)
                     WHERE c.disconnected_at IS NULL AND s.retired_at IS NULL)
                   AS stations_connected,
                   (SELECT count(*) FROM session WHERE state = 'active') AS sessions_active,
                   (SELECT count(*) FROM reconciliation WHERE settled_at IS NULL) AS entries_open,
                   count(*) AS sessions_ended,
                   coalesce(sum(energy_wh), 0)::bigint AS energy_wh
              FROM session WHERE ended_at >= %(from_at)s AND ended_at < %(to_at)s
            """,
            {"from_at": from_at, "to_at": to_at},
        )
        row = await rows.fetchone()
    assert row is not None
    return row
