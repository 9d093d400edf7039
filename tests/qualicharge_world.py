"""A small world for tests of outlets: public and private points, a clock, the simulated peer."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from psycopg_pool import AsyncConnectionPool

from csms import registry
from csms.config import Settings
from csms.db import transaction
from csms.store import sites
from reporting import outlet, qualicharge
from reporting.outlet import Done
from reporting.qualicharge_client import Client
from simulators.qualicharge_peer import QualiChargePeer

SITE: Final[dict[str, Any]] = {
    "owner_name": "SDC Les Tilleuls",
    "owner_siren": "999000003",
    "owner_email": "syndic@example.org",
    "operator_name": "Opérateur de démonstration",
    "operator_siren": "999000011",
    "operator_email": "contact@example.org",
    "operator_phone": "+33184710062",
    "brand_name": "Réseau Exemple",
    "afirev_station_id": "FRT2PPTILLEULS",
    "implantation": "private_parking_public_use",
    "address": "12 rue des Tilleuls",
    "postal_code": "69003",
    "city": "Lyon",
    "insee_code": "69383",
    "longitude": 4.85,
    "latitude": 45.76,
    "opening_hours": "24/7",
    "access": "reserved",
    "two_wheelers_only": False,
    "grid_connection": "indirect",
    "pmr_access": "unknown",
    "reservation": False,
    "pays_ad_hoc": True,
    "commissioned_on": "2026-01-05",
}


class Clock:
    """The time of a test: it goes on by itself while somebody sleeps."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC) + timedelta(seconds=5)

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, delay_s: float) -> None:
        """Sleep at once."""
        self.now += timedelta(seconds=delay_s)
        await asyncio.sleep(0)

    def go_on(self, **span: float) -> None:
        """Later."""
        self.now += timedelta(**span)


def name_of(number: int) -> str:
    """The identifier of a point."""
    return f"FRT2PE{number}"


class World:
    """Points 1 to n of station CP-1, one an EVSE; what happens at them, and to whom it is told."""

    def __init__(
        self, pool: AsyncConnectionPool, settings: Settings, peer: QualiChargePeer, clock: Clock
    ) -> None:
        self.pool, self.settings, self.peer, self.clock = pool, settings, peer, clock
        self._session = 1000

    async def build(self, public: Sequence[int], private: Sequence[int] = ()) -> None:
        """A site and its station with these points."""
        async with transaction(self.pool) as connection:
            client = await sites.insert_client(connection, "Les Tilleuls")
            assert client is not None
            await sites.insert_site(
                connection,
                site_id="tilleuls",
                client_id=client.id,
                name="Parking des Tilleuls",
                time_zone="Europe/Paris",
                static=SITE,
            )
            evses = [
                {
                    "evse_id": number,
                    "evse_uid": name_of(number),
                    "public": number in public,
                    "power_w_max": 22_000,
                    "connectors": [{"connector_id": 1, "type": "sType2", "power_w_max": 22_000}],
                }
                for number in (*public, *private)
            ]
            await registry.create_station(
                connection, "CP-1", {"site_id": "tilleuls", "evses": evses}, length_min=8
            )
            await connection.execute(
                """
                INSERT INTO station_connection (station_key, node, generation, protocol,
                                                remote_address, connected_at, last_seen_at)
                SELECT station_key, 'n', 1, 'ocpp1.6', '127.0.0.1', %(at)s, %(at)s FROM station
                """,
                {"at": self.clock.now},
            )

    async def begin(self, public: Sequence[int], private: Sequence[int] = ()) -> None:
        """As build, and the public ones are declared, with how they stand."""
        await self.build(public, private)
        await self.push()
        await self.push()

    async def do(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """A statement, and its rows."""
        async with transaction(self.pool) as connection:
            cursor = await connection.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def status(self, number: int, status: str) -> datetime:
        """A status of a point, now; its time."""
        self.clock.go_on(seconds=1)
        at = self.clock.now
        await self.do(
            """
            WITH told AS (
                INSERT INTO evse_status (station_key, at, received_at, evse_id, connector_id,
                                         status)
                SELECT station_key, %s, %s, %s, 1, %s FROM station WHERE id = 'CP-1')
            UPDATE evse SET status = %s, status_at = %s WHERE evse_id = %s
            """,
            *(at, at, number, status, status, at, number),
        )
        return at

    async def session(self, number: int, energy_wh: int = 7350, minutes: float = 60) -> int:
        """A session at a point that begins now and ends; its id."""
        self._session += 1
        started_at = self.clock.now
        self.clock.go_on(minutes=minutes)
        await self.do(
            """
            INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id,
                                 evse_id, connector_id, token_uid, authorization_status, state,
                                 started_at, ended_at, energy_wh)
            SELECT %s, client_id, site_id, station_key, %s, %s, %s, 1, 'SECRETBADGE', 'Accepted',
                   'ended', %s, %s, %s
              FROM station WHERE id = 'CP-1'
            """,
            *(self._session, str(self._session), str(self._session), number),
            *(started_at, self.clock.now, energy_wh),
        )
        return self._session

    async def push(self, settings: Settings | None = None) -> Done:
        """A worker that finds and sends what is due, once."""
        chosen = settings or self.settings
        async with Client(chosen) as client:
            found = qualicharge.outlets(chosen, client)
            done = await outlet.deliver(self.pool, chosen, found, self.clock, self.clock.sleep)
        await self.peer.written()
        return done

    async def settle(self, rounds: int = 8) -> None:
        """Push until nothing waits, with time in between for what is tried later."""
        for _ in range(rounds):
            await self.push()
            if not await self.do("SELECT id FROM outlet_item WHERE status = 'waiting'"):
                return
            self.clock.go_on(minutes=20)
        raise AssertionError(await self.items())

    async def items(self) -> list[tuple[Any, ...]]:
        """(outlet, object, kind, status, reason) of all items, in the order of their making."""
        return await self.do(
            "SELECT outlet, object_key, kind, status, reason FROM outlet_item ORDER BY id"
        )

    async def states(self, name: str) -> list[tuple[Any, ...]]:
        """(object, status, reason) of an outlet's items."""
        return [(row[1], row[3], row[4]) for row in await self.items() if row[0].endswith(name)]

    def told(self, number: int) -> list[tuple[str, str]]:
        """(etat, occupation) of a point as the peer has them, in the order of writing."""
        return [
            (row["etat_pdc"], row["occupation_pdc"])
            for row in self.peer.statuses
            if row["id_pdc_itinerance"] == name_of(number)
        ]
