"""People for tests: drivers with groups, badges and log-ins, as rows; and clients that speak HTTP
for them."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from csms import db, principals
from csms.db import Database

SITE = """
INSERT INTO client (name) VALUES ('Résidence Exemple') ON CONFLICT DO NOTHING;
INSERT INTO site (id, client_id, name, static)
    SELECT 'exemple', id, 'Résidence Exemple',
           '{"latitude": 48.85, "longitude": 2.35, "address": "1 rue de l’Exemple",
             "postal_code": "75004", "city": "Paris"}'
      FROM client WHERE name = 'Résidence Exemple' ON CONFLICT DO NOTHING;
INSERT INTO driver_group (client_id, name, kind, reservations_max, reservation_minutes_max)
    SELECT id, 'Résidents', 'residents', 2, 120 FROM client WHERE name = 'Résidence Exemple'
    ON CONFLICT DO NOTHING;
INSERT INTO group_access (group_id, client_id, site_id)
    SELECT g.id, g.client_id, 'exemple' FROM driver_group g
     WHERE NOT EXISTS (SELECT FROM group_access);
"""


@dataclass(frozen=True)
class Person:
    """A person with a log-in."""

    id: int
    token: str  # a bearer token

    def client(self, base_url: str, timeout_s: float = 60.0) -> httpx.AsyncClient:
        """Speaks to /api/v1 for her."""
        return httpx.AsyncClient(
            base_url=f"{base_url}/api/v1",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=timeout_s,
        )


async def add_site(database: Database) -> None:
    """The site `exemple` of a client, with residents who may charge there at all hours."""
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(SITE.encode())


async def add_station(database: Database, station_id: str, evses: int = 1) -> list[str]:
    """A station at that site; the codes of its points."""
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            """
            WITH added AS (
                INSERT INTO station (id, client_id, site_id, auto_configure)
                SELECT %s, client_id, id, false FROM site WHERE id = 'exemple'
                RETURNING station_key)
            INSERT INTO evse (station_key, evse_id)
            SELECT station_key, n FROM added, generate_series(1, %s) n
            """,
            (station_id, evses),
        )
        cursor = await connection.execute(
            """
            SELECT code FROM point JOIN station USING (station_key)
             WHERE id = %s ORDER BY evse_id
            """,
            (station_id,),
        )
        return [row[0] for row in await cursor.fetchall()]


async def log_in(database: Database, person_id: int) -> Person:
    """A log-in of the person's, by a program."""
    token = principals.ACCESS_PREFIX + secrets.token_urlsafe(32)
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            """
            INSERT INTO login_session (person_id, kind, secret_sha256, secret_expires_at,
                                       created_at, last_used_at, second_factor_at, remote_address)
            VALUES (%s, 'api', %s, %s, now(), now(), now(), '127.0.0.1')
            """,
            (person_id, principals.digest(token), datetime.now(UTC) + timedelta(hours=1)),
        )
    return Person(person_id, token)


async def add_person(database: Database, name: str, *roles: str) -> Person:
    """A person, an operator where there are roles."""
    async with await db.connect(database, owner=True) as connection:
        cursor = await connection.execute(
            """
            INSERT INTO person (email, given_name, language, operator_roles)
            VALUES (%s, %s, 'en', %s) RETURNING id
            """,
            (f"{name}@example.org", name, list(roles)),
        )
        row = await cursor.fetchone()
        assert row is not None
    return await log_in(database, row[0])


async def add_manager(database: Database, name: str, client: str) -> Person:
    """A person who manages a client."""
    person = await add_person(database, name)
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            """
            INSERT INTO client_manager (person_id, client_id, from_at, granted_by)
            SELECT %s, id, '2026-01-01', 'test' FROM client WHERE name = %s
            """,
            (person.id, client),
        )
    return person


async def add_driver(database: Database, name: str, *, resident: bool = True) -> Person:
    """A driver, who belongs to the residents or to nobody."""
    person = await add_person(database, name)
    async with await db.connect(database, owner=True) as connection:
        await connection.execute("INSERT INTO driver (person_id) VALUES (%s)", (person.id,))
        if resident:
            await connection.execute(
                """
                INSERT INTO group_member (group_id, person_id, from_at)
                SELECT id, %s, '2026-01-01' FROM driver_group WHERE name = 'Résidents'
                """,
                (person.id,),
            )
    return person


async def add_badge(database: Database, person: Person, uid: str) -> None:
    """A badge that has been hers for long."""
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            "INSERT INTO token (uid_key, uid) VALUES (lower(%s), %s)", (uid, uid)
        )
        await connection.execute(
            """
            INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
            SELECT token_key, uid_key, %s, '2026-01-01' FROM token WHERE uid = %s
            """,
            (person.id, uid),
        )
