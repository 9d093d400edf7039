"""Roaming in the demonstration: a simulated hub, told over OCPI as a real one would be.

The hub registers with the running service. It is told of the public garages, where a driver of a
partner then charges for some seconds: her badge is asked about, her session told, priced, and its
CDR delivered. Of one private garage it gets all sessions of the month without any driver, as the
ADVENIR programme wants them of subsidised points.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

from billing import pricing
from csms import db, demo_public, drivers, registry, site_registry
from csms.clients import Actor
from csms.config import Settings
from csms.domain.siren import french_vat_number
from csms.registry import AlreadyThere
from csms.store import stations
from reporting import outlet, store_outlet
from reporting.collection import write_text
from reporting.ocpi import partners, telling
from simulators.driver import Driver, DriverConfig, running
from simulators.model import StationConfig
from simulators.ocpi_hub import OcpiHub
from simulators.station import Station

ACTOR: Final = Actor("demonstration")
SLUG: Final = "demohub"
BADGE: Final = "04A1B2C3D4E5F6"
CONTRACT: Final = "FREMPC00000000X"
ACCOUNT_EMAIL: Final = "itinerance@example.org"
SIREN: Final = "999000029"
CHARGES_S: Final = 4.0
PATIENCE_S: Final = 60.0
LOOK_S: Final = 0.1
LOOKS: Final = 3  # of the gateway at its partners, before the driver comes
MONTH_DAYS: Final = 62  # back to the begin of the last full month
CONNECTOR: Final[dict[str, Any]] = {
    "connector_id": 1,
    "format": "socket",
    "current": "ac_1_phase",
    "voltage_max_v": 230,
    "current_max_a": 32,
}


@dataclass(frozen=True, slots=True)
class Roamed:
    """What the hub has, and what it had to complain about."""

    places: int
    sessions: int
    cdrs: int
    has_roamed: bool  # the driver's session came to its CDR
    complaints: tuple[str, ...]
    path: Path

    @property
    def is_good(self) -> bool:
        """Whether all of it went as it should."""
        return self.has_roamed and not self.complaints


def with_ocpi(settings: Settings) -> Settings:
    """The settings of an operator under the demonstration's prefix, whose partners are here."""
    return replace(
        settings,
        ocpi_country_code=demo_public.PREFIX[:2],
        ocpi_party_id=demo_public.PREFIX[2:],
        ocpi_hosts="127.0.0.1,localhost",
        ocpi_session_days=MONTH_DAYS,
        ocpi_refresh_s=1.0,
    )


async def run(
    pool: AsyncConnectionPool,
    settings: Settings,
    month_begin: datetime,
    now: datetime,
    folder: Path,
) -> Roamed:
    """Register the hub, let a driver of a partner charge, and deliver what there is to deliver."""
    hub = OcpiHub()
    hub.add_token(BADGE, CONTRACT)
    async with hub.serve():
        async with db.transaction(pool) as connection:
            public = await _prepare(connection, month_begin, now)
            invitation = await partners.invite(connection, settings, SLUG, ACTOR, now)
        await hub.register(invitation.versions_url, invitation.token)
        await _deliver(pool, settings)
        await _charge(settings, hub, public)
        await _until(lambda: _roamed(hub, "COMPLETED"))
        await pricing.run(pool, now=datetime.now(UTC))
        await _deliver(pool, settings)
        await _until(lambda: _has_cdr(hub))
        await hub.unregister()
    return Roamed(
        places=len(hub.locations),
        sessions=len(hub.sessions),
        cdrs=len(hub.cdrs),
        has_roamed=_has_cdr(hub),
        complaints=tuple(hub.complaints),
        path=_lay_down(folder, hub),
    )


def _lay_down(folder: Path, hub: OcpiHub) -> Path:
    path = folder / "cdrs.json"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(list(hub.cdrs.values()), ensure_ascii=False, indent=1)
    write_text(path, text + "\n")
    return path


async def provide(connection: AsyncConnection) -> None:
    """What OCPI wants of the public garages, and of the private one that has the most points."""
    rows = await _stations(connection)
    advenir = _advenir(rows)
    for row in rows:
        if row.is_public or row.site_id in advenir:
            await _describe(connection, row)
    for site_id in advenir:
        await _describe_site(connection, site_id)


async def _prepare(
    connection: AsyncConnection, month_begin: datetime, now: datetime
) -> tuple[str, str]:
    """The partner with its sites; the public station, and its protocol, at which is charged."""
    rows = await _stations(connection)
    await _partner(connection, now)
    for site_id in _advenir(rows):
        await _tell_of(connection, site_id, "advenir", month_begin)
    for site_id in sorted({row.site_id for row in rows if row.is_public}):
        await _tell_of(connection, site_id, "roaming", month_begin)
    return next((row.id, row.protocol) for row in rows if row.is_public)


@dataclass(frozen=True, slots=True)
class _StationRow:
    station_key: int
    id: str
    site_id: str
    is_public: bool
    protocol: str
    points: int


async def _stations(connection: AsyncConnection) -> list[_StationRow]:
    """All stations of garages, by name."""
    async with connection.cursor(row_factory=class_row(_StationRow)) as rows:
        await rows.execute(
            """
            SELECT s.station_key, s.id, s.site_id,
                   bool_or(coalesce(e.public, s.public)) AS is_public, s.protocol,
                   count(*) AS points
              FROM station s JOIN evse e USING (station_key)
             WHERE s.site_id IS NOT NULL AND s.retired_at IS NULL
             GROUP BY s.station_key ORDER BY s.id
            """
        )
        return await rows.fetchall()


def _advenir(rows: Sequence[_StationRow]) -> list[str]:
    """The private garage with the most points, where there is one."""
    public = {row.site_id for row in rows if row.is_public}
    points = Counter[str]()
    for row in rows:
        points[row.site_id] += row.points
    private = sorted(points.keys() - public, key=lambda site_id: (points[site_id], site_id))
    return private[-1:]


async def _partner(connection: AsyncConnection, now: datetime) -> None:
    """The hub as a partner, with the company to which roaming is invoiced; once."""
    values = {
        "email": ACCOUNT_EMAIL,
        "given_name": "Itinérance",
        "family_name": "Démonstration",
        "company": "Opérateur de mobilité fictif",
        "siren": SIREN,
        "vat_number": french_vat_number(SIREN),
        "street": "9 rue de l’Exemple",
        "postal_code": "75004",
        "city": "Paris",
    }
    try:
        async with connection.transaction():
            person_id = await drivers.create(connection, values, ACTOR, now)
            await partners.create(
                connection,
                slug=SLUG,
                name="Plateforme d’itinérance simulée",
                country_code="FR",
                party_id="107",
                person_id=person_id,
                actor=ACTOR,
                now=now,
            )
    except AlreadyThere:  # it ran before
        return


async def _describe(connection: AsyncConnection, row: _StationRow) -> None:
    """What OCPI wants of a station's points, and identifiers for those that have none."""
    evses = [
        {
            **evse,
            "evse_uid": evse["evse_uid"] or demo_public.point_uid(row.id, evse["evse_id"]),
            "static": evse["static"] | {"connectors": [CONNECTOR]},
        }
        for evse in await stations.lock_evses(connection, row.station_key)
    ]
    await registry.change_station(
        connection, row.id, {"evses": evses}, length_min=0, actor=ACTOR.name
    )


async def _describe_site(connection: AsyncConnection, site_id: str) -> None:
    """A private garage is declared to the programme like a public one, and published nowhere."""
    static = {
        "owner_name": "Copropriété fictive de démonstration",
        "operator_name": "Time2Plug (démonstration)",
        "afirev_station_id": demo_public.site_uid(site_id),
        "address": "1 rue de l’Exemple (fictive)",
        "postal_code": "30000",
        "city": "Nîmes",
        "longitude": 4.36,
        "latitude": 43.83,
    }
    await site_registry.change_site(connection, site_id, {"static": static}, actor=ACTOR.name)


async def _tell_of(connection: AsyncConnection, site_id: str, feed: str, since: datetime) -> None:
    try:
        await partners.tell_of(connection, SLUG, site_id, feed, ACTOR, since)
    except AlreadyThere:  # it ran before
        return


async def _charge(settings: Settings, hub: OcpiHub, public: tuple[str, str]) -> None:
    """A driver of a partner shows her badge, charges, and shows it again."""
    identity, protocol = public
    # The gateway looks up so often whose drivers may charge where; it has to know of the hub.
    await asyncio.sleep(LOOKS * settings.ocpi_refresh_s)
    station = Driver(
        Station(StationConfig(identity=identity, protocol=protocol), datetime.now(UTC)),
        DriverConfig(url=f"ws://{settings.host}:{settings.ocpp_port}/ocpp"),
    )
    async with running(station):
        await station.settled(PATIENCE_S)
        station.station.plug_in(1, datetime.now(UTC))
        station.station.present(1, BADGE, datetime.now(UTC))
        await _until(lambda: _roamed(hub, "ACTIVE"))
        await asyncio.sleep(CHARGES_S)  # there is something to deliver
        station.station.present(1, BADGE, datetime.now(UTC))
        await station.settled(PATIENCE_S)


async def _deliver(pool: AsyncConnectionPool, settings: Settings) -> None:
    """Tell the hub what is new now: places, sessions there, their CDRs. The worker does the same
    every few seconds, and may have some of it in its hands."""
    for _ in range(int(PATIENCE_S)):
        async with telling.open_outlets(pool, settings) as outlets:
            done = await outlet.deliver(pool, settings, outlets)
        async with pool.connection() as connection:
            states = await store_outlet.list_states(connection)
        waiting = sum(state.waiting for state in states if state.name.endswith(SLUG))
        if not done.made and not waiting:
            return
        if not done.sent:
            await asyncio.sleep(1.0)


async def _until(is_so: Callable[[], bool]) -> None:
    """Wait until it is so, as long as one has patience."""
    for _ in range(int(PATIENCE_S / LOOK_S)):
        if is_so():
            return
        await asyncio.sleep(LOOK_S)


def _roamed(hub: OcpiHub, status: str) -> bool:
    return any(
        session["status"] == status and session["cdr_token"]["uid"] == BADGE
        for session in hub.sessions.values()
    )


def _has_cdr(hub: OcpiHub) -> bool:
    return any(cdr["cdr_token"]["uid"] == BADGE for cdr in hub.cdrs.values())
