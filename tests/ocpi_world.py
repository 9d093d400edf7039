"""A small world for tests of OCPI: our server on a port, the simulated hub, a site that roams."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

from csms import registry
from csms.clients import Actor
from csms.config import Settings
from csms.db import Database, transaction
from csms.store import sites
from csms.web import ocpi_server
from reporting import outlet
from reporting.ocpi import partners, telling
from reporting.outlet import Done
from simulators.ocpi_hub import OcpiHub
from tests import billing_world
from tests.qualicharge_world import SITE, Clock

DESK: Final = Actor("command line")
OWN: Final = ("FR", "T2P")
BADGE: Final = "04A1B2C3D4E5F6"
CONTRACT: Final = "FREMPC12345678X"
CONNECTOR: Final = {
    "connector_id": 1,
    "format": "socket",
    "current": "ac_3_phase",
    "voltage_max_v": 230,
    "current_max_a": 32,
}


def roaming(settings: Settings, **more: Any) -> Settings:
    """Settings of an operator who speaks OCPI on this machine."""
    return replace(
        settings,
        ocpi_party_id="T2P",
        ocpi_hosts="127.0.0.1",
        ocpi_timeout_s=2.0,
        public_url=f"http://127.0.0.1:{settings.http_port}",
        operator_name="Opérateur de démonstration",
        **more,
    )


def name_of(number: int) -> str:
    """The identifier of a point."""
    return f"FRT2PE{number}"


class _Server(uvicorn.Server):
    """One that leaves signals alone, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@asynccontextmanager
async def served(pool: AsyncConnectionPool, settings: Settings) -> AsyncIterator[None]:
    """Our server of OCPI, on the port of the settings."""
    app = FastAPI()
    ocpi_server.install(app, pool, settings)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=settings.http_port, log_level="warning", lifespan="off"
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    await server.up.wait()
    try:
        yield
    finally:
        server.should_exit = True
        await task


class World:
    """Site `tilleuls` with the points 1 to n, told to the partner `hub`."""

    def __init__(
        self,
        database: Database,
        pool: AsyncConnectionPool,
        settings: Settings,
        hub: OcpiHub,
        clock: Clock,
    ) -> None:
        self.database, self.pool, self.settings = database, pool, settings
        self.hub, self.clock = hub, clock
        self.client_id = 0
        self.account = 0
        self._session = 1_000

    async def build(
        self,
        points: int = 2,
        feed: str | None = "roaming",
        *,
        registered: bool = True,
        site: str = "tilleuls",
        public: bool = True,
    ) -> None:
        """As `place`; an account of the partner, and the partner."""
        await self.place(points, site, public=public)
        self.account = await billing_world.add_driver(
            self.database, "partenaire", company="Itinérance Exemple", siren="999000029"
        )
        async with transaction(self.pool) as connection:
            await partners.create(
                connection,
                slug="hub",
                name="Plateforme d’exemple",
                country_code="FR",
                party_id="107",
                person_id=self.account,
                actor=DESK,
                now=self.clock.now,
            )
            if feed is not None:
                before = self.clock.now - timedelta(minutes=1)  # the server has the real time
                await partners.tell_of(connection, "hub", site, feed, DESK, before)
        if registered:
            await self.register()

    async def place(self, points: int, site: str, *, public: bool = True) -> None:
        """A client under mandate with a tariff, and its site with so many points."""
        self.client_id = await billing_world.add_client(self.database, f"SDC {site}")
        await self.do(
            """
            INSERT INTO contract_option (client_id, contract_id, option, from_on)
            SELECT client_id, id, o, '2026-01-01' FROM contract,
                   unnest(ARRAY['gireve', 'mandate', 'driver_app']) o WHERE client_id = %s
            """,
            self.client_id,
        )
        await self.do(
            """
            INSERT INTO tariff_scope (client_id, tariff_id, from_at, created_at, created_by)
            SELECT client_id, id, '2026-01-01', now(), 'test' FROM tariff WHERE client_id = %s
            """,
            self.client_id,
        )
        start = self.client_id * 100
        async with transaction(self.pool) as connection:
            await sites.insert_site(
                connection,
                site_id=site,
                client_id=self.client_id,
                name="Parking des Tilleuls",
                time_zone="Europe/Paris",
                static=SITE | {"afirev_station_id": f"FRT2PP{self.client_id}"},
            )
            evses = [
                {
                    "evse_id": number,
                    "evse_uid": name_of(number if site == "tilleuls" else start + number),
                    "public": public,
                    "power_w_max": 22_000,
                    "connectors": [{"connector_id": 1, "type": "sType2", "power_w_max": 22_000}],
                    "static": {"connectors": [CONNECTOR]},
                }
                for number in range(1, points + 1)
            ]
            await registry.create_station(
                connection,
                f"CP-{site}",
                {"site_id": site, "evses": evses, "auto_configure": False},
                length_min=8,
            )
        await self.do(
            """
            INSERT INTO station_connection (station_key, node, generation, protocol,
                                            remote_address, connected_at, last_seen_at)
            SELECT station_key, 'n', 1, 'ocpp1.6', '127.0.0.1', %(at)s, %(at)s FROM station
             WHERE id = %(id)s
            """,
            at=self.clock.now,
            id=f"CP-{site}",
        )

    async def register(self) -> None:
        """The hub registers with us, as GIREVE does."""
        async with transaction(self.pool) as connection:
            invitation = await partners.invite(
                connection, self.settings, "hub", DESK, self.clock.now
            )
        await self.hub.register(invitation.versions_url, invitation.token)

    async def do(self, statement: str, *values: Any, **named: Any) -> list[tuple[Any, ...]]:
        """A statement, and its rows."""
        async with transaction(self.pool) as connection:
            cursor = await connection.execute(statement.encode(), named or values)
            return await cursor.fetchall() if cursor.description else []

    async def push(self) -> Done:
        """Tell the hub what is new, by outlets that remember nothing."""
        async with telling.open_outlets(self.pool, self.settings) as outlets:
            return await outlet.deliver(
                self.pool, self.settings, outlets, self.clock, self.clock.sleep
            )

    async def status(self, number: int, status: str) -> None:
        """A status of a point."""
        self.clock.go_on(seconds=1)
        await self.do(
            "UPDATE evse SET status = %s, status_at = %s WHERE evse_uid = %s",
            *(status, self.clock.now, name_of(number)),
        )

    async def grant(self, allowed: str = "ALLOWED", method: str = "AUTH_REQUEST") -> None:
        """The hub said of the badge that it may charge, a moment ago."""
        token = {
            "country_code": "FR",
            "party_id": "EMP",
            "uid": BADGE,
            "type": "RFID",
            "contract_id": CONTRACT,
        }
        await self.do(
            """
            INSERT INTO roaming_grant (partner_id, client_id, station_key, evse_id, uid_key,
                                       allowed, method, reference, token, at, valid_until)
            SELECT p.id, s.client_id, s.station_key, 1, lower(%(uid)s), %(allowed)s, %(method)s,
                   %(reference)s, %(token)s, %(at)s, %(until)s
              FROM ocpi_partner p, station s WHERE s.id = 'CP-tilleuls'
            """,
            uid=BADGE,
            reference=self.reference(),
            allowed=allowed,
            method=method,
            token=json.dumps(token),
            at=self.clock.now,
            until=self.clock.now + timedelta(minutes=15),
        )

    def reference(self) -> str | None:
        """What the hub gives with its word; it takes no session with another one."""
        said = self.hub.authorize(BADGE, "RFID", {"location_id": "tilleuls"})
        return None if said is None else said.get("authorization_reference")

    async def begin_session(self, uid: str | None = BADGE, number: int = 1) -> int:
        """A session that goes on, from now."""
        self._session += 1
        self.clock.go_on(seconds=5)
        await self.do(
            """
            INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id,
                                 evse_id, connector_id, token_uid, authorization_status, state,
                                 started_at, received_start_at, energy_wh, meter_start_wh)
            SELECT %(id)s, s.client_id, s.site_id, s.station_key, %(id)s::text, %(id)s::text,
                   e.evse_id, 1, %(uid)s, 'Accepted', 'active', %(at)s, %(at)s, 0, 0
              FROM station s JOIN evse e USING (station_key) WHERE e.evse_uid = %(evse)s
            """,
            id=self._session,
            uid=uid,
            evse=name_of(number),
            at=self.clock.now,
        )
        return self._session

    async def energy(self, session_id: int, energy_wh: int) -> None:
        """It has taken so much by now."""
        await self.do("UPDATE session SET energy_wh = %s WHERE id = %s", energy_wh, session_id)

    async def end_session(self, session_id: int, energy_wh: int) -> None:
        """It ends now."""
        await self.do(
            """
            UPDATE session SET state = 'ended', ended_at = %s, energy_wh = %s, meter_stop_wh = %s,
                   stop_reason = 'Local' WHERE id = %s
            """,
            *(self.clock.now, energy_wh, energy_wh, session_id),
        )
