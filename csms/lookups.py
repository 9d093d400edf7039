"""What the recorder reads: stations, their open sessions, badges, and ids for new sessions."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from psycopg import AsyncConnection

from csms.domain.events import Token
from csms.domain.quirks import matches
from csms.domain.session import Session
from csms.domain.station import NOTHING_SAID, Remembered, Station
from csms.domain.values import uid_key
from csms.exchange import Exchange, Facts, Need
from csms.store import lookup, recording
from csms.store.lookup import QuirkRow, StationRow
from csms.store.reservations import fetch_kept
from csms.store.services import fetch_closures
from csms.store.session_rows import session_from_row

SESSION_IDS_LOW: Final = 1_000  # fewer left: fetch another block of 1,000


class Lookups:
    """Reads for the recorder. Every function takes the connection and may raise psycopg.Error."""

    def __init__(self, remembered_answers: int) -> None:
        self.quirks: list[QuirkRow] = []
        self._remembered_answers = remembered_answers
        self._session_ids: deque[range] = deque()

    def quirks_of(
        self, vendor: str | None, model: str | None, firmware: str | None
    ) -> frozenset[str]:
        """The corrections that apply to a make, by the patterns of the quirk table."""
        return frozenset(
            quirk.correction
            for quirk in self.quirks
            if matches(quirk.vendor, vendor)
            and matches(quirk.model, model)
            and matches(quirk.firmware, firmware)
        )

    def new_session_id(self) -> int:
        """An id that no other session has or will have.

        Raises: IndexError when they ran out; every look-up tops them up.
        """
        block = self._session_ids[0]
        if len(block) > 1:
            self._session_ids[0] = block[1:]
        else:
            self._session_ids.popleft()
        return block.start

    async def fetch(
        self, connection: AsyncConnection, asked: Mapping[Station, tuple[Need, Exchange]]
    ) -> dict[Station, Facts]:
        """What the needs ask for. Sessions and stations go straight into the stations.

        Nothing of a station to be reloaded may be on its way to the database meanwhile. Sessions
        come last: ended ones stay in memory only until the station's next commit.
        """
        configured = [station for station, (need, _) in asked.items() if need.station]
        reloaded = [station for station, (need, _) in asked.items() if need.reload]
        if configured or reloaded:
            await self._configure(connection, configured + reloaded)
        if reloaded:
            await self._reload(connection, reloaded)
        limited = {station.key: station for station, (need, _) in asked.items() if need.limits}
        if limited:
            limits = await lookup.fetch_power_limits(connection, list(limited))
            for key, station in limited.items():
                station.limits = tuple(limits.get(key, ()))
        uids = {uid_key(need.token_uid) for need, _ in asked.values() if need.token_uid is not None}
        tokens: dict[str, Token] = {}
        if uids:
            sites = {
                station.site_id
                for station, (need, _) in asked.items()
                if need.token_uid is not None and station.site_id is not None
            }
            found = await lookup.fetch_tokens(connection, list(uids), list(sites))
            tokens = {token.uid_key: token for token in found}
            shown = [station for station, (need, _) in asked.items() if need.token_uid is not None]
            closures = await fetch_closures(connection, list({s.client_id for s in shown}))
            for station in shown:
                station.closures = tuple(closures.get(station.client_id, ()))
            kept = await fetch_kept(connection, [station.key for station in shown])
            for station in shown:
                station.reservations = tuple(kept.get(station.key, ()))
        wanted = [
            (station.key, what, value)
            for station, (need, _) in asked.items()
            for what, value in need.sessions
        ]
        by_key = {station.key: station for station in asked}
        if wanted:
            for row in await lookup.find_sessions(connection, wanted):
                remember(by_key[row["station_key"]], session_from_row(row))
        return {
            station: Facts(tokens.get(uid_key(need.token_uid)) if need.token_uid else None)
            for station, (need, _) in asked.items()
        }

    async def load(self, connection: AsyncConnection, stations: Sequence[Station]) -> None:
        """Bring stations up to what the database holds, all of it."""
        await self._configure(connection, stations)
        await self._reload(connection, stations)

    async def _configure(self, connection: AsyncConnection, stations: Sequence[Station]) -> None:
        by_key = {station.key: station for station in stations}
        for row in await lookup.fetch_stations(connection, [s.id for s in stations]):
            quirks = self.quirks_of(row.vendor, row.model, row.firmware)
            configure(by_key[row.station_key], row, quirks)

    async def _reload(self, connection: AsyncConnection, stations: Sequence[Station]) -> None:
        """Replace what memory holds of the stations. Their frames wait until it is done."""
        by_key = {station.key: station for station in stations}
        for station in stations:
            # At first: what changes from here on makes it stale again.
            station.stale = False
            station.sessions.clear()
            station.answers.clear()
            station.evses.clear()
            station.power_w_max.clear()
        for key, evse_id, connector_id, status, power_w_max in await lookup.fetch_places(
            connection, list(by_key)
        ):
            by_key[key].evses[evse_id, connector_id] = status
            if power_w_max is not None:
                by_key[key].power_w_max[evse_id, connector_id] = power_w_max
        for open_row in await lookup.fetch_open_sessions(connection, list(by_key)):
            remember(by_key[open_row["station_key"]], session_from_row(open_row))
        for key, frame, answer, at in await lookup.fetch_answers(
            connection, list(by_key), self._remembered_answers
        ):
            empty = answer.startswith("[3,") and answer.endswith(",{}]")
            remembered = NOTHING_SAID if empty else Remembered(answer, at)
            by_key[key].answers[hash(frame.encode())] = remembered

    async def top_up_session_ids(self, connection: AsyncConnection, extra: int) -> None:
        """Have at least a block's worth of session ids and `extra` in stock."""
        while sum(len(block) for block in self._session_ids) < SESSION_IDS_LOW + extra:
            first = await recording.next_session_block(connection)
            self._session_ids.append(range(first, first + 1000))


def configure(station: Station, row: StationRow, quirks: frozenset[str]) -> None:
    """Give the station what people set for it."""
    station.client_id = row.client_id
    station.site_id = row.site_id
    station.time_zone = row.time_zone
    station.public_evses = frozenset(row.public_evses)
    station.boot_status = row.boot_status
    station.auto_configure = row.auto_configure
    station.quirks = quirks
    if station.stale:
        station.clock_skew_s = row.clock_skew_s
        station.naive_is_local = row.naive_is_local
        station.clock_noted = (row.clock_skew_s, row.naive_is_local)


def remember(station: Station, session: Session) -> None:
    """Take a session of the database into memory, beside what memory knows better."""
    if any(known.id == session.id for known in station.sessions.values()):
        return
    other = station.sessions.get(session.transaction_id)
    if other is None or other.id < session.id:
        station.sessions[session.transaction_id] = session
        session = other if other is not None else session
    if station.sessions[session.transaction_id] is not session:
        station.sessions[f"{session.transaction_id}#{session.id}"] = session
