"""What the API is asked about: clients, sites, stations, drivers and many sessions, made by SQL.

All of it is computed from row numbers, so that two runs ask about the same things. Clients are of
unequal size, as they are: the first has a tenth of the stations, the rest share what remains. The
last one is quiet: its sessions are the oldest of all, and it has had none since.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection

MANAGED = "Client 2"  # the manager's
_VALUES_PER_READING = 8


@dataclass(frozen=True, kw_only=True)
class World:
    """How much of everything."""

    stations: int
    sessions: int
    read_sessions: int  # how many of the newest sessions have meter readings

    @property
    def clients(self) -> int:
        """Beside the operator; one has ten stations, more or less."""
        return max(3, self.stations // 10)

    @property
    def sites(self) -> int:
        """Two of each client."""
        return 2 * self.clients

    @property
    def drivers(self) -> int:
        """Five to a station, each with a badge."""
        return 5 * self.stations

    @property
    def syndic_clients(self) -> int:
        """How many co-ownerships one manager looks after at most."""
        return max(2, self.clients // 5)

    def parameters(self) -> dict[str, int]:
        """By the names that the statements below use."""
        names = ("clients", "sites", "drivers", "stations", "sessions", "read_sessions")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Things:
    """Of one client, a few of each, by the identifiers that addresses take."""

    sites: list[str]
    stations: list[str]
    sessions: list[str]  # the newest with readings
    badges: list[str]


@dataclass(frozen=True)
class Caller:
    """Somebody who asks, by her bearer token."""

    name: str
    bearer: str


# Client n of `clients` (1 ... n); its id is read back by its name, for the operator's has one too.
_STATEMENTS: tuple[tuple[str, LiteralString], ...] = (
    (
        "clients and sites",
        """
        INSERT INTO client (name)
        SELECT 'Client ' || n FROM generate_series(1, %(clients)s) AS n
        """,
    ),
    (
        "",
        """
        INSERT INTO site (id, client_id, name, static)
        SELECT 'site-' || n, c.id, 'Site ' || n,
               jsonb_build_object('address', n || ' rue Exemple', 'postal_code', '75001',
                                  'city', 'Paris', 'insee_code', '75101',
                                  'latitude', 48.5 + n %% 1000 / 1000.0,
                                  'longitude', 2.0 + n / 1000 / 1000.0)
          FROM generate_series(1, %(sites)s) AS n
          JOIN client c ON c.name = 'Client ' || ((n - 1) %% %(clients)s + 1)
        """,
    ),
    (
        "stations",  # a tenth of them at the two sites of client 1
        """
        INSERT INTO station (id, client_id, site_id, protocol, vendor, model, serial, public)
        SELECT 'AP' || to_char(n, 'FM00000'), site.client_id, site.id,
               CASE n %% 2 WHEN 0 THEN 'ocpp1.6' ELSE 'ocpp2.0.1' END, 'Vendor ' || n %% 7,
               'Model ' || n %% 23, 'S' || n, n %% 3 = 0
          FROM generate_series(1, %(stations)s) AS n
          JOIN site ON site.id = 'site-' || CASE
                  WHEN n %% 10 = 0 THEN 1 + n / 10 %% 2 * %(clients)s
                  ELSE 1 + (n / 10 * 9 + n %% 10) %% %(sites)s END
        """,
    ),
    (
        "",
        """
        INSERT INTO evse (station_key, evse_id, evse_uid, power_w_max, status, status_at)
        SELECT s.station_key, e, 'FRXYZE' || s.station_key || 'N' || e, 7400,
               CASE (s.station_key + e) %% 4 WHEN 0 THEN 'charging' ELSE 'available' END, now()
          FROM station s, generate_series(1, 2) AS e
        """,
    ),
    (
        "",
        """
        INSERT INTO connector (station_key, evse_id, connector_id, type, power_w_max, status)
        SELECT station_key, evse_id, 1, 'sType2', 7400, status FROM evse
        """,
    ),
    (
        "",
        """
        INSERT INTO station_connection (station_key, node, generation, protocol, remote_address,
                                        connected_at, last_seen_at, disconnected_at)
        SELECT station_key, 'bench', 1, protocol, '192.0.2.1', now() - interval '1 day', now(),
               CASE WHEN station_key %% 20 = 0 THEN now() END
          FROM station
        """,
    ),
    (
        "",
        """
        INSERT INTO power_limit (client_id, site_id, limit_w, from_at)
        SELECT client_id, id, 36000, now() - interval '1 year' FROM site
        """,
    ),
    (
        "drivers, badges and groups",
        """
        INSERT INTO person (email, given_name, family_name)
        SELECT 'driver-' || n || '@example.org', 'Driver', n::text
          FROM generate_series(1, %(drivers)s) AS n
        """,
    ),
    (
        "",
        """
        INSERT INTO driver (person_id, billing_name)
        SELECT id, 'Driver ' || family_name FROM person WHERE email LIKE 'driver-%%'
        """,
    ),
    (
        "",
        """
        INSERT INTO driver_group (client_id, name, kind)
        SELECT id, 'Residents', 'residents' FROM client WHERE NOT is_operator
        """,
    ),
    (
        "",
        """
        INSERT INTO group_access (group_id, client_id, site_id)
        SELECT g.id, g.client_id, s.id FROM driver_group g JOIN site s USING (client_id)
        """,
    ),
    (
        "",
        """
        INSERT INTO group_member (group_id, person_id, from_at)
        SELECT g.id, p.id, now() - interval '4 years'
          FROM person p
          JOIN client c ON c.name = 'Client ' || (p.family_name::integer %% %(clients)s + 1)
          JOIN driver_group g ON g.client_id = c.id
         WHERE p.email LIKE 'driver-%%'
        """,
    ),
    (
        "",
        """
        INSERT INTO token (uid_key, uid)
        SELECT lower(uid), uid
          FROM (SELECT 'AB' || to_char(n, 'FM000000') AS uid
                  FROM generate_series(1, %(drivers)s) AS n) AS badge
        """,
    ),
    (
        "",
        """
        INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
        SELECT t.token_key, t.uid_key, p.id, now() - interval '4 years'
          FROM token t JOIN person p ON p.email = 'driver-' || substr(t.uid, 3)::integer
                                                  || '@example.org'
        """,
    ),
    # Three years of sessions, rising with their ids; the newest hundred (or less) are open. The
    # quiet client's stations had theirs in the first tenth of that time.
    (
        "sessions",
        """
        INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id,
                             evse_id, connector_id, token_uid, token_type, authorization_status,
                             state, started_at, ended_at, stated_started_at, stated_ended_at,
                             received_start_at, received_end_at, meter_start_wh, meter_stop_wh,
                             energy_wh, last_register_wh, last_register_at, readings_from_at,
                             readings_to_at, stop_reason, flags)
        SELECT 1000 + n, s.client_id, s.site_id, s.station_key, n::text, n::text,
               1 + n %% 2, 1, 'AB' || to_char(1 + n * 7919 %% %(drivers)s, 'FM000000'),
               'ISO14443', 'Accepted', CASE WHEN is_open THEN 'active' ELSE 'ended' END,
               at, CASE WHEN NOT is_open THEN at + duration END, at,
               CASE WHEN NOT is_open THEN at + duration END, at,
               CASE WHEN NOT is_open THEN at + duration END, n * 10.0, n * 10.0 + 11000,
               11000, n * 10.0 + 11000, at + duration, at, at + duration,
               CASE WHEN NOT is_open THEN 'Local' END,
               CASE WHEN n %% 97 = 0 THEN '{clock}'::text[] ELSE '{}' END
          FROM (SELECT n::bigint,
                       now() - interval '3 years' * (1 - n / %(sessions)s::float8)
                             - interval '5 hours' AS at,
                       interval '1 hour' * (1 + n %% 4) AS duration,
                       n > %(sessions)s - least(100, %(sessions)s / 10) AS is_open,
                       CASE WHEN n <= %(sessions)s / 10 OR station.client_id <> quiet.id
                            THEN station.station_key ELSE other.station_key END AS station_key
                  FROM generate_series(1, %(sessions)s) AS n
                  JOIN station ON station.id = 'AP' || to_char(
                          1 + n::bigint * 1013 %% %(stations)s, 'FM00000')
                  JOIN client quiet ON quiet.name = 'Client ' || %(clients)s
                  JOIN station other ON other.id = 'AP00010') AS made
          JOIN station s USING (station_key)
        """,
    ),
    (
        "meter values",
        """
        WITH profile AS (
            INSERT INTO meter_profile (key, measurands, phases, units, contexts, locations)
            VALUES ('bench', '{Energy.Active.Import.Register,Power.Active.Import,Current.Import,
                               Current.Import,Current.Import,Voltage,Voltage,Voltage}',
                    '{"","",L1,L2,L3,L1,L2,L3}', '{Wh,W,A,A,A,V,V,V}',
                    array_fill('Sample.Periodic'::text, '{8}'), array_fill('Outlet'::text, '{8}'))
            RETURNING id
        )
        INSERT INTO meter_reading (station_key, stated_at, digest, at, received_at, session_id,
                                   evse_id, connector_id, profile_id, samples)
        SELECT x.station_key, at, x.id, at, at, x.id, x.evse_id, 1, profile.id,
               ARRAY[meter_start_wh + 500 * m, 7300, 10.6, 10.5, 10.7, 231, 230, 232]
          FROM profile, session x, generate_series(0, 15) AS m
         CROSS JOIN LATERAL (SELECT x.started_at + (x.last_register_at - x.started_at) * m / 15.0
                                    AS at) AS moment
         WHERE x.id > 1000 + %(sessions)s - %(read_sessions)s
        """,
    ),
)


async def fill(
    connection: AsyncConnection, world: World, tell: Callable[[str], None]
) -> dict[str, int]:
    """Make all of it, as the owner, and count it: rows by table.

    Raises: psycopg.Error.
    """
    for name, statement in _STATEMENTS:
        if name:
            tell(f"api: {name}")
        await connection.execute(statement, world.parameters())
    await connection.execute("VACUUM (ANALYZE)")
    cursor = await connection.execute(
        """
        SELECT (SELECT count(*) FROM client), (SELECT count(*) FROM site),
               (SELECT count(*) FROM station), (SELECT count(*) FROM driver),
               (SELECT count(*) FROM session),
               (SELECT count(*) FROM meter_reading) * %s
        """,
        (_VALUES_PER_READING,),
    )
    row = await cursor.fetchone()
    assert row is not None
    names = ("clients", "sites", "stations", "drivers", "sessions", "meter_values")
    return dict(zip(names, row, strict=True))


async def things_of(connection: AsyncConnection, client: str) -> Things:
    """What the client has."""
    cursor = await connection.execute(
        """
        SELECT array(SELECT id FROM site WHERE client_id = c.id ORDER BY id LIMIT 50),
               array(SELECT id FROM station WHERE client_id = c.id ORDER BY id LIMIT 50),
               array(SELECT x.id::text FROM session x
                      WHERE client_id = c.id
                        AND EXISTS (SELECT FROM meter_reading r
                                     WHERE r.session_id = x.id AND r.station_key = x.station_key
                                       AND r.stated_at >= x.readings_from_at)
                      ORDER BY started_at DESC LIMIT 50),
               array(SELECT DISTINCT token_uid FROM session WHERE client_id = c.id
                      ORDER BY token_uid LIMIT 50)
          FROM client c WHERE name = %s
        """,
        (client,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return Things(*row)


async def log_in(connection: AsyncConnection, world: World) -> dict[str, Caller]:
    """Callers of each kind, by name: operator, by a key; a manager of one client, of the quiet
    one, and of a fifth of all (syndic); a driver."""
    key = "t2p_" + secrets.token_urlsafe(32)
    await connection.execute(
        "INSERT INTO api_key (name, role, key_sha256, scopes) VALUES ('bench', 'operator', %s, %s)",
        (_digest(key), ["read"]),
    )
    callers = {"operator": Caller("operator", key)}
    managed = {
        "manager": (2, 2),
        "quiet manager": (world.clients, world.clients),
        "syndic": (1, world.syndic_clients),
    }
    for name, (first, last) in managed.items():
        person_id = await _one(
            connection, "INSERT INTO person (given_name) VALUES (%s) RETURNING id", name
        )
        await connection.execute(
            """
            INSERT INTO client_manager (person_id, client_id, granted_by, from_at)
            SELECT %s, c.id, 'bench', now() - interval '1 year'
              FROM generate_series(%s::integer, %s::integer) AS n
              JOIN client c ON c.name = 'Client ' || n
            """,
            (person_id, first, last),
        )
        callers[name] = await _logged_in(connection, name, person_id)
    driver_id = await _one(
        connection, "SELECT id FROM person WHERE email = %s", "driver-7@example.org"
    )
    callers["driver"] = await _logged_in(connection, "driver", driver_id)
    await connection.execute("ANALYZE person, client_manager, login_session, api_key")
    return callers


async def _logged_in(connection: AsyncConnection, name: str, person_id: int) -> Caller:
    token = "t2a_" + secrets.token_urlsafe(32)
    await connection.execute(
        """
        INSERT INTO login_session (person_id, kind, secret_sha256, secret_expires_at,
                                   created_at, last_used_at, remote_address)
        VALUES (%s, 'api', %s, now() + interval '1 day', now(), now(), '')
        """,
        (person_id, _digest(token)),
    )
    return Caller(name, token)


async def _one(connection: AsyncConnection, statement: LiteralString, value: Any) -> int:
    cursor = await connection.execute(statement, (value,))
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


def _digest(secret: str) -> bytes:
    """The form in which the product keeps secrets of 256 bits."""
    return hashlib.sha256(secret.encode()).digest()
