"""SQL of the import: many rows by one statement; records come as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from csms.store.sites import Site
from csms.store.stations import StationConfig


@dataclass(frozen=True, slots=True)
class EvseRow:
    """An EVSE as it stands."""

    station_id: str
    evse_id: int
    evse_uid: str | None
    public: bool | None
    power_w_max: int | None
    static: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ConnectorRow:
    """A connector as it stands."""

    station_id: str
    evse_id: int
    connector_id: int
    type: str | None
    power_w_max: int | None


async def lock_import(connection: AsyncConnection) -> None:
    """Let one import at a time through, until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('t2p import', 0))")


async def fetch_sites(connection: AsyncConnection, ids: Sequence[str]) -> list[Site]:
    """The sites of these ids, locked."""
    async with connection.cursor(row_factory=class_row(Site)) as rows:
        await rows.execute(
            """
            SELECT site.id, client_id, client.name AS client, site.name, time_zone, static,
                   created_at, updated_at
              FROM site JOIN client ON client.id = client_id
             WHERE site.id = ANY (%s) FOR UPDATE OF site
            """,
            (list(ids),),
        )
        return await rows.fetchall()


async def fetch_stations(connection: AsyncConnection, ids: Sequence[str]) -> list[StationConfig]:
    """The stations of these ids that are not retired, locked."""
    async with connection.cursor(row_factory=class_row(StationConfig)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, site_id, protocol, security_profile, password_hash, boot_status,
                   auto_configure, public, ping_interval_s, compression, vendor, model, serial,
                   static
              FROM station WHERE id = ANY (%s) AND retired_at IS NULL FOR UPDATE
            """,
            (list(ids),),
        )
        return await rows.fetchall()


async def fetch_evses(connection: AsyncConnection, ids: Sequence[str]) -> list[EvseRow]:
    """The EVSEs of these stations."""
    async with connection.cursor(row_factory=class_row(EvseRow)) as rows:
        await rows.execute(
            """
            SELECT s.id AS station_id, e.evse_id, e.evse_uid, e.public, e.power_w_max, e.static
              FROM evse e JOIN station s USING (station_key) WHERE s.id = ANY (%s)
             ORDER BY s.id, e.evse_id
            """,
            (list(ids),),
        )
        return await rows.fetchall()


async def fetch_connectors(connection: AsyncConnection, ids: Sequence[str]) -> list[ConnectorRow]:
    """The connectors of these stations."""
    async with connection.cursor(row_factory=class_row(ConnectorRow)) as rows:
        await rows.execute(
            """
            SELECT s.id AS station_id, k.evse_id, k.connector_id, k.type, k.power_w_max
              FROM connector k JOIN station s USING (station_key) WHERE s.id = ANY (%s)
            """,
            (list(ids),),
        )
        return await rows.fetchall()


async def fetch_uid_owners(
    connection: AsyncConnection, uids: Sequence[str]
) -> list[tuple[str, str, int]]:
    """(evse_uid, station, evse_id) of whoever has these uids, stations in force only."""
    cursor = await connection.execute(
        """
        SELECT e.evse_uid, s.id, e.evse_id FROM evse e JOIN station s USING (station_key)
         WHERE e.evse_uid = ANY (%s) AND s.retired_at IS NULL
        """,
        (list(uids),),
    )
    return [
        (str(uid), str(station), int(number)) for uid, station, number in await cursor.fetchall()
    ]


async def fetch_station_id_owners(
    connection: AsyncConnection, identifiers: Sequence[str]
) -> list[tuple[str, str]]:
    """(AFIREV station identifier, site) of whoever has these identifiers."""
    cursor = await connection.execute(
        """
        SELECT static ->> 'afirev_station_id', id FROM site
         WHERE static ->> 'afirev_station_id' = ANY (%s)
        """,
        (list(identifiers),),
    )
    return [(str(identifier), str(site_id)) for identifier, site_id in await cursor.fetchall()]


async def insert_clients(connection: AsyncConnection, names: Sequence[str]) -> int:
    """Create the clients that are new; how many."""
    cursor = await connection.execute(
        "INSERT INTO client (name) SELECT unnest(%s::text[]) ON CONFLICT (name) DO NOTHING",
        (list(names),),
    )
    return cursor.rowcount


async def client_ids(connection: AsyncConnection, names: Sequence[str]) -> dict[str, int]:
    """The clients' ids by name."""
    cursor = await connection.execute(
        "SELECT name, id FROM client WHERE name = ANY (%s)", (list(names),)
    )
    return {str(name): int(client_id) for name, client_id in await cursor.fetchall()}


async def write_sites(connection: AsyncConnection, records: Sequence[dict[str, Any]]) -> None:
    """Create or overwrite sites: id, client_id, name, time_zone, static. Their stations go with
    them to another client, in the same statement."""
    await connection.execute(
        """
        WITH given AS (
            SELECT * FROM jsonb_to_recordset(%s)
                AS g (id text, client_id bigint, name text, time_zone text, static jsonb)
        ), moved AS (
            UPDATE station s SET client_id = g.client_id, updated_at = now()
              FROM given g WHERE s.site_id = g.id AND s.client_id <> g.client_id
        )
        INSERT INTO site (id, client_id, name, time_zone, static)
        SELECT id, client_id, name, time_zone, static FROM given
        ON CONFLICT (id) DO UPDATE
           SET client_id = EXCLUDED.client_id, name = EXCLUDED.name,
               time_zone = EXCLUDED.time_zone, static = EXCLUDED.static, updated_at = now()
        """,
        (Jsonb(list(records)),),
    )


async def write_stations(connection: AsyncConnection, records: Sequence[dict[str, Any]]) -> None:
    """Create or overwrite stations; a retired one comes back. Records are as StationConfig."""
    await connection.execute(
        """
        INSERT INTO station (id, client_id, site_id, protocol, security_profile, password_hash,
                             boot_status, auto_configure, public, ping_interval_s, compression,
                             vendor, model, serial, static)
        SELECT id, client_id, site_id, protocol, security_profile, password_hash, boot_status,
               auto_configure, public, ping_interval_s, compression, vendor, model, serial, static
          FROM jsonb_to_recordset(%s)
               AS g (id text, client_id bigint, site_id text, protocol text,
                     security_profile smallint, password_hash text, boot_status text,
                     auto_configure boolean, public boolean, ping_interval_s real,
                     compression boolean, vendor text, model text, serial text, static jsonb)
        ON CONFLICT (id) DO UPDATE
           SET client_id = EXCLUDED.client_id, site_id = EXCLUDED.site_id,
               protocol = EXCLUDED.protocol, security_profile = EXCLUDED.security_profile,
               password_hash = EXCLUDED.password_hash, boot_status = EXCLUDED.boot_status,
               auto_configure = EXCLUDED.auto_configure, public = EXCLUDED.public,
               ping_interval_s = EXCLUDED.ping_interval_s, compression = EXCLUDED.compression,
               vendor = EXCLUDED.vendor, model = EXCLUDED.model, serial = EXCLUDED.serial,
               static = EXCLUDED.static, updated_at = now(), retired_at = NULL
        """,
        (Jsonb(list(records)),),
    )


async def write_evses(connection: AsyncConnection, records: Sequence[dict[str, Any]]) -> None:
    """Create or overwrite EVSEs: records as EvseRow; their status stays."""
    await connection.execute(
        """
        INSERT INTO evse (station_key, evse_id, evse_uid, public, power_w_max, static)
        SELECT s.station_key, g.evse_id, g.evse_uid, g.public, g.power_w_max, g.static
          FROM jsonb_to_recordset(%s)
               AS g (station_id text, evse_id integer, evse_uid text, public boolean,
                     power_w_max integer, static jsonb)
          JOIN station s ON s.id = g.station_id
        ON CONFLICT (station_key, evse_id) DO UPDATE
           SET evse_uid = EXCLUDED.evse_uid, public = EXCLUDED.public,
               power_w_max = EXCLUDED.power_w_max, static = EXCLUDED.static
        """,
        (Jsonb(list(records)),),
    )


async def write_connectors(connection: AsyncConnection, records: Sequence[dict[str, Any]]) -> None:
    """Create or overwrite connectors: records as ConnectorRow; their status stays."""
    await connection.execute(
        """
        INSERT INTO connector (station_key, evse_id, connector_id, type, power_w_max)
        SELECT s.station_key, g.evse_id, g.connector_id, g.type, g.power_w_max
          FROM jsonb_to_recordset(%s)
               AS g (station_id text, evse_id integer, connector_id integer, type text,
                     power_w_max integer)
          JOIN station s ON s.id = g.station_id
        ON CONFLICT (station_key, evse_id, connector_id) DO UPDATE
           SET type = EXCLUDED.type, power_w_max = EXCLUDED.power_w_max
        """,
        (Jsonb(list(records)),),
    )


async def notify_stations(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """Tell the gateways at commit which stations changed."""
    await connection.execute(
        "SELECT pg_notify('t2p_station', id) FROM unnest(%s::text[]) AS t (id)", (list(ids),)
    )
