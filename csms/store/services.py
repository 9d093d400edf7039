"""SQL of what is open to a client: closures, options, mandates."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from csms.domain.contract import Closure


@dataclass(frozen=True, slots=True)
class ClientServices:
    """What decides a service of a client at a moment."""

    client_id: int
    is_operator: bool
    contracted: bool  # some signed contract has begun
    closure: str | None  # suspended, ended; None: neither
    subscribed: list[str]  # options in force
    mandated: bool
    closed_at: datetime | None


async def fetch_services(
    connection: AsyncConnection,
    client_ids: Collection[int],
    now: datetime,
    today: date,
) -> dict[int, ClientServices]:
    """What decides the services of each client now; of one that does not exist there is nothing."""
    async with connection.cursor(row_factory=class_row(ClientServices)) as rows:
        await rows.execute(
            """
            SELECT k.id AS client_id, k.is_operator,
                   EXISTS (SELECT FROM contract c
                            WHERE c.client_id = k.id AND c.signed_on IS NOT NULL
                              AND c.starts_on <= %(today)s) AS contracted,
                   (SELECT max(x.reason) FROM client_closure x
                     WHERE x.client_id = k.id AND x.from_at <= %(now)s
                       AND (x.to_at IS NULL OR %(now)s < x.to_at)) AS closure,
                   ARRAY(SELECT o.option
                           FROM contract_option o JOIN contract c ON c.id = o.contract_id
                          WHERE o.client_id = k.id
                            AND c.signed_on IS NOT NULL AND c.starts_on <= %(today)s
                            AND (c.ends_on IS NULL OR c.ends_on >= %(today)s)
                            AND o.from_on <= %(today)s
                            AND (o.to_on IS NULL OR %(today)s < o.to_on)) AS subscribed,
                   EXISTS (SELECT FROM contract c
                            WHERE c.client_id = k.id AND c.signed_on IS NOT NULL
                              AND c.starts_on <= %(today)s
                              AND (c.ends_on IS NULL OR c.ends_on >= %(today)s)
                              AND c.mandate_from_on <= %(today)s
                              AND (c.mandate_revoked_on IS NULL
                                   OR %(today)s < c.mandate_revoked_on)) AS mandated,
                   k.closed_at
              FROM client k WHERE k.id = ANY (%(client_ids)s)
            """,
            {"client_ids": list(client_ids), "now": now, "today": today},
        )
        return {found.client_id: found for found in await rows.fetchall()}


async def fetch_options(
    connection: AsyncConnection,
    client_ids: Sequence[int],
    options: Sequence[str],
    now: datetime,
    today: date,
) -> list[tuple[int, str, str | None]]:
    """(client, option, reason) of the options that are closed to these clients now: the reason of a
    closure, or None for one that is not subscribed to. Of the operator's own client, and of clients
    without a contract, nothing is closed."""
    cursor = await connection.execute(
        """
        SELECT k.id, o.option, x.reason
          FROM client k CROSS JOIN unnest(%(options)s::text[]) AS o (option)
          LEFT JOIN LATERAL (
               SELECT max(x.reason) AS reason FROM client_closure x
                WHERE x.client_id = k.id AND x.from_at <= %(now)s
                  AND (x.to_at IS NULL OR %(now)s < x.to_at)) x ON true
         WHERE k.id = ANY(%(client_ids)s) AND NOT k.is_operator
           AND EXISTS (SELECT FROM contract c
                        WHERE c.client_id = k.id AND c.signed_on IS NOT NULL
                          AND c.starts_on <= %(today)s)
           AND (x.reason IS NOT NULL OR NOT EXISTS (
               SELECT FROM contract_option s JOIN contract c ON c.id = s.contract_id
                WHERE s.client_id = k.id AND s.option = o.option AND c.signed_on IS NOT NULL
                  AND c.starts_on <= %(today)s AND (c.ends_on IS NULL OR c.ends_on >= %(today)s)
                  AND s.from_on <= %(today)s AND (s.to_on IS NULL OR %(today)s < s.to_on)))
        """,
        {"client_ids": list(client_ids), "options": list(options), "now": now, "today": today},
    )
    return await cursor.fetchall()


async def fetch_closures(
    connection: AsyncConnection, client_ids: Sequence[int]
) -> dict[int, list[Closure]]:
    """Closures of the clients, past, present and to come, by client; most clients have none."""
    cursor = await connection.execute(
        "SELECT client_id, from_at, to_at, reason FROM client_closure WHERE client_id = ANY(%s)",
        (list(client_ids),),
    )
    closures: dict[int, list[Closure]] = {}
    for client_id, from_at, to_at, reason in await cursor.fetchall():
        closures.setdefault(client_id, []).append(Closure(from_at, to_at, reason))
    return closures


async def fetch_client_of_station(connection: AsyncConnection, station_id: str) -> int | None:
    """The client of a station; None: there is no such station."""
    cursor = await connection.execute(
        "SELECT client_id FROM station WHERE id = %s AND retired_at IS NULL", (station_id,)
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]
