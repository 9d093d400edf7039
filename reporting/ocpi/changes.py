"""What is to be told to a partner: what is not as it was told before (`ocpi_told`).

A look writes what it finds in the same transaction as the items that tell it. A place is told whole
when anything of it changed, a point's status alone; a session when it begins, as it goes on and
when it is over, and its CDR once it has a price, made once.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

from psycopg import AsyncConnection

from billing import pricing
from billing.store import pricing as price_store
from billing.store import tariffs as tariff_store
from billing.tariffs import Tariffs, Version
from csms import deadlines, services
from csms.config import Settings
from csms.domain.services import Option
from csms.store import clients as client_store
from reporting import store_ocpi
from reporting import store_ocpi_sessions as session_store
from reporting.ocpi import cdrs, places, prices
from reporting.ocpi.cdrs import CURRENCY, Party
from reporting.ocpi.client import Peer
from reporting.ocpi.kinds import SessionStatus, z
from reporting.ocpi.objects import Cdr, CdrLocation, CdrToken, Evse, Location, Session
from reporting.store_ocpi import PartnerRow, ToldRow
from reporting.store_ocpi_sessions import ChangedRow, PricedRow, SessionRow
from reporting.store_outlet import NewItem

GATHER_MAX: Final = 5_000
REMOVED: Final = "REMOVED"


@dataclass(frozen=True, slots=True)
class Partner:
    """A registered partner, and us."""

    row: PartnerRow
    peer: Peer
    own: Party

    @property
    def id(self) -> int:
        """Its number."""
        return self.row.id

    @property
    def outlet(self) -> str:
        """The name of its outlet."""
        return f"ocpi.{self.row.slug}"

    def is_told(self, module: str) -> bool:
        """Whether it takes a module from us."""
        return self.peer.url_of(module, "RECEIVER") is not None


class Look:
    """One look at what is to be told to a partner: in the caller's transaction."""

    def __init__(
        self,
        settings: Settings,
        partner: Partner,
        connection: AsyncConnection,
        now: datetime,
    ) -> None:
        self._settings = settings
        self._partner = partner
        self._connection = connection
        self._now = now
        self._own = partner.own
        self.items: list[NewItem] = []

    # --- Places and tariffs -----------------------------------------------------------------------

    async def at_places(self) -> None:
        """Places and tariffs that are not as they were told."""
        if not self._partner.is_told("locations"):
            return
        wanted, tariffs = await self._wanted_places()
        for tariff in tariffs:
            await self._tell_tariff(*tariff)
        told = {
            row.object_id: row
            for row in await store_ocpi.list_told(self._connection, self._partner.id, "locations")
        }
        rows = []
        for place, client_id in wanted:
            known = told.pop(place.id, None)
            content = place.wire()
            if known is None or _core(known.content) != _core(content):
                rows += await self._tell_place(place, content, client_id)
        for gone in told.values():
            await self._remove_place(gone)
        await store_ocpi.write_told(self._connection, self._partner.id, rows)

    async def _wanted_places(
        self,
    ) -> tuple[list[tuple[Location, int]], list[tuple[int, dict[str, Any]]]]:
        """Places as they are now with their clients; and tariffs that hold there, with theirs."""
        found = [
            _place(stored)
            for stored in await store_ocpi.list_places(
                self._connection, self._partner.id, self._now
            )
        ]
        clients = sorted({place.client_id for place in found})
        closed = await services.closed_clients(self._connection, clients, Option.GIREVE, self._now)
        tariffs = []
        open_places = [place for place in found if place.client_id not in closed]
        priced: list[places.Place] = []
        for client_id in sorted({place.client_id for place in open_places}):
            of_client = await _prices_of(self._connection, self._own, client_id, self._now)
            tariffs += [(client_id, content) for content in of_client.contents]
            priced += [of_client.on(p) for p in open_places if p.client_id == client_id]
        today = deadlines.paris_day(self._now)
        # Seconds, where they are many.
        made = await asyncio.to_thread(_locations, self._own, priced, self._now, today)
        return made, tariffs

    async def _tell_tariff(self, client_id: int, content: dict[str, Any]) -> None:
        if not self._partner.is_told("tariffs"):
            return
        known = await store_ocpi.list_told(
            self._connection, self._partner.id, "tariffs", object_id=content["id"]
        )
        if known and _core(known[0].content) == _core(content):
            return
        self._put("tariffs", content["id"], client_id, content)
        row = ToldRow("tariffs", content["id"], client_id, None, content, self._now)
        await store_ocpi.write_told(self._connection, self._partner.id, [row])

    async def _tell_place(
        self, place: Location, content: dict[str, Any], client_id: int
    ) -> list[ToldRow]:
        """A place as a whole, with the statuses of now. Points that it has no more are removed
        before: afterwards the partner may not know them."""
        evses = place.evses or []
        uids = {evse.uid for evse in evses}
        former = await store_ocpi.list_told(
            self._connection, self._partner.id, "evses", parent_ids=[place.id]
        )
        await self._remove(
            place.id, [row.object_id for row in former if row.object_id not in uids], client_id
        )
        self._put("locations", place.id, client_id, content)
        return [
            ToldRow("locations", place.id, client_id, None, content, self._now),
            *(
                ToldRow("evses", evse.uid, client_id, place.id, {"status": evse.status}, self._now)
                for evse in evses
            ),
        ]

    async def _remove_place(self, row: ToldRow) -> None:
        former = await store_ocpi.list_told(
            self._connection, self._partner.id, "evses", parent_ids=[row.object_id]
        )
        await self._remove(row.object_id, [evse.object_id for evse in former], row.client_id)
        await store_ocpi.forget_told(
            self._connection, self._partner.id, "locations", [row.object_id]
        )

    async def _remove(self, location_id: str, uids: Sequence[str], client_id: int) -> None:
        """Nothing is ever deleted over OCPI: it is told to be removed."""
        for uid in uids:
            self._patch_status(location_id, uid, client_id, REMOVED)
        await store_ocpi.forget_told(self._connection, self._partner.id, "evses", uids)

    # --- Statuses ---------------------------------------------------------------------------------

    async def at_statuses(self) -> None:
        """Points that do not stand as they were told to."""
        if not self._partner.is_told("locations"):
            return
        rows = []
        for uid, location_id, status, connected, told in await store_ocpi.list_statuses(
            self._connection, self._partner.id
        ):
            stands = places.status_of(status, connected)
            if stands != told:
                client_id = await self._client_of(location_id)
                self._patch_status(location_id, uid, client_id, stands)
                content = {"status": stands}
                rows.append(ToldRow("evses", uid, client_id, location_id, content, self._now))
        await store_ocpi.write_told(self._connection, self._partner.id, rows)
        await store_ocpi.touch_places(
            self._connection, self._partner.id, {row.parent_id for row in rows}, self._now
        )

    async def _client_of(self, location_id: str) -> int:
        (row,) = await store_ocpi.list_told(
            self._connection, self._partner.id, "locations", object_id=location_id
        )
        return row.client_id

    def _patch_status(self, location_id: str, uid: str, client_id: int, status: str) -> None:
        path = [self._own.country_code, self._own.party_id, location_id, uid]
        content = {"status": status, "last_updated": z(self._now)}
        self._add("PATCH", "locations", location_id, client_id, path, content)

    # --- Sessions and CDRs ------------------------------------------------------------------------

    async def at_new_sessions(self, since: timedelta) -> None:
        """Sessions that began no longer ago and are not told yet."""
        if self._partner.is_told("sessions"):
            new = await session_store.list_new_sessions(
                self._connection,
                self._partner.id,
                self._partner.outlet,
                self._now - since,
                GATHER_MAX,
            )
            await self._tell_new(new)

    async def at_sessions(self) -> None:
        """Sessions that were told and went on or ended, and prices."""
        if self._partner.is_told("sessions"):
            before = self._now - timedelta(seconds=self._settings.ocpi_session_update_s)
            changed = await session_store.list_changed_sessions(
                self._connection, self._partner.id, before, GATHER_MAX
            )
            await self._tell_changed(changed)
        if self._partner.is_told("cdrs"):
            await self._tell_cdrs(
                await session_store.list_priced_sessions(
                    self._connection, self._partner.id, GATHER_MAX
                )
            )

    async def _tell_new(self, rows: Sequence[SessionRow]) -> None:
        where = await self._known_places({row.location_id for row in rows})
        told = []
        for row in rows:
            place = where.get(row.location_id)
            evse = _evse_of(place, row.evse_uid)
            if place is None or evse is None:
                continue
            session = self._session(row, evse)
            location = places.cdr_location(place, evse, session.connector_id)
            content = {
                **session.wire(),
                "is_anonymous": row.token is None,
                "energy_wh": row.energy_wh or 0,
                "cdr_location": location.wire(),
            }
            self._put("sessions", session.id, row.client_id, session.wire(), name="session")
            told.append(
                ToldRow("sessions", session.id, row.client_id, place.id, content, self._now)
            )
        await store_ocpi.write_told(self._connection, self._partner.id, told)
        await session_store.open_told(
            self._connection, self._partner.id, [row.object_id for row in told]
        )

    def _session(self, row: SessionRow, evse: Evse) -> Session:
        known = {connector.id for connector in evse.connectors}
        connector_id = str(row.connector_id) if row.connector_id is not None else ""
        token = row.token or advenir_token(self._settings)
        return Session(
            country_code=self._own.country_code,
            party_id=self._own.party_id,
            id=str(row.id),
            start_date_time=row.started_at,
            end_date_time=row.ended_at,
            kwh=cdrs.kwh(row.energy_wh or 0),
            cdr_token=CdrToken.model_validate(token),
            auth_method=row.method or "WHITELIST",
            authorization_reference=row.reference,
            location_id=row.location_id,
            evse_uid=row.evse_uid,
            connector_id=connector_id if connector_id in known else evse.connectors[0].id,
            currency=CURRENCY,
            status=_session_status(row.state),
            last_updated=self._now,
        )

    async def _tell_changed(self, rows: Sequence[ChangedRow]) -> None:
        told = []
        for row in rows:
            content = {
                **row.content,
                "energy_wh": row.energy_wh or 0,
                "kwh": float(cdrs.kwh(row.energy_wh or 0)),
                "status": _session_status(row.state),
                "last_updated": z(self._now),
            }
            if row.ended_at is not None:
                content["end_date_time"] = z(row.ended_at)
            session = Session.model_validate(content)
            self._put("sessions", session.id, row.client_id, session.wire(), name="session")
            told.append(
                ToldRow(
                    "sessions", session.id, row.client_id, session.location_id, content, self._now
                )
            )
        await store_ocpi.write_told(self._connection, self._partner.id, told)

    async def _tell_cdrs(self, rows: Sequence[PricedRow]) -> None:
        told = []
        for row in rows:
            made = cdr_of(self._own, row, self._now).wire()
            key = str(row.id)
            self._add("POST", "cdrs", key, row.client_id, [], made, name="session")
            told.append(ToldRow("cdrs", key, row.client_id, None, made, self._now))
        await store_ocpi.write_told(self._connection, self._partner.id, told)
        await session_store.close_told(
            self._connection, self._partner.id, [row.object_id for row in told]
        )

    async def _known_places(self, ids: Iterable[str]) -> dict[str, Location]:
        """Places as they were told."""
        found = {}
        for location_id in sorted(ids):
            for row in await store_ocpi.list_told(
                self._connection, self._partner.id, "locations", object_id=location_id
            ):
                found[location_id] = Location.model_validate(row.content)
        return found

    # --- Items ------------------------------------------------------------------------------------

    def _put(
        self,
        module: str,
        object_id: str,
        client_id: int,
        content: dict[str, Any],
        name: str | None = None,
    ) -> None:
        path = [self._own.country_code, self._own.party_id, object_id]
        self._add("PUT", module, object_id, client_id, path, content, name=name)

    def _add(
        self,
        method: str,
        module: str,
        object_id: str,
        client_id: int,
        path: list[str],
        content: dict[str, Any],
        *,
        name: str | None = None,
    ) -> None:
        """An item; a session and its CDR are one object, so that one follows the other."""
        key = f"{name or module.removesuffix('s')}/{object_id}"
        self.items.append(
            NewItem(
                client_id,
                key,
                str(uuid4()),  # that it is made once, `ocpi_told` sees to
                module,
                self._now,
                {"module": module, "method": method, "path": path, "object": content},
            )
        )


def cdr_of(own: Party, row: PricedRow, now: datetime) -> Cdr:
    """The CDR of a session that was told; of one without a driver, energy and time alone."""
    told = Session.model_validate(row.content)
    lines = [pricing.line_of(stored) for stored in row.lines or ()]
    version = row.tariff_version_id
    return cdrs.cdr(
        own,
        cdrs.Priced(
            session_id=told.id,
            started_at=row.started_at,
            ended_at=row.ended_at,
            energy_wh=row.energy_wh,
            lines=lines,
            tariff_id=None if version is None else prices.tariff_id(own, version),
            token=told.cdr_token,
            auth_method=told.auth_method,
            authorization_reference=told.authorization_reference,
        ),
        CdrLocation.model_validate(row.content["cdr_location"]),
        cdr_id=told.id,
        last_updated=now,
    )


def advenir_token(settings: Settings) -> dict[str, str]:
    """The token that stands for all drivers in the ADVENIR feed."""
    names = ("country_code", "party_id", "uid", "contract_id")
    return dict(zip(names, settings.ocpi_advenir_driver.split(), strict=True)) | {"type": "RFID"}


def _session_status(state: str) -> SessionStatus:
    return "ACTIVE" if state == "active" else "COMPLETED"


# --- Prices of a client -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Prices:
    """What holds at a client's points now, and how partners are told of it."""

    contents: list[dict[str, Any]]
    id_at: Callable[[places.Place, places.Point], str | None]

    def on(self, place: places.Place) -> places.Place:
        """The place, its points with the tariffs that hold there."""
        points = []
        for point in place.points:
            found = self.id_at(place, point)
            points.append(replace(point, tariff_ids=() if found is None else (found,)))
        return replace(place, points=points)


async def _prices_of(
    connection: AsyncConnection, own: Party, client_id: int, now: datetime
) -> _Prices:
    """Tariffs of everybody: of a partner's driver no group is known."""
    versions = await tariff_store.list_versions(connection, client_id=client_id)
    known = Tariffs(versions, await tariff_store.list_scopes(connection, client_id=client_id))
    percent = await _vat_percent(connection, client_id, deadlines.paris_day(now))
    contents = []
    for row in versions:
        version = known.version_of(row.tariff_id, now)
        if isinstance(version, Version) and version.id == row.id:
            made = prices.tariff(
                own,
                row.id,
                version.tariff,
                from_at=row.from_at,
                to_at=row.to_at,
                vat_percent=percent,
                last_updated=now,
            )
            contents.append(made.wire())

    def id_at(place: places.Place, point: places.Point) -> str | None:
        found = known.find(place.site_id, point.station_key, point.evse_id, (), now)
        return prices.tariff_id(own, found.id) if isinstance(found, Version) else None

    return _Prices(contents, id_at)


async def _vat_percent(connection: AsyncConnection, client_id: int, today: date) -> Decimal | None:
    """The rate that the client's sales bear; None: none, or it is not known how it stands."""
    statuses = await client_store.list_vat(connection, client_id)
    status = next((s for s in statuses if pricing.is_on(s.from_on, s.to_on, today)), None)
    if status is None or status.status in pricing.VAT_FREE:
        return None
    rates = await price_store.fetch_vat_rates(connection)
    return next((p for from_on, to_on, p in rates if pricing.is_on(from_on, to_on, today)), None)


def _place(stored: Mapping[str, Any]) -> places.Place:
    points = [places.Point(**point) for point in stored["points"]]
    return places.Place(**(dict(stored) | {"points": points}))


def _locations(
    own: Party, found: Sequence[places.Place], now: datetime, today: date
) -> list[tuple[Location, int]]:
    return [
        (made, place.client_id)
        for place in found
        if (made := places.location(own, place, now, today)) is not None
    ]


def _evse_of(place: Location | None, uid: str) -> Evse | None:
    if place is None:
        return None
    return next((evse for evse in place.evses or () if evse.uid == uid), None)


def _core(content: Any) -> str:
    """What of an object counts as a change: neither when it was told, nor statuses."""
    return json.dumps(_without_moments(content), sort_keys=True)


def _without_moments(content: Any) -> Any:
    if isinstance(content, list):
        return [_without_moments(item) for item in content]
    if not isinstance(content, dict):
        return content
    left_out = {"last_updated"} | ({"status"} if "connectors" in content else set())
    return {k: _without_moments(v) for k, v in content.items() if k not in left_out}
