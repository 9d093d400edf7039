"""The price so far of sessions that go on: for drivers who follow, and for stations that show it.

It is what the stage (billing.pricing) would make of the session if it ended now, from the same
readings by the same rules; none where no tariff applies. A process has one `LivePrices`. It keeps
tariffs in memory, looks every few seconds whether one was changed and reads all anew then, and
every minute. A station's answer waits for nothing: its price comes from memory or not at all.

Where a price depends on readings (hours with other prices, time without charging), those of each
session are collected as its events bring them. Of a session that began before this process, or that
has another node behind it, they are read from the database meanwhile.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from operator import itemgetter
from typing import Final

import psycopg
from psycopg_pool import AsyncConnectionPool

from billing import price_book, pricing
from billing.money import euros
from billing.price_book import EMPTY, Book, Terms, Where
from billing.pricing import Register
from billing.store import price_book as store
from billing.store import pricing as pricing_store
from billing.store.pricing import SessionRow
from billing.tariff import Reading, Usage, may_need_readings, needs_readings, price, price_so_far
from csms import db
from csms.config import Settings
from csms.domain import metering
from csms.domain.session import Session, State
from csms.domain.station import Station
from csms.store.starts import Live

log = logging.getLogger(__name__)

#: readings with the moment that is believed of each
Told = Sequence[tuple[datetime, metering.Reading]]

SESSIONS_READ_MAX: Final = 100  # from the database at once
_by_time: Final = itemgetter(0)


@dataclass(slots=True)
class Course:
    """What a session's registers showed, as far as this process knows."""

    whole: bool  # nothing is missing
    full: bool = False  # there were too many: none is kept any more
    registers: list[Register] = field(default_factory=list)


class LivePrices:
    """What sessions cost so far. `run` must be running."""

    def __init__(self, pool: AsyncConnectionPool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._book: Book = EMPTY
        self._fingerprint = ""
        self._read_at: datetime | None = None
        self._courses: OrderedDict[int, Course] = OrderedDict()
        self._held = 0  # registers in all courses
        self._wanted: set[int] = set()
        self._wake = asyncio.Event()
        #: readings of sessions that are followed, each with the revision that it is of
        self._followed: OrderedDict[int, tuple[int, list[Reading]]] = OrderedDict()

    async def run(self) -> None:
        """Keep up until cancelled; a database that is away is asked again, and prices stay."""
        while True:
            try:
                await self.look(datetime.now(UTC))
                await self.read_wanted()
            except (psycopg.Error, OSError, TimeoutError) as error:
                db.raise_if_cancelled()
                log.warning("tariffs cannot be read: %s", str(error).strip())
                await asyncio.sleep(self._settings.live_price_poll_s)
            try:
                async with asyncio.timeout(self._settings.live_price_poll_s):
                    await self._wake.wait()
                self._wake.clear()
            except TimeoutError:
                continue

    async def look(self, now: datetime) -> None:
        """Read the tariffs anew if one was changed, or a minute has passed."""
        async with self._pool.connection() as connection:
            found = await store.fingerprint(connection)
            age_s = (now - self._read_at).total_seconds() if self._read_at else None
            fresh = age_s is not None and age_s < self._settings.live_price_reload_s
            if fresh and found == self._fingerprint:
                return
            rows_max = self._settings.live_price_rows_max
            self._book = await price_book.load(connection, now, rows_max)
        self._fingerprint, self._read_at = found, now

    # --- For stations -----------------------------------------------------------------------------

    def cost_of(
        self, station: Station, session: Session, told: Told, now: datetime
    ) -> Decimal | None:
        """What a session costs so far, in euros, with what its newest event told of the meter.

        None: no tariff applies, its energy is not known, or earlier readings are not read yet.
        Raises nothing: a fault in prices must not keep a session from being recorded.
        """
        try:
            return self._cost_of(station, session, told, now)
        except Exception:
            log.exception("the price so far of session %d cannot be worked out", session.id)
            return None

    def _cost_of(
        self, station: Station, session: Session, told: Told, now: datetime
    ) -> Decimal | None:
        where = Where(
            station.client_id,
            station.site_id,
            station.key,
            session.evse_id,
            session.token_uid,
            session.started_at,
        )
        usage = _usage(session.started_at, session.ended_at, session.energy_wh, now)
        terms = self._book.find(where, usage.ended_at)
        if terms is None:
            return None
        running = session.state is State.ACTIVE
        if not may_need_readings(terms.tariff):
            return None if session.energy_wh is None else _cost(terms, usage, (), running)
        course = self._course(session, told)
        if not running:
            self._forget(session.id)
        if not needs_readings(usage, terms.tariff, zone=terms.zone):
            return None if session.energy_wh is None else _cost(terms, usage, (), running)
        if not course.whole or session.energy_wh is None:
            return None
        readings = pricing.since_start(course.registers, session.meter_start_wh, session.energy_wh)
        return _cost(terms, usage, readings, running)

    def _course(self, session: Session, told: Told) -> Course:
        """The session's course, with what is new."""
        course = self._courses.get(session.id)
        if course is None:
            course = self._courses[session.id] = Course(whole=session.is_new)
        self._courses.move_to_end(session.id)
        if not course.full:
            self._add(course, _registers(told))
        if not course.whole and not course.full:
            self._wanted.add(session.id)
            self._wake.set()
        while self._held > self._settings.live_price_readings_max and len(self._courses) > 1:
            self._forget(next(iter(self._courses)))
        return course

    def _add(self, course: Course, registers: Iterable[Register]) -> None:
        """Keep what is new; too much of it is not kept at all."""
        known = len(course.registers)
        course.registers += registers
        if len(course.registers) > self._settings.live_price_session_readings_max:
            course.registers.clear()
            course.full, course.whole = True, False
        self._held += len(course.registers) - known

    def _forget(self, session_id: int) -> None:
        course = self._courses.pop(session_id, None)
        self._held -= 0 if course is None else len(course.registers)
        self._wanted.discard(session_id)

    def courses(self) -> list[Course]:
        """Of sessions that go on under a tariff that may ask for their readings."""
        return list(self._courses.values())

    async def read_wanted(self) -> None:
        """Complete the courses of sessions that were met in their midst; `run` does so at once."""
        while self._wanted:
            wanted = sorted(self._wanted)[:SESSIONS_READ_MAX]
            self._wanted.difference_update(wanted)
            async with self._pool.connection() as connection:
                sessions = await pricing_store.fetch_sessions(connection, wanted, datetime.now(UTC))
                registers = await pricing.registers_of(
                    connection, [s for _, s in sessions if s.readings_from_at is not None]
                )
            for _, session in sessions:
                course = self._courses.get(session.id)
                found = registers.get(session.id, [])
                if course is None or course.whole or course.full:
                    continue
                known = {at for at, _, _ in found}
                found += [each for each in course.registers if each[0] not in known]
                self._held -= len(course.registers)
                course.registers = []
                course.whole = True
                self._add(course, sorted(found, key=_by_time))

    # --- For drivers ------------------------------------------------------------------------------

    async def price(self, row: Live, now: datetime) -> Decimal | None:
        """What a session that is followed costs so far, or has cost, in euros."""
        where = Where(
            row.client_id,
            row.site_id,
            row.station_key,
            row.evse_id,
            row.token_uid,
            row.started_at,
        )
        usage = _usage(row.started_at, row.ended_at, row.energy_wh, now)
        terms = self._book.find(where, usage.ended_at)
        if terms is None or row.energy_wh is None:
            return None
        running = row.state == "active"
        readings: Sequence[Reading] = ()
        if row.readings_from_at is not None and needs_readings(
            usage, terms.tariff, zone=terms.zone
        ):
            readings = await self._readings(row, terms, usage)
        return _cost(terms, usage, readings, running)

    async def _readings(self, row: Live, terms: Terms, usage: Usage) -> list[Reading]:
        """A session's readings, read once for each of its revisions however many follow it."""
        known = self._followed.get(row.id)
        if known is not None and known[0] == row.revision:
            return known[1]
        session = _session_row(row, terms, usage)
        async with self._pool.connection() as connection:
            registers = await pricing.registers_of(connection, [session])
        readings = pricing.since_start(registers.get(row.id, []), row.meter_start_wh, row.energy_wh)
        self._followed[row.id] = (row.revision, readings)
        self._followed.move_to_end(row.id)
        if len(self._followed) > self._settings.live_streams_max:
            self._followed.popitem(last=False)
        return readings


def _registers(told: Told) -> list[Register]:
    return [
        (at, register_wh, reading.profile.power_w(reading.samples))
        for at, reading in told
        if (register_wh := reading.profile.register_wh(reading.samples)) is not None
    ]


def _usage(
    started_at: datetime, ended_at: datetime | None, energy_wh: int | None, now: datetime
) -> Usage:
    return Usage(started_at, max(ended_at or now, started_at), energy_wh or 0)


def _cost(terms: Terms, usage: Usage, readings: Sequence[Reading], running: bool) -> Decimal | None:
    """Euros and cents; None: the tariff has no price for these hours."""
    work_out = price_so_far if running else price
    found = work_out(
        usage,
        readings,
        terms.tariff,
        zone=terms.zone,
        vat_percent=terms.vat_percent,
        vat_free=terms.vat_free,
    )
    if not found.lines and usage.energy_wh:
        return None
    return euros(found.amount_incl_cents)


def _session_row(row: Live, terms: Terms, usage: Usage) -> SessionRow:
    return SessionRow(
        row.id,
        row.site_id,
        row.station_key,
        "",
        row.evse_id,
        terms.zone.key,
        usage.started_at,
        usage.ended_at,
        row.energy_wh,
        row.meter_start_wh,
        row.readings_from_at,
        row.readings_to_at,
        [],
        usage.ended_at.date(),
        row.token_uid,
        None,
    )
