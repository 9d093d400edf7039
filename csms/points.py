"""Points as a driver finds them: where, how they stand, whether she may charge there now.

Rows come from the view my_point, which shows a driver what is hers to see; everything here needs a
connection that acts for her (`csms.db.acting`, or `act_for` in one of the machines' role).
A page of points takes three statements, however many it holds.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from csms import services
from csms.domain import access, point
from csms.domain.access import Access, Rule
from csms.domain.point import Hold, Standing, State, Why
from csms.domain.services import Option, Service
from csms.store import points as store
from csms.store.points import AccessRow, PointRow

ALWAYS = Access(True)


class Denied(Exception):
    """What a driver asks for cannot be had: why, and where a sentence says it better, the sentence
    in French and in English."""

    def __init__(self, why: Why, bound: int = 0, texts: tuple[str, str] | None = None) -> None:
        super().__init__(why.value)
        self.why = why
        self._bound = bound
        self._texts = texts

    def sentence(self, language: str) -> str:
        """The reason for people."""
        if self._texts is not None:
            return self._texts[1 if language == "en" else 0]
        return point.sentence(self.why, language, self._bound)


#: what drivers are served with, where the client's contract opens it
OPTIONS: Final = (Option.DRIVER_APP, Option.RESERVATIONS)
#: what of these is closed to which clients; asked for in one of the machines' role
ClosedOf = Callable[[Sequence[int], datetime], Awaitable[Mapping[tuple[int, Option], Service]]]


def closed_of(connection: AsyncConnection) -> ClosedOf:
    """Asks on this connection, which is one of the machines' role."""

    async def ask(client_ids: Sequence[int], now: datetime) -> Mapping[tuple[int, Option], Service]:
        return await services.closed_options(connection, client_ids, OPTIONS, now)

    return ask


def why_closed(service: Service) -> Why:
    """The code for a service that is closed."""
    return Why.CONTRACT_SUSPENDED if service.reason == "suspended" else Why.SERVICE_CLOSED


@dataclass(frozen=True, slots=True)
class Point:
    """A point for a driver."""

    row: PointRow
    standing: Standing
    access: Access  # hers, now
    closed: Mapping[Option, Service]  # what the client's contract does not open
    distance_m: float | None = None

    @property
    def label(self) -> str:
        """What tells it from its neighbours."""
        return label_of(self.row.evse_static, self.row.station_id, self.row.evse_id)

    @property
    def holds(self) -> tuple[Hold, ...]:
        """Its reservations that are not over."""
        return _holds(self.row)


def label_of(static: Mapping[str, object], station_id: str, evse_id: int) -> str:
    """What is written at a point: its local number, else its station's identity and its own."""
    local = static.get("local_id")
    return local if isinstance(local, str) and local else f"{station_id} · {evse_id}"


async def get_point(
    connection: AsyncConnection, asking: ClosedOf, person_id: int, code: str, now: datetime
) -> Point:
    """A point that the driver may use, at some hour at least. Raises: Denied."""
    found = await _fetch(connection, asking, person_id, [code], now)
    if not found:
        raise Denied(Why.NOT_ALLOWED_HERE)
    return found[0]


async def get_points(
    connection: AsyncConnection,
    asking: ClosedOf,
    person_id: int,
    found: Sequence[store.Found],
    now: datetime,
    *,
    distances: bool,
) -> list[Point]:
    """The points of a page, in its order."""
    points = {
        p.row.code: p
        for p in await _fetch(connection, asking, person_id, [f.code for f in found], now)
    }
    page = []
    for item in found:
        known = points.get(item.code)
        if known is not None:  # else it was taken from her meanwhile
            distance_m = item.distance_m if distances else None
            page.append(Point(known.row, known.standing, known.access, known.closed, distance_m))
    return page


def check_place(found: Point, option: Option) -> None:
    """Accept that the driver uses this service at this point, whatever the hour.

    Raises: Denied.
    """
    closed = found.closed.get(option)
    if closed is not None:
        raise Denied(why_closed(closed), texts=(closed.text_fr, closed.text_en))


async def rules_at(
    connection: AsyncConnection, person_id: int, site_ids: Sequence[str], now: datetime
) -> dict[str, list[AccessRow]]:
    """The windows of the driver's groups, by site."""
    rules: dict[str, list[AccessRow]] = {}
    for row in await store.fetch_access(connection, person_id, site_ids, now):
        rules.setdefault(row.site_id, []).append(row)
    return rules


def access_at(row: PointRow, rules: Sequence[AccessRow], moment: datetime) -> Access:
    """May she charge there at that moment: until when, or from when on."""
    if row.public:
        return ALWAYS
    return access.access(
        [Rule(r.weekdays, r.from_minute, r.to_minute, r.from_at, r.to_at) for r in rules],
        access.zone_named(row.time_zone),
        moment,
    )


async def _fetch(
    connection: AsyncConnection,
    asking: ClosedOf,
    person_id: int,
    codes: Sequence[str],
    now: datetime,
) -> list[Point]:
    rows = await store.fetch_my_points(connection, codes) if codes else []
    if not rows:
        return []
    site_ids = {row.site_id for row in rows if row.site_id is not None}
    rules = await rules_at(connection, person_id, sorted(site_ids), now)
    client_ids = sorted({row.client_id for row in rows})
    closed = await asking(client_ids, now)
    return [
        Point(
            row,
            standing_of(row, now),
            access_at(row, rules.get(row.site_id or "", ()), now),
            {o: closed[row.client_id, o] for o in OPTIONS if (row.client_id, o) in closed},
        )
        for row in rows
    ]


def standing_of(row: PointRow, now: datetime) -> Standing:
    """How the point stands for her."""
    return point.standing(
        status=row.status,
        status_at=row.status_at,
        connected=row.connected,
        disconnected_at=row.disconnected_at,
        occupied_since=row.occupied_since,
        my_session=row.my_session_id is not None,
        holds=_holds(row),
        now=now,
    )


def _holds(row: PointRow) -> tuple[Hold, ...]:
    return tuple(
        Hold(datetime.fromisoformat(r["from_at"]), datetime.fromisoformat(r["to_at"]), r["id"])
        for r in row.reservations or ()
    )


def check_state(standing: Standing) -> None:
    """Accept that somebody begins to charge at a point as it stands. Raises: Denied."""
    if standing.state is State.OFFLINE:
        raise Denied(Why.STATION_OFFLINE)
    if standing.state is State.OUT_OF_ORDER:
        raise Denied(Why.POINT_OUT_OF_ORDER)
    if standing.state is State.OCCUPIED:
        raise Denied(Why.POINT_OCCUPIED)
    if standing.state is State.RESERVED and not standing.mine:
        raise Denied(Why.RESERVED_BY_ANOTHER)
