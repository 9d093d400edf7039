"""QualiCharge: points, statuses and sessions of public points, over three outlets.

- `qualicharge.static`: a point that lacks nothing is declared, again when anything of it changed,
  and withdrawn when it is public or in use no more. Doing it twice does no harm.
- `qualicharge.status`: what stations report of declared points; none of a day ago or more. One in
  doubt is looked for in the service's history.
- `qualicharge.session`: kWh, begin and end of sessions at declared points. The service takes the
  same one twice, and says 201 before it writes: so each is looked for under the name that it was
  given, and one whose name was lost waits for a person.

Nothing of before a point was declared is told, and nothing of a point that is not public any more.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from csms.config import Settings
from csms.static_data import EvseFacts, SiteFacts, StationFacts, declarable
from csms.static_data.models import EvseStatic, SiteStatic
from csms.static_data.reading import lenient, terms_of
from reporting import qualicharge_rows as rows
from reporting import store_outlet, store_qualicharge
from reporting.outlet import Found, Lost, Outlet, Receipt, Refused
from reporting.qualicharge_client import Client
from reporting.store_outlet import Item, NewItem, ToldRow
from reporting.store_qualicharge import PointRow, StatusRow

PARIS: Final = ZoneInfo("Europe/Paris")
STATIC: Final = "qualicharge.static"
STATUS: Final = "qualicharge.status"
SESSION: Final = "qualicharge.session"
DECLARE: Final = "declare"
WITHDRAW: Final = "withdraw"
GATHER_MAX: Final = 5_000  # of statuses or sessions at once; the rest at the next look
STATUS_KEEP_DAYS: Final = 30
NOT_PUBLIC: Final = "the point is not public any more"
SAME_REQUEST: Final = "~"  # before the name of another item: stored with it, or not at all


@asynccontextmanager
async def open_outlets(settings: Settings) -> AsyncIterator[list[Outlet]]:
    """The outlets, in the order in which they are of use; none where the service is not set."""
    if not is_set(settings):
        yield []
        return
    async with Client(settings) as client:
        yield outlets(settings, client)


def outlets(settings: Settings, client: Client) -> list[Outlet]:
    """The three outlets over one account."""
    return [Points(settings, client), Statuses(settings, client), Sessions(settings, client)]


def is_set(settings: Settings) -> bool:
    """Whether there is an account."""
    return None not in (
        settings.qualicharge_url,
        settings.qualicharge_user,
        settings.qualicharge_password,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """A point as it is to be declared; row None: it lacks something."""

    client_id: int
    row: dict[str, Any] | None
    is_over: bool = False  # decommissioned


def wanted_points(points: Sequence[PointRow], now: datetime) -> dict[str, Wanted]:
    """What is to be declared of public points, by identifier."""
    today = now.astimezone(PARIS).date()
    findings = {}
    for point in points:
        found = declarable(
            SiteFacts(point.site_name, point.site_static),
            StationFacts(point.station_static),
            EvseFacts(
                point.evse_uid,
                point.power_w_max,
                {c["connector_id"]: c["type"] for c in point.connectors},
                point.evse_static,
            ),
            today,
        )
        findings[point.evse_uid] = {f.code for f in found if "qualicharge" in f.needed_by}
    declared = [point for point in points if not findings[point.evse_uid]]
    counts = Counter(point.site_id for point in declared)
    changed_at: dict[str | None, datetime] = {}
    for point in declared:  # the same for all points of a site
        known = changed_at.get(point.site_id, point.changed_at)
        changed_at[point.site_id] = max(known, point.changed_at)
    return {
        point.evse_uid: Wanted(
            point.client_id,
            None
            if findings[point.evse_uid]
            else _row(point, counts[point.site_id], changed_at[point.site_id]),
            is_over="decommissioned" in findings[point.evse_uid],
        )
        for point in points
    }


def _row(point: PointRow, points: int, changed_at: datetime) -> dict[str, Any]:
    site, _ = lenient(SiteStatic, point.site_static)
    evse, _ = lenient(EvseStatic, point.evse_static)
    assert point.power_w_max is not None  # else it would lack it
    return rows.static_row(
        evse_uid=point.evse_uid,
        site_name=point.site_name,
        site=site,
        evse=evse,
        terms=terms_of(site, evse),
        power_w=point.power_w_max,
        connector_types=[c["type"] for c in point.connectors],
        points=points,
        # The service's day is that of UTC: the first hours of a day in Paris lie ahead there, and a
        # row of a day to come is refused.
        changed_on=changed_at.astimezone(UTC).date(),
    )


class _ToQualiCharge(Outlet):
    """What the three have in common."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self.verify_after_s = settings.qualicharge_verify_after_s
        self.patience_s = settings.qualicharge_patience_s

    async def unfit(
        self, connection: AsyncConnection, items: Sequence[Item], now: datetime
    ) -> dict[int, str]:
        """Those of points that are not public any more."""
        uids = {
            item.id: str(item.body["request"]["id_pdc_itinerance"])
            for item in items
            if item.kind != WITHDRAW
        }
        public = await store_qualicharge.public_among(connection, sorted(set(uids.values())))
        return {item_id: NOT_PUBLIC for item_id, uid in uids.items() if uid not in public}


class Points(_ToQualiCharge):
    """Points, each as a whole at every change."""

    name = STATIC
    is_idempotent = True

    def __init__(self, settings: Settings, client: Client) -> None:
        super().__init__(settings, client)
        self.batch_max = settings.qualicharge_static_entries_max
        self.gather_period_s = settings.qualicharge_static_period_s

    async def gather(self, connection: AsyncConnection, now: datetime) -> Sequence[NewItem]:
        """Points whose last word is not what holds."""
        points = await store_qualicharge.list_points(connection)
        wanted = await asyncio.to_thread(wanted_points, points, now)  # seconds, where they are many
        told = {t.object_key: t for t in await store_outlet.list_told(connection, STATIC)}
        found = []
        for uid in sorted(wanted.keys() | told.keys()):
            item = self._next(uid, wanted.get(uid), told.get(uid), now)
            if item is not None:
                found.append(item)
        await store_outlet.supersede(connection, STATIC, [i.object_key for i in found], now)
        return found

    def _next(
        self, uid: str, wanted: Wanted | None, told: ToldRow | None, now: datetime
    ) -> NewItem | None:
        number = 1 if told is None else told.number + 1
        if wanted is None or wanted.is_over:
            if told is None or told.kind == WITHDRAW or not told.was_tried:
                return None  # what waits still is dropped before it is sent
            return NewItem(told.client_id, uid, f"{uid}#{number}", WITHDRAW, now, {})
        if wanted.row is None:
            return None
        body = {"request": wanted.row}
        is_said = told is not None and told.kind == DECLARE and not told.is_void
        if is_said and told is not None and _same(told.body, body):
            return None
        return NewItem(wanted.client_id, uid, f"{uid}#{number}", DECLARE, now, body)

    def flaw(self, item: Item, now: datetime) -> str | None:
        """As qualicharge_rows.static_flaw."""
        if item.kind == WITHDRAW:
            return None
        return rows.static_flaw(item.body["request"], now.astimezone(UTC).date())

    def is_alone(self, item: Item) -> bool:
        """What is withdrawn, or comes back."""
        return WITHDRAW in (item.kind, item.previous_kind)

    def gap_s(self, items: Sequence[Item]) -> float:
        """Of one point, or of many."""
        if len(items) == 1:
            return self._settings.qualicharge_point_gap_s
        return self._settings.qualicharge_static_gap_s

    async def send(self, items: Sequence[Item]) -> list[Receipt]:
        """One point by itself, several at once."""
        if len(items) > 1:
            answer = await self._client.upsert([item.body["request"] for item in items])
            return [Receipt(f"{answer.status}")] * len(items)
        (item,) = items
        if item.kind == WITHDRAW:
            answer = await self._client.decommission(item.object_key)
            return [Receipt(f"{answer.status}")]
        row = item.body["request"]
        if item.previous_kind == WITHDRAW:
            await self._client.recommission(item.object_key)
        if item.previous_kind is None:
            answer = await self._client.create(row)
            if answer.status == 409:
                answer = await self._client.update(row)
        else:
            answer = await self._client.update(row)
            if answer.status == 404:
                answer = await self._client.create(row)
        if answer.status in (404, 409):
            raise Refused(f"{answer.status} {answer.text}")
        return [Receipt(f"{answer.status}")]


class Statuses(_ToQualiCharge):
    """Statuses of declared points."""

    name = STATUS
    keep_days = STATUS_KEEP_DAYS

    def __init__(self, settings: Settings, client: Client) -> None:
        super().__init__(settings, client)
        self.batch_max = settings.qualicharge_status_entries_max

    async def gather(self, connection: AsyncConnection, now: datetime) -> Sequence[NewItem]:
        """What stations sent, and how silent points stand."""
        found = await store_qualicharge.list_new_statuses(
            connection, after=now - rows.STATUS_AGE_MAX, limit=GATHER_MAX
        )
        if len(found) == GATHER_MAX:  # which are silent is not known yet
            return [_status_item(row) for row in found]
        spoken = {row.evse_uid for row in found}
        silent = await store_qualicharge.list_silent(
            connection,
            now=now,
            period_s=self._settings.qualicharge_refresh_s,
            limit=GATHER_MAX,
        )
        quiet = [row for row in silent if row.evse_uid not in spoken]
        return [_status_item(row) for row in (*found, *quiet)]

    async def unfit(
        self, connection: AsyncConnection, items: Sequence[Item], now: datetime
    ) -> dict[int, str]:
        """Those of a day ago or more, too."""
        found = await super().unfit(connection, items, now)
        for item in items:
            if rows.is_too_old(item.body["request"]["horodatage"], now):
                found[item.id] = "it is of a day ago or more"
        return found

    def gap_s(self, items: Sequence[Item]) -> float:
        """As the service wants it."""
        return self._settings.qualicharge_status_gap_s

    async def send(self, items: Sequence[Item]) -> list[Receipt]:
        """All at once."""
        names = await self._client.add_statuses([item.body["request"] for item in items])
        return [Receipt("201", name) for name in names]

    async def verify(self, item: Item) -> Found:
        """Whether the history has one of that moment."""
        row = item.body["request"]
        at = datetime.fromisoformat(row["horodatage"])
        try:
            times = await self._client.status_times(row["id_pdc_itinerance"], row["horodatage"])
            there = at in {datetime.fromisoformat(time) for time in times}
        except (Refused, ValueError) as error:
            raise Lost(str(error)) from None
        return Found.THERE if there else Found.ABSENT


class Sessions(_ToQualiCharge):
    """Sessions at declared points."""

    name = SESSION

    def __init__(self, settings: Settings, client: Client) -> None:
        super().__init__(settings, client)
        self.batch_max = settings.qualicharge_session_entries_max

    async def gather(self, connection: AsyncConnection, now: datetime) -> Sequence[NewItem]:
        """Sessions that ended."""
        after = now - timedelta(days=self._settings.qualicharge_session_days)
        found = await store_qualicharge.list_new_sessions(connection, after=after, limit=GATHER_MAX)
        return [
            NewItem(
                row.client_id,
                str(row.session_id),
                str(row.session_id),
                "session",
                row.ended_at,
                {
                    "request": rows.session_row(
                        row.evse_uid, row.started_at, row.ended_at, row.energy_wh
                    ),
                    "power_w_max": row.power_w_max,
                },
            )
            for row in found
        ]

    def flaw(self, item: Item, now: datetime) -> str | None:
        """As qualicharge_rows.session_flaw."""
        return rows.session_flaw(item.body["request"], item.body["power_w_max"], now)

    def gap_s(self, items: Sequence[Item]) -> float:
        """As the service wants it."""
        return self._settings.qualicharge_session_gap_s

    async def send(self, items: Sequence[Item]) -> list[Receipt]:
        """All at once; none is proven by the answer. Of a cut one a single name is enough: the
        service keeps all of a request, or none."""
        try:
            names = await self._client.add_sessions([item.body["request"] for item in items])
        except Lost as error:
            if not error.remote_ids or len(error.remote_ids) > len(items):
                raise Lost(str(error)) from None
            known = error.remote_ids
            others = [SAME_REQUEST + known[0]] * (len(items) - len(known))
            raise Lost(str(error), [*known, *others]) from None
        return [Receipt("201", name, is_proof=False) for name in names]

    async def verify(self, item: Item) -> Found:
        """Whether the service has it under the name that it gave."""
        if item.remote_id is None:
            return Found.UNKNOWN
        try:
            there = await self._client.has_session(item.remote_id.removeprefix(SAME_REQUEST))
        except Refused as error:
            raise Lost(str(error)) from None
        return Found.THERE if there else Found.ABSENT


def _status_item(row: StatusRow) -> NewItem:
    return NewItem(
        row.client_id,
        row.evse_uid,
        row.source,
        "status",
        row.at,
        {"request": rows.status_row(row.evse_uid, row.at, row.status, row.connectors)},
    )


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both are the same once they are JSON."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
