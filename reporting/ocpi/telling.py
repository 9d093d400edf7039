"""What partners are told, over two outlets each: objects, and what became of their orders.

What is to be told is in `changes`. Doing any of it twice does no harm: PUT and PATCH say how things
are, and a CDR keeps its id. Results have an outlet of their own: they must not wait behind an hour
of backlog.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Final

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from csms import db
from csms.config import Settings
from reporting import outlet, store_ocpi
from reporting import store_ocpi_sessions as session_store
from reporting.ocpi.cdrs import Party
from reporting.ocpi.changes import GATHER_MAX, Look, Partner
from reporting.ocpi.client import Client, join
from reporting.ocpi.partners import own_party, peer_of
from reporting.outlet import Outlet, Receipt, Refused
from reporting.store_ocpi_sessions import ResultRow
from reporting.store_outlet import Item, NewItem

log = logging.getLogger(__name__)

BATCH: Final = 50  # claimed at once; each is a request of its own
NEWS: Final = timedelta(hours=1)  # sessions that began since are looked for each time
#: outlets by partner and registration: what they remember of their last look is theirs
Known = dict[tuple[str, datetime | None], list[Outlet]]


@asynccontextmanager
async def open_outlets(
    pool: AsyncConnectionPool, settings: Settings
) -> AsyncIterator[list[Outlet]]:
    """The outlets of the partners that are registered now; none where OCPI is off."""
    own = own_party(settings)
    if own is None:
        yield []
        return
    async with Client(settings, own) as client:
        yield await _outlets(pool, settings, client, own, {})


async def run(pool: AsyncConnectionPool, settings: Settings) -> None:
    """Tell partners until cancelled; who registers meanwhile is told too. Each outlet goes on by
    itself: what one has to tell for an hour, or waits for, no other waits for."""
    own = own_party(settings)
    if own is None:
        return
    known: Known = {}
    under_way: dict[str, asyncio.Task[None]] = {}
    async with Client(settings, own) as client, asyncio.TaskGroup() as lanes:
        while True:
            outlets: list[Outlet] = []
            with _warning():
                outlets = await _outlets(pool, settings, client, own, known)
            for each in outlets:
                if each.name not in under_way or under_way[each.name].done():
                    under_way[each.name] = lanes.create_task(_deliver(pool, settings, each))
            await asyncio.sleep(settings.ocpi_poll_s)


async def _deliver(pool: AsyncConnectionPool, settings: Settings, one: Outlet) -> None:
    with _warning():
        await outlet.deliver(pool, settings, [one])


@contextmanager
def _warning() -> Iterator[None]:
    """Say that the database, or the way to it, fails; it is tried again."""
    try:
        yield
    except (psycopg.Error, OSError, TimeoutError) as error:
        db.raise_if_cancelled()
        log.warning("partners could not be told: %s", str(error).strip())


async def _outlets(
    pool: AsyncConnectionPool,
    settings: Settings,
    client: Client,
    own: Party,
    known: Known,
) -> list[Outlet]:
    """Those of registered partners; kept in `known`, with what they remember of their last look."""
    async with pool.connection() as connection:
        rows = await store_ocpi.list_partners(connection)
    found: list[Outlet] = []
    for row in rows:
        peer = peer_of(settings, row)
        if peer is None:
            continue
        key = (row.slug, row.registered_at)
        if key not in known:
            partner = Partner(row, peer, own)
            known[key] = [
                Objects(settings, client, partner),
                Results(settings, client, partner),
            ]
        found += known[key]
    return found


class _ToPartner(Outlet):
    """What both have in common: one request an item."""

    is_idempotent = True
    batch_max = BATCH

    def __init__(self, settings: Settings, client: Client, partner: Partner) -> None:
        self._settings = settings
        self._client = client
        self._partner = partner

    def is_alone(self, item: Item) -> bool:
        """OCPI has no lists of changes."""
        return True


class Objects(_ToPartner):
    """Places, tariffs, statuses, sessions and CDRs."""

    def __init__(self, settings: Settings, client: Client, partner: Partner) -> None:
        super().__init__(settings, client, partner)
        self.name = partner.outlet
        self._looked_at: datetime | None = None  # at all that is old, too

    async def gather(self, connection: AsyncConnection, now: datetime) -> Sequence[NewItem]:
        """What is not as it was told."""
        look = Look(self._settings, self._partner, connection, now)
        period = timedelta(seconds=self._settings.ocpi_places_period_s)
        is_whole = self._looked_at is None or not self._looked_at <= now < self._looked_at + period
        if is_whole:
            await look.at_new_sessions(NEWS)  # while a place that goes now is known still
            await look.at_places()
        await look.at_statuses()
        days = timedelta(days=self._settings.ocpi_session_days)
        await look.at_new_sessions(days if is_whole else NEWS)  # old ones: what was told late
        await look.at_sessions()
        self._looked_at = now if is_whole else self._looked_at
        return look.items

    async def send(self, items: Sequence[Item]) -> list[Receipt]:
        """One object. Raises: Refused where the partner has no such module any more."""
        (item,) = items
        url = self._partner.peer.url_of(item.body["module"], "RECEIVER")
        if url is None:
            raise Refused(f"the partner has no module {item.body['module']}")
        await self._client.call(
            self._partner.peer,
            item.body["method"],
            join(url, *item.body["path"]),
            item.body["object"],
        )
        return [Receipt("1000")]


class Results(_ToPartner):
    """What became of partners' orders."""

    def __init__(self, settings: Settings, client: Client, partner: Partner) -> None:
        super().__init__(settings, client, partner)
        self.name = f"results.{partner.row.slug}"

    async def gather(self, connection: AsyncConnection, now: datetime) -> Sequence[NewItem]:
        """Orders that are over."""
        after = now - timedelta(days=1)
        rows = await session_store.list_results(
            connection, self._partner.id, self.name, after, GATHER_MAX
        )
        return [
            NewItem(
                row.client_id,
                str(row.id),
                str(row.id),
                "result",
                now,
                {"url": row.response_url, "object": {"result": result_of(row)}},
            )
            for row in rows
        ]

    async def send(self, items: Sequence[Item]) -> list[Receipt]:
        """To the address that came with the order."""
        (item,) = items
        await self._client.call(self._partner.peer, "POST", item.body["url"], item.body["object"])
        return [Receipt("1000")]


def result_of(row: ResultRow) -> str:
    """What became of an order to a station, in OCPI's words."""
    if row.status == "accepted":
        return "ACCEPTED"
    if row.status == "rejected":
        return "REJECTED"
    if row.status == "failed" and row.error and "NoAnswer" not in row.error:
        return "FAILED"
    return "TIMEOUT"
