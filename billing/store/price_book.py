"""SQL of what prices of sessions that go on depend on: of all clients at once, not one by one."""

from collections.abc import Sequence
from datetime import date, datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from billing.store.tariffs import ScopeRow, VersionRow
from csms.store.clients import Vat

# uid_key, the badge's from_at and to_at, group_id, the membership's from_at and to_at
MemberRow = tuple[str, datetime, datetime | None, int, datetime, datetime | None]


async def fingerprint(connection: AsyncConnection) -> str:
    """Another text whenever a version or a scope of a tariff, or a supply, came or ended."""
    cursor = await connection.execute(
        """
        SELECT concat_ws('|', v.count, v.last, v.ends, s.count, s.last, s.ends, u.count, u.ends)
          FROM (SELECT count(*), max(id) AS last, sum(extract(epoch FROM to_at)) AS ends
                  FROM tariff_version) v,
               (SELECT count(*), max(id) AS last, sum(extract(epoch FROM to_at)) AS ends
                  FROM tariff_scope) s,
               (SELECT count(*), count(to_on) AS ends FROM supply) u
        """
    )
    row = await cursor.fetchone()
    assert row is not None
    return str(row[0])


async def list_versions(
    connection: AsyncConnection, since: datetime, limit: int
) -> list[VersionRow]:
    """Versions that held at that moment or later, those to come too, by client."""
    async with connection.cursor(row_factory=class_row(VersionRow)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, tariff_id, from_at, to_at, content, created_at, created_by
              FROM tariff_version WHERE to_at IS NULL OR to_at > %s
             ORDER BY client_id, tariff_id, from_at LIMIT %s
            """,
            (since, limit),
        )
        return await rows.fetchall()


async def list_scopes(connection: AsyncConnection, since: datetime, limit: int) -> list[ScopeRow]:
    """Where tariffs held at that moment or later, by client."""
    async with connection.cursor(row_factory=class_row(ScopeRow)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, tariff_id, site_id, station_key, NULL AS station_id, evse_id,
                   group_id, from_at, to_at
              FROM tariff_scope WHERE to_at IS NULL OR to_at > %s
             ORDER BY client_id, id LIMIT %s
            """,
            (since, limit),
        )
        return await rows.fetchall()


async def list_vat(connection: AsyncConnection) -> list[Vat]:
    """How clients stood and stand to VAT."""
    async with connection.cursor(row_factory=class_row(Vat)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, status, vat_number, from_on, to_on FROM client_vat
             ORDER BY client_id, from_on
            """
        )
        return await rows.fetchall()


async def list_supplied(
    connection: AsyncConnection,
) -> dict[int, list[tuple[str, date, date | None]]]:
    """Sites that the operator supplies itself, by client: site, from_on, to_on (not included)."""
    cursor = await connection.execute(
        "SELECT client_id, site_id, from_on, to_on FROM supply ORDER BY id"
    )
    found: dict[int, list[tuple[str, date, date | None]]] = {}
    for client_id, *row in await cursor.fetchall():
        found.setdefault(client_id, []).append((row[0], row[1], row[2]))
    return found


async def list_zones(connection: AsyncConnection) -> list[tuple[str, str]]:
    """Sites that are not on the clock of Paris, with theirs."""
    cursor = await connection.execute(
        "SELECT id, time_zone FROM site WHERE time_zone <> 'Europe/Paris'"
    )
    return await cursor.fetchall()


async def list_members(
    connection: AsyncConnection, group_ids: Sequence[int], since: datetime, limit: int
) -> list[MemberRow]:
    """Badges of those who are, or were at that moment, in these groups, first joined first."""
    cursor = await connection.execute(
        """
        SELECT b.uid_key, b.from_at, b.to_at, m.group_id, m.from_at, m.to_at
          FROM group_member m JOIN driver_badge b USING (person_id)
         WHERE m.group_id = ANY (%(group_ids)s)
           AND (m.to_at IS NULL OR m.to_at > %(since)s) AND (b.to_at IS NULL OR b.to_at > %(since)s)
         ORDER BY m.from_at, m.group_id LIMIT %(limit)s
        """,
        {"group_ids": list(group_ids), "since": since, "limit": limit},
    )
    return await cursor.fetchall()
