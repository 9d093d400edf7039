"""The public points of the demonstration: every other garage lets strangers in, but for one box.

What is public needs an identifier of AFIREV's. Those here begin with FRXXX, which is nobody's: they
are made up like the addresses, and every row says that it is of a demonstration. The national files
hold these points and no others; they are written, judged, and published on the machine alone.
"""

import hashlib
import re
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from psycopg_pool import AsyncConnectionPool

from csms.config import Settings
from csms.demo_people import CLIENTS
from reporting.collection import write_text
from reporting.irve import publication
from reporting.irve.checks import by_schema
from reporting.irve.consolidation import judge
from reporting.irve.findings import Effect
from reporting.irve.schema import DYNAMIC
from reporting.irve.static_rows import PARIS

PREFIX: Final = "FRXXX"
CODE_LENGTH_MAX: Final = 24
SITE_COLUMNS: Final = (
    *("address", "postal_code", "city", "insee_code", "longitude", "latitude"),
    *("site_static_owner_name", "site_static_owner_siren", "site_static_owner_email"),
    *("site_static_operator_name", "site_static_operator_email", "site_static_operator_phone"),
    *("site_static_brand_name", "site_static_afirev_station_id", "site_static_implantation"),
    *("site_static_opening_hours", "site_static_access", "site_static_two_wheelers_only"),
    *("site_static_grid_connection", "site_static_pmr_access", "site_static_reservation"),
    *("site_static_free", "site_static_pays_ad_hoc", "site_static_observations"),
    "site_static_commissioned_on",
)
COLUMNS: Final = ("evse_uid", *SITE_COLUMNS)


def public_stations(stations: Mapping[str, Collection[str]]) -> set[str]:
    """Those that are public, of stations by site: of every other site all but the last, where it
    has several."""
    found: set[str] = set()
    for site_id in sorted(stations)[1::2]:
        of_site = sorted(stations[site_id])
        found.update(of_site[: max(1, len(of_site) - 1)])
    return found


def columns_of(site_id: str, station_id: str, evse_id: int, client: str) -> dict[str, str]:
    """Columns of the import for a public point and its site, of the client with that name."""
    number, owner = next((n, c) for n, c in enumerate(CLIENTS, start=1) if c.name == client)
    # Somewhere in Nîmes, each site at a place of its own.
    place = zlib.crc32(site_id.encode())
    return {
        "evse_uid": point_uid(station_id, evse_id),
        "address": f"{place % 900 + 1} rue de l’Exemple (fictive)",
        "postal_code": "30000",
        "city": "Nîmes",
        "insee_code": "30189",
        "longitude": f"{4.33 + place % 1000 / 20_000:.5f}",
        "latitude": f"{43.81 + place // 1000 % 1000 / 20_000:.5f}",
        "site_static_owner_name": owner.legal_name,
        "site_static_owner_siren": owner.siren,
        "site_static_owner_email": f"gestion{number}@example.org",
        "site_static_operator_name": "Time2Plug (démonstration)",
        "site_static_operator_email": "bornes@example.org",
        "site_static_operator_phone": "+33465710001",  # of those kept for fiction
        "site_static_brand_name": "Réseau fictif de démonstration",
        "site_static_afirev_station_id": site_uid(site_id),
        "site_static_implantation": "private_parking_public_use",
        "site_static_opening_hours": "24/7",
        "site_static_access": "reserved",
        "site_static_two_wheelers_only": "false",
        "site_static_grid_connection": "indirect",
        "site_static_pmr_access": "unknown",
        "site_static_reservation": "false",
        "site_static_free": "false",
        "site_static_pays_ad_hoc": "true",
        "site_static_observations": "Point fictif d’une démonstration : rien de réel, à ne pas "
        "publier.",
        "site_static_commissioned_on": "2025-01-06",
    }


def point_uid(station_id: str, evse_id: int) -> str:
    """The identifier of a point."""
    return f"{PREFIX}E{_code(station_id)}X{evse_id}"


def site_uid(site_id: str) -> str:
    """The identifier of a garage."""
    return f"{PREFIX}P{_code(site_id)}"


def _code(name: str) -> str:
    """A name in what identifiers may have, X for anything else; cut, and told apart, if long."""
    code = re.sub("[^A-Z0-9]", "X", name.upper())
    if len(code) <= CODE_LENGTH_MAX:
        return code
    return code[: CODE_LENGTH_MAX - 8] + hashlib.sha256(name.encode()).hexdigest()[:8].upper()


def with_publication(settings: Settings) -> Settings:
    """The settings with the files open to all who reach the machine, and the prefix compared."""
    prefixes = settings.afirev_prefixes or (PREFIX,)
    return replace(settings, irve_published=True, afirev_prefixes=prefixes)


@dataclass(frozen=True, slots=True)
class Published:
    """The files, and what becomes of them."""

    static_path: Path
    dynamic_path: Path
    points: int
    stations: int
    held_back: int
    kept: int  # rows of the static one that the national consolidation keeps
    flaws: tuple[str, ...]  # against the schemas

    @property
    def is_good(self) -> bool:
        """Whether all that is public is there, as it should be."""
        return not self.flaws and not self.held_back and self.kept == self.points


async def publish(
    pool: AsyncConnectionPool, settings: Settings, now: datetime, folder: Path
) -> Published:
    """Write both files, and judge them."""
    async with pool.connection() as connection:
        static = await publication.read_static(connection, settings, now)
        dynamic = await publication.read_dynamic(connection, settings, static.identifiers)
    static_path = _lay_down(folder, "irve-statique.csv", static.content())
    dynamic_path = _lay_down(folder, "irve-dynamique.csv", dynamic)
    today = now.astimezone(PARIS).date()
    judgement = judge(static.content(), static_path.name, today, settings.afirev_prefixes)
    found = [f for f in judgement.findings if f.effect is Effect.FILE]
    found += by_schema(dynamic, DYNAMIC)
    return Published(
        static_path,
        dynamic_path,
        points=len(static.rows),
        stations=len({row["id_station_itinerance"] for row in static.rows}),
        held_back=len(static.refused),
        kept=judgement.kept,
        flaws=tuple(f"line {f.line}, {f.column}: {f.told('en')}" for f in found),
    )


def _lay_down(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    write_text(path, content.decode())
    return path
