"""Two clients with their sites, points and managers, and what happened there, as rows: for tests of
the reports. Moments are those of Paris, as "2026-10-05 08:00"."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from psycopg_pool import AsyncConnectionPool

from csms import db
from csms.config import Settings
from csms.db import Database
from csms.web.app import create_app
from tests.people import Person, add_manager

PARIS = ZoneInfo("Europe/Paris")
PLACES = """
INSERT INTO client (name) VALUES ('Les Tilleuls'), ('Les Ormes');
INSERT INTO site (id, client_id, name)
    SELECT lower(replace(name, 'Les ', '')), id, 'Garage ' || replace(name, 'Les ', '')
      FROM client WHERE NOT is_operator;
INSERT INTO station (id, client_id, site_id)
    SELECT CASE s.id WHEN 'tilleuls' THEN 'CP-1' ELSE 'CP-9' END, s.client_id, s.id
      FROM site s ORDER BY s.client_id;
INSERT INTO evse (station_key, evse_id)
    SELECT station_key, n FROM station, generate_series(1, 2) n WHERE id = 'CP-1' OR n = 1;
INSERT INTO connector (station_key, evse_id, connector_id)
    SELECT station_key, evse_id, 1 FROM evse;
"""


def paris(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS)


async def run(database: Database, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
    """A statement as the owner; its rows, if it has any."""
    async with await db.connect(database, owner=True) as connection:
        cursor = await connection.execute(statement.encode(), values)
        return await cursor.fetchall() if cursor.description else []


async def add_places(database: Database) -> None:
    """The client Les Tilleuls with the station CP-1 of two points, and Les Ormes with CP-9 of
    one."""
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(PLACES.encode())


async def client_id_of(database: Database, name: str) -> int:
    ((found,),) = await run(database, "SELECT id FROM client WHERE name = %s", (name,))
    return int(found)


async def links(database: Database, station_id: str, *changes: tuple[str, bool]) -> None:
    """Its link went up or down then."""
    for at, up in changes:
        await run(
            database,
            """INSERT INTO station_link (station_key, at, up, node)
               SELECT station_key, %s, %s, 'node' FROM station WHERE id = %s""",
            (paris(at), up, station_id),
        )


async def statuses(
    database: Database, station_id: str, evse_id: int, *changes: tuple[str, str]
) -> None:
    """What the station said of a point (0: of itself) then."""
    for at, status in changes:
        await run(
            database,
            """INSERT INTO evse_status (station_key, at, received_at, evse_id, connector_id, status)
               SELECT station_key, %s, %s, %s, %s, %s FROM station WHERE id = %s""",
            (paris(at), paris(at), evse_id, 1 if evse_id else None, status, station_id),
        )


async def add_session(
    database: Database,
    session_id: int,
    started: str,
    ended: str,
    energy_wh: int | None,
    *,
    station_id: str = "CP-1",
    evse_id: int = 1,
    token_uid: str | None = "ABC",
    registers: Sequence[tuple[str, int]] = (),
    state: str = "ended",
) -> None:
    """A session that is over, with what the meter showed meanwhile."""
    await run(
        database,
        """INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id,
                                evse_id, connector_id, token_uid, authorization_status, state,
                                started_at, ended_at, meter_start_wh, meter_stop_wh, energy_wh,
                                readings_from_at, readings_to_at)
           SELECT %(id)s, client_id, site_id, station_key, %(id)s::text, %(id)s::text, %(evse_id)s,
                  1, %(token_uid)s, 'Accepted', %(state)s, %(started_at)s, %(ended_at)s, 1000,
                  1000 + %(energy_wh)s::bigint, %(energy_wh)s, %(first)s, %(last)s
             FROM station WHERE id = %(station_id)s""",
        {
            "id": session_id,
            "evse_id": evse_id,
            "token_uid": token_uid,
            "state": state,
            "started_at": paris(started),
            "ended_at": paris(ended),
            "energy_wh": energy_wh,
            "station_id": station_id,
            "first": min((paris(at) for at, _ in registers), default=None),
            "last": max((paris(at) for at, _ in registers), default=None),
        },
    )
    await run(
        database,
        """INSERT INTO meter_profile (key, measurands, phases, units, contexts, locations)
           VALUES ('register', '{Energy.Active.Import.Register}', '{""}', '{Wh}', '{""}', '{""}')
           ON CONFLICT DO NOTHING""",
    )
    for number, (at, register_wh) in enumerate(registers):
        await run(
            database,
            """INSERT INTO meter_reading (station_key, stated_at, digest, at, received_at,
                                          session_id, evse_id, profile_id, samples)
               SELECT s.station_key, %(at)s, %(digest)s, %(at)s, %(at)s, %(id)s, %(evse_id)s, p.id,
                      ARRAY[%(register_wh)s]::double precision[]
                 FROM station s, meter_profile p
                WHERE s.id = %(station_id)s AND p.key = 'register'""",
            {
                "at": paris(at),
                "digest": session_id * 1_000 + number,
                "id": session_id,
                "evse_id": evse_id,
                "register_wh": register_wh,
                "station_id": station_id,
            },
        )


@asynccontextmanager
async def speaking(
    pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings, bearer: str
) -> AsyncIterator[httpx.AsyncClient]:
    """Whoever has the key or token, before the application."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(pool, settings, people=people)),
        base_url="http://test",
        headers={"Authorization": f"Bearer {bearer}"},
    ) as client:
        yield client


async def manager(database: Database, client: str) -> Person:
    """Who manages this client."""
    return await add_manager(database, client.lower().replace(" ", "-"), client)
