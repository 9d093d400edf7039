"""SQL of clients and sites."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class Client:
    """Whose sites and badges they are: a co-ownership, a company, or the operator itself."""

    id: int
    name: str
    is_operator: bool


@dataclass(frozen=True, slots=True)
class Site:
    """A place with stations."""

    id: str
    client_id: int
    client: str
    name: str
    time_zone: str
    static: dict[str, Any]
    created_at: datetime
    updated_at: datetime


async def count_clients(connection: AsyncConnection) -> int:
    """How many clients there are."""
    return await fetch_count(connection, "SELECT count(*) FROM client", {})


async def get_client(connection: AsyncConnection, client_id: int) -> Client | None:
    """One client."""
    async with connection.cursor(row_factory=class_row(Client)) as rows:
        await rows.execute("SELECT id, name, is_operator FROM client WHERE id = %s", (client_id,))
        return await rows.fetchone()


async def find_client(connection: AsyncConnection, name: str) -> Client | None:
    """The client of this name."""
    async with connection.cursor(row_factory=class_row(Client)) as rows:
        await rows.execute("SELECT id, name, is_operator FROM client WHERE name = %s", (name,))
        return await rows.fetchone()


async def insert_client(connection: AsyncConnection, name: str) -> Client | None:
    """A new client; None when the name is taken."""
    async with connection.cursor(row_factory=class_row(Client)) as rows:
        await rows.execute(
            """
            INSERT INTO client (name) VALUES (%s)
            ON CONFLICT (name) DO NOTHING RETURNING id, name, is_operator
            """,
            (name,),
        )
        return await rows.fetchone()


async def operator_client_id(connection: AsyncConnection) -> int:
    """The operator's own client, owner of what is created without one."""
    return await fetch_count(connection, "SELECT operator_client_id()", {})


async def client_of_site(connection: AsyncConnection, site_id: str) -> int | None:
    """The client that owns the site; None when there is no such site."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute("SELECT client_id FROM site WHERE id = %s", (site_id,))
        row: int | None = await rows.fetchone()
        return row


async def zone_of_site(connection: AsyncConnection, site_id: str) -> str | None:
    """The time zone of the site; None when there is no such site."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute("SELECT time_zone FROM site WHERE id = %s", (site_id,))
        found: str | None = await rows.fetchone()
        return found


async def unknown_sites(connection: AsyncConnection, site_ids: list[str]) -> list[str]:
    """Those of the ids that name no site, in the order given."""
    async with connection.cursor(row_factory=scalar_row) as rows:
        await rows.execute(
            """
            SELECT wanted.id FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (id, position)
             WHERE NOT EXISTS (SELECT FROM site WHERE site.id = wanted.id) ORDER BY position
            """,
            (site_ids,),
        )
        return list(await rows.fetchall())


async def list_sites(
    connection: AsyncConnection, *, client_id: int | None, limit: int, cursor: Cursor | None
) -> list[Site]:
    """Up to `limit` sites by id, of one client or of all."""
    async with connection.cursor(row_factory=class_row(Site)) as rows:
        await rows.execute(
            """
            SELECT site.id, client_id, client.name AS client, site.name, time_zone, static,
                   created_at, updated_at
              FROM site JOIN client ON client.id = client_id
             WHERE (%(client_id)s::bigint IS NULL OR client_id = %(client_id)s)
               AND (%(after)s::text IS NULL OR site.id > %(after)s)
             ORDER BY site.id LIMIT %(limit)s
            """,
            {"client_id": client_id, "limit": limit, "after": cursor.key[0] if cursor else None},
            prepare=False,
        )
        return await rows.fetchall()


async def count_sites(connection: AsyncConnection, *, client_id: int | None) -> int:
    """How many sites there are, of one client or in all."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM site
         WHERE %(client_id)s::bigint IS NULL OR client_id = %(client_id)s
        """,
        {"client_id": client_id},
    )


async def get_site(connection: AsyncConnection, site_id: str) -> Site | None:
    """One site."""
    async with connection.cursor(row_factory=class_row(Site)) as rows:
        await rows.execute(
            """
            SELECT site.id, client_id, client.name AS client, site.name, time_zone, static,
                   created_at, updated_at
              FROM site JOIN client ON client.id = client_id WHERE site.id = %s
            """,
            (site_id,),
        )
        return await rows.fetchone()


async def lock_site(connection: AsyncConnection, site_id: str) -> Site | None:
    """One site, locked until the transaction ends."""
    async with connection.cursor(row_factory=class_row(Site)) as rows:
        await rows.execute(
            """
            SELECT site.id, client_id, client.name AS client, site.name, time_zone, static,
                   created_at, updated_at
              FROM site JOIN client ON client.id = client_id WHERE site.id = %s
               FOR UPDATE OF site
            """,
            (site_id,),
        )
        return await rows.fetchone()


async def insert_site(
    connection: AsyncConnection,
    *,
    site_id: str,
    client_id: int,
    name: str,
    time_zone: str,
    static: dict[str, Any],
) -> bool:
    """A new site; False when the id is taken."""
    cursor = await connection.execute(
        """
        INSERT INTO site (id, client_id, name, time_zone, static)
        VALUES (%(id)s, %(client_id)s, %(name)s, %(time_zone)s, %(static)s)
        ON CONFLICT (id) DO NOTHING
        """,
        {
            "id": site_id,
            "client_id": client_id,
            "name": name,
            "time_zone": time_zone,
            "static": Jsonb(static),
        },
    )
    return cursor.rowcount == 1


async def update_site(
    connection: AsyncConnection,
    *,
    site_id: str,
    client_id: int,
    name: str,
    time_zone: str,
    static: dict[str, Any],
) -> None:
    """Change a site; its stations and limits go with it to another client, in the same statement,
    since none may belong to a client without the others, and the access of the former client's
    groups ends. Sessions keep the client of their start."""
    await connection.execute(
        """
        WITH moved AS (
            UPDATE station SET client_id = %(client_id)s, updated_at = now()
             WHERE site_id = %(id)s AND client_id <> %(client_id)s
        ), limits AS (
            UPDATE power_limit SET client_id = %(client_id)s
             WHERE site_id = %(id)s AND client_id <> %(client_id)s
        ), left_behind AS (
            UPDATE group_access a SET retired_at = now()
              FROM driver_group g
             WHERE a.site_id = %(id)s AND a.retired_at IS NULL
               AND g.id = a.group_id AND g.client_id <> %(client_id)s
        )
        UPDATE site
           SET client_id = %(client_id)s, name = %(name)s, time_zone = %(time_zone)s,
               static = %(static)s, updated_at = now()
         WHERE id = %(id)s
        """,
        {
            "id": site_id,
            "client_id": client_id,
            "name": name,
            "time_zone": time_zone,
            "static": Jsonb(static),
        },
    )
