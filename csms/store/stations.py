"""SQL of stations, their EVSEs and connectors, and what was seen of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from csms.store.paging import Cursor, fetch_count


@dataclass(frozen=True, slots=True)
class StationConfig:
    """What people decide of a station: one row, written whole."""

    id: str
    client_id: int
    site_id: str | None
    protocol: str | None  # None: whatever it speaks
    security_profile: int
    password_hash: str | None
    boot_status: str
    auto_configure: bool
    public: bool
    ping_interval_s: float | None  # None: the gateway's setting
    compression: bool
    vendor: str | None
    model: str | None
    serial: str | None
    static: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Station:
    """A station as people see it: decided, reported, connected."""

    id: str
    client_id: int
    client: str
    site_id: str | None
    protocol: str | None
    security_profile: int
    has_password: bool
    boot_status: str
    auto_configure: bool
    public: bool
    ping_interval_s: float | None
    compression: bool
    vendor: str | None
    model: str | None
    serial: str | None
    reported_serial: str | None
    firmware: str | None
    status: str | None
    status_at: datetime | None
    clock_skew_s: float | None
    booted_at: datetime | None
    connected: bool
    connected_protocol: str | None  # what it speaks on its present connection
    connected_at: datetime | None
    last_seen_at: datetime | None
    remote_address: str | None
    node: str | None
    evses: list[dict[str, Any]]
    static: dict[str, Any]
    created_at: datetime
    updated_at: datetime


async def list_stations(
    connection: AsyncConnection,
    *,
    station_id: str | None = None,
    site_id: str | None = None,
    connected: bool | None = None,
    search: str | None = None,
    limit: int = 1,
    cursor: Cursor | None = None,
) -> list[Station]:
    """Up to `limit` stations by id; `search` is found in id, vendor, model and serial."""
    async with connection.cursor(row_factory=class_row(Station)) as rows:
        await rows.execute(
            """
            WITH page AS (
                SELECT s.station_key, s.id, s.client_id, s.site_id, s.protocol,
                       s.security_profile, s.has_password, s.boot_status, s.auto_configure,
                       s.public, s.ping_interval_s, s.compression, s.vendor, s.model, s.serial,
                       s.reported_serial, s.firmware, s.status, s.status_at, s.clock_skew_s,
                       s.booted_at, s.static, s.created_at, s.updated_at,
                       c.node, c.remote_address, c.last_seen_at, c.connected_at,
                       c.protocol AS connected_protocol,
                       (c.station_key IS NOT NULL AND c.disconnected_at IS NULL) AS connected
                  FROM station s LEFT JOIN station_connection c USING (station_key)
                 WHERE s.retired_at IS NULL
                   AND (%(id)s::text IS NULL OR s.id = %(id)s)
                   AND (%(site_id)s::text IS NULL OR s.site_id = %(site_id)s)
                   AND (%(connected)s::boolean IS NULL OR %(connected)s =
                        (c.station_key IS NOT NULL AND c.disconnected_at IS NULL))
                   AND (%(search)s::text IS NULL OR strpos(lower(concat_ws(
                        ' ', s.id, s.vendor, s.model, s.serial, s.reported_serial)),
                        lower(%(search)s)) > 0)
                   AND (%(after)s::text IS NULL OR s.id > %(after)s)
                 ORDER BY s.id LIMIT %(limit)s
            )
            SELECT page.id, page.client_id, client.name AS client, site_id, protocol,
                   security_profile, has_password, boot_status,
                   auto_configure, public, ping_interval_s, compression, vendor, model, serial,
                   reported_serial, firmware, status, status_at, clock_skew_s, booted_at, connected,
                   CASE WHEN connected THEN connected_protocol END AS connected_protocol,
                   CASE WHEN connected THEN connected_at END AS connected_at,
                   last_seen_at, remote_address, node, static, created_at, updated_at,
                   (SELECT coalesce(jsonb_agg(jsonb_build_object(
                               'evse_id', e.evse_id, 'evse_uid', e.evse_uid,
                               'public', coalesce(e.public, page.public),
                               'power_w_max', e.power_w_max, 'static', e.static,
                               'status', e.status,
                               'status_at', e.status_at, 'connectors',
                               (SELECT coalesce(jsonb_agg(jsonb_build_object(
                                           'connector_id', k.connector_id, 'status', k.status,
                                           'status_at', k.status_at, 'error_code', k.error_code,
                                           'type', k.type, 'power_w_max', k.power_w_max)
                                           ORDER BY k.connector_id), '[]')
                                  FROM connector k
                                 WHERE (k.station_key, k.evse_id) = (e.station_key, e.evse_id)))
                               ORDER BY e.evse_id), '[]')
                      FROM evse e WHERE e.station_key = page.station_key) AS evses
              FROM page JOIN client ON client.id = page.client_id ORDER BY page.id
            """,
            {
                "id": station_id,
                "site_id": site_id,
                "connected": connected,
                "search": search,
                "limit": limit,
                "after": cursor.key[0] if cursor else None,
            },
            prepare=False,
        )
        return await rows.fetchall()


async def count_stations(
    connection: AsyncConnection,
    *,
    site_id: str | None = None,
    connected: bool | None = None,
    search: str | None = None,
) -> int:
    """How many stations the filters of `list_stations` leave."""
    return await fetch_count(
        connection,
        """
        SELECT count(*) FROM station s LEFT JOIN station_connection c USING (station_key)
         WHERE s.retired_at IS NULL
           AND (%(site_id)s::text IS NULL OR s.site_id = %(site_id)s)
           AND (%(connected)s::boolean IS NULL OR %(connected)s =
                (c.station_key IS NOT NULL AND c.disconnected_at IS NULL))
           AND (%(search)s::text IS NULL OR strpos(lower(concat_ws(
                ' ', s.id, s.vendor, s.model, s.serial, s.reported_serial)),
                        lower(%(search)s)) > 0)
        """,
        {"site_id": site_id, "connected": connected, "search": search},
    )


async def get_station(connection: AsyncConnection, station_id: str) -> Station | None:
    """One station; None when there is none or it is retired."""
    found = await list_stations(connection, station_id=station_id)
    return found[0] if found else None


async def lock_config(connection: AsyncConnection, station_id: str) -> StationConfig | None:
    """The station's configuration, locked until the transaction ends; None as `get_station`."""
    async with connection.cursor(row_factory=class_row(StationConfig)) as rows:
        await rows.execute(
            """
            SELECT id, client_id, site_id, protocol, security_profile, password_hash, boot_status,
                   auto_configure, public, ping_interval_s, compression, vendor, model, serial,
                   static
              FROM station WHERE id = %s AND retired_at IS NULL FOR UPDATE
            """,
            (station_id,),
        )
        return await rows.fetchone()


async def write_config(
    connection: AsyncConnection, config: StationConfig, *, replace: bool
) -> int | None:
    """Create the station or, with `replace`, overwrite it; a retired one comes back. Returns its
    key, None when it exists and may not be replaced."""
    cursor = await connection.execute(
        """
        INSERT INTO station (id, client_id, site_id, protocol, security_profile, password_hash,
                             boot_status, auto_configure, public, ping_interval_s, compression,
                             vendor, model, serial, static)
        VALUES (%(id)s, %(client_id)s, %(site_id)s, %(protocol)s, %(security_profile)s,
                %(password_hash)s, %(boot_status)s, %(auto_configure)s, %(public)s,
                %(ping_interval_s)s, %(compression)s, %(vendor)s, %(model)s, %(serial)s,
                %(static)s)
        ON CONFLICT (id) DO UPDATE
           SET client_id = EXCLUDED.client_id, site_id = EXCLUDED.site_id,
               protocol = EXCLUDED.protocol, security_profile = EXCLUDED.security_profile,
               password_hash = EXCLUDED.password_hash,
               password_hash_next = CASE WHEN station.password_hash
                                              IS NOT DISTINCT FROM EXCLUDED.password_hash
                                         THEN station.password_hash_next END,
               boot_status = EXCLUDED.boot_status,
               auto_configure = EXCLUDED.auto_configure, public = EXCLUDED.public,
               ping_interval_s = EXCLUDED.ping_interval_s, compression = EXCLUDED.compression,
               vendor = EXCLUDED.vendor, model = EXCLUDED.model, serial = EXCLUDED.serial,
               static = EXCLUDED.static, updated_at = now(), retired_at = NULL
         WHERE %(replace)s OR station.retired_at IS NOT NULL
        RETURNING station_key
        """,
        {
            "id": config.id,
            "client_id": config.client_id,
            "site_id": config.site_id,
            "protocol": config.protocol,
            "security_profile": config.security_profile,
            "password_hash": config.password_hash,
            "boot_status": config.boot_status,
            "auto_configure": config.auto_configure,
            "public": config.public,
            "ping_interval_s": config.ping_interval_s,
            "compression": config.compression,
            "vendor": config.vendor,
            "model": config.model,
            "serial": config.serial,
            "static": Jsonb(config.static),
            "replace": replace,
        },
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def retire_station(connection: AsyncConnection, station_id: str, now: datetime) -> bool:
    """Retire a station; False when there is none. Its sessions and journal stay."""
    cursor = await connection.execute(
        """
        UPDATE station SET retired_at = %(now)s, updated_at = %(now)s
         WHERE id = %(id)s AND retired_at IS NULL
        """,
        {"id": station_id, "now": now},
    )
    return cursor.rowcount == 1


async def lock_evses(connection: AsyncConnection, station_key: int) -> list[dict[str, Any]]:
    """The station's EVSEs as they stand, by number, locked: evse_id, evse_uid, public,
    power_w_max, static, connectors ([{connector_id, type, power_w_max}])."""
    async with connection.cursor(row_factory=dict_row) as rows:
        await rows.execute(
            """
            SELECT e.evse_id, e.evse_uid, e.public, e.power_w_max, e.static,
                   (SELECT coalesce(jsonb_agg(jsonb_build_object(
                               'connector_id', k.connector_id, 'type', k.type,
                               'power_w_max', k.power_w_max) ORDER BY k.connector_id), '[]')
                      FROM connector k
                     WHERE (k.station_key, k.evse_id) = (e.station_key, e.evse_id)) AS connectors
              FROM evse e WHERE e.station_key = %s ORDER BY e.evse_id FOR UPDATE OF e
            """,
            (station_key,),
        )
        return await rows.fetchall()


async def release_uids(
    connection: AsyncConnection, station_key: int, evses: list[dict[str, Any]]
) -> None:
    """Take from the station's EVSEs the identifiers that the list gives to others of them."""
    await connection.execute(
        """
        UPDATE evse SET evse_uid = NULL
          FROM jsonb_to_recordset(%(evses)s) AS wanted (evse_id integer, evse_uid text)
         WHERE station_key = %(station_key)s AND evse.evse_uid = wanted.evse_uid
           AND evse.evse_id <> wanted.evse_id
        """,
        {"station_key": station_key, "evses": Jsonb(evses)},
    )


async def delete_other_evses(
    connection: AsyncConnection, station_key: int, evses: list[dict[str, Any]]
) -> None:
    """Remove the station's EVSEs that the list does not name, with their connectors."""
    await connection.execute(
        """
        DELETE FROM evse
         WHERE station_key = %(station_key)s AND evse_id NOT IN (
               SELECT wanted.evse_id
                 FROM jsonb_to_recordset(%(evses)s) AS wanted (evse_id integer))
        """,
        {"station_key": station_key, "evses": Jsonb(evses)},
    )


async def delete_other_connectors(
    connection: AsyncConnection, station_key: int, evses: list[dict[str, Any]]
) -> None:
    """Remove the connectors that the list does not name."""
    await connection.execute(
        """
        DELETE FROM connector
         WHERE station_key = %(station_key)s AND (evse_id, connector_id) NOT IN (
               SELECT e.evse_id, k.connector_id
                 FROM jsonb_to_recordset(%(evses)s) AS e (evse_id integer, connectors jsonb),
                      jsonb_to_recordset(e.connectors) AS k (connector_id integer))
        """,
        {"station_key": station_key, "evses": Jsonb(evses)},
    )


async def write_evses(
    connection: AsyncConnection, station_key: int, evses: list[dict[str, Any]]
) -> None:
    """Create or overwrite EVSEs: evse_id, evse_uid, public, power_w_max, static; their status
    stays."""
    await connection.execute(
        """
        INSERT INTO evse (station_key, evse_id, evse_uid, public, power_w_max, static)
        SELECT %(station_key)s, e.evse_id, e.evse_uid, e.public, e.power_w_max, e.static
          FROM jsonb_to_recordset(%(evses)s)
               AS e (evse_id integer, evse_uid text, public boolean, power_w_max integer,
                     static jsonb)
        ON CONFLICT (station_key, evse_id) DO UPDATE
           SET evse_uid = EXCLUDED.evse_uid, public = EXCLUDED.public,
               power_w_max = EXCLUDED.power_w_max, static = EXCLUDED.static
        """,
        {"station_key": station_key, "evses": Jsonb(evses)},
    )


async def write_connectors(
    connection: AsyncConnection, station_key: int, evses: list[dict[str, Any]]
) -> None:
    """Create or overwrite the EVSEs' connectors: type, power_w_max; their status stays."""
    await connection.execute(
        """
        INSERT INTO connector (station_key, evse_id, connector_id, type, power_w_max)
        SELECT %(station_key)s, e.evse_id, k.connector_id, k.type, k.power_w_max
          FROM jsonb_to_recordset(%(evses)s) AS e (evse_id integer, connectors jsonb),
               jsonb_to_recordset(e.connectors)
               AS k (connector_id integer, type text, power_w_max integer)
        ON CONFLICT (station_key, evse_id, connector_id) DO UPDATE
           SET type = EXCLUDED.type, power_w_max = EXCLUDED.power_w_max
        """,
        {"station_key": station_key, "evses": Jsonb(evses)},
    )


async def notify_station(connection: AsyncConnection, station_id: str) -> None:
    """Tell the gateways at commit that the station changed."""
    await connection.execute("SELECT pg_notify('t2p_station', %s)", (station_id,))
